"""Files that are damaged on purpose: a result or a ``BadModel``, never anything else."""

from __future__ import annotations

import random
import resource
import struct
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from load.models_of_all_kinds import MODELS

from quantdiff.errors import BadModel
from quantdiff.load.tflite import load_tflite
from quantdiff.parameters.inspection import inspect_model
from quantdiff.report.json.inspection import inspection_json
from quantdiff.report.plain import json_text
from quantdiff.report.text.inspection import inspection_text

MUTATIONS = 20_000
SECONDS_AT_MOST = 2.0
MEGABYTES_AT_MOST = 500
EVIL = (0, 1, 2, 4, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFF0, 0xFFFFFFFC, 0xFFFFFFFF)


def flip_bits(data: bytearray, rng: random.Random) -> bytearray:
    for _ in range(rng.randint(1, 8)):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return data


def truncate(data: bytearray, rng: random.Random) -> bytearray:
    return data[: rng.randrange(len(data))]


def enlarge(data: bytearray, rng: random.Random) -> bytearray:
    """A huge number where a length, an index or an offset may stand."""
    struct.pack_into("<I", data, 4 * rng.randrange(len(data) // 4), rng.choice(EVIL))
    return data


def redirect(data: bytearray, rng: random.Random) -> bytearray:
    """An offset to anywhere, itself included; as a vtable's it may point back."""
    at = 4 * rng.randrange(len(data) // 4)
    struct.pack_into("<i", data, at, rng.randrange(-at, len(data) - at))
    return data


def shuffle(data: bytearray, rng: random.Random) -> bytearray:
    """One part of the file over another."""
    start, size, target = rng.randrange(len(data)), rng.randint(1, 64), rng.randrange(len(data))
    part = data[start : start + size]
    data[target : target + len(part)] = part
    return data


DAMAGES = (flip_bits, truncate, enlarge, redirect, shuffle)


def mutant(seed: int) -> bytes:
    rng = random.Random(seed)
    data = bytearray(rng.choice(list(MODELS.values())))
    for _ in range(rng.choice((1, 1, 1, 2, 5))):
        data = rng.choice(DAMAGES)(data, rng) if len(data) > 64 else data
    return bytes(data)


def outcome(path: Path) -> str:
    """``read`` or ``refused``; whatever else is raised goes through."""
    try:
        inspection = inspect_model(load_tflite(path))
    except BadModel as error:
        one_line = "\n" not in str(error) and str(error).startswith(str(path))
        return "refused" if one_line else str(error)
    assert json_text(inspection_json(inspection)).isascii()
    assert inspection_text(inspection).startswith(str(path))
    for graph in inspection.model.subgraphs:
        for tensor in graph.tensors:
            if tensor.data is not None:
                tensor.data.tobytes()
    return "read"


@pytest.fixture(autouse=True)
def _limited_memory() -> Iterator[None]:
    """From here on the process may grow by 500 MB: what asks for more gets a MemoryError."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    before = resource.getrlimit(resource.RLIMIT_AS)
    limit = pages * resource.getpagesize() + MEGABYTES_AT_MOST * 2**20
    resource.setrlimit(resource.RLIMIT_AS, (limit, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


@pytest.mark.parametrize("share", range(20))
def test_mutations(share: int, tmp_path: Path) -> None:
    outcomes, slowest = [], 0.0
    for seed in range(share, MUTATIONS, 20):
        path = tmp_path / f"{seed}.tflite"
        path.write_bytes(mutant(seed))
        start = time.perf_counter()
        outcomes.append(outcome(path))
        slowest = max(slowest, time.perf_counter() - start)
        path.unlink()
    assert slowest < SECONDS_AT_MOST
    assert set(outcomes) == {"read", "refused"}
    assert outcomes.count("read") > len(outcomes) // 10  # most damage hits padding or data, not the tables


@pytest.mark.parametrize("name", MODELS)
def test_every_word_enlarged(name: str, tmp_path: Path) -> None:
    path = tmp_path / "model.tflite"
    for at in range(0, len(MODELS[name]) - 3, 4):
        data = bytearray(MODELS[name])
        struct.pack_into("<I", data, at, 0x7FFFFFFF)
        path.write_bytes(data)
        assert outcome(path) in {"read", "refused"}
