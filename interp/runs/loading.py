"""load_run() and load_checkpoint(): open run directories and files of any layout that their content tells."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from interp.networks import Network
from interp.networks.base import plain
from interp.networks.names import Activation
from interp.runs.directory import digest_of, home_of, open_directory, read_header, read_weights, stamp_of
from interp.runs.names import Origin
from interp.runs.published.bridges import network_of_bridge
from interp.runs.published.contents import Contents, read_contents, settings_beside, state_and_settings
from interp.runs.published.files import is_safetensors, local_file
from interp.runs.published.layouts import Layout, UnknownLayoutError, is_bridge_state
from interp.runs.published.readings import (
    FileOptions,
    Interpretation,
    alien_settings,
    check_run,
    loss_doubts,
    resolve,
    split_of,
    weights_of,
)
from interp.runs.run import Checkpoint, Run
from interp.runs.states import checkpoint_of_state, run_of_states
from interp.subjects.model import Model
from interp.subjects.state_dicts import State
from interp.tasks.operations import Operation
from interp.tasks.splits import SplitLike, as_mask
from interp.tasks.task import Task
from interp.utils.arguments import given
from interp.utils.errors import CheckpointError, ConfigError
from interp.utils.files import PathLike
from interp.utils.torch_state import computing


@dataclass(frozen=True, eq=False)
class _Epoch:
    """A state dict of a run that is one file, whose tensors are read from the file when they are asked for."""

    path: Path | str
    layout: Layout
    architecture: Network
    step: int
    state: State = field(repr=False)
    file: Path
    opened: tuple[int, ...]

    def weights(self) -> dict[str, Tensor]:
        self._check()
        name = f"{self.path}, epoch {self.step}"
        if misfits := self.layout.misfits(self.state):
            raise CheckpointError(f"{name}: unlike its last epoch, it {'; '.join(misfits)}.")
        return weights_of(name, self.layout, self.state, self.architecture)

    def _check(self) -> None:
        """Refuse a file that was written again: its tensors are mapped, and reading them could end the process."""
        with contextlib.suppress(OSError):  # a file that was removed is still mapped
            if stamp_of(self.file) != self.opened:
                raise CheckpointError(
                    f"{self.path} was written again since it was opened; open it again with load_run."
                )

    def digest(self) -> str:
        self._check()
        return digest_of(self.state)

    def stamp(self) -> tuple[int, ...]:
        return self.opened


@computing()
def load_run(
    path: PathLike | Mapping[int, Mapping[str, Any]] | Iterable[tuple[int, Mapping[str, Any]]],
    task: Task | Operation | None = None,
    split: SplitLike | None = None,
    seed: int | None = None,
    attention_coefficient: float | None = None,
    n_heads: int | None = None,
    activation: Activation | None = None,
    *,
    model: Model | None = None,
) -> Run:
    """Open a run: a directory that `interp.train` wrote, or one file that holds a training of other people's code.

    Such a file is a dict with `state_dicts` and `epochs`, or `checkpoints` and `checkpoint_epochs` (or `steps`,
    `checkpoint_steps`), in any layout that `load_checkpoint` knows; its epochs, losses, accuracies and split become the
    run's. It is neither copied nor read whole (unless a torch before 1.6 wrote it): weights are read from it as they
    are asked for.

    If a checkpoint of a directory is damaged, a warning names it, and `run.bad` says what is wrong with it.

    Args:
        path: The directory or file, or its fsspec address, such as hf://… or s3://…, which is fetched first. With
            `model`, a folder of state dicts (*.pt, *.pth, *.safetensors) whose names or contents tell their steps, a
            dict {step: state}, or a list of (step, state).
        task, split, seed, attention_coefficient, n_heads, activation: Those of `load_checkpoint`, for a file. A run
            directory knows its task and split.
        model: An interp.Model of a module of yours, to open a training of that module.

    Raises:
        CheckpointError: There is no run, or a newer format wrote it.
        ConfigError: The arguments do not fit it.
    """
    options = FileOptions(task, split, seed, attention_coefficient, n_heads, activation)
    if model is not None:
        return run_of_states(path, _own_model(model, options))
    if not isinstance(path, str | os.PathLike):
        raise ConfigError(
            f"load_run takes a path, or with model=interp.Model(…) the states of a training; got {given(path)}."
        )
    found = find_run(*local_file(path), options)
    if found is None:
        raise CheckpointError(
            f"{path} is a file of one checkpoint; a run is a directory, or a file of many. For one checkpoint: "
            "load_checkpoint (interp measure FILE)."
        )
    return found


@computing()
def load_any(path: PathLike, **about: Any) -> Run | Checkpoint:
    """Open the run at a path, as `load_run` does, or else the checkpoint in its file; `about` is a FileOptions'."""
    options = FileOptions(**about)
    file, name = local_file(path)
    if (run := find_run(file, name, options)) is not None:
        return run
    with _passing(file, name):
        return load(file, name, options, None)


