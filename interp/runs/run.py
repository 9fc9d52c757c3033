"""Run and Checkpoint: a training, and one of its models."""

from __future__ import annotations

import operator
from collections.abc import Callable, Hashable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, overload, runtime_checkable

import pandas as pd
from jaxtyping import Bool
from torch import Tensor

from interp.networks import Network, Weights, check_weights
from interp.networks.measurable import Measurable
from interp.runs.config import TrainConfig
from interp.runs.names import SPLIT, Origin
from interp.subjects.subject import NO_SPLIT, Known, Missing, Subject, Supplied
from interp.subjects.weights import subject_of
from interp.tasks.task import Task
from interp.utils.arguments import given
from interp.utils.errors import CheckpointError, ConfigError, warn
from interp.utils.torch_state import computing

if TYPE_CHECKING:
    from transformer_lens import HookedRootModule

    from interp import Report


class _OwnMask:
    """A mask attribute that copies when it is set and when it is read."""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, instance: Any, owner: type | None = None) -> Bool[Tensor, "p p"] | None:
        return None if instance is None else _copied(instance.__dict__[self.name])

    def __set__(self, instance: Any, mask: Bool[Tensor, "p p"] | None) -> None:
        instance.__dict__[self.name] = _copied(mask)


@computing()
def _copied(mask: Bool[Tensor, "p p"] | None) -> Bool[Tensor, "p p"] | None:
    return None if mask is None else mask.detach().clone()


_OWN_MASK: Any = _OwnMask()


@dataclass(frozen=True, eq=False, repr=False)
class Checkpoint:
    """One model: its weights, its step in training, and its task and split.

    Attributes:
        weights: Its weights by the names of its network (`config.axes()`), held by this checkpoint alone: a change to
            them changes what is measured, but neither the run nor the file.
        config: Its network, such as an interp.Transformer of its sizes; or the interp.Model whose state it is.
        task: The task that it was trained on.
        step: Updates made before it was saved, as its file counts them; None if unknown.
        train_mask: The split, bool [p, p], true = train pair; a copy each time. None if unknown.
        path: The file or address that it came from.
        run: The run that it belongs to, which names the key frequencies (`ProgressMeasures.key_step`).
        task_origin: Source of the task: "recorded" in its file, "given" by the caller, or "assumed".
        split_origin: Source of the split, in one of these words.
        doubts: Doubts that reading its file left, in sentences.
    """

    weights: Weights
    config: Measurable
    task: Task
    step: int | None = None
    train_mask: Bool[Tensor, "p p"] | None = _OWN_MASK
    path: Path | str | None = None
    run: Run | None = None
    task_origin: Origin = "given"
    split_origin: Origin = "given"
    doubts: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"Checkpoint({self.config}, {self.task}, step={self.step}, path={self.path!r})"

    def model(self) -> HookedRootModule:
        """Return this model as a TransformerBridge, with hooks, `run_with_cache` and all of TransformerLens.

        It takes tokens (a, b, p) of shape [batch, 3], or (a, b) if n_ctx is 2; read the logits of the last position.
        Constant attention is mixed in by a permanent hook on hook_pattern (`interp.networks.transformer.to_bridge`).
        Another network becomes a HookedNetwork, with a hook at each activation that it names: tokens (a, b) of shape
        [batch, 2], logits [batch, p]. A state of an interp.Model becomes a copy of its module.
        """
        if isinstance(self.config, Network):
            check_weights(self.weights, self.config)
        return self.config.hooked(self.weights, self.task.p)

    def subject(self, supplied: Supplied | None = None, final: Callable[[], Subject] | None = None) -> Subject:
        """Return this model as a subject of measures.

        Args:
            supplied: Functions by quantity, whose results are used in place of computing it.
            final: Function that returns the last checkpoint of its run as a subject; by default it is read.
        """
        run = self.run

        def last() -> Subject:
            if run is None:
                raise Missing("the model belongs to no run, so it has no last checkpoint")
            return run.last_readable().subject()

        in_directory = run is not None and Path(run.path).is_dir()
        no_split = f"the run has no {SPLIT}, so train and test pairs are unknown" if in_directory else NO_SPLIT
        known = Known(self.task, self.train_mask, self.step, supplied or {}, final or last, no_split)
        return subject_of(self.config, self.weights, known)


@runtime_checkable
class Source(Protocol):
    """The place that holds one checkpoint of a run."""

    @property
    def path(self) -> Path | str:
        """The file or address."""

    def weights(self) -> Weights:
        """Read and check the weights; CheckpointError if they are damaged."""

    def digest(self) -> str:
        """Return the hash of the weights without validating them; OSError if they are gone."""

    def stamp(self) -> Hashable:
        """Return a value that changes when the weights are written again, without reading them; OSError if gone."""


