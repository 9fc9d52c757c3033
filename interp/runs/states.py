"""Runs and checkpoints from the states of a user's module: a folder of files, a dict by step, or a list of pairs."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from torch import Tensor

from interp.runs.directory import digest_of, stamp_of
from interp.runs.names import HISTORY_COLUMNS
from interp.runs.published.contents import state_and_settings
from interp.runs.published.files import local_file
from interp.runs.run import Checkpoint, Run, Source
from interp.subjects.model import Model
from interp.subjects.state_dicts import State, unwrapped
from interp.utils.arguments import given, some, whole
from interp.utils.errors import CheckpointError, ConfigError, warn
from interp.utils.files import PathLike, digest_of_file, names_in

_SUFFIXES = (".pt", ".pth", ".safetensors")
_WORD = re.compile(r"(?:step|epoch|iter(?:ation)?|checkpoint|ckpt|update)s?[-_=. ]*(\d+)", re.IGNORECASE)


def run_of_states(states: Any, net: Model) -> Run:
    """Return a run whose checkpoints are states of the module of `net`, read when they are asked for."""
    module = net.needed_module
    if net.by_array:
        raise ConfigError(
            f"{' and '.join(net.by_array)} must name parts of the module, since each state has its own; got an array."
        )
    sources: Mapping[int, Source]
    if isinstance(states, str | os.PathLike):
        path, sources = _of_folder(states, net)
    else:
        path, sources = f"{len(_pairs(states))} states of {type(module).__name__}", _of_memory(states, net)
    return Run(
        path, net.task, net, sources, lambda: pd.DataFrame(columns=list(HISTORY_COLUMNS), dtype=float), net.train_mask
    )


def checkpoint_of_state(state: Mapping[str, Any] | PathLike, net: Model, step: int | None) -> Checkpoint:
    """Return one state, a dict of tensors or a file that holds one, as a checkpoint."""
    path: Path | str = "the state"
    if isinstance(state, str | os.PathLike):
        file, path = local_file(state)
        state, told = _state_in(file, path)
        step = told if step is None else step
    return Checkpoint(net.check_state(state, str(path)), net, net.task, step, net.train_mask, path)


# ── in memory ──


def _pairs(states: Any) -> list[tuple[int, Mapping[str, Any]]]:
    """Return the states with their steps; ConfigError for anything that is not a dict or a list of pairs."""
    if isinstance(states, Mapping):
        found = list(states.items())
    elif hasattr(states, "__next__") or not isinstance(states, Iterable):
        what = "an iterator, which can be read once" if hasattr(states, "__next__") else given(states)
        raise ConfigError(
            f"states must be a folder, a dict {{step: state}}, or a list of (step, state); got {what}. Make a list of "
            "it: list(states)."
        )
    else:
        found = [tuple(one) if isinstance(one, tuple | list) else (one,) for one in states]
        if any(len(one) != 2 for one in found):
            raise ConfigError("states must be a list of pairs (step, state); got other entries.")
    if not found:
        raise ConfigError("states must hold at least one state; got none.")
    pairs = [(whole("the step of a state", step, 0), unwrapped(state)) for step, state in found]
    if twice := [step for step, _ in pairs if [one for one, _ in pairs].count(step) > 1]:
        raise ConfigError(f"states must have one state a step; got several of step {twice[0]:,}.")
    return pairs


def _of_memory(states: Any, net: Model) -> dict[int, Source]:
    found: dict[int, Source] = {}
    owner: dict[int, int] = {}
    for step, state in _pairs(states):
        net.check_state(state, f"the state of step {step:,}")
        for key, value in state.items():
            place = value.data_ptr()
            if place and value.numel() and owner.setdefault(place, step) != step:
                raise ConfigError(
                    f"each state must hold its own weights; {key} of steps {owner[place]:,} and {step:,} is the same "
                    "memory, so both are the last one: state_dict() does not copy. Keep "
                    "copy.deepcopy(model.state_dict())."
                )
        found[step] = _Memory(step, state, net)
    return found


@dataclass(frozen=True, eq=False)
class _Memory:
    step: int
    state: Mapping[str, Any]
    net: Model

    @property
    def path(self) -> str:
        return f"the state of step {self.step:,}"

    def weights(self) -> dict[str, Tensor]:
        return {key: value.clone() for key, value in self.net.check_state(self.state, self.path).items()}

    def digest(self) -> str:
        return digest_of(self.state)

    stamp = digest


# ── in files ──


def _of_folder(path: PathLike, net: Model) -> tuple[Path | str, dict[int, Source]]:
    folder, name = local_file(path)
    if not folder.is_dir():
        raise CheckpointError(
            f"{name} must be a folder of the states of a training; for one state: load_checkpoint({str(name)!r}, "
            "model=…)."
        )
    files = sorted(file for file in names_in(folder) if file.endswith(_SUFFIXES))
    if not files:
        raise CheckpointError(f"{name} must hold files {', '.join('*' + s for s in _SUFFIXES)}; it holds none.")
    named = _steps_of_names(files)
    found: dict[int, Source] = {}
    skipped = []
    for file in files:
        step = named.get(file)
        if step is None:
            with contextlib.suppress(CheckpointError):
                _, step = _state_in(folder / file, folder / file)
        if step is None:
            skipped.append(file)
            continue
        if step in found:
            both = f"{Path(found[step].path).name} and {file}"
            raise CheckpointError(f"{name} must hold one file a step; {both} are of step {step:,}. Remove one.")
        found[step] = _File(folder / file, step, net)
    if not found:
        raise CheckpointError(
            f"{name} must hold files whose names or contents tell their step, as in step_1000.pt; none of "
            f"{some(files)} does. Rename them, or give a dict {{step: state}}."
        )
    if skipped:
        warn(f"{name} holds files that tell no step, which are left out: {some(skipped)}.")
    return name, found


def _steps_of_names(files: list[str]) -> dict[str, int]:
    """Return the steps that names of files tell: the number after a word such as step, or the only one that varies."""
    stems = {file: file.rsplit(".", 1)[0] for file in files}
    if found := {file: int(after[-1]) for file, stem in stems.items() if (after := _WORD.findall(stem))}:
        return found
    numbers = {file: own for file, stem in stems.items() if (own := re.findall(r"\d+", stem))}
    if not numbers or len({len(own) for own in numbers.values()}) > 1:
        return {file: int(own[0]) for file, own in numbers.items() if len(own) == 1}
    varying = [place for place, column in enumerate(zip(*numbers.values(), strict=True)) if len(set(column)) > 1]
    place = varying[0] if len(varying) == 1 else 0 if len(next(iter(numbers.values()))) == 1 else None
    return {} if place is None else {file: int(own[place]) for file, own in numbers.items()}


def _state_in(file: Path, name: Path | str) -> tuple[State, int | None]:
    """Return the state dict that a file holds, bare or under a usual key, and the step beside it."""
    state, _, step = state_and_settings(file, name)
    if not state:
        raise CheckpointError(f"{name} must hold a state dict, bare or under a key such as model or state_dict.")
    return state, step


@dataclass(frozen=True, eq=False)
class _File:
    path: Path
    step: int
    net: Model

    def weights(self) -> dict[str, Tensor]:
        state, told = _state_in(self.path, self.path)
        if told is not None and told != self.step:
            raise CheckpointError(
                f"{self.path} must hold step {self.step:,}, as its name says; it says step {told:,}. Rename it."
            )
        return {key: value.clone() for key, value in self.net.check_state(state, str(self.path)).items()}

    def digest(self) -> str:
        return digest_of_file(self.path)

    def stamp(self) -> tuple[int, ...]:
        return stamp_of(self.path)
