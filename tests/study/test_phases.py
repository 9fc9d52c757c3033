"""Phases of trajectories whose events can be read off by hand, of public histories, and of runs that lack them.

`plainly` is a second implementation of the definitions, row by row, to which phases() is held on public histories and
on random frames.
"""

import math
import warnings
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import example, given, strategies as st

import interp
from interp import CheckpointError, ConfigError, Phases
from tests.processes import outside
from tests.wild import published

STEPS = np.arange(0, 1600, 100)


def grokked(**changes) -> pd.DataFrame:
    """Test loss: peak e² at 200, straight in log to e⁻⁸ at 800, then flat. It is under e²/6 = e^0.21 from 308 on."""
    log_test = np.interp(STEPS, [0, 200, 800, 1500], [1, 2, -8, -8])
    columns = {
        "step": STEPS,
        "train_accuracy": np.where(STEPS >= 100, 1.0, 0.1),
        "test_accuracy": np.where(STEPS >= 700, 1.0, 0.1),
        "test_loss": np.exp(log_test),
        "excluded_loss": np.interp(STEPS, [0, 300, 1500], [5, 0.1, 6]),
    }
    return pd.DataFrame(columns | changes)


def test_every_event_of_a_run_that_groks():
    ph = interp.phases(grokked())
    assert (ph.memorized, ph.memorization_end, ph.circuit_formation_end) == (100, 300, 400)
    assert (ph.cleanup_end, ph.cleanup_after) == (800, None)  # 0.99 of the fall is reached at 794
    assert (ph.generalized, ph.grokking_delay, ph.last_step) == (700, 600, 1500)
    assert (ph.missing, ph.doubts, ph.passage_end) == ({}, (), 1500)


def test_boundaries_by_their_formula():
    """Between rows of 1 step, both boundaries are where the straight line crosses them: 200 + 60 log 6 is 307.5."""
    steps = np.arange(0, 1501)
    log_test = np.interp(steps, [0, 200, 800, 1500], [1, 2, -8, -8])
    frame = pd.DataFrame({"step": steps, "test_loss": np.exp(log_test), "test_accuracy": np.where(steps > 700, 1.0, 0)})
    ph = interp.phases(frame)
    assert ph.circuit_formation_end == math.ceil(200 + 60 * math.log(6)) == 308
    assert ph.cleanup_end == 794
    assert ph.missing["memorization_end"] == "the trajectory has no train_accuracy"
    assert ph.missing["grokking_delay"] == "the trajectory has no train_accuracy"


def test_the_floor_is_the_lowest_after_it_generalized_and_a_later_rise_changes_nothing():
    frame = grokked()
    frame.loc[10, "test_loss"] = math.exp(-7.9)
    assert interp.phases(frame).cleanup_end == 800


def test_the_least_excluded_loss_counts_only_after_memorization():
    frame = grokked()
    frame.loc[0, "excluded_loss"] = 0.0
    assert interp.phases(frame).memorization_end == 300


# ── what a record's length and a single row may move ─────────────────────────────────────────────────────────────


def test_a_longer_record_moves_no_event_but_the_end_of_cleanup(shipped):
    """As much of the shipped run as was recorded by each of these steps."""
    history = shipped.history
    for last, bound in ((10_500, 10_490), (11_000, 10_990), (12_000, 11_960), (13_000, 12_790)):
        ph = interp.phases(history[history["step"] <= last])
        assert (ph.memorized, ph.circuit_formation_end, ph.generalized) == (140, 9_430, 10_430)
        assert (ph.cleanup_end, ph.cleanup_after, ph.passage_end) == (None, bound, last)
        assert ph.missing["cleanup_end"] == f"test loss was still falling when the record ended, step {last:,}"
        assert ph.spans() == [("cleanup, going on", 9_430, last)]
        assert ph.at(last) == "cleanup, going on"
        assert ph.ends() == []
        assert f"cleanup_end            – {bound:,} or later: test loss was still falling" in str(ph)


def falling(last: int, spike: dict[int, float] | None = None) -> pd.DataFrame:
    """Test loss e³ until 600, then straight in log by 1/100 a step without end; it generalizes at 1,000."""
    steps = np.arange(0, last + 1, 50)
    loss = np.exp(3 - np.clip(steps - 600, 0, None) / 100)
    for step, value in (spike or {}).items():
        loss[steps == step] = value
    return pd.DataFrame({
        "step": steps, "train_accuracy": np.where(steps >= 100, 1.0, 0.0),
        "test_accuracy": np.where(steps >= 1_000, 1.0, 0.0), "test_loss": loss,
    })  # fmt: skip


def test_a_loss_that_falls_without_end_has_no_end_of_cleanup():
    """Cut at 0.8 of the way the crossing moves by nearly a fifth of the way, over the tenth that is allowed."""
    for last in (1_400, 2_000, 5_000):
        ph = interp.phases(falling(last))
        assert (ph.circuit_formation_end, ph.generalized, ph.cleanup_end) == (800, 1_000, None)  # 600 + 100 log 6 = 779
        assert ph.cleanup_after == 50 * math.ceil((600 + 0.99 * (last - 600)) / 50)


def test_under_five_rows_tell_no_settled_loss():
    flat = falling(1_600).assign(test_loss=lambda f: f["test_loss"].clip(lower=math.exp(-1)))
    assert interp.phases(flat[flat["step"] <= 1_200]).cleanup_end == 1_000  # five rows, all of them at the floor
    ph = interp.phases(flat[flat["step"] <= 1_150])
    assert (ph.cleanup_end, ph.cleanup_after) == (None, 1_000)
    assert ph.missing["cleanup_end"] == (
        "test_loss has only 4 rows from step 1,000 until the record ended, and 5 are needed to tell whether it was "
        "still falling"
    )


