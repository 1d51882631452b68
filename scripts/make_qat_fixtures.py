"""Make ``tests/torch_files/qat*``: a small network trained on with PyTorch's fake-quant, and its int8 file.

It needs what ``make_torch_fixtures.py`` needs. ``python scripts/make_qat_fixtures.py tests/torch_files``
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import litert_torch
import numpy as np
import torch
from litert_torch.quantize import pt2e_quantizer, pt2e_quantizer_utils
from litert_torch.quantize.quant_config import QuantConfig
from torch import nn
from torchao.quantization import pt2e
from torchao.quantization.pt2e.export_utils import WrapperModule
from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_qat_pt2e
from torchao.quantization.pt2e.utils import _get_aten_graph_module_for_pattern

SEED, STEPS, KEPT = 1, 12, 12
ANY = ({0: torch.export.Dim("batch", min=1, max=64)},)


class Net(nn.Module):
    """Two convolutions with batch norm, a flatten, a dense layer."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(3, 6, 3, 1, 1), nn.BatchNorm2d(6), nn.ReLU())
        self.pool = nn.MaxPool2d(2)
        self.second = nn.Sequential(nn.Conv2d(6, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU6())
        self.fc = nn.Linear(8 * 9, 4)

    def forward(self, x: Any) -> Any:
        return self.fc(torch.flatten(self.second(self.pool(self.first(x))), 1))


def whole(pattern: Any, *rest: Any, **more: Any) -> Any:
    """litert-torch 0.10.0 hands functions where modules are wanted."""
    module = pattern if isinstance(pattern, nn.Module) else WrapperModule(pattern)
    return _get_aten_graph_module_for_pattern(module, *rest, **more)


def main(folder: Path) -> None:
    torch.manual_seed(SEED)
    torch.set_num_threads(1)
    pt2e_quantizer_utils._get_aten_graph_module_for_pattern = whole
    x = torch.rand(64, 3, 12, 12)
    y = (x.mean((1, 2, 3)) * 40).long() % 4
    config = pt2e_quantizer.get_symmetric_quantization_config(is_per_channel=True, is_qat=True)
    rules = pt2e_quantizer.PT2EQuantizer().set_global(config)
    few = (x[:2].clone(),)
    graph = prepare_qat_pt2e(torch.export.export(Net().train(), few, dynamic_shapes=ANY).module(), rules)
    optimizer = torch.optim.Adam(graph.parameters(), 3e-3)
    for _ in range(STEPS):
        optimizer.zero_grad()
        nn.functional.cross_entropy(graph(x), y).backward()
        optimizer.step()
    pt2e.move_exported_model_to_eval(graph)
    graph.apply(pt2e.disable_observer)
    torch.export.save(torch.export.export(graph, few, dynamic_shapes=ANY), folder / "qat.pt2")
    one = (x[:1].clone(),)
    made = litert_torch.convert(convert_pt2e(graph, fold_quantize=False), one, quant_config=QuantConfig(rules))
    made.export(str(folder / "qat.tflite"))
    np.savez_compressed(folder / "qat.npz", x=x.numpy()[:KEPT])


if __name__ == "__main__":
    main(Path(sys.argv[1]))
