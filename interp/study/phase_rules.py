"""The rules of the phases: read_phases() reads where each ends off the frames of one run."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Bool

from interp.study.frames import EVENTS, Curve, curve_of, steps_of
from interp.study.phase_table import Phases
from interp.subjects.subject import Missing
from interp.utils.errors import ConfigError
from interp.utils.thresholds import FELL, LEARNED

BACK = 0.01  # it has come back if it is no further than this under the threshold
FORMED = 6.0  # the circuit has formed once test_loss is under its peak by this factor
CLEANED = 0.99  # share of the fall of log test_loss, from peak to floor, that ends cleanup
# The loss has settled if the first share of its passage gives the same end of cleanup, up to the second share of it.
SETTLED_AT, SETTLED_BY = 0.8, 0.1
SETTLED_ROWS = 5  # fewer rows of test_loss do not tell whether it has settled
SPIKE = 2.0  # a loss this many times larger than both rows beside it is doubted
RULES = 2  # version of these rules, kept in tables so that those made by earlier rules are known (CHANGELOG.md)


def read_phases(frames: Sequence[pd.DataFrame], threshold: float = LEARNED, sustain: int = 1) -> Phases:
    """Return the phases of one run from its records. At a step that several records have, the first one counts."""
    real, integer = int | float | np.integer | np.floating, int | np.integer
    if isinstance(threshold, bool) or not isinstance(threshold, real) or not 0 < threshold <= 1:
        raise ConfigError(f"threshold must be an accuracy above 0 and at most 1, such as {LEARNED}; got {threshold!r}.")
    if isinstance(sustain, bool) or not isinstance(sustain, integer) or sustain < 1:
        raise ConfigError(f"sustain must be a whole number of rows of at least 1; got {sustain!r}.")
    return _Reader(frames, float(threshold), int(sustain)).phases()


class _BeginsLateError(Missing):
    """The record begins after the event."""


class _NoLossError(Missing):
    """Test loss has no value after the run generalized."""


class _UnsettledError(Missing):
    """Test loss had not settled by the end of its passage; `step` is where cleanup would have ended so far."""

    def __init__(self, why: str, step: int) -> None:
        super().__init__(why)
        self.step = step


class _Reader:
    """Reads the events of one run off the columns of its records. An event that they do not show raises Missing."""

    def __init__(self, frames: Sequence[pd.DataFrame], threshold: float, sustain: int) -> None:
        self.threshold, self.sustain = threshold, sustain
        # An accuracy under `low` has fallen, one of `back` has come back. Rounded: a difference may be off by 1e-16.
        self.low, self.back = round(threshold - FELL, 12), round(threshold - BACK, 12)
        self.sources = [(steps_of(frame), frame) for frame in frames]

    def phases(self) -> Phases:
        found: dict[str, Any] = {}
        missing: dict[str, str] = {}
        after = None
        for name in (*EVENTS, "grokking_delay", "dip_steps"):
            try:
                found[name] = getattr(self, name)
            except Missing as why:
                found[name], missing["dips" if name == "dip_steps" else name] = None, str(why)
                if isinstance(why, _UnsettledError):
                    after = why.step
        dip_steps = found.pop("dip_steps")
        shown = {name: column for name, column in EVENTS.items() if found[name] is not None}
        return Phases(
            **found, missing=missing, threshold=self.threshold, sustain=self.sustain, cleanup_after=after,
            dips=None if dip_steps is None else len(dip_steps), dip_steps=dip_steps or (),
            last_step=int(max(steps.max() for steps, _ in self.sources)), passage_end=self.passage_end,
            intervals={name: getattr(self, column).interval(found[name]) for name, column in shown.items()},
            doubts=tuple(self.doubts()),
        )  # fmt: skip

    # ── columns ──

    @cached_property
    def train_accuracy(self) -> Curve:
        return self._accuracy("train_accuracy")

    @cached_property
    def test_accuracy(self) -> Curve:
        return self._accuracy("test_accuracy")

    @cached_property
    def test_loss(self) -> Curve:
        return self._loss("test_loss")

    @cached_property
    def excluded_loss(self) -> Curve:
        return self._loss("excluded_loss")

    def _column(self, name: str) -> Curve:
        """Return the known values of a column. At a step that several records have, the first one counts."""
        curves = [curve_of(steps, frame, name) for steps, frame in self.sources if name in frame]
        if not curves:
            raise Missing(f"the trajectory has no {name}")
        merged = curves[0]
        for curve in curves[1:]:
            new = ~np.isin(curve.steps, merged.steps)
            steps = np.concatenate([merged.steps, curve.steps[new]])
            order = np.argsort(steps)
            merged = Curve(steps[order], np.concatenate([merged.values, curve.values[new]])[order])
        if not len(merged.steps):
            raise Missing(f"{name} has no values, as when the train/test split or the key frequencies are unknown")
        return merged

    def _accuracy(self, name: str) -> Curve:
        curve = self._column(name)
        for bad, how in ((curve.values > 1 + 1e-6, " If it is in percent, divide it by 100."), (curve.values < 0, "")):
            if bad.any():
                step, value = curve.steps[bad][0], curve.values[bad][0]
                raise ConfigError(f"{name} must be a fraction from 0 to 1; got {value:g} at step {step:,}.{how}")
        return curve

    def _loss(self, name: str) -> Curve:
        """Return a loss up to the first fall, where phases end: finite values, with the least positive one for 0."""
        curve = self._column(name)
        if (bad := curve.values < 0).any():
            step, value = curve.steps[bad][0], curve.values[bad][0]
            raise ConfigError(
                f"{name} must be at least 0; got {value:g} at step {step:,}. If it is a logarithm, take its "
                "exponential first."
            )
        until = math.inf
        with contextlib.suppress(Missing):
            until = self._first_fall
        there = np.isfinite(curve.values) & (curve.steps < until)
        steps, values = curve.steps[there], curve.values[there].astype(float)
        if not (values > 0).any():
            before = f" before test accuracy fell, at step {until:,}" if until < math.inf else ""
            raise Missing(f"{name} is nowhere positive and finite{before}")
        return Curve(steps, np.where(values == 0, values[values > 0].min(), values))

    # ── events ──

    @cached_property
    def memorized(self) -> int:
        return self._learned("memorized", "train_accuracy")

    @cached_property
    def generalized(self) -> int:
        return self._learned("generalized", "test_accuracy")

    def _reached(self, accuracy: Curve) -> Bool[np.ndarray, " n"]:
        # numpy compares float32 with a number in float32, in which a recorded 0.95 equals 0.95.
        return accuracy.values >= self.threshold

    def _learned(self, event: str, name: str) -> int:
        """Return the step of the first of `sustain` rows in a row with this accuracy at the threshold or more."""
        accuracy: Curve = getattr(self, name)
        reached = self._reached(accuracy)
        if not reached.any():
            most = _digits(float(accuracy.values.max()), self.threshold)
            raise Missing(f"it never {event}: {name} was {most} at the most, under {self.threshold:g}")
        if accuracy.values[0] >= self.low:
            first = _digits(float(accuracy.values[0]), self.threshold)
            raise _BeginsLateError(
                f"the record begins after it {event}: {name} is {first} at its first row, step {accuracy.steps[0]:,}"
            )
        in_a_row = 0
        for row, there in enumerate(reached):
            in_a_row = in_a_row + 1 if there else 0
            if in_a_row == self.sustain:
                return int(accuracy.steps[row - self.sustain + 1])
        raise Missing(f"it never {event}: {name} was not {self.threshold:g} or more for {self.sustain} rows in a row")

    @cached_property
    def falls(self) -> list[tuple[int, int | None]]:
        """Each step after `generalized` at which test accuracy fell, and the step at which it was back (or None).

        In a record that begins later, falls count from its first row at the threshold.
        """
        test = self.test_accuracy
        low, back = test.values < self.low, test.values >= self.back
        try:
            start = self.generalized
        except _BeginsLateError:
            start = int(test.steps[self._reached(test)][0])
        falls: list[tuple[int, int | None]] = []
        fell = None
        for row in np.flatnonzero((test.steps >= start) & (back | low)):
            if low[row] and fell is None:
                fell = int(test.steps[row])
            elif back[row] and fell is not None:
                falls.append((fell, int(test.steps[row])))
                fell = None
        return falls if fell is None else [*falls, (fell, None)]

    @property
    def _first_fall(self) -> float:
        return min((fell for fell, _ in self.falls), default=math.inf)

    @property
    def lost(self) -> int | None:
        return next((fell for fell, back in self.falls if back is None), None)

    @property
    def dip_steps(self) -> tuple[tuple[int, int], ...]:
        return tuple((fell, back) for fell, back in self.falls if back is not None)

    @property
    def passage_end(self) -> int | None:
        """The last step of the record before the first fall; None if it never generalized, or did before the record."""
        until = math.inf
        if self._sees_accuracy:
            try:
                _ = self.generalized
            except Missing:
                return None
            until = self._first_fall
        return int(max(steps[steps < until].max() for steps, _ in self.sources if (steps < until).any()))

    @cached_property
    def _sees_accuracy(self) -> bool:
        """False if the record has no test accuracies, so that phases are read off test_loss alone."""
        try:
            _ = self.test_accuracy
        except Missing:
            return False
        return True

    @cached_property
    def descent(self) -> Curve:
        """The test loss from its peak to `generalized`; without test accuracy, to the end of the record."""
        loss = self.test_loss
        if not self._sees_accuracy:
            return loss.from_peak()
        before = loss.between(0, self.generalized)
        if not len(before.steps):
            raise Missing(f"test_loss has no value up to step {self.generalized:,}, where it generalized")
        return before.from_peak()

    def _formed(self, descent: Curve) -> int | None:
        """Return the step after the last row of a descent that is over a sixth of its first row, the peak."""
        row = int(np.flatnonzero(descent.values > descent.values[0] / FORMED)[-1]) + 1
        return int(descent.steps[row]) if row < len(descent.steps) else None

    @cached_property
    def circuit_formation_end(self) -> int:
        descent = self.descent
        formed = self._formed(descent)
        if formed is None:
            with contextlib.suppress(_NoLossError):
                self._check_fall()
            when = f"it generalized, step {self.generalized:,}" if self._sees_accuracy else "the record ended"
            raise Missing(f"test_loss had not fallen to a sixth of its peak when {when}")
        return formed

    def doubts(self) -> Iterator[str]:
        """Yield a sentence if circuit_formation_end rests on one row, a spike of test_loss, or on test_loss alone."""
        try:
            descent = self.descent
        except Missing:
            return
        if not self._sees_accuracy:
            yield "the record has no test_accuracy, so its falls cannot be seen: phases are read off test_loss alone"
        over = descent.steps[descent.values > descent.values[0] / FORMED]
        roles = {int(over[-1]): "the last one over a sixth of the peak", int(over[0]): "the peak"}
        for step, role in roles.items():
            if (value := self._spike(step)) is None:
                continue
            others = self.test_loss.without(step)
            if self._sees_accuracy:
                others = others.between(0, self.generalized)
            then = self._formed(others.from_peak())
            yield (
                f"circuit_formation_end rests on one row: test_loss at step {step:,} ({value:.3g}), {role}, is more "
                f"than twice both rows beside it; without that row it is {'None' if then is None else f'{then:,}'}"
            )

    def _spike(self, step: int) -> float | None:
        """Return the test loss at a step if it is more than twice both rows beside it, else None."""
        loss = self.test_loss
        row = int(np.searchsorted(loss.steps, step))
        beside = loss.values[[row - 1, row + 1]] if 0 < row < len(loss.steps) - 1 else np.array([math.inf])
        value = float(loss.values[row])
        return value if (value > SPIKE * beside).all() else None

    @cached_property
    def settling(self) -> Curve:
        """The test loss in which cleanup ends: from `generalized`, or circuit_formation_end without accuracy, on."""
        if not self._sees_accuracy:
            return self.test_loss.between(self.circuit_formation_end, math.inf)
        after = self.test_loss.between(self.generalized, math.inf)
        if not len(after.steps):
            raise _NoLossError(
                f"test_loss has no value from step {self.generalized:,}, where it generalized, until "
                f"{'test accuracy fell' if self.falls else 'the record ended'}"
            )
        return after

    def _check_fall(self) -> None:
        """Raise Missing if the floor of test loss is no lower than its peak."""
        floor = (self.settling if self._sees_accuracy else self.descent).values.min()
        if self.descent.values[0] <= floor:
            raise Missing("test_loss never fell from its peak")

    def _cleaned(self, settling: Curve) -> int:
        """Return the step of a stretch at which log test_loss has fallen 0.99 of the way from the peak to its floor."""
        peak, floor = np.log(self.descent.values[0]), np.log(settling.values.min())
        return int(settling.steps[np.log(settling.values) <= peak - CLEANED * (peak - floor)][0])

    @cached_property
    def cleanup_end(self) -> int:
        settling = self.settling
        self._check_fall()
        found = self._cleaned(settling)
        fell = self._sees_accuracy and bool(self.falls)
        first, last = int(settling.steps[0]), int(settling.steps[-1])
        begun = self.generalized if self._sees_accuracy else self.circuit_formation_end
        if len(settling.steps) < SETTLED_ROWS:
            raise _UnsettledError(
                f"test_loss has only {len(settling.steps)} row{'' if len(settling.steps) == 1 else 's'} from step "
                f"{begun:,} until {'test accuracy fell' if fell else 'the record ended'}, and {SETTLED_ROWS} are "
                "needed to tell whether it was still falling",
                found,
            )
        cut = settling.between(first, begun + SETTLED_AT * (last - begun))
        settled = (
            len(cut.steps) > 0
            and cut.values.min() < self.descent.values[0]
            and abs(found - self._cleaned(cut)) <= SETTLED_BY * (last - begun)
        )
        if not settled:
            when = f"at step {last:,}, before test accuracy fell" if fell else f"when the record ended, step {last:,}"
            raise _UnsettledError(f"test loss was still falling {when}", found)
        return found

    @cached_property
    def grokking_delay(self) -> int:
        if self.memorized >= self.generalized:
            raise Missing(
                f"it generalized at once: test accuracy reached {self.threshold:g} at step {self.generalized:,}, no "
                f"later than train accuracy at step {self.memorized:,}, so there was no memorization to end"
            )
        return self.generalized - self.memorized

    @cached_property
    def memorization_end(self) -> int:
        first = self.memorized
        if self._sees_accuracy:
            _ = self.grokking_delay  # it memorized before it generalized
        try:
            last, where = self.circuit_formation_end, "the circuit had formed"
        except Missing:
            last, where = self.generalized, "it generalized"
        if first > last:
            raise Missing(
                f"the circuit had formed, at step {last:,}, before the train pairs were memorized, at step {first:,}: "
                "the phases overlap"
            )
        inside = self.excluded_loss.between(first, last)
        if not len(inside.steps):
            when = f"from step {first:,}, where it memorized, to step {last:,}, where {where}"
            raise Missing(f"excluded_loss has no value {when}")
        return int(inside.steps[inside.values.argmin()])


def _digits(accuracy: float, threshold: float) -> str:
    """Return an accuracy to three places, or to as many as distinguish it from the threshold."""
    text = f"{accuracy:.3f}"
    return f"{accuracy:.6g}" if accuracy < threshold <= float(text) else text
