"""Every public function with nonsense for each argument; run as a script, away from the type checks of the tests.

Each call raises an error of interp's that is one sentence or a few, or returns finite numbers; no other error, no nan,
no warning of numpy's.
"""

import math
import sys
import warnings
from collections.abc import Callable
from itertools import chain
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import torch

from interp import InterpError, Task, plot, split_mask
from interp.linear import digits, double_descent as dd, ridge, two_layer
from interp.linear.problems import relu_second_moment
from interp.measures import attention, embedding, logits, losses, mechanism, neurons, weights
from interp.tasks.splits import as_mask

BAD: list[Any] = [
    math.nan,
    math.inf,
    -math.inf,
    -1,
    0,
    1,
    1.5,
    99,
    1e308,
    1e-308,
    10**12,
    10**400,
    "x",
    "3",
    "",
    b"x",
    None,
    True,
    1j,
    np.float64("nan"),
    np.int64(-1),
    np.float32(0.5),
    [],
    [1, [2]],
    [None],
    ["a", "b"],
    [math.nan] * 3,
    (1, 2, 3, 4),
    {},
    {"a": 1},
    object(),
    int,
    np.zeros(0),
    np.zeros((0, 3)),
    np.full((4, 4), math.nan),
    np.full(3, 1e308),
    np.full((3, 3), 1e-308),
    np.array(["a"]),
    np.array(3),
    np.ones((2, 2, 2, 2)),
    pd.DataFrame(),
    pd.DataFrame({"step": ["a"]}),
    pd.NA,
    pd.Series([1.0, None]),
    torch.zeros(3),
    torch.full((7, 7, 7), math.nan),
    torch.ones(7, 7),
    torch.tensor([1, 2]),
    torch.zeros(0),
    torch.ones(2, requires_grad=True),
    torch.ones(3, dtype=torch.complex64),
]
ENDLESS = {10**12}  # steps that only time could refuse

