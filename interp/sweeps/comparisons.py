"""Effects of each setting of a sweep: its runs against the baseline, by exact tests and by ratios with intervals."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Shaped

from interp.runs.config import OF_DEFAULT_NETWORK
from interp.sweeps.exponents import censored_fit, errors_over_clusters
from interp.sweeps.grid import is_setting
from interp.sweeps.survival import OUTCOMES, curve_of, outcomes, with_delays
from interp.utils.arguments import given
from interp.utils.errors import ConfigError, warn
from interp.utils.torch_state import computing

NO_SETTING = {"seed", "split_seed", "steps", "device", "checkpoint_steps", "history_every"}


def moved(table: pd.DataFrame) -> pd.DataFrame:
    """Return the runs of a sweep with the difference of each from the baseline: columns `moved` and `setting`.

    The baseline has the commonest value of each setting. `moved` names the settings that differ, joined by +, and
    `setting` gives their values ("weight_decay=0.1"); both are empty for a run of the baseline. For a network that was
    given whole, the sizes in which the runs of one network differ are named beside it.

    Raises:
        ConfigError: If `table` is not the table of a sweep.
    """
    if not isinstance(table, pd.DataFrame) or not {"memorized", "generalized", "last_step", "p"} <= set(table):
        raise ConfigError(
            f"moved() takes the table of a sweep, interp.load_sweep(path).table; got "
            f"{given(list(table)) if isinstance(table, pd.DataFrame) else given(table)}."
        )
    settings = [name for name in map(str, table) if is_setting(name) and name not in NO_SETTING]
    words = table[settings].map(in_words)
    baseline = words.mode().iloc[0]
    several = words.groupby("network").nunique() > 1  # which sizes the runs of one network differ in
    rows = []
    for row in words.to_dict("records"):
        of_default = row["network"] != baseline["network"] == ""  # then the flat sizes say nothing
        differ = [
            name for name in settings
            if (several.at[row["network"], name] if name.startswith("network.") else row[name] != baseline[name])
            and not (of_default and name in OF_DEFAULT_NETWORK)
        ]  # fmt: skip
        said = ", ".join(f"{name}={row[name]}" for name in differ)
        rows.append(("+".join(differ), said))
    return table.assign(moved=[names for names, _ in rows], setting=[said for _, said in rows])


def in_words(value: Any) -> str:
    """Return a value of a setting as it is shown and compared, where 1 equals 1.0."""
    if isinstance(value, float) and not math.isnan(value):
        return f"{value:g}"
    if isinstance(value, np.ndarray):  # a list, as pandas reads it from parquet
        value = value.tolist()
    return "" if value is None or value is pd.NA or value != value else str(value)


def in_order(setting: str) -> tuple[tuple[float, str], ...]:
    """Return a sort key for settings in words: numbers by size, then words."""

    def key(word: str) -> tuple[float, str]:
        try:
            return float(word), ""
        except ValueError:
            return math.inf, word

    return tuple(key(part.partition("=")[2]) for part in setting.split(", "))


_FEW = 10  # seeds of a setting
_MOST = 200_000  # arrangements, up to which all are enumerated
_DRAWN = 19_999  # arrangements, where there are more


def log_rank_scores(
    delay: Float[np.ndarray, " runs"], censored: Bool[np.ndarray, " runs"]
) -> Float[np.ndarray, " runs"]:
    """Return the log-rank score of each run: 1 if it generalized, less the cumulative hazard at its delay.

    The cumulative hazard at t is Σ d / n over the delays up to t, at each of which d runs generalized and n were still
    waiting (Nelson, Aalen). All scores add up to 0. Those of one group add up to the numerator of the log-rank test,
    the number that generalized less the expected number (Peto and Peto, 1972).
    """
    times = np.unique(delay[~censored])
    hazards = np.array([((delay == t) & ~censored).sum() / (delay >= t).sum() for t in times])
    return np.where(censored, 0.0, 1.0) - np.array([hazards[times <= t].sum() for t in delay])


def exchange_test(
    scores: Float[np.ndarray, " runs"], group: Bool[np.ndarray, " runs"], blocks: Shaped[np.ndarray, " runs"]
) -> tuple[float, float, bool]:
    """Return the p-value of a sum of scores over a group, the least possible p-value, and whether both are exact.

    If the group makes no difference, all arrangements that exchange its labels within blocks are equally likely. The
    two-sided p-value is the share of arrangements whose sum is at least as far from their mean as the group's. Up to
    200,000 arrangements are enumerated. Of more, 19,999 are drawn from a fixed seed and counted with the actual one.
    """
    parts = [(scores[blocks == one], int(group[blocks == one].sum())) for one in np.unique(blocks)]
    mean = sum(labels * float(own.mean()) for own, labels in parts)
    found = abs(float(scores[group].sum()) - mean)
    exact = math.prod(math.comb(len(own), labels) for own, labels in parts) <= _MOST
    if exact:
        sums = np.zeros(1)
        for own, labels in parts:
            sums = np.add.outer(sums, [sum(some) for some in itertools.combinations(own, labels)]).ravel()
    else:
        draw = np.random.default_rng(0)
        sums = np.full(_DRAWN, 0.0)
        for own, labels in parts:
            sums += draw.permuted(np.tile(own, (_DRAWN, 1)), axis=1)[:, :labels].sum(1)
        sums = np.r_[sums, float(scores[group].sum())]
    far = np.abs(sums - mean)
    rounding = 1e-9 * max(1.0, float(np.abs(scores).max()))
    least = float(np.mean(far >= far.max() - rounding)) if exact else 1 / len(sums)
    return float(np.mean(far >= found - rounding)), least, exact


def adjusted(p_values: Float[np.ndarray, " tests"]) -> Float[np.ndarray, " tests"]:
    """Return p-values adjusted for their number (Holm, 1979): the i-th smallest of m is multiplied by m + 1 − i.

    Among the effects with at most 0.05, the chance that any is false is at most 0.05. NaN marks a missing test.
    """
    found = np.full(len(p_values), np.nan)
    order = [at for at in np.argsort(p_values, kind="stable") if not np.isnan(p_values[at])]
    largest = 0.0
    for place, at in enumerate(order):
        largest = max(largest, min(1.0, float(p_values[at]) * (len(order) - place)))
        found[at] = largest
    return found


@computing()
def effects(table: pd.DataFrame) -> pd.DataFrame:
    """Return the effect of each setting that a sweep moved on grokking; a row a setting, the baseline first.

    The test and the ratio compare the delays of runs that memorized. A run that memorized and had not generalized is
    censored at its last step; one that generalized at once has a delay of 0. Runs that never memorized, diverged or
    failed have no delay: their columns count them, and tell whether a setting changes how many memorize.
    The test needs runs that were watched equally long on both sides. The intervals are not adjusted for their number.
    Warns if a side has fewer than ten seeds.

    Returns:
        A data frame with the columns

        `moved`, `setting`: as `moved` gives them.
        `runs`: their number; a column for each of `interp.sweeps.survival.OUTCOMES` counts the runs with it.
        `memorized`: their median step.
        `delay`, `low`, `high`: the Kaplan-Meier median of generalized − memorized and its 95 % interval; NaN if not
            reached.
        `ratio`, `ratio_low`, `ratio_high`: delay over the baseline's, by a log-normal fit to both (without censored
            runs, the ratio of geometric means), with the 95 % interval of the jackknife over seeds and Student's t on
            `seeds` − 1 degrees of freedom; 0 to inf where the runs do not bound it. NaN if no run generalized, or if
            one generalized at once, since the logarithm of its delay does not exist.
        `seeds`, `pairs`: how many seeds with a delay the smaller side has, and how many both sides have.
        `p_value`, `least_p`, `exact`: of the log-rank permutation test against the baseline. Labels are exchanged
            between the two runs of a seed; runs whose seed the other side lacks are exchanged among each other. least_p
            is the least p-value that the test could give: five pairs give 2/32. `exact` is false if arrangements were
            drawn.
        `p_adjusted`: p_value adjusted for the number of settings that were tested (Holm).

    Raises:
        ConfigError: If the table has no runs of the baseline that memorized.
    """
    runs = with_delays(moved(table))
    runs = runs.assign(delay=runs["delay"].clip(lower=0), outcome=outcomes(table))
    groups = dict(list(runs.groupby("setting", sort=False)))
    baseline = groups[""][groups[""]["delay"].notna()] if "" in groups else runs.head(0)
    if baseline.empty:
        raise ConfigError("effects() needs runs of the baseline, which differ in nothing but their seeds; got none.")
    rows = []
    places = {name: place for place, name in enumerate(dict.fromkeys(runs["moved"]))}
    of = dict(zip(map(str, runs["setting"]), runs["moved"], strict=True))
    for said in sorted(of, key=lambda one: (one != "", places[of[one]], in_order(one))):
        all_of = groups[said]
        own = all_of[all_of["delay"].notna()]
        row = {
            "moved": all_of["moved"].iloc[0], "setting": said or "the baseline", "runs": len(all_of),
            **{outcome: int((all_of["outcome"] == outcome).sum()) for outcome in OUTCOMES},
            "memorized": float(all_of["memorized"].astype("Float64").astype(float).median()),
            "delay": math.nan, "low": math.nan, "high": math.nan,
            "ratio": math.nan if said else 1.0, "ratio_low": math.nan, "ratio_high": math.nan,
            "seeds": 0, "pairs": 0, "p_value": math.nan, "least_p": math.nan, "exact": True,
        }  # fmt: skip
        if len(own):
            curve = curve_of(own)
            row |= {"delay": curve.median, **dict(zip(("low", "high"), curve.median_interval, strict=True))}
            if said:
                row |= _compared(own, baseline)
        rows.append(row)
    frame = pd.DataFrame(rows)
    tested = frame["p_value"].notna()
    few = frame[tested & (frame["seeds"] < _FEW)]
    if len(few):
        warn(
            f"{len(few)} of the {int(tested.sum())} settings that effects() compares with the baseline have fewer than "
            f"{_FEW} seeds on a side; their p-values cannot be under {few['least_p'].min():.2g}. "
            f"Train {_FEW} seeds or more of each."
        )
    return frame.assign(p_adjusted=adjusted(frame["p_value"].to_numpy(dtype=float)))


def _compared(own: pd.DataFrame, baseline: pd.DataFrame) -> dict[str, Any]:
    """Return the columns of a setting that compare the delays of its runs with the baseline's."""
    both = pd.concat([own, baseline], ignore_index=True)
    group = np.arange(len(both)) < len(own)
    delay, censored = both["delay"].to_numpy(dtype=float), both["censored"].to_numpy(dtype=bool)
    seeds = both["seed"].to_numpy()
    smaller = min(len(np.unique(seeds[side])) for side in (group, ~group))
    shared = np.intersect1d(seeds[group], seeds[~group])
    blocks = np.where(np.isin(seeds, shared), seeds, -1)  # no seed is negative
    tested = exchange_test(log_rank_scores(delay, censored), group, blocks)
    ratio = _ratio(delay, censored, group, seeds, smaller - 1)
    return {
        **dict(zip(("ratio", "ratio_low", "ratio_high"), ratio, strict=True)), "seeds": smaller, "pairs": len(shared),
        **dict(zip(("p_value", "least_p", "exact"), tested, strict=True)),
    }  # fmt: skip


def _ratio(
    delay: Float[np.ndarray, " runs"], censored: Bool[np.ndarray, " runs"], group: Bool[np.ndarray, " runs"],
    seeds: Shaped[np.ndarray, " runs"], free: int,
) -> tuple[float, float, float]:  # fmt: skip
    """Return the delay of a group over that of the others, and the ends of its interval."""
    from scipy.stats import t as student

    if (delay <= 0).any() or censored[group].all() or censored[~group].all():
        return math.nan, math.nan, math.nan
    X, y = np.column_stack([np.ones(len(delay)), group]), np.log(delay)

    def slope(kept: Bool[np.ndarray, " runs"]) -> Float[np.ndarray, " 1"]:
        return censored_fit(X[kept], y[kept], censored[kept]).slopes[1:]

    (found,) = slope(np.ones(len(delay), dtype=bool))
    half = float(student.ppf(0.975, free)) * float(errors_over_clusters(slope, seeds)[0]) if free else math.inf
    with np.errstate(over="ignore"):
        value, low, high = np.exp([found, found - half, found + half]).tolist()
    return value, low, high
