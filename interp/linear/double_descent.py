"""Double descent of linear regression over capacity, samples and epochs; the public names of several modules.

    isotropic          least squares over the aspect ratio, simulated, and its closed-form risk (Hastie et al., 2019)
    epoch_wise         a second descent over training time, and two ways to remove it (Heckel and Yilmaz, 2020)
    random_features    capacity, samples, noise and ridge, the best ridge too; bias, variance and noise
    ensembles          several fits of random features averaged, and the part of the error that this removes
    removals           three ways to remove the peak (Schaeffer et al., 2023)
    descents           threshold, minimum, peak and second descent of any curve

The first two are defined here. Errors are mean squares over unseen inputs, without the noise of their labels, and not
halved.
"""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pandas as pd

from interp.linear.least_squares import MOST_DRAWS, TUNED_RIDGES as TUNED_RIDGES, Ridge, solved, standard_error
from interp.linear.peaks import Descents as Descents, descents as descents
from interp.linear.problems import RidgeProblem, gaussian_problem
from interp.linear.random_features import (
    WIDTHS as WIDTHS,
    ensembles as ensembles,
    random_features as random_features,
    relu_kernel as relu_kernel,
)
from interp.linear.removals import REMOVALS as REMOVALS, diabetes as diabetes, removals as removals
from interp.linear.ridge import trajectory
from interp.linear.steps import log_steps
from interp.utils.arguments import Numbers, at_least_zero, finite, given, number, random_seed, room_for, sizes, whole
from interp.utils.console import progress_bar
from interp.utils.errors import ConfigError
from interp.utils.threads import on_one_blas_thread, wanted
from interp.utils.torch_state import computing

RATIOS = (0.1, 0.2, 0.35, 0.5, 0.65, 0.8, 0.9, 0.95, 1.05, 1.1, 1.25, 1.5, 2.0, 3.0, 4.5, 7.0)


@computing()
@on_one_blas_thread
def isotropic(
    n: int = 200,
    ratios: float | Numbers = RATIOS,
    noise: float = 0.5,
    ridge: Ridge = 0.0,
    trials: int = 50,
    seed: int = 0,
    signal: float = 1.0,
    progress: bool = True,
    threads: int | None = None,
) -> pd.DataFrame:
    """Fit least squares on isotropic Gaussian inputs; return the simulated risk at each ratio, beside the theory.

    Args:
        n: Samples.
        ratios: γ = parameters ÷ samples; each is rounded to a whole number of parameters.
        noise: σ, the standard deviation of the label noise.
        ridge: λ of ½n⁻¹‖Xθ − y‖² + ½λ‖θ‖²; 0 is the fit of least norm, "tuned" is σ²γ/r², at which the risk is least.
        trials: Draws of samples, teacher and noise at each ratio.
        seed: The seed of all draws.
        signal: r = ‖θ*‖.
        progress: Show a progress bar.
        threads: How many trials to fit at a time, each on one thread; by default as many as torch uses. Results do not
            depend on it.

    Returns:
        Columns ratio, parameters, ridge, risk (the mean of ‖θ̂ − θ*‖²) and its standard_error, train_error, and theory,
        which is `isotropic_risk`.

    Raises:
        ConfigError: A size is below 1, or noise or ridge negative.
    """
    n, trials = whole("n", n, 1), whole("trials", trials, 2, MOST_DRAWS + 1)
    noise, signal = at_least_zero("noise", noise), at_least_zero("signal", signal)
    tuned = isinstance(ridge, str) and ridge == "tuned"
    if tuned and not signal:
        raise ConfigError(
            'ridge="tuned" needs signal > 0, since the tuned ridge is σ²γ/r²; got signal=0. Give a larger signal, or a '
            "number as ridge."
        )
    fixed = None if tuned else at_least_zero("ridge", ridge)
    gammas = np.atleast_1d(finite("ratios", ratios, 0, 1))
    if gammas.min() <= 0:
        raise ConfigError(f"each of ratios, parameters ÷ samples, must be above 0; got {gammas.min():g}.")
    room_for("inputs [samples, parameters]", n, round(gammas.max() * n))
    rng = np.random.default_rng(random_seed(seed))
    workers = wanted(threads)

    def drawn(m: int) -> tuple[Any, Any, Any]:
        X = rng.standard_normal((n, m))
        teacher = rng.standard_normal(m)
        teacher *= signal / np.linalg.norm(teacher)
        return X, teacher, X @ teacher + noise * rng.standard_normal(n)

    def errors(trial: tuple[Any, Any, Any], penalty: float) -> tuple[float, float]:
        X, teacher, y = trial
        theta = solved(X, y, penalty)
        return ((theta - teacher) ** 2).sum(), ((X @ theta - y) ** 2).mean()

    rows = []
    with (
        progress_bar("isotropic", "ratios", len(gammas), show=progress) as bar,
        ThreadPoolExecutor(workers, thread_name_prefix="interp") as pool,
    ):
        for done, gamma in enumerate(gammas, 1):
            m = max(1, round(gamma * n))
            penalty = noise**2 * m / n / signal**2 if fixed is None else fixed
            found: list[tuple[float, float]] = []
            while len(found) < trials:  # draws in this thread, so that the numbers do not depend on `workers`
                some = [drawn(m) for _ in range(min(workers, trials - len(found)))]
                found += pool.map(errors, some, [penalty] * len(some))
            risks, train_errors = np.array(found).T
            rows.append(
                {
                    "ratio": m / n, "parameters": m, "ridge": penalty, "risk": risks.mean(),
                    "standard_error": standard_error(risks), "train_error": train_errors.mean(),
                    "theory": isotropic_risk(m / n, noise, penalty, signal),
                }
            )  # fmt: skip
            if bar:
                bar.at(done)
    return pd.DataFrame(rows)


