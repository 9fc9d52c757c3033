"""Attention in the Fourier basis: how much each frequency moves each head's score."""

from pathlib import Path

from interp import ConfigError, Run, plot, progress_measures
from interp.fourier import by_frequency, fourier_basis
from interp.measures.attention import score_vectors


def main(run: Run, out: Path) -> list[Path]:
    weights, p = run[-1].weights, run.task.p
    if "W_Q" not in weights:
        raise ConfigError("this model has no attention.")
    norms = by_frequency(fourier_basis(p) @ score_vectors(weights, p).T)
    m = progress_measures(run)
    figure = plot.attention_scores(norms.numpy(), m.key_frequencies or (), m.key_doubt)
    return plot.save(figure, out, "attention_scores")
