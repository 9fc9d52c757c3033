"""Ensembles of runs: identities, bounds, an example worked by hand, and what is refused."""

import math
import os
import shutil

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

import interp
from interp import CheckpointError, ConfigError, Task
from interp.sweeps import local
from interp.sweeps.ensembles import SCORES
from interp.sweeps.jobs import perform
from interp.sweeps.table import varied
from tests.processes import outside

SETTINGS = {
    "p": 7, "train_fraction": 0.5, "d_model": 8, "n_heads": 1, "d_mlp": 8, "steps": 40, "learning_rate": 0.01,
    "checkpoint_steps": [[0, 20, 40]],
}  # fmt: skip
OF = ("logits", "probabilities")


@pytest.fixture(scope="module")
def sweep(tmp_path_factory) -> interp.Sweep:
    """Three runs that have nothing but their split in common."""
    patch = pytest.MonkeyPatch()
    patch.setattr(local, "work", lambda jobs, workers, tell: [tell(job, perform(job)) for job in jobs])
    path = tmp_path_factory.mktemp("sweeps") / "ensemble"
    with patch.context():
        return interp.sweep({**SETTINGS, "split_seed": 0, "seed": [0, 1, 2]}, path, progress=False)


def ensemble(*arguments, **settings) -> pd.DataFrame:
    return interp.ensemble(*arguments, progress=False, **settings)


class Table(nn.Module):
    """Logits of every pair, as they are."""

    def __init__(self, logits: torch.Tensor) -> None:
        super().__init__()
        self.logits = nn.Parameter(logits.float())

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return self.logits[tokens[:, 0], tokens[:, 1]]


TASK = Task(5)
SPLIT = interp.split_mask(5, 0.4, 0)


def run_of(*states: torch.Tensor, task: Task = TASK, split: torch.Tensor | None = SPLIT) -> interp.Run:
    """A run whose checkpoints, of steps 0, 10, 20 and so on, give these logits."""
    module = Table(states[0])
    return interp.load_run(
        {10 * i: {"logits": logits.float()} for i, logits in enumerate(states)},
        model=interp.Model(module, task, split, tokens="ab"),
    )


def one_hot(shift: int = 0) -> torch.Tensor:
    return nn.functional.one_hot((TASK.labels + shift) % 5, 5).double()


def test_the_table_of_runs_with_one_split_says_so(sweep):
    """Of the run of seed 0 too, whose split would be the same without split_seed."""
    assert sweep.table["split_seed"].tolist() == [0, 0, 0]
    assert varied(sweep.table) == ["seed"]
    assert interp.load_sweep(sweep.path).table["split_seed"].tolist() == [0, 0, 0]


# ── what it is ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_an_example_worked_by_hand():
    """One member is right everywhere; the other is so on train pairs, and on test pairs prefers the next number."""
    right = math.log(12) * one_hot()  # probability 12/16 of the label, 1/16 of each other number
    wrong = math.log(4) * one_hot(1)  # 4/8 of the next number, 1/8 of the label
    runs = [run_of(right), run_of(torch.where(SPLIT[..., None], right, wrong))]
    of_test = {
        "probabilities": -math.log((12 / 16 + 1 / 8) / 2),
        "logits": -math.log(12**0.5 / (12**0.5 + 4**0.5 + 3)),  # half of each logit: √12 and √4 beside three ones
    }
    of_train = -math.log(12 / 16)
    for of, test_loss in of_test.items():
        (row,) = ensemble(runs, of=of).to_dict("records")
        assert (row["step"], row["members"]) == (0, 2)
        assert row["train_loss"] == pytest.approx(of_train, rel=1e-6)
        assert row["test_loss"] == pytest.approx(test_loss, rel=1e-6)
        assert row["loss"] == pytest.approx((10 * of_train + 15 * test_loss) / 25, rel=1e-6)  # 10 of 25 are train pairs
        assert row["mean_test_loss"] == pytest.approx((of_train + math.log(8)) / 2, rel=1e-6)
        assert row["best_test_loss"] == pytest.approx(of_train, rel=1e-6)
        assert (row["accuracy"], row["test_accuracy"]) == (1, 1)
        assert (row["mean_test_accuracy"], row["mean_accuracy"], row["best_test_accuracy"]) == (0.5, 0.7, 1)


