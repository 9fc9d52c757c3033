"""Network: what a kind of network must define, the registry of its kinds, and checks of their weights.

    @interp.network("two_tables")
    @dataclass(frozen=True)
    class TwoTables(interp.Network):
        d_hidden: int = 64
        d_vocab: int | None = None  # filled with p from the task

        def axes(self):
            return {"A": ("d_vocab", "d_hidden"), "B": ("d_vocab", "d_hidden"), "U": ("d_hidden", "d_vocab")}

        def initial_weights(self, seed): ...

        def forward(self, weights, pairs, tap):
            pre = tap("hook_pre", weights["A"][pairs.a] + weights["B"][pairs.b])
            return tap("hook_post", pre.relu()) @ weights["U"]

is a network: it is trained, saved, resumed, measured, hooked, ablated, drawn and swept as interp's own are.
"""

from __future__ import annotations

import importlib
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields, is_dataclass, replace
from itertools import chain
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from interp.networks.measurable import Measurable
from interp.networks.names import Activation
from interp.networks.pairs import GRADIENT_BATCH, Pairs
from interp.networks.taps import UNTAPPED, Forward, HookPoints, InputGradients, Tap, Weights
from interp.utils.arguments import given, room_for
from interp.utils.errors import ConfigError
from interp.utils.torch_state import computing

if TYPE_CHECKING:
    from transformer_lens import HookedRootModule


_PROBE = 64  # pairs that are run again, apart from the others
SAME = 1e-3  # of the largest logit: among other pairs, float32 sums are taken in another order


def activation_function(name: Activation) -> Callable[[Tensor], Tensor]:
    """Return the activation of a name: "gelu_new" is GELU's tanh approximation, "square" x²."""
    match name:
        case "relu":
            return functional.relu
        case "gelu":
            return functional.gelu
        case "gelu_new":
            return lambda x: functional.gelu(x, approximate="tanh")
        case "square":
            return torch.square


