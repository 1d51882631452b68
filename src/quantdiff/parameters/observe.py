"""Watch both models on the data: extents of layers and tensors, and each linear layer computed by hand beside it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from quantdiff.align.constants import fused_chain
from quantdiff.graph import Model
from quantdiff.load.data import Batch
from quantdiff.parameters.by_hand import Linear, by_hand
from quantdiff.parameters.constants import linear
from quantdiff.parameters.quantizers import Extent, Observed
from quantdiff.parameters.sides import ModelPair
from quantdiff.quant import INTEGER_RANGE, Array, dequantize
from quantdiff.recording import BoundModel, value_at
from quantdiff.references.tflite.reference import ran_alone
from quantdiff.run.inner_tensors import read_tensors
from quantdiff.run.runner import Runner

SAMPLES_AT_ONCE = 256
"""In a part, where no reference says how many fit into memory."""


def observe(pair: ModelPair, reference: BoundModel | None, model: Model, batch: Batch, process: Runner) -> Observed:
    """Run both models on the data, or the ``.tflite`` alone.

    Raises:
        BadData: the data do not fit a model's inputs.
        RuntimeFailed: a model does not run.
    """
    first = Observed() if reference is None else observe_reference(pair, reference)
    return first + observe_tflite(model, batch, process)


def observe_reference(pair: ModelPair, reference: BoundModel) -> Observed:
    """Extents of every layer's output and, before any output quantizer, of every chain computed by hand."""
    seen: dict[str, Extent] = defaultdict(Extent)
    by_chain: dict[str, Extent] = defaultdict(Extent)
    known = dict(_linear(pair))
    flow, size = pair.alignment.reference, pair.alignment.at_once
    for start in range(0, len(reference), size):
        recording = reference.run(start, min(start + size, len(reference)))
        for place in recording.flow.places:
            if place.name == place.path and place.op != "input":
                seen[place.path].add(value_at(recording, place).real)
            for end, spec in known.get(place.name, ()):
                if place.op == spec.op and sum(layer.kernel is not None for layer in place.layers) == 1:
                    by_chain[end].add(by_hand(spec, recording.value(place.feeds[0])))
    return Observed(layers=seen, by_hand=by_chain, engines=(flow.engine,))


def _linear(pair: ModelPair) -> Iterator[tuple[str, list[tuple[str, Linear]]]]:
    """The value that a linear layer gives → the end of its chain, and the chain as one layer."""
    for layer in pair.layers:
        chain = fused_chain(pair.layers, layer)
        spec = linear(chain) if layer.kernel is not None else None
        if spec is not None:
            yield layer.name, [(chain[-1].name, spec)]


def observe_tflite(model: Model, batch: Batch, process: Runner) -> Observed:
    """Extents, in real units, of every quantized tensor that is no constant; and notes on the runs."""
    graph = model.main
    used = dict.fromkeys(i for op in graph.operators for i in (*op.inputs, *op.outputs) if i >= 0)
    wanted = [i for i in used if graph.tensors[i].quant is not None and graph.tensors[i].data is None]
    seen: dict[int, Extent] = defaultdict(Extent)
    changed, batched = 0, True
    for reading in read_tensors(model, wanted, batch, process, alone=False):
        changed, batched = changed + reading.changed, batched and reading.batched
        for index in wanted:
            array, quant = reading.values[index], graph.tensors[index].quant
            assert quant is not None
            seen[index].add(dequantize(_ends(array), quant) if array.dtype.name in INTEGER_RANGE else array)
    alone = ran_alone(process.runtime, batched, len(batch))
    return Observed(tensors=seen, engines=(f"tflite:{process.runtime}",), notes=alone, changed=changed)


def _ends(array: Array) -> Array:
    """The smallest and the largest integer: their real values are the extent."""
    return array.ravel()[[array.argmin(), array.argmax()]]
