"""Whether a model is what it is measured as: doubts, on networks that answer any table exactly, and names of tasks."""

import itertools
import json
import math
import warnings
from dataclasses import replace

import pytest
import torch

import interp
from interp import ConfigError, Task
from interp.networks import OneHiddenLayer
from interp.runs.published.task_names import meaning_of, named_tasks
from interp.study.doubts import doubts_of
from tests.processes import interp as shell, module
from tests.runs.test_published import here
from tests.wild import PUBLISHED

P = 11
PAIRS = torch.arange(P * P)
A, B = PAIRS // P, PAIRS % P
MASK = interp.split_mask(P, 0.3, 7)
SPLIT = {"split": "paper", "seed": 7}


def network(labels: torch.Tensor, scale: float | torch.Tensor = 20.0) -> dict[str, torch.Tensor]:
    """One hidden neuron a pair, 1 for that pair and else 0, that raises the logit of its label by `scale`.

    The loss of an answered pair is log(1 + (n − 1) e^−scale), of another scale + that.
    """
    n = len(labels)
    pairs = torch.arange(n * n)
    of_a, of_b = torch.eye(n)[:, pairs // n] - 1, torch.eye(n)[:, pairs % n]  # [a = i] − 1 + [b = j] is 1 at (i, j)
    W_U = torch.zeros(n * n, n)
    W_U[pairs, labels.flatten()] = torch.as_tensor(scale).expand(n, n).flatten().float()
    return {"W_x": torch.eye(n), "W_y": torch.eye(n), "W": torch.cat([of_a, of_b]), "W_U": W_U}


def untrained(n: int = P) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {name: 0.1 * torch.randn(w.shape, generator=generator) for name, w in network(Task(n).labels).items()}


def memorized() -> dict[str, torch.Tensor]:
    """Right on the train pairs, and as sure of wrong answers on all others."""
    labels = Task(P).labels
    return network(torch.where(MASK, labels, (labels + 1) % P))


def dihedral(n: int) -> torch.Tensor:
    """The table of D_n: rotations r^i first, then reflections r^i s; s r^j = r^−j s."""
    table = torch.zeros(2 * n, 2 * n, dtype=torch.long)
    for x, y in itertools.product(range(2 * n), repeat=2):
        i, s, j, t = x % n, x // n, y % n, y // n
        table[x, y] = (i + (-j if s else j)) % n + n * (s ^ t)
    return table


def symmetric(n: int) -> torch.Tensor:
    elements = list(itertools.permutations(range(n)))
    of = {element: index for index, element in enumerate(elements)}
    return torch.tensor([[of[tuple(q[i] for i in p)] for q in elements] for p in elements])


def save(path, state, **beside):
    torch.save({"model": state, **beside} if beside else state, path)
    return path


@pytest.fixture
def file(tmp_path):
    return lambda state, **beside: save(tmp_path / "model.pt", state, **beside)


def quietly(source, **options) -> interp.ProgressMeasures:
    """The measures, any warning an error."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return interp.progress_measures(source, **options)


def doubted(source, **options) -> tuple[str, ...]:
    """The doubts, each of them a warning too, and in the table's first lines and the JSON."""
    with pytest.warns(UserWarning, match=".") as caught:
        m = interp.progress_measures(source, **options)
    assert m.doubts
    said = [str(one.message) for one in caught]
    assert len(said) == len(m.doubts)
    assert all(one.endswith(doubt) for one, doubt in zip(said, m.doubts, strict=True))
    assert str(m).splitlines()[0].split(maxsplit=1) == ["doubt", m.doubts[0]]
    assert json.loads(json.dumps(m.to_dict()))["doubts"] == list(m.doubts)
    return m.doubts


def test_the_networks_answer_their_table_with_the_loss_of_the_formula(file):
    m = quietly(file(network(Task(P).labels, 3.0)))
    assert m.loss == pytest.approx(math.log(1 + (P - 1) * math.exp(-3)), rel=1e-6)
    assert m.accuracy == 1


# ── a task that nobody names ─────────────────────────────────────────────────────────────────────────────────────


def test_addition_that_nobody_names_is_taken_where_it_was_learned(file):
    assert quietly(file(network(Task(P).labels))).doubts == ()
    graded = torch.where(MASK, 12.0, 10.0)  # trained pairs keep the smaller losses
    assert quietly(file(network(Task(P).labels, graded)), **SPLIT).doubts == ()
    assert quietly(file(memorized()), **SPLIT).doubts == ()


@pytest.mark.parametrize(
    ("state", "options", "why"),
    [
        (untrained(), {}, "it may not be trained yet, or have learned another task or group"),
        (untrained(), SPLIT, "but over the train pairs the loss is"),
        (memorized(), {}, "it may have memorized train pairs that are unknown (give split and seed)"),
        (memorized(), {"split": "paper", "seed": 8}, "it may have been trained on another split"),
        (network(Task(P, "subtract").labels), {}, 'learned a − b mod 11; give task=interp.Task(11, "subtract")'),
        (network(Task(P, "quadratic").labels), {}, "(--p 11 --operation quadratic)"),
        (network((A * B % P).view(P, P)), {}, "learned a · b mod 11, which is not a task that interp measures"),
        (network(symmetric(3)), {}, "measured as a + b mod 6"),
        (network(dihedral(5)), {}, "or have learned another task or group"),
    ],
    ids=["step 0", "step 0, split", "memorized", "wrong split", "a − b", "a² + ab + b²", "a · b", "S3", "D5"],
)  # fmt: skip
def test_what_was_not_evidently_learned_is_doubted(file, state, options, why):
    (doubt,) = doubted(file(state), **options)
    assert "does not record its task" in doubt
    assert why in doubt


def test_a_dihedral_group_is_doubted_though_its_rotations_add(file):
    """Of the four quarters of the table, rotation times rotation is addition, and reflection times rotation is not."""
    table = dihedral(5)
    assert bool((table[:5, :5] == Task(5).labels).all())
    right = float((table == Task(10).labels).double().mean())
    (doubt,) = doubted(file(network(table)))
    assert f"{right:.1%} are right, where chance is" in doubt


# ── a task that the caller names ─────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("options", [{}, SPLIT], ids=["no split", "split"])
def test_a_task_that_the_caller_names_is_not_doubted_for_being_untrained(file, options):
    assert quietly(file(untrained()), task=Task(P), **options).doubts == ()


def test_a_task_that_the_caller_names_is_doubted_from_twice_chance_on(file):
    """Answering a share w of the pairs wrong, each by scale s, costs w·s + log(1 + (n − 1)e^−s)."""
    wrong = torch.arange(P * P).view(P, P) < 31  # w = 31/121
    labels = torch.where(wrong, (Task(P).labels + 1) % P, Task(P).labels)
    twice = 2 * math.log(P) * 121 / 31
    assert quietly(file(network(labels, twice - 0.1)), task=Task(P)).doubts == ()
    (doubt,) = doubted(file(network(labels, twice + 0.1)), task=Task(P))
    assert doubt.startswith("the task given is a + b mod 11, but over all pairs (the split is unknown) the loss is 4.8")


@pytest.mark.parametrize(
    ("state", "n"),
    [
        (network(Task(P, "subtract").labels), P),
        (network(Task(P, "quadratic").labels), P),
        (network((A * B % P).view(P, P)), P),
        (network(symmetric(3)), 6),
        (network(dihedral(5)), 10),
        (memorized(), P),
    ],
    ids=["a − b", "a² + ab + b²", "a · b", "S3", "D5", "memorized"],
)
def test_a_wrong_task_is_doubted_though_the_caller_names_it(file, state, n):
    (doubt,) = doubted(file(state), task=Task(n))
    assert doubt.startswith(f"the task given is a + b mod {n}, but")


def test_the_right_task_is_taken(file):
    for operation in ("subtract", "quadratic"):
        assert quietly(file(network(Task(P, operation).labels)), task=Task(P, operation)).doubts == ()
    assert quietly(file(memorized()), task=Task(P), **SPLIT).doubts == ()


def test_a_bridge_is_measured_with_the_callers_task(tmp_path):
    config = OneHiddenLayer(P, P, P, P * P)
    right, wrong = (config.hooked(network(task.labels), P) for task in (Task(P), Task(P, "subtract")))
    assert quietly(right, task=Task(P)).doubts == ()
    (doubt,) = doubted(wrong, task=Task(P))
    assert "evidently learned a − b mod 11" in doubt
    with right.hooks(fwd_hooks=[("hook_post", lambda x, hook: x.roll(1, -1))]):  # an ablation says nothing of the task
        assert quietly(right, task=Task(P)).loss > 2 * math.log(P)


# ── a task that the file names ───────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "state", [untrained(), memorized(), network(Task(P).labels)], ids=["new", "memorized", "grokked"]
)
def test_a_task_that_the_file_names_is_not_doubted(file, state):
    assert quietly(file(state, config={"fn_name": "add"})).doubts == ()


