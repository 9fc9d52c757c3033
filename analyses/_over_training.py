"""The run that figures and tables are made of: its trajectory and its phases, computed once for all of them."""

from functools import lru_cache

import pandas as pd

from interp import Phases, Run
from interp.plot.shown import Shown


@lru_cache(maxsize=1)
def shown_of(run: Run) -> Shown:
    return Shown(run=run)


def over_training(run: Run) -> tuple[pd.DataFrame, Phases]:
    """Return the measures of every checkpoint, and the phases, read off the finest record of the run."""
    return shown_of(run).trajectory, shown_of(run).phases
