"""Sweeps: what is run, that nothing is lost or done twice whatever is killed, and what is said of bad input."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import interp
from interp import CheckpointError, ConfigError, TrainConfig
from interp.networks import OneHiddenLayer
from interp.sweeps import local, owners
from interp.sweeps.comparisons import moved
from interp.sweeps.grid import configurations, parsed_settings, parsed_values, read_plan, run_id
from interp.sweeps.jobs import Job, Stop, allowed, perform, read_result
from interp.sweeps.owners import OWNER, Held, owning
from interp.sweeps.running import estimate
from tests.processes import ROOT, Started, interp as shell, outside

TINY = {"p": 5, "train_fraction": 0.6, "d_model": 8, "n_heads": 1, "d_mlp": 8, "steps": 6, "history_every": 2}
SLOW = {**TINY, "p": 11, "d_model": 16, "d_mlp": 16, "steps": 400}  # a second or so
NOT_COMPARED = ["seconds", "commit"]


def rows(table: pd.DataFrame) -> pd.DataFrame:
    """The table without what the clock and the checkout say."""
    return table.drop(columns=NOT_COMPARED).sort_values("run", ignore_index=True)


def same(one: pd.DataFrame, other: pd.DataFrame) -> None:
    pd.testing.assert_frame_equal(rows(one), rows(other), check_exact=True)


def settings(grid: dict) -> list[str]:
    lists = {name: values if isinstance(values, list) else [values] for name, values in grid.items()}
    return [word for name, values in lists.items() for word in ("--set", f"{name}={','.join(map(str, values))}")]


# ── which runs ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_dict_of_lists_is_all_combinations_and_a_list_is_itself():
    found = configurations({"p": 23, "weight_decay": [0.3, 1.0], "seed": range(3)})
    assert [(c.p, c.weight_decay, c.seed) for c in found] == [(23, w, s) for w in (0.3, 1.0) for s in range(3)]
    listed = configurations([TrainConfig(p=5), {"p": [7, 11]}])
    assert [c.p for c in listed] == [5, 7, 11]
    assert configurations({"seed": "0:3", "betas": [0.9, 0.99]})[2].betas == (0.9, 0.99)
    assert [c.betas for c in configurations({"betas": [[0.9, 0.98], [0.8, 0.98]]})] == [(0.9, 0.98), (0.8, 0.98)]


def test_words_of_the_shell_are_values_and_ranges():
    assert parsed_settings(["weight_decay=0.3,1,3", "seed=0:5", "split=paper,torch"]) == {
        "weight_decay": [0.3, 1.0, 3.0], "seed": [0, 1, 2, 3, 4], "split": ["paper", "torch"],
    }  # fmt: skip
    assert parsed_values("steps", "100:400:100,1000") == [100, 200, 300, 1000]
    assert parsed_values("betas", "0.9,0.98") == [(0.9, 0.98)]
    assert parsed_values("checkpoint_steps", "0:300:100") == [(0, 100, 200)]
    assert parsed_values("split_seed", "none,3") == [None, 3]
    assert parsed_values("muon_learning_rate", "none,0.02") == [None, 0.02]
    assert parsed_settings(["muon_factor=out/in,rows/columns", "orthogonal_rescaled=true"]) == {
        "muon_factor": ["out/in", "rows/columns"], "orthogonal_rescaled": [True],
    }  # fmt: skip


def test_a_network_may_be_a_dict_of_its_name_and_sizes(tmp_path):
    """It is the run of the same network in any other form."""
    wide, small = OneHiddenLayer(d_hidden=128), OneHiddenLayer(d_hidden=64)
    as_dict = {"network": "one_hidden_layer", "d_hidden": 64}
    assert [one.network for one in configurations({"network": [as_dict, wide]})] == [small, wide]
    assert [one.network for one in configurations({"network": as_dict, "network.d_hidden": [64, 128]})] == [small, wide]
    file = tmp_path / "plan.toml"
    file.write_text('[grid]\nnetwork = {network = "one_hidden_layer", d_hidden = 64}\n')
    flat = {"network": "one_hidden_layer", "network.d_hidden": 64}
    forms = [configurations({"network": as_dict}), configurations({"network": small}), configurations(flat)]
    assert len({run_id(one) for (one,) in [*forms, read_plan(file).configs]}) == 1


def test_settings_that_have_no_effect_are_refused_with_the_combination(tmp_path):
    """Else their values would be distinct runs that are all the same."""
    said = (
        r"^momentum acts only with optimizer sgd or muon; got momentum=0.0 with optimizer=adamw. Leave it at its "
        r"default, 0.9. The combination is seed=1, momentum=0.0. To leave it out, write two grids, .* or two tables "
        r"\[\[grid\]\] in a TOML file\.$"
    )  # fmt: skip
    grid = {"seed": [1], "optimizer": ["adamw", "sgd"], "momentum": [0.9, 0.0]}
    with pytest.raises(ConfigError, match=said):
        configurations(grid)
    apart = configurations([{"seed": 1}, {"seed": 1, "optimizer": "sgd", "momentum": [0.9, 0.0]}])
    assert [(one.optimizer, one.momentum) for one in apart] == [("adamw", 0.9), ("sgd", 0.9), ("sgd", 0.0)]
    for lone in (TrainConfig(momentum=0.0), {"momentum": 0.0}):
        with pytest.raises(ConfigError, match=r"Leave it at its default, 0\.9\.$"):
            configurations([lone])
    done = shell("sweep", tmp_path / "sweep", "--set", "grokfast=0,1", "--set", "grokfast_decay=0.9,0.98")
    assert done.returncode == 2
    assert "grokfast_decay acts only with grokfast above 0; got grokfast_decay=0.9" in " ".join(done.stderr.split())
    assert not (tmp_path / "sweep").exists()


@pytest.mark.parametrize("name", ["delay-mod23/delay", "settings-mod23/settings"])
def test_sweeps_that_are_shipped_are_the_runs_of_their_tables(name):
    file = ROOT / "checkpoints" / f"{name}.toml"
    wanted = {run_id(one) for one in read_plan(file).configs}
    shipped = set(interp.load_sweep(file.parent).table["run"])
    assert shipped
    assert shipped <= wanted


def test_a_run_is_known_by_what_differs_from_the_defaults_without_steps_and_device():
    assert run_id(TrainConfig()) == run_id(TrainConfig(steps=3, device="auto")) == run_id(TrainConfig(split_seed=0))
    others = [TrainConfig(seed=1), TrainConfig(seed=1, split_seed=0), TrainConfig(p=23), TrainConfig(weight_decay=2)]
    assert len({run_id(one) for one in [TrainConfig(), *others]}) == 5
    mask = interp.split_mask(113, 0.3, 0)
    assert run_id(TrainConfig(split=mask)) == run_id(TrainConfig(split=mask.flatten().nonzero()[:, 0].tolist()))
    assert run_id(TrainConfig(split=~mask)) != run_id(TrainConfig(split=mask))


@pytest.mark.parametrize(
    ("configs", "said"),
    [
        ({"weight_decai": [1]}, "got 'weight_decai', which is not one of them. Did you mean weight_decay?"),
        ({"lr": [1]}, "Did you mean learning_rate?"),
        ({"seed": []}, "seed must have at least one value"),
        ([], "at least one run; got an empty list"),
        ({}, "must be given a setting; got an empty dict"),
        ([TrainConfig(seed=1), {"seed": [0, 1]}], "asked for once; got seed=1 twice"),
        ({"steps": [100, 200]}, "asked for once; got the defaults twice"),
        ({"p": [23, 1]}, "p must be a whole number of at least 2; got 1"),
        ({"seed": range(10**6), "p": range(5, 100)}, "at most 10,000,000 runs"),
    ],
)
def test_runs_that_cannot_be_are_refused_before_anything_is_written(tmp_path, configs, said):
    with pytest.raises(ConfigError) as error:
        configurations(configs)
    assert said in str(error.value)
    assert not list(tmp_path.iterdir())


def test_arguments_of_other_types_are_refused_in_a_sentence():
    """In a process of its own: here the tests' own type checks would answer first."""
    said = outside(
        """
        import interp
        for configs, more in (
            ("weight_decay", {}), ([3], {}), (3, {}), ({"seed": 1}, {"share": "x"}), ({"seed": 1}, {"share": (4, 3)}),
            ({"seed": 1}, {"threshold": "x"}), ({"seed": 1}, {"engine": "slurm"}), ({"seed": 1}, {"workers": 1.5}),
        ):
            try:
                interp.sweep(configs, "/nonexistent/sweep", **more)
            except interp.ConfigError as error:
                print(error)
        """
    )
    words = ["configs must be a dict of lists", "configs must hold TrainConfigs", "configs must be a dict",
             "share must be one of several", "share must be one of several", "threshold must be a finite number",
             "engine must be local or ray", "workers must be a whole number"]  # fmt: skip
    assert len(said.splitlines()) == len(words)
    assert all(word in line for word, line in zip(words, said.splitlines(), strict=True))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--set", "weight_decai=1"], "Did you mean weight_decay?"),
        (["--set", "seed=5:2"], "seed must count up"),
        (["--set", "seed=a"], "seed must be whole numbers"),
        (["--set", "weight_decay"], "--set takes NAME=VALUES"),
        (["--set", "seed=1", "--set", "seed=2"], "each setting once; got seed again"),
        ([], "A sweep needs its runs; give --set"),
        (["--file", "nowhere.toml"], "nowhere.toml does not exist"),
        (["--set", "seed=1", "--share", "4/3"], "share must be one of several"),
        (["--set", "seed=1", "--stop-when", "memorized"], "stop_when must be generalized"),
        (["--set", "seed=1", "--address", "auto"], "address is that of a Ray cluster"),
        (["--set", "seed=1", "--workers", "0"], "workers must be a whole number of at least 1"),
        (["--set", "seed=1", "--threshold", "95"], "threshold must be a finite number"),
        (["--set", "seed=1", "--engine", "ray", "--address", "127.0.0.1:9"], "nobody answers at '127.0.0.1:9'"),
    ],
)
def test_what_is_wrong_is_one_sentence_and_nothing_runs(tmp_path, words, said):
    done = shell("sweep", tmp_path / "sweep", *words)
    assert done.returncode == 2
    assert said in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.rglob("config.json"))


