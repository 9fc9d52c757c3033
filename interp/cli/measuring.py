"""The commands that measure runs and models: `interp measure`, `list-measures`, `compare` and `phases`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from interp.cli.options import (
    DOUBTFUL,
    Anyway,
    Imported,
    Measures,
    Share,
    Threshold,
    cell,
    import_own,
    parse_names,
    parse_pairs,
    reads_files,
)
from interp.utils.console import console, output, say
from interp.utils.errors import CheckpointError, ConfigError
from interp.utils.thresholds import KEY_SHARE, LEARNED

if TYPE_CHECKING:
    from interp.runs.run import Checkpoint

commands = typer.Typer()


@commands.command(
    epilog="Examples: the last checkpoint of a run, two of its steps, all of them\n\n"
    "  interp measure checkpoints/mod113-seed0\n\n"
    "  interp measure checkpoints/mod113-seed0 --step 1400 --step 9500\n\n"
    "  interp measure checkpoints/mod113-seed0 --all --parquet all.parquet\n\n"
    "only two measures; a measure of your own, declared in mine.py\n\n"
    "  interp measure checkpoints/mod113-seed0 --measures test_loss,effective_rank\n\n"
    "  interp measure checkpoints/mod113-seed0 --import mine.py --measures largest_neuron\n\n"
    "a file away from its run, published models, an address\n\n"
    "  interp measure step_00001400.safetensors --split paper --seed 0 --json\n\n"
    "  interp measure tl1.pt --split torch --seed 1 --mechanism\n\n"
    "  interp measure pizza.pt --attention-coefficient 0.804 --mechanism\n\n"
    "  interp measure hf://someone/grokking/full_run.pth --all --split paper --seed 0"
)
@reads_files
def measure(
    about: dict[str, Any],
    paths: Annotated[
        list[str],
        typer.Argument(
            help="Run directories, files of any known layout, or fsspec addresses of them (hf://…, s3://…).",
            metavar="PATH",
        ),
    ],
    step: Annotated[
        list[int] | None, typer.Option(help="Measure this step of a run, not its last; may be repeated.")
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="Measure every checkpoint of a run.")] = False,
    key: Annotated[
        list[int] | None, typer.Option(help="Key frequency to use instead of those found; may be repeated.")
    ] = None,
    share: Share = KEY_SHARE,
    mechanism: Annotated[
        bool,
        typer.Option(
            "--mechanism",
            help="Compute gradient symmetricity and distance irrelevance too, in seconds: they tell clock from pizza.",
        ),
    ] = False,
    only: Measures = None,
    imported: Imported = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, one object per line, with the arrays.")] = False,
    parquet: Annotated[
        Path | None,
        typer.Option(
            help="Write the measures that are numbers to this parquet file, one row per checkpoint.", metavar="FILE"
        ),
    ] = None,
) -> bool:
    """Print the progress measures of checkpoints: losses, key frequencies, Fourier structure, neurons.

    Losses are over the outputs 0 to p − 1; those that a run records while it trains are over "=" too.
    Key frequencies are those whose waves make up the logits. A run has the same at all steps: those of its last
    checkpoint with a test accuracy of at least 0.99, or of its last one if there is none. The layout of a file is
    recognised by its tensors; the options under Files give what the tensors do not determine.

    If a model has evidently not learned the task or the split that it is measured with, the table begins with a doubt,
    and the exit status is 3.
    """
    import json

    import pandas as pd

    from interp.measures.registry import chosen
    from interp.runs.loading import last_checkpoint, load_run
    from interp.study.progress import progress_measures
    from interp.study.progress_table import MECHANISM
    from interp.study.trajectory import trajectory
    from interp.utils.files import printable, write_parquet
    from interp.utils.provenance import made_from, provenance

    def checkpoints() -> Iterator[tuple[str, Checkpoint]]:
        for path in paths:
            if every or step:
                run = load_run(path, **about)
                steps = list(run.steps) if every else step or []
                if not steps:
                    raise CheckpointError(f"{path} has no readable checkpoint yet; let it train to its first one.")
                yield from ((path, run.at(s)) for s in steps)
            else:
                yield path, last_checkpoint(path, **about)

    import_own(imported)
    named = parse_names(only)
    if every and step:
        raise ConfigError("--all and --step both choose checkpoints of a run; give one of them.")
    if parquet and parquet.is_dir():
        raise ConfigError(
            f"--parquet {parquet} is a folder; name a file in it, such as {parquet / 'measures.parquet'}."
        )
    frames: list[pd.DataFrame] = []
    rows, doubtful = [], False
    if every and parquet and not as_json:  # trajectory() reuses the measures that a run keeps
        with_mechanism = [*(named or [one.name for one in chosen(None)]), *MECHANISM] if mechanism else named
        for path in paths:
            frame = trajectory(load_run(path, **about), key or None, share, measures=with_mechanism)
            doubtful = doubtful or bool(frame.attrs["doubts"])
            frame.insert(0, "doubts", " ".join(frame.attrs["doubts"]))
            frame.insert(0, "path", printable(path))
            frame.attrs = {}
            frames.append(frame)
    for path, checkpoint in checkpoints() if not frames else ():
        measures = progress_measures(
            checkpoint, key_frequencies=key or None, share=share, mechanism=mechanism, measures=named
        )
        doubtful = doubtful or bool(measures.doubts)
        path = printable(path)  # a name that is not UTF-8 can be opened, but neither printed nor kept
        rows.append({"path": path, "doubts": " ".join(measures.doubts), **measures.row()})
        if as_json:
            typer.echo(json.dumps({"path": path, **measures.to_dict()}))
        elif not parquet:
            output.rule(escape(path), align="left", style="dim")
            say(str(measures))
    if parquet:
        frame = pd.concat(frames or [pd.DataFrame(rows)], ignore_index=True)
        with made_from(*paths):
            write_parquet(parquet, frame, provenance().fields())
        say(f"{printable(parquet)}: {len(frame)} rows, {len(frame.columns)} columns", to=console)
    return doubtful


@commands.command(
    "list-measures", epilog="Examples:\n\n  interp list-measures\n\n  interp list-measures --import mine.py"
)
def list_measures(
    imported: Imported = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, one object per line.")] = False,
) -> None:
    """List every measure: its name, meaning, unit, result and source.

    A measure on request is computed only if --measures (in Python measures=) names it.
    """
    import json

    from rich.table import Column, Table

    from interp.measures.registry import list_measures as listed

    import_own(imported)
    rows = listed().to_dict("records")
    if as_json:
        for row in rows:
            typer.echo(json.dumps(row))
        return
    table = Table(
        Column("name", no_wrap=True), "meaning", "unit", "returns", "on request", "source", box=None, pad_edge=False
    )
    for row in rows:
        row |= {"unit": row["unit"] or "–", "on_request": "yes" if row["on_request"] else ""}
        table.add_row(*map(escape, row.values()))
    output.print(table)


@commands.command(
    epilog="Examples:\n\n  interp compare runs/one runs/two\n\n"
    "  interp compare nanda.pth runs/mine --measures test_loss,effective_rank --parquet both.parquet"
)
def compare(
    paths: Annotated[
        list[str],
        typer.Argument(help="Run directories (their last checkpoints), files, or addresses.", metavar="MODEL"),
    ],
    only: Measures = None,
    imported: Imported = None,
    mechanism: Annotated[
        bool,
        typer.Option("--mechanism", help="Also compute the two measures that tell clock from pizza; takes seconds."),
    ] = False,
    share: Share = KEY_SHARE,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, one object per model.")] = False,
    parquet: Annotated[Path | None, typer.Option(help="Write the table to this parquet file.", metavar="FILE")] = None,
    anyway: Anyway = False,
) -> None:
    """Print the measures of several models side by side, one column per model.

    If a model has evidently not learned the task that it is measured with, a doubt says so, and the exit status is 3.
    """
    from rich.table import Table

    from interp.study.progress import compare as compared
    from interp.utils.files import printable, write_parquet
    from interp.utils.provenance import made_from, provenance

    import_own(imported)
    names = {printable(path): path for path in paths}
    if len(names) < len(paths):
        raise ConfigError("compare takes different models; got one of them twice. Name each once.")
    frame = compared(names, mechanism=mechanism, share=share, measures=parse_names(only))
    frame["doubts"] = [" ".join(doubts) for doubts in frame["doubts"]]
    keys: list[Any] = [None if keys is None else list(keys) for keys in frame["key_frequencies"]]
    frame["key_frequencies"] = keys
    if as_json:
        for line in frame.to_json(orient="records", lines=True).splitlines():
            typer.echo(line)
    elif not parquet:
        table = Table("", *map(escape, frame["model"]), box=None, pad_edge=False)
        for column in frame.columns.difference(["model"], sort=False):
            table.add_row(column, *(escape(cell(value)) for value in frame[column]))
        output.print(table)
    if parquet:
        with made_from(*paths):
            write_parquet(parquet, frame, provenance().fields())
        say(f"{printable(parquet)}: {len(frame)} rows, {len(frame.columns)} columns", to=console)
    if any(frame["doubts"]) and not anyway:
        raise typer.Exit(DOUBTFUL)


@commands.command(
    epilog="Examples:\n\n  interp phases checkpoints/mod113-seed0\n\n"
    "  interp phases runs/mine --threshold 0.95 --sustain 3 --json\n\n"
    "  interp phases full_run.pth --split paper --seed 0\n\n"
    "  interp phases histories.parquet --where run=seed3"
)
@reads_files
def phases(
    about: dict[str, Any],
    run: Annotated[
        str,
        typer.Argument(
            help="Run directory, file of a whole run, the address of one, or a log (CSV, JSON, JSON lines, parquet).",
            metavar="RUN",
        ),
    ],
    threshold: Threshold = LEARNED,
    sustain: Annotated[int, typer.Option(help="Number of consecutive rows that must reach the threshold.")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, with the interval of each event.")] = False,
    every: Annotated[
        int | None, typer.Option(help="For a log without a column of steps: the number of steps between two rows.")
    ] = None,
    column: Annotated[
        list[str] | None,
        typer.Option(
            help="For a log with other column names: test_loss=val_nll reads test loss from val_nll.",
            metavar="NAME=COLUMN",
        ),
    ] = None,
    where: Annotated[
        list[str] | None,
        typer.Option(
            help="For a log of several runs: run=seed3 takes the rows whose column run is seed3; may be repeated.",
            metavar="COLUMN=VALUE",
        ),
    ] = None,
    imported: Imported = None,
) -> bool:
    """Measure every checkpoint of a run, and name the steps at which its phases end.

    Memorization ends where excluded loss is lowest, and circuit formation where test loss is under a sixth of its
    peak and stays there until the run generalizes. Cleanup ends where the log of test loss has fallen 99 % of its way,
    if the loss had settled by the end of the record. "lost" is the step at which test accuracy fell for good, and
    "dips" counts how often it fell and came back. If a run never reaches an event, its line says so. Each event is
    read from the history of the run or from its checkpoints, whichever is finer; it happened after the step in
    brackets.

    The trajectory of a run directory is kept in its measures.parquet, so a second call is instant. The columns of a
    log are matched by their names; a log gives every event but the end of memorization, which needs checkpoints.
    """
    import_own(imported)
    import json

    from interp.runs.loading import load_run
    from interp.runs.logs import is_log, read_log
    from interp.study.phase_rules import read_phases
    from interp.study.phases import records

    if is_log(run):
        if told := [option for option, value in about.items() if value is not None]:
            raise ConfigError(f"A log needs no {' and '.join(told)}; leave them out to read {run}.")
        chosen = parse_pairs(where, "--where", "COLUMN=VALUE", "run=seed3")
        columns = parse_pairs(column, "--column", "NAME=COLUMN", "test_loss=val_nll")
        frames = [read_log(run, every=every, columns=columns, where=chosen)]
    elif every is not None or column or where:
        raise ConfigError(f"--every, --column and --where describe a log; {run} is not a log. Leave them out.")
    else:
        frames = records(load_run(run, **about))
    found = read_phases(frames, threshold, sustain)
    about_keys = frames[-1].attrs  # of the trajectory, if there is one
    names = ("key_frequencies", "key_step", "key_doubt", "doubts")
    keys, key_step, key_doubt, doubts = (about_keys.get(name) for name in names)
    if as_json:
        of_both = [*(doubts or ()), *found.doubts]
        more = {"key_frequencies": keys, "key_step": key_step, "key_doubt": key_doubt, "doubts": of_both}
        typer.echo(json.dumps({**found.to_dict(), **more}))
    else:
        for doubt in doubts or ():
            say(f"doubt                  {doubt}")
        if keys:
            doubtful = f"; doubtful: {key_doubt}" if key_doubt else ""
            earlier = key_step is not None and key_step < frames[-1]["step"].max()
            of_step = f"  (of step {key_step:,}, before it was lost)" if earlier else ""
            say(f"key frequencies        {', '.join(map(str, keys))}{of_step}{doubtful}")
        say(str(found))
    return bool(doubts)
