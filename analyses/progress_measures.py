"""Excluded and restricted loss, their ratio to test loss, and the size of the weights, with the phases (figure 7)."""

from pathlib import Path

from interp import Run, phases, plot, trajectory


def main(run: Run, out: Path) -> list[Path]:
    measures = trajectory(run)
    return plot.save(plot.progress_measures(measures, phases(measures)), out, "progress_measures")
