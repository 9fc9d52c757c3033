"""Training: the same numbers as TransformerLens, and nothing lost however it ends."""

import json
import os
import signal
import threading
import time
from dataclasses import replace
from types import SimpleNamespace

import filelock
import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import interp
from interp import CheckpointError, ConfigError, TrainConfig, TrainingError, TrainingInterrupted
from interp.networks.transformer import to_bridge
from interp.runs.directory import read_header
from tests.conftest import SMALL
from tests.processes import Started, module, outside

BITS = ("config.json", "history.parquet", "split.npz", "optimizer.safetensors")


def same_bits(one, other) -> bool:
    names = [*BITS, *sorted(f"checkpoints/{file.name}" for file in (one / "checkpoints").iterdir())]
    assert sorted(f.name for f in (one / "checkpoints").iterdir()) == sorted(
        f.name for f in (other / "checkpoints").iterdir()
    )
    return all((one / name).read_bytes() == (other / name).read_bytes() for name in names)


def test_the_defaults_are_the_mainline():
    c = TrainConfig()
    assert (c.p, c.train_fraction, c.d_model, c.n_heads, c.d_mlp, c.activation) == (113, 0.3, 128, 4, 512, "relu")
    assert (c.learning_rate, c.betas, c.weight_decay, c.warmup_steps, c.seed) == (1e-3, (0.9, 0.98), 1.0, 10, 0)
    assert c.model.d_vocab == c.model.d_vocab_out == 114
    assert c.schedule[:10] == (0, 1, 2, 5, 10, 20, 50, 100, 200, 400)
    assert c.schedule[-2:] == (15_800, 16_000)
    assert replace(c, steps=7).schedule == (0, 1, 2, 5, 7)
    assert replace(c, steps=450).schedule[-3:] == (200, 400, 450)


def test_thirty_steps_are_those_of_a_bridge_trained_the_ordinary_way(tmp_path):
    """Full batch, float64 loss over p + 1 outputs, AdamW, warmup from 0. Float32 drift in 30 steps: 1e-4."""
    config = replace(SMALL, steps=30, checkpoint_steps=(0,), history_every=1)
    bridge = to_bridge(config.model.initial_weights(config.seed), config.model)
    mask = interp.split_mask(config.p, config.train_fraction, config.seed)
    tokens = torch.cat([mask.nonzero(), torch.full((int(mask.sum()), 1), config.p)], dim=1)
    labels = config.task.labels[mask]
    # The paper's model has no attention biases; the bridge's stay zero if they are not trained.
    trained = [p for n, p in bridge.named_parameters() if not (".attn." in n and n.endswith("bias"))]
    optimizer = torch.optim.AdamW(trained, lr=0.0, betas=(0.9, 0.98), eps=1e-8, weight_decay=1.0)
    expected = []
    for step in range(31):
        loss = torch.nn.functional.cross_entropy(bridge(tokens)[:, -1].double(), labels)
        expected.append(float(loss.detach()))
        loss.backward()
        optimizer.param_groups[0]["lr"] = 1e-3 * min(step / 10, 1)
        optimizer.step()
        bridge.zero_grad()
    found = interp.train(config, tmp_path / "run", progress=False).history["train_loss"].tolist()
    assert found == pytest.approx(expected, rel=1e-4)
    assert found[0] == found[1]  # the first update has learning rate 0


def test_history_is_what_the_checkpoints_give(small_run):
    history = small_run.history.set_index("step")
    for ckpt in small_run:
        out = ckpt.config.run(ckpt.weights, interp.networks.Pairs.all(13))
        logits = out.logits.unflatten(0, (13, 13))
        nll = -logits.double().log_softmax(-1).gather(-1, small_run.task.labels[..., None])[..., 0]
        mask = small_run.train_mask
        assert history["train_loss"][ckpt.step] == pytest.approx(float(nll[mask].mean()), rel=1e-5)
        assert history["test_loss"][ckpt.step] == pytest.approx(float(nll[~mask].mean()), rel=1e-5)
        right = (logits.argmax(-1) == small_run.task.labels).double()
        assert history["test_accuracy"][ckpt.step] == pytest.approx(float(right[~mask].mean()), abs=1e-12)


