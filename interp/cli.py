"""The `interp` command: a function for each of its commands, from train to convert."""

from __future__ import annotations

import contextlib
import inspect
import shlex
import sys
import warnings
from collections.abc import Iterator
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
import typer.core
from rich.markup import escape

from interp.config import (
    Loss,
    Optimizer,
    Schedule,
    TrainConfig,
    check_number_of_checkpoints,
    nearest_settings,
    preset_settings,
)
from interp.console import console, output as console_out
from interp.errors import CheckpointError, ConfigError, InterpError
from interp.networks.base import Activation, Network
from interp.networks.transformer import Init
from interp.sweeps.grid import Engine
from interp.task import Operation, Split, Task

if TYPE_CHECKING:
    from interp.run import Checkpoint
    from interp.sweeps.running import Estimate
    from interp.sweeps.table import Sweep

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Train networks that grok, measure their checkpoints, find their phases, draw their figures.\n\n"
    "A look, without training anything:\n\n"
    "  interp demo                  # a small run that comes with interp: its measures, phases and figures\n\n"
    "A first session:\n\n"
    "  interp train runs/mine       # the paper's main run; groks at step 10,430\n\n"
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


_DEFAULT = TrainConfig()
Preset = Annotated[
    str | None,
    typer.Option(
        "--preset",
        help="Settings to begin with. fast: p = 23, which memorizes by step 60 and generalizes near step 1,000 (all of "
        "20 seeds by 2,620), in half a minute on one core.",
        metavar="NAME",
    ),
]
_DOUBTFUL = 3  # exit status where it is in doubt what a model learned


