"""Layouts: the names and orientations of weights in the state dicts of other code, and how they are recognised."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from interp.networks import LayeredTransformer, Network, OneHiddenLayer, Transformer, check_weights
from interp.networks.layers import Normalization
from interp.networks.transformer import BRIDGE, OPTIONAL, TRANSFORMER, oriented
from interp.subjects.state_dicts import State
from interp.utils.arguments import some
from interp.utils.errors import CheckpointError, ConfigError


@dataclass(frozen=True)
class Layout:
    """The names and axes of weights in a state dict: our name → (its key, an einops pattern from its axes to ours)."""

    name: str
    keys: Mapping[str, tuple[str, str]]
    ignored: tuple[str, ...] = ()  # keys that hold no weight of the model
    optional: tuple[str, ...] = OPTIONAL
    layers: LayeredTransformer | None = None  # the depth and norm of a bridge of several layers or with a norm

    @property
    def known(self) -> set[str]:
        return {key for key, _ in self.keys.values()} | set(self.ignored)

    def sizes(self, state: State) -> dict[str, int]:
        """Return the size of every axis, "(n_heads d_head)" among them; ConfigError if two tensors disagree."""
        sizes: dict[str, int] = {}
        named_by: dict[str, str] = {}
        for key, pattern in self.keys.values():
            if key not in state or state[key].is_nested:  # a nested tensor has no shape
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
        """Return the reasons why a state dict is not in this layout; empty if it is."""
        lacking = [key for name, (key, _) in self.keys.items() if key not in state and name not in self.optional]
        beside = [key for key in state if key not in self.known]
        strange = [f"{key} as {why}" for key, _ in self.keys.values() if key in state and (why := _oddity(state[key]))]
        found = [f"lacks {', '.join(lacking)}"] if lacking else []
        found += [f"also has {some(beside)}"] if beside else []
        if strange:
            found.append(f"has {some(strange)}, expected plain tensors of floats")
        try:
            self.sizes(state)
        except ConfigError as error:
            found.append(str(error))
        return found

    def weights(self, state: State, architecture: Network) -> dict[str, Tensor]:
        """Convert a state dict to interp's weights: float32 copies with our order of axes; ConfigError for misfits."""
        n_heads = architecture.n_heads if isinstance(architecture, Transformer) else 1
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


def has_values(tensor: Tensor) -> bool:
    """Return whether a tensor is an ordinary array of numbers: not nested, sparse, quantized, or without values."""
    return not (tensor.is_nested or tensor.layout != torch.strided or tensor.is_quantized or tensor.is_meta)


def _oddity(tensor: Tensor) -> str | None:
    """Return the kind of a tensor that is not of plain floats; None for one that is."""
    if tensor.is_nested:
        return "a nested tensor"
    if tensor.layout != torch.strided:
        return f"a sparse tensor ({tensor.layout})"
    if tensor.is_quantized:
        return f"a quantized tensor ({tensor.dtype})"
    if tensor.is_meta:
        return "a tensor on meta, without values"
    if not tensor.dtype.is_floating_point:
        return str(tensor.dtype)
    if not tensor.numel():
        return f"an empty tensor {list(tensor.shape)}"
    if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
        return f"a repeated tensor ({tensor.numel():,} entries, and fewer in the file)"
    return None


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
    "one hidden layer (W_x, W_y, W, W_U)", {name: (name, _same(axes)) for name, axes in OneHiddenLayer().axes().items()}
)
LAYOUTS = (PAPER, PROPERTIES, BRIDGE_STATE, OURS, ONE_HIDDEN_LAYER)


def layout_of_layers(state: State) -> Layout | None:
    """Return the layout of a bridge of two or three positions, with the depth and norm that its names tell; else None.

    Names do not tell LNPre and RMSPre, which have no weights, from no norm.
    """
    positions = state.get("pos_embed.weight")
    if positions is None or positions.is_nested or positions.shape[:1] not in ((2,), (3,)):
        return None
    if not is_bridge_state(state):
        return None
    n_layers = 1 + max(int(found[1]) for key in state if (found := re.match(r"blocks\.(\d{1,3})\.", key)))
    norm: Normalization = "LN" if "ln_final.bias" in state else "RMS" if "ln_final.weight" in state else "none"
    net = LayeredTransformer(n_layers, normalization=norm)
    table = {name: (name, _same(axes)) for name, axes in net.axes().items()}
    return Layout(f"{BRIDGE_STATE.name} of several layers or with layer norm", table, (), net.optional, net)


def is_bridge_state(state: State) -> bool:
    """Return whether these are the names of a bridge's state dict, of any depth and norm."""
    return {"embed.weight", "unembed.weight", "blocks.0.attn.q.weight"} <= set(state)


class UnknownLayoutError(CheckpointError):
    """Raised for a state dict that is in no known layout."""


def recognise(path: Path | str, state: State) -> Layout:
    """Return the layout of a state dict.

    Raises:
        UnknownLayoutError: It is in none; the error has its tensors, the known layouts, and the nearest of these.
    """
    layouts = [*LAYOUTS, *([layers] if (layers := layout_of_layers(state)) else [])]
    misfits = {layout.name: layout.misfits(state) for layout in layouts}
    for layout in layouts:
        if not misfits[layout.name]:
            return layout

    def nearness(layout: Layout) -> tuple[int, int]:
        there = [(state[key], _axes(pattern)) for key, pattern in layout.keys.values() if key in state]
        return sum(tensor.ndim == len(axes) for tensor, axes in there), -len(misfits[layout.name])

    nearest = max(layouts, key=nearness)
    hint = ""
    if any(re.search(r"blocks\.[1-9]|\bln", key) for key in state):
        hint = (
            " A TransformerLens model of several layers or with layer norm is measured as a bridge: boot one with its "
            "config (TransformerBridge.boot_native), give it the weights (convert_tl_checkpoint turns those of "
            "TransformerLens 1 to 3 into a bridge's), and call progress_measures(bridge, task=...); "
            "notebooks/bring_your_own_checkpoint.ipynb does so."
        )
    found = [f"{key} {'nested' if value.is_nested else list(value.shape)}" for key, value in state.items()]
    raise UnknownLayoutError(
        f"{path} is in no layout that interp knows: it holds {some(found, 20) or 'no tensors'}. Nearest is "
        f"{nearest.name}, but it {'; '.join(misfits[nearest.name])}. Known layouts: "
        f"{'; '.join(layout.name for layout in layouts)}.{hint}"
    )
