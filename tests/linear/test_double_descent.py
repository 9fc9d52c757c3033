"""Double descent: simulations against theory, each cause of the peak, and the marks on any curve."""

import math
from collections.abc import Iterable
from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, strategies as st
from scipy.integrate import quad

from interp.linear import double_descent, ridge
from tests.processes import outside

AWAY = (0.1, 0.2, 0.35, 0.5, 0.65, 0.8, 1.25, 1.5, 2.0, 3.0, 4.5, 7.0)  # twelve ratios away from 1


@pytest.mark.parametrize("penalty", [0.0, 0.1, "tuned"])
def test_the_simulated_risk_is_within_three_standard_errors_of_the_theory(penalty):
    found = double_descent.isotropic(200, AWAY, noise=0.5, ridge=penalty, trials=40, seed=1, progress=False)
    assert len(found) == 12
    np.testing.assert_allclose(found["ratio"], AWAY)
    distance = (found["risk"] - found["theory"]).abs() / found["standard_error"]
    assert (distance < 3).all(), distance
    assert 0.4 < math.sqrt((distance**2).mean()) < 1.7  # of twelve: 1, give or take three times 0.2
    if penalty == 0.0:
        gamma, noise = found["ratio"], 0.25
        expected = np.where(gamma < 1, noise * gamma / (1 - gamma), 1 - 1 / gamma + noise / (gamma - 1))
        np.testing.assert_allclose(found["theory"], expected)
        assert (found["train_error"][gamma > 1] < 1e-20).all()


@pytest.mark.parametrize("gamma", [0.3, 1.0, 2.5])
@pytest.mark.parametrize("penalty", [0.01, 0.5])
def test_the_ridge_risk_is_an_integral_over_the_marchenko_pastur_law(gamma, penalty):
    """λ²r²∫(s + λ)⁻² + σ²γ∫s(s + λ)⁻² over the spectrum of XᵀX/n, which has an atom at 0 for γ > 1."""
    low, high = (1 - math.sqrt(gamma)) ** 2, (1 + math.sqrt(gamma)) ** 2

    def mean(function):
        def weighted(angle: float) -> float:  # s = middle + half·sin(angle), so that the roots at both ends vanish
            s = (low + high) / 2 + (high - low) / 2 * math.sin(angle)
            density = math.sqrt(max(0.0, (high - s) * (s - low))) / (2 * math.pi * gamma * max(s, 1e-300))
            return function(s) * density * (high - low) / 2 * math.cos(angle)

        atom = max(0.0, 1 - 1 / gamma) * function(0.0)
        return atom + quad(weighted, -math.pi / 2, math.pi / 2, limit=400)[0]

    bias = penalty**2 * 4.0 * mean(lambda s: (s + penalty) ** -2)
    variance = 0.09 * gamma * mean(lambda s: s * (s + penalty) ** -2)
    found = double_descent.isotropic_risk(gamma, noise=0.3, ridge=penalty, signal=2.0)
    assert found == pytest.approx(bias + variance, rel=1e-6)


@given(st.floats(0.05, 8), st.floats(0.05, 2), st.floats(0.5, 2))
def test_the_tuned_ridge_is_the_best_and_no_ridge_is_the_limit(gamma, noise, signal):
    def risk(penalty: float) -> float:
        return double_descent.isotropic_risk(gamma, noise, penalty, signal)

    best = noise**2 * gamma / signal**2
    assert risk(best) <= min(risk(best * 1.1), risk(best / 1.1)) + 1e-12
    if abs(gamma - 1) > 0.05:
        assert risk(1e-9) == pytest.approx(risk(0.0), rel=1e-4)


def test_at_the_threshold_the_theory_is_infinite():
    assert double_descent.isotropic_risk(1.0, 0.5) == math.inf
    assert double_descent.isotropic_risk(1.0, 0.0) == 0
    assert math.isfinite(double_descent.isotropic_risk(1.0, 0.5, 0.1))


@pytest.fixture(scope="module")
def random_features():
    widths = (20, 40, 60, 80, 90, 95, 100, 105, 110, 130, 170, 250, 500)
    return {
        penalty: double_descent.random_features(widths, 100, ridge=penalty, d=20, draws=16, progress=False)
        for penalty in (0.0, "tuned")
    }


