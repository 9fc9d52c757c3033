"""The code and devices that trained the runs of a table; runs of different ones may differ in steps by rounding."""

from __future__ import annotations

from collections.abc import Iterable

import pandas as pd

_OF = {"commit": "commits", "interp": "versions of interp", "torch": "versions of torch", "trained_on": "devices"}


def said_of_origins(table: pd.DataFrame) -> str | None:
    """Return the end of a sentence about the runs of a table: "come from 2 commits, …"; None if from one of each.

    Runs without a record of it, such as failed ones, are not counted.
    """
    values = {name: sorted(map(str, table[name].dropna().unique())) for name in _OF}
    several = {name: known for name, known in values.items() if len(known) > 1}
    if not several:
        return None
    counts = [
        f"{len(known)} {_OF[name]}" + ("" if name == "commit" else f" ({', '.join(known)})")
        for name, known in several.items()
    ]
    which = f"columns {_listed(several)} tell" if len(several) > 1 else f"column {_listed(several)} tells"
    return f"come from {_listed(counts)}, which may move steps by rounding; the {which} which"


def _listed(words: Iterable[str]) -> str:
    """Return words joined as "a, b and c"."""
    *before, last = words
    return f"{', '.join(before)} and {last}" if before else last
