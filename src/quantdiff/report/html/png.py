"""A ``Picture`` as a PNG file in a data URI (PNG specification, third edition)."""

from __future__ import annotations

import struct
import zlib
from base64 import b64encode

from quantdiff.compare.evidence import Picture

SIGNATURE = b"\x89PNG\r\n\x1a\n"
COLOUR_TYPES = {1: 0, 3: 2}  # channels → greyscale, truecolour


def data_uri(picture: Picture) -> str:
    """``data:image/png;base64,…``."""
    return "data:image/png;base64," + b64encode(png(picture)).decode()


def png(picture: Picture) -> bytes:
    """The file: a header, all rows without a filter, the end."""
    row = picture.width * picture.channels
    rows = (picture.pixels[i : i + row] for i in range(0, len(picture.pixels), row))
    header = struct.pack(">IIBBBBB", picture.width, picture.height, 8, COLOUR_TYPES[picture.channels], 0, 0, 0)
    data = zlib.compress(b"".join(b"\0" + each for each in rows), 9)
    return SIGNATURE + b"".join(_chunk(*each) for each in ((b"IHDR", header), (b"IDAT", data), (b"IEND", b"")))


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
