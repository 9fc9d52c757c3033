"""What a caller gives becomes one model, one run or one record here, and nowhere else.

A path, a folder, an address, a Run, a Checkpoint, an interp.Model, a module or function, an array, a TransformerBridge,
a log: each public function that takes some of these asks one of the functions below, and sees only what it returns.
Where the last checkpoint of a run cannot be read, its model is the last one that can, with a warning.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pandas as pd

from interp.networks.measurable import Measurable
from interp.runs.loading import last_checkpoint, load_any, load_run
from interp.runs.logs import is_log, read_log
from interp.runs.names import Origin
from interp.runs.run import Checkpoint, Run
from interp.subjects.hooked import NO_SPLIT_GIVEN, hooked_subject_of
from interp.subjects.model import Model, Tokens
from interp.subjects.model_forward import Array, is_array
from interp.subjects.subject import Known, Subject, Supplied
from interp.tasks.operations import Operation
from interp.tasks.splits import SplitLike, as_mask
from interp.tasks.task import Task
from interp.utils.arguments import given
from interp.utils.errors import ConfigError
from interp.utils.threads import for_network, wanted as wanted_threads

if TYPE_CHECKING:
    pass


@dataclass(frozen=True, eq=False)
class OneModel:
    """One model to measure, whatever it was given as.

    Attributes:
        task: What it was trained to compute.
        subject: Makes its subject, with the results of quantities that are not to be computed.
        network: What computes it; None for a module that is measured through its hooks.
        checkpoint: The Checkpoint that it is; None for an interp.Model and for a module.
        task_origin: Who named its task: "recorded" in its file, "given" by the caller, or "assumed".
        split_origin: The same of its split.
        is_changed: Whether hooks of the caller's change it, so that it says nothing of what was learned.
    """

    task: Task
    subject: Callable[[Supplied | None], Subject]
    network: Measurable | None = None
    checkpoint: Checkpoint | None = None
    task_origin: Origin = "given"
    split_origin: Origin = "given"
    is_changed: bool = False

    @property
    def run(self) -> Run | None:
        return None if self.checkpoint is None else self.checkpoint.run

    @property
    def doubts(self) -> tuple[str, ...]:
        """What reading its file left in doubt, of which a warning was given then."""
        return () if self.checkpoint is None else self.checkpoint.doubts


def one_model(
    source: Any,
    task: Task | Operation | None = None,
    split: SplitLike | None = None,
    seed: int | None = None,
    tokens: Tokens | None = None,
    vocabulary: Mapping[str, int] | None = None,
    **about_file: Any,
) -> OneModel:
    """Return the one model that a caller gives; of a run it is the last.

    Args:
        source: As `interp.progress_measures` takes it.
        task, split, seed: What the source does not tell.
        tokens, vocabulary: What a module or function reads, as `interp.Model` takes them.
        about_file: What `load_checkpoint` takes besides.

    Raises:
        CheckpointError: A file cannot be read.
        ConfigError: The source is none of these, or an argument does not fit it.
    """
    is_path = isinstance(source, str | os.PathLike)
    if not is_path and (told := [name for name, value in about_file.items() if value is not None]):
        raise ConfigError(f"{' and '.join(told)} is for reading a file; give it to load_checkpoint instead.")
    is_hooked = hasattr(source, "run_with_cache") and hasattr(source, "cfg")
    known = is_path or isinstance(source, Checkpoint | Run | Model) or (is_hooked and tokens is None)
    if not known and (callable(source) or is_array(source)):
        own_task = _needed_task(source, task)
        reads: Tokens = "ab=" if tokens is None else tokens
        source = Model(source, own_task, split, seed=seed, tokens=reads, vocabulary=vocabulary)
        task = split = seed = None
    elif tokens is not None or vocabulary is not None:
        raise ConfigError(
            "tokens and vocabulary say what a module or function reads; leave them out, since a "
            f"{type(source).__name__} knows its own."
        )
    if is_hooked and known:
        task = _needed_task(source, task)
        hooks = [point for point in source.hook_dict.values() if point.has_hooks(including_permanent=False)]
        about = Known(task, as_mask(split, seed, task.p), no_split=NO_SPLIT_GIVEN)

        def subject(supplied: Supplied | None) -> Subject:
            return hooked_subject_of(source, replace(about, supplied=supplied or {}))

        return OneModel(task, subject, is_changed=bool(hooks))
    if is_path:
        source = last_checkpoint(source, task, split, seed, **about_file)
    elif not task is split is seed is None:
        if isinstance(source, Model):
            raise ConfigError("an interp.Model carries its own task and split; give them to it instead.")
        if isinstance(source, Checkpoint | Run):
            raise ConfigError("a Checkpoint carries its own task and split; give them to load_checkpoint instead.")
    if isinstance(source, Run):
        source = source.last_readable(warned=True)
    if isinstance(source, Checkpoint):
        return OneModel(source.task, source.subject, source.config, source, source.task_origin, source.split_origin)
    if isinstance(source, Model):
        return OneModel(source.task, source.subject, source)
    raise ConfigError(
        "progress_measures takes a path, a Checkpoint, a Run, an interp.Model, or with task= a TransformerBridge, "
        f"a module, a function from tokens to logits or an array of logits; got {given(source)}. A state dict is "
        "read by load_checkpoint(state, model=interp.Model(module, task))."
    )


def _needed_task(source: Any, task: Any) -> Task:
    """Return the task; ConfigError for a model that is given without one."""
    if isinstance(task, Task):
        return task
    if task is not None:
        raise ConfigError(f"task must be an interp.Task, such as interp.Task(113); got {given(task)}.")
    raise ConfigError(f"A {type(source).__name__} carries no task. Pass task=interp.Task(p=...).")


def model_in_training(
    source: Model | Callable[..., Any] | Array,
    task: Task | None,
    split: SplitLike | None,
    seed: int | None,
    tokens: Tokens | None,
    vocabulary: Mapping[str, int] | None,
) -> Model:
    """Return the interp.Model that a loop trains: one that the caller made, or one of a module and its task."""
    if isinstance(source, Model):
        if not task is split is seed is tokens is vocabulary is None:
            raise ConfigError("an interp.Model carries its own task, split and tokens; give them to it instead.")
        return source
    if not isinstance(task, Task):
        raise ConfigError(f"Recorder needs task=interp.Task(p=…); got {given(task)}.")
    return Model(source, task, split, seed=seed, tokens="ab=" if tokens is None else tokens, vocabulary=vocabulary)


def model_to_compare(source: Any, name: str) -> OneModel:
    """Return a model that knows its own task; ConfigError for any other, with the name that the caller gave it."""
    if not isinstance(source, str | os.PathLike | Checkpoint | Run | Model):
        raise ConfigError(
            f"A model to compare must be a Checkpoint, a Run, an interp.Model, or a path; got {given(source)} as "
            f"{name!r}."
        )
    return one_model(source)


def one_run(source: Any, taker: str) -> Run:
    """Return the run that a caller gives; ConfigError, in the name of the function that takes it, for anything else."""
    if isinstance(source, Run):
        return source
    if isinstance(source, str | os.PathLike):
        return load_run(source)
    raise ConfigError(f"{taker} takes a Run or the path of one; got {given(source)}.")


def one_record(source: Any, taker: str) -> Run | pd.DataFrame:
    """Return a frame of losses, accuracies or measures as it is, the frame of the path of a log, or else a run."""
    if isinstance(source, pd.DataFrame):
        return source
    if isinstance(source, str | os.PathLike):
        return read_log(source) if is_log(source) else load_run(source)
    if isinstance(source, Run):
        return source
    raise ConfigError(
        f"{taker} takes a Run, the path of one, or a data frame such as interp.trajectory returns; got {given(source)}."
    )


@dataclass(frozen=True, eq=False)
class Opened:
    """What figures are drawn of: a run, a model (with its run, if it has one), or the frame of a log."""

    run: Run | None = None
    model: Checkpoint | Model | None = None
    log: pd.DataFrame | None = None


def opened(source: Any, taker: str, of: str | None = None, **about: Any) -> Opened:
    """Open what a caller gives to be drawn.

    Args:
        source: A Run, a Checkpoint, an interp.Model, the frame of a log, or the path of one of these.
        taker: The function or figure that takes it, for errors.
        of: "run" where a whole training is wanted, "model" where one model is; None for whatever it is.
        about: What `load_run` and `load_checkpoint` take besides a path.
    """
    if isinstance(source, str | os.PathLike):
        if of != "model" and is_log(source):
            return Opened(log=read_log(source))
        load = load_run if of == "run" else last_checkpoint if of == "model" else load_any
        source = load(source, **about)
    if isinstance(source, Run):
        return Opened(run=source)
    if isinstance(source, pd.DataFrame) and of is None:
        return Opened(log=source)
    if of == "run" and isinstance(source, Checkpoint | Model):
        raise ConfigError(f"{taker} is drawn over a training; got {given(source)}. Give a Run, or the path of one.")
    if isinstance(source, Checkpoint | Model):
        return Opened(run=source.run if isinstance(source, Checkpoint) else None, model=source)
    raise ConfigError(f"{taker} takes a Run, a Checkpoint, an interp.Model, a path, or its data; got {given(source)}.")


def threads_for(network: Measurable, p: int, threads: int | None) -> int:
    """Return on how many threads a model of this network is measured."""
    if network.width is None:  # of unknown cost
        return wanted_threads(threads)
    return for_network(p * p, network.width, p, threads)
