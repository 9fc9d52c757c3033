"""A process that has everything imported and forks for each request: a child begins with what takes seconds to load.

Requests are lines of JSON on stdin; the answer to each is a line of JSON. `tests.processes` uses it. What is to run is
answered with its exit status at its end, or with the number of its process at once if it is only to `start`; `poll`
asks how that process ended, and is answered with null if it has not.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import runpy
import signal
import subprocess
import sys
import time
import traceback
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

sys.path[0] = str(Path(__file__).parent.parent)

# A parent that has computed nothing has no threads, so it can be forked safely.
for name in ("cli", "runs.loading", "study.trajectory", "sweeps.jobs", "sweeps.local", "training.loop"):
    importlib.import_module(f"interp.{name}")
for name in ("torch._dynamo", "pyarrow.parquet", "safetensors.torch"):  # the first is loaded by every optimizer
    importlib.import_module(name)


class ForkedWorker:
    """A worker of a sweep, as subprocess.Popen would start it, forked from the process of the sweep."""

    all_made: ClassVar[list[ForkedWorker]] = []

    def __init__(self, command: list[str], **_: Any) -> None:
        jobs, self.stdin = _pipe()
        self.stdout, answers = _pipe()
        self.returncode: int | None = None
        self.all_made.append(self)
        self.pid = os.fork()
        if not self.pid:
            _exit_with(lambda: self._work(command[-1], jobs.fileno(), answers.fileno()))
        jobs.close()
        answers.close()

    def _work(self, name: str, jobs: int, answers: int) -> None:
        os.setsid()
        for stream, end in ((0, jobs), (1, answers)):
            os.dup2(end, stream)
        for other in self.all_made:  # the ends of the sweep itself, whose death a worker sees
            other.stdin.close()
            other.stdout.close()
        sys.stdin = os.fdopen(0, encoding="utf-8", closefd=False)
        importlib.import_module(name).main()

    def poll(self) -> int | None:
        if self.returncode is None:
            self.returncode = _ended(self.pid)
        return self.returncode

    def wait(self, timeout: float) -> int:
        deadline = time.monotonic() + timeout
        while (status := self.poll()) is None:
            if time.monotonic() > deadline:
                raise subprocess.TimeoutExpired("worker", timeout)
            time.sleep(0.005)
        return status

    def send_signal(self, signum: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, signum)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def _pipe() -> tuple[Any, Any]:
    read, write = os.pipe()
    return os.fdopen(read, encoding="utf-8"), os.fdopen(write, "w", encoding="utf-8")


def _ended(process: int) -> int | None:
    """Return how a child ended, None if it has not."""
    found, status = os.waitpid(process, os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if found else None


def _exit_with(work: Any) -> None:
    """Do `work` and end this process as an interpreter would."""
    status = 0
    try:
        work()
    except SystemExit as end:
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
        status = 1
    with contextlib.suppress(OSError):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(status)


def perform(request: dict[str, Any]) -> None:
    """Run code or a module as a fresh interpreter would, with its output in two files."""
    for stream, file in ((1, request["stdout"]), (2, request["stderr"])):
        os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), stream)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # which a job in the background ignores
    sys.modules["interp.sweeps.local"].subprocess = SimpleNamespace(**{**vars(subprocess), "Popen": ForkedWorker})
    os.environ.update(request["environment"])
    if "code" in request:
        sys.argv = ["-c"]
        exec(compile(request["code"], "<string>", "exec"), {"__name__": "__main__"})
    else:
        sys.argv = [request["module"], *request["arguments"]]
        sys.modules.pop(f"{request['module']}.__main__", None)
        runpy.run_module(request["module"], run_name="__main__", alter_sys=True)


def answer(request: dict[str, Any]) -> int | None:
    if "poll" in request:
        return _ended(request["poll"])
    child = os.fork()
    if not child:
        _exit_with(lambda: perform(request))
    return child if request["start"] else os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def main() -> None:
    print("ready", flush=True)
    for line in sys.stdin:
        print(json.dumps(answer(json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
