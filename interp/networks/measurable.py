"""Measurable: the few questions that every kind of network answers whose weights are measured."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from torch import nn

from interp.networks.taps import ByNumber, Weights


class Measurable(ABC):
    """A kind of network whose weights are measured: one of interp's, an interp.Model, or the config of a bridge.

    name     its name, as titles and errors have it
    is_own   whether interp computes it itself. Only then can its weights be ablated, trained and kept in a run
             directory, and measured on several threads at once: another's module may not be ready for that
    """

    name: ClassVar[str] = ""
    is_own: ClassVar[bool] = False

    @property
    def width(self) -> int | None:
        """The largest axis of a weight, by which the number of threads is chosen; None if it is unknown."""
        return None

    @abstractmethod
    def hooked(self, weights: Weights, p: int) -> nn.Module:
        """Return a module with these weights, for a task of modulus p."""

    def by_number(self, weights: Weights, p: int) -> ByNumber | None:
        """Return what each number adds to attention and to the neurons; by default None, for a network without such."""
        return None
