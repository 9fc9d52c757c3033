"""Other people's logs: what is read from them, and that the same run has the same phases however it was logged."""

import json
import re
from pathlib import Path

import pandas as pd
import pytest

import interp
from interp import CheckpointError, ConfigError
from tests.processes import interp as shell
from tests.wild import published

FRAME = pd.DataFrame(
    {
        "step": [0, 100, 200, 300, 400],
        "train_loss": [4.7, 0.5, 1e-3, 1e-4, 1e-6],
        "test_loss": [4.8, 9.0, 20.0, 2.0, 1e-3],
        "train_accuracy": [0.01, 0.9, 1.0, 1.0, 1.0],
        "test_accuracy": [0.0, 0.02, 0.3, 0.995, 1.0],
    }
)
EXPECTED = interp.phases(FRAME).to_dict()
KERAS = {"train_loss": "loss", "train_accuracy": "acc", "test_loss": "val_loss", "test_accuracy": "val_acc"}
TRAINER = {"train_loss": "train/loss", "train_accuracy": "train/accuracy", "test_loss": "eval/loss",
           "test_accuracy": "eval/accuracy", "step": "trainer/global_step"}  # fmt: skip
CAMEL = {"train_loss": "trainLoss", "train_accuracy": "trainAcc", "test_loss": "testLoss", "test_accuracy": "testAcc",
         "step": "epoch"}  # fmt: skip
WORDS = {"train_loss": "Training Cross-Entropy", "train_accuracy": "Training accuracy (%)",
         "test_loss": "Validation NLL", "test_accuracy": "Validation accuracy (%)", "step": "Iteration"}  # fmt: skip


def lines(frame: pd.DataFrame) -> str:
    return "".join(json.dumps(row) + "\n" for row in frame.to_dict("records"))


def in_percent(frame: pd.DataFrame) -> pd.DataFrame:
    accuracies = [name for name in frame if "acc" in name.lower()]
    return frame.assign(**{name: 100 * frame[name] for name in accuracies})


WRITERS = {
    "csv": (".csv", lambda f: f.to_csv(index=False)),
    "semicolons": (".csv", lambda f: f.to_csv(index=False, sep=";")),
    "tabs, comments": (".tsv", lambda f: "# a run\n" + f.to_csv(index=False, sep="\t")),
    "percent": (".csv", lambda f: in_percent(f).to_csv(index=False)),
    "percent signs": (
        ".csv",
        lambda f: f.assign(
            **{n: [f"{100 * v:g} %" for v in f[n]] for n in f if "acc" in n.lower()}
        ).to_csv(index=False),
    ),
    "json lines": (".jsonl", lambda f: '{"_meta": {"p": 97}}\n' + lines(f) + '{"_summary": {"final": 1}}\n'),
    "percent, json lines": (".log", lambda f: lines(in_percent(f))),
    "json of lists": (".json", lambda f: json.dumps(f.to_dict("list"))),
    "json of rows": (".json", lambda f: json.dumps(f.to_dict("records"))),
    "json, history inside": (".json", lambda f: json.dumps({"config": {"p": 97}, "history": f.to_dict("list")})),
    "byte order mark": (".csv", lambda f: "\ufeff" + f.to_csv(index=False)),
    "written again by a restart": (
        ".csv", lambda f: f[:2].to_csv(index=False) + f[2:].to_csv(index=False),
    ),
}  # fmt: skip


@pytest.mark.parametrize("names", [{}, KERAS, TRAINER, CAMEL, WORDS], ids=["own", "keras", "slashes", "camel", "words"])
@pytest.mark.parametrize("how", WRITERS)
def test_a_log_has_the_phases_of_its_frame(tmp_path, how, names):
    suffix, write = WRITERS[how]
    frame = FRAME.rename(columns=names)
    # "(%)" in a name means percent.
    frame = (
        frame.assign(**{name: 100 * frame[name] for name in frame if "%" in name}) if "percent" not in how else frame
    )
    file = tmp_path / f"log{suffix}"
    file.write_text(write(frame), encoding="utf-8")
    log = interp.read_log(file, show=False)
    assert list(log.columns) == list(FRAME.columns)
    for name in FRAME:
        assert log[name].tolist() == pytest.approx(FRAME[name].tolist(), rel=1e-12)
    assert interp.phases(log).to_dict() == EXPECTED
    assert interp.phases(file).to_dict() == EXPECTED
    assert (
        log.attrs["columns"]["test_accuracy"]
        .removeprefix("history/")
        .startswith(names.get("test_accuracy", "test_accuracy"))
    )


