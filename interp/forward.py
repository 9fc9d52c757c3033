"""The exact forward of a one-layer transformer over pairs (a, b), sharing work between pairs.

Only the logits at the last position, "=", are ever used. There the query is the same for every pair, and keys
and values depend on (token, position) alone: 2p + 1 rows instead of 3p². What every head of every row adds to the
MLP's input and to the logits is worked out once, as a table; a pair then is a weighted sum of 3·n_heads rows of that
table, the weights being its attention pattern, and one matrix product is left: neurons times W_out·W_U.
Same function and same gradients as the full transformer.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any, Literal, get_args

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

Activation = Literal["relu", "gelu", "gelu_new"]
ACTIVATIONS: tuple[Activation, ...] = get_args(Activation)

_FUNCTIONS: dict[Activation, Callable[[Tensor], Tensor]] = {
    "relu": functional.relu,
    "gelu": functional.gelu,
    "gelu_new": partial(functional.gelu, approximate="tanh"),
}


@dataclass(frozen=True, eq=False)
class Pairs:
    """Inputs (a, b) of one modulus, [n] each, with the index tables that a forward over them shares.

    Make it once for the pairs that are run again and again, as in training.
    """

    p: int
    a: Int[Tensor, " n"]
    b: Int[Tensor, " n"]
    _incidences: dict[int, _Incidence] = field(default_factory=dict, init=False, repr=False)

    @staticmethod
    def all(p: int) -> Pairs:
        """All p*p pairs in lexicographic order: pair a * p + b."""
        index = torch.arange(p * p)
        return Pairs(p, index // p, index % p)

    def __len__(self) -> int:
        return len(self.a)

    def to(self, device: torch.device) -> Pairs:
        return Pairs(self.p, self.a.to(device), self.b.to(device))

    @cached_property
    def rows(self) -> Int[Tensor, "n 3"]:
        """The three of the 2p + 1 rows that a pair attends to: a at position 0, b at position 1, "=" at position 2."""
        return torch.stack([self.a, self.p + self.b, torch.full_like(self.a, 2 * self.p)], dim=1)

    def incidence(self, n_heads: int) -> _Incidence:
        if n_heads not in self._incidences:
            rows = self.rows[..., None] * n_heads + torch.arange(n_heads)
            self._incidences[n_heads] = _Incidence(rows.flatten(1), (2 * self.p + 1) * n_heads)
        return self._incidences[n_heads]


@dataclass(frozen=True)
class Forward:
    """What the last position of n pairs holds.

    logits  [n, d_vocab_out]
    neurons [n, d_mlp], after the activation (hook_post)
    pattern [n, 3, n_heads], attention from "=" to a, to b and to "=" (the last row of hook_pattern)
    """

    logits: Float[Tensor, "n d_vocab_out"]
    neurons: Float[Tensor, "n d_mlp"]
    pattern: Float[Tensor, "n 3 n_heads"]


def forward(weights: Mapping[str, Tensor], pairs: Pairs, activation: Activation = "relu") -> Forward:
    """Run the inputs (a, b, "=") through a one-layer transformer without layer norm, differentiably.

    `weights` are named and shaped as in `interp.model`; the attention biases and b_U may be absent, which is the
    same as zero. "=" is the token p. Equal to a TransformerBridge with the same weights.
    """
    W_E, W_pos, W_O = weights["W_E"], weights["W_pos"], weights["W_O"]
    W_in, W_U = weights["W_in"], weights["W_U"]
    d_head, p = W_O.shape[1], pairs.p

    equals = W_E[p] + W_pos[2]
    rows = torch.cat([W_E[:p] + W_pos[0], W_E[:p] + W_pos[1], equals[None]])  # [2p+1, d_model]

    # One query for all pairs, so scores too depend on the row alone.
    query = torch.einsum("m,hmd->hd", equals, weights["W_Q"])
    keys = torch.einsum("rm,hmd->rhd", rows, weights["W_K"])
    if "b_Q" in weights:
        query = query + weights["b_Q"]
    if "b_K" in weights:
        keys = keys + weights["b_K"]
    scores = (keys * query).sum(-1)
    # embedding, not indexing: the gradient of scores[rows] adds up in an order that changes from call to call.
    pattern = functional.embedding(pairs.rows, scores / math.sqrt(d_head)).softmax(1)

    values = torch.einsum("rm,hmd->hrd", rows, weights["W_V"])
    if "b_V" in weights:
        values = values + weights["b_V"][:, None]

    # The residual stream is read twice, by W_in and by W_U; both read the heads before the pairs are formed.
    mix = _mix_rows if rows.device.type == "cpu" else _mix_values
    resid = equals + weights["b_O"] if "b_O" in weights else equals
    pre = mix(values, W_O @ W_in, pattern, pairs) + (resid @ W_in + weights["b_in"])
    direct = mix(values, W_O @ W_U, pattern, pairs) + (resid + weights["b_out"]) @ W_U
    if "b_U" in weights:
        direct = direct + weights["b_U"]
    neurons = _FUNCTIONS[activation](pre)
    logits = direct + neurons @ (weights["W_out"] @ W_U)
    return Forward(logits, neurons, pattern)


def _mix_values(
    values: Float[Tensor, "n_heads rows d_head"],
    readers: Float[Tensor, "n_heads d_head d_read"],
    pattern: Float[Tensor, "n 3 n_heads"],
    pairs: Pairs,
) -> Float[Tensor, "n d_read"]:
    """Attention by its definition: the values of three rows, weighted, head by head, then read."""
    n_heads, _, d_head = values.shape
    attended = functional.embedding(pairs.rows, values.transpose(0, 1).flatten(1))  # [n, 3, n_heads * d_head]
    z = (pattern[..., None] * attended.unflatten(-1, (n_heads, d_head))).sum(1)
    return z.flatten(1) @ readers.flatten(0, 1)


def _mix_rows(
    values: Float[Tensor, "n_heads rows d_head"],
    readers: Float[Tensor, "n_heads d_head d_read"],
    pattern: Float[Tensor, "n 3 n_heads"],
    pairs: Pairs,
) -> Float[Tensor, "n d_read"]:
    """The same, read first: 3·n_heads rows of a table a pair, which a CPU sums faster than it multiplies matrices."""
    n_heads = len(values)
    table = (values @ readers).transpose(0, 1).reshape(-1, readers.shape[-1])  # row, head → [rows * n_heads, d_read]
    return _WeightedRows.apply(table, pattern.flatten(1), pairs.incidence(n_heads))


@dataclass(frozen=True, eq=False)
class _Incidence:
    """Which rows of the table every pair sums, and, for the gradients, which pairs every row of it went into."""

    rows_of_pair: Int[Tensor, "n k"]
    n_rows: int

    @cached_property
    def order(self) -> Int[Tensor, " nk"]:
        return self.rows_of_pair.flatten().argsort(stable=True)

    @cached_property
    def pair_of_entry(self) -> Int[Tensor, " nk"]:
        return self.order // self.rows_of_pair.shape[1]

    @cached_property
    def offsets(self) -> Int[Tensor, " n_rows"]:
        counts = torch.bincount(self.rows_of_pair.flatten(), minlength=self.n_rows)
        return counts.cumsum(0) - counts

    @cached_property
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
