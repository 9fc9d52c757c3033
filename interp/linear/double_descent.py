"""Double descent where it can be computed: over capacity, samples and epochs, beside its theory and without its causes.

isotropic          least squares over the aspect ratio, simulated, and its closed-form risk (Hastie et al., 2019)
random_features    capacity, samples, noise and ridge, the optimally tuned ridge too; bias, variance and noise
ensembles          several fits of random features averaged, and the part of the error that this removes
removals           three ways to remove the peak (Schaeffer et al., 2023)
epoch_wise         a second descent over training time, and two ways to remove it (Heckel and Yilmaz, 2020)
descents           threshold, minimum, peak and second descent of any curve

Errors here are mean squares over unseen inputs, without the noise of their labels, and not halved.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import pandas as pd
from jaxtyping import Float

from interp.arguments import Numbers, at_least_zero, finite, given, number, random_seed, real, room_for, sizes, whole
from interp.computing import computing
from interp.console import progress_bar
from interp.errors import ConfigError
from interp.linear.problems import RidgeProblem, gaussian_problem
from interp.linear.ridge import trajectory
from interp.linear.steps import log_steps
from interp.printed import Printed
from interp.threads import on_one_blas_thread, side_by_side, wanted

Ridge = float | Literal["tuned"]
RATIOS = (0.1, 0.2, 0.35, 0.5, 0.65, 0.8, 0.9, 0.95, 1.05, 1.1, 1.25, 1.5, 2.0, 3.0, 4.5, 7.0)
WIDTHS = (10, 20, 40, 70, 100, 130, 160, 180, 190, 200, 210, 220, 250, 300, 400, 700, 1_200, 2_000)
_MOST_DRAWS = 1_000_000
TUNED_RIDGES = tuple(float(ridge) for ridge in np.geomspace(1e-6, 10, 36))


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
    """Least squares on isotropic Gaussian inputs: the simulated risk, and the theory's for n → ∞; a row a ratio.

    n         samples
    ratios    γ = parameters ÷ samples; each is rounded to a whole number of parameters
    noise     σ, the standard deviation of the label noise
    ridge     λ of ½n⁻¹‖Xθ − y‖² + ½λ‖θ‖²; 0 is the fit of least norm, "tuned" is σ²γ/r², at which the risk is least
    trials    draws of samples, teacher and noise at each ratio
    signal    r = ‖θ*‖
    threads   how many trials to fit at a time, each on one thread; by default as many as torch uses. Results do not
              depend on it.

    Columns: ratio, parameters, ridge, risk (the mean of ‖θ̂ − θ*‖²) and its standard_error, train_error, theory.
    The theory is `isotropic_risk`. Raises ConfigError for sizes below 1 and negative noise or ridge.
    """
    n, trials = whole("n", n, 1), whole("trials", trials, 2, _MOST_DRAWS + 1)
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
        theta = _fit(X, y, penalty)
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
            while len(found) < trials:  # drawn one after another, so that the numbers are those of one thread
                some = [drawn(m) for _ in range(min(workers, trials - len(found)))]
                found += pool.map(errors, some, [penalty] * len(some))
            risks, train_errors = np.array(found).T
            rows.append(
                {
                    "ratio": m / n, "parameters": m, "ridge": penalty, "risk": risks.mean(),
                    "standard_error": _standard_error(risks), "train_error": train_errors.mean(),
                    "theory": isotropic_risk(m / n, noise, penalty, signal),
                }
            )  # fmt: skip
            if bar:
                bar.at(done)
    return pd.DataFrame(rows)


@computing()
def isotropic_risk(ratio: float, noise: float, ridge: float = 0.0, signal: float = 1.0) -> float:
    """The risk E‖θ̂ − θ*‖² of isotropic least squares for n → ∞ at parameters ÷ samples = ratio (Hastie et al., 2019).

    Without ridge σ²γ/(1−γ) for γ < 1 and r²(1−1/γ) + σ²/(γ−1) for γ > 1, infinite at 1. With it λ²r²m' + σ²γ(m − λm'),
    where m(−λ) is the Stieltjes transform of the Marchenko–Pastur law and m' its derivative.
    """
    gamma, variance = number("ratio", ratio, above=0), at_least_zero("noise", noise) ** 2
    power, ridge = at_least_zero("signal", signal) ** 2, at_least_zero("ridge", ridge)
    middle = 1 - gamma + ridge
    root = math.hypot(middle, 2 * math.sqrt(gamma * ridge))
    if not root:
        return math.inf if variance else 0.0
    # m solves γλm² + (1 − γ + λ)m = 1. With u = λm and that equation both parts lose their differences of large
    # numbers, and λ = 0 is no special case.
    u = 2 * ridge / (middle + root) if middle > 0 else (root - middle) / (2 * gamma)
    return (power * u * (gamma * u + ridge) + variance * gamma * (1 - u)) / root


@computing()
def random_features(
    widths: int | Sequence[int] = (
        10,
        20,
        40,
        70,
        100,
        130,
        160,
        180,
        190,
        200,
        210,
        220,
        250,
        300,
        400,
        700,
        1200,
        2000,
    ),
    samples: int | Sequence[int] = 200,
    noise: float = 0.3,
    ridge: Ridge | Sequence[Ridge] = 0.0,
    d: int = 30,
    draws: int = 20,
    seed: int = 0,
    test_samples: int = 1_000,
    progress: bool = True,
) -> pd.DataFrame:
    """Regression on m ReLU random features of n samples: test error over capacity, samples, noise and ridge.

    Inputs x ~ N(0, I_d), features relu(Wx)/√m with W [m, d] of entries N(0, 1/d), labels βᵀx + σε with ‖β‖ = 1.

    widths, samples   m and n, one or several of each; a row a pair and ridge
    noise             σ, the standard deviation of the label noise
    ridge             λ of ½n⁻¹‖Φθ − y‖² + ½λ‖θ‖²; 0 is the fit of least norm, "tuned" at each pair the best of
                      `TUNED_RIDGES`, by its test error. Of several, each has its rows, in this order; they cost little
                      more than one
    draws             of samples and features; a draw's samples and features are the first ones of a longer list

    Columns: width, samples, ridge; test_error with its standard_error over the draws, and train_error, both averaged
    over the label noise exactly; and test_error's three parts: bias (the square of what the mean over draws is off, an
    unbiased estimate, so it may fall under 0 where the variance is large), variance (over draws, without label noise),
    noise_error (the label noise that was fitted). Where n = m the average over draws does not settle without ridge:
    there, more draws give a higher peak.
    Raises ConfigError for sizes below 1 and negative noise or ridge.
    """
    all_widths, all_samples = sizes("widths", widths), sizes("samples", samples)
    noise, d, draws = at_least_zero("noise", noise), whole("d", d, 1), whole("draws", draws, 2, _MOST_DRAWS + 1)
    asked = [
        TUNED_RIDGES if isinstance(one, str) and one == "tuned" else (at_least_zero("ridge", one),)
        for one in (ridge if isinstance(ridge, list | tuple) else [ridge])
    ]
    if not asked:
        raise ConfigError("ridge must name at least one ridge; got none.")
    ridges = np.concatenate(asked)
    ends = np.cumsum([len(some) for some in asked])
    seed, test_samples = random_seed(seed), whole("test_samples", test_samples, 1)
    room_for("the draws", draws, max(all_samples) + max(all_widths), d)
    room_for("the predictions", draws, len(ridges), test_samples)
    room_for("the features", max(*all_samples, test_samples), max(all_widths))
    X_test, beta = _test_inputs(seed, test_samples, d)
    truth = X_test @ beta
    drawn = [
        (_inputs(seed, draw, max(all_samples), d), _directions(seed, draw, max(all_widths), d)) for draw in range(draws)
    ]
    pairs = [(n, m) for n in all_samples for m in all_widths]
    rows: list[list[dict[str, float]]] = [[] for _ in pairs]

    def fits(place: int) -> Iterator[int]:
        n, m = pairs[place]
        predictions = np.empty((draws, len(ridges), len(truth)))
        train, fitted_noise = np.empty((2, draws, len(ridges)))
        for draw, (X, W) in enumerate(drawn):
            Phi, Phi_test = _relu_features(X[:n], W[:m]), _relu_features(X_test, W[:m])
            U, s, Vt = _svd(Phi)
            along = Phi_test @ Vt.T
            squares = (along**2).mean(0)
            targets = X[:n] @ beta
            reached = U.T @ targets
            outside = targets @ targets - reached @ reached if n > len(s) else 0.0
            for i, penalty in enumerate(n * ridges):
                gain = s / (s**2 + penalty)
                predictions[draw, i] = along @ (gain * reached)
                fitted_noise[draw, i] = noise**2 * squares @ gain**2
                left = penalty / (s**2 + penalty)  # of each direction that the fit can reach
                train[draw, i] = max(
                    0.0,
                    (left**2 @ reached**2 + outside + noise**2 * ((left**2).sum() + n - len(s))) / n,
                )
            yield 1
        errors = ((predictions - truth) ** 2).mean(2) + fitted_noise
        for some, end in zip(asked, ends, strict=True):
            start = int(end) - len(some)
            best = start + int(errors[:, start:end].mean(0).argmin())
            variance = predictions[:, best].var(axis=0, ddof=1).mean()
            off = ((predictions[:, best].mean(0) - truth) ** 2).mean()
            rows[place].append({
                "width": m, "samples": n, "ridge": ridges[best], "test_error": errors[:, best].mean(),
                "standard_error": _standard_error(errors[:, best]), "train_error": train[:, best].mean(),
                "bias": off - variance / draws, "variance": variance, "noise_error": fitted_noise[:, best].mean(),
            })  # fmt: skip

    with progress_bar("random features", "fits", len(pairs) * draws, show=progress) as bar:
        jobs = [fits(place) for place in range(len(pairs))]
        side_by_side(jobs, wanted(None), bar.at if bar else None)
    return pd.DataFrame([own[i] for i in range(len(asked)) for own in rows])


def _test_inputs(seed: int, n: int, d: int) -> tuple[Float[np.ndarray, "n d"], Float[np.ndarray, " d"]]:
    """Draw the inputs to test on, which all draws share, and β of norm 1."""
    rng = np.random.default_rng([seed, 0])
    X, beta = rng.standard_normal((n, d)), rng.standard_normal(d)
    return X, beta / np.linalg.norm(beta)


def _inputs(seed: int, draw: int, n: int, d: int) -> Float[np.ndarray, "n d"]:
    return np.random.default_rng([seed, 1 + draw, 0]).standard_normal((n, d))


def _directions(seed: int, draw: int, m: int, d: int, member: int = 0) -> Float[np.ndarray, "m d"]:
    """Draw √d·W of one network of random features."""
    return np.random.default_rng([seed, 1 + draw, 1 + member]).standard_normal((m, d))


def _relu_features(x: Float[np.ndarray, "n d"], W: Float[np.ndarray, "m d"]) -> Float[np.ndarray, "n m"]:
    return np.maximum(x @ W.T, 0) / math.sqrt(W.size)


@computing()
def ensembles(
    widths: int | Sequence[int] = WIDTHS,
    samples: int = 200,
    noise: float = 0.3,
    ridge: float = 1e-6,
    d: int = 30,
    members: float | Sequence[float] = (1, 2, 4, 8, math.inf),
    drawn: int = 8,
    draws: int = 10,
    seed: int = 0,
    test_samples: int = 1_000,
    progress: bool = True,
) -> pd.DataFrame:
    """Fits of independent random features to the same samples, averaged: test error over width, by how many there are.

    Inputs, features and labels are those of `random_features`. Given the samples, the predictions of the members are
    independent draws, so that k of them averaged have the expected test error E₁ − (1 − 1/k)·V, where E₁ is that of one
    and V the variance of its predictions over the features, averaged over test inputs. This is exact at every width
    and ridge. What is left for k → ∞, E₁ − V, is the error of the mean over all features.

    widths     m, one or several; a row for each width and number of members
    samples    n
    noise      σ, the standard deviation of the label noise, over which errors are averaged exactly
    ridge      λ of ½n⁻¹‖Φθ − y‖² + ½λ‖θ‖². With λ = 0 and m = n neither E₁ nor V is finite, and averages do not settle
    members    k, one or several; math.inf for the mean over all features
    drawn      how many members are fitted, from which E₁ and V are estimated without bias. E₁ − (1 − 1/k)·V of the
               estimates is the mean error over all choices of k of them, for k up to `drawn`
    draws      of samples

    Columns: width, samples, ridge, members; test_error, E₁ − (1 − 1/k)·V, with its standard_error over the draws of
    samples; variance, V, with its variance_standard_error; wide_limit, the test error for m → ∞ with these samples,
    which is the same for every k: there V is 0, and each member is kernel ridge regression with `relu_kernel` and the
    same λ. At a finite width the mean over all features is another function than that.
    Estimates for k > `drawn` may fall below 0.
    Raises ConfigError for sizes below 1, fewer than two draws or members drawn, and negative noise or ridge.
    """
    all_widths, n, d = sizes("widths", widths), whole("samples", samples, 1), whole("d", d, 1)
    noise, ridge = at_least_zero("noise", noise), at_least_zero("ridge", ridge)
    counts = _member_counts(members)
    drawn, draws = whole("drawn", drawn, 2, _MOST_DRAWS + 1), whole("draws", draws, 2, _MOST_DRAWS + 1)
    seed, test_samples = random_seed(seed), whole("test_samples", test_samples, 1)
    room_for("the draws", draws, n + drawn * max(all_widths), d)
    room_for("the features", max(n, test_samples), max(n, *all_widths))
    X_test, beta = _test_inputs(seed, test_samples, d)
    truth = X_test @ beta
    found = np.empty((len(all_widths), draws, 2))  # E₁ and V
    limits = np.empty(draws)

    def error(solution: Float[np.ndarray, "t n"], targets: Float[np.ndarray, " n"]) -> float:
        """Return the test error of predictions that are `solution` times the labels, averaged over their noise."""
        return float(((solution @ targets - truth) ** 2).mean() + noise**2 * (solution**2).sum() / len(truth))

    def fits(draw: int) -> Iterator[int]:
        X = _inputs(seed, draw, n, d)
        targets = X @ beta
        kernel = relu_kernel(X, X) + n * ridge * np.eye(n)
        limits[draw] = error(relu_kernel(X_test, X) @ np.linalg.pinv(kernel, hermitian=True), targets)
        directions = [_directions(seed, draw, max(all_widths), d, member) for member in range(drawn)]
        for place, m in enumerate(all_widths):
            mean, errors = np.zeros((len(truth), n)), []
            for W in directions:
                U, s, Vt = _svd(_relu_features(X, W[:m]))
                solution = (_relu_features(X_test, W[:m]) @ Vt.T * (s / (s**2 + n * ridge))) @ U.T
                errors.append(error(solution, targets))
                mean += solution / drawn
                yield 1
            one = float(np.mean(errors))
            # All that were drawn, averaged, have the error E₁ − (1 − 1/drawn)·V.
            found[place, draw] = one, (one - error(mean, targets)) * drawn / (drawn - 1)

    with progress_bar("ensembles", "fits", draws * len(all_widths) * drawn, show=progress) as bar:
        side_by_side([fits(draw) for draw in range(draws)], wanted(None), bar.at if bar else None)
    rows = []
    for m, (ones, variances) in zip(all_widths, found.transpose(0, 2, 1), strict=True):
        for k in counts:
            errors = ones - (1 - 1 / k) * variances
            rows.append(
                {
                    "width": m, "samples": n, "ridge": ridge, "members": k, "test_error": errors.mean(),
                    "standard_error": _standard_error(errors), "variance": variances.mean(),
                    "variance_standard_error": _standard_error(variances), "wide_limit": limits.mean(),
                }
            )  # fmt: skip
    return pd.DataFrame(rows)


def _member_counts(members: Any) -> list[float]:
    """Return one number of members or several, each whole and at least 1, or infinite."""
    several = (
        isinstance(members, list | tuple | range | np.ndarray | pd.Series) and getattr(members, "shape", None) != ()
    )
    listed = list(members) if several else [members]
    if not listed:
        raise ConfigError("members must name at least one number of members; got none.")
    # The column `members` of the result holds floats, and may be given again.
    known = [isinstance(k, float) and k >= 1 and (math.isinf(k) or k.is_integer()) for k in listed]
    return [float(k if ok else whole("each of members", k, 1)) for k, ok in zip(listed, known, strict=True)]


@computing()
def relu_kernel(x: Float[np.ndarray, "a d"], z: Float[np.ndarray, "b d"]) -> Float[np.ndarray, "a b"]:
    """E[relu(wᵀx) relu(wᵀz)] over w ~ N(0, I/d), to which ReLU random features converge (Cho and Saul, 2009).

    It is ‖x‖‖z‖ (sin θ + (π − θ) cos θ) / (2πd), with θ the angle between x and z. Raises ConfigError for arrays that
    are no matrices of equally many columns.
    """
    x, z = finite("x", x, 2), finite("z", z, 2)
    if x.shape[1] != z.shape[1]:
        raise ConfigError(f"x and z must have equally many columns; got {x.shape[1]} and {z.shape[1]}.")
    norms = np.linalg.norm(x, axis=1)[:, None] * np.linalg.norm(z, axis=1)
    cosine = np.divide(x @ z.T, norms, out=np.zeros_like(norms), where=norms > 0).clip(-1, 1)
    angle = np.arccos(cosine)
    return norms * (np.sin(angle) + (math.pi - angle) * cosine) / (2 * math.pi * x.shape[1])


REMOVALS = ("as it is", "small singular values cut", "test features without them", "no residuals")


@computing()
def diabetes() -> tuple[Float[np.ndarray, "442 10"], Float[np.ndarray, " 442"]]:
    """scikit-learn's bundled diabetes data (Efron et al., 2004): ten features and a target of 442 patients.

    The features are turned and scaled to have unit covariance, so that a singular value is small only because few
    patients were seen; the target has mean 0 and variance 1.
    """
    from sklearn.datasets import load_diabetes

    X, y = load_diabetes(return_X_y=True)
    U, _, _ = np.linalg.svd(X - X.mean(0), full_matrices=False)
    return U * math.sqrt(len(U)), (y - y.mean()) / y.std()


@computing()
@on_one_blas_thread
def removals(
    features: Float[np.ndarray, "N m"],
    targets: Float[np.ndarray, " N"],
    samples: Sequence[int],
    cutoff: float = 0.3,
    draws: int = 50,
    seed: int = 0,
    progress: bool = True,
) -> pd.DataFrame:
    """Least squares on the first samples of shuffled data, with each cause of the peak taken away in turn.

    The best model is the fit to all N samples. The error of a fit to n of them is, on a test sample, the sum over the
    singular directions v of their features of (1/σ)·(test feature along v)·(residuals of the best model along u), and
    what lies outside of them all (Schaeffer et al., 2023). All three factors must be large for a peak; `condition` says
    which one is gone:

    "small singular values cut"    σ under `cutoff` times the largest are dropped from the fit
    "test features without them"   test features lose their part along those directions, and the targets of the test
                                   what the best model makes of that part
    "no residuals"                 targets to train on are what the best model says
    "as it is"                     nothing

    Columns: samples, condition, test_error (the mean square on the samples not trained on; the median over `draws`
    shuffles, since at the threshold the mean does not exist), low and high (its quartiles), train_error.
    Raises ConfigError for arrays that do not fit one another, no samples left to test on, or a cutoff outside 0 to 1.
    """
    features, targets = finite("features", features, 2), finite("targets", targets, 1)
    total = len(features)
    if len(targets) != total:
        raise ConfigError(f"targets must have an entry for each of the {total} rows of features; got {len(targets)}.")
    counts = sizes("samples", samples)
    if max(counts) >= total:
        raise ConfigError(f"samples must leave at least one of the {total} to test on; got {max(counts)}.")
    number("the largest of features", np.abs(features).max())
    cutoff = number("cutoff", cutoff, above=0, below=1)
    draws = whole("draws", draws, 2, _MOST_DRAWS + 1)
    room_for("the shuffles", draws, total)
    best = np.linalg.lstsq(features, targets)[0]
    rng = np.random.default_rng(random_seed(seed))
    orders = [rng.permutation(total) for _ in range(draws)]
    rows = []
    with progress_bar("removals", "sizes", len(counts), show=progress) as bar:
        for done, n in enumerate(counts, 1):
            errors = {name: np.empty((len(orders), 2)) for name in REMOVALS}
            for draw, order in enumerate(orders):
                train, test = order[:n], order[n:]
                X, y, X_test, y_test = features[train], targets[train], features[test], targets[test]
                _, s, Vt = _svd(X)
                small = Vt[s < cutoff * s.max(initial=0.0)]
                kept = _fit(X, y, 0.0, cutoff)
                without = X_test - (X_test @ small.T) @ small
                plain = _fit(X, y)
                for name, theta, inputs, wanted, fitted in (
                    (REMOVALS[0], plain, X_test, y_test, y),
                    (REMOVALS[1], kept, X_test, y_test, y),
                    (REMOVALS[2], plain, without, y_test - (X_test - without) @ best, y),
                    (REMOVALS[3], _fit(X, X @ best), X_test, y_test, X @ best),
                ):
                    errors[name][draw] = ((inputs @ theta - wanted) ** 2).mean(), ((X @ theta - fitted) ** 2).mean()
            for name, found in errors.items():
                low, middle, high = np.quantile(found[:, 0], [0.25, 0.5, 0.75])
                rows.append(
                    {
                        "samples": n, "condition": name, "test_error": middle, "low": low, "high": high,
                        "train_error": float(np.median(found[:, 1])),
                    }
                )  # fmt: skip
            if bar:
                bar.at(done)
    return pd.DataFrame(rows)


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
    """Linear regression by gradient descent on two groups of features, large and small, exact at every step.

    The large features are learned first, and their noise too; the small ones follow later, and their signal brings the
    error down again: a second descent over time (Heckel and Yilmaz, 2020; Stephenson and Lee, 2021). A step size for
    each group, in proportion to 1/scale², makes both learn at once, and one descent is left; early stopping takes the
    least of either curve.

    n          samples
    features   how many there are in each group
    scales     their standard deviations; the teacher's outputs have variance ½ from each group
    noise      standard deviation of the label noise
    steps      the last step; about 200 up to it at equal ratios are in the frame

    Columns: step; then for one step size, and with the suffix _per_group: test_error, standard_error over `draws`,
    and train_error. Step sizes are half of the largest stable ones of each draw.
    """
    groups = sizes("features", features, 2)
    spread = finite("scales", scales, 1)
    if len(spread) != 2 or spread.min() <= 0:
        raise ConfigError(
            f"scales must be two numbers above 0, a standard deviation for each group; got {given(scales)}."
        )
    draws = whole("draws", draws, 2, _MOST_DRAWS + 1)
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
            # A step size of 1/scale² for each feature is one step size on features that are divided by their scale.
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


@dataclass(frozen=True, repr=False)
class Descents(Printed):
    """Where a curve of test error falls, rises, and falls again, in units of its complexity axis.

    interpolation_threshold   from here on the train error counts as zero
    first_minimum             the least test error before the peak, and first_minimum_error
    peak                      the test error's most prominent peak, and peak_error
    second_descent            the least test error after the peak, and second_descent_error
    peak_to_minimum           peak_error ÷ first_minimum_error

    A feature that the curve does not have is None; `missing` says why.
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
        """Plain numbers and strings, ready for JSON."""
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
    """Find the descents of any curve: over width, samples, ridge, or the steps of a training.

    rise     a peak stands out by this share of its feet: 0.1 is a tenth above the deeper side's return
    fitted   the train error that counts as zero; by default a thousandth of the largest

    Infinite test errors, as a theory has at its threshold, are peaks. Without train errors (None) there is no
    threshold. Raises ConfigError for fewer than three points, lengths that differ, nan, a complexity named twice, or
    test errors that are all infinite.
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
        missing |= dict.fromkeys(values, f"the test error {falls}")
        least = int(test.argmin())
        values |= {"first_minimum": float(x[least]), "first_minimum_error": float(test[least])}
        del missing["first_minimum"], missing["first_minimum_error"]
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
    """Return the index of the most prominent peak that stands 1 + rise times over the higher of its feet, or None."""
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


def _svd(
    X: Float[np.ndarray, "n m"],
) -> tuple[Float[np.ndarray, "n r"], Float[np.ndarray, " r"], Float[np.ndarray, "r m"]]:
    """Return U, σ and Vᵀ without the singular values that are zero."""
    U, s, Vt = np.linalg.svd(X, full_matrices=False)
    rank = int((s > s.max() * max(X.shape) * np.finfo(float).eps).sum())
    return U[:, :rank], s[:rank], Vt[:rank]


def _fit(
    X: Float[np.ndarray, "n m"], y: Float[np.ndarray, " n"], ridge: float = 0.0, cutoff: float = 0.0
) -> Float[np.ndarray, " m"]:
    """Return the θ of least ½n⁻¹‖Xθ − y‖² + ½λ‖θ‖², and of least norm if there are several; small σ are cut."""
    U, s, Vt = _svd(X)
    kept = s >= cutoff * s.max(initial=0.0)
    return Vt[kept].T @ (s[kept] / (s[kept] ** 2 + len(X) * ridge) * (U[:, kept].T @ y))


def _standard_error(values: Float[np.ndarray, " k"]) -> float:
    return float(values.std(ddof=1) / math.sqrt(len(values)))
