"""Grokking in ridge regression: gradient descent whose every step is known exactly (Xu, Vardi and Safran, 2026).

The objective is ½n⁻¹‖Φθ − y‖² + ½λ‖θ‖², from θ₀ ~ N(0, ν²I). In the basis of the right singular vectors of Φ each
coordinate moves by itself, θ_t = θ_∞ + (I − η(S + λ))^t (θ₀ − θ_∞) with S = ΦᵀΦ/n, so step 10¹² costs as little as
step 1. Where m > n, gradients do not change the part of θ₀ in the null space of Φ: only weight decay shrinks it, as
(1 − ηλ)^t, long after the train loss is gone. That is the grokking delay.

problem = interp.linear.ridge.random_features_problem(n=500, d=50, m=5_000)
df      = interp.linear.ridge.trajectory(problem, steps=10**9)
times   = interp.linear.ridge.grokking_times(problem)
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from interp.linear.problems import RidgeProblem, data_problem, gaussian_problem, random_features_problem
from interp.linear.steps import LAST_STEP, as_steps, log_steps
from interp.utils.arguments import at_least_zero, given, number, random_seed
from interp.utils.console import progress_bar
from interp.utils.errors import ConfigError
from interp.utils.printed import Printed
from interp.utils.torch_state import computing

__all__ = [
    "GrokkingTimes",
    "RidgeProblem",
    "data_problem",
    "gaussian_problem",
    "grokking_times",
    "log_steps",
    "random_features_problem",
    "simulate",
    "trajectory",
]

START = 1  # beside the seed, what θ₀ is drawn with
TOLERANCE = 0.1  # of the teacher's variance, unless another tolerance is given
_NO_TEACHER = "the problem has no teacher, so no test loss"


@computing()
def trajectory(
    problem: RidgeProblem,
    steps: int | Sequence[int] | Int[np.ndarray, " steps"],
    learning_rate: float | None = None,
    weight_decay: float = 1e-6,
    init_scale: float = 10.0,
    seed: int = 0,
) -> pd.DataFrame:
    """Gradient descent on `problem`, exact at any step, 10¹² included; a row a step.

    steps           the steps, or the last one: then 0 and about 200 of them at equal ratios
    learning_rate   η; None: 1 ÷ (largest eigenvalue of S + λ), half the largest stable one
    weight_decay    λ
    init_scale      ν, the standard deviation of θ₀, drawn with `seed`

    Columns: step; train_loss, ½n⁻¹‖Φθ − y‖²; test_loss, ½(θ − θ*)ᵀΣ(θ − θ*), and the four parts that add up to it:
    test_loss_learned, of the error within the row space of Φ, which the samples teach; test_loss_initialization, of
    what θ₀ left in the null space, which only weight decay removes; test_loss_never_learned, of what of θ* lies in
    the null space (and `test_floor`); test_loss_cross, the products between the three, of either sign. And
    weight_norm, ‖θ‖, with row_space_norm and null_space_norm, whose squares add up to its square.
    `attrs` holds the settings. Without a teacher the test columns are nan.
    Float64 has 16 digits. If features are nearly dependent, the losses of step t lose up to half as many digits as the
    number η·t·s_max has, with the largest eigenvalue s_max of S, or half as many as s_max/λ has if that is smaller: up
    to 6 at 10¹² steps without weight decay. A large θ* costs test_loss no digits where `data_problem` made the problem.
    Raises ConfigError for an unstable learning rate, with the largest stable one, and for settings that are not numbers
    of at least 0.
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
                rows.append({"step": step, **_measured(problem, theta)})
            if bar and (step % 100 == 0 or step == wanted[-1]):
                bar.at(step)
            theta -= path.learning_rate * (Phi.T @ (Phi @ theta - y) / n + path.weight_decay * theta)
    frame = pd.DataFrame(rows)
    frame.attrs.update(path.settings)
    return frame


