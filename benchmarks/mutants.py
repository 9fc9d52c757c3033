"""Change the source in one small place at a time, and see whether the tests of that module notice.

    python -m benchmarks.mutants                          200 mutants, about half an hour of one core
    python -m benchmarks.mutants --module measures        of these, those of some modules
    python -m benchmarks.mutants --jobs 2 --seed 1        another sample, two at a time
    python -m benchmarks.mutants --list                   show the sample, run nothing

It needs the extra `mutants` (pip install -e '.[dev,mutants]'). Cosmic Ray makes the mutants: another operator or
comparison, a number one more or less, a condition negated, a loop that never runs, a decorator or an exception less.
One mutant is drawn for each place, so that a place with eleven possible operators counts once. Annotations, docstrings
and `if TYPE_CHECKING` blocks are no places. The sample depends on the seed and the text of the lines: an edited line
leaves the rest of the sample unchanged.

Each mutant is tried in a copy of the working tree in a temporary folder; your checkout is only read. One process loads
torch and pytest once and forks for each mutant. A mutant is caught if a test fails, or if it takes more than five times
the processor time of the unchanged source. Mutants that once survived (benchmarks/mutants.toml) are tried too.

Results are kept in the folder --out, and a run that was stopped goes on there: caught mutants are not tried again while
their module stays the same, survivors not while the tests stay the same too. benchmarks/mutants.toml gives the reason
of each mutant whose change nobody can see, which is not counted, and of each survivor that may stay, which is counted.
The exit status is 1 if fewer than 95 % of the sample, or not all that once survived, are caught.
"""

from __future__ import annotations

import argparse
import filecmp
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
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from importlib.util import find_spec
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

from benchmarks.mutations import Mutant, Places, by_hand, sample

# A process with several threads cannot be forked safely; these libraries would start some when they are imported.
os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "JE_ARROW_MALLOC_CONF": "background_thread:false"}
os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"  # other plugins take longer than most tests
os.environ["PYTHONDONTWRITEBYTECODE"] = "1"  # Python knows bytecode by second and length alone
sys.dont_write_bytecode = True

ROOT = Path(__file__).resolve().parent.parent
AT_LEAST = 0.95


def _of(file: str, *names: str) -> tuple[str, ...]:
    return tuple(f"tests/{file}.py::test_{name}" for name in names)


_MECHANISM = _of(
    "runs/test_published", "distance_irrelevance_in_closed_form",
    "a_network_that_reads_a_and_b_through_their_sum_is_wholly_symmetric",
    "a_network_that_reads_a_and_b_apart_is_not_symmetric_at_all",
)  # fmt: skip
_GRAIN = _of("measures/test_measures", "losses_under_float32s_grain_are_resolved")
_NETWORKS = _of("runs/test_published", "constant_attention_by_its_definition", "one_hidden_layer_by_its_definition")
(_STATE,) = _of("utils/test_torch_state", "nothing_that_the_caller_has_set_changes_a_result_or_is_changed")
_ARRAYS = f"{_STATE}[all of them-functions of arrays]"
_RETURNED = _of("utils/test_torch_state", "what_is_returned_can_be_changed_without_changing_what_is_computed_next")
(_NONSENSE,) = _of("test_nonsense", "nonsense_is_refused_in_a_sentence_or_gives_finite_numbers")
_MEASURES = (
    "tests/measures/test_measures.py", "tests/measures/test_circuit.py", "tests/subjects/test_subject.py", _ARRAYS,
    _NONSENSE,
)  # fmt: skip
_SPLITS = _of("runs/test_published", "a_split_may_be_given_in_any_way", "a_split_that_does_not_fit_is_one_sentence")
_BATCHES = _of("training/test_updates", "an_update_learns_from_its_batch_and_the_history_has_all_train_pairs")
_LOGS = _of("runs/test_logs", "a_log_of_several_runs_asks_which", "three_runs_step_by_step_are_all_named")
_STATES = (f"{_STATE}[all of them-model]", f"{_STATE}[all of them-load]")
_RUN = ("tests/runs/test_run.py", "tests/utils/test_files.py", *_STATES)
_TRAINING = (
    "tests/training/test_train.py", "tests/utils/test_threads.py", f"{_STATE}[all of them-train]",
    "tests/utils/test_files.py", *_BATCHES, "tests/training/test_starts.py",
)  # fmt: skip
_PHASES = ("tests/study/test_phases.py", *_LOGS)
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
    "interp/tasks/fourier.py": ("tests/tasks/test_fourier.py", "tests/measures/test_measures.py", _ARRAYS, *_RETURNED,
                                _NONSENSE),
    "interp/networks/pairs.py": ("tests/networks/test_forward.py", "tests/networks/test_networks.py"),
    "interp/networks/shared.py": ("tests/networks/test_forward.py", *_NETWORKS, _ARRAYS, _NONSENSE),
    "interp/training/updates.py": ("tests/training/test_updates.py", *_GRAIN, "tests/training/test_train.py"),
    "interp/tasks/task.py": ("tests/tasks/test_task.py", f"{_STATE}[all of them-labels and splits]", *_SPLITS),
    "interp/study/frames.py": _PHASES,
    "interp/study/phase_rules.py": _PHASES,
    "interp/utils/thresholds.py": _PHASES,
    "interp/utils/files.py": ("tests/runs/test_run.py", "tests/utils/test_files.py"),
    "interp/runs/run.py": _RUN,
    "interp/runs/directory.py": _RUN,
    "interp/training/loop.py": _TRAINING,
    "interp/training/state.py": _TRAINING,
    "interp/training/place.py": _TRAINING,
}  # fmt: skip


