"""Damage files of every kind that is read in this process, and count what became of them.

    uv run python scripts/fuzz.py --seconds 600 --seed 1 [--kind .onnx | --kind children] [--count]

``--kind .h5``, ``.keras``, ``.onnx`` or ``.pt2``: trained models, as their child reads them; ``--kind children``:
models of all kinds through ``verify``, ``diff`` and ``lint``, in children; ``--kind agreement``: ``--most``
``.tflite`` files held against LiteRT's verifier and schema. Without it: all that is read in this process.
Prints each failure by the number that makes its file again (``--save SEED/NUMBER FILE``); status 1 if there is one.
``--count`` adds the run to ``tests/fuzz/counts.csv``, and writes the tables of all runs into ``docs/security.md``.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).parents[1] / "tests")  # the models are those of the tests

from fuzz.agreement import run_beside  # noqa: E402
from fuzz.counting import TRAINED, append, commit  # noqa: E402
from fuzz.fuzzing import KINDS, make, run  # noqa: E402


def main() -> int:
    """Run, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", action="store_true")
    parser.add_argument("--save", nargs=2, metavar=("SEED/NUMBER", "FILE"))
    parser.add_argument("--kind", choices=[*TRAINED, "children", "agreement"])
    parser.add_argument("--most", type=int)
    asked = parser.parse_args()
    if asked.kind in (*TRAINED, "children"):
        from fuzz import trained  # wants frameworks
    if asked.save:
        seed, number = map(int, asked.save[0].split("/"))
        kinds = {asked.kind: trained.TRAINED[asked.kind]} if asked.kind in TRAINED else KINDS
        made = trained.question(seed, number)[2] if asked.kind == "children" else make(seed, number, kinds)[2]
        Path(asked.save[1]).write_bytes(made)
        return 0
    tried = commit()
    if asked.kind == "children":
        counts = trained.run_children(asked.seconds, asked.seed, asked.most)
    elif asked.kind == "agreement":
        counts = run_beside(asked.most or 10_000, asked.seed)
    elif asked.kind:
        counts = trained.run_apart(asked.seconds, asked.seed, asked.kind, asked.most)
    else:
        counts = run(asked.seconds, asked.seed, asked.most)
    print(
        f"{counts.tried.total():,} files, {counts.whole.total():,} through all that reads them",
        *counts.failures,
        sep="\n",
    )
    if asked.count:
        append(counts, tried, asked.seed)
    return int(bool(counts.failures))


if __name__ == "__main__":
    sys.exit(main())
