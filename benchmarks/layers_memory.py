"""Peak memory of ``diff --layers`` on 10,000 and on 100,000 images: it must not grow with the data.

    uv run python benchmarks/layers_memory.py [IMAGES IMAGES]

The images, 224 × 224 floats each, lie in one sparse ``.npy`` of 2 GB and of 20 GB; every thousandth is not all 0. Each
size in a process of its own; MB of that process and of the largest of its children.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from written_models import Op, T, write_tflite

SIZES = 10_000, 100_000
SIDE, POOL, CLASSES = 224, 32, 10
CELLS = (SIDE // POOL) ** 2


def network(quantized: bool) -> bytes:
    """Means of 32 × 32 pixels, then a layer of ten units; in float, or the same in int8."""
    weights = np.random.default_rng(0).uniform(-1, 1, (CLASSES, CELLS))
    small = SIDE // POOL

    def tensor(name: str, shape: tuple[int, ...], scale: float, **more: object) -> T:
        return T(name, shape, "int8", scale, **more) if quantized else T(name, shape, "float32", **more)

    def value(name: str, *shape: int, scale: float = 1 / 127) -> T:
        return tensor(name, (1, *shape), scale, shape_signature=(-1, *shape))

    steps = 127 if quantized else 1
    tensors = [
        value("x", SIDE, SIDE, 1), value("cells", small, small, 1),
        T("shape", (2,), "int32", data=[-1, CELLS]), value("flat", CELLS),
        tensor("w", weights.shape, 1 / 127, data=np.rint(weights * 127) / 127 * steps),
        value("y", CLASSES, scale=0.1),
    ]  # fmt: skip
    pool = {"strideW": POOL, "strideH": POOL, "filterWidth": POOL, "filterHeight": POOL, "padding": 1}
    operators = [
        Op("AVERAGE_POOL_2D", ["x"], ["cells"], pool, "Pool2DOptions", version=2 if quantized else 1),
        Op("RESHAPE", ["cells", "shape"], ["flat"], {}, "ReshapeOptions"),
        Op("FULLY_CONNECTED", ["flat", "w", None], ["y"], {}, version=4 if quantized else 1),
    ]
    return write_tflite(tensors, operators, ["x"], ["y"])


def write_images(path: Path, count: int) -> None:
    """A sparse file."""
    images = np.lib.format.open_memmap(path, "w+", np.float32, (count, SIDE, SIDE, 1))
    rng = np.random.default_rng(0)
    for i in (*range(64), *range(1000, count, 1000)):
        images[i] = rng.uniform(-1, 1, images.shape[1:])
    images.flush()


def one(folder: Path, data: Path) -> None:
    """In a process of its own: peak MB, and how many samples were compared."""
    from quantdiff import api

    peaks, ended = [0.0], threading.Event()
    watching = threading.Thread(target=watch, args=(peaks, ended))
    watching.start()
    outcome = api.diff(folder / "float.tflite", folder / "int8.tflite", api.InParts([data]), layers=True)
    ended.set()
    watching.join()
    assert len(outcome.layers[0].layers) > 2
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"samples": outcome.made_by["samples"], "MB": round(own, 1), "child": round(max(peaks), 1)}))


def watch(peaks: list[float], ended: threading.Event) -> None:
    """Add the peaks of all children, MB: they are forked by one of them, so that none is ours to wait for."""
    while not ended.wait(0.05):
        waiting = [os.getpid()]
        for process in waiting:  # grows while it is walked
            with suppress(OSError):  # one that has just ended
                waiting += map(int, Path(f"/proc/{process}/task/{process}/children").read_text().split())
                status = dict(line.split(":", 1) for line in Path(f"/proc/{process}/status").read_text().splitlines())
                if process != os.getpid() and "VmHWM" in status:
                    peaks.append(int(status["VmHWM"].split()[0]) / 1024)


def main(sizes: tuple[int, ...]) -> None:
    """One JSON document: peaks by number of images, and the ratios."""
    found = {}
    with TemporaryDirectory() as name:
        folder = Path(name)
        for quantized in (False, True):
            (folder / f"{'int8' if quantized else 'float'}.tflite").write_bytes(network(quantized))
        for size in sizes:
            write_images(folder / "x.npy", size)
            print(f"{size}: {(folder / 'x.npy').stat().st_size / 1e9:.1f} GB", file=sys.stderr)
            command = [sys.executable, __file__, "--one", str(folder), str(folder / "x.npy")]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            found[size] = json.loads(done.stdout.splitlines()[-1])
    few, many = (found[size] for size in sizes)
    ratios = {name: round(many[name] / few[name], 3) for name in ("MB", "child")}
    print(json.dumps({"peaks": found, "ratios": ratios}))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        one(Path(sys.argv[2]), Path(sys.argv[3]))
    else:
        main(tuple(map(int, sys.argv[1:])) or SIZES)
