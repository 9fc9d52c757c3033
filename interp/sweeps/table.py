"""The table of a sweep, results.parquet with a row a run; Sweep and load_sweep, which open it with its runs."""

from __future__ import annotations

import json
import operator
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, SupportsIndex

import filelock
import pandas as pd

from interp.runs.config import TrainConfig, settings_before
from interp.runs.run import Run
from interp.study.frames import EVENTS
from interp.study.phase_rules import RULES
from interp.sweeps.grid import is_setting
from interp.sweeps.jobs import RESULT, RUNS, allowed, phases_row, read_result, recorded
from interp.sweeps.origins import said_of_origins
from interp.utils.arguments import given
from interp.utils.console import progress_bar
from interp.utils.errors import CheckpointError, ConfigError, warn
from interp.utils.files import (
    PathLike,
    as_path,
    look_up,
    make_folder,
    names_in,
    path_of_regular,
    printable,
    read_json,
    write_parquet,
    write_whole,
    writing,
)

SWEEP, RESULTS = "sweep.json", "results.parquet"
SWEEP_VERSION = 1
_LOCK = ".lock"
_SECONDS = 30.0  # between two writings of the table while runs go on
_SHARE = 0.05  # of the time, at most, goes into the table of a sweep of very many runs

_STEPS = [
    "last_step", "stopped", "grokking_delay", "dips", "cleanup_after", "memorized_95", "generalized_95", "test_pairs",
    "errors_allowed", "phase_rules", *(f"{name}{end}" for name in EVENTS for end in ("", "_after")),
]  # fmt: skip
COLUMNS = (
    "run", *TrainConfig.names(), "stop_when", "last_step", "stopped", "train_loss", "test_loss", "train_accuracy",
    "test_accuracy", "key_frequencies", "key_doubt", *(f"{name}{end}" for name in EVENTS for end in ("", "_after")),
    "cleanup_after", "grokking_delay", "censored", "lasted", "dips", "memorized_95", "generalized_95", "test_pairs",
    "errors_allowed", "threshold", "phase_rules", "seconds", "trained_on", "interp", "torch", "commit", "error",
    "stamp",
)  # fmt: skip
# Columns that the rules of today fill differently; memorized, generalized and the delay have not changed.
_OF_RULES = [
    *(f"{name}{end}" for name in EVENTS if name not in ("memorized", "generalized") for end in ("", "_after")),
    "cleanup_after", "lasted", "dips",
]  # fmt: skip
_DEFAULTS = TrainConfig().flat()


