"""Threads: one for small work, the caller's number restored, jobs side by side as if one after another."""

import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace

import pandas as pd
import pytest
import torch
from threadpoolctl import threadpool_info, threadpool_limits

from interp import ConfigError, TrainConfig, progress_measures, train, trajectory
from interp.linear import digits, two_layer
from interp.utils.threads import for_network, on, side_by_side, wait_passively, wanted
from tests.conftest import SMALL
from tests.processes import ROOT, outside


@pytest.fixture
def three_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def seen(monkeypatch) -> list[int]:
    """The numbers of threads that are set, in order."""
    numbers: list[int] = []
    set_them = torch.set_num_threads
    monkeypatch.setattr(torch, "set_num_threads", lambda number: (numbers.append(number), set_them(number)))
    return numbers


def test_the_mainline_keeps_the_threads_of_the_caller_and_small_networks_run_on_one(three_threads):
    assert for_network(3_830, 512, 114) == 3  # p = 113
    assert for_network(158, 512, 24) == 1  # p = 23
    assert for_network(158, 512, 24, threads=2) == 2
    assert for_network(3_830, 512, 114, threads=1) == 1


@pytest.mark.parametrize(("threads", "used"), [(None, 1), (2, 2)])
def test_a_small_training_runs_on_its_threads_and_the_callers_number_is_back(
    three_threads, seen, tmp_path, threads, used
):
    train(SMALL, tmp_path / "run", progress=False, threads=threads)
    assert seen == [used, 3]
    assert torch.get_num_threads() == 3


def test_the_mainlines_training_runs_on_the_callers_threads(three_threads, seen, tmp_path):
    train(TrainConfig(steps=1, checkpoint_steps=(1,)), tmp_path / "run", progress=False)
    assert seen == [3, 3]


def test_a_training_that_fails_restores_the_callers_threads_too(three_threads, tmp_path):
    train(SMALL, tmp_path / "run", progress=False)
    with pytest.raises(ConfigError, match=r"steps must be at least 60, where .* stands; got 40"):
        train(replace(SMALL, steps=40, checkpoint_steps=None), tmp_path / "run", resume=True, progress=False)
    assert torch.get_num_threads() == 3


@pytest.mark.parametrize("wrong", [0, -1, True])
def test_a_number_of_threads_that_cannot_be_is_refused_before_anything_is_written(tmp_path, wrong):
    with pytest.raises(ConfigError, match="threads must be a whole number of at least 1"):
        train(SMALL, tmp_path / "run", threads=wrong)
    assert not (tmp_path / "run").exists()


def test_networks_side_by_side_are_bit_for_bit_those_trained_one_after_another(three_threads):
    """Twelve students of two shapes fill three batches; the digits come in five widths and samples."""
    students = [two_layer.TwoLayer(n=20, d=4, width=w, seed=s) for w in (10, 20) for s in range(9)]
    frames = [
        two_layer.trajectories(students, steps=150, records=20, progress=False, threads=threads) for threads in (1, 3)
    ]
    pd.testing.assert_frame_equal(*frames, check_exact=True)
    assert sorted(frames[0]["run"].unique()) == list(range(18))
    frames = [
        digits.train_digits((2, 40, 8), (50, 90), epochs=30, seeds=2, progress=False, threads=threads)
        for threads in (1, 3)
    ]
    pd.testing.assert_frame_equal(*frames, check_exact=True)
    order = [(50, 2), (50, 40), (50, 8), (90, 2), (90, 40), (90, 8)]
    assert list(frames[0][["samples", "width"]].drop_duplicates().itertuples(index=False, name=None)) == order
    assert torch.get_num_threads() == 3


def test_jobs_run_at_the_same_time_each_on_one_thread():
    """Each of two jobs waits for the other: one after another they would wait for ever."""
    both = threading.Barrier(2, timeout=30)
    used: list[int] = []

    def job():
        both.wait()
        used.append(torch.get_num_threads())
        yield 2

    done: list[int] = []
    side_by_side([job(), job()], 2, done.append)
    assert used == [1, 1]
    assert done == [2, 4]


def test_of_contexts_that_overlap_the_last_one_restores_the_callers_number(three_threads):
    """As where two trainings run in threads of their own: the second begins while the first has set its number."""
    first, second = on(1), on(2)
    first.__enter__()
    second.__enter__()
    assert wanted(None) == 3  # what the caller has, not what the first has set
    first.__exit__(None, None, None)
    second.__exit__(None, None, None)
    assert torch.get_num_threads() == wanted(None) == 3


