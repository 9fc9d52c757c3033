"""The command `interp sweep`."""

from __future__ import annotations

import contextlib
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from interp.cli.options import Imported, Preset, Threshold, cell, import_own, is_given
from interp.sweeps import Engine
from interp.utils.console import console, output, say
from interp.utils.errors import ConfigError
from interp.utils.thresholds import LEARNED

if TYPE_CHECKING:
    from interp.sweeps.running import Estimate
    from interp.sweeps.table import Sweep

commands = typer.Typer()


@commands.command(
    epilog="Examples: does weight decay or learning rate change the delay at p = 23? 60 runs, then their table\n\n"
    "  interp sweep runs/delay --set p=23 --set train_fraction=0.7 --set d_model=64 --set d_mlp=256 --set steps=20000 "
    "--set weight_decay=0.5,1,2,4 --set learning_rate=0.001,0.002,0.004 --set seed=0:5 --stop-when generalized\n\n"
    "which runs these are and how long they take, without training\n\n"
    "  interp sweep runs/delay --file delay.toml --dry-run\n\n"
    "the third of sixteen shares, as an array of jobs runs them; on a Ray cluster\n\n"
    "  interp sweep /shared/delay --file delay.toml --share 3/16\n\n"
    "  interp sweep /shared/delay --file delay.toml --engine ray --address auto"
)
def sweep(
    context: typer.Context,
    path: Annotated[Path, typer.Argument(help="Directory of the sweep: all its runs and their table.", metavar="DIR")],
    words: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            help="A setting and its values, with commas: weight_decay=0.3,1,3; 0:5 is 0 to 4. All combinations of "
            "several --set are run. With --file, they replace those of each \\[grid] in it.",
            metavar="NAME=VALUES",
        ),
    ] = None,
    preset: Preset = None,
    file: Annotated[
        Path | None, typer.Option("--file", help="TOML file with a table \\[grid] of settings.", metavar="TOML")
    ] = None,
    stop_when: Annotated[
        str | None,
        typer.Option(
            help="End a run early: generalized goes on for a tenth of the steps that it took, to see whether it lasts; "
            "generalized+500 for 500 steps.",
            metavar="EVENT",
        ),
    ] = None,
    threshold: Threshold = LEARNED,
    workers: Annotated[
        int | None, typer.Option(help="Number of runs at a time on this machine. \\[default: all cores]")
    ] = None,
    threads: Annotated[int | None, typer.Option(help="Threads of each run. \\[default: 1 for a small network]")] = None,
    engine: Annotated[Engine, typer.Option(help="Where to train: on this machine, or on a Ray cluster.")] = "local",
    address: Annotated[
        str | None,
        typer.Option(help="Address of the Ray cluster, or auto. \\[default: one of this machine]", metavar="HOST:PORT"),
    ] = None,
    share: Annotated[
        str | None,
        typer.Option(help="Train only this share of the runs: 3/16 is the third of 16 shares.", metavar="I/N"),
    ] = None,
    add: Annotated[
        bool, typer.Option("--add", help="Add these runs to DIR even if they have none in common with the runs there.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="List the runs and say how long they take; train nothing.")
    ] = False,
    imported: Imported = None,
) -> None:
    """Train many runs into one directory, and write their table, results.parquet.

    Run the command again to train the rest: runs that are done are left alone, runs that were stopped go on, more steps
    extend runs, and new values add runs. Ctrl-C saves the state of all that are running. A run keeps its first and last
    checkpoints and its optimizer's state; --set checkpoint_steps=0:16000:200 keeps more.

    In Python, interp.load_sweep(DIR) gives the table and each run, and interp.plot.sweep draws the table.
    """
    from interp.runs.config import preset_settings
    from interp.sweeps.grid import configurations, parsed_settings, read_plan
    from interp.sweeps.running import estimate, sweep as run_sweep

    import_own(imported)
    options: dict[str, Any] = {"stop_when": stop_when, "threshold": threshold, "workers": workers}
    if file is not None:
        if preset is not None:
            raise ConfigError("--preset and --file both give the settings to begin with; give one of them.")
        plan = read_plan(file, parsed_settings(words or ()))
        options |= {name: value for name, value in plan.options.items() if not is_given(context, name)}
        grid: Any = plan.configs
    elif words:
        own = parsed_settings(words)
        grid = ({} if preset is None else {n: [v] for n, v in preset_settings(preset, own).items()}) | own
    else:
        raise ConfigError("A sweep needs its runs; give --set weight_decay=0.3,1,3, or --file with a TOML file.")
    configs = configurations(grid)
    options |= {"threads": threads, "share": share, "add": add}
    if dry_run:
        _print_estimate(estimate(configs, path, **options))
        return
    try:
        done = run_sweep(configs, path, **options, engine=engine, address=address)
    except KeyboardInterrupt:
        say("Stopped; all that ran is saved. The same command goes on.", to=console)
        raise typer.Exit(130) from None
    _print_sweep(done)
    if done.table["error"].notna().any():
        raise typer.Exit(1)


def _print_estimate(found: Estimate) -> None:
    for row in found.runs.to_dict("records"):
        state = "done" if row["done"] else _duration(float(row["seconds"]))
        say(f"{row['run']}  {state:>8}  {row['settings']}")
    say(
        f"{len(found.runs)} runs, {int(found.runs['done'].sum())} of them done; the others take about "
        f"{_duration(found.seconds)} with {found.workers} workers, less where they end early."
    )


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5_400 else f"{seconds / 3_600:.1f} h"


def _print_exponents(done: Sweep, varied: list[str]) -> None:
    """Print how the delay depends on the settings that vary, if enough runs generalized to tell."""
    from interp.sweeps.exponents import fit_exponents

    numbers = [name for name in varied if name in ("weight_decay", "learning_rate", "train_fraction", "p", "d_mlp")]
    frame = done.table
    swept = [name for name in numbers if (frame[name] > 0).all()]
    if not swept:
        return
    with warnings.catch_warnings(), contextlib.suppress(ConfigError):
        warnings.simplefilter("ignore", UserWarning)  # runs without a delay are counted below
        found = fit_exponents(frame, swept)
        powers = ", ".join(
            f"{name}^{v:.2f} [{low:.2f}, {high:.2f}]" for name, (v, low, high) in found.exponents.items()
        )
        runs = f"{found.runs} runs, {found.censored} censored"
        say(f"delay ∝ {powers} (95 % intervals, {found.basis}; {runs}; law {found.law}, the least AIC of four)")


def _print_sweep(done: Sweep) -> None:
    from pandas import isna as is_missing
    from rich.table import Column, Table

    from interp.sweeps.survival import counted, in_counts, outcomes
    from interp.sweeps.table import varied

    frame = done.table
    settings = varied(frame)
    shown = ["run", *settings, "last_step", "test_accuracy", "memorized", "generalized", "grokking_delay", "error"]
    if frame["error"].isna().all():
        shown.remove("error")
    table = Table(*(Column(name, overflow="fold") for name in shown), box=None, pad_edge=False)
    most = 40
    for row in frame[shown].head(most).itertuples(index=False):
        table.add_row(*(escape("–" if is_missing(value) else cell(value)) for value in row))
    output.print(table)
    if len(frame) > most:
        say(f"… and {len(frame) - most} more runs")
    _print_exponents(done, settings)
    say(f"{done.path / 'results.parquet'}: {len(frame)} runs; {in_counts(counted(outcomes(frame)))}")
    if fell := int((frame["lasted"] == False).sum()):  # noqa: E712
        say(f"{fell} of those that generalized did not keep it for a tenth of their steps (column lasted).")
