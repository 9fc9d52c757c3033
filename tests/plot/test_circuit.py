"""Figures of what a network holds, and their definitions, on circuits whose every number is known."""

import numpy as np
import pytest
import torch

import interp
from interp import ConfigError, Task, plot
from interp.measures import embedding, losses, neurons, weights
from interp.plot.shown import Shown
from interp.study.landscapes import losses_around
from tests.measures.test_circuit import AMPLITUDES, angle, circuit
from tests.models import analytic_logits, subject


def circuit_subject(p: int, operation: str = "add"):
    """The circuit of `tests.measures.test_circuit`; for a − b, with b turned round."""
    acts, W_L, phases, frequencies = circuit(p, AMPLITUDES)
    if operation == "subtract":
        acts = acts[:, -torch.arange(p) % p]
    every = interp.Activations(acts @ W_L, acts, torch.full((p, p, 1, 3), 1 / 3))
    made = subject(every, torch.eye(p), W_L, Task(p, operation))
    return made, phases, frequencies


def test_numbers_stand_on_the_circle_of_their_frequency():
    p, k, r = 11, 3, 2.5
    e = torch.eye(4).double()
    W = r * (angle(p, k).cos()[:, None] * e[1] + angle(p, k).sin()[:, None] * e[3])
    points = embedding.on_circle(W, embedding.circle_directions(W, k))
    turned = r * torch.stack([angle(p, k).cos(), angle(p, k).sin()], 1)
    torch.testing.assert_close(points, turned, rtol=0, atol=1e-12)
    (drawn,) = plot.embedding_circles(points.numpy()[None], [k]).data
    np.testing.assert_allclose(drawn.x[::-1], turned[:, 0], atol=1e-12)
    np.testing.assert_array_equal(drawn.marker.color[::-1], k * np.arange(p) % p)
    assert [width for width in drawn.marker.line.width if width > 1] == [drawn.marker.line.width[-1]]  # 0 alone
    with pytest.raises(ConfigError, match="points must hold each of 2 frequencies"):
        plot.embedding_circles(points.numpy()[None], [k, 4])


@pytest.mark.parametrize("operation", ["add", "subtract"])
def test_neurons_are_counted_and_vote_for_what_they_detect(operation):
    p = 23
    made, phases, frequencies = circuit_subject(p, operation)
    assert neurons.neurons_of_frequency(made).tolist() == [7 if k in AMPLITUDES else 0 for k in range(1, 12)]
    own, detected, voted = neurons.phases_of(made)
    assert torch.equal(own, frequencies)
    assert (detected - phases.sum(1)).cos().numpy() == pytest.approx(1, abs=1e-6)
    figure = plot.neuron_phases(detected.numpy(), voted.numpy(), own.numpy(), np.ones(len(own)))
    _, *groups = figure.data
    assert [one.name for one in groups] == [f"k = {k}" for k in AMPLITUDES]
    for one in groups:
        np.testing.assert_allclose(one.x, one.y, atol=1e-5)
        assert len(one.x) == 7
        assert min(one.x) >= 0
        assert max(one.x) < 2
    # Half a turn off, no point is on the line.
    off = plot.neuron_phases(detected.numpy(), voted.numpy() + np.pi / 2, own.numpy(), np.ones(len(own))).data[1]
    np.testing.assert_allclose(np.subtract(off.y, off.x), 0.5, atol=1e-5)


