"""Fourier structure of the neurons at the last position, after the activation, over all pairs."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from interp.measures.logits import key_frequencies_of
from interp.measures.registry import NANDA, builtin_measure
from interp.subjects.subject import Subject, present, quantity
from interp.tasks.fourier import by_frequency, shared_basis, sum_by_residue
from interp.utils.arguments import checks_arrays, given, numbers_below, whole
from interp.utils.errors import ConfigError
from interp.utils.torch_state import computing

SINGLE_FREQUENCY_SHARE = 0.85


@checks_arrays
@computing(grad=None)
def frequency_shares(neurons: Float[Tensor, "p p d_mlp"]) -> Float[Tensor, "n_frequencies d_mlp"]:
    """The share of each neuron's variance over pairs that each frequency k explains; 0 for a neuron that never varies.

    It is the squared norm of the 8 terms {const, cos, sin}(w_k a) × {const, cos, sin}(w_k b), const × const left out,
    over the total. The four products of waves span the same space as the waves of a + b and of a − b, so four
    one-dimensional transforms replace the two-dimensional one.
    """
    variance = neurons.flatten(0, 1).var(dim=0, correction=0).double()
    return _shares(neurons, (neurons.sum(1), neurons.sum(0)), variance)


def _shares(
    neurons: Float[Tensor, "p p d_mlp"],
    marginals: tuple[Float[Tensor, "p d_mlp"], Float[Tensor, "p d_mlp"]],
    variance: Float[Tensor, " d_mlp"],
) -> Float[Tensor, "n_frequencies d_mlp"]:
    p = len(neurons)
    a = torch.arange(p)
    diagonals = [sum_by_residue(neurons, (a[:, None] + sign * a) % p) for sign in (1, -1)]
    basis = shared_basis(p)
    power = [by_frequency(basis @ table.double()).square() / p for table in (*marginals, *diagonals)]
    if p % 2 == 0:
        power[3][-1] = 0  # (−1)^(a−b) is (−1)^(a+b), which is counted already
    total = variance * p * p
    return torch.stack(power).sum(0) / torch.where(total > 0, total, torch.inf)


def _variance(neurons: Float[Tensor, "p p d_mlp"]) -> Float[Tensor, " d_mlp"]:
    """Return each neuron's variance over pairs, float64, exactly 0 if it never varies; row by row, which is faster."""
    origin = neurons[0, 0].double()  # subtracted first, so that no two large numbers are subtracted later
    total, squares = torch.zeros_like(origin), torch.zeros_like(origin)
    for row in neurons:
        shifted = row.double() - origin
        total += shifted.sum(0)
        squares += shifted.square().sum(0)
    n = len(neurons) ** 2
    return squares / n - (total / n) ** 2


@checks_arrays
def neuron_frequencies(shares: Float[Tensor, "n_frequencies d_mlp"]) -> Int[Tensor, " d_mlp"]:
    """The frequency k that explains most of each neuron."""
    return shares.argmax(0) + 1


@checks_arrays
def purity(shares: Float[Tensor, "n_frequencies d_mlp"]) -> Float[Tensor, " d_mlp"]:
    """The share of each neuron's variance that its frequency explains."""
    return shares.amax(0)


@checks_arrays
def single_frequency_neurons(shares: Float[Tensor, "n_frequencies d_mlp"]) -> float:
    """The fraction of neurons of which one frequency explains more than 0.85."""
    return float(is_single_frequency(shares).double().mean())


@checks_arrays
def is_single_frequency(shares: Float[Tensor, "n_frequencies d_mlp"]) -> Bool[Tensor, " d_mlp"]:
    """True for each neuron of which one frequency explains more than 0.85."""
    return purity(shares) > SINGLE_FREQUENCY_SHARE


@checks_arrays
def clusters(shares: Float[Tensor, "n_frequencies d_mlp"]) -> dict[int, Int[Tensor, " n"]]:
    """The single-frequency neurons of each frequency, ascending; other neurons belong to no cluster."""
    single, frequencies = is_single_frequency(shares), neuron_frequencies(shares)
    return {int(k): (single & (frequencies == k)).nonzero().flatten() for k in frequencies[single].unique(sorted=True)}


