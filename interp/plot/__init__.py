"""Figures built from data frames and measures; a figure computes nothing, and is written by `save`."""

from interp.plot.circuit import (
    attention_over_pairs,
    attention_scores,
    fourier_norms,
    logit_fourier_norms,
    neuron_logit_weights,
    neuron_purity,
    neurons_over_pairs,
)
from interp.plot.saving import one_browser, save
from interp.plot.training import (
    accuracies,
    circuit_formation,
    cos_coefficients,
    excluded_losses,
    ginis,
    mechanism,
    progress_measures,
    training_curves,
)

__all__ = [
    "accuracies",
    "attention_over_pairs",
    "attention_scores",
    "circuit_formation",
    "cos_coefficients",
    "excluded_losses",
    "fourier_norms",
    "ginis",
    "logit_fourier_norms",
    "mechanism",
    "neuron_logit_weights",
    "neuron_purity",
    "neurons_over_pairs",
    "one_browser",
    "progress_measures",
    "save",
    "training_curves",
]
