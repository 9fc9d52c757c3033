"""Provenance: the command, code and input that made a file, which every figure and table of interp carries.

No field changes with the time, so the same command on the same commit and input writes the same bytes.
"""

from __future__ import annotations

import contextlib
import hashlib
import html
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextvars import ContextVar
from dataclasses import asdict, dataclass
from functools import cache, lru_cache
from importlib import metadata
from pathlib import Path
from typing import Any

from interp.utils.arguments import given
from interp.utils.errors import CheckpointError, ConfigError
from interp.utils.files import PathLike, digest_of_file, printable

NOTHING = "none: no file was given"
UNKNOWN = "unknown"
_LARGEST, _MOST_FILES = 2**32, 10_000  # bytes and files that are hashed, which takes seconds
_OF_RUN = ("config.json", "split.npz", "history.parquet", "checkpoints/*.safetensors")
_OF_SWEEP = ("results.parquet", "runs/*/*/result.json")


@dataclass(frozen=True)
class Provenance:
    """The origin of a file.

    Attributes:
        command: The command as typed, with paths relative to the working directory: "interp figures runs/mine".
        code: The versions of interp and torch and, in a git checkout, the commit, and whether files differ from it.
        input: The files that were read, with the SHA-256 of `identity`.
    """

    command: str
    code: str
    input: str

    def fields(self) -> dict[str, str]:
        return asdict(self)

    def sentence(self) -> str:
        """Return the three in a sentence."""
        return f"Made by {self.command}, with {self.code}. Input: {self.input}."

    def tags(self) -> str:
        """Return a <meta> tag for each, for the head of a page."""
        return "".join(
            f'<meta name="{name}" content="{html.escape(value)}">\n' for name, value in self.fields().items()
        )

    def comment(self) -> str:
        """Return a line "# name: value" for each, for the top of a CSV: `read_csv(file, comment="#")`."""
        return "".join(f"# {name}: {value}\n" for name, value in self.fields().items())


_input: ContextVar[str] = ContextVar("input", default=UNKNOWN)


def provenance() -> Provenance:
    """Return the provenance of a file that is written now."""
    return Provenance(_command(), _code(), _input.get())


@contextlib.contextmanager
def made_from(*sources: Any) -> Iterator[None]:
    """Let all files that are written within this context name these inputs: paths, or objects opened from a path.

    They are hashed as the context begins. Without any, the files say that none was given.

    Raises:
        ConfigError: An input is not a path, a thing that was opened from one, a frame, or a model in memory.
    """
    token = _input.set("; ".join(map(_said, sources)) or NOTHING)
    try:
        yield
    finally:
        _input.reset(token)


def identity(path: PathLike) -> str:
    """Return the SHA-256 of a file, a run or a sweep; ConfigError says why there is none.

    That of a run is the hash of the output of `sha256sum config.json split.npz history.parquet
    checkpoints/*.safetensors` in its directory, for the files that exist; that of a sweep likewise, for results.parquet
    and runs/*/*/result.json; and that of any other directory, for all its files.
    """
    path = Path(os.fsdecode(path))
    found = [path] if path.is_file() else _files(path)
    try:
        about = [(file, file.stat()) for file in found]
        if sum(one.st_size for _, one in about) > _LARGEST:
            raise ConfigError(f"it has more than {_LARGEST / 1e9:.1f} GB")
        each = [(file, _digest(file, one.st_size, one.st_mtime_ns)) for file, one in about]
    except (OSError, CheckpointError):
        raise ConfigError("it cannot be read") from None
    if len(each) == 1:
        return each[0][1]
    lines = (f"{digest}  ".encode() + os.fsencode(file.relative_to(path).as_posix()) + b"\n" for file, digest in each)
    return hashlib.sha256(b"".join(lines)).hexdigest()


