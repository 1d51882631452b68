"""``diff --layers`` beside its peers, on MobileNetV2 int8 and the float model that it stands for, 224 × 224.

uv run --group bench python benchmarks/layers.py [SAMPLES]

"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from networks import Network, mobilenet_v2, smooth_images
from written_models import T, write_tflite

from quantdiff.api.layers import compare_layers, side_of, watch
from quantdiff.api.settings import DEFAULTS
from quantdiff.load.data import make_batch
from quantdiff.load.tflite import load_tflite
from quantdiff.progress import silent


def in_float(network: Network) -> bytes:
    """The same network with real weights and values."""
    return write_tflite([real(t) for t in network.tensors], network.operators, ["input"], network.operators[-1].outputs)


def real(tensor: T) -> T:
    """The tensor in float32; shapes and axes stay integers."""
    if tensor.scale is None:
        return tensor
    data = tensor.data
    if data is not None:
        scale = np.atleast_1d(np.asarray(tensor.scale, np.float32))
        shape = [-1 if i == tensor.axis and scale.size > 1 else 1 for i in range(len(tensor.shape))]
        data = np.asarray(data) * scale.reshape(shape)
    return replace(tensor, dtype="float32", scale=None, zero_point=0, axis=0, data=data)


def bare(path: Path, images: np.ndarray) -> float:
    """Seconds to run a model on each image and to read every tensor."""
    interpreter = Interpreter(str(path), num_threads=1, experimental_preserve_all_tensors=True)
    interpreter.allocate_tensors()
    (given,) = interpreter.get_input_details()
    made = [d["index"] for d in interpreter.get_tensor_details()]
    started = time.perf_counter()
    for image in images:
        interpreter.set_tensor(given["index"], image[None])
        interpreter.invoke()
        for index in made:
            try:
                interpreter.get_tensor(index)
            except ValueError:
                pass
    return time.perf_counter() - started


def main(samples: int) -> None:
    network = mobilenet_v2()
    images = smooth_images(samples, (224, 224, 3), seed=9)
    with TemporaryDirectory() as folder:
        paths = Path(folder) / "float.tflite", Path(folder) / "int8.tflite"
        paths[0].write_bytes(in_float(network))
        paths[1].write_bytes(network.write())
        models = [load_tflite(path) for path in paths]
        batch = make_batch({"x": images}, "waves")
        stored = network.tensor("input")
        integers = np.clip(np.rint(images / np.float32(stored.scale)) + stored.zero_point, -128, 127).astype(np.int8)
        with watch(models[0], "xnnpack", DEFAULTS) as ours, watch(models[1], "xnnpack", DEFAULTS) as theirs:
            sides = side_of(ours, batch), side_of(theirs, batch)
            from quantdiff.align.watched import pair_models

            t = time.perf_counter()
            pairing = pair_models(*sides)
            print("pair", time.perf_counter() - t, len(pairing.matching.matches), pairing.matching.only_reference)
            t = time.perf_counter()
            compare_layers(*sides, silent, pairing)
            print("compare", (time.perf_counter() - t) / samples)
            t = time.perf_counter()
            report = compare_layers(*sides, silent, pairing)
            print("compare again", (time.perf_counter() - t) / samples)
        floats, ints = bare(paths[0], images), bare(paths[1], integers)
        print("bare", floats / samples, ints / samples)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 16)
