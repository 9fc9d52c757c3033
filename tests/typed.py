"""The type checker of the tests: beartype, to which an int is a float, as to mypy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from beartype import BeartypeConf, beartype

_checked = beartype(conf=BeartypeConf(is_pep484_tower=True))
_known: dict[Any, Callable[..., Any]] = {}


def typed(function: Callable[..., Any]) -> Callable[..., Any]:
    """Check the arguments and the result of an empty function, which jaxtyping calls before and after the real one.

    A function that is defined within another is made anew at each call of that one. Its checks take milliseconds to
    make, so they are kept by its name and its types.
    """
    if "<locals>" not in function.__qualname__:
        return _checked(function)
    known = function.__module__, function.__qualname__, *function.__annotations__.items()
    try:
        hash(known)
    except TypeError:  # a type that cannot be a key, such as P.args
        return _checked(function)
    if known not in _known:
        _known[known] = _checked(function)
    return _known[known]
