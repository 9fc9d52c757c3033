"""Every network is trained, killed, resumed, measured, hooked, ablated, drawn and swept, a user's own too."""

import json
import math
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, replace

import pytest
import torch

import interp
from interp import ConfigError, LayeredTransformer, OneHiddenLayer, TrainConfig, Transformer
from interp.networks import NETWORKS, Network, Pairs, Tap, check_weights, network, network_of
from interp.networks.base import at_last
from interp.networks.taps import UNTAPPED
from interp.training.user_code import import_all, import_name
from tests.processes import ROOT, Started, interp as shell, outside

P = 11
SMALL = {"d_model": 16, "n_heads": 2, "d_mlp": 24}

TWO_TABLES = '''
from dataclasses import dataclass

import torch

import interp


@interp.network("two_tables")
@dataclass(frozen=True)
class TwoTables(interp.Network):
    """relu(A[a] + B[b]) · U."""

    d_hidden: int = 32
    d_vocab: int | None = None

    def axes(self):
        return {"A": ("d_vocab", "d_hidden"), "B": ("d_vocab", "d_hidden"), "U": ("d_hidden", "d_vocab")}

    def initial_weights(self, seed):
        generator = torch.Generator().manual_seed(seed)
        return {name: torch.randn(*shape, generator=generator) / 4 for name, shape in self.shapes().items()}

    def forward(self, weights, pairs, tap):
        pre = tap("hook_pre", weights["A"][pairs.a] + weights["B"][pairs.b])
        return tap("hook_post", pre.relu()) @ weights["U"]
'''

# name → (what --set says of it, steps of its training)
ALL = {
    "hidden": (["network=one_hidden_layer", "network.d_embed=8", "network.d_hidden=24", "network.biases=true"], 300),
    "one-hot": (
        ["network=one_hidden_layer", "network.d_embed=0", "network.d_hidden=24", "network.activation=square",
         "network.inputs=summed"], 300,
    ),
    "two positions": (["network=transformer", "network.n_ctx=2", *(f"network.{k}={v}" for k, v in SMALL.items())], 300),
    "half constant": (
        ["network=transformer", "network.attention_coefficient=0.5", *(f"network.{k}={v}" for k, v in SMALL.items())],
        300,
    ),
    "two layers": (
        ["network=layered_transformer", "network.normalization=LN", *(f"network.{k}={v}" for k, v in SMALL.items())],
        60,
    ),
    "own": (["network=two_tables", "network.d_hidden=20"], 300),
}  # fmt: skip


@pytest.fixture(scope="module")
def own_file(tmp_path_factory):
    file = tmp_path_factory.mktemp("own") / "two_tables.py"
    file.write_text(TWO_TABLES)
    import_all([str(file)])
    return file


def words(name, own_file):
    return [*(word for one in ALL[name][0] for word in ("--set", one)), "--import", own_file]


def config_of(name):
    from interp.runs.config import gathered
    from interp.sweeps.grid import parsed_settings

    grid = {key: values[0] for key, values in parsed_settings(ALL[name][0]).items()}
    return TrainConfig(p=P, train_fraction=0.6, **gathered(grid), steps=ALL[name][1], learning_rate=0.005)


@pytest.fixture(scope="module")
def trained(own_file, tmp_path_factory):
    """Each network as the shell trained it, killed in the middle and resumed, beside one that was never stopped."""
    kept = {}

    def train(name):
        if name in kept:
            return kept[name]
        place, steps = tmp_path_factory.mktemp("runs"), ALL[name][1]
        every = steps // 10
        told = [
            "--p", P, "--train-fraction", "0.6", "--steps", steps, "--learning-rate", "0.005",
            "--checkpoint-steps", f"0:{steps}:{every}", *words(name, own_file),
        ]  # fmt: skip
        done = shell("train", place / "whole", *told)
        assert done.returncode == 0, done.stderr
        killed = place / "killed"
        process = Started("interp", "train", killed, *told)
        while not (killed / "checkpoints" / f"step_{2 * every:08d}.safetensors").exists():
            assert process.poll() is None
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
        process.wait()
        done = shell("train", killed, "--resume", "--import", own_file)
        assert done.returncode == 0, done.stderr
        kept[name] = interp.load_run(place / "whole"), interp.load_run(killed)
        return kept[name]

    return train


