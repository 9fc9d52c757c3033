"""Size of the weights, and their likeness to others."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from jaxtyping import Float, Shaped
from torch import Tensor

from interp.arguments import checks_arrays, given
from interp.errors import ConfigError


def sum_squared_weights(parameters: Iterable[Shaped[Tensor, "..."]]) -> float:
    """Σ of squares over all parameters, W_pos and biases included (Nanda et al., 2023)."""
    try:
        parts: list[Any] = list(parameters)
    except TypeError:
        parts = [parameters]
    if not all(isinstance(one, Tensor) for one in parts):
        raise ConfigError(f"parameters must be torch tensors; got {given(parameters)}.")
    return sum(float(parameter.detach().cpu().double().square().sum()) for parameter in parts)


@checks_arrays
def alignment(W: Float[Tensor, "n m"], other: Float[Tensor, "n m"]) -> float:
    """Cosine similarity of two matrices, entry by entry: 1 where they differ by a positive factor. NaN for zeros."""
    one, two = W.double().flatten(), other.double().flatten()
    scale = float(one.norm() * two.norm())
    return float(one @ two) / scale if scale else float("nan")
