"""Figures of ridge regression and double descent show the numbers that they were given, on axes with names."""

import math
import warnings

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest

import interp
from interp import ConfigError, plot
from interp.linear import double_descent, ridge


def drawn(figure: go.Figure, name: str) -> go.Scatter:
    return next(trace for trace in figure.data if trace.name == name)


def titles(figure: go.Figure) -> tuple[list[str], list[str]]:
    x = [axis.title.text for axis in figure.select_xaxes() if axis.title.text]
    return x, [axis.title.text for axis in figure.select_yaxes()]


@pytest.fixture(scope="module")
def stages():
    problem = ridge.random_features_problem(20, 4, 80)
    return ridge.trajectory(problem, 10**7), ridge.grokking_times(problem), ridge.simulate(problem, 50, progress=False)


def test_ridge_regression_beside_a_network(stages):
    exact, times, _ = stages
    history = pd.DataFrame({"step": [0, 10, 100], "train_loss": [3.0, 0.1, 1e-6], "test_loss": [3.0, 5.0, 1e-5],
                            "train_accuracy": [0.1, 1.0, 1.0], "test_accuracy": [0.0, 0.1, 1.0]})  # fmt: skip
    figure = plot.ridge_beside_network(exact, history, times, interp.phases(history))
    _, ridge_test, train, test = figure.data
    np.testing.assert_array_equal(ridge_test.y, exact["test_loss"][exact["step"] > 0])
    assert (list(train.x), list(test.y)) == ([10, 100], [5.0, 1e-5])
    assert {axis.type for axis in (*figure.select_xaxes(), *figure.select_yaxes())} == {"log"}
    assert {shape.x0 for shape in figure.layout.shapes} == {times.overfitting, times.generalization, 10, 100}
    assert figure.layout.xaxis2.title.text == "Training step (fits at 10, generalizes at 100)"
    assert len(plot.ridge_beside_network(exact, history).layout.shapes) == 0


def test_ridge_stages(stages):
    exact, times, taken = stages
    figure = plot.ridge_stages(exact, times, taken)
    assert titles(figure) == (["Training step"], ["Loss", "Part of test loss"])
    shown = exact[exact["step"] > 0]
    for name, column in (("train", "train_loss"), ("test", "test_loss"), ("never learned", "test_loss_never_learned")):
        np.testing.assert_array_equal(drawn(figure, name).y, shown[column])
        np.testing.assert_array_equal(drawn(figure, name).x, shown["step"])
    dots = [trace for trace in figure.data if trace.name == "every step taken"]
    np.testing.assert_array_equal(dots[1].y, taken["test_loss"][1:])
    assert {shape.x0 for shape in figure.layout.shapes if shape.x0 == shape.x1} == {
        times.overfitting, times.generalization,
    }  # fmt: skip
    assert [note.text.strip() for note in figure.layout.annotations] == ["fits", "generalizes"]
    assert {axis.type for axis in (*figure.select_xaxes(), *figure.select_yaxes())} == {"log"}
    assert len(plot.ridge_stages(exact).layout.shapes) == 0


def test_delay_map_draws_the_region_where_grokking_is_gone():
    decays, scales = [1e-6, 1e-4, 1e-2], [1.0, 10.0]
    relative = {(1e-6, 1.0): 0.5, (1e-4, 1.0): 1.9, (1e-2, 1.0): np.nan,
                (1e-6, 10.0): 1e3, (1e-4, 10.0): 2.1, (1e-2, 10.0): np.nan}  # fmt: skip
    frame = pd.DataFrame(
        [{"weight_decay": d, "init_scale": s, "relative_delay": relative[d, s]} for d in decays for s in scales]
    ).assign(overfitting=100.0)
    frame["generalization"] = frame["overfitting"] * (1 + frame["relative_delay"])
    figure = plot.delay_map(frame)
    heat = figure.data[0]
    np.testing.assert_allclose(heat.z, [[0, np.log10(1.9), np.nan], [3, np.log10(2.1), np.nan]])
    np.testing.assert_allclose(heat.x, [1e-7, 1e-5, 1e-3, 1e-1])  # half way between neighbours, on a log axis
    white = [share for share, colour in heat.colorscale if colour == "#fff"]
    assert max(white) * heat.zmax == pytest.approx(np.log10(plot.ridge.GONE))
    assert {note.text for note in figure.layout.annotations} == {"no grokking", "never generalizes"}
    assert heat.colorbar.title.text == "delay ÷ steps to overfit"


