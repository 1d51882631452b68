"""Write docs/reference/releases.md: what two releases of LiteRT compute differently, by operator and runtime.

    uv venv old && uv pip install -p old/bin/python ai-edge-litert==2.1.2 numpy
    uv run --group dev python scripts/compare_releases.py old/bin/python

Models are those that the tests in ``tests/sim/ops`` draw, scales on which rules part among them. Each release runs them
in a child of its own Python, which knows nothing of this project: ``--run FOLDER RUNTIME`` below.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs/reference/releases.md"
RUNTIMES = ("xnnpack", "builtin", "reference")
MODULES = (
    "16_bits by_channel curves elementwise few float_layers hybrid hybrid_4_bit indices int4 movement numbers"
    " second_row spatial uint8"
)
TABLES = ("MAKERS", "WIDENED", "EVERYWHERE", "LITERT_ONLY", "XNNPACK", "NOT_IN_XNNPACK", "ARITHMETIC", "CASES")
UNREADABLE = ("DENSIFY",)
"""What XNNPACK unpacks where nobody can read it."""
MODELS = 40
"""Of each kind, side by side in one file."""
HEAD = """# What changed between releases

The same models on LiteRT {old} and {new}, {models} of each kind (one where subgraphs are called), on x86-64: elements
whose bits differ. Rules of the simulator are those of {new}; on another release `verify` says so. The page comes from

<!-- not run: needs an environment with the other release -->

```sh
uv run python scripts/compare_releases.py PYTHON-WITH-THE-OTHER-RELEASE
```

{summary}

