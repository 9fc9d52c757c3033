"""The commands that draw runs and models: `interp figures`, `demo`, `report` and `animate`."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from interp.cli.options import Imported, import_own, parse_numbers, parse_steps, reads_files
from interp.utils.console import console, output, say
from interp.utils.errors import ConfigError

commands = typer.Typer()
Folder = Annotated[Path, typer.Option("--out", "-o", help="Folder to write into.", metavar="DIR")]


@commands.command(
    epilog="Examples:\n\n  interp figures runs/mine -o figures/mine\n\n"
    "  interp figures runs/mine --figure neurons_over_pairs --step 9400 --formats svg\n\n"
    "  interp figures model.pth --split paper --seed 1\n\n  interp figures --list"
)
@reads_files
def figures(
    about: dict[str, Any],
    source: Annotated[
        str | None,
        typer.Argument(
            help="Run directory, checkpoint file, file of a whole run, log, sweep directory, or an address.",
            metavar="RUN",
        ),
    ] = None,
    out: Folder = Path("figures"),
    names: Annotated[
        list[str] | None,
        typer.Option("--figure", help="A figure to draw, in place of all; may be repeated.", metavar="NAME"),
    ] = None,
    formats: Annotated[
        str,
        typer.Option(
            help="Formats to write beside HTML: any of pdf, png, svg, jpg and webp, with commas; html for HTML alone.",
            metavar="LIST",
        ),
    ] = "pdf,png",
    step: Annotated[
        int | None,
        typer.Option(help="Draw the figures of one model from the checkpoint of this step, not from the last one."),
    ] = None,
    show_list: Annotated[bool, typer.Option("--list", help="List every figure and what it shows, and exit.")] = False,
    open_it: Annotated[bool, typer.Option("--open", help="Open the index in a browser.")] = False,
    imported: Imported = None,
) -> bool:
    """Draw every figure of a run, a checkpoint, a log or a sweep, and an index.html with their captions.

    Each figure is a page to zoom and hover over, and with Chromium or Chrome a PDF and a PNG too. The pages need no
    network. A figure that cannot be drawn is listed with the reason, at the end and in the index.

    If a model has evidently not learned the task or the split that it is measured with, a doubt says so, and the exit
    status is 3; the figures are written all the same.
    """
    import_own(imported)
    from interp.plot.drawing import figures as draw_all, list_figures, whole_of

    if show_list:
        for row in list_figures().to_dict("records"):
            output.print(f"[bold]{row['name']}[/] ({row['of']}): {escape(row['caption'])}", highlight=False)
        return False
    if source is None:
        raise ConfigError("interp figures needs a run; got none. Give its directory, as in interp figures runs/mine.")
    kinds = [one.strip() for one in formats.split(",") if one.strip() and one.strip() != "html"]
    drawn = whole_of(source, step, **about)
    missing = draw_all(drawn, out, names, kinds)
    for name, why in missing.items():
        say(f"Not drawn: {name}, since {why}", to=console)
    index = out / "index.html"
    say(f"Next: open {index}")
    if open_it:
        typer.launch(str(index))
    return bool(drawn.doubts_of_source())


@commands.command(epilog="Example:\n\n  interp demo")
def demo(
    out: Folder = Path("interp-demo"),
    open_it: Annotated[bool, typer.Option("--open/--no-open", help="Open the page in a browser.")] = True,
) -> None:
    """Show a small run that comes with interp: its measures, its phases, its interactive page, and all its figures.

    The run (a + b mod 23) memorizes, then groks. It is copied into DIR/run, for any other command to try. Its page is
    DIR/report.html, and its figures are in DIR/figures. That takes less than a minute and needs no network.
    """
    import shutil

    from interp.plot.drawing import figures as draw_all
    from interp.runs.loading import load_run
    from interp.runs.shipped import HOME
    from interp.study.phases import phases as phases_of
    from interp.study.progress import progress_measures
    from interp.utils.files import make_folder

    run_path = out / "run"
    make_folder(out)
    if not run_path.exists():
        shutil.copytree(HOME, run_path)
    run = load_run(run_path)
    say(f"{run}\n\n{progress_measures(run)}\n\n{phases_of(run)}\n")
    page = run.report().save(out / "report.html")
    missing = draw_all(run, out / "figures", formats=())
    for name, why in missing.items():
        say(f"Not drawn: {name}, since {why}", to=console)
    index = out / "figures" / "index.html"
    shown = shlex.quote(str(run_path))
    say(f"Page: {page}\nFigures: {index}\nNext: interp measure {shown} --step 100; interp phases {shown}")
    if open_it:
        typer.launch(str(page))


@commands.command(
    epilog="Examples:\n\n  interp report checkpoints/mod113-seed0 -o report.html --open\n\n"
    "  interp report runs/seed0 runs/seed1 -o both.html      two runs side by side, in step\n\n"
    "  interp report runs/sweep -o sweep.html                a sweep: its delays, its table, a page of each run\n\n"
    "  interp report --neighbours -o neighbours.html         ridge regression and double descent under sliders"
)
@reads_files
def report(
    about: dict[str, Any],
    runs: Annotated[
        list[str] | None,
        typer.Argument(
            help="One to four runs: directories, files of whole runs, or addresses. Or the directory of one sweep.",
            metavar="RUN…",
        ),
    ] = None,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="File to write, ending in .html.", metavar="FILE")
    ] = Path("report.html"),
    neighbours: Annotated[
        bool,
        typer.Option("--neighbours", help="The page of ridge regression and of double descent, instead of a run's."),
    ] = False,
    of_runs: Annotated[
        int, typer.Option("--runs", help="Of a sweep: write pages of so many of its runs, at most.", min=0)
    ] = 40,
    open_it: Annotated[bool, typer.Option("--open", help="Open the page in a browser.")] = False,
    imported: Imported = None,
) -> bool:
    """Write an interactive page of a run, in one file that opens offline in any browser and can be mailed.

    It says in words what happened. A slider over the checkpoints then moves all plots together: norms by frequency, the
    numbers on their circles, attention and neurons over pairs, the loss of every pair, and the logits of the pair that
    is pointed at, wave by wave. Several runs stand side by side, in step. The page of a sweep draws its delays and has
    a table of its runs, with a page of each run whose checkpoints are there.
    """
    import_own(imported)
    from interp.reports.neighbours import neighbours_report
    from interp.reports.report import report as make_report
    from interp.reports.run_page import checked_file
    from interp.reports.sweeps import save_sweep_report
    from interp.runs.loading import load_run
    from interp.sweeps.table import is_sweep
    from interp.utils.files import printable

    file, paths = checked_file(output), runs or []  # before anything is measured
    if neighbours == bool(paths):
        what = "no run" if not paths else f"--neighbours beside {len(paths)} more"
        raise ConfigError(f"interp report takes runs, or --neighbours alone; got {what}. Try interp report runs/mine.")
    doubts: tuple[str, ...] = ()
    if neighbours:
        neighbours_report().save(file)
    elif len(paths) == 1 and is_sweep(paths[0]):
        save_sweep_report(paths[0], file, of_runs)
    else:
        made = make_report(*[load_run(run, **about) for run in paths])
        made.save(file)
        doubts = made.doubts
    say(f"Next: open {printable(file)} ({file.stat().st_size / 1e6:.1f} MB)")
    if open_it:
        typer.launch(str(file))
    return bool(doubts)


@commands.command(
    epilog="Examples:\n\n  interp animate checkpoints/mod113-seed0 -o circles.gif\n\n"
    "  interp animate runs/mine -o circles.gif --frequencies 14,35 --fps 10 --width 960\n\n"
    "  interp animate runs/mine -o forming.gif --steps 0:9000:1000,9500,10000"
)
@reads_files
def animate(
    about: dict[str, Any],
    run: Annotated[
        str, typer.Argument(help="Run directory, file of a whole run, or the address of one.", metavar="RUN")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="File to write, ending in .gif.", metavar="FILE")],
    frequencies: Annotated[
        str | None,
        typer.Option(
            help="Up to six frequencies to draw, as in 14,35. \\[default: the key frequencies]", metavar="NUMBERS"
        ),
    ] = None,
    steps: Annotated[
        str | None,
        typer.Option(
            help="Checkpoints to draw: numbers and FIRST:LAST:EVERY, with commas. "
            "\\[default: all, or 90 of them if there are more]",
            metavar="STEPS",
        ),
    ] = None,
    fps: Annotated[
        float, typer.Option(help="Frames per second, from 1 to 50; the last frame stays for two seconds.")
    ] = 5.0,
    width: Annotated[int, typer.Option(help="Width in pixels, from 360 to 1,440; letters scale with it.")] = 720,
    imported: Imported = None,
) -> bool:
    """Write a GIF of the embedding over training, one panel per key frequency, in which its circles form.

    Each number is drawn at the projection of its embedding on two directions: those of the cosine and the sine of a
    frequency in the finished network. Noise becomes a circle while the run learns. Losses and phases are drawn beneath.
    The run is measured first, as by interp phases.

    If a model has evidently not learned the task or the split that it is measured with, a doubt says so, and the exit
    status is 3; the GIF is written all the same.
    """
    import_own(imported)
    from interp.reports.animations import animate as write_animation
    from interp.runs.loading import load_run
    from interp.utils.files import printable

    numbers = None if frequencies is None else parse_numbers("--frequencies", frequencies)
    chosen = None if steps is None else parse_steps(steps)
    done = write_animation(load_run(run, **about), output, numbers, chosen, fps=fps, width=width)
    say(
        f"{printable(done.path)}: {len(done.steps)} of {done.checkpoints} checkpoints, k = "
        f"{', '.join(map(str, done.frequencies))}, {done.path.stat().st_size / 1e6:.1f} MB",
        to=console,
    )
    return bool(done.doubts)
