"""trajectory(): the measures of every checkpoint of a run, as rows, and what is kept of them beside the run."""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Bool, Shaped

from interp.arguments import some
from interp.computing import computing
from interp.console import Bar, progress_bar
from interp.disk import read_noted, write_parquet
from interp.errors import CheckpointError, ConfigError, warn
from interp.keys import KeyFrequencies, key_checkpoint
from interp.measures.logits import KEY_SHARE, checked_share, key_frequencies_of
from interp.measures.registry import Measure, Number, Values, chosen, evaluate
from interp.measures.subject import Subject
from interp.progress import checked_frequencies, in_order, run_doubts, threads_for, warn_of
from interp.run import PathLike, Run
from interp.sources import one_run
from interp.task import split_digest
from interp.threads import keeping_threads, side_by_side

KEPT = "measures.parquet"
ALIGNMENTS = (
    "embedding_alignment",
    "neuron_logit_alignment",
)  # on request elsewhere: a lone model has no last checkpoint
_NOTE = "interp"
HOME = Path(__file__).parent
# The modules and packages of interp whose definitions decide a row, or which checkpoint names the key frequencies.
_DEFINITIONS = (
    "measures", "networks", "subjects", "tasks", "study/doubts", "study/key_checkpoint", "study/phase_rules",
    "utils/torch_state",
)  # fmt: skip

Row = dict[str, dict[str, Number | None]]  # of each measure, its columns


class Arrays(Mapping[str, Shaped[np.ndarray, "checkpoint ..."]]):
    """Measures that are arrays, over training: `arrays["embedding_norms"]` is [checkpoint, p], a row of the frame each.

    steps [checkpoint]    the step of each
    train_mask [p, p]     true = train pair; None if the split is unknown
    A checkpoint at which a measure could not be computed holds NaN (False in an array of truth values).
    """

    def __init__(
        self, steps: np.ndarray, train_mask: Bool[np.ndarray, "p p"] | None, arrays: dict[str, np.ndarray]
    ) -> None:
        self.steps, self.train_mask, self._arrays = steps, train_mask, arrays

    def __getitem__(self, name: str) -> Shaped[np.ndarray, "checkpoint ..."]:
        return self._arrays[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._arrays)

    def __len__(self) -> int:
        return len(self._arrays)

    def __repr__(self) -> str:
        return f"Arrays({', '.join(f'{name} {list(a.shape)}' for name, a in self._arrays.items())})"

    # pandas copies and compares the attrs of a frame at every turn.
    __eq__ = object.__eq__
    __hash__ = object.__hash__

    def __deepcopy__(self, memo: object) -> Arrays:
        return self