| kind | {runtimes} |
| --- | {rule} |
"""


def main() -> None:
    """Run all kinds on both releases, and write the page."""
    if sys.argv[1] == "--run":
        run_all(Path(sys.argv[2]), sys.argv[3])
        return
    with tempfile.TemporaryDirectory() as folder:
        kinds = write_models(Path(folder))
        pythons = (sys.argv[1], sys.executable)
        old, new = (version(python) for python in pythons)
        found = {r: compared(Path(folder), r, pythons, len(kinds)) for r in RUNTIMES}
    rows = {kind: [found[runtime][i] for runtime in RUNTIMES] for i, kind in enumerate(kinds)}
    changed = {kind: cells for kind, cells in rows.items() if any(cell[0] != "=" for cell in cells)}
    same = sorted(kind for kind in rows if kind not in changed)
    summary = (
        f"{len(changed)} of {len(rows)} kinds give something else, or run on one release alone; all others are equal."
    )
    text = HEAD.format(
        old=old, new=new, models=MODELS, summary=summary, runtimes=" | ".join(RUNTIMES), rule=" | ".join(["---:"] * 3)
    )
    text += "".join(f"| {kind} | {' | '.join(cells)} |\n" for kind, cells in sorted(changed.items()))
    PAGE.write_text(f"{text}\nEqual on all three: {'; '.join(same)}.\n", encoding="utf-8")


def version(python: str) -> str:
    """The release that this Python has."""
    code = "import importlib.metadata as m; print(m.version('ai-edge-litert'))"
    return subprocess.run([python, "-c", code], check=True, capture_output=True, text=True).stdout.strip()


def kinds_of_tests() -> Iterator[tuple[str, Any]]:
    """Every kind of operator that the tests draw, by the name of its row in docs/numerics.md."""
    for folder in ("tests", "tests/sim/ops", "tests/sim"):
        sys.path.insert(0, str(ROOT / folder))
    from weighted_ops import dense, image

    lstm, where = import_module("test_lstm"), import_module("test_where")
    yield "WHERE", where.places
    yield "SPARSE_TO_DENSE", where.spread
    yield "CONV_2D", lambda dice: image(dice, False)
    yield "DEPTHWISE_CONV_2D", lambda dice: image(dice, True)
    yield "FULLY_CONNECTED", lambda dice: dense(dice, dice.chance())
    yield "UNIDIRECTIONAL_SEQUENCE_LSTM", lstm.lstm
    yield "UNIDIRECTIONAL_SEQUENCE_LSTM float32", lstm.floats
    yield "UNIDIRECTIONAL_SEQUENCE_LSTM hybrid", lstm.hybrid
    yield "LSTM", lstm.one_step
    yield "SVDF", import_module("test_svdf").svdf
    yield "RFFT2D", transform
    layers, blocks = import_module("test_float_layers"), import_module("test_hybrid_4_bit").blocks
    yield "TRANSPOSE_CONV hybrid", layers.spread_hybrid
    yield "TRANSPOSE_CONV hybrid, delegated", lambda dice: layers.delegated(dice, layers.spread_hybrid)
    for bits in ("int8", "int4", "int2"):
        yield f"FULLY_CONNECTED hybrid, {bits[3:]} bits, blocks", lambda dice, bits=bits: blocks(dice, bits)
    for kind, maker, _ in import_module("floats.test_products").CASES:
        yield kind, maker
    for name in MODULES.split():
        module = import_module(f"test_{name}")
        for table in TABLES:
            found = getattr(module, table, {})
            for kind, maker in found.items() if isinstance(found, dict) else ():
                yield kind, maker[0] if isinstance(maker, tuple) else maker


def transform(dice: Any) -> Any:
    """A transform of some rows of numbers."""
    from golden import Case
    from written_models import Op, T

    height, width = dice.of(1, 2, 8), dice.of(2, 4, 16, 512)
    shape, made = (dice.size(1, 3), height, width), (height, width // 2 + 1)
    tensors = [T("x", shape, "float32"), T("n", (2,), "int32", data=[height, width])]
    tensors.append(T("y", (shape[0], *made), "complex64"))
    return Case(tensors, [Op("RFFT2D", ["x", "n"], ["y"])], {"x": dice.rng.normal(size=shape).astype(np.float32)})


def control(folder: Path) -> dict[str, Path]:
    """A file for each operator whose bodies are subgraphs."""
    module = import_module("graph.test_control")
    kinds = {"WHILE": module.counted, "IF": module.chosen, "STABLEHLO_COMPOSITE": module.composed}
    kinds["STABLEHLO_COMPOSITE, attention"] = lambda path: module.attention(
        path, (1, 17, 4, 20), (1, 33, 4, 20), {}, True
    )
    return {kind: make(folder / f"{kind}.tflite") for kind, make in kinds.items()}


def in_one_file(cases: Sequence[Any]) -> Any:
    """All cases side by side; a tensor of blocks names that of its scales by number."""
    from golden import together

    before, moved = 0, list[Any]()
    for case in cases:
        tensors = [moved_on(t, before) for t in case.tensors]
        moved.append(replace(case, tensors=tensors))
        before += len(tensors)
    return together(moved)


def moved_on(tensor: Any, before: int) -> Any:
    """The tensor behind so many others."""
    if not tensor.details:
        return tensor
    kind, details = tensor.details
    return replace(tensor, details=(kind, {**details, "scales": details["scales"] + before}))


def write_models(folder: Path) -> list[str]:
    """A file and what to feed it for each kind."""
    kinds = {kind: maker for kind, maker in kinds_of_tests() if not kind.startswith(UNREADABLE)}
    from golden import Dice

    for number, (kind, maker) in enumerate(kinds.items()):
        dice = Dice(np.random.default_rng(len(kind)))
        case = in_one_file([maker(dice) for _ in range(MODELS)])
        (folder / f"{number}.tflite").write_bytes(case.write())
        np.savez(folder / f"{number}.npz", **{str(i): array for i, array in enumerate(case.feeds.values())})
    return [*kinds, *write_control(folder, len(kinds))]


def write_control(folder: Path, before: int) -> list[str]:
    """The same for what calls subgraphs: one model of each kind."""
    from quantdiff.load.tflite import load_tflite
    from quantdiff.run.random_input import random_inputs

    files = control(folder)
    for number, path in enumerate(files.values(), before):
        inputs = [array[0] for array in random_inputs(load_tflite(path).main, 1)]
        path.rename(folder / f"{number}.tflite")
        np.savez(folder / f"{number}.npz", **{str(i): array for i, array in enumerate(inputs)})
    return list(files)


def compared(folder: Path, runtime: str, pythons: tuple[str, str], count: int) -> list[str]:
    """A cell for each kind."""
    outputs = [[*outputs_of(folder, runtime, python, count)] for python in pythons]
    return [cell(a, b) for a, b in zip(*outputs, strict=True)]


def outputs_of(folder: Path, runtime: str, python: str, count: int) -> Iterator[Any]:
    """Arrays, or in a word why there are none; a kind that ends the process is passed over."""
    target = Path(tempfile.mkdtemp(dir=folder))
    (target / "count").write_text(str(count), encoding="utf-8")
    while subprocess.run(
        [python, __file__, "--run", str(target), runtime], check=False, capture_output=True
    ).returncode:
        number = next(i for i in range(count) if not (target / f"{i}.json").exists())
        (target / f"{number}.json").write_text('"ends the process"', encoding="utf-8")
    for i in range(count):
        yield json.loads((target / f"{i}.json").read_text(encoding="utf-8")) or [*np.load(target / f"{i}.npz").values()]


def cell(old: Any, new: Any) -> str:
    """How two releases compare on one kind."""
    if isinstance(old, str) or isinstance(new, str):
        words = [word if isinstance(word, str) else "runs" for word in (old, new)]
        return "=" if words[0] == words[1] else f"{words[0]} → {words[1]}"
    count = sum(a.size for a in new)
    if any(a.shape != b.shape or a.dtype != b.dtype for a, b in zip(old, new, strict=True)):
        return "other shapes or types"
    wrong = sum(
        int(np.sum((a.view(f"u{a.itemsize}") != b.view(f"u{a.itemsize}")) & ~nan(a, b)))
        for a, b in zip(old, new, strict=True)
    )
    return f"{wrong:,} of {count:,}" if wrong else "="


def nan(a: Any, b: Any) -> Any:
    """Where both are no number, whatever its bits."""
    return np.isnan(a) & np.isnan(b) if a.dtype.kind == "f" else np.zeros(a.shape, bool)


def run_all(target: Path, runtime: str) -> None:
    """In the child: every kind that has no result yet."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    names = dict(zip(RUNTIMES, ("AUTO", "BUILTIN_WITHOUT_DEFAULT_DELEGATES", "BUILTIN_REF"), strict=True))
    for number in range(int((target / "count").read_text(encoding="utf-8"))):
        if (target / f"{number}.json").exists():
            continue
        try:
            model = str(target.parent / f"{number}.tflite")
            resolver = getattr(OpResolverType, names[runtime])
            interpreter = Interpreter(model, experimental_op_resolver_type=resolver, num_threads=1)
            interpreter.allocate_tensors()
            feeds = np.load(target.parent / f"{number}.npz")
            for i, details in enumerate(interpreter.get_input_details()):
                interpreter.set_tensor(details["index"], feeds[str(i)])
            interpreter.invoke()
            outputs = [interpreter.get_tensor(details["index"]) for details in interpreter.get_output_details()]
            np.savez(target / f"{number}.npz", **{f"{i:04}": array for i, array in enumerate(outputs)})
            word = ""
        except (RuntimeError, ValueError):
            word = "refused"
        (target / f"{number}.json").write_text(json.dumps(word), encoding="utf-8")


if __name__ == "__main__":
    main()
