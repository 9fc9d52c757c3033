"""The provenance of an image in its file, as metadata that changes no pixel and holds no time of day."""

from __future__ import annotations

import html
import re
import struct
import zlib

from interp.utils.provenance import Provenance


def stamped(image: bytes, kind: str, made: Provenance) -> bytes:
    """Return a PNG, PDF, SVG, JPEG or WebP file with its provenance.

    PNG has it as text chunks, PDF as its document information, SVG as <metadata>, JPEG as a comment, WebP as XMP. The
    ids of an SVG and the date of a PDF, which plotly and Chromium vary, are made constant.
    """
    return {"png": _png, "pdf": _pdf, "svg": _svg, "jpg": _jpeg, "webp": _webp}[kind](image, made)


def _png(image: bytes, made: Provenance) -> bytes:
    """Put iTXt chunks after the header, which is the first chunk (PNG specification, 11.3.3.4)."""
    head = 8 + 12 + int.from_bytes(image[8:12])
    chunks = b""
    for name, value in made.fields().items():
        content = b"iTXt" + name.encode() + b"\0\0\0\0\0" + value.encode()
        chunks += struct.pack(">I", len(content) - 4) + content + struct.pack(">I", zlib.crc32(content))
    return image[:head] + chunks + image[head:]


def _pdf(image: bytes, made: Provenance) -> bytes:
    """Append an information dictionary in place of the file's own (ISO 32000-1, 7.5.6: incremental updates)."""
    image = re.sub(rb"\(D:\d{14}", b"(D:19700101000000", image)
    trailer = image[image.rindex(b"trailer") :]
    root, number, size, before = (
        int(found[1]) if (found := re.search(name + rb"\s+(\d+)", trailer)) else 0
        for name in (b"/Root", b"/Info", b"/Size", b"startxref")
    )
    fields = {"Producer": "Chromium", "Subject": made.sentence()}
    fields |= {name.capitalize(): value for name, value in made.fields().items()}
    entries = "".join(f"/{name} <feff{value.encode('utf-16-be').hex()}>" for name, value in fields.items())
    added = f"{number} 0 obj\n<<{entries}>>\nendobj\n".encode()
    table = (
        f"xref\n0 1\n0000000000 65535 f \n{number} 1\n{len(image):010d} 00000 n \n"
        f"trailer\n<</Size {size} /Root {root} 0 R /Info {number} 0 R /Prev {before}>>\n"
        f"startxref\n{len(image) + len(added)}\n%%EOF\n"
    )
    return image + added + table.encode()


def _svg(image: bytes, made: Provenance) -> bytes:
    text = image.decode()
    if drawn := re.search(r'id="defs-([0-9a-f]{6})"', text):
        text = re.sub(rf"(?<=[-\w]){drawn[1]}", "figure", text)
    end = text.index(">", text.index("<svg")) + 1
    return f"{text[:end]}<metadata>{html.escape(made.sentence())}</metadata>{text[end:]}".encode()


def _jpeg(image: bytes, made: Provenance) -> bytes:
    """Put a comment after the JFIF header, which must be the first segment."""
    head = 4 + int.from_bytes(image[4:6])
    said = made.sentence().encode()[:65_000]
    return image[:head] + b"\xff\xfe" + struct.pack(">H", len(said) + 2) + said + image[head:]


def _webp(image: bytes, made: Provenance) -> bytes:
    """Append an XMP chunk, and set its flag in the header of the extended format, which Chromium writes."""
    if image[12:16] != b"VP8X":
        return image
    said = (
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        '<rdf:Description xmlns:dc="http://purl.org/dc/elements/1.1/"><dc:description><rdf:Alt><rdf:li '
        f'xml:lang="x-default">{html.escape(made.sentence())}</rdf:li></rdf:Alt></dc:description></rdf:Description>'
        "</rdf:RDF></x:xmpmeta>"
    ).encode()
    said += b" " * (len(said) % 2)
    body = image[8:20] + bytes([image[20] | 0x04]) + image[21:] + b"XMP " + struct.pack("<I", len(said)) + said
    return b"RIFF" + struct.pack("<I", len(body)) + body
