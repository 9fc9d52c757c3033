"""Subject: one model under study. A quantity is a function of it whose result is kept; a measure is one with a name.

    @interp.measure(title="largest activation of a neuron", unit="activation")
    def largest_neuron(subject):
        return float(subject.neurons.max())

declares a measure, which `progress_measures` and `trajectory` compute from then on. A measure reads its subject, or
calls quantities as functions: `interp.measures.losses.loss(subject)` is one. A quantity that cannot be computed raises
Missing with its reason, and so does everything that needs it.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from interp.tasks.task import Task
from interp.utils.errors import CheckpointError, ConfigError, InterpError

if TYPE_CHECKING:
    from interp.networks.pairs import Pairs
    from interp.networks.taps import InputGradients
    from interp.subjects.activations import Activations

P = ParamSpec("P")
T = TypeVar("T")

Supplied = Mapping[Callable[..., Any], Callable[[], Any]]  # functions that give quantities without computing them

NO_SPLIT = "no train/test split is known; load the checkpoint with split and seed (--split, --seed)"


class Missing(InterpError):  # noqa: N818 (it is an answer, not an error)
    """Raised if a measure needs something that the model lacks; the message is the reason, without a full stop."""


class Subject:
    """One model under study. An attribute that the model lacks raises Missing with the reason.

    All pairs run once, when logits, neurons or pattern are first read. Do not change these arrays in place: every
    measure reads the same ones.

    Attributes:
        task: The task that it was trained on.
        step: The number of updates made; None if unknown.
        train_mask: The train pairs, [p, p], true = train.
        logits: L[a, b, c] at the last position, without the logit of "=", [p, p, p].
        neurons: Activations at the last position of the last layer, [p, p, d_mlp].
        pattern: Attention from the last position, [p, p, n_heads, n_ctx].
        weights: Weights under the names of its network; missing in a model that is measured through hooks.
        parameters: All parameters, of any model.
        W_E: The embedding of the numbers (of a, if b has its own), [p, d_model].
        W_L: The neuron-logit map W_out · W_U, [d_mlp, p].
        embeddings: The embeddings of a and of b, each [p, d]: the same unless b has its own.
        train_loss_gradient: ∂(train loss)/∂W of each weight, over all outputs that it was trained on.
        gradients: A function that yields ∂L/∂E_a and ∂L/∂E_b of given pairs, in batches.
        final: The last checkpoint of its run, as a subject.
        doubts: Sentences on what its arrays leave in doubt, once they are computed.
    """

    def __init__(
        self,
        task: Task,
        activations: Callable[[], Activations],
        *,
        step: int | None = None,
        train_mask: Bool[Tensor, "p p"] | None = None,
        final: Callable[[], Subject] | None = None,
        supplied: Mapping[Callable[..., Any], Callable[[], Any]] = {},
        have: Mapping[str, Callable[[], Any]] = {},
        lack: Mapping[str, str] = {},
        doubts: Sequence[str] = (),
    ) -> None:
        """Make a subject from functions that compute its arrays when they are first read.

        Args:
            supplied: Functions that give quantities without computing them, such as the key frequencies of a run.
            have: Functions that give weights, parameters, W_E, W_L and the others.
            lack: The reason for each that the model lacks.
        """
        self.task, self.step, self.supplied = task, step, supplied
        self._activations, self._train_mask, self._final = activations, train_mask, final
        self._have, self._lack, self.doubts = have, lack, doubts
        self._kept: dict[Any, Any] = {}
        self._born: dict[str, tuple[Tensor, int]] = {}  # each array that was read, with its version at that time
        self._note("train_mask", train_mask)
        self._running: list[Any] = []
        self._needs: dict[Any, set[str]] = {}

    @property
    def train_mask(self) -> Bool[Tensor, "p p"]:
        return self._there("train_mask", self._train_mask)

    @property
    def logits(self) -> Float[Tensor, "p p p"]:
        return self._acts.logits

    @property
    def neurons(self) -> Float[Tensor, "p p d_mlp"]:
        return self._there("neurons", self._acts.neurons)

    @property
    def pattern(self) -> Float[Tensor, "p p n_heads n_ctx"]:
        return self._there("pattern", self._acts.pattern)

    @property
    def weights(self) -> Mapping[str, Tensor]:
        return self._own("weights")

    @property
    def parameters(self) -> list[Tensor]:
        return self._own("parameters")

    @property
    def W_E(self) -> Float[Tensor, "p d_model"]:  # noqa: N802
        return self._own("W_E")

    @property
    def W_L(self) -> Float[Tensor, "d_mlp p"]:  # noqa: N802
        return self._own("W_L")

    @property
    def embeddings(self) -> tuple[Float[Tensor, "p d"], Float[Tensor, "p d"]]:
        return self._own("embeddings")

    @property
    def train_loss_gradient(self) -> Mapping[str, Tensor]:
        return self._own("train_loss_gradient")

    def gradients(self, pairs: Pairs) -> Iterator[InputGradients]:
        return self._own("gradients")(pairs)

    @property
    def final(self) -> Subject:
        self.needs("final")
        if self._final is None:
            raise Missing("the model belongs to no run, so it has no last checkpoint")
        return self._final()

    @functools.cached_property
    def _acts(self) -> Activations:
        acts = self._activations()
        for name, value in vars(acts).items():
            self._note(name, value)
        # If the sum is finite, so is every term, and the sum is ten times cheaper. If not, check each term: the sum may
        # have overflowed.
        if not torch.isfinite(acts.logits.sum()) and not torch.isfinite(acts.logits).all():
            raise not_finite(self)
        return acts

    def run_pairs(self) -> Activations:
        """Run all pairs and return logits, neurons and pattern, whether or not the logits are finite."""
        return self._activations()

    @property
    def was_run(self) -> bool:
        """True once all pairs have run."""
        return "_acts" in vars(self)

    def _own(self, name: str) -> Any:
        if name not in self._kept:
            self._kept[name] = self._have[name]() if name in self._have else None
            self._note(name, self._kept[name])
        return self._there(name, self._kept[name])

    def _there(self, name: str, value: T | None) -> T:
        if value is None:
            raise Missing(self._lack.get(name, f"the model has no {name}"))
        return value

    def needs(self, *names: str) -> None:
        """Note that the running measures need more than this model: its run's "key_frequencies_of" or "final" one."""
        for key in self._running:
            self._needs.setdefault(key, set()).update(names)

    @contextlib.contextmanager
    def watch(self) -> Iterator[set[str]]:
        """Give a set to which `needs` adds within this context."""
        watcher = (self.watch, len(self._running))
        self._needs[watcher] = set()
        self._running.append(watcher)
        try:
            yield self._needs[watcher]
        finally:
            self._running.pop()
            del self._needs[watcher]

    def needs_fourier(self) -> None:
        """Raise Missing if the task has no Fourier structure."""
        if self.task.why_no_fourier:
            raise Missing(self.task.why_no_fourier)

    def _note(self, name: str, value: Any) -> None:
        """Note the versions of arrays, by which `changed` sees changes in place."""
        for one, array in value.items() if isinstance(value, Mapping) else [(name, value)]:
            if isinstance(array, Tensor):
                self._born[str(one)] = array, array._version

    def changed(self) -> list[str]:
        """Return the names of the arrays that have been changed in place since they were first read."""
        return [name for name, (array, version) in self._born.items() if array._version != version]

    def result(self, of: Callable[..., T], settings: Mapping[str, Any]) -> T:
        """Return a function's result for this subject, computed once, and kept unless it is as large as the logits."""
        key = (of, *sorted(settings.items()))
        if key in self._kept:
            kept = self._kept[key]
            self.needs(*self._needs.get(key, ()))
            if isinstance(kept, Missing):
                raise Missing(str(kept))
            return kept
        if key in self._running:
            names = [one[0].__name__ for one in (*self._running[self._running.index(key) :], key)]
            raise ConfigError(f"A quantity must not need itself; got {' → '.join(names)}. Break the circle.")
        self._running.append(key)
        try:
            value = of(self, **settings)
        except Missing as reason:
            self._kept[key] = Missing(str(reason))  # a new one, since a traceback would hold the subject's arrays
            raise
        finally:
            self._running.pop()
        if not isinstance(value, Tensor) or value.numel() < self.task.p**3:
            self._kept[key] = value
            self._note(of.__name__, value)
        return value


