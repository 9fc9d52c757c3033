"""How others name and orient the weights of a state dict, and which of these layouts one is in.

A layout is a table: for each weight of ours, the key that it has there and an einops pattern that turns it into ours.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from interp.config import Architecture, ModelConfig
from interp.errors import CheckpointError, ConfigError
from interp.model import BRIDGE, MLP, OPTIONAL, TRANSFORMER, check_weights, oriented

State = Mapping[str, Tensor]


@dataclass(frozen=True)
class Layout:
    """How a state dict names and orients the weights: ours → (its key, an einops pattern from its axes to ours)."""

    name: str
    keys: Mapping[str, tuple[str, str]]
    ignored: tuple[str, ...] = ()  # keys that hold no weight of the model

    @property
    def known(self) -> set[str]:
        return {key for key, _ in self.keys.values()} | set(self.ignored)

    def sizes(self, state: State) -> dict[str, int]:
        """The size of every axis, "(n_heads d_head)" among them; ConfigError where two tensors disagree."""
        sizes: dict[str, int] = {}
        named_by: dict[str, str] = {}
        for key, pattern in self.keys.values():
            if key not in state:
                continue
            shape, axes = list(state[key].shape), _axes(pattern)
            if len(shape) != len(axes):
                raise ConfigError(f"has {key} {shape}, expected [{', '.join(axes)}]")
            for axis, size in zip(axes, shape, strict=True):
                if sizes.setdefault(axis, size) != size:
                    raise ConfigError(f"has {key} {shape}, but {named_by[axis]} gives {axis} {sizes[axis]}")
                named_by.setdefault(axis, key)
        whole = sizes.get("(n_heads d_head)")
        if whole is not None and "n_heads" in sizes and whole != sizes["n_heads"] * sizes["d_head"]:
            raise ConfigError(
                f"has {named_by['(n_heads d_head)']} for heads of {whole} in all, expected {sizes['n_heads']} of "
                f"{sizes['d_head']}"
            )
        if "d_input" in sizes and sizes["d_input"] not in (sizes["d_embed"], 2 * sizes["d_embed"]):
            raise ConfigError(
                f"has W of {sizes['d_input']} rows, expected {2 * sizes['d_embed']} (concatenated) or "
                f"{sizes['d_embed']} (summed)"
            )
        return sizes

    def misfits(self, state: State) -> list[str]:
        """What keeps a state dict from being in this layout, in words; none where it is."""
        lacking = [key for name, (key, _) in self.keys.items() if key not in state and name not in OPTIONAL]
        beside = [key for key in state if key not in self.known]
        strange = [key for key, _ in self.keys.values() if key in state and not _is_plain(state[key])]
        found = [f"lacks {', '.join(lacking)}"] if lacking else []
        found += [f"has {some(beside)} beside"] if beside else []
        if strange:
            kind = state[strange[0]]
            found.append(f"has {some(strange)} as {kind.dtype}, {kind.layout}, on {kind.device}, expected plain floats")
        try:
            self.sizes(state)
        except ConfigError as error:
            found.append(str(error))
        return found

    def weights(self, state: State, architecture: Architecture) -> dict[str, Tensor]:
        """Ours, from a state dict in this layout: float32, in our orientation, copies. Raises as `check_weights`."""
        n_heads = architecture.n_heads if isinstance(architecture, ModelConfig) else 1
        weights = {
            name: oriented(state[key], pattern, n_heads)
            .detach()
            .to(torch.float32, copy=True, memory_format=torch.contiguous_format)
            for name, (key, pattern) in self.keys.items()
            if key in state
        }
        check_weights(weights, architecture)
        return weights


def _axes(pattern: str) -> list[str]:
    return re.findall(r"\([^)]*\)|\S+", pattern.split("->")[0])


def _is_plain(tensor: Tensor) -> bool:
    return tensor.dtype.is_floating_point and tensor.layout == torch.strided and not tensor.is_meta


def _same(axes: Sequence[str]) -> str:
    return f"{' '.join(axes)} -> {' '.join(axes)}"


PAPER = Layout(
    "paper (left-acting matrices; with two positions, constant attention)",
    {
        "W_E": ("embed.W_E", "d_model d_vocab -> d_vocab d_model"),
        "W_pos": ("pos_embed.W_pos", "n_ctx d_model -> n_ctx d_model"),
        **{
            f"W_{name}": (f"blocks.0.attn.W_{name}", "n_heads d_head d_model -> n_heads d_model d_head")
            for name in "QKV"
        },
        "W_O": ("blocks.0.attn.W_O", "d_model (n_heads d_head) -> n_heads d_head d_model"),
        "W_in": ("blocks.0.mlp.W_in", "d_mlp d_model -> d_model d_mlp"),
        "b_in": ("blocks.0.mlp.b_in", "d_mlp -> d_mlp"),
        "W_out": ("blocks.0.mlp.W_out", "d_model d_mlp -> d_mlp d_model"),
        "b_out": ("blocks.0.mlp.b_out", "d_model -> d_model"),
        "W_U": ("unembed.W_U", "d_model d_vocab_out -> d_model d_vocab_out"),
    },
    ignored=("blocks.0.attn.mask",),
)
PROPERTIES = Layout(
    "TransformerLens 1.x to 3.x property names",
    {name: (key, _same(axes)) for name, (key, axes) in TRANSFORMER.items()},
    ignored=("blocks.0.attn.mask", "blocks.0.attn.IGNORE", "x_embed", "y_embed"),
)
BRIDGE_STATE = Layout("TransformerLens 4 bridge", BRIDGE)
OURS = Layout("interp's own names", {name: (name, _same(axes)) for name, (_, axes) in TRANSFORMER.items()})
ONE_HIDDEN_LAYER = Layout(
    "one hidden layer (W_x, W_y, W, W_U)", {name: (name, _same(axes)) for name, axes in MLP.items()}
)
LAYOUTS = (PAPER, PROPERTIES, BRIDGE_STATE, OURS, ONE_HIDDEN_LAYER)


def some(items: Sequence[str], most: int = 6) -> str:
    """The first few of a list, in words."""
    return ", ".join(items[:most]) + (f" and {len(items) - most} more" if len(items) > most else "")


def recognise(path: Path | str, state: State) -> Layout:
    """The layout that a state dict is in; CheckpointError says what was found, what is known, and what came nearest."""
    misfits = {layout.name: layout.misfits(state) for layout in LAYOUTS}
    for layout in LAYOUTS:
        if not misfits[layout.name]:
            return layout

    def nearness(layout: Layout) -> tuple[int, int]:
        fitting = [key for key, pattern in layout.keys.values() if key in state and _fits(state[key], pattern)]
        return len(fitting), -len(misfits[layout.name])

    nearest = max(LAYOUTS, key=nearness)
    hint = ""
    if any(re.search(r"blocks\.[1-9]|\bln", key) for key in state):
        hint = " More layers and layer norms are measured through hooks: progress_measures(bridge, task=...)."
    found = [f"{key} {list(value.shape)}" for key, value in state.items()]
    raise CheckpointError(
        f"{path} is in no layout that interp knows: it holds {some(found, 20) or 'no tensors'}. Nearest is "
        f"{nearest.name}, but it {'; '.join(misfits[nearest.name])}. Known layouts: "
        f"{'; '.join(layout.name for layout in LAYOUTS)}.{hint}"
    )


def _fits(tensor: Tensor, pattern: str) -> bool:
    return tensor.ndim == len(_axes(pattern))
