"""progress_measures and trajectory: one model however it comes, one row a checkpoint, nothing measured twice."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from importlib import metadata

import numpy as np
import pandas as pd
import pytest
import torch

import interp
from interp import Checkpoint, CheckpointError, ConfigError, Task
from interp.networks.transformer import to_bridge
from interp.study import kept, trajectory
from tests.conftest import ROOT
from tests.models import measured as measured_arrays, random_weights, sizes
from tests.processes import outside

SCALARS = [
    "loss", "accuracy", "train_loss", "test_loss", "train_accuracy", "test_accuracy", "restricted_loss",
    "restricted_test_loss", "excluded_loss", "embedding_gini", "unembedding_gini", "logit_variance_explained",
    "sum_squared_weights", "single_frequency_neurons",
]  # fmt: skip


def assert_same(one: interp.ProgressMeasures, other: interp.ProgressMeasures, rel: float = 1e-4) -> None:
    for name in SCALARS:
        assert getattr(one, name) == pytest.approx(getattr(other, name), rel=rel), name
    assert one.key_frequencies == other.key_frequencies
    assert one.excluded_loss_by_frequency == pytest.approx(other.excluded_loss_by_frequency, rel=rel)
    for name in ("cos_coefficients", "embedding_norms", "unembedding_norms"):
        scale = np.abs(getattr(other, name)).max()
        np.testing.assert_allclose(getattr(one, name), getattr(other, name), rtol=0, atol=rel * scale)


def test_a_run_a_path_and_a_checkpoint_are_the_same_model(small_run, small_run_path):
    m = interp.progress_measures(small_run[-1])
    assert m.step == 60
    for source in (small_run, small_run_path, str(small_run_path),
                   small_run_path / "checkpoints" / "step_00000060.safetensors"):  # fmt: skip
        assert interp.progress_measures(source).to_dict() == m.to_dict()


def test_the_bridge_of_a_checkpoint_measures_the_same_through_its_hooks(small_run):
    ckpt = small_run[-1]
    through_hooks = interp.progress_measures(ckpt.model(), task=ckpt.task, split=ckpt.train_mask)
    assert_same(through_hooks, interp.progress_measures(ckpt))
    named = interp.progress_measures(ckpt.model(), task=ckpt.task, split="paper", seed=0)
    mask = interp.split_mask(13, 0.3, 0)  # named, a split has the paper's train fraction
    assert named.to_dict() == interp.progress_measures(ckpt.model(), task=ckpt.task, split=mask).to_dict()


def test_the_bridge_gives_the_checkpoints_logits_patterns_and_neurons(small_run):
    """The promise is 1e-4 of their scale; float32 sums give 1e-5."""
    ckpt = small_run[-1]
    ours = interp.activations(ckpt)
    hooked = interp.hooked_activations(ckpt.model(), 13)
    for name in ("logits", "neurons", "pattern"):
        mine, theirs = getattr(ours, name), getattr(hooked, name)
        torch.testing.assert_close(mine, theirs, rtol=0, atol=1e-5 * float(theirs.abs().max()))


def test_activations_know_a_checkpoints_function_and_attention_or_have_to_be_told():
    """GELU and half-constant attention: nothing that weights would tell, and nothing that is assumed."""
    config = replace(sizes(7, activation="gelu"), attention_coefficient=0.5)
    weights = random_weights(config)
    known = interp.activations(Checkpoint(weights, config, Task(7)))
    torch.testing.assert_close(known.neurons, interp.hooked_activations(to_bridge(weights, config), 7).neurons)
    told = interp.activations(weights, 7, "gelu", 0.5)
    assert torch.equal(told.logits, known.logits)
    assert not torch.allclose(interp.activations(weights, 7, "relu", 1.0).logits, known.logits, atol=0.1)
    with pytest.raises(ConfigError, match=r"activation and attention_coefficient must be given\. .*\(checkpoint\)"):
        interp.activations(weights, 7)
    with pytest.raises(ConfigError, match=r"how they are used; attention_coefficient must be given"):
        interp.activations(weights, 7, "gelu")
    with pytest.raises(ConfigError, match=r"knows its p, activation, .*; got p beside it"):
        interp.activations(Checkpoint(weights, config, Task(7)), 7)
    assert torch.equal(interp.activations(weights, 7, network=config).logits, known.logits)


def deep_bridge(p: int, **changes):
    from transformer_lens.config import TransformerBridgeConfig
    from transformer_lens.model_bridge import TransformerBridge

    options = {"n_layers": 2, "normalization_type": "LN", "act_fn": "gelu", "d_mlp": 24} | changes
    return TransformerBridge.boot_native(
        TransformerBridgeConfig(
            n_ctx=3, d_vocab=p + 1, d_vocab_out=p, d_model=16, n_heads=2, d_head=8, seed=0, **options
        )
    )


def test_a_model_that_the_shared_forward_does_not_cover_is_measured_through_hooks():
    """Two layers with layer norm: its own forward is the judge of the losses, its own weights of the rest."""
    p = 7
    task, mask, bridge = Task(p), interp.split_mask(p, 0.5, 0), deep_bridge(p)
    m = interp.progress_measures(bridge, task=task, split=mask)
    index = torch.arange(p * p)
    tokens = torch.stack([index // p, index % p, torch.full_like(index, p)], dim=1)
    with torch.no_grad():
        logits, cache = bridge.run_with_cache(tokens)
    nll = torch.nn.functional.cross_entropy(logits[:, -1].double(), task.labels.flatten(), reduction="none")
    assert m.train_loss == pytest.approx(float(nll[mask.flatten()].mean()), rel=1e-6)
    assert m.loss == pytest.approx(float(nll.mean()), rel=1e-6)
    neurons = cache["blocks.1.mlp.hook_post"][:, -1].unflatten(0, (p, p))
    shares = interp.measures.neurons.frequency_shares(neurons)
    assert m.single_frequency_neurons == interp.measures.neurons.single_frequency_neurons(shares)
    assert m.sum_squared_weights == pytest.approx(sum(float((w.detach() ** 2).sum()) for w in bridge.parameters()))
    W_L = bridge.W_out[1] @ bridge.W_U
    norms = interp.measures.embedding.fourier_norms(W_L.detach().T)
    np.testing.assert_allclose(m.unembedding_norms, norms, rtol=1e-6)
    assert set(m.missing) == {"neuron_phase_agreement"}  # as it stands, no neuron has a frequency of its own


def test_a_model_without_neurons_says_so():
    m = interp.progress_measures(deep_bridge(5, n_layers=1, attn_only=True, normalization_type=None), task=Task(5))
    assert m.single_frequency_neurons is m.unembedding_gini is None
    assert "no MLP" in m.missing["single_frequency_neurons"]
    assert m.restricted_loss is not None


def test_a_bridges_own_hooks_are_part_of_what_is_measured():
    config = sizes(7)
    bridge = to_bridge(random_weights(config), config)
    whole = interp.progress_measures(bridge, task=Task(7))
    with bridge.hooks(fwd_hooks=[("blocks.0.mlp.hook_post", lambda x, hook: torch.zeros_like(x))]):
        ablated = interp.progress_measures(bridge, task=Task(7))
    assert ablated.single_frequency_neurons == 0
    assert ablated.loss != pytest.approx(whole.loss, rel=1e-3)
    assert interp.progress_measures(bridge, task=Task(7)).loss == whole.loss


def test_subtraction_is_addition_after_b_becomes_minus_b():
    """Swap the embedding rows of b and −b at position 1 only: a model of a + b becomes one of a − b."""
    p = 7
    config = sizes(p)
    weights = random_weights(config)
    acts = interp.activations(weights, p, network=config)
    negated = (-torch.arange(p)) % p
    turned = interp.Activations(acts.logits[:, negated], acts.neurons[:, negated], acts.pattern[:, negated])
    mask = interp.split_mask(p, 0.5, 0)
    common = {"W_E": weights["W_E"][:p], "W_L": (weights["W_out"] @ weights["W_U"])[:, :p]}
    add = measured_arrays(acts, task=Task(p), train_mask=mask, **common)
    minus = measured_arrays(turned, task=Task(p, "subtract"), train_mask=mask[:, negated], **common)
    assert_same(minus, add, rel=1e-6)


def test_in_a_run_the_last_checkpoint_names_the_key_frequencies(small_run, tmp_path):
    last = interp.progress_measures(small_run).key_frequencies
    early = interp.progress_measures(small_run.at(0))
    assert early.key_frequencies == last
    alone = shutil.copy(small_run.file(0), tmp_path / "alone.safetensors")
    own = interp.progress_measures(alone).key_frequencies
    assert own != last
    chosen = interp.progress_measures(small_run.at(0), key_frequencies=[2, 5])
    assert chosen.key_frequencies == (2, 5)
    assert set(chosen.excluded_loss_by_frequency) == {2, 5}


def test_arguments_that_do_not_fit_are_said(small_run, small_run_path, tmp_path):
    config = sizes(7)
    bridge = to_bridge(random_weights(config), config)
    with pytest.raises(ConfigError, match=r"carries no task. Pass task=interp.Task"):
        interp.progress_measures(bridge)
    with pytest.raises(
        ConfigError, match=r"vocabulary of 8, .* a task of p = 11 needs a vocabulary of 12 .* and 11 or 12 outputs"
    ):
        interp.progress_measures(bridge, task=Task(11))
    with pytest.raises(ConfigError, match=r"share must be a finite number above 0 and below 1; got 1\.5"):
        interp.progress_measures(bridge, task=Task(7), share=1.5)
    with pytest.raises(ConfigError, match=r"a mask must be bool \[7, 7\], true = train; got bool \[3, 3\]"):
        interp.progress_measures(bridge, task=Task(7), split=torch.ones(3, 3, dtype=torch.bool))
    with pytest.raises(ConfigError, match="carries its own task and split"):
        interp.progress_measures(small_run[-1], task=Task(13))
    with pytest.raises(ConfigError, match="knows its own task and split"):
        interp.progress_measures(small_run_path, task=Task(13))
    with pytest.raises(ConfigError, match=r"key_frequencies must lie in 1..6, .*; got \[0, 7\]"):
        interp.progress_measures(small_run, key_frequencies=[0, 3, 7])
    with pytest.raises(ConfigError, match="key_frequencies must be left out: random labels"):
        interp.progress_measures(bridge, task=Task(7, "random"), key_frequencies=[1])


def test_it_prints_as_a_table_and_becomes_json(small_run):
    m = interp.progress_measures(small_run)
    lines = str(m).splitlines()
    assert any(line.startswith("restricted_loss ") for line in lines)
    assert "<table>" in m._repr_html_()
    plain = json.loads(json.dumps(m.to_dict()))
    assert plain["train_loss"] == m.train_loss
    assert plain["cos_coefficients"] == m.cos_coefficients.tolist()
    assert len(plain["embedding_norms"]) == 13


# ── trajectory ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_trajectory_has_the_scalars_of_every_checkpoint(own_run):
    run = interp.load_run(own_run)
    frame = interp.trajectory(run, progress=False)
    assert list(frame["step"]) == [0, 20, 40, 60]
    keys = interp.progress_measures(run).key_frequencies
    accuracy = f"{frame['test_accuracy'].iloc[-1]:.3f}"
    assert frame.attrs == {
        "key_frequencies": keys, "key_step": 60, "p": 13, "doubts": (),
        "key_doubt": f"the network has not generalized (test accuracy {accuracy})",
        "missing": {
            "neuron_phase_agreement": "no neuron has one frequency that explains more than 0.85 of its variance"
        },
    }  # fmt: skip
    m = interp.progress_measures(run)
    assert m.key_doubt == frame.attrs["key_doubt"]
    assert f"(of step 60); doubtful: {m.key_doubt}" in str(m)
    for row, ckpt in zip(frame.to_dict("records"), run, strict=True):
        m = interp.progress_measures(ckpt)
        for name in SCALARS:
            assert row[name] == getattr(m, name)
        assert {k: row[f"excluded_loss_{k}"] for k in keys} == m.excluded_loss_by_frequency
        assert [row[f"cos_coefficient_{k}"] for k in range(1, 7)] == m.cos_coefficients.tolist()


@pytest.fixture
def measured(monkeypatch):
    """The steps that were measured, in order, since the last look."""
    seen = []
    evaluate = interp.measures.registry.evaluate
    monkeypatch.setattr(
        trajectory, "evaluate", lambda subject, *rest: seen.append(subject.step) or evaluate(subject, *rest)
    )
    return seen


def test_a_second_call_measures_nothing(own_run, measured):
    first = interp.trajectory(own_run, progress=False)
    assert measured == [0, 20, 40, 60]
    measured.clear()
    second = interp.trajectory(own_run, progress=False)
    assert measured == []
    pd.testing.assert_frame_equal(first, second)
    assert first.attrs == second.attrs


def test_only_what_is_new_or_changed_is_measured(own_run, measured):
    whole = interp.trajectory(own_run, progress=False)
    measured.clear()
    checkpoint = own_run / "checkpoints" / "step_00000020.safetensors"
    kept = checkpoint.read_bytes()
    checkpoint.unlink()
    assert list(interp.trajectory(own_run, progress=False)["step"]) == [0, 40, 60]
    assert measured == []
    checkpoint.write_bytes(kept)
    pd.testing.assert_frame_equal(interp.trajectory(own_run, progress=False), whole)
    assert measured == []  # it came back as it was
    header = interp.runs.directory.read_header(checkpoint)
    weights = interp.load_checkpoint(checkpoint).weights
    interp.runs.directory.write_tensors(checkpoint, {n: 2 * w for n, w in weights.items()}, header)
    changed = interp.trajectory(own_run, progress=False)
    assert measured == [20]
    assert changed["sum_squared_weights"][1] == pytest.approx(4 * whole["sum_squared_weights"][1])
    assert changed["embedding_alignment"][1] == pytest.approx(whole["embedding_alignment"][1])  # of twice the weights


@pytest.mark.parametrize("what", ["version", "split", "share", "keys", "refresh", "garbage", "last checkpoint"])
def test_what_was_measured_otherwise_is_measured_anew(own_run, measured, monkeypatch, what):
    interp.trajectory(own_run, progress=False)
    measured.clear()
    options, expected = {}, [0, 20, 40, 60]
    if what == "version":
        monkeypatch.setattr(kept, "fingerprint", lambda: "another")
    elif what == "split":
        interp.runs.directory.write_split(own_run, interp.split_mask(13, 0.4, 1))
    elif what == "share":
        options = {"share": 0.2}
    elif what == "keys":
        options = {"key_frequencies": [1, 2]}
    elif what == "refresh":
        options = {"refresh": True}
    elif what == "garbage":
        (own_run / "measures.parquet").write_bytes(b"PAR1 no more")
    else:  # another last checkpoint, other key frequencies: what is left is measured with those
        for step in (20, 40, 60):
            (own_run / "checkpoints" / f"step_{step:08d}.safetensors").unlink()
        expected = [0]
    frame = interp.trajectory(own_run, progress=False, **options)
    assert measured == expected
    assert list(frame["step"]) == expected


DEFINING = sorted(
    file.relative_to(kept.HOME).as_posix()
    for name in kept._DEFINITIONS
    for file in ((kept.HOME / name).glob("*.py") if (kept.HOME / name).is_dir() else [kept.HOME / f"{name}.py"])
)


def test_what_is_kept_knows_its_definitions_by_modules_that_exist():
    """Those that measure, that name the key frequencies and the last checkpoint, and the thresholds they share."""
    assert {
        "measures/losses.py", "networks/shared.py", "subjects/activations.py", "study/run_subjects.py", "tasks/task.py",
        "study/key_checkpoint.py", "study/doubts.py", "utils/torch_state.py", "utils/thresholds.py",
    } <= set(DEFINING)  # fmt: skip


@pytest.mark.parametrize("file", DEFINING)
def test_a_changed_definition_is_noticed(tmp_path, file):
    shutil.copytree(kept.HOME, tmp_path / "interp", ignore=shutil.ignore_patterns("__pycache__", "demo", "page"))
    before = kept.fingerprint(tmp_path / "interp")
    assert before == kept.fingerprint()
    changed = tmp_path / "interp" / file
    changed.write_bytes(changed.read_bytes() + b"# changed\n")
    kept.fingerprint.cache_clear()
    assert kept.fingerprint(tmp_path / "interp") != before
    changed.unlink()
    if f"{file.removesuffix('.py')}" in kept._DEFINITIONS:
        kept.fingerprint.cache_clear()
        with pytest.raises(FileNotFoundError):
            kept.fingerprint(tmp_path / "interp")


def test_a_run_held_open_while_its_files_change_caches_nothing_stale(own_run):
    run = interp.load_run(own_run)
    before = interp.trajectory(run, progress=False)
    interp.runs.directory.write_split(own_run, interp.split_mask(13, 0.4, 1))
    held = interp.trajectory(run, progress=False)  # the split that the run was opened with, and no other
    pd.testing.assert_frame_equal(held, before)
    fresh = interp.trajectory(own_run, progress=False)
    assert fresh["train_loss"].iloc[-1] != before["train_loss"].iloc[-1]

    last = own_run / "checkpoints" / "step_00000060.safetensors"
    other = interp.load_checkpoint(own_run / "checkpoints" / "step_00000000.safetensors").weights
    interp.runs.directory.write_tensors(last, other, interp.runs.directory.read_header(last))
    held = interp.load_run(own_run)
    assert (
        interp.trajectory(held, progress=False).attrs == interp.trajectory(own_run, progress=False, refresh=True).attrs
    )
    last.unlink()
    with pytest.warns(UserWarning, match="cannot be read any more"):
        assert list(interp.trajectory(held, progress=False)["step"]) == [0, 20, 40]


def test_a_ratio_of_zeros_is_none_with_its_own_reason():
    """All weights zero: no measure that divides has anything to divide by."""
    zero = Checkpoint({n: 0 * w for n, w in random_weights(sizes(5)).items()}, sizes(5), Task(5))
    m = interp.progress_measures(zero, mechanism=True)
    reasons = {
        "embedding_gini": "W_E is zero for every number",
        "unembedding_gini": "W_L is zero",
        "logit_variance_explained": "no variance to explain",
        "neuron_phase_agreement": "no neuron has one frequency that explains more than 0.85 of its variance",
        "neuron_projection_share": "there is no key frequency",
        "neuron_logit_key_share": "W_L is zero",
        "distance_irrelevance": "the right logit is the same for every pair",
    }
    for name, reason in reasons.items():
        assert getattr(m, name) is None
        assert reason in m.missing[name]
    assert {name for name in m.missing if "split" not in m.missing[name]} == set(reasons)
    assert json.loads(json.dumps(m.to_dict(), allow_nan=False))["missing"] == m.missing
    given = interp.progress_measures(zero, key_frequencies=[1])
    assert "the same for every pair, for each key frequency" in given.missing["neuron_projection_share"]
    row = interp.compare({"zero": zero}, mechanism=True, progress=False).iloc[0]
    assert all(np.isnan(row[name]) for name in reasons)


def test_logits_that_overflow_are_refused(small_run):
    weights = {name: 1e30 * weight for name, weight in small_run[-1].weights.items()}
    with pytest.raises(CheckpointError, match=r"must be finite; those of step 5 hold NaN or infinite values"):
        interp.progress_measures(Checkpoint(weights, small_run.architecture, small_run.task, 5))


def test_arguments_are_refused_before_anything_is_measured(own_run, measured):
    run = interp.load_run(own_run)
    for share in (0.0, 1.0, -0.1, np.nan):
        for call in (
            lambda share=share: interp.trajectory(run, share=share, progress=False),
            lambda share=share: interp.progress_measures(run, share=share),
            lambda share=share: interp.compare({"run": run}, share=share, progress=False),
        ):
            with pytest.raises(ConfigError, match="share must be a finite number above 0 and below 1"):
                call()
    for keys in ([0], [7]):
        for of_run in (interp.trajectory, interp.progress_measures):
            with pytest.raises(ConfigError, match="key_frequencies must"):
                of_run(run, key_frequencies=keys)
    with pytest.raises(CheckpointError, match="nowhere does not exist"):
        interp.compare({"right": run, "wrong": own_run / "nowhere"}, progress=False)
    assert measured == []


def test_numbers_of_numpy_are_numbers_and_other_types_are_refused_by_name(own_run):
    """In a process of its own: here the tests' own type checks would answer first."""
    said = outside(
        f"""
        import numpy as np, interp
        run = interp.load_run({str(own_run)!r})
        share, keys = np.float32(0.25), np.array([1, 2])
        print(interp.trajectory(run, share=share, progress=False).attrs["key_frequencies"])
        print(interp.progress_measures(run, share=share, mechanism=True).key_frequencies)
        print(interp.trajectory(run, keys, progress=False).attrs["key_frequencies"])
        for wrong in (
            lambda: interp.trajectory(run, share="much"), lambda: interp.progress_measures(run, share=None),
            lambda: interp.trajectory(run, "ab"), lambda: interp.progress_measures(run, key_frequencies=3),
            lambda: interp.compare({{"right": run, "wrong": 3}}), lambda: interp.compare([run]),
            lambda: interp.compare({{}}), lambda: interp.trajectory(3), lambda: interp.activations(run),
        ):
            try:
                wrong()
            except interp.ConfigError as error:
                print(error)
        """
    )
    of_trajectory, of_progress, given, *refused = said.splitlines()
    assert of_trajectory == of_progress == str(interp.progress_measures(own_run, share=0.25).key_frequencies)
    assert given == "(1, 2)"
    assert len(refused) == 9
    expected = ["share", "share", "got 'ab'", "got 3", "got 3 as 'wrong'", "got a list", "got an empty one", "got 3",
                "got a Run"]  # fmt: skip
    for sentence, words in zip(refused, expected, strict=True):
        assert words in sentence


