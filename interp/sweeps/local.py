"""Jobs on this machine: worker processes that each do one job at a time."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import IO

from interp.sweeps.jobs import End, Job, note_death

HELD_SECONDS = 5.0  # before a run that another process works on is tried again
_TRIES = 3  # of a run whose worker dies
_GRACE = 60.0  # seconds for workers to save their runs once they are told to end

Told = Callable[[Job, End | int], None]  # the step at which a run is, or how it ended


def work(jobs: Sequence[Job], workers: int, tell: Told) -> None:
    """Do all jobs in at most `workers` processes; `tell` is called for each reported step and each end.

    A worker that dies is replaced, and its run goes on from its last saved state; after three deaths the run has
    failed. A run that another process holds is tried again until it is done. KeyboardInterrupt (or SIGTERM, which
    becomes one) saves the runs in progress.
    """
    waiting, later = deque(jobs), deque[tuple[float, Job]]()
    tries: dict[Job, int] = {}
    crew = [_Worker() for _ in range(min(workers, len(jobs)))]
    with selectors.DefaultSelector() as selector, _terminated():
        try:
            for worker in crew:
                selector.register(worker.answers, selectors.EVENT_READ, worker)
            while waiting or later or any(worker.job for worker in crew):
                while later and later[0][0] <= time.monotonic():
                    waiting.append(later.popleft()[1])
                for worker in crew:
                    if worker.job is None and waiting:
                        worker.begin(waiting.popleft())
                for key, _ in selector.select(timeout=1.0):
                    worker = key.data
                    job = worker.job
                    for said in worker.read():
                        if said is None:  # it died
                            selector.unregister(worker.answers)
                            worker.replace()
                            selector.register(worker.answers, selectors.EVENT_READ, worker)
                            if job is None:
                                continue
                            tries[job] = tries.get(job, 0) + 1
                            if tries[job] < _TRIES:
                                waiting.append(job)
                            else:
                                note_death(job, _TRIES)
                                tell(job, "failed")
                        elif isinstance(said, int):
                            tell(job, said)
                        elif said == "held":
                            later.append((time.monotonic() + HELD_SECONDS, job))
                        else:
                            tell(job, said)
        finally:
            for worker in crew:
                worker.end()
            deadline = time.monotonic() + _GRACE
            for worker in crew:
                worker.wait(max(deadline - time.monotonic(), 0.1))


@contextlib.contextmanager
def _terminated() -> Iterator[None]:
    """Turn SIGTERM, which schedulers send before they kill, into KeyboardInterrupt within this context."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


class _Worker:
    """A process that does one job at a time: `python -m interp.sweeps.jobs`, in its own session."""

    def __init__(self) -> None:
        self.job: Job | None = None
        self._start()

    def _start(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "interp.sweeps.jobs"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            encoding="utf-8", start_new_session=True,
        )  # fmt: skip
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._jobs: IO[str] = self._process.stdin
        self.answers: IO[str] = self._process.stdout
        os.set_blocking(self.answers.fileno(), False)
        self._rest = ""

    def begin(self, job: Job) -> None:
        self.job = job
        with contextlib.suppress(OSError):  # it died, which read() tells next
            self._jobs.write(job.line() + "\n")
            self._jobs.flush()

    def read(self) -> Iterator[int | End | None]:
        """Yield its new answers: steps, ends of its job, and None if it died."""
        try:
            said = os.read(self.answers.fileno(), 2**16)
        except BlockingIOError:
            return
        if not said:
            yield None
            return
        *lines, self._rest = (self._rest + said.decode()).split("\n")
        for line in lines:
            answer = json.loads(line)
            if "end" in answer:
                self.job = None
                yield answer["end"]
            else:
                yield int(answer["at"])

    def replace(self) -> None:
        self.wait(0.1)
        self.job = None
        self._start()

    def end(self) -> None:
        with contextlib.suppress(OSError):
            self._jobs.close()
            if self.job is not None:
                self._process.send_signal(signal.SIGTERM)

    def wait(self, seconds: float) -> None:
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self.answers.close()
        with contextlib.suppress(OSError):
            self._jobs.close()