@computing()
@keeping_threads
def trajectory(
    run: Run | PathLike,
    key_frequencies: Iterable[int] | None = None,
    share: float = KEY_SHARE,
    progress: bool = True,
    refresh: bool = False,
    threads: int | None = None,
    measures: Iterable[str | Callable[[Subject], Any]] | None = None,
    arrays: Iterable[str | Callable[[Subject], Any]] = (),
    keep: bool = True,
) -> pd.DataFrame:
    """The measures of every checkpoint of a run that are numbers, one row a checkpoint, ascending in `step`.

    Columns: every measure that is a number, `excluded_loss_K` of each key frequency K, `cos_coefficient_k` of every k,
    and those that other measures declare (`interp.measure`); what a run cannot give is NaN. `measures` names which to
    compute, as names or functions; by default all that are not on request, and `embedding_alignment` and
    `neuron_logit_alignment`, of W_E and W_L with those of the last checkpoint. The losses are over the p number tokens,
    as everywhere but in `run.history`, where "=" counts too. `df.attrs["key_frequencies"]` holds the key frequencies,
    which are those of `progress_measures` at every step unless given, `df.attrs["key_step"]` the step of the checkpoint
    that has them (None if they were given), and `df.attrs["p"]` the modulus. `df.attrs["missing"]` gives the reason of
    each measure that no checkpoint has; of those that `measures` names it is a warning too.

    `arrays` names measures whose arrays are wanted too: `df.attrs["arrays"]["embedding_norms"]` is [checkpoint, p].

    Each checkpoint is read once. Unless `keep` is false, the result is kept in measures.parquet beside those of a run
    directory: a second call reads it, and computes only what is new or changed. All is made anew when the key
    frequencies, the split or the definitions changed, or with `refresh`; a measure of yours is kept only if it has a
    `version`, arrays never. Nothing is written into a directory that may not be written to, nor beside a file of
    another's code. A checkpoint that cannot be read is left out, and a measure of yours that fails is NaN there, each
    with a warning. `threads` is as in `progress_measures`.
    """
    run = one_run(run, "trajectory()")
    share = checked_share(share)
    asked = chosen(measures) + (chosen(ALIGNMENTS) if measures is None else [])
    wanted = [one for one in in_order(asked) if one.columns or not one.shape.startswith("[")]
    of_arrays = chosen(arrays, "arrays")
    if not run.steps:
        raise CheckpointError(f"{run.path} has no readable checkpoint yet; let it train to its first one.")
    frequencies = checked_frequencies(key_frequencies, run.task)
    workers = threads_for(run.architecture, run.task.p, threads)
    torch.set_num_threads(workers)
    subjects = RunSubjects(run, frequencies, share)
    asked_keys = share if frequencies is None else list(frequencies)
    kept = Kept(run, wanted, asked_keys) if keep and may_write(run) else None
    rows: dict[int, Row] = {step: {} for step in run.steps}
    if kept and not refresh and kept.read():
        rows = kept.rows(subjects)
    table = _Table(run, wanted, of_arrays, rows, kept)
    table.measure(subjects, workers, progress)
    table.collect()
    if kept and table.todo:
        kept.write(rows, subjects.keys)
    frame = table.frame(subjects)
    if measures is not None:
        said = {name for name, _ in table.failed}
        for name, why in frame.attrs["missing"].items():
            if name not in said:
                warn(f"{name} is missing at all checkpoints: {why}.")
    warn_of(frame.attrs["doubts"][len(run.doubts) :], run.path)
    return frame


class _Table:
    """The rows of a trajectory: those that are known, and at each checkpoint the measures that are still lacking."""

    def __init__(
        self, run: Run, wanted: list[Measure], of_arrays: list[Measure], rows: dict[int, Row], kept: Kept | None
    ) -> None:
        self.run, self.wanted, self.of_arrays, self.rows, self.kept = run, wanted, of_arrays, rows, kept
        self.lacking = {step: [one for one in wanted if one.name not in row] for step, row in rows.items()}
        self.todo = [step for step in rows if of_arrays or self.lacking[step]]
        self.missing: dict[str, str] = kept.missing if kept else {}
        self.failed: dict[tuple[str, str], list[int]] = {}  # the steps at which a measure of the caller's failed so
        self._found: dict[int, Values | CheckpointError] = {}
        self._arrays: dict[int, dict[str, np.ndarray | None]] = {}

    def measure(self, subjects: RunSubjects, workers: int, progress: bool) -> None:
        """Measure the checkpoints that lack something, several at a time where that is safe."""

        @computing()
        def measure(step: int) -> None:
            each = {one.name: one for one in self.lacking[step] + self.of_arrays}
            try:
                self._found[step] = evaluate(subjects(step), list(each.values()))
            except CheckpointError as error:
                self._found[step] = error

        total, done = len(self.rows), len(self.rows) - len(self.todo)
        with progress_bar("measure", "checkpoints", total, done, progress and bool(self.todo)) as bar:
            # A caller's measure or module may not be ready for two threads at a time.
            ours = all(one.builtin for one in self.wanted + self.of_arrays) and self.run.architecture.is_own
            each_checkpoint(measure, self.todo, workers if ours else 1, bar, total)

    def collect(self) -> None:
        """Add what was measured to the rows; a checkpoint that cannot be read is left out, with a warning."""
        for step in self.todo:
            values = self._found[step]
            if isinstance(values, CheckpointError):
                warn(f"left out: {values}")
                del self.rows[step]
                continue
            self.rows[step] |= {one.name: one.flat(values.values[one.name]) for one in self.lacking[step]}
            self._arrays[step] = {one.name: _array(one, values.values[one.name]) for one in self.of_arrays}
            self.missing.update(values.missing)
            for name, why in values.failed.items():
                self.failed.setdefault((name, why), []).append(step)
            if self.kept:
                self.kept.needs(values.needs)
        if not self.rows:
            raise CheckpointError(
                f"{self.run.path} has no readable checkpoint; the warnings say what is wrong with each."
            )
        for (name, why), steps in self.failed.items():
            where = some([f"{step:,}" for step in steps])
            warn(f"{name} is NaN at {len(steps)} of {len(self.rows)} checkpoints (step {where}): {why}.")

    def frame(self, subjects: RunSubjects) -> pd.DataFrame:
        """Return the wanted measures as a frame, with what they rest on as its attrs."""
        frame = frame_of({step: {one.name: row[one.name] for one in self.wanted} for step, row in self.rows.items()})
        frame.attrs |= {
            "key_frequencies": subjects.keys.found,
            "key_step": subjects.keys.step,
            "p": self.run.task.p,
            "key_doubt": subjects.keys.doubt,
            "doubts": run_doubts(self.run, subjects.last),
            "missing": {
                one.name: self.missing[one.name]
                for one in self.wanted
                if one.name in self.missing and all(_is_missing(row[one.name]) for row in self.rows.values())
            },
        }
        if self.of_arrays:
            frame.attrs["arrays"] = _arrays(self.run, self._arrays, self.of_arrays, self.missing)
        return frame


