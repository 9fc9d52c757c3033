"""The optimizer's state in a run directory: written beside the weights, and read back to resume."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from interp.runs.directory import read_history, read_tensors, write_tensors
from interp.runs.names import CHECKPOINTS, HISTORY, HISTORY_COLUMNS, OPTIMIZER
from interp.training.updates import Updates
from interp.utils.errors import CheckpointError


def save_state(path: Path, step: int, weights: dict[str, Tensor], updates: Updates) -> None:
    """Write the weights and the optimizer's state of a step."""
    tensors = {f"weights.{name}": weight for name, weight in weights.items()} | updates.state()
    # The optimizer has counted the steps of the run, unless it began with the state of another run.
    counted = {} if updates.count == step else {"updates": updates.count}
    write_tensors(path / OPTIMIZER, tensors, {"format": "interp-optimizer", "step": step, **counted})


def restore(path: Path, weights: dict[str, Tensor], updates: Updates) -> tuple[int, list[tuple[int | float, ...]]]:
    """Restore weights and optimizer from the saved state; return its step and the history before it."""
    if not (path / OPTIMIZER).exists():
        if any((path / CHECKPOINTS).glob("step_*.safetensors")):
            raise CheckpointError(
                f"{path} has checkpoints but no {OPTIMIZER}, so it cannot be resumed; it can still be measured."
            )
        return 0, []
    step = read_state(path, weights, updates)
    if step == 0 and not (path / HISTORY).exists():  # killed after its first state was saved, before its first row
        return 0, []
    history = read_history(path / HISTORY)
    kept = history[history["step"] < step]
    return step, [tuple(row) for row in kept[list(HISTORY_COLUMNS)].itertuples(index=False)]


def read_state(path: Path, weights: dict[str, Tensor], updates: Updates) -> int:
    """Read the saved state of the run in `path` into weights and optimizer, and return its step."""
    tensors, header = read_tensors(path / OPTIMIZER, "interp-optimizer")
    try:
        step = int(header["step"])
        for name, weight in weights.items():
            with torch.no_grad():
                weight.copy_(tensors[f"weights.{name}"])
        updates.load(tensors, int(header.get("updates", step)))
    except (KeyError, ValueError, RuntimeError) as error:
        raise CheckpointError(f"{path / OPTIMIZER} is not the state of this run ({error}).") from None
    return step
