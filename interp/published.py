"""load_checkpoint and load_run: any known layout, ours or another's, recognised by what the file holds.

What the tensors tell is taken from them, then what is written beside them, then what the caller says; what is then
still open is settled by what the model evidently learned, or asked for.
"""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import product
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional

from interp.arguments import given
from interp.bridges import SAVE, network_of
from interp.callables import Model
from interp.computing import computing
from interp.console import progress_bar
from interp.contents import Contents, read_contents, settings_beside, state_and_settings
from interp.disk import as_path, look_up, make_folder, temporary_in, writing
from interp.errors import CheckpointError, ConfigError, warn
from interp.files import is_safetensors, local_file
from interp.layouts import ONE_HIDDEN_LAYER, Layout, State, UnknownLayoutError, is_bridge_state
from interp.networks import LayeredTransformer, Network, OneHiddenLayer, Transformer
from interp.networks.base import Activation, plain
from interp.networks.layers import Normalization
from interp.networks.pairs import Pairs
from interp.networks.transformer import TRANSFORMER_ACTIVATIONS
from interp.recorded import check_losses, telling_steps
from interp.run import (
    Checkpoint,
    ForeignNetwork,
    Origin,
    PathLike,
    Run,
    digest_of,
    home_of,
    open_directory,
    read_header,
    read_weights,
    stamp_of,
    write_checkpoint,
    write_config_of,
    write_history,
    write_split,
)
from interp.states import checkpoint_of_state, run_of_states
from interp.task import Operation, SplitLike, Task, as_mask
from interp.task_names import named_tasks

Read = Transformer | OneHiddenLayer | LayeredTransformer

# ── from contents to a model ─────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class _Asked:
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
class _Reading:
    """A way to read a file where its tensors leave it open: how many heads, which modulus."""

    architecture: Read
    task: Task
    origin: Origin  # of the task


def _weights(path: Path | str, layout: Layout, state: State, architecture: Network) -> dict[str, Tensor]:
    try:
        return layout.weights(state, architecture)
    except ConfigError as error:
        raise CheckpointError(f"{path}: {error}") from None


