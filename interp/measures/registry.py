"""Measures by name: `measure` declares one, `chosen` looks up those that a caller names, `evaluate` computes them."""

from __future__ import annotations

import math
import numbers
import re
import traceback
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar, overload

import numpy as np
import pandas as pd
from jaxtyping import Shaped
from torch import Tensor

from interp.subjects.subject import Missing, Subject, quantity
from interp.utils.arguments import given
from interp.utils.errors import CheckpointError, ConfigError

F = TypeVar("F", bound=Callable[..., Any])
Number = float | int
Result = Number | tuple[int, ...] | dict[Any, float] | Shaped[np.ndarray, "..."]

NANDA = "Nanda et al. (2023)"
ZHONG = "Zhong et al. (2023)"
RESERVED = frozenset(
    {"step", "path", "model", "p", "attention_coefficient", "key_step", "key_doubt", "missing", "doubts", "extra"}
)
_NAN = "the result is not a number"


@dataclass(frozen=True)
class Measure:
    """One declared measure.

    Attributes:
        name: Its name.
        of: The function of a subject.
        title: A phrase that describes it.
        unit: Its unit; "" for a pure number.
        source: Who defined it.
        shape: "number", or the shape of its result: "[p]", "by key frequency".
        columns: The pattern of the columns of a dict or an array, such as "excluded_loss_{}".
        first: The number of an array's first column.
        on_request: True if it is computed only if a caller names it.
        version: Of a user's measure: a trajectory keeps its columns as long as this stays the same.
        error_of: The measure whose standard error this is; a caller who names that one gets both.
        builtin: True for interp's own, whose names and columns no other measure can take.
    """

    name: str
    of: Callable[[Subject], Any]
    title: str = ""
    unit: str = ""
    source: str = ""
    shape: str = "number"
    columns: str | None = None
    first: int = 0
    on_request: bool = False
    version: str | float | None = None
    error_of: str | None = None
    builtin: bool = False

    def flat(self, value: Result | None) -> dict[str, Number | None]:
        """Return a result's columns: one for a number, one per key of a dict or entry of an array with `columns`."""
        if isinstance(value, dict):
            return {(self.columns or f"{self.name}_{{}}").format(key): one for key, one in value.items()}
        if isinstance(value, np.ndarray):
            entries = value if self.columns and value.ndim == 1 else ()
            return {(self.columns or "").format(i): float(one) for i, one in enumerate(entries, self.first)}
        if isinstance(value, tuple):
            return {}
        return {self.name: value} if value is not None or self.shape == "number" else {}

    def text(self, value: Result, error: Result | None = None) -> str:
        """Return a result as text: a number with two digits of its error (0.334 ± 0.014), five entries of an array."""
        if isinstance(error, float) and error > 0 and isinstance(value, float):
            decimals = max(0, 1 - math.floor(math.log10(error)))
            return f"{value:.{decimals}f} ± {error:.{decimals}f}"
        if isinstance(value, dict):
            return "  ".join(f"{key}: {one:.4g}" for key, one in value.items()) or "–"
        if isinstance(value, tuple):
            return ", ".join(map(str, value)) or "none"
        if not isinstance(value, np.ndarray):
            return f"{value:,}" if isinstance(value, int) else f"{value:.6g}"
        axes = " × ".join(map(str, value.shape))
        if value.ndim != 1:
            return f"[{axes}] mean: {value.mean():.4g}"
        top = sorted(np.argsort(-np.abs(value))[:5].tolist())
        entry = "k" if self.first else "row"
        return f"[{axes}] largest: " + "  ".join(f"{entry} {i + self.first}: {value[i]:.4g}" for i in top)


def flat(measures: Iterable[Measure], values: Mapping[str, Result | None]) -> dict[str, Number | None]:
    """Return results as columns: those of numbers first, then those of dicts and arrays."""
    each = [(one, one.flat(values[one.name])) for one in measures]
    alone = {name: value for one, columns in each for name, value in columns.items() if name == one.name}
    return alone | {name: value for one, columns in each for name, value in columns.items() if name != one.name}


MEASURES: dict[str, Measure] = {}


@overload
def measure(function: F) -> F: ...


@overload
def measure(
    *,
    name: str | None = None,
    title: str | None = None,
    unit: str = "",
    source: str = "",
    shape: str = "number",
    columns: str | None = None,
    first: int = 0,
    on_request: bool = False,
    version: str | float | None = None,
    error_of: str | None = None,
) -> Callable[[F], F]: ...


