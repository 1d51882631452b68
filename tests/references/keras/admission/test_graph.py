"""SavedModels: what their graphs and their Keras metadata would do when they are opened or run."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import small_models
from click.testing import CliRunner
from planted import LAYERS, MARKER

from quantdiff.cli import main
from quantdiff.errors import BadModel
from quantdiff.lazy import require
from quantdiff.references.keras.frameworks import frameworks, quiet
from quantdiff.references.keras.model import load_keras

pytestmark = pytest.mark.keras
Edit = Callable[[Any], object]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    small_models.save(tmp_path, small_models.float_dense(), "dense.tflite")
    np.save(tmp_path / "x.npy", np.zeros((4, 8), np.float32))
    return tmp_path


def writing(x: Any) -> Any:
    frameworks().tf.io.write_file(MARKER, "planted")
    return x


def reading(x: Any) -> Any:
    tf = frameworks().tf
    return x + tf.cast(tf.strings.length(tf.io.read_file("/etc/passwd")), "float32")


def of_python(x: Any) -> Any:
    return frameworks().tf.numpy_function(lambda y: y, [x], "float32")


def printing(x: Any) -> Any:
    frameworks().tf.print(x, output_stream=f"file://{Path(MARKER).absolute()}")
    return x


def in_a_branch(x: Any) -> Any:
    tf = frameworks().tf
    return tf.cond(tf.reduce_sum(x) > -1.0, lambda: writing(x), lambda: x)


def in_a_call(x: Any) -> Any:
    tf = frameworks().tf
    return tf.function(writing)(x) + 1.0


def checkpoint(x: Any) -> Any:
    tf = frameworks().tf
    tf.raw_ops.SaveV2(prefix=MARKER, tensor_names=["x"], shape_and_slices=[""], tensors=[x])
    return x


BODIES = (writing, reading, of_python, printing, in_a_branch, in_a_call, checkpoint)


def export(folder: Path, body: Callable[[Any], Any], aside: Callable[[Any], Any] | None = None) -> Path:
    """A SavedModel of a plain module: ``body`` behind a layer is its signature, ``aside`` one more function."""
    tf = frameworks().tf
    spec = tf.TensorSpec((None, 8), "float32")
    module = tf.Module()
    module.w = tf.Variable(np.ones((8, 3), np.float32))
    module.serve = tf.function(lambda x: body(x @ module.w), input_signature=[spec])
    if aside is not None:
        module.aside = tf.function(aside, input_signature=[spec])
    with quiet():
        tf.saved_model.save(module, str(folder), signatures=module.serve.get_concrete_function())
    return folder


def edit(folder: Path, change: Edit) -> Path:
    """The same SavedModel with its graph changed by hand."""
    saved = require("tensorflow.python.saved_model.loader_impl", extra="keras").parse_saved_model(str(folder))
    change(saved.meta_graphs[0])
    (folder / "saved_model.pb").write_bytes(saved.SerializeToString())
    return folder


def refused(here: Path, *command: str) -> str:
    result = CliRunner().invoke(main, list(command))
    assert not list(here.glob(f"{MARKER}*"))
    assert (result.exit_code, result.stdout) == (2, "")
    (line,) = result.stderr.splitlines()
    return line


@pytest.mark.parametrize("body", BODIES)
def test_an_operation_that_acts_is_refused(here: Path, body: Callable[[Any], Any]) -> None:
    path = str(export(here / "m", body))
    for command in (["lint", path, "dense.tflite"], ["diff", path, "dense.tflite", "--data", "x.npy"]):
        line = refused(here, *command)
        assert "the operation " in line
        assert "on no list of what a model may compute" in line


def test_it_would_act_where_nothing_looks(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = export(here / "m", in_a_call)
    monkeypatch.setattr("quantdiff.references.keras.model.admit", lambda *_, **__: "")
    CliRunner().invoke(main, ["diff", str(path), "dense.tflite", "--data", "x.npy"])
    assert (here / MARKER).exists()


@pytest.mark.parametrize("aside", [writing, of_python, checkpoint])
def test_a_function_that_nobody_calls_may_hold_what_it_likes(here: Path, aside: Callable[[Any], Any]) -> None:
    path = export(here / "m", lambda x: x, aside)
    assert load_keras(path).kind == "float"
    result = CliRunner().invoke(main, ["diff", str(path), "dense.tflite", "--data", "x.npy"])
    assert result.exit_code in (0, 1), result.stderr
    assert not (here / MARKER).exists()


def test_unless_it_could_be_folded(here: Path) -> None:
    """TensorFlow evaluates what is constant and has no state while it imports a graph."""
    with pytest.raises(BadModel, match=r"the operation ReadFile \(ReadFile\)"):
        load_keras(export(here / "m", lambda x: x, reading))


@pytest.mark.parametrize("name", ["__call__", "_initialize", "_lookup_dependency", "layers"])
def test_a_name_that_somebody_looks_up_makes_it_one_that_is_called(here: Path, name: str) -> None:
    def rename(graph: Any) -> None:
        for node in graph.object_graph_def.nodes:
            for child in node.children:
                child.local_name = name if child.local_name == "aside" else child.local_name

    path = edit(export(here / "m", lambda x: x, writing), rename)
    with pytest.raises(BadModel, match=r"the operation WriteFile"):
        load_keras(path)


def test_a_function_that_may_stand_in_for_another_is_called(here: Path) -> None:
    def implement(graph: Any) -> None:
        for function in graph.graph_def.library.function:
            if any(node.op == "WriteFile" for node in function.node_def):
                function.attr["api_implements"].s = b"same"

    with pytest.raises(BadModel, match=r"the operation WriteFile"):
        load_keras(edit(export(here / "m", lambda x: x, writing), implement))


def test_a_function_with_the_name_of_an_operation(here: Path) -> None:
    """TensorFlow looks among the file's own functions first."""

    def rename(graph: Any) -> None:
        for function in graph.graph_def.library.function:
            if any(node.op == "WriteFile" for node in function.node_def):
                function.signature.name = "Identity"

    with pytest.raises(BadModel, match=r"function Identity: the operation WriteFile"):
        load_keras(edit(export(here / "m", lambda x: x, writing), rename))


