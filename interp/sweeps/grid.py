"""The runs of a sweep: configurations from lists, grids, NAME=VALUES and TOML files, each named by its hash."""

from __future__ import annotations

import hashlib
import itertools
import json
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, get_origin

import numpy as np
from torch import Tensor

from interp.runs.config import TrainConfig, gathered, settings_before
from interp.runs.settings import SETTINGS, nearest_settings
from interp.training.updates import check_effects
from interp.utils.arguments import given
from interp.utils.errors import ConfigError
from interp.utils.files import PathLike, as_path, open_regular

_LISTS = {name for name, setting in SETTINGS.items() if get_origin(setting.type) is tuple}  # one value is a list
_WORDS = {name for name, setting in SETTINGS.items() if setting.type is str or setting.choices}
_FLAGS = {name for name, setting in SETTINGS.items() if setting.type is bool}
_WHOLE = {name for name, setting in SETTINGS.items() if setting.type is int}
_MAY_BE_NONE = {name for name, setting in SETTINGS.items() if setting.optional} - _LISTS
_NOT_IN_HASH = {"steps", "device"}  # how far and where: more steps extend a run
_MOST_RUNS = 10**7
_OPTIONS = ("stop_when", "threshold", "workers")

Grid = Mapping[str, Any]
Configs = TrainConfig | Grid | Iterable[TrainConfig | Grid]


@dataclass(frozen=True)
class Plan:
    """The configurations that a TOML file gives, and the options that it sets for the sweep."""

    configs: tuple[TrainConfig, ...]
    options: dict[str, Any] = field(default_factory=dict)


def configurations(configs: Configs) -> tuple[TrainConfig, ...]:
    """Return all configurations that `configs` gives, in order.

    Args:
        configs: A dict of settings, each a value or a list of values, which stands for all combinations; or a list of
            TrainConfigs and of such dicts.

    Raises:
        ConfigError: For an unknown setting (with the nearest one), a value that cannot be used or has no effect, an
            empty grid, and two configurations of one run.
    """
    if isinstance(configs, Mapping) and not configs:
        raise ConfigError("A sweep must be given a setting; got an empty dict. Give one, such as {'seed': [0, 1]}.")
    if isinstance(configs, TrainConfig | Mapping):
        configs = [configs]
    if isinstance(configs, str) or not isinstance(configs, Iterable):
        raise ConfigError(f"configs must be a dict of lists, or a list of TrainConfigs; got {given(configs)}.")
    found: list[TrainConfig] = []
    for one in configs:
        if isinstance(one, TrainConfig):
            check_effects(one)
            found.append(one)
        elif isinstance(one, Mapping):
            found.extend(_combinations(one))
        else:
            raise ConfigError(f"configs must hold TrainConfigs or dicts of settings; got {given(one)} among them.")
    if not found:
        raise ConfigError("A sweep must have at least one run; got an empty list. Give a TrainConfig or a dict.")
    own = [_plain(config) for config in found]
    first: dict[str, TrainConfig] = {}
    for config in own:
        twin = first.setdefault(run_id(config), config)
        if twin is not config:
            raise ConfigError(
                f"Each run must be asked for once; got {described(config) or 'the defaults'} twice (steps and device "
                "do not tell runs apart). Drop one of them."
            )
    return tuple(own)


def _combinations(grid: Grid) -> list[TrainConfig]:
    """Return a configuration for each combination of values; the last setting varies fastest."""
    lists: list[list[Any]] = []
    for name, values in grid.items():
        check_setting(str(name))
        lists.append(_values(str(name), values))
        if not lists[-1]:
            raise ConfigError(f"{name} must have at least one value; got an empty list. Drop it for the default.")
    number = int(np.prod([len(values) for values in lists], dtype=float))
    if number > _MOST_RUNS:
        raise ConfigError(f"A sweep must have at most {_MOST_RUNS:,} runs; these lists give {number:,}.")
    found = [TrainConfig(**gathered(dict(zip(grid, values, strict=True)))) for values in itertools.product(*lists)]
    for config in found:
        _check_combination(config, number)
    return found


