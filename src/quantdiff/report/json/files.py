"""What files say by themselves, for JSON documents: an inspection, and what lint found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from quantdiff.graph import Operator
from quantdiff.linting.lint import Finding, LintReport
from quantdiff.load.containers import Section
from quantdiff.parameters.inspection import InspectedGraph, Inspection, RangedTensor
from quantdiff.quant import Sparsity
from quantdiff.report.text.files import quantization_text


def inspection_json(inspection: Inspection) -> dict[str, Any]:
    """The keys that scripts rely on: those of the main subgraph on top, the other subgraphs in a list."""
    main, *others = (_graph_json(graph) for graph in inspection.graphs)
    model = inspection.model
    return {
        "schema": "quantdiff/1",
        "model": {"path": str(model.path or ""), "version": model.version, "description": model.description},
        **main,
        "subgraphs": others,
        "signatures": [
            {"key": s.key, "subgraph": s.subgraph, "inputs": dict(s.inputs), "outputs": dict(s.outputs)}
            for s in model.signatures
        ],
        "metadata": [{"name": entry.name, "size": entry.size} for entry in model.metadata],
        "attached": [{"name": entry.name, "size": entry.size} for entry in model.attached],
    }


def sections_json(container: Path, sections: Sequence[Section]) -> dict[str, Any]:
    """The sections of a container, in its order."""
    return {
        "schema": "quantdiff/1",
        "model": {"path": str(container), "version": 0, "description": ""},
        "sections": [
            {"index": s.index, "name": s.name, "kind": s.kind, "begin": s.begin, "size": s.end - s.begin,
             "items": dict(s.items)}
            for s in sections
        ],
    }  # fmt: skip


def _graph_json(graph: InspectedGraph) -> dict[str, Any]:
    return {
        "index": graph.index,
        "name": graph.name,
        "inputs": list(graph.inputs),
        "outputs": list(graph.outputs),
        "tensors": [_tensor_json(ranged) for ranged in graph.tensors],
        "operators": [_operator_json(op) for op in graph.operators],
    }


def _tensor_json(ranged: RangedTensor) -> dict[str, Any]:
    tensor, quant = ranged.tensor, ranged.tensor.quant
    return {
        "index": tensor.index,
        "name": tensor.name,
        "shape": tensor.shape,
        "shape_signature": tensor.shape_signature,
        "dtype": tensor.dtype,
        "scale": quant.scale if quant else (),
        "zero_point": quant.zero_point if quant else tensor.stored_zero_point,
        "axis": quant.axis if quant else None,
        "min": ranged.min,
        "max": ranged.max,
        "stored_min": tensor.stored_min,
        "stored_max": tensor.stored_max,
        "quantization": quantization_text(tensor),
        "constant": tensor.is_constant,
        "variable": tensor.is_variable,
        "buffer": tensor.buffer,
        "buffer_size": tensor.buffer_size,
        "blocks": tensor.blocks and asdict(tensor.blocks),
        "sparsity": tensor.sparsity and _sparsity_json(tensor.sparsity),
    }


def _sparsity_json(sparsity: Sparsity) -> dict[str, Any]:
    levels = [{"format": level.format, "size": level.size} for level in sparsity.dimensions]
    return {
        "traversal_order": sparsity.traversal_order,
        "block_map": sparsity.block_map,
        "dimensions": levels,
    }


def _operator_json(op: Operator) -> dict[str, Any]:
    return {
        "index": op.index,
        "op": op.op,
        "version": op.version,
        "inputs": op.inputs,
        "outputs": op.outputs,
        "intermediates": op.intermediates,
        "fused_activation": op.options.get("fused_activation_function"),
        "options": {name: _plain(value) for name, value in op.options.items()},
        "custom_options_size": 0 if op.custom_options is None else op.custom_options.size,
    }


def _plain(value: object) -> object:
    """An option that is bytes is told by its size."""
    return {"bytes": value.size} if isinstance(value, np.ndarray) else value


def lint_document(reports: Sequence[LintReport]) -> dict[str, Any]:
    """The document of one model, or those of several under ``models`` with the counts of all."""
    if len(reports) == 1:
        return lint_json(reports[0])
    counts = {severity: sum(report.counts[severity] for report in reports) for severity in reports[0].counts}
    return {"schema": "quantdiff/1", "models": [lint_json(report) for report in reports], "counts": counts}


def lint_json(report: LintReport) -> dict[str, Any]:
    """The keys that scripts rely on; nothing is left out."""
    return {
        "schema": "quantdiff/1",
        "model": str(report.model.path or ""),
        "findings": [_finding_json(finding) for finding in report.findings],
        "counts": report.counts,
    }


def _finding_json(finding: Finding) -> dict[str, Any]:
    return {
        "code": finding.code,
        "severity": finding.severity.value,
        "where": finding.place.text,
        "subgraph": finding.place.subgraph,
        "operator": finding.place.operator,
        "evidence": finding.evidence,
        "message": finding.message,
        "advice": finding.advice,
    }
