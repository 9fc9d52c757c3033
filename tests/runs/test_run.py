"""The run directory: what is written is read back, and whatever is wrong with it is said in one sentence."""

import json
import os
import shutil
import threading
from dataclasses import FrozenInstanceError

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file, save_file

import interp
from interp import CheckpointError, ConfigError
from tests.conftest import SMALL
from tests.processes import outside

STEP = "checkpoints/step_00000040.safetensors"


def test_a_run_reads_back_what_was_trained(small_run):
    assert small_run.config == SMALL
    assert small_run.task == interp.Task(13)
    assert small_run.steps == (0, 20, 40, 60)
    assert torch.equal(small_run.train_mask, interp.split_mask(13, 0.5, 0))
    assert small_run[-1].step == 60
    assert [ckpt.step for ckpt in small_run] == [0, 20, 40, 60]
    assert list(small_run.history["step"]) == [0, 10, 20, 30, 40, 50, 60]
    assert not small_run.bad
    assert "13, 4 checkpoints, steps 0 to 60" in repr(small_run)


def test_a_checkpoint_is_equal_to_itself_alone_and_does_not_change(small_run):
    """Two are no more compared weight by weight than two networks."""
    one, again = small_run[-1], small_run[-1]
    assert len({one, again, one}) == 2
    with pytest.raises(FrozenInstanceError):
        one.step = 0


def test_the_directory_holds_no_pickle_and_no_leftovers(small_run_path):
    files = sorted(file.relative_to(small_run_path).as_posix() for file in small_run_path.rglob("*") if file.is_file())
    assert [name for name in files if name not in (".lock", "measures.parquet")] == [
        *(f"checkpoints/step_{step:08d}.safetensors" for step in (0, 20, 40, 60)),
        "config.json",
        "history.parquet",
        "optimizer.safetensors",
        "split.npz",
    ]
    config = json.loads((small_run_path / "config.json").read_text())
    assert config["format_version"] == 2
    assert config["packages"]["torch"] == torch.__version__


def test_a_checkpoint_in_its_run_knows_its_split_and_alone_its_task(own_run, tmp_path):
    inside = interp.load_checkpoint(own_run / STEP)
    assert inside.step == 40
    assert inside.run is not None
    assert inside.train_mask is not None
    alone_file = shutil.copy(own_run / STEP, tmp_path / "copy.safetensors")
    alone = interp.load_checkpoint(alone_file)
    assert alone.task == inside.task
    assert alone.step == 40
    assert alone.train_mask is alone.run is None
    assert torch.equal(alone.weights["W_E"], inside.weights["W_E"])


def test_a_lone_checkpoint_takes_its_split_by_name_or_as_a_mask(own_run, tmp_path):
    file = shutil.copy(own_run / STEP, tmp_path / "copy.safetensors")
    named = interp.load_checkpoint(file, split="torch", seed=3)
    assert torch.equal(named.train_mask, interp.split_mask(13, 0.3, 3, "torch"))
    mask = interp.split_mask(13, 0.5, 0)
    assert interp.progress_measures(interp.load_checkpoint(file, split=mask)).train_loss is not None
    with pytest.raises(ConfigError, match="needs the seed it was drawn with"):
        interp.load_checkpoint(file, split="paper")
    with pytest.raises(ConfigError, match=r"a mask must be bool \[13, 13\], true = train; got bool \[12, 12\]"):
        interp.load_checkpoint(file, split=mask[:12, :12])
    with pytest.raises(ConfigError, match=r"vocabulary of 14, .*; a task of p = 11 needs a vocabulary of 12"):
        interp.load_checkpoint(file, task=interp.Task(11))


def test_a_seed_without_the_split_it_draws_is_refused(own_run):
    with pytest.raises(ConfigError, match=r"seed needs split as well .*; got seed=3 alone"):
        interp.load_checkpoint(own_run / STEP, seed=3)
    with pytest.raises(ConfigError, match="knows its own task and split"):
        interp.progress_measures(own_run, seed=3)


