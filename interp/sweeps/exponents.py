"""Exponents of delays: accelerated failure times of four laws, fitted to runs of which some are censored.

The logarithm of the delay is X β + σ ε, where ε has one of four laws. A run that had not generalized contributes the
probability that its delay is longer than it was watched.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Shaped

from interp.sweeps.survival import CENSORED, counted, in_counts, outcomes, waits
from interp.utils.arguments import one_of
from interp.utils.errors import ConfigError
from interp.utils.printed import Printed
from interp.utils.torch_state import computing

Z = Float[np.ndarray, " runs"]
_ITERATIONS = 100
_ROUNDING = 1e-12  # of log likelihoods and of residuals, as shares


@dataclass(frozen=True)
class Law:
    """A law of the scatter ε.

    Attributes:
        density: z → its log density and the first two derivatives.
        survival: z → its log survival and the first two derivatives.
        deviation: Standard deviation of ε.
    """

    density: Callable[[Z], tuple[Z, Z, Z]]
    survival: Callable[[Z], tuple[Z, Z, Z]]
    deviation: float


def _normal_density(z: Z) -> tuple[Z, Z, Z]:
    return -(z**2) / 2 - math.log(2 * math.pi) / 2, -z, np.full_like(z, -1.0)


def _normal_survival(z: Z) -> tuple[Z, Z, Z]:
    from scipy.special import log_ndtr

    log_share = log_ndtr(-z)
    hazard = np.exp(_normal_density(z)[0] - log_share)
    return log_share, -hazard, -hazard * (hazard - z)


def _logistic_density(z: Z) -> tuple[Z, Z, Z]:
    from scipy.special import expit

    share = expit(z)
    return -z - 2 * np.logaddexp(0, -z), 1 - 2 * share, -2 * share * (1 - share)


def _logistic_survival(z: Z) -> tuple[Z, Z, Z]:
    from scipy.special import expit

    share = expit(z)
    return -np.logaddexp(0, z), -share, -share * (1 - share)


def _least_value_density(z: Z) -> tuple[Z, Z, Z]:
    return z - np.exp(z), 1 - np.exp(z), -np.exp(z)


def _least_value_survival(z: Z) -> tuple[Z, Z, Z]:
    return -np.exp(z), -np.exp(z), -np.exp(z)


def _largest_value_density(z: Z) -> tuple[Z, Z, Z]:
    u = np.exp(-z)
    return -z - u, u - 1, -u


def _largest_value_survival(z: Z) -> tuple[Z, Z, Z]:
    """Return log(1 − e^−u) for u = e^−z; its slope in z is −u / (e^u − 1), and exprel(u) is (e^u − 1) / u."""
    from scipy.special import exprel

    u = np.exp(np.minimum(-z, 700.0))
    hazard = 1 / exprel(u)
    # For small u the terms of order 1 in hazard (1 − u − hazard) cancel and leave −u/2.
    curved = np.where(u < 1e-5, -u / 2, hazard * (1 - u - hazard))
    return np.log(-np.expm1(-u)), -hazard, curved


LAWS = {
    "log-normal": Law(_normal_density, _normal_survival, 1.0),
    "log-logistic": Law(_logistic_density, _logistic_survival, math.pi / math.sqrt(3)),
    "weibull": Law(_least_value_density, _least_value_survival, math.pi / math.sqrt(6)),
    "frechet": Law(_largest_value_density, _largest_value_survival, math.pi / math.sqrt(6)),
}


@dataclass(frozen=True)
class Fit:
    """A fit of y = X β + σ ε.

    Errors and scatter are those of maximum likelihood times √(n / (n − k)), for k slopes and n runs that are not
    censored. So without censored runs the log-normal fit is least squares, with its errors and its scatter.

    Attributes:
        slopes: β; the first is the level at the mean of the other columns of X.
        errors: Standard errors of β from the observed information, for independent runs.
        scatter: Standard deviation of y about the fit.
        log_likelihood: At its maximum; inf for runs that lie on the fit exactly.
    """

    slopes: Float[np.ndarray, " k"]
    errors: Float[np.ndarray, " k"]
    scatter: float
    log_likelihood: float

    @property
    def aic(self) -> float:
        """Akaike's criterion, 2 (k + 1) − 2 log L: the law with the lower value fits better."""
        return 2 * (len(self.slopes) + 1) - 2 * self.log_likelihood


