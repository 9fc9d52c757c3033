"""The contents of a file that other code wrote: state dicts in one layout, by epoch or alone, and other values."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Bool
from torch import Tensor

from interp.runs.published.files import SavedConfig, read_data
from interp.runs.published.layouts import PAPER, Layout, has_values, recognise
from interp.runs.published.recorded import history_of, unread
from interp.subjects.state_dicts import STATE_KEYS, State, named_state, state_in, tensors_in
from interp.tasks.operations import PAPER_FRACTION
from interp.tasks.splits import as_mask
from interp.utils.arguments import given, some
from interp.utils.errors import CheckpointError, ConfigError, warn
from interp.utils.files import read_json

_COUNTED = ("step", "global_step", "epoch", "iteration", "iter")
_EPOCHS, _CHECKPOINT_EPOCHS = ("epochs", "steps"), ("checkpoint_epochs", "checkpoint_steps")
_RUNS = (
    ("state_dicts", (*_EPOCHS, *_CHECKPOINT_EPOCHS)),
    ("checkpoints", (*_CHECKPOINT_EPOCHS, *_EPOCHS)),
)  # the names of the lists of checkpoints and, in order of preference, of the lists of their steps
_STORED_SPLITS = (("train_indices", "test_indices"), ("train_data", "test_data"))
# Lists that are no record of a training.
_NO_RECORDS = {
    *STATE_KEYS, *_EPOCHS, *_CHECKPOINT_EPOCHS, *(many for many, _ in _RUNS),
    *(name for names in _STORED_SPLITS for name in names),
    "config", "cfg", "optimizer", "optimizers", "optimizer_state_dict", "scheduler", "scheduler_state_dict",
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Contents:
    """The contents of one file.

    Attributes:
        path: The file, as the user calls it.
        layout: The layout of its state dicts.
        states: The state dicts of a whole run by epoch, in the file's order; empty if it holds one model.
        single: The model that is not part of a run, or with which a run ends; None if there is none.
        beside: All values of the file by name.
    """

    path: Path | str
    layout: Layout
    states: Mapping[int, State]
    single: State | None
    beside: Mapping[str, Any]

    @property
    def last(self) -> State:
        """The state dict of the file's last model."""
        return self.single if self.single is not None else self.states[max(self.states)]

    @cached_property
    def step(self) -> int | None:
        """The step of `single`; None if the file does not tell it."""
        if self.single is None:
            return None
        for step in sorted(self.states, reverse=True):
            if _same_tensors(self.states[step], self.single):
                return step
        epoch = next((self.beside[key] for key in ("epoch", "step") if self.beside.get(key) is not None), None)
        return None if epoch is None else _whole(epoch, self.path, "epoch")

    @cached_property
    def history(self) -> pd.DataFrame:
        """The recorded losses and accuracies, at their steps."""
        last = self.step
        if self.states and (self.single is None or last is not None):
            last = max(self.states)  # unless a last model of an unknown step says that the run went on
        history = history_of(self.beside, list(self.states), last, self.path)
        others = {str(name): value for name, value in self.beside.items() if name not in _NO_RECORDS}
        if self.states and (left := unread(others, history, len(self.states))):
            warn(f"{self.path} also records {', '.join(left)}; only losses and accuracies are read.")
        return history

    @cached_property
    def settings(self) -> Mapping[str, Any]:
        """The configuration saved beside the weights, as a dict or as one of TransformerLens' objects."""
        return _config_in(self.beside)

    def setting(self, *names: str) -> Any:
        """Return the word or number under one of these names in the configuration or else the file; None if absent.

        Raises:
            CheckpointError: The value is of another kind.
        """
        for said in (self.settings, self.beside):
            for name in names:
                value = said.get(name)
                if isinstance(value, Tensor | np.ndarray | np.generic) and np.size(value) == 1:
                    value = value.item()
                if value is not None and not isinstance(value, str | bool | int | float):
                    raise CheckpointError(f"{self.path}: {name} must be a word or a number; got {given(value)}.")
                if value is not None:
                    return value
        return None

    def whole(self, *names: str) -> int | None:
        """Return such a setting as an int. Raises CheckpointError if it is not a whole number."""
        said = self.setting(*names)
        return None if said is None else _whole(said, self.path, names[0])

    def number(self, *names: str) -> float | None:
        """Return such a setting as a float. Raises CheckpointError if it is not a number."""
        said = self.setting(*names)
        if said is None:
            return None
        try:
            return float(said)
        except (TypeError, ValueError, RuntimeError):
            raise CheckpointError(f"{self.path}: {names[0]} must be a number; got {str(said)[:40]!r}.") from None

    @property
    def fraction(self) -> float:
        """The share of train pairs that the file names, or else the paper's."""
        return self.number("frac_train", "train_fraction") or PAPER_FRACTION

    def mask(self, p: int) -> Bool[Tensor, "p p"] | None:
        """Return the split that the file holds or the paper's configuration names; ConfigError if it does not fit p."""
        for names in _STORED_SPLITS:
            train, test = (_array(self.beside.get(name)) for name in names)
            if train is not None:
                return as_mask(train if test is None else (train, test), None, p)
            if test is not None:
                of_test = as_mask(test, None, p)
                return None if of_test is None else ~of_test
        told = all(self.settings.get(name) is not None for name in ("frac_train", "seed"))
        if self.layout is PAPER and told:
            return as_mask("paper", self.whole("seed"), p, self.fraction)
        return None