def test_a_toml_file_holds_options_and_grids(tmp_path):
    file = tmp_path / "plan.toml"
    file.write_text(
        'stop_when = "generalized+50"\n[[grid]]\np = 5\nseed = "0:2"\n[[grid]]\np = 7\nbetas = [0.9, 0.99]\n'
    )
    plan = read_plan(file)
    assert [(c.p, c.seed, c.betas) for c in plan.configs] == [
        (5, 0, (0.9, 0.98)),
        (5, 1, (0.9, 0.98)),
        (7, 0, (0.9, 0.99)),
    ]
    assert plan.options == {"stop_when": "generalized+50"}
    for content, said in [
        ("p = 5\n", "must have a table"),
        ("weight_decay = 1\n[grid]\np = 5\n", "has weight_decay outside"),
        ("[grid]\nq = 5\n", "plan.toml: A sweep must set settings"),
        ("[grid]\n", "plan.toml: A sweep must be given a setting"),
        ("[grid\n", "must be TOML"),
    ]:
        file.write_text(content)
        with pytest.raises(ConfigError, match=said):
            read_plan(file)


def test_set_replaces_a_setting_in_every_grid_of_a_file(tmp_path):
    file = tmp_path / "plan.toml"
    file.write_text(
        '[[grid]]\np = 5\nseed = "0:5"\n[[grid]]\np = [7, 11]\nnetwork = "one_hidden_layer"\n"network.d_hidden" = 8\n'
    )
    changed = read_plan(file, parsed_settings(["seed=3,4", "steps=20"])).configs
    assert [(one.p, one.seed, one.steps) for one in changed] == [
        (5, 3, 20), (5, 4, 20), (7, 3, 20), (7, 4, 20), (11, 3, 20), (11, 4, 20),
    ]  # fmt: skip
    other = read_plan(file, {"network": ["transformer"], "network.d_mlp": [16]}).configs
    assert [(one.p, one.model.d_mlp) for one in other] == [*[(5, 16)] * 5, (7, 16), (11, 16)]
    file.write_text('[[grid]]\np = 5\nseed = "0:5"\n[[grid]]\np = 7\n')
    done = shell("sweep", tmp_path / "sweep", "--file", file, "--set", "p=11")
    assert done.returncode == 2
    said = " ".join(done.stderr.split())
    assert "asked for once; got p=11 twice" in said
    assert "--set gave p to each grid of the file." in said


