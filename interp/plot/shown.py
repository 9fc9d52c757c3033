"""Shown: the data that figures draw of a run, a model, a log or a sweep, each fetched once when first needed."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Int
from torch import Tensor

from interp.measures.weights import inner_products
from interp.networks.measurable import Measurable
from interp.runs.run import Checkpoint, Run
from interp.study.doubts import run_doubts, warn_of
from interp.study.graduation import Graduation, graduation
from interp.study.landscapes import losses_around
from interp.study.phase_table import Phases
from interp.study.phases import phases
from interp.study.progress import progress_measures
from interp.study.progress_table import ProgressMeasures
from interp.study.sources import opened
from interp.study.trajectory import trajectory
from interp.subjects.model import Model
from interp.subjects.subject import Missing, Subject
from interp.sweeps.table import Sweep, one_sweep, varied
from interp.utils.errors import CheckpointError, warn

_FURTHER = (
    "explained_accuracy", "softmax_collapse", "naive_loss_minimization", "translation_share", "effective_rank",
    "phase_alignment",
)  # fmt: skip


class Shown:
    """The source of figures; each part is fetched once, when a figure first needs it.

    A part that this source lacks raises ConfigError or Missing with the reason. A pair graduates at the step from which
    on it is answered right.

    Attributes:
        run, history, trajectory, phases: Of a run; `over_training` gives further measures over training.
        graduation, further, weight_products: Of a run.
        model, subject, measures: Of a model, that is, one checkpoint, or the last of a run (`interp.Subject`).
        losses_around: The losses near the weights of a model, if it is a checkpoint.
        table, varied: Of a sweep.
    """

    def __init__(
        self, run: Run | None = None, model: Checkpoint | Model | None = None, log: pd.DataFrame | None = None,
        sweep: Sweep | None = None, whole: bool = True,
    ) -> None:  # fmt: skip
        """Show a run, a model, a log or a sweep; `whole` false shows one model of a run without the run."""
        self._run, self._model, self._log, self._sweep, self._whole = run, model, log, sweep, whole

    @property
    def origin(self) -> Any:
        """The sweep, log, model or run that it was opened from."""
        there = [self._sweep, self._log, None if "run" in self.kinds else self._model, self._run]
        return next(one for one in there if one is not None)

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of figures that can be drawn of it."""
        if self._sweep is not None:
            return ("sweep",)
        if self._log is not None:
            return ("run",)
        return ("run", "model") if self._whole else ("model",)

    def doubts_of_source(self) -> tuple[str, ...]:
        """Return doubts about the task and split of its run or model, and warn of those that are new.

        A network that diverged has none.
        """
        with contextlib.suppress(CheckpointError):
            if self.kinds == ("model",):
                return progress_measures(self.model, measures=["loss"]).doubts
            if "model" in self.kinds:
                doubts = run_doubts(self.run)
                warn_of(doubts[len(self.run.doubts) :], self.run.path)
                return doubts
        return ()

    @property
    def run(self) -> Run:
        if self._log is not None:
            raise Missing("it needs checkpoints, and a log of losses has none")
        if self._run is None:
            raise Missing("it needs a run over its training, and this is a single model; give a Run")
        return self._run

    @cached_property
    def history(self) -> pd.DataFrame:
        return self.run.history if self._log is None else self._log

    @cached_property
    def trajectory(self) -> pd.DataFrame:
        return trajectory(self.run)

    @cached_property
    def phases(self) -> Phases:
        return phases(self.run if self._log is None else self._log)

    def over_training(self, *measures: str, arrays: Sequence[str] = ()) -> pd.DataFrame:
        return trajectory(self.run, measures=measures, arrays=arrays)

    @cached_property
    def graduation(self) -> Graduation:
        """The step from which on each pair is answered right."""
        return graduation(self.over_training(arrays=["answered"]))

    @cached_property
    def further(self) -> pd.DataFrame:
        """The measures that are computed on request, with the share of test pairs that have graduated."""
        frame = self.over_training("test_accuracy", *_FURTHER)
        frame["graduated"] = self.graduation.graduated(frame["step"].to_numpy())
        return frame

    @cached_property
    def weight_products(self) -> tuple[Int[np.ndarray, " checkpoint"], dict[str, Tensor]]:
        """The steps of a run, and the `measures.weights.inner_products` of its checkpoints."""
        states: dict[int, dict[str, Tensor]] = {}
        for step in self.run.steps:
            try:
                weights = self.run.at(step).weights
            except CheckpointError as error:
                warn(f"left out: {error}")
                continue
            states[step] = {name: weight for name, weight in weights.items() if weight.is_floating_point()}
            if not all(bool(weight.isfinite().all()) for weight in states[step].values()):
                raise Missing(f"the weights of step {step:,} are not finite")
        if len(states) < 3:
            raise Missing(f"a path needs three checkpoints; the run has {len(states)}")
        return np.array(list(states)), inner_products(states.values())

    @cached_property
    def model(self) -> Checkpoint | Model:
        return self.run.last_readable(warned=True) if self._model is None else self._model

    @cached_property
    def losses_around(self) -> pd.DataFrame:
        """The losses along random directions through the weights of the model."""
        if not isinstance(self.model, Checkpoint):
            raise Missing("it needs weights that can be changed; give a checkpoint, or a run of states")
        return losses_around(self.model)

    @cached_property
    def subject(self) -> Subject:
        return self.model.subject()

    @cached_property
    def measures(self) -> ProgressMeasures:
        return progress_measures(self.model)

    @property
    def key_frequencies(self) -> tuple[int, ...]:
        """The measured key frequencies; raises Missing with the reason if they are not known."""
        return self.measured("key_frequencies")

    def measured(self, name: str) -> Any:
        """Return a measure of the model, or raise Missing with its reason."""
        if self.measures[name] is None:
            raise Missing(self.measures.missing.get(name, f"{name} is unknown"))
        return self.measures[name]

    @property
    def doubts(self) -> tuple[str, ...]:
        return self.measures.doubts

    @property
    def table(self) -> pd.DataFrame:
        assert self._sweep is not None
        return self._sweep.table

    @cached_property
    def varied(self) -> list[str]:
        """The settings that the sweep varied and that are numbers, without seeds."""
        columns = {name: self.table[name].dropna() for name in varied(self.table) if not name.endswith("seed")}
        return [name for name, one in columns.items() if one.map(lambda value: isinstance(value, int | float)).all()]

    def varied_at(self, index: int) -> str:
        """Return one of the `varied` settings; raise Missing if there are fewer."""
        if index >= len(self.varied):
            many = "two settings" if index else "a setting"
            raise Missing(f"it needs {many} that the sweep varied and that are numbers; it varied {len(self.varied)}")
        return self.varied[index]

    def about(self, of: str) -> str:
        """Return the source in one line: task, p, network, seed, split, and the step of a model."""
        if self._sweep is not None:
            return f"{len(self.table)} runs"
        if self._log is not None:
            return ""
        source: Run | Checkpoint | Model = self.run if of == "run" else self.model
        said = [f"{source.task.formula} mod {source.task.p}", *_network(source), *_split(source, self._run)]
        step = source.step if isinstance(source, Checkpoint) else None
        return ", ".join([*said, *([] if step is None else [f"step {step:,}"])])


