"""Report, which shows and saves a page, and the page of runs side by side."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from interp.reports.content import Content, content_of
from interp.reports.packing import page
from interp.runs.run import Run
from interp.utils.arguments import given
from interp.utils.errors import ConfigError
from interp.utils.files import PathLike, as_path, make_folder, write_whole
from interp.utils.provenance import made_from
from interp.utils.threads import keeping_threads
from interp.utils.torch_state import computing

_TOGETHER = (
    "<p>One slider moves all runs to the same training step. A run that has ended stays at its last checkpoint, and "
    "axes are each run's own.</p>"
)


@dataclass(frozen=True, eq=False)
class Report:
    """A page that shows itself in a notebook; `save(path)` writes it.

    Attributes:
        html: Its text.
        doubts: Doubts about the tasks or the splits of its runs, in sentences.
    """

    html: str
    doubts: tuple[str, ...] = ()

    def save(self, path: PathLike) -> Path:
        """Write the page as one file that needs no network; ConfigError unless its name ends in .html."""
        file = checked_file(path)
        make_folder(file.parent)
        write_whole(file, lambda temporary: temporary.write_text(self.html, encoding="utf-8"))
        return file

    def __repr__(self) -> str:
        return f"Report({len(self.html) / 1e6:.1f} MB; save(path) writes it)"

    def _repr_html_(self) -> str:
        style = "width: 100%; height: 900px; border: 1px solid #ccc"
        return f'<iframe srcdoc="{html.escape(self.html)}" title="Report" style="{style}"></iframe>'


@computing()
@keeping_threads
def page_of(runs: Sequence[Run], progress: bool = True) -> Report:
    """Return the page of open runs side by side."""
    with made_from(*runs):
        return report_of([content_of(run, progress) for run in runs])


def report_of(contents: Sequence[Content]) -> Report:
    """Return the page of the contents of runs, side by side."""
    several = len(contents) > 1
    sections = "".join(_section(content, several) for content in contents)
    title = " beside ".join(content.title for content in contents)
    body = (
        f"<header><h1>{html.escape(title)}</h1>{_TOGETHER if several else ''}</header>\n"
        f'<main class="runs{" several" if several else ""}">\n{sections}</main>\n'
        '<div id="controls" role="group" aria-label="Training step"></div>\n'
    )
    doubts = tuple(doubt for content in contents for doubt in content.doubts_of_task)
    return Report(page(title, body, [content.data() for content in contents], "run.js"), doubts)


def _section(content: Content, several: bool) -> str:
    level = f"<h2>{html.escape(content.title)}</h2>\n" if several else ""
    summary = "".join(f"<li>{html.escape(one)}</li>" for one in content.summary)
    doubts = "".join(f"<li>{html.escape(one)}</li>" for one in content.doubts)
    noted = f'<p>Doubtful, or left out:</p>\n<ul class="doubts">{doubts}</ul>\n' if doubts else ""
    explained = "".join(f"<dt>{html.escape(word)}</dt><dd>{html.escape(said)}</dd>" for word, said in content.words)
    words = f'<details class="words"><summary>Words that are used here</summary><dl>{explained}</dl></details>\n'
    return (
        f'<article class="run">\n{level}<p class="about">{html.escape(content.about)}<br>'
        f"{html.escape(content.network)}</p>\n"
        f'<ul class="summary">{summary}</ul>\n{noted}{words}</article>\n'
    )


def checked_file(path: PathLike) -> Path:
    """Return the file of a page; ConfigError unless its name ends in .html."""
    file = as_path(path)
    if file.suffix.lower() != ".html":
        raise ConfigError(f"path must end in .html, the format of a page; got {given(str(file))}.")
    return file
