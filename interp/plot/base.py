"""The house style of figures, and their common parts: stacked panels, lines, log axes, heat maps, notes, checks.

Sized for one printed column: at 8.3 cm wide the smallest letters are 7 points high. Colours are Okabe and Ito's, which
colour-blind readers tell apart, and lines differ by dash too.
"""

from __future__ import annotations

import textwrap
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from jaxtyping import Bool, Float, Int

from interp.measures.neurons import SINGLE_FREQUENCY_SHARE
from interp.utils.arguments import given, real
from interp.utils.errors import ConfigError

BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY, YELLOW, BLACK = (
    "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#F0E442", "#000000",
)  # fmt: skip
LINES: dict[str, dict[str, str]] = {
    "train": {"color": BLUE, "dash": "solid"},
    "test": {"color": VERMILLION, "dash": "dash"},
    "restricted": {"color": PURPLE, "dash": "solid"},
    "excluded": {"color": GREEN, "dash": "dashdot"},
}
SHADES = {
    "memorization": SKY, "circuit formation": YELLOW, "cleanup": ORANGE, "cleanup, going on": ORANGE,
    "grokked": "#999999",
}  # fmt: skip
OPACITY = 0.22  # of a phase's shade
KEYS = (BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY, BLACK)
DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")

NO_CLUSTER = f"no neuron of this network has more than {SINGLE_FREQUENCY_SHARE:g} of its variance in one frequency"

WIDTH, PANEL, FONT = 640, 250, 20
STEP = "Training step"


def panels(
    titles: Sequence[str], height: int = PANEL, x_title: str | Sequence[str] = STEP, legend_rows: int = 1
) -> go.Figure:
    """Return stacked panels with room for a legend above; they share one x axis unless each has its own `x_title`."""
    from plotly.subplots import make_subplots  # slow to import

    rows = len(titles)
    own = not isinstance(x_title, str)
    spacing = 95 / (rows * height + 95 * (rows - 1)) if own else 0.14 / rows + 0.02
    margin = 34 + 27 * legend_rows
    figure = make_subplots(rows=rows, cols=1, shared_xaxes=not own, vertical_spacing=spacing)
    inside = rows * height + (95 * (rows - 1) if own else 0)
    figure.update_layout(
        template="simple_white", width=WIDTH, height=inside + 65 + margin, hovermode="x unified",
        font={"size": FONT, "family": "Arial, Helvetica, sans-serif"},
        margin={"l": 105, "r": 30, "t": margin, "b": 70},
        legend={"orientation": "h", "x": 0, "y": 1 + 12 / inside, "yanchor": "bottom", "font": {"size": 18}},
    )  # fmt: skip
    figure.update_xaxes(tickfont={"size": 18}, separatethousands=True, tickformat=",d", showgrid=True, gridcolor="#eee")
    for row, title in enumerate(titles, 1):
        figure.update_yaxes(title_text=title, tickfont={"size": 18}, row=row, col=1, showgrid=True, gridcolor="#eee")
    for row, title in enumerate([x_title] if isinstance(x_title, str) else x_title, 1):
        figure.update_xaxes(title_text=title, row=row if own else rows, col=1)
    return figure


def look(index: int, dash: int | None = None) -> dict[str, str]:
    """Return the colour and the dash of the n-th line of a figure; `dash` chooses another dash."""
    return {"color": KEYS[index % len(KEYS)], "dash": DASHES[(index if dash is None else dash) % len(DASHES)]}


def groups_of(frequencies: Int[np.ndarray, " n"]) -> list[tuple[str, Bool[np.ndarray, " n"], str]]:
    """Return the name, members and colour of each group of neurons; beyond six, the smallest form one grey group."""
    counted = sorted(set(frequencies.tolist()), key=lambda k: -int((frequencies == k).sum()))
    shown = sorted(counted[: len(KEYS) - 1])
    groups = [(f"k = {k}", frequencies == k, KEYS[i]) for i, k in enumerate(shown)]
    return groups + ([("other k", ~np.isin(frequencies, shown), "#aaa")] if len(counted) > len(shown) else [])


def note_doubts(figure: go.Figure, *doubts: str | None) -> None:
    """Write doubts beneath a figure, but for those that stand there already."""
    said = " ".join(note.text.replace("<br>", " ") for note in figure.layout.annotations if note.text)
    new = [doubt.rstrip(".") for doubt in doubts if doubt and doubt.rstrip(".") not in said]
    _beneath(figure, " ".join(f"Doubtful: {doubt}." for doubt in new))


