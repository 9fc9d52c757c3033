"""Size of the weights."""

from __future__ import annotations

from collections.abc import Iterable

from jaxtyping import Shaped
from torch import Tensor


def sum_squared_weights(parameters: Iterable[Shaped[Tensor, "..."]]) -> float:
    """Σ of squares over all parameters, W_pos and biases included (Nanda et al., 2023)."""
    return sum(float(parameter.detach().double().square().sum()) for parameter in parameters)
