"""load_checkpoint and load_run: any known layout, ours or another's, recognised by what the file holds.

A layout is a table: for each weight of ours, the key it has there and an einops pattern that turns it into ours. A file
is a state dict in one of these layouts, bare or with its training beside it, or a whole run of them. Torch files are
read with `weights_only=True` and no fallback: nothing pickled in them is ever run.
"""

from __future__ import annotations

import hashlib
import math
import os
import pickle
import re
import shutil
import tempfile
import uuid
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Bool
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from interp.config import Architecture, MLPConfig, ModelConfig
from interp.console import progress_bar
from interp.errors import CheckpointError, ConfigError, warn
from interp.forward import Activation, Pairs, forward
from interp.measures.losses import cross_entropy
from interp.model import BRIDGE, MLP, OPTIONAL, TRANSFORMER, check_weights, oriented
from interp.run import (
    HISTORY_COLUMNS,
    Checkpoint,
    PathLike,
    Run,
    home_of,
    open_directory,
    read_header,
    read_weights,
    write_checkpoint,
    write_config,
    write_history,
    write_split,
)
from interp.task import PAPER_FRACTION, Operation, SplitLike, Task, as_mask

State = Mapping[str, Tensor]

# ── layouts ──────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Layout:
    """How a state dict names and orients the weights: ours → (its key, an einops pattern from its axes to ours)."""

    name: str
    keys: Mapping[str, tuple[str, str]]
    ignored: tuple[str, ...] = ()  # keys that hold no weight of the model

    def known(self) -> set[str]:
        return {key for key, _ in self.keys.values()} | set(self.ignored)


def _same(axes: Sequence[str]) -> str:
    return f"{' '.join(axes)} -> {' '.join(axes)}"


_PAPER = Layout(
    "paper (left-acting matrices; with two positions, constant attention)",
    {
        "W_E": ("embed.W_E", "d_model d_vocab -> d_vocab d_model"),
        "W_pos": ("pos_embed.W_pos", "n_ctx d_model -> n_ctx d_model"),
        **{
            f"W_{name}": (f"blocks.0.attn.W_{name}", "n_heads d_head d_model -> n_heads d_model d_head")
            for name in "QKV"
        },
        "W_O": ("blocks.0.attn.W_O", "d_model (n_heads d_head) -> n_heads d_head d_model"),
        "W_in": ("blocks.0.mlp.W_in", "d_mlp d_model -> d_model d_mlp"),
        "b_in": ("blocks.0.mlp.b_in", "d_mlp -> d_mlp"),
        "W_out": ("blocks.0.mlp.W_out", "d_model d_mlp -> d_mlp d_model"),
        "b_out": ("blocks.0.mlp.b_out", "d_model -> d_model"),
        "W_U": ("unembed.W_U", "d_model d_vocab_out -> d_model d_vocab_out"),
    },
    ignored=("blocks.0.attn.mask",),
)
_PROPERTIES = Layout(
    "TransformerLens 1.x to 3.x property names",
    {name: (key, _same(axes)) for name, (key, axes) in TRANSFORMER.items()},
    ignored=("blocks.0.attn.mask", "blocks.0.attn.IGNORE", "x_embed", "y_embed"),
)
_BRIDGE = Layout("TransformerLens 4 bridge", BRIDGE)
_OURS = Layout("interp's own names", {name: (name, _same(axes)) for name, (_, axes) in TRANSFORMER.items()})
_MLP = Layout("one hidden layer (W_x, W_y, W, W_U)", {name: (name, _same(axes)) for name, axes in MLP.items()})
LAYOUTS = (_PAPER, _PROPERTIES, _BRIDGE, _OURS, _MLP)


def _axes(pattern: str) -> list[str]:
    return re.findall(r"\([^)]*\)|\S+", pattern.split("->")[0])


def _sizes(layout: Layout, state: State) -> dict[str, int]:
    """The size of every axis, "(n_heads d_head)" among them; ConfigError where two tensors disagree."""
    sizes: dict[str, int] = {}
    named_by: dict[str, str] = {}
    for key, pattern in layout.keys.values():
        if key not in state:
            continue
        shape, axes = list(state[key].shape), _axes(pattern)
        if len(shape) != len(axes):
            raise ConfigError(f"{key} is {shape}, expected [{', '.join(axes)}]")
        for axis, size in zip(axes, shape, strict=True):
            if sizes.setdefault(axis, size) != size:
                raise ConfigError(f"{key} is {shape}, but {named_by[axis]} gives {axis} {sizes[axis]}")
            named_by.setdefault(axis, key)
    whole = sizes.get("(n_heads d_head)")
    if whole is not None and "n_heads" in sizes and whole != sizes["n_heads"] * sizes["d_head"]:
        raise ConfigError(
            f"{named_by['(n_heads d_head)']} has {whole} rows for heads, expected {sizes['n_heads']} of "
            f"{sizes['d_head']}"
        )
    if "d_input" in sizes and sizes["d_input"] not in (sizes["d_embed"], 2 * sizes["d_embed"]):
        raise ConfigError(
            f"W reads {sizes['d_input']}, expected {2 * sizes['d_embed']} (concatenated) or {sizes['d_embed']} (summed)"
        )
    return sizes