@dataclass(frozen=True)
class Outcome:
    """The fate of a mutant: caught by a test, caught at import, too slow, or survived."""

    how: str
    by: str
    seconds: float

    @property
    def survived(self) -> bool:
        return self.how == "survived"


def snapshot(folder: Path) -> None:
    """Copy the working tree without files that git ignores, so that it may be edited while mutants are tried."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True)
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
        if (shared := ROOT.parent / "shared").is_dir():  # published models for some tests
            (folder / "shared").symlink_to(shared)

    def said(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace")

    def restore(self) -> None:
        """Undo the changes of a mutant and its tests, such as a trajectory that the next mutant would read."""
        files = {name for name in self.path.rglob("*") if not name.is_dir() or name.is_symlink()}
        for file in files:
            original = self._original / file.relative_to(self.path)
            if not original.exists():
                file.unlink()
            elif not filecmp.cmp(file, original):
                shutil.copy2(original, file)
        for original in self._original.rglob("*"):
            if original.is_file() and self.path / original.relative_to(self._original) not in files:
                shutil.copy2(original, self.path / original.relative_to(self._original))
        shutil.rmtree(self.scratch, ignore_errors=True)


class NoShrinking:
    """A plugin of pytest that keeps hypothesis from looking for the simplest failing example."""

    def pytest_sessionstart(self) -> None:  # after conftest.py has chosen its settings, before tests are imported
        from hypothesis import Phase, settings

        settings.register_profile("mutants", settings(), phases=(Phase.explicit, Phase.generate))
        settings.load_profile("mutants")


@dataclass
class Trial:
    """The tests of one mutant (or of the unchanged source) under way in their own process."""

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
        os.setsid()  # so that processes of the tests can be ended with them
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
        options = ["-x", "-q", "-p", "no:cacheprovider", "-p", "_hypothesis_pytestplugin", "--tb=line", "-rfE"]
        code = int(pytest.main([*options, f"--basetemp={self.tree.scratch}", *self.tests], plugins=[NoShrinking()]))
        if self.mutant is None:
            files = {name: str(getattr(module, "__file__", None)) for name, module in [*sys.modules.items()]}
            others = [name for name in files if name not in before and not files[name].startswith(str(self.tree.path))]
            self.tree.loaded.write_text(json.dumps(others), encoding="utf-8")
        return code

    def ended(self) -> tuple[int, float] | None:
        """Return exit status (negative for a signal) and processor seconds, once the tests have ended or time is up."""
        pid, status, used = os.wait4(self.pid, os.WNOHANG)
        if not pid:
            if not self.wall_limit or time.monotonic() - self.began < self.wall_limit:
                return None
            self.kill()
            _, status, used = os.wait4(self.pid, 0)
        self.kill()
        return os.waitstatus_to_exitcode(status), used.ru_utime + used.ru_stime

    def kill(self) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)

    def outcome(self, code: int, seconds: float) -> Outcome:
        named = (line for line in self.tree.said().splitlines() if line.startswith(("FAILED ", "ERROR ")))
        by = next(named, " ").split(" ", 1)[1].split(" - ")[0].removeprefix("tests/")
        if code == 0:
            return Outcome("survived", "", seconds)
        if code < 0:
            return Outcome("too slow", "", seconds)
        if code == 5:
            raise SystemExit(f"no tests were found for {self.mutant}; mend TESTS in {Path(__file__).name}.")
        return Outcome("caught" if code == 1 else "caught at import", by, seconds)


class Tries:
    """Run mutants, some at a time, each in its own tree."""

    def __init__(self, jobs: int, original: Path, folder: Path) -> None:
        self._trees = [Tree(original, folder / str(job)) for job in range(jobs)]
        self._load(["pytest", "torch", "transformer_lens.model_bridge"])
        self._limits: dict[str, tuple[float, float]] = {}

    def _load(self, names: list[str]) -> None:
        """Import the modules here, once, that the tests import beside the source."""
        for name in names:
            with suppress(ImportError):
                importlib.import_module(name)
        gc.freeze()  # pytest collects garbage at its end, and need not look through torch each time
        tasks = Path("/proc/self/task")
        if tasks.exists() and (threads := len([*tasks.iterdir()])) > 1:
            raise SystemExit(f"this process must have one thread to be forked; it has {threads}.")

    def _limit(self, tests: tuple[str, ...], tree: Tree) -> tuple[float, float]:
        """Return the seconds of processor and clock that a mutant may take, after a run of the unchanged source."""
        for part in [one for one in tests if one not in self._limits]:
            trial = Trial(tree, None, (part,), 0, 0)
            trial.start()
            while (end := trial.ended()) is None:
                time.sleep(0.02)
            if end[0] != 0:
                raise SystemExit(f"{part} must pass before mutants are tried:\n{tree.said()}")
            trial.tree.restore()
            self._load(json.loads(trial.tree.loaded.read_text(encoding="utf-8")))
            self._limits[part] = 5 * end[1], 5 * (time.monotonic() - trial.began)
        cpu, wall = (sum(one) for one in zip(*(self._limits[part] for part in tests), strict=True))
        return 10 + cpu, 60 + wall

    def run(self, wanted: list[Mutant]) -> Iterator[tuple[Mutant, Outcome]]:
        free, at_work, left = [*self._trees], list[Trial](), [*wanted]
        try:
            while left or at_work:
                while left and free:
                    mutant, tree = left.pop(0), free.pop()
                    trial = Trial(tree, mutant, TESTS[mutant.file], *self._limit(TESTS[mutant.file], tree))
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
                trial.kill()
                os.waitpid(trial.pid, 0)


def digest(*texts: str) -> str:
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()[:16]


class Results:
    """Results in a file, a line of JSON for each try; the last line of a mutant counts."""

    def __init__(self, file: Path, original: Path, anew: bool) -> None:
        self._file = file
        self._tests = digest(*(file.read_text("utf-8") for file in sorted((original / "tests").rglob("*.py"))))
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
        source = digest(mutant.source)
        line = {"mutant": mutant.name, "outcome": asdict(outcome), "source": source, "tests": self._tests}
        self._lines.append(line)
        with self._file.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(line, ensure_ascii=False) + "\n")


def report(
    found: dict[Mutant, Outcome], reasons: dict[str, dict[tuple[str, str, str, int], str]], places: dict[str, int]
) -> tuple[str, bool]:
    """Return a table with a row for each module and the survivors, and whether enough was caught."""
    hand = {mutant: outcome for mutant, outcome in found.items() if mutant.operator == "by hand"}
    drawn_ones = {mutant: outcome for mutant, outcome in found.items() if mutant not in hand}
    equivalent = {mutant: outcome for mutant, outcome in drawn_ones.items() if mutant.name in reasons["equivalent"]}
    counted = {mutant: outcome for mutant, outcome in drawn_ones.items() if mutant not in equivalent}
    lines = ["| module | places | mutants | equivalent | caught | of these at import | too slow | survived |"]
    lines.append("| --- " * 8 + "|")
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
            lines += ["", mutant.title, *(f"    {line}" for line in mutant.change().splitlines())]
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
    parser.add_argument("--module", action="append", default=[], metavar="TEXT",
                        help="of the sample, modules whose path holds TEXT")  # fmt: skip
    parser.add_argument("--jobs", type=int, default=1, help="mutants at a time, a core each (default: 1)")
    parser.add_argument("--out", type=Path, default=ROOT / ".mutants", help="folder of the results (default: .mutants)")
    parser.add_argument("--again", action="store_true", help="forget earlier results in --out")
    parser.add_argument("--list", action="store_true", help="show the sample and run nothing")
    options = parser.parse_args()
    if find_spec("cosmic_ray") is None:
        parser.error("Cosmic Ray is missing; install it with pip install -c constraints.txt -e '.[dev,mutants]'.")

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # another run goes on
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        sys.exit(not run(options, Path(folder)))


def run(options: argparse.Namespace, folder: Path) -> bool:
    """Draw the mutants, try those whose outcome is not known, and return whether enough are caught."""
    record = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
    reasons = {
        kind: {(e["file"], e["operator"], e["line"], e.get("occurrence", 0)): e["reason"] for e in record[kind]}
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
            print(f"{mutant.title}\n{mutant.change()}\n")
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
    columns = ("{task.description}", BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), "left")
    with Progress(*columns, console=Console(stderr=True), auto_refresh=False) as bar:  # no thread, for the forks
        task = bar.add_task("mutants", total=total, completed=done)

        def moved(mutant: Mutant, outcome: Outcome) -> None:
            if outcome.survived:
                said = f"survived: {mutant.file}:{mutant.number}\n{mutant.change()}\n"
                bar.console.print(said, highlight=False, markup=False)
            bar.update(task, advance=1, description=mutant.file.removeprefix("interp/"), refresh=True)

        yield moved


if __name__ == "__main__":
    main()
