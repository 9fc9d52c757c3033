"""The rows of a trajectory that are kept beside a run, and the note that tells which of them still hold."""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from interp.measures.registry import Measure, Number
from interp.runs.run import Run
from interp.study.key_checkpoint import KeyFrequencies
from interp.study.run_subjects import RunSubjects
from interp.tasks.splits import split_digest
from interp.utils.errors import CheckpointError, warn
from interp.utils.files import read_noted, write_parquet

KEPT = "measures.parquet"
_NOTE = "interp"
HOME = Path(__file__).parents[1]
# The modules and packages of interp whose definitions decide a row, or which checkpoint names the key frequencies.
_DEFINITIONS = (
    "measures", "networks", "subjects", "tasks", "study/doubts", "study/key_checkpoint", "study/run_subjects",
    "utils/thresholds", "utils/torch_state",
)  # fmt: skip

Row = dict[str, dict[str, Number | None]]  # of each measure, its columns


def frame_of(rows: Mapping[int, Row]) -> pd.DataFrame:
    """Return rows as a frame: `step`, the measures that are one number, then the columns of the others."""
    columns = [(of, name) for row in rows.values() for of, columns in row.items() for name in columns]
    names = list(dict.fromkeys([name for of, name in columns if of == name] + [name for _, name in columns]))
    flat = [{name: value for columns in row.values() for name, value in columns.items()} for row in rows.values()]
    frame = pd.DataFrame({name: np.array([row.get(name) for row in flat], dtype=float) for name in names})
    frame.insert(0, "step", list(rows))
    return frame


def may_write(run: Run) -> bool:
    """True if a run lies in a directory that interp wrote and may write to."""
    if not isinstance(run.path, Path) or not run.path.is_dir():
        return False
    if not run.architecture.is_own:
        return False
    return bool(run.path.stat().st_mode & 0o222) and os.access(run.path, os.W_OK)  # root may write anywhere


@cache
def fingerprint(home: Path = HOME) -> str:
    """Return the hash of the source of all modules of _DEFINITIONS under `home`, on which the kept rows rest."""
    content = hashlib.sha256()
    for name in _DEFINITIONS:
        module = home / name
        files = sorted(module.glob("*.py")) if module.is_dir() else [module.with_suffix(".py")]
        assert files, f"{name} holds no definitions any more"
        for file in files:
            content.update(file.read_bytes())
    return content.hexdigest()


