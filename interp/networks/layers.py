"""A transformer of several layers, with layer norm or without, computed by TransformerLens."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, final, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from interp.networks.base import at_last, builtin_network, check_weights
from interp.networks.names import TRANSFORMER_ACTIVATIONS, Activation
from interp.networks.pairs import FORWARD_BATCH, Pairs
from interp.networks.taps import HookPoints, Tap, Weights
from interp.networks.transformer import TokenNetwork, booted, equal_heads, rows_of_numbers
from interp.utils.arguments import one_of, room_for, whole
from interp.utils.torch_state import computing

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

Normalization = Literal["none", "LN", "LNPre", "RMS", "RMSPre"]
_OF_A_NORM = {"none": (), "LN": ("weight", "bias"), "LNPre": (), "RMS": ("weight",), "RMSPre": ()}
_OWN = threading.local()  # a bridge for each thread, since weights are put into it while it runs


@final
@builtin_network("layered_transformer")
@dataclass(frozen=True)
class LayeredTransformer(TokenNetwork):
    """The sizes of a transformer of several layers, under TransformerLens' names, which computes it.

    A training step costs several times that of `Transformer`. Its weights are those of the state dict of a
    TransformerBridge; TransformerLens draws the initial ones (its `gpt2` mode).

    Attributes:
        n_layers: The number of layers.
        d_vocab: The number of tokens; None: p + 1 with "=", p without it.
        d_vocab_out: The number of outputs; None: p + 1 with "=", p without it.
        n_ctx: 3: it reads (a, b, "="), with a causal mask; 2: it reads (a, b), without one.
        d_model: The width of the residual stream.
        n_heads: Attention heads, which share d_model equally.
        d_mlp: Neurons in each layer.
        activation: "relu", "gelu" or "gelu_new" (its tanh approximation).
        normalization: "none", or TransformerLens' normalization_type: "LN" (layer norm), "LNPre" (without weights of
            its own), "RMS", "RMSPre".
    """

    n_layers: int = 2
    d_vocab: int | None = None
    d_vocab_out: int | None = None
    n_ctx: int = 3
    d_model: int = 128
    n_heads: int = 4
    d_mlp: int = 512
    activation: Activation = "relu"
    normalization: Normalization = "none"

    optional: ClassVar[tuple[str, ...]] = ("unembed.bias",)  # zeros if absent; no training changes it
    batch: ClassVar[int | None] = FORWARD_BATCH
    out_first: ClassVar[bool] = True

    def __post_init__(self) -> None:
        for name in ("n_layers", "d_vocab", "d_vocab_out", "n_ctx", "d_model", "n_heads", "d_mlp"):
            if (size := getattr(self, name)) is not None:
                object.__setattr__(self, name, whole(name, size, 1))
        equal_heads(self.d_model, self.n_heads)
        one_of("activation", self.activation, TRANSFORMER_ACTIVATIONS)
        one_of("normalization", self.normalization, get_args(Normalization))
        rows = (self.d_vocab or 1) + (self.d_vocab_out or 1) + self.n_layers * (4 * self.d_model + 2 * self.d_mlp)
        room_for("the weights of a network (d_model × all that reads or writes it)", self.d_model, rows)

    @property
    def points(self) -> HookPoints:
        last = f"blocks.{self.n_layers - 1}"
        return HookPoints("hook_embed", f"{last}.mlp.hook_post", f"{last}.attn.hook_pattern", "unembed.hook_out")

    @property
    def dropout_points(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        layers = range(self.n_layers)
        return (
            tuple(f"blocks.{i}.mlp.hook_post" for i in layers), tuple(f"blocks.{i}.attn.hook_pattern" for i in layers),
        )  # fmt: skip

    def axes(self) -> Mapping[str, tuple[str, ...]]:
        model, mlp = ("d_model",), ("d_mlp",)
        found: dict[str, tuple[str, ...]] = {
            "embed.weight": ("d_vocab", "d_model"), "pos_embed.weight": ("n_ctx", "d_model"),
        }  # fmt: skip

        def norm(at: str) -> None:
            found.update({f"{at}.{part}": model for part in _OF_A_NORM[self.normalization]})

        for i in range(self.n_layers):
            norm(f"blocks.{i}.ln1")
            for part in "qkvo":
                found |= {f"blocks.{i}.attn.{part}.weight": model + model, f"blocks.{i}.attn.{part}.bias": model}
            norm(f"blocks.{i}.ln2")
            found |= {f"blocks.{i}.mlp.in.weight": mlp + model, f"blocks.{i}.mlp.in.bias": mlp}
            found |= {f"blocks.{i}.mlp.out.weight": model + mlp, f"blocks.{i}.mlp.out.bias": model}
        norm("ln_final")
        return found | {"unembed.weight": ("d_vocab_out", "d_model"), "unembed.bias": ("d_vocab_out",)}

    @property
    def d_head(self) -> int:
        """The width of a head."""
        return self.d_model // self.n_heads

    @property
    def width(self) -> int:
        return self.n_layers * self.d_mlp

    @computing()
    def initial_weights(self, seed: int) -> dict[str, Tensor]:
        """Return the weights that TransformerLens draws; no global random state is read or changed."""
        state = self._boot(seed).state_dict()
        return {name: state[name].detach().clone() for name in self.axes() if name not in self.optional}

    def forward(self, weights: Weights, pairs: Pairs, tap: Tap) -> Float[Tensor, "n d_vocab_out"]:
        tokens = self.tokens(pairs)
        bridge, places = self._own_bridge(tokens.device)
        hooks = [(name, _calling(tap, name)) for name in bridge.hook_dict if name in tap]
        given = {places[name]: weight for name, weight in weights.items()}
        with bridge.hooks(fwd_hooks=hooks):
            return at_last(torch.func.functional_call(bridge, given, (tokens,)))

    def embeddings(self, weights: Weights, p: int) -> tuple[Float[Tensor, "p d"], Float[Tensor, "p d"]]:
        """Return the rows of the p numbers; if b has its own tokens, their rows for b."""
        return rows_of_numbers(weights["embed.weight"], p)

    @computing(grad=None)
    def neuron_logit_map(self, weights: Weights) -> Float[Tensor, "d_mlp d_vocab_out"]:
        """Return W_out · W_U of the last layer, without the norm between them."""
        return weights[f"blocks.{self.n_layers - 1}.mlp.out.weight"].T @ weights["unembed.weight"].T

    def hooked(self, weights: Weights, p: int) -> TransformerBridge:
        check_weights(weights, self)
        bridge = self._boot()
        state = {name: weight.detach().clone() for name, weight in weights.items()}
        bridge.load_state_dict(bridge.state_dict() | state, strict=True)
        return bridge

    def _own_bridge(self, device: torch.device) -> tuple[TransformerBridge, dict[str, str]]:
        """Return this thread's bridge of these sizes on a device, and the name in it of each weight."""
        kept: dict[Any, Any] = vars(_OWN).setdefault("bridges", {})
        if (self, device) not in kept:
            for other in [key for key in kept if key[0] != self]:
                del kept[other]  # keeps the bridges of one network at a time
            bridge = self._boot()
            if device.type != "cpu":
                bridge.to(device, print_details=False)
            bridge.eval()
            at = {one.data_ptr(): name for name, one in [*bridge.named_parameters(), *bridge.named_buffers()]}
            state = bridge.state_dict().items()
            kept[self, device] = bridge, {name: at[one.data_ptr()] for name, one in state if one.data_ptr() in at}
        return kept[self, device]

    def _boot(self, seed: int | None = None) -> TransformerBridge:
        return booted(self, seed, self.n_layers, None if self.normalization == "none" else self.normalization)


def _calling(tap: Tap, name: str) -> Callable[[Tensor, object], Tensor]:
    return lambda x, hook: tap(name, x)