@pytest.fixture
def here(monkeypatch) -> None:
    """Sweeps of this test train in its own process: starting workers takes seconds."""

    def work(jobs, workers, tell) -> None:
        for job in jobs:
            tell(job, perform(job))

    monkeypatch.setattr(local, "work", work)


# ── the same runs, however they are worked on ────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> interp.Sweep:
    """Six tiny runs by one worker."""
    path = tmp_path_factory.mktemp("sweeps") / "whole"
    return interp.sweep({**TINY, "weight_decay": [0.5, 1.0], "seed": [0, 1, 2]}, path, workers=1, progress=False)


def test_the_table_says_what_the_runs_were_and_how_they_ended(whole):
    table = whole.table
    assert len(table) == len(whole) == 6
    assert table["weight_decay"].tolist() == [0.5] * 3 + [1.0] * 3 or table["seed"].tolist() == [0, 0, 1, 1, 2, 2]
    assert table["error"].isna().all()
    assert set(table["last_step"]) == {6}
    for position, row in enumerate(table.to_dict("records")):
        run = whole.run(position)
        assert run.steps == (0, 6)  # the first and the last
        last = run.history.iloc[-1]
        assert (row["test_loss"], row["train_accuracy"]) == (last["test_loss"], last["train_accuracy"])
        found = interp.phases(run.history)
        assert (row["memorized"] if pd.notna(row["memorized"]) else None) == found.memorized
        assert row["censored"] == (found.generalized is None)
        assert row["run"] == run_id(replace(run.config, checkpoint_steps=None))
        assert list(row["key_frequencies"]) == list(interp.progress_measures(run).key_frequencies)
    histories = whole.histories(progress=False)
    assert list(histories.groupby("run").size()) == [4] * 6
    trajectories = whole.trajectories(measures=["test_loss"], progress=False)
    assert sorted(trajectories["step"]) == [0] * 6 + [6] * 6


