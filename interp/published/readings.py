"""From what a file holds to a model of it: the task, the sizes and the split that it is read with.

What the tensors tell is taken from them, then what is written beside them, then what the caller says; what is then
still open is settled by what the model evidently learned, or asked for.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional

from interp.arguments import given
from interp.bridges import SAVE
from interp.errors import CheckpointError, ConfigError, warn
from interp.networks import LayeredTransformer, Network, OneHiddenLayer, Transformer
from interp.networks.base import Activation
from interp.networks.layers import Normalization
from interp.networks.pairs import Pairs
from interp.networks.transformer import TRANSFORMER_ACTIVATIONS
from interp.published.contents import Contents
from interp.published.layouts import ONE_HIDDEN_LAYER, Layout, State
from interp.published.recorded import check_losses, telling_steps
from interp.published.task_names import named_tasks
from interp.run import (
    Origin,
    Run,
)
from interp.task import Operation, SplitLike, Task, as_mask

Read = Transformer | OneHiddenLayer | LayeredTransformer


@dataclass(frozen=True)
class Asked:
    """What the caller says of a file; None: take it from the file, or do without."""

    task: Task | Operation | None
    split: SplitLike | None
    seed: int | None
    attention_coefficient: float | None
    n_heads: int | None
    activation: Activation | None

    def task_of(self, told: Task) -> Task:
        """Return the task given, of the modulus told if only its operation is given; `told` if neither is."""
        if isinstance(self.task, str):
            return Task(told.p, self.task)
        if self.task is not None and not isinstance(self.task, Task):
            raise ConfigError(f"task must be an interp.Task, such as interp.Task(113); got {given(self.task)}.")
        return self.task or told

    def given(self) -> list[str]:
        return [name for name in self.__dataclass_fields__ if getattr(self, name) is not None]


@dataclass(frozen=True)
class Reading:
    """A way to read a file where its tensors leave it open: how many heads, which modulus."""

    architecture: Read
    task: Task
    origin: Origin  # of the task


def weights_of(path: Path | str, layout: Layout, state: State, architecture: Network) -> dict[str, Tensor]:
    try:
        return layout.weights(state, architecture)
    except ConfigError as error:
        raise CheckpointError(f"{path}: {error}") from None


def _readings(contents: Contents, asked: Asked) -> list[Reading]:
    """All ways to read the file that its tensors, what it says beside them, and the caller leave open."""
    path, layout = contents.path, contents.layout
    sizes = layout.sizes(contents.last)
    _check_settings(contents, sizes)
    activation = _activation(contents, asked)
    architectures: list[Read]
    if layout is ONE_HIDDEN_LAYER:
        if asked.attention_coefficient is not None or asked.n_heads is not None:
            raise ConfigError(
                f"{path} is a network of one hidden layer and has no attention; leave attention_coefficient and "
                "n_heads out."
            )
        concatenated = sizes["d_input"] == 2 * sizes["d_embed"]
        architectures = [
            OneHiddenLayer(
                sizes["d_vocab"], sizes["d_vocab_out"], sizes["d_embed"], sizes["d_hidden"],
                "concatenated" if concatenated else "summed", activation,
            )
        ]  # fmt: skip
    elif layout.layers is not None:
        if asked.attention_coefficient is not None:
            raise ConfigError(f"{path} is a bridge, with softmax attention alone; leave attention_coefficient out.")
        if sizes["n_ctx"] == 2 and layout.layers.n_layers > 1 and contents.setting("attention_dir") is None:
            raise ConfigError(
                f"{path} has two positions and several layers, and does not tell whether its attention is causal; save "
                "its config beside it."
            )
        same = {name: sizes[name] for name in ("d_vocab", "d_vocab_out", "n_ctx", "d_model", "d_mlp")}
        architectures = [
            replace(layout.layers, **same, n_heads=n_heads, activation=activation, normalization=norm)
            for norm in _norms(contents, layout.layers.normalization)
            for n_heads, _ in _heads(contents, asked, sizes | {"(n_heads d_head)": sizes["d_model"]})
        ]
    else:
        coefficient = _coefficient(contents, asked, sizes["n_ctx"])
        architectures = [
            Transformer(
                sizes["d_vocab"],
                sizes["d_vocab_out"],
                sizes["n_ctx"],
                sizes["d_model"],
                d_mlp=sizes["d_mlp"],
                n_heads=n_heads,
                d_head=d_head,
                activation=activation,
                attention_coefficient=coefficient,
            )
            for n_heads, d_head in _heads(contents, asked, sizes)
        ]
    readings: list[Reading] = [
        Reading(architecture, task, origin)
        for architecture, (task, origin) in product(architectures, _tasks(contents, asked, architectures[0]))
    ]
    for reading in readings:
        try:
            reading.architecture.check_modulus(reading.task.p)
        except ConfigError as error:
            said = None if isinstance(asked.task, Task) else contents.whole("p", "C")
            source = "" if said is None else f" (p = {said} is what its config says; task=, --p overrides it)"
            raise ConfigError(f"{path}: {str(error).rstrip('.')}{source}.") from None
    return readings


# What a configuration may say that the shared forward does not do.
_ALIEN = {
    "n_layers": (1,), "num_layers": (1,), "normalization_type": ("none", "None"), "attn_only": (False,),
    "parallel_attn_mlp": (False,), "positional_embedding_type": ("standard",), "use_attn_scale": (True,),
    "scale_attn_by_inverse_layer_idx": (False,), "use_local_attn": (False,), "gated_mlp": (False,), "use_ln": (False,),
    "attn_scores_soft_cap": (-1.0, 0.0), "output_logits_soft_cap": (-1.0, 0.0), "final_rms": (False,),
}  # fmt: skip
_OF_LAYERS = ("n_layers", "num_layers", "normalization_type", "use_ln")  # what a bridge of several layers has of these


def alien_settings(contents: Contents) -> dict[str, Any]:
    """Return what the file's configuration says that interp's networks do not compute; empty if nothing."""
    known: dict[str, tuple[Any, ...]] = dict(_ALIEN)
    if contents.layout.layers is not None:  # whose depth and norm are its own
        known = {name: values for name, values in _ALIEN.items() if name not in _OF_LAYERS}
        known |= {
            "act_fn": TRANSFORMER_ACTIVATIONS,
            "eps": (1e-5,),
            "attention_dir": ("bidirectional" if len(contents.last["pos_embed.weight"]) == 2 else "causal",),
        }
    said = {name: contents.setting(name) for name in contents.settings if name in known}
    alien = {name: value for name, value in said.items() if value is not None and value not in known[name]}
    scale, d_head = contents.setting("attn_scale"), contents.setting("d_head")
    if isinstance(scale, int | float) and isinstance(d_head, int) and scale > 0 and not math.isclose(scale**2, d_head):
        alien["attn_scale"] = scale
    return alien


def _check_settings(contents: Contents, sizes: Mapping[str, int]) -> None:
    """ConfigError where the file's configuration speaks of another computation, or of other sizes."""
    if alien := alien_settings(contents):
        name, value = next(iter(alien.items()))
        raise ConfigError(
            f"{contents.path} says {name} {value!r} in its config, which is not the model that interp computes; "
            "measure it through its hooks with progress_measures(bridge, task=...)."
        )
    for name in ("d_model", "d_head", "d_mlp", "n_ctx", "d_vocab", "d_vocab_out"):
        size = contents.setting(name)
        if isinstance(size, int) and size > 0 and sizes.get(name, size) != size:
            raise ConfigError(
                f"{contents.path} says {name} {size} in its config and holds weights of {name} {sizes[name]}; the file "
                "disagrees with itself."
            )


