"""Phases of trajectories whose events can be read off by hand, of the reference, and of runs that lack them."""

import math
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import interp
from interp import ConfigError
from tests.conftest import ROOT

STEPS = np.arange(0, 1100, 100)


def grokked(**changes) -> pd.DataFrame:
    """Test loss: peak e² at 200, straight in log to e⁻⁸ at 800, then flat: a tenth of the fall is 1 at 260."""
    log_test = np.interp(STEPS, [0, 200, 800, 1000], [1, 2, -8, -8])
    columns = {
        "step": STEPS,
        "train_accuracy": np.where(STEPS >= 100, 1.0, 0.1),
        "test_accuracy": np.where(STEPS >= 700, 1.0, 0.1),
        "test_loss": np.exp(log_test),
        "excluded_loss": np.interp(STEPS, [0, 300, 1000], [5, 0.1, 6]),
    }
    return pd.DataFrame(columns | changes)


def test_every_event_of_a_run_that_groks():
    ph = interp.phases(grokked())
    assert (ph.memorized, ph.memorization_end, ph.circuit_formation_end) == (100, 300, 300)
    assert ph.cleanup_end == 800  # 0.99 of the fall is reached at 794
    assert (ph.generalized, ph.grokking_delay, ph.last_step) == (700, 600, 1000)
    assert ph.missing == {}


def test_boundaries_by_their_formula():
    """Between rows of 1 step, both boundaries are where the straight line crosses them."""
    steps = np.arange(0, 1001)
    log_test = np.interp(steps, [0, 200, 800, 1000], [1, 2, -8, -8])
    frame = pd.DataFrame({"step": steps, "test_loss": np.exp(log_test), "test_accuracy": np.where(steps > 700, 1.0, 0)})
    ph = interp.phases(frame)
    assert ph.circuit_formation_end == 260
    assert ph.cleanup_end == 794
    assert ph.missing["memorization_end"] == "the trajectory has no train_accuracy"
    assert ph.missing["grokking_delay"] == "the trajectory has no train_accuracy"


def test_the_floor_is_the_lowest_after_the_peak_and_a_later_rise_changes_nothing():
    frame = grokked()
    frame.loc[10, "test_loss"] = math.exp(-7.9)
    assert interp.phases(frame).cleanup_end == 800


def test_the_least_excluded_loss_counts_only_after_memorization():
    frame = grokked()
    frame.loc[0, "excluded_loss"] = 0.0
    assert interp.phases(frame).memorization_end == 300


def test_order_extra_columns_and_gaps_do_not_matter():
    frame = grokked(comment="mine")
    frame.loc[4, "test_loss"] = np.nan
    assert interp.phases(frame.sample(frac=1, random_state=0)) == interp.phases(grokked())


def test_a_run_that_never_memorized():
    ph = interp.phases(grokked(train_accuracy=np.full(11, 0.4), test_accuracy=np.full(11, 0.1)))
    assert ph.memorization_end is ph.grokking_delay is ph.circuit_formation_end is None
    assert "never memorized: train_accuracy was 0.400 at the most" in ph.missing["memorization_end"]
    assert "never generalized: test_accuracy was 0.100" in ph.missing["cleanup_end"]
    assert "never memorized" in str(ph)


def test_a_run_that_memorized_and_never_generalized():
    ph = interp.phases(grokked(test_accuracy=np.full(11, 0.5), excluded_loss=np.linspace(5, 0.1, 11)))
    assert ph.memorized == 100
    assert ph.memorization_end is ph.circuit_formation_end is ph.cleanup_end is ph.grokking_delay is None
    assert ph.missing["memorization_end"] == "excluded_loss had not begun to rise at the last checkpoint"
    assert "never generalized" in ph.missing["grokking_delay"]


def test_a_run_that_generalized_at_once():
    ph = interp.phases(grokked(test_accuracy=np.where(STEPS >= 100, 1.0, 0.1)))
    assert ph.grokking_delay == 0
    assert "generalized at once" in ph.missing["memorization_end"]
    assert ph.memorization_end is None


def test_test_loss_that_never_falls():
    ph = interp.phases(grokked(test_loss=np.linspace(1, 2, 11)))
    assert ph.missing["circuit_formation_end"] == "test_loss never fell from its peak"


def test_spans_name_the_phases_in_order():
    assert interp.phases(grokked(excluded_loss=np.interp(STEPS, [0, 200, 1000], [5, 0.1, 6]))).spans() == [
        ("memorization", 0, 200),
        ("circuit formation", 200, 300),
        ("cleanup", 300, 800),
        ("grokked", 800, 1000),
    ]


def test_a_column_without_values_says_what_is_unknown():
    ph = interp.phases(grokked(train_accuracy=np.full(11, np.nan)))
    assert "train_accuracy has no values, as where the train/test split" in ph.missing["memorized"]


def test_frames_that_are_no_trajectory():
    with pytest.raises(ConfigError, match=r"has no column step; it needs step"):
        interp.phases(pd.DataFrame({"loss": [1.0]}))
    with pytest.raises(ConfigError, match="has no rows"):
        interp.phases(grokked().iloc[:0])


def test_the_reference_trajectory():
    """Somebody else's data frame, without train accuracy: its events fall near 9,400 and 13,000."""
    folder = Path(os.environ.get("INTERP_PUBLISHED", ROOT.parent / "shared" / "published"))
    file = folder.parent / "mainline_reference.csv"
    if not file.exists():
        pytest.skip(f"{file} is not on this machine: the reference is not the project's to ship")
    ph = interp.phases(pd.read_csv(file))
    assert abs(ph.circuit_formation_end - 9_400) <= 200
    assert abs(ph.cleanup_end - 13_000) <= 200
    assert ph.missing["memorization_end"] == "the trajectory has no train_accuracy"


def test_a_small_run_says_in_words_what_it_lacks(small_run):
    ph = interp.phases(interp.trajectory(small_run, progress=False))
    assert ph.generalized is None
    assert "never generalized" in ph.missing["generalized"]
    assert "<table>" in ph._repr_html_()
