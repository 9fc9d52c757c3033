"""key_checkpoint(): the checkpoint of a run that names its key frequencies, with their coefficients."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass

import pandas as pd
from jaxtyping import Float
from torch import Tensor

from interp.measures import losses
from interp.measures.logits import KEY_SHARE, cos_coefficients_of, key_frequencies
from interp.runs.run import Run
from interp.study.doubts import key_doubt
from interp.subjects.subject import Missing, Subject
from interp.utils.errors import CheckpointError
from interp.utils.thresholds import FELL, LEARNED

_CLEARLY_UNDER = LEARNED - FELL  # a recorded test accuracy under this rules its checkpoint out without measuring it
_KEPT_RUNS = 8


@dataclass(frozen=True, eq=False)
class KeyModel:
    """The model that key frequencies are read from.

    Attributes:
        step: Its step; None if unknown.
        first_step: The earliest checkpoint that was considered: a change at or after it may make another one the key.
        coefficients: Its cos coefficients, [⌊p/2⌋].
        doubt: Why its key frequencies are in doubt; None if it generalizes.
    """

    step: int | None
    first_step: int
    coefficients: Float[Tensor, " n_frequencies"]
    doubt: str | None

    def frequencies(self, share: float) -> tuple[int, ...]:
        """Return the key frequencies at this share."""
        return key_frequencies(self.coefficients, share)


@dataclass(frozen=True, eq=False)
class KeyCheckpoint(KeyModel):
    """The checkpoint whose key frequencies are those of its run."""

    step: int


def key_of(subject: Subject) -> KeyModel:
    """Return the KeyModel of a model without a run, which names its own key frequencies."""
    subject.needs_fourier()
    return KeyModel(subject.step, 0, cos_coefficients_of(subject), key_doubt(subject))


class KeyFrequencies:
    """The key frequencies of a run or a model: given, kept beside a run, or sought when a measure first needs them."""

    def __init__(
        self, seek: Callable[[], KeyModel], share: float = KEY_SHARE, found: tuple[int, ...] | None = None
    ) -> None:
        self._seek, self._share = seek, share
        self.found = found
        self.step: int | None = None
        self.doubt: str | None = None
        self.first_step = 0  # the earliest checkpoint that was considered

    def __call__(self) -> tuple[int, ...]:
        if self.found is None:
            key = self._seek()
            self.found, self.step, self.doubt = key.frequencies(self._share), key.step, key.doubt
            self.first_step = key.first_step
        return self.found


def key_checkpoint(run: Run, load: Callable[[int], Subject] | None = None) -> KeyCheckpoint:
    """Return the last checkpoint of a run with test accuracy of 0.99 or more; if none has it, the last one.

    So a run that forgot its task keeps the frequencies that it had learned. Without test pairs it is the last.

    Checkpoints are measured from the last backwards, since they may outlast the history; in most runs the first one
    measured is the result. One whose test accuracy in the history is under 0.9 is skipped unread: the history counts
    "=" among the outputs, so the measured accuracy may be higher, but not by so much. In a run without such a history
    that never generalized, all checkpoints are read, once each. One that cannot be read is skipped. The result is kept
    for the eight runs asked for last, while their files stay unchanged.

    Args:
        load: Gives the checkpoint of a step as a subject; by default by reading it.

    Raises:
        CheckpointError: No checkpoint can be read.
        Missing: The task has no Fourier structure.
    """
    if run.task.why_no_fourier:
        raise Missing(run.task.why_no_fourier)
    known = (
        str(run.path), run.task, run.architecture, None if run.train_mask is None else run.train_mask.numpy().tobytes(),
        tuple((step, _stamp(run, step)) for step in run.steps),
    )  # fmt: skip
    found = _KEPT.pop(known, None) or _search(run, load or (lambda step: run.at(step).subject()))
    _KEPT[known] = found  # the newest stands last
    while len(_KEPT) > _KEPT_RUNS:
        del _KEPT[next(iter(_KEPT))]
    return found


_KEPT: dict[Hashable, KeyCheckpoint] = {}


def _stamp(run: Run, step: int) -> Hashable:
    try:
        return run.source(step).stamp()
    except OSError:  # it is gone
        return None


def _search(run: Run, load: Callable[[int], Subject]) -> KeyCheckpoint:
    ruled_out = _ruled_out(run)
    last: KeyCheckpoint | None = None
    for step in reversed(run.steps):
        if last is not None and step in ruled_out:
            continue
        try:
            subject = load(step)
            reached = _test_accuracy(subject) >= LEARNED
        except CheckpointError:
            continue
        if last is None or reached:
            first = step if reached else run.steps[0]
            last = KeyCheckpoint(step, first, cos_coefficients_of(subject), key_doubt(subject))
        if reached:
            return last
    if last is None:
        run.last_readable()  # says why none can be read
        raise CheckpointError(f"{run.path} has no checkpoint with finite logits; restore one from a copy.")
    return last


def _test_accuracy(subject: Subject) -> float:
    """Return the accuracy on test pairs, 1 without any; CheckpointError if the logits are not finite."""
    try:
        return losses.test_accuracy(subject)
    except Missing:
        _ = subject.logits
        return 1.0


def _ruled_out(run: Run) -> set[int]:
    """Return the steps whose test accuracies in the history are all clearly under 0.99."""
    try:
        history = run.history
    except CheckpointError:
        return set()
    accuracy = pd.to_numeric(history["test_accuracy"], errors="coerce")
    most = accuracy.groupby(pd.to_numeric(history["step"], errors="coerce")).max()
    return {int(step) for step in most.index[most < _CLEARLY_UNDER]}
