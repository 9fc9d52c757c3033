"""Causal tests: change one thing in a network through TransformerLens' hooks, and see what it loses.

    interp.ablate.logits(ckpt, keep=[14, 35])     # of the logits only the waves of two frequencies
    interp.ablate.neurons(ckpt, remove=[14])      # of the neurons all but those of one
    interp.ablate.attention(ckpt, "mean")         # attention the same for all pairs

Each returns an Effect: losses and accuracies before and after. All p*p pairs run as one batch, so that a hook can look
at all of them; the hooks are gone afterwards, whatever happens. `through_hooks` takes hooks of your own.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from interp.all_pairs import tokens_of
from interp.config import ModelConfig
from interp.errors import ConfigError
from interp.forward import Pairs
from interp.fourier import fourier_basis, frequency_rows, project
from interp.measures import logits as logit_measures, losses, neurons as neuron_measures
from interp.model import neuron_logit_map
from interp.run import Checkpoint

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

Hook = tuple[str, Callable[..., Any]]
AttentionBy = Literal["mean", "degree-2"]
Cut = Literal["zero", "mean"]

_EMBED = "hook_embed"
_PATTERN = "blocks.0.attn.hook_pattern"
_NEURONS = "blocks.0.mlp.hook_post"
_LOGITS = "unembed.hook_out"


@dataclass(frozen=True)
class Scores:
    """Loss (nats, over the p number tokens) and accuracy: over all pairs, and over those of the split, where known."""

    loss: float
    accuracy: float
    train_loss: float | None
    train_accuracy: float | None
    test_loss: float | None
    test_accuracy: float | None


@dataclass(frozen=True)
class Effect:
    """What a network scored before and after an ablation; prints as a table."""

    ablation: str
    before: Scores
    after: Scores

    def row(self) -> dict[str, Any]:
        """Flat: the ablation, and every score as NAME_before and NAME_after."""
        before = {f"{name}_before": value for name, value in asdict(self.before).items()}
        after = {f"{name}_after": value for name, value in asdict(self.after).items()}
        return {"ablation": self.ablation, **before, **after}

    def __str__(self) -> str:
        after = asdict(self.after)
        rows = [
            f"{name:<16}{value:>12.5g}{after[name]:>12.5g}"
            for name, value in asdict(self.before).items()
            if value is not None
        ]
        return "\n".join([self.ablation, f"{'':<16}{'before':>12}{'after':>12}", *rows])

    __repr__ = __str__


def through_hooks(
    checkpoint: Checkpoint,
    hooks: Sequence[Hook],
    name: str = "hooks",
    bridge: TransformerBridge | None = None,
) -> Effect:
    """Score a checkpoint without and with forward hooks, each a (hook point, function of (activation, hook)).

    The batch is all p*p pairs in lexicographic order, pair a * p + b; a position is -1 for the last. `bridge` is a
    bridge of this checkpoint to use instead of a new one: the hooks that it already has count before and after, and
    only those given are removed. Raises ConfigError for a network of one hidden layer, which is no bridge.
    """
    _check(checkpoint)
    model: Any = checkpoint.model() if bridge is None else bridge
    if unknown := [point for point, _ in hooks if point not in model.hook_dict]:
        raise ConfigError(f"this model has no hook point {', '.join(unknown)}; it has {', '.join(model.hook_dict)}.")
    tokens = tokens_of(model, Pairs.all(checkpoint.task.p))
    with torch.no_grad():
        before = _scores(checkpoint, model(tokens))
        with model.hooks(fwd_hooks=list(hooks)):
            after = _scores(checkpoint, model(tokens))
    return Effect(name, before, after)


def _check(checkpoint: Checkpoint) -> None:
    if not isinstance(checkpoint.config, ModelConfig):
        raise ConfigError("ablations go through a TransformerBridge's hooks; a network of one hidden layer has none.")


def _scores(checkpoint: Checkpoint, out: Float[Tensor, "pairs n_ctx d_vocab_out"]) -> Scores:
    p, labels, train = checkpoint.task.p, checkpoint.task.labels, checkpoint.train_mask
    L = out[:, -1, :p].float().cpu().unflatten(0, (p, p))
    nll, right = losses.cross_entropy(L, labels), losses.correct(L, labels).double()

    def mean(values: Tensor, pairs: Tensor | None) -> float | None:
        return float(values[pairs].mean()) if pairs is not None and pairs.any() else None

    test = None if train is None else ~train
    return Scores(
        loss=float(nll.mean()),
        accuracy=float(right.mean()),
        train_loss=mean(nll, train),
        train_accuracy=mean(right, train),
        test_loss=mean(nll, test),
        test_accuracy=mean(right, test),
    )


def _chosen(checkpoint: Checkpoint, remove: Iterable[int] | None, keep: Iterable[int] | None) -> tuple[str, list[int]]:
    """The words for a choice of frequencies, and the frequencies named."""
    _check(checkpoint)
    every = range(1, checkpoint.task.p // 2 + 1)
    if why := checkpoint.task.why_no_fourier:
        raise ConfigError(f"{why}; there is no frequency to remove or keep.")
    if (remove is None) == (keep is None):
        raise ConfigError("give the frequencies to remove or those to keep, one of the two.")
    given: Any = remove if keep is None else keep
    try:
        named = sorted({operator.index(k) for k in given})
        if any(isinstance(k, bool) for k in given):
            raise TypeError
    except TypeError:
        raise ConfigError(f"frequencies are {given!r}; give whole numbers, such as [14, 35].") from None
    if bad := [k for k in named if k not in every]:
        raise ConfigError(f"frequencies {bad} lie outside 1..{every[-1]}, those of p = {checkpoint.task.p}.")
    return f"{'without' if keep is None else 'only'} k = {', '.join(map(str, named)) or 'none'}", named


def embedding(checkpoint: Checkpoint, remove: Iterable[int] | None = None, keep: Iterable[int] | None = None) -> Effect:
    """Remove, or alone keep, waves of the given frequencies of the embedding W_E[:p]; its mean over numbers stays.

    Where b has tokens of its own, of theirs likewise.
    """
    words, named = _chosen(checkpoint, remove, keep)
    p, W_E = checkpoint.task.p, checkpoint.weights["W_E"]
    pairs = Pairs.all(p)

    def change(table: Float[Tensor, "p d_model"]) -> Float[Tensor, "p d_model"]:
        part = project(table, named)
        return table.double() - part if keep is None else part + table.double().mean(0)

    tables = [change(W_E[:p]), change(W_E[p : 2 * p] if len(W_E) >= 2 * p else W_E[:p])]

    def hook(embed: Tensor, hook: object) -> Tensor:
        embed = embed.clone()
        embed[:, 0], embed[:, 1] = tables[0][pairs.a].to(embed), tables[1][pairs.b].to(embed)
        return embed

    return through_hooks(checkpoint, [(_EMBED, hook)], f"embedding {words}")


def neurons(checkpoint: Checkpoint, remove: Iterable[int] | None = None, keep: Iterable[int] | None = None) -> Effect:
    """Remove, or alone keep, of every neuron over pairs the eight waves of the given frequencies; its mean stays.

    The eight are {const, cos, sin}(w_k a) × {const, cos, sin}(w_k b), less const × const (`measures.neurons`). What is
    of two different frequencies, such as cos w_1 a · cos w_2 b, belongs to none and goes with `keep`, stays with
    `remove`.
    """
    words, named = _chosen(checkpoint, remove, keep)

    def change(maps: Float[Tensor, "p p d"]) -> Float[Tensor, "p p d"]:
        part = _of_frequencies(maps, named)
        return maps.double() - part if keep is None else part + maps.double().mean((0, 1))

    return through_hooks(checkpoint, [(_NEURONS, _at_last(checkpoint, change))], f"neurons {words}")


def logits(checkpoint: Checkpoint, remove: Iterable[int] | None = None, keep: Iterable[int] | None = None) -> Effect:
    """Remove, or alone keep, of the logits over pairs the waves cos w_k(a+b) and sin w_k(a+b) of the given frequencies.

    With `keep`, the mean of each output over pairs stays. After `keep` of the key frequencies the loss is
    restricted_loss, and after `remove` of them the train loss is excluded_loss (Nanda et al., 2023).
    """
    words, named = _chosen(checkpoint, remove, keep)
    labels = checkpoint.task.labels

    def change(maps: Float[Tensor, "p p d"]) -> Float[Tensor, "p p d"]:
        table = logit_measures.logit_table(maps, labels)
        part = project(table, named)
        return maps.double() - part[labels] if keep is None else (part + table.mean(0))[labels]

    return through_hooks(checkpoint, [(_LOGITS, _at_last(checkpoint, change))], f"logits {words}")


def attention(checkpoint: Checkpoint, by: AttentionBy = "mean") -> Effect:
    """Replace attention from the last position by its mean over pairs, or by its best fit in one frequency.

    "degree-2" projects each head's attention to each position, over pairs, on the eight waves of the frequency that
    explains most of it (`measures.attention`), its mean kept.
    """
    if by not in get_args(AttentionBy):
        raise ConfigError(f"attention is replaced by {' or '.join(get_args(AttentionBy))}, not {by!r}.")

    def change(maps: Float[Tensor, "p p d"]) -> Float[Tensor, "p p d"]:
        return maps.double().mean((0, 1)).expand_as(maps) if by == "mean" else _own_frequency(maps)

    p = checkpoint.task.p

    def hook(pattern: Tensor, hook: object) -> Tensor:
        pattern = pattern.clone()
        last = pattern[:, :, -1]  # [pairs, n_heads, n_ctx]
        maps = change(last.flatten(1).unflatten(0, (p, p)))
        pattern[:, :, -1] = maps.flatten(0, 1).unflatten(1, last.shape[1:]).to(pattern)
        return pattern

    fit = "mean over pairs" if by == "mean" else "best fit in one frequency"
    return through_hooks(checkpoint, [(_PATTERN, hook)], f"attention by its {fit}")


def neuron_fits(checkpoint: Checkpoint) -> Effect:
    """Replace every neuron by its best fit over pairs in the one frequency that explains most of it, its mean kept."""
    hook = _at_last(checkpoint, _own_frequency)
    return through_hooks(checkpoint, [(_NEURONS, hook)], "neurons by their best fit in one frequency")


def clusters(checkpoint: Checkpoint, frequencies: Iterable[int], by: Cut = "mean") -> Effect:
    """Set the single-frequency neurons of the given frequencies to zero, or to their mean over pairs."""
    words, chosen = _chosen(checkpoint, None, frequencies)

    def cut(shares: Float[Tensor, "n_frequencies d_mlp"]) -> Bool[Tensor, " d_mlp"]:
        own = neuron_measures.neuron_frequencies(shares)
        return neuron_measures.is_single_frequency(shares) & torch.isin(own, torch.tensor(chosen, dtype=own.dtype))

    return _cut_neurons(checkpoint, cut, by, f"neurons of {words.removeprefix('only ')}")


def unclustered(checkpoint: Checkpoint, by: Cut = "mean") -> Effect:
    """Set the neurons that are of no one frequency, and so in no cluster, to zero, or to their mean over pairs."""
    return _cut_neurons(
        checkpoint, lambda shares: ~neuron_measures.is_single_frequency(shares), by, "neurons of no one frequency"
    )


def _cut_neurons(
    checkpoint: Checkpoint,
    cut: Callable[[Float[Tensor, "n_frequencies d_mlp"]], Bool[Tensor, " d_mlp"]],
    by: Cut,
    which: str,
) -> Effect:
    if by not in get_args(Cut):
        raise ConfigError(f"neurons are cut to {' or '.join(get_args(Cut))}, not {by!r}.")

    def change(maps: Float[Tensor, "p p d"]) -> Float[Tensor, "p p d"]:
        flat = maps.mean((0, 1)) if by == "mean" else torch.zeros_like(maps[0, 0])
        return torch.where(cut(neuron_measures.frequency_shares(maps)), flat, maps)

    return through_hooks(checkpoint, [(_NEURONS, _at_last(checkpoint, change))], f"{which} cut to {by}")


def output_directions(checkpoint: Checkpoint, frequencies: Iterable[int]) -> Effect:
    """Restrict W_L = W_out · W_U, over outputs, to the waves cos w_k c and sin w_k c of the given frequencies.

    The neurons stay as they are; of what they add to the logits only that part remains.
    """
    words, named = _chosen(checkpoint, None, frequencies)
    p = checkpoint.task.p
    W_L = neuron_logit_map(checkpoint.weights)[:, :p]
    lost = W_L.double() - project(W_L.T, named).T
    seen: list[Tensor] = []

    def see(neurons: Tensor, hook: object) -> None:
        seen.append(neurons[:, -1])

    def take(out: Tensor, hook: object) -> Tensor:
        out = out.clone()
        out[:, -1, :p] -= (seen.pop().double() @ lost.to(out.device)).to(out)
        return out

    return through_hooks(checkpoint, [(_NEURONS, see), (_LOGITS, take)], f"W_L {words}")


def _at_last(
    checkpoint: Checkpoint, change: Callable[[Float[Tensor, "p p d"]], Float[Tensor, "p p d"]]
) -> Callable[..., Tensor]:
    """A hook that changes an activation at the last position, seen over all pairs; of outputs, the p numbers."""
    p = checkpoint.task.p

    def hook(x: Tensor, hook: Any) -> Tensor:
        x = x.clone()
        width = p if hook.name == _LOGITS else x.shape[-1]
        maps = x[:, -1, :width].cpu().unflatten(0, (p, p))
        x[:, -1, :width] = change(maps).flatten(0, 1).to(x)
        return x

    return hook


def _of_frequencies(maps: Float[Tensor, "p p d"], frequencies: Iterable[int]) -> Float[Tensor, "p p d"]:
    """The part of d functions of (a, b) in the eight waves of each of these frequencies."""
    p = len(maps)
    basis = fourier_basis(p)
    chosen = torch.zeros(p, p, dtype=torch.float64)
    for k in frequencies:
        rows = torch.tensor([0, *frequency_rows(p, k)])
        chosen[rows[:, None], rows] = 1
    chosen[0, 0] = 0
    return _both(basis.T, chosen[..., None] * _both(basis, maps.double()))


def _both(F: Float[Tensor, "p p"], maps: Float[Tensor, "p p d"]) -> Float[Tensor, "p p d"]:
    """F along a and along b."""
    along_a = (F @ maps.flatten(1)).view(maps.shape)
    return F @ along_a  # for each a, [p, p] @ [p, d]


def _own_frequency(maps: Float[Tensor, "p p d"]) -> Float[Tensor, "p p d"]:
    """Each of d functions of (a, b) by its mean and the eight waves of the frequency that explains most of it."""
    own = neuron_measures.neuron_frequencies(neuron_measures.frequency_shares(maps))
    fitted = maps.double().mean((0, 1)).expand(maps.shape).clone()
    for k in own.unique().tolist():
        fitted[..., own == k] += _of_frequencies(maps[..., own == k], [k])
    return fitted
