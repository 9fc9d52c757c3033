"""read_log(): read the losses and accuracies that other people's trainings logged, under interp's names."""

from __future__ import annotations

import csv
import io
import os
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Int

from interp.runs.published.files import is_safetensors, local_file
from interp.utils.arguments import given, some, whole
from interp.utils.errors import CheckpointError, ConfigError, warn
from interp.utils.files import PathLike, look_up, open_regular, parse_json

_MOST_BYTES = 2**30
_FORMATS = "CSV, JSON, JSON lines or parquet"
_EXPECTED = f"expected a run directory, the file of a whole run, or a log ({_FORMATS})"
_SUFFIXES = (".csv", ".tsv", ".json", ".jsonl", ".ndjson", ".parquet", ".log", ".txt")
_SETS = {
    "train": {"train", "training", "tr", "trn"},
    "test": {"test", "testing", "te", "tst"},
    "validation": {"val", "valid", "validation", "eval", "evaluation", "dev", "heldout"},
}
_KINDS = {"loss": {"loss", "losses", "nll", "ce", "xent"}, "accuracy": {"acc", "accs", "accuracy", "accuracies"}}
_IDLE = {"mean", "avg", "average", "history", "hist", "curve", "values", "metrics", "log", "logs"}  # tell nothing here
_PERCENT = {"percent", "pct", "percentage"}
_STEPS = (("step",), ("global", "step"), ("steps",), ("iteration",), ("iterations",), ("iter",), ("update",),
          ("updates",), ("trainer", "global", "step"), ("train", "step"), ("train", "global", "step"), ("it",),
          ("epoch",), ("epochs",), ("train", "epoch"))  # fmt: skip
NAMES = ("train_loss", "test_loss", "train_accuracy", "test_accuracy")


def read_log(
    source: PathLike | pd.DataFrame,
    *,
    every: int | None = None,
    columns: Mapping[str, str] | None = None,
    where: Mapping[str, Any] | None = None,
    show: bool = True,
) -> pd.DataFrame:
    """Read a log of losses and accuracies: `interp.phases` and `interp.plot.training_curves` take the result.

    Columns named train_acc, val_loss, test/accuracy, eval_loss, validation accuracy and the like are matched; test goes
    before validation, and step before epoch. First and last lines that are no rows, such as {"_meta": …}, are left out.

    Args:
        source: A CSV file (or with tabs or semicolons), JSON of lists or of rows, JSON lines, a parquet file, the
            address of one (hf://…), or a data frame.
        every: How many steps lie between two rows of a log that names none; 1 if each row is a step.
        columns: Which columns of the log to take, if the names do not tell: {"test_loss": "holdout nll"}.
        where: Which rows to take from a log of several runs, by the values of its columns: {"run": "seed3"}.
        show: Whether to print what was matched.

    Returns:
        A data frame of `step`, those of train_loss, test_loss, train_accuracy and test_accuracy that were found, and
        the other columns as they are. Accuracies in percent become fractions. `df.attrs["columns"]` says which column
        is which.

    Raises:
        CheckpointError: The file cannot be read.
        ConfigError: No column is matched, or two for one name; no step is named; or no row has the values of `where`.
    """
    frame, name = _opened(source, columns or {})
    frame = _rows_where(frame, where, name)
    matched = _match(frame, dict(columns or {}), name)
    if "step" not in matched:
        frame.insert(0, "step", _counted_steps(frame, every, name))
    elif every is not None:
        raise ConfigError(f"{name} has its steps, in {matched['step']}; leave every (--every) out.")
    result, said = _converted(frame, matched, name, f"row · {every}")
    result.attrs = {"columns": said, "log": name}
    if show:
        from interp.utils.console import console, say

        matches = ", ".join(f"{target} is {column}" for target, column in said.items())
        say(f"{name}: {len(result):,} rows; {matches}", to=console)
    return result


