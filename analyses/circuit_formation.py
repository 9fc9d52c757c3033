"""In which order output, neurons and attention take the shape that they end in."""

from pathlib import Path

from analyses._over_training import over_training
from interp import Run, plot


def main(run: Run, out: Path) -> list[Path]:
    measures, phases = over_training(run)
    return plot.save(plot.circuit_formation(measures, phases), out, "circuit_formation")
