"""train(): full-batch AdamW on one task, from a seed to a run directory that can be stopped and resumed."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, replace
from pathlib import Path
from types import FrameType
from typing import Any

import filelock
import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Int
from torch import Tensor

from interp.arguments import given, some
from interp.computing import computing
from interp.config import TrainConfig
from interp.console import progress_bar
from interp.disk import PathLike, as_path, look_up, make_folder, names_in, printable, writing
from interp.errors import CheckpointError, ConfigError, DivergedError, StorageError, TrainingError, warn
from interp.imports import stop_if_declaring
from interp.networks import Weights, check_weights
from interp.networks.base import UNTAPPED, check_forward
from interp.networks.pairs import Pairs
from interp.run import (
    CHECKPOINTS,
    CONFIG,
    HISTORY,
    HISTORY_COLUMNS,
    OPTIMIZER,
    SPLIT,
    Checkpoint,
    Run,
    checkpoint_file,
    digest_of,
    open_directory,
    read_config,
    read_header,
    read_history,
    read_start,
    read_tensors,
    remove_unfinished,
    write_checkpoint,
    write_config,
    write_history,
    write_split,
    write_tensors,
)
from interp.threads import for_network, on, wanted
from interp.updates import Updates, batch, check_effects, dropout, train_labels, training_loss

_LOCK = ".lock"
_STATE_SECONDS = 20.0  # at the most so much work is lost to a kill, however sparse the checkpoints

# What may change when a run is resumed: how far, what is saved, and where it runs.
_MAY_CHANGE = {"steps", "checkpoint_steps", "device"}  # steps not where the learning rate falls until the last one


class TrainingInterrupted(KeyboardInterrupt):
    """Ctrl-C or SIGTERM ended the training; all of it up to `step` is saved and can be resumed."""

    def __init__(self, path: Path, step: int, signum: int) -> None:
        super().__init__(f"stopped at step {step:,}; {path} holds all of it, and resume=True (--resume) goes on")
        self.path, self.step, self.signum = path, step, signum


@computing(grad=True)
def train(
    config: TrainConfig | None,
    path: PathLike,
    resume: bool = False,
    progress: bool = True,
    threads: int | None = None,
    on_record: Callable[[int, dict[str, float]], object] | None = None,
    on_checkpoint: Callable[[Checkpoint], object] | None = None,
    start: Checkpoint | None = None,
    with_optimizer: bool = False,
) -> Run:
    """Train with the settings `config`, write the run directory `path`, and return the run.

    With `resume`, a run that stopped there goes on (and one that never began starts); `config` may then be None, or
    repeat the run's settings with more `steps`, other `checkpoint_steps` or another `device`. On the same machine
    the resumed run ends bit for bit as one that was never stopped.

    `threads` is on how many the CPU computes: by default one where the network is small (`interp.threads`), else as
    many as torch uses. Their number is no setting of the run: another one rounds differently, which moves the run as
    another processor would, so resume on as many as before for the same bits.

    `on_record` is called with the step and a dict of what was recorded there (train_loss, test_loss, train_accuracy,
    test_accuracy), each time that the history gets a row, and `on_checkpoint` with each Checkpoint that was saved. If
    one returns True, the run ends at that step, with a checkpoint of it: `run.stopped` is the step, and resume goes on.
    If one raises an error, the state is saved first.

    `start` is a Checkpoint whose weights the run begins with, in place of random ones: of any run or file, and of
    another task if its sizes fit. Steps count from 0 anew, and config.json says where the weights came from
    (`run.start`). The optimizer begins anew too; `with_optimizer` takes its state from the run of `start`, which keeps
    that of its newest step alone.

    Raises ConfigError for settings that differ from the run's, for a setting that has no effect under the others, and
    for a device this machine lacks; CheckpointError where `path` holds a run (without `resume`), something else, or a
    damaged state; TrainingError if another training writes there, if the loss is no longer finite, if a file cannot be
    written (a full disk), or if what was written is deleted meanwhile; TrainingInterrupted, a KeyboardInterrupt, after
    Ctrl-C or SIGTERM. In each case all that was saved stays.
    """
    stop_if_declaring()
    if threads is not None:
        wanted(threads)
    for name, function in (("on_record", on_record), ("on_checkpoint", on_checkpoint)):
        if function is not None and not callable(function):
            raise ConfigError(f"{name} must be a function; got {given(function)}.")
    path = as_path(path)
    if look_up(path) and not path.is_dir():
        raise CheckpointError(f"{path} is a file; a run is written into a directory of its own.")
    if config is not None and not isinstance(config, TrainConfig):
        raise ConfigError(f"train() takes an interp.TrainConfig; got {given(config)}.")
    if not resume:
        if config is None:
            raise ConfigError("no settings were given; pass a TrainConfig, or resume=True to go on with a run.")
        if (path / CONFIG).exists():
            raise CheckpointError(
                f"{path} already holds a run; go on with it by resume=True (--resume), or name another directory."
            )
    others = [name for name in names_in(path) if not name.startswith(".")]
    if others and not (path / CONFIG).exists():
        raise CheckpointError(
            f"{path} is not empty and holds no run (found {', '.join(others[:3])}); name a new directory."
        )
    if config is None and not (path / CONFIG).exists():
        raise CheckpointError(f"{path} holds no run to resume; give the settings of a new one.")
    if config is not None:
        device_of(config.device)
        if not (path / CONFIG).exists():
            check_effects(config)
    make_folder(path)
    with writing(path / _LOCK):
        try:
            held = filelock.FileLock(path / _LOCK).acquire(timeout=0)
        except filelock.Timeout:  # an OSError too
            raise TrainingError(
                f"another training is writing to {path}; wait for it or name another directory."
            ) from None
    with held:
        remove_unfinished(path)
        if (path / CONFIG).exists():
            if not resume:
                raise CheckpointError(f"{path} already holds a run, begun just now by another process.")
            if start is not None:
                raise ConfigError(f"{path} holds a run that has begun; leave start out to resume it.")
            config = _agreed(config, read_config(path), path)
        assert config is not None
        begin = None if start is None else _Start.of(start, config, with_optimizer)
        train_pairs = round(config.train_fraction * config.p**2)
        try:
            with on(for_network(train_pairs, config.model.width, config.p, threads)):
                _train(config, path, progress, on_record, on_checkpoint, begin)
        except StorageError as error:
            raise TrainingError(
                f"{str(error).rstrip('.')}. All that was saved before is intact; after that, go on with "
                "resume=True (--resume)."
            ) from error
    return open_directory(path)


def _agreed(wanted: TrainConfig | None, recorded: TrainConfig, path: Path) -> TrainConfig:
    if wanted is None:
        return recorded
    may_change = _MAY_CHANGE if recorded.lr_schedule == "constant" else _MAY_CHANGE - {"steps"}
    differ = [
        f"{field.name} {given(getattr(wanted, field.name))} (the run has {given(getattr(recorded, field.name))})"
        for field in fields(TrainConfig)
        if field.name not in may_change and getattr(wanted, field.name) != getattr(recorded, field.name)
    ]
    if differ:
        raise ConfigError(
            f"{path} was begun with other settings: {'; '.join(differ)}. Resume with the run's own values, or "
            "with None in place of a TrainConfig (--resume without these options)."
        )
    return replace(recorded, **{name: getattr(wanted, name) for name in may_change})


def device_of(name: str) -> torch.device:
    """Return the device of this name; "auto" is the best one here. Raises ConfigError if this machine has none."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    device = torch.device(name)
    there = {
        "cpu": True,
        "cuda": torch.cuda.is_available() and (device.index or 0) < torch.cuda.device_count(),
        "mps": torch.backends.mps.is_available(),
    }
    if not there.get(device.type, False):
        raise ConfigError(f"device is {name!r}, and this machine has none; use cpu.")
    return device


