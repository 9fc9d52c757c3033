"""What may know what: the graph of all imports of the package, folded to its folders, falls and has no circle."""

import ast
from functools import cache
from pathlib import Path

import pytest

from tests.conftest import ROOT

HOME = ROOT / "interp"
# A folder imports folders of lower rank only; those of one rank do not know each other.
FLOORS = (
    ("utils",), ("tasks", "networks", "linear"), ("subjects",), ("measures", "runs"), ("training", "study"),
    ("sweeps",), ("plot",), ("reports",), ("cli",),
)  # fmt: skip
RANK = {folder: rank for rank, folders in enumerate(FLOORS) for folder in folders}
MAY_NOT_KNOW = {  # who, and what none of them may reach, not even through others
    "utils and networks know no task": (("utils/", "networks/"), ("tasks/",)),
    "subjects know no file and no checkpoint": (("subjects/",), ("runs/",)),
    "measures open no files": (("measures/",), ("runs/", "training/", "study/")),
    "runs know no measure": (("runs/",), ("measures/", "study/", "plot/", "reports/")),
    "training knows no analysis": (("training/",), ("measures/", "study/", "plot/", "reports/")),
}
OPENS = {  # what opens a run, a checkpoint or a sweep, or measures one
    "runs/directory.py", "runs/loading.py", "runs/logs.py", "runs/states.py", "study/phases.py", "study/progress.py",
    "study/sources.py", "study/trajectory.py", "sweeps/table.py",
}  # fmt: skip


@cache
def graph() -> dict[str, frozenset[str]]:
    """Return which files of the package each file imports: within functions and for types too."""
    return {file: frozenset(targets(file)) for file in files()}


@cache
def files() -> tuple[str, ...]:
    return tuple(sorted(file.relative_to(HOME).as_posix() for file in HOME.rglob("*.py")))


def targets(file: str) -> set[str]:
    """Return the files that a file imports; the package's face is named "__init__.py"."""
    found = set()
    for node in ast.walk(ast.parse((HOME / file).read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            assert not node.level, f"{file} imports relatively, which this graph does not read"
            if (node.module or "").split(".")[0] == "interp":
                found |= {file_of([*node.module.split("."), name.name]) for name in node.names}
        elif isinstance(node, ast.Import):
            found |= {file_of(name.name.split(".")) for name in node.names if name.name.split(".")[0] == "interp"}
    return found - {file}


def file_of(parts: list[str]) -> str:
    """Return the file of a module, or of the module that has a name."""
    for inside in (parts[1:], parts[1:-1]):
        for candidate in ("/".join(inside) + ".py", "/".join([*inside, "__init__.py"])):
            if (HOME / candidate).is_file():
                return candidate
    raise AssertionError(f"there is no module {'.'.join(parts)}")


def folder_of(file: str) -> str:
    return file.split("/")[0] if "/" in file else ""


def reached(file: str) -> set[str]:
    found, following = set(), [file]
    while following:
        for one in graph()[following.pop()] - found:
            found.add(one)
            following.append(one)
    return found


def test_the_graph_sees_lazy_imports_and_those_for_types():
    assert "networks/hooked.py" in graph()["networks/base.py"]  # within a function
    assert "study/phase_table.py" in graph()["plot/training.py"]  # for types alone
    assert sum(map(len, graph().values())) > 500


def test_only_folders_stand_at_the_top():
    loose = {entry.name for entry in HOME.iterdir() if entry.is_file()}
    assert loose == {"__init__.py", "__init__.pyi", "__main__.py", "py.typed"}
    assert {entry.name for entry in HOME.iterdir() if entry.is_dir()} - {"__pycache__"} == set(RANK)


def test_every_import_falls():
    rising = {
        f"{file} imports {target}"
        for file, found in graph().items()
        for target in found
        if (here := folder_of(file)) and (there := folder_of(target)) and here != there and RANK[there] >= RANK[here]
    }
    assert not rising


def test_no_files_import_each_other_in_a_circle():
    assert [file for file in files() if file in reached(file)] == []


def test_nothing_inside_imports_the_face():
    knows = {file for file, found in graph().items() if "__init__.py" in found}
    assert knows == {"__main__.py", "runs/run.py"}  # Run.report draws a page of all else


@pytest.mark.parametrize("rule", MAY_NOT_KNOW)
def test_no_module_reaches_what_it_may_not_know(rule):
    who, whom = MAY_NOT_KNOW[rule]
    found = {file: reached(file) - reached_by_face(file) for file in files() if file.startswith(who)}
    assert found
    assert {
        file: bad for file, all_of in found.items() if (bad := {one for one in all_of if one.startswith(whom)})
    } == {}


def reached_by_face(file: str) -> set[str]:
    """Return the face, which one method of a Run imports; it imports nothing before a name of it is used."""
    return {"__init__.py"}


def test_figures_open_nothing():
    opening = {file for file, found in graph().items() if file.startswith("plot/") and found & OPENS}
    assert opening == {"plot/shown.py", "plot/drawing.py"}
    assert set(files()) >= OPENS


def test_a_figure_measures_nothing():
    """Functions from measures stand where data are fetched, never in what draws them."""
    drawing = 0
    for file in (HOME / "plot").glob("*.py"):
        tree = ast.parse(file.read_text(encoding="utf-8"))
        of_measures = {
            name.asname or name.name
            for node in ast.walk(tree)
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("interp.measures")
            for name in node.names
        }
        for node in tree.body:
            decorators = [ast.unparse(one) for one in getattr(node, "decorator_list", [])]
            if any(one.startswith("declared.figure(") for one in decorators):
                drawing += 1
                body = {one.id for part in node.body for one in ast.walk(part) if isinstance(one, ast.Name)}
                own = {one.arg for one in node.args.args}
                assert body & of_measures <= own, f"{file.name}: {node.name} measures {body & of_measures - own}"
    assert drawing > 20


def test_a_module_has_not_the_name_of_a_public_function_or_of_a_figure():
    import interp
    from interp.plot.declared import FIGURES

    names = {Path(file).stem for file in files() if file.count("/") == 0} | set(RANK)
    functions = {name for name in interp.__all__ if callable(getattr(interp, name))}
    assert not functions & names
    assert not {file.stem for file in (HOME / "plot").glob("*.py")} & set(FIGURES)


def test_no_module_grows_over_450_lines_without_a_reason_above_it():
    """A longer one says why in its first lines: "Long, since …"."""
    long = {}
    for file in files():
        text = (HOME / file).read_text(encoding="utf-8")
        if text.count("\n") > 450 and "Long, since" not in text[:2_000]:
            long[file] = text.count("\n")
    assert long == {}
