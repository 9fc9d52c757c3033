"""Grokking in ridge regression: gradient descent whose every step is known exactly (Xu, Vardi and Safran, 2026).

The objective is ½n⁻¹‖Φθ − y‖² + ½λ‖θ‖², from θ₀ ~ N(0, ν²I). In the basis of the right singular vectors of Φ each
coordinate moves by itself, θ_t = θ_∞ + (I − η(S + λ))^t (θ₀ − θ_∞) with S = ΦᵀΦ/n, so step 10¹² costs what step 1
costs. Where m > n, gradients say nothing about the null space of Φ: what ν put there goes only by weight decay, as
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
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from interp.arguments import at_least_zero, finite, number, whole
from interp.console import progress_bar
from interp.errors import ConfigError
from interp.printed import Printed

LAST_STEP = 2**53 - 1  # up to here float64 holds every whole number
TOLERANCE = 0.1  # of the teacher's variance, unless another tolerance is given

Spectrum = Literal["isotropic", "power_law", "spiked"]
Activation = Literal["relu", "tanh", "erf"]

_NO_TEACHER = "the problem has no teacher, so no test loss"
_HELD_OUT = 20_000  # inputs that stand for all, where Σ has no closed form


@dataclass(frozen=True, eq=False, repr=False)
class RidgeProblem(Printed):
    """Targets y to be fitted by Φθ, and the teacher θ* whose outputs on unseen inputs are to be met.

    features     Φ [n, m], a row a sample
    targets      y [n]
    teacher      θ* [m]; without one there is no test loss
    covariance   Σ [m, m], E[φφᵀ] over unseen inputs, or its diagonal [m]; the identity where only a teacher is given
    test_floor   what the test loss of θ* itself is, where unseen targets are no linear function of the features

    Raises ConfigError for arrays that are empty, not finite, or do not fit one another.
    """

    features: Float[np.ndarray, "n m"]
    targets: Float[np.ndarray, " n"]
    teacher: Float[np.ndarray, " m"] | None = None
    covariance: Float[np.ndarray, "m m"] | Float[np.ndarray, " m"] | None = None
    test_floor: float = 0.0

    def __post_init__(self) -> None:
        def fix(name: str, *dimensions: int) -> None:
            if getattr(self, name) is not None:
                object.__setattr__(self, name, finite(name, getattr(self, name), *dimensions))

        fix("features", 2)
        fix("targets", 1)
        fix("teacher", 1)
        n, m = self.features.shape
        if len(self.targets) != n:
            raise ConfigError(f"there are {n} rows of features and {len(self.targets)} targets; each row needs one.")
        if self.teacher is None:
            if self.covariance is not None:
                raise ConfigError("a covariance was given and no teacher; the test loss needs both.")
            return
        if self.covariance is None:
            object.__setattr__(self, "covariance", np.ones(m))
        fix("covariance", 1, 2)
        assert self.covariance is not None
        if len(self.teacher) != m or set(self.covariance.shape) != {m}:
            raise ConfigError(
                f"there are {m} features, a teacher of {len(self.teacher)} entries and a covariance of shape "
                f"{self.covariance.shape}; give a teacher of {m} and a covariance of ({m}, {m}), or its diagonal."
            )
        object.__setattr__(self, "test_floor", at_least_zero("test_floor", self.test_floor))

    @property
    def n(self) -> int:
        """Samples."""
        return len(self.features)

    @property
    def m(self) -> int:
        """Features, which are parameters."""
        return self.features.shape[1]

    @property
    def teacher_variance(self) -> float:
        """θ*ᵀΣθ*, the mean square of the teacher's outputs; without a teacher, that of the targets."""
        if self.teacher is None:
            return float((self.targets**2).mean())
        return float(self.teacher @ self._covariance_times(self.teacher))

    @property
    def largest_learning_rate(self) -> float:
        """2 ÷ the largest eigenvalue of ΦᵀΦ/n: without weight decay, gradient descent converges below it."""
        return 2.0 / float(self._svd.eigenvalues.max(initial=np.finfo(float).tiny))

    def null_space_part(self, theta: Float[np.ndarray, " m"]) -> Float[np.ndarray, " m"]:
        """P⊥θ, the part of θ that no sample of Φ can see.

        Raises ConfigError where there is none, the features being no more than the samples.
        """
        if len(self._svd.eigenvalues) == self.m:
            raise ConfigError(
                f"{self.n} samples determine all {self.m} parameters: the features have no null space; take m > n."
            )
        return theta - self._svd.directions @ (self._svd.directions.T @ theta)

    def _covariance_times(self, x: Float[np.ndarray, "m *k"]) -> Float[np.ndarray, "m *k"]:
        assert self.covariance is not None
        return self.covariance @ x if self.covariance.ndim == 2 else (self.covariance * x.T).T

    @cached_property
    def _svd(self) -> _SVD:
        U, sigma, Vt = np.linalg.svd(self.features, full_matrices=False)
        rank = int((sigma > sigma.max() * max(self.features.shape) * np.finfo(float).eps).sum())
        U, sigma, V = U[:, :rank], sigma[:rank], Vt[:rank].T
        seen = U.T @ self.targets
        # What no θ fits: of the noise alone where there is a teacher, so that it is exactly zero without noise.
        noise = self.targets if self.teacher is None else self.targets - self.features @ self.teacher
        seen_noise = U.T @ noise
        unfitted = 0.0 if rank == self.n else float(((noise - U @ seen_noise) ** 2).sum()) / (2 * self.n)
        return _SVD(sigma**2 / self.n, sigma, V, seen, seen_noise, unfitted)

    @cached_property
    def _row_covariance(self) -> Float[np.ndarray, "r r"]:
        """VᵀΣV."""
        return self._svd.directions.T @ self._covariance_times(self._svd.directions)

    def _lines(self) -> list[tuple[str, str]]:
        lines = [("samples n", f"{self.n:,}"), ("features m", f"{self.m:,}")]
        if self.teacher is not None and self.covariance is not None:
            lines.append(("Σ", "diagonal" if self.covariance.ndim == 1 else "full"))
            lines.append(("teacher_variance", f"{self.teacher_variance:.6g}"))
        return [*lines, ("largest_learning_rate", f"{self.largest_learning_rate:.6g}")]


