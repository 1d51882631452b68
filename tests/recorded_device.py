"""A small int8 network and what a device gave for it, for tests that spoil a dump as devices do."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from written_models import Op, T, write_tflite

from quantdiff import api
from quantdiff.load.npz import MANIFEST
from quantdiff.quant import Array

SAMPLES, SIDE, CHANNELS, UNITS = 6, 6, 8, 10
CONV = {"padding": 0, "strideH": 1, "strideW": 1, "dilationHFactor": 1, "dilationWFactor": 1}


def network() -> bytes:
    """Three convolutions of 6 × 6 × 8, a mean over the image and a layer of 10 units."""
    rng = np.random.default_rng(5)
    tensors, operators = [T("image", (1, SIDE, SIDE, 3), scale=2**-6, zero_point=1)], list[Op]()
    before, channels = "image", 3
    for n, zero_point in enumerate((-9, 4, -20), 1):
        tensors += [
            T(
                f"w{n}",
                (CHANNELS, 3, 3, channels),
                scale=0.004,
                data=rng.integers(-127, 128, (CHANNELS, 3, 3, channels)),
            ),
            T(f"b{n}", (CHANNELS,), "int32", 0.004 * 2**-6, data=rng.integers(-900, 900, CHANNELS)),
            T(f"net/conv{n}:0", (1, SIDE, SIDE, CHANNELS), scale=2**-6, zero_point=zero_point),
        ]
        operators.append(Op("CONV_2D", [before, f"w{n}", f"b{n}"], [f"net/conv{n}:0"], CONV, version=3))
        before, channels = f"net/conv{n}:0", CHANNELS
    flat = SIDE * SIDE * CHANNELS
    tensors += [
        T("flat", (1, flat), scale=2**-6, zero_point=-20),
        T("w", (UNITS, flat), scale=0.002, data=rng.integers(-127, 128, (UNITS, flat))),
        T("b", (UNITS,), "int32", 0.002 * 2**-6, data=rng.integers(-900, 900, UNITS)),
        T("logits", (1, UNITS), scale=2**-5, zero_point=3),
    ]
    operators += [
        Op("RESHAPE", ["net/conv3:0"], ["flat"], {"newShape": [1, flat]}),
        Op("FULLY_CONNECTED", ["flat", "w", "b"], ["logits"], {}, version=4),
    ]
    return write_tflite(tensors, operators, ["image"], ["logits"])


@dataclass(frozen=True)
class Device:
    """The file, data for it, and every tensor that ``reference`` gave, as a dump without any word of who gave it."""

    folder: Path
    model: Path
    data: Path
    dump: Path
    arrays: dict[str, Array]

    def saved(self, name: str, **changed: Any) -> str:
        """The runtime of a dump with other arrays; None leaves one out. By the names of the tensors."""
        held = {key: array for key, array in {**self.arrays, **changed}.items() if array is not None}
        np.savez(self.folder / name, allow_pickle=False, **held)
        return f"recorded:{self.folder / name}"


def recorded_device(folder: Path) -> Device:
    """Record it."""
    model, data, dump = folder / "model.tflite", folder / "x.npy", folder / "dump.npz"
    model.write_bytes(network())
    np.save(data, np.random.default_rng(6).uniform(-2, 2, (SAMPLES, SIDE, SIDE, 3)).astype(np.float32))
    made = api.record(model, data, dump, "reference", every_tensor=True)
    held = np.load(dump)
    names = {each.array: each.name for each in made.tensors}
    return Device(folder, model, data, dump, {names[key]: held[key] for key in held.files if key != MANIFEST})
