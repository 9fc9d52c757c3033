"""The time of some work, alone and beside one busy process: by torch's default, and by that of interp.

It takes some minutes, and runs only when it is named: `python -m benchmarks busy`. Each time is that of a separate
process, since OpenMP reads how its threads wait when it is loaded. "torch's default" uses all threads, which spin while
they wait; "passive" uses all threads, which sleep; "interp" is the default of the shell.
"""

from __future__ import annotations

import contextlib
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

RUN = "checkpoints/mod113-seed0"
ROUNDS = 3

_WAITS = {"torch's default": {}, "passive": {"OMP_WAIT_POLICY": "PASSIVE"}, "interp": {"OMP_WAIT_POLICY": "PASSIVE"}}
_POLICIES = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME", "OMP_NUM_THREADS")

# Each prints the median seconds of some work; `threads` is None if interp decides.
_STEP = """
import pathlib, statistics, tempfile, time
import interp, torch
config = interp.TrainConfig(p=23, steps=150, history_every=150, checkpoint_steps=(150,))
seconds = []
for turn in range(3):
    with tempfile.TemporaryDirectory() as folder:
        begun = time.perf_counter()
        interp.train(config, pathlib.Path(folder) / "run", progress=False, threads={threads})
        seconds.append((time.perf_counter() - begun) / 150)
print(statistics.median(seconds))
"""
_MEASURES = """
import statistics, time
import interp, torch
checkpoint = interp.load_run({run!r})[-1]
keys = interp.progress_measures(checkpoint).key_frequencies
seconds = []
for turn in range(7):
    begun = time.perf_counter()
    interp.progress_measures(checkpoint, key_frequencies=keys, threads={threads})
    seconds.append(time.perf_counter() - begun)
print(statistics.median(seconds))
"""
_NETWORKS = """
import time
import torch
from interp.linear import digits
begun = time.perf_counter()
digits.train_digits((8, 16, 32, 64), 600, epochs=100, seeds=5, progress=False, threads={threads})
print(time.perf_counter() - begun)
"""
_COMMAND = """
import subprocess, sys, time
begun = time.perf_counter()
subprocess.run([sys.executable, "-m", "interp", "measure", {run!r}, "--step", "1400", "--step", "9400"], check=True,
               stdout=subprocess.DEVNULL)
print(time.perf_counter() - begun)
"""

WORK = {
    "a training step, p = 23": (_STEP, 1e3, "ms"),
    "all measures, p = 113": (_MEASURES, 1e3, "ms"),
    "digits, four widths": (_NETWORKS, 1, "s"),
    "interp measure, two steps": (_COMMAND, 1, "s"),
}


@contextlib.contextmanager
def busy(processes: int) -> Iterator[None]:
    """Keep so many cores busy, by processes that end with this context, or when this process is gone."""
    parent = os.getpid()
    spin = f"import os\nwhile os.getppid() == {parent}:\n    for _ in range(10**6): pass"
    with contextlib.ExitStack() as ended:
        for _ in range(processes):
            process = subprocess.Popen([sys.executable, "-c", spin])
            ended.callback(process.wait)
            ended.callback(process.kill)
        yield


def seconds(code: str, way: str, folder: Path) -> float:
    """Return the seconds that `code` prints in a separate process whose threads wait in this way."""
    environment = {name: value for name, value in os.environ.items() if name not in _POLICIES} | _WAITS[way]
    threads = "None" if way == "interp" else "torch.get_num_threads()"
    script = folder / "work.py"
    script.write_text(code.format(run=RUN, threads=threads))
    environment["PYTHONPATH"] = os.pathsep.join([str(Path.cwd()), environment.get("PYTHONPATH", "")])
    done = subprocess.run([sys.executable, script], check=True, capture_output=True, text=True, env=environment)
    return float(done.stdout)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        for name, (code, scale, unit) in WORK.items():
            # A command decides by itself, so it has one way.
            ways = list(_WAITS) if "{threads}" in code else ["interp"]
            found: dict[tuple[str, int], list[float]] = {}
            for _ in range(ROUNDS):
                for neighbours in (0, 1):
                    with busy(neighbours):
                        for way in ways:
                            found.setdefault((way, neighbours), []).append(seconds(code, way, Path(folder)))
            for way in ways:
                alone, beside = (statistics.median(found[way, neighbours]) * scale for neighbours in (0, 1))
                print(
                    f"  {name:<26} {way:<16} {alone:8.1f} {unit} alone {beside:8.1f} {unit} beside a busy process, "
                    f"{beside / alone:.1f} times as long", flush=True,
                )  # fmt: skip
