"""Functions of ARM64's C library: what it gave, to the last bit."""

from __future__ import annotations

import subprocess
from hashlib import sha256

import numpy as np
import pytest

from quantdiff.quant import Array
from quantdiff.run import emulation
from quantdiff.sim.floats import libm
from quantdiff.sim.runtime import Runtime

GAVE = {"expm1f": "59863c6db43d53e1", "tanhf": "17d0c43915ad98d2", "erfcf": "155e4fde90c20f84"}
"""Digests of what Debian 12's library gave for ``values(20_000)``."""
ENDS = (0, -0.0, 2.0**-60, 0.25, 0.84375, 1.25, 1 / 0.35, 6, 22, 28, 0.5 * np.log(2), 1.5 * np.log(2), 18.715, np.nan)
ASK = """
import ctypes, sys, numpy as np
x = np.frombuffer(sys.stdin.buffer.read(), np.float32)
f = getattr(ctypes.CDLL("libm.so.6"), {name!r})
f.argtypes, f.restype = [ctypes.c_float], ctypes.c_float
sys.stdout.buffer.write(np.array([f(v) for v in x.tolist()], np.float32).tobytes())
"""


def values(count: int, seed: int = 5) -> Array:
    """All pieces of the functions, and where they meet."""
    rng = np.random.default_rng(seed)
    drawn = [rng.uniform(-30, 30, count), rng.normal(0, 1, count), np.exp(rng.uniform(-40, 3.4, count))]
    return np.concatenate([*drawn, -drawn[2], ENDS, np.negative(ENDS)]).astype(np.float32)


def bits(y: Array) -> bytes:
    """Any NaN counts as one and the same."""
    return np.where(np.isnan(y), np.float32(np.nan), y).astype(np.float32).tobytes()


@pytest.mark.parametrize("name", GAVE)
def test_to_the_last_bit(name: str) -> None:
    x = values(20_000)
    given = libm.apply_on(name, x, Runtime.REFERENCE_ARM64)
    assert sha256(bits(given)).hexdigest()[:16] == GAVE[name]


def test_a_machine_of_that_kind_asks_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    x = values(100)
    monkeypatch.setattr(libm, "is_arm64", lambda: True)
    assert bits(libm.apply_on("erfcf", x, Runtime.REFERENCE_ARM64)) == bits(libm.apply("erfcf", x))


@pytest.mark.golden
@pytest.mark.thorough
@pytest.mark.skipif(emulation.root() is None, reason=f"nothing emulates ARM64 here: {emulation.BRINGS}")
@pytest.mark.parametrize("name", GAVE)
def test_the_library_gives_it(name: str) -> None:
    folder, x = emulation.root(), values(20_000)
    assert folder is not None
    code = f"import sys; sys.path.insert(0, {str(folder / emulation.SITE)!r})\n{ASK.format(name=name)}"
    found = subprocess.run([*emulation.python(folder), "-c", code], input=x.tobytes(), capture_output=True, check=True)
    assert sha256(bits(np.frombuffer(found.stdout, np.float32))).hexdigest()[:16] == GAVE[name]
