"""What a training starts with: seeds of weights and split, a split of one's own, the checkpoint of another run."""

import shutil
from dataclasses import replace

import pytest
import torch

import interp
from interp import ConfigError, TrainConfig
from tests.processes import interp as shell

TINY = {"p": 5, "train_fraction": 0.6, "d_model": 8, "n_heads": 1, "d_mlp": 8, "steps": 6, "history_every": 2}


def test_weights_and_split_have_seeds_of_their_own(tmp_path):
    both = TrainConfig(**TINY, seed=3, split_seed=8)
    assert torch.equal(both.train_mask, interp.split_mask(5, 0.6, 8))
    assert torch.equal(TrainConfig(**TINY, seed=3).train_mask, interp.split_mask(5, 0.6, 3))
    run = interp.train(both, tmp_path / "run", progress=False)
    assert torch.equal(run.train_mask, both.train_mask)
    one = interp.train(TrainConfig(**TINY, seed=3), tmp_path / "one", progress=False)
    assert torch.equal(run.at(0).weights["W_E"], one.at(0).weights["W_E"])
    assert interp.load_run(tmp_path / "run").config == both


@pytest.mark.parametrize("kind", [lambda m: m, lambda m: m.numpy(), lambda m: m.nonzero().tolist()])
def test_a_split_of_ones_own_is_kept_and_read_back(tmp_path, kind):
    mask = torch.zeros(5, 5, dtype=torch.bool)
    mask[0, 3] = mask[4, 1] = True
    config = TrainConfig(**{**TINY, "train_fraction": 0.3}, split=kind(mask))
    assert config.split == (3, 21)
    assert config.train_fraction == 2 / 25
    run = interp.train(config, tmp_path / "run", progress=False)
    assert torch.equal(run.train_mask, mask)
    assert interp.load_run(tmp_path / "run").config == config
    resumed = interp.train(replace(config, steps=8), tmp_path / "run", resume=True, progress=False)
    assert resumed.steps[-1] == 8
    with pytest.raises(ConfigError, match="split must leave a test pair"):
        TrainConfig(**TINY, split=torch.ones(5, 5, dtype=torch.bool))
    with pytest.raises(ConfigError, match="split_seed needs a split that is drawn"):
        TrainConfig(**TINY, split=mask, split_seed=1)


def test_auto_is_a_device_of_this_machine(tmp_path):
    run = interp.train(TrainConfig(**TINY, device="auto"), tmp_path / "run", progress=False)
    assert run.config.device == "auto"
    best = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    assert interp.training.loop.device_of("auto").type == best


def test_a_run_may_begin_with_a_checkpoint(small_run, tmp_path):
    """Its first step is that checkpoint, on another task and without weight decay."""
    start = small_run.at(40)
    config = replace(small_run.config, weight_decay=0.0, operation="subtract", steps=5, checkpoint_steps=None)
    run = interp.train(config, tmp_path / "run", progress=False, start=start)
    assert all(torch.equal(run.at(0).weights[name], start.weights[name]) for name in start.weights)
    assert (run.start["step"], run.start["with_optimizer"]) == (40, False)
    assert run.start["path"] == str(start.path)
    longer = interp.train(replace(config, steps=9), tmp_path / "run", resume=True, progress=False)
    assert longer.start == run.start
    at_once = interp.train(replace(config, steps=9), tmp_path / "at once", progress=False, start=start)
    assert all(torch.equal(longer[-1].weights[name], at_once[-1].weights[name]) for name in start.weights)
    with pytest.raises(ConfigError, match="holds a run that has begun; leave start out"):
        interp.train(config, tmp_path / "run", resume=True, progress=False, start=start)
    with pytest.raises(ConfigError, match=r"W_E is \[14, 16\], expected \[14, 32\]"):
        interp.train(replace(config, d_model=32), tmp_path / "wide", progress=False, start=start)
    assert not (tmp_path / "wide" / "config.json").exists()


def test_one_that_was_killed_before_its_first_row_begins_again(small_run, tmp_path, monkeypatch):
    """Its directory then holds the settings and the state that it starts with."""
    config = replace(small_run.config, steps=5, checkpoint_steps=None)
    whole = interp.train(config, tmp_path / "whole", progress=False, start=small_run.at(40))

    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(interp.training.loop, "write_history", killed)
        with pytest.raises(KeyboardInterrupt):
            interp.train(config, tmp_path / "run", progress=False, start=small_run.at(40))
    assert sorted(file.name for file in (tmp_path / "run").iterdir() if file.is_file() and file.name[0] != ".") == [
        "config.json", "optimizer.safetensors", "split.npz",
    ]  # fmt: skip
    again = interp.train(None, tmp_path / "run", resume=True, progress=False)
    assert again.history.equals(whole.history)
    assert all(torch.equal(again[-1].weights[name], weight) for name, weight in whole[-1].weights.items())


def test_with_the_optimizers_state_it_goes_on_as_if_it_had_not_stopped(small_run, tmp_path):
    """Steps 60 to 65 of the run itself, bit for bit, once the warmup is over in both."""
    path = tmp_path / "went on"
    shutil.copytree(small_run.path, path)
    on = interp.train(replace(small_run.config, steps=65), path, resume=True, progress=False)
    config = replace(small_run.config, steps=5, warmup_steps=0, checkpoint_steps=None)
    run = interp.train(config, tmp_path / "run", progress=False, start=small_run.at(60), with_optimizer=True)
    assert all(torch.equal(run[-1].weights[name], on[-1].weights[name]) for name in on[-1].weights)
    without = interp.train(config, tmp_path / "without", progress=False, start=small_run.at(60))
    assert not torch.equal(without[-1].weights["W_E"], on[-1].weights["W_E"])
    with pytest.raises(ConfigError, match=r"state of step 40; .* keeps that of step 60 alone"):
        interp.train(config, tmp_path / "x", progress=False, start=small_run.at(40), with_optimizer=True)
    more = interp.train(replace(config, steps=8), tmp_path / "run", resume=True, progress=False)
    further = interp.train(replace(small_run.config, steps=68), path, resume=True, progress=False)
    assert all(torch.equal(more[-1].weights[name], further[-1].weights[name]) for name in on[-1].weights)


def test_the_shell_begins_with_a_checkpoint_too(small_run, tmp_path):
    done = shell("train", tmp_path / "run", "--from", f"{small_run.path}@40", "--set", "weight_decay=0", "--steps", 3)
    assert done.returncode == 0, done.stderr
    run = interp.load_run(tmp_path / "run")
    assert run.config == replace(small_run.config, weight_decay=0.0, steps=3, checkpoint_steps=None)
    assert torch.equal(run.at(0).weights["W_E"], small_run.at(40).weights["W_E"])
    assert "one value; got 2 of seed" in shell("train", tmp_path / "x", "--set", "seed=1,2").stderr
    assert "has no checkpoint of step 41" in shell("train", tmp_path / "x", "--from", f"{small_run.path}@41").stderr
