"""What a training does to its weights, setting by setting, against definitions worked out by hand or torch's own."""

import json
import math
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import pytest
import torch
from torch.nn import functional

import interp
from interp import ConfigError, TrainConfig
from interp.networks import LayeredTransformer, OneHiddenLayer, Pairs, Transformer
from interp.networks.taps import UNTAPPED
from interp.runs.config import OF_DEFAULT_NETWORK
from interp.runs.directory import write_config
from interp.training import updates
from tests.processes import outside

SMALL = TrainConfig(
    p=7, train_fraction=0.6, d_model=8, n_heads=2, d_mlp=12, steps=6, warmup_steps=0, history_every=1,
    checkpoint_steps=(0, 1, 2, 3, 4, 5, 6), learning_rate=0.01,
)  # fmt: skip

ONE_LAYER = {"network": OneHiddenLayer(d_hidden=8)} | {n: getattr(TrainConfig, n) for n in OF_DEFAULT_NETWORK}


@pytest.fixture
def trained(tmp_path):
    def train(**settings):
        return interp.train(replace(SMALL, **settings), tmp_path / str(sorted(settings)), progress=False)

    return train


def gradients(config: TrainConfig, weights: dict) -> dict:
    """∂(train loss)/∂W by autograd."""
    weights = {name: weight.clone().requires_grad_() for name, weight in weights.items()}
    pairs = Pairs(config.p, *config.train_mask.nonzero(as_tuple=True))
    logits = config.model.forward(weights, pairs, UNTAPPED).double()
    functional.cross_entropy(logits, config.task.labels[config.train_mask]).backward()
    return {name: weight.grad for name, weight in weights.items()}


def adamw(config: TrainConfig, weights: dict, gradient: dict, decay: dict) -> dict:
    """The first update of AdamW: of a new optimizer, m̂ is g and v̂ is g²."""
    eta = config.learning_rate
    return {
        name: w * (1 - eta * decay[name]) - eta * gradient[name] / (gradient[name].abs() + 1e-8)
        for name, w in weights.items()
    }


def assert_weights(run, step, expected):
    """Float32 in another order: 1e-6 of weights of order one."""
    for name, weight in run.at(step).weights.items():
        torch.testing.assert_close(weight, expected[name].float(), rtol=1e-5, atol=2e-6, msg=name)


def everywhere(config, decay):
    return dict.fromkeys(config.model.axes(), decay)


def test_adamw_with_every_weight_decaying(trained):
    run = trained()
    first = run.at(0).weights
    assert_weights(run, 1, adamw(SMALL, first, gradients(SMALL, first), everywhere(SMALL, 1.0)))


def test_chosen_weights_decay_and_the_others_do_not(trained):
    run = trained(weight_decay_on="W_E+W_out", weight_decay=3.0)
    first = run.at(0).weights
    decay = everywhere(SMALL, 0.0) | {"W_E": 3.0, "W_out": 3.0}
    assert_weights(run, 1, adamw(SMALL, first, gradients(SMALL, first), decay))


def test_l1_adds_the_sign_of_each_weight_to_its_gradient(trained):
    run = trained(l1=0.3, weight_decay=0.0)
    first = run.at(0).weights
    gradient = {name: g + 0.3 * first[name].sign() for name, g in gradients(SMALL, first).items()}
    assert_weights(run, 1, adamw(SMALL, first, gradient, everywhere(SMALL, 0.0)))
    # What is recorded is the loss alone.
    assert run.history["train_loss"].iloc[0] == pytest.approx(trained().history["train_loss"].iloc[0], rel=1e-12)


def test_sgd_is_torchs_with_momentum_and_an_l2_penalty(trained):
    settings = {"optimizer": "sgd", "momentum": 0.8, "weight_decay": 0.1, "learning_rate": 0.05}
    run, config = trained(**settings), replace(SMALL, **settings)
    weights, buffers = run.at(0).weights, {}
    for step in range(1, 4):
        for name, gradient in gradients(config, weights).items():
            pull = gradient + 0.1 * weights[name]
            buffers[name] = 0.8 * buffers[name] + pull if name in buffers else pull
        weights = {name: weight - 0.05 * buffers[name] for name, weight in weights.items()}
        assert_weights(run, step, weights)


