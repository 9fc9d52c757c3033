"""Networks: each is one class of its sizes; all of them are trained, measured, hooked and drawn in the same way."""

from interp.networks.base import NETWORKS, Network, Tap, Weights, check_weights, network, network_of
from interp.networks.layers import LayeredTransformer
from interp.networks.one_hidden_layer import OneHiddenLayer
from interp.networks.pairs import Pairs
from interp.networks.transformer import Transformer

__all__ = [
    "NETWORKS",
    "LayeredTransformer",
    "Network",
    "OneHiddenLayer",
    "Pairs",
    "Tap",
    "Transformer",
    "Weights",
    "check_weights",
    "network",
    "network_of",
]
