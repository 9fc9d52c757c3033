"""Cross-entropies and accuracies over pairs (Nanda et al., 2023), in nats and float64."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from interp.measures import logits as of_logits
from interp.measures.registry import NANDA, builtin_measure
from interp.subjects.subject import Missing, Subject, quantity
from interp.utils.arguments import checks_arrays, numbers_below

_of_any_values = partial(checks_arrays, values=False)  # the loss of a network that diverged is nan


@_of_any_values
def cross_entropy(logits: Float[Tensor, "*pairs c"], labels: Int[Tensor, "*pairs"]) -> Float[Tensor, "*pairs"]:
    """−log softmax(logits)[label] of every pair, in float64: float32 cannot resolve losses under 1e-7."""
    numbers_below("labels", labels, logits.shape[-1])
    return -logits.double().log_softmax(-1).gather(-1, labels[..., None]).squeeze(-1)


@_of_any_values
def correct(logits: Float[Tensor, "*pairs c"], labels: Int[Tensor, "*pairs"]) -> Bool[Tensor, "*pairs"]:
    """True for each pair whose largest logit is that of its label."""
    return logits.argmax(-1) == labels


@checks_arrays
def restricted_logits(kept: Float[Tensor, "p c"], mean: Float[Tensor, " c"]) -> Float[Tensor, "p c"]:
    """Logits of the key frequencies alone (`logits.kept`), plus the mean of L over inputs; row s is that of a ± b = s.

    The mean over inputs of `kept` is zero, so the mean of L is the mean of the rest.
    """
    return kept + mean.double()


@checks_arrays
def excluded_logits(
    logits: Float[Tensor, "n c"], kept: Float[Tensor, "p c"], labels: Int[Tensor, " n"]
) -> Float[Tensor, "n c"]:
    """L − kept for n pairs with these labels; the mean of L over inputs stays in; float64."""
    numbers_below("labels", labels, len(kept))
    return logits.double() - kept[labels]


# ── measures ─────────────────────────────────────────────────────────────────────────────────────────────────────


@quantity
def cross_entropies(subject: Subject) -> Float[Tensor, "p p"]:
    return cross_entropy(subject.logits, subject.task.labels)


@quantity
def right(subject: Subject) -> Bool[Tensor, "p p"]:
    return correct(subject.logits, subject.task.labels)


def train_pairs(subject: Subject) -> Bool[Tensor, "p p"] | None:
    """Return the mask of the train pairs, or None if the split is unknown."""
    try:
        return subject.train_mask
    except Missing:
        return None


@quantity
def test_pairs(subject: Subject) -> Bool[Tensor, "p p"]:
    if subject.train_mask.all():
        raise Missing("every pair is a train pair; none is left to test")
    return ~subject.train_mask


def _mean(x: Tensor) -> float:
    return float(x.double().mean())


@builtin_measure(title="mean cross-entropy over all pairs", unit="nats", source=NANDA)
def loss(subject: Subject) -> float:
    return _mean(cross_entropies(subject))


@builtin_measure(title="share of all pairs answered right", source=NANDA)
def accuracy(subject: Subject) -> float:
    return _mean(right(subject))


@builtin_measure(title="mean cross-entropy over train pairs", unit="nats", source=NANDA)
def train_loss(subject: Subject) -> float:
    return _mean(cross_entropies(subject)[subject.train_mask])


@builtin_measure(title="mean cross-entropy over test pairs", unit="nats", source=NANDA)
def test_loss(subject: Subject) -> float:
    return _mean(cross_entropies(subject)[test_pairs(subject)])


@builtin_measure(title="share of train pairs answered right", source=NANDA)
def train_accuracy(subject: Subject) -> float:
    return _mean(right(subject)[subject.train_mask])


@builtin_measure(title="share of test pairs answered right", source=NANDA)
def test_accuracy(subject: Subject) -> float:
    return _mean(right(subject)[test_pairs(subject)])


@quantity
def restricted_of(subject: Subject) -> Float[Tensor, "p c"]:
    """`restricted_logits` at the key frequencies: one row for all pairs of a residue."""
    table = of_logits.table(subject)
    return restricted_logits(of_logits.kept(table, of_logits.key_frequencies_of(subject)), table.mean(0))


@quantity
def _restricted_losses(subject: Subject) -> Float[Tensor, " p"]:
    return cross_entropy(restricted_of(subject), torch.arange(subject.task.p))


@builtin_measure(title="loss with the key frequencies of the logits alone, over all pairs", unit="nats", source=NANDA)
def restricted_loss(subject: Subject) -> float:
    return _mean(_restricted_losses(subject))


@builtin_measure(title="accuracy with the key frequencies of the logits alone, over all pairs", source=NANDA)
def restricted_accuracy(subject: Subject) -> float:
    return _mean(correct(restricted_of(subject), torch.arange(subject.task.p)))


@builtin_measure(title="loss with the key frequencies of the logits alone, over test pairs", unit="nats", source=NANDA)
def restricted_test_loss(subject: Subject) -> float:
    subject.needs_fourier()
    return _mean(_restricted_losses(subject)[subject.task.labels[test_pairs(subject)]])


def _excluded(subject: Subject, *some: tuple[int, ...]) -> Iterator[tuple[Float[Tensor, "n c"], Int[Tensor, " n"]]]:
    """Yield, for each set of frequencies, the logits of the train pairs without it, and their labels."""
    table = of_logits.table(subject)
    logits, labels = subject.logits[subject.train_mask], subject.task.labels[subject.train_mask]
    for frequencies in some:
        yield excluded_logits(logits, of_logits.kept(table, frequencies), labels), labels


@quantity
def _without_all(subject: Subject) -> tuple[float, float]:
    ((logits, labels),) = _excluded(subject, of_logits.key_frequencies_of(subject))
    return _mean(cross_entropy(logits, labels)), _mean(correct(logits, labels))


@builtin_measure(title="loss with the key frequencies removed, over train pairs", unit="nats", source=NANDA)
def excluded_loss(subject: Subject) -> float:
    return _without_all(subject)[0]


@builtin_measure(title="accuracy with the key frequencies removed, over train pairs", source=NANDA)
def excluded_accuracy(subject: Subject) -> float:
    return _without_all(subject)[1]


@builtin_measure(
    title="loss with one key frequency removed, over train pairs", unit="nats", source=NANDA,
    shape="by key frequency", columns="excluded_loss_{}",
)  # fmt: skip
def excluded_loss_by_frequency(subject: Subject) -> dict[int, float]:
    keys = of_logits.key_frequencies_of(subject)
    each = _excluded(subject, *((k,) for k in keys))
    return {k: _mean(cross_entropy(*without)) for k, without in zip(keys, each, strict=True)}


@builtin_measure(
    title="share of train pairs whose softmax float32 rounds to 1: in float32 their loss and its gradient are then 0; "
    "interp trains with a loss in float64, so these pairs still train",
    source="Prieto et al. (2025)", on_request=True,
)  # fmt: skip
def softmax_collapse(subject: Subject) -> float:
    """A pair has collapsed if Σ over c ≠ argmax of exp(L[c] − max L) ≤ 2⁻²⁴, in float64."""
    below = subject.logits[subject.train_mask].double()
    largest = below.max(-1, keepdim=True)
    others = (below - largest.values).scatter(-1, largest.indices, -torch.inf).exp().sum(-1)
    return _mean(others <= 2.0**-24)


@builtin_measure(title="which pairs are answered right", shape="[p, p]", on_request=True)
def answered(subject: Subject) -> Bool[Tensor, "p p"]:
    return right(subject)
