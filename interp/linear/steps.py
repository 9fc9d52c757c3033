"""Steps of a long training at equal ratios, as many in every decade."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Int

from interp.utils.arguments import whole
from interp.utils.errors import ConfigError

LAST_STEP = 2**53 - 1  # float64 holds every whole number up to here
MOST_RECORDS = 1_000_000


def log_steps(last: int, count: int = 200) -> Int[np.ndarray, " steps"]:
    """Return about `count` steps from 1 to `last` at equal ratios, each once."""
    last, count = _step(last), whole("count", count, 2, MOST_RECORDS + 1)
    return np.unique(np.round(np.geomspace(1, last, count)).astype(np.int64)) if last else np.zeros(1, np.int64)


def _step(value: Any) -> int:
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return whole("a step", value, 0, LAST_STEP + 1)


def as_steps(steps: Any) -> Int[np.ndarray, " t"]:
    """Return a list of steps sorted, each once; for a single step, 0 and the `log_steps` up to it."""
    try:
        count = 0 if isinstance(steps, str | bytes | dict) else len(steps)
    except TypeError:  # a number
        return np.unique(np.r_[0, log_steps(steps)])
    if not 0 < count <= MOST_RECORDS:
        raise ConfigError(f"steps must name 1 to {MOST_RECORDS:,} steps, or be the last one; got {count:,} steps.")
    return np.array(sorted({_step(step) for step in steps}), dtype=np.int64)
