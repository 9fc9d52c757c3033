"""One small run that is shared by all tests."""

from pathlib import Path

import pytest
from hypothesis import settings

import interp
import interp.networks
import interp.runs.logs
import interp.runs.published.recorded
import interp.runs.run
import interp.study.trajectory  # tests reach into these, in any order
import interp.subjects.activations
import interp.training.loop

settings.register_profile("steady", deadline=None, max_examples=25, derandomize=True)
settings.load_profile("steady")

ROOT = Path(__file__).parent.parent
SHIPPED = ROOT / "checkpoints" / "mod113-seed0"

SMALL = interp.TrainConfig(
    p=13, train_fraction=0.5, d_model=16, n_heads=2, d_mlp=24, steps=60, checkpoint_steps=(0, 20, 40, 60)
)


@pytest.fixture(scope="session")
def small_run_path(tmp_path_factory) -> Path:
    """A trained run of p = 13; read it, and copy it before changing it."""
    path = tmp_path_factory.mktemp("runs") / "small"
    interp.train(SMALL, path, progress=False)
    return path


@pytest.fixture
def small_run(small_run_path) -> interp.Run:
    return interp.load_run(small_run_path)


@pytest.fixture
def own_run(small_run_path, tmp_path) -> Path:
    """A copy of the small run, to be damaged at will."""
    import shutil

    return Path(shutil.copytree(small_run_path, tmp_path / "run", ignore=shutil.ignore_patterns("measures.parquet")))


@pytest.fixture(scope="session")
def shipped() -> interp.Run:
    return interp.load_run(SHIPPED)
