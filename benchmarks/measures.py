"""All measures of a p = 113 checkpoint, against a cached forward for each and the definitions applied directly.

Published notebooks take the direct way: `run_with_cache` over all pairs for every measure, p² × p tensors times
the basis of Z_p² for the restricted and excluded losses, a p² × p cosine for every frequency, and the full
two-dimensional transform of every neuron.
"""

from __future__ import annotations

import math
from pathlib import Path

import torch

from benchmarks.timing import medians
from interp import Transformer, load_run, progress_measures
from interp.networks.pairs import Pairs
from interp.networks.taps import UNTAPPED
from interp.tasks.fourier import fourier_basis, frequency_rows

RUN = Path("checkpoints/mod113-seed0")


def main() -> None:
    checkpoint = load_run(RUN)[-1]
    keys = progress_measures(checkpoint).key_frequencies
    assert keys is not None
    assert checkpoint.train_mask is not None
    p, labels, mask = checkpoint.task.p, checkpoint.task.labels.flatten(), checkpoint.train_mask.flatten()
    bridge = checkpoint.model()
    network = checkpoint.config
    assert isinstance(network, Transformer)
    index = torch.arange(p * p)
    tokens = torch.stack([index // p, index % p, torch.full_like(index, p)], dim=1)
    F = fourier_basis(p).float()

    def cached() -> tuple[torch.Tensor, torch.Tensor]:
        with torch.no_grad():
            logits, cache = bridge.run_with_cache(tokens)
        return logits[:, -1, :p], cache["blocks.0.mlp.hook_post"][:, -1]

    def kept(logits: torch.Tensor, ks: tuple[int, ...]) -> torch.Tensor:
        total = torch.zeros_like(logits)
        for k in ks:
            angle = 2 * math.pi * k * ((index // p + index % p) % p) / p
            for wave in (angle.cos(), angle.sin()):
                direction = (wave / wave.norm()).float()
                total += direction[:, None] * (direction @ logits)
        return total

    def loss_of(logits: torch.Tensor, where: torch.Tensor | None = None) -> float:
        values = -logits.double().log_softmax(-1).gather(-1, labels[:, None])[:, 0]
        return float(values.mean() if where is None else values[where].mean())

    def direct() -> dict[str, float]:
        found: dict[str, float] = {}
        logits, _ = cached()
        found["train_loss"], found["test_loss"] = loss_of(logits, mask), loss_of(logits, ~mask)
        logits, _ = cached()
        part = kept(logits, keys)
        found["restricted_loss"] = loss_of(part + (logits - part).mean(0))
        logits, _ = cached()
        found["excluded_loss"] = loss_of(logits - kept(logits, keys), mask)
        logits, _ = cached()
        for k in keys:
            found[f"excluded_loss_{k}"] = loss_of(logits - kept(logits, (k,)), mask)
        logits, _ = cached()
        difference = (index // p + index % p)[:, None] - torch.arange(p)
        for k in range(1, p // 2 + 1):
            wave = (2 * math.pi * k * (difference % p) / p).cos()
            found[f"cos_coefficient_{k}"] = float((logits * wave).sum() / wave.norm())
        _, neurons = cached()
        square = torch.einsum("ia,abm,jb->ijm", F, neurons.view(p, p, -1) - neurons.mean(0), F).square()
        of_frequency = []
        for k in range(1, p // 2 + 1):
            rows = (0, *frequency_rows(p, k))
            of_frequency.append(torch.stack([square[i, j] for i in rows for j in rows if i or j]).sum(0))
        shares = torch.stack(of_frequency) / square.sum((0, 1))
        found["single_frequency_neurons"] = float((shares.amax(0) > 0.85).float().mean())
        return found

    ours = progress_measures(checkpoint).row()
    for name, value in direct().items():
        slack = 2.0 if name.startswith("cos") else 1e-6  # float32 sums of p³ terms, and losses near 1e-7
        if not math.isclose(value, ours[name] or 0.0, rel_tol=1e-2, abs_tol=slack):
            raise AssertionError(f"{name}: directly {value}, here {ours[name]}")

    def by_hand() -> tuple[float, float]:
        with torch.no_grad():
            out = network.forward(checkpoint.weights, Pairs.all(p), UNTAPPED)[:, :p]
        values = -out.double().log_softmax(-1).gather(-1, labels[:, None])[:, 0]
        return float(values[mask].mean()), float(values[~mask].mean())

    def two_losses() -> tuple[float | None, float | None]:
        m = progress_measures(checkpoint, measures=["train_loss", "test_loss"])
        return m.train_loss, m.test_loss

    assert two_losses() == by_hand()
    two = medians({"measured": (two_losses, 3), "by hand": (by_hand, 3)})
    found = medians(
        {"progress_measures": (lambda: progress_measures(checkpoint, key_frequencies=keys), 5), "direct": (direct, 1)},
        rounds=3,
    )
    print(f"  progress_measures                  {found['progress_measures'] * 1e3:8.0f} ms a checkpoint")
    print(f"  a cached forward a measure         {found['direct'] * 1e3:8.0f} ms a checkpoint")
    print(f"  direct / progress_measures: {found['direct'] / found['progress_measures']:.1f}")
    print(f"  two losses alone                   {two['measured'] * 1e3:8.0f} ms")
    print(f"  two losses / the same by hand: {two['measured'] / two['by hand']:.2f}")