class Table:
    """The known results of the runs in a sweep's directory, and their parquet file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._rows: dict[str, dict[str, Any]] = {}
        self._written = self._took = 0.0
        self._read_file()

    def _read_file(self) -> None:
        file = self.path / RESULTS
        if look_up(file) is None:
            return
        try:
            with path_of_regular(file) as name:
                frame = pd.read_parquet(name)
            rows = frame.to_dict("records")
            self._rows = {row["run"]: by_the_rules(_plain({str(n): value for n, value in row.items()})) for row in rows}
        except (OSError, ValueError, KeyError, CheckpointError):
            self._rows = {}  # made again from the directories

    def refresh(self) -> None:
        """Read the results that are new or changed since the last time; rows without a directory stay."""
        for folder in folders(self.path):
            file = folder / RESULT
            try:
                about = file.stat()
            except OSError:
                if self._rows.get(folder.name, {}).get("stamp") is not None:
                    self._rows.pop(folder.name)  # the run goes on
                continue
            stamp = f"{about.st_size} {about.st_mtime_ns}"
            known = self._rows.get(folder.name, {})
            same = known.get("stamp") == stamp and (known.get("error") or known.get("phase_rules") == RULES)
            if not same and (result := read_result(folder)):
                self._rows[folder.name] = {**by_the_rules(row_of(result), folder), "stamp": stamp}

    def row(self, run: str) -> dict[str, Any] | None:
        return self._rows.get(run)

    def frame(self) -> pd.DataFrame:
        """Return a row a run, sorted by the settings that differ between them."""
        sizes = sorted({name for row in self._rows.values() for name in row if name.startswith("network.")})
        after = COLUMNS.index("network") + 1
        columns = [*COLUMNS[:after], *sizes, *COLUMNS[after:]]
        frame = pd.DataFrame([_unnamed(row) | row for row in self._rows.values()], columns=columns)
        whole = [*_STEPS, "split_seed", "batch_size"]
        frame[whole] = frame[whole].astype("Int64")
        of_muon = frame["muon_learning_rate"].astype(float)
        if of_muon.notna().any():  # by default Muon has the rate of the other optimizer
            of_muon = of_muon.mask(of_muon.isna() & (frame["optimizer"] == "muon"), frame["learning_rate"])
        frame["muon_learning_rate"] = of_muon
        if frame["split_seed"].notna().any():  # by default the split is drawn from the seed
            unsaid = frame["split_seed"].isna() & (frame["split"] != "given")
            frame["split_seed"] = frame["split_seed"].mask(unsaid, frame["seed"])
        return frame.sort_values([*varied(frame), "run"], key=_sortable, ignore_index=True)

    def write(self, anyway: bool = True) -> None:
        """Write results.parquet; unless `anyway`, only if the last writing is long ago and no other process writes."""
        if not anyway and time.monotonic() - self._written < max(_SECONDS, self._took / _SHARE):
            return
        begun = time.monotonic()
        with writing(self.path / _LOCK):
            lock = filelock.FileLock(self.path / _LOCK)
            try:
                lock.acquire(timeout=60 if anyway else 0)
            except filelock.Timeout:
                if anyway:
                    raise ConfigError(f"{self.path} is locked by another process; try again.") from None
                return
        with lock:
            self.refresh()
            write_parquet(self.path / RESULTS, self.frame())
        self._written = time.monotonic()
        self._took = self._written - begun


def varied(frame: pd.DataFrame) -> list[str]:
    """Return the settings that differ between the runs of a table."""
    return [name for name in map(str, frame) if is_setting(name) and frame[name].map(repr).nunique() > 1]


def _sortable(column: pd.Series) -> pd.Series:
    return column if column.dtype.kind in "iufb" or str(column.dtype) == "Int64" else column.map(repr)


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row of the parquet file as it was written: lists for arrays, None for missing values."""

    def one(value: Any) -> Any:
        if hasattr(value, "tolist"):
            value = value.tolist()
        return None if not isinstance(value, list) and pd.isna(value) else value

    return {name: one(value) for name, value in row.items()}


def _unnamed(settings: dict[str, Any]) -> dict[str, Any]:
    """Return defaults for the settings that results of an older interp do not name."""
    return _DEFAULTS | settings_before(settings)


def row_of(result: dict[str, Any]) -> dict[str, Any]:
    """Return the row of a result: its settings beside the rest."""
    settings = dict(result.get("settings") or {})
    about = {name: value for name, value in result.items() if name in COLUMNS}
    row = {**_unnamed(settings), **settings, **about, "trained_on": result.get("device")}
    sizes = [name for name in settings if name.startswith("network.")]
    return {name: row.get(name) for name in (*COLUMNS, *sizes)}


def by_the_rules(row: dict[str, Any], folder: Path | None = None) -> dict[str, Any]:
    """Return a row with phases by today's rules, read again from the history in `folder`, or without them.

    If they cannot be read again, `phase_rules` stays the number of the rules that made the row.
    """
    if row.get("phase_rules") == RULES or row.get("error"):
        return row
    if row.get("test_pairs") is None and row.get("p") and row.get("train_fraction") and row.get("threshold"):
        pairs = int(row["p"]) ** 2
        as_whole = round if row.get("split") == "given" else int
        row = {**row, **allowed(pairs - as_whole(row["train_fraction"] * pairs), float(row["threshold"]))}
    history = None if folder is None else recorded(folder)
    if history is not None and len(history):
        return {**row, **phases_row(history, float(row["threshold"]))}
    return {**row, **dict.fromkeys(_OF_RULES), "phase_rules": row.get("phase_rules") or 1}


