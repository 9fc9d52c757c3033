"""Accuracy on train and test pairs, of the key frequencies alone, and without them (appendix)."""

from pathlib import Path

from interp import Run, phases, plot, trajectory


def main(run: Run, out: Path) -> list[Path]:
    measures = trajectory(run)
    return plot.save(plot.accuracies(measures, phases(measures)), out, "accuracies")
