"""The `interp` command: a module for each group of its commands."""

from __future__ import annotations

import errno
import inspect
import sys
import warnings
from importlib import metadata
from typing import Annotated, Any

import typer
import typer.core
from rich.markup import escape

from interp.cli import converting, drawing, measuring, sweeping, training
from interp.utils.console import console, say
from interp.utils.errors import InterpError

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class _Commands(typer.core.TyperGroup):
    """The commands; each says so if Ctrl-C ends it, also while it loads torch. Typer alone would say nothing."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            say("Interrupted.", to=console)
            sys.exit(130)


app = typer.Typer(
    cls=_Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Train networks that grok, measure their checkpoints, find their phases, draw their figures.\n\n"
    "A look, without training anything:\n\n"
    "  interp demo                  # a small run that comes with interp: its measures, phases and figures\n\n"
    "A first session:\n\n"
    "  interp train runs/mine       # the paper's main run; groks near step 10,000\n\n"
    "  interp measure runs/mine     # progress measures of its last checkpoint\n\n"
    "  interp phases runs/mine      # memorization, circuit formation, cleanup\n\n"
    "  interp report runs/mine      # one page to look at: a slider moves every plot from step to step\n\n"
    "  interp figures runs/mine     # every figure, with captions, in figures/index.html\n\n"
    "Other people's checkpoints, in any known layout:\n\n"
    "  interp measure model.pth --split paper --seed 1",
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"interp {metadata.version('interp')}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    pass


for _group in (training, sweeping, measuring, drawing, converting):
    for _command in _group.commands.registered_commands:  # a paragraph of a docstring is one of its help, at any width
        _said = inspect.cleandoc(_command.callback.__doc__ or "") if _command.callback else ""
        _command.help = "\n\n".join(" ".join(paragraph.split()) for paragraph in _said.split("\n\n"))
    app.add_typer(_group.commands)


def main() -> None:
    """Run the command. An error raised on purpose is one sentence and exit status 2; a warning is one line."""
    said: set[str] = set()

    def show(message: Warning | str, *_: object, **__: object) -> None:
        if str(message) not in said:
            console.print(f"[bold yellow]Warning:[/] {escape(str(message))}", highlight=False, soft_wrap=True)
        said.add(str(message))

    warnings.showwarning = show
    try:
        app()
    except BrokenPipeError:  # interp.__main__ ends quietly
        raise
    except (InterpError, OSError) as error:  # a folder that cannot be made, a full disk: the system's own sentence
        sentence = str(error)
        if isinstance(error, OSError) and error.errno in _FULL and error.filename is None:  # files are named
            sentence = f"The output could not be written ({error.strerror}). Send it to another file."
        console.print(f"[bold red]Error:[/] {escape(sentence)}", highlight=False, soft_wrap=True)
        sys.exit(2)
