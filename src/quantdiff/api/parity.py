"""Whether a candidate keeps within limits and, where it does not, where and why: what ``assert_parity`` asks."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from quantdiff.api.comparisons import diff_opened
from quantdiff.api.engines import OpenedPair, Settings, Source, open_pair
from quantdiff.api.explanations import explain_opened
from quantdiff.compare.conditions import Condition
from quantdiff.compare.outcome import Outcome, judge
from quantdiff.errors import RuntimeFailed, reason_of
from quantdiff.ladder.explanation import Explanations, Parity
from quantdiff.load.data import Batch

Found = TypeVar("Found")


def check_parity(
    reference: Source, candidate: Source, batch: Batch, settings: Settings, conditions: tuple[Condition, ...]
) -> Parity:
    """Compare and judge; only where a limit is broken ask layer by layer, and for the mechanisms.

    Args:
        reference: a Keras model or a ``.tflite``: a path, or opened.
        candidate: as ``reference``.
        batch: samples along axis 0, in the reference's float units.
        settings: runtimes, tolerance, time limit.
        conditions: limits that are broken where they hold, such as ``max_steps>1``.

    Returns:
        The comparison, what became of each limit and, where one is broken, the layers and the ladder.

    Raises:
        QuantdiffError: a model or the data cannot be used, a limit cannot be judged, or a runtime gave no result:
            nothing was compared on it, which must not pass.
    """
    with open_pair(reference, candidate, settings, batch) as pair:
        outcome = diff_opened(pair, batch, settings)
        if outcome.failures:
            raise RuntimeFailed(outcome.failures[0].error)
        parity = Parity(outcome, tuple(each for c in outcome.comparisons for each in judge(c, conditions)))
        return _explained(parity, pair, batch, settings) if parity.broken else parity


def _explained(parity: Parity, pair: OpenedPair, batch: Batch, settings: Settings) -> Parity:
    layers, no_layers = _tried("first layer", lambda: diff_opened(pair, batch, settings, layers=True))
    found, no_ladder = _tried("mechanism", lambda: explain_opened(pair, batch, settings))
    outcome: Outcome = layers or parity.outcome
    answer = found or Explanations(())
    failed = (*no_layers, *(f.error for f in outcome.failures), *no_ladder, *(f.error for f in answer.failures))
    return Parity(outcome, parity.judgements, answer.found, failed)


def _tried(what: str, ask: Callable[[], Found]) -> tuple[Found | None, tuple[str, ...]]:
    """The answer or, whatever goes wrong, why there is none: the limit is broken all the same."""
    try:
        return ask(), ()
    except Exception as error:
        return None, (f"{what}: not told: {reason_of(error)}",)
