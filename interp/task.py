"""The task: a modulus, an operation, the p*p input pairs with their labels, and the train/test split."""

from __future__ import annotations

import operator
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal, get_args

import numpy as np
import torch
from jaxtyping import Bool, Int
from torch import Tensor

from interp.errors import ConfigError

Operation = Literal["add", "subtract", "quadratic", "random"]
Split = Literal["paper", "torch"]

OPERATIONS: tuple[Operation, ...] = get_args(Operation)
SPLITS: tuple[Split, ...] = get_args(Split)
SplitLike = str | Tensor | np.ndarray | Sequence[Any]  # what as_mask takes

PAPER_FRACTION = 0.3

_NO_FOURIER = {
    "quadratic": "x^2 + xy + y^2 mod p is no function of a ± b, so the Fourier measures are not defined for it",
    "random": "random labels are no function of a ± b, so the Fourier measures are not defined for them",
}


@dataclass(frozen=True, eq=False)
class Task:
    """Learn `label[a, b]`, a number mod p, for all a and b in 0..p-1.

    `operation` is one of

    - `"add"`: a + b mod p, the task of Nanda et al. (2023);
    - `"subtract"`: a - b mod p, which is addition under b → -b, so every Fourier measure holds for it too;
    - `"quadratic"`: a² + ab + b² mod p (Power et al., 2022), measured by its losses only;
    - `"random"`: labels drawn uniformly with `seed`, which can only be memorized; losses only.

    `p` is any integer of at least 2; even moduli are fine. Tasks with the same labels by these rules are equal: `seed`
    counts for random labels alone, so Task(113, seed=1) == Task(113).
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

    def _identity(self) -> tuple[int, Operation, int | None]:
        return self.p, self.operation, self.seed if self.operation == "random" else None

    def __eq__(self, other: object) -> bool:
        return self._identity() == other._identity() if isinstance(other, Task) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._identity())

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
    def distances(self) -> Int[Tensor, "{self.p} {self.p}"]:
        """What a label leaves open: a - b mod p where it is a + b, and a + b where it is a - b; [p, p]."""
        return replace(self, operation="subtract" if self.operation == "add" else "add").labels

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
    try:
        seed = operator.index(seed)
    except TypeError:
        raise ConfigError(f"seed is {seed!r}; it is a whole number.") from None
    if split == "torch" and not -(2**63) <= seed < 2**64:
        raise ConfigError(f"seed is {seed}; torch takes seeds below 2**64.")
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


def as_mask(
    split: SplitLike | None, seed: int | None, p: int, fraction: float = PAPER_FRACTION
) -> Bool[Tensor, "{p} {p}"] | None:
    """The train mask [p, p], true = train, of a split however it is given; None for None.

    `split` is "paper" or "torch" with the `seed` it was drawn with (and `fraction`); a bool mask [p, p]; the train
    pairs as indices a * p + b, or as an [n, 2] list of (a, b) (an [n, 3] list of (a, b, "=") too); or a tuple of two
    such lists, (train, test), which have to share all pairs between them. Raises ConfigError for anything else.
    """
    if seed is not None and not isinstance(split, str):
        raise ConfigError(f"seed {seed} is given without the split it draws; give {' or '.join(SPLITS)} too.")
    if split is None:
        return None
    if isinstance(split, str):
        if split not in SPLITS:
            raise ConfigError(
                f"split is {split!r}; give {' or '.join(SPLITS)} with a seed, a bool mask [p, p], or lists of indices."
            )
        if seed is None:
            raise ConfigError(f"split={split!r} needs the seed it was drawn with; give seed (--seed) too.")
        return split_mask(p, fraction, seed, split)
    two = isinstance(split, tuple | list) and len(split) == 2
    if two and (isinstance(split, tuple) or all(np.size(part) > 3 for part in split)):
        train, test = (_mask_of(part, p) for part in split)
        if not torch.equal(test, ~train):
            raise ConfigError(
                f"the train and test lists share {int((train & test).sum())} of the {p * p} pairs of p = {p} and leave "
                f"out {int((~train & ~test).sum())}; every pair belongs to one of them."
            )
        return train
    return _mask_of(split, p)


def _mask_of(split: Any, p: int) -> Bool[Tensor, "{p} {p}"]:
    try:
        listed = split.cpu().numpy() if isinstance(split, Tensor) else np.asarray(split)
        # In the caller's own integers, a * p + b could overflow.
        given = torch.as_tensor(listed.astype(np.int64) if listed.dtype.kind in "iu" else listed)
    except (TypeError, ValueError):  # ragged, sparse, of objects
        given = torch.zeros(())
    what = f"split is {given.dtype} {list(given.shape)}"
    if given.dtype == torch.bool:
        if given.shape != (p, p):
            raise ConfigError(f"{what}; a mask is bool [{p}, {p}], true = train.")
        mask = given.clone()
    else:
        pairs = given.ndim == 2 and given.shape[1] in (2, 3)
        if given.dtype.is_floating_point or given.dtype.is_complex or not (given.ndim == 1 or pairs):
            raise ConfigError(f"{what}; give a bool mask [{p}, {p}], or train pairs as indices a * p + b or as (a, b).")
        bad = given[:, :2].flatten() if pairs else given
        limit = p if pairs else p * p
        bad = bad[(bad < 0) | (bad >= limit)]
        if len(bad):
            raise ConfigError(
                f"split names {'a number' if pairs else 'a pair'} {int(bad[0])}, outside 0..{limit - 1} of p = {p}; "
                "it belongs to another modulus."
            )
        indices = given[:, 0] * p + given[:, 1] if pairs else given
        if twice := len(indices) - len(indices.unique()):
            raise ConfigError(
                f"split names {twice} of its {len(indices)} pairs more than once; name each train pair once (a vector "
                f"of 0 and 1 would be a mask, bool [{p}, {p}])."
            )
        mask = torch.zeros(p * p, dtype=torch.bool)
        mask[indices] = True
        mask = mask.view(p, p)
    if not mask.any():
        raise ConfigError(f"the split has no train pair among the {p * p} of p = {p}; true = train.")
    return mask
