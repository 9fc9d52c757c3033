"""Code and commands run in a process of their own."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

from choreographer.browsers.chromium import Chromium

ROOT = Path(__file__).parent.parent
HAS_BROWSER = Chromium.find_browser(skip_local=False) is not None  # without one, figures come as HTML only


def outside(code: str) -> str:
    """What a fresh interpreter prints; the test fails with its traceback where it fails."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, cwd=ROOT, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def interp(*arguments: object) -> subprocess.CompletedProcess[str]:
    """The `interp` command, as a user's shell runs it."""
    command = [sys.executable, "-m", "interp", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=300)