@pytest.mark.parametrize("factor", ["out/in", "rows/columns"])
def test_muon_is_torchs_on_the_matrices_between_and_adamw_on_the_rest(trained, factor):
    """Each head's matrices are updated by themselves, as torch.optim.Muon would update that head alone.

    torch takes matrices as [out, in]: with the factor out/in that is the transpose of ours.
    """
    settings = {
        "optimizer": "muon", "momentum": 0.9, "weight_decay": 0.2, "muon_factor": factor, "muon_learning_rate": 0.03,
    }  # fmt: skip
    run, config = trained(**settings), replace(SMALL, **settings)
    first = run.at(0).weights
    gradient = gradients(config, first)
    expected = adamw(config, first, gradient, everywhere(config, 0.2))
    between = {"W_Q", "W_K", "W_V", "W_O", "W_in", "W_out"}
    for name in between:
        heads = first[name].clone().reshape(-1, *first[name].shape[-2:])
        of_heads = gradient[name].reshape(heads.shape)
        for head, its in zip(heads, of_heads, strict=True):
            turned = [x.T if factor == "out/in" else x for x in (head, its)]
            alone = turned[0].clone().requires_grad_()
            alone.grad = turned[1].clone()
            torch.optim.Muon([alone], lr=0.03, momentum=0.9, weight_decay=0.2).step()
            turned[0].copy_(alone.detach())
        expected[name] = heads.reshape(first[name].shape)
    assert_weights(run, 1, expected)


@interp.network("two_hidden_layers")
@dataclass(frozen=True)
class TwoHiddenLayers(interp.Network):
    """A network of a user: x @ W."""

    d_first: int = 16
    d_second: int = 64
    d_vocab: int | None = None

    def axes(self):
        between = ("d_second", "d_first") if self.out_first else ("d_first", "d_second")
        return {"A": ("d_vocab", "d_first"), "B": ("d_vocab", "d_first"), "W": between, "U": ("d_second", "d_vocab")}

    def initial_weights(self, seed):
        generator = torch.Generator().manual_seed(seed)
        return {name: torch.randn(*shape, generator=generator) / 8 for name, shape in self.shapes().items()}

    def forward(self, weights, pairs, tap):
        first = (weights["A"][pairs.a] + weights["B"][pairs.b]).relu()
        W = weights["W"]
        return (functional.linear(first, W) if self.out_first else first @ W).relu() @ weights["U"]


@interp.network("two_linear_layers")
@dataclass(frozen=True)
class TwoLinearLayers(TwoHiddenLayers):
    """The same with torch.nn.Linear's weights."""

    out_first: ClassVar[bool] = True


def orthogonalized(x: np.ndarray) -> np.ndarray:
    """What Muon's five Newton-Schulz steps make of singular values of a matrix of norm 1 (Jordan et al., 2024)."""
    for _ in range(5):
        x = 3.4445 * x - 4.7750 * x**3 + 2.0315 * x**5
    return x


# Each matrix that Muon updates, with how many numbers it reads and how many it gives: of p = 7, d_model 16 and 4 heads.
OF_A_BLOCK = {"attn.q": (16, 16), "attn.k": (16, 16), "attn.v": (16, 16), "attn.o": (16, 16),
              "mlp.in": (16, 64), "mlp.out": (64, 16)}  # fmt: skip
OF_A_TRANSFORMER = {"W_Q": (16, 4), "W_K": (16, 4), "W_V": (16, 4), "W_O": (4, 16), "W_in": (16, 64), "W_out": (64, 16)}
MAPS = [
    (Transformer(d_model=16, n_heads=4, d_mlp=64), OF_A_TRANSFORMER),
    (Transformer(d_model=16, n_heads=4, d_mlp=64, init="transformer_lens"), OF_A_TRANSFORMER),
    (
        LayeredTransformer(n_layers=2, d_model=16, n_heads=4, d_mlp=64),
        {f"blocks.{layer}.{name}.weight": sizes for layer in (0, 1) for name, sizes in OF_A_BLOCK.items()},
    ),
    (OneHiddenLayer(d_embed=8, d_hidden=64), {"W": (16, 64)}),
    (OneHiddenLayer(d_embed=32, d_hidden=8, inputs="summed"), {"W": (32, 8)}),
    (TwoHiddenLayers(), {"W": (16, 64)}),
    (TwoLinearLayers(), {"W": (16, 64)}),
]


