"""`python -m analyses` on the shipped run: its phases on the screen, its figures and tables on the disk."""

import subprocess
import sys

import pandas as pd
import pytest

import interp
from tests.processes import ROOT


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "analyses", *map(str, arguments)], capture_output=True, text=True, cwd=ROOT
    )


def test_all_figures_and_tables_of_the_shipped_run(shipped, tmp_path):
    done = run("--out", tmp_path)
    assert done.returncode == 0, done.stderr
    assert "Warning" not in done.stderr
    ph = interp.phases(interp.trajectory(shipped, progress=False))
    assert str(ph) in done.stdout
    figures = ("training_curves", "fourier_norms", "progress_measures", "cos_coefficients")
    expected = {f"{name}.{kind}" for name in figures for kind in ("html", "pdf", "png")} | {"phases.csv", "phases.md"}
    assert {file.name for file in tmp_path.iterdir()} == expected
    assert all((tmp_path / f"{name}.pdf").stat().st_size < 2_000_000 for name in figures)
    table = pd.read_csv(tmp_path / "phases.csv").set_index("event")["step"]
    assert table["circuit_formation_end"] == ph.circuit_formation_end
    assert f"| cleanup_end | {ph.cleanup_end:,} |" in (tmp_path / "phases.md").read_text()


def test_one_table_of_another_run(small_run_path, tmp_path):
    done = run("--run", small_run_path, "--out", tmp_path, "phases")
    assert done.returncode == 0, done.stderr
    assert {file.name for file in tmp_path.iterdir()} == {"phases.csv", "phases.md"}
    assert "never generalized" in (tmp_path / "phases.md").read_text()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("nonsense",), "there is no analysis nonsense; choose from cos_coefficients"),
        (("--run", "nowhere"), "does not exist"),
    ],
)
def test_what_is_wrong_is_said(arguments, said):
    done = run(*arguments)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr
