"""Delays of runs of which some had not grokked by their last step: these are censored, neither averaged nor dropped.

Kaplan-Meier curves are scipy's (`scipy.stats.ecdf`). A power law of the delay is fitted by maximum likelihood with
log-normal scatter, in which a censored run counts by the probability that its delay is longer than it was watched.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float

from interp.arguments import given
from interp.computing import computing
from interp.config import OF_DEFAULT_NETWORK, TrainConfig
from interp.errors import ConfigError, warn
from interp.printed import Printed

_ROUNDING = 1e-9  # of a share, a product of fractions: 3/4 · 2/3 is a half


@dataclass(frozen=True)
class Curve:
    """A Kaplan-Meier estimate: the share of runs that have not generalized `steps` after they memorized.

    steps   where it falls, ascending, from 0
    share   its value from each of these on
    low, high   the 95 % interval at each (log-log; scipy)
    """

    steps: Float[np.ndarray, " n"]
    share: Float[np.ndarray, " n"]
    low: Float[np.ndarray, " n"]
    high: Float[np.ndarray, " n"]

    @property
    def median(self) -> float:
        """The least delay after which at most half of the runs still wait; NaN if more than half did at their ends.

        Where exactly half wait from one delay to the next, it is the middle between these two, as in R's survival and
        as for the median of numbers. If no delay follows, because the other runs are censored, it is the first.
        """
        return self._half(self.share)

    @property
    def median_interval(self) -> tuple[float, float]:
        """The 95 % interval of the median: where the ends of the curve's interval fall to a half; NaN if never."""
        return self._half(self.low), self._half(self.high)

    def _half(self, curve: Float[np.ndarray, " n"]) -> float:
        below = np.flatnonzero(curve < 0.5 + _ROUNDING)
        if not len(below):
            return math.nan
        first = below[0]
        lower = np.flatnonzero(curve < 0.5 - _ROUNDING)
        level = curve[first] > 0.5 - _ROUNDING and len(lower)
        return float(self.steps[[first, lower[0]]].mean() if level else self.steps[first])


@dataclass(frozen=True, repr=False)
class Exponents(Printed):
    """How the delay depends on settings: delay ∝ Π setting^exponent, with 95 % intervals.

    exponents   of each setting: its value, and the low and high ends of its interval
    scatter     standard deviation of log delay about the fit
    runs        how many were fitted, of which `censored` had not generalized by their last step
    """

    exponents: dict[str, tuple[float, float, float]]
    scatter: float
    runs: int
    censored: int

    def _lines(self) -> list[tuple[str, str]]:
        fits = [(name, f"{value:.2f} [{low:.2f}, {high:.2f}]") for name, (value, low, high) in self.exponents.items()]
        runs = f"{self.runs}" + (f", {self.censored} of them censored" if self.censored else "")
        return [*fits, ("scatter", f"{self.scatter:.2f} of log delay"), ("runs", runs)]


_EVENTS = (("memorized", "generalized"), ("overfitting", "generalization"))


def with_delays(table: pd.DataFrame) -> pd.DataFrame:
    """Return the runs with columns `delay` and `censored`; the delay of a run that has none is NaN.

    `table` is that of a sweep, or of `two_layer.grokking_times`. The delay is generalized − memorized; that of a run
    that had not generalized is longer than last_step − memorized, and stands here as this, censored.
    Raises ConfigError for a frame without these columns.
    """
    has = set(table) if isinstance(table, pd.DataFrame) else set()
    found = next((pair for pair in _EVENTS if {*pair, "last_step"} <= has), None)
    if found is None:
        raise ConfigError(
            f"This needs the table of a sweep, with memorized, generalized, last_step, as "
            f"interp.load_sweep(path).table, or that of two_layer.grokking_times; got "
            f"{given(list(table)) if isinstance(table, pd.DataFrame) else given(table)}."
        )
    memorized, generalized, last = (table[name].astype("Float64").astype(float) for name in (*found, "last_step"))
    censored = generalized.isna() & memorized.notna() & last.notna()
    return table.assign(delay=generalized.where(~censored, last) - memorized, censored=censored)


def waits(table: pd.DataFrame) -> pd.DataFrame:
    """Return the runs of `with_delays` that have a delay above 0, known or censored.

    Runs that failed, never memorized, or generalized no later than they memorized have none, and are left out with a
    warning.
    """
    runs = with_delays(table)
    there = runs["delay"] > 0
    if left := int((~there).sum()):
        warn(f"{left} of {len(table)} runs have no delay (they failed, never memorized, or did both at once).")
    return runs[there]


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
        # Where nobody waits any more there is no interval: its upper end stays where it was.
        np.r_[one, pd.Series(high).ffill().fillna(1.0).to_numpy()],
    )  # fmt: skip


