"""Random features over the number of samples: near the threshold, more samples hurt."""

from pathlib import Path

from analyses.neighbours._sizes import PAPER, Sizes
from interp import plot
from interp.linear import double_descent

SHARES = (0.1, 0.2, 0.35, 0.5, 0.65, 0.8, 0.9, 0.95, 1.0, 1.05, 1.1, 1.25, 1.5, 2.0, 3.0, 5.0, 8.0)
RIDGES: dict[str, double_descent.Ridge] = {"no ridge": 0.0, "tuned ridge": "tuned"}


def main(out: Path, sizes: Sizes = PAPER) -> list[Path]:
    m, draws = sizes.capacity
    counts = sorted({max(2, round(share * m)) for share in SHARES})
    fits = double_descent.random_features(m, counts, ridge=list(RIDGES.values()), draws=draws)
    curves = {label: fits[i * len(counts) :][: len(counts)] for i, label in enumerate(RIDGES)}
    figure = plot.errors(
        curves, "samples", "Samples n", threshold=m, largest=100, title="Double descent over the number of samples",
        caption="Near the threshold more samples make the test error larger. With the tuned ridge they do not.",
    )  # fmt: skip
    return plot.save(figure, out, "double_descent_samples")
