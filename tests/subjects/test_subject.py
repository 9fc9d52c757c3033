"""Subjects, quantities and measures: what is kept, what is missing, and what a user declares."""

import gc
import itertools
import json
import math
import re
import subprocess
import sys
import weakref
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

import interp
from interp import ConfigError, Missing, Task
from interp.measures import losses, mechanism, neurons, registry, weights
from interp.measures.logits import explained_accuracy, key_frequencies_of
from interp.measures.mechanism import explained_by_difference, gradient_symmetricity, standard_error, translation_share
from interp.measures.registry import chosen, evaluate
from interp.study.progress_table import of_subject
from tests.conftest import ROOT
from tests.models import analytic_activations, subject

P = 11


def of_waves(**options) -> interp.Subject:
    """A subject whose logits are Σ A_k cos w_k(a + b − c), answered right."""
    task = Task(P)
    acts = analytic_activations(P, {2: 5.0, 3: 4.0}, task.labels, torch.rand(P, P, 6))
    return subject(acts, torch.eye(P), torch.eye(P)[:6], task, **options)


@pytest.fixture
def declared():
    """What a test declares is forgotten after it."""
    before = dict(registry.MEASURES)
    yield
    registry.MEASURES.clear()
    registry.MEASURES.update(before)


# ── quantities ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_quantity_is_computed_once_per_subject_and_settings():
    calls = []

    @interp.quantity
    def power(subject, *, exponent: int = 2) -> float:
        calls.append(exponent)
        return float(subject.logits.abs().max() ** exponent)

    one, other = of_waves(), of_waves()
    assert power(one) == power(one, exponent=2) == power(one)
    assert power(one, exponent=3) == pytest.approx(power(one) ** 1.5)
    assert calls == [2, 3]
    power(other)
    assert calls == [2, 3, 2]


def test_what_is_as_large_as_the_logits_is_not_kept():
    calls = []

    @interp.quantity
    def doubled(subject) -> torch.Tensor:
        calls.append(1)
        return 2 * subject.logits

    one = of_waves()
    doubled(one)
    doubled(one)
    assert len(calls) == 2


def test_a_reason_travels_to_everything_that_needs_it_and_is_found_once():
    calls = []

    @interp.quantity
    def lacking(subject) -> float:
        calls.append(1)
        raise Missing("there is no tide")

    @interp.quantity
    def needs_it(subject) -> float:
        return lacking(subject) + 1

    one = of_waves()
    for _ in range(2):
        with pytest.raises(Missing, match="there is no tide"):
            needs_it(one)
    with pytest.raises(Missing, match="there is no tide"):
        lacking(one)
    assert len(calls) == 1


def test_a_circle_is_said():
    @interp.quantity
    def first(subject) -> float:
        return second(subject)

    @interp.quantity
    def second(subject) -> float:
        return first(subject)

    with pytest.raises(ConfigError, match="must not need itself; got first → second → first"):
        first(of_waves())


def test_settings_have_names_and_defaults():
    with pytest.raises(ConfigError, match="settings by keyword with a default"):
        interp.quantity(lambda subject, n: n)


def test_key_frequencies_that_are_given_are_used_and_others_can_still_be_asked_for():
    one = of_waves(key_frequencies=(4,))
    assert key_frequencies_of(one) == (4,)
    assert key_frequencies_of(one, share=0.01) == (2, 3)
    assert losses.restricted_loss(one) == pytest.approx(math.log(P))  # nothing lies along k = 4


# ── a user's measure ─────────────────────────────────────────────────────────────────────────────────────────────


def test_a_declared_measure_is_in_the_results_the_trajectory_and_the_list(declared, own_run):
    @interp.measure(title="largest activation of a neuron", unit="activation", source="mine")
    def largest_neuron(subject):
        return float(subject.neurons.max())

    run = interp.load_run(own_run)
    m = interp.progress_measures(run)
    largest = float(interp.activations(run[-1]).neurons.max())
    assert m["largest_neuron"] == m.extra["largest_neuron"] == m.to_dict()["largest_neuron"] == largest
    assert f"largest_neuron              {largest:.6g}" in str(m)
    frame = interp.trajectory(run, progress=False)
    assert frame["largest_neuron"].iloc[-1] == largest
    listed = interp.list_measures().set_index("name").loc["largest_neuron"]
    assert (listed["title"], listed["unit"], listed["source"]) == (
        "largest activation of a neuron",
        "activation",
        "mine",
    )


