"""Whatever the caller has set, interp computes the same; and it leaves the caller's settings as they were."""

import contextlib
import threading
import warnings
from dataclasses import dataclass, fields, is_dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import interp
from interp.linear import digits, double_descent, ridge, two_layer
from interp.measures import attention, embedding, logits, neurons, weights as of_weights
from interp.networks import OneHiddenLayer
from interp.networks.transformer import INITS, from_bridge
from interp.subjects.hooked import hooked_input_gradients
from interp.tasks.fourier import shared_basis
from interp.utils.errors import ConfigError
from interp.utils.torch_state import computing
from tests import layouts


@contextlib.contextmanager
def default_dtype(dtype):
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


@contextlib.contextmanager
def default_device(device):
    torch.set_default_device(device)
    try:
        yield
    finally:
        torch.set_default_device(None)


@contextlib.contextmanager
def matmul_precision(setting):
    switches = [backend.matmul for backend in (torch.backends.mkldnn, torch.backends.cuda)]
    before = [switch.fp32_precision for switch in switches]
    torch.set_float32_matmul_precision(setting)
    try:
        yield
    finally:
        for switch, value in zip(switches, before, strict=True):
            switch.fp32_precision = value


@contextlib.contextmanager
def drawn():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(12345)
        yield


@contextlib.contextmanager
def all_of_them():
    with contextlib.ExitStack() as stack:
        for name in ("bfloat16", "set meta", "autocast", "bfloat16 products", "numpy raises", "other numbers drawn"):
            stack.enter_context(HOSTILE[name]())
        stack.enter_context(torch.inference_mode())
        yield


HOSTILE = {
    "float64": lambda: default_dtype(torch.float64),
    "bfloat16": lambda: default_dtype(torch.bfloat16),
    "meta": lambda: torch.device("meta"),
    "set meta": lambda: default_device("meta"),
    "no_grad": torch.no_grad,
    "inference": torch.inference_mode,
    "autocast": lambda: torch.autocast("cpu", torch.bfloat16),
    "bfloat16 products": lambda: matmul_precision("medium"),
    "numpy raises": lambda: np.errstate(all="raise"),
    "other numbers drawn": drawn,
    "all of them": all_of_them,
}


def state():
    return {
        "dtype": torch.get_default_dtype(),
        "device": torch.empty(0).device,
        "grad": torch.is_grad_enabled(),
        "inference": torch.is_inference_mode_enabled(),
        "autocast": [torch.is_autocast_enabled(kind) for kind in ("cpu", "cuda")],
        "products": [backend.matmul.fp32_precision for backend in (torch.backends.mkldnn, torch.backends.cuda)],
        "numpy": np.geterr(),
        "threads": torch.get_num_threads(),
        # Not Python's own: the checks of shapes in these tests draw from it.
        "random": [torch.default_generator.get_state().tolist(), repr(np.random.get_state())],  # noqa: NPY002
        "warnings": list(warnings.filters),
    }


@pytest.mark.parametrize("hostile", HOSTILE)
@pytest.mark.parametrize("fails", [False, True])
def test_computing_states_all_of_it_and_restores_all_of_it(hostile, fails):
    plain = state()
    with HOSTILE[hostile]():
        before = state()
        for grad in (False, True):
            with contextlib.suppress(ZeroDivisionError), computing(grad):
                now = state()
                assert set(now["products"]) <= {"none", "ieee"}  # both are full float32
                expected = {"random": before["random"], "grad": grad, "products": now["products"]}
                assert now == plain | expected
                if fails:
                    raise ZeroDivisionError
            assert state() == before
    assert state() == plain


def test_threads_that_overlap_keep_float32_until_the_last_leaves():
    inside, leave, seen = threading.Event(), threading.Event(), []

    def other():
        with computing():
            inside.set()
            leave.wait(10)
            seen.append(torch.get_default_dtype())
        seen.append(torch.get_default_dtype())

    with default_dtype(torch.float64):
        thread = threading.Thread(target=other)
        with computing():
            thread.start()
            inside.wait(10)
        assert torch.get_default_dtype() == torch.float32  # the other still computes
        leave.set()
        thread.join()
        assert torch.get_default_dtype() == torch.float64
    assert seen == [torch.float32, torch.float64]


# ── every entry, under every state ───────────────────────────────────────────────────────────────────────────────