def test_a_settled_loss_may_move_by_a_tenth_of_the_way_and_no_more():
    """From 1,000 to 2,000, with a small step down at `late`: the first 800 steps do not see one that comes later."""

    def ends(last_step_down: int) -> int | None:
        steps = np.arange(0, 2_001, 10)
        loss = np.select([steps < 600, steps < 1_700, steps < last_step_down], [1.0, 1e-3, 1e-3], 1e-4)
        frame = pd.DataFrame({"step": steps, "test_loss": loss, "test_accuracy": np.where(steps >= 1_000, 1.0, 0.0)})
        return interp.phases(frame).cleanup_end

    assert ends(3_000) == 1_000
    assert ends(1_800) == 1_800  # which the first four fifths see too
    assert ends(1_810) is None  # from 1,000 to 1,810 is more than 100
    steps = np.arange(0, 2_001, 10)
    for down, expected in ((1_100, 1_100), (1_110, 1_110)):  # a second step, to be seen only after 1,800
        loss = np.select([steps < 600, steps < 1_000, steps < down], [1.0, 1e-3, 1e-3], 1e-4)
        loss = np.where(steps >= 1_810, 0.9e-4, loss)  # 0.99 of the way to it is 0.985e-4
        found = interp.phases(
            pd.DataFrame({"step": steps, "test_loss": loss, "test_accuracy": np.where(steps >= 1_000, 1.0, 0.0)})
        )
        assert found.cleanup_end is None
        assert expected < found.cleanup_after == 1_810


def test_one_row_of_a_collapse_moves_nothing_and_one_of_a_spike_is_named():
    whole = interp.phases(falling(2_000))
    chance = falling(2_000, {300: math.log(113)})
    assert interp.phases(chance).circuit_formation_end == whole.circuit_formation_end == 800
    assert interp.phases(chance).doubts == ()
    late = interp.phases(falling(2_000, {900: 10.0}))  # beside e^0.5 and e^−0.5
    assert late.circuit_formation_end == 950
    assert late.doubts == (
        "circuit_formation_end rests on one row: test_loss at step 900 (10), the last one over a sixth of the peak, is "
        "more than twice both rows beside it; without that row it is 800",
    )
    high = interp.phases(falling(2_000, {300: 200.0}))  # a sixth of it is 33, which no other row reaches
    assert high.circuit_formation_end == 350
    assert high.doubts == (
        "circuit_formation_end rests on one row: test_loss at step 300 (200), the peak, is more than twice both rows "
        "beside it; without that row it is 800",
    )
    assert "doubt                  circuit_formation_end rests on one row" in str(high)
    hides = interp.phases(falling(2_000, {1_000: 10.0}))  # at the very step at which it generalizes
    assert hides.circuit_formation_end is None
    assert hides.doubts[0].endswith("is more than twice both rows beside it; without that row it is 800")
    beside = math.exp(3)  # twice both rows beside it, and no more
    assert interp.phases(falling(2_000, {300: 1.999 * beside})).doubts == ()
    assert len(interp.phases(falling(2_000, {300: 2.001 * beside})).doubts) == 1


def test_without_test_accuracy_the_losses_alone_tell_and_a_doubt_says_so():
    frame = grokked().drop(columns="test_accuracy")
    ph = interp.phases(frame)
    assert (ph.circuit_formation_end, ph.cleanup_end, ph.generalized, ph.passage_end) == (400, 800, None, 1500)
    assert ph.memorization_end == 300
    assert ph.doubts == (
        "the record has no test_accuracy, so its falls cannot be seen: phases are read off test_loss alone",
    )
    cut = interp.phases(frame[frame["step"] <= 600])
    assert (cut.circuit_formation_end, cut.cleanup_end, cut.cleanup_after) == (400, None, 600)
    assert cut.spans() == [("memorization", 0, 300), ("circuit formation", 300, 400), ("cleanup, going on", 400, 600)]
    early = interp.phases(frame[frame["step"] <= 300])
    assert early.circuit_formation_end is early.cleanup_end is early.cleanup_after is None
    assert early.missing["circuit_formation_end"] == (
        "test_loss had not fallen to a sixth of its peak when the record ended"
    )
    assert early.missing["cleanup_end"] == early.missing["circuit_formation_end"]


def test_what_the_loss_does_after_it_generalized_has_no_part_in_the_circuit():
    """The row of step 700, at which it generalizes, has no loss, and all later ones are over the peak."""
    frame = grokked()
    frame.loc[7:, "test_loss"] = [math.nan, *[100.0] * 8]
    ph = interp.phases(frame)
    assert (ph.circuit_formation_end, ph.cleanup_end) == (400, None)
    assert ph.missing["cleanup_end"] == "test_loss never fell from its peak"
    frame.loc[7:, "test_loss"] = math.nan
    ph = interp.phases(frame)
    assert ph.circuit_formation_end == 400
    assert ph.missing["cleanup_end"] == (
        "test_loss has no value from step 700, where it generalized, until the record ended"
    )


def test_a_run_that_memorizes_after_the_circuit_formed():
    ph = interp.phases(grokked(train_accuracy=np.where(STEPS >= 500, 1.0, 0.1)))
    assert (ph.memorized, ph.circuit_formation_end, ph.generalized, ph.grokking_delay) == (500, 400, 700, 200)
    assert ph.memorization_end is None
    assert ph.missing["memorization_end"] == (
        "the circuit had formed, at step 400, before the train pairs were memorized, at step 500: the phases overlap"
    )
    assert ph.spans() == [("cleanup", 400, 800), ("grokked", 800, 1500)]


def test_order_extra_columns_and_gaps_do_not_matter():
    frame = grokked(comment="mine")
    frame.loc[5, "test_loss"] = np.nan
    assert interp.phases(frame.sample(frac=1, random_state=0)) == interp.phases(grokked())


def test_a_run_that_never_memorized():
    ph = interp.phases(grokked(train_accuracy=np.full(16, 0.4), test_accuracy=np.full(16, 0.1)))
    assert ph.memorization_end is ph.grokking_delay is ph.circuit_formation_end is None
    assert "never memorized: train_accuracy was 0.400 at the most" in ph.missing["memorization_end"]
    assert "never generalized: test_accuracy was 0.100" in ph.missing["cleanup_end"]
    assert "never memorized" in str(ph)