def _check_combination(config: TrainConfig, number: int) -> None:
    """Raise ConfigError for a setting without effect in one of `number` combinations, and say how to leave it out."""
    try:
        check_effects(config)
    except ConfigError as error:
        if number == 1:
            raise
        raise ConfigError(
            f"{error} The combination is {described(config)}. To leave it out, write two grids, each with the values "
            "that go together: a list of two dicts, or two tables [[grid]] in a TOML file."
        ) from None


def _values(name: str, values: Any) -> list[Any]:
    if isinstance(values, str):
        return parsed_values(name, values) if ":" in values and name in _WHOLE else [values]
    if isinstance(values, Mapping) or (isinstance(values, Tensor | np.ndarray) and name == "split"):
        return [values]  # a network by its name and sizes, a mask
    if not isinstance(values, Iterable):
        return [values]
    listed = list(values)
    if name in _LISTS:
        return [tuple(listed)] if all(np.isscalar(one) for one in listed) else [tuple(one) for one in listed]
    if name == "split" and listed and not any(isinstance(one, str) or np.ndim(one) == 2 for one in listed):
        return [listed]  # the indices of the train pairs
    return listed


def is_setting(name: str) -> bool:
    """Return whether this is the name of a setting of TrainConfig, or of a size of its network."""
    return name in TrainConfig.names() or name.startswith("network.")


def check_setting(name: str) -> None:
    """Raise ConfigError, with the nearest setting, unless there is a setting of this name."""
    if not is_setting(name):
        near = " or ".join(nearest_settings(name))
        hint = f"Did you mean {near}?" if near else f"It has {', '.join(TrainConfig.names())}."
        raise ConfigError(f"A sweep must set settings of TrainConfig; got {name!r}, which is not one of them. {hint}")


# ── text ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def parsed_settings(words: Iterable[str]) -> dict[str, list[Any]]:
    """Return the grid of words such as "weight_decay=0.3,1,3" and "seed=0:5", which is 0 to 4."""
    grid: dict[str, list[Any]] = {}
    for word in words:
        name, sign, text = word.partition("=")
        name = name.strip().replace("-", "_")
        if not (sign and name and text.strip()):
            raise ConfigError(f"--set takes NAME=VALUES, as in --set weight_decay=0.3,1,3; got {word!r}.")
        check_setting(name)
        if name in grid:
            raise ConfigError(f"--set must name each setting once; got {name} again. List its values with commas.")
        grid[name] = parsed_values(name, text)
    return grid


def parsed_values(name: str, text: str) -> list[Any]:
    """Return the values of a setting in a text with commas; FIRST:END counts up to but not including END."""
    pieces = [piece.strip() for piece in text.split(",")]
    if name in _LISTS:  # one value
        return [tuple(itertools.chain.from_iterable(_parsed(name, piece, whole=name != "betas") for piece in pieces))]
    if name in _WORDS:
        return pieces
    if name in _FLAGS or name.startswith("network."):
        return [_guessed(name, piece) for piece in pieces]
    return [one for piece in pieces for one in _parsed(name, piece, whole=name in _WHOLE)]


def _guessed(name: str, piece: str) -> bool | int | float | str:
    """Return a text as a bool, a number or a word, by its form."""
    if piece.lower() in ("true", "false"):
        return piece.lower() == "true"
    if name in _FLAGS:
        raise ConfigError(f"{name} must be true or false; got {piece!r}.")
    for kind in (int, float):
        try:
            return kind(piece)
        except ValueError:
            pass
    return piece


def _parsed(name: str, piece: str, whole: bool) -> list[Any]:
    if piece.lower() == "none" and name in _MAY_BE_NONE:
        return [None]
    try:
        if not whole:
            return [float(piece)]
        numbers = [int(part) for part in piece.split(":")]
    except ValueError:
        raise ConfigError(
            f"{name} must be {'whole numbers' if whole else 'numbers'}, as in --set "
            f"{name}={'0:5 or 0,1,2' if whole else '0.3,1,3'}; got {piece!r}."
        ) from None
    match numbers:
        case [one]:
            return [one]
        case [first, end] if end > first:
            return _counted(name, range(first, end))
        case [first, end, by] if end > first and by > 0:
            return _counted(name, range(first, end, by))
    raise ConfigError(f"{name} must count up, as 0:5 (0 to 4) and 0:1000:100 do; got {piece!r}.")


