"""Change the source in one small place at a time, and see whether the tests of that module notice.

    python -m benchmarks.mutants                          200 mutants, about half an hour of one core
    python -m benchmarks.mutants --module measures        of these, those of some modules
    python -m benchmarks.mutants --jobs 2 --seed 1        another sample, two at a time
    python -m benchmarks.mutants --list                   show the sample, run nothing

It needs the extra `mutants` (pip install -e '.[dev,mutants]'). Cosmic Ray makes the mutants: another operator or
comparison, a number one more or less, a condition negated, a loop that never runs, a decorator or an exception less.
One mutant is drawn for each place, so that no place counts eleven times for the eleven operators that could stand
there; annotations, docstrings and `if TYPE_CHECKING` blocks are no places. The sample depends on the seed and the text
of the lines: editing one line leaves the rest of the sample as it was.

Each mutant is tried in a copy of the working tree in a temporary folder; your checkout is only read. One process loads
torch and pytest once and forks for each mutant. A mutant is caught when a test fails, or when it takes more than five
times the processor time of the unchanged source. Mutants that once survived (benchmarks/mutants.toml) are tried too.

Results are kept in the folder --out, and a run that was stopped goes on where it stood: what was caught is not tried
again while its module stays the same, what survived not while the tests stay the same either. `--again` starts anew.
benchmarks/mutants.toml names mutants that change nothing that can be seen, each with the reason. They are not counted.
It also gives the reason of each that is seen by no test and left so; they are counted as survivors.

The exit status is 1 if fewer than 95 % of the sample, or not all that once survived, are caught.
"""

from __future__ import annotations

import argparse
import ast
import difflib
import gc
import hashlib
import importlib
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import tomllib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

# A process with threads of its own cannot be forked safely; these libraries would start some when they are imported.
os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "JE_ARROW_MALLOC_CONF": "background_thread:false"}
os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"  # those of other packages take longer than most tests
os.environ["PYTHONDONTWRITEBYTECODE"] = "1"  # bytecode is known by second and length, and mutants come faster than that
sys.dont_write_bytecode = True

ROOT = Path(__file__).resolve().parent.parent
RECORD = Path(__file__).with_suffix(".toml")
AT_LEAST = 0.95

