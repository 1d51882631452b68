"""Other files of strangers that are read here: dumps of devices, profiles, results, tables, sounds, containers."""

from __future__ import annotations

import io
import json
import wave
from collections.abc import Callable, Sequence
from copy import deepcopy
from functools import cache
from hashlib import sha256
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import numpy as np
import soundfile
from fuzz.attacks import ATTACKS, Attack
from load.test_parts import TWO, litertlm
from recorded_device import network

from quantdiff.api.experiments import what_moved
from quantdiff.errors import QuantdiffError
from quantdiff.load.data import Slot
from quantdiff.load.dumps.binding import bind_dump
from quantdiff.load.dumps.forms import Manifest, RecordedTensor, read_dump
from quantdiff.load.npz import MANIFEST
from quantdiff.load.sources.folders import from_recordings
from quantdiff.load.sources.tables import from_csv
from quantdiff.load.tflite import container_sections, load_tflite, read_model
from quantdiff.report.html.study import movement_page
from quantdiff.report.json.study import movement_document
from quantdiff.report.json.text import json_text
from quantdiff.report.text.study import print_movement
from quantdiff.report.text.terminal import Terminal
from quantdiff.run.profiled import read_profile

BYTES: dict[str, Attack] = {name: ATTACKS[name] for name in list(ATTACKS)[:4]}


class Kind(NamedTuple):
    """A kind of file: whole ones, how they are attacked, and what reads them."""

    seeds: Callable[[], tuple[bytes, ...]]
    attacks: dict[str, Attack]
    read: Callable[[Path], object]


def lines(*values: bytes) -> Attack:
    """Another value behind a key, a line twice, or one that is missing."""

    def changed(data: bytes, rng: Random, _: tuple[bytes, ...]) -> bytes:
        there = data.splitlines(keepends=True)
        at = rng.randrange(len(there))
        mark = rng.choice((b"=", b":", b","))
        key, found, _rest = there[at].partition(mark)
        there[at] = key + (found or b"= ") + b" " + rng.choice(values) + b"\n"
        return b"".join(rng.choice((there, there, there, [*there, there[at]], there[:at] + there[at + 1 :])))

    return changed


EVIL: tuple[Any, ...] = (
    None, True, 0, -1, 1e308, 10**400, float("nan"), float("inf"), "", "x", "\x1b[31m", "[/x]", "a" * 9999, [], {},
    [[]], [None], [{"reference": 1, "candidate": []}], {"x": {"y": [{"z": 1}]}}, [0] * 50,
)  # fmt: skip


def values(data: bytes, rng: Random, others: tuple[bytes, ...]) -> bytes:
    """JSON in which values are evil, gone, or stand elsewhere."""
    del others
    return json.dumps(changed_values(json.loads(data), rng, EVIL)).encode()


def changed_values(document: Any, rng: Random, evil: Sequence[Any]) -> Any:
    """The same with values that are evil, gone, or stand elsewhere."""
    for _ in range(rng.choice((1, 1, 2, 4))):
        places = list(_places(document))
        if not places:
            break
        holder, key = rng.choice(places)
        if rng.random() < 0.3:
            other, place = rng.choice(places)
            holder[key] = json.loads(json.dumps(other[place]))
        elif rng.random() < 0.2 and isinstance(holder, dict):
            holder[rng.choice(list(holder))] = deepcopy(rng.choice(evil))
            holder.pop(key, None)
        else:
            holder[key] = deepcopy(rng.choice(evil))
    return document


def _places(value: Any) -> list[tuple[Any, Any]]:
    if not isinstance(value, dict | list):
        return []
    keys: Sequence[Any] = list(value) if isinstance(value, dict) else range(len(value))
    return [place for key in keys for place in ((value, key), *_places(value[key]))]


@cache
def results() -> tuple[bytes, ...]:
    """What ``--json`` prints, in small."""
    figures = {"count": 100, "tolerance": 0.01, "passed": False, "max_abs_error": 0.5, "sqnr_db": "inf", "differing": 3}
    pair = {"reference": "float", "candidate": "tflite:xnnpack", **figures}
    layer = {"reference": "a/dense", "candidate": "dense", "op": "FULLY_CONNECTED", "count": 9, "max_steps": 2}
    head = {"schema": "quantdiff/1", "versions": {"numpy": "2.4.6", "python": "3.11"}}
    documents = (
        {**head, "command": "diff", "accuracy": {"float": 0.9}, "comparisons": [pair, pair], "layers": [layer]},
        {
            **head,
            "command": "verify",
            "runtimes": {"tflm": {"status": "exact", "count": 3, "operators": [{"op": "ADD"}]}},
        },
    )
    return tuple(json.dumps(each).encode() for each in documents)


def read_result(path: Path) -> None:
    """``report BEFORE AFTER``, in all forms, whichever of the two is damaged."""
    for number, whole in enumerate(results()):
        other = path.with_name(f"whole{number}.json")
        other.write_bytes(whole)
        try:
            found = what_moved(other, path)
        except QuantdiffError:
            if number:
                raise
            continue
        print_movement(found, Terminal(file=io.StringIO(), width=100))
        json_text(movement_document(found))
        movement_page(found)
        return


@cache
def device() -> tuple[Any, dict[str, Any]]:
    """A model, and every tensor of two samples."""
    model = read_model(memoryview(network()))
    rng = np.random.default_rng(1)
    tensors = [each for each in model.main.tensors if not each.is_constant]
    return model, {each.name: rng.integers(-128, 128, (2, *each.shape)).astype(each.dtype) for each in tensors}


