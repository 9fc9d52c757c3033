"""Training and measuring on a GPU: the numbers are the CPU's up to rounding, and nothing of the caller's is moved.

Skipped where torch sees no CUDA device.
"""

from dataclasses import replace

import pytest
import torch
from torch import nn

import interp
from interp import Model, Recorder, Task
from interp.networks import LayeredTransformer, OneHiddenLayer, Transformer
from tests.conftest import SHIPPED, SMALL
from tests.subjects.test_model import P, small

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no CUDA device")

CUDA = replace(SMALL, device="cuda")

# What each setting adds to a training. The random draws of dropout are the device's own, so that one is only trained.
SETTINGS = {
    "as it is": {},
    "batches and label noise": {"batch_size": 16, "label_noise": 0.1},
    "sgd": {"optimizer": "sgd", "momentum": 0.9, "weight_decay": 0.01, "learning_rate": 0.05},
    "muon": {"optimizer": "muon"},
    "grokfast": {"grokfast": 2.0},
    "stablemax, orthogonal gradient": {"loss": "stablemax", "orthogonal_gradient": True},
    "fixed norm, scale, l1": {"fixed_norm": True, "init_scale": 2.0, "l1": 1e-5},
    "decay on some, cosine": {"weight_decay_on": "W_E+W_out", "lr_schedule": "cosine"},
}


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
def test_a_training_follows_the_cpus(settings, tmp_path):
    """Float32 in another order of sums: a difference of 1e-7 that grows with the steps; 20 steps, 1e-3 of the loss."""
    runs = [
        interp.train(
            replace(SMALL, steps=20, checkpoint_steps=(0, 20), history_every=1, device=device, **settings),
            tmp_path / device,
            progress=False,
        )
        for device in ("cpu", "cuda")
    ]
    cpu, cuda = (run.history for run in runs)
    assert cuda["train_loss"].to_numpy() == pytest.approx(cpu["train_loss"].to_numpy(), rel=1e-3)
    assert cuda["test_loss"].to_numpy() == pytest.approx(cpu["test_loss"].to_numpy(), rel=1e-3)
    for name, weight in runs[0].at(0).weights.items():
        assert torch.equal(weight, runs[1].at(0).weights[name]), name


@pytest.mark.parametrize(
    "network",
    [
        Transformer(d_model=16, n_heads=2, d_mlp=24, n_ctx=2),
        Transformer(d_model=16, n_heads=2, d_mlp=24, attention_coefficient=0.5),
        OneHiddenLayer(d_hidden=32),
        LayeredTransformer(n_layers=2, d_model=16, n_heads=2, d_mlp=24, normalization="LN"),
    ],
    ids=["two positions", "constant attention", "one hidden layer", "two layers"],
)
def test_every_network_trains_resumes_and_is_measured(network, tmp_path):
    config = interp.TrainConfig(
        p=13, train_fraction=0.5, network=network, steps=10, checkpoint_steps=(0, 10), device="cuda"
    )
    run = interp.train(config, tmp_path / "run", progress=False)
    config = replace(config, steps=20, checkpoint_steps=(0, 10, 20))
    run = interp.train(config, tmp_path / "run", resume=True, progress=False)
    assert run.steps == (0, 10, 20)
    assert len(interp.trajectory(run, progress=False)) == 3
    cpu = interp.train(replace(config, device="cpu"), tmp_path / "cpu", progress=False)
    assert run.history["train_loss"].to_numpy() == pytest.approx(cpu.history["train_loss"].to_numpy(), rel=1e-3)


def test_dropout_and_noise_train_and_leave_the_random_state(tmp_path):
    torch.cuda.manual_seed(5)
    before = torch.cuda.get_rng_state()
    config = replace(CUDA, steps=20, checkpoint_steps=(0, 20), dropout=0.2, attention_dropout=0.1)
    run = interp.train(config, tmp_path / "run", progress=False)
    again = interp.train(config, tmp_path / "again", progress=False)
    assert run.history["train_loss"].to_numpy() == pytest.approx(again.history["train_loss"].to_numpy(), rel=1e-3)
    assert torch.equal(torch.cuda.get_rng_state(), before)