def measure(
    function: Any = None,
    *,
    name: str | None = None,
    title: str | None = None,
    unit: str = "",
    source: str = "",
    shape: str = "number",
    columns: str | None = None,
    first: int = 0,
    on_request: bool = False,
    version: str | float | None = None,
    error_of: str | None = None,
) -> Any:
    """Declare a function of a Subject as a measure: `@interp.measure` or `@interp.measure(title=…, unit=…, …)`.

    It is a quantity (`interp.quantity`) that `progress_measures` and `trajectory` compute from then on. Declaring the
    same name again replaces it; the names of interp's own measures are taken. The function raises
    `interp.Missing("why")`, or returns NaN, if the measure cannot be computed.

    A number is a column of a trajectory. A dict makes one column per key, and an array one per entry if `columns` is
    given; otherwise the array stays in the result, where `trajectory(run, arrays=[…])` collects it.

    Args:
        function: The function of a Subject.
        name: The name of the measure; by default that of the function.
        title: A phrase that describes it; by default the first line of the docstring.
        unit: Its unit, such as "nats"; "" for a pure number.
        source: Who defined it.
        shape: The shape of its result, such as "[p]".
        columns: The pattern of its columns: "ipr_{}" names that of 14 ipr_14.
        first: The number of an array's first column.
        on_request: Compute it only if `measures=` names it.
        version: Keep its columns beside a run as long as the version stays the same; without one, they are computed
            each time.
        error_of: The name of the measure, a mean over a sample, whose standard error this is. A caller who names that
            one gets both, and tables print them as 0.334 ± 0.014.

    Raises:
        ConfigError: The declaration is incomplete, or takes a name or columns of interp's own measures.
    """
    about = {k: v for k, v in locals().items() if k != "function"}

    def declare(one: Any) -> Any:
        made = _made(one, **about)
        _check_free(made)
        MEASURES[made.name] = made
        return made.of

    return declare if function is None else declare(function)


def builtin_measure(**about: Any) -> Callable[[F], F]:
    """Declare a measure as `measure` does, but as interp's own, whose name and columns no other measure can take."""

    def declare(function: F) -> F:
        made = replace(_made(function, **about), builtin=True)
        MEASURES[made.name] = made
        return made.of  # type: ignore[return-value]

    return declare


def _made(
    function: Any,
    *,
    name: str | None = None,
    title: str | None = None,
    columns: str | None = None,
    version: str | float | None = None,
    error_of: str | None = None,
    **about: Any,
) -> Measure:
    """Return the measure that a declaration describes, or raise ConfigError if it is incomplete."""
    if not callable(function) or isinstance(function, type):
        raise ConfigError(f"measure() takes a function of a Subject; got {given(function)}.")
    name = function.__name__ if name is None else name
    if not isinstance(name, str) or not name.isidentifier():
        raise ConfigError(f"name must be a word, such as largest_neuron; got {name!r}. Give name=.")
    if columns is not None and (not isinstance(columns, str) or columns.count("{}") != 1):
        raise ConfigError(f'columns must hold {{}} once, as in "{name}_{{}}"; got {columns!r}.')
    if version is not None and not isinstance(version, str | int | float):
        raise ConfigError(f"version must be a number or a string; got {given(version)}.")
    if error_of is not None and (error_of not in MEASURES or error_of == name):
        raise ConfigError(f"error_of must name a measure that is declared already; got {error_of!r}.")
    title = (function.__doc__ or "").strip().partition("\n")[0] if title is None else title
    return Measure(name, quantity(function), title, columns=columns, version=version, error_of=error_of, **about)


def _check_free(made: Measure) -> None:
    builtin = {one.name: one.columns for one in MEASURES.values() if one.builtin}
    if made.name in RESERVED or made.name in builtin:
        raise ConfigError(f"{made.name} is a name of interp's own; give your measure another one.")
    patterns = {columns for columns in builtin.values() if columns is not None}
    if any(re.fullmatch(re.escape(pattern).replace(r"\{\}", r"\d+"), made.name) for pattern in patterns):
        raise ConfigError(f"{made.name} is a column of one of interp's own measures; give your measure another name.")
    if made.columns in patterns:
        raise ConfigError(f"{made.columns} names columns of one of interp's own measures; give yours another pattern.")


