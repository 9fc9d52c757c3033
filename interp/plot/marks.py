"""Marks and guides that the figures of ridge regression and of double descent share."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from interp.utils.arguments import number
from interp.utils.errors import ConfigError

GREY = "#777"
GUIDE = {"color": GREY, "width": 1.5, "dash": "dot"}


def dots(
    figure: go.Figure, x: Any, y: Any, name: str, row: int, symbol: str, colour: str, legend: bool = True, **more: Any
) -> None:
    marker = {"symbol": symbol, "size": 9, "color": colour, "line": {"width": 1.5, "color": colour}}
    figure.add_trace(
        go.Scatter(x=x, y=y, name=name, legendgroup=name, showlegend=legend, mode="markers", marker=marker, **more),
        row=row, col=1,
    )  # fmt: skip


def once(frame: pd.DataFrame, x: str, label: str) -> None:
    if frame[x].duplicated().any():
        raise ConfigError(f"{label} must hold each {x} once; got one again. Select or average its rows.")


def mark(figure: go.Figure, x: float, text: str, colour: str, y: float = 0.98) -> None:
    """Draw a dotted line through all panels, its name at height y of the first (from 0 to 1)."""
    x = number("threshold", x, above=0)
    figure.add_vline(x=x, line=GUIDE | {"color": colour}, row="all", col=1)
    figure.add_annotation(
        x=np.log10(x), xref="x", y=y, yref="y domain", text=f" {text} ", showarrow=False, xanchor="left",
        yanchor="top" if y > 0.5 else "bottom", font={"size": 17, "color": colour},
    )  # fmt: skip


def cut(figure: go.Figure, largest: float | None) -> None:
    axis = next(iter(figure.select_yaxes()))
    if largest is not None and number("largest", largest, above=0) > 10 ** (axis.range or (np.inf,))[0]:
        axis.range = [axis.range[0], min(axis.range[1], float(np.log10(largest)))]
