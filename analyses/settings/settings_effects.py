"""The settings that cause, delay or remove grokking: a figure, and a table with ridge regression's answers."""

from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd

from analyses._tables import write_table
from interp import ConfigError, Sweep, effects, fit_exponents, plot
from interp.linear import ridge
from interp.sweeps.comparisons import moved
from interp.sweeps.survival import OUTCOMES, in_counts

# setting of a run → the same setting of ridge regression
_OF_RIDGE = {
    "weight_decay": "weight_decay", "learning_rate": "learning_rate", "init_scale": "init_scale",
    "train_fraction": "n", "d_mlp": "m",
}  # fmt: skip
_N, _D, _M = 60, 8, 400
_DECAY, _SCALE, _SEEDS = 1e-5, 10.0, 3


def main(sweep: Sweep, out: Path) -> list[Path]:
    found = effects(sweep.table)
    baseline = sweep.table[list(_OF_RIDGE)].mode().iloc[0]
    rows = [
        {
            "setting": row["setting"], "outcomes": in_counts({one: row[one] for one in OUTCOMES if row[one]}),
            "memorized at": _steps(row["memorized"]), "delay": _steps(row["delay"]),
            "times the baseline's": _ratio(row), "p": _number(row["p_value"]), "least p": _number(row["least_p"]),
            "adjusted p": _number(row["p_adjusted"]), "effect": _effect(row),
            "ridge regression, times": _ridge(row["moved"], row["setting"], baseline),
        }
        for row in found.to_dict("records")
    ]  # fmt: skip
    written = plot.save(plot.effects(sweep.table), out, "settings_effects")
    written += write_table(found, out, "settings_effects", pd.DataFrame(rows))
    return written + write_table(_exponents(sweep.table), out, "settings_exponents")


def _exponents(table: pd.DataFrame) -> pd.DataFrame:
    """Return delay ∝ setting^x for each number changed alone, from its runs above 0 and those of the baseline."""
    runs, rows = moved(table), []
    for name in dict.fromkeys(runs["moved"]):
        of = runs[runs["moved"].isin(["", name])]
        if name not in table or not pd.api.types.is_numeric_dtype(table[name]):
            continue
        try:
            found = fit_exponents(of[of[name] > 0], [name])
        except ConfigError:  # too few runs generalize
            continue
        value, low, high = found.exponents[name]
        rows.append({"setting": name, "x": f"{value:.2f}", "95 % interval": f"{low:.2f} to {high:.2f}",
                     "interval of": found.basis, "law": found.law, "runs": found.runs, "censored": found.censored,
                     "outcomes": in_counts(found.outcomes)})  # fmt: skip
    return pd.DataFrame(rows)


def _ratio(row: dict[Any, Any]) -> str:
    if pd.isna(row["ratio"]) or row["setting"] == "the baseline":
        return "–"
    return f"{row['ratio']:.2g} [{row['ratio_low']:.2g}, {row['ratio_high']:.2g}]"


def _number(value: float) -> str:
    return "–" if pd.isna(value) else f"{value:.2g}"


def _steps(value: float) -> str:
    return "–" if pd.isna(value) else f"{value:,.0f}"


def _effect(row: dict[Any, Any]) -> str:
    """Return the effect of a setting in words, by the adjusted p-value, or by the interval of the ratio alone."""
    if row["setting"] == "the baseline":
        return "–"
    if row["diverged"] == row["runs"]:
        return "diverges"
    if pd.isna(row["memorized"]):
        return "does not memorize"
    if not row["generalized"] + row["generalized at once"]:
        return "no run generalizes"
    effect = "shorter delay" if row["ratio"] < 1 else "longer delay"
    if row["p_adjusted"] < 0.05:
        return effect
    if row["ratio_high"] < 1 or row["ratio_low"] > 1:
        return f"{effect}, by its interval alone"
    return f"none that {row['seeds']} seeds show"


def _ridge(moved: str, setting: str, baseline: pd.Series) -> str:
    """Return by what factor ridge regression's exact delay changes when its own setting changes by the same factor."""
    if moved not in _OF_RIDGE:
        return "–"
    name, factor = _OF_RIDGE[moved], float(setting.partition("=")[2]) / float(baseline[moved])
    if factor == 0:
        return "never"  # the null space keeps its start
    changed, usual = _ridge_delay(name, factor), _ridge_delay(name, 1.0)
    return "–" if changed is None or usual is None else f"{changed / usual:.2g}"


@cache
def _ridge_delay(name: str, factor: float) -> float | None:
    """Return the geometric mean over problems of the delay with one setting multiplied; None if one has none."""
    product = 1.0
    for seed in range(_SEEDS):
        n, m = (round(size * (factor if name == of else 1)) for of, size in (("n", _N), ("m", _M)))
        problem = ridge.random_features_problem(n, _D, m, seed=seed)
        rate = ridge.trajectory(problem, [0], weight_decay=_DECAY, seed=seed).attrs["learning_rate"] / 8
        settings = {"learning_rate": rate, "weight_decay": _DECAY, "init_scale": _SCALE}
        if name in settings:
            settings[name] *= factor
        try:
            delay = ridge.grokking_times(problem, seed=seed, **settings).delay
        except ConfigError:  # an unstable rate
            return None
        if not delay or delay < 0:
            return None
        product *= delay ** (1 / _SEEDS)
    return product