def test_a_run_of_ours_is_silent_at_every_step(small_run):
    assert quietly(small_run.at(0)).doubts == quietly(small_run).doubts == ()


@pytest.mark.parametrize("options", [{"task": Task(P)}, {}], ids=["task given", "task named in the file"])
def test_a_wrong_split_is_doubted_where_no_losses_are_recorded(file, options):
    graded = torch.where(MASK, 12.0, 10.0)
    path = file(network(Task(P).labels, graded), config={"operation": "x+y"})
    assert quietly(path, **options, **SPLIT).doubts == ()
    for seed in (1, 2, 3, 4):
        (doubt,) = doubted(path, **options, split="paper", seed=seed)
        assert "answered no better than the others" in doubt
    path = file(memorized(), config={"operation": "x+y"})
    (doubt,) = doubted(path, **options, split="paper", seed=1)
    assert "it may have been trained on another split" in doubt
    assert quietly(file(untrained(), config={"operation": "x+y"}), **options, split="paper", seed=1).doubts == ()


def test_a_wrong_split_that_recorded_losses_tell_is_a_doubt_too(file):
    loss = math.log(1 + (P - 1) * math.exp(-20))
    path = file(memorized(), config={"op": "add"}, train_loss=loss, test_loss=20 + loss)
    assert quietly(path, **SPLIT).doubts == ()
    with pytest.warns(UserWarning, match="with this split, the model's train loss"):
        m = interp.progress_measures(path, split="paper", seed=1)
    assert "with this split, the model's train loss" in m.doubts[0]


