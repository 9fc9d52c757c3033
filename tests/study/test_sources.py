"""One model in every form gives the same measures, and a damaged last checkpoint has one rule."""

import warnings

import pytest

import interp
from interp.runs.directory import checkpoint_file, read_header, write_tensors
from interp.study.sources import one_model, one_record, one_run, opened
from interp.utils.errors import CheckpointError, ConfigError


def test_one_model_in_every_form_has_the_same_losses(small_run_path, small_run):
    ckpt, task, mask = small_run[-1], small_run.task, small_run.train_mask
    bridge, logits = ckpt.model(), interp.activations(ckpt).logits
    forms = {
        "run directory": (str(small_run_path),),
        "file": (checkpoint_file(small_run_path, 60),),
        "run": (small_run,),
        "checkpoint": (ckpt,),
        "bridge": (bridge, task, mask),
        "interp.Model": (interp.Model(bridge, task, mask, tokens="ab="),),
        "function": (lambda tokens: bridge(tokens), task, mask),
        "array": (logits, task, mask),
    }
    losses = {form: interp.progress_measures(*given).test_loss for form, given in forms.items()}
    # The same arithmetic in float32, in another order: 1e-5 of a loss of about 3.
    assert losses == pytest.approx(dict.fromkeys(losses, losses["checkpoint"]), rel=1e-5)
    kinds = {form: one_model(*given) for form, given in forms.items()}
    assert [form for form, one in kinds.items() if one.checkpoint is not None] == list(forms)[:4]
    assert [form for form, one in kinds.items() if one.network is None] == ["bridge"]


@pytest.fixture
def with_damaged_end(own_run):
    """A run whose last checkpoint has a good header and a weight that is not a number."""
    file = checkpoint_file(own_run, 60)
    weights = {name: weight.clone() for name, weight in interp.load_checkpoint(file).weights.items()}
    weights["W_E"][0, 0] = float("nan")
    write_tensors(file, weights, read_header(file))
    return own_run


LAST = {
    "progress_measures(path)": lambda path: interp.progress_measures(path).step,
    "progress_measures(run)": lambda path: interp.progress_measures(interp.load_run(path)).step,
    "figures": lambda path: opened(path, "a figure", "model").model.step,
    "compare": lambda path: 40 if interp.compare({"one": path}, progress=False).shape[0] == 1 else None,
    "a figure of a model": lambda path: 40 if interp.plot.embedding_components(interp.load_run(path)) else None,
}


@pytest.mark.parametrize("how", LAST)
def test_the_last_checkpoint_that_can_be_read_stands_for_a_run(with_damaged_end, how):
    with pytest.warns(UserWarning, match=r"W_E must be finite; got 1 of .* The checkpoint of step 40, the last"):
        assert LAST[how](with_damaged_end) == 40


def test_a_run_without_a_readable_checkpoint_is_refused_with_the_reason(with_damaged_end):
    for step in (0, 20, 40):
        checkpoint_file(with_damaged_end, step).unlink()
    with pytest.raises(CheckpointError, match="W_E must be finite; got 1 of"):
        interp.progress_measures(with_damaged_end)


def test_a_checkpoint_that_is_asked_for_by_its_place_or_step_is_not_replaced(with_damaged_end):
    run = interp.load_run(with_damaged_end)
    for ask in (lambda: run[-1], lambda: run.at(60)):
        with pytest.raises(CheckpointError, match="W_E must be finite; got 1 of"):
            ask()


def test_a_whole_run_and_no_checkpoint_damaged_warns_of_nothing(small_run):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert one_model(small_run).checkpoint.step == 60


def test_runs_and_records_are_opened_by_path_and_taken_as_they_are(small_run_path, small_run, tmp_path):
    assert one_run(small_run, "f()") is small_run
    assert one_run(str(small_run_path), "f()").steps == small_run.steps
    frame = small_run.history
    assert one_record(frame, "f()") is frame
    log = tmp_path / "log.csv"
    frame.to_csv(log, index=False)
    assert one_record(log, "f()")["test_loss"].tolist() == pytest.approx(frame["test_loss"].tolist(), rel=1e-12)
    assert opened(log, "f()").log is not None
    assert opened(checkpoint_file(small_run_path, 60), "f()").model.step == 60
    assert opened(small_run_path, "f()").run.steps == small_run.steps


@pytest.mark.parametrize(
    ("ask", "said"),
    [
        (lambda run: one_run(3, "f()"), r"f\(\) takes a Run or the path of one; got 3\."),
        (lambda run: one_record(run[-1], "f()"), r"f\(\) takes a Run, the path of one or of a log, or a data frame"),
        (lambda run: opened(run[-1], "f", "run"), "f is drawn over a training; got a Checkpoint. Give a Run"),
        (lambda run: opened(3, "f"), "f takes a Run, a Checkpoint, an interp.Model, a path, or its data; got 3."),
        (lambda run: one_model(run[-1].model()), r"A \w+ carries no task. Pass task="),
        (lambda run: one_model(run, run.task), "a Checkpoint carries its own task and split"),
        (lambda run: one_model(run[-1], tokens="ab="), "tokens and vocabulary say what a module or function reads"),
        (lambda run: one_model(run[-1], n_heads=2), "n_heads is for reading a file"),
        (lambda run: one_model({}), "progress_measures takes a path, a Checkpoint"),
    ],
)
def test_what_does_not_fit_is_refused_in_a_sentence(small_run, ask, said):
    with pytest.raises(ConfigError, match=said):
        ask(small_run)
