"""Sweeps: steps a second by workers and threads, the cost of a run beside its training, and of a table of many runs."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from interp import TrainConfig, sweep
from interp.runs.settings import PRESETS
from interp.sweeps.grid import run_id
from interp.sweeps.jobs import RESULT, Job, folder_of, perform, read_result, write_result
from interp.sweeps.running import seconds_a_step
from interp.sweeps.table import Table, open_sweep

STEPS = {23: 400, 59: 200, 113: 60}
ROWS = (1_000, 10_000)


def main() -> None:
    print("  steps a second of all runs together; the rate of runs an hour follows from their steps")
    for p, steps in STEPS.items():
        for busy in (False, True):
            found = {(w, t): _rate(p, steps, w, t, busy) for w, t in ((1, 1), (1, 2), (2, 1))}
            said = "  ".join(f"{w} worker{'s' * (w > 1)} of {t}: {rate:,.0f}" for (w, t), rate in found.items())
            print(f"  p = {p:<4} {'beside a busy process' if busy else 'alone':22} {said}")
    _overhead()
    for number in ROWS:
        _table(number)
    _head()


def _rate(p: int, steps: int, workers: int, threads: int, busy: bool) -> float:
    """Return the training steps a second of several runs at once, after their workers have started."""
    config = TrainConfig(p=p, train_fraction=0.5, steps=steps, checkpoint_steps=(0,))
    other = subprocess.Popen([sys.executable, "-c", "while True: pass"]) if busy else None
    try:
        with tempfile.TemporaryDirectory() as folder:
            configs = [replace(config, seed=seed) for seed in range(2 * workers)]
            sweep(configs, folder, workers=workers, threads=threads, progress=False)
            results = [read_result(folder_of(Path(folder), one)) or {} for one in configs]
            seconds = sum(float(result["seconds"]) for result in results)
        return len(configs) * steps * workers / seconds
    finally:
        if other:
            other.kill()
            other.wait()


def _overhead() -> None:
    """Print the cost of a run beside its steps: claiming, saving, measuring and writing its result."""
    config = TrainConfig(**PRESETS["fast"] | {"steps": 20})
    step = seconds_a_step(config, 1)
    with tempfile.TemporaryDirectory() as folder:
        begun = time.perf_counter()
        for seed in range(10):
            one = replace(config, seed=seed)
            perform(Job(one, folder_of(Path(folder), one), threads=1))
        each = (time.perf_counter() - begun) / 10
    print(f"  a run of 20 steps of p = 23: {each * 1e3:.0f} ms, of which {20 * step * 1e3:.0f} ms are its steps")


def _table(number: int) -> None:
    """Print the cost of the table of many results: made from their directories, and made again with one new result."""
    with tempfile.TemporaryDirectory() as place:
        folder = open_sweep(Path(place) / "sweep", make=True)
        first = TrainConfig(**PRESETS["fast"] | {"steps": 4})
        perform(Job(first, folder_of(folder, first), threads=1))
        content = read_result(folder_of(folder, first))
        assert content is not None
        for seed in range(1, number):
            config = replace(first, seed=seed)
            settings = {**content["settings"], "seed": seed}
            target = folder_of(folder, config)
            target.mkdir(parents=True)
            (target / RESULT).write_text(json.dumps({**content, "run": run_id(config), "settings": settings}))
        times = []
        for again in range(2):
            table = Table(folder)
            if again:
                write_result(folder_of(folder, first), content)
            begun = time.perf_counter()
            table.write()
            times.append(time.perf_counter() - begun)
        size = (folder / "results.parquet").stat().st_size
    print(f"  table of {number:,} runs: {times[0]:.2f} s at first, {times[1]:.2f} s with one new result; "
          f"{size / number:.0f} bytes a row")  # fmt: skip


def _head() -> None:
    """Print the cost of a run to the head of a Ray cluster, with as many runs under way as on 50 nodes of 16 cores.

    The runs under way are tasks that wait for a resource that no node has; those that end are empty.
    """
    import ray

    under_way, ends = 2 * 50 * 16, 500
    job = Job(TrainConfig(**PRESETS["fast"] | {"steps": 4}), Path("run"))
    ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False, logging_level="error")
    try:
        waiting = ray.remote(_line_of).options(resources={"nowhere": 1})
        empty = ray.remote(_line_of).options(num_cpus=0)
        ray.get(empty.remote("first"))
        begun = time.perf_counter()
        running = [waiting.remote(job.line()) for _ in range(under_way)]
        submit = (time.perf_counter() - begun) / under_way
        taken = 0.0
        for _ in range(ends):
            running.append(empty.remote(job.line()))
            ray.wait(running[-1:], num_returns=1)  # it has ended
            begun = time.perf_counter()
            ended, _ = ray.wait(running, num_returns=1, timeout=1.0)
            running.remove(ended[0])
            ray.get(ended[0])
            taken += time.perf_counter() - begun
    finally:
        ray.shutdown()
    each = submit + taken / ends
    print(
        f"  head of a Ray cluster, {under_way:,} runs under way: {submit * 1e3:.1f} ms to submit a run and "
        f"{taken / ends * 1e3:.1f} ms to see its end, so {1 / each:,.0f} runs a second at most"
    )


def _line_of(line: str) -> str:
    return line
