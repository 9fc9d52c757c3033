"""Ridge regression by gradient descent: the closed form against every step taken, and its events to the step."""

import math
import warnings
from decimal import Decimal, localcontext

import mpmath
import numpy as np
import pytest
from hypothesis import given, strategies as st

from interp import ConfigError
from interp.linear import ridge
from interp.linear.descent import START
from interp.linear.problems import relu_second_moment
from tests.processes import outside

PROBLEMS = {
    "over-parametrized": lambda: ridge.gaussian_problem(30, 80, seed=1),
    "over-parametrized, isotropic": lambda: ridge.gaussian_problem(30, 80, "isotropic", seed=2),
    "under-parametrized with noise": lambda: ridge.gaussian_problem(80, 30, "spiked", noise=0.3, seed=3),
    "square": lambda: ridge.gaussian_problem(40, 40, seed=4),
    "random features": lambda: ridge.random_features_problem(25, 5, 60, seed=5),
    "random features, tanh, noise": lambda: ridge.random_features_problem(25, 5, 60, "tanh", noise=0.1, seed=6),
    "rank deficient": lambda: ridge.RidgeProblem(
        np.repeat(np.arange(12.0).reshape(6, 2) % 5, 2, axis=1), np.arange(6.0), np.ones(4), np.diag([1.0, 2, 3, 4])
    ),
}


def start(m: int, seed: int = 0) -> np.ndarray:
    """θ₀ for an init_scale of 1."""
    return np.random.default_rng([seed, START]).standard_normal(m)


@pytest.fixture(scope="module", params=PROBLEMS)
def problem(request):
    return PROBLEMS[request.param]()


@pytest.mark.parametrize("weight_decay", [0.0, 1e-3, 0.3])
@pytest.mark.parametrize("share", [0.5, 0.97], ids=["monotone", "overshooting"])
def test_the_closed_form_equals_every_step_taken_over_ten_thousand(problem, weight_decay, share):
    """To 1e-8 relative. A loss is the square of a distance, which float64 knows to 1e-13 of where it started from."""
    top = float(np.linalg.eigvalsh(problem.features.T @ problem.features / problem.n)[-1])
    settings = {"learning_rate": share * 2 / (top + weight_decay), "weight_decay": weight_decay, "init_scale": 3.0}
    exact = ridge.trajectory(problem, 10_000, **settings)
    taken = ridge.simulate(problem, 10_000, **settings, progress=False)
    assert list(exact) == list(taken)
    assert exact["step"].iloc[-1] == 10_000
    for column in exact:
        a, b = exact[column].to_numpy(), taken[column].to_numpy()
        if "loss" in column and "cross" not in column:
            a, b = np.sqrt(a), np.sqrt(b)
        start = np.abs(b[0]) + np.sqrt(exact["train_loss"][0] + exact["test_loss"][0])
        np.testing.assert_allclose(a, b, rtol=5e-9, atol=1e-13 * start, err_msg=column)


@given(
    st.integers(1, 12), st.integers(1, 12), st.just(0.0) | st.floats(1e-9, 1), st.just(0.0) | st.floats(1e-9, 3),
    st.integers(0, 5),
)  # fmt: skip
def test_parts_add_up_and_the_last_step_is_the_ridge_solution(n, m, weight_decay, init_scale, seed):
    problem = ridge.gaussian_problem(n, m, noise=0.2, seed=seed)
    path = ridge.trajectory(problem, [0, 3, 100, 2**53 - 1], None, weight_decay, init_scale)
    parts = path[[f"test_loss_{part}" for part in ("learned", "initialization", "never_learned", "cross")]]
    np.testing.assert_allclose(parts.sum(axis=1), path["test_loss"], rtol=1e-12)
    squares = path["row_space_norm"] ** 2 + path["null_space_norm"] ** 2
    np.testing.assert_allclose(squares, path["weight_norm"] ** 2, rtol=1e-12)
    theta_0 = init_scale * start(m)
    assert path["weight_norm"][0] == pytest.approx(np.linalg.norm(theta_0), rel=1e-10)
    error = theta_0 - problem.teacher
    assert path["test_loss"][0] == pytest.approx(error @ (problem.covariance * error) / 2, rel=1e-9)
    if weight_decay > 1e-3:  # then the last step is long after everything
        S = problem.features.T @ problem.features / n
        end = np.linalg.solve(S + weight_decay * np.eye(m), problem.features.T @ problem.targets / n)
        error = end - problem.teacher
        assert path["test_loss"].iloc[-1] == pytest.approx(error @ (problem.covariance * error) / 2, rel=1e-7)
        assert path["weight_norm"].iloc[-1] == pytest.approx(np.linalg.norm(end), rel=1e-7)


