"""LiteRT for ARM64 under emulation, for the golden tests: one process serves them all."""

from __future__ import annotations

import pickle
import struct
import subprocess
import sys
from collections.abc import Sequence
from functools import cache
from typing import Any

from quantdiff.quant import Array
from quantdiff.run import emulation

SERVER = """
import pickle, struct, sys
import numpy as np
from ai_edge_litert.interpreter import Interpreter, OpResolverType as R
RESOLVERS = {"xnnpack": R.AUTO, "builtin": R.BUILTIN_WITHOUT_DEFAULT_DELEGATES, "reference": R.BUILTIN_REF}
def run(model, feeds, name):
    i = Interpreter(model_content=model, experimental_op_resolver_type=RESOLVERS[name], num_threads=1)
    i.allocate_tensors()
    given, made = ([d["index"] for d in details()] for details in (i.get_input_details, i.get_output_details))
    found = []
    for arrays in zip(*feeds):
        i.reset_all_variables()
        for index, array in zip(given, arrays):
            i.set_tensor(index, array)
        i.invoke()
        found.append([i.get_tensor(index) for index in made])
    return [np.stack(arrays) for arrays in zip(*found)], [op["op_name"] for op in i._get_ops_details()]
out = sys.stdout.buffer
while size := sys.stdin.buffer.read(8):
    asked = pickle.loads(sys.stdin.buffer.read(*struct.unpack("<q", size)))
    try:
        answer = pickle.dumps(run(*asked))
    except Exception as error:
        answer = pickle.dumps(f"{error}")
    out.write(struct.pack("<q", len(answer)) + answer)
    out.flush()
"""


def run(model: bytes, feeds: Sequence[Array], runtime: str) -> tuple[list[Array], list[str]]:
    """As ``golden.run_rounds``."""
    process = _server()
    assert process.stdin is not None
    assert process.stdout is not None
    asked = pickle.dumps((model, list(feeds), runtime))
    try:
        process.stdin.write(struct.pack("<q", len(asked)) + asked)
        process.stdin.flush()
        size = process.stdout.read(8)
    except BrokenPipeError:
        size = b""
    if not size:
        _server.cache_clear()
        raise RuntimeError(f"the emulated interpreter ended: {process.wait()}")
    answer: Any = pickle.loads(process.stdout.read(*struct.unpack("<q", size)))
    if isinstance(answer, str):
        raise RuntimeError(answer)
    return tuple(answer)


@cache
def _server() -> subprocess.Popen[bytes]:
    folder = emulation.root()
    assert folder is not None, f"nothing emulates ARM64 here: {emulation.BRINGS}"
    server = f"import sys; sys.path.insert(0, {str(folder / emulation.SITE)!r})\n{SERVER}"
    words = [*emulation.python(folder), "-c", server]
    return subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=sys.stderr)
