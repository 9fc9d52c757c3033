"""What comes with the package: a small run, and the command that shows it."""

import interp
from interp.runs.shipped import HOME
from tests.processes import interp as shell


def test_the_small_run_groks_and_is_small():
    """Three megabytes at most, so that the wheel stays small; the phases are in their order."""
    assert sum(file.stat().st_size for file in HOME.rglob("*") if file.is_file()) <= 3_000_000
    run = interp.demo_run()
    found = interp.phases(run)
    assert found.memorized * 3 <= found.generalized
    assert [name for name, *_ in found.spans()] == ["memorization", "circuit formation", "cleanup", "grokked"]
    m = interp.progress_measures(run)
    assert m.test_accuracy == 1
    assert m.key_doubt is None
    assert m.excluded_loss > 1 > m.restricted_loss


def test_the_small_run_is_made_again_by_the_command_that_is_written_beside_it(tmp_path):
    """Its first steps, to the rounding of another machine (1e-4 of the losses over 20 steps)."""
    run = interp.demo_run()
    words = next(line for line in (HOME / "README.md").read_text().splitlines() if "interp train" in line).split()
    made = shell(*words[1:2], tmp_path / "run", *words[3:], "--steps", "20", "--checkpoint-steps", "0,20")
    assert made.returncode == 0, made.stderr
    again = interp.load_run(tmp_path / "run").history.set_index("step")
    shipped = run.history.set_index("step").loc[again.index]
    assert (again["test_loss"] / shipped["test_loss"] - 1).abs().max() < 1e-4


def test_demo_measures_and_draws_it_in_an_empty_folder(tmp_path):
    done = shell("demo", "-o", tmp_path / "demo", "--no-open")
    assert done.returncode == 0, done.stderr
    assert "generalized" in done.stdout
    index = (tmp_path / "demo" / "figures" / "index.html").read_text()
    assert "Progress measures over training" in index
    assert "neurons_over_pairs" in index
    again = shell("measure", tmp_path / "demo" / "run", "--json")
    assert again.returncode == 0, again.stderr
