"""Figures show the numbers that they were given, with names and units, and reach the disk in every format."""

from pathlib import Path

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest

import interp
from interp import ConfigError, plot
from tests.processes import HAS_BROWSER, outside


@pytest.fixture(scope="module")
def trajectory(shipped):
    return interp.trajectory(shipped, progress=False)


def titles(figure: go.Figure, axis: str) -> list[str]:
    return [a.title.text for a in figure.select_yaxes() if axis == "y"] or [
        a.title.text for a in figure.select_xaxes() if a.title.text
    ]


def drawn(figure: go.Figure, name: str) -> list[go.Scatter]:
    return [trace for trace in figure.data if trace.name == name]


def named(figure: go.Figure) -> list[str]:
    """What the legend under a figure names of its shapes: phases, dips and a loss."""
    return [shape.name for shape in figure.layout.shapes if shape.showlegend]


def test_training_curves(shipped):
    figure = plot.training_curves(shipped.history)
    assert titles(figure, "y") == ["Accuracy", "Loss as trained (nats)"]
    assert titles(figure, "x") == ["Training step"]
    accuracy, loss = drawn(figure, "test")
    np.testing.assert_array_equal(accuracy.y, shipped.history["test_accuracy"])
    np.testing.assert_array_equal(loss.y, shipped.history["test_loss"])
    assert [axis.type for axis in figure.select_yaxes()] == [None, "log"]
    assert drawn(figure, "train")[0].line.dash != drawn(figure, "test")[0].line.dash


def test_progress_measures_with_their_phases(trajectory):
    ph = interp.phases(trajectory)
    figure = plot.progress_measures(trajectory, ph)
    assert titles(figure, "y") == ["Loss, p outputs (nats)", "Loss ÷ test loss", "Σ weights²"]
    loss, ratio = drawn(figure, "restricted")
    np.testing.assert_array_equal(loss.y, trajectory["restricted_loss"])
    np.testing.assert_array_equal(ratio.y, trajectory["restricted_loss"] / trajectory["test_loss"])
    shaded = {(shape.x0, shape.x1) for shape in figure.layout.shapes if shape.type == "rect"}
    assert shaded == {(first, last) for _, first, last in ph.spans()}
    assert named(figure) == [name for name, *_ in ph.spans()]
    assert len(plot.progress_measures(trajectory).layout.shapes) == 1  # the line at ratio 1


def test_what_a_run_lost_is_not_shaded_as_grokked():
    """It generalizes at 20, dips from 40 to 60 and from 80 to 90, and is lost at 110."""
    history = pd.DataFrame({
        "step": range(0, 130, 10),
        "train_accuracy": [0, *[1] * 12], "test_accuracy": [0, 0.5, 1, 1, 0.2, 0.95, 1, 1, 0.2, 1, 1, 0.2, 0.2],
        "train_loss": 1.0, "test_loss": np.exp([3, 2, -6, -7, *[0] * 9]),
    })  # fmt: skip
    ph = interp.phases(history)
    figure = plot.training_curves(history, ph)
    rectangles = {(shape.x0, shape.x1) for shape in figure.layout.shapes if shape.type == "rect"}
    assert rectangles == {(20, 30), (40, 60), (80, 90)}  # cleanup until it fell, two dips; nothing else is known
    lines = [(shape.x0, shape.x1, shape.yref) for shape in figure.layout.shapes if shape.type == "line"]
    assert lines == [(110, 110, "y domain"), (110, 110, "y2 domain")]
    assert named(figure) == ["cleanup, going on", "2 dips", "lost"]
    assert not figure.layout.annotations  # no name covers a curve
    assert not plot.training_curves(history).layout.shapes
    never = plot.training_curves(history, interp.phases(history.assign(test_accuracy=0.5)))
    assert not never.layout.shapes
    assert not never.layout.annotations


def test_cos_coefficients_tell_the_key_frequencies_from_the_rest(trajectory):
    figure = plot.cos_coefficients(trajectory)
    keys = trajectory.attrs["key_frequencies"]
    assert len(figure.data) == 56
    assert [t.name for t in figure.data if t.showlegend] == ["other k", *(f"k = {k}" for k in keys)]
    np.testing.assert_array_equal(drawn(figure, f"k = {keys[0]}")[0].y, trajectory[f"cos_coefficient_{keys[0]}"].abs())
    assert len({(t.line.color, t.line.dash) for t in figure.data if t.name.startswith("k =")}) == len(keys)