def test_the_progress_says_what_the_history_records(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(interp.utils.console, "_SECONDS_BETWEEN_LINES", 0.0)
    history = interp.train(SMALL, tmp_path / "run").history
    said = " ".join(capsys.readouterr().err.split())
    for row in history.itertuples():
        accuracies = f"accuracy {row.train_accuracy:.3f} test {row.test_accuracy:.3f}"
        assert f"train {row.step} of 60 loss {row.train_loss:.1e} test {row.test_loss:.1e}, {accuracies}" in said


def test_what_is_saved_does_not_change_what_is_trained(tmp_path, small_run):
    sparse = interp.train(
        replace(SMALL, checkpoint_steps=(60,), history_every=7, steps=60), tmp_path / "sparse", progress=False
    )
    assert sparse.steps == (60,)
    assert all(torch.equal(sparse[-1].weights[n], small_run[-1].weights[n]) for n in sparse[-1].weights)
    assert list(sparse.history["step"]) == [0, 7, 14, 21, 28, 35, 42, 49, 56, 60]


KINDS = [
    {"operation": "subtract"}, {"operation": "random"}, {"init": "transformer_lens"}, {"activation": "gelu"},
    {"split": "torch"}, {"p": 12}, {"warmup_steps": 0},
]  # fmt: skip


@pytest.mark.parametrize("changes", KINDS)
def test_every_kind_of_run_learns_its_train_pairs(tmp_path, changes):
    config = replace(SMALL, **changes, d_model=32, d_mlp=128, steps=300, checkpoint_steps=None)
    run = interp.train(config, tmp_path / "run", progress=False)
    assert run.history["train_accuracy"].iloc[-1] > 0.95
    assert run.history["train_loss"].iloc[-1] < 0.5 * run.history["train_loss"].iloc[0]
    assert run.config == config


# ── stopping and resuming ────────────────────────────────────────────────────────────────────────────────────────

LONG = replace(SMALL, steps=600, checkpoint_steps=(0, 3, 80, 160, 240, 320, 400, 480, 600))


def words(path, *extra: str) -> list[str]:
    options = [
        "--p", "13", "--train-fraction", "0.5", "--d-model", "16", "--n-heads", "2", "--d-mlp", "24", "--steps", "600",
        "--checkpoint-steps", "0,3,80:480:80,600",
    ]  # fmt: skip
    return ["train", str(path), *options, *extra]


@pytest.fixture(scope="module")
def unstopped(tmp_path_factory):
    path = tmp_path_factory.mktemp("whole") / "run"
    done = module("interp", *words(path), fresh=True)
    assert done.returncode == 0, done.stderr
    return path


def wait_for(file, process) -> None:
    begun = time.monotonic()
    while not file.exists():
        assert process.poll() is None, "the training ended before it was stopped"
        assert time.monotonic() - begun < 120
        time.sleep(0.002)


def test_killed_again_and_again_it_ends_bit_for_bit_as_one_that_never_stopped(tmp_path, unstopped):
    path = tmp_path / "run"
    for awaited in ("config.json", "checkpoints/step_00000003.safetensors", "checkpoints/step_00000240.safetensors"):
        process = Started("interp", *words(path, "--resume"))
        wait_for(path / awaited, process)
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert not (path / "checkpoints" / "step_00000600.safetensors").exists()
    done = module("interp", *words(path, "--resume"))
    assert done.returncode == 0, done.stderr
    assert same_bits(path, unstopped)
    assert not list(path.rglob(".*.part"))


def test_the_state_is_saved_after_twenty_seconds_and_no_sooner(tmp_path, monkeypatch):
    """On a clock that every step moves by a second, from the last save on, whichever step of the schedule made it."""
    now, saved = [0.0], []
    forward, write_tensors = interp.Transformer.forward, interp.training.state.write_tensors

    def step_of_a_second(*arguments, **options):
        now[0] += 1
        return forward(*arguments, **options)

    def write(file, tensors, header):
        if file.name == "optimizer.safetensors":
            saved.append(header["step"])
        write_tensors(file, tensors, header)

    monkeypatch.setattr(interp.training.loop, "time", SimpleNamespace(monotonic=lambda: now[0]))
    monkeypatch.setattr(interp.Transformer, "forward", step_of_a_second)
    monkeypatch.setattr(interp.training.state, "write_tensors", write)
    config = replace(SMALL, steps=100, checkpoint_steps=(0, 50, 100), history_every=100)
    interp.train(config, tmp_path / "run", progress=False)
    assert saved == [0, 21, 42, 50, 71, 92, 100]


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_a_polite_signal_saves_and_says_how_to_go_on(tmp_path, unstopped, signum):
    path = tmp_path / "run"
    process = Started("interp", *words(path))
    wait_for(path / "checkpoints" / "step_00000160.safetensors", process)
    process.send_signal(signum)
    assert process.wait() == 128 + signum
    said = process.stderr()
    assert "Stopped at step" in said
    assert "--resume" in said
    assert "Traceback" not in said
    stopped = read_header(path / "optimizer.safetensors")["step"]
    assert 160 <= stopped < 600
    assert interp.load_run(path).history["step"].max() <= stopped
    done = module("interp", *words(path, "--resume"))
    assert done.returncode == 0, done.stderr
    assert same_bits(path, unstopped)


def test_ctrl_c_in_a_notebook_is_a_keyboard_interrupt_with_all_saved(tmp_path):
    state, before = tmp_path / "run" / "optimizer.safetensors", signal.getsignal(signal.SIGINT)

    def interrupt() -> None:
        while not state.exists():
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt, daemon=True).start()
    with pytest.raises(TrainingInterrupted, match="stopped at step") as stop:
        interp.train(replace(SMALL, steps=10**6, checkpoint_steps=(0,)), tmp_path / "run", progress=False)
    assert isinstance(stop.value, KeyboardInterrupt)
    assert read_header(tmp_path / "run" / "optimizer.safetensors")["step"] == stop.value.step
    assert signal.getsignal(signal.SIGINT) is before