def test_a_run_is_opened_by_its_name_or_its_position(whole):
    names = whole.table["run"].tolist()
    assert whole.folder(names[2]) == whole.folder(2) == whole.folder(np.int64(2)) == whole.folder(-4)
    assert whole.run(-1).path == whole.run(5).path
    for wrong in ("x", ""):
        with pytest.raises(ConfigError, match=rf"has no run '{wrong}'; see the column run of its table\.$"):
            whole.run(wrong)
    for wrong in (6, 99, -7):
        with pytest.raises(ConfigError, match=rf"by its name or its position, from 0 to 5; got {wrong}\.$"):
            whole.run(wrong)
    said = outside(
        f"""
        import interp
        for wrong in (2.5, None, True):
            try:
                interp.load_sweep({str(whole.path)!r}).run(wrong)
            except interp.ConfigError as error:
                print(error)
        """
    )
    known = f"A run of {whole.path} is known by its name or its position, from 0 to 5"
    assert said.splitlines() == [f"{known}; got {wrong}." for wrong in ("2.5", "None", "True")]


def test_two_workers_make_what_one_makes(whole, tmp_path):
    two = interp.sweep(
        {**TINY, "weight_decay": [0.5, 1.0], "seed": [0, 1, 2]}, tmp_path / "two", workers=2, progress=False
    )
    same(two.table, whole.table)
    for position in range(6):
        one, other = whole.run(position)[-1].weights, two.run(whole.table["run"][position])[-1].weights
        assert all(torch.equal(one[name], other[name]) for name in one)


def test_three_shares_make_what_one_command_makes(whole, tmp_path):
    """In any order, as an array of jobs runs them."""
    grid = settings({**TINY, "weight_decay": [0.5, 1.0], "seed": "0:3"})
    for share in ("3/3", "1/3", "2/3"):
        done = shell("sweep", tmp_path / "shares", *grid, "--workers", 1, "--share", share)
        assert done.returncode == 0, done.stderr
    assert "6 runs" in done.stdout
    same(interp.load_sweep(tmp_path / "shares").table, whole.table)


def test_the_same_call_does_nothing_more_and_another_does_what_is_new(whole, here, tmp_path):
    path = tmp_path / "grown"
    first = interp.sweep({**TINY, "seed": [0, 1]}, path, progress=False, workers=1)
    written = {file: file.stat().st_mtime_ns for file in path.rglob("*.safetensors")}
    interp.sweep({**TINY, "seed": [0, 1]}, path, progress=False, workers=1)
    assert {file: file.stat().st_mtime_ns for file in path.rglob("*.safetensors")} == written
    more = interp.sweep({**TINY, "weight_decay": [0.5, 1.0], "seed": [0, 1, 2]}, path, progress=False, workers=1)
    same(more.table, whole.table)
    assert {file: file.stat().st_mtime_ns for file in written} == written
    longer = interp.sweep({**TINY, "seed": [0, 1], "steps": 10}, path, progress=False, workers=1)
    assert len(longer) == 6
    extended = longer.table.set_index("run").loc[first.table["run"]]
    assert extended["last_step"].tolist() == [10, 10]
    unstopped = interp.train(
        TrainConfig(**{**TINY, "steps": 10, "checkpoint_steps": (0,)}), tmp_path / "one", progress=False
    )
    assert torch.equal(longer.run(first.table["run"][0])[-1].weights["W_E"], unstopped[-1].weights["W_E"])
    with pytest.raises(ConfigError, match="a sweep of 6 other runs, none of which is asked for here"):
        interp.sweep({**TINY, "p": 7}, path, progress=False)
    added = interp.sweep({**TINY, "p": 7}, path, progress=False, workers=1, add=True)
    assert len(added) == 7


def test_a_table_that_was_shipped_alone_counts_as_done_and_one_that_is_gone_is_made_again(whole, here, tmp_path):
    table = whole.path / "results.parquet"
    alone = tmp_path / "alone"
    alone.mkdir()
    (alone / "results.parquet").write_bytes(table.read_bytes())
    shipped = interp.load_sweep(alone)
    same(shipped.table, whole.table)
    with pytest.raises(CheckpointError, match="only this run's row of the table was kept"):
        shipped.run(0)
    grid = {**TINY, "weight_decay": [0.5, 1.0], "seed": [0, 1, 2, 3]}
    more = interp.sweep(grid, alone, progress=False, workers=1)
    assert len(more) == 8
    assert len(list(alone.glob("runs/*/*"))) == 2  # seed 3 alone was trained
    kept = table.read_bytes()
    table.unlink()
    same(interp.load_sweep(whole.path).table, whole.table)
    table.write_bytes(b"garbage")
    same(interp.load_sweep(whole.path).table, whole.table)
    table.write_bytes(kept)


@pytest.mark.parametrize("what", ["a run", "papers", "newer", "file"])
def test_a_directory_of_something_else_is_refused(tmp_path, small_run_path, what):
    path = tmp_path / "place"
    if what == "a run":
        path = small_run_path
    elif what == "file":
        path.touch()
    else:
        path.mkdir()
        name, content = (
            ("sweep.json", {"format": "interp-sweep", "format_version": 9}) if what == "newer" else ("a.tex", {})
        )
        (path / name).write_text(json.dumps(content))
    before = sorted(path.rglob("*"))
    with pytest.raises(CheckpointError, match=r"holds no sweep|format 9|is a file"):
        interp.sweep({**TINY}, path, progress=False)
    assert sorted(path.rglob("*")) == before