def each_checkpoint(
    measure: Callable[[int], None], steps: list[int], workers: int, bar: Bar | None, total: int
) -> None:
    """Measure these checkpoints, several side by side on one thread each, which is quicker than one on several.

    The first one goes before: it finds what all share, the key frequencies and the last checkpoint.
    """

    def job(step: int) -> Iterator[int]:
        measure(step)
        yield 1

    def moved(done: int) -> None:
        if bar:
            bar.at(total - len(steps) + done)

    if workers == 1:
        for done, step in enumerate(steps, 1):
            measure(step)
            moved(done)
    elif steps:
        measure(steps[0])
        moved(1)
        side_by_side([job(step) for step in steps[1:]], workers, lambda done: moved(done + 1))


def frame_of(rows: Mapping[int, Row]) -> pd.DataFrame:
    """Return rows as a frame: `step`, the measures that are one number, then the columns that others make."""
    columns = [(of, name) for row in rows.values() for of, columns in row.items() for name in columns]
    names = list(dict.fromkeys([name for of, name in columns if of == name] + [name for _, name in columns]))
    flat = [{name: value for columns in row.values() for name, value in columns.items()} for row in rows.values()]
    frame = pd.DataFrame({name: np.array([row.get(name) for row in flat], dtype=float) for name in names})
    frame.insert(0, "step", list(rows))
    return frame


def _array(one: Measure, value: Any) -> np.ndarray | None:
    """Return a result as an array, None where it is missing; ConfigError for a measure that is none."""
    if isinstance(value, np.ndarray | None):
        return value
    raise ConfigError(
        f"arrays must name measures that are arrays; {one.name} is a {type(value).__name__}: {one.title}."
    )


def _is_missing(columns: Mapping[str, Number | None]) -> bool:
    return all(value is None or math.isnan(value) for value in columns.values())


def _arrays(
    run: Run, found: Mapping[int, dict[str, np.ndarray | None]], measures: list[Measure], missing: Mapping[str, str]
) -> Arrays:
    stacked = {}
    for one in measures:
        each = [row[one.name] for row in found.values()]
        there = [array for array in each if array is not None]
        if not there:
            raise ConfigError(
                f"arrays must name measures that the run can give; {one.name} is missing at all checkpoints: "
                f"{missing[one.name]}."
            )
        if len({array.shape for array in there}) > 1:
            raise ConfigError(f"arrays must keep their shape over training; {one.name} does not.")
        none = np.zeros(there[0].shape, bool) if there[0].dtype == bool else np.full(there[0].shape, np.nan)
        stacked[one.name] = np.stack([none if array is None else array for array in each])
    mask = run.train_mask
    return Arrays(np.array(list(found)), None if mask is None else mask.numpy(), stacked)


