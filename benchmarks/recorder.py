"""The cost of a Recorder in a loop: one record, beside one training step of the same network."""

from __future__ import annotations

import statistics
import time
import warnings

import torch
from torch import nn
from torch.nn import functional

import interp

LOSSES = ["train_loss", "test_loss", "train_accuracy", "test_accuracy"]


def _network(p: int) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Embedding(p, 128), nn.Flatten(), nn.Linear(256, 512), nn.ReLU(), nn.Linear(512, p))


def _seconds(call: object, times: int) -> float:
    taken = []
    for i in range(times):
        begun = time.perf_counter()
        call(i)  # type: ignore[operator]
        taken.append(time.perf_counter() - begun)
    return statistics.median(taken)


def main() -> None:
    warnings.simplefilter("ignore")
    for p in (23, 59, 113):
        net, task, mask = _network(p), interp.Task(p), interp.split_mask(p, 0.5, 0)
        tokens, labels = mask.nonzero(), task.labels[mask]
        optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3, weight_decay=1.0)

        def step(_: int) -> None:
            optimizer.zero_grad()  # noqa: B023
            functional.cross_entropy(net(tokens), labels).backward()  # noqa: B023
            optimizer.step()  # noqa: B023

        model = interp.Model(net, task, mask, tokens="ab", neurons="3", W_E="0", W_L="4")
        every = interp.Recorder(model, every=1)
        four = interp.Recorder(model, every=1, measures=LOSSES)
        one, all_measures, losses = _seconds(step, 30), _seconds(every, 9), _seconds(four, 9)
        print(
            f"  p = {p:<4} a step {1e3 * one:7.1f} ms   a record of all measures {1e3 * all_measures:7.1f} ms "
            f"({all_measures / one:5.1f} steps)   of losses and accuracies {1e3 * losses:6.1f} ms ({losses / one:4.1f})"
        )
