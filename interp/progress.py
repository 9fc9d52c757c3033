"""progress_measures(): the measures of one model; compare(): those of several, side by side."""

from __future__ import annotations

import operator
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float

from interp.arguments import given
from interp.callables import Array, Model, Tokens, is_callable_model
from interp.computing import computing
from interp.console import progress_bar
from interp.doubts import doubts_of, key_doubt
from interp.errors import ConfigError, warn
from interp.keys import key_checkpoint
from interp.measures.logits import KEY_SHARE, checked_share, key_frequencies_of
from interp.measures.registry import Measure, Result, chosen, evaluate, flat
from interp.measures.subject import Subject
from interp.networks.base import Activation, Measurable
from interp.printed import Printed
from interp.published.loading import last_checkpoint
from interp.run import Checkpoint, Origin, PathLike, Run
from interp.subjects import hooked_subject_of
from interp.task import Operation, SplitLike, Task, as_mask
from interp.threads import for_network, keeping_threads, wanted as wanted_threads

if TYPE_CHECKING:
    from transformer_lens import HookedRootModule


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
                                 (p ≤ 64), or a seeded sample of 100; Zhong et al. (2023). Its standard error is the
                                 further measure gradient_symmetricity_error, which tables print after ±
    distance_irrelevance         how little the right logit depends on a − b, of its variation; Zhong et al. (2023)

    The last two are measured on request (`mechanism=True`), else None. Moisescu-Pareja et al. (2025), from whom the
    further measure phase_alignment is, contest that clock and pizza are two kinds.
    Where b has tokens of its own, W_E is a's; in a network of one hidden layer it is W_x and W_y side by side, and W_L
    is W_U.

    `doubts` says, in sentences, why the measures may be of another task or split than the model's (`interp.doubts`);
    each is a UserWarning too. `key_doubt` says so where the key frequencies are those of a network that has not
    generalized, and so of no circuit that answers right. A table of all this begins with its doubts.

    Every other measure, interp's (`interp.list_measures`) or yours (`interp.measure`), is m["name"], and all of these
    are in `extra`. `measures` are those that were computed.
    """

    step: int | None
    loss: float | None
    accuracy: float | None
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
    sum_squared_weights: float | None
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
    extra: dict[str, Result | None] = field(default_factory=dict)
    measures: tuple[Measure, ...] = ()

    def __getitem__(self, name: str) -> Result | None:
        """Return a measure by its name, interp's or yours; ConfigError if it was not computed."""
        if name not in (one.name for one in self.measures):
            chosen([name] if isinstance(name, str) else name)  # says if there is none
            raise ConfigError(f"{name} was not computed; ask for it with measures=[{name!r}].")
        return self.extra[name] if name in self.extra else getattr(self, name)

    def to_dict(self) -> dict[str, Any]:
        """Return all that was computed as plain numbers, lists and dicts, ready for JSON; `missing` included."""
        beside = ("key_step", "missing", "doubts", "key_doubt")
        plain = {"step": self.step, **{one.name: self[one.name] for one in in_order(self.measures)}}
        plain |= {name: getattr(self, name) for name in beside}
        return {
            name: value.tolist() if isinstance(value, np.ndarray) else dict(value) if isinstance(value, dict) else value
            for name, value in plain.items()
        }

    def row(self) -> dict[str, float | int | None]:
        """Return the measures as columns, flat: one row of a trajectory."""
        return {"step": self.step, **flat(in_order(self.measures), {one.name: self[one.name] for one in self.measures})}

    def scalars(self) -> dict[str, float | int | None]:
        """Return the step and the measures that are one number each, whatever p and the key frequencies are."""
        columns = {one.name: one.flat(self[one.name]) for one in in_order(self.measures)}
        return {"step": self.step, **{name: made[name] for name, made in columns.items() if name in made}}

    def _lines(self) -> Iterator[tuple[str, str]]:
        yield from (("doubt", doubt) for doubt in self.doubts)
        yield "step", "– unknown" if self.step is None else f"{self.step:,}"
        names = {one.name for one in self.measures}
        errors = {one.error_of: self[one.name] for one in self.measures if one.error_of in names}
        for one in in_order(self.measures):
            value = self[one.name]
            if value is not None and one.error_of in names:
                continue  # it stands after the ± of that one
            text = (
                f"– {self.missing.get(one.name, 'unknown')}" if value is None else one.text(value, errors.get(one.name))
            )
            if one.name == "key_frequencies" and value is not None:
                text += "" if self.key_step is None else f"  (of step {self.key_step:,})"
                text += f"; doubtful: {self.key_doubt}" if self.key_doubt else ""
            yield one.name, text


