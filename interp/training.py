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
from interp.console import Bar, progress_bar
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

LOCK = ".lock"
_STATE_SECONDS = 20.0  # a kill loses at most so much work, however sparse the checkpoints

OnRecord = Callable[[int, dict[str, float]], object]
OnCheckpoint = Callable[[Checkpoint], object]

# The settings that may change when a run is resumed.
_MAY_CHANGE = {"steps", "checkpoint_steps", "device"}  # steps only with a constant learning rate


class TrainingInterrupted(KeyboardInterrupt):
    """Raised after Ctrl-C or SIGTERM; the training is saved up to `step` and can be resumed."""

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
    on_record: OnRecord | None = None,
    on_checkpoint: OnCheckpoint | None = None,
    start: Checkpoint | None = None,
    with_optimizer: bool = False,
) -> Run:
    """Train with the settings `config`, write the run directory `path`, and return the run.

    On the same machine, a resumed run ends bit for bit as one that was never stopped.

    Args:
        config: The settings. With `resume` it may be None, or repeat the run's settings with more `steps`, other
            `checkpoint_steps` or another `device`.
        path: The run directory.
        resume: Continue the run that stopped there, or start one that never began.
        progress: Whether to show a progress bar.
        threads: How many threads the CPU uses: by default one for a small network (`interp.threads`), else as many as
            torch does. It is no setting of the run. Another number rounds differently, which moves the run as another
            processor would, so resume on as many as before for the same bits.
        on_record: Called at each row of the history, with the step and a dict of train_loss, test_loss, train_accuracy
            and test_accuracy. If it returns True, the run ends at that step, with a checkpoint of it: `run.stopped` is
            the step, and resume continues. If it raises an error, the state is saved first.
        on_checkpoint: Called with each Checkpoint that was saved; it may end the run as `on_record` may.
        start: A Checkpoint whose weights the run begins with, in place of random ones: of any run or file, and of
            another task if its sizes fit. Steps count from 0, and config.json says where the weights came from
            (`run.start`). The optimizer begins anew.
        with_optimizer: Take the optimizer's state from the run of `start`, which keeps that of its newest step alone.

    Raises:
        ConfigError: The settings differ from the run's, one has no effect under the others, or this machine lacks the
            device.
        CheckpointError: `path` holds a run (without `resume`), something else, or a damaged state.
        TrainingError: Another training writes there, the loss is no longer finite, a file cannot be written (a full
            disk), or a written one was deleted. All that was saved stays.
        TrainingInterrupted: Ctrl-C or SIGTERM, a KeyboardInterrupt. All is saved.
    """
    stop_if_declaring()
    if threads is not None:
        wanted(threads)
    for name, function in (("on_record", on_record), ("on_checkpoint", on_checkpoint)):
        if function is not None and not callable(function):
            raise ConfigError(f"{name} must be a function; got {given(function)}.")
    path = as_path(path)
    _check_new(config, path, resume)
    make_folder(path)
    with locked(path):
        remove_unfinished(path)
        if (path / CONFIG).exists():
            if not resume:
                raise CheckpointError(f"{path} already holds a run, begun just now by another process.")
            if start is not None:
                raise ConfigError(f"{path} holds a run that has begun; leave start out to resume it.")
            config = _agreed(config, read_config(path), path)
        assert config is not None
        begin = None if start is None else Start.of(start, config, with_optimizer)
        train_pairs = round(config.train_fraction * config.p**2)
        try:
            with on(for_network(train_pairs, config.model.width, config.p, threads)):
                Session(config, path, begin, on_record, on_checkpoint).run(progress)
        except StorageError as error:
            raise TrainingError(
                f"{str(error).rstrip('.')}. All that was saved before is intact; after that, go on with "
                "resume=True (--resume)."
            ) from error
    return open_directory(path)