@pytest.mark.parametrize(("network", "maps"), MAPS, ids=lambda one: getattr(one, "name", ""))
def test_muon_steps_by_the_root_of_outputs_over_inputs(tmp_path, network, maps):
    """The spectral norm of a step is rate · √max(1, out/in) · what Newton-Schulz makes of the largest singular value.

    That value is from 1/√(the least of both sizes) to 1 of the matrix' norm. Newton-Schulz computes in bfloat16, of 8
    bits: a step of it is right to 0.4 %, five to 3 %. The factors here are 1 and 2, which these bounds tell apart.
    """
    config = TrainConfig(
        p=7, train_fraction=0.6, network=network, optimizer="muon", weight_decay=0.0, warmup_steps=0, steps=1,
        checkpoint_steps=(0,), muon_learning_rate=0.02,
    )  # fmt: skip
    run = interp.train(config, tmp_path / "run", progress=False)
    first, then = run.at(0).weights, run.at(1).weights
    for name, (inputs, outputs) in maps.items():
        largest = torch.linalg.matrix_norm((then[name] - first[name]).double(), ord=2) / 0.02
        high = orthogonalized(np.linspace(0, 1, 10_001)).max()
        low = orthogonalized(np.linspace(1 / math.sqrt(min(inputs, outputs)), 1, 10_001)).min()
        assert 2 * 0.97 * low > 1.03 * high
        factor = math.sqrt(max(1, outputs / inputs))
        assert factor in (1, 2)
        assert ((0.97 * factor * low <= largest) & (largest <= 1.03 * factor * high)).all(), name
    # All others are AdamW's, whose first step is the rate wherever the gradient is not tiny.
    for name in set(first) - set(maps):
        assert float((then[name] - first[name]).abs().max()) <= config.learning_rate * 1.001, name


def test_muon_has_a_learning_rate_of_its_own_which_warms_up_with_the_other(trained):
    settings = {"optimizer": "muon", "weight_decay": 0.0, "warmup_steps": 2}
    plain, fast = trained(**settings), trained(**settings, muon_learning_rate=0.03)
    first = plain.at(0).weights
    between = {"W_Q", "W_K", "W_V", "W_O", "W_in", "W_out"}
    for name, weight in fast.at(2).weights.items():  # after one update of rate 0 and one of half the rate
        expected = plain.at(2).weights[name] - first[name]
        torch.testing.assert_close(weight - first[name], (3 if name in between else 1) * expected, rtol=1e-4, atol=1e-7)
    assert float((fast.at(1).weights["W_in"] - first["W_in"]).abs().max()) == 0


def test_initial_weights_are_scaled_and_their_norm_is_kept(trained):
    def norm(checkpoint):
        return math.sqrt(sum(float(w.double().square().sum()) for w in checkpoint.weights.values()))

    plain, scaled = trained(), trained(init_scale=3.0)
    for name, weight in scaled.at(0).weights.items():
        torch.testing.assert_close(weight, 3 * plain.at(0).weights[name])
    kept = trained(init_scale=3.0, fixed_norm=True)
    norms = [norm(kept.at(step)) for step in range(7)]
    assert norms == pytest.approx([norms[0]] * 7, rel=1e-6)
    # Up to that factor, the first update is the one without it.
    factor = norm(scaled.at(1)) / norms[0]
    for name, weight in kept.at(1).weights.items():
        torch.testing.assert_close(weight * factor, scaled.at(1).weights[name], rtol=1e-5, atol=1e-6)


def test_a_run_is_gone_on_with_by_the_numbers_of_the_version_that_began_it():
    """What is drawn for a seed never changes; the first two seeds are over 2⁶²."""
    drawn = [updates.generator(*stream).initial_seed() for stream in ((0, 1), (0, 2), (3, 1, 7))]
    assert drawn == [5836529245451711556, 7971947199917040255, 4439894817922774350]


