"""A browser for tests of pages: Debian's Chromium, or any that is found, with the network cut."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from choreographer.browsers.chromium import Chromium

EXECUTABLE = Chromium.find_browser(skip_local=False)


@contextmanager
def browser() -> Iterator[Any]:
    """Start a browser; the test is skipped where there is none."""
    if EXECUTABLE is None:
        pytest.skip("no Chromium or Chrome is installed; make installs one")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        as_root = ["--no-sandbox"] if os.geteuid() == 0 else []
        started = playwright.chromium.launch(executable_path=EXECUTABLE, args=as_root)
        try:
            yield started
        finally:
            started.close()


@contextmanager
def opened(started: Any, file: Path, width: int = 1300, scheme: str = "light", at: str = "") -> Iterator[Any]:
    """Open a page from its file; the test fails if anything is written on the console."""
    context = started.new_context(
        viewport={"width": width, "height": 900}, color_scheme=scheme, offline=True, accept_downloads=True
    )
    page = context.new_page()
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    try:
        page.goto(f"{file.as_uri()}{at}")
        try:
            page.wait_for_function("document.documentElement.dataset.ready", timeout=30_000)
        except Exception:
            pytest.fail(f"the page did not get ready: {said}")
        yield page
    finally:
        context.close()
    assert not said


def sideways(page: Any) -> int:
    """Return by how many pixels the page is wider than its window."""
    return page.evaluate("document.documentElement.scrollWidth - innerWidth")


def violations(page: Any) -> list[str]:
    """Return what axe calls serious or critical."""
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(page).response["violations"]
    return [
        f"{one['id']}: {node['target']}"
        for one in found
        if one["impact"] in ("serious", "critical")
        for node in one["nodes"]
    ]
