"""2-D Fourier norms of the logits."""

from pathlib import Path

from analyses._final import final_activations
from interp import Run, plot
from interp.measures.logits import fourier_norms_2d


def main(run: Run, out: Path) -> list[Path]:
    norms = fourier_norms_2d(final_activations(run).logits)
    return plot.save(plot.logit_fourier_norms(norms.numpy()), out, "logit_fourier_norms")
