"""TrainConfig: the settings of a training run, checked, with the task, network, split and schedule that they give."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from functools import cached_property, partial
from itertools import islice
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool
from torch import Tensor

from interp.networks import Network, Transformer, network_of
from interp.networks.names import INITS
from interp.runs.settings import PRESETS, SETTINGS, Settings, nearest_settings
from interp.tasks.splits import as_mask, check_split, split_mask
from interp.tasks.task import Task
from interp.utils.arguments import above_zero, at_least_zero, given, number, one_of, random_seed, room_for, whole
from interp.utils.errors import ConfigError

_EARLY = (0, 1, 2, 5, 10, 20, 50, 100)  # checkpoints of the default schedule before every 200
_MOST_CHECKPOINTS = 10**6
_MOST_ROWS = 10**7
OF_DEFAULT_NETWORK = ("d_model", "n_heads", "d_mlp", "activation", "init")


@dataclass(frozen=True)
class TrainConfig(Settings):
    __doc__ = Settings.__doc__

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
        for name in ("d_model", "n_heads", "d_mlp", "steps", "history_every", "warmup_steps"):
            fix(name, whole(name, getattr(self, name), 0 if name == "warmup_steps" else 1))
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
            raise ConfigError(
                f"split_seed needs a split that is drawn; got split_seed={self.split_seed} beside train pairs in split."
                " Leave one of them out."
            )
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
        for name, setting in SETTINGS.items():
            if setting.choices and name != "split":
                one_of(name, getattr(self, name), setting.choices)
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
        """Names of the weights that decay."""
        return tuple(self.model.axes()) if self.weight_decay_on == "all" else tuple(self.weight_decay_on.split("+"))

    def _take_network(self, network: Network) -> None:
        """Keep a network without sizes that the task gives; keep the default one as the flat settings."""
        own: Any = network
        vocabulary = {"d_vocab", "d_vocab_out"} & {one.name for one in fields(own)}
        bare = replace(own, **dict.fromkeys(vocabulary))
        if bare.sized(self.p) == network.sized(self.p):
            network = bare
        if beside := [name for name in OF_DEFAULT_NETWORK if getattr(self, name) != SETTINGS[name].default]:
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
        """The train pairs: bool [p, p], true = train."""
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
        """The `network` that was given; None for the transformer of the flat settings."""
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
        said = {name: getattr(self, name) for name in SETTINGS}
        return said | {"network": None if self.given_network is None else self.given_network.to_dict()}

    @property
    def schedule(self) -> tuple[int, ...]:
        """The steps at which a checkpoint is saved, in order."""
        if self.checkpoint_steps is not None:
            return tuple(sorted({*self.checkpoint_steps, self.steps}))
        wanted = {*_EARLY, *range(200, self.steps, 200), self.steps}
        return tuple(sorted(step for step in wanted if step <= self.steps))

    def flat(self) -> dict[str, Any]:
        """Return all settings; a `network` that was given is its name, and network.SIZE for each of its sizes."""
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
        return tuple(SETTINGS)


def settings_before(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values, other than today's defaults, by which older versions of interp trained with these settings.

    A file that does not name these settings was written by such a version. Only settings that act are returned.
    """
    found = {"muon_factor": "rows/columns"} if settings.get("optimizer") == "muon" else {}
    return found | ({"grokfast_start": "zero"} if settings.get("grokfast") else {})


def preset_settings(name: str, changes: Mapping[str, Any] = {}) -> dict[str, Any]:
    """Return the settings of a preset, without the sizes of its network if `changes` name another network."""
    one_of("preset", name, tuple(PRESETS))
    other = any(one.split(".")[0] == "network" for one in changes)
    return {name: value for name, value in PRESETS[name].items() if not (other and name in OF_DEFAULT_NETWORK)}


def gathered(settings: Mapping[str, Any], network: Network | None = None) -> dict[str, Any]:
    """Return settings with each network.SIZE put into their network, or into `network`; ConfigError for neither."""
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
    """Return the entries of an iterable, up to one more than a run can have checkpoints."""
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
    """Return the name of a device; ConfigError unless torch knows it."""
    name = str(device) if isinstance(device, torch.device) else device
    with contextlib.suppress(RuntimeError):
        if isinstance(name, str):
            if name != "auto":
                torch.device(name)
            return name
    raise ConfigError(f"device must be cpu, cuda, cuda:N, mps or auto; got {given(device)}.")


def _refuse_unknown_settings(init: Callable[..., None]) -> Callable[..., None]:
    """Make the __init__ of TrainConfig name the nearest setting when it is given an unknown one."""

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