def _misfits(layout: Layout, state: State) -> list[str]:
    """What keeps a state dict from being in this layout, in words; none where it is."""
    lacking = [key for name, (key, _) in layout.keys.items() if key not in state and name not in OPTIONAL]
    beside = [key for key in state if key not in layout.known()]
    wrong = [key for key in layout.known() & set(state) if not state[key].dtype.is_floating_point]
    wrong = [key for key in wrong if key not in layout.ignored]
    found = [f"lacks {', '.join(lacking)}"] if lacking else []
    found += [f"has {_some(beside)} beside"] if beside else []
    found += [f"has {key} in {state[key].dtype}" for key in wrong]
    if not found:
        try:
            _sizes(layout, state)
        except ConfigError as error:
            found = [str(error)]
    return found


def _some(items: Sequence[str], most: int = 6) -> str:
    return ", ".join(items[:most]) + (f" and {len(items) - most} more" if len(items) > most else "")


def _recognise(path: Path | str, state: State) -> Layout:
    misfits = {layout.name: _misfits(layout, state) for layout in LAYOUTS}
    for layout in LAYOUTS:
        if not misfits[layout.name]:
            return layout
    nearest = max(LAYOUTS, key=lambda layout: (len(layout.known() & set(state)), -len(misfits[layout.name])))
    deeper = " An unsupported architecture is measured through its hooks: progress_measures(bridge, task=...)."
    hint = deeper if any(re.search(r"blocks\.[1-9]|\bln", key) for key in state) else ""
    raise CheckpointError(
        f"{path} is in no layout that interp knows: it holds "
        f"{_some([f'{key} {list(value.shape)}' for key, value in state.items()], 20) or 'no tensors'}. "
        f"Nearest is {nearest.name}: it {'; '.join(misfits[nearest.name])}. "
        f"Known layouts: {'; '.join(layout.name for layout in LAYOUTS)}.{hint}"
    )


# ── files ────────────────────────────────────────────────────────────────────────────────────────────────────────


def _local(path: PathLike) -> tuple[Path, Path | str]:
    """Where to read a path, and what to call it.

    An fsspec address (hf://…, s3://…, memory://…) is fetched into a folder that lasts as long as the process.
    """
    address = os.fspath(path)
    if "://" not in address and "::" not in address:
        return Path(address), Path(address)
    import fsspec

    try:
        files, inner = fsspec.url_to_fs(address)
        if isinstance(files, fsspec.get_filesystem_class("file")):
            return Path(inner), Path(inner)
        target = Path(_fetched().name, uuid.uuid4().hex, inner.rstrip("/").rsplit("/", 1)[-1])
        target.parent.mkdir()
        if files.isdir(inner):
            files.get(inner.rstrip("/"), str(target), recursive=True)
        else:
            files.get_file(inner, str(target))
    except Exception as error:  # whatever the storage behind the address raises
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise CheckpointError(
            f"{address} cannot be fetched ({reason}); check the address, and that its fsspec backend is installed."
        ) from None
    return target, address


@cache
def _fetched() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="interp-")


def _is_safetensors(file: Path) -> bool:
    with file.open("rb") as stream:
        start = stream.read(9)
    return start[8:] == b"{" and int.from_bytes(start[:8], "little") <= file.stat().st_size


def _read(file: Path, name: Path | str) -> Any:
    """What a safetensors or torch file holds; CheckpointError where it is neither, cut short, or more than data."""
    if not file.exists():
        raise CheckpointError(f"{name} does not exist; expected a checkpoint file or a run directory.")
    size = f"{name} ({file.stat().st_size:,} bytes)"
    if _is_safetensors(file):
        try:
            return load_file(file)
        except (SafetensorError, OSError) as error:
            raise CheckpointError(f"{size} is no whole safetensors file ({error}); replace it from a copy.") from None
    with file.open("rb") as stream:
        zipped = stream.read(2) == b"PK"
    try:
        with (
            torch.serialization.safe_globals(_numpy_globals()),
            file.open("rb") as stream,
            warnings.catch_warnings(),
        ):
            warnings.filterwarnings("ignore", message="Detected pickle protocol")  # of files that torch did not write
            # Archives are mapped, not read. By path, torch would take .safetensors at its word, so those are read.
            mapped = zipped and file.suffix != ".safetensors"
            source = file if mapped else stream
            return torch.load(source, map_location="cpu", weights_only=True, mmap=mapped)
    except pickle.UnpicklingError as error:
        if needed := _code_in(file, zipped, str(error)):
            raise CheckpointError(
                f"{name} holds more than data ({_some(needed)}), and code in a checkpoint is never run; its owner can "
                "re-save it as data, with torch.save(model.state_dict(), file) or a dict of tensors, numbers and lists."
            ) from None
        reason = str(error)
    except Exception as error:  # damaged bytes end in errors of every kind
        reason = str(error) or type(error).__name__
    reason = reason.strip().splitlines()[0][:120]
    raise CheckpointError(f"{size} is no whole safetensors or torch file ({reason}); replace it from a copy.") from None


