"""Every operator of ATen that has words gives in real arithmetic what torch gives."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from quantdiff.ladder.matching import lowered
from quantdiff.ladder.real_graph import Setting
from quantdiff.ladder.rungs import real_inputs
from quantdiff.ladder.switches import real_graph
from quantdiff.load.data import make_batch
from quantdiff.references.formats import Options, open_references

pytestmark = pytest.mark.skipif(find_spec("torch") is None, reason="needs the extra [torch], which is not in `dev`")
NEAR = 1e-5  # of the largest value
IMAGE, ROWS = (6, 8, 10), (4, 12)
CASES = {
    "conv": ("nn.Conv2d(6, 5, 3, stride=2, padding=1)", IMAGE),
    "conv same": ("nn.Conv2d(6, 5, 3, padding='same')", IMAGE),
    "conv by channel": ("nn.Conv2d(6, 12, 3, groups=6, bias=False)", IMAGE),
    "conv of a line": ("nn.Conv1d(6, 5, 3, padding=1)", (6, 20)),
    "transposed conv": ("nn.ConvTranspose2d(6, 4, 2, stride=2)", IMAGE),
    "conv and norm": ("nn.Sequential(nn.Conv2d(6, 5, 3), nn.BatchNorm2d(5), nn.ReLU6())", IMAGE),
    "norm": ("nn.BatchNorm2d(6)", IMAGE),
    "layer norm": ("nn.LayerNorm(12)", ROWS),
    "linear": ("nn.Linear(12, 7)", ROWS),
    "pools": ("nn.Sequential(nn.MaxPool2d(3, 2, 1), nn.AvgPool2d(3, 1, 1))", IMAGE),
    "mean of all": ("nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())", IMAGE),
    "upsampled": ("nn.UpsamplingNearest2d(scale_factor=2)", IMAGE),
    "upsampled between": ("nn.Upsample(scale_factor=2, mode='bilinear', align_corners=True)", IMAGE),
    "flatten channels last": ("nn.Sequential(nn.Conv2d(6, 5, 3), nn.Flatten(), nn.Linear(240, 4))", IMAGE),
    "padded": ("nn.ZeroPad2d((1, 2, 0, 3))", IMAGE),
    "curves": ("nn.Sequential(nn.Hardswish(), nn.SiLU(), nn.GELU(), nn.Tanh(), nn.Sigmoid(), nn.ELU())", IMAGE),
    "clamps": ("nn.Sequential(nn.Hardtanh(), nn.LeakyReLU(0.2), nn.Hardsigmoid(), nn.GELU(approximate='tanh'))", IMAGE),
    "softmax of channels": ("nn.Softmax(dim=1)", IMAGE),
    "in place": ("nn.Sequential(nn.Conv2d(6, 5, 3), nn.ReLU(inplace=True))", IMAGE),
    "numbers": ("F(lambda x: (2 * x - 1) / 4 + x.pow(2) - x.clamp(max=0.5))", IMAGE),
    "moved": ("F(lambda x: x.permute(0, 2, 3, 1).transpose(1, 2).unsqueeze(1).squeeze(1))", IMAGE),
    "cut and joined": ("F(lambda x: torch.cat([x[:, 1:3], *x.split(3, 1), x[:, :, :, ::1]], 1))", IMAGE),
    "chosen": ("F(lambda x: x[:, 2] + x.select(1, 0))", IMAGE),
    "sums": ("F(lambda x: x.mean((2, 3)) + x.sum(-1).amax(-1))", IMAGE),
    "products": ("F(lambda x: torch.softmax(x @ x.transpose(1, 2) / 3, -1) @ x)", ROWS),
    "roots": ("F(lambda x: torch.rsqrt(x.abs() + 1) + torch.exp(-x))", ROWS),
    "lstm of two layers and directions": ("First(nn.LSTM(12, 3, 2, batch_first=True, bidirectional=True))", ROWS),
    "gru": ("First(nn.GRU(12, 5, batch_first=True, bias=False))", ROWS),
    "rnn, time first": (
        "nn.Sequential(F(lambda x: x.transpose(0, 1)), First(nn.RNN(12, 5, nonlinearity='relu')), "
        "F(lambda x: x.transpose(0, 1)))",
        ROWS,
    ),
    "attention": ("F(lambda x: nn.functional.scaled_dot_product_attention(x, 2 * x, x.cos(), is_causal=True))", IMAGE),
    "norms by group": ("nn.Sequential(nn.GroupNorm(3, 6), nn.InstanceNorm2d(6, affine=True), nn.PReLU(6))", IMAGE),
    "shuffled": ("nn.Sequential(nn.Conv2d(6, 8, 1), nn.PixelShuffle(2), nn.Softplus())", IMAGE),
    "transposed conv, one row more": ("nn.ConvTranspose2d(6, 4, 3, 2, 1, output_padding=1)", IMAGE),
    "one of two": ("F(lambda x: torch.where(x > 0.1, x, -x).masked_fill(x <= -1, 0.5))", IMAGE),
    "apart": ("F(lambda x: torch.cat([p.max(1).values[:, None] * p for p in x.unbind(1)], 1))", (3, 4)),
    "reshaped": ("F(lambda x: x.view(x.shape[0], 2, 2, 12).reshape(-1, 48).relu())", ROWS),
}
MAKES = """
import torch
from torch import nn

class F(nn.Module):
    def __init__(self, function, before=lambda x: x):
        super().__init__()
        self.function, self.before = function, before

    def forward(self, x):
        return self.function(self.before(x))

class First(nn.Module):
    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        return self.inner(x)[0]

def make():
    torch.manual_seed(0)
    module = {}
    for each in module.modules():
        if isinstance(each, nn.BatchNorm2d):
            each.running_mean.normal_()
            each.running_var.uniform_(0.5, 2)
    return module.eval()
"""


@pytest.mark.parametrize("name", CASES)
def test_the_graph_gives_what_torch_gives(name: str, tmp_path: Path) -> None:
    code, shape = CASES[name]
    (tmp_path / "net.py").write_text(MAKES.format(code))
    x = np.random.default_rng(0).standard_normal((5, *shape)).astype(np.float32)
    batch = make_batch({"x": x}, "made")
    (reference,) = open_references(f"{tmp_path / 'net.py'}:make", Options(batch=batch))
    want = expected(MAKES.format(code), x)
    (output,) = reference.trace(batch).outputs
    assert np.abs(output.array - want).max() <= NEAR * np.abs(want).max()
    model = reference.lower()
    assert model is not None
    real = lowered(real_graph(model.main)).real
    values = real.run(real_inputs(model, batch), Setting())
    (index,) = model.main.outputs
    assert np.abs(values[index].reshape(want.shape) - want).max() <= NEAR * np.abs(want).max()


def expected(code: str, x: Any) -> Any:
    import torch

    namespace: dict[str, Any] = {}
    exec(compile(code, "net.py", "exec"), namespace)
    with torch.no_grad():
        return namespace["make"]()(torch.tensor(x)).numpy()
