"""The grokking delay of ridge regression over weight decay and the scale of the initialization."""

from pathlib import Path

from analyses.neighbours._grokking import ridge_map
from analyses.neighbours._sizes import PAPER, Sizes
from interp import plot


def main(out: Path, sizes: Sizes = PAPER) -> list[Path]:
    return plot.save(plot.delay_map(ridge_map(sizes)), out, "ridge_delay")
