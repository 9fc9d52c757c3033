"""Measurable: the methods of every kind of network whose weights are measured."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from torch import nn

from interp.networks.taps import ByNumber, Weights


class Measurable(ABC):
    """A kind of network whose weights are measured: one of interp's, an interp.Model, or the config of a bridge.

    Attributes:
        name: Its name in titles and errors.
        is_own: True if interp computes it itself. Only then can its weights be ablated, trained, kept in a run
            directory, and measured on several threads at once, for which foreign modules may not be ready.
    """

    name: ClassVar[str] = ""
    is_own: ClassVar[bool] = False

    @property
    def width(self) -> int | None:
        """The largest axis of a weight, by which the number of threads is chosen; None if unknown."""
        return None

    @abstractmethod
    def hooked(self, weights: Weights, p: int) -> nn.Module:
        """Return a module with these weights, for a task of modulus p."""

    def by_number(self, weights: Weights, p: int) -> ByNumber | None:
        """Return what each number adds to attention and to the neurons; or None if these are no sums over numbers."""
        return None