def _activation(contents: Contents, asked: Asked) -> Activation:
    said = asked.activation or contents.setting("act_fn", "act_type", "activation")
    if said is None and contents.layout.layers is not None:
        raise ConfigError(
            f"{contents.path} does not tell its activation, which a bridge of several layers or with layer norm needs: "
            f"give activation (--activation), or save its config beside it, {SAVE}."
        )
    said = said or "relu"
    name = str(said).lower()
    if name not in TRANSFORMER_ACTIVATIONS:
        raise ConfigError(
            f"{contents.path} has the activation {said!r}; interp knows "
            f"{', '.join(TRANSFORMER_ACTIVATIONS)} (activation=)."
        )
    return name


def _coefficient(contents: Contents, asked: Asked, n_ctx: int) -> float:
    if asked.attention_coefficient is not None:
        return asked.attention_coefficient
    said = contents.number("attention_coefficient", "attn_coeff")
    if said is None and n_ctx == 2:
        raise ConfigError(
            f"{contents.path} has two positions, so its attention may be mixed with a constant, and the file does not "
            "say how; give attention_coefficient (--attention-coefficient): 1 for softmax alone, 0 for constant."
        )
    return 1.0 if said is None else said


def _heads(contents: Contents, asked: Asked, sizes: Mapping[str, int]) -> list[tuple[int, int]]:
    wanted = asked.n_heads if asked.n_heads is not None else contents.whole("n_heads", "num_heads")
    if "n_heads" in sizes:
        if wanted is not None and wanted != sizes["n_heads"]:
            raise ConfigError(f"{contents.path} has {sizes['n_heads']} heads, not {wanted}; leave n_heads out.")
        return [(sizes["n_heads"], sizes["d_head"])]
    whole = sizes["(n_heads d_head)"]
    if wanted is None:
        return [(n, whole // n) for n in range(1, whole + 1) if whole % n == 0]
    if not isinstance(wanted, int) or wanted < 1 or whole % wanted:
        raise ConfigError(
            f"{contents.path} has heads of {whole} in all, which n_heads {wanted!r} cannot share equally."
        )
    return [(wanted, whole // wanted)]


def _norms(contents: Contents, told: Normalization) -> list[Normalization]:
    """Return the norms that a bridge of several layers may have: `told` by the weights, unless that is none."""
    of_weights: tuple[Normalization, ...] = ("none", "LNPre", "RMSPre") if told == "none" else (told,)
    if "normalization_type" not in contents.settings:
        return list(of_weights)
    said = contents.setting("normalization_type") or "none"
    found = [norm for norm in of_weights if norm == said]
    if not found:
        raise ConfigError(
            f"{contents.path} says normalization_type {said!r} in its config and holds the weights of "
            f"{' or '.join(of_weights)}; the file disagrees with itself."
        )
    return found


def _tasks(contents: Contents, asked: Asked, architecture: Read) -> list[tuple[Task, Origin]]:
    """Return the tasks that the file may have been trained on, each with who says so."""
    if asked.task is not None and not isinstance(asked.task, str):
        return [(asked.task_of(asked.task), "given")]
    named = asked.task or _named(contents)
    origin: Origin = "given" if asked.task else "recorded" if named else "assumed"
    said = contents.whole("p", "C")
    assert architecture.d_vocab is not None
    if said is not None:
        moduli = [said]
    elif isinstance(architecture, OneHiddenLayer):
        moduli = [architecture.d_vocab]
    else:
        # p numbers, or 2p where b has its own; the outputs tell, unless they are as many as the tokens.
        tokens, outputs = architecture.d_vocab, architecture.d_vocab_out
        numbers = tokens - (architecture.n_ctx != 2)
        halves = [numbers // 2] if numbers % 2 == 0 else []
        moduli = [p for p in (numbers, *halves) if outputs in (p, p + 1, tokens) and p >= 2] or [numbers]
    try:
        return [(Task(p, named or "add"), origin) for p in moduli]
    except ConfigError as error:
        raise ConfigError(f"{contents.path}: {error}") from None


def _named(contents: Contents) -> Operation | None:
    """Return the operation that the file names, None if it names none; ConfigError if it is another task than ours."""
    contents.setting("fn_name", "operation", "op", "operator")  # refuses a list or another value that is no name
    named = [task for said in (contents.settings, contents.beside) for task in named_tasks(said)]
    if not named:
        return None
    first = named[0]
    if others := [task for task in named if task.meaning != first.meaning]:
        raise ConfigError(
            f"{contents.path} names two tasks, {first.said!r} and {others[0].said!r}; give the right one with task= "
            "(--p, --operation)."
        )
    if first.operation is None:
        other = first.meaning not in (None, "random")
        unknown = f" ({first.meaning} is not a task that interp measures)" if other else ""
        raise ConfigError(
            f"{contents.path} was trained on {first.said!r}, whose labels are not in the file{unknown}; if that is "
            "wrong, give its task (task=; --p, --operation)."
        )
    return first.operation


# How much better the best reading has to be, against chance and against the next. A wrong number of heads has been seen
# to do better than the right one, by up to a third, while a network generalizes; grokked, the right one wins threefold.
_BETTER = 0.5


def resolve(contents: Contents, asked: Asked) -> Reading:
    """The one way to read the file; where several are left, the one under which the model has evidently learned.

    That is: its loss (over the train pairs, where they are known) is well under chance and under every other reading's.
    Then a warning says what was taken; else ConfigError asks.
    """
    readings = _readings(contents, asked)
    if len(readings) == 1:
        return readings[0]
    found: list[tuple[float, int]] = []
    outputs = contents.layout.sizes(contents.last)["d_vocab_out"]
    for index, reading in enumerate(readings):
        try:
            mask = split_of(contents, asked, reading.task, quiet=True)
        except (ConfigError, CheckpointError):  # a split of another p
            continue
        nll = _cross_entropies(weights_of(contents.path, contents.layout, contents.last, reading.architecture), reading)
        loss = float((nll if mask is None else nll[mask]).mean())
        found.append((loss / math.log(outputs), index))  # chance is 1
    attending = [r.architecture for r in readings if not isinstance(r.architecture, OneHiddenLayer)]
    heads = sorted({one.n_heads for one in attending})
    norms = sorted({one.normalization for one in attending if isinstance(one, LayeredTransformer)})
    moduli = sorted({r.task.p for r in readings})
    losses = sorted(loss for loss, _ in found)
    if len(losses) == 1 or (losses and losses[0] < _BETTER * min(1.0, losses[1])):
        chosen = readings[min(found)[1]]
        if len(losses) > 1 and chosen is not _plain(readings):
            taken = [f"p = {chosen.task.p}"] if len(moduli) > 1 else []
            if len(heads) > 1 and not isinstance(chosen.architecture, OneHiddenLayer):
                taken.append(f"n_heads {chosen.architecture.n_heads}")
            if len(norms) > 1 and isinstance(chosen.architecture, LayeredTransformer):
                taken.append(f"normalization_type {chosen.architecture.normalization}")
            warn(
                f"{contents.path} leaves it open, and {' and '.join(taken)} is taken, with which the model answers "
                f"best by far; give {_surely(heads, norms)} to be sure."
            )
        return chosen
    if plain := _plain(readings):
        return plain
    ask = []
    if len(heads) > 1:
        ask.append(f"the number of heads: give n_heads (--n-heads), one of {', '.join(map(str, heads))}")
    if len(norms) > 1:
        ask.append(f"its norm, one of {', '.join(norms)}: save its config beside it, {SAVE}")
    if len(moduli) > 1:
        ask.append(f"whether p is {moduli[1]}, or {moduli[0]} with tokens of b's own: give task=interp.Task(p) (--p)")
    raise ConfigError(f"{contents.path} does not tell {'; nor '.join(ask)}.")


def _surely(heads: list[int], norms: list[Normalization]) -> str:
    return "its config" if len(norms) > 1 else "n_heads" if len(heads) > 1 else "task"


def _plain(readings: list[Reading]) -> Reading | None:
    """The reading that needs no word: with "=" among the tokens, a and b hardly ever have tokens of their own."""
    first = readings[0].architecture
    if isinstance(first, OneHiddenLayer) or first.n_ctx != 3:
        return None
    return readings[0] if all(reading.architecture == first for reading in readings) else None


def _cross_entropies(weights: Mapping[str, Tensor], reading: Reading) -> Float[Tensor, "p p"]:
    """Those of all pairs over all outputs, "=" included: what a training minimizes."""
    p, labels = reading.task.p, reading.task.labels.flatten()
    logits = reading.architecture.run(weights, Pairs.all(p)).logits
    return functional.cross_entropy(logits.double(), labels, reduction="none").view(p, p)


def split_of(contents: Contents, asked: Asked, task: Task, quiet: bool = False) -> Bool[Tensor, "p p"] | None:
    """The split that the caller gives, else the one that the file holds or names; None where neither does."""
    try:
        mask = contents.mask(task.p)
    except ConfigError as error:
        if asked.split is None:
            raise CheckpointError(
                f"{contents.path} holds a split that does not fit it: {str(error).rstrip('.')}; give split= instead."
            ) from None
        mask = None
    if asked.split is None:
        if asked.seed is not None and mask is None:
            as_mask(None, asked.seed, task.p)  # says what a seed lacks
        return mask
    seed = asked.seed
    if seed is None and isinstance(asked.split, str) and "frac_train" in contents.settings:
        seed = contents.whole("seed")
    given = as_mask(asked.split, seed, task.p, contents.fraction)
    if not quiet and mask is not None and given is not None and not torch.equal(mask, given):
        warn(
            f"the split given differs from that of {contents.path}, in {int((mask != given).sum())} of {task.p**2} "
            "pairs; the one given is used. Leave split and seed out to use the file's."
        )
    return given


def origin_of_split(contents: Contents, asked: Asked) -> Origin:
    return "recorded" if asked.split is None else "given"


def loss_doubts(
    contents: Contents,
    reading: Reading,
    mask: Bool[Tensor, "p p"] | None,
    weights: Mapping[str, Tensor],
    step: int | None,
) -> tuple[str, ...]:
    """Compare the model's losses with the file's; a mismatch is a warning, and returned as a doubt."""
    if mask is None:
        return ()
    doubt = check_losses(
        contents.history, contents.beside, step, mask, lambda: _cross_entropies(weights, reading), contents.path
    )
    if doubt is None:
        return ()
    warn(doubt)
    return (doubt,)


def check_run(contents: Contents, reading: Reading, run: Run) -> None:
    """Check the losses of the checkpoint that tells most about the split, or of the next that can be read."""
    if run.train_mask is None:
        return
    for step in telling_steps(contents.history, run.steps):
        with contextlib.suppress(CheckpointError):
            run.doubts = loss_doubts(contents, reading, run.train_mask, run.at(step).weights, step)
            return
