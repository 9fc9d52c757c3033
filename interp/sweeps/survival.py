"""Outcomes and delays of runs; those that had not grokked by their last step are censored, not averaged or dropped.

Kaplan-Meier curves are scipy's (`scipy.stats.ecdf`). `interp.sweeps.exponents` fits exponents to delays, and
`interp.sweeps.comparisons` compares settings.
"""

from __future__ import annotations

import math
import warnings
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float

from interp.utils.arguments import given
from interp.utils.errors import ConfigError, DivergedError, warn
from interp.utils.torch_state import computing

_ROUNDING = 1e-9  # of a share, a product of fractions: 3/4 · 2/3 is a half
NEARLY = 0.95  # the test accuracy from which a run that had not generalized had nearly done so

OUTCOMES = {
    "generalized": "the test accuracy reached the threshold (0.99 by default) after the train accuracy did",
    "generalized at once": "the test accuracy reached it no later than the train accuracy: there is no delay",
    "nearly generalized": f"memorized, and ended at a test accuracy from {NEARLY} up to the threshold",
    "still waiting": f"memorized, and ended at a test accuracy under {NEARLY}, or at one that is not in the table",
    "no longer memorized": "memorized, had not generalized, and ended at a train accuracy under the threshold",
    "never generalizes": "memorized, and the table has no last step: its times are exact, as of ridge regression",
    "never memorized": "the train accuracy did not reach the threshold by the last step",
    "diverged": "the loss was no longer finite",
    "failed": "ended with another error",
}
CENSORED = ("nearly generalized", "still waiting", "no longer memorized")  # their delays are known by a bound only


@dataclass(frozen=True)
class Curve:
    """A Kaplan-Meier estimate: the share of runs that have not generalized `steps` after they memorized.

    Attributes:
        steps: Where it falls, ascending, from 0.
        share: Its value from each of these on.
        low, high: The 95 % interval at each (log-log; scipy).
    """

    steps: Float[np.ndarray, " n"]
    share: Float[np.ndarray, " n"]
    low: Float[np.ndarray, " n"]
    high: Float[np.ndarray, " n"]

    @property
    def median(self) -> float:
        """The least delay after which at most half of the runs still wait; NaN if more than half did at their ends.

        If exactly half wait from one delay to the next, it is the midpoint of these two, as in R's survival and as for
        the median of numbers. If no delay follows, because the other runs are censored, it is the first.
        """
        return self._half(self.share)

    @property
    def median_interval(self) -> tuple[float, float]:
        """The 95 % interval of the median: the delays at which `low` and `high` fall to a half; NaN if never."""
        return self._half(self.low), self._half(self.high)

    def _half(self, curve: Float[np.ndarray, " n"]) -> float:
        below = np.flatnonzero(curve < 0.5 + _ROUNDING)
        if not len(below):
            return math.nan
        first = below[0]
        lower = np.flatnonzero(curve < 0.5 - _ROUNDING)
        level = curve[first] > 0.5 - _ROUNDING and len(lower)
        return float(self.steps[[first, lower[0]]].mean() if level else self.steps[first])


_EVENTS = (("memorized", "generalized"), ("overfitting", "generalization"))


def _floats(table: pd.DataFrame, names: Iterable[str]) -> list[pd.Series]:
    return [table[name].astype("Float64").astype(float) for name in names]


def _events(table: pd.DataFrame) -> list[pd.Series]:
    """Return the steps of both events and the last step of each run; ConfigError if the table lacks them."""
    has = set(table) if isinstance(table, pd.DataFrame) else set()
    found = next((pair for pair in _EVENTS if {*pair, "last_step"} <= has), None)
    if found is None:
        raise ConfigError(
            f"This needs the table of a sweep, with memorized, generalized, last_step, as "
            f"interp.load_sweep(path).table, or that of two_layer.grokking_times; got "
            f"{given(list(table)) if isinstance(table, pd.DataFrame) else given(table)}."
        )
    return _floats(table, (*found, "last_step"))


def outcomes(table: pd.DataFrame) -> pd.Series:
    """Return the outcome of each run, one of the words that `OUTCOMES` explains; the index is that of `table`.

    `table` is that of a sweep, or of `two_layer.grokking_times`. The accuracies are those of the last step. A run that
    generalized and lost it again is "generalized", with the step in the column lost. A run whose train accuracy fell
    below the threshold again before it generalized, as after a collapse, is "no longer memorized".

    Raises:
        ConfigError: For a frame without the columns of either table.
    """
    memorized, generalized, last = _events(table)

    def numbers(name: str) -> pd.Series:
        return _floats(table, [name])[0] if name in table else memorized * math.nan

    error = table["error"].fillna("").astype(str) if "error" in table else memorized.map(lambda _: "")
    found = pd.Series("still waiting", index=table.index, dtype=object)
    found[numbers("test_accuracy") >= NEARLY] = "nearly generalized"
    found[numbers("train_accuracy") < numbers("threshold")] = "no longer memorized"
    found[last.isna()] = "never generalizes"
    found[memorized.isna()] = "never memorized"
    found[generalized.notna()] = "generalized"
    found[generalized <= memorized] = "generalized at once"
    found[error != ""] = "failed"
    found[error.str.startswith(DivergedError.BEGINNING)] = "diverged"
    return found