def test_without_decay_it_ends_at_the_least_norm_fit_and_what_the_initialization_left():
    problem = ridge.gaussian_problem(5, 9, "isotropic", noise=0.1)
    last = ridge.trajectory(problem, [10**9], weight_decay=0.0, init_scale=2.0).iloc[0]
    theta_0 = 2.0 * start(9)
    fit = np.linalg.pinv(problem.features) @ problem.targets
    assert last["row_space_norm"] == pytest.approx(np.linalg.norm(fit), rel=1e-10)
    assert last["null_space_norm"] == pytest.approx(np.linalg.norm(problem.null_space_part(theta_0)), rel=1e-10)
    assert last["train_loss"] < 1e-28


def test_step_ten_to_the_twelve_is_exact():
    """One sample of two features: the second coordinate is (1 − ηλ)^t of its start, here to 40 digits."""
    problem = ridge.RidgeProblem(np.array([[1.0, 0.0]]), np.zeros(1))
    path = ridge.trajectory(problem, [0, 10**12], learning_rate=0.5, weight_decay=2e-12)
    with localcontext() as context:
        context.prec = 40
        share = float((Decimal(1) - Decimal("1e-12")) ** (10**12))
    assert path["null_space_norm"][1] / path["null_space_norm"][0] == pytest.approx(share, rel=1e-12)


@pytest.mark.parametrize("make", ["over-parametrized", "under-parametrized with noise", "random features", "square"])
@pytest.mark.parametrize(("weight_decay", "share"), [(3e-3, 0.5), (3e-3, 0.99), (0.03, 0.5), (0.0, 0.9)])
def test_grokking_times_agree_with_the_steps_taken(make, weight_decay, share):
    problem = PROBLEMS[make]()
    top = float(np.linalg.eigvalsh(problem.features.T @ problem.features / problem.n)[-1])
    settings = {"learning_rate": share * 2 / (top + weight_decay), "weight_decay": weight_decay, "init_scale": 4.0}
    times = ridge.grokking_times(problem, **settings, tolerance=0.2 * problem.teacher_variance)
    taken = ridge.simulate(problem, range(2_501), **settings, progress=False)
    for event, loss in (("overfitting", "train_loss"), ("generalization", "test_loss")):
        above = np.flatnonzero(taken[loss] > times.tolerance)
        last = above[-1] if len(above) else -1
        expected = None if last == 2_500 else last + 1
        found = getattr(times, event)
        assert found == expected or (expected is None and found > 2_500), (event, found, expected)
    if times.generalization is None:
        assert "settles at" in times.missing["generalization"]
        assert times.delay is None
    else:
        assert times.delay == times.generalization - times.overfitting


def dipping(seed: int) -> ridge.RidgeProblem:
    """Large features learned first, then their noise, then small features with the signal: a dip, a peak, an end."""
    eigenvalues = np.r_[np.ones(24), np.full(6, 0.01)]
    teacher = np.r_[np.full(24, 48**-0.5), np.full(6, 10 * 12**-0.5)]
    return ridge.gaussian_problem(40, 30, eigenvalues, noise=0.5, teacher=teacher, seed=seed)


@pytest.mark.parametrize("share", [0.3, 0.9, 1 - 1e-5, 1 - 1e-9], ids=str)
@pytest.mark.parametrize("seed", [1, 3])
def test_a_loss_that_comes_back_over_the_tolerance_counts_from_its_last_fall(seed, share):
    """The tolerance lies between the dip and the peak, up to where only the very top is over it."""
    settings = {"weight_decay": 0.0, "init_scale": 0.0}
    loss = ridge.trajectory(dipping(seed), range(5_000), **settings)["test_loss"].to_numpy()
    dip = loss[: loss[5:].argmax() + 5].min()
    peak = loss[5:].max()
    assert dip < peak > loss[-1]
    assert dip < loss[0]
    floor = max(dip, loss[-1])
    tolerance = floor + share * (peak - floor)
    expected = int(np.flatnonzero(loss > tolerance)[-1]) + 1
    assert ridge.grokking_times(dipping(seed), **settings, tolerance=float(tolerance)).generalization == expected
    assert expected > loss[5:].argmax() + 5