def _own_model(model: Model, options: FileOptions) -> Model:
    if not isinstance(model, Model):
        raise ConfigError(f"model must be an interp.Model, as in interp.Model(module, task); got {given(model)}.")
    if told := options.given():
        raise ConfigError(f"An interp.Model carries its own task and split; leave {' and '.join(told)} out.")
    return model


def find_run(file: Path, name: Path | str, options: FileOptions) -> Run | None:
    """Return the run at this path, or None for a file of one checkpoint."""
    if file.is_dir() or not file.exists():
        return _directory(file, name, options)
    if is_ours(file):
        return None
    try:
        contents = read_contents(file, name)
    except UnknownLayoutError:
        if not is_bridge_state(state_and_settings(file, name)[0]):
            raise
        return None
    if not contents.states:
        return None
    interpretation = resolve(contents, options)
    run = _run(file, contents, interpretation, options)
    check_run(contents, interpretation, run)
    return run


def _directory(path: Path, name: Path | str, options: FileOptions) -> Run:
    run = open_directory(path, name)
    if given := options.given():
        raise ConfigError(f"{name} is a run, which knows its own task and split; leave {' and '.join(given)} out.")
    return run


def is_ours(file: Path) -> bool:
    return is_safetensors(file) and str(read_header(file).get("format", "")).startswith("interp")


def _run(file: Path, contents: Contents, interpretation: Interpretation, options: FileOptions) -> Run:
    opened, network = stamp_of(file), interpretation.architecture
    mask = split_of(contents, options, interpretation.task)
    sources = {
        step: _Epoch(contents.path, contents.layout, network, step, state, file, opened)
        for step, state in contents.states.items()
    }
    history = contents.history  # read now, since it may be mapped from the file too
    return Run(
        contents.path, interpretation.task, network, sources, lambda: history, mask,
        task_origin=interpretation.origin, split_origin=options.split_origin,
    )  # fmt: skip


@computing()
def load_checkpoint(
    path: PathLike | State,
    task: Task | Operation | None = None,
    split: SplitLike | None = None,
    seed: int | None = None,
    step: int | None = None,
    attention_coefficient: float | None = None,
    n_heads: int | None = None,
    activation: Activation | None = None,
    *,
    model: Model | None = None,
) -> Checkpoint:
    """Read one model of any known layout, which the file's content tells, never its name.

    Known are: the paper's layout (Nanda et al., 2023; with constant attention Zhong et al., 2023), TransformerLens' of
    1.x to 3.x (its grokking demo; Chughtai et al., 2023), the state dict of a TransformerLens 4 bridge (of several
    layers or with layer norm it is a LayeredTransformer), one hidden layer (W_x, W_y, W, W_U; Chughtai et al.),
    interp's own names, and the checkpoints of `interp.train`; as a torch or safetensors file, bare or with the training
    beside it. The file's own settings are used; the arguments give those that it does not tell.

    If the file records losses and the split is known, they are compared, and a mismatch is a warning with both.

    Args:
        path: The file, or its fsspec address, such as hf://… or s3://…. Of a file that holds a whole run, the
            checkpoint of `step` is read, or its `model`, or its last; of a run directory, that of `step`. With `model`,
            a state dict or a file that holds one.
        task: The task, if it is not addition modulo the number that the vocabulary tells; the operation alone, such as
            "subtract", if the file tells p.
        split: The split, for train and test losses: "paper" or "torch" with the `seed` (train fraction 0.3); a bool
            mask [p, p], true = train (`interp.split_mask` makes one of any fraction); the train pairs as indices
            a * p + b or as pairs (a, b); or lists of both, (train, test).
        seed: The seed of a split that is given by its name.
        step: The step to read.
        attention_coefficient: The c of an attention that is c · softmax + (1 − c); needed if the model has two
            positions.
        n_heads: The number of heads, for a bridge's state dict of a model that has not learned enough to tell it.
        activation: "relu" unless it is given or the file tells it; needed for a bridge of several layers or with layer
            norm.
        model: An interp.Model of a module of yours, whose state dict is read.

    Raises:
        CheckpointError: The file is missing, damaged, unknown, of a newer format, or holds code (which is never run).
        ConfigError: The arguments do not fit it.
    """
    options = FileOptions(task, split, seed, attention_coefficient, n_heads, activation)
    if model is not None:
        return checkpoint_of_state(path, _own_model(model, options), step)
    if not isinstance(path, str | os.PathLike):
        raise ConfigError(
            f"load_checkpoint takes a path, or with model=interp.Model(…) a state dict; got {given(path)}."
        )
    file, name = local_file(path)
    if file.is_dir() and step is None:
        raise CheckpointError(
            f"{name} is a folder, not a checkpoint file; open a run with load_run, or name one step of it (step=)."
        )
    with _passing(file, name):
        return load(file, name, options, step)


