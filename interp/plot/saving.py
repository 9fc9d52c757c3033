"""Figures on the disk: HTML always, PDF and PNG where a browser can be had."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from interp.run import write_whole

if TYPE_CHECKING:
    import plotly.graph_objects as go

_FORMATS = ("pdf", "png")


@contextlib.contextmanager
def one_browser() -> Iterator[None]:
    """Keep one browser for all figures saved within: a tenth of the time of one each. Without any, no matter."""
    try:
        import kaleido
        import plotly.graph_objects as go

        go.Figure().to_image("png")  # a server whose browser does not start would wait for ever
        kaleido.start_sync_server(silence_warnings=True)
    except (ImportError, ValueError, RuntimeError, OSError):  # then `save` says what is missing
        yield
        return
    try:
        yield
    finally:
        kaleido.stop_sync_server(silence_warnings=True)


def save(figure: go.Figure, folder: Path, name: str, formats: Sequence[str] = _FORMATS) -> list[Path]:
    """Write NAME.html, which can be zoomed and hovered over, and NAME.pdf and NAME.png; the files written.

    Static formats need kaleido and a Chrome or Chromium. Without them the HTML is still written, and one warning says
    what to install.
    """
    folder.mkdir(parents=True, exist_ok=True)
    html = figure.to_html(include_plotlyjs=True, full_html=True)
    written = [folder / f"{name}.html"]
    write_whole(written[0], lambda temporary: temporary.write_text(html, encoding="utf-8"))
    try:
        for suffix in formats:
            file = folder / f"{name}.{suffix}"
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", message="The kopts argument is ignored")  # with one browser for all
                image = figure.to_image(suffix, scale=2)
            write_whole(file, partial(Path.write_bytes, data=image))
            written.append(file)
    except (ImportError, ValueError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        warnings.warn(
            f"{name} was written as HTML only ({reason}); for PDF and PNG, pip install 'interp[export]' and install "
            "Chromium or Chrome.",
            stacklevel=2,
        )
    return written
