"""Damaged ``.tflite`` files held against LiteRT: what its verifier takes and refuses, and what its schema reads there.

``LiteRtCreateModelFromBuffer`` verifies first. It runs in a process of its own, since what follows may crash.
"""

from __future__ import annotations

import re
import struct
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import ai_edge_litert
import numpy as np
from ai_edge_litert import schema_py_generated as generated
from fuzz.counting import LITERT, Counts
from fuzz.fuzzing import KINDS, make

from quantdiff.graph import Graph, Model
from quantdiff.load import flatbuffer
from quantdiff.load.flatbuffer import Damaged
from quantdiff.load.tflite import read_model

LIBRARY = Path(ai_edge_litert.__file__).with_name("libLiteRt.so")
INVALID = "501"  # kLiteRtStatusErrorInvalidFlatbuffer
ASK = """
import ctypes, os, struct, sys
create = ctypes.CDLL(sys.argv[1]).LiteRtCreateModelFromBuffer
create.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t, ctypes.POINTER(ctypes.c_void_p)]
while head := sys.stdin.buffer.read(4):
    data = sys.stdin.buffer.read(*struct.unpack("<I", head))
    held = ctypes.create_string_buffer(data, max(len(data), 1))
    os.write(2, b"\\n=begin\\n")
    os.write(2, b"\\n=end %d\\n" % create(None, held, len(data), ctypes.byref(ctypes.c_void_p())))
"""
ANSWER = re.compile(r"\n=begin\n(.*?)(?:\n=end (\d+)\n|\Z)", re.DOTALL)
BATCH = 200


def verified(files: Sequence[bytes]) -> list[bool]:
    """Whether LiteRT's verifier takes each. It is silent; what is refused with a word, or kills, was taken by it."""
    found: list[bool] = []
    while len(found) < len(files):
        sent = b"".join(struct.pack("<I", len(each)) + each for each in files[len(found) :])
        command = [sys.executable, "-c", ASK, str(LIBRARY)]
        said = subprocess.run(command, input=sent, capture_output=True, check=False).stderr
        found += [
            status != INVALID or "ERROR" in words for words, status in ANSWER.findall(said.decode(errors="replace"))
        ]
    return found


def same(model: Model, data: bytes) -> bool:
    """Whether the classes that LiteRT's schema is compiled to read the same tensors, operators and signatures."""
    theirs = generated.ModelT.InitFromPackedBuf(data, 0)
    codes = [(max(c.builtinCode, c.deprecatedBuiltinCode), c.version) for c in theirs.operatorCodes or ()]
    signatures = [
        (
            _text(s.signatureKey),
            s.subgraphIndex,
            *([(_text(e.name), e.tensorIndex) for e in side or ()] for side in (s.inputs, s.outputs)),
        )
        for s in theirs.signatureDefs or ()
    ]
    ours = [(s.key, s.subgraph, [*s.inputs], [*s.outputs]) for s in model.signatures]
    graphs = [_theirs(graph, codes) for graph in theirs.subgraphs]
    return repr([*map(_ours, model.subgraphs), ours]) == repr([*graphs, signatures])  # nan equals itself there


def _ours(graph: Graph) -> list[Any]:
    numbers = {name: number for number, name in flatbuffer.enum("BuiltinOperator").items()}
    operators = [
        (numbers.get(op.op.partition(":")[0], op.op), op.version, [*op.inputs], [*op.outputs], [*op.intermediates])
        for op in graph.operators
    ]
    tensors = []
    for t in graph.tensors:
        said = t.name, t.dtype, [*t.shape], [*(t.shape_signature or ())], t.buffer, t.is_variable, t.stored_axis
        numbers_of = t.quant.scale if t.quant else (), t.stored_zero_point, t.stored_min, t.stored_max
        tensors.append((*said, *([*each] for each in numbers_of)))
    return [graph.name, [*graph.inputs], [*graph.outputs], operators, tensors]


def _theirs(graph: Any, codes: list[tuple[int, int]]) -> list[Any]:
    known = flatbuffer.enum("BuiltinOperator")
    operators = [
        (
            number if number in known else f"BUILTIN_{number}",
            version,
            *map(_items, (op.inputs, op.outputs, op.intermediates)),
        )
        for op in graph.operators or ()
        for number, version in [codes[op.opcodeIndex]]
    ]
    types = flatbuffer.enum("TensorType")
    tensors = []
    for t in graph.tensors or ():
        q = t.quantization or generated.QuantizationParametersT()
        kind = types.get(t.type, str(t.type)).lower()
        said = (
            _text(t.name),
            kind,
            _items(t.shape),
            _items(t.shapeSignature),
            t.buffer,
            t.isVariable,
            q.quantizedDimension,
        )
        tensors.append((*said, *(_items(each) for each in (q.scale, q.zeroPoint, q.min, q.max))))
    return [_text(graph.name), _items(graph.inputs), _items(graph.outputs), operators, tensors]


def _items(vector: Any) -> list[Any]:
    return [] if vector is None else np.asarray(vector).tolist()


def _text(text: bytes | None) -> str:
    return "" if text is None else text.decode(errors="replace")


def run_beside(most: int, seed: int) -> Counts:
    """So many files of ``seed``: read alike, refused by both, by one, or read otherwise."""
    counts = Counts()
    kinds = {".tflite": KINDS[".tflite"]}
    for start in range(0, most, BATCH):
        numbers = range(start, min(start + BATCH, most))
        made = [make(seed, number, kinds)[1:] for number in numbers]
        for number, (attack, data), taken in zip(numbers, made, verified([data for _, data in made]), strict=True):
            key = LITERT, attack
            try:
                model = read_model(memoryview(data))
            except (Damaged, struct.error):
                model = None
            counts.tried[key] += 1
            counts.refused[key] += model is None and not taken
            counts.ended[key] += model is None and taken
            if model is not None:
                alike = taken and same(model, data)
                counts.whole[key] += alike
                counts.failed[key] += not alike
                counts.failures += (
                    [] if alike else [f"{seed}/{number} {attack}: {'otherwise' if taken else 'only here'}"]
                )
    return counts