def test_parquet_and_frames(tmp_path, capsys):
    FRAME.assign(run_name="x").to_parquet(tmp_path / "a.parquet")
    log = interp.read_log(tmp_path / "a.parquet")
    assert log["run_name"].tolist() == ["x"] * 5
    said = " ".join(capsys.readouterr().err.split())
    assert "5 rows; step is step, train_loss is train_loss" in said
    by_index = interp.read_log(FRAME.set_index("step"), show=False)
    pd.testing.assert_frame_equal(by_index, interp.read_log(FRAME, show=False))
    assert len(interp.plot.training_curves(log).data) == 4
    assert len(interp.plot.training_curves(log[["step", "test_accuracy"]]).data) == 1
    with pytest.raises(ConfigError, match="train_loss"):
        interp.plot.training_curves(log[["step"]])


def test_objects_within_objects(tmp_path):
    """As TensorBoard-like loggers and a Hugging Face Trainer write them: train and evaluation in rows of their own."""
    short = {"train_loss": "loss", "train_accuracy": "acc", "test_loss": "loss", "test_accuracy": "acc"}
    train, test = (FRAME[[f"{name}_loss", f"{name}_accuracy"]].rename(columns=short) for name in ("train", "test"))
    rows = [
        {"step": int(step), "train": a, "eval": b}
        for step, a, b in zip(FRAME["step"], train.to_dict("records"), test.to_dict("records"), strict=True)
    ]
    lists = {"step": FRAME["step"].tolist(), "train": train.to_dict("list"),
             "test": test.to_dict("list"), "config": {"betas": [0.9, 0.98]}}  # fmt: skip
    trainer = {"global_step": 400, "log_history": [
        {"step": row["step"], "epoch": 0.5, **values}
        for row in FRAME.to_dict("records")
        for values in ({"loss": row["train_loss"], "accuracy": row["train_accuracy"]},
                       {"eval_loss": row["test_loss"], "eval_accuracy": row["test_accuracy"]})
    ]}  # fmt: skip
    for name, content in (
        ("rows.jsonl", "".join(json.dumps(row) + "\n" for row in rows)),
        ("lists.json", json.dumps(lists)), ("trainer_state.json", json.dumps(trainer, indent=1)),
    ):  # fmt: skip
        (tmp_path / name).write_text(content)
        assert interp.phases(interp.read_log(tmp_path / name, show=False)).to_dict() == EXPECTED, name


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        (
            ["step", "epoch", "loss", "val_loss", "test_loss"],
            {"step": "step", "train_loss": "loss", "test_loss": "test_loss"},
        ),
        (["epoch", "train_loss_log", "excluded_loss", "test_acc"], {"step": "epoch", "test_accuracy": "test_acc"}),
        (["it", "log_test_loss", "val_loss"], {"step": "it", "test_loss": "val_loss"}),
        (["_step", "loss", "test_loss"], {"step": "_step", "train_loss": "loss", "test_loss": "test_loss"}),
    ],
)  # fmt: skip
def test_which_column_is_which(columns, expected):
    frame = pd.DataFrame({name: [0.0, 0.5] for name in columns})
    frame[expected["step"]] = [0, 1]
    if columns[1] == "train_loss_log":
        expected |= {"train_loss": "train_loss_log"}  # a log of the train loss, as far as its name says
    assert interp.read_log(frame, show=False).attrs["columns"] == expected


def test_a_log_without_steps_asks(tmp_path):
    file = tmp_path / "losses.json"
    file.write_text(json.dumps({"train_losses": [3.0, 2.0, 1.0], "test_losses": [3.0, 2.5, 2.0], "layers": [1, 2]}))
    with pytest.raises(ConfigError, match="names no step or epoch; give every="):
        interp.read_log(file)
    log = interp.read_log(file, every=50, show=False)
    assert log["step"].tolist() == [0, 50, 100]
    with pytest.raises(ConfigError, match="leave every"):
        interp.read_log(FRAME, every=2)


