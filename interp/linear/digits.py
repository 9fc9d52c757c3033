"""Double descent of a real network: one hidden layer on scikit-learn's bundled digits, with label noise.

There are 1,797 images of 8 × 8 pixels in ten classes (Alpaydin and Kaynak, 1998). Some train labels are made wrong on
purpose, but no test labels. Width, samples and epochs can be swept through the interpolation threshold, as by Nakkiran
et al. (2020).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import Literal, get_args

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Int
from torch import Tensor

from interp.linear.steps import MOST_RECORDS, log_steps
from interp.utils.arguments import columns, number, one_of, room_for, sizes, whole
from interp.utils.console import progress_bar
from interp.utils.errors import ConfigError, TrainingError
from interp.utils.threads import side_by_side, wanted
from interp.utils.torch_state import computing

WIDTHS = (2, 4, 6, 8, 12, 16, 24, 32, 64, 128, 256, 512)
TEST_IMAGES = 597
_CLASSES = 10
Of = Literal["probabilities", "logits"]
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
    """Train 64 → width → 10 ReLU networks; return a row for each network and recorded epoch.

    Args:
        widths: One or several, each trained with each of `samples`.
        samples: Train images, one number or several.
        label_noise: The share of train labels that is made wrong, each a class drawn from the other nine.
        epochs: Full-batch updates by AdamW on the cross-entropy.
        seeds: Networks of each kind; a seed draws the images, the wrong labels and the weights.
        learning_rate: Of AdamW.
        weight_decay: Of AdamW, on all weights.
        records: About how many epochs to record, at equal ratios, beside 0.
        progress: Show a progress bar.
        threads: How many kinds to train at a time, each on one thread; by default as many as torch uses. Results do not
            depend on it.

    Returns:
        Columns width, samples, label_noise, seed, epoch; train_error, the share of train labels (wrong ones included)
        that is missed, and test_error, that share of 597 images that no seed trains on; both from 0 to 1.

    Raises:
        ConfigError: A size is below 1, `samples` above the 1,200 there are, or `label_noise` outside 0 to 1.
        TrainingError: The weights or logits of a network are no longer finite.
    """

    def errors(about: dict[str, float], epoch: int, train: _Answers, test: _Answers) -> list[dict[str, float]]:
        missed = zip(_missed(*train).tolist(), _missed(*test).tolist(), strict=True)
        return [
            {**about, "seed": seed, "epoch": epoch, "train_error": on_train, "test_error": on_test}
            for seed, (on_train, on_test) in enumerate(missed)
        ]

    records = whole("records", records, 2, MOST_RECORDS + 1)
    return _trained(
        widths, samples, label_noise, epochs, seeds, 1, learning_rate, weight_decay, records, errors, progress, threads
    )


@computing(grad=True)
def ensembles(
    widths: int | Sequence[int] = WIDTHS,
    samples: int | Sequence[int] = 600,
    label_noise: float = 0.2,
    epochs: int = 1_500,
    seeds: int = 3,
    members: int | Sequence[int] = (1, 2, 4, 8),
    of: Of = "probabilities",
    learning_rate: float = 0.01,
    weight_decay: float = 0.0,
    progress: bool = True,
    threads: int | None = None,
) -> pd.DataFrame:
    """Train networks that differ in their initial weights alone; return the errors of averages of k of them.

    The answer of k networks is the class of the largest mean probability, or logit. For each k the networks of a seed,
    as many as the largest of `members`, are divided into disjoint groups of k; networks left over do not count.

    Args:
        seeds: Draws of images and wrong labels, at least 2. The first network of each is that of `train_digits`.
        members: k, one or several.
        of: The outputs that are averaged: "probabilities" or "logits".

    The other arguments, and the errors raised, are those of `train_digits`.

    Returns:
        Columns width, samples, label_noise, members; train_error and test_error after the last epoch, as in
        `train_digits`, means over groups and then over seeds, with train_standard_error and standard_error over seeds.
    """
    one_of("of", of, get_args(Of))
    counts = sizes("members", members)
    whole("seeds", seeds, 2)

    def errors(about: dict[str, float], epoch: int, train: _Answers, test: _Answers) -> list[dict[str, float]]:
        on_train, on_test = ({k: _of_groups(*answers, seeds, k, of) for k in counts} for answers in (train, test))
        root = math.sqrt(seeds)
        return [
            {
                **about, "members": k, "train_error": float(on_train[k].mean()), "test_error": float(on_test[k].mean()),
                "train_standard_error": float(on_train[k].std()) / root,
                "standard_error": float(on_test[k].std()) / root,
            }
            for k in counts
        ]  # fmt: skip

    return _trained(
        widths, samples, label_noise, epochs, seeds, max(counts), learning_rate, weight_decay, None, errors, progress,
        threads,
    )  # fmt: skip


_Answers = tuple[Float[Tensor, "networks _ classes"], Int[Tensor, "networks _"]]  # logits of images, labels


def _missed(
    outputs: Float[Tensor, "*networks images classes"], labels: Int[Tensor, "*networks images"]
) -> Float[Tensor, "*networks"]:
    """Return the share of images whose largest output is not that of their label."""
    return (outputs.argmax(-1) != labels).double().mean(-1)


def _of_groups(
    logits: Float[Tensor, "networks images classes"], labels: Int[Tensor, "networks images"], seeds: int, k: int, of: Of
) -> Float[Tensor, " seeds"]:
    """Return the mean error of groups of k networks for each seed, whose networks have the same labels."""
    outputs = (logits if of == "logits" else logits.double().softmax(-1)).unflatten(0, (seeds, -1))
    groups = outputs.shape[1] // k
    averaged = outputs[:, : groups * k].unflatten(1, (groups, k)).mean(2)
    return _missed(averaged, labels.unflatten(0, (seeds, -1))[:, :groups]).mean(1)


def _trained(
    widths: int | Sequence[int],
    samples: int | Sequence[int],
    label_noise: float,
    epochs: int,
    seeds: int,
    members: int,
    learning_rate: float,
    weight_decay: float,
    records: int | None,
    errors: Callable[[dict[str, float], int, _Answers, _Answers], list[dict[str, float]]],
    progress: bool,
    threads: int | None,
) -> pd.DataFrame:
    """Train seeds × members networks of each kind; return the rows of `errors` at the last epoch, or at `records`."""
    all_widths, all_samples = sizes("widths", widths), sizes("samples", samples)
    images, labels = _images()
    available = len(images) - TEST_IMAGES
    if max(all_samples) > available:
        raise ConfigError(f"samples must be at most the {available:,} digits to train on; got {max(all_samples)}.")
    label_noise = number("label_noise", label_noise, least=0, most=1)
    epochs, networks = whole("epochs", epochs, 1), whole("seeds", seeds, 1) * members
    learning_rate = number("learning_rate", learning_rate, above=0, most=_FLOAT32)
    weight_decay = number("weight_decay", weight_decay, least=0, most=_FLOAT32)
    room_for("the hidden layers", networks, max(*all_samples, TEST_IMAGES), max(all_widths))
    recorded = {epochs} if records is None else {0, *log_steps(epochs, records).tolist()}
    pairs = [(width, n) for n in all_samples for width in all_widths]
    work = [networks * n * (width + 8) for width, n in pairs]  # 8: the cost of a step whatever the width
    rows: list[list[dict[str, float]]] = [[] for _ in pairs]

    def training(place: int) -> Iterator[int]:
        width, n = pairs[place]
        X, y, weights = _drawn(images, labels, width, n, label_noise, seeds, members)
        X_test, y_test = images[available:].expand(networks, -1, -1), labels[available:].expand(networks, -1)
        optimizer = torch.optim.AdamW(weights, lr=learning_rate, weight_decay=weight_decay)
        for epoch in range(epochs + 1):
            logits = _logits(X, weights)
            if epoch in recorded:
                with torch.no_grad():
                    unseen = _logits(X_test, weights)
                    for one in range(networks):
                        if not all(part[one].isfinite().all() for part in (*weights, logits, unseen)):
                            raise TrainingError(
                                f"the network of width {width}, {n} samples and seed {one // members} diverged by "
                                f"epoch {epoch:,}; lower its learning_rate of {learning_rate:g} or weight_decay of "
                                f"{weight_decay:g}."
                            )
                    about = {"width": width, "samples": n, "label_noise": label_noise}
                    rows[place] += errors(about, epoch, (logits, y), (unseen, y_test))
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
            wanted(threads),
            lambda done: bar.at(100 * done // everything) if bar else None,
        )
    return pd.DataFrame([row for own in rows for row in own])


def over_seeds(networks: pd.DataFrame, by: str) -> pd.DataFrame:
    """Return mean and standard error over seeds along one axis: `by` is "width", "samples" or "epoch".

    Along width and samples the networks are taken at their last epoch.

    Returns:
        Columns `by`, train_error, test_error, train_standard_error, standard_error (of the test error; nan for one
        seed).

    Raises:
        ConfigError: `networks` is not such a frame, or holds several values of another axis.
    """
    axes = ("width", "samples", "epoch")
    one_of("by", by, axes)
    columns(networks, *axes, "label_noise", "seed", "train_error", "test_error", source="train_digits")
    if by != "epoch":
        networks = networks.reset_index(drop=True)
        last = networks.groupby([*axes[:2], "label_noise", "seed"])["epoch"].idxmax()
        networks = networks.loc[last].assign(epoch=0)  # the same for all
    if mixed := [name for name in (*axes, "label_noise") if name != by and networks[name].nunique() > 1]:
        raise ConfigError(f"the frame must hold one value of {', '.join(mixed)} along {by}; got several. Select one.")
    grouped = networks.groupby(by)[["train_error", "test_error"]]
    mean, error = grouped.mean(), grouped.sem()
    return mean.assign(train_standard_error=error["train_error"], standard_error=error["test_error"]).reset_index()


@lru_cache(maxsize=1)
def _images() -> tuple[Tensor, Tensor]:
    """Return the pixels, from 0 to 1, and the labels; the last TEST_IMAGES are the test images."""
    from sklearn.datasets import load_digits

    X, y = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(X))  # else sorted by writer
    return torch.tensor(X[order] / 16, dtype=torch.float32), torch.tensor(y[order])


def _drawn(
    images: Tensor, labels: Tensor, width: int, n: int, label_noise: float, seeds: int, members: int = 1
) -> tuple[Tensor, Tensor, list[Tensor]]:
    """Draw images, labels and weights of seeds × members networks; networks of a seed share images and labels."""
    drawn = []
    for seed in range(seeds):
        generator = torch.Generator().manual_seed(seed)
        chosen = torch.randperm(len(images) - TEST_IMAGES, generator=generator)[:n]
        y = labels[chosen].clone()
        wrong = round(label_noise * n)
        y[:wrong] = (y[:wrong] + torch.randint(1, _CLASSES, (wrong,), generator=generator)) % _CLASSES
        pixels = images.shape[1]
        for _ in range(members):
            first = torch.randn(pixels, width, generator=generator) * math.sqrt(2 / pixels)
            second = torch.randn(width, _CLASSES, generator=generator) / math.sqrt(width)
            drawn.append((images[chosen], y, first, torch.zeros(1, width), second, torch.zeros(1, _CLASSES)))
    X, y, *weights = (torch.stack(parts) for parts in zip(*drawn, strict=True))
    return X, y, [weight.requires_grad_() for weight in weights]


def _logits(X: Tensor, weights: Sequence[Tensor]) -> Tensor:
    """Return the logits of several networks at once, [networks, images, classes]."""
    W_in, b_in, W_out, b_out = weights
    return torch.baddbmm(b_out, torch.relu(torch.baddbmm(b_in, X, W_in)), W_out)
