"""Fourier norms of the embedding and of the neuron-logit map at the end of training (figure 3)."""

from pathlib import Path

from interp import Run, plot, progress_measures
from interp.errors import ConfigError


def main(run: Run, out: Path) -> list[Path]:
    m = progress_measures(run)
    if m.embedding_norms is None or m.unembedding_norms is None or m.key_frequencies is None:
        raise ConfigError(f"{run.path} has no Fourier norms to draw: {m.missing.get('embedding_norms')}.")
    figure = plot.fourier_norms(m.embedding_norms, m.unembedding_norms, m.key_frequencies, m.key_doubt)
    return plot.save(figure, out, "fourier_norms")