def test_a_run_that_began_here_goes_on_on_the_cpu_and_back(tmp_path):
    path = tmp_path / "run"
    interp.train(replace(CUDA, steps=20, checkpoint_steps=(0, 20)), path, progress=False)
    interp.train(replace(SMALL, steps=40, checkpoint_steps=(0, 20, 40)), path, resume=True, progress=False)
    run = interp.train(CUDA, path, resume=True, progress=False)
    assert run.steps == SMALL.checkpoint_steps
    whole = interp.train(SMALL, tmp_path / "whole", progress=False)
    assert run.history["train_loss"].to_numpy() == pytest.approx(whole.history["train_loss"].to_numpy(), rel=1e-2)


def test_auto_is_this_device(tmp_path):
    run = interp.train(replace(CUDA, device="auto", steps=1, checkpoint_steps=(1,)), tmp_path / "run", progress=False)
    assert interp.training.loop.device_of("auto").type == "cuda"
    assert run.steps == (1,)


def test_a_bridge_on_the_gpu_measures_as_its_checkpoint():
    """Both forwards are float32 on different devices: 1e-4 of each measure."""
    checkpoint = interp.load_run(SHIPPED).at(9_000)
    bridge = checkpoint.model().to("cuda")
    on_gpu = interp.progress_measures(bridge, task=checkpoint.task, split=checkpoint.train_mask)
    on_cpu = interp.progress_measures(checkpoint, key_frequencies=on_gpu.key_frequencies)
    expected = on_cpu.row()
    for name, value in on_gpu.row().items():
        if isinstance(value, float):
            assert value == pytest.approx(expected[name], rel=1e-4, abs=1e-6), name
    assert next(bridge.parameters()).device.type == "cuda"


def test_a_module_on_the_gpu_and_its_recorder(tmp_path):
    cpu, gpu = small(), small().to("cuda")
    gpu.load_state_dict(cpu.state_dict())
    mask = interp.split_mask(P, 0.5, 0)
    parts = {"tokens": "ab", "neurons": "4", "W_E": "0", "W_L": "5"}
    rows = []
    for net in (cpu, gpu):
        torch.cuda.manual_seed(1)
        before = torch.cuda.get_rng_state()
        rows.append(interp.progress_measures(Model(net, Task(P), mask, **parts)).row())
        assert torch.equal(torch.cuda.get_rng_state(), before)
        assert net.training == cpu.training
    for name, value in rows[0].items():
        if isinstance(value, float):
            assert rows[1][name] == pytest.approx(value, rel=1e-4, abs=1e-6), name

    rec = Recorder(Model(gpu, Task(P), mask, **parts), every=5, path=tmp_path / "live", keep=True)
    optimizer = torch.optim.AdamW(gpu.parameters(), lr=0.01)
    tokens, labels = mask.nonzero().to("cuda"), Task(P).labels[mask].to("cuda")
    for step in range(11):
        rec(step)
        optimizer.zero_grad()
        nn.functional.cross_entropy(gpu(tokens), labels).backward()
        optimizer.step()
    assert rec.finish(progress=False)["step"].tolist() == [0, 5, 10]


def test_a_default_device_changes_no_measure():
    checkpoint = interp.load_run(SHIPPED).at(9_000)
    expected = interp.progress_measures(checkpoint).row()
    torch.set_default_device("cuda")
    try:
        assert interp.progress_measures(checkpoint).row() == expected
        effect = interp.ablate.neurons(checkpoint, remove=[14])
    finally:
        torch.set_default_device("cpu")
    assert effect.row() == interp.ablate.neurons(checkpoint, remove=[14]).row()