_PUBLISHED = "tests/runs/test_published.py::test_"
_MECHANISM = tuple(
    f"{_PUBLISHED}{name}"
    for name in (
        "distance_irrelevance_in_closed_form",
        "a_network_that_reads_a_and_b_through_their_sum_is_wholly_symmetric",
        "a_network_that_reads_a_and_b_apart_is_not_symmetric_at_all",
    )
)
_GRAIN = "tests/measures/test_measures.py::test_losses_under_float32s_grain_are_resolved"
_NETWORKS = tuple(
    f"{_PUBLISHED}{name}" for name in ("constant_attention_by_its_definition", "one_hidden_layer_by_its_definition")
)
_STATE = "tests/utils/test_torch_state.py::test_nothing_that_the_caller_has_set_changes_a_result_or_is_changed"
_ARRAYS = f"{_STATE}[all of them-functions of arrays]"
_RETURNED = (
    "tests/utils/test_torch_state.py::test_what_is_returned_can_be_changed_without_changing_what_is_computed_next"
)
_NONSENSE = "tests/test_nonsense.py::test_nonsense_is_refused_in_a_sentence_or_gives_finite_numbers"
_MEASURES = (
    "tests/measures/test_measures.py",
    "tests/measures/test_circuit.py",
    "tests/subjects/test_subject.py",
    _ARRAYS,
    _NONSENSE,
)
_SPLITS = tuple(
    f"{_PUBLISHED}a_split_{name}" for name in ("may_be_given_in_any_way", "that_does_not_fit_is_one_sentence")
)
_STARTED_AND_IN_BATCHES = (
    "tests/training/test_updates.py::test_an_update_learns_from_its_batch_and_the_history_has_all_train_pairs",
    "tests/training/test_starts.py",
)
_LOGS = tuple(
    f"tests/runs/test_logs.py::test_{name}"
    for name in ("a_log_of_several_runs_asks_which", "three_runs_step_by_step_are_all_named")
)
_RUN = (
    "tests/runs/test_run.py",
    "tests/utils/test_files.py",
    *(f"{_STATE}[all of them-{of}]" for of in ("model", "load")),
)
_TRAINING = (
    "tests/training/test_train.py", "tests/utils/test_threads.py", f"{_STATE}[all of them-train]",
    "tests/utils/test_files.py", *_STARTED_AND_IN_BATCHES,
)  # fmt: skip
TESTS = {  # of each module, the quickest first
    "interp/measures/attention.py": ("tests/measures/test_circuit.py", _ARRAYS, _NONSENSE),
    "interp/measures/embedding.py": _MEASURES,
    "interp/measures/logits.py": _MEASURES,
    "interp/measures/losses.py": _MEASURES,
    "interp/measures/mechanism.py": (*_MECHANISM, "tests/subjects/test_subject.py", _NONSENSE),
    "interp/measures/neurons.py": _MEASURES,
    "interp/measures/weights.py": _MEASURES,
    "interp/subjects/subject.py": ("tests/subjects/test_subject.py",),
    "interp/measures/registry.py": ("tests/subjects/test_subject.py",),
    "interp/tasks/fourier.py": ("tests/tasks/test_fourier.py", "tests/measures/test_measures.py", _ARRAYS, _RETURNED,
                                _NONSENSE),
    "interp/networks/pairs.py": ("tests/networks/test_forward.py", "tests/networks/test_networks.py"),
    "interp/networks/shared.py": ("tests/networks/test_forward.py", *_NETWORKS, _ARRAYS, _NONSENSE),
    "interp/training/updates.py": ("tests/training/test_updates.py", _GRAIN, "tests/training/test_train.py"),
    "interp/tasks/task.py": ("tests/tasks/test_task.py", f"{_STATE}[all of them-labels and splits]", *_SPLITS),
    "interp/study/phase_rules.py": ("tests/study/test_phases.py", *_LOGS),
    "interp/utils/files.py": ("tests/runs/test_run.py", "tests/utils/test_files.py"),
    "interp/runs/run.py": _RUN,
    "interp/runs/directory.py": _RUN,
    "interp/training/loop.py": _TRAINING,
    "interp/training/state.py": _TRAINING,
    "interp/training/place.py": _TRAINING,
}  # fmt: skip


@dataclass(frozen=True)
class Mutant:
    """One change of one module; `operator`, `line` and `occurrence` (of the two) name it whatever its line number."""

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

    def change(self) -> str:
        """The lines that it takes away and puts in."""
        lines = difflib.unified_diff(self.source.splitlines(), self.mutated.splitlines(), n=0, lineterm="")
        changed = [line for line in lines if line[:1] in ("-", "+") and line[:3] not in ("---", "+++")]
        return "\n".join(f"{line[0]} {line[1:].strip()}" for line in changed)


@dataclass(frozen=True)
class Outcome:
    """What became of a mutant: caught by a test, caught before any test ran, too slow, or survived."""

    how: str
    by: str
    seconds: float

    @property
    def survived(self) -> bool:
        return self.how == "survived"


# ── mutants ──────────────────────────────────────────────────────────────────────────────────────────────────────


def drawn(seed: int, *what: object) -> int:
    return int.from_bytes(hashlib.sha256("\0".join(map(str, (seed, *what))).encode()).digest()[:8], "big")


class Places:
    """The places of a module at which it can be changed, and how."""

    def __init__(self, root: Path, file: str) -> None:
        from cosmic_ray.ast import ast_nodes, get_ast
        from cosmic_ray.operators.provider import OperatorProvider

        self.file, self._provider = file, OperatorProvider()
        self._source = (root / file).read_text(encoding="utf-8")
        lines, tree = self._source.splitlines(), get_ast(self._source)
        nodes, found = list(ast_nodes(tree)), defaultdict(list)
        for name in self._provider:
            if self._provider[name].arguments():  # those that put chance numbers in place of a variable
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
        """By file, kind of change, line, and which of its kind in such a line."""
        return iter(self._candidates)

    def __len__(self) -> int:
        return len(self._candidates)

    def mutant(self, place: tuple[str, str, str, int], seed: int) -> Mutant | None:
        """The change drawn for a place; None where none of those possible is another program."""
        from cosmic_ray.mutating import MutationVisitor

        number, candidates = self._candidates[place]
        for name, index, occurrence in sorted(candidates, key=lambda c: drawn(seed, *place, c[0], c[2])):
            try:
                mutated = MutationVisitor.mutate_code(self._source, self._provider[name](), index)
                if mutated is not None and ast.dump(ast.parse(mutated)) != ast.dump(ast.parse(self._source)):
                    return Mutant(self.file, name, place[2], occurrence, number, self._source, mutated)
            except (SyntaxError, ValueError, AttributeError):  # as of an exception with a dot in its name
                continue
        return None


