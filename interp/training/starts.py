"""Start: the checkpoint that a training begins with in place of random weights."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from interp.networks import Weights
from interp.runs.config import TrainConfig
from interp.runs.directory import digest_of, read_header
from interp.runs.names import OPTIMIZER
from interp.runs.run import Checkpoint
from interp.training.state import read_state
from interp.training.updates import Updates
from interp.utils.arguments import given
from interp.utils.errors import CheckpointError, ConfigError
from interp.utils.files import printable


@dataclass(frozen=True)
class Start:
    """The checkpoint that a run begins with, checked against its settings."""

    weights: Weights
    about: dict[str, Any]  # its entry in config.json
    state_of: Path | None  # the run whose optimizer's state is taken too

    @classmethod
    def of(cls, checkpoint: Checkpoint, config: TrainConfig, with_optimizer: bool) -> Start:
        """Check a checkpoint against the settings. Raise ConfigError if no run with these can begin with it."""
        if not isinstance(checkpoint, Checkpoint):
            raise ConfigError(
                f"start must be a Checkpoint, such as interp.load_run(path).at(9_000); got {given(checkpoint)}."
            )
        if config.init_scale != 1:
            raise ConfigError(
                f"init_scale must be 1 beside start, whose weights are not random; got {config.init_scale:g}."
            )
        _check_sizes(checkpoint.weights, config.model.initial_weights(0))
        home = _home_of_state(checkpoint) if with_optimizer else None
        path, weights = checkpoint.path, digest_of(checkpoint.weights)
        about = {"path": None if path is None else printable(path), "step": checkpoint.step, "weights": weights}
        return cls(checkpoint.weights, about | {"with_optimizer": with_optimizer}, home)

    def put_into(self, config: TrainConfig, weights: dict[str, Tensor]) -> Updates:
        """Copy the checkpoint's weights into those of the run, and return the updates that continue from there."""
        updates = Updates(config, weights)
        if self.state_of is not None:
            try:
                read_state(self.state_of, weights, updates)
            except CheckpointError as error:
                raise ConfigError(
                    f"with_optimizer needs the optimizer, grokfast and fixed_norm of the run of start; {error} "
                    "Leave it out, and the optimizer begins anew."
                ) from None
        with torch.no_grad():
            for name, weight in weights.items():
                weight.copy_(self.weights[name])
        return updates if self.state_of is not None else Updates(config, weights)  # whose norm is that of the start


def _check_sizes(weights: Weights, initial: Weights) -> None:
    expected, found = ({name: list(w.shape) for name, w in of.items()} for of in (initial, weights))
    if found != expected:
        pairs = {name: (found.get(name, "absent"), expected.get(name, "absent")) for name in {**expected, **found}}
        differ = [f"{name} is {has}, expected {needs}" for name, (has, needs) in pairs.items() if has != needs]
        raise ConfigError(
            f"start must have the weights of the network that the settings describe; {'; '.join(differ[:3])}. Give the "
            "settings (p, d_model, n_heads, d_mlp, init) of the checkpoint."
        )


def _home_of_state(checkpoint: Checkpoint) -> Path:
    """Return the run of a checkpoint. Raise ConfigError unless it keeps the optimizer's state of that step."""
    home = None if checkpoint.run is None else Path(checkpoint.run.path)
    if home is None or not (home / OPTIMIZER).is_file():
        raise ConfigError(
            f"with_optimizer needs the {OPTIMIZER} of the run of start; there is none. Leave it out, and the "
            "optimizer begins anew."
        )
    there = int(read_header(home / OPTIMIZER).get("step", -1))
    if there != checkpoint.step:
        raise ConfigError(
            f"with_optimizer needs the optimizer's state of step {checkpoint.step:,}; {home} keeps that of "
            f"step {there:,} alone. Start from that step, or leave it out, and the optimizer begins anew."
        )
    return home
