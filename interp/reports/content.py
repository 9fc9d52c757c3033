"""What the page of a run shows: its curves, and at each checkpoint what its plots are drawn from."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from interp.animations import shown_frequencies, thinned
from interp.computing import computing
from interp.console import progress_bar
from interp.drawing import Shown
from interp.errors import CheckpointError, ConfigError
from interp.events import Phases, read_phases, records
from interp.fourier import by_frequency, fourier_basis, frequency_rows
from interp.graduations import graduation
from interp.keys import KeyCheckpoint, key_checkpoint
from interp.measures.embedding import circle_directions, embedding_norms, on_circle, unembedding_norms
from interp.measures.logits import kept, table
from interp.measures.losses import cross_entropies, right
from interp.measures.neurons import neuron_frequencies, purity, representatives, shares_of
from interp.measures.subject import Missing, Subject
from interp.measures.weights import principal_components
from interp.networks.base import ByNumber, Network
from interp.progress import threads_for
from interp.reports.packing import Packed, as_bytes, exact, whole_numbers
from interp.reports.words import what_happened
from interp.run import ForeignNetwork, Run
from interp.subjects import subject_of
from interp.trajectories import Arrays, each_checkpoint

MOST_STEPS = 200  # positions of the slider
MOST_MAPS = 40  # checkpoints of which maps are kept
_MOST_ROWS = 2_000  # of the history
_NEURONS = 6
_LEAST_LOSS = 1e-9  # nats; colours are of the logarithm

Step = dict[str, np.ndarray]
CURVES = (
    "train_loss", "test_loss", "train_accuracy", "test_accuracy", "restricted_loss", "excluded_loss",
    "embedding_gini", "unembedding_gini", "sum_squared_weights",
)  # fmt: skip


class RunContent:
    """The content of a run's page. What was computed of a checkpoint is kept, so a run that grows costs what is new."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self._steps: dict[int, Step] = {}
        self._chosen: tuple[Any, ...] | None = None  # what the kept steps depend on

    @computing()
    def content(self, progress: bool = True) -> dict[str, Any]:
        """Return what `packing.page` writes; CheckpointError where no checkpoint can be read."""
        run = self.run
        frames = records(run, progress)
        measured = frames[-1]
        found = read_phases(frames)
        readable = [step for step in run.steps if step in set(measured["step"])]
        if not readable:
            raise CheckpointError(f"{run.path} has no checkpoint that can be read.")
        steps = thinned(readable, MOST_STEPS)
        with_maps = thinned(steps, MOST_MAPS)
        key = None if run.task.why_no_fourier else key_checkpoint(run)
        parts = _Parts(run, key, readable[-1])
        if self._chosen != parts.chosen:
            self._steps, self._chosen = {}, parts.chosen
        todo = [step for step in steps if not self._has(step, step in with_maps)]
        workers = threads_for(run.architecture, run.task.p, None)
        torch.set_num_threads(workers)

        @computing()
        def compute(step: int) -> None:
            self._steps[step] = parts.of(step, step in with_maps)

        with progress_bar("report", "checkpoints", len(steps), len(steps) - len(todo), progress) as bar:
            foreign = isinstance(run.architecture, ForeignNetwork)  # it may not be ready for two threads at a time
            each_checkpoint(compute, todo, 1 if foreign else workers, bar, len(steps))
        each = [self._steps[step] for step in steps]
        maps = [self._steps[step] for step in with_maps]
        shown = Shown(run=run)
        return {
            "kind": "run",
            "name": str(run.path),
            "about": shown.about("run"),
            "network": str(run.architecture),
            "p": run.task.p,
            **what_happened(run, found, measured, key, readable),
            "steps": steps,
            "checkpoints": len(run.steps),
            "of_map": [int(np.searchsorted(with_maps, step, side="right")) - 1 for step in steps],
            "map_steps": with_maps,
            "curves": _curves(frames),
            "phases": [list(span) for span in found.spans()],
            "events": _events(found),
            "cos_coefficients": _of_frequencies(measured, steps, "cos_coefficient_"),
            "arrays": _over_training(shown, found, maps, with_maps) | parts.packed(each, maps),
            **parts.about,
            "missing": parts.missing,
        }

    def _has(self, step: int, with_maps: bool) -> bool:
        return step in self._steps and (not with_maps or "losses" in self._steps[step])