MECHANISM = ("gradient_symmetricity", "distance_irrelevance")
_BESIDE = ("step", "key_step", "missing", "doubts", "key_doubt", "extra", "measures")
_TYPED = tuple(f.name for f in fields(ProgressMeasures) if f.name not in _BESIDE)


def in_order(measures: Iterable[Measure]) -> list[Measure]:
    """Return measures in the order of the fields of ProgressMeasures, and then the others."""
    order = {name: i for i, name in enumerate(_TYPED)}
    return sorted(measures, key=lambda one: order.get(one.name, len(order)))


@computing()
@keeping_threads
def progress_measures(
    source: PathLike | Checkpoint | Run | HookedRootModule | Model | Callable[..., Any] | Array,
    task: Task | Operation | None = None,
    split: SplitLike | None = None,
    seed: int | None = None,
    key_frequencies: Iterable[int] | None = None,
    share: float = KEY_SHARE,
    mechanism: bool = False,
    attention_coefficient: float | None = None,
    n_heads: int | None = None,
    activation: Activation | None = None,
    threads: int | None = None,
    measures: Iterable[str | Callable[[Subject], Any]] | None = None,
    tokens: Tokens | None = None,
    vocabulary: Mapping[str, int] | None = None,
) -> ProgressMeasures:
    """All progress measures of one model.

    `source` is a checkpoint file in any known layout or a run directory (its last checkpoint), a Checkpoint, a Run, or
    a TransformerBridge (or HookedNetwork), which is measured through its hooks and needs its `task`. For a path or a
    bridge, `split` and `seed`, and for a path `task`, `attention_coefficient`, `n_heads` and `activation`, are those of
    `load_checkpoint`. Or it is an `interp.Model`, or what that takes: any module or function from tokens to logits, or
    an array of logits [p, p, n], with its `task`, `split`, `seed`, `tokens` and `vocabulary`.

    The key frequencies are the k of which the squared cos coefficient exceeds `share` of the sum: in a run, at its last
    checkpoint with test accuracy of 0.99 or more, or at its last one if none has it, so that a run that lost what it
    learned is measured by what it had learned; for a lone model, at that model. `key_step` says where.
    `key_frequencies` overrides them.

    `measures` names which to compute, as names or functions (`interp.measure`); nothing else is computed, and the
    others are None. By default these are all that are not on request (`interp.list_measures`). With `mechanism`, the
    two measures of clock or pizza are there too; they take seconds. `threads` is on how many the measures are computed:
    by default one where p and the network are small (`interp.threads`), else as many as torch uses.

    Raises CheckpointError, or ConfigError for arguments that do not fit. A measure that needs what is missing (a
    split; a task with Fourier structure) is None in the result, with its reason in `missing`.
    """
    share = checked_share(share)
    wanted = chosen(measures)
    wanted += [one for one in chosen(MECHANISM) if mechanism and one not in wanted]
    about_file = {"attention_coefficient": attention_coefficient, "n_heads": n_heads, "activation": activation}
    if isinstance(source, str | os.PathLike):
        source = last_checkpoint(source, task, split, seed, attention_coefficient, n_heads, activation)
        task = split = seed = None
    elif told := [name for name, value in about_file.items() if value is not None]:
        raise ConfigError(f"{' and '.join(told)} is for reading a file; give it to load_checkpoint instead.")
    if isinstance(source, Run):
        source = source[-1]
    if not isinstance(source, Checkpoint | Model) and is_callable_model(source, tokens):
        if not isinstance(task, Task):
            raise no_task(source, task)
        source = Model(
            source, task, split, seed=seed, tokens="ab=" if tokens is None else tokens, vocabulary=vocabulary
        )
        task = split = seed = None
    elif tokens is not None or vocabulary is not None:
        raise ConfigError(
            "tokens and vocabulary say what a module or function reads; leave them out, since a "
            f"{type(source).__name__} knows its own."
        )
    if isinstance(source, Model):
        if not task is split is seed is None:
            raise ConfigError("an interp.Model carries its own task and split; give them to it instead.")
        keys = _Keys(checked_frequencies(key_frequencies, source.task), share)
        torch.set_num_threads(threads_for(source, source.task.p, threads))
        subject = keys.subject = source.subject({key_frequencies_of: keys})
        origins: tuple[Origin, Origin] = ("given", "given")
    elif isinstance(source, Checkpoint):
        if not task is split is seed is None:
            raise ConfigError("a Checkpoint carries its own task and split; give them to load_checkpoint instead.")
        keys = _Keys(checked_frequencies(key_frequencies, source.task), share, source)
        torch.set_num_threads(threads_for(source.config, source.task.p, threads))
        subject = keys.subject = source.subject({key_frequencies_of: keys})
        origins = source.task_origin, source.split_origin
    elif hasattr(source, "run_with_cache"):
        if not isinstance(task, Task):
            raise no_task(source, task)
        keys = _Keys(checked_frequencies(key_frequencies, task), share)
        mask = as_mask(split, seed, task.p)
        subject = keys.subject = hooked_subject_of(source, task, mask, {key_frequencies_of: keys})
        origins = "given", "given"
    else:
        raise ConfigError(
            "progress_measures takes a path, a Checkpoint, a Run, an interp.Model, or with task= a TransformerBridge, "
            f"a module, a function from tokens to logits or an array of logits; got {given(source)}. A state dict is "
            "read by load_checkpoint(state, model=interp.Model(module, task))."
        )
    measured = of_subject(subject, wanted)
    doubts = _doubts(source, subject, *origins)
    warn_of(doubts, source.path if isinstance(source, Checkpoint) else None)
    read = source.doubts if isinstance(source, Checkpoint) else ()  # warned of when the file was read
    return replace(measured, key_step=keys.step, doubts=(*read, *doubts), key_doubt=keys.doubt)


