"""From the sums over all data to the explanation."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from quantdiff.explaining.expected import expected_flips, free_share
from quantdiff.explaining.explanation import Explanation, LayerLadder
from quantdiff.explaining.ladder import Ladder, Sums
from quantdiff.explaining.wrong_weights import wrong_weights


def _expected(ladder: Ladder, sums: Sums) -> Iterator[LayerLadder]:
    """The layers, with the share that the closed form expects where the reference is quantization-aware."""
    graph = ladder.model.main
    found = ((ladder.pairs[name], account.histogram) for name, account in sums.layers.items())
    inside = {p.tensor: free_share(graph, p.operator, p.tensor, counts) for p, counts in found if counts is not None}
    flips = expected_flips(ladder, inside) if ladder.end.keras.kind == "qat" else {}
    for name, account in sums.layers.items():
        each = flips.get(ladder.pairs[name].tensor)
        yield replace(account.value(), expected=None if each is None else each.share)


def concluded(ladder: Ladder, sums: Sums) -> Explanation:
    """The explanation as a value, without advice."""
    account, runtime = sums.outputs, ladder.runtime.value
    layers = tuple(_expected(ladder, sums))
    ends = {grid.tensor for grid in ladder.ends.grids if grid is not None}
    last = [layer for layer in layers if layer.tensor in ends and layer.expected is not None]
    disturbed = f"{sums.changed} outputs of the model changed when its inner tensors were made outputs"
    return Explanation(
        reference=ladder.end.keras.kind,
        candidate=f"tflite:{runtime}",
        runtime=runtime,
        count=account.count,
        samples=sums.samples,
        differing=account.differing,
        closed_reference=sums.closed_reference,
        closed_candidate=sums.closed_candidate and not ladder.missing,
        rungs=account.rungs(),
        unexplained=account.resolved[-1],
        expected_exactly=None if ladder.missing else sums.simulated / account.count,
        expected=last[0].expected if len(last) == len(ladder.ends.grids) == 1 else None,
        differences=tuple(account.listed),
        layers=layers,
        wrong_weights=tuple(wrong_weights(ladder.sides)),
        unsupported=ladder.missing,
        notes=(*ladder.end.keras.notes, *_borrowed(ladder), *((disturbed,) if sums.changed else ())),
    )


def _borrowed(ladder: Ladder) -> tuple[str, ...]:
    if not ladder.borrowed:
        return ()
    names = ", ".join(ladder.borrowed)
    return (f"{names}: added up in an order of the runtime's own, in floats; for its rung its own results were taken",)
