"""Measures of clock or pizza (Zhong et al., "The Clock and the Pizza", NeurIPS 2023), and translation_share."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from interp.measures.registry import ZHONG, builtin_measure
from interp.networks.pairs import Pairs
from interp.subjects.subject import Subject, present, quantity
from interp.utils.arguments import checks_arrays, numbers_below

ALL_PAIRS_TO, SAMPLE = 64, 100  # gradients are taken at all pairs up to p = 64, else at a sample of 100


@checks_arrays
def gradient_cosines(grad_a: Float[Tensor, "n p d"], grad_b: Float[Tensor, "n p d"]) -> Float[Tensor, "n p"]:
    """The cosine similarity of ∂L[a, b, c]/∂E_a and ∂L[a, b, c]/∂E_b, of n pairs and all c; 0 if a gradient vanishes.

    Gradient symmetricity is its mean over pairs and outputs: near 1 for a pizza, which reads a and b by their sum.
    """
    return functional.cosine_similarity(grad_a.double(), grad_b.double(), dim=-1)


@checks_arrays
def distance_irrelevance(
    logits: Float[Tensor, "p p p"], labels: Int[Tensor, "p p"], distances: Int[Tensor, "p p"]
) -> float:
    """Mean over d of the standard deviation over s of M[s, d], divided by the standard deviation of all of M.

    M[s, d] is the right logit of the pair with a + b = s and a − b = d mod p (`Task.labels`, `Task.distances`). It is
    near 0 for a pizza, whose right logits depend on d, and near 1 for a clock, whose right logits do not. The deviation
    over s is that over the p pairs of one d, which for even p meet every other s twice. NaN if M is constant.
    """
    numbers_below("labels", labels, len(labels))
    right = logits.double().gather(-1, labels[..., None]).flatten()
    by_distance = right[distances.flatten().argsort(stable=True)].view(len(labels), -1)  # [d, p]
    spread = float(right.std(correction=0))
    return float(by_distance.std(1, correction=0).mean()) / spread if spread else float("nan")


# ── measures ─────────────────────────────────────────────────────────────────────────────────────────────────────


def sample_of(p: int, all_to: int, sample: int) -> Pairs:
    """Return all pairs for p up to `all_to`, else a seeded sample of them without replacement."""
    pairs = Pairs.all(p)
    if p <= all_to:
        return pairs
    chosen = torch.randperm(p * p, generator=torch.Generator().manual_seed(0))[:sample]
    return Pairs(p, pairs.a[chosen], pairs.b[chosen])


def standard_error(values: Float[Tensor, " n"], population: int) -> float:
    """The standard error of the mean of n values drawn from N without replacement: √((1 − n/N)·s²/n).

    Its square is unbiased (Cochran, Sampling Techniques, 1977, theorem 2.4). 0 if all were drawn; NaN for one of many.
    """
    n = len(values)
    if n == population:
        return 0.0
    return math.sqrt((1 - n / population) * float(values.double().var()) / n) if n > 1 else math.nan


@quantity
def _cosines(subject: Subject, *, all_to: int = ALL_PAIRS_TO, sample: int = SAMPLE) -> Float[Tensor, "n p"]:
    pairs = sample_of(subject.task.p, all_to, sample)
    return torch.cat([gradient_cosines(*both) for both in subject.gradients(pairs)])


@builtin_measure(
    title="mean cosine similarity of ∂L/∂E_a and ∂L/∂E_b: near 1 for a pizza", source=ZHONG, on_request=True
)
def gradient_symmetricity(subject: Subject, *, all_to: int = ALL_PAIRS_TO, sample: int = SAMPLE) -> float:
    return float(_cosines(subject, all_to=all_to, sample=sample).mean())


@builtin_measure(
    title="standard error of gradient_symmetricity, from its sample of pairs: 0 where it is of all pairs",
    on_request=True, error_of="gradient_symmetricity",
)  # fmt: skip
def gradient_symmetricity_error(subject: Subject, *, all_to: int = ALL_PAIRS_TO, sample: int = SAMPLE) -> float:
    """A pair counts as one value, its mean over c: the cosines of one pair are not independent."""
    by_pair = _cosines(subject, all_to=all_to, sample=sample).mean(1)
    return standard_error(by_pair, subject.task.p**2)


@builtin_measure(
    name="distance_irrelevance", on_request=True, source=ZHONG,
    title="how little the right logit depends on a − b, of its variation: near 1 for a clock",
)  # fmt: skip
def distance_irrelevance_of(subject: Subject) -> float:
    subject.needs_fourier()
    irrelevance = distance_irrelevance(subject.logits, subject.task.labels, subject.task.distances)
    return present(irrelevance, "the right logit is the same for every pair")


def explained_by_difference(M: Float[Tensor, "p p"]) -> float:
    """The share of the variance of the entries off the diagonal that (i − j) mod p explains. NaN if all are equal."""
    p = len(M)
    i = torch.arange(p)
    by_difference = M.double()[i, (i - i[:, None]) % p][1:]  # [i − j, j], without i = j
    total = by_difference.var(correction=0)
    return float(by_difference.mean(1).var(correction=0) / total) if total else math.nan


def translation_share_of(M: Float[Tensor, "p p"]) -> float:
    """`explained_by_difference` of M, centred over rows and over columns."""
    return explained_by_difference(M - M.mean(0) - M.mean(1, keepdim=True) + M.mean())


@quantity
def _translation(subject: Subject, *, all_to: int = ALL_PAIRS_TO, sample: int = SAMPLE) -> tuple[float, float]:
    """Return the translation share and its standard error."""
    W_a, W_b = (W.double() for W in subject.embeddings)
    population, pairs = subject.task.p**2, sample_of(subject.task.p, all_to, sample)
    sampled = len(pairs.a) < population
    parts: list[Float[Tensor, "n p p"]] = []  # terms of M: one per pair of a sample, else one per batch
    for both in subject.gradients(pairs):
        centred = [(gradient - gradient.mean(1, keepdim=True)).double() for gradient in both]
        rows = centred if sampled else [one.flatten(0, 1)[None] for one in centred]
        of_a, of_b = (W @ (one.mT @ one) @ W.T for W, one in zip((W_a, W_b), rows, strict=True))
        parts.append(of_a + of_b)
    each = torch.cat(parts)
    M = each.sum(0)
    share = present(translation_share_of(M), "the logits do not depend on the inputs")
    if not sampled:
        return share, 0.0
    n = len(each)
    # The share is a ratio, not a mean, so its error is that of Tukey's pseudo-values (the delete-one jackknife).
    pseudo = [n * share - (n - 1) * translation_share_of(M - one) for one in each]
    return share, standard_error(torch.tensor(pseudo, dtype=torch.float64), population)


@builtin_measure(
    title="how much of what the logits see of the inputs depends on differences alone",
    source="after Mallinar et al. (2024)", on_request=True,
)  # fmt: skip
def translation_share(subject: Subject, *, all_to: int = ALL_PAIRS_TO, sample: int = SAMPLE) -> float:
    """J = ∂(L centred over c)[a, b, c]/∂(one-hot of a), and of b; M is the mean of J Jᵀ over pairs, c and both inputs.

    M is centred over rows and columns; (i − j) mod p explains this share of the variance of its off-diagonal entries.
    """
    return _translation(subject, all_to=all_to, sample=sample)[0]


@builtin_measure(
    title="standard error of translation_share, by jackknife over its sample of pairs: 0 where it is of all pairs",
    on_request=True, error_of="translation_share",
)  # fmt: skip
def translation_share_error(subject: Subject, *, all_to: int = ALL_PAIRS_TO, sample: int = SAMPLE) -> float:
    return _translation(subject, all_to=all_to, sample=sample)[1]
