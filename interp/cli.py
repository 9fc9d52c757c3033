"""The `interp` command: train, measure, phases."""

from __future__ import annotations

import enum
import sys
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any

import typer
from click.core import ParameterSource

from interp.config import INITS, TrainConfig
from interp.console import console
from interp.errors import InterpError
from interp.forward import ACTIVATIONS
from interp.task import OPERATIONS, SPLITS

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Train networks that grok, measure their checkpoints, see their phases.\n\n"
    "A first session:\n\n"
    "  interp train runs/mine            # the paper's mainline, some minutes on two cores\n\n"
    "  interp measure runs/mine          # the progress measures of its last checkpoint\n\n"
    "  interp phases runs/mine           # memorization, circuit formation, cleanup",
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


def _choice(name: str, values: tuple[str, ...]) -> Any:
    return enum.Enum(name, {value: value for value in values}, type=str)


_Operation, _Split = _choice("Operation", OPERATIONS), _choice("Split", SPLITS)
_Activation, _Init = _choice("Activation", ACTIVATIONS), _choice("Init", INITS)
_DEFAULT = TrainConfig()


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
                steps.extend(range(first, last + 1, every))
            case _:
                raise typer.BadParameter(f"{piece!r} is neither a step nor FIRST:LAST:EVERY, as in 0,100,1000:2000:250")
    return tuple(steps)


@app.command(
    epilog="Examples:\n\n"
    "  interp train runs/mainline                                    # the paper's mainline\n\n"
    "  interp train runs/small --p 59 --steps 8000 --seed 3\n\n"
    "  interp train runs/dense --checkpoint-steps 0,100,8000:13000:50\n\n"
    "  interp train runs/mainline --resume                           # go on after a stop\n\n"
    "  interp train runs/mainline --resume --steps 30000             # or further than planned",
)
def train(
    context: typer.Context,
    run: Annotated[
        Path | None, typer.Argument(help="Run directory to write. \\[default: runs/OPERATION-P-seedSEED]", metavar="RUN")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the run that stopped in RUN, or start it if there is none.")
    ] = False,
    p: Annotated[int, typer.Option("--p", help="Modulus, at least 2.")] = _DEFAULT.p,
    operation: Annotated[
        _Operation, typer.Option(help="a + b, a - b, a² + ab + b², or random labels, all mod p.")
    ] = _Operation(_DEFAULT.operation),
    train_fraction: Annotated[
        float, typer.Option(help="Share of the p*p pairs to train on, between 0 and 1.")
    ] = _DEFAULT.train_fraction,
    split: Annotated[
        _Split, typer.Option(help="How the train pairs are drawn: Python's shuffle (paper), or torch.randperm.")
    ] = _Split(_DEFAULT.split),
    seed: Annotated[int, typer.Option(help="Of the initial weights, the split and random labels.")] = _DEFAULT.seed,
    d_model: Annotated[int, typer.Option(help="Width of the residual stream.")] = _DEFAULT.d_model,
    n_heads: Annotated[int, typer.Option(help="Attention heads, each d_model / n_heads wide.")] = _DEFAULT.n_heads,
    d_mlp: Annotated[int, typer.Option(help="Neurons of the MLP.")] = _DEFAULT.d_mlp,
    activation: Annotated[_Activation, typer.Option(help="Of the neurons; gelu_new is GELU by tanh.")] = _Activation(
        _DEFAULT.activation
    ),
    init: Annotated[_Init, typer.Option(help="Initial weights: the paper's, or TransformerLens' own.")] = _Init(
        _DEFAULT.init
    ),
    steps: Annotated[int, typer.Option(help="Updates to make.")] = _DEFAULT.steps,
    learning_rate: Annotated[float, typer.Option(help="AdamW's, after the warmup.")] = _DEFAULT.learning_rate,
    betas: Annotated[tuple[float, float], typer.Option(help="AdamW's two.")] = _DEFAULT.betas,
    weight_decay: Annotated[float, typer.Option(help="AdamW's, on every parameter.")] = _DEFAULT.weight_decay,
    warmup_steps: Annotated[
        int, typer.Option(help="Updates over which the learning rate grows from 0.")
    ] = _DEFAULT.warmup_steps,
    checkpoint_steps: Annotated[
        str | None,
        typer.Option(
            help="Steps to save: numbers and FIRST:LAST:EVERY, with commas. "
            "\\[default: 0,1,2,5,10,20,50,100, every 200, the last]",
            metavar="STEPS",
        ),
    ] = None,
    history_every: Annotated[
        int, typer.Option(help="Steps between two rows of losses and accuracies.")
    ] = _DEFAULT.history_every,
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:1 or mps.")] = _DEFAULT.device,
) -> None:
    """Train on modular arithmetic into a run directory; the defaults are the mainline of Nanda et al. (2023).

    Ctrl-C stops cleanly, and nothing is lost: --resume goes on, bit for bit as if it had never stopped.
    """
    from interp.run import CONFIG, read_config
    from interp.train import TrainingInterrupted
    from interp.train import train as train_run

    settings = {
        name: value.value if isinstance(value, enum.Enum) else value
        for name, value in context.params.items()
        if name in TrainConfig.names() and context.get_parameter_source(name) is not ParameterSource.DEFAULT
    }
    if checkpoint_steps is not None:
        settings["checkpoint_steps"] = parse_steps(checkpoint_steps)
    if run is None:
        named = replace(_DEFAULT, **settings)
        run = Path("runs") / f"{named.operation}-{named.p}-seed{named.seed}"
    begun = resume and (run / CONFIG).exists()
    config = replace(read_config(run) if begun else _DEFAULT, **settings)
    try:
        trained = train_run(config, run, resume=resume)
    except TrainingInterrupted as stop:
        console.print(f"Stopped at step {stop.step:,}; all of it is saved.", highlight=False)
        console.print(f"Go on with: interp train {run} --resume", highlight=False)
        raise typer.Exit(128 + stop.signum) from None
    last = trained.history.iloc[-1]
    console.print(
        f"{trained.path}: step {int(last['step']):,}, {len(trained)} checkpoints; loss train {last['train_loss']:.3g}, "
        f"test {last['test_loss']:.3g}; accuracy train {last['train_accuracy']:.3f}, test {last['test_accuracy']:.3f}",
        highlight=False,
    )
    console.print(f"Next: interp phases {run}", highlight=False)


def main() -> None:
    """Entry point: every error that interp raises on purpose is one sentence and exit status 2."""
    try:
        app()
    except InterpError as error:
        console.print(f"[bold red]Error:[/] {error}", highlight=False, soft_wrap=True)
        sys.exit(2)


if __name__ == "__main__":
    main()
