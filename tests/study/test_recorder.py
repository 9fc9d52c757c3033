"""Recorder: what it measures in a loop, that the loop does not notice, and that no row is lost to a kill."""

import time
import warnings
from dataclasses import replace

import pandas as pd
import pytest
import torch
from torch import nn

import interp
from interp import CheckpointError, ConfigError, Model, Recorder, Task
from tests.conftest import ROOT, SMALL
from tests.processes import outside
from tests.subjects.test_model import P, small

MASK = interp.split_mask(P, 0.5, 0)


def loop(steps=30, recorder=None, first=0):
    """A loop with dropout, so that a random state that moved would change the weights."""
    net, task = small(), Task(P)
    tokens, labels = MASK.nonzero(), task.labels[MASK]
    optimizer = torch.optim.AdamW(net.parameters(), lr=0.01, weight_decay=1.0)
    rec = recorder(Model(net, task, MASK, tokens="ab", neurons="4", W_E="0", W_L="5")) if recorder else None
    for step in range(first, steps + 1):
        if rec:
            rec(step)
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(tokens), labels).backward()
        optimizer.step()
    return net, rec


def test_the_loop_does_not_notice(tmp_path):
    alone, _ = loop()
    beside, rec = loop(recorder=lambda net: Recorder(net, every=10, path=tmp_path / "live", keep=True))
    assert all(torch.equal(a, b) for a, b in zip(alone.parameters(), beside.parameters(), strict=True))
    assert rec.frame["step"].tolist() == [0, 10, 20, 30]


def test_a_row_is_what_progress_measures_gives(tmp_path):
    rows = {}
    _, rec = loop(recorder=lambda net: Recorder(net, every=15, on_record=lambda s, row: rows.update({s: row})))
    frame = rec.frame
    assert sorted(rows) == [0, 15, 30]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of dropout on and off; the loop moved on by one step after the last row
        states = Recorder(rec.net, every=1)
        row = states(31)
        m = interp.progress_measures(rec.net)
    for name, value in m.row().items():
        if name != "step" and value is not None:
            assert row[name] == value, name
    assert row["key_frequencies"] == " ".join(map(str, m.key_frequencies))
    assert frame["test_loss"].iloc[1] == rows[15]["test_loss"]
    assert rec(17) is None  # not due
    assert set(frame.columns) >= {"train_loss", "excluded_loss", "cos_coefficient_1", "key_frequencies"}


def test_states_that_are_kept_are_measured_with_the_last_key_frequencies(tmp_path):
    net, rec = loop(recorder=lambda net: Recorder(net, every=10, path=tmp_path / "live", keep=True))
    whole = rec.finish(progress=False)
    assert whole["step"].tolist() == [0, 10, 20, 30]
    for name in ("train_loss", "test_loss", "sum_squared_weights", "embedding_gini"):
        assert whole[name].tolist() == rec.frame[name].tolist()
    keys = whole.attrs["key_frequencies"]
    assert rec.frame["key_frequencies"].iloc[-1] == " ".join(map(str, keys))
    expected = interp.progress_measures(rec.run.at(10), key_frequencies=keys).excluded_loss
    assert whole["excluded_loss"].iloc[1] == expected
    assert rec.run.steps == (0, 10, 20, 30)
    with pytest.raises(ConfigError, match="keep=True"):
        Recorder(net, Task(P), tokens="ab").finish()


def test_only_what_is_asked_for_is_measured():
    def largest(subject):
        return float(subject.neurons.max())

    _, rec = loop(recorder=lambda net: Recorder(net, every=30, measures=["test_loss", largest]))
    assert list(rec.frame.columns) == ["step", "test_loss", "largest"]


def test_a_task_without_fourier_structure_has_no_key_frequencies():
    rec = Recorder(small(), Task(P, "quadratic"), tokens="ab", every=1)
    assert rec(0)["excluded_loss"] != rec.frame["loss"].iloc[0]  # NaN
    assert "key_frequencies" not in rec.frame


def test_a_budget_is_kept_and_said():
    with pytest.warns(UserWarning, match=r"every 1 steps is more than 20% of the time.*rec\.skipped"):
        _, rec = loop(300, recorder=lambda net: Recorder(net, every=1, budget=0.2))
    assert rec.skipped
    assert len(rec.frame) + len(rec.skipped) == 301
    # The first record, which has no measure of its cost yet, may go beyond.
    assert rec.seconds - rec._last <= 0.2 * (time.perf_counter() - rec._began)