# ── runs ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def whole_run(tmp_path, *states):
    path = tmp_path / "run.pth"
    torch.save({"state_dicts": list(states), "epochs": [100 * i for i in range(len(states))]}, path)
    return path


def test_a_run_whose_end_has_learned_its_task_is_not_doubted_before(tmp_path):
    path = whole_run(tmp_path, untrained(), memorized(), network(Task(P).labels))
    run = interp.load_run(path)
    assert [quietly(checkpoint).doubts for checkpoint in run] == [(), (), ()]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert interp.trajectory(run, progress=False).attrs["doubts"] == ()


def test_a_run_that_never_learned_its_task_is_doubted_at_every_step(tmp_path):
    path = whole_run(tmp_path, untrained(), network(Task(P, "subtract").labels))
    run = interp.load_run(path)
    assert "may not be trained yet" in doubted(run.at(0))[0]
    with pytest.warns(UserWarning, match="evidently learned a − b mod 11"):
        frame = interp.trajectory(run, progress=False)
    assert len(frame.attrs["doubts"]) == 1


def test_a_conversion_does_not_make_a_record_of_an_assumption(tmp_path):
    path = save(tmp_path / "model.pt", network(Task(P, "subtract").labels))
    with pytest.warns(UserWarning, match="becomes step 0"):
        run = interp.convert(path, tmp_path / "run", progress=False)
    assert (run.task_origin, run[-1].task_origin) == ("assumed", "assumed")
    doubted(run)
    alone = tmp_path / "alone.safetensors"
    alone.write_bytes((tmp_path / "run" / "checkpoints" / "step_00000000.safetensors").read_bytes())
    doubted(alone)
    named = save(tmp_path / "named.pt", untrained(), config={"fn_name": "add"}, epoch=3)
    assert quietly(interp.convert(named, tmp_path / "named", progress=False)).doubts == ()


