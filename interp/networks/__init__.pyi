"""The public names of interp.networks and the modules that define them."""

from . import (
    base as base,
    hooked as hooked,
    layers as layers,
    names as names,
    one_hidden_layer as one_hidden_layer,
    pairs as pairs,
    shared as shared,
    transformer as transformer,
)
from .base import (
    NETWORKS as NETWORKS,
    Network as Network,
    check_weights as check_weights,
    network as network,
    network_of as network_of,
)
from .layers import LayeredTransformer as LayeredTransformer
from .one_hidden_layer import OneHiddenLayer as OneHiddenLayer
from .pairs import Pairs as Pairs
from .taps import Tap as Tap, Weights as Weights
from .transformer import Transformer as Transformer
