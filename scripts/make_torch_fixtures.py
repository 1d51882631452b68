"""Make the files of ``tests/torch_files``: one small network, as PyTorch, ONNX and TFLite have it.

It needs what no extra brings: Python 3.11 with torch 2.13.0, torchao 0.18.0, litert-torch 0.10.0, litert-quantizer
0.11.0, onnx 1.23.2 and onnxruntime 1.31.1. ``python scripts/make_torch_fixtures.py tests/torch_files``
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import litert_torch
import numpy as np
import torch
from litert_quantizer import quantizer, recipe
from litert_torch.quantize import pt2e_quantizer, pt2e_quantizer_utils
from litert_torch.quantize.quant_config import QuantConfig
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from torch import nn
from torchao.quantization.pt2e.export_utils import WrapperModule
from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e
from torchao.quantization.pt2e.utils import _get_aten_graph_module_for_pattern

SEED, SIZE, CLASSES, CALIBRATED, KEPT = 5, 16, 6, 48, 24


class Block(nn.Module):
    """Expand, each channel by itself, project; added to its input where shapes allow."""

    def __init__(self, into: int, out: int, stride: int, expand: int = 2) -> None:
        super().__init__()
        wide = into * expand
        self.exp = nn.Sequential(nn.Conv2d(into, wide, 1, bias=False), nn.BatchNorm2d(wide), nn.ReLU6())
        self.dw = nn.Sequential(
            nn.Conv2d(wide, wide, 3, stride, 1, groups=wide, bias=False), nn.BatchNorm2d(wide), nn.ReLU6()
        )
        self.proj = nn.Sequential(nn.Conv2d(wide, out, 1, bias=False), nn.BatchNorm2d(out))
        self.adds = stride == 1 and into == out

    def forward(self, x: Any) -> Any:
        y = self.proj(self.dw(self.exp(x)))
        return x + y if self.adds else y


class Net(nn.Module):
    """Three channels in, six classes out; a flatten whose order matters, and a mean."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, 1, 1), nn.BatchNorm2d(8), nn.ReLU())
        self.pool = nn.MaxPool2d(2)
        self.first, self.second = Block(8, 8, 1), Block(8, 12, 2)
        self.fc1, self.fc2 = nn.Linear(12 * 4 * 4, 24), nn.Linear(24, CLASSES)

    def forward(self, x: Any) -> Any:
        y = self.second(self.first(self.pool(self.stem(x))))
        return self.fc2(torch.relu(self.fc1(torch.flatten(y, 1))))


def images(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Coloured stripes: the class is their direction and colour."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, CLASSES, count)
    down, right = np.mgrid[0:SIZE, 0:SIZE] / SIZE
    angle = (y % 3)[:, None, None] * np.pi / 3
    wave = np.sin(2 * np.pi * 3 * (np.cos(angle) * down + np.sin(angle) * right) + rng.uniform(0, 6, (count, 1, 1)))
    colour = np.where((y < 3)[:, None], [[1.0, 0.2, 0.4]], [[0.2, 1.0, 0.5]])
    x = 0.5 + 0.35 * wave[:, None] * colour[:, :, None, None] + rng.normal(0, 0.08, (count, 3, SIZE, SIZE))
    return x.clip(0, 1).astype(np.float32), y


def trained() -> Net:
    torch.manual_seed(SEED)
    net, (x, y) = Net(), images(1500, 1)
    optimizer = torch.optim.Adam(net.parameters(), 3e-3)
    for epoch in range(6):
        for start in range(0, len(x), 50):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(
                net(torch.tensor(x[start : start + 50])), torch.tensor(y[start : start + 50])
            )
            loss.backward()
            optimizer.step()
        print(epoch, float(loss))
    return net.eval()


def pt2(net: Any, path: Path, x: np.ndarray, *, any_batch: bool) -> None:
    """Exported with samples of their own storage, so that the file holds no others."""
    shapes = ({0: torch.export.Dim("batch", min=1, max=4096)},) if any_batch else None
    torch.export.save(torch.export.export(net, (torch.tensor(x).clone(),), dynamic_shapes=shapes), path)


def by_pt2e(net: Net, folder: Path, x: np.ndarray) -> None:
    """Quantized in PyTorch: the program with q and dq, and the file made of it."""

    def whole(pattern: Any, *rest: Any, **more: Any) -> Any:
        module = pattern if isinstance(pattern, nn.Module) else WrapperModule(pattern)
        return _get_aten_graph_module_for_pattern(module, *rest, **more)

    pt2e_quantizer_utils._get_aten_graph_module_for_pattern = whole  # litert-torch 0.10.0 hands it functions
    rules = pt2e_quantizer.PT2EQuantizer().set_global(
        pt2e_quantizer.get_symmetric_quantization_config(is_per_channel=True)
    )
    one = (torch.tensor(x[:1]).clone(),)
    graph = prepare_pt2e(torch.export.export(net, one).module(), rules)
    for each in x[:CALIBRATED]:
        graph(torch.tensor(each[None]))
    graph = convert_pt2e(graph, fold_quantize=False)
    pt2(graph, folder / "net_int8.pt2", x[:1], any_batch=False)
    made = litert_torch.convert(graph, one, quant_config=QuantConfig(pt2e_quantizer=rules))
    made.export(str(folder / "net_int8_pt2e.tflite"))


def by_quantizer(folder: Path, x: np.ndarray) -> None:
    """Quantized from the float file, with the ranges that a moving average finds (the default)."""
    made = quantizer.Quantizer(str(folder / "net_float.tflite"))
    made.load_quantization_recipe(recipe.static_wi8_ai8())
    found = made.calibrate({"serving_default": [{"args_0": each[None]} for each in x[:CALIBRATED]]})
    made.quantize(found).export_model(str(folder / "net_int8_average.tflite"), overwrite=True)


class Reader(CalibrationDataReader):
    """Samples for onnxruntime's quantizer."""

    def __init__(self, x: np.ndarray) -> None:
        self.rows = iter([{"image": each[None]} for each in x])

    def get_next(self) -> Any:
        return next(self.rows, None)


def onnx_files(net: Net, folder: Path, x: np.ndarray) -> None:
    """Batch norm folded, as the exporter does it, and left as it is; and with QuantizeLinear."""
    kinds = {"net.onnx": torch.onnx.TrainingMode.EVAL, "net_norms.onnx": torch.onnx.TrainingMode.PRESERVE}
    for name, training in kinds.items():
        torch.onnx.export(
            net,
            (torch.tensor(x[:1]),),
            str(folder / name),
            training=training,
            input_names=["image"],
            output_names=["logits"],
            dynamic_axes={"image": {0: "n"}, "logits": {0: "n"}},
            opset_version=17,
            dynamo=False,
        )
    quantize_static(
        str(folder / "net.onnx"),
        str(folder / "net_qdq.onnx"),
        Reader(x[:CALIBRATED]),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        activation_type=QuantType.QInt8,
        weight_type=QuantType.QInt8,
    )


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    net, (x, y) = trained(), images(200, 2)
    print("right:", float((net(torch.tensor(x)).argmax(1).numpy() == y).mean()))
    np.savez_compressed(folder / "data.npz", x=x[-KEPT:], y=y[-KEPT:])
    onnx_files(net, folder, x)
    pt2(net, folder / "net.pt2", x[:2], any_batch=True)
    litert_torch.convert(net, (torch.tensor(x[:1]),)).export(str(folder / "net_float.tflite"))
    by_quantizer(folder, x)
    by_pt2e(net, folder, x)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
