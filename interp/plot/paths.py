"""Figures of the weights as points in their space: the path of training, and the loss around a checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import torch
from jaxtyping import Float, Int

from interp.measures.weights import principal_components
from interp.plot import declared
from interp.plot.base import (
    BLACK,
    VERMILLION,
    WIDTH,
    component,
    decades,
    frames,
    line,
    look,
    need,
    note_missing,
    panels,
)
from interp.utils.arguments import checks_arrays, given
from interp.utils.errors import ConfigError

if TYPE_CHECKING:
    from interp.plot.shown import Shown
    from interp.study.phase_table import Phases

_MOST = 9  # parameters in one figure
_LETTERS = 20  # of a name over a panel; a longer one begins with an ellipsis
_SYMBOLS = ("star", "square", "diamond")


def _arrays(products: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    path, shares = principal_components(products)
    return path.numpy(), shares.nan_to_num(0.0).numpy()


def _path(of: Shown) -> dict[str, Any]:
    steps, products = of.weight_products
    path, shares = _arrays(torch.stack(list(products.values())).sum(0))
    return {"path": path, "shares": shares, "steps": steps, "phases": of.phases}


def _paths(of: Shown) -> dict[str, Any]:
    """Return the paths of up to nine matrices, those that move most."""
    steps, products = of.weight_products
    last = of.run.last_readable().weights
    matrices = {name: one for name, one in products.items() if last[name].ndim >= 2}
    moved = sorted(matrices, key=lambda name: -float(matrices[name].trace()))
    shown = [name for name in matrices if name in moved[:_MOST]]
    each = {name: _arrays(matrices[name]) for name in shown}
    return {
        "paths": {name: path for name, (path, _) in each.items()},
        "shares": {name: shares for name, (_, shares) in each.items()}, "steps": steps,
        "left_out": [name for name in matrices if name not in shown],
    }  # fmt: skip


def _points(path: Float[np.ndarray, "checkpoint 2"], steps: Int[np.ndarray, " checkpoint"]) -> go.Scatter:
    return go.Scatter(
        x=path[:, 0], y=path[:, 1], mode="lines+markers", line={"color": "#bbb", "width": 1.5}, showlegend=False,
        marker={"color": steps, "coloraxis": "coloraxis", "size": 8}, text=[f"step {step:,}" for step in steps],
        hovertemplate="%{text}<extra></extra>",
    )  # fmt: skip


def _coloured_by_step(figure: go.Figure) -> None:
    figure.update_layout(
        coloraxis={"colorscale": "Viridis", "colorbar": {
            "title": {"text": "step", "side": "right"}, "thickness": 16, "tickformat": ",d", "tickfont": {"size": 16},
        }},
        hovermode="closest",
    )  # fmt: skip


@declared.figure(
    "run", title="The path of the weights",
    caption="All weights at each checkpoint, along the two directions in which they move most. A sharp turn is a "
    "change of what training does: from memorizing to forming the circuit, and on to cleanup.",
    data=_path,
)  # fmt: skip
@checks_arrays
def weights_path(
    path: Float[np.ndarray, "checkpoint 2"], shares: Float[np.ndarray, " 2"], steps: Int[np.ndarray, " checkpoint"],
    phases: Phases | None = None,
) -> go.Figure:  # fmt: skip
    """Draw the weights of all checkpoints along their first two principal components, with the ends of the phases.

    Takes the steps of the checkpoints, and `measures.weights.principal_components` of their inner products.
    """
    figure = panels([component(2, shares[1])], 440, component(1, shares[0]), 3)
    figure.add_trace(_points(path, steps))
    ends = [] if phases is None else phases.ends()
    for index, (name, end) in enumerate(ends):
        figure.add_trace(
            go.Scatter(
                x=[np.interp(end, steps, path[:, 0])], y=[np.interp(end, steps, path[:, 1])], mode="markers",
                name=f"end of {name}", hovertemplate=f"step {end:,}<extra></extra>",
                marker={"symbol": _SYMBOLS[index % 3], "size": 16, "color": VERMILLION,
                        "line": {"color": BLACK, "width": 1}},
            )
        )  # fmt: skip
    _coloured_by_step(figure)
    return figure.update_xaxes(tickformat="~g")


@declared.figure(
    "run", title="The path of each weight matrix",
    caption="Each matrix at each checkpoint, along the two directions in which it moves most, with their shares of the "
    "variance. All have the same steps: a part that turns before another changes first.",
    data=_paths,
)  # fmt: skip
@checks_arrays
def weights_path_by_part(
    paths: Mapping[str, Float[np.ndarray, "checkpoint 2"]], shares: Mapping[str, Float[np.ndarray, " 2"]],
    steps: Int[np.ndarray, " checkpoint"], left_out: list[str] | tuple[str, ...] = (),
) -> go.Figure:  # fmt: skip
    """Draw the path of each weight matrix along its own first two principal components, a panel each.

    Takes by name of the matrix the arguments of `weights_path`; `left_out` names matrices that are not drawn.
    """
    from plotly.subplots import make_subplots  # slow to import

    paths, shares = frames(paths, "paths"), frames(shares, "shares")
    if not paths or set(paths) != set(shares):
        raise ConfigError(f"shares must name the matrices of paths, at least one; got {given(list(shares))}.")
    columns = min(3, len(paths))
    rows = -(-len(paths) // columns)
    titles = [f"{_short(name)}<br>{shares[name][0]:.0%}, {shares[name][1]:.0%}" for name in paths]
    figure = make_subplots(rows, columns, subplot_titles=titles, horizontal_spacing=0.06, vertical_spacing=0.3 / rows)
    for index, (name, path) in enumerate(paths.items()):
        if len(path) != len(steps):
            raise ConfigError(f"steps must have an entry for each of {len(path)} points of {name}; got {len(steps)}.")
        points = _points(path, steps).update(name=name, hovertemplate="%{text}<extra>%{fullData.name}</extra>")
        figure.add_trace(points, row=index // columns + 1, col=index % columns + 1)
        if index + columns >= len(paths):
            figure.update_xaxes(title_text="component 1", row=index // columns + 1, col=index % columns + 1)
    figure.update_yaxes(title_text="component 2", col=1)
    figure.update_layout(
        template="simple_white", width=WIDTH, height=210 * rows + 150, margin={"l": 60, "r": 15, "t": 60, "b": 70},
        font={"size": 17, "family": "Arial, Helvetica, sans-serif"},
    )  # fmt: skip
    figure.update_annotations(font_size=15)
    figure.update_xaxes(showticklabels=False, ticks="", mirror=True)
    figure.update_yaxes(showticklabels=False, ticks="", mirror=True)
    figure.update_traces(marker_size=5)
    _coloured_by_step(figure)
    note_missing(figure, left_out, "they move less than the others")
    return figure


def _short(name: str) -> str:
    return name if len(name) <= _LETTERS else f"…{name[1 - _LETTERS :]}"


@declared.figure(
    "model", title="The loss around the weights",
    caption="Train and test loss along random directions through the weights; at 0.1 every row of each weight is "
    "changed by a tenth of its length. A wide valley is a solution that does not hang on exact weights.",
    source="after Li et al. (2018)", data=lambda of: {"losses": of.losses_around},
)  # fmt: skip
def loss_around(losses: pd.DataFrame) -> go.Figure:
    """Draw losses against the distance from the weights, a line a direction (`interp.study.landscapes`)."""
    need(losses, "direction", "distance", of="frame")
    kinds = [name for name in ("train_loss", "test_loss", "loss") if name in losses]
    need(losses, *(kinds or ["loss"]), of="frame")
    figure = panels(
        [f"{name.replace('_', ' ').capitalize()} (nats)" for name in kinds], x_title="Distance ÷ length of the weights"
    )
    for row, kind in enumerate(kinds, 1):
        for index, (direction, one) in enumerate(losses.groupby("direction")):
            style = look(index)
            line(figure, one["distance"], one[kind], f"direction {direction}", row, style, legend=row == 1)
        decades(figure, row)
    return figure.update_xaxes(tickformat="~g")
