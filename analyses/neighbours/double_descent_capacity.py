"""Random features over their number: a peak at as many features as samples, and none with the tuned ridge."""

from pathlib import Path

from analyses.neighbours._sizes import PAPER, Sizes
from interp import plot
from interp.linear import double_descent

RIDGES: dict[str, double_descent.Ridge] = {"no ridge": 0.0, "ridge 10⁻⁵": 1e-5, "tuned ridge": "tuned"}


def main(out: Path, sizes: Sizes = PAPER) -> list[Path]:
    n, draws = sizes.capacity
    widths = sorted({max(2, round(width * n / 200)) for width in double_descent.WIDTHS})
    fits = double_descent.random_features(widths, n, ridge=list(RIDGES.values()), draws=draws)
    curves = {label: fits[i * len(widths) :][: len(widths)] for i, label in enumerate(RIDGES)}
    title = "Double descent over the number of features"
    figure = plot.errors(curves, "width", "Features m", threshold=n, largest=100, title=title)
    parts = plot.error_parts(curves["no ridge"], largest=100)
    return plot.save(figure, out, "double_descent_capacity") + plot.save(parts, out, "double_descent_parts")
