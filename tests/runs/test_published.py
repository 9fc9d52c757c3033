"""Every layout is recognised by content, read bit for bit, and measured alike by the shared forward and by hooks."""

import json
import os
import pickle
import re
import sys
import types
import warnings
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import save_file

import interp
from interp import CheckpointError, ConfigError, OneHiddenLayer, Task
from interp.networks.pairs import Pairs
from tests.layouts import NAMES, P, Saved, paper, properties, saved, transformer
from tests.models import analytic_logits, random_weights
from tests.processes import interp as shell, outside
from tests.study.test_progress import assert_same
from tests.wild import PUBLISHED

MASK = interp.split_mask(P, 0.5, 3)


def asked(model: Saved) -> dict:
    return {name: Task(value) if name == "task" else value for name, value in model.asked.items()}


def contiguous(state):
    return {key: value.contiguous() for key, value in state.items()}


def write(path: Path, content) -> Path:
    torch.save(content, path)
    return path


def nll_of(ckpt: interp.Checkpoint) -> torch.Tensor:
    """Cross-entropies of all pairs over all outputs, as a training would have recorded their means."""
    logits = ckpt.config.run(ckpt.weights, Pairs.all(ckpt.task.p)).logits
    return torch.nn.functional.cross_entropy(logits.double(), ckpt.task.labels.flatten(), reduction="none").view(
        ckpt.task.p, -1
    )


# ── one model ────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("wrapped", ["bare", "under model", "under state_dict", "DataParallel", "compiled"])
@pytest.mark.parametrize("name", NAMES)
def test_a_layout_is_read_bit_for_bit(tmp_path, name, wrapped):
    model = saved(name)
    prefix = {"DataParallel": "module.", "compiled": "_orig_mod."}.get(wrapped, "")
    state = {prefix + key: value for key, value in model.state.items()}
    key = {"under model": "model", "under state_dict": "state_dict"}.get(wrapped)
    file = write(tmp_path / "any.name", {key: state} if key else state)
    ckpt = interp.load_checkpoint(file, **asked(model))
    assert ckpt.config == model.config
    assert ckpt.task == Task(P)
    assert ckpt.step is ckpt.train_mask is None
    extra = set(ckpt.weights) - set(model.weights)
    assert not any(ckpt.weights[bias].any() for bias in extra)  # what a bridge adds is zero
    assert all(torch.equal(ckpt.weights[key], weight) for key, weight in model.weights.items())


@pytest.mark.parametrize("name", NAMES)
def test_as_safetensors_it_is_read_the_same(tmp_path, name):
    model = saved(name)
    save_file(contiguous(model.state), tmp_path / "weights.pt")  # a name that lies
    ckpt = interp.load_checkpoint(tmp_path / "weights.pt", **asked(model))
    assert all(torch.equal(ckpt.weights[key], weight) for key, weight in model.weights.items())


def pure_neurons_lacking(m: interp.ProgressMeasures) -> set[str]:
    return {"neuron_phase_agreement"} if m.single_frequency_neurons == 0 else set()


@pytest.mark.parametrize("name", NAMES)
def test_hooks_and_the_shared_forward_measure_the_same(tmp_path, name):
    model = saved(name)
    ckpt = interp.load_checkpoint(write(tmp_path / "m.pt", model.state), split=MASK, **asked(model))
    shared = interp.progress_measures(ckpt, mechanism=True)
    hooked = interp.progress_measures(ckpt.model(), task=ckpt.task, split=MASK, mechanism=True)
    assert_same(hooked, shared)
    # float32 gradients: where a neuron stands within rounding of 0, its ReLU may be on in one and off in the other
    assert hooked.gradient_symmetricity == pytest.approx(shared.gradient_symmetricity, abs=1e-4)
    assert hooked.distance_irrelevance == pytest.approx(shared.distance_irrelevance, rel=1e-4)
    lacking = {"attention_share"} if isinstance(ckpt.config, OneHiddenLayer) else set()
    assert set(shared.missing) == lacking | pure_neurons_lacking(shared)
    ours = interp.activations(ckpt)
    theirs = interp.hooked_activations(ckpt.model(), P)
    for which in ("logits", "neurons", "pattern"):
        mine, other = getattr(ours, which), getattr(theirs, which)
        if isinstance(ckpt.config, OneHiddenLayer) and which == "pattern":
            assert mine is other is None
        else:
            torch.testing.assert_close(mine, other, rtol=0, atol=1e-5 * float(other.abs().max()))


@pytest.mark.parametrize("name", ["paper", "bridge", "constant attention", "one hidden layer, summed"])
def test_without_a_split_the_rest_is_there(tmp_path, name):
    model = saved(name)
    m = interp.progress_measures(write(tmp_path / "m.pt", model.state), **asked(model))
    assert set(m.missing) == {
        "train_loss", "test_loss", "train_accuracy", "test_accuracy", "restricted_test_loss", "excluded_loss",
        "excluded_accuracy", "excluded_loss_by_frequency",
        *(["attention_share"] if name.startswith("one hidden") else []), *pure_neurons_lacking(m),
    }  # fmt: skip
    assert "split and seed" in m.missing["train_loss"]
    for there in ("loss", "restricted_loss", "key_frequencies", "embedding_norms", "single_frequency_neurons"):
        assert getattr(m, there) is not None


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_other_precisions_become_float32(tmp_path, dtype):
    model = saved("paper")
    state = {key: value.to(dtype) for key, value in model.state.items()}
    ckpt = interp.load_checkpoint(write(tmp_path / "m.pt", state))
    assert torch.equal(ckpt.weights["W_in"], model.weights["W_in"].to(dtype).float())


def test_a_layout_is_known_where_all_sizes_are_equal(tmp_path):
    """d_model = d_vocab = d_mlp = n_heads · d_head: no shape tells the orientation, the number of axes of W_O does."""
    config = replace(transformer(3), d_model=P + 1, d_mlp=P + 1, n_heads=3, d_head=4)
    weights = random_weights(config, seed=5)
    for state in (paper(weights), properties(weights)):
        ckpt = interp.load_checkpoint(write(tmp_path / "m.pt", state))
        assert all(torch.equal(ckpt.weights[key], weight) for key, weight in weights.items())


def test_a_bridge_hides_its_heads_and_what_it_learned_tells_them(shipped, tmp_path):
    """The state dict holds n_heads · d_head only. The shipped run's network adds mod 113 with four heads alone."""
    ckpt = shipped[-1]
    ckpt_file = write(tmp_path / "bridge.pt", dict(ckpt.model().state_dict()))
    with pytest.warns(UserWarning, match="using n_heads = 4, which fits the model best by far. Pass n_heads"):
        read = interp.load_checkpoint(ckpt_file)
    assert read.config.n_heads == 4
    assert all(torch.equal(read.weights[key], weight) for key, weight in ckpt.weights.items())
    untrained = write(tmp_path / "new.pt", dict(shipped.at(0).model().state_dict()))
    # While it generalizes, eight heads give a lower loss over all pairs than its four: then nothing is taken.
    halfway = write(tmp_path / "half.pt", dict(shipped.at(10_500).model().state_dict()))
    with pytest.raises(ConfigError, match="does not tell the number of heads"):
        interp.load_checkpoint(halfway)
    # Its train pairs tell: it has learned them with four heads.
    with pytest.warns(UserWarning, match="using n_heads = 4"):
        assert interp.load_checkpoint(halfway, split="paper", seed=0).config.n_heads == 4
    with pytest.raises(ConfigError, match=r"does not tell the number of heads: give n_heads .* one of 1, 2, 4, 8"):
        interp.load_checkpoint(untrained)
    assert interp.load_checkpoint(untrained, n_heads=4).config.n_heads == 4
    with pytest.raises(ConfigError, match="which n_heads must divide; got 3"):
        interp.load_checkpoint(untrained, n_heads=3)


def test_where_the_vocabulary_leaves_p_open_what_was_learned_tells_it(tmp_path):
    """22 tokens and 22 outputs are p = 22, or p = 11 with tokens of b's own: random weights leave it open."""
    model = saved("constant attention, as many outputs")
    file = write(tmp_path / "m.pt", model.state)
    with pytest.raises(ConfigError, match=r"whether p is 22, or 11 with tokens of b's own: give task=interp.Task"):
        interp.load_checkpoint(file, attention_coefficient=0.3)
    with pytest.raises(ConfigError, match=r"whether p is 22, or 11 with tokens of b's own: give .* \(--p\)"):
        interp.load_checkpoint(file, "subtract", attention_coefficient=0.3)
    assert interp.load_checkpoint(file, Task(22), attention_coefficient=0.3).task.p == 22
    # A network that is right for p = 11: neuron (a, b) fires for that pair alone and votes for a + b.
    pairs = Pairs.all(P)
    W_E = torch.eye(2 * P)
    W_in = torch.zeros(2 * P, P * P)
    W_in[pairs.a, torch.arange(P * P)] = 1
    W_in[P + pairs.b, torch.arange(P * P)] = 1
    W_out = torch.zeros(P * P, 2 * P)
    W_out[torch.arange(P * P), (pairs.a + pairs.b) % P] = 20
    zero = torch.zeros(1, 2 * P, 2 * P)
    weights = {
        "W_E": W_E, "W_pos": torch.zeros(2, 2 * P), "W_Q": zero, "W_K": zero,
        "W_V": torch.eye(2 * P)[None], "W_O": torch.diag(torch.cat([torch.ones(P), torch.zeros(P)]))[None],
        "W_in": W_in, "b_in": -torch.ones(P * P), "W_out": W_out, "b_out": torch.zeros(2 * P), "W_U": torch.eye(2 * P),
    }  # fmt: skip
    with pytest.warns(UserWarning, match="using p = 11"):
        ckpt = interp.load_checkpoint(write(tmp_path / "right.pt", paper(weights)), attention_coefficient=0.0)
    assert ckpt.task.p == P
    assert interp.progress_measures(ckpt).accuracy == 1