def _train(
    config: TrainConfig,
    path: Path,
    progress: bool,
    on_record: Callable[[int, dict[str, float]], object] | None,
    on_checkpoint: Callable[[Checkpoint], object] | None,
    begin: _Start | None,
) -> None:
    device = device_of(config.device)
    network = config.model
    mask = config.train_mask
    train_pairs = Pairs(config.p, *mask.nonzero(as_tuple=True)).to(device)
    test_pairs = Pairs(config.p, *(~mask).nonzero(as_tuple=True)).to(device)
    labels = train_labels(config, config.task.labels[mask]).to(device)
    test_labels = config.task.labels[~mask].to(device)

    initial = network.initial_weights(config.seed)
    check_weights(initial, network)
    check_forward(network, initial, Pairs(config.p, *mask.nonzero(as_tuple=True)))
    if config.init_scale != 1:
        initial = {name: weight * config.init_scale for name, weight in initial.items()}
    weights = {name: weight.to(device).requires_grad_() for name, weight in initial.items()}
    updates = Updates(config, weights)
    about_start = begin.about if begin else read_start(path)
    if begin is None and about_start is not None and not (path / OPTIMIZER).exists():
        raise CheckpointError(
            f"{path} stopped before its first state was saved, so it cannot be resumed. Delete it and begin again "
            f"with start (--from {about_start['path']}@{about_start['step']})."
        )
    if begin:
        updates = begin.put_into(config, weights)
    step, history = (0, []) if begin else _restore(path, weights, updates)
    if step > config.steps:
        raise ConfigError(
            f"{path} already stands at step {step:,}, past the {config.steps:,} steps asked for; ask for more."
        )
    write_config(path, config, start=about_start)  # first: it is what makes the directory a run
    write_split(path, mask)
    if begin:
        _save_state(path, step, weights, updates)
    schedule = set(config.schedule)
    first_bad = torch.full((), -1, device=device)
    saved_at = time.monotonic()

    def save_state() -> None:
        nonlocal saved_at
        place.check_same()
        write_history(path, pd.DataFrame(history, columns=list(HISTORY_COLUMNS)))
        _save_state(path, step, weights, updates)
        place.check_newest()
        saved_at = time.monotonic()

    def asks_to_end(function: Callable[..., object], *arguments: object) -> bool:
        try:
            answer = function(*arguments)
        except BaseException:
            save_state()
            raise
        return isinstance(answer, bool | np.bool_) and bool(answer)

    with (
        _Place(path) as place,
        _signals() as asked,
        progress_bar("train", "steps", config.steps, step, progress) as bar,
    ):
        while True:
            some, tap = batch(config, len(train_pairs), step), dropout(config, step, device)
            if some is None:
                pairs, answers = train_pairs, labels
            else:
                some = some.to(device)
                pairs, answers = Pairs(config.p, train_pairs.a[some], train_pairs.b[some]), labels[some]
            logits = network.forward(weights, pairs, tap)
            loss = training_loss(logits, answers, config.loss)
            first_bad = torch.where((first_bad < 0) & ~torch.isfinite(loss).to(device), step, first_bad)

            last = step == config.steps
            recorded = step % config.history_every == 0 or last
            saving = step in schedule or last or time.monotonic() - saved_at > _STATE_SECONDS
            stopping, ending = asked.signum, False
            if (recorded or saving or stopping) and (bad := int(first_bad)) >= 0:
                write_history(path, pd.DataFrame(history, columns=list(HISTORY_COLUMNS)))
                raise DivergedError(
                    f"{DivergedError.BEGINNING} at step {bad:,}; {path} keeps all that was saved before it. "
                    "Train in another directory with a lower learning_rate or a longer warmup."
                )
            if recorded:
                with torch.no_grad():
                    whole, train_loss = logits, loss.detach()
                    if some is not None or tap is not UNTAPPED or config.loss != "cross_entropy":
                        whole = network.forward(weights, train_pairs, UNTAPPED)
                        train_loss = training_loss(whole, labels)
                    test_logits = network.forward(weights, test_pairs, UNTAPPED)
                    test_loss = float(training_loss(test_logits, test_labels))
                    train_accuracy = _accuracy(whole, labels)
                    test_accuracy = _accuracy(test_logits, test_labels)
                history.append((step, float(train_loss), test_loss, train_accuracy, test_accuracy))
                if bar:
                    loss_now = f"loss {history[-1][1]:.1e} test {test_loss:.1e}"
                    bar.at(step, f"{loss_now}, accuracy {train_accuracy:.3f} test {test_accuracy:.3f}")
                if on_record is not None:
                    row = dict(zip(HISTORY_COLUMNS[1:], history[-1][1:], strict=True))
                    ending = asks_to_end(on_record, step, row)
            if saving or stopping or ending:
                save_state()
            if step in schedule or ending:
                write_checkpoint(path, step, weights, config.task, network)
                place.wrote(checkpoint_file(path, step))
                if on_checkpoint is not None:
                    own = {name: weight.detach().cpu().clone() for name, weight in weights.items()}
                    saved = Checkpoint(
                        own, network, config.task, step, mask, checkpoint_file(path, step),
                        task_origin="recorded", split_origin="recorded",
                    )  # fmt: skip
                    ending = asks_to_end(on_checkpoint, saved) or ending
            if ending and not last:
                write_config(path, config, stopped=step, start=about_start)
                place.check_all()
                return
            if last:
                if not {CONFIG, SPLIT}.issubset(names_in(path)):
                    warn(f"{path} lost its {CONFIG} or {SPLIT} while it trained; both were written again.")
                    write_config(path, config, start=about_start)
                    write_split(path, mask)
                place.check_all()
                return
            if stopping:
                raise TrainingInterrupted(path, step, stopping)

            loss.backward()
            updates(step)
            step += 1


