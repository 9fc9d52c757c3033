"""Figures of sweeps: delays against settings, maps of two settings, survival curves, accuracies by setting."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from interp.arguments import given
from interp.errors import ConfigError
from interp.plot.base import DASHES, KEYS, decades, line, log_x, panels
from interp.survival import Curve, kaplan_meier, waits

if TYPE_CHECKING:
    import plotly.graph_objects as go

TITLES = {
    "weight_decay": "Weight decay", "learning_rate": "Learning rate", "p": "Modulus p", "seed": "Seed",
    "train_fraction": "Share of pairs trained on", "d_model": "d_model", "d_mlp": "Neurons (d_mlp)",
    "grokking_delay": "Delay (steps)", "generalized": "Generalizes at (step)", "memorized": "Memorizes at (step)",
    "test_loss": "Test loss (nats)", "train_loss": "Train loss (nats)", "test_accuracy": "Test accuracy",
}  # fmt: skip
_MOST = len(KEYS)
_WAITING = "not by the last step"


def sweep(
    table: pd.DataFrame, x: str = "weight_decay", y: str = "grokking_delay", color: str | None = None
) -> go.Figure:
    """A result of every run of a sweep against a setting: a point a run, and a line through their medians.

    `table` is that of `interp.load_sweep`; `x`, `y` and `color` are its columns. Axes are log where the values are
    above 0 and span a factor of five. Of "grokking_delay", a run that had not generalized by its last step is drawn as
    △ at the steps for which it was watched, and the medians are those of Kaplan and Meier, which count it as longer.
    """
    _need(table, x, *([] if color is None else [color]))
    delays = y == "grokking_delay"
    if delays:
        runs = waits(table)
    else:
        _need(table, y)
        runs = table[table[y].notna()].assign(delay=table[y].astype(float), censored=False)
    if runs.empty:
        raise ConfigError(f"This figure needs runs with a {y}; none of the {len(table)} has one.")
    import plotly.graph_objects as go

    groups = _groups(runs, color)
    waiting = bool(runs["censored"].any())
    names = [name for name, _ in groups] + [_WAITING] * waiting
    figure = panels([TITLES.get(y, y)], height=420, x_title=TITLES.get(x, x), legend_rows=_legend_rows(names, color))
    for index, (name, own) in enumerate(groups):
        colour = KEYS[index % _MOST]
        for kind, symbol in ((False, "circle"), (True, "triangle-up-open")):
            some = own[own["censored"] == kind]
            if len(some):
                figure.add_trace(
                    go.Scatter(
                        x=some[x].astype(float), y=some["delay"], mode="markers", legendgroup=name,
                        name=name or "a run", showlegend=not name and not kind,
                        marker={"color": colour, "symbol": symbol, "size": 10, "opacity": 0.6,
                                "line": {"width": 2 if kind else 0, "color": colour}},
                    ),
                    row=1, col=1,
                )  # fmt: skip
        middle = {
            value: kaplan_meier(of["delay"].to_numpy(dtype=float), of["censored"].to_numpy(dtype=bool)).median
            if delays else float(of["delay"].median())
            for value, of in own.groupby(x)
        }  # fmt: skip
        points = pd.Series(middle, dtype=float).dropna().sort_index()
        if len(points):
            style = {"color": colour, "dash": DASHES[index % len(DASHES)]}
            line(figure, points.index.to_series(), points, name or "median", 1, style)
    if waiting:
        figure.add_trace(
            go.Scatter(
                x=[None], y=[None], mode="markers", name=_WAITING,
                marker={"symbol": "triangle-up-open", "size": 11, "color": "#444", "line": {"width": 2}},
            ),
            row=1, col=1,
        )  # fmt: skip
    _scale(figure, runs[x].astype(float), "x")
    _scale(figure, runs["delay"], "y")
    figure.update_layout(hovermode="closest")
    if color is not None:
        figure.update_layout(legend_title_text=TITLES.get(color, color))
    return figure


def sweep_map(table: pd.DataFrame, x: str, y: str, z: str = "grokking_delay") -> go.Figure:
    """The median result of the runs of a sweep over two settings, as a heat map.

    Of "grokking_delay" the medians are those of Kaplan and Meier; where more than half of the runs of a cell had not
    generalized by their last steps, it is grey, and says how many had.
    """
    _need(table, x, y)
    delays = z == "grokking_delay"
    runs = waits(table) if delays else table
    if not delays:
        _need(table, z)
    import plotly.graph_objects as go

    columns, rows = sorted(runs[x].unique()), sorted(runs[y].unique())
    if not columns:
        raise ConfigError(f"This figure needs runs with a {z}; none of the {len(table)} has one.")
    values, texts = np.full((len(rows), len(columns)), np.nan), np.full((len(rows), len(columns)), "", dtype=object)
    for (at, of), cell in runs.groupby([y, x]):
        place = rows.index(at), columns.index(of)
        if delays:
            curve = kaplan_meier(cell["delay"].to_numpy(dtype=float), cell["censored"].to_numpy(dtype=bool))
            values[place] = curve.median
            learned = f"{int((~cell['censored']).sum())} of {len(cell)}"
            texts[place] = learned if np.isnan(curve.median) else f"{curve.median:,.0f}"
        else:
            values[place] = float(cell[z].astype(float).median())
            texts[place] = f"{values[place]:.3g}"
    figure = panels([TITLES.get(y, y)], height=60 * len(rows) + 80, x_title=TITLES.get(x, x))
    log = delays and np.nanmin(values, initial=np.inf) > 0
    shown = np.log10(values) if log else values
    bar: dict[str, Any] = {"title": {"text": TITLES.get(z, z), "side": "right"}, "tickfont": {"size": 18}}
    known = shown[np.isfinite(shown)]
    if log and len(known):
        ticks = np.arange(np.floor(known.min()), np.ceil(known.max()) + 1)
        bar |= {"tickvals": ticks, "ticktext": [f"{10**tick:,.0f}" for tick in ticks]}
    figure.add_trace(
        go.Heatmap(
            z=shown, x=[f"{one:g}" for one in columns], y=[f"{one:g}" for one in rows], text=texts,
            texttemplate="%{text}", colorscale="Viridis_r", colorbar=bar, hoverongaps=False, xgap=2, ygap=2,
        ),
        row=1, col=1,
    )  # fmt: skip
    figure.update_xaxes(type="category", showgrid=False)
    figure.update_yaxes(type="category", showgrid=False)
    figure.update_layout(plot_bgcolor="#ddd", hovermode="closest")
    return figure


def survival(table: pd.DataFrame, by: str | None = "weight_decay") -> go.Figure:
    """The share of runs that have not generalized against the steps since they memorized, a curve for each setting.

    The curves are those of Kaplan and Meier, with their 95 % intervals: a run that had not generalized by its last step
    counts for as long as it was watched.
    """
    _need(table, *([] if by is None else [by]))
    runs = waits(table)
    if runs.empty:
        raise ConfigError(f"This figure needs runs with a delay; none of the {len(table)} has one.")
    import plotly.graph_objects as go

    groups = _groups(runs, by)
    labels = {}
    for name, own in groups:
        waiting = int(own["censored"].sum())
        labels[name] = f"{name or 'all runs'} ({len(own)}{f', {waiting} {_WAITING}' if waiting else ''})"
    rows = _legend_rows(labels.values(), by)
    figure = panels(["Not yet generalized"], height=420, x_title="Steps since memorized", legend_rows=rows)
    for index, (name, own) in enumerate(groups):
        curve = kaplan_meier(own["delay"].to_numpy(dtype=float), own["censored"].to_numpy(dtype=bool))
        curve = _prolonged(curve, float(own["delay"].max()))
        colour = KEYS[index % _MOST]
        figure.add_trace(
            go.Scatter(
                x=np.r_[curve.steps, curve.steps[::-1]], y=np.r_[curve.high, curve.low[::-1]], fill="toself",
                fillcolor=colour, opacity=0.15, line={"width": 0, "shape": "hv"}, legendgroup=name, showlegend=False,
                hoverinfo="skip",
            ),
            row=1, col=1,
        )  # fmt: skip
        figure.add_trace(
            go.Scatter(
                x=curve.steps, y=curve.share, name=labels[name], legendgroup=name, mode="lines",
                line={"shape": "hv", "color": colour, "width": 3, "dash": DASHES[index % len(DASHES)]},
            ),
            row=1, col=1,
        )  # fmt: skip
    figure.update_yaxes(range=[0, 1.02], tickformat=".0%")
    if by is not None:
        figure.update_layout(legend_title_text=TITLES.get(by, by))
    return figure


def accuracies_by_setting(histories: pd.DataFrame, table: pd.DataFrame, by: str = "weight_decay") -> go.Figure:
    """Test accuracy over training, thin for each run and thick for their medians, a colour for each setting.

    `histories` is `Sweep.histories()`, `table` the sweep's.
    """
    _need(table, by)
    for name in ("run", "step", "test_accuracy"):
        if not isinstance(histories, pd.DataFrame) or name not in histories:
            raise ConfigError(
                f"histories must be those of a sweep, with run, step and test_accuracy; got {given(histories)}."
            )
    joined = histories.merge(table[["run", by]], on="run")
    groups = _groups(joined, by)
    figure = panels(["Test accuracy"], height=380, legend_rows=_legend_rows([name for name, _ in groups], by))
    for index, (name, own) in enumerate(groups):
        style = {"color": KEYS[index % _MOST], "dash": DASHES[index % len(DASHES)]}
        for _, run in own.groupby("run"):
            line(figure, run["step"], run["test_accuracy"], name, 1, {**style, "dash": "solid"}, legend=False)
            figure.data[-1].update(line_width=1, opacity=0.35, hoverinfo="skip")
        middle = own.groupby("step")["test_accuracy"].median()
        line(figure, middle.index.to_series(), middle, name, 1, style)
    figure.update_layout(legend_title_text=TITLES.get(by, by))
    figure.update_yaxes(range=[-0.02, 1.02], tickformat=".0%")
    return figure


def _need(table: Any, *names: str) -> None:
    if not isinstance(table, pd.DataFrame):
        raise ConfigError(f"This figure takes the table of a sweep, interp.load_sweep(path).table; got {given(table)}.")
    if unknown := [name for name in names if name not in table]:
        raise ConfigError(f"The table of the sweep has no column {unknown[0]!r}; it has {', '.join(map(str, table))}.")


def _groups(runs: pd.DataFrame, by: str | None) -> list[tuple[str, pd.DataFrame]]:
    """Return the runs of each value of a setting, under its name; all together under "" without a setting."""
    if by is None:
        return [("", runs)]
    found = [(f"{value:g}" if isinstance(value, float) else str(value), own) for value, own in runs.groupby(by)]
    if len(found) > 2 * _MOST:
        raise ConfigError(
            f"A figure tells at most {2 * _MOST} values of {by} apart; got {len(found)}. Choose some of them."
        )
    return found


def _legend_rows(names: Iterable[str], title: str | None) -> int:
    """Return how many rows a legend of these names takes above a figure: each has a line beside it."""
    taken = sum(len(name) + 9 for name in names) + (0 if title is None else len(TITLES.get(title, title)) + 4)
    return -(-taken // 50)


def _scale(figure: go.Figure, values: pd.Series, axis: str) -> None:
    known = values[np.isfinite(values)]
    if len(known) and known.min() > 0 and known.max() >= 5 * known.min():
        if axis == "x":
            log_x(figure, 1)
        else:
            decades(figure, 1)
    elif axis == "x":
        figure.update_xaxes(tickformat=",~g")


def _prolonged(curve: Curve, last: float) -> Curve:
    """Return a curve drawn on to the end of the longest run."""
    if last <= curve.steps[-1]:
        return curve
    return Curve(np.r_[curve.steps, last], *(np.r_[one, one[-1]] for one in (curve.share, curve.low, curve.high)))
