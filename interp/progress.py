"""progress_measures(): every measure of one model; trajectory(): the same for every checkpoint of a run, as rows."""

from __future__ import annotations

import hashlib
import json
import math
import operator
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import Field, dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from interp.all_pairs import (
    Activations,
    InputGradients,
    activations,
    hooked_activations,
    hooked_input_gradients,
    input_gradients,
)
from interp.computing import computing
from interp.config import Architecture, MLPConfig
from interp.console import progress_bar
from interp.disk import open_regular
from interp.doubts import doubts_of, key_doubt
from interp.errors import CheckpointError, ConfigError, warn
from interp.forward import Activation, Pairs
from interp.keys import key_checkpoint
from interp.measures import attention, embedding, logits as logit_measures, losses, mechanism, neurons
from interp.measures.logits import KEY_SHARE, checked_share
from interp.measures.weights import alignment, sum_squared_weights
from interp.model import embedding as embedding_of, neuron_logit_map, plain
from interp.printed import Printed
from interp.published import last_checkpoint, load_run
from interp.run import SPLIT, Checkpoint, Origin, PathLike, Run, write_whole
from interp.task import SplitLike, Task, as_mask
from interp.threads import for_network, keeping_threads

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

    from interp.hooked_mlp import HookedMLP

MEASURES_VERSION = 4  # raise it when a definition changes: saved trajectories are then computed anew
MEASURES = "measures.parquet"