def test_the_last_step_is_always_saved():
    assert replace(SMALL, steps=100).schedule == (0, 20, 40, 60, 100)


def test_a_finished_run_can_be_taken_further(tmp_path, unstopped):
    run = tmp_path / "run"
    short = module("interp", *words(run, "--steps", "240", "--checkpoint-steps", "0,3,80,160,240"))
    assert short.returncode == 0, short.stderr
    assert interp.load_run(run).steps[-1] == 240
    longer = module("interp", *words(run, "--resume"))
    assert longer.returncode == 0, longer.stderr
    assert interp.load_run(run).steps == LONG.checkpoint_steps
    assert same_bits(run, unstopped)
    again = interp.train(None, run, resume=True, progress=False)
    assert same_bits(again.path, unstopped)


def test_other_settings_are_refused_by_name(own_run):
    with pytest.raises(ConfigError, match=r"begun with other settings: seed 5 \(the run has 0\); weight_decay 0.1"):
        interp.train(replace(SMALL, seed=5, weight_decay=0.1), own_run, resume=True, progress=False)
    with pytest.raises(ConfigError, match=r"steps must be at least 60, where .* stands; got 40"):
        interp.train(replace(SMALL, steps=40, checkpoint_steps=(0,)), own_run, resume=True, progress=False)
    assert interp.load_run(own_run).config == SMALL


