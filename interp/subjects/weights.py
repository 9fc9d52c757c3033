"""subject_of(): the weights of a network as a subject of measures, by the network's own forward."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import singledispatch

from torch import Tensor

from interp.networks import Network, Weights
from interp.networks.base import gradients_of, plain
from interp.networks.measurable import Measurable
from interp.networks.pairs import Pairs
from interp.networks.taps import InputGradients
from interp.subjects.activations import loss_gradient, over_pairs
from interp.subjects.hooked import NO_ATTENTION, of_numbers
from interp.subjects.subject import Known, Missing, Subject
from interp.utils.torch_state import computing


@singledispatch
def subject_of(network: Measurable, weights: Weights, known: Known) -> Subject:
    """Return weights, under the names of their network, as a subject; each kind of network registers its own way."""
    raise TypeError(f"{type(network).__name__} must register its way with subject_of.register, and has not")


@subject_of.register(Network)
def _(network: Network, weights: Weights, known: Known) -> Subject:
    # Copies, so that a measure that changes them by mistake, which is refused, does not change the checkpoint.
    own, p = {name: weight.clone() for name, weight in plain(weights).items()}, known.task.p

    def gradient() -> Mapping[str, Tensor]:
        if known.train_mask is None:
            raise Missing(known.no_split)
        return loss_gradient(network, own, known.train_mask, known.task.labels)

    def gradients(pairs: Pairs) -> Iterator[InputGradients]:
        found = gradients_of(network, own, pairs)
        if found is None:
            raise Missing(f"the forward of {network.name} names no {network.points.embed}, the embedded inputs")
        return found

    # Do not capture the subject here: the reference cycle keeps its arrays alive until garbage collection.
    return known.subject(
        computing()(lambda: over_pairs(network, weights, p)),
        have={
            "weights": lambda: own, "parameters": lambda: list(own.values()), "train_loss_gradient": gradient,
            "W_E": lambda: network.embedding(own, p), "embeddings": lambda: network.embeddings(own, p),
            "W_L": lambda: of_numbers(network.neuron_logit_map(own), p), "gradients": lambda: gradients,
        },
        lack=NO_ATTENTION | {
            "neurons": f"the forward of {network.name} names no {network.points.neurons}, the neurons",
            "W_L": f"{network.name} gives no neuron_logit_map", "W_E": f"{network.name} gives no embedding",
            "embeddings": f"{network.name} gives no embeddings", "train_mask": known.no_split,
        },
    )  # fmt: skip