def test_batches_are_cuts_of_a_shuffle_of_each_epoch():
    config = replace(SMALL, batch_size=4)
    epochs = [[updates.batch(config, 10, step).tolist() for step in range(3 * k, 3 * k + 3)] for k in range(2)]
    for epoch in epochs:
        assert [len(batch) for batch in epoch] == [4, 4, 2]
        assert sorted(place for batch in epoch for place in batch) == list(range(10))
    assert epochs[0] != epochs[1]
    assert updates.batch(replace(config, seed=1), 10, 0).tolist() != epochs[0][0]
    assert updates.batch(replace(config, batch_size=10), 10, 0) is updates.batch(SMALL, 10, 0) is None


def test_an_update_learns_from_its_batch_and_the_history_has_all_train_pairs(trained):
    run, config = trained(batch_size=5), replace(SMALL, batch_size=5)
    first, mask = run.at(0).weights, config.train_mask
    chosen = updates.batch(config, int(mask.sum()), 0)
    part = torch.zeros(49, dtype=torch.bool)
    part[mask.flatten().nonzero()[chosen, 0]] = True
    gradient = gradients(replace(config, split=part.view(7, 7)), first)
    assert_weights(run, 1, adamw(config, first, gradient, everywhere(config, 1.0)))
    assert run.history["train_loss"].iloc[0] == pytest.approx(trained().history["train_loss"].iloc[0], rel=1e-12)


def test_wrong_labels_are_as_many_as_asked_for_and_never_right():
    config = replace(SMALL, p=31, label_noise=0.25)
    right = config.task.labels[config.train_mask]
    labels = updates.train_labels(config, right)
    wrong = labels != right
    assert int(wrong.sum()) == round(0.25 * len(right))
    assert labels.min() >= 0
    assert labels.max() < 31
    # Of a wrong answer every other number is as likely: the mean of (wrong − right) mod p is (p − 1 + 1) / 2 = 15.5,
    # within 3 standard errors.
    offset = ((labels - right) % 31)[wrong].double()
    assert abs(float(offset.mean()) - 15.5) < 3 * math.sqrt((30**2 - 1) / 12 / int(wrong.sum()))
    assert torch.equal(updates.train_labels(config, right), labels)
    assert updates.train_labels(SMALL, right) is right


def test_a_network_that_learns_wrong_labels_is_recorded_against_them_and_measured_against_the_right(tmp_path):
    config = TrainConfig(
        p=11, train_fraction=0.5, label_noise=0.3, d_model=32, n_heads=2, d_mlp=64, steps=400, learning_rate=0.01,
        weight_decay=0.0, checkpoint_steps=(400,),
    )  # fmt: skip
    run = interp.train(config, tmp_path / "run", progress=False)
    assert run.history["train_accuracy"].iloc[-1] == 1
    pairs = int(config.train_mask.sum())
    acts = interp.activations(run[-1])
    right = (acts.logits.argmax(-1) == config.task.labels)[config.train_mask]
    assert int(right.sum()) == pairs - round(0.3 * pairs)


def test_dropout_drops_its_share_scales_the_rest_and_never_acts_when_measured(trained):
    config = replace(SMALL, dropout=0.25, attention_dropout=0.5)
    tap = updates.dropout(config, 3, torch.device("cpu"))
    x = tap(config.model.points.neurons, torch.ones(400, 250))
    assert x.unique().tolist() == pytest.approx([0, 4 / 3])
    # 10⁵ draws: the share has a standard deviation of 0.0014.
    assert float((x == 0).float().mean()) == pytest.approx(0.25, abs=0.006)
    assert set(tap(config.model.points.pattern, torch.ones(40, 2, 3)).unique().tolist()) == {0, 2}
    again = updates.dropout(config, 3, torch.device("cpu"))(config.model.points.neurons, torch.ones(400, 250))
    assert torch.equal(x, again)
    assert updates.dropout(SMALL, 3, torch.device("cpu")) is UNTAPPED
    run, plain = trained(dropout=0.25, attention_dropout=0.5), trained()
    assert run.history["train_loss"].iloc[0] == pytest.approx(plain.history["train_loss"].iloc[0], rel=1e-12)
    assert interp.progress_measures(run.at(0)).loss == interp.progress_measures(plain.at(0)).loss
    assert not torch.equal(run.at(1).weights["W_in"], plain.at(1).weights["W_in"])


