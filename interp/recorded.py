"""The losses that a file of another's code recorded: at which steps they stand, and whether they are its model's."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float
from torch import Tensor

from interp.errors import warn
from interp.run import HISTORY_COLUMNS

_ROUND = re.compile(r"(1|2|5|25)0*")


def history_of(beside: Mapping[str, Any], epochs: Sequence[int], last: int | None, path: Path | str) -> pd.DataFrame:
    """`train_losses` and `test_losses` as a history, NaN where nothing was recorded.

    `epochs` are those of the checkpoints, in the file's order, and `last` the last epoch, where known. As many losses
    as checkpoints belong to them; otherwise a list holds the loss of every step, or of every so many. A list that
    cannot be placed so is left out with a warning.
    """
    lists = {name: _numbers(beside.get(f"{name}_losses"), f"{name}_losses", path) for name in ("train", "test")}
    longest = max(len(losses) for losses in lists.values())
    columns: dict[str, pd.Series] = {}
    for name, losses in lists.items():
        if not losses:
            continue
        steps = list(epochs) if len(losses) == len(epochs) else _steps(len(losses), longest, last)
        if steps is None:
            warn(
                f"{path}: its {len(losses)} {name}_losses fit neither its checkpoints nor a regular spacing of steps, "
                "so they are left out."
            )
            continue
        placed = pd.Series(losses, index=pd.Index(steps), dtype=float)
        columns[f"{name}_loss"] = placed[~placed.index.duplicated(keep="last")]
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


def _steps(n: int, longest: int, last: int | None) -> list[int] | None:
    """The steps of n losses of a run that ended at step `last`; None where several spacings would fit, or none.

    They are 0, k, 2k, …, and the last step too where it is recorded out of turn. Of several k that fit, the one round
    number is taken.
    """
    ends = {longest - 1} if last is None or longest > last + 1 else {last, last - 1}
    if n - 1 in ends:
        return list(range(n))
    regular = {k for end in ends for k in _spacings(end, n)}
    with_last = {(k, end) for end in ends for k in _spacings(end, n - 1) if end % k}
    candidates: list[tuple[int, float]] = [(k, np.inf) for k in regular] + [(k, end) for k, end in with_last]
    vague = candidates and max(candidates)[0] > 1.5 * min(candidates)[0]
    if len(candidates) > 1:
        candidates = [(k, end) for k, end in candidates if _ROUND.fullmatch(str(k))]
    if len({k for k, _ in candidates}) != 1 or vague:
        return None
    k, end = max(candidates)  # infinite where the last step is in turn
    return [k * i for i in range(n)] if end == np.inf else [*(k * i for i in range(n - 1)), int(end)]


def _spacings(end: int, n: int) -> range:
    """The k for which 0, k, 2k, … up to `end` are n numbers: end // k = n − 1."""
    return range(end // n + 1, end // (n - 1) + 1) if n > 1 else range(0)


# A loss is recorded before or after the update of its step, and falls by about a per cent a step.
_TOLERANCE = 1.1
_SMALLEST = 1e-9
_FLOAT32 = 1.2e-7  # a log softmax taken in float32 is off by as much; its means are float32 numbers


def telling_step(history: pd.DataFrame, steps: Sequence[int]) -> int:
    """Of these steps, the one at which the recorded train and test losses differ most; the last without records."""
    both = history.dropna(subset=["train_loss", "test_loss"]).set_index("step")
    gap = (np.log(both["test_loss"].clip(_SMALLEST)) - np.log(both["train_loss"].clip(_SMALLEST))).abs()
    there = gap[gap.index.isin(steps)]
    return int(there.idxmax()) if len(there) else max(steps)


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
    that do not reach the step are not looked at; a file without lists may hold a `train_loss` and a `test_loss`.
    """
    wrong, nll = [], None
    for name, pairs in (("train", mask), ("test", ~mask)):
        near, there = _records(history, f"{name}_loss", step)
        if not len(near):
            single = _numbers([beside.get(f"{name}_loss", np.nan)], f"{name}_loss", path)
            near = np.array(single)[~np.isnan(single)]
            there = near[0] if len(near) else np.nan
        if not len(near) or not pairs.any():
            continue
        nll = cross_entropies() if nll is None else nll
        loss = float(nll[pairs].mean())
        low, high = max(near.min(), _SMALLEST), max(near.max(), _SMALLEST)
        slack = _TOLERANCE * high / low
        rounding = _FLOAT32 if (near == near.astype(np.float32)).all() else 0.0
        if not low / slack - rounding <= max(loss, _SMALLEST) <= high * slack + rounding:
            wrong.append(f"{name} loss is {loss:.6g} and {there:.6g} is recorded")
    if wrong:
        at = "" if step is None else f" at step {step}"
        warn(
            f"with this split, the model's {', its '.join(wrong)} in {path}{at}; it was trained on another split or "
            "seed, or for another task."
        )


def _records(history: pd.DataFrame, column: str, step: int | None) -> tuple[np.ndarray, float]:
    """The records around a step (or the last), and the nearest of them; none where they do not reach it."""
    recorded = history[["step", column]].dropna()
    if not len(recorded):
        return np.empty(0), np.nan
    steps, losses = recorded["step"].to_numpy(), recorded[column].to_numpy()
    at = len(steps) - 1 if step is None else int(np.abs(steps - step).argmin())
    near = slice(max(at - 2, 0), at + 3)
    if step is not None and abs(steps[at] - step) <= 1:
        close = np.abs(steps - step) <= 2
        return losses[close], float(losses[at])
    spacing = np.diff(steps[near]).max() if len(steps[near]) > 1 else 0
    if step is not None and abs(steps[at] - step) > spacing:
        return np.empty(0), np.nan
    return losses[near], float(losses[at])