@dataclass(frozen=True, eq=False)
class Known:
    """The facts of a model beside its network and weights, from which `subject` makes its subject.

    Attributes:
        task: The task that it was trained on.
        train_mask: True for train pairs, [p, p]; None if unknown, for the reason `no_split`.
        step: Updates made; None if unknown.
        supplied: Functions that give quantities without computing them.
        final: Gives the last checkpoint of its run as a subject.
    """

    task: Task
    train_mask: Bool[Tensor, "p p"] | None = None
    step: int | None = None
    supplied: Supplied = field(default_factory=dict)
    final: Callable[[], Subject] | None = None
    no_split: str = NO_SPLIT

    def subject(
        self,
        activations: Callable[[], Activations],
        have: Mapping[str, Callable[[], Any]],
        lack: Mapping[str, str],
        doubts: Sequence[str] = (),
    ) -> Subject:
        return Subject(
            self.task, activations, step=self.step, train_mask=self.train_mask, final=self.final,
            supplied=self.supplied, have=have, lack=lack, doubts=doubts,
        )  # fmt: skip


def not_finite(subject: Subject) -> CheckpointError:
    """Return the error of a model whose weights or logits hold NaN or infinite values."""
    where = "" if subject.step is None else f" of step {subject.step:,}"
    return CheckpointError(
        f"The weights and logits of a model must be finite; those{where} hold NaN or infinite values. Measure an "
        "earlier checkpoint."
    )


def present(value: float, otherwise: str) -> float:
    """Return a number, or raise Missing with the reason `otherwise` if it is NaN, as a ratio of two zeros is."""
    if math.isnan(value):
        raise Missing(otherwise)
    return value


def quantity(of: Callable[Concatenate[Subject, P], T]) -> Callable[Concatenate[Subject, P], T]:
    """Compute a function of a subject once per subject and settings, and keep its result.

    Settings are keyword arguments: `gradient_symmetricity(subject, sample=100)`. Call the result as any function.
    """
    _, *others = inspect.signature(of).parameters.values()
    if any(one.kind is not one.KEYWORD_ONLY or one.default is one.empty for one in others):
        takes = "a subject, and settings by keyword with a default, as in f(subject, *, n=100)"
        raise ConfigError(f"{of.__name__} must take {takes}.")
    default = {one.name: one.default for one in others}
    name = of.__name__

    @functools.wraps(of)
    def kept(subject: Subject, /, *args: P.args, **settings: P.kwargs) -> T:
        if not settings and kept in subject.supplied:
            subject.needs(name)
            return subject.supplied[kept]()
        return subject.result(of, default | settings)

    return kept
