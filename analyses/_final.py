"""What the last checkpoint of a run computes on all pairs; the figures of the final network share it."""

from functools import lru_cache

from jaxtyping import Float
from torch import Tensor

from interp import Activations, ConfigError, Run, activations


@lru_cache(maxsize=1)
def final_activations(run: Run) -> Activations:
    return activations(run[-1])


def final_neurons(run: Run) -> Float[Tensor, "p p d_mlp"]:
    neurons = final_activations(run).neurons
    if neurons is None:
        raise ConfigError("this model has no neurons.")
    return neurons
