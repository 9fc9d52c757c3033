"""Bridges of other shapes, from their own files, and by interp.Model."""

import copy
import json
from dataclasses import replace

import pytest
import torch
from safetensors.torch import save_file
from transformer_lens.config import TransformerBridgeConfig
from transformer_lens.model_bridge import TransformerBridge
from transformer_lens.utilities.tl_checkpoint_conversion import convert_tl_checkpoint

import interp
from interp import CheckpointError, ConfigError, LayeredTransformer, Task
from tests.processes import interp as shell

P = 7
SIZES = {"d_model": 16, "d_head": 8, "n_heads": 2, "n_ctx": 3, "d_vocab": P + 1, "d_vocab_out": P + 1, "d_mlp": 24}
SHAPES = {
    "two layers, layer norm": {"n_layers": 2, "normalization_type": "LN", "act_fn": "gelu"},
    "one layer, layer norm": {"n_layers": 1, "normalization_type": "LN", "act_fn": "relu"},
    "three layers, no norm": {"n_layers": 3, "normalization_type": None, "act_fn": "relu"},
}


def bridge_of(shape: str, seed: int = 3) -> TransformerBridge:
    config = TransformerBridgeConfig(**SIZES, **SHAPES[shape], seed=seed, init_weights=True, device="cpu")
    bridge = TransformerBridge.boot_native(config)
    with torch.no_grad():
        for name, weight in bridge.named_parameters():  # of order one everywhere, norms and biases too
            weight.add_(0.3 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(len(name))))
    return bridge


@pytest.fixture(params=SHAPES)
def bridge(request):
    return bridge_of(request.param)


def numbers(m: interp.ProgressMeasures) -> dict:
    beside = ("step", "key_step", "missing", "doubts")
    return {name: value for name, value in m.to_dict().items() if name not in beside}


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("how", ["a dict", "the object", "JSON of its name", "config.json"])
def test_the_state_of_a_bridge_with_its_config_is_measured_as_the_bridge(bridge, how, tmp_path):
    config = vars(bridge.cfg)
    plain = {name: value for name, value in config.items() if isinstance(value, str | int | float | None)}
    file = tmp_path / "mine.pt"
    if how == "a dict":
        torch.save({"model": bridge.state_dict(), "config": config, "epoch": 40}, file)
    elif how == "the object":
        torch.save({"state_dict": bridge.state_dict(), "cfg": bridge.cfg}, file)
    else:
        file = tmp_path / "mine.safetensors"
        save_file({name: w.contiguous() for name, w in bridge.state_dict().items()}, file)
        (tmp_path / ("config.json" if how == "config.json" else "mine.json")).write_text(json.dumps(plain))
    ckpt = interp.load_checkpoint(file, Task(P), split="torch", seed=0)
    expected = interp.progress_measures(bridge, Task(P), split="torch", seed=0, mechanism=True)
    found = numbers(interp.progress_measures(ckpt, mechanism=True))
    assert isinstance(ckpt.config, LayeredTransformer)
    for name, value in numbers(expected).items():  # W_out · W_U is multiplied in another order: float32
        assert (found[name] is None) == (value is None), name
        if isinstance(value, float | list):
            assert found[name] == pytest.approx(value, rel=1e-5, abs=1e-6, nan_ok=True), name
        elif value is not None:
            assert found[name] == value, name
    assert ckpt.step == (40 if how == "a dict" else None)
    logits = interp.hooked_activations(bridge, P).logits
    torch.testing.assert_close(interp.activations(ckpt).logits, logits, rtol=0, atol=1e-6 * float(logits.abs().max()))
    tokens = torch.tensor([[1, 2, P]])
    assert torch.equal(ckpt.model()(tokens), bridge(tokens))


