"""Damaged files of every kind that is read in this process: a result or a ``QuantdiffError`` in 2 s and 500 MB.

An input is its kind, its seed and its number: ``make`` gives it again. Every tenth ``.tflite`` is read from a file as
``inspect`` and ``lint`` read it; the others are read as ``load_tflite`` reads its mapped file, in memory, which is six
times as many in the same time.
"""

from __future__ import annotations

import gc
import io
import resource
import signal
import sqlite3
import struct
import time
import warnings
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from functools import cache
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

import cheap_trials
import float_pairs
import numpy as np
import small_models
from fuzz import attacks
from fuzz.counting import Counts
from fuzz.others import BYTES, OTHERS, Kind
from linting.models_with_findings import FIRES, SILENT
from load.models_of_all_kinds import MODELS
from rich.console import Console

from quantdiff.api.experiments import report_study
from quantdiff.errors import BadModel, QuantdiffError
from quantdiff.experiment.store import Stored, open_store
from quantdiff.experiment.study import make_study, read_study
from quantdiff.linting.lint import lint_model
from quantdiff.load.data import load_batch
from quantdiff.load.flatbuffer import Damaged
from quantdiff.load.tflite import load_tflite, read_model
from quantdiff.parameters.inspection import inspect_model
from quantdiff.report.json.files import inspection_json, lint_json
from quantdiff.report.json.text import json_text
from quantdiff.report.text.files import inspection_text, lint_text

SEED_BYTES = 4096  # at most, of a .tflite
SECONDS_AT_MOST, MEGABYTES_AT_MOST = 2.0, 500


class TooSlow(BaseException):
    """Past the time allowed; nothing that is read may catch it."""


@cache
def models() -> tuple[bytes, ...]:
    """Small whole models that the suite writes."""
    small = small_models
    written = [
        make() for make in (small.float_dense, small.two_dense, small.add, small.split, small.hangs, small.custom)
    ]
    written += [make() for make in (small.fixed_reshape, small.mixes_samples, small.no_sample_axis, small.open_size)]
    written += [small.dense(dtype) for dtype in ("int8", "uint8", "int16")]
    written += [data for group in (*FIRES.values(), *SILENT.values()) for data in group.values()]
    for net in (float_pairs.dense(), float_pairs.residual(), float_pairs.two_inputs()):
        written += [float_pairs.float_model(net), float_pairs.int8_model(net, float_pairs.ranges(net))]
    return tuple(dict.fromkeys(data for data in (*MODELS.values(), *written) if len(data) <= SEED_BYTES))


def read_model_file(path: Path, *, text: bool = True) -> None:
    """``inspect`` and ``lint``, as JSON and as text."""
    model = load_tflite(path)
    inspection, report = inspect_model(model), lint_model(model)
    json_text(inspection_json(inspection))
    json_text(lint_json(report))
    if text:
        inspection_text(inspection)
        Console(file=io.StringIO(), width=120).print(lint_text(report))


def read_model_bytes(data: bytes) -> None:
    """What ``load_tflite`` does with the bytes of a file."""
    try:
        read_model(memoryview(data))
    except (Damaged, struct.error) as error:
        raise BadModel(str(error)) from error


@cache
def arrays() -> tuple[bytes, ...]:
    """Data sets, compressed and not, and an array alone."""
    samples: dict[str, Any] = {"x": np.arange(48, dtype=np.float32).reshape(4, 3, 4), "y": np.arange(4)}
    files = [io.BytesIO() for _ in range(3)]
    np.savez(files[0], allow_pickle=True, **samples)
    np.savez_compressed(files[1], allow_pickle=True, **samples)
    np.save(files[2], np.asfortranarray(samples["x"]))
    return tuple(file.getvalue() for file in files)


def header(data: bytes, rng: Random, _: tuple[bytes, ...]) -> bytes:
    """Another shape, type or order in the header of an array; the checksums of the zip fit again."""
    if not data.startswith(b"PK"):
        return _other_header(data, rng)
    file = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(file, "w") as new:
        for info in old.infolist():
            new.writestr(info.filename, _other_header(old.read(info), rng), info.compress_type)
    return file.getvalue()