# ── constant attention ───────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("coefficient", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("own_tokens", [False, True])
def test_constant_attention_by_its_definition(coefficient, own_tokens):
    """The forward of Zhong et al. written out: every position attends to both, softmax mixed with a constant."""
    config = transformer(2, own_tokens, coefficient=coefficient)
    w = {key: value.double() for key, value in random_weights(config, seed=1).items()}
    pairs = Pairs.all(P)
    x = w["W_E"][torch.stack([pairs.a, pairs.b + P * own_tokens], 1)] + w["W_pos"]
    q, k, v = (torch.einsum("npm,hmd->nhpd", x, w[f"W_{name}"]) for name in "QKV")
    A = coefficient * (q @ k.transpose(-1, -2) / config.d_head**0.5).softmax(-1) + (1 - coefficient)
    mid = x + torch.einsum("nhpd,hdm->npm", A @ v, w["W_O"])
    neurons = (mid @ w["W_in"] + w["b_in"]).relu()
    logits = (mid + neurons @ w["W_out"] + w["b_out"]) @ w["W_U"]
    ours = interp.activations({key: value.float() for key, value in w.items()}, P, "relu", coefficient)
    for mine, theirs in [(ours.logits, logits[:, -1]), (ours.neurons, neurons[:, -1]), (ours.pattern, A[:, :, -1])]:
        torch.testing.assert_close(mine.flatten(0, 1).double(), theirs, rtol=0, atol=1e-5 * float(theirs.abs().max()))


def test_the_bridge_mixes_attention_before_any_other_hook_and_after_a_reset(tmp_path):
    model = saved("constant attention")
    bridge = interp.load_checkpoint(write(tmp_path / "m.pt", model.state), attention_coefficient=0.3).model()
    tokens, seen = torch.tensor([[1, 2], [4, 4]]), []
    bridge.reset_hooks()
    with bridge.hooks(fwd_hooks=[("blocks.0.attn.hook_pattern", lambda x, hook: seen.append(x) or x)]):
        bridge(tokens)
    assert seen[0].sum(-1).detach().numpy() == pytest.approx(0.3 + 2 * 0.7, abs=1e-6)  # rows of the mixture
    _, cache = bridge.run_with_cache(tokens)
    assert torch.equal(cache["blocks.0.attn.hook_pattern"], seen[0])
    assert not torch.allclose(seen[0][:, :, 0, 1], torch.tensor(0.7), atol=1e-3)  # no causal mask: a sees b


def test_a_hook_of_the_one_hidden_layer_changes_what_is_measured(tmp_path):
    model = saved("one hidden layer, concatenated")
    hooked = interp.load_checkpoint(write(tmp_path / "m.pt", model.state)).model()
    with hooked.hooks(fwd_hooks=[("hook_post", lambda x, hook: torch.zeros_like(x))]):
        m = interp.progress_measures(hooked, task=Task(P))
    assert m.loss == pytest.approx(np.log(P))
    assert interp.progress_measures(hooked, task=Task(P)).loss != pytest.approx(np.log(P), rel=1e-3)


# ── one hidden layer ─────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("inputs", ["concatenated", "summed"])
def test_one_hidden_layer_by_its_definition(inputs):
    w = {key: value.double() for key, value in saved(f"one hidden layer, {inputs}").weights.items()}
    pairs = Pairs.all(P)
    x, y = w["W_x"][pairs.a], w["W_y"][pairs.b]
    hidden = ((torch.hstack([x, y]) if inputs == "concatenated" else x + y) @ w["W"]).relu()
    ours = interp.activations({key: value.float() for key, value in w.items()}, P, "relu")
    for mine, theirs in [(ours.logits, hidden @ w["W_U"]), (ours.neurons, hidden)]:
        torch.testing.assert_close(mine.flatten(0, 1).double(), theirs, rtol=0, atol=1e-5 * float(theirs.abs().max()))


# ── what a file tells beside its weights ─────────────────────────────────────────────────────────────────────────


def test_losses_epoch_and_a_split_of_index_lists_are_taken_from_the_file(tmp_path):
    model = saved("properties")
    bare = interp.load_checkpoint(write(tmp_path / "bare.pt", model.state))
    nll = nll_of(bare)
    index = torch.arange(P * P)
    content = {
        "model": model.state, "epoch": 700,
        "train_losses": [5.0] * 700 + [float(nll[MASK].mean())],
        "test_losses": [5.0] * 700 + [float(nll[~MASK].mean())],
        "train_indices": index[MASK.flatten()], "test_indices": index[~MASK.flatten()],
    }  # fmt: skip
    ckpt = interp.load_checkpoint(write(tmp_path / "m.pt", content))
    assert ckpt.step == 700
    assert torch.equal(ckpt.train_mask, MASK)
    with pytest.warns(UserWarning, match="differs from that of .* in 66 of 121 pairs"):
        other = interp.load_checkpoint(tmp_path / "m.pt", split=interp.split_mask(P, 0.9, 9))  # random, so no worse
    assert not torch.equal(other.train_mask, MASK)


@pytest.mark.parametrize("equals", [True, False])
def test_a_split_of_pair_lists_is_taken_from_the_file(tmp_path, equals):
    model = saved("paper")
    train, test = ([(int(a), int(b), P)[: 2 + equals] for a, b in half.nonzero()] for half in (MASK, ~MASK))
    file = write(tmp_path / "m.pth", {"model": model.state, "train_data": train, "test_data": test})
    assert torch.equal(interp.load_checkpoint(file).train_mask, MASK)


def test_the_papers_configuration_names_the_task_the_split_and_the_activation(tmp_path):
    model = saved("paper")
    config = {"p": P, "seed": 4, "frac_train": 0.4, "fn_name": "subtract", "act_type": "GeLU", "num_heads": 2}
    ckpt = interp.load_checkpoint(write(tmp_path / "m.pth", {"model": model.state, "config": config}))
    assert ckpt.task == Task(P, "subtract")
    assert ckpt.config.activation == "gelu"
    assert torch.equal(ckpt.train_mask, interp.split_mask(P, 0.4, 4))
    other = write(tmp_path / "o.pth", {"model": model.state, "config": {**config, "p": 13}})
    with pytest.raises(
        ConfigError, match=r"o.pth: the model has a vocabulary of 12, .* a task of p = 13 .*config says p = 13; task="
    ):
        interp.load_checkpoint(other)
    odd = write(tmp_path / "odd.pth", {"model": model.state, "config": {**config, "fn_name": "rand"}})
    with pytest.raises(ConfigError, match="trained on 'rand', whose labels are not in the file"):
        interp.load_checkpoint(odd)


class HookedTransformerConfig:
    """What TransformerLens' demo pickles beside its weights: an object of a class of its own."""

    def __init__(self, **fields):
        self.__dict__.update(fields)


@pytest.mark.parametrize(
    "home", ["transformer_lens.HookedTransformerConfig", "transformer_lens.config.transformer_bridge_config"]
)
def test_the_configuration_of_transformer_lens_is_read_as_data(tmp_path, monkeypatch, home):
    """The object's fields are read into a stand-in; its class is never imported."""
    model = saved("bridge")
    name = "HookedTransformerConfig" if "Hooked" in home else "TransformerBridgeConfig"
    monkeypatch.setitem(sys.modules, home, module := types.ModuleType(home))
    kind = type(name, (HookedTransformerConfig,), {"__module__": home})
    setattr(module, name, kind)
    fields = {
        "n_layers": 1, "d_model": 16, "n_heads": 2, "d_head": 6, "act_fn": "gelu", "dtype": torch.float32, "seed": 999,
        "normalization_type": None, "init_range": np.float64(0.2), "attn_only": False,
        "positional_embedding_type": "standard",
    }  # fmt: skip
    file = write(tmp_path / "demo.pth", {"model": model.state, "config": kind(**fields)})
    other = write(
        tmp_path / "norm.pth", {"model": model.state, "config": kind(**fields | {"normalization_type": "LNPre"})}
    )
    monkeypatch.undo()
    ckpt = interp.load_checkpoint(file)
    assert (ckpt.config.n_heads, ckpt.config.activation, ckpt.train_mask) == (2, "gelu", None)
    with pytest.raises(ConfigError, match="normalization_type 'LNPre' in its config, and interp computes no such"):
        interp.load_checkpoint(other)


def test_the_configuration_of_a_real_bridge_is_read(tmp_path):
    """As TransformerLens 4 makes it: with the number of heads, which the state dict hides."""
    model = saved("bridge")
    bridge = interp.load_checkpoint(write(tmp_path / "m.pt", model.state), n_heads=2).model()
    file = write(tmp_path / "both.pt", {"model": bridge.state_dict(), "config": bridge.cfg})
    assert interp.load_checkpoint(file).config == model.config


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"n_layers": 2}, "says n_layers 2 in its config, and interp computes no such model"),
        ({"positional_embedding_type": "rotary"}, "says positional_embedding_type 'rotary'"),
        ({"use_attn_scale": False}, "says use_attn_scale False"),
        ({"d_model": 99}, "says d_model 99 in its config and holds weights of d_model 16; the file disagrees"),
        ({"p": "x"}, "p must be a whole number of at least 0; got 'x'"),
        ({"attn_scale": 1.0, "d_head": 6}, "says attn_scale 1.0"),
        ({"output_logits_soft_cap": 30.0}, "says output_logits_soft_cap 30.0"),
        ({"d_vocab": 99}, "says d_vocab 99 in its config and holds weights of d_vocab 12"),
        ({"n_layers": torch.ones(3)}, "n_layers must be a word or a number; got a Tensor"),
        ({"act_fn": np.ones(3)}, "act_fn must be a word or a number; got a ndarray"),
        ({"p": float("inf")}, "p must be a whole number of at least 0; got 'inf'"),
        ({"p": 1}, "p must be a whole number of at least 2; got 1"),
        ({"fn_name": ["add"]}, r"fn_name must be a word or a number; got \['add'\]"),
        ({"fn_name": "times"}, "trained on 'times', whose labels are not in the file"),
        ({"act_fn": "tanh"}, "has the activation 'tanh'; interp knows relu, gelu, gelu_new"),
        ({"seed": "abc", "frac_train": 0.3}, "seed must be a whole number of at least 0; got 'abc'"),
        ({"seed": 1, "frac_train": "x"}, "frac_train must be a number; got 'x'"),
        ({"attn_coeff": "a"}, "attention_coefficient must be a number; got 'a'"),
        ({"num_heads": 3}, "has 2 heads, not 3"),
    ],
)
def test_a_configuration_that_does_not_fit_is_said(tmp_path, config, said):
    file = write(tmp_path / "m.pth", {"model": saved("paper").state, "config": config})
    with pytest.raises((ConfigError, CheckpointError), match=said) as error:
        interp.load_checkpoint(file)
    assert "\n" not in str(error.value)


