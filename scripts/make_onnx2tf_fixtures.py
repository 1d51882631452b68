"""Make the files of ``tests/onnx2tf_files``: a small network with batch norm, and what onnx2tf makes of it in int8.

It needs Python 3.12 with onnx2tf 2.6.9, whose command has to be on the path, and the versions that it pins.
``python scripts/make_onnx2tf_fixtures.py tests/onnx2tf_files``
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

SEED, SIZE, WIDE, CLASSES, CALIBRATED, KEPT = 7, 12, 6, 5, 64, 16
QDQ = "net_qdq.onnx"
MADE = ("net_full_integer_quant.tflite", "net_integer_quant.tflite", "net_tensor_correspondence_report.json")


def weights(rng: np.random.Generator) -> dict[str, Any]:
    """Kernels, biases and norms as training leaves them: of many sizes, by channel."""

    def norm(name: str) -> dict[str, Any]:
        return {
            f"{name}.weight": rng.uniform(0.5, 1.5, WIDE),
            f"{name}.bias": rng.normal(0, 0.3, WIDE),
            f"{name}.mean": rng.normal(0, 0.3, WIDE),
            f"{name}.var": rng.uniform(0.5, 2, WIDE),
        }

    depth = WIDE * (SIZE // 2) ** 2
    found = {
        "stem.kernel": rng.normal(0, 0.3, (WIDE, 3, 3, 3)),
        **norm("stem.norm"),
        "body.kernel": rng.normal(0, 0.2, (WIDE, WIDE, 3, 3)),
        **norm("body.norm"),
        "fc.kernel": rng.normal(0, depth**-0.5, (CLASSES, depth)),
        "fc.bias": rng.normal(0, 0.2, CLASSES),
        "sizes": np.array([1, depth]),
    }
    return {k: v.astype(np.int64 if k == "sizes" else np.float32) for k, v in found.items()}


def network(rng: np.random.Generator) -> Any:
    """Convolution, norm, ReLU, pool; a residual block; a flatten whose order matters, and a dense layer."""
    same = {"pads": [1, 1, 1, 1], "kernel_shape": [3, 3]}
    norms = [["weight", "bias", "mean", "var"]] * 2
    stem, body = ([f"{name}.norm.{each}" for each in rest] for name, rest in zip(("stem", "body"), norms, strict=True))
    nodes = [
        ("Conv", "/stem/conv/Conv", ["image", "stem.kernel"], "s0", same),
        ("BatchNormalization", "/stem/norm/BatchNormalization", ["s0", *stem], "s1", {}),
        ("Relu", "/stem/act/Relu", ["s1"], "s2", {}),
        ("MaxPool", "/pool/MaxPool", ["s2"], "p", {"kernel_shape": [2, 2], "strides": [2, 2]}),
        ("Conv", "/body/conv/Conv", ["p", "body.kernel"], "b0", same),
        ("BatchNormalization", "/body/norm/BatchNormalization", ["b0", *body], "b1", {}),
        ("Add", "/body/Add", ["p", "b1"], "b2", {}),
        ("Relu", "/body/act/Relu", ["b2"], "b3", {}),
        ("Reshape", "/Reshape", ["b3", "sizes"], "f", {}),
        ("Gemm", "/fc/Gemm", ["f", "fc.kernel", "fc.bias"], "logits", {"transB": 1}),
    ]
    graph = helper.make_graph(
        [helper.make_node(op, inputs, [out], name=name, **more) for op, name, inputs, out, more in nodes],
        "net",
        [helper.make_tensor_value_info("image", onnx.TensorProto.FLOAT, [1, 3, SIZE, SIZE])],
        [helper.make_tensor_value_info("logits", onnx.TensorProto.FLOAT, [1, CLASSES])],
        [numpy_helper.from_array(value, name) for name, value in weights(rng).items()],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    made.ir_version = 9
    return made


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(SEED)
    onnx.save(network(rng), folder / "net.onnx")
    x = rng.uniform(0, 1, (CALIBRATED, 3, SIZE, SIZE)).astype(np.float32)
    np.savez_compressed(folder / "data.npz", image=x[:KEPT])
    with tempfile.TemporaryDirectory() as scratch:
        np.save(f"{scratch}/x.npy", x.transpose(0, 2, 3, 1))
        prepared = ["-cind", "image", f"{scratch}/x.npy", "[[[[0,0,0]]]]", "[[[[1,1,1]]]]"]
        command = ["onnx2tf", "-i", f"{folder}/net.onnx", "-o", scratch, "-oiqt", *prepared]
        subprocess.run(command, check=True)
        for name in MADE:
            shutil.copy(f"{scratch}/{name}", folder / name)
    quantized(folder, x)


class Samples(CalibrationDataReader):  # type: ignore[misc]
    """What onnxruntime calibrates on, one at a time."""

    def __init__(self, x: Any) -> None:
        self.left = ({"image": x[i : i + 1]} for i in range(len(x)))

    def get_next(self) -> Any:
        """The next one; None at the end."""
        return next(self.left, None)


def quantized(folder: Path, x: Any) -> None:
    """The network with its own quantizers, as onnxruntime writes it, and the floats between them that onnx2tf makes."""
    path, int8 = folder / QDQ, {"activation_type": QuantType.QInt8, "weight_type": QuantType.QInt8}
    quantize_static(folder / "net.onnx", path, Samples(x), QuantFormat.QDQ, per_channel=True, **int8)
    with tempfile.TemporaryDirectory() as scratch:
        subprocess.run(["onnx2tf", "-i", str(path), "-o", scratch], check=True)
        shutil.copy(f"{scratch}/net_qdq_float32.tflite", folder)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
