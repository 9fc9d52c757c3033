"""removals(): the peak of least squares on data such as `diabetes`, and without each of its three causes."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
from jaxtyping import Float

from interp.linear.least_squares import MOST_DRAWS, solved, svd_of
from interp.utils.arguments import finite, number, random_seed, room_for, sizes, whole
from interp.utils.console import progress_bar
from interp.utils.errors import ConfigError
from interp.utils.threads import on_one_blas_thread
from interp.utils.torch_state import computing

REMOVALS = ("as it is", "small singular values cut", "test features without them", "no residuals")


@computing()
def diabetes() -> tuple[Float[np.ndarray, "442 10"], Float[np.ndarray, " 442"]]:
    """Return scikit-learn's bundled diabetes data (Efron et al., 2004): ten features and a target of 442 patients.

    The features are rotated and scaled to unit covariance, so that a singular value is small only because few patients
    were seen. The target has mean 0 and variance 1.
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
    """Fit least squares to the first samples of shuffled data, and remove each cause of the peak in turn.

    The best model is the fit to all N samples. On a test sample, the error of a fit to n of them is the sum over the
    singular directions v of their features of (1/σ)·(test feature along v)·(residuals of the best model along u), and a
    part outside of these directions (Schaeffer et al., 2023). All three factors must be large for a peak. `condition`
    names the one that is removed:

        "small singular values cut"    σ under `cutoff` times the largest are dropped from the fit
        "test features without them"   test features lose their part along those directions, and test targets the output
                                       of the best model on that part
        "no residuals"                 train targets are the outputs of the best model
        "as it is"                     none

    Args:
        features: [N, m].
        targets: [N].
        samples: n, several.
        cutoff: The share of the largest singular value below which another counts as small.
        draws: Shuffles.
        seed: The seed of the shuffles.
        progress: Show a progress bar.

    Returns:
        Columns samples, condition, test_error (the mean square on the samples not trained on; the median over shuffles,
        since at the threshold the mean does not exist), low and high (its quartiles), train_error.

    Raises:
        ConfigError: The arrays do not fit one another, no samples are left to test on, or `cutoff` is outside 0 to 1.
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
    draws = whole("draws", draws, 2, MOST_DRAWS + 1)
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
                _, s, Vt = svd_of(X)
                small = Vt[s < cutoff * s.max(initial=0.0)]
                kept = solved(X, y, 0.0, cutoff)
                without = X_test - (X_test @ small.T) @ small
                plain = solved(X, y)
                for name, theta, inputs, wanted, fitted in (
                    (REMOVALS[0], plain, X_test, y_test, y),
                    (REMOVALS[1], kept, X_test, y_test, y),
                    (REMOVALS[2], plain, without, y_test - (X_test - without) @ best, y),
                    (REMOVALS[3], solved(X, X @ best), X_test, y_test, X @ best),
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