def censored_fit(
    X: Float[np.ndarray, "runs k"], y: Float[np.ndarray, " runs"], censored: Bool[np.ndarray, " runs"],
    law: str = "log-normal",
) -> Fit:  # fmt: skip
    """Fit y = X β + σ ε by maximum likelihood, where y of a censored run is a lower bound.

    The first column of X must be ones; `law` names the law of ε, one of `LAWS`. The likelihood is maximized by Newton's
    method in β / σ and 1 / σ, in which it is concave (Burridge, 1981) and so has one maximum.

    Raises:
        ConfigError: If there is no maximum: the runs that are not censored must determine every slope.
    """
    found, seen = LAWS[law], ~censored
    Z = np.column_stack([X[:, :1], X[:, 1:] - X[:, 1:].mean(0)])
    k, n = Z.shape[1], int(seen.sum())
    if n < k or np.linalg.matrix_rank(Z[seen]) < k:
        raise ConfigError(
            f"A fit needs runs that generalized at enough different settings to determine {k - 1} slopes and a level; "
            f"got {n} such runs. Fit fewer settings, or train more runs."
        )
    exact, *_ = np.linalg.lstsq(Z[seen], y[seen], rcond=None)
    rounding = _ROUNDING * max(1.0, float(np.abs(y).max()))
    if np.abs(y - Z @ exact)[seen].max() <= rounding and (y - Z @ exact <= rounding).all():
        return Fit(exact, np.zeros(k), 0.0, math.inf)
    start, *_ = np.linalg.lstsq(Z, y, rcond=None)
    sigma = float(np.sqrt(np.mean((y - Z @ start) ** 2)))
    A = np.column_stack([-Z, y])  # z = A θ, of θ = (β / σ, 1 / σ)
    theta = np.r_[start, 1.0] / sigma
    value, gradient, hessian = log_likelihood(A, censored, found, theta)
    for _ in range(_ITERATIONS):
        step = np.linalg.solve(hessian, -gradient)
        gain = float(gradient @ step)  # about twice what the likelihood is short of its maximum
        share = 1.0
        while share > _ROUNDING:
            tried = theta + share * step
            after = log_likelihood(A, censored, found, tried) if tried[-1] > 0 else (-math.inf, gradient, hessian)
            if after[0] >= value + 1e-4 * share * gain - _ROUNDING * (1 + abs(value)):
                break
            share /= 2
        theta, (value, gradient, hessian) = tried, after
        if gain < _ROUNDING:
            break
    else:
        raise ConfigError(
            f"The likelihood of {len(y)} runs must have a maximum; none was found in {_ITERATIONS} steps of Newton's "
            "method. Check that the delays are steps of training."
        )
    sigma = 1 / float(theta[-1])
    beta = theta[:-1] * sigma
    # The derivatives of θ = (β, 1) / σ in β and log σ.
    by = np.block([[np.eye(k), -beta[:, None]], [np.zeros((1, k)), -np.ones((1, 1))]]) / sigma
    covariance = np.linalg.inv(by.T @ -hessian @ by)
    corrected = math.sqrt(n / max(n - k, 1))
    errors = np.sqrt(np.diag(covariance))[:-1] * corrected
    return Fit(beta, errors, sigma * found.deviation * corrected, value)


