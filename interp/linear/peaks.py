"""descents(): the peak of a test error over sizes, and the minima before and after it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float

from interp.utils.arguments import Numbers, at_least_zero, finite, number, real
from interp.utils.errors import ConfigError
from interp.utils.printed import Printed
from interp.utils.torch_state import computing


@dataclass(frozen=True, repr=False)
class Descents(Printed):
    """The places where a test error falls, rises, and falls again, in units of its complexity axis.

    Attributes:
        interpolation_threshold: The train error counts as zero from here on.
        first_minimum: The place of the least test error before the peak.
        first_minimum_error: The test error there.
        peak: The place of the most prominent peak of the test error.
        peak_error: The test error there.
        second_descent: The place of the least test error after the peak.
        second_descent_error: The test error there.
        peak_to_minimum: peak_error ÷ first_minimum_error.
        missing: For each attribute that is None, since the curve does not have it, the reason.
    """

    interpolation_threshold: float | None
    first_minimum: float | None
    first_minimum_error: float | None
    peak: float | None
    peak_error: float | None
    second_descent: float | None
    second_descent_error: float | None
    peak_to_minimum: float | None
    missing: dict[str, str] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return plain numbers and strings, ready for JSON."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}

    def _lines(self) -> list[tuple[str, str]]:
        return [
            (name, f"{value:,.6g}" if value is not None else f"– {self.missing[name]}")
            for name, value in self.to_dict().items()
            if name != "missing"
        ]


@computing()
def descents(
    complexity: Numbers,
    train_error: Numbers | None,
    test_error: Numbers,
    rise: float = 0.1,
    fitted: float | None = None,
) -> Descents:
    """Find the descents of a curve over width, samples, ridge, or the steps of a training.

    Args:
        complexity: The axis of the curve, in any order.
        train_error: Train errors; without them (None) there is no threshold.
        test_error: Test errors. Infinite ones, as a theory has at its threshold, are peaks.
        rise: The share by which a peak must stand above the higher of its feet: 0.1 is a tenth.
        fitted: The train error that counts as zero; by default a thousandth of the largest.

    Raises:
        ConfigError: There are fewer than three points, lengths differ, an error is nan, a complexity is named twice, or
            all test errors are infinite.
    """
    x = finite("complexity", complexity, 1)
    test = _curve("test_error", test_error, len(x))
    if len(x) < 3 or len(np.unique(x)) < len(x):
        raise ConfigError(
            f"complexity must name three or more values, each once; got {len(x)}, of which {len(np.unique(x))} are "
            "different."
        )
    rise = number("rise", rise, above=0)
    order = np.argsort(x)
    x, test = x[order], test[order]
    missing: dict[str, str] = {}

    threshold = None
    if train_error is None:
        missing["interpolation_threshold"] = "no train errors were given"
    else:
        train = finite("train_error", _curve("train_error", train_error, len(x)), 1)[order]
        limit = train.max() / 1_000 if fitted is None else at_least_zero("fitted", fitted)
        over = np.flatnonzero(train > limit)
        if len(over) and over[-1] == len(x) - 1:
            missing["interpolation_threshold"] = f"the train error ends at {train[-1]:.3g}, over {limit:.3g}"
        else:
            threshold = float(x[over[-1] + 1]) if len(over) else float(x[0])

    top = _peak(test, rise)
    values: dict[str, float | None] = dict.fromkeys(
        ("first_minimum", "first_minimum_error", "peak", "peak_error", "second_descent", "second_descent_error",
         "peak_to_minimum")
    )  # fmt: skip
    if top is None:
        falls = f"has no peak that stands out by {rise:.0%}"
        if (test[1:] <= test[:-1]).all():
            falls = "falls all along" if test[0] > test[-1] else "is the same all along"
        least = int(test.argmin())
        values |= {"first_minimum": float(x[least]), "first_minimum_error": float(test[least])}
        missing |= {name: f"the test error {falls}" for name, value in values.items() if value is None}
    else:
        before, after = int(test[:top].argmin()), top + 1 + int(test[top + 1 :].argmin())
        values = {
            "first_minimum": float(x[before]), "first_minimum_error": float(test[before]),
            "peak": float(x[top]), "peak_error": float(test[top]),
            "second_descent": float(x[after]), "second_descent_error": float(test[after]),
            "peak_to_minimum": float(test[top] / test[before]) if test[before] else None,
        }  # fmt: skip
        if values["peak_to_minimum"] is None:
            missing["peak_to_minimum"] = "the first minimum is zero"
    return Descents(interpolation_threshold=threshold, **values, missing=missing)


def _peak(test: Float[np.ndarray, " k"], rise: float) -> int | None:
    """Return the index of the most prominent peak that is 1 + rise times the higher of its feet, or None."""
    from scipy.signal import find_peaks, peak_prominences

    bounded = test[np.isfinite(test)]
    heights = np.minimum(test, 10 * (1 + rise) * bounded.max() if len(bounded) and bounded.max() else 1.0)
    peaks, _ = find_peaks(heights)
    prominences = peak_prominences(heights, peaks)[0]
    feet = heights[peaks] - prominences
    tall = heights[peaks] >= (1 + rise) * feet
    return int(peaks[tall][prominences[tall].argmax()]) if tall.any() else None


def _curve(name: str, values: Any, length: int) -> Float[np.ndarray, " k"]:
    curve = real(name, values)
    if curve.shape != (length,):
        raise ConfigError(
            f"{name} must have an entry for each of the {length} complexities; got the shape {curve.shape}."
        )
    if bad := int((~(curve >= 0)).sum()):
        raise ConfigError(
            f"{name} must be at least 0 everywhere; got {bad} values that are nan or negative. Drop them."
        )
    if np.isinf(curve).all():
        raise ConfigError(f"{name} must be finite somewhere; got {length} infinite values.")
    finite(name, curve[np.isfinite(curve)], 1)
    return curve
