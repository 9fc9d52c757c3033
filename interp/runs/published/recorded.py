"""Losses and accuracies that other code recorded: the steps they belong to, and a check of them against the model."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float
from torch import Tensor

from interp.runs.names import HISTORY_COLUMNS
from interp.utils.errors import warn

# The words that make up the name of a record: "train_losses", "val_acc", "test_accuracies_percent".
_HALVES = {"train": "train", "training": "train"} | dict.fromkeys(
    ("test", "val", "valid", "validation", "eval"), "test"
)
_KINDS = {"loss": "loss", "losses": "loss"} | dict.fromkeys(("accuracy", "accuracies", "acc", "accs"), "accuracy")
_NAME = re.compile(rf"({'|'.join(_HALVES)})_?({'|'.join(_KINDS)})(_percent|_pct)?")
_STEPS = ("steps", "epochs")


def history_of(beside: Mapping[str, Any], epochs: Sequence[int], last: int | None, path: Path | str) -> pd.DataFrame:
    """Return the recorded losses and accuracies as a history, with NaN for those missing at a step.

    A list as long as `epochs` belongs to the checkpoints, and one as long as the file's list of steps to those;
    otherwise it holds every step, or every so many. If a step was recorded twice, the last record counts. Lists that
    cannot be placed or read are left out, with a warning.

    Args:
        beside: The values of the file, among them lists named as `train_losses` and `test_accuracies` or nearly so.
        epochs: The epochs of the checkpoints, in the file's order.
        last: The last epoch; None if unknown.
        path: The file, as the user calls it.
    """
    lists = _lists(beside, path)
    longest = max((len(values) for _, values in lists.values()), default=0)
    given = [list(epochs), *(_given_steps(beside.get(name)) for name in _STEPS)]
    columns: dict[str, pd.Series] = {}
    lost: list[str] = []
    for column, (name, values) in lists.items():
        fitting = [steps for steps in given if len(steps) == len(values)]
        steps = fitting[0] if fitting else _steps(len(values), longest, last, epochs)
        if steps is None:
            lost.append(f"{len(values)} {name}")
        else:
            series = pd.Series(values, index=pd.Index(steps), dtype=float)
            columns[column] = series[~series.index.duplicated(keep="last")]
    if lost:
        warn(f"{path} does not tell at which steps its {' and '.join(lost)} were recorded; they are left out.")
    frame = pd.DataFrame(columns).rename_axis("step").sort_index().reset_index()
    frame = frame.reindex(columns=list(HISTORY_COLUMNS))
    return frame.astype({"step": int, **dict.fromkeys(HISTORY_COLUMNS[1:], float)})


def unread(beside: Mapping[str, Any], history: pd.DataFrame, n_checkpoints: int) -> list[str]:
    """Return the names of records that are not read: lists of numbers as long as a column or as the checkpoints.

    A dict of such lists, or a list with a dict of numbers for each step, counts too.
    """
    lengths = {n_checkpoints, len(history), *(int(n) for n in history[list(HISTORY_COLUMNS[1:])].count())} - {0}

    def is_record(value: Any) -> bool:
        if isinstance(value, Tensor | np.ndarray):
            return value.ndim == 1 and len(value) in lengths
        if not isinstance(value, Sequence) or isinstance(value, str | bytes) or not value or len(value) not in lengths:
            return False
        first = list(value[0].values()) if isinstance(value[0], Mapping) else value[:1]
        return any(item is not None and _is_one(item) for item in first)

    def inner(value: Any) -> list[Any]:
        return list(value.values()) if isinstance(value, Mapping) else [value]

    return [
        name
        for name, value in beside.items()
        if _NAME.fullmatch(name.lower()) is None and any(is_record(item) for item in inner(value))
    ]


def _is_one(value: Any) -> bool:
    """Return whether a value is one number, or None."""
    one = value is None or isinstance(value, int | float | np.number)
    return one or (isinstance(value, Tensor | np.ndarray) and value.ndim == 0)


def _named(beside: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return (column of the history, name in the file) of each record by its name, "test" before "val"."""
    found = [(match, name) for name in beside if (match := _NAME.fullmatch(str(name).lower()))]
    found.sort(key=lambda item: list(_HALVES).index(item[0][1]))
    return [(f"{_HALVES[match[1]]}_{_KINDS[match[2]]}", name) for match, name in found]