def sample(of: list[Places], seed: int, number: int) -> list[Mutant]:
    """One mutant at each of so many places, drawn from all modules alike."""
    chosen: list[Mutant] = []
    numbered = [(drawn(seed, *place), module, place) for module in of for place in module]
    for _, module, place in sorted(numbered, key=lambda one: one[0]):
        if len(chosen) == number:
            break
        if (mutant := module.mutant(place, seed)) is not None:
            chosen.append(mutant)
    return chosen


def _is_unrun(leaf: object) -> bool:
    """Whether code stands in an annotation, or in a block that only type checkers read."""
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


def by_hand(root: Path, entries: list[dict[str, str]]) -> list[Mutant]:
    """The mutants that once survived, as mutants.toml lists them: text of a module, and what is put in its place."""
    found = []
    for entry in entries:
        source = (root / entry["file"]).read_text(encoding="utf-8")
        if source.count(entry["before"]) != 1:
            raise SystemExit(f"{entry['before']!r} must stand once in {entry['file']}; change {RECORD.name} to fit it.")
        number = source[: source.index(entry["before"])].count("\n") + 1
        mutated = source.replace(entry["before"], entry["after"])
        found.append(Mutant(entry["file"], "by hand", entry["what"], 0, number, source, mutated))
    return found


# ── trying them ──────────────────────────────────────────────────────────────────────────────────────────────────


