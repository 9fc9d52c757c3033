"""The logits, W_L and the neurons along the waves of key frequencies: mostly from the logits' means over s = a ± b."""

from __future__ import annotations

import math
import operator
from collections.abc import Iterable, Mapping

import torch
from jaxtyping import Float, Int
from torch import Tensor

from interp.measures.registry import NANDA, builtin_measure
from interp.subjects.subject import Missing, Subject, present, quantity
from interp.tasks.fourier import frequencies_of, frequency_rows, project, shared_basis, sum_by_residue
from interp.tasks.task import Task
from interp.utils.arguments import checks_arrays, given, number, numbers_below, whole
from interp.utils.errors import ConfigError
from interp.utils.thresholds import KEY_SHARE
from interp.utils.torch_state import computing


@checks_arrays
def logit_table(logits: Float[Tensor, "p p p"], labels: Int[Tensor, "p p"]) -> Float[Tensor, "p p"]:
    """T[s, c]: the mean of L[a, b, c] over the p pairs whose label (a ± b) mod p is s; float64."""
    numbers_below("labels", labels, len(logits))
    return sum_by_residue(logits.double(), labels) / len(logits)


@checks_arrays
def kept(table: Float[Tensor, "p p"], frequencies: Iterable[int]) -> Float[Tensor, "p p"]:
    """The components of the logits along cos w_k s and sin w_k s for the given k: row s holds those of a ± b = s.

    To project L over all p² inputs onto functions of s is to project its table T over s, for each output c.
    """
    return project(table, frequencies)


@checks_arrays
@computing(grad=None)
def sums_by_difference(table: Float[Tensor, "p p"]) -> Float[Tensor, " p"]:
    """D[r]: the sum of T[s, c] over the p entries with s − c = r mod p; float64."""
    s = torch.arange(len(table))
    return table.double()[s[:, None], (s[:, None] - s[None, :]) % len(table)].sum(0)  # [s, r] → [r]


@checks_arrays
def cos_coefficients(table: Float[Tensor, "p p"]) -> Float[Tensor, " n_frequencies"]:
    """c_k = ⟨L, cos w_k(s−c) / ‖cos w_k(s−c)‖⟩ over all (a, b, c), s = a ± b, for k = 1..⌊p/2⌋.

    The sum over a, b and c at fixed s − c = r is a function of r, and c_k is its coefficient along row cos w_k of
    the basis: that row's norm over r and the norm over (a, b, c) differ by the factor p that the mean took out.
    """
    return (shared_basis(len(table)) @ sums_by_difference(table))[1::2]


def checked_share(share: float) -> float:
    """Return `share` as a float between 0 and 1, or raise ConfigError."""
    return number("share", share, above=0, below=1)


def _fit(coefficients: Float[Tensor, " n_frequencies"], p: int) -> None:
    if len(coefficients) != p // 2:
        raise ConfigError(f"coefficients must be {p // 2}, one per frequency of p = {p}; got {len(coefficients)}.")


@checks_arrays
def key_frequencies(coefficients: Float[Tensor, " n_frequencies"], share: float = KEY_SHARE) -> tuple[int, ...]:
    """{k : c_k² / Σ_j c_j² > share}, ascending; empty if all coefficients are zero."""
    share = checked_share(share)
    power = coefficients.double().square()
    return tuple((power > share * power.sum()).nonzero().flatten().add(1).tolist())


@checks_arrays
def logit_variance_explained(
    logits: Float[Tensor, "p p p"], coefficients: Float[Tensor, " n_frequencies"], frequencies: Iterable[int]
) -> float:
    """The share of the variance of L, centred over c and over pairs, along the key cos w_k(s−c); NaN if it has none."""
    centred = logits.double()
    centred = centred - centred.mean(-1, keepdim=True)
    centred = centred - centred.mean((0, 1))
    total = float(centred.square().sum())
    _fit(coefficients, len(logits))
    explained = sum(float(coefficients[k - 1]) ** 2 for k in frequencies_of(len(logits), frequencies))
    return explained / total if total else float("nan")


@checks_arrays
def amplitudes(coefficients: Float[Tensor, " n_frequencies"], frequencies: Iterable[int], p: int) -> dict[int, float]:
    """α_k of the fit Σ α_k cos w_k(s−c) to the logits, by least squares; p is the modulus.

    The waves are orthogonal over (a, b, c), so each α_k is c_k over the norm of its wave, √(p³/2), or √p³ if 2k = p.
    """
    _fit(coefficients, whole("p", p, 2))
    frequencies = frequencies_of(p, frequencies)
    return {k: float(coefficients[k - 1]) / (p**3 / (1 if 2 * k == p else 2)) ** 0.5 for k in frequencies}