def test_numpy_computes_the_jobs_on_one_thread_too():
    def blas() -> list[int]:
        return [each["num_threads"] for each in threadpool_info() if each["user_api"] == "blas"]

    def job():
        used.extend(blas())
        yield 1

    used: list[int] = []
    with threadpool_limits(2, "blas"):
        before = blas()
        side_by_side([job(), job()], 2)
        assert blas() == before
    assert used == [1] * len(used)
    assert len(used) == 2 * len(before) > 0


@pytest.mark.parametrize("threads", [1, 2])
def test_the_first_error_ends_all_jobs(threads):
    steps: list[int] = []

    def fails():
        yield 1
        raise ConfigError("no more")

    def endless():
        while True:
            time.sleep(0.001)
            steps.append(1)
            yield 1

    with pytest.raises(ConfigError, match="no more"):
        side_by_side([fails(), endless(), endless()], threads)
    stopped = len(steps)
    time.sleep(0.1)
    assert len(steps) == stopped


def test_threads_wait_passively_unless_the_user_chose(monkeypatch):
    for name in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME"):
        monkeypatch.delenv(name, raising=False)
    wait_passively()
    assert os.environ["OMP_WAIT_POLICY"] == "PASSIVE"
    monkeypatch.setenv("OMP_WAIT_POLICY", "active")
    wait_passively()
    assert os.environ["OMP_WAIT_POLICY"] == "active"
    monkeypatch.delenv("OMP_WAIT_POLICY")
    monkeypatch.setenv("GOMP_SPINCOUNT", "1000")
    wait_passively()
    assert "OMP_WAIT_POLICY" not in os.environ


@pytest.mark.parametrize("module", ["interp", "analyses", "benchmarks"])
def test_commands_choose_it_before_torch_is_loaded(module):
    """OpenMP reads the choice when torch loads it, so that later ones do not count."""
    told = outside(
        f"""
        import os, runpy, sys
        os.environ.pop("OMP_WAIT_POLICY", None)

        class Watch:
            def find_spec(self, name, path=None, target=None):
                if name == "torch":
                    print("torch", os.environ.get("OMP_WAIT_POLICY"))
                    sys.exit()

        sys.meta_path.insert(0, Watch())
        words = {{"analyses": ["--run", "nowhere", "phases"], "interp": ["list-measures"], "benchmarks": []}}
        sys.argv = ["{module}", *words["{module}"]]
        runpy.run_module("{module}", run_name="__main__")
        """,
        fresh=True,
    )
    assert told == "torch PASSIVE\n"


@pytest.mark.parametrize("module", ["interp", "analyses"])
def test_ctrl_c_while_torch_is_loaded_is_one_word(module, tmp_path):
    """A stand-in for torch sends the signal in the middle of its own import."""
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch" / "__init__.py").write_text(
        "import os, signal, time\nos.kill(os.getpid(), signal.SIGINT)\ntime.sleep(30)\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", module, *(["measure", "x"] if module == "interp" else ["phases"])],
        capture_output=True, text=True, cwd=ROOT, timeout=300,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a job in the background ignores it
    )  # fmt: skip
    assert (done.stderr, done.stdout) == ("Interrupted.\n", "")
    assert done.returncode == 128 + signal.SIGINT


def test_the_version_is_told_without_torch():
    told = outside(
        """
        import sys
        sys.modules["torch"] = None  # whose import then fails
        sys.argv = ["interp", "--version"]
        from interp.__main__ import main
        main()
        """,
        fresh=True,
    )
    assert told.startswith("interp ")


@pytest.mark.parametrize(
    "arguments", [("--version",), ("measure", "RUN", "--all", "--json"), ("measure", "RUN"), ("phases", "RUN")]
)
def test_a_reader_that_leaves_ends_a_command_quietly(small_run_path, arguments):
    """The pipe is closed before anything is written, as by `| true`."""
    given = [str(small_run_path) if word == "RUN" else word for word in arguments]
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-m", "interp", *given],
        stdout=writing,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        timeout=300,
    )
    os.close(writing)
    assert (done.returncode, done.stderr) == (1, "")


def test_measures_of_a_small_network_run_on_one_thread(three_threads, seen, small_run_path):
    """And those of every checkpoint of its run; `threads` says otherwise."""
    progress_measures(small_run_path)
    trajectory(small_run_path, refresh=True, progress=False, threads=2)
    assert seen == [3, 1, 3, 3, 2, 1, 2, 3]  # as it is, the number chosen (each checkpoint on one), back twice
    assert torch.get_num_threads() == 3
