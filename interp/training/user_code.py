"""Import the user's files and modules that declare measures and networks, for --import and for worker processes."""

from __future__ import annotations

import importlib
import os
import runpy
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from interp.networks import Network
from interp.utils.errors import ConfigError


class _Declared(Exception):  # noqa: N818 (nothing is wrong)
    """Raised to end the import of a script at its first training or sweep, by which it has declared all."""


_declaring = False


def stop_if_declaring() -> None:
    """End the import of a script by a worker process, which must not begin its own sweep again."""
    if _declaring:
        raise _Declared


def import_all(names: Iterable[str], declarations: bool = False) -> None:
    """Import these files and modules; with `declarations`, a script only as far as its first training or sweep.

    Raises:
        ConfigError: One cannot be imported.
    """
    global _declaring
    for name in names:
        _declaring = declarations
        try:
            if Path(name).suffix == ".py":
                runpy.run_path(name)
            else:
                importlib.import_module(name)
        except _Declared:
            pass
        except Exception as error:
            raise ConfigError(
                f"--import takes a Python file or module that can be imported; {name} cannot "
                f"({type(error).__name__}: {error})."
            ) from error
        finally:
            _declaring = False


def import_name(declared: type[Network]) -> str | None:
    """Return the module or file that a worker must import so that this network is registered; None for interp's own.

    Raises:
        ConfigError: No file defines the network, as in a notebook.
    """
    module = declared.__module__
    if module.split(".")[0] == "interp":
        return None
    if getattr(sys.modules.get(module), "__spec__", None) is not None and module != "__main__":
        return module
    own: Any = declared
    file = own.forward.__code__.co_filename  # runpy leaves no module behind
    if not os.path.isfile(file):
        raise ConfigError(
            f"Worker processes must import {declared.__name__}, but it is not defined in a file. Move it into a .py "
            "file and import it from there."
        )
    return os.path.abspath(file)