def test_what_a_bridges_file_does_not_tell_or_tells_wrong_is_a_sentence(tmp_path):
    bridge = bridge_of("two layers, layer norm")
    state, config = bridge.state_dict(), vars(bridge.cfg)
    for name, content, said in (
        ("bare", state, r"does not tell its activation, .* give activation \(--activation\), or save its config"),
        ("size", {"model": state, "config": config | {"d_model": 8}}, "the file disagrees with itself"),
        ("heads", {"model": state, "config": config | {"n_heads": 10**9}}, "which n_heads must divide; got 1000000000"),
        (
            "norm",
            {"model": state, "config": config | {"normalization_type": "odd"}},
            "'odd' .* holds the weights of LN;",
        ),
        (
            "none",
            {"model": state, "config": config | {"normalization_type": None}},
            "'none' .* holds the weights of LN;",
        ),
        ("nested", {"model": state, "config": config | {"act_fn": [[]]}}, "act_fn must be a word or a number"),
    ):
        torch.save(content, tmp_path / f"{name}.pt")
        with pytest.raises((CheckpointError, ConfigError), match=said):
            interp.load_checkpoint(tmp_path / f"{name}.pt")
    torch.save({"model": state, "config": config}, tmp_path / "good.pt")
    torch.save({"model": state, "config": config | {"eps": 1e-3}}, tmp_path / "eps.pt")
    with pytest.raises(ConfigError, match="whose config tells its n_heads"):
        interp.load_checkpoint(tmp_path / "eps.pt", n_heads=2)
    with pytest.raises(ConfigError, match=r"holds networks of interp alone; .* is a bridge with a config that none"):
        interp.convert(tmp_path / "eps.pt", tmp_path / "run", progress=False)
    with pytest.raises(CheckpointError, match="a file of one checkpoint"):
        interp.load_run(tmp_path / "good.pt")
    assert not (tmp_path / "run").exists()
    done = shell("measure", tmp_path / "good.pt", "--json", "--anyway")
    assert done.returncode == 0
    assert json.loads(done.stdout)["loss"] > 0


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_what_no_network_of_interps_has_is_measured_through_the_bridge(tmp_path):
    bridge = bridge_of("two layers, layer norm")
    for change in ({"eps": 1.0}, {"act_fn": "silu"}):
        torch.save({"model": bridge.state_dict(), "config": vars(bridge.cfg) | change}, tmp_path / "other.pt")
        ckpt = interp.load_checkpoint(tmp_path / "other.pt")
        other = TransformerBridge.boot_native(replace(bridge.cfg, **change))
        other.load_state_dict(bridge.state_dict())
        logits = interp.activations(ckpt).logits
        assert torch.equal(logits, interp.hooked_activations(other, P).logits)
        assert not torch.allclose(logits, interp.hooked_activations(bridge, P).logits, atol=1e-3)


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_the_bare_state_of_a_bridge_is_read_with_what_its_shapes_leave_open(tmp_path):
    """Logits equal the bridge's to 1e-6 of the largest: the same operations, perhaps in other batches."""
    for shape in SHAPES:
        bridge = bridge_of(shape)
        torch.save(bridge.state_dict(), tmp_path / "bare.pt")
        told = {"task": Task(P), "activation": bridge.cfg.act_fn}
        with pytest.raises(
            ConfigError, match=r"the number of heads: give n_heads \(--n-heads\), one of 1, 2, 4, 8, 16"
        ):
            interp.load_checkpoint(tmp_path / "bare.pt", **told)
        if bridge.cfg.normalization_type is None:
            with pytest.raises(
                ConfigError, match="does not tell its norm, one of LNPre, RMSPre, none: save its config"
            ):
                interp.load_checkpoint(tmp_path / "bare.pt", **told, n_heads=2)
            continue
        ckpt = interp.load_checkpoint(tmp_path / "bare.pt", **told, n_heads=2)
        same = {"d_vocab": P + 1, "d_vocab_out": P + 1, "d_model": 16, "n_heads": 2, "d_mlp": 24}
        assert ckpt.config == LayeredTransformer(
            bridge.cfg.n_layers, **same, activation=bridge.cfg.act_fn, normalization="LN"
        )
        logits = interp.hooked_activations(bridge, P).logits
        found = interp.activations(ckpt).logits
        torch.testing.assert_close(found, logits, rtol=0, atol=1e-6 * float(logits.abs().max()))
        with pytest.raises(ConfigError, match="softmax attention alone; leave attention_coefficient out"):
            interp.load_checkpoint(tmp_path / "bare.pt", **told, n_heads=2, attention_coefficient=0.5)
        with pytest.raises(ConfigError, match="heads of 16 in all, which n_heads must divide; got 3"):
            interp.load_checkpoint(tmp_path / "bare.pt", **told, n_heads=3)


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_training_of_a_bridge_is_converted(tmp_path):
    bridges = {0: bridge_of("two layers, layer norm", 1), 100: bridge_of("two layers, layer norm", 2)}
    with torch.no_grad():
        bridges[100].unembed.bias.add_(torch.arange(P + 1.0))  # a bias that TransformerLens does not train
    config = vars(bridges[0].cfg)
    states = [bridge.state_dict() for bridge in bridges.values()]
    torch.save({"state_dicts": states, "epochs": list(bridges), "config": config}, tmp_path / "run.pt")
    run = interp.convert(tmp_path / "run.pt", tmp_path / "ours", Task(P), "torch", 0, progress=False)
    assert run.steps == (0, 100)
    assert list(interp.trajectory(run, measures=["loss"], progress=False)["step"]) == [0, 100]
    for step, bridge in bridges.items():
        logits = interp.hooked_activations(bridge, P).logits
        found, again = (
            interp.activations(run.at(step)).logits,
            interp.hooked_activations(run.at(step).model(), P).logits,
        )
        for one in (found, again):
            torch.testing.assert_close(one, logits, rtol=0, atol=1e-6 * float(logits.abs().max()))
    torch.save({"state_dicts": states, "epochs": [0, 100], "config": config | {"eps": 1e-3}}, tmp_path / "eps.pt")
    with pytest.raises(ConfigError, match=r"says eps 0\.001 in its config, and interp computes no such model"):
        interp.load_run(tmp_path / "eps.pt")


