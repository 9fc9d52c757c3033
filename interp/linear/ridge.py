"""Grokking in ridge regression: gradient descent whose every step is known exactly (Xu, Vardi and Safran, 2026).

The objective is ½n⁻¹‖Φθ − y‖² + ½λ‖θ‖², from θ₀ ~ N(0, ν²I). In the basis of the right singular vectors of Φ each
coordinate moves by itself, θ_t = θ_∞ + (I − η(S + λ))^t (θ₀ − θ_∞) with S = ΦᵀΦ/n, so step 10¹² costs as little as
step 1. If m > n, gradients do not change the part of θ₀ in the null space of Φ: only weight decay shrinks it, as
(1 − ηλ)^t, long after the train loss is gone. That is the grokking delay.

    problem = interp.linear.ridge.random_features_problem(n=500, d=50, m=5_000)
    df      = interp.linear.ridge.trajectory(problem, steps=10**9)
    times   = interp.linear.ridge.grokking_times(problem)
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from interp.linear.descent import NO_TEACHER, Descent, measured
from interp.linear.problems import RidgeProblem, data_problem, gaussian_problem, random_features_problem
from interp.linear.steps import LAST_STEP, as_steps, log_steps
from interp.utils.arguments import number
from interp.utils.console import progress_bar
from interp.utils.printed import Printed
from interp.utils.torch_state import computing

__all__ = [
    "GrokkingTimes", "RidgeProblem", "data_problem", "gaussian_problem", "grokking_times", "log_steps",
    "random_features_problem", "simulate", "trajectory",
]  # fmt: skip

TOLERANCE = 0.1  # of the teacher's variance, unless another tolerance is given


@computing()
def trajectory(
    problem: RidgeProblem,
    steps: int | Sequence[int] | Int[np.ndarray, " steps"],
    learning_rate: float | None = None,
    weight_decay: float = 1e-6,
    init_scale: float = 10.0,
    seed: int = 0,
) -> pd.DataFrame:
    """Return gradient descent on `problem`, exact at any step, 10¹² included; a row for each step.

    If features are nearly dependent, the losses of step t lose up to half as many of 16 digits as the number η·t·s_max
    has, with the largest eigenvalue s_max of S, or half as many as s_max/λ has if that is smaller: up to 6 at 10¹²
    steps without weight decay. A large θ* costs test_loss no digits in a `data_problem`.

    Args:
        problem: The problem.
        steps: The steps, or the last one: then 0 and about 200 up to it, at equal ratios.
        learning_rate: η; None: 1 ÷ (largest eigenvalue of S + λ), half the largest stable one.
        weight_decay: λ.
        init_scale: ν, the standard deviation of θ₀.
        seed: The seed of θ₀.

    Returns:
        Columns step; train_loss, ½n⁻¹‖Φθ − y‖²; test_loss, ½(θ − θ*)ᵀΣ(θ − θ*), and the four parts that add up to it,
        test_loss_learned, of the error in the row space of Φ, which samples reduce; test_loss_initialization, of the
        part of θ₀ left in the null space, which only weight decay reduces; test_loss_never_learned, of the part of θ*
        in the null space (and `test_floor`); and test_loss_cross, the products between the three, of either sign;
        weight_norm, ‖θ‖, with row_space_norm and null_space_norm, whose squares add up to its square. `attrs` holds the
        settings. Without a teacher the test columns are nan.

    Raises:
        ConfigError: The learning rate is not stable, or a setting is not a number of at least 0.
    """
    path = Descent(problem, learning_rate, weight_decay, init_scale, seed)
    return path.frame(as_steps(steps))


@computing()
def simulate(
    problem: RidgeProblem,
    steps: int | Sequence[int] | Int[np.ndarray, " steps"],
    learning_rate: float | None = None,
    weight_decay: float = 1e-6,
    init_scale: float = 10.0,
    seed: int = 0,
    progress: bool = True,
) -> pd.DataFrame:
    """Compute the frame of `trajectory` by taking every step, as a check of the closed form."""
    path = Descent(problem, learning_rate, weight_decay, init_scale, seed)
    wanted = as_steps(steps)
    Phi, y, n = problem.features, problem.targets, problem.n
    theta = path.theta_0.copy()
    rows: list[dict[str, float]] = []
    with progress_bar("simulate", "steps", int(wanted[-1]), show=progress) as bar:
        for step in range(int(wanted[-1]) + 1):
            if step == wanted[len(rows)]:
                rows.append({"step": step, **measured(problem, theta)})
            if bar and (step % 100 == 0 or step == wanted[-1]):
                bar.at(step)
            theta -= path.learning_rate * (Phi.T @ (Phi @ theta - y) / n + path.weight_decay * theta)
    frame = pd.DataFrame(rows)
    frame.attrs.update(path.settings)
    return frame


@dataclass(frozen=True, repr=False)
class GrokkingTimes(Printed):
    """The steps from which train and test loss stay at most at the tolerance, with the predictions of the theory.

    Both formulas are those of Xu, Vardi and Safran (2026).

    Attributes:
        overfitting: The first step from which the train loss stays at most at the tolerance.
        generalization: The first step from which the test loss stays at most at the tolerance.
        delay: generalization − overfitting.
        relative_delay: delay ÷ overfitting.
        overfitting_bound: n·ln(6b²‖θ₀‖²/ε) / (2η·λ⁺_min(ΦᵀΦ)), b the largest norm of a row of Φ: the train loss is
            under ε by this step if ‖Φ⁺y‖ ≤ ‖θ₀‖, λ‖Φ⁺y‖² ≤ 4ε/3, the samples can be fitted, and η ≤ 1/(s_max + λ).
        null_space_prediction: ln(½θ₀ᵀP⊥ΣP⊥θ₀/ε) / (−2 ln(1 − ηλ)): the test loss of the part of θ₀ left in the null
            space of Φ is under ε from this step on.
        tolerance: ε.
        missing: For each attribute that is None, an event that never happens or a formula that does not apply, the
            reason.
    """

    overfitting: int | None
    generalization: int | None
    delay: int | None
    relative_delay: float | None
    overfitting_bound: float | None
    null_space_prediction: float | None
    tolerance: float
    missing: dict[str, str] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return plain numbers and strings, ready for JSON."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}

    def _lines(self) -> list[tuple[str, str]]:
        def said(name: str, value: Any) -> str:
            if value is None:
                return f"– {self.missing[name]}"
            if isinstance(value, int):
                return f"{value:,}"
            return f"{value:,.0f}" if 1e6 <= value < 1e15 else f"{value:,.6g}"

        return [(name, said(name, value)) for name, value in self.to_dict().items() if name != "missing"]


@computing()
def grokking_times(
    problem: RidgeProblem,
    learning_rate: float | None = None,
    weight_decay: float = 1e-6,
    init_scale: float = 10.0,
    seed: int = 0,
    tolerance: float | None = None,
) -> GrokkingTimes:
    """Return the exact steps at which `problem` is fitted and learned, by the closed form.

    A loss is computed at every step up to 64 and then at ratios of 1.05, for even and for odd steps if it can
    alternate. The crossing between two of these is found to the step. If a peak between two comes near the tolerance,
    its top is searched too.

    Args:
        tolerance: ε, above 0; by default a tenth of the teacher's variance. The other arguments, and the errors raised,
            are those of `trajectory`.
    """
    path = Descent(problem, learning_rate, weight_decay, init_scale, seed)
    if tolerance is None:
        variance = f"tolerance, by default {TOLERANCE} of the teacher's variance,"
        epsilon = number(variance, TOLERANCE * problem.teacher_variance, above=0)
    else:
        epsilon = number("tolerance", tolerance, above=0)
    missing: dict[str, str] = {}

    def known(name: str, found: Any) -> Any:
        if isinstance(found, str):
            missing[name] = found
            return None
        return found

    overfitting = known("overfitting", _settled(path.train_loss, epsilon, path, "train loss"))
    generalization = known(
        "generalization",
        NO_TEACHER if problem.teacher is None else _settled(path.test_loss, epsilon, path, "test loss"),
    )
    delay = relative = None
    if overfitting is None or generalization is None:
        missing["delay"] = missing.get("overfitting") or missing["generalization"]
        missing["relative_delay"] = missing["delay"]
    else:
        delay = generalization - overfitting
        relative = delay / overfitting if overfitting else None
        if relative is None:
            missing["relative_delay"] = "the train loss was under the tolerance from the start"
    bound = known("overfitting_bound", path.overfitting_bound(epsilon))
    prediction = known("null_space_prediction", path.null_space_prediction(epsilon))
    return GrokkingTimes(overfitting, generalization, delay, relative, bound, prediction, epsilon, missing)


def _settled(loss: Callable[[Any], Any], epsilon: float, path: Descent, name: str) -> int | str:
    """Return the first step from which `loss` stays at most at `epsilon`, or the reason why there is none."""
    end = path.horizon
    last = -1
    for parity in (0, 1) if path.alternating else (0,):
        stride = 2 if path.alternating else 1
        most = (end - parity) // stride

        def at(k: Int[np.ndarray, " k"], stride: int = stride, parity: int = parity) -> Any:
            return loss(k * stride + parity)

        k = np.unique(np.r_[0 : min(65, most + 1), np.geomspace(1, max(most, 1), 2 + int(math.log(end + 1) / 0.05))])
        k = np.unique(k.astype(np.int64)[k <= most])
        values = at(k)
        if not values[-1] <= epsilon:
            when = "settles at" if end < LAST_STEP else f"at step {end:.1e} is still"
            return f"the {name} {when} {values[-1]:.3g}, over the tolerance of {epsilon:.3g}"
        last = max(last, _last_above(at, k, values, epsilon) * stride + parity)
    return last + 1


def _last_above(
    at: Callable[[Any], Any], k: Int[np.ndarray, " k"], values: Float[np.ndarray, " k"], epsilon: float
) -> int:
    """Return the last whole number at which `at` is over epsilon, from its values at k; far below 0 if none is."""
    above = np.flatnonzero(values > epsilon)
    after = int(above[-1]) if len(above) else -1
    low, high = (int(k[after]), int(k[after + 1])) if after >= 0 else (-(2**60), -(2**60))
    for i in range(len(k) - 2, max(after, 0), -1):
        near = 0.9 * epsilon < values[i] >= max(values[i - 1], values[i + 1])
        if near and (over := _climb(at, int(k[i - 1]), int(k[i + 1]), epsilon)) is not None:
            low, high = over, int(k[i + 1])
            break
    while high - low > 1:  # tries 64 points between the two, then again between the last above and the next
        inner = np.unique(np.linspace(low, high, 66).astype(np.int64))
        over = int(np.flatnonzero(at(inner[:-1]) > epsilon)[-1])
        low, high = int(inner[over]), int(inner[over + 1])
    return low


def _climb(at: Callable[[Any], Any], low: int, high: int, epsilon: float) -> int | None:
    """Return a number at which `at` is over epsilon near the top of the peak between low and high, or None."""
    while True:
        inner = np.unique(np.linspace(low, high, 66).astype(np.int64))
        values = at(inner)
        if (values > epsilon).any():
            return int(inner[np.flatnonzero(values > epsilon)[-1]])
        if high - low < 66:
            return None
        top = int(values.argmax())
        low, high = int(inner[max(top - 1, 0)]), int(inner[min(top + 1, len(inner) - 1)])
