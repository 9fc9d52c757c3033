"""animate() writes a GIF of the numbers of an embedding moving onto their circles over training."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Float
from torch import Tensor

from interp.measures.embedding import circle_directions, fourier_norms, on_circle
from interp.measures.logits import KEY_SHARE
from interp.plot.circles import WIDTH, Circles, Curve, save_circles
from interp.plot.shown import Shown
from interp.runs.run import Checkpoint, Run
from interp.study.key_checkpoint import KeyCheckpoint, key_checkpoint
from interp.study.phase_rules import read_phases
from interp.study.phases import records
from interp.study.sources import one_run
from interp.subjects.subject import Missing
from interp.tasks.fourier import by_frequency, frequencies_of
from interp.utils.arguments import given, number, whole
from interp.utils.console import progress_bar
from interp.utils.errors import CheckpointError, ConfigError
from interp.utils.files import PathLike, as_path, make_folder, write_whole
from interp.utils.provenance import made_from
from interp.utils.threads import keeping_threads
from interp.utils.torch_state import computing

FPS = 5.0
MOST_FRAMES, MOST_PANELS = 90, 6
_LARGEST_WIDTH = 1_440


@dataclass(frozen=True)
class Animation:
    """The file that `animate` wrote, and its content.

    Attributes:
        path: The GIF.
        steps: The step of each frame.
        checkpoints: The number of checkpoints of the run.
        frequencies: The frequency of each panel.
        doubts: Doubts about the task or the split of the run, as in its trajectory.
    """

    path: Path
    steps: tuple[int, ...]
    checkpoints: int
    frequencies: tuple[int, ...]
    doubts: tuple[str, ...]


@computing()
@keeping_threads
def animate(
    run: Run | PathLike, path: PathLike, frequencies: Iterable[int] | None = None, steps: Iterable[int] | None = None,
    fps: float = FPS, width: int = WIDTH, progress: bool = True,
) -> Animation:  # fmt: skip
    """Write a GIF of the circles forming: the embedding of the p numbers over training, a panel a key frequency.

    Each number n stands at the projection of its embedding W_E[n] on two directions, those of cos(2πkn/p) and
    sin(2πkn/p) in W_E (`interp.measures.embedding.circle_directions`). The directions are those of the checkpoint that
    names the key frequencies, and all panels and frames share one scale, so only the embedding moves the points. The
    colour of n is that of k·n mod p in a cyclic palette. Beneath are the recorded losses (else those of the
    checkpoints) with the phases shaded. The file is written whole, or not at all.

    Args:
        run: A Run, or the path of one, with two checkpoints or more.
        path: The file to write, which must end in .gif.
        frequencies: Up to six to draw; by default the key frequencies, at most the six with the largest norm in W_E. A
            run without key frequencies shows the six largest, with a note.
        steps: The checkpoints to draw; by default all, or 90 of them with a note.
        fps: Frames a second, from 1 to 50, kept in hundredths of a second; the last frame stands two seconds.
        width: In pixels, 360 to 1,440; letters grow with it.

    Raises:
        ConfigError: For arguments that do not fit, a network without an embedding, and p = 2.
        CheckpointError: For a source that is not a run, or has fewer than two checkpoints that can be read.
    """
    file = _checked_file(path)
    milliseconds = 10 * round(100 / number("fps", fps, least=1, most=50))
    width = whole("width", width, WIDTH // 2, _LARGEST_WIDTH + 1)
    run = one_run(run, "animate()")
    if run.task.p == 2:
        raise ConfigError("An animation needs p of at least 3; got 2, whose only frequency has no sine and no circle.")
    if len(run.steps) < 2:
        raise _too_few(run, len(run.steps))
    circles, doubts = _content(run, frequencies, None if steps is None else _checked_steps(run, steps), progress)
    make_folder(file.parent)
    with progress_bar("draw", "frames", len(circles.steps), show=progress) as bar:

        def write(temporary: Path) -> None:
            for done in save_circles(circles, temporary, milliseconds, width):
                if bar:
                    bar.at(done)

        with made_from(run):
            write_whole(file, write)
    return Animation(file, tuple(circles.steps), len(run.steps), tuple(circles.frequencies), doubts)


def _checked_file(path: PathLike) -> Path:
    file = as_path(path)
    if file.suffix.lower() != ".gif":
        raise ConfigError(f"path must end in .gif, the format of an animation; got {given(str(file))}.")
    return file


def _checked_steps(run: Run, steps: Iterable[int]) -> list[int]:
    if isinstance(steps, str | bytes) or not isinstance(steps, Iterable):
        raise ConfigError(f"steps must be a list of whole numbers, such as [0, 1000]; got {given(steps)}.")
    wanted = sorted({whole("each of steps", step, 0) for step in steps})
    for step in wanted:
        run.source(step)  # raises a CheckpointError that names the nearest steps
    if len(wanted) < 2:
        raise ConfigError(f"steps must name two checkpoints or more; got {given(wanted)}.")
    return wanted


def _too_few(run: Run, n: int) -> CheckpointError:
    return CheckpointError(
        f"An animation needs two checkpoints or more that can be read; {run.path} has {n or 'none'}. Train it with "
        "more, as in --checkpoint-steps 0:1000:50."
    )


def thinned(steps: Sequence[int], most: int = MOST_FRAMES) -> list[int]:
    """Return at most `most` of these steps, evenly chosen, with the first and the last."""
    if len(steps) <= most:
        return list(steps)
    return [steps[at] for at in np.linspace(0, len(steps) - 1, most).round().astype(int)]


# ── what is shown ────────────────────────────────────────────────────────────────────────────────────────────────


def _content(
    run: Run, frequencies: Iterable[int] | None, steps: Sequence[int] | None, progress: bool
) -> tuple[Circles, tuple[str, ...]]:
    """Return the content of the frames, and the doubts about the task and split of the run."""
    asked = None if frequencies is None else _checked_frequencies(run, frequencies)
    key = None if run.task.why_no_fourier else key_checkpoint(run)
    final = run.last_readable() if key is None else run.at(key.step)
    embedding = _embedding(final)
    shown, notes, doubts = (asked, [], []) if asked else shown_frequencies(embedding, key)
    frames = records(run, progress)
    measured = frames[-1]  # the trajectory, without checkpoints that cannot be read
    readable = sorted(set(run.steps) & set(measured["step"]))
    drawn = thinned(readable) if steps is None else [step for step in steps if step in readable]
    if len(drawn) < 2:
        raise _too_few(run, len(drawn))
    directions = [circle_directions(embedding, k) for k in shown]
    of_all = f"All {len(drawn)}" if len(drawn) == len(run.steps) else f"{len(drawn)} of {len(run.steps)}"
    first_note = f"The embedding on its cosine and sine directions of step {final.step:,}; n = 0 is ringed."
    found = tuple(measured.attrs.get("doubts", ()))
    points = np.stack([_points(_embedding(run.at(step)), directions) for step in drawn])
    notes = [f"{first_note} {of_all} checkpoints are drawn.", *notes]
    return Circles(
        drawn, shown, points, _losses(frames), read_phases(frames), _title(run), notes, [*doubts, *found]
    ), found  # fmt: skip


def _checked_frequencies(run: Run, frequencies: Iterable[int]) -> list[int]:
    asked = list(frequencies_of(run.task.p, frequencies))
    if not 1 <= len(asked) <= MOST_PANELS:
        raise ConfigError(f"frequencies must name 1 to {MOST_PANELS} frequencies; got {len(asked)}.")
    return asked


def shown_frequencies(
    embedding: Float[Tensor, "p d"], key: KeyCheckpoint | None
) -> tuple[list[int], list[str], list[str]]:
    """Return the frequencies to show, notes on their choice, and doubts about it."""
    keys = () if key is None else key.frequencies(KEY_SHARE)
    norms = by_frequency(fourier_norms(embedding))
    order = (norms.argsort(descending=True, stable=True) + 1).tolist()
    largest = sorted([k for k in order if k in keys or not keys][:MOST_PANELS])
    if not keys:
        which = "frequency" if len(largest) == 1 else f"{len(largest)} frequencies"
        return largest, [f"This run has no key frequencies; shown: the {which} of the largest norm."], []
    left_out = len(keys) > len(largest)
    notes = [f"{len(largest)} of {len(keys)} key frequencies are shown, those of the largest norm."] if left_out else []
    doubt = None if key is None else key.doubt
    return largest, notes, [f"Doubtful: {doubt}."] if doubt else []


def _embedding(checkpoint: Checkpoint) -> Float[Tensor, "p d"]:
    try:
        return checkpoint.subject().W_E
    except Missing as reason:
        raise ConfigError(f"An animation needs a network with an embedding of the numbers; {reason}.") from None


def _points(embedding: Float[Tensor, "p d"], directions: list[Float[Tensor, "2 d"]]) -> Float[np.ndarray, "panel p 2"]:
    return np.stack([on_circle(embedding, one).numpy() for one in directions])


def _losses(frames: Sequence[pd.DataFrame]) -> dict[str, Curve]:
    """Return the curves of the first record that has train or test losses, else the loss over all pairs."""
    for frame in frames:
        found = {name: _curve(frame, f"{name}_loss") for name in ("train", "test") if f"{name}_loss" in frame}
        if found := {name: curve for name, curve in found.items() if len(curve[0])}:
            return found
    return {"all pairs": _curve(frames[-1], "loss")}


def _curve(frame: pd.DataFrame, column: str) -> Curve:
    known = frame.dropna(subset=column).sort_values("step")
    return known["step"].to_numpy(float), known[column].to_numpy(float)


def _title(run: Run) -> str:
    """Return the title of a run in letters that Pillow's own font has."""
    return Shown(run=run).about("run").translate({ord("−"): "-", ord("²"): "^2"})
