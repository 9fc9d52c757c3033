"""Fourier structure of the embedding W_E and of the neuron-logit map W_L = W_out · W_U."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from interp.arguments import checks_arrays
from interp.computing import computing
from interp.errors import ConfigError
from interp.fourier import shared_basis
from interp.measures.registry import NANDA, measure
from interp.measures.subject import Subject, present


@checks_arrays
def fourier_norms(W: Float[Tensor, "p d"]) -> Float[Tensor, " p"]:
    """The norm over d of each row of F·W: how much of W varies as each function of the basis.

    W is W_E[:p], or the transpose of W_L[:, :p] for its structure over outputs c.
    """
    return (shared_basis(len(W)) @ W.double()).norm(dim=1)


@checks_arrays
@computing(grad=None)
def gini(x: Float[Tensor, " n"]) -> float:
    """Gini coefficient of n values ≥ 0: Σ_ij |x_i − x_j| / (2 n Σ x), 0 if all are equal, 1 − 1/n if one is all.

    NaN where all values are zero.
    """
    n = len(x)
    if n and float(x.min()) < 0:
        raise ConfigError(f"x must be at least 0 everywhere; got {float(x.min()):g}.")
    ascending = x.double().sort().values
    weight = 2 * torch.arange(1, n + 1, dtype=torch.float64) - n - 1
    total = float(ascending.sum())
    return float((weight * ascending).sum()) / (n * total) if total else float("nan")


# ── measures ─────────────────────────────────────────────────────────────────────────────────────────────────────


@measure(title="norm of W_E along each row of the Fourier basis", source=NANDA, shape="[p]")
def embedding_norms(subject: Subject) -> Float[Tensor, " p"]:
    subject.needs_fourier()
    return fourier_norms(subject.W_E)


@measure(title="Gini coefficient of embedding_norms: near 1 for few frequencies", source=NANDA)
def embedding_gini(subject: Subject) -> float:
    why = "W_E is zero for every number, so its norms have no Gini coefficient"
    return present(gini(embedding_norms(subject)), why)


@measure(title="norm of W_L along each row of the Fourier basis over outputs", source=NANDA, shape="[p]")
def unembedding_norms(subject: Subject) -> Float[Tensor, " p"]:
    subject.needs_fourier()
    return fourier_norms(subject.W_L.T)


@measure(title="Gini coefficient of unembedding_norms", source=NANDA)
def unembedding_gini(subject: Subject) -> float:
    return present(gini(unembedding_norms(subject)), "W_L is zero, so its norms have no Gini coefficient")
