"""The network of a TransformerLens bridge of several layers or with layer norm, by the config beside its weights."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from interp.subjects.bridge import BridgeNetwork
from interp.subjects.state_dicts import State
from interp.utils.arguments import given, one_of
from interp.utils.errors import CheckpointError, ConfigError

# Settings that a config tells, beside the sizes, which the tensors tell.
_SETTINGS = (
    "n_heads", "d_head", "act_fn", "normalization_type", "attention_dir", "eps", "final_rms", "attn_only", "gated_mlp",
    "use_attn_scale", "attn_scale", "scale_attn_by_inverse_layer_idx", "parallel_attn_mlp", "positional_embedding_type",
    "attn_scores_soft_cap", "output_logits_soft_cap", "n_key_value_heads",
)  # fmt: skip
SAVE = 'torch.save({"model": bridge.state_dict(), "config": vars(bridge.cfg)}, FILE)'


def network_of_bridge(state: State, settings: Mapping[str, Any], path: Path | str) -> tuple[BridgeNetwork, int]:
    """Return the network of a bridge's state dict with its config, and the modulus that its tokens tell."""
    if not settings:
        raise CheckpointError(
            f"{path} holds the weights of a TransformerLens bridge with several layers or layer norm, and no config "
            f"beside them, so its heads, activation and norms are unknown. Save both, {SAVE}, or the config as "
            f"{Path(str(path)).stem}.json; or build the bridge and measure it: progress_measures(bridge, task=...)."
        )
    said = {name: settings[name] for name in _SETTINGS if settings.get(name) is not None}
    if odd := [name for name, value in said.items() if not isinstance(value, str | bool | int | float)]:
        raise CheckpointError(f"{path}: {odd[0]} must be a word or a number; got {given(said[odd[0]])}.")
    said.setdefault("normalization_type", None)  # else TransformerLens takes a norm
    if said["normalization_type"] is not None:
        one_of("normalization_type", said["normalization_type"], ("LN", "LNPre", "RMS", "RMSPre"))
    n_layers = 1 + max(int(found[1]) for key in state if (found := re.match(r"blocks\.(\d+)\.", key)))
    if n_layers > 1_000:
        raise CheckpointError(f"{path} must have at most 1,000 layers; its names tell {n_layers:,}.")
    sizes: dict[str, int] = {"n_layers": n_layers}
    for name, key, axis in (
        ("d_vocab", "embed.weight", 0), ("d_model", "embed.weight", 1), ("n_ctx", "pos_embed.weight", 0),
        ("d_vocab_out", "unembed.weight", 0), ("d_mlp", "blocks.0.mlp.in.weight", 0),
    ):  # fmt: skip
        if key in state and state[key].ndim == 2:
            sizes[name] = state[key].shape[axis]
    for name, size in sizes.items():
        told = settings.get(name)
        if isinstance(told, int) and told > 0 and told != size:
            raise ConfigError(
                f"{path} says {name} {told} in its config and holds weights of {name} {size}; it disagrees with itself."
            )
    heads = said.get("n_heads")
    if not isinstance(heads, int) or isinstance(heads, bool) or heads < 1 or heads > sizes.get("d_model", 0):
        raise CheckpointError(f"{path} must tell its n_heads in its config; got {given(heads)}.")
    p = sizes["d_vocab"] - (sizes.get("n_ctx", 3) > 2)
    return BridgeNetwork(said | sizes), p
