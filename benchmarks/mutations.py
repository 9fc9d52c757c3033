"""The mutants that benchmarks.mutants tries: drawn from the places of a module, or listed by hand."""

from __future__ import annotations

import ast
import difflib
import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Mutant:
    """One change of a module, named by `operator`, `line` and `occurrence` of both, without a line number."""

    file: str
    operator: str
    line: str
    occurrence: int
    number: int
    source: str = field(repr=False)
    mutated: str = field(repr=False)

    @property
    def name(self) -> tuple[str, str, str, int]:
        return self.file, self.operator, self.line, self.occurrence

    @property
    def title(self) -> str:
        return f"{self.file}:{self.number}  {self.operator}, occurrence {self.occurrence}"

    def change(self) -> str:
        """Return the lines that it removes and adds."""
        lines = difflib.unified_diff(self.source.splitlines(), self.mutated.splitlines(), n=0, lineterm="")
        changed = [line for line in lines if line[:1] in ("-", "+") and line[:3] not in ("---", "+++")]
        return "\n".join(f"{line[0]} {line[1:].strip()}" for line in changed)


def drawn(seed: int, *what: object) -> int:
    return int.from_bytes(hashlib.sha256("\0".join(map(str, (seed, *what))).encode()).digest()[:8], "big")


class Places:
    """The places at which a module can be changed, with the possible changes."""

    def __init__(self, root: Path, file: str) -> None:
        from cosmic_ray.ast import ast_nodes, get_ast
        from cosmic_ray.operators.provider import OperatorProvider

        self.file, self._provider = file, OperatorProvider()
        self._source = (root / file).read_text(encoding="utf-8")
        lines, tree = self._source.splitlines(), get_ast(self._source)
        nodes, found = list(ast_nodes(tree)), defaultdict(list)
        for name in self._provider:
            if self._provider[name].arguments():  # puts chance numbers in place of a variable
                continue
            operator, seen = self._provider[name](), Counter[str]()
            for index, start in enumerate(at for node in nodes for at, _ in operator.mutation_positions(node)):
                line = lines[start[0] - 1].strip()
                if not _is_unrun(tree.get_leaf_for_position(start)):
                    found[start, name.partition("_")[0]].append((name, index, seen[line]))
                seen[line] += 1
        self._candidates, times = {}, Counter[tuple[str, ...]]()
        for (start, kind), candidates in sorted(found.items()):
            place = (file, kind, lines[start[0] - 1].strip())
            self._candidates[*place, times[place]] = start[0], candidates
            times[place] += 1

    def __iter__(self) -> Iterator[tuple[str, str, str, int]]:
        """Iterate over (file, kind of change, line, occurrence of both)."""
        return iter(self._candidates)

    def __len__(self) -> int:
        return len(self._candidates)

    def mutant(self, place: tuple[str, str, str, int], seed: int) -> Mutant | None:
        """Return the change drawn for a place; None if no possible change gives another program."""
        from cosmic_ray.mutating import MutationVisitor

        number, candidates = self._candidates[place]
        for name, index, occurrence in sorted(candidates, key=lambda c: drawn(seed, *place, c[0], c[2])):
            try:
                mutated = MutationVisitor.mutate_code(self._source, self._provider[name](), index)
                if mutated is not None and ast.dump(ast.parse(mutated)) != ast.dump(ast.parse(self._source)):
                    return Mutant(self.file, name, place[2], occurrence, number, self._source, mutated)
            except (SyntaxError, ValueError, AttributeError):  # such as an exception with a dot in its name
                continue
        return None


def sample(of: list[Places], seed: int, number: int) -> list[Mutant]:
    """Draw mutants at so many places of all modules, one at each."""
    chosen: list[Mutant] = []
    numbered = [(drawn(seed, *place), module, place) for module in of for place in module]
    for _, module, place in sorted(numbered, key=lambda one: one[0]):
        if len(chosen) == number:
            break
        if (mutant := module.mutant(place, seed)) is not None:
            chosen.append(mutant)
    return chosen


def _is_unrun(leaf: object) -> bool:
    """Return whether code is in an annotation, or in a block that only type checkers read."""
    node = leaf
    while (parent := getattr(node, "parent", None)) is not None:
        here = parent.children.index(node)
        if (parent.type == "annassign" and here == 1) or parent.type == "tfpdef":
            return True
        if parent.type == "funcdef" and getattr(parent.children[here - 1], "value", "") == "->":
            return True
        if parent.type == "if_stmt" and parent.children[1].get_code().strip() == "TYPE_CHECKING":
            return True
        node = parent
    return False


def by_hand(root: Path, entries: dict[str, dict[str, list[str]]]) -> list[Mutant]:
    """Return the mutants that once survived, listed as file → what → [text of the file, its replacement]."""
    found = []
    for file, changes in entries.items():
        source = (root / file).read_text(encoding="utf-8")
        for what, (before, after) in changes.items():
            if source.count(before) != 1:
                raise SystemExit(f"{before!r} must stand once in {file}; change mutants.toml to fit it.")
            number = source[: source.index(before)].count("\n") + 1
            found.append(Mutant(file, "by hand", what, 0, number, source, source.replace(before, after)))
    return found
