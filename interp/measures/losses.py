"""Cross-entropies and accuracies over pairs (Nanda et al., 2023), in nats and float64."""

from __future__ import annotations

from functools import partial

from jaxtyping import Bool, Float, Int
from torch import Tensor

from interp.arguments import checks_arrays, numbers_below

_of_any_values = partial(checks_arrays, values=False)  # a network that diverged has the loss nan


@_of_any_values
def cross_entropy(logits: Float[Tensor, "*pairs c"], labels: Int[Tensor, "*pairs"]) -> Float[Tensor, "*pairs"]:
    """−log softmax(logits)[label] of every pair, in float64: float32 cannot resolve losses under 1e-7."""
    numbers_below("labels", labels, logits.shape[-1])
    return -logits.double().log_softmax(-1).gather(-1, labels[..., None]).squeeze(-1)


@_of_any_values
def correct(logits: Float[Tensor, "*pairs c"], labels: Int[Tensor, "*pairs"]) -> Bool[Tensor, "*pairs"]:
    """Whether the largest logit of a pair is its label's."""
    return logits.argmax(-1) == labels


@checks_arrays
def restricted_logits(kept: Float[Tensor, "p c"], mean: Float[Tensor, " c"]) -> Float[Tensor, "p c"]:
    """Logits of which only the key frequencies are kept, with the mean over inputs of the rest added back.

    They depend on s = a ± b alone: row s serves all p pairs of that residue. See `logits.kept` for `kept`; the mean
    over inputs of `kept` is zero, so the mean of the rest is the mean of L.
    """
    return kept + mean.double()


@checks_arrays
def excluded_logits(
    logits: Float[Tensor, "n c"], kept: Float[Tensor, "p c"], labels: Int[Tensor, " n"]
) -> Float[Tensor, "n c"]:
    """L − kept for n pairs with these labels, without a mean correction; float64."""
    numbers_below("labels", labels, len(kept))
    return logits.double() - kept[labels]