def test_a_network_that_learns_another_task_is_doubted_once_and_without_a_further_run():
    answers = Task(P, "subtract").labels
    runs = []

    def f(tokens):
        runs.append(len(tokens))
        return 20.0 * nn.functional.one_hot(answers[tokens[:, 0], tokens[:, 1]], P)

    rec = Recorder(f, Task(P), MASK, tokens="ab", every=1, measures=["test_loss"])
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a network at step 0 is not trained yet
        rec(0)
    assert runs == [P * P, P * P // 2]  # all pairs, and some of them again, as for any row
    (doubt,) = rec.doubts
    assert doubt.startswith("the task given is a + b mod 11, but over the train pairs the loss is")
    assert 'it has evidently learned a − b mod 11; give task=interp.Task(11, "subtract")' in doubt
    with pytest.warns(UserWarning, match="step 1: the task given is") as said:
        rec(1)
    assert str(said[0].message) == f"step 1: {doubt}"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        rec(2)
    with pytest.warns(UserWarning, match="the task given is"):
        assert rec.doubts == interp.progress_measures(f, Task(P), MASK, tokens="ab").doubts == (doubt,)


def test_a_network_that_learns_its_task_or_is_not_run_is_not_doubted():
    answers, sure = Task(P).labels, torch.where(MASK, 12.0, 10.0)  # trained pairs keep the smaller losses

    def f(tokens):
        a, b = tokens.T
        return sure[a, b, None] * nn.functional.one_hot(answers[a, b], P)

    rec = Recorder(f, Task(P), MASK, tokens="ab", every=1, measures=["test_loss"])
    rec(1)
    assert rec.doubts == ()

    def never(tokens):
        raise AssertionError

    def one(subject):
        return 1.0

    alone = Recorder(never, Task(P), MASK, tokens="ab", every=1, measures=[one])
    assert alone(1) == {"step": 1, "one": 1.0}
    assert alone.doubts == ()


def test_a_network_that_diverged_is_a_row_of_nan():
    net = small()
    rec = Recorder(net, Task(P), MASK, tokens="ab", every=1, measures=["test_loss", "train_loss"])
    rec(0)
    with torch.no_grad():
        net[3].weight.fill_(torch.nan)
    with pytest.warns(UserWarning, match="step 1 is a row without values"):
        rec(1)
    assert rec.frame["test_loss"].isna().tolist() == [False, True]


def test_a_record_goes_on_and_knows_another_loop(tmp_path):
    file = tmp_path / "live.parquet"

    def recorder(net):
        return Recorder(net, every=10, path=file, measures=["test_loss"])

    _, first = loop(20, recorder)
    _, second = loop(40, recorder)  # the same loop from its start: what is there is passed over
    assert second.frame["step"].tolist() == [0, 10, 20, 30, 40]
    pd.testing.assert_frame_equal(second.frame[:3], first.frame)
    pd.testing.assert_frame_equal(pd.read_parquet(file), second.frame)
    other = small(seed=5)
    with pytest.warns(UserWarning, match="has other weights"):
        Recorder(other, Task(P), MASK, tokens="ab", path=file, every=10)(10)
    for task, split, tokens, said in (
        (Task(P, "subtract"), MASK, "ab", "is a record of another task; give another path"),
        (Task(P), None, "ab", "is a record of another split; give"),
        (Task(P), MASK, "ab=", "is a record of other tokens; give"),
        (Task(P), None, "ab=", "is a record of another split and other tokens; give"),
    ):
        with pytest.raises(CheckpointError, match=said):
            Recorder(other, task, split, tokens=tokens, path=file)
    with pytest.raises(CheckpointError, match="the record of another training, which began with other weights"):
        Recorder(other, Task(P), MASK, tokens="ab", path=file, every=10)(0)
    pd.testing.assert_frame_equal(pd.read_parquet(file), second.frame)
    file.write_bytes(b"PAR1 and no more")
    with pytest.raises(CheckpointError, match="is not the record of a Recorder"):
        Recorder(other, Task(P), MASK, tokens="ab", path=file)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"every": 0}, "every must be"), ({"budget": 0}, "budget must be"), ({"budget": 2}, "budget must be"),
        ({"keep": True}, "give path="),
        ({"task": None}, r"task=interp\.Task"), ({"measures": ["no"]}, "no"), ({"tokens": "a+b"}, "vocabulary"),
    ],
)  # fmt: skip
def test_arguments_that_do_not_fit(options, said):
    with pytest.raises(ConfigError, match=said):
        Recorder(small(), **{"task": Task(P), "tokens": "ab"} | options)
    with pytest.raises(ConfigError, match="carries its own"):
        Recorder(Model(small(), Task(P), tokens="ab"), Task(P))


