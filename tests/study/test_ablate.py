"""Each ablation through hooks equals the same change made directly on tensors; the hooks are gone afterwards."""

import pytest
import torch

import interp
from interp import ConfigError, Task, ablate
from interp.measures import losses, neurons
from interp.tasks.fourier import fourier_basis, frequency_rows
from tests import layouts
from tests.layouts import mlp_weights
from tests.models import random_weights, sizes
from tests.processes import outside
from tests.runs.test_published import here
from tests.wild import PUBLISHED

BIASES = ("b_Q", "b_K", "b_V", "b_O", "b_U")


def checkpoint(p: int, operation: str = "add") -> interp.Checkpoint:
    config = sizes(p)
    return interp.Checkpoint(
        random_weights(config, seed=p, biases=BIASES),
        config,
        Task(p, operation),
        train_mask=interp.split_mask(p, 0.4, 1),
    )


def from_parts(ckpt: interp.Checkpoint, pattern: torch.Tensor | None = None, change=None) -> torch.Tensor:
    """Logits [p, p, p] in float64 by the definition of the network, with another pattern, or other neurons."""
    w = {name: weight.double() for name, weight in ckpt.weights.items()}
    p = ckpt.task.p
    a, b = torch.meshgrid(torch.arange(p), torch.arange(p), indexing="ij")
    x = torch.stack([w["W_E"][a], w["W_E"][b], w["W_E"][p].expand(p, p, -1)], 2) + w["W_pos"]
    q, k, v = (torch.einsum("abxm,hmd->abhxd", x, w[f"W_{n}"]) + w[f"b_{n}"][:, None] for n in "QKV")
    if pattern is None:
        pattern = (q[..., -1:, :] @ k.transpose(-1, -2) / q.shape[-1] ** 0.5).softmax(-1)[..., 0, :]
    z = torch.einsum("abhx,abhxd->abhd", pattern.double(), v)
    mid = x[:, :, -1] + torch.einsum("abhd,hdm->abm", z, w["W_O"]) + w["b_O"]
    acts = (mid @ w["W_in"] + w["b_in"]).relu()
    acts = acts if change is None else change(acts)
    return ((mid + acts @ w["W_out"] + w["b_out"]) @ w["W_U"] + w["b_U"])[..., :p]


def wave_part(maps: torch.Tensor, frequencies) -> torch.Tensor:
    """The part of maps [p, p, d] in the products of constant, cosine and sine of one frequency, one at a time."""
    F = fourier_basis(len(maps))
    out = torch.zeros_like(maps, dtype=torch.float64)
    for k in frequencies:
        rows = [0, *frequency_rows(len(maps), k)]
        for x in rows:
            for y in rows:
                if (x, y) != (0, 0):
                    wave = torch.outer(F[x], F[y])
                    out += wave[..., None] * torch.einsum("ab,abd->d", wave, maps.double())
    return out


def mean_of(maps: torch.Tensor) -> torch.Tensor:
    return maps.double().mean((0, 1))


def own_fit(maps: torch.Tensor) -> torch.Tensor:
    own = neurons.neuron_frequencies(neurons.frequency_shares(maps.float()))
    fits = [wave_part(maps[..., i : i + 1], [int(k)]) for i, k in enumerate(own)]
    return torch.cat(fits, -1) + mean_of(maps)


def assert_scores(effect: ablate.Effect, ckpt: interp.Checkpoint, L: torch.Tensor) -> None:
    """1e-5: float32 in the bridge, float64 here."""
    nll, train = losses.cross_entropy(L, ckpt.task.labels), ckpt.train_mask
    right = losses.correct(L, ckpt.task.labels).double()
    after = effect.after
    assert after.loss == pytest.approx(float(nll.mean()), rel=1e-5)
    assert after.train_loss == pytest.approx(float(nll[train].mean()), rel=1e-5)
    assert after.test_loss == pytest.approx(float(nll[~train].mean()), rel=1e-5)
    assert after.accuracy == pytest.approx(float(right.mean()))
    assert after.test_accuracy == pytest.approx(float(right[~train].mean()))
    assert effect.before.loss == pytest.approx(
        float(losses.cross_entropy(from_parts(ckpt), ckpt.task.labels).mean()), rel=1e-5
    )
    assert after.loss != pytest.approx(effect.before.loss, rel=1e-4)  # it did something


