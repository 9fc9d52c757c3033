"""Delays of public training histories of one network at several weight decays, if these histories are at hand."""

from __future__ import annotations

import os
from pathlib import Path

import pandas as pd

import interp

HISTORIES = "histories.parquet"


def public_histories() -> Path | None:
    """Return the file of public histories, in the folder that INTERP_PUBLISHED names; None if there is none."""
    root = Path(__file__).resolve().parents[2]
    file = Path(os.environ.get("INTERP_PUBLISHED", root.parent / "shared" / "published")) / HISTORIES
    return file if file.is_file() else None


def public_delays(file: Path) -> pd.DataFrame | None:
    """Return the events of the public runs of p = 113, one layer, learning rate 0.001; None if there are none."""
    runs = pd.read_parquet(file)
    chosen = runs[
        (runs["p"] == 113) & (runs["n_layers"] == 1) & (runs["lr"] == 0.001) & (runs["train_fraction"] == 0.3)
        & (runs["d_model"] == 128) & runs["operation"].isin(["addition", "add"]) & (runs["weight_decay"] > 0)
        & (runs["optimizer"].isna() | (runs["optimizer"] == "adamw"))
    ]  # fmt: skip
    rows = []
    for name, history in chosen.groupby("run"):
        found = interp.phases(history[["step", "train_accuracy", "test_accuracy", "train_loss", "test_loss"]])
        rows.append({
            "run": name, "weight_decay": float(history["weight_decay"].iloc[0]), "memorized": found.memorized,
            "generalized": found.generalized, "last_step": found.last_step,
        })  # fmt: skip
    return pd.DataFrame(rows) if rows else None
