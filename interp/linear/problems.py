"""Problems of ridge regression: features, targets, and a teacher whose test loss is known exactly."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal, get_args

import numpy as np
from jaxtyping import Float

from interp.linear.least_squares import svd_of
from interp.utils.arguments import at_least_zero, finite, number, one_of, random_seed, real, room_for, whole
from interp.utils.errors import ConfigError, warn
from interp.utils.printed import Printed
from interp.utils.torch_state import computing

Spectrum = Literal["isotropic", "power_law", "spiked"]
Activation = Literal["relu", "tanh", "erf"]

_HELD_OUT = 20_000  # inputs that Σ is estimated from if it has no closed form


@dataclass(frozen=True, eq=False, repr=False)
class RidgeProblem(Printed):
    """Targets y to be fitted by Φθ, and a teacher θ* whose outputs on unseen inputs θ should match.

    Attributes:
        features: Φ [n, m], a row for each sample.
        targets: y [n].
        teacher: θ* [m]; without one there is no test loss.
        covariance: Σ [m, m], E[φφᵀ] over unseen inputs, or its diagonal [m]; by default the identity, with a teacher.
        test_floor: The test loss of θ* itself, above 0 if unseen targets are no linear function of the features.
        held_out: The held-out samples of `data_problem`, from whose residuals the test loss is then computed.

    Raises:
        ConfigError: An array is empty, not finite, or does not fit the others; or the covariance is not symmetric, or
            has a negative eigenvalue (below −10⁻¹⁰ of its trace).
    """

    features: Float[np.ndarray, "n m"]
    targets: Float[np.ndarray, " n"]
    teacher: Float[np.ndarray, " m"] | None = None
    covariance: Float[np.ndarray, "m m"] | Float[np.ndarray, " m"] | None = None
    test_floor: float = 0.0
    held_out: HeldOut | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self._fix()
        if self.covariance is not None and self.covariance.ndim == 2 and not _is_semidefinite(self.covariance):
            raise ConfigError(
                "covariance must have no negative eigenvalue, or test losses could be negative; got an indefinite "
                "matrix. Give E[φφᵀ] over unseen inputs."
            )

    @classmethod
    def _of_second_moment(
        cls, *arrays: Float[np.ndarray, "..."], test_floor: float = 0.0, held_out: HeldOut | None = None
    ) -> RidgeProblem:
        """Return the problem of features, targets, teacher and a Σ known to be semidefinite; a check costs m³/3."""
        problem = object.__new__(cls)
        names = ("features", "targets", "teacher", "covariance", "test_floor", "held_out")
        for name, value in zip(names, (*arrays, test_floor, held_out), strict=True):
            object.__setattr__(problem, name, value)
        problem._fix()
        return problem

    def _fix(self) -> None:
        def fix(name: str, *dimensions: int) -> None:
            array = finite(name, getattr(self, name), *dimensions)
            if array.flags.writeable:  # the caller could still write to it
                array = _sealed(array.copy())
            object.__setattr__(self, name, array)

        fix("features", 2)
        number("the largest of features", np.abs(self.features).max())
        fix("targets", 1)
        n, m = self.features.shape
        if len(self.targets) != n:
            raise ConfigError(
                f"targets must have an entry for each of the {n} rows of features; got {len(self.targets)}."
            )
        object.__setattr__(self, "test_floor", at_least_zero("test_floor", self.test_floor))
        if self.teacher is None:
            if self.covariance is not None:
                raise ConfigError("covariance needs teacher as well, since the test loss takes both; got no teacher.")
            return
        fix("teacher", 1)
        if self.covariance is None:
            object.__setattr__(self, "covariance", np.ones(m))
        fix("covariance", 1, 2)
        assert self.covariance is not None
        if len(self.teacher) != m or set(self.covariance.shape) != {m}:
            raise ConfigError(
                f"with {m} features, teacher must have {m} entries and covariance the shape ({m}, {m}) or ({m},); got "
                f"{len(self.teacher)} and {self.covariance.shape}."
            )
        diagonal, skew = self.covariance, 0.0
        if self.covariance.ndim == 2:
            probe = np.random.default_rng(0).standard_normal(m)  # comparing Σx and Σᵀx costs less than Σ − Σᵀ
            skew = float(np.abs(self.covariance @ probe - probe @ self.covariance).max())
            diagonal = np.diag(self.covariance)
        if (diagonal < 0).any() or skew > 1e-8 * m * diagonal.max():
            raise ConfigError("covariance must be symmetric, with variances of at least 0. Give E[φφᵀ].")

    @property
    def n(self) -> int:
        """The number of samples."""
        return len(self.features)

    @property
    def m(self) -> int:
        """The number of features, which is that of parameters."""
        return self.features.shape[1]

    @cached_property
    def teacher_variance(self) -> float:
        """θ*ᵀΣθ*, the mean square of the teacher's outputs; without a teacher, that of the targets."""
        if self.teacher is None:
            return float((self.targets**2).mean())
        if self.held_out is not None:
            return float(self.held_out.taught @ self.held_out.taught)
        return float(self.teacher @ self.covariance_times(self.teacher))

    @property
    def largest_learning_rate(self) -> float:
        """2 ÷ the largest eigenvalue of ΦᵀΦ/n: without weight decay, gradient descent converges below it."""
        top = float(self.svd.eigenvalues.max(initial=0.0))
        return 2.0 / top if top else math.inf

    def null_space_part(self, theta: Float[np.ndarray, " m"]) -> Float[np.ndarray, " m"]:
        """Return P⊥θ [m], the part of θ in the null space of Φ; ConfigError if the samples determine all parameters."""
        theta = finite("theta", theta, 1)
        if len(theta) != self.m:
            raise ConfigError(f"theta must have {self.m} entries, one a parameter; got {len(theta)}.")
        if len(self.svd.eigenvalues) == self.m:
            raise ConfigError(
                f"{self.n} samples determine all {self.m} parameters: the features have no null space. Take m > n."
            )
        return theta - self.svd.directions @ (self.svd.directions.T @ theta)

    def covariance_times(self, x: Float[np.ndarray, "m *k"]) -> Float[np.ndarray, "m *k"]:
        """Return Σx; raises ConfigError if the problem has no teacher, and so no Σ."""
        if self.covariance is None:
            raise ConfigError("covariance_times needs a problem with a teacher; got one without.")
        x = real("x", x)
        if x.shape[:1] != (self.m,):
            raise ConfigError(f"x must have {self.m} rows, one a feature; got the shape {x.shape}.")
        return self.covariance @ x if self.covariance.ndim == 2 else (self.covariance * x.T).T

    @cached_property
    @computing()
    def svd(self) -> SVD:
        U, sigma, Vt = svd_of(self.features)
        seen = U.T @ self.targets
        # If a teacher made the targets, only noise cannot be fitted; computed so, it is exactly zero without noise.
        of_teacher = self.teacher is not None and self.held_out is None
        noise = self.targets - self.features @ self.teacher if of_teacher else self.targets
        seen_noise = U.T @ noise
        unfitted = 0.0 if len(sigma) == self.n else float(((noise - U @ seen_noise) ** 2).sum()) / (2 * self.n)
        return SVD(sigma**2 / self.n, sigma, Vt.T, seen, seen_noise, unfitted)

    @cached_property
    def row_covariance(self) -> Float[np.ndarray, "r r"]:
        """VᵀΣV, the covariance within the row space of Φ."""
        return _sealed(self.svd.directions.T @ self.covariance_times(self.svd.directions))

    @cached_property
    def never_learned_images(self) -> Float[np.ndarray, " k"]:
        """The outputs on the held-out samples of the part of θ* in the null space of Φ."""
        assert self.held_out is not None
        assert self.teacher is not None
        if len(self.svd.eigenvalues) == self.m:
            return np.zeros(len(self.held_out.taught))
        return self.held_out.images @ self.null_space_part(self.teacher)

    @cached_property
    def null_products(self) -> dict[int, Float[np.ndarray, "m 2"]]:
        """Σ times the null-space parts of start and teacher, by seed, if a descent has computed them."""
        return {}

    def _lines(self) -> list[tuple[str, str]]:
        lines = [("samples n", f"{self.n:,}"), ("features m", f"{self.m:,}")]
        if self.teacher is not None and self.covariance is not None:
            lines.append(("Σ", "diagonal" if self.covariance.ndim == 1 else "full"))
            lines.append(("teacher_variance", f"{self.teacher_variance:.6g}"))
        return [*lines, ("largest_learning_rate", f"{self.largest_learning_rate:.6g}")]


