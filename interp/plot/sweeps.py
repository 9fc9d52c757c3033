"""Figures of sweeps: delays against settings, maps of two settings, survival curves, accuracies by setting."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from interp.plot import declared
from interp.plot.base import DASHES, KEYS, WIDTH, decades, line, log_x, look, panels
from interp.sweeps.comparisons import in_order, in_words, moved
from interp.sweeps.survival import Curve, curve_of, times, waits, with_delays
from interp.utils.arguments import given
from interp.utils.errors import ConfigError

TITLES = {
    "weight_decay": "Weight decay", "learning_rate": "Learning rate", "p": "Modulus p", "seed": "Seed",
    "train_fraction": "Share of pairs trained on", "d_model": "d_model", "d_mlp": "Neurons (d_mlp)",
    "grokking_delay": "Delay (steps)", "generalized": "Generalizes at (step)", "memorized": "Memorizes at (step)",
    "cleanup_end": "Cleanup ends at (step)",
    "test_loss": "Test loss (nats)", "train_loss": "Train loss (nats)", "test_accuracy": "Test accuracy",
}  # fmt: skip
UNSET = {
    "network": "transformer", "batch_size": "all pairs", "split_seed": "that of seed",
    "muon_learning_rate": "learning_rate",
}  # fmt: skip
_MOST = len(KEYS)
_WAITING = "not by the last step"


@declared.figure(
    "sweep", title="A result of every run against a setting",
    caption="A point a run; the line joins the medians. △ had not generalized by its last step.",
    data=lambda of: {"table": of.table, "x": of.varied_at(0), "color": of.varied[1] if len(of.varied) > 1 else None},
)  # fmt: skip
def sweep(
    table: pd.DataFrame, x: str = "weight_decay", y: str = "grokking_delay", color: str | None = None
) -> go.Figure:
    """Draw a result of every run of a sweep against a setting: a point a run, and a line through their medians.

    `table` is that of `interp.load_sweep`; `x`, `y` and `color` are its columns. An axis is log if its values are above
    0 and span a factor of five. For "grokking_delay", "generalized" and "cleanup_end", a run with only a lower bound
    (it had not generalized by its last step, or its test loss had not settled) is drawn as △ at that bound, and medians
    are those of Kaplan and Meier, which count it as later.
    """
    _need(table, x, *([] if color is None else [color]))
    _need_numbers(table, x, y)
    _need(table, *([] if y == "grokking_delay" else [y]))
    found = times(table, y)
    runs = table[table[y].notna()].assign(delay=table[y].astype(float), censored=False) if found is None else found
    if runs.empty:
        raise ConfigError(f"This figure needs runs with a {y}; none of the {len(table)} has one.")
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
        groups_at = own.groupby(x)
        middle = {at: float(of["delay"].median()) if found is None else curve_of(of).median for at, of in groups_at}
        points = pd.Series(middle, dtype=float).dropna().sort_index()
        if len(points):
            line(figure, points.index.to_series(), points, name or "median", 1, look(index))
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
    figure.update_layout(hovermode="closest", title_text=_against(y, x))
    if color is not None:
        _legend_title(figure, color)
    return figure


@declared.figure(
    "sweep", title="A result over two settings",
    caption="The median of the runs of each pair of values. Grey cells say how many generalized.",
    data=lambda of: {"table": of.table, "x": of.varied_at(0), "y": of.varied_at(1)},
)  # fmt: skip
def sweep_map(table: pd.DataFrame, x: str, y: str, z: str = "grokking_delay") -> go.Figure:
    """Draw the median result of the runs of a sweep over two settings, as a heat map.

    For "grokking_delay", "generalized" and "cleanup_end" the medians are those of Kaplan and Meier. If more than half
    of the runs of a cell have only a lower bound, it is grey, and counts the others.
    """
    _need(table, x, y)
    _need_numbers(table, x, y, z)
    _need(table, *([] if z == "grokking_delay" else [z]))
    found = times(table, z)
    delays = found is not None
    runs = table if found is None else found
    columns, rows = sorted(runs[x].unique()), sorted(runs[y].unique())
    if not columns:
        raise ConfigError(f"This figure needs runs with a {z}; none of the {len(table)} has one.")
    values, texts = np.full((len(rows), len(columns)), np.nan), np.full((len(rows), len(columns)), "", dtype=object)
    for (at, of), cell in runs.groupby([y, x]):
        place = rows.index(at), columns.index(of)
        if delays:
            curve = curve_of(cell)
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
    figure.update_layout(plot_bgcolor="#ddd", hovermode="closest", title_text=_against(z, x, y))
    return figure


@declared.figure(
    "sweep", title="What each setting does to the delay",
    caption="Each panel moves one setting from the baseline of the sweep, whose runs are the grey band. Points under "
    "the band generalize sooner, points above it later, △ not by the last step.",
    data=lambda of: {"table": of.table},
)  # fmt: skip
def effects(table: pd.DataFrame, columns: int = 3) -> go.Figure:
    """Draw the delay of every run against each setting that a sweep moved from its baseline, a panel a setting.

    `table` is that of `interp.load_sweep`. In every panel the grey band holds the delays of the runs of the baseline
    (see `comparisons.moved`), and the grey line is their median. A line joins Kaplan-Meier medians; △ is a run that had
    not generalized by its last step. A value with which no run memorized has no points.
    """
    from plotly.subplots import make_subplots  # slow to import

    _need(table, "memorized", "generalized", "last_step")
    runs = with_delays(moved(table))
    runs = runs.assign(delay=runs["delay"].clip(lower=1))
    baseline = runs[(runs["moved"] == "") & runs["delay"].notna()]
    panels_of = [name for name in dict.fromkeys(runs["moved"]) if name]
    if baseline.empty or not panels_of:
        raise ConfigError("This figure needs runs of the baseline of a sweep, and settings that were moved from it.")
    rows = -(-len(panels_of) // columns)
    figure = make_subplots(
        rows=rows, cols=columns, shared_yaxes=True, horizontal_spacing=0.02, vertical_spacing=0.48 / rows,
        subplot_titles=["<br>".join(textwrap.wrap(_named(name), 30)) for name in panels_of],
    )  # fmt: skip
    centre = curve_of(baseline).median
    for index, name in enumerate(panels_of):
        place: dict[str, Any] = {"row": index // columns + 1, "col": index % columns + 1}
        own = runs[runs["moved"] == name]
        if "+" not in name:  # the baseline has a value of it too
            said = f"{name}={in_words(baseline[name].iloc[0])}"
            own = pd.concat([own, baseline.assign(setting=said)], ignore_index=True)
        values = sorted(dict.fromkeys(own["setting"]), key=in_order)
        wide = max(36 // len(values), 9)
        labels = {said: "<br>".join(_short(_value(part), wide) for part in said.split(", ")) for said in values}
        own = own[own["delay"].notna()]
        for censored, symbol in ((False, "circle"), (True, "triangle-up-open")):
            some = own[own["censored"] == censored]
            figure.add_trace(
                go.Scatter(
                    x=[labels[said] for said in some["setting"]], y=some["delay"], mode="markers", showlegend=False,
                    marker={"symbol": symbol, "size": 9, "color": KEYS[1 if censored else 0], "opacity": 0.7},
                    text=some["setting"], hovertemplate="%{text}: %{y:,.0f} steps<extra></extra>",
                ),
                **place,
            )  # fmt: skip
        of_each = {said: own[own["setting"] == said] for said in values}
        medians = [curve_of(of).median if len(of) else np.nan for of in of_each.values()]
        figure.add_trace(
            go.Scatter(
                x=[labels[said] for said in values], y=medians, mode="lines+markers", showlegend=False,
                line={"color": KEYS[0], "width": 2}, marker={"symbol": "line-ew-open", "size": 14}, hoverinfo="skip",
            ),
            **place,
        )  # fmt: skip
        least, most = float(baseline["delay"].min()), float(baseline["delay"].max())
        figure.add_hrect(y0=least, y1=most, fillcolor="#999", opacity=0.25, line_width=0, layer="below", **place)
        if np.isfinite(centre):
            figure.add_hline(y=centre, line={"color": "#666", "width": 2, "dash": "dot"}, layer="below", **place)
        figure.update_xaxes(
            type="category", categoryorder="array", categoryarray=[labels[said] for said in values], tickangle=0,
            range=[-0.6, len(values) - 0.4], tickfont={"size": 10 if len(values) > 5 and "+" in name else 13}, **place,
        )  # fmt: skip
    figure.update_layout(
        template="simple_white", width=290 * columns + 80, height=270 * rows + 60, hovermode="closest",
        font={"size": 14, "family": "Arial, Helvetica, sans-serif"}, margin={"l": 70, "r": 10, "t": 60, "b": 40},
    )  # fmt: skip
    figure.update_annotations(font_size=14)
    figure.update_yaxes(type="log", dtick=1, tickformat=",d", showgrid=True, gridcolor="#eee", matches="y")
    figure.update_yaxes(title_text="Delay (steps)", col=1)
    return figure


def _named(settings: str) -> str:
    return settings.replace("network.", "").replace("+", " + ")


def _value(setting: str) -> str:
    """Return the value in "name=value", or the meaning of an empty one."""
    name, _, value = setting.partition("=")
    return value or UNSET.get(name, "default")


def _short(word: str, wide: int) -> str:
    return "<br>".join(textwrap.wrap(word.replace("+", " "), wide, break_long_words=False))


@declared.figure(
    "sweep", title="Runs that have not generalized yet",
    caption="A curve that falls early generalizes early. One that stays up holds runs that had not generalized when "
    "they ended.",
    data=lambda of: {"table": of.table, "by": of.varied_at(0)},
)  # fmt: skip
def survival(table: pd.DataFrame, by: str | None = "weight_decay") -> go.Figure:
    """Draw the share of runs that have not generalized against the steps since they memorized, a curve a setting.

    These are Kaplan-Meier curves with their 95 % intervals: a run that had not generalized by its last step counts for
    as long as it was watched.
    """
    _need(table, *([] if by is None else [by]))
    runs = waits(table)
    if runs.empty:
        raise ConfigError(f"This figure needs runs with a delay; none of the {len(table)} has one.")
    groups = _groups(runs, by)
    labels = {}
    for name, own in groups:
        waiting = int(own["censored"].sum())
        labels[name] = f"{name or 'all runs'} ({len(own)}{f', {waiting} {_WAITING}' if waiting else ''})"
    rows = _legend_rows(labels.values(), by)
    figure = panels(["Not yet generalized"], height=420, x_title="Steps since memorized", legend_rows=rows)
    for index, (name, own) in enumerate(groups):
        curve = _prolonged(curve_of(own), float(own["delay"].max()))
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
        _legend_title(figure, by)
    return figure


@declared.figure(
    "frame", title="Test accuracy over training, by setting",
    caption="Thin lines are runs, thick ones their medians.",
)  # fmt: skip
def accuracies_by_setting(histories: pd.DataFrame, table: pd.DataFrame, by: str = "weight_decay") -> go.Figure:
    """Draw test accuracy over training, thin for each run and thick for medians, a colour for each setting.

    Takes the frame of `Sweep.histories()` and the table of the sweep.
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
        style = look(index)
        for _, run in own.groupby("run"):
            line(figure, run["step"], run["test_accuracy"], name, 1, {**style, "dash": "solid"}, legend=False)
            figure.data[-1].update(line_width=1, opacity=0.35, hoverinfo="skip")
        middle = own.groupby("step")["test_accuracy"].median()
        line(figure, middle.index.to_series(), middle, name, 1, style)
    _legend_title(figure, by)
    figure.update_yaxes(range=[-0.02, 1.02], tickformat=".0%")
    return figure