def _opened(source: PathLike | pd.DataFrame, columns: Mapping[str, str]) -> tuple[pd.DataFrame, str]:
    """Return a log as a data frame of its own, and its name for messages."""
    if isinstance(source, pd.DataFrame):
        frame, name = source.copy(), "the log"
        if "step" not in frame and frame.index.names != [None]:
            frame = frame.reset_index()
    elif isinstance(source, str | os.PathLike):
        file, path = local_file(source)
        frame, name = _read(file, path, set(columns.values())), str(path)
    else:
        raise ConfigError(f"read_log takes the path of a log, or a data frame; got {given(source)}.")
    if not len(frame):
        raise ConfigError(f"{name} must hold at least one row; it holds none.")
    frame.columns = pd.Index([str(column) for column in frame.columns])
    return frame, name


def _rows_where(frame: pd.DataFrame, where: Mapping[str, Any] | None, name: str) -> pd.DataFrame:
    """Return the rows with these values in their columns; a number may be given as text, as the shell does."""
    if where is not None and not isinstance(where, Mapping):
        raise ConfigError(f'where must be a dict of values by column, such as {{"run": "seed3"}}; got {given(where)}.')
    for column, value in (where or {}).items():
        if column not in frame:
            raise ConfigError(f"{name} has no column {column!r}; it has {some(list(frame.columns), 12)}.")
        values = frame[column]
        found = values.astype(str) == str(value)
        if pd.api.types.is_numeric_dtype(values):
            found |= values == pd.to_numeric(value, errors="coerce")
        if not found.any():
            known = some([str(one) for one in values.unique()], 8)
            raise ConfigError(f"{name} has no row whose {column} is {value}; the values of {column} are {known}.")
        frame = frame[found].reset_index(drop=True)
    return frame


def _counted_steps(frame: pd.DataFrame, every: int | None, name: str) -> Int[np.ndarray, " rows"]:
    if every is None:
        raise ConfigError(
            f"{name} names no step or epoch; give every= (--every), how many steps lie between two rows, or "
            f'columns={{"step": …}} (--column step=…). Its columns are {some(list(frame.columns), 8)}.'
        )
    return np.arange(len(frame)) * whole("every", every, 1)


def _converted(
    frame: pd.DataFrame, matched: Mapping[str, str], name: str, counted: str
) -> tuple[pd.DataFrame, dict[str, str]]:
    """Return the log under interp's names, and the column of each; `counted` names that of counted steps."""
    percent = _in_percent(frame, matched, name)
    others = [column for column in frame.columns if column not in matched.values() and column not in (*NAMES, "step")]
    found, said = {} if "step" in matched else {"step": frame["step"]}, {"step": counted}
    for target in (one for one in ("step", *NAMES) if one in matched):
        in_percent = percent and target.endswith("accuracy")
        found[target] = _numbers(frame[matched[target]], matched[target], name) / (100 if in_percent else 1)
        said[target] = matched[target] + (" (percent)" if in_percent else "")
    rows = found["step"].notna()
    if not rows.any():
        raise ConfigError(f"{name} has no row with a step in its column {said['step']}.")
    result = pd.concat([pd.DataFrame(found), frame[others]], axis=1)[rows].reset_index(drop=True)
    if (result["step"] % 1 == 0).all():
        result["step"] = result["step"].astype(np.int64)
    return result, said


def is_log(path: PathLike) -> bool:
    """Return whether a file is a log by its content: parquet or text, neither of which torch or safetensors writes.

    An address such as hf://… is judged by the end of its name, so that it is fetched only once, when it is read.

    Raises:
        CheckpointError: There is no file, or it is empty or of another kind.
    """
    address = os.fsdecode(path)
    file = Path(address)
    if "://" in address and not file.exists():
        return address.lower().endswith(_SUFFIXES)
    if look_up(file) is None:
        raise CheckpointError(f"{path} does not exist; {_EXPECTED}.")
    if not file.is_file() or is_safetensors(file):
        return False
    with open_regular(file) as stream:
        start = stream.read(256)
    if start.startswith(b"PAR1"):
        return True
    if start.startswith((b"PK", b"\x80", b"version https://git-lfs")):
        return False
    if not start:
        raise CheckpointError(f"{path} is empty; {_EXPECTED}.")
    try:
        text = start.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        text = start[: error.start].decode("utf-8-sig", "ignore") if error.start > len(start) - 4 else "\x00"
    if not all(character.isprintable() or character in "\r\n\t" for character in text):
        raise CheckpointError(f"{path} is a file of another kind, which begins with {start[:12]!r}; {_EXPECTED}.")
    return True


