"""Write golden vectors to a folder that is complete or not there."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from quantdiff.files import split_part
from quantdiff.paper.vectors import GoldenVectors
from quantdiff.report.folder import staged
from quantdiff.report.plain import json_text
from quantdiff.report.vectors.c import write_c, write_program
from quantdiff.report.vectors.hex import write_hex
from quantdiff.report.vectors.manifest import manifest
from quantdiff.report.vectors.npz import write_npz
from quantdiff.run.random_input import prepared_data

MANIFEST = "manifest.json"
WRITERS = {"npz": write_npz, "c": write_c, "hex": write_hex}


def write_vectors(vectors: GoldenVectors, model: Path, out: Path, form: str) -> dict[str, Any]:
    """All files of one format, ``manifest.json`` among them, whose content is returned.

    Raises:
        CannotWrite: ``out`` is a file, or the system refuses.
    """
    with staged(out) as folder:
        files = [WRITERS[form](folder, operator) for operator in vectors.operators]
        if form == "c":
            write_program(folder, vectors.operators)
        document = manifest(vectors, form, hashlib.sha256(split_part(model)[0].read_bytes()).hexdigest(), files)
        (folder / MANIFEST).write_text(json_text(document) + "\n", encoding="ascii")
    return document


def summary(vectors: GoldenVectors, out: Path, form: str) -> str:
    """One line: what was written, and how far ``main.c`` can check it."""
    checked = sum(bool(operator.channels) for operator in vectors.operators)
    data = prepared_data(str(vectors.made_by.get("data", "")))
    line = f"{out}: {len(vectors.operators)} operators on {vectors.runtime}, {vectors.samples} samples{data}"
    line += f", {checked} with accumulators; manifest.json says what lies where"
    return line + ("" if checked or form != "c" else "; main.c has no layer to check, so it will print FAIL")
