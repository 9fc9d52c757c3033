"""The checkpoints of a run as subjects of measures, one at a time or several in parallel."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from interp.measures.logits import key_frequencies_of
from interp.runs.run import Run
from interp.study.key_checkpoint import KeyFrequencies, key_checkpoint
from interp.subjects.subject import Subject
from interp.utils.console import Bar
from interp.utils.errors import CheckpointError
from interp.utils.threads import side_by_side


def each_checkpoint(
    measure: Callable[[int], None], steps: list[int], workers: int, bar: Bar | None, total: int
) -> None:
    """Measure these checkpoints, several in parallel on one thread each, which is quicker than one on several threads.

    The first one is measured alone: it finds the key frequencies and the last checkpoint, which all share.
    """

    def job(step: int) -> Iterator[int]:
        measure(step)
        yield 1

    def moved(done: int) -> None:
        if bar:
            bar.at(total - len(steps) + done)

    if workers == 1:
        for done, step in enumerate(steps, 1):
            measure(step)
            moved(done)
    elif steps:
        measure(steps[0])
        moved(1)
        side_by_side([job(step) for step in steps[1:]], workers, lambda done: moved(done + 1))


class RunSubjects:
    """The checkpoints of a run as subjects. The last one and the latest that named key frequencies stay in memory."""

    def __init__(self, run: Run, frequencies: tuple[int, ...] | None, share: float) -> None:
        self._run = run
        self._held: dict[int, Subject] = {}
        self.keys = KeyFrequencies(lambda: key_checkpoint(run, self._hold), share, frequencies)

    def __call__(self, step: int) -> Subject:
        if step in self._held:
            return self._held[step]
        return self._run.at(step).subject({key_frequencies_of: self.keys}, self.last)

    def _hold(self, step: int) -> Subject:
        subject = self(step)
        self._held = dict(list(self._held.items())[:1]) | {step: subject}
        return subject

    def last(self) -> Subject:
        """Return the last checkpoint that can be read and whose matrices are finite."""
        for step in reversed(self._run.steps):
            try:
                subject = self._hold(step)
            except CheckpointError:
                continue
            if all(bool(weight.isfinite().all()) for weight in subject.parameters):
                return subject
        return self(self._run.last_readable().step or 0)