@checks_arrays
def representatives(
    shares: Float[Tensor, "n_frequencies d_mlp"], alive: Bool[Tensor, " d_mlp"], most: int = 5
) -> Int[Tensor, " n"]:
    """The purest neuron of each frequency, ascending, then the least pure neuron that is alive.

    The frequencies are the `most` that have most single-frequency neurons. The least pure neuron is left out if all
    that are alive have a single frequency. Empty if none has.
    """
    if alive.shape != shares.shape[1:]:
        raise ConfigError(f"alive must have an entry for each of the {shares.shape[1]} neurons; got {len(alive)}.")
    share, of_each = purity(shares), clusters(shares)
    shown = sorted(sorted(of_each, key=lambda k: -len(of_each[k]))[: whole("most", most, 1)])
    chosen = [int(of_each[k][share[of_each[k]].argmax()]) for k in shown]
    others = (alive & ~is_single_frequency(shares)).nonzero().flatten()
    if chosen and len(others):
        chosen.append(int(others[share[others].argmin()]))
    return torch.tensor(chosen, dtype=torch.int64)


@checks_arrays
def input_phases(
    neurons: Float[Tensor, "p p d_mlp"], frequencies: Int[Tensor, " d_mlp"]
) -> tuple[Float[Tensor, " d_mlp"], Float[Tensor, " d_mlp"]]:
    """φ_a and φ_b of each neuron: its means over b and over a go like cos(w_k a − φ_a) and cos(w_k b − φ_b)."""
    numbers_below("frequencies", frequencies, len(neurons) // 2 + 1, least=1)
    return _input_phases((neurons.sum(1), neurons.sum(0)), frequencies)


def _input_phases(
    marginals: tuple[Float[Tensor, "p d_mlp"], Float[Tensor, "p d_mlp"]], frequencies: Int[Tensor, " d_mlp"]
) -> tuple[Float[Tensor, " d_mlp"], Float[Tensor, " d_mlp"]]:
    over_a, over_b = (shared_basis(len(table)) @ table.double() for table in marginals)
    return _phases(over_a, frequencies), _phases(over_b, frequencies)


@checks_arrays
def output_phases(W_L: Float[Tensor, "d_mlp p"], frequencies: Int[Tensor, " d_mlp"]) -> Float[Tensor, " d_mlp"]:
    """φ_c of each neuron: its contribution to the logits goes like cos(w_k c − φ_c)."""
    numbers_below("frequencies", frequencies, W_L.shape[1] // 2 + 1, least=1)
    return _phases(shared_basis(W_L.shape[1]) @ W_L.T.double(), frequencies)


@computing(grad=None)
def _phases(coefficients: Float[Tensor, "p d_mlp"], frequencies: Int[Tensor, " d_mlp"]) -> Float[Tensor, " d_mlp"]:
    p, index = len(coefficients), torch.arange(len(frequencies))
    sine = torch.where(2 * frequencies < p, 2 * frequencies, 0)  # 0 for k = p/2, which has no sine
    return torch.atan2(torch.where(sine > 0, coefficients[sine, index], 0.0), coefficients[2 * frequencies - 1, index])


@checks_arrays
def phase_agreement(phases: tuple[Float[Tensor, " n"], Float[Tensor, " n"]], output: Float[Tensor, " n"]) -> float:
    """The mean of cos(φ_c − φ_a − φ_b) over n neurons: 1 if each votes for the sum that it detects.

    The product of cos(w a − φ_a) and cos(w b − φ_b) contains cos(w (a + b) − φ_a − φ_b), so a neuron that is read out
    with φ_c = φ_a + φ_b adds to the logit of c = a + b. Unrelated phases give about 0; no neurons give NaN. For a
    network of a − b, pass −φ_b.
    """
    if not isinstance(phases, tuple | list) or [getattr(one, "shape", None) for one in phases] != [output.shape] * 2:
        raise ConfigError(f"phases must be two tensors of output's shape, {tuple(output.shape)}; got {given(phases)}.")
    return float((output - phases[0] - phases[1]).cos().mean())


# ── measures ─────────────────────────────────────────────────────────────────────────────────────────────────────


@quantity
def _marginals(subject: Subject) -> tuple[Float[Tensor, "p d_mlp"], Float[Tensor, "p d_mlp"]]:
    return subject.neurons.sum(1), subject.neurons.sum(0)


@quantity
def shares_of(subject: Subject) -> Float[Tensor, "n_frequencies d_mlp"]:
    """`frequency_shares` of the subject's neurons."""
    subject.needs_fourier()
    return _shares(subject.neurons, _marginals(subject), _variance(subject.neurons))


@builtin_measure(
    name="single_frequency_neurons", title="share of neurons of which one frequency explains more than 0.85",
    source=NANDA,
)  # fmt: skip
def single_frequency_neurons_of(subject: Subject) -> float:
    return single_frequency_neurons(shares_of(subject))


@builtin_measure(
    title="number of neurons of which frequency k explains more than 0.85, for each k", shape="[⌊p/2⌋]",
    columns="neurons_of_frequency_{}", first=1, on_request=True, source=NANDA,
)  # fmt: skip
def neurons_of_frequency(subject: Subject) -> Int[Tensor, " n_frequencies"]:
    shares = shares_of(subject)
    own = neuron_frequencies(shares)[is_single_frequency(shares)]
    return torch.bincount(own - 1, minlength=len(shares))


@quantity
def _single(
    subject: Subject,
) -> tuple[Bool[Tensor, " d_mlp"], Int[Tensor, " n"], Float[Tensor, " n"], Float[Tensor, " n"]]:
    """Return the mask of single-frequency neurons, and their frequencies, φ_a and φ_b (−φ_b for a − b)."""
    shares = shares_of(subject)
    single = is_single_frequency(shares)
    frequencies = neuron_frequencies(shares)[single]
    over_b, over_a = _marginals(subject)
    of_a, of_b = _input_phases((over_b[:, single], over_a[:, single]), frequencies)
    return single, frequencies, of_a, -of_b if subject.task.sign == -1 else of_b


@builtin_measure(title="mean of cos(φ_c − φ_a − φ_b) over single-frequency neurons", source=NANDA)
def neuron_phase_agreement(subject: Subject) -> float:
    single, frequencies, of_a, of_b = _single(subject)
    agreement = phase_agreement((of_a, of_b), output_phases(subject.W_L[single], frequencies))
    why = f"no neuron has one frequency that explains more than {SINGLE_FREQUENCY_SHARE:g} of its variance"
    return present(agreement, why)


@quantity
def phases_of(subject: Subject) -> tuple[Int[Tensor, " n"], Float[Tensor, " n"], Float[Tensor, " n"]]:
    """Return k, φ_a + φ_b (φ_a − φ_b for a − b) and φ_c of each single-frequency neuron: its input and its output."""
    single, frequencies, of_a, of_b = _single(subject)
    return frequencies, of_a + of_b, output_phases(subject.W_L[single], frequencies)


@builtin_measure(
    title="mean of cos(φ_a − φ_b) over the single-frequency neurons of each key k: 1 on a disc, 0 on a torus",
    source="Moisescu-Pareja et al. (2025)", shape="by key frequency", columns="phase_alignment_{}", on_request=True,
)  # fmt: skip
def phase_alignment(subject: Subject) -> dict[int, float]:
    """For a − b, the mean of cos(φ_a + φ_b). A key frequency without such neurons is left out."""
    keys = key_frequencies_of(subject)
    _, frequencies, of_a, of_b = _single(subject)
    found = {k: (of_a - of_b)[frequencies == k] for k in keys}
    return {k: float(difference.cos().mean()) for k, difference in found.items() if len(difference)}
