"""train(): train a network on one task, from a seed into a run directory that can be stopped and resumed."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from pathlib import Path
from types import FrameType

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Int
from torch import Tensor

from interp.networks import check_weights
from interp.networks.base import check_forward
from interp.networks.pairs import Pairs
from interp.networks.taps import UNTAPPED
from interp.runs.config import TrainConfig
from interp.runs.directory import (
    checkpoint_file,
    open_directory,
    read_config,
    read_start,
    remove_unfinished,
    write_checkpoint,
    write_config,
    write_history,
    write_split,
)
from interp.runs.names import CONFIG, HISTORY_COLUMNS, OPTIMIZER, SPLIT
from interp.runs.run import Checkpoint, Run
from interp.training.place import Place, locked
from interp.training.starts import Start
from interp.training.state import restore, save_state
from interp.training.updates import Updates, batch, check_effects, dropout, train_labels, training_loss
from interp.training.user_code import stop_if_declaring
from interp.utils.arguments import given
from interp.utils.console import Bar, progress_bar
from interp.utils.errors import CheckpointError, ConfigError, DivergedError, StorageError, TrainingError, warn
from interp.utils.files import PathLike, as_path, look_up, make_folder, names_in
from interp.utils.threads import for_network, on, wanted
from interp.utils.torch_state import computing

_STATE_SECONDS = 20.0  # between two saved states, at most: a kill loses no more work
OnRecord = Callable[[int, dict[str, float]], object] | None
OnCheckpoint = Callable[[Checkpoint], object] | None
_MAY_CHANGE = {"steps", "checkpoint_steps", "device"}  # at a resume; steps only with a constant learning rate


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
    on_record: OnRecord = None,
    on_checkpoint: OnCheckpoint = None,
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
        threads: How many threads the CPU uses: by default one for a small network (`utils.threads`), else as many as
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
    """Return the recorded settings, changed to the wanted ones as far as a resume may; ConfigError if others differ."""
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
        self, config: TrainConfig, path: Path, start: Start | None, on_record: OnRecord, on_checkpoint: OnCheckpoint
    ) -> None:
        """Prepare the pairs and the weights, restore the state in the directory, and write the settings."""
        self.config, self.path, self.on_record, self.on_checkpoint = config, path, on_record, on_checkpoint
        self.device, self.network, self.mask = device_of(config.device), config.model, config.train_mask
        self.train_pairs = Pairs(config.p, *self.mask.nonzero(as_tuple=True)).to(self.device)
        self.test_pairs = Pairs(config.p, *(~self.mask).nonzero(as_tuple=True)).to(self.device)
        self.train_labels = train_labels(config, config.task.labels[self.mask]).to(self.device)
        self.test_labels = config.task.labels[~self.mask].to(self.device)
        # Whether updates minimize the loss that the history records: cross-entropy of all pairs, by the whole network.
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
                f"steps must be at least {self.step:,}, where {path} stands; got {config.steps:,}. Give more."
            )
        self._write_settings()  # before all else, since they make the directory a run
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
        saved = Checkpoint(own, self.network, task, self.step, self.mask, file, None, "recorded", "recorded")
        return self._ends(self.on_checkpoint, saved)

    def finish(self, last: bool) -> None:
        """Check that all files are there; if the run ended before its last step, write the step into config.json."""
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
    number = 0  # 0 until a signal is caught


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