@pytest.mark.parametrize("seed", range(4))
def test_even_and_odd_steps_are_both_searched(seed):
    """At 0.999 of the largest learning rate one coordinate changes sign each step, and the loss goes up and down."""
    problem = ridge.gaussian_problem(6, 6, noise=0.5, seed=seed)
    top = float(np.linalg.eigvalsh(problem.features.T @ problem.features / 6)[-1])
    settings = {"weight_decay": 0.01, "learning_rate": 0.999 * 2 / (top + 0.01), "init_scale": 4.0}
    loss = ridge.trajectory(problem, range(20_000), **settings)["train_loss"].to_numpy()
    for tolerance in (1.05 * loss[-1], 2 * loss[-1], 0.3 * loss[10]):
        found = ridge.grokking_times(problem, **settings, tolerance=float(tolerance)).overfitting
        assert found == int(np.flatnonzero(loss > tolerance)[-1]) + 1


def test_two_features_that_are_nearly_one():
    """The fit of their difference is huge and far away; early steps must not know it (1e-9, as the steps taken)."""
    rng = np.random.default_rng(0)
    columns = rng.standard_normal((20, 4))
    columns[:, 3] = columns[:, 2] + 1e-10 * rng.standard_normal(20)
    problem = ridge.RidgeProblem(columns, rng.standard_normal(20), np.ones(4), np.eye(4))
    settings = {"weight_decay": 0.0, "init_scale": 1.0}
    exact, taken = (
        ridge.trajectory(problem, 1_000, **settings),
        ridge.simulate(problem, 1_000, **settings, progress=False),
    )
    for column in ("train_loss", "test_loss", "row_space_norm"):
        np.testing.assert_allclose(exact[column], taken[column], rtol=1e-9)


@pytest.fixture(scope="module")
def groks():
    return ridge.random_features_problem(500, 50, 5_000)


def test_a_delay_of_over_a_hundred_times_is_gone_with_more_decay_or_a_smaller_start(groks):
    """The tolerance is a tenth of the teacher's variance."""
    times = ridge.grokking_times(groks, weight_decay=1e-6, init_scale=10.0)
    assert times.tolerance == pytest.approx(0.1 * groks.teacher_variance)
    assert times.delay > 100 * times.overfitting
    assert times.relative_delay == times.delay / times.overfitting
    more_decay = ridge.grokking_times(groks, weight_decay=3e-4, init_scale=10.0)
    assert 0 < more_decay.delay < 2 * more_decay.overfitting
    smaller_start = ridge.grokking_times(groks, weight_decay=1e-6, init_scale=1.0)
    assert smaller_start.delay < 2 * smaller_start.overfitting
    for found in (times, more_decay, smaller_start):
        assert found.overfitting <= found.overfitting_bound
    # What the samples teach is learned by then, so the prediction is close: within 2 %.
    assert times.null_space_prediction == pytest.approx(times.generalization, rel=0.02)
    assert "delay" in str(times)
    assert f"{times.generalization:,}" in times._repr_html_()


def test_the_delay_is_inversely_proportional_to_weight_decay(groks):
    """The prediction says so to six digits; the exact times bear it out to a hundredth."""
    small, large = (ridge.grokking_times(groks, weight_decay=decay) for decay in (1e-8, 1e-7))
    assert small.null_space_prediction / large.null_space_prediction == pytest.approx(10, rel=1e-6)
    assert small.delay / large.delay == pytest.approx(10, rel=0.01)


@given(st.integers(2, 10), st.integers(2, 14), st.floats(1e-8, 1e-2), st.floats(1, 5), st.integers(0, 20))
def test_the_overfitting_bound_holds_wherever_it_is_given(n, m, weight_decay, init_scale, seed):
    problem = ridge.gaussian_problem(n, m, seed=seed)
    times = ridge.grokking_times(problem, weight_decay=weight_decay, init_scale=init_scale, seed=seed)
    if times.overfitting_bound is None:
        assert times.missing["overfitting_bound"]
    else:
        assert times.overfitting <= math.ceil(times.overfitting_bound)


def test_the_bound_is_the_formula():
    problem = ridge.gaussian_problem(6, 20, seed=3)
    found = ridge.grokking_times(problem, 0.01, 1e-5, 5.0, seed=2, tolerance=0.05).overfitting_bound
    theta_0 = 5.0 * start(20, seed=2)
    b = np.linalg.norm(problem.features, axis=1).max()
    least = np.linalg.eigvalsh(problem.features @ problem.features.T)[0]
    assert found == pytest.approx(6 * math.log(6 * b**2 * (theta_0 @ theta_0) / 0.05) / (2 * 0.01 * least), rel=1e-9)


