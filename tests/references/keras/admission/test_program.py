"""SavedModels that Keras 3 writes on JAX and PyTorch: one operation with a program of XLA's inside."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from quantdiff.errors import BadModel
from quantdiff.lazy import require
from quantdiff.load.data import Batch
from quantdiff.references.keras.admission import admit
from quantdiff.references.keras.frameworks import frameworks, quiet
from quantdiff.references.keras.reference import open_keras

pytestmark = pytest.mark.keras
X, W = np.arange(32, dtype=np.float32).reshape(4, 8), np.ones((8, 3), np.float32)
WIDE = "tensor<4x3xf32>"
HELD = "attributes {_from_xla_call_module}"
GIVEN = "%x: tensor<4x8xf32>, %w: tensor<8x3xf32>"
PROGRAM = f"""func.func @main({GIVEN}) -> {WIDE} {{
 %y = "tf.XlaCallModule"(%x, %w) {{Sout = [#tf_type.shape<4x3>], module = "", version = 10 : i64, platforms = ["CPU"],
  dim_args_spec = [], function_list = [], disabled_checks = [], _entry_function = @program,
  _stablehlo_version = "1.0.0", _stablehlo_module_attrs = {{mhlo.num_partitions = 1 : i32}}}}
  : (tensor<4x8xf32>, tensor<8x3xf32>) -> {WIDE}
 return %y : {WIDE}
}}
func.func private @program({GIVEN}) -> ({WIDE} {{jax.result_info = "result"}}) {HELD} {{
 %p = stablehlo.dot_general %x, %w, contracting_dims = [1] x [0] : (tensor<4x8xf32>, tensor<8x3xf32>) -> {WIDE}
 %s = stablehlo.constant dense<0.0> : tensor<f32>
 BODY
 return %y : {WIDE}
}}
func.func private @stablehlo.custom_call(%x: {WIDE}) -> {WIDE} {HELD} {{
 return %x : {WIDE}
}}"""
HARMLESS = (
    f"%y = stablehlo.tanh %p : {WIDE}",
    f"%y = func.call @stablehlo.custom_call(%p) : ({WIDE}) -> {WIDE}",  # a name, not an operation
    f'%y = stablehlo.tanh %p {{said = "\\22 stablehlo.custom_call @act("}} : {WIDE}',  # a text
    f"""%y = stablehlo.while(%i = %p) : {WIDE}
  cond {{
   %f = stablehlo.constant dense<false> : tensor<i1>
   stablehlo.return %f : tensor<i1>
  }} do {{
   %z = func.call @stablehlo.custom_call(%i) : ({WIDE}) -> {WIDE}
   stablehlo.return %z : {WIDE}
  }}""",
    f'%y = stablehlo.custom_call @Sharding(%p) {{mhlo.sharding = "{{replicated}}"}} : ({WIDE}) -> {WIDE}',
)
CHECKED = (
    """%n = stablehlo.get_dimension_size %x, dim = 0 : (tensor<4x8xf32>) -> tensor<i32>
  %c = stablehlo.constant dense<1> : tensor<i32>
  %b = stablehlo.compare GE, %n, %c, SIGNED : (tensor<i32>, tensor<i32>) -> tensor<i1>
  stablehlo.custom_call @shape_assertion(%b, %n) {api_version = 2 : i32, error_message = "none", """
    f"""has_side_effect = true}} : (tensor<i1>, tensor<i32>) -> ()
  %y = stablehlo.tanh %p : {WIDE}"""
)
CALLED = f"api_version = 2 : i32, has_side_effect = true}} : ({WIDE}) -> {WIDE}"
ACTING = (
    f"%y = stablehlo.custom_call @act(%p) {{{CALLED}",
    f'%y = stablehlo.custom_call @"shape_assertion("(%p) {{{CALLED}',
    f"%y = stablehlo.custom_call @shape_assertion_(%p) {{{CALLED}",
    f'%y = "stablehlo.custom_call"(%p) <{{call_target_name = "act", {CALLED.replace("}", "}>", 1)}',
    f'%y = "stablehlo.custom_call"(%p) <{{call_target_name = "x\\22", {CALLED.replace("}", "}>", 1)}',
    f"""%y = "stablehlo.reduce_window"(%p, %s) <{{window_dimensions = array<i64: 1, 1>}}> ({{
  ^bb0(%a: tensor<f32>, %b: tensor<f32>):
   %z = stablehlo.custom_call @act(%a) : (tensor<f32>) -> tensor<f32>
   stablehlo.return %z : tensor<f32>
  }}) : ({WIDE}, tensor<f32>) -> {WIDE}""",
    f"""%t = stablehlo.create_token : !stablehlo.token
  %r, %u = "stablehlo.infeed"(%t) <{{infeed_config = ""}}> : (!stablehlo.token) -> ({WIDE}, !stablehlo.token)
  %y = stablehlo.tanh %r : {WIDE}""",
    f"""%t = stablehlo.create_token : !stablehlo.token
  %u = "stablehlo.outfeed"(%p, %t) <{{outfeed_config = ""}}> : ({WIDE}, !stablehlo.token) -> !stablehlo.token
  %y = stablehlo.tanh %p : {WIDE}""",
    f"""%y = "stablehlo.all_reduce"(%p) <{{replica_groups = dense<0> : tensor<1x1xi64>}}> ({{
  ^bb0(%a: tensor<f32>, %b: tensor<f32>):
   %z = stablehlo.add %a, %b : tensor<f32>
   stablehlo.return %z : tensor<f32>
  }}) : ({WIDE}) -> {WIDE}""",
)


def written(body: str) -> bytes:
    """The program as bytes, by TensorFlow itself."""
    asked = PROGRAM.replace("BODY", body)
    text = frameworks().tf.mlir.experimental.run_pass_pipeline(asked, "tf-xla-call-module-serialization")
    (held,) = re.findall(r' module = "([^"]*)"', text)
    return re.sub(rb"\\\\|\\([0-9A-F]{2})", lambda m: bytes([int(m[1] or b"5C", 16)]), held.encode())


def export(folder: Path, program: bytes, *, seed: bool = False, **options: Any) -> Path:
    """A SavedModel as Keras writes it: one call of a program; its state is written back, with that of a seed."""
    tf, call = frameworks().tf, require("tensorflow.compiler.tf2xla.python.xla", extra="keras").call_module
    module, spec = tf.Module(), tf.TensorSpec((4, 8), "float32")
    module.w, module.seed = tf.Variable(W), tf.Variable(np.ones(2, np.uint32))

    def serve(x: Any) -> Any:
        read = module.w.read_value()
        (y,) = call(
            (x, read), version=10, module=program, Tout=["float32"], Sout=[[4, 3]], platforms=["CPU"], **options
        )
        module.w.assign(read)
        if seed:
            module.seed.assign(module.seed.read_value())
        return y

    with quiet():
        module.serve = tf.function(serve, input_signature=[spec])
        tf.saved_model.save(module, str(folder), signatures=module.serve)
    return folder


def test_a_check_of_the_number_of_samples_is_none_of_its_acts(tmp_path: Path) -> None:
    assert admit(export(tmp_path / "m", written(CHECKED)), {}, allow_lambda=False) == ""


@pytest.mark.parametrize("body", HARMLESS)
def test_a_program_that_computes_runs(tmp_path: Path, body: str) -> None:
    read = open_keras(export(tmp_path / "m", written(body)))
    found = read.trace(Batch({"x": X}, None, "x")).outputs[0].array
    wanted = X @ W
    assert np.abs(found - (np.tanh(wanted) if "tanh" in body else wanted)).max() < 1e-6
    assert "whose inner values nobody sees" in read.notes[0]


@pytest.mark.parametrize("seed", [False, True])
def test_its_state_does_not_hinder_its_graph(tmp_path: Path, *, seed: bool) -> None:
    read = open_keras(export(tmp_path / "m", written(HARMLESS[0]), seed=seed))
    with read.recorder() as recorder:
        recording = recorder.run([X])
        (end,) = recording.flow.outputs
        assert np.abs(recording.value(end) - np.tanh(X @ W)).max() < 1e-6
    lowered = read.lower()
    assert lowered is not None
    assert "TANH" in {each.op for each in lowered.main.operators}


@pytest.mark.parametrize("body", ACTING)
def test_a_program_that_acts_is_refused(tmp_path: Path, body: str) -> None:
    with pytest.raises(
        BadModel, match=r"XlaCallModule holds .* on no list of what a model may compute|no program"
    ) as told:
        admit(export(tmp_path / "m", written(body)), {}, allow_lambda=False)
    assert "\n" not in str(told.value)


def test_a_program_that_may_call_functions_is_refused(tmp_path: Path) -> None:
    tf = frameworks().tf
    called = tf.function(lambda x: x).get_concrete_function(tf.TensorSpec((4, 3), "float32"))
    path = export(tmp_path / "m", written(HARMLESS[0]), function_list=[called])
    with pytest.raises(BadModel, match=r"XlaCallModule holds calls of functions, which is on no list"):
        admit(path, {}, allow_lambda=False)


@pytest.mark.parametrize(
    "program", [b"", b"ML\xefR\r", b"ML\xefR" + bytes(99), b"module {}", bytes(9), PROGRAM.encode()]
)
def test_what_is_no_program_is_refused(tmp_path: Path, program: bytes) -> None:
    path = export(tmp_path / "m", written(HARMLESS[0]))
    file = path / "saved_model.pb"
    saved = require("tensorflow.core.protobuf.saved_model_pb2", extra="keras").SavedModel.FromString(file.read_bytes())
    for function in saved.meta_graphs[0].graph_def.library.function:
        for node in function.node_def:
            if node.op == "XlaCallModule":
                node.attr["module"].s = program
    file.write_bytes(saved.SerializeToString())
    with pytest.raises(BadModel, match=r"its program is none that TensorFlow reads") as told:
        admit(path, {}, allow_lambda=False)
    assert "\n" not in str(told.value)
    assert len(str(told.value)) < 1000
