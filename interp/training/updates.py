"""Updates of the weights, by the settings of a run; the loss, labels, batches and dropout that they learn from.

An update takes the gradient of the loss and, in this order, adds that of l1 · Σ|w|, takes off the part along each
weight (`orthogonal_gradient`, which may scale the rest back to the gradient's norm), adds the slow part again
(`grokfast`), lets the optimizer act, which decays weights too, and scales the weights back to their norm
(`fixed_norm`).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from interp.networks import Network, Pairs, Tap
from interp.networks.taps import UNTAPPED
from interp.runs.config import TrainConfig
from interp.runs.settings import Loss
from interp.tasks.splits import check_split
from interp.utils.arguments import given
from interp.utils.errors import ConfigError
from interp.utils.torch_state import computing

_Make = Callable[..., torch.optim.Optimizer]
_SLOW, _NORM = "slow", "fixed_norm"
_LABELS, _BATCHES, _DROPOUT = range(3)  # streams of random numbers, each drawn by itself from the run's seed


class Updates:
    """The optimizers of a run, over weights that record gradients, and the other settings that change an update.

    `count` is the number of updates in their state: that of the run, unless it began with another run's state.
    """

    def __init__(self, config: TrainConfig, weights: Mapping[str, Tensor]) -> None:
        self.config, self.weights, self.count = config, weights, 0
        self._optimizers: list[tuple[torch.optim.Optimizer, dict[str, Tensor]]] = []
        by_muon = _matrices(config, weights) if config.optimizer == "muon" else ()
        if config.optimizer == "muon" and not by_muon:
            raise ConfigError(
                f"optimizer muon updates matrices between embedding and unembedding; {config.model.name} has none. "
                "Take adamw."
            )
        self._of_muon = {
            f"{name}.{place}": (name, place, matrix)
            for name in by_muon
            for place, matrix in enumerate(_as_matrices(weights[name]))
        }
        decayed, rate = set(config.decayed), config.learning_rate
        rest = {name: weight for name, weight in weights.items() if name not in by_muon}
        make: _Make = functools.partial(torch.optim.AdamW, lr=0.0, betas=config.betas, eps=1e-8, fused=True)
        if config.optimizer == "sgd":
            make = functools.partial(torch.optim.SGD, lr=0.0, momentum=config.momentum, fused=True)
        self._add(make, rest, decayed, rate)
        if by_muon:
            of_muon = {label: matrix for label, (_, _, matrix) in self._of_muon.items()}
            own = {label for label, (name, _, _) in self._of_muon.items() if name in decayed}
            factors = {label: _factor_beside_torchs(config, matrix) for label, matrix in of_muon.items()}
            rate = rate if config.muon_learning_rate is None else config.muon_learning_rate
            self._add(lambda groups: _muon(groups, config.momentum), of_muon, own, rate, factors)
        slowed = weights if config.grokfast else {}
        self._slow = {name: torch.zeros_like(weight, requires_grad=False) for name, weight in slowed.items()}
        self._norm = _norm(weights)

    def _add(
        self, make: _Make, of: dict[str, Tensor], decayed: set[str], rate: float, factors: Mapping[str, float] = {}
    ) -> None:
        """Add an optimizer of some weights, whose steps are multiplied by `factors`, but not their decay."""
        kinds = {name: (name in decayed, factors.get(name, 1.0)) for name in of}
        groups: list[dict[str, object]] = [
            # Optimizers multiply the decay by the learning rate, so it is divided by the factor of the rate.
            {"params": [of[name] for name in of if kinds[name] == (decays, factor)], "rate": rate * factor,
             "weight_decay": self.config.weight_decay / factor if decays else 0.0}
            for decays, factor in dict.fromkeys(kinds.values())
        ]  # fmt: skip
        if groups:
            self._optimizers.append((make(groups), of))

    def __call__(self, step: int) -> None:
        """Update the weights from their gradients, and drop these; `step` counts from 0."""
        config = self.config
        with torch.no_grad():
            if config.l1:
                for weight in self.weights.values():
                    _grad(weight).add_(weight.sign(), alpha=config.l1)
            if config.orthogonal_gradient:
                for weight in self.weights.values():
                    make_orthogonal(_grad(weight), weight, config.orthogonal_rescaled)
            for name, slow in self._slow.items():
                gradient = _grad(self.weights[name])
                if self.count == 0 and config.grokfast_start == "first_gradient":
                    slow.copy_(gradient)
                else:
                    slow.mul_(config.grokfast_decay).add_(gradient, alpha=1 - config.grokfast_decay)
                gradient.add_(slow, alpha=config.grokfast)
        for name, place, matrix in self._of_muon.values():
            matrix.grad = _as_matrices(_grad(self.weights[name]))[place]
        warm = warmth(config, step)
        for optimizer, _ in self._optimizers:
            for group in optimizer.param_groups:
                group["lr"] = group["rate"] * warm
            optimizer.step()
            optimizer.zero_grad()
        if self._of_muon:
            for weight in self.weights.values():
                weight.grad = None
        if config.fixed_norm:
            with torch.no_grad():
                scale = self._norm / _norm(self.weights)
                for weight in self.weights.values():
                    weight.mul_(scale)
        self.count += 1

    # ── its state ────────────────────────────────────────────────────────────────────────────────────────────────

    def _parameters(self) -> Iterator[tuple[torch.optim.Optimizer, str, Tensor]]:
        for optimizer, of in self._optimizers:
            for name, parameter in of.items():
                yield optimizer, name, parameter

    def state(self) -> dict[str, Tensor]:
        """Return the tensors that the next update depends on, beside the weights."""
        found = {
            f"{key}.{name}": value
            for optimizer, name, parameter in self._parameters()
            for key, value in optimizer.state.get(parameter, {}).items()
            if key != "step" and isinstance(value, Tensor)
        }
        found |= {f"{_SLOW}.{name}": slow for name, slow in self._slow.items()}
        if self.config.fixed_norm:
            found[_NORM] = torch.tensor([self._norm], dtype=torch.float64)
        return found

    def load(self, tensors: Mapping[str, Tensor], count: int) -> None:
        """Restore the state after `count` updates; KeyError if it is of other settings."""
        self.count = count
        if self.config.fixed_norm:
            self._norm = float(tensors[_NORM])
        if count == 0:
            return
        for name, slow in self._slow.items():
            slow.copy_(tensors[f"{_SLOW}.{name}"])
        for optimizer, name, parameter in self._parameters():
            keys = _MOMENTS[type(optimizer).__name__]
            if keys == ("momentum_buffer",) and not self.config.momentum:
                continue
            optimizer.state[parameter] = {key: tensors[f"{key}.{name}"].to(parameter.device) for key in keys}
            if isinstance(optimizer, torch.optim.AdamW):
                optimizer.state[parameter]["step"] = torch.tensor(float(count), device=parameter.device)


_MOMENTS = {"AdamW": ("exp_avg", "exp_avg_sq"), "SGD": ("momentum_buffer",), "Muon": ("momentum_buffer",)}


def _grad(weight: Tensor) -> Tensor:
    if weight.grad is None:  # a weight that the loss does not depend on
        weight.grad = torch.zeros_like(weight)
    return weight.grad


def _norm(weights: Mapping[str, Tensor]) -> float:
    """Return the norm of all weights as one vector."""
    return math.sqrt(sum(float(weight.detach().double().square().sum()) for weight in weights.values()))


def make_orthogonal(gradient: Float[Tensor, "*shape"], weight: Float[Tensor, "*shape"], rescaled: bool = False) -> None:
    """Remove from a gradient its part along its weight, in place: g − (w·g / w·w) w (Prieto et al., 2025).

    With `rescaled` the rest is scaled to the norm of g, as in the authors' code. If g is parallel to w, the rest is
    rounding alone, and it is scaled up, as by theirs.
    """
    norm = gradient.norm()
    along = (weight * gradient).sum() / weight.square().sum().clamp(min=1e-30)
    gradient.sub_(weight * along)
    if rescaled:
        gradient.mul_(norm / gradient.norm().clamp(min=1e-30))


def _matrices(config: TrainConfig, weights: Mapping[str, Tensor]) -> tuple[str, ...]:
    """Return the weights that Muon updates: matrices, or one a head, with no axis of tokens, positions or outputs."""
    outer = {"d_vocab", "d_vocab_out", "n_ctx"}
    # Biases [n_heads, d_head] are a vector a head; older versions, and so the factor rows/columns, take a matrix.
    heads = {"n_heads"} if config.muon_factor == "out/in" else set()
    axes = {name: config.model.axes()[name] for name in weights}
    return tuple(name for name, of in axes.items() if sum(axis not in heads for axis in of) > 1 and not outer & set(of))


def _factor_beside_torchs(config: TrainConfig, matrix: Float[Tensor, "m n"]) -> float:
    """Return the factor of a matrix's steps, beside the √max(1, rows/columns) of torch.optim.Muon.

    Torch's is √max(1, out/in) of a matrix [out, in]. One that is [in, out] needs √(columns/rows) as well, which is
    √max(1, columns/rows) / √max(1, rows/columns).
    """
    if config.muon_factor == "rows/columns" or config.model.out_first:
        return 1.0
    rows, columns = matrix.shape
    return math.sqrt(columns / rows)


def _as_matrices(weight: Tensor) -> list[Tensor]:
    """Return the matrices of a weight [..., m, n], which share its memory and record no history."""
    return list(weight.detach().flatten(0, -3).unbind(0)) if weight.ndim > 2 else [weight.detach()]


def _muon(groups: list[dict[str, object]], momentum: float) -> torch.optim.Optimizer:
    if not hasattr(torch.optim, "Muon"):
        raise ConfigError(f"optimizer muon needs torch 2.9 or newer; this is {torch.__version__}. Upgrade torch.")
    return torch.optim.Muon(groups, lr=0.0, momentum=momentum, adjust_lr_fn="original")


def warmth(config: TrainConfig, step: int) -> float:
    """Return the learning rate of an update, as a share of `learning_rate`, or of `muon_learning_rate`."""
    warm = min(step / config.warmup_steps, 1.0) if config.warmup_steps else 1.0
    if config.lr_schedule == "constant" or step <= config.warmup_steps:
        return warm
    gone = (step - config.warmup_steps) / max(config.steps - config.warmup_steps, 1)
    return 1 - gone if config.lr_schedule == "linear" else (1 + math.cos(math.pi * gone)) / 2


# ── loss, labels, batches and dropout ────────────────────────────────────────────────────────────────────────────


def training_loss(
    logits: Float[Tensor, "n d_vocab_out"], labels: Int[Tensor, " n"], loss: Loss = "cross_entropy"
) -> Float[Tensor, ""]:
    """Return the mean of −log softmax(logits)[label], or of stablemax, in float64 over all outputs, "=" included.

    float32 cannot resolve losses under 1e-7. MPS has no float64, so there the CPU takes this last step.
    """
    wide = logits.cpu().double() if logits.device.type == "mps" else logits.double()
    labels = labels.to(wide.device)
    if loss == "cross_entropy":
        return functional.cross_entropy(wide, labels)
    # s(x) = x + 1 from 0 on, else 1 / (1 − x): log s is log1p(x), else −log1p(−x).
    logs = torch.where(wide >= 0, torch.log1p(wide.clamp(min=0)), -torch.log1p(-wide.clamp(max=0)))
    return functional.nll_loss(logs - logs.logsumexp(1, keepdim=True), labels)


def generator(seed: int, *stream: int, device: torch.device | str = "cpu") -> torch.Generator:
    """Return the generator of random numbers of one `stream` of a run, always in its first state."""
    mixed = np.random.SeedSequence([seed, *stream]).generate_state(1, np.uint64)
    return torch.Generator(device).manual_seed(int(mixed[0]) % 2**63)


def _wrong_labels(config: TrainConfig, train_pairs: int) -> int:
    return round(config.label_noise * train_pairs)


def train_labels(config: TrainConfig, right: Int[Tensor, " n"]) -> Int[Tensor, " n"]:
    """Return the labels to train on: the right ones, a share `label_noise` of them replaced by wrong ones at random."""
    number = _wrong_labels(config, len(right))
    if not number:
        return right
    random = generator(config.seed, _LABELS)
    chosen = torch.randperm(len(right), generator=random)[:number]
    labels = right.clone()
    labels[chosen] = (right[chosen] + torch.randint(1, config.p, (number,), generator=random)) % config.p
    return labels


def batch(config: TrainConfig, number: int, step: int) -> Int[Tensor, " batch"] | None:
    """Return the indices of the train pairs, of `number`, from which update `step` learns; None for all of them.

    Each epoch is shuffled anew and cut into batches, of which the last may be smaller.
    """
    if config.batch_size is None or config.batch_size >= number:
        return None
    epoch, place = divmod(step, math.ceil(number / config.batch_size))
    order = torch.randperm(number, generator=generator(config.seed, _BATCHES, epoch))
    return order[place * config.batch_size : (place + 1) * config.batch_size]


def dropout(config: TrainConfig, step: int, device: torch.device) -> Tap:
    """Return the tap that drops neurons and entries of attention patterns in update `step`."""
    if not (config.dropout or config.attention_dropout):
        return UNTAPPED
    random = generator(config.seed, _DROPOUT, step, device=device)

    def dropping(rate: float) -> Callable[[Tensor], Tensor]:
        return lambda x: x * (torch.rand(x.shape, generator=random, device=x.device) >= rate) / (1 - rate)

    of_neurons, of_patterns = config.model.dropout_points
    rates = dict.fromkeys(of_neurons, config.dropout) | dict.fromkeys(of_patterns, config.attention_dropout)
    return Tap({name: dropping(rate) for name, rate in rates.items() if rate})


# ── settings that have an effect ─────────────────────────────────────────────────────────────────────────────────


def check_effects(config: TrainConfig) -> None:
    """Raise ConfigError for a setting that is not at its default and has no effect under the other settings.

    Two runs that differ in such a setting alone would be equal. This is checked when a training begins, not when one is
    read or resumed.
    """
    split: Any = config.split
    train_pairs = len(split) if isinstance(split, tuple) else check_split(config.p, config.train_fraction, split)
    network, optimizer = f"network={config.model.name}", f"optimizer={config.optimizer}"
    pairs = f"{train_pairs:,} train pairs"
    of_neurons, of_patterns = config.model.dropout_points
    acts: dict[str, tuple[Callable[[], bool], str, str]] = {
        "betas": (lambda: config.optimizer != "sgd", "optimizer adamw or muon", optimizer),
        "momentum": (lambda: config.optimizer != "adamw", "optimizer sgd or muon", optimizer),
        "muon_learning_rate": (lambda: config.optimizer == "muon", "optimizer muon", optimizer),
        "muon_factor": (lambda: config.optimizer == "muon", "optimizer muon", optimizer),
        "weight_decay_on": (lambda: config.weight_decay > 0, "weight_decay above 0", "weight_decay=0"),
        "orthogonal_rescaled": (
            lambda: config.orthogonal_gradient, "orthogonal_gradient", "orthogonal_gradient=False",
        ),
        "grokfast_decay": (lambda: config.grokfast > 0, "grokfast above 0", "grokfast=0"),
        "grokfast_start": (lambda: config.grokfast > 0, "grokfast above 0", "grokfast=0"),
        "batch_size": (lambda: batch(config, train_pairs, 0) is not None, "more train pairs than a batch has", pairs),
        "label_noise": (lambda: _wrong_labels(config, train_pairs) > 0, "enough train pairs for a wrong label", pairs),
        "dropout": (lambda: _names_any(config.model, config.p, of_neurons), "a network that names neurons", network),
        "attention_dropout": (
            lambda: _names_any(config.model, config.p, of_patterns), "a network that names attention patterns", network,
        ),
    }  # fmt: skip
    for name, (acting, needed, there) in acts.items():
        value, default = getattr(config, name), getattr(TrainConfig, name)
        if value != default and not acting():
            raise ConfigError(
                f"{name} acts only with {needed}; got {name}={given(value)} with {there}. Leave it at its default, "
                f"{given(default)}."
            )


@functools.lru_cache(maxsize=64)
@computing()
def _names_any(network: Network, p: int, names: tuple[str, ...]) -> bool:
    """Return whether the forward of a network names one of these activations, on which dropout could act."""
    seen: list[Tensor] = []

    def see(x: Tensor) -> Tensor:
        seen.append(x)
        return x

    zero = torch.zeros(1, dtype=torch.long)
    network.forward(network.initial_weights(0), Pairs(p, zero, zero), Tap(dict.fromkeys(names, see)))
    return bool(seen)
