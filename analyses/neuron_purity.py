"""Histogram of the variance of each neuron that one frequency explains."""

from pathlib import Path

from analyses._final import final_neurons
from interp import Run, plot
from interp.measures.neurons import SINGLE_FREQUENCY_SHARE, frequency_shares, neuron_frequencies, purity


def main(run: Run, out: Path) -> list[Path]:
    shares = frequency_shares(final_neurons(run))
    figure = plot.neuron_purity(purity(shares).numpy(), neuron_frequencies(shares).numpy(), SINGLE_FREQUENCY_SHARE)
    return plot.save(figure, out, "neuron_purity")
