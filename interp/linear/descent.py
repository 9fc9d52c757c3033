"""Descent: one descent of ridge regression, in the coordinates in which every step has a closed form."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from interp.linear.problems import RidgeProblem
from interp.linear.steps import LAST_STEP
from interp.utils.arguments import at_least_zero, given, number, random_seed
from interp.utils.errors import ConfigError

START = 1  # θ₀ is drawn with the pair of the seed and this number
NO_TEACHER = "the problem has no teacher, so no test loss"


class Descent:
    """One descent on one problem, in the basis of the right singular vectors of its features."""

    def __init__(
        self, problem: RidgeProblem, learning_rate: float | None, weight_decay: float, init_scale: float, seed: int
    ) -> None:
        if not isinstance(problem, RidgeProblem):
            raise ConfigError(f"problem must be a RidgeProblem, as gaussian_problem returns; got {given(problem)}.")
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
        # A separate stream, so that θ₀ is independent of data drawn with the same seed.
        rng = np.random.default_rng([seed, START])
        self._unit_start = rng.standard_normal(problem.m)
        self.theta_0 = init_scale * self._unit_start

        s = svd.eigenvalues
        self.shrunk = decay / (s + decay)  # the share of each coordinate that weight decay prevents from being learned
        self.rates = eta * (s + decay)
        self.null_rate = eta * decay
        self.start = svd.directions.T @ self.theta_0
        self.end = (1 - self.shrunk) * svd.seen_targets / svd.sigma
        self.start_null = self.theta_0 - svd.directions @ self.start
        if len(s) == problem.m:
            self.start_null[:] = 0.0

    @cached_property
    def alternating(self) -> bool:
        """Whether a coordinate overshoots at every step, so that even and odd steps follow separate curves."""
        return bool((self.rates > 1).any())

    @cached_property
    def horizon(self) -> int:
        """A step from which float64 shows no more change, at most LAST_STEP."""
        rates = np.append(self.rates, self.null_rate) if len(self.rates) < self.problem.m else self.rates
        slowest = float(-_log_factor(rates[rates > 0]).max(initial=-np.inf)) if (rates > 0).any() else math.inf
        return max(1, math.ceil(min(float(LAST_STEP), 100.0 / slowest))) if slowest > 0 else LAST_STEP

    def _between(
        self, start: Float[np.ndarray, " r"], end: Float[np.ndarray, " r"], steps: Int[np.ndarray, " t"]
    ) -> Float[np.ndarray, "t r"]:
        """Return coordinates on their way from start to end."""
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
        """Return Σ times the two null-space parts, kept in the problem for the next descent from this seed."""
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
        """The error in the row space at start and end; VᵀΣ times the null parts P⊥θ₀ and −P⊥θ*; their products."""
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
        """The outputs on the held-out samples of each direction of the row space, and of P⊥θ₀."""
        assert self.problem.held_out is not None
        images = self.problem.held_out.images
        return images @ self.problem.svd.directions, images @ self.start_null

    def frame(self, steps: Int[np.ndarray, " t"]) -> pd.DataFrame:
        left = _powers(np.array([self.null_rate]), steps)[0][:, 0]
        null_norm = np.abs(left) * float(np.linalg.norm(self.start_null))
        row_norm = self._in_chunks(
            lambda some: np.linalg.norm(self._between(self.start, self.end, some), axis=1), steps
        )
        if self.problem.teacher is None:
            losses = np.full((len(steps), 5), np.nan)
        else:
            losses = self._in_chunks(self.test_losses, steps)
        frame = pd.DataFrame({"step": steps, **_columns(self.train_loss(steps), losses, row_norm, null_norm)})
        frame.attrs.update(self.settings)
        return frame

    def _in_chunks(self, function: Callable[[Any], Any], steps: Int[np.ndarray, " t"]) -> Float[np.ndarray, "t ..."]:
        """Call `function` on at most 32 MB of steps times coordinates at once."""
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
            return NO_TEACHER
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
    """Return log |1 − rate|, exact for small rates too."""
    with np.errstate(divide="ignore"):
        return np.where(rates < 1, np.log1p(-np.minimum(rates, 1)), np.log1p(np.maximum(rates, 1) - 2))


def _powers(
    rates: Float[np.ndarray, " r"], steps: Int[np.ndarray, " t"]
) -> tuple[Float[np.ndarray, "t r"], Float[np.ndarray, "t r"]]:
    """Return (1 − rate)^step, and 1 − (1 − rate)^step, which is exact if it is small."""
    with np.errstate(invalid="ignore"):
        exponents = np.where(steps[:, None] == 0, 0.0, steps[:, None] * _log_factor(rates))
    negative = (rates > 1) & (steps[:, None] % 2 == 1)
    left = np.where(negative, -1.0, 1.0) * np.exp(exponents)
    return left, np.where(negative, 1.0 - left, -np.expm1(exponents))


def _of_images(
    problem: RidgeProblem, of_rows: Float[np.ndarray, "t k"], of_null: Float[np.ndarray, "t k"]
) -> Float[np.ndarray, "t 5"]:
    """Return the test loss, from residuals without θ*, and its four parts; from held-out outputs of θ's two parts."""
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
        "train_loss": train_loss, **dict(zip(names, test_losses.T, strict=True)),
        "weight_norm": np.hypot(row_norm, null_norm), "row_space_norm": row_norm, "null_space_norm": null_norm,
    }  # fmt: skip


def measured(problem: RidgeProblem, theta: Float[np.ndarray, " m"]) -> dict[str, float]:
    """Return the columns of one θ by their definitions."""
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
