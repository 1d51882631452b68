"""Names of layers and tensors as a person reads them in a table."""

from __future__ import annotations

from quantdiff.report.plain import printable


def short(name: str) -> str:
    """The first path of a tensor's name, which names the last layer in it; a layer's name as it is."""
    return printable(name.partition(";")[0])


def cropped(name: str, room: int) -> str:
    """The end of a name that is too long: it tells a path from its neighbours, which begin alike."""
    return name if len(name) <= room else "…" + name[len(name) - room + 1 :]