def test_two_writers_of_one_file_leave_it_whole(tmp_path):
    """Each fills a temporary file of its own; a reader meets the one content or the other."""
    file, wrong = tmp_path / "file", []

    def write(content: bytes) -> None:
        for _ in range(40):
            interp.utils.files.write_whole(file, lambda temporary: temporary.write_bytes(content))

    contents = [bytes([letter]) * 200_000 for letter in b"ab"]
    writers = [threading.Thread(target=write, args=(content,)) for content in contents]
    for writer in writers:
        writer.start()
    while any(writer.is_alive() for writer in writers):
        if file.exists() and file.read_bytes() not in contents:
            wrong.append(file.stat().st_size)
    assert not wrong
    assert list(tmp_path.iterdir()) == [file]


def test_a_file_is_synced_before_it_gets_its_name_and_its_folder_after(tmp_path, monkeypatch):
    """Else a power cut could leave an empty file under the name, or none."""
    file, synced, fsync = tmp_path / "file", [], os.fsync

    def seen(descriptor: int) -> None:
        what = os.fstat(descriptor)
        here = "folder" if os.path.samestat(what, tmp_path.stat()) else f"file of {what.st_size} bytes"
        synced.append((here, file.read_text()))
        fsync(descriptor)

    file.write_text("old")
    monkeypatch.setattr(os, "fsync", seen)
    interp.utils.files.write_whole(file, lambda temporary: temporary.write_text("renewed"))
    assert synced == [("file of 7 bytes", "old"), ("folder", "renewed")]


def test_a_run_takes_positions_and_slices_as_a_list_does(small_run):
    assert [ckpt.step for ckpt in small_run[:3]] == [0, 20, 40]
    assert [ckpt.step for ckpt in small_run[::-2]] == [60, 20]
    assert small_run[7:] == []
    with pytest.raises(IndexError, match=r"run of 4 checkpoints has no checkpoint \[4\]"):
        small_run[4]
    outside(f"""
        import numpy as np, pytest, interp
        run = interp.load_run({str(small_run.path)!r})
        assert run[np.int64(1)].step == 20
        assert type(run.at(np.int64(40)).step) is int
        for index in ([0, 1], "last", 1.0):
            with pytest.raises(interp.ConfigError, match="as in run.-1. and run.:3.; got ") as refused:
                run[index]
            assert repr(index) in str(refused.value)
        with pytest.raises(interp.ConfigError, match="step must be a whole number; got 20.0"):
            run.at(20.0)
    """)


def test_a_config_of_impossible_settings_is_refused_before_anything_is_built(own_run):
    """In a process without the type checker of the tests."""
    changes = [
        ("p", 10**5), ("p", 10**400), ("d_model", 10**11), ("steps", 10**11), ("steps", 10**12), ("device", 10**11),
        ("split", [-1]), ("betas", 3), ("checkpoint_steps", 3), ("activation", {}), ("seed", None),
    ]  # fmt: skip
    file = own_run / "config.json"
    outside(f"""
        import json, pathlib, interp
        file = pathlib.Path({str(file)!r})
        written = json.loads(file.read_text())
        for field, value in {changes}:
            file.write_text(json.dumps(written | {{"training": written["training"] | {{field: value}}}}))
            try:
                interp.load_run(file.parent)
            except interp.CheckpointError as error:
                assert f"{{file}} does not describe a run (" in str(error), error
                assert field in str(error) or "checkpoints" in str(error) or "logits" in str(error), error
            else:
                raise AssertionError(field)
    """)


def test_one_step_of_a_run_can_be_named(own_run):
    assert interp.load_checkpoint(own_run, step=20).step == 20
    with pytest.raises(CheckpointError, match=r"no checkpoint of step 30; the nearest are 0, 20, 40, 60"):
        interp.load_checkpoint(own_run, step=30)
    with pytest.raises(CheckpointError, match="holds step 40, not step 20"):
        interp.load_checkpoint(own_run / STEP, step=20)


@pytest.mark.parametrize(
    ("said", "read"), [("recorded",) * 2, ("given",) * 2, ("assumed",) * 2, ("nobody", "assumed"), (3, "assumed")]
)
def test_who_named_the_task_and_split_of_another_codes_run_is_read_back(own_run, said, read):
    """A word that is no answer leaves the task assumed, so that it is tested; no word is a run of this code's own."""
    content = json.loads((own_run / "config.json").read_text())
    content |= {"training": None, "task_origin": said}
    (own_run / "config.json").write_text(json.dumps(content))
    run = interp.load_run(own_run)
    assert (run.config, run.task_origin, run.split_origin) == (None, read, "recorded")


def write_weights(path, change):
    weights, header = load_file(path), interp.runs.directory.read_header(path)
    change(weights, header)
    save_file(weights, path, metadata={"interp": json.dumps(header)})