def test_a_subset_is_one_forward_and_nothing_else(small_run, monkeypatch):
    seen = []
    forward = interp.Transformer.forward
    monkeypatch.setattr(interp.Transformer, "forward", lambda *args: seen.append(1) or forward(*args))
    monkeypatch.setattr(interp.fourier, "shared_basis", lambda p: pytest.fail("no transform was asked for"))
    whole = interp.load_checkpoint(small_run.file(60))
    m = interp.progress_measures(whole, measures=["train_loss", "loss", "loss"])
    assert seen == [1]
    assert [one.name for one in m.measures] == ["train_loss", "loss"]
    assert list(m.to_dict()) == ["step", "loss", "train_loss", "key_step", "missing", "doubts", "key_doubt"]
    assert m.accuracy is m.key_step is None
    assert "accuracy" not in m.missing
    with pytest.raises(ConfigError, match=r"accuracy was not computed; ask for it with measures=\['accuracy'\]"):
        m["accuracy"]


def test_functions_and_names_may_be_asked_for_and_what_is_no_measure_is_said(small_run):
    def mean_logit(subject):
        return subject.logits.mean()

    m = interp.progress_measures(small_run, measures=[mean_logit, "loss", losses.accuracy])
    assert m["mean_logit"] == pytest.approx(float(interp.activations(small_run[-1]).logits.mean()))
    assert m.accuracy == interp.progress_measures(small_run).accuracy
    for wrong, said in [
        (["exluded_loss"], "no measure 'exluded_loss', which measures names; did you mean excluded_loss"),
        ("loss", r"measures must be a list of names or functions; got 'loss'; .*, measures=\['loss'\]\."),
        ([lambda s: 1], "Functions in measures need names of their own"),
    ]:
        with pytest.raises(ConfigError, match=said):
            interp.progress_measures(small_run, measures=wrong)


def test_names_of_interps_own_measures_are_taken():
    for name in ("loss", "step"):
        with pytest.raises(ConfigError, match=f"{name} is a name of interp's own"):
            interp.measure(name=name)(lambda subject: 1.0)
    with pytest.raises(ConfigError, match=r"excluded_loss_\{\} names columns of one of interp's own measures"):
        interp.measure(name="mine", columns="excluded_loss_{}")(lambda subject: {14: 1.0})


def test_no_module_of_a_users_measure_makes_it_one_of_interps_own(declared):
    def tide(subject):
        return 1.0

    tide.__module__ = "interp.measures.tides"
    interp.measure(tide)
    assert not registry.MEASURES["tide"].builtin
    with pytest.raises(ConfigError, match="loss is a name of interp's own"):
        interp.measure(name="loss")(tide)
    assert registry.MEASURES["loss"].builtin


def test_a_declaration_says_what_it_is(declared):
    """By default a measure is computed always, and titled by the first line of its docstring."""

    @interp.measure
    def tide(subject):
        """Height of the tide.

        In metres above the mean."""
        return 1.0

    listed = interp.list_measures().set_index("name").loc["tide"]
    assert (listed["title"], listed["unit"], listed["shape"], listed["on_request"]) == (
        "Height of the tide.", "", "number", False,
    )  # fmt: skip
    assert "tide" in [one.name for one in chosen(None)]
    for wrong in (3, "tide", int, dict):
        with pytest.raises(ConfigError, match="takes a function of a Subject"):
            interp.measure(wrong)
    assert not set(ON_REQUEST) & {one.name for one in chosen(None)}
    assert set(ON_REQUEST) <= set(interp.list_measures()["name"])


