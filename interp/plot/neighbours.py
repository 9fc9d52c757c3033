"""Figures of the solvable neighbours: ridge regression, two-layer networks, double descent, and all together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from interp.arguments import finite, given, number, real
from interp.errors import ConfigError, warn
from interp.plot import declared
from interp.plot.base import (
    BLACK,
    BLUE,
    DASHES,
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
)  # fmt: skip
from interp.survival import curve_of

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from interp.events import Phases
    from interp.linear.double_descent import Descents
    from interp.linear.ridge import GrokkingTimes

_GREY = "#777"
_GUIDE = {"color": _GREY, "width": 1.5, "dash": "dot"}
GONE = 2.0  # a delay of less than so many times the overfitting time is no grokking


@declared.figure(
    "frame",
    title="Ridge regression groks",
    caption="The train loss falls first. The test loss waits until weight decay has removed what the random start "
    "left in the null space of the features, which no gradient reaches.",
)
def ridge_stages(
    exact: pd.DataFrame, times: GrokkingTimes | None = None, simulated: pd.DataFrame | None = None
) -> go.Figure:
    """Train and test loss of ridge regression over its steps, and what the test loss is made of (both axes log).

    `exact` is `ridge.trajectory`'s, `simulated` (drawn as circles) `ridge.simulate`'s. `times` marks both events and
    the tolerance. The products between the parts, of either sign, are not drawn.
    """
    parts = {"initialization": (ORANGE, "dash"), "learned": (GREEN, "dashdot"), "never_learned": (PURPLE, "dot")}
    need(exact, "step", "train_loss", "test_loss", *(f"test_loss_{name}" for name in parts))
    if simulated is not None:
        need(simulated, "step", "train_loss", "test_loss", of="simulation")
    if times is not None and not hasattr(times, "overfitting"):
        raise ConfigError(f"times must be what ridge.grokking_times returns; got {given(times)}.")
    shown = exact[exact["step"] > 0]
    figure = panels(["Loss", "Part of test loss"], height=290, legend_rows=2)
    for name in ("train", "test"):
        line(figure, shown["step"], shown[f"{name}_loss"], name, 1, LINES[name])
    if simulated is not None:
        taken = simulated[simulated["step"] > 0]
        for name in ("train", "test"):
            label, colour = "every step taken", LINES[name]["color"]
            _dots(figure, taken["step"], taken[f"{name}_loss"], label, 1, "circle-open", colour, legend=name == "train")
    for name, (colour, dash) in parts.items():
        part = shown[f"test_loss_{name}"]
        line(figure, shown["step"], part, name.replace("_", " "), 2, {"color": colour, "dash": dash})
    for row in (1, 2):
        decades(
            figure, row, lowest=max(1e-3 * float(shown["test_loss"].min()), 1e-18 * float(shown["test_loss"].max()))
        )
    log_x(figure)
    if times is not None:
        figure.add_hline(y=times.tolerance, line=_GUIDE, row=1, col=1)
        marks = {"fits": (times.overfitting, BLUE), "generalizes": (times.generalization, VERMILLION)}
        for place, (text, (step, colour)) in enumerate(marks.items()):
            if step:
                _mark(figure, step, text, colour, y=0.98 - 0.12 * place)
    return figure


@declared.figure(
    "frame",
    title="Ridge regression beside a network",
    caption="Both fit their train set early and generalize long after. Of ridge regression every step is known "
    "exactly: the test loss waits until weight decay has removed the random start. In the network a circuit has to "
    "form as well.",
)
def ridge_beside_network(
    exact: pd.DataFrame, history: pd.DataFrame, times: GrokkingTimes | None = None, phases: Phases | None = None
) -> go.Figure:
    """Train and test loss of ridge regression, and of a network, over their steps; all axes are log.

    `exact` is `ridge.trajectory`'s and `history` a run's. `times` (`ridge.grokking_times`) and `phases` mark where each
    fits its train set and where it generalizes.
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
    """Say what the dotted lines of a panel are."""
    known = {"fits": fits, "generalizes": generalizes}
    told = ", ".join(f"{what} at {step:,}" for what, step in known.items() if step)
    return f" ({told})" if told else ""