@pytest.mark.parametrize(
    ("p", "choice"),
    [
        (11, {"remove": [2, 5]}),
        (11, {"keep": [2, 5]}),
        (12, {"remove": [2, 6]}),  # k = 6 is the alternating wave, without a sine
        (12, {"keep": [6]}),
    ],
)
def test_waves_of_the_embedding(p, choice):
    ckpt = checkpoint(p)
    F, W = fourier_basis(p), ckpt.weights["W_E"][:p].double()
    named = [0] * ("keep" in choice) + [row for k in next(iter(choice.values())) for row in frequency_rows(p, k)]
    part = F[named].T @ F[named] @ W
    changed = {**ckpt.weights, "W_E": ckpt.weights["W_E"].clone()}
    changed["W_E"][:p] = (part if "keep" in choice else W - part).float()
    L = from_parts(interp.Checkpoint(changed, ckpt.config, ckpt.task))
    assert_scores(ablate.embedding(ckpt, **choice), ckpt, L)


@pytest.mark.parametrize("p", [11, 12])
def test_waves_of_the_neurons(p):
    ckpt = checkpoint(p)
    removed = from_parts(ckpt, change=lambda acts: acts - wave_part(acts, [1, 4]))
    assert_scores(ablate.neurons(ckpt, remove=[1, 4]), ckpt, removed)
    kept = from_parts(ckpt, change=lambda acts: wave_part(acts, [1, 5]) + mean_of(acts))
    assert_scores(ablate.neurons(ckpt, keep=[1, 5]), ckpt, kept)


@pytest.mark.parametrize("operation", ["add", "subtract"])
def test_waves_of_the_logits_give_restricted_and_excluded_loss(operation):
    ckpt = checkpoint(11, operation)
    m = interp.progress_measures(ckpt, key_frequencies=[1, 3])
    kept, removed = ablate.logits(ckpt, keep=[1, 3]).after, ablate.logits(ckpt, remove=[1, 3]).after
    assert kept.loss == pytest.approx(m.restricted_loss, rel=1e-5)
    assert kept.test_loss == pytest.approx(m.restricted_test_loss, rel=1e-5)
    assert removed.train_loss == pytest.approx(m.excluded_loss, rel=1e-5)
    one = ablate.logits(ckpt, remove=[3]).after
    assert one.train_loss == pytest.approx(m.excluded_loss_by_frequency[3], rel=1e-5)


@pytest.mark.parametrize("p", [11, 12])
def test_attention_by_its_mean_and_by_its_fit(p):
    ckpt = checkpoint(p)
    pattern = interp.activations(ckpt).pattern.double()
    mean = mean_of(pattern.flatten(2)).view(pattern.shape[2:]).expand_as(pattern)
    assert_scores(ablate.attention(ckpt), ckpt, from_parts(ckpt, pattern=mean))
    fit = own_fit(pattern.flatten(2)).view(pattern.shape)
    assert_scores(ablate.attention(ckpt, "degree-2"), ckpt, from_parts(ckpt, pattern=fit))


def test_neurons_by_their_fits():
    ckpt = checkpoint(12)
    assert_scores(ablate.neuron_fits(ckpt), ckpt, from_parts(ckpt, change=own_fit))


@pytest.mark.parametrize("by", ["zero", "mean"])
def test_clusters_of_neurons(shipped, by):
    """On the shipped network, whose neurons have clusters: the cluster of k = 14, and what is in none."""
    ckpt = shipped[-1]
    acts = interp.activations(ckpt)
    shares = neurons.frequency_shares(acts.neurons)
    cluster = neurons.clusters(shares)[14]
    rest = (~neurons.is_single_frequency(shares)).nonzero().flatten()
    W_L = (ckpt.weights["W_out"] @ ckpt.weights["W_U"])[:, :113]
    for chosen, effect in [(cluster, ablate.clusters(ckpt, [14], by)), (rest, ablate.unclustered(ckpt, by=by))]:
        lost = acts.neurons[..., chosen] - (acts.neurons[..., chosen].mean((0, 1)) if by == "mean" else 0)
        nll = losses.cross_entropy(acts.logits - lost @ W_L[chosen], ckpt.task.labels)
        assert effect.after.loss == pytest.approx(float(nll.mean()), rel=1e-3)  # losses near 1e-7, from float32 logits
        assert effect.after.loss > effect.before.loss


