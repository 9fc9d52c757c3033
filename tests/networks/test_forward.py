"""The shared forward against its judge, TransformerLens, and against attention by its definition."""

import pytest
import torch
from hypothesis import given, strategies as st

import interp.networks.shared as shared
from interp.networks.pairs import Pairs
from interp.networks.transformer import to_bridge
from tests.models import OPTIONAL_BIASES, random_weights, sizes

CASES = [
    pytest.param(sizes(7), (), id="paper"),
    pytest.param(sizes(8, extra_output=False), OPTIONAL_BIASES, id="even p, p outputs, all biases"),
    pytest.param(sizes(5, activation="gelu"), ("b_Q", "b_V"), id="gelu, some biases"),
    pytest.param(sizes(6, activation="gelu_new", n_heads=3, d_head=4, d_mlp=7), ("b_K", "b_O", "b_U"), id="odd sizes"),
    pytest.param(sizes(2, d_model=4, n_heads=1, d_head=4, d_mlp=3), (), id="smallest p"),
]


def tokens(pairs: Pairs) -> torch.Tensor:
    return torch.stack([pairs.a, pairs.b, torch.full_like(pairs.a, pairs.p)], dim=1)


@pytest.mark.parametrize(("config", "biases"), CASES)
def test_logits_neurons_and_patterns_are_the_bridges(config, biases):
    """Float32 sums in another order: 1e-5 of the largest value (the promise is 1e-4)."""
    weights = random_weights(config, biases=biases)
    pairs = Pairs.all(config.d_vocab - 1)
    ours = config.run(weights, pairs)
    with torch.no_grad():
        logits, cache = to_bridge(weights, config).run_with_cache(tokens(pairs))
    theirs = logits[:, -1], cache["blocks.0.mlp.hook_post"][:, -1], cache["blocks.0.attn.hook_pattern"][:, :, -1]
    for mine, bridge in zip((ours.logits, ours.neurons, ours.pattern), theirs, strict=True):
        torch.testing.assert_close(mine, bridge, rtol=0, atol=1e-5 * float(bridge.abs().max()))