def read_contents(file: Path, path: Path | str) -> Contents:
    """Read a file that the user calls `path`. Raises CheckpointError if it is damaged, hostile or of unknown layout."""
    raw = read_data(file, path)
    if not isinstance(raw, Mapping):
        raise CheckpointError(
            f"{path} holds a {type(raw).__name__}; expected a state dict, or a dict with one under model or "
            "state_dicts."
        )
    single = named_state(raw)
    states: dict[int, State] = {}
    for many, counts in _RUNS:
        listed = isinstance(raw.get(many), Sequence) and len(raw[many]) > 0
        if many in raw and (listed or not single):
            states = _states(raw, many, counts, path)
    if single is None and not states:
        single = tensors_in(raw)
        if not single:
            found = [f"{str(key)!r} ({type(value).__name__})" for key, value in raw.items()]
            raise CheckpointError(
                f"{path} holds {some(found) or 'nothing'}, and no state dict; expected one, bare or under "
                f"{', '.join(STATE_KEYS)}, state_dicts or checkpoints."
            )
    last = f"{path}, epoch {max(states)}," if single is None else path
    layout = recognise(last, states[max(states)] if single is None else single)
    if layout.layers is not None and not ("config" in raw or "cfg" in raw):
        raw = {**raw, "config": settings_beside(file)}
    return Contents(path, layout, states, single, raw)


def state_and_settings(file: Path, path: Path | str) -> tuple[State, Mapping[str, Any], int | None]:
    """Return the state dict in a file of any layout, the configuration beside it, and its step."""
    raw = read_data(file, path)
    raw = raw if isinstance(raw, Mapping) else {}
    counted = next((key for key in _COUNTED if raw.get(key) is not None), None)
    step = None if counted is None else _whole(raw[counted], path, counted)
    return state_in(raw), _config_in(raw), step


def _config_in(values: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the configuration among a file's values, a dict or an object of TransformerLens; empty if none."""
    found = (values[key] for key in ("config", "cfg") if isinstance(values.get(key), SavedConfig | Mapping))
    config: Any = next(found, {})
    return vars(config) if isinstance(config, SavedConfig) else config


def settings_beside(path: Path) -> Mapping[str, Any]:
    """Return the config in the JSON of the same name, or in config.json, beside a file; empty if there is none."""
    for file in (path.with_suffix(".json"), path.parent / "config.json"):
        if file.is_file():
            try:
                found = read_json(file)
            except (OSError, ValueError) as error:
                raise CheckpointError(f"{file} is not readable JSON ({error}).") from None
            if isinstance(found, dict) and "n_heads" in found:
                return found
    return {}


def _states(raw: Mapping[str, Any], many: str, counts: tuple[str, ...], path: Path | str) -> dict[int, State]:
    found = raw[many]
    number = len(found) if isinstance(found, Sequence) else "no list of"
    lists = {name: listed for name in counts if (listed := _listed(raw.get(name))) is not None}
    fitting = {name: listed for name, listed in lists.items() if len(listed) == number}
    if not fitting:
        listing = " and ".join(f"{len(listed)} {name}" for name, listed in lists.items())
        have = listing or f"no {' or '.join(counts[:2])}"
        raise CheckpointError(
            f"{path} must hold a list of checkpoints and one of their steps, equally long; it holds {number} "
            f"checkpoints under {many} and {have}."
        )
    if not found:
        raise CheckpointError(f"{path} must hold at least one checkpoint; its list of {many} is empty.")
    counted, *others = fitting
    steps = [_whole(epoch, path, f"one of {counted}") for epoch in fitting[counted]]
    if other := [name for name in others if fitting[name] != fitting[counted]]:
        warn(f"{path} counts its checkpoints in {counted}, and differently in {', '.join(other)}; {counted} is used.")
    if twice := sorted({step for step in steps if steps.count(step) > 1}):
        raise CheckpointError(
            f"{path} holds epoch {some([str(step) for step in twice])} more than once in {counted}; each checkpoint "
            "needs an epoch of its own."
        )
    return {step: tensors_in(state) for step, state in zip(steps, found, strict=True)}


def _listed(values: Any) -> list[Any] | None:
    """Return a list, array or vector as a list; None if it is not one."""
    if isinstance(values, Tensor | np.ndarray):
        return values.tolist() if values.ndim == 1 and (isinstance(values, np.ndarray) or has_values(values)) else None
    return list(values) if isinstance(values, Sequence) and not isinstance(values, str | bytes) else None


def _same_tensors(one: State, other: State) -> bool:
    def same(a: Tensor, b: Tensor) -> bool:
        return has_values(a) and has_values(b) and a.dtype == b.dtype and torch.equal(a, b)

    return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)


def _whole(value: Any, path: Path | str, name: str) -> int:
    try:
        plain = value.item() if isinstance(value, Tensor | np.ndarray | np.generic) else value
        if isinstance(plain, int | float) and math.isfinite(plain) and plain == int(plain) >= 0:
            return int(plain)
    except (TypeError, ValueError, OverflowError, RuntimeError):
        plain = type(value).__name__
    raise CheckpointError(f"{path}: {name} must be a whole number of at least 0; got {str(plain)[:40]!r}.")


def _array(pairs: Any) -> np.ndarray | None:
    if pairs is None:
        return None
    try:
        return pairs.detach().cpu().numpy() if isinstance(pairs, Tensor) else np.asarray(pairs)
    except (TypeError, ValueError, RuntimeError):
        raise ConfigError(
            f"its list of pairs must hold indices a * p + b or pairs (a, b); got a {type(pairs).__name__} of others."
        ) from None
