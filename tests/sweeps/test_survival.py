"""Delays of runs of which some are censored, and what came of each run; Kaplan and Meier by hand."""

import math

import numpy as np
import pandas as pd
import pytest

import interp
from interp import ConfigError, plot
from interp.sweeps.grid import run_id
from interp.sweeps.jobs import Job, perform
from interp.sweeps.survival import OUTCOMES, counted, kaplan_meier, spread, times, waits
from interp.sweeps.table import open_sweep
from interp.utils.errors import DivergedError
from tests.tables import of_settings, swept_table as table


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


def test_every_run_has_an_outcome():
    """A row for each: 0.95 is nearly, and a failed or diverged run has nothing but its error."""
    frame = table(
        memorized=[10] * 6 + [None] * 3,
        generalized=[110, 10] + [None] * 7,
        last_step=[200] * 5 + [None, 200, None, None],
    ).assign(
        train_accuracy=[1.0, 1.0, 1.0, 1.0, 0.5, None, 0.9, None, None],
        test_accuracy=[0.99, 0.99, 0.95, 0.949, 0.96, None, 0.0, None, None],
        threshold=0.99,
        error=[None] * 7 + [f"{DivergedError.BEGINNING} at step 3; …", "its process died 3 times"],
    )  # fmt: skip
    found = interp.outcomes(frame)
    assert found.tolist() == list(OUTCOMES)
    assert found.index.equals(frame.index)
    assert counted(found) == dict.fromkeys(OUTCOMES, 1)
    with pytest.warns(
        UserWarning, match=r"5 of 9 runs have no delay: 1 generalized at once, 1 never gen.*, 1 never mem"
    ):
        assert waits(frame)["delay"].tolist() == [100, 190, 190, 190]
    # A table without accuracies cannot tell who was near.
    few = frame[["memorized", "generalized", "last_step"]].head(3)
    assert interp.outcomes(few).tolist() == ["generalized", "generalized at once", "still waiting"]
    with pytest.raises(ConfigError, match="needs the table of a sweep"):
        interp.outcomes(pd.DataFrame({"step": [1]}))


def test_a_run_that_diverges_is_told_from_one_that_fails(tmp_path):
    path = open_sweep(tmp_path / "sweep", make=True)
    for rate in (1e-3, 1e30):
        config = interp.TrainConfig(
            p=5, train_fraction=0.6, d_model=8, n_heads=1, d_mlp=8, steps=9, optimizer="sgd", weight_decay=0.0,
            learning_rate=rate,
        )  # fmt: skip
        job = Job(config, path / "runs" / run_id(config)[:2] / run_id(config), threads=1)
        if rate < 1:
            assert perform(job) == "done"
        else:
            with pytest.warns(UserWarning, match="no longer finite"):
                assert perform(job) == "failed"
    assert interp.outcomes(interp.load_sweep(path).table).tolist() == ["never memorized", "diverged"]


def test_the_spread_of_five_has_the_interval_of_chi_square():
    """The 2.5 % and 97.5 % points of χ² with 4 degrees of freedom are 0.4844 and 11.1433 in any table."""
    values = np.array([1.0, 2.0, 3.0, 4.0, 5.0])
    s, low, high = spread(values)
    assert s == pytest.approx(math.sqrt(2.5))
    assert low == pytest.approx(s * math.sqrt(4 / 11.1433), rel=1e-4)
    assert high == pytest.approx(s * math.sqrt(4 / 0.4844), rel=1e-4)
    with pytest.raises(ConfigError, match="at least two finite numbers; got"):
        spread(np.array([1.0]))


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


def test_runs_that_leave_a_setting_at_none_are_a_group_too():
    frame = of_settings()
    frame.loc[frame["network"].notna(), "generalized"] = 60
    legend = {trace.name for trace in plot.sweep(frame, x="learning_rate", color="network").data if trace.name}
    assert {"transformer", "one_hidden_layer"} <= legend
    with pytest.raises(ConfigError, match="needs numbers; optimizer holds words"):
        plot.sweep(frame, x="optimizer")


def test_a_cleanup_without_an_end_and_a_run_that_has_not_generalized_are_bounds_from_below():
    frame = table(
        weight_decay=[1.0, 1.0, 1.0, 1.0], memorized=[10] * 4, generalized=[100, 200, 300, None], last_step=[1_000] * 4,
        cleanup_end=pd.array([400, None, None, None], dtype="Int64"),
        cleanup_after=pd.array([None, 500, 450, None], dtype="Int64"),
    )  # fmt: skip
    found = times(frame, "cleanup_end")
    assert found["delay"].tolist() == [400, 500, 450]
    assert found["censored"].tolist() == [False, True, True]
    ends = times(frame, "generalized")
    assert (ends["delay"].tolist(), ends["censored"].tolist()) == ([100, 200, 300, 1_000], [False] * 3 + [True])
    assert times(frame, "memorized") is None
    figure = plot.sweep(frame, "weight_decay", "cleanup_end")
    points = [(trace.marker.symbol, *trace.y) for trace in figure.data if trace.mode == "markers"]
    assert points[:2] == [("circle", 400), ("triangle-up-open", 500, 450)]  # the third is the legend's