def log_likelihood(
    A: Float[np.ndarray, "runs k1"], censored: Bool[np.ndarray, " runs"], law: Law, theta: Float[np.ndarray, " k1"]
) -> tuple[float, Float[np.ndarray, " k1"], Float[np.ndarray, "k1 k1"]]:
    """Return the log likelihood of θ = (β / σ, 1 / σ), its gradient and its Hessian, for z = A θ; A = (−X, y)."""
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):  # far from the maximum it is −inf
        z = A @ theta
        logs, slopes, curves = (
            np.where(censored, beyond, at) for at, beyond in zip(law.density(z), law.survival(z), strict=True)
        )
        n = len(z) - int(censored.sum())
        value = float(logs.sum()) + n * math.log(theta[-1])
        gradient, hessian = A.T @ slopes, (A * curves[:, None]).T @ A
    gradient[-1] += n / theta[-1]
    hessian[-1, -1] -= n / theta[-1] ** 2
    return value if value == value else -math.inf, gradient, hessian


def errors_over_clusters(
    estimate: Callable[[Bool[np.ndarray, " runs"]], Float[np.ndarray, " k"]], clusters: Shaped[np.ndarray, " runs"]
) -> Float[np.ndarray, " k"]:
    """Return standard errors by the jackknife: the estimates with one cluster of runs left out at a time.

    The errors are √((G − 1) / G · Σ (estimate without g − their mean)²) over G clusters, for intervals of Student's t
    on G − 1 degrees of freedom. If all clusters have the same design and no run is censored, those of a log-normal fit
    are the errors of the mean of the clusters' own slopes, s / √G. They are infinite if an estimate does not exist
    without some cluster. `estimate` takes the runs to keep, and raises ConfigError if its estimate does not exist.
    """
    left = []
    for one in np.unique(clusters):
        try:
            left.append(estimate(clusters != one))
        except ConfigError:
            return np.full_like(estimate(np.ones(len(clusters), dtype=bool)), math.inf)
    G, without = len(left), np.array(left)
    return np.sqrt((G - 1) / G * ((without - without.mean(0)) ** 2).sum(0))


@dataclass(frozen=True, repr=False)
class Exponents(Printed):
    """How the delay depends on settings: delay ∝ Π setting^exponent, with 95 % intervals.

    Attributes:
        exponents: For each setting its exponent and the low and high ends of its interval.
        scatter: Standard deviation of log delay about the fit.
        runs: How many runs were fitted.
        censored: How many of them had not generalized by their last step.
        law: The law of the scatter that was fitted.
        aic: Akaike's criterion of each law: the least fits best, and 10 more is a clear difference.
        clusters: How many seeds the intervals rest on; None if the runs were taken as independent.
        outcomes: How many runs of the table had each outcome (`interp.outcomes`). Runs that generalized enter by their
            delay; nearly generalized, still waiting or no longer memorized ones as censored; others do not enter.
    """

    exponents: dict[str, tuple[float, float, float]]
    scatter: float
    runs: int
    censored: int
    law: str
    aic: dict[str, float]
    clusters: int | None
    outcomes: dict[str, int]

    @property
    def basis(self) -> str:
        """The assumption behind the intervals, in words."""
        return "runs taken as independent" if self.clusters is None else f"{self.clusters} seeds as clusters"

    def _lines(self) -> list[tuple[str, str]]:
        fits = [(name, f"{value:.2f} [{low:.2f}, {high:.2f}]") for name, (value, low, high) in self.exponents.items()]
        others = [f"{law} {aic:.1f}" for law, aic in sorted(self.aic.items(), key=lambda of: of[1]) if law != self.law]
        law = f"{self.law}, AIC {self.aic[self.law]:.1f} ({', '.join(others)})"
        exact = " (the runs lie on the fit exactly)"
        entered = {"by their delays": ["generalized"], "as censored": CENSORED}
        left = {**self.outcomes}
        counts = []
        for how, names in entered.items():
            if own := {name: left.pop(name) for name in names if name in left}:
                counts.append(f"{in_counts(own)} ({how})")
        counts += [f"{in_counts(left)} (no delay, not fitted)"] * bool(left)
        return [
            *fits,
            ("law", law if math.isfinite(self.aic[self.law]) else self.law + exact),
            ("intervals", f"95 %, {self.basis}"),
            ("scatter", f"{self.scatter:.2f} of log delay"),
            ("runs", "; ".join(counts)),
        ]


