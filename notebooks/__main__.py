"""`python -m notebooks [NAME…]`: execute notebooks, and store their outputs in them, figures as PNG."""

from __future__ import annotations

import base64
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import kaleido
import nbformat
from nbformat import NotebookNode

from interp.utils.files import write_whole
from notebooks.outputs import FIGURE, PICTURE, execute, figure_words

ALL = {path.stem: path for path in sorted(Path(__file__).parent.glob("*.ipynb"))}


def main(names: Sequence[str]) -> None:
    unknown = [name for name in names if name not in ALL]
    if unknown:
        raise SystemExit(f"There is no notebook {', '.join(unknown)}; there are {', '.join(ALL)}.")
    kaleido.start_sync_server(timeout=None, mathjax=False)  # MathJax would be fetched from the network
    try:
        for name in names or ALL:
            store(ALL[name])
            print(f"{name}: {ALL[name].stat().st_size / 1e6:.2f} MB")
    finally:
        kaleido.stop_sync_server()


def store(path: Path) -> None:
    """Execute a notebook without published models, and write it whole with its outputs."""
    notebook = execute(path, INTERP_PUBLISHED="none")
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            if FIGURE in output.get("data", {}):
                output.data = _picture(output.data[FIGURE])
    nbformat.validate(notebook)
    write_whole(path, partial(Path.write_text, data=nbformat.writes(notebook) + "\n", encoding="utf-8"))


def _picture(figure: dict[str, Any]) -> NotebookNode:
    image = kaleido.calc_fig_sync(dict(figure), opts={"format": "png", "scale": 1})
    return NotebookNode({PICTURE: base64.b64encode(image).decode() + "\n", "text/plain": figure_words(figure)})


if __name__ == "__main__":
    main(sys.argv[1:])
