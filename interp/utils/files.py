"""Reading and writing files: only regular ones are opened, and every file is written whole."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import json
import os
import re
import shutil
import stat
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from interp.utils.errors import CheckpointError, ConfigError, StorageError

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

PathLike = str | os.PathLike[str]

_LARGEST_JSON = 2**25  # bytes; a description of a run takes a thousand
_TEMPORARY = re.compile(r"\.interp-[0-9a-f]{32}\.part")
_SECONDS_OF_A_DAY = 86_400.0

_KINDS = {
    stat.S_IFDIR: "a folder", stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket", stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}  # fmt: skip
_REMEDIES = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT), "free some space on its disk"),
    **dict.fromkeys((errno.EACCES, errno.EPERM), "change the permissions, or name another place"),
    errno.EFBIG: "raise the limit on the size of files (ulimit -f)",
    errno.EROFS: "name a place that can be written to",
    errno.ENAMETOOLONG: "give it a shorter name",
    errno.ELOOP: "mend the links, which lead in a circle",
}


# ── paths ────────────────────────────────────────────────────────────────────────────────────────────────────────


def as_path(path: PathLike) -> Path:
    """Return `path` as a Path, or raise ConfigError if it is not a path."""
    if not isinstance(path, str | os.PathLike):
        raise ConfigError(f"a path must be a string or a pathlib.Path; got {path!r}.")
    return Path(os.fsdecode(path))


def printable(path: PathLike) -> str:
    r"""Return a path as text that every stream takes: bytes that are not UTF-8 become \udc80 to \udcff."""
    return os.fsdecode(path).encode(errors="backslashreplace").decode()


def _reason(error: OSError) -> str:
    return error.strerror or (str(error).strip().splitlines() or [type(error).__name__])[0]


# ── reading ──────────────────────────────────────────────────────────────────────────────────────────────────────


def look_up(file: Path, name: PathLike | None = None) -> os.stat_result | None:
    """Return the status of a path, or None if there is nothing.

    Raises:
        CheckpointError: The system refuses, since permission is missing or the name impossible.
    """
    try:
        return file.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        raise unreadable(name or file, error) from None


def open_regular(file: Path, name: PathLike | None = None) -> io.BufferedReader:
    """Open a regular file, known to the user as `name`, for reading.

    Anything else (a folder, a pipe, a device, a socket) could block for ever or never end. Every file that interp reads
    is opened here, even if a library opens it by its path afterwards.

    Raises:
        FileNotFoundError: There is no such file.
        CheckpointError: It is not regular, or must not be read.
    """
    about = look_up(file, name)
    if about is None:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(file))
    if not stat.S_ISREG(about.st_mode):
        raise CheckpointError(f"{name or file} must be a regular file; it is {_kind(about)}.")
    try:
        return file.open("rb")
    except FileNotFoundError:
        raise
    except OSError as error:
        raise unreadable(name or file, error) from None


@contextlib.contextmanager
def path_of_regular(file: Path, name: PathLike | None = None) -> Iterator[str]:
    """Yield a path in UTF-8 of a regular file, for libraries that open files themselves and take no other paths."""
    with open_regular(file, name) as stream:
        path = str(file)
        yield path if path == printable(path) else f"/proc/self/fd/{stream.fileno()}"


def _kind(about: os.stat_result) -> str:
    return _KINDS.get(stat.S_IFMT(about.st_mode), "something else")


def unreadable(name: PathLike, error: OSError | ValueError) -> CheckpointError:
    if isinstance(error, ValueError):  # a null byte
        return CheckpointError(f"{str(name)!r} cannot be the name of a file ({error}); check the path.")
    remedy = _REMEDIES.get(error.errno or 0, "check the path and its disk")
    return CheckpointError(f"{name} cannot be read ({_reason(error)}); {remedy}.")


def digest_of_file(file: Path) -> str:
    """Return the SHA-256 of a regular file, in hexadecimal; raises as `open_regular` does."""
    with open_regular(file) as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def read_json(file: Path) -> Any:
    """Return the value in a JSON file; ValueError if it is not JSON or too large. Raises as `open_regular` too."""
    with open_regular(file) as stream:
        content = stream.read(_LARGEST_JSON + 1)
    if len(content) > _LARGEST_JSON:
        raise ValueError(f"it is larger than {_LARGEST_JSON / 2**20:.0f} MB")
    return parse_json(content)


def parse_json(content: str | bytes) -> Any:
    """Return the value of JSON text; ValueError if it is malformed or nested too deeply."""
    try:
        return json.loads(content)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def read_noted(file: Path, key: str) -> tuple[pa.Table, Any]:
    """Return the table of a parquet file, and the JSON note that `write_parquet` was given under this key.

    Raises:
        CheckpointError: The file must not be read, as for `open_regular`.
        OSError, ValueError, KeyError, pyarrow.ArrowException: There is no such file, table or note.
    """
    import pyarrow.parquet as pq

    with open_regular(file) as stream:
        table = pq.read_table(io.BytesIO(stream.read()))
    return table, parse_json((table.schema.metadata or {})[key.encode()])


def names_in(folder: Path) -> list[str]:
    """Return the sorted names in a folder, empty if there is none; CheckpointError if it cannot be listed."""
    try:
        return sorted(os.listdir(folder))
    except FileNotFoundError:
        return []
    except OSError as error:
        raise unreadable(folder, error) from None


# ── writing ──────────────────────────────────────────────────────────────────────────────────────────────────────


def write_whole(file: Path, write: Callable[[Path], object]) -> None:
    """Let `write` fill a temporary file, sync it, and rename it, so that readers see the old file or the new one.

    Raises:
        StorageError: The file cannot be written, with the system's reason and a remedy.
    """
    with writing(file):
        if file.exists() and not file.is_file():  # such as /dev/null
            raise StorageError(file, f"it is {_kind(file.stat())}", "name a regular file")
        with temporary_in(file.parent) as temporary:
            write(temporary)
            with temporary.open("rb+") as stream:
                os.fsync(stream.fileno())
            temporary.replace(file)
        _sync_folder(file.parent)


def write_parquet(file: Path, content: pd.DataFrame | pa.Table, about: Mapping[str, str] | None = None) -> None:
    """Write a frame or a table as a whole parquet file, in a folder that is made if need be.

    `about` goes into the metadata of its schema, from which `read_noted` reads JSON.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = content if isinstance(content, pa.Table) else pa.Table.from_pandas(content, preserve_index=False)
    if about:
        table = table.replace_schema_metadata({**(table.schema.metadata or {}), **about})

    def write(temporary: Path) -> None:
        with temporary.open("wb") as stream:  # pyarrow takes only names in UTF-8
            pq.write_table(table, stream)

    make_folder(file.parent)
    write_whole(file, write)


