"""Grokking times of ridge regression and of two-layer networks, which several figures share."""

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd

from analyses.neighbours._sizes import Sizes
from interp.linear import ridge, two_layer
from interp.sweeps.survival import with_delays
from interp.utils.console import progress_bar
from interp.utils.threads import side_by_side, wanted

SWEPT = {
    "weight_decay": "Weight decay λ",
    "init_scale": "Scale ν of the initialization",
    "n": "Samples n",
    "width": "Width (network) or features (ridge)",
}


@lru_cache(maxsize=2)
def ridge_problem(sizes: Sizes) -> ridge.RidgeProblem:
    return ridge.random_features_problem(*sizes.ridge)


@lru_cache(maxsize=2)
def ridge_map(sizes: Sizes) -> pd.DataFrame:
    """Return grokking times over weight decay and the scale of the initialization."""
    problem = ridge_problem(sizes)
    decays = np.geomspace(1e-7, 1e-1, sizes.map_cells).tolist()
    cells = list(itertools.product(decays, np.geomspace(0.5, 50, sizes.map_cells).tolist()))
    ridge.grokking_times(problem)  # keeps its decomposition, which the cells share
    rows: dict[tuple[float, float], dict[str, Any]] = {}

    def times(decay: float, scale: float) -> Iterator[int]:
        found = ridge.grokking_times(problem, weight_decay=decay, init_scale=scale)
        rows[decay, scale] = {"weight_decay": decay, "init_scale": scale, **found.to_dict()}
        yield 1

    with progress_bar("ridge, λ and ν", "settings", len(cells)) as bar:
        side_by_side([times(*cell) for cell in cells], wanted(None), bar.at if bar else None)
    return pd.DataFrame([rows[cell] for cell in cells])


@lru_cache(maxsize=2)
def network_delays(sizes: Sizes) -> pd.DataFrame:
    """Return grokking times of two-layer networks with one setting, `swept`, changed from its default to `value`."""
    values: dict[str, tuple[float, ...]] = {
        "weight_decay": (1e-4, 3e-4, 1e-3, 3e-3, 1e-2),
        "init_scale": (1.25, 1.5, 2.0, 2.5, 3.0),
        "n": (60, 80, 100, 140, 200),
        "width": (50, 100, 200, 400),
    }
    base = two_layer.TwoLayer()

    def times(swept: str, students: Sequence[two_layer.TwoLayer]) -> pd.DataFrame:
        # Only those of small weight decay need all steps; the last of the others generalizes at 4,700 of 6,000.
        slow = [student.weight_decay < base.weight_decay for student in students]
        found: dict[int, Any] = {}
        for steps, members in (
            (sizes.student_steps, [place for place, late in enumerate(slow) if late]),
            (sizes.student_steps * 3 // 10, [place for place, late in enumerate(slow) if not late]),
        ):
            if members:
                own = two_layer.grokking_times(two_layer.trajectories([students[place] for place in members], steps))
                found |= dict(zip(members, own.itertuples(index=False), strict=True))
        return pd.DataFrame([found[place] for place in range(len(students))])

    def student(swept: str, value: float, seed: int) -> two_layer.TwoLayer:
        moved: dict[str, Any] = {swept: value}
        return replace(base, **moved, seed=seed)

    return _swept(values, sizes.seeds, times, student)


@lru_cache(maxsize=8)  # most settings leave the problems of all seeds unchanged
def _problem(n: int, d: int, m: int, seed: int) -> ridge.RidgeProblem:
    return ridge.random_features_problem(n, d, m, seed=seed)


@lru_cache(maxsize=2)
def ridge_delays(sizes: Sizes) -> pd.DataFrame:
    """Return exact grokking times of ridge regression on random features, swept as in `network_delays`."""
    n, d, m = sizes.ridge_sweep
    values: dict[str, tuple[float, ...]] = {
        "weight_decay": (1e-6, 3e-6, 1e-5, 3e-5, 1e-4),
        "init_scale": (4.0, 6.0, 10.0, 16.0, 25.0),
        "n": tuple(round(n * share) for share in (0.6, 0.8, 1.0, 1.4, 2.0)),
        "width": tuple(round(m * share) for share in (0.5, 1.0, 2.0)),
    }

    def times(swept: str, settings: Sequence[tuple[str, float, int]]) -> pd.DataFrame:
        rows: dict[int, dict[str, Any]] = {}

        def one(place: int) -> Iterator[int]:
            _, value, seed = settings[place]
            samples, features = int(value if swept == "n" else n), int(value if swept == "width" else m)
            problem = _problem(samples, d, features, seed)
            moved = {swept: value} if swept in ("weight_decay", "init_scale") else {}
            # Times are exact: an event that never comes is not censored.
            rows[place] = {**ridge.grokking_times(problem, seed=seed, **moved).to_dict(), "last_step": None}
            yield 1

        with progress_bar(f"ridge, {swept}", "problems", len(settings)) as bar:
            side_by_side([one(place) for place in range(len(settings))], wanted(None), bar.at if bar else None)
        return pd.DataFrame([rows[place] for place in range(len(settings))])

    return _swept(values, sizes.seeds, times, lambda swept, value, seed: (swept, value, seed))


def _swept(
    values: dict[str, tuple[float, ...]],
    seeds: int,
    times: Callable[[str, list[Any]], pd.DataFrame],
    setting: Callable[[str, float, int], object],
) -> pd.DataFrame:
    frames = []
    for swept, own in values.items():
        runs = [(value, seed) for value in own for seed in range(seeds)]
        found = times(swept, [setting(swept, value, seed) for value, seed in runs])
        events = found[["overfitting", "generalization", "last_step"]].astype("Float64")
        frame = with_delays(events).assign(swept=swept)
        frames.append(frame.assign(value=[value for value, _ in runs], seed=[seed for _, seed in runs]))
    return pd.concat(frames, ignore_index=True)
