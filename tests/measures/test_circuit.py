"""The circuit's measures on networks built so that every answer is known, and on noise."""

import math

import numpy as np
import pytest
import torch

import interp
from interp import Task
from interp.measures import attention, logits, neurons
from tests.models import measured, random_weights, sizes


def angle(p: int, k: int) -> torch.Tensor:
    return 2 * math.pi * k / p * torch.arange(p).double()


def circuit(p: int, amplitude_of: dict[int, float], per_frequency: int = 7):
    """Neurons cos(w_k a − φ) + cos(w_k b − ψ) + cos(w_k(a+b) − φ − ψ), read out by cos(w_k c − φ − ψ).

    φ and ψ are evenly spread, ψ over twice the circle, so all that is not cos w_k(a+b−c) cancels in the sum over
    neurons, and the logits are Σ_k A_k cos w_k(a+b−c), exactly.
    """
    acts, W_L, phases, frequencies = [], [], [], []
    for k, amplitude in amplitude_of.items():
        w = angle(p, k)
        for j in range(per_frequency):
            phi, psi = 2 * math.pi * j / per_frequency, 4 * math.pi * j / per_frequency + 0.3
            a, b = (w - phi)[:, None], (w - psi)[None, :]
            acts.append(a.cos() + b.cos() + (a + b).cos())
            W_L.append(2 * amplitude / per_frequency * (w - phi - psi).cos())
            phases.append((phi, psi))
            frequencies.append(k)
    return torch.stack(acts, -1).float(), torch.stack(W_L).float(), torch.tensor(phases), torch.tensor(frequencies)


AMPLITUDES = {2: 3.0, 5: 1.5, 7: 0.5}


@pytest.mark.parametrize("p", [23, 24])
def test_every_measure_of_a_circuit_whose_answer_is_known(p):
    acts, W_L, phases, frequencies = circuit(p, AMPLITUDES)
    task = Task(p)
    shares = neurons.frequency_shares(acts)
    assert torch.equal(neurons.neuron_frequencies(shares), frequencies)
    assert shares.amax(0).numpy() == pytest.approx(1, abs=1e-6)
    found = neurons.clusters(shares)
    assert {k: len(members) for k, members in found.items()} == dict.fromkeys(AMPLITUDES, 7)
    assert all((frequencies[members] == k).all() for k, members in found.items())

    inputs, output = neurons.input_phases(acts, frequencies), neurons.output_phases(W_L, frequencies)
    for mine, theirs in [(inputs[0], phases[:, 0]), (inputs[1], phases[:, 1]), (output, phases.sum(1))]:
        assert (mine - theirs).cos().numpy() == pytest.approx(1, abs=1e-6)  # equal up to whole turns
    assert neurons.phase_agreement(inputs, output) == pytest.approx(1, abs=1e-6)

    assert logits.key_share(W_L, AMPLITUDES) == pytest.approx(1, abs=1e-6)
    power = {k: A**2 for k, A in AMPLITUDES.items()}
    assert logits.key_share(W_L, [5]) == pytest.approx(power[5] / sum(power.values()), rel=1e-5)
    u = logits.output_directions(W_L, [5])
    torch.testing.assert_close(u[:, 0], W_L.double() @ angle(p, 5).cos() / (p / 2) ** 0.5, rtol=0, atol=1e-6)
    torch.testing.assert_close(u[:, 1], W_L.double() @ angle(p, 5).sin() / (p / 2) ** 0.5, rtol=0, atol=1e-6)
    for both in logits.projection_shares(acts, W_L, task.labels, AMPLITUDES).values():
        assert both == pytest.approx((1, 1), abs=1e-6)

    L = acts @ W_L
    coefficients = logits.cos_coefficients(logits.logit_table(L, task.labels))
    assert logits.amplitudes(coefficients, AMPLITUDES, p) == pytest.approx(AMPLITUDES, rel=1e-5)
    assert logits.logit_variance_explained(L, coefficients, AMPLITUDES) == pytest.approx(1, abs=1e-6)
    fitted = logits.fitted_logits(AMPLITUDES, task.labels)
    torch.testing.assert_close(L.double(), fitted, rtol=0, atol=1e-5)
    norms = logits.fourier_norms_2d(L)
    assert float(norms.square().sum()) == pytest.approx(float(L.double().square().sum()), rel=1e-9)  # Parseval
    rows = {row for k in AMPLITUDES for row in interp.fourier.frequency_rows(p, k)}
    outside = [i for i in range(p) if i not in rows]
    assert float(norms[outside].max()) < 1e-4 * float(norms.max())


