"""Pages of figures: one a figure, with its caption, and an index of a folder. They need no network."""

from __future__ import annotations

import html
import re
from pathlib import Path

import plotly.graph_objects as go

from interp.utils.files import write_whole
from interp.utils.provenance import Provenance, provenance

INDEX, SCRIPT = "index.html", "plotly.min.js"
GENERATOR = "interp report"  # tells pages of interp.report from those of figures

_STYLE = """
:root { color-scheme: light; }
body { margin: 2rem auto; max-width: 70rem; padding: 0 1rem; font: 16px/1.5 Arial, Helvetica, sans-serif; color: #222; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.05rem; margin: 0 0 .3rem; }
figure { margin: 0; } figcaption, .caption { max-width: 40rem; }
.figures { display: grid; grid-template-columns: repeat(auto-fill, minmax(20rem, 1fr)); gap: 2rem 1.5rem; }
.figures img, .figures iframe { width: 100%; border: 1px solid #ddd; background: #fff; }
.figures iframe { height: 24rem; } .figures img { max-height: 30rem; object-fit: contain; }
.links a { margin-right: .8rem; } .missing { color: #555; }
.made { color: #767676; font-size: .8rem; overflow-wrap: anywhere; }
"""


def write_page(figure: go.Figure, folder: Path, name: str, made: Provenance, beside: bool) -> Path:
    """Write NAME.html: the figure and its caption, with plotly.js within or, if `beside`, in a file of its own."""
    meta = figure.layout.meta if isinstance(figure.layout.meta, dict) else {}
    if beside:
        _write_script(folder / SCRIPT)
    drawn = figure.to_html(include_plotlyjs=SCRIPT if beside else True, full_html=False, div_id=f"figure-{name}")
    caption = html.escape(meta.get("caption", ""))
    page, head = folder / f"{name}.html", f'<meta name="description" content="{caption}">'
    _write(page, meta.get("title") or name, f'{drawn}<p class="caption">{caption}</p>', made, head)
    return page


def write_index(folder: Path, missing: dict[str, str]) -> Path:
    """Write index.html: pictures of all figures in a folder with their captions, and `missing` figures with reasons."""
    parts, reports = [], []
    for page in sorted(folder.glob("*.html")):
        if page.name == INDEX:
            continue
        title, caption = _about(page)
        if _is_report(page):
            reports.append(f'<p><a href="{html.escape(page.name)}">{title}: an interactive page</a></p>')
            continue
        picture = page.with_suffix(".png")
        name = html.escape(page.stem)
        shown = (
            f'<a href="{name}.html"><img src="{name}.png" alt="{title}" loading="lazy"></a>'
            if picture.exists()
            else f'<iframe src="{name}.html" title="{title}" loading="lazy"></iframe>'
        )
        others = [kind for kind in ("pdf", "png", "svg") if page.with_suffix(f".{kind}").exists()]
        links = "".join(f'<a href="{name}.{kind}">{kind.upper()}</a>' for kind in others)
        parts.append(
            f'<figure id="{name}"><h2>{title}</h2>{shown}<figcaption>{caption}</figcaption>'
            f'<p class="links"><a href="{name}.html">to zoom and hover over</a>{links}</p></figure>'
        )
    for moving in sorted(folder.glob("*.gif")):
        name = html.escape(moving.name)
        title = html.escape(moving.stem.replace("_", " ").capitalize())
        parts.append(
            f'<figure id="{html.escape(moving.stem)}"><h2>{title}, moving</h2>'
            f'<a href="{name}"><img src="{name}" alt="{title}" loading="lazy"></a></figure>'
        )
    tables = sorted(folder.glob("*.csv"))
    beneath = [f'<a href="{html.escape(one.name)}">{html.escape(one.stem)}</a>' for one in tables]
    body = f'<h1>Figures</h1>{"".join(reports)}<div class="figures">{"".join(parts)}</div>'
    body += f'<h2>Tables</h2><p class="links">{" ".join(beneath)}</p>' if beneath else ""
    if missing:
        why = "".join(f"<li><b>{html.escape(name)}</b>: {html.escape(text)}</li>" for name, text in missing.items())
        body += f'<h2>Not drawn</h2><ul class="missing">{why}</ul>'
    index = folder / INDEX
    _write(index, "Figures", body, provenance())
    return index


def _head(page: Path) -> str:
    with page.open(encoding="utf-8", errors="replace") as file:
        return file.read(8_000)


def _is_report(page: Path) -> bool:
    return f'<meta name="generator" content="{GENERATOR}">' in _head(page)


def _about(page: Path) -> tuple[str, str]:
    """Return the title and the caption of a page, as HTML, from its head."""
    head = _head(page)
    title = re.search(r"<title>(.*?)</title>", head, re.DOTALL)
    caption = re.search(r'<meta name="description" content="(.*?)">', head, re.DOTALL)
    return title[1] if title else html.escape(page.stem), caption[1] if caption else ""


def _write(page: Path, title: str, body: str, made: Provenance, head: str = "") -> None:
    text = (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title>'
        f"{head}{made.tags()}"
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{_STYLE}</style></head>\n'
        f'<body>{body}<p class="made">{html.escape(made.sentence())}</p></body></html>\n'
    )
    write_whole(page, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def _write_script(file: Path) -> None:
    from plotly.offline import get_plotlyjs

    script = get_plotlyjs()
    if not file.exists() or file.stat().st_size != len(script.encode()):
        write_whole(file, lambda temporary: temporary.write_text(script, encoding="utf-8"))
