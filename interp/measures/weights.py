"""Size of the weights, and their likeness to others."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from interp.arguments import checks_arrays, given
from interp.errors import ConfigError
from interp.measures.registry import NANDA, measure
from interp.measures.subject import Subject, not_finite, present


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


# ── measures ─────────────────────────────────────────────────────────────────────────────────────────────────────


@measure(name="sum_squared_weights", title="sum of squares of all parameters", source=NANDA)
def sum_squared_weights_of(subject: Subject) -> float:
    total = sum_squared_weights(subject.parameters)
    if not math.isfinite(total):
        raise not_finite(subject)
    return total


@measure(title="cosine similarity of W_E with that of the run's last checkpoint", on_request=True)
def embedding_alignment(subject: Subject) -> float:
    return present(alignment(subject.W_E, subject.final.W_E), "W_E is zero")


@measure(title="cosine similarity of W_L with that of the run's last checkpoint", on_request=True)
def neuron_logit_alignment(subject: Subject) -> float:
    return present(alignment(subject.W_L, subject.final.W_L), "W_L is zero")


@checks_arrays
def effective_rank_of(W: Float[Tensor, "n m"]) -> float:
    """exp of the entropy of the singular values over their sum (Roy & Vetterli, 2007): n for n equal ones."""
    values = torch.linalg.svdvals(W.double())
    share = values / values.sum()
    return float(torch.exp(torch.special.entr(share).sum()))


@measure(
    title="effective rank: exp of the entropy of the normalized singular values", source="Roy & Vetterli (2007)",
    shape="by matrix", columns="effective_rank_{}", on_request=True,
)  # fmt: skip
def effective_rank(subject: Subject) -> dict[str, float]:
    """Of W_E (the rows of the numbers), W_in and W_out; of a network of one hidden layer, of W_E and W."""
    inside = {name: subject.weights[name] for name in ("W_in", "W_out", "W") if name in subject.weights}
    return {name: effective_rank_of(W) for name, W in {"W_E": subject.W_E, **inside}.items()}


@measure(
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
