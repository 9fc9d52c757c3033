"""The median delay over weight decay and learning rate."""

from pathlib import Path

from interp import Sweep, plot


def main(sweep: Sweep, out: Path) -> list[Path]:
    return plot.save(plot.sweep_map(sweep.table, "weight_decay", "learning_rate"), out, "sweep_delay_map")