@computing()
def isotropic_risk(ratio: float, noise: float, ridge: float = 0.0, signal: float = 1.0) -> float:
    """Return the risk E‖θ̂ − θ*‖² of isotropic least squares for n → ∞ at a ratio γ of parameters to samples.

    Without ridge it is σ²γ/(1−γ) for γ < 1 and r²(1−1/γ) + σ²/(γ−1) for γ > 1, infinite at 1. With ridge it is
    λ²r²m' + σ²γ(m − λm'), where m(−λ) is the Stieltjes transform of the Marchenko–Pastur law and m' its derivative
    (Hastie et al., 2019).
    """
    gamma, variance = number("ratio", ratio, above=0), at_least_zero("noise", noise) ** 2
    power, ridge = at_least_zero("signal", signal) ** 2, at_least_zero("ridge", ridge)
    middle = 1 - gamma + ridge
    root = math.hypot(middle, 2 * math.sqrt(gamma * ridge))
    if not root:
        return math.inf if variance else 0.0
    # m solves γλm² + (1 − γ + λ)m = 1. Written in u = λm, neither part is a difference of large numbers, and λ = 0 is
    # no special case.
    u = 2 * ridge / (middle + root) if middle > 0 else (root - middle) / (2 * gamma)
    return (power * u * (gamma * u + ridge) + variance * gamma * (1 - u)) / root


@computing()
@on_one_blas_thread
def epoch_wise(
    n: int = 200,
    features: tuple[int, int] = (120, 60),
    scales: tuple[float, float] = (1.0, 0.1),
    noise: float = 0.25,
    steps: int = 100_000,
    draws: int = 20,
    seed: int = 0,
    progress: bool = True,
) -> pd.DataFrame:
    """Return the errors of linear regression by gradient descent on large and small features, exact at every step.

    The large features are learned first, with their noise. The small ones follow, and their signal lowers the error
    again: a second descent over time (Heckel and Yilmaz, 2020; Stephenson and Lee, 2021). With a step size for each
    group, in proportion to 1/scale², both learn at once, and one descent is left. Early stopping takes the least of
    either curve.

    Args:
        n: Samples.
        features: The number of features in each group.
        scales: The standard deviation of each group; the teacher's outputs have variance ½ from each.
        noise: The standard deviation of the label noise.
        steps: The last step; the frame has about 200 up to it, at equal ratios.
        draws: Draws of samples, teacher and noise.
        seed: The seed of all draws.
        progress: Show a progress bar.

    Returns:
        Columns step; then for one step size, and with the suffix _per_group: test_error, standard_error over `draws`,
        and train_error. Step sizes are half of the largest stable ones of each draw.
    """
    groups = sizes("features", features, 2)
    spread = finite("scales", scales, 1)
    if len(spread) != 2 or spread.min() <= 0:
        raise ConfigError(
            f"scales must be two numbers above 0, a standard deviation for each group; got {given(scales)}."
        )
    draws = whole("draws", draws, 2, MOST_DRAWS + 1)
    room_for("features [n, m]", whole("n", n, 1), sum(groups))
    per_feature = np.repeat(spread, groups)
    signal = np.repeat(1 / np.sqrt(2 * np.array(groups)), groups) / per_feature
    rng = np.random.default_rng(random_seed(seed))
    errors: dict[str, list[np.ndarray]] = {}
    recorded = np.unique(np.r_[0, log_steps(steps)])
    with progress_bar("epoch-wise", "draws", draws, show=progress) as bar:
        for draw in range(draws):
            problem = gaussian_problem(
                n, len(per_feature), per_feature**2, noise, signal * rng.choice([-1.0, 1.0], len(signal)),
                seed=int(rng.integers(2**32)),
            )  # fmt: skip
            assert problem.teacher is not None
            # A step size of 1/scale² for each feature equals one step size on features divided by their scale.
            scaled = RidgeProblem(
                problem.features / per_feature, problem.targets, problem.teacher * per_feature,
                problem.covariance / per_feature**2,
            )  # fmt: skip
            for suffix, which in (("", problem), ("_per_group", scaled)):
                path = trajectory(which, recorded, weight_decay=0.0, init_scale=0.0)
                for kind in ("test", "train"):
                    errors.setdefault(f"{kind}_error{suffix}", []).append(2 * path[f"{kind}_loss"].to_numpy())
            if bar:
                bar.at(draw + 1)
    columns: dict[str, np.ndarray] = {"step": recorded}
    for suffix in ("", "_per_group"):
        found = np.array(errors[f"test_error{suffix}"])
        columns[f"test_error{suffix}"] = found.mean(0)
        columns[f"standard_error{suffix}"] = found.std(0, ddof=1) / math.sqrt(draws)
        columns[f"train_error{suffix}"] = np.mean(errors[f"train_error{suffix}"], axis=0)
    return pd.DataFrame(columns)
