"""Delays of runs of which some are censored: Kaplan and Meier by hand, exponents against least squares and a search."""

import math

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm

import interp
from interp import ConfigError, plot
from interp.comparisons import moved
from interp.exponents import fit_exponents
from interp.survival import kaplan_meier, waits


def table(**columns) -> pd.DataFrame:
    frame = pd.DataFrame(columns)
    for name in ("memorized", "generalized", "last_step"):
        frame[name] = frame[name].astype("Int64")
    return frame


def test_the_share_still_waiting_by_hand():
    """Of five runs, two are censored: 4/5, then of the three at risk at 30 one: 8/15, then of one at 50: 0."""
    curve = kaplan_meier(np.array([10.0, 20.0, 30.0, 40.0, 50.0]), np.array([False, True, False, True, False]))
    at = dict(zip(curve.steps.tolist(), curve.share.tolist(), strict=True))
    assert at[0.0] == 1
    assert at[10.0] == pytest.approx(4 / 5)
    assert at[30.0] == pytest.approx(8 / 15)
    assert at[50.0] == 0
    assert curve.median == 50
    assert math.isnan(kaplan_meier(np.array([10.0, 20.0, 20.0]), np.array([False, True, True])).median)
    # At the last event nobody waits, and the interval has no upper end: nor has that of the median.
    five = kaplan_meier(np.array([100.0, 200.0, 300.0, 400.0, 500.0]), np.zeros(5, dtype=bool))
    assert five.median == 300
    assert five.median_interval[0] == 100
    assert math.isnan(five.median_interval[1])
    assert (curve.low <= curve.share + 1e-12).all()
    assert (curve.share <= curve.high + 1e-12).all()
    with pytest.raises(ConfigError, match="needs a delay and a bool for each run"):
        kaplan_meier(np.array([]), np.array([], dtype=bool))


def test_the_median_is_that_of_numbers_where_none_is_censored():
    """Of an even number it is the middle between the two middle ones, as R's survfit has it too."""
    for delays in ([100.0, 300.0], [40.0, 10.0, 20.0, 30.0], [1.0, 1.0, 2.0, 5.0, 7.0, 9.0], [1.0, 2.0, 2.0, 3.0]):
        curve = kaplan_meier(np.array(delays), np.zeros(len(delays), dtype=bool))
        assert curve.median == np.median(delays)
    # With one of four censored at 15: 3/4, then 3/4 · 1/2 = 3/8 at 20. With two of six at 5, four are at risk.
    assert kaplan_meier(np.array([10.0, 15.0, 20.0, 40.0]), np.array([False, True, False, False])).median == 20
    six = np.array([5.0, 5.0, 10.0, 20.0, 30.0, 40.0])
    assert kaplan_meier(six, six == 5.0).median == 25
    # 3/4 at 10, of three at risk at 20 one: 3/4 · 2/3 is a half, whatever is rounded; then one of one at 40.
    rounded = kaplan_meier(np.array([10.0, 20.0, 30.0, 40.0]), np.array([False, False, True, False]))
    assert rounded.median == 30
    # Half of the runs are known to wait longer than 30, and nothing else: the first delay after which half wait.
    assert kaplan_meier(np.array([10.0, 20.0, 30.0, 30.0]), np.array([False, False, True, True])).median == 20


def test_waits_are_delays_and_what_was_watched():
    frame = table(
        memorized=[10, 10, None, 30], generalized=[110, None, None, 30], last_step=[200, 200, 200, 200],
    )  # fmt: skip
    with pytest.warns(UserWarning, match="2 of 4 runs have no delay"):
        found = waits(frame)
    assert found["delay"].tolist() == [100, 190]
    assert found["censored"].tolist() == [False, True]
    with pytest.raises(ConfigError, match="needs the table of a sweep"):
        waits(pd.DataFrame({"step": [1]}))


def test_without_censored_runs_it_is_least_squares():
    draw = np.random.default_rng(0)
    X = np.column_stack([np.ones(40), draw.normal(size=40), draw.normal(size=40)])
    y = X @ [7.0, -1.0, 0.5] + 0.3 * draw.normal(size=40)
    slopes, errors, scatter = censored_fit(X, y, np.zeros(40, dtype=bool))
    fit, residuals, *_ = np.linalg.lstsq(X, y, rcond=None)
    assert slopes[1:] == pytest.approx(fit[1:], rel=1e-6)
    variance = float(residuals[0]) / 37
    assert scatter == pytest.approx(math.sqrt(variance), rel=1e-6)
    expected = np.sqrt(variance * np.diag(np.linalg.inv(X.T @ X)))
    assert errors[1:] == pytest.approx(expected[1:], rel=1e-4)


