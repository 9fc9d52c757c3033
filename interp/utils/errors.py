"""The errors and warnings of interp, each one sentence that says how to mend the input."""

import sys
import warnings


class InterpError(Exception):
    """Base of every error that interp raises about its input."""


class ConfigError(InterpError, ValueError):
    """An argument, a task or a training setting that cannot be used."""


class CheckpointError(InterpError):
    """A checkpoint or run that is missing, damaged, foreign, or newer than this version of interp."""


class TrainingError(InterpError, RuntimeError):
    """A training that cannot start or had to stop; everything saved before it is intact."""


class DivergedError(TrainingError):
    """A training whose loss is no longer finite. Retrying with the same settings would diverge again."""

    BEGINNING = "the loss is no longer finite"  # the table of a sweep tells it from other errors by this


class StorageError(InterpError, OSError):
    """A file or folder that could not be written, for instance on a full disk or in a read-only folder."""

    def __init__(self, target: object, reason: str, remedy: str) -> None:
        super().__init__(f"{target} could not be written ({reason}); {remedy}.")
        self.target, self.reason, self.remedy = target, reason, remedy


def warn(message: str) -> None:
    """Warn at the caller's line."""
    level, frame = 2, sys._getframe(1)
    # functools calls the cached properties of interp.
    while frame.f_back and frame.f_globals.get("__name__", "").split(".")[0] in ("interp", "functools"):
        level, frame = level + 1, frame.f_back
    warnings.warn(message, stacklevel=level)
