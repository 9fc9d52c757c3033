"""The circles of the embedding forming over training: circles.gif."""

from pathlib import Path

from interp import Run, animate


def main(run: Run, out: Path) -> list[Path]:
    return [animate(run, out / "circles.gif", progress=False).path]
