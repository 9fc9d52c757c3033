"""Beyond ridge regression: a two-layer ReLU student that groks a small ReLU teacher, by gradient descent.

f(x) = width^(−½) Σ_j a_j relu(w_j·x) on inputs x ~ N(0, I_d), with a_j ~ N(0, ν²) and w_j ~ N(0, ν²/d I) at the start,
and weight decay. The teacher is such a network of a few neurons, its outputs of variance 1. The bounds of Xu, Vardi and
Safran (2026) for ridge regression suggest a delay in proportion to 1/λ.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Int
from torch import Tensor

from interp.linear.problems import relu_second_moment
from interp.linear.steps import MOST_RECORDS, log_steps
from interp.utils.arguments import (
    LARGEST,
    above_zero,
    at_least_zero,
    columns,
    finite,
    given,
    random_seed,
    room_for,
    whole,
)
from interp.utils.console import progress_bar
from interp.utils.errors import ConfigError, TrainingError
from interp.utils.threads import side_by_side, wanted
from interp.utils.torch_state import computing


@dataclass(frozen=True)
class TwoLayer:
    """The settings of one student.

    Attributes:
        n: Samples to train on.
        d: Inputs.
        width: Neurons of the student.
        teacher_width: Neurons of the teacher: unit vectors, of alternating sign.
        learning_rate: η of full-batch gradient descent.
        weight_decay: λ of the objective ½n⁻¹Σ(f(x) − y)² + ½λ(‖a‖² + ‖w‖²).
        init_scale: ν, the standard deviation of the a_j at the start, and of each w_j·x.
        seed: The seed of the samples, the teacher and the weights.

    Raises:
        ConfigError: A setting cannot be used.
    """

    n: int = 100
    d: int = 10
    width: int = 100
    teacher_width: int = 2
    learning_rate: float = 0.2
    weight_decay: float = 1e-3
    init_scale: float = 2.0
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("n", "d", "width", "teacher_width"):
            object.__setattr__(self, name, whole(name, getattr(self, name), 1))
        object.__setattr__(self, "seed", random_seed(self.seed))
        room_for("hidden activations [n, width]", self.n, self.width)
        room_for("weights and inputs", self.d, max(self.n, self.width, self.teacher_width))
        room_for("products of neurons", self.width + self.teacher_width, self.width + self.teacher_width)
        for name in ("weight_decay", "init_scale"):
            object.__setattr__(self, name, at_least_zero(name, getattr(self, name)))
        object.__setattr__(self, "learning_rate", above_zero("learning_rate", self.learning_rate))


SETTINGS = tuple(f.name for f in fields(TwoLayer))
_IN_A_BATCH = 8  # more of them no longer fit in the cache


@computing()
def trajectories(
    students: TwoLayer | Sequence[TwoLayer],
    steps: int = 20_000,
    records: int = 400,
    progress: bool = True,
    threads: int | None = None,
) -> pd.DataFrame:
    """Train the students; return a row for each student and recorded step.

    Students of the same n, d and widths are trained in batches of up to eight.

    Args:
        students: One or several.
        steps: Updates of each.
        records: About how many steps to record, at equal ratios, beside 0.
        progress: Show a progress bar.
        threads: How many batches to train at a time, each on one thread; by default as many as torch uses. Results do
            not depend on it.

    Returns:
        Columns run, the student's place in the list; its settings; step; train_loss, ½ mean (f − y)² over the samples;
        test_loss, ½E(f − f*)² over all inputs, exact by the arc-cosine kernel (Cho and Saul, 2009); weight_norm.

    Raises:
        ConfigError: An argument cannot be used.
        TrainingError: A student diverges.
    """
    students = [students] if isinstance(students, TwoLayer) else students
    if not isinstance(students, Sequence) or not students or not all(isinstance(one, TwoLayer) for one in students):
        raise ConfigError(f"students must be a TwoLayer, or a list of at least one; got {given(students)}.")
    steps, records = whole("steps", steps, 1), whole("records", records, 2, MOST_RECORDS + 1)
    recorded = {0, *log_steps(steps, records).tolist()}
    workers = wanted(threads)
    shapes: dict[tuple[int, int, int, int], list[int]] = {}
    for index, student in enumerate(students):
        shapes.setdefault((student.n, student.d, student.width, student.teacher_width), []).append(index)
    batches = [
        part.tolist()
        for members in shapes.values()
        for part in np.array_split(members, math.ceil(len(members) / _IN_A_BATCH))
    ]
    rows: list[dict[str, float]] = []

    def training(members: list[int]) -> Iterator[int]:
        batch = _Batch([students[i] for i in members])
        for step in range(steps + 1):
            if step in recorded:
                losses = batch.record(step)
                rows.extend({"run": i, **asdict(students[i]), "step": step, **losses[j]} for j, i in enumerate(members))
            batch.update()
            if step and step % 100 == 0:
                yield 100

    with progress_bar("train two-layer networks", "steps", steps * len(batches), show=progress) as bar:
        side_by_side([training(members) for members in batches], workers, bar.at if bar else None)
    return pd.DataFrame(rows).sort_values(["run", "step"], ignore_index=True)


class _Batch:
    """Students of one shape, whose weights are stacked."""

    def __init__(self, students: Sequence[TwoLayer]) -> None:
        self.students = students
        drawn = [_drawn(student) for student in students]
        self.X, self.y, self.w, self.a, self.teachers, self.signs = (
            torch.stack(parts) for parts in zip(*drawn, strict=True)
        )
        self.scale = students[0].width ** -0.5
        self.rate = torch.tensor([student.learning_rate for student in students], dtype=torch.float64)[:, None]
        self.keep = 1 - self.rate * torch.tensor([[student.weight_decay] for student in students], dtype=torch.float64)
        self._X_transposed = self.X.transpose(1, 2).contiguous()  # products with a transposed view are slower
        # Reused: new memory at every step would cost more than the products.
        self._hidden = torch.empty(len(students), *self.y.shape[1:], self.w.shape[2], dtype=torch.float64)
        self._back = torch.empty_like(self._hidden)

    def _residual(self) -> tuple[Float[Tensor, "b n width"], Float[Tensor, "b n"]]:
        hidden = torch.bmm(self.X, self.w, out=self._hidden).relu_()
        # The vector is the first factor, since it is slower as the second.
        return hidden, self.scale * torch.bmm(self.a[:, None, :], hidden.transpose(1, 2))[:, 0] - self.y

    def update(self) -> None:
        hidden, residual = self._residual()
        residual = residual * (self.scale / self.y.shape[1])
        grad_a = torch.bmm(residual[:, None, :], hidden)[:, 0]
        back = torch.ops.aten.threshold_backward(  # the residual where hidden > 0, else 0
            residual[:, :, None].expand_as(hidden), hidden, 0, grad_input=self._back
        )
        grad_w = torch.bmm(self._X_transposed, back).mul_((self.rate * self.a)[:, None, :])
        self.a.mul_(self.keep).sub_(grad_a.mul_(self.rate))
        self.w.mul_(self.keep[:, :, None]).sub_(grad_w)

    def record(self, step: int) -> list[dict[str, float]]:
        _, residual = self._residual()
        train_loss = (residual**2).mean(1) / 2
        for i, student in enumerate(self.students):
            largest = max(float(self.w[i].abs().max()), float(self.a[i].abs().max()))
            if not (math.isfinite(train_loss[i]) and largest <= LARGEST):  # also true for nan
                raise TrainingError(
                    f"the student of width {student.width}, seed {student.seed}, init_scale {student.init_scale:g} and "
                    f"weight_decay {student.weight_decay:g} diverged before step {step:,}; lower its learning_rate of "
                    f"{student.learning_rate:g}, or the scale."
                )
        # f − f* is a network of the neurons of both, and its mean square a sum over pairs of these.
        rows = torch.cat([self.w.transpose(1, 2), self.teachers], dim=1)
        outputs = torch.cat([self.scale * self.a, -self.signs], dim=1).numpy()
        squares = np.einsum("bi,bij,bj->b", outputs, relu_second_moment(rows.numpy()), outputs)
        test_loss = torch.from_numpy(np.maximum(squares, 0.0) / 2)
        norm = (self.a.square().sum(1) + self.w.square().sum((1, 2))).sqrt()
        table = torch.stack([train_loss, test_loss, norm], dim=1).tolist()
        return [dict(zip(("train_loss", "test_loss", "weight_norm"), row, strict=True)) for row in table]


def _drawn(student: TwoLayer) -> tuple[Tensor, ...]:
    """Return X, y, w, a, the teacher's rows and its output weights, in float64 so that a small weight decay counts."""
    generator = torch.Generator().manual_seed(student.seed)
    directions = torch.randn(student.teacher_width, student.d, generator=generator, dtype=torch.float64)
    directions /= directions.norm(dim=1, keepdim=True)
    signs = torch.tensor([(-1.0) ** j for j in range(student.teacher_width)], dtype=torch.float64)
    # The variance, second moment less squared mean, is made 1; E relu(u·x) = ‖u‖/√(2π).
    mean = float(signs.sum()) / math.sqrt(2 * math.pi)
    power = float(signs @ torch.from_numpy(relu_second_moment(directions.numpy())) @ signs)
    if power - mean**2 < 1e-9:
        raise ConfigError(
            f"the neurons of the teacher must not cancel; the {student.teacher_width} of seed {student.seed} do, with "
            f"d = {student.d}. Take another seed, or more inputs d."
        )
    signs = signs / math.sqrt(power - mean**2)
    X = torch.randn(student.n, student.d, generator=generator).double()
    y = torch.relu(X @ directions.T) @ signs
    w = student.init_scale / math.sqrt(student.d) * torch.randn(student.d, student.width, generator=generator).double()
    a = student.init_scale * torch.randn(student.width, generator=generator).double()
    return X, y, w, a, directions, signs


