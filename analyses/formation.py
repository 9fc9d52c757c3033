"""The step and phase at which each part of the circuit is half way to its final shape: formation.csv and .md."""

from pathlib import Path

import pandas as pd

from analyses._over_training import over_training
from analyses._tables import write_table
from interp import ConfigError, Run

PARTS = {
    "neuron_logit_key_share": "W_L in key directions",
    "neuron_logit_alignment": "W_L like its end",
    "embedding_alignment": "W_E like its end",
    "logit_variance_explained": "logits explained by the key cosines",
    "neuron_projection_share": "neurons along u_k, v_k of one wave",
    "unembedding_gini": "Gini of W_L",
    "embedding_gini": "Gini of W_E",
    "single_frequency_neurons": "single-frequency neurons",
    "attention_share": "attention of one frequency",
}


def main(run: Run, out: Path) -> list[Path]:
    return write_table(formation(run), out, "formation")


def formation(run: Run) -> pd.DataFrame:
    """Return a row for each part, earliest first: its first and last value, and the step at which it is half way."""
    measures, phases = over_training(run)
    spans = phases.spans()
    rows = []
    for column, part in PARTS.items():
        values = measures[["step", column]].dropna()
        if len(values) < 2:
            continue
        first, last = float(values[column].iloc[0]), float(values[column].iloc[-1])
        sign = 1 if last > first else -1
        before = values["step"][sign * values[column] < sign * (first + last) / 2]
        after = values["step"][values["step"] > before.max()] if len(before) else values["step"]
        step = int(after.iloc[0])
        phase = next((name for name, start, end in spans if start <= step <= end), "–")
        rows.append((part, column, round(first, 3), round(last, 3), step, phase))
    if not rows:
        raise ConfigError("the run must have two checkpoints at which a part of the circuit is measured; it has none.")
    table = pd.DataFrame(rows, columns=["part", "column", "at first", "at last", "half way at step", "phase"])
    return table.sort_values("half way at step", kind="stable", ignore_index=True)
