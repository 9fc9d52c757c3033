"""activations(): logits, neurons and attention over all pairs, of a checkpoint or of weights with their network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from interp.networks import Network, Weights
from interp.networks.base import check_weights, network_of, network_of_weights
from interp.networks.measurable import Measurable
from interp.networks.names import Activation
from interp.runs.run import Checkpoint
from interp.subjects.activations import Activations, over_pairs
from interp.utils.errors import ConfigError
from interp.utils.torch_state import computing


@computing()
def activations(
    model: Checkpoint | Weights,
    p: int | None = None,
    activation: Activation | None = None,
    attention_coefficient: float | None = None,
    network: Network | None = None,
) -> Activations:
    """Return the logits, neurons and attention of all pairs, from a network's own forward.

    Args:
        model: A Checkpoint, which knows the rest; or weights alone, which need `p`, and `network` or else `activation`
            and, for a transformer, `attention_coefficient`.
        p: The modulus.
        activation: The activation function of the neurons.
        attention_coefficient: 1 for softmax attention, 0 for constant.
        network: The network that the weights belong to.

    Raises:
        ConfigError: One of these is missing or given beside a Checkpoint, or p does not fit.
    """
    asked = {"p": p, "activation": activation, "attention_coefficient": attention_coefficient, "network": network}
    if isinstance(model, Checkpoint):
        if model.config.is_own and (given := [name for name, value in asked.items() if value is not None]):
            raise ConfigError(
                f"A Checkpoint knows its {', '.join(asked)}; got {' and '.join(given)} beside it. Leave them out."
            )
        return model.subject().run_pairs()
    if not isinstance(model, Mapping):
        of_net = "Its arrays are net.subject().logits, .neurons and .pattern."
        hint = of_net if isinstance(model, Measurable) else "Of a run, give run[-1]."
        raise ConfigError(f"activations() takes a Checkpoint or weights; got a {type(model).__name__}. {hint}")
    options: dict[str, Any] = {}
    if network is None:
        network = network_of_weights(model)
        options = {name: asked[name] for name in ("activation", "attention_coefficient") if hasattr(network, name)}
    lacking = [name for name, value in {"p": p, **options}.items() if value is None]
    if p is None or lacking:
        raise ConfigError(
            f"Weights alone do not tell how they are used; {' and '.join(lacking)} must be given. "
            "Call activations(checkpoint), or activations(weights, p, network=checkpoint.config)."
        )
    network = network_of({**network.to_dict(), **options}).sized(p)
    check_weights(model, network)
    return over_pairs(network, model, p)
