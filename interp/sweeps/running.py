"""sweep() trains many runs with one call, and estimate() times them; the directory is the only record."""

from __future__ import annotations

import itertools
import os
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any, get_args

import pandas as pd

from interp.runs.config import TrainConfig
from interp.sweeps import Engine
from interp.sweeps.grid import Configs, configurations, described, run_id
from interp.sweeps.jobs import End, Job, Stop, checked_threshold, folder_of, is_finished
from interp.sweeps.table import Sweep, Table, load_sweep, open_sweep
from interp.training.user_code import stop_if_declaring
from interp.utils.arguments import one_of, whole
from interp.utils.console import progress_bar
from interp.utils.errors import ConfigError
from interp.utils.files import PathLike
from interp.utils.threads import SMALL
from interp.utils.thresholds import LEARNED


@dataclass(frozen=True)
class Estimate:
    """The work of a sweep: `runs` has a row a run with its steps, whether it is done, and the seconds it needs."""

    runs: pd.DataFrame
    workers: int

    @property
    def seconds(self) -> float:
        """The remaining wall time on the workers of the sweep."""
        return float(self.runs.loc[~self.runs["done"], "seconds"].sum()) / self.workers


def sweep(
    configs: Configs, path: PathLike, *, stop_when: str | None = None, threshold: float = LEARNED,
    workers: int | None = None, threads: int | None = None, engine: Engine = "local", address: str | None = None,
    share: str | tuple[int, int] | None = None, add: bool = False, progress: bool = True,
) -> Sweep:  # fmt: skip
    """Train all runs of `configs` that are not done yet into the directory `path`, and return the sweep.

    A run is identified by a hash of the settings that differ from the defaults, without steps and device. So another
    call does missing runs, resumes stopped ones, trains further for more steps, and adds new runs. Without
    `checkpoint_steps`, a run keeps its first and last checkpoints and its optimizer's state. Ctrl-C saves the runs in
    progress. A run that fails is recorded with its error while the others go on; the next call tries it again unless
    its loss was no longer finite.

    Args:
        configs: A dict of settings of TrainConfig, each a value or a list of values, which stands for all
            combinations; or a list of TrainConfigs and such dicts.
        path: The directory of the sweep, made if it does not exist.
        stop_when: "generalized" ends a run a tenth of its steps after the first row of its history with test accuracy
            of `threshold` or more, so that the table's column `lasted` can say whether that accuracy holds;
            "generalized+500" ends it 500 steps after that row, "generalized+0" at it. Such a run is finished.
        threshold: The accuracy from which train or test pairs count as learned.
        workers: How many processes train (default: one a core).
        threads: Threads of each run (default: one, unless the network is large).
        engine: "local", or "ray" for the Ray cluster at `address`, or for one on this machine.
        share: (3, 16) or "3/16" does the third of sixteen shares here, for an array of jobs.
        add: Add runs to a directory that holds only other runs.

    Raises:
        ConfigError: For settings that cannot be used, and a directory with only other runs (unless `add`).
        CheckpointError: For a directory that holds something else.
    """
    stop_if_declaring()
    one_of("engine", engine, get_args(Engine))
    if address is not None and engine != "ray":
        raise ConfigError("address is that of a Ray cluster; give engine='ray' (--engine ray) too, or leave it out.")
    plan = Planned.of(configs, path, stop_when, threshold, workers, threads, share, add)
    with progress_bar("sweep", "steps", plan.total_steps, show=progress) as bar:
        following = _Following(plan, bar)
        try:
            if engine == "ray":
                from interp.sweeps.cluster import work_on_cluster

                work_on_cluster(plan.jobs, address, following.tell)
            else:
                from interp.sweeps.local import work

                work(plan.jobs, plan.workers, following.tell)
        finally:
            plan.table.write()
    return load_sweep(plan.path)


