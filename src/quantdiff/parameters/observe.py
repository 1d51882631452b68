"""Watch both models on the data: extents of layers and tensors, and each linear layer computed by hand beside it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace

from quantdiff.align.chains import fused_chain
from quantdiff.graph import Model
from quantdiff.layer import Layer
from quantdiff.load.data import Batch
from quantdiff.parameters.by_hand import by_hand
from quantdiff.parameters.folding import linear
from quantdiff.parameters.quantizers import Extent, Observed
from quantdiff.quant import INTEGER_RANGE, Array, dequantize
from quantdiff.references.keras.model import KerasModel
from quantdiff.references.keras.run import watch_layers
from quantdiff.run.child import RuntimeProcess
from quantdiff.run.inner_tensors import Watched, disturbed, watch_tensors


def observe(
    keras: KerasModel | None, layers: Sequence[Layer], model: Model, batch: Batch, process: RuntimeProcess
) -> Observed:
    """Run both models on the data, or the ``.tflite`` alone.

    Raises:
        BadData: the data do not fit a model's inputs.
        RuntimeFailed: a model does not run.
    """
    first = Observed() if keras is None else observe_keras(keras, layers, batch)
    tensors, watched = observe_tflite(model, batch, process)
    notes = (*watched.trace.notes, *disturbed(watched.changed))
    return replace(first, tensors=tensors, engines=(*first.engines, watched.trace.engine), notes=(*first.notes, *notes))


def observe_keras(model: KerasModel, layers: Sequence[Layer], batch: Batch) -> Observed:
    """Extents of every layer's output and, before any output quantizer, of every chain computed by hand."""
    seen: dict[str, Extent] = defaultdict(Extent)
    by_chain: dict[str, Extent] = defaultdict(Extent)
    chains = {layer.name: fused_chain(layers, layer) for layer in layers if layer.kernel is not None}
    known = {name: (chain[-1].name, spec) for name, chain in chains.items() if (spec := linear(chain)) is not None}

    def visit(name: str, inputs: list[Array], output: Array) -> None:
        seen[name].add(output)
        if name in known:
            end, spec = known[name]
            by_chain[end].add(by_hand(spec, inputs[0]))

    watch_layers(model, batch, visit)
    return Observed(layers=seen, by_hand=by_chain, engines=(model.kind,), notes=model.notes)


def observe_tflite(model: Model, batch: Batch, process: RuntimeProcess) -> tuple[Mapping[int, Extent], Watched]:
    """Extents, in real units, of every quantized tensor that is no constant."""
    graph = model.main
    used = dict.fromkeys(i for op in graph.operators for i in (*op.inputs, *op.outputs) if i >= 0)
    wanted = [i for i in used if graph.tensors[i].quant is not None and graph.tensors[i].data is None]
    seen: dict[int, Extent] = defaultdict(Extent)

    def visit(values: dict[int, Array]) -> None:
        for index, array in values.items():
            quant = graph.tensors[index].quant
            assert quant is not None
            seen[index].add(dequantize(_ends(array), quant) if array.dtype.name in INTEGER_RANGE else array)

    watched = watch_tensors(model, wanted, batch, process, visit)
    return seen, watched


def _ends(array: Array) -> Array:
    """The smallest and the largest integer: their real values are the extent."""
    return array.ravel()[[array.argmin(), array.argmax()]]