def drop(name):
    return lambda weights, info: weights.pop(name)


DAMAGE = {
    "empty": (lambda f: f.write_bytes(b""), "is no whole safetensors file"),
    "text": (lambda f: f.write_text("not weights at all, just a note\n"), "is no whole safetensors file"),
    "half": (lambda f: f.write_bytes(f.read_bytes()[: f.stat().st_size // 2]), "is no whole safetensors file"),
    "one byte short": (lambda f: f.write_bytes(f.read_bytes()[:-1]), "is no whole safetensors file"),
    "header only": (lambda f: f.write_bytes(f.read_bytes()[:500]), "is no whole safetensors file"),
    "pickle": (lambda f: torch.save({"W_E": torch.zeros(2)}, f), "is no whole safetensors file"),
    "foreign safetensors": (lambda f: save_file({"x": torch.zeros(2)}, f), "says format None; expected 'interp-ch"),
    "missing weight": (lambda f: write_weights(f, drop("W_U")), "lacks W_U"),
    "wrong shape": (
        lambda f: write_weights(f, lambda w, i: w.update(W_in=torch.zeros(3, 3))),
        r"W_in is \[3, 3\]; expected \[d_model, d_mlp\] = \[16, 24\]",
    ),
    "nan": (lambda f: write_weights(f, lambda w, i: w["W_E"].fill_(float("nan"))), "W_E must be finite; got 224 of"),
    "newer": (lambda f: write_weights(f, lambda w, i: i.update(format_version=3)), "version 3; .* up to 2. Upgrade"),
    "garbled version": (lambda f: write_weights(f, lambda w, i: i.update(format_version="x")), "no format version"),
    "impossible size": (
        lambda f: write_weights(f, lambda w, i: i["model"].update(d_mlp=0)),
        "d_mlp must be a whole number of at least 1; got 0",
    ),
    "step of letters": (
        lambda f: write_weights(f, lambda w, i: i.update(step="x")),
        "must tell its step, task and model",
    ),
    "description in no JSON": (
        lambda f: save_file(load_file(f), f, metadata={"interp": "{"}),
        "says format None; expected 'interp-checkpoint'",
    ),
    "no step": (lambda f: write_weights(f, lambda w, i: i.pop("step")), "must tell its step, task and model"),
    "gone": (lambda f: f.unlink(), "does not exist"),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_damaged_checkpoint_is_refused_by_name(own_run, kind):
    damage, message = DAMAGE[kind]
    damage(own_run / STEP)
    with pytest.raises(CheckpointError, match=message) as error:
        interp.load_checkpoint(own_run / STEP)
    assert "step_00000040.safetensors" in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("kind", ["empty", "text", "half"])
def test_a_run_with_one_bad_checkpoint_opens_and_says_which(own_run, kind):
    DAMAGE[kind][0](own_run / STEP)
    with pytest.warns(UserWarning, match="step_00000040"):
        run = interp.load_run(own_run)
    assert run.steps == (0, 20, 60)
    assert list(run.bad) == [40]
    with pytest.raises(CheckpointError, match="step_00000040"):
        run.at(40)
    assert list(interp.trajectory(run, progress=False)["step"]) == [0, 20, 60]


def test_a_checkpoint_damaged_inside_is_left_out_of_the_trajectory(own_run):
    DAMAGE["nan"][0](own_run / STEP)
    with pytest.warns(UserWarning, match=r"left out: .*step_00000040.*must be finite"):
        frame = interp.trajectory(own_run, progress=False)
    assert list(frame["step"]) == [0, 20, 60]


def test_where_the_last_checkpoint_is_damaged_the_last_readable_one_names_the_key_frequencies(own_run):
    DAMAGE["nan"][0](own_run / "checkpoints" / "step_00000060.safetensors")
    expected = interp.progress_measures(interp.load_run(own_run).at(40)).key_frequencies
    with pytest.warns(UserWarning, match="left out: .*step_00000060"):
        frame = interp.trajectory(own_run, progress=False)
    assert frame.attrs["key_frequencies"] == expected
    assert list(frame["step"]) == [0, 20, 40]


def test_where_no_checkpoint_can_be_read_the_last_one_says_why(own_run):
    for kind, step in [("wrong shape", 0), ("missing weight", 20), ("no step", 40), ("nan", 60)]:
        DAMAGE[kind][0](own_run / "checkpoints" / f"step_{step:08d}.safetensors")
    with pytest.raises(CheckpointError, match=r"step_00000060.*must be finite"):
        interp.load_run(own_run).last_readable()


def test_a_checkpoint_under_another_steps_name_is_noticed(own_run):
    shutil.copy(own_run / STEP, own_run / "checkpoints" / "step_00000050.safetensors")
    with pytest.raises(CheckpointError, match="must hold step 50, as its name says; it holds step 40"):
        interp.load_run(own_run).at(50)


def test_a_folder_is_no_checkpoint_and_a_file_no_run(own_run, tmp_path):
    with pytest.raises(CheckpointError, match=r"is a folder, not a checkpoint file; open a run with load_run"):
        interp.load_checkpoint(own_run)
    with pytest.raises(CheckpointError, match=r"is a file of one checkpoint; a run is a directory"):
        interp.load_run(own_run / STEP)
    with pytest.raises(CheckpointError, match="does not exist"):
        interp.load_run(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(CheckpointError, match=r"holds no config.json"):
        interp.load_run(tmp_path / "empty")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "not readable JSON"),
        ("[1, 2]", "says format None; expected 'interp-run'"),
        ('{"format": "other"}', "says format 'other'"),
        ('{"format": "interp-run", "format_version": 9}', "version 9; this interp reads up to 2. Upgrade"),
        ('{"format": "interp-run", "format_version": 1}', "does not describe a run"),
        (
            '{"format": "interp-run", "format_version": 1, "training": {"p": 1}}',
            "does not describe a run .it lacks 'task'",
        ),
    ],
)
def test_a_damaged_config_is_said(own_run, content, message):
    (own_run / "config.json").write_text(content)
    with pytest.raises(CheckpointError, match=message):
        interp.load_run(own_run)


def test_a_missing_split_leaves_the_measures_that_need_none(own_run):
    (own_run / "split.npz").unlink()
    run = interp.load_run(own_run)
    assert run.train_mask is None
    m = interp.progress_measures(run)
    assert "no split.npz" in m.missing["train_loss"]
    assert m.restricted_loss is not None
    assert m.key_frequencies


class Pickled:
    """Unpickling it makes a file named pwned in the working folder."""

    def __reduce__(self):
        return open, ("pwned", "w")


SPLITS = {
    "empty": (lambda f: f.write_bytes(b""), "is not a split"),
    "text": (lambda f: f.write_bytes(b"text"), "is not a split"),
    "another p": (
        lambda f: np.savez(f, train=np.zeros((3, 3), dtype=bool)),
        r"torch.bool \[3, 3\]; expected bool \[13",
    ),
    "a larger p": (
        lambda f: np.savez(f, train=np.zeros((17, 17), dtype=bool)),
        r"torch.bool \[17, 17\]; expected bool",
    ),
    "numbers": (lambda f: np.savez(f, train=np.zeros((13, 13), dtype=np.int64)), r"torch.int64 \[13, 13\]; expected"),
    "pickled": (lambda f: np.savez(f, train=np.array([Pickled()], dtype=object)), "is not a split"),
}


@pytest.mark.parametrize("kind", SPLITS)
def test_a_damaged_split_is_said(own_run, kind, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    damage, message = SPLITS[kind]
    damage(own_run / "split.npz")
    with pytest.raises(CheckpointError, match=rf"split.npz.* {message}"):
        interp.load_run(own_run)
    assert not (tmp_path / "pwned").exists()


HISTORIES = {
    "missing": (lambda f: f.unlink(), "is missing"),
    "empty": (lambda f: f.write_bytes(b""), "is not a readable parquet file"),
    "text": (lambda f: f.write_bytes(b"text"), "is not a readable parquet file"),
    "other columns": (
        lambda f: pd.DataFrame({"step": [0]}).to_parquet(f),
        r"expected also \['train_loss', 'test_loss'",
    ),
}


@pytest.mark.parametrize("kind", HISTORIES)
def test_a_missing_or_damaged_history_is_said_when_it_is_asked_for(own_run, kind):
    damage, message = HISTORIES[kind]
    damage(own_run / "history.parquet")
    run = interp.load_run(own_run)
    assert run[-1].step == 60
    with pytest.raises(CheckpointError, match=rf"history.parquet.* {message}"):
        _ = run.history
