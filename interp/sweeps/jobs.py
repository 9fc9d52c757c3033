"""One run of a sweep: owned, trained or resumed, measured at its end, and recorded in result.json.

`python -m interp.sweeps.jobs` is a worker that reads jobs and answers in lines of JSON.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import signal
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from interp.runs.config import TrainConfig
from interp.runs.directory import version
from interp.study.frames import EVENTS
from interp.study.phase_rules import RULES, read_phases
from interp.study.phase_table import lasting_until
from interp.sweeps.grid import described, run_id
from interp.sweeps.owners import Held, owning
from interp.training.user_code import import_all, import_name
from interp.utils.arguments import number
from interp.utils.errors import CheckpointError, ConfigError, DivergedError, InterpError, TrainingError, warn
from interp.utils.files import make_folder, read_json, write_whole
from interp.utils.thresholds import LEARNED

if TYPE_CHECKING:
    import pandas as pd

    from interp.runs.run import Run

RUNS, RESULT = "runs", "result.json"
RESULT_VERSION = 1
LENIENT = 0.95  # a second accuracy at which results are stated, since 0.99 of few test pairs allows no error
GENERALIZED = "generalized"
_SECONDS_BETWEEN_REPORTS = 0.5

End = Literal["done", "failed", "held", "interrupted"]  # of a run


@dataclass(frozen=True)
class Stop:
    """When a run ends early: `more` steps after it generalized, or if that is None, a tenth of the steps until then."""

    more: int | None = None

    @classmethod
    def parsed(cls, text: str | None) -> Stop | None:
        """Return the Stop that "generalized" or "generalized+500" names; None for None."""
        if text is None:
            return None
        what, plus, more = text.partition("+") if isinstance(text, str) else ("", "", "")
        if what.strip() != GENERALIZED or (plus and not more.strip().isdecimal()):
            raise ConfigError(f"stop_when must be {GENERALIZED}, or {GENERALIZED}+500 (500 steps later); got {text!r}.")
        return cls(int(more) if plus else None)

    def last_step(self, generalized: int) -> int:
        """Return the step at or after which a run ends that generalized at step `generalized`."""
        return lasting_until(generalized) if self.more is None else generalized + self.more

    def __str__(self) -> str:
        return GENERALIZED if self.more is None else f"{GENERALIZED}+{self.more}"


@dataclass(frozen=True)
class Job:
    """One run to do: its settings, its folder, when it ends early, and on how many threads it computes."""

    config: TrainConfig
    folder: Path
    stop: Stop | None = None
    threshold: float = LEARNED
    threads: int | None = None
    commit: str | None = None
    token: str | None = None

    def line(self) -> str:
        stop = None if self.stop is None else str(self.stop)
        about = {"config": self.config.to_dict(), "folder": str(self.folder), "stop": stop}
        network = self.config.given_network
        declared = None if network is None else import_name(type(network))
        return json.dumps({**vars(self), **about, "imports": [declared] if declared else []})

    @classmethod
    def of_line(cls, line: str) -> Job:
        about = json.loads(line)
        import_all(about.pop("imports"), declarations=True)
        settings: Any = {name: tuple(v) if isinstance(v, list) else v for name, v in about.pop("config").items()}
        folder, stop = Path(about.pop("folder")), Stop.parsed(about.pop("stop"))
        return cls(TrainConfig(**settings), folder, stop, **about)


def folder_of(sweep: Path, config: TrainConfig) -> Path:
    """Return the directory of a run, in one of 256 folders: shared disks are slow to list 10⁵ entries."""
    name = run_id(config)
    return sweep / RUNS / name[:2] / name


def checked_threshold(threshold: Any) -> float:
    """Return the accuracy from which a set counts as learned; ConfigError unless it is above 0 and at most 1."""
    return number("threshold", threshold, above=0, most=1)


# ── one run ──────────────────────────────────────────────────────────────────────────────────────────────────────


def perform(job: Job, report: Callable[[int], None] | None = None) -> End:
    """Train or resume a run, write its result, and return how it ended.

    "held": another process works on it. "failed": its result has the error. "interrupted": its state is saved.
    """
    from interp.training.loop import TrainingInterrupted

    try:
        with owning(job.folder, job.token):
            if is_finished(read_result(job.folder), job):
                return "done"
            try:
                return _trained(job, report)
            except TrainingInterrupted:
                return "interrupted"
            except Exception as error:
                write_failure(job, error)
                return "failed"
    except Held:
        return "held"


def _trained(job: Job, report: Callable[[int], None] | None) -> End:
    from interp.training.loop import train

    begun = time.monotonic()
    before = read_result(job.folder) or {}
    (job.folder / RESULT).unlink(missing_ok=True)  # of a shorter run, or of one that failed
    watch = _Watch(job, report)
    config = job.config
    if config.checkpoint_steps is None:
        config = replace(config, checkpoint_steps=(0,))  # the first, and the last beside it
    watch.begin(job.folder)
    config = replace(config, steps=max(config.steps, _saved_step(job.folder)))
    train(config, job.folder, resume=True, progress=False, threads=job.threads, on_record=watch)
    spent = time.monotonic() - begun + float(before.get("seconds") or 0.0)
    write_result(job.folder, result_of(job, spent))
    return "done"


def _saved_step(folder: Path) -> int:
    """Return the last saved step of the run in a folder, which may lie past the steps of the job."""
    from interp.runs.directory import read_header
    from interp.runs.names import OPTIMIZER

    return int(read_header(folder / OPTIMIZER).get("step", 0)) if (folder / OPTIMIZER).exists() else 0


class _Watch:
    """Reports the steps of a training, and ends it when the run has generalized and gone on for long enough."""

    def __init__(self, job: Job, report: Callable[[int], None] | None) -> None:
        self._job, self._report, self._said = job, report, 0.0
        self._generalized: int | None = None

    def begin(self, folder: Path) -> None:
        """Look in the recorded history for the step at which a resumed run generalized."""
        history = recorded(folder)
        if self._job.stop is None or history is None or not len(history):
            return
        learned = history.loc[history["test_accuracy"] >= self._job.threshold, "step"]
        if len(learned):
            self._generalized = int(learned.iloc[0])

    def __call__(self, step: int, row: dict[str, float]) -> bool:
        if self._report and time.monotonic() - self._said >= _SECONDS_BETWEEN_REPORTS:
            self._said = time.monotonic()
            self._report(step)
        if self._job.stop is None:
            return False
        if self._generalized is None and row["test_accuracy"] >= self._job.threshold:
            self._generalized = step
        return self._generalized is not None and step >= self._job.stop.last_step(self._generalized)


def recorded(folder: Path) -> pd.DataFrame | None:
    """Return the history of the run in a folder, None if there is none yet."""
    from interp.runs.directory import read_history
    from interp.runs.names import HISTORY

    try:
        return read_history(folder / HISTORY) if (folder / HISTORY).exists() else None
    except CheckpointError:
        return None


# ── results ──────────────────────────────────────────────────────────────────────────────────────────────────────


def read_result(folder: Path) -> dict[str, Any] | None:
    """Return the result of the run in a folder, None if it has not ended."""
    try:
        content = read_json(folder / RESULT)
    except (FileNotFoundError, NotADirectoryError, ValueError, CheckpointError):
        return None
    return content if isinstance(content, dict) and content.get("format") == "interp-result" else None


def write_result(folder: Path, result: dict[str, Any]) -> None:
    make_folder(folder)
    text = json.dumps(result, indent=2) + "\n"
    write_whole(folder / RESULT, lambda file: file.write_text(text, encoding="utf-8"))


def is_finished(result: dict[str, Any] | None, job: Job) -> bool:
    """Return whether a job needs no more work: its run went far enough, ended early as asked, or diverged."""
    if result is None:
        return False
    if result.get("error"):
        return bool(result.get("diverged"))
    last, generalized = result.get("last_step") or 0, result.get("generalized")
    if last >= job.config.steps:
        return True
    same = result.get("threshold") == job.threshold
    return job.stop is not None and same and generalized is not None and last >= job.stop.last_step(generalized)


def result_of(job: Job, seconds: float) -> dict[str, Any]:
    """Return the result of a run that ended: its settings, last row, key frequencies, phases, time and device."""
    from interp.runs.loading import load_run
    from interp.training.loop import device_of

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        run = load_run(job.folder)
        history = run.history
        keys, doubt = _key_frequencies(run)
    last = history.iloc[-1]
    return {
        **_about(job), "last_step": int(last["step"]), "stopped": run.stopped,
        **{name: float(last[name]) for name in ("train_loss", "test_loss", "train_accuracy", "test_accuracy")},
        "key_frequencies": keys, "key_doubt": doubt, **phases_row(history, job.threshold),
        **allowed(int(job.config.train_mask.logical_not().sum()), job.threshold),
        "seconds": round(seconds, 3), "device": device_of(job.config.device).type, "error": None,
    }  # fmt: skip


def _key_frequencies(run: Run) -> tuple[list[int] | None, str | None]:
    from interp.study.progress import progress_measures

    m = progress_measures(run.last_readable(), measures=["key_frequencies"])
    return (None if m.key_frequencies is None else list(m.key_frequencies)), m.key_doubt


def phases_row(history: pd.DataFrame, threshold: float) -> dict[str, Any]:
    """Return the columns of the phases: each event, the step before it, the delay, and whether it is censored.

    A run that had not generalized by its last step is censored: its delay is longer than the steps from `memorized` on.
    `memorized_95` and `generalized_95` are the events at an accuracy of 0.95.
    """
    found, lenient = read_phases([history], threshold), read_phases([history], LENIENT)
    row: dict[str, Any] = {}
    for name in EVENTS:
        row[name] = getattr(found, name)
        row[f"{name}_after"] = found.intervals.get(name, (None, None))[0]
    return {
        **row, "cleanup_after": found.cleanup_after, "grokking_delay": found.grokking_delay,
        "censored": found.generalized is None, "lasted": found.lasted(), "dips": found.dips,
        "memorized_95": lenient.memorized, "generalized_95": lenient.generalized, "threshold": found.threshold,
        "phase_rules": RULES,
    }  # fmt: skip


def allowed(test_pairs: int, threshold: float) -> dict[str, int]:
    """Return the number of test pairs, and how many of them may be wrong at an accuracy of `threshold`."""
    return {"test_pairs": test_pairs, "errors_allowed": test_pairs - math.ceil(round(threshold * test_pairs, 9))}


def write_failure(job: Job, error: Exception) -> None:
    """Write a result with the error of a run, and warn of it."""
    said = str(error) if isinstance(error, InterpError | OSError) else f"{type(error).__name__}: {error}"
    failure = {**_about(job), "error": said, "diverged": isinstance(error, DivergedError)}
    with contextlib.suppress(InterpError, OSError):  # a full disk: the warning says so, and the next sweep retries
        write_result(job.folder, failure)
    warn(f"{job.folder} failed ({described(job.config) or 'the defaults'}): {said}")


def note_death(job: Job, tries: int) -> None:
    """Write a result that says how many times the process of a run died."""
    write_failure(job, TrainingError(f"its process died {tries} times (killed from outside, or out of memory)"))


def _about(job: Job) -> dict[str, Any]:
    """Return the part of a result that is known before the run begins."""
    settings = job.config.flat()
    if isinstance(job.config.split, tuple):
        settings["split"] = "given"
    return {
        "format": "interp-result", "format_version": RESULT_VERSION, "run": job.folder.name, "settings": settings,
        "stop_when": None if job.stop is None else str(job.stop), "threshold": job.threshold,
        "interp": version("interp"), "torch": version("torch"), "commit": job.commit,
    }  # fmt: skip


# ── a worker ─────────────────────────────────────────────────────────────────────────────────────────────────────


def main() -> None:
    """Do the jobs on stdin, a line of JSON each; answer on stdout with the steps of each and how it ended."""
    answers = os.fdopen(os.dup(1), "w", buffering=1, encoding="utf-8")
    os.dup2(2, 1)  # other prints go to stderr
    warnings.showwarning = lambda message, *_, **__: print(f"Warning: {message}", file=sys.stderr)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends Ctrl-C to all; the sweep tells its workers itself

    def answer(**said: object) -> None:
        answers.write(json.dumps(said) + "\n")

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    # A training catches it and saves its state; before and after a training there is nothing to save.
    signal.signal(signal.SIGTERM, stop)
    with contextlib.suppress(KeyboardInterrupt):
        for line in sys.stdin:
            answer(end=perform(Job.of_line(line), lambda step: answer(at=step)))


if __name__ == "__main__":
    from interp.utils.threads import wait_passively

    wait_passively()
    main()