def test_the_rate_grows_and_then_falls_to_nothing():
    config = replace(SMALL, warmup_steps=10, steps=110)
    assert [updates.warmth(config, step) for step in (0, 5, 10, 60, 110)] == [0, 0.5, 1, 1, 1]
    linear = [updates.warmth(replace(config, lr_schedule="linear"), step) for step in (5, 10, 60, 85, 110)]
    assert linear == pytest.approx([0.5, 1, 0.5, 0.25, 0])
    cosine = [updates.warmth(replace(config, lr_schedule="cosine"), step) for step in (10, 60, 110)]
    assert cosine == pytest.approx([1, 0.5, 0], abs=1e-12)
    assert updates.warmth(replace(config, lr_schedule="cosine"), 35) == pytest.approx((1 + math.sqrt(0.5)) / 2)


def test_stablemax_is_its_definition():
    """s(2) = 3, s(0) = 1, s(−1) = 1/2: probabilities 6/9, 2/9, 1/9."""
    logits = torch.tensor([[2.0, 0.0, -1.0]] * 3)
    loss = updates.training_loss(logits, torch.tensor([0, 1, 2]), "stablemax")
    assert float(loss) == pytest.approx(-np.mean(np.log([6 / 9, 2 / 9, 1 / 9])), rel=1e-14)
    # It goes on falling where cross-entropy has no digits left: by 1/s of a logit at a time.
    far = torch.tensor([[1e6, 0.0]], dtype=torch.float64)
    assert float(updates.training_loss(far, torch.tensor([0]), "stablemax")) == pytest.approx(1e-6, rel=1e-5)


def test_stablemax_is_minimized_and_cross_entropy_recorded(trained):
    run, config = trained(loss="stablemax"), replace(SMALL, loss="stablemax")
    first = {name: weight.requires_grad_() for name, weight in run.at(0).weights.items()}
    pairs = Pairs(7, *config.train_mask.nonzero(as_tuple=True))
    x = config.model.forward(first, pairs, UNTAPPED).double()
    s = torch.where(x >= 0, x + 1, 1 / (1 - x))
    labels = config.task.labels[config.train_mask]
    (-(s / s.sum(1, keepdim=True)).gather(1, labels[:, None]).log().mean()).backward()
    gradient = {name: weight.grad for name, weight in first.items()}
    first = {name: weight.detach() for name, weight in first.items()}
    assert_weights(run, 1, adamw(config, first, gradient, everywhere(config, 1.0)))
    assert run.history["train_loss"].iloc[0] == pytest.approx(trained().history["train_loss"].iloc[0], rel=1e-12)


def test_an_orthogonal_gradient_has_nothing_along_its_weight(trained):
    weight, gradient = torch.tensor([[3.0, 4.0]]), torch.tensor([[1.0, 2.0]])
    updates.make_orthogonal(gradient, weight)  # w·g = 11, w·w = 25
    torch.testing.assert_close(gradient, torch.tensor([[1 - 33 / 25, 2 - 44 / 25]]))
    still = torch.tensor([1.0, 2.0])
    updates.make_orthogonal(still, torch.zeros(2))
    assert still.tolist() == [1, 2]
    run = trained(orthogonal_gradient=True, optimizer="sgd", momentum=0.0, weight_decay=0.0)
    for name, weight in run.at(0).weights.items():
        moved = run.at(1).weights[name] - weight
        along = float((moved * weight).sum()) / max(float(moved.norm() * weight.norm()), 1e-12)
        assert abs(along) < 1e-3, name


