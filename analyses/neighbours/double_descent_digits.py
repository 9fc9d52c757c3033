"""Networks of one hidden layer on the digits, with wrong labels and without: over width, samples and epochs."""

from pathlib import Path

from analyses._tables import write_table
from analyses.neighbours._sizes import PAPER, Sizes
from interp import plot
from interp.linear.digits import over_seeds, train_digits

NOISES = {"20 % wrong labels": 0.2, "no wrong labels": 0.0}
TITLES = {"width": "Width", "samples": "Samples, at width 12", "epoch": "Epoch, at width 64"}


def main(out: Path, sizes: Sizes = PAPER) -> list[Path]:
    n = min(600, sizes.digit_samples[-1])
    epochs, seeds = sizes.digit_epochs, sizes.digit_seeds
    by_width = {label: train_digits(sizes.digit_widths, n, noise, epochs, seeds) for label, noise in NOISES.items()}
    by_samples = train_digits(12, sizes.digit_samples, 0.2, epochs, seeds)
    wide = min(sizes.digit_widths, key=lambda width: abs(width - 64))
    axes = {
        "width": {label: over_seeds(networks, "width") for label, networks in by_width.items()},
        "samples": {"20 % wrong labels": over_seeds(by_samples, "samples")},
        "epoch": {label: over_seeds(one[one["width"] == wide], "epoch") for label, one in by_width.items()},
    }
    titles = TITLES | {"epoch": f"Epoch, at width {wide}"}
    written = plot.save(plot.digits(axes, titles), out, "double_descent_digits")
    table = axes["width"]["20 % wrong labels"].merge(
        axes["width"]["no wrong labels"], on="width", suffixes=(" 20 %", " none")
    )
    shown = table.map(lambda value: f"{value:.3f}").assign(width=table["width"].astype(int).astype(str))
    return written + write_table(table, out, "double_descent_digits", shown)
