import random
from dataclasses import FrozenInstanceError

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st

from interp import ConfigError, Task, TrainConfig, split_mask
from interp.runs.directory import read_config, write_config, write_split
from interp.tasks.operations import OPERATIONS
from interp.tasks.splits import as_mask
from tests.processes import outside


@pytest.mark.parametrize("seed", [0, 1, 598])
def test_paper_split_is_pythons_shuffle_of_the_list_of_pairs(seed):
    p, fraction = 113, 0.3
    random.seed(seed)
    pairs = [(a, b, p) for a in range(p) for b in range(p)]
    random.shuffle(pairs)
    train = set(pairs[: int(fraction * p * p)])
    mask = split_mask(p, fraction, seed, "paper")
    assert {(a, b, p) for a, b in mask.nonzero().tolist()} == train
    assert len(train) == 3830


@pytest.mark.parametrize("seed", [0, 1, 598])
def test_torch_split_is_the_first_of_randperm(seed):
    p, fraction = 118, 0.3
    torch.manual_seed(seed)
    train = torch.randperm(p * p)[: int(fraction * p * p)]
    assert torch.equal(split_mask(p, fraction, seed, "torch").flatten().nonzero().flatten(), train.sort().values)


def test_a_split_leaves_the_global_generators_alone():
    random.seed(7)
    torch.manual_seed(7)
    expected = random.random(), torch.rand(1)
    random.seed(7)
    torch.manual_seed(7)
    split_mask(11, 0.5, 3, "paper")
    split_mask(11, 0.5, 3, "torch")
    assert (random.random(), torch.rand(1)) == expected


@given(
    p=st.integers(2, 30),
    fraction=st.floats(0.01, 0.99),
    seed=st.integers(0, 2**32),
    kind=st.sampled_from(["paper", "torch"]),
)
def test_a_split_has_the_asked_number_of_train_pairs_and_never_an_empty_side(p, fraction, seed, kind):
    n = int(fraction * p * p)
    if n == 0:
        with pytest.raises(ConfigError, match="must leave a train pair"):
            split_mask(p, fraction, seed, kind)
        return
    mask = split_mask(p, fraction, seed, kind)
    assert mask.shape == (p, p)
    assert int(mask.sum()) == n < p * p
    assert torch.equal(mask, split_mask(p, fraction, seed, kind))


@given(p=st.integers(2, 20), seed=st.integers(0, 1000))
def test_labels_are_those_of_python_integers(p, seed):
    by_hand = {
        "add": lambda a, b: (a + b) % p,
        "subtract": lambda a, b: (a - b) % p,
        "quadratic": lambda a, b: (a**2 + a * b + b**2) % p,
    }
    for operation, rule in by_hand.items():
        labels = Task(p, operation).labels.tolist()
        assert labels == [[rule(a, b) for b in range(p)] for a in range(p)]
    assert torch.equal(Task(p, "add").distances, Task(p, "subtract").labels)
    assert torch.equal(Task(p, "subtract").distances, Task(p, "add").labels)
    drawn = Task(p, "random", seed).labels
    assert torch.equal(drawn, Task(p, "random", seed).labels)
    assert 0 <= int(drawn.min()) <= int(drawn.max()) < p


def test_a_task_says_its_labels_in_words_and_the_sign_of_b():
    formulas = {operation: Task(7, operation).formula for operation in OPERATIONS}
    assert formulas == {
        "add": "a + b", "subtract": "a − b", "quadratic": "a² + ab + b²", "random": "random labels",
    }  # fmt: skip
    assert [Task(7, operation).sign for operation in OPERATIONS] == [1, -1, None, None]
    a, b = torch.arange(7)[:, None], torch.arange(7)[None, :]
    for task in (Task(7), Task(7, "subtract")):
        assert torch.equal(task.labels, (a + task.sign * b) % 7)