CONFIG = interp.TrainConfig(
    p=7, train_fraction=0.5, d_model=8, n_heads=2, d_mlp=12, steps=30, checkpoint_steps=(0, 15, 30), history_every=10
)
MLP = OneHiddenLayer(7, 7, d_embed=6, d_hidden=10)


@pytest.fixture(scope="module")
def run_path(tmp_path_factory):
    path = tmp_path_factory.mktemp("state") / "run"
    interp.train(CONFIG, path, progress=False)
    return path


@pytest.fixture(scope="module")
def foreign(tmp_path_factory, run_path):
    """The same run as a torch file of the paper's layout."""
    run, path = interp.load_run(run_path), tmp_path_factory.mktemp("foreign") / "run.pth"
    states = [layouts.paper(dict(ckpt.weights)) for ckpt in run]
    torch.save({"state_dicts": states, "epochs": list(run.steps), "config": {"n_heads": 2}}, path)
    return path


@pytest.fixture(scope="module")
def bridge(run_path):
    return interp.load_run(run_path)[-1].model()


@dataclass
class Made:
    """What the computations start from, made in an undisturbed state."""

    path: Path
    foreign: Path
    bridge: object
    folder: Path

    def __post_init__(self):
        self.run = interp.load_run(self.path)
        self.checkpoint, self.task, self.mask = self.run[-1], self.run.task, self.run.train_mask
        generator = torch.Generator().manual_seed(0)
        sizes = {"W_x": (7, 6), "W_y": (7, 6), "W": (12, 10), "W_U": (10, 7)}
        weights = {name: torch.randn(size, generator=generator) for name, size in sizes.items()}
        self.mlp = interp.Checkpoint(weights, MLP, self.task, train_mask=self.mask)
        self.keys = interp.progress_measures(self.checkpoint).key_frequencies
        self.acts = interp.activations(self.checkpoint)
        self.logits, self.table = self.acts.logits, logits.logit_table(self.acts.logits, self.task.labels)


def _trained(made, **changes):
    run = interp.train(replace(CONFIG, **changes), made.folder / "trained", progress=False)
    return run.history, run.train_mask, [dict(ckpt.weights) for ckpt in run]


class FromArrays(list):
    """What functions of arrays give: they may follow the caller's inference mode, since nothing of it is kept."""


def _pure(made):
    weights, L = made.checkpoint.weights, made.logits
    W_L = made.checkpoint.config.neuron_logit_map(weights)[:, :7]
    shares = neurons.frequency_shares(made.acts.neurons)
    frequencies = neurons.neuron_frequencies(shares)
    coefficients = logits.cos_coefficients(made.table)
    return FromArrays([
        W_L, shares, frequencies, coefficients, attention.qk_circuit(weights), attention.ov_circuit(weights),
        attention.score_vectors(weights, 7), embedding.gini(coefficients.abs()), embedding.fourier_norms(W_L.T),
        logits.fitted_logits({1: 2.0}, made.task.labels), logits.fourier_norms_2d(L),
        logits.projection_shares(made.acts.neurons, W_L, made.task.labels, [1, 2]),
        neurons.input_phases(made.acts.neurons, frequencies), neurons.output_phases(W_L, frequencies),
        interp.fourier.fourier_basis(7), interp.fourier.project(made.table, [1]),
        made.checkpoint.config.run(weights, interp.networks.Pairs.all(7)).logits,
        logits.correct_logit(L, made.task.labels), logits.size_of_rest(L, made.table, made.task.labels),
        embedding.on_circle(W_L.T, embedding.circle_directions(W_L.T, 1)), of_weights.alignment(W_L, W_L + 1),
        of_weights.principal_components(made.table @ made.table.T), of_weights.effective_rank_of(W_L),
        of_weights.inner_products([weights, weights]), of_weights.random_direction(weights, 0),
    ])  # fmt: skip


def _gradients(made):
    pairs = interp.networks.Pairs.all(7)
    yield from made.checkpoint.config.input_gradients(made.checkpoint.weights, pairs)
    yield from hooked_input_gradients(made.bridge, pairs)


