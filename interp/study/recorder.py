"""Recorder: the measures of a network while it trains, in any training loop."""

from __future__ import annotations

import contextlib
import json
import math
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa

from interp.measures.logits import key_frequencies_of
from interp.measures.registry import chosen, evaluate
from interp.runs.directory import digest_of, write_tensors
from interp.runs.run import Run
from interp.runs.states import run_of_states
from interp.study.doubts import doubts_of
from interp.study.key_checkpoint import KeyFrequencies, key_of
from interp.study.progress_table import in_order
from interp.study.sources import model_in_training
from interp.study.trajectory import trajectory
from interp.subjects.model import Model, Tokens
from interp.subjects.model_forward import Array
from interp.subjects.subject import Missing, Subject
from interp.tasks.splits import SplitLike, split_digest
from interp.tasks.task import Task
from interp.utils.arguments import above_zero, given, number, whole
from interp.utils.errors import CheckpointError, ConfigError, warn
from interp.utils.files import PathLike, as_path, make_folder, read_noted, write_parquet
from interp.utils.threads import keeping_threads
from interp.utils.torch_state import computing

_NOTE = "interp-record"
_RECORD, _STATES = "record.parquet", "states"

Row = dict[str, Any]


class Recorder:
    """Measure a network while it trains: `rec = interp.Recorder(net, task, split)`, and `rec(step)` in the loop.

    Gradients, training mode, buffers, random state and device of the module stay as they are, so its weights are bit
    for bit those of a loop without a Recorder. A network that has diverged is a row of NaN.

    Args:
        model: The module that is being trained, or an interp.Model.
        task, split, seed, tokens, vocabulary: As in `interp.Model`.
        measures: The measures, as names or functions; by default all that are not on request.
        every: Measure at multiples of this step; at others `rec(step)` does nothing.
        path: A folder, or a file *.parquet, for the rows. It is written whole after each, so that a loop that is killed
            loses none. A Recorder of the same path goes on with its rows, and skips steps that it has.
        budget: The largest share of the wall time that measuring may take, such as 0.1; steps beyond it are left out,
            with a warning at the first.
        on_record: Called with the step and the row (a dict) after each, for a logger:
            lambda step, row: wandb.log(row, step=step)
        keep: Save the module's state with each row, under path, so that `rec.finish()` can measure all of them with the
            key frequencies of the last.

    Attributes:
        frame: One row per record, ascending in step, with the columns of a trajectory; losses over the p numbers. The
            key frequencies are those of each row's own network, in the column key_frequencies ("14 35 41").
        skipped: The steps that were left out for the budget.
        seconds: The time that measuring took.
        doubts: Why the network of the latest row may be learning another task than the one given, in sentences, as in
            `progress_measures`; the first after step 0 is a warning too. A large initialization is doubted until its
            loss has fallen. Empty if no measure needs the logits.
        run: The kept states as a Run.

    Raises:
        ConfigError: An argument does not fit, or the model does not run.
        StorageError: `path` cannot be written.
        CheckpointError: `path` cannot be read, or holds the record of another training: of another task, split or
            pattern of tokens, or, at `rec(0)`, one that began with other weights. Other weights at a later step are a
            warning, and the row stays, since a loop that goes on from its own checkpoint may differ in the last bits.
    """

    def __init__(
        self,
        model: Model | Callable[..., Any] | Array,
        task: Task | None = None,
        split: SplitLike | None = None,
        *,
        seed: int | None = None,
        tokens: Tokens | None = None,
        vocabulary: Mapping[str, int] | None = None,
        measures: Iterable[str | Callable[[Subject], Any]] | None = None,
        every: int = 100,
        path: PathLike | None = None,
        budget: float | None = None,
        on_record: Callable[[int, Row], object] | None = None,
        keep: bool = False,
    ) -> None:
        self.net = model_in_training(model, task, split, seed, tokens, vocabulary)
        self.measures = in_order(chosen(measures))
        self.every = whole("every", every, 1)
        self.budget = None if budget is None else number("budget", above_zero("budget", budget), most=1)
        if on_record is not None and not callable(on_record):
            raise ConfigError(f"on_record must be a function of a step and a row; got {given(on_record)}.")
        self.on_record, self.keep = on_record, bool(keep)
        self.file: Path | None = None
        self.folder: Path | None = None
        if path is not None:
            named = as_path(path)
            is_file = named.suffix == ".parquet"
            self.file = named if is_file else named / _RECORD
            self.folder = named.with_suffix("") if is_file else named
        if self.keep and (self.folder is None or self.net.module is None):
            raise ConfigError("keep=True saves states of a module under path; give path=, and an nn.Module as model.")
        self.skipped: list[int] = []
        self.seconds = 0.0
        self.doubts: tuple[str, ...] = ()
        self._warned = False
        self._began = time.perf_counter()
        self._last = 0.0  # seconds that the last record took
        self._rows: dict[int, Row] = {}
        self._digests: dict[str, str | None] = {}
        if self.file is not None and self.file.exists():
            self._continue(self.file)

    def __repr__(self) -> str:
        return f"Recorder({self.net!r}, {len(self._rows)} rows, every {self.every} steps)"

    @property
    def frame(self) -> pd.DataFrame:
        rows = [self._rows[step] for step in sorted(self._rows)]
        frame = pd.DataFrame(rows, columns=list(dict.fromkeys(name for row in rows for name in row)) or ["step"])
        numbers = frame.columns.difference(["step", "key_frequencies"])
        return frame.astype({"step": int} | dict.fromkeys(numbers, float))

    @property
    def run(self) -> Run:
        if not self.keep or self.folder is None:
            raise ConfigError("A run of the states needs keep=True and path=; this Recorder keeps none.")
        return run_of_states(self.folder / _STATES, self.net)

    def __call__(self, step: int) -> Row | None:
        """Measure the network if this step is due, and return the row; None at other steps."""
        step = whole("step", step, 0)
        if step % self.every:
            return None
        if step in self._rows:
            self._check_same(step)
            return None
        if self._over_budget(step):
            return None
        began = time.perf_counter()
        try:
            row = self._record(step)
        finally:
            self._last = time.perf_counter() - began
            self.seconds += self._last
        if self.on_record is not None:
            self.on_record(step, dict(row))
        return dict(row)

    def finish(self, progress: bool = True) -> pd.DataFrame:
        """Return the trajectory of the kept states, measured again with the key frequencies of the last."""
        asked = [one.name if one.builtin else one.of for one in self.measures]
        return trajectory(self.run, measures=asked, progress=progress)

    # ── measuring ──

    def _over_budget(self, step: int) -> bool:
        if self.budget is None or not self._last:
            return False
        elapsed = time.perf_counter() - self._began
        if self.seconds + self._last <= self.budget * (elapsed + self._last):
            return False
        if not self.skipped:
            warn(
                f"a record takes {self._last:.2g} s, which every {self.every} steps is more than {self.budget:.0%} of "
                f"the time; from step {step:,} on some are left out (rec.skipped)."
            )
        self.skipped.append(step)
        return True

    @computing()
    @keeping_threads
    def _record(self, step: int) -> Row:
        keys = KeyFrequencies(lambda: key_of(subject))
        subject = self.net.subject({key_frequencies_of: keys}, step=step)
        row: Row = {"step": step}
        self.doubts = ()
        try:
            found = evaluate(subject, self.measures)
        except CheckpointError as error:  # it has diverged
            warn(f"step {step:,} is a row without values: {error}")
            row |= {one.name: math.nan for one in self.measures if one.shape == "number"}
        else:
            for name, why in found.failed.items():
                warn(f"{name} is NaN at step {step:,}: {why}.")
            for one in self.measures:
                columns = one.flat(found.values[one.name])
                row |= {name: math.nan if value is None else float(value) for name, value in columns.items()}
            if any("key_frequencies_of" in needed for needed in found.needs.values()):
                with contextlib.suppress(Missing):  # of a task without Fourier structure
                    row["key_frequencies"] = " ".join(map(str, keys()))
            if subject.was_run:
                self._doubt(subject, step)
        self._rows[step] = row
        self._digests[str(step)] = self._digest()
        if self.keep:
            self._save_state(step)
        if self.file is not None:
            self._write(self.file)
        return row

    def _doubt(self, subject: Subject, step: int) -> None:
        found = doubts_of(subject, "given", "recorded")  # of the task alone, since the tests of a split are slow
        self.doubts = (*found, *subject.doubts)
        if found and step and not self._warned:
            warn(f"step {step:,}: {' '.join(found)}")
            self._warned = True

    # ── files ──

    def _digest(self) -> str | None:
        """Return the hash of the weights, by which `_check_same` knows a step that comes again."""
        module = self.net.module
        return None if module is None or self.file is None else digest_of(module.state_dict())

    def _check_same(self, step: int) -> None:
        before = self._digests.get(str(step))
        if before is not None and before != self._digest():
            if step == 0:
                raise CheckpointError(
                    f"{self.file} is the record of another training, which began with other weights; give another "
                    "path, or remove it."
                )
            warn(
                f"step {step:,} has other weights in {self.file}, so this loop does not go on where that one stopped; "
                "the row stays as it was. Give another path to a new training."
            )
            self._digests[str(step)] = None  # so that it is said once

    def _about(self) -> dict[str, Any]:
        about = {"task": asdict(self.net.task), "split": split_digest(self.net.train_mask)}
        return about if self.net.reads is None else about | {"tokens": self.net.reads}

    def _continue(self, file: Path) -> None:
        try:
            table, note = read_noted(file, _NOTE)
            about, digests = dict(note["about"]), dict(note["digests"])
            rows = {int(row["step"]): row for row in table.to_pandas().to_dict("records")}
        except (OSError, ValueError, KeyError, TypeError, pa.ArrowException) as error:
            raise CheckpointError(
                f"{file} is not the record of a Recorder ({type(error).__name__}); give another path, or remove it."
            ) from None
        words = {"task": "another task", "split": "another split", "tokens": "other tokens"}
        mine = self._about()
        if other := [words[name] for name in mine if name in about and about[name] != mine[name]]:
            raise CheckpointError(f"{file} is a record of {' and '.join(other)}; give another path, or remove it.")
        self._rows, self._digests = rows, digests

    def _write(self, file: Path) -> None:
        note = json.dumps({"about": self._about(), "digests": self._digests})
        write_parquet(file, self.frame, {_NOTE: note})

    def _save_state(self, step: int) -> None:
        assert self.folder is not None
        # Cloned, since safetensors refuses weights that share memory.
        state = {name: value.clone() for name, value in self.net.needed_module.state_dict().items()}
        file = self.folder / _STATES / f"step_{step:08d}.safetensors"
        make_folder(file.parent)
        write_tensors(file, state, {"format": "interp-state", "step": step})
