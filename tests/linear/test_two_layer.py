"""Two-layer students: their gradients against autograd, their test loss against its definition, their delays."""

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import linregress, t as student_t

from interp import ConfigError, TrainingError, fit_exponents
from interp.linear import two_layer
from interp.linear.two_layer import TwoLayer
from tests.processes import outside

SMALL = TwoLayer(n=20, d=4, width=15, learning_rate=0.1, weight_decay=0.02, init_scale=1.5, seed=3)


def reference(student: TwoLayer, steps: int) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    """The same training by autograd, in float64; its weights and its train loss before every step."""
    X, y, w, a, _, _ = two_layer._drawn(student)
    X, y = X.double(), y.double()
    w, a = w.double().requires_grad_(), a.double().requires_grad_()
    losses = []
    for _ in range(steps + 1):
        loss = ((torch.relu(X @ w) @ a / math.sqrt(student.width) - y) ** 2).mean() / 2
        losses.append(loss.detach())
        decay = student.weight_decay / 2 * ((w**2).sum() + (a**2).sum())
        grads = torch.autograd.grad(loss + decay, (w, a))
        with torch.no_grad():
            w -= student.learning_rate * grads[0]
            a -= student.learning_rate * grads[1]
    return {"w": w.detach(), "a": a.detach()}, torch.stack(losses)


def test_it_descends_the_gradient_that_autograd_finds():
    """To 1e-9 over fifty steps."""
    frame = two_layer.trajectories(SMALL, steps=50, records=1_000, progress=False)
    _, losses = reference(SMALL, 50)
    np.testing.assert_allclose(frame["train_loss"], losses.numpy()[frame["step"]], rtol=1e-9)
    assert frame["train_loss"].iloc[-1] < 0.2 * frame["train_loss"].iloc[0]


