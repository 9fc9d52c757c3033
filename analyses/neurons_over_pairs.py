"""Activations over all pairs of the purest neuron of each frequency."""

from pathlib import Path

from analyses._final import final_neurons
from interp import Run, plot
from interp.measures.neurons import frequency_shares


def main(run: Run, out: Path) -> list[Path]:
    neurons = final_neurons(run)
    figure = plot.neurons_over_pairs(neurons.numpy(), frequency_shares(neurons).numpy())
    return plot.save(figure, out, "neurons_over_pairs")
