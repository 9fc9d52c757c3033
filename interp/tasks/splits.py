"""Train/test splits: drawn as the paper or torch does, or given as a mask or as lists of pairs."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool
from torch import Tensor

from interp.tasks.operations import PAPER_FRACTION, SPLITS, Split
from interp.utils.arguments import given, number, one_of, random_seed, room_for, whole
from interp.utils.errors import ConfigError
from interp.utils.torch_state import computing

SplitLike = str | Tensor | np.ndarray | Sequence[Any]


def check_split(p: int, fraction: float, split: str) -> int:
    """Return the number of train pairs of a split without drawing it; ConfigError if it cannot be drawn."""
    one_of("split", split, SPLITS)
    fraction = number("train_fraction", fraction, above=0, below=1)
    room_for("a shuffled list of the pairs", p, p, 5)  # 5: a number in a Python list takes 40 bytes
    n_train = int(fraction * p * p)
    if n_train == 0:
        raise ConfigError(
            f"train_fraction must leave a train pair; {fraction} of the {p * p} pairs of p = {p} leaves none. Raise it."
        )
    return n_train


@computing()
def split_mask(p: int, fraction: float, seed: int, split: Split = "paper") -> Bool[Tensor, "{p} {p}"]:
    """Return the train mask of a shuffle: bool [p, p], true for its first `int(fraction * p * p)` pairs.

    Args:
        p: The modulus.
        fraction: The share of the pairs to train on.
        seed: The seed of the shuffle.
        split: "paper" shuffles the lexicographic list of pairs with Python's `random` (Nanda et al., 2023); "torch"
            takes `torch.randperm(p * p)` (Chughtai et al., 2023, and TransformerLens' grokking demo).

    Raises:
        ConfigError: A side of the split would be empty.
    """
    p, seed = whole("p", p, 2), random_seed(seed, least=-(2**63))
    n_train = check_split(p, fraction, split)
    if split == "paper":
        order = list(range(p * p))
        random.Random(seed).shuffle(order)
        chosen = torch.tensor(order[:n_train])
    else:
        chosen = torch.randperm(p * p, generator=torch.Generator().manual_seed(seed))[:n_train]
    mask = torch.zeros(p * p, dtype=torch.bool)
    mask[chosen] = True
    return mask.view(p, p)


def split_digest(mask: Bool[Tensor, "p p"] | None) -> str | None:
    """Return the hash of a split, which results kept on disk are compared by; None if the split is unknown."""
    return None if mask is None else hashlib.sha256(mask.numpy().tobytes()).hexdigest()


@computing()
def as_mask(
    split: SplitLike | None, seed: int | None, p: int, fraction: float = PAPER_FRACTION
) -> Bool[Tensor, "{p} {p}"] | None:
    """Return the train mask of a split, bool [p, p], true = train; None for None.

    Args:
        split: "paper" or "torch", with the `seed` that it was drawn with; a bool mask [p, p]; the train pairs as
            indices a * p + b, or as a list of (a, b) [n, 2] or of (a, b, "=") [n, 3]; or a tuple of two such lists,
            (train, test), that hold each pair once between them.
        seed: The seed of "paper" or "torch".
        p: The modulus.
        fraction: The share of train pairs of "paper" or "torch".

    Raises:
        ConfigError: `split` has none of these forms.
    """
    p = whole("p", p, 2)
    if seed is not None and not isinstance(split, str):
        raise ConfigError(f"seed needs split as well ({' or '.join(SPLITS)}); got seed={given(seed)} alone.")
    if split is None:
        return None
    if isinstance(split, str):
        drawn: Split = one_of("split", split, SPLITS, " with a seed, a bool mask [p, p], or lists of indices")
        if seed is None:
            raise ConfigError(f"split={split!r} needs the seed it was drawn with. Give seed (--seed) too.")
        return split_mask(p, fraction, seed, drawn)
    two = isinstance(split, tuple | list) and len(split) == 2
    if two and (isinstance(split, tuple) or all(_entries(part) > 3 for part in split)):
        train, test = (_mask_of(part, p) for part in split)
        if not torch.equal(test, ~train):
            raise ConfigError(
                f"the train and test lists must hold each of the {p * p} pairs of p = {p} once; they share "
                f"{int((train & test).sum())} and leave out {int((~train & ~test).sum())}."
            )
        return train
    return _mask_of(split, p)


def _entries(part: Any) -> int:
    try:
        return int(np.size(part))
    except ValueError:  # ragged
        return len(part)


def _mask_of(split: Any, p: int) -> Bool[Tensor, "{p} {p}"]:
    try:
        listed = split.cpu().numpy() if isinstance(split, Tensor) else np.asarray(split)
        # In the caller's own integers, a * p + b could overflow.
        found = torch.as_tensor(listed.astype(np.int64) if listed.dtype.kind in "iu" else listed)
    except (TypeError, ValueError, RuntimeError):  # ragged, sparse, of objects
        found = torch.zeros(())
    got = f"got {str(found.dtype).removeprefix('torch.')} {list(found.shape)}"
    if found.dtype == torch.bool:
        if found.shape != (p, p):
            raise ConfigError(f"a mask must be bool [{p}, {p}], true = train; {got}.")
        mask = found.clone()
    else:
        pairs = found.ndim == 2 and found.shape[1] in (2, 3)
        if found.dtype.is_floating_point or found.dtype.is_complex or not (found.ndim == 1 or pairs):
            raise ConfigError(
                f"split must be a bool mask [{p}, {p}], or train pairs as indices a * p + b or as (a, b); {got}."
            )
        bad = found[:, :2].flatten() if pairs else found
        limit = p if pairs else p * p
        bad = bad[(bad < 0) | (bad >= limit)]
        if len(bad):
            raise ConfigError(
                f"split must name {'numbers' if pairs else 'pairs'} from 0 to {limit - 1}, for p = {p}; got "
                f"{int(bad[0])}. Give the split of this modulus."
            )
        indices = found[:, 0] * p + found[:, 1] if pairs else found
        if twice := len(indices) - len(indices.unique()):
            raise ConfigError(
                f"split must name each train pair once; {twice} of its {len(indices)} pairs are repeated. Give a "
                f"vector of 0 and 1 as a bool mask [{p}, {p}]."
            )
        mask = torch.zeros(p * p, dtype=torch.bool)
        mask[indices] = True
        mask = mask.view(p, p)
    if not mask.any():
        raise ConfigError(
            f"split must have at least one train pair among the {p * p} of p = {p}, true = train; got none."
        )
    return mask
