"""What the graph of a stranger's SavedModel may do: only operations on the list, wherever something may call them.

The same holds of the StableHLO inside an ``XlaCallModule``, as which Keras 3 writes a SavedModel where it trains on JAX
or PyTorch: pure functions of tensors, nothing that calls out of it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from pathlib import Path, PurePosixPath
from typing import Any

from quantdiff.errors import LONGEST, BadModel, reason_of
from quantdiff.lazy import require
from quantdiff.references.keras.admission.names import names_of
from quantdiff.references.keras.admission.operations import OPERATIONS
from quantdiff.references.keras.frameworks import frameworks

WRITTEN_BY_KERAS = ("_tf_keras_model", "_tf_keras_network", "_tf_keras_sequential")
AT_START = ("init_op", "legacy_init_op", "local_init_op", "saved_model_main_op", "table_initializer")
"""Collections of a graph of TensorFlow 1 that are run when it is opened."""
FROM_FILE = ("InitializeTableFromTextFile", "InitializeTableFromTextFileV2")
CALLS = ("PartitionedCall", "StatefulPartitionedCall")
CONSOLE = ("", "stderr", "log(info)", "log(warning)", "log(error)")
TRAINING = ("_adapt_function", "_update_step_xla", "test_step", "train_step")
"""Where Keras keeps functions that it calls while it trains."""
CURE = "export the model without it"


def keras_objects(path: Path, saved: Any) -> list[str] | None:
    """The JSON of every Keras object of a SavedModel; None where Keras wrote none."""
    file = path / "keras_metadata.pb"
    objects = [node.user_object for graph in saved.meta_graphs for node in graph.object_graph_def.nodes]
    if file.is_file():
        metadata = require("tf_keras.protobuf.saved_metadata_pb2", extra="keras").SavedMetadata()
        metadata.ParseFromString(file.read_bytes())
        return [node.metadata for node in metadata.nodes]
    if not any(each.identifier in WRITTEN_BY_KERAS for each in objects):
        return None
    return [each.metadata for each in objects if each.identifier.startswith("_tf_keras") and each.metadata]


def check_graph(path: Path, saved: Any, *, by_keras: bool) -> None:
    """Refuse a SavedModel that would run an operation on no list, or read a file that is not its own.

    Raises:
        BadModel: names the operation and its function.
    """
    for graph in saved.meta_graphs:
        for asset in graph.asset_file_def:
            name = PurePosixPath(asset.filename.replace("\\", "/"))
            if name.is_absolute() or ".." in name.parts:
                raise BadModel(f"{path}: its asset {asset.filename!r} leads out of the folder; {CURE}")
            _check_link(path, path / "assets" / name)
        if graph.HasField("object_graph_def"):
            _check_objects(path, graph, by_keras)
        else:
            _check_nodes(path, graph)


def _check_link(path: Path, asset: Path) -> None:
    if not asset.resolve().is_relative_to(path.resolve()):
        raise BadModel(f"{path}: its asset {asset.name!r} is a link that leads out of the folder; copy the file there")


def _check_objects(path: Path, graph: Any, by_keras: bool) -> None:
    """A SavedModel of TensorFlow 2: functions that hang on objects."""
    functions = {each.signature.name: each for each in graph.graph_def.library.function}
    objects = graph.object_graph_def
    used = set(objects.concrete_functions) - _idle(objects, by_keras)
    used |= {name for name, each in functions.items() if "api_implements" in each.attr}  # may stand in for another
    reached = _reached(used, functions)
    for name, function in functions.items():
        for node in function.node_def:
            _check_operation(path, node, f"function {name}", functions, running=name in reached)
            if node.op in FROM_FILE and not _from_asset(name, node.input[1], objects, functions):
                raise BadModel(f"{path}: function {name}: {node.op} reads a file that is no asset of it; {CURE}")


def _idle(objects: Any, by_keras: bool) -> AbstractSet[str]:
    """Functions that only a person would call: for training, or of plain objects under names that nobody looks up."""
    looked_at = by_keras or any(child.local_name == "layers" for child in objects.nodes[0].children)

    def is_idle(parent: Any, name: str) -> bool:
        plain = parent.user_object.identifier == "_generic_user_object" and not name.startswith("_")
        return name in TRAINING or (plain and not looked_at)

    parents: dict[int, list[tuple[int, str]]] = {}
    for number, node in enumerate(objects.nodes):
        for child in node.children:
            parents.setdefault(child.node_id, []).append((number, child.local_name))
    savers = {
        n
        for node in objects.nodes
        for s in node.saveable_objects.values()
        for n in (s.save_function, s.restore_function)
    }
    idle = {
        number
        for number, held in parents.items()
        if objects.nodes[number].WhichOneof("kind") == "function"
        and number not in savers
        and all(is_idle(objects.nodes[parent], name) for parent, name in held)
    }
    traces = {
        number
        for number, held in parents.items()
        if objects.nodes[number].WhichOneof("kind") == "bare_concrete_function"
        and all(parent in idle for parent, _ in held)
    }
    called = {name for number, node in enumerate(objects.nodes) if number not in idle | traces for name in _named(node)}
    return frozenset(name for number in idle for name in _named(objects.nodes[number])) - called


def _named(node: Any) -> Iterator[str]:
    """The concrete functions of an object that is a function."""
    yield from node.function.concrete_functions
    yield node.bare_concrete_function.concrete_function_name


def _reached(starts: Iterable[str], functions: Mapping[str, Any]) -> AbstractSet[str]:
    """The functions that these call, and they themselves."""
    reached, waiting = set[str](), list(starts)
    while waiting:
        name = waiting.pop()
        if name not in reached and name in functions:
            reached.add(name)
            waiting += [other for node in functions[name].node_def for other in _calls(node)]
    return reached


def _calls(node: Any) -> Iterator[str]:
    """The functions that an operation names, and its own name, which may be that of a function."""
    yield node.op
    for value in node.attr.values():
        if value.WhichOneof("value") == "func":
            yield value.func.name
        yield from (each.name for each in value.list.func)


def _check_operation(path: Path, node: Any, where: str, functions: Mapping[str, Any], *, running: bool) -> None:
    """TensorFlow may fold what has no state while it imports a graph, even where nobody calls it."""
    if node.op in OPERATIONS or node.op in FROM_FILE:
        return
    if node.op == "XlaCallModule":
        check_program(path, where, node)
        return
    if node.op == "PrintV2" and node.attr["output_stream"].s.decode(errors="replace") in CONSOLE:
        return
    known = require("tensorflow.python.framework.op_def_registry", extra="keras").get(node.op)
    if (running or known is None or not known.is_stateful) and not (known is None and node.op in functions):
        said = f"the operation {node.op[:LONGEST]} ({node.name[:LONGEST]}) is on no list of what a model may compute"
        raise BadModel(f"{path}: {where[:LONGEST]}: {said}; {CURE}")


def _from_asset(name: str, tensor: str, objects: Any, functions: Mapping[str, Any]) -> bool:
    """Whether a tensor of a function is always an asset: an argument, which is one wherever the function is called."""
    arguments = [each.name for each in functions[name].signature.input_arg]
    if tensor not in arguments:
        return False
    at = arguments.index(tensor)
    if name in objects.concrete_functions:
        bound = objects.concrete_functions[name].bound_inputs
        place = at - (len(arguments) - len(bound))
        if place < 0 or objects.nodes[bound[place]].WhichOneof("kind") != "asset":
            return False
    callers = [
        (o, node) for o, each in functions.items() if o != name for node in each.node_def if name in _calls(node)
    ]
    return all(node.op in CALLS and _from_asset(o, node.input[at], objects, functions) for o, node in callers)


def _check_nodes(path: Path, graph: Any) -> None:
    """A SavedModel of TensorFlow 1: one graph, of which the loader runs the signatures, what starts it, and the saver.

    The saver's own node reads the checkpoint whose name the loader hands it.
    """
    nodes = {node.name: node for node in graph.graph_def.node}
    functions = {each.signature.name: each for each in graph.graph_def.library.function}
    restoring = _behind([graph.saver_def.restore_op_name], nodes)
    wanted = [n for signature in graph.signature_def.values() for info in signature.outputs.values() for n in _of(info)]
    running = _behind([*wanted, *_starting(graph)], nodes)
    reached = _reached((other for name in running | restoring for other in _calls(nodes[name])), functions)
    loaded = _name(graph.saver_def.filename_tensor_name)
    assets = {_name(asset.tensor_info.name) for asset in graph.asset_file_def}
    for name, node in nodes.items():
        if name in running or node.op != "RestoreV2" or _name(node.input[0]) != loaded:
            _check_operation(path, node, "its graph", functions, running=name in running | restoring)
        if node.op in FROM_FILE and _name(node.input[1]) not in assets:
            raise BadModel(f"{path}: its graph: {node.op} reads a file that is no asset of it; {CURE}")
    for name, function in functions.items():
        for node in function.node_def:
            _check_operation(path, node, f"function {name}", functions, running=name in reached)
            if node.op in FROM_FILE:
                raise BadModel(f"{path}: function {name}: {node.op} reads a file that is no asset of it; {CURE}")


def _starting(graph: Any) -> Iterator[str]:
    """What the loader runs before the first call."""
    definition = require("tensorflow.core.framework.variable_pb2", extra="keras").VariableDef
    for key, group in graph.collection_def.items():
        if key in AT_START:
            yield from group.node_list.value
        for text in group.bytes_list.value if "variables" in key else ():
            variable = definition.FromString(text)
            yield from (variable.initializer_name, variable.initial_value_name, variable.snapshot_name)


def _of(info: Any) -> Iterator[str]:
    """The tensors of an output."""
    yield from (info.name, info.coo_sparse.values_tensor_name, info.coo_sparse.indices_tensor_name)
    yield info.coo_sparse.dense_shape_tensor_name
    for part in info.composite_tensor.components:
        yield from _of(part)


def _behind(names: Iterable[str], nodes: Mapping[str, Any]) -> AbstractSet[str]:
    """The nodes that these depend on, and they themselves."""
    found, waiting = set[str](), [_name(name) for name in names]
    while waiting:
        name = waiting.pop()
        if name in nodes and name not in found:
            found.add(name)
            waiting += [_name(other) for other in nodes[name].input]
    return found


def _name(tensor: str) -> str:
    return tensor.removeprefix("^").partition(":")[0]


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
