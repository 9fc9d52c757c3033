"""A training of another's code as the states of its module."""

import copy
import shutil

import pandas as pd
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

import interp
from interp import CheckpointError, ConfigError, Model, Task
from tests.subjects.test_model import P, of_shipped, small


def training(steps=40, every=10):
    """A network and its states over a few steps of training."""
    net, task = small(), Task(P)
    mask = interp.split_mask(P, 0.5, 0)
    tokens, labels = mask.nonzero(), task.labels[mask]
    optimizer = torch.optim.AdamW(net.parameters(), lr=0.01)
    states = {}
    for step in range(steps + 1):
        if step % every == 0:
            states[step] = copy.deepcopy(net.state_dict())
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(tokens), labels).backward()
        optimizer.step()
    return Model(net, task, mask, tokens="ab", neurons="4", W_E="0", W_L="5"), states


@pytest.fixture(scope="module")
def trained():
    return training()


def test_states_of_the_shipped_run_give_its_trajectory_and_phases(shipped):
    """Eight of its checkpoints, by another module: to 1e-5, the rounding of its float32 products."""
    steps = (0, 1_000, 2_000, 7_000, 9_000, 10_500, 13_000, 16_000)
    model = of_shipped(shipped[-1], W_L=None)
    renamed = {"W_E": "embed.weight"}
    states = [(step, {renamed.get(k, f"W.{k}"): w for k, w in shipped.at(step).weights.items()}) for step in steps]
    run = interp.load_run(states, model=model)
    measures = ["train_loss", "test_loss", "train_accuracy", "test_accuracy", "restricted_loss", "excluded_loss",
                "embedding_gini", "sum_squared_weights", "single_frequency_neurons", "attention_share"]  # fmt: skip
    theirs = interp.trajectory(run, measures=measures, progress=False)
    ours = interp.trajectory(shipped, measures=measures, progress=False)
    assert theirs.attrs["key_frequencies"] == (14, 35, 41, 42, 52)
    expected = ours[ours["step"].isin(steps)].reset_index(drop=True)
    pd.testing.assert_frame_equal(theirs, expected[theirs.columns], rtol=1e-5, atol=1e-8)
    assert interp.phases(theirs).to_dict() == interp.phases(expected).to_dict()


TOLD_INSIDE = "abcde"  # a safetensors file of tensors alone cannot tell its step
NAMES = ("step_{}", "ckpt-{:05d}", "p11_seed3_epoch{}", "{}", "run7_{}_of_lr3")


@pytest.mark.parametrize(
    ("name", "suffix"),
    [(name, suffix) for name in NAMES for suffix in (".pt", ".pth", ".safetensors")]
    + [(TOLD_INSIDE, ".pt"), (TOLD_INSIDE, ".pth")],
)
def test_a_folder_tells_its_steps_by_names_or_contents(tmp_path, trained, name, suffix):
    model, states = trained
    for letter, (step, state) in zip(TOLD_INSIDE, states.items(), strict=True):
        if name == TOLD_INSIDE:
            torch.save({"model": state, "epoch": step}, tmp_path / (letter + suffix))
        else:
            write = save_file if suffix == ".safetensors" else torch.save
            write(state, tmp_path / (name.format(step) + suffix))
    run = interp.load_run(tmp_path, model=model)
    assert run.steps == tuple(states)
    one = interp.load_run(states, model=model)
    pd.testing.assert_frame_equal(interp.trajectory(run, progress=False), interp.trajectory(one, progress=False))
    assert not (tmp_path / "measures.parquet").exists()


def test_files_that_tell_no_step_are_left_out(tmp_path, trained):
    model, states = trained
    for step in (0, 20):
        torch.save(states[step], tmp_path / f"step{step}.pt")
    torch.save(states[40], tmp_path / "final.pt")
    torch.save([1, 2], tmp_path / "train_data.pth")
    with pytest.warns(UserWarning, match=r"left out: final\.pt, train_data\.pth"):
        run = interp.load_run(tmp_path, model=model)
    assert run.steps == (0, 20)
    shutil.copy(tmp_path / "step20.pt", tmp_path / "epoch20.pt")
    with pytest.raises(CheckpointError, match="one file a step"):
        interp.load_run(tmp_path, model=model)


