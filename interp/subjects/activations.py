"""Activations of all p*p pairs at the last position, by a network's own forward, and the gradient of its train loss."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional

from interp.networks import Network, Weights
from interp.networks.base import check_repeats, plain
from interp.networks.pairs import Pairs
from interp.networks.taps import UNTAPPED
from interp.utils.torch_state import computing


@dataclass(frozen=True, eq=False)
class Activations:
    """The activations of every pair (a, b) at the last position of the last layer.

    Attributes:
        logits: L[a, b, c], without the logit of "=", [p, p, p].
        neurons: After the activation (hook_post), [p, p, d_mlp]; None without an MLP.
        pattern: Attention from the last position (hook_pattern), [p, p, n_heads, n_ctx]; None without attention.
    """

    logits: Float[Tensor, "p p p"]
    neurons: Float[Tensor, "p p d_mlp"] | None
    pattern: Float[Tensor, "p p n_heads n_ctx"] | None


def over_pairs(network: Network, weights: Weights, p: int) -> Activations:
    """Run all pairs through a network's own forward."""
    network.check_modulus(p)
    weights, pairs = plain(weights), Pairs.all(p)
    out = network.run(weights, pairs)
    check_repeats(network, weights, pairs, out.logits)
    return Activations(
        out.logits[:, :p].unflatten(0, (p, p)),
        None if out.neurons is None else out.neurons.unflatten(0, (p, p)),
        None if out.pattern is None else out.pattern.unflatten(0, (p, p)),
    )


@computing(grad=True)
def loss_gradient(
    network: Network, weights: Weights, train_mask: Bool[Tensor, "p p"], labels: Int[Tensor, "p p"]
) -> dict[str, Tensor]:
    """Return ∂(mean cross-entropy of train pairs)/∂W of each weight, over all outputs, "=" included as in training."""
    weights = {name: weight.detach().requires_grad_() for name, weight in plain(weights).items()}
    pairs = Pairs(len(labels), *train_mask.nonzero(as_tuple=True))
    logits = network.forward(weights, pairs, UNTAPPED)
    loss = functional.cross_entropy(logits.double(), labels[train_mask])
    return dict(zip(weights, torch.autograd.grad(loss, list(weights.values())), strict=True))
