"""Frames of an animation: the numbers on the circles of an embedding over training, above the losses and the phases.

They are drawn with Pillow at twice their size and then halved, which smooths every edge. A frame takes some hundredths
of a second, against a second in a browser. Text is ASCII, because Pillow's own font has little else.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from interp.plot.base import BLACK, LINES, OPACITY, SHADES, STEP, VERMILLION
from interp.utils.provenance import provenance

if TYPE_CHECKING:
    from PIL import Image, ImageFont

    from interp.study.phase_table import Phases

Point = tuple[float, float]
Curve = tuple[Float[np.ndarray, " rows"], Float[np.ndarray, " rows"]]  # steps and values

WIDTH = 720  # pixels; all sizes below are for this width and scale with it
HOLD_MS = 2_000  # for which the last frame stands
_SMOOTHING = 2
_COLOURS = 128  # of the palette that all frames share
_SIDES = (280.0, 212.0)  # of a panel at most, in one row and in two
_LEFT, _RIGHT, _GAP = 58.0, 16.0, 14.0  # of all panels; between two
_HEAD, _STRIP, _NOTE = 92.0, 104.0, 17.0
_TITLE, _STEP, _TEXT = 17.0, 21.0, 13.0  # sizes of letters
_LETTERS = 115  # in a line of notes
_DOT = 3.9
_GREY, _PALE, _TEXT_GREY = "#888888", "#e4e4e4", "#444444"


@dataclass(frozen=True)
class Circles:
    """The content of the frames.

    Attributes:
        steps: The step of each frame.
        frequencies: The frequency of each panel.
        points: Each number along the cosine and the sine direction of the panel's frequency, [frame, panel, p, 2].
        losses: The curves beneath, by the name of their line ("train", "test"); others are black.
        phases: Shaded beneath, and named at each step.
        title: One line above.
        notes: Sentences beneath.
        doubts: Sentences beneath, in red.
    """

    steps: Sequence[int]
    frequencies: Sequence[int]
    points: Float[np.ndarray, "frame panel p 2"]
    losses: dict[str, Curve]
    phases: Phases
    title: str
    notes: Sequence[str] = ()
    doubts: Sequence[str] = ()


def circle_frames(circles: Circles, which: Iterable[int], width: int = WIDTH) -> Iterator[Image.Image]:
    """Yield frames: a panel a frequency, all on one fixed scale, and the current step.

    The colour of a number n is that of k·n mod p in a cyclic palette, so that adjacent numbers on the finished circle
    have similar colours; n = 0 has a black ring.
    """
    layout = _Layout(circles)
    background = _Canvas(layout.height, width)
    _draw_background(background, circles, layout)
    for frame in which:
        canvas = background.copy()
        _draw_step(canvas, circles, layout, frame)
        yield canvas.finished()


def save_circles(circles: Circles, file: Path, milliseconds: int, width: int = WIDTH) -> Iterator[int]:
    """Write all frames as a GIF that repeats, the last one held for two seconds; yield how many are drawn.

    All share the palette of the last frame, since a palette for each makes the file larger.
    """
    from PIL import Image

    (last,) = circle_frames(circles, [len(circles.steps) - 1], width)
    palette = _palette(last)
    drawn = []
    for frame in circle_frames(circles, range(len(circles.steps)), width):
        drawn.append(frame.quantize(palette=palette, dither=Image.Dither.NONE))
        yield len(drawn)
    drawn[0].save(
        file, format="GIF", save_all=True, append_images=drawn[1:], loop=0, optimize=False,
        duration=[milliseconds] * (len(drawn) - 1) + [HOLD_MS], comment=provenance().sentence().encode(),
    )  # fmt: skip


def _palette(frame: Image.Image) -> Image.Image:
    """Return an image with the palette of a frame, in which nearly white colours are white."""
    reduced = frame.quantize(_COLOURS)
    colours = np.reshape(reduced.getpalette() or [], (-1, 3))
    colours[colours.min(axis=1) >= 248] = 255
    reduced.putpalette(colours.flatten().tolist())
    return reduced


# ── where things stand ───────────────────────────────────────────────────────────────────────────────────────────


class _Layout:
    """The places of panels and strip, and of values in them, for a width of 720."""

    def __init__(self, circles: Circles) -> None:
        n = len(circles.frequencies)
        self.columns = 2 if n == 4 else min(n, 3)
        self.rows = -(-n // self.columns)
        room = WIDTH - _LEFT - _RIGHT - _GAP * (self.columns - 1)
        self.side = min(_SIDES[self.rows - 1], room / self.columns)
        self.left = _LEFT + (room - self.side * self.columns) / 2
        self.limit = 1.06 * float(np.abs(circles.points).max()) or 1.0
        self.panels_end = _HEAD + self.rows * (self.side + 26) + 34
        self.strip = (_LEFT, self.panels_end + 26, WIDTH - _RIGHT, self.panels_end + 26 + _STRIP)
        self.notes = [(line, _TEXT_GREY) for note in circles.notes for line in textwrap.wrap(note, _LETTERS)]
        self.notes += [(line, VERMILLION) for doubt in circles.doubts for line in textwrap.wrap(doubt, _LETTERS)]
        self.height = self.strip[3] + 46 + _NOTE * len(self.notes) + 6
        steps = np.concatenate([np.asarray(circles.steps, float), *(steps for steps, _ in circles.losses.values())])
        self.first, self.last = float(steps.min()), float(steps.max())
        values = np.concatenate([values for _, values in circles.losses.values()] or [np.ones(1)])
        values = values[np.isfinite(values) & (values > 0)]
        ends = np.log10([values.min(), values.max()]) if len(values) else np.zeros(2)
        margin = max(0.06 * float(ends[1] - ends[0]) + 0.05, 0.25 - float(ends[1] - ends[0]) / 2)
        self.low, self.high = float(ends[0]) - margin, float(ends[1]) + margin

    def panel(self, index: int) -> Point:
        row, column = divmod(index, self.columns)
        return self.left + column * (self.side + _GAP), _HEAD + 22 + row * (self.side + 26)

    def is_last_in_column(self, index: int, panels: int) -> bool:
        return index + self.columns >= panels

    def in_panel(self, index: int, x: float, y: float) -> Point:
        left, top = self.panel(index)
        scale = self.side / (2 * self.limit)
        return left + self.side / 2 + scale * x, top + self.side / 2 - scale * y

    def at_step(self, step: float) -> float:
        left, _, right, _ = self.strip
        return left + (right - left) * (step - self.first) / ((self.last - self.first) or 1)

    def at_loss(self, loss: float) -> float:
        _, top, _, bottom = self.strip
        return bottom - (bottom - top) * (math.log10(loss) - self.low) / (self.high - self.low)


def _nice(size: float) -> float:
    """Return the largest of 1, 2, 5, 10, … and of 0.5, 0.2, … that is at most `size`."""
    power = 10.0 ** math.floor(math.log10(size))
    return max(one * power for one in (1, 2, 5) if one * power <= size * (1 + 1e-9))


# ── what stands still ────────────────────────────────────────────────────────────────────────────────────────────


def _draw_background(canvas: _Canvas, circles: Circles, layout: _Layout) -> None:
    canvas.text((_LEFT, 16), circles.title, _TITLE, room=WIDTH - _LEFT - _RIGHT)
    _draw_palette(canvas, circles.points.shape[2])
    for index, k in enumerate(circles.frequencies):
        _draw_panel(canvas, circles, layout, index, k)
    _draw_strip(canvas, circles, layout)
    for row, (line, colour) in enumerate(layout.notes):
        canvas.text((_LEFT, layout.strip[3] + 54 + row * _NOTE), line, 12, colour, room=WIDTH - _LEFT - _RIGHT)


def _draw_palette(canvas: _Canvas, p: int) -> None:
    right, wide, top = WIDTH - _RIGHT - 24, 150, 48
    colours = _colours(150)
    for index, colour in enumerate(colours):
        x = right - wide + wide * index / len(colours)
        canvas.box((x, top, x + wide / len(colours), top + 10), colour)
    canvas.text((right - wide - 5, top + 5), "colour: k·n mod p   0", 12, _TEXT_GREY, "rm")
    canvas.text((right + 5, top + 5), f"{p - 1}", 12, _TEXT_GREY, "lm")


def _draw_panel(canvas: _Canvas, circles: Circles, layout: _Layout, index: int, k: int) -> None:
    left, top = layout.panel(index)
    right, bottom = left + layout.side, top + layout.side
    middle_x, middle_y = layout.in_panel(index, 0, 0)
    no_sine = " (no sine)" if 2 * k == circles.points.shape[2] else ""
    canvas.text((middle_x, top - 11), f"k = {k}{no_sine}", 14, anchor="mm")
    tick = _nice(layout.limit * 0.75)
    for value in (-tick, 0, tick):
        x, y = layout.in_panel(index, value, value)
        canvas.line([(x, top), (x, bottom)], _PALE, 1)
        canvas.line([(left, y), (right, y)], _PALE, 1)
        if layout.is_last_in_column(index, len(circles.frequencies)):
            canvas.text((x, bottom + 11), f"{value:g}", 12, _TEXT_GREY, "mm")
        if index % layout.columns == 0:
            canvas.text((left - 6, y), f"{value:g}", 12, _TEXT_GREY, "rm")
    canvas.frame((left, top, right, bottom), _GREY)
    if layout.is_last_in_column(index, len(circles.frequencies)):
        canvas.text((middle_x, bottom + 28), "cosine direction", _TEXT, anchor="mm")
    if index % layout.columns == 0:
        canvas.upright((left - 44, middle_y), "sine direction", _TEXT)


def _draw_strip(canvas: _Canvas, circles: Circles, layout: _Layout) -> None:
    left, top, right, bottom = layout.strip
    _draw_legend(canvas, circles, layout)
    for name, first, end in circles.phases.spans():
        x, until = (layout.at_step(min(max(step, layout.first), layout.last)) for step in (first, end))
        canvas.box((x, top, until, bottom), _shade(name))
    for loss in _ticks(layout.low, layout.high):
        y = layout.at_loss(loss)
        canvas.line([(left, y), (right, y)], "#d8d8d8", 1)
        if layout.high - layout.low < 2:
            canvas.text((left - 6, y), f"{loss:g}", 12, _TEXT_GREY, "rm")
        else:
            canvas.power((left - 6, y), round(math.log10(loss)), 12)
    for step in np.arange(0, layout.last + 1, _nice((layout.last - layout.first) / 3.9 or 1)):
        if step >= layout.first:
            x = layout.at_step(float(step))
            canvas.line([(x, bottom), (x, bottom + 4)], _GREY, 1)
            anchor = "rm" if x > right - 20 else "mm"
            canvas.text((right if anchor == "rm" else x, bottom + 13), f"{step:,.0f}", 12, _TEXT_GREY, anchor)
    for name, (steps, values) in circles.losses.items():
        kept = np.isfinite(values) & (values > 0)
        path = [(layout.at_step(s), layout.at_loss(v)) for s, v in zip(steps[kept], values[kept], strict=True)]
        canvas.line(path, _line(name)["color"], 2, _line(name)["dash"] == "dash")
    canvas.frame(layout.strip, _GREY)
    canvas.upright((left - 44, (top + bottom) / 2), "Loss (nats)", _TEXT)
    canvas.text(((left + right) / 2, bottom + 32), STEP, _TEXT, anchor="mm")


def _ticks(low: float, high: float) -> list[float]:
    """Return the ticks of a log axis from 10^low to 10^high: at most four powers of ten, or 1, 2, 5 on a short one."""
    powers = range(math.ceil(low), math.floor(high) + 1)
    if high - low >= 2:
        return [10.0**power for power in powers[:: math.ceil(len(powers) / 4)]]
    every = [one * 10.0**power for power in range(math.floor(low), math.floor(high) + 1) for one in (1, 2, 5)]
    return [one for one in every if low <= math.log10(one) <= high]


def _draw_legend(canvas: _Canvas, circles: Circles, layout: _Layout) -> None:
    x, y = layout.strip[0], layout.strip[1] - 12
    for name in circles.losses:
        canvas.line([(x, y), (x + 24, y)], _line(name)["color"], 2.5, _line(name)["dash"] == "dash")
        x = canvas.text((x + 30, y), name, _TEXT, anchor="lm") + 14
    x += 10
    for name, _, _ in circles.phases.spans():
        canvas.swatch((x, y), _shade(name))
        x = canvas.text((x + 20, y), name, _TEXT, anchor="lm") + 14


# ── what moves ───────────────────────────────────────────────────────────────────────────────────────────────────


def _draw_step(canvas: _Canvas, circles: Circles, layout: _Layout, frame: int) -> None:
    step = circles.steps[frame]
    end = canvas.text((_LEFT, 53), f"step {step:,}", _STEP, anchor="lm")
    if phase := circles.phases.at(step):
        canvas.swatch((end + 16, 53), _shade(phase))
        canvas.text((end + 36, 53), phase, _STEP - 3, anchor="lm")
    p = circles.points.shape[2]
    colours = _colours(p)
    for index, k in enumerate(circles.frequencies):
        for n in range(p - 1, -1, -1):  # 0, which has a ring, above all others
            x, y = circles.points[frame, index, n]
            canvas.dot(layout.in_panel(index, float(x), float(y)), _DOT, colours[k * n % p], ring=n == 0)
    x = layout.at_step(step)
    canvas.line([(x, layout.strip[1]), (x, layout.strip[3])], BLACK, 2)
    for name, (steps, values) in circles.losses.items():
        if (at := np.flatnonzero(steps == step)).size and values[at[0]] > 0:
            canvas.dot((x, layout.at_loss(float(values[at[0]]))), 4.5, _line(name)["color"], ring=True)


def _line(name: str) -> dict[str, str]:
    return LINES.get(name, {"color": BLACK, "dash": "solid"})


def _shade(phase: str) -> str:
    """Return a phase's colour as its shade on white."""
    rgb = (int(SHADES[phase][at : at + 2], 16) for at in (1, 3, 5))
    return "#" + "".join(f"{round(255 + OPACITY * (one - 255)):02x}" for one in rgb)


