"""Fourier structure of the neurons at the last position, after the activation, over all pairs."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from interp.arguments import checks_arrays, given, numbers_below
from interp.computing import computing
from interp.errors import ConfigError
from interp.fourier import by_frequency, shared_basis, sum_by_residue
from interp.measures.logits import key_frequencies_of
from interp.measures.registry import NANDA, measure
from interp.measures.subject import Subject, present, quantity

SINGLE_FREQUENCY_SHARE = 0.85


@checks_arrays
@computing(grad=None)
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
    basis = shared_basis(p)
    power = [by_frequency(basis @ table.double()).square() / p for table in marginals + diagonals]
    if p % 2 == 0:
        power[3][-1] = 0  # (−1)^(a−b) is (−1)^(a+b): counted already
    total = neurons.flatten(0, 1).var(dim=0, correction=0).double() * p * p
    return torch.stack(power).sum(0) / torch.where(total > 0, total, torch.inf)


@checks_arrays
def neuron_frequencies(
    shares: Float[Tensor, "n_frequencies d_mlp"],
) -> Int[Tensor, " d_mlp"]:
    """The frequency k that explains most of each neuron."""
    return shares.argmax(0) + 1


@checks_arrays
def single_frequency_neurons(shares: Float[Tensor, "n_frequencies d_mlp"]) -> float:
    """The fraction of neurons of which one frequency explains more than 0.85."""
    return float(is_single_frequency(shares).double().mean())


@checks_arrays
def is_single_frequency(shares: Float[Tensor, "n_frequencies d_mlp"]) -> Bool[Tensor, " d_mlp"]:
    """Which neurons one frequency explains by more than 0.85."""
    return shares.amax(0) > SINGLE_FREQUENCY_SHARE


@checks_arrays
def clusters(shares: Float[Tensor, "n_frequencies d_mlp"]) -> dict[int, Int[Tensor, " n"]]:
    """The single-frequency neurons of each frequency, ascending; the rest are in no cluster."""
    single, frequencies = is_single_frequency(shares), neuron_frequencies(shares)
    return {int(k): (single & (frequencies == k)).nonzero().flatten() for k in frequencies[single].unique(sorted=True)}


@checks_arrays
def input_phases(
    neurons: Float[Tensor, "p p d_mlp"], frequencies: Int[Tensor, " d_mlp"]
) -> tuple[Float[Tensor, " d_mlp"], Float[Tensor, " d_mlp"]]:
    """φ_a and φ_b of each neuron: its mean over the other input goes like cos(w_k a − φ_a), and cos(w_k b − φ_b)."""
    numbers_below("frequencies", frequencies, len(neurons) // 2 + 1, least=1)
    over_a, over_b = (shared_basis(len(neurons)) @ neurons.sum(axis).double() for axis in (1, 0))
    return _phases(over_a, frequencies), _phases(over_b, frequencies)


@checks_arrays
def output_phases(W_L: Float[Tensor, "d_mlp p"], frequencies: Int[Tensor, " d_mlp"]) -> Float[Tensor, " d_mlp"]:
    """φ_c of each neuron: what it adds to the logits goes like cos(w_k c − φ_c)."""
    numbers_below("frequencies", frequencies, W_L.shape[1] // 2 + 1, least=1)
    return _phases(shared_basis(W_L.shape[1]) @ W_L.T.double(), frequencies)


@computing(grad=None)
def _phases(coefficients: Float[Tensor, "p d_mlp"], frequencies: Int[Tensor, " d_mlp"]) -> Float[Tensor, " d_mlp"]:
    p, index = len(coefficients), torch.arange(len(frequencies))
    sine = torch.where(2 * frequencies < p, 2 * frequencies, 0)  # k = p/2 has none
    return torch.atan2(torch.where(sine > 0, coefficients[sine, index], 0.0), coefficients[2 * frequencies - 1, index])


@checks_arrays
def phase_agreement(phases: tuple[Float[Tensor, " n"], Float[Tensor, " n"]], output: Float[Tensor, " n"]) -> float:
    """The mean of cos(φ_c − φ_a − φ_b) over n neurons: 1 where each votes for the sum that it detects.

    A product of cos(w a − φ_a) and cos(w b − φ_b) holds cos(w (a + b) − φ_a − φ_b), so a neuron that is read out
    with φ_c = φ_a + φ_b adds to the logit of c = a + b. Unrelated phases give about 0. NaN without neurons. For a
    network of a − b, give −φ_b.
    """
    if not isinstance(phases, tuple | list) or [getattr(one, "shape", None) for one in phases] != [output.shape] * 2:
        raise ConfigError(
            f"phases must be two tensors of the shape {tuple(output.shape)}, as output; got {given(phases)}."
        )
    return float((output - phases[0] - phases[1]).cos().mean())


# ── measures ─────────────────────────────────────────────────────────────────────────────────────────────────────


@quantity
def shares_of(subject: Subject) -> Float[Tensor, "n_frequencies d_mlp"]:
    """`frequency_shares` of its neurons."""
    subject.needs_fourier()
    return frequency_shares(subject.neurons)


@measure(
    name="single_frequency_neurons",
    title="share of neurons of which one frequency explains more than 0.85", source=NANDA,
)  # fmt: skip
def single_frequency_neurons_of(subject: Subject) -> float:
    return single_frequency_neurons(shares_of(subject))


@quantity
def _single(
    subject: Subject,
) -> tuple[Bool[Tensor, " d_mlp"], Int[Tensor, " n"], Float[Tensor, " n"], Float[Tensor, " n"]]:
    """Which neurons are of one frequency, and of these the frequencies, φ_a and φ_b (−φ_b for a − b)."""
    shares = shares_of(subject)
    single = is_single_frequency(shares)
    frequencies = neuron_frequencies(shares)[single]
    of_a, of_b = input_phases(subject.neurons[..., single], frequencies)
    return single, frequencies, of_a, -of_b if subject.task.operation == "subtract" else of_b


@measure(title="mean of cos(φ_c − φ_a − φ_b) over single-frequency neurons", source=NANDA)
def neuron_phase_agreement(subject: Subject) -> float:
    single, frequencies, of_a, of_b = _single(subject)
    agreement = phase_agreement((of_a, of_b), output_phases(subject.W_L[single], frequencies))
    why = f"no neuron has one frequency that explains more than {SINGLE_FREQUENCY_SHARE:g} of its variance"
    return present(agreement, why)


@measure(
    title="mean of cos(φ_a − φ_b) over the single-frequency neurons of each key k: 1 on a disc, 0 on a torus",
    source="Moisescu-Pareja et al. (2025)", shape="by key frequency", columns="phase_alignment_{}", on_request=True,
)  # fmt: skip
def phase_alignment(subject: Subject) -> dict[int, float]:
    """For a − b, cos(φ_a + φ_b). A key frequency without such neurons is left out."""
    keys = key_frequencies_of(subject)
    _, frequencies, of_a, of_b = _single(subject)
    found = {k: (of_a - of_b)[frequencies == k] for k in keys}
    return {k: float(difference.cos().mean()) for k, difference in found.items() if len(difference)}