def test_nothing_is_written_over(own_run, tmp_path):
    before = {file: file.read_bytes() for file in own_run.rglob("*") if file.is_file()}
    with pytest.raises(CheckpointError, match="already holds a run; go on with it by resume=True"):
        interp.train(SMALL, own_run, progress=False)
    assert {file: file.read_bytes() for file in before} == before
    (tmp_path / "papers").mkdir()
    (tmp_path / "papers" / "draft.tex").write_text("mine")
    with pytest.raises(CheckpointError, match=r"not empty and holds no run \(found draft.tex\)"):
        interp.train(SMALL, tmp_path / "papers", progress=False)
    for name in ("a.tex", "b.tex", "c.tex", ".hidden"):
        (tmp_path / "papers" / name).touch()
    with pytest.raises(CheckpointError, match=r"found a.tex, b.tex, c.tex\)"):
        interp.train(SMALL, tmp_path / "papers", progress=False)
    with pytest.raises(CheckpointError, match="is a file; a run is written into a directory"):
        interp.train(SMALL, tmp_path / "papers" / "draft.tex", progress=False)
    with pytest.raises(CheckpointError, match="holds no run to resume"):
        interp.train(None, tmp_path / "new", resume=True, progress=False)
    with pytest.raises(ConfigError, match="no settings were given"):
        interp.train(None, tmp_path / "new", progress=False)


def test_a_second_training_into_one_directory_is_refused(tmp_path):
    path = tmp_path / "run"
    process = Started("interp", *words(path))
    try:
        wait_for(path / "checkpoints" / "step_00000000.safetensors", process)
        process.send_signal(signal.SIGSTOP)  # held still, and still the owner
        with pytest.raises(TrainingError, match="Another training is writing to"):
            interp.train(None, path, resume=True, progress=False)
    finally:
        process.kill()
        process.wait()
    resumed = interp.train(None, path, resume=True, progress=False, on_record=lambda *_: True)
    assert resumed.stopped is not None


def test_only_true_ends_a_training(tmp_path):
    """A function that returns something else, such as the row that it has written, does not ask for the end."""
    config = replace(SMALL, steps=2, checkpoint_steps=None)
    went_on = interp.train(config, tmp_path / "on", progress=False, on_record=lambda step, row: row)
    assert went_on.stopped is None
    assert went_on.steps[-1] == 2
    assert interp.train(config, tmp_path / "off", progress=False, on_record=lambda *_: np.True_).stopped == 0


def test_a_loss_that_is_no_longer_finite_stops_at_its_step_and_keeps_the_rest(tmp_path):
    """lr 1e30: the first update is free (lr 0), the second throws the weights far away: step 2 overflows."""
    wild = replace(
        SMALL, learning_rate=1e30, weight_decay=0.0, warmup_steps=1, checkpoint_steps=(0, 1, 60), history_every=1
    )
    with pytest.raises(TrainingError, match=r"no longer finite at step 2; .* keeps all that was saved") as error:
        interp.train(wild, tmp_path / "run", progress=False)
    with filelock.FileLock(tmp_path / "run" / ".lock", timeout=0):  # given back, though a notebook keeps the error
        assert error.value is not None
    run = interp.load_run(tmp_path / "run")
    assert run.steps == (0, 1)
    assert not run.bad
    assert all(bool(torch.isfinite(w).all()) for w in run[-1].weights.values())
    assert list(run.history["step"]) == [0, 1]
    assert run.history.notna().all(axis=None)


