"""Gini coefficients of the Fourier norms of W_E and W_L over training (appendix)."""

from pathlib import Path

from analyses._over_training import over_training
from interp import Run, plot


def main(run: Run, out: Path) -> list[Path]:
    measures, phases = over_training(run)
    return plot.save(plot.ginis(measures, phases), out, "ginis")
