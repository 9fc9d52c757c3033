"""figures(): all figures of a run, a model or a sweep in a folder; and list_figures()."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import pandas as pd

from interp.plot.declared import FIGURES, Figure
from interp.plot.saving import gallery, save
from interp.plot.shown import Shown
from interp.runs.run import Checkpoint, Run
from interp.study.sources import Opened, opened
from interp.subjects.model import Model
from interp.subjects.subject import Missing
from interp.sweeps.table import Sweep, as_sweep
from interp.utils.arguments import given
from interp.utils.console import progress_bar
from interp.utils.errors import ConfigError
from interp.utils.files import PathLike
from interp.utils.provenance import made_from


def whole_of(source: Any, step: int | None = None, **about: Any) -> Shown:
    """Open a source for all its figures.

    `step` chooses the checkpoint of a run for the figures of one model; `about` is passed to `load_run` and
    `load_checkpoint`: task, split, seed and so on.
    """
    if isinstance(source, Shown):
        return source
    sweep = as_sweep(source)
    found = Opened() if sweep is not None else opened(source, "figures()", **about)
    if step is not None:
        if found.run is None or found.model is not None:
            raise ConfigError(f"step names a checkpoint of a run; got {given(source)}. Leave it out.")
        found = replace(found, model=found.run.at(step))
        return Shown(found.run, found.model, whole=True)
    return Shown(found.run, found.model, found.log, sweep, whole=found.model is None)


def figures(
    source: Run | Checkpoint | Model | Sweep | pd.DataFrame | PathLike | Shown, folder: PathLike = "figures",
    names: Iterable[str] | None = None, formats: Sequence[str] = ("pdf", "png"), step: int | None = None,
    progress: bool = True,
) -> dict[str, str]:  # fmt: skip
    """Write the figures of a run, a model or a sweep into a folder, with an index.html that shows them with captions.

    The pages share one plotly.min.js and need no network.

    Args:
        source: A Run, a Checkpoint, an interp.Model, a Sweep, the frame of a log, or a path of one of these.
        names: The figures to draw, by default all of this kind of source (`interp.list_figures`).
        formats: Formats beside HTML, which need Chromium or Chrome; () for HTML alone.
        step: The checkpoint of the run for the figures of one model, by default the last.

    Returns:
        The figures that could not be drawn, such as of attention for a network without it, each with its reason. The
        index gives them too.

    Raises:
        ConfigError: For unknown names and sources.
        CheckpointError: If a file cannot be read.
    """
    of = whole_of(source, step=step)
    chosen = _chosen(names, of.kinds)
    with (
        made_from(of.origin if source is of else source),
        gallery(folder, progress) as missing,
        progress_bar("draw", "figures", len(chosen), show=progress) as bar,
    ):
        for done, one in enumerate(chosen, 1):
            try:
                write_figure(one, of, folder, formats)
            except (ConfigError, Missing) as why:
                missing[one.name] = str(why)
            if bar:
                bar.at(done, one.name)
    return missing


def write_figure(one: Figure, of: Shown, folder: PathLike, formats: Sequence[str] = ("pdf", "png")) -> list[Path]:
    """Draw one declared figure and write it; ConfigError or Missing says why it cannot be drawn."""
    return save(one.call(of), folder, one.name, formats)


def _chosen(names: Iterable[str] | None, kinds: tuple[str, ...]) -> list[Figure]:
    drawable = {name: one for name, one in FIGURES.items() if one.of in kinds}
    if names is None:
        return list(drawable.values())
    wanted = [names] if isinstance(names, str) else list(names)
    for name in wanted:
        if name not in FIGURES:
            near = get_close_matches(str(name), FIGURES, n=2)
            hint = f" Did you mean {' or '.join(near)}?" if near else ""
            raise ConfigError(f"There is no figure {name!r}.{hint} interp.list_figures() lists all.")
        if name not in drawable:
            raise ConfigError(f"The figure {name} needs a {FIGURES[name].of}; this source is a {' or a '.join(kinds)}.")
    return [drawable[name] for name in dict.fromkeys(wanted)]


def list_figures() -> pd.DataFrame:
    """Return all declared figures, interp's and yours: name, of (a run, a model, a sweep, a frame), title, caption."""
    names = ("name", "of", "title", "caption", "source")
    return pd.DataFrame([{name: getattr(one, name) for name in names} for one in FIGURES.values()], columns=names)
