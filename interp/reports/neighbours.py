"""neighbours_report(): a page of related systems, ridge regression that groks and double descent, with sliders."""

from __future__ import annotations

from typing import Any

import numpy as np

from interp.linear.ridge import TOLERANCE, Descent, RidgeProblem, random_features_problem
from interp.reports.packing import Packed, doubles, page
from interp.reports.run_page import Report
from interp.utils.provenance import made_from
from interp.utils.torch_state import computing

SAMPLES, INPUTS, FEATURES, SEED = 100, 10, 1_000, 0

_RIDGE = f"""<section id="ridge-regression"><h2>Grokking in ridge regression</h2>
<p class="prose">Gradient descent fits targets y by Φθ: it lowers ½n⁻¹‖Φθ − y‖² + ½λ‖θ‖² from a random start
θ₀ ~ N(0, ν²I). Along each right singular vector of Φ, whose eigenvalue of ΦᵀΦ/n is s, θ moves by itself:
θ<sub>t</sub> = θ<sub>∞</sub> + (1 − η(s + λ))<sup>t</sup> (θ₀ − θ<sub>∞</sub>), so that every step is known. In the
null space of Φ gradients change nothing: there θ<sub>t</sub> = (1 − ηλ)<sup>t</sup> θ₀, which weight decay alone
removes, long after the train loss is gone. That is the delay (Xu, Vardi and Safran, 2026).</p>
<p class="prose">The problem is a small one: {SAMPLES} samples of {INPUTS} inputs, {FEATURES:,} ReLU random features,
targets of a linear teacher without noise, seed {SEED} (<code>interp.linear.ridge.random_features_problem(n={SAMPLES},
d={INPUTS}, m={FEATURES})</code>). interp has computed its singular values and projections; this page computes the rest.
An event has come when a loss stays under a tenth of the teacher's variance. Losses are half a mean square.</p>
</section>
"""
_DESCENT = """<section id="double-descent"><h2>Double descent</h2>
<p class="prose">Least squares with m parameters on n samples of isotropic Gaussian inputs, labels of a linear teacher
of norm 1 with noise of standard deviation σ, and ridge λ in ½n⁻¹‖Xθ − y‖² + ½λ‖θ‖². Where both sizes are large, the
error E‖θ̂ − θ*‖² depends on γ = m/n alone (Hastie et al., 2019). Without ridge it is σ²γ/(1 − γ) for γ &lt; 1, and
1 − 1/γ + σ²/(γ − 1) for γ &gt; 1. With it, it is λ²μ′ + σ²γ(μ − λμ′), where μ is the Stieltjes transform
of the Marchenko–Pastur law at −λ and μ′ its derivative.</p>
</section>
"""


@computing()
def neighbours_report() -> Report:
    """Return an interactive page of grokking in ridge regression and of double descent, which opens offline.

    Sliders change the weight decay, the scale of the start and the learning rate of a descent whose every step has a
    closed form, and the noise and the ridge of least squares. The page computes both from arrays of one random-features
    problem.
    """
    problem = random_features_problem(n=SAMPLES, d=INPUTS, m=FEATURES, seed=SEED)
    content = {"kind": "neighbours", "n": problem.n, "m": problem.m, "arrays": _arrays(problem)}
    body = f"<header><h1>Related systems that can be solved</h1></header>\n<main>\n{_RIDGE}{_DESCENT}</main>\n"
    with made_from():
        return Report(page("Related systems that can be solved", body, [content], "neighbours.js"))


def _arrays(problem: RidgeProblem) -> dict[str, Packed]:
    """Return the arrays that the closed form needs for a start of scale 1 (see page/ridge.js)."""
    assert problem.teacher is not None
    svd = problem.svd
    descent = Descent(problem, None, 0.0, 1.0, SEED)
    _, (to_start, to_unseen), products = descent.test_terms
    found: dict[str, Any] = {
        "s": svd.eigenvalues, "sigma": svd.sigma, "targets": svd.seen_targets, "noise": svd.seen_noise,
        "teacher": svd.directions.T @ problem.teacher, "start": descent.start, "toStart": to_start,
        "toUnseen": to_unseen, "covariance": problem.row_covariance, "products": products,
        "scalars": np.array([TOLERANCE * problem.teacher_variance, svd.unfitted, problem.test_floor]),
    }  # fmt: skip
    return {name: doubles(array) for name, array in found.items()}