@dataclass(frozen=True, eq=False)
class HeldOut:
    """Held-out samples, rotated by their left singular vectors: the test loss is ½‖images θ − taught‖² + unfitted.

    A quadratic form in θ − θ* gives the same number, but loses twice as many digits as ‖θ*‖ has before the point.
    """

    images: Float[np.ndarray, "k m"]  # UᵀX ÷ √n_test
    taught: Float[np.ndarray, " k"]  # Uᵀy ÷ √n_test, the images of θ*
    unfitted: float  # the test loss of θ*

    def __post_init__(self) -> None:
        _sealed(self.images)
        _sealed(self.taught)


@dataclass(frozen=True)
class SVD:
    """Φ = U σ Vᵀ, without the singular values that are zero."""

    eigenvalues: Float[np.ndarray, " r"]  # of S, the squares of sigma over n
    sigma: Float[np.ndarray, " r"]
    directions: Float[np.ndarray, "m r"]  # V
    seen_targets: Float[np.ndarray, " r"]  # Uᵀy
    seen_noise: Float[np.ndarray, " r"]  # Uᵀ(y − Φθ*)
    unfitted: float  # train loss that no θ can remove

    def __post_init__(self) -> None:
        for array in (self.eigenvalues, self.sigma, self.directions, self.seen_targets, self.seen_noise):
            _sealed(array)


