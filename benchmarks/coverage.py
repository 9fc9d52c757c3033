"""The coverage of the 95 % intervals of fit_exponents and of effects, on runs whose exponents are known.

    python -m benchmarks coverage                  about four minutes on one core
    python -m benchmarks.coverage --repeats 1000   with smaller errors

Delays are exp(level + slopes · log settings + 0.8 ε), cut at the last step. Levels scatter between seeds by 0.3, and
slopes by 0 (shared) or 0.3 (varying). ε is normal, or the largest extreme value of the same deviation.
"""

from __future__ import annotations

import argparse
import itertools
import warnings
from collections import defaultdict

import numpy as np
import pandas as pd
from jaxtyping import Float

from interp import effects, fit_exponents
from interp.sweeps.exponents import LAWS, censored_fit
from interp.sweeps.survival import waits

REPEATS, RESAMPLES = 100, 100
SCATTER, LEVELS, VARYING = 0.8, 0.3, 0.3
TRUE = {"weight_decay": -1.0, "learning_rate": -0.8}
VALUES = {"weight_decay": (0.25, 0.5, 1.0, 2.0, 4.0), "learning_rate": (5e-4, 1e-3, 2e-3, 4e-3, 8e-3)}
RATIO = 2.0


def noise(law: str, draw: np.random.Generator, n: int) -> Float[np.ndarray, " n"]:
    """Return n draws of ε with mean 0 and deviation 1."""
    if law == "log-normal":
        return draw.normal(size=n)
    return (draw.gumbel(size=n) - np.euler_gamma) / LAWS["frechet"].deviation


def drawn(names: list[str], seeds: int, law: str, varying: bool, draw: np.random.Generator) -> pd.DataFrame:
    """Return runs with the logarithm of the delay, for all combinations of settings and seeds."""
    cells = list(itertools.product(*(VALUES[name] for name in names)))
    frame = pd.DataFrame([(seed, *cell) for seed in range(seeds) for cell in cells], columns=["seed", *names])
    y = 7 + (LEVELS * draw.normal(size=seeds))[frame["seed"]] + SCATTER * noise(law, draw, len(frame))
    for name in names:
        x = np.log(frame[name]) - np.mean(np.log(VALUES[name]))
        y += (TRUE[name] + varying * VARYING * draw.normal(size=seeds)[frame["seed"]]) * x
    return frame.assign(log_delay=y)


def cut(frame: pd.DataFrame, last: float) -> pd.DataFrame:
    """Return the table of a sweep whose runs memorized at step 0 and were trained to the step e^last."""
    delay = pd.Series(np.exp(frame["log_delay"]))
    generalized = delay.where(frame["log_delay"] <= last)
    return frame.assign(memorized=0.0, generalized=generalized, last_step=float(np.exp(last)), p=23, network="")


def percentiles(
    table: pd.DataFrame, names: list[str], law: str, draw: np.random.Generator
) -> list[tuple[float, float]]:
    """Return the 2.5 % and 97.5 % quantiles of the slopes of tables whose seeds are drawn with replacement."""
    runs = waits(table)
    X = np.column_stack([np.ones(len(runs)), np.log(runs[names].to_numpy())])
    y, censored, seed = np.log(runs["delay"].to_numpy()), runs["censored"].to_numpy(), runs["seed"].to_numpy()
    rows = [np.flatnonzero(seed == one) for one in np.unique(seed)]
    slopes = []
    for _ in range(RESAMPLES):
        some = np.concatenate([rows[one] for one in draw.integers(0, len(rows), len(rows))])
        slopes.append(censored_fit(X[some], y[some], censored[some], law).slopes[1:])
    low, high = np.percentile(slopes, [2.5, 97.5], axis=0)
    return list(zip(low, high, strict=True))


