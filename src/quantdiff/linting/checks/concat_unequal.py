"""A concatenation that the kernels cannot do."""

from __future__ import annotations

from collections.abc import Iterator

from quantdiff.linting.concatenation import concatenations, scales_told, unequal
from quantdiff.linting.finding import Found, Severity
from quantdiff.linting.registry import check
from quantdiff.linting.wiring import Wiring


@check("SCALE02", Severity.ERROR, Wiring)
def concat_unequal(wiring: Wiring) -> Iterator[Found]:
    """A signed CONCATENATION has an input with another scale or zero point than its output.

    The kernels copy integers: for int8 the runtimes refuse the file (`t->params.scale != output->params.scale`), for
    int16 values are read in the wrong unit. Convert again, so that all inputs share the output's range.
    """
    for node in concatenations(wiring):
        if node.outputs[0].dtype in ("int8", "int16") and (other := unequal(node)):
            yield Found(wiring.operator(node), scales_told(node, other))
