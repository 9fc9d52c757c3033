"""The names of tasks in other people's files: one table of names, and the keys under which they stand."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from interp.tasks.operations import Operation

# Our operation, or another task in words → its names, as `_plain` writes them.
_NAMES: dict[str, tuple[str, ...]] = {
    "add": ("add", "addition", "plus", "sum", "cyclic", "cyclicgroup", "x+y", "y+x", "+"),
    "subtract": ("subtract", "subtraction", "sub", "minus", "difference", "diff", "x-y", "-"),
    "quadratic": ("quadratic", "x2xyy2", "x^2+x*y+y^2", "x^2+xy+y^2", "x*x+x*y+y*y"),
    "random": ("random", "rand", "randomlabels", "shuffled"),
    "multiplication": ("mul", "mult", "multiply", "multiplication", "times", "prod", "product", "x*y", "y*x", "*"),
    "division": ("div", "divide", "division", "x/y", "/"),
    "a² + b²": ("x2y2", "x^2+y^2", "x*x+y*y", "sumofsquares", "squares"),
    "a² + ab + b² + a": ("x2xyy2x", "x^2+x*y+y^2+x", "x^2+xy+y^2+x"),
    "a³ + ab": ("x3xy", "x^3+x*y", "x^3+xy"),
    "a³ + ab² + b": ("x3xy2y", "x^3+x*y^2+y", "x^3+xy^2+y"),
    "exponentiation": ("exp", "pow", "power", "x^y", "^"),
    "the maximum": ("max", "maximum"),
    "the minimum": ("min", "minimum"),
    "parity": ("parity", "sparseparity", "xor"),
    "a symmetric group": ("symmetricgroup", "symmetric", "permutation", "permutations"),
    "an alternating group": ("alternatinggroup", "alternating"),
    "a dihedral group": ("dihedralgroup", "dihedral"),
}
_MEANING = {name: meaning for meaning, names in _NAMES.items() for name in names}
_OURS: tuple[Operation, ...] = ("add", "subtract", "quadratic")

# Keys of a task's name. Under a sure key any word is one; under a vague key, such as "task": "grokking", only names of
# the table count.
_SURE = ("fn_name", "operation", "op", "operator")
_VAGUE = (
    "task", "task_name", "function", "fn", "func", "funcs", "group", "group_type", "group_name", "binary_op",
    "binary_operation", "equation", "problem", "rule", "label_fn", "dataset",
)  # fmt: skip


@dataclass(frozen=True)
class Named:
    """A task that a file names.

    Attributes:
        said: The word in the file, such as "mod_sum".
        meaning: An operation of ours, or another task in words; None for an unknown word.
    """

    said: str
    meaning: str | None

    @property
    def operation(self) -> Operation | None:
        """The operation of ours; None for another task, or for random labels, which no file holds."""
        return next((operation for operation in _OURS if operation == self.meaning), None)


def named_tasks(settings: Mapping[str, Any]) -> list[Named]:
    """Return the tasks that a configuration names, each meaning once, the surest first.

    A name under `task` may also stand in a dict of its own, as in {"task": {"name": "add"}}.
    """
    found: dict[str | None, Named] = {}
    for key, said in _words(settings):
        meaning = meaning_of(said)
        if meaning is not None or key in _SURE:
            found.setdefault(meaning, Named(said, meaning))
    return list(found.values())


def _words(settings: Mapping[str, Any], inside: bool = False) -> Iterator[tuple[str, str]]:
    for key in (*_SURE, *_VAGUE, *(("name",) if inside else ())):
        value = settings.get(key)
        if isinstance(value, str) and value.strip():
            yield key, value
        elif key in _VAGUE and isinstance(value, Mapping):
            yield from _words(value, inside=True)


def meaning_of(name: str) -> str | None:
    """Return the meaning of a task's name: "add" for "x+y", "+", "mod_sum" or "addition"; None for an unknown name."""
    text = name.strip().lower()
    for one in (re.sub(r"\s", "", text), _plain(text), re.sub(r"\d+$", "", _plain(text))):
        if one in _MEANING:
            return _MEANING[one]
    group = re.search(r"\b(s|a|d)_?\d+\b", text)
    return {"s": "a symmetric group", "a": "an alternating group", "d": "a dihedral group"}[group[1]] if group else None


def _plain(name: str) -> str:
    """Return a name without words that all tasks share: "Modular addition (mod 113)" is "addition"."""
    text = name
    for other, own in (("²", "^2"), ("³", "^3"), ("**", "^"), ("·", "*"), ("×", "*"), ("⋅", "*"), ("−", "-"),
                       ("÷", "/")):  # fmt: skip
        text = text.replace(other, own)
    text = re.sub(r"(?<=[a-z]{3})-(?=[a-z])|(?<=[a-z])-(?=[a-z]{3})", " ", text)  # a hyphen that joins words
    text = re.sub(r"^lambda[^:]*:", "", text)
    text = re.sub(r"[xa]\[0\]", "x", text)
    text = re.sub(r"[xa]\[1\]", "y", text)
    text = re.sub(r"%\s*(\w+|\(\w+\))", "", text)
    text = re.sub(r"\(?\bmod(ulo)?\b\s*(\d+|[pnq]\b)?\s*\)?", "", text.replace("_", " "))
    text = re.sub(r"\b(modular|arithmetic|task|labels?|in|over)\b", "", text)
    if re.fullmatch(r"[a-z0-9\s]*[a-z]{3,}[a-z0-9\s]*", text):  # words
        return re.sub(r"\s|^mod|mod$", "", text.strip())
    text = re.sub(r"[\s()]", "", text)
    text = re.sub(r"\bi\b", "x", text) if {"i", "j"} <= set(text) else text
    text = re.sub(r"\ba\b", "x", re.sub(r"\bb\b", "y", text.replace("ab", "a*b")))
    return text.replace("j", "y").replace("xy", "x*y")
