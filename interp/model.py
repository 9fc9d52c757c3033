"""Weights: how they are named, shaped and initialized, and their way to and from TransformerLens.

A model's weights are a mapping of float32 tensors under TransformerLens' names and orientations

    W_E [d_vocab, d_model]   W_pos [n_ctx, d_model]   W_Q, W_K, W_V [n_heads, d_model, d_head]
    W_O [n_heads, d_head, d_model]   W_in [d_model, d_mlp]   b_in [d_mlp]   W_out [d_mlp, d_model]
    b_out [d_model]   W_U [d_model, d_vocab_out]

and, where a model has them, b_Q, b_K, b_V [n_heads, d_head], b_O [d_model] and b_U [d_vocab_out]. A network of one
hidden layer has W_x, W_y [d_vocab, d_embed], W [d_input, d_hidden] and W_U [d_hidden, d_vocab_out] instead.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from einops import rearrange
from jaxtyping import Float, Shaped
from torch import Tensor

from interp.computing import computing
from interp.config import Architecture, Init, MLPConfig, ModelConfig
from interp.errors import ConfigError
from interp.forward import ACTIVATIONS

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

    from interp.hooked_mlp import HookedMLP

Weights = Mapping[str, Tensor]

# name → (where it stands in TransformerLens' property names, its axes)
TRANSFORMER: dict[str, tuple[str, tuple[str, ...]]] = {
    "W_E": ("embed.W_E", ("d_vocab", "d_model")),
    "W_pos": ("pos_embed.W_pos", ("n_ctx", "d_model")),
    "W_Q": ("blocks.0.attn.W_Q", ("n_heads", "d_model", "d_head")),
    "W_K": ("blocks.0.attn.W_K", ("n_heads", "d_model", "d_head")),
    "W_V": ("blocks.0.attn.W_V", ("n_heads", "d_model", "d_head")),
    "W_O": ("blocks.0.attn.W_O", ("n_heads", "d_head", "d_model")),
    "W_in": ("blocks.0.mlp.W_in", ("d_model", "d_mlp")),
    "b_in": ("blocks.0.mlp.b_in", ("d_mlp",)),
    "W_out": ("blocks.0.mlp.W_out", ("d_mlp", "d_model")),
    "b_out": ("blocks.0.mlp.b_out", ("d_model",)),
    "W_U": ("unembed.W_U", ("d_model", "d_vocab_out")),
    "b_Q": ("blocks.0.attn.b_Q", ("n_heads", "d_head")),
    "b_K": ("blocks.0.attn.b_K", ("n_heads", "d_head")),
    "b_V": ("blocks.0.attn.b_V", ("n_heads", "d_head")),
    "b_O": ("blocks.0.attn.b_O", ("d_model",)),
    "b_U": ("unembed.b_U", ("d_vocab_out",)),
}
OPTIONAL = ("b_Q", "b_K", "b_V", "b_O", "b_U")
# name → (where it stands in the state dict of a TransformerBridge, how it is turned into ours)
BRIDGE: dict[str, tuple[str, str]] = {
    "W_E": ("embed.weight", "d_vocab d_model -> d_vocab d_model"),
    "W_pos": ("pos_embed.weight", "n_ctx d_model -> n_ctx d_model"),
    **{
        f"W_{name}": (f"blocks.0.attn.{name.lower()}.weight", "(n_heads d_head) d_model -> n_heads d_model d_head")
        for name in "QKV"
    },
    "W_O": ("blocks.0.attn.o.weight", "d_model (n_heads d_head) -> n_heads d_head d_model"),
    "W_in": ("blocks.0.mlp.in.weight", "d_mlp d_model -> d_model d_mlp"),
    "b_in": ("blocks.0.mlp.in.bias", "d_mlp -> d_mlp"),
    "W_out": ("blocks.0.mlp.out.weight", "d_model d_mlp -> d_mlp d_model"),
    "b_out": ("blocks.0.mlp.out.bias", "d_model -> d_model"),
    "W_U": ("unembed.weight", "d_vocab_out d_model -> d_model d_vocab_out"),
    **{f"b_{name}": (f"blocks.0.attn.{name.lower()}.bias", "(n_heads d_head) -> n_heads d_head") for name in "QKV"},
    "b_O": ("blocks.0.attn.o.bias", "d_model -> d_model"),
    "b_U": ("unembed.bias", "d_vocab_out -> d_vocab_out"),
}
MLP: dict[str, tuple[str, ...]] = {
    "W_x": ("d_vocab", "d_embed"),
    "W_y": ("d_vocab", "d_embed"),
    "W": ("d_input", "d_hidden"),
    "W_U": ("d_hidden", "d_vocab_out"),
}


def axes_of(config: Architecture) -> dict[str, tuple[str, ...]]:
    """The names of the weights of an architecture, each with the names of its axes."""
    return MLP if isinstance(config, MLPConfig) else {name: axes for name, (_, axes) in TRANSFORMER.items()}


def check_weights(weights: Weights, config: Architecture) -> None:
    """Raise ConfigError unless `weights` are exactly those of `config`: names, shapes, float32, finite."""
    known = axes_of(config)
    missing = [name for name in known if name not in weights and name not in OPTIONAL]
    unknown = [name for name in weights if name not in known]
    if missing or unknown:
        found = f"lacks {', '.join(missing)}" if missing else f"also holds {', '.join(unknown)}"
        raise ConfigError(f"a model of {', '.join(weights) or 'no weights'} {found}; see interp.model for the names.")
    for name, weight in weights.items():
        expected = tuple(getattr(config, axis) for axis in known[name])
        if tuple(weight.shape) != expected:
            raise ConfigError(
                f"{name} is {list(weight.shape)}; expected [{', '.join(known[name])}] = {list(expected)}."
            )
        if weight.dtype != torch.float32:
            raise ConfigError(f"{name} is {weight.dtype}; weights are float32.")
        bad = int((~torch.isfinite(weight)).sum())
        if bad:
            raise ConfigError(f"{name} holds {bad} values that are not finite (of {weight.numel()}).")


def oriented(weight: Shaped[Tensor, "..."], pattern: str, n_heads: int) -> Shaped[Tensor, "..."]:
    """A weight turned by an einops pattern, in which "(n_heads d_head)" may stand."""
    return rearrange(weight, pattern, **({"n_heads": n_heads} if "(n_heads d_head)" in pattern else {}))


@computing(grad=None)
def neuron_logit_map(weights: Weights) -> Float[Tensor, "d_mlp d_vocab_out"]:
    """W_L: what each neuron adds to the logits, W_out · W_U, or W_U itself where the hidden layer is the last."""
    return weights["W_out"] @ weights["W_U"] if "W_out" in weights else weights["W_U"]


def embedding(weights: Weights, p: int) -> Float[Tensor, "p d"]:
    """What is looked at as W_E: its rows of the p numbers (a's, where b has its own), or W_x and W_y side by side."""
    return weights["W_E"][:p] if "W_E" in weights else torch.cat([weights["W_x"], weights["W_y"]], dim=1)


@computing()
def initial_weights(config: ModelConfig, seed: int, init: Init = "paper") -> dict[str, Tensor]:
    """Fresh weights of a seed; no global random state is read or changed.

    `"paper"` draws what the published mainline drew, in its order and shapes (Nanda et al., 2023): standard normals
    over the square root of d_model (of d_vocab for W_U), biases zero. `"transformer_lens"` is
    TransformerLens' own initialization (its `gpt2` mode), which has attention biases too.
    """
    if init == "transformer_lens":
        weights = from_bridge(_boot(config, seed=seed))[0]
        del weights["b_U"]  # a buffer of zeros there, which no training touches
        return weights
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int, over: int) -> Tensor:
        return torch.randn(*shape, generator=generator) / over**0.5

    c = config
    # The published code acts from the left; its shapes fix the order in which numbers are drawn.
    W_E = normal(c.d_model, c.d_vocab, over=c.d_model).T
    W_pos = normal(c.n_ctx, c.d_model, over=c.d_model)
    W_K, W_Q, W_V = (normal(c.n_heads, c.d_head, c.d_model, over=c.d_model).transpose(1, 2) for _ in range(3))
    W_O = normal(c.d_model, c.n_heads * c.d_head, over=c.d_model).T.reshape(c.n_heads, c.d_head, c.d_model)
    W_in = normal(c.d_mlp, c.d_model, over=c.d_model).T
    W_out = normal(c.d_model, c.d_mlp, over=c.d_model).T
    W_U = normal(c.d_model, c.d_vocab_out, over=c.d_vocab)
    weights = {
        "W_E": W_E, "W_pos": W_pos, "W_Q": W_Q, "W_K": W_K, "W_V": W_V, "W_O": W_O,
        "W_in": W_in, "b_in": torch.zeros(c.d_mlp), "W_out": W_out, "b_out": torch.zeros(c.d_model), "W_U": W_U,
    }  # fmt: skip
    return {name: weight.contiguous() for name, weight in weights.items()}