@dataclass(frozen=True, repr=False)
class GrokkingTimes(Printed):
    """When train and test loss fall under the tolerance for good, in steps, beside what the theory says.

    overfitting             the first step from which the train loss stays at the tolerance or under it
    generalization          the first step from which the test loss stays at the tolerance or under it
    delay                   generalization − overfitting
    relative_delay          delay ÷ overfitting
    overfitting_bound       n·ln(6b²‖θ₀‖²/ε) / (2η·λ⁺_min(ΦᵀΦ)), b the largest norm of a row of Φ: by then the train
                            loss is under ε, if ‖Φ⁺y‖ ≤ ‖θ₀‖, λ‖Φ⁺y‖² ≤ 4ε/3, the samples can be fitted, and
                            η ≤ 1/(s_max + λ)
    null_space_prediction   ln(½θ₀ᵀP⊥ΣP⊥θ₀/ε) / (−2 ln(1 − ηλ)): what the initialization left in the null space of Φ is
                            under ε from there on
    tolerance               ε

    An event that never happens, and a formula that does not apply, is None; `missing` says why. Both formulas are
    those of Xu, Vardi and Safran (2026).
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
        """Plain numbers and strings, ready for JSON."""
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
    """When `problem` is fitted and when it is learned, to the step, by the closed form; settings as in `trajectory`.

    `tolerance` is ε, by default a tenth of the teacher's variance. A loss is searched at every step up to 64 and then
    at ratios of 1.05, both at even and at odd steps where it can alternate; between two of these, the crossing is
    found to the step, and where a peak between two of these comes near the tolerance, its top is searched too.
    Raises ConfigError as `trajectory` does, and for a tolerance that is not above 0.
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
        _NO_TEACHER if problem.teacher is None else _settled(path.test_loss, epsilon, path, "test loss"),
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


