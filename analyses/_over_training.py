"""The trajectory of a run and its phases; the figures and tables over training share them."""

from functools import lru_cache

import pandas as pd

from interp import Phases, Run, phases, trajectory


@lru_cache(maxsize=1)
def over_training(run: Run) -> tuple[pd.DataFrame, Phases]:
    """Return the measures of every checkpoint, and the phases, read off the finest record of the run."""
    return trajectory(run), phases(run)
