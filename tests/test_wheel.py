"""The wheel: what a user installs who has no repository."""

import zipfile

import pytest
from hatchling.build import build_wheel

import interp
from interp.runs.shipped import HOME
from tests.processes import ROOT


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Build it from this repository, without a download."""
    folder = tmp_path_factory.mktemp("wheel")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)  # hatchling builds the project of the current folder
        return folder / build_wheel(str(folder))


@pytest.fixture(scope="module")
def names(wheel):
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def test_the_wheel_holds_every_module_with_the_types_of_the_package(names):
    """A type checker reads py.typed and __init__.pyi, as the modules load on first use."""
    modules = {str(file.relative_to(ROOT)) for file in (ROOT / "interp").rglob("*.py*") if file.suffix != ".pyc"}
    assert "interp/__init__.pyi" in modules
    assert {name for name in names if name.endswith((".py", ".pyi"))} == modules
    assert "interp/py.typed" in names


def test_the_wheel_holds_the_small_run_as_it_was_trained(wheel, names):
    """Each of its files, byte for byte, and nothing that `interp` writes beside a run that it measures or resumes."""
    checkpoints = [checkpoint.path.relative_to(HOME) for checkpoint in interp.demo_run()]
    assert len(checkpoints) == 12
    files = {"README.md", "config.json", "history.parquet", "split.npz", *map(str, checkpoints)}
    assert {name for name in names if name.startswith("interp/runs/demo/")} == {
        f"interp/runs/demo/{file}" for file in files
    }
    with zipfile.ZipFile(wheel) as archive:
        assert all(archive.read(f"interp/runs/demo/{file}") == (HOME / file).read_bytes() for file in files)


def test_the_wheel_is_small_and_holds_the_package_alone(wheel, names):
    """Four megabytes at most: the small run is 2.5 of them."""
    assert wheel.stat().st_size < 4_000_000
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == {"interp"}
