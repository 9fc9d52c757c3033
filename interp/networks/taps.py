"""Taps on the activations of a network's forward, their usual names, and the types of its results."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from interp.networks.names import Activation

Weights = Mapping[str, Tensor]
InputGradients = tuple[Float[Tensor, "n p d"], Float[Tensor, "n p d"]]


class Tap:
    """Functions of activations by the names that a network's forward gives them; each may replace its activation.

    A forward calls `x = tap("hook_post", x)`. `"hook_embed" in tap` is True if that activation is wanted, so that a
    forward may skip forming it.
    """

    def __init__(self, functions: Mapping[str, Callable[[Tensor], Tensor]] = {}) -> None:
        self._functions = dict(functions)

    def __call__(self, name: str, x: Tensor) -> Tensor:
        return self._functions[name](x) if name in self._functions else x

    def __contains__(self, name: str) -> bool:
        return name in self._functions


UNTAPPED = Tap()


@dataclass(frozen=True)
class HookPoints:
    """The names of activations that interp looks for; a network need not have them all.

    Attributes:
        embed: The embeddings of a and of b, [n, 2, d].
        neurons: The last layer's neurons after the activation, [n, d_mlp].
        pattern: Attention from the last position in the last layer, [n, n_heads, n_ctx].
        logits: Logits, [n, d_vocab_out].
    """

    embed: str = "hook_embed"
    neurons: str = "hook_post"
    pattern: str = "hook_pattern"
    logits: str = "hook_logits"


@dataclass(frozen=True)
class Forward:
    """Activations at the last position of n pairs; neurons and pattern are None for a network without them."""

    logits: Float[Tensor, "n d_vocab_out"]
    neurons: Float[Tensor, "n d_mlp"] | None
    pattern: Float[Tensor, "n n_heads n_ctx"] | None


@dataclass(frozen=True)
class ByNumber:
    """The terms of each number in attention and neurons, if these depend on a and b through sums of them alone.

    Rows: p of a, p of b and, in a network that reads "=", one of "=". With the rows r of a pair, and P[h, r] the
    softmax over them of scores[h, r] (coefficient · softmax + (1 − coefficient); 1 without scores),
    neurons[a, b] = activation(constant + Σ_h Σ_r P[h, r] · values[h, r]).
    """

    values: Float[Tensor, "n_heads rows width"]
    constant: Float[Tensor, " width"]
    activation: Activation
    scores: Float[Tensor, "n_heads rows"] | None = None
    attention_coefficient: float = 1.0
