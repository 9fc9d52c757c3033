"""Which mechanism a network uses, clock or pizza (Zhong et al., "The Clock and the Pizza", NeurIPS 2023)."""

from __future__ import annotations

from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from interp.arguments import checks_arrays, numbers_below


@checks_arrays
def gradient_cosines(grad_a: Float[Tensor, "n p d"], grad_b: Float[Tensor, "n p d"]) -> Float[Tensor, "n p"]:
    """The cosine similarity of ∂L[a, b, c]/∂E_a and ∂L[a, b, c]/∂E_b, of n pairs and all c.

    It is 0 where a gradient vanishes. Gradient symmetricity is its mean over pairs and outputs: near 1 for a pizza,
    which reads a and b through their sum.
    """
    return functional.cosine_similarity(grad_a.double(), grad_b.double(), dim=-1)


@checks_arrays
def distance_irrelevance(
    logits: Float[Tensor, "p p p"], labels: Int[Tensor, "p p"], distances: Int[Tensor, "p p"]
) -> float:
    """Mean over d of the standard deviation over s of M[s, d], divided by the standard deviation of all of M.

    M[s, d] is the right logit of the pair with a + b = s and a − b = d mod p (`Task.labels`, `Task.distances`). A
    pizza's right logits depend on d, so it lies near 0; a clock's do not, so it lies near 1. The deviation over s is
    that over the p pairs of one d, which for even p meet every other s twice. NaN where M is constant.
    """
    numbers_below("labels", labels, len(labels))
    right = logits.double().gather(-1, labels[..., None]).flatten()
    by_distance = right[distances.flatten().argsort(stable=True)].view(len(labels), -1)  # [d, p]
    spread = float(right.std(correction=0))
    return float(by_distance.std(1, correction=0).mean()) / spread if spread else float("nan")
