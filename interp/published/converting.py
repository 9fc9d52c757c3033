"""convert: a run or checkpoint of another's code becomes a run directory of ours."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import pandas as pd

from interp.computing import computing
from interp.console import progress_bar
from interp.disk import as_path, look_up, make_folder, temporary_in, writing
from interp.errors import CheckpointError, ConfigError, warn
from interp.networks import Network
from interp.networks.base import Activation
from interp.published.contents import read_contents
from interp.published.files import local_file
from interp.published.loading import find_run, is_ours, load
from interp.published.readings import Asked
from interp.run import (
    Checkpoint,
    PathLike,
    Run,
    home_of,
    open_directory,
    write_checkpoint,
    write_config_of,
    write_history,
    write_split,
)
from interp.task import Operation, SplitLike, Task


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
    """Write a run or checkpoint of any known layout as a run directory of ours, and return that run.

    The arguments are those of `load_checkpoint`; `step` says at which step a lone checkpoint stands where its file does
    not (0, with a warning, if nobody does). The directory appears when it is whole. Raises CheckpointError where `path`
    exists or the source cannot be read, ConfigError for arguments that do not fit, and StorageError if the directory
    cannot be written; then nothing is left of it.
    """
    target = Path(os.path.abspath(as_path(path)))
    if target.is_symlink() or (look_up(target) and (not target.is_dir() or any(target.iterdir()))):
        raise CheckpointError(f"{target} already exists; name a new directory.")
    if step is not None and (not isinstance(step, int) or isinstance(step, bool) or step < 0):
        raise ConfigError(f"step is {step!r}; it is a whole number of at least 0.")
    asked = Asked(task, split, seed, attention_coefficient, n_heads, activation)
    file, name = local_file(source)
    if file.is_dir():
        raise CheckpointError(f"{name} is a run directory already; copy it.")
    run = find_run(file, name, asked)
    if run is not None:
        if step is not None:
            raise ConfigError(f"{name} is a whole run, which knows its steps; leave step out.")
        first, steps, history = run[-1], list(run.steps), run.history
        architecture = _own_network(first, name)
        checkpoints = iter(run)
    else:
        first = load(file, name, asked, None)
        architecture = _own_network(first, name)
        if step is not None and first.step is not None and step != first.step:
            raise ConfigError(f"{name} holds step {first.step}, not step {step}; leave step out.")
        known = first.step if step is None else step
        if known is None:
            warn(f"{name} does not tell at which step it was saved; it becomes step 0 (step=, --step names it).")
        steps = [known or 0]
        checkpoints = iter([first])
        history = pd.DataFrame() if home_of(file) or is_ours(file) else read_contents(file, name).history
    missing = [folder for folder in target.parents if not folder.exists()]
    try:
        make_folder(target.parent)
        with (
            writing(target),
            temporary_in(target.parent, is_folder=True) as temporary,
            progress_bar("convert", "checkpoints", len(steps), show=progress) as bar,
        ):
            for done, (number, checkpoint) in enumerate(zip(steps, checkpoints, strict=True), 1):
                write_checkpoint(temporary, number, checkpoint.weights, first.task, architecture, first.task_origin)
                if bar:
                    bar.at(done)
            if first.train_mask is not None:
                write_split(temporary, first.train_mask)
            if len(history):
                write_history(temporary, history)
            write_config_of(temporary, first, architecture)
            if target.exists():
                target.rmdir()
            temporary.replace(target)
    except BaseException:
        for folder in missing:  # from the innermost
            with contextlib.suppress(OSError):
                folder.rmdir()
        raise
    written = open_directory(target)
    written.doubts = first.doubts
    return written


def _own_network(checkpoint: Checkpoint, name: Path | str) -> Network:
    """Return the network of a checkpoint; ConfigError for one that a run directory cannot hold."""
    if isinstance(checkpoint.config, Network):
        return checkpoint.config
    raise ConfigError(
        f"{name} is a bridge with a config that no network of interp's has, so a run directory cannot hold it; measure "
        "the file itself."
    )