def old_names(bridge: TransformerBridge) -> dict[str, torch.Tensor]:
    """The state of a bridge in the property names of TransformerLens 1 to 3."""
    heads, d_head = SIZES["n_heads"], SIZES["d_head"]
    state = bridge.state_dict()
    old = {"embed.W_E": state["embed.weight"], "pos_embed.W_pos": state["pos_embed.weight"],
           "unembed.W_U": state["unembed.weight"].T, "unembed.b_U": state["unembed.bias"]}  # fmt: skip
    for i in range(bridge.cfg.n_layers):
        at = f"blocks.{i}"
        for name in "qkv":
            weight = state[f"{at}.attn.{name}.weight"]
            old[f"{at}.attn.W_{name.upper()}"] = weight.T.unflatten(1, (heads, d_head)).transpose(0, 1)
            old[f"{at}.attn.b_{name.upper()}"] = state[f"{at}.attn.{name}.bias"].unflatten(0, (heads, d_head))
        old[f"{at}.attn.W_O"] = state[f"{at}.attn.o.weight"].T.unflatten(0, (heads, d_head))
        old[f"{at}.attn.b_O"] = state[f"{at}.attn.o.bias"]
        for name in ("in", "out"):
            old[f"{at}.mlp.W_{name}"] = state[f"{at}.mlp.{name}.weight"].T
            old[f"{at}.mlp.b_{name}"] = state[f"{at}.mlp.{name}.bias"]
    for key, value in state.items():
        if ".ln" in key or key.startswith("ln"):
            old[key.replace("weight", "w").replace("bias", "b")] = value
    return {name: value.contiguous() for name, value in old.items()}


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_old_files_of_several_layers_are_refused_with_the_way_and_the_way_works(tmp_path):
    bridge = bridge_of("two layers, layer norm")
    torch.save(old_names(bridge), tmp_path / "old.pt")
    with pytest.raises(CheckpointError, match=r"boot_native.*convert_tl_checkpoint.*progress_measures\(bridge, task"):
        interp.load_checkpoint(tmp_path / "old.pt")
    other = TransformerBridge.boot_native(bridge.cfg)
    other.load_state_dict(convert_tl_checkpoint(torch.load(tmp_path / "old.pt", weights_only=True), bridge.cfg))
    assert numbers(interp.progress_measures(other, Task(P))) == numbers(interp.progress_measures(bridge, Task(P)))


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_states_of_a_bridge_are_a_run(tmp_path):
    """A bridge's state dict has names of its own, so each state is loaded into a copy of the bridge."""
    bridge = bridge_of("two layers, layer norm")
    states = {0: copy.deepcopy(bridge.state_dict()), 100: bridge_of("two layers, layer norm", 5).state_dict()}
    neurons = "blocks.1.mlp.out.hook_in"
    run = interp.load_run(
        states, model=interp.Model(bridge, Task(P), neurons=neurons, pattern="blocks.1.attn.hook_pattern")
    )
    asked = ["loss", "single_frequency_neurons", "attention_share", "sum_squared_weights"]
    frame = interp.trajectory(run, measures=asked, progress=False)
    for step in (0, 100):
        other = bridge_of("two layers, layer norm")
        other.load_state_dict(states[step])
        expected = interp.progress_measures(other, Task(P), measures=asked)
        row = frame[frame["step"] == step].iloc[0]
        for name in asked:
            assert row[name] == pytest.approx(expected[name], rel=1e-12)
