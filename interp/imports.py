"""Files and modules of the user's that declare measures and networks: --import, and what a worker process needs."""

from __future__ import annotations

import importlib
import importlib.util
import os
import runpy
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from interp.errors import ConfigError


def import_all(names: Iterable[str]) -> None:
    """Import these files and modules; ConfigError if one cannot be imported."""
    for name in names:
        try:
            if Path(name).suffix == ".py":
                runpy.run_path(name)
            else:
                importlib.import_module(name)
        except Exception as error:
            raise ConfigError(
                f"--import takes a Python file or module that can be imported; {name} cannot "
                f"({type(error).__name__}: {error})."
            ) from error


def import_name(declared: type) -> str | None:
    """Return what another process has to import to have a class: its module or its file; None for interp's own.

    Raises ConfigError for a class that no file holds, as in a notebook.
    """
    module = declared.__module__
    if module.split(".")[0] == "interp":
        return None
    if getattr(sys.modules.get(module), "__spec__", None) is not None and module != "__main__":
        return module
    methods: list[Any] = [value for value in vars(declared).values() if hasattr(value, "__code__")]
    files = {method.__code__.co_filename for method in methods if os.path.isfile(method.__code__.co_filename)}
    if not files:
        raise ConfigError(
            f"Another process has to import {declared.__name__}, and it stands in no file. Write its class into a "
            "file, and import it from there."
        )
    return os.path.abspath(sorted(files)[0])
