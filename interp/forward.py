"""The exact forward of a one-layer network over pairs (a, b), sharing work between pairs.

Only the logits at the last position, "=", are ever used. There the query is the same for every pair, and keys
and values depend on (token, position) alone: 2p + 1 rows instead of 3p². What every head of every row adds to the
MLP's input and to the logits is worked out once, as a table; a pair then is a weighted sum of 3·n_heads rows of that
table, the weights being its attention pattern, and one matrix product is left: neurons times W_out·W_U.
Same function and same gradients as the full transformer.

Without "=" (two positions) the last position is b's: there are 2p rows and p queries, and the rest is the same. A
network of one hidden layer reads a and b through a table each.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any, Literal, get_args

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from interp.computing import computing
from interp.errors import ConfigError

Activation = Literal["relu", "gelu", "gelu_new"]
ACTIVATIONS: tuple[Activation, ...] = get_args(Activation)

_FUNCTIONS: dict[Activation, Callable[[Tensor], Tensor]] = {
    "relu": functional.relu,
    "gelu": functional.gelu,
    "gelu_new": partial(functional.gelu, approximate="tanh"),
}


def activation_function(name: Activation) -> Callable[[Tensor], Tensor]:
    """What an activation's name means."""
    return _FUNCTIONS[name]


@dataclass(frozen=True, eq=False)
class Pairs:
    """Inputs (a, b) of one modulus, [n] each, with the index tables that a forward over them shares.

    Make it once for the pairs that are run again and again, as in training.
    """

    p: int
    a: Int[Tensor, " n"]
    b: Int[Tensor, " n"]
    _incidences: dict[tuple[int, int], _Incidence] = field(default_factory=dict, init=False, repr=False)

    @staticmethod
    @computing()
    def all(p: int) -> Pairs:
        """All p*p pairs in lexicographic order: pair a * p + b."""
        index = torch.arange(p * p)
        return Pairs(p, index // p, index % p)

    def __len__(self) -> int:
        return len(self.a)

    def split(self, size: int) -> Iterator[Pairs]:
        """Yield the pairs in batches of so many."""
        for a, b in zip(self.a.split(size), self.b.split(size), strict=True):
            yield Pairs(self.p, a, b)

    def to(self, device: torch.device) -> Pairs:
        return Pairs(self.p, self.a.to(device), self.b.to(device))

    @cached_property
    @computing()
    def _three_rows(self) -> Int[Tensor, "n 3"]:
        return torch.stack([self.a, self.p + self.b, torch.full_like(self.a, 2 * self.p)], dim=1)

    def rows(self, n_ctx: int) -> Int[Tensor, "n {n_ctx}"]:
        """The rows that a pair attends to, of 2p + 1 (or 2p): a at position 0, b at position 1, "=" at position 2."""
        return self._three_rows[:, :n_ctx]

    @computing()
    def incidence(self, n_heads: int, n_ctx: int) -> _Incidence:
        if (n_heads, n_ctx) not in self._incidences:
            rows = self.rows(n_ctx)[..., None] * n_heads + torch.arange(n_heads)
            self._incidences[n_heads, n_ctx] = _Incidence(rows.flatten(1), (2 * self.p + n_ctx - 2) * n_heads)
        return self._incidences[n_heads, n_ctx]


@dataclass(frozen=True)
class Forward:
    """What the last position of n pairs holds.

    logits  [n, d_vocab_out]
    neurons [n, d_mlp], after the activation (hook_post)
    pattern [n, n_ctx, n_heads], attention from the last position to a, to b and, where it is there, to "=" (the last
            row of hook_pattern); None for a network without attention
    """

    logits: Float[Tensor, "n d_vocab_out"]
    neurons: Float[Tensor, "n d_mlp"]
    pattern: Float[Tensor, "n n_ctx n_heads"] | None


@computing(grad=None)
def forward(
    weights: Mapping[str, Tensor], pairs: Pairs, activation: Activation, attention_coefficient: float | None = None
) -> Forward:
    """Run the inputs (a, b, "=") through a one-layer transformer without layer norm, differentiably.

    `weights` are named and shaped as in `interp.model`; the attention biases and b_U may be absent, which is the
    same as zero. "=" is the last token; where W_pos has two positions there is none, and b is read last. Where W_E has
    2p tokens beside "=", the second p are b's. Attention is coefficient · softmax + (1 − coefficient).
    Equal to a TransformerBridge with the same weights.

    Weights do not tell their activation and attention, so neither is assumed: `config.forward_options` of a checkpoint
    holds both. Raises ConfigError for a transformer without `attention_coefficient`.

    Weights with a W_x are a network of one hidden layer, which reads W_x[a] and W_y[b] and has no attention.
    """
    if "W_x" in weights:
        return _one_hidden_layer(weights, pairs, activation)
    if attention_coefficient is None:
        raise ConfigError(
            "A transformer needs its attention_coefficient: 1 for softmax attention, 0 for constant attention; "
            "got None. Pass **checkpoint.config.forward_options."
        )
    W_E, W_pos, W_O = weights["W_E"], weights["W_pos"], weights["W_O"]
    W_in, W_U = weights["W_in"], weights["W_U"]
    d_head, p, n_ctx = W_O.shape[1], pairs.p, len(W_pos)

    of_b = W_E[p : 2 * p] if len(W_E) >= 2 * p else W_E[:p]
    at_ab = [W_E[:p] + W_pos[0], of_b + W_pos[1]]
    if n_ctx == 3:
        last = W_E[-1] + W_pos[2]  # "=": one row for all pairs
        rows = torch.cat([*at_ab, last[None]])  # [2p+1, d_model]
        query = torch.einsum("m,hmd->hd", last, weights["W_Q"])
    else:
        last = at_ab[1]  # [p, d_model], a row for each b
        rows = torch.cat(at_ab)  # [2p, d_model]
        query = torch.einsum("bm,hmd->bhd", last, weights["W_Q"])

    keys = torch.einsum("rm,hmd->rhd", rows, weights["W_K"])
    if "b_Q" in weights:
        query = query + weights["b_Q"]
    if "b_K" in weights:
        keys = keys + weights["b_K"]
    # embedding, not indexing: the gradient of scores[rows] adds up in an order that changes from call to call.
    if n_ctx == 3:  # one query for all pairs, so scores too depend on the row alone
        scores = (keys * query).sum(-1)
        scores = functional.embedding(pairs.rows(n_ctx), scores / math.sqrt(d_head))
    else:
        to_a = torch.einsum("bhd,ahd->abh", query, keys[:p]).flatten(0, 1)
        to_b = (query * keys[p:]).sum(-1)
        at_a = functional.embedding(pairs.a * p + pairs.b, to_a / math.sqrt(d_head))
        scores = torch.stack([at_a, functional.embedding(pairs.b, to_b / math.sqrt(d_head))], dim=1)
    pattern = scores.softmax(1)
    if attention_coefficient != 1:
        pattern = attention_coefficient * pattern + (1 - attention_coefficient)

    values = torch.einsum("rm,hmd->hrd", rows, weights["W_V"])
    if "b_V" in weights:
        values = values + weights["b_V"][:, None]

    def of_pairs(x: Tensor) -> Tensor:
        return x if n_ctx == 3 else functional.embedding(pairs.b, x)

    # The residual stream is read twice, by W_in and by W_U; both read the heads before the pairs are formed, which
    # pays on a CPU, and where there are more pairs than rows.
    mix = _mix_rows if rows.device.type == "cpu" and len(pairs) > len(rows) else _mix_values
    resid = last + weights["b_O"] if "b_O" in weights else last
    # Added in place: new memory of the size of the neurons costs more than the addition.
    pre = mix(values, W_O @ W_in, pattern, pairs).add_(of_pairs(resid @ W_in + weights["b_in"]))
    direct = mix(values, W_O @ W_U, pattern, pairs).add_(of_pairs((resid + weights["b_out"]) @ W_U))
    if "b_U" in weights:
        direct += weights["b_U"]
    neurons = pre.relu_() if activation == "relu" and not pre.requires_grad else activation_function(activation)(pre)
    direct += neurons @ (weights["W_out"] @ W_U)
    return Forward(direct, neurons, pattern)


def _one_hidden_layer(weights: Mapping[str, Tensor], pairs: Pairs, activation: Activation) -> Forward:
    """activation(x · W) · W_U for x = [W_x[a], W_y[b]], or for their sum where W has only d_embed rows."""
    W_x, W_y, W = weights["W_x"], weights["W_y"], weights["W"]
    d_embed = W_x.shape[1]
    reads_a, reads_b = (W, W) if len(W) == d_embed else W.split(d_embed)
    pre = functional.embedding(pairs.a, W_x @ reads_a) + functional.embedding(pairs.b, W_y @ reads_b)
    neurons = activation_function(activation)(pre)
    return Forward(neurons @ weights["W_U"], neurons, None)


def _mix_values(
    values: Float[Tensor, "n_heads rows d_head"],
    readers: Float[Tensor, "n_heads d_head d_read"],
    pattern: Float[Tensor, "n n_ctx n_heads"],
    pairs: Pairs,
) -> Float[Tensor, "n d_read"]:
    """Attention by its definition: the values of n_ctx rows, weighted, head by head, then read."""
    n_heads, _, d_head = values.shape
    rows = pairs.rows(pattern.shape[1])
    attended = functional.embedding(rows, values.transpose(0, 1).flatten(1))  # [n, n_ctx, n_heads * d_head]
    z = (pattern[..., None] * attended.unflatten(-1, (n_heads, d_head))).sum(1)
    return z.flatten(1) @ readers.flatten(0, 1)


def _mix_rows(
    values: Float[Tensor, "n_heads rows d_head"],
    readers: Float[Tensor, "n_heads d_head d_read"],
    pattern: Float[Tensor, "n n_ctx n_heads"],
    pairs: Pairs,
) -> Float[Tensor, "n d_read"]:
    """The same, read first: n_ctx·n_heads rows of a table a pair; a CPU sums faster than it multiplies matrices."""
    n_heads = len(values)
    table = (values @ readers).transpose(0, 1).reshape(-1, readers.shape[-1])  # row, head → [rows * n_heads, d_read]
    return _WeightedRows.apply(table, pattern.flatten(1), pairs.incidence(n_heads, pattern.shape[1]))


@dataclass(frozen=True, eq=False)
class _Incidence:
    """Which rows of the table every pair sums, and, for the gradients, which pairs every row of it went into."""

    rows_of_pair: Int[Tensor, "n k"]
    n_rows: int

    @cached_property
    @computing()
    def order(self) -> Int[Tensor, " nk"]:
        return self.rows_of_pair.flatten().argsort(stable=True)

    @cached_property
    @computing()
    def pair_of_entry(self) -> Int[Tensor, " nk"]:
        return self.order // self.rows_of_pair.shape[1]

    @cached_property
    @computing()
    def offsets(self) -> Int[Tensor, " n_rows"]:
        counts = torch.bincount(self.rows_of_pair.flatten(), minlength=self.n_rows)
        return counts.cumsum(0) - counts

    @cached_property
    @computing()
    def entries(self) -> Float[Tensor, "n n_rows"]:
        """A sparse [n, n_rows] of zeros that stores the k entries of every pair: where its weights stand."""
        n, k = self.rows_of_pair.shape
        with warnings.catch_warnings():  # torch calls its CSR layout a beta, once a process
            warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")
            return torch.sparse_csr_tensor(
                torch.arange(0, n * k + 1, k),
                self.rows_of_pair.flatten(),
                torch.zeros(n * k),
                (n, self.n_rows),
                check_invariants=False,
            )


class _WeightedRows(torch.autograd.Function):
    """out[i] = Σ_j weight[i, j] · table[rows_of_pair[i, j]], with gradients that never form [n, k, d_read]."""

    @staticmethod
    def forward(
        ctx: Any, table: Float[Tensor, "n_rows d_read"], weight: Float[Tensor, "n k"], incidence: _Incidence
    ) -> Float[Tensor, "n d_read"]:
        ctx.save_for_backward(table, weight)
        ctx.incidence = incidence
        return functional.embedding_bag(incidence.rows_of_pair, table, per_sample_weights=weight, mode="sum")

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None]:
        (grad,) = grads
        table, weight = ctx.saved_tensors
        incidence: _Incidence = ctx.incidence
        grad = grad.contiguous()
        grad_table = functional.embedding_bag(
            incidence.pair_of_entry,
            grad,
            incidence.offsets,
            per_sample_weights=weight.flatten()[incidence.order],
            mode="sum",
        )
        # grad · tableᵀ, at the k entries of each pair only.
        grad_weight = torch.sparse.sampled_addmm(incidence.entries.to(grad.dtype), grad, table.t(), beta=0.0).values()
        return grad_table, grad_weight.view_as(weight), None