def test_only_the_papers_configuration_names_its_split(tmp_path):
    """The same words beside another layout are another code's, whose way to draw is not known."""
    config = {"seed": 1, "frac_train": 0.3}
    ours = interp.load_checkpoint(write(tmp_path / "p.pth", {"model": saved("paper").state, "config": config}))
    assert torch.equal(ours.train_mask, interp.split_mask(P, 0.3, 1))
    theirs = write(tmp_path / "t.pth", {"model": saved("properties").state, "config": config})
    assert interp.load_checkpoint(theirs).train_mask is None
    assert torch.equal(interp.load_checkpoint(theirs, split="torch").train_mask, interp.split_mask(P, 0.3, 1, "torch"))


def test_a_stored_split_that_makes_no_sense_does_not_stand_in_the_way(tmp_path):
    content = {"model": saved("paper").state, "train_data": [[0.5, 1.5], [2.5, 3.5]]}
    file = write(tmp_path / "m.pth", content)
    with pytest.raises(CheckpointError, match=r"holds a split that does not fit it: split must be .*; give split="):
        interp.load_checkpoint(file)
    assert torch.equal(interp.load_checkpoint(file, split=MASK).train_mask, MASK)
    test_only = {"model": saved("paper").state, "test_indices": (~MASK).flatten().nonzero().flatten().tolist()}
    assert torch.equal(interp.load_checkpoint(write(tmp_path / "t.pth", test_only)).train_mask, MASK)


def test_with_an_equals_sign_tokens_of_bs_own_are_known_by_what_was_learned(tmp_path):
    """23 tokens, "=" the last: p = 22, unless the network adds mod 11, reading b from tokens of its own."""
    pairs = Pairs.all(P)
    n = 2 * P + 1
    W_in = torch.zeros(n, P * P)
    W_in[pairs.a, torch.arange(P * P)] = 3  # attention is a third from each of a, b and "="
    W_in[P + pairs.b, torch.arange(P * P)] = 3
    W_out = torch.zeros(P * P, n)
    W_out[torch.arange(P * P), (pairs.a + pairs.b) % P] = 20
    zero = torch.zeros(1, n, n)
    weights = {
        "W_E": torch.eye(n), "W_pos": torch.zeros(3, n), "W_Q": zero, "W_K": zero, "W_V": torch.eye(n)[None],
        "W_O": torch.eye(n)[None], "W_in": W_in, "b_in": -torch.ones(P * P), "W_out": W_out, "b_out": torch.zeros(n),
        "W_U": torch.eye(n),
    }  # fmt: skip
    with pytest.warns(UserWarning, match="using p = 11"):
        ckpt = interp.load_checkpoint(write(tmp_path / "m.pth", paper(weights)))
    assert ckpt.task.p == P
    assert interp.progress_measures(ckpt).accuracy == 1
    fewer = paper({**weights, "W_U": torch.eye(n)[:, :P]})
    assert interp.load_checkpoint(write(tmp_path / "fewer.pth", fewer)).task.p == P  # eleven outputs tell


def test_numbers_of_numpy_and_an_optimizer_are_read_as_data(tmp_path):
    """Old runs hold numpy scalars and optimizer states; their pickles name numpy's constructors, old and new."""
    model = saved("paper")
    parameter = torch.nn.Parameter(torch.ones(3))
    optimizer = torch.optim.AdamW([parameter])
    parameter.sum().backward()
    optimizer.step()
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min(step / 10, 1))
    content = {
        "model": model.state, "train_losses": [np.float64(2.5), np.float32(2.25)], "test_losses": np.array([3.0, 2.0]),
        "optimizer": optimizer.state_dict(), "scheduler": scheduler.state_dict(), "epoch": np.int64(2),
    }  # fmt: skip
    file = write(tmp_path / "new.pth", content)
    assert interp.load_checkpoint(file).step == 2
    raw = file.read_bytes()
    assert b"numpy._core" in raw
    old = tmp_path / "old.pth"  # numpy 1 named it so; the names differ by one letter, so the archive is made anew
    with zipfile.ZipFile(file) as source, zipfile.ZipFile(old, "w", zipfile.ZIP_STORED) as target:
        for item in source.namelist():
            data = source.read(item)
            target.writestr(
                item, data.replace(b"cnumpy._core.", b"cnumpy.core.") if item.endswith("data.pkl") else data
            )
    assert b"numpy._core" not in old.read_bytes()
    assert interp.load_checkpoint(old).step == 2


def test_a_file_of_torch_before_1_6_is_read(tmp_path):
    model = saved("paper")
    torch.save({"model": model.state}, tmp_path / "m.pth", _use_new_zipfile_serialization=False)
    ckpt = interp.load_checkpoint(tmp_path / "m.pth")
    assert torch.equal(ckpt.weights["W_U"], model.weights["W_U"])


def test_losses_that_do_not_match_the_split_are_said_with_both_numbers(shipped, tmp_path):
    """The mainline at step 9,000, its losses recorded as other code would: before the update, all outputs counted."""
    ckpt = shipped.at(9_000)
    nll = nll_of(ckpt)
    drift = np.exp(0.01 * np.arange(300)[::-1] + 0.01)  # a per cent a step, the last record one step before
    record = {
        "model": paper(ckpt.weights),
        "train_losses": list(float(nll[ckpt.train_mask].mean()) * drift),
        "test_losses": list(float(nll[~ckpt.train_mask].mean()) * drift[::10]),
    }
    file = write(tmp_path / "m.pth", record)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        right = interp.load_checkpoint(file, split="paper", seed=0)
    assert torch.equal(right.train_mask, ckpt.train_mask)
    with pytest.warns(UserWarning, match=r"train loss is \S+ and \S+ is recorded, its test loss is \S+ and \S+ is"):
        interp.load_checkpoint(file, split="paper", seed=1)
    with pytest.warns(UserWarning, match="trained on another split, seed or task"):
        interp.load_checkpoint(file, split="torch", seed=0)


@pytest.mark.parametrize(
    ("split", "seed", "message"),
    [
        ("paper", None, "needs the seed it was drawn with"),
        ("other", 1, "split must be paper or torch with a seed, a bool mask .*; got 'other'"),
        (None, 1, r"seed needs split as well \(paper or torch\); got seed=1 alone"),
        (interp.split_mask(13, 0.3, 0), None, r"a mask must be bool \[11, 11\], true = train; got bool \[13, 13\]"),
        ([3, 121], None, r"must name pairs from 0 to 120, for p = 11; got 121. Give the split of this modulus"),
        ([-1], None, "must name pairs from 0 to 120, for p = 11; got -1"),
        ([(1, 2), (3, 11)], None, "must name numbers from 0 to 10, for p = 11; got 11"),
        (([1, 2, 3, 4], [5, 6, 7, 8, 9]), None, "each of the 121 pairs of p = 11 once; they share 0 and leave out 112"),
        ([0.5, 1.5], None, "split must be a bool mask"),
        ([3, 3, 4], None, "must name each train pair once; 1 of its 3 pairs are repeated"),
        ((torch.arange(121) % 3 == 0).long(), None, "Give a vector of 0 and 1 as a bool mask"),
        ("torch", 2**70, r"seed must be a whole number from .* to 2\*\*64 - 1; got"),
        ([], None, "split must be a bool mask"),
        (torch.zeros(P, P, dtype=torch.bool), None, "at least one train pair"),
    ],
)
def test_a_split_that_does_not_fit_is_one_sentence(tmp_path, split, seed, message):
    file = write(tmp_path / "m.pth", saved("paper").state)
    with pytest.raises(ConfigError, match=message) as error:
        interp.load_checkpoint(file, split=split, seed=seed)
    assert "\n" not in str(error.value)


def test_a_split_may_be_given_in_any_way(tmp_path):
    file = write(tmp_path / "m.pth", saved("paper").state)
    index = MASK.flatten().nonzero().flatten()
    rest = (~MASK).flatten().nonzero().flatten()
    for split in (MASK, MASK.numpy(), index, index.tolist(), index.numpy(), MASK.nonzero(), MASK.nonzero().tolist(),
                  (index, rest), (index.tolist(), rest.tolist()), [index.tolist(), rest.tolist()]):  # fmt: skip
        assert torch.equal(interp.load_checkpoint(file, split=split).train_mask, MASK)
    everything = interp.load_checkpoint(file, split=torch.ones(P, P, dtype=torch.bool))
    assert "none is left to test" in interp.progress_measures(everything).missing["test_loss"]


# ── whole runs ───────────────────────────────────────────────────────────────────────────────────────────────────


def whole_run(run: interp.Run, kind: str) -> dict:
    """A run of ours as the paper's full-run file, or as TransformerLens' grokking demo saves one."""
    layout = {"paper": paper, "demo": properties}[kind]
    states = [layout(ckpt.weights) for ckpt in run]
    losses = {name: run.history[name].tolist() for name in ("train_loss", "test_loss")}
    if kind == "paper":
        return {
            "state_dicts": states, "epochs": list(run.steps),
            "train_losses": np.repeat(losses["train_loss"], 10)[:-9].tolist(), "test_losses": losses["test_loss"],
        }  # fmt: skip
    mask = run.train_mask.flatten()
    return {
        "model": states[-1], "config": None, "checkpoints": states, "checkpoint_epochs": torch.tensor(run.steps),
        "train_losses": np.repeat(losses["train_loss"], 10)[:-9].tolist(),
        "test_losses": np.repeat(losses["test_loss"], 10)[:-9].tolist(),
        "train_indices": mask.nonzero().flatten(), "test_indices": (~mask).nonzero().flatten(),
    }  # fmt: skip


@pytest.mark.parametrize("kind", ["paper", "demo"])
def test_a_file_of_a_whole_run_is_a_run(small_run, tmp_path, kind):
    file = write(tmp_path / "run.pth", whole_run(small_run, kind))
    how = {"split": small_run.train_mask} if kind == "paper" else {}
    run = interp.load_run(file, **how)
    assert run.steps == small_run.steps
    assert run.config is None
    assert run.architecture == small_run.architecture
    assert torch.equal(run.train_mask, small_run.train_mask)
    for theirs, ours in zip(run, small_run, strict=True):
        assert theirs.step == ours.step
        assert all(torch.equal(theirs.weights[name], ours.weights[name]) for name in ours.weights)
    both = run.history.merge(small_run.history, on="step")
    assert list(both["step"]) == list(small_run.history["step"])
    assert both["test_loss_x"].tolist() == both["test_loss_y"].tolist()
    assert run.history["train_accuracy"].isna().all()
    frame, expected = interp.trajectory(run, progress=False), interp.trajectory(small_run, progress=False)
    pd.testing.assert_frame_equal(frame, expected)
    assert list(tmp_path.iterdir()) == [file]  # nothing is written beside it
    assert interp.load_checkpoint(file, step=20, **how).step == 20
    last = interp.load_checkpoint(file, **how)
    assert last.step == 60
    early = interp.progress_measures(interp.load_checkpoint(file, step=0, **how))
    assert early.key_frequencies == interp.progress_measures(small_run).key_frequencies
    with pytest.raises(CheckpointError, match=r"no checkpoint of step 30; the nearest are 0, 20, 40, 60"):
        interp.load_checkpoint(file, step=30, **how)


