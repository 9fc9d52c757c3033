"""The table of phase boundaries, each with the last step before it on record: phases.csv and phases.md."""

from pathlib import Path

import pandas as pd

from analyses._over_training import over_training
from analyses._tables import write_table
from interp import Run
from interp.study.frames import EVENTS


def main(run: Run, out: Path) -> list[Path]:
    _, found = over_training(run)
    notes = {"lost": "" if found.lost else "it kept what it learned"} | found.missing
    if found.cleanup_after is not None:
        notes["cleanup_end"] = f"{found.cleanup_after:,} or later: {notes['cleanup_end']}"
    if found.doubts:
        notes["circuit_formation_end"] = "; ".join(filter(None, [notes.get("circuit_formation_end"), *found.doubts]))
    rows = [
        (name, getattr(found, name), found.intervals.get(name, (None,))[0], notes.get(name, ""))
        for name in (*EVENTS, "grokking_delay", "dips", "last_step")
    ]
    table = pd.DataFrame(rows, columns=["event", "step", "after", "note"]).astype({"step": "Int64", "after": "Int64"})
    shown = table.assign(
        **{name: ["–" if pd.isna(step) else f"{step:,}" for step in table[name]] for name in ("step", "after")}
    )
    return write_table(table, out, "phases", shown)
