"""trajectory(): the measures of every checkpoint of a run, as rows, which are kept beside the run."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Bool, Shaped

from interp.measures.logits import KEY_SHARE, checked_frequencies, checked_share
from interp.measures.registry import Measure, Number, Values, chosen, evaluate
from interp.runs.run import Run
from interp.study.doubts import run_doubts, warn_of
from interp.study.kept import Kept, Row, frame_of, may_write
from interp.study.progress_table import in_order
from interp.study.run_subjects import RunSubjects, each_checkpoint
from interp.study.sources import one_run, threads_for
from interp.subjects.subject import Subject
from interp.utils.arguments import some
from interp.utils.console import progress_bar
from interp.utils.errors import CheckpointError, ConfigError, warn
from interp.utils.files import PathLike
from interp.utils.threads import keeping_threads
from interp.utils.torch_state import computing

ALIGNMENTS = (
    "embedding_alignment",
    "neuron_logit_alignment",
)  # on request elsewhere: a lone model has no last checkpoint


class Arrays(Mapping[str, Shaped[np.ndarray, "checkpoint ..."]]):
    """Measures that are arrays, over training: `arrays["embedding_norms"]` is [checkpoint, p], as the frame's rows.

    A checkpoint at which a measure could not be computed holds NaN (False in an array of truth values).

    Attributes:
        steps: The step of each checkpoint, [checkpoint].
        train_mask: True for train pairs, [p, p]; None if the split is unknown.
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
    """Return the measures of every checkpoint of a run that are numbers, one row per checkpoint, ascending in `step`.

    Columns: every measure that is a number, `excluded_loss_K` of each key frequency K, `cos_coefficient_k` of every k,
    and those that other measures declare (`interp.measure`); NaN if the run lacks one. The losses are over the p number
    tokens, as everywhere but in `run.history`, where "=" counts too. `df.attrs` holds "key_frequencies", by default
    those of `progress_measures` at every step; "key_step", the step of their checkpoint (None if they were given); "p";
    and "missing", the reason of each measure that no checkpoint has.

    Each checkpoint is read once. One that cannot be read is left out, and a measure of yours that fails is NaN there,
    each with a warning.

    Args:
        key_frequencies, share, threads: As in `progress_measures`.
        refresh: Compute everything anew.
        measures: The measures to compute, as names or functions, with a warning for each that is missing. By default
            all that are not on request, and `embedding_alignment` and `neuron_logit_alignment`, of W_E and W_L with
            those of the last checkpoint.
        arrays: Measures whose arrays are wanted too: `df.attrs["arrays"]["embedding_norms"]` is [checkpoint, p].
        keep: Keep the result in measures.parquet beside a run directory of interp that may be written to. A second call
            computes only the rest, or everything if the key frequencies, the split or the definitions changed. Arrays,
            and measures of yours without a `version`, are not kept.

    Raises:
        CheckpointError: The run has no readable checkpoint.
        ConfigError: An argument does not fit the run.
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
    """The rows of a trajectory that are known, and the measures that each checkpoint still lacks."""

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
        """Measure the checkpoints that lack measures, several at a time if that is safe."""

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
        """Add the new values to the rows; a checkpoint that cannot be read is left out, with a warning."""
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
        """Return the wanted measures as a frame, with key frequencies, doubts and reasons in its attrs."""
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


def _array(one: Measure, value: Any) -> np.ndarray | None:
    """Return a result as an array, None if missing; ConfigError for a measure that is not an array."""
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
