"""Gini coefficients of the Fourier norms of W_E and W_L over training (appendix)."""

from pathlib import Path

from interp import Run, phases, plot, trajectory


def main(run: Run, out: Path) -> list[Path]:
    measures = trajectory(run)
    return plot.save(plot.ginis(measures, phases(measures)), out, "ginis")