# ── kills, stops, owners ─────────────────────────────────────────────────────────────────────────────────────────


def wait_for(condition, process, seconds: float = 120) -> None:
    begun = time.monotonic()
    while not condition():
        assert process.poll() is None, "the sweep ended too early"
        assert time.monotonic() - begun < seconds
        time.sleep(0.01)


def workers_of(process) -> list[int]:
    """The worker processes of a sweep, which are its children."""
    found = []
    for about in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, parent = about.read_text().rpartition(")")[2].split()[:2]
        except OSError:
            continue
        if int(parent) == process.pid and state != "Z":
            found.append(int(about.parent.name))
    return found


@pytest.fixture(scope="module")
def slow(tmp_path_factory) -> interp.Sweep:
    """Three runs without a stop."""
    path = tmp_path_factory.mktemp("sweeps") / "slow"
    done = shell("sweep", path, *settings({**SLOW, "seed": [0, 1, 2]}), "--workers", 1)
    assert done.returncode == 0, done.stderr
    return interp.load_sweep(path)


def test_a_worker_that_is_killed_is_replaced_and_its_run_resumes(slow, tmp_path):
    path = tmp_path / "killed"
    process = Started("interp", "sweep", path, *settings({**SLOW, "seed": [0, 1, 2]}), "--workers", 1)
    wait_for(lambda: list(path.glob("runs/*/*/checkpoints/step_00000000.safetensors")), process)
    (worker,) = workers_of(process)
    os.kill(worker, signal.SIGKILL)
    assert process.wait() == 0
    same(interp.load_sweep(path).table, slow.table)


def test_a_sweep_that_is_stopped_saves_what_runs_and_goes_on(slow, tmp_path):
    """By Ctrl-C, by a scheduler's SIGTERM, and then not at all."""
    path = tmp_path / "stopped"
    words = ["sweep", path, *settings({**SLOW, "seed": [0, 1, 2]}), "--workers", 2]
    for begun, signum in ((2, signal.SIGINT), (3, signal.SIGTERM)):
        process = Started("interp", *words)
        wait_for(lambda: len(list(path.glob("runs/*/*/checkpoints/step_00000000.safetensors"))) >= begun, process)  # noqa: B023
        workers = workers_of(process)
        assert len(workers) == 2
        process.send_signal(signum)
        assert process.wait() == 130
        said = process.stderr()
        assert "Stopped; all that ran is saved. The same command goes on." in said
        assert "Traceback" not in said
        assert not any(Path(f"/proc/{worker}").exists() for worker in workers)
        assert not list(path.glob(f"runs/*/*/{OWNER}"))
    done = shell(*words)
    assert done.returncode == 0, done.stderr
    same(interp.load_sweep(path).table, slow.table)


def test_two_hundred_runs_stopped_five_times_are_two_hundred_rows(tmp_path):
    """Killed with all its workers, at any moment; at the end nothing is missing and nothing is there twice."""
    path = tmp_path / "many"
    words = ["sweep", path, *settings({**TINY, "steps": 2, "seed": "0:200"}), "--workers", 2]
    for ended in range(1, 6):
        process = Started("interp", *words)
        wait_for(lambda: len(list(path.glob("runs/*/*/result.json"))) >= 30 * ended, process)  # noqa: B023
        for worker in workers_of(process):
            os.kill(worker, signal.SIGKILL)
        process.kill()
        process.wait()
    done = shell(*words)
    assert done.returncode == 0, done.stderr
    table = interp.load_sweep(path).table
    assert len(table) == table["run"].nunique() == 200
    assert table["seed"].tolist() == list(range(200))
    assert table["error"].isna().all()
    assert set(table["last_step"]) == {2}


def test_memory_does_not_grow_with_the_number_of_runs(tmp_path):
    """One process does 60 runs; the peak after the last is that after the tenth, to 20 MB."""
    said = outside(
        f"""
        import resource
        from pathlib import Path
        from interp import TrainConfig
        from interp.sweeps.jobs import Job, perform
        peaks = []
        for seed in range(60):
            config = TrainConfig(p=11, d_model=32, n_heads=2, d_mlp=64, steps=4, seed=seed)
            assert perform(Job(config, Path({str(tmp_path)!r}, str(seed)), threads=1)) == "done"
            peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
        print(peaks[-1] - peaks[9])
        """,
        fresh=True,
    )
    assert float(said) < 20


def test_a_run_that_another_holds_is_not_touched_and_not_failed(tmp_path):
    folder = tmp_path / "run"
    job = Job(TrainConfig(**TINY), folder, threads=1)
    holder = subprocess.Popen(
        [sys.executable, "-c", f"""
import time
from pathlib import Path
from interp.sweeps.owners import owning
with owning(Path({str(folder)!r})):
    print("mine", flush=True)
    time.sleep(600)
"""], stdout=subprocess.PIPE, text=True, cwd=ROOT)  # fmt: skip
    assert holder.stdout.readline() == "mine\n"
    assert perform(job) == "held"
    assert read_result(folder) is None
    assert not (folder / "config.json").exists()
    holder.kill()
    holder.wait()
    assert (folder / OWNER).exists()  # left behind, by a process that is gone
    assert perform(job) == "done"
    assert not (folder / OWNER).exists()


