"""What ``quantdiff runtimes`` found, as the values of the JSON document."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from quantdiff.references.survey import Engine


def runtimes_document(engines: Sequence[Engine]) -> dict[str, Any]:
    """The keys that scripts rely on; nothing is left out."""
    return {"schema": "quantdiff/1", "engines": [_engine_json(engine) for engine in engines]}


def _engine_json(engine: Engine) -> dict[str, Any]:
    return {
        "name": engine.name,
        "kind": engine.kind,
        "package": engine.package,
        "version": engine.version,
        "machine": engine.machine,
        "reached": engine.reached,
        "confinement": dict(engine.confinement),
        "install": engine.install or None,
    }