def test_a_checkpoint_of_such_a_run_is_a_model_of_its_own(trained):
    model, states = trained
    run = interp.load_run(states, model=model)
    now = copy.deepcopy(model.module.state_dict())
    ckpt = run.at(20)
    assert torch.equal(interp.activations(ckpt).logits, model.subject(state=states[20]).logits)
    copied = ckpt.model()
    assert copied is not model.module
    assert all(torch.equal(value, states[20][name]) for name, value in copied.state_dict().items())
    ckpt.weights["3.weight"].zero_()
    assert states[20]["3.weight"].abs().sum() > 0
    m = interp.progress_measures(run.at(20))
    assert m.step == 20
    frame = interp.trajectory(run, progress=False)
    assert frame["embedding_alignment"].iloc[-1] == pytest.approx(1)
    assert 0 < frame["embedding_alignment"].iloc[0] < 1
    compared = interp.compare({"first": run[0], "last": run}, progress=False)
    assert compared["loss"].tolist() == [frame["loss"].iloc[0], frame["loss"].iloc[-1]]
    assert all(torch.equal(value, now[name]) for name, value in model.module.state_dict().items())
    with pytest.raises(ConfigError, match="Ablations take the networks"):
        interp.ablate.logits(run[-1], keep=[1])


def test_a_state_or_its_file_is_a_checkpoint(tmp_path, trained):
    model, states = trained
    torch.save({"state_dict": states[30], "step": 30}, tmp_path / "x.pt")
    of_file = interp.load_checkpoint(tmp_path / "x.pt", model=model)
    of_dict = interp.load_checkpoint(states[30], model=model)
    assert (of_file.step, of_dict.step) == (30, None)
    a, b = (interp.progress_measures(one).to_dict() | {"step": 0, "key_step": 0} for one in (of_file, of_dict))
    assert a == b
    torch.save({f"_orig_mod.{name}": value for name, value in states[30].items()}, tmp_path / "y.pt")
    assert interp.progress_measures(interp.load_checkpoint(tmp_path / "y.pt", model=model)).loss == a["loss"]


def test_what_is_no_training_of_the_module_is_a_sentence(tmp_path, trained):
    model, states = trained
    bad = {0: {name: value for name, value in states[0].items() if name != "5.bias"}}
    wrong = {0: states[0] | {"5.bias": torch.zeros(3)}}
    more = {0: states[0] | {"extra": torch.zeros(3)}}
    live = model.module.state_dict()
    for given, said in (
        (iter(states.items()), r"an iterator, which can be read once.*list\(states\)"),
        ([], "at least one state"),
        (bad, "lacks 5.bias"),
        (wrong, r"its 5.bias is \[3\], the module's \[11\]"),
        (more, "has extra, which the module lacks"),
        ([(0, states[0]), (0, states[0])], "one state a step"),
        ([(0, live), (1, live)], r"same memory.*copy\.deepcopy"),
        (tmp_path, "holds none"),
        (tmp_path / "no", "must be a folder"),
    ):
        with pytest.raises((ConfigError, CheckpointError), match=said):
            interp.load_run(given, model=model)
    with pytest.raises(ConfigError, match="carries its own task"):
        interp.load_run(states, Task(P), model=model)
    with pytest.raises(ConfigError, match=r"with model=interp\.Model"):
        interp.load_run(states)
    with pytest.raises(ConfigError, match=r"need a model that is an nn\.Module"):
        interp.load_run(states, model=Model(lambda t: t, Task(P)))
    with pytest.raises(ConfigError, match="must name parts"):
        interp.load_run(states, model=Model(model.module, Task(P), tokens="ab", W_E=torch.zeros(P, 3)))


@pytest.mark.parametrize("key", ["model", "state_dict", "model_state_dict"])
def test_states_that_are_wrapped_as_training_loops_save_them_are_unwrapped(trained, key):
    model, states = trained
    plain = interp.load_run(states, model=model)
    wrapped = interp.load_run([(step, {key: state, "epoch": step}) for step, state in states.items()], model=model)
    assert wrapped.steps == plain.steps
    one, other = wrapped[-1].weights, plain[-1].weights
    assert all(torch.equal(one[name], other[name]) for name in other)
