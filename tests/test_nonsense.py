"""Nonsense for every argument of the public functions of arrays, settings and figures; see nonsense.py."""

import numpy as np
import pandas as pd
import pytest

import interp
from interp import ConfigError, TrainingError
from interp.linear import digits, double_descent, ridge
from tests.processes import outside


def test_nonsense_is_refused_in_a_sentence_or_gives_finite_numbers():
    said = outside("import runpy; runpy.run_path('tests/nonsense.py', run_name='__main__')")
    assert said.splitlines()[-1].endswith(" calls, 0 wrong")


@pytest.mark.parametrize("settings", [{"weight_decay": 1e3, "epochs": 100}, {"learning_rate": 1e30, "epochs": 5}])
def test_networks_of_nan_are_refused_by_name(settings):
    with pytest.raises(
        TrainingError, match=r"width 4, 50 samples and seed 0 diverged by epoch \d+; lower its learning_"
    ):
        digits.train_digits(4, 50, seeds=2, progress=False, **settings)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: interp.fourier.fourier_basis(10**6), r"the basis \(p × p\) must fit into 17 GB"),
        (
            lambda: interp.Model(lambda tokens: pytest.fail("it was run"), interp.Task(20_000), tokens="ab"),
            r"the logits of all pairs \(p × p × p\) must fit into 17 GB",
        ),
        (
            lambda: interp.plot.neurons_over_pairs(pd.DataFrame({"step": [0]})),
            r"neurons_over_pairs takes neurons, shown, .*; got a DataFrame .* its data it takes a Checkpoint",
        ),
        (
            lambda: interp.phases(pd.DataFrame({"step": [-100, 0.5], "test_accuracy": [0.0, 1.0]})),
            r"step must be a whole number of at least 0; got -100\.$",
        ),
    ],
)
def test_what_cannot_be_is_one_sentence_before_anything_is_built(call, said):
    with pytest.raises(ConfigError, match=said):
        call()


def test_no_split_is_no_split_of_a_training():
    said = outside(
        """
        import interp
        try:
            interp.TrainConfig(p=7, split=None)
        except interp.ConfigError as error:
            print(error)
        """
    )
    assert 'split must be "paper", "torch", or a mask of train pairs; got None.' in said


def test_an_indefinite_covariance_is_refused():
    """diag(1, −1) turned by 45° has no negative variance, and yet a negative eigenvalue; a singular Σ is allowed."""
    one_row = np.array([[1.0, 0.0]]), np.ones(1), np.array([1.0, 0.0])
    for covariance in ([[0.0, 1.0], [1.0, 0.0]], [[1.0, 1.1], [1.1, 1.0]]):
        with pytest.raises(ConfigError, match="covariance must have no negative eigenvalue"):
            ridge.RidgeProblem(*one_row, np.array(covariance))
    singular = ridge.RidgeProblem(*one_row, np.ones((2, 2)))
    assert singular.teacher_variance == 1


def test_the_risk_at_the_ends_of_its_range():
    """For γ → ∞ the least-norm fit learns nothing: r²(1 − 1/γ) + σ²/(γ − 1) is r²."""
    assert double_descent.isotropic_risk(1e70, 0.5) == 1
    with pytest.raises(ConfigError, match="ratio must be 0 or of a size from 1e-75 to 1e\\+75; got 1e\\+308"):
        double_descent.isotropic_risk(1e308, 0.5)


def test_curves_without_a_finite_value_or_a_slope():
    inf = float("inf")
    with pytest.raises(ConfigError, match="test_error must be finite somewhere; got 5 infinite values"):
        double_descent.descents(range(5), None, [inf] * 5)
    flat = double_descent.descents([1, 2, 3], None, [1.0, 1.0, 1.0])
    assert flat.missing["peak"] == "the test error is the same all along"