def test_a_rescaled_orthogonal_gradient_has_the_norm_of_the_gradient(trained):
    weight, gradient = torch.tensor([[3.0, 4.0]]), torch.tensor([[1.0, 2.0]])
    updates.make_orthogonal(gradient, weight, rescaled=True)  # (1 − 33/25, 2 − 44/25) = 2/25 · (−4, 3), of norm 2/5
    torch.testing.assert_close(gradient, torch.tensor([[-4.0, 3.0]]) / 5 * math.sqrt(5))
    for other in (torch.zeros(2), torch.tensor([1.0, 2.0])):
        kept = other.clone()
        updates.make_orthogonal(kept, torch.zeros(2), rescaled=True)
        assert torch.equal(kept, other)
    still = torch.zeros(2)
    updates.make_orthogonal(still, torch.tensor([1.0, 2.0]), rescaled=True)
    assert still.tolist() == [0, 0]
    settings = {"optimizer": "sgd", "momentum": 0.0, "weight_decay": 0.0, "orthogonal_gradient": True}
    run, plain = trained(**settings, orthogonal_rescaled=True), trained(**settings)
    first = run.at(0).weights
    gradient = gradients(SMALL, first)
    for name, weight in first.items():
        step, projected = (one.at(1).weights[name] - weight for one in (run, plain))
        norm = float(gradient[name].norm())
        assert float(step.norm()) == pytest.approx(SMALL.learning_rate * norm, rel=1e-3), name
        torch.testing.assert_close(step, projected * float(step.norm() / projected.norm()), rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("start", ["first_gradient", "zero"])
def test_grokfast_adds_the_moving_average_of_the_gradient(trained, start):
    """With SGD: θ ← θ − η (g + λ μ), μ ← α μ + (1 − α) g; μ is the first gradient before it, or 0."""
    settings = {"optimizer": "sgd", "momentum": 0.0, "weight_decay": 0.0, "grokfast": 3.0, "grokfast_decay": 0.9}
    run, config = trained(**settings, grokfast_start=start), replace(SMALL, **settings)
    weights = run.at(0).weights
    slow = {name: g * (start == "first_gradient") for name, g in gradients(config, weights).items()}
    for step in range(1, 5):
        gradient = gradients(config, weights)
        slow = {name: 0.9 * slow[name] + 0.1 * gradient[name] for name in weights}
        weights = {name: w - 0.01 * (gradient[name] + 3.0 * slow[name]) for name, w in weights.items()}
        assert_weights(run, step, weights)


VARIATIONS = {
    "sgd": {"optimizer": "sgd", "learning_rate": 0.1},
    "muon": {"optimizer": "muon", "weight_decay_on": "W_in+W_E", "muon_learning_rate": 0.03},
    "before": {"optimizer": "muon", "muon_factor": "rows/columns", "grokfast": 2.0, "grokfast_start": "zero"},
    "norm": {"l1": 1e-3, "init_scale": 2.0, "fixed_norm": True},
    "batches": {"batch_size": 8, "label_noise": 0.1, "lr_schedule": "cosine"},
    "dropout": {"dropout": 0.2, "attention_dropout": 0.1},
    "gradients": {
        "loss": "stablemax", "orthogonal_gradient": True, "orthogonal_rescaled": True, "grokfast": 2.0,
    },
}  # fmt: skip


def stop_at(config: TrainConfig, path, step: int) -> None:
    """Train until an error at this step, whose state is saved."""

    def stop(now, row):
        if now == step:
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        interp.train(config, path, progress=False, on_record=stop)


@pytest.mark.parametrize(("name", "step"), [*((name, 3) for name in VARIATIONS), ("gradients", 0)])
def test_a_run_that_stopped_ends_bit_for_bit_as_one_that_did_not(tmp_path, name, step):
    config = replace(SMALL, **VARIATIONS[name])
    whole = interp.train(config, tmp_path / "whole", progress=False)
    stop_at(config, tmp_path / "stopped", step)
    gone_on = interp.train(None, tmp_path / "stopped", resume=True, progress=False)
    assert gone_on.config == config
    assert gone_on.history.equals(whole.history)
    for step in whole.steps:
        assert all(torch.equal(w, whole.at(step).weights[n]) for n, w in gone_on.at(step).weights.items())
    for file in ("config.json", "optimizer.safetensors"):
        assert (tmp_path / "whole" / file).read_bytes() == (tmp_path / "stopped" / file).read_bytes()


NEW = {"muon_learning_rate", "muon_factor", "orthogonal_rescaled", "grokfast_start"}


def without_new_settings(path) -> None:
    """Make config.json that of a version before these settings."""
    content = json.loads((path / "config.json").read_text())
    content["training"] = {name: value for name, value in content["training"].items() if name not in NEW}
    (path / "config.json").write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("settings", "before"),
    [
        ({"optimizer": "muon", "grokfast": 2.0}, {"muon_factor": "rows/columns", "grokfast_start": "zero"}),
        ({"optimizer": "adamw", "orthogonal_gradient": True}, {}),
    ],
    ids=str,
)
def test_a_run_saved_before_a_setting_goes_on_as_it_was_trained(tmp_path, settings, before):
    today, then = replace(SMALL, **settings), replace(SMALL, **settings, **before)
    whole = interp.train(then, tmp_path / "whole", progress=False)
    stop_at(then, tmp_path / "run", 3)
    without_new_settings(tmp_path / "run")
    assert interp.load_run(tmp_path / "run").config == then
    if before:
        said = "; ".join(rf"{name} '[a-z_/]+' \(the run has '{value}'\)" for name, value in before.items())
        with pytest.raises(ConfigError, match=rf"{said}\. Resume with the run's own values, or with None in place of"):
            interp.train(today, tmp_path / "run", resume=True, progress=False)
        run = interp.train(None, tmp_path / "run", resume=True, progress=False)
        other = interp.train(today, tmp_path / "other", progress=False)
        assert not torch.equal(other[-1].weights["W_in"], run[-1].weights["W_in"])
    else:
        run = interp.train(today, tmp_path / "run", resume=True, progress=False)
    assert all(torch.equal(weight, whole[-1].weights[name]) for name, weight in run[-1].weights.items())
    assert interp.load_run(tmp_path / "run").config == then