def chosen(measures: Iterable[str | Callable[[Subject], Any]] | None, argument: str = "measures") -> list[Measure]:
    """Return the measures that a caller names, in this order and once each, with their standard errors after them.

    Args:
        measures: Names or functions, declared or not; None for all that are not on request.
        argument: The name of the caller's argument, for errors.

    Raises:
        ConfigError: A name is unknown; the error suggests the nearest ones.
    """
    if measures is None:
        return [one for one in MEASURES.values() if not one.on_request]
    if isinstance(measures, str) or not isinstance(measures, Iterable):
        example = f"; give a list of one, {argument}=[{measures!r}]" if isinstance(measures, str) else ""
        raise ConfigError(f"{argument} must be a list of names or functions; got {given(measures)}{example}.")
    found = [_chosen(one, argument) for one in measures]
    errors = {one.error_of: one for one in MEASURES.values() if one.error_of}
    with_errors = [each for one in found for each in (one, errors.get(one.name)) if each is not None]
    return list({one.name: one for one in with_errors}.values())


def _chosen(one: str | Callable[[Subject], Any], argument: str) -> Measure:
    if isinstance(one, str):
        if one not in MEASURES:
            near = get_close_matches(one, MEASURES, n=3)
            raise ConfigError(
                f"There is no measure {one!r}, which {argument} names; "
                + (f"did you mean {' or '.join(near)}? " if near else "")
                + "interp.list_measures() lists all (interp list-measures)."
            )
        return MEASURES[one]
    if not callable(one):
        raise ConfigError(f"{argument} must be names or functions; got {given(one)} among them.")
    declared = next((m for m in MEASURES.values() if m.of is one), None)
    if declared is not None:
        return declared
    name = getattr(one, "__name__", "")
    if not name.isidentifier() or name in RESERVED or name in MEASURES:
        taken = "is taken" if name.isidentifier() else "is not a name"
        raise ConfigError(f"Functions in {argument} need names of their own; {name!r} {taken}. Use def, or declare it.")
    return Measure(name, quantity(one))


def list_measures() -> pd.DataFrame:
    """Return a table of all declared measures, interp's and yours: name, title, unit, shape, on_request, source."""
    names = ("name", "title", "unit", "shape", "on_request", "source")
    return pd.DataFrame([{name: getattr(one, name) for name in names} for one in MEASURES.values()], columns=names)


@dataclass(frozen=True)
class Values:
    """Results of measures of one subject.

    Attributes:
        values: The results by name; None if missing.
        missing: The reasons for None.
        failed: The errors of users' measures.
        needs: By measure, "key_frequencies_of" and "final" if it needs its run's key frequencies or last checkpoint.
    """

    values: dict[str, Result | None]
    missing: dict[str, str]
    failed: dict[str, str]
    needs: dict[str, set[str]]


def evaluate(subject: Subject, measures: Iterable[Measure]) -> Values:
    """Compute measures of one subject. An error in a user's measure becomes the reason why that one is missing."""
    found = Values({}, {}, {}, {})
    for one in measures:
        found.values[one.name] = None
        try:
            with subject.watch() as found.needs[one.name]:
                found.values[one.name] = _result(one.of(subject) if one.builtin else _of_user(one, subject))
        except Missing as reason:
            found.missing[one.name] = str(reason)
        except (CheckpointError, ConfigError):
            raise
        except Exception as error:
            if one.builtin:
                raise
            at = traceback.extract_tb(error.__traceback__)[-1]
            said = f"it failed with {type(error).__name__}: {error} ({Path(at.filename).name}, line {at.lineno})"
            found.missing[one.name] = found.failed[one.name] = said
    return found


def _of_user(one: Measure, subject: Subject) -> Any:
    value = one.of(subject)
    if changed := subject.changed():
        raise ConfigError(
            f"The measure {one.name} must leave its subject as it is; it changes {' and '.join(changed)} in place, "
            "which all measures read. Work on a copy (clone)."
        )
    return value


def _result(value: Any) -> Result:
    """Return a copy of a result as a float or int, a dict of floats, a numpy array or a tuple."""
    if isinstance(value, Tensor):
        value = value.detach().cpu()
        value = value.item() if value.ndim == 0 else value.numpy().copy()
    if isinstance(value, np.ndarray | np.generic):
        value = value.item() if value.ndim == 0 else value.copy()
    if isinstance(value, Mapping):
        return {key: float(one) for key, one in value.items()}
    if isinstance(value, numbers.Real):
        if math.isnan(value):
            raise Missing(_NAN)
        return int(value) if isinstance(value, numbers.Integral) else float(value)
    if isinstance(value, np.ndarray | tuple):
        return value
    raise TypeError(f"a measure must return a number, a dict of numbers, or an array; got {given(value)}")
