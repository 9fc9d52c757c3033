"""Figures of a training run over its steps, and of several models side by side."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Int

from interp.measures.neurons import neurons_of_frequency
from interp.plot import declared
from interp.plot.base import (
    BLACK,
    BLUE,
    GREEN,
    KEYS,
    LINES,
    OPACITY,
    SHADES,
    VERMILLION,
    between_ticks,
    decades,
    frames,
    line,
    look,
    need,
    note_doubts,
    note_missing,
    panels,
    reasons,
)
from interp.tasks.fourier import by_frequency, frequencies_of
from interp.utils.arguments import given
from interp.utils.errors import ConfigError

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from interp.plot.shown import Shown
    from interp.study.phase_rules import Phases


def _curves(of: Shown) -> dict[str, Any]:
    """Return what was recorded in training; of a run that has no record, such as one of states, what is measured."""
    measured = of.history.empty
    return {"history": of.trajectory if measured else of.history, "phases": of.phases, "measured": measured}


@declared.figure(
    "run", title="Accuracy and loss over training",
    caption="Train accuracy reaches 1 early. Test accuracy follows long after: in between the network has memorized "
    "its train pairs and fails on all others.",
    source="Nanda et al. (2023), figure 2", data=_curves,
)  # fmt: skip
def training_curves(history: pd.DataFrame, phases: Phases | None = None, measured: bool = False) -> go.Figure:
    """Accuracy and loss on train and test pairs over training (Nanda et al., 2023, figure 2), from `run.history`.

    They are drawn as they were recorded: over all outputs that the network was trained on, "=" included. The figures of
    a trajectory take the p numbers alone; `measured` says that `history` does so too, as a trajectory.

    Of a log (`interp.read_log`) that holds only some of these, such as accuracies alone, what is there is drawn.
    `phases` are shaded and named as far as they are known, and a loss of what was learned and its dips are marked.
    """
    need(history, "step")
    there = [
        f"{name}_{kind}"
        for kind in ("accuracy", "loss")
        for name in ("train", "test")
        if f"{name}_{kind}" in history and history[f"{name}_{kind}"].notna().any()
    ]
    if not there:
        need(history, "train_loss", "test_loss")
        raise ConfigError("this figure needs losses or accuracies; got a frame without a value of either.")
    kinds = [kind for kind in ("accuracy", "loss") if any(column.endswith(kind) for column in there)]
    losses = "Loss, p outputs (nats)" if measured else "Loss as trained (nats)"
    figure = panels([{"accuracy": "Accuracy", "loss": losses}[kind] for kind in kinds])
    for row, kind in enumerate(kinds, 1):
        for name in (name for name in ("train", "test") if f"{name}_{kind}" in there):
            recorded = history.dropna(subset=f"{name}_{kind}")  # one may be recorded more often than the other
            line(figure, recorded["step"], recorded[f"{name}_{kind}"], name, row, LINES[name], legend=row == 1)
    if kinds[0] == "accuracy":
        figure.update_yaxes(range=[-0.03, 1.03], tickformat=".0%", row=1, col=1)
    decades(figure, len(kinds))
    if phases is not None:
        _shade(figure, phases)
    return figure


@declared.figure(
    "run", title="Progress measures over training",
    caption="Restricted loss (the key frequencies of the logits alone) falls and excluded loss (without them) rises "
    "long before test loss falls: the circuit that generalizes grows under what was memorized. Then the weights "
    "shrink.",
    source="Nanda et al. (2023), figure 7", data=lambda of: {"trajectory": of.trajectory, "phases": of.phases},
)  # fmt: skip
def progress_measures(trajectory: pd.DataFrame, phases: Phases | None = None) -> go.Figure:
    """Excluded and restricted loss, their ratio to test loss, and Σ squared weights, the phases shaded and named.

    After Nanda et al. (2023), figure 7. `trajectory` is what `interp.trajectory` returns; its losses are over the p
    numbers, without "=", which `training_curves` counts.
    """
    need(trajectory, "step", "train_loss", "test_loss", "excluded_loss", "restricted_loss", "sum_squared_weights")
    figure = panels(["Loss, p outputs (nats)", "Loss ÷ test loss", "Σ weights²"])
    step = trajectory["step"]
    for name in ("train", "test", "restricted", "excluded"):
        line(figure, step, trajectory[f"{name}_loss"], name, 1, LINES[name])
    for name in ("restricted", "excluded"):
        line(figure, step, trajectory[f"{name}_loss"] / trajectory["test_loss"], name, 2, LINES[name], legend=False)
    line(figure, step, trajectory["sum_squared_weights"], "Σ weights²", 3, {"color": BLACK, "dash": "solid"}, False)
    figure.add_hline(y=1, line={"color": "#888", "width": 1.5, "dash": "dot"}, row=2, col=1)
    decades(figure, 1)
    decades(figure, 2)
    figure.update_yaxes(rangemode="tozero", row=3, col=1)
    if phases is not None:
        _shade(figure, phases)
    _note(figure, trajectory)
    return figure


def _note(figure: go.Figure, trajectory: pd.DataFrame) -> None:
    """Write beneath what `interp.trajectory` holds in doubt."""
    note_doubts(figure, *trajectory.attrs.get("doubts", ()), trajectory.attrs.get("key_doubt"))


def _shade(figure: go.Figure, phases: Phases) -> None:
    """Colour each known phase through all panels, and name them under the figure, where they cover no curve.

    A line marks where test accuracy was lost, and the steps of a dip, from the fall to the return, are red.
    """
    if not hasattr(phases, "spans"):
        raise ConfigError(f"phases must be what interp.phases returns; got {given(phases)}.")

    def mark(first: int, last: int, name: str, **look: Any) -> None:
        before = len(figure.layout.shapes)
        figure.add_vrect(x0=first, x1=last, layer="below", row="all", col=1, **look)
        figure.layout.shapes[before].update(showlegend=name not in named, name=name, legend="legend2")
        named.add(name)

    named: set[str] = set()
    for name, first, end in phases.spans():
        mark(first, end, name, fillcolor=SHADES[name], opacity=OPACITY, line_width=0)
    dips = "dip" if phases.dips == 1 else f"{phases.dips} dips"
    for fell, back in phases.dip_steps:
        mark(fell, back, dips, fillcolor=VERMILLION, opacity=0.35, line={"color": VERMILLION, "width": 1})
    if phases.lost is not None:
        before = len(figure.layout.shapes)
        figure.add_vline(x=phases.lost, line={"color": BLACK, "width": 2.5}, opacity=1, row="all", col=1)
        figure.layout.shapes[before].update(showlegend=True, name="lost", legend="legend2")
        named.add("lost")
    if not named:
        return
    below, rows = figure.layout.margin.b, 1 if sum(len(name) + 5 for name in named) <= 64 else 2
    inside = figure.layout.height - figure.layout.margin.t - below
    figure.update_layout(
        legend2={"orientation": "h", "x": 0.5, "xanchor": "center", "y": -below / inside, "yanchor": "top",
                 "font": {"size": 17}, "itemclick": False, "itemdoubleclick": False},
        height=figure.layout.height + 28 * rows, margin_b=below + 28 * rows,
    )  # fmt: skip


def _over_training(
    trajectory: pd.DataFrame,
    lines: dict[str, str],
    y_title: str,
    phases: Phases | None,
    styles: Sequence[dict[str, str]] | None = None,
    legend_rows: int = 1,
) -> go.Figure:
    """One panel of columns of a trajectory over its steps; `lines` maps a label to its column.

    A column without values is named beneath the figure.
    """
    there = _with_values(trajectory, lines)
    figure = panels([y_title], height=400, legend_rows=legend_rows)
    for index, (label, column) in enumerate(lines.items()):
        if label in there:
            line(figure, trajectory["step"], trajectory[column], label, 1, styles[index] if styles else look(index))
    if phases is not None:
        _shade(figure, phases)
    _note(figure, trajectory)
    _note_missing(figure, trajectory, {label: column for label, column in lines.items() if label not in there})
    return figure


def _note_missing(figure: go.Figure, trajectory: pd.DataFrame, lines: dict[str, str]) -> None:
    """Write beneath which measures are not drawn, with their reasons; `lines` maps a label to its measure."""
    whys = {label: reasons(trajectory).get(name, "the run has no values of them") for label, name in lines.items()}
    for why in dict.fromkeys(whys.values()):
        note_missing(figure, [label for label in lines if whys[label] == why], why)


def _with_values(trajectory: pd.DataFrame, lines: dict[str, str]) -> dict[str, str]:
    """Return the labels and columns of which a trajectory has values; ConfigError if it has none of any."""
    need(trajectory, "step")
    there = {label: name for label, name in lines.items() if name in trajectory and trajectory[name].notna().any()}
    need(trajectory, *(there or lines).values())
    return there


@declared.figure(
    "run", title="Accuracies over training",
    caption="Restricted accuracy, of the key frequencies of the logits alone, is high before test accuracy is. "
    "Excluded accuracy, without them, falls from then on: nothing but the circuit is left.",
    source="Nanda et al. (2023), appendix", data=lambda of: {"trajectory": of.trajectory, "phases": of.phases},
)  # fmt: skip
def accuracies(trajectory: pd.DataFrame, phases: Phases | None = None) -> go.Figure:
    """Accuracy on train and test pairs, of the key frequencies alone, and of the logits without them.

    After the appendix of Nanda et al. (2023). `trajectory` is what `interp.trajectory` returns.
    """
    lines = {name: f"{name}_accuracy" for name in LINES}
    figure = _over_training(trajectory, lines, "Accuracy", phases, [LINES[name] for name in lines])
    figure.update_yaxes(range=[-0.03, 1.03], tickformat=".0%")
    return figure


@declared.figure(
    "run", title="Excluded loss of each key frequency",
    caption="The loss on train pairs with one key frequency removed from the logits. It rises from the step at which "
    "the network begins to rely on that frequency.",
    source="Nanda et al. (2023), appendix", data=lambda of: {"trajectory": of.trajectory, "phases": of.phases},
)  # fmt: skip
def excluded_losses(trajectory: pd.DataFrame, phases: Phases | None = None) -> go.Figure:
    """Excluded loss with one key frequency removed at a time, on train pairs (Nanda et al., 2023, appendix)."""
    need(trajectory, "step")
    columns = [name for name in map(str, trajectory.columns) if name.startswith("excluded_loss_")]
    if not columns:
        need(trajectory, "excluded_loss")
        raise ConfigError("this figure needs the columns excluded_loss_K, which the trajectory does not have.")
    if len(columns) > len(KEYS):
        named = {int(name.rsplit("_", 1)[1]): name for name in columns}
        figure = _by_frequency(trajectory, named, "Excluded loss (nats)")
        if phases is not None:
            _bounds(figure, phases)
        _note(figure, trajectory)
        return figure
    lines = {f"without k = {name.rsplit('_', 1)[1]}": name for name in columns}
    figure = _over_training(trajectory, lines, "Excluded loss (nats)", phases, legend_rows=(len(lines) + 2) // 3)
    decades(figure, 1)
    return figure


@declared.figure(
    "run", title="Gini coefficients of the Fourier norms",
    caption="0 where all frequencies are equally strong, near 1 where a few hold everything. Both rise while the "
    "circuit forms, and jump in cleanup.",
    source="Nanda et al. (2023), appendix", data=lambda of: {"trajectory": of.trajectory, "phases": of.phases},
)  # fmt: skip
def ginis(trajectory: pd.DataFrame, phases: Phases | None = None) -> go.Figure:
    """Gini coefficients of the Fourier norms of W_E and W_L: how few frequencies hold them (Nanda et al., appendix)."""
    lines = {"W<sub>E</sub>": "embedding_gini", "W<sub>L</sub>": "unembedding_gini"}
    figure = _over_training(trajectory, lines, "Gini coefficient", phases)
    figure.update_yaxes(range=[0, 1])
    return figure


@declared.figure(
    "run", title="When each part of the circuit takes its final form",
    caption="Each curve is a share that is near 1 in the finished circuit. Those that rise first are the parts that "
    "form first.",
    data=lambda of: {"trajectory": of.trajectory, "phases": of.phases},
)  # fmt: skip
def circuit_formation(trajectory: pd.DataFrame, phases: Phases | None = None) -> go.Figure:
    """Draw how similar output, neurons and attention are to their final state, over training (0 to 1)."""
    lines = {
        "W<sub>L</sub> in key directions": "neuron_logit_key_share",
        "logits explained": "logit_variance_explained",
        "neurons along u, v": "neuron_projection_share",
        "single-frequency neurons": "single_frequency_neurons",
        "attention of one frequency": "attention_share",
        "W<sub>L</sub> like its end": "neuron_logit_alignment",
        "W<sub>E</sub> like its end": "embedding_alignment",
    }
    rows = (len(_with_values(trajectory, lines)) + 1) // 2
    figure = _over_training(trajectory, lines, "Share", phases, legend_rows=rows)
    return figure.update_yaxes(range=[0, 1.03], tickformat=".0%")


def _by_frequency(trajectory: pd.DataFrame, columns: dict[int, str], title: str) -> go.Figure:
    """A row for each of many frequencies, over the steps: colours tell sizes where lines would hide each other."""
    import plotly.graph_objects as go

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


def _bounds(figure: go.Figure, phases: Phases) -> None:
    """Mark the ends of phases on a map, which shades would discolour."""
    for _, end in phases.ends():
        figure.add_vline(x=end, line={"color": "white", "width": 2, "dash": "dot"})


@declared.figure(
    "run", title="Further measures over training",
    caption="What the key cosines alone decide, how far the softmax has collapsed, whether updates only scale the "
    "weights, how much of the logits is a function of a + b, the ranks of the weights, and whether phases lie on a "
    "disc (1) or a torus (0).",
    source="see interp.list_measures()", data=lambda of: {"trajectory": of.further, "phases": of.phases},
)  # fmt: skip
def further_measures(trajectory: pd.DataFrame, phases: Phases | None = None) -> go.Figure:
    """Draw explained accuracy, softmax collapse, naive loss minimization, translation share, ranks and phase alignment.

    `trajectory` is `interp.trajectory(run, measures=[…])` with "test_accuracy", "explained_accuracy",
    "softmax_collapse", "naive_loss_minimization", "translation_share", "effective_rank" and "phase_alignment"; a column
    `graduated`, the share of test pairs that are right from then on, is drawn if it is there. Sources: see
    `interp.list_measures`.
    """
    lines = {
        "explained accuracy": "explained_accuracy",
        "softmax collapse": "softmax_collapse",
        "naive loss minimization": "naive_loss_minimization",
        "translation share": "translation_share",
    }
    shares = _with_values(trajectory, lines)
    columns = [str(name) for name in trajectory.columns]
    ranks = {f"rank of {name.removeprefix('effective_rank_')}": name for name in columns if "effective_rank_" in name}
    of_key = sorted(int(name.rsplit("_", 1)[1]) for name in columns if re.fullmatch(r"phase_alignment_\d+", name))
    discs = {f"k = {k}": f"phase_alignment_{k}" for k in of_key}
    beside = {"test accuracy": "test_accuracy", "graduated": "graduated"}
    beside = {label: name for label, name in beside.items() if name in trajectory}
    groups = {"Share, or cosine": shares | beside, "Effective rank": ranks, "Phase alignment": discs}
    lacking = {label: name for label, name in lines.items() if label not in shares}
    lacking |= {title.lower(): title.lower().replace(" ", "_") for title, group in groups.items() if not group}
    groups = {title: group for title, group in groups.items() if group}
    figure = panels(list(groups), legend_rows=-(-sum(map(len, groups.values())) // 2))
    for row, group in enumerate(groups.values(), 1):
        for index, (label, column) in enumerate(group.items()):
            style = look(index, dash=index + row - 1)
            known = trajectory.dropna(subset=column)
            line(figure, known["step"], known[column], label, row, style)
    figure.update_yaxes(rangemode="tozero")
    figure.update_yaxes(range=[-0.03, 1.03], row=1, col=1)
    if phases is not None:
        _shade(figure, phases)
    _note(figure, trajectory)
    _note_missing(figure, trajectory, lacking)
    return figure


@declared.figure(
    "frame", title="An ensemble beside its members",
    caption="Accuracy and loss on test pairs of the runs averaged, of the best one of them, and in the mean of them.",
)  # fmt: skip
def ensemble(frame: pd.DataFrame) -> go.Figure:
    """Accuracy and loss on test pairs over training: of an ensemble, of its best member, and the mean of its members.

    `frame` is what `interp.ensemble` returns.
    """
    lines = {"ensemble": "", "mean of members": "mean_", "best member": "best_"}
    kinds = {"test_accuracy": "Test accuracy", "test_loss": "Test loss (nats)"}
    need(frame, "step", *(before + kind for before in lines.values() for kind in kinds), of="frame")
    figure = panels(list(kinds.values()))
    for row, kind in enumerate(kinds, 1):
        for index, (label, before) in enumerate(lines.items()):
            style = {"color": (VERMILLION, BLUE, GREEN)[index], "dash": ("solid", "dash", "dot")[index]}
            line(figure, frame["step"], frame[before + kind], label, row, style, legend=row == 1)
    figure.update_yaxes(range=[-0.03, 1.03], tickformat=".0%", row=1, col=1)
    decades(figure, 2)
    return figure


@declared.figure(
    "run", title="Coefficients of the cosines in the logits",
    caption="All frequencies start alike. A few, the key frequencies, grow and win; the others fall by orders of "
    "magnitude.",
    data=lambda of: {"trajectory": of.trajectory},
)  # fmt: skip
def cos_coefficients(trajectory: pd.DataFrame, key_frequencies: Sequence[int] | None = None) -> go.Figure:
    """|c_k| of every cos w_k(a+b−c) over training, the key frequencies in colour and the rest in grey.

    `key_frequencies` defaults to those that `interp.trajectory` leaves in `trajectory.attrs`.
    """
    need(trajectory, "step")
    keys = key_frequencies if key_frequencies is not None else trajectory.attrs.get("key_frequencies") or ()
    names = [name for name in map(str, trajectory.columns) if re.fullmatch(r"cos_coefficient_\d+", name)]
    if names:
        need(trajectory, *names)
        keys = frequencies_of(2 * max(int(name.rsplit("_", 1)[1]) for name in names), keys)
        need(trajectory, *(f"cos_coefficient_{k}" for k in keys))
    else:
        raise ConfigError("this figure needs the columns cos_coefficient_1, …, which the trajectory does not have.")
    if len(keys) > len(KEYS):
        named = {k: f"cos_coefficient_{k}" for k in keys}
        figure = _by_frequency(trajectory, named, "|c<sub>k</sub>|")
        _note(figure, trajectory)
        return figure
    figure = panels(["|coefficient of cos w<sub>k</sub>(a+b−c)|"], height=420)
    rest = [name for name in names if int(name.rsplit("_", 1)[1]) not in keys]
    for index, name in enumerate(rest):
        label = "other k" if keys else "every k"
        line(figure, trajectory["step"], trajectory[name].abs(), label, 1, {"color": "#bbb"}, legend=index == 0)
    figure.update_traces(line_width=1, hoverinfo="skip")
    for index, k in enumerate(keys):
        style = look(index)
        line(figure, trajectory["step"], trajectory[f"cos_coefficient_{k}"].abs(), f"k = {k}", 1, style)
    # The losers end in rounding noise, eight decades under the winners: cut there.
    decades(figure, 1, lowest=float(trajectory[names].abs().to_numpy().max()) * 10**-6.5)
    _note(figure, trajectory)
    return figure


_NORMS = {"embedding_norms": "W<sub>E</sub>", "unembedding_norms": "W<sub>L</sub>"}


def _spectra(of: Shown) -> dict[str, Any]:
    """Return the norms of each frequency at each checkpoint, of W_E and W_L or of the one that there is."""
    there = [name for name in _NORMS if of.measures[name] is not None]
    if not there:
        of.measured(next(iter(_NORMS)))  # says why
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
    import plotly.graph_objects as go

    spectra = frames(spectra, "spectra")
    if not spectra or not set(spectra) <= set(_NORMS):
        raise ConfigError(f"spectra must be of {' and '.join(_NORMS)}; got {given(list(spectra))}.")
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
    if phases is not None:
        _bounds(figure, phases)
    figure.update_yaxes(showgrid=False, tick0=0, dtick=between_ticks(norms.shape[1]))
    return figure.update_layout(hovermode="closest", margin_t=20)


def _neuron_counts(of: Shown) -> dict[str, Any]:
    neurons_of_frequency(of.subject)  # says why there are none to count
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
    import plotly.graph_objects as go

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
    if phases is not None:
        _shade(figure, phases)
    return figure


@declared.figure(
    "frame", title="Clock or pizza",
    caption="Pizzas have gradients that are symmetric in a and b and correct logits that depend on a − b; clocks have "
    "neither.",
    source="Zhong et al. (2023)",
)  # fmt: skip
def mechanism(models: pd.DataFrame) -> go.Figure:
    """Gradient symmetricity, and distance irrelevance, against the attention coefficient, a point a model.

    Pizzas lie high in the first panel and low in the second, clocks the other way round (Zhong et al., 2023).
    `models` is what `interp.compare(models, mechanism=True)` returns; rows without attention or without a measure are
    left out, and distance irrelevance too where no row has it.
    """
    import plotly.graph_objects as go

    if not isinstance(models, pd.DataFrame):
        raise ConfigError(f"models must be the data frame of compare(models, mechanism=True); got {given(models)}.")
    lacking = [name for name in ("attention_coefficient", "gradient_symmetricity") if name not in models]
    drawn = models if lacking else models.dropna(subset=["attention_coefficient", "gradient_symmetricity"])
    if lacking or drawn.empty:
        raise ConfigError(
            f"this figure needs {' and '.join(lacking) or 'models with attention'}; give it what "
            "compare(models, mechanism=True) returns."
        )
    titles = {"gradient_symmetricity": "Gradient symmetricity", "distance_irrelevance": "Distance irrelevance"}
    shown = [name for name in titles if name in drawn and drawn[name].notna().any()]
    need(drawn, "attention_coefficient", *shown, of="frame")
    figure = panels([titles[name] for name in shown], x_title="Attention coefficient (0: constant, 1: softmax)")
    for row, name in enumerate(shown, 1):
        figure.add_trace(
            go.Scatter(
                x=drawn["attention_coefficient"], y=drawn[name], text=drawn.get("model"), mode="markers",
                marker={"size": 11, "color": (BLUE, VERMILLION)[row - 1], "symbol": ("circle", "diamond")[row - 1]},
                showlegend=False, hovertemplate="%{text}<br>%{y:.3f}<extra></extra>",
            ),
            row=row, col=1,
        )  # fmt: skip
        low = min(0.0, float(drawn[name].min()))
        figure.update_yaxes(range=[low - 0.05, 1.05], tickformat=".1f", row=row, col=1)
    figure.update_xaxes(range=[-0.04, 1.04], tickformat=".1f")
    figure.update_layout(hovermode="closest", margin={"t": 20})
    return figure
