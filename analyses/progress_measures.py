"""Excluded and restricted loss, their ratio to test loss, and the size of the weights, with the phases (figure 7)."""

from pathlib import Path

from analyses._over_training import over_training
from interp import Run, plot


def main(run: Run, out: Path) -> list[Path]:
    measures, phases = over_training(run)
    return plot.save(plot.progress_measures(measures, phases), out, "progress_measures")
