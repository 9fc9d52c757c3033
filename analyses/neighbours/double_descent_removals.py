"""The peak of least squares on the diabetes data, and without each of its three causes."""

from pathlib import Path

from analyses.neighbours._sizes import PAPER, Sizes
from interp import plot
from interp.linear import double_descent

SAMPLES = (3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 17, 20, 25, 30, 40, 60, 100)


def main(out: Path, sizes: Sizes = PAPER) -> list[Path]:
    features, targets = double_descent.diabetes()
    fits = double_descent.removals(features, targets, SAMPLES, draws=sizes.removal_draws)
    return plot.save(plot.removals(fits, features.shape[1], "Test error ÷ variance"), out, "double_descent_removals")
