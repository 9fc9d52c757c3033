"""graduation(): when each pair graduates, that is, from which step on it is answered right to the end of training."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int

from interp.study.trajectory import Arrays
from interp.utils.errors import ConfigError
from interp.utils.printed import Printed

_QUARTILES = {"first_quarter": 0.25, "half": 0.5, "three_quarters": 0.75}


@dataclass(frozen=True, eq=False, repr=False)
class Graduation(Printed):
    """When pairs graduate: the first step from which a pair is answered right at every later checkpoint.

    Attributes:
        steps: That step of each pair, [p, p]; NaN for a pair that is wrong at the last checkpoint.
        first_quarter, half, three_quarters: The first step by which so many of the test pairs have graduated; None if
            they never do, and `missing` says how many do.
        missing: The reason for each of these that is None.
        test_pairs: True for test pairs, [p, p]; None if the split is unknown or has none.
    """

    steps: Float[np.ndarray, "p p"]
    first_quarter: int | None
    half: int | None
    three_quarters: int | None
    missing: dict[str, str] = field(default_factory=dict)
    test_pairs: Bool[np.ndarray, "p p"] | None = None

    def graduated(self, steps: Int[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
        """Return the share of the test pairs that has graduated by each of these steps; NaN without test pairs."""
        if self.test_pairs is None or not self.test_pairs.any():
            return np.full(len(steps), np.nan)
        return (self.steps[self.test_pairs] <= np.asarray(steps)[:, None]).mean(1)

    def _lines(self) -> list[tuple[str, str]]:
        there = int(np.isfinite(self.steps).sum())
        values = {name: getattr(self, name) for name in _QUARTILES}
        lines = [(name, f"– {self.missing[name]}" if one is None else f"{one:,}") for name, one in values.items()]
        return [("graduated", f"{there:,} of {self.steps.size:,} pairs"), *lines]


def graduation(frame: pd.DataFrame) -> Graduation:
    """Return when each pair graduates, from `trajectory(run, arrays=["answered"])`; ConfigError for any other frame."""
    arrays = frame.attrs.get("arrays") if isinstance(frame, pd.DataFrame) else None
    if not isinstance(arrays, Arrays) or "answered" not in arrays:
        raise ConfigError('graduation() takes the frame of interp.trajectory(run, arrays=["answered"]); got another.')
    stays_right = np.logical_and.accumulate(arrays["answered"][::-1].astype(bool))[::-1]
    first = (~stays_right).sum(0)  # the index of the first checkpoint from which it stays right
    steps = np.append(arrays.steps.astype(float), np.nan)[first]
    found: dict[str, int | None] = dict.fromkeys(_QUARTILES)
    missing: dict[str, str] = {}
    if arrays.train_mask is None or arrays.train_mask.all():
        why = "no train/test split is known" if arrays.train_mask is None else "every pair is a train pair"
        return Graduation(steps, None, None, None, dict.fromkeys(_QUARTILES, why))
    test = ~arrays.train_mask
    of_test = np.sort(steps[test])  # NaN, for pairs that never graduate, comes last
    for name, share in _QUARTILES.items():
        step = of_test[int(np.ceil(share * len(of_test))) - 1]
        if np.isnan(step):
            missing[name] = f"{int(np.isfinite(of_test).sum()):,} of {len(of_test):,} test pairs graduate"
        else:
            found[name] = int(step)
    return Graduation(steps, found["first_quarter"], found["half"], found["three_quarters"], missing, test)
