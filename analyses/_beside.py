"""The figures and tables of related systems, in processes beside the one that draws those of the run."""

from __future__ import annotations

import importlib
import multiprocessing
import os
import signal
import sys
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from analyses.neighbours._sizes import Sizes

if TYPE_CHECKING:
    from interp.plot.saving import Image

BOTH = {"unified"}  # figures of related systems that show the run too
TOGETHER = ("ridge_and_network", "ridge_delay", "ridge_stages", "unified")  # they share problems and networks
_LONGEST = (*TOGETHER, "double_descent_digits", "double_descent_theory", "double_descent_ensembles")


@dataclass(frozen=True)
class Written:
    """The files of a figure or table, with the images that are still to be drawn; or the reason why it is missing."""

    name: str
    files: list[Path]
    images: list[Image]
    missing: str | None = None


def neighbour(name: str, run: str, out: Path, sizes: Sizes) -> list[Path]:
    """Write a figure or table of related systems; `run` is the path of the run that those of BOTH show."""
    import interp
    from interp.utils.provenance import made_from

    about: list[Any] = [interp.load_run(run)] if name in BOTH else []
    with made_from(*about):
        return importlib.import_module(f"analyses.neighbours.{name}").main(*about, out, sizes)


def parts(names: Sequence[str]) -> list[list[str]]:
    """Divide names into lists for one process each, the longest first."""
    shared = [name for name in names if name in TOGETHER]
    alone = [[name] for name in names if name not in TOGETHER]
    order = {name: place for place, name in enumerate(_LONGEST)}
    return sorted(
        [*([shared] if shared else []), *alone], key=lambda part: min(order.get(name, len(order)) for name in part)
    )


@contextmanager
def beside(names: Sequence[str], run: str, out: Path, sizes: Sizes) -> Iterator[list[Future[list[Written]]]]:
    """Write figures and tables in as many processes as there are cores, each of one thread; yield their futures.

    An error within the context, or Ctrl-C, ends them at once.
    """
    from interp.utils.provenance import provenance

    each, made = parts(names), provenance()
    spawn = multiprocessing.get_context("spawn")
    workers, about = min(len(each), os.cpu_count() or 1), (made.command, made.code)
    with ProcessPoolExecutor(workers, spawn, initializer=_begin, initargs=about) as pool:
        try:
            yield [pool.submit(_write, part, run, out, sizes) for part in each]
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            for process in multiprocessing.active_children():
                process.terminate()
            raise


def finished(running: list[Future[list[Written]]], wait: bool) -> Iterator[Written]:
    """Yield the results of those that have ended, or of all if `wait`, and take them off the list."""
    for one in as_completed(list(running)) if wait else [one for one in running if one.done()]:
        running.remove(one)
        yield from one.result()


def _begin(command: str, code: str) -> None:
    """Begin a process of this command, without progress bars beside that of all figures."""
    import torch
    from threadpoolctl import threadpool_limits

    from interp.utils.console import console
    from interp.utils.provenance import in_child

    in_child(command, code)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends Ctrl-C to all; the first process ends the others
    warnings.showwarning = lambda message, *_, **__: print(f"Warning: {message}", file=sys.stderr)
    console.quiet = True
    torch.set_num_threads(1)
    threadpool_limits(1)


def _write(names: list[str], run: str, out: Path, sizes: Sizes) -> list[Written]:
    import interp
    from interp.plot.saving import images_left

    written = []
    for name in names:
        with images_left(out) as images:
            try:
                written.append(Written(name, neighbour(name, run, out, sizes), images))
            except (interp.ConfigError, interp.Missing) as error:
                written.append(Written(name, [], images, str(error)))
    return written
