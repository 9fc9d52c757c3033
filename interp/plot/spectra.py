"""Figures of the frequencies of a run over its steps: in its losses, its logits, its weights and its neurons."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import torch
from jaxtyping import Float, Int

from interp.measures.neurons import neurons_of_frequency
from interp.plot import declared
from interp.plot.base import KEYS, between_ticks, decades, frames, line, look, need, panels
from interp.plot.training import note, over_training, shade
from interp.tasks.fourier import by_frequency, frequencies_of
from interp.utils.arguments import given
from interp.utils.errors import ConfigError

if TYPE_CHECKING:
    from interp.plot.shown import Shown
    from interp.study.phase_table import Phases


@declared.figure(
    "run", title="Excluded loss of each key frequency",
    caption="The loss on train pairs with one key frequency removed from the logits. It rises from the step at which "
    "the network begins to rely on that frequency.",
    source="Nanda et al. (2023), appendix", data=lambda of: {"trajectory": of.trajectory, "phases": of.phases},
)  # fmt: skip
def excluded_losses(trajectory: pd.DataFrame, phases: Phases | None = None) -> go.Figure:
    """Draw excluded loss on train pairs with one key frequency removed at a time (Nanda et al., 2023, appendix)."""
    need(trajectory, "step")
    columns = [name for name in map(str, trajectory.columns) if name.startswith("excluded_loss_")]
    if not columns:
        need(trajectory, "excluded_loss")
        raise ConfigError("this figure needs the columns excluded_loss_K, which the trajectory does not have.")
    if len(columns) > len(KEYS):
        named = {int(name.rsplit("_", 1)[1]): name for name in columns}
        figure = _by_frequency(trajectory, named, "Excluded loss (nats)")
        _bounds(figure, phases)
        note(figure, trajectory)
        return figure
    lines = {f"without k = {name.rsplit('_', 1)[1]}": name for name in columns}
    figure = over_training(trajectory, lines, "Excluded loss (nats)", phases, legend_rows=(len(lines) + 2) // 3)
    decades(figure, 1)
    return figure


def _by_frequency(trajectory: pd.DataFrame, columns: dict[int, str], title: str) -> go.Figure:
    """Draw many frequencies over the steps as a map, a row each, since lines would hide each other."""
    need(trajectory, "step", *columns.values())
    values = trajectory[list(columns.values())].abs().to_numpy(dtype=float).T
    top = np.nanmax(values)
    logs = np.log10(np.maximum(values, top * 1e-6 if top else 1.0))
    ticks = range(int(np.floor(np.nanmin(logs))), int(np.ceil(np.nanmax(logs))) + 1)
    figure = panels(["Frequency k"], height=max(300, 26 * len(columns)))
    figure.add_trace(
        go.Heatmap(
            x=trajectory["step"], y=[str(k) for k in columns], z=logs, colorscale="Viridis",
            colorbar={"title": {"text": title, "side": "right"}, "thickness": 16, "tickfont": {"size": 18},
                      "tickvals": list(ticks), "ticktext": [f"10<sup>{n}</sup>" for n in ticks]},
            customdata=values, hovertemplate="step %{x:,}, k = %{y}: %{customdata:.3g}<extra></extra>",
        ),
        row=1, col=1,
    )  # fmt: skip
    figure.update_yaxes(type="category", showgrid=False, tickfont={"size": 16})
    figure.update_layout(hovermode="closest", margin_t=20)
    return figure


def _bounds(figure: go.Figure, phases: Phases | None) -> None:
    """Mark the ends of phases on a map, which shades would discolour."""
    for _, end in () if phases is None else phases.ends():
        figure.add_vline(x=end, line={"color": "white", "width": 2, "dash": "dot"})


@declared.figure(
    "run", title="Coefficients of the cosines in the logits",
    caption="All frequencies start alike. A few, the key frequencies, grow and win; the others fall by orders of "
    "magnitude.",
    data=lambda of: {"trajectory": of.trajectory},
)  # fmt: skip
def cos_coefficients(trajectory: pd.DataFrame, key_frequencies: Sequence[int] | None = None) -> go.Figure:
    """Draw |c_k| of every cos w_k(a+b−c) over training, the key frequencies in colour and the rest in grey.

    `key_frequencies` defaults to those that `interp.trajectory` leaves in `trajectory.attrs`.
    """
    need(trajectory, "step")
    keys = key_frequencies if key_frequencies is not None else trajectory.attrs.get("key_frequencies") or ()
    names = [name for name in map(str, trajectory.columns) if re.fullmatch(r"cos_coefficient_\d+", name)]
    if not names:
        raise ConfigError("this figure needs the columns cos_coefficient_1, …, which the trajectory does not have.")
    need(trajectory, *names)
    keys = frequencies_of(2 * max(int(name.rsplit("_", 1)[1]) for name in names), keys)
    need(trajectory, *(f"cos_coefficient_{k}" for k in keys))
    if len(keys) > len(KEYS):
        named = {k: f"cos_coefficient_{k}" for k in keys}
        figure = _by_frequency(trajectory, named, "|c<sub>k</sub>|")
        note(figure, trajectory)
        return figure
    figure = panels(["|coefficient of cos w<sub>k</sub>(a+b−c)|"], height=420)
    rest = [name for name in names if int(name.rsplit("_", 1)[1]) not in keys]
    for index, name in enumerate(rest):
        label = "other k" if keys else "every k"
        line(figure, trajectory["step"], trajectory[name].abs(), label, 1, {"color": "#bbb"}, legend=index == 0)
    figure.update_traces(line_width=1, hoverinfo="skip")
    for index, k in enumerate(keys):
        line(figure, trajectory["step"], trajectory[f"cos_coefficient_{k}"].abs(), f"k = {k}", 1, look(index))
    # The losers end in rounding noise, eight decades under the winners, which is cut off.
    decades(figure, 1, lowest=float(trajectory[names].abs().to_numpy().max()) * 10**-6.5)
    note(figure, trajectory)
    return figure


_NORMS = {"embedding_norms": "W<sub>E</sub>", "unembedding_norms": "W<sub>L</sub>"}


def _spectra(of: Shown) -> dict[str, Any]:
    """Return the norms of each frequency at each checkpoint, of W_E and W_L, or of the one that the network has."""
    there = [name for name in _NORMS if of.measures[name] is not None]
    if not there:
        of.measured(next(iter(_NORMS)))  # raises Missing with the reason
    arrays = of.over_training(arrays=there).attrs["arrays"]
    spectra = {name: by_frequency(torch.from_numpy(arrays[name]).T).T.numpy() for name in there}
    return {"spectra": spectra, "steps": arrays.steps, "phases": of.phases}


@declared.figure(
    "run", title="Fourier spectrum over training",
    caption="The norm of each frequency in the embedding, and in what the neurons add to the logits. At first all are "
    "alike; a few stripes brighten while the circuit forms, the same in both, and in cleanup the rest goes dark.",
    source="Nanda et al. (2023)", data=_spectra,
)  # fmt: skip
def spectrum_over_training(
    spectra: Mapping[str, Float[np.ndarray, "checkpoint n_frequencies"]],
    steps: Int[np.ndarray, " checkpoint"],
    phases: Phases | None = None,
) -> go.Figure:
    """Draw the norm of every frequency in W_E and W_L at each checkpoint; dotted lines are the ends of phases.

    `spectra` holds, by the name of the measure, `fourier.by_frequency` of "embedding_norms" and "unembedding_norms".
    """
    spectra = frames(spectra, "spectra")
    if not spectra or not set(spectra) <= set(_NORMS):
        raise ConfigError(f"spectra must be those of {' and '.join(_NORMS)}; got {given(list(spectra))}.")
    figure = panels([f"Frequency k in {_NORMS[name]}" for name in spectra], height=300)
    span = 1 / (len(spectra) + 0.08)
    for row, norms in enumerate(spectra.values(), 1):
        if len(norms) != len(steps):
            raise ConfigError(f"steps must have an entry for each of the {len(norms)} checkpoints; got {len(steps)}.")
        figure.add_trace(
            go.Heatmap(
                x=steps, y=np.arange(1, norms.shape[1] + 1), z=norms.T.astype(np.float32), colorscale="Viridis",
                zmin=0, zmax=float(norms.max()), hovertemplate="step %{x:,}, k = %{y}: %{z:.3g}<extra></extra>",
                colorbar={"title": {"text": "norm", "side": "right"}, "thickness": 16, "len": span,
                          "y": 1 - (row - 0.5) / len(spectra), "tickfont": {"size": 18}},
            ),
            row=row, col=1,
        )  # fmt: skip
    _bounds(figure, phases)
    figure.update_yaxes(showgrid=False, tick0=0, dtick=between_ticks(norms.shape[1]))
    return figure.update_layout(hovermode="closest", margin_t=20)


def _neuron_counts(of: Shown) -> dict[str, Any]:
    neurons_of_frequency(of.subject)  # raises Missing if there are none to count
    return {"trajectory": of.over_training("neurons_of_frequency"), "phases": of.phases}


@declared.figure(
    "run", title="Neurons of each frequency over training",
    caption="How many neurons one frequency explains by more than 0.85, stacked. Frequencies that win neurons and lose "
    "them again are bands that open and close; the height is the number of all such neurons.",
    data=_neuron_counts,
)  # fmt: skip
def neurons_by_frequency_over_training(trajectory: pd.DataFrame, phases: Phases | None = None) -> go.Figure:
    """Draw the number of single-frequency neurons of each frequency at each checkpoint, stacked.

    `trajectory` is `interp.trajectory(run, measures=["neurons_of_frequency"])`.
    """
    names = [name for name in map(str, trajectory.columns) if re.fullmatch(r"neurons_of_frequency_\d+", name)]
    need(trajectory, "step", *names)
    most = {int(name.rsplit("_", 1)[1]): trajectory[name].max() for name in names}
    most = {k: number for k, number in most.items() if number > 0}
    if not most:
        raise ConfigError("this figure needs a neuron of one frequency at some checkpoint; there is none.")
    own = sorted(sorted(most, key=lambda k: -most[k])[: len(KEYS) - 1])
    others = [f"neurons_of_frequency_{k}" for k in most if k not in own]
    bands = {f"k = {k}": trajectory[f"neurons_of_frequency_{k}"] for k in own}
    bands |= {"other k": trajectory[others].sum(axis=1)} if others else {}
    figure = panels(["Neurons"], height=400, legend_rows=2)
    for colour, (name, counts) in zip([*KEYS[: len(own)], "#bbb"], bands.items(), strict=False):
        figure.add_trace(
            go.Scatter(
                x=trajectory["step"], y=counts, name=name, stackgroup="all", mode="lines", fillcolor=colour,
                line={"color": colour, "width": 0.5},
            )
        )  # fmt: skip
    figure.update_yaxes(rangemode="tozero")
    figure.update_layout(legend_traceorder="normal")
    shade(figure, phases)
    return figure