def test_random_features_peak_where_they_are_as_many_as_the_samples(random_features):
    plain = random_features[0.0]
    found = double_descent.descents(plain["width"], plain["train_error"], plain["test_error"])
    assert 95 <= found.peak <= 105
    assert found.peak_to_minimum > 10
    assert found.second_descent == 500
    assert found.second_descent_error < found.first_minimum_error
    assert (plain["train_error"][plain["width"] >= 100] < 1e-12).all()


def test_the_tuned_ridge_has_no_peak(random_features):
    tuned = random_features["tuned"]
    found = double_descent.descents(tuned["width"], None, tuned["test_error"], rise=0.01)
    assert found.peak is None
    assert "falls all along" in found.missing["peak"]
    assert (tuned["test_error"] <= random_features[0.0]["test_error"] + 1e-9).all()
    assert tuned["ridge"].isin(double_descent.TUNED_RIDGES).all()


def test_bias_variance_and_label_noise_add_up(random_features):
    for found in random_features.values():
        parts = found["bias"] + found["variance"] + found["noise_error"]
        np.testing.assert_allclose(parts, found["test_error"], rtol=1e-10)


def test_the_label_noise_part_grows_with_the_square_of_the_noise_and_the_rest_does_not_know_it():
    quiet, loud = (
        double_descent.random_features((10, 30, 90), 40, noise=noise, ridge=1e-3, draws=4, progress=False)
        for noise in (0.2, 0.6)
    )
    np.testing.assert_allclose(loud["noise_error"], 9 * quiet["noise_error"], rtol=1e-10)
    np.testing.assert_allclose(loud[["bias", "variance"]], quiet[["bias", "variance"]], rtol=1e-10)


def test_the_averages_over_label_noise_are_those_of_fits_to_noisy_labels():
    """One draw of samples and features again, fitted by the normal equations to 4,000 noisy label sets."""
    n, m, d, noise, penalty = 12, 8, 3, 0.5, 0.01
    found = double_descent.random_features(m, n, noise, penalty, d, 2, test_samples=30, progress=False).iloc[0]
    shared = np.random.default_rng([0, 0])
    X_test, beta = shared.standard_normal((30, d)), shared.standard_normal(d)
    beta /= np.linalg.norm(beta)
    rng = np.random.default_rng(5)
    test, train = [], []
    for draw in range(2):
        X = np.random.default_rng([0, 1 + draw, 0]).standard_normal((n, d))
        W = np.random.default_rng([0, 1 + draw, 1]).standard_normal((m, d))
        Phi, Phi_test = (np.maximum(x @ W.T, 0) / math.sqrt(m * d) for x in (X, X_test))
        y = (X @ beta)[:, None] + noise * rng.standard_normal((n, 4_000))
        theta = np.linalg.solve(Phi.T @ Phi / n + penalty * np.eye(m), Phi.T @ y / n)
        test.append(((Phi_test @ theta - (X_test @ beta)[:, None]) ** 2).mean(0))
        train.append(((Phi @ theta - y) ** 2).mean(0))
    for name, sample in (("test_error", np.array(test)), ("train_error", np.array(train))):
        error = sample.std(1).max() / math.sqrt(4_000)
        assert abs(found[name] - sample.mean()) < 5 * error, name


def test_several_ridges_give_the_rows_of_each():
    """Bit by bit: they share the decompositions, and each is then computed as if it were alone."""
    ridges = (0.0, 1e-3, "tuned")
    same = {"widths": (5, 20), "samples": (10, 30), "d": 4, "draws": 3, "test_samples": 20, "progress": False}
    alone = [double_descent.random_features(ridge=ridge, **same) for ridge in ridges]
    together = double_descent.random_features(ridge=ridges, **same)
    pd.testing.assert_frame_equal(together, pd.concat(alone, ignore_index=True), check_exact=True)


