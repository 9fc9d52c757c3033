"""The delay of ridge regression and of two-layer networks against λ, ν, samples and width, with fitted exponents."""

from pathlib import Path

import pandas as pd

from analyses._tables import write_table
from analyses.neighbours._grokking import SWEPT, network_delays, ridge_delays
from analyses.neighbours._sizes import PAPER, Sizes
from interp import ConfigError, fit_exponents, plot


def main(out: Path, sizes: Sizes = PAPER) -> list[Path]:
    measured = {"two-layer network": network_delays(sizes), "ridge regression": ridge_delays(sizes)}
    fits, rows = {}, []
    for swept in SWEPT:
        row: dict[str, object] = {"setting": swept}
        for system, frame in measured.items():
            own = frame[frame["swept"] == swept]
            there = int((own["delay"] > 0).sum())
            try:
                fit = fit_exponents(own, ["value"])
            except ConfigError:
                row[system] = f"– ({there} runs have a delay)"
                continue
            value, low, high = fit.exponents["value"]
            fits[system, swept] = value
            said = f"{value:.2f} [{low:.2f}, {high:.2f}]"
            if there < len(own) or fit.censored:
                said += f" ({there} of {len(own)} runs have a delay, {fit.censored} of them censored)"
            row[system] = said
        rows.append(row | {"linear prediction": "-1" if swept == "weight_decay" else "–"})
    written = plot.save(plot.delays(measured, fits, SWEPT), out, "ridge_and_network")
    return written + write_table(pd.DataFrame(rows), out, "grokking_exponents")