def counted(outcomes: Iterable[str]) -> dict[str, int]:
    """Return how many runs had each outcome, in the order of `OUTCOMES`, without counts of 0."""
    found = Counter(outcomes)
    return {outcome: found[outcome] for outcome in OUTCOMES if found[outcome]}


def with_delays(table: pd.DataFrame) -> pd.DataFrame:
    """Return the runs with columns `delay` and `censored`; `delay` is NaN for a run without one.

    `table` is that of a sweep, or of `two_layer.grokking_times`. The delay is generalized − memorized. A run that had
    not generalized is censored, with last_step − memorized, below which its delay cannot lie.

    Raises:
        ConfigError: For a frame without the columns of either table.
    """
    memorized, generalized, last = _events(table)
    censored = generalized.isna() & memorized.notna() & last.notna()
    return table.assign(delay=generalized.where(~censored, last) - memorized, censored=censored)


BOUNDED = {"generalized": "last_step", "cleanup_end": "cleanup_after"}  # an event, and its lower bound if not known


def times(table: pd.DataFrame, column: str) -> pd.DataFrame | None:
    """Return the runs that have a time in `column`, as columns `delay` and `censored`; None if it holds no such times.

    For "grokking_delay" these are the runs of `waits`. A run that had not generalized by its last step counts as
    generalizing later, and one whose test loss had not settled as ending its cleanup at `cleanup_after` or later.
    """
    if column == "grokking_delay":
        return waits(table)
    if column not in BOUNDED or BOUNDED[column] not in table:
        return None
    known, bound = _floats(table, (column, BOUNDED[column]))
    runs = table.assign(delay=known.where(known.notna(), bound), censored=known.isna() & bound.notna())
    return runs[runs["delay"].notna()]


def waits(table: pd.DataFrame) -> pd.DataFrame:
    """Return the runs of `with_delays` that have a delay above 0, known or censored.

    The others never memorized, diverged, failed, or generalized at once. They are left out with a warning that counts
    them; `outcomes` tells which they are.
    """
    runs = with_delays(table)
    there = runs["delay"] > 0
    if left := counted(outcomes(table)[~there]):
        warn(f"{sum(left.values())} of {len(table)} runs have no delay: {in_counts(left)}.")
    return runs[there]


def in_counts(counts: dict[str, int]) -> str:
    """Return counts in words: "119 generalized, 6 still waiting"."""
    return ", ".join(f"{count:,} {outcome}" for outcome, count in counts.items())


@computing()
def kaplan_meier(delay: Float[np.ndarray, " runs"], censored: Bool[np.ndarray, " runs"]) -> Curve:
    """Return the Kaplan-Meier estimate of how many runs still wait, from delays of which some are censored."""
    from scipy.stats import CensoredData, ecdf

    if len(delay) == 0 or len(delay) != len(censored):
        raise ConfigError(
            f"kaplan_meier() needs a delay and a bool for each run; got {len(delay)} and {len(censored)} of them."
        )
    found = ecdf(CensoredData(delay[~censored], right=delay[censored])).sf
    with np.errstate(divide="ignore", invalid="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # at 1 and at 0 there is no interval
        interval = found.confidence_interval(method="log-log")
    falls = found.quantiles
    low, high = (np.asarray(end.probabilities, dtype=float) for end in (interval.low, interval.high))
    share = np.asarray(found.probabilities, dtype=float)
    one = np.ones(1)
    return Curve(
        np.r_[0.0, falls], np.r_[one, share], np.r_[one, np.where(np.isnan(low), share, low)],
        # After the last run there is no interval: its upper end stays where it was.
        np.r_[one, pd.Series(high).ffill().fillna(1.0).to_numpy()],
    )  # fmt: skip


def curve_of(runs: pd.DataFrame) -> Curve:
    """Return the Kaplan-Meier estimate of runs with columns `delay` and `censored`, as `waits` gives them."""
    return kaplan_meier(runs["delay"].to_numpy(dtype=float), runs["censored"].to_numpy(dtype=bool))


def spread(values: Float[np.ndarray, " n"]) -> tuple[float, float, float]:
    """Return the standard deviation of numbers, and the ends of its 95 % interval, for a normal law.

    (n − 1) s² / σ² has the law χ² with n − 1 degrees of freedom.

    Raises:
        ConfigError: For fewer than two finite numbers.
    """
    from scipy.stats import chi2

    numbers = np.asarray(values, dtype=float)
    if numbers.ndim != 1 or len(numbers) < 2 or not np.isfinite(numbers).all():
        raise ConfigError(f"spread() needs at least two finite numbers; got {given(values)}.")
    s, free = float(numbers.std(ddof=1)), len(numbers) - 1
    low, high = (s * math.sqrt(free / float(chi2.ppf(share, free))) for share in (0.975, 0.025))
    return s, low, high