def test_with_censored_runs_it_is_where_the_likelihood_is_largest():
    """Against a grid about the optimum, of a likelihood written out again."""
    draw = np.random.default_rng(1)
    x = np.log(np.repeat([0.5, 1.0, 2.0, 4.0], 10))
    true = 8 - x + 0.4 * draw.normal(size=40)
    censored = true > 8.2
    y = np.minimum(true, 8.2)
    X = np.column_stack([np.ones(40), x])
    slopes, errors, scatter = censored_fit(X, y, censored)

    def likelihood(level, slope, sigma) -> float:
        z = (y - level - slope * (x - x.mean())) / sigma
        return float((norm.logpdf(z[~censored]) - math.log(sigma)).sum() + norm.logsf(z[censored]).sum())

    seen = int((~censored).sum())
    scatter *= math.sqrt((seen - 2) / seen)  # as it was before it was corrected for the two numbers that were fitted
    best = likelihood(slopes[0], slopes[1], scatter)
    for step in (1e-3, -1e-3):
        assert likelihood(slopes[0] + step, slopes[1], scatter) < best
        assert likelihood(slopes[0], slopes[1] + step, scatter) < best
        assert likelihood(slopes[0], slopes[1], scatter + step) < best
    assert abs(slopes[1] + 1) < 3 * errors[1]
    dropped = np.polyfit(x[~censored], y[~censored], 1)[0]
    assert abs(slopes[1] + 1) < abs(dropped + 1)  # dropped, the longest delays would be missing where there are most


def test_exponents_of_two_settings_with_intervals_that_hold_the_truth():
    """delay = 1000 · decay^-1 · rate^-0.5, scattered: of 40 intervals of 95 %, at least 36 hold it (with p = 0.95)."""
    held = 0
    for seed in range(20):
        draw = np.random.default_rng(seed)
        grid = [(w, lr) for w in (0.5, 1.0, 2.0) for lr in (1e-3, 4e-3) for _ in range(4)]
        decay, rate = np.array(grid).T
        delay = np.exp(np.log(1000 / decay / np.sqrt(rate)) + 0.2 * draw.normal(size=len(grid)))
        frame = table(
            weight_decay=decay, learning_rate=rate, memorized=[0] * len(grid),
            generalized=[int(d) if d < 50_000 else None for d in delay],
            last_step=np.minimum(delay, 50_000).astype(int),
        )  # fmt: skip
        found = fit_exponents(frame, ["weight_decay", "learning_rate"])
        (_, low, high), (_, low_rate, high_rate) = found.exponents.values()
        held += (low <= -1 <= high) + (low_rate <= -0.5 <= high_rate)
    assert held >= 36
    assert found.runs == 24
    assert f"weight_decay   {found.exponents['weight_decay'][0]:.2f} [" in str(found)
    for settings, said in [(["seed"], "must name columns of numbers"), (["memorized"], "above 0")]:
        with pytest.raises(ConfigError, match=said):
            fit_exponents(frame, settings)
    with pytest.raises(ConfigError, match="weight_decay has one value"):
        fit_exponents(frame[frame["weight_decay"] == 1.0], ["weight_decay"])


# ── figures ──────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def swept() -> pd.DataFrame:
    """Two decays and two rates, three runs each; at the smaller decay one run of each rate had not generalized."""
    rows = [
        (decay, rate, seed, 10, 10 + int(100 * (seed + 1) / decay) if decay == 2 or seed < 2 else None, 1_000)
        for decay in (0.5, 2.0) for rate in (0.001, 0.01) for seed in range(3)
    ]  # fmt: skip
    frame = pd.DataFrame(
        rows, columns=["weight_decay", "learning_rate", "seed", "memorized", "generalized", "last_step"]
    )
    frame["run"] = [f"run{i}" for i in range(len(frame))]
    return table(**frame).assign(test_loss=1.5)


