"""Excluded loss with one key frequency removed at a time (appendix)."""

from pathlib import Path

from analyses._over_training import over_training
from interp import Run, plot


def main(run: Run, out: Path) -> list[Path]:
    measures, phases = over_training(run)
    return plot.save(plot.excluded_losses(measures, phases), out, "excluded_losses")
