"""sweep_report(): a page of a sweep with plots and a table of its runs; save_sweep_report() adds pages of the runs."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import quote

import numpy as np
import pandas as pd

from interp.plot.sweeps import TITLES, UNSET
from interp.reports.packing import page
from interp.reports.run_page import Report, checked_file, page_of
from interp.reports.sweep_words import doubts, summary
from interp.runs.run import Run
from interp.sweeps.comparisons import NO_SETTING, in_words, moved
from interp.sweeps.survival import outcomes, with_delays
from interp.sweeps.table import Sweep, one_sweep, varied
from interp.utils.arguments import given, whole
from interp.utils.console import progress_bar
from interp.utils.errors import CheckpointError, ConfigError
from interp.utils.files import PathLike, look_up, printable
from interp.utils.provenance import made_from
from interp.utils.torch_state import computing

MOST_PAGES = 40  # of runs
_RESULTS = ("memorized", "generalized", "delay", "last_step", "train_loss", "test_loss", "train_accuracy",
            "test_accuracy", "key_frequencies", "error")  # fmt: skip
_UNITS = {"memorized": "memorized (step)", "generalized": "generalized (step)", "delay": "delay (steps)",
          "train_loss": "train_loss (nats)", "test_loss": "test_loss (nats)"}  # fmt: skip


@computing()
def sweep_report(sweep: Sweep | PathLike, pages: Mapping[str, str] | None = None) -> Report:
    """Return an interactive page of a sweep, which opens offline in any browser.

    It tells the outcomes of the runs in words, draws their delays against each varied setting, with medians and with
    runs that had not generalized by their last step, and has a table of all runs to sort and to filter.

    Args:
        sweep: A Sweep, or the path of one.
        pages: Run → the file of its own page, relative to where this page is saved; the table links it.

    Raises:
        ConfigError: For a sweep without runs, and for pages of unknown runs or at other addresses.
    """
    sweep = _opened(sweep)
    return _page(sweep, _checked(sweep, pages or {}), [])


@computing()
def save_sweep_report(sweep: Sweep | PathLike, path: PathLike, runs: int = MOST_PAGES, progress: bool = True) -> Path:
    """Write the page of a sweep as a file, and those of its runs into a folder beside it; return the file.

    Args:
        sweep: A Sweep, or the path of one.
        path: The file NAME.html; pages of runs are in NAME_runs/ beside it.
        runs: How many runs get a page, at most, in the order of the table: those that ended without an error and whose
            directories hold two checkpoints or more. The page says how many were left out.
        progress: Show a progress bar.

    Raises:
        ConfigError: For another ending and for a sweep without runs.
        StorageError: If a file cannot be written.
    """
    file = checked_file(path)
    most = whole("runs", runs, 0)
    sweep = _opened(sweep)
    there, left_out = _with_checkpoints(sweep)
    folder = file.with_name(f"{file.stem}_runs")
    pages: dict[str, str] = {}
    with progress_bar("report", "runs", min(len(there), most), show=progress) as bar:
        for done, (name, run) in enumerate(list(there.items())[:most], 1):
            try:
                page_of([run], progress=False).save(folder / f"{name}.html")
                pages[name] = f"{folder.name}/{name}.html"
            except (CheckpointError, ConfigError) as error:
                left_out.append(_no_page(name, error))
            if bar:
                bar.at(done)
    if len(there) > most:
        left_out.insert(0, f"{len(pages)} of the {len(there)} runs with checkpoints have a page of their own.")
    return _page(sweep, _checked(sweep, pages), left_out).save(file)


def _opened(sweep: Sweep | PathLike) -> Sweep:
    opened = one_sweep(sweep, "The report of a sweep")
    if not len(opened):
        raise ConfigError(f"A report needs a sweep with at least one run; {opened.path} has none.")
    return opened


def _with_checkpoints(sweep: Sweep) -> tuple[dict[str, Run], list[str]]:
    """Return by name the runs without an error that have two checkpoints or more, and a sentence a run not readable."""
    found, unreadable = {}, []
    for name in map(str, sweep.table.loc[sweep.table["error"].isna(), "run"]):
        if PurePosixPath(name).name != name or look_up(sweep.folder(name)) is None:
            continue  # the name leads to another folder, or only the row was kept
        try:
            run = sweep.run(name)
            if len(run.steps) > 1:
                found[name] = run
        except CheckpointError as error:
            unreadable.append(_no_page(name, error))
    return found, unreadable


def _no_page(name: str, error: CheckpointError | ConfigError) -> str:
    return f"Run {name} has no page of its own: {error}"


def _checked(sweep: Sweep, pages: Mapping[str, str]) -> dict[str, str]:
    """Return the addresses of pages for links; ConfigError unless each is a relative file of a known run."""
    known = set(map(str, sweep.table["run"]))
    for run, file in pages.items():
        if run not in known:
            raise ConfigError(f"pages must name runs of the sweep; {sweep.path} has no run {given(run)}.")
        if not isinstance(file, str) or PurePosixPath(file).is_absolute() or not file.endswith(".html"):
            raise ConfigError(f"pages must name relative files that end in .html; got {given(file)} for {given(run)}.")
    return {run: f"./{quote(file)}" for run, file in pages.items()}  # ./ keeps a name from being read as a scheme


def _page(sweep: Sweep, pages: Mapping[str, str], left_out: Sequence[str]) -> Report:
    table = sweep.table
    settings = sorted(varied(table), key=lambda name: name in NO_SETTING)
    noted = [*doubts(table, settings), *left_out]
    title = f"Sweep {printable(sweep.path.name or sweep.path)}"
    items = "".join(f"<li>{html.escape(one)}</li>" for one in summary(table, settings))
    doubtful = "".join(f"<li>{html.escape(one)}</li>" for one in noted)
    warned = f'<p>Doubtful, or left out:</p>\n<ul class="doubts">{doubtful}</ul>\n' if doubtful else ""
    body = (
        f'<header><h1>{html.escape(title)}</h1></header>\n<main>\n<ul class="summary">{items}</ul>\n{warned}'
        '<section><h2>Delays</h2><div class="plots" id="plots"></div></section>\n'
        '<section id="table"><h2>Runs</h2></section>\n</main>\n'
    )
    with made_from(sweep):
        return Report(page(title, body, [_content(table, settings, pages)], "sweep.js"), tuple(noted))


def _content(table: pd.DataFrame, settings: Sequence[str], pages: Mapping[str, str]) -> dict[str, Any]:
    """Return the data of the script: a row a run, and beside it what the plot needs of each run."""
    runs = with_delays(moved(table))
    columns = ["run", *settings, *_RESULTS]
    alone = set(runs["moved"])
    of_training = [name for name in settings if name not in NO_SETTING]
    numbers = [name for name in of_training if pd.api.types.is_numeric_dtype(table[name]) and table[name].notna().all()]
    first = next(iter([*numbers, *settings]), "")
    others = [name for name in numbers if name != first]
    grid = not {*of_training} <= alone or "+".join(sorted(of_training, key=columns.index)) in alone
    return {
        "kind": "sweep",
        "columns": [{"name": name, "title": _UNITS.get(name, name), "setting": name in settings} for name in columns],
        "rows": [[_cell(value) for value in row] for row in runs[columns].itertuples(index=False, name=None)],
        "settings": [
            {"name": name, "title": TITLES.get(name, name), "unset": UNSET.get(name, "default")} for name in settings
        ],
        "censored": runs["censored"].tolist(), "states": outcomes(table).tolist(), "moved": runs["moved"].tolist(),
        "pages": [pages.get(str(run)) for run in table["run"]],
        "first": {"x": first, "colour": others[0] if len(of_training) == 2 and others and grid else "",
                  "alone": len(of_training) > 2},
    }  # fmt: skip


def _cell(value: Any) -> float | str | None:
    """Return a number, a text, or None for a missing value."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, int | float) and not isinstance(value, bool):
        return None if value != value else value
    if isinstance(value, list | tuple | np.ndarray):
        return ", ".join(map(str, value))
    return in_words(value) or None
