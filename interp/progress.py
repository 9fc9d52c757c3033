"""progress_measures(): the measures of one model; compare(): those of several, side by side."""

from __future__ import annotations

import operator
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
from interp.callables import Array, Model, Tokens
from interp.computing import computing
from interp.console import progress_bar
from interp.doubts import doubts_of
from interp.errors import ConfigError, warn
from interp.keys import KeyFrequencies, key_checkpoint, key_of
from interp.measures.logits import KEY_SHARE, checked_share, key_frequencies_of
from interp.measures.registry import Measure, Result, chosen, evaluate, flat
from interp.measures.subject import Subject
from interp.networks.base import Activation, Measurable
from interp.printed import Printed
from interp.run import Checkpoint, PathLike, Run
from interp.sources import OneModel, model_to_compare, one_model
from interp.task import Operation, SplitLike, Task
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
    model = one_model(
        source, task, split, seed, tokens, vocabulary,
        attention_coefficient=attention_coefficient, n_heads=n_heads, activation=activation,
    )  # fmt: skip
    return _measured(model, wanted, checked_frequencies(key_frequencies, model.task), share, threads)


def _measured(
    model: OneModel,
    wanted: Iterable[Measure],
    frequencies: tuple[int, ...] | None = None,
    share: float = KEY_SHARE,
    threads: int | None = None,
) -> ProgressMeasures:
    if model.network is not None:
        torch.set_num_threads(threads_for(model.network, model.task.p, threads))
    run = model.run
    keys = KeyFrequencies(lambda: key_of(subject) if run is None else key_checkpoint(run), share, frequencies)
    subject = model.subject({key_frequencies_of: keys})
    measured = of_subject(subject, wanted)
    doubts = _doubts(model, subject)
    warn_of(doubts, None if model.checkpoint is None else model.checkpoint.path)
    return replace(measured, key_step=keys.step, doubts=(*model.doubts, *doubts), key_doubt=keys.doubt)


def of_subject(subject: Subject, measures: Iterable[Measure]) -> ProgressMeasures:
    """Return measures of a subject; a measure of the caller's that fails is None, with a warning."""
    wanted = tuple(measures)
    found = evaluate(subject, wanted)
    for name, why in found.failed.items():
        warn(f"{name} is None: {why}.")
    typed: dict[str, Any] = {name: found.values.get(name) for name in _TYPED}
    extra = {name: value for name, value in found.values.items() if name not in typed}
    return ProgressMeasures(step=subject.step, **typed, missing=found.missing, extra=extra, measures=wanted)


def _doubts(model: OneModel, subject: Subject) -> tuple[str, ...]:
    """Return what speaks against the task and split of a model, and of the run that it belongs to."""
    if model.is_changed:
        return ()  # an ablation says nothing of what the model learned
    found = (*doubts_of(subject, model.task_origin, model.split_origin), *subject.doubts)
    if not found or model.run is None:
        return found
    # The last checkpoint has learned the task, so an early one that has not is no reason for doubt.
    return found if run_doubts(model.run) else ()


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
@keeping_threads
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
    opened = {name: model_to_compare(model, name) for name, model in models.items()}  # before the first is measured
    measured_ones = chosen(wanted) + [one for one in chosen(MECHANISM) if mechanism]
    rows = []
    with progress_bar("measure", "models", len(models), show=progress) as bar:
        for name, model in opened.items():
            m = _measured(model, list(dict.fromkeys(measured_ones)), share=share)
            coefficient = getattr(model.network, "attention_coefficient", None)
            about = {"model": name, "doubts": m.doubts, "p": model.task.p, "attention_coefficient": coefficient}
            numbers = m.scalars() if wanted is None else m.row()
            rows.append({**about, "key_frequencies": m.key_frequencies, "key_doubt": m.key_doubt, **numbers})
            if bar:
                bar.at(len(rows))
    frame = pd.DataFrame(rows)
    frame["key_doubt"] = pd.Series([row["key_doubt"] for row in rows], dtype=object)  # None where there is none
    floats = frame.columns.difference(["model", "doubts", "p", "key_frequencies", "key_doubt"])
    return frame.astype(dict.fromkeys(floats, float))
