"""Figures of the embedding: its waves, the circles of its frequencies, and its principal components."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import plotly.graph_objects as go
from jaxtyping import Float

from interp.measures.embedding import circle_directions, embedding_norms, on_circle
from interp.measures.weights import principal_components
from interp.plot import declared
from interp.plot.base import WIDTH, both_signs, component, maps_side_by_side, note_doubts, waves
from interp.subjects.subject import Missing
from interp.tasks.fourier import by_frequency, fourier_basis, frequencies_of
from interp.utils.arguments import checks_arrays
from interp.utils.errors import ConfigError

if TYPE_CHECKING:
    from interp.plot.shown import Shown

_MOST = 6  # circles in one figure


def _circles(of: Shown) -> dict[str, Any]:
    """Return the numbers on the circles of up to six key frequencies, those with the largest norms in W_E."""
    norms = by_frequency(embedding_norms(of.subject))
    shown = sorted(sorted(of.key_frequencies, key=lambda k: -float(norms[k - 1]))[:_MOST])
    if not shown:
        raise Missing("there is no key frequency")
    W = of.subject.W_E
    return {
        "points": np.stack([on_circle(W, circle_directions(W, k)).numpy() for k in shown]), "frequencies": shown,
        "doubt": of.measures.key_doubt,
    }  # fmt: skip


@declared.figure(
    "model", title="The numbers on the circles of the embedding",
    caption="Each number n at its place along the cosine and the sine direction of a key frequency k in W_E. In a "
    "network that has grokked they stand on a circle, in the order of k·n mod p, so that colours follow one another. 0 "
    "has a black ring.",
    data=_circles,
)  # fmt: skip
@checks_arrays
def embedding_circles(
    points: Float[np.ndarray, "n p 2"], frequencies: Sequence[int], doubt: str | None = None
) -> go.Figure:
    """Draw the p numbers on the circle of each of n frequencies; 0 has a black ring.

    Takes `measures.embedding.on_circle` of each frequency's `circle_directions`.
    """
    from plotly.subplots import make_subplots  # slow to import

    p = points.shape[1]
    frequencies = frequencies_of(p, frequencies)
    if len(points) != len(frequencies) or not len(points):
        raise ConfigError(f"points must hold each of {len(frequencies)} frequencies, at least one; got {len(points)}.")
    columns = min(len(points), 1 if len(points) == 1 else 2 if len(points) in (2, 4) else 3)
    rows = -(-len(points) // columns)
    figure = make_subplots(
        rows=rows, cols=columns, subplot_titles=[f"k = {k}" for k in frequencies], shared_xaxes=True,
        shared_yaxes=True, horizontal_spacing=0.05, vertical_spacing=0.1 if rows > 1 else 0,
    )  # fmt: skip
    limit = 1.1 * float(np.abs(points).max()) or 1.0
    for index, (k, on) in enumerate(zip(frequencies, points, strict=True)):
        row, col = index // columns + 1, index % columns + 1
        figure.add_trace(_numbers(on, k * np.arange(p) % p, 6 if columns > 1 else 9), row=row, col=col)
        lowest = index + columns >= len(points)
        figure.update_xaxes(title_text="along cosine" if lowest else None, showticklabels=lowest, row=row, col=col)
    side = (WIDTH - 200) / columns
    _square(figure, f"k·n mod {p}", side * rows + 60 * rows + 60)
    figure.update_xaxes(range=[-limit, limit], nticks=4, tickangle=0)
    figure.update_yaxes(range=[-limit, limit], nticks=4)
    figure.update_yaxes(title_text="along sine", col=1)
    figure.update_layout(coloraxis={"cmin": 0, "cmax": p})
    note_doubts(figure, doubt)
    return figure


def _numbers(points: Float[np.ndarray, "p 2"], colours: np.ndarray, size: int) -> go.Scatter:
    """Return the numbers as points of these colours; 0 is drawn last, with a black ring."""
    order = np.arange(len(points))[::-1]
    edge = np.where(order == 0, 2.5, 0.5)
    return go.Scatter(
        x=points[order, 0], y=points[order, 1], mode="markers", showlegend=False, text=[f"n = {n}" for n in order],
        marker={"size": size, "color": colours[order], "coloraxis": "coloraxis",
                "line": {"width": edge, "color": ["black" if n == 0 else "white" for n in order]}},
        hovertemplate="%{text}: (%{x:.3g}, %{y:.3g})<extra></extra>",
    )  # fmt: skip


def _square(figure: go.Figure, scale: str, height: float) -> None:
    """Give points the house style, cyclic colours, and axes on which a unit is equally long."""
    figure.update_layout(
        template="simple_white", width=WIDTH, height=height,
        font={"size": 18, "family": "Arial, Helvetica, sans-serif"}, margin={"l": 85, "r": 20, "t": 40, "b": 65},
        coloraxis={"colorscale": "Phase", "colorbar": {"title": {"text": scale, "side": "right"}, "thickness": 16}},
    )  # fmt: skip
    figure.update_annotations(font_size=17)
    for index, axis in enumerate(figure.select_yaxes(), 1):
        axis.update(scaleanchor=f"x{index if index > 1 else ''}", showgrid=True, gridcolor="#eee", nticks=5)
    figure.update_xaxes(showgrid=True, gridcolor="#eee", nticks=5, constrain="domain")


@declared.figure(
    "model", title="The embedding in the Fourier basis",
    caption="What each dimension of the residual stream holds of each wave of the number. Before grokking all rows are "
    "alike; afterwards the rows of the key frequencies hold nearly everything. Zero is white.",
    source="Nanda et al. (2023)",
    data=lambda of: {"coefficients": (fourier_basis(of.subject.task.p) @ of.subject.W_E.double()).numpy()},
)  # fmt: skip
@checks_arrays
def embedding_in_fourier_basis(coefficients: Float[np.ndarray, "p d"]) -> go.Figure:
    """Draw F · W_E, a row a cosine or a sine of the number, a column a dimension; zero is white."""
    figure = maps_side_by_side(
        [("", coefficients)], 1, ("dimension of the embedding", "frequency k"), "coefficient", "RdBu",
        both_signs(coefficients),
    )  # fmt: skip
    figure.update_yaxes(**waves(len(coefficients)))
    return figure


def _components(of: Shown) -> dict[str, Any]:
    W = of.subject.W_E.double()
    points, shares = principal_components(W @ W.T)
    return {"points": points.numpy(), "shares": shares.numpy()}


@declared.figure(
    "model", title="The embedding in its principal components",
    caption="The p numbers along the two directions in which their embeddings differ most, coloured by the number. "
    "Once few frequencies are left these are waves of one or two of them: a circle, or a pattern of loops. 0 has a "
    "black ring.",
    data=_components,
)  # fmt: skip
@checks_arrays
def embedding_components(points: Float[np.ndarray, "p 2"], shares: Float[np.ndarray, " 2"]) -> go.Figure:
    """Draw the numbers along the first two principal components of W_E; 0 has a black ring.

    Takes `measures.weights.principal_components` of W_E · W_Eᵀ.
    """
    figure = go.Figure(_numbers(points, np.arange(len(points)), 9))
    _square(figure, "number n", WIDTH - 110)
    figure.update_layout(coloraxis={"cmin": 0, "cmax": len(points)})
    figure.update_xaxes(title_text=component(1, shares[0]))
    figure.update_yaxes(title_text=component(2, shares[1]))
    return figure