def _check_new(config: TrainConfig | None, path: Path, resume: bool) -> None:
    """Raise an error unless a run with these settings can begin in this directory, or go on there."""
    if look_up(path) and not path.is_dir():
        raise CheckpointError(f"{path} is a file; a run is written into a directory of its own.")
    if config is not None and not isinstance(config, TrainConfig):
        raise ConfigError(f"train() takes an interp.TrainConfig; got {given(config)}.")
    holds_run = (path / CONFIG).exists()
    if not resume:
        if config is None:
            raise ConfigError("no settings were given; pass a TrainConfig, or resume=True to go on with a run.")
        if holds_run:
            raise CheckpointError(
                f"{path} already holds a run; go on with it by resume=True (--resume), or name another directory."
            )
    others = [name for name in names_in(path) if not name.startswith(".")]
    if others and not holds_run:
        raise CheckpointError(
            f"{path} is not empty and holds no run (found {', '.join(others[:3])}); name a new directory."
        )
    if config is None and not holds_run:
        raise CheckpointError(f"{path} holds no run to resume; give the settings of a new one.")
    if config is not None:
        device_of(config.device)
        if not holds_run:
            check_effects(config)


def _agreed(wanted: TrainConfig | None, recorded: TrainConfig, path: Path) -> TrainConfig:
    """Return the recorded settings with those of the wanted ones that may change; ConfigError if others differ."""
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
    """Return the device of this name; "auto" is the best one here. Raise ConfigError if this machine has none."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    device = torch.device(name)
    there = {
        "cpu": True,
        "cuda": torch.cuda.is_available() and (device.index or 0) < torch.cuda.device_count(),
        "mps": torch.backends.mps.is_available(),
    }
    if not there.get(device.type, False):
        raise ConfigError(f"device must be one that this machine has; got {name!r}. Use cpu.")
    return device


class Session:
    """One training: its weights, their updates and its history, and the directory that it saves them in."""

    place: Place

    def __init__(
        self,
        config: TrainConfig,
        path: Path,
        start: Start | None,
        on_record: OnRecord | None,
        on_checkpoint: OnCheckpoint | None,
    ) -> None:
        """Prepare the pairs and the weights, restore what the directory holds, and write its settings."""
        self.config, self.path, self.on_record, self.on_checkpoint = config, path, on_record, on_checkpoint
        self.device, self.network, self.mask = device_of(config.device), config.model, config.train_mask
        self.train_pairs = Pairs(config.p, *self.mask.nonzero(as_tuple=True)).to(self.device)
        self.test_pairs = Pairs(config.p, *(~self.mask).nonzero(as_tuple=True)).to(self.device)
        self.train_labels = train_labels(config, config.task.labels[self.mask]).to(self.device)
        self.test_labels = config.task.labels[~self.mask].to(self.device)
        # Whether an update minimizes the very loss that the history records: of all pairs, by the whole network.
        self.records_own_loss = (
            config.loss == "cross_entropy"
            and batch(config, len(self.train_pairs), 0) is None
            and dropout(config, 0, self.device) is UNTAPPED
        )
        self.schedule = set(config.schedule)
        self.weights = self._initial_weights()
        self.updates = start.put_into(config, self.weights) if start else Updates(config, self.weights)
        self.start = start.about if start else read_start(path)
        if start is None and self.start is not None and not (path / OPTIMIZER).exists():
            raise CheckpointError(
                f"{path} stopped before its first state was saved, so it cannot be resumed. Delete it and begin again "
                f"with start (--from {self.start['path']}@{self.start['step']})."
            )
        self.step, self.history = (0, []) if start else restore(path, self.weights, self.updates)
        if self.step > config.steps:
            raise ConfigError(
                f"{path} already stands at step {self.step:,}, past the {config.steps:,} steps asked for; ask for more."
            )
        self._write_settings()  # first: they make the directory a run
        if start:
            save_state(path, self.step, self.weights, self.updates)
        self.first_bad = torch.full((), -1, device=self.device)
        self.saved_at = time.monotonic()

    def run(self, progress: bool) -> None:
        """Train until the last step, or until a function of the caller or a signal ends it."""
        config = self.config
        with (
            Place(self.path) as self.place,
            _signals() as caught,
            progress_bar("train", "steps", config.steps, self.step, progress) as bar,
        ):
            while True:
                logits, loss = self.forward()
                last, scheduled = self.step == config.steps, self.step in self.schedule
                recording = last or self.step % config.history_every == 0
                saving = scheduled or last or time.monotonic() - self.saved_at > _STATE_SECONDS
                stopping, ending = caught.number, False
                if recording or saving or stopping:
                    self.check_finite()
                if recording:
                    ending = self.record(logits, loss, bar)
                if saving or stopping or ending:
                    self.save()
                if scheduled or ending:
                    ending = self.save_checkpoint() or ending
                if last or ending:
                    self.finish(last)
                    return
                if stopping:
                    raise TrainingInterrupted(self.path, self.step, stopping)

                loss.backward()
                self.updates(self.step)
                self.step += 1

    def forward(self) -> tuple[Float[Tensor, "n d_vocab_out"], Float[Tensor, ""]]:
        """Return the logits and the loss of the pairs that this step learns from."""
        pairs, labels = self.train_pairs, self.train_labels
        rows = batch(self.config, len(pairs), self.step)
        if rows is not None:
            rows = rows.to(self.device)
            pairs, labels = Pairs(self.config.p, pairs.a[rows], pairs.b[rows]), labels[rows]
        logits = self.network.forward(self.weights, pairs, dropout(self.config, self.step, self.device))
        loss = training_loss(logits, labels, self.config.loss)
        bad = (self.first_bad < 0) & ~torch.isfinite(loss).to(self.device)
        self.first_bad = torch.where(bad, self.step, self.first_bad)
        return logits, loss

    def check_finite(self) -> None:
        """Raise DivergedError if a loss was not finite, after the history before it is written."""
        if (bad := int(self.first_bad)) >= 0:
            self._write_history()
            raise DivergedError(
                f"{DivergedError.BEGINNING} at step {bad:,}; {self.path} keeps all that was saved before it. "
                "Train in another directory with a lower learning_rate or a longer warmup."
            )

    def record(self, logits: Float[Tensor, "n d_vocab_out"], loss: Float[Tensor, ""], bar: Bar | None) -> bool:
        """Add a row to the history; return whether `on_record` ends the run."""
        with torch.no_grad():
            if not self.records_own_loss:
                logits = self.network.forward(self.weights, self.train_pairs, UNTAPPED)
                loss = training_loss(logits, self.train_labels)
            test_logits = self.network.forward(self.weights, self.test_pairs, UNTAPPED)
            row = {
                "train_loss": float(loss.detach()),
                "test_loss": float(training_loss(test_logits, self.test_labels)),
                "train_accuracy": _accuracy(logits, self.train_labels),
                "test_accuracy": _accuracy(test_logits, self.test_labels),
            }
        self.history.append((self.step, *(row[name] for name in HISTORY_COLUMNS[1:])))
        if bar:
            loss_now = f"loss {row['train_loss']:.1e} test {row['test_loss']:.1e}"
            bar.at(self.step, f"{loss_now}, accuracy {row['train_accuracy']:.3f} test {row['test_accuracy']:.3f}")
        return self.on_record is not None and self._ends(self.on_record, self.step, row)

    def save(self) -> None:
        """Write the history and the state from which the run can be resumed."""
        self.place.check_same()
        self._write_history()
        save_state(self.path, self.step, self.weights, self.updates)
        self.place.check_newest()
        self.saved_at = time.monotonic()

    def save_checkpoint(self) -> bool:
        """Write a checkpoint; return whether `on_checkpoint` ends the run."""
        task, file = self.config.task, checkpoint_file(self.path, self.step)
        write_checkpoint(self.path, self.step, self.weights, task, self.network)
        self.place.wrote(file)
        if self.on_checkpoint is None:
            return False
        own = {name: weight.detach().cpu().clone() for name, weight in self.weights.items()}
        saved = Checkpoint(
            own, self.network, task, self.step, self.mask, file, task_origin="recorded", split_origin="recorded"
        )
        return self._ends(self.on_checkpoint, saved)

    def finish(self, last: bool) -> None:
        """Check that all files are there; note the step at which the run ended if it was not the last."""
        if not last:
            write_config(self.path, self.config, stopped=self.step, start=self.start)
        elif not {CONFIG, SPLIT}.issubset(names_in(self.path)):
            warn(f"{self.path} lost its {CONFIG} or {SPLIT} while it trained; both were written again.")
            self._write_settings()
        self.place.check_all()

    def _initial_weights(self) -> dict[str, Tensor]:
        initial = self.network.initial_weights(self.config.seed)
        check_weights(initial, self.network)
        check_forward(self.network, initial, self.train_pairs.to(torch.device("cpu")))
        if self.config.init_scale != 1:
            initial = {name: weight * self.config.init_scale for name, weight in initial.items()}
        return {name: weight.to(self.device).requires_grad_() for name, weight in initial.items()}

    def _write_settings(self) -> None:
        write_config(self.path, self.config, start=self.start)
        write_split(self.path, self.mask)

    def _write_history(self) -> None:
        write_history(self.path, pd.DataFrame(self.history, columns=list(HISTORY_COLUMNS)))

    def _ends(self, function: Callable[..., object], *arguments: object) -> bool:
        """Call a function of the caller, saving the state if it raises; return whether its answer is True."""
        try:
            answer = function(*arguments)
        except BaseException:
            self.save()
            raise
        return isinstance(answer, bool | np.bool_) and bool(answer)


def _accuracy(logits: Float[Tensor, "n d_vocab_out"], labels: Int[Tensor, " n"]) -> float:
    return int((logits.argmax(-1) == labels).sum()) / len(labels)


class _CaughtSignal:
    """The number of the signal that was caught, 0 for none."""

    number = 0


@contextlib.contextmanager
def _signals() -> Iterator[_CaughtSignal]:
    """Catch Ctrl-C and SIGTERM in a flag that the loop checks at each step (in the main thread only)."""
    caught = _CaughtSignal()
    if threading.current_thread() is not threading.main_thread():
        yield caught
        return

    def note(number: int, frame: FrameType | None) -> None:
        caught.number = number

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield caught
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


# ── the directory ──


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock of a run directory. Raise TrainingError if another training holds it."""
    with writing(path / LOCK):
        try:
            held = filelock.FileLock(path / LOCK).acquire(timeout=0)
        except filelock.Timeout:  # an OSError too
            raise TrainingError(
                f"another training is writing to {path}; wait for it or name another directory."
            ) from None
    with held:
        yield


