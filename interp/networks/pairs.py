"""Pairs (a, b), the inputs of a network, with the index tables by which a forward shares work between them."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property

import torch
from jaxtyping import Float, Int
from torch import Tensor

from interp.utils.torch_state import computing

# How many pairs are run at a time, which bounds the memory; another number may change results by rounding.
FORWARD_BATCH = 4096  # a third of p = 113: the activations of a layer of 512 neurons at three positions take 25 MB
GRADIENT_BATCH = 256  # with p gradients for each pair and input: at p = 113 and d_model = 128 they take 30 MB
MODULE_GRADIENT_BATCH = 64  # of a module, whose size is unknown and whose activations autograd keeps


@dataclass(frozen=True, eq=False)
class Pairs:
    """Inputs (a, b) of one modulus, [n] each, with the index tables that a forward over them shares.

    Make one object for pairs that are run repeatedly, as in training.
    """

    p: int
    a: Int[Tensor, " n"]
    b: Int[Tensor, " n"]
    _incidences: dict[tuple[int, int], Incidence] = field(default_factory=dict, init=False, repr=False)

    @staticmethod
    @computing()
    def all(p: int) -> Pairs:
        """Return all p*p pairs in lexicographic order: pair a * p + b."""
        index = torch.arange(p * p)
        return Pairs(p, index // p, index % p)

    def __len__(self) -> int:
        return len(self.a)

    def split(self, size: int) -> Iterator[Pairs]:
        """Yield the pairs in batches of `size`."""
        for a, b in zip(self.a.split(size), self.b.split(size), strict=True):
            yield Pairs(self.p, a, b)

    def to(self, device: torch.device) -> Pairs:
        return Pairs(self.p, self.a.to(device), self.b.to(device))

    @cached_property
    @computing()
    def _three_rows(self) -> Int[Tensor, "n 3"]:
        return torch.stack([self.a, self.p + self.b, torch.full_like(self.a, 2 * self.p)], dim=1)

    def rows(self, n_ctx: int) -> Int[Tensor, "n {n_ctx}"]:
        """Return the rows that each pair attends to, of 2p + 1 (or 2p): those of a, of b and, if n_ctx is 3, of "="."""
        return self._three_rows[:, :n_ctx]

    @computing()
    def incidence(self, n_heads: int, n_ctx: int) -> Incidence:
        if (n_heads, n_ctx) not in self._incidences:
            rows = self.rows(n_ctx)[..., None] * n_heads + torch.arange(n_heads, device=self.a.device)
            self._incidences[n_heads, n_ctx] = Incidence(rows.flatten(1), (2 * self.p + n_ctx - 2) * n_heads)
        return self._incidences[n_heads, n_ctx]


@dataclass(frozen=True, eq=False)
class Incidence:
    """The rows of a table that each pair sums and, for the gradients, the pairs that each row was added to."""

    rows_of_pair: Int[Tensor, "n k"]
    n_rows: int

    @cached_property
    @computing()
    def order(self) -> Int[Tensor, " nk"]:
        return self.rows_of_pair.flatten().argsort(stable=True)

    @cached_property
    @computing()
    def pair_of_entry(self) -> Int[Tensor, " nk"]:
        return self.order // self.rows_of_pair.shape[1]

    @cached_property
    @computing()
    def offsets(self) -> Int[Tensor, " n_rows"]:
        counts = torch.bincount(self.rows_of_pair.flatten(), minlength=self.n_rows)
        return counts.cumsum(0) - counts

    @cached_property
    @computing()
    def entries(self) -> Float[Tensor, "n n_rows"]:
        """A sparse [n, n_rows] matrix of zeros that stores an entry at each of the k rows of every pair."""
        n, k = self.rows_of_pair.shape
        with warnings.catch_warnings():  # torch warns once a process of its CSR layout and of its checks
            warnings.filterwarnings("ignore", message="Sparse (CSR tensor support is in beta|invariant checks are)")
            return torch.sparse_csr_tensor(
                torch.arange(0, n * k + 1, k), self.rows_of_pair.flatten(), torch.zeros(n * k), (n, self.n_rows),
                check_invariants=False,
            )  # fmt: skip
