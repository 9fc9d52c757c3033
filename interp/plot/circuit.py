"""Figures of the circuit in one checkpoint: Fourier norms, chosen neurons and attention."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
import torch
from jaxtyping import Float, Int

from interp.measures.attention import attention_shares, score_vectors_of
from interp.measures.logits import fourier_norms_2d
from interp.measures.neurons import (
    SINGLE_FREQUENCY_SHARE,
    clusters,
    neuron_frequencies,
    output_phases,
    purity as purity_of,
    representatives,
    shares_of,
)
from interp.plot import declared
from interp.plot.base import (
    BLUE,
    KEYS,
    NO_CLUSTER,
    ORANGE,
    both_signs,
    groups_of,
    maps_side_by_side,
    note_doubts,
    panels,
    waves,
)
from interp.subjects.subject import Missing, Subject
from interp.tasks.fourier import by_frequency, fourier_basis, frequencies_of
from interp.utils.arguments import checks_arrays, number, numbers_below
from interp.utils.errors import ConfigError


def _representatives(subject: Subject) -> Int[np.ndarray, " n"]:
    shown = representatives(shares_of(subject), subject.neurons.amax((0, 1)) > 0)
    if not len(shown):
        raise Missing(NO_CLUSTER)
    return shown.numpy()


def _largest_cluster(subject: Subject) -> dict[str, Any]:
    shares = shares_of(subject)
    found = clusters(shares)
    if not found:
        raise Missing(NO_CLUSTER)
    k, members = max(found.items(), key=lambda item: len(item[1]))
    W_L = subject.W_L[members]
    phases = output_phases(W_L, neuron_frequencies(shares)[members])
    return {"weights": (fourier_basis(subject.task.p) @ W_L.T.double()).numpy(), "k": k, "phases": phases.numpy()}


@declared.figure(
    "model", title="Fourier norms of W_E and W_L",
    caption="How much of the embedding, and of what the neurons add to the logits, lies along each wave. In a network "
    "that has grokked a few frequencies hold nearly all of it, and both have the same ones.",
    source="Nanda et al. (2023), figure 3", data=lambda of: {
        "embedding_norms": of.measured("embedding_norms"), "unembedding_norms": of.measured("unembedding_norms"),
        "key_frequencies": of.key_frequencies, "doubt": of.measures.key_doubt,
    },
)  # fmt: skip
@checks_arrays
def fourier_norms(
    embedding_norms: Float[np.ndarray, " p"], unembedding_norms: Float[np.ndarray, " p"],
    key_frequencies: Sequence[int] = (), doubt: str | None = None,
) -> go.Figure:  # fmt: skip
    """Draw the norms of W_E and of the neuron-logit map W_L along each cosine and sine (Nanda et al., 2023, figure 3).

    Takes `embedding_norms`, `unembedding_norms`, `key_frequencies` and `key_doubt` of ProgressMeasures. F is the
    Fourier basis, and W_L = W_out·W_U is transformed over outputs. The constant is left out.
    """
    key_frequencies = frequencies_of(len(embedding_norms), key_frequencies)
    titles = ["Norm of F·W<sub>E</sub>", "Norm of F·W<sub>L</sub>"]
    figure = panels(titles, x_title="Frequency k (key frequencies labelled)")
    for row, norms in enumerate((embedding_norms, unembedding_norms), 1):
        cosines, sines = norms[1::2], norms[2::2]
        for values, name, colour in ((cosines, "cos", BLUE), (sines, "sin", ORANGE)):
            figure.add_trace(
                go.Bar(
                    x=np.arange(1, len(values) + 1), y=values, name=name, legendgroup=name, showlegend=row == 1,
                    marker={"color": colour, "line": {"width": 0}},
                ),
                row=row, col=1,
            )  # fmt: skip
        for k in key_frequencies:
            tallest = max(norms[2 * k - 1], norms[2 * k] if 2 * k < len(norms) else 0.0)
            crowded = {near - k for near in key_frequencies if 0 < abs(near - k) <= 2}
            side = "center" if not crowded else "right" if max(crowded) > 0 else "left"
            figure.add_annotation(x=k, y=tallest, text=str(k), showarrow=False, yanchor="bottom", xanchor=side,
                                  font={"size": 17}, row=row, col=1)  # fmt: skip
        figure.update_yaxes(range=[0, 1.15 * float(norms[1:].max())], row=row, col=1)
    figure.update_layout(bargap=0.15, bargroupgap=0.0)
    figure.update_xaxes(range=[0, len(embedding_norms) // 2 + 1], showgrid=False)
    note_doubts(figure, doubt)
    return figure


def _fit(shares: np.ndarray, over_pairs: np.ndarray) -> None:
    if len(shares) != len(over_pairs) // 2:
        raise ConfigError(
            f"shares must have a row for each of the {len(over_pairs) // 2} frequencies of p = {len(over_pairs)}; got "
            f"{len(shares)}."
        )


def _one_each(neurons: int, **arrays: np.ndarray) -> None:
    for name, array in arrays.items():
        if len(array) != neurons:
            raise ConfigError(f"{name} must have an entry for each of the {neurons} neurons; got {len(array)}.")


@declared.figure(
    "model", title="Attention over pairs",
    caption="How much each head, at the last position, attends to a. In the circuit it is a wave of a and of b of one "
    "frequency.",
    source="Nanda et al. (2023)",
    data=lambda of: {"pattern": of.subject.pattern.numpy(), "shares": attention_shares(of.subject.pattern).numpy()},
)  # fmt: skip
@checks_arrays
def attention_over_pairs(
    pattern: Float[np.ndarray, "p p n_heads n_ctx"], shares: Float[np.ndarray, "n_frequencies n_heads 2"]
) -> go.Figure:
    """Draw the attention of each head from the last position to a over all pairs, with its main frequency.

    After Nanda et al. (2023). Takes `Activations.pattern` and `measures.attention.attention_shares` of it.
    """
    _fit(shares, pattern)
    heads = range(pattern.shape[2])
    best = shares[:, :, 0].argmax(0)
    maps = [(f"head {h}: k = {best[h] + 1}, {shares[best[h], h, 0]:.0%}", pattern[:, :, h, 0]) for h in heads]
    return maps_side_by_side(
        maps, 2 if len(heads) > 1 else 1, ("b", "a"), "attention to a", limits=(0.0, float(pattern[..., 0].max()))
    )


@declared.figure(
    "model", title="Neurons over pairs",
    caption="The purest neuron of each frequency, and the least pure one: in the circuit a neuron is a wave of a, of b "
    "and of a + b.",
    source="Nanda et al. (2023)", data=lambda of: {
        "neurons": of.subject.neurons.numpy(), "shown": _representatives(of.subject),
        "frequencies": neuron_frequencies(shares_of(of.subject)).numpy(),
        "purity": purity_of(shares_of(of.subject)).numpy(),
    },
)  # fmt: skip
@checks_arrays
def neurons_over_pairs(
    neurons: Float[np.ndarray, "p p d_mlp"], shown: Int[np.ndarray, " n"], frequencies: Int[np.ndarray, " d_mlp"],
    purity: Float[np.ndarray, " d_mlp"],
) -> go.Figure:  # fmt: skip
    """Draw the `shown` neurons over all pairs, each as a share of its largest activation (Nanda et al., 2023).

    Takes `Activations.neurons`, and `representatives`, `neuron_frequencies` and `purity` of `measures.neurons`.
    """
    _one_each(neurons.shape[2], frequencies=frequencies, purity=purity)
    numbers_below("shown", torch.as_tensor(shown), neurons.shape[2])
    if not len(shown):
        raise ConfigError("shown must name at least one neuron; got none, as from a network without pure neurons.")
    maps = [
        (f"{n}: k = {frequencies[n]}, {purity[n]:.0%}", neurons[:, :, n] / (neurons[:, :, n].max() or 1)) for n in shown
    ]
    return maps_side_by_side(
        maps, min(3, len(maps)), ("b", "a"), "activation ÷ largest", limits=(min(float(m.min()) for _, m in maps), 1.0)
    )


@declared.figure(
    "model", title="Fourier norms of the logits",
    caption="The size of each product of a wave of a and a wave of b. The circuit lies on the diagonal, at the key "
    "frequencies.",
    source="Nanda et al. (2023)", data=lambda of: {"norms": fourier_norms_2d(of.subject.logits).numpy()},
)  # fmt: skip
@checks_arrays
def logit_fourier_norms(norms: Float[np.ndarray, "p p"]) -> go.Figure:
    """Draw the size of the logits along each product of a wave of a and a wave of b, on a logarithmic scale.

    After Nanda et al. (2023). Takes `measures.logits.fourier_norms_2d`: a cosine and a sine at each frequency.
    """
    decades = np.log10(np.maximum(norms, norms.max() * 1e-4))
    figure = maps_side_by_side([("", decades)], 1, ("frequency of b", "frequency of a"), "log<sub>10</sub> norm over c")
    figure.update_xaxes(**waves(len(norms)))
    figure.update_yaxes(**waves(len(norms)))
    return figure


@declared.figure(
    "model", title="Neurons of one frequency",
    caption="The share of each neuron's variance over pairs that its one frequency explains. Neurons of the circuit "
    "lie right of the line. A neuron that is constant over pairs has no frequency.",
    source="Nanda et al. (2023)", data=lambda of: {
        "purity": purity_of(shares_of(of.subject)).numpy(),
        "frequencies": neuron_frequencies(shares_of(of.subject)).numpy(), "threshold": SINGLE_FREQUENCY_SHARE,
    },
)  # fmt: skip
@checks_arrays
def neuron_purity(
    purity: Float[np.ndarray, " d_mlp"], frequencies: Int[np.ndarray, " d_mlp"], threshold: float
) -> go.Figure:
    """Draw the share of each neuron's variance over pairs that its one frequency explains, as a histogram.

    Takes `measures.neurons.purity` (0 for a neuron that is constant over pairs) and `neuron_frequencies`. A line marks
    the share above which a neuron counts as one of a single frequency, `measures.neurons.SINGLE_FREQUENCY_SHARE`.
    """
    _one_each(len(purity), frequencies=frequencies)
    own, threshold = frequencies, number("threshold", threshold, least=0, most=1)
    figure = panels(["Neurons"], height=400, x_title="Share of variance in one frequency", legend_rows=2)
    varies = purity > 0
    groups = [(name, purity[varies][members], colour) for name, members, colour in groups_of(own[varies])]
    for name, shares, colour in [*groups, ("constant", purity[~varies], "#ccc")]:
        if len(shares):
            bins = {"start": 0, "end": 1, "size": 0.025}
            figure.add_trace(go.Histogram(x=shares, name=name, marker_color=colour, xbins=bins))
    figure.add_vline(x=threshold, line={"color": "#555", "width": 1.5, "dash": "dot"})
    figure.update_layout(barmode="stack", legend_traceorder="normal")
    figure.update_xaxes(range=[0, 1], tickformat=".0%", showgrid=False)
    return figure


@declared.figure(
    "model", title="What neurons of one frequency add to the logits",
    caption="The weights of the largest group of neurons of one frequency along each wave of c, in the order of their "
    "phases. Only the cosine and the sine of that frequency are there: each neuron votes for one phase of c.",
    source="Nanda et al. (2023)", data=lambda of: _largest_cluster(of.subject),
)  # fmt: skip
@checks_arrays
def neuron_logit_weights(weights: Float[np.ndarray, "p n"], k: int, phases: Float[np.ndarray, " n"]) -> go.Figure:
    """Draw the weights of the neurons of one frequency along each wave of c, ordered by output phase.

    After Nanda et al. (2023). Takes F · W_Lᵀ and `measures.neurons.output_phases` of these neurons. Zero is white.
    """
    frequencies_of(len(weights), [k])
    order = np.argsort(phases)
    shown = [(f"neurons of k = {k}", weights[:, order])]
    figure = maps_side_by_side(
        shown, 1, ("neuron, by output phase", "frequency of c"), "weight", "RdBu", both_signs(weights)
    )
    figure.update_yaxes(**waves(len(weights)))
    return figure


@declared.figure(
    "model", title="Attention scores by frequency",
    caption="How much each frequency of a number moves the score of each head. Key frequencies are dotted lines.",
    source="Nanda et al. (2023)", data=lambda of: {
        "norms": by_frequency(fourier_basis(of.subject.task.p) @ score_vectors_of(of.subject).T).numpy(),
        "key_frequencies": of.key_frequencies, "doubt": of.measures.key_doubt,
    },
)  # fmt: skip
@checks_arrays
def attention_scores(
    norms: Float[np.ndarray, "n_frequencies n_heads"], key_frequencies: Sequence[int] = (), doubt: str | None = None
) -> go.Figure:
    """Draw how much each frequency of the number attended to moves each head's score, from "=".

    Takes `fourier.by_frequency(fourier_basis(p) @ score_vectors.T)` of `measures.attention.score_vectors`; the key
    frequencies are marked, and `doubt` (`ProgressMeasures.key_doubt`) is written beneath.
    """
    key_frequencies = frequencies_of(2 * len(norms) + 1, key_frequencies)
    figure = panels(["Norm of the score vector"], height=400, x_title="Frequency k")
    for h in range(norms.shape[1]):
        figure.add_trace(
            go.Scatter(
                x=np.arange(1, len(norms) + 1), y=norms[:, h], name=f"head {h}", mode="lines+markers",
                line={"color": KEYS[h % len(KEYS)], "width": 2}, marker={"size": 7, "symbol": h},
            )
        )  # fmt: skip
    for k in key_frequencies:
        figure.add_vline(x=k, line={"color": "#999", "width": 1.5, "dash": "dot"}, layer="below")
    figure.update_yaxes(rangemode="tozero")
    figure.update_xaxes(range=[0, len(norms) + 1], showgrid=False)
    note_doubts(figure, doubt)
    return figure
