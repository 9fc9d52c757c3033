"""Tables as CSV for programs and Markdown for readers."""

from pathlib import Path

import pandas as pd

from interp.run import write_whole


def write_table(table: pd.DataFrame, out: Path, name: str, shown: pd.DataFrame | None = None) -> list[Path]:
    """Write NAME.csv and NAME.md; `shown` is the table as readers should see it, if that differs."""
    shown = table if shown is None else shown
    bars = [" | ".join(map(str, row)) for row in [list(shown.columns), *shown.to_numpy().tolist()]]
    lines = [f"| {bars[0]} |", "|" + " --- |" * len(shown.columns), *(f"| {bar} |" for bar in bars[1:]), ""]
    out.mkdir(parents=True, exist_ok=True)
    write_whole(out / f"{name}.csv", lambda file: table.to_csv(file, index=False))
    write_whole(out / f"{name}.md", lambda file: file.write_text("\n".join(lines), encoding="utf-8"))
    return [out / f"{name}.csv", out / f"{name}.md"]
