"""What a file of another's code holds: state dicts in one layout, by epoch or alone, and what was saved beside them."""

from __future__ import annotations

import math
import re
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

from interp.errors import CheckpointError, ConfigError
from interp.files import SavedConfig, read_data
from interp.layouts import PAPER, Layout, State, recognise, some
from interp.recorded import history_of
from interp.task import PAPER_FRACTION, as_mask

_STATE_KEYS = ("model", "state_dict", "model_state_dict")
_RUNS = (("state_dicts", "epochs"), ("checkpoints", "checkpoint_epochs"))
_STORED_SPLITS = (("train_indices", "test_indices"), ("train_data", "test_data"))
_PREFIX = re.compile(r"(module\.|_orig_mod\.|model\.)+")


@dataclass(frozen=True, eq=False)
class Contents:
    """What one file holds.

    layout  of its state dicts
    states  of a whole run: its state dicts by epoch, in the file's order
    single  the model that is not part of a run, or that a run ends with
    beside  all else
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
        """The step of `single`, where the file tells."""
        if self.single is None:
            return None
        for step in sorted(self.states, reverse=True):
            if _same_tensors(self.states[step], self.single):
                return step
        epoch = next((self.beside[key] for key in ("epoch", "step") if self.beside.get(key) is not None), None)
        return None if epoch is None else _whole(epoch, self.path, "epoch")

    @cached_property
    def history(self) -> pd.DataFrame:
        """The recorded losses, at their steps."""
        last = self.step
        if self.states and (self.single is None or last is not None):
            last = max(self.states)  # unless a last model of an unknown step says that the run went on
        return history_of(self.beside, list(self.states), last, self.path)

    @cached_property
    def settings(self) -> Mapping[str, Any]:
        """The configuration saved beside the weights, as a dict or as one of TransformerLens' objects."""
        for key in ("config", "cfg"):
            said = self.beside.get(key)
            if isinstance(said, SavedConfig):
                return vars(said)
            if isinstance(said, Mapping):
                return said
        return {}

    def setting(self, *names: str) -> Any:
        """What the configuration, or the file beside its weights, says under one of these names; one word or number."""
        for said in (self.settings, self.beside):
            for name in names:
                value = said.get(name)
                if isinstance(value, Tensor | np.ndarray | np.generic) and np.size(value) == 1:
                    value = value.item()
                if value is not None and not isinstance(value, str | bool | int | float):
                    kind = type(value).__name__
                    raise CheckpointError(f"{self.path}: {name} is a {kind}; expected a word or a number.")
                if value is not None:
                    return value
        return None

    def whole(self, *names: str) -> int | None:
        """The same, a whole number; CheckpointError where it is none."""
        said = self.setting(*names)
        return None if said is None else _whole(said, self.path, names[0])

    def number(self, *names: str) -> float | None:
        """The same, a number; CheckpointError where it is none."""
        said = self.setting(*names)
        if said is None:
            return None
        try:
            return float(said)
        except (TypeError, ValueError, RuntimeError):
            raise CheckpointError(f"{self.path}: {names[0]} is {str(said)[:40]!r}; expected a number.") from None

    @property
    def fraction(self) -> float:
        """The share of train pairs that the file names, else the paper's."""
        return self.number("frac_train", "train_fraction") or PAPER_FRACTION

    def mask(self, p: int) -> Bool[Tensor, "p p"] | None:
        """The split that the file holds, or the paper's configuration names; ConfigError where it does not fit p."""
        for names in _STORED_SPLITS:
            train, test = (_array(self.beside.get(name)) for name in names)
            if train is not None:
                return as_mask(train if test is None else (train, test), None, p)
            if test is not None:
                of_test = as_mask(test, None, p)
                return None if of_test is None else ~of_test
        if (
            self.layout is PAPER
            and self.settings.get("frac_train") is not None
            and self.settings.get("seed") is not None
        ):
            return as_mask("paper", self.whole("seed"), p, self.fraction)
        return None


