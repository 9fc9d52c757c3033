"""random_features() and ensembles(): double descent of random ReLU features of a linear teacher."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float

from interp.linear.least_squares import MOST_DRAWS, TUNED_RIDGES, Ridge, standard_error, svd_of
from interp.utils.arguments import at_least_zero, finite, is_zero_dimensional, random_seed, room_for, sizes, whole
from interp.utils.console import progress_bar
from interp.utils.errors import ConfigError
from interp.utils.threads import side_by_side, wanted
from interp.utils.torch_state import computing

WIDTHS = (10, 20, 40, 70, 100, 130, 160, 180, 190, 200, 210, 220, 250, 300, 400, 700, 1_200, 2_000)


@computing()
def random_features(
    widths: int | Sequence[int] = WIDTHS,
    samples: int | Sequence[int] = 200,
    noise: float = 0.3,
    ridge: Ridge | Sequence[Ridge] = 0.0,
    d: int = 30,
    draws: int = 20,
    seed: int = 0,
    test_samples: int = 1_000,
    progress: bool = True,
) -> pd.DataFrame:
    """Fit m ReLU random features to n samples; return test errors over capacity, samples and ridge.

    Inputs are x ~ N(0, I_d), features relu(Wx)/√m with W [m, d] of entries N(0, 1/d), labels βᵀx + σε with ‖β‖ = 1. At
    n = m without ridge the average over draws does not settle: more draws give a higher peak.

    Args:
        widths: m, one or several.
        samples: n, one or several.
        noise: σ, the standard deviation of the label noise.
        ridge: λ of ½n⁻¹‖Φθ − y‖² + ½λ‖θ‖²; 0 is the fit of least norm, "tuned" the best of `TUNED_RIDGES` for each m
            and n by its test error. One or several, which cost little more than one.
        d: Inputs.
        draws: Draws of samples and features; those of any n and m are the first of one longer list.
        seed: The seed of all draws.
        test_samples: Inputs to test on, shared by all draws.
        progress: Show a progress bar.

    Returns:
        A row for each ridge, n and m, in this order, with columns width, samples, ridge; test_error, its standard_error
        over the draws, and train_error, both averaged over the label noise exactly; and the three parts of test_error:
        bias (the squared error of the mean over draws; an unbiased estimate, so it may fall below 0), variance (over
        draws, without label noise) and noise_error (the label noise that was fitted).

    Raises:
        ConfigError: A size is below 1, or noise or ridge negative.
    """
    all_widths, all_samples = sizes("widths", widths), sizes("samples", samples)
    noise, d, draws = at_least_zero("noise", noise), whole("d", d, 1), whole("draws", draws, 2, MOST_DRAWS + 1)
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
            U, s, Vt = svd_of(Phi)
            along = Phi_test @ Vt.T
            squares = (along**2).mean(0)
            targets = X[:n] @ beta
            reached = U.T @ targets
            outside = targets @ targets - reached @ reached if n > len(s) else 0.0
            for i, penalty in enumerate(n * ridges):
                gain = s / (s**2 + penalty)
                predictions[draw, i] = along @ (gain * reached)
                fitted_noise[draw, i] = noise**2 * squares @ gain**2
                left = penalty / (s**2 + penalty)  # of each direction in the row space
                train[draw, i] = max(
                    0.0, (left**2 @ reached**2 + outside + noise**2 * ((left**2).sum() + n - len(s))) / n
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
                "standard_error": standard_error(errors[:, best]), "train_error": train[:, best].mean(),
                "bias": off - variance / draws, "variance": variance, "noise_error": fitted_noise[:, best].mean(),
            })  # fmt: skip

    with progress_bar("random features", "fits", len(pairs) * draws, show=progress) as bar:
        jobs = [fits(place) for place in range(len(pairs))]
        side_by_side(jobs, wanted(None), bar.at if bar else None)
    return pd.DataFrame([own[i] for i in range(len(asked)) for own in rows])


def _test_inputs(seed: int, n: int, d: int) -> tuple[Float[np.ndarray, "n d"], Float[np.ndarray, " d"]]:
    """Draw the inputs to test on, and β of norm 1."""
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
    """Average k fits of independent random features to the same samples; return test errors over width and k.

    Inputs, features and labels are those of `random_features`. Given the samples, the predictions of the members are
    independent draws, so the average of k has the expected test error E₁ − (1 − 1/k)·V, where E₁ is that of one and V
    the variance of its predictions over the features, averaged over test inputs. This is exact at every width and
    ridge. The limit for k → ∞, E₁ − V, is the error of the mean over all features.

    Args:
        widths: m, one or several.
        samples: n.
        noise: σ, the standard deviation of the label noise, over which errors are averaged exactly.
        ridge: λ of ½n⁻¹‖Φθ − y‖² + ½λ‖θ‖². With λ = 0 and m = n neither E₁ nor V is finite, and averages do not settle.
        d: Inputs.
        members: k, one or several; math.inf for the mean over all features.
        drawn: Members that are fitted, from which E₁ and V are estimated without bias. For k up to `drawn` the estimate
            of E₁ − (1 − 1/k)·V is the mean error over all choices of k of them; for larger k it may fall below 0.
        draws: Draws of samples.
        seed: The seed of all draws.
        test_samples: Inputs to test on, shared by all draws.
        progress: Show a progress bar.

    Returns:
        A row for each m and k, with columns width, samples, ridge, members; test_error, E₁ − (1 − 1/k)·V, and its
        standard_error over the draws of samples; variance, V, and its variance_standard_error; wide_limit, the test
        error for m → ∞ with these samples, the same for every k: in this limit V is 0, and each member is kernel ridge
        regression with `relu_kernel` and the same λ. At a finite width the mean over all features differs from it.

    Raises:
        ConfigError: A size is below 1, there are fewer than two draws or members drawn, or noise or ridge is negative.
    """
    all_widths, n, d = sizes("widths", widths), whole("samples", samples, 1), whole("d", d, 1)
    noise, ridge = at_least_zero("noise", noise), at_least_zero("ridge", ridge)
    counts = _member_counts(members)
    drawn, draws = whole("drawn", drawn, 2, MOST_DRAWS + 1), whole("draws", draws, 2, MOST_DRAWS + 1)
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
                U, s, Vt = svd_of(_relu_features(X, W[:m]))
                solution = (_relu_features(X_test, W[:m]) @ Vt.T * (s / (s**2 + n * ridge))) @ U.T
                errors.append(error(solution, targets))
                mean += solution / drawn
                yield 1
            one = float(np.mean(errors))
            # The average of all that were drawn has the error E₁ − (1 − 1/drawn)·V.
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
                    "standard_error": standard_error(errors), "variance": variances.mean(),
                    "variance_standard_error": standard_error(variances), "wide_limit": limits.mean(),
                }
            )  # fmt: skip
    return pd.DataFrame(rows)


def _member_counts(members: Any) -> list[float]:
    """Return the numbers of members as a list, each whole and at least 1, or infinite."""
    several = isinstance(members, list | tuple | range | np.ndarray | pd.Series) and not is_zero_dimensional(members)
    listed = list(members) if several else [members]
    if not listed:
        raise ConfigError("members must name at least one number of members; got none.")
    # The column `members` of a result holds floats, and may be given here.
    known = [isinstance(k, float) and k >= 1 and (math.isinf(k) or k.is_integer()) for k in listed]
    return [float(k if ok else whole("each of members", k, 1)) for k, ok in zip(listed, known, strict=True)]


@computing()
def relu_kernel(x: Float[np.ndarray, "a d"], z: Float[np.ndarray, "b d"]) -> Float[np.ndarray, "a b"]:
    """Return E[relu(wᵀx) relu(wᵀz)] over w ~ N(0, I/d), to which ReLU random features converge (Cho and Saul, 2009).

    It is ‖x‖‖z‖ (sin θ + (π − θ) cos θ) / (2πd), with θ the angle between x and z.

    Raises:
        ConfigError: x and z are not matrices of equally many columns.
    """
    x, z = finite("x", x, 2), finite("z", z, 2)
    if x.shape[1] != z.shape[1]:
        raise ConfigError(f"x and z must have equally many columns; got {x.shape[1]} and {z.shape[1]}.")
    norms = np.linalg.norm(x, axis=1)[:, None] * np.linalg.norm(z, axis=1)
    cosine = np.divide(x @ z.T, norms, out=np.zeros_like(norms), where=norms > 0).clip(-1, 1)
    angle = np.arccos(cosine)
    return norms * (np.sin(angle) + (math.pi - angle) * cosine) / (2 * math.pi * x.shape[1])
