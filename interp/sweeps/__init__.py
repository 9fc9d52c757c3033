"""Sweeps: which runs (grid), what one run is (jobs), who works on it (owners), where (local, cluster), the table."""

from typing import Literal

Engine = Literal["local", "ray"]  # where runs are trained; here, so that the shell offers it before it loads torch
