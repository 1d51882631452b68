"""Make the files of ``tests/pair_files``: a CNN and a MobileNet-like network, and what three converters make of them.

It needs what ``make_torch_fixtures.py`` needs, and the command of onnx2tf 2.6.9 (Python 3.12) for the CNN in int8:
``python scripts/make_pair_fixtures.py tests/pair_files ENVIRONMENT/bin/onnx2tf``
"""

from __future__ import annotations

import io
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import litert_torch
import numpy as np
import torch
from litert_quantizer import calibrator, quantizer, recipe
from litert_torch.quantize import pt2e_quantizer, pt2e_quantizer_utils
from litert_torch.quantize.quant_config import QuantConfig
from make_torch_fixtures import Block
from torch import nn
from torchao.quantization import pt2e
from torchao.quantization.pt2e.export_utils import WrapperModule
from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_qat_pt2e
from torchao.quantization.pt2e.utils import _get_aten_graph_module_for_pattern

SEED, SIZE, CLASSES, CALIBRATED, KEPT, STEPS = 3, 28, 10, 64, 16, 12
ANY = ({0: torch.export.Dim("batch", min=1, max=4096)},)


class Cnn(nn.Module):
    """Two convolutions with batch norm, one pool that is used twice, a flatten, two dense layers."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8)
        self.conv2, self.bn2 = nn.Conv2d(8, 16, 3, padding=1), nn.BatchNorm2d(16)
        self.pool, self.fc1, self.fc2 = nn.MaxPool2d(2), nn.Linear(16 * 7 * 7, 32), nn.Linear(32, CLASSES)

    def forward(self, x: Any) -> Any:
        x = self.pool(torch.relu(self.bn1(self.conv1(x))))
        x = self.pool(torch.relu(self.bn2(self.conv2(x))))
        return self.fc2(torch.relu(self.fc1(torch.flatten(x, 1))))


class Inverted(Block):
    """The same under another name, which the names of the files' tensors hold."""


