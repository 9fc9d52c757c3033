"""phases(): memorization, circuit formation and cleanup of a run, of its trajectory, or of a log."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from interp.study.phase_rules import Phases, read_phases
from interp.utils.errors import CheckpointError, warn
from interp.utils.thresholds import LEARNED

if TYPE_CHECKING:
    from interp.runs.run import Run
    from interp.utils.files import PathLike


def phases(source: pd.DataFrame | Run | PathLike, threshold: float = LEARNED, sustain: int = 1) -> Phases:
    """Return the phases of a run, or of one record of it: a trajectory, a history, or any frame like them.

    A frame has `step` (a column or the index) and, one row per step, the columns that an event needs: memorized needs
    train_accuracy; generalized, lost and dips need test_accuracy; the ends of circuit formation and cleanup need
    test_loss and test_accuracy; memorization_end needs all of these and excluded_loss. Without test_accuracy, the
    circuit forms from the peak of the whole record on, cleanup follows, and a doubt says that falls of accuracy cannot
    be seen. Rows may come in any order. Missing values and infinite losses are ignored, and a loss of exactly 0 counts
    as the least positive one before the first fall. Accuracies are fractions, losses in nats.

    A Run is read as finely as it was recorded: each value comes from its history, or from its trajectory if the history
    lacks it. So accuracies and test_loss have the history's steps, and excluded_loss the checkpoints'. The losses in
    the history of a run that interp trained are over all p + 1 outputs ("=" included), those of a trajectory over the p
    numbers; `phases(trajectory(run))` reads the latter alone.

    Args:
        source: A frame, a Run, the path of one, or the path of a log, which `interp.read_log` reads.
        threshold: The accuracy from which a set counts as learned.
        sustain: The number of rows in a row that must have it.

    Raises:
        ConfigError: A frame has no `step` or no rows, steps that are not whole numbers, two different values at one
            step, accuracies over 1 (percent) or negative losses.
        CheckpointError: A run has neither history nor checkpoints.
    """
    from interp.study.sources import one_record

    found = one_record(source, "phases()")
    frames = [found] if isinstance(found, pd.DataFrame) else records(found)
    return read_phases(frames, threshold, sustain)


def records(run: Run, progress: bool = True) -> list[pd.DataFrame]:
    """Return the records of a run: its history, which takes precedence, and its trajectory.

    A missing or damaged one is left out, with a warning. Raises CheckpointError if both are.
    """
    from interp.study.trajectory import trajectory

    found, errors = [], []
    try:
        if len(run.history):
            found.append(run.history)
    except CheckpointError as error:
        errors.append(f"{error} The phases are read off the checkpoints alone.")
    try:
        found.append(trajectory(run, progress=progress))
    except CheckpointError as error:
        if not found:
            raise
        errors.append(f"{error} The phases are read off the history alone.")
    for message in errors:
        warn(message)
    return found
