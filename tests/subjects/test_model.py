"""interp.Model: anybody's network as the measures see it."""

import copy
import warnings
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

import interp
from interp import CheckpointError, ConfigError, Model, Task, progress_measures
from tests.conftest import ROOT
from tests.models import analytic_logits
from tests.processes import outside
from tests.wild import published

P = 11


class Plain(nn.Module):
    """The shipped run's network as its user would write it: an embedding, einsums, a ReLU."""

    def __init__(self, weights):
        super().__init__()
        self.embed = nn.Embedding.from_pretrained(weights["W_E"].clone(), freeze=False)
        self.W = nn.ParameterDict({name: w.clone() for name, w in weights.items() if name != "W_E"})
        self.softmax, self.act = nn.Softmax(-1), nn.ReLU()

    def forward(self, tokens):
        W = self.W
        x = self.embed(tokens) + W["W_pos"]
        q, k, v = (torch.einsum("bpm,hmd->bhpd", x, W[f"W_{name}"]) for name in "QKV")
        scores = (q @ k.mT / q.shape[-1] ** 0.5).masked_fill(~torch.ones(3, 3, dtype=torch.bool).tril(), -torch.inf)
        x = x + torch.einsum("bhpd,hdm->bpm", self.softmax(scores) @ v, W["W_O"])
        x = x + self.act(x @ W["W_in"] + W["b_in"]) @ W["W_out"] + W["b_out"]
        return x @ W["W_U"]


def of_shipped(ckpt, **more):
    W = ckpt.weights
    parts = {"neurons": "act", "pattern": "softmax", "W_E": "embed", "W_L": (W["W_out"] @ W["W_U"])[:, :113]} | more
    return Model(Plain(W), Task(113), "paper", seed=0, **parts)


def small(p=P, seed=0, **more):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Embedding(p, 8), nn.Flatten(), nn.Dropout(0.5), nn.Linear(16, 12), nn.ReLU(),
                         nn.Linear(12, p), **more)  # fmt: skip


def test_a_module_equal_to_the_shipped_network_gives_its_numbers(shipped):
    """To 1e-5, since its float32 products are taken in another order; sums over 12,769 pairs agree better."""
    ckpt = shipped.at(11_000)
    keys = (14, 35, 41, 42, 52)
    theirs = progress_measures(of_shipped(ckpt), key_frequencies=keys, mechanism=True)
    ours = progress_measures(ckpt, key_frequencies=keys, mechanism=True)
    assert theirs.missing.keys() == ours.missing.keys() == set()
    expected = {name: value for name, value in ours.row().items() if name != "step"}
    found = theirs.row()
    assert expected.keys() == found.keys() - {"step"}
    for name, value in expected.items():
        # Coefficients outside of the key frequencies are rounding beside the large ones.
        least = 1e-5 * 1e4 if name.startswith("cos_coefficient") else 1e-9
        assert found[name] == pytest.approx(value, rel=1e-5, abs=least), name


def test_nothing_of_the_callers_module_changes():
    net = small()
    net.append(nn.BatchNorm1d(P))
    net.train()
    net[3].eval()
    net(torch.zeros(4, 2, dtype=torch.long)).sum().backward()
    before = copy.deepcopy(net.state_dict())
    gradients = {name: p.grad.clone() for name, p in net.named_parameters()}
    modes = [module.training for module in net.modules()]
    states = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    progress_measures(Model(net, Task(P), "torch", seed=0, tokens="ab", neurons="4", W_E="0", W_L="5"), mechanism=True)
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert all(torch.equal(p.grad, gradients[name]) for name, p in net.named_parameters())
    assert [module.training for module in net.modules()] == modes
    assert torch.equal(torch.get_rng_state(), states[0])
    assert np.array_equal(np.random.get_state()[1], states[1])  # noqa: NPY002
    assert not any(module._forward_hooks for module in net.modules())
    assert all(p.requires_grad for p in net.parameters())