def test_a_run_that_memorized_and_never_generalized():
    ph = interp.phases(grokked(test_accuracy=np.full(16, 0.5), excluded_loss=np.linspace(5, 0.1, 16)))
    assert ph.memorized == 100
    later = {"memorization_end", "circuit_formation_end", "generalized", "cleanup_end", "grokking_delay"}
    assert set(ph.missing) == later | {"lost", "dips"}
    assert all(getattr(ph, name) is None for name in ph.missing)
    assert set(ph.missing.values()) == {"it never generalized: test_accuracy was 0.500 at the most, under 0.99"}
    assert "lost                   – it never generalized: test_accuracy was 0.500" in str(ph)


def test_a_run_that_generalized_at_once():
    ph = interp.phases(grokked(test_accuracy=np.where(STEPS >= 100, 1.0, 0.1)))
    assert ph.grokking_delay is ph.memorization_end is None
    assert "generalized at once" in ph.missing["memorization_end"]
    assert "generalized at once" in ph.missing["grokking_delay"]
    # up to step 100 the loss has only grown, to e^1.5, which is the peak then
    assert ph.missing["circuit_formation_end"] == (
        "test_loss had not fallen to a sixth of its peak when it generalized, step 100"
    )
    assert ph.cleanup_end == 800


def test_test_loss_that_never_falls():
    ph = interp.phases(grokked(test_loss=np.linspace(1, 2, 16)))
    assert ph.missing["circuit_formation_end"] == ph.missing["cleanup_end"] == "test_loss never fell from its peak"


def test_spans_name_the_phases_in_order():
    assert interp.phases(grokked(excluded_loss=np.interp(STEPS, [0, 200, 1500], [5, 0.1, 6]))).spans() == [
        ("memorization", 0, 200),
        ("circuit formation", 200, 400),
        ("cleanup", 400, 800),
        ("grokked", 800, 1500),
    ]


def test_a_column_without_values_says_what_is_unknown():
    ph = interp.phases(grokked(train_accuracy=np.full(16, np.nan)))
    assert "train_accuracy has no values, as when the train/test split" in ph.missing["memorized"]


def test_frames_that_are_no_trajectory():
    with pytest.raises(ConfigError, match=r"must have a column step; its columns are loss\."):
        interp.phases(pd.DataFrame({"loss": [1.0]}))
    with pytest.raises(ConfigError, match="has no rows"):
        interp.phases(grokked().iloc[:0])


def test_the_reference_trajectory():
    """Somebody else's data frame, without train accuracy: its events fall near 9,400 and 13,000."""
    ph = interp.phases(pd.read_csv(published("../mainline_reference.csv")))
    assert abs(ph.circuit_formation_end - 9_400) <= 200
    assert abs(ph.cleanup_end - 13_000) <= 200
    assert ph.missing["memorization_end"] == "the trajectory has no train_accuracy"


def test_a_small_run_says_in_words_what_it_lacks(small_run):
    ph = interp.phases(small_run)
    assert ph.generalized is None
    assert "never generalized" in ph.missing["generalized"]
    assert "<table>" in ph._repr_html_()


# ── unstable runs ────────────────────────────────────────────────────────────────────────────────────────────────


def unstable(**changes) -> pd.DataFrame:
    """It generalizes at 300, dips at 500 (back at 700), dips to 0.85 at 800 (back at 900), and is lost at 1,100.

    0.98 is back, and 0.97 is not.
    """
    columns = {
        "step": np.arange(0, 1300, 100),
        "train_accuracy": [0.1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1],
        "test_accuracy": [0, 0, 0.5, 0.99, 0.95, 0.89, 0.95, 0.98, 0.85, 0.99, 0.92, 0.5, 0.97],
        "test_loss": np.exp([1, 3, 2, -6, -7, 2, 1, -9, 1, -9, 0, 9, 2]),
    }
    return pd.DataFrame(columns | changes)


def test_what_happens_after_the_first_fall_moves_no_event():
    ph = interp.phases(unstable())
    # the peak is e³ at 100, not e⁹ at 1,100, and e² at 200 is over a sixth of it; the floor is e⁻⁷ at 400, not e⁻⁹
    assert (ph.memorized, ph.circuit_formation_end, ph.generalized) == (100, 300, 300)
    assert (ph.cleanup_end, ph.cleanup_after, ph.passage_end) == (None, 400, 400)
    assert (ph.dips, ph.dip_steps, ph.lost) == (2, ((500, 700), (800, 900)), 1100)
    assert ph.intervals == {
        "memorized": (0, 100),
        "circuit_formation_end": (200, 300),
        "generalized": (200, 300),
        "lost": (1000, 1100),
    }
    assert ph.spans() == [("cleanup, going on", 300, 400)]
    assert ph.missing["cleanup_end"] == (
        "test_loss has only 2 rows from step 300 until test accuracy fell, and 5 are needed to tell whether it was "
        "still falling"
    )
    assert "lost                   1,100 (after 1,000)" in str(ph)


def test_a_loss_that_was_still_falling_when_it_fell_back():
    whole = falling(3_000)
    whole["test_accuracy"] = whole["test_accuracy"].where(~whole["step"].between(1_500, 2_000), 0.5)
    ph = interp.phases(whole)
    assert (ph.dips, ph.dip_steps, ph.lost, ph.passage_end) == (1, ((1_500, 2_050),), None, 1_450)
    assert ph.missing["cleanup_end"] == "test loss was still falling at step 1,450, before test accuracy fell"
    assert ph.spans() == [("cleanup, going on", 800, 1_450)]


def test_accuracy_that_comes_back_to_a_hundredth_under_the_threshold_was_not_lost():
    rows = [0, 0, 0, 1, 0.5, 0.9897, 0.9897, 0.97, 0.97, 0.97, 0.97, 0.97, 0.97]
    ph = interp.phases(unstable(test_accuracy=rows))
    assert (ph.lost, ph.dips, ph.dip_steps) == (None, 1, ((400, 500),))
    assert interp.phases(unstable(test_accuracy=[*rows[:5], *[0.9799] * 8])).lost == 400