class Place:
    """The directory of a training, which must stay the same one and keep the checkpoints written into it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = (path / LOCK).open("rb")  # held open, so that no other file can be taken for it
        self._written = {name for name in names_in(path / CHECKPOINTS) if name.endswith(".safetensors")}
        self._newest = max(self._written, default=None)

    def __enter__(self) -> Place:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        try:
            if isinstance(error, StorageError):  # perhaps since its folder is gone
                self.check_same()
                self.check_all()
        finally:
            self._lock.close()

    def wrote(self, file: Path) -> None:
        """Note a checkpoint that was written, the newest."""
        self._written.add(file.name)
        self._newest = file.name

    def check_same(self) -> None:
        """Raise TrainingError if the directory was deleted or replaced, before anything is written into another."""
        found = look_up(self.path / LOCK)
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


# ── the state that a run is resumed from ──


def save_state(path: Path, step: int, weights: dict[str, Tensor], updates: Updates) -> None:
    """Write the weights and the optimizer's state of a step."""
    tensors = {f"weights.{name}": weight for name, weight in weights.items()} | updates.state()
    # The optimizer's count of updates is that of the run, unless it began with the state of another run.
    counted = {} if updates.count == step else {"updates": updates.count}
    write_tensors(path / OPTIMIZER, tensors, {"format": "interp-optimizer", "step": step, **counted})


