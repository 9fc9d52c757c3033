"""Medians of things timed in turn, so that a machine whose speed drifts still gives a fair ratio."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping


def medians(tasks: Mapping[str, tuple[Callable[[], object], int]], rounds: int = 7) -> dict[str, float]:
    """Return the median seconds of each task, given by (function, calls in a row), after a round to warm up."""
    seconds: dict[str, list[float]] = {name: [] for name in tasks}
    for turn in range(rounds + 1):
        for name, (call, times) in tasks.items():
            for _ in range(times):
                begun = time.perf_counter()
                call()
                if turn:
                    seconds[name].append(time.perf_counter() - begun)
    return {name: statistics.median(values) for name, values in seconds.items()}