def test_the_row_of_the_fall_is_not_in_the_passage():
    frame = unstable()
    frame.loc[5, "test_loss"] = math.exp(-60)  # of step 500, where it falls: as a floor it would move both ends
    assert interp.phases(frame) == interp.phases(unstable())


def test_a_run_that_kept_it_has_neither_loss_nor_reason():
    ph = interp.phases(grokked())
    assert (ph.lost, ph.dips, ph.missing) == (None, 0, {})
    assert "lost                   no" in str(ph)


def test_a_fall_is_nine_hundredths_below_the_threshold():
    assert interp.phases(unstable()).dips == 2
    # under 0.86 at threshold 0.95 only the second one is a fall, and 0.92, 0.5, 0.98 is a third
    ph = interp.phases(unstable(), threshold=0.95)
    assert (ph.generalized, ph.dips, ph.lost, ph.threshold) == (300, 2, None, 0.95)
    assert ph.dip_steps == ((800, 900), (1100, 1200))
    assert interp.phases(unstable(test_accuracy=[0, 0, 0, 1, 0.5, 0.94, 1, 1, 1, 1, 1, 1, 1]), 0.95).dip_steps == (
        (400, 500),
    )
    # 0.91 − 0.09 is 0.8200000000000001 in floating point, and 0.82 is not under it
    assert interp.phases(unstable(test_accuracy=[0, 0, 0, 1, 0.82, 1, 1, 1, 1, 1, 1, 1, 1]), 0.91).dips == 0
    assert interp.phases(unstable(test_accuracy=[0, 0, 0, 1, 0.86, 1, 0.8599, 1, 1, 1, 1, 1, 1]), 0.95).dips == 1


def test_sustain_asks_for_rows_in_a_row():
    frame = unstable(test_accuracy=[0, 1, 0.5, 1, 1, 0.95, 1, 1, 1, 0.5, 1, 1, 1])
    found = [interp.phases(frame, sustain=n) for n in (1, 2, 3, 4)]
    assert [ph.generalized for ph in found] == [100, 300, 600, None]
    assert [ph.dips for ph in found] == [2, 1, 1, None]
    assert found[2].sustain == 3
    assert found[3].missing["generalized"] == (
        "it never generalized: test_accuracy was not 0.99 or more for 4 rows in a row"
    )
    assert interp.phases(unstable(test_accuracy=[0] * 12 + [1]), sustain=2).generalized is None


def test_a_loss_that_had_not_fallen_to_a_sixth_when_it_generalized():
    ph = interp.phases(unstable(test_loss=np.exp([1, 3, 3, 2.9, -7, 0, 0, 0, 0, 0, 0, 0, 0])))
    assert ph.circuit_formation_end is None
    assert ph.missing["circuit_formation_end"] == (
        "test_loss had not fallen to a sixth of its peak when it generalized, step 300"
    )
    assert (ph.cleanup_end, ph.cleanup_after, ph.spans()) == (None, 400, [])


def test_memorization_ends_before_it_generalized():
    frame = grokked(excluded_loss=np.interp(STEPS, [0, 300, 400, 500, 1500], [5, 0.3, 6, 0.1, 0.01]))
    assert interp.phases(frame).memorization_end == 300  # and not 500, where the circuit had formed
    frame["excluded_loss"] = frame["excluded_loss"].where((frame["step"] < 100) | (frame["step"] > 400))
    assert interp.phases(frame).missing["memorization_end"] == (
        "excluded_loss has no value from step 100, where it memorized, to step 400, where the circuit had formed"
    )
    unformed = frame.assign(test_loss=1.0)
    assert interp.phases(unformed).memorization_end == 700
    unformed["excluded_loss"] = unformed["excluded_loss"].where(unformed["step"] > 700)
    assert interp.phases(unformed).missing["memorization_end"] == (
        "excluded_loss has no value from step 100, where it memorized, to step 700, where it generalized"
    )


def test_a_record_that_begins_after_the_events():
    """As the continued runs among the public histories: accuracies of 1 at the first row, which is not step 0."""
    frame = unstable(
        step=np.arange(5000, 6300, 100), train_accuracy=np.ones(13),
        test_accuracy=[0.9, 0.5, 0.99, 0.5, 1, 0.3, 0.98, 1, 1, 1, 0.9, 0.89, 0.9],
    )  # fmt: skip
    ph = interp.phases(frame)
    assert (ph.dips, ph.lost, ph.intervals) == (2, 6100, {"lost": (6000, 6100)})
    assert ph.memorized is ph.generalized is ph.grokking_delay is ph.circuit_formation_end is ph.cleanup_end is None
    assert ph.missing["generalized"] == (
        "the record begins after it generalized: test_accuracy is 0.900 at its first row, step 5,000"
    )
    assert ph.missing["memorized"].startswith("the record begins after it memorized: train_accuracy is 1.000")
    begun_at_0 = interp.phases(frame.assign(step=np.arange(0, 1300, 100)))  # with another training's weights
    assert begun_at_0.memorized is begun_at_0.generalized is begun_at_0.passage_end is None
    assert (begun_at_0.dips, begun_at_0.lost, begun_at_0.intervals) == (2, 1100, {"lost": (1000, 1100)})
    low = frame.assign(test_accuracy=[0.89, *frame["test_accuracy"][1:]])
    assert interp.phases(low).generalized == 5200


def test_thresholds_and_rows_that_are_none():
    for threshold in (0.0, 1.01, 99.0, math.nan):
        with pytest.raises(ConfigError, match="threshold must be an accuracy above 0 and at most 1"):
            interp.phases(grokked(), threshold=threshold)
    with pytest.raises(ConfigError, match="sustain must be a whole number of rows of at least 1; got 0"):
        interp.phases(grokked(), sustain=0)