ON_REQUEST = (
    "explained_accuracy", "softmax_collapse", "naive_loss_minimization", "effective_rank", "answered",
    "phase_alignment", "translation_share", "gradient_symmetricity", "distance_irrelevance",
    "translation_share_error", "gradient_symmetricity_error",
)  # fmt: skip


@pytest.mark.parametrize(
    ("name", "said"),
    [("step", "'step' is taken"), ("loss", "'loss' is taken"), ("<lambda>", "'<lambda>' is not a name")],
)
def test_a_function_that_is_not_declared_needs_a_name_that_is_free(small_run, name, said):
    def one(subject):
        return 1.0

    one.__name__ = name
    with pytest.raises(ConfigError, match=re.escape(said)):
        interp.progress_measures(small_run, measures=[one])


def test_a_measure_that_fails_leaves_the_others(declared, own_run):
    @interp.measure
    def fails_later(subject):
        if subject.step >= 40:
            raise ZeroDivisionError("no tide")
        return 1.0

    with pytest.warns(
        UserWarning, match=r"fails_later is NaN at 2 of 4 checkpoints \(step 40, 60\): it failed with Zero"
    ):
        frame = interp.trajectory(own_run, progress=False)
    assert frame["fails_later"].tolist()[:2] == [1.0, 1.0]
    assert frame["fails_later"].isna().tolist() == [False, False, True, True]
    assert frame["excluded_loss"].notna().all()
    with pytest.warns(UserWarning, match="fails_later is None: it failed with ZeroDivisionError: no tide"):
        m = interp.progress_measures(own_run)
    assert re.fullmatch(
        r"it failed with ZeroDivisionError: no tide \(test_subject.py, line \d+\)", m.missing["fails_later"]
    )
    assert m.loss is not None


def test_a_nan_is_missing_and_what_is_no_number_is_said():
    def undefined(subject):
        return torch.tensor(math.nan)

    def words(subject):
        return "tide"

    found = evaluate(of_waves(), chosen([undefined, words]))
    assert found.missing["undefined"] == "the result is not a number"
    assert "must return a number, a dict of numbers, or an array; got 'tide'" in found.missing["words"]


def test_a_measure_that_changes_its_subject_is_refused():
    def halves(subject):
        subject.logits.mul_(0.5)
        return 1.0

    with pytest.raises(ConfigError, match="halves must leave its subject as it is; it changes logits in place"):
        of_subject(of_waves(), chosen(["loss", halves]))

    def halves_what_is_kept(subject):
        losses.cross_entropies(subject).mul_(0.5)
        return 1.0

    with pytest.raises(ConfigError, match="must leave its subject as it is; it changes cross_entropies in place"):
        of_subject(of_waves(), chosen(["loss", halves_what_is_kept]))


def test_dicts_and_arrays_make_columns(own_run):
    @interp.quantity
    def halves(subject):
        return {"low": 1.0, "high": subject.step}

    frame = interp.trajectory(own_run, progress=False, measures=[halves], keep=False)
    assert frame["halves_high"].tolist() == [0, 20, 40, 60]
    assert list(frame) == ["step", "halves_low", "halves_high"]


def test_arrays_over_training(own_run):
    frame = interp.trajectory(own_run, progress=False, measures=["loss"], arrays=["embedding_norms", "answered"])
    run = interp.load_run(own_run)
    arrays = frame.attrs["arrays"]
    assert arrays["embedding_norms"].shape == (4, 13)
    for i, checkpoint in enumerate(run):
        norms = interp.progress_measures(checkpoint).embedding_norms
        np.testing.assert_array_equal(arrays["embedding_norms"][i], norms)
    assert list(frame) == ["step", "loss"]
    assert pd.concat([frame, frame]).attrs.keys() <= frame.attrs.keys()  # pandas compares attrs there
    with pytest.raises(ConfigError, match="arrays must name measures that are arrays; loss is a float"):
        interp.trajectory(own_run, progress=False, arrays=["loss"])
    for wrong, said in (
        ("embedding_norms", r"arrays must be a list .*; got 'embedding_norms'; .*, arrays=\['embedding_norms'\]\."),
        (["embeding_norms"], "no measure 'embeding_norms', which arrays names; did you mean embedding_norms"),
    ):
        with pytest.raises(ConfigError, match=said):
            interp.trajectory(own_run, progress=False, arrays=wrong)