def test_fourier_norms(shipped):
    m = interp.progress_measures(shipped)
    figure = plot.fourier_norms(m.embedding_norms, m.unembedding_norms, m.key_frequencies)
    cosines = [trace for trace in figure.data if trace.name == "cos"]
    np.testing.assert_array_equal(cosines[0].y, m.embedding_norms[1::2])
    np.testing.assert_array_equal(cosines[1].y, m.unembedding_norms[1::2])
    assert [note.text for note in figure.layout.annotations] == [str(k) for k in m.key_frequencies] * 2
    assert figure.layout.xaxis2.title.text == "Frequency k (key frequencies labelled)"


def test_letters_are_legible_in_one_column(shipped):
    """8.3 cm is 235 points: the smallest letters, at 640 px wide, must come out at 6 points or more."""
    figure = plot.training_curves(shipped.history)
    sizes = [figure.layout.font.size, figure.layout.legend.font.size]
    sizes += [axis.tickfont.size for axis in (*figure.select_xaxes(), *figure.select_yaxes())]
    assert min(sizes) / figure.layout.width * 235 >= 6


def test_even_moduli_have_one_bar_less():
    figure = plot.fourier_norms(np.arange(8.0), np.arange(8.0), [4])
    assert [len(trace.y) for trace in figure.data] == [4, 3, 4, 3]


def test_a_log_axis_over_a_short_span_has_ticks_enough():
    for low, high in ((1.6, 2.2), (0.9, 1.1), (3.0, 9.0), (1e-7, 2e-7)):
        history = pd.DataFrame({"step": [0, 10], "train_loss": [high, low], "test_loss": [high, high]})
        axis = plot.training_curves(history).layout.yaxis
        inside = [value for value in axis.tickvals if low * 0.8 <= value <= high * 1.25]
        assert 3 <= len(inside) <= 8, (low, high, axis.tickvals)
        np.testing.assert_allclose(np.diff(axis.tickvals), np.diff(axis.tickvals)[0], rtol=1e-4)


def test_losses_alone_are_drawn_as_they_were_recorded(shipped):
    """Another's run: no accuracies, test losses every 100 steps where train losses come every 10."""
    history = shipped.history.assign(train_accuracy=np.nan, test_accuracy=np.nan)
    history.loc[history["step"] % 100 != 0, "test_loss"] = np.nan
    figure = plot.training_curves(history)
    assert titles(figure, "y") == ["Loss as trained (nats)"]
    train, test = figure.data
    assert (train.name, test.name) == ("train", "test")
    assert train.showlegend
    assert test.showlegend
    assert len(train.x) == len(shipped.history)
    assert list(test.x) == [step for step in shipped.history["step"] if step % 100 == 0]
    assert not np.isnan(test.y).any()


@pytest.mark.parametrize(
    ("name", "columns"),
    [
        ("accuracies", ["train_accuracy", "test_accuracy", "restricted_accuracy", "excluded_accuracy"]),
        ("ginis", ["embedding_gini", "unembedding_gini"]),
        ("excluded_losses", [f"excluded_loss_{k}" for k in (14, 35, 41, 42, 52)]),
        ("circuit_formation", [
            "neuron_logit_key_share", "logit_variance_explained", "neuron_projection_share",
            "single_frequency_neurons", "attention_share", "neuron_logit_alignment", "embedding_alignment",
        ]),
    ],
)  # fmt: skip
def test_columns_over_training_with_the_phases(trajectory, name, columns):
    ph = interp.phases(trajectory)
    figure = getattr(plot, name)(trajectory, ph)
    assert [list(trace.y) for trace in figure.data] == [trajectory[column].tolist() for column in columns]
    assert all(list(trace.x) == trajectory["step"].tolist() for trace in figure.data)
    assert len({(trace.line.color, trace.line.dash) for trace in figure.data}) == len(columns)
    assert len({trace.name for trace in figure.data}) == len(columns)
    assert named(figure) == [span[0] for span in ph.spans()]
    assert figure.layout.legend2.y < 0  # under the axis, where no curve is
    assert titles(figure, "y")[0]
    with pytest.raises(ConfigError, match="needs the columns"):
        getattr(plot, name)(trajectory.drop(columns=columns))


