"""The real Fourier basis over Z_p, transforms and projections with it, and sums over a residue of (a, b).

For each p, odd or even, the basis F is a p × p orthonormal matrix of float64 whose rows are

    row 0: constant        row 2k − 1: cos w_k x        row 2k: sin w_k x        w_k = 2πk/p,  k = 1..⌊p/2⌋

where an even p has no sine at k = p/2 (it is zero everywhere): its last row is the alternating cosine.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import lru_cache

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from interp.utils.arguments import given, is_zero_dimensional, room_for, whole
from interp.utils.errors import ConfigError
from interp.utils.torch_state import computing


@computing()
def fourier_basis(p: int) -> Float[Tensor, "{p} {p}"]:
    """Return the orthonormal basis F of Z_p in float64, one function a row; `F @ F.T` is the identity."""
    p = whole("p", p, 1)
    room_for("the basis (p × p)", p, p)
    return shared_basis(p).clone()


@lru_cache(maxsize=16)
@computing()
def shared_basis(p: int) -> Float[Tensor, "{p} {p}"]:
    """Return the basis that interp's own functions share, which never write to it."""
    x = torch.arange(p)
    k = torch.arange(1, p // 2 + 1)[:, None]
    angle = (2 * math.pi / p) * (k * x % p).double()  # reduced first, so large k loses no digits
    waves = torch.stack([angle.cos(), angle.sin()], dim=1).flatten(0, 1)
    basis = torch.cat([torch.ones(1, p, dtype=torch.float64), waves])[:p]
    return basis / basis.norm(dim=1, keepdim=True)


def frequency_rows(p: int, k: int) -> list[int]:
    """Return the rows of the basis for frequency k: its cosine and, unless k = p/2, its sine."""
    (k,) = frequencies_of(p, [k])
    return [2 * k - 1] if 2 * k == p else [2 * k - 1, 2 * k]


def by_frequency(coefficients: Float[Tensor, "p *rest"]) -> Float[Tensor, "n_frequencies *rest"]:
    """Return sqrt(cos² + sin²) of each frequency k = 1..⌊p/2⌋, from coefficients along the rows of the basis."""
    p = coefficients.shape[0]
    squares = coefficients[1:].square()
    if p % 2 == 0:
        squares = torch.cat([squares, torch.zeros_like(squares[:1])])
    return squares.unflatten(0, (p // 2, 2)).sum(1).sqrt()


def project(x: Float[Tensor, "p *rest"], frequencies: Iterable[int]) -> Float[Tensor, "p *rest"]:
    """Return the projection of x, along its first axis, onto the span of some frequencies; float64."""
    p = x.shape[0]
    rows = [row for k in frequencies_of(p, frequencies) for row in frequency_rows(p, k)]
    chosen = shared_basis(p)[rows]
    return (chosen.T @ (chosen @ x.double().flatten(1))).view(x.shape)


def sum_by_residue(x: Float[Tensor, "p p features"], residue: Int[Tensor, "p p"]) -> Float[Tensor, "p features"]:
    """Sum x[a, b] over the pairs of each residue 0..p-1, where `residue[a, b]` is (a ± b) mod p."""
    order = residue.flatten().argsort(stable=True)
    counts = torch.bincount(residue.flatten(), minlength=len(x))
    return functional.embedding_bag(order, x.flatten(0, 1), counts.cumsum(0) - counts, mode="sum")


def frequencies_of(p: int, values: Iterable[int]) -> tuple[int, ...]:
    """Return `values` as frequencies of Z_p: whole numbers from 1 to ⌊p/2⌋, each once."""
    if isinstance(values, str | bytes) or not isinstance(values, Iterable) or is_zero_dimensional(values):
        raise ConfigError(f"frequencies must be a list of whole numbers; got {given(values)}.")
    found = tuple(whole("each frequency", value, 1, p // 2 + 1) for value in values)
    if len(set(found)) < len(found):
        raise ConfigError(f"each frequency must be named once; got {given(found)}.")
    return found