def test_dropout_is_off_in_a_module_and_said_of_a_function():
    net = small()
    assert progress_measures(net, Task(P), tokens="ab").loss == progress_measures(net, Task(P), tokens="ab").loss
    with pytest.raises(ConfigError, match="must give the same logits for the same tokens"):
        progress_measures(lambda tokens: net(tokens), Task(P), tokens="ab")


def test_logits_that_depend_on_the_batch_are_said():
    """A function with batch normalization of its own: every pair's logits depend on the pairs beside it."""
    net = small(p=97).eval()

    def normalized(tokens):
        out = net(tokens)
        return (out - out.mean(0)) / out.std(0)

    with pytest.raises(ConfigError, match="alone or in a batch"):
        progress_measures(normalized, Task(97), tokens="ab")


@pytest.mark.parametrize(
    ("tokens", "vocabulary", "expected"),
    [
        ("ab=", None, [3, 5, 11]),
        ("ab", None, [3, 5]),
        ("a + b =", {"+": 11, "=": 12}, [3, 11, 5, 12]),
        ("=ab", {"=": 20}, [20, 3, 5]),
        (lambda a, b: torch.stack([a, b + 11], 1), None, [3, 16]),
    ],
)
def test_what_a_model_reads(tokens, vocabulary, expected):
    seen = {}

    def f(x):
        seen[len(seen)] = x
        return torch.zeros(len(x), P)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it has not learned
        progress_measures(Model(f, Task(P), tokens=tokens, vocabulary=vocabulary), measures=["loss"])
    assert seen[0].shape == (121, len(expected))
    assert seen[0][3 * P + 5].tolist() == expected


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"tokens": "a+b="}, r"the token of '\+' is unknown; .*vocabulary=\{\"\+\": 11, \"=\": 12\}"),
        ({"tokens": "=ab"}, "the token of '=' is unknown"),
        ({"tokens": "a+b", "vocabulary": {"-": 1}}, r"it lacks '\+'"),
        ({"vocabulary": {"=": -1}}, "The token of '=' in vocabulary must be a whole number of at least 0; got -1"),
        (
            {"tokens": "a+b", "vocabulary": {"+": 10}},
            r"must not be that of a number \(0 to 10\); .* gives '\+' the token 10",
        ),
        ({"tokens": "xy"}, "must name a and b"),
        ({"tokens": lambda a, b: a, "vocabulary": {"=": 1}}, "got tokens as a function. Leave vocabulary out"),
        ({"neurons": "act.9"}, "it has no 'act.9'"),
        ({"neurons": np.zeros((2, 3))}, r"neurons must be an array \[11, 11, d_mlp\]"),
        ({"W_L": "no.weight"}, "it has no 'no.weight'"),
        ({"split": "paper"}, "needs the seed"),
    ],
)
def test_what_does_not_fit_is_refused_when_the_model_is_made(arguments, said):
    with pytest.raises(ConfigError, match=said):
        Model(small(), Task(P), **arguments)


@pytest.mark.parametrize(
    ("f", "said"),
    [
        (lambda t: torch.zeros(len(t), P - 1), r"n of at least 11; got the shape \[121, 10\]"),
        (lambda t: torch.zeros(7, P), r"got the shape \[7, 11\]"),
        (lambda t: (torch.zeros(len(t), P), None), "returned a tuple of 2"),
        (lambda t: {"out": 1}, r"returned a dict of 1\. .* f\(tokens\)\['out'\]"),
        (lambda t: torch.zeros(len(t), P, dtype=torch.long), "in floating point; got int64"),
        (lambda t: "no", "in floating point; got 'no'"),
        (lambda t: torch.zeros(len(t), P, device="meta"), "on meta"),
        (lambda t: 1 / 0, "it raised ZeroDivisionError: division by zero"),
        (lambda t: nn.Embedding(P, P)(t)[:, -1], "it raised IndexError: index out of range"),
    ],
)
def test_a_model_that_gives_something_else_is_a_sentence(f, said):
    with pytest.raises(ConfigError, match=said):
        progress_measures(f, Task(P))


