"""Data flows in one direction: which module may know which."""

import ast
from pathlib import Path

import pytest

from tests.conftest import ROOT

ANALYSIS = {
    "measures", "subjects", "progress", "trajectories", "graduations", "keys", "doubts", "events", "plot", "ablate",
}  # fmt: skip
FILES = {"run", "disk", "published"}
MAY_NOT_KNOW = {  # who, and whom
    "measures open no files": (
        ["measures/*.py"], FILES | {"training", "config", "all_pairs"} | ANALYSIS - {"measures"},
    ),
    "figures open nothing, and what they take from measures are definitions": (
        ["plot/*.py"],
        {"run", "published", "training", "all_pairs", "networks"} | ANALYSIS - {"events", "plot", "measures"},
    ),
    "training and disk know no analysis": (
        ["training.py", "disk.py", "run.py", "config.py", "settings.py", "networks/*.py", "task.py"], ANALYSIS,
    ),
    "networks know no runs and no settings of a training": (
        ["networks/*.py"], FILES | {"config", "settings", "training", "task", "all_pairs"} | ANALYSIS,
    ),
    "figures and bytes know no runs": (
        ["plot/saving.py", "published/files.py", "disk.py"], {"run", "config", "training"},
    ),
    "the reader of files knows no measures": (["published/*.py"], ANALYSIS),
}  # fmt: skip


def imported(file: Path) -> set[str]:
    """The modules of interp that a file imports when it runs, by their first name; those for types alone left out."""
    found: set[str] = set()
    nodes: list[ast.AST] = [ast.parse(file.read_text(encoding="utf-8"))]
    while nodes:
        node = nodes.pop()
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "interp":
            inside = (node.module or "").split(".")[1:2]
            found |= set(inside) or {name.name for name in node.names}
        if isinstance(node, ast.Import):
            found |= {name.name.split(".")[1] for name in node.names if name.name.startswith("interp.")}
        nodes += ast.iter_child_nodes(node)
    return found


@pytest.mark.parametrize("rule", MAY_NOT_KNOW)
def test_no_module_knows_what_it_may_not(rule):
    who, whom = MAY_NOT_KNOW[rule]
    files = [file for pattern in who for file in (ROOT / "interp").glob(pattern)]
    assert len(files) >= len(who)
    assert {file.name: imported(file) & whom for file in files if imported(file) & whom} == {}


def test_a_figure_measures_nothing():
    """Functions from measures stand where data are fetched, never in what draws them."""
    drawing = 0
    for file in (ROOT / "interp" / "plot").glob("*.py"):
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


def test_a_module_has_not_the_name_of_a_public_function():
    import interp

    modules = {file.stem for file in (ROOT / "interp").glob("*.py")}
    packages = {file.parent.name for file in (ROOT / "interp").glob("*/__init__.py")}
    functions = {name for name in interp.__all__ if callable(getattr(interp, name))}
    assert not functions & (modules | packages)
