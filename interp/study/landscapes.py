"""losses_around(): the loss along random directions through the weights of a checkpoint, to see how flat it is."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd

from interp.measures.losses import loss, test_loss, train_loss
from interp.measures.weights import random_direction
from interp.runs.run import Checkpoint
from interp.subjects.subject import Missing
from interp.utils.arguments import number, whole
from interp.utils.errors import CheckpointError
from interp.utils.torch_state import computing

REACH = 0.5


@computing()
def losses_around(
    checkpoint: Checkpoint, directions: int = 3, points: int = 11, reach: float = REACH, seed: int = 0
) -> pd.DataFrame:
    """Return the losses of θ + α·d for random directions d, a row each: direction, distance α, and losses in nats.

    Each d is a `measures.weights.random_direction`, whose rows are as long as the weights' (Li et al., 2018): α = 0.1
    changes every row by a tenth of its length. α has `points` values from −reach to reach. The losses are train_loss
    and test_loss, or `loss` over all pairs if there is no split or no test pair.
    """
    directions, points = whole("directions", directions, 1), whole("points", points, 3)
    reach = number("reach", reach, above=0)
    weights = {name: weight for name, weight in checkpoint.weights.items() if weight.is_floating_point()}
    mask = checkpoint.train_mask
    kinds = {"loss": loss} if mask is None or mask.all() else {"train_loss": train_loss, "test_loss": test_loss}

    rows = []
    for index in range(directions):
        along = random_direction(weights, seed + index)
        for distance in np.linspace(-reach, reach, points):
            moved = {name: weight + float(distance) * along[name] for name, weight in weights.items()}
            try:
                subject = replace(checkpoint, weights={**checkpoint.weights, **moved}).subject()
                found = {name: of(subject) for name, of in kinds.items()}
            except CheckpointError:
                raise Missing("the weights or logits around this checkpoint are not finite") from None
            rows.append({"direction": index + 1, "distance": float(distance), **found})
    return pd.DataFrame(rows)
