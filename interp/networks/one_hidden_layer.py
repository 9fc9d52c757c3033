"""The network of one hidden layer: on two embeddings, or on one-hot inputs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, final, get_args

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from interp.networks.base import Network, activation_function, builtin_network, sizes_by
from interp.networks.names import ACTIVATIONS, Activation
from interp.networks.pairs import Pairs
from interp.networks.taps import ByNumber, Tap, Weights
from interp.utils.arguments import one_of, room_for, whole
from interp.utils.errors import ConfigError
from interp.utils.torch_state import computing

Inputs = Literal["concatenated", "summed"]


@final
@builtin_network("one_hidden_layer")
@dataclass(frozen=True)
class OneHiddenLayer(Network):
    """logits = activation(x · W + b) · W_U + b_U, where x is W_x[a] and W_y[b], concatenated or summed.

    The architecture of Chughtai et al. (2023), without biases there; with d_embed = 0 and activation "square" that of
    Gromov (2023).

    Attributes:
        d_vocab: The numbers that a and b are read from; None: p.
        d_vocab_out: Outputs; None: p.
        d_embed: The length of each embedding; 0: a and b are read one-hot, and the p rows of W for each (p in all if
            they are summed) count as their embeddings.
        d_hidden: Neurons.
        inputs: "concatenated" or "summed".
        activation: "relu", "gelu", "gelu_new" (its tanh approximation) or "square" (x²).
        biases: True if b and b_U are trained, from 0.
    """

    d_vocab: int | None = None
    d_vocab_out: int | None = None
    d_embed: int = 128
    d_hidden: int = 512
    inputs: Inputs = "concatenated"
    activation: Activation = "relu"
    biases: bool = False

    def __post_init__(self) -> None:
        for name, least in (("d_vocab", 1), ("d_vocab_out", 1), ("d_embed", 0), ("d_hidden", 1)):
            if (size := getattr(self, name)) is not None:
                object.__setattr__(self, name, whole(name, size, least))
        one_of("activation", self.activation, ACTIVATIONS)
        one_of("inputs", self.inputs, get_args(Inputs))
        if not isinstance(self.biases, bool):
            raise ConfigError(f"biases must be True or False; got {self.biases!r}.")
        room_for("the embeddings of a network", 2, self.d_vocab or 1, self.d_embed or 1)
        rows = 2 * (self.d_embed or self.d_vocab or 1) + (self.d_vocab_out or 1)
        room_for("the hidden layer of a network", self.d_hidden, rows)

    @property
    def d_input(self) -> int | None:
        """The number of rows of W: twice the length of an input if the two are concatenated."""
        each = self.d_embed or self.d_vocab
        return None if each is None else 2 * each if self.inputs == "concatenated" else each

    def axes(self) -> Mapping[str, tuple[str, ...]]:
        embedded = {"W_x": ("d_vocab", "d_embed"), "W_y": ("d_vocab", "d_embed")} if self.d_embed else {}
        biases = {"b": ("d_hidden",), "b_U": ("d_vocab_out",)} if self.biases else {}
        return {**embedded, "W": ("d_input", "d_hidden"), "W_U": ("d_hidden", "d_vocab_out"), **biases}

    @property
    def width(self) -> int:
        return self.d_hidden

    @computing()
    def initial_weights(self, seed: int) -> dict[str, Tensor]:
        """Return standard normals over the square root of the number of inputs, and biases of 0.

        An embedding row is d_embed numbers over √d_embed, as in the paper's transformer, so that its length is about 1.
        """
        generator = torch.Generator().manual_seed(seed)
        over = {"W_x": self.d_embed, "W_y": self.d_embed, "W": self.d_embed or 2, "W_U": self.d_hidden}
        return {
            name: torch.randn(*shape, generator=generator) / over[name] ** 0.5 if name in over else torch.zeros(shape)
            for name, shape in self.shapes().items()
        }

    def forward(self, weights: Weights, pairs: Pairs, tap: Tap) -> Float[Tensor, "n d_vocab_out"]:
        if self.points.embed in tap:
            reads_a, reads_b = self._readers(weights)
            of_a, of_b = self.embeddings(weights, pairs.p)
            embed = tap(self.points.embed, torch.stack([of_a[pairs.a], of_b[pairs.b]], dim=1))  # [n, 2, d]
            E_a, E_b = embed[:, 0], embed[:, 1]
            pre = E_a @ reads_a + E_b @ reads_b if self.d_embed else E_a + E_b
        else:  # computes each number's part once, not for each pair
            of_a, of_b = self._of_numbers(weights)
            # Not of_a[pairs.a], whose gradient adds up in an order that changes from call to call.
            pre = functional.embedding(pairs.a, of_a) + functional.embedding(pairs.b, of_b)
        pre = tap("hook_pre", pre + weights["b"] if self.biases else pre)
        logits = tap(self.points.neurons, activation_function(self.activation)(pre)) @ weights["W_U"]
        return logits + weights["b_U"] if self.biases else logits

    @computing()
    def by_number(self, weights: Weights, p: int) -> ByNumber:
        of_a, of_b = self._of_numbers(weights)
        constant = weights["b"] if self.biases else of_a.new_zeros(self.d_hidden)
        return ByNumber(torch.cat([of_a, of_b])[None], constant, self.activation)

    def _readers(self, weights: Weights) -> tuple[Float[Tensor, "d d_hidden"], Float[Tensor, "d d_hidden"]]:
        W = weights["W"]
        if self.inputs == "summed":
            return W, W
        of_a, of_b = W.chunk(2)
        return of_a, of_b

    def _of_numbers(self, weights: Weights) -> tuple[Float[Tensor, "p d_hidden"], Float[Tensor, "p d_hidden"]]:
        reads_a, reads_b = self._readers(weights)
        return (weights["W_x"] @ reads_a, weights["W_y"] @ reads_b) if self.d_embed else (reads_a, reads_b)

    def embeddings(self, weights: Weights, p: int) -> tuple[Float[Tensor, "p d"], Float[Tensor, "p d"]]:
        """Return W_x and W_y or, for one-hot inputs, the rows of W that read a and b."""
        if self.d_embed:
            return weights["W_x"], weights["W_y"]
        W = weights["W"]
        return (W, W) if self.inputs == "summed" else (W[:p], W[p:])

    def embedding(self, weights: Weights, p: int) -> Float[Tensor, "p d"]:
        """Return both embeddings side by side."""
        return torch.cat(self.embeddings(weights, p), dim=1)

    @computing(grad=None)
    def neuron_logit_map(self, weights: Weights) -> Float[Tensor, "d_mlp d_vocab_out"]:
        return weights["W_U"]

    @classmethod
    def sizes_of(cls, weights: Weights) -> dict[str, Any] | None:
        biased = cls(d_vocab=1, d_vocab_out=1, biases=True).axes()
        sizes = sizes_by(biased, ("b", "b_U"), weights)
        if sizes is None:
            return None
        rows = sizes.pop("d_input")
        return {**sizes, "inputs": "summed" if rows == sizes["d_embed"] else "concatenated", "biases": "b" in weights}