def test_more_steps_are_another_run_where_the_rate_falls_until_the_last(tmp_path):
    config = replace(SMALL, lr_schedule="linear")
    interp.train(config, tmp_path / "run", progress=False)
    with pytest.raises(ConfigError, match=r"begun with other settings: steps 9 \(the run has 6\)"):
        interp.train(replace(config, steps=9), tmp_path / "run", resume=True, progress=False)


def test_what_cannot_be_varied_so_is_refused():
    for wrong, said in [
        ({"dropout": 1.0}, "dropout must be a finite number of at least 0 and below 1; got 1.0"),
        ({"label_noise": -0.1}, "label_noise must be a finite number of at least 0 and below 1; got -0.1"),
        ({"init_scale": 0.0}, "init_scale must be a finite number above 0; got 0.0"),
        ({"batch_size": 0}, "batch_size must be a whole number of at least 1; got 0"),
        ({"weight_decay_on": "W_E+W_X"}, "weight_decay_on must name weights of the network, W_E, .*; got 'W_X'"),
        ({"grokfast": -1.0}, "grokfast must be a finite number of at least 0; got -1"),
        ({"muon_learning_rate": 0.0}, "muon_learning_rate must be a finite number above 0; got 0.0"),
    ]:
        with pytest.raises(ConfigError, match=said):
            replace(SMALL, **wrong)
    said = outside(
        """
        import interp
        wrong_ones = (
            {"optimizer": "adam"}, {"lr_schedule": "step"}, {"muon_factor": "in/out"}, {"grokfast_start": "0"},
            {"fixed_norm": 1}, {"orthogonal_rescaled": 1},
        )
        for wrong in wrong_ones:
            try:
                interp.TrainConfig(**wrong)
            except interp.ConfigError as error:
                print(error)
        """
    )
    assert said.splitlines() == [
        "optimizer must be adamw, sgd or muon; got 'adam'.",
        "lr_schedule must be constant, cosine or linear; got 'step'.",
        "muon_factor must be out/in or rows/columns; got 'in/out'.",
        "grokfast_start must be first_gradient or zero; got '0'.",
        "fixed_norm must be True or False; got 1.",
        "orthogonal_rescaled must be True or False; got 1.",
    ]
    with pytest.raises(ConfigError, match="did you mean optimizer"):
        TrainConfig(optim="sgd")


def test_weights_of_any_network_decay_by_name(tmp_path):
    config = TrainConfig(
        p=7, train_fraction=0.6, network=OneHiddenLayer(d_embed=4, d_hidden=8), steps=1, warmup_steps=0,
        weight_decay_on="W+W_U", weight_decay=2.0, checkpoint_steps=(0,), learning_rate=0.01,
    )  # fmt: skip
    run = interp.train(config, tmp_path / "run", progress=False)
    first = run.at(0).weights
    decay = {"W_x": 0.0, "W_y": 0.0, "W": 2.0, "W_U": 2.0}
    assert_weights(run, 1, adamw(config, first, gradients(config, first), decay))


