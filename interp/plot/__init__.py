"""Figures by name: `interp.plot.NAME` draws one of a run or of data, `save` writes one, `interp.figures` writes all.

`interp.list_figures()` says what each shows. A figure computes nothing.
"""

import importlib
from collections.abc import Callable
from typing import Any

from interp.plot.base import slider as slider
from interp.plot.declared import FIGURES, figure as figure, with_title as with_title
from interp.plot.saving import gallery as gallery, one_browser as one_browser, save as save

# In the order in which interp.list_figures() and galleries have the figures.
for _module in (
    "ridge", "double_descent", "circuit", "embedding", "neurons", "pairs", "paths", "sweeps", "training", "spectra",
):  # fmt: skip
    importlib.import_module(f"{__name__}.{_module}")

_OTHERS = ["figure", "gallery", "one_browser", "save", "slider", "with_title"]
__all__ = sorted([*FIGURES, *_OTHERS])


def __getattr__(name: str) -> Callable[..., Any]:
    """Return a declared figure as the function that draws it, of its data or of a run, a model or a sweep."""
    if name in FIGURES:
        return FIGURES[name].call
    raise AttributeError(f"interp.plot has no figure {name!r}; interp.list_figures() lists all.")


def __dir__() -> list[str]:
    return sorted([*FIGURES, *_OTHERS])
