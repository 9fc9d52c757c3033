"""Attention of each head to a, over all pairs."""

from pathlib import Path

from analyses._final import final_activations
from interp import ConfigError, Run, plot
from interp.measures.attention import attention_shares


def main(run: Run, out: Path) -> list[Path]:
    acts = final_activations(run)
    if acts.pattern is None:
        raise ConfigError("this model has no attention.")
    figure = plot.attention_over_pairs(acts.pattern.numpy(), attention_shares(acts.pattern).numpy())
    return plot.save(figure, out, "attention_over_pairs")