def _boot(config: ModelConfig, seed: int | None = None) -> TransformerBridge:
    from transformer_lens.config import TransformerBridgeConfig  # takes seconds to import
    from transformer_lens.model_bridge import TransformerBridge

    sizes = TransformerBridgeConfig(
        n_layers=1,
        n_ctx=config.n_ctx,
        d_vocab=config.d_vocab,
        d_vocab_out=config.d_vocab_out,
        d_model=config.d_model,
        n_heads=config.n_heads,
        d_head=config.d_head,
        d_mlp=config.d_mlp,
        act_fn=config.activation,
        normalization_type=None,
        attention_dir="causal" if config.n_ctx == 3 else "bidirectional",
        device="cpu",
        seed=seed,
        init_weights=seed is not None,
    )
    with torch.random.fork_rng(devices=[]):  # torch draws weights of its own, which are then replaced
        bridge = TransformerBridge.boot_native(sizes)
    bridge.attention_coefficient = mixed = config.attention_coefficient  # for from_bridge
    if mixed != 1:
        bridge.add_hook(
            "blocks.0.attn.hook_pattern", lambda pattern, hook: mixed * pattern + (1 - mixed), is_permanent=True
        )
    return bridge


@computing()
def to_hooked(weights: Weights, config: Architecture) -> TransformerBridge | HookedMLP:
    """The model with hooks: a TransformerBridge, or a HookedMLP for a network of one hidden layer."""
    if isinstance(config, ModelConfig):
        return to_bridge(weights, config)
    from interp.hooked_mlp import HookedMLP  # TransformerLens takes seconds to import

    check_weights(weights, config)
    return HookedMLP(weights, config)


