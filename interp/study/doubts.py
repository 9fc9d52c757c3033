"""Doubts: whether a model has evidently learned the task that it is measured on, with the split that it is given.

Chance is log p, the loss of a model that gives p numbers the same logit. The loss is that of the train pairs, or of all
pairs if the split is unknown. A task recorded in a file is believed. A task given by the caller is doubted if the loss
is more than twice chance, or more than chance while the model has evidently learned another task that is known here; an
assumed task, if the loss is not under half of chance. A split given by the caller is doubted if its train pairs are
answered no better than the others.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from pathlib import Path
from weakref import WeakKeyDictionary

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from interp.measures import losses
from interp.measures.losses import cross_entropy
from interp.runs.names import Origin
from interp.runs.run import Run
from interp.study.sources import OneModel
from interp.subjects.subject import Missing, Subject
from interp.tasks.operations import OPERATIONS
from interp.tasks.task import Task
from interp.utils.errors import warn

LEARNED_SHARE = 0.5  # of chance: under this loss a model has evidently learned the task that it is measured on
REFUTED_SHARE = 2.0  # of chance: over this it has evidently learned something else, or other pairs
GENERALIZED = 0.9  # from this test accuracy on, key frequencies belong to a circuit that answers right
_SAME_PAIRS = 1e-3  # a split is doubted from this p-value on; of 1,000 wrong splits one passes
_SAMPLE = 2_000  # pairs on which other tasks are tried

_OTHER_TASKS: dict[str, Callable[[Int[Tensor, "p 1"], Int[Tensor, "1 p"]], Int[Tensor, "p p"]]] = {
    "b − a": lambda a, b: b - a,
    "a · b": lambda a, b: a * b,
    "a² + b²": lambda a, b: a * a + b * b,
}  # that a model may have learned and interp does not measure: their labels before mod p


def doubts_of(subject: Subject, task_origin: Origin, split_origin: Origin) -> tuple[str, ...]:
    """Return why a model's measures may be of another task or split, in sentences; empty if there is no reason.

    The origins say who named the task and the split.
    """
    train = losses.train_pairs(subject)
    split_given = train is not None and split_origin == "given"
    if task_origin == "recorded" and not split_given:
        return ()
    task, nll, right = subject.task, losses.cross_entropies(subject), losses.right(subject)
    loss = float((nll if train is None else nll[train]).mean())
    most = {"assumed": LEARNED_SHARE, "given": REFUTED_SHARE, "recorded": REFUTED_SHARE}[task_origin]
    refuted = not loss < most * math.log(task.p)  # a loss that is not a number is doubted too
    if not refuted and task_origin != "recorded" and loss > math.log(task.p):
        refuted = _learned_instead(task, subject.logits, train) is not None
    if refuted:
        of_train = float((right if train is None else right[train]).double().mean())
        return (_task_doubt(subject, task_origin, train, loss, of_train),)
    if not split_given or train is None:
        return ()
    return _split_doubt(nll, train) if losses.accuracy(subject) > max(0.25, 2 / task.p) else ()


def _task_doubt(
    subject: Subject, origin: Origin, train: Bool[Tensor, "p p"] | None, loss: float, accuracy: float
) -> str:
    task, p, chance = subject.task, subject.task.p, math.log(subject.task.p)
    who = "the file does not record its task and is measured as" if origin == "assumed" else f"the task {origin} is"
    where = "all pairs (the split is unknown)" if train is None else "the train pairs"
    said = (
        f"{who} {task.formula} mod {p}, but over {where} the loss is {loss:.3g} and {accuracy:.1%} are right, where "
        f"chance is {chance:.3g} and {1 / p:.1%}"
    )
    if other := _learned_instead(task, subject.logits, train):
        return f"{said}: it has evidently learned {other}."
    also = "" if origin == "recorded" else "learned another task or group"
    if loss < 1.25 * chance:
        perhaps = ["not be trained yet" if loss > 0.75 * chance else "not be trained to its end", f"have {also}"]
    elif train is None:
        perhaps = ["have memorized train pairs that are unknown (give split and seed)", f"have {also}"]
    else:
        perhaps = ["have been trained on another split", f"have {also}"]
    if loss >= 1.25 * chance and accuracy < 2 / p:
        perhaps.insert(0, "not be trained yet")
    ask = "; give task= (--p, --operation) to say what it learned" if origin == "assumed" else ""
    return f"{said}: it may {', or '.join(one for one in perhaps if one != 'have ')}{ask}."


def _learned_instead(task: Task, logits: Float[Tensor, "p p p"], train: Bool[Tensor, "p p"] | None) -> str | None:
    """Return the known task that the model evidently learned instead of its own, and how to give it; None if none."""
    p = task.p
    a, b = torch.arange(p)[:, None], torch.arange(p)[None, :]
    pairs = torch.ones(p, p, dtype=torch.bool) if train is None else train
    chosen = pairs.flatten().nonzero().flatten()
    some = chosen[torch.randperm(len(chosen), generator=torch.Generator().manual_seed(0))[:_SAMPLE]]
    seen = logits.flatten(0, 1)[some]

    def learned(labels: Int[Tensor, "p p"]) -> bool:
        return float(cross_entropy(seen, labels.flatten()[some]).mean()) < LEARNED_SHARE * math.log(p)

    for name in OPERATIONS:
        other = Task(p, name)
        if name not in (task.operation, "random") and learned(other.labels):
            return f'{other.formula} mod {p}; give task=interp.Task({p}, "{name}") (--p {p} --operation {name})'
    for formula, of in _OTHER_TASKS.items():
        if learned(of(a, b) % p):
            return f"{formula} mod {p}, which is not a task that interp measures"
    return None


def _split_doubt(nll: Float[Tensor, "p p"], train: Bool[Tensor, "p p"]) -> tuple[str, ...]:
    """Return why a split is evidently not the model's: it answers the train pairs no better than the test pairs.

    Trained pairs keep smaller losses, even long after grokking: in five published models and in the shipped run from
    step 50 on, the ranks of the two differ by 8 standard deviations or more; under wrong seeds, by less than 3.
    """
    if train.all():
        return ()
    from scipy.stats import mannwhitneyu  # a third of a second to import

    on_train, on_test = nll[train].numpy(), nll[~train].numpy()
    reachable = mannwhitneyu(range(len(on_train)), range(len(on_train), nll.numel()), alternative="less")
    if reachable.pvalue > _SAME_PAIRS / 100:  # too few pairs to tell, whatever their losses
        return ()
    if mannwhitneyu(on_train, on_test, alternative="less").pvalue < _SAME_PAIRS:
        return ()
    return (
        f"the train pairs of the split given are answered no better than the others (losses {on_train.mean():.3g} and "
        f"{on_test.mean():.3g}): the model was evidently trained on another split; check split and seed.",
    )


def key_doubt(subject: Subject) -> str | None:
    """Return why the key frequencies of a model are in doubt: it has not generalized. None if it has."""
    try:
        accuracy, over = losses.test_accuracy(subject), "test accuracy"
    except Missing:
        accuracy, over = losses.accuracy(subject), "accuracy over all pairs"
    return None if accuracy >= GENERALIZED else f"the network has not generalized ({over} {accuracy:.3f})"


def doubts_of_model(model: OneModel, subject: Subject) -> tuple[str, ...]:
    """Return doubts about the task and split of a model; none unless the run that it belongs to has doubts too."""
    if model.is_changed:
        return ()  # an ablated model need not have learned its task
    found = (*doubts_of(subject, model.task_origin, model.split_origin), *subject.doubts)
    if not found or model.run is None:
        return found
    # The last checkpoint has learned the task, so an early one that has not is no reason for doubt.
    return found if run_doubts(model.run) else ()


def warn_of(doubts: Iterable[str], path: Path | str | None) -> None:
    for doubt in doubts:
        warn(doubt if path is None else f"{path}: {doubt}")


def run_doubts(run: Run, last: Callable[[], Subject] | None = None) -> tuple[str, ...]:
    """Return doubts about the task and split of a run, those of its last checkpoint; `last` gives it if it is open."""
    if run.task_origin == "recorded" and (run.split_origin == "recorded" or run.train_mask is None):
        return run.doubts
    if run not in _RUN_DOUBTS:
        subject = last() if last else run.last_readable().subject()
        _RUN_DOUBTS[run] = doubts_of(subject, run.task_origin, run.split_origin)
    return (*run.doubts, *_RUN_DOUBTS[run])


_RUN_DOUBTS: WeakKeyDictionary[Run, tuple[str, ...]] = WeakKeyDictionary()