def read_contents(file: Path, path: Path | str) -> Contents:
    """Open a file, known to the user as `path`; CheckpointError where it is damaged, hostile, or in no known layout."""
    raw = read_data(file, path)
    if not isinstance(raw, Mapping):
        raise CheckpointError(
            f"{path} holds a {type(raw).__name__}; expected a state dict, or a dict with one under model or "
            "state_dicts."
        )
    single = next((_state(raw[key]) for key in _STATE_KEYS if isinstance(raw.get(key), Mapping)), None)
    states: dict[int, State] = {}
    for many, counts in _RUNS:
        if many in raw and not (single and not _length(raw[many])):
            states = _states(raw[many], raw.get(counts), many, counts, path)
    if single is None and not states:
        single = _state(raw)
        if not single:
            found = [f"{str(key)!r} ({type(value).__name__})" for key, value in raw.items()]
            raise CheckpointError(
                f"{path} holds {some(found) or 'nothing'}, and no state dict; expected one, bare or under "
                f"{', '.join(_STATE_KEYS)}, state_dicts or checkpoints."
            )
    if single is not None:
        layout = recognise(path, single)
    else:
        layout = recognise(f"{path}, epoch {max(states)},", states[max(states)])
    return Contents(path, layout, states, single, raw)


def _length(value: Any) -> int:
    return len(value) if isinstance(value, Sequence) else 0


def _states(found: Any, epochs: Any, many: str, counts: str, path: Path | str) -> dict[int, State]:
    listed = epochs.tolist() if isinstance(epochs, Tensor | np.ndarray) else epochs
    if not isinstance(found, Sequence) or not isinstance(listed, Sequence) or len(found) != len(listed):
        have = len(listed) if isinstance(listed, Sequence) else "no list of"
        number = len(found) if isinstance(found, Sequence) else "no list of"
        raise CheckpointError(
            f"{path} holds {number} checkpoints under {many} and {have} {counts}; expected a list of each, as long."
        )
    if not found:
        raise CheckpointError(f"{path} holds an empty list of {many}; expected at least one checkpoint.")
    steps = [_whole(epoch, path, f"one of {counts}") for epoch in listed]
    if twice := sorted({step for step in steps if steps.count(step) > 1}):
        raise CheckpointError(
            f"{path} holds epoch {some([str(step) for step in twice])} more than once in {counts}; each checkpoint "
            "needs an epoch of its own."
        )
    return {step: _state(state) for step, state in zip(steps, found, strict=True)}


def _state(raw: Any) -> State:
    """The tensors of a state dict, without the prefix that a wrapper (DataParallel, compile) gave all their names."""
    if not isinstance(raw, Mapping):
        return {}
    state = {
        str(key): torch.from_numpy(value) if isinstance(value, np.ndarray) else value
        for key, value in raw.items()
        if isinstance(value, Tensor) or (isinstance(value, np.ndarray) and value.dtype.kind in "fiu")
    }
    match = _PREFIX.match(next(iter(state), ""))
    if match and all(key.startswith(match[0]) for key in state):
        return {key.removeprefix(match[0]): value for key, value in state.items()}
    return state


def _same_tensors(one: State, other: State) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


def _whole(value: Any, path: Path | str, name: str) -> int:
    try:
        plain = value.item() if isinstance(value, Tensor | np.ndarray | np.generic) else value
        if isinstance(plain, int | float) and math.isfinite(plain) and plain == int(plain) >= 0:
            return int(plain)
    except (TypeError, ValueError, RuntimeError):
        plain = type(value).__name__
    raise CheckpointError(f"{path}: {name} is {str(plain)[:40]!r}; expected a whole number of at least 0.")


def _array(pairs: Any) -> np.ndarray | None:
    if pairs is None:
        return None
    try:
        return pairs.cpu().numpy() if isinstance(pairs, Tensor) else np.asarray(pairs)
    except (TypeError, ValueError):
        raise ConfigError(f"its list of pairs ({type(pairs).__name__}) is no list of indices or of (a, b).") from None
