"""What a model computes on all p*p pairs, at the last position: by its own forward, or through hooks.

Its activations, and the gradients of its logits with respect to the two embedded inputs.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional

from interp.computing import computing
from interp.errors import ConfigError
from interp.networks import Network, Weights
from interp.networks.base import (
    UNTAPPED,
    InputGradients,
    at_last,
    check_repeats,
    jacobian,
    plain,
)
from interp.networks.pairs import FORWARD_BATCH, GRADIENT_BATCH, Pairs
from interp.networks.transformer import check_vocabulary, tokens_for

if TYPE_CHECKING:
    from transformer_lens import HookedRootModule


@dataclass(frozen=True, eq=False)
class Activations:
    """What every pair (a, b) gives at the last position.

    logits  [p, p, p]: L[a, b, c], without the logit of "="
    neurons [p, p, d_mlp]: after the activation (hook_post), of the last layer; None for a model without an MLP
    pattern [p, p, n_heads, n_ctx]: attention from the last position (hook_pattern), in the last layer; None for a
            network without attention
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


@computing()
def tokens_of(model: HookedRootModule, pairs: Pairs) -> Int[Tensor, "n n_ctx"]:
    """What the model reads for these pairs: (a, b), and "=", its last token, where it has a third position.

    Where it has 2p tokens beside "=", the second p are b's. Raises ConfigError where its vocabulary is not that of a
    task of modulus p.
    """
    cfg, p = model.cfg, pairs.p
    if isinstance(cfg, Network):
        cfg.check_modulus(p)
        return cfg.tokens(pairs).to(_device_of(model))
    check_vocabulary(p, cfg.d_vocab, cfg.d_vocab_out, cfg.n_ctx)
    return tokens_for(pairs, cfg.d_vocab, cfg.n_ctx).to(_device_of(model))


def _device_of(model: Any) -> torch.device | str:
    """Return where a model's parameters are: its cfg.device is where it was made."""
    first = next(model.parameters(), None)
    return model.cfg.device if first is None else first.device


@contextlib.contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Put a model into evaluation mode, without dropout, and each of its modules back into its own mode afterwards.

    Raises ConfigError for a model on the meta device, which holds no numbers.
    """
    if any(parameter.is_meta for parameter in model.parameters()):
        raise ConfigError(
            f"A model must hold numbers to be measured; got a {type(model).__name__} on the meta device. "
            "Load its weights on a device first."
        )
    parts: list[Any] = [model, getattr(model, "original_model", model)]  # which a bridge does not list as a whole
    modes = {module: module.training for part in parts for module in part.modules()}
    try:
        for module in modes:
            module.training = False
        yield
    finally:
        for module, training in modes.items():
            module.training = training


@computing()
def hooked_activations(model: HookedRootModule, p: int) -> Activations:
    """All pairs through a model's hooks, your own included, in evaluation mode.

    It is a TransformerBridge of any depth and normalization, or a HookedNetwork. A model with three
    positions or more reads (a, b, p), one with two reads (a, b).
    Raises ConfigError where its vocabulary is not that of a task of modulus p.
    """
    cfg = model.cfg
    if isinstance(cfg, Network):
        at_pattern, at_neurons = (
            name if name in model.hook_dict else "" for name in (cfg.points.pattern, cfg.points.neurons)
        )
    else:
        block = f"blocks.{cfg.n_layers - 1}"
        at_pattern = f"{block}.attn.hook_pattern"
        at_neurons = "" if cfg.attn_only else f"{block}.mlp.hook_post"
    wanted = [name for name in (at_pattern, at_neurons) if name]
    logits, patterns, neurons = [], [], []
    with evaluating(model):
        for batch in tokens_of(model, Pairs.all(p)).split(FORWARD_BATCH):
            out, cache = model.run_with_cache(batch, names_filter=wanted)
            logits.append(at_last(out)[:, :p].float().cpu())
            if at_pattern:
                pattern = cache[at_pattern]  # of all positions, or of the last alone
                patterns.append((pattern[:, :, -1] if pattern.ndim == 4 else pattern).float().cpu())
            if at_neurons:
                neurons.append(at_last(cache[at_neurons]).float().cpu())
    return Activations(
        torch.cat(logits).unflatten(0, (p, p)),
        torch.cat(neurons).unflatten(0, (p, p)) if neurons else None,
        torch.cat(patterns).unflatten(0, (p, p)) if patterns else None,
    )


def hooked_input_gradients(model: HookedRootModule, pairs: Pairs) -> Iterator[InputGradients]:
    """The same through a model's hooks, your own included: with respect to hook_embed at positions 0 and 1."""
    for tokens in tokens_of(model, pairs).split(GRADIENT_BATCH):
        yield _hooked_input_gradients(model, tokens, pairs.p)


@computing(grad=True)
def _hooked_input_gradients(model: HookedRootModule, tokens: Int[Tensor, "n n_ctx"], p: int) -> InputGradients:
    embedded: list[Tensor] = []

    def leaf(value: Tensor, hook: object) -> Tensor:
        embedded.append(value.detach().requires_grad_())
        return embedded[-1]

    if any(parameter.is_inference() for parameter in model.parameters()):
        raise ConfigError(
            f"Gradients cannot pass through parameters that were made under torch.inference_mode; got such a "
            f"{type(model).__name__}. Make it outside of inference_mode, or leave mechanism out."
        )
    with evaluating(model), model.hooks(fwd_hooks=[("hook_embed", leaf)]):
        logits = at_last(model(tokens))
    (grad,) = jacobian(logits[:, :p], embedded[-1])
    return grad[:, :, 0].float().cpu(), grad[:, :, 1].float().cpu()


@computing(grad=True)
def loss_gradient(
    network: Network, weights: Weights, train_mask: Bool[Tensor, "p p"], labels: Int[Tensor, "p p"]
) -> dict[str, Tensor]:
    """∂(mean cross-entropy of the train pairs)/∂W of each weight, over all outputs, "=" included as in training."""
    weights = {name: weight.detach().requires_grad_() for name, weight in plain(weights).items()}
    pairs = Pairs(len(labels), *train_mask.nonzero(as_tuple=True))
    logits = network.forward(weights, pairs, UNTAPPED)
    loss = functional.cross_entropy(logits.double(), labels[train_mask])
    return dict(zip(weights, torch.autograd.grad(loss, list(weights.values())), strict=True))
