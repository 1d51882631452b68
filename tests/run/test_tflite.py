"""Running .tflite models: batches give what single samples give, on all runtimes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import small_models as models
from written_models import Op, T, write_tflite

from quantdiff.errors import BadData, RuntimeCrashed
from quantdiff.load.data import Batch, make_batch
from quantdiff.load.tflite import load_tflite, read_model
from quantdiff.quant import Array, QuantParams, Trace, quantize
from quantdiff.references.tflite.reference import trace_tflite
from quantdiff.run.inputs import may_batch
from quantdiff.run.random_input import made_up, random_inputs
from quantdiff.run.runner import RuntimeProcess
from quantdiff.run.runtimes import RUNTIMES, installed

pytestmark = pytest.mark.golden


@pytest.fixture(params=RUNTIMES, scope="module")
def process(request: pytest.FixtureRequest) -> Iterator[RuntimeProcess]:
    with RuntimeProcess(request.param) as started:
        yield started


def trace(process: RuntimeProcess, folder: Path, content: bytes, batch: Batch) -> Trace:
    return trace_tflite(load_tflite(models.save(folder, content)), batch, process)


def batch_of(**arrays: Array) -> Batch:
    return make_batch(arrays, "test")


def uniform(*shape: int) -> Array:
    return np.random.default_rng(0).uniform(-2, 2, shape).astype(np.float32)


def single(process: RuntimeProcess, path: Path, inputs: list[Array]) -> Array:
    process.load(path, batch=False)
    outputs, batched = process.run(inputs, 1, lambda done: None)
    assert not batched
    return outputs[0]


def test_all_runtimes_are_installed_here() -> None:
    assert installed() == tuple(RUNTIMES)


def test_a_batch_gives_the_integers_of_single_samples(process: RuntimeProcess, tmp_path: Path) -> None:
    path = models.save(tmp_path, models.dense())
    x = np.random.default_rng(1).integers(-128, 128, (2500, models.DEPTH)).astype(np.int8)
    process.load(path)
    together, batched = process.run([x], 1, lambda done: None)
    assert batched == (process.runtime != "tflm")
    np.testing.assert_array_equal(together[0], single(process, path, [x]))


@pytest.mark.parametrize("content", [models.fixed_reshape(), models.mixes_samples()], ids=["refuses", "mixes"])
def test_models_that_do_not_allow_it_run_one_by_one(process: RuntimeProcess, tmp_path: Path, content: bytes) -> None:
    model = load_tflite(models.save(tmp_path, content))
    tensor = model.main.tensors[0]
    x = uniform(40, *tensor.shape[1:])
    result = trace_tflite(model, batch_of(x=x), process)
    assert result.notes == (f"{process.runtime} ran the samples one by one",)
    assert tensor.quant is not None
    quantized = quantize(x, tensor.quant, "int8")
    assert model.path is not None
    np.testing.assert_array_equal(result.outputs[0].array, single(process, model.path, [quantized]))


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16"])
def test_the_input_is_quantized_as_the_file_says(process: RuntimeProcess, tmp_path: Path, dtype: str) -> None:
    if process.runtime == "tflm" and dtype == "uint8":
        pytest.skip("TFLM has no uint8 FULLY_CONNECTED")
    model = load_tflite(models.save(tmp_path, models.dense(dtype)))
    quant = model.main.tensors[0].quant
    assert quant is not None
    assert model.path is not None
    x = 3 * uniform(64, models.DEPTH)  # beyond the range of int8, so that clipping shows
    result = trace_tflite(model, batch_of(x=x), process).outputs[0]
    np.testing.assert_array_equal(result.array, single(process, model.path, [quantize(x, quant, dtype)]))
    assert result.array.dtype == dtype
    assert result.grid is not None
    assert result.grid.params == result.quant == model.main.tensors[3].quant


def test_several_inputs_and_outputs_go_by_name(process: RuntimeProcess, tmp_path: Path) -> None:
    left, right = np.full((5, 4), 4.0, np.float32), np.full((5, 4), 1.0, np.float32)
    result = trace(process, tmp_path, models.split(), batch_of(r=right, l=left))
    assert {value.name: float(value.real[0, 0]) for value in result.outputs} == {"total": 5.0, "delta": 3.0}


def test_an_input_without_an_axis_for_samples(process: RuntimeProcess, tmp_path: Path) -> None:
    x = uniform(6, 4)
    result = trace(process, tmp_path, models.no_sample_axis(), batch_of(x=x))
    np.testing.assert_array_equal(result.outputs[0].array, np.abs(x))


def test_open_sizes_take_the_sizes_of_the_data(tmp_path: Path) -> None:
    x = uniform(6, 5)
    with RuntimeProcess("reference") as process:
        result = trace(process, tmp_path, models.open_size(), batch_of(x=x))
    np.testing.assert_array_equal(result.outputs[0].array, np.abs(x))


def test_float_output_lies_on_the_grid_of_the_last_quantized_tensor(tmp_path: Path) -> None:
    graph = load_tflite(models.save(tmp_path, models.dense(out="float32"))).main
    grid = graph.grid_before(graph.outputs[0])
    assert grid is not None
    assert (grid.tensor, grid.dtype, grid.params) == ("y", "int8", QuantParams((float(np.float32(0.05)),), (-1,)))


def test_a_float_output_computed_from_integers_has_their_step_and_no_ends(tmp_path: Path) -> None:
    """A float layer behind a ReLU on 0 … 2.55: what lies below 0 is not the end of anything."""
    w, data = np.array([[1, 0], [0, -1]], np.float32), np.array([[-3, -2], [1, 2]], np.float32)
    tensors = [
        T("x", (1, 2), "float32"),
        T("q", (1, 2), "int8", 0.01, -128),
        T("f", (1, 2), "float32"),
        T("w", (2, 2), "float32", data=w),
        T("y", (1, 2), "float32"),
    ]
    operators = [
        Op("QUANTIZE", ["x"], ["q"]),
        Op("DEQUANTIZE", ["q"], ["f"]),
        Op("FULLY_CONNECTED", ["f", "w"], ["y"], {}),
    ]
    graph = load_tflite(models.save(tmp_path, write_tflite(tensors, operators, ["x"], ["y"]))).main
    grid = graph.grid_before(graph.outputs[0])
    assert grid is not None
    assert (grid.params.scale, grid.params.zero_point, grid.dtype) == ((float(np.float32(0.01)),), (0,), "int32")
    np.testing.assert_array_equal(quantize(data, grid.params, grid.dtype), [[-300, -200], [100, 200]])
    assert graph.grid_before(2) == graph.tensors[1].grid, "DEQUANTIZE restates integers"


def test_a_float_model_has_no_grid(tmp_path: Path) -> None:
    graph = load_tflite(models.save(tmp_path, models.float_dense())).main
    assert graph.grid_before(graph.outputs[0]) is None


def test_a_crash_in_batches_is_tried_sample_by_sample_once(tmp_path: Path) -> None:
    model = load_tflite(models.save(tmp_path, models.ABORTS))
    assert may_batch(model.main)
    x = uniform(4, 4)
    with RuntimeProcess("reference") as process, pytest.raises(RuntimeCrashed):
        trace_tflite(model, batch_of(a=x, b=x), process)


def test_control_flow_is_never_batched(tmp_path: Path) -> None:
    assert not may_batch(load_tflite(models.save(tmp_path, models.hangs())).main)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": uniform(3, 7)}, r"samples of shape \(7\) do not fit input 'x' of model.tflite, which takes \(8\)"),
        ({"x": uniform(3, 2, 4)}, r"samples of shape \(2, 4\) do not fit"),
    ],
)
def test_shapes_that_do_not_fit(tmp_path: Path, arrays: dict[str, Array], message: str) -> None:
    with RuntimeProcess("reference") as process, pytest.raises(BadData, match=message):
        trace(process, tmp_path, models.dense(), batch_of(**arrays))


def test_too_few_inputs(tmp_path: Path) -> None:
    with RuntimeProcess("reference") as process, pytest.raises(BadData, match=r"has 1 array.*2 inputs.*: l, r"):
        trace(process, tmp_path, models.split(), batch_of(x=uniform(3, 4)))


@pytest.mark.parametrize(
    ("dtype", "shape", "values"), [("complex64", (1, 4), 2), ("float32", (1, 4), 12), ("float32", (1, 0), 0)]
)
def test_inputs_that_have_a_scale_and_no_integers_or_no_elements(
    tmp_path: Path, dtype: str, shape: tuple[int, int], values: int
) -> None:
    """As damaged files and some converters have them: drawn as they are, and run."""
    tensors = [T("x", shape, dtype, 0.5), T("y", shape, dtype, 0.5)]
    path = models.save(
        tmp_path, write_tflite(tensors, [Op("RESHAPE", ["x"], ["y"], {"newShape": list(shape)})], ["x"], ["y"])
    )
    batch = made_up("random:3", load_tflite(path))
    with RuntimeProcess("reference") as process:
        trace = trace_tflite(load_tflite(path), batch, process)
    assert (trace.outputs[0].array == batch.arrays["x"]).all()
    assert np.unique(batch.arrays["x"]).size == values


@pytest.mark.parametrize(
    ("dtype", "scale", "outputs"),
    [
        ("float32", 0.5, ["y"]),
        ("float16", 0.5, ["y"]),
        ("int8", float("inf"), ["y"]),
        ("int8", -0.5, ["y"]),
        ("int8", 0.5, list[str]()),
    ],
)
def test_floats_are_drawn_where_they_are_quantized_to_nothing_sane(
    dtype: str, scale: float, outputs: list[str]
) -> None:
    tensors = [T("x", (1, 4), "float32"), T("y", (1, 4), dtype, scale)]
    model = read_model(memoryview(write_tflite(tensors, [Op("QUANTIZE", ["x"], outputs)], ["x"], ["y"])))
    assert np.isfinite(random_inputs(model.main, 3)[0]).all()