def test_logits_that_are_not_finite_are_refused():
    with pytest.raises(CheckpointError, match="must be finite"):
        progress_measures(lambda t: torch.full((len(t), P), torch.nan), Task(P))


class Lent:
    """An array of another library, which speaks DLPack alone."""

    def __init__(self, x):
        self._x = x

    def __dlpack__(self, **options):
        return self._x.__dlpack__(**options)

    def __dlpack_device__(self):
        return self._x.__dlpack_device__()


@pytest.mark.parametrize(
    "given",
    [
        lambda x: x, lambda x: x.numpy(), Lent, lambda x: SimpleNamespace(logits=x), lambda x: x[:, None],
        lambda x: torch.cat([x, torch.full((len(x), 3), 9.0)], 1), lambda x: x.double(), lambda x: x.to_sparse(),
    ],
)  # fmt: skip
def test_logits_in_any_form_are_the_same(given):
    p = 7
    logits = analytic_logits(p, {1: 2.0, 3: 1.0}, Task(p).labels)
    table = logits.flatten(0, 1)

    def f(tokens):
        return given(table[tokens[:, 0] * p + tokens[:, 1]])

    expected = progress_measures(logits, Task(p))
    found = progress_measures(f, Task(p), tokens="ab")
    assert found.to_dict() == expected.to_dict() | {"missing": found.missing}
    assert found.key_frequencies == (1, 3)


def test_half_precision_is_measured_with_a_doubt():
    p = 7
    table = analytic_logits(p, {1: 2.0}, Task(p).labels).half().flatten(0, 1)
    with pytest.warns(UserWarning, match="the logits are in float16"):
        m = progress_measures(lambda t: table[t[:, 0] * p + t[:, 1]], Task(p), tokens="ab")
    assert m.doubts == ("the logits are in float16, which holds three digits, and so are the losses.",)
    net = small().half()
    assert progress_measures(net, Task(P), tokens="ab", measures=["loss"]).loss > 0


def test_an_array_of_logits_of_numpy():
    logits = analytic_logits(7, {2: 3.0}, Task(7).labels).numpy()
    m = progress_measures(logits, Task(7), split="torch", seed=0)
    assert m.key_frequencies == (2,)
    assert m.missing["embedding_norms"].startswith("the model was given without W_E")
    assert m.missing["sum_squared_weights"] == "the model is an array of logits, whose parameters are unknown"
    with pytest.raises(ConfigError, match=r"must be \[7, 7, n\]"):
        progress_measures(logits[:, 0], Task(7))


class OneHot(nn.Module):
    def __init__(self, p=P):
        super().__init__()
        torch.manual_seed(1)
        self.first, self.act, self.out = nn.Linear(2 * p, 16), nn.GELU(), nn.Linear(16, p)

    def forward(self, x):
        return self.out(self.act(self.first(x)))


def one_hot(a, b, p=P):
    return torch.cat([functional.one_hot(a, p), functional.one_hot(b, p)], 1).float()


def test_a_network_on_one_hot_inputs_has_its_embeddings():
    net = OneHot()
    model = Model(net, Task(P), tokens=one_hot, neurons="act", W_E="first", W_L="out")
    subject = model.subject()
    torch.testing.assert_close(subject.embeddings[0], net.first.weight.T[:P].detach(), rtol=0, atol=0)
    torch.testing.assert_close(subject.embeddings[1], net.first.weight.T[P:].detach(), rtol=0, atol=0)
    torch.testing.assert_close(subject.W_L, net.out.weight.T.detach(), rtol=0, atol=0)
    torch.testing.assert_close(
        subject.neurons[3, 5], net.act(net.first(one_hot(torch.tensor([3]), torch.tensor([5]))))[0].detach()
    )


