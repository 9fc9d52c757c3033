"""Results that print as a table of two columns, in a terminal and in a notebook."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from html import escape


class Printed(ABC):
    """A result that prints as lines of a name and a text; a dataclass that inherits this takes `repr=False`."""

    @abstractmethod
    def _lines(self) -> Iterable[tuple[str, str]]:
        """Return (name, text) for each line."""

    def __str__(self) -> str:
        lines = list(self._lines())
        width = max(len(name) for name, _ in lines)
        return "\n".join(f"{name:<{width}}  {text}" for name, text in lines)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        left = "style='text-align:left'"
        rows = "".join(f"<tr><td {left}>{name}</td><td {left}>{escape(text)}</td></tr>" for name, text in self._lines())
        return f"<table>{rows}</table>"
