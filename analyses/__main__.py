"""`python -m analyses [--run DIR] [--out DIR] [NAME…]`: phases, figures and tables of a run and of related systems."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import pkgutil
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import analyses
import analyses.neighbours
import analyses.settings
import analyses.sweeps
import interp  # its names load torch at their first use, within main
from analyses._beside import BOTH, Written, beside, finished, neighbour, parts
from analyses.neighbours._sizes import PAPER, QUICK
from interp.utils.console import end_quietly, progress_bar
from interp.utils.threads import wait_passively


def _modules(package: str, paths: list[str]) -> dict[str, str]:
    """Return the modules of the figures and tables of a package, by name."""
    return {
        module.name: f"{package}.{module.name}"
        for module in sorted(pkgutil.iter_modules(paths), key=lambda module: module.name)
        if not module.name.startswith("_") and not module.ispkg
    }


TABLES = _modules("analyses", list(analyses.__path__))
OF_NEIGHBOURS = _modules("analyses.neighbours", list(analyses.neighbours.__path__))
OF_SWEEP = _modules("analyses.sweeps", list(analyses.sweeps.__path__))
OF_SETTINGS = _modules("analyses.settings", list(analyses.settings.__path__))
MODULES = TABLES | OF_NEIGHBOURS | OF_SWEEP | OF_SETTINGS
SHIPPED = {"sweep": "checkpoints/delay-mod23", "settings": "checkpoints/settings-mod23"}


def _groups() -> dict[str, list[str]]:
    """Return the names in each group; in that of a run, every declared figure and then the tables."""
    from interp.plot.declared import FIGURES  # loads torch

    of_run = [name for name, one in FIGURES.items() if one.of in ("run", "model")]
    return {
        "run": [*of_run, *TABLES], "neighbours": list(OF_NEIGHBOURS), "sweep": list(OF_SWEEP),
        "settings": list(OF_SETTINGS),
    }  # fmt: skip


def main(arguments: list[str] | None = None) -> int:
    wait_passively()
    try:
        return _main(arguments)
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        return 130
    except BrokenPipeError:
        return end_quietly()


def _main(arguments: list[str] | None) -> int:
    groups = _groups()
    parser = argparse.ArgumentParser(
        prog="python -m analyses",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Write figures (HTML, PDF, PNG) and tables: of a run, whose phases are printed too; of related\n"
        "systems that can be solved (ridge regression, two-layer networks, double descent); and of a sweep.",
        epilog="examples:\n"
        "  python -m analyses --run runs/mine --out figures/mine run   all that is drawn from one run\n"
        "  python -m analyses neighbours --quick                       related systems, small, in a minute or two\n"
        "  python -m analyses progress_measures ridge_stages           these two figures",
    )
    parser.add_argument("--run", default="checkpoints/mod113-seed0", metavar="RUN",
                        help="run directory, or a file that holds a whole run (default: %(default)s)")  # fmt: skip
    parser.add_argument("--sweep", metavar="DIR",
                        help="sweep over weight_decay and learning_rate, or one that moves each setting alone "
                        f"(default: {SHIPPED['sweep']} for sweep, {SHIPPED['settings']} for settings)")  # fmt: skip
    parser.add_argument("--out", type=Path, default=Path("figures"), metavar="DIR",
                        help="where to write (default: %(default)s)")  # fmt: skip
    parser.add_argument("--quick", action="store_true",
                        help="draw related systems at small sizes, whose numbers mean nothing")  # fmt: skip
    parser.add_argument(
        "--anyway", action="store_true", help="exit with 0 instead of 3 if it is doubtful what the run learned"
    )
    parser.add_argument("names", nargs="*", metavar="NAME",
                        help="; ".join(f"{group}: all of {', '.join(names)}" for group, names in groups.items())
                        + "; or any of these (default: everything)")  # fmt: skip
    given = parser.parse_args(arguments)
    if unknown := [name for name in given.names if all(name not in known for known in (groups, *groups.values()))]:
        known = ", ".join([*groups, *(one for names in groups.values() for one in names)])
        parser.error(f"there is no analysis {', '.join(unknown)}; choose from {known}")
    names = list(dict.fromkeys(one for name in given.names or groups for one in groups.get(name, [name])))
    warnings.showwarning = lambda message, *_, **__: print(f"Warning: {message}", file=sys.stderr)
    try:
        return _write(given, names, groups)
    except BrokenPipeError:
        raise
    except (interp.InterpError, OSError) as error:
        print(f"Error: {error}", file=sys.stderr)
        return 2


def _write(given: argparse.Namespace, names: list[str], groups: dict[str, list[str]]) -> int:
    """Write all figures and tables of these names, and return the exit status."""
    from threadpoolctl import threadpool_limits

    from interp.cli.options import DOUBTFUL
    from interp.plot.saving import draw_images
    from interp.utils.provenance import made_from

    of_run = any(name in groups["run"] for name in names)
    run = interp.load_run(given.run) if of_run or any(name in BOTH for name in names) else None
    sweeps = {
        group: interp.load_sweep(given.sweep or SHIPPED[group])
        for group in SHIPPED if any(name in groups[group] for name in names)
    }  # fmt: skip
    sizes = QUICK if given.quick else PAPER
    elsewhere = [name for name in names if name in OF_NEIGHBOURS]
    if len(names) == len(elsewhere) and len(parts(elsewhere)) == 1:
        elsewhere = []  # this process has nothing else to do

    def written(name: str) -> Written:
        try:
            if name in OF_NEIGHBOURS:
                return Written(name, neighbour(name, given.run, given.out, sizes), [])
            about: list[Any] = [run] if name in groups["run"] else []
            about += [sweep for group, sweep in sweeps.items() if name in groups[group]]
            with made_from(*about):
                if name not in MODULES:
                    assert run is not None
                    return Written(name, _draw(name, run, given.out), [])
                return Written(name, importlib.import_module(MODULES[name]).main(*about, given.out), [])
        except (interp.ConfigError, interp.Missing) as error:
            return Written(name, [], [], str(error))

    with contextlib.ExitStack() as stack:
        running = stack.enter_context(beside(elsewhere, given.run, given.out, sizes)) if elsewhere else []
        doubtful = of_run and run is not None and _say_what_it_learned(run, given.run)
        # The matrices are small: a second thread would only wait.
        stack.enter_context(threadpool_limits(1, "blas"))
        missing = stack.enter_context(interp.plot.gallery(given.out))
        bar = stack.enter_context(progress_bar("write", "figures and tables", len(names)))

        def all_written() -> Iterator[Written]:
            for name in names:
                if name not in elsewhere:
                    yield written(name)
                    yield from finished(running, wait=False)
            yield from finished(running, wait=True)

        for done, one in enumerate(all_written(), 1):
            draw_images(one.images)
            if one.missing is None:
                print(f"{one.name}: {', '.join(str(file) for file in one.files)}")
            else:
                missing[one.name] = one.missing
                print(f"Skipped {one.name}: {one.missing}", file=sys.stderr)
            if bar:
                bar.at(done, one.name)
    print(f"Next: open {given.out / 'index.html'}")
    return DOUBTFUL if doubtful and not given.anyway else 0


def _draw(name: str, run: interp.Run, out: Path) -> list[Path]:
    """Write a declared figure of a run."""
    from analyses._over_training import shown_of
    from interp.plot.declared import FIGURES
    from interp.plot.drawing import write_figure

    return write_figure(FIGURES[name], shown_of(run), out)


def _say_what_it_learned(run: interp.Run, path: str) -> bool:
    """Print the doubts, key frequencies and phases of a run, and return whether there are doubts."""
    from analyses._over_training import over_training

    measures, phases = over_training(run)
    for doubt in measures.attrs["doubts"]:
        print(f"{path}: doubt: {doubt}")
    keys = ", ".join(map(str, measures.attrs["key_frequencies"] or ())) or "none"
    doubtful = f"; doubtful: {doubt}" if (doubt := measures.attrs["key_doubt"]) else ""
    print(f"{path}: key frequencies {keys}{doubtful}")
    print(phases)
    return bool(measures.attrs["doubts"])


if __name__ == "__main__":
    sys.exit(main())