@declared.figure(
    "frame",
    title="The grokking delay of ridge regression",
    caption="Less weight decay and a larger start make the delay longer. Where it is white there is none.",
)
def delay_map(delays: pd.DataFrame) -> go.Figure:
    """The grokking delay, as a multiple of the steps to overfit, over weight decay and the scale of the initialization.

    Takes a row a setting: weight_decay and init_scale on a grid, and relative_delay, overfitting and generalization of
    `ridge.grokking_times`. White is where grokking is gone (a delay of less than twice the steps to overfit); grey,
    where the test loss never comes under the tolerance.
    """
    import plotly.graph_objects as go
    from scipy.ndimage import distance_transform_edt

    need(delays, "weight_decay", "init_scale", of="frame")
    if lacking := [name for name in ("relative_delay", "overfitting", "generalization") if name not in delays]:
        raise ConfigError(f"this figure needs the columns {', '.join(lacking)}, which the frame does not have.")
    for name in ("weight_decay", "init_scale"):
        finite(f"the column {name}", delays[name], 1)
    settings = delays[["weight_decay", "init_scale"]]
    if settings.duplicated().any() or (settings <= 0).any(axis=None):
        raise ConfigError("this figure takes each weight_decay and init_scale above 0 once, since both axes are log.")
    # Whoever generalizes without a delay that could be told, such as before it fits, does not grok.
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
    "frame",
    title="The delay against each setting",
    caption="Both axes are logarithmic, so a power law is a straight line and its exponent the slope.",
)
def delays(
    measured: Mapping[str, pd.DataFrame],
    exponents: Mapping[tuple[str, str], float],
    titles: Mapping[str, str],
) -> go.Figure:
    """The grokking delay against each setting that was swept, and its fitted power law, a panel a setting.

    measured    a frame a system, with `swept` (the setting's name), `value`, `delay` and, where runs are, `censored`:
                the run had not generalized by its last step, so its delay is longer than this. Runs of one value are
                drawn as their median, which is Kaplan and Meier's, with the range of those that generalized; △ marks
                the others. Runs without a delay above 0 are left out: a warning counts them, and ▽ marks them
    exponents   of each (system, setting); those that are there are drawn as a line
    titles      setting → title of its axis
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
                _dots(
                    figure, waiting["value"], waiting["delay"], name, row, "triangle-up-open", colour, legend=row == 1
                )
            middle = own.groupby("value")[["delay", "censored"]].apply(
                lambda runs: curve_of(runs).median
            ).dropna()  # fmt: skip
            seen = own[~own["censored"]].groupby("value")["delay"]
            bars = {"type": "data", "symmetric": False, "array": seen.max().reindex(middle.index) - middle,
                    "arrayminus": middle - seen.min().reindex(middle.index)}  # fmt: skip
            _dots(figure, middle.index, middle, system, row, symbol, colour, legend=row == 1, error_y=bars)
            if (slope := exponents.get((system, setting))) is not None and len(middle):
                x = pd.Series([middle.index.min(), middle.index.max()], dtype=float)
                anchor = np.exp((np.log(middle) - slope * np.log(middle.index.to_numpy())).mean())
                style = look(index)
                line(figure, x, anchor * x**slope, f"{system} fit", row, style, legend=False)
        decades(figure, row)
        log_x(figure, row)
    figure.update_layout(hovermode="closest")
    return figure


def _without_delay(
    figure: go.Figure, values: pd.Series, system: str, setting: str, row: int, colour: str, others: int
) -> None:
    """Mark runs at the bottom of a panel, name the mark once, and warn that they are in no mean."""
    at = sorted(set(values))
    warn(
        f"{len(values)} of {len(values) + others} runs of {system} have no delay along {setting} (at "
        f"{', '.join(f'{value:g}' for value in at)}): they are marked ▽ and left out of the means."
    )
    _dots(figure, at, [None] * len(at), f"{system}: no delay", row, "triangle-down-open", colour, legend=False)
    axes = {"xref": f"x{row if row > 1 else ''}", "yref": f"y{row if row > 1 else ''} domain"}
    for value in at:
        figure.add_annotation(
            x=np.log10(value), y=0, text="▽", showarrow=False, yanchor="bottom",
            font={"size": 16, "color": colour}, **axes,
        )  # fmt: skip
    if not any("no delay" in (note.text or "") and note.yref == axes["yref"] for note in figure.layout.annotations):
        figure.add_annotation(
            x=1, xref=f"x{row if row > 1 else ''} domain", y=1, yref=axes["yref"], text="▽ run without a delay",
            showarrow=False, xanchor="right", yanchor="top", font={"size": 16, "color": _GREY},
        )  # fmt: skip


@declared.figure(
    "frame",
    title="Double descent",
    caption="The test error falls, peaks where there are as many parameters as samples, and falls again.",
)
def errors(
    curves: Mapping[str, pd.DataFrame],
    x: str,
    x_title: str,
    y: str = "test_error",
    y_title: str = "Test error",
    theory: Mapping[str, pd.DataFrame] | None = None,
    threshold: float | None = None,
    largest: float | None = None,
) -> go.Figure:
    """Error over anything, a curve a frame, with bars of one standard error; both axes log.

    curves      label → frame with the columns x, y and, for the bars, standard_error (or low and high)
    theory      the same labels → frame with x and y to draw as lines; `curves` are then dots alone
    threshold   an x to mark as the interpolation threshold
    largest     cut the axis there
    """
    curves = frames(curves)
    theory = None if theory is None else frames(theory, "theory")
    if not curves or (theory is not None and set(theory) != set(curves)):
        raise ConfigError("this figure needs at least one curve, and a theory for each of them or for none.")
    for label, frame in curves.items():
        need(frame, x, y, of="frame")
        _once(frame, x, label)
        if theory is not None:
            need(theory[label], x, y, of="theory")
    figure = panels([y_title], height=400, x_title=x_title, legend_rows=1 + len(curves) // 2)
    for index, (label, frame) in enumerate(curves.items()):
        _with_bars(
            figure, frame.sort_values(x), x, y, label, 1, index, line_of=None if theory is None else theory[label]
        )
    decades(figure, 1)
    _cut(figure, largest)
    log_x(figure)
    if threshold is not None:
        _mark(figure, threshold, "interpolation", _GREY, y=0.02)
    return figure


@declared.figure(
    "frame",
    title="What the test error is made of",
    caption="The peak is variance and fitted label noise; the bias falls all along.",
)
def error_parts(
    fits: pd.DataFrame, x: str = "width", x_title: str = "Features m", largest: float | None = None
) -> go.Figure:
    """Bias, variance and fitted label noise of `double_descent.random_features`, with the error that they add up to."""
    parts = {"test_error": "test error", "bias": "bias", "variance": "variance", "noise_error": "label noise"}
    need(fits, x, *parts, of="frame")
    _once(fits, x, "the frame")
    figure = panels(["Mean square"], height=400, x_title=x_title)
    for index, (column, label) in enumerate(parts.items()):
        style = {"color": (VERMILLION, BLUE, GREEN, ORANGE)[index], "dash": DASHES[index]}
        line(figure, fits[x], fits[column].where(fits[column] > 0), label, 1, style)
    decades(figure, 1)
    _cut(figure, largest)
    log_x(figure)
    return figure


@declared.figure(
    "frame",
    title="What removes the peak",
    caption="Each curve takes one cause of the peak away.",
)
def removals(fits: pd.DataFrame, threshold: float | None = None, y_title: str = "Test error") -> go.Figure:
    """Test error over samples with each cause of the peak taken away, by `double_descent.removals`; bars: quartiles."""
    need(fits, "samples", "test_error", of="frame", text=["condition"])
    curves = {str(name): own for name, own in fits.groupby("condition", sort=False)}
    untitled: Any = {"title": ""}  # this figure is given its own title
    figure = errors(curves, "samples", "Samples n", y_title=y_title, **untitled)
    if threshold is not None:
        _mark(figure, threshold, "interpolation", _GREY)
    return figure


@declared.figure(
    "frame",
    title="Double descent over training",
    caption="Groups of features that learn at different speeds make the error rise and fall again; a step size of its "
    "own for each group removes it.",
)
def epoch_wise(path: pd.DataFrame) -> go.Figure:
    """Test error over steps with one step size and with one for each group, from `double_descent.epoch_wise`.

    Stars are where early stopping would stop. Bars of one standard error are drawn at every tenth step.
    """
    import plotly.graph_objects as go

    names = [f"{name}{suffix}" for suffix in ("", "_per_group") for name in ("test_error", "standard_error")]
    need(path, "step", *names, of="frame")
    shown = path[path["step"] > 0]
    if shown.empty:
        raise ConfigError("this figure begins at step 1, and the frame ends before it.")
    figure = panels(["Test error"], height=400, legend_rows=2)
    for label, suffix, colour, dash in (
        ("one step size", "", VERMILLION, "solid"),
        ("one for each group", "_per_group", BLUE, "dash"),
    ):
        values, bars = shown[f"test_error{suffix}"], shown[f"standard_error{suffix}"]
        line(figure, shown["step"], values, label, 1, {"color": colour, "dash": dash})
        few = shown.iloc[::10]
        _dots(figure, few["step"], values.iloc[::10], label, 1, "line-ew", colour, legend=False,
              error_y={"type": "data", "array": bars.iloc[::10]})  # fmt: skip
        best = values.argmin()
        figure.add_trace(
            go.Scatter(x=[shown["step"].iloc[best]], y=[values.iloc[best]], mode="markers", showlegend=suffix == "",
                       name="early stopping", marker={"symbol": "star", "size": 16, "color": colour}),
            row=1, col=1,
        )  # fmt: skip
    decades(figure, 1)
    log_x(figure)
    return figure


@declared.figure(
    "frame",
    title="Double descent of networks on images",
    caption="Solid: test error; thin: train error. The test error peaks where the train error reaches 0.",
)
def digits(axes: Mapping[str, Mapping[str, pd.DataFrame]], titles: Mapping[str, str]) -> go.Figure:
    """Test error (solid) and train error (thin) of networks on the digits, a panel an axis, bars of one standard error.

    axes     "width", "samples" or "epoch" → label → what `digits.over_seeds` returns along it
    titles   each axis' title
    """
    axes = {by: frames(curves, f"the curves along {by}") for by, curves in frames(axes, "axes").items()}
    titles = frames(titles, "titles")
    if not axes:
        raise ConfigError("this figure needs at least one axis: width, samples or epoch.")
    figure = panels(["Error"] * len(axes), height=260, x_title=[titles.get(by, by) for by in axes], legend_rows=2)
    labels: list[str] = []
    for row, (by, curves) in enumerate(axes.items(), 1):
        for label, frame in curves.items():
            need(frame, by, "train_error", "test_error", of="frame")
            new = label not in labels
            labels += [label] if new else []
            shown = frame[frame[by] > 0]
            index = labels.index(label)
            _with_bars(figure, shown, by, "test_error", label, row, index, legend=new)
            style = {"color": KEYS[index % len(KEYS)], "dash": "dot"}
            line(figure, shown[by], shown["train_error"], f"{label}: train", row, style, legend=new)
            figure.data[-1].line.width = 1.5
        figure.update_yaxes(tickformat=".0%", rangemode="tozero", row=row, col=1)
        log_x(figure, row)
    return figure


@declared.figure(
    "frame",
    title="Steps to generalize against steps to overfit",
    caption="On the diagonal both come at once. A point far above it groks.",
)
def steps_to_fit_and_generalize(times: pd.DataFrame) -> go.Figure:
    """Steps to generalize against steps to overfit, a point a run, for systems of every kind; both axes log.

    Takes the columns system, overfitting and generalization. On the diagonal both come at once; the lines above it are
    10, 100 and more times later.
    """
    import plotly.graph_objects as go

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
            showarrow=False, xanchor="right", yanchor="bottom", font={"size": 16, "color": _GREY},
        )  # fmt: skip
    for index, system in enumerate(systems):
        own = shown[shown["system"] == system]
        symbol = ("circle", "diamond", "star", "square", "cross")[index % 5]
        _dots(figure, own["overfitting"], own["generalization"], system, 1, symbol, KEYS[index % len(KEYS)])
    decades(figure, 1)
    log_x(figure)
    figure.update_xaxes(range=[np.log10(low), np.log10(high)])
    figure.update_layout(hovermode="closest")
    return figure


@declared.figure(
    "frame",
    title="The descents of a curve",
    caption="The first minimum, the peak and the second descent, as found in the curve.",
)
def descents(
    curve: pd.DataFrame, found: Descents, x: str = "step", test: str = "test_loss", train: str | None = "train_loss",
    x_title: str | None = None, y_title: str | None = None, log: bool = False,
) -> go.Figure:  # fmt: skip
    """Draw any curve, and mark the descents that `double_descent.descents` found in it."""
    import plotly.graph_objects as go

    if not hasattr(found, "second_descent"):
        raise ConfigError(f"found must be what double_descent.descents returns; got {given(found)}.")
    need(curve, x, test, *([train] if train else []), of="frame")
    named = {"step": "Training step", "test_loss": "Loss (nats)"}
    y_title, x_title = y_title or named.get(test, "Error"), x_title or named.get(x, x)
    figure = panels([y_title], height=400, x_title=x_title)
    for name, column in (("train", train), ("test", test)):
        if column is not None:
            recorded = curve.dropna(subset=column)
            recorded = recorded[recorded[x] > 0] if log else recorded
            line(figure, recorded[x], recorded[column], name, 1, LINES[name])
    for name, symbol in (("first_minimum", "triangle-down"), ("peak", "triangle-up"), ("second_descent", "star")):
        at, value = getattr(found, name), getattr(found, f"{name}_error")
        if at is not None and np.isfinite(value):
            figure.add_trace(
                go.Scatter(x=[at], y=[value], mode="markers", name=name.replace("_", " "),
                           marker={"symbol": symbol, "size": 15, "color": BLACK}),
                row=1, col=1,
            )  # fmt: skip
    decades(figure, 1)
    if log:
        log_x(figure)
    figure.update_layout(margin={"t": 35 + 27 * 2}, height=400 + 65 + 89)
    return figure


def slider(figures: Mapping[str, go.Figure], name: str) -> go.Figure:
    """One figure with a slider through several of the same make, such as one for each weight decay; plain HTML too.

    figures   the slider's label → figure; their axes take the range that holds all of them
    name      what the slider moves
    """
    import plotly.graph_objects as go

    figures = frames(figures, "figures")
    if not figures or not all(isinstance(figure, go.Figure) for figure in figures.values()):
        raise ConfigError("a slider needs at least one figure, and each must be a plotly Figure.")
    first = next(iter(figures.values()))
    shared = go.Figure(first.data[:0], first.layout)
    steps = []
    total = sum(len(figure.data) for figure in figures.values())
    for place, (label, figure) in enumerate(figures.items()):
        begin = len(shared.data)
        for trace in figure.data:
            shared.add_trace(trace)
            shared.data[-1].visible = place == 0
        shown = [begin <= index < begin + len(figure.data) for index in range(total)]
        marks = {"shapes": figure.layout.shapes, "annotations": figure.layout.annotations}
        steps.append({"label": label, "method": "update", "args": [{"visible": shown}, marks]})
    for axis in (key for key in first.layout if str(key).startswith(("xaxis", "yaxis"))):
        ends = [figure.layout[axis].range for figure in figures.values() if figure.layout[axis].range]
        if ends:
            shared.layout[axis].range = [min(low for low, _ in ends), max(high for _, high in ends)]
    shared.update_layout(
        sliders=[{"steps": steps, "currentvalue": {"prefix": f"{name}: "}, "pad": {"t": 75}}],
        height=shared.layout.height + 110,
        margin_b=shared.layout.margin.b + 110,
    )
    return shared


def _dots(
    figure: go.Figure, x: Any, y: Any, name: str, row: int, symbol: str, colour: str, legend: bool = True, **more: Any
) -> None:
    import plotly.graph_objects as go

    marker = {"symbol": symbol, "size": 9, "color": colour, "line": {"width": 1.5, "color": colour}}
    figure.add_trace(
        go.Scatter(x=x, y=y, name=name, legendgroup=name, showlegend=legend, mode="markers", marker=marker, **more),
        row=row, col=1,
    )  # fmt: skip


def _with_bars(
    figure: go.Figure, frame: pd.DataFrame, x: str, y: str, label: str, row: int, index: int, legend: bool = True,
    line_of: pd.DataFrame | None = None,
) -> None:  # fmt: skip
    """A curve through its points, or through those of `line_of`, with bars where the frame has them."""
    colour, dash = KEYS[index % len(KEYS)], DASHES[index % len(DASHES)]
    through = frame if line_of is None else line_of
    line(figure, through[x], through[y], label, row, {"color": colour, "dash": dash}, legend)
    symbol = ("circle", "diamond", "square", "cross")[index % 4]
    if len(frame) > 30:  # then bars alone, and not on every point
        frame, symbol = frame.iloc[::4], "line-ew"
    if (bars := _bars(frame, y)) or symbol != "line-ew":
        _dots(figure, frame[x], frame[y], label, row, symbol, colour, legend=False, **bars)


def _bars(frame: pd.DataFrame, y: str) -> dict[str, Any]:
    """Error bars from standard_error, or from low and high, or none."""
    if "standard_error" in frame:
        return {"error_y": {"type": "data", "array": frame["standard_error"], "thickness": 1.5}}
    if {"low", "high"} <= set(frame):
        above, below = frame["high"] - frame[y], frame[y] - frame["low"]
        return {"error_y": {"type": "data", "symmetric": False, "array": above, "arrayminus": below, "thickness": 1.5}}
    return {}


def _once(frame: pd.DataFrame, x: str, label: str) -> None:
    if frame[x].duplicated().any():
        raise ConfigError(f"{label} holds a {x} more than once; select or average until each stands once.")


def _mark(figure: go.Figure, x: float, text: str, colour: str, y: float = 0.98) -> None:
    """Draw a dotted line through all panels, its name at height y of the first (from 0 to 1)."""
    x = number("threshold", x, above=0)
    figure.add_vline(x=x, line={"color": colour, "width": 1.5, "dash": "dot"}, row="all", col=1)
    figure.add_annotation(
        x=np.log10(x), xref="x", y=y, yref="y domain", text=f" {text} ", showarrow=False, xanchor="left",
        yanchor="top" if y > 0.5 else "bottom", font={"size": 17, "color": colour},
    )  # fmt: skip


def _cut(figure: go.Figure, largest: float | None) -> None:
    axis = next(iter(figure.select_yaxes()))
    if largest is not None and number("largest", largest, above=0) > 10 ** (axis.range or (np.inf,))[0]:
        axis.range = [axis.range[0], min(axis.range[1], float(np.log10(largest)))]


def _edges(centres: np.ndarray) -> np.ndarray:
    """Borders half way between neighbours on a log axis, so that each cell is drawn around its value."""
    logs = np.log(centres)
    if len(logs) < 2:
        return np.exp([logs[0] - 0.5, logs[0] + 0.5])
    middle = (logs[1:] + logs[:-1]) / 2
    return np.exp(np.r_[2 * logs[0] - middle[0], middle, 2 * logs[-1] - middle[-1]])
