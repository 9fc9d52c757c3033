"""The circles of an embedding: their directions by analytic embeddings, and the GIF of how they form."""

import itertools
import os
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from plotly.colors import cyclical, sample_colorscale
from torch import nn

import interp
from interp import CheckpointError, ConfigError
from interp.measures.embedding import circle_directions, on_circle
from interp.plot.circles import Circles, circle_frames
from interp.reports.animations import thinned
from interp.tasks.fourier import fourier_basis
from tests.processes import interp as shell, outside

TINY = interp.TrainConfig(p=5, train_fraction=0.6, d_model=8, n_heads=2, d_mlp=8, steps=120)


def frames_of(file):
    """The frames of a GIF as arrays [height, width, 3], and how long each stands, in ms."""
    with Image.open(file) as gif:
        frames, times = [], []
        for frame in range(gif.n_frames):
            gif.seek(frame)
            frames.append(np.asarray(gif.convert("RGB")))
            times.append(gif.info["duration"])
    return frames, times


def waves(p: int, k: int) -> torch.Tensor:
    """cos and sin of 2πkn/p, [p, 2]."""
    angle = 2 * torch.pi * k * torch.arange(p, dtype=torch.float64) / p
    return torch.stack([angle.cos(), angle.sin()], 1)


def orthonormal(rows: int, d: int) -> torch.Tensor:
    random = torch.randn(d, rows, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return torch.linalg.qr(random).Q.T


# ── directions ───────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("p", "k", "other"), [(7, 2, 3), (12, 5, 1), (113, 14, 52)])
def test_an_embedding_on_circles_is_found_on_them(p, k, other):
    """Two frequencies in four orthonormal directions: 1e-12, for float64."""
    e = orthonormal(4, 9)
    W = 3 * waves(p, k) @ e[:2] + 0.5 * waves(p, other) @ e[2:]
    directions = circle_directions(W, k)
    torch.testing.assert_close(directions, e[:2], atol=1e-12, rtol=0)
    torch.testing.assert_close(on_circle(W, directions), 3 * waves(p, k), atol=1e-12, rtol=0)
    torch.testing.assert_close(on_circle(W, circle_directions(W, other)), 0.5 * waves(p, other), atol=1e-12, rtol=0)


def test_directions_are_the_orthonormal_pair_nearest_to_the_two_components():
    """Of D with D Dᵀ = 1, the least |U − D| is where U Dᵀ is symmetric and has no negative eigenvalue."""
    W = torch.randn(11, 6, generator=torch.Generator().manual_seed(1))
    D = circle_directions(W, 3)
    U = fourier_basis(11)[5:7] @ W.double()
    torch.testing.assert_close(D @ D.T, torch.eye(2, dtype=torch.float64), atol=1e-12, rtol=0)
    product = U @ D.T
    torch.testing.assert_close(product, product.T, atol=1e-12, rtol=0)
    assert torch.linalg.eigvalsh(product).min() > 0


def test_one_direction_gives_a_line_and_none_a_point():
    e = orthonormal(1, 4)
    alternating = (2 * waves(12, 6)[:, :1] @ e).float()  # k = p/2 has no sine
    points = on_circle(alternating, circle_directions(alternating, 6))
    torch.testing.assert_close(points, 2 * waves(12, 6), atol=1e-6, rtol=0)  # float32
    aslant = waves(7, 1).sum(1, keepdim=True) @ e  # cosine and sine along one direction
    points = on_circle(aslant, circle_directions(aslant, 1))
    torch.testing.assert_close(points[:, 0], points[:, 1], atol=1e-12, rtol=0)
    assert not on_circle(torch.zeros(7, 4), circle_directions(torch.zeros(7, 4), 2)).any()


# ── the picture ──────────────────────────────────────────────────────────────────────────────────────────────────


def middle(pixels: np.ndarray) -> np.ndarray:
    """x and y of the middle of those pixels that are true."""
    y, x = np.nonzero(pixels)
    return np.array([x.mean(), y.mean()])


def test_points_are_drawn_where_they_are_in_the_colour_of_their_place_on_the_circle():
    """p = 3: the number with k·n mod p = 1, n = 1 or n = 2, goes from the left to the right and up; to half a pixel."""
    places = [(-1, 0), (1, 0), (0, 1)]
    points = np.zeros((3, 2, 3, 2))
    points[:, 0, 1] = points[:, 1, 2] = places  # of k = 1 and k = 2
    phases = interp.phases(pd.DataFrame({"step": [0, 100], "train_accuracy": 0.5}))
    losses = {"train": (np.array([0.0, 50.0, 100.0]), np.array([2.0, 1.0, 0.5]))}
    circles = Circles((0, 50, 100), (1, 2), points, losses, phases, "")
    frames = [np.asarray(frame).astype(int) for frame in circle_frames(circles, range(3))]
    colour = [
        [round(255 * one) for one in rgb] for rgb in sample_colorscale(cyclical.Phase, [1 / 3], colortype="tuple")
    ]
    panels = frames[0].shape[1] // 2 + 20  # where the second one begins
    for part in (slice(0, panels), slice(panels, None)):
        left, right, up = (middle((frame[90:, part] == colour).all(2)) for frame in frames)
        scale = (right[0] - left[0]) / 2
        assert scale > 100
        assert right[1] == pytest.approx(left[1], abs=0.5)
        assert up == pytest.approx((left + right) / 2 - [0, scale], abs=0.5)


def test_the_shipped_run(shipped, tmp_path):
    """Its 42 checkpoints at 5 frames a second, the last for two seconds, in under 2 MB; no two frames are equal."""
    done = interp.animate(shipped, tmp_path / "new" / "circles.gif", progress=False)
    assert done.steps == shipped.steps
    assert done.checkpoints == len(shipped)
    assert done.frequencies == (14, 35, 41, 42, 52)
    assert done.doubts == ()
    assert done.path.stat().st_size < 2e6
    frames, times = frames_of(done.path)
    assert times == [200] * (len(shipped) - 1) + [2_000]
    assert {frame.shape[1] for frame in frames} == {720}
    changed = [(one != other).any(2).sum() for one, other in itertools.pairwise(frames)]
    assert min(changed) > 1_000  # pixels; the marker alone, which moves by 4, changes fewer
    assert (frames[0][0, 0] == 255).all()


@pytest.mark.parametrize("k", [14, 35, 41, 42, 52])
def test_the_shipped_circles_form(shipped, k):
    """Along the final directions: radii that differ by a half at first and by a tenth at most in the end, in order."""
    first, last = (shipped.at(step).weights["W_E"][:113] for step in (0, 16_000))
    directions = circle_directions(last, k)
    before, after = on_circle(first, directions), on_circle(last, directions)
    assert before.norm(dim=1).std() / before.norm(dim=1).mean() > 0.4
    assert after.norm(dim=1).std() / after.norm(dim=1).mean() < 0.1
    assert torch.cosine_similarity(after, waves(113, k)).min() > 0.95


class Sum(nn.Module):
    """logits = U · relu(E[a] + E[b]), of another's code."""

    def __init__(self):
        super().__init__()
        self.embed, self.out = nn.Embedding(5, 4), nn.Linear(4, 5)

    def forward(self, tokens):
        return self.out(self.embed(tokens).sum(1).relu())


def states(n: int) -> dict[int, dict]:
    """n states of Sum, of steps 0, 10, …"""
    torch.manual_seed(0)
    return {10 * step: Sum().state_dict() for step in range(n)}


@pytest.mark.parametrize("n", [2, 90, 91, 121, 1_000])
def test_of_more_than_90_checkpoints_90_are_drawn_evenly(n):
    drawn = thinned(range(0, 10 * n, 10))
    assert len(drawn) == min(n, 90)
    assert (drawn[0], drawn[-1]) == (0, 10 * (n - 1))
    assert np.ptp(np.diff(drawn)) <= 10  # of two neighbouring whole numbers of checkpoints


@pytest.mark.filterwarnings("ignore:.*phases are read off the checkpoints alone")
def test_a_network_of_other_code_without_history_and_split(tmp_path):
    model = interp.Model(Sum(), interp.Task(5), tokens="a b", W_E="embed")
    done = interp.animate(interp.load_run(states(3), model=model), tmp_path / "a.gif", fps=7, width=360)
    frames, times = frames_of(done.path)
    assert times == [140, 140, 2_000]
    assert frames[0].shape[1] == 360


def test_a_run_without_key_frequencies_shows_those_of_the_largest_norm(tmp_path):
    config = replace(TINY, p=17, operation="quadratic", steps=20, checkpoint_steps=(0, 20))
    run = interp.train(config, tmp_path / "run", progress=False)
    done = interp.animate(run, tmp_path / "a.gif", progress=False)
    norms = np.linalg.norm(np.fft.rfft(run[-1].weights["W_E"][:17].numpy(), axis=0)[1:], axis=1)
    assert done.frequencies == tuple(sorted(np.argsort(-norms)[:6] + 1))


def test_chosen_frequencies_and_steps(small_run, tmp_path):
    done = interp.animate(small_run, tmp_path / "a.gif", [6, 2], [60, 20], progress=False)
    assert (done.frequencies, done.steps, done.checkpoints) == ((6, 2), (20, 60), 4)
    assert len(frames_of(done.path)[0]) == 2


def test_the_command(small_run, small_run_path, tmp_path):
    file = tmp_path / "a.gif"
    options = ("--frequencies", "6,2", "--steps", "0:40:20,60", "--fps", 10, "--width", 400)
    done = shell("animate", small_run_path, "-o", file, *options)
    assert done.returncode == 0, done.stderr
    assert f"{file}: 4 of 4 checkpoints, k = 6, 2, 0.0 MB" in done.stderr
    frames, times = frames_of(file)
    assert times == [100, 100, 100, 2_000]
    assert frames[0].shape[1] == 400
    refused = shell("animate", small_run_path, "-o", file, "--frequencies", "6;2")
    assert refused.returncode == 2
    assert "--frequencies takes whole numbers separated by commas, as in 14,35; got '6;2'." in refused.stderr


# ── refusals ─────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"path": "a.png"}, r"path must end in \.gif, the format of an animation; got 'a\.png'"),
        ({"frequencies": [7]}, "each frequency must be a whole number from 1 to 6; got 7"),
        ({"frequencies": []}, "frequencies must name 1 to 6 frequencies; got 0"),
        ({"steps": [20]}, r"steps must name two checkpoints or more; got \[20\]"),
        ({"fps": 51}, "fps must be a finite number of at least 1 and of at most 50; got 51"),
        ({"width": 100}, "width must be a whole number from 360 to 1,440; got 100"),
    ],
)
def test_arguments_that_do_not_fit_are_said(small_run, tmp_path, given, said):
    with pytest.raises(ConfigError, match=said):
        interp.animate(small_run, **{"path": tmp_path / "a.gif", "progress": False} | given)