def test_a_figure_of_a_sweep_has_a_point_a_run_and_medians_that_count_the_censored(swept):
    figure = plot.sweep(swept, "weight_decay", color="learning_rate")
    points = [trace for trace in figure.data if trace.mode == "markers" and trace.x[0] is not None]
    assert sum(len(trace.x) for trace in points) == 12
    open_ones = [trace for trace in points if trace.marker.symbol == "triangle-up-open"]
    assert [list(trace.y) for trace in open_ones] == [[990], [990]]
    lines = [trace for trace in figure.data if trace.mode == "lines"]
    assert [list(trace.y) for trace in lines] == [[400, 100], [400, 100]]  # 200, 400, > 990: the second
    assert figure.layout.xaxis.title.text == "Weight decay"
    other = plot.sweep(swept, "learning_rate", "test_loss")
    assert other.layout.yaxis.title.text == "Test loss (nats)"
    for wrong, said in [(("decay",), "no column 'decay'"), (("weight_decay", "loss"), "no column 'loss'")]:
        with pytest.raises(ConfigError, match=said):
            plot.sweep(swept, *wrong)


def test_a_map_of_two_settings_has_their_medians(swept):
    few = swept.copy()
    few.loc[(few["weight_decay"] == 0.5) & (few["learning_rate"] == 0.01), "generalized"] = None
    (heat,) = plot.sweep_map(few, "weight_decay", "learning_rate").data
    assert np.round(10 ** heat.z[0]).tolist() == [400, 100]
    assert np.isnan(heat.z[1][0])
    assert heat.text[1][0] == "0 of 3"
    (loss,) = plot.sweep_map(few, "weight_decay", "learning_rate", "test_loss").data
    assert (np.array(loss.z) == 1.5).all()


def test_survival_curves_begin_at_one_and_end_with_the_longest_run(swept):
    figure = plot.survival(swept, "weight_decay")
    curves = [trace for trace in figure.data if trace.mode == "lines" and trace.name]
    assert [trace.name for trace in curves] == ["0.5 (6, 2 not by the last step)", "2 (6)"]
    assert all(trace.y[0] == 1 for trace in curves)
    assert curves[0].x[-1] == 990
    assert curves[0].y[-1] == pytest.approx(1 / 3)
    assert curves[1].y[-1] == 0


def test_accuracies_by_setting_are_thin_for_runs_and_thick_for_medians(swept):
    histories = pd.DataFrame(
        [(name, step, (i + step) / 100) for i, name in enumerate(swept["run"]) for step in (0, 10)],
        columns=["run", "step", "test_accuracy"],
    )
    figure = plot.accuracies_by_setting(histories, swept, "weight_decay")
    thick = [trace for trace in figure.data if trace.line.width == 3]
    assert [trace.name for trace in thick] == ["0.5", "2"]
    assert list(thick[0].y) == pytest.approx([0.025, 0.125])
    assert len(figure.data) == 14
    with pytest.raises(ConfigError, match="histories must be those of a sweep"):
        plot.accuracies_by_setting(swept, swept)


def test_a_sweep_that_was_trained_can_be_drawn(tmp_path):
    grid = {"p": 5, "train_fraction": 0.6, "d_model": 8, "n_heads": 1, "d_mlp": 8, "steps": 300, "learning_rate": 0.01,
            "weight_decay": [0.5, 1.0]}  # fmt: skip
    done = interp.sweep(grid, tmp_path, workers=1, progress=False)
    assert len(plot.accuracies_by_setting(done.histories(progress=False), done.table).data) == 4
    assert done.table["memorized"].notna().all()
    assert len(plot.survival(done.table, None).data) == 2


def of_settings() -> pd.DataFrame:
    """Runs of a middle (weight decay 1), of other decays, of dropout with another rate, and of another network."""
    rows = []

    def run(memorized, generalized, last=1_000, **settings):
        rows.append({
            **interp.TrainConfig(p=23, train_fraction=0.8, steps=last, seed=len(rows)).flat(), **settings,
            "memorized": memorized, "generalized": generalized, "last_step": last,
        })  # fmt: skip

    for generalized in (110, 210, 310):
        run(10, generalized)
    for generalized in (30, 20, 40):
        run(10, generalized, weight_decay=3.0)
    for generalized in (None, 900, None):
        run(10, generalized, weight_decay=0.1)
    run(None, None, weight_decay=10.0)
    run(10, 510, dropout=0.1, learning_rate=0.01)
    for d_hidden in (64, 128):
        run(10, 10, network="one_hidden_layer", **{"network.d_hidden": d_hidden, "network.d_embed": 32})
    return table(**{name: list(column) for name, column in pd.DataFrame(rows).astype(object).items()})


