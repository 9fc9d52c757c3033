"""Code and commands run in a process of their own."""

from __future__ import annotations

import atexit
import functools
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
from pathlib import Path
from typing import Any

from choreographer.browsers.chromium import Chromium

ROOT = Path(__file__).parent.parent
HAS_BROWSER = Chromium.find_browser(skip_local=False) is not None  # without one, figures come as HTML only

Done = subprocess.CompletedProcess[str]
_SECONDS = 300


def outside(code: str, fresh: bool = False) -> str:
    """What code prints in a process without the tests' type checks; the test fails with its traceback if it fails.

    Such processes are forked from one that has interp loaded, which saves seconds; `fresh` starts a new interpreter,
    where it matters when something is imported or how much memory is in use.
    """
    code = textwrap.dedent(code)
    done = _run([sys.executable, "-c", code]) if fresh else _forked(code=code)
    assert done.returncode == 0, done.stderr
    return done.stdout


def interp(*arguments: object, fresh: bool = False) -> Done:
    """The `interp` command, as a user's shell runs it; forked like `outside` unless `fresh`."""
    return module("interp", *arguments, fresh=fresh)


def module(name: str, *arguments: object, fresh: bool = False, **environment: str) -> Done:
    """Run `python -m name`."""
    given = list(map(str, arguments))
    if fresh:
        return _run([sys.executable, "-m", name, *given], os.environ | environment)
    return _forked(module=name, arguments=given, environment=environment)


class Started:
    """`python -m name`, forked like `outside`, that goes on until it ends, or until the test stops or kills it."""

    def __init__(self, name: str, *arguments: object) -> None:
        self._folder = tempfile.TemporaryDirectory()
        self._request = _request(self._folder.name, {}, module=name, arguments=list(map(str, arguments)), start=True)
        self.returncode: int | None = None
        self.pid: int = _answer(self._request)

    def poll(self) -> int | None:
        """Return how it ended, None if it has not; as subprocess.Popen has it."""
        if self.returncode is None:
            self.returncode = _answer({"poll": self.pid})
        return self.returncode

    def wait(self, seconds: float = 120) -> int:
        begun = time.monotonic()
        while (status := self.poll()) is None:
            if time.monotonic() - begun > seconds:
                self.kill()
                raise subprocess.TimeoutExpired(str(self._request), seconds)
            time.sleep(0.005)
        return status

    def send_signal(self, signum: int) -> None:
        if self.poll() is None:  # whose number is nobody else's until then
            os.kill(self.pid, signum)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def stderr(self) -> str:
        return Path(self._request["stderr"]).read_text()


def _run(command: list[str], environment: dict[str, str] | None = None) -> Done:
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=_SECONDS, env=environment)


@functools.cache
def _warm() -> subprocess.Popen[str]:
    """The process that forks (see tests.warm), started when it is first needed."""
    command = [sys.executable, str(ROOT / "tests" / "warm.py")]  # as a module it would bring the type checks
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    atexit.register(process.kill)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def _forked(environment: dict[str, str] | None = None, **what: Any) -> Done:
    with tempfile.TemporaryDirectory() as folder:
        request = _request(folder, environment or {}, **what)
        status = _answer(request)
        out, err = (Path(request[stream]).read_text() for stream in ("stdout", "stderr"))
        return subprocess.CompletedProcess(str(request), status, out, err)


def _request(folder: str, environment: dict[str, str], start: bool = False, **what: Any) -> dict[str, Any]:
    streams = {stream: str(Path(folder, stream)) for stream in ("stdout", "stderr")}
    return {**what, **streams, "environment": environment, "start": start}


def _answer(request: dict[str, Any]) -> Any:
    process = _warm()
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(json.dumps(request) + "\n")
    process.stdin.flush()
    if not select.select([process.stdout], [], [], _SECONDS)[0]:
        process.kill()
        _warm.cache_clear()
        raise subprocess.TimeoutExpired(str(request), _SECONDS)
    return json.loads(process.stdout.readline())
