"""BridgeNetwork: the network of checkpoints of TransformerLens bridges with several layers or with layer norm."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from interp.networks.measurable import Measurable
from interp.subjects.hooked import NO_SPLIT_GIVEN, hooked_subject_of
from interp.subjects.state_dicts import State
from interp.subjects.subject import Known, Subject
from interp.subjects.weights import subject_of
from interp.utils.errors import ConfigError

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge


class BridgeNetwork(Measurable):
    """The config of a TransformerBridge, from which `hooked` builds one with given weights."""

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self.settings = dict(settings)

    def __repr__(self) -> str:
        shown = ("n_layers", "d_model", "n_heads", "d_mlp", "normalization_type", "act_fn")
        said = ", ".join(f"{name}={self.settings[name]!r}" for name in shown if name in self.settings)
        return f"BridgeNetwork({said})"

    def hooked(self, weights: State, p: int) -> TransformerBridge:
        """Return a bridge with these weights; ConfigError if they do not fit the config."""
        import torch
        from transformer_lens.config import TransformerBridgeConfig
        from transformer_lens.model_bridge import TransformerBridge

        try:
            with torch.random.fork_rng(devices=[]):
                bridge = TransformerBridge.boot_native(TransformerBridgeConfig(**self.settings, device="cpu"))
            bridge.load_state_dict(dict(weights), strict=True)
        except Exception as error:  # of any kind, for a config that TransformerLens cannot build
            raise ConfigError(
                f"The bridge's config and weights must fit each other; TransformerLens says "
                f"{(str(error).strip().splitlines() or [type(error).__name__])[0][:200]}."
            ) from error
        return bridge


@subject_of.register(BridgeNetwork)
def _(network: BridgeNetwork, weights: State, known: Known) -> Subject:
    return hooked_subject_of(network.hooked(weights, known.task.p), replace(known, no_split=NO_SPLIT_GIVEN))