def test_a_run_is_not_read_whole(tmp_path):
    """Of eight checkpoints of 25 MB one is read: what a fresh process holds grows by less than half of the file."""
    pytest.importorskip("resource")
    size = outside(
        f"""
        import torch, interp
        from pathlib import Path
        from tests.layouts import paper
        from tests.models import random_weights
        config = interp.Transformer(14, 14, 3, d_model=8, n_heads=1, d_head=8, d_mlp=360_000)
        state = {{key: value.contiguous() for key, value in paper(random_weights(config)).items()}}
        file = Path({str(tmp_path)!r}, "big.pth")
        states = [{{key: value.clone() for key, value in state.items()}} for _ in range(8)]
        torch.save({{"state_dicts": states, "epochs": list(range(8))}}, file)
        print(file.stat().st_size)
        """
    )
    code = f"""
        import resource, sys, interp
        unit = 1 if sys.platform == "darwin" else 1024
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
        run = interp.load_run({str(tmp_path / "big.pth")!r})
        run.at(3)
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit - before)
        """
    grown = int(outside(code, fresh=True))
    assert int(size) > 190e6
    assert grown < int(size) / 2


def test_a_run_file_written_again_is_noticed(small_run, tmp_path):
    """Its tensors are mapped: reading them from a file that shrank would end the process."""
    file = write(tmp_path / "run.pth", whole_run(small_run, "demo"))
    run = interp.load_run(file)
    content = whole_run(small_run, "demo")
    torch.save({**content, "checkpoints": content["checkpoints"][:1], "checkpoint_epochs": [0]}, tmp_path / "new.pth")
    (tmp_path / "new.pth").replace(file)
    with pytest.raises(CheckpointError, match="was written again since it was opened; open it again with load_run"):
        run.at(20)
    assert interp.load_run(file).steps == (0,)


def test_epochs_in_any_order_keep_their_losses(small_run, tmp_path):
    content = whole_run(small_run, "paper")
    order = [2, 0, 3, 1]
    per_epoch = small_run.history.set_index("step").loc[list(small_run.steps)]
    shuffled = {
        "state_dicts": [content["state_dicts"][i] for i in order], "epochs": [content["epochs"][i] for i in order],
        "train_losses": torch.tensor([per_epoch["train_loss"].iloc[i] for i in order]),
        "test_losses": np.array([per_epoch["test_loss"].iloc[i] for i in order]),
    }  # fmt: skip
    run = interp.load_run(write(tmp_path / "run.pth", shuffled), split=small_run.train_mask)
    assert run.steps == small_run.steps
    assert run.history["step"].tolist() == list(small_run.steps)
    assert run.history["test_loss"].tolist() == per_epoch["test_loss"].tolist()
    assert torch.equal(run.at(20).weights["W_E"], small_run.at(20).weights["W_E"])
    twice = {**content, "epochs": [0, 20, 20, 60]}
    with pytest.raises(CheckpointError, match="holds epoch 20 more than once in epochs"):
        interp.load_run(write(tmp_path / "twice.pth", twice))
    with pytest.raises(CheckpointError, match=r"one of epochs must be a whole number of at least 0; got '0.5'"):
        interp.load_run(write(tmp_path / "half.pth", {**content, "epochs": [0, 0.5, 20, 60]}))


@pytest.mark.parametrize("every", [1, 10, 100, 1000])
def test_losses_recorded_now_and_then_stand_at_their_steps(shipped, tmp_path, every):
    """The shipped run's losses, as another would record them: no false alarm, and a wrong seed is still noticed."""
    steps = [0, 1_000, 5_000, 9_000, 16_000]
    recorded = range(0, 16_001, every)
    losses = shipped.history.set_index("step").reindex(recorded).interpolate()
    content = {
        "state_dicts": [paper(shipped.at(step).weights) for step in steps], "epochs": steps,
        "train_losses": losses["train_loss"].tolist(), "test_losses": losses["test_loss"].tolist(),
    }  # fmt: skip
    file = write(tmp_path / "run.pth", content)
    run = interp.load_run(file, split="paper", seed=0)
    assert run.history["step"].tolist() == list(recorded)
    for step in steps:
        interp.load_checkpoint(file, step=step, split="paper", seed=0)
    with pytest.warns(UserWarning, match=r"train loss is \S+ and \S+ is recorded.* at step"):
        interp.load_run(file, split="paper", seed=1)


def test_losses_of_the_checkpoints_alone_still_tell_a_wrong_split(shipped, tmp_path):
    steps = [0, 1_000, 1_400]
    at = shipped.history.set_index("step").loc[steps]
    content = {
        "state_dicts": [paper(shipped.at(step).weights) for step in steps], "epochs": steps,
        "train_losses": at["train_loss"].tolist(), "test_losses": at["test_loss"].tolist(),
    }  # fmt: skip
    file = write(tmp_path / "run.pth", content)
    interp.load_run(file, split="paper", seed=0)
    with pytest.warns(UserWarning, match=r"train loss is \S+ and \S+ is recorded"):
        interp.load_run(file, split="torch", seed=7)


def test_losses_recorded_in_float32_raise_no_false_alarm(shipped, tmp_path):
    """At the end the mainline's losses are near float32's resolution, 1e-7: off by half, and right."""
    ckpt = shipped[-1]
    logits = ckpt.config.run(ckpt.weights, Pairs.all(113)).logits
    nll = torch.nn.functional.cross_entropy(logits, ckpt.task.labels.flatten(), reduction="none").view(113, 113)
    train, test = (float(nll[half].mean()) for half in (ckpt.train_mask, ~ckpt.train_mask))
    state = {"model": paper(ckpt.weights), "train_loss": train, "test_loss": test}
    interp.load_checkpoint(write(tmp_path / "m.pth", state), split="paper", seed=0)
    exact = nll_of(ckpt)
    assert train != pytest.approx(float(exact[ckpt.train_mask].mean()), rel=0.1)


@pytest.mark.parametrize(
    ("n", "longest", "last", "steps"),
    [
        (50_000, 50_000, None, range(50_000)),
        (5_000, 50_000, None, range(0, 50_000, 10)),
        (161, 161, 16_000, range(0, 16_001, 100)),
        (11, 100, 99, [*range(0, 100, 10), 99]),
        (1_601, 16_000, 16_000, [*range(0, 16_000, 10), 15_999]),
        (1_601, 1_601, 16_000, range(0, 16_001, 10)),
        (250, 25_000, 24_999, range(0, 25_000, 100)),
        (50_000, 50_000, 40_000, range(50_000)),
        (5_000, 16_001, 16_000, None),
        (3, 3, 16_000, None),
        (1, 100, 99, None),
        (7, 7, 16_000, None),  # 0, 3000, …, 15000 and the last, or 0, 2500, …, or many more
        (33, 33, 16_000, None),  # every 500, or every 512 and the last
    ],
)
def test_where_a_list_of_losses_stands(n, longest, last, steps):
    found = interp.runs.published.recorded._steps(n, longest, last)
    assert found == (None if steps is None else list(steps))


def test_of_several_spacings_the_one_that_divides_all_epochs_is_taken():
    """Seven records up to step 60 are every 9th, 10th, or 11th and the last; the checkpoints stand at twenties."""
    assert interp.runs.published.recorded._steps(7, 61, 60) is None
    assert interp.runs.published.recorded._steps(7, 61, 60, [0, 20, 40, 60]) == list(range(0, 61, 10))
    assert interp.runs.published.recorded._steps(33, 33, 16_000, [0, 512, 2048]) == [*range(0, 15_873, 512), 16_000]


def test_losses_that_cannot_be_placed_are_left_out_with_a_word(small_run, tmp_path):
    content = whole_run(small_run, "paper") | {"test_losses": [3.0, 2.0]}
    with pytest.warns(UserWarning, match="does not tell at which steps its 2 test_losses were recorded"):
        run = interp.load_run(write(tmp_path / "run.pth", content))
    assert run.history["test_loss"].isna().all()
    assert run.history["train_loss"].notna().all()
    odd = whole_run(small_run, "paper") | {"train_losses": [[1.0, 2.0], "x"]}
    with pytest.warns(
        UserWarning, match="train_losses must be a list of numbers; got a list of others. It is left out"
    ):
        assert interp.load_checkpoint(write(tmp_path / "odd.pth", odd), split=small_run.train_mask).step == 60


def recorded(run: interp.Run, column: str) -> list[float]:
    """A column of a history, at every tenth step."""
    return run.history.set_index("step").loc[range(0, 61, 10), column].tolist()


@pytest.mark.parametrize(
    ("kind", "name"),
    [("paper", "steps"), ("paper", "checkpoint_steps"), ("demo", "checkpoint_steps"), ("demo", "steps"),
     ("demo", "epochs")],
)  # fmt: skip
def test_the_steps_of_checkpoints_may_be_named_in_any_usual_way(small_run, tmp_path, kind, name):
    content = whole_run(small_run, kind)
    content[name] = content.pop("epochs" if kind == "paper" else "checkpoint_epochs")
    run = interp.load_run(write(tmp_path / "run.pth", content), split=small_run.train_mask)
    assert run.steps == (0, 20, 40, 60)
    assert torch.equal(run.at(20).weights["W_E"], small_run.at(20).weights["W_E"])
    assert recorded(run, "train_loss") == recorded(small_run, "train_loss")


def test_two_counts_of_the_same_checkpoints_are_said(small_run, tmp_path):
    content = whole_run(small_run, "paper")
    same = interp.load_run(write(tmp_path / "same.pth", {**content, "steps": torch.tensor([0, 20, 40, 60])}))
    assert same.steps == (0, 20, 40, 60)
    other = write(tmp_path / "other.pth", {**content, "steps": [0, 200, 400, 600]})
    with pytest.warns(UserWarning, match="counts its checkpoints in epochs, and differently in steps; epochs is used"):
        assert interp.load_run(other).steps == (0, 20, 40, 60)


