"""Reading files that others wrote: where they are, and what data they hold. Nothing pickled in them is ever run."""

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

from interp.errors import CheckpointError, ConfigError
from interp.layouts import some
from interp.run import PathLike


class SavedConfig:
    """Stands for a configuration object of TransformerLens that was pickled whole: its fields, and no code."""


_CONFIG_CLASSES = (
    "transformer_lens.HookedTransformerConfig.HookedTransformerConfig",
    "transformer_lens.config.HookedTransformerConfig.HookedTransformerConfig",
    "transformer_lens.config.hooked_transformer_config.HookedTransformerConfig",
    "transformer_lens.config.transformer_bridge_config.TransformerBridgeConfig",
    "easy_transformer.EasyTransformerConfig.EasyTransformerConfig",
)


def local_file(path: PathLike) -> tuple[Path, Path | str]:
    """Where to read a path, and what to call it.

    An fsspec address (hf://…, s3://…, memory://…) is fetched into a folder that lasts as long as the process.
    """
    if not isinstance(path, str | os.PathLike):
        raise ConfigError(f"a path is expected, or an address such as hf://…; this is a {type(path).__name__}.")
    address = os.fsdecode(path)
    if "://" not in address and ("::" not in address or Path(address).exists()):
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
    """Whether a file begins as safetensors files do: the length of a header, and the header's brace."""
    with file.open("rb") as stream:
        start = stream.read(9)
    return start[8:] == b"{" and int.from_bytes(start[:8], "little") <= file.stat().st_size


def read_data(file: Path, name: Path | str) -> Any:
    """What a safetensors or torch file holds; CheckpointError where it is neither, cut short, or more than data."""
    if not file.exists():
        raise CheckpointError(f"{name} does not exist; expected a checkpoint file or a run directory.")
    sized = f"{name} ({file.stat().st_size:,} bytes)"
    if is_safetensors(file):
        try:
            return load_file(file)
        except (SafetensorError, OSError) as error:
            raise CheckpointError(f"{sized} is no whole safetensors file ({error}); replace it from a copy.") from None
    with file.open("rb") as stream:
        start = stream.read(64)
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
            file.open("rb") as stream,
            warnings.catch_warnings(),
        ):
            warnings.filterwarnings("ignore", message="Detected pickle protocol")  # of files that torch did not write
            # Archives are mapped, not read. By path, torch would take .safetensors at its word, so those are read.
            mapped = zipped and file.suffix != ".safetensors"
            source = file if mapped else stream
            return torch.load(source, map_location="cpu", weights_only=True, mmap=mapped)
    except pickle.UnpicklingError as error:
        if needed := _imports(file, zipped, str(error)):
            raise CheckpointError(
                f"{name} holds more than data ({some(needed)}), and code in a checkpoint is never run; its owner can "
                "re-save it as data, with torch.save(model.state_dict(), file) or a dict of tensors, numbers and lists."
            ) from None
        reason = "its pickle breaks off or is not torch's"
    except Exception as error:  # damaged bytes end in errors of every kind
        reason = _first_line(error)
        if zipped:
            reason = "its archive breaks off or is not torch's"
    raise CheckpointError(
        f"{sized} is no whole safetensors or torch file ({reason}); replace it from a copy."
    ) from None


@cache
def _data_globals() -> list[Any]:
    """What may be named in a pickle beside torch's own: data, and classes that hold nothing else.

    Numpy's numbers and arrays, which old runs hold among their losses, under the names of numpy 1 and 2; and stand-ins
    for TransformerLens' configurations, which its demo saves.
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
    """The names of what a pickle wants to import, found by reading its instructions without following them."""
    try:
        if zipped:
            with torch.serialization.safe_globals(_data_globals()):
                return sorted(torch.serialization.get_unsafe_globals_in_checkpoint(file))
        names: list[str] = []
        words: list[str] = []
        with file.open("rb") as stream:
            for instruction, argument, _ in pickletools.genops(stream):
                if instruction.name == "GLOBAL":
                    names.append(str(argument).replace(" ", "."))
                elif instruction.name == "STACK_GLOBAL":
                    names.append(".".join(words[-2:]))
                elif isinstance(argument, str):
                    words.append(argument)
        return sorted(set(names)) or re.findall(r"GLOBAL (\S+)", message)[:1]
    except Exception:  # damaged: then that is what is said
        return re.findall(r"GLOBAL (\S+)", message)[:1]
