"""Settings of a sweep against its middle: exact tests against counting, adjusted p-values, ratios, their figure."""

import itertools
import math

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binom, t as student_t, ttest_rel

import interp
from interp import ConfigError, plot
from interp.sweeps.comparisons import adjusted, exchange_test, log_rank_scores, moved
from interp.sweeps.survival import OUTCOMES
from tests.conftest import ROOT
from tests.tables import of_settings


def test_scores_add_up_to_the_numerator_of_the_log_rank_test():
    """10, 20, 30 against 100, 200, 300: expected events of the first group are 3/6, 2/5 and 1/4 at its three times."""
    delay = np.array([10.0, 20.0, 30.0, 100.0, 200.0, 300.0])
    scores = log_rank_scores(delay, np.zeros(6, dtype=bool))
    assert scores[:3].sum() == pytest.approx(3 - (3 / 6 + 2 / 5 + 1 / 4))
    assert scores.sum() == pytest.approx(0)
    # With 20 twice, once censored, and 30 twice: 5 at risk at 10, 4 at 20 (one generalizes), 2 at 30 (both).
    tied = log_rank_scores(np.array([10.0, 20.0, 20.0, 30.0, 30.0]), np.array([False, False, True, False, False]))
    assert tied == pytest.approx([1 - 1 / 5, 1 - 9 / 20, -9 / 20, 1 - 29 / 20, 1 - 29 / 20])


def counted_by_hand(scores, group, blocks):
    """The p-value by writing out every labelling of the runs that leaves the labels of each block as many."""
    every = np.array(list(itertools.product([False, True], repeat=len(group))))
    kept = [every[:, blocks == one].sum(1) == group[blocks == one].sum() for one in np.unique(blocks)]
    labellings = every[np.all(kept, axis=0)]
    sums = np.array([scores[labels].sum() for labels in labellings])
    far = np.abs(sums - sums.mean())
    return np.mean(far >= abs(scores[group].sum() - sums.mean()) - 1e-9), np.mean(far >= far.max() - 1e-9)


@pytest.mark.parametrize(
    "blocks",
    [[0] * 10, [*range(5)] * 2, [0, 1, 2, 9, 9] * 2, [0, 1, 2, 9, 0, 1, 2, 9, 9, 9]],
    ids=["without pairs", "five pairs", "three pairs and two runs a side", "three pairs, one run and three"],
)
def test_p_values_are_those_of_counting_every_labelling(blocks):
    draw = np.random.default_rng(0)
    group = np.arange(10) < (4 if blocks[-3:] == [9, 9, 9] else 5)
    for _ in range(3):
        delay, censored = draw.integers(1, 30, 10).astype(float), draw.random(10) < 0.3
        scores = log_rank_scores(delay, censored)
        p_value, least, exact = exchange_test(scores, group, np.array(blocks))
        assert (p_value, least) == pytest.approx(counted_by_hand(scores, group, np.array(blocks)))
        assert exact


def test_five_against_five_cannot_go_under_their_least_p_values():
    """2 of the 252 ways to choose five of ten, and 2 of the 32 ways to exchange five pairs, lie farthest apart."""
    delay = np.array([10.0, 20, 30, 40, 50, 100, 200, 300, 400, 500])
    scores, group = log_rank_scores(delay, np.zeros(10, dtype=bool)), np.arange(10) < 5
    assert exchange_test(scores, group, np.zeros(10)) == (pytest.approx(2 / 252), pytest.approx(2 / 252), True)
    assert exchange_test(scores, group, np.tile(np.arange(5), 2)) == (2 / 32, 2 / 32, True)


def test_under_the_hypothesis_a_p_value_of_at_most_a_has_a_chance_of_at_most_a():
    """Of all 70 labellings of eight runs, which are as likely, and at every level a that occurs."""
    draw = np.random.default_rng(1)
    scores = log_rank_scores(draw.integers(1, 9, 8).astype(float), draw.random(8) < 0.2)
    labellings = [np.isin(np.arange(8), some) for some in itertools.combinations(range(8), 4)]
    found = np.array([exchange_test(scores, labels, np.zeros(8))[0] for labels in labellings])
    assert len(found) == 70
    for level in np.unique(found):
        assert np.mean(found <= level + 1e-9) <= level + 1e-9


