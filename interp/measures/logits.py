"""The logits seen through cos w_k(a+b−c). Everything restricted lives on s = a ± b: a p × p table of means."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from interp.errors import ConfigError
from interp.fourier import fourier_basis, project, sum_by_residue

KEY_SHARE = 0.01


def logit_table(logits: Float[Tensor, "p p p"], labels: Int[Tensor, "p p"]) -> Float[Tensor, "p p"]:
    """T[s, c]: the mean of L[a, b, c] over the p pairs whose label (a ± b) mod p is s; float64."""
    return sum_by_residue(logits.double(), labels) / len(logits)


def kept(table: Float[Tensor, "p p"], frequencies: Iterable[int]) -> Float[Tensor, "p p"]:
    """The components of the logits along cos w_k s and sin w_k s for the given k: row s holds those of a ± b = s.

    Projecting L over all p² inputs onto functions of s is projecting its table T over s, each output c by itself.
    """
    return project(table, frequencies)


def cos_coefficients(table: Float[Tensor, "p p"]) -> Float[Tensor, " n_frequencies"]:
    """c_k = ⟨L, cos w_k(s−c) / ‖cos w_k(s−c)‖⟩ over all (a, b, c), s = a ± b, for k = 1..⌊p/2⌋.

    The sum over a, b and c at fixed s − c = r is a function of r, and c_k is its coefficient along row cos w_k of
    the basis: that row's norm over r and the norm over (a, b, c) differ by the factor p that the mean took out.
    """
    p = len(table)
    s = torch.arange(p)
    diagonal = table.double()[s[:, None], (s[:, None] - s[None, :]) % p].sum(0)  # [s, r] → [r]
    return (fourier_basis(p) @ diagonal)[1::2]


def key_frequencies(coefficients: Float[Tensor, " n_frequencies"], share: float = KEY_SHARE) -> tuple[int, ...]:
    """{k : c_k² / Σ_j c_j² > share}, ascending; empty where all coefficients are zero."""
    if not 0 < share < 1:
        raise ConfigError(f"share is {share}; it lies between 0 and 1, both excluded, such as 0.01.")
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
