"""From the sums over all data to the explanation."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from quantdiff.ladder.expectation import Expectation
from quantdiff.ladder.explanation import Explanation, LayerLadder
from quantdiff.ladder.ladder import Ladder, Sums
from quantdiff.ladder.wrong_weights import wrong_weights
from quantdiff.run.inner_tensors import disturbed


def concluded(ladder: Ladder, sums: Sums, expected: Expectation | None) -> Explanation:
    """The explanation as a value, without advice; what was expected stands beside what was measured."""
    account, runtime = sums.outputs, ladder.runtime.value
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
        expected_exactly=expected.exactly if expected else None,
        expected=expected.closed_form if expected else None,
        differences=tuple(account.listed),
        layers=tuple(_layers(sums, expected)),
        wrong_weights=tuple(wrong_weights(ladder.sides)),
        unsupported=ladder.missing,
        notes=(*ladder.end.keras.notes, *_borrowed(ladder), *disturbed(sums.changed)),
    )


def _layers(sums: Sums, expected: Expectation | None) -> Iterator[LayerLadder]:
    shares = {each.layer: each for each in expected.layers} if expected else {}
    for account in sums.layers.values():
        layer = account.value()
        if each := shares.get(account.layer):
            layer = replace(layer, expected_exactly=each.exactly, expected=each.closed_form)
        yield layer


def _borrowed(ladder: Ladder) -> tuple[str, ...]:
    if not ladder.borrowed:
        return ()
    names = ", ".join(ladder.borrowed)
    return (f"{names}: added up in an order of the runtime's own, in floats; for its rung its own results were taken",)