class Descent:
    """One descent on one problem, in the coordinates in which every step multiplies by a power."""

    def __init__(
        self, problem: RidgeProblem, learning_rate: float | None, weight_decay: float, init_scale: float, seed: int
    ) -> None:
        if not isinstance(problem, RidgeProblem):
            raise ConfigError(
                f"problem must be a RidgeProblem, such as gaussian_problem returns; got {given(problem)}."
            )
        self.problem, svd = problem, problem.svd
        seed = random_seed(seed)
        self.weight_decay = decay = at_least_zero("weight_decay", weight_decay)
        init_scale = at_least_zero("init_scale", init_scale)
        top = float(svd.eigenvalues.max(initial=0.0)) + decay
        largest = 2.0 / top if top else math.inf
        if learning_rate is None:
            learning_rate = largest / 2 if top else 1.0
        self.learning_rate = eta = number("learning_rate", learning_rate)
        if not 0 < eta < largest:
            raise ConfigError(
                f"learning_rate must be above 0 and under {largest:.10g} for gradient descent to converge on this "
                f"problem, with a weight decay of {decay:g}; got {eta:.10g}."
            )
        self.settings = {"learning_rate": eta, "weight_decay": decay, "init_scale": init_scale, "seed": seed}
        # A stream of its own: data drawn with the same seed must not know where the descent starts.
        rng = np.random.default_rng([seed, START])
        self._unit_start = rng.standard_normal(problem.m)
        self.theta_0 = init_scale * self._unit_start

        s = svd.eigenvalues
        self.shrunk = decay / (s + decay)  # how much of each coordinate weight decay keeps from being learned
        self.rates = eta * (s + decay)
        self.null_rate = eta * decay
        self.start = svd.directions.T @ self.theta_0
        self.end = (1 - self.shrunk) * svd.seen_targets / svd.sigma
        self.start_null = self.theta_0 - svd.directions @ self.start
        if len(s) == problem.m:
            self.start_null[:] = 0.0

    @cached_property
    def alternating(self) -> bool:
        """Whether some coordinate overshoots at every step, so that even and odd steps follow curves of their own."""
        return bool((self.rates > 1).any())

    @cached_property
    def horizon(self) -> int:
        """A step from which nothing changes any more that float64 could show, or LAST_STEP."""
        rates = np.append(self.rates, self.null_rate) if len(self.rates) < self.problem.m else self.rates
        slowest = float(-_log_factor(rates[rates > 0]).max(initial=-np.inf)) if (rates > 0).any() else math.inf
        return max(1, math.ceil(min(float(LAST_STEP), 100.0 / slowest))) if slowest > 0 else LAST_STEP

    def _between(
        self, start: Float[np.ndarray, " r"], end: Float[np.ndarray, " r"], steps: Int[np.ndarray, " t"]
    ) -> Float[np.ndarray, "t r"]:
        """Coordinates on their way from start to end; early on an end may be huge, and far from being reached."""
        left, gone = _powers(self.rates, steps)
        return left * start + gone * end

    def train_loss(self, steps: Int[np.ndarray, " t"]) -> Float[np.ndarray, " t"]:
        svd, n = self.problem.svd, self.problem.n

        def some(chunk: Int[np.ndarray, " c"]) -> Float[np.ndarray, " c"]:
            residual = self._between(svd.sigma * self.start - svd.seen_targets, -self.shrunk * svd.seen_targets, chunk)
            return (residual**2).sum(1) / (2 * n) + svd.unfitted

        return self._in_chunks(some, steps)

    def test_loss(self, steps: Int[np.ndarray, " t"]) -> Float[np.ndarray, " t"]:
        return self._in_chunks(lambda chunk: self.test_losses(chunk)[:, 0], steps)

    def _under_covariance(self, unseen: Float[np.ndarray, " m"]) -> Float[np.ndarray, "m 2"]:
        """Σ times the two null parts. What it takes is kept for the next descent from this seed: Σ is large to read."""
        problem, seed = self.problem, int(self.settings["seed"])
        last = problem.null_products.get(seed)
        if last is None:
            unit = self._unit_start - problem.svd.directions @ (problem.svd.directions.T @ self._unit_start)
            if len(problem.svd.eigenvalues) == problem.m:
                unit[:] = 0.0
            last = problem.covariance_times(np.stack([unit, unseen]).T)
            problem.null_products.clear()
            problem.null_products[seed] = last
        return last * [self.settings["init_scale"], 1.0]

    @cached_property
    def test_terms(self) -> tuple[Float[np.ndarray, "2 r"], Float[np.ndarray, "2 r"], Float[np.ndarray, "2 2"]]:
        """The error in the row space at the start and at the end; VᵀΣ of the two null parts; their products under Σ.

        The null parts are what θ₀ left there and −P⊥θ*.
        """
        problem, svd = self.problem, self.problem.svd
        assert problem.teacher is not None
        taught = svd.directions.T @ problem.teacher
        unseen = svd.directions @ taught - problem.teacher
        if len(svd.eigenvalues) == problem.m:
            unseen[:] = 0.0
        final_error = -self.shrunk * taught + (1 - self.shrunk) * svd.seen_noise / svd.sigma
        null_parts = np.stack([self.start_null, unseen])
        under_covariance = self._under_covariance(unseen)
        return (
            np.stack([self.start - taught, final_error]),
            (svd.directions.T @ under_covariance).T,
            null_parts @ under_covariance,
        )

    def test_losses(self, steps: Int[np.ndarray, " t"]) -> Float[np.ndarray, "t 5"]:
        """Return the test loss and its four parts, in this order: learned, initialization, never_learned, cross."""
        left = _powers(np.array([self.null_rate]), steps)[0]
        if self.problem.held_out is not None:
            theta = self._between(self.start, self.end, steps)
            to_rows, to_start = self.held_out_images
            return _of_images(self.problem, theta @ to_rows.T, left * to_start)
        (first_error, final_error), (to_start, to_unseen), products = self.test_terms
        error, left = self._between(first_error, final_error, steps), left[:, 0]
        learned = ((error @ self.problem.row_covariance) * error).sum(1) / 2
        cross = left * (error @ to_start) + error @ to_unseen + left * products[0, 1]
        never = np.full(len(steps), products[1, 1] / 2 + self.problem.test_floor)
        parts = np.stack([learned, left**2 * products[0, 0] / 2, never, cross], axis=1)
        return np.concatenate([parts.sum(1, keepdims=True), parts], axis=1)

    @cached_property
    def held_out_images(self) -> tuple[Float[np.ndarray, "k r"], Float[np.ndarray, " k"]]:
        """Return the outputs on the held-out samples of each direction of the row space, and of what θ₀ left beside."""
        assert self.problem.held_out is not None
        images = self.problem.held_out.images
        return images @ self.problem.svd.directions, images @ self.start_null

    def frame(self, steps: Int[np.ndarray, " t"]) -> pd.DataFrame:
        left = _powers(np.array([self.null_rate]), steps)[0][:, 0]
        null_norm = np.abs(left) * float(np.linalg.norm(self.start_null))
        row_norm = self._in_chunks(
            lambda chunk: np.linalg.norm(self._between(self.start, self.end, chunk), axis=1), steps
        )
        if self.problem.teacher is None:
            losses = np.full((len(steps), 5), np.nan)
        else:
            losses = self._in_chunks(self.test_losses, steps)
        frame = pd.DataFrame({"step": steps, **_columns(self.train_loss(steps), losses, row_norm, null_norm)})
        frame.attrs.update(self.settings)
        return frame

    def _in_chunks(self, function: Callable[[Any], Any], steps: Int[np.ndarray, " t"]) -> Float[np.ndarray, "t ..."]:
        """Many steps times many coordinates, never more than 32 MB of them at once."""
        images = 0 if self.problem.held_out is None else len(self.problem.held_out.taught)
        size = max(1, 4_000_000 // max(1, len(self.rates), images))
        return np.concatenate([function(steps[i : i + size]) for i in range(0, len(steps), size)])

    def overfitting_bound(self, epsilon: float) -> float | str:
        """Return the bound, or the reason why it does not hold."""
        svd = self.problem.svd
        if not len(svd.eigenvalues):
            return "all features are zero"
        theta_0, fit = float(self.theta_0 @ self.theta_0), float(((svd.seen_targets / svd.sigma) ** 2).sum())
        if svd.unfitted > 1e-20 * float(self.problem.targets @ self.problem.targets):
            return "no θ fits these samples exactly"
        if fit > theta_0 or not theta_0:
            return f"‖θ₀‖² is {theta_0:.3g}, under the {fit:.3g} of the fit of least norm"
        if self.weight_decay * fit > 4 * epsilon / 3:
            return f"with this weight decay λ‖Φ⁺y‖² is {self.weight_decay * fit:.3g}, over 4/3 of the tolerance"
        if self.rates.max() > 1 + 1e-12:
            return f"the learning rate is over {1 / (svd.eigenvalues.max() + self.weight_decay):.6g}, 1 ÷ (s_max + λ)"
        b_squared = float((self.problem.features**2).sum(1).max())
        slowest = 2 * self.learning_rate * float(svd.eigenvalues.min())
        return max(0.0, (math.log(6 * b_squared) + math.log(theta_0 / epsilon)) / slowest)

    def null_space_prediction(self, epsilon: float) -> float | str:
        """Return the prediction, or the reason why there is none."""
        if self.problem.teacher is None:
            return _NO_TEACHER
        try:
            self.problem.null_space_part(self.theta_0)
        except ConfigError as error:
            return str(error)
        left = float(self.test_terms[2][0, 0]) / 2
        if left <= epsilon:
            return 0.0
        if not self.weight_decay:
            return f"without weight decay the null space keeps its test loss of {left:.3g}"
        return math.log(left / epsilon) / (-2 * float(_log_factor(np.array([self.null_rate]))[0])) or 1.0


def _log_factor(rates: Float[np.ndarray, " r"]) -> Float[np.ndarray, " r"]:
    """log |1 − rate|, exact for small rates too, where 1 − rate is 1."""
    with np.errstate(divide="ignore"):
        return np.where(rates < 1, np.log1p(-np.minimum(rates, 1)), np.log1p(np.maximum(rates, 1) - 2))


def _powers(
    rates: Float[np.ndarray, " r"], steps: Int[np.ndarray, " t"]
) -> tuple[Float[np.ndarray, "t r"], Float[np.ndarray, "t r"]]:
    """(1 − rate)^step, and 1 less that, which is exact where it is small."""
    with np.errstate(invalid="ignore"):
        exponents = np.where(steps[:, None] == 0, 0.0, steps[:, None] * _log_factor(rates))
    negative = (rates > 1) & (steps[:, None] % 2 == 1)
    left = np.where(negative, -1.0, 1.0) * np.exp(exponents)
    return left, np.where(negative, 1.0 - left, -np.expm1(exponents))


def _settled(loss: Callable[[Any], Any], epsilon: float, path: Descent, name: str) -> int | str:
    """Return the first step from which `loss` stays at `epsilon` or under it, or a sentence why there is none."""
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
    """The last whole number at which `at` is over epsilon, from its values at k; far below 0 where there is none."""
    above = np.flatnonzero(values > epsilon)
    after = int(above[-1]) if len(above) else -1
    low, high = (int(k[after]), int(k[after + 1])) if after >= 0 else (-(2**60), -(2**60))
    for i in range(len(k) - 2, max(after, 0), -1):
        near = 0.9 * epsilon < values[i] >= max(values[i - 1], values[i + 1])
        if near and (over := _climb(at, int(k[i - 1]), int(k[i + 1]), epsilon)) is not None:
            low, high = over, int(k[i + 1])
            break
    while high - low > 1:  # 64 points between the two at a time, and again between the last above and the next
        inner = np.unique(np.linspace(low, high, 66).astype(np.int64))
        over = int(np.flatnonzero(at(inner[:-1]) > epsilon)[-1])
        low, high = int(inner[over]), int(inner[over + 1])
    return low


def _climb(at: Callable[[Any], Any], low: int, high: int, epsilon: float) -> int | None:
    """Some number at which `at` is over epsilon, near the top of the peak between low and high, if it gets there."""
    while True:
        inner = np.unique(np.linspace(low, high, 66).astype(np.int64))
        values = at(inner)
        if (values > epsilon).any():
            return int(inner[np.flatnonzero(values > epsilon)[-1]])
        if high - low < 66:
            return None
        top = int(values.argmax())
        low, high = int(inner[max(top - 1, 0)]), int(inner[min(top + 1, len(inner) - 1)])


def _of_images(
    problem: RidgeProblem, of_rows: Float[np.ndarray, "t k"], of_null: Float[np.ndarray, "t k"]
) -> Float[np.ndarray, "t 5"]:
    """Return the test loss and its four parts from the outputs of θ's two parts on the held-out samples.

    The loss comes from the residuals, which know nothing of θ*, and the parts from what they leave for each part of θ*.
    """
    assert problem.held_out is not None
    taught, unfitted = problem.held_out.taught, problem.held_out.unfitted
    never = problem.never_learned_images
    learned = of_rows - (taught - never)
    total, of_learned, of_start = ((each**2).sum(1) / 2 for each in (of_rows + of_null - taught, learned, of_null))
    of_never = np.full(len(total), never @ never / 2 + unfitted)
    cross = (learned * of_null).sum(1) - (learned + of_null) @ never
    return np.stack([total + unfitted, of_learned, of_start, of_never, cross], axis=1)


def _columns(
    train_loss: Float[np.ndarray, " t"],
    test_losses: Float[np.ndarray, "t 5"],
    row_norm: Float[np.ndarray, " t"],
    null_norm: Float[np.ndarray, " t"],
) -> dict[str, Float[np.ndarray, " t"]]:
    names = ("test_loss", *(f"test_loss_{part}" for part in ("learned", "initialization", "never_learned", "cross")))
    return {
        "train_loss": train_loss,
        **{name: test_losses[:, i] for i, name in enumerate(names)},
        "weight_norm": np.hypot(row_norm, null_norm),
        "row_space_norm": row_norm,
        "null_space_norm": null_norm,
    }


def _measured(problem: RidgeProblem, theta: Float[np.ndarray, " m"]) -> dict[str, float]:
    """The columns of one θ, straight from their definitions."""
    V = problem.svd.directions
    in_rows = V @ (V.T @ theta)
    in_null = theta - in_rows if V.shape[1] < problem.m else np.zeros(problem.m)
    residual = problem.features @ theta - problem.targets
    losses = np.full((1, 5), np.nan)
    if problem.held_out is not None:
        images = problem.held_out.images
        losses = _of_images(problem, (images @ in_rows)[None], (images @ in_null)[None])
    elif problem.teacher is not None:
        teacher_rows = V @ (V.T @ problem.teacher)
        teacher_null = problem.teacher - teacher_rows if V.shape[1] < problem.m else np.zeros(problem.m)
        errors = np.stack([in_rows - teacher_rows, in_null, -teacher_null])
        products = errors @ problem.covariance_times(errors.T)
        own = np.diag(products) / 2
        parts = np.array([*own, (products.sum() - np.trace(products)) / 2])
        parts[2] += problem.test_floor
        losses = np.r_[parts.sum(), parts][None]
    train_loss = float(residual @ residual) / (2 * problem.n)
    norms = float(np.linalg.norm(in_rows)), float(np.linalg.norm(in_null))
    arrays = _columns(np.array([train_loss]), losses, np.array([norms[0]]), np.array([norms[1]]))
    return {name: float(value[0]) for name, value in arrays.items()}
