"""Fetch and read files that other code wrote. No code that is pickled in them is ever run."""

from __future__ import annotations

import os
import pickle
import pickletools
import re
import tempfile
import uuid
import warnings
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from interp.utils.arguments import given, some
from interp.utils.errors import CheckpointError, ConfigError
from interp.utils.files import PathLike, look_up, open_regular, path_of_regular, unreadable


class SavedConfig:
    """The fields of a configuration object of TransformerLens that was pickled whole, without its code."""


_CONFIG_CLASSES = (
    "transformer_lens.HookedTransformerConfig.HookedTransformerConfig",
    "transformer_lens.config.HookedTransformerConfig.HookedTransformerConfig",
    "transformer_lens.config.hooked_transformer_config.HookedTransformerConfig",
    "transformer_lens.config.transformer_bridge_config.TransformerBridgeConfig",
    "easy_transformer.EasyTransformerConfig.EasyTransformerConfig",
)


def local_file(path: PathLike) -> tuple[Path, Path | str]:
    """Return the local file of a path, and the path as the user knows it.

    An fsspec address (hf://…, s3://…, memory://…) is fetched into a folder that lasts as long as the process.

    Raises:
        CheckpointError: The file cannot be fetched, or the system does not let the path be looked up.
    """
    if not isinstance(path, str | os.PathLike):
        raise ConfigError(f"a path or an address such as hf://… is needed; got {given(path)}.")
    address = os.fsdecode(path)
    if "://" not in address:
        found = look_up(Path(address))
        if found or "::" not in address:
            return Path(address), Path(address)
    import fsspec

    try:
        files, inner = fsspec.url_to_fs(address)
        if isinstance(files, fsspec.get_filesystem_class("file")):
            return Path(inner), Path(inner)
        target = Path(_fetched().name, uuid.uuid4().hex, inner.rstrip("/").rsplit("/", 1)[-1])
        target.parent.mkdir()
        if files.isdir(inner):
            files.get(inner.rstrip("/"), str(target), recursive=True)
        else:
            files.get_file(inner, str(target))
    except Exception as error:  # whatever the storage behind the address raises
        raise CheckpointError(
            f"{address} cannot be fetched ({_first_line(error)}); check the address, and that its fsspec backend is "
            "installed."
        ) from None
    return target, address


@cache
def _fetched() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="interp-")


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:120].strip()


def is_safetensors(file: Path) -> bool:
    """Return whether a file begins as safetensors files do: the length of a header, and the header's brace."""
    start = _start(file, file)
    return start[8:9] == b"{" and int.from_bytes(start[:8], "little") <= file.stat().st_size


def _start(file: Path, name: Path | str) -> bytes:
    with open_regular(file, name) as stream:
        try:
            return stream.read(64)
        except OSError as error:  # a damaged disk
            raise unreadable(name, error) from None


def read_data(file: Path, name: Path | str) -> Any:
    """Read a safetensors or torch file; CheckpointError if it is neither, cut short, or holds more than data."""
    try:
        start = _start(file, name)
    except FileNotFoundError:
        raise CheckpointError(f"{name} does not exist; expected a checkpoint file or a run directory.") from None
    sized, mend = f"{name} ({file.stat().st_size:,} bytes)", "replace it from a copy"
    if is_safetensors(file):
        try:
            with path_of_regular(file, name) as path:
                return load_file(path)
        except (SafetensorError, OSError) as error:
            raise CheckpointError(f"{sized} is no whole safetensors file ({error}); {mend}.") from None
    if start.startswith(b"version https://git-lfs"):
        raise CheckpointError(f"{name} is only a pointer to the file; fetch the file itself with git lfs pull.")
    zipped = start.startswith(b"PK")
    if not zipped and not start.startswith(b"\x80") and len(start) >= 2:
        raise CheckpointError(
            f"{sized} is no whole safetensors or torch file: it begins with {start[:12]!r}; give the file that "
            "torch.save or safetensors wrote."
        )
    try:
        with (
            torch.serialization.safe_globals(_data_globals()),
            open_regular(file, name) as stream,
            path_of_regular(file, name) as path,
            warnings.catch_warnings(),
        ):
            warnings.filterwarnings("ignore", message="Detected pickle protocol")  # of files that torch did not write
            # Archives are mapped by their path, unless they are named .safetensors, which torch would believe.
            mapped = zipped and file.suffix != ".safetensors"
            return torch.load(path if mapped else stream, map_location="cpu", weights_only=True, mmap=mapped)
    except pickle.UnpicklingError as error:
        if needed := _imports(file, zipped, str(error)):
            raise CheckpointError(
                f"{name} holds more than data ({some(needed)}), and code in a checkpoint is never run; its owner can "
                "re-save it as data, with torch.save(model.state_dict(), file) or a dict of tensors, numbers and lists."
            ) from None
        reason = "its pickle breaks off or is not torch's"
    except Exception as error:  # damaged bytes end in errors of every kind
        reason = "its archive breaks off or is not torch's" if zipped else _first_line(error)
    raise CheckpointError(f"{sized} is no whole safetensors or torch file ({reason}); {mend}.") from None


@cache
def _data_globals() -> list[Any]:
    """Return the classes of data that a pickle may name beside torch's own.

    They are numpy's numbers and arrays, which old runs hold among their losses, under the names of numpy 1 and 2; and
    SavedConfig for TransformerLens' configurations, which its demo saves.
    """
    try:
        from numpy._core import multiarray
    except ImportError:  # numpy 1
        from numpy.core import multiarray  # type: ignore[no-redef]

    made = [
        (getattr(multiarray, name), f"numpy.{core}.multiarray.{name}")
        for name in ("scalar", "_reconstruct")
        for core in ("core", "_core")
    ]
    made += [(SavedConfig, name) for name in _CONFIG_CLASSES]
    return [*made, np.ndarray, np.dtype, *{type(np.dtype(code)) for code in "?bhilqBHILQefd"}]


def _imports(file: Path, zipped: bool, message: str) -> list[str]:
    """Return the names that a pickle imports; its instructions are read, not run."""
    try:
        if zipped:
            with torch.serialization.safe_globals(_data_globals()), path_of_regular(file) as path:
                return sorted(torch.serialization.get_unsafe_globals_in_checkpoint(path))
        names: list[str] = []
        words: list[str] = []
        with open_regular(file) as stream:
            for instruction, argument, _ in pickletools.genops(stream):
                if instruction.name == "GLOBAL":
                    names.append(str(argument).replace(" ", "."))
                elif instruction.name == "STACK_GLOBAL":
                    names.append(".".join(words[-2:]))
                elif isinstance(argument, str):
                    words.append(argument)
        return sorted(set(names)) or re.findall(r"GLOBAL (\S+)", message)[:1]
    except Exception:  # a damaged file, which the caller reports
        return re.findall(r"GLOBAL (\S+)", message)[:1]