@cache
def _numpy_globals() -> list[Any]:
    """Numpy's numbers and arrays, which old runs hold among their losses: data, under the names of numpy 1 and 2."""
    import numpy._core.multiarray as multiarray

    made = [
        (getattr(multiarray, name), f"numpy.{core}.multiarray.{name}")
        for name in ("scalar", "_reconstruct")
        for core in ("core", "_core")
    ]
    return [*made, np.ndarray, np.dtype, *{type(np.dtype(code)) for code in "?bhilqBHILQefd"}]


def _code_in(file: Path, zipped: bool, message: str) -> list[str]:
    """The names of what a pickle wants to import, found without importing any of it."""
    if zipped:
        try:
            with torch.serialization.safe_globals(_numpy_globals()):
                return sorted(torch.serialization.get_unsafe_globals_in_checkpoint(file))
        except Exception:  # a damaged or strange archive
            return []
    return re.findall(r"GLOBAL (\S+)", message)[:1]


# ── contents ─────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, eq=False)
class _Contents:
    """What one file holds, in any layout: state dicts by epoch, and whatever was saved beside them."""

    path: Path | str
    layout: Layout
    states: Mapping[int, State]  # a whole run
    single: State | None  # the model that is not part of a run, or its last
    beside: Mapping[str, Any]

    @cached_property
    def settings(self) -> Mapping[str, Any]:
        for key in ("config", "cfg"):
            if isinstance(self.beside.get(key), Mapping):
                return self.beside[key]
        return {}

    def setting(self, *names: str) -> Any:
        return next((self.settings[name] for name in names if self.settings.get(name) is not None), None)

    @property
    def last(self) -> State:
        return self.single if self.single is not None else self.states[max(self.states)]

    @property
    def step(self) -> int | None:
        """The step of `single`, where the file tells."""
        assert self.single is not None
        for step in sorted(self.states, reverse=True):
            if _same_tensors(self.states[step], self.single):
                return step
        epoch = self.beside.get("epoch", self.beside.get("step"))
        return None if epoch is None else _integer(epoch, self.path, "epoch")


def _same_tensors(one: State, other: State) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


def _integer(value: Any, path: Path | str, name: str) -> int:
    try:
        number = int(value)
    except (TypeError, ValueError):
        number = -1
    if number < 0:
        raise CheckpointError(f"{path}: {name} is {value!r}; expected a whole number of at least 0.")
    return number


_STATE_KEYS = ("model", "state_dict", "model_state_dict")
_RUNS = (("state_dicts", "epochs"), ("checkpoints", "checkpoint_epochs"))
_PREFIX = re.compile(r"(module\.|_orig_mod\.|model\.)+")


def _contents(file: Path, path: Path | str) -> _Contents:
    raw = _read(file, path)
    if not isinstance(raw, Mapping):
        raise CheckpointError(
            f"{path} holds a {type(raw).__name__}; expected a state dict, or a dict with one under model or state_dicts"
            "."
        )
    single = next((_state(raw[key]) for key in _STATE_KEYS if isinstance(raw.get(key), Mapping)), None)
    states: dict[int, State] = {}
    for many, counts in _RUNS:
        if many not in raw:
            continue
        found, epochs = raw[many], raw.get(counts)
        if epochs is None or not isinstance(found, Sequence) or len(found) != len(epochs):
            have = "no" if epochs is None else len(epochs)
            raise CheckpointError(
                f"{path} holds {len(found)} checkpoints under {many} and {have} {counts}; expected one for each."
            )
        steps = [_integer(epoch, path, f"one of {counts}") for epoch in epochs]
        states = {step: _state(state) for step, state in sorted(zip(steps, found, strict=True), key=lambda x: x[0])}
        if not states:
            raise CheckpointError(f"{path} holds an empty list of {many}; expected at least one checkpoint.")
    if single is None and not states:
        single = _state(raw)
        if not single:
            raise CheckpointError(
                f"{path} holds {_some([f'{key} ({type(x).__name__})' for key, x in raw.items()]) or 'nothing'}, and no "
                f"state dict; expected one, bare or under {', '.join(_STATE_KEYS)}, state_dicts or checkpoints."
            )
    layout = _recognise(path, single if single is not None else states[max(states)])
    return _Contents(path, layout, states, single, raw)


