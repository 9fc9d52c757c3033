"""Measures of the weights: size, rank, similarity to those of other checkpoints, principal components, directions."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from interp.measures.registry import NANDA, builtin_measure
from interp.subjects.subject import Subject, not_finite, present
from interp.utils.arguments import checks_arrays, given, whole
from interp.utils.errors import ConfigError
from interp.utils.torch_state import computing


def sum_squared_weights(parameters: Iterable[Shaped[Tensor, "..."]]) -> float:
    """The sum of squares over all parameters, W_pos and biases included (Nanda et al., 2023)."""
    try:
        parts: list[Any] = list(parameters)
    except TypeError:
        parts = [parameters]
    if not all(isinstance(one, Tensor) for one in parts):
        raise ConfigError(f"parameters must be torch tensors; got {given(parameters)}.")
    return sum(float(parameter.detach().cpu().double().square().sum()) for parameter in parts)


@checks_arrays
def alignment(W: Float[Tensor, "n m"], other: Float[Tensor, "n m"]) -> float:
    """Cosine similarity of two matrices as vectors: 1 if they differ by a positive factor, NaN if one is zero."""
    one, two = W.double().flatten(), other.double().flatten()
    scale = float(one.norm() * two.norm())
    return float(one @ two) / scale if scale else float("nan")


def inner_products(states: Iterable[Mapping[str, Shaped[Tensor, "..."]]]) -> dict[str, Float[Tensor, "n n"]]:
    """Return, by parameter, the inner products of n states about their mean; float64.

    Summed over parameters they are those of whole states, from which `principal_components` gives the weights' path.
    """
    rows: dict[str, list[Tensor]] = {}
    for state in states:
        for name, weight in state.items():
            rows.setdefault(name, []).append(weight.detach().cpu().flatten())
    return {name: _products(torch.stack(each).double()) for name, each in rows.items()}


@computing(grad=None)
def _products(x: Float[Tensor, "n d"]) -> Float[Tensor, "n n"]:
    x = x - x.mean(0)  # so that no two large numbers are subtracted later
    return x @ x.T


@checks_arrays
def principal_components(
    products: Float[Tensor, "n n"], many: int = 2
) -> tuple[Float[Tensor, "n {many}"], Float[Tensor, " {many}"]]:
    """Return the coordinates of n points along their first principal components, and the share of variance of each.

    `products` holds the inner products x_i · x_j of the points, from any origin. The sign of a component makes its
    largest coordinate in size positive. Coordinates are 0 along components beyond the rank; shares are NaN if all
    points are the same.
    """
    many = whole("many", many, 1, len(products) + 1)
    centred = products.double() - products.double().mean(0)
    centred = centred - centred.mean(1, keepdim=True)
    values, vectors = torch.linalg.eigh((centred + centred.T) / 2)  # ascending
    values, vectors = values.clamp(min=0).flip(0), vectors.flip(1)[:, :many]
    largest = vectors.gather(0, vectors.abs().argmax(0, keepdim=True))
    return vectors * largest.sign() * values[:many].sqrt(), values[:many] / values.sum()


@computing(grad=None)
def random_direction(weights: Mapping[str, Float[Tensor, "..."]], seed: int) -> dict[str, Float[Tensor, "..."]]:
    """Return a Gaussian direction whose rows have the lengths of the weights' rows ("filter normalization").

    A row runs along the last axis; a bias is one row. So a step of 0.1 changes each row by a tenth of its length,
    whatever its scale (Li et al., 2018).
    """
    generator = torch.Generator().manual_seed(seed)
    found = {}
    for name, weight in weights.items():
        noise = torch.randn(weight.shape, generator=generator, dtype=torch.float64)
        lengths = [one.norm(dim=-1, keepdim=True) if one.ndim else one.abs() for one in (weight.double(), noise)]
        found[name] = (noise * lengths[0] / lengths[1]).to(weight.dtype)
    return found


# ── measures ─────────────────────────────────────────────────────────────────────────────────────────────────────


@builtin_measure(name="sum_squared_weights", title="sum of squares of all parameters", source=NANDA)
def sum_squared_weights_of(subject: Subject) -> float:
    total = sum_squared_weights(subject.parameters)
    if not math.isfinite(total):
        raise not_finite(subject)
    return total


@builtin_measure(title="cosine similarity of W_E with that of the run's last checkpoint", on_request=True)
def embedding_alignment(subject: Subject) -> float:
    return present(alignment(subject.W_E, subject.final.W_E), "W_E is zero")


@builtin_measure(title="cosine similarity of W_L with that of the run's last checkpoint", on_request=True)
def neuron_logit_alignment(subject: Subject) -> float:
    return present(alignment(subject.W_L, subject.final.W_L), "W_L is zero")


@checks_arrays
def effective_rank_of(W: Float[Tensor, "n m"]) -> float:
    """exp of the entropy of the normalized singular values (Roy & Vetterli, 2007): n for n equal ones."""
    values = torch.linalg.svdvals(W.double())
    share = values / values.sum()
    return float(torch.exp(torch.special.entr(share).sum()))


@builtin_measure(
    title="effective rank: exp of the entropy of the normalized singular values", source="Roy & Vetterli (2007)",
    shape="by matrix", columns="effective_rank_{}", on_request=True,
)  # fmt: skip
def effective_rank(subject: Subject) -> dict[str, float]:
    """The matrices are W_E (rows of the numbers), W_in and W_out, or W_E and W in a network of one hidden layer."""
    inside = {name: subject.weights[name] for name in ("W_in", "W_out", "W") if name in subject.weights}
    return {name: effective_rank_of(W) for name, W in {"W_E": subject.W_E, **inside}.items()}


@builtin_measure(
    title="cosine of −∂(train loss)/∂θ with θ: near 1 where training only scales the logits", on_request=True,
    source="Prieto et al. (2025)",
)  # fmt: skip
def naive_loss_minimization(subject: Subject) -> float:
    """The loss is that of the training, over all outputs, "=" included."""
    gradient = subject.train_loss_gradient
    parts = [(subject.weights[name].double(), -slope.double()) for name, slope in gradient.items()]
    along = sum(float((weight * slope).sum()) for weight, slope in parts)
    sizes = [math.sqrt(sum(float(one.square().sum()) for one in each)) for each in zip(*parts, strict=True)]
    scale = math.prod(sizes)
    return present(along / scale if scale else math.nan, "the weights or the gradient of the train loss are zero")