@pytest.mark.parametrize("kind", ["paper", "demo"])
@pytest.mark.parametrize(
    ("train", "test"),
    [("train_accuracies", "test_accuracies"), ("train_accs", "test_accs"), ("train_acc", "val_acc"),
     ("train_accuracy", "eval_accuracy"), ("train_accuracies_percent", "test_accuracies_percent")],
)  # fmt: skip
def test_recorded_accuracies_become_the_history(small_run, tmp_path, kind, train, test):
    """Every tenth step, as the run recorded them; converted they are the same, and `phases` reads them."""
    ours, scale = small_run.history, 100 if "percent" in train else 1
    content = whole_run(small_run, kind) | {
        train: (ours["train_accuracy"] * scale).tolist(), test: torch.tensor(ours["test_accuracy"] * scale),
    }  # fmt: skip
    file, how = write(tmp_path / "run.pth", content), {"split": small_run.train_mask}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run = interp.load_run(file, **how)
    for column in ("train_accuracy", "test_accuracy"):
        assert run.history[column].count() == len(ours) == 7
        assert recorded(run, column) == pytest.approx(ours[column].tolist(), rel=1e-12)
    made = interp.convert(file, tmp_path / "made", progress=False, **how)
    pd.testing.assert_frame_equal(made.history, run.history)


def test_losses_of_validation_are_those_of_the_test_unless_both_are_there(small_run, tmp_path):
    content = whole_run(small_run, "paper")
    content["val_losses"] = content.pop("test_losses")
    run = interp.load_run(write(tmp_path / "val.pth", content), split=small_run.train_mask)
    assert recorded(run, "test_loss") == recorded(small_run, "test_loss")
    content["test_losses"] = [loss + 1 for loss in content["val_losses"]]
    with pytest.warns(UserWarning, match=r"records val_losses \(test_losses is used\) twice"):
        run = interp.load_run(write(tmp_path / "both.pth", content))
    assert recorded(run, "test_loss") == [loss + 1 for loss in recorded(small_run, "test_loss")]


def test_records_with_steps_of_their_own_stand_there(small_run, tmp_path):
    """A list of steps as long as the records, of which the training repeated one when it went on."""
    content = whole_run(small_run, "demo") | {
        "steps": [0, 1, 10, 10, 60], "train_losses": [5.0, 4.0, 3.0, 2.5, 1.0],
        "test_losses": [5.0, 4.0, 4.0, 3.5, 3.0], "test_accuracies": [0.0, 0.1, None, 0.25, 0.5],
    }  # fmt: skip
    with pytest.warns(UserWarning, match="is recorded"):  # other losses than the model's
        history = interp.load_run(write(tmp_path / "run.pth", content)).history
    assert history["step"].tolist() == [0, 1, 10, 60]
    assert history["train_loss"].tolist() == [5.0, 4.0, 2.5, 1.0]
    assert history["test_accuracy"].tolist() == [0.0, 0.1, 0.25, 0.5]


@pytest.mark.parametrize(
    ("records", "said"),
    [
        (
            {"test_accuracies": [1.0, 50.0, 98.5, 100.0]},
            "test_accuracies must be fractions between 0 and 1; got 100, so they are left out. If they are percent, "
            "name them test_accuracies_percent",
        ),
        ({"train_acc_pct": [1.0, 120.0, 5.0, 6.0]}, "train_acc_pct must be percentages between 0 and 100; got 120"),
        ({"test_accuracies": [0.5, -0.5, 0.5, 0.5]}, "must be fractions between 0 and 1; got -0.5"),
        ({"test_accuracies": [0.5, 0.5]}, "does not tell at which steps its 2 test_accuracies were recorded"),
        ({"grad_norms": [1.0, 2.0, 3.0, 4.0]}, "also records grad_norms; only losses and accuracies are read"),
        ({"norms": torch.ones(4), "betas": (0.9, 0.98)}, "also records norms; only"),
        ({"history": {"step": [0, 20, 40, 60], "train_loss": [4, 3, 2, 1]}}, "also records history; only"),
        ({"log": [{"step": step, "loss": 1.0} for step in (0, 20, 40, 60)]}, "also records log; only"),
    ],
)
def test_records_that_are_not_read_are_said(small_run, tmp_path, records, said):
    file = write(tmp_path / "run.pth", whole_run(small_run, "paper") | records)
    with pytest.warns(UserWarning, match=said) as warned:
        run = interp.load_run(file, split=small_run.train_mask)
    assert len(warned) == 1
    assert run.history["test_accuracy"].isna().all()
    assert recorded(run, "test_loss") == recorded(small_run, "test_loss")


def test_one_number_beside_a_model_is_no_record_of_a_training(tmp_path):
    """As He et al. save each epoch: the losses are compared, and all the rest is left alone."""
    model = saved("paper")
    nll = nll_of(interp.load_checkpoint(write(tmp_path / "bare.pt", model.state)))
    beside = {
        "train_loss": float(nll[MASK].mean()), "val_loss": nll[~MASK].mean(), "train_accuracy": 0.1,
        "test_accuracy": np.float64(0.1), "epoch": 700, "grad_norm": 1.0,
    }  # fmt: skip
    file = write(tmp_path / "m.pth", {"model": model.state, **beside})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert interp.load_checkpoint(file, split=MASK).step == 700
    wrong = write(tmp_path / "w.pth", {"model": model.state, **beside, "val_loss": 99.0})
    with pytest.warns(UserWarning, match="test loss is .* and 99 is recorded"):
        interp.load_checkpoint(wrong, split=MASK)


@pytest.mark.parametrize("order", ["<f4", ">f4", ">f8"])
def test_a_state_dict_of_numpy_arrays_is_read_whatever_its_order_of_bytes(tmp_path, order):
    model = saved("paper")
    state = {key: value.numpy().astype(order)[::-1].copy()[::-1] for key, value in model.state.items()}
    file = write(tmp_path / "m.pth", {"model": state})
    ckpt = interp.load_checkpoint(file)
    assert all(torch.equal(ckpt.weights[key], weight) for key, weight in model.weights.items())


def test_a_model_saved_in_another_precision_than_its_checkpoints_has_no_step(small_run, tmp_path):
    """torch refuses to compare tensors of two precisions; they are not the same."""
    content = whole_run(small_run, "demo")
    content["model"] = {key: value.double() for key, value in content["model"].items()}
    assert interp.load_checkpoint(write(tmp_path / "run.pth", content)).step is None


def test_a_run_whose_checkpoints_and_epochs_disagree_is_said(small_run, tmp_path):
    content = whole_run(small_run, "paper")
    file = write(tmp_path / "run.pth", {**content, "epochs": [0, 1]})
    with pytest.raises(CheckpointError, match="equally long; it holds 4 checkpoints under state_dicts and 2 epochs"):
        interp.load_run(file)
    del content["epochs"]
    with pytest.raises(CheckpointError, match="it holds 4 checkpoints under state_dicts and no epochs or steps"):
        interp.load_run(write(tmp_path / "run.pth", content))
    with pytest.raises(CheckpointError, match="must hold at least one checkpoint; its list of state_dicts is empty"):
        interp.load_run(write(tmp_path / "run.pth", {"state_dicts": [], "epochs": []}))


def test_two_runs_of_the_same_sizes_have_their_own_key_frequencies(small_run, tmp_path):
    content = whole_run(small_run, "demo")
    other = {
        **content,
        "checkpoints": [*content["checkpoints"][:3], properties(random_weights(small_run.architecture))],
    }
    other["model"] = other["checkpoints"][-1]
    del other["train_losses"], other["test_losses"]
    for name, made in (("a.pth", content), ("b.pth", other)):
        run = interp.load_run(write(tmp_path / name, made))
        expected = interp.progress_measures(run[-1], key_frequencies=None)
        alone = interp.Checkpoint(run[-1].weights, run[-1].config, run.task, train_mask=run.train_mask)
        assert expected.key_frequencies == interp.progress_measures(alone).key_frequencies
        assert interp.progress_measures(run.at(0)).key_frequencies == expected.key_frequencies


def test_one_file_read_in_two_ways_has_two_sets_of_key_frequencies(small_run, tmp_path):
    """The same bytes with another task or attention are another model."""
    model = saved("constant attention")
    states = [model.state, {key: value * 1.5 for key, value in model.state.items()}]
    file = write(tmp_path / "run.pth", {"state_dicts": states, "epochs": [0, 1]})
    for how in ({"attention_coefficient": 0.3}, {"attention_coefficient": 1.0},
                {"attention_coefficient": 0.3, "task": Task(P, "subtract")}):  # fmt: skip
        run = interp.load_run(file, **how)
        alone = interp.Checkpoint(run[-1].weights, run[-1].config, run.task)
        assert interp.progress_measures(run.at(0)).key_frequencies == interp.progress_measures(alone).key_frequencies


def test_a_bad_epoch_does_not_keep_a_run_with_losses_from_opening(shipped, tmp_path):
    """The losses are then checked at another one."""
    steps = [0, 1_000, 1_400]
    at = shipped.history.set_index("step").loc[steps]
    for damage in (
        lambda s: s["embed.W_E"].fill_(float("nan")),
        lambda s: s.clear(),
        lambda s: s.update({"x": s["embed.W_E"]}),
    ):
        states = [paper({name: w.clone() for name, w in shipped.at(step).weights.items()}) for step in steps]
        damage(states[2])
        content = {
            "state_dicts": states, "epochs": steps, "model": states[1],
            "train_losses": at["train_loss"].tolist(), "test_losses": at["test_loss"].tolist(),
        }  # fmt: skip
        file = write(tmp_path / "run.pth", content)
        run = interp.load_run(file, split="paper", seed=0)
        with pytest.raises(CheckpointError, match="epoch 1400"):
            run.at(1_400)
        assert interp.load_checkpoint(file, step=1_000, split="paper", seed=0).step == 1_000
        with pytest.warns(UserWarning, match="is recorded in .* at step 1000"):
            interp.load_run(file, split="paper", seed=1)


def test_a_model_saved_before_the_record_ends_is_not_accused(shipped, tmp_path):
    """Its step is not in the file: somewhere in the record both its losses stand."""
    ckpt = shipped.at(9_000)
    history = shipped.history.set_index("step").reindex(range(16_001)).interpolate()
    content = {
        "model": paper(ckpt.weights),
        "train_losses": history["train_loss"].tolist(), "test_losses": history["test_loss"].tolist(),
    }  # fmt: skip
    file = write(tmp_path / "m.pth", content)
    interp.load_checkpoint(file, split="paper", seed=0)
    with pytest.warns(UserWarning, match="trained on another split, seed or task"):
        interp.load_checkpoint(file, split="paper", seed=1)