def _neighbours(made):
    problem = ridge.random_features_problem(n=6, d=3, m=9)
    return [
        problem.svd, ridge.trajectory(problem, 10**6), ridge.simulate(problem, 5, progress=False),
        ridge.grokking_times(problem), double_descent.isotropic(20, [0.5, 2.0], trials=2, progress=False),
        double_descent.random_features([5, 20], 10, draws=2, test_samples=10, ridge="tuned", progress=False),
        double_descent.epoch_wise(20, (12, 6), steps=100, draws=2, progress=False),
        double_descent.removals(*double_descent.diabetes(), [8, 12], draws=2, progress=False),
    ]  # fmt: skip


COMPUTATIONS = {
    "train": _trained,
    "train as TransformerLens starts": lambda made: _trained(made, init="transformer_lens"),
    "resume": lambda made: [
        _trained(made),
        interp.train(replace(CONFIG, steps=40), made.folder / "trained", resume=True, progress=False)[-1].weights,
    ],
    "measure": lambda made: interp.progress_measures(made.checkpoint, mechanism=True),
    "measure a path": lambda made: interp.progress_measures(made.path),
    "measure a bridge": lambda made: interp.progress_measures(
        made.bridge, task=made.task, split=made.mask, mechanism=True
    ),
    "measure one hidden layer": lambda made: [
        interp.progress_measures(made.mlp, mechanism=True),
        interp.progress_measures(made.mlp.model(), task=made.task, split=made.mask, mechanism=True),
    ],
    "load": lambda made: [dict(ckpt.weights) for ckpt in interp.load_run(made.path)],
    "load a file": lambda made: [
        interp.load_checkpoint(made.foreign, split="paper", seed=0).weights,
        interp.load_run(made.foreign)[0].weights,
    ],
    "convert": lambda made: interp.convert(made.foreign, made.folder / "converted", progress=False)[-1].weights,
    "trajectory": lambda made: interp.trajectory(made.run, refresh=True, progress=False),
    "compare": lambda made: interp.compare({"one": made.checkpoint, "two": made.mlp}, mechanism=True, progress=False),
    "activations": lambda made: [interp.activations(made.checkpoint), interp.hooked_activations(made.bridge, 7)],
    "gradients": lambda made: list(_gradients(made)),
    "model": lambda made: [dict(made.checkpoint.model().state_dict()), from_bridge(made.bridge)],
    "hooks of a model": lambda made: made.checkpoint.model()(torch.tensor([[1, 2, 7]], device="cpu")).shape,
    "ablate": lambda made: [
        interp.ablate.embedding(made.checkpoint, keep=[1]), interp.ablate.neurons(made.checkpoint, remove=[2]),
        interp.ablate.logits(made.checkpoint, keep=[1, 3]), interp.ablate.attention(made.checkpoint, "degree-2"),
        interp.ablate.neuron_fits(made.checkpoint), interp.ablate.clusters(made.checkpoint, [1, 2, 3]),
        interp.ablate.unclustered(made.checkpoint), interp.ablate.output_directions(made.checkpoint, [2]),
        interp.ablate.through_hooks(made.checkpoint, [], bridge=made.bridge),
    ],
    "functions of arrays": _pure,
    "initial weights": lambda made: [replace(CONFIG.model, init=one).initial_weights(1) for one in INITS],
    "labels and splits": lambda made: [
        *(interp.Task(7, operation, 3).labels for operation in ("add", "subtract", "quadratic", "random")),
        made.task.distances, interp.split_mask(7, 0.4, 1, "torch"), interp.split_mask(7, 0.4, 1),
        interp.TrainConfig(p=7, split="torch").task.labels,
    ],
    "digits": lambda made: digits.train_digits([3, 5], 30, epochs=6, seeds=2, records=3, progress=False),
    "two layers": lambda made: two_layer.trajectories(
        two_layer.TwoLayer(n=6, d=3, width=5), steps=10, records=4, progress=False
    ),
    "ridge and double descent": _neighbours,
}  # fmt: skip


def spelled(found) -> str:
    """A result digit by digit; its tensors are ordinary ones on the CPU, but for plain functions of the caller's."""

    def plain(x):
        if isinstance(x, torch.Tensor):
            assert x.device.type == "cpu"
            assert not x.is_inference() or found.__class__ is FromArrays
            assert not x.requires_grad or isinstance(x, torch.nn.Parameter)
            return [str(x.dtype), x.tolist()]
        if isinstance(x, np.ndarray):
            return [str(x.dtype), x.tolist()]
        if isinstance(x, pd.DataFrame):
            return [x.dtypes.astype(str).to_dict(), x.to_dict("list"), dict(x.attrs)]
        if is_dataclass(x):
            return {f.name: plain(getattr(x, f.name)) for f in fields(x)}
        if isinstance(x, dict):
            return {name: plain(value) for name, value in x.items()}
        return [plain(value) for value in x] if isinstance(x, list | tuple) else x

    return repr(plain(found))


