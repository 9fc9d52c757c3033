"""Weights: how they are named, shaped and initialized, and their way to and from TransformerLens.

A model's weights are a mapping of float32 tensors under TransformerLens' names and orientations

    W_E [d_vocab, d_model]   W_pos [n_ctx, d_model]   W_Q, W_K, W_V [n_heads, d_model, d_head]
    W_O [n_heads, d_head, d_model]   W_in [d_model, d_mlp]   b_in [d_mlp]   W_out [d_mlp, d_model]
    b_out [d_model]   W_U [d_model, d_vocab_out]

and, where a model has them, b_Q, b_K, b_V [n_heads, d_head], b_O [d_model] and b_U [d_vocab_out].
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from interp.config import Init, ModelConfig
from interp.errors import ConfigError
from interp.forward import Activation

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

Weights = Mapping[str, Tensor]

# name → (where it stands in TransformerLens' property names, its axes)
_LAYOUT: dict[str, tuple[str, tuple[str, ...]]] = {
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
_OPTIONAL = ("b_Q", "b_K", "b_V", "b_O", "b_U")


def check_weights(weights: Weights, config: ModelConfig) -> None:
    """Raise ConfigError unless `weights` are exactly those of `config`: names, shapes, float32, finite."""
    missing = [name for name in _LAYOUT if name not in weights and name not in _OPTIONAL]
    unknown = [name for name in weights if name not in _LAYOUT]
    if missing or unknown:
        found = f"lacks {', '.join(missing)}" if missing else f"also holds {', '.join(unknown)}"
        raise ConfigError(f"a model of {', '.join(weights) or 'no weights'} {found}; see interp.model for the names.")
    for name, weight in weights.items():
        axes = _LAYOUT[name][1]
        expected = tuple(getattr(config, axis) for axis in axes)
        if tuple(weight.shape) != expected:
            raise ConfigError(f"{name} is {list(weight.shape)}; expected [{', '.join(axes)}] = {list(expected)}.")
        if weight.dtype != torch.float32:
            raise ConfigError(f"{name} is {weight.dtype}; weights are float32.")
        bad = int((~torch.isfinite(weight)).sum())
        if bad:
            raise ConfigError(f"{name} holds {bad} values that are not finite (of {weight.numel()}).")


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

    return TransformerBridge.boot_native(
        TransformerBridgeConfig(
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
            seed=seed,
            init_weights=seed is not None,
        )
    )


def to_bridge(weights: Weights, config: ModelConfig) -> TransformerBridge:
    """A TransformerBridge with these weights: hooks, `run_with_cache` and the rest of TransformerLens.

    Biases that the model lacks are zeros there. Feed it [batch, 3] tokens (a, b, p) and read the last position.
    """
    from transformer_lens.utilities.tl_checkpoint_conversion import convert_tl_checkpoint

    check_weights(weights, config)
    full = {
        _LAYOUT[name][0]: weights[name].detach().clone()
        if name in weights
        else torch.zeros([getattr(config, axis) for axis in _LAYOUT[name][1]])
        for name in _LAYOUT
    }
    bridge = _boot(config)
    bridge.load_state_dict(convert_tl_checkpoint(full, bridge.cfg), strict=True)
    return bridge


def from_bridge(bridge: TransformerBridge) -> tuple[dict[str, Tensor], ModelConfig]:
    """The weights and sizes of a one-layer TransformerBridge without layer norm, all biases included.

    Raises ConfigError for another architecture: that is measured through its hooks instead
    (`progress_measures(bridge, task=...)`).
    """
    cfg = bridge.cfg
    if cfg.n_layers != 1 or cfg.normalization_type is not None or cfg.attn_only or cfg.act_fn not in _ACTIVATION_OF:
        raise ConfigError(
            f"a bridge of {cfg.n_layers} layers, normalization {cfg.normalization_type}, activation {cfg.act_fn} is no "
            "one-layer model without layer norm; measure it through its hooks with progress_measures(bridge, task=...)."
        )
    state = bridge.state_dict()
    heads = (cfg.n_heads, cfg.d_head)
    attention = {
        f"{kind}_{name}": tensor
        for name in "QKV"
        for kind, tensor in [
            ("W", state[f"blocks.0.attn.{name.lower()}.weight"].view(*heads, cfg.d_model).transpose(1, 2)),
            ("b", state[f"blocks.0.attn.{name.lower()}.bias"].view(heads)),
        ]
    }
    weights = {
        "W_E": state["embed.weight"],
        "W_pos": state["pos_embed.weight"],
        **attention,
        "W_O": state["blocks.0.attn.o.weight"].T.view(*heads, cfg.d_model),
        "b_O": state["blocks.0.attn.o.bias"],
        "W_in": state["blocks.0.mlp.in.weight"].T,
        "b_in": state["blocks.0.mlp.in.bias"],
        "W_out": state["blocks.0.mlp.out.weight"].T,
        "b_out": state["blocks.0.mlp.out.bias"],
        "W_U": state["unembed.weight"].T,
        "b_U": state["unembed.bias"],
    }
    config = ModelConfig(
        d_vocab=cfg.d_vocab,
        d_vocab_out=cfg.d_vocab_out,
        n_ctx=cfg.n_ctx,
        d_model=cfg.d_model,
        n_heads=cfg.n_heads,
        d_head=cfg.d_head,
        d_mlp=cfg.d_mlp,
        activation=_ACTIVATION_OF[cfg.act_fn],
    )
    return {
        name: weight.detach().clone(memory_format=torch.contiguous_format) for name, weight in weights.items()
    }, config


_ACTIVATION_OF: dict[str, Activation] = {"relu": "relu", "gelu": "gelu", "gelu_new": "gelu_new"}
