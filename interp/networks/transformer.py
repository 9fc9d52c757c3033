"""The one-layer transformer without layer norm: its sizes, its weights, and its conversion to TransformerLens and back.

Its weights are float32 tensors under TransformerLens' names and orientations

    W_E [d_vocab, d_model]   W_pos [n_ctx, d_model]   W_Q, W_K, W_V [n_heads, d_model, d_head]
    W_O [n_heads, d_head, d_model]   W_in [d_model, d_mlp]   b_in [d_mlp]   W_out [d_mlp, d_model]
    b_out [d_model]   W_U [d_model, d_vocab_out]

and, where a model has them, b_Q, b_K, b_V [n_heads, d_head], b_O [d_model] and b_U [d_vocab_out].
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar, final

import torch
from einops import rearrange
from jaxtyping import Float, Int, Shaped
from torch import Tensor

from interp.networks import shared
from interp.networks.base import Network, builtin_network, check_weights, jacobian, plain, sizes_by
from interp.networks.names import INITS, TRANSFORMER_ACTIVATIONS, Activation, Init
from interp.networks.pairs import Pairs
from interp.networks.taps import ByNumber, HookPoints, InputGradients, Tap, Weights
from interp.utils.arguments import number, one_of, room_for, whole
from interp.utils.errors import ConfigError
from interp.utils.torch_state import computing

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

# name → (TransformerLens' property, its axes)
TRANSFORMER: dict[str, tuple[str, tuple[str, ...]]] = {
    "W_E": ("embed.W_E", ("d_vocab", "d_model")),
    "W_pos": ("pos_embed.W_pos", ("n_ctx", "d_model")),
    **{f"W_{name}": (f"blocks.0.attn.W_{name}", ("n_heads", "d_model", "d_head")) for name in "QKV"},
    "W_O": ("blocks.0.attn.W_O", ("n_heads", "d_head", "d_model")),
    "W_in": ("blocks.0.mlp.W_in", ("d_model", "d_mlp")),
    "b_in": ("blocks.0.mlp.b_in", ("d_mlp",)),
    "W_out": ("blocks.0.mlp.W_out", ("d_mlp", "d_model")),
    "b_out": ("blocks.0.mlp.b_out", ("d_model",)),
    "W_U": ("unembed.W_U", ("d_model", "d_vocab_out")),
    **{f"b_{name}": (f"blocks.0.attn.b_{name}", ("n_heads", "d_head")) for name in "QKV"},
    "b_O": ("blocks.0.attn.b_O", ("d_model",)),
    "b_U": ("unembed.b_U", ("d_vocab_out",)),
}
OPTIONAL = ("b_Q", "b_K", "b_V", "b_O", "b_U")
_AXES = {name: axes for name, (_, axes) in TRANSFORMER.items()}
_SIZES = ("d_vocab", "d_vocab_out", "n_ctx", "d_model", "n_heads", "d_head", "d_mlp")
# name → (key in the state dict of a TransformerBridge, einops pattern from its axes to ours)
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


class TokenNetwork(Network):
    """A network that reads the tokens of a and b and, with three positions (n_ctx), "=", which is the last."""

    d_vocab: int | None
    d_vocab_out: int | None
    n_ctx: int

    def sized(self, p: int) -> Network:
        """Return this network for a task of modulus p: by default, tokens and outputs are its numbers and any "="."""
        own: Any = self  # a dataclass
        tokens = p + (self.n_ctx > 2)
        return replace(own, d_vocab=self.d_vocab or tokens, d_vocab_out=self.d_vocab_out or tokens)

    def check_modulus(self, p: int) -> None:
        if self.n_ctx not in (2, 3):
            raise ConfigError(f"n_ctx must be 3, for (a, b, =), or 2, for (a, b); got {self.n_ctx} positions.")
        tokens = p + (self.n_ctx > 2)
        check_vocabulary(p, self.d_vocab or tokens, self.d_vocab_out or tokens, self.n_ctx)

    def tokens(self, pairs: Pairs) -> Int[Tensor, "n n_ctx"]:
        return tokens_for(pairs, self.d_vocab or pairs.p + (self.n_ctx > 2), self.n_ctx)


def equal_heads(d_model: int, n_heads: int) -> int:
    """Return the width of each of n_heads that share d_model equally, or raise ConfigError."""
    if d_model % n_heads:
        raise ConfigError(
            "d_model must be a multiple of n_heads, since heads share it equally; got "
            f"d_model={d_model} and n_heads={n_heads}."
        )
    return d_model // n_heads


def tokens_for(pairs: Pairs, d_vocab: int, n_ctx: int) -> Int[Tensor, "n n_ctx"]:
    """Return the tokens a, b (b's own if the vocabulary has them) and, with a third position, "=", the last token."""
    equals = n_ctx > 2
    b = pairs.b if d_vocab == pairs.p + equals else pairs.p + pairs.b
    return torch.stack([pairs.a, b, *[torch.full_like(pairs.a, d_vocab - 1)] * equals], dim=1)


def rows_of_numbers(W_E: Float[Tensor, "d_vocab d"], p: int) -> tuple[Float[Tensor, "p d"], Float[Tensor, "p d"]]:
    """Return the rows of an embedding that a and b read; if b has its own tokens, their rows for b."""
    return W_E[:p], W_E[p : 2 * p] if len(W_E) >= 2 * p else W_E[:p]


@final
@builtin_network("transformer")
@dataclass(frozen=True)
class Transformer(TokenNetwork):
    """The sizes of a one-layer transformer without layer norm, under TransformerLens' names.

    Attributes:
        d_vocab: The number of tokens; None: p + 1 with "=", p without it. It is 2p + 1 (or 2p) if b has its own tokens.
        d_vocab_out: The number of outputs; None: p + 1 with "=", p without it.
        n_ctx: 3: it reads (a, b, "="), "=" being the last token; 2: it reads (a, b).
        d_model: The width of the residual stream.
        n_heads: Attention heads.
        d_head: The width of a head; None: d_model / n_heads.
        d_mlp: Neurons.
        activation: "relu", "gelu" or "gelu_new" (its tanh approximation).
        attention_coefficient: Attention is coefficient · softmax + (1 − coefficient): 1 is softmax's, 0 is constant
            (Zhong et al., 2023).
        init: How the initial weights are drawn: "paper", in the order and shapes of the published mainline (Nanda et
            al., 2023), standard normals over the square root of d_model (of d_vocab for W_U) with zero biases; or
            "transformer_lens", TransformerLens' own (its `gpt2` mode), which has attention biases too.
    """

    d_vocab: int | None = None
    d_vocab_out: int | None = None
    n_ctx: int = 3
    d_model: int = 128
    n_heads: int = 4
    d_head: int | None = None
    d_mlp: int = 512
    activation: Activation = "relu"
    attention_coefficient: float = 1.0
    init: Init = field(default="paper", compare=False)

    optional: ClassVar[tuple[str, ...]] = OPTIONAL

    def __post_init__(self) -> None:
        for name in _SIZES:
            if (size := getattr(self, name)) is not None:
                object.__setattr__(self, name, whole(name, size, 1))
        if self.d_head is None:
            object.__setattr__(self, "d_head", equal_heads(self.d_model, self.n_heads))
        one_of("activation", self.activation, TRANSFORMER_ACTIVATIONS)
        one_of("init", self.init, INITS)
        heads = self.n_heads * (self.d_head or 1)
        rows = (self.d_vocab or 1) + (self.d_vocab_out or 1) + self.n_ctx + 4 * heads + 2 * self.d_mlp
        room_for("the weights of a network (d_model × all that reads or writes it)", self.d_model, rows)
        coefficient = number("attention_coefficient", self.attention_coefficient, least=0, most=1)
        object.__setattr__(self, "attention_coefficient", coefficient)

    def axes(self) -> Mapping[str, tuple[str, ...]]:
        return _AXES

    @property
    def points(self) -> HookPoints:
        return shared.POINTS

    @property
    def width(self) -> int:
        return self.d_mlp

    def check_size(self, p: int) -> None:
        room_for("the neurons of all pairs (p × p × d_mlp)", p, p, self.d_mlp)
        room_for("the attention of all pairs (p × p × 3 × n_heads)", p, p, 3, self.n_heads)

    @computing()
    def initial_weights(self, seed: int) -> dict[str, Tensor]:
        """Return fresh weights of a seed, drawn as `init` says; no global random state is read or changed."""
        if self.init == "transformer_lens":
            weights = from_bridge(_boot(self, seed=seed))[0]
            del weights["b_U"]  # a buffer of zeros there, which no training changes
            return weights
        generator = torch.Generator().manual_seed(seed)

        def normal(*shape: int, over: int) -> Tensor:
            return torch.randn(*shape, generator=generator) / over**0.5

        c = self
        assert c.d_vocab is not None
        assert c.d_vocab_out is not None
        assert c.d_head is not None
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

    def forward(self, weights: Weights, pairs: Pairs, tap: Tap) -> Float[Tensor, "n d_vocab_out"]:
        if self.points.embed in tap:
            raise ConfigError(
                "The shared forward of a transformer never forms hook_embed; hook checkpoint.model(), or ask "
                "input_gradients() for gradients."
            )
        return shared.forward(weights, pairs, self.activation, self.attention_coefficient, tap)

    @computing(grad=True)
    def input_gradients(self, weights: Weights, pairs: Pairs) -> InputGradients:
        """Return the gradients by the shared forward, with a vocabulary of 2n tokens for the n pairs."""
        weights, each = plain(weights), torch.arange(len(pairs))
        of_a, of_b = self.embeddings(weights, pairs.p)
        E_a, E_b = (E[x].detach().requires_grad_() for E, x in ((of_a, pairs.a), (of_b, pairs.b)))
        equals = weights["W_E"][-1:] if self.n_ctx == 3 else weights["W_E"][:0]
        own = {**weights, "W_E": torch.cat([E_a, E_b, equals])}
        logits = self.forward(own, Pairs(len(pairs), each, each), Tap())
        grad_a, grad_b = jacobian(logits[:, : pairs.p], E_a, E_b)
        return grad_a, grad_b

    def embeddings(self, weights: Weights, p: int) -> tuple[Float[Tensor, "p d"], Float[Tensor, "p d"]]:
        """Return the rows of W_E of the p numbers; if b has its own tokens, their rows for b."""
        return rows_of_numbers(weights["W_E"], p)

    @computing(grad=None)
    def neuron_logit_map(self, weights: Weights) -> Float[Tensor, "d_mlp d_vocab_out"]:
        return weights["W_out"] @ weights["W_U"]

    def by_number(self, weights: Weights, p: int) -> ByNumber | None:
        """Return None unless "=" is read: where b is read last, attention depends on a and b at once."""
        return shared.by_number(weights, p, self.activation, self.attention_coefficient) if self.n_ctx == 3 else None

    def hooked(self, weights: Weights, p: int) -> TransformerBridge:
        return to_bridge(weights, self)

    def to_dict(self) -> dict[str, Any]:
        said = super().to_dict()
        if self.init == "paper":
            del said["init"]
        return said

    @classmethod
    def sizes_of(cls, weights: Weights) -> dict[str, Any] | None:
        return sizes_by(_AXES, OPTIONAL, weights)


def check_vocabulary(p: int, d_vocab: int, d_vocab_out: int, n_ctx: int) -> None:
    """Raise ConfigError unless a transformer of this vocabulary and these outputs can have learned a task of modulus p.

    Its tokens are the p numbers (2p if b has its own) and, with more than two positions, "=". Its outputs are the p
    numbers, with or without "=", or all tokens.
    """
    equals = n_ctx > 2
    if d_vocab not in (p + equals, 2 * p + equals) or d_vocab_out not in (p, p + 1, d_vocab):
        raise ConfigError(
            f"the model has a vocabulary of {d_vocab}, {d_vocab_out} outputs and {n_ctx} positions; a task of p = {p} "
            f"needs a vocabulary of {p + equals} (or {2 * p + equals}, where b has its own tokens) and {p} or {p + 1} "
            "outputs."
        )


def oriented(weight: Shaped[Tensor, "..."], pattern: str, n_heads: int) -> Shaped[Tensor, "..."]:
    """Return a weight rearranged by an einops pattern, which may contain "(n_heads d_head)"."""
    axes, turned = pattern.split(" -> ")
    if axes == turned:  # einops refuses such a pattern if two axes have one name
        return weight
    return rearrange(weight, pattern, **({"n_heads": n_heads} if "(n_heads d_head)" in pattern else {}))


def booted(
    network: Any, seed: int | None, n_layers: int = 1, normalization_type: str | None = None
) -> TransformerBridge:
    """Return a TransformerBridge of a network's sizes, with TransformerLens' own weights if a seed is given."""
    from transformer_lens.config import TransformerBridgeConfig  # takes seconds to import
    from transformer_lens.model_bridge import TransformerBridge

    sizes = TransformerBridgeConfig(
        **{name: getattr(network, name) for name in _SIZES}, n_layers=n_layers, act_fn=network.activation,
        normalization_type=normalization_type, attention_dir="causal" if network.n_ctx == 3 else "bidirectional",
        device="cpu", seed=seed, init_weights=seed is not None,
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):  # torch draws weights first, which are then replaced
        return TransformerBridge.boot_native(sizes)


def _boot(config: Transformer, seed: int | None = None) -> TransformerBridge:
    bridge = booted(config, seed)
    bridge.attention_coefficient = mixed = config.attention_coefficient  # for from_bridge
    if mixed != 1:
        bridge.add_hook(
            "blocks.0.attn.hook_pattern", lambda pattern, hook: mixed * pattern + (1 - mixed), is_permanent=True
        )
    return bridge


@computing()
def to_bridge(weights: Weights, config: Transformer) -> TransformerBridge:
    """Return a TransformerBridge with these weights: hooks, `run_with_cache` and the rest of TransformerLens.

    Biases that the model lacks are zeros in it. Feed it tokens (a, b, p), [batch, 3], or (a, b), [batch, 2], if it has
    two positions and so no causal mask. Read the logits at the last position.

    An attention coefficient is a permanent hook on `blocks.0.attn.hook_pattern`, which `reset_hooks` leaves in place.
    It runs before any other hook there, so caches and your own hooks hold the mixed pattern.
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
def from_bridge(bridge: TransformerBridge) -> tuple[dict[str, Tensor], Transformer]:
    """Return the weights and sizes of a one-layer TransformerBridge without layer norm, all biases included.

    Raises:
        ConfigError: It has another architecture; `progress_measures(bridge, task=...)` measures it through its hooks.
    """
    cfg = bridge.cfg
    one_plain = cfg.n_layers == 1 and cfg.normalization_type is None and not cfg.attn_only
    if not one_plain or cfg.act_fn not in TRANSFORMER_ACTIVATIONS:
        raise ConfigError(
            f"the bridge must have one layer without layer norm; got {cfg.n_layers} layers, normalization "
            f"{cfg.normalization_type}, activation {cfg.act_fn}. Measure it with progress_measures(bridge, task=...)."
        )
    state = bridge.state_dict()
    weights = {name: oriented(state[key], pattern, cfg.n_heads) for name, (key, pattern) in BRIDGE.items()}
    sizes: dict[str, Any] = {name: getattr(cfg, name) for name in _SIZES}
    coefficient = getattr(bridge, "attention_coefficient", 1.0)
    config = Transformer(**sizes, activation=cfg.act_fn, attention_coefficient=coefficient)
    return {
        name: weight.detach().to("cpu", torch.float32, copy=True, memory_format=torch.contiguous_format)
        for name, weight in weights.items()
    }, config
