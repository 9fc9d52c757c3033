"""The measures on models whose every value can be derived."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st

from interp import Activations, ConfigError, Task, split_mask
from interp.measures import embedding, logits, losses, neurons, weights
from interp.measures.weights import sum_squared_weights
from interp.tasks.fourier import fourier_basis, frequency_rows
from interp.training.updates import training_loss
from tests.measures.test_circuit import angle
from tests.models import analytic_activations, analytic_logits, measured as measured_arrays, subject


def waves(p: int, k: int, d: int = 6) -> torch.Tensor:
    """d functions of (a, b) in the span of cos w_k(a+b), sin w_k(a+b): neurons of one frequency."""
    a = torch.arange(p)
    angle = 2 * math.pi * k / p * ((a[:, None] + a) % p)
    phases = torch.linspace(0, 1, d)  # less than a quarter turn apart from cos: none vanishes at k = p/2
    return torch.cos(angle[..., None] + phases).float() + 3.0


def measured(p: int, amplitudes: dict[int, float], operation: str = "add", split: bool = True, **options):
    task = Task(p, operation)
    first = next(iter(amplitudes))
    acts = analytic_activations(p, amplitudes, task.labels, waves(p, first))
    W_L = torch.eye(max(p, 6))[:6, :p]
    mask = split_mask(p, 0.4, 0) if split else None
    return measured_arrays(acts, torch.eye(p), W_L, task, mask, step=7, **options)


def closed_form_loss(p: int, amplitudes: dict[int, float]) -> float:
    """Every pair has the same logits up to a shift of c: log Σ_r exp(f(r)) − f(0), f(r) = Σ A_k cos w_k r."""
    f = [sum(A * math.cos(2 * math.pi * k * r / p) for k, A in amplitudes.items()) for r in range(p)]
    return math.log(sum(math.exp(value) for value in f)) - f[0]


@pytest.mark.parametrize("operation", ["add", "subtract"])
@pytest.mark.parametrize(
    ("p", "amplitudes"),
    [
        (23, {2: 5.0, 7: 3.0, 11: 4.0}),
        (24, {1: 2.0, 5: 6.0}),
        (24, {5: 3.0, 12: 4.0}),  # k = p/2: the alternating cosine, which has no sine
        (2, {1: 2.0}),
        (3, {1: 6.0}),
    ],
)
def test_the_analytic_model(p, amplitudes, operation):
    """L = Σ A_k cos w_k(s − c). Tolerance 1e-5: the logits are float32 of order 10."""
    m = measured(p, amplitudes, operation)
    loss = closed_form_loss(p, amplitudes)
    near = {"rel": 1e-5, "abs": 1e-7}
    assert m.key_frequencies == tuple(sorted(amplitudes))
    for name in ("loss", "train_loss", "test_loss", "restricted_loss", "restricted_test_loss"):
        assert getattr(m, name) == pytest.approx(loss, **near), name
    assert m.accuracy == m.train_accuracy == m.test_accuracy == m.restricted_accuracy == 1
    assert m.excluded_loss == pytest.approx(math.log(p), **near)
    for k, excluded in m.excluded_loss_by_frequency.items():
        rest = {j: A for j, A in amplitudes.items() if j != k}
        assert excluded == pytest.approx(closed_form_loss(p, rest) if rest else math.log(p), **near)
    assert m.logit_variance_explained == pytest.approx(1, abs=1e-6)
    norms = {k: p * math.sqrt(p if 2 * k == p else p / 2) for k in range(1, p // 2 + 1)}
    expected = [amplitudes.get(k, 0.0) * norms[k] for k in norms]
    np.testing.assert_allclose(m.cos_coefficients, expected, rtol=1e-5, atol=1e-5 * max(expected))
    assert m.single_frequency_neurons == 1
    assert m.step == 7
    assert not m.missing


def test_the_share_decides_what_is_key():
    amplitudes = {2: 5.0, 7: 0.4}  # 7 carries 0.64 % of the squares
    assert measured(23, amplitudes).key_frequencies == (2,)
    both = measured(23, amplitudes, share=0.005)
    assert both.key_frequencies == (2, 7)
    only_minor = measured(23, amplitudes, key_frequencies=(7,))
    assert only_minor.key_frequencies == (7,)
    assert only_minor.restricted_loss == pytest.approx(closed_form_loss(23, {7: 0.4}), rel=1e-5)
    assert only_minor.excluded_loss == pytest.approx(closed_form_loss(23, {2: 5.0}), rel=1e-5)


def test_restricted_and_excluded_loss_by_projection_over_all_pairs():
    """The definition on random logits: project over the p² inputs, each output c by itself."""
    p, keys = 9, (1, 3)
    task = Task(p)
    L = torch.randn(p, p, p, generator=torch.Generator().manual_seed(0))
    mask = split_mask(p, 0.5, 1)
    flat, labels = L.double().flatten(0, 1), task.labels.flatten()
    kept = torch.zeros_like(flat)
    for k in keys:
        angle = 2 * math.pi * k / p * labels.double()
        for wave in (angle.cos(), angle.sin()):
            direction = wave / wave.norm()
            kept += direction[:, None] * (direction @ flat)

    def loss(x: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.cross_entropy(x, labels, reduction="none")

    restricted = loss(kept + (flat - kept).mean(0))
    acts = Activations(L, waves(p, 1), torch.full((p, p, 1, 3), 1 / 3))
    m = measured_arrays(acts, torch.eye(p), torch.eye(p)[:6], task, mask, keys)
    close = {"rel": 1e-9}
    assert m.restricted_loss == pytest.approx(float(restricted.mean()), **close)
    assert m.restricted_test_loss == pytest.approx(float(restricted[~mask.flatten()].mean()), **close)
    assert m.excluded_loss == pytest.approx(float(loss(flat - kept)[mask.flatten()].mean()), **close)
    right = (kept + (flat - kept).mean(0)).argmax(1) == labels
    assert m.restricted_accuracy == pytest.approx(float(right.double().mean()))
    right = ((flat - kept).argmax(1) == labels)[mask.flatten()]
    assert m.excluded_accuracy == pytest.approx(float(right.double().mean()))
    for k in range(1, p // 2 + 1):
        difference = (labels[:, None] - torch.arange(p)).double()
        wave = torch.cos(2 * math.pi * k / p * difference)
        assert m.cos_coefficients[k - 1] == pytest.approx(float((flat * wave).sum() / wave.norm()), abs=1e-9)
    centred = flat - flat.mean(1, keepdim=True)
    centred = centred - centred.mean(0)
    explained = sum(m.cos_coefficients[k - 1] ** 2 for k in keys) / float(centred.square().sum())
    assert m.logit_variance_explained == pytest.approx(explained, **close)


@given(p=st.integers(2, 14), seed=st.integers(0, 1000))
def test_neuron_shares_are_those_of_the_two_dimensional_transform(p, seed):
    """The 8 terms {const, cos, sin} × {const, cos, sin} less const × const, straight from F N Fᵀ."""
    N = torch.randn(p, p, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)) + 1
    F = fourier_basis(p)
    square = torch.einsum("ia,abm,jb->ijm", F, N - N.mean((0, 1)), F).square()
    expected = torch.stack(
        [
            sum(square[i, j] for i in (0, *rows) for j in (0, *rows) if (i, j) != (0, 0))
            for rows in (frequency_rows(p, k) for k in range(1, p // 2 + 1))
        ]
    ) / square.sum((0, 1))
    torch.testing.assert_close(neurons.frequency_shares(N), expected, rtol=1e-9, atol=1e-9)


def test_neurons_of_one_frequency_of_two_and_of_none():
    p = 12
    single, mixed = waves(p, 5), waves(p, 5) + waves(p, 2)
    dead = torch.zeros(p, p, 6)
    constant = torch.full((p, p, 6), 0.1)
    shares = neurons.frequency_shares(torch.cat([single, mixed, dead, constant], dim=-1))
    assert neurons.neuron_frequencies(shares)[:6].tolist() == [5] * 6
    torch.testing.assert_close(shares[4, :6], torch.ones(6).double(), rtol=0, atol=1e-5)
    torch.testing.assert_close(shares[[1, 4], 6:12], torch.full((2, 6), 0.5).double(), rtol=0, atol=1e-5)
    assert (shares[:, 12:].amax(0) < 0.85).all()
    assert neurons.single_frequency_neurons(shares) == 6 / 24


def test_gini_of_known_distributions():
    assert embedding.gini(torch.ones(10)) == pytest.approx(0, abs=1e-15)
    assert embedding.gini(torch.tensor([0.0, 0, 0, 5])) == pytest.approx(1 - 1 / 4)
    assert embedding.gini(torch.arange(1.0, 5)) == pytest.approx(0.25)  # Σ|x_i − x_j| = 20 over 2·4·10
    assert math.isnan(embedding.gini(torch.zeros(3)))


@given(n=st.integers(1, 20), seed=st.integers(0, 1000))
def test_gini_is_the_mean_difference_over_twice_the_mean(n, seed):
    x = torch.rand(n, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)) + 0.01
    by_hand = float((x[:, None] - x).abs().sum()) / (2 * n * float(x.sum()))
    assert embedding.gini(x) == pytest.approx(by_hand, abs=1e-12)


def test_fourier_norms_of_waves():
    p = 9
    x = torch.arange(p)
    W = torch.stack([3 * torch.cos(2 * math.pi * 2 * x / p), 4 * torch.cos(2 * math.pi * 2 * x / p)], dim=1)
    expected = torch.zeros(p).double()
    expected[3] = 5 * math.sqrt(p / 2)
    torch.testing.assert_close(embedding.fourier_norms(W), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("loss_of", [losses.cross_entropy, training_loss], ids=["measured", "trained"])
def test_losses_under_float32s_grain_are_resolved(loss_of):
    """A margin of 20 nats: loss log(1 + 2 e^−20) ≈ 4.1e-9, which float32 rounds to 0."""
    L = torch.tensor([[20.0, 0.0, 0.0]])
    assert float(loss_of(L, torch.tensor([0]))) == pytest.approx(math.log1p(2 * math.exp(-20)), rel=1e-6, abs=0)


def test_losses_and_accuracies_are_means_over_the_pairs_of_their_side():
    """Where L[a, b] is x at its label and 0 elsewhere, the loss is log(e^x + p − 1) − x, and right if x > 0.

    One train pair and one test pair lose far more than the others, so a mean is no median. What is added to all outputs
    of a pair changes nothing.
    """
    task, train = Task(5), split_mask(5, 0.4, 0)
    x = torch.linspace(-1, 3, 25).view(5, 5)
    x[tuple(train.nonzero()[2])], x[tuple((~train).nonzero()[4])] = -40, -20
    L = torch.zeros(5, 5, 5).scatter(-1, task.labels[..., None], x[..., None])
    L += torch.linspace(-5, 5, 25).view(5, 5, 1)
    acts = Activations(L, waves(5, 1), torch.full((5, 5, 1, 3), 1 / 3))
    m = measured_arrays(acts, torch.eye(5), torch.eye(6, 5), task, train)
    for name, side in [("", torch.ones(5, 5).bool()), ("train_", train), ("test_", ~train)]:
        chosen = x[side].tolist()
        expected = sum(math.log(math.exp(one) + 4) - one for one in chosen) / len(chosen)
        assert getattr(m, f"{name}loss") == pytest.approx(expected, rel=1e-6)
        assert getattr(m, f"{name}accuracy") == sum(one > 0 for one in chosen) / len(chosen)


def test_zero_logits_have_no_key_frequency_and_uniform_losses():
    m = measured(7, {1: 0.0})
    assert m.key_frequencies == ()
    assert m.loss == pytest.approx(math.log(7))
    assert m.restricted_loss == pytest.approx(math.log(7))
    assert m.excluded_loss == pytest.approx(math.log(7))
    assert m.logit_variance_explained is None
    assert m.missing["logit_variance_explained"].startswith("the logits, centred over outputs, are the same for every")


def test_sum_of_squares_counts_every_parameter():
    assert sum_squared_weights([torch.full((2, 3), 2.0), torch.ones(4)]) == 28


def test_squares_of_float32_weights_are_summed_in_float64():
    """(1 + 2⁻¹²)² = 1 + 2⁻¹¹ + 2⁻²⁴, and beside 2²⁴ even a 1 is lost to float32."""
    assert sum_squared_weights([torch.full((3,), 1 + 2**-12)]) == 3 * (1 + 2**-11 + 2**-24)
    assert sum_squared_weights([torch.tensor([2.0**12, 1.0, 1.0, 1.0])]) == 2**24 + 3
    assert sum_squared_weights([torch.tensor([2.0**12]), torch.ones(1)]) == 2**24 + 1


@pytest.mark.parametrize("operation", ["quadratic", "random"])
def test_tasks_without_fourier_structure_have_losses_only(operation):
    m = measured(7, {1: 1.0}, operation)
    assert m.train_loss is not None
    assert m.loss > 0
    assert m.restricted_loss is m.key_frequencies is m.embedding_norms is m.single_frequency_neurons is None
    assert "Fourier measures are not defined" in m.missing["restricted_loss"]
    assert "Fourier measures are not defined" in str(m)


def test_without_a_split_what_needs_none_still_comes():
    m = measured(7, {1: 3.0}, split=False)
    assert m.train_loss is m.test_loss is m.excluded_loss is m.restricted_test_loss is None
    assert m.missing["train_loss"] == m.missing["excluded_loss"] == "no split here"
    assert m.loss == pytest.approx(closed_form_loss(7, {1: 3.0}), rel=1e-5)
    assert m.restricted_loss == pytest.approx(m.loss, rel=1e-5)
    assert m.key_frequencies == (1,)


def test_the_table_of_means_needs_every_residue_once_a_row():
    p = 6
    L = analytic_logits(p, {2: 1.0}, Task(p).labels)
    torch.testing.assert_close(logits.logit_table(L, Task(p).labels), L[0].double(), rtol=0, atol=1e-6)


@given(p=st.integers(2, 12))
def test_sums_by_difference_go_by_s_less_c(p):
    """Cosines are even, so their coefficients would not tell s − c from c − s; the sums do."""
    table = torch.randn(p, p, dtype=torch.float64, generator=torch.Generator().manual_seed(p))
    by_hand = [sum(float(table[s, c]) for s in range(p) for c in range(p) if (s - c) % p == r) for r in range(p)]
    assert logits.sums_by_difference(table).tolist() == pytest.approx(by_hand, abs=1e-12)


def test_principal_components_of_an_ellipse():
    """(A cos θ, B sin θ) in any plane, moved from the origin: shares A² and B² over their sum, coordinates as drawn."""
    A, B, theta = 3.0, 2.0, angle(11, 1) + 0.1  # of eleven, no two are as far out
    points = torch.stack([A * theta.cos(), B * theta.sin()], 1)
    plane, _ = torch.linalg.qr(torch.randn(5, 2, generator=torch.Generator().manual_seed(0)).double())
    for flat in (points.roll(first, 0) for first in range(11)):
        x = flat @ plane.T + 7
        path, shares = weights.principal_components(x @ x.T)
        assert shares.tolist() == pytest.approx([9 / 13, 4 / 13], rel=1e-9)
        turned = flat * flat.gather(0, flat.abs().argmax(0, keepdim=True)).sign()  # the farthest coordinate is positive
        torch.testing.assert_close(path, turned, rtol=0, atol=1e-6)  # √ of what rounding leaves of 1e-13
    same, none = weights.principal_components(torch.ones(4, 4))
    assert same.abs().max() == 0
    assert none.isnan().all()
    assert weights.principal_components(torch.eye(4), 4)[0].shape == (4, 4)
    with pytest.raises(ConfigError, match="many must be a whole number from 1 to 4; got 5"):
        weights.principal_components(torch.eye(4), 5)


def test_the_products_of_parameters_add_up_to_those_of_all():
    states = [{"A": torch.full((2, 2), float(i)), "b": torch.tensor([0.0, 1.0 - i])} for i in range(3)]
    found = weights.inner_products(states)
    moved = torch.tensor([-1.0, 0.0, 1.0]).double()  # of every entry of A, and of one of b, about their mean
    torch.testing.assert_close(found["A"], 4 * moved[:, None] * moved)
    torch.testing.assert_close(found["b"], moved[:, None] * moved)
    path, shares = weights.principal_components(sum(found.values()), 1)
    torch.testing.assert_close(path[:, 0].abs(), math.sqrt(5) * moved.abs())
    assert shares.tolist() == pytest.approx([1])


def test_the_right_logit_is_the_sum_of_the_amplitudes():
    """Σ A_k cos w_k(s − c) has mean 0 over c, and Σ A_k at c = s."""
    p, task = 13, Task(13)
    L = analytic_logits(p, {2: 3.0, 5: 1.5}, task.labels)
    assert logits.correct_logit(L + 8, task.labels).numpy() == pytest.approx(4.5, abs=1e-5)
    made = subject(analytic_activations(p, {2: 3.0, 5: 1.5}, task.labels, torch.ones(p, p, 2)), torch.eye(p),
                   torch.ones(2, p), task)  # fmt: skip
    restricted = losses.restricted_of(made)
    with pytest.raises(ConfigError, match=r"labels must be .* to 1"):
        logits.correct_logit(L[:3, :3, :2], torch.tensor([[0, 1, 0], [0, 0, 1], [1, 0, 2]]))
    assert logits.correct_logit(restricted, torch.arange(p)).numpy() == pytest.approx(4.5, abs=1e-5)
    assert logits.size_of_rest(L, restricted, task.labels).numpy() == pytest.approx(0, abs=1e-5)


def test_the_size_of_the_rest_is_that_of_a_wave_of_the_difference():
    """δ cos w(a − b) cos w c is left: over the pairs of any s its root mean square is δ |cos w c| / √2."""
    p, task, delta = 13, Task(13), 0.4
    R = analytic_logits(p, {2: 3.0}, torch.arange(p)[:, None])[:, 0]
    difference = torch.arange(p)[:, None] - torch.arange(p)
    wave = (2 * math.pi / p * difference.double()).cos()
    L = R[task.labels] + delta * wave[..., None] * angle(p, 1).cos() + 5  # a constant over c is no difference
    expected = (delta * angle(p, 1).cos().abs() / math.sqrt(2)).expand(p, p)
    torch.testing.assert_close(logits.size_of_rest(L, R, task.labels), expected, rtol=0, atol=1e-6)


def test_a_random_direction_is_as_long_as_the_weights_row_by_row():
    rows = torch.tensor([[3.0, 4.0], [0.0, 0.0], [1.0, 0.0]])
    given = {"W": rows, "b": torch.tensor([2.0, 0.0]), "W_Q": torch.stack([rows, 2 * rows]), "one": torch.tensor(-3.0)}
    found = weights.random_direction(given, 0)
    assert found["W_Q"].norm(dim=2).flatten().tolist() == pytest.approx([5, 0, 1, 10, 0, 2], rel=1e-6)
    assert abs(float(found["one"])) == pytest.approx(3, rel=1e-6)
    assert found["W"].norm(dim=1).tolist() == pytest.approx([5, 0, 1], rel=1e-6)
    assert float(found["b"].norm()) == pytest.approx(2, rel=1e-6)
    assert torch.equal(weights.random_direction(given, 0)["W"], found["W"])
    assert not torch.equal(weights.random_direction(given, 1)["W"], found["W"])