# ── columns ──


def _words(column: str) -> tuple[str, ...]:
    """Return the words of a name in lower case: "trainLoss", "train/loss" and "train_loss" have the same two."""
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", column)
    return tuple(word for word in re.split(r"[^a-z0-9]+", spaced.lower().replace("%", " percent ")) if word)


def _counts_steps(column: str) -> tuple[str, ...] | None:
    """Return the words of a name that counts steps, or None."""
    words = tuple(word for word in _words(column) if word not in _IDLE)
    return words if words in _STEPS else None


def _meaning(column: str) -> tuple[str | None, str] | None:
    """Return the set of pairs (or None) and the kind of number that a name tells; None if it tells no kind."""
    words = [word for word in _words(column) if word not in _IDLE and word not in _PERCENT]
    if column.lower().startswith("log"):
        return None  # the logarithm of a loss
    if words[-1:] == ["entropy"] and "cross" in words:
        words = [word for word in words if word not in ("cross", "entropy")] + ["ce"]
    kinds = [kind for kind, names in _KINDS.items() for word in words if word in names]
    sets = [of for of, names in _SETS.items() for word in words if word in names]
    if len(kinds) != 1 or len(sets) > 1 or len(words) != len(kinds) + len(sets):
        return None
    return (sets[0] if sets else None), kinds[0]


def _match(frame: pd.DataFrame, wanted: dict[str, str], name: str) -> dict[str, str]:
    """Return which column is which of interp's names, step included."""
    if unknown := [target for target in wanted if target not in (*NAMES, "step")]:
        raise ConfigError(f"columns must name some of step, {', '.join(NAMES)}; got {unknown[0]!r}.")
    if absent := [column for column in wanted.values() if column not in frame]:
        raise ConfigError(f"{name} has no column {absent[0]!r}; it has {some(list(frame.columns), 12)}.")
    found = dict(wanted)
    meanings = {column: _meaning(column) for column in frame.columns if column not in wanted.values()}
    for kind in _KINDS:
        for target, fitting in _fitting(meanings, kind).items():
            if target not in found and fitting:
                found[target] = _only_one(target, fitting, name)
    if not any(target in found for target in NAMES):
        raise ConfigError(
            f"{name} must have losses or accuracies of train and test pairs; none of its columns is one: "
            f'{some(list(frame.columns), 12)}. Give columns={{"test_accuracy": …}} (--column test_accuracy=…).'
        )
    if "step" not in found:
        by_words = {_counts_steps(one): one for one in reversed(frame.columns) if one not in found.values()}
        step = next((by_words[words] for words in _STEPS if words in by_words), None)
        if step is not None:
            found["step"] = step
    return found


def _fitting(meanings: Mapping[str, tuple[str | None, str] | None], kind: str) -> dict[str, list[str]]:
    """Return the columns that may be the losses, or the accuracies, of train and of test pairs."""
    of: dict[str | None, list[str]] = {}
    for column, meaning in meanings.items():
        if meaning is not None and meaning[1] == kind:
            of.setdefault(meaning[0], []).append(column)
    test = of.get("test") or of.get("validation") or []
    # A loss without a word for its set is that of training if it stands beside a validation loss.
    return {f"train_{kind}": of.get("train") or (of.get(None, []) if test else []), f"test_{kind}": test}