@pytest.mark.parametrize("name", ALL)
def test_a_killed_training_ends_bit_for_bit_as_one_that_was_not(trained, name):
    whole, killed = trained(name)
    assert whole.config == killed.config
    assert whole.config.model == config_of(name).model
    assert whole.history.equals(killed.history)
    assert whole.steps == killed.steps
    for step in whole.steps:
        mine = whole.at(step).weights
        assert all(torch.equal(mine[key], value) for key, value in killed.at(step).weights.items())
    assert whole.history["train_loss"].iloc[-1] < whole.history["train_loss"].iloc[0] - 0.5


@pytest.mark.parametrize("name", ALL)
def test_its_checkpoints_are_measured_by_their_own_forward_and_through_their_hooks(trained, name):
    """Losses equal those of the hooked model's logits: float32 in another order, 1e-5."""
    ckpt = trained(name)[0][-1]
    m, model = interp.progress_measures(ckpt), ckpt.model()
    pairs = Pairs.all(P)
    logits = at_last(model(ckpt.config.tokens(pairs)))[:, :P].double()
    nll = torch.nn.functional.cross_entropy(logits, ckpt.task.labels.flatten(), reduction="none")
    assert m.loss == pytest.approx(float(nll.mean()), rel=1e-5)
    assert m.train_loss == pytest.approx(float(nll[ckpt.train_mask.flatten()].mean()), rel=1e-5)
    hooked = interp.progress_measures(model, task=ckpt.task, split=ckpt.train_mask)
    for key in ("loss", "test_loss", "embedding_norm_gini", "single_frequency_neurons", "neuron_logit_key_share"):
        if key in m.to_dict() and key in hooked.to_dict():
            assert hooked[key] == (m[key] if m[key] is None else pytest.approx(m[key], rel=1e-4, abs=1e-6)), key
    acts, through = interp.activations(ckpt), interp.hooked_activations(model, P)
    torch.testing.assert_close(acts.logits, through.logits, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(acts.neurons, through.neurons, rtol=1e-4, atol=1e-4)
    assert (acts.pattern is None) == (name in ("hidden", "one-hot", "own"))
    if acts.pattern is not None:
        torch.testing.assert_close(acts.pattern, through.pattern, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ALL)
def test_gradients_with_respect_to_the_embedded_inputs_are_slopes(trained, name):
    """∂L/∂E_a of one pair against a difference quotient of the hooked model, in float64: to 1e-3 of the largest."""
    ckpt = trained(name)[0][-1]
    net = ckpt.config
    pair = Pairs(P, torch.tensor([3]), torch.tensor([8]))
    found = net.input_gradients(ckpt.weights, pair)
    if name == "own":
        assert found is None
        m = interp.progress_measures(ckpt, mechanism=True)
        assert "names no hook_embed" in m.missing["gradient_symmetricity"]
        return
    model = ckpt.model().double()
    direction = torch.randn(found[0].shape[-1], generator=torch.Generator().manual_seed(1)).double()

    def logits(position, size):
        def move(embed, hook):
            embed = embed.clone()
            embed[:, position] += size * direction
            return embed

        with model.hooks(fwd_hooks=[(net.points.embed, move)]), torch.no_grad():
            return at_last(model(net.tokens(pair)))[0, :P]

    if name == "half constant" or name == "two positions":
        model.reset_hooks()  # keeps the permanent one, of constant attention
    for position, gradient in enumerate(found):
        slope = (logits(position, 1e-5) - logits(position, -1e-5)) / 2e-5
        expected = gradient[0].double() @ direction
        torch.testing.assert_close(slope, expected, rtol=0, atol=2e-3 * float(expected.abs().max()) + 1e-6)


@pytest.mark.parametrize("name", ALL)
def test_it_is_ablated(trained, name):
    ckpt = trained(name)[0][-1]
    every = range(1, P // 2 + 1)
    whole = interp.ablate.logits(ckpt, keep=every)
    p, labels = P, ckpt.task.labels
    # With all frequencies, what is left of the logits is their mean over the pairs of each a + b.
    L = interp.activations(ckpt).logits.double()
    table = torch.stack([L[labels == s].mean(0) for s in range(p)])[labels]
    nll = torch.nn.functional.cross_entropy(table.flatten(0, 1), labels.flatten())
    assert whole.after.loss == pytest.approx(float(nll), rel=1e-5)
    assert whole.before.loss == pytest.approx(interp.progress_measures(ckpt).loss, rel=1e-5)
    still = interp.ablate.neurons(ckpt, remove=[])
    assert still.after.loss == pytest.approx(still.before.loss, rel=1e-5)
    if name == "own":
        with pytest.raises(ConfigError, match="needs a network with an embedding; two_tables has none"):
            interp.ablate.embedding(ckpt, remove=[1])
        with pytest.raises(ConfigError, match="needs a neuron-logit map; two_tables has none"):
            interp.ablate.output_directions(ckpt, [1])
    else:
        # Without any wave, all numbers are embedded alike, and the network cannot tell pairs apart.
        blind = interp.ablate.embedding(ckpt, remove=every)
        assert blind.after.accuracy == pytest.approx(1 / P)
    if name in ("hidden", "one-hot", "own"):
        with pytest.raises(ConfigError, match=r"attention\(\) needs a network with attention; \w+ has none"):
            interp.ablate.attention(ckpt)
    else:
        assert math.isfinite(interp.ablate.attention(ckpt).after.loss)


@pytest.mark.parametrize("name", ALL)
def test_it_is_followed_and_drawn(trained, name):
    run = trained(name)[0]
    df = interp.trajectory(run, progress=False, keep=False)
    assert list(df["step"]) == list(run.steps)
    assert interp.phases(df).memorized is not None or df["train_accuracy"].max() < 0.99
    assert interp.plot.training_curves(run.history).data
    assert interp.plot.progress_measures(df).data
    again = interp.progress_measures(run[-1])
    assert df["test_loss"].iloc[-1] == pytest.approx(again.test_loss, rel=1e-6)


@pytest.mark.parametrize("name", ["hidden", "own", "two layers"])
def test_it_is_swept(own_file, tmp_path, name):
    told = [*words(name, own_file), "--set", f"p={P}", "--set", "steps=20", "--set", "seed=0,1", "--workers", "1"]
    done = shell("sweep", tmp_path / "sweep", *told)
    assert done.returncode == 0, done.stderr
    sweep = interp.load_sweep(tmp_path / "sweep")
    assert sweep.table["error"].isna().all()
    assert set(sweep.table["network"]) == {config_of(name).model.name}
    for one in ALL[name][0][1:]:
        key, _, value = one.partition("=")
        assert set(sweep.table[key].astype(str).str.lower()) == {value.lower()}
    assert sweep.run(0)[-1].config == config_of(name).model
    again = shell("sweep", tmp_path / "sweep", *told)
    assert again.returncode == 0
    assert sweep.table["seconds"].equals(interp.load_sweep(tmp_path / "sweep").table["seconds"])


def test_a_run_of_an_unknown_network_says_how_to_read_it(trained):
    path = trained("own")[0].path
    done = shell("measure", path)
    assert done.returncode == 2
    assert "restore" not in done.stderr
    assert "network must be one of transformer, " in done.stderr
    assert "once its module is imported or named by --import FILE; got 'two_tables'" in " ".join(done.stderr.split())


def test_figures_for_what_a_network_lacks_are_sentences(trained, tmp_path, own_file):
    from tests.processes import module

    for name in ("hidden", "two layers"):
        wanted = ["attention_over_pairs", "attention_scores", "neuron_logit_weights"]
        done = module("analyses", "--run", trained(name)[0].path, "--out", tmp_path, *wanted)
        assert "Traceback" not in done.stderr
        skipped = [line for line in (done.stdout + done.stderr).splitlines() if line.startswith("Skipped")]
        assert any("attention" in line for line in skipped)


# ── what a member computes ───────────────────────────────────────────────────────────────────────────────────────


def all_weights(net, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.randn(*shape, generator=generator) for name, shape in net.shapes().items()}


@pytest.mark.parametrize("inputs", ["concatenated", "summed"])
@pytest.mark.parametrize("d_embed", [0, 5])
@pytest.mark.parametrize("activation", ["relu", "square", "gelu"])
def test_one_hidden_layer_is_its_formula(inputs, d_embed, activation):
    net = OneHiddenLayer(d_embed=d_embed, d_hidden=9, inputs=inputs, activation=activation, biases=True).sized(7)
    weights, pairs = all_weights(net), Pairs.all(7)
    hot_a, hot_b = (torch.nn.functional.one_hot(of, 7).float() for of in (pairs.a, pairs.b))
    x, y = (hot_a @ weights["W_x"], hot_b @ weights["W_y"]) if d_embed else (hot_a, hot_b)
    pre = (torch.cat([x, y], 1) if inputs == "concatenated" else x + y) @ weights["W"] + weights["b"]
    post = {"relu": torch.relu, "square": torch.square, "gelu": torch.nn.functional.gelu}[activation](pre)
    expected = post @ weights["W_U"] + weights["b_U"]
    out = net.run(weights, pairs)
    scale = float(expected.abs().max())
    torch.testing.assert_close(out.logits, expected, rtol=0, atol=1e-5 * scale)
    torch.testing.assert_close(out.neurons, post, rtol=0, atol=1e-5 * scale)
    assert out.pattern is None
    # Whether anybody looks at the embeddings changes how they are computed, and not what comes out.
    seen = []
    looked = net.forward(weights, pairs, Tap({"hook_embed": lambda e: seen.append(e) or e}))
    torch.testing.assert_close(looked, out.logits, rtol=0, atol=1e-5 * scale)
    if not d_embed:  # then the rows of W are what a and b are embedded as
        x, y = (
            (hot_a @ weights["W"], hot_b @ weights["W"])
            if inputs == "summed"
            else (hot_a @ weights["W"][:7], hot_b @ weights["W"][7:])
        )
    torch.testing.assert_close(seen[0], torch.stack([x, y], 1))
    # What is read as W_E: the embeddings of a and b, side by side.
    side = net.embedding(weights, 7)
    of_a, of_b = net.embeddings(weights, 7)
    assert torch.equal(side, torch.cat([of_a, of_b], 1))


@pytest.mark.parametrize("normalization", ["none", "LN", "LNPre", "RMS", "RMSPre"])
def test_several_layers_are_transformer_lens_own(normalization):
    net = LayeredTransformer(normalization=normalization, n_layers=3, **SMALL).sized(7)
    weights, pairs = net.initial_weights(3), Pairs.all(7)
    check_weights(weights, net)
    generator = torch.Generator().manual_seed(1)
    weights = {name: w + 0.1 * torch.randn(w.shape, generator=generator) for name, w in weights.items()}
    logits, cache = net.hooked(weights, 7).run_with_cache(net.tokens(pairs))
    out = net.run(weights, pairs)
    torch.testing.assert_close(out.logits, logits[:, -1])
    torch.testing.assert_close(out.neurons, cache["blocks.2.mlp.hook_post"][:, -1])
    torch.testing.assert_close(out.pattern, cache["blocks.2.attn.hook_pattern"][:, :, -1])
    changed = net.forward(weights, pairs, Tap({"blocks.0.mlp.hook_post": torch.zeros_like}))
    assert not torch.allclose(changed, logits[:, -1], atol=1e-3)
    again = net.forward(weights, pairs, UNTAPPED)
    assert torch.equal(again, out.logits)  # no hook stays


def test_one_layer_of_several_is_the_transformer(own_file):
    """The same network in both ways: float32 in another order, 1e-5 of the largest logit."""
    one = Transformer(**SMALL, init="transformer_lens").sized(7)
    deep = LayeredTransformer(n_layers=1, **SMALL).sized(7)
    pairs = Pairs.all(7)
    ours, theirs = (net.run(net.initial_weights(5), pairs).logits for net in (one, deep))
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5 * float(theirs.abs().max()))


def test_the_shared_forward_does_not_form_what_it_does_not_form():
    net = Transformer(**SMALL).sized(7)
    with pytest.raises(ConfigError, match="never forms hook_embed"):
        net.forward(net.initial_weights(0), Pairs.all(7), Tap({"hook_embed": lambda x: x}))


def test_a_network_in_a_config_is_its_name_and_its_sizes(own_file):
    for net in (
        Transformer(n_ctx=2, attention_coefficient=0.3), OneHiddenLayer(d_hidden=5), LayeredTransformer(n_layers=4),
        NETWORKS["two_tables"](d_hidden=6),
    ):  # fmt: skip
        said = json.loads(json.dumps(net.to_dict()))
        assert network_of(said) == net
        assert said["network"] == net.name
        config = TrainConfig(p=7, train_fraction=0.5, network=said)
        assert config.network == net
        assert config.model == net.sized(7)
        assert TrainConfig(p=7, train_fraction=0.5, network=config.model) == config  # sizes that the task gives
    assert TrainConfig(p=7, train_fraction=0.5, network="one_hidden_layer").network == OneHiddenLayer()
    # Sizes without a name, as the first format of the run directory has them.
    assert network_of({"d_vocab": 7, "d_vocab_out": 7, "d_embed": 3, "d_hidden": 4}) == OneHiddenLayer(7, 7, 3, 4)
    old = {"d_vocab": 8, "d_vocab_out": 8, "n_ctx": 3, "d_model": 16, "n_heads": 2, "d_head": 8, "d_mlp": 24}
    assert network_of(old) == Transformer(**SMALL).sized(7)


def test_the_default_transformer_given_whole_is_the_flat_settings():
    whole = TrainConfig(network=Transformer(d_model=64, n_heads=2, d_mlp=100, activation="gelu"))
    assert whole == TrainConfig(d_model=64, n_heads=2, d_mlp=100, activation="gelu")
    assert whole.network is None
    with pytest.raises(ConfigError, match=r"d_mlp must be given to the network, .* --set network.d_mlp=…; got d_mlp=9"):
        TrainConfig(d_mlp=9, network="one_hidden_layer")
    with pytest.raises(ConfigError, match=r"network\.d_hidden needs a network as well"):
        TrainConfig().changed({"network.d_hidden": 3})
    changed = TrainConfig(network="one_hidden_layer").changed({"network.d_hidden": 3, "seed": 2})
    assert (changed.network, changed.seed) == (OneHiddenLayer(d_hidden=3), 2)
    fast = TrainConfig.preset("fast", network="one_hidden_layer")
    assert (fast.p, fast.model) == (37, OneHiddenLayer().sized(37))


def test_what_is_no_network_is_refused(tmp_path):
    for said, error in [
        ({"network": "mlp"}, r"network must be one of transformer, .*--import FILE; got 'mlp'"),
        ({"network": {"network": "one_hidden_layer", "width": 3}}, "one_hidden_layer has no width; its sizes are"),
        ({"network": {"network": "one_hidden_layer", "d_hidden": 0}}, "d_hidden must be a whole number of at least 1"),
        ({"network": {"network": "layered_transformer", "d_model": 9}}, "d_model must be a multiple of n_heads"),
        ({"network": {"network": "transformer", "n_ctx": 5}}, "n_ctx must be 3, .* got 5 positions"),
        ({"network": OneHiddenLayer(d_vocab=9, d_vocab_out=9)}, "vocabulary of 9 and 9 outputs; a task of p = 113"),
    ]:
        with pytest.raises(ConfigError, match=error):
            TrainConfig(**said)
    with pytest.raises(ConfigError, match=r"W must have axes of at least 1; .* call sized"):
        OneHiddenLayer(d_embed=0).shapes()

    @dataclass(frozen=True)
    class Half(Network):
        def axes(self):
            return {}

    with pytest.raises(ConfigError, match="Half must define forward, initial_weights"):
        network("half")(Half)
    with pytest.raises(ConfigError, match="must not change: write @dataclass"):
        network("thawed")(dataclass(type("Thawed", (Network,), {})))
    with pytest.raises(ConfigError, match=r"transformer is the name of interp\.networks\.transformer\.Transformer"):
        network("transformer")(OneHiddenLayer)
    with pytest.raises(ConfigError, match="must be a word, such as two_tables"):
        network("two tables")(OneHiddenLayer)
    cell = {"__name__": "__main__"}
    exec(compile(TWO_TABLES.replace("two_tables", "cell_tables"), "<cell>", "exec"), cell)
    with pytest.raises(ConfigError, match="is not defined in a file"):
        import_name(cell["TwoTables"])
    assert import_name(OneHiddenLayer) is None


def test_a_checkpoint_with_weights_of_another_network_is_refused():
    net = OneHiddenLayer(d_embed=3, d_hidden=4).sized(7)
    weights = net.initial_weights(0)
    with pytest.raises(ConfigError, match=r"W_x is \[7, 3\]; expected \[d_vocab, d_embed\] = \[7, 5\]"):
        check_weights(weights, replace(net, d_embed=5))
    with pytest.raises(ConfigError, match="also holds b"):
        check_weights({**weights, "b": torch.zeros(4)}, net)
    assert interp.activations(weights, 7, "relu").logits.shape == (7, 7, 7)
    with pytest.raises(ConfigError, match="no network has weights of the names W_q"):
        interp.activations({"W_q": torch.zeros(3)}, 7, "relu")


def test_a_training_begins_with_a_checkpoint_of_its_network(trained, tmp_path, own_file):
    whole = trained("hidden")[0]
    config = replace(whole.config, steps=2, checkpoint_steps=(0, 2))
    run = interp.train(config, tmp_path / "on", progress=False, start=whole[-1])
    assert all(torch.equal(w, whole[-1].weights[n]) for n, w in run.at(0).weights.items())
    with pytest.raises(ConfigError, match="weights of the network that the settings describe; W_E is absent"):
        interp.train(TrainConfig(p=P, train_fraction=0.6, steps=2), tmp_path / "other", start=whole[-1])


def test_converted_networks_keep_their_name(tmp_path, trained):
    ckpt = trained("hidden")[0][-1]
    run = interp.convert(ckpt.path, tmp_path / "copy", progress=False)
    assert run.architecture == ckpt.config
    assert json.loads((tmp_path / "copy" / "config.json").read_text())["model"]["network"] == "one_hidden_layer"


def test_a_tap_of_a_dotted_name_is_refused_by_the_hooked_model(own_file):
    class Dotted(NETWORKS["two_tables"]):
        def forward(self, weights, pairs, tap):
            return tap("hook.post", super().forward(weights, pairs, tap))

    net = Dotted(d_hidden=3).sized(5)
    with pytest.raises(ConfigError, match="a unique name without dots"):
        net.hooked(net.initial_weights(0), 5)


def test_a_script_that_declares_a_network_and_sweeps_it_begins_once(tmp_path):
    """Its workers import it for the network alone."""
    script = tmp_path / "script.py"
    script.write_text(
        TWO_TABLES.replace("two_tables", "tables_of_a_script")
        + f"""
(settings := {{"p": 7, "train_fraction": 0.7, "network": TwoTables(8), "steps": 20, "seed": [0, 1]}})
table = interp.sweep(settings, {str(tmp_path / "sweep")!r}, workers=1, progress=False).table
print(len(table), table["error"].isna().all(), sorted(table["seed"]))
"""
    )
    done = subprocess.run([sys.executable, script], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.stdout.strip() == "2 True [0, 1]", done.stderr


def test_networks_are_known_by_name_whatever_was_imported_before():
    told = outside(
        """
        from dataclasses import dataclass
        from interp.networks.base import NETWORKS, Network, kind_of, network

        print(*NETWORKS)
        try:
            @network("one_hidden_layer")
            @dataclass(frozen=True)
            class Own(Network):
                axes = initial_weights = forward = None
        except ValueError as error:
            print(error)
        print(kind_of("layered_transformer").__name__, *NETWORKS)
        """,
        fresh=True,
    )
    assert told.splitlines() == [
        "",
        "one_hidden_layer is the name of interp.networks.one_hidden_layer.OneHiddenLayer; take another.",
        "LayeredTransformer transformer layered_transformer one_hidden_layer",
    ]


def test_a_network_of_wrong_weights_or_outputs_is_refused_before_it_trains(tmp_path, own_file):
    right = NETWORKS["two_tables"]

    def train(**methods):
        kind = dataclass(frozen=True)(type("Wrong", (right,), methods))
        net = network("wrong_tables")(kind)
        NETWORKS.pop("wrong_tables")
        return interp.train(TrainConfig(p=7, train_fraction=0.6, steps=2, network=net(d_hidden=4)), tmp_path / "run")

    first = right(d_hidden=4).sized(7).initial_weights(0)
    for methods, said in [
        ({"initial_weights": lambda self, seed: {n: w.double() for n, w in first.items()}}, "A must be float32; got"),
        ({"initial_weights": lambda self, seed: {"A": first["A"], "B": first["B"]}}, "lacks U"),
        (
            {"forward": lambda self, w, pairs, tap: right.forward(self, w, pairs, tap)[:, :3]},
            r"p = 7 outputs; got \[29, 3\]",
        ),
        ({"axes": lambda self: {"A": ("d_vocab", "d_hid")}}, "A must have axes of at least 1"),
        ({"forward": drawing(right)}, r"wrong_tables must draw no random numbers; two runs .* differ by"),
        ({"forward": drawing(right), "__module__": "interp.networks.mine"}, "wrong_tables must draw no random numbers"),
        ({"forward": mixing(right)}, r"a pair the same logits alone and among others; two such runs differ by"),
    ]:
        before = torch.get_rng_state()
        with pytest.raises(ConfigError, match=said):
            train(**methods)
        assert torch.equal(torch.get_rng_state(), before)
        assert not (tmp_path / "run" / "config.json").exists()


def drawing(right):
    """A forward with dropout of its own."""
    return lambda self, w, pairs, tap: torch.nn.functional.dropout(right.forward(self, w, pairs, tap), 0.1)


def mixing(right):
    """A forward with the mean over its pairs taken off, as batch normalization does."""

    def forward(self, w, pairs, tap):
        logits = right.forward(self, w, pairs, tap)
        return logits - logits.mean(0)

    return forward


@pytest.mark.parametrize(("other", "said"), [(drawing, "must draw no random numbers"), (mixing, "alone and among")])
def test_a_network_whose_answers_change_is_not_measured(trained, own_file, other, said):
    ckpt = trained("own")[0][-1]
    kind = NETWORKS["two_tables"]
    changing = dataclass(frozen=True)(type("Changing", (kind,), {"forward": other(kind)}))
    net = changing(d_hidden=ckpt.config.d_hidden).sized(P)
    with pytest.raises(ConfigError, match=said):
        interp.progress_measures(replace(ckpt, config=net))
    assert interp.progress_measures(replace(ckpt, config=kind(ckpt.config.d_hidden).sized(P))).loss > 0


def test_sizes_that_are_lists_in_json_are_tuples_again():
    @network("of_widths")
    @dataclass(frozen=True)
    class OfWidths(NETWORKS["two_tables"]):
        widths: tuple = (8, 8)

    try:
        net = OfWidths(widths=(4, 5))
        assert network_of(json.loads(json.dumps(net.to_dict()))) == net
    finally:
        NETWORKS.pop("of_widths")


def test_a_trajectory_says_why_measures_are_missing(trained, own_file, tmp_path):
    run = trained("own")[0]
    reasons = interp.progress_measures(run[-1]).missing
    for _ in range(2):  # computed, and read from what is kept
        missing = interp.trajectory(run, progress=False).attrs["missing"]
        assert missing["embedding_gini"] == reasons["embedding_gini"] == "two_tables gives no embedding"
        assert missing["attention_share"] == "the model has no attention"
        assert "test_loss" not in missing
    with pytest.warns(UserWarning, match="attention_share is missing at all checkpoints: the model has no attention"):
        interp.trajectory(run, measures=["test_loss", "attention_share"], progress=False)
    with pytest.raises(ConfigError, match="embedding_norms is missing at all checkpoints: two_tables gives no embed"):
        interp.trajectory(run, arrays=["embedding_norms"], progress=False)


def test_phases_of_a_network_of_ones_own(trained, own_file):
    done = shell("phases", trained("own")[0].path, "--import", own_file)
    assert done.returncode == 0, done.stderr
    assert "last_step" in done.stdout
