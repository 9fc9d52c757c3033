"""`python -m benchmarks [NAME…]`: medians and ratios, measured on this machine."""

from __future__ import annotations

import argparse
import importlib
import platform

from interp.utils.threads import wait_passively

NAMES = ("training_step", "measures", "recorder", "ridge", "whole_commands")
LONG = ("busy", "coverage", "report", "sweeps")  # some minutes each: only when named


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    known = ", ".join(NAMES + LONG)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"any of {known} (default: {', '.join(NAMES)})")
    names = parser.parse_args().names or NAMES
    if unknown := [name for name in names if name not in NAMES + LONG]:
        parser.error(f"there is no benchmark {', '.join(unknown)}; choose from {known}")
    wait_passively()
    import torch

    print(f"Python {platform.python_version()}, torch {torch.__version__}, {torch.get_num_threads()} threads")
    for name in names:
        module = importlib.import_module(f"benchmarks.{name}")
        print(f"\n{name}: {(module.__doc__ or '').splitlines()[0]}")
        module.main()


if __name__ == "__main__":
    main()