def test_an_owner_on_another_host_counts_until_five_minutes_without_a_beat(tmp_path, monkeypatch):
    """Its lock is not seen here, as on a disk whose locks hold on one node only."""
    other = {"host": "elsewhere", "process": 1, "started": "7", "job": "12", "token": "theirs"}
    owners._write(tmp_path, other)
    with pytest.raises(Held), owning(tmp_path):
        pass
    assert json.loads((tmp_path / OWNER).read_text()) == other
    old = time.time() - owners.STALE - 5
    os.utime(tmp_path / OWNER, (old, old))
    with owning(tmp_path):
        assert json.loads((tmp_path / OWNER).read_text())["process"] == os.getpid()
    owners._write(tmp_path, other)
    with owning(tmp_path, token="theirs"):  # an earlier try of the same job, whose node died
        pass
    monkeypatch.setattr(owners, "_BEAT", 0.05)
    with owning(tmp_path):
        os.utime(tmp_path / OWNER, (old, old))
        time.sleep(0.5)
        assert time.time() - (tmp_path / OWNER).stat().st_mtime < 5


# ── how a run ends ───────────────────────────────────────────────────────────────────────────────────────────────

# One test pair of 25, which is answered right some steps after the train pairs.
GROKS = {"p": 5, "train_fraction": 0.96, "d_model": 16, "n_heads": 1, "d_mlp": 32, "learning_rate": 0.01, "steps": 300,
         "history_every": 2, "seed": 5}  # fmt: skip


def test_a_run_ends_when_it_has_generalized_and_is_finished_then(here, tmp_path):
    path = tmp_path / "early"
    early = interp.sweep({**GROKS}, path, stop_when="generalized+0", threshold=0.9, workers=1, progress=False)
    (row,) = early.table.to_dict("records")
    assert row["last_step"] == row["stopped"] == row["generalized"] < 300
    assert row["lasted"] is None  # which nobody has seen yet
    assert not row["censored"]
    assert row["grokking_delay"] == row["generalized"] - row["memorized"]
    written = (early.folder(0) / "result.json").stat().st_mtime_ns
    interp.sweep({**GROKS}, path, stop_when="generalized+0", threshold=0.9, workers=1, progress=False)
    assert (early.folder(0) / "result.json").stat().st_mtime_ns == written
    later = interp.sweep({**GROKS}, path, stop_when="generalized+30", threshold=0.9, workers=1, progress=False)
    assert later.table["last_step"][0] == row["generalized"] + 30
    assert later.table["generalized"][0] == row["generalized"]


def test_a_run_goes_on_for_a_tenth_of_the_steps_and_says_whether_accuracy_lasted(here, tmp_path):
    found = interp.sweep({**GROKS}, tmp_path, stop_when="generalized", threshold=0.9, workers=1, progress=False)
    (row,) = found.table.to_dict("records")
    until = 1.1 * row["generalized"]
    assert until <= row["last_step"] < until + 2  # the rows of its history are two steps apart
    assert row["lasted"] is True
    assert (row["test_pairs"], row["errors_allowed"], row["phase_rules"]) == (1, 0, 2)
    assert row["generalized_95"] == row["generalized"]  # of one test pair


def test_how_many_errors_a_threshold_allows():
    """The fraction 0.8 of p = 13, 23 and 59 leaves 34, 106 and 697 test pairs."""
    rows = {n: allowed(n, 0.99)["errors_allowed"] for n in (34, 106, 697, 100, 99)}
    assert rows == {34: 0, 106: 1, 697: 6, 100: 1, 99: 0}
    for n, errors in rows.items():
        assert (n - errors) / n >= 0.99 > (n - errors - 1) / n
    assert allowed(20, 0.95)["errors_allowed"] == 1


def test_results_by_earlier_rules_are_read_again_or_lose_what_changed(here, tmp_path):
    found = interp.sweep({**GROKS}, tmp_path, stop_when="generalized+30", threshold=0.9, workers=1, progress=False)
    (row,) = found.table.to_dict("records")
    file = found.folder(0) / "result.json"
    now = json.loads(file.read_text())
    new = ("phase_rules", "lasted", "cleanup_after", "memorized_95", "generalized_95", "test_pairs", "errors_allowed")
    old = {name: value for name, value in now.items() if name not in new} | {"cleanup_end": row["last_step"]}
    file.write_text(json.dumps(old))
    (again,) = interp.load_sweep(tmp_path).table.to_dict("records")
    pd.testing.assert_series_equal(pd.Series(again, dtype=object), pd.Series(row, dtype=object))
    frame = pd.read_parquet(tmp_path / "results.parquet").drop(columns=list(new)).assign(cleanup_end=row["last_step"])
    alone = tmp_path / "shipped"
    alone.mkdir()
    frame.to_parquet(alone / "results.parquet")
    (lost,) = interp.load_sweep(alone).table.to_dict("records")
    for name in ("memorized", "generalized", "grokking_delay", "censored", "test_pairs", "errors_allowed", "run"):
        assert lost[name] == row[name]
    assert pd.isna([lost[name] for name in ("cleanup_end", "circuit_formation_end", "dips", "generalized_95")]).all()
    assert (lost["phase_rules"], lost["lasted"]) == (1, None)


