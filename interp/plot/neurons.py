"""Figures of all neurons of a checkpoint: their frequencies, their phases, and what they add to the logits."""

from __future__ import annotations

from typing import Any

import numpy as np
import plotly.graph_objects as go
from jaxtyping import Bool, Float, Int

from interp.measures.neurons import is_single_frequency, neuron_frequencies, output_phases, phases_of, shares_of
from interp.plot import declared
from interp.plot.base import NO_CLUSTER, between_ticks, both_signs, groups_of, maps_side_by_side, panels, waves
from interp.subjects.subject import Missing, Subject
from interp.tasks.fourier import fourier_basis
from interp.utils.arguments import checks_arrays


def _ordered(
    frequencies: Int[np.ndarray, " n"], single: Bool[np.ndarray, " n"], within: Float[np.ndarray, " n"]
) -> tuple[Int[np.ndarray, " n"], dict[str, Any]]:
    """Return the neurons ordered by frequency, then by `within`, and the ticks of their axis.

    Neurons of no single frequency come last. Groups of less than 4 % have no tick.
    """
    order = np.lexsort((within, frequencies, ~single))
    groups = [(f"k = {k}", single & (frequencies == k)) for k in np.unique(frequencies[single])]
    ticks = {}
    for name, members in [*groups, ("mixed", ~single)]:
        if members.sum() >= 0.04 * len(order) and members.any():
            ticks[float(np.flatnonzero(members[order]).mean())] = name
    return order, {"tickvals": list(ticks), "ticktext": list(ticks.values())}


def _all_neurons(subject: Subject) -> dict[str, Any]:
    shares = shares_of(subject)
    return {"frequencies": neuron_frequencies(shares).numpy(), "single": is_single_frequency(shares).numpy()}


def _logit_map(subject: Subject) -> dict[str, Any]:
    phases = output_phases(subject.W_L, neuron_frequencies(shares_of(subject)))
    weights = fourier_basis(subject.task.p) @ subject.W_L.T.double()
    return {"weights": weights.numpy(), **_all_neurons(subject), "phases": phases.numpy()}


@declared.figure(
    "model", title="What all neurons add to the logits",
    caption="The weights of every neuron along each wave of c; neurons in the order of their frequency, then of their "
    "phase, those of no single frequency (mixed) last. In the circuit each group of neurons has weights at its own "
    "frequency alone, which turn through all phases. Zero is white.",
    source="Nanda et al. (2023)", data=lambda of: _logit_map(of.subject),
)  # fmt: skip
@checks_arrays
def neuron_logit_map(
    weights: Float[np.ndarray, "p d_mlp"], frequencies: Int[np.ndarray, " d_mlp"], single: Bool[np.ndarray, " d_mlp"],
    phases: Float[np.ndarray, " d_mlp"],
) -> go.Figure:  # fmt: skip
    """Draw F · W_Lᵀ of all neurons, ordered by frequency and output phase; those of no single frequency stand last.

    Takes `neuron_frequencies`, `is_single_frequency` and `output_phases` of `measures.neurons`. `neuron_logit_weights`
    draws one group alone.
    """
    order, ticks = _ordered(frequencies, single, phases)
    figure = maps_side_by_side(
        [("", weights[:, order])], 1, ("neurons, by frequency and output phase", "frequency of c"), "weight", "RdBu",
        both_signs(weights),
    )  # fmt: skip
    figure.update_yaxes(**waves(len(weights)))
    return figure.update_xaxes(**ticks)


@declared.figure(
    "model", title="Frequencies of all neurons",
    caption="The share of each neuron's variance over pairs that each frequency explains; neurons in the order of "
    "their frequency, the purest first, and those of no single frequency (mixed) last. In the circuit every column has "
    "one bright cell.",
    source="Nanda et al. (2023)",
    data=lambda of: {"shares": shares_of(of.subject).numpy(), "single": _all_neurons(of.subject)["single"]},
)  # fmt: skip
@checks_arrays
def neurons_by_frequency(
    shares: Float[np.ndarray, "n_frequencies d_mlp"], single: Bool[np.ndarray, " d_mlp"]
) -> go.Figure:
    """Draw `measures.neurons.frequency_shares`, neurons ordered by frequency; those of no single frequency last."""
    order, ticks = _ordered(shares.argmax(0) + 1, single, -shares.max(0))
    figure = maps_side_by_side(
        [("", shares[:, order])], 1, ("neurons, by frequency", "frequency k"), "share of variance", limits=(0.0, 1.0)
    )
    figure.update_traces(y0=1)
    figure.update_yaxes(tick0=0, dtick=between_ticks(len(shares)))
    return figure.update_xaxes(**ticks)


def _phases(subject: Subject) -> dict[str, Any]:
    frequencies, detected, voted = phases_of(subject)
    if not len(frequencies):
        raise Missing(NO_CLUSTER)
    single = is_single_frequency(shares_of(subject))
    return {
        "detected": detected.numpy(), "voted": voted.numpy(), "frequencies": frequencies.numpy(),
        "sizes": subject.W_L[single].norm(dim=1).numpy(), "sign": "−" if subject.task.sign == -1 else "+",
    }  # fmt: skip


@declared.figure(
    "model", title="Phases of the neurons",
    caption="The phase that each neuron of one frequency detects in its inputs, and the phase that it votes for in its "
    "outputs; a larger point adds more to the logits. On the line a neuron votes for the very sum that it detects.",
    source="Nanda et al. (2023)", data=lambda of: _phases(of.subject),
)  # fmt: skip
@checks_arrays
def neuron_phases(
    detected: Float[np.ndarray, " n"], voted: Float[np.ndarray, " n"], frequencies: Int[np.ndarray, " n"],
    sizes: Float[np.ndarray, " n"], sign: str = "+",
) -> go.Figure:  # fmt: skip
    """Draw φ_c of the single-frequency neurons against φ_a + φ_b, a point a neuron; its size is that of its row of W_L.

    Takes `measures.neurons.phases_of`. φ_a + φ_b is drawn from 0 to 2π, and φ_c, which is known up to full turns,
    within half a turn of it. `sign` is the sign of φ_b in the title of the axis.
    """
    x = np.mod(detected, 2 * np.pi) / np.pi
    y = x + np.mod((voted - detected) / np.pi + 1, 2) - 1
    figure = panels(["φ<sub>c</sub>, voted for"], 480, f"φ<sub>a</sub> {sign} φ<sub>b</sub>, detected", 2)
    figure.add_trace(
        go.Scatter(
            x=[0, 2], y=[0, 2], mode="lines", line={"color": "#555", "width": 1.5, "dash": "dot"}, showlegend=False,
            hoverinfo="skip",
        )
    )  # fmt: skip
    for index, (name, members, colour) in enumerate(groups_of(frequencies)):
        figure.add_trace(
            go.Scatter(
                x=x[members], y=y[members], name=name, mode="markers",
                marker={"color": colour, "size": 5 + 9 * sizes[members] / (sizes.max() or 1), "symbol": index,
                        "opacity": 0.75},
                hovertemplate="%{x:.2f} π, %{y:.2f} π<extra></extra>",
            )
        )  # fmt: skip
    turns = {-1: "−π", 0: "0", 1: "π", 2: "2π", 3: "3π"}
    figure.update_xaxes(range=[-0.05, 2.05], tickvals=[0, 0.5, 1, 1.5, 2], ticktext=["0", "π/2", "π", "3π/2", "2π"])
    figure.update_yaxes(tickvals=list(turns), ticktext=list(turns.values()))
    return figure.update_layout(hovermode="closest", legend={"itemsizing": "constant"})