def test_a_folder_that_cannot_be_written_still_gives_a_trajectory(own_run, monkeypatch):
    def refuse(*_):
        raise PermissionError("read-only file system")

    monkeypatch.setattr(kept, "write_parquet", refuse)
    with pytest.warns(UserWarning, match="could not be kept"):
        assert len(interp.trajectory(own_run, progress=False)) == 4


def test_losses_of_random_labels_come_without_the_rest(tmp_path):
    config = interp.TrainConfig(p=5, operation="random", train_fraction=0.5, d_model=8, n_heads=1, d_mlp=8, steps=4)
    run = interp.train(config, tmp_path / "run", progress=False)
    frame = interp.trajectory(run, progress=False)
    assert frame["train_loss"].notna().all()
    assert frame["restricted_loss"].isna().all()
    assert frame.attrs["key_frequencies"] is None
    again = interp.trajectory(run, progress=False)
    pd.testing.assert_frame_equal(frame, again)


def test_importing_interp_brings_no_torch_and_measuring_neither_transformer_lens_nor_plotly():
    said = outside(
        """
        import sys, interp
        heavy = ("torch", "pandas", "transformer_lens", "plotly", "typer")
        print([m for m in heavy if m in sys.modules])
        interp.progress_measures, interp.train
        print([m for m in heavy if m in sys.modules])
        """,
        fresh=True,
    )
    assert said.splitlines() == ["[]", "['torch', 'pandas']"]