def test_a_resume_state_that_is_missing_or_damaged_is_said_and_the_checkpoints_stay(own_run):
    state = own_run / "optimizer.safetensors"
    whole = state.read_bytes()
    state.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CheckpointError, match=r"optimizer.safetensors .* is no whole safetensors file"):
        interp.train(None, own_run, resume=True, progress=False)
    state.unlink()
    with pytest.raises(CheckpointError, match=r"no optimizer.safetensors, so it cannot be resumed"):
        interp.train(None, own_run, resume=True, progress=False)
    assert interp.load_run(own_run).steps == (0, 20, 40, 60)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"p": 1}, "p must be a whole number of at least 2; got 1"),
        ({"train_fraction": 0.0}, "above 0 and below 1; got 0.0"),
        ({"train_fraction": 1.0}, "above 0 and below 1; got 1.0"),
        ({"seed": -1}, r"seed must be a whole number from 0 to 2\*\*64 - 1; got -1"),
        ({"n_heads": 3}, "d_model must be a multiple of n_heads, .* got d_model=128 and n_heads=3"),
        ({"d_mlp": 0}, "d_mlp must be a whole number of at least 1; got 0"),
        ({"steps": 0}, "steps must be a whole number of at least 1; got 0"),
        ({"learning_rate": 0.0}, "learning_rate must be a finite number above 0; got 0.0"),
        ({"learning_rate": float("nan")}, "learning_rate must be a finite number above 0; got nan"),
        ({"weight_decay": -1.0}, "weight_decay must be a finite number of at least 0; got -1"),
        ({"seed": 2**70}, r"to 2\*\*64 - 1; got 118059"),
        ({"betas": (0.9, 1.0)}, r"betas must be two numbers of at least 0 and below 1; got \(0.9, 1.0\)"),
        ({"checkpoint_steps": (5, 10**6)}, "checkpoint_steps must not go beyond steps=16000; got 1000000"),
        ({"checkpoint_steps": ()}, "checkpoint_steps must name at least one step"),
        ({"device": "cuda:99999999999"}, "device must be cpu, cuda"),
        # 8 bytes a number: 30,000² · 30,001 · 8 = 2.16e14, 113² · 1e8 · 8 = 1.02e13
        ({"p": 30_000}, "the logits of all pairs must fit into 17 GB; .* numbers take 216,007 GB"),
        ({"p": 10**400}, r"p must be below 2\*\*64"),
        ({"d_mlp": 10**7, "d_model": 4}, r"the neurons of all pairs .* must fit into 17 GB; .* numbers take 1,021 GB"),
        ({"d_model": 10**11}, r"the weights of a network .* must fit into 17 GB"),
        ({"p": 500, "d_model": 20_000, "n_heads": 20_000}, r"the attention of all pairs .* must fit into 17 GB"),
        ({"steps": 10**12}, "a run must have at most 1,000,000 checkpoints"),
        ({"steps": 10**12, "checkpoint_steps": (0,)}, "a history must have at most 10,000,000 rows"),
        ({"lr": 0.1}, r"TrainConfig has no setting lr; did you mean learning_rate\?"),
        ({"d_modle": 64}, r"TrainConfig has no setting d_modle; did you mean .*d_model"),
        ({"zzz": 0.1}, "TrainConfig has no setting zzz; it has p, operation, train_fraction"),
        ({"device": "abacus"}, "device must be cpu, cuda, cuda:N, mps or auto; got 'abacus'"),
    ],
)
def test_a_setting_that_cannot_be_used_is_refused_where_it_is_made(change, message):
    with pytest.raises(ConfigError, match=message):
        TrainConfig(**change)


def test_a_state_of_another_run_is_refused(own_run, tmp_path):
    other = interp.train(replace(SMALL, d_mlp=8, steps=1, checkpoint_steps=(0,)), tmp_path / "other", progress=False)
    (own_run / "optimizer.safetensors").write_bytes((other.path / "optimizer.safetensors").read_bytes())
    with pytest.raises(CheckpointError, match=r"optimizer.safetensors is not the state of this run"):
        interp.train(None, own_run, resume=True, progress=False)