def _only_one(target: str, columns: list[str], name: str) -> str:
    exact = [column for column in columns if column == target] or columns
    if len(exact) > 1:
        raise ConfigError(
            f'{name} has several columns for {target}: {some(exact)}; give columns={{"{target}": …}} '
            f"(--column {target}=…)."
        )
    return exact[0]


def _in_percent(frame: pd.DataFrame, matched: Mapping[str, str], name: str) -> bool:
    """Return whether all accuracies are in percent: one has a percent sign or name, or a value over 1."""
    percent = False
    for column in (column for target, column in matched.items() if target.endswith("accuracy")):
        values = _numbers(frame[column], column, name)
        if bad := [value for value in (values.min(), values.max()) if value < 0 or value > 100 + 1e-6]:
            raise ConfigError(
                f"{column} of {name} must be an accuracy, from 0 to 1 or to 100 percent; it holds {bad[0]:g}."
            )
        marked = frame[column].astype(str).str.contains("%").any() or _PERCENT & set(_words(column))
        percent = percent or bool(marked) or bool(values.max() > 1 + 1e-6)
    return percent


def _numbers(column: pd.Series, name: str, log: str) -> pd.Series:
    if column.dtype == object or isinstance(column.dtype, pd.StringDtype):
        text = column.map(lambda value: value.strip().rstrip("%").strip() if isinstance(value, str) else value)
        column = text.replace({"": None, "None": None, "null": None, "-": None})
    try:
        return pd.to_numeric(column).astype(float)
    except (ValueError, TypeError):
        bad = next(value for value in column if pd.isna(pd.to_numeric(value, errors="coerce")) and value is not None)
        raise ConfigError(f"{name} of {log} must hold numbers; got {given(bad)}.") from None


# ── files ──


def _read(file: Path, name: Path | str, chosen: set[str]) -> pd.DataFrame:
    try:
        opened = open_regular(file, name)
    except FileNotFoundError:
        raise CheckpointError(f"{name} does not exist; expected a log: {_FORMATS}.") from None
    with opened as stream:
        size = os.fstat(stream.fileno()).st_size
        if size > _MOST_BYTES:
            raise CheckpointError(f"{name} must be at most a gigabyte; it has {size:,} bytes. Give fewer rows.")
        content = stream.read()
    if content.startswith(b"PAR1"):
        try:
            return pd.read_parquet(io.BytesIO(content))
        except Exception as error:  # damaged bytes end in errors of every kind
            raise CheckpointError(f"{name} is no readable parquet file ({type(error).__name__}).") from None
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise CheckpointError(f"{name} must be a log: {_FORMATS}; it is neither text in UTF-8 nor parquet.") from None
    if not text.strip():
        raise CheckpointError(f"{name} is empty; expected a log: {_FORMATS}.")
    if text.lstrip()[0] in "{[":
        return _json(text, name)
    return _csv(text, name, chosen)


def _json(text: str, name: Path | str) -> pd.DataFrame:
    try:
        content = parse_json(text)
    except ValueError:
        return _json_lines(text, name)
    if isinstance(content, list):
        return _rows(content, name)
    lists = _lists(content)
    if not lists:
        return _rows([content], name)
    lengths = {key: len(values) for key, values in lists.items()}
    # Columns have the commonest length of the lists that are losses, accuracies or steps; other lists are left out.
    known = [lengths[key] for key in lists if _meaning(key) or _counts_steps(key)]
    length = max(known, key=known.count) if known else max(lengths.values())
    kept = {key: values for key, values in lists.items() if lengths[key] == length}
    if short := [key for key in lists if lengths[key] != length and (_meaning(key) or _counts_steps(key))]:
        raise CheckpointError(
            f"{name} must have lists of one length; {some(short)} has {lengths[short[0]]:,} entries, the others "
            f"{length:,}."
        )
    return pd.DataFrame(kept)


