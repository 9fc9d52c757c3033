"""Histogram of the variance of each neuron that one frequency explains."""

from pathlib import Path

from analyses._final import final_neurons
from interp import Run, plot
from interp.measures.neurons import frequency_shares


def main(run: Run, out: Path) -> list[Path]:
    shares = frequency_shares(final_neurons(run))
    return plot.save(plot.neuron_purity(shares.numpy()), out, "neuron_purity")
