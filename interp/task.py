"""The task: a modulus, an operation, the p*p input pairs with their labels, and the train/test split."""

from __future__ import annotations

import operator
import random
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, get_args

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from interp.errors import ConfigError

Operation = Literal["add", "subtract", "quadratic", "random"]
Split = Literal["paper", "torch"]

OPERATIONS: tuple[Operation, ...] = get_args(Operation)
SPLITS: tuple[Split, ...] = get_args(Split)

_NO_FOURIER = {
    "quadratic": "x^2 + xy + y^2 mod p is no function of a ± b, so the Fourier measures are not defined for it",
    "random": "random labels are no function of a ± b, so the Fourier measures are not defined for them",
}


@dataclass(frozen=True)
class Task:
    """Learn `label[a, b]`, a number mod p, for all a and b in 0..p-1.

    `operation` is one of

    - `"add"`: a + b mod p, the task of Nanda et al. (2023);
    - `"subtract"`: a - b mod p, which is addition under b → -b, so every Fourier measure holds for it too;
    - `"quadratic"`: a² + ab + b² mod p (Power et al., 2022), measured by its losses only;
    - `"random"`: labels drawn uniformly with `seed`, which can only be memorized; losses only.

    `p` is any integer of at least 2; even moduli are fine.
    Raises ConfigError for another p or operation.
    """

    p: int
    operation: Operation = "add"
    seed: int = 0

    def __post_init__(self) -> None:
        try:
            p = operator.index(self.p)
        except TypeError:
            p = 0
        if isinstance(self.p, bool) or p < 2:
            raise ConfigError(f"p is {self.p!r}; a modulus is an integer of at least 2, such as 113.")
        object.__setattr__(self, "p", p)  # numpy's integers are welcome
        if self.operation not in OPERATIONS:
            raise ConfigError(f"operation is {self.operation!r}; choose one of {', '.join(OPERATIONS)}.")

    @cached_property
    def labels(self) -> Int[Tensor, "{self.p} {self.p}"]:
        """The right answer of every pair: `labels[a, b]` in 0..p-1, shape [p, p]."""
        a = torch.arange(self.p)[:, None]
        b = torch.arange(self.p)[None, :]
        match self.operation:
            case "add":
                return (a + b) % self.p
            case "subtract":
                return (a - b) % self.p
            case "quadratic":
                return (a * a + a * b + b * b) % self.p
            case "random":
                generator = torch.Generator().manual_seed(self.seed)
                return torch.randint(self.p, (self.p, self.p), generator=generator)

    @property
    def why_no_fourier(self) -> str | None:
        """Why the Fourier measures do not exist for this task; None where they do."""
        return _NO_FOURIER.get(self.operation)


def split_mask(p: int, fraction: float, seed: int, split: Split = "paper") -> Bool[Tensor, "{p} {p}"]:
    """Which pairs are trained on: bool [p, p], true = train, the first `int(fraction * p * p)` of a shuffle.

    `"paper"` shuffles the lexicographic list of pairs with Python's `random` (Nanda et al., 2023);
    `"torch"` takes `torch.randperm(p * p)` of a seeded generator (Chughtai et al., 2023, and
    TransformerLens' grokking demo). Raises ConfigError where a side of the split would be empty.
    """
    if split not in SPLITS:
        raise ConfigError(f"split is {split!r}; choose one of {', '.join(SPLITS)}.")
    if not 0 < fraction < 1:
        raise ConfigError(f"train_fraction is {fraction}; it lies between 0 and 1, both excluded, such as 0.3.")
    n_train = int(fraction * p * p)
    if n_train == 0:
        raise ConfigError(
            f"train_fraction {fraction} of the {p * p} pairs of p = {p} leaves no train pair; give a larger fraction."
        )
    if split == "paper":
        order = list(range(p * p))
        random.Random(seed).shuffle(order)
        chosen = torch.tensor(order[:n_train])
    else:
        chosen = torch.randperm(p * p, generator=torch.Generator().manual_seed(seed))[:n_train]
    mask = torch.zeros(p * p, dtype=torch.bool)
    mask[chosen] = True
    return mask.view(p, p)
