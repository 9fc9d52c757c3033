"""The delay of every run of the sweep against weight decay, by learning rate, beside public runs of p = 113."""

from pathlib import Path

import pandas as pd

from analyses.sweeps._public import public_delays
from interp import Sweep, plot


def main(sweep: Sweep, out: Path) -> list[Path]:
    table = sweep.table.assign(
        series=[f"p = {p}, rate {rate:g}" for p, rate in sweep.table[["p", "learning_rate"]].values]
    )
    public = public_delays()
    if public is not None:
        table = pd.concat([table, public.assign(series="public, p = 113, rate 0.001")], ignore_index=True)
    return plot.save(plot.sweep(table, "weight_decay", "grokking_delay", color="series"), out, "sweep_delay")
