"""Turn a caller's source into one model, one run or one record: studies and figures see only these.

A source is a path, folder or address, a Run, a Checkpoint, an interp.Model, a module or function, an array, a
TransformerBridge, or a log. If the last checkpoint of a run cannot be read, its model is the last one that can be read,
with a warning.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

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


@dataclass(frozen=True, eq=False)
class OneModel:
    """One model to measure.

    Attributes:
        task: The task that it was trained on.
        subject: Makes its subject from functions that give quantities without computing them.
        network: Its network; None for a module that is measured through its hooks.
        checkpoint: Its Checkpoint; None for an interp.Model and for a module.
        task_origin: Who named its task: "recorded" in its file, "given" by the caller, or "assumed".
        split_origin: Who named its split, likewise.
        is_changed: True if the caller's hooks change it, so that it need not have learned its task.
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
        """The doubts from reading its file, each a warning at that time."""
        return () if self.checkpoint is None else self.checkpoint.doubts


def one_model(
    source: object,
    task: Task | Operation | None = None,
    split: SplitLike | None = None,
    seed: int | None = None,
    tokens: Tokens | None = None,
    vocabulary: Mapping[str, int] | None = None,
    **about_file: Any,
) -> OneModel:
    """Return the one model that a caller gives; of a run, its last checkpoint.

    Args:
        source: As in `interp.progress_measures`.
        task, split, seed: As in `load_checkpoint`, unless the source knows them.
        tokens, vocabulary: Of a module or function, as in `interp.Model`.
        about_file: Other arguments of `load_checkpoint`.

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
            f"{'file' if is_path else type(source).__name__} knows its own."
        )
    if is_hooked and known:
        task = _needed_task(source, task)
        model: Any = source  # of TransformerLens, which has no types
        hooks = [point for point in model.hook_dict.values() if point.has_hooks(including_permanent=False)]
        about = Known(task, as_mask(split, seed, task.p), no_split=NO_SPLIT_GIVEN)

        def subject(supplied: Supplied | None) -> Subject:
            return hooked_subject_of(model, replace(about, supplied=supplied or {}))

        return OneModel(task, subject, is_changed=bool(hooks))
    if isinstance(source, str | os.PathLike):
        source = last_checkpoint(source, task=task, split=split, seed=seed, **about_file)
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


def _needed_task(source: object, task: object) -> Task:
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
    """Return the interp.Model that a loop trains: the caller's, or one made of a module and its task."""
    if isinstance(source, Model):
        if not task is split is seed is tokens is vocabulary is None:
            raise ConfigError("an interp.Model carries its own task, split and tokens; give them to it instead.")
        return source
    if not isinstance(task, Task):
        raise ConfigError(f"Recorder needs task=interp.Task(p=…); got {given(task)}.")
    return Model(source, task, split, seed=seed, tokens="ab=" if tokens is None else tokens, vocabulary=vocabulary)


def model_to_compare(source: object, name: str) -> OneModel:
    """Return a model that knows its own task; ConfigError for any other, with the name that the caller gave it."""
    if not isinstance(source, str | os.PathLike | Checkpoint | Run | Model):
        raise ConfigError(
            f"A model to compare must be a Checkpoint, a Run, an interp.Model, or a path; got {given(source)} as "
            f"{name!r}."
        )
    return one_model(source)


def one_run(source: object, taker: str) -> Run:
    """Return a caller's run; ConfigError, which names the function that takes it, for anything else."""
    if isinstance(source, Run):
        return source
    if isinstance(source, str | os.PathLike):
        return load_run(source)
    raise ConfigError(f"{taker} takes a Run or the path of one; got {given(source)}.")


def one_record(source: object, taker: str) -> Run | pd.DataFrame:
    """Return a frame as it is, the frame of a log for its path, or else a run."""
    if isinstance(source, pd.DataFrame):
        return source
    if isinstance(source, str | os.PathLike):
        return read_log(source) if is_log(source) else load_run(source)
    if isinstance(source, Run):
        return source
    raise ConfigError(
        f"{taker} takes a Run, the path of one or of a log, or a data frame such as interp.trajectory returns; got "
        f"{given(source)}."
    )


@dataclass(frozen=True, eq=False)
class Opened:
    """An opened source of figures: a run, a model (with its run, if it has one), or the frame of a log."""

    run: Run | None = None
    model: Checkpoint | Model | None = None
    log: pd.DataFrame | None = None


def opened(source: object, taker: str, of: str | None = None, **about: Any) -> Opened:
    """Open a caller's source of figures.

    Args:
        source: A Run, a Checkpoint, an interp.Model, the frame of a log, or the path of one of these.
        taker: The function or figure that takes it, for errors.
        of: "run" for a whole training, "model" for one model, None for either.
        about: Arguments of `load_run` and `load_checkpoint` besides a path.
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
    kinds = "a Run, a path, or its data" if of == "run" else "a Run, a Checkpoint, an interp.Model, a path, or its data"
    raise ConfigError(f"{taker} takes {kinds}; got {given(source)}.")


def threads_for(network: Measurable, p: int, threads: int | None) -> int:
    """Return the number of threads on which a model of this network is measured."""
    if network.width is None:  # of unknown cost
        return wanted_threads(threads)
    return for_network(p * p, network.width, p, threads)
