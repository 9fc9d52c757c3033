"""The exact trajectory of ridge regression to step 10⁹, against taking every step; n = 500, m = 5,000."""

from __future__ import annotations

import time

from benchmarks.timing import medians
from interp.linear import ridge

TAKEN = 500  # steps that are timed
SIMULATED = 100_000  # steps of the ratio


def main() -> None:
    begun = time.perf_counter()
    problem = ridge.random_features_problem(500, 50, 5_000)
    print(f"  the problem, its exact Σ included  {time.perf_counter() - begun:8.2f} s")

    def exact() -> None:
        anew = ridge.RidgeProblem(problem.features, problem.targets, problem.teacher, problem.covariance)
        ridge.trajectory(anew, 10**9)  # the decomposition is part of it

    tasks = {
        "exact": (exact, 1), "taken": (lambda: ridge.simulate(problem, [TAKEN], progress=False), 1),
        "times": (lambda: ridge.grokking_times(problem), 1),
    }  # fmt: skip
    seconds = medians(tasks, rounds=3)
    taken = seconds["taken"] / TAKEN * SIMULATED
    print(f"  trajectory of 200 steps up to 10⁹  {seconds['exact']:8.2f} s")
    print(f"  grokking_times, once decomposed    {seconds['times'] * 1e3:8.1f} ms")
    print(
        f"  taking {SIMULATED:,} steps              {taken:8.0f} s, {taken / seconds['exact']:,.0f} times as long "
        f"({seconds['taken'] / TAKEN * 1e3:.2f} ms a step, by {TAKEN:,} of them)"
    )
