"""Interpret a file as a model: find the task, the sizes and the split with which to read its tensors.

The tensors come first, then the settings beside them, then the caller's options. If several interpretations are left,
the one that the model has evidently learned is used; if none stands out, an error asks for the missing option.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional

from interp.networks import LayeredTransformer, Network, OneHiddenLayer, Transformer
from interp.networks.layers import Normalization
from interp.networks.names import Activation
from interp.networks.one_hidden_layer import Inputs
from interp.networks.pairs import Pairs
from interp.networks.transformer import TRANSFORMER_ACTIVATIONS
from interp.runs.names import Origin
from interp.runs.published.bridges import SAVE
from interp.runs.published.contents import Contents
from interp.runs.published.layouts import ONE_HIDDEN_LAYER, Layout
from interp.runs.published.recorded import check_losses, telling_steps
from interp.runs.published.task_names import named_tasks
from interp.runs.run import Run
from interp.subjects.state_dicts import State
from interp.tasks.operations import Operation
from interp.tasks.splits import SplitLike, as_mask
from interp.tasks.task import Task
from interp.utils.arguments import given
from interp.utils.errors import CheckpointError, ConfigError, warn

Read = Transformer | OneHiddenLayer | LayeredTransformer


@dataclass(frozen=True)
class FileOptions:
    """The caller's options for a file; an option of None is taken from the file, or does not apply."""

    task: Task | Operation | None = None
    split: SplitLike | None = None
    seed: int | None = None
    attention_coefficient: float | None = None
    n_heads: int | None = None
    activation: Activation | None = None

    def task_of(self, told: Task) -> Task:
        """Return the caller's task; `told` if none was given, or its modulus for an operation alone."""
        if isinstance(self.task, str):
            return Task(told.p, self.task)
        if self.task is not None and not isinstance(self.task, Task):
            raise ConfigError(f"task must be an interp.Task, such as interp.Task(113); got {given(self.task)}.")
        return self.task or told

    @property
    def split_origin(self) -> Origin:
        return "recorded" if self.split is None else "given"

    def given(self) -> list[str]:
        """Return the names of the options that the caller gave."""
        return [name for name in self.__dataclass_fields__ if getattr(self, name) is not None]


@dataclass(frozen=True)
class Interpretation:
    """One possible reading of a file whose tensors do not determine n_heads, the norm or p."""

    architecture: Read
    task: Task
    origin: Origin  # of the task

    def settings(self) -> dict[str, Any]:
        """Return p, with n_heads and normalization_type if the network has them."""
        found: dict[str, Any] = {"p": self.task.p}
        if not isinstance(self.architecture, OneHiddenLayer):
            found["n_heads"] = self.architecture.n_heads
        if isinstance(self.architecture, LayeredTransformer):
            found["normalization_type"] = self.architecture.normalization
        return found


def weights_of(path: Path | str, layout: Layout, state: State, architecture: Network) -> dict[str, Tensor]:
    try:
        return layout.weights(state, architecture)
    except ConfigError as error:
        raise CheckpointError(f"{path}: {error}") from None


def _interpretations(contents: Contents, options: FileOptions) -> list[Interpretation]:
    """Return all interpretations that agree with the tensors, the settings beside them and the caller's options."""
    sizes = contents.layout.sizes(contents.last)
    _check_settings(contents, sizes)
    architectures = _architectures(contents, options, sizes)
    tasks = _tasks(contents, options, architectures[0])
    found = [Interpretation(network, task, origin) for network, (task, origin) in product(architectures, tasks)]
    for one in found:
        try:
            one.architecture.check_modulus(one.task.p)
        except ConfigError as error:
            said = None if isinstance(options.task, Task) else contents.whole("p", "C")
            source = "" if said is None else f" (its config says p = {said}; task=, --p overrides it)"
            raise ConfigError(f"{contents.path}: {str(error).rstrip('.')}{source}.") from None
    return found


def _architectures(contents: Contents, options: FileOptions, sizes: Mapping[str, int]) -> Sequence[Read]:
    """Return the networks whose weights these tensors may be."""
    if contents.layout is ONE_HIDDEN_LAYER:
        return [_one_hidden_layer(contents, options, sizes)]
    if contents.layout.layers is not None:
        return _layered(contents, options, sizes, contents.layout.layers)
    activation, coefficient = _activation(contents, options), _coefficient(contents, options, sizes["n_ctx"])
    return [
        Transformer(
            sizes["d_vocab"], sizes["d_vocab_out"], sizes["n_ctx"], sizes["d_model"], d_mlp=sizes["d_mlp"],
            n_heads=n_heads, d_head=d_head, activation=activation, attention_coefficient=coefficient,
        )
        for n_heads, d_head in _heads(contents, options, sizes)
    ]  # fmt: skip