def test_many_pairs_are_drawn_and_agree_with_the_binomial_law():
    """Scores of ±1: the sum over 20 pairs is 2 · binomial − 20. 19,999 drawn ones err by 0.0034 in three errors."""
    group = np.arange(40) < 20
    scores = np.where(np.arange(40) % 20 < 13, 1.0, -1.0) * np.where(group, 1, -1)  # 13 pairs one way, 7 the other
    p_value, least, exact = exchange_test(scores, group, np.tile(np.arange(20), 2))
    assert not exact
    assert least == 1 / 20_000
    true = 2 * binom.sf(12, 20, 0.5)
    assert p_value == pytest.approx(true, abs=3 * math.sqrt(true / 19_999))
    assert exchange_test(scores, group, np.tile(np.arange(20), 2))[0] == p_value  # drawn from a fixed seed


def test_p_values_are_adjusted_as_holm_does():
    """Of four: 0.005 · 4, 0.01 · 3, 0.03 · 2, and 0.04, which may not be less than the one before it."""
    found = adjusted(np.array([0.01, 0.04, math.nan, 0.03, 0.005]))
    assert found == pytest.approx([0.03, 0.06, math.nan, 0.06, 0.02], nan_ok=True)
    assert adjusted(np.array([0.9, 0.8])).tolist() == [1, 1]


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
    """The baseline waits for 100, 200, 300 steps; decay 3 for 10, 20, 30: a tenth. With 0.1 two of three still wait."""
    with pytest.warns(UserWarning, match=r"5 of the 5 settings .* fewer than 10 seeds on a side; their p-values"):
        found = interp.effects(of_settings()).set_index("setting")
    assert found.index[0] == "the baseline"
    assert found["delay"].iloc[0] == 200
    assert found.loc["weight_decay=3", ["delay", "ratio", "runs", "generalized"]].tolist() == pytest.approx(
        [20, 0.1, 3, 3]
    )
    slow = found.loc["weight_decay=0.1"]
    assert (slow["generalized"], math.isnan(slow["delay"])) == (1, True)
    never = found.loc["weight_decay=10"]
    assert (never["runs"], never["generalized"], math.isnan(never["memorized"])) == (1, 0, True)
    # 3 of 6 runs can be chosen in 20 ways; the three fastest and the three slowest lie as far from the mean.
    names = ["p_value", "least_p", "pairs", "seeds", "exact"]
    assert found.loc["weight_decay=3", names].tolist() == [0.1, 0.1, 0, 3, True]
    outcomes = found[list(OUTCOMES)]
    assert (outcomes.sum(axis=1) == found["runs"]).all()
    assert outcomes.loc["weight_decay=0.1"].to_dict() == dict.fromkeys(OUTCOMES, 0) | {
        "generalized": 1, "still waiting": 2,
    }  # fmt: skip
    assert outcomes.loc["weight_decay=10", "never memorized"] == 1
    assert found.loc["weight_decay=10", ["p_value", "ratio"]].isna().all()
    # Generalizing with memorizing is no delay at all.
    at_once = found.loc["network=one_hidden_layer, network.d_hidden=64"]
    assert (at_once["delay"], at_once["generalized at once"]) == (0, 1)
    assert math.isnan(at_once["ratio"])  # 0 has no logarithm
    with pytest.raises(ConfigError, match="needs runs of the baseline"):
        interp.effects(of_settings().assign(memorized=pd.array([None] * 13, dtype="Int64")))


def paired(delays, others, last=10_000) -> pd.DataFrame:
    """A sweep of weight decay 1 and 3, whose runs have the seeds 0, 1, … each; None had not generalized."""
    rows = [
        {**interp.TrainConfig(p=23, train_fraction=0.8, seed=seed, weight_decay=decay).flat(), "memorized": 0,
         "generalized": delay, "last_step": last}
        for decay, several in ((1.0, delays), (3.0, others)) for seed, delay in enumerate(several)
    ]  # fmt: skip
    frame = pd.DataFrame(rows)
    steps = ["memorized", "generalized", "last_step"]
    return frame.assign(**{name: frame[name].astype("Int64") for name in steps})


