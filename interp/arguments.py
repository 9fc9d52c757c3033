"""Numbers and arrays as they come in from callers: made plain, or refused with a sentence that names them."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Int

from interp.errors import ConfigError

Numbers = Sequence[float] | Sequence[int] | Float[np.ndarray, " k"] | Int[np.ndarray, " k"] | pd.Series


def whole(name: str, value: Any, least: int) -> int:
    """`value` as an int (numpy's integers are welcome), or ConfigError."""
    try:
        number = operator.index(value)
    except TypeError:
        number = least - 1
    if isinstance(value, bool) or number < least:
        raise ConfigError(f"{name} is {value!r}; it is a whole number of at least {least}.")
    return number


def number(name: str, value: Any) -> float:
    """`value` as a float, or ConfigError."""
    try:
        return float(value)
    except (TypeError, ValueError):
        raise ConfigError(f"{name} is {value!r}; it is a number.") from None


def at_least_zero(name: str, value: Any) -> float:
    """`value` as a finite float that is not negative, or ConfigError."""
    found = number(name, value)
    if not 0 <= found < math.inf:
        raise ConfigError(f"{name} is {value!r}; it is a number of at least 0.")
    return found


def finite(name: str, values: Any, *dimensions: int) -> Float[np.ndarray, "..."]:
    """`values` as a float64 array of one of these numbers of dimensions, without nan or infinity, or ConfigError."""
    try:
        if isinstance(values, torch.Tensor):
            values = values.detach().cpu().double().numpy()
        elif isinstance(values, pd.Series):  # its <NA> is no number to numpy
            values = values.to_numpy(dtype=np.float64, na_value=np.nan)
        if np.iscomplexobj(values):
            raise TypeError
        array = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError, RuntimeError):
        raise ConfigError(f"{name} is no array of real numbers.") from None
    if array.ndim not in dimensions or not array.size:
        wanted = " or ".join("a matrix" if d == 2 else "a vector" for d in dimensions)
        raise ConfigError(f"{name} has the shape {array.shape}; it is {wanted} with at least one entry.")
    if bad := int((~np.isfinite(array)).sum()):
        raise ConfigError(f"{name} holds {bad:,} values that are not finite; drop or replace them.")
    return array


def sizes(name: str, values: Any, length: int | None = None) -> list[int]:
    """One whole number of at least 1 or several of them (`length`, if given) as a list, or ConfigError."""
    found = [whole(f"{name}: a size", value, 1) for value in ([values] if np.ndim(values) == 0 else values)]
    if not found or (length is not None and len(found) != length):
        raise ConfigError(f"{name} holds {len(found)} sizes; give {length or 'at least one'}.")
    return found
