"""The coefficient of every cos w_k(a+b−c) in the logits over training: which frequencies win, and when."""

from pathlib import Path

from interp import Run, plot, trajectory


def main(run: Run, out: Path) -> list[Path]:
    return plot.save(plot.cos_coefficients(trajectory(run)), out, "cos_coefficients")
