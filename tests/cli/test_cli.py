"""The shell as a user has it: real processes, real files, one sentence where something is wrong."""

import json
import subprocess
import sys
from dataclasses import fields

import pandas as pd
import pytest
import typer

import interp
from interp.cli import app
from interp.cli.options import parse_steps
from interp.runs.settings import SETTINGS
from tests.processes import interp as shell, outside


@pytest.mark.parametrize(
    "command", [(), ("train",), ("measure",), ("list-measures",), ("compare",), ("phases",), ("animate",)]
)
def test_help_teaches_by_example(command):
    done = shell(*command, "--help")
    assert done.returncode == 0
    assert f"interp {' '.join(command) or 'train'} " in done.stdout.split("xamples" if command else "first session")[-1]


def test_every_setting_is_an_option_of_train_under_its_own_name():
    said = shell("train", "--help").stdout
    for name in interp.TrainConfig.names():
        assert f"--{name.replace('_', '-')}" in said, name


def test_every_setting_has_the_default_and_the_meaning_that_are_declared_with_it():
    options = {one.name: one for one in typer.main.get_command(app).commands["train"].params}
    for one in fields(interp.TrainConfig):
        option, setting = options[one.name], SETTINGS[one.name]
        assert option.opts == [f"--{one.name.replace('_', '-')}"]
        assert option.default == one.default == setting.default
        assert len(setting.meaning) > 10
        assert len(option.help) > 10
        assert setting.optional == ("default: " in option.help) == (one.default is None)
        assert f"\n        {one.name}: {setting.meaning[:20]}" in interp.TrainConfig.__doc__
    in_panel = [name for name in SETTINGS if options[name].rich_help_panel == "Variations"]
    assert (in_panel[0], in_panel[-1], len(in_panel)) == ("optimizer", "grokfast_start", 19)
    assert options["split_seed"].help == "Seed of the split alone. \\[default: the same as --seed]"
    assert "Below p = 89 give more than 0.3" in options["train_fraction"].help


def test_a_setting_that_is_one_of_several_words_refuses_others(tmp_path):
    told = outside(
        """
        import interp
        from interp.runs.settings import SETTINGS
        for name in [name for name, setting in SETTINGS.items() if setting.choices]:
            try:
                interp.TrainConfig(**{name: "none_such"})
            except interp.ConfigError as error:
                print(error)
        """
    ).splitlines()
    choices = {name: setting.choices for name, setting in SETTINGS.items() if setting.choices}
    assert told == [
        f"{name} must be {', '.join(words[:-1])} or {words[-1]}; got 'none_such'." for name, words in choices.items()
    ]
    assert "optimizer must be adamw, sgd or muon; got 'none_such'." in told
    for name, words in choices.items():
        done = shell("train", tmp_path / "run", f"--{name.replace('_', '-')}", "none_such")
        assert done.returncode == 2
        assert all(f"'{one}'" in done.stderr for one in ("none_such", *words))


def test_help_and_options_that_do_not_exist_need_no_torch():
    told = outside(
        """
        import sys
        import typer
        from typer.testing import CliRunner
        from interp.cli import app

        def tell(*words):
            done = CliRunner().invoke(app, words)
            heavy = {"torch", "numpy", "pandas", "plotly", "transformer_lens"} & set(sys.modules)
            print(*words, done.exit_code, *sorted(heavy), "--learning-rate" in done.output)

        for name in typer.main.get_command(app).commands:
            tell(name, "--help")
        tell("--help")
        tell("train", "--learning-ratee", "1")
        """,
        fresh=True,
    )
    commands = typer.main.get_command(app).commands
    helps = [f"{name} --help 0 {name == 'train'}" for name in commands]
    assert told.splitlines() == [*helps, "--help 0 False", "train --learning-ratee 1 2 True"]


def test_the_runs_that_the_help_recommends_are_those_that_were_tried():
    """What each gives stands beside it: the mainline (shipped) and two smaller moduli with more of their pairs."""
    command = typer.main.get_command(app).commands["train"]
    lines = [line.split()[2:] for line in command.epilog.split("\n\n") if line.startswith("  interp train")]
    given = [command.make_context("train", line).params for line in lines]
    tried = [(params["p"], params["train_fraction"], params["seed"], params["steps"]) for params in given]
    mainline, tiny, small = (113, 0.3, 0, 16_000), (31, 0.8, 0, 2_000), (59, 0.5, 3, 5_000)
    assert tried[:3] == [mainline, tiny, small]
    begun = {params["run"]: run for params, run in zip(given, tried, strict=True) if not params["resume"]}
    assert begun.keys() >= {params["run"] for params in given if params["resume"]}
    assert set(begun.values()) == {mainline, tiny, small}


def test_version():
    assert shell("--version").stdout.startswith("interp 0.")