class _Place:
    """The directory that a training writes into: whether it is still the same, and what was written is still there."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = (path / _LOCK).open("rb")  # held open, so that no other file can be taken for it
        self._written = {name for name in names_in(path / CHECKPOINTS) if name.endswith(".safetensors")}
        self._newest = max(self._written, default=None)

    def __enter__(self) -> _Place:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        try:
            if isinstance(error, StorageError):  # perhaps since its folder is gone
                self.check_same()
                self.check_all()
        finally:
            self._lock.close()

    def wrote(self, file: Path) -> None:
        self._written.add(file.name)
        self._newest = file.name

    def check_same(self) -> None:
        """Raise TrainingError if the directory was deleted or replaced; nothing is to be written into another."""
        found = look_up(self.path / _LOCK)
        if found is None or not os.path.samestat(found, os.fstat(self._lock.fileno())):
            raise TrainingError(
                f"{self.path} was deleted or replaced while the training wrote to it, so it stopped and wrote "
                "nothing more. Restore the directory and go on with resume=True (--resume), or train again."
            )

    def check_newest(self) -> None:
        """Raise TrainingError if the newest checkpoint is gone: a quick look, each time that something is saved."""
        if self._newest and look_up(self.path / CHECKPOINTS / self._newest) is None:
            self.check_all()

    def check_all(self) -> None:
        """Raise TrainingError if the file of any checkpoint is gone."""
        if lost := sorted(self._written.difference(names_in(self.path / CHECKPOINTS))):
            raise TrainingError(
                f"{self.path / CHECKPOINTS} lost {len(lost)} files while the training wrote to it: {some(lost)}. All "
                "else is saved. Restore them from a copy, or do without, and go on with resume=True (--resume)."
            )


def _accuracy(logits: Float[Tensor, "n d_vocab_out"], labels: Int[Tensor, " n"]) -> float:
    return int((logits.argmax(-1) == labels).sum()) / len(labels)


def _save_state(path: Path, step: int, weights: dict[str, Tensor], updates: Updates) -> None:
    tensors = {f"weights.{name}": weight for name, weight in weights.items()} | updates.state()
    # The optimizer's count of updates is that of the run, unless it began with the state of another run.
    counted = {} if updates.count == step else {"updates": updates.count}
    write_tensors(path / OPTIMIZER, tensors, {"format": "interp-optimizer", "step": step, **counted})


def _restore(path: Path, weights: dict[str, Tensor], updates: Updates) -> tuple[int, list[tuple[int | float, ...]]]:
    """Restore weights and optimizer from the saved state; return its step and the history before it."""
    if not (path / OPTIMIZER).exists():
        if any((path / CHECKPOINTS).glob("step_*.safetensors")):
            raise CheckpointError(
                f"{path} has checkpoints but no {OPTIMIZER}, so it cannot be resumed; it can still be measured."
            )
        return 0, []
    step = _read_state(path, weights, updates)
    if step == 0 and not (path / HISTORY).exists():  # killed between the state that it starts with and the first row
        return 0, []
    history = read_history(path / HISTORY)
    kept = history[history["step"] < step]
    return step, [tuple(row) for row in kept[list(HISTORY_COLUMNS)].itertuples(index=False)]


def _read_state(path: Path, weights: dict[str, Tensor], updates: Updates) -> int:
    """Read the saved state of the run in `path` into weights and optimizer, and return its step."""
    tensors, header = read_tensors(path / OPTIMIZER, "interp-optimizer")
    try:
        step = int(header["step"])
        for name, weight in weights.items():
            with torch.no_grad():
                weight.copy_(tensors[f"weights.{name}"])
        updates.load(tensors, int(header.get("updates", step)))
    except (KeyError, ValueError, RuntimeError) as error:
        raise CheckpointError(f"{path / OPTIMIZER} is not the state of this run ({error}).") from None
    return step


@dataclass(frozen=True)
class _Start:
    """The checkpoint that a run begins with, checked against its settings."""

    weights: Weights
    about: dict[str, Any]  # what config.json says of it
    state_of: Path | None  # the run whose optimizer's state is taken too

    @classmethod
    def of(cls, checkpoint: Checkpoint, config: TrainConfig, with_optimizer: bool) -> _Start:
        if not isinstance(checkpoint, Checkpoint):
            raise ConfigError(
                f"start must be a Checkpoint, such as interp.load_run(path).at(9_000); got {given(checkpoint)}."
            )
        if config.init_scale != 1:
            raise ConfigError(
                f"init_scale scales random weights, and start gives others; got init_scale={config.init_scale:g} "
                "beside start. Leave it at 1."
            )
        expected = {name: list(w.shape) for name, w in config.model.initial_weights(0).items()}
        found = {name: list(weight.shape) for name, weight in checkpoint.weights.items()}
        if found != expected:
            differ = [name for name in {**expected, **found} if found.get(name) != expected.get(name)]
            sizes = "; ".join(
                f"{name} is {found.get(name, 'absent')}, expected {expected.get(name, 'absent')}" for name in differ[:3]
            )
            raise ConfigError(
                f"start must have the weights of the network that the settings describe; {sizes}. Give the settings "
                "(p, d_model, n_heads, d_mlp, init) of the checkpoint."
            )
        home = None
        if with_optimizer:
            home = None if checkpoint.run is None else Path(checkpoint.run.path)
            if home is None or not (home / OPTIMIZER).is_file():
                raise ConfigError(
                    f"with_optimizer needs the {OPTIMIZER} of the run of start; there is none. Leave it out, and the "
                    "optimizer begins anew."
                )
            there = int(read_header(home / OPTIMIZER).get("step", -1))
            if there != checkpoint.step:
                raise ConfigError(
                    f"with_optimizer needs the optimizer's state of step {checkpoint.step:,}; {home} keeps that of "
                    f"step {there:,} alone. Start from that step, or leave it out, and the optimizer begins anew."
                )
        about = {
            "path": None if checkpoint.path is None else printable(checkpoint.path),
            "step": checkpoint.step,
            "weights": digest_of(checkpoint.weights),
            "with_optimizer": with_optimizer,
        }
        return cls(checkpoint.weights, about, home)

    def put_into(self, config: TrainConfig, weights: dict[str, Tensor]) -> Updates:
        """Put its weights into those of the run, and return what updates them from there."""
        updates = Updates(config, weights)
        if self.state_of is not None:
            try:
                _read_state(self.state_of, weights, updates)
            except CheckpointError as error:
                raise ConfigError(
                    f"with_optimizer needs the optimizer, grokfast and fixed_norm of the run of start; {error} "
                    "Leave it out, and the optimizer begins anew."
                ) from None
        with torch.no_grad():
            for name, weight in weights.items():
                weight.copy_(self.weights[name])
        return updates if self.state_of is not None else Updates(config, weights)  # of the norm of these weights


class _Asked:
    signum = 0


@contextlib.contextmanager
def _signals() -> Iterator[_Asked]:
    """Catch Ctrl-C and SIGTERM in a flag that the loop checks at each step (in the main thread only)."""
    asked = _Asked()
    if threading.current_thread() is not threading.main_thread():
        yield asked
        return

    def note(signum: int, frame: FrameType | None) -> None:
        asked.signum = signum

    before = {signum: signal.signal(signum, note) for signum in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)