def test_members_that_err_on_different_pairs_are_right_together():
    """Each of three is wrong, and less sure, on one of the numbers that a can be: their votes outweigh it."""
    members = []
    for a in range(3):
        logits = 2 * one_hot()
        logits[a] = one_hot(1)[a]
        members.append(run_of(logits))
    for of in OF:
        (row,) = ensemble(members, of=of).to_dict("records")
        assert (row["accuracy"], row["mean_accuracy"], row["best_accuracy"]) == (1, pytest.approx(0.8), 0.8)
        assert row["loss"] < row["best_loss"]


@pytest.mark.parametrize("of", OF)
def test_an_ensemble_of_copies_of_one_model_is_that_model(sweep, of, tmp_path):
    run = sweep.run(0)
    alone = interp.trajectory(run, measures=list(SCORES), progress=False, keep=False)
    copies = [shutil.copytree(run.path, tmp_path / str(i)) for i in range(2)]
    for members in ([run, copies[0]], [run, *copies]):
        found = ensemble(members, of=of)
        assert found["step"].tolist() == list(run.steps) == alone["step"].tolist()
        for name in SCORES:
            # Sums of float32 logits are exact in float64; logarithms of sums of probabilities are rounded.
            np.testing.assert_allclose(found[name], alone[name], rtol=0 if of == "logits" else 1e-13)
            np.testing.assert_array_equal(found[f"best_{name}"], alone[name])
            np.testing.assert_allclose(found[f"mean_{name}"], alone[name], rtol=1e-15)


@pytest.mark.parametrize("of", OF)
def test_its_loss_is_at_most_the_mean_of_its_members(sweep, of):
    """Jensen: −log softmax is convex in the logits, −log in the probability of the label."""
    found = ensemble(sweep, of=of)
    for name in ("loss", "train_loss", "test_loss"):
        assert (found[name] < found[f"mean_{name}"]).all()
    alone = [interp.trajectory(run, measures=list(SCORES), progress=False, keep=False) for run in sweep.runs()]
    for name in SCORES:
        np.testing.assert_allclose(found[f"mean_{name}"], np.mean([one[name] for one in alone], 0), rtol=1e-14)
    best = np.argmin([one["test_loss"] for one in alone], 0)
    assert found["best_run"].tolist() == [str(sweep.runs()[i].path) for i in best]
    for name in SCORES:
        assert found[f"best_{name}"].tolist() == [alone[i][name].iloc[row] for row, i in enumerate(best)]


def test_it_is_the_mean_of_softmax_over_the_numbers_written_out(sweep):
    runs = sweep.runs()
    labels, test = runs[0].task.labels, ~runs[0].train_mask
    logits = torch.stack([interp.activations(run.at(40)).logits.double() for run in runs])
    written = {"logits": logits.mean(0).softmax(-1), "probabilities": logits.softmax(-1).mean(0)}
    for of, probabilities in written.items():
        (row,) = ensemble(runs, of=of, steps=[40]).to_dict("records")
        of_label = probabilities.gather(-1, labels[..., None])[..., 0]
        assert row["test_loss"] == pytest.approx(float(-of_label[test].log().mean()), rel=1e-12)
        assert row["test_accuracy"] == float((probabilities.argmax(-1) == labels)[test].double().mean())


def test_probabilities_that_are_zero_in_float64_have_a_finite_loss():
    """Logits that differ by 1,000: the label's probability is e⁻¹⁰⁰⁰ in each member, and so in their mean."""
    runs = [run_of(1000 * one_hot(1)), run_of(1000 * one_hot(2))]
    (row,) = ensemble(runs, of="probabilities").to_dict("records")
    assert row["loss"] == pytest.approx(1000, rel=1e-12)


# ── which runs, at which steps ───────────────────────────────────────────────────────────────────────────────────


def test_a_sweep_and_its_paths_are_the_same_ensemble(sweep):
    found = ensemble(sweep)
    assert found["step"].tolist() == [0, 20, 40]
    assert set(found["members"]) == {3}
    pd.testing.assert_frame_equal(found, ensemble([run.path for run in sweep.runs()]))
    pd.testing.assert_frame_equal(found.iloc[[2]].reset_index(drop=True), ensemble(iter(sweep.runs()), steps=[40]))


