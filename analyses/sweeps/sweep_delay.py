"""The delay of every run of the sweep against weight decay, by learning rate, beside public runs of p = 113."""

from pathlib import Path

import pandas as pd

from analyses.sweeps._public import public_delays, public_histories
from interp import Sweep, plot
from interp.utils.provenance import made_from


def main(sweep: Sweep, out: Path) -> list[Path]:
    table = sweep.table.assign(series=[f"rate {rate:g}" for rate in sweep.table["learning_rate"]])
    histories = public_histories()
    public = None if histories is None else public_delays(histories)
    if public is not None:
        table = pd.concat([table, public.assign(series="public runs, p = 113")], ignore_index=True)
    figure = plot.sweep(table, "weight_decay", "grokking_delay", color="series")
    with made_from(sweep, *([] if public is None else [histories])):
        return plot.save(figure.update_layout(legend_title_text=""), out, "sweep_delay")
