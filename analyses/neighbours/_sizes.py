"""The sizes of the problems: as in the figures of `make paper`, or small enough to run in seconds."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Sizes:
    """The defaults are the paper's."""

    ridge: tuple[int, int, int] = (500, 50, 5_000)  # n, d, m of the random features
    ridge_sweep: tuple[int, int, int] = (100, 10, 1_000)  # n, d, m of the sweeps over n and m
    simulated_steps: int = 2_000
    map_cells: int = 25
    seeds: int = 5
    student_steps: int = 20_000
    isotropic: tuple[int, int] = (200, 50)  # n and trials
    capacity: tuple[int, int] = (200, 20)  # n and draws
    removal_draws: int = 200
    epoch_draws: int = 20
    ensembles: tuple[int, int] = (100, 5)  # n and draws
    ensemble_digits: tuple[int, int, int] = (400, 400, 3)  # samples, epochs, seeds
    ensemble_widths: tuple[int, ...] = (4, 8, 16, 24, 64)
    digit_epochs: int = 1_000
    digit_seeds: int = 5
    digit_widths: tuple[int, ...] = (2, 4, 6, 8, 12, 16, 24, 32, 64, 128, 256)
    digit_samples: tuple[int, ...] = (100, 200, 300, 400, 500, 600, 800, 1_000, 1_200)


PAPER = Sizes()
QUICK = Sizes(
    ridge=(40, 8, 160), ridge_sweep=(40, 5, 160), simulated_steps=300, map_cells=6, seeds=2, student_steps=1_500,
    isotropic=(40, 5), capacity=(40, 4), removal_draws=10, epoch_draws=3, digit_epochs=150, digit_seeds=2,
    digit_widths=(2, 8, 32), digit_samples=(50, 100, 200), ensembles=(20, 2), ensemble_digits=(50, 60, 2),
    ensemble_widths=(2, 8),
)  # fmt: skip