def test_arguments_of_another_type():
    """In a process of its own: here the tests' own type checks would answer first."""
    said = outside(
        """
        import interp, numpy as np, pandas as pd
        frame = pd.DataFrame({"step": [0, 1], "test_accuracy": [0.0, 1.0]})
        given = [dict(threshold=t) for t in (0, 99, "0.9", True, None)] + [dict(sustain=n) for n in (1.5, True, "2")]
        for source, settings in [(frame, one) for one in given] + [(one, {}) for one in ({}, [1], frame["step"], None)]:
            try:
                interp.phases(source, **settings)
            except interp.ConfigError as error:
                print(error)
        print(interp.phases(frame, threshold=np.float32(0.5), sustain=np.int64(1)).to_dict()["threshold"])
        print(interp.phases(frame, threshold=1).generalized)
        """
    )
    lines = said.splitlines()
    assert [line.split(" must be ")[0] for line in lines[:8]] == ["threshold"] * 5 + ["sustain"] * 3
    assert [line.split("; got ")[1] for line in lines[8:12]] == ["a dict.", "[1].", "a Series of shape (2,).", "None."]
    assert lines[12:] == ["0.5", "1"]


# ── frames as people have them ───────────────────────────────────────────────────────────────────────────────────

SAME = {
    "steps as text": lambda f: f.assign(step=f["step"].astype(str)),
    "all as text, '' where there is none": lambda f: pd.concat(
        [f.astype(str), pd.DataFrame({name: ["50" if name == "step" else ""] for name in f})]
    ),
    "steps as floats": lambda f: f.assign(step=f["step"].astype(float)),
    "steps as fractions that are whole": lambda f: f.assign(step=[Fraction(int(s)) for s in f["step"]]),
    "an index named step": lambda f: f.set_index("step"),
    "step in a MultiIndex": lambda f: f.assign(run="a").set_index(["run", "step"]),
    "nullable columns": lambda f: f.convert_dtypes(),
    "arrow columns": lambda f: f.convert_dtypes(dtype_backend="pyarrow"),
    "objects": lambda f: f.astype(object),
    "losses as tensors": lambda f: f.assign(test_loss=[torch.tensor(v, requires_grad=True) for v in f["test_loss"]]),
    "float32": lambda f: f.astype(dict.fromkeys(f.columns.drop("step"), np.float32)),
    "unsorted": lambda f: f.iloc[::-1],
    "an index of repeated labels": lambda f: f.set_axis([0] * len(f)),
    "rows twice": lambda f: pd.concat([f, f.iloc[3:7]]),
    "accuracies and losses in rows of their own": lambda f: pd.concat(
        [f.assign(test_loss=None, excluded_loss=None), f.assign(train_accuracy=np.nan, test_accuracy=np.nan)]
    ),
    "an infinite loss": lambda f: pd.concat([f, pd.DataFrame({"step": [450], "test_loss": [math.inf]})]),
    "an infinite loss of the opposite column": lambda f: pd.concat(
        [f, pd.DataFrame({"step": [450], "excluded_loss": [math.inf], "test_loss": [None]})]
    ),
    "an accuracy that rounding put over 1": lambda f: f.assign(train_accuracy=f["train_accuracy"] * (1 + 1e-7)),
    "columns without a value that nothing needs": lambda f: f.assign(train_loss="?", comment=None),
}  # fmt: skip


@pytest.mark.parametrize("change", SAME.values(), ids=SAME)
def test_frames_of_every_make_give_the_same_phases(change):
    assert interp.phases(change(grokked())) == interp.phases(grokked())


def test_a_row_without_a_step_is_left_out_with_a_warning():
    frame = pd.concat([grokked(), pd.DataFrame({"step": [None, np.nan], "test_accuracy": [1.0, 1.0]})])
    with pytest.warns(UserWarning, match="2 of 18 rows have no step, and are left out"):
        assert interp.phases(frame) == interp.phases(grokked())


def test_a_loss_of_exactly_0_counts_as_the_least_positive_one():
    """float32 gives it: taken as it is, a floor of log 0 would lie anywhere. What follows a fall does not count."""
    frame = grokked()
    frame.loc[8, "test_loss"] = 0.0  # the floor is then that of step 900, e⁻⁸, and 800 counts as it
    assert interp.phases(frame) == interp.phases(grokked())
    fallen = grokked(test_accuracy=np.where((STEPS >= 700) & (STEPS < 1400), 1.0, 0.1))
    fallen.loc[8, "test_loss"] = 0.0
    assert interp.phases(fallen).cleanup_end == 800
    fallen.loc[15, "test_loss"] = 1e-300  # after the fall, and nothing to the row of step 800
    assert interp.phases(fallen).cleanup_end == 800
    nowhere = interp.phases(grokked(test_loss=np.where(STEPS < 300, np.inf, 0.0)))
    assert nowhere.missing["cleanup_end"] == "test_loss is nowhere positive and finite"


def test_float32_accuracies_are_compared_as_float32():
    """0.95 in float32 is 0.94999999, and still 0.95."""
    values = np.where(STEPS >= 700, 0.95, 0.1).astype(np.float32)
    assert interp.phases(grokked(test_accuracy=values), threshold=0.95).generalized == 700


def test_the_reason_tells_an_accuracy_from_the_threshold():
    ph = interp.phases(grokked(test_accuracy=np.full(16, 0.98997)))
    assert ph.missing["generalized"] == "it never generalized: test_accuracy was 0.98997 at the most, under 0.99"


