"""Write models of 1 GB and of more than 2 GB, and list them: seconds and resident memory of the whole command.

    uv run python benchmarks/large_models.py [FOLDER]

The weights are holes in a sparse file, so that the disk need not hold them; the layout is that of the C++
writer (each Buffer table right before its bytes) and, beyond 2 GB, that of the converter (bytes behind the
flatbuffer, found by ``offset`` and ``size``).
"""

from __future__ import annotations

import json
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from ai_edge_litert import schema_py_generated as schema
from written_models import Op, Sub, T, model_object, pack

LAYERS = 100
SECONDS_AT_MOST, MEGABYTES_AT_MOST = 0.5, 120


def layers(rows: int, columns: int) -> schema.ModelT:
    """Fully connected layers, int8 per channel, each weight a placeholder of one byte."""
    tensors, operators = [T("x0", (1, columns), scale=0.1)], []
    for i in range(LAYERS):
        scale = [0.001 * (1 + j) for j in range(rows)]
        tensors.append(T(f"layer{i}/kernel", (rows, columns), scale=scale, raw=b"\0"))
        tensors.append(T(f"x{i + 1}", (1, rows), scale=0.1))
        operators.append(Op("FULLY_CONNECTED", [f"x{i}", f"layer{i}/kernel", None], [f"x{i + 1}"]))
    return model_object([Sub(tensors, operators, ["x0"], [f"x{LAYERS}"])])


def write_inside(path: Path, rows: int, columns: int) -> None:
    """The weights inside the flatbuffer: lists of buffers point to tables appended to it."""
    data = bytearray(pack(layers(rows, columns)))
    entries = _buffer_entries(data)
    with path.open("wb") as file:
        at = len(data) + -len(data) % 16
        for entry in entries[1:]:
            table = entry + struct.unpack_from("<I", data, entry)[0]
            vtable = table - struct.unpack_from("<i", data, table)[0]
            struct.pack_into("<I", data, entry, at - entry)
            file.seek(at)
            file.write(struct.pack("<iIII", at - vtable, 8, 0, rows * columns))
            at += 16 + rows * columns
        file.seek(0)
        file.write(data)
        file.truncate(at)


def write_outside(path: Path, rows: int, columns: int) -> None:
    """The weights behind the flatbuffer, by offset and size."""
    model, size = layers(rows, columns), 0
    for end in (1 << 40, None):  # the first time to learn how long the flatbuffer is
        at = (end or size) + 4096
        for buffer in model.buffers[1:]:
            buffer.data, buffer.offset, buffer.size = None, at, rows * columns
            at += rows * columns
        data = pack(model)
        size = len(data)
    with path.open("wb") as file:
        file.write(data)
        file.truncate(at)


def _buffer_entries(data: bytearray) -> list[int]:
    """Where the offsets of the list of buffers stand: slot 4 of the root table."""
    (root,) = struct.unpack_from("<I", data, 0)
    vtable = root - struct.unpack_from("<i", data, root)[0]
    field = root + struct.unpack_from("<H", data, vtable + 4 + 2 * 4)[0]
    start = field + struct.unpack_from("<I", data, field)[0]
    (count,) = struct.unpack_from("<I", data, start)
    return [start + 4 + 4 * i for i in range(count)]


def listed(path: Path, *options: str) -> dict[str, float]:
    """Wall time and peak resident memory of ``quantdiff inspect``, best of five."""
    command = [str(Path(sys.executable).parent / "quantdiff"), "inspect", str(path), *options]
    return {"seconds": best(command), "megabytes": round(peak_megabytes(command), 1)}


def best(command: list[str]) -> float:
    """Wall time of the fastest of five runs."""
    seconds = []
    for _ in range(5):
        start = time.perf_counter()
        subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
        seconds.append(time.perf_counter() - start)
    return round(min(seconds), 3)


def peak_megabytes(command: list[str]) -> float:
    """``VmHWM`` of the command, told by itself: ``ru_maxrss`` would include the parent's pages before exec."""
    code = (
        "import re, sys; from pathlib import Path; from quantdiff.cli import main\n"
        "try: main(sys.argv[1:])\n"
        "finally: print(re.findall(r'VmHWM:\\s+(\\d+)', Path('/proc/self/status').read_text())[0], file=sys.stderr)"
    )
    child = [sys.executable, "-c", code, *command[1:]]
    told = subprocess.run(child, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=True).stderr
    return int(told) / 1024


def main(folder: Path) -> None:
    """One line of JSON per file and way of listing; the imports alone tell how busy the machine is."""
    print(json.dumps({"import numpy, click: seconds": best([sys.executable, "-c", "import numpy, click"])}))
    for name, write, columns in (("1 GB", write_inside, 10_486), ("3 GB", write_outside, 31_458)):
        path = folder / f"{name.replace(' ', '')}.tflite"
        write(path, 1024, columns)
        for options in ((), ("--json",)):
            figures = listed(path, *options)
            kept = figures["seconds"] < SECONDS_AT_MOST and figures["megabytes"] < MEGABYTES_AT_MOST
            size = path.stat().st_size
            print(json.dumps({"model": name, "bytes": size, "options": options, **figures, "kept": kept}))
        path.unlink()


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(Path(sys.argv[1]))
    else:
        with tempfile.TemporaryDirectory() as folder:
            main(Path(folder))