def test_one_checkpoint_is_no_run(tmp_path):
    with pytest.raises(CheckpointError, match="is a file of one checkpoint; a run is a directory, or a file of many"):
        interp.load_run(write(tmp_path / "m.pth", saved("paper").state))


def test_an_epoch_unlike_the_others_is_said_when_it_is_read(small_run, tmp_path):
    content = whole_run(small_run, "paper")
    del content["state_dicts"][1]["unembed.W_U"]
    run = interp.load_run(write(tmp_path / "run.pth", content))
    with pytest.raises(CheckpointError, match=r"run.pth, epoch 20: unlike its last epoch, it lacks unembed.W_U"):
        run.at(20)
    with pytest.warns(UserWarning, match="left out: .*epoch 20"):
        assert list(interp.trajectory(run, progress=False)["step"]) == [0, 40, 60]


# ── converting ───────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("kind", ["paper", "demo"])
def test_convert_writes_a_run_of_ours(small_run, tmp_path, kind):
    file = write(tmp_path / "run.pth", whole_run(small_run, kind))
    how = {"split": small_run.train_mask} if kind == "paper" else {}
    made = interp.convert(file, tmp_path / "made", progress=False, **how)
    again = interp.load_run(tmp_path / "made")
    assert made.steps == again.steps == small_run.steps
    assert again.config is None
    assert torch.equal(again.train_mask, small_run.train_mask)
    pd.testing.assert_frame_equal(again.history, interp.load_run(file, **how).history)
    pd.testing.assert_frame_equal(
        interp.trajectory(again, progress=False), interp.trajectory(small_run, progress=False)
    )
    assert (tmp_path / "made" / "measures.parquet").exists()
    assert not list(tmp_path.glob(".*"))
    with pytest.raises(CheckpointError, match="already exists; name a new directory"):
        interp.convert(file, tmp_path / "made", progress=False, **how)
    with pytest.raises(CheckpointError, match="was converted from another format; its training settings are not known"):
        interp.train(None, tmp_path / "made", resume=True)


@pytest.mark.parametrize("name", NAMES)
def test_one_model_of_every_layout_is_converted(tmp_path, name):
    model = saved(name)
    file = write(tmp_path / "m.pt", model.state)
    run = interp.convert(file, tmp_path / "run", split=MASK, step=7, progress=False, **asked(model))
    assert run.steps == (7,)
    assert run.architecture == model.config
    assert all(torch.equal(run[-1].weights[key], weight) for key, weight in model.weights.items())
    before = interp.progress_measures(interp.load_checkpoint(file, split=MASK, **asked(model)))
    after = interp.progress_measures(run)
    assert after.sum_squared_weights == pytest.approx(before.sum_squared_weights, rel=1e-12)  # in another order
    known = replace(after, step=None, key_step=None, sum_squared_weights=before.sum_squared_weights)
    assert known.to_dict() == before.to_dict()


def test_one_model_keeps_the_losses_and_accuracies_recorded_beside_it(tmp_path):
    """As the paper's files hold them: one model, and the losses of every step up to its own."""
    rows = {"train_losses": [2.5, 2.25, 2.0], "test_losses": [3.0, 3.5, 4.0], "test_accuracies": [0.0, 0.25, 0.5]}
    file = write(tmp_path / "m.pth", {"model": saved("paper").state, "epoch": 2, **rows})
    history = interp.convert(file, tmp_path / "run", progress=False).history
    assert history["step"].tolist() == [0, 1, 2]
    assert history["train_loss"].tolist() == rows["train_losses"]
    assert history["test_accuracy"].tolist() == rows["test_accuracies"]


def test_a_model_of_unknown_step_is_converted_as_step_0_and_that_is_said(tmp_path):
    file = write(tmp_path / "m.pt", saved("paper").state)
    with pytest.warns(UserWarning, match="does not tell at which step it was saved; it becomes step 0"):
        assert interp.convert(file, tmp_path / "run", progress=False).steps == (0,)


def test_a_conversion_that_fails_leaves_nothing(small_run, tmp_path):
    content = whole_run(small_run, "paper")
    content["state_dicts"][2]["unembed.W_U"] = torch.full((16, 14), float("nan"))
    file = write(tmp_path / "run.pth", content)
    with pytest.raises(CheckpointError, match=r"epoch 40: W_U must be finite; got 224 of"):
        interp.convert(file, tmp_path / "made", progress=False)
    assert list(tmp_path.iterdir()) == [file]


# ── what is no such file ─────────────────────────────────────────────────────────────────────────────────────────


class Malice:
    """What a hostile checkpoint would hold: unpickling it runs a command."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self):
        return os.system, (f"touch {self.target}",)


@pytest.mark.parametrize("how", ["torch", "torch before 1.6", "pickle"])
@pytest.mark.parametrize("where", ["alone", "beside the weights"])
@pytest.mark.parametrize("name", ["m.pth", "m.safetensors"])
def test_pickled_code_never_runs(tmp_path, how, where, name):
    target, file = tmp_path / "pwned", tmp_path / name
    content = Malice(target) if where == "alone" else {"model": saved("paper").state, "config": Malice(target)}
    if how == "pickle":
        file.write_bytes(pickle.dumps(content))
    else:
        torch.save(content, file, _use_new_zipfile_serialization=how == "torch")
    for read in (interp.load_checkpoint, interp.load_run, interp.progress_measures):
        with pytest.raises(CheckpointError, match=r"m\.(pth|safetensors)") as error:
            read(file)
        assert "\n" not in str(error.value)
        assert "posix.system" in str(error.value) or "nt.system" in str(error.value)
        assert "code in a checkpoint is never run; its owner can re-save it" in str(error.value)
    with pytest.raises(CheckpointError):
        interp.convert(file, tmp_path / "run")
    assert not target.exists()
    pickle.loads(pickle.dumps(Malice(target)))  # and the pickle is one that would have
    assert target.exists()


def test_a_whole_pickled_model_is_refused_with_what_it_holds(tmp_path):
    file = write(tmp_path / "model.pt", torch.nn.Linear(2, 2))
    with pytest.raises(CheckpointError, match=r"more than data \(.*torch.nn.modules.linear.Linear.*state_dict\(\)"):
        interp.load_checkpoint(file)


@pytest.mark.parametrize("keep", [0, 1, 100, 0.5, -1])
@pytest.mark.parametrize("kind", ["torch", "torch before 1.6", "safetensors"])
def test_a_file_cut_short_is_one_sentence(tmp_path, kind, keep):
    file = tmp_path / "m.pth"
    state = contiguous(saved("paper").state)
    if kind == "safetensors":
        save_file(state, file)
    else:
        torch.save(state, file, _use_new_zipfile_serialization=kind == "torch")
    raw = file.read_bytes()
    file.write_bytes(raw[: int(len(raw) * keep) if isinstance(keep, float) else keep])
    with pytest.raises(CheckpointError, match=r"m.pth \([\d,]+ bytes\) is no whole safetensors") as error:
        interp.load_checkpoint(file)
    assert "\n" not in str(error.value)


def test_an_unknown_layout_is_said_with_what_was_found_and_what_came_nearest(tmp_path):
    state = saved("paper").state
    del state["blocks.0.mlp.b_in"]
    state["blocks.0.mlp.bias"] = torch.zeros(3)
    with pytest.raises(CheckpointError) as error:
        interp.load_checkpoint(write(tmp_path / "m.pth", state))
    said = str(error.value)
    assert "embed.W_E [16, 12]" in said
    assert "Nearest is paper" in said
    assert "but it lacks blocks.0.mlp.b_in; also has blocks.0.mlp.bias" in said
    for known in ("TransformerLens 1.x to 3.x", "TransformerLens 4 bridge", "one hidden layer", "interp's own"):
        assert known in said


@pytest.mark.filterwarnings("ignore:.*quantized tensor creation functions", "ignore:TypedStorage is deprecated")
@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            lambda s: s.update({"unembed.W_U": torch.zeros(15, 12)}),
            r"has unembed.W_U \[15, 12\], but embed.W_E gives d_m",
        ),
        (
            lambda s: s.update({"unembed.W_U": torch.zeros(16)}),
            r"has unembed.W_U \[16\], expected \[d_model, d_vocab_out\]",
        ),
        (
            lambda s: s.update({"blocks.0.attn.W_O": torch.zeros(16, 13)}),
            r"W_O for heads of 13 in all, expected 2 of 6",
        ),
        (lambda s: s.update({"unembed.W_U": torch.zeros(16, 12, dtype=torch.long)}), "has unembed.W_U as torch.int64"),
        (lambda s: s.update({"blocks.1.attn.W_K": torch.zeros(2)}), r"bridge: .*progress_measures\(bridge"),
        (lambda s: s.clear(), "no state dict; expected one"),
        (
            lambda s: s.update({"embed.W_E": s["embed.W_E"].to_sparse()}),
            r"has embed.W_E as a sparse tensor \(.*\), expected plain tensors of floats",
        ),
        (
            lambda s: s.update({"embed.W_E": s["embed.W_E"].to("meta")}),
            "has embed.W_E as a tensor on meta, without values, expected plain",
        ),
        (
            lambda s: s.update({"embed.W_E": torch.nested.nested_tensor(list(s["embed.W_E"]), layout=torch.jagged)}),
            "holds embed.W_E nested, .*has embed.W_E as a nested tensor, expected plain",
        ),
        (
            lambda s: s.update({"embed.W_E": torch.quantize_per_tensor(s["embed.W_E"], 0.1, 0, torch.qint8)}),
            r"has embed.W_E as a quantized tensor \(torch.qint8\), expected plain",
        ),
        (
            lambda s: s.update({"embed.W_E": torch.zeros(16, 0)}),
            r"has embed.W_E as an empty tensor \[16, 0\], expected plain",
        ),
        (  # a terabyte, of one number
            lambda s: s.update({"unembed.W_U": torch.ones(1).expand(2**20, 2**18)}),
            r"has unembed.W_U as a repeated tensor \(274,877,906,944 entries, and fewer in the file\)",
        ),
    ],
)
def test_a_state_dict_that_does_not_add_up_is_said(tmp_path, change, said):
    state = saved("paper").state
    change(state)
    with pytest.raises(CheckpointError, match=said):
        interp.load_checkpoint(write(tmp_path / "m.pth", state))


def test_values_that_are_not_finite_are_said(tmp_path):
    state = saved("paper").state
    state["blocks.0.mlp.b_in"] = torch.full((24,), float("inf"))
    with pytest.raises(CheckpointError, match=r"m.pth: b_in must be finite; got 24 of 24"):
        interp.load_checkpoint(write(tmp_path / "m.pth", state))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ([1, 2], "holds a list; expected a state dict"),
        ({"losses": [1.0]}, r"holds .losses. \(list\), and no state dict"),
        ({"model": {}, "losses": torch.ones(2)}, "holds no tensors|holds losses"),
    ],
)
def test_a_file_of_something_else_is_said(tmp_path, content, said):
    with pytest.raises(CheckpointError, match=said):
        interp.load_checkpoint(write(tmp_path / "m.pth", content))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b'{"a": 1}', "it begins with"),
        (b"\x93NUMPY\x01\x00", "it begins with"),
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n",
            "only a pointer to the file; fetch .*git lfs pull",
        ),
        (b"PK\x03\x04 and no more", "its archive breaks off or is not torch's"),
        (pickle.dumps({"a": [1, 2]}), "its pickle breaks off or is not torch's|no state dict"),
    ],
)
def test_a_file_of_another_kind_is_said(tmp_path, content, said):
    (tmp_path / "m.pth").write_bytes(content)
    with pytest.raises(CheckpointError, match=said) as error:
        interp.load_checkpoint(tmp_path / "m.pth")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "arguments", "said"),
    [
        (
            "paper",
            {"task": Task(13)},
            r"vocabulary of 12, 12 outputs and 3 positions; a task of p = 13 needs a vocabulary of 14",
        ),
        ("paper", {"attention_coefficient": 1.5}, "attention_coefficient must be .* at most 1; got 1.5"),
        ("paper", {"n_heads": 3}, "has 2 heads, not 3"),
        ("bridge", {"n_heads": 5}, "heads of 12 in all, which n_heads must divide; got 5"),
        ("paper", {"step": 5}, "does not tell its step; leave step out"),
        ("constant attention", {}, r"give attention_coefficient \(--attention-coefficient\): 1 for softmax alone"),
        ("one hidden layer, summed", {"attention_coefficient": 0.5}, "one hidden layer and has no attention"),
        ("one hidden layer, summed", {"task": Task(7)}, "vocabulary of 11 and 11 outputs; a task of p = 7 needs 7"),
    ],
)
def test_arguments_that_do_not_fit_the_file_are_said(tmp_path, name, arguments, said):
    file = write(tmp_path / "m.pth", saved(name).state)
    with pytest.raises((ConfigError, CheckpointError), match=said) as error:
        interp.load_checkpoint(file, **arguments)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        ("interp.load_checkpoint(file, 113)", r"task must be an interp\.Task, such as interp\.Task\(113\); got 113"),
        ("interp.load_checkpoint(ours, 113)", r"task must be an interp\.Task, such as interp\.Task\(113\); got 113"),
        ("interp.load_checkpoint(file, 'sum')", "operation must be add, subtract, quadratic or random; got 'sum'"),
        ("interp.load_checkpoint(ours, 'sum')", "operation must be add, subtract, quadratic or random; got 'sum'"),
        ("interp.load_checkpoint(file, split='paper', seed='0')", r"seed must be a whole number .*; got '0'"),
        ("interp.load_checkpoint(file, split='torch', seed=1.0)", r"seed must be a whole number .*; got 1\.0"),
        ("interp.load_checkpoint(None)", r"takes a path, or with model=interp\.Model.* a state dict; got None"),
        ("interp.load_checkpoint({'W_E': 1})", r"takes a path, or with model=interp\.Model.*; got a dict"),
        ("interp.compare([ckpt])", "takes a dict of models by name; got a list"),
        ("interp.compare({})", "takes a dict of models by name; got an empty one"),
        ("interp.convert(file, folder / 'x', step=True)", "step must be a whole number of at least 0; got True"),
        ("interp.compare({'x': 3})", "must be a Checkpoint, a Run, an interp.Model, or a path; got 3 as 'x'"),
        ("interp.progress_measures(ckpt, key_frequencies='14')", r"must be whole numbers, .*; got '14'"),
        ("interp.progress_measures(ckpt, key_frequencies=[1.5])", r"must be whole numbers, .*; got \[1\.5\]"),
        ("interp.convert(file, '.')", "already exists; name a new directory"),
        ("interp.convert(file, folder / 'x', step=-1)", "step must be a whole number of at least 0; got -1"),
        ("interp.convert(file, folder / 'x', step=2.5)", "step must be a whole number of at least 0; got 2.5"),
        ("interp.convert(told, folder / 'x', step=3)", "holds step 700, not step 3; leave step out"),
    ],
)
def test_arguments_of_another_kind_are_one_sentence(tmp_path, small_run, call, said):
    """In a process of its own: here the tests' own type checks would speak first."""
    write(tmp_path / "m.pth", saved("paper").state)
    write(tmp_path / "told.pth", {"model": saved("paper").state, "epoch": 700})
    code = f"""
        import interp
        from pathlib import Path
        folder = Path({str(tmp_path)!r})
        file, told, ours = folder / "m.pth", folder / "told.pth", {str(small_run.file(60))!r}
        ckpt = interp.load_checkpoint(ours)
        try:
            {call}
        except (interp.ConfigError, interp.CheckpointError) as error:
            print(error)
        """
    printed = outside(code).strip()
    assert re.search(said, printed), printed
    assert "\n" not in printed
    assert not (tmp_path / "x").exists()