@pytest.mark.parametrize(
    ("p", "amplitude_of"),
    [(23, {2: 3.0}), (23, AMPLITUDES), (24, {12: 1.0})],
    ids=["one frequency", "three", "the alternating one, which has no sine"],
)
def test_the_projection_share_is_a_mean_over_what_is_projected(p, amplitude_of):
    """A circuit projects on multiples of cos w_k(a+b) and sin w_k(a+b) alone, so each share is 1, and their mean."""
    acts, W_L, _, _ = circuit(p, amplitude_of)
    task = Task(p)
    acts = interp.Activations(acts @ W_L, acts, torch.full((p, p, 1, 3), 1 / 3))
    m = measured(acts, torch.eye(p), W_L, task, None, tuple(amplitude_of))
    assert m.neuron_projection_share == pytest.approx(1, abs=1e-6)
    assert m.neuron_logit_key_share == pytest.approx(1, abs=1e-6)


def test_the_alternating_frequency_of_an_even_p_has_a_cosine_alone():
    p, k = 12, 6
    sign = torch.tensor([1.0, -1.0]).repeat(p // 2)
    acts = torch.stack([sign[:, None] * sign, -sign[:, None] * sign], -1)
    W_L = torch.stack([sign, -sign])
    shares = neurons.frequency_shares(acts)
    assert neurons.neuron_frequencies(shares).tolist() == [k, k]
    output = neurons.output_phases(W_L, torch.tensor([k, k]))
    assert output.cos().tolist() == pytest.approx([1, -1])
    cosine, sine = logits.projection_shares(acts, W_L, Task(p).labels, [k])[k]
    assert cosine == pytest.approx(1)
    assert math.isnan(sine)
    L = 3 * sign[Task(p).labels][..., None] * sign
    coefficients = logits.cos_coefficients(logits.logit_table(L, Task(p).labels))
    assert logits.amplitudes(coefficients, [k], p) == pytest.approx({k: 3})


def test_phases_that_disagree_are_seen():
    acts, W_L, _, frequencies = circuit(23, {4: 1.0}, per_frequency=9)
    shifted = torch.stack([torch.roll(row, 1) for row in W_L])  # φ_c moves by w_4
    inputs = neurons.input_phases(acts, frequencies)
    agreement = neurons.phase_agreement(inputs, neurons.output_phases(shifted, frequencies))
    assert agreement == pytest.approx(math.cos(2 * math.pi * 4 / 23), abs=1e-6)


def test_attention_of_one_frequency_is_found_with_its_share():
    """To a: a wave of frequency 3, and one of frequency 5 half as strong: four fifths of the variance and one fifth."""
    p = 19
    to_a = 1 / 3 + 0.1 * angle(p, 3).cos()[:, None] + 0.05 * angle(p, 5).sin()[None, :]
    to_b = 1 / 3 + 0.1 * (angle(p, 3).sin()[:, None] * angle(p, 3).cos()[None, :])
    pattern = torch.stack([to_a, to_b, 1 - to_a - to_b], -1)[:, :, None].float()
    shares = attention.attention_shares(pattern)
    assert shares.shape == (9, 1, 2)
    assert shares[:, 0, 0].argmax() + 1 == 3
    assert float(shares[2, 0, 0]) == pytest.approx(0.8, abs=1e-5)
    assert float(shares[4, 0, 0]) == pytest.approx(0.2, abs=1e-5)
    assert float(shares[2, 0, 1]) == pytest.approx(1, abs=1e-5)


def test_score_vectors_and_circuits_are_the_bridges():
    """Scores from the logarithm of hook_pattern, up to a constant; QK and OV head by head."""
    p = 7
    config = sizes(p)
    weights = random_weights(config, biases=("b_Q", "b_K", "b_V", "b_O", "b_U"))
    bridge = interp.networks.transformer.to_bridge(weights, config)
    a = torch.arange(p)
    tokens = torch.stack([a, torch.zeros_like(a), torch.full_like(a, p)], 1)
    _, cache = bridge.run_with_cache(tokens)
    pattern = cache["blocks.0.attn.hook_pattern"][:, :, -1].detach()  # [p, n_heads, 3], from "="
    scores = (pattern[..., 0] / pattern[..., 2]).log().T  # of a, less that of "=", which is the same for all a
    ours = attention.score_vectors(weights, p)
    centred = [x - x.mean(1, keepdim=True) for x in (scores.double(), ours)]
    torch.testing.assert_close(*centred, rtol=0, atol=1e-5 * float(centred[0].abs().max()))
    qk, ov = attention.qk_circuit(weights), attention.ov_circuit(weights)
    W = weights
    for h in range(config.n_heads):
        torch.testing.assert_close(qk[h], W["W_E"] @ W["W_Q"][h] @ W["W_K"][h].T @ W["W_E"].T)
        torch.testing.assert_close(ov[h], W["W_E"] @ W["W_V"][h] @ W["W_O"][h] @ W["W_U"])
    wave = torch.stack([angle(p, 2).cos(), angle(p, 2).sin() + 5])
    assert attention.score_shares(wave)[1].tolist() == pytest.approx([1, 1])
    of = interp.Checkpoint(weights, config, interp.Task(p)).subject()
    assert attention.score_vectors_of(of) is attention.score_vectors_of(of)  # computed once
    torch.testing.assert_close(attention.score_vectors_of(of), ours)
    with pytest.raises(interp.ConfigError, match='is defined from "="; a model of two positions has none'):
        attention.score_vectors({**weights, "W_pos": weights["W_pos"][:2]}, p)


def test_on_noise_the_shares_are_what_noise_gives():
    """A frequency is 8 of p² − 1 dimensions for a neuron, 2 of p for W_L, 1 of p² − 1 for a projection."""
    p, d_mlp = 31, 600
    generator = torch.Generator().manual_seed(0)
    acts = torch.randn(p, p, d_mlp, generator=generator)
    W_L = torch.randn(d_mlp, p, generator=generator)
    shares = neurons.frequency_shares(acts)
    assert float(shares.mean()) == pytest.approx(8 / (p * p - 1), rel=0.02)
    assert neurons.single_frequency_neurons(shares) == 0
    assert neurons.clusters(shares) == {}
    assert logits.key_share(W_L, [1, 4, 9]) == pytest.approx(6 / p, rel=0.05)
    projected = logits.projection_shares(acts, W_L, Task(p).labels, range(1, 16))
    assert np.mean(list(projected.values())) == pytest.approx(1 / (p * p - 1), rel=0.6)  # 30 squares of normals
    random = torch.rand(3, 4_000, generator=generator) * 2 * math.pi
    assert neurons.phase_agreement((random[0], random[1]), random[2]) == pytest.approx(0, abs=4 / math.sqrt(8_000))


def test_the_shipped_circuit(shipped):
    """What the last checkpoint is: attention, neurons and output agree on five frequencies."""
    m = interp.progress_measures(shipped)
    assert m.neuron_phase_agreement > 0.99
    assert m.neuron_logit_key_share > 0.99
    assert m.neuron_projection_share > 0.95
    acts = interp.activations(shipped[-1])
    found = neurons.clusters(neurons.frequency_shares(acts.neurons))
    assert tuple(found) == m.key_frequencies
    heads = attention.attention_shares(acts.pattern).argmax(0) + 1
    of_scores = attention.score_shares(attention.score_vectors(shipped[-1].weights, 113)).argmax(0) + 1
    assert torch.equal(heads[:, 0], of_scores)
    assert set(heads.flatten().tolist()) <= set(m.key_frequencies)


def test_alignment_is_with_the_last_checkpoint(small_run):
    frame = interp.trajectory(small_run, progress=False)
    last = small_run[-1].weights
    for row, ckpt in zip(frame.to_dict("records"), small_run, strict=True):
        for column, one, other in [
            ("embedding_alignment", ckpt.weights["W_E"][:13], last["W_E"][:13]),
            ("neuron_logit_alignment", *((w["W_out"] @ w["W_U"])[:, :13] for w in (ckpt.weights, last))),
        ]:
            cosine = torch.nn.functional.cosine_similarity(one.double().flatten(), other.double().flatten(), dim=0)
            assert row[column] == pytest.approx(float(cosine), rel=1e-9)
    assert frame["embedding_alignment"].iloc[-1] == pytest.approx(1)
