"""A page that follows a training, written anew at checkpoints."""

from __future__ import annotations

import time
from pathlib import Path

from interp.reports.content import content_of
from interp.reports.run_page import report_of
from interp.runs.loading import load_run
from interp.runs.run import Checkpoint
from interp.utils.errors import warn
from interp.utils.provenance import made_from

SHARE = 1 / 40  # of the training time


class LivePage:
    """Writes the page of a run that is being trained. Pass it to `interp.train` as `on_checkpoint`.

    Writing takes at most about 1/40 of the training time after the first page, which is written at once. `finish`
    writes the last page and raises errors; the others only warn of them.
    """

    def __init__(self, run: Path, page: Path) -> None:
        self.run, self.page = run, page
        self._begun, self._spent = time.monotonic(), 0.0

    def __call__(self, checkpoint: Checkpoint) -> None:
        if self._spent > SHARE * (time.monotonic() - self._begun):
            return
        begun = time.monotonic()
        try:
            self._write()
        except Exception as why:  # a page must not end a training
            warn(f"the page was not written at step {checkpoint.step:,}: {why}")
        self._spent += time.monotonic() - begun

    def finish(self, progress: bool = True) -> tuple[str, ...]:
        """Write the page of the whole run, and return its doubts."""
        return self._write(progress)

    def _write(self, progress: bool = False) -> tuple[str, ...]:
        with made_from(self.run):
            found = report_of([content_of(load_run(self.run), progress)])
        found.save(self.page)
        return found.doubts
