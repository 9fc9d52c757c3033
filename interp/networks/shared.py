"""The exact forward of a one-layer transformer over pairs (a, b), sharing work between pairs.

Only the logits at the last position, "=", are used. There the query is the same for every pair, and keys and values
depend on (token, position) alone: 2p + 1 rows instead of 3p². The contribution of each head of each row to the MLP's
input and to the logits is computed once, as a table. A pair is then a weighted sum of 3·n_heads rows of that table, by
its attention pattern, and one matrix product is left: neurons times W_out·W_U. The function and its gradients are those
of the full transformer. Without "=" (two positions) the last position is b's: there are 2p rows and p queries.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from interp.networks.base import activation_function
from interp.networks.names import Activation
from interp.networks.pairs import Incidence, Pairs
from interp.networks.taps import ByNumber, HookPoints, Tap, Weights
from interp.utils.torch_state import computing

# TransformerLens' names, so that the hooks of a bridge have the same.
POINTS = HookPoints("hook_embed", "blocks.0.mlp.hook_post", "blocks.0.attn.hook_pattern", "unembed.hook_out")


@computing(grad=None)
def forward(
    weights: Weights, pairs: Pairs, activation: Activation, attention_coefficient: float, tap: Tap
) -> Float[Tensor, "n d_vocab_out"]:
    """Run the inputs (a, b, "=") through a one-layer transformer without layer norm, differentiably.

    The logits equal those of a TransformerBridge with the same weights. `weights` are named and shaped as in
    `interp.networks.transformer`; attention biases and b_U that are absent count as zero. "=" is the last token; if
    W_pos has two positions there is none, and b is read last. If W_E has 2p tokens beside "=", the second p are b's.
    Attention is coefficient · softmax + (1 − coefficient). `tap` is called with the pattern and the neurons.
    """
    W_O, W_in, W_U = weights["W_O"], weights["W_in"], weights["W_U"]
    d_head, p, n_ctx = W_O.shape[1], pairs.p, len(weights["W_pos"])

    rows, last = _rows(weights, p)
    query, keys = _query(weights, last), _keys(weights, rows)
    # Not scores[rows], whose gradient adds up in an order that changes from call to call.
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
    if POINTS.pattern in tap:
        pattern = tap(POINTS.pattern, pattern.transpose(1, 2)).transpose(1, 2)

    values = _values(weights, rows)

    # W_in and W_U both read the residual stream. On a CPU with more pairs than rows it is faster to let them read each
    # head's values before the pairs are formed.
    mix = _mix_rows if rows.device.type == "cpu" and len(pairs) > len(rows) else _mix_values
    resid = last + weights["b_O"] if "b_O" in weights else last
    to_neurons, to_logits = resid @ W_in + weights["b_in"], (resid + weights["b_out"]) @ W_U
    if n_ctx == 2:  # a row for each b
        to_neurons, to_logits = (functional.embedding(pairs.b, row) for row in (to_neurons, to_logits))
    # Added in place: new memory of the size of the neurons costs more than the addition.
    pre = mix(values, W_O @ W_in, pattern, pairs).add_(to_neurons)
    direct = mix(values, W_O @ W_U, pattern, pairs).add_(to_logits)
    if "b_U" in weights:
        direct += weights["b_U"]
    neurons = pre.relu_() if activation == "relu" and not pre.requires_grad else activation_function(activation)(pre)
    neurons = tap(POINTS.neurons, neurons)
    direct += neurons @ (weights["W_out"] @ W_U)
    return direct


@computing()
def by_number(weights: Weights, p: int, activation: Activation, attention_coefficient: float) -> ByNumber:
    """Return what each number adds to attention and to the neurons of a transformer that reads (a, b, "=")."""
    rows, last = _rows(weights, p)
    scores = (_keys(weights, rows) * _query(weights, last)).sum(-1) / math.sqrt(weights["W_O"].shape[1])
    resid = last + weights["b_O"] if "b_O" in weights else last
    values = _values(weights, rows) @ (weights["W_O"] @ weights["W_in"])
    return ByNumber(values, resid @ weights["W_in"] + weights["b_in"], activation, scores.T, attention_coefficient)


def _rows(weights: Weights, p: int) -> tuple[Float[Tensor, "n_rows d_model"], Float[Tensor, "*rows d_model"]]:
    """Return the inputs of attention, a row for each a, each b and "=", and the input at the last position."""
    W_E, W_pos = weights["W_E"], weights["W_pos"]
    of_b = W_E[p : 2 * p] if len(W_E) >= 2 * p else W_E[:p]
    at_ab = [W_E[:p] + W_pos[0], of_b + W_pos[1]]
    if len(W_pos) == 3:
        last = W_E[-1] + W_pos[2]  # "=": one row for all pairs
        return torch.cat([*at_ab, last[None]]), last
    return torch.cat(at_ab), at_ab[1]  # a row for each b


def _query(weights: Weights, last: Float[Tensor, "*rows d_model"]) -> Float[Tensor, "*rows n_heads d_head"]:
    axes = "m,hmd->hd" if last.ndim == 1 else "bm,hmd->bhd"
    query = torch.einsum(axes, last, weights["W_Q"])
    return query + weights["b_Q"] if "b_Q" in weights else query


def _keys(weights: Weights, rows: Float[Tensor, "n_rows d_model"]) -> Float[Tensor, "n_rows n_heads d_head"]:
    keys = torch.einsum("rm,hmd->rhd", rows, weights["W_K"])
    return keys + weights["b_K"] if "b_K" in weights else keys


def _values(weights: Weights, rows: Float[Tensor, "n_rows d_model"]) -> Float[Tensor, "n_heads n_rows d_head"]:
    values = torch.einsum("rm,hmd->hrd", rows, weights["W_V"])
    return values + weights["b_V"][:, None] if "b_V" in weights else values


def _mix_values(
    values: Float[Tensor, "n_heads rows d_head"],
    readers: Float[Tensor, "n_heads d_head d_read"],
    pattern: Float[Tensor, "n n_ctx n_heads"],
    pairs: Pairs,
) -> Float[Tensor, "n d_read"]:
    """Weight the values of n_ctx rows head by head, by the definition of attention, and read the result."""
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
    """Read the values first, into a table of which each pair sums n_ctx·n_heads rows: on a CPU, sums are faster."""
    n_heads = len(values)
    table = (values @ readers).transpose(0, 1).reshape(-1, readers.shape[-1])  # row, head → [rows * n_heads, d_read]
    return _WeightedRows.apply(table, pattern.flatten(1), pairs.incidence(n_heads, pattern.shape[1]))


class _WeightedRows(torch.autograd.Function):
    """out[i] = Σ_j weight[i, j] · table[rows_of_pair[i, j]], with gradients that never form [n, k, d_read]."""

    @staticmethod
    def forward(
        ctx: Any, table: Float[Tensor, "n_rows d_read"], weight: Float[Tensor, "n k"], incidence: Incidence
    ) -> Float[Tensor, "n d_read"]:
        ctx.save_for_backward(table, weight)
        ctx.incidence = incidence
        return functional.embedding_bag(incidence.rows_of_pair, table, per_sample_weights=weight, mode="sum")

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None]:
        (grad,) = grads
        table, weight = ctx.saved_tensors
        incidence: Incidence = ctx.incidence
        grad = grad.contiguous()
        weight_of_entry = weight.flatten()[incidence.order]
        grad_table = functional.embedding_bag(
            incidence.pair_of_entry, grad, incidence.offsets, per_sample_weights=weight_of_entry, mode="sum"
        )
        # grad · tableᵀ, at the k entries of each pair only.
        grad_weight = torch.sparse.sampled_addmm(incidence.entries.to(grad.dtype), grad, table.t(), beta=0.0).values()
        return grad_table, grad_weight.view_as(weight), None