def test_further_measures_over_training_in_three_panels(trajectory):
    """What is drawn is what the frame holds, each in its panel; a missing value leaves its point out."""
    n = len(trajectory)
    columns = {name: np.linspace(0, 1, n) for name in ("explained_accuracy", "softmax_collapse", "translation_share")}
    columns |= {"naive_loss_minimization": np.full(n, 0.9), "graduated": np.linspace(0, 0.5, n)}
    columns |= {f"effective_rank_{name}": np.linspace(100, 40, n) for name in ("W_E", "W_in", "W_out")}
    columns |= {"phase_alignment_14": np.append(np.full(n - 2, np.nan), [0.9, 1.0])}
    figure = plot.further_measures(trajectory.assign(**columns), interp.phases(trajectory))
    drawn = {trace.name: (trace.yaxis, list(trace.y)) for trace in figure.data}
    assert drawn["k = 14"] == ("y3", [0.9, 1.0])
    assert drawn["rank of W_in"] == ("y2", columns["effective_rank_W_in"].tolist())
    assert drawn["graduated"] == ("y", columns["graduated"].tolist())
    assert len(drawn) == 10
    with pytest.raises(ConfigError, match="needs the columns explained_accuracy"):
        plot.further_measures(trajectory)


def test_maps_over_pairs_show_what_they_are_given(shipped):
    acts = interp.activations(shipped[-1])
    shares = interp.measures.attention.attention_shares(acts.pattern).numpy()
    figure = plot.attention_over_pairs(acts.pattern.numpy(), shares)
    assert len(figure.data) == 4
    for h, trace in enumerate(figure.data):
        np.testing.assert_array_equal(trace.z, acts.pattern[:, :, h, 0])
        assert figure.layout.annotations[h].text.startswith(f"head {h}: k = {shares[:, h, 0].argmax() + 1}")
    assert figure.layout.coloraxis.cmin == 0
    assert figure.layout.coloraxis.colorbar.title.text == "attention to a"

    neurons = interp.measures.neurons
    shares = neurons.frequency_shares(acts.neurons)
    shown = neurons.representatives(shares, acts.neurons.amax((0, 1)) > 0)
    purity, frequencies = neurons.purity(shares).numpy(), neurons.neuron_frequencies(shares).numpy()
    figure = plot.neurons_over_pairs(acts.neurons.numpy(), shown.numpy(), frequencies, purity)
    named = [int(note.text.split(":")[0]) for note in figure.layout.annotations]
    assert [int(shares[:, n].argmax()) + 1 for n in named[:5]] == [14, 35, 41, 42, 52]
    assert [float(shares[k - 1].max()) for k in (14, 35, 41, 42, 52)] == [float(purity[n]) for n in named[:5]]
    assert shares[:, named[5]].max() < 0.85
    for n, trace in zip(named, figure.data, strict=True):
        np.testing.assert_allclose(trace.z, acts.neurons[:, :, n] / acts.neurons[:, :, n].max(), rtol=1e-6)
    none = neurons.representatives(shares.new_full(shares.shape, 0.01), acts.neurons.amax((0, 1)) > 0)
    assert none.tolist() == []
    with pytest.raises(ConfigError, match="must name at least one neuron"):
        plot.neurons_over_pairs(acts.neurons.numpy(), none.numpy(), frequencies, purity)

    norms = interp.measures.logits.fourier_norms_2d(acts.logits).numpy()
    (trace,) = plot.logit_fourier_norms(norms).data
    assert np.unravel_index(np.asarray(trace.z).argmax(), norms.shape) == np.unravel_index(norms.argmax(), norms.shape)

    figure = plot.neuron_purity(purity, frequencies, neurons.SINGLE_FREQUENCY_SHARE)
    assert sum(len(trace.x) for trace in figure.data) == 512
    assert {f"k = {k}" for k in (14, 35, 41, 42, 52)} <= {trace.name for trace in figure.data}
    figure = plot.neuron_purity(np.array([0.9, 0.0, 0.5, 0.0]), np.array([2, 1, 2, 1]), 0.85)  # two are constant
    assert {trace.name: list(trace.x) for trace in figure.data} == {"k = 2": [0.9, 0.5], "constant": [0.0, 0.0]}


def test_weights_are_drawn_with_zero_in_the_middle_and_scores_by_head():
    weights = np.array([[1.0, -2.0, 0.5], [0.0, 0.1, 0.2], [3.0, 0.0, -1.0]])
    figure = plot.neuron_logit_weights(weights, 1, np.array([2.0, -1.0, 0.5]))
    np.testing.assert_array_equal(figure.data[0].z, weights[:, [1, 2, 0]].astype(np.float32))  # by phase
    assert (figure.layout.coloraxis.cmin, figure.layout.coloraxis.cmax) == (-3, 3)
    figure = plot.attention_scores(np.array([[1.0, 2.0], [3.0, 4.0]]), [2])
    assert [trace.name for trace in figure.data] == ["head 0", "head 1"]
    assert list(figure.data[1].y) == [2.0, 4.0]
    assert figure.layout.shapes[0].x0 == 2


