"""Excluded loss with one key frequency removed at a time (appendix)."""

from pathlib import Path

from interp import Run, phases, plot, trajectory


def main(run: Run, out: Path) -> list[Path]:
    measures = trajectory(run)
    return plot.save(plot.excluded_losses(measures, phases(measures)), out, "excluded_losses")
