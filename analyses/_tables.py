"""Tables as CSV for programs and Markdown for readers."""

from pathlib import Path

import pandas as pd

from interp.utils.files import write_whole
from interp.utils.provenance import provenance


def write_table(table: pd.DataFrame, out: Path, name: str, shown: pd.DataFrame | None = None) -> list[Path]:
    """Write NAME.csv and NAME.md, the latter of the table `shown`, if given.

    Both carry their provenance: the CSV in lines that begin with #, at its top (`pd.read_csv(file, comment="#")`), the
    Markdown in a comment at its end.
    """
    shown = table if shown is None else shown
    bars = [" | ".join(map(str, row)) for row in [list(shown.columns), *shown.to_numpy().tolist()]]
    lines = [f"| {bars[0]} |", "|" + " --- |" * len(shown.columns), *(f"| {bar} |" for bar in bars[1:]), ""]
    made = provenance()
    csv = made.comment() + table.to_csv(index=False, lineterminator="\n")
    markdown = "\n".join([*lines, f"<!-- {made.sentence()} -->", ""])
    out.mkdir(parents=True, exist_ok=True)
    write_whole(out / f"{name}.csv", lambda file: file.write_text(csv, encoding="utf-8"))
    write_whole(out / f"{name}.md", lambda file: file.write_text(markdown, encoding="utf-8"))
    return [out / f"{name}.csv", out / f"{name}.md"]
