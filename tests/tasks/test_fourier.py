import math

import torch
from hypothesis import given, strategies as st

from interp.measures.embedding import fourier_norms
from interp.tasks.fourier import by_frequency, fourier_basis, frequency_rows, project, shared_basis, sum_by_residue
from tests.models import analytic_logits

moduli = st.integers(2, 60)


@given(p=moduli)
def test_the_basis_is_orthonormal_for_every_modulus(p):
    F = fourier_basis(p)
    assert F.shape == (p, p)
    torch.testing.assert_close(F @ F.T, torch.eye(p, dtype=torch.float64), rtol=0, atol=1e-12)


@given(p=moduli, seed=st.integers(0, 1000))
def test_parseval(p, seed):
    x = torch.randn(p, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    torch.testing.assert_close((fourier_basis(p) @ x).square().sum(0), x.square().sum(0), rtol=1e-12, atol=0)


def test_rows_are_named_waves():
    p = 10
    F, x = fourier_basis(p), torch.arange(10).double()
    assert torch.allclose(F[0], torch.full((10,), 1 / math.sqrt(10)).double())
    assert torch.allclose(F[5], torch.cos(2 * math.pi * 3 * x / p) * math.sqrt(2 / p))
    assert torch.allclose(F[6], torch.sin(2 * math.pi * 3 * x / p) * math.sqrt(2 / p))
    assert torch.allclose(F[9], torch.tensor([1.0, -1.0] * 5).double() / math.sqrt(p))  # k = p/2: a cosine only
    assert frequency_rows(p, 3) == [5, 6]
    assert frequency_rows(p, 5) == [9]


@given(p=moduli, data=st.data())
def test_kept_and_excluded_make_all_and_share_nothing(p, data):
    keys = data.draw(st.sets(st.integers(1, p // 2)))
    x = torch.randn(p, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(p))
    kept = project(x, keys)
    others = project(x, set(range(1, p // 2 + 1)) - keys)
    close = {"rtol": 0, "atol": 1e-12}
    torch.testing.assert_close(kept + others + x.mean(0), x, **close)
    torch.testing.assert_close(project(kept, keys), kept, **close)
    torch.testing.assert_close((kept * others).sum(0), torch.zeros(4).double(), **close)


@given(p=moduli)
def test_by_frequency_joins_cosine_and_sine(p):
    coefficients = torch.arange(1, p + 1).double()
    joined = by_frequency(coefficients)
    assert len(joined) == p // 2
    for k in range(1, p // 2 + 1):
        rows = frequency_rows(p, k)
        assert math.isclose(joined[k - 1], math.sqrt(sum((row + 1) ** 2 for row in rows)), rel_tol=1e-12)


@given(p=st.integers(2, 15), sign=st.sampled_from([1, -1]))
def test_sum_by_residue_is_the_sum_over_those_pairs(p, sign):
    x = torch.randn(p, p, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(p))
    a = torch.arange(p)
    residue = (a[:, None] + sign * a) % p
    by_hand = torch.stack([x[residue == s].sum(0) for s in range(p)])
    torch.testing.assert_close(sum_by_residue(x, residue), by_hand, rtol=1e-12, atol=1e-12)


def test_a_wave_lies_in_its_frequency_alone():
    p = 11
    s = torch.arange(p)
    table = analytic_logits(p, {4: 2.0}, s)  # rows s, columns c: 2 cos w_4(s − c)
    torch.testing.assert_close(project(table, [4]), table.double(), rtol=0, atol=1e-6)
    torch.testing.assert_close(project(table, [1, 2, 3, 5]), torch.zeros(p, p).double(), rtol=0, atol=1e-6)


def test_the_basis_is_the_callers_own():
    with torch.inference_mode():
        mine = fourier_basis(7)
    assert not mine.is_inference()
    mine *= 2
    assert math.isclose(float(fourier_basis(7).square().sum()), 7, rel_tol=1e-12)


def test_the_kept_basis_is_an_ordinary_tensor_whoever_asks_first():
    """The norms of F·W at W = I are 1, and the gradient of their sum is Fᵀ·F = I; inference mode allows no gradient."""
    shared_basis.cache_clear()
    with torch.inference_mode():
        fourier_norms(torch.eye(7))
    W = torch.eye(7, requires_grad=True)
    fourier_norms(W).sum().backward()
    torch.testing.assert_close(W.grad, torch.eye(7), rtol=0, atol=1e-6)