@computing()
def gaussian_problem(
    n: int,
    m: int,
    spectrum: Spectrum | Sequence[float] | Float[np.ndarray, " m"] = "power_law",
    noise: float = 0.0,
    teacher: Float[np.ndarray, " m"] | None = None,
    seed: int = 0,
) -> RidgeProblem:
    """Return a problem of Gaussian features with a diagonal covariance, so that Σ is exact.

    Args:
        n: Samples.
        m: Features.
        spectrum: "isotropic" (Σ = I), "power_law" (eigenvalue k is 1/k), "spiked" (the first n/10 are 100, the rest 1),
            or all m eigenvalues.
        noise: The standard deviation of the noise added to the targets.
        teacher: θ* [m]; by default of variance 1 on the leading n/10 features, which n samples can learn unless the
            covariance is isotropic and m > n: then only a share n/m of any teacher is ever learned.
        seed: The seed of all draws.

    Raises:
        ConfigError: A size is below 1, noise or an eigenvalue negative, or the spectrum has another name.
    """
    n, m = whole("n", n, 1), whole("m", m, 1)
    room_for("features [n, m]", n, m)
    noise = at_least_zero("noise", noise)
    rng = np.random.default_rng(random_seed(seed))
    leading = min(m, max(1, n // 10))
    eigenvalues = np.ones(m)
    if isinstance(spectrum, str):
        one_of("spectrum", spectrum, get_args(Spectrum), f", or {m} eigenvalues")
        if spectrum == "power_law":
            eigenvalues = 1.0 / np.arange(1, m + 1)
        elif spectrum == "spiked":
            eigenvalues[:leading] = 100.0
    else:
        eigenvalues = finite("spectrum", spectrum, 1)
        if len(eigenvalues) != m or (eigenvalues < 0).any():
            raise ConfigError(
                f"spectrum must be {m} eigenvalues of at least 0; got {len(eigenvalues)}, the least "
                f"{eigenvalues.min():g}."
            )
    features = rng.standard_normal((n, m)) * np.sqrt(eigenvalues)
    if teacher is None:
        drawn = rng.standard_normal(leading)
        power = float(eigenvalues[:leading] @ drawn**2)
        teacher = np.zeros(m)
        teacher[:leading] = drawn / (math.sqrt(power) if power else 1.0)
    return _taught(features, teacher, eigenvalues, noise, rng)


@computing()
def random_features_problem(
    n: int,
    d: int,
    m: int,
    activation: Activation = "relu",
    noise: float = 0.0,
    teacher: Float[np.ndarray, " m"] | None = None,
    seed: int = 0,
) -> RidgeProblem:
    """Return the problem of φ(x) = activation(Wx)/√m for inputs x ~ N(0, I_d) and fixed W [m, d] of entries N(0, 1/d).

    Args:
        n: Samples.
        d: Inputs.
        m: Features.
        activation: "relu", whose Σ is exact (Cho and Saul, 2009), or "tanh" or "erf", whose Σ is a mean over 20,000
            inputs.
        noise: The standard deviation of the noise added to the targets.
        teacher: θ* [m]; by default the one whose outputs are nearest to βᵀx with ‖β‖ = 1, of variance close to 1.
        seed: The seed of all draws.

    Raises:
        ConfigError: A size is below 1, noise negative, the activation another, or Σ [m, m] does not fit into memory.
    """
    n, d, m = whole("n", n, 1), whole("d", d, 1), whole("m", m, 1)
    room_for("features [n, m]", n, m)
    room_for("Σ [m, m]", m, m)
    room_for("inputs and their weights", d, max(n, m, _HELD_OUT))
    noise = at_least_zero("noise", noise)
    one_of("activation", activation, get_args(Activation))
    rng = np.random.default_rng(random_seed(seed))
    W = rng.standard_normal((m, d)) / math.sqrt(d)
    X = rng.standard_normal((n, d))
    beta = rng.standard_normal(d)
    beta /= np.linalg.norm(beta)
    try:
        if activation == "relu":
            covariance = relu_second_moment(W) / m
            towards = W @ beta / (2 * math.sqrt(m))  # E[φ βᵀx], by Stein's identity
        else:
            inputs = rng.standard_normal((_HELD_OUT, d))
            held_out = _activate(inputs @ W.T, activation) / math.sqrt(m)
            covariance = held_out.T @ held_out / _HELD_OUT
            towards = held_out.T @ (inputs @ beta) / _HELD_OUT
    except MemoryError:
        raise ConfigError(
            f"Σ [m, m] must fit into memory; m = {m:,} takes {8 * m**2 / 1e9:,.0f} GB. Take fewer features."
        ) from None
    if teacher is None:
        # A hint of ridge: Σ is singular for m far above the number of held-out inputs or of useful directions.
        hint = 1e-10 * float(np.trace(covariance))
        teacher = np.linalg.solve(covariance + hint * np.eye(m), towards)
    return _taught(_activate(X @ W.T, activation) / math.sqrt(m), teacher, covariance, noise, rng)


@computing()
def data_problem(
    features: Float[np.ndarray, "n m"],
    targets: Float[np.ndarray, " n"],
    test_features: Float[np.ndarray, "n_test m"],
    test_targets: Float[np.ndarray, " n_test"],
) -> RidgeProblem:
    """Return the problem of your own Φ and y, with held-out samples in place of all unseen inputs.

    Σ is their second moment and θ* their least-squares fit of least norm (singular values under max(n_test, m)·2⁻⁵² of
    the largest count as zero, as in numpy.linalg.lstsq). The test loss is ½·mean((φᵀθ − y)²) over the held-out samples,
    computed from these residuals, so that a large θ* costs no digits. `test_floor` is the test loss of θ*, less the
    most that rounding may have added: no θ of at most the norm of θ* has a smaller one. Warns if θ* loses more than 10
    of 16 digits. `RidgeProblem(features, targets)` needs no held-out samples.
    """
    held_out, wanted = finite("test_features", test_features, 2), finite("test_targets", test_targets, 1)
    features = finite("features", features, 2)
    if held_out.shape[1] != features.shape[1] or len(held_out) != len(wanted):
        raise ConfigError(
            f"test_features must have {features.shape[1]} columns, as features has, and a row for each of the "
            f"{len(wanted)} test_targets; got the shape {held_out.shape}."
        )
    n_test, epsilon = len(wanted), max(held_out.shape) * np.finfo(float).eps
    both = np.column_stack([held_out, wanted])
    if n_test > features.shape[1]:
        both = np.asarray(np.linalg.qr(both, mode="r"))  # the same residuals in fewer rows
    U, sigma, Vt = np.linalg.svd(both[:, :-1], full_matrices=False)
    rank = int((sigma > epsilon * sigma.max()).sum())
    U, sigma, Vt = U[:, :rank], sigma[:rank], Vt[:rank]
    seen = U.T @ both[:, -1]
    teacher = Vt.T @ (seen / sigma)
    residual, norm = float(np.linalg.norm(both[:, -1] - U @ seen)), float(np.linalg.norm(teacher))
    floor = residual
    if norm:
        # U spans the columns up to ε·σ_max of rounding, and the singular values that count as zero are below that.
        floor -= epsilon * (2 * float(sigma[0]) * norm + float(np.linalg.norm(wanted)))
        # κ + κ²·tan φ/η, with η = σ_max‖θ*‖/‖fit‖ (Trefethen and Bau, 1997, theorem 18.1)
        kappa = float(sigma[0] / sigma[-1])
        lost = math.log10(kappa + kappa**2 * residual / (float(sigma[0]) * norm))
        if lost > 10:
            warn(
                f"The condition number of test_features is {kappa:.2g}, so teacher (of norm {norm:.2g}) has lost about "
                f"{min(16, math.ceil(lost))} of 16 digits, and with it test_loss_learned, test_loss_never_learned and "
                "test_loss_cross; test_loss has not, since it is computed from residuals."
            )
    samples = HeldOut(sigma[:, None] * Vt / math.sqrt(n_test), seen / math.sqrt(n_test), residual**2 / (2 * n_test))
    second_moment = held_out.T @ held_out / n_test
    return RidgeProblem._of_second_moment(
        features, targets, teacher, second_moment, test_floor=max(0.0, floor) ** 2 / (2 * n_test), held_out=samples
    )


def relu_second_moment(W: Float[np.ndarray, "*b m d"]) -> Float[np.ndarray, "*b m m"]:
    """Return E[relu(w_i·x) relu(w_j·x)] over x ~ N(0, I) for rows of W, by Cho and Saul's (2009) arc-cosine kernel."""
    W = finite("W", W, 2, 3)
    norms = np.linalg.norm(W, axis=-1)
    unit = W / np.where(norms > 0, norms, 1.0)[..., None]
    cosine = np.clip(unit @ np.swapaxes(unit, -1, -2), -1.0, 1.0)
    angle = np.arccos(cosine)
    moment = np.sqrt((1.0 - cosine) * (1.0 + cosine))
    np.subtract(math.pi, angle, out=angle)
    angle *= cosine
    moment += angle
    moment *= norms[..., :, None]
    moment *= norms[..., None, :] / (2 * math.pi)
    return moment


def _taught(
    features: Float[np.ndarray, "n m"],
    teacher: Float[np.ndarray, " m"],
    covariance: Float[np.ndarray, "m m"] | Float[np.ndarray, " m"],
    noise: float,
    rng: np.random.Generator,
) -> RidgeProblem:
    teacher = finite("teacher", teacher, 1)
    if len(teacher) != features.shape[1]:
        raise ConfigError(f"teacher must have {features.shape[1]} entries, one a feature; got {len(teacher)}.")
    targets = features @ teacher
    if noise:
        targets = targets + noise * rng.standard_normal(len(targets))
    return RidgeProblem._of_second_moment(
        _sealed(features), _sealed(targets), _sealed(teacher.copy()), _sealed(covariance)
    )


def _is_semidefinite(covariance: Float[np.ndarray, "m m"]) -> bool:
    """Return whether no eigenvalue is below −10⁻¹⁰ of the trace, more than rounding can cause."""
    trace = float(np.trace(covariance))
    if not trace:
        return not covariance.any()
    shifted = covariance / trace
    shifted.flat[:: len(covariance) + 1] += 1e-10
    try:
        np.linalg.cholesky(shifted)
    except np.linalg.LinAlgError:
        return False
    return True


def _sealed(array: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    """Return the array, made read-only since its decompositions are kept."""
    array.flags.writeable = False
    return array


def _activate(x: Float[np.ndarray, "n m"], activation: Activation) -> Float[np.ndarray, "n m"]:
    if activation == "relu":
        return np.maximum(x, 0.0)
    if activation == "tanh":
        return np.tanh(x)
    from scipy.special import erf

    return erf(x)