REFUSED = {
    "percent": (lambda f: f.assign(test_accuracy=f["test_accuracy"] * 100),
                r"test_accuracy must be a fraction from 0 to 1; got 10 at step 0. If it is in percent, divide it by"),
    "a negative accuracy": (lambda f: f.assign(train_accuracy=-0.5), "train_accuracy must be a fraction from 0 to 1"),
    "log losses": (lambda f: f.assign(test_loss=np.log(f["test_loss"])),
                   r"test_loss must be at least 0; got -1.33333 at step 400. If it is a logarithm, take its exp"),
    "parts of epochs": (lambda f: f.assign(step=f["step"] / 1000), r"step must be a whole number of at least 0; got 0"),
    "negative steps": (lambda f: f.assign(step=f["step"] - 100), r"step must be a whole number of at least 0; got -"),
    "infinite steps": (lambda f: f.assign(step=np.inf), r"step must be a whole number of at least 0; got inf"),
    "huge steps": (lambda f: f.assign(step=1e300), r"step must be a whole number of at least 0; got 1e\+300"),
    "no step at all": (lambda f: f.assign(step=None), "no row of the trajectory has a step"),
    "steps in words": (lambda f: f.assign(step="first"), "step must hold numbers; got 'first'"),
    "bool steps": (lambda f: f.assign(step=f["step"] > 0), "step must hold numbers; got False"),
    "dates": (lambda f: f.assign(step=pd.Timestamp("2020-01-01")), "step must hold numbers; got Timestamp"),
    "bool accuracies": (lambda f: f.assign(test_accuracy=f["test_accuracy"] > 0.5), "test_accuracy must hold numbers"),
    "accuracies with a sign": (lambda f: f.assign(test_accuracy="99 %"), "test_accuracy must hold numbers; got '99 %'"),
    "complex losses": (lambda f: f.assign(test_loss=1j), "test_loss must hold numbers; got 1j"),
    "lists": (lambda f: f.assign(test_loss=[[1, 2]] * 16), r"test_loss must hold numbers; got \[1, 2\]"),
    "two runs in one frame": (lambda f: pd.concat([f, f.assign(test_loss=1.0)]),
                              r"test_loss must have one value a step; got 2.71828 and 1 at step 0. Give the rows"),
    "two columns of a name": (lambda f: pd.concat([f, f[["test_loss"]]], axis=1), "one column test_loss; got 2"),
    "another name for step": (lambda f: f.rename(columns={"step": "epoch"}), "its columns are epoch, train_accuracy"),
}  # fmt: skip


@pytest.mark.parametrize(("change", "said"), REFUSED.values(), ids=REFUSED)
def test_frames_that_cannot_be_right_are_refused_in_a_sentence(change, said):
    with pytest.raises(ConfigError, match=said):
        interp.phases(change(grokked()))


# ── runs ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_shipped_run_as_finely_as_it_was_recorded(shipped):
    ph = interp.phases(shipped)
    assert (ph.memorized, ph.circuit_formation_end, ph.generalized, ph.cleanup_end) == (140, 9_430, 10_430, 13_380)
    assert (ph.memorization_end, ph.grokking_delay, ph.last_step) == (1_400, 10_290, 16_000)
    assert (ph.lost, ph.dips, ph.missing) == (None, 0, {})
    assert ph.intervals == {
        "memorized": (130, 140),
        "memorization_end": (1_200, 1_400),
        "circuit_formation_end": (9_420, 9_430),
        "generalized": (10_420, 10_430),
        "cleanup_end": (13_370, 13_380),
    }
    assert interp.phases(str(shipped.path)) == ph


def test_its_trajectory_alone_gives_the_checkpoints(shipped):
    ph = interp.phases(interp.trajectory(shipped, progress=False))
    assert (ph.memorized, ph.circuit_formation_end, ph.generalized, ph.cleanup_end) == (200, 9_500, 10_500, 13_500)
    assert (ph.memorization_end, ph.grokking_delay, ph.last_step, ph.missing) == (1_400, 10_300, 16_000, {})
    assert all(after < at for after, at in ph.intervals.values())
    assert ph.intervals["generalized"] == (10_250, 10_500)


class Recorded(interp.Run):
    """A run with another history, or with a part of its checkpoints."""

    def __init__(self, run: interp.Run, history, steps=None) -> None:
        sources = {step: run.source(step) for step in (run.steps if steps is None else steps)}
        super().__init__(run.path, run.task, run.architecture, sources, history, run.train_mask, run.config)


def test_checkpoints_that_outlast_the_history(shipped):
    """Until the history ends its rows tell, after that the checkpoints."""
    history = shipped.history[shipped.history["step"] <= 10_000]
    ph = interp.phases(Recorded(shipped, lambda: history))
    assert (ph.memorized, ph.circuit_formation_end, ph.generalized, ph.cleanup_end) == (140, 9_430, 10_500, 13_500)
    assert ph.last_step == 16_000
    assert ph.intervals["generalized"] == (10_250, 10_500)
    losses_alone = shipped.history.assign(train_accuracy=np.nan, test_accuracy=np.nan)
    ph = interp.phases(Recorded(shipped, lambda: losses_alone))
    assert (ph.memorized, ph.circuit_formation_end, ph.generalized, ph.cleanup_end) == (200, 9_430, 10_500, 13_380)


def test_a_run_whose_history_is_gone_or_damaged(shipped):
    def damaged():
        raise CheckpointError("history.parquet is damaged.")

    with pytest.warns(UserWarning, match="history.parquet is damaged. The phases are read off the checkpoints alone"):
        ph = interp.phases(Recorded(shipped, damaged))
    assert ph == interp.phases(interp.trajectory(shipped, progress=False))
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # another's file without losses: nothing is wrong with it
        assert interp.phases(Recorded(shipped, lambda: shipped.history.iloc[:0])) == ph
    with pytest.raises(CheckpointError, match="has no readable checkpoint yet"):
        interp.phases(Recorded(shipped, lambda: shipped.history.iloc[:0], steps=()))


def test_a_damaged_history_on_the_disk(own_run):
    (own_run / "history.parquet").write_bytes(b"torn")
    with pytest.warns(UserWarning, match="not a readable parquet file"):
        torn = interp.phases(own_run)
    (own_run / "history.parquet").unlink()
    with pytest.warns(UserWarning, match="history.parquet is missing"):
        assert interp.phases(own_run) == torn == interp.phases(interp.trajectory(own_run, progress=False))


def test_a_run_without_checkpoints_tells_what_its_history_tells(shipped):
    with pytest.warns(UserWarning, match="no readable checkpoint yet.* read off the history alone"):
        ph = interp.phases(Recorded(shipped, lambda: shipped.history, steps=()))
    assert (ph.memorized, ph.generalized, ph.cleanup_end) == (140, 10_430, 13_380)
    assert "excluded_loss" in ph.missing["memorization_end"]


