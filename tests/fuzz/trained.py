"""Trained models of strangers: the JSON, the protobuf fields and the entries of their containers are changed.

They are read as the child reads them, here: what a Keras file names is looked up, an ``.onnx`` is checked and handed to
onnxruntime, a ``.pt2`` is decoded and its operators are looked up. Many seeds hold what would act if it were admitted.
"""

from __future__ import annotations

import gc
import io
import json
import os
import re
import signal
import time
import warnings
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import chdir
from functools import cache, partial
from importlib.util import find_spec
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory, mkdtemp
from typing import Any

import numpy as np
import pytest
import small_models
from fuzz.attacks import Attack
from fuzz.counting import Counts
from fuzz.fuzzing import KINDS, SECONDS_AT_MOST, attempt, limits, make, reading, run
from fuzz.others import BYTES, EVIL, Kind, changed_values
from planted import FORMATS, LAYERS, code, function, layer, plant, write_plain

import quantdiff
from quantdiff.api.verifications import Drawn
from quantdiff.errors import QuantdiffError, RuntimeCrashed, RuntimeFailed, RuntimeHung
from quantdiff.references.keras.admission import admit

h5py: Any = pytest.importorskip("h5py", reason="comes with TensorFlow")
FILES = Path(__file__).parents[1] / "torch_files"
NAMES: tuple[Any, ...] = (
    *("Lambda", "TFOpLambda", "Functional", "Dense", "function", "__lambda__", "__tensor__", "Custom>x", "TFSMLayer"),
    *("keras.layers", "keras.src.layers", "keras.utils", "builtins", "os", "tensorflow.io", "tf_keras.src.utils"),
    *("io.write_file", "math.add", "raw_ops.WriteFile", "relu", "get_file", "load_model", "system", "/etc/passwd"),
    *("torch.ops.aten.relu.default", "torch.hub.load", "_operator.methodcaller", "torch.ops.aten.set_data.default"),
    *({"as_int": 2**62}, {"as_int": -1}, {"as_tensor": {"name": "x"}}, {"as_string": "touch marker"}),
    *(function("os", "system"), layer("Lambda", {"function": code()}), {"class_name": [], "config": None}),
)


def names_and_values(text: bytes, rng: Random) -> bytes:
    """JSON in which values are evil, gone, elsewhere, or names of what acts."""
    changed = json.dumps(changed_values(json.loads(text), rng, (*EVIL, *NAMES, *NAMES)))
    return (
        changed.replace(rng.choice("Lfwo"), rf"\u{ord('L'):04x}").encode() if rng.random() < 0.05 else changed.encode()
    )


