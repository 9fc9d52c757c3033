"""Files on the disk: pipes, devices, full disks, killed writers, and names of every kind."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import textwrap
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest
import torch

import interp
from interp import CheckpointError, StorageError
from interp.utils.files import digest_of_file, printable, read_noted, unreadable, write_parquet, write_whole, writing
from tests.conftest import ROOT, SMALL
from tests.processes import Started, outside

LATIN = os.fsdecode(b"caf\xe9")  # "café" in Latin-1, which is not UTF-8
LONG = "n" * 230
INSIDE = ("config.json", "split.npz", "history.parquet", "measures.parquet", "checkpoints/step_00000040.safetensors")


def pipe(file: Path) -> None:
    os.mkfifo(file)


def link_to_a_pipe(file: Path) -> None:
    os.mkfifo(file.with_name("pipe"))
    file.symlink_to("pipe")


def zeros(file: Path) -> None:
    file.symlink_to("/dev/zero")


def bound_socket(file: Path) -> None:
    here = os.open(".", os.O_RDONLY)
    try:
        os.chdir(file.parent)  # a socket's name has at most 108 bytes
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(file.name)
    finally:
        os.fchdir(here)
        os.close(here)


ODD = {"pipe": pipe, "link to a pipe": link_to_a_pipe, "/dev/zero": zeros, "socket": bound_socket, "folder": Path.mkdir}


@pytest.mark.parametrize("kind", ODD)
@pytest.mark.parametrize("name", INSIDE)
def test_what_is_no_regular_file_in_a_run_is_said_and_never_read(own_run, kind, name):
    """On the code before, a pipe was waited for and /dev/zero read until the memory was full."""
    interp.trajectory(own_run, progress=False)
    (own_run / name).unlink()
    ODD[kind](own_run / name)
    if name == "measures.parquet":  # what it keeps can be computed anew
        with pytest.warns(UserWarning, match=r"could not be kept.*name a regular file"):
            assert list(interp.trajectory(own_run, progress=False)["step"]) == [0, 20, 40, 60]
        return
    if name.startswith("checkpoints"):
        with pytest.warns(UserWarning, match="step_00000040.safetensors must be a regular file; it is a"):
            assert interp.load_run(own_run).steps == (0, 20, 60)
        return
    with pytest.raises(CheckpointError, match=rf"{name} must be a regular file; it is a"):
        _ = interp.load_run(own_run).history


@pytest.mark.parametrize("kind", [kind for kind in ODD if kind != "folder"])
@pytest.mark.parametrize("load", [interp.load_checkpoint, interp.load_run, interp.progress_measures])
def test_a_checkpoint_that_is_no_regular_file_is_refused(tmp_path, kind, load):
    ODD[kind](tmp_path / "model.pth")
    with pytest.raises(CheckpointError, match=r"model.pth must be a regular file; it is a"):
        load(tmp_path / "model.pth")


def test_a_device_is_not_replaced_by_a_file(tmp_path):
    ODD["link to a pipe"](tmp_path / "out")
    with pytest.raises(StorageError, match=r"out could not be written \(it is a pipe\); name a regular file"):
        write_whole(tmp_path / "out", lambda file: file.write_text("x"))
    assert (tmp_path / "out").is_fifo()


@pytest.mark.parametrize("content", ["[" * 10**6, '{"a":' * 10**6, " " * 2**26, "1" * 5000])
def test_json_that_is_nested_deep_or_endless_is_refused(own_run, content):
    (own_run / "config.json").write_text(content)
    with pytest.raises(CheckpointError, match="is not readable JSON"):
        interp.load_run(own_run)


def test_json_is_read_up_to_32_mb(own_run):
    config = own_run / "config.json"
    whole = config.read_text().ljust(2**25)
    config.write_text(whole)
    assert interp.load_run(own_run).config == SMALL
    config.write_text(whole + " ")
    with pytest.raises(CheckpointError, match=r"is not readable JSON \(it is larger than 32 MB\)"):
        interp.load_run(own_run)


def test_an_error_without_a_number_has_the_general_remedy(tmp_path):
    """As pyarrow raises them."""
    with pytest.raises(StorageError, match=r"torn.*; check its folder, or name another place"), writing(tmp_path):
        raise OSError("torn")
    assert "(torn); check the path and its disk." in str(unreadable("file", OSError("torn")))


def test_a_config_of_another_version_or_with_a_changed_field_is_said(own_run):
    file = own_run / "config.json"
    written = json.loads(file.read_text())
    newer = written | {"training": written["training"] | {"drop_path": 0.1}, "packages": {"interp": "7.0"}}
    file.write_text(json.dumps(newer))
    with pytest.raises(CheckpointError, match=r"does not know \(drop_path\); .* interp 7.0. Upgrade interp"):
        interp.load_run(own_run)
    file.write_text(json.dumps(written | {"training": written["training"] | {"p": 12}}))
    with pytest.raises(CheckpointError, match=r"disagrees with itself: its task is .*p=13.*p=12"):
        interp.load_run(own_run)
    del written["training"]["p"]  # and would be taken as 113
    file.write_text(json.dumps(written))
    with pytest.raises(CheckpointError, match="disagrees with itself: its task is"):
        interp.load_run(own_run)


# ── permission, full disks ───────────────────────────────────────────────────────────────────────────────────────


def test_a_file_without_read_permission_is_called_that(own_run):
    """As another user: root may read everything."""
    own_run.chmod(0o755)
    outside(f"""
        import os, interp
        os.chdir({str(own_run)!r})
        interp.load_run(".")[-1]  # all is imported that will be needed
        for name in ("config.json", "checkpoints/step_00000040.safetensors"):
            os.chmod(name, 0o000)
        if os.geteuid() == 0:
            os.seteuid(65534)
        for load, name in ((interp.load_run, "."), (interp.load_checkpoint, "checkpoints/step_00000040.safetensors")):
            try:
                load(name)
            except interp.CheckpointError as error:
                assert "cannot be read (Permission denied); change the permissions" in str(error), error
            else:
                raise AssertionError(name)
    """)


def limited(bytes_of_a_file: int, code: str) -> str:
    """What code prints in a process whose files may grow to so many bytes: as on a full disk, writing fails."""
    limit = f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({bytes_of_a_file},) * 2)\n"
    return outside("import interp, os\n" + limit + textwrap.dedent(code))


def test_a_training_that_cannot_write_says_where_and_goes_on_with_resume(tmp_path, small_run_path):
    """History (5 kB) can be written and the state (50 kB) cannot; then the limit is gone, and the run ends as any."""
    path = tmp_path / "run"
    half = replace(SMALL, steps=40, checkpoint_steps=(0, 20, 40))
    interp.train(half, path, progress=False)
    said = limited(
        20_000,
        f"""
        config = interp.{SMALL!r}
        try:
            interp.train(config, {str(path)!r}, resume=True, progress=False)
        except interp.TrainingError as error:
            print(error)
        """,
    )
    assert f"{path}/optimizer.safetensors could not be written (File too large); raise the limit" in said
    assert "go on with resume=True (--resume)" in said
    assert not list(path.rglob(".interp-*"))
    interp.train(SMALL, path, resume=True, progress=False)
    for file in small_run_path.rglob("*.*"):
        if file.is_file() and file.name not in (".lock", "measures.parquet"):
            assert file.read_bytes() == (path / file.relative_to(small_run_path)).read_bytes(), file


def test_measures_and_conversions_that_cannot_be_written_say_where(small_run_path, tmp_path):
    model = tmp_path / "model.pth"
    torch.save(dict(interp.load_run(small_run_path)[-1].weights), model)
    said = limited(
        2_000,
        f"""
        import sys, warnings
        warnings.simplefilter("always")
        warnings.showwarning = lambda message, *_, **__: print(message)
        interp.trajectory({str(small_run_path)!r}, progress=False, refresh=True)
        try:
            interp.convert({str(model)!r}, {str(tmp_path / "new")!r}, step=3, progress=False)
        except interp.StorageError as error:
            print(error)
        from interp import cli
        sys.argv = ["interp", "measure", {str(small_run_path)!r}, "--parquet", {str(tmp_path / "out.parquet")!r}]
        try:
            cli.app()
        except interp.StorageError as error:
            print(error)
        """,
    )
    assert f"could not be kept, so it is computed anew each time: {small_run_path}/measures.parquet could not" in said
    assert f"{tmp_path}/new could not be written (File too large); raise the limit" in said
    assert f"{tmp_path}/out.parquet could not be written (File too large); raise the limit" in said
    assert sorted(file.name for file in tmp_path.iterdir()) == ["model.pth"]


# ── killed writers ───────────────────────────────────────────────────────────────────────────────────────────────


WRITER = """
    import time
    from pathlib import Path
    from interp.utils.files import temporary_in, write_whole
    def wait(file):
        file.write_text("half")
        print("writing", flush=True)
        time.sleep(600)
    if {folder}:
        with temporary_in(Path({path!r}), is_folder=True) as made:
            wait(made / "half")
    write_whole(Path({path!r}) / "file", wait)