def snapshot(folder: Path) -> None:
    """Copy the working tree, without what git ignores: it may be edited while mutants are tried."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=ROOT, capture_output=True
    )
    if listed.returncode:
        raise SystemExit(f"{ROOT} must be a git checkout: git lists what is copied.")
    for name in listed.stdout.decode().split("\0"):
        if name and (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)


class Tree:
    """A copy of the source in which one mutant at a time is tried."""

    def __init__(self, original: Path, folder: Path) -> None:
        self._original, self.path = original, folder / "tree"
        self.log, self.scratch, self.loaded = folder / "log", folder / "t", folder / "loaded.json"
        shutil.copytree(original, self.path)
        if (shared := ROOT.parent / "shared").is_dir():  # published models, which some tests read there
            (folder / "shared").symlink_to(shared)

    def restore(self) -> None:
        """Undo what a mutant and its tests changed: a trajectory kept beside a run would speak for the next mutant."""
        files = {name for name in self.path.rglob("*") if not name.is_dir() or name.is_symlink()}
        for file in files:
            original = self._original / file.relative_to(self.path)
            if not original.exists():
                file.unlink()
            elif not _same(file, original):
                shutil.copy2(original, file)
        for original in self._original.rglob("*"):
            if original.is_file() and self.path / original.relative_to(self._original) not in files:
                shutil.copy2(original, self.path / original.relative_to(self._original))
        shutil.rmtree(self.scratch, ignore_errors=True)


def _same(one: Path, other: Path) -> bool:
    a, b = one.stat(), other.stat()
    return (a.st_size, a.st_mtime_ns) == (b.st_size, b.st_mtime_ns)


class NoShrinking:
    """A plugin of pytest: one failing example is enough, hypothesis need not look for the simplest."""

    def pytest_sessionstart(self) -> None:  # after conftest.py has chosen its settings, before tests are imported
        from hypothesis import Phase, settings

        settings.register_profile("mutants", settings(), phases=(Phase.explicit, Phase.generate))
        settings.load_profile("mutants")


@dataclass
class Trial:
    """The tests of one mutant (or of none) under way in a process of their own."""

    tree: Tree
    mutant: Mutant | None
    tests: tuple[str, ...]
    cpu_limit: float
    wall_limit: float
    began: float = field(default_factory=time.monotonic)
    pid: int = 0

    def start(self) -> None:
        if self.mutant is not None:
            (self.tree.path / self.mutant.file).write_text(self.mutant.mutated, encoding="utf-8")
        self.pid = os.fork()
        if self.pid == 0:
            code = 70
            try:
                code = self._in_child()
            finally:
                os._exit(code)

    def _in_child(self) -> int:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.setsid()  # so that what the tests start can be ended with them
        if self.cpu_limit:
            resource.setrlimit(resource.RLIMIT_CPU, (int(self.cpu_limit) + 1, int(self.cpu_limit) + 3))
        log = os.open(self.tree.log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        nothing = os.open(os.devnull, os.O_RDONLY)
        for source, target in ((nothing, 0), (log, 1), (log, 2)):
            os.dup2(source, target)
        os.chdir(self.tree.path)
        sys.path[0] = str(self.tree.path)
        sys.modules.pop("benchmarks", None)
        importlib.invalidate_caches()
        import pytest

        before = set(sys.modules)
        options = [
            "-x",
            "-q",
            "-p",
            "no:cacheprovider",
            "-p",
            "_hypothesis_pytestplugin",
            "--tb=line",
            "-rfE",
            f"--basetemp={self.tree.scratch}",
        ]
        code = int(pytest.main([*options, *self.tests], plugins=[NoShrinking()]))
        if self.mutant is None:
            files = {name: str(getattr(module, "__file__", None)) for name, module in [*sys.modules.items()]}
            others = [name for name in files if name not in before and not files[name].startswith(str(self.tree.path))]
            self.tree.loaded.write_text(json.dumps(others), encoding="utf-8")
        return code

    def ended(self) -> tuple[int, float] | None:
        """The exit status (negative for a signal) and processor seconds, once the tests have ended or time is up."""
        pid, status, used = os.wait4(self.pid, os.WNOHANG)
        if not pid:
            if not self.wall_limit or time.monotonic() - self.began < self.wall_limit:
                return None
            self._kill()
            _, status, used = os.wait4(self.pid, 0)
        self._kill()
        return os.waitstatus_to_exitcode(status), used.ru_utime + used.ru_stime

    def _kill(self) -> None:
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            return

    def outcome(self, code: int, seconds: float) -> Outcome:
        said = self.tree.log.read_text(encoding="utf-8", errors="replace")
        named = [
            line.split(" ", 1)[1].split(" - ")[0]
            for line in said.splitlines()
            if line.startswith(("FAILED ", "ERROR "))
        ]
        by = named[0].removeprefix("tests/") if named else ""
        if code == 0:
            return Outcome("survived", "", seconds)
        if code < 0:
            return Outcome("too slow", "", seconds)
        if code == 5:
            raise SystemExit(f"no tests were found for {self.mutant}; mend TESTS in {Path(__file__).name}.")
        return Outcome("caught" if code == 1 else "caught at import", by, seconds)


class Tries:
    """Run mutants, some at a time, each in a tree of its own."""

    def __init__(self, jobs: int, original: Path, folder: Path) -> None:
        self._trees = [Tree(original, folder / str(job)) for job in range(jobs)]
        self._load(["pytest", "torch", "transformer_lens.model_bridge"])
        self._limits: dict[str, tuple[float, float]] = {}

    def _load(self, names: list[str]) -> None:
        """Import here, once, what the tests import beside the source."""
        for name in names:
            with suppress(ImportError):
                importlib.import_module(name)
        gc.freeze()  # pytest collects garbage at its end, and need not look through torch each time
        tasks = Path("/proc/self/task")
        if tasks.exists() and (threads := len(list(tasks.iterdir()))) > 1:
            raise SystemExit(f"this process must have one thread to be forked; it has {threads}.")

    def _limit(self, tests: tuple[str, ...], tree: Tree) -> tuple[float, float]:
        """Seconds of processor and of clock that a mutant may take, after a run of the unchanged source."""
        for part in tests:
            if part in self._limits:
                continue
            trial = Trial(tree, None, (part,), 0, 0)
            trial.start()
            while (end := trial.ended()) is None:
                time.sleep(0.02)
            if end[0] != 0:
                said = trial.tree.log.read_text(encoding="utf-8", errors="replace")
                raise SystemExit(f"{part} must pass before mutants are tried:\n{said}")
            trial.tree.restore()
            self._load(json.loads(trial.tree.loaded.read_text(encoding="utf-8")))
            self._limits[part] = 5 * end[1], 5 * (time.monotonic() - trial.began)
        cpu, wall = (sum(one) for one in zip(*(self._limits[part] for part in tests), strict=True))
        return 10 + cpu, 60 + wall

    def run(self, wanted: list[Mutant]) -> Iterator[tuple[Mutant, Outcome]]:
        known = TESTS
        free, at_work, left = [*self._trees], list[Trial](), [*wanted]
        try:
            while left or at_work:
                while left and free:
                    mutant, tree = left.pop(0), free.pop()
                    trial = Trial(tree, mutant, known[mutant.file], *self._limit(known[mutant.file], tree))
                    trial.start()
                    at_work.append(trial)
                for trial in [*at_work]:
                    if (end := trial.ended()) is not None:
                        at_work.remove(trial)
                        outcome = trial.outcome(*end)
                        trial.tree.restore()
                        free.append(trial.tree)
                        assert trial.mutant is not None
                        yield trial.mutant, outcome
                time.sleep(0.02)
        finally:
            for trial in at_work:
                trial._kill()
                os.waitpid(trial.pid, 0)


# ── results ──────────────────────────────────────────────────────────────────────────────────────────────────────


def digest(*texts: str) -> str:
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()[:16]


class Results:
    """What was found, a line of JSON a mutant, in the order of the tries; the last line of a mutant counts."""

    def __init__(self, file: Path, original: Path, anew: bool) -> None:
        self._file = file
        self._tests = digest(*(file.read_text("utf-8") for file in sorted((original / "tests").glob("*.py"))))
        file.parent.mkdir(parents=True, exist_ok=True)
        if anew:
            file.unlink(missing_ok=True)
        self._lines = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []

    def known(self, mutant: Mutant) -> Outcome | None:
        source = digest(mutant.source)
        for line in reversed(self._lines):
            if tuple(line["mutant"]) == mutant.name and line["source"] == source:
                outcome = Outcome(**line["outcome"])
                return outcome if line["tests"] == self._tests or not outcome.survived else None
        return None

    def add(self, mutant: Mutant, outcome: Outcome) -> None:
        line = {
            "mutant": list(mutant.name),
            "outcome": asdict(outcome),
            "source": digest(mutant.source),
            "tests": self._tests,
        }
        self._lines.append(line)
        with self._file.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(line, ensure_ascii=False) + "\n")


def report(
    found: dict[Mutant, Outcome], reasons: dict[str, dict[tuple[str, str, str, int], str]], places: dict[str, int]
) -> tuple[str, bool]:
    """A table, a row a module, then what survived; and whether enough was caught."""
    hand = {mutant: outcome for mutant, outcome in found.items() if mutant.operator == "by hand"}
    drawn_ones = {mutant: outcome for mutant, outcome in found.items() if mutant not in hand}
    equivalent = {mutant: outcome for mutant, outcome in drawn_ones.items() if mutant.name in reasons["equivalent"]}
    counted = {mutant: outcome for mutant, outcome in drawn_ones.items() if mutant not in equivalent}
    columns = ("module", "places", "mutants", "equivalent", "caught", "of these at import", "too slow", "survived")
    lines = [f"| {' | '.join(columns)} |", "| --- " * len(columns) + "|"]
    for file in [*places, None]:
        here = [mutant for mutant in drawn_ones if file in (None, mutant.file)]
        of = [outcome for mutant, outcome in counted.items() if file in (None, mutant.file)]
        how = Counter(outcome.how for outcome in of)
        numbers = (sum(places.values()) if file is None else places[file], len(here), len(here) - len(of),
                   len(of) - how["survived"], how["caught at import"], how["too slow"], how["survived"])  # fmt: skip
        lines.append(f"| {' | '.join(map(str, ((file or 'all').removeprefix('interp/'), *numbers)))} |")
    survivors = [mutant for mutant, outcome in counted.items() if outcome.survived]
    again = [mutant for mutant, outcome in hand.items() if outcome.survived]
    for title, mutants in [("Survived", survivors), ("Survived again", again), ("Equivalent", [*equivalent])]:
        lines += ["", f"{title}:"] if mutants else []
        for mutant in mutants:
            lines += ["", f"{mutant.file}:{mutant.number}  {mutant.operator}, occurrence {mutant.occurrence}"]
            lines += [f"    {line}" for line in mutant.change().splitlines()]
            kind = "equivalent" if mutant in equivalent else "survivor"
            doubt = "" if found[mutant].survived else f" But it was caught, by {found[mutant].by}."
            lines.append(f"    {reasons[kind].get(mutant.name, 'No reason is given yet.')}{doubt}")
    caught = len(counted) - len(survivors)
    lines += ["", f"{caught} of {len(counted)} caught ({caught / max(len(counted), 1):.1%}), and "
              f"{len(hand) - len(again)} of the {len(hand)} that once survived."]  # fmt: skip
    return "\n".join(lines), caught >= AT_LEAST * len(counted) and not again


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.mutants", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seed", type=int, default=0, help="which sample (default: 0)")
    parser.add_argument("-n", "--number", type=int, default=200, help="mutants to draw from all modules (default: 200)")
    parser.add_argument(
        "--module", action="append", default=[], metavar="TEXT", help="of the sample, modules whose path holds TEXT"
    )
    parser.add_argument("--jobs", type=int, default=1, help="mutants at a time, a core each (default: 1)")
    parser.add_argument("--out", type=Path, default=ROOT / ".mutants", help="folder of the results (default: .mutants)")
    parser.add_argument("--again", action="store_true", help="forget earlier results in --out")
    parser.add_argument("--list", action="store_true", help="show the sample and run nothing")
    options = parser.parse_args()
    try:
        importlib.import_module("cosmic_ray")
    except ImportError:
        parser.error("Cosmic Ray is missing; install it with pip install -c constraints.txt -e '.[dev,mutants]'.")

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # ends what runs, and goes on another time
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        enough = run(options, Path(folder))
    sys.exit(not enough)


def run(options: argparse.Namespace, folder: Path) -> bool:
    """Draw the mutants, try those whose outcome is not known, and say whether enough are caught."""
    record = tomllib.loads(RECORD.read_text(encoding="utf-8"))
    reasons = {
        kind: {(e["file"], e["operator"], e["line"], e["occurrence"]): e["reason"] for e in record[kind]}
        for kind in ("equivalent", "survivor")
    }
    commit = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True).stdout
    original = folder / "original"
    snapshot(original)
    modules = [file for file in TESTS if not options.module or any(t in file for t in options.module)]
    places = [Places(original, file) for file in TESTS]
    wanted = sorted(sample(places, options.seed, options.number), key=lambda mutant: (mutant.file, mutant.number))
    wanted = [m for m in wanted + by_hand(original, record["once_survived"]) if m.file in modules]
    if options.list:
        for mutant in wanted:
            print(
                f"{mutant.file}:{mutant.number}  {mutant.operator}, occurrence {mutant.occurrence}\n{mutant.change()}\n"
            )
        return True

    results = Results(options.out / "results.jsonl", original, options.again)
    found = {mutant: outcome for mutant in wanted if (outcome := results.known(mutant)) is not None}
    left = [mutant for mutant in wanted if mutant not in found]
    with _bar(len(wanted), len(found)) as moved:
        for mutant, outcome in Tries(options.jobs, original, folder).run(left) if left else ():
            results.add(mutant, outcome)
            found[mutant] = outcome
            moved(mutant, outcome)

    said, enough = report(found, reasons, {of.file: len(of) for of in places if of.file in modules})
    said = f"{options.number} mutants, seed {options.seed}, commit {commit.strip()}\n\n{said}"
    (options.out / "report.md").write_text(said + "\n", encoding="utf-8")
    print(said)
    return enough


@contextmanager
def _bar(total: int, done: int) -> Iterator[Callable[[Mutant, Outcome], None]]:
    text = TextColumn("{task.description}")
    columns = (text, BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), TextColumn("left"))
    with Progress(*columns, console=Console(stderr=True), auto_refresh=False) as bar:  # no thread, for the forks
        task = bar.add_task("mutants", total=total, completed=done)

        def moved(mutant: Mutant, outcome: Outcome) -> None:
            if outcome.survived:
                bar.console.print(
                    f"survived: {mutant.file}:{mutant.number}\n{mutant.change()}\n", highlight=False, markup=False
                )
            bar.update(task, advance=1, description=mutant.file.removeprefix("interp/"), refresh=True)

        yield moved


if __name__ == "__main__":
    main()