def test_whoever_generalizes_at_once_is_not_said_to_never_generalize():
    """Fitted and generalized at step 0, or generalized without ever fitting: there is no relative delay."""
    frame = pd.DataFrame(
        {"weight_decay": [1e-6, 1e-4, 1e-2], "init_scale": 1.0, "relative_delay": [None, None, None],
         "overfitting": [0, None, 5], "generalization": [0, 30, None]}
    )  # fmt: skip
    heat = plot.delay_map(frame).data[0]
    np.testing.assert_array_equal(heat.z, [[0, 0, np.nan]])
    for wrong in (frame.assign(weight_decay=[0.0, 1e-4, 1e-2]), frame.assign(weight_decay=1e-4)):
        with pytest.raises(ConfigError, match="each weight_decay and init_scale above 0 once"):
            plot.delay_map(wrong)


def test_delays_draw_the_fitted_power_law_through_the_runs():
    value = np.repeat([1.0, 10.0, 100.0], 3)
    frame = pd.DataFrame({"swept": "weight_decay", "value": value, "delay": 1e4 / value * np.tile([0.5, 1.0, 2.0], 3)})
    figure = plot.delays({"network": frame}, {("network", "weight_decay"): -1.0}, {"weight_decay": "λ"})
    dots, fit = drawn(figure, "network"), drawn(figure, "network fit")
    np.testing.assert_allclose(dots.y, [1e4, 1e3, 1e2])  # medians
    np.testing.assert_allclose(dots.error_y.array, [1e4, 1e3, 1e2])  # up to twice as much
    np.testing.assert_allclose(dots.error_y.arrayminus, [5e3, 5e2, 5e1])
    np.testing.assert_allclose(fit.y, [1e4, 1e2])
    assert titles(figure) == (["λ"], ["Delay (steps)"])


def test_delays_of_runs_that_had_not_generalized_count_as_longer():
    """Of 1, 2 and 3 steps, the 2 censored: at 1 a third has generalized, at 3 all; Kaplan and Meier's median is 3."""
    frame = pd.DataFrame({"swept": "n", "value": 10.0, "delay": [1.0, 2.0, 3.0], "censored": [False, True, False]})
    figure = plot.delays({"network": frame}, {}, {"n": "n"})
    dots, waiting = drawn(figure, "network"), drawn(figure, "network: not by the last step")
    assert (list(dots.y), list(dots.error_y.array), list(dots.error_y.arrayminus)) == ([3.0], [0.0], [2.0])
    assert (list(waiting.y), waiting.marker.symbol) == ([2.0], "triangle-up-open")


def test_delays_mark_the_runs_that_have_none():
    frame = pd.DataFrame({"swept": "n", "value": [1.0, 10.0, 10.0, 100.0, 1000.0], "delay": [1e4, 1e3, None, 1e2, 0.0]})
    with pytest.warns(UserWarning, match=r"2 of 5 runs of network have no delay along n \(at 10, 1000\): .* left out"):
        figure = plot.delays({"network": frame}, {}, {"n": "n"})
    dots, without = drawn(figure, "network"), drawn(figure, "network: no delay")
    np.testing.assert_allclose(dots.y, [1e4, 1e3, 1e2])
    assert list(without.x) == [10.0, 1000.0]
    marks = [note for note in figure.layout.annotations if note.text == "▽"]
    assert [note.x for note in marks] == [1.0, 3.0]  # of a log axis
    assert {(note.y, note.yref) for note in marks} == {(0, "y domain")}
    assert [note.text for note in figure.layout.annotations if note not in marks] == ["▽ run without a delay"]
    assert next(figure.select_xaxes()).range[1] > 3  # the marks lie within the axis
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure = plot.delays({"network": frame[frame["delay"] > 0]}, {}, {"n": "n"})
    assert not figure.layout.annotations