def test_compare_has_the_doubts_of_each_model(tmp_path):
    right = save(tmp_path / "right.pt", network(Task(P).labels))
    wrong = save(tmp_path / "wrong.pt", network(Task(P, "subtract").labels))
    with pytest.warns(UserWarning, match="evidently learned"):
        frame = interp.compare({"right": right, "wrong": wrong}, progress=False)
    assert [len(doubts) for doubts in frame["doubts"]] == [0, 1]
    assert frame["key_doubt"][0] is None
    assert "has not generalized (accuracy over all pairs" in frame["key_doubt"][1]
    lines = shell("compare", right, wrong, "--json").stdout.splitlines()
    assert [json.loads(line)["key_doubt"] for line in lines] == [None, frame["key_doubt"][1]]


def test_the_shell_ends_with_3_after_printing_what_it_doubts(tmp_path, small_run_path):
    path = save(tmp_path / "model.pt", network(Task(P, "subtract").labels))
    done = shell("measure", path, "--json")
    assert done.returncode == 3
    said = json.loads(done.stdout)
    assert said["accuracy"] == pytest.approx(1 / P)  # a + b = a − b only for b = 0
    assert "evidently learned a − b mod 11" in said["doubts"][0]
    assert said["doubts"][0] in done.stderr
    done = shell("measure", path, "--anyway")
    assert done.returncode == 0
    assert done.stdout.splitlines()[1].startswith("doubt ")
    done = shell("measure", path, "--operation", "subtract", "--json")  # modulo what the file tells
    assert (done.returncode, json.loads(done.stdout)["accuracy"]) == (0, 1)
    path = whole_run(tmp_path, untrained(), network(Task(P, "subtract").labels))
    done = shell("phases", path)
    assert done.returncode == 3
    assert done.stdout.startswith("doubt   ")
    assert "doubtful: the network has not generalized (accuracy over all pairs" in done.stdout
    done = shell("measure", small_run_path, "--step", "0")
    assert (done.returncode, done.stderr) == (0, "")


def test_the_shell_draws_and_ends_with_3_where_it_doubts_what_it_drew(tmp_path):
    right = save(tmp_path / "right.pt", network(Task(P).labels))
    wrong = save(tmp_path / "wrong.pt", network(Task(P, "subtract").labels))
    run = whole_run(tmp_path, untrained(), network(Task(P, "subtract").labels))
    for source, figure, options, status in (
        (right, "fourier_norms", (), 0), (wrong, "fourier_norms", (), 3), (wrong, "fourier_norms", ("--anyway",), 0),
        (wrong, "fourier_norms", ("--operation", "subtract"), 0), (run, "fourier_norms", (), 3),
        (run, "weights_path", (), 3), (run, "accuracies", ("--operation", "subtract"), 0),
    ):  # fmt: skip
        done = shell("figures", source, "-o", tmp_path / "out", "--figure", figure, "--formats", "html", *options)
        assert done.returncode == status, (source.name, figure, options, done.stderr)
        doubted = source in (wrong, run) and "subtract" not in options
        assert done.stderr.count("evidently learned a − b mod 11") == doubted, done.stderr  # once, whoever says it
        assert (tmp_path / "out" / "index.html").exists()


