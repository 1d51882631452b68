"""Keras models from ``.keras``, ``.h5`` and SavedModel, float or quantization-aware (TFMOT), and how they run.

They run as they are: in Keras, eagerly, in float.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

import numpy as np

from quantdiff.errors import BadModel, QuantdiffError, RuntimeFailed, reason_of
from quantdiff.lazy import require
from quantdiff.load.data import Batch, Slot
from quantdiff.load.own_code import module_of
from quantdiff.quant import Array, Trace
from quantdiff.references.keras.admission import admit, is_listed
from quantdiff.references.keras.frameworks import (
    as_written,
    frameworks,
    notes_of,
    quantize_scope,
    quiet,
    ready_for_own_code,
    safe_mode,
)
from quantdiff.references.reference import trace_slices
from quantdiff.run.runner import Count, unheard

KERAS_3 = "3"
ONE_PROGRAM = "{}: one program of JAX or PyTorch, whose inner values nobody sees; the .keras file has them"
FRAMEWORKS = frozenset(("keras", "numpy", "tensorflow", "tf_keras"))


@dataclass(frozen=True, slots=True)
class KerasModel:
    """A trained model: what it takes, what it gives, and ``kind``: ``float`` or ``qat``.

    ``model`` is the Keras model; for a SavedModel without Keras inside, its serving signature.
    """

    name: str
    kind: str
    inputs: tuple[Slot, ...]
    outputs: tuple[str, ...]
    model: Any = field(compare=False, repr=False)
    notes: tuple[str, ...] = ()


def load_keras(path: Path, *, allow_lambda: bool = False, custom_objects: Path | None = None) -> KerasModel:
    """Read a model with TFMOT's quantize scope. Nothing that it holds as code runs unless asked for.

    ``custom_objects`` is a Python file whose classes and functions the model may name; it runs.

    Raises:
        BadModel: missing, damaged, of another kind, asking for what is on no list, or quantization-aware with
            ranges that were never trained; or the file of custom objects fails.
        MissingExtra: the extra ``[keras]`` is not installed.
    """
    if not path.exists():
        raise BadModel(f"{path}: no such model; give a .keras or .h5 file or a SavedModel folder")
    if custom_objects is not None or allow_lambda:
        ready_for_own_code()
    named = None if custom_objects is None else objects_of(custom_objects)
    with quiet():
        version = admit(path, named or {}, allow_lambda=allow_lambda)
    try:
        with quiet():
            model = _read(path, version, allow_lambda, named)
    except QuantdiffError:
        raise
    except Exception as error:
        unknown = "Unknown " in str(error) or "Could not locate" in str(error)
        cure = "; name the file with its class: --custom-objects FILE.py" if unknown and not named else ""
        raise BadModel(f"{path}: Keras cannot read this model: {reason_of(error)}{cure}") from error
    if not hasattr(model, "layers"):
        return _from_signature(model, path)
    return describe(model, str(path.name))


def objects_of(path: Path) -> dict[str, Any]:
    """The classes and functions that a Python file defines; it runs, since whoever named it wants that.

    Raises:
        BadModel: no such file, or it fails.
    """
    frameworks()  # sets up which Keras the file finds
    with quiet():
        module = module_of(path, BadModel)
    return {n: v for n, v in vars(module).items() if isinstance(v, type | FunctionType) and _is_own(n, v, module)}


def _is_own(name: str, value: Any, module: ModuleType) -> bool:
    """Whether a file names this itself, rather than for having imported it from Python or a framework to work with."""
    home = value.__module__ or ""
    if home == module.__name__:
        return not name.startswith("_")
    package = home.partition(".")[0]
    foreign = package in sys.stdlib_module_names or (package in FRAMEWORKS and not is_listed(value))
    return not name.startswith("_") and not foreign


def describe(model: Any, name: str) -> KerasModel:
    """A Keras model that is in memory, with its inputs, outputs and kind.

    Raises:
        BadModel: a model that was never built, or ranges that were never trained.
    """
    slots, outputs = slots_of(model), _names(model, "output")
    if not slots:
        raise BadModel(f"{name}: the model's input shape is not known; call it once on data before saving it")
    named = named_layers(model)
    layers = tuple(layer for _, layer in named)
    kinds = {type(layer).__name__ for layer in layers}
    is_qat = any(kind.startswith("QuantizeWrapper") for kind in kinds)
    notes = notes_of(named, name)
    if "QuantizeAnnotate" in kinds and not is_qat:
        notes = (f"{name}: annotated for quantization, but quantize_apply was never called: this model is float",)
    if is_qat:
        check_ranges(layers, name)
    return KerasModel(name, "qat" if is_qat else "float", slots, outputs or _counted(model, slots), model, notes)


def slots_of(model: Any) -> tuple[Slot, ...]:
    """What a built Keras model takes; () where it was never called."""
    tensors = getattr(model, "inputs", None)
    if tensors:
        names = _names(model, "input")
    else:  # a subclassed model has no inputs, but remembers what it was called with
        spec = _spec(model)
        tensors = frameworks().tf.nest.flatten(spec)
        names = tuple(getattr(each, "name", None) or f"input_{i}" for i, each in enumerate(tensors, start=1))
    return tuple(Slot(given, tuple(tensor.shape), _dtype(tensor)) for given, tensor in zip(names, tensors, strict=True))


def _spec(model: Any) -> Any:
    """The arguments that a subclassed model of Keras 2 was called with, with any number of samples."""
    known = model.save_spec() if hasattr(model, "save_spec") else None
    args = known[0] if known else ()
    return [
        frameworks().tf.TensorSpec([None, *each.shape[1:]], each.dtype, each.name)
        for each in frameworks().tf.nest.flatten(args)
    ]


def _counted(model: Any, slots: tuple[Slot, ...]) -> tuple[str, ...]:
    """Names for the outputs of a subclassed model, which tells how many there are when it runs."""
    tf = frameworks().tf
    zeros = [tf.zeros([1, *(n or 1 for n in slot.shape[1:])], slot.dtype) for slot in slots]
    with quiet():
        results = model(zeros[0] if len(zeros) == 1 else zeros, training=False)
    if isinstance(results, dict):
        return tuple(results)
    return tuple(f"output_{i}" for i, _ in enumerate(tf.nest.flatten(results), start=1))


def named_layers(model: Any) -> tuple[tuple[str, Any], ...]:
    """The layers that compute something, each once, by its path: ``outer/inner`` for those of nested models."""
    found, seen = dict[str, Any](), set[int]()
    for path, layer in _paths(model, ""):
        if id(layer) not in seen:
            seen.add(id(layer))
            twins = sum(other == path or other.startswith(f"{path}@") for other in found)
            found[f"{path}@{twins + 1}" if twins else path] = layer
    return tuple(found.items())


def _paths(model: Any, path: str) -> Iterator[tuple[str, Any]]:
    for layer in getattr(model, "layers", ()):
        name = f"{path}{layer.name}"
        if getattr(layer, "layers", None):
            yield from _paths(layer, f"{name}/")
        else:
            yield name, layer


def check_ranges(layers: tuple[Any, ...], name: str) -> None:
    """Refuse a model of which a range has min ≥ max throughout: fake-quant makes nonsense of it.

    Raises:
        BadModel: names layer and variable.
    """
    for layer in layers:
        variables = {v.name.split("/")[-1].removesuffix(":0"): v for v in layer.weights}
        for low_name, low in variables.items():
            high = variables.get(low_name.removesuffix("_min") + "_max")
            if low_name.endswith("_min") and high is not None and np.all(low.numpy() >= high.numpy()):
                raise BadModel(
                    f"{name}: layer {layer.name}: {low_name} = {low.numpy().ravel()[0]:g} is not below its max: "
                    "the ranges were never trained; train the quantization-aware model before comparing it"
                )


def _read(path: Path, version: str, allow_lambda: bool, named: dict[str, Any] | None) -> Any:
    if version == KERAS_3:
        frameworks()  # sets up the environment in which Keras 3 finds TensorFlow
        keras = require("keras", extra="keras")
        options = {"compile": False, "safe_mode": not allow_lambda, "custom_objects": named or {}}
        return keras.models.load_model(path, **options)
    used = frameworks()
    if not version:
        return used.tf.saved_model.load(str(path))
    tracing = as_written() if named is None else nullcontext()  # the user's own quantizers may want AutoGraph
    own = used.keras.utils.custom_object_scope(named or {})
    with quantize_scope(), own, safe_mode(not allow_lambda), tracing:
        try:
            model = used.keras.models.load_model(str(path), compile=False)
        except Exception:
            if not path.is_dir():
                raise
            return used.tf.saved_model.load(str(path))  # what another version wrote still has its signature
    # A subclassed model comes back without its code: it runs as a whole, so its graph tells more.
    revived = any(base.__name__.startswith("Revived") for base in type(model).__mro__)
    return used.tf.saved_model.load(str(path)) if path.is_dir() and revived else model


def _from_signature(model: Any, path: Path) -> KerasModel:
    """A SavedModel that is not a Keras model: its serving signature counts."""
    signatures = getattr(model, "signatures", {})
    signature = signatures.get("serving_default") or next(iter(signatures.values()), None)
    if signature is None:
        raise BadModel(f"{path}: a SavedModel without a signature cannot be run; export it with one")
    given = signature.structured_input_signature[1]
    slots = tuple(Slot(n, tuple(spec.shape), spec.dtype.name) for n, spec in sorted(given.items()))
    kept = Signature(model, signature, tuple(slot.name for slot in slots))
    notes = (ONE_PROGRAM.format(path.name),) if _is_one_program(signature) else ()
    return KerasModel(path.name, "float", slots, tuple(sorted(signature.structured_outputs)), kept, notes)


def _is_one_program(signature: Any) -> bool:
    """Whether JAX or PyTorch wrote it: one operation, which holds a program of XLA's."""
    functions = signature.graph.as_graph_def().library.function
    return any(node.op == "XlaCallModule" for function in functions for node in function.node_def)


