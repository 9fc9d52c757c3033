"""Arrays and scripts as the text of one HTML page, which opens from a file without a network."""

from __future__ import annotations

import base64
import html
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any

import numpy as np
from jaxtyping import Float, Shaped

from interp.plot.pages import GENERATOR
from interp.utils.provenance import provenance

_PAGE = resources.files("interp.reports") / "page"
_IMPORT = re.compile(r'^import \{([^}]*)\} from "\./(\w+\.js)";\n', re.MULTILINE)
_EXPORT = re.compile(r"^export (?:class|function|const) (\w+)", re.MULTILINE)
_LEVELS = 255


@dataclass(frozen=True, eq=False)
class Packed:
    """An array in a page: numbers as float32, float64 or uint16, or maps as bytes.

    A byte n of map i stands for low[i] + (high[i] − low[i]) · n / 254; 255 stands for NaN.
    """

    numbers: Shaped[np.ndarray, "..."]
    low: tuple[float, ...] | None = None
    high: tuple[float, ...] | None = None

    def about(self) -> dict[str, Any]:
        """Return the type and shape of the bytes, and the ends of maps."""
        said: dict[str, Any] = {"type": self.numbers.dtype.name, "shape": list(self.numbers.shape)}
        return said if self.low is None else said | {"low": self.low, "high": self.high}

    def text(self) -> str:
        """Return the bytes, little-endian, in base64."""
        return base64.b64encode(np.ascontiguousarray(self.numbers).tobytes()).decode("ascii")


def exact(array: Any) -> Packed:
    """Pack an array as float32."""
    return Packed(np.asarray(array).astype("<f4"))


def doubles(array: Any) -> Packed:
    """Pack an array as float64, which the page goes on computing with."""
    return Packed(np.asarray(array).astype("<f8"))


def whole_numbers(array: Any) -> Packed:
    """Pack numbers from 0 to 65,535."""
    return Packed(np.asarray(array).astype("<u2"))


def as_bytes(maps: Float[np.ndarray, "n ..."]) -> Packed:
    """Pack each map as bytes, to 1/508 of its own range."""
    flat = np.asarray(maps, dtype=float).reshape(len(maps), -1)
    there = np.isfinite(flat)
    low = np.where(there, flat, np.inf).min(1)
    high = np.where(there, flat, -np.inf).max(1)
    low, high = np.where(np.isfinite(low), low, 0.0), np.where(np.isfinite(high), high, 0.0)
    span = np.where(high > low, high - low, 1.0)
    levels = np.where(there, np.rint((flat - low[:, None]) / span[:, None] * (_LEVELS - 1)), _LEVELS)
    packed = np.nan_to_num(levels, nan=_LEVELS).astype(np.uint8).reshape(np.shape(maps))
    return Packed(packed, tuple(low.tolist()), tuple(np.maximum(high, low).tolist()))


def page(title: str, body: str, data: Sequence[Mapping[str, Any]], main: str) -> str:
    """Return the HTML of a page.

    Args:
        title: Its title.
        body: HTML of its body.
        data: The data of each of its parts: a dict that JSON can hold, whose key "arrays" may be a dict of Packed.
        main: The name of the script that draws them.
    """
    blocks = [block for index, one in enumerate(data) for block in _data(index, one)]
    style = (_PAGE / "style.css").read_text(encoding="utf-8")
    made = provenance()
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta name="generator" content="{GENERATOR}">\n{made.tags()}'
        f"<title>{html.escape(title)}</title>\n<style>\n{style}</style>\n</head>\n<body>\n{body}\n"
        f"<footer>{html.escape(made.sentence())}</footer>\n"
        f'{"".join(blocks)}<script type="module">\n{script(main)}</script>\n'
        "</body>\n</html>\n"
    )


def _data(index: int, one: Mapping[str, Any]) -> Iterable[str]:
    arrays: Mapping[str, Packed] = one.get("arrays", {})
    about = dict(one) | {"arrays": {name: packed.about() for name, packed in arrays.items()}}
    yield f'<script type="application/json" class="data">{as_json(about)}</script>\n'
    for name, packed in arrays.items():
        yield f'<script type="text/plain" id="data-{index}-{name}">{packed.text()}</script>\n'


def as_json(value: Any) -> str:
    """Return JSON that is safe inside a <script>, with NaN and infinities as null."""
    text = json.dumps(_finite(value), ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _finite(one) for key, one in value.items()}
    if isinstance(value, np.ndarray):
        return _finite(value.tolist())
    if isinstance(value, list | tuple):
        return [_finite(one) for one in value]
    if isinstance(value, float | np.floating):
        return float(f"{value:.7g}") if np.isfinite(value) else None
    return value.item() if isinstance(value, np.generic) else value


def script(main: str) -> str:
    """Return a module and all its imports as one script, in which each file has a scope."""
    parts: dict[str, str] = {}

    def add(name: str) -> None:
        text = (_PAGE / name).read_text(encoding="utf-8")
        for _, imported in _IMPORT.findall(text):
            if imported not in parts:
                add(imported)
        body = _IMPORT.sub(lambda found: f"const {{{found[1]}}} = {_scope(found[2])};\n", text)
        exported = ", ".join(_EXPORT.findall(body))
        body = re.sub(r"^export ", "", body, flags=re.MULTILINE)
        parts[name] = f"// {name}\nconst {_scope(name)} = (() => {{\n{body}return {{ {exported} }};\n}})();\n"

    add(main)
    return "".join(parts.values())


def _scope(name: str) -> str:
    return name.replace(".", "_")
