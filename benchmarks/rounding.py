"""How far rounding alone moves the mainline: initial weights changed by one part in ten million, and when it groks.

Takes some minutes a seed, so it runs only when it is named: `python -m benchmarks rounding`.
"""

from __future__ import annotations

import torch

from interp.config import TrainConfig
from interp.console import progress_bar
from interp.forward import Pairs, forward
from interp.measures.logits import cos_coefficients, key_frequencies, logit_table
from interp.model import initial_weights
from interp.training import new_optimizer, training_loss

SEEDS = (1, 2)
STEPS = 11_000
FORMED = 4.0  # nats: near a tenth of the way from the peak of log test loss to its floor


def main() -> None:
    config = TrainConfig()
    p, labels, options = config.p, config.task.labels, config.model.forward_options
    mask = config.train_mask
    train_pairs, test_pairs = (Pairs(p, *m.nonzero(as_tuple=True)) for m in (mask, ~mask))
    for seed in SEEDS:
        generator = torch.Generator().manual_seed(seed)
        weights = {}
        for name, weight in initial_weights(config.model, config.seed).items():
            noise = torch.randn(weight.shape, generator=generator) * 1e-7
            weights[name] = (weight * (1 + noise)).requires_grad_()
        optimizer = new_optimizer(config, weights)
        formed = None
        with progress_bar(f"seed {seed}", "steps", STEPS) as bar:
            for step in range(STEPS):
                loss = training_loss(forward(weights, train_pairs, **options).logits, labels[mask])
                if step % 50 == 0:
                    with torch.no_grad():
                        test_loss = float(training_loss(forward(weights, test_pairs, **options).logits, labels[~mask]))
                    if formed is None and step > 1_000 and test_loss < FORMED:
                        formed = step
                    if bar:
                        bar.at(step, f"test loss {test_loss:.2g}")
                loss.backward()
                optimizer.param_groups[0]["lr"] = config.learning_rate * min(step / config.warmup_steps, 1.0)
                optimizer.step()
                optimizer.zero_grad()
        with torch.no_grad():
            logits = forward(weights, Pairs.all(p), **options).logits[:, :p].unflatten(0, (p, p))
        keys = key_frequencies(cos_coefficients(logit_table(logits, labels)))
        print(
            f"  change {seed}: test loss under {FORMED:.0f} nats at step {formed}; key frequencies {keys}", flush=True
        )
