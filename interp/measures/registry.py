"""The measures by name: `measure` declares one, `chosen` names those that are wanted, `evaluate` computes them."""

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
        title: What it is, in one phrase.
        unit: Its unit; "" for a pure number.
        source: Who defined it.
        shape: "number", or what it returns: "[p]", "by key frequency".
        columns: The pattern of the columns that a dict or an array makes, such as "excluded_loss_{}".
        first: The number of an array's first column.
        on_request: Whether it is computed only if it is asked for.
        version: Of a user's measure: a trajectory keeps its columns as long as this stays the same.
        error_of: The measure that it is the standard error of; whoever asks for that one is given both.
        builtin: Whether it is one of interp's, whose names and columns no other measure can take.
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
        """Return the columns of a result: a number is one, a dict makes one a key, an array one an entry, if named."""
        if isinstance(value, dict):
            return {(self.columns or f"{self.name}_{{}}").format(key): one for key, one in value.items()}
        if isinstance(value, np.ndarray):
            entries = value if self.columns and value.ndim == 1 else ()
            return {(self.columns or "").format(i): float(one) for i, one in enumerate(entries, self.first)}
        if isinstance(value, tuple):
            return {}
        return {self.name: value} if value is not None or self.shape == "number" else {}

    def text(self, value: Result, error: Result | None = None) -> str:
        """Return a result as it is printed: of an array, the five entries that are largest in size.

        A number with a standard error has as many decimals as two digits of the error take: 0.334 ± 0.014.
        """
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
    """Return results as columns, numbers first, then those that dicts and arrays make."""
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
    same name again replaces it; the names of interp's own measures are taken. What cannot be computed raises
    `interp.Missing("why")`, or is NaN.

    A number is a column of a trajectory. A dict makes a column a key, and an array makes a column an entry if `columns`
    is given; otherwise it stays in the result, where `trajectory(run, arrays=[…])` collects it.

    Args:
        function: The function of a Subject.
        name: The name of the measure; by default that of the function.
        title: What it is; by default the first line of the docstring.
        unit: Its unit, such as "nats"; "" for a pure number.
        source: Who defined it.
        shape: What it returns, such as "[p]".
        columns: The pattern of its columns: "ipr_{}" names that of 14 ipr_14.
        first: The number of an array's first column.
        on_request: Compute it only if `measures=` names it.
        version: Keep its columns beside a run as long as the version stays the same; without one, they are computed
            each time.
        error_of: The name of the measure, a mean over a sample, that this is the standard error of. Whoever asks for
            that one is given both, and tables print them as 0.334 ± 0.014.

    Raises:
        ConfigError: The declaration is not complete, or takes a name or columns of interp's own measures.
    """
    about = {k: v for k, v in locals().items() if k != "function"}

    def declare(one: Any) -> Any:
        made = _made(one, **about)
        _check_free(made)
        MEASURES[made.name] = made
        return made.of

    return declare if function is None else declare(function)


def builtin_measure(**about: Any) -> Callable[[F], F]:
    """Declare a measure of interp's own: as `measure` does, and no other measure can take its name and columns."""

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
    """Return the measure that a declaration describes. Raise ConfigError if it is not complete."""
    if not callable(function) or isinstance(function, type):
        raise ConfigError(f"measure() takes a function of a Subject; got {given(function)}.")
    name = function.__name__ if name is None else name
    if not isinstance(name, str) or not name.isidentifier():
        raise ConfigError(
            f"A measure needs a name that is a word, such as largest_neuron; got {name!r}. Give it name=."
        )
    if columns is not None and (not isinstance(columns, str) or columns.count("{}") != 1):
        raise ConfigError(f'columns must hold {{}} once, as in "{name}_{{}}"; got {columns!r}.')
    if version is not None and not isinstance(version, str | int | float):
        raise ConfigError(f"version must be a number or a string; got {given(version)}.")
    if error_of is not None and (error_of not in MEASURES or error_of == name):
        raise ConfigError(f"error_of must name a measure that is declared already; got {error_of!r}.")
    title = (function.__doc__ or "").strip().partition("\n")[0] if title is None else title
    return Measure(name, quantity(function), title, columns=columns, version=version, error_of=error_of, **about)


def _check_free(made: Measure) -> None:
    """Raise ConfigError if a measure takes a name or columns of interp's own."""
    builtin = {one.name: one.columns for one in MEASURES.values() if one.builtin}
    if made.name in RESERVED or made.name in builtin:
        raise ConfigError(f"{made.name} is a name of interp's own; give your measure another one.")
    patterns = {columns for columns in builtin.values() if columns is not None}
    if any(re.fullmatch(re.escape(pattern).replace(r"\{\}", r"\d+"), made.name) for pattern in patterns):
        raise ConfigError(
            f"{made.name} is a column that a measure of interp's own makes; give your measure another name."
        )
    if made.columns in patterns:
        raise ConfigError(
            f"The columns {made.columns} are those of a measure of interp's own; give yours another pattern."
        )


def chosen(measures: Iterable[str | Callable[[Subject], Any]] | None, argument: str = "measures") -> list[Measure]:
    """Return the measures that are named, in this order and once each; by default all that are not on request.

    After a measure comes its standard error, if it has one. One may be a name or a function, declared or not. Raises
    ConfigError for an unknown name, with the nearest one and with the name of the argument.
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
        taken = "is taken" if name.isidentifier() else "is no name"
        raise ConfigError(
            f"A function among {argument} needs a name of its own; {name!r} {taken}. Use def, or declare it."
        )
    return Measure(name, quantity(one))


def list_measures() -> pd.DataFrame:
    """Return all declared measures, interp's and yours: name, title, unit, shape, on_request, source."""
    names = ("name", "title", "unit", "shape", "on_request", "source")
    return pd.DataFrame([{name: getattr(one, name) for name in names} for one in MEASURES.values()], columns=names)


@dataclass(frozen=True)
class Values:
    """Results of measures of one subject.

    Attributes:
        values: The results by name, or None.
        missing: The reasons for None.
        failed: The errors of users' measures.
        needs: The needs of each measure beside this subject: its "key_frequencies_of", the "final" one of its run.
    """

    values: dict[str, Result | None]
    missing: dict[str, str]
    failed: dict[str, str]
    needs: dict[str, set[str]]


def evaluate(subject: Subject, measures: Iterable[Measure]) -> Values:
    """Compute measures of one subject. An error in a user's measure is kept as the reason of that one alone."""
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
    """Return a result as plain numbers, of its own: a float or int, a dict of them, a numpy array, a tuple."""
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