def test_mechanisms_against_the_attention_coefficient():
    models = pd.DataFrame(
        {
            "model": ["pizza", "clock", "no attention", "unmeasured"],
            "attention_coefficient": [0.0, 1.0, np.nan, 0.5],
            "gradient_symmetricity": [0.99, 0.33, 0.5, np.nan],
            "distance_irrelevance": [0.17, 0.85, 0.9, np.nan],
        }
    )
    figure = plot.mechanism(models)
    above, below = figure.data
    assert list(above.x) == list(below.x) == [0.0, 1.0]
    assert list(above.y) == [0.99, 0.33]
    assert list(below.y) == [0.17, 0.85]
    assert list(above.text) == ["pizza", "clock"]
    assert titles(figure, "y") == ["Gradient symmetricity", "Distance irrelevance"]
    assert len(plot.mechanism(models.drop(columns="distance_irrelevance")).data) == 1
    with pytest.raises(ConfigError, match="needs gradient_symmetricity; give the frame of compare"):
        plot.mechanism(models.drop(columns="gradient_symmetricity"))
    with pytest.raises(ConfigError, match="needs models with attention"):
        plot.mechanism(models[2:])


def test_an_ensemble_beside_its_members():
    frame = pd.DataFrame({
        "step": [0, 10],
        "test_accuracy": [0.1, 0.9], "mean_test_accuracy": [0.2, 0.8], "best_test_accuracy": [0.3, 0.7],
        "test_loss": [4.0, 0.1], "mean_test_loss": [5.0, 0.2], "best_test_loss": [6.0, 0.3],
    })  # fmt: skip
    figure = plot.ensemble(frame)
    assert titles(figure, "y") == ["Test accuracy", "Test loss (nats)"]
    assert [axis.type for axis in figure.select_yaxes()] == [None, "log"]
    for name, before in (("ensemble", ""), ("mean of members", "mean_"), ("best member", "best_")):
        accuracy, loss = drawn(figure, name)
        np.testing.assert_array_equal(accuracy.y, frame[f"{before}test_accuracy"])
        np.testing.assert_array_equal(loss.y, frame[f"{before}test_loss"])
        assert (accuracy.showlegend, loss.showlegend) == (True, False)
    assert len({trace.line.color for trace in figure.data}) == len({trace.line.dash for trace in figure.data}) == 3
    with pytest.raises(ConfigError, match="needs the columns best_test_loss, which the frame does not have"):
        plot.ensemble(frame.drop(columns="best_test_loss"))


def test_columns_that_are_not_there_are_named(trajectory):
    with pytest.raises(ConfigError, match="needs the columns excluded_loss, which"):
        plot.progress_measures(trajectory.drop(columns="excluded_loss"))
    with pytest.raises(ConfigError, match="cos_coefficient_1"):
        plot.cos_coefficients(trajectory[["step", "train_loss"]])


def test_a_figure_is_written_as_html_pdf_and_png(shipped, tmp_path):
    if not HAS_BROWSER:
        with pytest.warns(UserWarning, match="HTML only"):
            assert len(plot.save(plot.training_curves(shipped.history), tmp_path / "new", "curves")) == 1
        return
    files = plot.save(plot.training_curves(shipped.history), tmp_path / "new", "curves")
    assert [file.name for file in files] == ["curves.html", "curves.pdf", "curves.png"]
    html, pdf, png = (file.read_bytes() for file in files)
    assert b"plotly" in html.lower()
    assert pdf.startswith(b"%PDF")
    assert png.startswith(b"\x89PNG")
    assert int.from_bytes(png[16:20], "big") == 2 * 640  # twice the size, for print


def test_without_a_browser_the_html_is_written_and_the_mend_is_said(tmp_path, monkeypatch):
    monkeypatch.setenv("BROWSER_PATH", str(tmp_path / "nowhere"))
    with pytest.warns(UserWarning, match=r"HTML only: No browser found at .*nowhere.*; .*interp\[export\].*Chromium"):
        files = plot.save(go.Figure(go.Scatter(y=[1, 2])), str(tmp_path / "new"), "curves")  # a path may be a string
    assert [file.name for file in files] == ["curves.html"]
    assert [file.name for file in (tmp_path / "new").iterdir()] == ["curves.html"]