def curve_of(runs: pd.DataFrame) -> Curve:
    """Return the Kaplan-Meier estimate of runs with columns `delay` and `censored`, as `waits` gives them."""
    return kaplan_meier(runs["delay"].to_numpy(dtype=float), runs["censored"].to_numpy(dtype=bool))


NO_SETTING = {"seed", "split_seed", "steps", "device", "checkpoint_steps", "history_every"}


def moved(table: pd.DataFrame) -> pd.DataFrame:
    """Return the runs of a sweep with what sets each apart from the middle: columns `moved` and `setting`.

    The middle is the commonest value of each setting. `moved` names the settings that differ, with + between them, and
    `setting` says their values ("weight_decay=0.1"); both are empty for a run of the middle. Of a network that was
    given whole, the sizes in which the runs of one network differ are named beside it.
    Raises ConfigError for a frame that is no table of a sweep.
    """
    if not isinstance(table, pd.DataFrame) or not {"memorized", "generalized", "last_step", "p"} <= set(table):
        raise ConfigError(
            f"moved() takes the table of a sweep, interp.load_sweep(path).table; got "
            f"{given(list(table)) if isinstance(table, pd.DataFrame) else given(table)}."
        )
    named = [str(name) for name in table if name in TrainConfig.names() or str(name).startswith("network.")]
    settings = [name for name in named if name not in NO_SETTING]
    words = table[settings].map(in_words)
    middle = words.mode().iloc[0]
    several = words.groupby("network").nunique() > 1  # which sizes the runs of one network differ in
    rows = []
    for row in words.to_dict("records"):
        of_default = row["network"] != middle["network"] == ""  # then the flat sizes say nothing
        differ = [
            name for name in settings
            if (several.at[row["network"], name] if name.startswith("network.") else row[name] != middle[name])
            and not (of_default and name in OF_DEFAULT_NETWORK)
        ]  # fmt: skip
        said = ", ".join(f"{name}={row[name]}" for name in differ)
        rows.append(("+".join(differ), said))
    return table.assign(moved=[names for names, _ in rows], setting=[said for _, said in rows])


def in_words(value: Any) -> str:
    """Return a value of a setting as it is shown and compared: 1 and 1.0 are the same."""
    if isinstance(value, float) and not math.isnan(value):
        return f"{value:g}"
    return "" if value is None or value is pd.NA or value != value else str(value)


def in_order(setting: str) -> tuple[tuple[float, str], ...]:
    """Return what settings in words are sorted by: numbers by size, then words."""

    def key(word: str) -> tuple[float, str]:
        try:
            return float(word), ""
        except ValueError:
            return math.inf, word

    return tuple(key(part.partition("=")[2]) for part in setting.split(", "))


@computing()
def effects(table: pd.DataFrame) -> pd.DataFrame:
    """Return what each setting that a sweep moved does to grokking; a row a setting, that of the middle first.

    Columns: `moved` and `setting`, as `moved` gives them; runs; memorized, their median step; generalized, how many
    did by their last step; delay, low, high, the median of generalized − memorized by Kaplan and Meier with its 95 %
    interval (NaN where it was not reached); ratio, of that median to the middle's; p_value, of the log-rank test
    against the middle: whether such runs could be runs of the middle. Runs that never memorized have no delay.
    Raises ConfigError for a table without runs of the middle that memorized.
    """
    from scipy.stats import CensoredData, logrank

    runs = with_delays(moved(table))
    runs = runs.assign(delay=runs["delay"].clip(lower=0))
    groups = {said: own[own["delay"].notna()] for said, own in runs.groupby("setting", sort=False)}
    if "" not in groups or groups[""].empty:
        raise ConfigError("effects() needs runs of the middle, which differ in nothing but their seeds; got none.")

    def data(own: pd.DataFrame) -> CensoredData:
        delay, censored = own["delay"].to_numpy(dtype=float), own["censored"].to_numpy(dtype=bool)
        return CensoredData(delay[~censored], right=delay[censored])

    rows = []
    places = {name: place for place, name in enumerate(dict.fromkeys(runs["moved"]))}
    of = dict(zip(map(str, runs["setting"]), runs["moved"], strict=True))
    for said in sorted(of, key=lambda one: (one != "", places[of[one]], in_order(one))):
        own, all_of = groups[said], runs[runs["setting"] == said]
        row = {
            "moved": all_of["moved"].iloc[0], "setting": said or "the middle", "runs": len(all_of),
            "memorized": float(all_of["memorized"].astype("Float64").astype(float).median()),
            "generalized": int(own["generalized"].notna().sum()),
            "delay": math.nan, "low": math.nan, "high": math.nan, "p_value": math.nan,
        }  # fmt: skip
        if len(own):
            curve = curve_of(own)
            row |= {"delay": curve.median, **dict(zip(("low", "high"), curve.median_interval, strict=True))}
            if said:
                row["p_value"] = float(logrank(data(own), data(groups[""])).pvalue)
        rows.append(row)
    frame = pd.DataFrame(rows)
    frame.insert(8, "ratio", frame["delay"] / frame["delay"].iloc[0])
    return frame


