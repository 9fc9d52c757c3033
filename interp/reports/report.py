"""report(): a page of up to four runs side by side, or of a sweep, which opens in any browser from one file."""

from __future__ import annotations

from interp.reports.run_page import Report, page_of
from interp.runs.run import Run
from interp.study.sources import one_run
from interp.sweeps.table import Sweep, as_sweep
from interp.utils.errors import ConfigError
from interp.utils.files import PathLike

MOST_RUNS = 4


def report(*runs: Run | Sweep | PathLike, progress: bool = True) -> Report:
    """Return an interactive page of a run, of up to four side by side, or of a sweep; it opens offline in any browser.

    It tells in words what happened, and a slider over the checkpoints moves all plots together: norms by frequency,
    the numbers on their circles, attention and neurons over pairs, the loss of every pair, the logits of a pair wave by
    wave. The slider has up to 200 checkpoints, of which up to 40 have maps; the page says if it leaves out some.
    `Report.save(path)` writes one file, and a notebook shows the page itself.

    Args:
        *runs: Up to four Runs, of interp or of other code, or paths of such; or one Sweep, or the path of one, whose
            page draws its delays and has a table of its runs.
        progress: Show a progress bar.

    Raises:
        ConfigError: For a source that is not a run.
        CheckpointError: If no checkpoint can be read.
    """
    if not 1 <= len(runs) <= MOST_RUNS:
        raise ConfigError(f"report() takes 1 to {MOST_RUNS} runs; got {len(runs)}.")
    sweep = as_sweep(runs[0])
    if sweep is not None and len(runs) == 1:
        from interp.reports.sweeps import sweep_report

        return sweep_report(sweep)
    return page_of([one_run(run, "report()") for run in runs], progress)
