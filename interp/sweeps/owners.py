"""Who works on a run: a lock, and beside it an owner file with a heartbeat, since locks differ between shared disks."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import filelock

from interp.utils.errors import CheckpointError
from interp.utils.files import look_up, make_folder, read_json, write_whole, writing

OWNER = ".owner.json"
_CLAIM = ".claim"
_BEAT = 30.0  # seconds between two beats
STALE = 300.0  # seconds without a beat after which an owner is taken for dead


class Held(Exception):  # noqa: N818 (it is an answer, not an error)
    """Somebody else works on the run."""


@contextlib.contextmanager
def owning(folder: Path, token: str | None = None) -> Iterator[None]:
    """Own the run in `folder` within this context; raises Held if another does.

    An owner is known by host, process and time of its last beat. It counts as dead when its process is gone (on this
    host), when its token is the caller's own (an earlier try of the same job), or after five minutes without a beat.
    """
    make_folder(folder)
    with writing(folder / _CLAIM):
        lock = filelock.FileLock(folder / _CLAIM)
        try:
            lock.acquire(timeout=0)
        except filelock.Timeout:
            raise Held from None
    with lock:
        mine = {"host": _host(), "process": os.getpid(), "started": _started(os.getpid()),
                "job": _scheduler_job(), "token": token or uuid.uuid4().hex}  # fmt: skip
        other = _read(folder)
        if other is not None and _is_alive(folder, other, mine):
            raise Held
        _write(folder, mine)
        if _read(folder) != mine:  # where locks hold on one node only, two may have written
            raise Held
        ended = threading.Event()
        beat = threading.Thread(target=_beat, args=(folder, ended), daemon=True, name="interp-owner")
        beat.start()
        try:
            yield
        finally:
            ended.set()
            beat.join()
            if _read(folder) == mine:
                (folder / OWNER).unlink(missing_ok=True)


def _host() -> str:
    """Return the name of this host and of its boot: containers on two nodes may have one name."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        boot = ""
    return f"{socket.gethostname()} {boot}".strip()


def _scheduler_job() -> str | None:
    """Return the job of a scheduler that this process belongs to, for people who look."""
    return os.environ.get("SLURM_JOB_ID") or os.environ.get("RAY_JOB_ID")


def _write(folder: Path, owner: dict[str, Any]) -> None:
    write_whole(folder / OWNER, lambda file: file.write_text(json.dumps(owner) + "\n", encoding="utf-8"))


def _read(folder: Path) -> dict[str, Any] | None:
    try:
        owner = read_json(folder / OWNER)
    except (FileNotFoundError, ValueError, CheckpointError):
        return None
    return owner if isinstance(owner, dict) else None


def _beat(folder: Path, ended: threading.Event) -> None:
    while not ended.wait(_BEAT):
        with contextlib.suppress(OSError):
            os.utime(folder / OWNER)


def _is_alive(folder: Path, other: dict[str, Any], mine: dict[str, Any]) -> bool:
    if other.get("token") == mine["token"]:
        return False
    if other.get("host") == mine["host"]:
        own = other.get("process") == mine["process"]  # whose lock was free: left by an earlier try
        return not own and other.get("started") is not None and _started(other.get("process")) == other["started"]
    beat = look_up(folder / OWNER)
    now = folder / _CLAIM  # by the clock of the disk, which other nodes share
    os.utime(now)
    return beat is not None and now.stat().st_mtime - beat.st_mtime < STALE


def _started(process: Any) -> str | None:
    """Return when a process of this host started, None if there is none: numbers of processes are used again."""
    try:
        about = Path(f"/proc/{int(process)}/stat").read_text(encoding="utf-8", errors="replace")
    except (OSError, ValueError, TypeError):
        return _is_there(process)
    return about.rpartition(")")[2].split()[19]


def _is_there(process: Any) -> str | None:
    """Return "there" for a living process where the system has no /proc."""
    if Path("/proc/self/stat").exists():
        return None
    try:
        os.kill(int(process), 0)
    except (OSError, ValueError, TypeError):
        return None
    return "there"
