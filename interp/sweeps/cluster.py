"""Jobs on a Ray cluster, one task each. Ray schedules and retries; the sweep's directory is the only record."""

from __future__ import annotations

import contextlib
import socket
import time
import uuid
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from interp.sweeps.jobs import End, Job, note_death, perform
from interp.sweeps.local import HELD_SECONDS, Told
from interp.utils.errors import ConfigError

_RETRIES = 3  # of a task whose worker or node dies
_SECONDS_TO_ANSWER = 5.0
_GRACE = 60.0  # seconds in which tasks save their runs after they were told to end


def work_on_cluster(jobs: Sequence[Job], address: str | None, tell: Told) -> None:
    """Do all jobs as tasks of the Ray cluster at `address`, of the one the caller is connected to, or of a new one.

    `tell` is called for each submitted task (as step 0) and for each end. A task whose worker or node dies is tried
    again elsewhere and goes on from the last saved state. At most twice as many tasks as can run are submitted at once.
    """
    ray = _ray()
    mine = uuid.uuid4().hex  # a retried task knows by it that the owner it finds is its own earlier try
    with _connected(ray, address):
        waiting, later = deque(jobs), deque[tuple[float, Job]]()
        running: dict[Any, Job] = {}
        try:
            while waiting or later or running:
                while later and later[0][0] <= time.monotonic():
                    waiting.append(later.popleft()[1])
                room = max(4, 2 * int(ray.cluster_resources().get("CPU", 1)))
                while waiting and len(running) < room:
                    job = waiting.popleft()
                    task = ray.remote(_perform).options(
                        num_cpus=job.threads or 1, max_retries=_RETRIES, name=job.folder.name
                    )
                    running[task.remote(replace(job, token=f"{mine} {job.folder.name}").line())] = job
                    tell(job, 0)
                if not running:
                    time.sleep(0.5)
                    continue
                ended, _ = ray.wait(list(running), num_returns=1, timeout=1.0)
                for reference in ended:
                    job = running.pop(reference)
                    try:
                        said: End = ray.get(reference)
                    except ray.exceptions.RayError:
                        note_death(job, _RETRIES + 1)
                        said = "failed"
                    if said == "interrupted":  # its node was told to go
                        waiting.append(job)
                    elif said == "held":
                        later.append((time.monotonic() + HELD_SECONDS, job))
                    else:
                        tell(job, said)
        finally:
            for reference in running:
                with contextlib.suppress(Exception):
                    ray.cancel(reference)
            if running:
                with contextlib.suppress(Exception):
                    ray.wait(list(running), num_returns=len(running), timeout=_GRACE)


def _perform(line: str) -> End:
    return perform(Job.of_line(line))


def _ray() -> Any:
    try:
        import ray
    except ImportError:
        raise ConfigError("engine='ray' needs Ray. Install it on every node: pip install 'interp[sweep]'.") from None
    return ray


@contextlib.contextmanager
def _connected(ray: Any, address: str | None) -> Iterator[None]:
    """Connect to a cluster, or start one on this machine, for this context, unless the caller is connected already."""
    if ray.is_initialized():
        yield
        return
    if address is not None and address != "auto":
        _check_answers(address)
    try:
        ray.init(address=address or "local", include_dashboard=None if address else False, log_to_driver=False,
                 logging_level="warning")  # fmt: skip
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise ConfigError(
            f"address must be that of a running Ray cluster, as ray start --head prints it; got {address!r}, where Ray "
            f"says: {str(error).splitlines()[0]}"
        ) from None
    try:
        yield
    finally:
        ray.shutdown()


def _check_answers(address: str) -> None:
    """Raise ConfigError unless host:port answers within seconds, since Ray itself tries for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=_SECONDS_TO_ANSWER).close()
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"address must be that of a running Ray cluster, such as 10.0.0.1:6379; nobody answers at {address!r} "
            f"({error})."
        ) from None