def folders(path: Path) -> Iterator[Path]:
    """Yield the directories of all runs, begun or ended."""
    for shard in names_in(path / RUNS):
        for name in names_in(path / RUNS / shard):
            yield path / RUNS / shard / name


def open_sweep(path: PathLike, make: bool = False, write: bool = True) -> Path:
    """Return the directory of a sweep; `make` lets it be new or empty, and `write` then marks it as a sweep.

    Raises:
        CheckpointError: For a directory that is something else, or a sweep of a newer format.
    """
    path = as_path(path)
    about = look_up(path)
    if about is not None and not path.is_dir():
        raise CheckpointError(f"{path} is a file; a sweep is a directory. Name another one.")
    if look_up(path / SWEEP) is not None:
        try:
            content = read_json(path / SWEEP)
        except (ValueError, OSError) as error:
            raise CheckpointError(f"{path / SWEEP} is not readable JSON ({error}); restore or delete it.") from None
        version = content.get("format_version") if isinstance(content, dict) else None
        if not isinstance(version, int) or content.get("format") != "interp-sweep":
            raise CheckpointError(f"{path / SWEEP} does not describe a sweep; name another directory.")
        if version > SWEEP_VERSION:
            raise CheckpointError(
                f"{path} is a sweep of format {version}; this interp reads up to {SWEEP_VERSION}. Upgrade interp."
            )
        return path
    if look_up(path / RESULTS) is not None:  # the table alone
        return path
    if not make:
        what = "does not exist" if about is None else f"holds no {SWEEP} and no {RESULTS}"
        raise CheckpointError(f"{path} {what}; expected the directory of a sweep, as interp sweep writes it.")
    if others := [name for name in names_in(path) if not name.startswith(".") and not name.endswith((".toml", ".md"))]:
        raise CheckpointError(
            f"{path} is not empty and holds no sweep (found {', '.join(others[:3])}); name a new directory."
        )
    if not write:
        return path
    make_folder(path)
    text = json.dumps({"format": "interp-sweep", "format_version": SWEEP_VERSION}) + "\n"
    write_whole(path / SWEEP, lambda file: file.write_text(text, encoding="utf-8"))
    return path


def is_sweep(path: PathLike) -> bool:
    """Return whether a path is the directory of a sweep, or of its table alone."""
    return any((Path(path) / name).is_file() for name in (SWEEP, RESULTS))


