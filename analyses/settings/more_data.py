"""The effect of more pairs and of a larger modulus, at accuracies of 0.99, which allows few errors, and 0.95."""

import warnings
from pathlib import Path
from typing import Any

import pandas as pd

from analyses._tables import write_table
from interp import ConfigError, Sweep, fit_exponents, load_sweep
from interp.sweeps.comparisons import moved
from interp.sweeps.survival import curve_of, in_counts, with_delays
from interp.utils.provenance import made_from

RUNS = Path("checkpoints/data-mod23")


def main(_: Sweep, out: Path) -> list[Path]:
    """Write a row for each p and train_fraction of the runs in checkpoints/data-mod23, and delay ∝ p^x, fraction^x."""
    if not RUNS.is_dir():
        raise ConfigError(f"This table needs the runs in {RUNS}, which is not here. Start from the repository's root.")
    runs = moved(load_sweep(RUNS).table)
    names = {"": "p=23, train_fraction=0.8", **{one: one for one in runs["setting"] if one}}
    rows = [_row(names[said], own) for said, own in runs.groupby("setting", sort=False)]
    with made_from(RUNS):
        written = write_table(pd.DataFrame(rows), out, "more_data")
        return written + write_table(_exponents(runs), out, "more_data_exponents")


def _exponents(runs: pd.DataFrame) -> pd.DataFrame:
    rows = []
    for accuracy, judged in ((0.99, runs), (0.95, _at_95(runs))):
        for name in ("p", "train_fraction"):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)  # runs without a delay are counted in the row
                found = fit_exponents(judged[judged["moved"].isin(["", name])], [name])
            value, low, high = found.exponents[name]
            rows.append({"setting": name, "accuracy": accuracy, "x": f"{value:.2f}", "95 % interval": f"{low:.2f} to "
                         f"{high:.2f}", "law": found.law, "outcomes": in_counts(found.outcomes)})  # fmt: skip
    return pd.DataFrame(rows)


def _at_95(runs: pd.DataFrame) -> pd.DataFrame:
    return runs.assign(memorized=runs["memorized_95"], generalized=runs["generalized_95"])


def _row(setting: str, runs: pd.DataFrame) -> dict[str, Any]:
    learned = runs["generalized"].notna()
    return {
        "setting": setting,
        "test pairs": int(runs["test_pairs"].iloc[0]),
        "wrong pairs that 0.99 allows": int(runs["errors_allowed"].iloc[0]),
        "generalize at 0.99": f"{int(learned.sum())} of {len(runs)}",
        "which lasted": f"{int((runs['lasted'] == True).sum())} of {int(learned.sum())}",  # noqa: E712
        "median delay at 0.99 [95 %]": _median(runs),
        "generalize at 0.95": f"{int(runs['generalized_95'].notna().sum())} of {len(runs)}",
        "median delay at 0.95 [95 %]": _median(_at_95(runs)),
    }


def _median(runs: pd.DataFrame) -> str:
    """Return the median delay, by Kaplan and Meier, of runs that memorized, with its interval."""
    own = with_delays(runs)
    own = own[own["delay"].notna()].assign(delay=lambda frame: frame["delay"].clip(lower=0))
    if own.empty:
        return "–"
    curve = curve_of(own)
    said = ["–" if pd.isna(step) else f"{step:,.0f}" for step in (curve.median, *curve.median_interval)]
    return f"{said[0]} [{said[1]}, {said[2]}]"
