"""Curves of losses and accuracies over training, read from the columns of data frames and checked."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from interp.utils.arguments import some
from interp.utils.errors import ConfigError, warn

EVENTS = {  # by event, the column from which it is read
    "memorized": "train_accuracy", "memorization_end": "excluded_loss", "circuit_formation_end": "test_loss",
    "generalized": "test_accuracy", "cleanup_end": "test_loss", "lost": "test_accuracy",
}  # fmt: skip


@dataclass(frozen=True)
class Curve:
    """One value over training: its known values, ascending in step."""

    steps: Int[np.ndarray, " n"]
    values: Float[np.ndarray, " n"]

    def between(self, first: float, last: float) -> Curve:
        inside = (self.steps >= first) & (self.steps <= last)
        return Curve(self.steps[inside], self.values[inside])

    def without(self, step: int) -> Curve:
        others = self.steps != step
        return Curve(self.steps[others], self.values[others])

    def from_peak(self) -> Curve:
        """Return the rows from the largest value on, the first one if it occurs twice."""
        peak = int(self.values.argmax())
        return Curve(self.steps[peak:], self.values[peak:])

    def interval(self, step: int) -> tuple[int | None, int]:
        """Return `step` after the last step before it, which is None for the first."""
        at = int(np.searchsorted(self.steps, step))
        return (int(self.steps[at - 1]) if at else None), step


def steps_of(frame: pd.DataFrame) -> Int[np.ndarray, " n"]:
    """Return the step of each row, −1 for a row without one; ConfigError if they are not whole numbers."""
    if "step" in frame:
        column = frame["step"]
    elif "step" in frame.index.names:
        column = frame.index.get_level_values("step").to_series()
    else:
        raise ConfigError(
            "a frame that phases are read from must have a column step; its columns are "
            f"{', '.join(map(str, frame.columns[:8])) or 'none'}. Rename the one that counts the steps, or give "
            "interp.read_log(df), which knows names such as epoch and val_acc."
        )
    if not len(frame):
        raise ConfigError("the trajectory has no rows; measure at least one checkpoint.")
    numbers = _numbers(column, "step")
    known = ~np.isnan(numbers)
    bad = known & ~((numbers >= 0) & (numbers < 2.0**53) & (numbers == np.floor(numbers)))
    if bad.any():
        first = numbers[bad][0]
        parts = " If steps are parts of an epoch, multiply them by the number of updates in one."
        mend = parts if first != np.floor(first) else ""
        raise ConfigError(f"step must be a whole number of at least 0; got {first:.6g}.{mend}")
    if not known.any():
        raise ConfigError("no row of the trajectory has a step; give each row the number of its update.")
    if not known.all():
        warn(f"{int((~known).sum()):,} of {len(numbers):,} rows have no step, and are left out of the phases.")
    return np.where(known, numbers, -1).astype(np.int64)


def curve_of(steps: Int[np.ndarray, " n"], frame: pd.DataFrame, name: str) -> Curve:
    """Return the known values of a column, ascending in step; ConfigError for two different values at one step."""
    rows, values = steps, _numbers(frame[name], name)
    known = (steps >= 0) & ~np.isnan(values)
    order = np.argsort(steps[known], kind="stable")
    steps, values = steps[known][order], values[known][order]
    again = steps[1:] == steps[:-1]
    if (different := again & (values[1:] != values[:-1])).any():
        row = int(np.argmax(different))
        raise ConfigError(
            f"{name} must have one value a step; got {values[row]:g} and {values[row + 1]:g} at step {steps[row]:,}. "
            + (
                _which_run(rows, frame)
                or "Give the rows of one run, with one row per step: df.drop_duplicates('step', keep='last')."
            )
        )
    first = np.concatenate([[True], ~again])[: len(steps)]
    return Curve(steps[first], values[first])


def _which_run(steps: Int[np.ndarray, " n"], frame: pd.DataFrame) -> str | None:
    """Return how to choose the rows of one run, if a column tells several runs apart; else None."""
    others = [item for item in frame.items() if item[0] not in ("step", "train_loss", *EVENTS.values())]
    for name, column in others:
        runs = column.astype(str)
        once = not pd.DataFrame({"run": runs.to_numpy(), "step": steps})[steps >= 0].duplicated().any()
        if once and 1 < runs.nunique() <= len(runs) / 2:
            return (
                f"These are {runs.nunique():,} runs, told apart by the column {name}: {some(list(runs.unique()), 3)}. "
                f'Choose one, as in interp.read_log(log, where={{"{name}": {runs.iloc[0]!r}}}); on the shell, '
                f"--where {name}={runs.iloc[0]}."
            )
    return None


def _numbers(column: pd.Series | pd.DataFrame, name: str) -> Float[np.ndarray, " n"]:
    """Return a column as floats, NaN for missing values; text is read as numbers. Raises ConfigError."""
    if isinstance(column, pd.DataFrame):
        raise ConfigError(f"the trajectory must have one column {name}; got {column.shape[1]}.")
    if isinstance(column.dtype, np.dtype) and column.dtype.kind in "iuf":
        return column.to_numpy() if column.dtype.kind == "f" else column.to_numpy(dtype=float)
    numbers = []
    for value in column.astype(object):
        if value is None or value is pd.NA or (isinstance(value, str) and not value.strip()):
            numbers.append(math.nan)
            continue
        try:
            if isinstance(value, bool | np.bool_):
                raise TypeError
            numbers.append(float(value.detach() if hasattr(value, "detach") else value))  # a tensor
        except (TypeError, ValueError, RuntimeError):
            raise ConfigError(f"{name} must hold numbers; got {value!r}.") from None
    return np.array(numbers, dtype=float)
