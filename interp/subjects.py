"""Subjects of measures: weights through their network's forward, or a model with hooks, through these."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import singledispatch
from typing import TYPE_CHECKING, Any

from jaxtyping import Bool
from torch import Tensor

from interp.all_pairs import hooked_activations, hooked_input_gradients, loss_gradient, over_pairs
from interp.computing import computing
from interp.measures.subject import Missing, Subject, Supplied
from interp.networks import Network, Weights
from interp.networks.base import InputGradients, Measurable, gradients_of, plain
from interp.networks.pairs import Pairs
from interp.networks.transformer import rows_of_numbers
from interp.task import Task

if TYPE_CHECKING:
    from transformer_lens import HookedRootModule

_NO_NEURONS = {"neurons": "the model has no MLP, so no neurons", "W_L": "the model has no MLP, so no neurons"}
_NO_ATTENTION = {"pattern": "the model has no attention"}
NO_SPLIT = "no train/test split is known; load the checkpoint with split and seed (--split, --seed)"


@singledispatch
def subject_of(
    network: Measurable,
    weights: Weights,
    task: Task,
    train_mask: Bool[Tensor, "p p"] | None,
    step: int | None = None,
    supplied: Supplied | None = None,
    final: Callable[[], Subject] | None = None,
    no_split: str = NO_SPLIT,
) -> Subject:
    """Return weights of a network as a subject of measures; each kind of network registers how.

    Args:
        network: Its kind decides how the weights are run.
        weights: Under the names of the network.
        task: What it was trained to compute.
        train_mask: True for train pairs, [p, p]; None if unknown, for the reason `no_split`.
        step: Updates made; None if unknown.
        supplied: Results of quantities that are not to be computed.
        final: Gives the last checkpoint of its run as a subject.
    """
    raise TypeError(f"a {type(network).__name__} registers no subject_of")


@subject_of.register(Network)
def _(
    network: Network,
    weights: Weights,
    task: Task,
    train_mask: Bool[Tensor, "p p"] | None,
    step: int | None = None,
    supplied: Supplied | None = None,
    final: Callable[[], Subject] | None = None,
    no_split: str = NO_SPLIT,
) -> Subject:
    # Copies: a measure that changes them by mistake is refused, and does not change the checkpoint.
    own, p = {name: weight.clone() for name, weight in plain(weights).items()}, task.p

    def gradient() -> Mapping[str, Tensor]:
        if train_mask is None:
            raise Missing(no_split)
        return loss_gradient(network, own, train_mask, task.labels)

    def gradients(pairs: Pairs) -> Iterator[InputGradients]:
        found = gradients_of(network, own, pairs)
        if found is None:
            raise Missing(f"the forward of {network.name} names no {network.points.embed}, the embedded inputs")
        return found

    # Do not capture the subject here: the reference cycle keeps its arrays alive until garbage collection.
    return Subject(
        task,
        computing()(lambda: over_pairs(network, weights, p)),
        step=step,
        train_mask=train_mask,
        final=final,
        supplied=supplied or {},
        have={
            "weights": lambda: own,
            "parameters": lambda: list(own.values()),
            "W_E": lambda: network.embedding(own, p),
            "W_L": lambda: _cut(network.neuron_logit_map(own), p),
            "embeddings": lambda: network.embeddings(own, p),
            "train_loss_gradient": gradient,
            "gradients": lambda: gradients,
        },
        lack=_NO_ATTENTION
        | {
            "neurons": f"the forward of {network.name} names no {network.points.neurons}, the neurons",
            "W_L": f"{network.name} gives no neuron_logit_map",
            "W_E": f"{network.name} gives no embedding",
            "embeddings": f"{network.name} gives no embeddings",
            "train_mask": no_split,
        },
    )


def _cut(W_L: Tensor | None, p: int) -> Tensor | None:
    return None if W_L is None else W_L[:, :p]


def hooked_subject_of(
    model: HookedRootModule,
    task: Task,
    train_mask: Bool[Tensor, "p p"] | None,
    supplied: Supplied | None = None,
    step: int | None = None,
    final: Callable[[], Subject] | None = None,
) -> Subject:
    """Return a model with hooks as a subject; it is run, with its hooks, when this is called."""
    acts, p = hooked_activations(model, task.p), task.p
    cfg = model.cfg
    have: dict[str, Callable[[], Any]] = {
        # A bridge keeps b_U among its buffers; its state dict holds all weights.
        "parameters": lambda: [w for w in model.state_dict().values() if w.is_floating_point()],
        "gradients": lambda: lambda pairs: hooked_input_gradients(model, pairs),
    }
    if isinstance(cfg, Network):
        own = {name: weight.detach().float().cpu() for name, weight in model.weights.items()}
        have |= {
            "W_E": lambda: cfg.embedding(own, p),
            "W_L": lambda: _cut(cfg.neuron_logit_map(own), p),
            "embeddings": lambda: cfg.embeddings(own, p),
        }
    else:
        W_E = model.W_E.detach().float().cpu()
        have |= {"W_E": lambda: W_E[:p], "embeddings": lambda: rows_of_numbers(W_E, p)}
        if acts.neurons is not None:
            have["W_L"] = lambda: (model.W_out[-1] @ model.W_U).detach().float().cpu()[:, :p]
    return Subject(
        task,
        lambda: acts,
        step=step,
        train_mask=train_mask,
        final=final,
        supplied=supplied or {},
        have=have,
        lack={
            **_NO_NEURONS,
            **_NO_ATTENTION,
            "train_mask": "no train/test split is known; pass split= (a bool mask [p, p], or a name with its seed=)",
            "weights": "the model is measured through its hooks, and has no weights under interp's names",
            "train_loss_gradient": "the model is measured through its hooks, and has no weights under interp's names",
        },
    )
