"""The table of phase boundaries: phases.csv and phases.md."""

from pathlib import Path

import pandas as pd

from analyses._tables import write_table
from interp import Run, phases, trajectory


def main(run: Run, out: Path) -> list[Path]:
    found = phases(trajectory(run)).to_dict()
    missing = found.pop("missing")
    table = pd.DataFrame(
        [{"event": name, "step": step, "note": missing.get(name, "")} for name, step in found.items()]
    ).astype({"step": "Int64"})
    shown = table.assign(step=["–" if step is None else f"{step:,}" for step in found.values()])
    return write_table(table, out, "phases", shown)
