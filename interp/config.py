"""TrainConfig: every setting of a training run, flat, with the paper's mainline as its defaults."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cached_property, partial
from typing import Any, Literal, get_args

import torch

from interp.arguments import above_zero, at_least_zero, number, random_seed, whole
from interp.errors import ConfigError
from interp.forward import ACTIVATIONS, Activation
from interp.task import PAPER_FRACTION, Operation, Split, Task, split_mask

Init = Literal["paper", "transformer_lens"]
INITS: tuple[Init, ...] = get_args(Init)


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
            whole(name, getattr(self, name), 1)
        _check_activation(self.activation)
        object.__setattr__(self, "attention_coefficient", number("attention_coefficient", self.attention_coefficient))
        if not 0 <= self.attention_coefficient <= 1:
            raise ConfigError(
                f"attention_coefficient is {self.attention_coefficient}; it lies between 0 (constant) and 1 (softmax)."
            )

    @property
    def forward_options(self) -> dict[str, Any]:
        """What `interp.forward.forward` has to know beside the weights."""
        return {"activation": self.activation, "attention_coefficient": self.attention_coefficient}

    def check_modulus(self, p: int) -> None:
        """Raise ConfigError unless a model of these sizes can have learned a task of modulus p."""
        if self.n_ctx not in (2, 3):
            raise ConfigError(f"the model has {self.n_ctx} positions; it needs 3, for (a, b, =), or 2, for (a, b).")
        check_vocabulary(p, self.d_vocab, self.d_vocab_out, self.n_ctx)


def check_vocabulary(p: int, d_vocab: int, d_vocab_out: int, n_ctx: int) -> None:
    """Raise ConfigError unless a transformer of this vocabulary and these outputs can have learned a task of modulus p.

    It reads p tokens, and "=" where it has more than two positions; where b has tokens of its own, 2p. Its outputs are
    the p numbers, with "=" where it counts too, or as many as there are tokens.
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
            whole(name, getattr(self, name), 1)
        _check_activation(self.activation)
        if self.inputs not in get_args(Inputs):
            raise ConfigError(f"inputs is {self.inputs!r}; choose one of {', '.join(get_args(Inputs))}.")

    @property
    def d_input(self) -> int:
        """The width of what W reads: 2·d_embed where the embeddings are concatenated, d_embed where summed."""
        return 2 * self.d_embed if self.inputs == "concatenated" else self.d_embed

    @property
    def forward_options(self) -> dict[str, Any]:
        """What `interp.forward.forward` has to know beside the weights."""
        return {"activation": self.activation}

    def check_modulus(self, p: int) -> None:
        """Raise ConfigError unless a model of these sizes can have learned a task of modulus p."""
        if self.d_vocab != p or self.d_vocab_out != p:
            raise ConfigError(
                f"the model has a vocabulary of {self.d_vocab} and {self.d_vocab_out} outputs; a task of p = {p} needs "
                f"{p} and {p}."
            )


Architecture = ModelConfig | MLPConfig


def _check_activation(name: Any) -> None:
    if name not in ACTIVATIONS:
        raise ConfigError(f"activation is {name!r}; choose one of {', '.join(ACTIVATIONS)}.")


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
    split               "paper" (Python's shuffle) or "torch" (randperm)
    seed                of the initial weights, the split, and random labels
    d_model, n_heads, d_mlp, activation   the network: one layer, d_head = d_model / n_heads; "relu", "gelu" or
                        "gelu_new" (its tanh approximation)
    init                "paper", or "transformer_lens" (its gpt2 mode, with trained attention biases)
    steps               updates; checkpoint s holds the weights after s of them
    learning_rate, betas, weight_decay, warmup_steps   AdamW, eps 1e-8, weight decay on every parameter; the
                        learning rate grows linearly from 0 over the first warmup_steps updates
    checkpoint_steps    the steps to save, the last beside them; None: 0, 1, 2, 5, 10, 20, 50, 100, then every 200
    history_every       steps between two rows of the history
    device              "cpu", "cuda", "cuda:1", "mps"

    Raises ConfigError for a value that cannot be used.
    """

    p: int = 113
    operation: Operation = "add"
    train_fraction: float = PAPER_FRACTION
    split: Split = "paper"
    seed: int = 0
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
        split_mask(task.p, self.train_fraction, self.seed, self.split)  # refuses a bad fraction or split
        for name, least in [("d_model", 1), ("n_heads", 1), ("d_mlp", 1), ("steps", 1), ("history_every", 1)]:
            fix(name, whole(name, getattr(self, name), least))
        fix("warmup_steps", whole("warmup_steps", self.warmup_steps, 0))
        if self.d_model % self.n_heads:
            raise ConfigError(
                f"d_model {self.d_model} is not a multiple of n_heads {self.n_heads}; heads share it equally."
            )
        _check_activation(self.activation)
        if self.init not in INITS:
            raise ConfigError(f"init is {self.init!r}; choose one of {', '.join(INITS)}.")
        betas = self.betas if isinstance(self.betas, Sequence) else (self.betas,)
        fix("betas", tuple(number("a beta", beta) for beta in betas))
        if len(self.betas) != 2 or not all(0 <= beta < 1 for beta in self.betas):
            raise ConfigError(f"betas must be two numbers of at least 0 and below 1; got {self.betas}.")
        if self.checkpoint_steps is not None:
            fix("checkpoint_steps", tuple(sorted({whole("a checkpoint step", s, 0) for s in self.checkpoint_steps})))
            if not self.checkpoint_steps:
                raise ConfigError("checkpoint_steps is empty; name at least one step, or leave it out.")
            if self.checkpoint_steps[-1] > self.steps:
                raise ConfigError(
                    f"checkpoint step {self.checkpoint_steps[-1]} lies after the last step {self.steps}; "
                    "drop it or train longer."
                )
        try:
            torch.device(self.device)
        except RuntimeError:
            raise ConfigError(f"device is {self.device!r}; give cpu, cuda, cuda:N or mps.") from None

    @cached_property
    def task(self) -> Task:
        return Task(self.p, self.operation, self.seed)

    @property
    def model(self) -> ModelConfig:
        """The network's sizes; "=" is the token p, and it counts among the outputs too."""
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
        early = (0, 1, 2, 5, 10, 20, 50, 100)
        wanted = {*early, *range(200, self.steps, 200), self.steps}
        return tuple(sorted(step for step in wanted if step <= self.steps))

    @staticmethod
    def names() -> tuple[str, ...]:
        return tuple(field.name for field in fields(TrainConfig))