KILLED = """
    import os, random, signal, sys, time, torch, interp
    torch.set_num_threads(1)
    sys.path.insert(0, {root!r})
    from tests.study.test_recorder import *

    def loop(out):
        net = small()
        rec = Recorder(net, Task(P), MASK, tokens="ab", every=1, path={path!r}, measures=["test_loss"], keep=True)
        out.write("from " + " ".join(map(str, rec.frame["step"])) + "\\n")
        for step in range(10_000):
            torch.manual_seed(step)
            row = rec(step)
            if row is not None:
                out.write(f"{{step}}\\n")
            with torch.no_grad():
                net[3].weight.add_(1e-3)

    announced, delay = -1, random.Random(0)
    for _ in range(21):  # forked, so that torch is loaded once; only the children touch files
        read, write = os.pipe()
        child = os.fork()
        if not child:
            os.close(read)
            loop(os.fdopen(write, "w", buffering=1))
        os.close(write)
        with os.fdopen(read) as lines:
            there = [int(step) for step in lines.readline().split()[1:]]
            said = [int(lines.readline()) for _ in range(2)]  # it has begun, however busy the machine is
            time.sleep(delay.uniform(0, 0.4))
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            said += [int(line) for line in lines.read().splitlines()]
        assert there == list(range(len(there))), there  # none twice, none lost between
        assert len(there) > announced, (len(there), announced)
        announced = max([announced, *said])
    print(announced)
"""


def test_no_row_is_lost_to_twenty_kills_and_none_is_there_twice(tmp_path):
    """A row that was announced is there after SIGKILL, and the next process goes on behind it."""
    path = tmp_path / "live"
    announced = int(outside(KILLED.format(root=str(ROOT), path=str(path))))
    assert announced > 20
    steps = pd.read_parquet(path / "record.parquet")["step"].tolist()
    assert steps == list(range(len(steps)))
    states = {file.name for file in (path / "states").glob("*.safetensors")}
    assert states >= {f"step_{step:08d}.safetensors" for step in steps}


# ── our own train ──


def test_train_tells_what_it_records_and_ends_when_it_is_asked_to(tmp_path):
    seen, saved = {}, []
    config = replace(SMALL, history_every=10)
    run = interp.train(config, tmp_path / "a", progress=False, on_record=lambda s, row: seen.update({s: row}),
                       on_checkpoint=lambda ckpt: saved.append(ckpt))  # fmt: skip
    assert run.stopped is None
    assert list(seen) == run.history["step"].tolist()
    assert [seen[s]["test_loss"] for s in seen] == run.history["test_loss"].tolist()
    assert [ckpt.step for ckpt in saved] == [0, 20, 40, 60]
    assert all(torch.equal(w, run.at(20).weights[name]) for name, w in saved[1].weights.items())
    m = interp.progress_measures(saved[1], measures=["train_loss"])
    assert m.doubts == ()

    stopped = interp.train(config, tmp_path / "b", progress=False, on_record=lambda s, row: s == 30)
    assert (stopped.stopped, stopped.steps) == (30, (0, 20, 30))
    assert interp.load_run(tmp_path / "b").stopped == 30
    again = interp.train(None, tmp_path / "b", resume=True, progress=False)
    assert again.stopped is None
    for name, weight in run.at(60).weights.items():
        assert torch.equal(weight, again.at(60).weights[name])
    assert again.history.equals(run.history)

    third = interp.train(config, tmp_path / "c", progress=False, on_checkpoint=lambda ckpt: ckpt.step == 20)
    assert (third.stopped, third.steps) == (20, (0, 20))


def test_an_error_in_a_callback_ends_train_with_its_state_saved(tmp_path):
    def fails(step, row):
        if step == 30:
            raise KeyError("mine")

    config = replace(SMALL, history_every=10)
    with pytest.raises(KeyError, match="mine"):
        interp.train(config, tmp_path / "a", progress=False, on_record=fails)
    run = interp.train(None, tmp_path / "a", resume=True, progress=False)
    whole = interp.train(config, tmp_path / "b", progress=False)
    assert all(torch.equal(w, whole[-1].weights[name]) for name, w in run[-1].weights.items())
