"""Causal tests: change one part of a network through TransformerLens' hooks, and score the network again.

    interp.ablate.logits(ckpt, keep=[14, 35])     # keep only the waves of two frequencies in the logits
    interp.ablate.neurons(ckpt, remove=[14])      # remove the waves of one frequency from the neurons
    interp.ablate.attention(ckpt, "mean")         # make attention the same for all pairs

They take every network that interp trains, if it has the part that they change. Each returns an Effect: losses and
accuracies before and after. All p*p pairs run as one batch, so that a hook sees all of them. The hooks are removed
afterwards, also after an exception. `through_hooks` takes your own hooks.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from interp.measures import logits as logit_measures, losses, neurons as neuron_measures
from interp.networks import Network
from interp.networks.base import at_last
from interp.networks.pairs import Pairs
from interp.networks.taps import HookPoints
from interp.runs.run import Checkpoint
from interp.subjects.hooked import evaluating, tokens_of
from interp.tasks.fourier import frequency_rows, project, shared_basis
from interp.utils.arguments import given
from interp.utils.errors import ConfigError
from interp.utils.torch_state import computing

if TYPE_CHECKING:
    from transformer_lens import HookedRootModule

Hook = tuple[str, Callable[..., Any]]
Change = Callable[[Float[Tensor, "p p d"]], Float[Tensor, "p p d"]]
Choice = Callable[[Float[Tensor, "n_frequencies d_mlp"]], Bool[Tensor, " d_mlp"]]
AttentionBy = Literal["mean", "degree-2"]
Cut = Literal["zero", "mean"]


def _network(checkpoint: Checkpoint) -> Network:
    if not isinstance(checkpoint, Checkpoint):
        raise ConfigError(
            f"Ablations take a Checkpoint, such as interp.load_run(path)[-1]; got {given(checkpoint)}. Change your own "
            "network by a forward hook, and measure it as an interp.Model."
        )
    if not isinstance(checkpoint.config, Network):
        raise ConfigError(
            "Ablations take the networks that interp computes itself; change another module or bridge by your own "
            "hook, and measure it again."
        )
    return checkpoint.config


def _points(checkpoint: Checkpoint) -> HookPoints:
    return _network(checkpoint).points


@dataclass(frozen=True)
class Scores:
    """Loss (nats, over the p number tokens) and accuracy of all, train and test pairs; None if none are known."""

    loss: float
    accuracy: float
    train_loss: float | None
    train_accuracy: float | None
    test_loss: float | None
    test_accuracy: float | None


@dataclass(frozen=True)
class Effect:
    """The scores of a network before and after an ablation; prints as a table."""

    ablation: str
    before: Scores
    after: Scores

    def row(self) -> dict[str, Any]:
        """Return the ablation, and every score as NAME_before and NAME_after, as one flat dict."""
        before = {f"{name}_before": value for name, value in asdict(self.before).items()}
        after = {f"{name}_after": value for name, value in asdict(self.after).items()}
        return {"ablation": self.ablation, **before, **after}

    def __str__(self) -> str:
        after = asdict(self.after)
        before = {name: value for name, value in asdict(self.before).items() if value is not None}
        rows = [f"{name:<16}{value:>12.5g}{after[name]:>12.5g}" for name, value in before.items()]
        return "\n".join([self.ablation, f"{'':<16}{'before':>12}{'after':>12}", *rows])

    __repr__ = __str__


@computing()
def through_hooks(
    checkpoint: Checkpoint, hooks: Sequence[Hook], name: str = "hooks", bridge: HookedRootModule | None = None
) -> Effect:
    """Score a checkpoint without and with forward hooks.

    The batch is all p*p pairs in lexicographic order, pair a * p + b. A transformer's activations are [p*p, n_ctx, …],
    with the answer at position -1; a HookedNetwork's are [p*p, …].

    Args:
        hooks: (hook point, function of (activation, hook)) of each.
        name: The name of the ablation, for tables.
        bridge: The checkpoint's model (`checkpoint.model()`) to use, in evaluation mode, instead of a new one. Its own
            hooks act before and after, and stay.

    Raises:
        ConfigError: The model has no such hook point.
    """
    model: Any = checkpoint.model() if bridge is None else bridge
    if unknown := [point for point, _ in hooks if point not in model.hook_dict]:
        raise ConfigError(
            f"hooks must name hook points of this model, which are {', '.join(model.hook_dict)}; "
            f"got {', '.join(unknown)}."
        )
    tokens = tokens_of(model, Pairs.all(checkpoint.task.p))
    with evaluating(model):
        before = _scores_of_output(checkpoint, model(tokens))
        with model.hooks(fwd_hooks=list(hooks)):
            after = _scores_of_output(checkpoint, model(tokens))
    return Effect(name, before, after)


def _scores_of_output(
    checkpoint: Checkpoint, out: Float[Tensor, "pairs n_ctx d_vocab_out"] | Float[Tensor, "pairs d_vocab_out"]
) -> Scores:
    """Score the output for all pairs. It need not be finite, unlike the logits of a Subject."""
    p, labels, train = checkpoint.task.p, checkpoint.task.labels, checkpoint.train_mask
    L = at_last(out)[:, :p].float().cpu().unflatten(0, (p, p))
    nll, right = losses.cross_entropy(L, labels), losses.correct(L, labels).double()

    def mean(values: Tensor, pairs: Tensor | None) -> float | None:
        return float(values[pairs].mean()) if pairs is not None and pairs.any() else None

    test = None if train is None else ~train
    return Scores(
        loss=float(nll.mean()), accuracy=float(right.mean()), train_loss=mean(nll, train),
        train_accuracy=mean(right, train), test_loss=mean(nll, test), test_accuracy=mean(right, test),
    )  # fmt: skip


def _chosen(checkpoint: Checkpoint, remove: Iterable[int] | None, keep: Iterable[int] | None) -> tuple[str, list[int]]:
    """Return a choice of frequencies in words, and the frequencies ascending."""
    every = range(1, checkpoint.task.p // 2 + 1)
    if why := checkpoint.task.why_no_fourier:
        raise ConfigError(f"{why}; there is no frequency to remove or keep.")
    if (remove is None) == (keep is None):
        raise ConfigError(
            f"either remove or keep must name frequencies; got {'neither' if keep is None else 'both'}. "
            "Give one of them, such as keep=[14, 35]."
        )
    given: Any = remove if keep is None else keep
    try:
        named = sorted({operator.index(k) for k in given})
        if any(isinstance(k, bool) for k in given):
            raise TypeError
    except TypeError:
        raise ConfigError(f"frequencies must be whole numbers, such as [14, 35]; got {given!r}.") from None
    if bad := [k for k in named if k not in every]:
        raise ConfigError(f"frequencies of p = {checkpoint.task.p} must be from 1 to {every[-1]}; got {bad}.")
    return f"{'without' if keep is None else 'only'} k = {', '.join(map(str, named)) or 'none'}", named


@computing()
def embedding(checkpoint: Checkpoint, remove: Iterable[int] | None = None, keep: Iterable[int] | None = None) -> Effect:
    """Remove the waves of the given frequencies from the embedding W_E[:p], or keep them alone; its mean stays.

    If b has its own tokens, or its own matrix (W_y in a network of one hidden layer), its embedding changes too.
    """
    words, named = _chosen(checkpoint, remove, keep)
    pairs = Pairs.all(checkpoint.task.p)

    def change(table: Float[Tensor, "p d"]) -> Float[Tensor, "p d"]:
        part = project(table, named)
        return table.double() - part if keep is None else part + table.double().mean(0)

    tables = _network(checkpoint).embeddings(checkpoint.weights, checkpoint.task.p)
    if tables is None:
        raise ConfigError(f"embedding() needs a network with an embedding; {_network(checkpoint).name} has none.")
    of_a, of_b = (change(table) for table in tables)

    def hook(embed: Tensor, hook: object) -> Tensor:
        embed = embed.clone()
        embed[:, 0], embed[:, 1] = of_a[pairs.a].to(embed), of_b[pairs.b].to(embed)
        return embed

    return through_hooks(checkpoint, [(_points(checkpoint).embed, hook)], f"embedding {words}")


@computing()
def neurons(checkpoint: Checkpoint, remove: Iterable[int] | None = None, keep: Iterable[int] | None = None) -> Effect:
    """Remove the eight waves of each given frequency from every neuron over pairs, or keep them alone; its mean stays.

    The eight are {const, cos, sin}(w_k a) × {const, cos, sin}(w_k b), less const × const (`measures.neurons`). Products
    of two frequencies, such as cos w_1 a · cos w_2 b, are dropped by `keep` and retained by `remove`.
    """
    words, named = _chosen(checkpoint, remove, keep)

    def change(maps: Float[Tensor, "p p d"]) -> Float[Tensor, "p p d"]:
        part = _of_frequencies(maps, named)
        return maps.double() - part if keep is None else part + maps.double().mean((0, 1))

    return _of_neurons(checkpoint, change, f"neurons {words}")


def _of_neurons(checkpoint: Checkpoint, change: Change, name: str) -> Effect:
    return through_hooks(checkpoint, [(_points(checkpoint).neurons, _over_pairs(checkpoint, change))], name)


@computing()
def logits(
    checkpoint: Checkpoint,
    remove: Iterable[int] | None = None,
    keep: Iterable[int] | None = None,
    bridge: HookedRootModule | None = None,
) -> Effect:
    """Remove the waves cos w_k(a+b) and sin w_k(a+b) of the given frequencies from the logits, or keep them alone.

    With `keep`, the mean of each output over pairs stays. With the key frequencies, the loss after `keep` is
    restricted_loss, and the train loss after `remove` is excluded_loss (Nanda et al., 2023). `bridge` is as in
    `through_hooks`; it saves making a new model, which costs as much as running one.
    """
    words, named = _chosen(checkpoint, remove, keep)
    labels = checkpoint.task.labels

    def change(maps: Float[Tensor, "p p d"]) -> Float[Tensor, "p p d"]:
        table = logit_measures.logit_table(maps, labels)
        part = project(table, named)
        return maps.double() - part[labels] if keep is None else (part + table.mean(0))[labels]

    p, point = checkpoint.task.p, _points(checkpoint).logits
    return through_hooks(checkpoint, [(point, _over_pairs(checkpoint, change, width=p))], f"logits {words}", bridge)


@computing()
def attention(checkpoint: Checkpoint, by: AttentionBy = "mean") -> Effect:
    """Replace attention from the last position by its mean over pairs, or by its best fit in one frequency.

    "degree-2" projects each head's attention to each position, over pairs, on the eight waves of the frequency that
    explains most of it (`measures.attention`), its mean kept. Raises ConfigError for a network without attention.
    """
    point, model = _points(checkpoint).pattern, checkpoint.model()
    if point not in model.hook_dict:
        raise ConfigError(f"attention() needs a network with attention; {_network(checkpoint).name} has none.")
    if by not in get_args(AttentionBy):
        raise ConfigError(f"by must be {' or '.join(get_args(AttentionBy))}; got {by!r}.")

    def change(maps: Float[Tensor, "p p d"]) -> Float[Tensor, "p p d"]:
        return maps.double().mean((0, 1)).expand_as(maps) if by == "mean" else _own_frequency(maps)

    p = checkpoint.task.p

    def hook(pattern: Tensor, hook: object) -> Tensor:
        pattern = pattern.clone()
        last = pattern[:, :, -1] if pattern.ndim == 4 else pattern  # [pairs, n_heads, n_ctx], a view
        maps = change(last.flatten(1).unflatten(0, (p, p)))
        last.copy_(maps.flatten(0, 1).unflatten(1, last.shape[1:]))
        return pattern

    fit = "mean over pairs" if by == "mean" else "best fit in one frequency"
    return through_hooks(checkpoint, [(point, hook)], f"attention by its {fit}", model)


@computing()
def neuron_fits(checkpoint: Checkpoint) -> Effect:
    """Replace every neuron by its best fit over pairs in the one frequency that explains most of it, its mean kept."""
    return _of_neurons(checkpoint, _own_frequency, "neurons by their best fit in one frequency")


@computing()
def clusters(checkpoint: Checkpoint, frequencies: Iterable[int], by: Cut = "mean") -> Effect:
    """Set the single-frequency neurons of the given frequencies to zero, or to their mean over pairs."""
    words, chosen = _chosen(checkpoint, None, frequencies)

    def cut(shares: Float[Tensor, "n_frequencies d_mlp"]) -> Bool[Tensor, " d_mlp"]:
        own = neuron_measures.neuron_frequencies(shares)
        return neuron_measures.is_single_frequency(shares) & torch.isin(own, torch.tensor(chosen, dtype=own.dtype))

    return _cut_neurons(checkpoint, cut, by, f"neurons of {words.removeprefix('only ')}")


@computing()
def unclustered(checkpoint: Checkpoint, by: Cut = "mean") -> Effect:
    """Set the neurons that no single frequency explains to zero, or to their mean over pairs."""
    cut = neuron_measures.is_single_frequency
    return _cut_neurons(checkpoint, lambda shares: ~cut(shares), by, "neurons of no one frequency")


def _cut_neurons(checkpoint: Checkpoint, cut: Choice, by: Cut, which: str) -> Effect:
    if by not in get_args(Cut):
        raise ConfigError(f"by must be {' or '.join(get_args(Cut))}; got {by!r}.")

    def change(maps: Float[Tensor, "p p d"]) -> Float[Tensor, "p p d"]:
        flat = maps.mean((0, 1)) if by == "mean" else torch.zeros_like(maps[0, 0])
        return torch.where(cut(neuron_measures.frequency_shares(maps)), flat, maps)

    return _of_neurons(checkpoint, change, f"{which} cut to {by}")


@computing()
def output_directions(checkpoint: Checkpoint, frequencies: Iterable[int]) -> Effect:
    """Restrict the neuron-logit map W_L over outputs c to the waves cos w_k c and sin w_k c of the given frequencies.

    W_L is W_out · W_U, or W_U in a network of one hidden layer. The neurons do not change; their contribution to the
    logits does.
    """
    words, named = _chosen(checkpoint, None, frequencies)
    p = checkpoint.task.p
    W_L = _network(checkpoint).neuron_logit_map(checkpoint.weights)
    if W_L is None:
        raise ConfigError(f"output_directions() needs a neuron-logit map; {_network(checkpoint).name} has none.")
    lost = W_L[:, :p].double() - project(W_L[:, :p].T, named).T
    seen: list[Tensor] = []

    def see(neurons: Tensor, hook: object) -> None:
        seen.append(at_last(neurons))

    def take(out: Tensor, hook: object) -> Tensor:
        out = out.clone()
        at_last(out)[:, :p] -= (seen.pop().double() @ lost.to(out.device)).to(out)
        return out

    points = _points(checkpoint)
    return through_hooks(checkpoint, [(points.neurons, see), (points.logits, take)], f"W_L {words}")


def _over_pairs(checkpoint: Checkpoint, change: Change, width: int | None = None) -> Callable[..., Tensor]:
    """Return a hook that changes the first `width` entries of an activation at the last position, over all pairs."""
    p = checkpoint.task.p

    def hook(x: Tensor, hook: object) -> Tensor:
        x = x.clone()
        part = at_last(x)[:, :width]  # a view: x changes with it
        part.copy_(change(part.cpu().unflatten(0, (p, p))).flatten(0, 1))
        return x

    return hook


def _of_frequencies(maps: Float[Tensor, "p p d"], frequencies: Iterable[int]) -> Float[Tensor, "p p d"]:
    """Project d functions of (a, b) on the eight waves of each frequency."""
    p = len(maps)
    basis = shared_basis(p)
    chosen = torch.zeros(p, p, dtype=torch.float64)
    for k in frequencies:
        rows = torch.tensor([0, *frequency_rows(p, k)])
        chosen[rows[:, None], rows] = 1
    chosen[0, 0] = 0
    return _both(basis.T, chosen[..., None] * _both(basis, maps.double()))


def _both(F: Float[Tensor, "p p"], maps: Float[Tensor, "p p d"]) -> Float[Tensor, "p p d"]:
    """Apply F along a, and then along b: for each a, [p, p] @ [p, d]."""
    return F @ (F @ maps.flatten(1)).view(maps.shape)


def _own_frequency(maps: Float[Tensor, "p p d"]) -> Float[Tensor, "p p d"]:
    """Project each of d functions of (a, b) on its mean and the eight waves of the frequency that explains it best."""
    own = neuron_measures.neuron_frequencies(neuron_measures.frequency_shares(maps))
    fitted = maps.double().mean((0, 1)).expand(maps.shape).clone()
    for k in own.unique().tolist():
        fitted[..., own == k] += _of_frequencies(maps[..., own == k], [k])
    return fitted
