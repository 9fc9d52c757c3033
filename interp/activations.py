"""Activations of a model over all p*p pairs, at the last position: by the shared forward, or through hooks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from interp.errors import ConfigError
from interp.forward import Activation, Pairs, forward
from interp.model import Weights

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

_HOOK_BATCH = 4096


@dataclass(frozen=True, eq=False)
class Activations:
    """What every pair (a, b) gives at the last position.

    logits  [p, p, p]: L[a, b, c], without the logit of "="
    neurons [p, p, d_mlp]: after the activation (hook_post), of the last layer; None for a model without an MLP
    pattern [p, p, n_heads, n_ctx]: attention from the last position (hook_pattern), in the last layer
    """

    logits: Float[Tensor, "p p p"]
    neurons: Float[Tensor, "p p d_mlp"] | None
    pattern: Float[Tensor, "p p n_heads n_ctx"]


@torch.no_grad()
def activations(weights: Weights, p: int, activation: Activation = "relu") -> Activations:
    """All pairs through the shared forward of `interp.forward`; ConfigError for weights of another p."""
    if len(weights["W_E"]) != p + 1 or weights["W_U"].shape[1] < p:
        raise ConfigError(
            f"W_E has {len(weights['W_E'])} tokens and W_U {weights['W_U'].shape[1]} outputs; "
            f"a task of p = {p} has {p + 1} and {p} or {p + 1}."
        )
    out = forward(weights, Pairs.all(p), activation)
    return Activations(
        out.logits[:, :p].unflatten(0, (p, p)),
        out.neurons.unflatten(0, (p, p)),
        out.pattern.transpose(1, 2).unflatten(0, (p, p)),
    )


@torch.no_grad()
def hooked_activations(bridge: TransformerBridge, p: int) -> Activations:
    """All pairs through the hooks of a TransformerBridge of any depth and normalization, its own hooks included.

    A model with three positions or more reads (a, b, p), one with two reads (a, b).
    Raises ConfigError where its vocabulary is not that of a task of modulus p.
    """
    cfg = bridge.cfg
    equals = cfg.n_ctx > 2
    if cfg.d_vocab != p + equals or cfg.d_vocab_out not in (p, p + 1):
        raise ConfigError(
            f"the bridge has d_vocab {cfg.d_vocab} and d_vocab_out {cfg.d_vocab_out}; a task of p = {p} has "
            f"{p + equals} and {p} or {p + 1}. Pass the task that it was trained on."
        )
    pairs = Pairs.all(p)
    tokens = torch.stack([pairs.a, pairs.b] + [torch.full_like(pairs.a, p)] * equals, dim=1).to(cfg.device)
    block = f"blocks.{cfg.n_layers - 1}"
    wanted = [f"{block}.attn.hook_pattern"] + ([] if cfg.attn_only else [f"{block}.mlp.hook_post"])
    logits, patterns, neurons = [], [], []
    for batch in tokens.split(_HOOK_BATCH):
        out, cache = bridge.run_with_cache(batch, names_filter=wanted)
        logits.append(out[:, -1, :p].float().cpu())
        patterns.append(cache[wanted[0]][:, :, -1].float().cpu())
        if not cfg.attn_only:
            neurons.append(cache[wanted[1]][:, -1].float().cpu())
    return Activations(
        torch.cat(logits).unflatten(0, (p, p)),
        torch.cat(neurons).unflatten(0, (p, p)) if neurons else None,
        torch.cat(patterns).unflatten(0, (p, p)),
    )