def no_task(source: Any, task: Any) -> ConfigError:
    """Return the error of a model that is given without its task."""
    if task is not None:
        return ConfigError(f"task must be an interp.Task, such as interp.Task(113); got {given(task)}.")
    return ConfigError(f"A {type(source).__name__} carries no task. Pass task=interp.Task(p=...).")


def of_subject(subject: Subject, measures: Iterable[Measure]) -> ProgressMeasures:
    """Return measures of a subject; a measure of the caller's that fails is None, with a warning."""
    wanted = tuple(measures)
    found = evaluate(subject, wanted)
    for name, why in found.failed.items():
        warn(f"{name} is None: {why}.")
    typed: dict[str, Any] = {name: found.values.get(name) for name in _TYPED}
    extra = {name: value for name, value in found.values.items() if name not in typed}
    return ProgressMeasures(step=subject.step, **typed, missing=found.missing, extra=extra, measures=wanted)


class _Keys:
    """The key frequencies of a model, found when a measure first needs them, and the step and the doubt about them."""

    def __init__(self, given: tuple[int, ...] | None, share: float, checkpoint: Checkpoint | None = None) -> None:
        self._given, self._share, self._checkpoint = given, share, checkpoint
        self._found: tuple[int, ...] | None = None
        self.subject: Subject | None = None
        self.step: int | None = None
        self.doubt: str | None = None

    def __call__(self) -> tuple[int, ...]:
        if self._found is None:
            self._found = self._find() if self._given is None else self._given
        return self._found

    def _find(self) -> tuple[int, ...]:
        assert self.subject is not None
        of_run = None if self._checkpoint is None or self.subject.task.why_no_fourier else self._checkpoint.run
        if of_run is not None:
            key = key_checkpoint(of_run)
            self.step, self.doubt = key.step, key.doubt
            return key.frequencies(self._share)
        found = key_frequencies_of(self.subject, share=self._share)
        self.step, self.doubt = self.subject.step, key_doubt(self.subject)
        return found


def _doubts(
    source: Checkpoint | HookedRootModule | Model,
    subject: Subject,
    task_origin: Origin,
    split_origin: Origin,
) -> tuple[str, ...]:
    """Return what speaks against the task and split of a model, and of the run that it belongs to."""
    points = () if isinstance(source, Checkpoint | Model) else source.hook_dict.values()
    if any(point.has_hooks(including_permanent=False) for point in points):
        return ()  # an ablation says nothing of what the model learned
    found = (*doubts_of(subject, task_origin, split_origin), *subject.doubts)
    if not found or not isinstance(source, Checkpoint) or source.run is None:
        return found
    return found if run_doubts(source.run) else ()  # a run whose end has learned its task had not yet at this step


