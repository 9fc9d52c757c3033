"""Figures of a run over its steps: curves, progress measures, phases; and of ensembles and mechanisms of models."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd
import plotly.graph_objects as go

from interp.plot import declared
from interp.plot.base import (
    BLACK,
    BLUE,
    GREEN,
    LINES,
    OPACITY,
    SHADES,
    VERMILLION,
    decades,
    line,
    look,
    need,
    note_doubts,
    note_missing,
    panels,
    reasons,
)
from interp.utils.arguments import given
from interp.utils.errors import ConfigError

if TYPE_CHECKING:
    from interp.plot.shown import Shown
    from interp.study.phase_table import Phases


def _curves(of: Shown) -> dict[str, Any]:
    """Return the recorded history, or the trajectory of a run without one, such as a run of states."""
    measured = of.history.empty
    return {"history": of.trajectory if measured else of.history, "phases": of.phases, "measured": measured}


@declared.figure(
    "run", title="Accuracy and loss over training",
    caption="Train accuracy reaches 1 early. Test accuracy follows long after: in between the network has memorized "
    "its train pairs and fails on all others.",
    source="Nanda et al. (2023), figure 2", data=_curves,
)  # fmt: skip
def training_curves(history: pd.DataFrame, phases: Phases | None = None, measured: bool = False) -> go.Figure:
    """Draw accuracy and loss on train and test pairs over training (Nanda et al., 2023, figure 2).

    `history` is that of a run, over all outputs that the network was trained on, "=" included; or, if `measured`, a
    trajectory, over the p numbers alone; or a log (`interp.read_log`), which may lack some columns. Known `phases` are
    shaded and named, and a later loss of test accuracy and its dips are marked.
    """
    need(history, "step")
    names = [f"{name}_{kind}" for kind in ("accuracy", "loss") for name in ("train", "test")]
    there = [name for name in names if name in history and history[name].notna().any()]
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
    shade(figure, phases)
    return figure


@declared.figure(
    "run", title="Progress measures over training",
    caption="Restricted loss (the key frequencies of the logits alone) falls and excluded loss (without them) rises "
    "long before test loss falls: the circuit that generalizes grows under what was memorized. Then the weights "
    "shrink.",
    source="Nanda et al. (2023), figure 7", data=lambda of: {"trajectory": of.trajectory, "phases": of.phases},
)  # fmt: skip
def progress_measures(trajectory: pd.DataFrame, phases: Phases | None = None) -> go.Figure:
    """Draw excluded and restricted loss, their ratio to test loss, and Σ squared weights, the phases shaded and named.

    After Nanda et al. (2023), figure 7. Takes the frame of `interp.trajectory`, whose losses are over the p numbers,
    without "=", which those of `training_curves` include.
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
    shade(figure, phases)
    note(figure, trajectory)
    return figure


def note(figure: go.Figure, trajectory: pd.DataFrame) -> None:
    """Write the doubts of `interp.trajectory` beneath a figure."""
    note_doubts(figure, *trajectory.attrs.get("doubts", ()), trajectory.attrs.get("key_doubt"))


def shade(figure: go.Figure, phases: Phases | None) -> None:
    """Colour each known phase through all panels, and name them under the figure, where they cover no curve.

    A line marks where test accuracy was lost, and the steps of a dip, from the fall to the return, are red.
    """
    if phases is None:
        return
    if not hasattr(phases, "spans"):
        raise ConfigError(f"phases must be the result of interp.phases; got {given(phases)}.")

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


def over_training(
    trajectory: pd.DataFrame, lines: dict[str, str], y_title: str, phases: Phases | None,
    styles: Sequence[dict[str, str]] | None = None, legend_rows: int = 1,
) -> go.Figure:  # fmt: skip
    """Draw columns of a trajectory in one panel, with those without values named beneath; `lines`: label → column."""
    there = _with_values(trajectory, lines)
    figure = panels([y_title], height=400, legend_rows=legend_rows)
    for index, (label, column) in enumerate(lines.items()):
        if label in there:
            line(figure, trajectory["step"], trajectory[column], label, 1, styles[index] if styles else look(index))
    shade(figure, phases)
    note(figure, trajectory)
    _note_missing(figure, trajectory, {label: column for label, column in lines.items() if label not in there})
    return figure