@dataclass(frozen=True)
class _SVD:
    """Φ = U σ Vᵀ, without the singular values that are zero."""

    eigenvalues: Float[np.ndarray, " r"]  # of S, the squares of sigma over n
    sigma: Float[np.ndarray, " r"]
    directions: Float[np.ndarray, "m r"]  # V
    seen_targets: Float[np.ndarray, " r"]  # Uᵀy
    seen_noise: Float[np.ndarray, " r"]  # Uᵀ(y − Φθ*)
    unfitted: float  # train loss that no θ can remove


def gaussian_problem(
    n: int,
    m: int,
    spectrum: Spectrum | Sequence[float] | Float[np.ndarray, " m"] = "power_law",
    noise: float = 0.0,
    teacher: Float[np.ndarray, " m"] | None = None,
    seed: int = 0,
) -> RidgeProblem:
    """n samples of m Gaussian features with a diagonal covariance: Σ is exact.

    spectrum   "isotropic" (Σ = I), "power_law" (eigenvalue k is 1/k), "spiked" (a tenth as many as there are samples
               are 100, the rest 1), or all m eigenvalues
    noise      standard deviation of what is added to the targets
    teacher    θ* [m]; by default of variance 1 on the leading n/10 features, which n samples can learn unless the
               covariance is isotropic and m > n: then only a share n/m of any teacher is ever learned

    Raises ConfigError for sizes below 1, negative noise or eigenvalues, or a spectrum it does not know.
    """
    n, m = whole("n", n, 1), whole("m", m, 1)
    noise = at_least_zero("noise", noise)
    rng = np.random.default_rng(whole("seed", seed, 0))
    leading = min(m, max(1, n // 10))
    eigenvalues = np.ones(m)
    if isinstance(spectrum, str):
        if spectrum not in get_args(Spectrum):
            raise ConfigError(
                f"spectrum is {spectrum!r}; choose one of {', '.join(get_args(Spectrum))}, or give {m} eigenvalues."
            )
        if spectrum == "power_law":
            eigenvalues = 1.0 / np.arange(1, m + 1)
        elif spectrum == "spiked":
            eigenvalues[:leading] = 100.0
    else:
        eigenvalues = finite("spectrum", spectrum, 1)
        if len(eigenvalues) != m or (eigenvalues < 0).any():
            raise ConfigError(f"the spectrum has {len(eigenvalues)} entries; it is {m} eigenvalues, none negative.")
    features = rng.standard_normal((n, m)) * np.sqrt(eigenvalues)
    if teacher is None:
        drawn = rng.standard_normal(leading)
        power = float(eigenvalues[:leading] @ drawn**2)
        teacher = np.zeros(m)
        teacher[:leading] = drawn / (math.sqrt(power) if power else 1.0)
    return _taught(features, teacher, eigenvalues, noise, rng)


def random_features_problem(
    n: int,
    d: int,
    m: int,
    activation: Activation = "relu",
    noise: float = 0.0,
    teacher: Float[np.ndarray, " m"] | None = None,
    seed: int = 0,
) -> RidgeProblem:
    """φ(x) = activation(Wx)/√m of inputs x ~ N(0, I_d), with fixed W [m, d] of entries N(0, 1/d).

    Σ is exact for "relu" (Cho and Saul, 2009); for "tanh" and "erf" it is the mean over 20,000 inputs.

    noise     standard deviation of what is added to the targets
    teacher   θ* [m]; by default the one whose outputs are nearest to βᵀx with ‖β‖ = 1, of variance close to 1

    Raises ConfigError for sizes below 1, negative noise, or an activation it does not know.
    """
    n, d, m = whole("n", n, 1), whole("d", d, 1), whole("m", m, 1)
    noise = at_least_zero("noise", noise)
    if activation not in get_args(Activation):
        raise ConfigError(f"activation is {activation!r}; choose one of {', '.join(get_args(Activation))}.")
    rng = np.random.default_rng(whole("seed", seed, 0))
    W = rng.standard_normal((m, d)) / math.sqrt(d)
    X = rng.standard_normal((n, d))
    beta = rng.standard_normal(d)
    beta /= np.linalg.norm(beta)
    if activation == "relu":
        covariance = relu_second_moment(W) / m
        towards = W @ beta / (2 * math.sqrt(m))  # E[φ βᵀx], by Stein's identity
    else:
        inputs = rng.standard_normal((_HELD_OUT, d))
        held_out = _activate(inputs @ W.T, activation) / math.sqrt(m)
        covariance = held_out.T @ held_out / _HELD_OUT
        towards = held_out.T @ (inputs @ beta) / _HELD_OUT
    if teacher is None:
        # A hint of ridge: for m far above the number of held-out inputs, or of useful directions, Σ is singular.
        hint = 1e-10 * float(np.trace(covariance))
        teacher = np.linalg.solve(covariance + hint * np.eye(m), towards)
    return _taught(_activate(X @ W.T, activation) / math.sqrt(m), teacher, covariance, noise, rng)


def data_problem(
    features: Float[np.ndarray, "n m"],
    targets: Float[np.ndarray, " n"],
    test_features: Float[np.ndarray, "n_test m"],
    test_targets: Float[np.ndarray, " n_test"],
) -> RidgeProblem:
    """Your own Φ and y, with held-out ones that stand for all unseen inputs.

    Σ is their second moment and θ* their least-squares fit of least norm, so that the test loss is exactly
    ½·mean((φᵀθ − y)²) over the held-out samples. (`RidgeProblem(features, targets)` does without them.)
    """
    held_out, wanted = finite("test_features", test_features, 2), finite("test_targets", test_targets, 1)
    features = finite("features", features, 2)
    if held_out.shape[1] != features.shape[1] or len(held_out) != len(wanted):
        raise ConfigError(
            f"test_features has the shape {held_out.shape} and there are {len(wanted)} test_targets; give "
            f"{features.shape[1]} features, like those to train on, and a target a row."
        )
    teacher = np.linalg.lstsq(held_out, wanted)[0]
    floor = float(((held_out @ teacher - wanted) ** 2).mean()) / 2
    return RidgeProblem(features, targets, teacher, held_out.T @ held_out / len(held_out), floor)


def relu_second_moment(W: Float[np.ndarray, "*b m d"]) -> Float[np.ndarray, "*b m m"]:
    """E[relu(w_i·x) relu(w_j·x)] over x ~ N(0, I), for the rows of W: Cho and Saul's (2009) arc-cosine kernel."""
    norms = np.linalg.norm(W, axis=-1)
    unit = W / np.where(norms > 0, norms, 1.0)[..., None]
    cosine = np.clip(unit @ np.swapaxes(unit, -1, -2), -1.0, 1.0)
    angle = np.arccos(cosine)
    moment = np.sqrt(1.0 - cosine**2)
    np.subtract(math.pi, angle, out=angle)
    angle *= cosine
    moment += angle
    moment *= norms[..., :, None]
    moment *= norms[..., None, :] / (2 * math.pi)
    return moment


def log_steps(last: int, count: int = 200) -> Int[np.ndarray, " steps"]:
    """0, and about `count` steps up to `last` at equal ratios, each once."""
    last, count = _last_step(last), whole("count", count, 2)
    return np.unique(np.round(np.geomspace(1, last, count)).astype(np.int64)) if last else np.zeros(1, np.int64)


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
    the null space (and `test_floor`); test_loss_cross, twice the products between the three, of either sign. And
    weight_norm, ‖θ‖, with row_space_norm and null_space_norm, whose squares add up to its square.
    `attrs` holds the settings. Without a teacher the test columns are nan.
    Raises ConfigError for an unstable learning rate, with the largest stable one, and for settings that are not numbers
    of at least 0.
    """
    path = _Path(problem, learning_rate, weight_decay, init_scale, seed)
    return path.frame(_steps(steps))


def simulate(
    problem: RidgeProblem,
    steps: int | Sequence[int] | Int[np.ndarray, " steps"],
    learning_rate: float | None = None,
    weight_decay: float = 1e-6,
    init_scale: float = 10.0,
    seed: int = 0,
    progress: bool = True,
) -> pd.DataFrame:
    """The same as `trajectory`, by taking every step: for tests, and for whoever doubts the closed form."""
    path = _Path(problem, learning_rate, weight_decay, init_scale, seed)
    wanted = _steps(steps)
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
    generalization          the same of the test loss
    delay                   generalization − overfitting
    relative_delay          delay ÷ overfitting
    overfitting_bound       n·ln(6b²‖θ₀‖²/ε) / (2η·λ⁺_min(ΦᵀΦ)), b the largest norm of a row of Φ: by then the train
                            loss is under ε, if ‖Φ⁺y‖ ≤ ‖θ₀‖, λ‖Φ⁺y‖² ≤ 4ε/3, the samples can be fitted, and
                            η ≤ 1/(s_max + λ)
    null_space_prediction   ln(½θ₀ᵀP⊥ΣP⊥θ₀/ε) / (−2 ln(1 − ηλ)): what the initialization left in the null space of Φ is
                            under ε from there on
    tolerance               ε

    What never happens, or does not apply, is None, and `missing` says why. Both formulas are those of
    Xu, Vardi and Safran (2026).
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
            return f"{value:,}" if isinstance(value, int) else f"{value:,.6g}" if value < 1e6 else f"{value:,.0f}"

        return [(name, said(name, value)) for name, value in self.to_dict().items() if name != "missing"]


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
    found to the step. A loss is a sum of exponentials, which change over factors of e in time: none comes and goes
    within a twentieth.
    Raises ConfigError as `trajectory` does, and for a tolerance that is not above 0.
    """
    path = _Path(problem, learning_rate, weight_decay, init_scale, seed)
    epsilon = TOLERANCE * problem.teacher_variance if tolerance is None else number("tolerance", tolerance)
    if not 0 < epsilon < math.inf:
        raise ConfigError(f"tolerance is {epsilon}; it is a loss above 0.")
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


class _Path:
    """One descent on one problem, in the coordinates in which every step multiplies by a power."""

    def __init__(
        self, problem: RidgeProblem, learning_rate: float | None, weight_decay: float, init_scale: float, seed: int
    ) -> None:
        self.problem, svd = problem, problem._svd
        self.weight_decay = decay = at_least_zero("weight_decay", weight_decay)
        init_scale = at_least_zero("init_scale", init_scale)
        top = float(svd.eigenvalues.max(initial=0.0)) + decay
        largest = 2.0 / top if top else math.inf
        if learning_rate is None:
            learning_rate = largest / 2 if top else 1.0
        self.learning_rate = eta = number("learning_rate", learning_rate)
        if not 0 < eta < largest:
            raise ConfigError(
                f"learning_rate is {eta:g}; gradient descent on this problem, with a weight decay of {decay:g}, "
                f"converges only with one above 0 and under {largest:.6g}."
            )
        self.settings = {"learning_rate": eta, "weight_decay": decay, "init_scale": init_scale, "seed": seed}
        rng = np.random.default_rng(whole("seed", seed, 0))
        self.theta_0 = init_scale * rng.standard_normal(problem.m)

        s = svd.eigenvalues
        self.shrunk = decay / (s + decay)  # how much of each coordinate weight decay keeps from being learned
        self.rates = eta * (s + decay)
        self.null_rate = eta * decay
        start = svd.directions.T @ self.theta_0
        self.end = (1 - self.shrunk) * svd.seen_targets / svd.sigma
        self.away = start - self.end
        self.start_null = self.theta_0 - svd.directions @ start
        if len(s) == problem.m:
            self.start_null[:] = 0.0

    @cached_property
    def alternating(self) -> bool:
        """Whether some coordinate overshoots at every step, so that even and odd steps follow curves of their own."""
        return bool((self.rates > 1).any())

    @cached_property
    def horizon(self) -> int:
        """A step from which nothing changes any more that float64 could show, or LAST_STEP."""
        rates = np.append(self.rates, self.null_rate)
        slowest = float(-_log_factor(rates[rates > 0]).max(initial=-np.inf)) if (rates > 0).any() else math.inf
        return int(min(LAST_STEP, math.ceil(100.0 / slowest))) if slowest > 0 else LAST_STEP

    def _coordinates(self, steps: Int[np.ndarray, " t"]) -> Float[np.ndarray, "t r"]:
        return _powers(self.rates, steps) * self.away

    def train_loss(self, steps: Int[np.ndarray, " t"]) -> Float[np.ndarray, " t"]:
        svd, n = self.problem._svd, self.problem.n

        def some(chunk: Int[np.ndarray, " c"]) -> Float[np.ndarray, " c"]:
            residual = svd.sigma * self._coordinates(chunk) - self.shrunk * svd.seen_targets
            return (residual**2).sum(1) / (2 * n) + svd.unfitted

        return self._in_chunks(some, steps)

    def test_loss(self, steps: Int[np.ndarray, " t"]) -> Float[np.ndarray, " t"]:
        return self._in_chunks(lambda chunk: self.test_parts(chunk).sum(1), steps)

    @cached_property
    def _test(self) -> tuple[Float[np.ndarray, " r"], Float[np.ndarray, "2 r"], Float[np.ndarray, "2 2"]]:
        """The error in the row space at the end; VᵀΣ of the two null parts; their products under Σ.

        The null parts are what θ₀ left there and −P⊥θ*.
        """
        problem, svd = self.problem, self.problem._svd
        assert problem.teacher is not None
        taught = svd.directions.T @ problem.teacher
        unseen = svd.directions @ taught - problem.teacher
        if len(svd.eigenvalues) == problem.m:
            unseen[:] = 0.0
        final_error = -self.shrunk * taught + (1 - self.shrunk) * svd.seen_noise / svd.sigma
        null_parts = np.stack([self.start_null, unseen])
        under_covariance = problem._covariance_times(null_parts.T)
        return final_error, (svd.directions.T @ under_covariance).T, null_parts @ under_covariance

    def test_parts(self, steps: Int[np.ndarray, " t"]) -> Float[np.ndarray, "t 4"]:
        """learned, initialization, never_learned, cross."""
        final_error, (to_start, to_unseen), products = self._test
        error = final_error + self._coordinates(steps)
        left = _powers(np.array([self.null_rate]), steps)[:, 0]
        learned = ((error @ self.problem._row_covariance) * error).sum(1) / 2
        cross = left * (error @ to_start) + error @ to_unseen + left * products[0, 1]
        never = np.full(len(steps), products[1, 1] / 2 + self.problem.test_floor)
        return np.stack([learned, left**2 * products[0, 0] / 2, never, cross], axis=1)

    def frame(self, steps: Int[np.ndarray, " t"]) -> pd.DataFrame:
        left = _powers(np.array([self.null_rate]), steps)[:, 0]
        null_norm = np.abs(left) * float(np.linalg.norm(self.start_null))
        row_norm = self._in_chunks(lambda chunk: np.linalg.norm(self.end + self._coordinates(chunk), axis=1), steps)
        if self.problem.teacher is None:
            parts = np.full((len(steps), 4), np.nan)
        else:
            parts = self._in_chunks(self.test_parts, steps)
        frame = pd.DataFrame({"step": steps, **_columns(self.train_loss(steps), parts, row_norm, null_norm)})
        frame.attrs.update(self.settings)
        return frame

    def _in_chunks(self, function: Callable[[Any], Any], steps: Int[np.ndarray, " t"]) -> Float[np.ndarray, "t ..."]:
        """Many steps times many coordinates, never more than 32 MB of them at once."""
        size = max(1, 4_000_000 // max(1, len(self.rates)))
        return np.concatenate([function(steps[i : i + size]) for i in range(0, len(steps), size)])

    def overfitting_bound(self, epsilon: float) -> float | str:
        """The bound, or why it does not hold."""
        svd = self.problem._svd
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
        return max(0.0, math.log(6 * b_squared * theta_0 / epsilon) / slowest)

    def null_space_prediction(self, epsilon: float) -> float | str:
        """The prediction, or why there is none."""
        if self.problem.teacher is None:
            return _NO_TEACHER
        try:
            self.problem.null_space_part(self.theta_0)
        except ConfigError as error:
            return str(error)
        left = float(self._test[2][0, 0]) / 2
        if left <= epsilon:
            return 0.0
        if not self.weight_decay:
            return f"without weight decay the null space keeps its test loss of {left:.3g}"
        return math.log(left / epsilon) / (-2 * math.log1p(-self.null_rate))


def _log_factor(rates: Float[np.ndarray, " r"]) -> Float[np.ndarray, " r"]:
    """log |1 − rate|, exact for small rates too, where 1 − rate is 1."""
    with np.errstate(divide="ignore"):
        return np.where(rates < 1, np.log1p(-np.minimum(rates, 1)), np.log1p(np.maximum(rates, 1) - 2))


def _powers(rates: Float[np.ndarray, " r"], steps: Int[np.ndarray, " t"]) -> Float[np.ndarray, "t r"]:
    """(1 − rate)^step."""
    with np.errstate(invalid="ignore"):
        exponents = np.where(steps[:, None] == 0, 0.0, steps[:, None] * _log_factor(rates))
    negative = (rates > 1) & (steps[:, None] % 2 == 1)
    return np.where(negative, -1.0, 1.0) * np.exp(exponents)


def _settled(loss: Callable[[Any], Any], epsilon: float, path: _Path, name: str) -> int | str:
    """The first step from which `loss` stays at `epsilon` or under it, or a sentence why there is none."""
    end = path.horizon
    last_above = -1
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
        above = np.flatnonzero(values > epsilon)
        if not len(above):
            continue
        low, high = int(k[above[-1]]), int(k[above[-1] + 1])
        while high - low > 1:  # 64 points between the two at a time, and again between the last above and the next
            inner = np.unique(np.linspace(low, high, 66).astype(np.int64))
            over = np.flatnonzero(at(inner[:-1]) > epsilon)
            low, high = int(inner[over[-1]]), int(inner[over[-1] + 1])
        last_above = max(last_above, low * stride + parity)
    return last_above + 1


def _columns(
    train_loss: Float[np.ndarray, " t"],
    parts: Float[np.ndarray, "t 4"],
    row_norm: Float[np.ndarray, " t"],
    null_norm: Float[np.ndarray, " t"],
) -> dict[str, Float[np.ndarray, " t"]]:
    names = ("learned", "initialization", "never_learned", "cross")
    return {
        "train_loss": train_loss,
        "test_loss": parts.sum(1),
        **{f"test_loss_{name}": parts[:, i] for i, name in enumerate(names)},
        "weight_norm": np.hypot(row_norm, null_norm),
        "row_space_norm": row_norm,
        "null_space_norm": null_norm,
    }


def _measured(problem: RidgeProblem, theta: Float[np.ndarray, " m"]) -> dict[str, float]:
    """The columns of one θ, straight from their definitions."""
    V = problem._svd.directions
    in_rows = V @ (V.T @ theta)
    in_null = theta - in_rows if V.shape[1] < problem.m else np.zeros(problem.m)
    residual = problem.features @ theta - problem.targets
    parts = np.full(4, np.nan)
    if problem.teacher is not None:
        teacher_rows = V @ (V.T @ problem.teacher)
        teacher_null = problem.teacher - teacher_rows if V.shape[1] < problem.m else np.zeros(problem.m)
        errors = np.stack([in_rows - teacher_rows, in_null, -teacher_null])
        products = errors @ problem._covariance_times(errors.T)
        own = np.diag(products) / 2
        parts = np.array([*own, (products.sum() - np.trace(products)) / 2])
        parts[2] += problem.test_floor
    train_loss = float(residual @ residual) / (2 * problem.n)
    norms = float(np.linalg.norm(in_rows)), float(np.linalg.norm(in_null))
    arrays = _columns(np.array([train_loss]), parts[None], np.array([norms[0]]), np.array([norms[1]]))
    return {name: float(value[0]) for name, value in arrays.items()}


def _taught(
    features: Float[np.ndarray, "n m"],
    teacher: Float[np.ndarray, " m"],
    covariance: Float[np.ndarray, "m m"] | Float[np.ndarray, " m"],
    noise: float,
    rng: np.random.Generator,
) -> RidgeProblem:
    teacher = finite("teacher", teacher, 1)
    if len(teacher) != features.shape[1]:
        raise ConfigError(f"the teacher has {len(teacher)} entries; it needs one a feature, {features.shape[1]}.")
    targets = features @ teacher
    if noise:
        targets = targets + noise * rng.standard_normal(len(targets))
    return RidgeProblem(features, targets, teacher, covariance)


def _activate(x: Float[np.ndarray, "n m"], activation: Activation) -> Float[np.ndarray, "n m"]:
    if activation == "relu":
        return np.maximum(x, 0.0)
    if activation == "tanh":
        return np.tanh(x)
    from scipy.special import erf

    return erf(x)


def _last_step(value: Any) -> int:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    step = whole("a step", value, 0)
    if step > LAST_STEP:
        raise ConfigError(f"step {step:.3g} is too far: float64 counts steps only up to {LAST_STEP:.3g}.")
    return step


def _steps(steps: Any) -> Int[np.ndarray, " t"]:
    """The steps wanted, in order and each once."""
    if np.ndim(steps) == 0:
        return np.unique(np.r_[0, log_steps(steps)])
    found = sorted({_last_step(step.item() if isinstance(step, np.generic) else step) for step in steps})
    if not found:
        raise ConfigError("steps is empty; name at least one step, or give the last one.")
    return np.array(found, dtype=np.int64)
