"""Outputs of notebooks: made by executing them, and compared with stored ones in all but numbers."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator
from html import unescape
from itertools import zip_longest
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode

FIGURE, PICTURE = "application/vnd.plotly.v1+json", "image/png"
_WIDGET = "application/vnd.jupyter.widget-view+json"
_NUMBER = r"[-+−]?\d+(?:,\d{3})*(?:\.\d*)?(?:e[-+]?\d+)?%?"

Shape = list[tuple[str, list[str]]]


def execute(path: Path, **env: str) -> NotebookNode:
    """Execute a notebook in its folder and return it with tidy outputs; CellExecutionError if a cell fails.

    Figures are plotly's JSON. Times, progress bars and warnings (stderr), and addresses in memory are left out, since
    they change with each execution. `env` are environment variables of the kernel.
    """
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(
        notebook, timeout=600, record_timing=False, resources={"metadata": {"path": str(path.parent)}}
    )
    client.execute(env={**os.environ, "PLOTLY_RENDERER": "plotly_mimetype", **env})
    for number, cell in enumerate(notebook.cells):
        cell.id, cell.metadata = f"cell-{number:02d}", NotebookNode()
        if cell.cell_type == "code":
            cell.outputs = list(_tidy(cell.outputs, cell.id))
    language = NotebookNode(name="python")
    kernel = NotebookNode(name="python3", display_name="Python 3", language="python")
    notebook.metadata = NotebookNode(kernelspec=kernel, language_info=language, outputs_of=code_digest(notebook))
    return notebook


def _tidy(outputs: list[NotebookNode], cell_id: str) -> Iterator[NotebookNode]:
    printed: NotebookNode | None = None  # the kernel may cut a stream anywhere
    for output in outputs:
        if output.get("name") == "stderr" or _is_progress_bar(output.get("data", {})):
            continue
        if output.output_type == "stream" and printed is not None:
            printed.text += output.text
            continue
        printed = output if output.output_type == "stream" else None
        data = output.get("data", {})
        if FIGURE in data:
            output.data = NotebookNode({FIGURE: data[FIGURE]})
        elif "text/html" in data:
            data["text/html"] = re.sub(r"\bT_[0-9a-f]{5}", f"T_{cell_id}", data["text/html"])
            data["text/plain"] = re.sub(r" at 0x[0-9a-f]+", "", data["text/plain"])
        yield output


def _is_progress_bar(data: dict[str, Any]) -> bool:
    """Return whether an output is a widget, or the empty HTML that a bar leaves when it has ended."""
    return _WIDGET in data or ("text/html" in data and not _text(data["text/html"]))


def code_digest(notebook: NotebookNode) -> str:
    """Return the hash of all code of a notebook, which is stored with its outputs."""
    code = "\0".join(cell.source for cell in notebook.cells if cell.cell_type == "code")
    return hashlib.sha256(code.encode()).hexdigest()


def figure_words(figure: dict[str, Any]) -> str:
    """Return the words of a figure: its title, the titles of its axes and the names of its curves."""
    layout = figure["layout"]
    titled = [layout, *(layout[name] for name in layout if re.match(r"[xy]axis\d*$", name))]
    words = [part.get("title", {}).get("text", "") for part in titled]
    words += [curve["name"] for curve in figure["data"] if curve.get("name") and curve.get("showlegend", True)]
    return "; ".join(dict.fromkeys(" ".join(_text(word).split()) for word in words if word))


def differences(stored: NotebookNode, fresh: NotebookNode) -> list[str]:
    """Return a sentence for each code cell whose stored outputs differ from fresh ones in more than numbers."""
    found = []
    for old, new in zip_longest(stored.cells, fresh.cells):
        if old is None or new is None or old.source != new.source:
            return ["the cells differ"]
        before, now = shape(old), shape(new)
        if before != now:
            found.append(f"the outputs of {new.id} were {before} and are {now}")
    return found


def shape(cell: NotebookNode) -> Shape:
    """Return the kind of each output of a cell, in order, with the words of each of its lines."""
    return [_shape(output) for output in cell.get("outputs", [])]


def _shape(output: NotebookNode) -> tuple[str, list[str]]:
    data = output.get("data", {})
    if output.output_type == "stream":
        return "printed", _words(output.text)
    if FIGURE in data or PICTURE in data:
        words = figure_words(data[FIGURE]) if FIGURE in data else data["text/plain"]
        return "picture", list(dict.fromkeys(_words(words.replace("; ", "\n"))))  # "k = 14" and "k = 35" are one
    if "text/html" in data:
        return "table", _words(_text(data["text/html"]))
    return "result" if "text/plain" in data else output.output_type, _words(data.get("text/plain", ""))


def _text(html: str) -> str:
    """Return the text of HTML, a line for each row of a table."""
    shown = re.sub(r"\s+|<style.*?</style>|<br>", " ", html, flags=re.DOTALL)
    return unescape(re.sub(r"<[^>]*>", " ", shown.replace("</tr>", "\n"))).strip()


def _words(text: str) -> list[str]:
    """Return each line of a text with every number, and every list of numbers, replaced by #."""
    lines = [" ".join(re.sub(_NUMBER, "#", line).split()) for line in text.strip().splitlines()]
    return [re.sub(r"#(?:,? #)+", "#", line) for line in lines]
