"""Every notebook runs from a clean kernel, and is stored with what it puts out now, but for numbers."""

import re
from base64 import b64decode
from copy import deepcopy

import nbformat
import pytest
from nbformat import NotebookNode

from notebooks.outputs import FIGURE, PICTURE, code_digest, differences, execute, shape
from tests.conftest import ROOT
from tests.wild import published

NOTEBOOKS = {path.stem: path for path in sorted((ROOT / "notebooks").glob("*.ipynb"))}
REMEDY = "Run `make notebooks` and commit what it writes."


def stored(name: str) -> NotebookNode:
    return nbformat.read(NOTEBOOKS[name], as_version=4)


def outputs(notebook: NotebookNode) -> list[NotebookNode]:
    return [output for cell in notebook.cells for output in cell.get("outputs", [])]


def texts(notebook: NotebookNode) -> str:
    """Return all that a notebook shows as text: prints, results and tables."""
    shown = [text for output in outputs(notebook) for text in (output.get("text", ""), *_texts(output))]
    return "\n".join(shown)


def _texts(output: NotebookNode) -> list[str]:
    return [text for kind, text in output.get("data", {}).items() if kind.startswith("text/")]


def kinds(notebook: NotebookNode) -> list[str]:
    return [kind for output in outputs(notebook) for kind in output.get("data", {})]


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_it_is_stored_with_the_outputs_of_its_code(name):
    notebook = stored(name)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    digest = notebook.metadata.get("outputs_of")
    assert digest == code_digest(notebook), f"{name} was changed after its outputs were stored. {REMEDY}"
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1)), (
        f"{name} is half executed. {REMEDY}"
    )
    assert [cell.id for cell in notebook.cells] == [f"cell-{number:02d}" for number in range(len(notebook.cells))]
    assert not any(cell.metadata for cell in notebook.cells)
    assert {output.output_type for output in outputs(notebook)} <= {"stream", "display_data", "execute_result"}
    assert {output.name for output in outputs(notebook) if output.output_type == "stream"} <= {"stdout"}


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_its_pictures_are_png_of_moderate_size(name):
    notebook = stored(name)
    assert FIGURE not in kinds(notebook)
    images = [b64decode(output.data[PICTURE]) for output in outputs(notebook) if PICTURE in output.get("data", {})]
    assert images, f"{name} is stored without pictures. {REMEDY}"
    for image in images:
        assert image.startswith(b"\x89PNG\r\n\x1a\n")
        assert 5_000 < len(image) < 350_000
    assert sum(path.stat().st_size for path in NOTEBOOKS.values()) < 4e6


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_it_names_nothing_of_the_machine_that_executed_it(name):
    said = texts(stored(name))
    assert not re.findall(r"(?<![\w.>])/(?:tmp|work|home|root|Users|var|opt)/\S*|\b[A-Z]:\\\S*", said)
    assert not re.findall(r"0x[0-9a-f]{6,}", said)


def agrees(name: str, now: NotebookNode) -> None:
    """Assert that the stored outputs of a notebook are those of now, but for numbers."""
    differ = differences(stored(name), now)
    assert not differ, "\n".join([f"{name} is stored with outputs of before:", *differ, REMEDY])


@pytest.mark.parametrize("models", ["published", "its own"])
def test_bring_your_own_checkpoint(models, tmp_path):
    folder = published() if models == "published" else tmp_path / "none"
    name = "bring_your_own_checkpoint"
    now = execute(NOTEBOOKS[name], INTERP_PUBLISHED=str(folder))
    said = texts(now)
    assert "4 heads; True" in said
    assert "holds more than data (builtins.print)" in said
    assert "this line never appears" not in said
    assert "Nearest is" in said
    assert "3 + 5 = 8   7 + 7 = 14" in said
    assert "circuit_formation_end" in said
    assert "it was trained on another split, seed or task" in said
    assert kinds(now).count(FIGURE) == 3
    assert ("Zhong et al., p = 59" in said) == (models == "published")
    if models == "its own":  # it is stored as it is without the published models
        agrees(name, now)


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
            ["null_space_prediction", "and ridge regression predicts -1", "interpolation_threshold  50"],
            11,
        ),
        (
            "any_model",
            [
                "one-hot 1.0 and without attention_share: the model was given without pattern",
                "tied 0.",
                "array (3,)",
                "step 150: test loss",
                "test_accuracy is val_acc (percent)",
                "generalized            10,430",
            ],
            3,
        ),
        ("your_own_measure", ["neuron_ipr                0.89", "embedding_norms [12, 23]", "neurons_of_11"], 1),
        ("the_circuit", ["(14, 35, 41, 42, 52)", "in no cluster", "share of W_L in 10 directions: 99.8"], 9),
    ],
)
def test_walkthrough(name, printed, drawn):
    now = execute(NOTEBOOKS[name])
    said = texts(now)
    for words in printed:
        assert words in said
    assert kinds(now).count(FIGURE) == drawn
    agrees(name, now)


def test_every_notebook_is_executed_by_a_test():
    assert set(NOTEBOOKS) == {
        "bring_your_own_checkpoint", "grokking_walkthrough", "ridge_and_double_descent", "the_circuit",
        "your_own_measure", "any_model",
    }  # fmt: skip


def test_numbers_may_differ_and_words_may_not():
    """A stored notebook agrees with itself under other numbers, and with no change of its words or its outputs."""
    before = stored("your_own_measure")
    cell = next(number for number, cell in enumerate(before.cells) if "neuron_ipr" in str(cell.get("outputs", "")))

    def changed(**text: str) -> list[str]:
        after = deepcopy(before)
        for old, new in text.items():
            output = after.cells[cell].outputs[0]
            assert old in output.text
            output.text = output.text.replace(old, new)
        return differences(before, after)

    assert changed(step="step") == []
    numbers = deepcopy(before)
    numbers.cells[cell].outputs[0].text = re.sub(r"\d", "7", before.cells[cell].outputs[0].text)
    assert differences(before, numbers) == []
    assert shape(numbers.cells[cell]) == shape(before.cells[cell])
    [said] = changed(neuron_ipr="another_measure")
    assert before.cells[cell].id in said
    assert "another_measure" in said

    without = deepcopy(before)
    without.cells[cell].outputs = []
    assert len(differences(before, without)) == 1
    edited = deepcopy(before)
    edited.cells[cell].source += "\n1 + 1"
    assert differences(before, edited) == ["the cells differ"]
    assert code_digest(edited) != code_digest(before)
