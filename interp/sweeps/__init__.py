"""Sweeps: their runs (grid, jobs), who trains them and where (running, owners, local, cluster), their table and
origins, and statistics of it (survival, exponents, comparisons, ensembles).
"""

from typing import Literal

Engine = Literal["local", "ray"]  # where runs are trained; here, so that the shell offers it before it loads torch