class TwoLayers(nn.Module):
    """Layer norms, two layers, nn.MultiheadAttention, an embedding that is read out again."""

    def __init__(self, p=P, need_weights=True, average=False):
        super().__init__()
        torch.manual_seed(2)
        self.embed, self.position = nn.Embedding(p + 2, 16), nn.Parameter(0.1 * torch.randn(4, 16))
        self.attn = nn.ModuleList(nn.MultiheadAttention(16, 2, batch_first=True) for _ in range(2))
        self.mlp = nn.ModuleList(nn.Sequential(nn.Linear(16, 20), nn.GELU(), nn.Linear(20, 16)) for _ in range(2))
        self.norm = nn.ModuleList(nn.LayerNorm(16) for _ in range(4))
        self.options = {"need_weights": need_weights, "average_attn_weights": average}

    def forward(self, tokens):
        x = self.embed(tokens) + self.position
        for i in range(2):
            y = self.norm[2 * i](x)
            x = x + self.attn[i](y, y, y, **self.options)[0]
            x = x + self.mlp[i](self.norm[2 * i + 1](x))
        return x @ self.embed.weight.T


SIGNS = {"tokens": "a + b =", "vocabulary": {"+": P, "=": P + 1}}


def test_two_layers_with_layer_norm_and_tied_embeddings():
    net = TwoLayers()
    model = Model(net, Task(P), neurons="mlp.1.1", pattern="attn.1", W_E="embed", W_L=("mlp.1.2", "embed"), **SIGNS)
    m = progress_measures(model, mechanism=True)
    assert m.sum_squared_weights == pytest.approx(sum(float(p.double().square().sum()) for p in net.parameters()))
    subject = model.subject()
    assert subject.pattern.shape == (P, P, 2, 4)
    torch.testing.assert_close(subject.pattern.sum(-1), torch.ones(P, P, 2))
    torch.testing.assert_close(subject.W_L, (net.mlp[1][2].weight.T @ net.embed.weight[:P].T).detach())
    with pytest.raises(ConfigError, match=r"each of the 20 neurons to at least 11 logits; 'embed' is \[16, 13\]"):
        _ = Model(net, Task(P), neurons="mlp.1.1", W_L="embed", **SIGNS).subject().W_L
    tokens = torch.tensor([[3, P, 5, P + 1]])
    torch.testing.assert_close(subject.logits[3, 5], net.eval()(tokens)[0, -1, :P].detach())
    assert -1 <= m.gradient_symmetricity <= 1