def test_a_browser_that_hangs_is_left_after_the_time_limit_and_nothing_of_it_stays(tmp_path):
    """A script that sleeps in place of a browser; two figures in one context wait for it once."""
    browser = tmp_path / "hanging-browser"
    browser.write_text(f"#!/bin/bash\nexec -a {browser} sleep 1000\n")
    browser.chmod(0o755)
    said = outside(
        f"""
        import os, time, warnings
        os.environ["BROWSER_PATH"], os.environ["TMPDIR"] = {str(browser)!r}, {str(tmp_path)!r}
        import plotly.graph_objects as go
        from interp import plot
        figure, spent = go.Figure(go.Scatter(y=[1, 2])), []
        with warnings.catch_warnings(record=True) as caught, plot.one_browser():
            warnings.simplefilter("always")
            for name in ("a", "b"):
                before = time.monotonic()
                print([file.name for file in plot.save(figure, {str(tmp_path / "out")!r}, name, timeout=8)])
                spent.append(time.monotonic() - before)
        print(spent[0] >= 8 and sum(spent) < 40, len(caught), caught[1].message)
        """,
        fresh=True,
    )
    lines = said.splitlines()
    assert lines[:2] == ["['a.html']", "['b.html']"]
    assert lines[2].startswith("True 2 b was written as HTML only: the browser gave no answer within 8 s; see that")
    commands = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if path.exists()]
    assert not [command for command in commands if str(browser).encode() in command]
    assert {path.name for path in tmp_path.iterdir()} == {"hanging-browser", "out"}


def test_what_cannot_be_saved_is_refused(tmp_path):
    """In a process of its own: here the tests' own type checks would answer first."""
    (tmp_path / "file").touch()
    said = outside(
        f"""
        import plotly.graph_objects as go
        from interp import ConfigError, plot
        figure = go.Figure()
        for arguments, more in (
            (({{}}, "out", "x"), {{}}), ((figure, 3, "x"), {{}}),
            ((figure, "out", "a/b"), {{}}), ((figure, "out", ""), {{}}),
            ((figure, {str(tmp_path / "file")!r}, "x"), {{}}), ((figure, "out", "x", ["doc"]), {{}}),
            ((figure, "out", "x"), {{"timeout": 0}}),
        ):
            try:
                plot.save(*arguments, **more)
            except ConfigError as error:
                print(error)
        """
    ).splitlines()
    starts = [
        "figure must be a plotly Figure",
        "folder must be a path; got 3.",
        "name must be the name of a file",
        "name must be the name of a file",
        "folder must be a directory; ",
        "each of formats must be pdf, png, svg, jpg or webp; got 'doc'.",
        "timeout must be a finite number above 0",
    ]
    assert len(said) == len(starts)
    assert all(line.startswith(start) for line, start in zip(said, starts, strict=True))


def test_frequencies_that_a_trajectory_does_not_have_are_named(trajectory):
    with pytest.raises(ConfigError, match="each frequency must be a whole number from 1 to 56; got 99"):
        plot.cos_coefficients(trajectory, [99])
    with pytest.raises(ConfigError, match="needs the columns cos_coefficient_3, which"):
        plot.cos_coefficients(trajectory.drop(columns="cos_coefficient_3"), [3])


def test_what_is_in_doubt_is_written_beneath(small_run):
    frame = interp.trajectory(small_run, progress=False)
    m = interp.progress_measures(small_run)
    assert m.key_doubt is not None
    figures = [
        plot.cos_coefficients(frame), plot.excluded_losses(frame), plot.progress_measures(frame),
        plot.fourier_norms(m.embedding_norms, m.unembedding_norms, m.key_frequencies, m.key_doubt),
    ]  # fmt: skip
    for figure in figures:
        (note,) = [one.text for one in figure.layout.annotations if "Doubtful" in one.text]
        assert note.replace("<br>", " ") == f"Doubtful: {m.key_doubt}."
    frame.attrs |= {"key_doubt": None, "doubts": ("the task given is another.",)}
    (note,) = [one.text for one in plot.ginis(frame).layout.annotations]
    assert note == "Doubtful: the task given is another."
    frame.attrs["doubts"] = ()
    assert not plot.ginis(frame).layout.annotations
