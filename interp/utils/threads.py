"""The number of threads that torch computes on: one for small work, the caller's own number for large work.

Threads wait for each other at the end of every operation. If an operation takes microseconds, a second thread gains
little on an idle machine, and costs many times the work if something else keeps a core busy.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from functools import wraps
from typing import ParamSpec, TypeVar

from threadpoolctl import threadpool_limits

from interp.utils.errors import ConfigError

# torch is imported within functions, since wait_passively must come before it is loaded.

SMALL = 125_000_000  # below so many multiplications of neurons with the unembedding, one thread is as good as several

P = ParamSpec("P")
R = TypeVar("R")


def wait_passively() -> None:
    """Let OpenMP's threads sleep while they wait, unless the user has chosen otherwise; call it before torch is loaded.

    By default they spin for a while, which on a busy machine takes the core from the thread that they wait for. Sets
    OMP_WAIT_POLICY, which OpenMP (GNU's, LLVM's and Intel's) reads once, when it is loaded.
    """
    if not {"GOMP_SPINCOUNT", "KMP_BLOCKTIME"} & set(os.environ):
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def wanted(threads: int | None) -> int:
    """Return `threads`, or the number that torch uses now if it is None."""
    import torch

    if threads is None:
        return _callers.number or torch.get_num_threads()
    if isinstance(threads, bool) or not isinstance(threads, int) or threads < 1:
        raise ConfigError(f"threads must be a whole number of at least 1, or None; got {threads!r}.")
    return threads


def for_network(pairs: int, neurons: int, outputs: int, threads: int | None = None) -> int:
    """Return the number of threads to run a network on: `threads`, 1 if it is small, else as many as torch uses."""
    return 1 if threads is None and pairs * neurons * outputs < SMALL else wanted(threads)


@contextlib.contextmanager
def on(threads: int) -> Iterator[None]:
    """Compute on so many threads within this context, and restore the number afterwards.

    The number is one for the whole process. If contexts of several threads overlap, the last to end restores the
    caller's. Within one thread each restores the number from before, so that a page made during a training leaves the
    training on as many threads.
    """
    import torch

    nested = getattr(_depth, "inside", 0)
    with _callers.lock:
        before = torch.get_num_threads()
        if not _callers.inside:
            _callers.number = before
        _callers.inside += 1
        _depth.inside = nested + 1
        torch.set_num_threads(threads)
    try:
        yield
    finally:
        with _callers.lock:
            _callers.inside -= 1
            _depth.inside = nested
            if not _callers.inside:
                torch.set_num_threads(_callers.number)
                _callers.number = 0
            elif nested:
                torch.set_num_threads(before)


# Decorates functions whose matrices are so small that a second thread of numpy's BLAS would only wait.
on_one_blas_thread = threadpool_limits.wrap(limits=1, user_api="blas")


class _Callers:
    """The caller's number of torch's threads while interp computes on its own number, else 0."""

    def __init__(self) -> None:
        self.lock, self.inside, self.number = threading.Lock(), 0, 0


_callers = _Callers()
_depth = threading.local()  # the number of contexts that this thread is in


def keeping_threads(function: Callable[P, R]) -> Callable[P, R]:
    """Decorate a function that may set torch's number of threads, to restore it afterwards."""

    @wraps(function)
    def kept(*args: P.args, **kwargs: P.kwargs) -> R:
        with on(wanted(None)):
            return function(*args, **kwargs)

    return kept


def side_by_side(jobs: Iterable[Iterator[int]], threads: int, done: Callable[[int], None] | None = None) -> None:
    """Run jobs to their ends, `threads` at a time; torch and numpy compute each on one thread.

    A job is an iterator that computes as it is asked for its next value, the amount of work done; `done` is called with
    the sum of all. The first error, or Ctrl-C, ends every job at its next value and is raised here. Results do not
    depend on `threads`.
    """
    jobs = list(jobs)
    stopped, lock, total = threading.Event(), threading.Lock(), 0

    def run(job: Iterator[int]) -> None:
        nonlocal total
        for amount in job:
            if stopped.is_set():
                return
            with lock:
                total += amount
                if done:
                    done(total)

    with on(1), threadpool_limits(1, "blas"):  # for the workers too: a thread starts with the last number set
        if threads == 1 or len(jobs) <= 1:
            for job in jobs:
                run(job)
            return
        with ThreadPoolExecutor(min(threads, len(jobs)), thread_name_prefix="interp") as pool:
            running = [pool.submit(run, job) for job in jobs]
            try:
                for one in as_completed(running):
                    one.result()
            except BaseException:
                stopped.set()
                pool.shutdown(wait=False, cancel_futures=True)
                raise