def test_errors_draw_bars_and_the_threshold():
    frame = pd.DataFrame({"width": [4, 1, 2], "test_error": [1.0, 2.0, 3.0], "standard_error": [0.1, 0.2, 0.3]})
    figure = plot.errors({"a": frame}, "width", "Width", threshold=2, largest=2.5)
    through, dots = figure.data
    assert through.x.tolist() == dots.x.tolist() == [1, 2, 4]
    assert dots.error_y.array.tolist() == [0.2, 0.3, 0.1]
    assert [(shape.x0, shape.x1) for shape in figure.layout.shapes] == [(2, 2)]
    assert next(figure.select_yaxes()).range[1] == pytest.approx(math.log10(2.5))
    theory = pd.DataFrame({"width": [1, 1.5, 4], "test_error": [2.0, 1.5, 1.0]})
    figure = plot.errors({"a": frame}, "width", "Width", theory={"a": theory})
    assert figure.data[0].x.tolist() == [1, 1.5, 4]
    assert figure.data[1].x.tolist() == [1, 2, 4]
    long = pd.DataFrame({"width": np.arange(1, 50), "test_error": np.arange(1.0, 50)})
    assert len(plot.errors({"a": long}, "width", "Width").data) == 1  # a line, and no bars that are not there
    many = plot.errors({str(k): frame for k in range(9)}, "width", "Width")
    assert len(many.data) == 18


def test_parts_of_the_error():
    fits = double_descent.random_features((5, 10, 20), 10, d=3, draws=3, progress=False)
    figure = plot.error_parts(fits)
    np.testing.assert_array_equal(drawn(figure, "label noise").y, fits["noise_error"])
    np.testing.assert_array_equal(drawn(figure, "test error").y, fits["test_error"])
    bias = drawn(figure, "bias").y  # an unbiased estimate may be negative, and a log axis has no place for that
    np.testing.assert_array_equal(bias, fits["bias"].where(fits["bias"] > 0))


def test_removals_and_epochs():
    features, targets = double_descent.diabetes()
    fits = double_descent.removals(features, targets, (5, 10, 20), draws=3, progress=False)
    figure = plot.removals(fits, threshold=10)
    assert figure.layout.title.text == "<b>What removes the peak</b>"
    shown = fits[fits["condition"] == "as it is"]
    dots = [trace for trace in figure.data if trace.name == "as it is"][1]
    np.testing.assert_allclose(dots.error_y.array, shown["high"] - shown["test_error"])
    assert len({(t.line.color, t.line.dash) for t in figure.data if t.mode == "lines"}) == 4

    path = double_descent.epoch_wise(20, (8, 6), steps=1_000, draws=2, progress=False)
    figure = plot.epoch_wise(path)
    stars = [trace for trace in figure.data if trace.name == "early stopping"]
    least = path[path["step"] > 0]["test_error"].min()
    assert stars[0].y[0] == least
    assert drawn(figure, "one for each group").y.tolist() == path["test_error_per_group"][1:].tolist()


def test_digits():
    frame = pd.DataFrame(
        {"width": [2, 8], "train_error": [0.5, 0.0], "test_error": [0.6, 0.2], "standard_error": [0.1, 0.02]}
    )
    figure = plot.digits({"width": {"noisy": frame, "clean": frame}}, {"width": "Width"})
    assert titles(figure) == (["Width"], ["Error"])
    assert drawn(figure, "noisy: train").y.tolist() == [0.5, 0.0]
    assert drawn(figure, "noisy").y.tolist() == [0.6, 0.2]
    assert next(figure.select_yaxes()).tickformat == ".0%"


