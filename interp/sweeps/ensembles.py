"""ensemble(): several runs as one network, whose output is the mean of theirs, beside each of them alone."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import pandas as pd
import torch

from interp.measures.registry import chosen, evaluate
from interp.runs.run import Run
from interp.study.sources import one_run, threads_for
from interp.subjects.activations import Activations
from interp.subjects.subject import Subject
from interp.sweeps.table import Sweep
from interp.utils.arguments import given, one_of, whole
from interp.utils.console import progress_bar
from interp.utils.errors import CheckpointError, ConfigError
from interp.utils.files import PathLike
from interp.utils.threads import keeping_threads
from interp.utils.torch_state import computing

Of = Literal["logits", "probabilities"]
SCORES = ("loss", "accuracy", "train_loss", "test_loss", "train_accuracy", "test_accuracy")


@computing()
@keeping_threads
def ensemble(
    runs: Sweep | Iterable[Run | PathLike], of: Of = "logits", steps: Iterable[int] | None = None, progress: bool = True
) -> pd.DataFrame:
    """Return loss and accuracy over training of an ensemble of runs; a row a checkpoint step, ascending.

    The output of an ensemble on a pair is the mean over its members of their logits, or of their probabilities, the
    softmax over the p numbers ("=" left out). Its loss never exceeds the mean loss of its members: −log softmax is
    convex in the logits, and −log in the probabilities. One checkpoint is in memory at a time.

    Args:
        runs: A Sweep, whose members are the runs that ended without an error and whose directories are here; or two or
            more different runs or paths of runs. All must have one task and one split: give a sweep over seeds a fixed
            split_seed.
        of: "logits" or "probabilities".
        steps: The steps to evaluate, at which each run has a checkpoint; by default all such steps.

    Returns:
        The columns step, members (their number), loss and accuracy over all pairs, train_loss, test_loss,
        train_accuracy and test_accuracy of the ensemble (losses in nats over the p numbers, in float64, as in
        `progress_measures`). The same names after mean_ are means over the members; after best_ they are those of the
        member of least test loss at that step, whose path is `best_run`.

    Raises:
        ConfigError: For fewer than two runs, a run given twice, tasks or splits that differ or are unknown, and runs
            that share no step.
        CheckpointError: For a step that a run does not have, and a checkpoint that cannot be read.
    """
    one_of("of", of, get_args(Of))
    members = _members(runs)
    wanted = _common_steps(members, steps)
    torch.set_num_threads(max(threads_for(run.architecture, run.task.p, None) for run in members))
    rows = []
    with progress_bar("ensemble", "steps", len(wanted), show=progress) as bar:
        for done, step in enumerate(wanted, 1):
            rows.append(_row(members, step, of))
            if bar:
                bar.at(done)
    return pd.DataFrame(rows)


def _row(members: list[Run], step: int, of: Of) -> dict[str, float | str]:
    alone: list[dict[str, float]] = []
    total: torch.Tensor | None = None
    for run in members:
        subject = run.at(step).subject()
        try:
            alone.append(_scores_of_subject(subject))
        except CheckpointError as error:  # of weights that are not finite
            raise CheckpointError(f"{run.path}: {error}") from None
        logits = subject.logits.double()
        if of == "probabilities":
            logits = logits.log_softmax(-1)
            total = logits if total is None else torch.logaddexp(total, logits)
        else:
            total = logits if total is None else total + logits
    assert total is not None
    # The log of the sum of probabilities is the log of their mean plus a constant, to which softmax is invariant.
    averaged = total / len(members) if of == "logits" else total
    first = members[0]
    together = Subject(first.task, lambda: Activations(averaged, None, None), step=step, train_mask=first.train_mask)
    best = int(np.argmin([scores["test_loss"] for scores in alone]))
    return {
        "step": step, "members": len(members), **_scores_of_subject(together),
        **{f"mean_{name}": float(np.mean([scores[name] for scores in alone])) for name in SCORES},
        **{f"best_{name}": alone[best][name] for name in SCORES},
        "best_run": str(members[best].path),
    }  # fmt: skip


def _scores_of_subject(subject: Subject) -> dict[str, float]:
    values = evaluate(subject, chosen(SCORES)).values
    return {name: value for name, value in values.items() if isinstance(value, float)}


def _members(runs: Sweep | Iterable[Run | PathLike]) -> list[Run]:
    """Open two runs or more, which must have one task and one split with test pairs."""
    if isinstance(runs, str | os.PathLike | Run) or not isinstance(runs, Sweep | Iterable):
        raise ConfigError(
            f"runs must be a Sweep (of interp.load_sweep) or a list of runs or of their paths; got {given(runs)}."
        )
    listed = runs.runs() if isinstance(runs, Sweep) else list(runs)
    members = [one_run(one, "ensemble()") for one in listed]
    if len(members) < 2:
        raise ConfigError(f"An ensemble needs two runs or more; got {len(members)}.")
    _check_different(members)
    first = members[0]
    mask = first.train_mask
    for run in members:
        own = run.train_mask
        if own is None or own.all():
            what = "its split is unknown" if own is None else "all its pairs are train pairs"
            raise ConfigError(
                f"The runs of an ensemble must have train and test pairs; got {run.path}: {what}. "
                "Open it with its split, as in load_run(path, split=..., seed=...)."
            )
        if run.task != first.task:
            raise ConfigError(
                f"The runs of an ensemble must have one task; {first.path} has {first.task} and {run.path} {run.task}."
            )
        assert mask is not None
        if not torch.equal(own, mask):
            raise ConfigError(
                f"The runs of an ensemble must have one train/test split; {first.path} and {run.path} differ in "
                f"{int((own != mask).sum()):,} of {mask.numel():,} pairs. By default each seed draws its own split: "
                "train them with a fixed split_seed, as in interp sweep ... --set split_seed=0 --set seed=0:5."
            )
    return members


def _check_different(members: list[Run]) -> None:
    """Raise ConfigError for a run given twice, which would count double in the means."""
    seen: set[Path | int] = set()
    for run in members:
        path = Path(run.path)
        known = path.resolve() if path.exists() else id(run)  # a run in memory has a name in place of a path
        if known in seen:
            raise ConfigError(f"The runs of an ensemble must be different; got {run.path} twice. Drop one of them.")
        seen.add(known)


def _common_steps(members: list[Run], steps: Iterable[int] | None) -> list[int]:
    if steps is None:
        common = sorted(set.intersection(*(set(run.steps) for run in members)))
        if not common:
            raise ConfigError(
                f"The runs of an ensemble must share a step with a checkpoint; no step is in all {len(members)} runs. "
                "Train them with the same checkpoint_steps."
            )
        return common
    if isinstance(steps, str | bytes) or not isinstance(steps, Iterable):
        raise ConfigError(f"steps must be a list of whole numbers, such as [0, 1000]; got {given(steps)}.")
    wanted = sorted({whole("each of steps", step, 0) for step in steps})
    if not wanted:
        raise ConfigError("steps must name at least one step; leave it out for all that the runs share.")
    for run in members:
        for step in wanted:
            run.source(step)  # raises a CheckpointError that names the nearest steps
    return wanted