@dataclass(frozen=True)
class Planned:
    """A sweep before it begins: its configurations, the jobs that are left, and the table."""

    path: Path
    configs: tuple[TrainConfig, ...]
    jobs: tuple[Job, ...]
    workers: int
    table: Table

    @classmethod
    def of(
        cls, configs: Configs, path: PathLike, stop_when: str | None, threshold: float, workers: int | None,
        threads: int | None, share: str | tuple[int, int] | None, add: bool, write: bool = True,
    ) -> Planned:  # fmt: skip
        wanted = configurations(configs)
        stop, threshold = Stop.parsed(stop_when), checked_threshold(threshold)
        cores = os.cpu_count() or 1
        number = cores if workers is None else whole("workers", workers, 1)
        if threads is not None:
            threads = whole("threads", threads, 1)
        where, of = _share(share)
        folder = open_sweep(path, make=True, write=write)
        table = Table(folder)
        table.refresh()
        _check_same_sweep(folder, wanted, table, add)
        ours = wanted[where - 1 :: of]
        each = [max(cores // number, 1) if threads is None and _is_large(config) else threads or 1 for config in ours]
        jobs = [
            Job(config, folder_of(folder, config), stop, threshold, n, _commit())
            for config, n in zip(ours, each, strict=True)
        ]
        left = tuple(job for job in jobs if not is_finished(table.row(job.folder.name), job))
        return cls(folder, ours, left, number, table)

    @property
    def total_steps(self) -> int:
        return sum(config.steps for config in self.configs)


def _share(share: str | tuple[int, int] | None) -> tuple[int, int]:
    if share is None:
        return 1, 1
    parts = share.split("/") if isinstance(share, str) else share
    try:
        where, of = (int(part) for part in parts)
    except (TypeError, ValueError):
        where, of = 0, 0
    if not 1 <= where <= of:
        raise ConfigError(f"share must be one of several, as 3/16 is the third of sixteen; got {share!r}.")
    return where, of


def _is_large(config: TrainConfig) -> bool:
    return config.train_fraction * config.p**2 * config.d_mlp * (config.p + 1) >= SMALL


def _check_same_sweep(path: Path, wanted: Sequence[TrainConfig], table: Table, add: bool) -> None:
    """Raise ConfigError if the directory holds runs but none of `wanted`."""
    known = set(table.frame()["run"])
    if known and not add and known.isdisjoint(run_id(config) for config in wanted):
        raise ConfigError(
            f"{path} holds a sweep of {len(known)} other runs, none of which is asked for here; name another "
            "directory, or add these runs to it with add=True (--add)."
        )


def _commit() -> str | None:
    """Return the commit of the git repository in which the sweep starts, None outside of one."""
    try:
        said = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return said.stdout.strip() or None if said.returncode == 0 else None


class _Following:
    """Keeps the progress bar and the table up to date while runs go on."""

    def __init__(self, plan: Planned, bar: Any) -> None:
        self._plan, self._bar = plan, bar
        left = {job.folder.name for job in plan.jobs}
        self._at = {run_id(config): config.steps for config in plan.configs if run_id(config) not in left}
        self._done, self._failed, self._running = len(self._at), 0, set[str]()
        self._show()

    def tell(self, job: Job, said: End | int) -> None:
        name = job.folder.name
        if isinstance(said, int):
            self._running.add(name)
            self._at[name] = min(said, job.config.steps)
        else:
            self._running.discard(name)
            if said in ("done", "failed"):
                self._done += said == "done"
                self._failed += said == "failed"
                self._at[name] = job.config.steps
            self._plan.table.write(anyway=False)
        self._show()

    def _show(self) -> None:
        if self._bar:
            runs = f"{self._done} of {len(self._plan.configs)} runs done, {len(self._running)} running"
            failed = f", {self._failed} failed" if self._failed else ""
            self._bar.at(sum(self._at.values()), runs + failed)


# ── a dry run ────────────────────────────────────────────────────────────────────────────────────────────────────


def estimate(
    configs: Configs, path: PathLike, *, stop_when: str | None = None, threshold: float = LEARNED,
    workers: int | None = None, threads: int | None = None, share: str | tuple[int, int] | None = None,
    add: bool = False,
) -> Estimate:  # fmt: skip
    """Return the runs that `sweep` would do and how long they would take, from a few timed steps of each size.

    Nothing is written. Runs that end early take less time than this.
    """
    plan = Planned.of(configs, path, stop_when, threshold, workers, threads, share, add, write=False)
    left = {job.folder.name: job for job in plan.jobs}
    steps: dict[Any, float] = {}
    rows = []
    for config in plan.configs:
        job = left.get(run_id(config))
        size = (config.p, round(config.train_fraction, 3), config.model, config.optimizer, config.batch_size)
        if job is not None and size not in steps:
            steps[size] = seconds_a_step(config, job.threads)
        seconds = config.steps * steps[size] if job is not None else 0.0
        rows.append({"run": run_id(config), "settings": described(config) or "the defaults", "steps": config.steps,
                     "done": job is None, "seconds": seconds})  # fmt: skip
    return Estimate(pd.DataFrame(rows), plan.workers)


def seconds_a_step(config: TrainConfig, threads: int | None) -> float:
    """Return the median time of a training step, with its share of recording the history, over a short training."""
    from interp.training.loop import train

    times: list[float] = []
    every = min(config.history_every, 50)
    short = replace(config, steps=4 * every, checkpoint_steps=(0,), history_every=every)
    with tempfile.TemporaryDirectory() as folder:
        train(
            short, Path(folder) / "run", progress=False, threads=threads,
            on_record=lambda *_: times.append(time.perf_counter()),
        )  # fmt: skip
    return median(after - before for before, after in itertools.pairwise(times)) / every
