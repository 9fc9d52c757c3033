"""How far rounding alone moves the mainline: initial weights changed by one part in ten million, and when it groks.

Takes some minutes a seed, so it runs only when it is named: `python -m benchmarks rounding`.
"""

from __future__ import annotations

import torch

from interp.config import TrainConfig
from interp.console import progress_bar
from interp.measures.logits import cos_coefficients, key_frequencies, logit_table
from interp.networks.base import UNTAPPED
from interp.networks.pairs import Pairs
from interp.updates import Updates, training_loss

SEEDS = (1, 2)
STEPS = 11_000
FORMED = 4.0  # nats: near a tenth of the way from the peak of log test loss to its floor


def main() -> None:
    config = TrainConfig()
    p, labels, network = config.p, config.task.labels, config.model
    mask = config.train_mask
    train_pairs, test_pairs = (Pairs(p, *m.nonzero(as_tuple=True)) for m in (mask, ~mask))
    for seed in SEEDS:
        generator = torch.Generator().manual_seed(seed)
        weights = {}
        for name, weight in network.initial_weights(config.seed).items():
            noise = torch.randn(weight.shape, generator=generator) * 1e-7
            weights[name] = (weight * (1 + noise)).requires_grad_()
        update = Updates(config, weights)
        formed = None
        with progress_bar(f"seed {seed}", "steps", STEPS) as bar:
            for step in range(STEPS):
                loss = training_loss(network.forward(weights, train_pairs, UNTAPPED), labels[mask])
                if step % 50 == 0:
                    with torch.no_grad():
                        test_loss = float(training_loss(network.forward(weights, test_pairs, UNTAPPED), labels[~mask]))
                    if formed is None and step > 1_000 and test_loss < FORMED:
                        formed = step
                    if bar:
                        bar.at(step, f"test loss {test_loss:.2g}")
                loss.backward()
                update(step)
        with torch.no_grad():
            logits = network.forward(weights, Pairs.all(p), UNTAPPED)[:, :p].unflatten(0, (p, p))
        keys = key_frequencies(cos_coefficients(logit_table(logits, labels)))
        print(
            f"  change {seed}: test loss under {FORMED:.0f} nats at step {formed}; key frequencies {keys}", flush=True
        )