@pytest.mark.parametrize(("config", "biases"), CASES)
def test_gradients_are_the_bridges(config, biases):
    """Every parameter's gradient to 1e-5 of its norm, for a loss over some of the pairs, in no order, one twice."""
    p = config.d_vocab - 1
    weights = {n: w.requires_grad_() for n, w in random_weights(config, seed=1, biases=biases).items()}
    some = torch.randperm(p * p, generator=torch.Generator().manual_seed(0))[: p * p // 2 + 1]
    some = torch.cat([some, some[:1]])
    pairs = Pairs(p, some // p, some % p)
    target = torch.randn(len(pairs), config.d_vocab_out, generator=torch.Generator().manual_seed(2))

    (config.run(weights, pairs).logits * target).sum().backward()
    bridge = to_bridge(weights, config)
    (bridge(tokens(pairs))[:, -1] * target).sum().backward()
    theirs = {
        "W_E": bridge.embed.weight.grad,
        "W_pos": bridge.pos_embed.weight.grad,
        "W_U": bridge.unembed.weight.grad.T,
    }
    attention, mlp = bridge.blocks[0].attn, bridge.blocks[0].mlp
    heads = (config.n_heads, config.d_head)
    for name in "QKV":
        linear = getattr(attention, name.lower())
        theirs[f"W_{name}"] = linear.weight.grad.view(*heads, -1).transpose(1, 2)
        theirs[f"b_{name}"] = linear.bias.grad.view(heads)
    theirs["W_O"] = attention.o.weight.grad.T.view(*heads, -1)
    theirs["b_O"] = attention.o.bias.grad
    theirs["W_in"], theirs["b_in"] = getattr(mlp, "in").weight.grad.T, getattr(mlp, "in").bias.grad
    theirs["W_out"], theirs["b_out"] = mlp.out.weight.grad.T, mlp.out.bias.grad
    for name, weight in weights.items():
        if name == "b_U":  # a buffer in the bridge; its gradient is the sum over pairs
            torch.testing.assert_close(weight.grad, target.sum(0), rtol=1e-5, atol=1e-5)
        elif name == "b_K":  # the softmax does not see it: zero, up to rounding, in both
            assert weight.grad.norm() < 1e-4 * weights["W_K"].grad.norm()
        else:
            assert (weight.grad - theirs[name]).norm() <= 1e-5 * theirs[name].norm(), name


@given(
    p=st.integers(2, 12),
    n_heads=st.integers(1, 4),
    d_head=st.integers(1, 6),
    d_mlp=st.integers(1, 20),
    seed=st.integers(0, 10_000),
    biases=st.sets(st.sampled_from(OPTIONAL_BIASES)),
)
def test_summing_rows_is_attention_by_its_definition(p, n_heads, d_head, d_mlp, seed, biases):
    """The CPU's way and the plain one: the same values and gradients, in float64 to 1e-10."""
    config = sizes(p, d_model=5, n_heads=n_heads, d_head=d_head, d_mlp=d_mlp)
    weights = random_weights(config, seed, tuple(sorted(biases)))
    weights = {name: weight.double().requires_grad_() for name, weight in weights.items()}
    pairs = Pairs.all(p)
    target = torch.randn(p * p, p + 1, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))

    def run() -> list[torch.Tensor]:
        logits = config.run(weights, pairs).logits
        grads = torch.autograd.grad((logits * target).sum(), list(weights.values()), allow_unused=True)
        return [logits.detach(), *grads]

    rows = run()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shared, "_mix_rows", shared._mix_values)
        definition = run()
    for mine, plain in zip(rows, definition, strict=True):
        torch.testing.assert_close(mine, plain, rtol=1e-10, atol=1e-10)


def test_the_pairs_of_a_row_are_summed_in_their_order():
    """For the gradients: a sum in another order has other last bits."""
    incidence = Pairs.all(31).incidence(4, 3)
    entries = incidence.order
    rows = incidence.rows_of_pair.flatten()[entries]
    assert bool((torch.diff(rows * len(rows) + entries) > 0).all())


def test_tables_made_in_inference_mode_serve_a_training_afterwards():
    """They are kept, and an inference tensor could not be saved for a backward pass."""
    with torch.inference_mode():
        pairs = Pairs.all(7)
        incidence = pairs.incidence(2, 3)
        kept = [pairs.a, pairs.b, pairs.rows(3), incidence.rows_of_pair]
        kept += [incidence.order, incidence.pair_of_entry, incidence.offsets, incidence.entries]
    assert not any(table.is_inference() for table in kept)


def test_the_same_call_gives_the_same_bits():
    """Resuming bit for bit rests on this: on as many threads, no sum's order changes from call to call.

    On another number of threads a processor may divide the products otherwise: by then to float32's rounding, 1e-6.
    """
    config = sizes(31, d_model=32, n_heads=4, d_head=8, d_mlp=64)
    pairs = Pairs.all(31)

    def gradients(threads: int) -> list[torch.Tensor]:
        before = torch.get_num_threads()
        torch.set_num_threads(threads)
        weights = {n: w.requires_grad_() for n, w in random_weights(config).items()}
        config.run(weights, pairs).logits.square().sum().backward()
        torch.set_num_threads(before)
        return [weight.grad for weight in weights.values()]

    first = {threads: gradients(threads) for threads in (1, 2, 4)}
    for threads in (1, 2, 4, 2, 1, 2):
        assert all(torch.equal(x, y) for x, y in zip(first[threads], gradients(threads), strict=True))
        for x, y in zip(first[1], first[threads], strict=True):
            torch.testing.assert_close(x, y, rtol=0, atol=1e-6 * float(x.abs().max()))