@pytest.mark.filterwarnings("ignore:.* fewer than 10 seeds:UserWarning")
def test_the_ratio_of_pairs_has_the_interval_of_their_logarithms():
    """Without censored runs, e^(mean ± t s / √5) of log(delay / delay of the baseline)."""
    first, second = [400, 900, 500, 1_700, 600], [100, 350, 90, 700, 400]
    row = interp.effects(paired(first, second)).iloc[1]
    logs = np.log(second) - np.log(first)
    half = student_t.ppf(0.975, 4) * logs.std(ddof=1) / math.sqrt(5)
    expected = np.exp([logs.mean(), logs.mean() - half, logs.mean() + half])
    assert row[["ratio", "ratio_low", "ratio_high"]].tolist() == pytest.approx(expected.tolist(), rel=1e-9)
    low, high = ttest_rel(np.log(second), np.log(first)).confidence_interval()
    assert (row["ratio_low"], row["ratio_high"]) == pytest.approx((math.exp(low), math.exp(high)), rel=1e-9)
    assert (row["pairs"], row["seeds"], row["p_value"]) == (5, 5, 2 / 32)  # each pair the same way
    assert row["p_adjusted"] == 2 / 32  # of one comparison


@pytest.mark.filterwarnings("ignore:.* fewer than 10 seeds:UserWarning")
def test_ratios_that_the_runs_do_not_bound_or_determine():
    one = interp.effects(paired([400, 900, 500], [None, None, 9_000])).iloc[1]
    assert one["ratio"] > 9_000 / 900
    assert (one["ratio_low"], one["ratio_high"]) == (0, math.inf)  # without seed 2 nothing of decay 3 is known
    none = interp.effects(paired([400, 900, 500], [None] * 3)).iloc[1]
    assert none[["ratio", "ratio_low", "ratio_high"]].isna().all()
    assert (none["p_value"], none["still waiting"]) == (2 / 8, 3)
    alone = interp.effects(pd.concat([paired([400, 900, 500], []), paired([], [100])])).iloc[1]
    assert (alone["ratio_low"], alone["ratio_high"], alone["least_p"]) == (0, math.inf, 1)


def test_ten_seeds_are_enough_not_to_be_warned(recwarn):
    first = [400 + 30 * seed for seed in range(10)]
    row = interp.effects(paired(first, [delay // 3 for delay in first])).iloc[1]
    assert not [one for one in recwarn if "fewer than 10 seeds" in str(one.message)]
    assert row["p_adjusted"] == row["least_p"] == 2 / 2**10


def test_no_setting_of_the_shipped_sweep_is_shown_by_five_seeds():
    """Five pairs cannot go under 2/32, however far apart they are; 91 of 100 settings have delays to compare."""
    with pytest.warns(UserWarning, match=r"91 of the 91 settings .* their p-values cannot be under 0.062"):
        found = interp.effects(interp.load_sweep(ROOT / "checkpoints" / "settings-mod23").table)
    assert found["p_value"].min() == found["least_p"].min() == 2 / 32
    assert (found["p_adjusted"].dropna() == 1).all()
    assert (found[list(OUTCOMES)].sum(axis=1) == 5).all()
    assert (found["diverged"].sum(), found["never memorized"].sum()) == (9, 43)


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
    with pytest.raises(ConfigError, match="needs runs of the baseline of a sweep"):
        plot.effects(of_settings().iloc[:3])


def test_a_shipped_table_read_with_pandas_is_compared_as_one_that_is_loaded():
    """Parquet gives lists, such as betas, as arrays."""
    folder = ROOT / "checkpoints" / "settings-mod23"
    table = pd.read_parquet(folder / "results.parquet")
    assert moved(table)["setting"].tolist() == moved(interp.load_sweep(folder).table)["setting"].tolist()