def test_gradients_are_those_of_finite_differences():
    net = TwoLayers().double()
    model = Model(net, Task(P), W_E="embed.weight", **SIGNS)
    pairs = interp.networks.Pairs(P, torch.tensor([3]), torch.tensor([5]))
    ((grad_a, grad_b),) = model.subject().gradients(pairs)
    step = 1e-6
    for grad, token in ((grad_a, 3), (grad_b, 5)):
        direction = torch.randn(16, generator=torch.Generator().manual_seed(token), dtype=torch.float64)

        def moved(by, token=token, direction=direction):
            other = TwoLayers().double().eval()
            other.load_state_dict(net.state_dict())
            handle = other.embed.register_forward_hook(
                lambda m, args, out: out + by * direction * (args[0] == token)[..., None]
            )
            logits = other(torch.tensor([[3, P, 5, P + 1]]))[0, -1, :P].detach()
            handle.remove()
            return logits

        expected = (moved(step) - moved(-step)) / (2 * step)
        torch.testing.assert_close(grad[0] @ direction.float(), expected.float(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("options", "said"),
    [({"need_weights": False}, "gives no attention; call it with need_weights=True"),
     ({"average": True}, "gives the mean over its heads")],
)  # fmt: skip
def test_attention_that_a_module_does_not_give_is_missing(options, said):
    m = progress_measures(Model(TwoLayers(**options), Task(P), pattern="attn.1", **SIGNS))
    assert said in m.missing["attention_share"]
    never = small()
    never.add_module("unused", nn.ReLU())
    never.forward = lambda tokens: nn.Sequential(*list(never)[:6])(tokens)
    m = progress_measures(Model(never, Task(P), tokens="ab", neurons="unused"))
    assert m.missing["single_frequency_neurons"] == "the model's forward does not call unused"


def test_axes_that_a_name_does_not_tell_are_asked_for():
    class Own(nn.Module):
        def __init__(self, shape):
            super().__init__()
            self.W_E = nn.Parameter(torch.randn(*shape))

        def forward(self, tokens):
            table = self.W_E if self.W_E.shape[0] == P + 1 else self.W_E.T
            return table[tokens].sum(1)[:, :P] if table.shape[1] >= P else torch.zeros(len(tokens), P)

    for shape, turned in (((P + 1, 16), False), ((16, P + 1), True), ((P + 1, 4), False), ((4, P + 1), True)):
        net = Own(shape)
        table = net.W_E.T if turned else net.W_E
        own = Model(net, Task(P), tokens=lambda a, b: torch.stack([a, b, torch.full_like(a, P)], 1), W_E="W_E")
        if 16 in shape:  # a and b name rows 0 to 10 of either axis, and neither has just 11 entries
            with pytest.raises(ConfigError, match=r"one axis of tokens; either axis of \[\d+, \d+\] may be it"):
                _ = own.subject().W_E
        else:
            torch.testing.assert_close(own.subject().W_E, table[:P].detach(), rtol=0, atol=0)


def test_a_compiled_module_is_measured_as_it_is():
    net = small()
    compiled = torch.compile(net)  # never compiled, since it is not called
    of = {"tokens": "ab", "neurons": "4"}
    assert (
        progress_measures(Model(compiled, Task(P), **of)).to_dict()
        == progress_measures(Model(net, Task(P), **of)).to_dict()
    )


def test_a_model_needs_its_task():
    with pytest.raises(ConfigError, match=r"task=interp\.Task"):
        progress_measures(small(), tokens="ab")
    with pytest.raises(ConfigError, match="carries its own task"):
        progress_measures(Model(small(), Task(P), tokens="ab"), Task(P))
    with pytest.raises(ConfigError, match="knows its own"):
        progress_measures(ROOT / "checkpoints" / "mod113-seed0", tokens="ab")


# ── other people's models, by their own code ──


def wild(name):
    return torch.load(published(f"wild/model_{name}.pt"), weights_only=True, map_location="cpu")


def test_two_layers_with_constant_attention_of_zhong_et_al():
    W, coefficient = wild("2fsoiei4o2"), 0.6305660693828471

    def f(tokens):
        x = W["embed.W_E"].T[tokens] + W["pos_embed.W_pos"]
        for i in range(2):
            of = {key.split(".", 2)[2]: value for key, value in W.items() if key.startswith(f"blocks.{i}.")}
            q, k, v = (torch.einsum("bpm,hdm->bhpd", x, of[f"attn.W_{name}"]) for name in "QKV")
            attention = coefficient * (q @ k.mT / 32**0.5).softmax(-1) + 1 - coefficient
            x = x + (attention @ v).transpose(1, 2).flatten(2) @ of["attn.W_O"].T
            x = x + (x @ of["mlp.W_in"].T + of["mlp.b_in"]).relu() @ of["mlp.W_out"].T + of["mlp.b_out"]
        return x @ W["unembed.W_U"]

    m = progress_measures(f, Task(59), tokens="ab")
    assert m.loss == pytest.approx(2.475e-5, rel=2e-4)  # as many digits as are given
    assert m.key_frequencies == (3, 5, 7, 17)


def test_networks_without_attention_of_zhong_et_al():
    D, B = wild("7r4zst7evs"), wild("amw6ox6bzn")

    def concatenated(tokens):
        hidden = functional.linear(D["embed.weight"][tokens].flatten(1), D["l1.weight"], D["l1.bias"]).relu()
        return hidden @ D["unembed.weight"].T

    def summed(tokens):
        hidden = functional.linear(B["embed.weight"][tokens].sum(1), B["l1.weight"], B["l1.bias"]).relu()
        return functional.linear(hidden, B["l2.weight"], B["l2.bias"]).relu() @ B["unembed.weight"].T

    d, b = (progress_measures(f, Task(59), tokens="ab") for f in (concatenated, summed))
    assert (d.loss, d.key_frequencies) == (pytest.approx(7.7087e-6, rel=1e-4), (5, 7, 8, 9, 13, 17, 19, 20))
    assert (b.loss, b.key_frequencies) == (pytest.approx(6.3901e-7, rel=1e-4), (1, 5, 8, 17, 20))


def test_a_model_with_rms_norms_and_swiglu():
    """Of a pickle that names a class of its authors; a stub stands in for it, and none of their code runs."""
    file = published("wild/trm_nanda_1layer_seed0.pt")
    (name,) = torch.serialization.get_unsafe_globals_in_checkpoint(file)
    stub = type("Config", (), {})
    with torch.serialization.safe_globals([(stub, name)]):
        content = torch.load(file, weights_only=True, map_location="cpu")
    state = content["model"]
    W = {key.rsplit(".", 2)[-2]: weight for key, weight in state.items()}
    norm = lambda x: x * (x.square().mean(-1, keepdim=True) + 1e-5).rsqrt()  # noqa: E731

    def f(tokens):
        x = 0.7071 * (128**0.5 * W["embed_tokens"][tokens] + W["embed_pos"])
        q, k, v = (x @ W["qkv_proj"].T).unflatten(-1, (3, 4, 32)).permute(2, 0, 3, 1, 4)
        x = norm(x + ((q @ k.mT / 32**0.5).softmax(-1) @ v).transpose(1, 2).flatten(2) @ W["o_proj"].T)
        gate, up = (x @ W["gate_up_proj"].T).chunk(2, -1)
        return norm(x + (functional.silu(gate) * up) @ W["down_proj"].T) @ W["lm_head"].T

    m = progress_measures(f, Task(113), split="paper", seed=0)
    assert m.key_frequencies == (8, 9, 16, 31, 46, 48, 49, 52)
    # The published losses count the output "=" too, which has next to no weight.
    assert m.train_loss == pytest.approx(3.65896e-3, rel=1e-3)
    assert m.test_loss == pytest.approx(4.79357e-3, rel=1e-3)


def test_arguments_of_other_types_are_sentences_and_pythons_random_state_stays():
    """Outside of the tests' type checks."""
    said = outside(
        """
        import random, interp, pandas, torch, warnings
        warnings.simplefilter("ignore")
        net = torch.nn.Linear(2, 11)
        class Random(torch.nn.Module):
            def forward(self, tokens):
                random.random()
                return torch.zeros(len(tokens), 11)
        interp.progress_measures, interp.Task  # what they import may draw
        before = random.getstate()  # the type checks of the tests draw too
        interp.progress_measures(Random(), interp.Task(11))
        print(random.getstate() == before)
        for call in (
            lambda: interp.Model(net, interp.Task(11), tokens=3),
            lambda: interp.progress_measures(net, task=11),
            lambda: interp.Model(3, interp.Task(11)),
            lambda: interp.Model(torch.nn.Linear, interp.Task(11)),
            lambda: interp.progress_measures(net.state_dict(), interp.Task(11)),
            lambda: interp.Recorder(net, interp.Task(11), on_record=3),
            lambda: interp.load_run(3, model=interp.Model(net, interp.Task(11))),
            lambda: interp.load_run([(0, 3)], model=interp.Model(net, interp.Task(11))),
            lambda: interp.load_checkpoint(3),
            lambda: interp.read_log(3),
            lambda: interp.read_log(pandas.DataFrame({"step": [0], "test_loss": [1.0]}), where="run"),
            lambda: interp.Model(net, interp.Task(11), vocabulary={"=": 11.5}),
            lambda: interp.Model(net, interp.Task(11), vocabulary=[11]),
            lambda: interp.train(interp.TrainConfig(p=7), "no", on_checkpoint=3),
        ):
            try:
                call()
            except interp.InterpError as error:
                print(str(error).split(";")[0])
        """
    )
    assert said.splitlines() == [
        "True",
        'tokens must be a pattern such as "ab=", or a function of a and b',
        "task must be an interp.Task, such as interp.Task(113)",
        "f must be a module, a function of tokens, or an array of logits",
        "f must be a module or function",
        "progress_measures takes a path, a Checkpoint, a Run, an interp.Model, or with task= a TransformerBridge, "
        "a module, a function from tokens to logits or an array of logits",
        "on_record must be a function of a step and a row",
        "states must be a folder, a dict {step: state}, or a list of (step, state)",
        "the state of step 0 must be a state dict, of tensors by name",
        "load_checkpoint takes a path, or with model=interp.Model(…) a state dict",
        "read_log takes the path of a log, or a data frame",
        'where must be a dict of values by column, such as {"run": "seed3"}',
        "The token of '=' in vocabulary must be a whole number of at least 0",
        'vocabulary must be a dict of signs, such as {"=": 11}',
        "on_checkpoint must be a function",
    ]


def test_a_model_stands_beside_others_and_where_it_cannot_a_sentence_says_so(small_run):
    ckpt = small_run[-1]
    net = Model(lambda tokens: {"logits": ckpt.model()(tokens), "loss": None}, ckpt.task, ckpt.train_mask)
    table = interp.compare({"mine": net, "its checkpoint": ckpt}, progress=False).set_index("model")
    mine, theirs = table.loc["mine"], table.loc["its checkpoint"]
    assert mine["test_loss"] == pytest.approx(theirs["test_loss"], rel=1e-5)
    assert np.isnan(mine["embedding_gini"])
    said = outside(
        """
        import interp, torch
        net = interp.Model(lambda tokens: torch.zeros(len(tokens), 7), interp.Task(7))
        bridge = interp.TrainConfig(p=7, d_model=8, n_heads=1, d_mlp=8)
        for wrong in (
            lambda: interp.activations(net), lambda: interp.ablate.logits(net, remove=[1]),
            lambda: interp.progress_measures(lambda tokens: tokens, 113),
        ):
            try:
                wrong()
            except interp.ConfigError as error:
                print(error)
        """
    )
    of_activations, of_ablate, of_task = said.splitlines()
    assert "net.subject().logits" in of_activations
    assert "Ablations take a Checkpoint" in of_ablate
    assert of_task == "task must be an interp.Task, such as interp.Task(113); got 113."


def test_matrices_in_another_order_are_a_sentence():
    net = nn.Sequential(
        nn.Embedding(P, 8), nn.Flatten(), nn.Linear(16, 12), nn.ReLU(), nn.Linear(12, 9), nn.Linear(9, P)
    )
    with pytest.raises(ConfigError, match="W_L must name matrices in the order in which the neurons pass them"):
        progress_measures(Model(net, Task(P), tokens="ab", neurons="3", W_L=("5", "4")))


def test_an_array_of_logits_with_a_row_a_pair_is_told_how_to_have_its_axes():
    L = 5.0 * torch.nn.functional.one_hot(Task(P).labels, P)
    rows = L.flatten(0, 1)
    how = r"If row a \* 11 \+ b is the pair \(a, b\), give logits\.reshape\(11, 11, 11\)\."
    with pytest.raises(ConfigError, match=r"must be \[11, 11, n\] .* got the shape \[121, 11\]\. " + how):
        progress_measures(rows, Task(P))
    assert torch.equal(rows.reshape(11, 11, 11), L)
    with pytest.raises(ConfigError, match=r"got the shape \[121, 10\]\.$"):
        progress_measures(rows[:, :10], Task(P))


def test_logits_in_half_precision_are_a_doubt_as_an_array_too():
    L = 5 * torch.nn.functional.one_hot(Task(P).labels, P)
    for half in (L.half(), L.bfloat16(), L.numpy().astype(np.float16)):
        with pytest.warns(UserWarning, match="digits, and so are the losses"):
            assert "digits, and so are the losses" in progress_measures(half, Task(P)).doubts[0]
    assert progress_measures(L.double(), Task(P)).doubts == ()
