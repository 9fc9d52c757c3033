"""Accuracy on train and test pairs, of the key frequencies alone, and without them (appendix)."""

from pathlib import Path

from analyses._over_training import over_training
from interp import Run, plot


def main(run: Run, out: Path) -> list[Path]:
    measures, phases = over_training(run)
    return plot.save(plot.accuracies(measures, phases), out, "accuracies")
