"""Figures of double descent: errors over sizes and over training, their parts, and their peaks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from interp.plot import declared
from interp.plot.base import (
    BLACK,
    BLUE,
    DASHES,
    GREEN,
    KEYS,
    LINES,
    ORANGE,
    VERMILLION,
    decades,
    frames,
    line,
    log_x,
    need,
    panels,
)
from interp.plot.marks import GREY, cut, dots, mark, once
from interp.utils.arguments import given
from interp.utils.errors import ConfigError

if TYPE_CHECKING:
    from interp.linear.peaks import Descents


@declared.figure(
    "frame", title="Double descent",
    caption="The test error falls, peaks where there are as many parameters as samples, and falls again.",
)  # fmt: skip
def errors(
    curves: Mapping[str, pd.DataFrame], x: str, x_title: str, y: str = "test_error", y_title: str = "Test error",
    theory: Mapping[str, pd.DataFrame] | None = None, threshold: float | None = None, largest: float | None = None,
) -> go.Figure:  # fmt: skip
    """Draw errors over any x, a curve a frame, with bars of one standard error; both axes log.

    Args:
        curves: Label → frame with the columns x, y and, for the bars, standard_error (or low and high).
        x, x_title: The column of x, and the title of its axis.
        y, y_title: The column of y, and the title of its axis.
        theory: Label → frame with x and y to draw as a line; `curves` are then dots alone.
        threshold: An x to mark as the interpolation threshold.
        largest: Where to cut the y axis.
    """
    curves = frames(curves)
    theory = None if theory is None else frames(theory, "theory")
    if not curves or (theory is not None and set(theory) != set(curves)):
        raise ConfigError("this figure needs at least one curve, and a theory for every curve or for none.")
    for label, frame in curves.items():
        need(frame, x, y, of="frame")
        once(frame, x, label)
        if theory is not None:
            need(theory[label], x, y, of="theory")
    figure = panels([y_title], height=400, x_title=x_title, legend_rows=1 + len(curves) // 2)
    for index, (label, frame) in enumerate(curves.items()):
        through = None if theory is None else theory[label]
        _with_bars(figure, frame.sort_values(x), x, y, label, 1, index, line_of=through)
    decades(figure, 1)
    cut(figure, largest)
    log_x(figure)
    if threshold is not None:
        mark(figure, threshold, "interpolation", GREY, y=0.02)
    return figure


@declared.figure(
    "frame", title="What the test error is made of",
    caption="The peak is variance and fitted label noise; the bias falls all along.",
)  # fmt: skip
def error_parts(
    fits: pd.DataFrame, x: str = "width", x_title: str = "Features m", largest: float | None = None
) -> go.Figure:
    """Draw bias, variance and fitted label noise of `double_descent.random_features`, and the error, their sum."""
    parts = {"test_error": "test error", "bias": "bias", "variance": "variance", "noise_error": "label noise"}
    need(fits, x, *parts, of="frame")
    once(fits, x, "the frame")
    figure = panels(["Mean square"], height=400, x_title=x_title)
    for index, (column, label) in enumerate(parts.items()):
        style = {"color": (VERMILLION, BLUE, GREEN, ORANGE)[index], "dash": DASHES[index]}
        line(figure, fits[x], fits[column].where(fits[column] > 0), label, 1, style)
    decades(figure, 1)
    cut(figure, largest)
    log_x(figure)
    return figure


@declared.figure("frame", title="What removes the peak", caption="Each curve takes one cause of the peak away.")
def removals(fits: pd.DataFrame, threshold: float | None = None, y_title: str = "Test error") -> go.Figure:
    """Draw test error over samples without each cause of the peak (`double_descent.removals`); bars are quartiles."""
    need(fits, "samples", "test_error", of="frame", text=["condition"])
    curves = {str(name): own for name, own in fits.groupby("condition", sort=False)}
    untitled: Any = {"title": ""}  # this figure is given its own title
    figure = errors(curves, "samples", "Samples n", y_title=y_title, **untitled)
    if threshold is not None:
        mark(figure, threshold, "interpolation", GREY)
    return figure


@declared.figure(
    "frame", title="Double descent over training",
    caption="Groups of features that learn at different speeds make the error rise and fall again; a step size of its "
    "own for each group removes it.",
)  # fmt: skip
def epoch_wise(path: pd.DataFrame) -> go.Figure:
    """Draw test error over steps with one step size and with one for each group, from `double_descent.epoch_wise`.

    Stars mark the minima, where early stopping would stop. Bars of one standard error stand at every tenth row.
    """
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
        dots(figure, few["step"], values.iloc[::10], label, 1, "line-ew", colour, legend=False,
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
    "frame", title="Double descent of networks on images",
    caption="Solid: test error; thin: train error. The test error peaks where the train error reaches 0.",
)  # fmt: skip
def digits(axes: Mapping[str, Mapping[str, pd.DataFrame]], titles: Mapping[str, str]) -> go.Figure:
    """Draw test error (solid) and train error (thin) of networks on digits, with bars of one standard error.

    Args:
        axes: "width", "samples" or "epoch", a panel each → label → the frame of `digits.over_seeds` along it.
        titles: The title of each axis.
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
    "frame", title="The descents of a curve",
    caption="The first minimum, the peak and the second descent, as found in the curve.",
)  # fmt: skip
def descents(
    curve: pd.DataFrame, found: Descents, x: str = "step", test: str = "test_loss", train: str | None = "train_loss",
    x_title: str | None = None, y_title: str | None = None, log: bool = False,
) -> go.Figure:  # fmt: skip
    """Draw any curve, and mark the descents that `double_descent.descents` found in it."""
    if not hasattr(found, "second_descent"):
        raise ConfigError(f"found must be the result of double_descent.descents; got {given(found)}.")
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


def _with_bars(
    figure: go.Figure, frame: pd.DataFrame, x: str, y: str, label: str, row: int, index: int, legend: bool = True,
    line_of: pd.DataFrame | None = None,
) -> None:  # fmt: skip
    """Draw a curve through its points, or those of `line_of`, with the bars that the frame has."""
    colour, dash = KEYS[index % len(KEYS)], DASHES[index % len(DASHES)]
    through = frame if line_of is None else line_of
    line(figure, through[x], through[y], label, row, {"color": colour, "dash": dash}, legend)
    symbol = ("circle", "diamond", "square", "cross")[index % 4]
    if len(frame) > 30:  # only bars, on every fourth point
        frame, symbol = frame.iloc[::4], "line-ew"
    if (bars := _bars(frame, y)) or symbol != "line-ew":
        dots(figure, frame[x], frame[y], label, row, symbol, colour, legend=False, **bars)


def _bars(frame: pd.DataFrame, y: str) -> dict[str, Any]:
    """Return error bars from standard_error, or from low and high, or none."""
    if "standard_error" in frame:
        return {"error_y": {"type": "data", "array": frame["standard_error"], "thickness": 1.5}}
    if {"low", "high"} <= set(frame):
        above, below = frame["high"] - frame[y], frame[y] - frame["low"]
        return {"error_y": {"type": "data", "symmetric": False, "array": above, "arrayminus": below, "thickness": 1.5}}
    return {}
