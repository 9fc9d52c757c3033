"""Sweeps on a Ray cluster of two nodes on this machine: a node removed and a driver killed in the middle."""

import time

import pandas as pd
import pytest

import interp
from tests.processes import Started, interp as shell
from tests.sweeps.test_sweeps import SLOW, rows, settings

ray = pytest.importorskip("ray", reason="Ray is an extra of its own (pip install 'interp[sweep]')")

GRID = {**SLOW, "seed": list(range(4))}


@pytest.fixture(scope="module")
def local(tmp_path_factory) -> pd.DataFrame:
    """The same runs without Ray."""
    path = tmp_path_factory.mktemp("sweeps") / "local"
    done = shell("sweep", path, *settings(GRID), "--workers", 2)
    assert done.returncode == 0, done.stderr
    return interp.load_sweep(path).table


@pytest.fixture
def cluster():
    from ray.cluster_utils import Cluster

    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    yield made
    if ray.is_initialized():
        ray.shutdown()
    made.shutdown()


def wait_for(condition, process) -> None:
    begun = time.monotonic()
    while not condition():
        assert process.poll() is None, "the sweep ended too early"
        assert time.monotonic() - begun < 120
        time.sleep(0.02)


def begun(path) -> int:
    return len(list(path.glob("runs/*/*/checkpoints/step_00000000.safetensors")))


def test_a_node_that_is_removed_and_a_driver_that_is_killed_lose_nothing(local, cluster, tmp_path):
    """Two nodes of one core each: both train, one is removed, the driver is killed, and another finishes."""
    path = tmp_path / "sweep"
    node = cluster.add_node(num_cpus=1)
    cluster.wait_for_nodes()
    words = ["sweep", path, *settings(GRID), "--engine", "ray", "--address", cluster.address]
    driver = Started("interp", *words)
    wait_for(lambda: begun(path) >= 2, driver)  # one on each node
    cluster.remove_node(node, allow_graceful=False)
    wait_for(lambda: begun(path) >= 3, driver)
    driver.kill()
    driver.wait()
    done = shell(*words)
    assert done.returncode == 0, done.stderr
    table = interp.load_sweep(path).table
    pd.testing.assert_frame_equal(rows(table), rows(local), check_exact=True)