def test_a_draw_whose_features_are_all_zero_is_fitted_by_zero():
    """One or two ReLU features of one or two samples are all zero now and then."""
    found = double_descent.random_features((1, 2), (1, 2), d=3, draws=20, progress=False)
    assert found[["test_error", "bias", "variance", "noise_error"]].notna().all(axis=None)
    sparse = np.zeros((30, 4))
    sparse[::5, 0] = 1.0
    removed = double_descent.removals(sparse, np.arange(30.0), (1, 2), draws=20, progress=False)
    assert removed["test_error"].notna().all()


def test_the_threshold_is_where_the_train_error_is_gone_not_where_it_is_small(random_features):
    """With label noise σ it is σ²(n − m)/n before: a hundredth of the largest long before m = n."""
    plain = random_features[0.0]
    found = double_descent.descents(plain["width"], plain["train_error"], plain["test_error"])
    assert found.interpolation_threshold == 100


def test_random_features_over_samples():
    found = double_descent.random_features(50, (20, 35, 50, 80, 200), d=10, draws=8, progress=False)
    assert found["samples"].tolist() == [20, 35, 50, 80, 200]
    assert found["test_error"].idxmax() == 2


# ── ensembles ────────────────────────────────────────────────────────────────────────────────────────────────────


def solutions(draw: int, n: int, m: int, d: int, penalty: float, t: int, Ws: Iterable[np.ndarray]) -> np.ndarray:
    """What each W makes of labels, as matrices [W, t, n], by the normal equations of one draw of samples."""
    X = np.random.default_rng([0, 1 + draw, 0]).standard_normal((n, d))
    X_test = np.random.default_rng([0, 0]).standard_normal((t, d))
    found = []
    for W in Ws:
        Phi, Phi_test = (np.maximum(x @ W.T, 0) / math.sqrt(m * d) for x in (X, X_test))
        found.append(Phi_test @ np.linalg.solve(Phi.T @ Phi + n * penalty * np.eye(m), Phi.T))
    return np.array(found)


def teacher(draw: int, n: int, d: int, t: int) -> tuple[np.ndarray, np.ndarray]:
    """The labels without noise of a draw, and those of the test inputs."""
    shared = np.random.default_rng([0, 0])
    X_test, beta = shared.standard_normal((t, d)), shared.standard_normal(d)
    beta /= np.linalg.norm(beta)
    return np.random.default_rng([0, 1 + draw, 0]).standard_normal((n, d)) @ beta, X_test @ beta


def test_an_ensembles_error_is_the_mean_over_all_choices_of_its_members():
    """E₁ − (1 − 1/k)·V of four members is the mean error of each of them, of all pairs, of all triples, and of all."""
    n, m, d, noise, penalty, t, drawn = 12, 8, 3, 0.5, 0.01, 30, 4
    found = double_descent.ensembles(
        m, n, noise, penalty, d, (1, 2, 3, 4), drawn, draws=3, test_samples=t, progress=False
    ).set_index("members")
    for k in range(1, drawn + 1):
        by_draw = []
        for draw in range(3):
            labels, truth = teacher(draw, n, d, t)
            Ws = [np.random.default_rng([0, 1 + draw, 1 + i]).standard_normal((m, d)) for i in range(drawn)]
            members = solutions(draw, n, m, d, penalty, t, Ws)
            means = [members[list(some)].mean(0) for some in combinations(range(drawn), k)]
            by_draw.append(np.mean([((A @ labels - truth) ** 2).mean() + noise**2 * (A**2).sum() / t for A in means]))
        assert found["test_error"][k] == pytest.approx(np.mean(by_draw), rel=1e-10)
        assert found["standard_error"][k] == pytest.approx(np.std(by_draw, ddof=1) / math.sqrt(3), rel=1e-10)
    assert found["test_error"][1] - found["test_error"][2] == pytest.approx(found["variance"][1] / 2, rel=1e-10)


def test_the_error_of_ensembles_of_new_members_is_the_one_that_the_parts_foretell():
    """Parts of 200 members, beside 300 ensembles of three others each, fitted to labels with noise of their own."""
    n, m, d, noise, penalty, t, k = 15, 15, 4, 0.4, 1e-3, 40, 3
    found = double_descent.ensembles(
        m, n, noise, penalty, d, [k, math.inf], drawn=200, draws=2, test_samples=t, progress=False
    )
    rng = np.random.default_rng(7)
    errors = []
    for draw in range(2):
        labels, truth = teacher(draw, n, d, t)
        members = solutions(draw, n, m, d, penalty, t, (rng.standard_normal((m, d)) for _ in range(300 * k)))
        noisy = labels + noise * rng.standard_normal((300, n))
        averaged = members.reshape(300, k, t, n).mean(1)
        errors.append(((np.einsum("etn,en->et", averaged, noisy) - truth) ** 2).mean(1))
    simulated = np.mean(errors)
    # Of both sides: the parts of 200 members are at least as exact as 66 ensembles that share none.
    spread = math.sqrt(np.mean([one.var(ddof=1) for one in errors]) / 2)
    assert abs(found["test_error"][0] - simulated) < 4 * spread * math.sqrt(1 / 300 + 1 / 66)
    assert found["test_error"][1] < simulated - 10 * spread / math.sqrt(300)  # and three are not yet infinitely many


def test_the_peak_is_variance_over_features_and_the_mean_over_all_features_has_none():
    widths = (20, 40, 60, 80, 90, 100, 110, 130, 170, 250, 500)
    found = double_descent.ensembles(widths, 100, d=20, draws=4, drawn=4, progress=False)
    curves = {k: own.set_index("width") for k, own in found.groupby("members")}
    for k in (1, 2, 4, 8):
        assert double_descent.descents(widths, None, curves[k]["test_error"]).peak == 100
    at_peak = curves[math.inf].loc[100]
    assert at_peak["test_error"] + 4 * at_peak["standard_error"] < curves[1]["test_error"][60] < 1
    gained = curves[1]["test_error"] - curves[math.inf]["test_error"]
    np.testing.assert_allclose(gained, curves[1]["variance"], rtol=1e-9)


def test_wide_random_features_are_kernel_ridge_regression():
    """V goes like 1/m, and what is left is the error of the kernel's own solution, in closed form."""
    found = double_descent.ensembles((2_000, 8_000), 15, 0.3, 1e-2, 5, (1, math.inf), 16, 3, progress=False)
    one, every = (found[found["members"] == k].set_index("width") for k in (1, math.inf))
    assert one["variance"][2_000] / one["variance"][8_000] == pytest.approx(4, rel=0.1)
    np.testing.assert_allclose(every["test_error"], found["wide_limit"].iloc[0], rtol=0.01)
    by_draw = []
    for draw in range(3):
        labels, truth = teacher(draw, 15, 5, 1_000)
        X = np.random.default_rng([0, 1 + draw, 0]).standard_normal((15, 5))
        X_test = np.random.default_rng([0, 0]).standard_normal((1_000, 5))
        K = double_descent.relu_kernel(X, X)
        A = np.linalg.solve(K + 15 * 1e-2 * np.eye(15), double_descent.relu_kernel(X, X_test)).T
        by_draw.append(((A @ labels - truth) ** 2).mean() + 0.09 * (A**2).sum() / 1_000)
    assert found["wide_limit"].iloc[0] == pytest.approx(np.mean(by_draw), rel=1e-10)


def test_the_relu_kernel_at_known_angles_and_as_an_average():
    x = np.array([[2.0, 0, 0], [0, 3.0, 0], [-1.0, 0, 0], [0, 0, 0], [1.0, 1.0, 0]])
    found = double_descent.relu_kernel(x, x)
    assert np.diag(found) == pytest.approx((x**2).sum(1) / 6)  # E[relu(g)²] is half of E[g²] = ‖x‖²/3
    assert found[0, 1] == pytest.approx(6 / (2 * math.pi * 3))  # at a right angle
    assert found[0, 2] == pytest.approx(0, abs=1e-15)  # opposite: never both above 0
    assert (found[3] == 0).all()
    assert found[0, 4] == pytest.approx(2 * (1 + 3 * math.pi / 4) / (2 * math.pi * 3))  # 45°: ‖x‖‖z‖ sin θ = 2
    w = np.random.default_rng(0).standard_normal((200_000, 3)) / math.sqrt(3)
    products = np.maximum(w @ x.T, 0)
    average, spread = products.T @ products / len(w), (products**2).T @ products**2 / len(w)
    assert (np.abs(average - found) <= 5 * np.sqrt(spread / len(w)) + 1e-15).all()