def test_what_cannot_be_told_is_asked(tmp_path):
    two = FRAME.rename(columns={"train_loss": "val_loss", "test_loss": "valid_loss"})
    with pytest.raises(ConfigError, match="several columns for test_loss: val_loss, valid_loss"):
        interp.read_log(two)
    assert interp.read_log(two, columns={"test_loss": "valid_loss"}, show=False)["test_loss"].tolist() == list(
        FRAME["test_loss"]
    )
    for given, said in (
        (FRAME.assign(test_accuracy=[0, 1, 2, 3, 400]), "from 0 to 1 or to 100 percent; it holds 400"),
        (FRAME.assign(test_loss=["a"] * 5), "must hold numbers; got 'a'"),
        (FRAME[["step"]], "must have losses or accuracies"),
        (FRAME[:0], "at least one row"),
    ):
        with pytest.raises(ConfigError, match=said):
            interp.read_log(given)
    for columns, said in (({"test_loss": "no"}, "has no column 'no'"), ({"x": "step"}, "got 'x'")):
        with pytest.raises(ConfigError, match=said):
            interp.read_log(FRAME, columns=columns)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"), (b"PAR1junk", "no readable parquet"), (b"\xff\xfe\x00", "neither text in UTF-8"),
        (b"1,2\n3,4\n", "must begin with the names of its columns"), (b'{"step": 1}\n{"st\n{"step": 2}\n', "line 2"),
        (b'{"a": 1}', "must hold rows"), (b"step,test_loss\n1,2\n1,2,3,4\n", "no table"),
        (b'{"step": [1, 2], "test_loss": [1, 2, 3], "train_loss": [1, 2]}', "one length"),
    ],
)  # fmt: skip
def test_a_file_that_is_no_log_is_a_sentence(tmp_path, content, said):
    file = tmp_path / "x.csv"
    file.write_bytes(content)
    with pytest.raises((CheckpointError, ConfigError), match=said):
        interp.read_log(file)


def test_a_last_line_that_breaks_off_is_left_out(tmp_path):
    file = tmp_path / "killed.jsonl"
    file.write_text(lines(FRAME)[:-20])
    with pytest.warns(UserWarning, match="breaks off"):
        assert len(interp.read_log(file, show=False)) == 4


def test_the_shell_reads_logs(tmp_path):
    file = tmp_path / "log.csv"
    FRAME.rename(columns={"test_accuracy": "holdout"}).to_csv(file, index=False)
    done = shell("phases", file, "--column", "test_accuracy=holdout", "--json")
    assert done.returncode == 0
    assert json.loads(done.stdout)["generalized"] == 300
    assert "test_accuracy is holdout" in " ".join(done.stderr.split())
    assert shell("phases", file, "--column", "holdout").returncode == 2
    assert "leave them out" in shell("phases", file, "--p", "7").stderr


def test_a_log_of_several_runs_asks_which(tmp_path):
    runs = [FRAME.assign(run="first", seed=0), FRAME.assign(run="second", seed=1, test_accuracy=0.0)]
    both, file = pd.concat(runs), tmp_path / "both.parquet"
    both.to_parquet(file)
    said = r"These are 2 runs, told apart by the column run: first, second\. .* where=\{\"run\": 'first'\}\)"
    for source in (both, file):
        with pytest.raises(ConfigError, match=said):
            interp.phases(source)
    for where in ({"run": "first"}, {"seed": 0}, {"seed": "0"}, {"run": "first", "seed": 0.0}):
        log = interp.read_log(file, where=where, show=False)
        assert len(log) == len(FRAME)
        assert interp.phases(log).to_dict() == EXPECTED
    assert interp.phases(interp.read_log(both, where={"run": "second"}, show=False)).generalized is None
    for where, wrong in (
        ({"run": "third"}, "has no row whose run is third; the values of run are first, second"),
        ({"name": "first"}, "has no column 'name'; it has step, train_loss"),
        ({"run": "first", "seed": 1}, "has no row whose seed is 1; the values of seed are 0"),
    ):
        with pytest.raises(ConfigError, match=wrong):
            interp.read_log(file, where=where)
    done = shell("phases", file)
    assert done.returncode == 2
    assert "on the shell, --where run=first." in " ".join(done.stderr.split())
    assert json.loads(shell("phases", file, "--where", "run=first", "--json").stdout)["generalized"] == 300
    wrong = shell("phases", file, "--where", "run")
    assert "--where takes COLUMN=VALUE, as in --where run=seed3; got 'run'" in " ".join(wrong.stderr.split())


@pytest.mark.filterwarnings("ignore:6 of 21 rows have no step")
def test_three_runs_step_by_step_are_all_named():
    """The rows of the runs alternate, and those without a step, here two of each run, say nothing of which is which."""
    runs = [FRAME.assign(run=name, test_accuracy=FRAME.test_accuracy * (1 - i / 9)) for i, name in enumerate("abc")]
    mixed = pd.concat(runs).sort_values("step", kind="stable")
    unknown = pd.concat([frame.iloc[:2].assign(step=float("nan")) for frame in runs])
    for frame in (mixed, pd.concat([mixed, unknown])):
        with pytest.raises(ConfigError, match=r"3 runs, told apart by the column run: a, b, c\. .* --where run=a\."):
            interp.phases(frame)