# ── a second implementation, and what must hold of any record ────────────────────────────────────────────────────


def plainly(frame: pd.DataFrame, t: float = 0.99, sustain: int = 1) -> dict:
    """The definitions read word by word, with loops over rows; every event and interval, None where there is none."""
    rows = sorted(frame.to_dict("records"), key=lambda row: row["step"])
    fell_under, back_from = round(t - 0.09, 9), round(t - 0.01, 9)

    def known(name):
        return [(row["step"], row[name]) for row in rows if name in row and not math.isnan(row[name])]

    def learned(accuracy):
        """The step, and whether the record begins after it."""
        if not any(value >= t for _, value in accuracy):
            return None, False
        if accuracy[0][1] >= fell_under:
            return None, True
        for i in range(len(accuracy) - sustain + 1):
            if all(value >= t for _, value in accuracy[i : i + sustain]):
                return accuracy[i][0], False
        return None, False

    train, test = known("train_accuracy"), known("test_accuracy")
    out = dict.fromkeys(
        ("memorized", "memorization_end", "circuit_formation_end", "generalized", "cleanup_end", "cleanup_after",
         "lost", "dips", "grokking_delay", "passage_end")
    )  # fmt: skip
    out["memorized"], _ = learned(train)
    out["generalized"], begun = learned(test)
    first_fall = math.inf
    if out["generalized"] is not None or begun:
        out["dips"], falling_since = 0, None
        start = out["generalized"] if not begun else next(step for step, value in test if value >= t)
        for step, value in test:
            if step > start and falling_since is None and value < fell_under:
                falling_since = step
                first_fall = min(first_fall, step)
            elif falling_since is not None and value >= back_from:
                falling_since, out["dips"] = None, out["dips"] + 1
        out["lost"] = falling_since
    if out["generalized"] is not None or not test:
        out["passage_end"] = max(row["step"] for row in rows if row["step"] < first_fall)

    def losses(name):
        there = [(step, loss) for step, loss in known(name) if loss != math.inf and step < first_fall]
        least = min((loss for _, loss in there if loss > 0), default=None)
        return [] if least is None else [(step, loss if loss > 0 else least) for step, loss in there]

    loss, excluded = losses("test_loss"), losses("excluded_loss")
    generalized = out["generalized"]
    until = generalized if generalized is not None else math.inf if not test else -1
    up_to = [(step, value) for step, value in loss if step <= until]
    if up_to:
        peak = max(value for _, value in up_to)
        descent = up_to[[value for _, value in up_to].index(peak) :]
        start = generalized
        past = [(step, value) for step, value in loss if test and step >= generalized]
        formed = None
        for step, value in descent:
            if value * 6 > peak:
                formed = None
            elif formed is None:
                formed = step
        out["circuit_formation_end"] = formed
        if not test:
            start, past = formed, [(step, value) for step, value in loss if formed is not None and step >= formed]

        def crossed(stretch):
            floor = min(value for _, value in stretch)
            if floor >= peak:
                return None
            way = math.log(peak) - math.log(floor)
            return next(step for step, value in stretch if math.log(peak) - math.log(value) >= 0.99 * way)

        if past and (step := crossed(past)) is not None:
            end = past[-1][0]
            cut = [(at, value) for at, value in past if at - start <= 0.8 * (end - start)]
            sooner = crossed(cut) if cut else None
            if len(past) >= 5 and sooner is not None and abs(step - sooner) <= 0.1 * (end - start):
                out["cleanup_end"] = step
            else:
                out["cleanup_after"] = step
    memorized, formed = out["memorized"], out["circuit_formation_end"]
    last = formed if formed is not None else generalized
    if memorized is not None and generalized is not None and memorized < generalized:
        out["grokking_delay"] = generalized - memorized
    if memorized is not None and last is not None and (not test or out["grokking_delay"] is not None):
        between = [(value, step) for step, value in excluded if memorized <= step <= last]
        out["memorization_end"] = min(between)[1] if between else None

    columns = {"memorized": train, "memorization_end": excluded, "circuit_formation_end": loss, "generalized": test,
               "cleanup_end": loss, "lost": test}  # fmt: skip
    out["intervals"] = {
        name: (max((step for step, _ in column if step < out[name]), default=None), out[name])
        for name, column in columns.items()
        if out[name] is not None
    }
    return out


def check(frame: pd.DataFrame, t: float = 0.99, sustain: int = 1) -> Phases:
    """Hold phases() to `plainly`, and its result to what must hold of any record."""
    ph = interp.phases(frame, threshold=t, sustain=sustain)
    expected = plainly(frame, t, sustain)
    assert {name: getattr(ph, name) for name in expected} == expected

    def in_order(*steps):
        there = [step for step in steps if step is not None]
        assert there == sorted(there), ph

    in_order(ph.memorization_end, ph.circuit_formation_end, ph.generalized, ph.cleanup_end, ph.lost)
    in_order(ph.memorized, ph.memorization_end)
    in_order(*(step for dip in ph.dip_steps for step in dip), ph.lost)
    assert ph.dips is None or len(ph.dip_steps) == ph.dips
    for name in expected.keys() - {"intervals", "lost", "cleanup_after", "passage_end"}:
        assert (getattr(ph, name) is None) == (name in ph.missing), name
    assert ph.lost is None or "lost" not in ph.missing
    assert ph.cleanup_after is None or ph.cleanup_end is None
    spans = ph.spans()
    assert all(first < last <= ph.last_step for _, first, last in spans)
    in_order(*(step for _, first, last in spans for step in (first, last)))
    return ph


def check_cut(frame: pd.DataFrame, steps) -> None:
    """What was known of a record when it was shorter is what is known of it now."""
    whole = interp.phases(frame)
    for last in steps:
        early = interp.phases(frame[frame["step"] <= last])
        for name in ("memorized", "circuit_formation_end", "generalized"):
            known = getattr(early, name)
            assert known is None or known == getattr(whole, name), (name, last)


