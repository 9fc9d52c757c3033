"""ProgressMeasures: the measures of one model as typed fields, and as a table that prints."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
from jaxtyping import Float

from interp.measures.registry import Measure, Result, chosen, evaluate, flat
from interp.subjects.subject import Subject
from interp.utils.errors import ConfigError, warn
from interp.utils.printed import Printed


@dataclass(frozen=True, eq=False, repr=False)
class ProgressMeasures(Printed):
    """The progress measures of one model; losses in nats, over the p number tokens ("=" left out).

    A measure that cannot be computed, or is a ratio of two zeros, is None, and `missing` says why. Sources: Nanda et
    al. (2023) unless named. The losses of a run's history are over all outputs that it was trained on, which in
    interp's own runs are p + 1 ("=" counts), so they lie a little above these.

    loss, accuracy               over all p*p pairs
    train_loss, test_loss, train_accuracy, test_accuracy   over the pairs of the split
    restricted_loss              only the key frequencies of the logits kept, over all pairs, and restricted_accuracy;
                                 restricted_test_loss over test pairs
    excluded_loss                the key frequencies removed, over train pairs, and excluded_accuracy;
                                 excluded_loss_by_frequency one at a time
    key_frequencies              the k whose cos w_k(a+b−c) carries more than 1 % of the squared coefficients;
                                 key_step is the step of the checkpoint at which they do, None if the caller gave the
                                 frequencies or the step is unknown
    cos_coefficients [⌊p/2⌋]     of cos w_k(a+b−c), k = 1, 2, …
    embedding_norms [p]          of W_E along the rows of the Fourier basis (`interp.fourier`); embedding_gini
    unembedding_norms [p]        of W_L = W_out·W_U over outputs, likewise; unembedding_gini
    logit_variance_explained     fraction of the centred logits' variance in the key cos w_k(a+b−c)
    sum_squared_weights          over all parameters
    single_frequency_neurons     fraction of neurons of which one frequency explains more than 0.85
    attention_share              mean over heads, and over attention to a and to b, of the share of its variance over
                                 pairs that one frequency explains
    neuron_phase_agreement       mean of cos(φ_c − φ_a − φ_b) over single-frequency neurons: 1 where each votes for the
                                 sum that it detects
    neuron_projection_share      mean, over the key k, of how much of the neurons along u_k and v_k is a multiple of
                                 cos w_k(a+b) and sin w_k(a+b)
    neuron_logit_key_share       share of ‖W_L‖² along cos w_k c and sin w_k c of the key k
    gradient_symmetricity        mean cosine similarity of ∂L[a, b, c]/∂E_a and ∂L[a, b, c]/∂E_b, over c and all pairs
                                 (p ≤ 64), or a seeded sample of 100; Zhong et al. (2023). Its standard error is the
                                 further measure gradient_symmetricity_error, which tables print after ±
    distance_irrelevance         how little the right logit depends on a − b, of its variation; Zhong et al. (2023)

    The last two are measured on request (`mechanism=True`), else None. Moisescu-Pareja et al. (2025), from whom the
    further measure phase_alignment is, contest that clock and pizza are two kinds.
    Where b has tokens of its own, W_E is a's; in a network of one hidden layer it is W_x and W_y side by side, and W_L
    is W_U.

    `doubts` says, in sentences, why the measures may be of another task or split than the model's (`study.doubts`);
    each is a UserWarning too. `key_doubt` says so where the key frequencies are those of a network that has not
    generalized, and so of no circuit that answers right. A table of all this begins with its doubts.

    Every other measure, interp's (`interp.list_measures`) or yours (`interp.measure`), is m["name"], and all of these
    are in `extra`. `measures` are those that were computed.
    """

    step: int | None
    loss: float | None
    accuracy: float | None
    train_loss: float | None
    test_loss: float | None
    train_accuracy: float | None
    test_accuracy: float | None
    restricted_loss: float | None
    restricted_accuracy: float | None
    restricted_test_loss: float | None
    excluded_loss: float | None
    excluded_accuracy: float | None
    excluded_loss_by_frequency: dict[int, float] | None
    key_frequencies: tuple[int, ...] | None
    cos_coefficients: Float[np.ndarray, " n_frequencies"] | None
    embedding_norms: Float[np.ndarray, " p"] | None
    embedding_gini: float | None
    unembedding_norms: Float[np.ndarray, " p"] | None
    unembedding_gini: float | None
    logit_variance_explained: float | None
    sum_squared_weights: float | None
    single_frequency_neurons: float | None
    attention_share: float | None
    neuron_phase_agreement: float | None
    neuron_projection_share: float | None
    neuron_logit_key_share: float | None
    gradient_symmetricity: float | None = None
    distance_irrelevance: float | None = None
    key_step: int | None = None
    missing: dict[str, str] = field(default_factory=dict)
    doubts: tuple[str, ...] = ()
    key_doubt: str | None = None
    extra: dict[str, Result | None] = field(default_factory=dict)
    measures: tuple[Measure, ...] = ()

    def __getitem__(self, name: str) -> Result | None:
        """Return a measure by its name, interp's or yours; ConfigError if it was not computed."""
        if name not in (one.name for one in self.measures):
            chosen([name] if isinstance(name, str) else name)  # says if there is none
            raise ConfigError(f"{name} was not computed; ask for it with measures=[{name!r}].")
        return self.extra[name] if name in self.extra else getattr(self, name)

    def to_dict(self) -> dict[str, Any]:
        """Return all that was computed as plain numbers, lists and dicts, ready for JSON; `missing` included."""
        beside = ("key_step", "missing", "doubts", "key_doubt")
        plain = {"step": self.step, **{one.name: self[one.name] for one in in_order(self.measures)}}
        plain |= {name: getattr(self, name) for name in beside}
        return {
            name: value.tolist() if isinstance(value, np.ndarray) else dict(value) if isinstance(value, dict) else value
            for name, value in plain.items()
        }

    def row(self) -> dict[str, float | int | None]:
        """Return the measures as columns, flat: one row of a trajectory."""
        return {"step": self.step, **flat(in_order(self.measures), {one.name: self[one.name] for one in self.measures})}

    def scalars(self) -> dict[str, float | int | None]:
        """Return the step and the measures that are one number each, whatever p and the key frequencies are."""
        columns = {one.name: one.flat(self[one.name]) for one in in_order(self.measures)}
        return {"step": self.step, **{name: made[name] for name, made in columns.items() if name in made}}

    def _lines(self) -> Iterator[tuple[str, str]]:
        yield from (("doubt", doubt) for doubt in self.doubts)
        yield "step", "– unknown" if self.step is None else f"{self.step:,}"
        names = {one.name for one in self.measures}
        errors = {one.error_of: self[one.name] for one in self.measures if one.error_of in names}
        for one in in_order(self.measures):
            value = self[one.name]
            if value is not None and one.error_of in names:
                continue  # it stands after the ± of that one
            text = (
                f"– {self.missing.get(one.name, 'unknown')}" if value is None else one.text(value, errors.get(one.name))
            )
            if one.name == "key_frequencies" and value is not None:
                text += "" if self.key_step is None else f"  (of step {self.key_step:,})"
                text += f"; doubtful: {self.key_doubt}" if self.key_doubt else ""
            yield one.name, text


MECHANISM = ("gradient_symmetricity", "distance_irrelevance")


_BESIDE = ("step", "key_step", "missing", "doubts", "key_doubt", "extra", "measures")


_TYPED = tuple(f.name for f in fields(ProgressMeasures) if f.name not in _BESIDE)


def in_order(measures: Iterable[Measure]) -> list[Measure]:
    """Return measures in the order of the fields of ProgressMeasures, and then the others."""
    order = {name: i for i, name in enumerate(_TYPED)}
    return sorted(measures, key=lambda one: order.get(one.name, len(order)))


def of_subject(subject: Subject, measures: Iterable[Measure]) -> ProgressMeasures:
    """Return measures of a subject; a measure of the caller's that fails is None, with a warning."""
    wanted = tuple(measures)
    found = evaluate(subject, wanted)
    for name, why in found.failed.items():
        warn(f"{name} is None: {why}.")
    typed: dict[str, Any] = {name: found.values.get(name) for name in _TYPED}
    extra = {name: value for name, value in found.values.items() if name not in typed}
    return ProgressMeasures(step=subject.step, **typed, missing=found.missing, extra=extra, measures=wanted)
