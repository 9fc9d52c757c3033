"""Figures built from data frames and measures; a figure computes nothing, and is written by `save`.

Sized for one printed column: at 8.3 cm wide its smallest letters are 7 points high. Colours are Okabe and Ito's, told
apart by colour-blind readers, and lines differ by dash too.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from jaxtyping import Float

from interp.errors import ConfigError
from interp.run import write_whole

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from interp.phases import Phases

BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY, YELLOW, BLACK = (
    "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#F0E442", "#000000",
)  # fmt: skip
_LINES: dict[str, dict[str, str]] = {
    "train": {"color": BLUE, "dash": "solid"},
    "test": {"color": VERMILLION, "dash": "dash"},
    "restricted": {"color": PURPLE, "dash": "solid"},
    "excluded": {"color": GREEN, "dash": "dashdot"},
}
_KEYS = (BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY, BLACK)
_DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")
_SHADES = {"memorization": SKY, "circuit formation": YELLOW, "cleanup": ORANGE, "grokked": "#999999"}

_WIDTH, _PANEL, _FONT = 640, 250, 20
_STEP = "Training step"
_FORMATS = ("pdf", "png")


def _panels(titles: Sequence[str], height: int = _PANEL, x_title: str = _STEP, shared_x: bool = True) -> go.Figure:
    """Stacked panels that share their x axis, with room for a legend above."""
    from plotly.subplots import make_subplots

    rows = len(titles)
    total = rows * height + 150
    figure = make_subplots(rows=rows, cols=1, shared_xaxes=shared_x, vertical_spacing=0.14 / rows + 0.02)
    figure.update_layout(
        template="simple_white",
        width=_WIDTH,
        height=total,
        font={"size": _FONT, "family": "Arial, Helvetica, sans-serif"},
        margin={"l": 105, "r": 15, "t": 85, "b": 70},
        legend={"orientation": "h", "x": 0, "y": 1 + 12 / (rows * height), "yanchor": "bottom", "font": {"size": 18}},
        hovermode="x unified",
    )
    figure.update_xaxes(tickfont={"size": 18}, separatethousands=True, tickformat=",d", showgrid=True, gridcolor="#eee")
    for row, title in enumerate(titles, 1):
        figure.update_yaxes(title_text=title, tickfont={"size": 18}, row=row, col=1, showgrid=True, gridcolor="#eee")
    figure.update_xaxes(title_text=x_title, row=rows, col=1)
    return figure


def _decades(figure: go.Figure, row: int, lowest: float = 0.0) -> None:
    """A log axis from `lowest` up, with a tick every decade, or every few where there are many, or more where few."""
    drawn = [np.asarray(trace.y, dtype=float) for trace in figure.select_traces(row=row, col=1)]
    values = np.concatenate(drawn)
    values = values[np.isfinite(values) & (values > lowest)]
    axis = {"type": "log", "exponentformat": "power", "row": row, "col": 1}
    if len(values):
        first, last = np.log10(values.min()), np.log10(values.max())
        margin = 0.05 * (last - first) + 0.05
        axis["range"] = [first - margin, last + margin]
        axis["dtick"] = int(np.ceil((last - first) / 6)) if last - first >= 2 else "D2"  # D2: 1, 2 and 5
    figure.update_yaxes(**axis)


def _line(
    figure: go.Figure, x: pd.Series, y: pd.Series, name: str, row: int, style: dict[str, str], legend: bool = True
) -> None:
    import plotly.graph_objects as go

    figure.add_trace(
        go.Scatter(x=x, y=y, name=name, legendgroup=name, showlegend=legend, mode="lines", line={"width": 3, **style}),
        row=row,
        col=1,
    )


def _need(frame: pd.DataFrame, *names: str) -> None:
    if lacking := [name for name in ("step", *names) if name not in frame or frame[name].isna().all()]:
        raise ConfigError(f"this figure needs the columns {', '.join(lacking)}, which the trajectory does not have.")


def training_curves(history: pd.DataFrame) -> go.Figure:
    """Accuracy and loss on train and test pairs over training (Nanda et al., 2023, figure 2), from `run.history`.

    Where no accuracies were recorded, as in most files of other people's runs, only the losses are drawn.
    """
    _need(history, "train_loss", "test_loss")
    kinds = [
        kind for kind in ("accuracy", "loss") if history.get(f"train_{kind}", pd.Series(dtype=float)).notna().any()
    ]
    figure = _panels([{"accuracy": "Accuracy", "loss": "Loss (nats)"}[kind] for kind in kinds])
    for row, kind in enumerate(kinds, 1):
        for name in ("train", "test"):
            recorded = history.dropna(subset=f"{name}_{kind}")  # one may be recorded more often than the other
            _line(figure, recorded["step"], recorded[f"{name}_{kind}"], name, row, _LINES[name], legend=row == 1)
    if kinds[0] == "accuracy":
        figure.update_yaxes(range=[-0.03, 1.03], tickformat=".0%", row=1, col=1)
    _decades(figure, len(kinds))
    return figure


def progress_measures(trajectory: pd.DataFrame, phases: Phases | None = None) -> go.Figure:
    """Excluded and restricted loss, their ratio to test loss, and Σ squared weights, the phases shaded and named.

    After Nanda et al. (2023), figure 7. `trajectory` is what `interp.trajectory` returns.
    """
    _need(trajectory, "train_loss", "test_loss", "excluded_loss", "restricted_loss", "sum_squared_weights")
    figure = _panels(["Loss (nats)", "Loss ÷ test loss", "Σ weights²"])
    step = trajectory["step"]
    for name in ("train", "test", "restricted", "excluded"):
        _line(figure, step, trajectory[f"{name}_loss"], name, 1, _LINES[name])
    for name in ("restricted", "excluded"):
        _line(figure, step, trajectory[f"{name}_loss"] / trajectory["test_loss"], name, 2, _LINES[name], legend=False)
    _line(figure, step, trajectory["sum_squared_weights"], "Σ weights²", 3, {"color": BLACK, "dash": "solid"}, False)
    figure.add_hline(y=1, line={"color": "#888", "width": 1.5, "dash": "dot"}, row=2, col=1)
    _decades(figure, 1)
    _decades(figure, 2)
    figure.update_yaxes(rangemode="tozero", row=3, col=1)
    if phases is not None:
        _shade(figure, phases, float(step.iloc[-1]))
    return figure


def _shade(figure: go.Figure, phases: Phases, last: float) -> None:
    """Colour each phase through all panels and write its name in the last one, upright where it is too narrow."""
    panels = len(list(figure.select_yaxes()))
    last_panel = str(panels) if panels > 1 else ""
    inside = _WIDTH - figure.layout.margin.l - figure.layout.margin.r
    for name, first, end in phases.spans():
        figure.add_vrect(x0=first, x1=end, fillcolor=_SHADES[name], opacity=0.22, line_width=0, layer="below",
                         row="all", col=1)  # fmt: skip
        narrow = (end - first) / last * inside < 9 * len(name)
        figure.add_annotation(
            x=(first + end) / 2, y=0.03, xref=f"x{last_panel}", yref=f"y{last_panel} domain", text=name,
            textangle=-90 if narrow else 0, showarrow=False, yanchor="bottom", font={"size": 17},
            bgcolor="rgba(255,255,255,0.6)",
        )  # fmt: skip


def _over_training(
    trajectory: pd.DataFrame,
    lines: dict[str, str],
    y_title: str,
    phases: Phases | None,
    styles: Sequence[dict[str, str]] | None = None,
    legend_rows: int = 1,
) -> go.Figure:
    """One panel of columns of a trajectory over its steps; `lines` maps a label to its column."""
    _need(trajectory, *lines.values())
    figure = _panels([y_title], height=400)
    for index, (label, column) in enumerate(lines.items()):
        style = {"color": _KEYS[index % len(_KEYS)], "dash": _DASHES[index % len(_DASHES)]}
        _line(figure, trajectory["step"], trajectory[column], label, 1, styles[index] if styles else style)
    if legend_rows > 1:
        margin = 35 + 27 * legend_rows
        figure.update_layout(margin={"t": margin}, height=400 + 65 + margin)
    if phases is not None:
        _shade(figure, phases, float(trajectory["step"].iloc[-1]))
    return figure


def accuracies(trajectory: pd.DataFrame, phases: Phases | None = None) -> go.Figure:
    """Accuracy on train and test pairs, of the key frequencies alone, and of the logits without them.

    After the appendix of Nanda et al. (2023). `trajectory` is what `interp.trajectory` returns.
    """
    lines = {name: f"{name}_accuracy" for name in _LINES}
    figure = _over_training(trajectory, lines, "Accuracy", phases, [_LINES[name] for name in lines])
    figure.update_yaxes(range=[-0.03, 1.03], tickformat=".0%")
    return figure


def excluded_losses(trajectory: pd.DataFrame, phases: Phases | None = None) -> go.Figure:
    """Excluded loss with one key frequency removed at a time, on train pairs (Nanda et al., 2023, appendix)."""
    columns = [name for name in map(str, trajectory.columns) if name.startswith("excluded_loss_")]
    if not columns:
        raise ConfigError("this figure needs the columns excluded_loss_K, which the trajectory does not have.")
    lines = {f"without k = {name.rsplit('_', 1)[1]}": name for name in columns}
    figure = _over_training(trajectory, lines, "Excluded loss (nats)", phases, legend_rows=(len(lines) + 2) // 3)
    _decades(figure, 1)
    return figure


def ginis(trajectory: pd.DataFrame, phases: Phases | None = None) -> go.Figure:
    """Gini coefficients of the Fourier norms of W_E and W_L: how few frequencies hold them (Nanda et al., appendix)."""
    lines = {"W<sub>E</sub>": "embedding_gini", "W<sub>L</sub>": "unembedding_gini"}
    figure = _over_training(trajectory, lines, "Gini coefficient", phases)
    figure.update_yaxes(range=[0, 1])
    return figure


def circuit_formation(trajectory: pd.DataFrame, phases: Phases | None = None) -> go.Figure:
    """In which order output, neurons and attention take the shape that they end in; all are shares, 1 at the most."""
    lines = {
        "W<sub>L</sub> in key directions": "neuron_logit_key_share",
        "logits explained": "logit_variance_explained",
        "neurons along u, v": "neuron_projection_share",
        "single-frequency neurons": "single_frequency_neurons",
        "attention of one frequency": "attention_share",
        "W<sub>L</sub> like its end": "neuron_logit_alignment",
        "W<sub>E</sub> like its end": "embedding_alignment",
    }
    figure = _over_training(trajectory, lines, "Share", phases, legend_rows=4)
    figure.update_yaxes(range=[0, 1.03], tickformat=".0%")
    return figure


def cos_coefficients(trajectory: pd.DataFrame, key_frequencies: Sequence[int] | None = None) -> go.Figure:
    """|c_k| of every cos w_k(a+b−c) over training, the key frequencies in colour and the rest in grey.

    `key_frequencies` defaults to those that `interp.trajectory` leaves in `trajectory.attrs`.
    """
    keys = tuple(key_frequencies if key_frequencies is not None else trajectory.attrs.get("key_frequencies") or ())
    names = [name for name in map(str, trajectory.columns) if name.startswith("cos_coefficient_")]
    if not names:
        raise ConfigError("this figure needs the columns cos_coefficient_1, …, which the trajectory does not have.")
    figure = _panels(["|coefficient of cos w<sub>k</sub>(a+b−c)|"], height=420)
    rest = [name for name in names if int(name.rsplit("_", 1)[1]) not in keys]
    for index, name in enumerate(rest):
        label = "other k" if keys else "every k"
        _line(figure, trajectory["step"], trajectory[name].abs(), label, 1, {"color": "#bbb"}, legend=index == 0)
    figure.update_traces(line_width=1, hoverinfo="skip")
    for index, k in enumerate(keys):
        style = {"color": _KEYS[index % len(_KEYS)], "dash": _DASHES[index % len(_DASHES)]}
        _line(figure, trajectory["step"], trajectory[f"cos_coefficient_{k}"].abs(), f"k = {k}", 1, style)
    # The losers end in rounding noise, eight decades under the winners: cut there.
    _decades(figure, 1, lowest=float(trajectory[names].abs().to_numpy().max()) * 10**-6.5)
    return figure


def mechanism(models: pd.DataFrame) -> go.Figure:
    """Gradient symmetricity, and distance irrelevance, against the attention coefficient, a point a model.

    Pizzas lie high in the first panel and low in the second, clocks the other way round (Zhong et al., 2023).
    `models` is what `interp.compare(models, mechanism=True)` returns; rows without attention or without a measure are
    left out, and distance irrelevance too where no row has it.
    """
    import plotly.graph_objects as go

    lacking = [name for name in ("attention_coefficient", "gradient_symmetricity") if name not in models]
    drawn = models if lacking else models.dropna(subset=["attention_coefficient", "gradient_symmetricity"])
    if lacking or drawn.empty:
        raise ConfigError(
            f"this figure needs {' and '.join(lacking) or 'models with attention'}; give it what "
            "compare(models, mechanism=True) returns."
        )
    titles = {"gradient_symmetricity": "Gradient symmetricity", "distance_irrelevance": "Distance irrelevance"}
    shown = [name for name in titles if name in drawn and drawn[name].notna().any()]
    figure = _panels([titles[name] for name in shown], x_title="Attention coefficient (0: constant, 1: softmax)")
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


def fourier_norms(
    embedding_norms: Float[np.ndarray, " p"],
    unembedding_norms: Float[np.ndarray, " p"],
    key_frequencies: Sequence[int] = (),
) -> go.Figure:
    """Norms of W_E and of the neuron-logit map W_L along each cosine and sine (Nanda et al., 2023, figure 3).

    Takes `embedding_norms`, `unembedding_norms` and `key_frequencies` of ProgressMeasures. F is the Fourier basis, and
    W_L = W_out·W_U is transformed over outputs. The constant is left out, the key frequencies are labelled.
    """
    import plotly.graph_objects as go

    figure = _panels(
        ["Norm of F·W<sub>E</sub>", "Norm of F·W<sub>L</sub>"], x_title="Frequency k (key frequencies labelled)"
    )
    for row, norms in enumerate((embedding_norms, unembedding_norms), 1):
        cosines, sines = norms[1::2], norms[2::2]
        for values, name, colour in ((cosines, "cos", BLUE), (sines, "sin", ORANGE)):
            figure.add_trace(
                go.Bar(
                    x=np.arange(1, len(values) + 1), y=values, name=name, legendgroup=name, showlegend=row == 1,
                    marker={"color": colour, "line": {"width": 0}},
                ),
                row=row, col=1,
            )  # fmt: skip
        for k in key_frequencies:
            tallest = max(norms[2 * k - 1], norms[2 * k] if 2 * k < len(norms) else 0.0)
            crowded = {near - k for near in key_frequencies if 0 < abs(near - k) <= 2}
            side = "center" if not crowded else "right" if max(crowded) > 0 else "left"
            figure.add_annotation(x=k, y=tallest, text=str(k), showarrow=False, yanchor="bottom", xanchor=side,
                                  font={"size": 17}, row=row, col=1)  # fmt: skip
        figure.update_yaxes(range=[0, 1.15 * float(norms[1:].max())], row=row, col=1)
    figure.update_layout(bargap=0.15, bargroupgap=0.0)
    figure.update_xaxes(range=[0, len(embedding_norms) // 2 + 1], showgrid=False)
    return figure


def _maps(
    maps: Sequence[tuple[str, Float[np.ndarray, "rows cols"]]],
    columns: int,
    axes: tuple[str, str],
    scale: str,
    colours: str = "Viridis",
    limits: tuple[float, float] | None = None,
) -> go.Figure:
    """Titled heat maps side by side under one colour scale; `axes` name x and y. Limits around 0 keep signs apart."""
    import plotly.graph_objects as go
    from plotly.subplots import make_subplots

    rows = -(-len(maps) // columns)
    low, high = limits or (min(float(m.min()) for _, m in maps), max(float(m.max()) for _, m in maps))
    figure = make_subplots(
        rows=rows, cols=columns, subplot_titles=[title for title, _ in maps], shared_xaxes=True, shared_yaxes=True,
        horizontal_spacing=0.05, vertical_spacing=0.09 if rows > 1 else 0,
    )  # fmt: skip
    for index, (_, values) in enumerate(maps):
        figure.add_trace(go.Heatmap(z=values, coloraxis="coloraxis"), row=index // columns + 1, col=index % columns + 1)
    figure.update_layout(
        template="simple_white", width=_WIDTH, height=(_WIDTH - 190) // columns * rows + 70 * rows + 70,
        font={"size": 18, "family": "Arial, Helvetica, sans-serif"}, margin={"l": 75, "r": 20, "t": 45, "b": 65},
        coloraxis={
            "colorscale": colours, "cmin": low, "cmax": high,
            "colorbar": {"title": {"text": scale, "side": "right"}, "thickness": 16},
        },
    )  # fmt: skip
    figure.update_annotations(font_size=17)
    for index in range(len(maps)):
        if index + columns >= len(maps):  # nothing stands beneath
            figure.update_xaxes(
                title_text=axes[0], showticklabels=True, row=index // columns + 1, col=index % columns + 1
            )
    figure.update_yaxes(title_text=axes[1], col=1)
    return figure


def _waves(p: int) -> dict[str, Any]:
    """Ticks of an axis whose rows are those of the Fourier basis of Z_p: at frequency k stand rows 2k − 1 and 2k."""
    every = max(1, p // 12 // 5 * 5)
    shown = range(every, p // 2 + 1, every)
    return {"tickvals": [0, *(2 * k - 0.5 for k in shown)], "ticktext": ["const", *map(str, shown)]}


def attention_over_pairs(
    pattern: Float[np.ndarray, "p p n_heads n_ctx"], shares: Float[np.ndarray, "n_frequencies n_heads 2"]
) -> go.Figure:
    """Attention of each head from the last position to a, over all pairs, with the frequency that explains most of it.

    After Nanda et al. (2023). Takes `Activations.pattern` and `measures.attention.attention_shares` of it.
    """
    heads = range(pattern.shape[2])
    best = shares[:, :, 0].argmax(0)
    maps = [(f"head {h}: k = {best[h] + 1}, {shares[best[h], h, 0]:.0%}", pattern[:, :, h, 0]) for h in heads]
    return _maps(
        maps, 2 if len(heads) > 1 else 1, ("b", "a"), "attention to a", limits=(0.0, float(pattern[..., 0].max()))
    )


def neurons_over_pairs(
    neurons: Float[np.ndarray, "p p d_mlp"], shares: Float[np.ndarray, "n_frequencies d_mlp"]
) -> go.Figure:
    """Activations over all pairs of the purest neuron of each frequency (five at the most), and of the least pure one.

    Each as a share of its largest. After Nanda et al. (2023). Takes `Activations.neurons` and
    `measures.neurons.frequency_shares` of them.
    """
    own, purity = shares.argmax(0), shares.max(0)
    pure = purity > 0.85
    found = sorted({int(k) for k in own[pure]}, key=lambda k: -int((pure & (own == k)).sum()))[:5]
    if not found:
        raise ConfigError(
            "this figure shows neurons of one frequency, and none has more than 0.85 of its variance in one."
        )
    chosen = [int(np.where(own == k, purity, 0).argmax()) for k in sorted(found)]
    alive = neurons.max((0, 1)) > 0
    chosen += [int(np.where(alive, purity, np.inf).argmin())] if not pure[alive].all() else []
    maps = [(f"{n}: k = {own[n] + 1}, {purity[n]:.0%}", neurons[:, :, n] / neurons[:, :, n].max()) for n in chosen]
    return _maps(
        maps, min(3, len(maps)), ("b", "a"), "activation ÷ largest", limits=(min(float(m.min()) for _, m in maps), 1.0)
    )


def logit_fourier_norms(norms: Float[np.ndarray, "p p"]) -> go.Figure:
    """The size of each component of the logits along products of waves of a and of b, on a logarithmic scale.

    After Nanda et al. (2023). Takes `measures.logits.fourier_norms_2d` of the logits. At each frequency stand
    its cosine and its sine.
    """
    decades = np.log10(np.maximum(norms, norms.max() * 1e-4))
    figure = _maps([("", decades)], 1, ("frequency of b", "frequency of a"), "log<sub>10</sub> norm over c")
    figure.update_xaxes(**_waves(len(norms)))
    figure.update_yaxes(**_waves(len(norms)))
    return figure


def neuron_purity(shares: Float[np.ndarray, "n_frequencies d_mlp"]) -> go.Figure:
    """How much of each neuron's variance over pairs its one frequency explains, by frequency.

    Takes `measures.neurons.frequency_shares`. The line is at 0.85, from where a neuron counts as of one frequency.
    """
    import plotly.graph_objects as go

    own, purity = shares.argmax(0) + 1, shares.max(0)
    counted = sorted(set(own.tolist()), key=lambda k: -int((own == k).sum()))
    shown = sorted(counted[: len(_KEYS) - 1])
    figure = _panels(["Neurons"], height=400, x_title="Share of variance in one frequency")
    groups = [(f"k = {k}", own == k, _KEYS[i]) for i, k in enumerate(shown)]
    groups += [("other k", ~np.isin(own, shown), "#bbb")] if len(counted) > len(shown) else []
    for name, members, colour in groups:
        figure.add_trace(
            go.Histogram(x=purity[members], name=name, marker_color=colour, xbins={"start": 0, "end": 1, "size": 0.025})
        )
    figure.add_vline(x=0.85, line={"color": "#555", "width": 1.5, "dash": "dot"})
    figure.update_layout(barmode="stack", margin={"t": 115}, height=620, legend_traceorder="normal")
    figure.update_xaxes(range=[0, 1], tickformat=".0%", showgrid=False)
    return figure


def neuron_logit_weights(weights: Float[np.ndarray, "p n"], k: int, phases: Float[np.ndarray, " n"]) -> go.Figure:
    """What the neurons of one frequency add to the logits, along each wave of c, ordered by their output phase.

    After Nanda et al. (2023): only the cosine and the sine of k are there. Takes F · W_Lᵀ of these neurons
    and their `measures.neurons.output_phases`. Zero is white.
    """
    order = np.argsort(phases)
    top = float(np.abs(weights).max())
    shown = [(f"neurons of k = {k}", weights[:, order])]
    figure = _maps(shown, 1, ("neuron, by output phase", "frequency of c"), "weight", "RdBu", (-top, top))
    figure.update_yaxes(**_waves(len(weights)))
    return figure


def attention_scores(
    norms: Float[np.ndarray, "n_frequencies n_heads"], key_frequencies: Sequence[int] = ()
) -> go.Figure:
    """How much each frequency of the number attended to moves each head's score, from "=".

    Takes `fourier.by_frequency(fourier_basis(p) @ score_vectors.T)`; the key frequencies are marked. The score vectors
    are those of `measures.attention.score_vectors`.
    """
    import plotly.graph_objects as go

    figure = _panels(["Norm of the score vector"], height=400, x_title="Frequency k")
    for h in range(norms.shape[1]):
        figure.add_trace(
            go.Scatter(
                x=np.arange(1, len(norms) + 1), y=norms[:, h], name=f"head {h}", mode="lines+markers",
                line={"color": _KEYS[h % len(_KEYS)], "width": 2}, marker={"size": 7, "symbol": h},
            )
        )  # fmt: skip
    for k in key_frequencies:
        figure.add_vline(x=k, line={"color": "#999", "width": 1.5, "dash": "dot"}, layer="below")
    figure.update_yaxes(rangemode="tozero")
    figure.update_xaxes(range=[0, len(norms) + 1], showgrid=False)
    return figure


@contextlib.contextmanager
def one_browser() -> Iterator[None]:
    """Keep one browser for all figures saved within: a tenth of the time of one each. Without any, no matter."""
    try:
        import kaleido
        import plotly.graph_objects as go

        go.Figure().to_image("png")  # a server whose browser does not start would wait for ever
        kaleido.start_sync_server(silence_warnings=True)
    except (ImportError, ValueError, RuntimeError, OSError):  # then `save` says what is missing
        yield
        return
    try:
        yield
    finally:
        kaleido.stop_sync_server(silence_warnings=True)


def save(figure: go.Figure, folder: Path, name: str, formats: Sequence[str] = _FORMATS) -> list[Path]:
    """Write NAME.html, which can be zoomed and hovered over, and NAME.pdf and NAME.png; the files written.

    Static formats need kaleido and a Chrome or Chromium. Without them the HTML is still written, and one warning says
    what to install.
    """
    folder.mkdir(parents=True, exist_ok=True)
    html = figure.to_html(include_plotlyjs=True, full_html=True)
    written = [folder / f"{name}.html"]
    write_whole(written[0], lambda temporary: temporary.write_text(html, encoding="utf-8"))
    try:
        for suffix in formats:
            file = folder / f"{name}.{suffix}"
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", message="The kopts argument is ignored")  # with one browser for all
                image = figure.to_image(suffix, scale=2)
            write_whole(file, partial(Path.write_bytes, data=image))
            written.append(file)
    except (ImportError, ValueError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        warnings.warn(
            f"{name} was written as HTML only ({reason}); for PDF and PNG, pip install 'interp[export]' and install "
            "Chromium or Chrome.",
            stacklevel=2,
        )
    return written
