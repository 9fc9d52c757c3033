"""What the neurons of the largest cluster add to the logits, along each wave of c."""

from pathlib import Path

from analyses._final import final_neurons
from interp import ConfigError, Run, plot
from interp.fourier import fourier_basis
from interp.measures.neurons import clusters, frequency_shares, neuron_frequencies, output_phases
from interp.subjects import subject_of


def main(run: Run, out: Path) -> list[Path]:
    shares = frequency_shares(final_neurons(run))
    found = clusters(shares)
    if not found:
        raise ConfigError("no neuron of this run has more than 0.85 of its variance in one frequency.")
    k, members = max(found.items(), key=lambda item: len(item[1]))
    W_L = subject_of(run[-1]).W_L[members]
    phases = output_phases(W_L, neuron_frequencies(shares)[members])
    weights = fourier_basis(run.task.p) @ W_L.T.double()
    return plot.save(plot.neuron_logit_weights(weights.numpy(), k, phases.numpy()), out, "neuron_logit_weights")