def make_folder(folder: Path) -> None:
    """Make a folder and its parents, unless they exist; StorageError if that is impossible."""
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)


@contextlib.contextmanager
def writing(target: Path) -> Iterator[None]:
    """Turn an OSError into a StorageError that names `target`, the system's reason, and a remedy."""
    try:
        yield
    except StorageError as error:
        raise StorageError(target, error.reason, error.remedy) from error
    except OSError as error:
        remedy = _REMEDIES.get(error.errno or 0, "check its folder, or name another place")
        raise StorageError(target, _reason(error), remedy) from error


@contextlib.contextmanager
def temporary_in(folder: Path, is_folder: bool = False) -> Iterator[Path]:
    """Make an empty file or folder under a temporary name in `folder`, and remove it at the end unless it was renamed.

    It is locked while it is in use. If the writer is killed, the system drops the lock, and the next writer into the
    same folder removes it.
    """
    remove_abandoned(folder)
    while True:
        path = folder / f".interp-{uuid.uuid4().hex}.part"  # NAME.part can be too long
        path.mkdir() if is_folder else path.touch(exist_ok=False)
        lock = _lock(path, wait=True)
        if path.exists():  # else another writer removed it before it was locked
            break
        _unlock(lock)
    try:
        yield path
    finally:
        _remove(path)
        _unlock(lock)


def remove_abandoned(folder: Path) -> None:
    """Remove the temporary files and folders in `folder` whose writers were killed."""
    with contextlib.suppress(OSError):  # of another user, or gone by now
        for name in os.listdir(folder):
            if _TEMPORARY.fullmatch(name):
                with contextlib.suppress(OSError):
                    _remove_if_abandoned(folder / name)


def _remove_if_abandoned(path: Path) -> None:
    if fcntl is None:
        if time.time() - path.lstat().st_mtime > _SECONDS_OF_A_DAY:
            _remove(path)
        return
    lock = _lock(path, wait=False)
    if lock is not None:
        _remove(path)
        _unlock(lock)


def _lock(path: Path, wait: bool) -> int | None:
    """Lock a temporary file or folder until `_unlock`; return None if that is impossible."""
    if fcntl is None:
        return None
    descriptor = None
    try:
        descriptor = os.open(path, (os.O_RDONLY if path.is_dir() else os.O_RDWR) | os.O_NOFOLLOW | os.O_NONBLOCK)
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        return descriptor
    except OSError:  # locked, gone, or on a disk without locks
        _unlock(descriptor)
        return None


def _unlock(descriptor: int | None) -> None:
    if descriptor is not None:
        os.close(descriptor)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    """Sync a folder, so that a rename in it lasts; Windows has no such call."""
    if hasattr(os, "O_DIRECTORY"):
        descriptor = os.open(folder, os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