def test_random_labels_are_those_of_their_seed_and_of_seed_0_by_default():
    labels = [Task(11, "random", seed).labels.tolist() for seed in (0, 1)]
    assert labels[0] != labels[1]
    assert Task(11, "random").labels.tolist() == labels[0]


def test_equal_tasks_are_one_key_and_no_task_changes():
    assert len({Task(7), Task(7, "add"), Task(7, "subtract")}) == 2
    with pytest.raises(FrozenInstanceError):
        Task(7).p = 5


def test_only_addition_and_subtraction_have_fourier_measures():
    assert {operation for operation in OPERATIONS if Task(5, operation).why_no_fourier is None} == {"add", "subtract"}


@pytest.mark.parametrize("p", [1, 0, -3])
def test_a_modulus_is_an_integer_of_at_least_two(p):
    with pytest.raises(ConfigError, match=f"p must be a whole number of at least 2; got {p}"):
        Task(p)


def test_values_of_the_wrong_type_or_name_are_refused_in_one_sentence():
    """In a process of its own: here the tests' own type checks would answer first."""
    said = outside(
        """
        import interp
        for wrong in (
            lambda: interp.Task(2.0), lambda: interp.Task("113"), lambda: interp.Task(True),
            lambda: interp.Task(5, "times"), lambda: interp.split_mask(5, 0.5, 0, "numpy"),
            lambda: interp.TrainConfig(activation="tanh"), lambda: interp.TrainConfig(init="zeros"),
            lambda: interp.TrainConfig(seed=1.5), lambda: interp.progress_measures(3), lambda: interp.phases({}),
            lambda: interp.TrainConfig(learning_rate="x"), lambda: interp.TrainConfig(betas=0.9),
        ):
            try:
                wrong()
            except interp.ConfigError as error:
                print(error)
        """
    )
    lines = said.splitlines()
    assert len(lines) == 12
    assert all("p must be a whole number of at least 2; got" in line for line in lines[:3])
    assert lines[3] == "operation must be add, subtract, quadratic or random; got 'times'."
    assert lines[4] == "split must be paper or torch; got 'numpy'."
    assert "relu, gelu or gelu_new" in lines[5]
    assert "paper or transformer_lens" in lines[6]
    assert "whole number" in lines[7]
    assert "got 3" in lines[8]
    assert "got a dict" in lines[9]
    assert "learning_rate must be a finite number above 0; got 'x'." in lines[10]
    assert "betas must be a list of numbers, such as (0.9, 0.98)" in lines[11]


NO_SEEDS = (float("nan"), 1.5, "0", None, True, 2**64, -(2**63) - 1, np.zeros(2))
NO_MODULI = (7.0, "7", None, True, float("nan"), 1, 10**9, [7])
NO_FRACTIONS = (float("nan"), "0.3", None, True, 1e-300, [0.3])


def test_what_is_no_seed_modulus_fraction_or_split_is_refused():
    """In a process of its own, and each with a sentence; 10**9 is a modulus whose pairs fit into no memory."""
    outside(
        """
        from interp import ConfigError, Task, split_mask
        from interp.tasks.splits import as_mask
        from tests.tasks.test_task import NO_FRACTIONS, NO_MODULI, NO_SEEDS
        calls = [lambda seed=seed: Task(7, "random", seed) for seed in NO_SEEDS]
        for kind in ("paper", "torch"):
            calls += [lambda seed=seed: split_mask(7, 0.3, seed, kind) for seed in NO_SEEDS]
            calls += [lambda p=p: split_mask(p, 0.3, 0, kind) for p in NO_MODULI]
            calls += [lambda fraction=fraction: split_mask(7, fraction, 0, kind) for fraction in NO_FRACTIONS]
        calls += [lambda: split_mask(7, 0.3, 0, ["paper"]), lambda: Task(7, ["add"]), lambda: Task(7, None)]
        calls += [lambda p=p: as_mask([1, 2], None, p) for p in NO_MODULI if p != 10**9]
        for split in (3, 1.5, {}, [[1], [2, 3]], ([[1], [2, 3]], [1]), "x", ["a", "b"], [None], object(), (3, 4)):
            calls.append(lambda split=split: as_mask(split, None, 7))
        for call in calls:
            try:
                call()
            except ConfigError as error:
                assert str(error).endswith(".") and "\\n" not in str(error), error
            else:
                raise AssertionError("accepted")
        """
    )


