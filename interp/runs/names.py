"""Names of the files and columns of a run directory, and the sources of a task or a split."""

from __future__ import annotations

from typing import Literal

FORMAT_VERSION = 2  # 1 had no name of the network beside its sizes
CONFIG, SPLIT, HISTORY = "config.json", "split.npz", "history.parquet"
CHECKPOINTS, OPTIMIZER = "checkpoints", "optimizer.safetensors"
HISTORY_COLUMNS = ("step", "train_loss", "test_loss", "train_accuracy", "test_accuracy")
# Source of the task and split: recorded in the file, given by the caller, or assumed (then checked when measured).
Origin = Literal["recorded", "given", "assumed"]
