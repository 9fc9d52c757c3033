"""Two groups of features on different scales: a second descent over training time, and two ways to remove it."""

from pathlib import Path

from analyses.neighbours._sizes import PAPER, Sizes
from interp import plot
from interp.linear import double_descent


def main(out: Path, sizes: Sizes = PAPER) -> list[Path]:
    path = double_descent.epoch_wise(draws=sizes.epoch_draws)
    return plot.save(plot.epoch_wise(path), out, "double_descent_epochs")
