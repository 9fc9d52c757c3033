"""The command `interp convert`."""

from __future__ import annotations

import contextlib
import shlex
from pathlib import Path
from typing import Annotated, Any

import typer

from interp.cli.options import reads_files
from interp.utils.console import console, say
from interp.utils.errors import CheckpointError

commands = typer.Typer()


@commands.command(
    epilog="Examples: a published model, a whole published run, one from a hub\n\n"
    "  interp convert model.pth runs/paper-seed1 --split paper --seed 1\n\n"
    "  interp convert full_run.pth runs/mainline --split paper --seed 0\n\n"
    "  interp convert hf://someone/grokking/demo.pth runs/demo"
)
@reads_files
def convert(
    about: dict[str, Any],
    source: Annotated[str, typer.Argument(help="File of any known layout, or its address.", metavar="SOURCE")],
    run: Annotated[Path, typer.Argument(help="Run directory to write.", metavar="RUN_DIR")],
    step: Annotated[
        int | None, typer.Option(help="Step of a single checkpoint, if its file does not record it.")
    ] = None,
) -> bool:
    """Convert a checkpoint or whole run of other code to a run directory: weights, split and losses, without pickle.

    If the last checkpoint has evidently not learned the task or the split that is written down, a doubt says so, and
    the exit status is 3; the directory is written all the same.
    """
    from interp.runs.converting import convert as convert_file
    from interp.study.doubts import run_doubts, warn_of

    written = convert_file(source, run, step=step, **about)
    steps = written.steps
    named = f"steps {steps[0]:,} to {steps[-1]:,}" if len(steps) > 1 else f"step {steps[0]:,}"
    known = "its split" if written.train_mask is not None else "no split (--split and --seed would give it one)"
    say(f"{run}: {len(steps)} checkpoint{'s' * (len(steps) > 1)}, {named}, p = {written.task.p}, {known}", to=console)
    doubts = read = written.doubts  # of which a warning has told already
    with contextlib.suppress(CheckpointError):  # a diverged network cannot be measured
        doubts = run_doubts(written)
    warn_of(doubts[len(read) :], run)
    say(f"Next: interp measure {shlex.quote(str(run))}", to=console)
    return bool(doubts)