@pytest.fixture(scope="module")
def removed():
    features, targets = double_descent.diabetes()
    samples = (3, 4, 6, 8, 9, 10, 11, 12, 15, 20, 40)
    return double_descent.removals(features, targets, samples, draws=100, progress=False)


def test_each_cause_taken_away_takes_the_peak_away(removed):
    for condition, found in removed.groupby("condition"):
        marks = double_descent.descents(found["samples"], None, found["test_error"])
        if condition == "as it is":
            assert marks.peak == 10
            assert marks.peak_to_minimum > 5
        else:
            assert marks.peak is None, condition
    assert (removed["low"] <= removed["test_error"]).all()
    assert (removed["test_error"] <= removed["high"]).all()


def test_the_removals_are_their_definitions_on_one_split():
    """Written out with numpy's lstsq and pinv."""
    rng = np.random.default_rng(3)
    features, targets = rng.standard_normal((30, 6)), rng.standard_normal(30)
    best = np.linalg.lstsq(features, targets)[0]
    found = double_descent.removals(features, targets, [7], cutoff=0.5, draws=2, seed=4, progress=False)
    rng = np.random.default_rng(4)
    orders = [rng.permutation(30) for _ in range(2)]
    errors = []
    for order in orders:
        X, y, T, t = features[order[:7]], targets[order[:7]], features[order[7:]], targets[order[7:]]
        _, s, Vt = np.linalg.svd(X, full_matrices=False)
        kept = Vt[s >= 0.5 * s[0]]
        assert 0 < len(kept) < 6
        along = T @ kept.T @ kept
        fits = (
            T @ np.linalg.pinv(X) @ y - t,
            T @ np.linalg.pinv(X, rcond=0.5) @ y - t,
            along @ np.linalg.pinv(X) @ y - (t - (T - along) @ best),
            T @ np.linalg.pinv(X) @ X @ best - t,
        )
        errors.append([(fit**2).mean() for fit in fits])
    np.testing.assert_allclose(found["test_error"], np.mean(errors, axis=0), rtol=1e-9)  # the median of two


def test_without_residuals_enough_samples_give_the_best_model(removed):
    """From ten samples on, the fit to the best model's own outputs is the best model."""
    features, targets = double_descent.diabetes()
    best = np.linalg.lstsq(features, targets)[0]
    floor = ((features @ best - targets) ** 2).mean()
    found = removed[(removed["condition"] == "no residuals") & (removed["samples"] >= 10)]
    np.testing.assert_allclose(found["test_error"], floor, rtol=0.03)  # of the samples left to test on
    assert (found["train_error"] < 1e-20).all()


def test_the_diabetes_data_are_white():
    features, targets = double_descent.diabetes()
    np.testing.assert_allclose(features.T @ features / 442, np.eye(10), atol=1e-12)
    np.testing.assert_allclose(features.mean(0), 0, atol=1e-12)
    assert targets.mean() == pytest.approx(0, abs=1e-12)
    assert targets.var() == pytest.approx(1)


def test_a_second_descent_over_steps_and_none_with_a_step_size_for_each_group():
    path = double_descent.epoch_wise(draws=6, progress=False)
    one = double_descent.descents(path["step"], path["train_error"], path["test_error"])
    assert one.first_minimum < one.peak < one.second_descent
    assert one.second_descent_error < one.first_minimum_error < one.peak_error
    each = double_descent.descents(path["step"], path["train_error_per_group"], path["test_error_per_group"])
    assert each.peak is None
    assert each.first_minimum_error < one.second_descent_error
    assert path["test_error"][0] == pytest.approx(1)  # half of the teacher's variance in each group


def test_both_step_sizes_end_at_the_same_least_squares_fit():
    last = double_descent.epoch_wise(40, (10, 8), steps=10**9, draws=2, progress=False).iloc[-1]
    assert last["test_error"] == pytest.approx(last["test_error_per_group"], rel=1e-8)