@pytest.mark.parametrize(
    ("after", "lasted"),
    [
        ([1, 0.9, 0.95, 1], True),  # a fall is under 0.9
        ([1, 0.89, 1, 1], False),
        ([1, 0.5, 0.5, 0.5], False),
        ([1, 1], None),  # only half of a tenth was watched
        ([1, 1, 1, 0.5], True),  # the fall came later
    ],
)
def test_accuracy_lasts_if_it_does_not_fall_within_a_tenth_of_the_steps(after, lasted):
    history = pd.DataFrame({"step": np.arange(100 + 5 * len(after), step=5)})
    history["test_accuracy"] = [0.0] * 20 + after
    assert interp.phases(history).generalized == 100
    assert interp.phases(history).lasted() is lasted


def test_a_run_that_fails_is_recorded_and_the_others_go_on(here, tmp_path):
    """A loss that is no longer finite would be so again; a device that is missing may be there next time."""
    configs = [
        TrainConfig(**TINY),
        TrainConfig(**{**TINY, "learning_rate": 1e30, "weight_decay": 0.0, "warmup_steps": 0}),
        TrainConfig(**{**TINY, "seed": 1, "device": "cuda:7"}),
    ]
    with pytest.warns(UserWarning, match="failed") as said:
        done = interp.sweep(configs, tmp_path, progress=False)
    assert len(said) == 2
    table = done.table.set_index("run")
    assert table.loc[run_id(configs[0]), "error"] is None or pd.isna(table.loc[run_id(configs[0]), "error"])
    assert "no longer finite" in table.loc[run_id(configs[1]), "error"]
    assert "device must be one that this machine has" in table.loc[run_id(configs[2]), "error"]
    assert [run.config.seed for run in done.runs()] == [0]  # the one that ended
    again = interp.sweep(
        [configs[0], configs[1], replace(configs[2], device="cpu")], tmp_path, workers=1, progress=False
    )
    assert again.table["error"].notna().sum() == 1
    assert "2 generalized" not in repr(again)
    assert "1 failed" in repr(again)


def test_stop_is_read_and_written():
    assert Stop.parsed("generalized") == Stop(None)
    assert Stop.parsed("generalized + 500") == Stop(500)
    assert [str(Stop(more)) for more in (None, 0, 500)] == ["generalized", "generalized+0", "generalized+500"]
    assert [Stop(more).last_step(525) for more in (None, 0, 500)] == [578, 525, 1_025]  # by default a tenth more
    assert Stop.parsed(None) is None
    for wrong in ("generalized+", "generalized-5", "grokked", ""):
        with pytest.raises(ConfigError, match="stop_when must be generalized"):
            Stop.parsed(wrong)


def test_a_job_is_the_same_after_its_line():
    config = TrainConfig(**TINY, split=np.arange(10), checkpoint_steps=(0, 3), seed=5)
    job = Job(config, Path("/x/y"), Stop(5), 0.9, 2, "abc", "token")
    assert Job.of_line(job.line()) == job


def test_a_dry_run_lists_the_runs_and_their_time_and_writes_nothing(whole, tmp_path):
    path = tmp_path / "none"
    done = shell("sweep", path, *settings({**TINY, "seed": "0:3"}), "--dry-run")
    assert done.returncode == 0, done.stderr
    assert "3 runs, 0 of them done" in done.stdout
    assert not path.exists()
    found = estimate({**TINY, "weight_decay": [0.5, 1.0], "seed": [0, 1, 2, 3]}, whole.path, workers=2)
    assert found.runs["done"].sum() == 6
    left = found.runs.loc[~found.runs["done"], "seconds"]
    assert (left > 0).all()
    assert found.seconds == pytest.approx(left.sum() / 2)


# ── what ships ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_fast_preset_memorizes_and_then_generalizes(tmp_path):
    """Seed 3, until it generalizes and a tenth longer, within twice the bounds of the 120 runs that were tried."""
    words = ["--preset", "fast", "--set", "seed=3", "--stop-when", "generalized", "--workers", 1]
    done = shell("sweep", tmp_path / "sweep", *words)
    assert done.returncode == 0, done.stderr
    (run,) = interp.load_sweep(tmp_path / "sweep").runs()
    found = interp.phases(run.history)
    assert found.memorized <= 2 * 80
    assert 310 / 2 <= found.generalized <= 2 * 1_910
    assert found.generalized >= 3 * found.memorized
    assert found.lasted()
    done = shell("train", tmp_path / "run", "--preset", "fast", "--seed", 3, "--steps", 1)
    assert done.returncode == 0, done.stderr
    assert interp.load_run(tmp_path / "run").config == replace(run.config, steps=1, checkpoint_steps=None)
    assert run.config.steps == 4_000
    assert "preset must be fast; got 'slow'" in shell("train", tmp_path / "x", "--preset", "slow").stderr


