"""In which order output, neurons and attention take the shape that they end in."""

from pathlib import Path

from interp import Run, phases, plot, trajectory


def main(run: Run, out: Path) -> list[Path]:
    measures = trajectory(run)
    return plot.save(plot.circuit_formation(measures, phases(measures)), out, "circuit_formation")