def _files(folder: Path) -> list[Path]:
    """Return the files that make a run or a sweep; of another directory all that are not hidden."""
    for patterns in (_OF_SWEEP, _OF_RUN):
        if (folder / patterns[0]).is_file():
            return [file for pattern in patterns for file in sorted(folder.glob(pattern)) if file.is_file()]
    found: list[Path] = []
    for home, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        found += [Path(home) / name for name in sorted(names) if not name.startswith(".")]
        if len(found) > _MOST_FILES:
            raise ConfigError(f"it has more than {_MOST_FILES:,} files")
    if not found:
        raise ConfigError("there is no file")
    return [file for file in found if file.is_file()]


@lru_cache(maxsize=4 * _MOST_FILES)
def _digest(file: Path, size: int, changed: int) -> str:
    """Return the hash of a file, once for each size and time of its last change."""
    return digest_of_file(file)


def _said(source: Any) -> str:
    """Name a source and its hash."""
    path = source if isinstance(source, str | os.PathLike) else getattr(source, "path", None)
    if not isinstance(path, str | os.PathLike):
        if not hasattr(source, "task") and not hasattr(source, "columns"):
            raise ConfigError(f"made_from takes paths, or objects opened from one, such as a Run; got {given(source)}.")
        return f"a {type(source).__name__} in memory"
    if "://" in (name := os.fsdecode(path)):
        return f"{_shortened(name)}, not hashed: it is an address"
    try:
        return f"{_shortened(os.path.abspath(name))} sha256 {identity(path)}"
    except ConfigError as why:
        return f"{_shortened(os.path.abspath(name))}, not hashed: {why}"


_told: list[tuple[str, str]] = []  # in a child process, the command and code of its parent


def in_child(command: str, code: str) -> None:
    """Let this process, a child, name the command and code of its parent."""
    _told[:] = [(command, code)]


def _command() -> str:
    return _told[0][0] if _told else as_typed(sys.orig_argv)


def as_typed(arguments: Sequence[str]) -> str:
    """Return the command of a process without any directory outside the working directory.

    Options of Python itself and code after -c are left out; the kernel of a notebook is "a notebook".
    """
    if any("kernel_launcher" in part for part in arguments[:4]):
        return "a notebook"
    rest = list(arguments[1:])
    while rest and rest[0].startswith("-") and rest[0] not in ("-m", "-c"):
        del rest[: 2 if rest[0] in ("-X", "-W") else 1]
    if not rest:
        return "Python"
    if rest[0] == "-c":
        return "python -c …"
    if rest[0] == "-m":
        words = ["python", *rest]
    else:
        name = Path(rest[0]).name
        words = ["python", rest[0], *rest[1:]] if name.endswith(".py") else [name, *rest[1:]]
    return shlex.join(_shortened(word) for word in words)


def _shortened(word: str) -> str:
    """Return an argument without the directories of this machine, and an address without a password or a query."""
    word = re.sub(r"(\w+://)[^/@\s]*@", r"\1", printable(word))
    if "://" in word:
        word = word.partition("?")[0]
    word = re.sub(r"(?:^|(?<=[=,:]))/(?!/)[^=,:]*", lambda found: _relative(found[0]), word)
    return re.sub(r"[\x00-\x1f\x7f]", " ", word)


def _relative(path: str) -> str:
    """Return a path relative to the working directory, or only its last part if it is elsewhere."""
    try:
        return str(Path(path).relative_to(Path.cwd()))
    except ValueError:
        return f".../{Path(path).name}"


def _code() -> str:
    return _told[0][1] if _told else _of_checkout()


@cache
def _of_checkout() -> str:
    """Name interp and torch, once, since git takes a tenth of a second."""
    home = Path(__file__).parents[2]
    commit = ""
    if (home / ".git").exists() and (found := _git(home, "rev-parse", "HEAD")):
        differs = _git(home, "--no-optional-locks", "status", "--porcelain", "--untracked-files=no")
        commit = f" of commit {found}{' with changes' if differs else ''}"
    return f"interp {metadata.version('interp')}{commit}, torch {metadata.version('torch')}"


def _git(folder: Path, *words: str) -> str:
    """Return the output of git, "" if it fails or is missing."""
    try:
        said = subprocess.run(["git", "-C", folder, *words], capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return said.stdout.strip() if said.returncode == 0 else ""
