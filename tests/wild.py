"""Files of other people, which are not the project's to ship: where they are absent, their tests are skipped."""

import os
from pathlib import Path

import pytest

PUBLISHED = Path(os.environ.get("INTERP_PUBLISHED", Path(__file__).parents[2] / "shared" / "published"))


def published(name: str = ".") -> Path:
    file = PUBLISHED / name
    if not file.exists():
        pytest.skip(f"{file} is not here, and not the project's to ship; INTERP_PUBLISHED names its folder")
    return file