def table(folder: Path, vocabulary: str) -> Path:
    tf = frameworks().tf
    module = tf.Module()
    how = tf.lookup.TextFileIndex
    filled = tf.lookup.TextFileInitializer(vocabulary, "int64", how.WHOLE_LINE, "int64", how.LINE_NUMBER)
    module.table = tf.lookup.StaticHashTable(filled, -1)
    spec = tf.TensorSpec((None, 8), "float32")

    def serve(x: Any) -> Any:
        return x[:, :3] + tf.cast(module.table.lookup(tf.cast(x[:, :3], "int64")), "float32")

    module.serve = tf.function(serve, input_signature=[spec])
    with quiet():
        tf.saved_model.save(module, str(folder), signatures=module.serve.get_concrete_function())
    return folder


def point_elsewhere(graph: Any) -> None:
    """The captured asset as a constant with another path."""
    node = graph.graph_def.node.add(name="elsewhere", op="Const")
    node.attr["dtype"].type = 7
    node.attr["value"].tensor.CopyFrom(frameworks().tf.make_tensor_proto("/etc/passwd"))
    for each in graph.object_graph_def.nodes:
        if each.WhichOneof("kind") == "asset":
            each.constant.operation = "elsewhere"


def test_a_table_comes_from_an_asset_of_the_folder(here: Path) -> None:
    tf = frameworks().tf
    (here / "words").write_text("3\n4\n5\n")
    path = table(here / "m", str(here / "words"))
    (here / "words").unlink()
    assert load_keras(path).kind == "float"
    again = tf.saved_model.load(str(path))
    with quiet():
        tf.saved_model.save(again, str(here / "again"), signatures=again.signatures)
    assert load_keras(here / "again").kind == "float"
    for folder in (path, here / "again"):
        with pytest.raises(BadModel, match=r"InitializeTableFromTextFileV2 reads a file that is no asset of it"):
            load_keras(edit(folder, point_elsewhere))


def test_an_asset_stays_in_the_folder(here: Path) -> None:
    def climb(graph: Any) -> None:
        graph.asset_file_def[0].filename = "../../words"

    (here / "words").write_text("3\n4\n5\n")
    path = table(here / "m", str(here / "words"))
    (path / "assets" / "words").unlink()
    (path / "assets" / "words").symlink_to(here / "words")
    with pytest.raises(BadModel, match=r"its asset 'words' is a link that leads out of the folder"):
        load_keras(path)
    with pytest.raises(BadModel, match=r"its asset '../../words' leads out of the folder"):
        load_keras(edit(path, climb))


def of_tensorflow_1(folder: Path, body: Callable[[Any], Any]) -> Path:
    tf = frameworks().tf
    v1 = tf.compat.v1
    with quiet(), tf.Graph().as_default(), v1.Session() as session:
        v1.set_random_seed(1)  # wanted where an earlier test has asked for determinism
        x = v1.placeholder("float32", (None, 8), "x")
        y = body(x @ v1.get_variable("w", (8, 3), use_resource=False))
        session.run(v1.global_variables_initializer())
        v1.saved_model.simple_save(session, str(folder), {"x": x}, {"y": tf.identity(y)})
    return folder


def test_a_saved_model_of_tensorflow_1(here: Path) -> None:
    path = of_tensorflow_1(here / "m", lambda x: x * 2.0)
    assert load_keras(path).kind == "float"

    def fetch_the_saver(graph: Any) -> None:
        graph.signature_def["serving_default"].outputs["y"].name = "save/control_dependency:0"

    def read_elsewhere(graph: Any) -> None:
        for node in graph.graph_def.node:
            if node.op == "RestoreV2":
                node.input[0] = "save/RestoreV2/tensor_names"

    def restore_by_saving(graph: Any) -> None:
        graph.saver_def.restore_op_name = graph.saver_def.save_tensor_name.partition(":")[0]

    for change, operation in (
        (fetch_the_saver, "SaveV2"),
        (restore_by_saving, "SaveV2"),
        (read_elsewhere, "RestoreV2"),
    ):
        with pytest.raises(BadModel, match=f"its graph: the operation {operation}"):
            load_keras(edit(of_tensorflow_1(here / change.__name__, lambda x: x * 2.0), change))

    def acting(x: Any) -> Any:
        tf = frameworks().tf
        with tf.control_dependencies([tf.io.write_file(MARKER, "planted")]):
            return tf.identity(x)

    with pytest.raises(BadModel, match=r"its graph: the operation WriteFile"):
        load_keras(of_tensorflow_1(here / "acting", acting))


