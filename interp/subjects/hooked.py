"""A model with TransformerLens' hooks: its tokens, activations and gradients on all pairs, and its subject."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Int
from torch import Tensor, nn

from interp.networks import Network
from interp.networks.base import at_last, jacobian
from interp.networks.pairs import FORWARD_BATCH, GRADIENT_BATCH, Pairs
from interp.networks.taps import InputGradients
from interp.networks.transformer import check_vocabulary, rows_of_numbers, tokens_for
from interp.subjects.activations import Activations
from interp.subjects.subject import Known, Subject
from interp.utils.errors import ConfigError
from interp.utils.torch_state import computing

if TYPE_CHECKING:
    from transformer_lens import HookedRootModule


@computing()
def tokens_of(model: HookedRootModule, pairs: Pairs) -> Int[Tensor, "n n_ctx"]:
    """Return the tokens of these pairs: (a, b), or (a, b, =) for a model of three positions, whose last token is "=".

    In a vocabulary of 2p tokens beside "=", b has the second p. Raises ConfigError if the vocabulary is not that of a
    task of modulus p.
    """
    cfg, p = model.cfg, pairs.p
    if isinstance(cfg, Network):
        cfg.check_modulus(p)
        return cfg.tokens(pairs).to(_device_of(model))
    check_vocabulary(p, cfg.d_vocab, cfg.d_vocab_out, cfg.n_ctx)
    return tokens_for(pairs, cfg.d_vocab, cfg.n_ctx).to(_device_of(model))


def _device_of(model: Any) -> torch.device | str:
    """Return the device of a model's parameters; cfg.device is the one on which it was made."""
    first = next(model.parameters(), None)
    return model.cfg.device if first is None else first.device


@contextlib.contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Put a model into evaluation mode, and each of its modules back into its own mode afterwards.

    Raises ConfigError for a model on the meta device, which holds no numbers.
    """
    if any(parameter.is_meta for parameter in model.parameters()):
        raise ConfigError(
            f"A model must hold numbers to be measured; got a {type(model).__name__} on the meta device. "
            "Load its weights on a device first."
        )
    parts: list[Any] = [model, getattr(model, "original_model", model)]  # a bridge's modules() omits some of these
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
    """Run all pairs through a TransformerBridge of any depth, or a HookedNetwork, in evaluation mode, with its hooks.

    Raises ConfigError if its vocabulary is not that of a task of modulus p.
    """
    cfg = model.cfg
    if isinstance(cfg, Network):
        at_pattern, at_neurons = (x if x in model.hook_dict else "" for x in (cfg.points.pattern, cfg.points.neurons))
    else:
        block = f"blocks.{cfg.n_layers - 1}"
        at_pattern, at_neurons = f"{block}.attn.hook_pattern", "" if cfg.attn_only else f"{block}.mlp.hook_post"
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
    """Yield ∂L/∂E_a and ∂L/∂E_b of pairs, in batches: gradients by hook_embed at positions 0 and 1, with your hooks."""
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
            f"Gradients need parameters that were made outside of torch.inference_mode; got a {type(model).__name__} "
            "that was made under it. Make it outside, or leave mechanism out."
        )
    with evaluating(model), model.hooks(fwd_hooks=[("hook_embed", leaf)]):
        logits = at_last(model(tokens))
    (grad,) = jacobian(logits[:, :p], embedded[-1])
    return grad[:, :, 0].float().cpu(), grad[:, :, 1].float().cpu()


_NO_NEURONS = dict.fromkeys(("neurons", "W_L"), "the model has no MLP, so no neurons")
NO_SPLIT_GIVEN = "no train/test split is known; pass split= (a bool mask [p, p], or a name with its seed=)"
NO_ATTENTION = {"pattern": "the model has no attention"}


def of_numbers(W_L: Tensor | None, p: int) -> Tensor | None:
    return None if W_L is None else W_L[:, :p]


def hooked_subject_of(model: HookedRootModule, known: Known) -> Subject:
    """Return a model with hooks as a subject. All pairs run at once, so that hooks removed later still count."""
    p = known.task.p
    acts = hooked_activations(model, p)
    cfg = model.cfg
    have: dict[str, Callable[[], Any]] = {
        # A bridge keeps b_U among its buffers; its state dict holds all weights.
        "parameters": lambda: [w for w in model.state_dict().values() if w.is_floating_point()],
        "gradients": lambda: lambda pairs: hooked_input_gradients(model, pairs),
    }
    if isinstance(cfg, Network):
        own = {name: weight.detach().float().cpu() for name, weight in model.weights.items()}
        have |= {"W_E": lambda: cfg.embedding(own, p), "embeddings": lambda: cfg.embeddings(own, p)}
        have["W_L"] = lambda: of_numbers(cfg.neuron_logit_map(own), p)
    else:
        W_E = model.W_E.detach().float().cpu()
        have |= {"W_E": lambda: W_E[:p], "embeddings": lambda: rows_of_numbers(W_E, p)}
        if acts.neurons is not None:
            have["W_L"] = lambda: (model.W_out[-1] @ model.W_U).detach().float().cpu()[:, :p]
    by_hooks = "the model is measured through its hooks, and has no weights under interp's names"
    lack = {"train_mask": known.no_split, "weights": by_hooks, "train_loss_gradient": by_hooks}
    return known.subject(lambda: acts, have=have, lack=_NO_NEURONS | NO_ATTENTION | lack)