class Kept:
    """The trajectory kept beside a run: its rows, and a note by which changes of their sources are seen.

    The note holds the fingerprint of the definitions and the split; the digest of each checkpoint, and the last one;
    the key frequencies, how they were asked for, and the digests of the checkpoints that decided them; by measure its
    version, its needs (the key frequencies, the last checkpoint) and its columns; and the reasons for missing ones.
    """

    def __init__(self, run: Run, wanted: list[Measure], asked: list[int] | float) -> None:
        self._run, self._file, self._wanted, self._asked = run, Path(run.path) / KEPT, wanted, asked
        self._setting = {"fingerprint": fingerprint(), "split": split_digest(run.train_mask)}
        self._note: dict[str, Any] = {}
        self._rows: dict[int, Row] = {}
        self._needs: dict[str, set[str]] = {}
        self.missing: dict[str, str] = {}  # why measures are missing, at any checkpoint

    def needs(self, found: Mapping[str, set[str]]) -> None:
        """Add to the needs of measures beside their checkpoint."""
        for name, what in found.items():
            self._needs.setdefault(name, set()).update(what)

    def read(self) -> bool:
        """Read the file; False if it is absent, damaged, or made by other definitions."""
        try:
            content, note = read_noted(self._file, _NOTE)
            if note["setting"] != self._setting:
                return False
            values = {int(row["step"]): row for row in content.to_pandas().to_dict("records")}
            rows: dict[int, Row] = {}
            for group in note["groups"]:
                for step in group["steps"]:
                    rows[step] = {
                        name: {column: _number(values[step][column]) for column in columns}
                        for name, columns in group["columns"].items()
                    }
            needs = {name: set(what) for name, what in note["needs"].items()}
            missing = {str(name): str(why) for name, why in note["missing"].items()}
            for part in ("versions", "digests", "last"):
                note[part]
        except (CheckpointError, OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return False
        self._note, self._rows, self._needs = note, rows, needs
        self.missing.update(missing)
        return True

    def rows(self, subjects: RunSubjects) -> dict[int, Row]:
        """Discard cached values whose checkpoint, key frequencies or measure version changed; return the rest."""
        digests: dict[int, str] = {}
        for step in self._run.steps:
            try:
                digests[step] = self._run.source(step).digest() if step in self._rows else ""
            except OSError as error:
                warn(f"left out: {self._run.source(step).path} cannot be read any more ({error.strerror}).")
        if not digests:
            raise CheckpointError(f"{self._run.path} has no readable checkpoint any more; restore it from a copy.")
        of, last = self._note["digests"], max(digests)
        self._rows = {
            step: row for step, row in self._rows.items() if step in digests and of[str(step)] == digests[step]
        }
        if self._note["last"] != [last, digests[last]]:
            self._drop(name for name, what in self._needs.items() if "final" in what)
        self._drop(
            one.name for one in self._wanted if not one.builtin and one.version != self._note["versions"].get(one.name)
        )
        self._check_keys(subjects.keys, digests)
        wanted = [one.name for one in self._wanted]
        return {
            step: {name: self._rows[step][name] for name in wanted if name in self._rows.get(step, ())}
            for step in digests
        }

    def _check_keys(self, keys: KeyFrequencies, digests: Mapping[int, str]) -> None:
        """Take the kept key frequencies, or drop the measures that need them if the run's are different now."""
        need = [name for name, what in self._needs.items() if "key_frequencies_of" in what]
        note = self._note["keys"]
        if not need or note is None:  # None for a task without Fourier structure
            return
        decided = {int(step): digest for step, digest in note["of"].items()}
        now = {step: digest for step, digest in digests.items() if step >= min(decided, default=0)}
        if keys.found is None and note["asked"] == self._asked and decided == now:
            keys.found, keys.step, keys.doubt = tuple(note["frequencies"]), note["step"], note["doubt"]
            keys.first_step = min(decided)
        if any(one.name in need for one in self._wanted):
            keys()
        if keys.found != tuple(note["frequencies"]):
            self._drop(need)

    def _drop(self, names: Iterable[str]) -> None:
        dropped = set(names)
        self._rows = {
            step: {name: columns for name, columns in row.items() if name not in dropped}
            for step, row in self._rows.items()
        }

    def write(self, rows: Mapping[int, Row], keys: KeyFrequencies) -> None:
        """Keep these rows beside those kept before; of the caller's own measures, only those with a version."""
        mine = {one.name: one.version for one in self._wanted if not one.builtin}
        whole = {
            step: {
                **self._rows.get(step, {}),
                **{name: columns for name, columns in row.items() if name not in mine or mine[name] is not None},
            }
            for step, row in rows.items()
        }
        try:
            digests = {step: self._run.source(step).digest() for step in whole}
        except OSError:  # a checkpoint was deleted just now
            return
        groups: dict[str, dict[str, Any]] = {}
        for step, row in whole.items():
            columns = {name: list(columns) for name, columns in row.items()}
            groups.setdefault(json.dumps(columns), {"steps": [], "columns": columns})["steps"].append(step)
        note = {
            "setting": self._setting,
            "digests": {str(step): digest for step, digest in digests.items()},
            "last": [max(digests), digests[max(digests)]],
            "keys": self._note.get("keys"),
            "needs": {name: sorted(what) for name, what in self._needs.items()},
            "missing": self.missing,
            "versions": self._note.get("versions", {}) | {name: v for name, v in mine.items() if v is not None},
            "groups": list(groups.values()),
        }
        if keys.found is not None:
            considered = {str(step): digest for step, digest in digests.items() if step >= keys.first_step}
            note["keys"] = {
                "asked": self._asked, "frequencies": list(keys.found), "step": keys.step, "doubt": keys.doubt,
                "of": considered,
            }  # fmt: skip
        try:
            write_parquet(self._file, frame_of(whole), {_NOTE: json.dumps(note)})
        except OSError as error:
            warn(f"the trajectory could not be kept, so it is computed anew each time: {error}")


def _number(value: Any) -> float | None:
    return None if value is None or math.isnan(value) else float(value)
