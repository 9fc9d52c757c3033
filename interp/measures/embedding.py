"""Fourier structure of the embedding W_E and of the neuron-logit map W_L = W_out · W_U."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from interp.measures.registry import NANDA, builtin_measure
from interp.subjects.subject import Subject, present
from interp.tasks.fourier import frequency_rows, shared_basis
from interp.utils.arguments import checks_arrays
from interp.utils.errors import ConfigError
from interp.utils.torch_state import computing


@checks_arrays
def fourier_norms(W: Float[Tensor, "p d"]) -> Float[Tensor, " p"]:
    """The norm over d of each row of F·W, for W = W_E[:p], or W_L[:, :p] transposed for structure over outputs c."""
    return (shared_basis(len(W)) @ W.double()).norm(dim=1)


@checks_arrays
@computing(grad=None)
def gini(x: Float[Tensor, " n"]) -> float:
    """Gini coefficient Σ_ij |x_i − x_j| / (2 n Σ x) of n values ≥ 0: 0 (all equal) to 1 − 1/n; NaN if all are 0."""
    n = len(x)
    if n and float(x.min()) < 0:
        raise ConfigError(f"x must be at least 0 everywhere; got {float(x.min()):g}.")
    ascending = x.double().sort().values
    weight = 2 * torch.arange(1, n + 1, dtype=torch.float64) - n - 1
    total = float(ascending.sum())
    return float((weight * ascending).sum()) / (n * total) if total else float("nan")


_NO_DIRECTION = 1e-6  # of the larger singular value; float32 weights are rounded at a tenth of this


@checks_arrays
@computing(grad=None)
def circle_directions(W: Float[Tensor, "p d"], k: int) -> Float[Tensor, "2 d"]:
    """Return the two orthonormal directions, of length d, that are nearest to W's components of frequency k; float64.

    The components are the cosine and the sine row U [2, d] of F·W. The directions are the orthogonal factor of the
    polar decomposition of U, which treats both components alike. For W[n] = r·(cos(2πkn/p)·e + sin(2πkn/p)·e′) with
    orthonormal e and e′ they are e and e′. If U has one direction only, as at k = p/2, which has no sine, both rows lie
    along it, and `on_circle` gives points on a line; if U is zero, both rows are zero.
    """
    U = shared_basis(len(W))[frequency_rows(len(W), k)] @ W.double()
    U = torch.cat([U, U.new_zeros(2 - len(U), U.shape[1])])
    left, singular, right = torch.linalg.svd(U, full_matrices=False)
    there = singular > _NO_DIRECTION * singular[0]
    return left[:, there] @ right[there]


@checks_arrays
def on_circle(W: Float[Tensor, "p d"], directions: Float[Tensor, "2 d"]) -> Float[Tensor, "p 2"]:
    """Project each row of W on two directions: (r·cos(2πkn/p), r·sin(2πkn/p)) for the W of `circle_directions`."""
    return W.double() @ directions.double().T


# ── measures ─────────────────────────────────────────────────────────────────────────────────────────────────────


@builtin_measure(
    title="norm of W_E along each row of the Fourier basis: cos w_k is row 2k − 1", source=NANDA, shape="[p]"
)
def embedding_norms(subject: Subject) -> Float[Tensor, " p"]:
    subject.needs_fourier()
    return fourier_norms(subject.W_E)


@builtin_measure(title="Gini coefficient of embedding_norms: near 1 for few frequencies", source=NANDA)
def embedding_gini(subject: Subject) -> float:
    why = "W_E is zero for every number, so its norms have no Gini coefficient"
    return present(gini(embedding_norms(subject)), why)


@builtin_measure(title="norm of W_L along the same rows, over outputs", source=NANDA, shape="[p]")
def unembedding_norms(subject: Subject) -> Float[Tensor, " p"]:
    subject.needs_fourier()
    return fourier_norms(subject.W_L.T)


@builtin_measure(title="Gini coefficient of unembedding_norms", source=NANDA)
def unembedding_gini(subject: Subject) -> float:
    return present(gini(unembedding_norms(subject)), "W_L is zero, so its norms have no Gini coefficient")