def note_missing(figure: go.Figure, parts: Sequence[str], why: str) -> None:
    """Write beneath a figure which of its parts are not drawn, and why."""
    _beneath(figure, f"Not drawn: {'; '.join(parts)}, since {why}." if parts else "", "#555")


def _beneath(figure: go.Figure, text: str, colour: str = VERMILLION) -> None:
    if not text:
        return
    lines = textwrap.wrap(text, 72)
    below = figure.layout.margin.b
    figure.update_layout(margin_b=below + 21 * len(lines) + 8, height=figure.layout.height + 21 * len(lines) + 8)
    figure.add_annotation(
        text="<br>".join(lines), x=0, xref="paper", xanchor="left", y=0, yref="paper", yanchor="top", yshift=-below - 6,
        align="left", showarrow=False, font={"size": 16, "color": colour},
    )  # fmt: skip


def decades(figure: go.Figure, row: int, lowest: float = 0.0) -> None:
    """Give a panel a log y axis from `lowest` up, with ticks that suit its number of decades."""
    drawn = []
    for trace in figure.select_traces(row=row, col=1):
        y = np.asarray(trace.y, dtype=float)
        drawn.append(y)
        if trace.error_y.array is not None:
            up, down = trace.error_y.array, trace.error_y.arrayminus
            drawn += [y + np.asarray(up, dtype=float), y - np.asarray(up if down is None else down, dtype=float)]
    values = np.concatenate(drawn)
    values = values[np.isfinite(values) & (values > lowest)]
    axis: dict[str, Any] = {"type": "log", "exponentformat": "power", "row": row, "col": 1}
    if len(values):
        first, last = np.log10(values.min()), np.log10(values.max())
        margin = 0.05 * (last - first) + 0.05
        axis["range"] = [first - margin, last + margin]
        axis["dtick"] = int(np.ceil((last - first) / 6)) if last - first >= 2 else "D2"  # D2: 1, 2 and 5
        if last - first < 2:
            axis["tickformat"] = ",~g"
        if last - first < 0.7:  # where 1, 2 and 5 are too far apart
            axis |= {"dtick": None, "tickvals": _even_ticks(*(10**end for end in axis["range"]))}
    figure.update_yaxes(**axis)


def _even_ticks(low: float, high: float) -> list[float]:
    """Return three to seven evenly spaced round numbers within these ends."""
    rough = (high - low) / 3
    unit = 10 ** np.floor(np.log10(rough))
    step = max(unit * few for few in (1, 2, 5) if unit * few <= rough)
    first, last = np.ceil(low / step), np.floor(high / step)
    return [float(f"{step * k:.6g}") for k in np.arange(first, last + 1)]


def line(
    figure: go.Figure, x: pd.Series, y: pd.Series, name: str, row: int, style: dict[str, str], legend: bool = True
) -> None:
    mode = "lines" if len(x) > 1 else "lines+markers"  # a single point makes no line
    drawn = go.Scatter(x=x, y=y, name=name, legendgroup=name, showlegend=legend, mode=mode, line={"width": 3, **style})
    figure.add_trace(drawn, row=row, col=1)


def log_x(figure: go.Figure, row: int | None = None) -> None:
    """Give one panel, or all, a log x axis with ticks that suit its number of decades."""
    for one in [row] if row else range(1, len(list(figure.select_xaxes())) + 1):
        drawn = [np.asarray(trace.x, dtype=float) for trace in figure.select_traces(row=one, col=1)]
        values = np.concatenate(drawn)
        values = values[np.isfinite(values) & (values > 0)]
        if not len(values):
            raise ConfigError("this figure needs x values above 0, since its axis is log; got none.")
        ends = np.log10([values.min(), values.max()])
        span = float(ends[1] - ends[0])
        powers = span > 4 or values.max() >= 1e5 or values.min() < 0.01
        figure.update_xaxes(
            type="log", dtick=int(np.ceil(span / 7)) if span >= 2 else "D2", row=one, col=1,
            range=[ends[0] - 0.04 * span - 0.02, ends[1] + 0.04 * span + 0.02],
            **({"exponentformat": "power", "tickformat": None} if powers else {"tickformat": ",~g"}),
        )  # fmt: skip


def need(frame: Any, *names: str, of: str = "trajectory", text: Collection[str] = ()) -> None:
    """Raise ConfigError unless `frame` has values in these columns, which must be numbers except those in `text`."""
    names = (*names, *text)
    if not all(isinstance(name, str) for name in names):
        raise ConfigError(f"names of columns must be strings; got {given(list(names))}.")
    if not isinstance(frame, pd.DataFrame):
        raise ConfigError(f"this figure takes a data frame with the columns {', '.join(names)}; got {given(frame)}.")
    if lacking := [name for name in names if name not in frame or bool(np.all(frame[name].isna()))]:
        how = "does not have" if any(name not in frame for name in lacking) else "holds no values of"
        since = next((f", since {why}" for name, why in reasons(frame).items() if name in lacking), "")
        raise ConfigError(f"this figure needs the columns {', '.join(lacking)}, which the {of} {how}{since}.")
    for name in names:
        if frame[name].ndim != 1:
            raise ConfigError(f"this figure needs the column {name} once; the {of} has {frame[name].shape[1]} of it.")
        if name not in text:
            real(f"the column {name}", frame[name])


