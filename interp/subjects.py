"""Subjects of measures: a checkpoint, through its network's forward, or a model with hooks, through these."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jaxtyping import Bool
from torch import Tensor

from interp.all_pairs import activations, hooked_activations, hooked_input_gradients, loss_gradient
from interp.measures.subject import Missing, Subject, Supplied
from interp.networks import Network
from interp.networks.base import InputGradients, gradients_of, plain
from interp.networks.pairs import Pairs
from interp.networks.transformer import rows_of_numbers
from interp.run import SPLIT, Checkpoint, ForeignNetwork
from interp.task import Task

if TYPE_CHECKING:
    from transformer_lens import HookedRootModule

_NO_NEURONS = {"neurons": "the model has no MLP, so no neurons", "W_L": "the model has no MLP, so no neurons"}
_NO_ATTENTION = {"pattern": "the model has no attention"}


def subject_of(
    checkpoint: Checkpoint, supplied: Supplied | None = None, final: Callable[[], Subject] | None = None
) -> Subject:
    """Return a checkpoint as a subject; `final` gives that of its run's last checkpoint, by default by reading it."""
    run, config = checkpoint.run, checkpoint.config
    in_directory = run is not None and Path(run.path).is_dir()

    def last() -> Subject:
        if run is None:
            raise Missing("the model belongs to no run, so it has no last checkpoint")
        return subject_of(run.last_readable())

    if isinstance(config, ForeignNetwork):
        return config.subject_of(checkpoint, supplied, final or last)
    # Copies: a measure that changes them by mistake is refused, and does not change the checkpoint.
    weights = {name: weight.clone() for name, weight in plain(checkpoint.weights).items()}
    p = checkpoint.task.p
    no_split = (
        f"the run has no {SPLIT}, so train and test pairs are unknown"
        if in_directory
        else "no train/test split is known; load the checkpoint with split and seed (--split, --seed)"
    )

    def gradient() -> Mapping[str, Tensor]:
        if checkpoint.train_mask is None:
            raise Missing(no_split)
        return loss_gradient(config, weights, checkpoint.train_mask, checkpoint.task.labels)

    def gradients(pairs: Pairs) -> Iterator[InputGradients]:
        found = gradients_of(config, weights, pairs)
        if found is None:
            raise Missing(f"the forward of {config.name} names no {config.points.embed}, the embedded inputs")
        return found

    # Nothing here may hold the subject: it would stay in memory, with all that it has computed, for a while.
    return Subject(
        checkpoint.task,
        lambda: activations(checkpoint),
        step=checkpoint.step,
        train_mask=checkpoint.train_mask,
        final=final or last,
        supplied=supplied or {},
        have={
            "weights": lambda: weights,
            "parameters": lambda: list(weights.values()),
            "W_E": lambda: config.embedding(weights, p),
            "W_L": lambda: _cut(config.neuron_logit_map(weights), p),
            "embeddings": lambda: config.embeddings(weights, p),
            "train_loss_gradient": gradient,
            "gradients": lambda: gradients,
        },
        lack=_NO_ATTENTION
        | {
            "neurons": f"the forward of {config.name} names no {config.points.neurons}, the neurons",
            "W_L": f"{config.name} gives no neuron_logit_map",
            "W_E": f"{config.name} gives no embedding",
            "embeddings": f"{config.name} gives no embeddings",
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
