"""The public names of interp.networks and the modules that define them."""

from . import base, hooked, layers, names, one_hidden_layer, pairs, shared, transformer
from .base import NETWORKS, Network, check_weights, network, network_of
from .layers import LayeredTransformer
from .one_hidden_layer import OneHiddenLayer
from .pairs import Pairs
from .taps import Tap, Weights
from .transformer import Transformer

__all__ = [
    "NETWORKS", "LayeredTransformer", "Network", "OneHiddenLayer", "Pairs", "Tap", "Transformer", "Weights", "base",
    "check_weights", "hooked", "layers", "names", "network", "network_of", "one_hidden_layer", "pairs", "shared",
    "transformer",
]  # fmt: skip
