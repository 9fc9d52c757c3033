"""Output of interp: results go to stdout, messages and progress bars to stderr."""

from __future__ import annotations

import importlib.util
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Column

console = Console(stderr=True)
output = Console()

_SECONDS_BETWEEN_LINES = 30.0


def say(text: str, to: Console = output) -> None:
    """Print words as they are, without markup, colours or further line breaks."""
    to.print(text, highlight=False, markup=False, soft_wrap=True)


def end_quietly() -> int:
    """Discard further output after the reader of a pipe (`| head`) has ended; return the exit status."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for Python's last flush
    return 1


class Bar:
    """A progress bar, moved by `bar.at(done, text)`; without a terminal, a printed line every half minute."""

    def __init__(self, name: str, unit: str, total: int, start: int, live: Progress | None) -> None:
        self._name, self._unit, self._total, self._start, self._live = name, unit, total, start, live
        self._task = live.add_task(name, total=total, completed=start, note="") if live else None
        self._began = time.monotonic()
        self._said = self._began

    def at(self, done: int, note: str = "") -> None:
        elapsed = time.monotonic() - self._began
        rate = (done - self._start) / elapsed if elapsed else 0.0
        note = f"{note}  {rate:,.1f} {self._unit}/s".strip()
        if self._live is not None and self._task is not None:
            self._live.update(self._task, completed=done, note=note)
        elif time.monotonic() - self._said >= _SECONDS_BETWEEN_LINES:
            self._said = time.monotonic()
            left = f", {(self._total - done) / rate:,.0f} s left" if rate else ""
            console.print(f"{self._name} {done:,} of {self._total:,}  {note}{left}", highlight=False)


@contextmanager
def progress_bar(name: str, unit: str, total: int, start: int = 0, show: bool = True) -> Iterator[Bar | None]:
    """Show a progress bar within this context; yield None if `show` is false."""
    if not show:
        yield None
        return
    widgets = not console.is_jupyter or importlib.util.find_spec("ipywidgets") is not None
    if not (console.is_terminal or console.is_jupyter) or not widgets:
        yield Bar(name, unit, total, start, live=None)
        return
    note = TextColumn("{task.fields[note]}", table_column=Column(overflow="fold"))
    bar, left = BarColumn(bar_width=10), TimeRemainingColumn(compact=True)
    columns = ("{task.description}", bar, MofNCompleteColumn(), note, left, "left")
    with Progress(*columns, console=console) as live:
        yield Bar(name, unit, total, start, live)
