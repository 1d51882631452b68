"""What the program inside an ``XlaCallModule`` may do: pure functions of tensors, nothing that calls out of it.

Keras 3 writes a SavedModel so where it trains on JAX or PyTorch: the model is one operation that holds StableHLO.
TensorFlow's own reader, the one that would run it, is asked to write the program down; nothing runs.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import Any

from quantdiff.errors import LONGEST, BadModel, reason_of
from quantdiff.references.keras.admission.names import names_of
from quantdiff.references.keras.frameworks import frameworks

READ = "tf-xla-call-module-deserialization"
SAYS: Mapping[str, AbstractSet[str]] = {
    "stablehlo": names_of("""
    abs add and atan2 batch_norm_inference bitcast_convert broadcast broadcast_in_dim case cbrt ceil cholesky clamp
    compare complex composite concatenate constant convert convolution cosine count_leading_zeros divide dot
    dot_general dynamic_broadcast_in_dim dynamic_conv dynamic_gather dynamic_iota dynamic_pad dynamic_reshape
    dynamic_slice dynamic_update_slice einsum exponential exponential_minus_one fft floor gather get_dimension_size
    get_tuple_element if imag iota is_finite log log_plus_one logistic map maximum minimum multiply negate not
    optimization_barrier or pad popcnt power real real_dynamic_slice reduce reduce_precision reduce_window remainder
    reshape return reverse rng_bit_generator round_nearest_afz round_nearest_even rsqrt scatter select
    select_and_scatter set_dimension_size shift_left shift_right_arithmetic shift_right_logical sign sine slice sort
    sqrt subtract tan tanh torch_index_select transpose triangular_solve tuple unary_einsum uniform_dequantize
    uniform_quantize while xor
"""),
    "func": names_of("call func return"),
    "tf": names_of("XlaCallModule"),
}
"""Operations by dialect; of StableHLO none that calls out, feeds, sends or receives, or works between processes."""
ASSERTS = re.compile(r"stablehlo\.custom_call @(?:shape_assertion|Sharding)\(")
"""The calls that XLA itself takes away: JAX checks the number of samples so."""
TEXT = re.compile(r'"([^"]*)"(\(?)')
"""A string, or an operation where a bracket follows; MLIR writes a quotation mark inside of one as ``\\22``."""
SAID = re.compile(r"(?<![\w.$@%#!-])([a-z_]\w*)\.([\w.$]+)(?![\w.$]| =)")
"""An operation by dialect and name, wherever it stands: symbols, values, types and names of attributes aside."""


def check_program(path: Path, where: str, node: Any) -> None:
    """Refuse a program that does more than compute.

    Raises:
        BadModel: names what it would do.
    """
    try:
        text = frameworks().tf.mlir.experimental.run_pass_pipeline(_asking(node), READ)
    except Exception as error:  # TensorFlow raises what it likes
        said = f"its program is none that TensorFlow reads: {reason_of(error)[:LONGEST]}; export it again"
        raise BadModel(f"{path}: {where[:LONGEST]}: {said}") from error
    other = "calls of functions" if node.attr["function_list"].list.func else next(_others(text), "")
    if other:
        said = f"the operation XlaCallModule holds {other[:LONGEST]}, which is on no list"
        cure = "of a model of Keras 3 give the .keras file in its place"
        raise BadModel(f"{path}: {where[:LONGEST]}: {said} of what a model may compute; {cure}")


def _asking(node: Any) -> str:
    """A module with this one operation, as TensorFlow's reader takes it; of the arguments only the number counts."""
    used, attributes = frameworks().tf, node.attr
    types = [f"tensor<*x{_element(used.as_dtype(each).name)}>" for each in attributes["Tin"].list.type]
    names = [f"%a{number}" for number in range(len(types))]
    arguments = ", ".join(f"{name}: {kind}" for name, kind in zip(names, types, strict=True))
    held = ", ".join(
        (
            f"module = {_quoted(attributes['module'].s)}",
            f"version = {attributes['version'].i} : i64",
            *(
                f"{name} = [{', '.join(map(_quoted, attributes[name].list.s))}]"
                for name in ("platforms", "dim_args_spec")
            ),
            f"has_token_input_output = {str(attributes['has_token_input_output'].b).lower()}",
            "Sout = [], function_list = [], disabled_checks = []",
        )
    )
    called = f'"tf.XlaCallModule"({", ".join(names)}) {{{held}}} : ({", ".join(types)}) -> ()'
    return f"func.func @main({arguments}) {{\n{called}\nreturn\n}}"


def _quoted(raw: bytes) -> str:
    return '"' + "".join(f"\\{byte:02X}" for byte in raw) + '"'


def _element(dtype: str) -> str:
    short = {"float16": "f16", "float32": "f32", "float64": "f64", "bfloat16": "bf16", "bool": "i1"}
    return short.get(dtype) or dtype.replace("uint", "ui").replace("int", "i")


def _others(text: str) -> Iterator[str]:
    """What a program says that is on no list."""
    said = TEXT.sub(lambda found: f"{found[1]}(" if found[2] else "", ASSERTS.sub("(", text))
    for dialect, name in SAID.findall(said):
        if name not in SAYS.get(dialect, ()) and dialect != "jax":  # attributes of JAX; nobody has such operations
            yield f"{dialect}.{name}"
