"""State dicts of other code: how one is found in a saved object, and how wrappers' prefixes are taken off its names."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

State = Mapping[str, Tensor]
STATE_KEYS = ("model", "state_dict", "model_state_dict", "model_state", "net", "weights", "params")
_PREFIX = re.compile(r"(module\.|_orig_mod\.|model\.)+")


def state_in(raw: Mapping[str, Any]) -> State:
    """Return the state dict that a saved dict is or holds, as under "model" or "state_dict"; empty if there is none."""
    return named_state(raw) or tensors_in(raw)


def unwrapped(saved: Any) -> Any:
    """Return the state dict in what a training loop saved, or the object itself if it holds none."""
    if isinstance(saved, Mapping) and not all(isinstance(value, Tensor) for value in saved.values()):
        return state_in(saved) or saved
    return saved


def named_state(raw: Mapping[str, Any]) -> State | None:
    """Return the state dict under one of STATE_KEYS, or None."""
    return next((tensors_in(raw[key]) for key in STATE_KEYS if isinstance(raw.get(key), Mapping)), None)


def tensors_in(raw: Any) -> State:
    """Return the tensors of a state dict, without the prefix of a wrapper (DataParallel, compile) in their names."""
    if not isinstance(raw, Mapping):
        return {}
    state = {
        str(key): _tensor(value) if isinstance(value, np.ndarray) else value
        for key, value in raw.items()
        if isinstance(value, Tensor) or (isinstance(value, np.ndarray) and value.dtype.kind in "fiu")
    }
    return without_prefix(state)


def without_prefix(state: State) -> State:
    """Return a state dict without the prefix of a wrapper, if all its names have it."""
    match = _PREFIX.match(next(iter(state), ""))
    if match and all(key.startswith(match[0]) for key in state):
        return {key.removeprefix(match[0]): value for key, value in state.items()}
    return state


def _tensor(array: np.ndarray) -> Tensor:
    """Return an array as a tensor, whatever its order of bytes and its strides."""
    return torch.from_numpy(np.ascontiguousarray(array, array.dtype.newbyteorder("=")).reshape(array.shape))