@pytest.mark.parametrize("p", [11, 12])
def test_the_neuron_logit_map_in_some_directions_only(p):
    ckpt = checkpoint(p)
    w = {name: weight.double() for name, weight in ckpt.weights.items()}
    W_L, F = (w["W_out"] @ w["W_U"])[:, :p], fourier_basis(p)
    rows = [row for k in (2, 5) for row in frequency_rows(p, k)]
    kept = W_L @ F[rows].T @ F[rows]
    acts = []
    L = from_parts(ckpt, change=lambda x: acts.append(x) or x)
    assert_scores(ablate.output_directions(ckpt, [2, 5]), ckpt, L + acts[0] @ (kept - W_L))


def test_causes_in_the_shipped_network(shipped):
    """Its circuit is its key frequencies: what is not of them does harm or nothing, and each of them is needed."""
    ckpt = shipped[-1]
    keys = interp.progress_measures(ckpt).key_frequencies
    kept = ablate.logits(ckpt, keep=keys)
    assert kept.after.test_loss < kept.before.test_loss
    for k in keys:
        lost = ablate.logits(ckpt, remove=[k])
        assert lost.after.test_loss > 100 * lost.before.test_loss
    assert ablate.neurons(ckpt, keep=keys).after.test_loss < kept.before.test_loss
    assert ablate.neuron_fits(ckpt).after.test_loss < kept.before.test_loss
    assert ablate.attention(ckpt).after.test_accuracy < 0.95
    assert ablate.output_directions(ckpt, keys).after.test_accuracy == 1


def test_hooks_are_gone_afterwards_also_after_an_exception(small_run):
    ckpt = small_run[-1]
    bridge = ckpt.model()
    tokens = torch.tensor([[1, 2, 13]])
    before = bridge(tokens)
    ablate.through_hooks(ckpt, [("blocks.0.mlp.hook_post", lambda x, hook: 0 * x)], bridge=bridge)
    assert torch.equal(bridge(tokens), before)

    def fail(x, hook):
        raise RuntimeError("in the middle")

    with pytest.raises(RuntimeError, match="in the middle"):
        ablate.through_hooks(ckpt, [("blocks.0.mlp.hook_post", fail)], bridge=bridge)
    assert torch.equal(bridge(tokens), before)


def test_an_effect_prints_and_becomes_a_row(small_run):
    effect = ablate.logits(small_run[-1], keep=[1])
    assert str(effect).startswith("logits only k = 1\n")
    assert "test_loss" in str(effect)
    row = effect.row()
    assert row["ablation"] == "logits only k = 1"
    assert row["test_loss_after"] == effect.after.test_loss
    unsplit = interp.Checkpoint(small_run[-1].weights, small_run[-1].config, small_run.task)
    without = ablate.logits(unsplit, keep=[1])
    assert without.after.test_loss is None
    assert "test_loss" not in str(without)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda c: ablate.logits(c), "either remove or keep must name frequencies; got neither"),
        (lambda c: ablate.neurons(c, remove=[1], keep=[2]), "either remove or keep must name frequencies; got both"),
        (
            lambda c: ablate.through_hooks(c, [("nope", lambda x, hook: x)]),
            "hooks must name hook points of this model, which are .*hook_embed.*; got nope",
        ),
        (lambda c: ablate.embedding(c, remove=[0, 9]), r"frequencies of p = 13 must be from 1 to 6; got \[0, 9\]"),
    ],
)
def test_arguments_that_do_not_fit_are_said(small_run, call, said):
    with pytest.raises(ConfigError, match=said):
        call(small_run[-1])


def test_a_task_without_frequencies_is_refused(small_run):
    last = small_run[-1]
    quadratic = interp.Checkpoint(last.weights, last.config, Task(13, "quadratic"))
    with pytest.raises(ConfigError, match="there is no frequency to remove or keep"):
        ablate.logits(quadratic, keep=[1])


