"""Modules of other code: their tensors by name and orientation, copies, and runs that leave them as they were."""

from __future__ import annotations

import contextlib
import copy
import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor, nn

from interp.subjects.hooked import evaluating
from interp.subjects.state_dicts import State
from interp.utils.errors import ConfigError


def tensors_of(module: nn.Module) -> dict[str, Tensor]:
    """Return the parameters and buffers of a module by name; shared ones under each of their names."""
    parameters, buffers = (of(remove_duplicate=False) for of in (module.named_parameters, module.named_buffers))
    return dict(parameters) | dict(buffers)


@contextlib.contextmanager
def untouched(module: nn.Module | None) -> Iterator[None]:
    """Run a module in evaluation mode, and restore its modes and buffers and the random states afterwards."""
    python, of_numpy = random.getstate(), np.random.get_state()  # noqa: NPY002 (the caller's)
    buffers = [] if module is None else [(buffer, buffer.detach().clone()) for buffer in module.buffers()]
    devices = {x.device.index or 0 for x in ([] if module is None else module.parameters()) if x.device.type == "cuda"}
    with torch.random.fork_rng(devices=sorted(devices)):
        try:
            with contextlib.nullcontext() if module is None else evaluating(module):
                yield
        finally:
            random.setstate(python)
            np.random.set_state(of_numpy)  # noqa: NPY002
            with torch.no_grad():
                for buffer, before in buffers:
                    if not torch.equal(buffer, before):
                        buffer.copy_(before)


def module_with(module: nn.Module, weights: State) -> nn.Module:
    """Return a copy of a module with these weights, in evaluation mode."""
    module = copy.deepcopy(module).eval()
    module.load_state_dict(dict(weights))
    return module


def are_names(what: Any) -> bool:
    """True for a list of names, as W_L may be."""
    return isinstance(what, list | tuple) and bool(what) and all(isinstance(one, str) for one in what)


def as_wanted(x: Tensor, parameter: Tensor | None) -> Tensor:
    """Return an input on the device of a module, and in its dtype if both are floats."""
    if parameter is None:
        return x
    both = x.dtype.is_floating_point and parameter.dtype.is_floating_point
    return x.to(parameter.device, parameter.dtype if both else x.dtype)


def column_of(tokens: Int[Tensor, "p p position"]) -> tuple[int, Int[Tensor, " p"]] | None:
    """Return the first position whose token depends on the first number alone, with the token of each; None if none."""
    p = len(tokens)
    for position in range(tokens.shape[2]):
        column = tokens[:, :, position]
        if bool((column == column[:, :1]).all()) and len(column[:, 0].unique()) == p:
            return position, column[:, 0].long()
    return None


def oriented(name: str, what: str, table: Tensor, rows_first: bool | None, rows: int) -> Tensor:
    """Return a matrix with the tokens along its first axis, at least `rows` of them."""
    if rows_first is None:
        fits = [size >= rows for size in table.shape]
        exact = [size == rows for size in table.shape]
        choice = fits if sum(fits) == 1 else exact
        if sum(choice) != 1 and any(fits):
            raise ConfigError(
                f"{name}={what!r} must have one axis of tokens; either axis of {list(table.shape)} may be it. Give "
                f"{name} as an array [p, d_model]."
            )
        rows_first = choice[0]
    table = table if rows_first else table.T
    if len(table) < rows:
        raise ConfigError(f"{name}={what!r} must have a row for each of {rows} tokens; it is {list(table.shape)}.")
    return table