@cache
def dumps() -> tuple[bytes, ...]:
    """With and without a manifest."""
    model, arrays = device()
    tensors = tuple(RecordedTensor(t.index, t.name, f"t{t.index}") for t in model.main.tensors if t.name in arrays)
    said = Manifest("m.tflite", sha256(network()).hexdigest(), "tflm", "x86_64", 2, {"tflm": "1"}, tensors)
    plain, ours = io.BytesIO(), io.BytesIO()
    np.savez(plain, allow_pickle=True, **arrays)
    held = {each.array: arrays[each.name] for each in tensors}
    np.savez(ours, allow_pickle=True, **{MANIFEST: said.packed(), **held})
    return plain.getvalue(), ours.getvalue()


def members(data: bytes, rng: Random, others: tuple[bytes, ...]) -> bytes:
    """Arrays of other shapes, types and names, and another manifest."""
    held = dict(np.load(io.BytesIO(data)))
    name = rng.choice(list(held))
    array = held[name]
    if name == MANIFEST or (MANIFEST in held and rng.random() < 0.4):
        text = values(held[MANIFEST].tobytes(), rng, others)
        held[MANIFEST] = np.frombuffer(text, np.uint8)
    else:
        typed = array.astype(rng.choice(("f4", "f2", "u1", "i8", "?", "c8")))
        cut = array[:1], array[:0], array[..., :0], array.reshape(-1), array[..., None], array.T, np.array(3)
        evil = (*cut, typed, np.full(array.shape, np.nan), np.full(array.shape, 1e300), array + 0.5)
        held[name] = rng.choice(evil)
    if rng.random() < 0.2:
        held[rng.choice(("0", "t1", "output", "x" * 3000, "[/x]", "net/conv1:0"))] = held.pop(name)
    file = io.BytesIO()
    np.savez(file, allow_pickle=True, **held)
    return file.getvalue()


def read_recorded(path: Path) -> None:
    """As ``--runtime recorded:FILE`` reads it."""
    bind_dump(read_dump(path), device()[0])


PRINTED = b"""boot v1.2
static const int8_t output[10] = {
 1, -2, 3, 4, 5,
 6, 7, 8, 9, 10 };
took 3 ms
output: [1, 2, 3, 4, 5, 6, 7, 8, 9, 0x7f]
"""
PROFILE = b"""schema = "quantdiff-profile/1"
[rules]
"CONV_2D" = "S"
"FULLY_CONNECTED" = "int32 floor"

[[exceptions]]
operator = 2
tensor = "net/conv3:0"
rule = "int16 half-up"
"""
TABLE = b"a,b,c,d,label\n1,2,3,4,0\n5,6.5,-7e-3,8,1\n0,0,0,0,1\n"
NUMBERS = b'-1 0 inf -inf nan 1e999 1_0 0x10 -0x7F 1,2,3 "" x "x" [1,{}] 9223372036854775808 2.5f \xd9\xa3 \0'.split(
    b" "
)


@cache
def sounds() -> tuple[bytes, ...]:
    """WAV files of 8, 16 and 32 bits, one and two channels; FLAC and AIFF, which are known by their content."""
    made = []
    for width, channels in ((1, 1), (2, 2), (4, 1)):
        file = io.BytesIO()
        with wave.open(file, "wb") as written:
            written.setparams((channels, width, 8000, 0, "NONE", ""))
            written.writeframes(bytes(range(width * channels * 8)))
        made.append(file.getvalue())
    samples = np.arange(-40, 40, dtype=np.int16).reshape(-1, 2) * 300
    for form in ("FLAC", "AIFF"):
        file = io.BytesIO()
        soundfile.write(file, samples, 8000, format=form)
        made.append(file.getvalue())
    return tuple(made)


def read_container(path: Path) -> None:
    """As ``inspect`` lists it, and its model."""
    container_sections(path)
    load_tflite(path)


def container() -> tuple[bytes, ...]:
    """A model and words."""
    return (litertlm([("SP_Tokenizer", b"words", {}), ("TFLiteModel", TWO, {"model_type": "tf_lite_embedder"})]),)


def header_words(data: bytes, rng: Random, others: tuple[bytes, ...]) -> bytes:
    """Damage at the beginning, where its sections are listed."""
    return ATTACKS[rng.choice(("a word replaced", "bits flipped"))](data[:512], rng, others) + data[512:]


def read_table(path: Path) -> None:
    """As ``--data FILE.csv`` reads it."""
    from_csv(path, SLOTS)


SLOTS = (Slot("x", (None, 2, 2), "float32"),)
OTHERS = {
    "-dump.npz": Kind(dumps, {**BYTES, "arrays and manifest": members}, read_recorded),
    "-dump.txt": Kind(lambda: (PRINTED,), {**BYTES, "words": lines(*NUMBERS, b"1 " * 5000)}, read_recorded),
    "-profile.toml": Kind(lambda: (PROFILE,), {**BYTES, "words": lines(*NUMBERS, b"[" * 5000, b'"S"')}, read_profile),
    ".json": Kind(results, {**BYTES, "values": values}, read_result),
    ".csv": Kind(lambda: (TABLE,), {**BYTES, "words": lines(*NUMBERS, b"9" * 200_000)}, read_table),
    ".wav": Kind(sounds, BYTES, lambda path: from_recordings(path.parent)),
    ".litertlm": Kind(container, {**BYTES, "the list of sections": header_words}, read_container),
}  # fmt: skip