def test_frequencies_of_another_kind_are_one_sentence(small_run):
    """In a process of its own: here the tests' own type checks would speak first."""
    printed = outside(
        f"""
        import interp
        ckpt = interp.load_checkpoint({str(small_run.file(60))!r})
        for keep in ("14", [1.5], 3, [True]):
            try:
                interp.ablate.logits(ckpt, keep=keep)
            except interp.ConfigError as error:
                print(error)
        """
    ).splitlines()
    must = "frequencies must be whole numbers, such as [14, 35]; got "
    assert printed == [f"{must}{given}." for given in ("'14'", "[1.5]", "3", "[True]")]


# ── networks of one hidden layer ─────────────────────────────────────────────────────────────────────────────────


def one_hidden_layer(p: int, inputs: str = "concatenated", operation: str = "add") -> interp.Checkpoint:
    config = interp.OneHiddenLayer(p, p, d_embed=10, d_hidden=24, inputs=inputs)
    weights = {name: 3 * weight for name, weight in mlp_weights(config, seed=p).items()}  # logits of order one
    return interp.Checkpoint(weights, config, Task(p, operation), train_mask=interp.split_mask(p, 0.4, 1))


def mlp_parts(ckpt: interp.Checkpoint, change=lambda acts: acts, **tables: torch.Tensor) -> torch.Tensor:
    """Logits [p, p, p] in float64 by the definition of the network, with other neurons, or other embeddings."""
    w = {name: weight.double() for name, weight in {**ckpt.weights, **tables}.items()}
    W_a, W_b = w["W"].split(10) if ckpt.config.inputs == "concatenated" else (w["W"], w["W"])
    acts = ((w["W_x"] @ W_a)[:, None] + (w["W_y"] @ W_b)[None]).relu()
    return change(acts) @ w["W_U"]


def assert_effect(effect: ablate.Effect, ckpt: interp.Checkpoint, L: torch.Tensor) -> None:
    """1e-5: float32 in the network, float64 here."""
    train = ckpt.train_mask
    for scores, logits in [(effect.before, mlp_parts(ckpt)), (effect.after, L)]:
        nll, right = losses.cross_entropy(logits, ckpt.task.labels), losses.correct(logits, ckpt.task.labels).double()
        assert scores.loss == pytest.approx(float(nll.mean()), rel=1e-5)
        assert scores.train_loss == pytest.approx(float(nll[train].mean()), rel=1e-5)
        assert scores.test_loss == pytest.approx(float(nll[~train].mean()), rel=1e-5)
        assert scores.test_accuracy == pytest.approx(float(right[~train].mean()))
    assert effect.after.loss != pytest.approx(effect.before.loss, rel=1e-4)


@pytest.mark.parametrize("inputs", ["concatenated", "summed"])
@pytest.mark.parametrize("p", [11, 12])
def test_one_hidden_layer_by_parts(p, inputs):
    ckpt = one_hidden_layer(p, inputs)
    F, rows = fourier_basis(p), [row for k in (2, 5) for row in frequency_rows(p, k)]
    parts = {name: F[rows].T @ F[rows] @ ckpt.weights[name].double() for name in ("W_x", "W_y")}
    removed = {name: ckpt.weights[name] - part for name, part in parts.items()}
    kept = {name: part + ckpt.weights[name].double().mean(0) for name, part in parts.items()}
    assert_effect(ablate.embedding(ckpt, remove=[2, 5]), ckpt, mlp_parts(ckpt, **removed))
    assert_effect(ablate.embedding(ckpt, keep=[2, 5]), ckpt, mlp_parts(ckpt, **kept))
    by_neurons = [
        (ablate.neurons(ckpt, remove=[1, 4]), lambda acts: acts - wave_part(acts, [1, 4])),
        (ablate.neurons(ckpt, keep=[1, 4]), lambda acts: wave_part(acts, [1, 4]) + mean_of(acts)),
        (ablate.neuron_fits(ckpt), own_fit),
    ]
    for effect, change in by_neurons:
        assert_effect(effect, ckpt, mlp_parts(ckpt, change))
    W_U = ckpt.weights["W_U"].double() @ F[rows].T @ F[rows]
    assert_effect(ablate.output_directions(ckpt, [2, 5]), ckpt, mlp_parts(ckpt, W_U=W_U))


