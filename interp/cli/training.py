"""The command `interp train`, whose options are made from the settings."""

from __future__ import annotations

import functools
import inspect
import re
import shlex
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
import typer.core
from rich.markup import escape

from interp.cli.options import (
    Imported,
    Preset,
    import_own,
    imports,
    is_given,
    parameters_of,
    parse_steps,
    with_parameters,
)
from interp.runs.settings import SETTINGS, nearest_settings
from interp.utils.console import console, say
from interp.utils.errors import ConfigError

if TYPE_CHECKING:
    from interp.runs.config import TrainConfig
    from interp.runs.run import Checkpoint

commands = typer.Typer()

_NAMES = list(SETTINGS)
_VARIATIONS = _NAMES[_NAMES.index("optimizer") : _NAMES.index("checkpoint_steps")]
_WRITTEN = {  # settings that the shell writes in another form than Python: the form, and a sentence for their help
    "network": ("NAME", "--set network.d_hidden=64 gives its sizes, --import declares one of yours."),
    "betas": ("FLOAT FLOAT", "Separate them by a space: --betas 0.9 0.98."),
    "checkpoint_steps": ("STEPS", "Give numbers and FIRST:LAST:EVERY, with commas."),
}


def _option_of(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _parameter_of(name: str) -> inspect.Parameter:
    """Return a setting as a parameter from which typer makes an option."""
    setting = SETTINGS[name]
    metavar, added = _WRITTEN.get(name, (None, ""))
    meaning, _, unset = setting.meaning.partition(" None: ")
    said = " ".join(filter(None, [meaning, added, unset and f"[default: {unset.rstrip('.')}]"]))
    said = re.sub(r"`(\w+)`", lambda found: _option_of(found[1]), re.sub(r'"([^"= ]+)"', r"\1", said))
    kind: Any = str if name == "checkpoint_steps" else setting.type
    panel = "Variations" if name in _VARIATIONS else None
    option = typer.Option(_option_of(name), help=escape(said), metavar=metavar, rich_help_panel=panel)
    annotation: Any = Annotated[kind | None if setting.optional else kind, option]
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=setting.default, annotation=annotation)


