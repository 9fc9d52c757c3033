"""Activations over all pairs of the purest neuron of each frequency."""

from pathlib import Path

from analyses._final import final_neurons
from interp import ConfigError, Run, plot
from interp.measures.neurons import (
    SINGLE_FREQUENCY_SHARE,
    frequency_shares,
    neuron_frequencies,
    purity,
    representatives,
)


def main(run: Run, out: Path) -> list[Path]:
    neurons = final_neurons(run)
    shares = frequency_shares(neurons)
    shown = representatives(shares, neurons.amax((0, 1)) > 0)
    if not len(shown):
        raise ConfigError(
            "neurons_over_pairs draws neurons of one frequency; this network has none of which one frequency explains "
            f"more than {SINGLE_FREQUENCY_SHARE:g} of the variance."
        )
    arrays = (neurons, shown, neuron_frequencies(shares), purity(shares))
    return plot.save(plot.neurons_over_pairs(*(array.numpy() for array in arrays)), out, "neurons_over_pairs")