def _other_header(array: bytes, rng: Random) -> bytes:
    old = rng.choice((b"(4, 3, 4)", b"(4,)", b"<f4", b"<i8", b"False", b"True", b"{", b"'shape'"))
    evil = (
        b"(-1, 3)",
        b"(99999999999, 9999999)",
        b"()",
        b"(0,)",
        b"'|O'",
        b"<M8",
        b"V0",
        b"|S4",
        b"((((",
        b"2**99",
        b"1.5",
    )
    size = int.from_bytes(array[8:10], "little")
    text = array[10 : 10 + size].replace(old, rng.choice(evil), 1).rstrip()
    return array[:10] + text.ljust(size - 1) + b"\n" + array[10 + size :]


@cache
def stores() -> tuple[bytes, ...]:
    """The store of a sweep with eight trials."""
    with TemporaryDirectory() as folder:
        path = Path(folder, "study.db")
        with open_store(path, create=True) as store:
            for trial in (each for group in cheap_trials.groups(4) for each in group):
                store.add(Stored(trial, cheap_trials.result(trial)))
        return (path.read_bytes(),)


def cells(data: bytes, rng: Random, _: tuple[bytes, ...]) -> bytes:
    """Other values in a column of a whole database."""
    with closing(sqlite3.connect(":memory:")) as base:
        base.deserialize(data[:18] + b"\1\1" + data[20:])  # without a log of its own, which memory has no room for
        table = rng.choice(("trials", "scores", "comparisons", "ranges", "failures"))
        column = rng.choice([row[1] for row in base.execute(f"PRAGMA table_info({table})")])
        values: tuple[Any, ...] = (
            None,
            "",
            "x",
            b"\xff",
            -1,
            2**63 - 1,
            float("inf"),
            1e308,
            "[" * 9999,
            "{}",
            "[1]",
            "null",
        )
        with base:
            base.execute(
                f"UPDATE OR IGNORE {table} SET {column} = ? WHERE unicode(substr(key, ?)) % 2",
                (rng.choice(values), rng.randint(1, 64)),
            )
        return base.serialize()


STUDY = b"""models = ["CNN", "dense2"]
seeds = "0-3,7"
conditions = ["float", "qat"]
calibration = "train,test"
data = "mnist-small"
runtimes = ["xnnpack"]
epochs = 2
bias = true
tolerance = 0.01
store = "study.db"
"""
WORDS = (
    b'-1 0 3 "3" 0.5 1e999 nan inf "" "0-9999999999" "9-0" [] {} {a=1} [1,"x",[2]] true 0x7fffffffffffffff "\\u0000"'
)


def toml_words(data: bytes, rng: Random, _: tuple[bytes, ...]) -> bytes:
    """Another value behind a key, a key twice, or deep brackets."""
    lines = data.splitlines(keepends=True)
    at = rng.randrange(len(lines))
    key = lines[at].partition(b"=")[0]
    lines[at] = key + b"= " + rng.choice((*WORDS.split(), b"[" * 5000, b"9" * 5000, b"a." * 3000)) + b"\n"
    return b"".join(rng.choice((lines, lines, lines, [*lines, lines[at]])))


KINDS = {
    ".tflite": Kind(models, attacks.ATTACKS, read_model_file),
    ".npz": Kind(arrays, {**BYTES, "headers of arrays": header}, load_batch),
    ".db": Kind(stores, {**BYTES, "cells of tables": cells}, report_study),
    ".toml": Kind(lambda: (STUDY,), {**BYTES, "words": toml_words}, lambda path: make_study(read_study(path)).groups()),
    **OTHERS,
}
SHARES = {".tflite": 300, ".npz": 2, ".toml": 2}
WHOLE, SHOWN = 10, 100  # every so many a .tflite goes through inspect and lint, and is printed
RARE = {"records dropped, doubled, mixed": 0.2}  # it takes ten times as long as the others