def _state(raw: Any) -> State:
    """The tensors of a state dict, without the prefix that a wrapper (DataParallel, compile) gave all their names."""
    if not isinstance(raw, Mapping):
        return {}
    state = {str(key): value for key, value in raw.items() if isinstance(value, Tensor)}
    match = _PREFIX.match(next(iter(state), ""))
    if match and all(key.startswith(match[0]) for key in state):
        return {key.removeprefix(match[0]): value for key, value in state.items()}
    return state


# ── from contents to a model ─────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class _Asked:
    """What the caller says of a file; None: take it from the file, or do without."""

    task: Task | None
    split: SplitLike | None
    seed: int | None
    attention_coefficient: float | None
    n_heads: int | None
    activation: Activation | None

    def given(self) -> list[str]:
        return [name for name in self.__dataclass_fields__ if getattr(self, name) is not None]


@dataclass(frozen=True)
class _Reading:
    """A way to read a file where its tensors leave it open: how many heads, which modulus."""

    architecture: Architecture
    task: Task


_OPERATIONS: dict[str, Operation] = {
    "add": "add", "subtract": "subtract", "quadratic": "quadratic", "x2xyy2": "quadratic",
}  # fmt: skip
_ACTIVATIONS: dict[str, Activation] = {"relu": "relu", "gelu": "gelu", "gelu_new": "gelu_new"}


def _weights(path: Path | str, layout: Layout, state: State, architecture: Architecture) -> dict[str, Tensor]:
    """Ours, from a state dict in this layout: float32, in our orientation, and copies."""
    n_heads = architecture.n_heads if isinstance(architecture, ModelConfig) else 1
    weights = {
        name: oriented(state[key], pattern, n_heads) for name, (key, pattern) in layout.keys.items() if key in state
    }
    weights = {
        name: weight.detach().to(torch.float32, copy=True, memory_format=torch.contiguous_format)
        for name, weight in weights.items()
    }
    try:
        check_weights(weights, architecture)
    except ConfigError as error:
        raise CheckpointError(f"{path}: {error}") from None
    return weights


def _readings(contents: _Contents, asked: _Asked) -> list[_Reading]:
    """All ways to read the file that its tensors, what it says beside them, and the caller leave open."""
    path, layout = contents.path, contents.layout
    sizes = _sizes(layout, contents.last)
    activation = _activation(contents, asked)
    architectures: list[Architecture]
    if layout is _MLP:
        if asked.attention_coefficient is not None or asked.n_heads is not None:
            raise ConfigError(
                f"{path} is a network of one hidden layer and has no attention; leave attention_coefficient and "
                "n_heads out."
            )
        concatenated = sizes["d_input"] == 2 * sizes["d_embed"]
        architectures = [
            MLPConfig(
                sizes["d_vocab"], sizes["d_vocab_out"], sizes["d_embed"], sizes["d_hidden"],
                "concatenated" if concatenated else "summed", activation,
            )
        ]  # fmt: skip
    else:
        coefficient = _coefficient(contents, asked, sizes["n_ctx"])
        names = ("d_vocab", "d_vocab_out", "n_ctx", "d_model", "d_mlp")
        architectures = [
            ModelConfig(
                **{name: sizes[name] for name in names},
                n_heads=n_heads,
                d_head=d_head,
                activation=activation,
                attention_coefficient=coefficient,
            )
            for n_heads, d_head in _heads(contents, asked, sizes)
        ]
    readings = [
        _Reading(architecture, task)
        for architecture, task in product(architectures, _tasks(contents, asked, architectures[0]))
    ]
    for reading in readings:
        try:
            reading.architecture.check_modulus(reading.task.p)
        except ConfigError as error:
            raise ConfigError(f"{path}: {error}") from None
    return readings


def _activation(contents: _Contents, asked: _Asked) -> Activation:
    said = asked.activation or contents.setting("act_fn", "act_type", "activation") or "relu"
    if str(said).lower() not in _ACTIVATIONS:
        raise ConfigError(
            f"{contents.path} has the activation {said!r}; interp knows {', '.join(_ACTIVATIONS)} (activation=)."
        )
    return _ACTIVATIONS[str(said).lower()]