def _one_hidden_layer(contents: Contents, options: FileOptions, sizes: Mapping[str, int]) -> OneHiddenLayer:
    activation = _activation(contents, options)
    if options.attention_coefficient is not None or options.n_heads is not None:
        raise ConfigError(
            f"{contents.path} is a network of one hidden layer and has no attention; leave attention_coefficient and "
            "n_heads out."
        )
    inputs: Inputs = "concatenated" if sizes["d_input"] == 2 * sizes["d_embed"] else "summed"
    return OneHiddenLayer(
        sizes["d_vocab"], sizes["d_vocab_out"], sizes["d_embed"], sizes["d_hidden"], inputs, activation
    )


def _layered(
    contents: Contents, options: FileOptions, sizes: Mapping[str, int], layers: LayeredTransformer
) -> list[LayeredTransformer]:
    activation = _activation(contents, options)
    if options.attention_coefficient is not None:
        raise ConfigError(
            f"{contents.path} is a bridge, with softmax attention alone; leave attention_coefficient out."
        )
    if sizes["n_ctx"] == 2 and layers.n_layers > 1 and contents.setting("attention_dir") is None:
        raise ConfigError(
            f"{contents.path} has two positions and several layers, and does not tell whether its attention is causal; "
            "save its config beside it."
        )
    same = {name: sizes[name] for name in ("d_vocab", "d_vocab_out", "n_ctx", "d_model", "d_mlp")}
    return [
        replace(layers, **same, n_heads=n_heads, activation=activation, normalization=norm)
        for norm in _norms(contents, layers.normalization)
        for n_heads, _ in _heads(contents, options, {**sizes, "(n_heads d_head)": sizes["d_model"]})
    ]


# Settings of a network, each with the values that interp's networks compute.
_ALIEN = {
    "n_layers": (1,), "num_layers": (1,), "normalization_type": ("none", "None"), "attn_only": (False,),
    "parallel_attn_mlp": (False,), "positional_embedding_type": ("standard",), "use_attn_scale": (True,),
    "scale_attn_by_inverse_layer_idx": (False,), "use_local_attn": (False,), "gated_mlp": (False,), "use_ln": (False,),
    "attn_scores_soft_cap": (-1.0, 0.0), "output_logits_soft_cap": (-1.0, 0.0), "final_rms": (False,),
}  # fmt: skip
_OF_LAYERS = ("n_layers", "num_layers", "normalization_type", "use_ln")  # which a bridge of several layers computes


def alien_settings(contents: Contents) -> dict[str, Any]:
    """Return the settings beside the file that interp's networks do not compute; empty if there are none."""
    known: dict[str, tuple[Any, ...]] = dict(_ALIEN)
    if contents.layout.layers is not None:
        known = {name: values for name, values in _ALIEN.items() if name not in _OF_LAYERS}
        direction = "bidirectional" if len(contents.last["pos_embed.weight"]) == 2 else "causal"
        known |= {"act_fn": TRANSFORMER_ACTIVATIONS, "eps": (1e-5,), "attention_dir": (direction,)}
    said = {name: contents.setting(name) for name in contents.settings if name in known}
    alien = {name: value for name, value in said.items() if value is not None and value not in known[name]}
    scale, d_head = contents.setting("attn_scale"), contents.setting("d_head")
    if isinstance(scale, int | float) and isinstance(d_head, int) and scale > 0 and not math.isclose(scale**2, d_head):
        alien["attn_scale"] = scale
    return alien


def _check_settings(contents: Contents, sizes: Mapping[str, int]) -> None:
    """Raise ConfigError if the settings beside the file are those of another network, or of other sizes."""
    if alien := alien_settings(contents):
        name, value = next(iter(alien.items()))
        raise ConfigError(
            f"{contents.path} says {name} {value!r} in its config, and interp computes no such model. Measure it "
            "through its hooks with progress_measures(bridge, task=...)."
        )
    for name in ("d_model", "d_head", "d_mlp", "n_ctx", "d_vocab", "d_vocab_out"):
        size = contents.setting(name)
        if isinstance(size, int) and size > 0 and sizes.get(name, size) != size:
            raise ConfigError(
                f"{contents.path} says {name} {size} in its config and holds weights of {name} {sizes[name]}; the file "
                "disagrees with itself."
            )


def _activation(contents: Contents, options: FileOptions) -> Activation:
    said = options.activation or contents.setting("act_fn", "act_type", "activation")
    if said is None and contents.layout.layers is not None:
        raise ConfigError(
            f"{contents.path} does not tell its activation, which a bridge of several layers or with layer norm needs: "
            f"give activation (--activation), or save its config beside it, {SAVE}."
        )
    name = str(said or "relu").lower()
    if name not in TRANSFORMER_ACTIVATIONS:
        known = ", ".join(TRANSFORMER_ACTIVATIONS)
        raise ConfigError(f"{contents.path} has the activation {said!r}; interp knows {known} (activation=).")
    return name