def test_a_start_has_weights_of_its_own_scale(tmp_path):
    config = TrainConfig(p=7, train_fraction=0.6, network=OneHiddenLayer(d_embed=4, d_hidden=8), steps=1)
    run = interp.train(config, tmp_path / "run", progress=False)
    with pytest.raises(ConfigError, match=r"init_scale must be 1 beside start, .* not random; got 8"):
        interp.train(replace(config, init_scale=8.0), tmp_path / "on", progress=False, start=run[-1])
    with pytest.raises(ConfigError, match="with_optimizer needs the optimizer, grokfast and fixed_norm of the run of"):
        interp.train(
            replace(config, grokfast=1.0), tmp_path / "off", progress=False, start=run[-1], with_optimizer=True
        )


@pytest.mark.parametrize(
    ("name", "value", "idle", "acting", "said"),
    [
        ("betas", (0.8, 0.9), {"optimizer": "sgd"}, {"optimizer": "muon"}, "optimizer adamw or muon"),
        ("momentum", 0.5, {}, {"optimizer": "muon"}, "optimizer sgd or muon"),
        ("weight_decay_on", "W_E", {"weight_decay": 0.0}, {"weight_decay": 0.1}, "weight_decay above 0"),
        ("muon_learning_rate", 0.03, {}, {"optimizer": "muon"}, "optimizer muon"),
        ("muon_factor", "rows/columns", {}, {"optimizer": "muon"}, "optimizer muon"),
        ("orthogonal_rescaled", True, {}, {"orthogonal_gradient": True}, "orthogonal_gradient"),
        ("grokfast_decay", 0.5, {}, {"grokfast": 1.0}, "grokfast above 0"),
        ("grokfast_start", "zero", {}, {"grokfast": 1.0}, "grokfast above 0"),
        # Of 49 pairs, 0.6 are 29 and 0.7 are 34; a hundredth of 29 is 0.29, and of 0.6 of 121 pairs 0.72.
        ("batch_size", 29, {}, {"train_fraction": 0.7}, "more train pairs than a batch has"),
        ("label_noise", 0.01, {}, {"p": 11}, "enough train pairs for a wrong label"),
        ("attention_dropout", 0.1, ONE_LAYER, {}, "a network that names attention patterns"),
    ],
)  # fmt: skip
def test_a_setting_without_effect_changes_no_weight_and_is_refused_where_a_training_begins(
    tmp_path, name, value, idle, acting, said
):
    def settings(**changes) -> TrainConfig:
        return replace(SMALL, **{"steps": 3, "checkpoint_steps": None} | changes)

    def weights(path: str, **changes) -> dict:
        return interp.train(settings(**changes), tmp_path / path, progress=False)[-1].weights

    with pytest.raises(
        ConfigError, match=rf"^{name} acts only with {said}; got {name}=.* Leave it at its default, .*\.$"
    ):
        weights("new", **{name: value}, **idle)
    assert not (tmp_path / "new").exists()
    without, with_it = weights("without", **acting), weights("with", **{name: value}, **acting)
    assert any(not torch.equal(weight, without[key]) for key, weight in with_it.items())
    # A run that has it all the same, from before this was asked, is read, and resumed to what it is without.
    weights("old", steps=2, **idle)
    old = settings(steps=2, **{name: value}, **idle)
    write_config(tmp_path / "old", old, start=None)
    assert interp.load_run(tmp_path / "old").config == old
    resumed = interp.train(replace(old, steps=3), tmp_path / "old", resume=True, progress=False)[-1].weights
    plain = weights("plain", **idle)
    assert all(torch.equal(weight, plain[key]) for key, weight in resumed.items())


def test_every_default_acts_or_is_not_asked():
    for settings in ({}, {"optimizer": "sgd"}, {"optimizer": "muon"}, {"weight_decay": 0.0}, {"p": 5}):
        updates.check_effects(replace(SMALL, **settings))
    updates.check_effects(replace(SMALL, dropout=0.1, attention_dropout=0.1))
