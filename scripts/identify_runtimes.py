"""Identify every runtime as if nobody knew it, on x86-64 and on ARM64, and see that the rule it obeys is named.

    uv run python scripts/identify_runtimes.py MODEL.tflite … [--runtime xnnpack@arm64 …]

Each runtime runs seeded samples, then the probe that is made of what they left undecided. A line for each model and
runtime: kinds of operators, those of which one rule is left, and those whose own rule is not among those that fit, of
which there must be none. ARM64 takes what ``quantdiff runtimes --fetch arm64`` brings.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from quantdiff.errors import QuantdiffError
from quantdiff.graph import Graph
from quantdiff.identifying.identification import Group, Identification
from quantdiff.identifying.probe import load_and_identify, load_and_probe
from quantdiff.load.tflite import load_tflite
from quantdiff.sim.graph.operators import kernel_of
from quantdiff.sim.node import node_of
from quantdiff.sim.runtime import Runtime


def main() -> int:
    """A line for each model and runtime; 1 where a rule is not named."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", type=Path, nargs="+")
    parser.add_argument("--runtime", action="append", choices=[each.value for each in Runtime])
    asked = parser.parse_args()
    unnamed = 0
    for path in asked.models:
        for name in asked.runtime or [each.value for each in Runtime]:
            unnamed += identified(path, Runtime(name))
    return 1 if unnamed else 0


def identified(path: Path, runtime: Runtime) -> int:
    """Kinds of operators whose own rule is not among those that were named."""
    start = time.monotonic()
    try:
        found = load_and_identify(path, runtime.value)
        first, seconds = found, time.monotonic() - start
        if any(group.status == "undecided" for group in found.groups):
            found = load_and_identify(path, runtime.value, load_and_probe(path, found).batch)
    except QuantdiffError as error:
        print(f"{path.name} {runtime.value}: {error}", flush=True)
        return 0
    graph = load_tflite(path).main
    lost = [group.kind for each in (first, found) for group in each.groups if not named(graph, group, runtime)]
    print(
        f"{path.name} {runtime.value}: {len(found.groups)} kinds, {decided(first)} of one rule, with a probe "
        f"{decided(found)}; not named: {', '.join(lost) or 'none'}; {seconds:.0f} s without the probe",
        flush=True,
    )
    return len(lost)


def named(graph: Graph, group: Group, runtime: Runtime) -> bool:
    """Whether the kernels that the runtime has for these operators are among the rules that fit."""
    own = {kernel_of(node_of(graph, graph.operators[index]), runtime).value for index in group.operators}
    return own <= {rule for each in group.rules for rule in each}


def decided(found: Identification) -> int:
    """Kinds of which one rule is left, or rules that are proven to be one."""
    return sum(group.status == "identified" for group in found.groups)


if __name__ == "__main__":
    sys.exit(main())
