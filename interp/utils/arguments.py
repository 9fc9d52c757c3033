"""Checks of arguments: each returns a plain number, array or frame, or raises ConfigError with a sentence."""

from __future__ import annotations

import functools
import inspect
import math
import operator
import re
from collections.abc import Callable, Collection, Sequence
from numbers import Real
from typing import Any, TypeVar

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Int, jaxtyped

from interp.utils.errors import ConfigError

Numbers = Sequence[float] | Sequence[int] | Float[np.ndarray, " k"] | Int[np.ndarray, " k"] | pd.Series
LARGEST = 1e75  # float64 holds the fourth power of it and of its inverse: no loss overflows or divides by zero
_MOST_ENTRIES = 2**31  # of one array of float64: 17 GB


def given(value: Any) -> str:
    """Return `value` in words: numbers, strings and short lists as they are, the rest by type and shape."""
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, bool | int | float | complex | str | bytes | list | tuple):
        try:
            text = repr(value)
        except ValueError:  # an int of more digits than Python prints
            text = "a number of thousands of digits"
        if len(text) <= 60 and "\n" not in text:
            return text
        if isinstance(value, str | bytes | int):
            return f"{text[:50]}…"
    article = "an" if type(value).__name__[0] in "aeiouAEIOU" else "a"
    shape = getattr(value, "shape", None)
    return f"{article} {type(value).__name__}" + (f" of shape {tuple(shape)}" if isinstance(shape, tuple) else "")


def is_zero_dimensional(values: Any) -> bool:
    """True for a 0-dimensional array: it has `__iter__`, but iterating raises."""
    return bool(getattr(values, "shape", None) == ())


def whole(name: str, value: Any, least: int, below: int | None = None) -> int:
    """Return `value`, an integer of Python or numpy, as an int from `least` up to but not including `below`."""
    wanted = f"of at least {least}" if below is None else f"from {least:,} to {_power(below)}"
    try:
        number = operator.index(value)
    except (TypeError, RuntimeError):
        number = least - 1
    if isinstance(value, bool) or number < least or (below is not None and number >= below):
        raise ConfigError(f"{name} must be a whole number {wanted}; got {given(value)}.")
    if number >= 2**64:
        raise ConfigError(f"{name} must be below 2**64; got {given(value)}.")
    return number


def _power(below: int) -> str:
    return f"2**{below.bit_length() - 1} - 1" if below > 10**9 else f"{below - 1:,}"


def random_seed(value: Any, least: int = 0, name: str = "seed") -> int:
    """Return `value` as a seed that torch and numpy take: a whole number from `least` to 2**64 - 1."""
    return whole(name, value, least, 2**64)


def number(
    name: str,
    value: Any,
    least: float | None = None,
    above: float | None = None,
    most: float | None = None,
    below: float | None = None,
) -> float:
    """Return `value`, neither a string nor a bool, as a finite float within these bounds.

    A number other than 0 must have a size of 1e-75 to 1e75, so that products of a few of them are finite.
    """
    limits = {"of at least": least, "above": above, "of at most": most, "below": below}
    wanted = " and ".join(f"{words} {limit:g}" for words, limit in limits.items() if limit is not None)
    plain = value.item() if isinstance(value, torch.Tensor | np.ndarray) and value.ndim == 0 else value
    try:
        found = float(plain) if isinstance(plain, Real) and not isinstance(plain, bool) else math.nan
    except OverflowError:
        found = math.inf
    kept = math.isfinite(found) and (least is None or found >= least) and (above is None or found > above)
    if not (kept and (most is None or found <= most) and (below is None or found < below)):
        raise ConfigError(f"{name} must be a finite number{wanted and f' {wanted}'}; got {given(value)}.")
    if found and not 1 / LARGEST <= abs(found) <= LARGEST:
        raise ConfigError(f"{name} must be 0 or of a size from {1 / LARGEST:g} to {LARGEST:g}; got {given(value)}.")
    return found


def at_least_zero(name: str, value: Any) -> float:
    """Return `value` as a finite float that is not negative."""
    return number(name, value, least=0)