def _readings(contents: Contents, asked: _Asked) -> list[_Reading]:
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
    readings: list[_Reading] = [
        _Reading(architecture, task, origin)
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


def _alien(contents: Contents) -> dict[str, Any]:
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
    if alien := _alien(contents):
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


def _activation(contents: Contents, asked: _Asked) -> Activation:
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


def _coefficient(contents: Contents, asked: _Asked, n_ctx: int) -> float:
    if asked.attention_coefficient is not None:
        return asked.attention_coefficient
    said = contents.number("attention_coefficient", "attn_coeff")
    if said is None and n_ctx == 2:
        raise ConfigError(
            f"{contents.path} has two positions, so its attention may be mixed with a constant, and the file does not "
            "say how; give attention_coefficient (--attention-coefficient): 1 for softmax alone, 0 for constant."
        )
    return 1.0 if said is None else said


def _heads(contents: Contents, asked: _Asked, sizes: Mapping[str, int]) -> list[tuple[int, int]]:
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


def _tasks(contents: Contents, asked: _Asked, architecture: Read) -> list[tuple[Task, Origin]]:
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


def _resolve(contents: Contents, asked: _Asked) -> _Reading:
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
            mask = _mask(contents, asked, reading.task, quiet=True)
        except (ConfigError, CheckpointError):  # a split of another p
            continue
        nll = _cross_entropies(_weights(contents.path, contents.layout, contents.last, reading.architecture), reading)
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


def _plain(readings: list[_Reading]) -> _Reading | None:
    """The reading that needs no word: with "=" among the tokens, a and b hardly ever have tokens of their own."""
    first = readings[0].architecture
    if isinstance(first, OneHiddenLayer) or first.n_ctx != 3:
        return None
    return readings[0] if all(reading.architecture == first for reading in readings) else None


def _cross_entropies(weights: Mapping[str, Tensor], reading: _Reading) -> Float[Tensor, "p p"]:
    """Those of all pairs over all outputs, "=" included: what a training minimizes."""
    p, labels = reading.task.p, reading.task.labels.flatten()
    logits = reading.architecture.run(weights, Pairs.all(p)).logits
    return functional.cross_entropy(logits.double(), labels, reduction="none").view(p, p)


def _mask(contents: Contents, asked: _Asked, task: Task, quiet: bool = False) -> Bool[Tensor, "p p"] | None:
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


def _split_origin(contents: Contents, asked: _Asked) -> Origin:
    return "recorded" if asked.split is None else "given"


def _check(
    contents: Contents,
    reading: _Reading,
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


def _check_run(contents: Contents, reading: _Reading, run: Run) -> None:
    """Check the losses of the checkpoint that tells most about the split, or of the next that can be read."""
    if run.train_mask is None:
        return
    for step in telling_steps(contents.history, run.steps):
        with contextlib.suppress(CheckpointError):
            run.doubts = _check(contents, reading, run.train_mask, run.at(step).weights, step)
            return


# ── loading ──────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, eq=False)
class _Epoch:
    """One state dict of a run that is one file; read from disk when its tensors are asked for."""

    path: Path | str
    layout: Layout
    architecture: Network
    step: int
    state: State = field(repr=False)
    file: Path
    opened: tuple[int, ...]

    def weights(self) -> dict[str, Tensor]:
        self._check()
        name = f"{self.path}, epoch {self.step}"
        if misfits := self.layout.misfits(self.state):
            raise CheckpointError(f"{name}: unlike its last epoch, it {'; '.join(misfits)}.")
        return _weights(name, self.layout, self.state, self.architecture)

    def _check(self) -> None:
        """The tensors are mapped from the file: were it written again meanwhile, reading them could end the process."""
        try:
            same = stamp_of(self.file) == self.opened
        except OSError:  # removed, and still mapped
            same = True
        if not same:
            raise CheckpointError(f"{self.path} was written again since it was opened; open it again with load_run.")

    def digest(self) -> str:
        self._check()
        return digest_of(self.state)

    def stamp(self) -> tuple[int, ...]:
        return self.opened


@computing()
def load_run(
    path: PathLike | Mapping[int, Mapping[str, Any]] | Iterable[tuple[int, Mapping[str, Any]]],
    task: Task | Operation | None = None,
    split: SplitLike | None = None,
    seed: int | None = None,
    attention_coefficient: float | None = None,
    n_heads: int | None = None,
    activation: Activation | None = None,
    *,
    model: Model | None = None,
) -> Run:
    """Open a run: a directory that `interp.train` wrote, or one file that holds a training of another's code.

    Such a file is a dict with `state_dicts` and `epochs`, or `checkpoints` and `checkpoint_epochs` (or `steps`,
    `checkpoint_steps`), in any layout that `load_checkpoint` knows; its epochs, losses, accuracies and split become the
    run's. It is neither copied nor read whole (unless a torch before 1.6 wrote it): weights come from it as they are
    asked for. `path` may be an fsspec address, such as hf://… or s3://…, which is fetched first.

    A run directory knows its task and split. For a file, the other arguments are those of `load_checkpoint`.

    With `model`, an interp.Model of a module of yours, it opens a training of that module: a folder of state dicts
    (*.pt, *.pth, *.safetensors) whose names or contents tell their steps, a dict {step: state}, or a list of
    (step, state).

    A damaged checkpoint of a directory does not keep it from opening: a warning names it, `run.bad` says what is wrong.
    Raises CheckpointError for what is no run, or was written by a newer format, and ConfigError for arguments that do
    not fit.
    """
    asked = _Asked(task, split, seed, attention_coefficient, n_heads, activation)
    if model is not None:
        return run_of_states(path, _own_model(model, asked))
    if not isinstance(path, str | os.PathLike):
        raise ConfigError(
            f"load_run takes a path, or with model=interp.Model(…) the states of a training; got {given(path)}."
        )
    found = _find_run(*local_file(path), asked)
    if found is None:
        raise CheckpointError(
            f"{path} is a file of one checkpoint; a run is a directory, or a file of many. For one checkpoint: "
            "load_checkpoint (interp measure FILE)."
        )
    return found


def _own_model(model: Model, asked: _Asked) -> Model:
    if not isinstance(model, Model):
        raise ConfigError(f"model must be an interp.Model, as in interp.Model(module, task); got {given(model)}.")
    if told := asked.given():
        raise ConfigError(f"an interp.Model carries its own task and split; leave {' and '.join(told)} out.")
    return model


def _find_run(file: Path, name: Path | str, asked: _Asked) -> Run | None:
    """The run at this path; None where there is a file of one checkpoint."""
    if file.is_dir() or not file.exists():
        return _directory(file, name, asked)
    if _is_ours(file):
        return None
    try:
        contents = read_contents(file, name)
    except UnknownLayoutError:
        if not is_bridge_state(state_and_settings(file, name)[0]):
            raise
        return None
    if not contents.states:
        return None
    reading = _resolve(contents, asked)
    mask = _mask(contents, asked, reading.task)
    run = _run(file, contents, reading, mask, _split_origin(contents, asked))
    _check_run(contents, reading, run)
    return run


def _directory(path: Path, name: Path | str, asked: _Asked) -> Run:
    run = open_directory(path, name)
    if given := asked.given():
        raise ConfigError(f"{name} is a run, which knows its own task and split; leave {' and '.join(given)} out.")
    return run


def _is_ours(file: Path) -> bool:
    return is_safetensors(file) and str(read_header(file).get("format", "")).startswith("interp")


def _run(
    file: Path, contents: Contents, reading: _Reading, mask: Bool[Tensor, "p p"] | None, split_origin: Origin
) -> Run:
    opened = stamp_of(file)
    sources = {
        step: _Epoch(contents.path, contents.layout, reading.architecture, step, state, file, opened)
        for step, state in contents.states.items()
    }
    history = contents.history  # now: it may be mapped from the file too
    return Run(
        contents.path, reading.task, reading.architecture, sources, lambda: history, mask,
        task_origin=reading.origin, split_origin=split_origin,
    )  # fmt: skip


@computing()
def load_checkpoint(
    path: PathLike | State,
    task: Task | Operation | None = None,
    split: SplitLike | None = None,
    seed: int | None = None,
    step: int | None = None,
    attention_coefficient: float | None = None,
    n_heads: int | None = None,
    activation: Activation | None = None,
    *,
    model: Model | None = None,
) -> Checkpoint:
    """Read one model, whoever saved it; the layout is recognised by what the file holds, never by its name.

    Known are: the paper's layout (Nanda et al., 2023; with constant attention Zhong et al., 2023), TransformerLens' of
    1.x to 3.x (its grokking demo; Chughtai et al., 2023), the state dict of a TransformerLens 4 bridge (of several
    layers or with layer norm it is a LayeredTransformer), one hidden layer (W_x, W_y, W, W_U; Chughtai et al.), our own
    names, and the checkpoints of `interp.train`; as a torch or safetensors file, bare or with the training beside it.
    Of a file that holds a whole run, that of `step` is read, or its `model`, or its last; of a run directory, that of
    `step`. `path` may be an fsspec address, such as hf://… or s3://….

    What the file tells is taken from it. What it cannot tell is given:

    task                   where it is not addition modulo what the vocabulary says; the operation alone, such as
                           "subtract", where the file tells p
    split                  for train and test losses: "paper" or "torch" with the `seed` (train fraction 0.3); a bool
                           mask [p, p], true = train (`interp.split_mask` makes one of any fraction); the train pairs as
                           indices a * p + b or as pairs (a, b); or lists of both, (train, test)
    attention_coefficient  where attention is coefficient · softmax + (1 − coefficient); asked for where the model has
                           two positions
    n_heads                of a bridge's state dict, where the model has not learned enough to tell
    activation             "relu" unless given, or told; asked for of a bridge of several layers or with layer norm

    With `model`, an interp.Model of a module of yours, `path` is a state dict of that module, or a file that holds one.

    Where the file records losses and the split is known, they are compared, and a mismatch is a warning with both.

    Raises CheckpointError for a file that is missing, damaged, unknown, of a newer format, or that holds code (which is
    never run), and ConfigError for arguments that do not fit it.
    """
    asked = _Asked(task, split, seed, attention_coefficient, n_heads, activation)
    if model is not None:
        return checkpoint_of_state(path, _own_model(model, asked), step)
    if not isinstance(path, str | os.PathLike):
        raise ConfigError(
            f"load_checkpoint takes a path, or with model=interp.Model(…) a state dict; got {given(path)}."
        )
    file, name = local_file(path)
    if file.is_dir() and step is None:
        raise CheckpointError(
            f"{name} is a folder, not a checkpoint file; open a run with load_run, or name one step of it (step=)."
        )
    with _passing(file, name):
        return _load(file, name, asked, step)


@computing()
def last_checkpoint(
    path: PathLike,
    task: Task | Operation | None = None,
    split: SplitLike | None = None,
    seed: int | None = None,
    attention_coefficient: float | None = None,
    n_heads: int | None = None,
    activation: Activation | None = None,
) -> Checkpoint:
    """What a path stands for where one model is wanted: that of a file, or the last of a run directory.

    The arguments and errors are those of `load_checkpoint`, which takes a folder only with a step.
    """
    file, name = local_file(path)
    with _passing(file, name):
        return _load(file, name, _Asked(task, split, seed, attention_coefficient, n_heads, activation), None)


@contextlib.contextmanager
def _passing(file: Path, name: Path | str) -> Iterator[None]:
    """Remove the copy of an address's file afterwards: what was read of it is in memory, or still mapped."""
    try:
        yield
    finally:
        if isinstance(name, str) and file.is_file():
            with contextlib.suppress(OSError):  # a system that keeps mapped files keeps this one until the end
                file.unlink()


def _load(file: Path, name: Path | str, asked: _Asked, step: int | None) -> Checkpoint:
    if file.is_dir():
        opened = _directory(file, name, asked)
        return opened[-1] if step is None else opened.at(step)
    if home_of(file) or (file.exists() and _is_ours(file)):
        return _load_ours(file, name, asked, step)
    try:
        contents = read_contents(file, name)
    except UnknownLayoutError:
        if (bridge := _bridge(file, name, asked, step)) is None:
            raise
        return bridge
    if contents.layout.layers is not None and not contents.states and _alien(contents):
        bridge = _bridge(file, name, asked, step)
        assert bridge is not None
        return bridge
    reading = _resolve(contents, asked)
    mask = _mask(contents, asked, reading.task)
    split_origin = _split_origin(contents, asked)
    run = _run(file, contents, reading, mask, split_origin) if contents.states else None
    if run is not None and (step is not None or contents.single is None):
        _check_run(contents, reading, run)
        return run[-1] if step is None else run.at(step)
    assert contents.single is not None
    if step is not None and contents.step != step:
        held = "does not tell its step" if contents.step is None else f"holds step {contents.step}, not step {step}"
        raise CheckpointError(f"{name} {held}; leave step out.")
    weights = _weights(name, contents.layout, contents.single, reading.architecture)
    doubts = _check(contents, reading, mask, weights, contents.step)
    return Checkpoint(
        weights,
        reading.architecture,
        reading.task,
        contents.step,
        mask,
        name,
        run,
        reading.origin,
        split_origin,
        doubts,
    )


def _bridge(file: Path, name: Path | str, asked: _Asked, step: int | None) -> Checkpoint | None:
    """Read the state dict of a bridge of another shape than ours, with its config; None if the file holds none."""
    state, settings, told = state_and_settings(file, name)
    if not is_bridge_state(state):
        return None
    if lost := [one for one in ("attention_coefficient", "n_heads", "activation") if one in asked.given()]:
        raise ConfigError(f"{name} is a bridge, whose config tells its {' and '.join(lost)}; leave it out.")
    network, p = network_of(state, settings or settings_beside(file), name)
    if step is not None and step != told:
        held = "does not tell its step" if told is None else f"holds step {told}, not step {step}"
        raise CheckpointError(f"{name} {held}; leave step out.")
    task = asked.task_of(Task(p))
    mask = as_mask(asked.split, asked.seed, task.p)
    weights = plain(state)
    network.build(weights)  # says now if they do not fit
    origin: Origin = "given" if asked.task else "assumed"
    return Checkpoint(weights, network, task, told, mask, name, None, origin, "given")


def _load_ours(file: Path, name: Path | str, asked: _Asked, step: int | None) -> Checkpoint:
    weights, about = read_weights(file)
    if step is not None and about.step != step:
        raise CheckpointError(f"{name} holds step {about.step}, not step {step}; leave step out, or name its run.")
    if told := [name for name in ("attention_coefficient", "n_heads", "activation") if name in asked.given()]:
        raise ConfigError(f"{name} knows its own {' and '.join(told)}; leave it out.")
    home = home_of(file)
    run = open_directory(home) if home else None
    task = asked.task_of(run.task if run else about.task)
    try:
        about.model.check_modulus(task.p)
    except ConfigError as error:
        raise ConfigError(f"{name}: {error}") from None
    if run is not None and not asked.given():
        return Checkpoint(
            weights, about.model, task, about.step, run.train_mask, file, run, run.task_origin, run.split_origin
        )
    origin = "given" if asked.task else run.task_origin if run else about.task_origin
    mask = as_mask(asked.split, asked.seed, task.p)
    return Checkpoint(weights, about.model, task, about.step, mask, name, None, origin)


# ── converting ───────────────────────────────────────────────────────────────────────────────────────────────────


@computing()
def convert(
    source: PathLike,
    path: PathLike,
    task: Task | Operation | None = None,
    split: SplitLike | None = None,
    seed: int | None = None,
    step: int | None = None,
    attention_coefficient: float | None = None,
    n_heads: int | None = None,
    activation: Activation | None = None,
    progress: bool = True,
) -> Run:
    """Write a run or checkpoint of any known layout as a run directory of ours, and return that run.

    The arguments are those of `load_checkpoint`; `step` says at which step a lone checkpoint stands where its file does
    not (0, with a warning, if nobody does). The directory appears when it is whole. Raises CheckpointError where `path`
    exists or the source cannot be read, ConfigError for arguments that do not fit, and StorageError if the directory
    cannot be written; then nothing is left of it.
    """
    target = Path(os.path.abspath(as_path(path)))
    if target.is_symlink() or (look_up(target) and (not target.is_dir() or any(target.iterdir()))):
        raise CheckpointError(f"{target} already exists; name a new directory.")
    if step is not None and (not isinstance(step, int) or isinstance(step, bool) or step < 0):
        raise ConfigError(f"step is {step!r}; it is a whole number of at least 0.")
    asked = _Asked(task, split, seed, attention_coefficient, n_heads, activation)
    file, name = local_file(source)
    if file.is_dir():
        raise CheckpointError(f"{name} is a run directory already; copy it.")
    run = _find_run(file, name, asked)
    if run is not None:
        if step is not None:
            raise ConfigError(f"{name} is a whole run, which knows its steps; leave step out.")
        first, steps, history = run[-1], list(run.steps), run.history
        checkpoints = iter(run)
    else:
        first = _load(file, name, asked, None)
        if isinstance(first.config, ForeignNetwork):
            raise ConfigError(
                f"{name} is a bridge with a config that no network of interp's has, so a run directory cannot hold it; "
                "measure the file itself."
            )
        if step is not None and first.step is not None and step != first.step:
            raise ConfigError(f"{name} holds step {first.step}, not step {step}; leave step out.")
        known = first.step if step is None else step
        if known is None:
            warn(f"{name} does not tell at which step it was saved; it becomes step 0 (step=, --step names it).")
        steps = [known or 0]
        checkpoints = iter([first])
        history = pd.DataFrame() if home_of(file) or _is_ours(file) else read_contents(file, name).history
    assert not isinstance(first.config, ForeignNetwork)
    missing = [folder for folder in target.parents if not folder.exists()]
    try:
        make_folder(target.parent)
        with (
            writing(target),
            temporary_in(target.parent, is_folder=True) as temporary,
            progress_bar("convert", "checkpoints", len(steps), show=progress) as bar,
        ):
            for done, (number, checkpoint) in enumerate(zip(steps, checkpoints, strict=True), 1):
                write_checkpoint(temporary, number, checkpoint.weights, first.task, first.config, first.task_origin)
                if bar:
                    bar.at(done)
            if first.train_mask is not None:
                write_split(temporary, first.train_mask)
            if len(history):
                write_history(temporary, history)
            write_config_of(temporary, first)
            if target.exists():
                target.rmdir()
            temporary.replace(target)
    except BaseException:
        for folder in missing:  # from the innermost
            with contextlib.suppress(OSError):
                folder.rmdir()
        raise
    written = open_directory(target)
    written.doubts = first.doubts
    return written