def make(seed: int, count: int, kinds: Mapping[str, Kind] = KINDS) -> tuple[str, str, bytes]:
    """Input number ``count`` of ``seed``: its kind, the attack, and the file."""
    rng = Random(seed << 64 | count)
    (suffix,) = rng.choices(list(kinds), [SHARES.get(suffix, 1) for suffix in kinds])
    kind = kinds[suffix]
    (name,) = rng.choices(list(kind.attacks), [RARE.get(attack, 1) for attack in kind.attacks])
    whole = min(rng.choices(kind.seeds(), k=2), key=len)  # small ones are read sooner, so more of them
    return suffix, name, kind.attacks[name](whole, rng, kind.seeds())


def reading(
    suffix: str, data: bytes | bytearray, folder: Path, number: int, kinds: Mapping[str, Kind] = KINDS
) -> Callable[[], object]:
    """What is to be done with input ``number``."""
    if suffix == ".tflite" and number % WHOLE:
        return lambda: read_model_bytes(bytes(data))
    path = folder / f"file{suffix}"
    for old in folder.iterdir():  # SQLite's logs too
        old.unlink()
    path.write_bytes(data)
    if suffix == ".tflite":
        return lambda: read_model_file(path, text=number % SHOWN == 0)
    return lambda: kinds[suffix].read(path)


def attempt(read: Callable[[], object], seconds: float = SECONDS_AT_MOST) -> str:
    """``read``, ``refused``, or what went wrong."""
    gc.disable()  # an exception that a signal raises inside a collector's callback is lost
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        read()
    except QuantdiffError as error:
        return "refused" if len(str(error).splitlines()) == 1 else f"several lines: {error}"
    except (Exception, TooSlow) as error:
        return f"{type(error).__name__}: {error}"
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        gc.enable()
    return "read"


@contextmanager
def limits() -> Iterator[None]:
    """``TooSlow`` after so much processor time; memory for no more than so much beyond what is used."""

    def stop(*_: object) -> None:
        raise TooSlow("more processor time than allowed")

    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    before, handler = resource.getrlimit(resource.RLIMIT_AS), signal.signal(signal.SIGPROF, stop)
    limit = pages * resource.getpagesize() + MEGABYTES_AT_MOST * 2**20
    resource.setrlimit(resource.RLIMIT_AS, (limit, before[1]))
    gc.freeze()  # what other tests left is not searched again between the files
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)
        signal.signal(signal.SIGPROF, handler)
        gc.unfreeze()


def run(seconds: float, seed: int, most: int | None = None, kinds: Mapping[str, Kind] = KINDS) -> Counts:
    """Try inputs 0, 1, 2, … of ``seed`` for so long, ``most`` of them at most."""
    with TemporaryDirectory() as folder:
        for suffix, kind in kinds.items():  # compiled loops are there, and memory is taken, before anything is measured
            outcomes = [attempt(reading(suffix, data, Path(folder), 0, kinds), 60) for data in kind.seeds()]
            assert outcomes[0] == "read"
            assert {*outcomes} <= {"read", "refused"}
    counts, end, number = Counts(), time.monotonic() + seconds, 0
    with TemporaryDirectory() as folder, limits():
        while time.monotonic() < end and number != most:
            suffix, name, data = make(seed, number, kinds)
            read = reading(suffix, data, Path(folder), number, kinds)
            outcome = attempt(read)
            if outcome not in ("read", "refused") and attempt(read, 60):  # with the loops that it is first to compile
                outcome = attempt(read)
            counts.tried[suffix, name] += 1
            counts.refused[suffix, name] += outcome == "refused"
            counts.whole[suffix, name] += suffix != ".tflite" or not number % WHOLE
            if outcome not in ("read", "refused"):
                counts.failed[suffix, name] += 1
                counts.failures.append(f"{seed}/{number} {suffix}, {name}: {outcome}")
            number += 1
    return counts
