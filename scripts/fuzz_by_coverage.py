"""Damage ``.tflite`` files with an eye on which code they reach, by Atheris, which is no dependency.

    uv run --with atheris==3.0.0 python scripts/fuzz_by_coverage.py FOLDER [-max_total_time=600, …]

FOLDER keeps what reached something new, and is where the next run goes on. Every file is read, inspected and linted.
Options are libFuzzer's.
An input that fails ends the run with its traceback, and lies in the current folder as ``crash-…``.
"""

from __future__ import annotations

import sys
from contextlib import suppress
from pathlib import Path
from random import Random

try:
    import atheris
except ImportError:
    sys.exit("Atheris is not installed: uv run --with atheris==3.0.0 python scripts/fuzz_by_coverage.py FOLDER")

sys.path[0] = str(Path(__file__).parents[1] / "tests")  # the models are those of the tests

with atheris.instrument_imports(include=["quantdiff"]):
    from fuzz.attacks import ATTACKS
    from fuzz.fuzzing import models, read_model_bytes

    from quantdiff.errors import QuantdiffError
    from quantdiff.linting.lint import lint_model
    from quantdiff.load.tflite import read_model
    from quantdiff.parameters.inspection import inspect_model

OWN = 0.7  # of the inputs are damaged by the schema, the others byte by byte


def read(data: bytes) -> None:
    """A result or an error of one line; everything else is a find."""
    try:
        read_model_bytes(data)
        model = read_model(memoryview(data))
        inspect_model(model)
        lint_model(model)
    except QuantdiffError as error:
        if len(str(error).splitlines()) != 1:
            raise AssertionError(f"several lines: {error}") from error


def damaged(data: bytes, most: int, seed: int) -> bytes:
    """Another file made of ``data``: by the schema where it can still be taken apart, else byte by byte."""
    rng = Random(seed)
    attack = ATTACKS[rng.choice(list(ATTACKS))]
    if rng.random() < OWN:
        with suppress(Exception):  # the attacks take whole models apart, and few that are damaged
            return attack(data, rng, models())[:most]
    mutated: bytes = atheris.Mutate(data, most)
    return mutated


def main() -> None:
    """Begin with the models of the tests."""
    folder = Path(next((a for a in sys.argv[1:] if not a.startswith("-")), ""))
    if not folder.name:
        sys.exit(__doc__)
    folder.mkdir(parents=True, exist_ok=True)
    for number, data in enumerate(models()):
        (folder / f"model-{number}").write_bytes(data)
    atheris.Setup([*sys.argv, "-max_len=8192", "-timeout=10", "-rss_limit_mb=2500"], read, custom_mutator=damaged)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