def test_the_steps_are_those_that_all_runs_have():
    x = one_hot()
    assert ensemble([run_of(x, 2 * x, 3 * x), run_of(x, x + 1)])["step"].tolist() == [0, 10]


# ── what is refused ──────────────────────────────────────────────────────────────────────────────────────────────


def test_a_sweep_over_seeds_with_a_split_each_is_told_to_fix_it(sweep, small_run):
    other = interp.split_mask(5, 0.4, 1)
    differ = int((other != SPLIT).sum())
    with pytest.raises(ConfigError, match=rf"differ in {differ} of 25 pairs.* --set split_seed=0 --set seed=0:5\.$"):
        ensemble([run_of(one_hot()), run_of(one_hot(), split=other)])
    with pytest.raises(ConfigError, match=r"must have one task; .*p=7.* Task\(p=13"):
        ensemble([sweep.run(0), small_run])
    with pytest.raises(ConfigError, match="must have one task"):
        ensemble([run_of(one_hot()), run_of(one_hot(), task=Task(5, "subtract"))])


@pytest.mark.parametrize(
    ("runs", "settings", "said"),
    [
        (lambda: [run_of(one_hot())], {}, "needs two runs or more; got 1"),
        (lambda: [], {}, "got 0"),
        (lambda: "runs/mine", {}, "a list of runs or of their paths; got 'runs/mine'"),
        (lambda: run_of(one_hot()), {}, "a list of runs or of their paths; got a Run"),
        (lambda: [run_of(one_hot())] * 2, {}, "must be different; got 1 states? of Table twice. Drop one of them"),
        (lambda: [run_of(one_hot(), split=None) for _ in "ab"], {}, "its split is unknown. Open it with its split"),
        (lambda: [run_of(one_hot(), split=SPLIT | True) for _ in "ab"], {}, "all its pairs are train pairs"),
        (lambda: [run_of(one_hot()) for _ in "ab"], {"steps": []}, "must name at least one step"),
    ],
)  # fmt: skip
def test_what_is_no_ensemble_is_refused_in_a_sentence(runs, settings, said):
    with pytest.raises(ConfigError, match=said):
        ensemble(runs(), **settings)


def test_a_run_counts_once_under_whatever_path(sweep, tmp_path):
    path = sweep.run(0).path
    (tmp_path / "link").symlink_to(path)
    for again in (path, str(path), os.path.relpath(path), tmp_path / "link", sweep.run(0)):
        with pytest.raises(ConfigError, match=r"must be different; got .* twice\. Drop one of them\.$"):
            ensemble([path, sweep.run(1), again])


def test_arguments_of_other_types_are_refused_in_a_sentence(small_run_path, tmp_path):
    copy = shutil.copytree(small_run_path, tmp_path / "copy")
    said = outside(
        f"""
        import interp
        path, copy = {str(small_run_path)!r}, {str(copy)!r}
        for settings in ({{"of": "votes"}}, {{"steps": 10}}, {{"steps": [0.5]}}, {{"runs": 3}}, {{"runs": [path, 3]}}):
            try:
                interp.ensemble(**{{"runs": [path, copy], "progress": False}} | settings)
            except interp.ConfigError as error:
                print(error)
        """
    ).splitlines()
    assert said == [
        "of must be logits or probabilities; got 'votes'.",
        "steps must be a list of whole numbers, such as [0, 1000]; got 10.",
        "each of steps must be a whole number of at least 0; got 0.5.",
        "runs must be a Sweep (of interp.load_sweep) or a list of runs or of their paths; got 3.",
        "ensemble() takes a Run or the path of one; got 3.",
    ]


def test_steps_that_are_not_there_and_weights_that_are_not_finite_are_refused():
    run, other = (run_of(one_hot(), one_hot()) for _ in range(2))
    with pytest.raises(CheckpointError, match="no checkpoint of step 5; the nearest are 0, 10"):
        ensemble([run, other], steps=[0, 5])
    broken = run_of(one_hot(), torch.full((5, 5, 5), torch.nan))
    with pytest.raises(CheckpointError, match=r"2 states of Table: .* those of step 10 hold NaN"):
        ensemble([run, broken])
    net = interp.Model(Table(one_hot()), TASK, SPLIT, tokens="ab")
    later = interp.load_run({7: {"logits": one_hot().float()}}, model=net)
    with pytest.raises(ConfigError, match="no step is in all 2 runs"):
        ensemble([run, later])
