"""The table of phase boundaries: phases.csv and phases.md."""

from pathlib import Path

import pandas as pd

from interp import Run, phases, trajectory
from interp.run import write_whole


def main(run: Run, out: Path) -> list[Path]:
    found = phases(trajectory(run)).to_dict()
    missing = found.pop("missing")
    table = pd.DataFrame(
        [{"event": name, "step": step, "note": missing.get(name, "")} for name, step in found.items()]
    ).astype({"step": "Int64"})
    rows = [
        f"| {name} | {'–' if step is None else f'{step:,}'} | {missing.get(name, '')} |" for name, step in found.items()
    ]
    out.mkdir(parents=True, exist_ok=True)
    write_whole(out / "phases.csv", lambda file: table.to_csv(file, index=False))
    text = "\n".join(["| event | step | note |", "| --- | ---: | --- |", *rows, ""])
    write_whole(out / "phases.md", lambda file: file.write_text(text, encoding="utf-8"))
    return [out / "phases.csv", out / "phases.md"]