@st.composite
def frames(draw) -> pd.DataFrame:
    n = draw(st.integers(1, 14))
    accuracies = st.sampled_from([0.0, 0.5, 0.89, 0.9, 0.92, 0.98, 0.99, 1.0, 1.0, math.nan])
    losses = st.one_of(
        st.floats(1e-12, 100), st.sampled_from([0.0, math.inf, math.nan]), st.sampled_from([1e-7, 2.0, 5.0])
    )
    columns = {"step": draw(st.lists(st.integers(0, 40), min_size=n, max_size=n, unique=True))}
    for name, values in (("train_accuracy", accuracies), ("test_accuracy", accuracies), ("test_loss", losses),
                         ("excluded_loss", losses)):  # fmt: skip
        if draw(st.integers(0, 9)):
            columns[name] = draw(st.lists(values, min_size=n, max_size=n))
    return pd.DataFrame(columns)


@given(frame=frames(), t=st.sampled_from([0.99, 0.99, 0.5, 1.0]), sustain=st.sampled_from([1, 1, 2, 3]))
@example(frame=unstable(), t=0.99, sustain=1)
@example(frame=grokked(), t=0.99, sustain=2)
def test_random_frames_against_the_definitions_row_by_row(frame, t, sustain):
    check(frame, t, sustain)


def test_generated_runs_against_the_definitions_row_by_row():
    """Random walks of accuracy that learn, dip and lose, with losses that follow; 200 of them, from a seed."""
    rng = np.random.default_rng(0)
    seen = {"lost": 0, "dips": 0, "memorization_end": 0, "circuit_formation_end": 0}
    for _ in range(200):
        n = int(rng.integers(20, 60))
        level, here = [], 0.0
        for change in rng.choice([-5, 0, 1, 2], n, p=[0.1, 0.2, 0.3, 0.4]):
            here = min(max(here + change / 10, 0), 1)
            level.append(here)
        level = np.where(np.arange(n) >= rng.integers(n // 2, 2 * n), 0.3, level)  # some lose it for good
        frame = pd.DataFrame({
            "step": np.arange(n) * 10 + int(rng.choice([0, 0, 0, 50])),
            "train_accuracy": np.clip(level * 1.4, 0, 1),
            "test_accuracy": np.where(rng.random(n) < 0.1, np.nan, level),
            "test_loss": np.exp(3 - 20 * np.clip(level - 0.6, 0, 1) + rng.normal(0, 0.3, n)),
            "excluded_loss": rng.random(n),
        })  # fmt: skip
        ph = check(frame.sample(frac=1, random_state=0), sustain=int(rng.integers(1, 3)))
        for name in seen:
            seen[name] += bool(getattr(ph, name))
    assert min(seen.values()) > 20, seen


def test_public_histories_against_the_definitions_row_by_row():
    """150 trainings by other people's code, several of which are continued, dip, or lose what they learned."""
    file = published("histories.parquet")
    columns = ["run", "step", "train_accuracy", "test_accuracy", "test_loss"]
    found = []
    for _, history in pd.read_parquet(file, columns=columns).groupby("run"):
        found.append(check(history))
        check(history, t=0.95, sustain=2)
        check_cut(history, history["step"].quantile([0.2, 0.4, 0.6, 0.8]))
    assert sum(ph.generalized is not None for ph in found) == 99
    assert sum(ph.circuit_formation_end is not None for ph in found) == 99
    assert sum(ph.cleanup_end is not None for ph in found) == 65
    assert sum(ph.cleanup_after is not None for ph in found) == 34
    assert sum(ph.lost is not None for ph in found) == 10
    assert sum(bool(ph.dips) for ph in found) == 30
    assert sum("the record begins after" in ph.missing.get("generalized", "") for ph in found) == 6


def test_how_many_public_histories_of_each_modulus_generalize_as_the_docs_of_train_fraction_say():
    """Of those of 40,000 steps with three tenths of the pairs: how many there are, reach 0.99, and reach 0.95."""
    columns = ["run", "step", "train_fraction", "p", "train_accuracy", "test_accuracy", "test_loss"]
    runs = pd.read_parquet(published("histories.parquet"), columns=columns)
    found: dict[str, list[int]] = {}
    for _, history in runs.dropna(subset="p").groupby("run"):
        p = int(history["p"].iloc[0])
        if history["step"].max() == 39_999 and history["train_fraction"].iloc[0] == 0.3:
            frame = history.drop(columns=["run", "p", "train_fraction"])
            reached = [interp.phases(frame, threshold=t).generalized is not None for t in (0.99, 0.95)]
            name = "7 to 31" if p <= 31 else "59 and 67" if p in (59, 67) else str(p)
            found[name] = [n + one for n, one in zip(found.get(name, [0, 0, 0]), (1, *reached), strict=True)]
    assert found == {
        "7 to 31": [8, 0, 0], "43": [10, 3, 5], "59 and 67": [12, 8, 12], "89": [2, 2, 2], "113": [26, 21, 22],
    }  # fmt: skip


def test_the_phase_at_a_step():
    test_loss = [2.0, 4.0, 2.0, 0.1, *[0.001] * 5]
    record = pd.DataFrame({
        "step": range(0, 900, 100), "train_accuracy": [0, *[1] * 8], "test_accuracy": [0, 0, 0, *[1] * 6],
        "excluded_loss": [4, 1, 2, 3, *[4] * 5], "test_loss": test_loss,
    })  # fmt: skip
    found = interp.phases(record)
    assert found.spans() == [
        ("memorization", 0, 100), ("circuit formation", 100, 300), ("cleanup", 300, 400), ("grokked", 400, 800),
    ]  # fmt: skip
    assert found.ends() == [("memorization", 100), ("circuit formation", 300), ("cleanup", 400)]
    named = [found.at(step) for step in (0, 99, 100, 300, 350, 400, 800, 801)]
    assert named == [
        "memorization", "memorization", "circuit formation", "cleanup", "cleanup", "grokked", "grokked", None,
    ]  # fmt: skip
