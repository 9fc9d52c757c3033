"""TrainConfig: every setting of a training run, flat, with the paper's mainline as its defaults."""

from __future__ import annotations

import difflib
import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from functools import cached_property, partial
from itertools import islice
from typing import Any, Literal, get_args

import numpy as np
import torch
from jaxtyping import Bool
from torch import Tensor

from interp.arguments import above_zero, at_least_zero, given, number, one_of, random_seed, room_for, whole
from interp.errors import ConfigError
from interp.networks import Network, Transformer, network_of
from interp.networks.base import Activation
from interp.networks.transformer import INITS, Init
from interp.task import PAPER_FRACTION, Operation, SplitLike, Task, as_mask, check_split, split_mask

# Settings that were found by a sweep. Of "fast", 20 seeds were trained six times each: with first weights changed by
# one part in ten million in three ways, on one thread and on two. All 120 runs memorize by step 80 and generalize
# between steps 310 and 1,910, at least five times later.
# (python -m benchmarks.rounding runs/preset --preset fast --set seed=0:20 --threads 1 2 --stop-when generalized; its
# table is checkpoints/rounding/preset-fast.parquet)
PRESETS: dict[str, dict[str, Any]] = {
    "fast": {
        "p": 37, "train_fraction": 0.6, "d_model": 64, "d_mlp": 256, "learning_rate": 4e-3, "steps": 4_000,
    },
}  # fmt: skip

Optimizer = Literal["adamw", "sgd", "muon"]
Schedule = Literal["constant", "cosine", "linear"]
Loss = Literal["cross_entropy", "stablemax"]
MuonFactor = Literal["out/in", "rows/columns"]
GrokfastStart = Literal["first_gradient", "zero"]
_CHOICES = {
    "optimizer": Optimizer, "lr_schedule": Schedule, "loss": Loss, "muon_factor": MuonFactor,
    "grokfast_start": GrokfastStart,
}  # fmt: skip

NetworkLike = Network | str | Mapping[str, Any]

_EARLY = (0, 1, 2, 5, 10, 20, 50, 100)  # checkpoints of the default schedule before every 200
_MOST_CHECKPOINTS = 10**6
_MOST_ROWS = 10**7
OF_DEFAULT_NETWORK = ("d_model", "n_heads", "d_mlp", "activation", "init")