class _Parts:
    """What each checkpoint gives, and how it is packed. `missing` has the reason of each part that is not there."""

    def __init__(self, run: Run, key: KeyCheckpoint | None, last: int) -> None:
        self.run = run
        self.missing: dict[str, str] = {}
        self.about: dict[str, Any] = {}
        final = subject_of(run.at(last if key is None else key.step))
        self.labels = run.task.labels
        self.keys: list[int] = []
        self.directions: list[Tensor] = []
        self.neurons: list[int] = []
        if embedding := self._try("circles", lambda: final.W_E):
            self.keys, notes, _ = shown_frequencies(embedding[0], key)
            self.directions = [circle_directions(embedding[0], k) for k in self.keys]
            self.about["circle_notes"] = notes
        if run.task.why_no_fourier:
            self.missing["circles"] = self.missing["waves"] = run.task.why_no_fourier
            self.keys, self.directions = [], []
        if neurons := self._try("neurons", lambda: _chosen_neurons(final)):
            self.neurons = neurons[0]
        self.form = self._form(last)
        heads = self._try("attention", lambda: final.pattern.shape[2])
        self.about |= {
            "frequencies": self.keys, "neurons": self.neurons, "heads": heads[0] if heads else 0,
            "sign": {"add": 1, "subtract": -1}.get(run.task.operation, 0),
            "train": [] if run.train_mask is None else run.train_mask.flatten().int().tolist(),
            "circle_step": final.step,
        }  # fmt: skip
        if self.form is not None:
            self.about |= {
                "activation": self.form.activation, "attention_coefficient": self.form.attention_coefficient,
            }  # fmt: skip
        self.chosen = (tuple(self.keys), tuple(self.neurons), final.step)

    def _try(self, name: str, get: Callable[[], Any]) -> list[Any]:
        """Return what is got as a list of one; an empty list where it is missing, with its reason."""
        try:
            return [get()]
        except Missing as why:
            self.missing[name] = str(why)
            return []

    def _form(self, step: int) -> ByNumber | None:
        network = self.run.architecture
        if not isinstance(network, Network) or not self.neurons:
            return None
        return network.by_number(self.run.at(step).weights, self.run.task.p)

    def of(self, step: int, with_maps: bool) -> Step:
        """Return the arrays of one checkpoint."""
        checkpoint = self.run.at(step)
        subject = subject_of(checkpoint)
        found: Step = {}

        def add(name: str, get: Callable[[], Any], part: str | None = None) -> None:
            if (part or name) in self.missing:
                return
            for value in self._try(part or name, get):
                found[name] = np.asarray(value)

        if not self.run.task.why_no_fourier:
            add("embedding_norms", lambda: by_frequency(embedding_norms(subject)))
            add("unembedding_norms", lambda: by_frequency(unembedding_norms(subject)))
        if self.directions:
            add("circles", lambda: torch.stack([on_circle(subject.W_E, one) for one in self.directions]))
        if not with_maps:
            return found
        add("losses", lambda: cross_entropies(subject).clamp(min=_LEAST_LOSS).log10())
        add("answered", lambda: right(subject))
        if not self.run.task.why_no_fourier:
            add("waves", lambda: _waves(subject, self.keys))
            add("by_sum", lambda: _centred(table(subject)), "waves")
            add("rest", lambda: _rest(subject, self.keys), "waves")
        add("neuron_frequencies", lambda: neuron_frequencies(shares_of(subject)), "neurons")
        add("neuron_shares", lambda: purity(shares_of(subject)), "neurons")
        if self.form is not None:
            found |= _by_number(self.run.architecture, checkpoint.weights, self.run.task.p, self.neurons)
        else:
            add("attention", lambda: subject.pattern[..., 0].permute(2, 0, 1))
            add("neurons", lambda: subject.neurons[..., self.neurons].permute(2, 0, 1))
        return found

    def packed(self, each: Sequence[Step], maps: Sequence[Step]) -> dict[str, Packed]:
        """Return the arrays of all checkpoints, packed; a part that one checkpoint lacks is NaN there."""
        names = dict.fromkeys(name for step in (*each, *maps) for name in step)
        packed = {}
        for name in names:
            if name == "answered":
                continue
            stacked = _stack(name, each if name in _OF_EACH_STEP else maps)
            if name == "neuron_frequencies":
                packed[name] = whole_numbers(stacked)
            elif name in _AS_BYTES:
                flat = stacked.reshape(-1, *stacked.shape[-2:])
                one = as_bytes(flat)
                packed[name] = Packed(one.numbers.reshape(stacked.shape), one.low, one.high)
            else:
                packed[name] = exact(stacked)
        return packed


_OF_EACH_STEP = {"embedding_norms", "unembedding_norms", "circles"}
_AS_BYTES = {"losses", "by_sum", "rest", "attention", "neurons"}