# ── what is kept beside a run ────────────────────────────────────────────────────────────────────────────────────


def count(version, calls):
    registry.MEASURES.pop("counted", None)

    @interp.measure(version=version)
    def counted(subject):
        calls.append(subject.step)
        return float(subject.step)


def test_a_users_column_is_kept_while_its_version_stays(declared, own_run):
    calls = []
    for version, computed in [(None, 4), (None, 4), (1, 4), (1, 0), (2, 4)]:
        calls.clear()
        count(version, calls)
        assert interp.trajectory(own_run, progress=False)["counted"].tolist() == [0, 20, 40, 60]
        assert len(calls) == computed, version
    registry.MEASURES.pop("counted")
    assert "counted" not in interp.trajectory(own_run, progress=False)
    calls.clear()
    count(2, calls)
    interp.trajectory(own_run, progress=False)
    assert calls == []  # it was kept though the call before did not ask for it


def test_another_measure_computes_that_one_alone_and_keeps_the_rest(own_run, monkeypatch):
    whole = interp.trajectory(own_run, progress=False)
    asked = []
    real = interp.measures.registry.evaluate
    monkeypatch.setattr(
        interp.study.trajectory,
        "evaluate",
        lambda s, which: asked.append([one.name for one in which]) or real(s, which),
    )
    interp.trajectory(own_run, progress=False, measures=["softmax_collapse"])
    assert asked == [["softmax_collapse"]] * 4
    asked.clear()
    pd.testing.assert_frame_equal(interp.trajectory(own_run, progress=False), whole)
    assert asked == []


def test_each_checkpoint_is_read_once(own_run, monkeypatch):
    read = []
    real = interp.runs.directory.StepFile.weights
    monkeypatch.setattr(interp.runs.directory.StepFile, "weights", lambda self: read.append(self.step) or real(self))
    interp.trajectory(own_run, progress=False)
    assert sorted(read) == [0, 20, 40, 60]
    read.clear()
    interp.trajectory(own_run, progress=False)
    assert read == []


@pytest.mark.parametrize("how", ["keep=False", "read-only"])
def test_nothing_is_written_where_nothing_should_be(own_run, how):
    if how == "read-only":
        own_run.chmod(0o555)
    before = sorted(file.name for file in own_run.iterdir())
    assert len(interp.trajectory(own_run, progress=False, keep=how == "read-only")) == 4
    assert sorted(file.name for file in own_run.iterdir()) == before


def test_two_processes_that_measure_one_run_do_no_harm(own_run):
    code = f"import interp; print(interp.trajectory({str(own_run)!r}, progress=False)['loss'].tolist())"
    both = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, cwd=ROOT) for _ in "ab"]
    said = [json.loads(process.communicate(timeout=300)[0]) for process in both]
    assert [process.returncode for process in both] == [0, 0]
    kept = interp.trajectory(own_run, progress=False)["loss"].tolist()
    assert said[0] == pytest.approx(said[1], rel=1e-6)
    assert kept in said
    assert not [file.name for file in own_run.iterdir() if file.name.startswith(".interp")]


# ── seven further measures, where they can be worked out by hand ─────────────────────────────────────────────────


def test_explained_accuracy_is_all_or_nothing_where_the_rest_is_known():
    """Without a rest all pairs are explained. A rest of range r on one pair is explained exactly while r < margin."""
    task = Task(P)
    pure = of_waves()
    assert explained_accuracy(pure) == 1
    wave = pure.logits[0, 0].double()
    margin = float(wave[0] - wave[1:].max())
    for size, explained in [(0.9, 1.0), (1.1, 1 - 1 / P**2)]:
        L = pure.logits.clone()
        L[3, 4, 0] += size * margin
        acts = interp.Activations(L, pure.neurons, pure.pattern)
        one = subject(acts, torch.eye(P), torch.eye(P)[:6], task, key_frequencies=(2, 3))
        # What is added lies along all cosines, so the fit moves by about size · margin / p²: far less than the tenth.
        assert explained_accuracy(one) == pytest.approx(explained)