def test_descents_of_a_curve_whose_marks_are_known():
    x = [1, 2, 3, 4, 5, 6, 7]
    found = double_descent.descents(x, [5, 3, 1, 0.04, 0, 0, 0], [4, 2, 3, 8, 6, 1, 1.5])
    assert found.to_dict() == {
        "interpolation_threshold": 5, "first_minimum": 2, "first_minimum_error": 2, "peak": 4, "peak_error": 8,
        "second_descent": 6, "second_descent_error": 1, "peak_to_minimum": 4, "missing": {},
    }  # fmt: skip
    shuffled = [3, 0, 6, 2, 5, 1, 4]
    again = double_descent.descents(
        [x[i] for i in shuffled], [[5, 3, 1, 0.04, 0, 0, 0][i] for i in shuffled],
        [[4, 2, 3, 8, 6, 1, 1.5][i] for i in shuffled],
    )  # fmt: skip
    assert again.to_dict() == found.to_dict()
    assert "peak_to_minimum" in str(found)
    assert "<table>" in found._repr_html_()


@pytest.mark.parametrize(
    ("test_error", "missing", "why"),
    [
        ([5, 4, 3, 2], "peak", "falls all along"),
        ([5, 4, 4.2, 2], "second_descent", "no peak that stands out by 10%"),
        ([2, 3, 4, 5], "peak", "no peak that stands out"),
        ([0, 3, 1, 1], "peak_to_minimum", "the first minimum is zero"),
    ],
)
def test_what_a_curve_does_not_show_is_said(test_error, missing, why):
    found = double_descent.descents([1, 2, 3, 4], [1, 1, 1, 1], test_error)
    assert getattr(found, missing) is None
    assert why in found.missing[missing]
    assert "the train error ends at 1, over 0.001" in found.missing["interpolation_threshold"]
    assert why in str(found)


def test_infinite_errors_are_peaks_and_small_bumps_are_not():
    theory = [double_descent.isotropic_risk(g, 0.5) for g in (0.5, 0.9, 1.0, 1.1, 2.0, 3.0)]
    found = double_descent.descents([0.5, 0.9, 1.0, 1.1, 2.0, 3.0], None, theory)
    assert (found.peak, found.peak_error, found.second_descent) == (1.0, math.inf, 2.0)
    assert found.missing == {"interpolation_threshold": "no train errors were given"}
    bumpy = double_descent.descents([1, 2, 3, 4, 5, 6, 7], None, [9.0, 5.0, 5.2, 4.0, 8.0, 2.0, 2.1])
    assert bumpy.peak == 5
    assert double_descent.descents([1, 2, 3, 4], None, [5, 4, 4.2, 2], rise=0.04).peak == 3


def test_the_shipped_runs_test_loss_is_a_double_descent(shipped):
    history = shipped.history.dropna()
    found = double_descent.descents(history["step"], history["train_loss"], history["test_loss"])
    assert found.interpolation_threshold < found.peak < found.second_descent
    assert found.peak_error == history["test_loss"].max()
    assert found.second_descent_error == history["test_loss"].min()


def test_the_exact_path_of_ridge_regression_can_be_marked_too():
    path = ridge.trajectory(ridge.gaussian_problem(20, 100, seed=1), 10**8, init_scale=10.0)
    found = double_descent.descents(path["step"], path["train_loss"], path["test_loss"])
    assert found.interpolation_threshold is not None


