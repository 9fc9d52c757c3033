"""Train and test accuracy and loss over training (Nanda et al., 2023, figure 2)."""

from pathlib import Path

from interp import Run, plot


def main(run: Run, out: Path) -> list[Path]:
    return plot.save(plot.training_curves(run.history), out, "training_curves")
