"""Ridge regression by the singular values of its features, and standard errors of means."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
from jaxtyping import Float

Ridge = float | Literal["tuned"]
MOST_DRAWS = 1_000_000
TUNED_RIDGES = tuple(float(ridge) for ridge in np.geomspace(1e-6, 10, 36))


def svd_of(
    X: Float[np.ndarray, "n m"],
) -> tuple[Float[np.ndarray, "n r"], Float[np.ndarray, " r"], Float[np.ndarray, "r m"]]:
    """Return U, σ and Vᵀ without the singular values that are zero."""
    U, s, Vt = np.linalg.svd(X, full_matrices=False)
    rank = int((s > s.max() * max(X.shape) * np.finfo(float).eps).sum())
    return U[:, :rank], s[:rank], Vt[:rank]


def solved(
    X: Float[np.ndarray, "n m"], y: Float[np.ndarray, " n"], ridge: float = 0.0, cutoff: float = 0.0
) -> Float[np.ndarray, " m"]:
    """Return the θ of least ½n⁻¹‖Xθ − y‖² + ½λ‖θ‖², and of least norm if there are several; small σ are cut."""
    U, s, Vt = svd_of(X)
    kept = s >= cutoff * s.max(initial=0.0)
    return Vt[kept].T @ (s[kept] / (s[kept] ** 2 + len(X) * ridge) * (U[:, kept].T @ y))


def standard_error(values: Float[np.ndarray, " k"]) -> float:
    return float(values.std(ddof=1) / math.sqrt(len(values)))