@pytest.mark.parametrize("operation", ["add", "subtract"])
def test_logits_of_one_hidden_layer_give_restricted_and_excluded_loss(operation):
    ckpt = one_hidden_layer(11, operation=operation)
    m = interp.progress_measures(ckpt, key_frequencies=[1, 3])
    kept, removed = ablate.logits(ckpt, keep=[1, 3]).after, ablate.logits(ckpt, remove=[1, 3]).after
    assert kept.loss == pytest.approx(m.restricted_loss, rel=1e-5)
    assert kept.test_loss == pytest.approx(m.restricted_test_loss, rel=1e-5)
    assert removed.train_loss == pytest.approx(m.excluded_loss, rel=1e-5)


def test_to_remove_nothing_or_to_keep_all():
    """An embedding is its mean and all its waves; what depends on a + b alone is its mean and all waves of a + b."""
    ckpt = one_hidden_layer(11)
    same = [change(ckpt, remove=[]) for change in (ablate.embedding, ablate.neurons, ablate.logits)]
    for effect in [*same, ablate.embedding(ckpt, keep=range(1, 6))]:
        assert effect.after.loss == pytest.approx(effect.before.loss, rel=1e-6)
    L, labels = mlp_parts(ckpt), ckpt.task.labels
    of_sums = torch.stack([L[labels == s].mean(0) for s in range(11)])[labels]
    assert_effect(ablate.logits(ckpt, keep=range(1, 6)), ckpt, of_sums)


def test_attention_of_one_hidden_layer_is_refused():
    said = r"attention\(\) needs a network with attention; one_hidden_layer has none"
    with pytest.raises(ConfigError, match=said):
        ablate.attention(one_hidden_layer(11))


@pytest.mark.parametrize("outputs", [11, 12, 22])
def test_outputs_beyond_the_numbers_do_not_count_and_do_not_change(outputs):
    """A transformer of p, p + 1 and 2p outputs: the scores read the first p of them."""
    config = (
        layouts.transformer(2, own_tokens=outputs == 22, outputs=outputs) if outputs != 12 else layouts.transformer(3)
    )
    ckpt = interp.Checkpoint(random_weights(config, seed=4), config, Task(11), train_mask=interp.split_mask(11, 0.4, 1))
    m = interp.progress_measures(ckpt, key_frequencies=[1, 3])
    assert ablate.logits(ckpt, keep=[1, 3]).after.loss == pytest.approx(m.restricted_loss, rel=1e-5)
    W_L = (ckpt.weights["W_out"] @ ckpt.weights["W_U"])[:, :11].double()
    acts = interp.activations(ckpt)
    F, rows = fourier_basis(11), [row for k in (2, 5) for row in frequency_rows(11, k)]
    L = acts.logits.double() + acts.neurons.double() @ (W_L @ F[rows].T @ F[rows] - W_L)
    expected = float(losses.cross_entropy(L, ckpt.task.labels).mean())
    assert ablate.output_directions(ckpt, [2, 5]).after.loss == pytest.approx(expected, rel=1e-5)


@here
def test_causes_in_a_published_network_of_one_hidden_layer():
    """Its logits, neurons and W_U answer through the key frequencies (published: 4, 11, 16, 17, 22, 44, 50)."""
    ckpt = interp.load_checkpoint(PUBLISHED / "mlp_p113_seed1.pt", split="torch", seed=1)
    keys = [4, 11, 16, 17, 22, 44, 50]
    kept = ablate.logits(ckpt, keep=keys)
    assert kept.before.test_loss == pytest.approx(2.863283e-5, rel=1e-4)
    assert kept.after.loss == pytest.approx(1.264704e-5, rel=1e-4)  # the published restricted loss
    assert ablate.logits(ckpt, remove=keys).after.train_loss == pytest.approx(3.480368, rel=1e-4)  # and excluded loss
    assert ablate.output_directions(ckpt, keys).after.test_accuracy == 1
    acts = interp.activations(ckpt)
    shares = neurons.frequency_shares(acts.neurons)
    k, cluster = max(neurons.clusters(shares).items(), key=lambda item: len(item[1]))
    for by in ("zero", "mean"):
        lost = acts.neurons[..., cluster] - (acts.neurons[..., cluster].mean((0, 1)) if by == "mean" else 0)
        nll = losses.cross_entropy(acts.logits - lost @ ckpt.weights["W_U"][cluster], ckpt.task.labels)
        assert ablate.clusters(ckpt, [k], by).after.loss == pytest.approx(float(nll.mean()), rel=1e-3)
    assert ablate.unclustered(ckpt).after.loss != kept.before.loss