@computing()
def to_bridge(weights: Weights, config: ModelConfig) -> TransformerBridge:
    """A TransformerBridge with these weights: hooks, `run_with_cache` and the rest of TransformerLens.

    Biases that the model lacks are zeros there. Feed it [batch, 3] tokens (a, b, p), or [batch, 2] where it has two
    positions, and read the last position.

    Constant attention is a permanent hook on `blocks.0.attn.hook_pattern`, which `reset_hooks` leaves in place: it
    mixes the softmax into coefficient · softmax + (1 − coefficient) before any other hook there sees it, so caches and
    your own hooks hold the mixed pattern. A model of two positions has no causal mask.
    """
    from transformer_lens.utilities.tl_checkpoint_conversion import convert_tl_checkpoint

    check_weights(weights, config)
    full = {
        TRANSFORMER[name][0]: weights[name].detach().clone()
        if name in weights
        else torch.zeros([getattr(config, axis) for axis in TRANSFORMER[name][1]])
        for name in TRANSFORMER
    }
    bridge = _boot(config)
    bridge.load_state_dict(convert_tl_checkpoint(full, bridge.cfg), strict=True)
    return bridge


@computing()
def from_bridge(bridge: TransformerBridge) -> tuple[dict[str, Tensor], ModelConfig]:
    """The weights and sizes of a one-layer TransformerBridge without layer norm, all biases included.

    Raises ConfigError for another architecture: that is measured through its hooks instead
    (`progress_measures(bridge, task=...)`).
    """
    cfg = bridge.cfg
    if cfg.n_layers != 1 or cfg.normalization_type is not None or cfg.attn_only or cfg.act_fn not in ACTIVATIONS:
        raise ConfigError(
            f"a bridge of {cfg.n_layers} layers, normalization {cfg.normalization_type}, activation {cfg.act_fn} is no "
            "one-layer model without layer norm; measure it through its hooks with progress_measures(bridge, task=...)."
        )
    state = bridge.state_dict()
    weights = {name: oriented(state[key], pattern, cfg.n_heads) for name, (key, pattern) in BRIDGE.items()}
    config = ModelConfig(
        d_vocab=cfg.d_vocab,
        d_vocab_out=cfg.d_vocab_out,
        n_ctx=cfg.n_ctx,
        d_model=cfg.d_model,
        n_heads=cfg.n_heads,
        d_head=cfg.d_head,
        d_mlp=cfg.d_mlp,
        activation=cfg.act_fn,
        attention_coefficient=getattr(bridge, "attention_coefficient", 1.0),
    )
    return {
        name: weight.detach().to("cpu", torch.float32, copy=True, memory_format=torch.contiguous_format)
        for name, weight in weights.items()
    }, config


def plain(weights: Weights) -> dict[str, Tensor]:
    """Return weights as ordinary tensors on the CPU, of float32 or wider, that record no gradients; shared if they are.

    A tensor made under `torch.inference_mode` is copied, since gradients cannot pass through it.
    """
    whole = {name: weight.detach().cpu() for name, weight in weights.items()}
    return {
        name: (weight.clone() if weight.is_inference() else weight).to(torch.promote_types(weight.dtype, torch.float32))
        for name, weight in whole.items()
    }
