from dataclasses import replace

import pytest
import torch

from interp import ConfigError, TrainConfig
from interp.networks import check_weights
from interp.networks.transformer import from_bridge, to_bridge
from tests.models import OPTIONAL_BIASES, random_weights, sizes


def test_paper_init_draws_what_the_published_code_draws():
    """torch.manual_seed, then randn in this order, in left-acting shapes, over these square roots."""
    torch.manual_seed(3)
    d_model, d_vocab, n_ctx, heads, d_head, d_mlp = 128, 114, 3, 4, 32, 512
    W_E = torch.randn(d_model, d_vocab) / d_model**0.5
    W_pos = torch.randn(n_ctx, d_model) / d_model**0.5
    W_K, W_Q, W_V = (torch.randn(heads, d_head, d_model) / d_model**0.5 for _ in range(3))
    W_O = torch.randn(d_model, heads * d_head) / d_model**0.5
    W_in = torch.randn(d_mlp, d_model) / d_model**0.5
    W_out = torch.randn(d_model, d_mlp) / d_model**0.5
    W_U = torch.randn(d_model, d_vocab) / d_vocab**0.5

    ours = TrainConfig().model.initial_weights(3)
    assert torch.equal(ours["W_E"].T, W_E)
    assert torch.equal(ours["W_pos"], W_pos)
    for name, left in [("W_K", W_K), ("W_Q", W_Q), ("W_V", W_V)]:
        assert torch.equal(ours[name].transpose(1, 2), left)
    assert torch.equal(ours["W_O"].flatten(0, 1).T, W_O)
    assert torch.equal(ours["W_in"].T, W_in)
    assert torch.equal(ours["W_out"].T, W_out)
    assert torch.equal(ours["W_U"], W_U)
    assert not ours["b_in"].any()
    assert not ours["b_out"].any()


@pytest.mark.parametrize("init", ["paper", "transformer_lens"])
def test_initial_weights_depend_on_the_seed_alone(init):
    config = sizes(7)
    torch.manual_seed(0)
    state = torch.get_rng_state()
    first, again, other = (replace(config, init=init).initial_weights(seed) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), state)
    check_weights(first, config)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["W_E"], other["W_E"])


def test_transformer_lens_init_is_that_of_boot_native():
    from transformer_lens.config import TransformerBridgeConfig
    from transformer_lens.model_bridge import TransformerBridge

    c = sizes(7)
    bridge = TransformerBridge.boot_native(
        TransformerBridgeConfig(
            n_layers=1, n_ctx=3, d_vocab=8, d_vocab_out=8, d_model=c.d_model, n_heads=c.n_heads, d_head=c.d_head,
            d_mlp=c.d_mlp, act_fn="relu", normalization_type=None, seed=5,
        )
    )  # fmt: skip
    ours = replace(c, init="transformer_lens").initial_weights(5)
    assert torch.equal(ours["W_Q"], bridge.W_Q[0])
    assert torch.equal(ours["W_O"], bridge.W_O[0])
    assert torch.equal(ours["W_in"], bridge.W_in[0])
    assert torch.equal(ours["W_E"], bridge.W_E)
    assert torch.equal(ours["W_U"], bridge.W_U)


@pytest.mark.parametrize("activation", ["relu", "gelu", "gelu_new"])
def test_to_a_bridge_and_back_changes_no_bit(activation):
    config = sizes(7, activation=activation, n_heads=3, d_head=5)
    weights = random_weights(config, biases=OPTIONAL_BIASES)
    back, found = from_bridge(to_bridge(weights, config))
    assert found == config
    assert set(back) == set(weights)
    assert all(torch.equal(back[name], weights[name]) for name in weights)


def test_biases_that_a_model_lacks_are_zeros_in_its_bridge():
    config = sizes(7)
    back, _ = from_bridge(to_bridge(random_weights(config), config))
    assert all(not back[name].any() for name in OPTIONAL_BIASES)


def test_a_bridge_that_is_no_such_model_is_referred_to_its_hooks():
    from transformer_lens.config import TransformerBridgeConfig
    from transformer_lens.model_bridge import TransformerBridge

    deep = TransformerBridge.boot_native(
        TransformerBridgeConfig(
            n_layers=2, n_ctx=3, d_vocab=8, d_model=16, n_heads=2, d_head=8, d_mlp=24, act_fn="relu",
            normalization_type="LN",
        )
    )  # fmt: skip
    with pytest.raises(ConfigError, match=r"2 layers, normalization LN.*progress_measures\(bridge, task="):
        from_bridge(deep)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda w: w.pop("W_U"), "lacks W_U"),
        (lambda w: w.update(W_gate=torch.zeros(3)), "also holds W_gate"),
        (lambda w: w.update(W_in=w["W_in"].T.contiguous()), r"W_in is \[24, 16\]; expected \[d_model, d_mlp\]"),
        (lambda w: w.update(b_in=w["b_in"].double()), "b_in must be float32; got torch.float64"),
        (lambda w: w["W_O"].view(-1)[:3].fill_(float("nan")), "W_O must be finite; got 3 of "),
        (lambda w: w["W_E"].view(-1)[:1].fill_(float("inf")), "W_E must be finite; got 1 of "),
    ],
)
def test_weights_that_do_not_fit_are_refused_by_name(change, message):
    config = sizes(7)
    weights = random_weights(config)
    change(weights)
    with pytest.raises(ConfigError, match=message):
        check_weights(weights, config)
