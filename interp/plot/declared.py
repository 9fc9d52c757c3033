"""Figures by name: `figure` declares one, with its title, its caption and the source of its data::

    @interp.figure(
        "run", title="Σ weights²", caption="It falls when cleanup begins.",
        data=lambda of: {"trajectory": of.trajectory},
    )
    def size(trajectory):
        return plotly.graph_objects.Figure(...)

From then on `interp.plot.size(run)` draws it, and so do `interp figures` and `make paper`, with its caption.
"""

from __future__ import annotations

import functools
import inspect
import textwrap
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeVar, get_args

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from torch import Tensor

from interp.plot.base import note_doubts
from interp.utils.arguments import given, one_of
from interp.utils.errors import ConfigError

if TYPE_CHECKING:
    from interp.plot.shown import Shown

F = TypeVar("F", bound=Callable[..., Any])
Of = Literal["run", "model", "sweep", "frame"]

_DATA = pd.DataFrame | np.ndarray | Tensor | Mapping | list | tuple
_LINE, _ABOUT = 58, 84  # letters of a title and of the line under it, in a figure 640 pixels wide


@dataclass(frozen=True)
class Figure:
    """One declared figure.

    Attributes:
        name: Its name.
        draw: The function of data that draws it.
        of: Its source: a "run" over its training, one "model", a "sweep", or a "frame" that the caller gives.
        title: Its subject, in a phrase.
        caption: What to see in it, in sentences.
        source: The publication that drew it first.
        data: Returns the arguments of `draw` by name, from a `Shown`; None if the caller gives them.
    """

    name: str
    draw: Callable[..., Any]
    of: Of
    title: str
    caption: str
    source: str = ""
    data: Callable[[Shown], Mapping[str, Any]] | None = None

    @functools.cached_property
    def call(self) -> Callable[..., Any]:
        """The figure as a function of its data, or of the source that its data are fetched from."""

        @functools.wraps(self.draw)
        def of_data_or_source(*args: Any, **options: Any) -> Any:
            return _drawn(self, args, options)

        of_data_or_source.__doc__ = f"{inspect.cleandoc(self.draw.__doc__ or self.title)}\n\n{_CALLS[self.of]}".strip()
        return of_data_or_source


FIGURES: dict[str, Figure] = {}


def figure(
    of: Of, *, title: str, caption: str, data: Callable[[Shown], Mapping[str, Any]] | None = None, source: str = "",
    name: str | None = None,
) -> Callable[[F], F]:  # fmt: skip
    """Declare a function that draws data as a figure: `@interp.figure("run", title=…, caption=…, data=…)`.

    The function takes frames and arrays, computes nothing, and returns a plotly Figure whose axes are named with their
    units. Once declared, it takes the data, or in their place a Run, a Checkpoint, an interp.Model, a Sweep or a path,
    and gives the figure its title, with the task, p, seed and split in a line beneath; its options `title=` and
    `caption=` replace those declared. Declaring a name again replaces the figure.

    Args:
        of: The source: "run" (over its training), "model" (one checkpoint, or the last of a run), "sweep", or "frame"
            (the caller gives the data).
        title: Its subject, in a phrase.
        caption: What to see in it, in sentences.
        data: Returns the function's arguments, by name, from the source: of.run, of.history, of.trajectory, of.phases,
            of.subject, of.measures (see `interp.plot.shown.Shown`).
        source: The publication that drew it first.
        name: Its name, by default the function's.

    Raises:
        ConfigError: For another `of`, and if `data` is missing for a run, a model or a sweep.
    """
    one_of("of", of, get_args(Of))
    if data is None and of != "frame":
        raise ConfigError(f'A figure of a {of} needs data, such as data=lambda of: {{"trajectory": of.trajectory}}.')

    def declare(draw: F) -> F:
        declared = Figure(name or draw.__name__, draw, of, title, caption, source, data)
        FIGURES[declared.name] = declared
        call: Any = declared.call
        return call

    return declare


_CALLS = {
    "run": "In place of its data it takes a Run, or the path of one.",
    "model": "In place of its data it takes a Checkpoint, a Run (its last checkpoint), an interp.Model, or a path.",
    "sweep": "In place of the table it takes a Sweep, or the path of one.",
    "frame": "",
}


def _drawn(declared: Figure, args: tuple[Any, ...], options: dict[str, Any]) -> go.Figure:
    title, caption = options.pop("title", None), options.pop("caption", declared.caption)
    if declared.of == "frame" or not args or isinstance(args[0], _DATA):
        _check_arguments(declared, args, options)
        return _titled(declared, declared.draw(*args, **options), title, "", caption)
    from interp.plot.shown import shown

    of = shown(args[0], declared.of, declared.name)
    names = list(inspect.signature(declared.draw).parameters)
    more = dict(zip(names[1:], args[1:], strict=False))
    arguments = {} if declared.data is None else dict(declared.data(of))
    drawn = _titled(declared, declared.draw(**arguments | more | options), title, of.about(declared.of), caption)
    if declared.of == "model":
        note_doubts(drawn, *of.doubts)
    return drawn


def _check_arguments(declared: Figure, args: tuple[Any, ...], options: dict[str, Any]) -> None:
    """Raise ConfigError unless the data fit the signature of the figure's function."""
    takes = inspect.signature(declared.draw)
    try:
        takes.bind(*args, **options)
    except TypeError as error:
        raise ConfigError(
            f"{declared.name} takes {', '.join(takes.parameters)}; got {', '.join(map(given, args)) or 'none of them'} "
            f"({error}). {_CALLS[declared.of]}".rstrip()
        ) from None


def _titled(declared: Figure, drawn: go.Figure, title: str | None, about: str, caption: str) -> go.Figure:
    """Give a figure the caller's title, else its own, else the declared one."""
    if title is None:
        title = getattr(drawn.layout.title, "text", None) or declared.title
    return with_title(drawn, title, about, caption)


def with_title(drawn: go.Figure, title: str, about: str = "", caption: str = "") -> go.Figure:
    """Give a figure its title, its source (`about`) in smaller letters beneath, and its caption, which pages show."""
    if not hasattr(drawn, "update_layout"):
        raise ConfigError(f"A figure must be a plotly Figure; got {given(drawn)}.")
    layout = drawn.layout
    drawn.update_layout(meta={"title": title, "about": about, "caption": caption})
    if not title:
        return drawn.update_layout(title=None)
    wide = (layout.width or 640) / 640
    lines = textwrap.wrap(title, int(_LINE * wide))
    beneath = textwrap.wrap(about, int(_ABOUT * wide))
    above = 26 * len(lines) + 22 * len(beneath) + 16
    small = [f'<span style="font-size:15px;color:#555">{line}</span>' for line in beneath]
    text = "<br>".join([*(f"<b>{line}</b>" for line in lines), *small])
    height = (layout.height or 450) + above
    drawn.update_layout(
        title={"text": text, "x": 0, "xref": "container", "xanchor": "left", "pad": {"l": 14}, "y": 1 - 22 / height,
               "yref": "container", "yanchor": "top", "font": {"size": 19}},
        height=height, margin_t=(80 if layout.margin.t is None else layout.margin.t) + above,
    )  # fmt: skip
    return drawn
