"""The task: a modulus, an operation, the p*p input pairs with their labels, and the train/test split."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import torch
from jaxtyping import Int
from torch import Tensor

from interp.tasks.operations import OPERATIONS, Operation
from interp.utils.arguments import one_of, random_seed, room_for, whole
from interp.utils.torch_state import computing

_NO_FOURIER = {
    "quadratic": "x^2 + xy + y^2 mod p is no function of a ± b, so the Fourier measures are not defined for it",
    "random": "random labels are no function of a ± b, so the Fourier measures are not defined for them",
}
_FORMULAS: dict[Operation, str] = {
    "add": "a + b", "subtract": "a − b", "quadratic": "a² + ab + b²", "random": "random labels",
}  # fmt: skip
_SIGNS: dict[Operation, Literal[1, -1]] = {"add": 1, "subtract": -1}


@dataclass(frozen=True, eq=False)
class Task:
    """Learn `label[a, b]`, a number mod p, for all a and b in 0..p-1.

    Tasks with the same labels are equal: `seed` counts for random labels alone, so Task(113, seed=1) == Task(113).

    Attributes:
        p: The modulus, any integer of at least 2, even ones too.
        operation: "add", a + b mod p (Nanda et al., 2023); "subtract", a - b mod p, which is addition under b → -b, so
            that every Fourier measure holds for it too; "quadratic", a² + ab + b² mod p (Power et al., 2022), or
            "random", labels drawn uniformly, which can only be memorized: both have losses only.
        seed: The seed of random labels.

    Raises:
        ConfigError: Another p or operation, or a seed that torch does not take.
    """

    p: int
    operation: Operation = "add"
    seed: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "p", whole("p", self.p, 2))
        one_of("operation", self.operation, OPERATIONS)
        object.__setattr__(self, "seed", random_seed(self.seed, least=-(2**63)))

    def _identity(self) -> tuple[int, Operation, int | None]:
        return self.p, self.operation, self.seed if self.operation == "random" else None

    def __eq__(self, other: object) -> bool:
        return self._identity() == other._identity() if isinstance(other, Task) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._identity())

    @property
    @computing()
    def labels(self) -> Int[Tensor, "{self.p} {self.p}"]:
        """The label of every pair, `labels[a, b]` in 0..p-1, shape [p, p]; a new tensor at each call."""
        room_for("the labels of all pairs", self.p, self.p)
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
        """The combination that a label does not determine, [p, p]: a - b mod p for addition, a + b for subtraction."""
        return replace(self, operation="subtract" if self.operation == "add" else "add").labels

    @property
    def formula(self) -> str:
        """The labels before mod p, as text: "a + b", "a − b", "a² + ab + b²", or "random labels"."""
        return _FORMULAS[self.operation]

    @property
    def sign(self) -> Literal[1, -1] | None:
        """The sign of b in the label a + b or a − b mod p, 1 or -1; None for other labels."""
        return _SIGNS.get(self.operation)

    @property
    def why_no_fourier(self) -> str | None:
        """The reason why the Fourier measures are not defined for this task, or None if they are."""
        return _NO_FOURIER.get(self.operation)
