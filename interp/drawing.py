"""What is drawn: a run or a model, whose data are fetched as figures need them; and all its figures in a folder."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from interp.arguments import given
from interp.callables import Model
from interp.console import progress_bar
from interp.doubts import key_doubt
from interp.errors import CheckpointError, ConfigError
from interp.events import Phases, phases
from interp.graduations import graduation
from interp.logs import is_log, read_log
from interp.measures.subject import Missing, Subject
from interp.plot.declared import FIGURES, Figure
from interp.plot.saving import gallery, save
from interp.progress import ProgressMeasures, last_checkpoint, progress_measures
from interp.published import load_run
from interp.run import Checkpoint, ForeignNetwork, PathLike, Run
from interp.subjects import subject_of
from interp.sweeps.table import Sweep, load_sweep
from interp.task import Task
from interp.trajectories import trajectory

_FURTHER = (
    "explained_accuracy", "softmax_collapse", "naive_loss_minimization", "translation_share", "effective_rank",
    "phase_alignment",
)  # fmt: skip

Source = Run | Checkpoint | Model | Sweep | PathLike


class Shown:
    """What figures are drawn from; each part is fetched when a figure first asks for it, once.

    run, history, trajectory, phases   of a run; `over_training` gives further measures over training
    subject, measures                  of a model: one checkpoint, or the last of a run (`interp.Subject`)
    table                              of a sweep
    What is not there raises ConfigError or Missing with the reason.
    """

    def __init__(
        self,
        run: Run | None = None,
        model: Checkpoint | Model | None = None,
        log: pd.DataFrame | None = None,
        sweep: Sweep | None = None,
    ) -> None:
        self._run, self._model, self._log, self._sweep = run, model, log, sweep

    @property
    def run(self) -> Run:
        if self._run is None:
            raise Missing("it is drawn over training, and this is a single model; give it a Run")
        return self._run

    @cached_property
    def history(self) -> pd.DataFrame:
        return self.run.history if self._log is None else self._log

    @cached_property
    def trajectory(self) -> pd.DataFrame:
        if self._log is not None:
            raise Missing("it needs checkpoints, and a log of losses has none")
        return trajectory(self.run)

    @cached_property
    def phases(self) -> Phases:
        return phases(self.run if self._log is None else self._log)

    def over_training(self, *measures: str, arrays: Sequence[str] = ()) -> pd.DataFrame:
        """Return a trajectory of these measures and arrays."""
        return trajectory(self.run, measures=measures, arrays=arrays)

    @cached_property
    def further(self) -> pd.DataFrame:
        """The measures that are computed on request, with the share of test pairs that have graduated."""
        frame = self.over_training("test_accuracy", *_FURTHER, arrays=["answered"])
        frame["graduated"] = graduation(frame).graduated(frame["step"].to_numpy())
        return frame

    @cached_property
    def model(self) -> Checkpoint | Model:
        if self._log is not None:
            raise Missing("it needs a model, and a log of losses has none")
        return self.run[-1] if self._model is None else self._model

    @cached_property
    def subject(self) -> Subject:
        return self.model.subject({}) if isinstance(self.model, Model) else subject_of(self.model)

    @cached_property
    def measures(self) -> ProgressMeasures:
        return progress_measures(self.model)

    @property
    def key_frequencies(self) -> tuple[int, ...]:
        """The key frequencies that the measures have; Missing with their reason where there are none to be had."""
        return self.measured("key_frequencies")

    def measured(self, name: str) -> Any:
        """Return a measure of the model, or raise Missing with its reason."""
        if self.measures[name] is None:
            raise Missing(self.measures.missing.get(name, f"{name} is unknown"))
        return self.measures[name]

    @cached_property
    def key_doubt(self) -> str | None:
        """Why the key frequencies say little: what is in doubt about them, or about this checkpoint of the run."""
        return self.measures.key_doubt or key_doubt(self.subject)

    @property
    def doubts(self) -> tuple[str, ...]:
        return self.measures.doubts

    @property
    def table(self) -> pd.DataFrame:
        assert self._sweep is not None
        return self._sweep.table

    def about(self, of: str) -> str:
        """Say in a line what is drawn: task, p, network, seed, split, and of a model its step."""
        if self._sweep is not None:
            return f"{len(self.table)} runs"
        if self._log is not None:
            return ""
        source: Run | Checkpoint | Model = self.run if of == "run" else self.model
        said = [_task(source.task), *_network(source), *_split(source, self._run)]
        step = source.step if isinstance(source, Checkpoint) else None
        return ", ".join([*said, *([] if step is None else [f"step {step:,}"])])


def _task(task: Task) -> str:
    formula = {"add": "a + b", "subtract": "a − b", "quadratic": "a² + ab + b²", "random": "random labels"}
    return f"{formula[task.operation]} mod {task.p}"


def _network(source: Run | Checkpoint | Model) -> list[str]:
    """Return the name of a network that is not the usual one."""
    network: Any = source
    if not isinstance(source, Model):
        network = source.architecture if isinstance(source, Run) else source.config
    if isinstance(network, ForeignNetwork | Model):
        return ["a model of its own"]
    return [] if network.name == "transformer" else [network.name.replace("_", " ")]


def _split(source: Run | Checkpoint | Model, run: Run | None) -> list[str]:
    config = None if run is None else run.config
    seed = [] if config is None else [f"seed {config.seed}"]
    mask = source.train_mask
    if mask is None:
        return [*seed, "split unknown"]
    drawn = f" ({config.split}'s split)" if config is not None and isinstance(config.split, str) else ""
    return [*seed, f"{int(mask.sum()):,} of {mask.numel():,} pairs trained on{drawn}"]


def shown(source: Any, of: str = "run", name: str = "this figure") -> Shown:
    """Open what is drawn: a Run, Checkpoint, interp.Model, Sweep, or the path of one; ConfigError for anything else."""
    if isinstance(source, Shown):
        return source
    if of == "sweep":
        source = load_sweep(source) if isinstance(source, str | os.PathLike) else source
        if isinstance(source, Sweep):
            return Shown(sweep=source)
        raise ConfigError(f"{name} takes a Sweep, the path of one, or its table; got {given(source)}.")
    if isinstance(source, str | os.PathLike):
        if of == "run" and is_log(source):
            return Shown(log=read_log(source))
        source = load_run(source) if of == "run" else last_checkpoint(source)
    if isinstance(source, Run):
        return Shown(run=source)
    if of == "run" and isinstance(source, Checkpoint | Model):
        raise ConfigError(f"{name} is drawn over a training; got {given(source)}. Give a Run, or the path of one.")
    if isinstance(source, Checkpoint | Model):
        return Shown(run=source.run if isinstance(source, Checkpoint) else None, model=source)
    raise ConfigError(f"{name} takes a Run, a Checkpoint, an interp.Model, a path, or its data; got {given(source)}.")


def figures(
    source: Source,
    folder: PathLike,
    names: Iterable[str] | None = None,
    formats: Sequence[str] = ("pdf", "png"),
    progress: bool = True,
) -> list[Path]:
    """Write the figures of a run, a model or a sweep into a folder, with an index.html that shows them with captions.

    source    a Run, a Checkpoint, an interp.Model, a Sweep, or a path: of a run, of a checkpoint, of a log of losses
    names     which figures, by default all that such a source can have (`interp.list_figures`)
    formats   beside HTML, where Chromium or Chrome is there

    Return the files written. A figure that cannot be drawn, such as of attention where a network has none, is left out;
    the index gives the reason. The pages share one plotly.min.js and need no network.
    Raises ConfigError for unknown names and sources, and CheckpointError where a file cannot be read.
    """
    of, kinds = _opened(source)
    chosen = _chosen(names, kinds)
    written: list[Path] = []
    with gallery(folder) as missing, progress_bar("draw", "figures", len(chosen), show=progress) as bar:
        for done, one in enumerate(chosen, 1):
            try:
                written += write_figure(one, of, folder, formats)
            except (ConfigError, Missing) as why:
                missing[one.name] = f"{one.title}: {str(why).removesuffix('.')}."
            if bar:
                bar.at(done, one.name)
    return [*written, Path(folder) / "index.html"]


def write_figure(one: Figure, of: Shown, folder: PathLike, formats: Sequence[str] = ("pdf", "png")) -> list[Path]:
    """Draw one declared figure and write it; ConfigError or Missing with the reason where it cannot be drawn."""
    return save(one.call(of), folder, one.name, formats)


def _opened(source: Any) -> tuple[Shown, tuple[str, ...]]:
    """Open a source, and return with it the kinds of figures that it can have."""
    if isinstance(source, str | os.PathLike):
        source = _at(Path(source) if "://" not in str(source) else source)
    if isinstance(source, Sweep):
        return shown(source, "sweep"), ("sweep",)
    if isinstance(source, pd.DataFrame):
        return Shown(log=source), ("run",)
    return (shown(source, "run"), ("run", "model")) if isinstance(source, Run) else (shown(source, "model"), ("model",))


def _at(path: PathLike) -> Run | Checkpoint | Sweep | pd.DataFrame:
    """Read what stands at a path: a sweep, a log, a run, or else a checkpoint."""
    if isinstance(path, Path) and (path / "sweep.json").exists():
        return load_sweep(path)
    if is_log(path):
        return read_log(path)
    if isinstance(path, Path) and path.is_dir():
        return load_run(path)
    try:
        return load_run(path)
    except CheckpointError:
        return last_checkpoint(path)


def _chosen(names: Iterable[str] | None, kinds: tuple[str, ...]) -> list[Figure]:
    drawable = {name: one for name, one in FIGURES.items() if one.of in kinds and (one.data or one.of == "sweep")}
    if names is None:
        return list(drawable.values())
    wanted = [names] if isinstance(names, str) else list(names)
    for name in wanted:
        if name not in FIGURES:
            near = get_close_matches(str(name), FIGURES, n=2)
            hint = f" Did you mean {' or '.join(near)}?" if near else ""
            raise ConfigError(f"There is no figure {name!r}.{hint} interp.list_figures() lists all.")
        if name not in drawable:
            raise ConfigError(f"The figure {name} is drawn of a {FIGURES[name].of}, and this is none.")
    return [drawable[name] for name in dict.fromkeys(wanted)]


def list_figures() -> pd.DataFrame:
    """Return all declared figures, interp's and yours: name, of (a run, a model, a sweep, a frame), title, caption."""
    names = ("name", "of", "title", "caption", "source")
    return pd.DataFrame([{name: getattr(one, name) for name in names} for one in FIGURES.values()], columns=names)
