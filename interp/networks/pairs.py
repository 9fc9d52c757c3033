"""Pairs (a, b): the inputs of a network, as a forward over them shares work between them."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property

import torch
from jaxtyping import Float, Int
from torch import Tensor

from interp.utils.torch_state import computing

# How many pairs are run at a time, which bounds the memory; another number may move results by rounding.
FORWARD_BATCH = 4096  # of p = 113 a third: the activations of a layer of 512 neurons at three positions take 25 MB
GRADIENT_BATCH = 256  # with p gradients a pair and input: at p = 113 and d_model = 128 they take 30 MB
MODULE_GRADIENT_BATCH = 64  # with those of a module, whose size is not known and whose activations autograd keeps


@dataclass(frozen=True, eq=False)
class Pairs:
    """Inputs (a, b) of one modulus, [n] each, with the index tables that a forward over them shares.

    Make it once for the pairs that are run again and again, as in training.
    """

    p: int
    a: Int[Tensor, " n"]
    b: Int[Tensor, " n"]
    _incidences: dict[tuple[int, int], Incidence] = field(default_factory=dict, init=False, repr=False)

    @staticmethod
    @computing()
    def all(p: int) -> Pairs:
        """All p*p pairs in lexicographic order: pair a * p + b."""
        index = torch.arange(p * p)
        return Pairs(p, index // p, index % p)

    def __len__(self) -> int:
        return len(self.a)

    def split(self, size: int) -> Iterator[Pairs]:
        """Yield the pairs in batches of so many."""
        for a, b in zip(self.a.split(size), self.b.split(size), strict=True):
            yield Pairs(self.p, a, b)

    def to(self, device: torch.device) -> Pairs:
        return Pairs(self.p, self.a.to(device), self.b.to(device))

    @cached_property
    @computing()
    def _three_rows(self) -> Int[Tensor, "n 3"]:
        return torch.stack([self.a, self.p + self.b, torch.full_like(self.a, 2 * self.p)], dim=1)

    def rows(self, n_ctx: int) -> Int[Tensor, "n {n_ctx}"]:
        """The rows that a pair attends to, of 2p + 1 (or 2p): a at position 0, b at position 1, "=" at position 2."""
        return self._three_rows[:, :n_ctx]

    @computing()
    def incidence(self, n_heads: int, n_ctx: int) -> Incidence:
        if (n_heads, n_ctx) not in self._incidences:
            rows = self.rows(n_ctx)[..., None] * n_heads + torch.arange(n_heads, device=self.a.device)
            self._incidences[n_heads, n_ctx] = Incidence(rows.flatten(1), (2 * self.p + n_ctx - 2) * n_heads)
        return self._incidences[n_heads, n_ctx]


@dataclass(frozen=True, eq=False)
class Incidence:
    """Which rows of a table every pair sums, and, for the gradients, which pairs every row of it went into."""

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
        """A sparse [n, n_rows] of zeros that stores the k entries of every pair: where its weights stand."""
        n, k = self.rows_of_pair.shape
        with warnings.catch_warnings():  # once a process torch calls its CSR layout a beta and its checks undecided
            warnings.filterwarnings("ignore", message="Sparse (CSR tensor support is in beta|invariant checks are)")
            return torch.sparse_csr_tensor(
                torch.arange(0, n * k + 1, k),
                self.rows_of_pair.flatten(),
                torch.zeros(n * k),
                (n, self.n_rows),
                check_invariants=False,
            )
