"""The logits seen through cos w_k(a+b−c). Everything restricted lives on s = a ± b: a p × p table of means."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import torch
from jaxtyping import Float, Int
from torch import Tensor

from interp.arguments import number
from interp.computing import computing
from interp.fourier import frequency_rows, project, shared_basis, sum_by_residue

KEY_SHARE = 0.01


def logit_table(logits: Float[Tensor, "p p p"], labels: Int[Tensor, "p p"]) -> Float[Tensor, "p p"]:
    """T[s, c]: the mean of L[a, b, c] over the p pairs whose label (a ± b) mod p is s; float64."""
    return sum_by_residue(logits.double(), labels) / len(logits)


def kept(table: Float[Tensor, "p p"], frequencies: Iterable[int]) -> Float[Tensor, "p p"]:
    """The components of the logits along cos w_k s and sin w_k s for the given k: row s holds those of a ± b = s.

    Projecting L over all p² inputs onto functions of s is projecting its table T over s, each output c by itself.
    """
    return project(table, frequencies)


@computing(grad=None)
def sums_by_difference(table: Float[Tensor, "p p"]) -> Float[Tensor, " p"]:
    """D[r]: the sum of T[s, c] over the p entries with s − c = r mod p; float64."""
    s = torch.arange(len(table))
    return table.double()[s[:, None], (s[:, None] - s[None, :]) % len(table)].sum(0)  # [s, r] → [r]


def cos_coefficients(table: Float[Tensor, "p p"]) -> Float[Tensor, " n_frequencies"]:
    """c_k = ⟨L, cos w_k(s−c) / ‖cos w_k(s−c)‖⟩ over all (a, b, c), s = a ± b, for k = 1..⌊p/2⌋.

    The sum over a, b and c at fixed s − c = r is a function of r, and c_k is its coefficient along row cos w_k of
    the basis: that row's norm over r and the norm over (a, b, c) differ by the factor p that the mean took out.
    """
    return (shared_basis(len(table)) @ sums_by_difference(table))[1::2]


def checked_share(share: float) -> float:
    """Return `share` as a float between 0 and 1, or raise ConfigError."""
    return number("share", share, above=0, below=1)


def key_frequencies(coefficients: Float[Tensor, " n_frequencies"], share: float = KEY_SHARE) -> tuple[int, ...]:
    """{k : c_k² / Σ_j c_j² > share}, ascending; empty where all coefficients are zero."""
    share = checked_share(share)
    power = coefficients.double().square()
    return tuple((power > share * power.sum()).nonzero().flatten().add(1).tolist())


def logit_variance_explained(
    logits: Float[Tensor, "p p p"],
    coefficients: Float[Tensor, " n_frequencies"],
    frequencies: Iterable[int],
) -> float:
    """The fraction of the variance of L, centred over c and over pairs, in the key cos w_k(s−c) directions.

    NaN where L is constant and there is no variance to explain.
    """
    centred = logits.double()
    centred = centred - centred.mean(-1, keepdim=True)
    centred = centred - centred.mean((0, 1))
    total = float(centred.square().sum())
    explained = sum(float(coefficients[k - 1]) ** 2 for k in frequencies)
    return explained / total if total else float("nan")


def amplitudes(coefficients: Float[Tensor, " n_frequencies"], frequencies: Iterable[int], p: int) -> dict[int, float]:
    """α_k of the fit Σ α_k cos w_k(s−c) to the logits, by least squares; p is the modulus.

    The waves are orthogonal over (a, b, c), so each α_k is c_k over the norm of its wave, √(p³/2), or √p³ where 2k = p.
    """
    return {k: float(coefficients[k - 1]) / (p**3 / (1 if 2 * k == p else 2)) ** 0.5 for k in frequencies}


@computing(grad=None)
def fitted_logits(alphas: Mapping[int, float], labels: Int[Tensor, "p p"]) -> Float[Tensor, "p p p"]:
    """Σ α_k cos w_k(s−c) for every pair and output: what the circuit is said to compute. L less it is the residual."""
    p = len(labels)
    r = torch.arange(p)
    wave = torch.zeros(p, dtype=torch.float64)
    for k, alpha in alphas.items():
        wave += alpha * torch.cos(2 * math.pi / p * (k * r % p).double())
    return wave[(labels[..., None] - r) % p]


def key_share(W_L: Float[Tensor, "d_mlp p"], frequencies: Iterable[int]) -> float:
    """The share of ‖W_L‖² along cos w_k c and sin w_k c of the given k; 1 − share lies outside. NaN for W_L = 0."""
    total = float(W_L.double().square().sum())
    return float(project(W_L.T, frequencies).square().sum()) / total if total else float("nan")


def output_directions(W_L: Float[Tensor, "d_mlp p"], frequencies: Iterable[int]) -> Float[Tensor, "d_mlp n"]:
    """u_k and v_k of each given k: the directions of W_L along cos w_k c and sin w_k c (where 2k = p, u_k alone)."""
    rows = [row for k in frequencies for row in frequency_rows(W_L.shape[1], k)]
    return W_L.double() @ shared_basis(W_L.shape[1])[rows].T


@computing(grad=None)
def projection_shares(
    neurons: Float[Tensor, "p p d_mlp"],
    W_L: Float[Tensor, "d_mlp p"],
    labels: Int[Tensor, "p p"],
    frequencies: Iterable[int],
) -> dict[int, tuple[float, float]]:
    """How much of the neurons, projected on u_k and v_k, is a multiple of cos w_k s and of sin w_k s, s the label.

    u_k and v_k are the directions of W_L along cos w_k c and sin w_k c. Shares of the variance over pairs; NaN where
    there is none, as for the sine of k = p/2, which does not exist.
    """
    p = len(labels)
    basis = shared_basis(p)
    chosen = {k: frequency_rows(p, k) for k in frequencies}
    rows = [row for pair in chosen.values() for row in pair]
    directions = output_directions(W_L, chosen)
    read = neurons.flatten(0, 1) @ directions.to(neurons.dtype)
    read = read.double() - read.double().mean(0)
    waves = basis[rows][:, labels.flatten()].T / p**0.5  # of norm 1 over pairs
    power = read.square().sum(0)
    share = ((read * waves).sum(0).square() / torch.where(power > 0, power, torch.nan)).tolist()
    found = dict(zip(rows, share, strict=True))
    return {k: (found[pair[0]], found[pair[1]] if len(pair) == 2 else float("nan")) for k, pair in chosen.items()}


def fourier_norms_2d(logits: Float[Tensor, "p p p"]) -> Float[Tensor, "p p"]:
    """The norm over outputs c of each component of the logits along F_x(a) · F_y(b), [x, y]: F · L · Fᵀ for every c."""
    basis = shared_basis(len(logits))
    along_a = (basis @ logits.double().flatten(1)).view(logits.shape)
    return (basis @ along_a).norm(dim=-1)
