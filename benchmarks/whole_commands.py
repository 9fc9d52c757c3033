"""Whole processes: `trajectory` over the shipped run, with its peak memory, and `import interp`."""

from __future__ import annotations

import statistics
import subprocess
import sys

_TRAJECTORY = """
import resource, time
import interp
begun = time.perf_counter()
frame = interp.trajectory("checkpoints/mod113-seed0", progress=False, refresh=True)
print(time.perf_counter() - begun, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6, len(frame))
"""
_IMPORT = "import time; begun = time.perf_counter(); import interp; print(time.perf_counter() - begun)"


def _numbers(code: str) -> list[float]:
    out = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    return [float(word) for word in out.split()]


def main() -> None:
    runs = [_numbers(_TRAJECTORY) for _ in range(3)]
    seconds, peak, rows = (statistics.median(column) for column in zip(*runs, strict=True))
    print(f"  trajectory of {rows:.0f} checkpoints        {seconds:8.1f} s, {peak:.2f} GB resident at the most")
    print(f"  import interp                      {statistics.median(_numbers(_IMPORT)[0] for _ in range(5)):8.2f} s")