def test_neurons_stand_in_the_order_of_their_frequency_and_phase():
    """After a shuffle, and with a neuron of two frequencies, which comes last."""
    p = 23
    made, *_ = circuit_subject(p)
    acts, W_L = made.neurons, made.W_L
    order = torch.randperm(21, generator=torch.Generator().manual_seed(1))
    mixed = (acts[..., 0] + acts[..., 7])[..., None]
    shares = neurons.frequency_shares(torch.cat([mixed, acts[..., order]], -1))
    W_L = torch.cat([W_L[:1], W_L[order]])
    own, single = neurons.neuron_frequencies(shares), neurons.is_single_frequency(shares)
    of_outputs = (interp.fourier.fourier_basis(p) @ W_L.T.double()).numpy()
    phases = neurons.output_phases(W_L, own).numpy()
    figure = plot.neuron_logit_map(of_outputs, own.numpy(), single.numpy(), phases)
    (drawn,) = figure.data
    for i, k in enumerate(AMPLITUDES):
        block = np.asarray(drawn.z)[:, 7 * i : 7 * i + 7]
        inside = np.abs(block[[2 * k - 1, 2 * k]]).max()
        assert np.abs(np.delete(block, [2 * k - 1, 2 * k], axis=0)).max() < 1e-5 * inside
        assert np.all(np.diff(np.arctan2(block[2 * k], block[2 * k - 1])) > 0)
    assert list(figure.layout.xaxis.ticktext) == [*(f"k = {k}" for k in AMPLITUDES), "mixed"]
    assert list(figure.layout.xaxis.tickvals) == [3, 10, 17, 21]
    assert drawn.coloraxis == "coloraxis"
    assert figure.layout.coloraxis.cmin == -figure.layout.coloraxis.cmax
    (map_of_shares,) = plot.neurons_by_frequency(shares.numpy(), single.numpy()).data
    brightest = np.asarray(map_of_shares.z).argmax(0) + map_of_shares.y0
    assert brightest[:21].tolist() == [k for k in AMPLITUDES for _ in range(7)]


def test_losses_and_graduations_tell_train_pairs_from_test_pairs():
    p = 5
    values = np.arange(1.0, 26.0).reshape(p, p)
    mask = np.random.default_rng(0).random((p, p)) < 0.5
    train, test, *greys = plot.pair_losses(values, mask).data
    for map_, own, grey in ((train, mask, greys[0]), (test, ~mask, greys[1])):
        np.testing.assert_allclose(np.asarray(map_.z)[own], np.log10(values[own]), rtol=1e-6)  # float32
        assert np.isnan(np.asarray(map_.z)[~own]).all()
        np.testing.assert_array_equal(np.isnan(grey.z), own)
    assert len(plot.pair_losses(values).data) == 1
    assert np.isfinite(plot.pair_losses(np.where(mask, 0.0, values)).data[0].z).all()  # a loss of 0 has a logarithm
    steps = np.where(values == 1, np.nan, 100 * values)
    train, test, *greys = plot.graduation_map(steps, mask).data
    np.testing.assert_array_equal(np.where(mask, train.z, test.z), steps)
    np.testing.assert_array_equal(np.isnan(greys[0].z), mask)
    with pytest.raises(ConfigError, match="needs a pair that is answered right at the last checkpoint"):
        plot.graduation_map(np.full((p, p), np.nan), mask)
    with pytest.raises(ConfigError, match=r"train_mask must be a numpy array \[p, p\]"):
        plot.pair_losses(values, mask[:3])


def test_over_training_what_is_drawn_is_what_was_measured(small_run):
    of = Shown(run=small_run)
    spectrum = plot.spectrum_over_training(of)
    last = interp.progress_measures(small_run).embedding_norms
    column = np.asarray(spectrum.data[0].z)[:, -1]
    np.testing.assert_allclose(column, np.hypot(last[1::2], last[2::2]), rtol=1e-5)
    assert list(spectrum.data[1].x) == list(small_run.steps)
    graduated = plot.graduation_map(of)
    answered = interp.trajectory(small_run, arrays=["answered"], progress=False)
    known = np.isfinite(interp.graduation(answered).steps).sum()
    assert sum(np.isfinite(np.asarray(one.z, float)).sum() for one in graduated.data[:2]) == known

    counts = interp.trajectory(small_run, measures=["neurons_of_frequency", "single_frequency_neurons"], progress=False)
    names = [f"neurons_of_frequency_{k}" for k in range(1, 7)]
    np.testing.assert_allclose(counts[names].sum(axis=1), 24 * counts["single_frequency_neurons"])
    grown = counts.assign(neurons_of_frequency_2=[0, 1, 5, 4], neurons_of_frequency_5=[3, 0, 0, 2])
    bands = plot.neurons_by_frequency_over_training(grown).data
    drawn = {one.name: list(one.y) for one in bands}
    assert (drawn["k = 2"], drawn["k = 5"]) == ([0, 1, 5, 4], [3, 0, 0, 2])


