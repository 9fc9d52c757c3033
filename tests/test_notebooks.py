"""Every notebook runs from a clean kernel, and is stored without what it put out."""

import os
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from tests.conftest import ROOT
from tests.wild import published

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


def run(path: Path) -> str:
    """Execute a notebook where it lies; what it printed and drew, as text. A failing cell fails the test."""
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(path.parent)}}).execute()
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    return "\n".join(
        output.get("text", "") or str(output.get("data", {}).get("text/plain", "")) + " ".join(output.get("data", {}))
        for output in outputs
    )


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_is_stored_without_outputs(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert code
    assert not any(cell.outputs or cell.execution_count for cell in code)


@pytest.mark.parametrize("models", ["published", "its own"])
def test_bring_your_own_checkpoint(models, monkeypatch, tmp_path):
    folder = published() if models == "published" else tmp_path / "none"
    monkeypatch.setitem(os.environ, "INTERP_PUBLISHED", str(folder))
    said = run(ROOT / "notebooks" / "bring_your_own_checkpoint.ipynb")
    assert "4 heads; True" in said
    assert "holds more than data (builtins.print)" in said
    assert "this line never appears" not in said
    assert "Nearest is" in said
    assert "3 + 5 = 8   7 + 7 = 14" in said
    assert "circuit_formation_end" in said
    assert "it was trained on another split, seed or task" in said
    assert said.count("application/vnd.plotly") == 2
    assert ("Zhong et al., p = 59" in said) == (models == "published")


@pytest.mark.parametrize(
    ("name", "printed", "drawn"),
    [
        (
            "grokking_walkthrough",
            ["42 checkpoints, steps 0 to 16000", "memorization_end       1,400", "logits only k = 14, 35, 41, 42, 52"],
            4,
        ),
        (
            "ridge_and_double_descent",
            [
                "null_space_prediction",
                "and ridge regression predicts -1",
                "interpolation_threshold  50",
            ],
            11,
        ),
        (
            "any_model",
            [
                "one-hot 1.0",
                "tied 0.",
                "array (3,)",
                "step 150: test loss",
                "test_accuracy is val_acc (percent)",
                "generalized            10,430",
            ],
            2,
        ),
        ("your_own_measure", ["neuron_ipr                0.9", "embedding_norms [42, 113]", "neurons_of_14"], 1),
        ("the_circuit", ["(14, 35, 41, 42, 52)", "in no cluster", "share of W_L in 10 directions: 99.8"], 8),
    ],
)
def test_walkthrough(name, printed, drawn):
    said = run(ROOT / "notebooks" / f"{name}.ipynb")
    for words in printed:
        assert words in said
    assert said.count("application/vnd.plotly") == drawn


def test_every_notebook_is_executed_by_a_test():
    assert {path.stem for path in NOTEBOOKS} == {
        "bring_your_own_checkpoint", "grokking_walkthrough", "ridge_and_double_descent", "the_circuit",
        "your_own_measure", "any_model",
    }  # fmt: skip