@cache
def keras_files(suffix: str) -> tuple[bytes, ...]:
    """Small whole models of both Keras, and half of what can be planted in each."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        write_plain(folder)
        plain = [folder / each for each in FORMATS if each.endswith(suffix)]
        planted = [
            plant(each, folder / f"evil{suffix}", make()).read_bytes() for each in plain for make in LAYERS.values()
        ]
        return (*(each.read_bytes() for each in plain * 20), *planted)


def configuration(data: bytes, rng: Random, _: tuple[bytes, ...]) -> bytes:
    """Other values in the configuration of an ``.h5``."""
    file = io.BytesIO(data)
    with h5py.File(file, "r+") as opened:
        text = opened.attrs["model_config"]
        text = text if isinstance(text, bytes) else text.encode()
        opened.attrs["model_config"] = np.bytes_(names_and_values(text, rng))
        if rng.random() < 0.1:
            opened.attrs["keras_version"] = rng.choice(("3.0", "2", "", "x" * 999, 3, np.zeros(3)))
    return file.getvalue()


def objects(data: bytes, rng: Random, _: tuple[bytes, ...]) -> bytes:
    """Links, attributes of other types, data sets that are gone or of other shapes in an ``.h5``."""
    file = io.BytesIO(data)
    with h5py.File(file, "r+") as opened:
        _change_objects(opened, rng)
    return file.getvalue()


def _change_objects(opened: Any, rng: Random) -> None:
    names: list[str] = []
    opened.visit(names.append)
    name = rng.choice(names)
    holder = opened[name].parent
    act = rng.randrange(7)
    if act == 0:
        opened[f"{name}_"] = rng.choice((h5py.SoftLink("/"), h5py.ExternalLink("other.h5", "/"), h5py.SoftLink("none")))
    elif act == 1:
        opened[name].attrs[rng.choice(("weight_names", "layer_names", "backend"))] = rng.choice((3.5, "x", np.zeros(4)))
    elif act == 2:
        opened.attrs["model_config"] = rng.choice((5, np.zeros((2, 2)), h5py.Empty("f"), "[" * 9999, "null"))
    elif act == 3:
        del opened[name]
    else:
        del opened[name]
        shape: Any = rng.choice(((2**20, 2**10), (0,), (3,), ()))
        raw = [("/etc/passwd", 0, 64)] if act == 4 and 0 < np.prod(shape) < 99 else None
        dtype = rng.choice(("f4", "i8", "S4", h5py.string_dtype(), h5py.ref_dtype))
        holder.create_dataset(name.rpartition("/")[2], shape, "f4" if raw else dtype, external=raw)


def entries(data: bytes, rng: Random, others: tuple[bytes, ...]) -> bytes:
    """Entries of a zip under other names, twice, gone, with other content; their checksums fit."""
    with zipfile.ZipFile(io.BytesIO(data)) as old:
        held = [(info.filename, old.read(info)) for info in old.infolist()]
    at = rng.randrange(len(held))
    name, content = held[at]
    act = rng.randrange(6)
    if act == 0:
        held.append(
            (rng.choice(("../x", "/tmp/x", "a\\..\\x", "model.weights.npz", "x.so", name, "models/x.json")), b"{}")
        )
    elif act == 1:
        del held[at]
    elif act == 2:
        held[at] = name, rng.choice((b"", b"{}", b"[]", b"\x80\x04.", b"[" * 9999, content[:-1], bytes(10**6)))
    elif name.endswith(".h5"):
        kept = io.BytesIO(content)
        with h5py.File(kept, "r+") as opened:
            _change_objects(opened, rng)
        held[at] = name, kept.getvalue()
    else:
        held[at] = (
            name,
            BYTES[rng.choice([*BYTES])](content, rng, (content, *others[:1])) if len(content) >= 4 else b"x",
        )
    return _zipped(held, rng)


def documents(data: bytes, rng: Random, _: tuple[bytes, ...]) -> bytes:
    """Other values in the JSON of a zip."""
    with zipfile.ZipFile(io.BytesIO(data)) as old:
        held = [(info.filename, old.read(info)) for info in old.infolist()]
    where = [at for at, (name, _) in enumerate(held) if name.endswith(".json")]
    large = [at for at in where if held[at][0] == "config.json" or "/models/" in held[at][0]]
    at = rng.choice(large if rng.random() < 0.8 else where)
    held[at] = held[at][0], names_and_values(held[at][1], rng)
    return _zipped(held, rng)


def _zipped(held: list[tuple[str, bytes]], rng: Random) -> bytes:
    file = io.BytesIO()
    how = rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))
    with warnings.catch_warnings(), zipfile.ZipFile(file, "w") as new:
        warnings.simplefilter("ignore")  # a name twice
        for name, content in held:
            new.writestr(zipfile.ZipInfo(name), content, how)
    return file.getvalue()


def read_keras(path: Path) -> None:
    """Look through it, as it is done before Keras opens it."""
    admit(path, {}, allow_lambda=False)


@cache
def onnx_files() -> tuple[bytes, ...]:
    """A convolution, an If with graphs inside, quantized values, two operators in the wrong order, and a real one."""
    import onnx
    from onnx_models import N, floats, model

    one = model([N("Conv", ["x", "w"], ["y"])], {"x": ("n", 2, 4, 4)}, ["y"], {"w": floats(3, 2, 3, 3)})
    two = model([N("Add", ["a", "b"], ["y"]), N("Relu", ["x"], ["a"])], {"x": (1, 4)}, ["y"], {"b": floats(4)})
    scale = {"s": np.float32(0.5), "z": np.int8(3), "w": floats(4, 3)}
    nodes = [N("QuantizeLinear", ["x", "s", "z"], ["q"]), N("DequantizeLinear", ["q", "s", "z"], ["r"])]
    three = model(
        [*nodes, N("MatMul", ["r", "w"], ["y"])], {"x": (2, 4)}, ["y"], {k: np.asarray(v) for k, v in scale.items()}
    )
    inner = onnx.helper.make_graph([onnx.helper.make_node("Relu", ["x"], ["i"])], "inner", [], [one.graph.output[0]])
    inner.output[0].name = "i"
    choice = {"then_branch": inner, "else_branch": inner}
    four = model([N("If", ["c"], ["y"], choice)], {"x": (1, 4)}, ["y"], {"c": np.array(True)})
    written = (each.SerializeToString() for each in (one, two, three, four))
    return (*written, (FILES / "net_qdq.onnx").read_bytes())


def fields(data: bytes, rng: Random, others: tuple[bytes, ...]) -> bytes:
    """Fields of a protobuf gone, doubled, mixed, or with another value."""
    import onnx

    model, other = (onnx.ModelProto.FromString(each) for each in (data, rng.choice((data, *others))))
    for _ in range(rng.choice((1, 1, 2, 4))):
        message, theirs = rng.choice(_messages(model)), _messages(other)
        field = rng.choice(message.DESCRIPTOR.fields)
        alike = [each for each in theirs if each.DESCRIPTOR is message.DESCRIPTOR] or [message]
        _change_field(message, field, getattr(rng.choice(alike), field.name), rng)
    return bytes(model.SerializeToString())


def _messages(message: Any) -> list[Any]:
    found = [message]
    for field, value in message.ListFields():
        if field.message_type is not None:
            inner = [value] if hasattr(value, "ListFields") else value
            found += [each for one in inner for each in _messages(one)]
    return found


def _change_field(message: Any, field: Any, theirs: Any, rng: Random) -> None:
    mine, act = getattr(message, field.name), rng.randrange(4)
    if act == 0:
        message.ClearField(field.name)
    elif field.message_type is not None:
        if hasattr(mine, "add"):
            kept = [*mine, *theirs][: rng.choice((1, len(mine), len(mine) + 1, 40))] * rng.choice((1, 2))
            kept = [type(each).FromString(each.SerializeToString()) for each in kept]
            message.ClearField(field.name)
            getattr(message, field.name).extend(rng.sample(kept, len(kept)))
        else:
            mine.CopyFrom(type(mine).FromString(theirs.SerializeToString()))
    else:
        _change_number(message, field, rng)


def _change_number(message: Any, field: Any, rng: Random) -> None:
    texts = "x", "", "y", "/etc/passwd", "../x", "ai.onnx", "com.microsoft", "Loop", "\x1b[31m[/x]", "a" * 5000
    numbers = 0, 1, -1, 2, 7, 13, 16, 99, 2**31 - 1, -(2**31), 2**62
    kinds = {
        str: texts,
        bytes: (b"", b"x", bytes(999), b"\xff" * 7),
        float: (0.0, float("nan"), 1e38),
        bool: (False, True),
    }
    mine = getattr(message, field.name)
    kind = type(field.default_value) if isinstance(mine, str | bytes | int | float) else type(next(iter(mine), 0))
    value = rng.choice(kinds.get(kind, numbers))
    try:
        if isinstance(mine, str | bytes | int | float):
            setattr(message, field.name, value)
        elif mine and rng.random() < 0.6:
            mine[rng.randrange(len(mine))] = value
        else:
            mine.append(value)
    except (TypeError, ValueError):  # a number that the field cannot hold
        message.ClearField(field.name)


def read_onnx(path: Path) -> None:
    """Check it, and let onnxruntime take it."""
    from quantdiff.references.onnx.reference import open_onnx

    open_onnx(path)


def read_torch(path: Path) -> None:
    """Decode it, and look up its operators."""
    from quantdiff.references.torch.reference import open_torch

    open_torch(path)


def torch_files() -> tuple[bytes, ...]:
    """Exported by torch: float, quantized, with fake-quantization."""
    return tuple((FILES / f"{name}.pt2").read_bytes() for name in ("net", "net_int8", "qat"))


ZIP: dict[str, Attack] = {**BYTES, "entries": entries, "names and values of its JSON": documents}
TRAINED = {
    ".h5": Kind(
        lambda: keras_files(".h5"),
        {**BYTES, "names and values of its JSON": configuration, "links and data sets": objects},
        read_keras,
    ),
    ".keras": Kind(lambda: keras_files(".keras"), ZIP, read_keras),
    ".onnx": Kind(onnx_files, {**BYTES, "fields": fields}, read_onnx),
    ".pt2": Kind(torch_files, ZIP, read_torch),
}


def run_apart(seconds: float, seed: int, suffix: str, most: int | None = None) -> Counts:
    """As ``run``, in processes that a library may end: each that did is counted, and the next goes on."""
    kinds, counts, number = {suffix: TRAINED[suffix]}, Counts(), 0
    run(0, seed, 0, kinds)  # whole files are read, and what takes time is there
    end = time.monotonic() + seconds
    while time.monotonic() < end and number != most:
        for outcome in _apart(end, seed, kinds, number, most):
            key = suffix, make(seed, number, kinds)[1]
            counts.tried[key] += 1
            counts.whole[key] += 1
            counts.refused[key] += outcome == "refused"
            counts.ended[key] += outcome == "ended"
            if outcome not in ("read", "refused", "ended"):
                counts.failed[key] += 1
                counts.failures.append(f"{seed}/{number} {suffix}, {key[1]}: {outcome}")
            number += 1
    return counts


def _apart(end: float, seed: int, kinds: Mapping[str, Kind], start: int, most: int | None) -> Iterator[str]:
    """Outcomes from ``start`` on, until time or number is reached or the process is gone."""
    here, there = os.pipe()
    child = os.fork()
    if not child:
        try:
            with os.fdopen(there, "w") as told, TemporaryDirectory() as folder, limits():
                signal.signal(signal.SIGVTALRM, signal.SIG_DFL)
                number = start
                while number != most and time.monotonic() < end:
                    signal.setitimer(signal.ITIMER_VIRTUAL, 4 * SECONDS_AT_MOST)  # inside a library no handler runs
                    (suffix, _, data) = make(seed, number, kinds)
                    print(
                        " ".join(attempt(reading(suffix, data, Path(folder), number, kinds)).split()),
                        file=told,
                        flush=True,
                    )
                    number += 1
            os._exit(0)
        finally:
            os._exit(BROKEN)
    os.close(there)
    with os.fdopen(here) as told:
        yield from (line.rstrip("\n") for line in told)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert status != BROKEN, "the fuzzer itself failed"
    if status:
        yield "ended"


def verify(path: Path) -> None:
    """Hold the simulator against a runtime."""
    quantdiff.verify(path, settings=quantdiff.Settings(("builtin",), timeout=SILENCE), drawn=Drawn(2))


def diff(path: Path) -> None:
    """The file on one runtime, and on another."""
    quantdiff.diff(path, path, "random:2", quantdiff.Settings(("reference",), timeout=SILENCE))


def lint(path: Path) -> None:
    """A trained model beside a file, which its child opens, and runs as far as that needs."""
    quantdiff.lint(beside(), path)


@cache
def beside() -> Path:
    """Any whole ``.tflite``."""
    return small_models.save(Path(mkdtemp()), small_models.float_dense(), "beside.tflite")


SILENCE, BROKEN = 30.0, 70
QUESTIONS = {
    "verify .tflite": (KINDS, verify, 20),
    "diff .tflite": (KINDS, diff, 20),
    **{f"lint {suffix}": (TRAINED, lint, 1) for suffix in TRAINED},
}


def question(seed: int, number: int) -> tuple[str, str, bytes]:
    """What is asked of children as number ``number``, the attack, and the file; without torch no ``.pt2``."""
    asked = {name: each for name, each in QUESTIONS.items() if "pt2" not in name or find_spec("torch")}
    (name,) = Random(seed << 64 | number).choices([*asked], [share for *_, share in asked.values()])
    suffix, kinds = name.partition(" ")[2], asked[name][0]
    return name, *make(seed, number, {suffix: kinds[suffix]})[1:]


def run_children(seconds: float, seed: int, most: int | None = None) -> Counts:
    """Ask as of files that somebody sent. No process may be left, and in the folder nothing but the file."""
    counts, end, number = Counts(), time.monotonic() + seconds, 0
    while time.monotonic() < end and number != most:
        name, attack, data = question(seed, number)
        key = name, attack
        with TemporaryDirectory() as folder, chdir(folder), warnings.catch_warnings():
            warnings.simplefilter("error")
            path = Path(f"model{name.partition(' ')[2]}")
            path.write_bytes(data)
            outcome = _answer(partial(QUESTIONS[name][1], path))
            left = [str(each) for each in Path().iterdir() if each != path] + _children()
        counts.tried[key] += 1
        counts.whole[key] += 1
        counts.refused[key] += outcome == "refused"
        counts.ended[key] += outcome == "ended"
        if left or outcome not in ("read", "refused", "ended"):
            counts.failed[key] += 1
            counts.failures.append(f"{seed}/{number} {name}, {attack}: {outcome} {left}")
        number += 1
    return counts


def _answer(ask: Callable[[], None]) -> str:
    try:
        ask()
    except (RuntimeCrashed, RuntimeHung):
        return "ended"
    except QuantdiffError as error:
        unexpected = re.search(r" on \S+ failed: \w+: ", str(error)) and isinstance(error, RuntimeFailed)
        return "refused" if len(str(error).splitlines()) == 1 and not unexpected else f"not one plain line: {error}"
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return "read"


def _children() -> list[str]:
    """What is left: the process that children are forked from may stay, theirs may not."""
    gc.collect()  # a model that nobody has any more ends its child
    own = _children_of(str(os.getpid()))
    servers = [pid for pid in own if b"forkserver" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    return [*(pid for pid in own if pid not in servers), *(each for pid in servers for each in _children_of(pid))]


def _children_of(pid: str) -> list[str]:
    return Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