def test_what_a_file_of_ours_tells_itself_is_not_to_be_given(small_run, tmp_path):
    file = tmp_path / "copy.safetensors"
    file.write_bytes(small_run.file(60).read_bytes())
    with pytest.raises(ConfigError, match="knows its own attention_coefficient"):
        interp.load_checkpoint(file, attention_coefficient=0.5)
    with pytest.raises(ConfigError, match="is for reading a file"):
        interp.progress_measures(small_run, attention_coefficient=0.5)


# ── addresses ────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def memory():
    import fsspec

    files = fsspec.filesystem("memory")
    yield files
    files.store.clear()
    files.pseudo_dirs.clear()


def test_an_address_is_read_like_a_path(memory, small_run, small_run_path, tmp_path):
    model = saved("paper")
    file = write(tmp_path / "m.pth", model.state)
    for address in ("memory://models/m.pth", f"file://{file}", f"local://{file}"):
        if address.startswith("memory"):
            memory.pipe("/models/m.pth", file.read_bytes())
        ckpt = interp.load_checkpoint(address)
        assert all(torch.equal(ckpt.weights[key], weight) for key, weight in model.weights.items())
    assert interp.load_checkpoint("memory://models/m.pth").path == "memory://models/m.pth"
    assert interp.progress_measures("memory://models/m.pth").to_dict() == interp.progress_measures(file).to_dict()
    memory.pipe("/models/run.pth", write(tmp_path / "run.pth", whole_run(small_run, "demo")).read_bytes())
    assert interp.load_run("memory://models/run.pth").steps == small_run.steps
    memory.put(str(small_run_path), "/runs/small", recursive=True)
    alone = "memory://runs/small/checkpoints/step_00000060.safetensors"
    assert interp.load_checkpoint(alone).path == alone
    ours = interp.load_run("memory://runs/small")
    assert ours.path == "memory://runs/small"
    assert ours.steps == small_run.steps
    assert interp.progress_measures("memory://runs/small").to_dict() == interp.progress_measures(small_run).to_dict()


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("memory://nothing.pth", "memory://nothing.pth cannot be fetched"),
        ("nosuch://bucket/m.pth", "nosuch://bucket/m.pth cannot be fetched .*nosuch"),
        ("file:///nowhere/m.pth", "/nowhere/m.pth does not exist"),
    ],
)
def test_an_address_that_leads_nowhere_is_said(memory, address, said):
    with pytest.raises(CheckpointError, match=said):
        interp.load_checkpoint(address)


def test_every_message_about_an_address_names_the_address(memory):
    memory.pipe("/bad.pth", b"PK nothing")
    with pytest.raises(CheckpointError, match=r"^memory://bad.pth \(10 bytes\) is no whole"):
        interp.load_checkpoint("memory://bad.pth")


# ── the mechanism ────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("p", [2, 7, 12])
@pytest.mark.parametrize("operation", ["add", "subtract"])
def test_distance_irrelevance_in_closed_form(p, operation):
    """The right logit is f(s) + g(d): for every d it deviates over s as f does; over all, f's and g's variances add."""
    task = Task(p, operation)
    irrelevance = interp.measures.mechanism.distance_irrelevance
    generator = torch.Generator().manual_seed(p)
    f, g = torch.randn(p, generator=generator).double(), torch.randn(p, generator=generator).double()
    M = torch.zeros(p, p, p).scatter(
        -1, task.labels[..., None], (f[task.labels] + g[task.distances])[..., None].float()
    )
    if p % 2:
        expected = float(f.std(correction=0) / (f.var(correction=0) + g.var(correction=0)).sqrt())
        assert irrelevance(M, task.labels, task.distances) == pytest.approx(expected, rel=1e-6)
    only_d = torch.zeros(p, p, p).scatter(-1, task.labels[..., None], g[task.distances][..., None].float())
    assert irrelevance(only_d, task.labels, task.distances) == pytest.approx(0, abs=1e-7)
    clock = analytic_logits(p, {1: 1.0}, task.labels)  # every right logit is 1
    assert np.isnan(irrelevance(torch.ones_like(clock), task.labels, task.distances))


def test_a_network_that_reads_a_and_b_through_their_sum_is_wholly_symmetric(tmp_path):
    """Summed embeddings: ∂L/∂E_a = ∂L/∂E_b for every pair and output."""
    file = write(tmp_path / "m.pt", saved("one hidden layer, summed").state)
    assert interp.progress_measures(file, mechanism=True).gradient_symmetricity == pytest.approx(1, abs=1e-6)


def test_a_network_that_reads_a_and_b_apart_is_not_symmetric_at_all(tmp_path):
    """Concatenated, with the rows of W for a and for b orthogonal: so are the gradients."""
    model = saved("one hidden layer, concatenated")
    state = dict(model.state)
    W = state["W"].clone()
    W[:5] = 0  # a is read through its last five numbers,
    W[15:] = 0  # b through its first five
    state["W"] = W
    assert interp.progress_measures(write(tmp_path / "m.pt", state), mechanism=True).gradient_symmetricity == 0