def test_softmax_collapse_counts_what_float32_rounds_away():
    """10 wrong logits at −x sum to 10 exp(−x), which is 2⁻²⁴ at x = log(10 · 2²⁴)."""
    edge = math.log(10 * 2**24)
    L = torch.zeros(P, P, P, dtype=torch.float64).scatter_(-1, Task(P).labels[..., None], edge - 1e-6)
    L[:3] = torch.zeros(3, P, P, dtype=torch.float64).scatter_(-1, Task(P).labels[:3, :, None], edge + 1e-6)
    mask = torch.ones(P, P, dtype=torch.bool)
    acts = interp.Activations(L, torch.rand(P, P, 6), torch.full((P, P, 1, 3), 1 / 3))
    assert losses.softmax_collapse(subject(acts, torch.eye(P), torch.eye(P)[:6], Task(P), mask)) == 3 / P


def test_effective_rank_of_known_singular_values():
    """n equal ones have rank n; (1/2, 1/4, 1/4) the exponential of their entropy, 2^1.5."""
    assert weights.effective_rank_of(torch.eye(7)) == pytest.approx(7)
    assert weights.effective_rank_of(torch.diag(torch.tensor([2.0, 1.0, 1.0]))) == pytest.approx(2**1.5)
    assert weights.effective_rank_of(torch.ones(4, 5)) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("operation", ["add", "subtract"])
def test_phase_alignment_is_the_cosine_of_the_difference_of_phases(operation):
    """Neurons cos(w a − φ) + cos(±w b − ψ) + a product have φ_a − φ_b = φ − ψ, for a − b after b → −b."""
    p, k, sign = P, 2, 1 if operation == "add" else -1
    a = 2 * math.pi * k / p * torch.arange(p).double()
    phases = torch.tensor([[0.3, 0.3], [1.0, 0.5], [2.0, -1.0]])
    parts = [torch.cos(a[:, None] - x) + torch.cos(sign * a[None, :] - y) for x, y in phases]
    acts = interp.Activations(
        analytic_activations(p, {k: 5.0}, Task(p, operation).labels, torch.zeros(p, p, 3)).logits,
        torch.stack(parts, -1).float(), torch.full((p, p, 1, 3), 1 / 3),
    )  # fmt: skip
    one = subject(acts, torch.eye(p), torch.eye(p)[:3], Task(p, operation))
    expected = float((phases[:, 0] - phases[:, 1]).cos().mean())
    assert neurons.phase_alignment(one) == pytest.approx({k: expected}, abs=1e-6)


