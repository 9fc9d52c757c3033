"""Figures of grokking in ridge regression, alone and beside networks: its stages and its delay."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from interp.plot import declared
from interp.plot.base import (
    BLUE,
    GREEN,
    KEYS,
    LINES,
    ORANGE,
    PURPLE,
    STEP,
    VERMILLION,
    decades,
    frames,
    line,
    log_x,
    look,
    need,
    panels,
)
from interp.plot.marks import GREY, GUIDE, dots, mark
from interp.sweeps.survival import curve_of
from interp.utils.arguments import finite, given, real
from interp.utils.errors import ConfigError, warn

if TYPE_CHECKING:
    from interp.linear.ridge import GrokkingTimes
    from interp.study.phase_table import Phases

GONE = 2.0  # a delay of fewer times the overfitting time is not grokking


@declared.figure(
    "frame", title="Ridge regression groks",
    caption="The train loss falls first. The test loss waits until weight decay has removed what the random start left "
    "in the null space of the features, which no gradient reaches.",
)  # fmt: skip
def ridge_stages(
    exact: pd.DataFrame, times: GrokkingTimes | None = None, simulated: pd.DataFrame | None = None
) -> go.Figure:
    """Draw train and test loss of ridge regression over its steps, and the parts of the test loss; all axes log.

    Takes the frames of `ridge.trajectory` and `ridge.simulate` (drawn as circles), and `ridge.grokking_times`, whose
    events and tolerance are marked. Products between the parts, which may be negative, are not drawn.
    """
    parts = {"initialization": (ORANGE, "dash"), "learned": (GREEN, "dashdot"), "never_learned": (PURPLE, "dot")}
    need(exact, "step", "train_loss", "test_loss", *(f"test_loss_{name}" for name in parts))
    if simulated is not None:
        need(simulated, "step", "train_loss", "test_loss", of="simulation")
    if times is not None and not hasattr(times, "overfitting"):
        raise ConfigError(f"times must be the result of ridge.grokking_times; got {given(times)}.")
    shown = exact[exact["step"] > 0]
    figure = panels(["Loss", "Part of test loss"], height=290, legend_rows=2)
    for name in ("train", "test"):
        line(figure, shown["step"], shown[f"{name}_loss"], name, 1, LINES[name])
    if simulated is not None:
        taken = simulated[simulated["step"] > 0]
        for name in ("train", "test"):
            label, colour = "every step taken", LINES[name]["color"]
            dots(figure, taken["step"], taken[f"{name}_loss"], label, 1, "circle-open", colour, legend=name == "train")
    for name, (colour, dash) in parts.items():
        part = shown[f"test_loss_{name}"]
        line(figure, shown["step"], part, name.replace("_", " "), 2, {"color": colour, "dash": dash})
    lowest = max(1e-3 * float(shown["test_loss"].min()), 1e-18 * float(shown["test_loss"].max()))
    for row in (1, 2):
        decades(figure, row, lowest)
    log_x(figure)
    if times is not None:
        figure.add_hline(y=times.tolerance, line=GUIDE, row=1, col=1)
        marks = {"fits": (times.overfitting, BLUE), "generalizes": (times.generalization, VERMILLION)}
        for place, (text, (step, colour)) in enumerate(marks.items()):
            if step:
                mark(figure, step, text, colour, y=0.98 - 0.12 * place)
    return figure


@declared.figure(
    "frame", title="Ridge regression beside a network",
    caption="Both fit their train set early and generalize long after. Of ridge regression every step is known "
    "exactly: the test loss waits until weight decay has removed the random start. In the network a circuit has to "
    "form as well.",
)  # fmt: skip
def ridge_beside_network(
    exact: pd.DataFrame, history: pd.DataFrame, times: GrokkingTimes | None = None, phases: Phases | None = None
) -> go.Figure:
    """Draw train and test loss of ridge regression, and of a network, over their steps; all axes log.

    Takes the frame of `ridge.trajectory` and the history of a run. `times` (`ridge.grokking_times`) and `phases` mark
    when each fits its train set and when it generalizes.
    """
    for frame, of in ((exact, "trajectory"), (history, "history")):
        need(frame, "step", "train_loss", "test_loss", of=of)
    marks = [
        () if times is None else (times.overfitting, times.generalization),
        () if phases is None else (phases.memorized, phases.generalized),
    ]
    figure = panels(
        ["Loss of the ridge<br>regression", "Loss of the<br>network (nats)"],
        x_title=[f"{name}{_fits(*steps)}" for name, steps in zip(("Step", STEP), marks, strict=True)],
    )
    for row, (frame, steps) in enumerate(zip((exact, history), marks, strict=True), 1):
        shown = frame[frame["step"] > 0]
        for name in ("train", "test"):
            known = shown.dropna(subset=f"{name}_loss")
            line(figure, known["step"], known[f"{name}_loss"], name, row, LINES[name], legend=row == 1)
        decades(figure, row)
        log_x(figure, row)
        for step, colour in zip(steps, (BLUE, VERMILLION), strict=False):
            if step:
                figure.add_vline(x=step, line={"color": colour, "width": 1.5, "dash": "dot"}, row=row, col=1)
    return figure


def _fits(fits: int | None = None, generalizes: int | None = None) -> str:
    """Return the meaning of the dotted lines of a panel, for its title."""
    known = {"fits": fits, "generalizes": generalizes}
    told = ", ".join(f"{what} at {step:,}" for what, step in known.items() if step)
    return f" ({told})" if told else ""


@declared.figure(
    "frame", title="The grokking delay of ridge regression",
    caption="Less weight decay and a larger start make the delay longer. Where it is white there is none.",
)  # fmt: skip
def delay_map(delays: pd.DataFrame) -> go.Figure:
    """Draw the grokking delay ÷ the steps to overfit, over weight decay and the scale of the initialization.

    Takes a row a setting: weight_decay and init_scale on a grid, and relative_delay, overfitting and generalization of
    `ridge.grokking_times`. White cells do not grok (a delay of less than twice the steps to overfit); in grey cells the
    test loss never comes under the tolerance.
    """
    from scipy.ndimage import distance_transform_edt

    need(delays, "weight_decay", "init_scale", of="frame")
    if lacking := [name for name in ("relative_delay", "overfitting", "generalization") if name not in delays]:
        raise ConfigError(f"this figure needs the columns {', '.join(lacking)}, which the frame does not have.")
    for name in ("weight_decay", "init_scale"):
        finite(f"the column {name}", delays[name], 1)
    settings = delays[["weight_decay", "init_scale"]]
    if settings.duplicated().any() or (settings <= 0).any(axis=None):
        raise ConfigError("this figure takes each weight_decay and init_scale above 0 once, since both axes are log.")
    # A setting that generalizes without a known delay, such as before it fits, does not grok.
    relative = pd.Series(real("the column relative_delay", delays["relative_delay"]), delays.index).fillna(0.0)
    relative = relative.where(delays["generalization"].notna())
    grid = delays.assign(shown=relative).pivot(index="init_scale", columns="weight_decay", values="shown")
    decays, scales = grid.columns.to_numpy(), grid.index.to_numpy()
    z = np.log10(np.maximum(grid.to_numpy(), 1e-9))
    shown, low = np.where(np.isnan(z), np.nan, np.maximum(z, 0)), float(np.log10(GONE))
    high = max(float(np.nanmax(shown)), low + 1) if not np.isnan(shown).all() else low + 1
    share = low / high
    figure = panels(["Scale ν of θ<sub>0</sub>"], height=400, x_title="Weight decay λ")
    figure.add_trace(
        go.Heatmap(
            x=_edges(decays), y=_edges(scales), z=shown, zmin=0, zmax=high, name="",
            colorscale=[[0, "#fff"], [share, "#fff"], [share, "#dcecf6"], [1, "#08306b"]],
            customdata=grid.to_numpy(), hovertemplate="λ %{x:.2g}, ν %{y:.2g}: %{customdata:.3g}<extra></extra>",
            colorbar={
                "title": {"text": "delay ÷ steps to overfit", "side": "right"}, "thickness": 16,
                "tickvals": list(range(int(high) + 1)), "ticktext": [f"{10**k:,}" for k in range(int(high) + 1)],
            },
        )
    )  # fmt: skip
    figure.update_layout(plot_bgcolor="#bbb", margin={"t": 45}, height=510, hovermode="closest")
    x_ends, y_ends = (np.log10(_edges(centres))[[0, -1]].tolist() for centres in (decays, scales))
    figure.update_xaxes(type="log", dtick=1, exponentformat="power", tickformat=None, showgrid=False, range=x_ends)
    figure.update_yaxes(
        type="log", dtick="D2" if y_ends[1] - y_ends[0] < 3 else 1, tickformat=",~g", showgrid=False, range=y_ends
    )
    gone = grid.to_numpy() < GONE
    for text, region in {"no grokking": gone, "never generalizes": np.isnan(grid.to_numpy())}.items():
        if region.sum() < 0.03 * region.size:
            continue
        inside = distance_transform_edt(np.pad(region, 1))[1:-1, 1:-1]
        deepest = np.argwhere(inside == inside.max())
        row, column = deepest[len(deepest) // 2]
        upright = region.any(0).sum() < 0.4 * len(decays) and region.any(1).sum() > len(scales) / 2
        figure.add_annotation(
            x=np.log10(decays[column]), y=np.log10(scales[row]), text=text, showarrow=False,
            textangle=-90 if upright else 0, font={"size": 18},
        )  # fmt: skip
    return figure


@declared.figure(
    "frame", title="The delay against each setting",
    caption="Both axes are logarithmic, so a power law is a straight line and its exponent the slope.",
)  # fmt: skip
def delays(
    measured: Mapping[str, pd.DataFrame], exponents: Mapping[tuple[str, str], float], titles: Mapping[str, str]
) -> go.Figure:
    """Draw the grokking delay against each setting that was swept, and its fitted power law, a panel a setting.

    Runs of one value are drawn as their Kaplan-Meier median, with the range of those that generalized; △ marks the
    others. Runs without a delay above 0 are left out: ▽ marks them, and a warning counts them.

    Args:
        measured: System → frame with `swept` (the setting's name), `value`, `delay` and optionally `censored`: the run
            had not generalized by its last step, so its delay is longer than this.
        exponents: (System, setting) → exponent of the line to draw.
        titles: Setting → title of its axis.
    """
    titles, measured = frames(titles, "titles"), frames(measured, "measured")
    if not titles:
        raise ConfigError("this figure needs at least one setting in titles.")
    if not isinstance(exponents, Mapping):
        raise ConfigError(f"exponents must map (system, setting) to a number; got {given(exponents)}.")
    for frame in measured.values():
        need(frame, "value", "delay", of="frame", text=["swept"])
        if not (finite("the column value", frame["value"], 1) > 0).all():
            raise ConfigError("each value of a setting must be above 0, since its axis is log.")
    for setting in titles:
        if not any(((frame["swept"] == setting) & (frame["delay"].fillna(0) > 0)).any() for frame in measured.values()):
            raise ConfigError(f"this figure has a panel for {setting}, and no run has a delay there; leave it out.")
    figure = panels(["Delay (steps)"] * len(titles), height=230, x_title=list(titles.values()))
    for row, setting in enumerate(titles, 1):
        for index, (system, frame) in enumerate(measured.items()):
            own = frame[(frame["swept"] == setting) & (frame["delay"].fillna(0) > 0)]
            without = frame[(frame["swept"] == setting) & ~(frame["delay"].fillna(0) > 0)]["value"].astype(float)
            if len(without):
                _without_delay(figure, without, system, setting, row, KEYS[index % len(KEYS)], len(own))
            if own.empty:
                continue
            own = own.assign(value=own["value"].astype(float), delay=own["delay"].astype(float), censored=(
                own["censored"].fillna(False).astype(bool) if "censored" in own else False))  # fmt: skip
            colour, symbol = KEYS[index % len(KEYS)], ("circle", "diamond", "square")[index % 3]
            waiting = own[own["censored"]]
            if len(waiting):
                name = f"{system}: not by the last step"
                dots(figure, waiting["value"], waiting["delay"], name, row, "triangle-up-open", colour, legend=row == 1)
            middle = own.groupby("value")[["delay", "censored"]].apply(lambda runs: curve_of(runs).median).dropna()
            seen = own[~own["censored"]].groupby("value")["delay"]
            bars = {"type": "data", "symmetric": False, "array": seen.max().reindex(middle.index) - middle,
                    "arrayminus": middle - seen.min().reindex(middle.index)}  # fmt: skip
            dots(figure, middle.index, middle, system, row, symbol, colour, legend=row == 1, error_y=bars)
            if (slope := exponents.get((system, setting))) is not None and len(middle):
                x = pd.Series([middle.index.min(), middle.index.max()], dtype=float)
                anchor = np.exp((np.log(middle) - slope * np.log(middle.index.to_numpy())).mean())
                line(figure, x, anchor * x**slope, f"{system} fit", row, look(index), legend=False)
        decades(figure, row)
        log_x(figure, row)
    figure.update_layout(hovermode="closest")
    return figure


def _without_delay(
    figure: go.Figure, values: pd.Series, system: str, setting: str, row: int, colour: str, others: int
) -> None:
    """Mark runs at the bottom of a panel, explain the mark once, and warn that the means leave them out."""
    at = sorted(set(values))
    warn(
        f"{len(values)} of {len(values) + others} runs of {system} have no delay along {setting} (at "
        f"{', '.join(f'{value:g}' for value in at)}): they are marked ▽ and left out of the means."
    )
    dots(figure, at, [None] * len(at), f"{system}: no delay", row, "triangle-down-open", colour, legend=False)
    axes = {"xref": f"x{row if row > 1 else ''}", "yref": f"y{row if row > 1 else ''} domain"}
    for value in at:
        figure.add_annotation(
            x=np.log10(value), y=0, text="▽", showarrow=False, yanchor="bottom",
            font={"size": 16, "color": colour}, **axes,
        )  # fmt: skip
    if not any("no delay" in (note.text or "") and note.yref == axes["yref"] for note in figure.layout.annotations):
        figure.add_annotation(
            x=1, xref=f"x{row if row > 1 else ''} domain", y=1, yref=axes["yref"], text="▽ run without a delay",
            showarrow=False, xanchor="right", yanchor="top", font={"size": 16, "color": GREY},
        )  # fmt: skip


@declared.figure(
    "frame", title="Steps to generalize against steps to overfit",
    caption="On the diagonal both come at once. A point far above it groks.",
)  # fmt: skip
def steps_to_fit_and_generalize(times: pd.DataFrame) -> go.Figure:
    """Draw steps to generalize against steps to overfit, a point a run, for systems of every kind; both axes log.

    Takes the columns system, overfitting and generalization. On the diagonal both come at once; on the lines above it
    generalization comes 10, 100 and more times later.
    """
    need(times, of="frame", text=["system", "overfitting", "generalization"])
    for name in ("overfitting", "generalization"):
        real(f"the column {name}", times[name])
    shown = times[["system", "overfitting", "generalization"]]
    shown = shown.astype({"overfitting": "Float64", "generalization": "Float64"}).dropna()
    shown = shown[(shown["overfitting"] > 0) & (shown["generalization"] > 0)]
    if shown.empty:
        raise ConfigError("this figure needs runs that both overfit and generalize, and none of these did.")
    systems = list(dict.fromkeys(shown["system"]))
    figure = panels(
        ["Steps to generalize"], height=480, x_title="Steps to overfit", legend_rows=(len(systems) + 1) // 2
    )
    low, high = shown["overfitting"].min() / 1.6, shown["overfitting"].max() * 1.6
    latest = float((shown["generalization"] / shown["overfitting"]).max())
    for power in range(int(np.log10(max(latest, 1))) + 1):
        times_later = 10.0**power
        figure.add_trace(
            go.Scatter(x=[low, high], y=[low * times_later, high * times_later], mode="lines", showlegend=False,
                       line={"color": "#bbb", "width": 1.5, "dash": "solid" if not power else "dot"}, hoverinfo="skip"),
            row=1, col=1,
        )  # fmt: skip
        figure.add_annotation(
            x=np.log10(high), y=np.log10(high * times_later), text="at once" if not power else f"{times_later:,.0f}×",
            showarrow=False, xanchor="right", yanchor="bottom", font={"size": 16, "color": GREY},
        )  # fmt: skip
    for index, system in enumerate(systems):
        own = shown[shown["system"] == system]
        symbol = ("circle", "diamond", "star", "square", "cross")[index % 5]
        dots(figure, own["overfitting"], own["generalization"], system, 1, symbol, KEYS[index % len(KEYS)])
    decades(figure, 1)
    log_x(figure)
    figure.update_xaxes(range=[np.log10(low), np.log10(high)])
    figure.update_layout(hovermode="closest")
    return figure


def _edges(centres: np.ndarray) -> np.ndarray:
    """Return the borders of cells around these values, half way between two on a log axis."""
    logs = np.log(centres)
    if len(logs) < 2:
        return np.exp([logs[0] - 0.5, logs[0] + 0.5])
    middle = (logs[1:] + logs[:-1]) / 2
    return np.exp(np.r_[2 * logs[0] - middle[0], middle, 2 * logs[-1] - middle[-1]])