@dataclass(frozen=True, slots=True)
class Signature:
    """Call a serving signature as one calls a Keras model; keeps the model alive, which owns the variables."""

    owner: Any
    function: Any
    names: tuple[str, ...]

    def __call__(self, inputs: Any, training: bool = False) -> list[Any]:
        """The outputs, in the order of their names."""
        del training
        arrays = inputs if isinstance(inputs, list | tuple) else [inputs]
        results = self.function(**dict(zip(self.names, arrays, strict=True)))
        return [results[name] for name in sorted(results)]


def _names(model: Any, side: str) -> tuple[str, ...]:
    """Names of the inputs or outputs; Keras 3 names the tensors, Keras 2 the layers."""
    return tuple(getattr(model, f"{side}_names", None) or [t.name for t in getattr(model, f"{side}s", None) or ()])


def _dtype(tensor: Any) -> str:
    return str(getattr(tensor.dtype, "name", tensor.dtype))


def save_keras(model: Any, path: Path) -> None:
    """Write a Keras model to a file, in the format of its ending."""
    with quiet():
        model.save(path)


def trace_keras(model: KerasModel, batch: Batch, on_progress: Count = unheard) -> Trace:
    """Outputs of ``model`` for ``batch``, float32, in inference mode.

    A call costs less than ``predict``, which first traces the model, and gives the same floats.

    Raises:
        BadData: the data do not fit the model's inputs.
        RuntimeFailed: Keras raised an error.
    """
    return trace_slices(model, batch, lambda rows: run_keras(model, rows), on_progress)


def run_keras(model: KerasModel, inputs: Sequence[Array]) -> list[Array]:
    """Outputs for one slice of samples, in the model's own order.

    Raises:
        RuntimeFailed: Keras raised an error.
    """
    with failing(model.name), quiet():
        results: Any = model.model(inputs[0] if len(inputs) == 1 else list(inputs), training=False)
    if isinstance(results, dict):
        results = [results[name] for name in model.outputs]
    return [np.asarray(result) for result in (results if isinstance(results, list | tuple) else [results])]


@contextmanager
def failing(name: str) -> Iterator[None]:
    """Errors of Keras as ours, with the model's name."""
    try:
        yield
    except Exception as error:
        raise RuntimeFailed(f"Keras failed on {name}: {reason_of(error)}") from error
