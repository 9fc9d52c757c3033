"""A training step of the mainline: the shared forward against a TransformerBridge trained the ordinary way.

Both do the same: one full batch of 3,830 pairs, float64 loss over 114 outputs, AdamW on the same initial weights. The
second pair adds the test loss: every step in the ordinary loop, every 10 steps by interp, which records it then.
"""

from __future__ import annotations

import torch

from benchmarks.timing import medians
from interp.networks.pairs import Pairs
from interp.networks.taps import UNTAPPED
from interp.runs.config import TrainConfig
from interp.training.updates import Updates, training_loss


def main() -> None:
    config = TrainConfig()
    mask = config.train_mask
    train_labels, test_labels = config.task.labels[mask], config.task.labels[~mask]
    train_pairs, test_pairs = (Pairs(config.p, *m.nonzero(as_tuple=True)) for m in (mask, ~mask))

    network = config.model
    weights = {n: w.requires_grad_() for n, w in network.initial_weights(config.seed).items()}
    update = Updates(config, weights)

    def step() -> None:
        training_loss(network.forward(weights, train_pairs, UNTAPPED), train_labels).backward()
        update(config.warmup_steps)

    def ten_steps_and_test() -> None:
        for _ in range(10):
            step()
        with torch.no_grad():
            training_loss(network.forward(weights, test_pairs, UNTAPPED), test_labels)

    bridge = network.hooked({n: w.detach() for n, w in weights.items()}, config.p)
    ordinary = torch.optim.AdamW(bridge.parameters(), lr=1e-3, betas=config.betas, weight_decay=config.weight_decay)

    def tokens(pairs: Pairs) -> torch.Tensor:
        return torch.stack([pairs.a, pairs.b, torch.full_like(pairs.a, config.p)], dim=1)

    train_tokens, test_tokens = tokens(train_pairs), tokens(test_pairs)

    def ordinary_step() -> None:
        training_loss(bridge(train_tokens)[:, -1], train_labels).backward()
        ordinary.step()
        ordinary.zero_grad()

    def ordinary_step_and_test() -> None:
        ordinary_step()
        with torch.no_grad():
            training_loss(bridge(test_tokens)[:, -1], test_labels)

    found = medians({
        "shared": (step, 20), "bridge": (ordinary_step, 3),
        "shared, test loss every 10 steps": (ten_steps_and_test, 2),
        "bridge, test loss every step": (ordinary_step_and_test, 3),
    })  # fmt: skip
    found["shared, test loss every 10 steps"] /= 10
    for name, seconds in found.items():
        print(f"  {name:<34} {seconds * 1e3:8.1f} ms a step")
    print(f"  bridge / shared: {found['bridge'] / found['shared']:.1f}")
    both = found["bridge, test loss every step"] / found["shared, test loss every 10 steps"]
    print(f"  the same with test loss: {both:.1f}")