def _note_missing(figure: go.Figure, trajectory: pd.DataFrame, lines: dict[str, str]) -> None:
    """Write beneath which measures are not drawn, and why; `lines` maps labels to measures."""
    whys = {label: reasons(trajectory).get(name, "the run has no values of them") for label, name in lines.items()}
    for why in dict.fromkeys(whys.values()):
        note_missing(figure, [label for label in lines if whys[label] == why], why)


def _with_values(trajectory: pd.DataFrame, lines: dict[str, str]) -> dict[str, str]:
    """Return the labels and columns that have values in a trajectory; ConfigError if none has."""
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
    """Draw the accuracy on train and test pairs, of the key frequencies alone, and of the logits without them.

    After the appendix of Nanda et al. (2023). Takes the frame of `interp.trajectory`.
    """
    lines = {name: f"{name}_accuracy" for name in LINES}
    figure = over_training(trajectory, lines, "Accuracy", phases, [LINES[name] for name in lines])
    figure.update_yaxes(range=[-0.03, 1.03], tickformat=".0%")
    return figure


@declared.figure(
    "run", title="Gini coefficients of the Fourier norms",
    caption="0 where all frequencies are equally strong, near 1 where a few hold everything. Both rise while the "
    "circuit forms, and jump in cleanup.",
    source="Nanda et al. (2023), appendix", data=lambda of: {"trajectory": of.trajectory, "phases": of.phases},
)  # fmt: skip
def ginis(trajectory: pd.DataFrame, phases: Phases | None = None) -> go.Figure:
    """Draw the Gini coefficients of the Fourier norms of W_E and W_L (Nanda et al., 2023, appendix)."""
    lines = {"W<sub>E</sub>": "embedding_gini", "W<sub>L</sub>": "unembedding_gini"}
    figure = over_training(trajectory, lines, "Gini coefficient", phases)
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
    figure = over_training(trajectory, lines, "Share", phases, legend_rows=rows)
    return figure.update_yaxes(range=[0, 1.03], tickformat=".0%")


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
    "softmax_collapse", "naive_loss_minimization", "translation_share", "effective_rank" and "phase_alignment". It may
    have a column `graduated`, the share of test pairs that are right from then on. Sources: see `interp.list_measures`.
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
            known = trajectory.dropna(subset=column)
            line(figure, known["step"], known[column], label, row, look(index, dash=index + row - 1))
    figure.update_yaxes(rangemode="tozero")
    figure.update_yaxes(range=[-0.03, 1.03], row=1, col=1)
    shade(figure, phases)
    note(figure, trajectory)
    _note_missing(figure, trajectory, lacking)
    return figure


@declared.figure(
    "frame", title="An ensemble beside its members",
    caption="Accuracy and loss on test pairs of the runs averaged, of the best one of them, and in the mean of them.",
)  # fmt: skip
def ensemble(frame: pd.DataFrame) -> go.Figure:
    """Draw test accuracy and loss over training of an ensemble, its best member and the mean of its members.

    Takes the frame of `interp.ensemble`.
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
    "frame", title="Clock or pizza",
    caption="Pizzas have gradients that are symmetric in a and b and correct logits that depend on a − b; clocks have "
    "neither.",
    source="Zhong et al. (2023)",
)  # fmt: skip
def mechanism(models: pd.DataFrame) -> go.Figure:
    """Draw gradient symmetricity and distance irrelevance against the attention coefficient, a point a model.

    Pizzas lie high in the first panel and low in the second, clocks the other way round (Zhong et al., 2023). Takes the
    frame of `interp.compare(models, mechanism=True)`; rows without attention or without a measure are left out, and
    distance irrelevance too if no row has it.
    """
    if not isinstance(models, pd.DataFrame):
        raise ConfigError(f"models must be the data frame of compare(models, mechanism=True); got {given(models)}.")
    lacking = [name for name in ("attention_coefficient", "gradient_symmetricity") if name not in models]
    drawn = models if lacking else models.dropna(subset=["attention_coefficient", "gradient_symmetricity"])
    if lacking or drawn.empty:
        raise ConfigError(
            f"this figure needs {' and '.join(lacking) or 'models with attention'}; give the frame of "
            "compare(models, mechanism=True)."
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