@computing()
def last_checkpoint(path: PathLike, **about: Any) -> Checkpoint:
    """Load one model: the checkpoint in a file, or the last readable checkpoint of a run directory.

    `about` is a FileOptions'. Errors are those of `load_checkpoint`, which takes a folder only with a step.
    """
    file, name = local_file(path)
    with _passing(file, name):
        return load(file, name, FileOptions(**about), None)


@contextlib.contextmanager
def _passing(file: Path, name: Path | str) -> Iterator[None]:
    """Remove the fetched copy of an address afterwards; its content is in memory by then, or still mapped."""
    try:
        yield
    finally:
        if isinstance(name, str) and file.is_file():
            with contextlib.suppress(OSError):  # a system that keeps mapped files keeps this one until the end
                file.unlink()


def load(file: Path, name: Path | str, options: FileOptions, step: int | None) -> Checkpoint:
    if file.is_dir():
        opened = _directory(file, name, options)
        return opened.last_readable(warned=True) if step is None else opened.at(step)
    if home_of(file) or (file.exists() and is_ours(file)):
        return _load_ours(file, name, options, step)
    try:
        contents = read_contents(file, name)
    except UnknownLayoutError:
        if (bridge := _bridge(file, name, options, step)) is None:
            raise
        return bridge
    if contents.layout.layers is not None and not contents.states and alien_settings(contents):
        bridge = _bridge(file, name, options, step)
        assert bridge is not None
        return bridge
    interpretation = resolve(contents, options)
    run = _run(file, contents, interpretation, options) if contents.states else None
    mask = split_of(contents, options, interpretation.task) if run is None else run.train_mask
    if run is not None and (step is not None or contents.single is None):
        check_run(contents, interpretation, run)
        return run.last_readable(warned=True) if step is None else run.at(step)
    assert contents.single is not None
    _check_step(name, contents.step, step)
    network = interpretation.architecture
    weights = weights_of(name, contents.layout, contents.single, network)
    doubts = loss_doubts(contents, interpretation, mask, weights, contents.step)
    return Checkpoint(
        weights, network, interpretation.task, contents.step, mask, name, run, interpretation.origin,
        options.split_origin, doubts,
    )  # fmt: skip


def _check_step(name: Path | str, told: int | None, wanted: int | None) -> None:
    if wanted is not None and told != wanted:
        held = "does not tell its step" if told is None else f"holds step {told}, not step {wanted}"
        raise CheckpointError(f"{name} {held}; leave step out.")


def _bridge(file: Path, name: Path | str, options: FileOptions, step: int | None) -> Checkpoint | None:
    """Read the state dict of a bridge that is no network of interp's; None if the file holds none."""
    state, settings, told = state_and_settings(file, name)
    if not is_bridge_state(state):
        return None
    if lost := [one for one in ("attention_coefficient", "n_heads", "activation") if one in options.given()]:
        raise ConfigError(f"{name} is a bridge, whose config tells its {' and '.join(lost)}; leave it out.")
    network, p = network_of_bridge(state, settings or settings_beside(file), name)
    _check_step(name, told, step)
    task = options.task_of(Task(p))
    mask = as_mask(options.split, options.seed, task.p)
    weights = plain(state)
    network.hooked(weights, task.p)  # raises now if they do not fit
    origin: Origin = "given" if options.task else "assumed"
    return Checkpoint(weights, network, task, told, mask, name, None, origin, "given")


def _load_ours(file: Path, name: Path | str, options: FileOptions, step: int | None) -> Checkpoint:
    weights, about = read_weights(file)
    if step is not None and about.step != step:
        raise CheckpointError(f"{name} holds step {about.step}, not step {step}; leave step out, or name its run.")
    if told := [name for name in ("attention_coefficient", "n_heads", "activation") if name in options.given()]:
        raise ConfigError(f"{name} knows its own {' and '.join(told)}; leave it out.")
    home = home_of(file)
    run = open_directory(home) if home else None
    task = options.task_of(run.task if run else about.task)
    try:
        about.model.check_modulus(task.p)
    except ConfigError as error:
        raise ConfigError(f"{name}: {error}") from None
    if run is not None and not options.given():
        return Checkpoint(
            weights, about.model, task, about.step, run.train_mask, file, run, run.task_origin, run.split_origin
        )
    origin = "given" if options.task else run.task_origin if run else about.task_origin
    mask = as_mask(options.split, options.seed, task.p)
    return Checkpoint(weights, about.model, task, about.step, mask, name, None, origin)