def warn_of(doubts: Iterable[str], path: Path | str | None) -> None:
    for doubt in doubts:
        warn(doubt if path is None else f"{path}: {doubt}")


def run_doubts(run: Run, last: Callable[[], Subject] | None = None) -> tuple[str, ...]:
    """Return what speaks against the task and split of a run: that of the last checkpoint, by default by reading it."""
    if run.task_origin == "recorded" and (run.split_origin == "recorded" or run.train_mask is None):
        return run.doubts
    if run not in _RUN_DOUBTS:
        _RUN_DOUBTS[run] = doubts_of(
            last() if last else run.last_readable().subject(), run.task_origin, run.split_origin
        )
    return (*run.doubts, *_RUN_DOUBTS[run])


_RUN_DOUBTS: WeakKeyDictionary[Run, tuple[str, ...]] = WeakKeyDictionary()


def threads_for(network: Measurable, p: int, threads: int | None) -> int:
    """Return on how many threads a model of this network is measured."""
    if network.width is None:  # of unknown cost
        return wanted_threads(threads)
    return for_network(p * p, network.width, p, threads)


def checked_frequencies(given: Iterable[int] | None, task: Task) -> tuple[int, ...] | None:
    """Return the key frequencies that a caller gives, ascending; ConfigError if the task does not have them."""
    if given is None:
        return None
    try:
        frequencies = tuple(sorted({operator.index(k) for k in given}))
    except TypeError:
        raise ConfigError(f"key_frequencies must be whole numbers, such as [14, 35]; got {given!r}.") from None
    if task.why_no_fourier:
        raise ConfigError(f"key_frequencies must be left out: {task.why_no_fourier}.")
    if bad := [k for k in frequencies if not 1 <= k <= task.p // 2]:
        raise ConfigError(f"key_frequencies must lie in 1..{task.p // 2}, those of p = {task.p}; got {bad}.")
    return frequencies


@computing()
def compare(
    models: Mapping[str, Checkpoint | Run | PathLike | Model],
    mechanism: bool = False,
    share: float = KEY_SHARE,
    progress: bool = True,
    measures: Iterable[str | Callable[[Subject], Any]] | None = None,
) -> pd.DataFrame:
    """The scalar measures of several models side by side, a row a model, under the names they are given.

    A Run, or the path of one, stands for its last checkpoint. Columns: model, doubts (a tuple), p,
    attention_coefficient (NaN for a network without attention), key_frequencies (a tuple), key_doubt (why they are in
    doubt, or None), and the measures that are numbers, or the columns of those that `measures` names; what a model
    cannot give is NaN. `interp.plot.mechanism` draws it.
    Raises as `progress_measures` does.
    """
    share = checked_share(share)
    wanted = None if measures is None else list(measures)
    if not isinstance(models, Mapping) or not models:
        said = given(models) if models else "an empty one"
        raise ConfigError(f"compare() takes a dict of models by name; got {said}.")
    checkpoints: dict[str, Checkpoint | Model] = {}
    for name, model in models.items():  # all are opened before the first is measured
        opened = last_checkpoint(model) if isinstance(model, str | os.PathLike) else model
        opened = opened[-1] if isinstance(opened, Run) else opened
        if not isinstance(opened, Checkpoint | Model):
            raise ConfigError(
                f"A model to compare must be a Checkpoint, a Run, an interp.Model, or a path; got {given(model)} as "
                f"{name!r}."
            )
        checkpoints[name] = opened
    rows = []
    with progress_bar("measure", "models", len(models), show=progress) as bar:
        for name, checkpoint in checkpoints.items():
            m = progress_measures(checkpoint, share=share, mechanism=mechanism, measures=wanted)
            config = checkpoint.config if isinstance(checkpoint, Checkpoint) else checkpoint
            coefficient = getattr(config, "attention_coefficient", None)
            about = {"model": name, "doubts": m.doubts, "p": checkpoint.task.p, "attention_coefficient": coefficient}
            numbers = m.scalars() if wanted is None else m.row()
            rows.append({**about, "key_frequencies": m.key_frequencies, "key_doubt": m.key_doubt, **numbers})
            if bar:
                bar.at(len(rows))
    frame = pd.DataFrame(rows)
    frame["key_doubt"] = pd.Series([row["key_doubt"] for row in rows], dtype=object)  # None where there is none
    floats = frame.columns.difference(["model", "doubts", "p", "key_frequencies", "key_doubt"])
    return frame.astype(dict.fromkeys(floats, float))
