"""How the delay depends on weight decay and learning rate: exponents with 95 % intervals, and ridge regression's."""

from pathlib import Path

import pandas as pd

from analyses._tables import write_table
from interp import Sweep, fit_exponents


def main(sweep: Sweep, out: Path) -> list[Path]:
    """In ridge regression the delay is 1 / (η λ) times what the start leaves: −1 in both."""
    found = fit_exponents(sweep.table, ["weight_decay", "learning_rate"])
    rows = [
        {"setting": name, "exponent": f"{value:.2f}", "95 % interval": f"[{low:.2f}, {high:.2f}]",
         "ridge regression": "-1", "runs": found.runs, "censored": found.censored}
        for name, (value, low, high) in found.exponents.items()
    ]  # fmt: skip
    return write_table(pd.DataFrame(rows), out, "sweep_exponents")
