"""Attention from the last position in the Fourier basis (Nanda et al., 2023), and the QK and OV circuits of a head."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor

from interp.measures.neurons import frequency_shares
from interp.measures.registry import NANDA, builtin_measure
from interp.subjects.subject import Missing, Subject, quantity
from interp.tasks.fourier import by_frequency, shared_basis
from interp.utils.arguments import checks_arrays, given, whole
from interp.utils.errors import ConfigError
from interp.utils.torch_state import computing


@checks_arrays
def attention_shares(pattern: Float[Tensor, "p p n_heads n_ctx"]) -> Float[Tensor, "n_frequencies n_heads 2"]:
    """The share of the variance of each head's attention to a and to b, over pairs, that each frequency k explains.

    The terms of a frequency are those of `neurons.frequency_shares`.
    """
    to_ab = pattern[..., :2]
    return frequency_shares(to_ab.flatten(2)).unflatten(1, to_ab.shape[2:])


def score_vectors(weights: Mapping[str, Tensor], p: int) -> Float[Tensor, "n_heads p"]:
    """The part of each head's attention score that depends on a: s_h[a] = q_h · (W_E[a] · W_K) / √d_head.

    q_h is the query of "=", the same for all pairs. The constant that the position adds is left out.

    Raises:
        ConfigError: The model has no "=", so that its query is b's.
    """
    _need(weights, "W_E", "W_pos", "W_Q", "W_K")
    p = whole("p", p, 2, len(weights["W_E"]) + 1)
    if len(weights["W_pos"]) != 3:
        raise ConfigError('the score of a number is defined from "="; a model of two positions has none.')
    query = torch.einsum("m,hmd->hd", (weights["W_E"][-1] + weights["W_pos"][2]).double(), weights["W_Q"].double())
    if "b_Q" in weights:
        query = query + weights["b_Q"]
    keys = torch.einsum("am,hmd->ahd", weights["W_E"][:p].double(), weights["W_K"].double())
    return torch.einsum("hd,ahd->ha", query, keys) / math.sqrt(weights["W_Q"].shape[-1])


@checks_arrays
def score_shares(scores: Float[Tensor, "n_heads p"]) -> Float[Tensor, "n_frequencies n_heads"]:
    """The share of each head's score vector, its mean taken out, that each frequency k explains."""
    power = by_frequency(shared_basis(scores.shape[1]) @ scores.T.double()).square()
    total = power.sum(0)
    return power / torch.where(total > 0, total, torch.inf)


@computing(grad=None)
def qk_circuit(weights: Mapping[str, Tensor]) -> Float[Tensor, "n_heads d_vocab d_vocab"]:
    """W_E · W_Q · W_Kᵀ · W_Eᵀ: the score of each token, as key, for each token, as query (Elhage et al., 2021)."""
    _need(weights, "W_E", "W_Q", "W_K")
    W_E = weights["W_E"]
    return (W_E @ weights["W_Q"]) @ (W_E @ weights["W_K"]).transpose(1, 2)


@computing(grad=None)
def ov_circuit(weights: Mapping[str, Tensor]) -> Float[Tensor, "n_heads d_vocab d_vocab_out"]:
    """W_E · W_V · W_O · W_U: the logits that attention to each token adds, past the MLP (Elhage et al., 2021)."""
    _need(weights, "W_E", "W_V", "W_O", "W_U")
    return weights["W_E"] @ weights["W_V"] @ weights["W_O"] @ weights["W_U"]


def _need(weights: Mapping[str, Tensor], *names: str) -> None:
    if not isinstance(weights, Mapping) or not all(isinstance(weights.get(name), Tensor) for name in names):
        wanted = ", ".join(names)
        raise ConfigError(f"weights must map {wanted} to tensors, as checkpoint.weights does; got {given(weights)}.")


@quantity
def score_vectors_of(subject: Subject) -> Float[Tensor, "n_heads p"]:
    """`score_vectors` of the subject's weights; Missing unless it is a one-layer transformer that reads "="."""
    weights = subject.weights
    if not {"W_E", "W_pos", "W_Q", "W_K"} <= set(weights):
        raise Missing("the scores of attention are read off the weights of a transformer of one layer")
    if len(weights["W_pos"]) != 3:
        raise Missing('the score of a number is defined from "="; a model of two positions has none')
    return score_vectors(weights, subject.task.p)


# ── measures ─────────────────────────────────────────────────────────────────────────────────────────────────────


@builtin_measure(
    title="mean over heads, and over a and b, of the share of attention that one frequency explains", source=NANDA
)
def attention_share(subject: Subject) -> float:
    subject.needs_fourier()
    return float(attention_shares(subject.pattern).amax(0).mean())