def test_a_number_of_a_gpu_counts_those_of_the_machine(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert [interp.training.loop.device_of(name).index for name in ("cuda", "cuda:0", "cuda:1")] == [None, 0, 1]
    with pytest.raises(ConfigError, match="device must be one that this machine has; got 'cuda:2'"):
        interp.training.loop.device_of("cuda:2")


def test_sizes_that_have_been_trained_by_others_are_possible():
    assert TrainConfig(p=997).task.p == 997
    assert TrainConfig(p=97, d_model=512, n_heads=8, d_mlp=4096).model.d_head == 64


# Of other types than the signatures say, which the tests refuse by themselves: in a process of its own.
WRONG_TYPES = """
    import numpy as np, torch, interp
    from pathlib import Path

    def said(call):
        try:
            call()
        except interp.ConfigError as error:
            print(error)

    T = interp.TrainConfig
    said(lambda: T(device=10**11))
    said(lambda: T(split=np.zeros((113, 113), dtype=bool)))
    said(lambda: T(activation=["relu"]))
    said(lambda: T(checkpoint_steps=3))
    said(lambda: T(checkpoint_steps="012"))
    said(lambda: T(steps=10**11, checkpoint_steps=range(10**11)))
    said(lambda: T(betas=0.9))
    said(lambda: interp.train({"p": 7}, "run"))
    said(lambda: interp.train(T(), 3))
"""
SAID_OF_TYPES = """
device must be cpu, cuda, cuda:N, mps or auto; got 100000000000.
split must have at least one train pair among the 12769 of p = 113, true = train; got none.
activation must be relu, gelu or gelu_new; got ['relu'].
checkpoint_steps must be a list of numbers, such as (0, 1000, 2000); got 3.
checkpoint_steps must be a list of numbers, such as (0, 1000, 2000); got '012'.
a run must have at most 1,000,000 checkpoints; these settings give more. Give fewer steps or fewer checkpoint_steps.
betas must be a list of numbers, such as (0.9, 0.98); got 0.9.
train() takes an interp.TrainConfig; got a dict.
a path must be a string or a pathlib.Path; got 3.
"""


def test_settings_of_a_wrong_type_are_refused():
    assert outside(WRONG_TYPES) == SAID_OF_TYPES.lstrip()


def test_settings_come_as_numpy_and_torch_have_them(tmp_path):
    outside(f"""
        import numpy as np, torch, interp
        from dataclasses import replace
        small = interp.{SMALL!r}
        config = replace(
            small, steps=np.int64(2), checkpoint_steps=torch.tensor([0, 2]), betas=np.array([0.9, 0.98]),
            device=torch.device("cpu"),
        )
        assert config == replace(small, steps=2, checkpoint_steps=(0, 2))
        assert interp.train(config, {str(tmp_path / "run")!r}, progress=False).config == config
        sizes = interp.Transformer(*np.array([14, 14, 3, 16, 2, 8, 24]))
        assert sizes == small.model
        assert type(sizes.d_mlp) is int
    """)


def test_a_device_that_is_not_there_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(ConfigError, match=r"device must be one that this machine has; got 'cuda:99'"):
        interp.train(replace(SMALL, device="cuda:99"), tmp_path / "run", progress=False)
    assert not (tmp_path / "run").exists()


def test_precision_is_put_back(tmp_path):
    """And set where it counts: where the user allows bfloat16 products, the training still runs in full float32."""
    config = replace(SMALL, steps=2, checkpoint_steps=(0,))
    plain = interp.train(config, tmp_path / "plain", progress=False)
    torch.set_float32_matmul_precision("medium")
    try:
        loose = interp.train(config, tmp_path / "loose", progress=False)
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision("highest")
    assert same_bits(plain.path, loose.path)


def test_a_run_on_the_shell_takes_the_names_of_the_dataclass(unstopped):
    assert json.loads((unstopped / "config.json").read_text())["training"]["d_mlp"] == 24
    assert interp.load_run(unstopped).config == LONG
    assert load_file(unstopped / "checkpoints" / "step_00000600.safetensors")["W_in"].shape == (16, 24)


def test_the_smallest_run_that_the_docstring_names_groks(tmp_path):
    """At steps 320 to 330 on the machine that measured it; processors round differently, so up to twice that.

    It is trained no further than to there: what follows is not looked at.
    """
    settings = {"p": 31, "train_fraction": 0.8, "d_model": 64, "d_mlp": 256, "learning_rate": 3e-3, "steps": 1_000}
    named = "TrainConfig(p=31, train_fraction=0.8, d_model=64, d_mlp=256, learning_rate=3e-3, steps=1_000)"
    assert f"{named} groks at steps 320 to\n    330" in TrainConfig.__doc__
    config = TrainConfig(**settings | {"steps": 660}, checkpoint_steps=(0,))
    events = interp.phases(interp.train(config, tmp_path / "run", progress=False).history)
    assert events.memorized < 165 <= events.generalized <= 660