def test_runs_that_cannot_be_animated_are_said(small_run, tmp_path):
    with pytest.raises(CheckpointError, match="has no checkpoint of step 30; the nearest are 0, 20, 40, 60"):
        interp.animate(small_run, tmp_path / "a.gif", steps=[0, 30], progress=False)
    with pytest.raises(CheckpointError, match="expected a run directory"):
        interp.animate(tmp_path, tmp_path / "a.gif", progress=False)
    for p, steps, said in [
        (5, (20,), r"needs two checkpoints or more that can be read; .*one has 1\."),
        (2, (0, 20), "needs p of at least 3; got 2"),
    ]:
        config = replace(TINY, p=p, steps=20, checkpoint_steps=steps)
        run = interp.train(config, tmp_path / f"{p} one", progress=False)
        with pytest.raises((CheckpointError, ConfigError), match=said):
            interp.animate(run, tmp_path / "a.gif", progress=False)
    assert not (tmp_path / "a.gif").exists()


def test_a_network_without_an_embedding_is_said(tmp_path):
    run = interp.load_run(states(2), model=interp.Model(Sum(), interp.Task(5), tokens="a b"))
    with pytest.raises(ConfigError, match="An animation needs a network with an embedding of the numbers; "):
        interp.animate(run, tmp_path / "a.gif", progress=False)


