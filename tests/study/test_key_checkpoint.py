"""The key frequencies of a run: which of its checkpoints names them, and when that is found out anew."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import interp
from interp import CheckpointError
from interp.measures import logits
from interp.runs.directory import read_header, write_checkpoint, write_tensors
from interp.runs.names import HISTORY_COLUMNS
from interp.study import key_checkpoint as keys
from tests import processes
from tests.conftest import SHIPPED

GROKKED = (14, 35, 41, 42, 52)


def noisy(weights: dict[str, torch.Tensor], seed: int) -> dict[str, torch.Tensor]:
    """Weights trained away: twelve times as much noise on each as it is large."""
    generator = torch.Generator().manual_seed(seed)
    return {n: w + 12 * w.std(correction=0) * torch.randn(w.shape, generator=generator) for n, w in weights.items()}


@pytest.fixture
def lost_run(shipped, tmp_path) -> Path:
    """Two checkpoints of the shipped run, and two after its end that have lost what it learned."""
    path = tmp_path / "lost"
    (path / "checkpoints").mkdir(parents=True)
    for name in ("config.json", "split.npz", "history.parquet"):
        (path / name).symlink_to(SHIPPED / name)
    for step in (9_000, 16_000):
        (path / "checkpoints" / Path(shipped.file(step)).name).symlink_to(shipped.file(step))
    for step in (16_200, 16_400):
        write_checkpoint(path, step, noisy(shipped[-1].weights, step), shipped.task, shipped.architecture)
    return path


def test_a_run_that_lost_what_it_learned_keeps_the_frequencies_that_it_had_learned(lost_run, shipped):
    run = interp.load_run(lost_run)
    table = logits.logit_table(interp.activations(run[-1]).logits, run.task.labels)
    of_the_last = logits.key_frequencies(logits.cos_coefficients(table))
    assert interp.progress_measures(run.at(9_000), key_frequencies=of_the_last).restricted_loss > 2.5
    at_9000 = interp.progress_measures(run.at(9_000))
    assert at_9000.key_frequencies == GROKKED
    assert at_9000.key_step == 16_000
    assert at_9000.restricted_loss == interp.progress_measures(shipped.at(9_000)).restricted_loss
    assert at_9000.restricted_loss == pytest.approx(0.028, abs=5e-4)
    last = interp.progress_measures(run)
    assert (last.step, last.key_step, last.key_frequencies) == (16_400, 16_000, GROKKED)
    assert last.test_accuracy < 0.9
    assert "14, 35, 41, 42, 52  (of step 16,000)" in str(last)
    assert last.to_dict()["key_step"] == 16_000

    frame = interp.trajectory(run, progress=False)
    about = {"key_frequencies": GROKKED, "key_step": 16_000, "p": 113, "doubts": (), "key_doubt": None,
             "missing": {}}  # fmt: skip
    assert frame.attrs == about
    assert frame.set_index("step")["restricted_loss"][9_000] == at_9000.restricted_loss
    assert interp.trajectory(run, progress=False).attrs == frame.attrs  # as it was kept
    said = processes.interp("phases", lost_run).stdout
    assert "key frequencies        14, 35, 41, 42, 52  (of step 16,000, before it was lost)\n" in said
    assert json.loads(processes.interp("phases", lost_run, "--json").stdout)["key_step"] == 16_000


def test_a_kept_trajectory_is_made_anew_where_another_checkpoint_becomes_the_key(lost_run):
    """The last checkpoint stays as it is: what changes is the one that names the key frequencies."""
    grokked = interp.trajectory(lost_run, progress=False)
    key = lost_run / "checkpoints" / "step_00016000.safetensors"
    weights, header = interp.load_checkpoint(key).weights, read_header(key)
    key.unlink()
    write_tensors(key, noisy(weights, 0), header)
    frame = interp.trajectory(lost_run, progress=False)
    assert frame.attrs["key_step"] == 16_400  # none generalizes any more
    assert frame.attrs["key_frequencies"] != GROKKED
    assert frame["restricted_loss"][0] > 10 * grokked["restricted_loss"][0]
    pd.testing.assert_frame_equal(frame, interp.trajectory(lost_run, progress=False, refresh=True))


@dataclass(eq=False)
class InMemory:
    """A checkpoint that counts how often it is read."""

    weights_: dict[str, torch.Tensor] | None
    version: int = 0
    reads: int = 0
    path: str = "memory"

    def weights(self):
        self.reads += 1
        if self.weights_ is None:
            raise CheckpointError("damaged")
        return self.weights_

    def digest(self) -> str:
        return hashlib.sha256(str(self.version).encode()).hexdigest()

    def stamp(self) -> int:
        return self.version


def in_memory(small_run, accuracies: dict[int, float], path: str = "memory", mask=None) -> tuple[interp.Run, list]:
    """Five checkpoints of a network that has not generalized, and a history of these test accuracies."""
    sources = {step: InMemory(small_run.at(60).weights) for step in (0, 10, 20, 30, 40)}
    history = pd.DataFrame(dict.fromkeys(HISTORY_COLUMNS, np.nan), index=range(len(accuracies)))
    history["step"], history["test_accuracy"] = list(accuracies), list(accuracies.values())
    mask = small_run.train_mask if mask is None else mask
    run = interp.Run(path, small_run.task, small_run.architecture, sources, lambda: history, mask)
    return run, list(sources.values())


def reads(sources: list[InMemory]) -> list[int]:
    return [source.reads for source in sources]


def test_a_history_rules_out_what_it_covers_and_nothing_beyond(small_run):
    """At 10 it says 0.95, at 20 nothing, and it ends before 40: these and the last have to be read."""
    run, sources = in_memory(small_run, {0: 0.1, 10: 0.95, 20: np.nan, 30: 0.5})
    found = keys.key_checkpoint(run)
    assert reads(sources) == [0, 1, 1, 0, 1]
    assert (found.step, found.first_step) == (40, 0)
    everything, unread = in_memory(small_run, {}, path="without a history")
    keys.key_checkpoint(everything)
    assert reads(unread) == [1, 1, 1, 1, 1]


def test_without_test_pairs_the_last_readable_checkpoint_is_the_key(small_run):
    run, sources = in_memory(small_run, {}, path="all train", mask=torch.ones(13, 13, dtype=torch.bool))
    sources[-1].weights_ = None
    assert keys.key_checkpoint(run).step == 30
    assert reads(sources) == [0, 0, 0, 1, 1]
    overflowing, sources = in_memory(small_run, {}, path="overflow", mask=torch.ones(13, 13, dtype=torch.bool))
    sources[-1].weights_ = {name: 1e30 * weight for name, weight in small_run[-1].weights.items()}
    assert keys.key_checkpoint(overflowing).step == 30
    for source in sources:
        source.weights_, source.version = None, 1
    with pytest.raises(CheckpointError, match="damaged"):
        keys.key_checkpoint(overflowing)


def test_a_run_is_searched_once_until_a_file_changes_and_a_few_runs_are_kept(small_run):
    run, sources = in_memory(small_run, {}, path="searched once")
    first = keys.key_checkpoint(run)
    assert keys.key_checkpoint(run) is first
    assert reads(sources) == [1, 1, 1, 1, 1]
    sources[2].version += 1
    assert keys.key_checkpoint(run) is not first
    assert reads(sources) == [2, 2, 2, 2, 2]
    for n in range(10):
        keys.key_checkpoint(in_memory(small_run, {0: 0, 10: 0, 20: 0, 30: 0}, path=f"run {n}")[0])
    assert len(keys._KEPT) == 8
    keys.key_checkpoint(run)
    assert reads(sources) == [3, 3, 3, 3, 3]


def test_a_changed_file_is_noticed_by_a_run_held_open(own_run):
    run = interp.load_run(own_run)
    before = interp.progress_measures(run.at(0)).key_frequencies
    last = own_run / "checkpoints" / "step_00000060.safetensors"
    other = own_run / "checkpoints" / "step_00000000.safetensors"
    write_tensors(last, interp.load_checkpoint(other).weights, read_header(last))
    after = interp.progress_measures(run.at(0))
    assert after.key_frequencies == interp.progress_measures(interp.load_run(own_run)).key_frequencies != before
    last.unlink()
    assert interp.progress_measures(run.at(0)).key_step == 40


def test_the_step_of_the_key_frequencies_is_none_where_no_checkpoint_named_them(small_run, tmp_path):
    assert interp.progress_measures(small_run).key_step == 60  # never generalized: its last
    assert interp.progress_measures(small_run, key_frequencies=[2]).key_step is None
    alone = tmp_path / "alone.safetensors"
    alone.write_bytes(Path(small_run.file(20)).read_bytes())
    assert interp.progress_measures(alone).key_step == 20
    assert interp.trajectory(small_run, key_frequencies=[2], progress=False).attrs["key_step"] is None


def test_the_history_counts_every_output_and_the_measures_the_numbers(small_run):
    """Both by their definitions: cross-entropy over p + 1 and over p outputs of the same logits."""
    ckpt = small_run.at(60)
    pairs = interp.networks.Pairs.all(13)
    out = ckpt.config.run(ckpt.weights, pairs).logits.double()
    train, labels = ckpt.train_mask.flatten(), ckpt.task.labels.flatten()
    recorded = small_run.history.set_index("step")["train_loss"][60]
    all_outputs = torch.nn.functional.cross_entropy(out[train], labels[train])
    assert recorded == pytest.approx(float(all_outputs), rel=1e-9)
    numbers = torch.nn.functional.cross_entropy(out[train, :13], labels[train])
    measured = interp.progress_measures(ckpt).train_loss
    assert measured == pytest.approx(float(numbers), rel=1e-9)
    assert measured < recorded
