"""What the shipped run must show: the published mainline, had again from its seed by this code."""

import json

import numpy as np
import pandas as pd
import pytest

import interp
from tests.conftest import ROOT, SHIPPED

# Steps and measures of an independent retraining of the same run (Nanda et al.'s mainline), rounded.
REFERENCE = {0: (4.75524, 4.75953), 50: (4.23619, 5.40726), 100: (2.27672, 7.73061), 200: (0.0201526, 16.0233)}
# restricted and excluded loss, between the rows 400 steps apart that are known on either side
RESTRICTED_EXCLUDED = {
    4800: (1.39255, 0.0157546), 5200: (1.24938, 0.03615), 8400: (0.144747, 3.90521), 8800: (0.0479223, 5.61347),
    9200: (0.00602993, 7.68598), 9600: (0.000210865, 9.97291), 4400: (1.53844, 0.00670164), 5600: (1.1159, 0.0815342),
}  # fmt: skip


@pytest.fixture(scope="module")
def trajectory(shipped):
    """Computed anew, whatever was kept beside the run; then it is kept."""
    return interp.trajectory(shipped, progress=False, refresh=True).set_index("step")


def test_it_is_the_mainline_and_long_and_dense_enough(shipped):
    assert shipped.config == interp.TrainConfig(checkpoint_steps=shipped.config.checkpoint_steps)
    assert shipped.steps[-1] >= 16_000
    assert 38 <= len(shipped) <= 44
    dense = [step for step in shipped.steps if 8_000 <= step <= 13_000]
    assert max(np.diff(dense)) <= 250
    beside = ("measures.parquet", "optimizer.safetensors")  # not in the repository
    size = sum(file.stat().st_size for file in SHIPPED.rglob("*") if file.name not in beside)
    assert size < 40e6
    assert list(shipped.history["step"]) == list(range(0, 16_001, 10))


def test_its_readme_gives_the_command_that_made_it(shipped):
    text = (SHIPPED / "README.md").read_text()
    command = next(line for line in text.splitlines() if line.startswith("interp train"))
    from interp.cli.options import parse_steps

    assert parse_steps(command.split("--checkpoint-steps ")[1].split()[0]) == shipped.config.checkpoint_steps
    versions = json.loads((SHIPPED / "config.json").read_text())["packages"]
    assert all(version in text for version in versions.values())


def test_its_key_frequencies_are_the_published_ones(shipped):
    assert interp.progress_measures(shipped).key_frequencies == (14, 35, 41, 42, 52)


def test_its_phases_are_the_published_ones(trajectory):
    ph = interp.phases(trajectory.reset_index())
    assert abs(ph.memorization_end - 1_400) <= 300
    assert abs(ph.circuit_formation_end - 9_400) <= 300
    assert abs(ph.cleanup_end - 13_000) <= 800
    assert ph.grokking_delay > 9_000
    assert not ph.missing


def test_it_ends_generalized(trajectory):
    last = trajectory.iloc[-1]
    assert last["test_accuracy"] == 1
    assert last["restricted_loss"] < last["test_loss"]


def test_early_losses_agree_with_the_reference_to_one_percent(trajectory):
    for step, (train_loss, test_loss) in REFERENCE.items():
        assert trajectory["train_loss"][step] == pytest.approx(train_loss, rel=0.01), step
        assert trajectory["test_loss"][step] == pytest.approx(test_loss, rel=0.01), step


@pytest.mark.parametrize("step", [5_000, 9_000])
def test_restricted_and_excluded_loss_agree_within_a_factor_of_one_and_a_half(trajectory, step):
    """The reference has rows 400 steps apart: the cubic through the logs of the four nearest stands between them."""
    around = [step - 600, step - 200, step + 200, step + 600]
    for column, name in enumerate(("restricted_loss", "excluded_loss")):
        logs = np.log([RESTRICTED_EXCLUDED[near][column] for near in around])
        reference = np.exp(np.dot(logs, [-1, 9, 9, -1]) / 16)
        assert abs(np.log(trajectory[name][step] / reference)) <= np.log(1.5), name


def test_every_public_name_is_documented():
    for name in interp.__all__:
        assert getattr(interp, name).__doc__, name


def test_the_trajectory_is_the_one_that_was_measured_before(trajectory):
    """shipped_trajectory.parquet was written before measures were declared one by one.

    To 1e-5, since another processor moves measures by up to 1e-6; of cos coefficients, which fall to rounding noise,
    to 1e-5 of the largest. Accuracies to 3e-4, which is a pair or two whose logits are as good as tied.
    """
    before = pd.read_parquet(ROOT / "tests" / "shipped_trajectory.parquet")
    now = trajectory.reset_index()
    assert set(now.columns) == set(before.columns)
    noise = 1e-5 * float(before.filter(regex="cos_coefficient_").abs().to_numpy().max())
    for name in before:
        smallest = noise if name.startswith("cos_coefficient_") else 3e-4 if "accuracy" in name else 1e-10
        np.testing.assert_allclose(now[name], before[name], rtol=1e-5, atol=smallest, err_msg=name)