def test_what_is_no_run_is_said(tmp_path):
    """In a process of its own: here the tests' own type checks would speak first."""
    printed = outside(
        """
        import interp
        for given in [(3, "a.gif"), ("run", 3)]:
            try:
                interp.animate(*given)
            except interp.ConfigError as error:
                print(error)
        """
    )
    assert printed.splitlines() == [
        "animate() takes a Run or the path of one; got 3.",
        "a path must be a string or a pathlib.Path; got 3.",
    ]


def test_a_file_stays_whole_where_a_new_one_cannot_be_written(own_run, tmp_path):
    """Files are limited to 8 kB, less than a GIF: the old one is there as it was, and nothing beside it."""
    file = tmp_path / "gifs" / "a.gif"
    interp.animate(own_run, file, [1], progress=False)
    before = file.read_bytes()
    assert len(before) > 8_192
    printed = outside(
        f"""
        import resource, interp
        resource.setrlimit(resource.RLIMIT_FSIZE, (8192, 8192))
        try:
            interp.animate({str(own_run)!r}, {str(file)!r}, [2], progress=False)
        except interp.StorageError as error:
            print(error)
        """
    )
    assert (
        printed == f"{file} could not be written (File too large); raise the limit on the size of files (ulimit -f).\n"
    )
    assert file.read_bytes() == before
    assert os.listdir(file.parent) == ["a.gif"]