def _lists(beside: Mapping[str, Any], path: Path | str) -> dict[str, tuple[str, list[float]]]:
    """Return the record of each column of the history: its name in the file, and its values."""
    lists: dict[str, tuple[str, list[float]]] = {}
    unused: list[str] = []
    for column, name in _named(beside):
        if _is_one(beside[name]):  # of the model itself, not of the training
            continue
        values = _numbers(beside[name], name, path)
        if column.endswith("accuracy"):
            values = _fractions(values, name, path)
        if values and column in lists:
            unused.append(f"{name} ({lists[column][0]} is used)")
        elif values:
            lists[column] = name, values
    if unused:
        warn(f"{path} records {' and '.join(unused)} twice; the second list is left out.")
    return {column: lists[column] for column in HISTORY_COLUMNS if column in lists}


def _numbers(values: Any, name: str, path: Path | str) -> list[float]:
    try:
        return [np.nan if value is None else float(_plain(value)) for value in _plain(values)]
    except (TypeError, ValueError, RuntimeError):
        warn(f"{path}: {name} must be a list of numbers; got a {type(values).__name__} of others. It is left out.")
        return []


def _fractions(values: list[float], name: str, path: Path | str) -> list[float]:
    """Return accuracies as fractions; an empty list, with a warning, if one is out of range."""
    percent = name.lower().endswith(("_percent", "_pct"))
    fractions = [value / 100 if percent else value for value in values]
    if bad := [value for value in fractions if not (0 <= value <= 1 or math.isnan(value))]:
        worst = max(bad, key=abs) * (100 if percent else 1)
        remedy = "" if percent else f" If they are percent, name them {name}_percent."
        limit = "percentages between 0 and 100" if percent else "fractions between 0 and 1"
        warn(f"{path}: {name} must be {limit}; got {worst:g}, so they are left out.{remedy}")
        return []
    return fractions


def _given_steps(steps: Any) -> list[int]:
    """Return a list of steps as whole numbers; empty if it is not one."""
    try:
        found = [float(_plain(step)) for step in _plain(steps)]
        return [int(step) for step in found] if all(step == int(step) >= 0 for step in found) else []
    except (TypeError, ValueError, OverflowError, RuntimeError):
        return []


def _plain(value: Any) -> Any:
    return value.detach().cpu().double().numpy() if isinstance(value, Tensor) else value


def _steps(n: int, longest: int, last: int | None, epochs: Sequence[int] = ()) -> list[int] | None:
    """Return the steps of n values recorded by a run that ended at step `last`; None unless one spacing fits.

    They are 0, k, 2k, … and the last step, which need not be a multiple. A list of every step, `longest`, tells where
    the run ended. Among several k, the only one that divides all epochs of the checkpoints is used.
    """
    ends = {longest - 1} if last is None or longest >= last else {last, last - 1}
    if n - 1 in ends:
        return list(range(n))
    candidates: list[tuple[int, float]] = [(k, math.inf) for end in ends for k in _spacings(end, n)]
    candidates += [(k, end) for end in ends for k in _spacings(end, n - 1) if end % k]
    if len({k for k, _ in candidates}) > 1:
        common = math.gcd(*epochs)
        candidates = [(k, end) for k, end in candidates if common and common % k == 0]
    if len({k for k, _ in candidates}) != 1:
        return None
    k, end = max(candidates)  # an infinite end: the last step is a multiple of k
    return [k * i for i in range(n)] if end == math.inf else [*(k * i for i in range(n - 1)), int(end)]