P = 7
rng = np.random.default_rng(0)
problem = ridge.gaussian_problem(4, 6)
X, y = rng.standard_normal((9, 3)), rng.standard_normal(9)
L, table = torch.randn(P, P, P), torch.randn(P, P)
labels, coefficients = Task(P).labels, torch.rand(P // 2)
N, shares = torch.rand(P, P, 5), torch.rand(P // 2, 5)
W_L = torch.randn(5, P)
W = {
    "W_E": torch.randn(8, 4),
    "W_pos": torch.randn(3, 4),
    "W_Q": torch.randn(2, 4, 2),
    "W_K": torch.randn(2, 4, 2),
    "W_V": torch.randn(2, 4, 2),
    "W_O": torch.randn(2, 2, 4),
    "W_U": torch.randn(4, 8),
}
trained = two_layer.trajectories(two_layer.TwoLayer(n=5, d=3, width=4), 4, 4, False)
networks = digits.train_digits(2, 20, epochs=3, seeds=2, records=3, progress=False)
silent = {"progress": False}

CALLS: list[tuple[Callable[..., Any], dict[str, Any]]] = [
    (Task, {"p": 7, "operation": "random", "seed": 0}),
    (split_mask, {"p": 7, "fraction": 0.3, "seed": 0, "split": "paper"}),
    (as_mask, {"split": "torch", "seed": 0, "p": 7, "fraction": 0.3}),
    (
        ridge.RidgeProblem,
        {"features": X, "targets": y, "teacher": np.ones(3), "covariance": np.eye(3), "test_floor": 0.0},
    ),
    (problem.null_space_part, {"theta": np.ones(6)}),
    (problem.covariance_times, {"x": np.ones(6)}),
    (ridge.gaussian_problem, {"n": 4, "m": 6, "spectrum": "spiked", "noise": 0.1, "teacher": np.ones(6), "seed": 0}),
    (
        ridge.random_features_problem,
        {"n": 4, "d": 2, "m": 6, "activation": "relu", "noise": 0.1, "teacher": np.ones(6), "seed": 0},
    ),
    (ridge.data_problem, {"features": X, "targets": y, "test_features": X, "test_targets": y}),
    (relu_second_moment, {"W": X}),
    (ridge.log_steps, {"last": 100, "count": 10}),
    (
        ridge.trajectory,
        {"problem": problem, "steps": 100, "learning_rate": 1e-3, "weight_decay": 1e-3, "init_scale": 1.0, "seed": 0},
    ),
    (
        ridge.simulate,
        {
            "problem": problem,
            "steps": 20,
            "learning_rate": 1e-3,
            "weight_decay": 1e-3,
            "init_scale": 1.0,
            "seed": 0,
            **silent,
        },
    ),
    (
        ridge.grokking_times,
        {
            "problem": problem,
            "learning_rate": 1e-3,
            "weight_decay": 1e-3,
            "init_scale": 1.0,
            "seed": 0,
            "tolerance": 0.1,
        },
    ),
    (
        dd.isotropic,
        {"n": 5, "ratios": [0.5, 2.0], "noise": 0.5, "ridge": 0.1, "trials": 2, "seed": 0, "signal": 1.0, **silent},
    ),
    (dd.isotropic_risk, {"ratio": 0.5, "noise": 0.5, "ridge": 0.1, "signal": 1.0}),
    (
        dd.random_features,
        {
            "widths": [3, 5],
            "samples": 4,
            "noise": 0.3,
            "ridge": "tuned",
            "d": 3,
            "draws": 2,
            "seed": 0,
            "test_samples": 5,
            **silent,
        },
    ),
    (
        dd.ensembles,
        {
            "widths": [3, 5],
            "samples": 4,
            "noise": 0.3,
            "ridge": 1e-3,
            "d": 3,
            "members": [1, 3, math.inf],
            "drawn": 2,
            "draws": 2,
            "seed": 0,
            "test_samples": 5,
            **silent,
        },
    ),
    (dd.relu_kernel, {"x": X, "z": X}),
    (dd.removals, {"features": X, "targets": y, "samples": [3], "cutoff": 0.3, "draws": 2, "seed": 0, **silent}),
    (
        dd.epoch_wise,
        {"n": 5, "features": (3, 2), "scales": (1.0, 0.1), "noise": 0.2, "steps": 10, "draws": 2, "seed": 0, **silent},
    ),
    (
        dd.descents,
        {
            "complexity": [1, 2, 3, 4],
            "train_error": [3, 2, 1, 0.1],
            "test_error": [3, 1, 4, 1],
            "rise": 0.1,
            "fitted": 0.2,
        },
    ),
    (
        digits.train_digits,
        {
            "widths": 2,
            "samples": 20,
            "label_noise": 0.2,
            "epochs": 3,
            "seeds": 1,
            "learning_rate": 0.01,
            "weight_decay": 0.0,
            "records": 3,
            **silent,
        },
    ),
    (
        digits.ensembles,
        {
            "widths": 2,
            "samples": 20,
            "label_noise": 0.2,
            "epochs": 3,
            "seeds": 2,
            "members": [1, 2],
            "of": "logits",
            "learning_rate": 0.01,
            "weight_decay": 0.0,
            **silent,
        },
    ),
    (digits.over_seeds, {"networks": networks, "by": "epoch"}),
    (
        lambda **settings: two_layer.trajectories(two_layer.TwoLayer(**settings), 3, 3, False),
        {
            "n": 5,
            "d": 3,
            "width": 4,
            "teacher_width": 2,
            "learning_rate": 0.1,
            "weight_decay": 1e-3,
            "init_scale": 1.0,
            "seed": 0,
        },
    ),
    (two_layer.trajectories, {"students": two_layer.TwoLayer(n=5, d=3, width=4), "steps": 3, "records": 3, **silent}),
    (two_layer.grokking_times, {"trained": trained, "tolerance": 0.1}),
    (attention.attention_shares, {"pattern": torch.rand(P, P, 2, 3)}),
    (attention.score_vectors, {"weights": W, "p": P}),
    (attention.score_shares, {"scores": torch.rand(2, P)}),
    (attention.qk_circuit, {"weights": W}),
    (attention.ov_circuit, {"weights": W}),
    (embedding.fourier_norms, {"W": torch.rand(P, 3)}),
    (embedding.gini, {"x": torch.rand(4)}),
    (logits.logit_table, {"logits": L, "labels": labels}),
    (logits.kept, {"table": table, "frequencies": [1, 2]}),
    (logits.cos_coefficients, {"table": table}),
    (logits.key_frequencies, {"coefficients": coefficients, "share": 0.1}),
    (logits.logit_variance_explained, {"logits": L, "coefficients": coefficients, "frequencies": [1]}),
    (logits.amplitudes, {"coefficients": coefficients, "frequencies": [1], "p": P}),
    (logits.fitted_logits, {"alphas": {1: 1.0}, "labels": labels}),
    (logits.key_share, {"W_L": W_L, "frequencies": [1]}),
    (logits.output_directions, {"W_L": W_L, "frequencies": [1]}),
    (logits.projection_shares, {"neurons": N, "W_L": W_L, "labels": labels, "frequencies": [1]}),
    (logits.fourier_norms_2d, {"logits": L}),
    (losses.cross_entropy, {"logits": L, "labels": labels}),
    (losses.correct, {"logits": L, "labels": labels}),
    (losses.restricted_logits, {"kept": table, "mean": torch.rand(P)}),
    (losses.excluded_logits, {"logits": torch.rand(3, P), "kept": table, "labels": torch.tensor([1, 2, 3])}),
    (mechanism.gradient_cosines, {"grad_a": torch.rand(2, P, 3), "grad_b": torch.rand(2, P, 3)}),
    (mechanism.distance_irrelevance, {"logits": L, "labels": labels, "distances": Task(P).distances}),
    (neurons.frequency_shares, {"neurons": N}),
    (neurons.neuron_frequencies, {"shares": shares}),
    (neurons.single_frequency_neurons, {"shares": shares}),
    (neurons.clusters, {"shares": shares}),
    (neurons.input_phases, {"neurons": N, "frequencies": torch.tensor([1, 2, 3, 1, 2])}),
    (neurons.output_phases, {"W_L": W_L, "frequencies": torch.tensor([1, 2, 3, 1, 2])}),
    (neurons.phase_agreement, {"phases": (torch.rand(3), torch.rand(3)), "output": torch.rand(3)}),
    (weights.sum_squared_weights, {"parameters": [torch.ones(3)]}),
    (weights.alignment, {"W": table, "other": table}),
]

run = pd.DataFrame(
    {
        "step": [0, 1, 2],
        "train_loss": [3.0, 2.0, 1.0],
        "test_loss": [3.0, 2.0, 1.0],
        "train_accuracy": [0.1, 0.5, 1.0],
        "test_accuracy": [0.1, 0.5, 1.0],
        "excluded_loss": [1.0, 2.0, 3.0],
        "restricted_loss": [3.0, 2.0, 1.0],
        "sum_squared_weights": [3.0, 2.0, 1.0],
        "restricted_accuracy": 1.0,
        "excluded_accuracy": 0.1,
        "excluded_loss_2": [1.0, 2.0, 3.0],
        "explained_accuracy": [0.0, 0.5, 1.0],
        "softmax_collapse": [0.0, 0.5, 1.0],
        "naive_loss_minimization": [0.0, 0.5, 1.0],
        "translation_share": [0.0, 0.5, 1.0],
        "effective_rank_W_E": [7.0, 6.0, 5.0],
        "phase_alignment_2": [0.0, 0.5, 1.0],
        "embedding_gini": 0.5,
        "unembedding_gini": 0.5,
        "cos_coefficient_1": [1.0, 2.0, 3.0],
        "cos_coefficient_2": [1.0, 2.0, 3.0],
    }
)
averaged = run.assign(
    **{f"{of}_{name}": run[name] for of in ("mean", "best") for name in ("test_loss", "test_accuracy")}
)
curve = pd.DataFrame({"width": [1, 2, 3], "test_error": [1.0, 3.0, 2.0], "train_error": [1.0, 0.1, 0.0]})
swept = pd.DataFrame({"swept": "n", "value": [1.0, 2.0, 3.0], "delay": [3.0, 2.0, 1.0]})
grid = pd.DataFrame(
    {
        "weight_decay": [1e-3, 1e-2],
        "init_scale": 1.0,
        "relative_delay": [3.0, 1.0],
        "overfitting": 5.0,
        "generalization": [20.0, 10.0],
    }
)
exact = ridge.trajectory(problem, 100)
removed = dd.removals(X, y, [3, 4], draws=2, progress=False)
FIGURES: list[tuple[Callable[..., Any], dict[str, Any]]] = [
    (plot.training_curves, {"history": run}),
    (plot.progress_measures, {"trajectory": run, "phases": None}),
    (plot.accuracies, {"trajectory": run, "phases": None}),
    (plot.excluded_losses, {"trajectory": run, "phases": None}),
    (plot.ginis, {"trajectory": run, "phases": None}),
    (plot.circuit_formation, {"trajectory": run}),
    (plot.further_measures, {"trajectory": run, "phases": None}),
    (plot.cos_coefficients, {"trajectory": run, "key_frequencies": [1]}),
    (plot.ensemble, {"frame": averaged}),
    (plot.mechanism, {"models": pd.DataFrame({"attention_coefficient": [0.0], "gradient_symmetricity": [1.0]})}),
    (plot.fourier_norms, {"embedding_norms": np.ones(7), "unembedding_norms": np.ones(7), "key_frequencies": [1]}),
    (plot.attention_over_pairs, {"pattern": np.ones((7, 7, 2, 3)), "shares": np.full((3, 2, 2), 0.5)}),
    (
        plot.neurons_over_pairs,
        {
            "neurons": np.ones((7, 7, 4)),
            "shown": np.array([0, 2]),
            "frequencies": np.ones(4, int),
            "purity": np.full(4, 0.9),
        },
    ),
    (plot.logit_fourier_norms, {"norms": np.ones((7, 7))}),
    (plot.neuron_purity, {"purity": np.full(4, 0.9), "frequencies": np.ones(4, int), "threshold": 0.85}),
    (plot.neuron_logit_weights, {"weights": np.ones((7, 4)), "k": 1, "phases": np.ones(4)}),
    (plot.attention_scores, {"norms": np.ones((3, 2)), "key_frequencies": [1]}),
    (plot.ridge_stages, {"exact": exact, "times": None, "simulated": None}),
    (plot.delay_map, {"delays": grid}),
    (plot.delays, {"measured": {"a": swept}, "exponents": {}, "titles": {"n": "n"}}),
    (
        plot.errors,
        {"curves": {"a": curve}, "x": "width", "x_title": "Width", "theory": None, "threshold": 2.0, "largest": 2.0},
    ),
    (plot.error_parts, {"fits": curve.assign(bias=1.0, variance=1.0, noise_error=1.0), "x": "width", "largest": 2.0}),
    (plot.removals, {"fits": removed, "threshold": 3.0}),
    (plot.epoch_wise, {"path": dd.epoch_wise(5, (3, 2), steps=10, draws=2, progress=False)}),
    (plot.digits, {"axes": {"width": {"a": curve}}, "titles": {"width": "Width"}}),
    (
        plot.steps_to_fit_and_generalize,
        {"times": pd.DataFrame({"system": ["a"], "overfitting": [1.0], "generalization": [3.0]})},
    ),
    (plot.descents, {"curve": run, "found": dd.descents([1, 2, 3], None, [3, 2, 1])}),
    (plot.slider, {"figures": {"a": plot.training_curves(run)}, "name": "λ"}),
]
PLAIN = {"x_title", "y_title", "name", "progress"}  # shown, or taken for true or false


def numbers(result: Any) -> list[float]:
    """All numbers of a result, but for the missing ones that it documents."""
    if isinstance(result, pd.DataFrame):
        return [n for name in result.select_dtypes("number") for n in result[name].dropna().astype(float)] + [
            math.nan for name in result.select_dtypes("float") if result[name].isna().any()
        ]
    if isinstance(result, torch.Tensor | np.ndarray):
        return [float(value) for value in result.flatten().tolist() if not isinstance(value, complex)]
    if isinstance(result, dict):
        return list(chain.from_iterable(numbers(value) for value in result.values()))
    if isinstance(result, list | tuple):
        return list(chain.from_iterable(numbers(value) for value in result))
    return [float(result)] if isinstance(result, int | float) and abs(result) < 1e300 else []


def wrong(function: Callable[..., Any], settings: dict[str, Any]) -> str | None:
    try:
        result = function(**settings)
    except InterpError as error:
        said = str(error)
        return None if said.endswith(".") and "\n" not in said and len(said) < 400 else f"says {said!r}"
    except Exception as error:
        return f"raises {type(error).__name__}: {error}"
    if isinstance(result, go.Figure):
        result.to_json()
        return None
    if function is losses.cross_entropy:  # of a network that diverged, it is nan
        return None
    return "holds nan" if any(math.isnan(n) for n in numbers(result)) else None


def main() -> None:
    warnings.simplefilter("error", RuntimeWarning)
    warnings.simplefilter("error", DeprecationWarning)
    warnings.simplefilter("ignore", UserWarning)
    failures, calls = [], 0
    for function, good, nonsense in [(*call, BAD) for call in CALLS] + [(*call, BAD[::3]) for call in FIGURES]:
        name = getattr(function, "__qualname__", "TwoLayer")
        if found := wrong(function, good):
            failures.append(f"{name} with good values {found}")
        for argument in good:
            for bad in nonsense if argument not in PLAIN else []:
                if isinstance(bad, int) and bad in ENDLESS and argument in ("steps", "epochs"):
                    continue
                calls += 1
                if found := wrong(function, good | {argument: bad}):
                    shown = repr(bad) if len(repr(bad)) < 80 else type(bad)
                    failures.append(f"{name}({argument}={shown}) {found[:200]}")
                    print(failures[-1], file=sys.stderr)
    print(f"{calls} calls, {len(failures)} wrong")
    sys.exit(bool(failures))


if __name__ == "__main__":
    main()