def _coefficient(contents: Contents, options: FileOptions, n_ctx: int) -> float:
    if options.attention_coefficient is not None:
        return options.attention_coefficient
    said = contents.number("attention_coefficient", "attn_coeff")
    if said is None and n_ctx == 2:
        raise ConfigError(
            f"{contents.path} has two positions, so its attention may be mixed with a constant, and the file does not "
            "say how; give attention_coefficient (--attention-coefficient): 1 for softmax alone, 0 for constant."
        )
    return 1.0 if said is None else said


def _heads(contents: Contents, options: FileOptions, sizes: Mapping[str, int]) -> list[tuple[int, int]]:
    wanted = options.n_heads if options.n_heads is not None else contents.whole("n_heads", "num_heads")
    if "n_heads" in sizes:
        if wanted is not None and wanted != sizes["n_heads"]:
            raise ConfigError(f"{contents.path} has {sizes['n_heads']} heads, not {wanted}; leave n_heads out.")
        return [(sizes["n_heads"], sizes["d_head"])]
    whole = sizes["(n_heads d_head)"]
    if wanted is None:
        return [(n, whole // n) for n in range(1, whole + 1) if whole % n == 0]
    if not isinstance(wanted, int) or wanted < 1 or whole % wanted:
        raise ConfigError(f"{contents.path} has heads of {whole} in all, which n_heads must divide; got {wanted!r}.")
    return [(wanted, whole // wanted)]


def _norms(contents: Contents, told: Normalization) -> list[Normalization]:
    """Return the norms that a bridge may have: `told` by its weights, or if that is none, those without weights."""
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


def _tasks(contents: Contents, options: FileOptions, architecture: Read) -> list[tuple[Task, Origin]]:
    """Return the tasks that the file may have been trained on, each with its source."""
    if options.task is not None and not isinstance(options.task, str):
        return [(options.task_of(options.task), "given")]
    named = options.task or _named(contents)
    origin: Origin = "given" if options.task else "recorded" if named else "assumed"
    try:
        return [(Task(p, named or "add"), origin) for p in _moduli(contents, architecture)]
    except ConfigError as error:
        raise ConfigError(f"{contents.path}: {error}") from None


def _moduli(contents: Contents, architecture: Read) -> list[int]:
    """Return the moduli that the settings name, or else that the numbers of tokens and outputs allow."""
    said = contents.whole("p", "C")
    if said is not None:
        return [said]
    tokens, outputs = architecture.d_vocab, architecture.d_vocab_out
    assert tokens is not None
    if isinstance(architecture, OneHiddenLayer):
        return [tokens]
    # The tokens are p numbers, or 2p if b has its own. The outputs tell which, unless they are as many as the tokens.
    numbers = tokens - (architecture.n_ctx != 2)
    halves = [numbers // 2] if numbers % 2 == 0 else []
    return [p for p in (numbers, *halves) if outputs in (p, p + 1, tokens) and p >= 2] or [numbers]


def _named(contents: Contents) -> Operation | None:
    """Return the operation that the file names, or None. Raise ConfigError if interp does not measure that task."""
    contents.setting("fn_name", "operation", "op", "operator")  # raises for a list or another value that is no name
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


# The best interpretation's loss must be below this share of chance and of the next. While a network generalizes, a
# wrong number of heads was up to a third better than the right one; once it has grokked, the right one wins threefold.
_BETTER = 0.5


def resolve(contents: Contents, options: FileOptions) -> Interpretation:
    """Return the interpretation of a file; if several are possible, the one that the model has evidently learned.

    Its loss (over the train pairs, if known) is then well below chance and every other's; a warning names it.

    Raises:
        ConfigError: No interpretation stands out, or none agrees with the file.
    """
    found = _interpretations(contents, options)
    if len(found) == 1:
        return found[0]
    losses = _relative_losses(contents, options, found)
    least = sorted(loss for loss, _ in losses)
    plain = _plain(found)
    if len(least) == 1 or (least and least[0] < _BETTER * min(1.0, least[1])):
        best = found[min(losses)[1]]
        if len(least) > 1 and best is not plain:
            _warn_of(best, _undetermined(found), contents.path)
        return best
    if plain is None:
        raise _unresolved(_undetermined(found), contents.path)
    return plain


def _relative_losses(
    contents: Contents, options: FileOptions, interpretations: list[Interpretation]
) -> list[tuple[float, int]]:
    """Return the loss of each interpretation, as a share of chance, with its index."""
    found: list[tuple[float, int]] = []
    chance = math.log(contents.layout.sizes(contents.last)["d_vocab_out"])
    for index, one in enumerate(interpretations):
        try:
            mask = split_of(contents, options, one.task, quiet=True)
        except (ConfigError, CheckpointError):  # the split does not fit this p
            continue
        nll = _cross_entropies(weights_of(contents.path, contents.layout, contents.last, one.architecture), one)
        found.append((float((nll if mask is None else nll[mask]).mean()) / chance, index))
    return found


def _undetermined(interpretations: list[Interpretation]) -> dict[str, list[Any]]:
    """Return the settings in which interpretations differ, each with its values in order."""
    settings = [one.settings() for one in interpretations]
    values = {name: sorted({each[name] for each in settings}) for name in settings[0]}
    return {name: several for name, several in values.items() if len(several) > 1}


def _warn_of(best: Interpretation, undetermined: Mapping[str, list[Any]], path: Path | str) -> None:
    used = [f"{name} = {best.settings()[name]}" for name in undetermined]
    sure = "its config" if "normalization_type" in undetermined else "n_heads" if "n_heads" in undetermined else "task"
    warn(
        f"{path} does not say; using {' and '.join(used)}, which {'fit' if len(used) > 1 else 'fits'} the model best "
        f"by far. Pass {sure} to be certain."
    )


def _unresolved(undetermined: Mapping[str, list[Any]], path: Path | str) -> ConfigError:
    ask = []
    if heads := undetermined.get("n_heads"):
        ask.append(f"the number of heads: give n_heads (--n-heads), one of {', '.join(map(str, heads))}")
    if norms := undetermined.get("normalization_type"):
        ask.append(f"its norm, one of {', '.join(norms)}: save its config beside it, {SAVE}")
    if moduli := undetermined.get("p"):
        ask.append(f"whether p is {moduli[1]}, or {moduli[0]} with tokens of b's own: give task=interp.Task(p) (--p)")
    return ConfigError(f"{path} does not tell {'; nor '.join(ask)}.")


def _plain(interpretations: list[Interpretation]) -> Interpretation | None:
    """Return the interpretation in which a and b share tokens, as they nearly always do beside "=", or None."""
    first = interpretations[0].architecture
    if isinstance(first, OneHiddenLayer) or first.n_ctx != 3:
        return None
    return interpretations[0] if all(one.architecture == first for one in interpretations) else None


def _cross_entropies(weights: Mapping[str, Tensor], interpretation: Interpretation) -> Float[Tensor, "p p"]:
    """Return the loss of each pair over all outputs, "=" included, as a training minimizes it."""
    p, labels = interpretation.task.p, interpretation.task.labels.flatten()
    logits = interpretation.architecture.run(weights, Pairs.all(p)).logits
    return functional.cross_entropy(logits.double(), labels, reduction="none").view(p, p)


def split_of(contents: Contents, options: FileOptions, task: Task, quiet: bool = False) -> Bool[Tensor, "p p"] | None:
    """Return the caller's split, else the one that the file holds or names, or None."""
    try:
        mask = contents.mask(task.p)
    except ConfigError as error:
        if options.split is None:
            raise CheckpointError(
                f"{contents.path} holds a split that does not fit it: {str(error).rstrip('.')}; give split= instead."
            ) from None
        mask = None
    if options.split is None:
        if options.seed is not None and mask is None:
            as_mask(None, options.seed, task.p)  # raises, since a seed needs a split
        return mask
    seed = options.seed
    if seed is None and isinstance(options.split, str) and "frac_train" in contents.settings:
        seed = contents.whole("seed")
    given = as_mask(options.split, seed, task.p, contents.fraction)
    if not quiet and mask is not None and given is not None and not torch.equal(mask, given):
        warn(
            f"The split given differs from that of {contents.path} in {int((mask != given).sum())} of {task.p**2} "
            "pairs; the one given is used. Leave split and seed out to use the file's."
        )
    return given


def loss_doubts(
    contents: Contents,
    interpretation: Interpretation,
    mask: Bool[Tensor, "p p"] | None,
    weights: Mapping[str, Tensor],
    step: int | None,
) -> tuple[str, ...]:
    """Compare the model's losses with the file's; warn of a mismatch, and return it as a doubt."""
    if mask is None:
        return ()
    doubt = check_losses(
        contents.history, contents.beside, step, mask, lambda: _cross_entropies(weights, interpretation), contents.path
    )
    if doubt is None:
        return ()
    warn(doubt)
    return (doubt,)


def check_run(contents: Contents, interpretation: Interpretation, run: Run) -> None:
    """Compare losses with the file's at the checkpoint that tells most about the split, or the next readable one."""
    if run.train_mask is None:
        return
    for step in telling_steps(contents.history, run.steps):
        with contextlib.suppress(CheckpointError):
            run.doubts = loss_doubts(contents, interpretation, run.train_mask, run.at(step).weights, step)
            return
