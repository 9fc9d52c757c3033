"""Figures as files: HTML always; PDF, PNG and other images if a browser draws them within a time limit."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import plotly.graph_objects as go

from interp.plot.pages import write_index, write_page
from interp.plot.stamps import stamped
from interp.utils.arguments import given, number, one_of
from interp.utils.console import progress_bar
from interp.utils.errors import ConfigError, warn
from interp.utils.files import make_folder, write_whole
from interp.utils.provenance import Provenance, made_from as from_inputs, provenance

_FORMATS = ("pdf", "png")
SECONDS = 120.0  # to start a browser and draw one figure, which takes 2 on an idle machine
_INSTALL = "for PDF and PNG, pip install 'interp[export]' and install Chromium or Chrome."


class _NoImageError(Exception):
    """The reason why there is no image, and the remedy."""


class _Browser:
    """A process that draws figures in one browser, and is killed if a figure exceeds its time limit."""

    def __init__(self) -> None:
        self.broken: _NoImageError | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._answers: queue.Queue[bytes | str] = queue.Queue()

    def image(self, drawn: dict[str, Any], suffix: str, timeout: float) -> bytes:
        """Return a figure, given as JSON, as the bytes of a file; after one _NoImageError raise it again at once."""
        if self.broken is not None:
            raise self.broken
        if find_spec("kaleido") is None:
            self.broken = _NoImageError(f"kaleido is not installed; {_INSTALL}")
            raise self.broken
        request = json.dumps({"figure": drawn, "format": suffix}).encode() + b"\n"
        try:
            process = self._process or self._start()
            assert process.stdin is not None
            # Writing to a pipe that is not read would block this thread.
            threading.Thread(target=_send, args=(process, request), daemon=True).start()
            answer = self._answers.get(timeout=timeout)
        except queue.Empty:
            answer = (
                f"the browser gave no answer within {timeout:g} s; see that Chromium or Chrome starts (BROWSER_PATH "
                "names it), or give more seconds as timeout."
            )
        except OSError as error:
            answer = f"{error}; {_INSTALL}"
        if isinstance(answer, str):
            self.close()
            self.broken = _NoImageError(answer)
            raise self.broken
        return answer

    def _start(self) -> subprocess.Popen[bytes]:
        self._folder = tempfile.TemporaryDirectory(prefix="interp-browser-", ignore_cleanup_errors=True)
        self._process = subprocess.Popen(
            [sys.executable, "-P", str(Path(__file__).with_name("browser.py"))],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            env={**os.environ, "TMPDIR": self._folder.name}, start_new_session=True,
        )  # fmt: skip
        threading.Thread(target=_receive, args=(self._process, self._answers), daemon=True).start()
        return self._process

    def close(self) -> None:
        """End the process, which ends its browser when its input ends."""
        if self._process is None or self._folder is None:
            return
        with contextlib.suppress(OSError):
            if self._process.stdin is not None:
                self._process.stdin.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None
        self._folder.cleanup()


def _send(process: subprocess.Popen[bytes], request: bytes) -> None:
    with contextlib.suppress(OSError, ValueError):  # the pipe was closed in the meantime
        assert process.stdin is not None
        process.stdin.write(request)
        process.stdin.flush()


def _receive(process: subprocess.Popen[bytes], answers: queue.Queue[bytes | str]) -> None:
    assert process.stdout is not None
    while line := process.stdout.readline():
        head = json.loads(line)
        failed = "size" not in head
        answers.put(f"{head['error'].split('. ')[0]}; {_INSTALL}" if failed else process.stdout.read(head["size"]))
    answers.put(f"the browser's process ended; {_INSTALL}")


_shared: _Browser | None = None


@contextlib.contextmanager
def one_browser() -> Iterator[None]:
    """Share one browser among all figures saved in this context, ten times faster than one each.

    It starts with the first figure. If that fails, all figures of the context are HTML only, after one time limit.
    """
    global _shared
    if _shared is not None:
        yield
        return
    _shared = browser = _Browser()
    try:
        yield
    finally:
        _shared = None
        browser.close()


# A figure as JSON, the files to draw it into, the seconds it may take, and the provenance that the files record.
Image = tuple[dict[str, Any], list[Path], float, Provenance]


@dataclass
class _Gallery:
    """A folder that is being filled with figures, and the function that takes their images."""

    home: Path
    draw: Callable[[Image], object]


_gallery: _Gallery | None = None


@contextlib.contextmanager
def gallery(folder: str | os.PathLike[str], progress: bool = True) -> Iterator[dict[str, str]]:
    """Let all figures saved into a folder within this context share one plotly.min.js and one browser.

    Images are drawn while the next figures are made, and exist when the context ends. An index.html beside them shows
    all figures of the folder, with their titles and captions. The context gives a dict to fill with missing figures:
    name → a sentence that says why, which the index shows too.
    """
    global _gallery
    home, before = Path(folder), _gallery
    make_folder(home)
    missing: dict[str, str] = {}
    images: list[Future[tuple[list[Path], str | None]]] = []
    try:
        with one_browser(), ThreadPoolExecutor(1) as thread:
            _gallery = _Gallery(home, lambda image: images.append(thread.submit(_write_images, *image)))
            try:
                yield missing
                _wait(images, progress)
            except BaseException:
                thread.shutdown(wait=False, cancel_futures=True)
                assert _shared is not None
                _shared.close()  # ends the image that is being drawn
                raise
    finally:
        _gallery = before
        write_index(home, missing)


@contextlib.contextmanager
def images_left(folder: str | os.PathLike[str]) -> Iterator[list[Image]]:
    """Leave the images of figures saved into a folder within this context to the `gallery` of another process.

    The context gives the list of these images; that process passes it to `draw_images`.
    """
    global _gallery
    before, images = _gallery, list[Image]()
    _gallery = _Gallery(Path(folder), images.append)
    try:
        yield images
    finally:
        _gallery = before


def draw_images(images: Iterable[Image]) -> None:
    """Draw, within a `gallery`, the images that another process left."""
    assert _gallery is not None
    for image in images:
        _gallery.draw(image)


def _wait(images: list[Future[tuple[list[Path], str | None]]], progress: bool) -> None:
    with progress_bar("save", "images", len(images), show=progress and bool(images)) as bar:
        for done, image in enumerate(images, 1):
            if (why := image.result()[1]) is not None:
                warn(why)
            if bar:
                bar.at(done)


def save(
    figure: go.Figure, folder: str | os.PathLike[str], name: str, formats: Sequence[str] = _FORMATS,
    timeout: float = SECONDS, made_from: Any = None,
) -> list[Path]:  # fmt: skip
    """Write NAME.html, which can be zoomed and hovered over, and NAME.pdf and NAME.png; return the files written.

    The page needs no network, since it holds plotly.js (4.8 MB). Within a `gallery` of this folder all pages share one,
    and the returned images exist when the gallery ends, if they can be drawn. Images need kaleido and Chrome or
    Chromium. Without them, or if a browser does not answer in time, the HTML is still written, and a warning says what
    is missing and what to do. Each file records in its metadata the command that made it, the commit of interp, the
    versions of interp and torch, and `made_from` with its SHA-256.

    Args:
        figure: A plotly Figure.
        folder: The folder, made if it does not exist.
        name: The name of the files, without folder and ending.
        formats: Formats beside HTML: "pdf", "png", "svg", "jpg" or "webp", one or several; () for none.
        timeout: Seconds that a browser may take to start and to draw one figure.
        made_from: The source of the figure: a Run, a Sweep, a Checkpoint, the path of one, or a list of these;
            `interp.figures` and `python -m analyses` give it. Without it the files call it "unknown".

    Raises:
        ConfigError: For a figure that is not plotly's, a folder that is a file, or another format.
    """
    if not isinstance(figure, go.Figure):
        raise ConfigError(f"figure must be a plotly Figure, as functions of interp.plot return; got {given(figure)}.")
    if not isinstance(folder, str | os.PathLike) or not str(folder):
        raise ConfigError(f"folder must be a path; got {given(folder)}.")
    if not isinstance(name, str) or not name or Path(name).name != name:
        raise ConfigError(f"name must be the name of a file, without its folder and ending; got {given(name)}.")
    if not isinstance(formats, str | list | tuple):
        raise ConfigError(f"formats must be a list of pdf, png, svg, jpg or webp; got {given(formats)}.")
    formats = [formats] if isinstance(formats, str) else formats
    formats = [one_of("each of formats", one, ("pdf", "png", "svg", "jpg", "webp")) for one in formats]
    timeout = number("timeout", timeout, above=0)
    folder = Path(folder)
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"folder must be a directory; {folder} is a file.")
    made = provenance()
    if made_from is not None:
        with from_inputs(*(made_from if isinstance(made_from, list | tuple) else [made_from])):
            made = provenance()
    make_folder(folder)
    of_gallery = _gallery if _gallery is not None and _gallery.home == folder else None
    page = write_page(figure, folder, name, made, beside=of_gallery is not None)
    if not formats:
        return [page]
    files, drawn = [folder / f"{name}.{suffix}" for suffix in formats], json.loads(figure.to_json())
    for place, trace in enumerate(drawn["data"]):
        trace.setdefault("uid", str(place))  # or plotly.js draws one, which an SVG shows
    if of_gallery is not None:
        of_gallery.draw((drawn, files, timeout, made))
        return [page, *files]
    written, why = _write_images(drawn, files, timeout, made)
    if why is not None:
        warn(why)
    return [page, *written]


def _write_images(
    drawn: dict[str, Any], files: list[Path], timeout: float, made: Provenance
) -> tuple[list[Path], str | None]:
    """Draw a figure into files; return those written and, if one is lacking, a sentence that says why."""
    browser, written = _shared or _Browser(), list[Path]()
    try:
        for file in files:
            kind = file.suffix[1:]
            image = stamped(browser.image(drawn, kind, timeout), kind, made)
            write_whole(file, partial(Path.write_bytes, data=image))
            written.append(file)
    except _NoImageError as error:
        kept = " and ".join(file.suffix[1:].upper() for file in written) or "HTML only"
        return written, f"{files[0].stem} was written as {kept}: {error}"
    finally:
        if browser is not _shared:
            browser.close()
    return written, None
