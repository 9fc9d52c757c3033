"""The errors that interp raises on purpose: each carries one sentence that says how to mend the input."""


class InterpError(Exception):
    """Base of every error that interp raises about what it was given."""


class ConfigError(InterpError, ValueError):
    """An argument, a task or a training setting that cannot be used."""


class CheckpointError(InterpError):
    """A checkpoint or run that is missing, damaged, foreign, or newer than this version of interp."""


class TrainingError(InterpError, RuntimeError):
    """A training that cannot start or had to stop; everything saved before it is intact."""