def _takes_settings(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command an option for each setting; its argument `settings` is a dict of those that are given."""
    own = parameters_of(command)
    place = [one.name for one in own].index("settings")

    @functools.wraps(command)
    def with_settings(**given: Any) -> None:
        of_options = {name: given.pop(name) for name in SETTINGS}
        command(**given, settings={n: value for n, value in of_options.items() if is_given(given["context"], n)})

    return with_parameters(with_settings, [*own[:place], *map(_parameter_of, SETTINGS), *own[place + 1 :]])


class _TrainCommand(typer.core.TyperCommand):
    """The train command, whose error for an unknown option names the nearest one: --learning-rate for --lr."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        try:
            return super().parse_args(ctx, args)
        except Exception as error:  # NoSuchOption of typer or of click, as typer's version has it
            if hasattr(error, "possibilities") and (near := nearest_settings(getattr(error, "option_name", ""))):
                error.possibilities = [_option_of(name) for name in near]
            raise


@commands.command(
    cls=_TrainCommand,
    epilog="Examples: the paper's main run, which groks near step 10,000 (all of it takes 7 minutes on two cores)\n\n"
    "  interp train runs/mainline\n\n"
    "smaller moduli, which need more of their pairs: both grok near step 1,100, in half a minute and in two\n\n"
    "  interp train runs/tiny --p 31 --train-fraction 0.8 --steps 2000\n\n"
    "  interp train runs/small --p 59 --train-fraction 0.5 --seed 3 --steps 5000\n\n"
    "a small network that groks in half a minute\n\n"
    "  interp train runs/fast --preset fast\n\n"
    "the same with checkpoints at chosen steps\n\n"
    "  interp train runs/dense --checkpoint-steps 0,100,8000:13000:50\n\n"
    "to go on after a stop, or to train further than planned\n\n"
    "  interp train runs/mainline --resume\n\n"
    "  interp train runs/small --resume --steps 8000\n\n"
    "another network, with a setting varied\n\n"
    "  interp train runs/hidden --preset fast --network one_hidden_layer --set network.d_hidden=128 --dropout 0.1\n\n"
    "from a checkpoint on, without weight decay\n\n"
    "  interp train runs/undecayed --from runs/mainline@9000 --set weight_decay=0",
)
@_takes_settings
def train(
    *,
    context: typer.Context,
    run: Annotated[
        Path | None,
        typer.Argument(help="Run directory to write. \\[default: runs/OPERATION-P-seedSEED]", metavar="RUN"),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the run that stopped in RUN, or start it if there is none.")
    ] = False,
    preset: Preset = None,
    settings: dict[str, Any],
    start: Annotated[
        str | None,
        typer.Option(
            "--from",
            help="Begin with the weights of this checkpoint: a file, a run (its last), or RUN@STEP. The settings are "
            "those of its run, unless options change them.",
            metavar="RUN@STEP",
        ),
    ] = None,
    with_optimizer: Annotated[
        bool,
        typer.Option(
            "--with-optimizer",
            help="With --from, begin with the optimizer's state too, which a run has for its newest step.",
        ),
    ] = False,
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", help="Any setting, as in --set weight_decay=0; may be repeated.", metavar="NAME=VALUE"),
    ] = None,
    threads: Annotated[
        int | None,
        typer.Option(help="Number of threads to compute on. \\[default: 1 for a small network, else all cores]", min=1),
    ] = None,
    with_report: Annotated[
        bool,
        typer.Option(
            "--report",
            help="Write RUN/report.html, the page of interp report: at checkpoints, while pages have taken less than a "
            "fortieth of the time, and at the end.",
        ),
    ] = False,
    imported: Imported = None,
) -> None:
    """Train on modular arithmetic into a run directory; the defaults are the main run of Nanda et al. (2023).

    Ctrl-C stops the training and loses nothing: --resume goes on, bit for bit as if it had never stopped.
    """
    from interp.runs.config import TrainConfig, preset_settings
    from interp.runs.directory import read_config
    from interp.runs.names import CONFIG
    from interp.training.loop import TrainingInterrupted, train as train_run

    import_own(imported)
    if "checkpoint_steps" in settings:
        settings["checkpoint_steps"] = parse_steps(settings["checkpoint_steps"])
    settings |= _single_values(changes)
    checkpoint = None if start is None else _checkpoint_at(start)
    base = TrainConfig(**({} if preset is None else preset_settings(preset, settings)))
    if checkpoint is not None:
        base = _settings_of(checkpoint)
    if run is None:
        named = base.changed(settings)
        run = Path("runs") / f"{named.operation}-{named.p}-seed{named.seed}"
    begun = resume and (run / CONFIG).exists()
    if resume and not begun:
        say(f"{run} holds no run yet, so one begins there with the settings given.", to=console)
    config = (read_config(run) if begun else base).changed(settings)
    page = None
    if with_report:
        from interp.reports.live import LivePage

        page = LivePage(run, run / "report.html")
    try:
        trained = train_run(
            config, run, resume=resume, threads=threads, start=None if begun else checkpoint,
            with_optimizer=with_optimizer and not begun, on_checkpoint=page,
        )  # fmt: skip
    except TrainingInterrupted as stop:
        say(f"Stopped at step {stop.step:,}; all of it is saved.", to=console)
        say(f"Go on with: interp train {shlex.quote(str(run))} --resume{imports(imported)}", to=console)
        raise typer.Exit(128 + stop.signum) from None
    last = trained.history.iloc[-1]
    say(
        f"{trained.path}: step {int(last['step']):,}, {len(trained)} checkpoints; loss train {last['train_loss']:.3g}, "
        f"test {last['test_loss']:.3g}; accuracy train {last['train_accuracy']:.3f}, test {last['test_accuracy']:.3f}",
        to=console,
    )
    if page:
        page.finish()
    shown = shlex.quote(str(page.page if page else run))
    say(f"Next: open {shown}" if page else f"Next: interp phases {shown}{imports(imported)}", to=console)


def _single_values(words: list[str] | None) -> dict[str, Any]:
    """Return the settings that --set gives, each with one value."""
    from interp.sweeps.grid import parsed_settings

    grid = parsed_settings(words or ())
    if several := [name for name, values in grid.items() if len(values) > 1]:
        raise ConfigError(
            f"--set of interp train takes one value; got {len(grid[several[0]])} of {several[0]}. Use interp sweep for "
            "several runs."
        )
    return {name: values[0] for name, values in grid.items()}


def _checkpoint_at(address: str) -> Checkpoint:
    """Return the checkpoint that RUN@STEP, a run or a file names."""
    from interp.runs.loading import last_checkpoint, load_run

    run, at, step = address.rpartition("@")
    if at and step.isdecimal():
        return load_run(run).at(int(step))
    return last_checkpoint(address)


def _settings_of(checkpoint: Checkpoint) -> TrainConfig:
    """Return the settings of a checkpoint's run; for a lone checkpoint, the defaults with its task and network."""
    from interp.networks import Network
    from interp.runs.config import TrainConfig

    if checkpoint.run is not None and checkpoint.run.config is not None:
        return replace(checkpoint.run.config, checkpoint_steps=None)
    sizes, task = checkpoint.config, checkpoint.task
    if not isinstance(sizes, Network):
        raise ConfigError(f"--from takes a network that interp trains; {checkpoint.path} holds {type(sizes).__name__}.")
    return TrainConfig(p=task.p, operation=task.operation, network=sizes)