def test_at_the_predicted_step_the_null_space_part_is_at_the_tolerance():
    problem = ridge.gaussian_problem(10, 40, seed=1)
    times = ridge.grokking_times(problem, weight_decay=1e-4, init_scale=5.0, tolerance=0.1)
    step = times.null_space_prediction
    part = ridge.trajectory(problem, [math.floor(step), math.ceil(step)], weight_decay=1e-4, init_scale=5.0)
    before, after = part["test_loss_initialization"]
    assert after <= 0.1 <= before


@pytest.mark.parametrize(
    ("settings", "event", "why"),
    [
        ({"weight_decay": 0.0}, "generalization", "the test loss settles at"),
        ({"weight_decay": 0.0}, "null_space_prediction", "without weight decay the null space keeps"),
        ({"weight_decay": 50.0}, "overfitting", "the train loss settles at"),
        ({"weight_decay": 1e-18}, "generalization", "is still"),
        ({"init_scale": 0.0}, "overfitting_bound", "under the"),
        ({"weight_decay": 1.0}, "overfitting_bound", "over 4/3 of the tolerance"),
        ({"learning_rate": 0.9}, "overfitting_bound", "the learning rate is over"),
    ],
)
def test_what_never_happens_says_why(settings, event, why):
    problem = ridge.gaussian_problem(20, 60, seed=1)
    if "learning_rate" in settings:
        settings = {"learning_rate": settings["learning_rate"] * problem.largest_learning_rate}
    times = ridge.grokking_times(problem, **settings)
    assert getattr(times, event) is None
    assert why in times.missing[event]
    assert why in str(times)


@pytest.mark.parametrize("seed", [0, 1, 7])
@pytest.mark.parametrize("whose", ["a problem's", "a user's"])
def test_the_start_knows_nothing_of_data_drawn_with_the_same_seed(seed, whose):
    """A share 1 − n/m of ‖θ₀‖² lies in the null space, give or take √(2n)/m a standard deviation; here five of them."""
    n, m = 50, 500
    if whose == "a user's":
        problem = ridge.RidgeProblem(np.random.default_rng(seed).standard_normal((n, m)), np.ones(n))
    else:
        problem = ridge.gaussian_problem(n, m, "isotropic", seed=seed)
    first = ridge.trajectory(problem, [0], seed=seed).iloc[0]
    share = (first["null_space_norm"] / first["weight_norm"]) ** 2
    assert share == pytest.approx(1 - n / m, abs=5 * math.sqrt(2 * n) / m)


def test_a_fit_that_takes_one_step():
    """One sample, no weight decay, and the default learning rate: 1 − ηs is 0."""
    problem = ridge.RidgeProblem(np.array([[2.0]]), np.ones(1), np.array([0.5]))
    times = ridge.grokking_times(problem, weight_decay=0.0)
    assert (times.overfitting, times.generalization, times.delay) == (1, 1, 0)
    assert ridge.grokking_times(ridge.gaussian_problem(1, 20, seed=4), weight_decay=0.0).overfitting == 1


def test_weight_decay_so_strong_that_the_null_space_overshoots():
    """With ηλ = 1.5 it halves in size and changes its sign each step."""
    problem = ridge.gaussian_problem(20, 50, seed=3)
    settings = {"weight_decay": 10.0, "learning_rate": 0.15, "init_scale": 10.0}
    prediction = ridge.grokking_times(problem, **settings).null_space_prediction
    part = ridge.trajectory(problem, range(200), **settings)["test_loss_initialization"]
    epsilon = ridge.grokking_times(problem, **settings).tolerance
    assert (part > epsilon).sum() == math.ceil(prediction)
    gone = ridge.grokking_times(problem, weight_decay=10.0, learning_rate=0.1)
    assert gone.null_space_prediction == 1  # ηλ = 1 leaves nothing


def test_features_that_are_all_zero():
    problem = ridge.RidgeProblem(np.zeros((3, 4)), np.ones(3), np.ones(4))
    assert problem.largest_learning_rate == math.inf
    path = ridge.trajectory(problem, 100, weight_decay=0.1)
    assert (path["train_loss"] == 0.5).all()
    times = ridge.grokking_times(problem, weight_decay=0.1)
    assert "settles at 0.5" in times.missing["overfitting"]
    assert times.missing["overfitting_bound"] == "all features are zero"


