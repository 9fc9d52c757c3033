"""The losses that a file of another's code recorded: at which steps they stand, and whether they are its model's."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float
from torch import Tensor

from interp.errors import warn
from interp.run import HISTORY_COLUMNS


def history_of(beside: Mapping[str, Any], epochs: Sequence[int], last: int | None, path: Path | str) -> pd.DataFrame:
    """`train_losses` and `test_losses` as a history, NaN where nothing was recorded.

    `epochs` are those of the checkpoints, in the file's order, and `last` the last epoch, where known. As many losses
    as checkpoints belong to them; otherwise a list holds the loss of every step, or of every so many. What cannot be
    placed so is left out, with a warning.
    """
    lists = {name: _numbers(beside.get(f"{name}_losses"), f"{name}_losses", path) for name in ("train", "test")}
    longest = max(len(losses) for losses in lists.values())
    columns: dict[str, pd.Series] = {}
    lost: list[str] = []
    for name, losses in lists.items():
        if not losses:
            continue
        steps = list(epochs) if len(losses) == len(epochs) else _steps(len(losses), longest, last, epochs)
        if steps is None:
            lost.append(f"{len(losses)} {name}_losses")
        else:
            columns[f"{name}_loss"] = pd.Series(losses, index=pd.Index(steps), dtype=float)
    if lost:
        warn(f"{path}: it does not tell at which steps its {' and '.join(lost)} were recorded, so they are left out.")
    frame = pd.DataFrame(columns).rename_axis("step").sort_index().reset_index()
    frame = frame.reindex(columns=list(HISTORY_COLUMNS))
    return frame.astype({"step": int, **dict.fromkeys(HISTORY_COLUMNS[1:], float)})


def _numbers(losses: Any, name: str, path: Path | str) -> list[float]:
    if losses is None:
        return []
    try:
        return [np.nan if loss is None else float(_plain(loss)) for loss in _plain(losses)]
    except (TypeError, ValueError):
        warn(f"{path}: {name} is no list of numbers, so it is left out.")
        return []


def _plain(value: Any) -> Any:
    return value.detach().cpu().numpy() if isinstance(value, Tensor) else value


def _steps(n: int, longest: int, last: int | None, epochs: Sequence[int] = ()) -> list[int] | None:
    """The steps of n losses of a run that ended at step `last`; None where no spacing fits, or several would.

    They are 0, k, 2k, …, and the last step too where it is recorded out of turn. A list of every step, `longest`, tells
    where the run ended. Of several k, one that alone divides all epochs of the checkpoints is taken.
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
    k, end = max(candidates)  # infinite where the last step is in turn
    return [k * i for i in range(n)] if end == math.inf else [*(k * i for i in range(n - 1)), int(end)]


def _spacings(end: int, n: int) -> range:
    """The k for which 0, k, 2k, … up to `end` are n numbers: end // k = n − 1."""
    return range(end // n + 1, end // (n - 1) + 1) if n > 1 else range(0)


# A loss is recorded before or after the update of its step, and falls by about a per cent a step.
_TOLERANCE = 1.1
_SMALLEST = 1e-9
_FLOAT32 = 1.2e-7  # a log softmax taken in float32 is off by as much; its means are float32 numbers


def telling_steps(history: pd.DataFrame, steps: Sequence[int]) -> list[int]:
    """These steps, first those where the recorded train and test losses differ most; without records the last first."""
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
) -> None:
    """Warn where a model's losses under a split are not those that its file records at that step.

    A loss has to lie between the records around its step, or outside by no more than they differ and a tenth. Records
    that do not reach the step are not looked at. Where the step is not known, both losses have to be somewhere in the
    record at once. A file without lists may hold a `train_loss` and a `test_loss`.
    """
    halves = {"train": mask, "test": ~mask}
    records = {name: _records(history, beside, name, step, path) for name in halves}
    halves = {name: half for name, half in halves.items() if half.any() and len(records[name])}
    if not halves:
        return
    nll = cross_entropies()
    found = {name: float(nll[half].mean()) for name, half in halves.items()}
    if step is None and len(history):
        record = history[[f"{name}_loss" for name in halves]].interpolate().dropna().clip(_SMALLEST)
        far = np.abs(np.log(record.to_numpy() / np.maximum(list(found.values()), _SMALLEST))).max(1)
        if far.min() <= 1.5 * math.log(_TOLERANCE):  # the last of one list may stand some steps before the other
            return
        wrong = {name: float(record[f"{name}_loss"].iloc[-1]) for name in halves}
    else:
        off = [name for name, loss in found.items() if not _is_near(loss, records[name])]
        wrong = {name: float(records[name][len(records[name]) // 2]) for name in off}
    if wrong:
        said = ", its ".join(
            f"{name} loss is {found[name]:.6g} and {there:.6g} is recorded" for name, there in wrong.items()
        )
        at = "" if step is None else f" at step {step}"
        warn(
            f"with this split, the model's {said} in {path}{at}; it was trained on another split, seed or task, or its "
            "record is of other steps."
        )


def _is_near(loss: float, near: Float[np.ndarray, " n"]) -> bool:
    low, high = max(near.min(), _SMALLEST), max(near.max(), _SMALLEST)
    slack = _TOLERANCE * high / low
    rounding = _FLOAT32 if (near == near.astype(np.float32)).all() else 0.0
    return bool(low / slack - rounding <= max(loss, _SMALLEST) <= high * slack + rounding)


def _records(
    history: pd.DataFrame, beside: Mapping[str, Any], name: str, step: int | None, path: Path | str
) -> Float[np.ndarray, " n"]:
    """The records around a step, the nearest in their middle; none where they do not reach it."""
    recorded = history[["step", f"{name}_loss"]].dropna()
    if not len(recorded):
        single = np.array(_numbers([beside.get(f"{name}_loss", np.nan)], f"{name}_loss", path))
        return single[~np.isnan(single)]
    steps, losses = recorded["step"].to_numpy(), recorded[f"{name}_loss"].to_numpy()
    if step is None:
        return losses[-1:]
    at = int(np.abs(steps - step).argmin())
    if abs(steps[at] - step) <= 1:  # this step's own, and its neighbours' where every step is recorded
        wide = min(2, at, len(steps) - 1 - at)
        while wide and max(steps[at + wide] - step, step - steps[at - wide]) > 2:
            wide -= 1
        return losses[at - wide : at + wide + 1]
    near = slice(max(at - 2, 0), at + 3)
    spacing = np.diff(steps[near]).max() if len(steps[near]) > 1 else 0
    return losses[near] if abs(steps[at] - step) <= spacing else np.empty(0)
