"""The spread of the step at which the paper's setting generalizes, over seeds and by rounding alone."""

from pathlib import Path

import pandas as pd

from analyses._tables import write_table
from interp import ConfigError, Sweep, load_sweep
from interp.sweeps.survival import spread
from interp.utils.provenance import made_from

RUNS = Path("checkpoints/seeds-mod113")


def main(_: Sweep, out: Path) -> list[Path]:
    """Write the standard deviation over seeds, over copies of seed 0 that differ by rounding, and their ratio.

    The interval of the ratio is that of Fisher's F. The runs are in checkpoints/seeds-mod113.
    """
    from scipy.stats import f

    if not RUNS.is_dir():
        raise ConfigError(f"This table needs the runs in {RUNS}, which is not here. Start from the repository's root.")
    steps = {
        "seeds": load_sweep(RUNS).table["generalized"].astype(float).to_numpy(),
        "rounding": pd.read_parquet(RUNS / "rounding.parquet")["generalized"].astype(float).to_numpy(),
    }
    rows = []
    for name, values in steps.items():
        deviation, low, high = spread(values)
        rows.append({
            "between": name, "runs": len(values),
            "generalized at": ", ".join(f"{step:,.0f}" for step in sorted(values)),
            "standard deviation": f"{deviation:,.0f}", "95 % interval": f"{low:,.0f} to {high:,.0f}",
        })  # fmt: skip
    (many, first), (few, second) = ((len(values), spread(values)[0]) for values in steps.values())
    ratio = first / second
    low, high = (ratio / float(f.ppf(share, many - 1, few - 1)) ** 0.5 for share in (0.975, 0.025))
    rows.append({"between": "seeds / rounding", "runs": many + few, "generalized at": "–",
                 "standard deviation": f"{ratio:.1f} times", "95 % interval": f"{low:.1f} to {high:.1f}"})  # fmt: skip
    with made_from(RUNS, RUNS / "rounding.parquet"):
        return write_table(pd.DataFrame(rows), out, "seeds_and_rounding")