def forget():
    """Empty what is kept from one call to the next, so that the state that follows fills it."""
    shared_basis.cache_clear()
    digits._images.cache_clear()


@pytest.fixture(scope="module")
def expected():
    return {}


@pytest.fixture
def made(run_path, foreign, bridge, tmp_path):
    return Made(run_path, foreign, bridge, tmp_path)


# Every computation under all states at once; under each state those that differ in what they rest on.
CASES = [("all of them", name) for name in COMPUTATIONS]
CASES += [("float64", "train"), ("no_grad", "train"), ("bfloat16", "ablate"), ("inference", "gradients")]
CASES += [
    (hostile, name)
    for hostile in HOSTILE
    for name in ("measure", "measure a bridge", "functions of arrays", "two layers")
    if hostile != "all of them"
]


@pytest.mark.parametrize(("hostile", "name"), CASES)
def test_nothing_that_the_caller_has_set_changes_a_result_or_is_changed(hostile, name, made, expected):
    compute = COMPUTATIONS[name]
    if name not in expected:
        made.folder /= "plain"
        made.folder.mkdir()
        expected[name] = spelled(compute(made))
        made.folder = made.folder.parent
    forget()
    with HOSTILE[hostile]():
        before = state()
        found = compute(made)
        assert state() == before
    assert spelled(found) == expected[name]
    made.folder /= "afterwards"
    made.folder.mkdir()
    assert spelled(compute(made)) == expected[name]  # nothing of the hostile state was kept


def test_what_is_returned_can_be_changed_without_changing_what_is_computed_next(made, tmp_path):
    def measured():
        again = interp.load_run(made.path)
        return spelled([
            interp.progress_measures(made.checkpoint, mechanism=True), interp.progress_measures(made.run),
            interp.progress_measures(again), interp.progress_measures(made.bridge, made.task, made.mask),
            interp.trajectory(made.run, refresh=True, progress=False), interp.ablate.logits(made.checkpoint, keep=[1]),
            interp.fourier.fourier_basis(7), made.run.history, made.run.bad, made.task.labels, made.task.distances,
            made.run.train_mask, made.checkpoint.train_mask, interp.split_mask(7, 0.5, 0), problem.svd,
        ])  # fmt: skip

    problem = ridge.gaussian_problem(5, 8)
    before = measured()
    with torch.no_grad():
        interp.fourier.fourier_basis(7).mul_(2)
        for labels in (made.task.labels, made.task.distances, CONFIG.task.labels, made.checkpoint.task.labels):
            labels.add_(1)
        for mask in (made.run.train_mask, made.checkpoint.train_mask, made.run[0].train_mask, made.run.train_mask.T):
            mask.logical_not_()
        interp.split_mask(7, 0.5, 0).logical_not_()
        acts = interp.activations(made.checkpoint), interp.hooked_activations(made.bridge, 7)
        for tensor in [t for one in acts for t in vars(one).values()]:
            tensor.zero_()
        for weights in (made.run[-1].weights, interp.load_run(made.path)[-1].weights, from_bridge(made.bridge)[0]):
            for weight in weights.values():
                weight.zero_()
        for parameter in made.checkpoint.model().parameters():
            parameter.zero_()
    m = interp.progress_measures(made.checkpoint)
    for array in (m.cos_coefficients, m.embedding_norms, m.unembedding_norms):
        array *= 2
    m.missing.clear()
    m.excluded_loss_by_frequency.clear()
    for frame in (made.run.history, interp.trajectory(made.run, progress=False)):
        frame.loc[:, :] = 0
    made.run.bad[0] = "no more"
    with pytest.raises(ValueError, match="read-only"):
        problem.svd.sigma *= 2
    assert measured() == before


def test_a_mask_given_is_copied(made):
    mask = made.mask.clone()
    ckpt = replace(made.checkpoint, train_mask=mask)
    mask.logical_not_()
    assert torch.equal(ckpt.train_mask, made.mask)


