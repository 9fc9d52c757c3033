"""Double descent of a real network: one hidden layer on scikit-learn's bundled digits, with label noise.

1,797 images of 8 × 8 pixels (Alpaydin and Kaynak, 1998), ten classes. Labels to train on are made wrong on purpose;
those to test on never are. Width, samples and epochs can each be swept through the interpolation threshold (Nakkiran
et al., 2020).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import lru_cache

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from interp.arguments import columns, number, one_of, room_for, sizes, whole
from interp.computing import computing
from interp.console import progress_bar
from interp.errors import ConfigError, TrainingError
from interp.linear.steps import MOST_RECORDS, log_steps
from interp.threads import side_by_side, wanted

WIDTHS = (2, 4, 6, 8, 12, 16, 24, 32, 64, 128, 256, 512)
TEST_IMAGES = 597
_CLASSES = 10
_FLOAT32 = 1e30  # settings multiply float32 weights, which end at 3e38


@computing(grad=True)
def train_digits(
    widths: int | Sequence[int] = WIDTHS,
    samples: int | Sequence[int] = 600,
    label_noise: float = 0.2,
    epochs: int = 1_500,
    seeds: int = 5,
    learning_rate: float = 0.01,
    weight_decay: float = 0.0,
    records: int = 60,
    progress: bool = True,
    threads: int | None = None,
) -> pd.DataFrame:
    """Train 64 → width → 10 ReLU networks at each width and number of samples; a row a network and recorded epoch.

    widths, samples   one or several of each, every pair is trained
    label_noise       the share of labels to train on that is made wrong, each a class drawn from the other nine
    epochs            full-batch updates by AdamW on the cross-entropy
    seeds             networks of each kind; a seed draws the images, the wrong labels and the weights
    weight_decay      of AdamW, on all weights
    records           about how many epochs to record, at equal ratios, beside 0
    threads           how many widths and samples to train at a time, each on one thread; by default as many as torch
                      uses. Results do not depend on it.

    Columns: width, samples, label_noise, seed, epoch; train_error, the share of the labels to train on (wrong ones
    included) that is missed, and test_error, that share of 597 images that no seed trains on; both are in 0 to 1.
    Raises ConfigError for sizes below 1, more samples than the 1,200 there are, or a noise outside 0 to 1, and
    TrainingError for a network whose weights or logits are no longer finite.
    """
    all_widths, all_samples = sizes("widths", widths), sizes("samples", samples)
    images, labels = _images()
    available = len(images) - TEST_IMAGES
    if max(all_samples) > available:
        raise ConfigError(f"samples must be at most the {available:,} digits to train on; got {max(all_samples)}.")
    label_noise = number("label_noise", label_noise, least=0, most=1)
    epochs, seeds = whole("epochs", epochs, 1), whole("seeds", seeds, 1)
    learning_rate = number("learning_rate", learning_rate, above=0, most=_FLOAT32)
    weight_decay = number("weight_decay", weight_decay, least=0, most=_FLOAT32)
    room_for("the hidden layers", seeds, max(*all_samples, TEST_IMAGES), max(all_widths))
    recorded = set(np.unique(np.r_[0, log_steps(epochs, whole("records", records, 2, MOST_RECORDS + 1))]).tolist())
    pairs = [(width, n) for n in all_samples for width in all_widths]
    work = [seeds * n * (width + 8) for width, n in pairs]  # 8: what a step costs whatever the width
    workers = wanted(threads)
    rows: list[list[dict[str, float]]] = [[] for _ in pairs]

    def training(place: int) -> Iterator[int]:
        width, n = pairs[place]
        X, y, weights = _drawn(images, labels, width, n, label_noise, seeds)
        X_test, y_test = images[available:].expand(seeds, -1, -1), labels[available:].expand(seeds, -1)
        optimizer = torch.optim.AdamW(weights, lr=learning_rate, weight_decay=weight_decay)
        for epoch in range(epochs + 1):
            logits = _logits(X, weights)
            if epoch in recorded:
                with torch.no_grad():
                    unseen = _logits(X_test, weights)
                    for seed in range(seeds):
                        if not all(part[seed].isfinite().all() for part in (*weights, logits, unseen)):
                            raise TrainingError(
                                f"the network of width {width}, {n} samples and seed {seed} diverged by epoch "
                                f"{epoch:,}; lower its learning_rate of {learning_rate:g} or weight_decay of "
                                f"{weight_decay:g}."
                            )
                    train = (logits.argmax(-1) != y).double().mean(1).tolist()
                    test = (unseen.argmax(-1) != y_test).double().mean(1).tolist()
                rows[place] += [
                    {
                        "width": width, "samples": n, "label_noise": label_noise, "seed": seed, "epoch": epoch,
                        "train_error": train[seed], "test_error": test[seed],
                    }
                    for seed in range(seeds)
                ]  # fmt: skip
            loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), y.flatten(), reduction="sum") / n
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            yield work[place]

    with progress_bar("train on digits", "%", 100, show=progress) as bar:
        everything = (epochs + 1) * sum(work)
        longest_first = sorted(range(len(pairs)), key=lambda place: -work[place])
        side_by_side(
            [training(place) for place in longest_first],
            workers,
            lambda done: bar.at(100 * done // everything) if bar else None,
        )
    return pd.DataFrame([row for own in rows for row in own])


def over_seeds(networks: pd.DataFrame, by: str) -> pd.DataFrame:
    """Mean and standard error over seeds, along one axis: `by` is "width", "samples" or "epoch".

    Along width and samples the networks are taken at their last epoch. Columns: `by`, train_error, test_error,
    train_standard_error, standard_error (of the test error; nan for one seed).
    """
    axes = ("width", "samples", "epoch")
    one_of("by", by, axes)
    columns(networks, *axes, "label_noise", "seed", "train_error", "test_error", source="train_digits")
    if by != "epoch":
        networks = networks.reset_index(drop=True)
        last = networks.groupby([*axes[:2], "label_noise", "seed"])["epoch"].idxmax()
        networks = networks.loc[last].assign(epoch=0)  # whichever it was
    if mixed := [name for name in (*axes, "label_noise") if name != by and networks[name].nunique() > 1]:
        raise ConfigError(f"the frame must hold one value of {', '.join(mixed)} along {by}; got several. Select one.")
    grouped = networks.groupby(by)[["train_error", "test_error"]]
    mean, error = grouped.mean(), grouped.sem()
    return mean.assign(train_standard_error=error["train_error"], standard_error=error["test_error"]).reset_index()


@lru_cache(maxsize=1)
def _images() -> tuple[Tensor, Tensor]:
    """Return the pixels, in 0 to 1, and their classes; the last TEST_IMAGES are the test images."""
    from sklearn.datasets import load_digits

    X, y = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(X))  # they come writer by writer
    return torch.tensor(X[order] / 16, dtype=torch.float32), torch.tensor(y[order])


def _drawn(
    images: Tensor, labels: Tensor, width: int, n: int, label_noise: float, seeds: int
) -> tuple[Tensor, Tensor, list[Tensor]]:
    drawn = []
    for seed in range(seeds):
        generator = torch.Generator().manual_seed(seed)
        chosen = torch.randperm(len(images) - TEST_IMAGES, generator=generator)[:n]
        y = labels[chosen].clone()
        wrong = round(label_noise * n)
        y[:wrong] = (y[:wrong] + torch.randint(1, _CLASSES, (wrong,), generator=generator)) % _CLASSES
        pixels = images.shape[1]
        first = torch.randn(pixels, width, generator=generator) * math.sqrt(2 / pixels)
        second = torch.randn(width, _CLASSES, generator=generator) / math.sqrt(width)
        drawn.append((images[chosen], y, first, torch.zeros(1, width), second, torch.zeros(1, _CLASSES)))
    X, y, *weights = (torch.stack(parts) for parts in zip(*drawn, strict=True))
    return X, y, [weight.requires_grad_() for weight in weights]


def _logits(X: Tensor, weights: Sequence[Tensor]) -> Tensor:
    """Logits of several networks at once, shape [seeds, images, classes]."""
    W_in, b_in, W_out, b_out = weights
    return torch.baddbmm(b_out, torch.relu(torch.baddbmm(b_in, X, W_in)), W_out)
