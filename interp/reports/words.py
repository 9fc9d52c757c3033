"""Sentences about a run: its summary, its doubts, its settings and the words of its page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from interp.measures.logits import KEY_SHARE
from interp.networks import Transformer
from interp.runs.run import Run
from interp.study.key_checkpoint import KeyCheckpoint
from interp.study.phase_table import Phases

_DRAWN = "a random number that was drawn once for each pair"


def summary_of(run: Run, found: Phases, measured: pd.DataFrame, key: KeyCheckpoint | None) -> list[str]:
    """Return the sentences at the top of a page: when the run learned, and its key frequencies."""
    return [*_learning(found), *_computing(run, measured, key)]


def doubts_of_page(
    run: Run, found: Phases, of_task: Sequence[str], key: KeyCheckpoint | None, readable: Sequence[int]
) -> list[str]:
    """Return doubts and omissions in sentences, first the given ones about task and split."""
    doubts = [*of_task, *(f"{doubt[0].upper()}{doubt[1:]}" for doubt in found.doubts)]
    if key is not None and key.doubt:
        doubts.append(f"The key frequencies say little: {key.doubt}.")
    lost = [step for step in run.steps if step not in readable]
    doubts += [f"The checkpoint of step {step:,} cannot be read: {why}" for step, why in list(run.bad.items())[:3]]
    if len(run.bad) > 3:
        doubts.append(f"{len(run.bad) - 3} more checkpoints cannot be read.")
    if lost:
        doubts.append(f"Left out, since they cannot be measured: the checkpoints of step {_steps(lost)}.")
    return [one if one.endswith(".") else f"{one}." for one in doubts]


def settings_in_words(run: Run) -> str:
    """Return the sizes of the network of a run, and how it was trained if that is known."""
    network = run.architecture
    said = str(network)
    if isinstance(network, Transformer):
        said = (
            f"Transformer of one layer: d_model {network.d_model}, {network.n_heads} heads of {network.d_head}, "
            f"{network.d_mlp} neurons ({network.activation})"
        )
    config = run.config
    if config is None:
        return f"{said}."
    return (
        f"{said}; {config.optimizer} with learning rate {config.learning_rate:g} and weight decay "
        f"{config.weight_decay:g}, {config.steps:,} steps."
    )


def words_of(run: Run, found: Phases) -> list[tuple[str, str]]:
    """Return the words that a page uses, each with its meaning."""
    p, answer = run.task.p, _DRAWN if run.task.operation == "random" else f"({run.task.formula}) mod p"
    right = f"{found.threshold:.0%}"
    return [
        ("a, b and c", f"The network is given two numbers a and b from 0 to {p - 1} and answers c = {answer}."),
        ("wave of frequency k", f"A cosine or sine of 2πkn/{p} over the numbers n."),
        ("W_E", "The embedding: the vector that stands for each number."),
        ("W_L", "The neuron-logit map W_out · W_U: what each neuron adds to the logit of each answer."),
        ("key frequencies", "Those with more than 1% of the sum of squared cosine coefficients of the logits."),
        (
            "circuit",
            "The algorithm that a network comes to use: it turns numbers into waves of the key frequencies, and "
            "combines them so that they peak at the right answer.",
        ),
        ("memorization", "Until excluded loss is least, from memorizing to the end of circuit formation."),
        (
            "circuit formation",
            "From there until test loss is under a sixth of its peak and stays there until it generalizes.",
        ),
        (
            "cleanup",
            "From there until the log of test loss has fallen 99% of the way from its peak to its "
            "floor. It is going on where the loss had not settled when the record ended, or when the run lost it.",
        ),
        ("grokked", "After that, until the run ends or loses it."),
        ("memorized, generalized", f"{right} of the train pairs, of the test pairs are answered right."),
    ]


def _learning(found: Phases) -> list[str]:
    right = f"{found.threshold:.0%}"
    if found.memorized is not None:
        said = [f"It memorized: {right} of the train pairs are answered right {_when(found, 'memorized')}."]
    else:
        said = [_not_seen(found, "memorized", "It did not memorize")]
    if found.memorization_end is not None:
        said.append(f"Memorization ends, and the circuit begins to form, {_when(found, 'memorization_end')}.")
    if found.circuit_formation_end is not None:
        said.append(f"The circuit has formed {_when(found, 'circuit_formation_end')}.")
    if found.generalized is not None:
        delay = found.grokking_delay
        later = f", {delay:,} steps after it memorized" if delay is not None and delay > 0 else ""
        said.append(
            f"It generalizes: {right} of the test pairs are answered right {_when(found, 'generalized')}{later}."
        )
    else:
        said.append(_not_seen(found, "generalized", f"It does not generalize by step {found.last_step:,}"))
    if found.cleanup_end is not None:
        said.append(f"Cleanup ends {_when(found, 'cleanup_end')}.")
    elif found.cleanup_after is not None:
        said.append(f"Cleanup ends at step {found.cleanup_after:,} or later: {found.missing['cleanup_end']}.")
    if found.lost is not None:
        said.append(f"It loses what it learned {_when(found, 'lost')}.")
    if found.dips:
        said.append(f"Test accuracy dips and comes back {found.dips} {'time' if found.dips == 1 else 'times'}.")
    return said


def _not_seen(found: Phases, event: str, denied: str) -> str:
    """Return a sentence that an event did not come, or that the record does not tell."""
    why = found.missing.get(event, "the record does not say")
    return f"{denied}: {why}." if why.startswith("it never") else f"When it {event} is not known: {why}."


def _when(found: Phases, event: str) -> str:
    step = getattr(found, event)
    after = found.intervals.get(event, (None, step))[0]
    return f"from step {step:,} on" if after is None else f"at step {step:,} (not yet at {after:,})"


def _computing(run: Run, measured: pd.DataFrame, key: KeyCheckpoint | None) -> list[str]:
    if key is None:
        return [f"What it computes with is not known: {run.task.why_no_fourier}."]
    frequencies = key.frequencies(KEY_SHARE)
    if not frequencies:
        none = f"no wave holds more than {KEY_SHARE:.0%} of them"
        return [f"Its logits at step {key.step:,} have no key frequency: {none}."]
    names = ", ".join(map(str, frequencies))
    said = f"At step {key.step:,} its key frequenc{'y is' if len(frequencies) == 1 else 'ies are'} {names}"
    row: Any = measured[measured["step"] == key.step]
    share = float(row["logit_variance_explained"].iloc[0]) if "logit_variance_explained" in row and len(row) else None
    if share is None or share != share:
        return [f"{said}."]
    return [f"{said}: waves of these hold {share:.1%} of the variance of its logits."]


def _steps(steps: Sequence[int]) -> str:
    shown = ", ".join(f"{step:,}" for step in steps[:5])
    return shown if len(steps) <= 5 else f"{shown} and {len(steps) - 5} more"
