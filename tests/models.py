"""Models whose measures are known in closed form, and random ones of any shape."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from interp.measures.logits import KEY_SHARE, key_frequencies_of
from interp.measures.registry import chosen
from interp.networks import Transformer
from interp.study.progress_table import ProgressMeasures, of_subject
from interp.subjects.activations import Activations
from interp.subjects.subject import Subject
from interp.tasks.task import Task

OPTIONAL_BIASES = ("b_Q", "b_K", "b_V", "b_O", "b_U")


def analytic_logits(p: int, amplitudes: dict[int, float], labels: Tensor) -> Tensor:
    """L[a, b, c] = Σ_k A_k cos w_k(s − c), s the label of (a, b)."""
    difference = labels[..., None] - torch.arange(p)
    waves = [A * torch.cos(2 * math.pi * k / p * (difference % p).double()) for k, A in amplitudes.items()]
    return torch.stack(waves).sum(0).float()


def analytic_activations(p: int, amplitudes: dict[int, float], labels: Tensor, neurons: Tensor) -> Activations:
    return Activations(analytic_logits(p, amplitudes, labels), neurons, torch.full((p, p, 1, 3), 1 / 3))


def random_weights(config: Transformer, seed: int = 0, biases: tuple[str, ...] = ()) -> dict[str, Tensor]:
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


def sizes(p: int, *, extra_output: bool = True, activation: str = "relu", **changes: int) -> Transformer:
    base = {"d_model": 16, "n_heads": 2, "d_head": 8, "d_mlp": 24} | changes
    return Transformer(d_vocab=p + 1, d_vocab_out=p + extra_output, n_ctx=3, activation=activation, **base)


def subject(
    acts: Activations,
    W_E: Tensor,
    W_L: Tensor,
    task: Task,
    train_mask: Tensor | None = None,
    key_frequencies: tuple[int, ...] | None = None,
    share: float = KEY_SHARE,
    step: int | None = None,
) -> Subject:
    """A subject of arrays that are given, with one parameter, of 1."""

    def keys() -> tuple[int, ...]:
        return key_frequencies_of(made, share=share) if key_frequencies is None else key_frequencies

    made = Subject(
        task, lambda: acts, step=step, train_mask=train_mask, supplied={key_frequencies_of: keys},
        have={"W_E": lambda: W_E, "W_L": lambda: W_L, "parameters": lambda: [torch.ones(1)]},
        lack={"train_mask": "no split here"},
    )  # fmt: skip
    return made


def measured(*arrays: object, **options: object) -> ProgressMeasures:
    """The measures of such a subject that are not on request."""
    return of_subject(subject(*arrays, **options), chosen(None))  # type: ignore[arg-type]
