"""Write ``src/quantdiff/report/json/schemas/``: a JSON Schema for each command's document, from the results' types.

uv run python scripts/write_schemas.py
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from quantdiff.compare.comparison import Figures
from quantdiff.compare.layers.figures import Flip, LayerFigures, WorstSample
from quantdiff.compare.layers.report import LayerResult
from quantdiff.compare.outcome import Failure
from quantdiff.experiment.summary import Summary
from quantdiff.experiment.trial import StoredRange
from quantdiff.ladder.explanation import Explanation, Frontier
from quantdiff.load.dumps.forms import Manifest
from quantdiff.paper.working import Given, Number, Operand, Products, Sheet
from quantdiff.parameters.quantizers import Parameters, Row
from quantdiff.quant import BlockQuant
from quantdiff.sim.graph.simulator import Missing

TARGET = Path(__file__).parents[1] / "src/quantdiff/report/json/schemas"
NUMBER = {"anyOf": [{"type": "number"}, {"enum": ["NaN", "Infinity", "-Infinity"]}]}
Schema = dict[str, Any]
FLOAT: Schema = {"$ref": "#/$defs/number"}
NUMBERS_OF: dict[Any, Schema] = {float: FLOAT, complex: {"type": "array", "items": FLOAT, "minItems": 2, "maxItems": 2}}


class Named:
    """An object that stands in several places of a document."""

    def __init__(self, name: str, keys: Mapping[str, Any]) -> None:
        self.name, self.keys = name, keys


class Schemas:
    """The parts that documents share, by name."""

    def __init__(self) -> None:
        self.parts: Schema = {"number": NUMBER}

    def of(self, kind: Any) -> Schema:  # noqa: PLR0911 (a line for each kind of type)
        """The schema of a type: of a dataclass by reference, of a mapping by its values."""
        if isinstance(kind, dict):
            return self.object(kind)
        if isinstance(kind, list):
            return {"type": "array", "items": self.of(kind[0])}
        if isinstance(kind, Named):
            return self.named(kind.name, kind.keys)
        origin, inner = get_origin(kind), get_args(kind)
        if origin in (Union, UnionType):
            return {"anyOf": [self.of(each) for each in inner]}
        if origin in (tuple, list):
            return {"type": "array", "items": self.of(inner[0])}
        if origin is not None and issubclass(origin, Mapping):
            return {"type": "object", "additionalProperties": self.of(inner[1])}
        if is_dataclass(kind):
            return self.named(kind.__name__, {f.name: get_type_hints(kind)[f.name] for f in fields(kind)})
        plain = {int: "integer", str: "string", bool: "boolean", NoneType: "null", dict: "object"}
        return {"type": plain[kind]} if kind in plain else NUMBERS_OF.get(kind, {})

    def named(self, name: str, keys: Mapping[str, Any]) -> Schema:
        """An object that stands in several places; a key that ends in ``?`` may be missing."""
        if name not in self.parts:
            self.parts[name] = {}
            self.parts[name] = self.object(keys)
        return {"$ref": f"#/$defs/{name}"}

    def object(self, keys: Mapping[str, Any]) -> Schema:
        """An object with these keys and no others."""
        return {
            "type": "object",
            "properties": {key.rstrip("?"): self.of(kind) for key, kind in keys.items()},
            "required": [key for key in keys if not key.endswith("?")],
            "additionalProperties": False,
        }


def hints(kind: Any, *without: str) -> dict[str, Any]:
    """The fields of a dataclass with their types."""
    return {f.name: get_type_hints(kind)[f.name] for f in fields(kind) if f.name not in without}


def optional(keys: Mapping[str, Any]) -> dict[str, Any]:
    """The same keys, each of which may be missing."""
    return {f"{key.rstrip('?')}?": kind for key, kind in keys.items()}


def renamed(keys: Mapping[str, Any], before: str) -> dict[str, Any]:
    """The same keys behind a prefix, where there may be nothing."""
    return {before + key: kind | None for key, kind in keys.items()}


@dataclass(frozen=True)
class Level:
    """One level of a sparse tensor."""

    format: str
    size: int


@dataclass(frozen=True)
class Sparse:
    """How a sparse tensor is stored."""

    traversal_order: tuple[int, ...]
    block_map: tuple[int, ...]
    dimensions: tuple[Level, ...]


STRINGS = tuple[str, ...]
NUMBERS = Mapping[str, float]
MADE_BY = {"schema": str, "command": str, "versions": Mapping[str, str]}
FIGURES = hints(Figures)
SIDES = {"reference": str, "candidate": str}
COMPARISON = {**SIDES, "tolerance": float, **FIGURES}
OUTPUTS = {"outputs?": [Named("OutputFigures", {**SIDES, **FIGURES})]}
LAYER = {
    "engine": str,
    **hints(LayerResult, "figures", "local"),
    **hints(LayerFigures),
    **renamed(hints(LayerFigures), "local_"),
}
LAYER_SUMMARY = {
    **SIDES,
    "same_model": bool,
    "strangers": str,
    "first_differing": str | None,
    "adds_most": str | None,
    "worst_samples": tuple[WorstSample, ...],
    "flipped": int,
    "decided": int,
    "flips": tuple[Flip, ...],
    "notes": STRINGS,
}
LEFTOVER = Named("Leftover", dict.fromkeys(("name", "op", "why"), str))
LAYERS = {
    "layers": [Named("Layer", LAYER)],
    "unaligned": {"reference": [LEFTOVER], "candidate": [LEFTOVER]},
    "layer_summaries": [LAYER_SUMMARY],
}
A_COMPARISON = Named("Comparison", {
    **COMPARISON, **OUTPUTS,
    "metric?": Mapping[str, dict],
    "lost": [{
        "output": str, "outside": float | None, "outside_steps": float | None, "axis": int, "channels": int,
        "constant": tuple[int, ...], "few": tuple[int, ...],
    }],
    "channels?": [{"output": str, "channel": int, "values": int, **FIGURES}],
})  # fmt: skip
OUTCOME = {
    **MADE_BY,
    "samples": int,
    "accuracy": NUMBERS,
    "comparisons": [A_COMPARISON],
    "failures": tuple[Failure, ...],
    "notes": STRINGS,
    "warnings": STRINGS,
    "artifacts": Mapping[str, str],
    **optional(LAYERS),
}  # fmt: skip
TRIAL = {"model": str, "seed": int, "data": str, "epochs": int, "bias": bool}
FRONTIER = hints(Frontier)
EXPLANATION = {
    "command": str,
    "versions": Mapping[str, str],
    **hints(Explanation, "made_by", "artifacts", "closed_reference", "closed_candidate", "expected_exactly", "expected",
            "frontier", "of_the_data", "advice"),
    "closed": {"reference": bool, "candidate": bool},
    "expected": dict.fromkeys(("simulator", "closed_form", "measured"), float | None),
    "leading": str | None,
    "sentence": str,
    "warnings": STRINGS,
    "shares": NUMBERS,
    "powers": NUMBERS,
    "frontier": FRONTIER["items"],
    "shapley": NUMBERS,
    "come_right": Mapping[str, tuple[int, ...]],
    "frontier_samples": int,
    "output_grid": float | None,
    "error_rms_steps": float | None,
    "advice": [{**hints(get_args(get_type_hints(Explanation)["advice"])[0]), "text": str}],
    "artifacts": Mapping[str, str],
}  # fmt: skip
LINT = {
    "schema": str,
    "model": str,
    "findings": [
        Named("Finding", {
            **dict.fromkeys(("code", "severity", "where", "evidence", "message", "advice"), str),
            "subgraph": int | None, "operator": int | None,
        })
    ],
    "counts": dict.fromkeys(("error", "warning", "info"), int),
}  # fmt: skip
TENSOR = {
    **dict.fromkeys(("index", "buffer", "buffer_size"), int),
    **dict.fromkeys(("name", "dtype", "quantization"), str),
    **dict.fromkeys(("constant", "variable"), bool),
    **dict.fromkeys(("scale", "min", "max", "stored_min", "stored_max"), tuple[float, ...]),
    "shape": tuple[int, ...],
    "shape_signature": tuple[int, ...] | None,
    "zero_point": tuple[int, ...],
    "axis": int | None,
    "blocks": BlockQuant | None,
    "sparsity": Sparse | None,
}
OPERATOR = {
    **dict.fromkeys(("index", "version", "custom_options_size"), int),
    **dict.fromkeys(("inputs", "outputs", "intermediates"), tuple[int, ...]),
    "op": str,
    "fused_activation": str | None,
    "options": dict,
}
GRAPH = {
    "index": int,
    "name": str,
    "inputs": tuple[int, ...],
    "outputs": tuple[int, ...],
    "tensors": [Named("Tensor", TENSOR)],
    "operators": [Named("Operator", OPERATOR)],
}
SIZED = Named("Sized", {"name": str, "size": int})
VERDICT = {
    **dict.fromkeys(("status", "why", "doubt"), str),
    **dict.fromkeys(("count", "mismatches"), int),
    **dict.fromkeys(("faithful", "delegated_as_expected"), bool),
    "chain": {"count": int, "mismatches": int},
    "operators": [{
        **dict.fromkeys(("index", "count", "mismatches"), int),
        "op": str, "kernel": str, "within?": bool, "width?": float,
    }],
    "unsupported": tuple[Missing, ...],
    "skipped": tuple[int, ...],
    "device?": {
        "first": int | None, "notes": STRINGS, "tensors": [{
            "operator": int, "op": str, "tensor": int, "name": str, "nearest": str | None, "count": int, "new": int,
            "differing": int, "by_rules": Mapping[str, int], "kind": str | None, "text": str | None,
            "new_so_read": int | None, "passed_on": bool | None, "why": str,
        }],
    },
}  # fmt: skip
VECTOR = {
    "file": str | None,
    "shape": tuple[int, ...],
    "dtype": str,
    **optional({
        "tensor": int, "name": str, "stored_dtype": str, "constant": bool, "scale": tuple[float, ...] | None,
        "zero_point": tuple[int, ...] | None, "axis": int | None,
    }),
}  # fmt: skip
TRIED = {
    "choices": [{"kind": str, "change": str, "where": str, "tensor": int | None, "operators": tuple[int, ...]}],
    "then": A_COMPARISON,
}
SCORE = {"accuracy": float, "error_rate": float, "count": int}
DOCUMENTS: Mapping[str, Mapping[str, Any]] = {
    "diff": {**OUTCOME, "shards?": int},
    "run": {**OUTCOME, **TRIAL, "quantize": bool},
    "explain": {
        "schema": str, "failures": tuple[Failure, ...], **optional(EXPLANATION),
        "explanations?": [Named("AnExplanation", EXPLANATION)],
    },
    "params": {
        "schema": str, **optional({"command": str, "versions": Mapping[str, str], "samples": int | None}),
        **optional(TRIAL), "quantize?": bool,
        **hints(Parameters, "rows", "made_by", "only_reference", "only_tflite"),
        "rows": [Named("Quantizer", {
            name + "?" * (name not in ("layer", "quantizer", "role", "reasons")): kind
            for name, kind in hints(Row).items()
        })],
        "unaligned": {"reference": STRINGS, "tflite": STRINGS},
    },
    "lint": {**optional(LINT), "schema": str, "counts": LINT["counts"], "models?": [LINT]},
    "inspect": {
        "schema": str, "model": {"path": str, "version": int, "description": str}, **optional(GRAPH),
        "subgraphs?": [GRAPH], "sections?": [{
            "index": int, "name": str, "kind": str, "begin": int, "size": int, "items": Mapping[str, str],
        }],
        "signatures?": [{"key": str, "subgraph": int, "inputs": Mapping[str, int], "outputs": Mapping[str, int]}],
        "metadata?": [SIZED], "attached?": [SIZED],
    },
    "verify": {
        **MADE_BY, "model": str, "data": str, "samples": int, "runtimes": Mapping[str, Any],
    },
    "work": {
        **MADE_BY, "model": str, "data": str, "operator": {"index": int, "op": str}, "element": tuple[int, ...],
        "at": tuple[int, ...], "runtime": str, "kernel": str, "operands": tuple[Operand, ...],
        "products": Products | None, "rule": str, "steps": get_type_hints(Sheet)["steps"],
        "bounds": get_type_hints(Sheet)["bounds"], "result": Number, "real": Number, "runtime_gave": Number,
        "others": tuple[Given, ...],
    },
    "vectors": {
        **MADE_BY, "model": str, "data": str, "model_sha256": str, "runtime": str, "format": str, "samples": int,
        "operators": [{
            "index": int, "op": str, "kernel": str, "options": dict, "rule": str | None,
            "clamp": tuple[int, ...] | None, "simulator_mismatches": int, "unreadable": STRINGS,
            "vectors": Named("Vectors", {}),
        }],
    },
    "overlay": {
        **MADE_BY, "samples": int, "data": str, "files": [{"file": str, "runtime": str, "shows": str, "nodes": int}],
    },
    "runtimes": {
        "schema": str, "engines": [{
            **dict.fromkeys(("name", "kind", "package", "machine", "reached"), str),
            "version": str | None, "install": str | None, "confinement": Mapping[str, bool],
        }],
    },
    "sweep": {
        "schema": str, "command": str, "store": str, "trials": [{
            **TRIAL, **dict.fromkeys(("condition", "calibration", "key"), str), "versions": Mapping[str, str],
            "error?": str | None, "scores?": dict, "comparisons?": [{**COMPARISON, "metric?": Mapping[str, dict]}],
            "ranges?": tuple[StoredRange, ...],
            "failures?": tuple[Failure, ...],
        }],
    },
    "report": {
        "schema": str, "command": str, **optional(hints(Summary)), "before?": str, "after?": str,
        "moved?": [{
            **dict.fromkeys(("section", "whose", "figure"), str), "change": float | None,
            "before": float | str | None, "after": float | str | None,
        }],
        "same?": int, "packages?": [{"package": str, "before": str, "after": str}],
    },
    "advise": {
        **MADE_BY, "samples": int, "now": A_COMPARISON, "plain": A_COMPARISON, "until": STRINGS, "met": bool | None,
        "complete": bool, "considered": int, "choices": [TRIED], "chosen": dict | None, "proven": str,
        "measured": dict | None, "files": Mapping[str, str], "notes": STRINGS,
        "artifacts": Mapping[str, str],
    },
    "extract": {
        "schema": str, "model": str, "operators": tuple[int, ...], "inputs": STRINGS, "outputs": STRINGS, "data": str,
        "samples": int, "runtime": str, "bytes": int, "count": int, "mismatches": int,
        "artifacts": Mapping[str, str | None],
    },
    "identify": {
        **optional(MADE_BY), "schema": str, "model?": str, "data?": str, "samples?": int, "runtime": str,
        "faithful": bool, "kinds": [{
            "kind": str, "operators": tuple[int, ...], "usual": bool, "status": str, "count": int, "unjudged": int,
            "rules": tuple[STRINGS, ...],
            "refuted": [{"rule": str, "mismatches": int, "example": dict | None}],
        }],
        "missing": tuple[Missing, ...], "probe?": {
            "samples": int, "known": int, "searched": int,
            "told": [{"kind": str, "rules": STRINGS, "elements": int}], "left": [{"kind": str, "rules": STRINGS}],
        },
    },
    "record": {"schema": str, "command": str, "out": str, "data": str, **hints(Manifest)},
    "reduce": {
        "schema": str, "command": str, "check": str, "before": str, "after": str, "operators": tuple[int, ...],
        "operators_before": int, "samples": int, "samples_before": int, "data": str, "bytes": Mapping[str, int],
        "bytes_before": int, "tries": int, "ended": str, "anonymous": dict | None, "artifacts": Mapping[str, str],
    },
    "worst": {
        "schema": str, "reference": str, "candidate": str, "step": float | None, "max_abs_error": float,
        "steps": float | None, "known_max_abs_error": float, "margin": float | None, "known_margin": float | None,
        "max_steps": int | None, "samples": int,
        "within": float | None, "known_within": float,
        "inputs": [{
            "max_abs_error": float, "max_steps": int | None, "within": float | None, "margin": float | None,
            "begun_with": object,
        }],
        "tried": int, "seconds": float, "near": float | None, "interrupted": bool, "explanation": dict | None,
        "unexplained": str, "bound": dict | None, "warnings": STRINGS, "made_by": dict,
        "artifacts": Mapping[str, str],
    },
}  # fmt: skip


def schema(command: str) -> Schema:
    """The whole schema of one command's document."""
    schemas = Schemas()
    document = schemas.object(DOCUMENTS[command])
    if command == "verify":
        document["properties"]["runtimes"]["additionalProperties"] = schemas.of(VERDICT)
    if command == "report":
        document["anyOf"] = [{"required": [*hints(Summary)]}, {"required": ["before", "after", "moved", "same"]}]
    if command == "inspect":
        document["anyOf"] = [{"required": [*GRAPH, "subgraphs", "signatures", "metadata", "attached"]}]
        document["anyOf"] += [{"required": ["sections"]}]
    if command == "vectors":
        schemas.parts["Vectors"] = {"type": "object", "additionalProperties": schemas.of(VECTOR)}
    if command == "sweep":
        trial = document["properties"]["trials"]["items"]["properties"]
        trial["scores"]["additionalProperties"] = schemas.of(SCORE)
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": f"quantdiff {command} --json"}
    return {**head, **document, "$defs": schemas.parts}


def text(command: str) -> str:
    """The file of a command."""
    return json.dumps(schema(command), separators=(",", ":")) + "\n"


if __name__ == "__main__":
    TARGET.mkdir(exist_ok=True)
    for command in DOCUMENTS:
        (TARGET / f"{command}.json").write_text(text(command), encoding="utf-8")
    print(f"{len(DOCUMENTS)} schemas")
