"""`python -m analyses [--run DIR] [--out DIR] [NAME…]`: phases, figures and tables of a run and of its neighbours."""

from __future__ import annotations

import argparse
import importlib
import pkgutil
import sys
import warnings
from pathlib import Path
from typing import Any

import analyses
import analyses.neighbours
import analyses.settings
import analyses.sweeps
import interp  # its names load torch at their first use, within main
from analyses.neighbours._sizes import PAPER, QUICK
from interp.console import end_quietly, progress_bar
from interp.threads import wait_passively


def _modules(package: str, paths: list[str]) -> dict[str, str]:
    """The figures and tables of a package, name → module."""
    return {
        module.name: f"{package}.{module.name}"
        for module in sorted(pkgutil.iter_modules(paths), key=lambda module: module.name)
        if not module.name.startswith("_") and not module.ispkg
    }


OF_RUN = _modules("analyses", list(analyses.__path__))
OF_NEIGHBOURS = _modules("analyses.neighbours", list(analyses.neighbours.__path__))
BOTH = {"unified"}  # a neighbours' figure with the run in it
OF_SWEEP = _modules("analyses.sweeps", list(analyses.sweeps.__path__))
OF_SETTINGS = _modules("analyses.settings", list(analyses.settings.__path__))
GROUPS = {
    "run": list(OF_RUN), "neighbours": list(OF_NEIGHBOURS), "sweep": list(OF_SWEEP), "settings": list(OF_SETTINGS),
}  # fmt: skip
ALL = OF_RUN | OF_NEIGHBOURS | OF_SWEEP | OF_SETTINGS
SHIPPED = {"sweep": "checkpoints/delay-mod23", "settings": "checkpoints/settings-mod23"}


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m analyses",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Print the phases of a run and write its figures (HTML, PDF, PNG) and tables, those of its\n"
        "solvable neighbours (ridge regression, two-layer networks and double descent), and those of a sweep.",
        epilog="examples:\n"
        "  python -m analyses --run runs/mine --out figures/mine run   all that is drawn from one run\n"
        "  python -m analyses neighbours --quick                       the neighbours, small, in a minute or two\n"
        "  python -m analyses progress_measures ridge_stages           these two",
    )
    parser.add_argument("--run", default="checkpoints/mod113-seed0", metavar="RUN",
                        help="run directory, or a file that holds a whole run (default: %(default)s)")  # fmt: skip
    parser.add_argument("--sweep", metavar="DIR",
                        help="sweep over weight_decay and learning_rate, or one that moves each setting alone "
                        f"(default: {SHIPPED['sweep']} for sweep, {SHIPPED['settings']} for settings)")  # fmt: skip
    parser.add_argument("--out", type=Path, default=Path("figures"), metavar="DIR",
                        help="where to write (default: %(default)s)")  # fmt: skip
    parser.add_argument("--quick", action="store_true",
                        help="draw the neighbours at small sizes, whose numbers are no results")  # fmt: skip
    parser.add_argument("names", nargs="*", metavar="NAME",
                        help=f"run: all of {', '.join(OF_RUN)}; neighbours: all of {', '.join(OF_NEIGHBOURS)}; sweep: "
                        f"all of {', '.join(OF_SWEEP)}; settings: all of {', '.join(OF_SETTINGS)}; or any of these "
                        "(default: everything)")  # fmt: skip
    given = parser.parse_args(arguments)
    if unknown := [name for name in given.names if name not in ALL and name not in GROUPS]:
        known = ", ".join([*GROUPS, *ALL])
        parser.error(f"there is no analysis {', '.join(unknown)}; choose from {known}")
    names = list(dict.fromkeys(one for name in given.names or GROUPS for one in GROUPS.get(name, [name])))
    warnings.showwarning = lambda message, *_, **__: print(f"Warning: {message}", file=sys.stderr)
    wait_passively()
    try:
        return _written(given, names)
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        return 130
    except BrokenPipeError:
        return end_quietly()


def _written(given: argparse.Namespace, names: list[str]) -> int:
    from threadpoolctl import threadpool_limits

    from analyses._over_training import over_training

    try:
        run = interp.load_run(given.run) if any(name in OF_RUN or name in BOTH for name in names) else None
        sweeps = {
            group: interp.load_sweep(given.sweep or SHIPPED[group])
            for group in SHIPPED if any(name in GROUPS[group] for name in names)
        }  # fmt: skip
        if run is not None and any(name in OF_RUN for name in names):
            measures, phases = over_training(run)
            keys = ", ".join(map(str, measures.attrs["key_frequencies"] or ())) or "none"
            doubtful = f"; doubtful: {doubt}" if (doubt := measures.attrs["key_doubt"]) else ""
            print(f"{given.run}: key frequencies {keys}{doubtful}")
            print(phases)
        # Their matrices are small: a second thread would only wait for the first.
        with (
            threadpool_limits(1, "blas"),
            interp.plot.one_browser(),
            progress_bar("write", "figures and tables", len(names)) as bar,
        ):
            for done, name in enumerate(names, 1):
                of: list[Any] = [run] if name in OF_RUN or name in BOTH else []
                of += [sweep for group, sweep in sweeps.items() if name in GROUPS[group]]
                sizes = [QUICK if given.quick else PAPER] if name in OF_NEIGHBOURS else []
                try:
                    written = importlib.import_module(ALL[name]).main(*of, given.out, *sizes)
                    print(f"{name}: {', '.join(str(file) for file in written)}")
                except interp.ConfigError as error:
                    print(f"Skipped {name}: {error}", file=sys.stderr)
                if bar:
                    bar.at(done, name)
    except BrokenPipeError:
        raise
    except (interp.InterpError, OSError) as error:
        print(f"Error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
