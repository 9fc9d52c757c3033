"""The share of runs that have not generalized, against the steps since they memorized, by weight decay."""

from pathlib import Path

from interp import Sweep, plot


def main(sweep: Sweep, out: Path) -> list[Path]:
    return plot.save(plot.survival(sweep.table, "weight_decay"), out, "sweep_survival")
