"""Read a ``.pt2``: JSON and raw numbers. ``torch.export.load`` would unpickle what it finds, and look up any function.

The schema is that of torch's ``_export/serde/schema.py``, major version 8. A file that torch would have to unpickle, or
that brings compiled code, is refused: whoever opens it elsewhere runs what its maker wrote.
"""

from __future__ import annotations

import io
import json
import lzma
import zipfile
import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import IO, Any

import numpy as np

from quantdiff.errors import BadModel, reason_of
from quantdiff.lazy import require
from quantdiff.load.data import Slot
from quantdiff.quant import Array

SCHEMA = 8
DTYPES = {
    1: "uint8", 2: "int8", 3: "int16", 4: "int32", 5: "int64", 6: "float16", 7: "float32", 8: "float64", 12: "bool",
}  # fmt: skip
"""``ScalarType`` of the schema."""
BFLOAT16 = 13
LARGEST = 2**32
"""Bytes of all members together, and of one value."""
HARMLESS = ("archive_format", "archive_version", "byteorder", ".data/", "data/weights/", "data/constants/",
            "data/sample_inputs/", "models/", "extra/")  # fmt: skip
PICKLES = (b"PK\x03\x04", b"\x80\x01", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")
"""How files begin that ``torch.load`` and ``pickle.load`` take."""
OBJECT = "custom_obj_"
"""How torch calls what it would make an object of its own class of."""
DENSE = 2**24
"""Values that a tensor may have without storing each of them."""
STORED_SAMPLES, PICKLE = 4, 1500
"""As many samples as an example has at most, and bytes around them; a file with more carries somebody's data."""
READ_ERRORS = (OSError, EOFError, ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError,
               MemoryError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, RuntimeError)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Exported:
    """A program as the file says it.

    Attributes:
        name: the file's.
        inputs: what it takes.
        outputs: names of values.
        nodes: the schema's nodes, as JSON has them.
        state: parameters, buffers and constants by the names of their values.
        stored_samples: how many samples the file carries beyond an example of its inputs.
        notes: what a reader should know.
    """

    name: str
    inputs: tuple[Slot, ...]
    outputs: tuple[str, ...]
    nodes: tuple[Mapping[str, Any], ...] = field(repr=False)
    state: Mapping[str, Array] = field(repr=False)
    stored_samples: int = 0
    notes: tuple[str, ...] = ()


def read(path: Path, data: IO[bytes] | None = None) -> Exported:
    """The program in the file, or in ``data`` that would be that file.

    Raises:
        BadModel: it is none, it is damaged, or it holds what only unpickling or running foreign code could read.
        MissingExtra: the extra ``[torch]`` is not installed.
    """
    require("torch", extra="torch")
    try:
        with zipfile.ZipFile(data or path) as members:
            return _read(path, members)
    except READ_ERRORS as error:
        said = reason_of(error) if isinstance(error, zipfile.BadZipFile | OSError) else f"at {reason_of(error)}"
        raise BadModel(f"{path}: no program of torch.export, or a damaged one ({said}); save it again") from error


def _read(path: Path, archive: zipfile.ZipFile) -> Exported:
    root = archive.namelist()[0].partition("/")[0]
    if sum(info.file_size for info in archive.infolist()) > LARGEST:
        raise BadModel(f"{path}: more than 4 GiB when unpacked; nothing is read")
    members = {info.filename.removeprefix(f"{root}/"): info for info in archive.infolist()}
    _check_members(path, archive.namelist(), list(members))
    _refuse_pickles(path, archive, members)
    program = json.loads(archive.read(next(info for name, info in members.items() if _is_program(name))))
    version = program["schema_version"]["major"]
    if version != SCHEMA:
        raise BadModel(f"{path}: schema {version} of torch.export, only {SCHEMA} can be read; save it by torch 2.13")
    graph, signature = program["graph_module"]["graph"], program["graph_module"]["signature"]
    stored = {**_stored(archive, members, "weights"), **_stored(archive, members, "constants")}
    inputs, state = _inputs(path, signature, stored)
    _refuse_changes(path, graph, signature, state)
    outputs = [_tensor_name(each["user_output"]["arg"], path, "output") for each in signature["output_specs"]]
    _check_order(path, graph["nodes"], {*inputs, *state}, outputs)
    slots = tuple(_slot(name, graph["tensor_values"][name], path) for name in inputs)
    if not slots or not outputs:
        raise BadModel(f"{path}: a program without inputs or outputs; export a module that computes something")
    count = _samples(members, slots)
    note = f"the file holds some {count} samples of data: torch.export stores the whole storage of its example"
    return Exported(path.name, slots, tuple(outputs), tuple(graph["nodes"]), state, count, (note,) * bool(count))


def _check_order(path: Path, nodes: Sequence[Mapping[str, Any]], known: set[str], outputs: Sequence[str]) -> None:
    """Every node reads what is there when it runs."""
    missing = list[str]()
    for node in nodes:
        missing += [name for each in node["inputs"] for name in _names_in(each["arg"]) if name not in known]
        known.update(name for each in node["outputs"] for name in _names_in(each))
    missing += [name for name in outputs if name not in known]
    if missing:
        raise BadModel(f"{path}: reads {missing[0]!r}, which nothing before it gives; save it again")


def _is_program(name: str) -> bool:
    return name.startswith("models/") and name.endswith(".json")


def _check_members(path: Path, stored: Sequence[str], names: Sequence[str]) -> None:
    """One program, and nothing beside it that torch would run, or that two readers could take for two things."""
    if len(names) < len(stored):
        twice = Counter(stored).most_common(1)[0][0]
        raise BadModel(f"{path}: holds {twice!r} twice, so that it is another file for other readers; save it again")
    programs = [name for name in names if _is_program(name)]
    if len(programs) != 1:
        raise BadModel(f"{path}: holds {len(programs)} programs of torch.export; save one with torch.export.save")
    foreign = [n for n in names if not n.startswith(HARMLESS) or ".." in n.split("/") or OBJECT in n]
    if foreign:
        raise BadModel(f"{path}: holds {foreign[0]!r}, compiled or foreign code that is never run; save it again")


def _inputs(
    path: Path, signature: Mapping[str, Any], stored: Mapping[str, Array]
) -> tuple[list[str], dict[str, Array]]:
    """What the caller gives, by name, and what the file gives, by the names that the nodes use."""
    inputs, state = list[str](), dict[str, Array]()
    for spec in signature["input_specs"]:
        ((kind, found),) = spec.items()
        if kind == "user_input":
            inputs.append(_tensor_name(found["arg"], path, "input"))
        elif kind in ("parameter", "buffer", "tensor_constant"):
            state[found["arg"]["name"]] = stored[found[f"{kind}_name"]]
        else:
            raise BadModel(f"{path}: takes a {kind} besides tensors, which cannot be given; export it without")
    return inputs, state


def _refuse_pickles(path: Path, archive: zipfile.ZipFile, members: Mapping[str, zipfile.ZipInfo]) -> None:
    """Whatever torch would unpickle has to be plain data, and nothing may ask to be unpickled."""
    torch, named = require("torch", extra="torch"), set[str]()
    for name, info in members.items():
        if name.endswith("_config.json"):
            config = json.loads(archive.read(info))["config"]
            asked = [key for key, each in config.items() if each.get("use_pickle")]
            if asked:
                raise BadModel(f"{path}: {asked[0]!r} has to be unpickled, which may run code; nothing is loaded")
            named.update(name.rpartition("/")[0] + "/" + each["path_name"] for each in config.values())
        elif name.endswith(".pt"):
            try:
                torch.load(io.BytesIO(archive.read(info)), weights_only=True, map_location="cpu")
            except Exception as error:  # an unpickler that is fed by a stranger
                raise BadModel(
                    f"{path}: {name} holds more than tensors, and unpickling it may run code; nothing is loaded"
                ) from error
    for name in members.keys() - named:
        with archive.open(members[name]) as stream:
            hidden = stream.read(4).startswith(PICKLES) and not name.endswith(".pt")
        if hidden:
            raise BadModel(f"{path}: {name} is a pickle, and unpickling it may run code; nothing is loaded")


def _refuse_changes(
    path: Path, graph: Mapping[str, Any], signature: Mapping[str, Any], state: Mapping[str, Array]
) -> None:
    """A program that changes its own buffers gives other values with every run; a count that nobody reads may go on."""
    nodes = graph["nodes"]
    read = Counter(name for node in nodes for each in node["inputs"] for name in _names_in(each["arg"]))
    moving = [node for node in nodes if _observes(node, state) or any(read[n] > 1 for n in _writes(node, state))]
    kinds = {kind for spec in signature["output_specs"] for kind in spec}
    if moving or kinds != {"user_output"}:
        raise BadModel(
            f"{path}: changes its own state when it runs, as fake-quant does whose observers are on; call "
            "`model.apply(torchao.quantization.pt2e.disable_observer)` or convert_pt2e before the export"
        )


def _names_in(argument: Mapping[str, Any]) -> list[str]:
    """The tensors that an argument names."""
    values = [one for value in argument.values() for one in (value if isinstance(value, list) else [value])]
    return [str(value["name"]) for value in values if isinstance(value, Mapping) and "name" in value]


def _observes(node: Mapping[str, Any], state: Mapping[str, Array]) -> bool:
    """Whether fake-quant still learns its range: its switch is a buffer, and on."""
    if "moving_avg_obs" not in str(node["target"]):
        return False
    given = {each["name"]: each["arg"].get("as_tensor", {}).get("name") for each in node["inputs"]}
    switch = state.get(given.get("observer_on") or "")
    return switch is None or bool(switch.any())


def _writes(node: Mapping[str, Any], state: Mapping[str, Array]) -> tuple[str, ...]:
    """What a node changes where it stands of what is the program's own, and what it gives: ``add_`` on a buffer."""
    op = str(node["target"]).split(".")[-2:-1]
    first = next(iter(_names_in(node["inputs"][0]["arg"])), "") if node["inputs"] else ""
    if not op or not op[0].endswith("_") or first not in state:
        return ()
    return (first, *(name for each in node["outputs"] for name in _names_in(each)))


def _stored(archive: zipfile.ZipFile, members: Mapping[str, zipfile.ZipInfo], kind: str) -> dict[str, Array]:
    """Tensors by their names in the module: raw bytes, with type, sizes and strides in JSON."""
    found = {}
    for name, info in members.items():
        if name.startswith(f"data/{kind}/") and name.endswith("_config.json"):
            for key, each in json.loads(archive.read(info))["config"].items():
                data = archive.read(members[f"data/{kind}/{each['path_name']}"])
                found[key] = _array(data, each["tensor_meta"])
    return found


def _array(data: bytes, meta: Mapping[str, Any]) -> Array:
    sizes, strides = ([int(n["as_int"]) for n in meta[key]] for key in ("sizes", "strides"))
    if any(n < 0 for n in (*sizes, *strides)) or prod(sizes) > max(len(data), DENSE):
        raise ValueError(f"a tensor of sizes {sizes}")
    if meta["dtype"] == BFLOAT16:
        flat = (np.frombuffer(data, np.uint16).astype(np.uint32) << 16).view(np.float32)
    else:
        flat = np.frombuffer(data, DTYPES[meta["dtype"]])
    flat = flat[int(meta["storage_offset"]["as_int"]) :]
    reach = 1 + sum((n - 1) * step for n, step in zip(sizes, strides, strict=True))
    if prod(sizes) and reach > flat.size:
        raise ValueError(f"a tensor of {reach} values in {flat.size}")
    view = np.lib.stride_tricks.as_strided(flat, sizes, [step * flat.itemsize for step in strides], writeable=False)
    return np.array(view)


def _tensor_name(argument: Mapping[str, Any], path: Path, what: str) -> str:
    if "as_tensor" not in argument:
        raise BadModel(f"{path}: an {what} is no tensor; export it with tensors alone")
    return str(argument["as_tensor"]["name"])


def _slot(name: str, meta: Mapping[str, Any], path: Path) -> Slot:
    dtype = DTYPES.get(meta["dtype"])
    if dtype is None:
        raise BadModel(f"{path}: input {name!r} has a type that cannot be fed; export it with float32")
    sizes = tuple(n.get("as_int") for n in meta["sizes"])
    if any(n is not None and n < 0 for n in sizes) or prod(n for n in sizes if n) > LARGEST:
        raise BadModel(f"{path}: input {name!r} has the sizes {sizes}, more than any memory holds")
    return Slot(name, sizes, dtype)


def _samples(members: Mapping[str, zipfile.ZipInfo], slots: tuple[Slot, ...]) -> int:
    """How many samples the file carries; 0 for an example of its inputs."""
    each = sum(prod(n or 1 for n in slot.shape[1:]) * np.dtype(slot.dtype).itemsize for slot in slots)
    rows = max((slot.shape[0] or 1) for slot in slots)
    stored = sum(info.file_size for name, info in members.items() if name.startswith("data/sample_inputs/"))
    count = (stored - PICKLE) // max(1, each)
    return count if count > max(STORED_SAMPLES, rows) else 0
