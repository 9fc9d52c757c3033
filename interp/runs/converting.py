"""convert(): write a run or checkpoint of other people's code as a run directory of interp's."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from interp.networks import Network
from interp.networks.names import Activation
from interp.runs.directory import home_of, open_directory, write_checkpoint, write_config_of, write_history, write_split
from interp.runs.loading import find_run, is_ours, load
from interp.runs.published.contents import read_contents
from interp.runs.published.files import local_file
from interp.runs.published.readings import FileOptions
from interp.runs.run import Checkpoint, Run
from interp.tasks.operations import Operation
from interp.tasks.splits import SplitLike
from interp.tasks.task import Task
from interp.utils.arguments import whole
from interp.utils.console import progress_bar
from interp.utils.errors import CheckpointError, ConfigError, warn
from interp.utils.files import PathLike, as_path, look_up, make_folder, temporary_in, writing
from interp.utils.torch_state import computing


@dataclass(frozen=True)
class _Found:
    """The checkpoints of a file with their steps, and one of them, `told`, that tells their task and split."""

    told: Checkpoint
    network: Network
    steps: list[int]
    checkpoints: Iterable[Checkpoint]
    history: pd.DataFrame


@computing()
def convert(
    source: PathLike,
    path: PathLike,
    task: Task | Operation | None = None,
    split: SplitLike | None = None,
    seed: int | None = None,
    step: int | None = None,
    attention_coefficient: float | None = None,
    n_heads: int | None = None,
    activation: Activation | None = None,
    progress: bool = True,
) -> Run:
    """Write a run or checkpoint of any known layout as a run directory of interp's, and return that run.

    The directory appears once it is complete, or not at all.

    Args:
        source: The file, or the address of one, as for `load_checkpoint`.
        path: The new directory.
        task, split, seed, attention_coefficient, n_heads, activation: Those of `load_checkpoint`.
        step: The step of a lone checkpoint whose file does not tell it; 0, with a warning, by default.
        progress: Whether to draw a progress bar.

    Raises:
        CheckpointError: `path` exists, or the source cannot be read.
        ConfigError: The arguments do not fit the source.
        StorageError: The directory cannot be written.
    """
    target = Path(os.path.abspath(as_path(path)))
    if target.is_symlink() or (look_up(target) and (not target.is_dir() or any(target.iterdir()))):
        raise CheckpointError(f"{target} already exists; name a new directory.")
    step = None if step is None else whole("step", step, 0)
    found = _find(source, FileOptions(task, split, seed, attention_coefficient, n_heads, activation), step)
    _write(target, found, progress)
    written = open_directory(target)
    written.doubts = found.told.doubts
    return written


def _find(source: PathLike, options: FileOptions, step: int | None) -> _Found:
    file, name = local_file(source)
    if file.is_dir():
        raise CheckpointError(f"{name} is a run directory already; copy it.")
    run = find_run(file, name, options)
    if run is not None:
        if step is not None:
            raise ConfigError(f"{name} is a whole run, which knows its steps; leave step out.")
        return _Found(run[-1], _own_network(run[-1], name), list(run.steps), run, run.history)
    told = load(file, name, options, None)
    network = _own_network(told, name)
    if step is not None and told.step is not None and step != told.step:
        raise ConfigError(f"{name} holds step {told.step}, not step {step}; leave step out.")
    known = told.step if step is None else step
    if known is None:
        warn(f"{name} does not tell at which step it was saved; it becomes step 0 (step=, --step names it).")
    history = pd.DataFrame() if home_of(file) or is_ours(file) else read_contents(file, name).history
    return _Found(told, network, [known or 0], [told], history)


def _write(target: Path, found: _Found, progress: bool) -> None:
    """Write the directory under a temporary name, then rename it; on an error, remove the folders made for it."""
    told = found.told
    missing = [folder for folder in target.parents if not folder.exists()]
    try:
        make_folder(target.parent)
        with (
            writing(target),
            temporary_in(target.parent, is_folder=True) as temporary,
            progress_bar("convert", "checkpoints", len(found.steps), show=progress) as bar,
        ):
            for done, (step, checkpoint) in enumerate(zip(found.steps, found.checkpoints, strict=True), 1):
                write_checkpoint(temporary, step, checkpoint.weights, told.task, found.network, told.task_origin)
                if bar:
                    bar.at(done)
            if told.train_mask is not None:
                write_split(temporary, told.train_mask)
            if len(found.history):
                write_history(temporary, found.history)
            write_config_of(temporary, told, found.network)
            if target.exists():
                target.rmdir()
            temporary.replace(target)
    except BaseException:
        for folder in missing:  # from the innermost
            with contextlib.suppress(OSError):
                folder.rmdir()
        raise


def _own_network(checkpoint: Checkpoint, name: Path | str) -> Network:
    if isinstance(checkpoint.config, Network):
        return checkpoint.config
    raise ConfigError(
        f"A run directory holds networks of interp alone; {name} is a bridge with a config that none of them has. "
        "Measure the file itself."
    )
