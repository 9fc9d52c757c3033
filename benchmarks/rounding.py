"""The effect of rounding alone on a run: its initial weights are changed by one part in ten million.

    python -m benchmarks.rounding runs/preset --preset fast --set seed=0:20 --threads 1 2 --stop-when generalized
    python -m benchmarks.rounding runs/mainline --changes 1 2 3 4 5 --device cuda

Each configuration (a preset, changed by --set as in `interp sweep`; by default the paper's) is trained once for each
change and each number of threads, in its own folder under DIR. Runs that exist are read, not trained again. The table
is written to DIR/rounding.parquet: its columns are those of a sweep's table, with `change`, the seed of the change of
the initial weights, and `threads`, the number that the run computed on. The range of the steps is printed.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from interp import Checkpoint, ConfigError, TrainConfig, train
from interp.runs.config import preset_settings
from interp.runs.names import CONFIG
from interp.runs.settings import PRESETS
from interp.sweeps.grid import configurations, described, parsed_settings, run_id
from interp.sweeps.jobs import Job, Stop, perform, read_result
from interp.sweeps.table import by_the_rules, row_of
from interp.utils.console import progress_bar
from interp.utils.files import write_parquet
from interp.utils.threads import wait_passively

CHANGES = (1, 2, 3)
CHANGE = 1e-7


def changed(config: TrainConfig, change: int) -> Checkpoint:
    """Return the initial weights of a run, each times 1 + 1e-7 z with z normal, as a checkpoint to begin with."""
    generator = torch.Generator().manual_seed(change)
    weights = {
        name: weight * (1 + CHANGE * torch.randn(weight.shape, generator=generator))
        for name, weight in config.model.initial_weights(config.seed).items()
    }
    return Checkpoint(weights, config.model, config.task, 0, config.train_mask)


def trained(config: TrainConfig, folder: Path, change: int, threads: int, stop: Stop | None) -> dict[str, Any]:
    """Train a changed copy of a configuration, or read it if it exists; return its row of the table."""
    home = folder / f"{run_id(config)}-change{change}-threads{threads}"
    config = replace(config, checkpoint_steps=(0,))
    if not (home / CONFIG).exists():
        train(config, home, progress=False, threads=threads, start=changed(config, change), on_record=lambda *_: True)
    perform(Job(config, home, stop, threads=threads))
    return {"change": change, "threads": threads} | by_the_rules(row_of(read_result(home) or {}), home)


def _trained(job: tuple[TrainConfig, Path, int, int, Stop | None]) -> dict[str, Any]:
    return trained(*job)


def rows(jobs: list[tuple[TrainConfig, Path, int, int, Stop | None]], workers: int) -> Iterator[dict[str, Any]]:
    """Yield the row of each job: several jobs of one thread at a time, others one after another.

    They run in separate processes, whose threads wait passively.
    """
    wait_passively()
    with progress_bar("train", "runs", len(jobs)) as bar:
        done = 0
        for number, own in ((workers, [job for job in jobs if job[3] == 1]), (1, [job for job in jobs if job[3] > 1])):
            if not own:
                continue
            with ProcessPoolExecutor(number, multiprocessing.get_context("spawn")) as pool:
                for row in pool.map(_trained, own):
                    yield row
                    done += 1
                    if bar:
                        bar.at(done)


def summary(table: pd.DataFrame) -> pd.DataFrame:
    """Return the ranges over all changes, threads and seeds, a row for each configuration apart from its seeds."""
    told = [name for name in table if name in TrainConfig.names() and name not in ("seed", "split_seed")]
    several = [name for name in told if table[name].map(repr).nunique() > 1]
    lines = []
    for values, own in table.groupby(several, sort=False) if several else [((), table)]:
        line: dict[str, Any] = dict(zip(several, values, strict=True))
        line |= {"seeds": own["seed"].nunique(), "runs": len(own), "generalized": int(own["generalized"].notna().sum())}
        for name in ("memorized", "generalized", "generalized_95"):
            known = own[name].dropna().astype(int)
            said = "at 0.95" if name == "generalized_95" else f"{name} at"
            line[said] = f"{known.min():,} to {known.max():,}" if len(known) else "–"
        line["lasted"] = int((own["lasted"] == True).sum())  # noqa: E712
        delays = (own["generalized"] / own["memorized"]).dropna()
        line["times later, least"] = f"{delays.min():.1f}" if len(delays) else "–"
        line["seconds, most"] = f"{own['seconds'].max():.0f}"
        lines.append(line)
    return pd.DataFrame(lines)


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.rounding", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, metavar="DIR", help="where the runs and their table are written")
    parser.add_argument("--preset", choices=sorted(PRESETS), help="settings to begin with (default: the paper's)")
    parser.add_argument("--set", dest="words", action="append", default=[], metavar="NAME=VALUES",
                        help="a setting and its values, as in interp sweep: seed=0:20")  # fmt: skip
    parser.add_argument("--changes", type=int, nargs="+", default=CHANGES, metavar="SEED",
                        help="seeds of the changes of the initial weights (default: 1 2 3)")  # fmt: skip
    parser.add_argument("--threads", type=int, nargs="+", default=[1], help="numbers of threads to try (default: 1)")
    parser.add_argument("--stop-when", help="generalized, or generalized+500 (default: train all steps)")
    parser.add_argument("--workers", type=int, default=2, help="runs of one thread at a time (default: 2)")
    parser.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1, mps or auto (default: cpu)")
    given = parser.parse_args()
    try:
        own = parsed_settings(given.words)
        base = {} if given.preset is None else {n: [v] for n, v in preset_settings(given.preset, own).items()}
        configs = configurations(base | own | {"device": [given.device]})
        stop = Stop.parsed(given.stop_when)
    except ConfigError as error:
        parser.error(str(error))
    jobs = [
        (config, given.folder, change, threads, stop)
        for threads in given.threads for config in configs for change in given.changes
    ]  # fmt: skip
    names = {run_id(config): described(config) for config in configs}
    found = []
    for row in rows(jobs, given.workers):
        found.append(row)
        if row["error"] or pd.isna(row["generalized"]):
            print(f"{names[str(row['run']).partition('-')[0]]}, change {row['change']}, {row['threads']} threads: "
                  f"{row['error'] or 'not generalized'}", file=sys.stderr, flush=True)  # fmt: skip
    table = pd.DataFrame(found)
    write_parquet(given.folder / "rounding.parquet", table)
    print(summary(table).to_string(index=False))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
