"""How the delay depends on weight decay and learning rate, by each law of its scatter: exponents, and ridge's."""

from pathlib import Path

import pandas as pd

from analyses._tables import write_table
from interp import Sweep, fit_exponents
from interp.sweeps.survival import in_counts


def main(sweep: Sweep, out: Path) -> list[Path]:
    """In ridge regression the delay is 1 / (η λ) times what the start leaves: −1 in both. The best law stands first."""
    best = fit_exponents(sweep.table, ["weight_decay", "learning_rate"])
    laws = sorted(best.aic, key=lambda law: best.aic[law])
    rows = []
    for law in laws:
        found = fit_exponents(sweep.table, list(best.exponents), law=law)
        rows += [
            {"law": law, "AIC": f"{found.aic[law]:.1f}", "setting": name, "exponent": f"{value:.2f}",
             "95 % interval": f"[{low:.2f}, {high:.2f}]", "interval of": found.basis, "ridge regression": "-1",
             "runs": found.runs, "censored": found.censored, "outcomes": in_counts(found.outcomes)}
            for name, (value, low, high) in found.exponents.items()
        ]  # fmt: skip
    return write_table(pd.DataFrame(rows), out, "sweep_exponents")
