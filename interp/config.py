"""TrainConfig: every setting of a training run, flat, with the paper's mainline as its defaults."""

from __future__ import annotations

import difflib
import functools
from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import cached_property, partial
from itertools import islice
from typing import Any, Literal, get_args

import numpy as np
import torch
from jaxtyping import Bool
from torch import Tensor

from interp.arguments import above_zero, at_least_zero, given, number, one_of, random_seed, room_for, whole
from interp.errors import ConfigError
from interp.forward import ACTIVATIONS, Activation
from interp.task import PAPER_FRACTION, Operation, SplitLike, Task, as_mask, check_split, split_mask

# Settings that were found by a sweep. Of 20 seeds of "fast", all memorize by step 60 and generalize between steps 300
# and 2,620, at least five times later, within 20 seconds on one core.
# (interp sweep runs/fast --preset fast --set seed=0:20 --stop-when generalized)
PRESETS: dict[str, dict[str, Any]] = {
    "fast": {
        "p": 23, "train_fraction": 0.8, "d_model": 64, "d_mlp": 256, "learning_rate": 4e-3, "steps": 4_000,
    },
}  # fmt: skip

Init = Literal["paper", "transformer_lens"]
INITS: tuple[Init, ...] = get_args(Init)

_EARLY = (0, 1, 2, 5, 10, 20, 50, 100)  # checkpoints of the default schedule before every 200
_MOST_CHECKPOINTS = 10**6
_MOST_ROWS = 10**7


@dataclass(frozen=True)
class ModelConfig:
    """The sizes of a one-layer transformer without layer norm, under TransformerLens' names.

    n_ctx                  3: it reads (a, b, "="), "=" being the last token; 2: it reads (a, b)
    attention_coefficient  attention is coefficient · softmax + (1 − coefficient): 1 is softmax's, 0 is constant
                           (Zhong et al., 2023)
    """

    d_vocab: int
    d_vocab_out: int
    n_ctx: int
    d_model: int
    n_heads: int
    d_head: int
    d_mlp: int
    activation: Activation = "relu"
    attention_coefficient: float = 1.0

    def __post_init__(self) -> None:
        for name in ("d_vocab", "d_vocab_out", "n_ctx", "d_model", "n_heads", "d_head", "d_mlp"):
            object.__setattr__(self, name, whole(name, getattr(self, name), 1))
        one_of("activation", self.activation, ACTIVATIONS)
        rows = self.d_vocab + self.d_vocab_out + self.n_ctx + 4 * self.n_heads * self.d_head + 2 * self.d_mlp
        room_for("the weights of a network (d_model × all that reads or writes it)", self.d_model, rows)
        coefficient = number("attention_coefficient", self.attention_coefficient, least=0, most=1)
        object.__setattr__(self, "attention_coefficient", coefficient)

    @property
    def forward_options(self) -> dict[str, Any]:
        """The arguments of `interp.forward.forward` beside the weights."""
        return {"activation": self.activation, "attention_coefficient": self.attention_coefficient}

    def check_modulus(self, p: int) -> None:
        """Raise ConfigError unless a model of these sizes can have learned a task of modulus p."""
        if self.n_ctx not in (2, 3):
            raise ConfigError(f"the model has {self.n_ctx} positions; it needs 3, for (a, b, =), or 2, for (a, b).")
        check_vocabulary(p, self.d_vocab, self.d_vocab_out, self.n_ctx)


def check_vocabulary(p: int, d_vocab: int, d_vocab_out: int, n_ctx: int) -> None:
    """Raise ConfigError unless a transformer of this vocabulary and these outputs can have learned a task of modulus p.

    Its tokens are the p numbers (2p if b has its own) and, with more than two positions, "=". Its outputs are the p
    numbers, the p numbers and "=", or as many as there are tokens.
    """
    equals = n_ctx > 2
    if d_vocab not in (p + equals, 2 * p + equals) or d_vocab_out not in (p, p + 1, d_vocab):
        raise ConfigError(
            f"the model has a vocabulary of {d_vocab}, {d_vocab_out} outputs and {n_ctx} positions; a task of p = {p} "
            f"needs a vocabulary of {p + equals} (or {2 * p + equals}, where b has its own tokens) and {p} or {p + 1} "
            "outputs."
        )


Inputs = Literal["concatenated", "summed"]


