"""`interp train`."""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
import typer.core

from interp.cli.options import Imported, Preset, import_own, imports, is_given, parse_steps
from interp.config import (
    GrokfastStart,
    Loss,
    MuonFactor,
    Optimizer,
    Schedule,
    TrainConfig,
    nearest_settings,
    preset_settings,
)
from interp.console import console, say
from interp.errors import ConfigError
from interp.networks.base import Network
from interp.networks.transformer import Init
from interp.task import Operation, Split

if TYPE_CHECKING:
    from interp.run import Checkpoint

commands = typer.Typer()
_DEFAULT = TrainConfig()


class _TrainCommand(typer.core.TyperCommand):
    """The train command, which names the option that another name may mean: --learning-rate for --lr."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        try:
            return super().parse_args(ctx, args)
        except Exception as error:  # typer's own NoSuchOption, or click's, by its version
            if hasattr(error, "possibilities") and (near := nearest_settings(getattr(error, "option_name", ""))):
                error.possibilities = [f"--{name.replace('_', '-')}" for name in near]
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
    muon_learning_rate: Annotated[
        float | None,
        typer.Option(
            help="Learning rate of the matrices that muon updates. \\[default: the same as --learning-rate]",
            rich_help_panel="Variations",
        ),
    ] = _DEFAULT.muon_learning_rate,
    muon_factor: Annotated[
        MuonFactor,
        typer.Option(
            help="What muon multiplies the step of a matrix by: √max(1, outputs/inputs), or √max(1, rows/columns) of "
            "the weight as it is stored, as older versions of interp did.",
            rich_help_panel="Variations",
        ),
    ] = _DEFAULT.muon_factor,
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
    orthogonal_rescaled: Annotated[
        bool,
        typer.Option(
            "--orthogonal-rescaled",
            help="With --orthogonal-gradient, scale the rest of each gradient back to the norm that it had, as in the "
            "authors' code.",
            rich_help_panel="Variations",
        ),
    ] = _DEFAULT.orthogonal_rescaled,
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
    grokfast_start: Annotated[
        GrokfastStart,
        typer.Option(
            help="What that moving average starts from: first_gradient, as in the authors' code, or zero, as in older "
            "versions of interp.",
            rich_help_panel="Variations",
        ),
    ] = _DEFAULT.grokfast_start,
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

    import_own(imported)
    settings = {
        name: value for name, value in context.params.items() if name in TrainConfig.names() and is_given(context, name)
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
    if resume and not begun:
        say(f"{run} holds no run yet, so one begins there with the settings given.", to=console)
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
    following = (
        f"open {shlex.quote(str(page.page))}" if page else f"interp phases {shlex.quote(str(run))}{imports(imported)}"
    )
    say(f"Next: {following}", to=console)


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
    from interp.published.loading import last_checkpoint, load_run

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
