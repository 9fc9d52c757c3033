"""Place: the directory that a training writes, locked against a second one."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import filelock

from interp.runs.names import CHECKPOINTS
from interp.utils.arguments import some
from interp.utils.errors import StorageError, TrainingError
from interp.utils.files import look_up, names_in, writing

LOCK = ".lock"


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock of a run directory. Raise TrainingError if another training holds it."""
    with writing(path / LOCK):
        try:
            held = filelock.FileLock(path / LOCK).acquire(timeout=0)
        except filelock.Timeout:  # an OSError too
            raise TrainingError(
                f"Another training is writing to {path}; wait for it or name another directory."
            ) from None
    with held:
        yield


class Place:
    """The directory of a training, which must stay the same one and keep the checkpoints written into it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = (path / LOCK).open("rb")  # open until the end, so that no other file gets its inode
        self._written = {name for name in names_in(path / CHECKPOINTS) if name.endswith(".safetensors")}
        self._newest = max(self._written, default=None)

    def __enter__(self) -> Place:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        try:
            if isinstance(error, StorageError):  # its folder may be gone
                self.check_same()
                self.check_all()
        finally:
            self._lock.close()

    def wrote(self, file: Path) -> None:
        """Note the newest checkpoint."""
        self._written.add(file.name)
        self._newest = file.name

    def check_same(self) -> None:
        """Raise TrainingError if the directory was deleted or replaced, before anything is written into another."""
        found = look_up(self.path / LOCK)
        if found is None or not os.path.samestat(found, os.fstat(self._lock.fileno())):
            raise TrainingError(
                f"{self.path} was deleted or replaced while the training wrote to it, so it stopped and wrote "
                "nothing more. Restore the directory and go on with resume=True (--resume), or train again."
            )

    def check_newest(self) -> None:
        """Raise TrainingError if the newest checkpoint is gone, which is quicker than a look at all."""
        if self._newest and look_up(self.path / CHECKPOINTS / self._newest) is None:
            self.check_all()

    def check_all(self) -> None:
        """Raise TrainingError if the file of any checkpoint is gone."""
        if lost := sorted(self._written.difference(names_in(self.path / CHECKPOINTS))):
            raise TrainingError(
                f"{self.path / CHECKPOINTS} lost {len(lost)} files while the training wrote to it: {some(lost)}. All "
                "else is saved. Restore them from a copy, or do without, and go on with resume=True (--resume)."
            )