def _coefficient(contents: _Contents, asked: _Asked, n_ctx: int) -> float:
    if asked.attention_coefficient is not None:
        return asked.attention_coefficient
    said = contents.setting("attention_coefficient", "attn_coeff")
    if said is None and n_ctx == 2:
        raise ConfigError(
            f"{contents.path} has two positions, so its attention may be mixed with a constant, and the file does not "
            "say how; give attention_coefficient (--attention-coefficient): 1 for softmax alone, 0 for constant."
        )
    return 1.0 if said is None else float(said)


def _heads(contents: _Contents, asked: _Asked, sizes: Mapping[str, int]) -> list[tuple[int, int]]:
    wanted = asked.n_heads if asked.n_heads is not None else contents.setting("n_heads", "num_heads")
    if "n_heads" in sizes:
        if wanted is not None and wanted != sizes["n_heads"]:
            raise ConfigError(f"{contents.path} has {sizes['n_heads']} heads, not {wanted}; leave n_heads out.")
        return [(sizes["n_heads"], sizes["d_head"])]
    whole = sizes["(n_heads d_head)"]
    if wanted is None:
        return [(n, whole // n) for n in range(1, whole + 1) if whole % n == 0]
    if wanted < 1 or whole % wanted:
        raise ConfigError(f"{contents.path} has heads of {whole} in all, which n_heads {wanted} cannot share equally.")
    return [(wanted, whole // wanted)]


def _tasks(contents: _Contents, asked: _Asked, architecture: Architecture) -> list[Task]:
    if asked.task is not None:
        return [asked.task]
    name = contents.setting("fn_name", "operation") or "add"
    if name not in _OPERATIONS:
        raise ConfigError(
            f"{contents.path} was trained on {name!r}, whose labels are not in the file; give its task (task=)."
        )
    said = contents.setting("p", "C")
    if said is not None:
        moduli = [_integer(said, contents.path, "p")]
    elif isinstance(architecture, MLPConfig):
        moduli = [architecture.d_vocab]
    elif architecture.n_ctx != 2:
        moduli = [architecture.d_vocab - 1]
    else:
        # Two positions: p tokens, or 2p where b has its own; the outputs tell, unless they are as many.
        tokens, outputs = architecture.d_vocab, architecture.d_vocab_out
        halves = [tokens // 2] if tokens % 2 == 0 else []
        moduli = [p for p in (tokens, *halves) if outputs in (p, p + 1, tokens)] or [tokens]
    return [Task(p, _OPERATIONS[name]) for p in moduli if p >= 2]


_BETTER = 0.9


def _resolve(contents: _Contents, asked: _Asked) -> _Reading:
    """The one way to read the file; where several are left, the one under which the model has evidently learned.

    That is: its loss over all pairs is well under chance and under every other reading's. Else ConfigError asks.
    """
    readings = _readings(contents, asked)
    if len(readings) == 1:
        return readings[0]
    losses = []
    for reading in readings:
        logits = _logits(_weights(contents.path, contents.layout, contents.last, reading.architecture), reading)
        loss = float(cross_entropy(logits, reading.task.labels.flatten()).mean())
        losses.append(loss / math.log(logits.shape[1]))  # chance is 1
    best, second = sorted(losses)[:2]
    if best < _BETTER and best < _BETTER * second:
        return readings[losses.index(best)]
    heads = sorted({r.architecture.n_heads for r in readings if isinstance(r.architecture, ModelConfig)})
    moduli = sorted({r.task.p for r in readings})
    ask = []
    if len(heads) > 1:
        ask.append(f"the number of heads: give n_heads (--n-heads), one of {', '.join(map(str, heads))}")
    if len(moduli) > 1:
        ask.append(f"whether p is {moduli[1]}, or {moduli[0]} with tokens of b's own: give task=interp.Task(p) (--p)")
    raise ConfigError(f"{contents.path} does not tell {'; nor '.join(ask)}.")


@torch.no_grad()
def _logits(weights: Mapping[str, Tensor], reading: _Reading) -> Tensor:
    """All logits of all pairs, "=" included: what a training minimizes."""
    return forward(weights, Pairs.all(reading.task.p), **reading.architecture.forward_options).logits


_STORED_SPLITS = (("train_indices", "test_indices"), ("train_data", "test_data"))


def _mask(contents: _Contents, asked: _Asked, task: Task) -> Bool[Tensor, "p p"] | None:
    """The split that the caller gives, else the one that the file holds or names; None where neither does."""
    fraction = contents.setting("frac_train", "train_fraction") or PAPER_FRACTION
    named = contents.setting("frac_train") is not None and contents.setting("seed") is not None
    try:
        stored = None
        for train, test in _STORED_SPLITS:
            if contents.beside.get(train) is not None:
                both = contents.beside.get(test) is not None
                stored = _lists(contents.beside[train], contents.beside[test]) if both else contents.beside[train]
        mask = as_mask(stored, None, task.p)
        if mask is None and named:  # the paper's configuration, and so the paper's way to draw
            mask = as_mask("paper", int(contents.setting("seed")), task.p, float(fraction))
    except ConfigError as error:
        raise CheckpointError(f"{contents.path} holds a split that does not fit it: {error}") from None
    if asked.split is None:
        if asked.seed is not None and mask is None:
            as_mask(None, asked.seed, task.p)  # says what a seed lacks
        return mask
    seed = asked.seed
    if seed is None and isinstance(asked.split, str) and named:
        seed = int(contents.setting("seed"))
    given = as_mask(asked.split, seed, task.p, float(fraction))
    if mask is not None and given is not None and not torch.equal(mask, given):
        warn(
            f"the split given differs from the one that {contents.path} holds, in {int((mask != given).sum())} of "
            f"{task.p**2} pairs; the one given is used. Leave split and seed out to use the file's."
        )
    return given


def _lists(train: Any, test: Any) -> tuple[Any, Any]:
    return tuple(part.cpu().numpy() if isinstance(part, Tensor) else np.asarray(part) for part in (train, test))  # type: ignore[return-value]


def _history(contents: _Contents) -> pd.DataFrame:
    """The losses recorded in the file as a history; NaN where they were not recorded."""
    columns: dict[str, pd.Series] = {}
    longest = max((len(_recorded(contents, name)) for name in ("train", "test")), default=0)
    for name in ("train", "test"):
        losses = _recorded(contents, name)
        if not losses:
            continue
        if len(losses) == len(contents.states):
            steps: Sequence[int] = list(contents.states)
        else:  # one for each epoch; a shorter list was recorded every so many
            every = (longest - 1) // max(len(losses) - 1, 1)
            steps = [every * row for row in range(len(losses))]
        columns[f"{name}_loss"] = pd.Series(losses, index=pd.Index(steps), dtype=float)
    frame = pd.DataFrame(columns).rename_axis("step").reset_index()
    return frame.reindex(columns=list(HISTORY_COLUMNS)).astype(dict.fromkeys(HISTORY_COLUMNS[1:], float))


def _recorded(contents: _Contents, name: str) -> list[float]:
    losses = contents.beside.get(f"{name}_losses")
    if losses is None:
        return []
    try:
        return [float(loss) for loss in losses]
    except (TypeError, ValueError):
        raise CheckpointError(f"{contents.path}: {name}_losses is no list of numbers.") from None


_TOLERANCE = 1.1
_SMALLEST = 1e-8  # what a loss recorded in float32 can tell from 0


def _check_losses(
    contents: _Contents, reading: _Reading, mask: Bool[Tensor, "p p"] | None, state: State, step: int | None
) -> None:
    """Warn where the model's losses under this split are not those recorded in the file.

    A loss is recorded before or after the update of its epoch, so it is compared with the records around its step: it
    has to lie between them, or outside by no more than they differ and a tenth.
    """
    if mask is None:
        return
    history = _history(contents)
    wrong = []
    nll = None
    for name, pairs in (("train", mask), ("test", ~mask)):
        recorded = history[["step", f"{name}_loss"]].dropna()
        single = contents.beside.get(f"{name}_loss")
        if len(recorded):
            at = len(recorded) - 1 if step is None else int((recorded["step"] - step).abs().argmin())
            near = recorded[f"{name}_loss"].iloc[max(at - 2, 0) : at + 3].to_numpy()
        elif isinstance(single, int | float | Tensor | np.number):
            near = np.array([float(single)])
        else:
            continue
        if nll is None:
            logits = _logits(_weights(contents.path, contents.layout, state, reading.architecture), reading)
            nll = cross_entropy(logits, reading.task.labels.flatten()).view(mask.shape)
        loss = float(nll[pairs].mean())
        near = near.clip(_SMALLEST)
        slack = _TOLERANCE * near.max() / near.min()
        if not near.min() / slack <= max(loss, _SMALLEST) <= near.max() * slack:
            wrong.append(f"{name} loss is {loss:.6g} and {near[len(near) // 2]:.6g} is recorded")
    if wrong:
        warn(
            f"with this split, the model's {', its '.join(wrong)} in {contents.path}; it was trained on another split "
            "or seed."
        )


# ── loading ──────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, eq=False)
class _Epoch:
    """One state dict of a run that is one file; read from disk when its tensors are asked for."""

    path: Path | str
    layout: Layout
    architecture: Architecture
    step: int
    state: State = field(repr=False)

    def weights(self) -> dict[str, Tensor]:
        name = f"{self.path}, epoch {self.step}"
        if misfits := _misfits(self.layout, self.state):
            raise CheckpointError(f"{name}: unlike its last epoch, it {'; '.join(misfits)}.")
        return _weights(name, self.layout, self.state, self.architecture)

    def digest(self) -> str:
        digest = hashlib.sha256()
        for key, value in self.state.items():
            digest.update(key.encode())
            digest.update(value.detach().reshape(-1).view(torch.uint8).numpy().data)
        return digest.hexdigest()


def load_run(
    path: PathLike,
    task: Task | None = None,
    split: SplitLike | None = None,
    seed: int | None = None,
    attention_coefficient: float | None = None,
    n_heads: int | None = None,
    activation: Activation | None = None,
) -> Run:
    """Open a run: a directory that `interp.train` wrote, or one file that holds a training of another's code.

    Such a file is a dict with `state_dicts` and `epochs`, or `checkpoints` and `checkpoint_epochs`, in any layout that
    `load_checkpoint` knows; its epochs, losses and split become the run's. It is neither copied nor read whole:
    weights come from it as they are asked for. `path` may be an fsspec address, such as hf://… or s3://….

    A run directory knows its task and split. For a file, the other arguments are those of `load_checkpoint`.

    A damaged checkpoint of a directory does not keep it from opening: a warning names it, `run.bad` says what is wrong.
    Raises CheckpointError for what is no run, or was written by a newer format, and ConfigError for arguments that do
    not fit.
    """
    found = _find_run(*_local(path), _Asked(task, split, seed, attention_coefficient, n_heads, activation))
    if found is None:
        raise CheckpointError(
            f"{path} is a file of one checkpoint; a run is a directory, or a file of many. For one checkpoint: "
            "load_checkpoint (interp measure FILE)."
        )
    return found


def _find_run(file: Path, name: Path | str, asked: _Asked) -> Run | None:
    """The run at this path; None where there is a file of one checkpoint."""
    if file.is_dir() or not file.exists():
        return _directory(file, name, asked)
    if _is_ours(file):
        return None
    contents = _contents(file, name)
    if not contents.states:
        return None
    reading = _resolve(contents, asked)
    mask = _mask(contents, asked, reading.task)
    last = max(contents.states)
    _check_losses(contents, reading, mask, contents.states[last], last)
    return _run(contents, reading, mask)


def _directory(path: Path, name: Path | str, asked: _Asked) -> Run:
    if given := asked.given():
        raise ConfigError(f"{name} is a run, which knows its own task and split; leave {' and '.join(given)} out.")
    return open_directory(path)


def _is_ours(file: Path) -> bool:
    return _is_safetensors(file) and str(read_header(file).get("format", "")).startswith("interp")


def _run(contents: _Contents, reading: _Reading, mask: Bool[Tensor, "p p"] | None) -> Run:
    sources = {
        step: _Epoch(contents.path, contents.layout, reading.architecture, step, state)
        for step, state in contents.states.items()
    }
    return Run(contents.path, reading.task, reading.architecture, sources, lambda: _history(contents), mask)


def load_checkpoint(
    path: PathLike,
    task: Task | None = None,
    split: SplitLike | None = None,
    seed: int | None = None,
    step: int | None = None,
    attention_coefficient: float | None = None,
    n_heads: int | None = None,
    activation: Activation | None = None,
) -> Checkpoint:
    """Read one model, whoever saved it; the layout is recognised by what the file holds, never by its name.

    Known are: the paper's layout (Nanda et al., 2023; with constant attention Zhong et al., 2023), TransformerLens' of
    1.x to 3.x (its grokking demo; Chughtai et al., 2023), the state dict of a TransformerLens 4 bridge, one hidden
    layer (W_x, W_y, W, W_U; Chughtai et al.), our own names, and the checkpoints of `interp.train`; as a torch or
    safetensors file, bare or with the training beside it. Of a file that holds a whole run, the last checkpoint is
    read, or that of `step`; of a run directory, that of `step`. `path` may be an fsspec address, such as hf://… or
    s3://….

    What the file tells is taken from it. What it cannot tell is given:

    task                   where it is not addition modulo what the vocabulary says
    split                  for train and test losses: "paper" or "torch" with the `seed` (train fraction 0.3); a bool
                           mask [p, p], true = train (`interp.split_mask` makes one of any fraction); the train pairs as
                           indices a * p + b or as pairs (a, b); or lists of both, (train, test)
    attention_coefficient  of a model with two positions: attention is coefficient · softmax + (1 − coefficient)
    n_heads                of a bridge's state dict, where the model has not learned enough to tell
    activation             "relu" unless given, or told

    Where the file records losses and the split is known, they are compared, and a mismatch is a warning with both.

    Raises CheckpointError for a file that is missing, damaged, unknown, of a newer format, or that holds code (which is
    never run), and ConfigError for arguments that do not fit it.
    """
    file, name = _local(path)
    if file.is_dir() and step is None:
        raise CheckpointError(
            f"{name} is a folder, not a checkpoint file; open a run with load_run, or name one step of it (step=)."
        )
    return _load(file, name, _Asked(task, split, seed, attention_coefficient, n_heads, activation), step)


def last_checkpoint(
    path: PathLike,
    task: Task | None = None,
    split: SplitLike | None = None,
    seed: int | None = None,
    attention_coefficient: float | None = None,
    n_heads: int | None = None,
    activation: Activation | None = None,
) -> Checkpoint:
    """What a path stands for where one model is wanted: that of a file, or the last of a run directory."""
    file, name = _local(path)
    return _load(file, name, _Asked(task, split, seed, attention_coefficient, n_heads, activation), None)


def _load(file: Path, name: Path | str, asked: _Asked, step: int | None) -> Checkpoint:
    if file.is_dir():
        opened = _directory(file, name, asked)
        return opened[-1] if step is None else opened.at(step)
    if home_of(file) or (file.exists() and _is_ours(file)):
        return _load_ours(file, asked, step)
    contents = _contents(file, name)
    reading = _resolve(contents, asked)
    mask = _mask(contents, asked, reading.task)
    run = _run(contents, reading, mask) if contents.states else None
    if run is not None and (step is not None or contents.single is None):
        found = run[-1] if step is None else run.at(step)
        assert found.step is not None
        _check_losses(contents, reading, mask, contents.states[found.step], found.step)
        return found
    assert contents.single is not None
    if step is not None and contents.step != step:
        raise CheckpointError(f"{name} holds step {contents.step}, not step {step}; leave step out.")
    _check_losses(contents, reading, mask, contents.single, contents.step)
    weights = _weights(name, contents.layout, contents.single, reading.architecture)
    return Checkpoint(weights, reading.architecture, reading.task, contents.step, mask, name, run)


def _load_ours(file: Path, asked: _Asked, step: int | None) -> Checkpoint:
    weights, about = read_weights(file)
    if step is not None and about.step != step:
        raise CheckpointError(f"{file} holds step {about.step}, not step {step}; leave step out, or name its run.")
    if told := [name for name in ("attention_coefficient", "n_heads", "activation") if name in asked.given()]:
        raise ConfigError(f"{file} knows its own {' and '.join(told)}; leave it out.")
    home = home_of(file)
    run = open_directory(home) if home else None
    task = asked.task or (run.task if run else about.task)
    try:
        about.model.check_modulus(task.p)
    except ConfigError as error:
        raise ConfigError(f"{file}: {error}") from None
    if run is not None and not asked.given():
        return Checkpoint(weights, about.model, task, about.step, run.train_mask, file, run)
    return Checkpoint(weights, about.model, task, about.step, as_mask(asked.split, asked.seed, task.p), file)


# ── converting ───────────────────────────────────────────────────────────────────────────────────────────────────


def convert(
    source: PathLike,
    path: PathLike,
    task: Task | None = None,
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
    not (0 if nobody does). The directory appears when it is whole. Raises CheckpointError where `path` exists.
    """
    target = Path(path)
    if target.exists() and (target.is_file() or any(target.iterdir())):
        raise CheckpointError(f"{target} already exists; name a new directory.")
    asked = _Asked(task, split, seed, attention_coefficient, n_heads, activation)
    file, name = _local(source)
    if file.is_dir():
        raise CheckpointError(f"{name} is a run directory already; copy it.")
    run = _find_run(file, name, asked)
    if run is not None:
        if step is not None:
            raise ConfigError(f"{name} is a whole run, which knows its steps; leave step out.")
        first, steps = run[-1], list(run.steps)
        checkpoints = iter(run)
    else:
        first = _load(file, name, asked, None)
        known = first.step if step is None else step
        if known is None:
            warn(f"{name} does not tell at which step it was saved; it becomes step 0 (step=, --step names it).")
        steps = [known or 0]
        checkpoints = iter([first])
    temporary = target.with_name(f".{target.name}.{uuid.uuid4().hex}.part")
    try:
        temporary.mkdir(parents=True)
        with progress_bar("convert", "checkpoints", len(steps), show=progress) as bar:
            for done, (number, checkpoint) in enumerate(zip(steps, checkpoints, strict=True), 1):
                write_checkpoint(temporary, number, checkpoint.weights, first.task, first.config)
                if bar:
                    bar.at(done)
        if first.train_mask is not None:
            write_split(temporary, first.train_mask)
        if run is not None and len(run.history):
            write_history(temporary, run.history)
        write_config(temporary, None, first.task, first.config)
        if target.exists():
            target.rmdir()
        temporary.replace(target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return open_directory(target)
