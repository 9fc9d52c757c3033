"""progress_measures(): the measures of one model; compare(): those of several, side by side."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pandas as pd
import torch

from interp.measures.logits import KEY_SHARE, checked_frequencies, checked_share, key_frequencies_of
from interp.measures.registry import Measure, chosen
from interp.networks.names import Activation
from interp.runs.run import Checkpoint, Run
from interp.study.doubts import doubts_of_model, warn_of
from interp.study.key_checkpoint import KeyFrequencies, key_checkpoint, key_of
from interp.study.progress_table import MECHANISM, ProgressMeasures, of_subject
from interp.study.sources import OneModel, model_to_compare, one_model, threads_for
from interp.subjects.model import Model, Tokens
from interp.subjects.model_forward import Array
from interp.subjects.subject import Subject
from interp.tasks.operations import Operation
from interp.tasks.splits import SplitLike
from interp.tasks.task import Task
from interp.utils.arguments import given
from interp.utils.console import progress_bar
from interp.utils.errors import ConfigError
from interp.utils.files import PathLike
from interp.utils.threads import keeping_threads
from interp.utils.torch_state import computing

if TYPE_CHECKING:
    from transformer_lens import HookedRootModule


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
    by default one where p and the network are small (`utils.threads`), else as many as torch uses.

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
    doubts = doubts_of_model(model, subject)
    warn_of(doubts, None if model.checkpoint is None else model.checkpoint.path)
    return replace(measured, key_step=keys.step, doubts=(*model.doubts, *doubts), key_doubt=keys.doubt)


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
