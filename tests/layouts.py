"""Our models as other people's code would have saved them, written out by hand."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from interp.networks import Network, OneHiddenLayer, Transformer
from tests.models import OPTIONAL_BIASES, random_weights

P = 11
WIDE = {"d_model": 16, "n_heads": 2, "d_head": 6, "d_mlp": 24}  # heads that do not fill d_model, so no two sizes agree

Weights = dict[str, Tensor]


def paper(w: Weights) -> Weights:
    """Left-acting matrices (Nanda et al.); with two positions that of Zhong et al."""
    n_ctx = len(w["W_pos"])
    return {
        "embed.W_E": w["W_E"].T,
        "pos_embed.W_pos": w["W_pos"],
        "blocks.0.attn.W_K": w["W_K"].transpose(1, 2),
        "blocks.0.attn.W_Q": w["W_Q"].transpose(1, 2),
        "blocks.0.attn.W_V": w["W_V"].transpose(1, 2),
        "blocks.0.attn.W_O": torch.cat(list(w["W_O"])).T,
        "blocks.0.attn.mask": torch.tril(torch.ones(n_ctx, n_ctx)),
        "blocks.0.mlp.W_in": w["W_in"].T,
        "blocks.0.mlp.b_in": w["b_in"],
        "blocks.0.mlp.W_out": w["W_out"].T,
        "blocks.0.mlp.b_out": w["b_out"],
        "unembed.W_U": w["W_U"],
    }


def properties(w: Weights) -> Weights:
    """TransformerLens 1.x to 3.x, with the buffers that it saves and the two tensors that Chughtai et al. add."""
    places = {"E": "embed", "pos": "pos_embed", "in": "blocks.0.mlp", "out": "blocks.0.mlp", "U": "unembed"}
    state = {f"{places.get(name[2:], 'blocks.0.attn')}.{name}": weight for name, weight in w.items()}
    n_ctx = len(w["W_pos"])
    return state | {
        "blocks.0.attn.mask": torch.tril(torch.ones(n_ctx, n_ctx)).bool(),
        "blocks.0.attn.IGNORE": torch.tensor(-1e5),
        "x_embed": w["W_E"] + 1,
        "y_embed": w["W_E"] + 2,
    }


def bridge(w: Weights, config: Transformer) -> Weights:
    """The state dict of a TransformerLens 4 bridge with these weights, as TransformerLens gives it."""
    from interp.networks.transformer import to_bridge

    return dict(to_bridge(w, config).state_dict())


def transformer(
    n_ctx: int, own_tokens: bool = False, outputs: int | None = None, coefficient: float = 1.0
) -> Transformer:
    equals = n_ctx == 3
    return Transformer(
        d_vocab=(2 * P if own_tokens else P) + equals,
        d_vocab_out=outputs or P + equals,
        n_ctx=n_ctx,
        attention_coefficient=coefficient,
        **WIDE,
    )


def mlp_weights(config: OneHiddenLayer, seed: int = 0) -> Weights:
    generator = torch.Generator().manual_seed(seed)
    shapes = {
        "W_x": (config.d_vocab, config.d_embed), "W_y": (config.d_vocab, config.d_embed),
        "W": (config.d_input, config.d_hidden), "W_U": (config.d_hidden, config.d_vocab_out),
    }  # fmt: skip
    return {name: torch.randn(shape, generator=generator) / shape[0] ** 0.5 for name, shape in shapes.items()}


@dataclass(frozen=True)
class Saved:
    """A model of ours, its state dict in another's layout, and what the caller has to say of it."""

    config: Network
    weights: Weights
    state: Weights
    asked: dict[str, object]


def saved(name: str) -> Saved:
    if name.startswith("one hidden layer"):
        mlp = OneHiddenLayer(P, P, d_embed=10, d_hidden=14, inputs="summed" if "summed" in name else "concatenated")
        weights = mlp_weights(mlp)
        return Saved(mlp, weights, weights, {})
    mixed = {"attention_coefficient": 0.3}
    config, biases, asked = {
        "paper": (transformer(3), (), {}),
        "properties": (transformer(3, outputs=P), OPTIONAL_BIASES, {}),
        "bridge": (transformer(3, outputs=P), OPTIONAL_BIASES, {"n_heads": 2}),
        "our names": (transformer(3), ("b_Q", "b_V"), {}),
        "constant attention": (transformer(2, coefficient=0.3), (), mixed),
        "constant attention, tokens of b's own": (transformer(2, True, coefficient=0.3), (), mixed),
        "constant attention, as many outputs": (
            transformer(2, True, outputs=2 * P, coefficient=0.3), (), mixed | {"task": P},
        ),
        "constant attention, properties": (transformer(2, coefficient=0.3), OPTIONAL_BIASES, mixed),
        "constant attention, bridge": (transformer(2, coefficient=0.3), OPTIONAL_BIASES, mixed | {"n_heads": 2}),
        "tokens of b's own and an equals sign": (transformer(3, True, outputs=2 * P + 1), (), {"task": P}),
    }[name]  # fmt: skip
    weights = random_weights(config, seed=3, biases=biases)
    if "bridge" in name:
        state = bridge(weights, config)
    elif "properties" in name:
        state = properties(weights)
    else:
        state = dict(weights) if name == "our names" else paper(weights)
    return Saved(config, weights, state, asked)


NAMES = (
    "paper", "properties", "bridge", "our names", "constant attention", "constant attention, tokens of b's own",
    "constant attention, as many outputs", "constant attention, properties", "constant attention, bridge",
    "tokens of b's own and an equals sign", "one hidden layer, concatenated", "one hidden layer, summed",
)  # fmt: skip