def test_measure_prints_a_table_json_and_parquet(small_run, small_run_path, tmp_path):
    table = shell("measure", small_run_path)
    assert table.returncode == 0, table.stderr
    m = interp.progress_measures(small_run)
    assert str(m) in table.stdout
    lines = shell("measure", small_run_path, "--step", 20, "--step", 60, "--json").stdout.splitlines()
    assert [json.loads(line)["step"] for line in lines] == [20, 60]
    assert json.loads(lines[1])["restricted_loss"] == m.restricted_loss
    target = tmp_path / "new" / "all.parquet"
    done = shell("measure", small_run_path, "--all", "--parquet", target)
    assert done.returncode == 0, done.stderr
    frame = pd.read_parquet(target)
    assert list(frame["step"]) == [0, 20, 40, 60]
    assert frame["excluded_loss"].iloc[-1] == m.excluded_loss


def test_measure_takes_a_lone_file_and_says_what_it_lacks(small_run, tmp_path):
    alone = tmp_path / "alone.safetensors"
    alone.write_bytes(small_run.file(60).read_bytes())
    without = shell("measure", alone)
    assert "no train/test split is known; load the checkpoint with split and seed (--split, --seed)" in without.stdout
    done = shell("measure", alone, "--split", "paper", "--seed", 0, "--key", 2, "--json")
    assert json.loads(done.stdout)["key_frequencies"] == [2]
    assert json.loads(done.stdout)["train_loss"] > 0


def test_phases_of_a_run(small_run, small_run_path):
    done = shell("phases", small_run_path)
    assert done.returncode == 0, done.stderr
    assert str(interp.phases(small_run)) in done.stdout
    found = interp.phases(small_run, threshold=0.12, sustain=2)
    plain = json.loads(shell("phases", small_run_path, "--json", "--threshold", "0.12", "--sustain", "2").stdout)
    m = interp.progress_measures(small_run)
    beside = {"key_frequencies": list(m.key_frequencies), "key_step": 60, "key_doubt": m.key_doubt, "doubts": []}
    assert {name: plain.pop(name) for name in beside} == beside
    assert {"doubts": [], **plain} == json.loads(json.dumps(found.to_dict()))  # this run has no doubts of either kind
    # Its first row has an accuracy of 0.095, which is over 0.12 − 0.09.
    assert plain["missing"]["memorized"].startswith("the record begins after it memorized: train_accuracy is 0.095")


def test_phases_of_a_record_without_test_accuracy_are_doubted(tmp_path):
    file = tmp_path / "log.csv"
    file.write_text("step,train_accuracy,test_loss\n0,0.0,4\n10,1.0,5\n20,1.0,0.1\n30,1.0,0.1\n")
    done = shell("phases", file, "--json")
    assert done.returncode == 0, done.stderr
    plain = json.loads(done.stdout)
    assert (plain["memorized"], plain["intervals"]["memorized"], plain["circuit_formation_end"]) == (10, [0, 10], 20)
    assert plain["doubts"] == [
        "the record has no test_accuracy, so its falls cannot be seen: phases are read off test_loss alone"
    ]
    assert f"doubt                  {plain['doubts'][0]}" in shell("phases", file).stdout


def test_what_is_printed_onto_a_full_disk_is_said(small_run_path):
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "interp", "measure", small_run_path], stdout=full, stderr=subprocess.PIPE, text=True
        )
    assert done.returncode == 2
    assert done.stderr.startswith("Error: The output could not be written (No space left on device)")


def test_to_resume_where_no_run_is_says_that_one_begins(tmp_path):
    done = shell(
        "train", tmp_path / "run", "--resume", *["--p", "5", "--train-fraction", "0.6", "--steps", "2", "--d-mlp", "8"]
    )
    assert done.returncode == 0
    assert "run holds no run yet, so one begins there with the settings given." in done.stderr
    assert "holds no run yet" not in shell("train", tmp_path / "run", "--resume").stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("train", "{tmp}/x", "--p", "1"), "p must be a whole number of at least 2; got 1."),
        (
            ("train", "{tmp}/x", "--train-fraction", "0"),
            "train_fraction must be a finite number above 0 and below 1; got 0.0.",
        ),
        (
            ("train", "{tmp}/x", "--train-fraction", "1"),
            "train_fraction must be a finite number above 0 and below 1; got 1.0.",
        ),
        (("train", "{run}"), "already holds a run; go on with it by resume=True (--resume)"),
        (("train", "{run}", "--resume", "--seed", "9"), "begun with other settings: seed 9 (the run has 0)"),
        (("measure", "{tmp}/nothing.safetensors"), "does not exist; expected a checkpoint file or a run directory"),
        (("measure", "{tmp}/text.safetensors"), "is no whole safetensors or torch file"),
        (("measure", "{tmp}"), "holds no config.json; expected a run directory"),
        (("measure", "{run}", "--step", "7"), "has no checkpoint of step 7; the nearest are 0, 20, 40, 60"),
        (
            ("measure", "{run}/checkpoints/step_00000020.safetensors", "--all"),
            "is a file of one checkpoint; a run is a directory",
        ),
        (("measure", "{run}", "--split", "torch"), "is a run, which knows its own task and split; leave split out"),
        (("measure", "{run}", "--all", "--step", "20"), "--all and --step both choose checkpoints of a run"),
        (("measure", "{run}", "--parquet", "{tmp}"), "is a folder; name a file in it"),
        (
            ("train", "/proc/none", "--p", "13"),
            "/proc/none could not be written (No such file or directory); check its folder",
        ),
        (("phases", "{tmp}/nowhere"), "does not exist; expected a run directory"),
        (("phases", "{run}", "--threshold", "95"), "threshold must be an accuracy above 0 and at most 1, such as 0.99"),
        (("phases", "{run}", "--sustain", "0"), "sustain must be a whole number of rows of at least 1; got 0"),
    ],
)
def test_what_is_wrong_is_one_sentence_and_exit_status_2(small_run_path, tmp_path, arguments, said):
    (tmp_path / "text.safetensors").write_text("a note")
    done = shell(*(argument.format(tmp=tmp_path, run=small_run_path) for argument in arguments))
    assert done.returncode == 2
    assert said in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr
    assert not done.stdout