def of_exponents(names: list[str], seeds: int, law: str, varying: bool, share: float, repeats: int) -> dict[str, str]:
    """Return the coverage of each kind of interval ± its Monte Carlo standard error."""
    draw = np.random.default_rng(0)
    many = pd.concat([drawn(names, 20, law, varying, draw) for _ in range(50)])
    last = float(many["log_delay"].quantile(1 - share))
    held: dict[str, list[float]] = defaultdict(list)
    for repeat in range(repeats):
        table = cut(drawn(names, seeds, law, varying, draw), last)
        over = fit_exponents(table, names)
        intervals = {
            "over seeds": [over.exponents[name][1:] for name in names],
            "independent": [fit_exponents(table.drop(columns="seed"), names).exponents[name][1:] for name in names],
        }
        if seeds == 5 and len(names) == 2 and not repeat % 4:  # they take the longest
            intervals["percentiles"] = percentiles(table, names, over.law, draw)
        for kind, ends in intervals.items():
            inside = [low <= TRUE[name] <= high for name, (low, high) in zip(names, ends, strict=True)]
            held[kind].append(float(np.mean(inside)))
    return {kind: _with_error(values) for kind, values in held.items()}


def of_effects(seeds: int, law: str, share: float, repeats: int) -> dict[str, str]:
    """Return how often the interval of a ratio holds it, and how often p is at most 0.05 without an effect."""
    draw = np.random.default_rng(0)
    held: list[float] = []
    false: list[float] = []
    last = 7 + float(np.quantile(np.log(RATIO) * draw.integers(0, 2, 9_999) + noise(law, draw, 9_999), 1 - share))
    for _ in range(repeats):
        for true, found in ((RATIO, held), (1.0, false)):
            level = 7 + LEVELS * draw.normal(size=seeds)
            sides = [
                pd.DataFrame({"seed": range(seeds), "weight_decay": decay, "log_delay": level + shift + SCATTER * e})
                for decay, shift in ((0.5, 0.0), (1.0, np.log(true))) for e in [noise(law, draw, seeds)]
            ]  # fmt: skip
            # The baseline takes the first of equally common values.
            row = effects(cut(pd.concat(sides, ignore_index=True), last)).iloc[1]
            inside = row["ratio_low"] <= true <= row["ratio_high"]
            found.append(float(inside if found is held else row["p_value"] <= 0.05))
    return {"ratio": _with_error(held), "p under 0.05 without effect": _with_error(false)}


def _with_error(values: list[float]) -> str:
    return f"{np.mean(values):.3f} ± {np.std(values) / np.sqrt(len(values)):.3f}"


def main(repeats: int = REPEATS) -> None:
    both = list(TRUE)
    designs = [
        (names, seeds, law, varying, share)
        for names, several in ((both, (5, 10, 20)), (both[:1], (5,)))
        for seeds in several
        for law in ("log-normal", "frechet")
        for varying in (False, True)
        for share in (0.05, 0.3)
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # few seeds
        print(f"exponents, {repeats} tables each; percentiles of {RESAMPLES} resamples of seeds, of every fourth")
        print(f"{'cells':>5}  seeds  {'law':10}  slopes   censored  over seeds     independent    percentiles")
        for names, seeds, law, varying, share in designs:
            found = of_exponents(names, seeds, law, varying, share, repeats)
            cells, slopes = 5 ** len(names), "varying" if varying else "shared"
            ends = "  ".join(found.values())
            print(f"{cells:>5}  {seeds:>5}  {law:10}  {slopes:7}  {share:>8.0%}  {ends}", flush=True)
        print("\nratio of two settings, by effects")
        print("seeds  law         censored  ratio          p under 0.05 without effect")
        for seeds, law, share in itertools.product((5, 10), ("log-normal", "frechet"), (0.0, 0.2)):
            found = of_effects(seeds, law, share, repeats)
            print(f"{seeds:>5}  {law:10}  {share:>8.0%}  {'  '.join(found.values())}", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.coverage", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--repeats", type=int, default=REPEATS, help="tables of each design (default: %(default)s)")
    main(parser.parse_args().repeats)
