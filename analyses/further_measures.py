"""The further measures over training: what the key cosines decide, collapse, ranks, phases, translation, graduation."""

from pathlib import Path

from analyses._over_training import over_training
from interp import Run, graduation, plot, trajectory

MEASURES = (
    "test_accuracy", "explained_accuracy", "softmax_collapse", "naive_loss_minimization", "translation_share",
    "effective_rank", "phase_alignment",
)  # fmt: skip


def main(run: Run, out: Path) -> list[Path]:
    frame = trajectory(run, measures=MEASURES, arrays=["answered"])
    frame["graduated"] = graduation(frame).graduated(frame["step"].to_numpy())
    return plot.save(plot.further_measures(frame, over_training(run)[1]), out, "further_measures")
