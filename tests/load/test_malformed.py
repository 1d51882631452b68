"""Every word of a file made huge: a result or a refusal, as of the files in ``tests/fuzz``."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from fuzz.fuzzing import attempt, limits, reading
from load.models_of_all_kinds import MODELS


@pytest.mark.parametrize("name", MODELS)
def test_every_word_enlarged(name: str, tmp_path: Path) -> None:
    whole = MODELS[name]
    assert attempt(reading(".tflite", whole, tmp_path, 0), seconds=60) == "read"
    with limits():
        for at in range(0, len(whole) - 3, 4):
            data = bytearray(whole)
            struct.pack_into("<I", data, at, 0x7FFFFFFF)
            assert attempt(reading(".tflite", data, tmp_path, 0)) in {"read", "refused"}
