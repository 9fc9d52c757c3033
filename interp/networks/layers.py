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
from interp.networks.transformer import TokenNetwork, booted, rows_of_numbers
from interp.utils.arguments import one_of, room_for, whole
from interp.utils.errors import ConfigError
from interp.utils.torch_state import computing

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

Normalization = Literal["none", "LN", "LNPre", "RMS", "RMSPre"]
_OF_A_NORM = {"none": (), "LN": ("weight", "bias"), "LNPre": (), "RMS": ("weight",), "RMSPre": ()}
_OWN = threading.local()  # a bridge a thread: weights are put into it while it runs


@final
@builtin_network("layered_transformer")
@dataclass(frozen=True)
class LayeredTransformer(TokenNetwork):
    """The sizes of a transformer of several layers, under TransformerLens' names, which computes it.

    A training step costs several times that of `Transformer`. Its weights are those of the state dict of a
    TransformerBridge, and its first ones are TransformerLens' own (its `gpt2` mode).

    n_layers        layers
    normalization   "none", or TransformerLens' normalization_type: "LN" (layer norm), "LNPre" (without weights of its
                    own), "RMS", "RMSPre"
    n_ctx           3: it reads (a, b, "="), with a causal mask; 2: it reads (a, b), without one
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

    optional: ClassVar[tuple[str, ...]] = ("unembed.bias",)  # zeros where it is absent; no training touches it
    batch: ClassVar[int | None] = FORWARD_BATCH
    out_first: ClassVar[bool] = True

    def __post_init__(self) -> None:
        for name in ("n_layers", "d_vocab", "d_vocab_out", "n_ctx", "d_model", "n_heads", "d_mlp"):
            if (size := getattr(self, name)) is not None:
                object.__setattr__(self, name, whole(name, size, 1))
        if self.d_model % self.n_heads:
            raise ConfigError(
                f"d_model must be a multiple of n_heads, since heads share it equally; got d_model={self.d_model} and "
                f"n_heads={self.n_heads}."
            )
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
        """The width of a head: heads share d_model equally."""
        return self.d_model // self.n_heads

    @property
    def width(self) -> int:
        return self.n_layers * self.d_mlp

    @computing()
    def initial_weights(self, seed: int) -> dict[str, Tensor]:
        """TransformerLens' own; no global random state is read or changed."""
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
        """The rows of the p numbers; b's own where it has tokens of its own."""
        return rows_of_numbers(weights["embed.weight"], p)

    @computing(grad=None)
    def neuron_logit_map(self, weights: Weights) -> Float[Tensor, "d_mlp d_vocab_out"]:
        """W_out · W_U of the last layer, without the norm between them."""
        return weights[f"blocks.{self.n_layers - 1}.mlp.out.weight"].T @ weights["unembed.weight"].T

    def hooked(self, weights: Weights, p: int) -> TransformerBridge:
        check_weights(weights, self)
        bridge = self._boot()
        state = {name: weight.detach().clone() for name, weight in weights.items()}
        bridge.load_state_dict(bridge.state_dict() | state, strict=True)
        return bridge

    def _own_bridge(self, device: torch.device) -> tuple[TransformerBridge, dict[str, str]]:
        """Return this thread's bridge of these sizes on a device, and where in it each weight stands."""
        kept: dict[Any, Any] = vars(_OWN).setdefault("bridges", {})
        if (self, device) not in kept:
            for other in [key for key in kept if key[0] != self]:
                del kept[other]  # of one network at a time
            bridge = self._boot()
            if device.type != "cpu":
                bridge.to(device, print_details=False)
            bridge.eval()
            within = [*bridge.named_parameters(), *bridge.named_buffers()]
            at = {tensor.data_ptr(): name for name, tensor in within}
            state = bridge.state_dict()
            kept[self, device] = (
                bridge,
                {name: at[value.data_ptr()] for name, value in state.items() if value.data_ptr() in at},
            )
        return kept[self, device]

    def _boot(self, seed: int | None = None) -> TransformerBridge:
        return booted(self, seed, self.n_layers, None if self.normalization == "none" else self.normalization)


def _calling(tap: Tap, name: str) -> Callable[[Tensor, object], Tensor]:
    return lambda x, hook: tap(name, x)