@computing()
def fit_exponents(table: pd.DataFrame, settings: Sequence[str]) -> Exponents:
    """Fit delay ∝ Π setting^exponent to the runs of a sweep, those that had not generalized as censored.

    `table` is that of `interp.load_sweep`, or of `two_layer.grokking_times`; `settings` names columns of it whose
    values are above 0 and differ. Without censored runs this is least squares in the logarithms, with intervals of
    Student's t.
    Raises ConfigError for other settings, and for fewer than three runs with a delay.
    """
    from scipy.stats import t as student

    names = [settings] if isinstance(settings, str) else list(settings)
    runs = waits(table)
    for name in names:
        known = name in runs and pd.api.types.is_numeric_dtype(runs[name])
        if not known or not (runs[name].astype("Float64").fillna(0) > 0).all():
            raise ConfigError(f"settings must name columns of numbers above 0; got {name!r}.")
        if runs[name].nunique() < 2:
            raise ConfigError(f"settings must vary to have an exponent; {name} has one value.")
    seen = ~runs["censored"].to_numpy(dtype=bool)
    if seen.sum() < 3:
        raise ConfigError(f"An exponent needs at least three runs that generalized; got {int(seen.sum())}.")
    X = np.column_stack([np.ones(len(runs)), *(np.log(runs[name].to_numpy(dtype=float)) for name in names)])
    if not names or seen.sum() <= X.shape[1] or np.linalg.matrix_rank(X) < X.shape[1]:
        raise ConfigError(
            f"settings must name settings that vary apart from each other, and fewer of them than the "
            f"{int(seen.sum())} runs that generalized, less one; got {', '.join(map(str, names)) or 'none'}."
        )
    slopes, errors, scatter = censored_fit(X, np.log(runs["delay"].to_numpy(dtype=float)), ~seen)
    wide = float(student.ppf(0.975, max(int(seen.sum()) - X.shape[1], 1)))
    of = zip(names, slopes[1:], errors[1:], strict=True)
    exponents = {name: (float(s), float(s - wide * e), float(s + wide * e)) for name, s, e in of}
    return Exponents(exponents, scatter, len(runs), int((~seen).sum()))


def censored_fit(
    X: Float[np.ndarray, "runs k"], y: Float[np.ndarray, " runs"], censored: Bool[np.ndarray, " runs"]
) -> tuple[Float[np.ndarray, " k"], Float[np.ndarray, " k"], float]:
    """Fit y = X β + σ · normal by maximum likelihood, where y of a censored run is a lower bound (Tobin, 1958).

    Returns β, its standard errors from the observed information, and σ. Both are corrected for the k numbers that were
    fitted to the n runs that are not censored, by √(n / (n − k)), so that without censored runs β, its errors and σ are
    those of least squares.
    """
    from scipy.optimize import minimize
    from scipy.stats import norm

    centre, seen = X[:, 1:].mean(0), ~censored
    Z = np.column_stack([X[:, :1], X[:, 1:] - centre])  # centred, so that the search is well conditioned
    start, *_ = np.linalg.lstsq(Z, y, rcond=None)
    spread = float(np.sqrt(np.mean((y - Z @ start) ** 2))) or 1e-3
    if not censored.any():  # least squares, which a search would only come near to
        sigma = float(np.linalg.norm(y - Z @ start)) / math.sqrt(max(len(y) - X.shape[1], 1))
        return start, sigma * np.sqrt(np.diag(np.linalg.inv(Z.T @ Z))), sigma

    def objective(theta: Float[np.ndarray, " k1"]) -> tuple[float, Float[np.ndarray, " k1"]]:
        beta, log_sigma = theta[:-1], theta[-1]
        sigma = math.exp(log_sigma)
        z = (y - Z @ beta) / sigma
        value = -(norm.logpdf(z[seen]) - log_sigma).sum() - norm.logsf(z[censored]).sum()
        by_z = np.where(seen, z, np.exp(norm.logpdf(z) - norm.logsf(z)))  # of −log likelihood
        by_beta = -(by_z @ Z) / sigma
        by_log_sigma = seen.sum() - (by_z * z).sum()
        return float(value), np.r_[by_beta, by_log_sigma]

    found = minimize(objective, np.r_[start, math.log(spread)], jac=True, method="BFGS", options={"gtol": 1e-9})
    theta = found.x
    steps = 1e-5 * np.eye(len(theta))
    information = np.array([(objective(theta + h)[1] - objective(theta - h)[1]) / 2e-5 for h in steps])
    errors = np.sqrt(np.diag(np.linalg.inv((information + information.T) / 2)))[:-1]
    corrected = math.sqrt(seen.sum() / max(seen.sum() - X.shape[1], 1))
    return theta[:-1], errors * corrected, math.exp(theta[-1]) * corrected
