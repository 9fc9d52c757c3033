"""The options that several commands of the shell share, and the functions that parse them."""

from __future__ import annotations

import inspect
import shlex
from collections.abc import Callable
from functools import partial, wraps
from typing import Annotated, Any

import typer

from interp.networks.names import Activation
from interp.tasks.operations import Operation, Split
from interp.utils.errors import ConfigError

DOUBTFUL = 3  # exit status if it is doubtful what a model learned

Preset = Annotated[
    str | None,
    typer.Option(
        help="Settings to begin with. fast: p = 37 with six tenths of the pairs, which memorizes by step 80 and "
        "generalizes between steps 310 and 1,910 (20 seeds, six times each), in half a minute on one core.",
        metavar="NAME",
    ),
]
Imported = Annotated[
    list[str] | None,
    typer.Option(
        "--import",
        help="A Python file or module that declares your own measures (@interp.measure), networks (@interp.network) or "
        "figures (@interp.figure); may be repeated.",
        metavar="FILE_OR_MODULE",
    ),
]
Measures = Annotated[
    str | None,
    typer.Option(
        "--measures",
        help="Compute only these: names separated by commas; interp list-measures shows all.",
        metavar="NAMES",
    ),
]
Share = Annotated[
    float, typer.Option(help="A frequency is key if its share of the squared cos coefficients exceeds this.")
]
Threshold = Annotated[
    float, typer.Option(help="Accuracy, as a fraction, from which train and test pairs count as learned.")
]
_of_file: Any = partial(typer.Option, rich_help_panel="Files")
Anyway = Annotated[
    bool, _of_file("--anyway", help="Exit with 0 instead of 3 if it is doubtful what the model learned.")
]


def _about_file(
    split: Annotated[Split | None, _of_file(help="How the train pairs (three tenths of all) were drawn.")] = None,
    seed: Annotated[int | None, _of_file(help="Seed of that split.")] = None,
    attention_coefficient: Annotated[
        float | None,
        _of_file(help="For a model with two positions: 1 if its attention is softmax, 0 if it is constant."),
    ] = None,
    p: Annotated[int | None, _of_file(help="Modulus, if the vocabulary does not determine it.")] = None,
    operation: Annotated[
        Operation | None, _of_file(help="Task that the model learned, as in interp train. \\[default: add]")
    ] = None,
    n_heads: Annotated[
        int | None, _of_file(help="Number of heads, if the state dict of a bridge does not determine it.")
    ] = None,
    activation: Annotated[
        Activation | None, _of_file(help="Activation function of the neurons. \\[default: relu]")
    ] = None,
) -> dict[str, Any]:
    """Return the options under Files as the arguments of `load_checkpoint` and `load_run`."""
    from interp.tasks.task import Task

    task = operation if p is None else Task(p, operation or "add")
    about = {
        "task": task, "split": split, "seed": seed, "attention_coefficient": attention_coefficient,
        "n_heads": n_heads, "activation": activation,
    }  # fmt: skip
    return {name: value for name, value in about.items() if value is not None}


def reads_files(command: Callable[..., bool]) -> Callable[..., None]:
    """Give a command the options under Files, for settings that a file does not determine.

    The command takes them as its argument `about`, a dict of arguments of `load_checkpoint`. It returns whether a model
    is doubtful; the exit status then is 3, unless the option --anyway is given.
    """
    own = [one for one in parameters_of(command) if one.name != "about"]
    of_file = parameters_of(_about_file)

    @wraps(command)
    def with_files(**given: Any) -> None:
        go_on, about = given.pop("anyway"), _about_file(**{one.name: given.pop(one.name) for one in of_file})
        if command(**given, about=about) and not go_on:
            raise typer.Exit(DOUBTFUL)

    anyway = inspect.Parameter("anyway", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=Anyway)
    return with_parameters(with_files, [*own, *of_file, anyway])


def with_parameters(command: Callable[..., None], parameters: list[inspect.Parameter]) -> Callable[..., None]:
    """Let typer see these parameters in place of the command's own."""
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {one.name: one.annotation for one in parameters}
    return command


def parameters_of(function: Callable[..., object]) -> list[inspect.Parameter]:
    """Return the parameters of a function, each to be given by its name."""
    return [
        one.replace(kind=inspect.Parameter.KEYWORD_ONLY)
        for one in inspect.signature(function, eval_str=True).parameters.values()
    ]


def is_given(context: typer.Context, name: str) -> bool:
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def import_own(names: list[str] | None) -> None:
    """Import the files and modules that declare a user's measures and networks; ConfigError if that fails."""
    from interp.training.user_code import import_all

    import_all(names or ())


def imports(names: list[str] | None) -> str:
    """Return the options that import these again."""
    return "".join(f" --import {shlex.quote(name)}" for name in names or ())


def parse_steps(text: str) -> tuple[int, ...]:
    """Return the steps of "0,100,1000:2000:250": numbers, and FIRST:LAST:EVERY with both ends included."""
    from interp.runs.config import check_number_of_checkpoints

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


def parse_names(text: str | None) -> list[str] | None:
    """Return the names in "test_loss,gini"; None for None."""
    return None if text is None else [name.strip() for name in text.split(",")]


def parse_numbers(option: str, text: str) -> list[int]:
    try:
        return [int(number) for number in text.split(",")]
    except ValueError:
        raise ConfigError(f"{option} takes whole numbers separated by commas, as in 14,35; got {text!r}.") from None


def parse_pairs(given: list[str] | None, option: str, form: str, example: str) -> dict[str, str]:
    """Return the values of an option that is NAME=VALUE and may be repeated."""
    pairs = [one.partition("=") for one in given or ()]
    if bad := [name + sign + value for name, sign, value in pairs if not (name and sign and value)]:
        raise ConfigError(f"{option} takes {form}, as in {option} {example}; got {bad[0]!r}.")
    return {name.strip(): value for name, _, value in pairs}


def cell(value: Any) -> str:
    """Return a value as a table shows it."""
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    if isinstance(value, float):
        return "–" if value != value else f"{value:.6g}"
    return "–" if value is None or value == "" else str(value)