def _network(source: Run | Checkpoint | Model) -> list[str]:
    """Return the name of a network, but for the default one."""
    if isinstance(source, Model):
        network: Measurable = source
    else:
        network = source.architecture if isinstance(source, Run) else source.config
    if not network.is_own:
        return ["a network from elsewhere"]
    return [] if network.name == "transformer" else [network.name.replace("_", " ")]


def _split(source: Run | Checkpoint | Model, run: Run | None) -> list[str]:
    config = None if run is None else run.config
    seed = [] if config is None else [f"seed {config.seed}"]
    mask = source.train_mask
    if mask is None:
        return [*seed, "split unknown"]
    drawn = ""
    if config is not None:
        drawn = f"{config.split}'s split" if isinstance(config.split, str) else "a split of its own"
        drawn = f" ({drawn}{'' if config.split_seed is None else f' of seed {config.split_seed}'})"
    return [*seed, f"{int(mask.sum()):,} of {mask.numel():,} pairs trained on{drawn}"]


def shown(source: Any, of: str = "run", name: str = "this figure") -> Shown:
    """Open a Run, Checkpoint, interp.Model, Sweep, or the path of one; ConfigError for anything else."""
    if isinstance(source, Shown):
        return source
    if of == "sweep":
        return Shown(sweep=one_sweep(source, name, "a Sweep, the path of one, or its table"))
    found = opened(source, name, of)
    return Shown(found.run, found.model, found.log)
