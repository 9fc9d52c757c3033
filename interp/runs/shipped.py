"""The small run that comes with the package, to look at before one has a run of one's own."""

from __future__ import annotations

from pathlib import Path

from interp.runs.loading import load_run
from interp.runs.run import Run

HOME = Path(__file__).with_name("demo")


def demo_run() -> Run:
    """Open the run that comes with interp: a + b mod 23, which memorizes, then groks.

    Its README.md names the command that trained it. It is small: the paper's own run, of p = 113, is in the repository.
    """
    return load_run(HOME)