def _counted(name: str, values: range) -> list[int]:
    if len(values) > _MOST_RUNS:
        raise ConfigError(f"{name} must have at most {_MOST_RUNS:,} values; got {len(values):,}.")
    return list(values)


def read_plan(file: PathLike, changes: Mapping[str, Any] = {}) -> Plan:
    """Read a TOML file: options such as stop_when at its top, and settings in a table [grid], or several [[grid]].

    `changes` are settings that replace those of each grid. An example of a file::

        stop_when = "generalized+500"

        [grid]
        p = 23
        weight_decay = [0.3, 1, 3]
        seed = "0:5"
    """
    file = as_path(file)
    try:
        with open_regular(file) as stream:
            content = tomllib.load(stream)
    except FileNotFoundError:
        raise ConfigError(f"{file} does not exist; expected a TOML file with a table [grid].") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file} must be TOML; reading it failed: {error}.") from None
    grids = content.pop("grid", None)
    if isinstance(grids, Mapping):
        grids = [grids]
    if not isinstance(grids, list) or not all(isinstance(grid, Mapping) for grid in grids) or not grids:
        raise ConfigError(f"{file} must have a table [grid] of settings, each a value or a list of values.")
    if unknown := [name for name in content if name not in _OPTIONS]:
        raise ConfigError(
            f"{file} has {', '.join(unknown)} outside [grid]; expected {', '.join(_OPTIONS)}. Settings of TrainConfig "
            "belong under [grid]."
        )
    try:
        changed = [_changed(grid, changes) for grid in grids]
        return Plan(configurations(changed if len(changed) > 1 else changed[0]), content)
    except ConfigError as error:
        replaced = f" --set gave {', '.join(changes)} to each grid of the file." if changes else ""
        raise ConfigError(f"{file}: {error}{replaced}") from None


def _changed(grid: Grid, changes: Grid) -> Grid:
    """Return a grid with some settings replaced, and without the sizes of a network that is replaced."""
    kept = {name: v for name, v in grid.items() if not (name.startswith("network.") and "network" in changes)}
    return {**kept, **changes}


# ── identity ─────────────────────────────────────────────────────────────────────────────────────────────────────


def _plain(config: TrainConfig) -> TrainConfig:
    """Return the configuration with None for a split_seed or muon_learning_rate that equals its default."""
    own_rate = config.muon_learning_rate != config.learning_rate
    return replace(
        config,
        split_seed=config.split_seed if config.split_seed != config.seed else None,
        muon_learning_rate=config.muon_learning_rate if own_rate else None,
    )


def changed(config: TrainConfig) -> dict[str, Any]:
    """Return the settings that tell runs apart: those that differ from the defaults.

    The behaviour of older versions of interp counts as the default, so that their runs keep their names and no new run
    takes the name of one that was trained differently.
    """
    default = TrainConfig().flat() | settings_before(config.flat())
    falls = config.lr_schedule != "constant"  # until the last step, which then tells runs apart
    if config.given_network is not None:
        default |= {f"network.{one.name}": one.default for one in fields(config.given_network)}  # type: ignore[arg-type]
    about = {
        name: value for name, value in config.flat().items()
        if value != default.get(name) and (name not in _NOT_IN_HASH or (falls and name == "steps"))
    }  # fmt: skip
    if isinstance(config.split, tuple):  # the mask sets the fraction
        about.pop("train_fraction", None)
    return about


def run_id(config: TrainConfig) -> str:
    """Return the name of a run: a hash of the settings that differ from the defaults, without device and steps."""
    text = json.dumps(changed(_plain(config)), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def described(config: TrainConfig) -> str:
    """Return the settings of `changed` in words."""
    return ", ".join(
        f"{name}={'a mask' if name == 'split' and isinstance(value, tuple) else value}"
        for name, value in changed(config).items()
    )