@dataclass(frozen=True)
class TrainConfig:
    """All settings of a run; `TrainConfig()` is the mainline of Nanda et al. (2023), which groks near step 10,000.

    TrainConfig(p=31, train_fraction=0.8, d_model=64, d_mlp=256, learning_rate=3e-3, steps=1_000) groks at steps 320 to
    330, in ten seconds. (To grok is to reach a test accuracy of 0.99. Rounding alone moves the step, so other
    processors give others; ranges are those of six copies whose first weights differ by one part in ten million.)

    p, operation        the task: modulus (at least 2), and "add", "subtract", "quadratic" or "random" labels
    train_fraction      share of the p*p pairs to train on, between 0 and 1. Small moduli need more than 0.3 to
                        generalize: p = 31 does at steps 1,070 to 1,230 with 0.8, 1,390 to 3,370 with 0.7, 3,200 to
                        4,180 with 0.6, and by 5,000 not with 0.5; p = 59 (seed 3) at 1,080 to 1,110 with 0.5; p = 113
                        at 9,600 to 11,390 with 0.3. (A test accuracy of 0.95 comes at 850 to 1,040, 1,090 to 1,450 and
                        2,560 to 2,800, with 0.5 not either; for p = 59 at 940 to 980.) Of 58 public histories
                        of 40,000 steps with 0.3, of other people's code, none of 8 of p ≤ 31 generalizes, 3 of 10 of
                        p = 43, 8 of 12 of p = 59 and 67, both of p = 89, and 21 of 26 of p = 113 (these with several
                        networks and decays). At 0.95 it is none, 5, 12, both and 22
    split               "paper" (Python's shuffle) or "torch" (randperm); or the train pairs themselves, as a bool mask
                        [p, p] or as indices a * p + b, which are kept as a tuple of indices and set train_fraction
    seed                of the initial weights, random labels, and the split, unless it has its own:
    split_seed          of the split; None: the same as `seed`
    network             an interp.Network, its name, or a dict of its name and sizes, such as
                        {"network": "one_hidden_layer", "d_hidden": 128}; None: the transformer of the next five fields
    d_model, n_heads, d_mlp, activation   the transformer: one layer, d_head = d_model / n_heads; "relu", "gelu" or
                        "gelu_new" (its tanh approximation)
    init                its first weights: "paper", or "transformer_lens" (its gpt2 mode, with trained attention biases)
    steps               updates; checkpoint s holds the weights after s of them
    learning_rate, betas, weight_decay, warmup_steps   AdamW, eps 1e-8, weight decay on every parameter; the
                        learning rate grows linearly from 0 over the first warmup_steps updates
    optimizer           "adamw"; "sgd", with `momentum` and weight decay as an L2 penalty; or "muon", with `momentum`
                        (Nesterov's), which updates the matrices between embedding and unembedding (each head's by
                        itself, but in a LayeredTransformer), while AdamW updates the rest. All are torch's
                        (torch.optim). SGD needs other numbers than the defaults, such as learning_rate=0.1 and
                        weight_decay=1e-4
    muon_learning_rate  the learning rate of the matrices that Muon updates, with the same warmup and schedule; their
                        weight decay goes by it too. None: the same as `learning_rate`
    muon_factor         what Muon multiplies the step of a matrix by: "out/in" is √max(1, outputs/inputs) (Jordan et
                        al., Muon, 2024). "rows/columns" is √max(1, rows/columns) of the weight as it is stored, which
                        is transposed where weights are [in, out] (`Network.out_first`), and takes the biases of all
                        heads for a matrix: older versions of interp trained so
    weight_decay_on     which weights decay: "all", or names with +, as in "W_E+W_U"
    l1                  adds l1 · Σ|w| over all weights to the loss that is minimized
    lr_schedule         after the warmup: "constant", or "cosine" or "linear" down to 0 at the last step
    batch_size          train pairs of an update, from a new shuffle each epoch; None: all of them
    dropout, attention_dropout   the share of neurons, and of the entries of attention patterns, that are 0 in an
                        update; the rest is scaled up. Losses are recorded without
    label_noise         the share of train pairs whose label is replaced by a wrong one. The history's train columns
                        are those of the labels trained on; measures and test pairs have the right ones
    init_scale          α, which all initial weights are multiplied by (Liu et al., Omnigrok, 2023)
    fixed_norm          whether all weights are scaled back to their first norm after each update (the same)
    loss                "cross_entropy", or "stablemax", with s(x) in place of eˣ: x + 1 from 0 on, else 1/(1 − x)
                        (Prieto et al., 2025)
    orthogonal_gradient whether the part of each weight's gradient along the weight is taken off (⊥Grad, the same)
    orthogonal_rescaled whether the rest of each gradient is then scaled back to the norm that the gradient had, as in
                        the authors' code
    grokfast, grokfast_decay   λ and α of the filter that adds λ times the gradient's moving average to the gradient
                        (Lee et al., Grokfast, 2024, the EMA variant)
    grokfast_start      what that average starts from: the "first_gradient", as in the authors' code, or "zero", as in
                        older versions of interp
    checkpoint_steps    the steps to save, the last beside them; None: 0, 1, 2, 5, 10, 20, 50, 100, then every 200
    history_every       steps between two rows of the history
    device              "cpu", "cuda", "cuda:1", "mps"; "auto": cuda if there is one, else mps, else cpu

    Raises ConfigError for a value that cannot be used. Training with a setting that has no effect under the others,
    such as momentum=0 with AdamW, is refused too (`interp.train`, `interp.sweep`).
    """

    p: int = 113
    operation: Operation = "add"
    train_fraction: float = PAPER_FRACTION
    split: SplitLike = "paper"
    seed: int = 0
    split_seed: int | None = None
    network: NetworkLike | None = None
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
    optimizer: Optimizer = "adamw"
    momentum: float = 0.9
    muon_learning_rate: float | None = None
    muon_factor: MuonFactor = "out/in"
    weight_decay_on: str = "all"
    l1: float = 0.0
    lr_schedule: Schedule = "constant"
    batch_size: int | None = None
    dropout: float = 0.0
    attention_dropout: float = 0.0
    label_noise: float = 0.0
    init_scale: float = 1.0
    fixed_norm: bool = False
    loss: Loss = "cross_entropy"
    orthogonal_gradient: bool = False
    orthogonal_rescaled: bool = False
    grokfast: float = 0.0
    grokfast_decay: float = 0.98
    grokfast_start: GrokfastStart = "first_gradient"
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
        one_of("init", self.init, INITS)
        if self.network is not None:
            self._take_network(network_of(self.network))
        model = self.model  # refuses a bad activation, and weights that are too large
        model.check_size(task.p)
        model.check_modulus(task.p)
        self._check_variations()
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
        if self.split is None:
            raise ConfigError('split must be "paper", "torch", or a mask of train pairs; got None.')
        listed: Any = self.split
        indices = isinstance(listed, tuple) and all(isinstance(one, int) for one in listed)  # as this keeps them
        mask = as_mask(np.array(listed) if indices else listed, None, self.p)
        assert mask is not None
        if mask.all():
            raise ConfigError("split must leave a test pair; it has all pairs as train pairs. Drop one of them.")
        train = mask.flatten().nonzero()[:, 0].tolist()
        object.__setattr__(self, "split", tuple(train))
        object.__setattr__(self, "train_fraction", len(train) / self.p**2)

    def _check_variations(self) -> None:
        fix = partial(object.__setattr__, self)
        for name, choices in _CHOICES.items():
            one_of(name, getattr(self, name), get_args(choices))
        for name in ("dropout", "attention_dropout", "label_noise", "momentum", "grokfast_decay"):
            fix(name, number(name, getattr(self, name), least=0, below=1))
        for name in ("l1", "grokfast"):
            fix(name, at_least_zero(name, getattr(self, name)))
        fix("init_scale", above_zero("init_scale", self.init_scale))
        if self.muon_learning_rate is not None:
            fix("muon_learning_rate", above_zero("muon_learning_rate", self.muon_learning_rate))
        for name in ("fixed_norm", "orthogonal_gradient", "orthogonal_rescaled"):
            if not isinstance(getattr(self, name), bool):
                raise ConfigError(f"{name} must be True or False; got {given(getattr(self, name))}.")
        if self.batch_size is not None:
            fix("batch_size", whole("batch_size", self.batch_size, 1))
        if not isinstance(self.weight_decay_on, str):
            raise ConfigError(
                f'weight_decay_on must be "all" or names, as in "W_E+W_U"; got {given(self.weight_decay_on)}.'
            )
        known = self.model.axes()
        named = [] if self.weight_decay_on == "all" else self.weight_decay_on.split("+")
        if unknown := [name for name in named if name not in known]:
            raise ConfigError(
                f"weight_decay_on must name weights of the network, {', '.join(known)}, with + between them; got "
                f"{unknown[0]!r}."
            )

    @property
    def decayed(self) -> tuple[str, ...]:
        """The names of the weights that decay."""
        return tuple(self.model.axes()) if self.weight_decay_on == "all" else tuple(self.weight_decay_on.split("+"))

    def _take_network(self, network: Network) -> None:
        """Keep a network that is given whole, without sizes that the task gives; the default one as its own fields."""
        own: Any = network
        sizes = {one.name for one in fields(own)}
        vocabulary = {name: None for name in ("d_vocab", "d_vocab_out") if name in sizes}
        bare = replace(own, **vocabulary)
        if bare.sized(self.p) == network.sized(self.p):
            network = bare
        default = {one.name: one.default for one in fields(self)}
        if beside := [name for name in OF_DEFAULT_NETWORK if getattr(self, name) != default[name]]:
            raise ConfigError(
                f"{', '.join(beside)} must be given to the network, as in {{'network': '{network.name}', …}} or "
                f"--set network.{beside[0]}=…; got {beside[0]}={given(getattr(self, beside[0]))} beside network."
            )
        if isinstance(network, Transformer):
            flat = {name: getattr(network, name) for name in OF_DEFAULT_NETWORK}
            if network == Transformer(**flat):
                for name, value in (flat | {"network": None}).items():
                    object.__setattr__(self, name, value)
                return
        object.__setattr__(self, "network", network)

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
    def given_network(self) -> Network | None:
        """The network that was given whole, None for the transformer of the flat settings."""
        return self.network if isinstance(self.network, Network) else None

    @cached_property
    def model(self) -> Network:
        """The network, sized for the task; in a transformer "=" is the token p, and counts among the outputs too."""
        own = self.given_network or Transformer(
            d_model=self.d_model, n_heads=self.n_heads, d_mlp=self.d_mlp, activation=self.activation, init=self.init
        )
        return own.sized(self.p)

    def to_dict(self) -> dict[str, Any]:
        """Return all settings, as config.json holds them: the network as a dict of its name and sizes."""
        said = {one.name: getattr(self, one.name) for one in fields(self)}
        return said | {"network": None if self.given_network is None else self.given_network.to_dict()}

    @property
    def schedule(self) -> tuple[int, ...]:
        """The steps at which a checkpoint is saved, in order."""
        if self.checkpoint_steps is not None:
            return tuple(sorted({*self.checkpoint_steps, self.steps}))
        wanted = {*_EARLY, *range(200, self.steps, 200), self.steps}
        return tuple(sorted(step for step in wanted if step <= self.steps))

    def flat(self) -> dict[str, Any]:
        """Return all settings, a network that is given whole as its name and network.SIZE for each of its sizes."""
        said = self.to_dict()
        sizes = dict(said["network"] or {})
        return said | {"network": sizes.pop("network", None)} | {f"network.{name}": of for name, of in sizes.items()}

    def changed(self, settings: Mapping[str, Any]) -> TrainConfig:
        """Return these settings with some changed; network.SIZE changes a size of the network."""
        return replace(self, **gathered(settings, self.given_network))

    @classmethod
    def preset(cls, name: str, **changes: Any) -> TrainConfig:
        """Return the settings of a preset ("fast"), with some changed; ConfigError for another name."""
        return cls(**gathered(preset_settings(name, changes) | changes))

    @staticmethod
    def names() -> tuple[str, ...]:
        """Return the names of all settings."""
        return tuple(field.name for field in fields(TrainConfig))