def _need(table: Any, *names: str) -> None:
    if not isinstance(table, pd.DataFrame):
        raise ConfigError(f"This figure takes the table of a sweep, interp.load_sweep(path).table; got {given(table)}.")
    if unknown := [name for name in names if name not in table]:
        raise ConfigError(f"The table of the sweep has no column {unknown[0]!r}; it has {', '.join(map(str, table))}.")


def _need_numbers(table: pd.DataFrame, *names: str) -> None:
    for name in names:
        column = table[name] if name in table else pd.Series(dtype=float)
        numeric = pd.api.types.is_numeric_dtype(column)
        if not numeric and any(not isinstance(one, int | float | np.number) for one in column.dropna()):
            raise ConfigError(f"This axis needs numbers; {name} holds words. Give it as color, or to plot.effects.")


def _groups(runs: pd.DataFrame, by: str | None) -> list[tuple[str, pd.DataFrame]]:
    """Return the runs of each value of a setting under its name, or all runs under "" without a setting."""
    if by is None:
        return [("", runs)]
    missing = runs[by].isna()
    known = runs[~missing].groupby(by)
    found = [(f"{value:g}" if isinstance(value, float) else str(value), own) for value, own in known]
    if missing.any():  # the setting is None
        found.append((UNSET.get(by, "default"), runs[missing]))
    if len(found) > 2 * _MOST:
        raise ConfigError(f"A figure shows at most {2 * _MOST} values of {by}; got {len(found)}. Choose some of them.")
    return found


