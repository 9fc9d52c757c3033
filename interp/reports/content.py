"""The content of the page of a run: its curves, and the arrays of its plots at each checkpoint."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from interp.measures.embedding import circle_directions, embedding_norms, on_circle, unembedding_norms
from interp.measures.logits import KEY_SHARE, kept, table
from interp.measures.losses import cross_entropies, right
from interp.measures.neurons import neuron_frequencies, purity, representatives, shares_of
from interp.measures.weights import principal_components
from interp.networks.taps import ByNumber
from interp.plot.shown import Shown
from interp.reports.animations import shown_frequencies, thinned
from interp.reports.packing import Packed, as_bytes, doubles, exact, whole_numbers
from interp.reports.words import doubts_of_page, settings_in_words, summary_of, words_of
from interp.runs.run import Run
from interp.study.graduation import graduation
from interp.study.key_checkpoint import KeyCheckpoint, key_checkpoint
from interp.study.phase_rules import read_phases
from interp.study.phases import records
from interp.study.run_subjects import each_checkpoint
from interp.study.sources import threads_for
from interp.study.trajectory import Arrays
from interp.subjects.subject import Missing, Subject
from interp.tasks.fourier import by_frequency, fourier_basis, frequency_rows
from interp.utils.console import progress_bar
from interp.utils.errors import CheckpointError, ConfigError
from interp.utils.files import printable
from interp.utils.threads import keeping_threads
from interp.utils.torch_state import computing

MOST_STEPS = 200  # positions of the slider
MOST_MAPS = 40  # checkpoints with maps
_MOST_ROWS = 2_000  # of the history
_NEURONS = 6
_LEAST_LOSS = 1e-9  # nats; colours are of the logarithm

Step = dict[str, np.ndarray]
CURVES = (
    "train_loss", "test_loss", "train_accuracy", "test_accuracy", "restricted_loss", "excluded_loss",
    "embedding_gini", "unembedding_gini", "sum_squared_weights",
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Curves:
    """The columns of the history, thinned if it is long, and of the trajectory, each with its steps."""

    recorded: dict[str, Sequence[float]]
    rows: int  # of the whole history
    measured: dict[str, Sequence[float]]


@dataclass(frozen=True, eq=False)
class Content:
    """The content of the page of a run; the script of the page reads the fields by their names (page/run.js).

    A position is one of the slider's, which has `steps`; only the checkpoints of `map_steps` have maps.
    """

    title: str
    about: str  # task, network, seed and split
    network: str  # its sizes, and how it was trained
    words: list[tuple[str, str]]  # each with its meaning
    p: int
    summary: list[str]
    doubts: list[str]  # and omissions
    doubts_of_task: list[str]  # those of task and split, which are among `doubts`
    steps: list[int]
    checkpoints: int  # those that can be read
    of_map: list[int]  # the last map up to each position
    map_steps: list[int]
    curves: Curves
    phases: list[list[str | int]]  # name, first and last step
    cos_coefficients: list[list[float]] | None  # by position and frequency
    arrays: dict[str, Packed]
    keys: list[int]  # the key frequencies, at `key_step`
    circles: list[int]  # the frequencies whose circles are shown
    circle_notes: list[str]
    neurons: list[int]
    heads: int
    sign: int  # of b in the task; 0 where the label is no function of a ± b
    key_step: int
    train: list[int]  # 1 for a train pair; empty if the split is unknown
    form: ByNumber | None  # of a network whose neurons the page computes
    missing: dict[str, str]  # part → why it is missing

    def data(self) -> dict[str, Any]:
        """Return the data of the page for `packing.page`, under the names that its script reads."""
        found = {"kind": "run", **vars(self), "curves": vars(self.curves)}
        form = found.pop("form")
        if form is not None:
            found |= {"activation": form.activation, "attention_coefficient": form.attention_coefficient}
        return found


@computing()
@keeping_threads
def content_of(run: Run, progress: bool = True) -> Content:
    """Return the content of the page of a run; CheckpointError if no checkpoint can be read."""
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
    computed: dict[int, Step] = {}
    workers = threads_for(run.architecture, run.task.p, None)
    torch.set_num_threads(workers)

    @computing()
    def compute(step: int) -> None:
        computed[step] = parts.of(step, step in with_maps)

    with progress_bar("report", "checkpoints", len(steps), show=progress) as bar:
        each_checkpoint(compute, steps, workers if run.architecture.is_own else 1, bar, len(steps))
    each, maps = [computed[step] for step in steps], [computed[step] for step in with_maps]
    shown = Shown(run=run)
    of_task = list(measured.attrs.get("doubts", ()))
    doubts = doubts_of_page(run, found, of_task, key, readable)
    if len(steps) < len(readable):
        doubts.append(f"The slider has {len(steps)} of the {len(readable)} checkpoints.")
    return Content(
        title=printable(Path(run.path).name or run.path), about=shown.about("run"), network=settings_in_words(run),
        words=words_of(run, found), p=run.task.p, summary=summary_of(run, found, measured, key), doubts=doubts,
        doubts_of_task=of_task, steps=steps, checkpoints=len(readable),
        of_map=[int(np.searchsorted(with_maps, step, side="right")) - 1 for step in steps],
        map_steps=with_maps, curves=_curves(frames), phases=[list(span) for span in found.spans()],
        cos_coefficients=_of_frequencies(measured, steps, "cos_coefficient_"),
        arrays=_over_training(shown, each, steps) | parts.packed(each, maps),
        keys=parts.keys, circles=parts.circles, circle_notes=parts.circle_notes, neurons=parts.neurons,
        heads=parts.heads, sign=run.task.sign or 0, key_step=parts.key_step,
        train=[] if run.train_mask is None else run.train_mask.flatten().int().tolist(),
        form=parts.form, missing=parts.missing,
    )  # fmt: skip


class _Parts:
    """Computes and packs the arrays of each checkpoint. `missing` has the reason for each missing part.

    A part that the last checkpoint lacks is missing; a part that another one lacks is NaN there.
    """

    def __init__(self, run: Run, key: KeyCheckpoint | None, last: int) -> None:
        self.run = run
        self.missing: dict[str, str] = {}
        self.key_step = last if key is None else key.step
        final = run.at(self.key_step).subject()
        self.keys = [] if key is None else list(key.frequencies(KEY_SHARE))
        self.directions: list[Tensor] = []
        self.circles: list[int] = []
        self.circle_notes: list[str] = []
        if run.task.why_no_fourier:
            self.missing = dict.fromkeys(("circles", "waves", *_NORMS), run.task.why_no_fourier)
        else:
            for embedding in self._try("circles", lambda: final.W_E):
                self.circles, self.circle_notes, _ = shown_frequencies(embedding, key)
                self.directions = [circle_directions(embedding, k) for k in self.circles]
            for name, norms in _NORMS.items():
                self._try(name, partial(norms, final))
        self.neurons: list[int] = next(iter(self._try("neurons", lambda: _chosen_neurons(final))), [])
        self.heads: int = next(iter(self._try("attention", lambda: final.pattern.shape[2])), 0)
        network = run.architecture
        self.form = network.by_number(run.at(last).weights, run.task.p)

    def _try(self, name: str, get: Callable[[], Any]) -> list[Any]:
        """Return a list of the part, or an empty list if it is Missing, and keep the reason."""
        try:
            return [get()]
        except Missing as why:
            self.missing[name] = str(why)
            return []

    def of(self, step: int, with_maps: bool) -> Step:
        checkpoint = self.run.at(step)
        subject = checkpoint.subject()
        found: Step = {}

        def add(name: str, get: Callable[[], Any], part: str | None = None) -> None:
            if (part or name) not in self.missing:
                with contextlib.suppress(Missing):
                    found[name] = np.asarray(get())

        for name, norms in _NORMS.items():
            add(name, partial(_by_frequency, norms, subject))
        if self.directions:
            add("circles", lambda: torch.stack([on_circle(subject.W_E, one) for one in self.directions]))
        add("answered", lambda: right(subject))
        if not with_maps:
            return found
        add("losses", lambda: cross_entropies(subject).clamp(min=_LEAST_LOSS).log10())
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


_NORMS = {"embedding_norms": embedding_norms, "unembedding_norms": unembedding_norms}
_OF_EACH_STEP = {*_NORMS, "circles", "answered"}
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
    """Return A and B of each frequency, where the centred logits of label s contain A[c] cos w_k s + B[c] sin w_k s."""
    p, of_label = subject.task.p, _centred(table(subject))
    found = of_label.new_zeros(len(frequencies), 2, p)
    for at, k in enumerate(frequencies):
        rows = fourier_basis(p)[frequency_rows(p, k)]  # a cosine, and a sine but for k = p/2
        found[at, : len(rows)] = rows @ of_label * rows[0, 0]
    return found


def _rest(subject: Subject, frequencies: Sequence[int]) -> Float[Tensor, "p p"]:
    """Return for each pair the root mean square over c of its logits less the waves of its label, both centred."""
    waves = kept(_centred(table(subject)), frequencies)
    rest = subject.logits.double() - waves[subject.task.labels]
    return (rest - rest.mean(-1, keepdim=True)).square().mean(-1).sqrt()


def _by_frequency(norms: Callable[[Subject], Tensor], subject: Subject) -> Float[Tensor, " n_frequencies"]:
    return by_frequency(norms(subject))


def _by_number(network: Any, weights: Mapping[str, Tensor], p: int, neurons: Sequence[int]) -> Step:
    form = network.by_number(weights, p)
    found = {"values": form.values[..., neurons].numpy(), "constant": form.constant[neurons].numpy()}
    return found if form.scores is None else found | {"scores": form.scores.numpy()}


# ── over the whole training ──────────────────────────────────────────────────────────────────────────────────────


def _curves(frames: Sequence[pd.DataFrame]) -> Curves:
    history, measured = frames[0], frames[-1]
    rows = thinned(range(len(history)), _MOST_ROWS)
    return Curves(_columns(history.iloc[rows], CURVES[:4]), len(history), _columns(measured, CURVES))


def _columns(frame: pd.DataFrame, names: Sequence[str]) -> dict[str, Sequence[float]]:
    frame = frame[frame["step"].notna()]
    there = [name for name in names if name in frame and frame[name].notna().any()]
    return {"step": frame["step"].astype(int).tolist(), **{name: frame[name].astype(float).tolist() for name in there}}


def _of_frequencies(frame: pd.DataFrame, steps: Sequence[int], prefix: str) -> list[list[float]] | None:
    columns = [name for name in frame if str(name).startswith(prefix)]
    rows = frame.set_index("step").loc[list(steps), columns]
    return None if not columns or rows.isna().all(axis=None) else rows.astype(float).to_numpy().tolist()


def _over_training(shown: Shown, each: Sequence[Step], steps: Sequence[int]) -> dict[str, Packed]:
    packed: dict[str, Packed] = {}
    with contextlib.suppress(Missing, ConfigError):
        at, products = shown.weight_products
        path, shares = principal_components(torch.stack(list(products.values())).sum(0))
        packed |= {"path": exact(path), "path_shares": exact(shares), "path_steps": doubles(at)}
    if all("answered" in one for one in each):
        frame = pd.DataFrame({"step": list(steps)})
        mask = shown.run.train_mask
        arrays = {"answered": np.stack([one["answered"] for one in each])}
        frame.attrs["arrays"] = Arrays(np.array(steps), None if mask is None else mask.numpy(), arrays)
        packed["graduated"] = doubles(graduation(frame).steps)
    return packed