@dataclass(frozen=True)
class MLPConfig:
    """The sizes of a network of one hidden layer on two embeddings (Chughtai et al., 2023).

    logits = activation(x · W) · W_U, where x is W_x[a] and W_y[b], concatenated or summed.
    """

    d_vocab: int
    d_vocab_out: int
    d_embed: int
    d_hidden: int
    inputs: Inputs = "concatenated"
    activation: Activation = "relu"

    def __post_init__(self) -> None:
        for name in ("d_vocab", "d_vocab_out", "d_embed", "d_hidden"):
            object.__setattr__(self, name, whole(name, getattr(self, name), 1))
        one_of("activation", self.activation, ACTIVATIONS)
        room_for("the embeddings of a network", 2, self.d_vocab, self.d_embed)
        room_for("the hidden layer of a network", self.d_hidden, 2 * self.d_embed + self.d_vocab_out)
        one_of("inputs", self.inputs, get_args(Inputs))

    @property
    def d_input(self) -> int:
        """The number of rows of W: 2·d_embed if the embeddings are concatenated, d_embed if they are summed."""
        return 2 * self.d_embed if self.inputs == "concatenated" else self.d_embed

    @property
    def forward_options(self) -> dict[str, Any]:
        """The arguments of `interp.forward.forward` beside the weights."""
        return {"activation": self.activation}

    def check_modulus(self, p: int) -> None:
        """Raise ConfigError unless a model of these sizes can have learned a task of modulus p."""
        if self.d_vocab != p or self.d_vocab_out != p:
            raise ConfigError(
                f"the model has a vocabulary of {self.d_vocab} and {self.d_vocab_out} outputs; a task of p = {p} needs "
                f"{p} and {p}."
            )


Architecture = ModelConfig | MLPConfig