class Mobile(nn.Module):
    """Five inverted residuals, two of which make the picture smaller, a mean, a dense layer."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU6())
        sizes = ((8, 8, 1, 2), (8, 16, 2, 4), (16, 16, 1, 4), (16, 24, 2, 4), (24, 24, 1, 4))
        self.blocks = nn.Sequential(*(Inverted(*each) for each in sizes))
        self.head = nn.Sequential(nn.Conv2d(24, 48, 1, bias=False), nn.BatchNorm2d(48), nn.ReLU6())
        self.pool, self.fc = nn.AdaptiveAvgPool2d(1), nn.Linear(48, CLASSES)

    def forward(self, x: Any) -> Any:
        return self.fc(torch.flatten(self.pool(self.head(self.blocks(self.stem(x)))), 1))


def images(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Stripes: the class is their direction and how many there are."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, CLASSES, count)
    down, right = np.mgrid[0:SIZE, 0:SIZE] / SIZE
    angle, often = ((y % 5) * np.pi / 5)[:, None, None], (3 + 3 * (y // 5))[:, None, None]
    wave = np.sin(2 * np.pi * often * (np.cos(angle) * down + np.sin(angle) * right) + rng.uniform(0, 6, (count, 1, 1)))
    x = 0.5 + 0.4 * wave[:, None] + rng.normal(0, 0.08, (count, 1, SIZE, SIZE))
    return x.clip(0, 1).astype(np.float32), y


def trained(net: nn.Module) -> Any:
    optimizer, (x, y) = torch.optim.Adam(net.parameters(), 3e-3), images(1500, SEED + 1)
    for epoch in range(4):
        for start in range(0, len(x), 50):
            optimizer.zero_grad()
            logits = net(torch.tensor(x[start : start + 50]))
            loss = nn.functional.cross_entropy(logits, torch.tensor(y[start : start + 50]))
            loss.backward()
            optimizer.step()
        print(type(net).__name__, epoch, float(loss), flush=True)
    return net.eval()


def pt2(net: Any, path: Path, x: np.ndarray) -> None:
    """One sample of its own storage; nodes do not say where they come from, and the archive is compressed."""
    program = torch.export.export(net, (torch.tensor(x).clone(),), dynamic_shapes=ANY)
    for node in program.graph.nodes:
        for words in ("stack_trace", "from_node", "torch_fn"):
            node.meta.pop(words, None)
    stored = io.BytesIO()
    torch.export.save(program, stored)
    with zipfile.ZipFile(stored) as source, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        for name in source.namelist():
            packed.writestr(f"{path.stem}/{name.partition('/')[2]}", source.read(name))


def onnx_file(net: Any, path: Path, x: np.ndarray, training: Any = torch.onnx.TrainingMode.EVAL) -> None:
    axes = {"image": {0: "n"}, "logits": {0: "n"}}
    torch.onnx.export(
        net, (torch.tensor(x[:1]),), str(path), training=training, input_names=["image"], output_names=["logits"],
        dynamic_axes=axes, opset_version=17, dynamo=False,
    )  # fmt: skip


def by_quantizer(net: Any, target: Path, x: np.ndarray) -> None:
    """Static int8 by litert-quantizer, with the ends of all samples kept, in place of its moving average."""
    litert_torch.convert(net, (torch.tensor(x[:1]),)).export(str(target))
    calibrator.qsv_utils.moving_average_update = calibrator.qsv_utils.min_max_update
    made = quantizer.Quantizer(str(target))
    made.load_quantization_recipe(recipe.static_wi8_ai8())
    found = made.calibrate({"serving_default": [{"args_0": each[None]} for each in x]})
    made.quantize(found).export_model(str(target), overwrite=True)


def whole(pattern: Any, *rest: Any, **more: Any) -> Any:
    """litert-torch 0.10.0 hands functions where modules are wanted."""
    module = pattern if isinstance(pattern, nn.Module) else WrapperModule(pattern)
    return _get_aten_graph_module_for_pattern(module, *rest, **more)


def by_qat(net: Any, folder: Path, x: np.ndarray, y: np.ndarray) -> None:
    """Some steps with fake-quant: the program with q and dq, and its int8 file."""
    pt2e_quantizer_utils._get_aten_graph_module_for_pattern = whole
    config = pt2e_quantizer.get_symmetric_quantization_config(is_per_channel=True, is_qat=True)
    rules = pt2e_quantizer.PT2EQuantizer().set_global(config)
    graph = prepare_qat_pt2e(
        torch.export.export(net.train(), (torch.tensor(x[:16]),), dynamic_shapes=ANY).module(), rules
    )
    optimizer = torch.optim.SGD(graph.parameters(), 1e-3)
    for start in range(0, 16 * STEPS, 16):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(
            graph(torch.tensor(x[start : start + 16])), torch.tensor(y[start : start + 16])
        )
        loss.backward()
        optimizer.step()
    pt2e.move_exported_model_to_eval(graph)
    graph = convert_pt2e(graph, fold_quantize=False)
    pt2(graph, folder / "mobile_qat.pt2", x[:2])
    made = litert_torch.convert(graph, (torch.tensor(x[:1]),), quant_config=QuantConfig(pt2e_quantizer=rules))
    made.export(str(folder / "mobile_qat.tflite"))


def by_onnx2tf(command: str, source: Path, suffix: str, *options: str) -> None:
    """One of the files that it makes; from a copy, since it writes into its source."""
    with tempfile.TemporaryDirectory() as made:
        shutil.copy(source, made)
        subprocess.run([command, "-i", f"{made}/{source.name}", "-o", made, *options], check=True)
        shutil.copy(f"{made}/{source.stem}_{suffix}.tflite", source.with_name(f"{source.stem}_onnx2tf.tflite"))


def main(folder: Path, onnx2tf: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(SEED)
    torch.set_num_threads(1)
    x, y = images(300, SEED + 2)
    np.savez_compressed(folder / "data.npz", x=x[-KEPT:], y=y[-KEPT:])
    cnn, mobile = trained(Cnn()), trained(Mobile())
    for name, net in (("cnn", cnn), ("mobile", mobile)):
        print("right:", float((net(torch.tensor(x)).argmax(1).numpy() == y).mean()), flush=True)
        pt2(net, folder / f"{name}.pt2", x[:2])
        onnx_file(net, folder / f"{name}.onnx", x)
    litert_torch.convert(cnn, (torch.tensor(x[:1]),)).export(str(folder / "cnn_float.tflite"))
    with tempfile.TemporaryDirectory() as samples:
        np.save(f"{samples}/x.npy", x[:CALIBRATED].transpose(0, 2, 3, 1))
        given = ("-cind", "image", f"{samples}/x.npy", "[[[[0.0]]]]", "[[[[1.0]]]]")
        by_onnx2tf(onnx2tf, folder / "cnn.onnx", "full_integer_quant", "-oiqt", *given)
    by_onnx2tf(onnx2tf, folder / "mobile.onnx", "float32")
    by_quantizer(mobile, folder / "mobile_static.tflite", x[:CALIBRATED])
    onnx_file(mobile, folder / "mobile_norms.onnx", x, torch.onnx.TrainingMode.PRESERVE)
    by_qat(mobile, folder, x, y)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