@dataclass(frozen=True, eq=False)
class Sweep:
    """The runs of a sweep: run(name) opens one, and runs() all.

    Attributes:
        path: Its directory.
        table: A row a run. Columns: `run`, its name; every setting of TrainConfig; `last_step`, and `stopped` if it
            ended early; final losses (nats) and accuracies; `key_frequencies`; each event of `interp.Phases`, and the
            recorded step before it under its name with _after; `cleanup_after`, a lower bound if cleanup has no end
            yet; `grokking_delay`, and `censored` if the run had not generalized by its last step; `lasted`, whether
            accuracy held for a tenth of the steps that it took to generalize; `dips`; `memorized_95` and
            `generalized_95`, the first steps with an accuracy of 0.95; `test_pairs`, and `errors_allowed`, how many of
            them may be wrong at `threshold`; `phase_rules`, the version of the rules that read the phases (2 today; a
            row of 1 has only memorized, generalized and the delay, unless its run is here and is read again);
            `seconds` of wall time, without stopped tries; `trained_on`, the device; versions; `commit`; `error` or
            None.
    """

    path: Path
    table: pd.DataFrame

    def __len__(self) -> int:
        return len(self.table)

    def __repr__(self) -> str:
        failed = int(self.table["error"].notna().sum())
        learned = int(self.table["generalized"].notna().sum())
        return f"Sweep({str(self.path)!r}: {len(self)} runs, {learned} generalized, {failed} failed)"

    def folder(self, run: str | SupportsIndex) -> Path:
        """Return the directory of a run, by its name or its position in the table; −1 is the last.

        Raises:
            ConfigError: If there is no such run.
        """
        names = list(map(str, self.table["run"]))
        if isinstance(run, str):
            if run not in names:
                raise ConfigError(f"{self.path} has no run {run!r}; see the column run of its table.")
            name = run
        else:
            name = names[self._position(run)]
        return self.path / RUNS / name[:2] / name

    def _position(self, run: Any) -> int:
        try:
            place = operator.index(run)
        except TypeError:
            place = None
        if place is None or isinstance(run, bool) or not -len(self) <= place < len(self):
            known = f"from 0 to {len(self) - 1}" if len(self) else "and this sweep has no runs"
            raise ConfigError(f"A run of {self.path} is known by its name or its position, {known}; got {given(run)}.")
        return place

    def run(self, run: str | SupportsIndex) -> Run:
        """Open a run, by its name or its position in the table; −1 is the last.

        Raises:
            ConfigError: If there is no such run.
            CheckpointError: If only its row is here.
        """
        from interp.runs.loading import load_run

        folder = self.folder(run)
        if look_up(folder) is None:
            raise CheckpointError(f"{folder} does not exist; only this run's row of the table was kept.")
        return load_run(folder)

    def runs(self) -> list[Run]:
        """Open the runs that ended without an error and whose directories are here, in the order of the table."""
        return [self.run(name) for name in self._ended()]

    def _ended(self) -> list[str]:
        names = self.table.loc[self.table["error"].isna(), "run"]
        return [name for name in names if (self.path / RUNS / name[:2] / name / RESULT).is_file()]

    def histories(self, progress: bool = True) -> pd.DataFrame:
        """Return the recorded losses and accuracies of all runs that are here, with the column `run`."""
        return self._gathered(lambda run: run.history, "read", progress)

    def trajectories(self, measures: list[Any] | None = None, progress: bool = True) -> pd.DataFrame:
        """Return the measures of every checkpoint of all runs that are here, with the column `run`."""
        from interp.study.trajectory import trajectory

        return self._gathered(lambda run: trajectory(run, measures=measures, progress=False), "measure", progress)

    def _gathered(self, of: Any, what: str, progress: bool) -> pd.DataFrame:
        frames = []
        names = self._ended()
        with progress_bar(what, "runs", len(names), show=progress) as bar:
            for done, name in enumerate(names, 1):
                frame = of(self.run(name))
                frame.attrs = {}
                frame.insert(0, "run", name)
                frames.append(frame)
                if bar:
                    bar.at(done)
        if not frames:
            raise CheckpointError(f"{self.path} holds no directories of runs; only their table was kept.")
        return pd.concat(frames, ignore_index=True)


def as_sweep(source: Any) -> Sweep | None:
    """Return a Sweep, or the sweep at a path; None for anything else."""
    if isinstance(source, str | os.PathLike):
        return load_sweep(source) if is_sweep(source) else None
    return source if isinstance(source, Sweep) else None


def one_sweep(source: Any, taker: str, kinds: str = "a Sweep or the path of one") -> Sweep:
    """Return a Sweep, or the sweep at a path; ConfigError in the name of `taker` for anything else."""
    if isinstance(source, str | os.PathLike):
        return load_sweep(source)
    if isinstance(source, Sweep):
        return source
    raise ConfigError(f"{taker} takes {kinds}; got {given(source)}.")


def load_sweep(path: PathLike) -> Sweep:
    """Open the directory of a sweep: its table, with rows made anew for runs that are newer, and each run.

    A directory with only results.parquet can be opened too. Warns if the runs come from several commits, versions or
    devices.

    Raises:
        CheckpointError: For anything else.
    """
    path = open_sweep(path)
    table = Table(path)
    table.refresh()
    frame = table.frame().drop(columns="stamp")
    if said := said_of_origins(frame):
        warn(f"The runs of {printable(path)} {said}.")
    return Sweep(path, frame)
