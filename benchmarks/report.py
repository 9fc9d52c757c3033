"""The page of the shipped run: the time to make it, its size, and the time to open it and to move its slider.

    python -m benchmarks report
    python -m benchmarks.report --picture docs/report.png     also writes a picture of it

It needs the extra dev, for playwright, and Chromium or Chrome.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from choreographer.browsers.chromium import Chromium
from playwright.sync_api import sync_playwright

import interp

RUN = "checkpoints/mod113-seed0"
OPENINGS = 7
# A step of the slider at each of several places of the page: the time that its handlers take.
STEPS = """async () => {
    const { clock } = report, times = [];
    for (const place of [0, 0.25, 0.5, 0.75, 1]) {
        scrollTo(0, place * (document.body.scrollHeight - innerHeight));
        await new Promise((done) => setTimeout(done, 300));
        for (let index = 0; index < clock.steps.length; index++) {
            const begun = performance.now();
            clock.set(index);
            times.push(performance.now() - begun);
            await new Promise(requestAnimationFrame);
        }
    }
    return times;
}"""


def main(picture: Path | None = None) -> None:
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        begun = time.perf_counter()
        file = interp.load_run(RUN).report(progress=False).save(Path(folder) / "report.html")
        print(f"  made in {time.perf_counter() - begun:.1f} s (its measures are kept from before), {_size(file)}")
        arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
        browser = playwright.chromium.launch(executable_path=Chromium.find_browser(skip_local=False), args=arguments)
        opened, interactive = zip(*(_opened(browser, file) for _ in range(OPENINGS)), strict=True)
        print(f"  opens in {statistics.median(opened):.2f} s; its document is read after "
              f"{statistics.median(interactive):.2f} s (medians of {OPENINGS})")  # fmt: skip
        page = browser.new_context(viewport={"width": 1300, "height": 900}, offline=True).new_page()
        page.goto(file.as_uri())
        times = sorted(page.evaluate(STEPS))
        print(f"  a step of the slider: median {statistics.median(times):.1f} ms, 95 of 100 under "
              f"{times[int(0.95 * len(times))]:.1f} ms")  # fmt: skip
        if picture:
            _draw(browser, file, picture)
        browser.close()


def _size(file: Path) -> str:
    return f"{file.stat().st_size / 1e6:.1f} MB"


def _opened(browser: Any, file: Path) -> tuple[float, float]:
    """Return the seconds until the page is ready, and until its document is read."""
    context = browser.new_context(viewport={"width": 1300, "height": 900}, offline=True)
    page = context.new_page()
    page.goto(file.as_uri())
    page.wait_for_function("document.documentElement.dataset.ready")
    ready = page.evaluate('performance.getEntriesByName("ready")[0].startTime')
    interactive = page.evaluate('performance.getEntriesByType("navigation")[0].domInteractive')
    context.close()
    return ready / 1e3, interactive / 1e3


def _draw(browser: Any, file: Path, picture: Path) -> None:
    """Write a picture of the page at step 12,500, in cleanup."""
    page = browser.new_context(viewport={"width": 1100, "height": 1040}, offline=True).new_page()
    page.goto(f"{file.as_uri()}#step=12500")
    page.wait_for_function("document.documentElement.dataset.ready")
    page.evaluate("scrollTo(0, document.querySelector(\"[aria-label='The numbers on their circles']\").offsetTop - 12)")
    page.wait_for_timeout(800)
    page.screenshot(path=picture)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.report", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--picture", type=Path, metavar="FILE", help="write a picture of the page, too")
    main(parser.parse_args().picture)