def test_a_problem_is_not_changed_by_what_happens_to_the_callers_arrays():
    features, targets = np.random.default_rng(5).standard_normal((5, 8)), np.ones(5)
    problem = ridge.RidgeProblem(features, targets)
    before = ridge.trajectory(problem, 3)
    features[:] = 0
    targets[:] = 0
    np.testing.assert_array_equal(ridge.trajectory(problem, 3), before)
    assert problem.features.any()


def test_tensors_and_lists_are_arrays_too():
    said = outside(
        """
        import torch
        from interp.linear import ridge
        rows = [[1.0, 2.0, 0.5], [0.0, 1.0, -1.0]]
        for features in (rows, torch.tensor(rows, requires_grad=True), torch.tensor(rows).bfloat16()):
            print(ridge.trajectory(ridge.RidgeProblem(features, [1, 2]), 5)["train_loss"].tolist())
        """
    ).splitlines()
    assert len(set(said)) == 1
    assert len(said) == 3


def test_more_samples_than_features_leave_no_null_space():
    problem = ridge.gaussian_problem(20, 6)
    times = ridge.grokking_times(problem, init_scale=3.0)
    assert times.null_space_prediction is None
    assert "the features have no null space. Take m > n" in times.missing["null_space_prediction"]
    with pytest.raises(ConfigError, match="20 samples determine all 6 parameters"):
        problem.null_space_part(np.ones(6))
    assert (ridge.trajectory(problem, 1_000)["null_space_norm"] == 0).all()


def test_relu_second_moment_at_angles_that_are_known():
    """E relu(u·x)² = ½; opposite vectors share nothing; orthogonal ones 1/(2π); lengths multiply."""
    found = relu_second_moment(np.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 2.0], [0.0, 0.0]]))
    expected = np.array([[0.5, 0, 1 / np.pi, 0], [0, 0.5, 1 / np.pi, 0], [1 / np.pi, 1 / np.pi, 2, 0], [0, 0, 0, 0]])
    np.testing.assert_allclose(found, expected, atol=1e-15)


def test_relu_covariance_is_that_of_very_many_samples():
    """The features of 40,000 other samples of the same W have this second moment, within five standard errors."""
    few, many = (ridge.random_features_problem(n, 4, 6, seed=3) for n in (1, 40_000))
    products = many.features[:, :, None] * many.features[:, None, :]
    error = products.std(0) / math.sqrt(many.n)
    assert (np.abs(products.mean(0) - few.covariance) < 5 * error).all()


@pytest.mark.parametrize("activation", ["relu", "tanh", "erf"])
def test_the_default_teacher_is_nearly_linear_in_the_input(activation):
    """Its variance is the share of βᵀx, of variance 1, that the features can express: more with more of them."""
    few, many = (ridge.random_features_problem(10, 4, m, activation).teacher_variance for m in (3, 200))
    assert 0.2 < few < many <= 1.02
    assert many > 0.97


def test_the_spectra():
    assert (ridge.gaussian_problem(20, 50, "isotropic").covariance == 1).all()
    np.testing.assert_allclose(ridge.gaussian_problem(20, 50).covariance, 1 / np.arange(1, 51))
    assert sorted(set(ridge.gaussian_problem(20, 50, "spiked").covariance)) == [1, 100]
    own = ridge.gaussian_problem(20, 3, [4.0, 1.0, 0.0])
    np.testing.assert_array_equal(own.covariance, [4, 1, 0])
    assert (own.features[:, 2] == 0).all()
    for spectrum in ("isotropic", "power_law", "spiked"):
        assert ridge.gaussian_problem(20, 50, spectrum).teacher_variance == pytest.approx(1)


def test_data_of_ones_own_with_held_out_samples():
    """The test loss is half the mean square over the held-out samples, also where no θ fits them."""
    rng = np.random.default_rng(0)
    X, y, X_test, y_test = (rng.standard_normal(shape) for shape in ((8, 5), 8, (30, 5), 30))
    problem = ridge.data_problem(X, y, X_test, y_test)
    path = ridge.trajectory(problem, [0, 10], init_scale=2.0, learning_rate=0.1, weight_decay=0.01)
    theta = 2.0 * start(5)
    for step in range(11):
        if step in (0, 10):
            expected = ((X_test @ theta - y_test) ** 2).mean() / 2
            assert float(path.set_index("step")["test_loss"][step]) == pytest.approx(expected, rel=1e-10)
        theta -= 0.1 * (X.T @ (X @ theta - y) / 8 + 0.01 * theta)


