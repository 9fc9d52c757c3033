"""Models whose measures are known in closed form, and random ones of any shape."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from interp.all_pairs import Activations
from interp.config import ModelConfig

OPTIONAL_BIASES = ("b_Q", "b_K", "b_V", "b_O", "b_U")


def analytic_logits(p: int, amplitudes: dict[int, float], labels: Tensor) -> Tensor:
    """L[a, b, c] = Σ_k A_k cos w_k(s − c), s the label of (a, b)."""
    difference = labels[..., None] - torch.arange(p)
    waves = [A * torch.cos(2 * math.pi * k / p * (difference % p).double()) for k, A in amplitudes.items()]
    return torch.stack(waves).sum(0).float()


def analytic_activations(p: int, amplitudes: dict[int, float], labels: Tensor, neurons: Tensor) -> Activations:
    return Activations(analytic_logits(p, amplitudes, labels), neurons, torch.full((p, p, 1, 3), 1 / 3))


def random_weights(config: ModelConfig, seed: int = 0, biases: tuple[str, ...] = ()) -> dict[str, Tensor]:
    """Weights of order one everywhere, the biases included, so that no term hides."""
    generator = torch.Generator().manual_seed(seed)
    c = config
    shapes = {
        "W_E": (c.d_vocab, c.d_model), "W_pos": (c.n_ctx, c.d_model),
        "W_Q": (c.n_heads, c.d_model, c.d_head), "W_K": (c.n_heads, c.d_model, c.d_head),
        "W_V": (c.n_heads, c.d_model, c.d_head), "W_O": (c.n_heads, c.d_head, c.d_model),
        "W_in": (c.d_model, c.d_mlp), "b_in": (c.d_mlp,), "W_out": (c.d_mlp, c.d_model), "b_out": (c.d_model,),
        "W_U": (c.d_model, c.d_vocab_out), "b_Q": (c.n_heads, c.d_head), "b_K": (c.n_heads, c.d_head),
        "b_V": (c.n_heads, c.d_head), "b_O": (c.d_model,), "b_U": (c.d_vocab_out,),
    }  # fmt: skip
    return {
        name: torch.randn(shape, generator=generator) / shape[-1] ** 0.5
        for name, shape in shapes.items()
        if name not in OPTIONAL_BIASES or name in biases
    }


def sizes(p: int, *, extra_output: bool = True, activation: str = "relu", **changes: int) -> ModelConfig:
    base = {"d_model": 16, "n_heads": 2, "d_head": 8, "d_mlp": 24} | changes
    return ModelConfig(d_vocab=p + 1, d_vocab_out=p + extra_output, n_ctx=3, activation=activation, **base)