def reasons(trajectory: pd.DataFrame) -> dict[str, str]:
    """Return the reasons that `interp.trajectory` records for measures that are missing at all checkpoints."""
    return trajectory.attrs.get("missing", {})


def frames(mapping: Any, name: str = "curves") -> dict[str, Any]:
    """Return `mapping` as a dict; ConfigError unless its keys are labels. Each figure checks the values."""
    if not isinstance(mapping, Mapping) or not all(isinstance(label, str) for label in mapping):
        raise ConfigError(f"{name} must map labels to data frames; got {given(mapping)}.")
    return dict(mapping)


def component(index: int, share: float) -> str:
    """Return the title of an axis along a principal component."""
    return f"component {index} ({share:.0%} of variance)"


def between_ticks(frequencies: int) -> int:
    """Return a round distance of ticks on an axis of `frequencies` frequencies, with eight ticks at most."""
    return next((step for step in (1, 2, 5, 10, 20, 50, 100) if frequencies <= 8 * step), 2 * frequencies)


def waves(p: int) -> dict[str, Any]:
    """Return the ticks of an axis of the Fourier basis of Z_p, where frequency k has rows 2k − 1 and 2k."""
    every = between_ticks(p // 2)
    shown = range(every, p // 2 + 1, every)
    return {"tickvals": [0, *(2 * k - 0.5 for k in shown)], "ticktext": ["const", *map(str, shown)]}


def both_signs(*values: Float[np.ndarray, "..."]) -> tuple[float, float]:
    """Return limits of colours that hold all values and lie evenly around 0, so that 0 is white."""
    top = max(float(np.abs(one).max()) for one in values) or 1.0
    return -top, top


def maps_side_by_side(
    maps: Sequence[tuple[str, Float[np.ndarray, "rows cols"]]], columns: int, axes: tuple[str, str], scale: str,
    colours: str = "Viridis", limits: tuple[float, float] | None = None,
) -> go.Figure:  # fmt: skip
    """Return titled heat maps side by side under one colour scale; `axes` name x and y."""
    from plotly.subplots import make_subplots  # slow to import

    rows = -(-len(maps) // columns)
    low, high = limits or (min(float(m.min()) for _, m in maps), max(float(m.max()) for _, m in maps))
    figure = make_subplots(
        rows=rows, cols=columns, subplot_titles=[title for title, _ in maps], shared_xaxes=True, shared_yaxes=True,
        horizontal_spacing=0.05, vertical_spacing=0.09 if rows > 1 else 0,
    )  # fmt: skip
    for index, (_, values) in enumerate(maps):  # as float32: half the bytes of a page
        drawn = go.Heatmap(z=np.asarray(values, np.float32), coloraxis="coloraxis")
        figure.add_trace(drawn, row=index // columns + 1, col=index % columns + 1)
    figure.update_layout(
        template="simple_white", width=WIDTH, height=(WIDTH - 190) // columns * rows + 70 * rows + 70,
        font={"size": 18, "family": "Arial, Helvetica, sans-serif"}, margin={"l": 75, "r": 20, "t": 45, "b": 65},
        coloraxis={
            "colorscale": colours, "cmin": low, "cmax": high,
            "colorbar": {"title": {"text": scale, "side": "right"}, "thickness": 16},
        },
    )  # fmt: skip
    figure.update_annotations(font_size=17)
    for index in range(len(maps)):
        if index + columns >= len(maps):  # the lowest of its column
            place = {"row": index // columns + 1, "col": index % columns + 1}
            figure.update_xaxes(title_text=axes[0], showticklabels=True, **place)
    figure.update_yaxes(title_text=axes[1], col=1)
    return figure


def slider(figures: Mapping[str, go.Figure], name: str) -> go.Figure:
    """Return one figure with a slider through several of one kind, such as one for each weight decay.

    It works in plain HTML too.

    Args:
        figures: Label of the slider → figure. The axes take the range that holds all figures.
        name: The name of the setting that the slider moves.
    """
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
        height=shared.layout.height + 110, margin_b=shared.layout.margin.b + 110,
    )  # fmt: skip
    return shared