def test_options_that_do_not_exist_or_parse_are_said(tmp_path):
    assert "No such option" in shell("train", tmp_path / "x", "--weight-deca", "1").stderr
    assert "neither a step nor FIRST:LAST:EVERY" in shell("train", tmp_path / "x", "--checkpoint-steps", "0,a").stderr
    assert "times" in shell("train", tmp_path / "x", "--operation", "times").stderr
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize(
    ("given", "meant"), [("--lr", "--learning-rate"), ("--wd", "--weight-decay"), ("--frac-train", "--train-fraction")]
)
def test_an_option_under_another_name_is_named(given, meant):
    said = shell("train", "/nowhere/run", given, "1").stderr
    assert f"No such option: {given}" in said
    assert meant in said


def test_steps_are_numbers_and_ranges_with_both_ends():
    assert parse_steps("0,5,100:300:100") == (0, 5, 100, 200, 300)
    assert parse_steps("7") == (7,)
    with pytest.raises(interp.ConfigError, match="at most 1,000,000 checkpoints"):
        parse_steps("0:1000000000000:1")


def test_train_says_what_came_out_and_what_is_next(tmp_path):
    small = ("--p", 5, "--d-model", 8, "--n-heads", 1, "--d-mlp", 8, "--steps", 3, "--checkpoint-steps", "0,3")
    other = ("--operation", "subtract", "--train-fraction", 0.5, "--betas", 0.8, 0.9)
    done = shell("train", tmp_path / "run", *small, *other)
    assert done.returncode == 0, done.stderr
    said = " ".join(done.stderr.split())
    assert "step 3, 2 checkpoints; loss train" in said
    assert "interp phases" in said
    assert interp.load_run(tmp_path / "run").config == interp.TrainConfig(
        p=5, d_model=8, n_heads=1, d_mlp=8, steps=3, operation="subtract", train_fraction=0.5, betas=(0.8, 0.9),
        checkpoint_steps=(0, 3),
    )  # fmt: skip


def test_measures_are_listed_and_models_compared_with_measures_of_the_users_own(small_run_path, tmp_path):
    own = tmp_path / "mine.py"
    own.write_text("import interp\n@interp.measure(title='largest logit', unit='nats')\n"
                   "def largest_logit(subject):\n    return subject.logits.max()\n")  # fmt: skip
    listed = shell("list-measures", "--json", "--import", own).stdout.splitlines()
    rows = {row["name"]: row for row in map(json.loads, listed)}
    assert rows["largest_logit"]["title"] == "largest logit"
    assert rows["test_loss"]["unit"] == "nats"
    assert rows["translation_share"]["on_request"]
    largest = float(interp.activations(interp.load_run(small_run_path)[-1]).logits.max())
    options = ("--import", own, "--measures", "largest_logit,effective_rank", "--json")
    measured = json.loads(shell("measure", small_run_path, *options).stdout)
    assert measured["largest_logit"] == pytest.approx(largest, rel=1e-6)
    file = small_run_path / "checkpoints" / "step_00000000.safetensors"
    both = [json.loads(line) for line in shell("compare", small_run_path, file, *options).stdout.splitlines()]
    assert both[0]["largest_logit"] == pytest.approx(largest, rel=1e-6)
    assert both[1]["effective_rank_W_in"] > 0
    wrong = shell("measure", small_run_path, "--import", tmp_path / "none.py")
    assert wrong.returncode == 2
    assert "--import takes a Python file or module that can be imported" in " ".join(wrong.stderr.split())