class RunSubjects:
    """The checkpoints of a run as subjects. The last one and the latest that named key frequencies stay in memory."""

    def __init__(self, run: Run, frequencies: tuple[int, ...] | None, share: float) -> None:
        self._run = run
        self._held: dict[int, Subject] = {}
        self.keys = KeyFrequencies(lambda: key_checkpoint(run, self._hold), share, frequencies)

    def __call__(self, step: int) -> Subject:
        if step in self._held:
            return self._held[step]
        return self._run.at(step).subject({key_frequencies_of: self.keys}, self.last)

    def _hold(self, step: int) -> Subject:
        subject = self(step)
        self._held = dict(list(self._held.items())[:1]) | {step: subject}
        return subject

    def last(self) -> Subject:
        """Return the last checkpoint that can be read and whose matrices are finite."""
        for step in reversed(self._run.steps):
            try:
                subject = self._hold(step)
            except CheckpointError:
                continue
            if all(bool(weight.isfinite().all()) for weight in subject.parameters):
                return subject
        return self(self._run.last_readable().step or 0)


# ── what is kept ─────────────────────────────────────────────────────────────────────────────────────────────────


def may_write(run: Run) -> bool:
    """Whether a run lies in a directory that interp wrote and that may be written to."""
    if not isinstance(run.path, Path) or not run.path.is_dir():
        return False
    if not run.architecture.is_own:
        return False
    return bool(run.path.stat().st_mode & 0o222) and os.access(run.path, os.W_OK)  # root may write anywhere


@cache
def fingerprint(home: Path = HOME) -> str:
    """Return the hash of the source that the kept rows rest on: of every module of _DEFINITIONS under `home`."""
    content = hashlib.sha256()
    for name in _DEFINITIONS:
        module = home / name
        files = sorted(module.glob("*.py")) if module.is_dir() else [module.with_suffix(".py")]
        assert files, f"{name} holds no definitions any more"
        for file in files:
            content.update(file.read_bytes())
    return content.hexdigest()


