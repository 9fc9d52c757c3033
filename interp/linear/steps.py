"""The steps of a long training that are worth a look: as many in every decade."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Int

from interp.arguments import whole
from interp.errors import ConfigError

LAST_STEP = 2**53 - 1  # up to here float64 holds every whole number


def log_steps(last: int, count: int = 200) -> Int[np.ndarray, " steps"]:
    """About `count` steps from 1 to `last` at equal ratios, each once."""
    last, count = _last_step(last), whole("count", count, 2)
    return np.unique(np.round(np.geomspace(1, last, count)).astype(np.int64)) if last else np.zeros(1, np.int64)


def _last_step(value: Any) -> int:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    step = whole("a step", value, 0)
    if step > LAST_STEP:
        raise ConfigError(f"step {step:.3g} is too far: float64 counts steps only up to {LAST_STEP:.3g}.")
    return step


def as_steps(steps: Any) -> Int[np.ndarray, " t"]:
    """The steps wanted, in order and each once."""
    if np.ndim(steps) == 0:
        return np.unique(np.r_[0, log_steps(steps)])
    found = sorted({_last_step(step.item() if isinstance(step, np.generic) else step) for step in steps})
    if not found:
        raise ConfigError("steps is empty; name at least one step, or give the last one.")
    return np.array(found, dtype=np.int64)