class Network(Measurable):
    """The sizes of a network, and what it computes. A subclass is a frozen dataclass of its sizes.

    It must define `axes`, `initial_weights` and `forward`. Fields d_vocab and d_vocab_out that are None are filled from
    the task (`sized`). The embedding and the neuron-logit map that the measures read have defaults.

    Attributes:
        name: Its name in config.json and on the shell, which `interp.network` gives.
        optional: The weights that may be absent.
        points: The names of its activations.
        dropout_points: The names of all its neurons, and of all its attention patterns, where dropout acts in training.
        batch: How many pairs to run at a time when measuring; None: all.
        out_first: True if the last two axes of its matrices are [out, in], as in torch.nn.Linear; False if they are
            [in, out], as in x @ W. Muon scales its steps by it.
    """

    is_own = True
    optional: ClassVar[tuple[str, ...]] = ()
    batch: ClassVar[int | None] = None
    out_first: ClassVar[bool] = False

    @abstractmethod
    def axes(self) -> Mapping[str, tuple[str | int, ...]]:
        """Return the axes of each weight by its name; an axis is the name of a size, or a number."""

    @abstractmethod
    def initial_weights(self, seed: int) -> dict[str, Tensor]:
        """Return fresh float32 weights of a seed; no global random state is read or changed."""

    @abstractmethod
    def forward(self, weights: Weights, pairs: Pairs, tap: Tap) -> Float[Tensor, "n d_vocab_out"]:
        """Return the logits of pairs, differentiably; `tap(name, x)` names each activation and may replace it."""

    @property
    def points(self) -> HookPoints:
        return HookPoints()

    @property
    def dropout_points(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        return (self.points.neurons,), (self.points.pattern,)

    def sized(self, p: int) -> Network:
        """Return this network for a task of modulus p, with p as its d_vocab and d_vocab_out if they were None."""
        missing = [name for name in ("d_vocab", "d_vocab_out") if getattr(self, name, 0) is None]
        own: Any = self  # a dataclass
        return replace(own, **dict.fromkeys(missing, p)) if missing else self

    def check_modulus(self, p: int) -> None:
        """Raise ConfigError unless a model of these sizes can have learned a task of modulus p."""
        if getattr(self, "d_vocab", p) != p or getattr(self, "d_vocab_out", p) != p:
            raise ConfigError(
                f"the model has a vocabulary of {getattr(self, 'd_vocab', p)} and {getattr(self, 'd_vocab_out', p)} "
                f"outputs; a task of p = {p} needs {p} and {p}."
            )

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Return the shape of each weight; ConfigError if a size is not known yet."""
        found: dict[str, tuple[Any, ...]] = {}
        for name, axes in self.axes().items():
            shape = tuple(axis if isinstance(axis, int) else getattr(self, axis, axis) for axis in axes)
            if not all(isinstance(size, int) and size > 0 for size in shape):
                raise ConfigError(
                    f"{name} must have axes of at least 1; {self} gives {', '.join(map(str, axes))} = {list(shape)}. "
                    "Give these sizes, or call sized(p)."
                )
            found[name] = shape
        return found

    @property
    def width(self) -> int:
        return max(max(shape) for shape in self.shapes().values())

    def check_size(self, p: int) -> None:
        """Raise ConfigError if the weights, or the activations of all pairs, would not fit into memory."""
        for name, shape in self.shapes().items():
            room_for(f"the weight {name}", *shape)
        room_for("the activations of all pairs", p, p, self.width)

    def run(self, weights: Weights, pairs: Pairs) -> Forward:
        """Return the logits, neurons and attention pattern of pairs."""
        found: dict[str, list[Tensor]] = {self.points.neurons: [], self.points.pattern: []}

        def keep(name: str) -> Callable[[Tensor], Tensor]:
            def kept(x: Tensor) -> Tensor:
                found[name].append(x)
                return x

            return kept

        tap = Tap({name: keep(name) for name in found})
        parts = [pairs] if self.batch is None else pairs.split(self.batch)
        logits = [self.forward(weights, part, tap) for part in parts]
        neurons, pattern = (_joined(found[name]) for name in (self.points.neurons, self.points.pattern))
        return Forward(
            logits[0] if len(logits) == 1 else torch.cat(logits),
            None if neurons is None else at_last(neurons),
            pattern[:, :, -1] if pattern is not None and pattern.ndim == 4 else pattern,
        )

    @computing(grad=True)
    def input_gradients(self, weights: Weights, pairs: Pairs) -> InputGradients | None:
        """Return ∂L[a, b, c]/∂E_a and ∂L[a, b, c]/∂E_b of these pairs for all c < p, [n, p, d] each.

        E_a and E_b are the two embedded inputs at `points.embed`. None if the network does not tap them.
        """
        embedded: list[Tensor] = []

        def leaf(x: Tensor) -> Tensor:
            embedded.append(x.detach().requires_grad_())
            return embedded[-1]

        logits = self.forward(plain(weights), pairs, Tap({self.points.embed: leaf}))
        if not embedded:
            return None
        (grad,) = jacobian(logits[:, : pairs.p], embedded[-1])
        return grad[:, :, 0], grad[:, :, 1]

    def embeddings(self, weights: Weights, p: int) -> tuple[Float[Tensor, "p d"], Float[Tensor, "p d"]] | None:
        """Return the embeddings of a and of b; by default W_E's rows of the p numbers for both, None without a W_E."""
        if "W_E" not in weights:
            return None
        return weights["W_E"][:p], weights["W_E"][:p]

    def embedding(self, weights: Weights, p: int) -> Float[Tensor, "p d"] | None:
        """Return the embedding that the measures read: by default that of a."""
        found = self.embeddings(weights, p)
        return None if found is None else found[0]

    def neuron_logit_map(self, weights: Weights) -> Float[Tensor, "d_mlp d_vocab_out"] | None:
        """Return W_L, the effect of each neuron on the logits; by default W_out · W_U, None without these."""
        return weights["W_out"] @ weights["W_U"] if {"W_out", "W_U"} <= set(weights) else None

    def tokens(self, pairs: Pairs) -> Int[Tensor, "n n_ctx"]:
        """Return the tokens of these pairs that the hooked model reads: by default (a, b)."""
        return torch.stack([pairs.a, pairs.b], dim=1)

    def hooked(self, weights: Weights, p: int) -> HookedRootModule:
        """Return this network as a module with TransformerLens' hooks, one at each name that it taps."""
        from interp.networks.hooked import HookedNetwork  # TransformerLens takes seconds to import

        return HookedNetwork(self, weights, p)

    @classmethod
    def sizes_of(cls, weights: Weights) -> dict[str, Any] | None:
        """Return the sizes that weights tell, or None if no network of this class has them; by default None."""
        return None

    def to_dict(self) -> dict[str, Any]:
        """Return the name and the sizes, in the form of config.json."""
        assert is_dataclass(self)
        return {"network": self.name, **{one.name: getattr(self, one.name) for one in fields(self)}}

    def __str__(self) -> str:
        return repr(self)


def at_last(x: Tensor) -> Float[Tensor, "batch d"]:
    """Return the activations at the last position; a network of one hidden layer has no positions."""
    return x[:, -1] if x.ndim == 3 else x


def _joined(parts: list[Tensor]) -> Tensor | None:
    return None if not parts else parts[0] if len(parts) == 1 else torch.cat(parts)


NETWORKS: dict[str, type[Network]] = {}  # of the modules that are loaded
_OWN = ("interp.networks.transformer", "interp.networks.layers", "interp.networks.one_hidden_layer")
_BUILTIN: set[type[Network]] = set()  # interp's own, whose logits are known to depend on the pair alone
N = TypeVar("N", bound=type[Network])


def network(name: str) -> Callable[[N], N]:
    """Register a class of networks under a name: `@interp.network("two_tables")` above `@dataclass(frozen=True)`.

    Config files, `TrainConfig(network="two_tables")` and `--network two_tables` then use this name.

    Raises:
        ConfigError: The class is no complete Network, or another class has the name.
    """

    def register(kind: N) -> N:
        if not isinstance(name, str) or not name.isidentifier():
            raise ConfigError(f"The name of a network must be a word, such as two_tables; got {given(name)}.")
        if not (isinstance(kind, type) and issubclass(kind, Network) and is_dataclass(kind)):
            raise ConfigError(f"A network must be a dataclass that inherits interp.Network; got {given(kind)}.")
        if not kind.__dataclass_params__.frozen:
            raise ConfigError(f"The sizes of a network must not change: write @dataclass(frozen=True) on {kind}.")
        if lacking := sorted(kind.__abstractmethods__):
            raise ConfigError(f"{kind.__name__} must define {', '.join(lacking)}, as interp.Network says.")
        known = (NETWORKS if kind in _BUILTIN else networks()).get(name)
        if known is not None and (known.__module__, known.__qualname__) != (kind.__module__, kind.__qualname__):
            raise ConfigError(f"{name} is the name of {known.__module__}.{known.__qualname__}; take another.")
        kind.name = name
        NETWORKS[name] = kind
        return kind

    return register


def networks() -> Mapping[str, type[Network]]:
    """Return all classes of networks by their names, interp's own first."""
    for module in _OWN:
        importlib.import_module(module)
    return NETWORKS


def builtin_network(name: str) -> Callable[[N], N]:
    """Register a class of interp's own networks, as `network` does; its forward is not checked when it runs."""

    def register(kind: N) -> N:
        _BUILTIN.add(kind)
        return network(name)(kind)

    return register


class UnknownNetworkError(ConfigError):
    """Raised for the name of a network that no class has."""


def kind_of(name: object) -> type[Network]:
    """Return the class of networks of a name, or raise UnknownNetworkError with the names that are known."""
    known = networks()
    if not isinstance(name, str) or name not in known:
        raise UnknownNetworkError(
            f"network must be one of {', '.join(known)}, or a class of yours with @interp.network, once its module "
            f"is imported or named by --import FILE; got {given(name)}."
        )
    return known[name]


def network_of(said: Network | str | Mapping[str, Any]) -> Network:
    """Return the network of a name, or of a dict of its name and sizes; ConfigError if there is none.

    Sizes without a name, as the first format of the run directory had them, are those of a network of one hidden layer
    if d_hidden is among them, and else of a transformer.
    """
    if isinstance(said, Network):
        if not said.name:
            raise ConfigError(f"{type(said).__name__} must have a name; write @interp.network(NAME) above its class.")
        return said
    if isinstance(said, str):
        return kind_of(said)()
    if not isinstance(said, Mapping):
        raise ConfigError(f"network must be an interp.Network or the name of one; got {given(said)}.")
    sizes = {name: tuple(size) if isinstance(size, list) else size for name, size in said.items()}  # as JSON has them
    kind = kind_of(sizes.pop("network", "one_hidden_layer" if "d_hidden" in sizes else "transformer"))
    known = [one.name for one in fields(kind)]  # type: ignore[arg-type]
    if unknown := [name for name in sizes if name not in known]:
        raise ConfigError(f"the network {kind.name} has no {', '.join(unknown)}; its sizes are {', '.join(known)}.")
    try:
        return kind(**sizes)
    except TypeError as error:
        raise ConfigError(f"the network {kind.name} needs other sizes: {error}.") from None


def network_of_weights(weights: Weights) -> Network:
    """Return the network whose weights have these names and shapes; settings that shapes do not tell have defaults.

    Raises:
        ConfigError: No registered network has them.
    """
    for kind in networks().values():
        if (found := kind.sizes_of(weights)) is not None:
            return network_of({"network": kind.name, **found})
    raise ConfigError(f"no network has weights of the names {', '.join(weights) or 'none'}; give a Checkpoint.")


def sizes_by(axes: Mapping[str, tuple[str, ...]], optional: tuple[str, ...], weights: Weights) -> dict[str, int] | None:
    """Return the size of each axis, or None if the names of `weights` are not those of `axes`."""
    if any(name not in axes for name in weights) or any(n not in weights for n in axes if n not in optional):
        return None
    sizes: dict[str, int] = {}
    for name, weight in weights.items():
        sizes |= dict(zip(axes[name], weight.shape, strict=False))
    return sizes


def check_weights(weights: Weights, network: Network) -> None:
    """Raise ConfigError unless `weights` are exactly those of a network: names, shapes, float32, finite."""
    axes, shapes = network.axes(), network.shapes()
    missing = [name for name in axes if name not in weights and name not in network.optional]
    unknown = [name for name in weights if name not in axes]
    if missing or unknown:
        found = f"lacks {', '.join(missing)}" if missing else f"also holds {', '.join(unknown)}"
        raise ConfigError(
            f"a model of {', '.join(weights) or 'no weights'} {found}; the network {network.name} has "
            f"{', '.join(axes)}."
        )
    for name, weight in weights.items():
        if not isinstance(weight, Tensor):
            raise ConfigError(f"{name} must be a float32 tensor; got {given(weight)}.")
        if tuple(weight.shape) != shapes[name]:
            raise ConfigError(
                f"{name} is {list(weight.shape)}; expected [{', '.join(map(str, axes[name]))}] = {list(shapes[name])}."
            )
        if weight.dtype != torch.float32:
            raise ConfigError(f"{name} must be float32; got {weight.dtype}.")
        if bad := int((~torch.isfinite(weight)).sum()):
            raise ConfigError(f"{name} must be finite; got {bad} of {weight.numel()} values that are not.")


@computing()
def check_forward(network: Network, weights: Weights, pairs: Pairs) -> None:
    """Raise ConfigError unless a network gives logits of each pair that depend on its weights and the pair alone."""
    pairs = next(pairs.split(4 * _PROBE))
    with torch.random.fork_rng(devices=[]):
        logits = network.forward(weights, pairs, UNTAPPED)
        if logits.ndim != 2 or logits.shape[0] != len(pairs) or logits.shape[1] < pairs.p:
            raise ConfigError(
                f"The forward of {network.name} must give logits [pairs, outputs] with at least p = {pairs.p} "
                f"outputs; got {list(logits.shape)} for {len(pairs)} pairs."
            )
        check_repeats(network, weights, pairs, logits)


def check_repeats(network: Network, weights: Weights, pairs: Pairs, logits: Float[Tensor, "n d_vocab_out"]) -> None:
    """Raise ConfigError if the logits of a user's network depend on chance, or on other pairs of the batch."""
    if type(network) in _BUILTIN:
        return
    few = some_of(pairs)
    alone, again = (network.forward(weights, few, UNTAPPED) for _ in range(2))
    if off := difference(alone, again, 0):
        raise ConfigError(
            f"The forward of {network.name} must draw no random numbers; two runs on the same weights and pairs {off}. "
            "Draw fixed numbers in initial_weights; dropout is a setting of the training."
        )
    if off := difference(logits, alone, SAME):
        raise ConfigError(
            f"The forward of {network.name} must give a pair the same logits alone and among others; two such runs "
            f"{off}. Let it mix nothing across the pairs, unlike batch normalization."
        )


def some_of(pairs: Pairs) -> Pairs:
    """Return the first pairs, to be run again apart from the others: at most half, and at least one."""
    return next(pairs.split(min(_PROBE, max(1, len(pairs) // 2))))


def difference(logits: Float[Tensor, "n c"], again: Float[Tensor, "k c"], tolerance: float) -> str | None:
    """Return in words how far the first k rows are from a second run of them.

    None if that is at most `tolerance` times the largest logit, or NaN, which other checks report.
    """
    first = logits[: len(again)]
    scale, off = float(first.abs().max()), float((again - first).abs().max())
    return f"differ by {off:.3g}, where the largest is {scale:.3g}" if off > tolerance * max(scale, 1e-6) else None


def plain(weights: Weights) -> dict[str, Tensor]:
    """Return weights as ordinary CPU tensors of float32 or wider that record no gradients, without a copy if possible.

    A tensor made under `torch.inference_mode` is copied, since gradients cannot pass through it.
    """
    whole = {name: weight.detach().cpu() for name, weight in weights.items()}
    return {
        name: (weight.clone() if weight.is_inference() else weight).to(torch.promote_types(weight.dtype, torch.float32))
        for name, weight in whole.items()
    }


def jacobian(logits: Float[Tensor, "n p"], *inputs: Tensor) -> tuple[Tensor, ...]:
    """Return ∂logits[i, c]/∂input[i] for every pair i and output c, [n, p, ...], by a backward pass for each output."""
    columns = [torch.autograd.grad(column.sum(), inputs, retain_graph=True) for column in logits.unbind(1)]
    return tuple(torch.stack(grads, dim=1) for grads in zip(*columns, strict=True))


def gradients_of(network: Network, weights: Weights, pairs: Pairs) -> Iterator[InputGradients] | None:
    """Return the input gradients of pairs, a batch at a time; None for a network that names no embedded inputs."""
    batches = pairs.split(GRADIENT_BATCH)
    first = network.input_gradients(weights, next(batches))
    if first is None:
        return None
    rest = (network.input_gradients(weights, batch) for batch in batches)
    return chain([first], (found for found in rest if found is not None))