def _stack(name: str, steps: Sequence[Step]) -> np.ndarray:
    there = next(step[name] for step in steps if name in step)
    none = np.full(there.shape, np.nan if there.dtype.kind == "f" else 0)
    return np.stack([step.get(name, none) for step in steps])


def _chosen_neurons(subject: Subject) -> list[int]:
    """Return the purest neuron of each of the largest groups and the least pure one, else those that vary most."""
    if subject.task.why_no_fourier:
        raise Missing(subject.task.why_no_fourier)
    shares = shares_of(subject)
    chosen = representatives(shares, subject.neurons.amax((0, 1)) > 0, _NEURONS - 1).tolist()
    if not chosen:
        spread = subject.neurons.flatten(0, 1).double().var(0)
        chosen = sorted(spread.argsort(descending=True, stable=True)[:_NEURONS].tolist())
    return chosen


def _centred(logits: Float[Tensor, "s c"]) -> Float[Tensor, "s c"]:
    return logits - logits.mean(-1, keepdim=True)


def _waves(subject: Subject, frequencies: Sequence[int]) -> Float[Tensor, "k 2 c"]:
    """Return A and B of each frequency: the logits of the label s, centred, hold A[c] cos w_k s + B[c] sin w_k s."""
    p, of_label = subject.task.p, _centred(table(subject))
    found = of_label.new_zeros(len(frequencies), 2, p)
    for at, k in enumerate(frequencies):
        rows = fourier_basis(p)[frequency_rows(p, k)]  # a cosine, and a sine but for k = p/2
        found[at, : len(rows)] = rows @ of_label * rows[0, 0]
    return found


def _rest(subject: Subject, frequencies: Sequence[int]) -> Float[Tensor, "p p"]:
    """Return of each pair the root mean square over c of its logits less the waves of its label, both centred."""
    waves = kept(_centred(table(subject)), frequencies)
    rest = subject.logits.double() - waves[subject.task.labels]
    return (rest - rest.mean(-1, keepdim=True)).square().mean(-1).sqrt()


def _by_number(network: Any, weights: Mapping[str, Tensor], p: int, neurons: Sequence[int]) -> Step:
    form = network.by_number(weights, p)
    found = {"values": form.values[..., neurons].numpy(), "constant": form.constant[neurons].numpy()}
    return found if form.scores is None else found | {"scores": form.scores.numpy()}


# ── over the whole training ──────────────────────────────────────────────────────────────────────────────────────


def _curves(frames: Sequence[pd.DataFrame]) -> dict[str, Any]:
    """Return the columns of the history and of the trajectory that are drawn, each with its steps."""
    measured = frames[-1]
    history = frames[0]
    rows = thinned(range(len(history)), _MOST_ROWS)
    return {
        "recorded": _columns(history.iloc[rows], CURVES[:4]), "rows": len(history),
        "measured": _columns(measured, CURVES),
    }  # fmt: skip


def _columns(frame: pd.DataFrame, names: Sequence[str]) -> dict[str, Any]:
    frame = frame[frame["step"].notna()]
    there = [name for name in names if name in frame and frame[name].notna().any()]
    return {"step": frame["step"].astype(int).tolist(), **{name: frame[name].astype(float).tolist() for name in there}}


def _of_frequencies(frame: pd.DataFrame, steps: Sequence[int], prefix: str) -> list[list[float]] | None:
    columns = [name for name in frame if str(name).startswith(prefix)]
    rows = frame.set_index("step").loc[list(steps), columns]
    return None if not columns or rows.isna().all(axis=None) else rows.astype(float).to_numpy().tolist()


def _events(found: Phases) -> dict[str, Any]:
    return {name: list(interval) for name, interval in found.intervals.items()}


def _over_training(shown: Shown, found: Phases, maps: Sequence[Step], steps: Sequence[int]) -> dict[str, Packed]:
    packed: dict[str, Packed] = {}
    try:
        at, products = shown.weight_products
        path, shares = principal_components(torch.stack(list(products.values())).sum(0))
        packed |= {"path": exact(path), "path_shares": exact(shares), "path_steps": exact(at)}
    except (Missing, ConfigError):
        pass
    if all("answered" in one for one in maps):
        frame = pd.DataFrame({"step": list(steps)})
        mask = shown.run.train_mask
        arrays = {"answered": np.stack([one["answered"] for one in maps])}
        frame.attrs["arrays"] = Arrays(np.array(steps), None if mask is None else mask.numpy(), arrays)
        packed["graduated"] = exact(graduation(frame).steps)
    return packed