@dataclass(frozen=True)
class TrainConfig:
    """All settings of a run; `TrainConfig()` is the mainline of Nanda et al. (2023), which groks at step 10,430.

    TrainConfig(p=31, train_fraction=0.8, d_model=64, d_mlp=256, learning_rate=3e-3, steps=1_000) groks at step 330, in
    ten seconds. (To grok is to reach a test accuracy of 0.99; the step moves with the processor, by up to a factor of
    two.)

    p, operation        the task: modulus (at least 2), and "add", "subtract", "quadratic" or "random" labels
    train_fraction      share of the p*p pairs to train on, between 0 and 1. Small moduli need more than 0.3 to
                        generalize: p = 31 does at step 1,130 with 0.8, 1,750 with 0.7, 4,040 with 0.6, and by 5,000 not
                        with 0.5; p = 59 (seed 3) at 1,080 with 0.5; p = 113 at 10,430 with 0.3. Of public histories
                        with 0.3, those of p ≥ 89 generalize by step 9,000, 8 of 12 of p = 59 and 67 between 7,200 and
                        33,100, and none of 8 of p ≤ 31 within 40,000
    split               "paper" (Python's shuffle) or "torch" (randperm); or the train pairs themselves, as a bool mask
                        [p, p] or as indices a * p + b, which are kept as a tuple of indices and set train_fraction
    seed                of the initial weights, random labels, and the split, unless it has its own:
    split_seed          of the split; None: the same as `seed`
    d_model, n_heads, d_mlp, activation   the network: one layer, d_head = d_model / n_heads; "relu", "gelu" or
                        "gelu_new" (its tanh approximation)
    init                "paper", or "transformer_lens" (its gpt2 mode, with trained attention biases)
    steps               updates; checkpoint s holds the weights after s of them
    learning_rate, betas, weight_decay, warmup_steps   AdamW, eps 1e-8, weight decay on every parameter; the
                        learning rate grows linearly from 0 over the first warmup_steps updates
    checkpoint_steps    the steps to save, the last beside them; None: 0, 1, 2, 5, 10, 20, 50, 100, then every 200
    history_every       steps between two rows of the history
    device              "cpu", "cuda", "cuda:1", "mps"; "auto": cuda if there is one, else mps, else cpu

    Raises ConfigError for a value that cannot be used.
    """

    p: int = 113
    operation: Operation = "add"
    train_fraction: float = PAPER_FRACTION
    split: SplitLike = "paper"
    seed: int = 0
    split_seed: int | None = None
    d_model: int = 128
    n_heads: int = 4
    d_mlp: int = 512
    activation: Activation = "relu"
    init: Init = "paper"
    steps: int = 16_000
    learning_rate: float = 1e-3
    betas: tuple[float, float] = (0.9, 0.98)
    weight_decay: float = 1.0
    warmup_steps: int = 10
    checkpoint_steps: tuple[int, ...] | None = None
    history_every: int = 10
    device: str = "cpu"

    def __post_init__(self) -> None:
        fix = partial(object.__setattr__, self)
        task = self.task  # refuses a bad p or operation
        fix("p", task.p)
        fix("seed", random_seed(self.seed))
        fix("train_fraction", number("train_fraction", self.train_fraction))
        fix("learning_rate", above_zero("learning_rate", self.learning_rate))
        fix("weight_decay", at_least_zero("weight_decay", self.weight_decay))
        room_for("the logits of all pairs", task.p, task.p, task.p + 1)
        if self.split_seed is not None:
            fix("split_seed", random_seed(self.split_seed, name="split_seed"))
        if isinstance(self.split, str):
            check_split(task.p, self.train_fraction, self.split)
        else:
            self._take_given_split()
        for name, least in [("d_model", 1), ("n_heads", 1), ("d_mlp", 1), ("steps", 1), ("history_every", 1)]:
            fix(name, whole(name, getattr(self, name), least))
        fix("warmup_steps", whole("warmup_steps", self.warmup_steps, 0))
        if self.d_model % self.n_heads:
            raise ConfigError(
                f"d_model must be a multiple of n_heads, since heads share it equally; got d_model={self.d_model} and "
                f"n_heads={self.n_heads}."
            )
        room_for("the neurons of all pairs (p × p × d_mlp)", task.p, task.p, self.d_mlp)
        room_for("the attention of all pairs (p × p × 3 × n_heads)", task.p, task.p, 3, self.n_heads)
        _ = self.model  # refuses a bad activation, and weights that are too large
        one_of("init", self.init, INITS)
        betas = tuple(number("a beta", beta) for beta in _listed("betas", self.betas, "(0.9, 0.98)"))
        if len(betas) != 2 or not all(0 <= beta < 1 for beta in betas):
            raise ConfigError(f"betas must be two numbers of at least 0 and below 1; got {given(self.betas)}.")
        fix("betas", betas)
        if self.checkpoint_steps is not None:
            steps = _listed("checkpoint_steps", self.checkpoint_steps, "(0, 1000, 2000)")
            check_number_of_checkpoints(len(steps))
            fix("checkpoint_steps", tuple(sorted({whole("a checkpoint step", step, 0) for step in steps})))
            if not self.checkpoint_steps:
                raise ConfigError("checkpoint_steps must name at least one step; leave it out for the default.")
            if self.checkpoint_steps[-1] > self.steps:
                raise ConfigError(
                    f"checkpoint_steps must not go beyond steps={self.steps}; got {self.checkpoint_steps[-1]}. Drop it "
                    "or train longer."
                )
        else:
            check_number_of_checkpoints(self.steps // 200)
        if self.steps // self.history_every > _MOST_ROWS:
            raise ConfigError(
                f"a history must have at most {_MOST_ROWS:,} rows; steps={self.steps:,} and history_every="
                f"{self.history_every:,} give {self.steps // self.history_every:,}. Raise history_every."
            )
        fix("device", _device_name(self.device))

    def _take_given_split(self) -> None:
        """Keep a split that names its train pairs as a tuple of their indices, which can be compared and written."""
        if self.split_seed is not None:
            raise ConfigError("split_seed draws a split, and split names the train pairs; leave one of them out.")
        listed: Any = self.split
        indices = isinstance(listed, tuple) and all(isinstance(one, int) for one in listed)  # as this keeps them
        mask = as_mask(np.array(listed) if indices else listed, None, self.p)
        assert mask is not None
        if mask.all():
            raise ConfigError("split must leave a test pair; it has all pairs as train pairs. Drop one of them.")
        train = mask.flatten().nonzero()[:, 0].tolist()
        object.__setattr__(self, "split", tuple(train))
        object.__setattr__(self, "train_fraction", len(train) / self.p**2)

    @property
    def train_mask(self) -> Bool[Tensor, "{self.p} {self.p}"]:
        """Which pairs are trained on: bool [p, p], true = train."""
        if isinstance(self.split, str):
            seed = self.seed if self.split_seed is None else self.split_seed
            drawn: Any = self.split
            return split_mask(self.p, self.train_fraction, seed, drawn)
        mask = as_mask(np.array(self.split), None, self.p)
        assert mask is not None
        return mask

    @cached_property
    def task(self) -> Task:
        return Task(self.p, self.operation, self.seed)

    @property
    def model(self) -> ModelConfig:
        """The sizes of the network; "=" is the token p, and it counts among the outputs too."""
        return ModelConfig(
            d_vocab=self.p + 1,
            d_vocab_out=self.p + 1,
            n_ctx=3,
            d_model=self.d_model,
            n_heads=self.n_heads,
            d_head=self.d_model // self.n_heads,
            d_mlp=self.d_mlp,
            activation=self.activation,
        )

    @property
    def schedule(self) -> tuple[int, ...]:
        """The steps at which a checkpoint is saved, in order."""
        if self.checkpoint_steps is not None:
            return tuple(sorted({*self.checkpoint_steps, self.steps}))
        wanted = {*_EARLY, *range(200, self.steps, 200), self.steps}
        return tuple(sorted(step for step in wanted if step <= self.steps))

    @classmethod
    def preset(cls, name: str, **changes: Any) -> TrainConfig:
        """Return the settings of a preset ("fast"), with some changed; ConfigError for another name."""
        one_of("preset", name, tuple(PRESETS))
        return cls(**(PRESETS[name] | changes))

    @staticmethod
    def names() -> tuple[str, ...]:
        """Return the names of all settings."""
        return tuple(field.name for field in fields(TrainConfig))


def _listed(name: str, values: Any, example: str) -> list[Any]:
    """Return the entries of a list, array, range or other iterable, up to one more than a run can have checkpoints."""
    try:
        if not isinstance(values, str | bytes):
            return list(islice(values, _MOST_CHECKPOINTS + 1))
    except TypeError:  # not iterable
        pass
    raise ConfigError(f"{name} must be a list of numbers, such as {example}; got {given(values)}.")


def check_number_of_checkpoints(number: int) -> None:
    """Raise ConfigError for more checkpoints than a run can have."""
    if number > _MOST_CHECKPOINTS:
        raise ConfigError(
            f"a run must have at most {_MOST_CHECKPOINTS:,} checkpoints; these settings give more. Give fewer steps "
            "or fewer checkpoint_steps."
        )


def _device_name(device: Any) -> str:
    """Return a device by its name, a torch.device too; ConfigError unless torch knows such a name."""
    name = str(device) if isinstance(device, torch.device) else device
    try:
        if isinstance(name, str):
            if name != "auto":
                torch.device(name)
            return name
    except RuntimeError:
        pass
    raise ConfigError(f"device must be cpu, cuda, cuda:N, mps or auto; got {given(device)}.")


# ── names ────────────────────────────────────────────────────────────────────────────────────────────────────────

# What others call the settings.
_MEANT = {
    "lr": "learning_rate", "wd": "weight_decay", "decay": "weight_decay", "beta": "betas", "beta1": "betas",
    "beta2": "betas", "adam_betas": "betas", "frac_train": "train_fraction", "train_frac": "train_fraction",
    "frac": "train_fraction", "fraction": "train_fraction", "epochs": "steps", "num_epochs": "steps",
    "n_epochs": "steps", "n_steps": "steps", "num_steps": "steps", "max_steps": "steps", "iterations": "steps",
    "modulus": "p", "mod": "p", "prime": "p", "n": "p", "hidden": "d_mlp", "d_hidden": "d_mlp", "hidden_size": "d_mlp",
    "width": "d_model", "d_embed": "d_model", "dim": "d_model", "heads": "n_heads", "num_heads": "n_heads",
    "d_head": "n_heads", "act": "activation", "act_fn": "activation", "fn": "operation", "fn_name": "operation",
    "op": "operation", "task": "operation", "warmup": "warmup_steps", "save_every": "checkpoint_steps",
    "checkpoint_every": "checkpoint_steps", "log_every": "history_every", "random_seed": "seed",
}  # fmt: skip


def nearest_settings(name: str) -> list[str]:
    """Return the settings that a name, as in `lr` or `--lr`, may mean; none if it is like no setting."""
    plain = name.lstrip("-").replace("-", "_").lower()
    return [_MEANT[plain]] if plain in _MEANT else difflib.get_close_matches(plain, TrainConfig.names())


def _refuse_unknown_settings(init: Callable[..., None]) -> Callable[..., None]:
    """Let the __init__ of TrainConfig name the nearest setting where Python would only say that there is none."""

    @functools.wraps(init)
    def checked(self: TrainConfig, *args: Any, **settings: Any) -> None:
        for name in settings:
            if name not in TrainConfig.names():
                near = " or ".join(nearest_settings(name))
                hint = f"did you mean {near}?" if near else f"it has {', '.join(TrainConfig.names())}."
                raise ConfigError(f"TrainConfig has no setting {name}; {hint}")
        init(self, *args, **settings)

    return checked


TrainConfig.__init__ = _refuse_unknown_settings(TrainConfig.__init__)  # type: ignore[method-assign]