def above_zero(name: str, value: Any) -> float:
    """Return `value` as a finite float above 0."""
    return number(name, value, above=0)


def one_of(name: str, value: Any, options: Collection[str], otherwise: str = "") -> Any:
    """Return `value` if it is one of the `options`; `otherwise` ends the error's sentence."""
    options = list(options)
    if not isinstance(value, str) or value not in options:
        names = " or ".join([", ".join(options[:-1]), options[-1]]) if len(options) > 1 else options[0]
        raise ConfigError(f"{name} must be {names}{otherwise}; got {given(value)}.")
    return value


def finite(name: str, values: Any, *dimensions: int) -> Float[np.ndarray, "..."]:
    """Return `values` as a float64 array of one of these numbers of dimensions, of numbers up to 1e75 in size."""
    array = real(name, values)
    if array.ndim not in dimensions or not array.size:
        wanted = " or ".join(
            {0: "a number", 1: "a vector", 2: "a matrix"}.get(d, f"an array of {d} axes") for d in dimensions
        )
        raise ConfigError(f"{name} must be {wanted} with at least one entry; got the shape {array.shape}.")
    if bad := int((~np.isfinite(array)).sum()):
        raise ConfigError(f"{name} must be finite; got {bad:,} values that are not. Drop or replace them.")
    if (size := float(np.abs(array).max())) > LARGEST:
        raise ConfigError(f"{name} must lie between -{LARGEST:g} and {LARGEST:g}; got {size:g} in size.")
    return array


def real(name: str, values: Any) -> Float[np.ndarray, "..."]:
    """Return `values` as a float64 array, nan and infinity included; text, complex and ragged ones are refused."""
    try:
        if isinstance(values, torch.Tensor):
            values = values.detach().cpu().double().numpy() if not values.is_complex() else "complex"
        elif isinstance(values, pd.Series):  # numpy takes its <NA> for no number
            values = values.to_numpy(dtype=np.float64, na_value=np.nan)
        array = np.asarray(values)
        if array.dtype.kind not in "biufO" or (array.dtype.kind == "O" and any(isinstance(v, str) for v in array.flat)):
            raise TypeError
        return array.astype(np.float64, copy=False)
    except (TypeError, ValueError, RuntimeError, OverflowError):
        raise ConfigError(f"{name} must be an array of real numbers; got {given(values)}.") from None


def numbers_below(name: str, values: Int[torch.Tensor, "..."], limit: int, least: int = 0) -> None:
    """Raise ConfigError unless all `values` are from `least` up to but not including `limit`."""
    if values.numel() and not (least <= int(values.min()) and int(values.max()) < limit):
        raise ConfigError(
            f"{name} must be from {least} to {limit - 1}; got {int(values.min())} to {int(values.max())}."
        )


_Function = TypeVar("_Function", bound=Callable[..., Any])
_ARRAY = re.compile(r"(Float|Int|Bool)\[(Tensor|np\.ndarray), ")
_OR_NONE = " | None"


def checks_arrays(function: _Function, values: bool = True) -> _Function:
    """Decorate `function` so that arrays are checked against its signature; ConfigError names the first misfit.

    An array must have the type, dtype and axes of its jaxtyping annotation, or be None if that allows it. Its numbers
    must be finite, unless `values` is False. Only axes of pairs and neurons may be empty.
    """
    signature = inspect.signature(function)
    annotated = {name: str(one.annotation) for name, one in signature.parameters.items()}
    arrays = {name: text for name, text in annotated.items() if _ARRAY.match(text)}
    hints: dict[str, Any] = {}

    @functools.wraps(function)
    def checked(*args: Any, **kwargs: Any) -> Any:
        if not hints:
            names = inspect.unwrap(function).__globals__
            hints.update({name: eval(text.removesuffix(_OR_NONE), names) for name, text in arrays.items()})
        bound = signature.bind(*args, **kwargs).arguments
        with jaxtyped("context"):
            for name, hint in hints.items():
                if name in bound and not (bound[name] is None and arrays[name].endswith(_OR_NONE)):
                    _check_array(name, bound[name], hint, values)
        return function(*args, **kwargs)

    return checked  # type: ignore[return-value]