def test_steps_to_fit_and_generalize():
    times = pd.DataFrame(
        {"system": ["ridge", "ridge", "transformer", "none"], "overfitting": [10, 20, 100, 5],
         "generalization": [1_000, 30, 10_000, None]}
    )  # fmt: skip
    figure = plot.steps_to_fit_and_generalize(times)
    assert drawn(figure, "ridge").y.tolist() == [1_000, 30]
    assert drawn(figure, "transformer").x.tolist() == [100]
    assert "none" not in {trace.name for trace in figure.data}
    assert [note.text.strip() for note in figure.layout.annotations] == ["at once", "10×", "100×"]
    guides = [trace for trace in figure.data if trace.mode == "lines"]
    for guide, later in zip(guides, (1, 10, 100), strict=True):
        np.testing.assert_allclose(np.array(guide.y) / np.array(guide.x), later)
    with pytest.raises(ConfigError, match="none of these did"):
        plot.steps_to_fit_and_generalize(times.assign(generalization=0.0))


def test_descents_are_marked():
    curve = pd.DataFrame({"step": [0, 1, 2, 3], "train_loss": [3, 1, 0.1, 0.1], "test_loss": [3.0, 2, 9, 1]})
    found = double_descent.descents(curve["step"], curve["train_loss"], curve["test_loss"])
    figure = plot.descents(curve, found)
    for name, x, y in (("first minimum", 1, 2), ("peak", 2, 9), ("second descent", 3, 1)):
        assert (drawn(figure, name).x[0], drawn(figure, name).y[0]) == (x, y)
    monotone = plot.descents(curve, double_descent.descents([1, 2, 3], None, [3, 2, 1]), train=None)
    assert {trace.name for trace in monotone.data} == {"test", "first minimum"}


def test_a_slider_moves_through_all_figures(stages):
    exact, times, _ = stages
    figures = {"1": plot.ridge_stages(exact, times), "2": plot.ridge_stages(exact.assign(test_loss=7.0), times)}
    figure = plot.slider(figures, "λ")
    assert [step.label for step in figure.layout.sliders[0].steps] == ["1", "2"]
    assert [trace.visible for trace in figure.data] == [True] * 5 + [False] * 5
    visible, marks = figure.layout.sliders[0].steps[1].args
    assert visible["visible"] == [False] * 5 + [True] * 5
    assert set(figure.data[6].y) == {7.0}
    assert len(marks["shapes"]) == len(figures["2"].layout.shapes)
    assert figure.layout.sliders[0].currentvalue.prefix == "λ: "
    low, high = (figures["1"].layout.yaxis.range, figures["2"].layout.yaxis.range)
    assert figure.layout.yaxis.range == (min(low[0], high[0]), max(low[1], high[1]))
    with pytest.raises(ConfigError, match="at least one figure"):
        plot.slider({}, "λ")


@pytest.mark.parametrize(
    ("draw", "said"),
    [
        (lambda: plot.ridge_stages(pd.DataFrame({"step": [1]})), "train_loss, test_loss"),
        (lambda: plot.delay_map(pd.DataFrame({"weight_decay": [1.0]})), "init_scale"),
        (lambda: plot.errors({}, "width", "Width"), "at least one curve"),
        (lambda: plot.digits({}, {}), "at least one axis"),
        (lambda: plot.delays({}, {}, {"n": "n"}), "a panel for n, and no run has a delay"),
        (
            lambda: plot.errors({"a": pd.DataFrame({"m": [1, 1], "test_error": [1, 2]})}, "m", "m"),
            "a must hold each m once",
        ),
        (lambda: plot.ridge_stages(ridge.trajectory(ridge.gaussian_problem(3, 5), 0)), "needs x values above 0"),
        (
            lambda: plot.ridge_stages(ridge.trajectory(ridge.RidgeProblem(np.ones((2, 3)), np.ones(2)), 10)),
            "holds no values of",
        ),
        (lambda: plot.errors({"a": pd.DataFrame({"width": [1]})}, "width", "Width"), "test_error"),
        (lambda: plot.removals(pd.DataFrame({"samples": [1]})), "condition"),
        (lambda: plot.epoch_wise(pd.DataFrame({"step": [1]})), "test_error_per_group"),
        (lambda: plot.steps_to_fit_and_generalize(pd.DataFrame({"system": ["a"]})), "overfitting"),
    ],
)
def test_a_column_that_is_not_there_is_named(draw, said):
    with pytest.raises(ConfigError, match=said):
        draw()
