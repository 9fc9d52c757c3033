"""Write, open and check a run directory.

    config.json                            task, model, training settings, format and package versions
    split.npz                              `train`: bool [p, p], true = train pair
    history.parquet                        step, train and test loss and accuracy
    checkpoints/step_00001400.safetensors  the weights after 1,400 updates
    optimizer.safetensors                  the newest state, to resume from
    measures.parquet                       derived from the checkpoints; may be deleted

No pickle anywhere, and every file is written whole: to a temporary name, synced, then renamed.
"""

from __future__ import annotations

import hashlib
import json
import re
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from jaxtyping import Bool
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import Tensor

from interp.networks import Network, Weights, check_weights, network_of
from interp.networks.base import UnknownNetworkError
from interp.runs.config import TrainConfig, settings_before
from interp.runs.names import CHECKPOINTS, CONFIG, FORMAT_VERSION, HISTORY, HISTORY_COLUMNS, SPLIT, Origin
from interp.runs.run import Checkpoint, Run
from interp.tasks.task import Task
from interp.utils.errors import CheckpointError, ConfigError, warn
from interp.utils.files import (
    digest_of_file,
    look_up,
    make_folder,
    names_in,
    open_regular,
    parse_json,
    path_of_regular,
    read_json,
    remove_abandoned,
    write_parquet,
    write_whole,
)

_NOTE = "interp"  # the metadata key of our safetensors files
_STEP = re.compile(r"step_(\d+)\.safetensors")
_PACKAGES = ("interp", "torch", "numpy", "safetensors")
_MOST_RECORDS = 10**8  # numbers in a history; a few bytes of parquet can unpack to more than memory holds


@dataclass(frozen=True)
class StepFile:
    """A checkpoint file of a run directory, which must hold the step that its name says and the run's architecture."""

    path: Path
    step: int
    architecture: Network

    def weights(self) -> Weights:
        weights, about = read_weights(self.path)
        if about.step != self.step:
            raise CheckpointError(
                f"{self.path} must hold step {self.step}, as its name says; it holds step {about.step}. Rename it."
            )
        if about.model != self.architecture:
            raise CheckpointError(
                f"{self.path} must hold a model of its run, {self.architecture}; it holds {about.model}. Remove it."
            )
        return weights

    def digest(self) -> str:
        return digest_of_file(self.path)

    def stamp(self) -> tuple[int, ...]:
        return stamp_of(self.path)


