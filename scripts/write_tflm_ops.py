"""Write ``src/quantdiff/linting/tflm_ops.txt``: the ops that the installed ``tflite-micro`` has.

    uv run python scripts/write_tflm_ops.py

The package registers its ops in ``python/tflite_micro/python_ops_resolver.cc`` and tells nobody which; so each op
is asked for in a model of one operator, in a process of its own (it may crash over a model as odd as that).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryFile

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from tflite_micro.python.tflite_micro import runtime
from written_models import Op, T, write_tflite

from quantdiff.load import flatbuffer

TARGET = Path(__file__).parents[1] / "src/quantdiff/linting/tflm_ops.txt"
SIGNAL = (
    *("Delay", "Energy", "FftAutoScale", "FilterBank", "FilterBankLog", "FilterBankSpectralSubtraction"),
    *("FilterBankSquareRoot", "Framer", "Irfft", "OverlapAdd", "PCAN", "Rfft", "Stacker", "Window"),
)
CUSTOM = ("CIRCULAR_BUFFER", "TFLite_Detection_PostProcess", "ethos-u", *(f"Signal{name}" for name in SIGNAL))
UNKNOWN = b"Didn't find op"


def has(op: str, *, custom: bool) -> bool:
    """True when the interpreter knows the op, whatever else it thinks of the model."""
    tensors = [T("x", (1, 4), "float32"), T("y", (1, 4), "float32")]
    model = write_tflite(tensors, [Op(op, ["x"], ["y"], custom=custom)], ["x"], ["y"])
    with TemporaryFile() as said:
        if not (child := os.fork()):
            os.dup2(said.fileno(), 2)
            try:
                runtime.Interpreter.from_bytes(model, arena_size=2**20)
            finally:
                os._exit(0)
        os.waitpid(child, 0)
        said.seek(0)
        return UNKNOWN not in said.read()


def known() -> Iterator[str]:
    """The names of the ops, as ``Operator.op`` spells them."""
    builtin = (op for op in flatbuffer.enum("BuiltinOperator").values() if not op.startswith(("CUSTOM", "PLACEHOLDER")))
    yield from (op for op in sorted(builtin) if has(op, custom=False))
    yield from (f"CUSTOM:{op}" for op in CUSTOM if has(op, custom=True))


def text() -> str:
    """The file: the version on the first line, then one op a line."""
    return "\n".join([f"tflite-micro {version('tflite-micro')}", *known(), ""])


if __name__ == "__main__":
    TARGET.write_text(text(), encoding="utf-8")
    print(f"{TARGET.name}: {len(TARGET.read_text(encoding='utf-8').splitlines()) - 1} ops")
