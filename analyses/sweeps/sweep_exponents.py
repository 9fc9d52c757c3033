"""The exponents of the delay in weight decay and learning rate, by each law of its scatter, and ridge's."""

from pathlib import Path

import pandas as pd

from analyses._tables import write_table
from interp import Sweep, fit_exponents
from interp.sweeps.survival import in_counts


def main(sweep: Sweep, out: Path) -> list[Path]:
    """Write the table, the best law first. In ridge regression the delay is in proportion to 1 / (η λ): −1 in both."""
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