def _spacings(end: int, n: int) -> range:
    """Return the k for which 0, k, 2k, … up to `end` are n numbers: end // k = n − 1."""
    return range(end // n + 1, end // (n - 1) + 1) if n > 1 else range(0)


_TOLERANCE = 1.1  # a loss is recorded before or after the update of its step, and falls by about a per cent a step
_SMALLEST = 1e-9
_FLOAT32 = 1.2e-7  # the error of a log softmax in float32; its means are float32 numbers


def telling_steps(history: pd.DataFrame, steps: Sequence[int]) -> list[int]:
    """Order steps by how far their recorded train and test losses differ, most first; without records, last first."""
    both = history.dropna(subset=["train_loss", "test_loss"]).set_index("step")
    ratios = both["test_loss"].clip(_SMALLEST) / both["train_loss"].clip(_SMALLEST)
    gap = {step: abs(math.log(ratio)) for step, ratio in ratios.items()}
    return sorted(steps, key=lambda step: (-gap.get(step, -1.0), -step))


def check_losses(
    history: pd.DataFrame,
    beside: Mapping[str, Any],
    step: int | None,
    mask: Bool[Tensor, "p p"],
    cross_entropies: Callable[[], Float[Tensor, "p p"]],
    path: Path | str,
) -> str | None:
    """Return a doubt if a model's losses under a split differ from those that its file records, else None.

    A loss must lie between the records around its step, or outside them by no more than they differ and a tenth.
    Records that do not reach the step are not compared. If the step is unknown, some step of the record must have both
    losses. A file without lists may hold a `train_loss` and a `test_loss`.
    """
    halves = {"train": mask, "test": ~mask}
    records = {name: _records(history, beside, name, step, path) for name in halves}
    halves = {name: half for name, half in halves.items() if half.any() and len(records[name])}
    if not halves:
        return None
    nll = cross_entropies()
    found = {name: float(nll[half].mean()) for name, half in halves.items()}
    if step is None and len(history):
        record = history[[f"{name}_loss" for name in halves]].interpolate().dropna().clip(_SMALLEST)
        far = np.abs(np.log(record.to_numpy() / np.maximum(list(found.values()), _SMALLEST))).max(1)
        if far.min() <= 1.5 * math.log(_TOLERANCE):  # one list may end some steps before the other
            return None
        wrong = {name: float(record[f"{name}_loss"].iloc[-1]) for name in halves}
    else:
        off = [name for name, loss in found.items() if not _is_near(loss, records[name])]
        wrong = {name: float(records[name][len(records[name]) // 2]) for name in off}
    if not wrong:
        return None
    differ = (f"{name} loss is {found[name]:.6g} and {there:.6g} is recorded" for name, there in wrong.items())
    at = "" if step is None else f" at step {step}"
    return (
        f"with this split, the model's {', its '.join(differ)} in {path}{at}; it was trained on another split, seed or "
        "task, or its record is of other steps."
    )


def _is_near(loss: float, near: Float[np.ndarray, " n"]) -> bool:
    low, high = max(near.min(), _SMALLEST), max(near.max(), _SMALLEST)
    slack = _TOLERANCE * high / low
    rounding = _FLOAT32 if (near == near.astype(np.float32)).all() else 0.0
    return bool(low / slack - rounding <= max(loss, _SMALLEST) <= high * slack + rounding)


def _records(
    history: pd.DataFrame, beside: Mapping[str, Any], name: str, step: int | None, path: Path | str
) -> Float[np.ndarray, " n"]:
    """Return the records around a step, the nearest in the middle; empty if they do not reach the step."""
    recorded = history[["step", f"{name}_loss"]].dropna()
    if not len(recorded):
        own = [key for column, key in _named(beside) if column == f"{name}_loss" and _is_one(beside[key])]
        single = np.array([number for key in own[:1] for number in _numbers([beside[key]], key, path)])
        return single[~np.isnan(single)]
    steps, losses = recorded["step"].to_numpy(), recorded[f"{name}_loss"].to_numpy()
    if step is None:
        return losses[-1:]
    at = int(np.abs(steps - step).argmin())
    if abs(steps[at] - step) <= 1:  # this step's own, and those around it if every step is recorded
        wide = min(2, at, len(steps) - 1 - at)
        while wide and max(steps[at + wide] - step, step - steps[at - wide]) > 2:
            wide -= 1
        return losses[at - wide : at + wide + 1]
    near = slice(max(at - 2, 0), at + 3)
    spacing = np.diff(steps[near]).max() if len(steps[near]) > 1 else 0
    return losses[near] if abs(steps[at] - step) <= spacing else np.empty(0)
