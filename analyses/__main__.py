"""`python -m analyses [--run DIR] [--out DIR] [NAME…]`: the phases of a run, and its figures and tables."""

from __future__ import annotations

import argparse
import importlib
import pkgutil
import sys
import warnings
from pathlib import Path

import analyses
from interp import ConfigError, InterpError, load_run, phases, plot, trajectory
from interp.console import progress_bar

NAMES = sorted(module.name for module in pkgutil.iter_modules(analyses.__path__) if not module.name.startswith("_"))


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m analyses",
        description="Print the phases of a run and write its figures (HTML, PDF, PNG) and tables.",
        epilog="Example: python -m analyses --run runs/mine --out figures/mine progress_measures",
    )
    parser.add_argument("--run", default="checkpoints/mod113-seed0", metavar="RUN",
                        help="run directory, or a file that holds a whole run (default: %(default)s)")  # fmt: skip
    parser.add_argument("--out", type=Path, default=Path("figures"), metavar="DIR",
                        help="where to write (default: %(default)s)")  # fmt: skip
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"any of {', '.join(NAMES)} (default: all)")
    given = parser.parse_args(arguments)
    if unknown := [name for name in given.names if name not in NAMES]:
        parser.error(f"there is no analysis {', '.join(unknown)}; choose from {', '.join(NAMES)}")
    warnings.showwarning = lambda message, *_, **__: print(f"Warning: {message}", file=sys.stderr)
    try:
        run = load_run(given.run)
        measures = trajectory(run)
        print(f"{given.run}: key frequencies {', '.join(map(str, measures.attrs['key_frequencies'] or ())) or 'none'}")
        print(phases(measures))
        names = given.names or NAMES
        with plot.one_browser(), progress_bar("write", "figures and tables", len(names)) as bar:
            for done, name in enumerate(names, 1):
                try:
                    written = importlib.import_module(f"analyses.{name}").main(run, given.out)
                    print(f"{name}: {', '.join(str(file) for file in written)}")
                except ConfigError as error:
                    print(f"Skipped {name}: {error}", file=sys.stderr)
                if bar:
                    bar.at(done, name)
    except (InterpError, OSError) as error:
        print(f"Error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
