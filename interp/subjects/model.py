"""Model: any module or function from tokens to logits, or an array of logits, to be measured."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from interp.networks.measurable import Measurable
from interp.subjects.model_forward import Array, ModelForward, ModelParts, is_array, real_tensor
from interp.subjects.modules import are_names, module_with, tensors_of
from interp.subjects.state_dicts import State, unwrapped, without_prefix
from interp.subjects.subject import Known, Subject, Supplied
from interp.subjects.weights import subject_of
from interp.tasks.splits import SplitLike, as_mask
from interp.tasks.task import Task
from interp.utils.arguments import given, room_for, some, whole
from interp.utils.errors import CheckpointError, ConfigError

Tokens = str | Callable[[Any, Any], Any]


class Model(Measurable):
    """Any network as the measures see it: `interp.progress_measures(interp.Model(f, task))`.

    A measure that needs a part that is not given is None, with the reason. f runs in evaluation mode, without
    gradients; its modes, hooks and buffers, and the random state, are afterwards as before.

    Args:
        f: An nn.Module, compiled or not, or any function from tokens to logits; or an array of logits [p, p, n]. It may
            return a tensor, an array of numpy, JAX or another library that speaks DLPack, or an object with `.logits`,
            of shape [batch, n] or [batch, position, n]. The last position and the first p outputs are measured.
        task: The task that it was trained on.
        split, seed: Its train pairs, as `load_checkpoint` takes them; None if unknown.
        tokens: The inputs of f, as a pattern of a, b and signs ("ab=" is a, b, and the token p), or as a function of
            two tensors a and b [batch], in 0..p-1, that returns them with a row per pair: token numbers, one-hot
            vectors, anything; a tuple for several inputs.
        vocabulary: The token of each sign of a pattern: "a + b =" needs {"+": 113, "=": 114}.
        neurons, pattern: The name of the submodule that gives them, as in "mlp.act" (after the activation) or "attn"
            (an nn.MultiheadAttention, or a module that gives [batch, head, query, key]); the last position of its last
            call is taken. Or arrays [p, p, d_mlp] and [p, p, n_heads, n_ctx].
        W_E, W_L: The name of a submodule or parameter, as in "embed.weight": the embedding of the numbers, and the map
            [d_mlp, n] from neurons to logits. Or arrays [p, d_model] and [d_mlp, p]. If the neurons reach the logits
            through two matrices, W_L names both, as in ("mlp.out", "unembed"), and is their product.

    Raises:
        ConfigError: An argument does not fit the others.
    """

    def __init__(
        self,
        f: Callable[..., Any] | Array,
        task: Task,
        split: SplitLike | None = None,
        *,
        seed: int | None = None,
        tokens: Tokens = "ab=",
        vocabulary: Mapping[str, int] | None = None,
        neurons: str | Array | None = None,
        pattern: str | Array | None = None,
        W_E: str | Array | None = None,
        W_L: str | Array | None = None,
    ) -> None:
        if not isinstance(task, Task):
            raise ConfigError(f"task must be an interp.Task, such as interp.Task(113); got {given(task)}.")
        if not callable(f) and not is_array(f):
            raise ConfigError(f"f must be a module, a function of tokens, or an array of logits; got {given(f)}.")
        if isinstance(f, type):
            name = f.__name__
            raise ConfigError(f"f must be a module or function; got the class {name}. Make an instance: {name}(…).")
        room_for("the logits of all pairs (p × p × p)", task.p, task.p, task.p)
        f = getattr(f, "_orig_mod", f)  # a compiled module ignores hooks that are added after it was compiled
        self.f, self.task = f, task
        self.train_mask = as_mask(split, seed, task.p)
        self.reads, inputs = _inputs(tokens, vocabulary, task.p)
        given_parts = {"neurons": neurons, "pattern": pattern, "W_E": W_E, "W_L": W_L}
        self._made_of = ModelParts(f, task, self.train_mask, inputs, given_parts)
        for name, what in given_parts.items():
            parts: Sequence[Any] = what if are_names(what) else [what]  # type: ignore[assignment]
            for part in parts:
                self._check(name, part)

    def __repr__(self) -> str:
        return f"Model({type(self.f).__name__}, {self.task})"

    @property
    def module(self) -> nn.Module | None:
        """f, if it is a module."""
        return self._made_of.module

    @property
    def needed_module(self) -> nn.Module:
        """f, which must be a module; ConfigError for a function or an array."""
        if self.module is None:
            raise ConfigError("States of a training need a model that is an nn.Module; got one of a function or array.")
        return self.module

    @property
    def by_array(self) -> list[str]:
        """The names of the parts that were given as arrays."""
        given = self._made_of.given.items()
        return [name for name, what in given if not (what is None or isinstance(what, str) or are_names(what))]

    def _check(self, name: str, what: str | Array | None) -> None:
        if isinstance(what, str):
            if self.module is None:
                kind = "a function" if callable(self.f) else "an array"
                raise ConfigError(f"{name}={what!r} names a part of a module, and f is {kind}; give an array instead.")
            parts = dict(self.module.named_modules(remove_duplicate=False))
            tensors = {} if name in ("neurons", "pattern") else tensors_of(self.module)
            if what not in parts and what not in tensors:
                known = some([one for one in [*parts, *tensors] if one] or ["none"], 8)
                raise ConfigError(f"{name} must name a part of the module; it has no {what!r}. It has {known}.")
        elif what is not None:
            shape, p = tuple(real_tensor(name, what).shape), self.task.p
            fits, wanted = {
                "neurons": (len(shape) == 3 and shape[:2] == (p, p), f"[{p}, {p}, d_mlp]"),
                "pattern": (len(shape) == 4 and shape[:2] == (p, p), f"[{p}, {p}, n_heads, n_ctx]"),
                "W_E": (len(shape) == 2 and shape[0] >= p, f"[{p}, d_model]"),
                "W_L": (len(shape) == 2 and shape[1] >= p, f"[d_mlp, {p}]"),
            }[name]
            if not fits:
                raise ConfigError(f"{name} must be an array {wanted}; got the shape {list(shape)}.")

    def subject(
        self,
        supplied: Supplied | None = None,
        *,
        state: State | None = None,
        step: int | None = None,
        final: Callable[[], Subject] | None = None,
    ) -> Subject:
        """Return the model as a subject of measures, with the weights of `state` if given; the rest as in `Subject`."""
        known = Known(self.task, self.train_mask, step, supplied or {}, final)
        return ModelForward(self._made_of, state).subject(known)

    def hooked(self, weights: State, p: int) -> nn.Module:
        """Return a copy of the module with these weights, in evaluation mode."""
        return module_with(self.needed_module, weights)

    def check_state(self, state: Mapping[str, Any], name: str) -> dict[str, Tensor]:
        """Return a state under the names of the module; CheckpointError if it does not fit this module."""
        own = self.needed_module.state_dict()
        state = unwrapped(state)
        if not isinstance(state, Mapping) or not all(isinstance(value, Tensor) for value in state.values()):
            raise CheckpointError(f"{name} must be a state dict, of tensors by name; got {given(state)}.")
        found = without_prefix(state)
        own_names = dict(zip(without_prefix(own), own, strict=True))
        lacking, alien = [k for k in own_names if k not in found], [k for k in found if k not in own_names]
        if lacking or alien:
            said = [f"lacks {some(lacking)}"] if lacking else []
            said += [f"has {some(alien)}, which the module lacks"] if alien else []
            raise CheckpointError(f"{name} must be a state of the module given; it {' and '.join(said)}.")
        if wrong := [k for k, key in own_names.items() if found[k].shape != own[key].shape]:
            shapes = [list(state[key].shape) for state, key in ((found, wrong[0]), (own, own_names[wrong[0]]))]
            raise CheckpointError(
                f"{name} must be a state of the module given; its {wrong[0]} is {shapes[0]}, the module's {shapes[1]}."
            )
        return {key: found[k].to(own[key].device) for k, key in own_names.items()}


@subject_of.register(Model)
def _(network: Model, weights: State, known: Known) -> Subject:
    return network.subject(known.supplied, state=weights, step=known.step, final=known.final)  # it has task and split


def _inputs(
    tokens: Tokens, vocabulary: Mapping[str, int] | None, p: int
) -> tuple[str | None, Callable[[Tensor, Tensor], Any]]:
    """Return the tokens in words ("a b 113"; None for a caller's function), and the function from a and b to them."""
    if callable(tokens):
        if vocabulary is not None:
            raise ConfigError("vocabulary needs tokens as a pattern; got tokens as a function. Leave vocabulary out.")
        return None, tokens
    if not isinstance(tokens, str):
        raise ConfigError(f'tokens must be a pattern such as "ab=", or a function of a and b; got {given(tokens)}.')
    signs = tokens.replace(" ", "")
    if "a" not in signs or "b" not in signs:
        raise ConfigError(f'tokens must name a and b, as in "ab=" or "a + b ="; got {tokens!r}.')
    others = dict.fromkeys(sign for sign in signs if sign not in "ab")
    if vocabulary is None:
        if unknown := [sign for sign in others if sign != "=" or signs.index("=") != len(signs) - 1]:
            example = ", ".join(f'"{sign}": {p + place}' for place, sign in enumerate(others))
            raise ConfigError(
                f"tokens={tokens!r} needs vocabulary, since the token of {unknown[0]!r} is unknown; give the tokens of "
                f"all signs, as in vocabulary={{{example}}}."
            )
        vocabulary = {"=": p}
    if not isinstance(vocabulary, Mapping):
        raise ConfigError(f'vocabulary must be a dict of signs, such as {{"=": {p}}}; got {given(vocabulary)}.')
    if unknown := [sign for sign in others if sign not in vocabulary]:
        raise ConfigError(f"vocabulary must give the token of every sign of {tokens!r}; it lacks {unknown[0]!r}.")
    table = {sign: whole(f"The token of {sign!r} in vocabulary", vocabulary[sign], 0) for sign in others}
    if shared := [sign for sign, token in table.items() if token < p]:
        raise ConfigError(
            f"A sign's token must not be that of a number (0 to {p - 1}); vocabulary gives {shared[0]!r} the token "
            f"{table[shared[0]]}. If f does read it so, give tokens as a function of a and b."
        )

    def columns(a: Tensor, b: Tensor) -> Tensor:
        each = {"a": a, "b": b} | {sign: torch.full_like(a, token) for sign, token in table.items()}
        return torch.stack([each[sign] for sign in signs], dim=1)

    return " ".join(str(table.get(sign, sign)) for sign in signs), columns