def restore(path: Path, weights: dict[str, Tensor], updates: Updates) -> tuple[int, list[tuple[int | float, ...]]]:
    """Restore weights and optimizer from the saved state; return its step and the history before it."""
    if not (path / OPTIMIZER).exists():
        if any((path / CHECKPOINTS).glob("step_*.safetensors")):
            raise CheckpointError(
                f"{path} has checkpoints but no {OPTIMIZER}, so it cannot be resumed; it can still be measured."
            )
        return 0, []
    step = read_state(path, weights, updates)
    if step == 0 and not (path / HISTORY).exists():  # killed between the state that it starts with and the first row
        return 0, []
    history = read_history(path / HISTORY)
    kept = history[history["step"] < step]
    return step, [tuple(row) for row in kept[list(HISTORY_COLUMNS)].itertuples(index=False)]


def read_state(path: Path, weights: dict[str, Tensor], updates: Updates) -> int:
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


# ── the checkpoint that a run begins with ──


@dataclass(frozen=True)
class Start:
    """The checkpoint that a run begins with, checked against its settings."""

    weights: Weights
    about: dict[str, Any]  # its entry in config.json
    state_of: Path | None  # the run whose optimizer's state is used too

    @classmethod
    def of(cls, checkpoint: Checkpoint, config: TrainConfig, with_optimizer: bool) -> Start:
        """Check a checkpoint against the settings. Raise ConfigError if no run with these can begin with it."""
        if not isinstance(checkpoint, Checkpoint):
            raise ConfigError(
                f"start must be a Checkpoint, such as interp.load_run(path).at(9_000); got {given(checkpoint)}."
            )
        if config.init_scale != 1:
            raise ConfigError(
                f"init_scale scales random weights, and start gives others; got init_scale={config.init_scale:g} "
                "beside start. Leave it at 1."
            )
        _check_sizes(checkpoint.weights, config.model.initial_weights(0))
        home = _home_of_state(checkpoint) if with_optimizer else None
        about = {
            "path": None if checkpoint.path is None else printable(checkpoint.path),
            "step": checkpoint.step,
            "weights": digest_of(checkpoint.weights),
            "with_optimizer": with_optimizer,
        }
        return cls(checkpoint.weights, about, home)

    def put_into(self, config: TrainConfig, weights: dict[str, Tensor]) -> Updates:
        """Copy the checkpoint's weights into those of the run, and return the updates that continue from there."""
        updates = Updates(config, weights)
        if self.state_of is not None:
            try:
                read_state(self.state_of, weights, updates)
            except CheckpointError as error:
                raise ConfigError(
                    f"with_optimizer needs the optimizer, grokfast and fixed_norm of the run of start; {error} "
                    "Leave it out, and the optimizer begins anew."
                ) from None
        with torch.no_grad():
            for name, weight in weights.items():
                weight.copy_(self.weights[name])
        return updates if self.state_of is not None else Updates(config, weights)  # of the norm of these weights


def _check_sizes(weights: Weights, initial: Weights) -> None:
    expected, found = ({name: list(w.shape) for name, w in of.items()} for of in (initial, weights))
    if found != expected:
        differ = [name for name in {**expected, **found} if found.get(name) != expected.get(name)]
        sizes = "; ".join(
            f"{name} is {found.get(name, 'absent')}, expected {expected.get(name, 'absent')}" for name in differ[:3]
        )
        raise ConfigError(
            f"start must have the weights of the network that the settings describe; {sizes}. Give the settings "
            "(p, d_model, n_heads, d_mlp, init) of the checkpoint."
        )


def _home_of_state(checkpoint: Checkpoint) -> Path:
    """Return the run of a checkpoint. Raise ConfigError unless it keeps the optimizer's state of that step."""
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
    return home