def _given(context: typer.Context, name: str) -> bool:
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def parse_steps(text: str) -> tuple[int, ...]:
    """Steps from "0,100,1000:2000:250": numbers, and FIRST:LAST:EVERY with both ends included."""
    steps: list[int] = []
    for piece in text.split(","):
        try:
            numbers = [int(number) for number in piece.split(":")]
        except ValueError:
            numbers = []
        match numbers:
            case [step]:
                steps.append(step)
            case [first, last, every] if every > 0 and last >= first:
                check_number_of_checkpoints(len(steps) + (last - first) // every + 1)
                steps.extend(range(first, last + 1, every))
            case _:
                raise typer.BadParameter(f"{piece!r} is neither a step nor FIRST:LAST:EVERY, as in 0,100,1000:2000:250")
    return tuple(steps)


Imported = Annotated[
    list[str] | None,
    typer.Option(
        "--import",
        help="A Python file or module that declares your own measures (@interp.measure), networks (@interp.network) or "
        "figures (@interp.figure); may be repeated.",
        metavar="FILE_OR_MODULE",
    ),
]


def _import(names: list[str] | None) -> None:
    """Import the files and modules that declare a user's measures and networks; ConfigError where that fails."""
    from interp.imports import import_all

    import_all(names or ())


class _TrainCommand(typer.core.TyperCommand):
    """The train command, which names the option that another name may mean: --learning-rate for --lr."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        try:
            return super().parse_args(ctx, args)
        except Exception as error:  # typer's own NoSuchOption, or click's, by its version
            if hasattr(error, "possibilities") and (near := nearest_settings(getattr(error, "option_name", ""))):
                error.possibilities = [f"--{name.replace('_', '-')}" for name in near]
            raise


@app.command(
    cls=_TrainCommand,
    epilog="Examples: the paper's main run, which groks at step 10,430 (all of it takes 7 minutes on two cores)\n\n"
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
def train(
    context: typer.Context,
    run: Annotated[
        Path | None,
        typer.Argument(help="Run directory to write. \\[default: runs/OPERATION-P-seedSEED]", metavar="RUN"),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the run that stopped in RUN, or start it if there is none.")
    ] = False,
    preset: Preset = None,
    p: Annotated[int, typer.Option("--p", help="Modulus, at least 2.")] = _DEFAULT.p,
    operation: Annotated[
        Operation, typer.Option(help="a + b, a - b, a² + ab + b², or random labels, all mod p.")
    ] = _DEFAULT.operation,
    train_fraction: Annotated[
        float,
        typer.Option(
            help="Share of the p*p pairs to train on, between 0 and 1. Below p = 89 give more than 0.3, or the run "
            "groks late or never: 0.5 for p = 59, 0.7 for p = 31."
        ),
    ] = _DEFAULT.train_fraction,
    split: Annotated[
        Split, typer.Option(help="How the train pairs are drawn: Python's shuffle (paper), or torch.randperm.")
    ] = "paper",
    seed: Annotated[
        int, typer.Option(help="Seed of the initial weights, of the split and of random labels.")
    ] = _DEFAULT.seed,
    split_seed: Annotated[
        int | None, typer.Option(help="Seed of the split alone. \\[default: the same as --seed]")
    ] = None,
    network: Annotated[
        str | None,
        typer.Option(
            help="Network: one_hidden_layer, layered_transformer, transformer, or one of yours (--import); --set "
            "network.d_hidden=64 says its sizes. \\[default: the transformer of the next options]",
            metavar="NAME",
        ),
    ] = None,
    d_model: Annotated[int, typer.Option(help="Width of the residual stream.")] = _DEFAULT.d_model,
    n_heads: Annotated[
        int, typer.Option(help="Number of attention heads; each is d_model / n_heads wide.")
    ] = _DEFAULT.n_heads,
    d_mlp: Annotated[int, typer.Option(help="Number of neurons of the MLP.")] = _DEFAULT.d_mlp,
    activation: Annotated[
        Literal["relu", "gelu", "gelu_new"],
        typer.Option(help="Activation function of the neurons; gelu_new is GELU approximated by tanh."),
    ] = "relu",
    init: Annotated[
        Init, typer.Option(help="Initial weights: drawn as in the paper, or as TransformerLens draws them.")
    ] = _DEFAULT.init,
    steps: Annotated[int, typer.Option(help="Number of updates.")] = _DEFAULT.steps,
    learning_rate: Annotated[float, typer.Option(help="Learning rate after the warmup.")] = _DEFAULT.learning_rate,
    betas: Annotated[
        tuple[float, float],
        typer.Option(help="Both betas of AdamW, separated by a space: --betas 0.9 0.98.", metavar="FLOAT FLOAT"),
    ] = _DEFAULT.betas,
    weight_decay: Annotated[
        float, typer.Option(help="Weight decay, on the weights that --weight-decay-on names.")
    ] = _DEFAULT.weight_decay,
    warmup_steps: Annotated[
        int, typer.Option(help="Number of updates over which the learning rate grows from 0.")
    ] = _DEFAULT.warmup_steps,
    optimizer: Annotated[
        Optimizer,
        typer.Option(
            help="adamw, sgd (with --momentum), or muon on the matrices and adamw on the rest.",
            rich_help_panel="Variations",
        ),
    ] = _DEFAULT.optimizer,
    momentum: Annotated[
        float,
        typer.Option(
            help="Momentum of sgd and muon.",
            rich_help_panel="Variations",
        ),
    ] = _DEFAULT.momentum,
    weight_decay_on: Annotated[
        str,
        typer.Option(
            help="Which weights decay: all, or names as in W_E+W_U.",
            rich_help_panel="Variations",
        ),
    ] = _DEFAULT.weight_decay_on,
    l1: Annotated[
        float,
        typer.Option(
            help="Factor of an L1 term, which adds the sum of all absolute weights to the loss that is minimized.",
            rich_help_panel="Variations",
        ),
    ] = _DEFAULT.l1,
    lr_schedule: Annotated[
        Schedule,
        typer.Option(
            help="Learning rate after the warmup: constant, or falling to 0 at the last step.",
            rich_help_panel="Variations",
        ),
    ] = _DEFAULT.lr_schedule,
    batch_size: Annotated[
        int | None,
        typer.Option(
            help="Number of train pairs in each update, shuffled each epoch. \\[default: all]",
            rich_help_panel="Variations",
        ),
    ] = _DEFAULT.batch_size,
    dropout: Annotated[
        float,
        typer.Option(
            help="Share of neurons dropped in each update.",
            rich_help_panel="Variations",
        ),
    ] = _DEFAULT.dropout,
    attention_dropout: Annotated[
        float,
        typer.Option(
            help="Share of the entries of attention patterns dropped in each update.", rich_help_panel="Variations"
        ),
    ] = _DEFAULT.attention_dropout,
    label_noise: Annotated[
        float,
        typer.Option(
            help="Share of train pairs that get a wrong label.",
            rich_help_panel="Variations",
        ),
    ] = _DEFAULT.label_noise,
    init_scale: Annotated[
        float,
        typer.Option(
            help="Factor by which all initial weights are multiplied (Omnigrok).",
            rich_help_panel="Variations",
        ),
    ] = _DEFAULT.init_scale,
    fixed_norm: Annotated[
        bool,
        typer.Option(
            "--fixed-norm",
            help="Scale the weights back to their first norm after each update (Omnigrok).",
            rich_help_panel="Variations",
        ),
    ] = _DEFAULT.fixed_norm,
    loss: Annotated[
        Loss,
        typer.Option(
            help="cross_entropy, or stablemax (Prieto et al., 2025).",
            rich_help_panel="Variations",
        ),
    ] = _DEFAULT.loss,
    orthogonal_gradient: Annotated[
        bool,
        typer.Option(
            "--orthogonal-gradient",
            help="Remove from the gradient of each weight its component along that weight (Prieto et al., 2025).",
            rich_help_panel="Variations",
        ),
    ] = _DEFAULT.orthogonal_gradient,
    grokfast: Annotated[
        float,
        typer.Option(
            help="Amplification: the gradient gets this times its moving average added (Lee et al., 2024).",
            rich_help_panel="Variations",
        ),
    ] = _DEFAULT.grokfast,
    grokfast_decay: Annotated[
        float,
        typer.Option(
            help="Decay of that moving average per step.",
            rich_help_panel="Variations",
        ),
    ] = _DEFAULT.grokfast_decay,
    checkpoint_steps: Annotated[
        str | None,
        typer.Option(
            help="Steps to save: numbers and FIRST:LAST:EVERY, with commas. "
            "\\[default: 0,1,2,5,10,20,50,100, every 200, the last]",
            metavar="STEPS",
        ),
    ] = None,
    history_every: Annotated[
        int, typer.Option(help='Record losses and accuracies every this many steps; they count "=" among the outputs.')
    ] = _DEFAULT.history_every,
    device: Annotated[
        str, typer.Option(help="Where to train: cpu, cuda, cuda:1, mps, or auto for the best of these.")
    ] = _DEFAULT.device,
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
    from interp.run import CONFIG, read_config
    from interp.training import TrainingInterrupted, train as train_run

    _import(imported)
    plain: dict[str, Any] = {"highlight": False, "markup": False, "soft_wrap": True}
    settings = {
        name: value for name, value in context.params.items() if name in TrainConfig.names() and _given(context, name)
    }
    if checkpoint_steps is not None:
        settings["checkpoint_steps"] = parse_steps(checkpoint_steps)
    settings |= _single_values(changes)
    checkpoint = None if start is None else _checkpoint_at(start)
    base = _DEFAULT if preset is None else TrainConfig(**preset_settings(preset, settings))
    if checkpoint is not None:
        base = _settings_of(checkpoint)
    if run is None:
        named = base.changed(settings)
        run = Path("runs") / f"{named.operation}-{named.p}-seed{named.seed}"
    begun = resume and (run / CONFIG).exists()
    config = (read_config(run) if begun else base).changed(settings)
    if begun:
        checkpoint = None  # which it began with
    page = None
    if with_report:
        from interp.reports.live import LivePage

        page = LivePage(run, run / "report.html")
    try:
        trained = train_run(
            config, run, resume=resume, threads=threads, start=checkpoint, with_optimizer=with_optimizer and not begun,
            on_checkpoint=page,
        )  # fmt: skip
    except TrainingInterrupted as stop:
        console.print(f"Stopped at step {stop.step:,}; all of it is saved.", **plain)
        console.print(f"Go on with: interp train {shlex.quote(str(run))} --resume{_imports(imported)}", **plain)
        raise typer.Exit(128 + stop.signum) from None
    last = trained.history.iloc[-1]
    console.print(
        f"{trained.path}: step {int(last['step']):,}, {len(trained)} checkpoints; loss train {last['train_loss']:.3g}, "
        f"test {last['test_loss']:.3g}; accuracy train {last['train_accuracy']:.3f}, test {last['test_accuracy']:.3f}",
        **plain,
    )
    if page:
        page.finish()
    following = (
        f"open {shlex.quote(str(page.page))}" if page else f"interp phases {shlex.quote(str(run))}{_imports(imported)}"
    )
    console.print(f"Next: {following}", **plain)


def _imports(names: list[str] | None) -> str:
    """Return the options that import these again."""
    return "".join(f" --import {shlex.quote(name)}" for name in names or ())


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
    from interp.published import last_checkpoint, load_run

    run, at, step = address.rpartition("@")
    if at and step.isdecimal():
        return load_run(run).at(int(step))
    return last_checkpoint(address)


def _settings_of(checkpoint: Checkpoint) -> TrainConfig:
    """Return the settings of the run of a checkpoint, or the defaults with the task and sizes of a lone one."""
    if checkpoint.run is not None and checkpoint.run.config is not None:
        return replace(checkpoint.run.config, checkpoint_steps=None)
    sizes, task = checkpoint.config, checkpoint.task
    if not isinstance(sizes, Network):
        raise ConfigError(f"--from takes a network that interp trains; {checkpoint.path} holds {type(sizes).__name__}.")
    return TrainConfig(p=task.p, operation=task.operation, network=sizes)


# Options for what a file may not determine, the same for every command that reads one.
Modulus = Annotated[
    int | None, typer.Option("--p", help="Modulus, if the vocabulary does not determine it.", rich_help_panel="Files")
]
FileOperation = Annotated[
    Operation | None,
    typer.Option(
        "--operation", help="Task that the model learned, as in interp train. \\[default: add]", rich_help_panel="Files"
    ),
]
FileSplit = Annotated[
    Split | None,
    typer.Option("--split", help="How the train pairs (three tenths of all) were drawn.", rich_help_panel="Files"),
]
SplitSeed = Annotated[int | None, typer.Option("--seed", help="Seed of that split.", rich_help_panel="Files")]
Coefficient = Annotated[
    float | None,
    typer.Option(
        "--attention-coefficient",
        help="For a model with two positions: 1 if its attention is softmax, 0 if it is constant.",
        rich_help_panel="Files",
    ),
]
Heads = Annotated[
    int | None,
    typer.Option(
        "--n-heads",
        help="Number of heads, if the state dict of a bridge does not determine it.",
        rich_help_panel="Files",
    ),
]
FileActivation = Annotated[
    Activation | None,
    typer.Option("--activation", help="Activation function of the neurons. \\[default: relu]", rich_help_panel="Files"),
]


Anyway = Annotated[
    bool,
    typer.Option(
        "--anyway",
        help="Exit with 0 instead of 3 if it is doubtful what the model learned.",
        rich_help_panel="Files",
    ),
]


def _about_file(
    path: str,
    p: int | None,
    operation: Operation | None,
    split: Split | None,
    seed: int | None,
    attention_coefficient: float | None,
    n_heads: int | None,
    activation: Activation | None,
) -> dict[str, Any]:
    """Return those options as the arguments of `load_checkpoint` and `load_run`."""
    about = {
        "task": operation if p is None else Task(p, operation or "add"),
        "split": split,
        "seed": seed,
        "attention_coefficient": attention_coefficient,
        "n_heads": n_heads,
        "activation": activation,
    }
    return {name: value for name, value in about.items() if value is not None}


@app.command(
    epilog="Examples: does weight decay or learning rate change the delay at p = 23? 60 runs, then their table\n\n"
    "  interp sweep runs/delay --set p=23 --set train_fraction=0.7 --set d_model=64 --set d_mlp=256 --set steps=20000 "
    "--set weight_decay=0.5,1,2,4 --set learning_rate=0.001,0.002,0.004 --set seed=0:5 --stop-when generalized\n\n"
    "which runs these are and how long they take, without training\n\n"
    "  interp sweep runs/delay --file delay.toml --dry-run\n\n"
    "the third of sixteen shares, as an array of jobs runs them; on a Ray cluster\n\n"
    "  interp sweep /shared/delay --file delay.toml --share 3/16\n\n"
    "  interp sweep /shared/delay --file delay.toml --engine ray --address auto",
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
        typer.Option(help="End a run early: generalized, or generalized+500 for 500 steps more.", metavar="EVENT"),
    ] = None,
    threshold: Annotated[
        float, typer.Option(help="Accuracy, as a fraction, from which train and test pairs count as learned.")
    ] = 0.99,
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

    Run the command again to do what is missing: runs that are done are left alone, runs that were stopped go on,
    more steps extend runs, and new values add runs. Ctrl-C saves the state of all that are running. A run keeps its
    first and last checkpoints and its optimizer's state; --set checkpoint_steps=0:16000:200 keeps more.

    In Python, interp.load_sweep(DIR) gives the table and each run, and interp.plot.sweep draws the table.
    """
    from interp.sweeps.grid import configurations, parsed_settings, read_plan
    from interp.sweeps.running import estimate, sweep as run_sweep

    _import(imported)
    options: dict[str, Any] = {"stop_when": stop_when, "threshold": threshold, "workers": workers}
    if file is not None:
        if preset is not None:
            raise ConfigError("--preset and --file both say what to begin with; give one of them.")
        plan = read_plan(file, parsed_settings(words or ()))
        options |= {name: value for name, value in plan.options.items() if not _given(context, name)}
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
        console.print("Stopped; all that ran is saved. The same command goes on.", highlight=False)
        raise typer.Exit(130) from None
    _print_sweep(done)
    if done.table["error"].notna().any():
        raise typer.Exit(1)


def _print_estimate(found: Estimate) -> None:
    plain: dict[str, Any] = {"highlight": False, "markup": False, "soft_wrap": True}
    rows = found.runs
    for row in rows.to_dict("records"):
        state = "done" if row["done"] else _duration(float(row["seconds"]))
        console_out.print(f"{row['run']}  {state:>8}  {row['settings']}", **plain)
    console_out.print(
        f"{len(rows)} runs, {int(rows['done'].sum())} of them done; the others take about "
        f"{_duration(found.seconds)} with {found.workers} workers, less where they end early.", **plain
    )  # fmt: skip


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5_400 else f"{seconds / 3_600:.1f} h"


def _print_exponents(done: Sweep, varied: list[str]) -> None:
    """Print how the delay depends on the settings that vary, if enough runs generalized to tell."""
    from interp.survival import fit_exponents

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
        console_out.print(
            f"delay ∝ {powers} (95 % intervals; {found.runs} runs, {found.censored} censored)",
            highlight=False, markup=False, soft_wrap=True,
        )  # fmt: skip


def _print_sweep(done: Sweep) -> None:
    from pandas import isna as is_missing
    from rich.table import Column, Table

    from interp.sweeps.table import varied

    frame = done.table
    settings = varied(frame)
    shown = ["run", *settings, "last_step", "test_accuracy", "memorized", "generalized", "grokking_delay", "error"]
    if frame["error"].isna().all():
        shown.remove("error")
    table = Table(*(Column(name, overflow="fold") for name in shown), box=None, pad_edge=False)
    most = 40
    for row in frame[shown].head(most).itertuples(index=False):
        table.add_row(*(escape("–" if is_missing(value) else _cell(value)) for value in row))
    console_out.print(table)
    if len(frame) > most:
        console_out.print(f"… and {len(frame) - most} more runs", highlight=False)
    _print_exponents(done, settings)
    learned, censored = int(frame["generalized"].notna().sum()), int((frame["censored"] == True).sum())  # noqa: E712
    console_out.print(
        f"{done.path / 'results.parquet'}: {len(frame)} runs; {learned} generalized, {censored} had not by their last "
        f"step, {int(frame['error'].notna().sum())} failed", highlight=False, markup=False, soft_wrap=True,
    )  # fmt: skip


@app.command(
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
    "  interp measure hf://someone/grokking/full_run.pth --all --split paper --seed 0",
)
def measure(
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
    share: Annotated[
        float, typer.Option(help="A frequency is key if its share of the squared cos coefficients exceeds this.")
    ] = 0.01,
    mechanism: Annotated[
        bool,
        typer.Option(
            "--mechanism",
            help="Compute gradient symmetricity and distance irrelevance too, in seconds: they tell clock from pizza.",
        ),
    ] = False,
    only: Annotated[
        str | None,
        typer.Option(
            "--measures",
            help="Compute only these: names separated by commas; interp list-measures shows all.",
            metavar="NAMES",
        ),
    ] = None,
    imported: Imported = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, one object per line, with the arrays.")] = False,
    parquet: Annotated[
        Path | None,
        typer.Option(
            help="Write the measures that are numbers to this parquet file, one row per checkpoint.", metavar="FILE"
        ),
    ] = None,
    split: FileSplit = None,
    seed: SplitSeed = None,
    attention_coefficient: Coefficient = None,
    p: Modulus = None,
    operation: FileOperation = None,
    n_heads: Heads = None,
    activation: FileActivation = None,
    anyway: Anyway = False,
) -> None:
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

    from interp.disk import printable, write_parquet
    from interp.measures.registry import chosen
    from interp.progress import MECHANISM, progress_measures
    from interp.published import last_checkpoint, load_run
    from interp.trajectories import trajectory

    def checkpoints() -> Iterator[tuple[str, Checkpoint]]:
        for path in paths:
            about = _about_file(path, p, operation, split, seed, attention_coefficient, n_heads, activation)
            if every or step:
                run = load_run(path, **about)
                steps = list(run.steps) if every else step or []
                if not steps:
                    raise CheckpointError(f"{path} has no readable checkpoint yet; let it train to its first one.")
                yield from ((path, run.at(s)) for s in steps)
            else:
                yield path, last_checkpoint(path, **about)

    _import(imported)
    named = None if only is None else [name.strip() for name in only.split(",")]
    if every and step:
        raise ConfigError("--all and --step both choose checkpoints of a run; give one of them.")
    if parquet and parquet.is_dir():
        raise ConfigError(
            f"--parquet {parquet} is a folder; name a file in it, such as {parquet / 'measures.parquet'}."
        )
    frames: list[pd.DataFrame] = []
    rows = []
    doubtful = False
    if every and parquet and not as_json:  # of a run that has been measured, nothing is measured again
        with_mechanism = [*(named or [one.name for one in chosen(None)]), *MECHANISM] if mechanism else named
        for path in paths:
            about = _about_file(path, p, operation, split, seed, attention_coefficient, n_heads, activation)
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
        path = printable(path)  # names that are not UTF-8 can be opened, but neither printed nor kept
        rows.append({"path": path, "doubts": " ".join(measures.doubts), **measures.row()})
        if as_json:
            typer.echo(json.dumps({"path": path, **measures.to_dict()}))
        elif not parquet:
            console_out.rule(escape(path), align="left", style="dim")
            console_out.print(str(measures), highlight=False, markup=False, soft_wrap=True)
    if parquet:
        frame = pd.concat(frames or [pd.DataFrame(rows)], ignore_index=True)
        write_parquet(parquet, frame)
        console.print(
            f"{printable(parquet)}: {len(frame)} rows, {len(frame.columns)} columns", highlight=False, markup=False
        )
    if doubtful and not anyway:
        raise typer.Exit(_DOUBTFUL)


@app.command(
    "list-measures",
    epilog="Examples:\n\n  interp list-measures\n\n  interp list-measures --import mine.py",
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

    _import(imported)
    rows = listed().to_dict("records")
    if as_json:
        for row in rows:
            typer.echo(json.dumps(row))
        return
    table = Table(
        Column("name", no_wrap=True), "meaning", "unit", "returns", "on request", "source", box=None, pad_edge=False
    )
    for row in rows:
        cells = (
            row["name"],
            row["title"],
            row["unit"] or "–",
            row["shape"],
            "yes" if row["on_request"] else "",
            row["source"],
        )
        table.add_row(*map(escape, cells))
    console_out.print(table)


@app.command(
    epilog="Examples:\n\n  interp compare runs/one runs/two\n\n"
    "  interp compare nanda.pth runs/mine --measures test_loss,effective_rank --parquet both.parquet",
)
def compare(
    paths: Annotated[
        list[str],
        typer.Argument(help="Run directories (their last checkpoints), files, or addresses.", metavar="MODEL"),
    ],
    only: Annotated[
        str | None,
        typer.Option(
            "--measures",
            help="Compute only these: names separated by commas; interp list-measures shows all.",
            metavar="NAMES",
        ),
    ] = None,
    imported: Imported = None,
    mechanism: Annotated[
        bool,
        typer.Option("--mechanism", help="Also compute the two measures that tell clock from pizza; takes seconds."),
    ] = False,
    share: Annotated[
        float, typer.Option(help="A frequency is key if its share of the squared cos coefficients exceeds this.")
    ] = 0.01,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, one object per model.")] = False,
    parquet: Annotated[Path | None, typer.Option(help="Write the table to this parquet file.", metavar="FILE")] = None,
    anyway: Anyway = False,
) -> None:
    """Print the measures of several models side by side, one column per model.

    If a model has evidently not learned the task that it is measured with, a doubt says so, and the exit status is 3.
    """
    from rich.table import Table

    from interp.disk import printable, write_parquet
    from interp.progress import compare as compared

    _import(imported)
    names = {printable(path): path for path in paths}
    if len(names) < len(paths):
        raise ConfigError("compare takes different models; got one of them twice. Name each once.")
    measures = None if only is None else [name.strip() for name in only.split(",")]
    frame = compared(names, mechanism=mechanism, share=share, measures=measures)
    frame["doubts"] = [" ".join(doubts) for doubts in frame["doubts"]]
    keys: list[Any] = [None if keys is None else list(keys) for keys in frame["key_frequencies"]]
    frame["key_frequencies"] = keys
    if as_json:
        for line in frame.to_json(orient="records", lines=True).splitlines():
            typer.echo(line)
    elif not parquet:
        table = Table("", *map(escape, frame["model"]), box=None, pad_edge=False)
        for column in frame.columns.difference(["model"], sort=False):
            table.add_row(column, *(escape(_cell(value)) for value in frame[column]))
        console_out.print(table)
    if parquet:
        write_parquet(parquet, frame)
        console.print(
            f"{printable(parquet)}: {len(frame)} rows, {len(frame.columns)} columns", highlight=False, markup=False
        )
    if any(frame["doubts"]) and not anyway:
        raise typer.Exit(_DOUBTFUL)


def _cell(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    if isinstance(value, float):
        return "–" if value != value else f"{value:.6g}"
    return "–" if value is None or value == "" else str(value)


@app.command(
    epilog="Examples:\n\n  interp phases checkpoints/mod113-seed0\n\n"
    "  interp phases runs/mine --threshold 0.95 --sustain 3 --json\n\n"
    "  interp phases full_run.pth --split paper --seed 0\n\n"
    "  interp phases histories.parquet --where run=seed3",
)
def phases(
    run: Annotated[
        str,
        typer.Argument(
            help="Run directory, file of a whole run, the address of one, or a log (CSV, JSON, JSON lines, parquet).",
            metavar="RUN",
        ),
    ],
    threshold: Annotated[
        float, typer.Option(help="Accuracy, as a fraction, from which train and test pairs count as learned.")
    ] = 0.99,
    sustain: Annotated[int, typer.Option(help="Number of consecutive rows that must reach the threshold.")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, with the interval of each event.")] = False,
    split: FileSplit = None,
    seed: SplitSeed = None,
    attention_coefficient: Coefficient = None,
    p: Modulus = None,
    operation: FileOperation = None,
    n_heads: Heads = None,
    activation: FileActivation = None,
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
    anyway: Anyway = False,
    imported: Imported = None,
) -> None:
    """Measure every checkpoint of a run, and name the steps at which its phases end.

    Memorization ends where excluded loss is lowest, circuit formation where log test loss has fallen a tenth of its
    way, and cleanup where it has fallen 99 % of it. "lost" is the step at which test accuracy fell for good, and
    "dips" counts how often it fell and came back. If a run never reaches an event, its line says so. Each event is
    read from the history of the run or from its checkpoints, whichever is finer; it happened after the step in
    brackets.

    The trajectory of a run directory is kept in its measures.parquet, so a second call is instant. The columns of a
    log are matched by their names; a log gives every event but the end of memorization, which needs checkpoints.
    """
    _import(imported)
    import json

    from interp.events import read_phases, records
    from interp.logs import is_log, read_log
    from interp.published import load_run

    about = _about_file(run, p, operation, split, seed, attention_coefficient, n_heads, activation)
    if is_log(run):
        if told := [option for option, value in about.items() if value is not None]:
            raise ConfigError(f"A log needs no {' and '.join(told)}; leave them out to read {run}.")
        chosen = _by_name(where, "--where", "COLUMN=VALUE", "run=seed3")
        columns = _by_name(column, "--column", "NAME=COLUMN", "test_loss=val_nll")
        frames = [read_log(run, every=every, columns=columns, where=chosen)]
    elif every is not None or column or where:
        raise ConfigError(f"--every, --column and --where describe a log; {run} is not a log. Leave them out.")
    else:
        frames = records(load_run(run, **about))
    found = read_phases(frames, threshold, sustain)
    about_keys = frames[-1].attrs  # of the trajectory, if there is one
    names = ("key_frequencies", "key_step", "key_doubt", "doubts")
    keys, key_step, key_doubt, doubts = (about_keys.get(name) for name in names)
    plain: dict[str, Any] = {"highlight": False, "markup": False, "soft_wrap": True}
    if as_json:
        more = {"key_frequencies": keys, "key_step": key_step, "key_doubt": key_doubt, "doubts": doubts or ()}
        typer.echo(json.dumps({**found.to_dict(), **more}))
    else:
        for doubt in doubts or ():
            console_out.print(f"doubt                  {doubt}", **plain)
        if keys:
            doubtful = f"; doubtful: {key_doubt}" if key_doubt else ""
            earlier = key_step is not None and key_step < frames[-1]["step"].max()
            of_step = f"  (of step {key_step:,}, before it was lost)" if earlier else ""
            console_out.print(f"key frequencies        {', '.join(map(str, keys))}{of_step}{doubtful}", **plain)
        console_out.print(str(found), **plain)
    if doubts and not anyway:
        raise typer.Exit(_DOUBTFUL)


@app.command(
    epilog="Examples:\n\n  interp figures runs/mine -o figures/mine\n\n"
    "  interp figures runs/mine --figure neurons_over_pairs --step 9400 --formats svg\n\n"
    "  interp figures model.pth --split paper --seed 1\n\n  interp figures --list",
)
def figures(
    source: Annotated[
        str | None,
        typer.Argument(
            help="Run directory, checkpoint file, file of a whole run, log, sweep directory, or an address.",
            metavar="RUN",
        ),
    ] = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder to write into.", metavar="DIR")] = Path("figures"),
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
    split: FileSplit = None,
    seed: SplitSeed = None,
    attention_coefficient: Coefficient = None,
    p: Modulus = None,
    operation: FileOperation = None,
    n_heads: Heads = None,
    activation: FileActivation = None,
    anyway: Anyway = False,
    imported: Imported = None,
) -> None:
    """Draw every figure of a run, a checkpoint, a log or a sweep, and an index.html with their captions.

    Each figure is a page to zoom and hover over, and with Chromium or Chrome a PDF and a PNG too. The pages need no
    network. A figure that cannot be drawn is listed with the reason, at the end and in the index.

    If a model has evidently not learned the task or the split that it is measured with, a doubt says so, and the exit
    status is 3; the figures are written all the same.
    """
    _import(imported)
    from interp.drawing import figures as draw_all, list_figures, open_source

    if show_list:
        for row in list_figures().to_dict("records"):
            console_out.print(f"[bold]{row['name']}[/] ({row['of']}): {escape(row['caption'])}", highlight=False)
        return
    if source is None:
        raise ConfigError("interp figures needs a run; got none. Give its directory, as in interp figures runs/mine.")
    about = _about_file(source, p, operation, split, seed, attention_coefficient, n_heads, activation)
    kinds = [one.strip() for one in formats.split(",") if one.strip() and one.strip() != "html"]
    drawn = open_source(source, **about)
    missing = draw_all(drawn, out, names, kinds, step)
    for name, why in missing.items():
        console.print(f"Not drawn: {name}, since {why}", highlight=False, markup=False, soft_wrap=True)
    index = out / "index.html"
    console_out.print(f"Next: open {index}", highlight=False, markup=False, soft_wrap=True)
    if open_it:
        typer.launch(str(index))
    if _is_doubted(drawn) and not anyway:
        raise typer.Exit(_DOUBTFUL)


def _is_doubted(source: Any) -> bool:
    """Warn of what speaks against the task and split of a run or a checkpoint, and return whether anything does."""
    from interp.progress import progress_measures, run_doubts, warn_of
    from interp.run import Checkpoint, Run

    with contextlib.suppress(CheckpointError):  # a network that diverged says nothing of its task
        if isinstance(source, Checkpoint):
            return bool(progress_measures(source, measures=["loss"]).doubts)
        if isinstance(source, Run):
            doubts = run_doubts(source)
            warn_of(doubts[len(source.doubts) :], source.path)
            return bool(doubts)
    return False


@app.command(epilog="Example:\n\n  interp demo")
def demo(
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder to write into.", metavar="DIR")] = Path(
        "interp-demo"
    ),
    open_it: Annotated[bool, typer.Option("--open/--no-open", help="Open the page in a browser.")] = True,
) -> None:
    """Show a small run that comes with interp: its measures, its phases, its interactive page, and all its figures.

    The run (a + b mod 23) memorizes, then groks. It is copied into DIR/run, for any other command to try. Its page is
    DIR/report.html, and its figures are in DIR/figures. That takes less than a minute and needs no network.
    """
    import shutil

    from interp.disk import make_folder
    from interp.drawing import figures as draw_all
    from interp.events import phases as phases_of
    from interp.progress import progress_measures
    from interp.published import load_run
    from interp.shipped import HOME

    run_path = out / "run"
    plain: dict[str, Any] = {"highlight": False, "markup": False, "soft_wrap": True}
    make_folder(out)
    if not run_path.exists():
        shutil.copytree(HOME, run_path)
    run = load_run(run_path)
    console_out.print(f"{run}\n\n{progress_measures(run)}\n\n{phases_of(run)}\n", **plain)
    page = run.report().save(out / "report.html")
    missing = draw_all(run, out / "figures", formats=())
    for name, why in missing.items():
        console.print(f"Not drawn: {name}, since {why}", **plain)
    index = out / "figures" / "index.html"
    shown = shlex.quote(str(run_path))
    console_out.print(
        f"Page: {page}\nFigures: {index}\nNext: interp measure {shown} --step 100; interp phases {shown}", **plain
    )
    if open_it:
        typer.launch(str(page))


@app.command(
    epilog="Examples:\n\n  interp report checkpoints/mod113-seed0 -o report.html --open\n\n"
    "  interp report runs/seed0 runs/seed1 -o both.html      two runs side by side, in step\n\n"
    "  interp report runs/sweep -o sweep.html                a sweep: its delays, its table, a page of each run\n\n"
    "  interp report --neighbours -o neighbours.html         ridge regression and double descent under sliders",
)
def report(
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
    split: FileSplit = None,
    seed: SplitSeed = None,
    attention_coefficient: Coefficient = None,
    p: Modulus = None,
    operation: FileOperation = None,
    n_heads: Heads = None,
    activation: FileActivation = None,
    anyway: Anyway = False,
    imported: Imported = None,
) -> None:
    """Write an interactive page of a run, in one file that opens offline in any browser and can be mailed.

    It says in words what happened. A slider over the checkpoints then moves all plots together: norms by frequency, the
    numbers on their circles, attention and neurons over pairs, the loss of every pair, and the logits of the pair that
    is pointed at, wave by wave. Several runs stand side by side, in step. The page of a sweep draws its delays and has
    a table of its runs, with a page of each run whose checkpoints are there.
    """
    _import(imported)
    from interp.disk import printable
    from interp.published import load_run
    from interp.reports.neighbours import neighbours_report
    from interp.reports.report import checked_file, report as make_report
    from interp.reports.sweeps import save_sweep_report
    from interp.sweeps.table import is_sweep

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
        options = (p, operation, split, seed, attention_coefficient, n_heads, activation)
        made = make_report(*[load_run(run, **_about_file(run, *options)) for run in paths])
        made.save(file)
        doubts = made.doubts
    size = f"{file.stat().st_size / 1e6:.1f} MB"
    console_out.print(f"Next: open {printable(file)} ({size})", highlight=False, markup=False, soft_wrap=True)
    if open_it:
        typer.launch(str(file))
    if doubts and not anyway:
        raise typer.Exit(_DOUBTFUL)


@app.command(
    epilog="Examples:\n\n  interp animate checkpoints/mod113-seed0 -o circles.gif\n\n"
    "  interp animate runs/mine -o circles.gif --frequencies 14,35 --fps 10 --width 960\n\n"
    "  interp animate runs/mine -o forming.gif --steps 0:9000:1000,9500,10000",
)
def animate(
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
    split: FileSplit = None,
    seed: SplitSeed = None,
    attention_coefficient: Coefficient = None,
    p: Modulus = None,
    operation: FileOperation = None,
    n_heads: Heads = None,
    activation: FileActivation = None,
    anyway: Anyway = False,
    imported: Imported = None,
) -> None:
    """Write a GIF of the embedding over training, one panel per key frequency, in which its circles form.

    Each number is drawn at the projection of its embedding on two directions: those of the cosine and the sine of a
    frequency in the finished network. Noise becomes a circle while the run learns. Losses and phases are drawn beneath.
    The run is measured first, as by interp phases.

    If a model has evidently not learned the task or the split that it is measured with, a doubt says so, and the exit
    status is 3; the GIF is written all the same.
    """
    _import(imported)
    from interp.animations import animate as write_animation
    from interp.disk import printable
    from interp.published import load_run

    numbers = None if frequencies is None else _whole_numbers("--frequencies", frequencies)
    chosen = None if steps is None else parse_steps(steps)
    about = _about_file(run, p, operation, split, seed, attention_coefficient, n_heads, activation)
    done = write_animation(load_run(run, **about), output, numbers, chosen, fps=fps, width=width)
    console.print(
        f"{printable(done.path)}: {len(done.steps)} of {done.checkpoints} checkpoints, k = "
        f"{', '.join(map(str, done.frequencies))}, {done.path.stat().st_size / 1e6:.1f} MB",
        highlight=False, markup=False, soft_wrap=True,
    )  # fmt: skip
    if done.doubts and not anyway:
        raise typer.Exit(_DOUBTFUL)


def _whole_numbers(option: str, text: str) -> list[int]:
    try:
        return [int(number) for number in text.split(",")]
    except ValueError:
        raise ConfigError(f"{option} takes whole numbers separated by commas, as in 14,35; got {text!r}.") from None


def _by_name(given: list[str] | None, option: str, form: str, example: str) -> dict[str, str]:
    """Return the values of an option that is NAME=VALUE and may be repeated."""
    pairs = [one.partition("=") for one in given or ()]
    if bad := [name + sign + value for name, sign, value in pairs if not (name and sign and value)]:
        raise ConfigError(f"{option} takes {form}, as in {option} {example}; got {bad[0]!r}.")
    return {name.strip(): value for name, _, value in pairs}


@app.command(
    epilog="Examples: a published model, a whole published run, one from a hub\n\n"
    "  interp convert model.pth runs/paper-seed1 --split paper --seed 1\n\n"
    "  interp convert full_run.pth runs/mainline --split paper --seed 0\n\n"
    "  interp convert hf://someone/grokking/demo.pth runs/demo",
)
def convert(
    source: Annotated[str, typer.Argument(help="File of any known layout, or its address.", metavar="SOURCE")],
    run: Annotated[Path, typer.Argument(help="Run directory to write.", metavar="RUN_DIR")],
    step: Annotated[
        int | None, typer.Option(help="Step of a single checkpoint, if its file does not record it.")
    ] = None,
    split: FileSplit = None,
    seed: SplitSeed = None,
    attention_coefficient: Coefficient = None,
    p: Modulus = None,
    operation: FileOperation = None,
    n_heads: Heads = None,
    activation: FileActivation = None,
    anyway: Anyway = False,
) -> None:
    """Convert a checkpoint or whole run of other code to a run directory: weights, split and losses, without pickle.

    If the last checkpoint has evidently not learned the task or the split that is written down, a doubt says so, and
    the exit status is 3; the directory is written all the same.
    """
    from interp.progress import run_doubts, warn_of
    from interp.published import convert as convert_file

    about = _about_file(source, p, operation, split, seed, attention_coefficient, n_heads, activation)
    written = convert_file(source, run, step=step, **about)
    steps = written.steps
    named = f"steps {steps[0]:,} to {steps[-1]:,}" if len(steps) > 1 else f"step {steps[0]:,}"
    known = "its split" if written.train_mask is not None else "no split (--split and --seed would give it one)"
    console.print(
        f"{run}: {len(steps)} checkpoint{'s' * (len(steps) > 1)}, {named}, p = {written.task.p}, {known}",
        highlight=False, markup=False, soft_wrap=True,
    )  # fmt: skip
    doubts = read = written.doubts  # these were said when the file was read
    with contextlib.suppress(CheckpointError):  # a network that diverged says nothing of its task
        doubts = run_doubts(written)
    warn_of(doubts[len(read) :], run)
    console.print(f"Next: interp measure {shlex.quote(str(run))}", highlight=False, markup=False, soft_wrap=True)
    if doubts and not anyway:
        raise typer.Exit(_DOUBTFUL)


for _command in app.registered_commands:  # a paragraph of a docstring is one of its help, at any width
    _said = inspect.cleandoc(_command.callback.__doc__ or "") if _command.callback else ""
    _command.help = "\n\n".join(" ".join(paragraph.split()) for paragraph in _said.split("\n\n"))


def main() -> None:
    """Run the command: an error that interp raises on purpose is one sentence and exit status 2, a warning one line."""
    said: set[str] = set()

    def say(message: Warning | str, *_: object, **__: object) -> None:
        if str(message) not in said:
            console.print(f"[bold yellow]Warning:[/] {escape(str(message))}", highlight=False, soft_wrap=True)
        said.add(str(message))

    warnings.showwarning = say
    try:
        app()
    except BrokenPipeError:  # interp.__main__ ends quietly
        raise
    except (InterpError, OSError) as error:  # a folder that cannot be made, a full disk: the system's own sentence
        console.print(f"[bold red]Error:[/] {escape(str(error))}", highlight=False, soft_wrap=True)
        sys.exit(2)