def test_the_figures_of_a_paper_end_with_3_where_the_run_is_doubted(tmp_path):
    run = whole_run(tmp_path, untrained(), network(Task(P, "subtract").labels))
    for options, status in ((), 3), (("--anyway",), 0):
        done = module("analyses", "--run", run, "--out", tmp_path / "out", "phases", *options)
        assert done.returncode == status, done.stderr
        assert "evidently learned a − b mod 11" in done.stdout.splitlines()[0]
        assert (tmp_path / "out" / "phases.md").exists()


def test_the_shell_converts_and_ends_with_3_where_it_doubts_the_task_that_it_writes(tmp_path):
    right = save(tmp_path / "right.pt", network(Task(P).labels))
    wrong = save(tmp_path / "wrong.pt", network(Task(P, "subtract").labels))
    named = save(tmp_path / "named.pt", untrained(), config={"operation": "add"})
    run = whole_run(tmp_path, untrained(), network(Task(P, "subtract").labels))
    for source, options, status, operation in (
        (right, (), 0, "add"), (named, (), 0, "add"), (wrong, (), 3, "add"), (wrong, ("--anyway",), 0, "add"),
        (wrong, ("--operation", "subtract"), 0, "subtract"), (run, (), 3, "add"),
        (run, ("--operation", "subtract"), 0, "subtract"),
    ):  # fmt: skip
        target = tmp_path / "runs" / str(len(list(tmp_path.glob("runs/*"))))
        done = shell("convert", source, target, *options)
        assert done.returncode == status, (source.name, options, done.stderr)
        doubted = "measured as a + b mod 11" in done.stderr and "evidently learned a − b mod 11" in done.stderr
        assert doubted == (source in (wrong, run) and operation == "add"), (source.name, options, done.stderr)
        assert interp.load_run(target).task == Task(P, operation)


# ── names ────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("meaning", "names"),
    {
        "add": ["x+y", "x + y", "+", "mod_sum", "addition", "Modular Addition", "modadd", "add_mod", "add-mod-p",
                "a+b mod p", "(a + b) % 113", "a + b (mod 113)", "lambda x: (x[0]+x[1])%59", "modadd_59", "sum_mod_p",
                "i+j", "plus"],
        "subtract": ["x-y", "-", "a − b", "subtraction", "minus", "mod_sub", "lambda x: (x[0]-x[1])%59"],
        "quadratic": ["x2xyy2", "x^2+xy+y^2", "x**2 + x*y + y**2", "a² + ab + b²", "quadratic"],
        "multiplication": ["mul", "x*y", "*", "times", "modular_multiplication", "a·b mod p", "ab", "mod-mult"],
        "division": ["x/y", "div", "/", "a ÷ b (mod p)"],
        "a² + b²": ["x^2+y^2", "x**2 + y**2 mod 97"],
        "a symmetric group": ["S5", "SymmetricGroup", "xy in S5", "symmetric_group"],
        "a dihedral group": ["DihedralGroup", "D59"],
        None: ["grokking", "modular arithmetic", "", "relu", "my experiment", "x", "113"],
    }.items(),
    ids=str,
)  # fmt: skip
def test_names_mean_tasks(meaning, names):
    assert {name: meaning_of(name) for name in names} == dict.fromkeys(names, meaning)


def test_a_task_may_have_its_name_in_a_dict_of_its_own_and_nothing_else_may():
    """Other things have a name too, and a mode such as "max"."""
    assert [one.meaning for one in named_tasks({"task": {"name": "mul", "p": 113}})] == ["multiplication"]
    assert named_tasks({"name": "product", "mode": "max"}) == []


