"""ModelForward: an interp.Model with one state of its weights, which computes the arrays that its subject asks for."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils.hooks import RemovableHandle

from interp.networks.base import SAME, at_last, difference, jacobian, some_of
from interp.networks.pairs import FORWARD_BATCH, MODULE_GRADIENT_BATCH, Pairs
from interp.networks.taps import InputGradients
from interp.subjects.activations import Activations
from interp.subjects.modules import are_names, as_wanted, column_of, module_with, oriented, tensors_of, untouched
from interp.subjects.state_dicts import State
from interp.subjects.subject import Known, Missing, Subject
from interp.tasks.task import Task
from interp.utils.arguments import given
from interp.utils.errors import ConfigError
from interp.utils.torch_state import computing

_SAME_HALF = {torch.float16: 2e-2, torch.bfloat16: 1e-1}  # how far two runs may differ, as a share of the largest logit
_HALF = {torch.float16: "float16, which holds three digits", torch.bfloat16: "bfloat16, which holds two digits"}

Array = Any  # a tensor, or any object that speaks DLPack or numpy's array protocol


def is_array(x: Any) -> bool:
    """True for an array of torch, numpy or a library that speaks DLPack or numpy's protocol."""
    return isinstance(x, Tensor | np.ndarray) or hasattr(x, "__dlpack__") or hasattr(x, "__array__")


def real_tensor(name: str, x: Any) -> Float[Tensor, "..."]:
    """Return an array of any library as a tensor of floats on the CPU; ConfigError if it holds no real numbers."""
    try:
        if not isinstance(x, Tensor):
            # numpy does not lend read-only arrays by DLPack.
            if hasattr(x, "__dlpack__") and not isinstance(x, np.ndarray):
                x = torch.from_dlpack(x)
            elif hasattr(x, "__array__"):
                x = torch.from_numpy(np.array(x))
            else:
                raise TypeError
        if x.is_meta or not x.dtype.is_floating_point:
            raise TypeError
        x = x.detach().to("cpu")
        x = x.to_dense() if x.layout is not torch.strided else x
        return x if x.dtype is torch.float64 else x.float()
    except (TypeError, ValueError, RuntimeError, BufferError):
        what = given(x) if not isinstance(x, Tensor) else f"{str(x.dtype).removeprefix('torch.')} on {x.device}"
        raise ConfigError(f"{name} must be an array of real numbers in floating point; got {what}.") from None


@dataclass(frozen=True, eq=False)
class ModelParts:
    """The parts of an interp.Model: `inputs` makes the inputs of f, `given` names or holds neurons, W_E and so on."""

    f: Callable[..., Any] | Array
    task: Task
    train_mask: Bool[Tensor, "p p"] | None
    inputs: Callable[[Tensor, Tensor], Any]
    given: Mapping[str, Any]

    @property
    def module(self) -> nn.Module | None:
        return self.f if isinstance(self.f, nn.Module) else None


