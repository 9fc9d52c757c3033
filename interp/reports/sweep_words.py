"""Sentences about a sweep: its summary and its doubts."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import pandas as pd

from interp.plot.sweeps import UNSET
from interp.sweeps.comparisons import NO_SETTING, in_order, in_words, moved
from interp.sweeps.exponents import fit_exponents
from interp.sweeps.origins import said_of_origins
from interp.sweeps.survival import CENSORED, NEARLY, counted, in_counts, outcomes
from interp.utils.errors import ConfigError

_MOST_VALUES = 8


def summary(table: pd.DataFrame, settings: Sequence[str]) -> list[str]:
    """Return the sentences at the top of a page: the runs and their outcomes, the varied settings, the exponents."""
    found = counted(outcomes(table))
    nearly = f" (at a test accuracy of {NEARLY} or more)" if "nearly generalized" in found else ""
    parts = in_counts(found).replace("nearly generalized", f"nearly generalized{nearly}")
    said = [f"{_runs(len(table))}: {parts}."]
    if settings:
        said.append(f"Varied: {'; '.join(f'{name} ({_values(table, name)})' for name in settings)}.")
    else:
        said.append("All runs have the same settings.")
    return said + exponents(table, settings)


def exponents(table: pd.DataFrame, settings: Sequence[str]) -> list[str]:
    """Return delay ∝ setting^x, for all settings at once if all are numbers above 0, else for each one moved alone."""
    names = [name for name in settings if name not in NO_SETTING]
    if names and all(_positive(table, name) for name in names):
        return [f"Delay ∝ product of setting^x, x with 95% intervals: {found}." for found in _fit(table, names)]
    runs = moved(table)
    each = []
    for name in dict.fromkeys(runs["moved"]):
        of = runs[runs["moved"].isin(["", name])]
        if name in names and pd.api.types.is_numeric_dtype(table[name]):
            each += _fit(of[of[name] > 0], [name])
    if not each:
        return []
    return [
        f"Delay ∝ setting^x, each moved alone from the commonest settings, x with 95% intervals: {'; '.join(each)}."
    ]


def doubts(table: pd.DataFrame, settings: Sequence[str]) -> list[str]:
    """Return doubts about a sweep and omissions from its plot, in sentences."""
    failed = table.loc[table["error"].notna(), "error"]
    found = counted(outcomes(table))
    said = []
    if len(failed):
        said.append(f"{_runs(len(failed))} failed{'' if len(failed) == 1 else '; the first'}: {failed.iloc[0]}")
    if at_once := found.get("generalized at once", 0):
        said.append(f"{_runs(at_once)} generalized no later than memorizing, and have no delay.")
    waiting = sum(found.get(outcome, 0) for outcome in CENSORED)
    learned = found.get("generalized", 0) + at_once
    if waiting > learned:
        said.append(
            f"More than half of the runs that memorized had not generalized by their last step ({waiting} of "
            f"{waiting + learned}): the median of a group may not be reached."
        )
    if lost := int(table["lost"].notna().sum()):
        said.append(f"{_runs(lost)} lost again what {'it' if lost == 1 else 'they'} had learned.")
    if key_doubts := int((table["key_doubt"].notna() & table["generalized"].notna()).sum()):
        said.append(f"The key frequencies of {_runs(key_doubts)} that generalized are doubtful.")
    values = sorted({in_words(value) for value in table["threshold"].dropna()})
    if len(values) > 1:
        said.append(f"Runs differ in threshold, which is no setting: {', '.join(values)}.")
    if origins := said_of_origins(table):
        said.append(f"The runs {origins}.")
    if settings and "seed" not in settings:
        said.append("All runs have the same seed, so how much the delay scatters is not known.")
    return said


def _runs(count: int) -> str:
    return f"{count:,} run" if count == 1 else f"{count:,} runs"


def _positive(table: pd.DataFrame, name: str) -> bool:
    column = table[name]
    numeric = pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column)
    return numeric and bool((column.astype("Float64").fillna(0) > 0).all())


def _values(table: pd.DataFrame, name: str) -> str:
    unset = UNSET.get(name, "default")
    found = {in_words(value) or unset for value in table[name]}
    words = sorted(found, key=lambda word: in_order(f"{name}={word}"))
    if len(words) <= _MOST_VALUES:
        return ", ".join(words)
    return f"{len(words)} values from {words[0]} to {words[-1]}"


def _fit(runs: pd.DataFrame, names: list[str]) -> list[str]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # runs without a delay are counted above
        try:
            found = fit_exponents(runs, names)
        except ConfigError:  # too few runs generalized
            return []
    powers = [f"{name} {x:.2f} [{low:.2f}, {high:.2f}]" for name, (x, low, high) in found.exponents.items()]
    censored = f", {found.censored} of them censored" if found.censored else ""
    exponents = ", ".join(powers).replace("-", "−")
    return [f"{exponents} ({_runs(found.runs)} with a delay{censored}; {found.law} law; {found.basis})"]
