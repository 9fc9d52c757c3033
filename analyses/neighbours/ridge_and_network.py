"""The delay of ridge regression and of two-layer networks against λ, ν, samples and width, with fitted exponents."""

from pathlib import Path

import pandas as pd

from analyses._tables import write_table
from analyses.neighbours._grokking import SWEPT, network_delays, ridge_delays
from analyses.neighbours._sizes import PAPER, Sizes
from interp import ConfigError, plot
from interp.linear.two_layer import fit_exponent


def main(out: Path, sizes: Sizes = PAPER) -> list[Path]:
    measured = {"two-layer network": network_delays(sizes), "ridge regression": ridge_delays(sizes)}
    fits, rows = {}, []
    for swept in SWEPT:
        row: dict[str, object] = {"setting": swept}
        for system, frame in measured.items():
            own = frame[(frame["swept"] == swept) & (frame["delay"].fillna(0) > 0)]
            try:
                fit = fit_exponent(own["value"].tolist(), own["delay"].tolist())
            except ConfigError:
                row[system] = f"– ({len(own)} runs have a delay)"
                continue
            fits[system, swept] = fit
            of = (frame["swept"] == swept).sum()
            row[system] = str(fit) if len(own) == of else f"{fit} ({len(own)} of {of} runs have a delay)"
        row["linear prediction"] = "-1" if swept == "weight_decay" else "–"
        rows.append(row)
    written = plot.save(plot.delays(measured, fits, SWEPT), out, "ridge_and_network")
    return written + write_table(pd.DataFrame(rows), out, "grokking_exponents")