def hilbert(rows: int, columns: int, shift: float = 0.0) -> np.ndarray:
    """1/(i + j + 1 + shift): columns that are nearly dependent, the more the worse."""
    return 1 / (np.arange(rows)[:, None] + np.arange(columns) + 1 + shift)


def ill_conditioned(n: int, n_test: int, m: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Φ, y and held-out ones, of functions that no few features can express."""
    return (
        hilbert(n, m), np.sin(np.arange(n) / 3), hilbert(n_test, m, 0.5), np.sin((np.arange(n_test) + 0.5) / 3)
    )  # fmt: skip


def losses_to_sixty_digits(
    data: tuple[np.ndarray, ...], steps: list[int], eta: float, decay: float
) -> list[tuple[float, float]]:
    """Train and test loss at steps of the descent from θ₀ (init_scale 1): half the mean square of the residuals."""
    with mpmath.workdps(60):
        A, y, A_test, y_test = (mpmath.matrix(array.tolist()) for array in data)
        n, m = A.rows, A.cols
        s, Q = mpmath.eigsy(A.T * A / n)
        first, fit = Q.T * mpmath.matrix(start(m).tolist()), Q.T * (A.T * y) / n
        found = []
        for step in steps:
            left = [(1 - mpmath.mpf(eta) * (s[i] + mpmath.mpf(decay))) ** step for i in range(m)]
            coordinates = [left[i] * first[i] + (1 - left[i]) * fit[i] / (s[i] + mpmath.mpf(decay)) for i in range(m)]
            theta = Q * mpmath.matrix(coordinates)
            residuals = A * theta - y, A_test * theta - y_test
            found.append(tuple(float(mpmath.fdot(r, r) / (2 * len(r))) for r in residuals))
        return found


@pytest.mark.parametrize("decay", [0.0, 1e-6])
@pytest.mark.parametrize("shape", [(20, 30, 7), (20, 30, 10), (8, 30, 12), (12, 12, 12)], ids=str)
@pytest.mark.filterwarnings("ignore:The condition number of test_features")
def test_losses_of_ill_conditioned_features_are_those_of_sixty_digits(shape, decay):
    """‖θ*‖ is 1e4 to 1e13. Tolerance: ten roundings, of which the docstring says how they grow with the step."""
    data = ill_conditioned(*shape)
    problem = ridge.data_problem(*data)
    assert np.linalg.norm(problem.teacher) > 1e4
    steps = [0, 1, 1_000, 10**6, 10**9, 10**12, 10**15]
    path = ridge.trajectory(problem, steps, weight_decay=decay, init_scale=1.0)
    eta = path.attrs["learning_rate"]
    expected = losses_to_sixty_digits(data, steps, eta, decay)
    top = 2 / problem.largest_learning_rate
    for i, step in enumerate(steps):
        grown = math.sqrt(1 + min(eta * step * top, top / decay if decay else math.inf))
        scale = 10 * np.finfo(float).eps * grown
        assert path["train_loss"][i] == pytest.approx(expected[i][0], abs=scale * expected[0][0])
        assert path["test_loss"][i] == pytest.approx(expected[i][1], abs=scale * (expected[0][1] + expected[i][1]))
    assert (path["test_loss"] >= problem.test_floor).all()
    taken = ridge.simulate(problem, range(301), weight_decay=decay, init_scale=1.0, progress=False)
    exact = ridge.trajectory(problem, range(301), weight_decay=decay, init_scale=1.0)
    np.testing.assert_allclose(exact["test_loss"], taken["test_loss"], rtol=1e-12)


@pytest.mark.parametrize("columns", [3, 5, 7, 8, 9, 10, 11])
@pytest.mark.filterwarnings("ignore:The condition number of test_features")
def test_the_floor_is_a_bound_of_the_least_test_loss(columns):
    """Against least squares with 60 digits; the floor gives away no more than rounding can have added."""
    *_, X_test, y_test = data = ill_conditioned(20, 30, columns)
    with mpmath.workdps(60):
        A, y = mpmath.matrix(X_test.tolist()), mpmath.matrix(y_test.tolist())
        theta = mpmath.lu_solve(A.T * A, A.T * y)
        r = A * theta - y
        least, norm = float(mpmath.fdot(r, r) / 60), float(mpmath.norm(theta))
    problem = ridge.data_problem(*data)
    assert problem.test_floor <= least
    given_away = 120 * np.finfo(float).eps * np.linalg.norm(X_test, 2) * norm / math.sqrt(30)
    assert math.sqrt(2 * problem.test_floor) >= math.sqrt(2 * least) - given_away - 1e-13
    assert problem.teacher_variance == pytest.approx((y_test @ y_test) / 30 - 2 * least, rel=1e-9 + given_away)


@pytest.mark.parametrize(("shape", "lost"), [((4, 30, 6), None), ((6, 30, 9), 11), ((8, 30, 12), 15)], ids=str)
def test_a_teacher_that_lost_its_digits_says_how_many(shape, lost):
    """Against least squares with 60 digits: no more digits are lost than the warning says, which is an upper bound."""
    data = ill_conditioned(*shape)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        problem = ridge.data_problem(*data)
    if lost is None:
        assert not caught
        lost = 10
    else:
        assert f"has lost about {lost} of 16 digits" in str(caught[0].message)
    with mpmath.workdps(60):
        A, y = mpmath.matrix(data[2].tolist()), mpmath.matrix(data[3].tolist())
        theta = np.array([float(entry) for entry in mpmath.lu_solve(A.T * A, A.T * y)])
    error = np.linalg.norm(theta - problem.teacher) / np.linalg.norm(theta)
    assert error < 10.0 ** (lost - 15.95)


def test_held_out_samples_that_no_feature_tells_apart():
    """θ* is 0, and the floor half the mean square of the targets."""
    problem = ridge.data_problem(np.ones((2, 3)), np.arange(2.0), np.zeros((4, 3)), np.array([1.0, 1.0, 1.0, 3.0]))
    assert (problem.teacher == 0).all()
    assert problem.test_floor == pytest.approx(12 / 8, rel=1e-15)
    np.testing.assert_allclose(ridge.trajectory(problem, 9)["test_loss"], 12 / 8, rtol=1e-15)


def test_without_a_teacher_there_is_no_test_loss():
    rng = np.random.default_rng(0)
    problem = ridge.RidgeProblem(rng.standard_normal((4, 7)), rng.standard_normal(4))
    path = ridge.trajectory(problem, 100)
    assert path["test_loss"].isna().all()
    assert path["train_loss"].is_monotonic_decreasing
    times = ridge.grokking_times(problem, init_scale=3.0)
    assert times.overfitting is not None
    assert times.missing["generalization"] == "the problem has no teacher, so no test loss"
    assert times.tolerance == pytest.approx(0.1 * (problem.targets**2).mean())


def test_steps_are_taken_as_a_last_one_or_as_a_list():
    problem = ridge.gaussian_problem(4, 6)
    assert ridge.trajectory(problem, 10**9)["step"].iloc[[0, 1, -1]].tolist() == [0, 1, 10**9]
    assert 150 < len(ridge.trajectory(problem, 10**9)) <= 201
    assert ridge.trajectory(problem, [7, 3, 7])["step"].tolist() == [3, 7]
    assert ridge.trajectory(problem, 0)["step"].tolist() == [0]
    assert ridge.trajectory(problem, 5).attrs["weight_decay"] == 1e-6


def test_bad_input_is_refused_in_a_sentence():
    said = outside(
        """
        import interp
        import numpy as np
        from interp.linear import ridge
        good = ridge.gaussian_problem(6, 9)
        rows = np.ones((4, 3))
        holes = rows.copy(); holes[1, 2] = np.nan
        for attempt in (
            lambda: ridge.gaussian_problem(0, 5),
            lambda: ridge.gaussian_problem(5, 2.5),
            lambda: ridge.gaussian_problem(5, 5, noise=-1),
            lambda: ridge.gaussian_problem(5, 5, "pink"),
            lambda: ridge.gaussian_problem(5, 5, [1, 2]),
            lambda: ridge.gaussian_problem(5, 5, [1, 2, 3, 4, -5]),
            lambda: ridge.gaussian_problem(5, 5, teacher=np.ones(4)),
            lambda: ridge.random_features_problem(5, 5, 0),
            lambda: ridge.random_features_problem(5, 5, 5, "swish"),
            lambda: ridge.random_features_problem(5, 5, 5, noise=float("nan")),
            lambda: ridge.RidgeProblem(holes, np.ones(4)),
            lambda: ridge.RidgeProblem(rows, np.ones(3)),
            lambda: ridge.RidgeProblem(np.ones(3), np.ones(3)),
            lambda: ridge.RidgeProblem(np.ones((0, 3)), np.ones(0)),
            lambda: ridge.RidgeProblem([["a"]], [1.0]),
            lambda: ridge.RidgeProblem(None, None),
            lambda: ridge.RidgeProblem(1j * rows, np.ones(4)),
            lambda: good.null_space_part(np.ones(3)),
            lambda: ridge.RidgeProblem(rows, np.ones(4), np.ones(2)),
            lambda: ridge.RidgeProblem(rows, np.ones(4), np.ones(3), np.ones((3, 2))),
            lambda: ridge.RidgeProblem(rows, np.ones(4), np.ones(3), np.triu(np.ones((3, 3)))),
            lambda: ridge.RidgeProblem(rows, np.ones(4), np.ones(3), -np.ones(3)),
            lambda: ridge.RidgeProblem(rows, np.ones(4), None, np.ones(3)),
            lambda: ridge.data_problem(rows, np.ones(4), np.ones((5, 2)), np.ones(5)),
            lambda: ridge.trajectory(good, 100, weight_decay=-1e-3),
            lambda: ridge.trajectory(good, 100, init_scale=-1),
            lambda: ridge.trajectory(good, 100, learning_rate=0),
            lambda: ridge.trajectory(good, 100, learning_rate=1e3),
            lambda: ridge.trajectory(good, -1),
            lambda: ridge.trajectory(good, [1.5]),
            lambda: ridge.trajectory(good, []),
            lambda: ridge.trajectory(good, 10**16),
            lambda: ridge.grokking_times(good, tolerance=0),
            lambda: good.largest_learning_rate and ridge.gaussian_problem(6, 4).null_space_part(np.ones(4)),
        ):
            try:
                attempt()
            except interp.ConfigError as error:
                print(error)
            else:
                print("nothing was refused")
        """
    ).splitlines()
    expected = [
        "n must be a whole number of at least 1; got 0.", "m must be a whole number of at least 1; got 2.5.",
        "noise must be a finite number of at least 0; got -1.",
        "spectrum must be isotropic, power_law or spiked, or 5 eigenvalues; got ",
        "spectrum must be 5 eigenvalues of at least 0; got 2", "eigenvalues of at least 0; got 5, the least -5.",
        "teacher must have 5 entries, one a feature; got 4.", "m must be a whole number of at least 1; got 0.",
        "activation must be relu, tanh or erf; got", "noise must be a finite number of at least 0; got nan.",
        "features must be finite; got 1 values that are not.",
        "targets must have an entry for each of the 4 rows of features; got 3.",
        "features must be a matrix with at least one entry; got the shape (3,)", "got the shape (0, 3)",
        "features must be an array of real numbers; got", "got the shape ()",
        "features must be an array of real numbers",
        "theta must have 9 entries, one a parameter; got 3.",
        "teacher must have 3 entries and covariance the shape (3, 3) or (3,); got 2", "got 3 and (3, 2).",
        "covariance must be symmetric", "with variances of at least 0",
        "covariance needs teacher as well",
        "test_features must have 3 columns", "weight_decay must be a finite number of at least 0; got -0.001.",
        "init_scale must be a finite number of at least 0; got -1.",
        "learning_rate must be above 0 and under", "converge on this problem, with a weight decay of 1e-06; got 1000.",
        "a step must be a whole number from 0 to 2**53 - 1; got -1.", "2**53 - 1; got 1.5.",
        "steps must name 1 to 1,000,000 steps", "a step must be a whole number from 0 to 2**53 - 1; got",
        "tolerance must be a finite number above 0; got 0.", "Take m > n",
    ]  # fmt: skip
    assert len(said) == len(expected)
    for line, words in zip(said, expected, strict=True):
        assert words in line


def test_the_largest_stable_learning_rate_is_where_it_says():
    problem = ridge.gaussian_problem(10, 15, seed=1)
    largest = problem.largest_learning_rate
    top = np.linalg.eigvalsh(problem.features.T @ problem.features / 10)[-1]
    assert largest == pytest.approx(2 / top, rel=1e-12)
    settings = {"weight_decay": 0.0, "init_scale": 1.0}
    path = ridge.trajectory(problem, [0, 10**7], learning_rate=largest * (1 - 1e-4), **settings)
    assert path["train_loss"].iloc[-1] < 1e-20
    with pytest.raises(ConfigError, match=f"under {largest:.6g}"):
        ridge.trajectory(problem, 10, learning_rate=largest * (1 + 1e-9), **settings)