def test_translation_share_of_a_circulant_is_one_and_of_another_less():
    i = torch.arange(P)
    values = torch.rand(P, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert explained_by_difference(values[(i[:, None] - i) % P]) == pytest.approx(1)
    halves = torch.zeros(4, 4, dtype=torch.float64)
    halves[0, 1] = halves[1, 0] = 1  # at i − j = 1 and 3 one of four entries: means 1/4, 0, 1/4 of variance 1/72
    mean = 2 / 12
    total = mean * (1 - mean)
    between = (2 * (1 / 4 - mean) ** 2 + mean**2) / 3
    assert explained_by_difference(halves) == pytest.approx(between / total)
    diagonal = halves + 5 * torch.eye(4, dtype=torch.float64)  # entries on the diagonal do not count
    assert explained_by_difference(diagonal) == pytest.approx(between / total)
    assert math.isnan(explained_by_difference(torch.full((4, 4), 3.0)))


def test_translation_share_is_that_of_the_inputs_gradients_written_out(small_run):
    """M by its definition: a Jacobian of the centred logits for each of all pairs, by autograd, in float64."""
    checkpoint = small_run[-1]
    p, W = checkpoint.task.p, {name: weight.double() for name, weight in checkpoint.weights.items()}
    pairs, network = interp.networks.Pairs.all(p), checkpoint.config
    M = torch.zeros(p, p, dtype=torch.float64)
    for a, b in zip(pairs.a.tolist(), pairs.b.tolist(), strict=True):

        def centred(one_hots, a=a, b=b):
            """Logits of a pair whose embeddings are mixtures: rows p + 1 and p + 2 of a longer vocabulary."""
            W_E = torch.stack([one_hots[0] @ W["W_E"][:p], one_hots[1] @ W["W_E"][:p], W["W_E"][p]])
            few = interp.networks.Pairs(2, torch.tensor([0]), torch.tensor([1]))
            L = network.run({**W, "W_E": W_E}, few).logits[0, :p]
            return L - L.mean()

        one_hots = torch.nn.functional.one_hot(torch.tensor([a, b]), p).double()
        for J in torch.autograd.functional.jacobian(centred, one_hots).unbind(1):  # [c, i] of a and of b
            M += J.T @ J
    M = M - M.mean(0) - M.mean(1, keepdim=True) + M.mean()
    off = [[M[i, (i - d) % p] for i in range(p)] for d in range(1, p)]
    by_difference = torch.tensor(off)
    expected = by_difference.mean(1).var(correction=0) / by_difference.var(correction=0)
    m = interp.progress_measures(checkpoint, measures=["translation_share"])
    assert m["translation_share"] == pytest.approx(float(expected), rel=1e-4)  # gradients there are float32


def test_the_squared_standard_error_is_the_variance_of_the_mean_over_all_samples():
    """Of six values three are drawn: over all 20 samples the mean of its square is the variance of the sample means."""
    values = torch.tensor([1.0, 2.0, 4.0, 8.0, 16.0, 32.0], dtype=torch.float64)
    drawn = [values[list(chosen)] for chosen in itertools.combinations(range(6), 3)]
    means = torch.stack([one.mean() for one in drawn])
    squares = [standard_error(one, 6) ** 2 for one in drawn]
    assert sum(squares) / 20 == pytest.approx(float(means.var(correction=0)), rel=1e-12)
    assert standard_error(values, 6) == 0
    assert math.isnan(standard_error(values[:1], 6))


SAMPLED = {"all_to": 2, "sample": 60}  # of 169 pairs


def test_a_sampled_measure_is_that_of_its_pairs_by_hand(small_run):
    """Cosines of autograd's gradients; the share from M of the sample, its error from M with one pair left out."""
    one = small_run[-1]
    the_subject = one.subject()
    pairs = mechanism.sample_of(13, **SAMPLED)
    assert len({(a, b) for a, b in zip(pairs.a.tolist(), pairs.b.tolist(), strict=True)}) == 60
    of_a, of_b = (g.double() for g in one.config.input_gradients(one.weights, pairs))
    cosines = (of_a * of_b).sum(-1) / (of_a.norm(dim=-1) * of_b.norm(dim=-1))
    assert gradient_symmetricity(the_subject, **SAMPLED) == pytest.approx(float(cosines.mean()), rel=1e-6)
    spread = math.sqrt((1 - 60 / 169) * float(cosines.mean(1).var()) / 60)
    assert mechanism.gradient_symmetricity_error(the_subject, **SAMPLED) == pytest.approx(spread, rel=1e-6)

    W = one.weights["W_E"][:13].double()
    J = torch.stack([(g - g.mean(1, keepdim=True)) @ W.T for g in (of_a, of_b)])  # [input, pair, c, i]
    each = torch.einsum("xnci, xncj -> nij", J, J)
    shares = torch.tensor([mechanism.translation_share_of(each.sum(0) - left_out) for left_out in each])
    share = mechanism.translation_share_of(each.sum(0))
    assert translation_share(the_subject, **SAMPLED) == pytest.approx(share, rel=1e-6)
    jackknife = math.sqrt((1 - 60 / 169) * 59 / 60 * float((shares - shares.mean()).square().sum()))
    assert mechanism.translation_share_error(the_subject, **SAMPLED) == pytest.approx(jackknife, rel=1e-4)


def test_standard_errors_cover_the_value_of_all_pairs(small_run, monkeypatch):
    """Over 40 samples of 40 pairs: 38 intervals of two standard errors should hold it, hardly ever under 33."""
    whole = small_run[-1].subject()
    all_pairs = {one: one(whole) for one in (gradient_symmetricity, translation_share)}
    errors = {
        gradient_symmetricity: mechanism.gradient_symmetricity_error,
        translation_share: mechanism.translation_share_error,
    }
    assert [error(whole) for error in errors.values()] == [0, 0]
    covered = dict.fromkeys(errors, 0)
    for seed in range(40):
        drawn = torch.randperm(169, generator=torch.Generator().manual_seed(seed))[:40]
        every = interp.networks.Pairs.all(13)
        sample = interp.networks.Pairs(13, every.a[drawn], every.b[drawn])
        monkeypatch.setattr(mechanism, "sample_of", lambda *_, sample=sample: sample)
        sampled = small_run[-1].subject()
        for one, error in errors.items():
            covered[one] += abs(one(sampled) - all_pairs[one]) <= 2 * error(sampled)
    assert min(covered.values()) >= 33
    assert sum(covered.values()) < 80  # intervals that always hold it would be too wide


def test_a_measure_and_its_standard_error_are_one_line(declared):
    @interp.measure(title="mean of a sample")
    def sampled(subject):
        return 0.33412

    @interp.measure(error_of="sampled", on_request=True)
    def sampled_error(subject):
        return 0.01403

    m = of_subject(of_waves(), chosen(["sampled"]))
    assert str(m).splitlines()[1].split(maxsplit=1) == ["sampled", "0.334 ± 0.014"]
    assert "sampled_error" not in str(m)
    assert m.row() == {"step": None, "sampled": 0.33412, "sampled_error": 0.01403}
    alone = of_subject(of_waves(), chosen([sampled_error]))
    assert str(alone).splitlines()[1].split() == ["sampled_error", "0.01403"]
    with pytest.raises(ConfigError, match=r"error_of must name a measure that is declared already; got 'nothing'\."):
        interp.measure(name="other", error_of="nothing")(lambda subject: 1.0)


def test_a_network_without_weights_has_no_alignment_with_its_gradient(small_run):
    still = replace(small_run[-1], weights={name: torch.zeros_like(w) for name, w in small_run[-1].weights.items()})
    m = interp.progress_measures(still, measures=["naive_loss_minimization"])
    assert m["naive_loss_minimization"] is None
    assert m.missing["naive_loss_minimization"] == "the weights or the gradient of the train loss are zero"


def test_naive_loss_minimization_is_the_cosine_of_a_step_with_the_weights(small_run):
    """By finite differences: the loss falls along θ/‖θ‖ at the rate cosine · ‖gradient‖. Losses are float64."""
    checkpoint = interp.load_checkpoint(small_run.file(60), split=small_run.train_mask)
    cosine = interp.progress_measures(checkpoint, measures=["naive_loss_minimization"])["naive_loss_minimization"]
    W = {name: weight.double() for name, weight in checkpoint.weights.items()}
    size = math.sqrt(sum(float(w.square().sum()) for w in W.values()))
    network, mask = checkpoint.config, checkpoint.train_mask
    gradient = interp.subjects.activations.loss_gradient(network, W, mask, checkpoint.task.labels)

    def loss(scale: float) -> float:
        pairs = interp.networks.Pairs(13, *mask.nonzero(as_tuple=True))
        logits = network.run({n: scale * w for n, w in W.items()}, pairs).logits
        return float(torch.nn.functional.cross_entropy(logits, checkpoint.task.labels[mask]))

    step = 1e-5
    slope = (loss(1 + step) - loss(1 - step)) / (2 * step) / size
    norm = math.sqrt(sum(float(g.square().sum()) for g in gradient.values()))
    assert cosine == pytest.approx(-slope / norm, rel=1e-4)


def test_graduation_by_hand():
    """Of three test pairs one is right from step 0, one from 20 after a relapse, and one never."""
    answered = np.array([[[1, 1], [0, 0]], [[1, 0], [0, 1]], [[1, 1], [0, 1]]], dtype=bool)
    mask = np.array([[False, False], [False, True]])
    frame = pd.DataFrame({"step": [0, 10, 20]})
    frame.attrs["arrays"] = interp.Arrays(np.array([0, 10, 20]), mask, {"answered": answered})
    g = interp.graduation(frame)
    np.testing.assert_array_equal(g.steps, [[0, 20], [np.nan, 10]])
    assert (g.first_quarter, g.half, g.three_quarters) == (0, 20, None)
    assert g.missing == {"three_quarters": "2 of 3 test pairs graduate"}
    assert g.graduated(np.array([0, 10, 20])).tolist() == pytest.approx([1 / 3, 1 / 3, 2 / 3])
    with pytest.raises(ConfigError, match="graduation"):
        interp.graduation(pd.DataFrame({"step": [0]}))


def test_the_further_measures_of_the_shipped_run(shipped):
    """At step 11,000, as shared definitions give them: to 1e-4, translation_share to three standard errors."""
    names = ["explained_accuracy", "softmax_collapse", "naive_loss_minimization", "effective_rank", "phase_alignment",
             "translation_share"]  # fmt: skip
    m = interp.progress_measures(shipped.at(11_000), measures=names)
    assert m["explained_accuracy"] == pytest.approx(0.48954, rel=1e-4)
    assert m["softmax_collapse"] == pytest.approx(0.52010, rel=1e-4)
    assert m["naive_loss_minimization"] == pytest.approx(0.91204, rel=1e-4)
    assert m["effective_rank"] == pytest.approx({"W_E": 36.990, "W_in": 42.553, "W_out": 52.160}, rel=1e-4)
    discs = {14: 0.99996, 35: 0.99977, 41: 0.99997, 42: 0.99998, 52: 0.99994}
    assert m["phase_alignment"] == pytest.approx(discs, rel=1e-4)
    assert m["translation_share"] == pytest.approx(0.9757, abs=3 * m["translation_share_error"])
    assert m["translation_share_error"] < 0.005


def test_a_subject_is_gone_when_nothing_holds_it(shipped):
    """With a circle of references, the arrays of many checkpoints would wait for the garbage collector."""
    gc.collect()
    gc.disable()
    try:
        measured = shipped.at(9_000).subject()
        evaluate(measured, chosen(None) + chosen(["naive_loss_minimization"]))
        seen = weakref.ref(measured)
        del measured
        assert seen() is None
    finally:
        gc.enable()


# ── what a measure must leave alone ──────────────────────────────────────────────────────────────────────────────


def test_a_measure_that_changes_what_it_is_the_first_to_read_is_refused_and_the_checkpoint_stays(small_run):
    """In any order; and a measure of the same checkpoint afterwards gives what it gave before."""
    checkpoint = small_run[-1]
    before = interp.progress_measures(checkpoint, measures=["test_loss"]).test_loss

    def centred(subject):
        W = subject.W_E
        W -= W.mean(0)
        return float(W.max())

    def silent(subject):
        x = subject.logits
        x *= 0
        return 1.0

    for measures, said in [([centred], "W_E"), ([silent, "test_loss"], "logits"), (["test_loss", silent], "logits")]:
        with pytest.raises(ConfigError, match=f"must leave its subject as it is; it changes {said}"):
            interp.progress_measures(checkpoint, measures=measures)
        assert interp.progress_measures(checkpoint, measures=["test_loss"]).test_loss == before


def test_a_measure_may_not_take_the_name_of_a_column(declared):
    for name in ("excluded_loss_14", "cos_coefficient_3"):
        with pytest.raises(ConfigError, match=f"{name} is a column of one of interp's own measures"):
            interp.measure(name=name)(lambda subject: 1.0)