@checks_arrays
@computing(grad=None)
def fitted_logits(alphas: Mapping[int, float], labels: Int[Tensor, "p p"]) -> Float[Tensor, "p p p"]:
    """Σ α_k cos w_k(s−c) for every pair and output, the circuit's part of the logits; L less it is the residual."""
    p = len(labels)
    numbers_below("labels", labels, p)
    if not isinstance(alphas, Mapping):
        raise ConfigError(f"alphas must map frequencies to numbers; got {given(alphas)}.")
    frequencies_of(p, list(alphas))
    r = torch.arange(p)
    wave = torch.zeros(p, dtype=torch.float64)
    for k, alpha in alphas.items():
        wave += number(f"alpha of frequency {k}", alpha) * torch.cos(2 * math.pi / p * (k * r % p).double())
    return wave[(labels[..., None] - r) % p]


@checks_arrays
def key_share(W_L: Float[Tensor, "d_mlp p"], frequencies: Iterable[int]) -> float:
    """The share of ‖W_L‖² along cos w_k c and sin w_k c of the given k; 1 − share lies outside. NaN for W_L = 0."""
    total = float(W_L.double().square().sum())
    return float(project(W_L.T, frequencies).square().sum()) / total if total else float("nan")


@checks_arrays
def output_directions(W_L: Float[Tensor, "d_mlp p"], frequencies: Iterable[int]) -> Float[Tensor, "d_mlp n"]:
    """u_k and v_k of each given k: the directions of W_L along cos w_k c and sin w_k c (u_k alone if 2k = p)."""
    rows = [row for k in frequencies_of(W_L.shape[1], frequencies) for row in frequency_rows(W_L.shape[1], k)]
    return W_L.double() @ shared_basis(W_L.shape[1])[rows].T


@checks_arrays
@computing(grad=None)
def projection_shares(
    neurons: Float[Tensor, "p p d_mlp"],
    W_L: Float[Tensor, "d_mlp p"],
    labels: Int[Tensor, "p p"],
    frequencies: Iterable[int],
) -> dict[int, tuple[float, float]]:
    """How much of the neurons, projected on u_k and v_k, is a multiple of cos w_k s and of sin w_k s, s the label.

    u_k and v_k are the `output_directions`. Each is a share of the variance over pairs; NaN if that is zero, and for
    the sine of k = p/2, which does not exist.
    """
    p = len(labels)
    basis = shared_basis(p)
    numbers_below("labels", labels, p)
    chosen = {k: frequency_rows(p, k) for k in frequencies_of(p, frequencies)}
    rows = [row for pair in chosen.values() for row in pair]
    directions = output_directions(W_L, chosen)
    read = neurons.flatten(0, 1) @ directions.to(neurons.dtype)
    read = read.double() - read.double().mean(0)
    waves = basis[rows][:, labels.flatten()].T / p**0.5  # of norm 1 over pairs
    power = read.square().sum(0)
    share = ((read * waves).sum(0).square() / torch.where(power > 0, power, torch.nan)).tolist()
    found = dict(zip(rows, share, strict=True))
    return {k: (found[pair[0]], found[pair[1]] if len(pair) == 2 else float("nan")) for k, pair in chosen.items()}


@checks_arrays
def fourier_norms_2d(logits: Float[Tensor, "p p p"]) -> Float[Tensor, "p p"]:
    """The norm over outputs c of each component of the logits along F_x(a) · F_y(b), [x, y]: F · L · Fᵀ for every c."""
    basis = shared_basis(len(logits))
    along_a = (basis @ logits.double().flatten(1)).view(logits.shape)
    return (basis @ along_a).norm(dim=-1)


@checks_arrays
def correct_logit(logits: Float[Tensor, "*pairs c"], labels: Int[Tensor, "*pairs"]) -> Float[Tensor, "*pairs"]:
    """The logit of the right answer of every pair, less the mean over all outputs; float64."""
    numbers_below("labels", labels, logits.shape[-1])
    logits = logits.double()
    return logits.gather(-1, labels[..., None]).squeeze(-1) - logits.mean(-1)