def _legend_rows(names: Iterable[str], title: str | None) -> int:
    """Return how many rows a legend of these names takes above a figure."""
    return -(-sum(len(name) + 9 for name in names) // 50) + (title is not None)


def _legend_title(figure: go.Figure, by: str) -> None:
    figure.update_layout(legend_title={"text": TITLES.get(by, by), "side": "top", "font": {"size": 18}})


def _against(y: str, *x: str) -> str:
    """Return the title of a figure of a result against settings, without units."""
    result, *settings = (TITLES.get(name, name).partition(" (")[0] for name in (y, *x))
    return f"{result} by {' and '.join(name[:1].lower() + name[1:] for name in settings)}"


def _scale(figure: go.Figure, values: pd.Series, axis: str) -> None:
    known = values[np.isfinite(values)]
    if len(known) and known.min() > 0 and known.max() >= 5 * known.min():
        if axis == "x":
            log_x(figure, 1)
            _ticks(figure, known)
        else:
            decades(figure, 1)
    elif axis == "x":
        figure.update_xaxes(tickformat=",~g")


def _ticks(figure: go.Figure, values: pd.Series) -> None:
    """Put a tick on a log axis at each value that was run, with its name if there is room."""
    run = sorted(set(values.tolist()))
    if len(run) > 12:
        return
    wide = 11 / (WIDTH - 120) * (np.log10(run[-1]) - np.log10(run[0]) or 1.0)  # a letter, on the axis
    names: list[str] = []
    end = -np.inf
    for value in run:
        name = f"{value:g}"
        begin = np.log10(value) - wide * len(name) / 2
        names.append(name if begin >= end else "")
        end = begin + wide * (len(name) + 1) if names[-1] else end
    figure.update_xaxes(tickvals=run, ticktext=names)


def _prolonged(curve: Curve, last: float) -> Curve:
    """Return a curve extended to the end of the longest run."""
    if last <= curve.steps[-1]:
        return curve
    return Curve(np.r_[curve.steps, last], *(np.r_[one, one[-1]] for one in (curve.share, curve.low, curve.high)))
