"""Phases: the boundaries of the phases of a run as typed fields, as spans, and as a table that prints."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any

from interp.study.frames import EVENTS
from interp.utils.printed import Printed
from interp.utils.thresholds import LEARNED

CLEANUP, GOING_ON = "cleanup", "cleanup, going on"


@dataclass(frozen=True, repr=False)
class Phases(Printed):
    """The boundaries of the phases, in steps, each at a row of the record that shows it.

    So memorization_end ≤ circuit_formation_end ≤ generalized ≤ cleanup_end. A longer record never moves memorized,
    circuit_formation_end or generalized once they are found; without test accuracy it may, since then nothing says
    where to stop. After Nanda et al. (2023), section 5, who read the phases off their curves.

    Attributes:
        memorized: The first step with train accuracy of `threshold` or more.
        memorization_end: The step of the least excluded_loss from `memorized` to circuit_formation_end (to
            `generalized` if that is None).
        circuit_formation_end: Between the peak of test_loss, its largest value up to `generalized`, and `generalized`,
            the row after the last one whose test_loss is over a sixth of the peak.
        generalized: The first step with test accuracy of `threshold` or more.
        cleanup_end: The step from `generalized` on at which log test_loss has fallen 0.99 of the way from peak to
            floor, if the loss had settled. The floor is its least value from `generalized` to the row before the first
            fall of accuracy, or to the last row. The loss had settled if the first four fifths of this stretch, which
            must have five rows or more, give the same step up to a tenth of the stretch.
        grokking_delay: generalized − memorized.
        last_step: The last step of the record.
        missing: The reason for each event that is None. `lost` is None without a reason in a run that generalized and
            kept what it learned.
        lost: The first step of a fall of test accuracy (under threshold − 0.09) that was never over: no later row had
            threshold − 0.01 or more.
        dips: The number of falls after `generalized` that were over.
        dip_steps: Of each of these, the step at which accuracy fell and the one at which it was back.
        threshold: The accuracy from which a set counts as learned.
        sustain: The number of rows in a row that memorized and generalized need.
        intervals: By event, the last earlier step with a value (None if there is none) and the step of the event, which
            happened after the first and no later than the second.
        cleanup_after: The step found so far if the loss had not settled: cleanup ends there or later.
        passage_end: The last step before the first fall, or the last step; None if it never generalized.
        doubts: Sentences on each event that a single row decides.
    """

    memorized: int | None
    memorization_end: int | None
    circuit_formation_end: int | None
    generalized: int | None
    cleanup_end: int | None
    grokking_delay: int | None
    last_step: int
    missing: dict[str, str] = field(default_factory=dict)
    lost: int | None = None
    dips: int | None = None
    dip_steps: tuple[tuple[int, int], ...] = ()
    threshold: float = LEARNED
    sustain: int = 1
    intervals: dict[str, tuple[int | None, int]] = field(default_factory=dict)
    cleanup_after: int | None = None
    passage_end: int | None = None
    doubts: tuple[str, ...] = ()

    def spans(self) -> list[tuple[str, int, int]]:
        """Return (name, first step, last step) of each phase whose two ends are known; "grokked" ends at `lost`.

        Cleanup without an end lasts to the first fall or the last step, as "cleanup, going on".
        """
        formed, end = self.circuit_formation_end, self.cleanup_end
        edges = [
            ("memorization", 0, self.memorization_end),
            ("circuit formation", self.memorization_end, formed),
            (CLEANUP, formed, end) if end is not None else (GOING_ON, formed, self.passage_end),
            ("grokked", end, self.last_step if self.lost is None else self.lost),
        ]
        return [(name, one, two) for name, one, two in edges if one is not None and two is not None and two > one]

    def ends(self) -> list[tuple[str, int]]:
        """Return (name, last step) of each phase that ended, ascending."""
        return [(name, end) for name, _, end in self.spans() if name not in (GOING_ON, "grokked")]

    def lasted(self) -> bool | None:
        """True if accuracy held for a tenth of the steps to generalize; None if the record does not tell."""
        if self.generalized is None or self.passage_end is None:
            return None
        if self.passage_end >= lasting_until(self.generalized):
            return True
        return False if self.dips or self.lost is not None else None

    def at(self, step: int) -> str | None:
        """Return the name of the phase at a step, at a boundary the later one; None if none is known there."""
        names = [name for name, first, last in self.spans() if first <= step <= last]
        return names[-1] if names else None

    def to_dict(self) -> dict[str, Any]:
        """Return all fields as plain numbers, strings, lists and dicts, ready for JSON."""
        plain = {f.name: getattr(self, f.name) for f in fields(self)}
        plain["dip_steps"] = [list(dip) for dip in self.dip_steps]
        plain["doubts"] = list(self.doubts)
        plain["intervals"] = {name: list(interval) for name, interval in self.intervals.items()}
        return plain

    def _lines(self) -> list[tuple[str, str]]:
        def text(name: str) -> str:
            value = getattr(self, name)
            if value is None:
                if name == "lost" and name not in self.missing:
                    return "no"
                bound = self.cleanup_after if name == "cleanup_end" else None
                known = "" if bound is None else f"{bound:,} or later: "
                return f"– {known}{self.missing.get(name, 'unknown')}"
            after = self.intervals.get(name, (None, value))[0]
            return f"{value:,}" + (f" (after {after:,})" if after is not None else "")

        names = (*EVENTS, "grokking_delay", "dips", "last_step", "threshold", "sustain")
        return [(name, text(name)) for name in names] + [("doubt", doubt) for doubt in self.doubts]


def lasting_until(generalized: int) -> int:
    """Return the step until which accuracy must hold to last: a tenth more than it took to generalize, rounded up."""
    return generalized - -generalized // 10
