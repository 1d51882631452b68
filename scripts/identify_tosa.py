"""Identify a device that nobody here wrote: Arm's TOSA reference model, from PyPI, in an environment of its own.

    python -m venv TOSA
    TOSA/bin/pip install tosa-converter-for-tflite==2026.2.0 tosa-tools==2026.8.0 'numpy<2.2'
    uv run python scripts/identify_tosa.py TOSA/bin MODEL.tflite …

Every tensor of each model is recorded for some seeded inputs, then for a probe; the rules are identified, and what the
profile predicts for other inputs is held against what the reference model gives. Ends with 1 where an element differs.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from quantdiff.errors import QuantdiffError
from quantdiff.graph import Model
from quantdiff.identifying.probe import load_and_identify, load_and_probe
from quantdiff.load.tflite import load_tflite
from quantdiff.load.written import with_outputs
from quantdiff.quant import Array
from quantdiff.report.json.runtimes import save_profile
from quantdiff.run.inner_tensors import read_everything, readable_tensors
from quantdiff.run.inputs import inputs_of
from quantdiff.run.random_input import random_inputs
from quantdiff.run.runner import started

OPEN_BATCH, OPEN_SHAPE = re.compile(r"(?<=tensor<)\?x"), re.compile(r"(const_shape.*dense<\[?)-1\b")


def main() -> int:
    """A line for each model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tools", type=Path)
    parser.add_argument("models", type=Path, nargs="+")
    parser.add_argument("--samples", type=int, default=8)
    asked = parser.parse_args()
    wrong = 0
    for path in asked.models:
        with TemporaryDirectory() as folder:
            wrong += identified(path, asked.tools, asked.samples, Path(folder))
    return 1 if wrong else 0


def identified(path: Path, tools: Path, samples: int, folder: Path) -> int:
    """Learn from some samples, predict others; the elements that differ."""
    model = load_tflite(path)
    tensors = [*dict.fromkeys((*model.main.outputs, *readable_tensors(model.main, None)))]
    program = compiled(model, tensors, tools, folder)
    dump, profile = folder / "dump.npz", folder / "tosa.toml"
    inputs = random_inputs(model.main, samples, 0)
    for _ in range(2):  # on random samples, then on those that tell apart what is left
        np.savez(dump, **{str(i): array for i, array in recorded(model, tensors, program, (tools, inputs)).items()})
        found = load_and_identify(path, f"recorded:{dump}")
        inputs = inputs_of(model, load_and_probe(path, found).batch)
    save_profile(found, profile)
    print(f"{path.name}:", *(f"{g.kind} {' | '.join(each[0] for each in g.rules) or '?'};" for g in found.groups))
    second = random_inputs(model.main, samples, 1)
    real = recorded(model, tensors, program, (tools, second))
    try:
        with started(f"profile:{profile}") as runner:
            predicted = read_everything(model, second, runner).values
    except QuantdiffError as error:
        print(f"  {error}")
        return 1
    apart = {i: int(np.count_nonzero(predicted[i] != array)) for i, array in real.items()}
    outputs, all_of_them = (sum(real[i].size for i in some) for some in (model.main.outputs, real))
    print(
        f"  {sum(apart[i] for i in model.main.outputs)} of {outputs:,} outputs and {sum(apart.values())} of "
        f"{all_of_them:,} elements of all tensors differ from the prediction"
    )
    return sum(apart.values())


def compiled(model: Model, tensors: list[int], tools: Path, folder: Path) -> Path:
    """The file with every tensor as an output, as TOSA's flatbuffer, for one sample."""
    assert model.path is not None
    file, text, program = (folder / f"model.{end}" for end in ("tflite", "mlir", "tosa"))
    file.write_bytes(with_outputs(model.path.read_bytes(), tensors))
    run([tools / "tosa-converter-for-tflite", file, "--text", "-o", text])
    text.write_text(OPEN_SHAPE.sub(r"\g<1>1", OPEN_BATCH.sub("1x", text.read_text())))
    run([tools / "tosa-opt", f"--tosa-serialize=tosa-flatbuffer-filename={program}", text])
    return program


def recorded(model: Model, tensors: list[int], program: Path, given: tuple[Path, list[Array]]) -> dict[int, Array]:
    """Inputs and tensors of the reference model, one run a sample. Shapes: (samples, *shape of the tensor)."""
    tools, inputs = given
    found: dict[int, list[Array]] = {i: [] for i in tensors}
    folder = program.parent
    for sample in range(len(inputs[0])):
        for k, array in enumerate(inputs):
            np.save(folder / f"in{k}.npy", array[sample])
        names = [(f"TosaInput_{k}", f"in{k}.npy") for k in range(len(inputs))]
        made = [(f"TosaOutput_{k}", f"out{k}.npy") for k in range(len(tensors))]
        run(
            [
                tools / "tosa_reference_model",
                f"--tosa_file={program.name}",
                f"--flatbuffer_dir={folder}",
                f"--output_dir={folder}",
                "--tosa_level=NONE",
                *(f"--ifm_{what}=" + ",".join(each[i] for each in names) for i, what in enumerate(("name", "file"))),
                *(f"--ofm_{what}=" + ",".join(each[i] for each in made) for i, what in enumerate(("name", "file"))),
            ]
        )
        for k, i in enumerate(tensors):
            found[i].append(np.load(folder / f"out{k}.npy"))
    held = {i: np.stack(arrays).reshape(-1, *model.main.tensors[i].shape) for i, arrays in found.items()}
    return dict(zip(model.main.inputs, inputs, strict=True)) | held


def run(command: list[str | Path]) -> None:
    """Run a tool; what it says is shown where it fails."""
    done = subprocess.run([str(word) for word in command], check=False, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{command[0]} failed: {done.stderr[-1000:] or done.stdout[-1000:]}")


if __name__ == "__main__":
    sys.exit(main())
