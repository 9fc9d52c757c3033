"""How far rounding alone moves the paper's setting: its first weights changed by one part in ten million.

    python -m benchmarks.rounding DIR                 five changed copies of seed 0, each a run in DIR; ends in a table
    python -m benchmarks.rounding DIR --device cuda   the same on a GPU

A run takes eight minutes on two cores. Runs that are there already are read, not trained again.
The table is written to DIR/rounding.parquet; its columns are those of a sweep's table, and `change` seeds the change.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path

import pandas as pd
import torch

from interp import TrainConfig, load_checkpoint, load_run, train
from interp.disk import write_parquet
from interp.run import CONFIG
from interp.sweeps.jobs import Job, result_of

CHANGES = (1, 2, 3, 4, 5)
CHANGE = 1e-7
SHOWN = ["change", "memorized", "generalized", "grokking_delay", "test_loss", "key_frequencies", "device"]


def changed(run: Path, change: int) -> dict[str, torch.Tensor]:
    """Return the first weights of a run, each times 1 + 1e-7 z with z normal."""
    generator = torch.Generator().manual_seed(change)
    weights = load_run(run).at(0).weights
    return {
        name: weight * (1 + CHANGE * torch.randn(weight.shape, generator=generator)) for name, weight in weights.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.rounding", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path, help="where the runs and their table are written")
    parser.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1, mps or auto (default: cpu)")
    parser.add_argument("--changes", type=int, nargs="*", default=CHANGES, help="seeds of the changes (1 to 5)")
    given = parser.parse_args()
    config = TrainConfig(device=given.device, checkpoint_steps=(0,))
    unchanged = given.folder / "first-weights"
    if not (unchanged / CONFIG).exists():
        train(replace(config, steps=1, checkpoint_steps=(0, 1)), unchanged, progress=False)
    first = load_checkpoint(unchanged, step=0)
    rows = []
    for change in given.changes:
        folder = given.folder / f"change-{change}"
        start = replace(first, weights=changed(unchanged, change))
        begun = (folder / CONFIG).exists()
        train(config, folder, resume=begun, start=None if begun else start)
        row = result_of(Job(config, folder, threads=1), 0.0)
        rows.append({"change": change} | row)
        print(f"change {change}: generalized at step {row['generalized']}", file=sys.stderr, flush=True)
    table = pd.DataFrame(rows)
    write_parquet(given.folder / "rounding.parquet", table.drop(columns=["settings", "seconds"]))
    print(table[SHOWN].to_string(index=False))


if __name__ == "__main__":
    main()