def digest_of(weights: Mapping[str, Tensor]) -> str:
    """Return the hash of the names and values of tensors."""
    digest = hashlib.sha256()
    for name, weight in weights.items():
        digest.update(name.encode())
        digest.update(weight.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def stamp_of(file: Path) -> tuple[int, ...]:
    """Return a file's inode, size and time of writing; OSError if it is gone."""
    about = file.stat()
    return about.st_ino, about.st_size, about.st_mtime_ns


def open_directory(path: Path, name: Path | str | None = None) -> Run:
    """Open a run directory of interp's, which the user calls `name`, without reading its weights.

    A warning names each damaged checkpoint, and `run.bad` says what is wrong with it.

    Raises:
        CheckpointError: The directory is no run, or a newer format wrote it.
    """
    about = read_description(path)
    sources, bad = {}, {}
    for found in names_in(path / CHECKPOINTS):
        if match := _STEP.fullmatch(found):
            file, step = path / CHECKPOINTS / found, int(match[1])
            try:
                read_header(file)
                sources[step] = StepFile(file, step, about.architecture)
            except CheckpointError as error:
                bad[step] = str(error)
                warn(str(error))
    mask = _read_split(path / SPLIT, about.task.p)
    return Run(
        name or path, about.task, about.architecture, sources, lambda: read_history(path / HISTORY), mask,
        about.training, bad, about.task_origin, about.split_origin, stopped=about.stopped, start=about.start,
    )  # fmt: skip


def home_of(file: Path) -> Path | None:
    """Return the run directory of a checkpoint file, or None if it lies elsewhere."""
    home = file.parent.parent
    at_home = file.parent.name == CHECKPOINTS and _STEP.fullmatch(file.name) and (home / CONFIG).is_file()
    return home if at_home else None


@dataclass(frozen=True)
class Description:
    """The contents of config.json."""

    task: Task
    architecture: Network
    training: TrainConfig | None  # None if other code trained the run
    task_origin: Origin = "recorded"
    split_origin: Origin = "recorded"
    stopped: int | None = None
    start: dict[str, Any] | None = None


def read_description(path: Path) -> Description:
    """Read the config.json of the run in `path`; CheckpointError if there is no such run."""
    file = path / CONFIG
    if look_up(path) is None:
        raise CheckpointError(f"{path} does not exist; expected a run directory, as interp train writes it.")
    try:
        content = read_json(file)
    except FileNotFoundError:
        raise CheckpointError(
            f"{path} holds no {CONFIG}; expected a run directory, as interp train writes it."
        ) from None
    except (ValueError, OSError) as error:
        raise CheckpointError(f"{file} is not readable JSON ({error}); restore it from a copy of the run.") from None
    content = content if isinstance(content, dict) else {}
    _check_format(file, content, "interp-run")
    try:
        task, architecture = Task(**content["task"]), network_of(content["model"])
        if content["training"] is None:
            task_origin, split_origin = (_origin(content, name) for name in ("task_origin", "split_origin"))
            return Description(task, architecture, None, task_origin, split_origin)
        settings: Any = {name: tuple(v) if isinstance(v, list) else v for name, v in content["training"].items()}
        if unknown := [name for name in settings if name not in TrainConfig.names()]:
            raise CheckpointError(
                f"{file} has settings that this interp does not know ({', '.join(unknown)}); it may be written by a "
                f"newer one, {_writer(content)}. Upgrade interp to open it."
            )
        training = TrainConfig(**(settings_before(settings) | settings))
    except UnknownNetworkError as error:
        raise CheckpointError(f"{file}: {error}") from None
    except (KeyError, TypeError, AttributeError, ConfigError) as error:
        said = f"it lacks {error}" if isinstance(error, KeyError) else str(error).rstrip(".")
        raise CheckpointError(f"{file} does not describe a run ({said}); restore it from a copy of the run.") from None
    for name, beside, meant in (("task", task, training.task), ("model", architecture, training.model)):
        if beside != meant:
            raise CheckpointError(
                f"{file} disagrees with itself: its {name} is {beside}, and its training settings give {meant}. "
                "Restore it from a copy of the run."
            )
    stopped, start = content.get("stopped"), content.get("start")
    return Description(
        training.task, training.model, training,
        stopped=stopped if isinstance(stopped, int) else None, start=start if isinstance(start, dict) else None,
    )  # fmt: skip


def _writer(content: Mapping[str, Any]) -> str:
    packages = content.get("packages")
    return f"interp {packages.get('interp', '?')}" if isinstance(packages, dict) else "of unknown version"


def read_config(path: Path) -> TrainConfig:
    """Read the training settings of the run in `path`; CheckpointError if there is no such run, or it has none."""
    training = read_description(path).training
    if training is None:
        raise CheckpointError(f"{path} was converted from another format; its training settings are not known.")
    return training


def read_start(path: Path) -> dict[str, Any] | None:
    """Return the description of the checkpoint that the run in `path` began with; None if there is none."""
    return read_description(path).start if (path / CONFIG).exists() else None


def _origin(content: Mapping[str, Any], name: str) -> Origin:
    """Return the source of a task or split; a file that names none was written by a training, which records both."""
    said = content.get(name, "recorded")
    return said if said in get_args(Origin) else "assumed"


def _check_format(file: Path, content: Mapping[str, Any], expected: str) -> None:
    found = content.get("format")
    if found != expected:
        raise CheckpointError(f"{file} says format {found!r}; expected {expected!r}, as this package writes it.")
    version = content.get("format_version")
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise CheckpointError(f"{file} gives no format version; restore it from a copy.")
    if version > FORMAT_VERSION:
        raise CheckpointError(
            f"{file} has format version {version}; this interp reads up to {FORMAT_VERSION}. Upgrade interp to open it."
        )


def read_history(file: Path) -> pd.DataFrame:
    """Read history.parquet into a data frame; CheckpointError if missing, damaged or without its columns."""
    try:
        with open_regular(file) as stream:
            about = pq.read_metadata(stream)
            if about.num_rows * about.num_columns > _MOST_RECORDS:
                raise CheckpointError(
                    f"{file} must hold fewer than {_MOST_RECORDS:,} numbers; it holds {about.num_rows:,} rows of "
                    f"{about.num_columns:,}."
                )
            stream.seek(0)
            history = pd.read_parquet(stream)
    except FileNotFoundError:
        raise CheckpointError(f"{file} is missing; a run keeps its losses there.") from None
    except (OSError, ValueError, pa.ArrowException):
        raise CheckpointError(
            f"{file} is not a readable parquet file; the checkpoints beside it can still be measured."
        ) from None
    if missing := [name for name in HISTORY_COLUMNS if name not in history]:
        raise CheckpointError(f"{file} has columns {list(history)}; expected also {missing}.")
    return history


_DAMAGE = (
    OSError, ValueError, LookupError, TypeError, AttributeError, EOFError, MemoryError, RuntimeError, zlib.error,
    zipfile.BadZipFile,
)  # the errors of numpy and zipfile for damaged archives  # fmt: skip


def _read_split(file: Path, p: int) -> Bool[Tensor, "p p"] | None:
    try:
        with open_regular(file) as stream, zipfile.ZipFile(stream) as archive:
            if (size := archive.getinfo("train.npy").file_size) > p * p + 2**16:  # unpacked
                raise ValueError(f"it holds {size:,} bytes")
            stream.seek(0)
            with np.load(stream, allow_pickle=False) as content:
                mask = torch.from_numpy(content["train"])
    except FileNotFoundError:
        return None
    except _DAMAGE as error:
        raise CheckpointError(f"{file} is not a split ({error}); expected `train`, a bool array [{p}, {p}].") from None
    if mask.dtype != torch.bool or mask.shape != (p, p):
        raise CheckpointError(f"{file} holds {mask.dtype} {list(mask.shape)}; expected bool [{p}, {p}].")
    return mask


def read_header(file: Path) -> dict[str, Any]:
    """Read the header of a safetensors file, and check the lengths of its tensors against the file's.

    Raises:
        CheckpointError: The file is missing, foreign or cut short.
    """
    try:
        with path_of_regular(file) as path, safe_open(path, framework="pt") as content:
            note = (content.metadata() or {}).get(_NOTE, "{}")
    except FileNotFoundError:
        raise CheckpointError(
            f"{file} does not exist; expected a run directory or a checkpoint file, as interp train writes them."
        ) from None
    except (SafetensorError, OSError) as error:
        raise CheckpointError(
            f"{file} ({file.stat().st_size:,} bytes) is no whole safetensors file ({error}); replace it from a copy."
        ) from None
    try:
        header = parse_json(note)
    except ValueError:
        header = {}
    return header if isinstance(header, dict) else {}


def read_tensors(file: Path, expected: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read the tensors and the header of a file of the `expected` format; CheckpointError for another."""
    header = read_header(file)
    _check_format(file, header, expected)
    with path_of_regular(file) as path:
        return load_file(path), header


@dataclass(frozen=True)
class About:
    """The header of a checkpoint file of interp's."""

    step: int
    task: Task
    model: Network
    task_origin: Origin = "recorded"


def read_weights(file: Path) -> tuple[dict[str, Tensor], About]:
    """Read and check a checkpoint file of interp's; CheckpointError if it is damaged."""
    weights, header = read_tensors(file, "interp-checkpoint")
    try:
        model, origin = network_of(header["model"]), _origin(header, "task_origin")
        about = About(int(header["step"]), Task(**header["task"]), model, origin)
    except (KeyError, ValueError, TypeError, ConfigError) as error:
        raise CheckpointError(
            f"{file} must tell its step, task and model; its header does not ({error!r}). Replace it from a copy."
        ) from None
    try:
        check_weights(weights, about.model)
    except ConfigError as error:
        raise CheckpointError(f"{file}: {error}") from None
    return weights, about


def remove_unfinished(path: Path) -> None:
    """Remove the temporary files of killed writers from a run directory."""
    for folder in (path, path / CHECKPOINTS):
        remove_abandoned(folder)


def write_config(
    path: Path, training: TrainConfig, stopped: int | None = None, start: Mapping[str, Any] | None = None
) -> None:
    """Write config.json: a run's settings, the step at which a callback ended it, and the checkpoint it began with."""
    more = {name: value for name, value in (("stopped", stopped), ("start", start)) if value is not None}
    _write_config(path, training.task, training.model, training.to_dict(), more)


def write_config_of(path: Path, checkpoint: Checkpoint, architecture: Network) -> None:
    """Write config.json of a run that other code trained and that holds this checkpoint."""
    origins = {"task_origin": checkpoint.task_origin}
    if checkpoint.train_mask is not None:
        origins["split_origin"] = checkpoint.split_origin
    _write_config(path, checkpoint.task, architecture, None, _unrecorded(origins))


@cache
def version(package: str) -> str:
    """Return the version of an installed package, kept since its metadata take milliseconds to read."""
    return metadata.version(package)


def _unrecorded(origins: Mapping[str, Origin]) -> dict[str, Origin]:
    """Return the origins to write: those other than "recorded", which a file need not say."""
    return {name: origin for name, origin in origins.items() if origin != "recorded"}


def _write_config(
    path: Path, task: Task, architecture: Network, training: Mapping[str, Any] | None, more: Mapping[str, Any] = {}
) -> None:
    content = {
        "format": "interp-run", "format_version": FORMAT_VERSION, "task": asdict(task), "model": architecture.to_dict(),
        "training": training, "packages": {name: version(name) for name in _PACKAGES}, **more,
    }  # fmt: skip
    write_whole(path / CONFIG, lambda file: file.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8"))


def write_split(path: Path, mask: Bool[Tensor, "p p"]) -> None:
    def write(file: Path) -> None:
        with file.open("wb") as stream:  # given a name, numpy would add .npz to it
            np.savez_compressed(stream, train=mask.numpy())

    write_whole(path / SPLIT, write)


def write_history(path: Path, history: pd.DataFrame) -> None:
    write_parquet(path / HISTORY, history)


def write_tensors(file: Path, tensors: Weights, header: Mapping[str, Any]) -> None:
    whole = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    # All in one note, since safetensors writes its metadata in no fixed order, and equal runs should be equal bytes.
    content = save(whole, metadata={_NOTE: json.dumps({**header, "format_version": FORMAT_VERSION})})
    write_whole(file, lambda temporary: temporary.write_bytes(content))


def write_checkpoint(
    path: Path, step: int, weights: Weights, task: Task, architecture: Network, task_origin: Origin = "recorded"
) -> None:
    header = {"format": "interp-checkpoint", "step": step, "task": asdict(task), "model": architecture.to_dict()}
    file = checkpoint_file(path, step)
    make_folder(file.parent)
    write_tensors(file, weights, header | _unrecorded({"task_origin": task_origin}))


def checkpoint_file(path: Path, step: int) -> Path:
    return path / CHECKPOINTS / f"step_{step:08d}.safetensors"
