"""Ridge regression by gradient descent, exact: overfitting, a plateau, generalization; and settings without a delay."""

from pathlib import Path
from typing import Any

import pandas as pd

from analyses._tables import write_table
from analyses.neighbours._grokking import ridge_problem
from analyses.neighbours._sizes import PAPER, Sizes
from interp import plot
from interp.linear import ridge

SETTINGS: tuple[dict[str, Any], ...] = ({}, {"init_scale": 1.0}, {"weight_decay": 3e-4})  # smaller ν, larger λ


def main(out: Path, sizes: Sizes = PAPER) -> list[Path]:
    problem = ridge_problem(sizes)
    found = [ridge.grokking_times(problem, **setting) for setting in SETTINGS]
    exact = ridge.trajectory(problem, 10**7)
    taken = ridge.simulate(problem, ridge.log_steps(sizes.simulated_steps, 25))
    written = plot.save(plot.ridge_stages(exact, found[0], taken), out, "ridge_stages")
    rows = []
    for setting, times in zip(SETTINGS, found, strict=True):
        told = {name: value for name, value in times.to_dict().items() if name not in ("missing", "tolerance")}
        rows.append({"init_scale": 10.0, "weight_decay": 1e-6, **setting, **told})
    table = pd.DataFrame(rows)
    shown = table.map(lambda value: "–" if pd.isna(value) else f"{value:,.0f}" if value >= 100 else f"{value:.3g}")
    return written + write_table(table, out, "ridge_times", shown)