def settings_before(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return what older versions of interp did, under these settings, where newer settings now have another default.

    Files that do not name a newer setting were written by a version that did so. Only settings that act are returned.
    """
    found = {"muon_factor": "rows/columns"} if settings.get("optimizer") == "muon" else {}
    return found | ({"grokfast_start": "zero"} if settings.get("grokfast") else {})


def preset_settings(name: str, changes: Mapping[str, Any] = {}) -> dict[str, Any]:
    """Return the settings of a preset, without the sizes of its network where `changes` name another network."""
    one_of("preset", name, tuple(PRESETS))
    other = any(one.split(".")[0] == "network" for one in changes)
    return {name: value for name, value in PRESETS[name].items() if not (other and name in OF_DEFAULT_NETWORK)}


def gathered(settings: Mapping[str, Any], network: Network | None = None) -> dict[str, Any]:
    """Return settings with network.SIZE put into the network, which is among them or given; ConfigError for neither."""
    sizes = {name.removeprefix("network."): value for name, value in settings.items() if name.startswith("network.")}
    rest = {name: value for name, value in settings.items() if not name.startswith("network.")}
    if not sizes:
        return rest
    said: Any = rest.get("network", network)
    if said is None:
        raise ConfigError(
            f"network.{next(iter(sizes))} needs a network as well, such as network=one_hidden_layer; got none."
        )
    about = said.to_dict() if isinstance(said, Network) else {"network": said} if isinstance(said, str) else dict(said)
    return {**rest, "network": about | sizes}


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
    "checkpoint_every": "checkpoint_steps", "opt": "optimizer", "optim": "optimizer", "batch": "batch_size",
    "bs": "batch_size", "scheduler": "lr_schedule", "alpha": "init_scale", "loss_fn": "loss", "arch": "network",
    "architecture": "network", "model": "network", "log_every": "history_every", "random_seed": "seed",
    "muon_lr": "muon_learning_rate",
}  # fmt: skip


def nearest_settings(name: str) -> list[str]:
    """Return the settings that a name, as in `lr` or `--lr`, may mean; none if it is like no setting."""
    plain = name.lstrip("-").replace("-", "_").lower()
    return [_MEANT[plain]] if plain in _MEANT else difflib.get_close_matches(plain, TrainConfig.names(), n=1)


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