"""


@pytest.mark.parametrize("folder", [False, True])
def test_what_a_killed_writer_leaves_is_removed_by_the_next_and_not_that_of_a_living_one(tmp_path, folder):
    code = textwrap.dedent(WRITER.format(path=str(tmp_path), folder=folder))
    start = [sys.executable, "-c", code]
    killed, living = (subprocess.Popen(start, stdout=subprocess.PIPE, text=True, cwd=ROOT) for _ in range(2))
    try:
        assert killed.stdout.readline() == living.stdout.readline() == "writing\n"
        assert len(list(tmp_path.iterdir())) == 2
        killed.kill()
        killed.wait()
        write_whole(tmp_path / "other", lambda file: file.write_text("whole"))
        assert sorted(file.name.startswith(".interp-") for file in tmp_path.iterdir()) == [False, True]
    finally:
        for process in (killed, living):
            process.kill()
            process.communicate()
    write_whole(tmp_path / "other", lambda file: file.write_text("whole"))
    assert [file.name for file in tmp_path.iterdir()] == ["other"]


# ── names ────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", [LATIN, LONG])
def test_any_name_that_the_system_takes_can_be_trained_measured_and_converted(tmp_path, name):
    run, converted, parquet = tmp_path / name, tmp_path / f"{name}-2", tmp_path / f"{name}.parquet"
    interp.train(replace(SMALL, steps=2, checkpoint_steps=(0,)), run, progress=False)
    assert interp.trajectory(run, progress=False).equals(interp.trajectory(run, progress=False))
    assert (run / "measures.parquet").exists()
    torch.save({**interp.load_run(run)[-1].weights}, model := tmp_path / "model.pth")
    foreign = model.rename(tmp_path / f"{name}.pth")
    assert interp.convert(foreign, converted, step=2, progress=False).steps == (2,)
    printed = outside(
        f"""
        from interp.cli import app
        from interp.utils.console import output
        output.width = 300  # titles of that width are not cut
        app(["measure", {str(run)!r}, {str(foreign)!r}, "--parquet", {str(parquet)!r}], standalone_mode=False)
        app(["measure", {str(run)!r}], standalone_mode=False)
        app(["train", {str(run)!r}, "--resume", "--steps", "3"], standalone_mode=False)
    """
    )
    assert list(pd.read_parquet(parquet.open("rb"))["path"]) == [printable(run), printable(foreign)]
    if name == LATIN:  # the other is longer
        assert "caf\\udce9 ─" in printed
    assert interp.load_run(run).steps == (0, 2, 3)


def test_a_name_that_the_system_does_not_take_is_a_sentence(tmp_path):
    too_long = tmp_path / ("n" * 300)
    with pytest.raises(CheckpointError, match=r"cannot be read .File name too long.; give it a shorter name"):
        interp.train(SMALL, too_long, progress=False)
    with pytest.raises(CheckpointError, match="File name too long"):
        interp.load_run(too_long)
    with pytest.raises(CheckpointError, match=r"cannot be the name of a file .embedded null byte."):
        interp.load_checkpoint("a\0b")
    with pytest.raises(StorageError, match="File name too long"):
        interp.plot.save(go.Figure(), tmp_path, "n" * 300, formats=())


# ── what is deleted under a training ─────────────────────────────────────────────────────────────────────────────

DELETED = {
    "checkpoints": ("rm -r checkpoints", r"checkpoints lost 2 files while .*step_00000000.safetensors, step_00000003"),
    "one checkpoint": ("rm checkpoints/step_00000000.safetensors", r"lost 1 files while .*step_00000000"),
    "the run": ("rm -r $PWD", r"was deleted or replaced while the training wrote to it"),
    "the run, for another": ("mv $PWD $PWD-2; mkdir $PWD; touch $PWD/mine", "was deleted or replaced"),
}


def train_and_delete(path: Path, delete: str) -> tuple[int, str]:
    """Train in another process, hold it still while a shell command deletes files, and return its exit and stderr."""
    options = "--p 13 --d-model 16 --n-heads 2 --d-mlp 24 --train-fraction 0.5 --steps 600 --checkpoint-steps 0,3"
    process = Started("interp", "train", path, *options.split())
    while not (path / "checkpoints" / "step_00000003.safetensors").exists():
        assert process.poll() is None
        time.sleep(0.002)
    time.sleep(0.05)  # until the training knows that it has written it
    process.send_signal(signal.SIGSTOP)
    subprocess.run(delete, shell=True, cwd=path, check=True)
    process.send_signal(signal.SIGCONT)
    return process.wait(), " ".join(process.stderr().split())


@pytest.mark.parametrize("kind", DELETED)
def test_a_training_that_loses_its_files_ends_with_an_error_that_names_them(tmp_path, kind):
    path = tmp_path / "run"
    delete, said = DELETED[kind]
    code, stderr = train_and_delete(path, delete)
    assert code == 2, stderr
    assert re.search(said, stderr), stderr
    if kind == "the run, for another":
        assert [file.name for file in path.iterdir()] == ["mine"]
    if "checkpoint" in kind:  # and can be gone on with
        interp.train(None, path, resume=True, progress=False)


def test_a_training_that_loses_its_config_and_split_writes_them_again_and_says_so(tmp_path):
    path = tmp_path / "run"
    code, stderr = train_and_delete(path, "cp config.json split.npz ..; rm config.json split.npz")
    assert code == 0, stderr
    assert "lost its config.json or split.npz while it trained; both were written again" in stderr
    assert (path / "config.json").read_bytes() == (tmp_path / "config.json").read_bytes()
    split = interp.load_run(path).train_mask
    assert split is not None
    assert split.numpy().tolist() == np.load(tmp_path / "split.npz")["train"].tolist()


def test_a_parquet_file_keeps_a_note_beside_its_table(tmp_path):
    file, frame = tmp_path / "new" / "table.parquet", pd.DataFrame({"step": [0, 10], "loss": [1.5, float("nan")]})
    note = {"steps": {"0": None}, "name": "λ"}
    write_parquet(file, frame, {"note": json.dumps(note), "other": "no JSON"})
    table, found = read_noted(file, "note")
    assert found == note
    pd.testing.assert_frame_equal(table.to_pandas(), frame)
    pd.testing.assert_frame_equal(pd.read_parquet(file), frame)
    for key, error in (("another", KeyError), ("other", ValueError)):
        with pytest.raises(error):
            read_noted(file, key)
    file.write_bytes(b"PAR1 no more")
    with pytest.raises(ValueError, match="Parquet"):
        read_noted(file, "note")


def test_the_digest_of_a_file_is_its_sha_256(tmp_path):
    file = tmp_path / "abc"
    file.write_bytes(b"abc")
    assert digest_of_file(file) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # FIPS 180-2
    with pytest.raises(FileNotFoundError):
        digest_of_file(tmp_path / "gone")
    with pytest.raises(CheckpointError, match="must be a regular file; it is a folder"):
        digest_of_file(tmp_path)