@computing()
def fit_exponents(table: pd.DataFrame, settings: Sequence[str], law: str = "best") -> Exponents:
    """Fit delay ∝ Π setting^exponent to the runs of a sweep, with runs that had not generalized as censored.

    With log-normal delays and no censored runs this is least squares in the logarithms. Runs of one seed share their
    start and, unless split_seed varies, their split, so they are not independent. If the column seed has two seeds or
    more, and one of them repeats, the intervals are Student's t of the jackknife over seeds (see
    `errors_over_clusters`); else they rest on the observed information of independent runs.
    `python -m benchmarks coverage` counts how often either contains the truth.

    Args:
        table: That of `interp.load_sweep`, or of `two_layer.grokking_times`.
        settings: Columns of it whose values are above 0 and vary.
        law: The law of the delay at given settings: "log-normal", "log-logistic", "weibull" or "frechet" (ε is the
            least or the largest extreme value), or "best", the one of these four with the least AIC.

    Raises:
        ConfigError: For other settings or laws, and for fewer than three runs that generalized.
    """
    from scipy.stats import t as student

    one_of("law", law, ("best", *LAWS))
    names = [settings] if isinstance(settings, str) else list(settings)
    runs = waits(table)
    for name in names:
        known = name in runs and pd.api.types.is_numeric_dtype(runs[name])
        if not known or not (runs[name].astype("Float64").fillna(0) > 0).all():
            raise ConfigError(f"settings must name columns of numbers above 0; got {name!r}.")
        if runs[name].nunique() < 2:
            raise ConfigError(f"settings must vary to have an exponent; {name} has one value.")
    censored = runs["censored"].to_numpy(dtype=bool)
    seen = int((~censored).sum())
    if seen < 3:
        raise ConfigError(f"An exponent needs at least three runs that generalized; got {seen}.")
    X = np.column_stack([np.ones(len(runs)), *(np.log(runs[name].to_numpy(dtype=float)) for name in names)])
    if not names or seen <= X.shape[1] or np.linalg.matrix_rank(X) < X.shape[1]:
        raise ConfigError(
            f"settings must name settings that vary apart from each other, and fewer of them than the "
            f"{seen} runs that generalized, less one; got {', '.join(map(str, names)) or 'none'}."
        )
    y = np.log(runs["delay"].to_numpy(dtype=float))
    fits = {one: censored_fit(X, y, censored, one) for one in LAWS}
    aic = {one: fit.aic for one, fit in fits.items()}
    taken = min(aic, key=lambda one: aic[one]) if law == "best" else law
    fit = fits[taken]
    clusters = _clusters(runs)
    if clusters is None:
        G, errors, free = None, fit.errors, max(seen - X.shape[1], 1)
    else:
        G = len(np.unique(clusters))

        def slopes(kept: Bool[np.ndarray, " runs"]) -> Float[np.ndarray, " k"]:
            return censored_fit(X[kept], y[kept], censored[kept], taken).slopes

        errors = errors_over_clusters(slopes, clusters)
        free = G - 1
    wide = float(student.ppf(0.975, free)) * errors
    of = zip(names, fit.slopes[1:], wide[1:], strict=True)
    exponents = {name: (float(slope), float(slope - half), float(slope + half)) for name, slope, half in of}
    censored_runs = int(censored.sum())
    return Exponents(exponents, fit.scatter, len(runs), censored_runs, taken, aic, G, counted(outcomes(table)))


def _clusters(runs: pd.DataFrame) -> Shaped[np.ndarray, " runs"] | None:
    """Return the seed of each run, or None unless runs share seeds."""
    if "seed" not in runs or runs["seed"].isna().any():
        return None
    seeds = runs["seed"].to_numpy()
    return seeds if 1 < len(np.unique(seeds)) < len(seeds) else None
