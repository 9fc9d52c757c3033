"""Averages of random features, and of networks on the digits: test error over width, by the number averaged."""

import math
from pathlib import Path

import pandas as pd

from analyses._tables import write_table
from analyses.neighbours._sizes import PAPER, Sizes
from interp import plot
from interp.linear import digits, double_descent


def main(out: Path, sizes: Sizes = PAPER) -> list[Path]:
    n, draws = sizes.ensembles
    widths = sorted({max(2, round(width * n / 200)) for width in double_descent.WIDTHS})
    features = double_descent.ensembles(widths, n, draws=draws)
    limit = pd.DataFrame({"width": [widths[0], widths[-1]], "test_error": features["wide_limit"][0]})
    curves = {**_by_members(features), "kernel, m → ∞": limit}
    figure = plot.errors(
        curves, "width", "Features m", threshold=n, title="Double descent of averaged random features",
        caption="The test error of k fits averaged. The peak is the variance of one fit, and k fits have 1/k of it.",
    )  # fmt: skip
    written = plot.save(figure, out, "double_descent_ensembles")

    samples, epochs, seeds = sizes.ensemble_digits
    networks = digits.ensembles(sizes.ensemble_widths, samples, epochs=epochs, seeds=seeds)
    figure = plot.errors(
        _by_members(networks), "width", f"Width, {samples} digits", title="Double descent of averaged networks",
        caption="The test error of k networks averaged, which differ in their first weights. The peak gets lower.",
    )  # fmt: skip
    figure.update_yaxes(tickformat=".0%")
    written += plot.save(figure, out, "double_descent_ensembles_digits")

    both = pd.concat({"random features": features, "digits": networks}, names=["networks"]).reset_index(0)
    table = both[["networks", "samples", "width", "members", "test_error", "standard_error"]]
    said = table.assign(
        error=[f"{e:.3f} ± {s:.3f}" for e, s in zip(table["test_error"], table["standard_error"], strict=True)],
        members=table["members"].map(_label),
    )
    shown = said.pivot(index=["networks", "samples", "width"], columns="members", values="error").fillna("–")
    ordered = [_label(k) for k in sorted(table["members"].unique())]
    return written + write_table(table, out, "double_descent_ensembles", shown[ordered].reset_index())


def _by_members(frame: pd.DataFrame) -> dict[str, pd.DataFrame]:
    return {_label(k): frame[frame["members"] == k] for k in sorted(frame["members"].unique())}


def _label(k: float) -> str:
    return "k = ∞" if math.isinf(k) else f"k = {k:.0f}"