class Kept:
    """The trajectory kept beside a run: its rows, and what they were made of.

    `note` holds the fingerprint of the definitions and the split; the digest of each checkpoint, and the last one; the
    key frequencies, how they were asked for, and the digests of the checkpoints that decided them; of each measure its
    version and what else it needs (the key frequencies, the last checkpoint); why some are missing; and which columns
    each measure made.
    """

    def __init__(self, run: Run, wanted: list[Measure], asked: list[int] | float) -> None:
        self._run, self._file, self._wanted, self._asked = run, Path(run.path) / KEPT, wanted, asked
        self._setting = {
            "fingerprint": fingerprint(),
            "split": split_digest(run.train_mask),
        }
        self._note: dict[str, Any] = {}
        self._rows: dict[int, Row] = {}
        self._needs: dict[str, set[str]] = {}
        self.missing: dict[str, str] = {}  # why measures are missing, at any checkpoint

    def needs(self, found: Mapping[str, set[str]]) -> None:
        """Note what else measures were found to need."""
        for name, what in found.items():
            self._needs.setdefault(name, set()).update(what)

    def read(self) -> bool:
        """Read the file; False if there is none of these definitions that can be read."""
        try:
            content, note = read_noted(self._file, _NOTE)
            if note["setting"] != self._setting:
                return False
            values = {int(row["step"]): row for row in content.to_pandas().to_dict("records")}
            rows: dict[int, Row] = {}
            for group in note["groups"]:
                for step in group["steps"]:
                    rows[step] = {
                        name: {column: _number(values[step][column]) for column in columns}
                        for name, columns in group["columns"].items()
                    }
            needs = {name: set(what) for name, what in note["needs"].items()}
            missing = {str(name): str(why) for name, why in note["missing"].items()}
            for part in ("versions", "digests", "last"):
                note[part]
        except (CheckpointError, OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return False
        self._note, self._rows, self._needs = note, rows, needs
        self.missing.update(missing)
        return True

    def rows(self, subjects: RunSubjects) -> dict[int, Row]:
        """Discard cached values whose checkpoint, key frequencies or measure version changed; return the rest."""
        digests: dict[int, str] = {}
        for step in self._run.steps:
            try:
                digests[step] = self._run.source(step).digest() if step in self._rows else ""
            except OSError as error:
                warn(f"left out: {self._run.source(step).path} cannot be read any more ({error.strerror}).")
        if not digests:
            raise CheckpointError(f"{self._run.path} has no readable checkpoint any more; restore it from a copy.")
        of, last = self._note["digests"], max(digests)
        self._rows = {
            step: row for step, row in self._rows.items() if step in digests and of[str(step)] == digests[step]
        }
        if self._note["last"] != [last, digests[last]]:
            self._drop(name for name, what in self._needs.items() if "final" in what)
        self._drop(
            one.name for one in self._wanted if not one.builtin and one.version != self._note["versions"].get(one.name)
        )
        self._check_keys(subjects.keys, digests)
        wanted = [one.name for one in self._wanted]
        return {
            step: {name: self._rows[step][name] for name in wanted if name in self._rows.get(step, ())}
            for step in digests
        }

    def _check_keys(self, keys: KeyFrequencies, digests: Mapping[int, str]) -> None:
        """Take the key frequencies that are kept, or drop what needs them if they are no longer those of the run."""
        need = [name for name, what in self._needs.items() if "key_frequencies_of" in what]
        note = self._note["keys"]
        if not need or note is None:  # None for a task without Fourier structure
            return
        decided = {int(step): digest for step, digest in note["of"].items()}
        now = {step: digest for step, digest in digests.items() if step >= min(decided, default=0)}
        if keys.found is None and note["asked"] == self._asked and decided == now:
            keys.found, keys.step, keys.doubt = tuple(note["frequencies"]), note["step"], note["doubt"]
            keys.first_step = min(decided)
        if any(one.name in need for one in self._wanted):
            keys()
        if keys.found != tuple(note["frequencies"]):
            self._drop(need)

    def _drop(self, names: Iterable[str]) -> None:
        dropped = set(names)
        self._rows = {
            step: {name: columns for name, columns in row.items() if name not in dropped}
            for step, row in self._rows.items()
        }

    def write(self, rows: Mapping[int, Row], keys: KeyFrequencies) -> None:
        """Keep these rows beside the kept ones; of the caller's own measures only those with a version."""
        mine = {one.name: one.version for one in self._wanted if not one.builtin}
        whole = {
            step: {
                **self._rows.get(step, {}),
                **{name: columns for name, columns in row.items() if name not in mine or mine[name] is not None},
            }
            for step, row in rows.items()
        }
        try:
            digests = {step: self._run.source(step).digest() for step in whole}
        except OSError:  # a checkpoint was deleted just now
            return
        groups: dict[str, dict[str, Any]] = {}
        for step, row in whole.items():
            columns = {name: list(columns) for name, columns in row.items()}
            groups.setdefault(json.dumps(columns), {"steps": [], "columns": columns})["steps"].append(step)
        note = {
            "setting": self._setting,
            "digests": {str(step): digest for step, digest in digests.items()},
            "last": [max(digests), digests[max(digests)]],
            "keys": self._note.get("keys"),
            "needs": {name: sorted(what) for name, what in self._needs.items()},
            "missing": self.missing,
            "versions": self._note.get("versions", {}) | {name: v for name, v in mine.items() if v is not None},
            "groups": list(groups.values()),
        }
        if keys.found is not None:
            considered = {str(step): digest for step, digest in digests.items() if step >= keys.first_step}
            note["keys"] = {
                "asked": self._asked, "frequencies": list(keys.found), "step": keys.step, "doubt": keys.doubt,
                "of": considered,
            }  # fmt: skip
        try:
            write_parquet(self._file, frame_of(whole), {_NOTE: json.dumps(note)})
        except OSError as error:
            warn(f"the trajectory could not be kept, so it is computed anew each time: {error}")


def _number(value: Any) -> float | None:
    return None if value is None or math.isnan(value) else float(value)