def test_bad_input_is_refused_in_a_sentence():
    said = outside(
        """
        import numpy as np
        from interp.linear import double_descent as dd
        X, y = np.ones((9, 2)), np.ones(9)
        for attempt in (
            lambda: dd.isotropic(0),
            lambda: dd.isotropic(noise=-1),
            lambda: dd.isotropic(ridge=-1),
            lambda: dd.isotropic(ratios=[-0.5]),
            lambda: dd.isotropic(ratios=[]),
            lambda: dd.isotropic(signal=0, ridge="tuned"),
            lambda: dd.isotropic(ridge="best"),
            lambda: dd.isotropic_risk(0, 1),
            lambda: dd.isotropic_risk(float("inf"), 1),
            lambda: dd.isotropic_risk(2, 1, signal=-3),
            lambda: dd.random_features(0),
            lambda: dd.random_features([]),
            lambda: dd.random_features(5, 0),
            lambda: dd.random_features(5, noise=-2),
            lambda: dd.random_features(5, draws=1),
            lambda: dd.ensembles(5, members=[]),
            lambda: dd.ensembles(5, members=[0.5]),
            lambda: dd.ensembles(5, drawn=1),
            lambda: dd.ensembles(5, ridge="tuned"),
            lambda: dd.relu_kernel(X, np.ones((4, 5))),
            lambda: dd.removals(X, y[:4], [3]),
            lambda: dd.removals(X, y, [9]),
            lambda: dd.removals(X * np.inf, y, [3]),
            lambda: dd.removals(X, y, [3], cutoff=1.5),
            lambda: dd.epoch_wise(features=(3,)),
            lambda: dd.epoch_wise(scales=(1, 0)),
            lambda: dd.epoch_wise(noise=-1),
            lambda: dd.descents([1, 2], None, [1, 2]),
            lambda: dd.descents([1, 2, 2], None, [1, 2, 3]),
            lambda: dd.descents([1, 2, 3], None, [1, 2]),
            lambda: dd.descents([1, 2, 3], None, [1, np.nan, 2]),
            lambda: dd.descents([1, 2, 3], None, [1, -1, 2]),
            lambda: dd.descents([1, 2, 3], [1], [1, 3, 2]),
            lambda: dd.descents([1, 2, 3], None, [1, 3, 2], rise=0),
        ):
            try:
                attempt()
            except dd.ConfigError as error:
                print(error)
            else:
                print("nothing was refused")
        """
    ).splitlines()
    expected = [
        "n must be a whole number of at least 1; got 0.", "noise must be a finite number of at least 0; got -1.",
        "ridge must be a finite number of at least 0; got -1.", "must be above 0; got -0.5", "got the shape (0,)",
        'ridge="tuned" needs signal > 0, since the tuned ridge is σ²γ/r²; got signal=0.',
        "ridge must be a finite number of at least 0; got 'best'.", "ratio must be a finite number above 0; got 0.",
        "ratio must be a finite number above 0; got inf.", "signal must be a finite number of at least 0; got -3.",
        "widths must be a whole number of at least 1; got 0.", "widths must hold one or more sizes; got 0.",
        "samples must be a whole number of at least 1; got 0.",
        "noise must be a finite number of at least 0; got -2.",
        "draws must be a whole number from 2 to 1,000,000; got 1.",
        "members must name at least one number of members; got none.",
        "each of members must be a whole number of at least 1; got 0.5.",
        "drawn must be a whole number from 2 to 1,000,000; got 1.",
        "ridge must be a finite number of at least 0; got 'tuned'.",
        "x and z must have equally many columns; got 2 and 5.",
        "targets must have an entry for each of the 9 rows of features; got 4.",
        "samples must leave at least one of the 9 to test on; got 9.",
        "features must be finite; got 18 values that are not.",
        "cutoff must be a finite number above 0 and below 1; got 1.5.", "features must hold 2 sizes; got 1.",
        "scales must be two numbers above 0, a standard deviation for each group; got (1, 0).",
        "noise must be a finite number of at least 0; got -1.",
        "complexity must name three or more values, each once; got 2, of which 2", "got 3, of which 2 are different.",
        "test_error must have an entry for each of the 3 complexities; got the shape (2,).",
        "test_error must be at least 0 everywhere; got 1 values that are nan or negative", "got 1 values",
        "train_error must have an entry for each of the 3 complexities; got the shape (1,).",
        "rise must be a finite number above 0; got 0.",
    ]  # fmt: skip
    assert len(said) == len(expected)
    for line, words in zip(said, expected, strict=True):
        assert words in line


def test_one_ratio_needs_no_list():
    assert len(double_descent.isotropic(10, 0.5, trials=3, progress=False)) == 1


def test_frames_are_plain_tables():
    found = double_descent.isotropic(10, (0.5, 2.0), trials=3, progress=False)
    assert isinstance(found, pd.DataFrame)
    assert list(found) == ["ratio", "parameters", "ridge", "risk", "standard_error", "train_error", "theory"]