@pytest.mark.parametrize("starts", [False, True])
def test_what_starts_a_graph_of_tensorflow_1(here: Path, starts: bool) -> None:
    """A training step that stays in the graph runs nowhere; what initializes a variable runs at once."""

    def with_training(x: Any) -> Any:
        tf = frameworks().tf
        v1 = tf.compat.v1
        v1.train.AdamOptimizer().minimize(tf.reduce_sum(x))
        v1.summary.scalar("sum", tf.reduce_sum(x))
        given = tf.numpy_function(lambda: np.float32(1), [], "float32")
        given.set_shape(())
        where = ["local_variables" if starts else "models"]
        v1.get_variable("given", initializer=given, collections=where, trainable=False)
        return x

    path = of_tensorflow_1(here / "m", with_training)
    if starts:
        with pytest.raises(BadModel, match=r"its graph: the operation PyFunc"):
            load_keras(path)
    else:
        assert load_keras(path).kind == "float"


def by_keras(folder: Path, *layers: Any) -> Path:
    keras = frameworks().keras
    model = keras.Sequential([keras.Input((8,)), *layers, keras.layers.Dense(3)])
    with quiet():
        model.save(folder, save_format="tf")
    return folder


def edit_metadata(folder: Path, change: Callable[[dict[str, Any]], object], *, escape: bool = False) -> Path:
    file, kind = folder / "keras_metadata.pb", require("tf_keras.protobuf.saved_metadata_pb2", extra="keras")
    metadata = kind.SavedMetadata()
    metadata.ParseFromString(file.read_bytes())
    for node in metadata.nodes:
        described = json.loads(node.metadata)
        change(described)
        node.metadata = json.dumps(described).replace("L", "\\u004c" if escape else "L")
    file.write_bytes(metadata.SerializeToString())
    return folder


@pytest.mark.parametrize("attack", ["lambda", "write_file", "residual", "old op layer", "nested", "vocabulary"])
def test_what_the_metadata_of_keras_plants_does_not_act(here: Path, attack: str) -> None:
    planted = LAYERS[attack]()

    def become(described: dict[str, Any]) -> None:
        if described["class_name"] == "Activation":
            described |= {"class_name": planted["class_name"], "must_restore_from_config": True}
            described["config"] = planted["config"]

    path = by_keras(here / "m", frameworks().keras.layers.Activation("relu"))
    line = refused(here, "lint", str(edit_metadata(path, become, escape=True)), "dense.tflite")
    assert "layer planted: " in line
    (path / "keras_metadata.pb").unlink()
    assert load_keras(path).kind == "float"  # its signature is as it was


def test_old_metadata_stand_in_the_graph(here: Path) -> None:
    path = by_keras(here / "m", frameworks().keras.layers.Activation("relu"))
    kind = require("tf_keras.protobuf.saved_metadata_pb2", extra="keras")
    metadata = kind.SavedMetadata.FromString((path / "keras_metadata.pb").read_bytes())
    (path / "keras_metadata.pb").unlink()

    def move(graph: Any, attack: str | None = None) -> None:
        for node in metadata.nodes:
            described = json.loads(node.metadata)
            if attack is not None and described["class_name"] == "Activation":
                described |= {"class_name": "Lambda", "config": LAYERS[attack]()["config"]}
            graph.object_graph_def.nodes[node.node_id].user_object.metadata = json.dumps(described)

    assert hasattr(load_keras(edit(path, move)).model, "layers")
    with pytest.raises(BadModel, match=r"layer planted: a Lambda layer"):
        load_keras(edit(path, lambda graph: move(graph, "lambda")))


def test_layers_of_ones_own_come_from_their_graphs(here: Path) -> None:
    """Keras finds no class for such a layer and takes its saved functions, so nothing needs to be named."""
    keras = frameworks().keras

    class Mine(keras.layers.Layer):  # type: ignore[misc, name-defined]
        def __init__(self, **more: Any) -> None:
            super().__init__(**more)
            self.inner = keras.layers.Dense(4)

        def call(self, x: Any) -> Any:
            return self.inner(x)

        def get_config(self) -> dict[str, Any]:
            return {**super().get_config(), "kind": {"class_name": "Anything", "config": {}}}

    def double(x: Any) -> Any:
        return x * 2

    normalization = keras.layers.Normalization()
    normalization.adapt(np.random.default_rng(0).normal(size=(16, 8)))
    model = by_keras(here / "m", normalization, Mine(), keras.layers.Dense(4, activation=double))
    assert hasattr(load_keras(model).model, "layers")