# ── models that the caller gives ─────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def own(made):
    """A bridge of the caller's in training mode, with dropout on its neurons, a frozen weight, gradients and a hook."""
    model = made.checkpoint.model()
    model.dropout = torch.nn.Dropout(0.5)
    model.add_hook("blocks.0.mlp.hook_post", lambda value, hook: model.dropout(value))
    model.train()
    model.blocks[0].eval()  # the modules need not all be in one mode
    model.embed.weight.requires_grad_(False)
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.grad = torch.ones_like(parameter)
    return model


def about(model):
    return {
        "modes": [module.training for part in (model, model.original_model) for module in part.modules()],
        "gradients": [None if p.grad is None else p.grad.tolist() for p in model.parameters()],
        "requires_grad": [p.requires_grad for p in model.parameters()],
        "hooks": [len(point.fwd_hooks) + len(point.bwd_hooks) for point in model.hook_dict.values()],
    }


USES = {
    "measures": lambda made, model: interp.progress_measures(model, task=made.task, split=made.mask, mechanism=True),
    "activations": lambda made, model: interp.hooked_activations(model, 7),
    "gradients": lambda made, model: list(hooked_input_gradients(model, interp.networks.Pairs.all(7))),
    "ablation": lambda made, model: interp.ablate.through_hooks(made.checkpoint, [], bridge=model),
}


@pytest.mark.parametrize("use", USES)
def test_a_model_is_measured_without_its_dropout_and_left_as_it_was(use, made, own):
    before, numbers = about(own), state()
    found = spelled(USES[use](made, own))
    assert about(own) == before
    assert state() == numbers
    assert found == spelled(USES[use](made, made.checkpoint.model().eval()))


@pytest.mark.parametrize("use", USES)
def test_a_model_that_fails_is_left_as_it_was(use, made, own):
    def fail(value, hook):
        raise ZeroDivisionError

    own.add_hook("unembed.hook_out", fail)
    before, numbers = about(own), state()
    with pytest.raises(ZeroDivisionError):
        USES[use](made, own)
    assert about(own) == before
    assert state() == numbers


@pytest.mark.parametrize(("dtype", "error"), [(torch.float64, 1e-5), (torch.bfloat16, 0.1), (torch.float16, 0.02)])
def test_a_model_of_another_precision_is_measured_as_it_computes(dtype, error, made):
    task, mask = made.task, made.mask
    plain = interp.progress_measures(made.checkpoint, mechanism=True).scalars()
    bridge = made.checkpoint.model().to(dtype)
    found = interp.progress_measures(bridge, task, mask, key_frequencies=made.keys, mechanism=True).scalars()
    for name in ("loss", "restricted_loss", "sum_squared_weights", "gradient_symmetricity", "embedding_gini"):
        assert found[name] == pytest.approx(plain[name], rel=error, abs=error), name
    assert all(weight.dtype == torch.float32 for weight in from_bridge(bridge)[0].values())


def test_weights_of_the_caller_need_not_be_ordinary(made):
    with torch.inference_mode():
        weights = {name: weight.clone().bfloat16() for name, weight in made.checkpoint.weights.items()}
        assert weights["W_E"].is_inference()
    rounded = {name: weight.bfloat16().float() for name, weight in made.checkpoint.weights.items()}
    one, two = (
        interp.progress_measures(replace(made.checkpoint, weights=w), mechanism=True) for w in (weights, rounded)
    )
    assert spelled(one) == spelled(two)


def test_models_without_numbers_or_gradients_are_refused_with_a_sentence(made):
    with torch.inference_mode():
        stuck = made.mlp.model()
    assert interp.progress_measures(stuck, task=made.task, mechanism=True).gradient_symmetricity is not None
    with torch.inference_mode():
        stuck.W_x = torch.nn.Parameter(stuck.W_x.clone())
    assert interp.progress_measures(stuck, task=made.task).loss > 0
    with pytest.raises(ConfigError, match=r"Gradients need parameters that were made outside of torch.* Make it"):
        interp.progress_measures(stuck, task=made.task, mechanism=True)
    with pytest.raises(ConfigError, match="must hold numbers to be measured; got a HookedNetwork on the meta device"):
        interp.progress_measures(made.mlp.model().to("meta"), task=made.task)