@dataclass(frozen=True, eq=False, repr=False)
class ProgressMeasures(Printed):
    """The progress measures of one model; losses in nats, over the p number tokens ("=" left out).

    A measure that cannot be computed, or is a ratio of two zeros, is None, and `missing` says why. Sources: Nanda et
    al. (2023) unless named. The losses of a run's history are over all outputs that it was trained on, which in
    interp's own runs are p + 1 ("=" counts), so they lie a little above these.

    loss, accuracy               over all p*p pairs
    train_loss, test_loss, train_accuracy, test_accuracy   over the pairs of the split
    restricted_loss              only the key frequencies of the logits kept, over all pairs, and restricted_accuracy;
                                 restricted_test_loss over test pairs
    excluded_loss                the key frequencies removed, over train pairs, and excluded_accuracy;
                                 excluded_loss_by_frequency one at a time
    key_frequencies              the k whose cos w_k(a+b−c) carries more than 1 % of the squared coefficients;
                                 key_step is the step of the checkpoint at which they do, None if the caller gave the
                                 frequencies or the step is unknown
    cos_coefficients [⌊p/2⌋]     of cos w_k(a+b−c), k = 1, 2, …
    embedding_norms [p]          of W_E along the rows of the Fourier basis (`interp.fourier`); embedding_gini
    unembedding_norms [p]        of W_L = W_out·W_U over outputs, likewise; unembedding_gini
    logit_variance_explained     fraction of the centred logits' variance in the key cos w_k(a+b−c)
    sum_squared_weights          over all parameters
    single_frequency_neurons     fraction of neurons of which one frequency explains more than 0.85
    attention_share              mean over heads, and over attention to a and to b, of the share of its variance over
                                 pairs that one frequency explains
    neuron_phase_agreement       mean of cos(φ_c − φ_a − φ_b) over single-frequency neurons: 1 where each votes for the
                                 sum that it detects
    neuron_projection_share      mean, over the key k, of how much of the neurons along u_k and v_k is a multiple of
                                 cos w_k(a+b) and sin w_k(a+b)
    neuron_logit_key_share       share of ‖W_L‖² along cos w_k c and sin w_k c of the key k
    gradient_symmetricity        mean cosine similarity of ∂L[a, b, c]/∂E_a and ∂L[a, b, c]/∂E_b, over c and all pairs
                                 (p ≤ 64), or a seeded sample of 100; Zhong et al. (2023)
    distance_irrelevance         how little the right logit depends on a − b, of its variation; Zhong et al. (2023)

    The last two are measured on request (`mechanism=True`), else None. Where b has tokens of its own, W_E is a's; in a
    network of one hidden layer it is W_x and W_y side by side, and W_L is W_U.

    `doubts` says, in sentences, why the measures may be of another task or split than the model's (`interp.doubts`);
    each is a UserWarning too. `key_doubt` says so where the key frequencies are those of a network that has not
    generalized, and so of no circuit that answers right. A table of all this begins with its doubts.
    """

    step: int | None
    loss: float
    accuracy: float
    train_loss: float | None
    test_loss: float | None
    train_accuracy: float | None
    test_accuracy: float | None
    restricted_loss: float | None
    restricted_accuracy: float | None
    restricted_test_loss: float | None
    excluded_loss: float | None
    excluded_accuracy: float | None
    excluded_loss_by_frequency: dict[int, float] | None
    key_frequencies: tuple[int, ...] | None
    cos_coefficients: Float[np.ndarray, " n_frequencies"] | None
    embedding_norms: Float[np.ndarray, " p"] | None
    embedding_gini: float | None
    unembedding_norms: Float[np.ndarray, " p"] | None
    unembedding_gini: float | None
    logit_variance_explained: float | None
    sum_squared_weights: float
    single_frequency_neurons: float | None
    attention_share: float | None
    neuron_phase_agreement: float | None
    neuron_projection_share: float | None
    neuron_logit_key_share: float | None
    gradient_symmetricity: float | None = None
    distance_irrelevance: float | None = None
    key_step: int | None = None
    missing: dict[str, str] = field(default_factory=dict)
    doubts: tuple[str, ...] = ()
    key_doubt: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers, lists and dicts, ready for JSON; `missing` included."""
        plain = {f.name: getattr(self, f.name) for f in fields(self)}
        return {
            name: value.tolist() if isinstance(value, np.ndarray) else dict(value) if isinstance(value, dict) else value
            for name, value in plain.items()
        }

    def _told(self) -> list[Field[Any]]:
        """The measures; those of the mechanism only where they were asked for."""
        unasked = [name for name in _MECHANISM if getattr(self, name) is None and name not in self.missing]
        beside = ("missing", "key_step", "doubts", "key_doubt", *unasked)
        return [f for f in fields(self) if f.name not in beside]

    def row(self) -> dict[str, float | int | None]:
        """The scalar measures, flat: one row of a trajectory."""
        coefficients = () if self.cos_coefficients is None else self.cos_coefficients
        return {
            **self.scalars(),
            **{f"excluded_loss_{k}": loss for k, loss in (self.excluded_loss_by_frequency or {}).items()},
            **{f"cos_coefficient_{k}": float(c) for k, c in enumerate(coefficients, 1)},
        }

    def scalars(self) -> dict[str, float | int | None]:
        """The measures that are one number each, whatever p and the key frequencies are."""
        return {
            f.name: getattr(self, f.name) for f in self._told() if f.type in ("int | None", "float", "float | None")
        }

    def _lines(self) -> Iterator[tuple[str, str]]:
        yield from (("doubt", doubt) for doubt in self.doubts)
        for f in self._told():
            value = getattr(self, f.name)
            if value is None:
                yield f.name, f"– {self.missing.get(f.name, 'unknown')}"
            elif f.name == "excluded_loss_by_frequency":
                yield f.name, "  ".join(f"{k}: {loss:.4g}" for k, loss in value.items()) or "–"
            elif f.name == "key_frequencies":
                listed = ", ".join(map(str, value)) or "none"
                of_step = "" if self.key_step is None else f"  (of step {self.key_step:,})"
                yield f.name, f"{listed}{of_step}" + (f"; doubtful: {self.key_doubt}" if self.key_doubt else "")
            elif isinstance(value, np.ndarray):
                first = 1 if f.name == "cos_coefficients" else 0
                top = sorted(np.argsort(-np.abs(value))[:5].tolist())
                kind = "k" if first else "row"
                yield (
                    f.name,
                    f"[{len(value)}] largest: " + "  ".join(f"{kind} {i + first}: {value[i]:.4g}" for i in top),
                )
            elif isinstance(value, int):
                yield f.name, f"{value:,}"
            else:
                yield f.name, f"{value:.6g}"


@dataclass(frozen=True, eq=False)
class _Subject:
    """What is measured, whichever way it came: activations, the matrices that are read, and its task."""

    acts: Activations
    W_E: Float[Tensor, "p d_model"]
    W_L: Float[Tensor, "d_mlp p"] | None
    sum_squared_weights: float
    task: Task
    step: int | None
    train_mask: Bool[Tensor, "p p"] | None
    why_no_split: str
    task_origin: Origin = "given"
    split_origin: Origin = "given"
    gradients: Callable[[Pairs], Iterator[InputGradients]] | None = None


@computing()
@keeping_threads
def progress_measures(
    source: PathLike | Checkpoint | Run | TransformerBridge | HookedMLP,
    task: Task | None = None,
    split: SplitLike | None = None,
    seed: int | None = None,
    key_frequencies: Iterable[int] | None = None,
    share: float = KEY_SHARE,
    mechanism: bool = False,
    attention_coefficient: float | None = None,
    n_heads: int | None = None,
    activation: Activation | None = None,
    threads: int | None = None,
) -> ProgressMeasures:
    """All progress measures of one model.

    `source` is a checkpoint file in any known layout or a run directory (its last checkpoint), a Checkpoint, a Run, or
    a TransformerBridge (or HookedMLP), which is measured through its hooks and needs its `task`. For a path or a
    bridge, `split` and `seed`, and for a path `attention_coefficient`, `n_heads` and `activation`, are those of
    `load_checkpoint`.

    The key frequencies are the k of which the squared cos coefficient exceeds `share` of the sum: in a run, at its last
    checkpoint with test accuracy of 0.99 or more, or at its last one if none has it, so that a run that lost what it
    learned is measured by what it had learned; for a lone model, at that model. `key_step` says where.
    `key_frequencies` overrides them. With `mechanism`, the two measures of clock or pizza are there too; they take
    seconds. `threads` is on how many the measures are computed: by default one where p and the network are small
    (`interp.threads`), else as many as torch uses.

    Raises CheckpointError, or ConfigError for arguments that do not fit. A measure that needs what is missing (a
    split; a task with Fourier structure) is None in the result, with its reason in `missing`.
    """
    share = checked_share(share)
    about_file = {"attention_coefficient": attention_coefficient, "n_heads": n_heads, "activation": activation}
    if isinstance(source, str | os.PathLike):
        source = last_checkpoint(source, task, split, seed, attention_coefficient, n_heads, activation)
        task = split = seed = None
    elif given := [name for name, value in about_file.items() if value is not None]:
        raise ConfigError(f"{' and '.join(given)} is for reading a file; give it to load_checkpoint instead.")
    if isinstance(source, Run):
        source = source[-1]
    if isinstance(source, Checkpoint):
        if not task is split is seed is None:
            raise ConfigError("a Checkpoint carries its own task and split; give them to load_checkpoint instead.")
        frequencies, key_step, key = _checked(key_frequencies, source.task), None, None
        torch.set_num_threads(_threads(source.config, source.task.p, threads))
        if frequencies is None and not source.task.why_no_fourier:
            key_step = source.step
            if source.run is not None:
                key = key_checkpoint(source.run)
                frequencies, key_step = key.frequencies(share), key.step
        subject = _of_checkpoint(source)
        measured = _measure(subject, frequencies, share, mechanism, key_step)
    elif hasattr(source, "run_with_cache"):
        if not isinstance(task, Task):
            raise ConfigError(f"A {type(source).__name__} carries no task. Pass task=interp.Task(p=...).")
        frequencies, mask, key = _checked(key_frequencies, task), as_mask(split, seed, task.p), None
        subject = _of_hooked(source, task, mask)
        measured = _measure(subject, frequencies, share, mechanism)
    else:
        raise ConfigError(
            f"progress_measures takes a path, a Checkpoint, a Run, or a TransformerBridge with task=; got a "
            f"{type(source).__name__}."
        )
    doubts = _doubts(source, subject)
    _warn_of(doubts, source.path if isinstance(source, Checkpoint) else None)
    read = source.doubts if isinstance(source, Checkpoint) else ()  # warned of when the file was read
    found_here = key is None and key_frequencies is None and measured.key_frequencies is not None
    doubt = key_doubt(measured.row()) if found_here else key.doubt if key else None
    return replace(measured, doubts=(*read, *doubts), key_doubt=doubt)


def _doubts(source: Checkpoint | TransformerBridge | HookedMLP, subject: _Subject) -> tuple[str, ...]:
    """Return what speaks against the task and split of a model, and of the run that it belongs to."""
    points = () if isinstance(source, Checkpoint) else source.hook_dict.values()
    if any(point.has_hooks(including_permanent=False) for point in points):
        return ()  # an ablation says nothing of what the model learned
    found = doubts_of(subject.task, subject.task_origin, subject.split_origin, subject.acts.logits, subject.train_mask)
    if not found or not isinstance(source, Checkpoint) or source.run is None:
        return found
    return found if run_doubts(source.run) else ()  # a run whose end has learned its task had not yet at this step


def _warn_of(doubts: Iterable[str], path: Path | str | None) -> None:
    for doubt in doubts:
        warn(doubt if path is None else f"{path}: {doubt}")


def run_doubts(run: Run) -> tuple[str, ...]:
    """Return what speaks against the task and split of a run: that of the last checkpoint that can be read."""
    if run.task_origin == "recorded" and (run.split_origin == "recorded" or run.train_mask is None):
        return run.doubts
    if run not in _RUN_DOUBTS:
        checkpoint = run.last_readable()
        logits = activations(checkpoint).logits
        _RUN_DOUBTS[run] = doubts_of(run.task, run.task_origin, run.split_origin, logits, run.train_mask)
    return (*run.doubts, *_RUN_DOUBTS[run])


_RUN_DOUBTS: WeakKeyDictionary[Run, tuple[str, ...]] = WeakKeyDictionary()


def _threads(sizes: Architecture, p: int, threads: int | None) -> int:
    return for_network(p * p, sizes.d_hidden if isinstance(sizes, MLPConfig) else sizes.d_mlp, p, threads)


def _of_checkpoint(checkpoint: Checkpoint) -> _Subject:
    weights, p, options = plain(checkpoint.weights), checkpoint.task.p, checkpoint.config.forward_options
    in_directory = checkpoint.run is not None and Path(checkpoint.run.path).is_dir()
    return _Subject(
        acts=activations(checkpoint),
        W_E=embedding_of(weights, p),
        W_L=neuron_logit_map(weights)[:, :p],
        sum_squared_weights=sum_squared_weights(weights.values()),
        task=checkpoint.task,
        step=checkpoint.step,
        train_mask=checkpoint.train_mask,
        why_no_split=(
            f"the run has no {SPLIT}, so train and test pairs are unknown"
            if in_directory
            else "no train/test split is known; load the checkpoint with split and seed (--split, --seed)"
        ),
        task_origin=checkpoint.task_origin,
        split_origin=checkpoint.split_origin,
        gradients=lambda pairs: input_gradients(weights, pairs, **options),
    )


def _of_hooked(model: TransformerBridge | HookedMLP, task: Task, train_mask: Bool[Tensor, "p p"] | None) -> _Subject:
    acts = hooked_activations(model, task.p)
    read = {name: getattr(model, name) for name in ("W_E", "W_x", "W_y", "W_U") if hasattr(model, name)}
    if acts.neurons is not None and hasattr(model, "W_out"):
        read["W_out"] = model.W_out[-1]
    read = {name: weight.detach().float().cpu() for name, weight in read.items()}
    return _Subject(
        acts=acts,
        W_E=embedding_of(read, task.p),
        W_L=None if acts.neurons is None else neuron_logit_map(read)[:, : task.p],
        # A bridge keeps b_U among its buffers; its state dict holds all weights.
        sum_squared_weights=sum_squared_weights(w for w in model.state_dict().values() if w.is_floating_point()),
        task=task,
        step=None,
        train_mask=train_mask,
        why_no_split="no train/test split is known; pass split= (a bool mask [p, p], or a name with its seed=)",
        gradients=lambda pairs: hooked_input_gradients(model, pairs),
    )


def _measure(
    subject: _Subject,
    frequencies: tuple[int, ...] | None,
    share: float,
    with_mechanism: bool = False,
    key_step: int | None = None,
) -> ProgressMeasures:
    task, acts, labels = subject.task, subject.acts, subject.task.labels
    L = acts.logits
    if not torch.isfinite(L).all() or not math.isfinite(subject.sum_squared_weights):
        where = "" if subject.step is None else f" of step {subject.step:,}"
        raise CheckpointError(
            f"The weights and logits of a model must be finite; those{where} hold NaN or infinite values. Measure an "
            "earlier checkpoint."
        )
    values: dict[str, Any] = {}
    missing: dict[str, str] = {}

    nll = losses.cross_entropy(L, labels)
    right = losses.correct(L, labels)
    train = subject.train_mask
    values["loss"] = float(nll.mean())
    values["accuracy"] = float(right.double().mean())
    if train is None:
        for name in ("train_loss", "test_loss", "train_accuracy", "test_accuracy", "restricted_test_loss",
                     "excluded_loss", "excluded_accuracy", "excluded_loss_by_frequency"):  # fmt: skip
            missing[name] = subject.why_no_split
    else:
        values["train_loss"] = float(nll[train].mean())
        values["train_accuracy"] = float(right[train].double().mean())
        if train.all():
            missing |= dict.fromkeys(
                ("test_loss", "test_accuracy", "restricted_test_loss"),
                "every pair is a train pair; none is left to test",
            )
        else:
            values["test_loss"] = float(nll[~train].mean())
            values["test_accuracy"] = float(right[~train].double().mean())

    if why := task.why_no_fourier:
        for name in _FOURIER:
            missing[name] = why
    else:
        table = logit_measures.logit_table(L, labels)
        coefficients = logit_measures.cos_coefficients(table)
        if frequencies is None:
            frequencies = logit_measures.key_frequencies(coefficients, share)
        kept = logit_measures.kept(table, frequencies)
        of_labels, right_labels = losses.restricted_logits(kept, table.mean(0)), torch.arange(task.p)
        restricted = losses.cross_entropy(of_labels, right_labels)
        values["restricted_loss"] = float(restricted.mean())
        values["restricted_accuracy"] = float(losses.correct(of_labels, right_labels).double().mean())
        if train is not None:
            if not train.all():
                values["restricted_test_loss"] = float(restricted[labels[~train]].mean())
            here = labels[train]
            logits = L[train]
            excluded = losses.excluded_logits(logits, kept, here)
            values["excluded_loss"] = _mean_loss(excluded, here)
            values["excluded_accuracy"] = float(losses.correct(excluded, here).double().mean())
            values["excluded_loss_by_frequency"] = {
                k: _mean_loss(losses.excluded_logits(logits, logit_measures.kept(table, [k]), here), here)
                for k in frequencies
            }
        values["key_frequencies"] = frequencies
        values["cos_coefficients"] = coefficients.numpy()
        values["logit_variance_explained"] = logit_measures.logit_variance_explained(L, coefficients, frequencies)
        values["embedding_norms"] = embedding.fourier_norms(subject.W_E).numpy()
        values["embedding_gini"] = embedding.gini(torch.from_numpy(values["embedding_norms"]))
        if acts.neurons is None or subject.W_L is None:
            for name in _NEURONS:
                missing[name] = "the model has no MLP, so no neurons"
        else:
            values["unembedding_norms"] = embedding.fourier_norms(subject.W_L.T).numpy()
            values["unembedding_gini"] = embedding.gini(torch.from_numpy(values["unembedding_norms"]))
            shares = neurons.frequency_shares(acts.neurons)
            values["single_frequency_neurons"] = neurons.single_frequency_neurons(shares)
            values["neuron_phase_agreement"] = _phase_agreement(acts.neurons, subject.W_L, shares, task)
            projected = logit_measures.projection_shares(acts.neurons, subject.W_L, labels, frequencies)
            there = [share for both in projected.values() for share in both if not math.isnan(share)]
            values["neuron_projection_share"] = math.fsum(there) / len(there) if there else math.nan
            values["neuron_logit_key_share"] = logit_measures.key_share(subject.W_L, frequencies)
        if acts.pattern is None:
            missing["attention_share"] = "the model has no attention"
        else:
            values["attention_share"] = float(attention.attention_shares(acts.pattern).amax(0).mean())

    if with_mechanism:
        values["gradient_symmetricity"] = _gradient_symmetricity(subject)
        if why:
            missing["distance_irrelevance"] = why
        else:
            values["distance_irrelevance"] = mechanism.distance_irrelevance(L, labels, task.distances)

    for name, value in values.items():
        if isinstance(value, float) and math.isnan(value):
            without = name == "neuron_projection_share" and not frequencies
            missing[name] = "there is no key frequency" if without else _WHY_NAN.get(name, _NOT_FINITE)
    values |= dict.fromkeys(missing) | {"step": subject.step, "sum_squared_weights": subject.sum_squared_weights}
    return ProgressMeasures(**values, key_step=key_step, missing=missing)


# The measures that divide by something that can be zero, and what it means if it is.
_WHY_NAN = {
    "embedding_gini": "W_E is zero for every number, so its norms have no Gini coefficient",
    "unembedding_gini": "W_L is zero, so its norms have no Gini coefficient",
    "logit_variance_explained": "the logits, centred over outputs, are the same for every pair: no variance to explain",
    "neuron_phase_agreement": (
        f"no neuron has one frequency that explains more than {neurons.SINGLE_FREQUENCY_SHARE:g} of its variance"
    ),
    "neuron_projection_share": "the neurons along u_k and v_k are the same for every pair, for each key frequency k",
    "neuron_logit_key_share": "W_L is zero, so none of it lies anywhere",
    "distance_irrelevance": "the right logit is the same for every pair",
}
_NOT_FINITE = "the activations or gradients of the model hold NaN or infinite values"


_MECHANISM = ("gradient_symmetricity", "distance_irrelevance")
_ALL_PAIRS_TO, _SAMPLE = 64, 100  # gradient symmetricity: over all pairs up to this p, else over so many


def _gradient_symmetricity(subject: _Subject) -> float:
    pairs, p = Pairs.all(subject.task.p), subject.task.p
    if p > _ALL_PAIRS_TO:
        chosen = torch.randperm(p * p, generator=torch.Generator().manual_seed(0))[:_SAMPLE]
        pairs = Pairs(p, pairs.a[chosen], pairs.b[chosen])
    assert subject.gradients is not None
    return float(torch.cat([mechanism.gradient_cosines(*both) for both in subject.gradients(pairs)]).mean())


def _phase_agreement(
    acts: Float[Tensor, "p p d_mlp"],
    W_L: Float[Tensor, "d_mlp p"],
    shares: Float[Tensor, "n_frequencies d_mlp"],
    task: Task,
) -> float:
    single = neurons.is_single_frequency(shares)
    frequencies = neurons.neuron_frequencies(shares)[single]
    of_a, of_b = neurons.input_phases(acts[..., single], frequencies)
    turned = -of_b if task.operation == "subtract" else of_b  # a − b is a + b after b → −b
    return neurons.phase_agreement((of_a, turned), neurons.output_phases(W_L[single], frequencies))


_NEURONS = (
    "unembedding_norms", "unembedding_gini", "single_frequency_neurons", "neuron_phase_agreement",
    "neuron_projection_share", "neuron_logit_key_share",
)  # fmt: skip
_FOURIER = (
    "restricted_loss", "restricted_accuracy", "restricted_test_loss", "excluded_loss", "excluded_accuracy",
    "excluded_loss_by_frequency", "key_frequencies",
    "cos_coefficients", "embedding_norms", "embedding_gini", "unembedding_norms", "unembedding_gini",
    "logit_variance_explained", *_NEURONS[2:], "attention_share",
)  # fmt: skip


def _mean_loss(logits: Float[Tensor, "n c"], labels: Int[Tensor, " n"]) -> float:
    return float(losses.cross_entropy(logits, labels).mean())


def _checked(chosen: Iterable[int] | None, task: Task) -> tuple[int, ...] | None:
    if chosen is None:
        return None
    try:
        frequencies = tuple(sorted({operator.index(k) for k in chosen}))
    except TypeError:
        raise ConfigError(f"key_frequencies must be whole numbers, such as [14, 35]; got {chosen!r}.") from None
    if task.why_no_fourier:
        raise ConfigError(f"key_frequencies must be left out: {task.why_no_fourier}.")
    if bad := [k for k in frequencies if not 1 <= k <= task.p // 2]:
        raise ConfigError(f"key_frequencies must lie in 1..{task.p // 2}, those of p = {task.p}; got {bad}.")
    return frequencies


@computing()
def compare(
    models: Mapping[str, Checkpoint | Run | PathLike],
    mechanism: bool = False,
    share: float = KEY_SHARE,
    progress: bool = True,
) -> pd.DataFrame:
    """The scalar measures of several models side by side, a row a model, under the names they are given.

    A Run, or the path of one, stands for its last checkpoint. Columns: model, doubts (a tuple), p,
    attention_coefficient (NaN for a network without attention), key_frequencies (a tuple), and the scalar fields of
    ProgressMeasures; what a model cannot give is NaN. `interp.plot.mechanism` draws it. Raises as `progress_measures`
    does.
    """
    share = checked_share(share)
    if not isinstance(models, Mapping) or not models:
        what = f"a {type(models).__name__}" if models or not isinstance(models, Mapping) else "an empty dict"
        raise ConfigError(f"compare() takes a dict of models by name; got {what}.")
    checkpoints: dict[str, Checkpoint] = {}
    for name, model in models.items():  # all are opened before the first is measured
        opened = last_checkpoint(model) if isinstance(model, str | os.PathLike) else model
        opened = opened[-1] if isinstance(opened, Run) else opened
        if not isinstance(opened, Checkpoint):
            raise ConfigError(
                f"A model to compare must be a Checkpoint, a Run, or a path; {name!r} is a {type(model).__name__}."
            )
        checkpoints[name] = opened
    rows = []
    with progress_bar("measure", "models", len(models), show=progress) as bar:
        for name, checkpoint in checkpoints.items():
            m = progress_measures(checkpoint, share=share, mechanism=mechanism)
            coefficient = checkpoint.config.forward_options.get("attention_coefficient")
            about = {"model": name, "doubts": m.doubts, "p": checkpoint.task.p, "attention_coefficient": coefficient}
            rows.append({**about, "key_frequencies": m.key_frequencies, **m.scalars()})
            if bar:
                bar.at(len(rows))
    frame = pd.DataFrame(rows)
    numbers = frame.columns.difference(["model", "doubts", "p", "key_frequencies"])
    return frame.astype(dict.fromkeys(numbers, float))


@computing()
@keeping_threads
def trajectory(
    run: Run | PathLike,
    key_frequencies: Iterable[int] | None = None,
    share: float = KEY_SHARE,
    progress: bool = True,
    refresh: bool = False,
    threads: int | None = None,
) -> pd.DataFrame:
    """The scalar measures of every checkpoint of a run, one row a checkpoint, ascending in `step`.

    Columns: the scalar fields of ProgressMeasures, `excluded_loss_K` of each key frequency K, `cos_coefficient_k` of
    every k, and the `embedding_alignment` and `neuron_logit_alignment` of W_E and W_L with those of the last checkpoint
    (cosine similarity); what a run cannot give is NaN. The losses are over the p number tokens, as everywhere but in
    `run.history`, where "=" counts too. `df.attrs["key_frequencies"]` holds the key frequencies, which are those of
    `progress_measures` at every step unless given, `df.attrs["key_step"]` the step of the checkpoint that has them
    (None if they were given), and `df.attrs["p"]` the modulus.

    Checkpoints are read one at a time, and the result is kept in measures.parquet beside those of a run directory: a
    second call reads it, and measures only checkpoints that are new or changed. It is made anew when the key
    frequencies, the split or the definitions changed, or with `refresh`. Nothing is written beside a file of another's
    code. A checkpoint that cannot be read is left out, with a warning. `threads` is as in `progress_measures`.
    """
    if not isinstance(run, Run | str | os.PathLike):
        raise ConfigError(f"trajectory() takes a Run or the path of one; got a {type(run).__name__}.")
    share = checked_share(share)
    run = run if isinstance(run, Run) else load_run(run)
    if not run.steps:
        raise CheckpointError(f"{run.path} has no readable checkpoint yet; let it train to its first one.")
    frequencies = _checked(key_frequencies, run.task)
    torch.set_num_threads(_threads(run.architecture, run.task.p, threads))
    kept = run.path / MEASURES if isinstance(run.path, Path) and run.path.is_dir() else None
    digests: dict[int, str] = {}
    for step in run.steps:
        try:
            digests[step] = run.source(step).digest() if kept else ""
        except OSError as error:
            warn(f"left out: {run.source(step).path} cannot be read any more ({error.strerror}).")
    if not digests:
        raise CheckpointError(f"{run.path} has no readable checkpoint any more; restore it from a copy.")
    setting = {
        "version": MEASURES_VERSION,
        "split": None if run.train_mask is None else hashlib.sha256(run.train_mask.numpy().tobytes()).hexdigest(),
        "asked": list(frequencies) if frequencies is not None else share,
    }
    saved = None if refresh or kept is None else _read_saved(kept, setting)
    last = f"{max(digests)} {digests[max(digests)]}"
    key_step, key_of = None, {}
    if frequencies is None and not run.task.why_no_fourier:
        if saved is not None and saved.key_of == {
            step: digest for step, digest in digests.items() if step >= min(saved.key_of, default=0)
        }:
            frequencies, key_step, key_of = saved.frequencies, saved.key_step, saved.key_of
        else:
            key = key_checkpoint(run)
            frequencies, key_step = key.frequencies(share), key.step
            key_of = {step: digest for step, digest in digests.items() if step >= key.first_step}
    known: dict[int, dict[str, Any]] = {}
    if saved is not None and saved.frequencies == frequencies:
        known = {step: row for step, row in saved.rows.items() if saved.digests.get(step) == digests.get(step)}
    if set(known) != set(digests):
        with progress_bar("measure", "checkpoints", len(digests), len(known), progress) as bar:
            for step in digests:
                if step in known:
                    continue
                try:
                    known[step] = _measure(_of_checkpoint(run.at(step)), frequencies, share).row()
                except CheckpointError as error:
                    warn(f"left out: {error}")
                if bar:
                    bar.at(len(known))
    if not known:
        raise CheckpointError(f"{run.path} has no readable checkpoint; the warnings say what is wrong with each.")
    if saved is None or saved.last != last or any("embedding_alignment" not in row for row in known.values()):
        _align(run, known)
    rows = [known[step] for step in sorted(known)]
    frame = pd.DataFrame(rows)
    for name in frame.columns.difference(["step"]):
        frame[name] = frame[name].astype(float)
    new = _Saved(known, {step: digests[step] for step in known}, last, frequencies, key_step, key_of)
    if kept and (saved is None or saved.note() != new.note()):
        _write_saved(kept, frame, {"setting": setting, **new.note()})
    frame.attrs["key_frequencies"] = frequencies
    frame.attrs["key_step"] = key_step
    frame.attrs["p"] = run.task.p
    frame.attrs["key_doubt"] = key_doubt(known[key_step]) if key_step in known else None
    frame.attrs["doubts"] = run_doubts(run)
    _warn_of(frame.attrs["doubts"][len(run.doubts) :], run.path)
    return frame


def _align(run: Run, rows: dict[int, dict[str, Any]]) -> None:
    """Add to each row how much its checkpoint's W_E and W_L are those of the last one."""
    p = run.task.p
    final = run.at(max(rows)).weights
    W_E, W_L = embedding_of(final, p), neuron_logit_map(final)[:, :p]
    for step, row in rows.items():
        weights = run.at(step).weights
        row["embedding_alignment"] = alignment(embedding_of(weights, p), W_E)
        row["neuron_logit_alignment"] = alignment(neuron_logit_map(weights)[:, :p], W_L)


