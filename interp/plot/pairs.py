"""Figures over all pairs (a, b): their logits, their loss, and when they graduate, that is, stay right from then on."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import plotly.graph_objects as go
import torch
from jaxtyping import Bool, Float

from interp.measures.logits import correct_logit, size_of_rest, table
from interp.measures.losses import cross_entropies, restricted_of, train_pairs
from interp.plot import declared
from interp.plot.base import both_signs, maps_side_by_side, note_doubts
from interp.subjects.subject import Subject
from interp.utils.arguments import checks_arrays
from interp.utils.errors import ConfigError

_with_never = partial(checks_arrays, values=False)  # a pair that never graduates has NaN


def _correct_logits(subject: Subject) -> dict[str, Any]:
    labels = subject.task.labels
    of_residue = correct_logit(restricted_of(subject), torch.arange(subject.task.p))
    return {"full": correct_logit(subject.logits, labels).numpy(), "restricted": of_residue[labels].numpy()}


@declared.figure(
    "model", title="The right logit of every pair",
    caption="The logit of the right answer, less the mean over outputs: of the network, and of the key frequencies of "
    "its logits alone, which depend on the answer only. Where the circuit is all, both are alike.",
    data=lambda of: _correct_logits(of.subject) | {"doubt": of.measures.key_doubt},
)  # fmt: skip
@checks_arrays
def correct_logit_over_pairs(
    full: Float[np.ndarray, "p p"], restricted: Float[np.ndarray, "p p"], doubt: str | None = None
) -> go.Figure:
    """Draw `measures.logits.correct_logit` of every pair, for all logits and for their key frequencies alone."""
    maps = [("all logits", full), ("key frequencies alone", restricted)]
    figure = maps_side_by_side(maps, 2, ("b", "a"), "logit − mean over c")
    note_doubts(figure, doubt)
    return figure


def _centred(logits: torch.Tensor) -> Float[np.ndarray, "p p"]:
    return (logits - logits.mean(-1, keepdim=True)).numpy()


@declared.figure(
    "model", title="Logits, their key frequencies, and the rest",
    caption="The mean logits of the pairs of each right answer s, less their mean over c; the key frequencies of them "
    "alone; and the size of the difference, over the pairs of s. In the circuit each row is one wave, moved by s, and "
    "the rest is small.",
    data=lambda of: {
        "full": _centred(table(of.subject)), "restricted": _centred(restricted_of(of.subject)),
        "rest": size_of_rest(of.subject.logits, restricted_of(of.subject), of.subject.task.labels).numpy(),
        "doubt": of.measures.key_doubt,
    },
)  # fmt: skip
@checks_arrays
def logits_full_and_restricted(
    full: Float[np.ndarray, "p p"], restricted: Float[np.ndarray, "p p"], rest: Float[np.ndarray, "p p"],
    doubt: str | None = None,
) -> go.Figure:  # fmt: skip
    """Draw logits over the right answer s and the output c: all, the key frequencies alone, and the size of the rest.

    Takes `measures.logits.table` and `measures.losses.restricted_of`, each less its mean over c, and
    `measures.logits.size_of_rest`, a root mean square over the pairs of s. All share one colour scale; zero is white.
    """
    maps = [
        ("all logits, mean over pairs", full),
        ("key frequencies alone", restricted),
        (f"size of the rest (mean {rest.mean():.2g})", rest),
    ]
    limits = both_signs(full, restricted, rest)
    figure = maps_side_by_side(maps, 2, ("output c", "right answer s"), "logit − mean over c", "RdBu", limits)
    note_doubts(figure, doubt)
    return figure


def _of_each_set(
    values: Float[np.ndarray, "p p"], train_mask: Bool[np.ndarray, "p p"] | None, scale: str, names: tuple[str, str]
) -> go.Figure:
    """Draw a value of every pair, train pairs beside test pairs, with pairs of the other set in grey."""
    if train_mask is None:
        return maps_side_by_side([(f"all {values.size:,} pairs", values)], 1, ("b", "a"), scale)
    sets = [one for one in zip(names, (train_mask, ~train_mask), strict=True) if one[1].any()]
    known = values[np.isfinite(values)]
    limits = (float(known.min()), float(known.max())) if known.size else (0.0, 1.0)
    maps = [(name, np.where(mask, values, np.nan)) for name, mask in sets]
    figure = maps_side_by_side(maps, len(maps), ("b", "a"), scale, limits=limits)
    for col, (_, mask) in enumerate(sets, 1):
        others = np.where(mask, np.nan, 0.0).astype(np.float32)
        figure.add_trace(
            go.Heatmap(z=others, colorscale=[[0, "#ddd"], [1, "#ddd"]], showscale=False, hoverinfo="skip"),
            row=1, col=col,
        )  # fmt: skip
    return figure


def _train_mask(subject: Subject) -> Bool[np.ndarray, "p p"] | None:
    mask = train_pairs(subject)
    return None if mask is None else mask.numpy()


@declared.figure(
    "model", title="Loss of every pair",
    caption="Cross-entropy of each train pair and of each test pair; pairs of the other set are grey. While the "
    "network has only memorized, the maps differ by orders of magnitude; after grokking they are alike.",
    data=lambda of: {"losses": cross_entropies(of.subject).numpy(), "train_mask": _train_mask(of.subject)},
)  # fmt: skip
@checks_arrays
def pair_losses(losses: Float[np.ndarray, "p p"], train_mask: Bool[np.ndarray, "p p"] | None = None) -> go.Figure:
    """Draw `measures.losses.cross_entropies` of all pairs on a logarithmic scale, train pairs beside test pairs."""
    above = losses[losses > 0]
    logs = np.log10(np.maximum(losses, above.min() if above.size else 1.0))
    return _of_each_set(logs, train_mask, "log<sub>10</sub> loss (nats)", ("train pairs", "test pairs"))


@declared.figure(
    "run", title="When each pair graduates",
    caption="The step from which on a pair is answered right. Train pairs graduate early. Test pairs do so late and, "
    "where a circuit carries them, nearly all at once. White pairs are wrong at the end; pairs of the other set are "
    "grey.",
    data=lambda of: {
        "steps": of.graduation.steps, "train_mask": None if of.run.train_mask is None else of.run.train_mask.numpy(),
    },
)  # fmt: skip
@_with_never
def graduation_map(steps: Float[np.ndarray, "p p"], train_mask: Bool[np.ndarray, "p p"] | None = None) -> go.Figure:
    """Draw `interp.graduation(…).steps` over all pairs, train pairs beside test pairs; NaN (never) is white."""
    if not np.isfinite(steps).any():
        raise ConfigError("this figure needs a pair that is answered right at the last checkpoint; there is none.")
    figure = _of_each_set(steps, train_mask, "step", ("train pairs", "test pairs"))
    return figure.update_layout(coloraxis_colorbar={"tickformat": ",d"})