@dataclass(eq=False)
class ModelForward:
    """A model with one state of its weights, or its own; each array is computed when its subject first reads it."""

    net: ModelParts
    state: State | None

    def __post_init__(self) -> None:
        self.module, state = self.net.module, self.state
        if state is not None and self.module is not None and not state.keys() <= tensors_of(self.module).keys():
            self.module, self.state = module_with(self.module, state), None  # the state dict has names of its own
        absent = [one for one, what in self.net.given.items() if what is None]
        self.lack = {one: f"the model was given without {one}; name the part that gives it ({one}=)" for one in absent}
        self.lack["train_mask"] = "no train/test split is known; give split= (and seed=) with the model"
        self.lack["weights"] = self.lack["train_loss_gradient"] = (
            "a model given as a module, function or array has no weights under interp's names (W_Q, W_in, …)"
        )
        if self.module is None:
            kind = "a function" if callable(self.net.f) else "an array of logits"
            self.lack["parameters"] = f"the model is {kind}, whose parameters are unknown"
        self.doubts: list[str] = []

    def subject(self, known: Known) -> Subject:
        have: dict[str, Callable[[], Any]] = {
            "W_E": lambda: None if self.tables is None else self.tables[0], "embeddings": lambda: self.tables,
            "W_L": self.neuron_logit_map, "parameters": self.parameters, "gradients": lambda: self.gradients,
        }  # fmt: skip
        return known.subject(lambda: self.activations, have, self.lack, self.doubts)

    # ── running ──

    def _call(self, inputs: Any) -> Any:
        """Call the model on a batch, with the state in place of its own weights."""
        module = self.module
        args = inputs if isinstance(inputs, tuple) else (inputs,)
        if module is not None:
            first = next((x for x in [*module.parameters(), *module.buffers()]), None)
            args = tuple(as_wanted(x, first) if isinstance(x, Tensor) else x for x in args)
        if self.state is not None and module is not None:
            return functional_call(module, dict(self.state), args)
        return self.net.f(*args) if module is None else module(*args)

    def _inputs(self, pairs: Pairs) -> Any:
        try:
            inputs = self.net.inputs(pairs.a, pairs.b)
        except Exception as error:  # the caller's function
            raise ConfigError(
                f"tokens must be a function of two int64 tensors a and b, here [{len(pairs)}] each; it raised "
                f"{_said(error)}."
            ) from error
        for one in inputs if isinstance(inputs, tuple) else (inputs,):
            shape: tuple[int, ...] = tuple(getattr(one, "shape", ()))
            if not len(shape) or shape[0] != len(pairs):
                raise ConfigError(
                    f"tokens must return a row for each of the {len(pairs)} pairs that it is called with; got "
                    f"{given(one)}."
                )
        return inputs

    def _logits(self, inputs: Any, pairs: Pairs) -> tuple[Tensor, torch.dtype | None]:
        """Return the logits of the last position [batch, p], and the dtype that the model gave them in."""
        try:
            out = self._call(inputs)
        except ConfigError:
            raise
        except Exception as error:  # the caller's model
            raise ConfigError(
                f"The model must take {_described(inputs)}, the tokens of {len(pairs)} pairs; it raised "
                f"{_said(error)}. Check tokens= and vocabulary=."
            ) from error
        out = out["logits"] if isinstance(out, Mapping) and "logits" in out else getattr(out, "logits", out)
        if isinstance(out, tuple | list | dict):
            key = repr(next(iter(out))) if isinstance(out, dict) and out else "0"
            raise ConfigError(
                f"The model must return logits alone; it returned a {type(out).__name__} of {len(out)}. Wrap it in a "
                f"function that picks them, such as lambda tokens: f(tokens)[{key}]."
            )
        dtype, p = out.dtype if isinstance(out, Tensor) else None, self.net.task.p
        logits = out
        if dtype is None or not dtype.is_floating_point or out.layout is not torch.strided or out.is_meta:
            logits = real_tensor("The logits that the model returns", out)
        if logits.ndim not in (2, 3) or len(logits) != len(pairs) or logits.shape[-1] < p or not logits.shape[1]:
            raise ConfigError(
                f"The model must return logits [{len(pairs)}, n] or [{len(pairs)}, position, n] with n of at least "
                f"{p}; got the shape {list(logits.shape)}."
            )
        return at_last(logits)[:, :p], dtype

    @cached_property
    def activations(self) -> Activations:
        net, p = self.net, self.net.task.p
        if not callable(net.f):
            return self._of_array()
        captured: dict[str, Any] = {}
        found: dict[str, list[Tensor]] = {"logits": [], "neurons": [], "pattern": []}
        with untouched(net.module), torch.no_grad(), self._hooked(captured):
            for place, batch in enumerate(Pairs.all(p).split(FORWARD_BATCH)):
                captured.clear()
                logits, dtype = self._logits(self._inputs(batch), batch)
                found["logits"].append(real_tensor("The logits that the model returns", logits))
                if not place:
                    if dtype in _HALF:
                        self.doubts.append(f"the logits are in {_HALF[dtype]}, and so are the losses.")
                    kept = dict(captured)
                    self._check_again(batch, found["logits"][0], dtype)
                    captured |= kept
                for name in ("neurons", "pattern"):
                    if (value := self._captured(name, captured, len(batch))) is not None:
                        found[name].append(value)
        whole = {name: torch.cat(parts).unflatten(0, (p, p)) for name, parts in found.items() if parts}
        arrays = {name: self._array(name) for name in ("neurons", "pattern")}
        return Activations(whole["logits"], *(whole.get(name, arrays[name]) for name in arrays))

    def _check_again(self, batch: Pairs, logits: Tensor, dtype: torch.dtype | None) -> None:
        """Raise ConfigError if a pair's logits depend on chance, or on the other pairs of its batch."""
        few = some_of(batch)
        again = real_tensor("The logits that the model returns", self._logits(self._inputs(few), few)[0])
        if off := difference(logits, again, SAME if dtype is None else _SAME_HALF.get(dtype, SAME)):
            raise ConfigError(
                f"The model must give the same logits for the same tokens, alone or in a batch; two runs {off}. Turn "
                "dropout and the like off: interp cannot put the module of a function into evaluation mode."
            )

    def _of_array(self) -> Activations:
        logits, p = real_tensor("f", self.net.f), self.net.task.p
        if logits.ndim != 3 or logits.shape[:2] != (p, p) or logits.shape[2] < p:
            in_rows = logits.ndim == 2 and len(logits) == p * p and logits.shape[1] >= p
            how = f" If row a * {p} + b is the pair (a, b), give logits.reshape({p}, {p}, {logits.shape[-1]})."
            raise ConfigError(
                f"An array of logits must be [{p}, {p}, n] with n of at least {p}; got the shape {list(logits.shape)}."
                + (how if in_rows else "")
            )
        dtype = str(getattr(self.net.f, "dtype", "")).rpartition(".")[2]
        half = {"float16": torch.float16, "bfloat16": torch.bfloat16}.get(dtype)
        if half is not None:
            self.doubts.append(f"the logits are in {_HALF[half]}, and so are the losses.")
        return Activations(logits[..., :p].clone(), self._array("neurons"), self._array("pattern"))

    def _array(self, name: str) -> Tensor | None:
        what = self.net.given[name]
        return None if what is None or isinstance(what, str) else real_tensor(name, what).clone()

    # ── hooks ──

    @contextlib.contextmanager
    def _hooked(self, captured: dict[str, Any]) -> Iterator[None]:
        """Let forward hooks fill `captured` with the outputs of the named submodules at their last call."""
        handles: list[RemovableHandle] = []

        def keep(name: str) -> Callable[[nn.Module, Any, Any], None]:
            def hook(module: nn.Module, args: Any, output: Any) -> None:
                captured[name] = output

            return hook

        try:
            for name in ("neurons", "pattern"):
                what = self.net.given[name]
                if isinstance(what, str) and self.module is not None:
                    handles.append(self.module.get_submodule(what).register_forward_hook(keep(name)))
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _captured(self, name: str, captured: Mapping[str, Any], batch: int) -> Tensor | None:
        """Return a submodule's output at the last position, or None, with the reason in `lack`, if it has none."""
        what = self.net.given[name]
        if not isinstance(what, str):
            return None
        if name not in captured:
            self.lack[name] = f"the model's forward does not call {what}"
            return None
        output = captured[name]
        if name == "neurons":
            neurons = output[0] if isinstance(output, tuple) else output
            if not isinstance(neurons, Tensor) or neurons.ndim not in (2, 3) or len(neurons) != batch:
                raise ConfigError(
                    f"neurons={what!r} must give [{batch}, d_mlp] or [{batch}, position, d_mlp]; got {given(neurons)}."
                )
            return real_tensor("neurons", at_last(neurons))
        assert self.module is not None
        attention = self.module.get_submodule(what)
        heads = attention.num_heads if isinstance(attention, nn.MultiheadAttention) else 1
        pattern = output[-1] if isinstance(output, tuple) else output
        if pattern is None:
            self.lack[name] = f"{what} gives no attention; call it with need_weights=True, average_attn_weights=False"
            return None
        if isinstance(pattern, Tensor) and pattern.ndim == 3:
            if heads > 1:
                self.lack[name] = f"{what} gives the mean over its heads; call it with average_attn_weights=False"
                return None
            pattern = pattern[:, None]
        if not isinstance(pattern, Tensor) or pattern.ndim != 4 or len(pattern) != batch:
            raise ConfigError(f"pattern={what!r} must give [{batch}, head, query, key]; got {given(pattern)}.")
        return real_tensor("pattern", pattern[:, :, -1])

    # ── weights ──

    def _tensor(self, name: str, what: str) -> tuple[Tensor, bool | None]:
        """Return a matrix by name, and whether its first axis is that of the inputs (None: unknown)."""
        module = self.module
        assert module is not None
        parts = dict(module.named_modules(remove_duplicate=False))
        key = f"{what}.weight".removeprefix(".") if what in parts else what
        tensors = tensors_of(module)
        if key not in tensors:
            raise ConfigError(f"{name} must name a parameter, or a submodule with a weight; got {what!r}.")
        owner = parts.get(key.rpartition(".")[0])
        value = (self.state or {}).get(key, tensors[key])
        if value.ndim != 2:
            raise ConfigError(f"{name}={what!r} must be a matrix; got the shape {list(value.shape)}.")
        first = True if isinstance(owner, nn.Embedding) else False if isinstance(owner, nn.Linear) else None
        return real_tensor(name, value), first

    @cached_property
    def tables(self) -> tuple[Float[Tensor, "p d"], Float[Tensor, "p d"]] | None:
        """The embeddings of the p numbers, as a and as b."""
        what, p = self.net.given["W_E"], self.net.task.p
        if what is None:
            self.lack["embeddings"] = self.lack["W_E"]
            return None
        if not isinstance(what, str):
            table = real_tensor("W_E", what)
            return table[:p], table[p : 2 * p] if len(table) >= 2 * p else table[:p]
        found = self.positions
        if found is None:
            self.lack["W_E"] = self.lack["embeddings"] = (
                "the tokens do not tell which row of W_E belongs to which number; give W_E as an array [p, d_model]"
            )
            return None
        (_, of_a), (_, of_b) = found
        table, first = self._tensor("W_E", what)
        table = oriented("W_E", what, table, first, int(torch.cat([of_a, of_b]).max()) + 1)
        return table[of_a], table[of_b]

    @cached_property
    def positions(self) -> tuple[tuple[int, Tensor], tuple[int, Tensor]] | None:
        """The position of a with the token of each number, and likewise for b; None if the inputs do not tell.

        In one-hot inputs the position is −1, and the token is the entry that is 1 whatever the other number is.
        """
        p = self.net.task.p
        inputs = self._inputs(Pairs.all(p))
        if not isinstance(inputs, Tensor) or inputs.ndim != 2:
            return None
        table = inputs.detach().cpu().unflatten(0, (p, p))
        if table.dtype.is_floating_point:
            ones = table.float().amin(1), table.float().amin(0)
            if not all(torch.equal(one.sum(1), torch.ones(p)) and bool((one <= 1).all()) for one in ones):
                return None
            a, b = (one.argmax(1) for one in ones)
            return (-1, a), (-1, b)
        of_a = column_of(table)
        of_b = column_of(table.transpose(0, 1))
        return None if of_a is None or of_b is None else (of_a, of_b)

    def neuron_logit_map(self) -> Float[Tensor, "d_mlp p"] | None:
        what, p = self.net.given["W_L"], self.net.task.p
        if what is None:
            return None
        neurons = self.activations.neurons
        width = None if neurons is None else neurons.shape[2]
        if isinstance(what, str) or are_names(what):
            found: Tensor | None = None
            names = [what] if isinstance(what, str) else list(what)
            for place, name in enumerate(names, 1):
                matrix = self._map(name, width if found is None else found.shape[1], p if place == len(names) else 1)
                if found is not None and found.shape[1] != matrix.shape[0]:
                    raise ConfigError(
                        f"W_L must name matrices in the order in which the neurons pass them; {names[place - 2]} gives "
                        f"{found.shape[1]} numbers, and {name} reads {matrix.shape[0]}. Check their order."
                    )
                found = matrix if found is None else found @ matrix
            assert found is not None
        else:
            found = real_tensor("W_L", what)
        if found.shape[1] < p or (width is not None and len(found) != width):
            raise ConfigError(
                f"W_L must lead from each of the {width or 'd_mlp'} neurons to at least {p} logits; {given(what)} is "
                f'{list(found.shape)}. Through two matrices, name both: W_L=("mlp.out", "unembed").'
            )
        return found[:, :p]

    def _map(self, name: str, rows: int | None, columns: int) -> Float[Tensor, "d_in d_out"]:
        """Return a matrix by name, with its inputs along the first axis."""
        matrix, inputs_first = self._tensor("W_L", name)
        if inputs_first is not None:  # a Linear is [out, in]; an Embedding that reads out is [token, d]
            return matrix.T
        as_it_is, turned = ((len(m) == rows and m.shape[1] >= columns) for m in (matrix, matrix.T))
        if as_it_is == turned:
            raise ConfigError(
                f"W_L={name!r} must have one axis of inputs; either axis of {list(matrix.shape)} may be it. Give W_L "
                f"as an array [d_mlp, {self.net.task.p}]."
            )
        return matrix.T if turned else matrix

    def parameters(self) -> list[Tensor] | None:
        module = self.module
        if module is None:
            return None
        state = self.state or {}
        own = [state.get(name, value) for name, value in module.named_parameters()]  # each shared one once
        return [value.detach().cpu() for value in own]

    # ── gradients ──

    def gradients(self, pairs: Pairs) -> Iterator[InputGradients]:
        """Yield ∂L/∂E_a and ∂L/∂E_b of pairs, in batches, by a hook on the embedding that W_E names."""
        what, module = self.net.given["W_E"], self.module
        key = what.removesuffix(".weight") if isinstance(what, str) else ""
        part = dict(module.named_modules(remove_duplicate=False)).get(key) if module is not None and key else None
        where = self.positions if isinstance(part, nn.Embedding) else None
        if not isinstance(part, nn.Embedding) or where is None or where[0][0] < 0:
            raise Missing("gradients by the embedded inputs need W_E= to name an nn.Embedding that reads the tokens")
        for batch in pairs.split(MODULE_GRADIENT_BATCH):
            yield self._gradients(part, batch, where[0][0], where[1][0])

    @computing(grad=True)
    def _gradients(self, embed: nn.Embedding, batch: Pairs, at_a: int, at_b: int) -> InputGradients:
        embedded: list[Tensor] = []

        def leaf(module: nn.Module, args: Any, output: Tensor) -> Tensor:
            embedded.append(output.detach().requires_grad_())
            return embedded[-1]

        handle = embed.register_forward_hook(leaf)
        try:
            with untouched(self.module):
                logits, _ = self._logits(self._inputs(batch), batch)
                if len(embedded) != 1 or embedded[0].ndim != 3 or not logits.requires_grad:
                    raise Missing("the embedding that W_E names is not read once, for all tokens of a pair")
                (grad,) = jacobian(logits, embedded[0])
        finally:
            handle.remove()
        return grad[:, :, at_a].float().cpu(), grad[:, :, at_b].float().cpu()


def _described(inputs: Any) -> str:
    def one(x: Any) -> str:
        known = hasattr(x, "dtype") and hasattr(x, "shape")
        return f"{str(x.dtype).removeprefix('torch.')} {list(x.shape)}" if known else given(x)

    return " and ".join(one(x) for x in inputs) if isinstance(inputs, tuple) else one(inputs)


def _said(error: Exception) -> str:
    first = (str(error).strip().splitlines() or [""])[0]
    return f"{type(error).__name__}: {first}" if first else type(error).__name__