NEW = {"muon_learning_rate", "muon_factor", "orthogonal_rescaled", "grokfast_start"}


def test_a_new_sweep_in_an_old_directory_leaves_runs_that_were_trained_otherwise(here, tmp_path):
    """Of AdamW the old run is the new one; Muon and Grokfast now do something else, unless the old is asked for."""
    path = tmp_path / "sweep"
    wide = TINY | {"d_mlp": 16}  # else all matrices are square, whose factors are 1
    grids = [wide, wide | {"optimizer": "muon"}, wide | {"grokfast": 1.0}]
    before = [{}, {"muon_factor": "rows/columns"}, {"grokfast_start": "zero"}]
    old = [grid | then for grid, then in zip(grids, before, strict=True)]
    interp.sweep(old, path, progress=False)
    for file in path.glob("runs/*/*/*.json"):  # as a version wrote them that had none of these settings
        content = json.loads(file.read_text())
        key = "settings" if file.name == "result.json" else "training"
        content[key] = {name: value for name, value in content[key].items() if name not in NEW}
        file.write_text(json.dumps(content))
    (path / "results.parquet").unlink()
    read = interp.load_sweep(path).table
    assert set(read["run"]) == {run_id(TrainConfig(**one)) for one in old}
    factors = dict(zip(read["optimizer"], read["muon_factor"], strict=True))
    assert factors == {"adamw": "out/in", "muon": "rows/columns"}
    assert read.set_index("grokfast")["grokfast_start"].to_dict() == {0.0: "first_gradient", 1.0: "zero"}

    files = {file: file.read_bytes() for file in path.glob("runs/*/*/*.safetensors")}
    table = interp.sweep(grids, path, progress=False).table
    assert len(table) == 5
    assert all(file.read_bytes() == content for file, content in files.items())
    assert set(table.loc[table["optimizer"] == "muon", "muon_factor"]) == {"out/in", "rows/columns"}
    assert set(table.loc[table["grokfast"] > 0, "grokfast_start"]) == {"first_gradient", "zero"}
    assert table.loc[table["optimizer"] == "muon", "train_loss"].nunique() == 2
    assert sorted(moved(table)["setting"]) == [
        "", "grokfast=1", "grokfast=1, grokfast_start=zero",
        "optimizer=muon", "optimizer=muon, muon_factor=rows/columns",
    ]  # fmt: skip

    longer = interp.sweep([one | {"steps": 8} for one in old], path, progress=False).table  # these go on as they began
    assert len(longer) == 5
    assert set(longer.loc[longer["last_step"] == 8, "run"]) == set(read["run"])
    whole = interp.train(TrainConfig(**old[1] | {"steps": 8}), tmp_path / "whole", progress=False)
    found = longer[longer["muon_factor"] == "rows/columns"]
    assert found["train_loss"].tolist() == [whole.history["train_loss"].iloc[-1]]


def test_runs_of_before_have_the_names_that_they_had():
    """Hashes as the version before these settings gave them."""
    assert run_id(TrainConfig(seed=3)) == "1391dc1f10fa3343"
    assert run_id(TrainConfig(optimizer="muon", muon_factor="rows/columns")) == "e1ec9394bf1507f6"
    assert run_id(TrainConfig(grokfast=2.0, grokfast_start="zero")) == "ba73f32a237afd05"
    today = TrainConfig(optimizer="muon")
    assert (
        run_id(today) == run_id(replace(today, muon_learning_rate=1e-3)) != run_id(replace(today, muon_learning_rate=1))
    )


def test_the_shipped_table_says_by_which_rules_muon_and_grokfast_were_trained():
    file = ROOT / "checkpoints" / "settings-mod23" / "results.parquet"
    for table in (pd.read_parquet(file), interp.load_sweep(file.parent).table):
        muon, fast = table["optimizer"] == "muon", table["grokfast"] > 0
        assert (muon.sum(), fast.sum()) == (45, 40)
        assert set(table.loc[muon, "muon_factor"]) == {"rows/columns"}
        assert set(table.loc[fast, "grokfast_start"]) == {"zero"}
        assert set(table.loc[~muon, "muon_factor"]) == {TrainConfig().muon_factor}
        assert set(table.loc[~fast, "grokfast_start"]) == {TrainConfig().grokfast_start}


def test_a_table_from_before_a_setting_has_its_default():
    table = interp.load_sweep(ROOT / "checkpoints" / "delay-mod23").table
    default = TrainConfig()
    assert set(table["optimizer"]) == {default.optimizer}
    assert set(table["dropout"]) == {0.0}
    assert set(table["fixed_norm"]) == {False}
    assert table["network"].isna().all()
