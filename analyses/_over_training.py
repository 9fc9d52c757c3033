"""The trajectory and phases of a run, computed once for all figures and tables."""

from functools import lru_cache

import pandas as pd

from interp import Phases, Run
from interp.plot.shown import Shown


@lru_cache(maxsize=1)
def shown_of(run: Run) -> Shown:
    return Shown(run=run)


def over_training(run: Run) -> tuple[pd.DataFrame, Phases]:
    """Return the measures of every checkpoint, and the phases by the finest record of the run."""
    return shown_of(run).trajectory, shown_of(run).phases