@dataclass(frozen=True)
class _Saved:
    """A trajectory as kept beside a run: its rows, the digests of what they were made of, and its key frequencies.

    `key_of` holds the digests of the checkpoints that decided which of them, `key_step`, names the key frequencies.
    """

    rows: dict[int, dict[str, Any]]
    digests: dict[int, str]
    last: str
    frequencies: tuple[int, ...] | None
    key_step: int | None
    key_of: dict[int, str]

    def note(self) -> dict[str, Any]:
        """Return what is written beside the rows."""
        return {
            "last": self.last,
            "key_frequencies": None if self.frequencies is None else list(self.frequencies),
            "key_step": self.key_step,
            "key_of": {str(step): digest for step, digest in self.key_of.items()},
            "digests": {str(step): digest for step, digest in self.digests.items()},
        }


_NOTE = b"interp"


def _read_saved(file: Path, setting: dict[str, Any]) -> _Saved | None:
    """The trajectory kept beside a run, if it was made with this setting; anything else is as good as none."""
    try:
        with open_regular(file) as stream:
            content = pq.read_table(stream)
        note = json.loads(content.schema.metadata[_NOTE])
        if note["setting"] != setting:
            return None
        frame = content.to_pandas()
        rows = {int(row["step"]): row for row in frame.to_dict("records")}
        frequencies = note["key_frequencies"]
        return _Saved(
            rows,
            {int(step): digest for step, digest in note["digests"].items()},
            note["last"],
            None if frequencies is None else tuple(frequencies),
            note["key_step"],
            {int(step): digest for step, digest in note["key_of"].items()},
        )
    except (CheckpointError, OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


def _write_saved(file: Path, frame: pd.DataFrame, note: dict[str, Any]) -> None:
    content = pa.Table.from_pandas(frame, preserve_index=False)
    content = content.replace_schema_metadata({**(content.schema.metadata or {}), _NOTE: json.dumps(note)})

    def write(temporary: Path) -> None:
        with temporary.open("wb") as stream:  # given a name, pyarrow would take only UTF-8
            pq.write_table(content, stream)

    try:
        write_whole(file, write)
    except OSError as error:
        warn(f"the trajectory could not be kept, so it is computed anew each time: {error}")