@computing()
def grokking_times(trained: pd.DataFrame, tolerance: float = 0.1) -> pd.DataFrame:
    """Return the steps at which each student of `trajectories` fits and generalizes, a row for each student.

    Args:
        trained: The frame of `trajectories`.
        tolerance: A loss; the default is a tenth of the teacher's variance, which is 1.

    Returns:
        Columns run and its settings; overfitting and generalization, the first recorded step from which train and test
        loss stay at most at the tolerance; delay, their difference; last_step, the last recorded step. An event that
        has not come is <NA>; `interp.fit_exponents` counts such a run as censored.

    Raises:
        ConfigError: `tolerance` is not above 0, or `trained` lacks a column.
    """
    columns(trained, "step", "train_loss", "test_loss", source="two_layer.trajectories", text=["run"])
    finite("the column step", trained["step"], 1)
    tolerance = above_zero("tolerance", tolerance)
    rows = []
    for run, own in trained.groupby("run"):
        own = own.sort_values("step")
        times = {
            name: _settled(own["step"].to_numpy(), own[f"{kind}_loss"].to_numpy(), tolerance)
            for name, kind in (("overfitting", "train"), ("generalization", "test"))
        }
        settings = {name: own[name].iloc[0] for name in SETTINGS if name in own}
        rows.append({"run": run, **settings, **times, "last_step": int(own["step"].iloc[-1])})
    table = pd.DataFrame(rows).astype({"overfitting": "Int64", "generalization": "Int64"})
    return table.assign(delay=table["generalization"] - table["overfitting"])


def _settled(steps: Int[np.ndarray, " t"], losses: Float[np.ndarray, " t"], tolerance: float) -> int | None:
    above = np.flatnonzero(~(losses <= tolerance))
    if not len(above):
        return int(steps[0])
    return int(steps[above[-1] + 1]) if above[-1] + 1 < len(steps) else None
