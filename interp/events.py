"""phases(): memorization, circuit formation and cleanup, read off a trajectory by events and not by eye."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from interp.errors import ConfigError
from interp.printed import Printed

LEARNED = 0.99  # accuracy from which a set counts as learned
FORMED = 0.10  # share of the fall of log test_loss that ends circuit formation
CLEANED = 0.99  # and cleanup


@dataclass(frozen=True, repr=False)
class Phases(Printed):
    """Boundaries of the phases, in steps; each is a row of the trajectory, so as fine as its checkpoints are dense.

    memorized               train accuracy first reaches 0.99
    memorization_end        after that, where excluded_loss is least
    circuit_formation_end   where log test_loss has fallen a tenth of the way from its peak to its final floor
    generalized             test accuracy first reaches 0.99
    cleanup_end             where log test_loss has fallen ninety-nine hundredths of the way
    grokking_delay          generalized − memorized

    An event that the run does not show is None, and `missing` says which and why.
    After Nanda et al. (2023), section 5, who read the phases off their curves.
    """

    memorized: int | None
    memorization_end: int | None
    circuit_formation_end: int | None
    generalized: int | None
    cleanup_end: int | None
    grokking_delay: int | None
    last_step: int
    missing: dict[str, str] = field(default_factory=dict)

    def spans(self) -> list[tuple[str, int, int]]:
        """(name, first step, last step) of each phase whose two ends are known."""
        ends = [end for end in (self.memorization_end, self.circuit_formation_end) if end is not None]
        edges = [
            ("memorization", 0, self.memorization_end),
            ("circuit formation", self.memorization_end, self.circuit_formation_end),
            ("cleanup", max(ends) if self.circuit_formation_end is not None else None, self.cleanup_end),
            ("grokked", self.cleanup_end, self.last_step),
        ]
        return [
            (name, first, last)
            for name, first, last in edges
            if first is not None and last is not None and last > first
        ]

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers and strings, ready for JSON."""
        return {
            "memorized": self.memorized,
            "memorization_end": self.memorization_end,
            "circuit_formation_end": self.circuit_formation_end,
            "generalized": self.generalized,
            "cleanup_end": self.cleanup_end,
            "grokking_delay": self.grokking_delay,
            "last_step": self.last_step,
            "missing": self.missing,
        }

    def _lines(self) -> list[tuple[str, str]]:
        events = [(name, value) for name, value in self.to_dict().items() if name != "missing"]
        return [
            (name, f"{value:,}" if value is not None else f"– {self.missing.get(name, 'unknown')}")
            for name, value in events
        ]


def phases(trajectory: pd.DataFrame) -> Phases:
    """The phases of any trajectory: a frame with `step` and, a row a step, what each event needs.

    memorization needs train_accuracy and excluded_loss, circuit formation and cleanup test_loss (with test_accuracy, a
    run that never reaches 0.99 has neither), the delay both accuracies. Rows may come in any order, and those without
    a value are passed over. What a frame lacks, or a run never does, is said in `missing`.
    Raises ConfigError for a frame without `step` or rows.
    """
    if not isinstance(trajectory, pd.DataFrame):
        raise ConfigError(
            f"phases are read off a data frame, as interp.trajectory returns; this is a {type(trajectory).__name__}."
        )
    if "step" not in trajectory:
        raise ConfigError("the trajectory has no column step; it needs step, and measures beside it.")
    if trajectory.empty:
        raise ConfigError("the trajectory has no rows; measure at least one checkpoint.")
    frame = trajectory.sort_values("step")
    missing: dict[str, str] = {}
    absent: dict[str, str] = {}

    def column(name: str) -> _Curve | None:
        if name not in frame:
            absent[name] = f"the trajectory has no {name}"
            return None
        if frame[name].isna().all():
            absent[name] = f"{name} has no values, as where the train/test split or the key frequencies are unknown"
            return None
        known = frame[frame[name].notna()]
        return _Curve(known["step"].to_numpy(dtype=int), known[name].to_numpy(dtype=float))

    train_accuracy, test_accuracy = column("train_accuracy"), column("test_accuracy")
    test_loss, excluded_loss = column("test_loss"), column("excluded_loss")

    memorized, why_not_memorized = _learned(train_accuracy, "train_accuracy", "memorized", absent)
    generalized, why_not_generalized = _learned(test_accuracy, "test_accuracy", "generalized", absent)
    if memorized is None:
        missing["memorized"] = why_not_memorized
    if generalized is None:
        missing["generalized"] = why_not_generalized

    memorization_end = None
    if memorized is None:
        missing["memorization_end"] = why_not_memorized
    elif generalized is not None and generalized <= memorized:
        missing["memorization_end"] = (
            f"it generalized at once: test accuracy reached {LEARNED} at step {generalized:,}, no later than train "
            f"accuracy at step {memorized:,}, so there was no memorization to end"
        )
    elif excluded_loss is None:
        missing["memorization_end"] = absent["excluded_loss"]
    else:
        after = excluded_loss.since(memorized)
        least = int(after.values.argmin()) if len(after.values) else 0
        if least + 1 >= len(after.values):
            missing["memorization_end"] = "excluded_loss had not begun to rise at the last checkpoint"
        else:
            memorization_end = int(after.steps[least])

    formed = cleaned = None
    if test_loss is None:
        missing["circuit_formation_end"] = missing["cleanup_end"] = absent["test_loss"]
    elif test_accuracy is not None and generalized is None:
        missing["circuit_formation_end"] = missing["cleanup_end"] = why_not_generalized
    else:
        formed, cleaned = _fall(test_loss, FORMED), _fall(test_loss, CLEANED)
        if formed is None:
            missing["circuit_formation_end"] = missing["cleanup_end"] = "test_loss never fell from its peak"

    delay = None
    if memorized is not None and generalized is not None:
        delay = generalized - memorized
    else:
        missing["grokking_delay"] = why_not_memorized if memorized is None else why_not_generalized
    last_step = int(frame["step"].to_numpy()[-1])
    return Phases(memorized, memorization_end, formed, generalized, cleaned, delay, last_step, missing)


@dataclass(frozen=True)
class _Curve:
    """One measure over training, without its gaps."""

    steps: Int[np.ndarray, " n"]
    values: Float[np.ndarray, " n"]

    def since(self, step: int) -> _Curve:
        return _Curve(self.steps[self.steps >= step], self.values[self.steps >= step])


def _learned(accuracy: _Curve | None, name: str, deed: str, absent: dict[str, str]) -> tuple[int | None, str]:
    if accuracy is None:
        return None, absent[name]
    reached = accuracy.steps[accuracy.values >= LEARNED]
    if not len(reached):
        return None, f"it never {deed}: {name} was {accuracy.values.max():.3f} at the most, under {LEARNED}"
    return int(reached[0]), ""


def _fall(test_loss: _Curve, share: float) -> int | None:
    """The first step at which log test_loss has fallen this share of the way from its peak to its later floor."""
    top = int(test_loss.values.argmax())
    height = np.log(np.maximum(test_loss.values[top:], np.finfo(float).tiny))
    fall = height[0] - height.min()
    if fall <= 0:
        return None
    return int(test_loss.steps[top:][height <= height[0] - share * fall][0])