@pytest.mark.parametrize(
    "key",
    ["fn_name", "operation", "op", "task", "task_name", "function", "operator", "fn", "func", "binary_op", "equation",
     "problem", "rule", "label_fn"],
)  # fmt: skip
def test_a_name_is_found_under_every_key_beside_the_weights_or_in_their_config(file, key):
    for beside in ({"config": {key: "mod_sum"}}, {key: "x+y"}, {"config": {"task": {key: "addition"}}}):
        checkpoint = interp.load_checkpoint(file(untrained(), **beside))
        assert (checkpoint.task, checkpoint.task_origin) == (Task(P), "recorded")
    assert interp.load_checkpoint(file(untrained(), config={key: "sub"})).task == Task(P, "subtract")
    with pytest.raises(ConfigError, match=r"was trained on 'mul', .* \(multiplication is not a task that interp"):
        interp.load_checkpoint(file(untrained(), config={key: "mul"}))
    assert interp.load_checkpoint(file(untrained(), config={key: "mul"}), task=Task(P)).task_origin == "given"


def test_names_that_mean_nothing_or_two_things(file):
    with pytest.raises(ConfigError, match="was trained on 'zigzag', whose labels are not in the file"):
        interp.load_checkpoint(file(untrained(), config={"op": "zigzag"}))
    assert interp.load_checkpoint(file(untrained(), config={"task": "grokking"})).task_origin == "assumed"
    with pytest.raises(ConfigError, match="names two tasks, 'add' and 'mul'"):
        interp.load_checkpoint(file(untrained(), config={"op": "add", "task": "mul"}))


# ── published models ─────────────────────────────────────────────────────────────────────────────────────────────


@here
@pytest.mark.parametrize("split", [True, False], ids=["split", "no split"])
@pytest.mark.parametrize(
    ("name", "how"),
    [
        ("paper_p113_seed1_float32.pth", {"split": "paper", "seed": 1}),
        ("tl1_p113_seed1.pt", {"split": "torch", "seed": 1}),
        ("tl1_p118_seed1.pt", {"split": "torch", "seed": 1}),
        ("mlp_p113_seed1.pt", {"split": "torch", "seed": 1}),
        ("groups/C118_T_seed2.pt", {"split": "torch", "seed": 2}),
    ],
)
def test_published_models_of_addition_are_not_doubted_and_their_split_is_known_from_others(name, how, split):
    checkpoint = interp.load_checkpoint(PUBLISHED / name, **(how if split else {}))
    origins = (checkpoint.task_origin, checkpoint.split_origin)
    assert doubts_of(checkpoint.subject(), *origins) == ()
    if split:
        p = checkpoint.task.p
        other = replace(checkpoint, train_mask=interp.split_mask(p, 0.3, 5, how["split"]))
        (doubt,) = doubts_of(other.subject(), *origins)
        assert "answered no better than the others" in doubt


@here
@pytest.mark.parametrize("name", ["S5_MLP_seed1", "A5_MLP_seed1", "D59_MLP_seed1", "S5_T_seed1"])
def test_published_models_of_other_groups_are_doubted(name):
    path = PUBLISHED / "groups" / f"{name}.pt"
    (doubt,) = doubted(path)
    assert "another task or group" in doubt
    n = interp.load_checkpoint(path).task.p
    (doubt,) = doubted(path, task=Task(n))
    assert doubt.startswith(f"the task given is a + b mod {n}, but")


def test_another_task_that_was_evidently_learned_is_named_under_twice_chance_too():
    """Logits of an adding network, small: as subtraction its loss is over chance, and not over twice chance."""
    task = interp.Task(11)
    L = 2.5 * torch.nn.functional.one_hot(task.labels, 11).float()
    m = None
    with pytest.warns(UserWarning, match=r"it has evidently learned a \+ b mod 11"):
        m = interp.progress_measures(L, interp.Task(11, "subtract"))
    assert math.log(11) < m.loss < 2 * math.log(11)
    assert interp.progress_measures(L, task).doubts == ()


def test_an_untrained_network_of_large_logits_may_be_untrained():
    L = 40 * torch.randn(11, 11, 11, generator=torch.Generator().manual_seed(0))
    with pytest.warns(UserWarning, match="it may not be trained yet, or"):
        m = interp.progress_measures(L, interp.Task(11), split="paper", seed=0)
    assert "trained on another split" in m.doubts[0]
