"""Least squares on isotropic inputs over parameters ÷ samples: the closed-form risk as a line, simulations as dots."""

from pathlib import Path

import numpy as np
import pandas as pd

from analyses.neighbours._sizes import PAPER, Sizes
from interp import plot
from interp.linear import double_descent

CURVES: tuple[tuple[str, float, double_descent.Ridge], ...] = (
    ("σ = 0.5", 0.5, 0.0),
    ("σ = 0.2", 0.2, 0.0),
    ("σ = 0.5, tuned ridge", 0.5, "tuned"),
)


def main(out: Path, sizes: Sizes = PAPER) -> list[Path]:
    n, trials = sizes.isotropic
    curves = {
        label: double_descent.isotropic(n, noise=noise, ridge=penalty, trials=trials)
        for label, noise, penalty in CURVES
    }
    ratios = np.r_[np.geomspace(0.1, 0.96, 100), np.geomspace(1.04, 7, 100)]
    theory = {}
    for label, noise, penalty in CURVES:
        risks = [
            double_descent.isotropic_risk(ratio, noise, noise**2 * ratio if penalty == "tuned" else penalty)
            for ratio in ratios
        ]
        theory[label] = pd.DataFrame({"ratio": np.insert(ratios, 100, 1), "risk": np.insert(risks, 100, np.nan)})
    figure = plot.errors(
        curves, "ratio", "Parameters ÷ samples γ", "risk", "Risk ‖θ̂ − θ*‖²", theory, threshold=1.0,
        title="Double descent: theory and simulation",
        caption="Lines are the closed-form risk, dots are simulations. The risk has its peak where there are as many "
        "parameters as samples. The tuned ridge removes it.",
    )  # fmt: skip
    return plot.save(figure, out, "double_descent_theory")