@pytest.mark.parametrize("name", ["paper", "constant attention", "one hidden layer, concatenated"])
def test_the_gradients_are_those_of_the_logits(name):
    """Central differences of the float64 forward, one pair, one direction each: 1e-6 of their scale."""
    model = saved(name)
    weights = {key: value.double() for key, value in model.weights.items()}
    pairs = Pairs(P, torch.tensor([3]), torch.tensor([8]))
    grad_a, grad_b = model.config.input_gradients(weights, pairs)
    for grad, token, table in [(grad_a, 3, "W_E"), (grad_b, 8, "W_E")]:
        table = {3: "W_x", 8: "W_y"}[token] if "W_x" in weights else table
        direction = torch.randn(grad.shape[-1], generator=torch.Generator().manual_seed(0)).double()
        ends = []
        for sign in (1, -1):
            moved = {**weights, table: weights[table].clone()}
            moved[table][token] += sign * 1e-6 * direction
            ends.append(model.config.run(moved, pairs).logits[0, :P])
        slope = (ends[0] - ends[1]) / 2e-6
        torch.testing.assert_close(grad[0] @ direction, slope, rtol=0, atol=1e-6 * float(slope.abs().max()))


def test_the_mechanism_is_measured_on_request_only(small_run):
    m = interp.progress_measures(small_run)
    assert m.gradient_symmetricity is m.distance_irrelevance is None
    assert "gradient_symmetricity" not in str(m)
    assert "gradient_symmetricity" not in m.row()
    asked_for = interp.progress_measures(small_run, mechanism=True)
    assert 0 < asked_for.distance_irrelevance < 1
    assert -1 <= asked_for.gradient_symmetricity <= 1
    assert "gradient_symmetricity" in str(asked_for)
    assert asked_for.row()["distance_irrelevance"] == asked_for.distance_irrelevance
    random = interp.progress_measures(small_run[-1].model(), task=Task(13, "random"), mechanism=True)
    assert random.gradient_symmetricity is not None
    assert "random labels" in random.missing["distance_irrelevance"]


def test_a_large_p_is_sampled_and_the_sample_is_the_same_every_time(shipped):
    one, two = (interp.progress_measures(shipped, mechanism=True) for _ in range(2))
    assert one.gradient_symmetricity == two.gradient_symmetricity
    line = next(line for line in str(one).splitlines() if line.startswith("gradient_symmetricity"))
    value, error = (float(number) for number in line.removeprefix("gradient_symmetricity").split("±"))
    assert value == pytest.approx(one.gradient_symmetricity, abs=0.5e-3)
    assert error == pytest.approx(one["gradient_symmetricity_error"], rel=0.05) == pytest.approx(0.014, abs=5e-4)


def test_models_are_compared_in_one_table(tmp_path, small_run):
    names = ("constant attention", "one hidden layer, summed")
    models = {
        name: interp.load_checkpoint(write(tmp_path / f"{i}.pt", saved(name).state), split=MASK, **asked(saved(name)))
        for i, name in enumerate(names)
    }
    frame = interp.compare(models | {"own": small_run[-1]}, mechanism=True, progress=False)
    assert list(frame["model"]) == [*names, "own"]
    assert list(frame["p"]) == [P, P, 13]
    assert list(frame["attention_coefficient"].fillna(-1)) == [0.3, -1, 1]
    for row, ckpt in zip(frame.to_dict("records"), [*models.values(), small_run[-1]], strict=True):
        m = interp.progress_measures(ckpt, mechanism=True)
        assert row["key_frequencies"] == m.key_frequencies
        assert row["test_loss"] == m.test_loss
        assert row["gradient_symmetricity"] == m.gradient_symmetricity
        assert row["gradient_symmetricity_error"] == m["gradient_symmetricity_error"]
    assert "distance_irrelevance" not in interp.compare(models, progress=False)


# ── the shell ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_shell_measures_and_converts_files_of_others(small_run, tmp_path):
    model = saved("constant attention")
    file = write(tmp_path / "m.pt", model.state)
    done = shell("measure", file, "--attention-coefficient", 0.3, "--mechanism", "--json", "--p", P)
    assert done.returncode == 0, done.stderr  # untrained: the file does not record its task, so it is given
    plain = json.loads(done.stdout)
    expected = interp.progress_measures(file, task=interp.Task(P), attention_coefficient=0.3, mechanism=True)
    assert plain["gradient_symmetricity"] == pytest.approx(expected.gradient_symmetricity)
    assert "attention_coefficient (--attention-coefficient)" in shell("measure", file).stderr
    run = write(tmp_path / "run.pth", whole_run(small_run, "demo"))
    done = shell("convert", run, tmp_path / "made")
    assert done.returncode == 3, done.stderr  # after 60 steps it has not learned the task, which the file does not name
    assert "the file does not record its task and is measured as a + b mod 13" in " ".join(done.stderr.split())
    assert "4 checkpoints, steps 0 to 60, p = 13, its split" in " ".join(done.stderr.split())
    assert interp.load_run(tmp_path / "made").steps == small_run.steps
    lines = shell("measure", run, "--step", 20, "--step", 60, "--json").stdout.splitlines()
    assert [json.loads(line)["step"] for line in lines] == [20, 60]
    assert "memorization" in shell("phases", run).stdout
    bad = shell("convert", tmp_path / "none.pth", tmp_path / "x")
    assert bad.returncode == 2
    assert "does not exist" in bad.stderr


@pytest.mark.parametrize("name", ["paper", "one hidden layer, summed"])
def test_an_operation_alone_is_taken_modulo_what_the_file_tells(tmp_path, name):
    file = write(tmp_path / "m.pt", saved(name).state)
    told = interp.load_checkpoint(file)
    assert told.task_origin == "assumed"
    subtract = interp.load_checkpoint(file, "subtract")
    assert (subtract.task, subtract.task_origin) == (Task(told.task.p, "subtract"), "given")


def test_an_operation_alone_of_a_file_of_ours(small_run, tmp_path):
    alone = tmp_path / "alone.safetensors"
    alone.write_bytes(small_run.file(60).read_bytes())
    assert interp.load_checkpoint(alone, "quadratic").task == Task(13, "quadratic")


# ── real models of others ────────────────────────────────────────────────────────────────────────────────────────

here = pytest.mark.skipif(
    not PUBLISHED.is_dir(), reason=f"no published models in {PUBLISHED}; INTERP_PUBLISHED names their folder"
)

# Reference values computed in float64 by other code, with the definitions of the papers.
TABLE = {
    "paper_p113_seed1_float32.pth": (
        {"split": "paper", "seed": 1},
        (3, 6, 23, 39),
        {"train_loss": 3.0451812e-4, "test_loss": 3.9949937e-3, "restricted_loss": 3.6429384e-3,
         "excluded_loss": 18.484954, "sum_squared_weights": 1136.12696},
        {"logit_variance_explained": 0.63308, "embedding_gini": 0.58431, "unembedding_gini": 0.60436,
         "single_frequency_neurons": 0.79102},
    ),
    "tl1_p113_seed1.pt": (
        {"split": "torch", "seed": 1},
        (16, 30, 56),
        {"train_loss": 8.859247e-8, "test_loss": 1.884755e-7, "restricted_loss": 5.568347e-8,
         "excluded_loss": 9.055782, "sum_squared_weights": 849.56508},
        {"logit_variance_explained": 0.97126, "embedding_gini": 0.65496, "unembedding_gini": 0.84072,
         "single_frequency_neurons": 0.96680},
    ),
    "tl1_p118_seed1.pt": (
        {"split": "torch", "seed": 1},
        (10, 16, 19, 37, 59),
        {"train_loss": 9.440099e-8, "test_loss": 1.667656e-7, "restricted_loss": 5.796907e-8,
         "excluded_loss": 5.693401, "sum_squared_weights": 921.66401},
        {"logit_variance_explained": 0.98662, "embedding_gini": 0.76828, "unembedding_gini": 0.85172,
         "single_frequency_neurons": 0.83398},
    ),
    "pizza_p59_attn0.804.pt": (
        {"attention_coefficient": 0.8041592198855598},
        (5, 10, 12, 23),
        {"loss": 1.619684e-7},
        {"distance_irrelevance": 0.7201},
    ),
    "mlp_p113_seed1.pt": (
        {"split": "torch", "seed": 1},
        (4, 11, 16, 17, 22, 44, 50),
        {"train_loss": 1.605952e-6, "test_loss": 2.863283e-5, "restricted_loss": 1.264704e-5,
         "excluded_loss": 3.480368, "sum_squared_weights": 5459.01091},
        {},
    ),
}  # fmt: skip


@here
@pytest.mark.parametrize("name", TABLE)
def test_published_models_give_their_published_numbers(name):
    """Losses to 5 significant digits, shares to 1e-3: what the table promises."""
    how, keys, exact, shares = TABLE[name]
    ckpt = interp.load_checkpoint(PUBLISHED / name, **how)
    m = interp.progress_measures(ckpt, mechanism=name.startswith("pizza"))
    assert m.key_frequencies == keys
    for measure, value in exact.items():
        assert getattr(m, measure) == pytest.approx(value, rel=5e-6), measure
    for measure, value in shares.items():
        assert getattr(m, measure) == pytest.approx(value, abs=1e-3), measure
    if name.startswith("pizza"):
        assert m.gradient_symmetricity == pytest.approx(0.7731, abs=0.005)
    hooked = interp.progress_measures(ckpt.model(), task=ckpt.task, split=ckpt.train_mask)
    assert hooked.key_frequencies == keys
    for measure, value in exact.items():  # the same weights in another order of float32 sums
        assert getattr(hooked, measure) == pytest.approx(value, rel=1e-4), measure


@here
def test_a_published_mlp_has_minor_frequencies_at_a_smaller_share():
    m = interp.progress_measures(PUBLISHED / "mlp_p113_seed1.pt", share=5e-5)
    assert m.key_frequencies == (1, 4, 8, 11, 13, 16, 17, 22, 25, 32, 34, 44, 50)


@here
def test_the_wrong_seed_of_a_published_run_is_said():
    with pytest.warns(UserWarning, match=r"train loss is 0.0033\d+ and 0.00029\d+ is recorded"):
        interp.load_checkpoint(PUBLISHED / "paper_p113_seed1_float32.pth", split="paper", seed=2)


def test_a_single_checkpoint_that_was_converted_has_a_trajectory_of_one_row(tmp_path):
    write(tmp_path / "m.pth", saved("paper").state)
    run = interp.convert(tmp_path / "m.pth", tmp_path / "run", split="paper", seed=0, step=7, progress=False)
    frame = interp.trajectory(run, progress=False)
    assert frame["step"].tolist() == [7]
    assert interp.phases(run).last_step == 7