@checks_arrays
def size_of_rest(
    logits: Float[Tensor, "p p p"], restricted: Float[Tensor, "p p"], labels: Int[Tensor, "p p"]
) -> Float[Tensor, "p p"]:
    """The root mean square, over the p pairs of each label s, of L[a, b, c] − R[s, c]; both centred over c.

    R are logits that depend on the label alone, such as those restricted to the key frequencies.
    """
    numbers_below("labels", labels, len(logits))
    rest = logits.double() - restricted.double()[labels]
    rest = rest - rest.mean(-1, keepdim=True)
    return (sum_by_residue(rest.square(), labels) / len(logits)).sqrt()


# ── measures ─────────────────────────────────────────────────────────────────────────────────────────────────────


@quantity
def table(subject: Subject) -> Float[Tensor, "p p"]:
    subject.needs_fourier()
    return logit_table(subject.logits, subject.task.labels)


@builtin_measure(
    name="cos_coefficients", title="coefficients of the logits along cos w_k(a + b − c)", source=NANDA,
    shape="[⌊p/2⌋]", columns="cos_coefficient_{}", first=1,
)  # fmt: skip
def cos_coefficients_of(subject: Subject) -> Float[Tensor, " n_frequencies"]:
    return cos_coefficients(table(subject))


@builtin_measure(
    name="key_frequencies", title="the k whose cos w_k(a + b − c) carries more than 1 % of the squared coefficients",
    source=NANDA, shape="a list",
)  # fmt: skip
def key_frequencies_of(subject: Subject, *, share: float = KEY_SHARE) -> tuple[int, ...]:
    return key_frequencies(cos_coefficients_of(subject), share)


@builtin_measure(
    name="logit_variance_explained", title="share of the centred logits' variance in the key cos w_k(a + b − c)",
    source=NANDA,
)  # fmt: skip
def logit_variance_explained_of(subject: Subject) -> float:
    subject.needs_fourier()
    explained = logit_variance_explained(subject.logits, cos_coefficients_of(subject), key_frequencies_of(subject))
    why = "the logits, centred over outputs, are the same for every pair: no variance to explain"
    return present(explained, why)


@builtin_measure(
    title="share of pairs that the key cosines alone decide, whatever the rest of the logits does", on_request=True,
    source="after Wu et al. (2024) and Yip et al. (2024)",
)  # fmt: skip
def explained_accuracy(subject: Subject) -> float:
    """A pair counts if max r − min r < m(0) − max m(δ ≠ 0), with m(δ) = Σ α_k cos w_k δ (key k), r = L − m(s − c)."""
    p, keys = subject.task.p, key_frequencies_of(subject)
    alphas = amplitudes(cos_coefficients_of(subject), keys, p)
    fitted = fitted_logits(alphas, subject.task.labels)
    wave = fitted[0, 0]  # of the label 0, where m(−c) = m(c)
    rest = subject.logits.double() - fitted
    return float((rest.amax(-1) - rest.amin(-1) < wave[0] - wave[1:].max()).double().mean())


@builtin_measure(
    title="mean over the key k of how much of the neurons along u_k, v_k is a multiple of cos, sin w_k(a + b)",
    source=NANDA,
)  # fmt: skip
def neuron_projection_share(subject: Subject) -> float:
    keys = key_frequencies_of(subject)
    shares = projection_shares(subject.neurons, subject.W_L, subject.task.labels, keys)
    if not keys:
        raise Missing("there is no key frequency")
    there = [share for pair in shares.values() for share in pair if not math.isnan(share)]
    if not there:
        raise Missing("the neurons along u_k and v_k are the same for every pair, for each key frequency k")
    return math.fsum(there) / len(there)


@builtin_measure(title="share of ‖W_L‖² along cos, sin w_k c of the key k", source=NANDA)
def neuron_logit_key_share(subject: Subject) -> float:
    subject.needs_fourier()
    return present(key_share(subject.W_L, key_frequencies_of(subject)), "W_L is zero, so it has no shares")


def checked_frequencies(given: Iterable[int] | None, task: Task) -> tuple[int, ...] | None:
    """Return the key frequencies that a caller gives, ascending; ConfigError if the task does not have them."""
    if given is None:
        return None
    try:
        frequencies = tuple(sorted({operator.index(k) for k in given}))
    except TypeError:
        raise ConfigError(f"key_frequencies must be whole numbers, such as [14, 35]; got {given!r}.") from None
    if task.why_no_fourier:
        raise ConfigError(f"key_frequencies must be left out: {task.why_no_fourier}.")
    if bad := [k for k in frequencies if not 1 <= k <= task.p // 2]:
        raise ConfigError(f"key_frequencies must lie in 1..{task.p // 2}, those of p = {task.p}; got {bad}.")
    return frequencies
