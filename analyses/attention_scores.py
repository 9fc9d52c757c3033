"""Attention in the Fourier basis: how much each frequency moves each head's score."""

from pathlib import Path

from interp import ConfigError, Run, Transformer, plot, progress_measures
from interp.fourier import by_frequency, fourier_basis
from interp.measures.attention import score_vectors


def main(run: Run, out: Path) -> list[Path]:
    weights, p = run[-1].weights, run.task.p
    if not isinstance(run.architecture, Transformer):
        raise ConfigError("scores of attention are those of a transformer of one layer; this run has another network.")
    norms = by_frequency(fourier_basis(p) @ score_vectors(weights, p).T)
    m = progress_measures(run)
    figure = plot.attention_scores(norms.numpy(), m.key_frequencies or (), m.key_doubt)
    return plot.save(figure, out, "attention_scores")
