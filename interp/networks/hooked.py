"""HookedNetwork: any network with TransformerLens' hooks. Importing this module imports TransformerLens."""

from __future__ import annotations

from typing import ClassVar, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from transformer_lens import HookedRootModule
from transformer_lens.hook_points import HookPoint

from interp.networks.pairs import Pairs
from interp.networks.taps import HookPoints, Tap, Weights
from interp.utils.errors import ConfigError
from interp.utils.torch_state import computing


@runtime_checkable
class Tapped(Protocol):
    """A network whose forward names its activations, as every interp.Network does."""

    name: ClassVar[str]

    @property
    def points(self) -> HookPoints: ...

    def forward(self, weights: Weights, pairs: Pairs, tap: Tap) -> Float[Tensor, "n d_vocab_out"]: ...


class HookedNetwork(HookedRootModule):
    """A module from tokens (a, b), [batch, 2], to logits [batch, d_vocab_out], with hooks at its taps and logits.

    Its weights are parameters under their own names, and `cfg` is the network.
    """

    @computing()
    def __init__(self, network: Tapped, weights: Weights, p: int) -> None:
        super().__init__()
        self.cfg, self.p = network, p
        for name, weight in weights.items():
            self.register_parameter(name, nn.Parameter(weight.detach().clone()))
        self._names = (*(name for name in _names_of(network, weights, p)), network.points.logits)
        for name in self._names:
            if "." in name or hasattr(self, name):
                raise ConfigError(
                    f"A tap must have a unique name without dots, such as hook_pre; {network.name} calls "
                    f"tap({name!r}, …)."
                )
            self.add_module(name, HookPoint())
        self.setup()

    @property
    def weights(self) -> dict[str, Tensor]:
        """The current weights, under the network's names."""
        return dict(self.named_parameters())

    def forward(self, tokens: Int[Tensor, "batch 2"]) -> Float[Tensor, "batch d_vocab_out"]:
        *within, last = self._names
        pairs = Pairs(self.p, tokens[:, 0], tokens[:, 1])
        logits = self.cfg.forward(self.weights, pairs, Tap({name: getattr(self, name) for name in within}))
        return getattr(self, last)(logits)


class _Names(Tap):
    """Notes the names that it is called with, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.found: dict[str, None] = {}

    def __call__(self, name: str, x: Tensor) -> Tensor:
        self.found.setdefault(name)
        return x

    def __contains__(self, name: str) -> bool:
        return True


def _names_of(network: Tapped, weights: Weights, p: int) -> list[str]:
    names = _Names()
    with torch.no_grad():
        network.forward(weights, Pairs(p, torch.zeros(1, dtype=torch.long), torch.zeros(1, dtype=torch.long)), names)
    return [name for name in names.found if name != network.points.logits]