class Run:
    """A training, opened with `load_run`. Checkpoints are read when asked for, one at a time.

    run[-1] is the last checkpoint, run[:3] a list of the first three, run.at(1400) the one of that step, and
    `for ckpt in run` streams them all.

    Attributes:
        path, task, train_mask, task_origin, split_origin, doubts: As of a Checkpoint; `path` is the run's.
        architecture: The network of its models, with their sizes.
        config: The training settings; None if other code trained it.
        stopped: The step at which a callback of `interp.train` ended it; None if none did.
        start: The checkpoint that it began with (None for random weights): its path, its step, the hash of its weights,
            and whether the optimizer's state was taken too.
    """

    train_mask: Bool[Tensor, "p p"] | None = _OWN_MASK

    def __init__(
        self,
        path: Path | str,
        task: Task,
        architecture: Measurable,
        sources: Mapping[int, Source],
        read_history: Callable[[], pd.DataFrame],
        train_mask: Bool[Tensor, "p p"] | None = None,
        config: TrainConfig | None = None,
        bad: Mapping[int, str] | None = None,
        task_origin: Origin = "given",
        split_origin: Origin = "given",
        doubts: tuple[str, ...] = (),
        stopped: int | None = None,
        start: Mapping[str, Any] | None = None,
    ) -> None:
        self.path = path
        self.stopped = stopped
        self.start = None if start is None else dict(start)
        self.task = task
        self.architecture = architecture
        self.train_mask = train_mask
        self.config = config
        self._bad = dict(bad or {})
        self.task_origin = task_origin
        self.split_origin = split_origin
        self.doubts = doubts
        self._sources = {step: sources[step] for step in sorted(sources)}
        self._read_history = read_history

    @property
    def steps(self) -> tuple[int, ...]:
        """The steps that have a checkpoint, in order, as the run counts them (other code may count from 0)."""
        return tuple(self._sources)

    @property
    def bad(self) -> dict[int, str]:
        """The error of each checkpoint that cannot be read, by its step."""
        return dict(self._bad)

    @property
    def history(self) -> pd.DataFrame:
        """Step, train and test loss (nats) and accuracy, a row each time they were recorded; NaN if one was not.

        They are over all outputs, "=" included: p + 1 in interp's own runs. The measures, and so `interp.trajectory`,
        take the p numbers alone, whose losses are a little smaller (at step 0 of the shipped run 4.7595 for 4.7683).

        Raises:
            CheckpointError: The history is missing or damaged.
        """
        return self._recorded.copy()

    @cached_property
    def _recorded(self) -> pd.DataFrame:
        return self._read_history()

    def report(self, progress: bool = True) -> Report:
        """Return this run's page of `interp.report`, which a notebook shows and `.save("report.html")` writes.

        Raises:
            CheckpointError: No checkpoint can be read.
        """
        import interp  # here, since a page needs folders that stand above this one

        return interp.report(self, progress=progress)

    def source(self, step: int) -> Source:
        """Return the source of the checkpoint of a step; CheckpointError if there is none or it is bad."""
        try:
            step = operator.index(step)
        except TypeError:
            raise ConfigError(f"step must be a whole number; got {step!r}.") from None
        if step in self._bad:
            raise CheckpointError(self._bad[step])
        if step not in self._sources:
            near = ", ".join(str(s) for s in sorted(sorted(self.steps, key=lambda s: abs(s - step))[:4]))
            raise CheckpointError(f"{self.path} has no checkpoint of step {step}; the nearest are {near or 'none'}.")
        return self._sources[step]

    def file(self, step: int) -> Path | str:
        """Return the file that holds the checkpoint of a step; CheckpointError if there is none or it is bad."""
        return self.source(step).path

    @computing()
    def at(self, step: int) -> Checkpoint:
        """Read the checkpoint after `step` updates; CheckpointError names the nearest steps if there is none."""
        source, step = self.source(step), operator.index(step)
        return Checkpoint(
            source.weights(), self.architecture, self.task, step, self.train_mask, source.path, self,
            self.task_origin, self.split_origin, self.doubts,
        )  # fmt: skip

    def last_readable(self, warned: bool = False) -> Checkpoint:
        """Read the last readable checkpoint; with `warned`, a warning says why the last was passed over.

        Raises:
            CheckpointError: None is readable; the error is that of the last.
        """
        first_error = self._no_checkpoint()
        for step in reversed(self.steps):
            try:
                found = self.at(step)
            except CheckpointError as error:
                if step == self.steps[-1]:
                    first_error = error
                continue
            if warned and step != self.steps[-1]:
                warn(f"{first_error} The checkpoint of step {step:,}, the last that can be read, stands for the run.")
            return found
        raise first_error

    def _no_checkpoint(self) -> CheckpointError:
        return CheckpointError(f"{self.path} has no readable checkpoint yet; let it train to its first one.")

    @overload
    def __getitem__(self, index: int) -> Checkpoint: ...

    @overload
    def __getitem__(self, index: slice) -> list[Checkpoint]: ...

    def __getitem__(self, index: int | slice) -> Checkpoint | list[Checkpoint]:
        if isinstance(index, slice):
            return [self.at(step) for step in self.steps[index]]
        if not self._sources:
            raise self._no_checkpoint()
        try:
            return self.at(self.steps[index])
        except IndexError:
            raise IndexError(f"run of {len(self)} checkpoints has no checkpoint [{index}]") from None
        except TypeError:
            raise ConfigError(
                f"a run takes a position or a slice, as in run[-1] and run[:3]; got {given(index)}. "
                "run.at(step) reads the checkpoint of a step."
            ) from None

    def __len__(self) -> int:
        return len(self._sources)

    def __iter__(self) -> Iterator[Checkpoint]:
        return (self.at(step) for step in self.steps)

    def __repr__(self) -> str:
        span = f", steps {self.steps[0]} to {self.steps[-1]}" if self._sources else ""
        bad = f", {len(self.bad)} unreadable" if self.bad else ""
        return f"Run({str(self.path)!r}: {self.task.operation} mod {self.task.p}, {len(self)} checkpoints{span}{bad})"