def test_runs_are_told_by_what_sets_them_apart_from_the_middle():
    found = moved(of_settings())
    assert found["setting"].tolist() == (
        [""] * 3 + ["weight_decay=3"] * 3 + ["weight_decay=0.1"] * 3 + ["weight_decay=10"]
        + ["learning_rate=0.01, dropout=0.1"]
        + ["network=one_hidden_layer, network.d_hidden=64", "network=one_hidden_layer, network.d_hidden=128"]
    )  # fmt: skip
    assert found["moved"].iloc[10] == "learning_rate+dropout"
    with pytest.raises(ConfigError, match=r"takes the table of a sweep, .*; got \['a'\]"):
        moved(pd.DataFrame({"a": [1]}))


def test_effects_are_medians_beside_the_middle_and_tested_against_it():
    """The middle waits for 100, 200, 300 steps; decay 3 for 10, 20, 30: a tenth. With 0.1 two of three still wait."""
    found = interp.effects(of_settings()).set_index("setting")
    assert found.index[0] == "the middle"
    assert found["delay"].iloc[0] == 200
    assert found.loc["weight_decay=3", ["delay", "ratio", "runs", "generalized"]].tolist() == [20, 0.1, 3, 3]
    slow = found.loc["weight_decay=0.1"]
    assert (slow["generalized"], math.isnan(slow["delay"])) == (1, True)
    never = found.loc["weight_decay=10"]
    assert (never["runs"], never["generalized"], math.isnan(never["memorized"])) == (1, 0, True)
    # Log-rank by hand, 10, 20, 30 against 100, 200, 300: expected events of the first group 3/6, 2/5 and 1/4 at its
    # three times, variances 1/4, 6/25 and 3/16.
    expected, variance = 0.5 + 0.4 + 0.25, 1 / 4 + 6 / 25 + 3 / 16
    assert found.loc["weight_decay=3", "p_value"] == pytest.approx(2 * norm.sf((3 - expected) / math.sqrt(variance)))
    # Generalizing with memorizing is no delay at all.
    assert found.loc["network=one_hidden_layer, network.d_hidden=64", "delay"] == 0
    with pytest.raises(ConfigError, match="needs runs of the middle"):
        interp.effects(of_settings().assign(memorized=pd.array([None] * 13, dtype="Int64")))


def test_the_figure_of_effects_has_a_panel_a_setting_and_the_middle_in_each():
    figure = plot.effects(of_settings(), columns=2)
    titles = [note.text for note in figure.layout.annotations]
    assert titles == ["weight_decay", "learning_rate + dropout", "network + d_hidden"]
    decay = [trace for trace in figure.data if trace.xaxis == "x"]
    seen, waiting, medians = decay
    assert sorted(zip(seen.x, seen.y, strict=True)) == [
        ("0.1", 890), ("1", 100), ("1", 200), ("1", 300), ("3", 10), ("3", 20), ("3", 30),
    ]  # fmt: skip
    assert list(zip(waiting.x, waiting.y, strict=True)) == [("0.1", 990), ("0.1", 990)]
    assert waiting.marker.symbol == "triangle-up-open"
    np.testing.assert_array_equal(medians.y, [np.nan, 200, 20, np.nan])
    assert list(medians.x) == ["0.1", "1", "3", "10"]
    bands = [(shape.y0, shape.y1) for shape in figure.layout.shapes if shape.type == "rect"]
    assert bands == [(100, 300)] * 3
    with pytest.raises(ConfigError, match="needs runs of the middle of a sweep"):
        plot.effects(of_settings().iloc[:3])


def test_settings_that_move_together_have_no_exponents_of_their_own():
    frame = table(memorized=[10] * 4, generalized=[110, 210, 310, 410], last_step=[500] * 4)
    frame = frame.assign(weight_decay=[1.0, 2.0, 3.0, 4.0], learning_rate=[2.0, 4.0, 6.0, 8.0])
    for settings in (["weight_decay", "learning_rate"], ["weight_decay"] * 2, []):
        with pytest.raises(ConfigError, match="must name settings that vary apart from each other"):
            fit_exponents(frame, settings)


def test_runs_that_leave_a_setting_at_none_are_a_group_too():
    frame = of_settings()
    frame.loc[frame["network"].notna(), "generalized"] = 60
    legend = {trace.name for trace in plot.sweep(frame, x="learning_rate", color="network").data if trace.name}
    assert {"transformer", "one_hidden_layer"} <= legend
    with pytest.raises(ConfigError, match="needs numbers; optimizer holds words"):
        plot.sweep(frame, x="optimizer")