def _lists(content: Mapping[str, Any]) -> dict[str, list[Any]]:
    """Return the lists in a JSON object and in the objects inside it: {"train": {"loss": […]}} has "train/loss"."""
    lists = {key: value for key, value in _flat(content).items() if isinstance(value, list) and value}
    rows = [value for value in lists.values() if all(isinstance(one, dict) for one in value)]
    if len(rows) == 1 and not any(_meaning(key) for key in lists):
        frame = pd.DataFrame([_flat(row) for row in rows[0]])
        return {str(key): frame[key].tolist() for key in frame}
    return lists


def _flat(content: Mapping[str, Any], depth: int = 3) -> dict[str, Any]:
    """Return the entries of an object, those of the objects inside it under "outer/inner"."""
    flat: dict[str, Any] = {}
    for key, value in content.items():
        if isinstance(value, dict) and depth:
            flat |= {f"{key}/{inner}": one for inner, one in _flat(value, depth - 1).items()}
        else:
            flat[str(key)] = value
    return flat


def _json_lines(text: str, name: Path | str) -> pd.DataFrame:
    lines, found, bad = [line for line in text.splitlines() if line.strip()], [], []
    for number, line in enumerate(lines, 1):
        try:
            found.append(parse_json(line))
        except ValueError:
            bad.append(number)
    if not found or (bad and bad != [len(lines)]):  # the last one may be cut short
        raise CheckpointError(f"{name} must be JSON, or JSON lines; its line {bad[0]} is neither. Mend or remove it.")
    if bad:
        warn(f"the last line of {name} breaks off, and is left out.")
    return _rows(found, name)


def _rows(content: list[Any], name: Path | str) -> pd.DataFrame:
    """Return objects as rows, without those that hold no step, loss or accuracy."""
    flat = [_flat(row) if isinstance(row, dict) else {} for row in content]
    there = [
        any((_meaning(key) or _counts_steps(key)) and _is_number(value) for key, value in row.items())
        and not any(str(key).startswith("_") and isinstance(value, dict) for key, value in content[i].items())
        for i, row in enumerate(flat)
    ]
    rows = [row for row, is_row in zip(flat, there, strict=True) if is_row]
    if not rows:
        raise CheckpointError(f"{name} must hold rows with a step, losses and accuracies; it holds none.")
    first, last = there.index(True), len(there) - there[::-1].index(True)
    if between := [i for i in range(first, last) if not there[i] and content[i]]:
        warn(f"{len(between)} entries of {name} are no rows, and are left out; the first is entry {between[0] + 1}.")
    return pd.DataFrame(rows)


def _is_number(value: Any) -> bool:
    return value is None or isinstance(value, int | float | str)


def _csv(text: str, name: Path | str, chosen: set[str]) -> pd.DataFrame:
    lines = text.splitlines()
    start = next((i for i, line in enumerate(lines) if line.strip() and not line.lstrip().startswith("#")), 0)
    header = lines[start]
    delimiter = max(",;\t", key=header.count)
    try:
        names = next(csv.reader([header], delimiter=delimiter)) if delimiter in header else header.split()
        separator = delimiter if delimiter in header else r"\s+"
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)
            frame = pd.read_csv(
                io.StringIO("\n".join(lines[start:])), sep=separator, comment="#", skip_blank_lines=True,
                index_col=False, skipinitialspace=True,
            )  # fmt: skip
    except (ValueError, pd.errors.ParserError, pd.errors.ParserWarning, StopIteration, csv.Error) as error:
        raise CheckpointError(f"{name} is no table that can be read ({str(error).splitlines()[0]}).") from None
    if not any(_meaning(column) or column.strip() in chosen for column in names):
        raise CheckpointError(
            f"{name} must begin with the names of its columns, some of them losses or accuracies; its first line is "
            f"{given(header)}."
        )
    repeated = frame[frame.columns[0]].astype(str) == str(frame.columns[0])  # a header written again by a restart
    if repeated.any():
        frame = frame[~repeated].reset_index(drop=True)
    return frame