def test_published_histories_ask_which_run():
    file = published("histories.parquet")
    first = pd.read_parquet(file)["run"].iloc[0]
    with pytest.raises(ConfigError, match=f"These are 150 runs, told apart by the column run: {first}, "):
        interp.phases(file)
    assert interp.phases(interp.read_log(file, where={"run": first}, show=False)).last_step > 0


def test_a_frame_with_names_of_its_own_is_sent_to_read_log():
    frame = FRAME.rename(columns={"step": "epoch", "test_accuracy": "val_acc"})
    with pytest.raises(ConfigError, match=r"a column step.* or give interp\.read_log\(df\), which knows names such"):
        interp.phases(frame)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("log.csv", b"", "is empty; expected a run directory, the file of a whole run, or a log (CSV, JSON, JSON"),
        ("log.csv", None, "does not exist; expected a run directory, the file of a whole run, or a log (CSV, JSON"),
        ("run", None, "does not exist; expected a run directory, the file of a whole run, or a log (CSV, JSON"),
        (
            "log.csv.gz",
            b"\x1f\x8b\x08\x00",
            "is a file of another kind, which begins with b'\\x1f\\x8b\\x08\\x00'; exp",
        ),
        ("log.csv", "step,loss".encode("utf-16"), "is a file of another kind, which begins with b'\\xff\\xfes"),
    ],
)
def test_what_has_no_phases_is_a_sentence_on_the_shell_and_in_python(tmp_path, name, content, said):
    file = tmp_path / name
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(CheckpointError, match=re.escape(f"{file} {said}")):
        interp.phases(file)
    done = shell("phases", file)
    assert done.returncode == 2
    assert said in " ".join(done.stderr.split())


def test_published_histories_have_the_same_phases_however_they_are_logged(tmp_path):
    """150 histories as CSV, as JSON lines and in percent; recorded in float64, so that only percent may round."""
    histories = pd.read_parquet(published("histories.parquet"))
    for run, own in histories.groupby("run"):
        own = own[list(FRAME.columns)].astype(float).astype({"step": int})
        renamed = own.rename(
            columns={"train_accuracy": "train_acc", "test_accuracy": "val_acc", "test_loss": "val_loss"}
        )
        expected = interp.phases(own).to_dict()
        (tmp_path / "a.csv").write_text(renamed.to_csv(index=False))
        (tmp_path / "b.jsonl").write_text('{"_meta": {}}\n' + lines(own) + '{"_summary": {}}\n')
        assert interp.phases(interp.read_log(tmp_path / "a.csv", show=False)).to_dict() == expected, run
        assert interp.phases(interp.read_log(tmp_path / "b.jsonl", show=False)).to_dict() == expected, run
        of_percent = interp.phases(interp.read_log(in_percent(renamed), show=False)).to_dict()
        assert of_percent | {"missing": None} == expected | {"missing": None}, run


@pytest.mark.parametrize("name", ["logs/wide.csv", "logs/meta.jsonl"])
def test_published_logs_are_read_as_their_authors_wrote_them(name):
    log = interp.read_log(published(name), show=False)
    expected = {"logs/wide.csv": (400, 9_200, 100_000, 251), "logs/meta.jsonl": (50, 100, 1_100, 23)}[name]
    found = interp.phases(log)
    assert (found.memorized, found.generalized, found.last_step, len(log)) == expected


def test_what_is_a_log(shipped, tmp_path):
    FRAME.to_csv(tmp_path / "x", index=False)
    assert interp.runs.logs.is_log(tmp_path / "x")
    assert interp.runs.logs.is_log("hf://someone/runs/log.CSV")  # by its name, not fetched to look
    assert not interp.runs.logs.is_log("hf://someone/runs/model.pt")
    assert not interp.runs.logs.is_log(Path(__file__).parent)
    assert not interp.runs.logs.is_log(shipped.file(0))


def test_columns_of_any_name_may_be_chosen_and_a_missing_file_is_said(tmp_path):
    file = tmp_path / "strange.csv"
    file.write_text("it,Ltr,Lte,Atr,Ate\n0,3,3,0.1,0.1\n10,0.1,0.2,1.0,0.995\n")
    chosen = {"train_loss": "Ltr", "test_loss": "Lte", "train_accuracy": "Atr", "test_accuracy": "Ate"}
    log = interp.read_log(file, columns=chosen, show=False)
    assert log["step"].tolist() == [0, 10]
    assert log["test_accuracy"].tolist() == [0.1, 0.995]
    done = shell(
        "phases", file, *(word for target, name in chosen.items() for word in ("--column", f"{target}={name}"))
    )
    assert done.returncode == 0, done.stderr
    with pytest.raises(CheckpointError, match=r"nofile.csv does not exist; expected a log"):
        interp.read_log(tmp_path / "nofile.csv")