def _check_array(name: str, value: Any, hint: Any, values: bool) -> None:
    if not isinstance(value, hint):
        kind = {"Float": "real", "Int": "whole", "Bool": "true or false"}[hint.__name__.partition("[")[0]]
        library = "torch tensor" if hint.array_type is torch.Tensor else "numpy array"
        axes = ", ".join(hint.dim_str.split())
        known = "" if isinstance(value, hint.array_type) else f" {library}"
        dtype = f" and dtype {value.dtype}" if hasattr(value, "dtype") else ""
        raise ConfigError(
            f"{name} must be a {library} [{axes}] of {kind} numbers, its axes of one name equal to those of the other "
            f"arrays; got {given(value)}{dtype if not known else ''}."
        )
    axes = hint.dim_str.split()
    # Pairs and neurons are chosen, perhaps none; a variadic axis may be one of these.
    fixed = [] if "*" in hint.dim_str else zip(axes, value.shape, strict=True)
    if any(size == 0 and axis not in ("n", "d_mlp") for axis, size in fixed):
        raise ConfigError(f"{name} must have at least one entry; got the shape {tuple(value.shape)}.")
    if values and hint.__name__.startswith("Float"):
        with np.errstate(all="ignore"):
            numbers = value.detach() if isinstance(value, torch.Tensor) else value
            total = float(numbers.sum())  # cheaper than a check of each
        if not math.isfinite(total):
            bad = int((~torch.isfinite(torch.as_tensor(value))).sum())
            raise ConfigError(f"{name} must be finite, and its sum too; got {bad:,} values that are not.")


def sizes(name: str, values: Any, length: int | None = None) -> list[int]:
    """Return one or several whole numbers of at least 1 as a list, of this length if one is given."""
    if isinstance(
        values, list | tuple | range | np.ndarray | torch.Tensor | pd.Series | pd.Index
    ) and not is_zero_dimensional(values):
        found = [whole(f"each size in {name}", value, 1) for value in values]
    else:
        found = [whole(name, values, 1)]
    if not found or (length is not None and len(found) != length):
        raise ConfigError(f"{name} must hold {length or 'one or more'} sizes; got {len(found)}.")
    return found


def room_for(what: str, *axes: int) -> None:
    """Raise ConfigError if an array of these axes would not fit into 17 GB; call it before the array is made."""
    if math.prod(axes) > _MOST_ENTRIES:
        shape = " × ".join(f"{axis:,}" for axis in axes)
        raise ConfigError(
            f"{what} must fit into {8 * _MOST_ENTRIES // 10**9} GB; {shape} numbers take "
            f"{8 * math.prod(axes) // 10**9:,} GB. Give smaller sizes."
        )


def columns(frame: Any, *names: str, source: str, text: Collection[str] = ()) -> pd.DataFrame:
    """Return `frame` if it is a data frame with rows and with these columns of numbers and of `text`.

    `source` names the function that returns such a frame, as "interp.trajectory".
    """
    if not isinstance(frame, pd.DataFrame):
        raise ConfigError(f"this takes the data frame of {source}; got {given(frame)}.")
    if frame.columns.duplicated().any():
        raise ConfigError(f"the columns of a frame must have different names; got {list(frame.columns)}.")
    if lacking := [name for name in (*names, *text) if name not in frame]:
        raise ConfigError(f"the frame must have the columns {', '.join(lacking)}, as that of {source}; it lacks them.")
    if frame.empty:
        raise ConfigError(f"the frame must have at least one row, as that of {source}; got none.")
    for name in names:
        real(f"the column {name}", frame[name])
    return frame


def some(items: Sequence[str], most: int = 6) -> str:
    """Return the first few of a list in words, with the number of the others."""
    return ", ".join(items[:most]) + (f" and {len(items) - most} more" if len(items) > most else "")
