"""The names of tasks and splits, in a module without torch, so that the shell can offer them quickly."""

from typing import Literal, get_args

Operation = Literal["add", "subtract", "quadratic", "random"]
Split = Literal["paper", "torch"]

OPERATIONS: tuple[Operation, ...] = get_args(Operation)
SPLITS: tuple[Split, ...] = get_args(Split)

PAPER_FRACTION = 0.3  # of the pairs, to train on
