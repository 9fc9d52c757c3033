"""The interactive page of the run: report.html."""

from pathlib import Path

from interp import Run


def main(run: Run, out: Path) -> list[Path]:
    return [run.report(progress=False).save(out / "report.html")]