@pytest.mark.parametrize("teacher_width", [1, 2, 3])
def test_the_test_loss_is_the_mean_over_all_inputs(teacher_width):
    """Against 400,000 inputs, within five standard errors; the teacher's outputs have variance 1."""
    student = replace(SMALL, teacher_width=teacher_width)
    _, _, w, a, directions, signs = two_layer._drawn(student)
    x = torch.randn(400_000, student.d, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    wanted = torch.relu(x @ directions.T) @ signs
    assert float(wanted.var()) == pytest.approx(1, abs=0.02)
    squares = (torch.relu(x @ w.double()) @ a.double() / math.sqrt(student.width) - wanted) ** 2 / 2
    found = two_layer.trajectories(student, steps=1, progress=False)["test_loss"][0]
    assert abs(found - float(squares.mean())) < 5 * float(squares.std()) / math.sqrt(len(x))


def test_a_student_of_zero_weights_has_the_teachers_power():
    """½E f*² is ½ for two opposite neurons, whose mean is 0, and ½ · ½ / (½ − 1/2π) for one."""
    for neurons, power in ((2, 1.0), (1, 0.5 / (0.5 - 1 / (2 * math.pi)))):
        student = replace(SMALL, teacher_width=neurons, init_scale=0.0, d=200)
        first = two_layer.trajectories(student, steps=1, progress=False).iloc[0]
        # In 200 dimensions two directions are nearly orthogonal, but not quite: the mean stays 0.
        assert first["test_loss"] == pytest.approx(power / 2, rel=1e-9)
        assert first["weight_norm"] == 0


def test_students_side_by_side_are_those_alone():
    others = [SMALL, replace(SMALL, weight_decay=0.1, seed=4), replace(SMALL, width=30), replace(SMALL, init_scale=3.0)]
    together = two_layer.trajectories(others, steps=30, progress=False)
    assert together["run"].nunique() == 4
    for run, student in enumerate(others):
        alone = two_layer.trajectories(student, steps=30, progress=False)
        own = together[together["run"] == run].reset_index(drop=True)
        pd.testing.assert_frame_equal(own.drop(columns="run"), alone.drop(columns="run"), rtol=1e-9)


def test_the_delay_is_about_inversely_proportional_to_weight_decay():
    """The bound of ridge regression says −1; three decays of three seeds give that to a tenth."""
    students = [replace(TwoLayer(), weight_decay=decay, seed=s) for decay in (5e-4, 1e-3, 2e-3) for s in range(3)]
    times = two_layer.grokking_times(two_layer.trajectories(students, steps=6_000, progress=False))
    assert (times["delay"] > 10 * times["overfitting"]).all()
    assert fit_exponents(times, ["weight_decay"]).exponents["weight_decay"][0] == pytest.approx(-1, abs=0.1)


def test_grokking_times_are_the_first_recorded_steps_under_the_tolerance_for_good():
    frame = pd.DataFrame(
        {
            "run": [0] * 4 + [1] * 4,
            "step": [0, 10, 20, 30] * 2,
            "train_loss": [1, 0.05, 0.2, 0.1, 0.1, 0.1, 0.1, 0.1],
            "test_loss": [1, 0.5, 0.3, 0.2, 1, 1, 0.1, 0.05],
        }
    )
    times = two_layer.grokking_times(frame, tolerance=0.1)
    assert times["overfitting"].tolist() == [30, 0]
    assert times["generalization"].isna().tolist() == [True, False]
    assert times["delay"].tolist()[1] == 20
    assert times["last_step"].tolist() == [30, 30]


def _times(x: np.ndarray, delay: np.ndarray, last_step: float = 1e9) -> pd.DataFrame:
    """The table of students of these delays; who generalizes after `last_step` has not generalized."""
    generalization = pd.Series(10 + delay).where(10 + delay <= last_step)
    return pd.DataFrame(
        {"weight_decay": x, "overfitting": 10.0, "generalization": generalization, "last_step": last_step}
    )


def test_the_exponent_of_a_power_law_is_found_exactly():
    x = np.array([1.0, 2.0, 5.0, 10.0])
    found = fit_exponents(_times(x, 7 * x**-1.5), ["weight_decay"]).exponents["weight_decay"]
    assert found == pytest.approx((-1.5, -1.5, -1.5), abs=1e-12)
    noisy = np.repeat(x, 10)
    scattered = noisy**2 * np.exp(0.3 * np.random.default_rng(0).standard_normal(40))
    value, low, high = fit_exponents(_times(noisy, scattered), ["weight_decay"]).exponents["weight_decay"]
    line = linregress(np.log(noisy), np.log(scattered))
    assert value == pytest.approx(line.slope, rel=1e-12)
    assert (high - low) / 2 == pytest.approx(student_t.ppf(0.975, 38) * line.stderr, rel=1e-12)


def test_students_that_had_not_generalized_are_censored_in_the_exponent():
    """Left out, the slowest at each decay would pull the exponent up; censored, it stays where it was."""
    x = np.repeat(np.array([1.0, 2.0, 4.0, 8.0]), 200)
    delay = 8_000 / x * np.exp(0.5 * np.random.default_rng(1).standard_normal(len(x)))
    cut = _times(x, delay, last_step=8_010.0)
    found = fit_exponents(cut, ["weight_decay"])
    assert found.censored == int((delay > 8_000).sum()) > 100
    _, low, high = found.exponents["weight_decay"]
    assert low < -1 < high
    assert high - low < 0.2
    dropped = cut.dropna(subset=["generalization"])
    assert fit_exponents(dropped, ["weight_decay"]).exponents["weight_decay"][0] > -0.9


def test_a_small_weight_decay_is_not_rounded_away():
    """Without data's pull (a teacher that zero weights would fit is out of reach) only the norm tells: e^(−ηλt)."""
    still = replace(SMALL, learning_rate=1e-3, weight_decay=1e-4, init_scale=1.0)
    with_decay, without = (
        two_layer.trajectories(one, steps=1_000, progress=False)["weight_norm"].iloc[-1]
        for one in (still, replace(still, weight_decay=0.0))
    )
    assert with_decay / without == pytest.approx(math.exp(-1e-3 * 1e-4 * 1_000), abs=3e-5)
    assert with_decay < without


def test_a_student_that_diverges_is_named():
    with pytest.raises(
        TrainingError,
        match=r"the student of width \d+, seed \d+, .* diverged before step .*; lower its learning_rate of 500",
    ):
        two_layer.trajectories(replace(SMALL, learning_rate=500.0), steps=100, progress=False)


def test_bad_input_is_refused_in_a_sentence():
    for wrong, said in [
        ({"n": 0}, "n must be a whole number of at least 1; got 0"),
        ({"width": 1.5}, "width must be a whole number of at least 1; got 1.5"),
        ({"weight_decay": -1.0}, "weight_decay must be a finite number of at least 0; got -1"),
        ({"init_scale": math.nan}, "init_scale must be a finite number of at least 0; got nan"),
        ({"learning_rate": 0.0}, "learning_rate must be a finite number above 0; got 0.0"),
        ({"seed": -1}, r"seed must be a whole number from 0 to 2\*\*64 - 1; got -1"),
    ]:
        said_outside = outside(
            f"""
            from math import nan
            from interp.linear import two_layer
            try:
                two_layer.TwoLayer(**{wrong})
            except two_layer.ConfigError as error:
                print(error)
            """
        ) if wrong == {"width": 1.5} else None  # fmt: skip
        if said_outside is not None:
            assert said in said_outside
            continue
        with pytest.raises(ConfigError, match=said):
            TwoLayer(**wrong)
    with pytest.raises(ConfigError, match="must be a TwoLayer, or a list of at least one"):
        two_layer.trajectories([])
    with pytest.raises(ConfigError, match="neurons of the teacher must not cancel; the 2 of seed 3 do, with d = 1"):
        two_layer.trajectories(TwoLayer(n=20, d=1, width=10, seed=3), steps=5)
    with pytest.raises(ConfigError, match=r"seed must be a whole number from 0 to 2\*\*64 - 1"):
        TwoLayer(seed=2**70)
    with pytest.raises(ConfigError, match="must have the columns train_loss, test_loss"):
        two_layer.grokking_times(pd.DataFrame({"run": [0], "step": [0]}))
    frame = pd.DataFrame({"run": [0], "step": [0], "train_loss": [1.0], "test_loss": [1.0]})
    with pytest.raises(ConfigError, match="tolerance must be a finite number above 0; got 0"):
        two_layer.grokking_times(frame, tolerance=0.0)
    with pytest.raises(ConfigError, match="at least one row"):
        two_layer.grokking_times(frame.iloc[:0])
    for x, y, said in [
        ([1.0, 2.0], [1.0, 2.0], "at least three runs that generalized; got 2"),
        ([1.0, 1.0, 1.0], [1.0, 2.0, 3.0], "must vary to have an exponent; weight_decay has one value"),
        ([0.0, 1.0, 2.0], [1.0, 2.0, 3.0], "columns of numbers above 0; got 'weight_decay'"),
    ]:
        with pytest.raises(ConfigError, match=said):
            fit_exponents(_times(np.array(x), np.array(y)), ["weight_decay"])
    with pytest.raises(ConfigError, match=r"needs the table of a sweep, .* or that of two_layer.grokking_times; got"):
        fit_exponents(pd.DataFrame({"weight_decay": [1.0]}), ["weight_decay"])