@cache
def _colours(n: int) -> list[tuple[int, int, int]]:
    """Return n colours around a closed cycle, all of middle lightness."""
    from plotly.colors import cyclical, sample_colorscale

    found = sample_colorscale(cyclical.Phase, [one / n for one in range(n)], colortype="tuple")
    return [(round(255 * r), round(255 * g), round(255 * b)) for r, g, b in found]


Colour = str | tuple[int, int, int]


class _Canvas:
    """An image that is drawn on at twice its size, in coordinates of a width of 720."""

    def __init__(self, height: float, width: int) -> None:
        from PIL import Image

        self.unit = _SMOOTHING * width / WIDTH
        size = (_SMOOTHING * width, _SMOOTHING * math.ceil(height * width / WIDTH))
        self._use(Image.new("RGB", size, "white"))

    def _use(self, image: Image.Image) -> None:
        from PIL import ImageDraw

        self.image, self.draw = image, ImageDraw.Draw(image)

    def copy(self) -> _Canvas:
        other = object.__new__(_Canvas)
        other.unit = self.unit
        other._use(self.image.copy())
        return other

    def finished(self) -> Image.Image:
        return self.image.reduce(_SMOOTHING)

    def _at(self, *numbers: float) -> tuple[float, ...]:
        return tuple(number * self.unit for number in numbers)

    def text(
        self, at: Point, text: str, size: float, colour: Colour = BLACK, anchor: str = "lm", room: float = math.inf
    ) -> float:
        """Write a line, smaller if it needs more than `room`, and return the x at which it ends."""
        wide = _font(size * self.unit).getlength(text) / self.unit
        size *= min(1.0, room / wide) if wide else 1.0
        self.draw.text((at[0] * self.unit, at[1] * self.unit), text, colour, _font(size * self.unit), anchor)
        return at[0] + min(wide, room)

    def upright(self, middle: Point, text: str, size: float) -> None:
        from PIL import Image, ImageDraw

        font = _font(size * self.unit)
        box = font.getbbox(text, anchor="ls")
        label = Image.new("L", (math.ceil(box[2]) + 2, math.ceil(2 * size * self.unit)), 0)
        ImageDraw.Draw(label).text((1, label.height / 2), text, 255, font, "lm")
        label = label.rotate(90, expand=True)
        x, y = self._at(*middle)
        self.image.paste(BLACK, (round(x - label.width / 2), round(y - label.height / 2)), label)

    def power(self, at: Point, power: int, size: float) -> None:
        """Write ten to a power, which ends at `at` and is centred on its height."""
        small = 0.8 * size
        wide = _font(small * self.unit).getlength(str(power)) / self.unit
        self.text((at[0], at[1] - 4), str(power), small, _TEXT_GREY, "rm")
        self.text((at[0] - wide - 1, at[1] + 1), "10", size, _TEXT_GREY, "rm")

    def line(self, path: Sequence[Point], colour: Colour, wide: float, dashed: bool = False) -> None:
        scaled = [(x * self.unit, y * self.unit) for x, y in path]
        for piece in _dashes(scaled, 7 * self.unit, 4 * self.unit) if dashed else [scaled]:
            self.draw.line(piece, colour, max(1, round(wide * self.unit)), "curve")

    def box(self, corners: tuple[float, float, float, float], colour: Colour) -> None:
        self.draw.rectangle(self._at(*corners), colour)

    def frame(self, corners: tuple[float, float, float, float], colour: Colour) -> None:
        self.draw.rectangle(self._at(*corners), None, colour, round(self.unit))

    def swatch(self, left: Point, colour: Colour) -> None:
        x, y = left
        self.box((x, y - 6, x + 14, y + 6), colour)
        self.frame((x, y - 6, x + 14, y + 6), _GREY)

    def dot(self, middle: Point, radius: float, colour: Colour, ring: bool = False) -> None:
        x, y = middle
        corners = self._at(x - radius, y - radius, x + radius, y + radius)
        self.draw.ellipse(corners, colour, BLACK if ring else "white", round((1.5 if ring else 0.5) * self.unit))


@cache
def _font(size: float) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    from PIL import ImageFont

    return ImageFont.load_default(size)


def _dashes(path: Sequence[Point], drawn: float, left_out: float) -> Iterator[list[Point]]:
    if len(path) < 2:
        return
    xy = np.array(path)
    along = np.concatenate([[0.0], np.hypot(*np.diff(xy, axis=0).T).cumsum()])
    for start in np.arange(0, along[-1], drawn + left_out):
        ends = [start, min(start + drawn, along[-1])]
        inside = along[(along > ends[0]) & (along < ends[1])]
        at = np.concatenate([ends[:1], inside, ends[1:]])
        yield list(zip(np.interp(at, along, xy[:, 0]), np.interp(at, along, xy[:, 1]), strict=True))