def test_importing_interp_is_too_short_to_be_interrupted():
    """Ctrl-C while a command begins is caught in main, and what comes before it loads next to nothing."""
    code = "import interp, sys; print([name for name in ('email', 'logging', 'numpy') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout == "[]\n"


def test_every_public_name_is_there_and_has_its_version():
    """The names of __init__.pyi, which type checkers read, are those that can be imported."""
    assert {"train", "phases", "Task", "linear"} <= set(interp.__all__)
    assert all(getattr(interp, name) is not None for name in interp.__all__)
    assert interp.__version__ == metadata.version("interp")
    assert callable(interp.train)
    assert callable(interp.phases)
    said = subprocess.run([sys.executable, "-m", "interp", "--version"], capture_output=True, text=True, cwd=ROOT)
    assert said.stdout == f"interp {interp.__version__}\n"


def test_memory_does_not_grow_with_the_number_of_checkpoints(own_run):
    """200 checkpoints of 0.8 MB each; were they kept, the peak would grow by 160 MB. One at a time, it stays."""
    said = outside(
        """
        import resource, warnings, interp
        from interp.runs.directory import write_checkpoint, write_config, write_split
        from pathlib import Path
        import tempfile
        def peak(n):
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder)
                config = interp.TrainConfig(p=11, steps=n)
                write_config(path, config)
                write_split(path, interp.split_mask(11, 0.3, 0))
                weights = config.model.initial_weights(0)
                for step in range(n):
                    write_checkpoint(path, step, weights, config.task, config.model)
                assert len(interp.trajectory(path, progress=False)) == n
            return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        first = peak(5)
        print(peak(200) - first)
        """,
        fresh=True,
    )
    assert float(said) < 60
