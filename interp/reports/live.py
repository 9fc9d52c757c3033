"""A page that follows a training: written anew at its checkpoints."""

from __future__ import annotations

import time
from pathlib import Path

from interp.errors import InterpError, warn
from interp.published import load_run
from interp.reports.content import RunContent
from interp.reports.report import report_of
from interp.run import Checkpoint

SHARE = 1 / 20  # of the training's time, half of it for the page of the end


class LivePage:
    """Writes the page of a run that is being trained. Pass it to `interp.train` as `on_checkpoint`.

    Pages on the way take at most a fortieth of the time since it was made. `finish` writes the last one, and raises
    what the pages on the way only warn of.
    """

    def __init__(self, run: Path, page: Path) -> None:
        self.run, self.page = run, page
        self._content: RunContent | None = None
        self._begun, self._spent = time.monotonic(), 0.0

    def __call__(self, checkpoint: Checkpoint) -> None:
        if self._spent > SHARE / 2 * (time.monotonic() - self._begun):
            return
        begun = time.monotonic()
        try:
            self._write()
        except InterpError as why:
            warn(f"the page was not written at step {checkpoint.step:,}: {why}")
        self._spent += time.monotonic() - begun

    def finish(self, progress: bool = True) -> tuple[str, ...]:
        """Write the page of the whole run, and return what is doubtful."""
        return self._write(progress)

    def _write(self, progress: bool = False) -> tuple[str, ...]:
        run = load_run(self.run)
        if self._content is None:
            self._content = RunContent(run)
        self._content.run = run
        found = report_of([self._content.content(progress)])
        found.save(self.page)
        return found.doubts
