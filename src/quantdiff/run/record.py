"""Record the tensors of a runtime, so that they can be compared somewhere else, or later."""

from __future__ import annotations

from contextlib import closing
from hashlib import sha256
from pathlib import Path

import numpy as np

from quantdiff.errors import BadData, RuntimeFailed
from quantdiff.files import destination, scratch
from quantdiff.graph import Model
from quantdiff.load.data import Batch
from quantdiff.load.dumps.forms import Manifest, RecordedTensor
from quantdiff.load.npz import MANIFEST
from quantdiff.quant import Array
from quantdiff.run.inner_tensors import read_tensors, readable_tensors
from quantdiff.run.runner import Runner
from quantdiff.run.runtimes import versions


def record(model: Model, batch: Batch, runner: Runner, out: Path, *, every_tensor: bool = False) -> Manifest:
    """Run all samples one by one, and write inputs, outputs and, with ``every_tensor``, what lies between to ``out``.

    The file is there when it is complete.

    Raises:
        BadData: the data do not fit the model.
        RuntimeFailed: the runtime refuses, or reading inner tensors changes its outputs.
        OSError: ``out`` cannot be written.
    """
    graph, target = model.main, destination(out)
    inner = readable_tensors(graph, runner.rules, runner.holds(graph)) if every_tensor else []
    wanted = [*dict.fromkeys((*graph.inputs, *graph.outputs, *inner))]
    parts = list[dict[int, Array]]()
    with closing(read_tensors(model, wanted, batch, runner)) as readings:
        for reading in readings:
            if reading.changed:
                raise RuntimeFailed(
                    f"{runner.runtime}: reading inner tensors changes the outputs; leave --every-tensor out"
                )
            parts.append(reading.values)
    if not parts:
        raise BadData(f"{batch.source}: no samples; nothing can be recorded")
    arrays = {i: np.concatenate([part[i] for part in parts]) for i in wanted}
    assert model.path is not None
    made_by = Manifest(
        model.path.name,
        sha256(model.whole()).hexdigest(),
        runner.runtime,
        runner.machine,
        len(next(iter(arrays.values()))),
        versions() if runner.versions is None else runner.versions,
        tuple(RecordedTensor(i, graph.tensors[i].name, f"t{i}") for i in wanted),
    )
    named = {MANIFEST: made_by.packed(), **{f"t{i}": array for i, array in arrays.items()}}
    target.parent.mkdir(parents=True, exist_ok=True)
    with scratch(".unfinished-", target.parent) as folder:
        whole = folder / "dump.npz"
        np.savez(whole, allow_pickle=False, **named)
        whole.replace(target)
    return made_by