def test_the_path_of_the_weights_is_as_long_as_they_move(small_run):
    """In a run of four checkpoints three components hold all; two hold their share of the squared distances."""
    of = Shown(run=small_run)
    figure = plot.weights_path(of)
    flat = np.stack([np.concatenate([w.flatten().numpy() for w in one.weights.values()]) for one in small_run])
    centred = flat.astype(float) - flat.astype(float).mean(0)
    path = np.stack([figure.data[0].x, figure.data[0].y], 1)
    of_two = np.linalg.svd(centred, compute_uv=False)[:2]
    np.testing.assert_allclose(np.linalg.norm(path, axis=0), of_two, rtol=1e-6)
    share = of_two**2 / (centred**2).sum()
    assert figure.layout.xaxis.title.text == f"component 1 ({share[0]:.0%} of variance)"
    assert list(figure.data[0].marker.color) == list(small_run.steps)
    parts = plot.weights_path_by_part(of)
    matrices = [name for name, weight in small_run[0].weights.items() if weight.ndim > 1]
    assert [note.text.partition("<br>")[0] for note in parts.layout.annotations] == matrices


def test_the_ends_of_phases_lie_on_the_path():
    path, steps = np.array([[0.0, 0.0], [2.0, 1.0], [4.0, 4.0]]), np.array([0, 100, 200])

    class Two:
        def ends(self):
            return [("memorization", 50)]

    _, end = plot.weights_path(path, np.array([0.9, 0.1]), steps, Two()).data
    assert (end.name, *end.x, *end.y) == ("end of memorization", 1.0, 0.5)


def test_the_losses_around_a_checkpoint_are_those_of_the_moved_weights(small_run):
    last = small_run[-1]
    frame = losses_around(last, directions=2, points=3, reach=0.2, seed=5)
    m = interp.progress_measures(last)
    centre = frame[frame["distance"] == 0]
    assert centre["test_loss"].tolist() == pytest.approx([m.test_loss] * 2, rel=1e-9)
    assert centre["train_loss"].tolist() == pytest.approx([m.train_loss] * 2, rel=1e-9)
    along = weights.random_direction(last.weights, 6)
    moved = {name: weight + 0.2 * along[name] for name, weight in last.weights.items()}
    L = interp.activations(moved, p=13, network=last.config).logits
    there = losses.cross_entropy(L, last.task.labels)[~last.train_mask].mean()
    assert frame["test_loss"].iloc[-1] == pytest.approx(float(there), rel=1e-6)
    assert list(frame["direction"]) == [1, 1, 1, 2, 2, 2]
    train, test = (plot.loss_around(frame).data[at] for at in (0, 2))
    assert (list(train.x), list(test.y)) == ([-0.2, 0, 0.2], frame["test_loss"].tolist()[:3])


def test_a_model_says_what_it_lacks():
    """Logits alone have no embedding and no neurons; the figures of pairs are there."""
    p = 7
    model = interp.Model(analytic_logits(p, {2: 5.0}, Task(p).labels), Task(p))
    for name in ("embedding_circles", "embedding_in_fourier_basis", "embedding_components", "neuron_logit_map",
                 "neurons_by_frequency", "neuron_phases"):  # fmt: skip
        with pytest.raises(interp.Missing, match=r"given without (W_E|W_L|neurons)"):
            getattr(plot, name)(model)
    with pytest.raises(interp.Missing, match="it needs weights that can be changed"):
        plot.loss_around(model)
    full, restricted = plot.correct_logit_over_pairs(model).data
    np.testing.assert_allclose(full.z, 5, rtol=1e-6)
    np.testing.assert_allclose(restricted.z, 5, rtol=1e-6)
    assert len(plot.pair_losses(model).data) == 1  # no split is known
    assert len(plot.logits_full_and_restricted(model).data) == 3


def test_pages_of_a_large_modulus_are_small():
    values = np.random.default_rng(0).random((113, 113))
    for figure in (plot.pair_losses(values, values < 0.3), plot.logits_full_and_restricted(values, values, values)):
        assert len(figure.to_html(include_plotlyjs=False)) < 500_000