def test_numpys_integers_are_integers():
    said = outside(
        """
        import interp, numpy as np
        print(interp.Task(np.int64(13)) == interp.Task(13))
        print(interp.TrainConfig(steps=np.int64(90), checkpoint_steps=np.arange(0, 91, 30)).schedule)
        """
    )
    assert said.split("\n")[:2] == ["True", "(0, 30, 60, 90)"]


@pytest.mark.parametrize("fraction", [0.0, 1.0, -0.1, 1.5, float("nan")])
def test_a_fraction_lies_strictly_between_zero_and_one(fraction):
    with pytest.raises(ConfigError, match="must be a finite number above 0 and below 1"):
        split_mask(5, fraction, 0)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.int32, np.uint64])
def test_pairs_in_narrow_integers_are_the_same_pairs(dtype):
    """a * p + b is past 65,535 for p = 251: in the caller's own integers it would wrap around."""
    mask = split_mask(251, 0.3, 0)
    assert torch.equal(as_mask(mask.nonzero().numpy().astype(dtype), None, 251), mask)


@pytest.mark.parametrize("p", [7, 59])
def test_a_list_of_pairs_may_hold_the_equals_sign_too(p):
    """Two of them are two train pairs, not a train list and a test list."""
    pairs = [[0, 1], [5, 3]]
    for split in (pairs, [[*pair, p] for pair in pairs], torch.tensor(pairs), np.array([[*pair, p] for pair in pairs])):
        assert as_mask(split, None, p).nonzero().tolist() == pairs


def test_the_least_modulus_and_seed_are_taken():
    assert as_mask([0], None, 2).tolist() == [[True, False], [False, False]]
    assert split_mask(2, 0.5, 0).sum() == 2
    assert split_mask(5, 0.5, -(2**63), "torch").sum() == split_mask(5, 0.5, -(2**63)).sum() == 12
    assert Task(2, "random", -(2**63)).labels.max() <= 1


def test_a_sparse_mask_is_no_split():
    with pytest.raises(ConfigError, match="split must be a bool mask"):
        as_mask(split_mask(7, 0.5, 0).to_sparse(), None, 7)


def test_the_same_task_has_one_identity_whatever_seed_means_nothing(tmp_path):
    assert TrainConfig(seed=1).task == Task(113)
    assert len({Task(7, "subtract", seed=s) for s in range(3)}) == 1
    assert Task(7, "random", 1) != Task(7, "random", 2)
    assert Task(7, "random", 1) == Task(7, "random", 1)
    assert Task(7) != Task(7, "subtract")
    assert Task(7) != 7
    config = TrainConfig(p=7, seed=1, steps=1)
    write_config(tmp_path, config)
    write_split(tmp_path, split_mask(7, 0.3, 1))
    assert '"operation": "add",\n    "seed": 1\n' in (tmp_path / "config.json").read_text()  # as it always was
    assert read_config(tmp_path) == config


def test_what_would_fill_the_memory_is_refused_first():
    """p² numbers of 8 bytes, and five times as many for a shuffled list of Python's."""
    with pytest.raises(ConfigError, match=r"the labels of all pairs must fit into 17 GB; .* take 8,000 GB"):
        _ = Task(10**6).labels
    with pytest.raises(ConfigError, match=r"a shuffled list of the pairs must fit into 17 GB; .* take 400 GB"):
        split_mask(10**5, 0.3, 0)
