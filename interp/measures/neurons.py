"""Fourier structure of the neurons at the last position, after the activation, over all pairs."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from interp.fourier import by_frequency, fourier_basis, sum_by_residue

SINGLE_FREQUENCY_SHARE = 0.85


def frequency_shares(
    neurons: Float[Tensor, "p p d_mlp"],
) -> Float[Tensor, "n_frequencies d_mlp"]:
    """The share of each neuron's variance over pairs that each frequency k explains.

    That is the squared norm of the 8 terms {const, cos, sin}(w_k a) × {const, cos, sin}(w_k b), const × const left
    out, over the total. The four products of waves span the same space as the waves of a + b and of a − b, so
    four one-dimensional transforms do for the two-dimensional one. A neuron that never varies has share 0.
    """
    p = len(neurons)
    a = torch.arange(p)
    marginals = [neurons.sum(1), neurons.sum(0)]
    diagonals = [sum_by_residue(neurons, (a[:, None] + sign * a) % p) for sign in (1, -1)]
    basis = fourier_basis(p)
    power = [by_frequency(basis @ table.double()).square() / p for table in marginals + diagonals]
    if p % 2 == 0:
        power[3][-1] = 0  # (−1)^(a−b) is (−1)^(a+b): counted already
    total = neurons.flatten(0, 1).var(dim=0, correction=0).double() * p * p
    return torch.stack(power).sum(0) / torch.where(total > 0, total, torch.inf)


def neuron_frequencies(
    shares: Float[Tensor, "n_frequencies d_mlp"],
) -> Int[Tensor, " d_mlp"]:
    """The frequency k that explains most of each neuron."""
    return shares.argmax(0) + 1


def single_frequency_neurons(shares: Float[Tensor, "n_frequencies d_mlp"]) -> float:
    """The fraction of neurons of which one frequency explains more than 0.85."""
    return float((shares.amax(0) > SINGLE_FREQUENCY_SHARE).double().mean())
