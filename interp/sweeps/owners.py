"""Ownership of a run: a lock, and an owner file with a heartbeat, since locks of some shared disks hold on one node."""

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
STALE = 300.0  # seconds without a beat after which an owner counts as dead


class Held(Exception):  # noqa: N818 (it is an answer, not an error)
    """Another process works on the run."""


@contextlib.contextmanager
def owning(folder: Path, token: str | None = None) -> Iterator[None]:
    """Own the run in `folder` within this context; raise Held if another process owns it.

    An owner is identified by host, process and start. It counts as dead when its process is gone (on this host), when
    its token is the caller's own (an earlier try of one job), or after five minutes without a beat.
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
        if _read(folder) != mine:  # two may have written if locks hold on one node only
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
    """Return the name of this host and of its boot, since containers on two nodes may share a name."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        boot = ""
    return f"{socket.gethostname()} {boot}".strip()


def _scheduler_job() -> str | None:
    """Return the scheduler's job of this process, for people who read the file."""
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
        own = other.get("process") == mine["process"]  # its lock was free, so an earlier try left it
        return not own and other.get("started") is not None and _started(other.get("process")) == other["started"]
    beat = look_up(folder / OWNER)
    now = folder / _CLAIM  # gives the clock of the disk, which other nodes share
    os.utime(now)
    return beat is not None and now.stat().st_mtime - beat.st_mtime < STALE


def _started(process: Any) -> str | None:
    """Return when a process of this host started, since process numbers are reused; None if there is none."""
    try:
        about = Path(f"/proc/{int(process)}/stat").read_text(encoding="utf-8", errors="replace")
    except (OSError, ValueError, TypeError):
        return _is_there(process)
    return about.rpartition(")")[2].split()[19]


def _is_there(process: Any) -> str | None:
    """Return "there" for a living process on a system without /proc, else None."""
    if Path("/proc/self/stat").exists():
        return None
    try:
        os.kill(int(process), 0)
    except (OSError, ValueError, TypeError):
        return None
    return "there"
