"""The account in words: one sentence, and what a reader must know before it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from quantdiff.ladder.explanation import Explanation, Frontier, Item
from quantdiff.ladder.findings import WrongWeights
from quantdiff.report.text.terminal import on_made_up, short

WORDS: Mapping[str, str] = {
    "reference": "as trained",
    "real": "the reference in exact arithmetic",
    "rewritten": "the file's graph, the reference's numbers",
    "input_quantized": "input rounded to its grid",
    "activation_ranges": "activation ranges of the file",
    "weights": "weights of the file",
    "bias_to_int32": "biases of the file",
    "activation_clipping": "activations clipped to their ranges",
    "activation_rounding": "activations rounded to their steps",
    "op_approximation": "curves as the runtime has them",
    "rounding": "the runtime's rounding",
    "runtime": "the runtime itself",
}
"""What each rung exchanges."""
CAUSES: Mapping[str, str] = {
    "framework": "the float arithmetic of the reference",
    "graph": "another graph",
    "input_quantized": "the input's grid",
    "activation_ranges": "activation ranges",
    "weights": "weights",
    "bias_to_int32": "biases",
    "activation_clipping": "clipping",
    "activation_rounding": "rounding",
    "op_approximation": "curves of the runtime",
    "rounding": "the runtime's rounding",
    "kernel": "the runtime's kernels",
    "smaller": "operators too small to tell apart",
    "output_grid": "the output's own grid",
    "runtime": "the runtime itself",
}
"""What each mechanism is called in a sentence."""
MOST_PLACES, BEYOND = 10, 0.01
TOLD, NAMED, MOST_NAMED = 0.005, 0.1, 3
"""Shares: from which a mechanism is told, and an item named; how many items."""
OUTSIDE, CLIPPED, MANY, MATTERS, UNSETTLED, ORDER = 0.001, 3, 0.25, 0.05, 0.25, 0.1
"""Shares of outputs and tensors, a number of tensors, a share of the error, and distances of the shares of the two
halves of the samples, and of the network's order from all orders, from which a warning is due."""

PLANTED = "wrong weights, not rounding"
TRAINED = "the reference was trained further, was quantized by itself, or is another"


def sentence(explanation: Explanation) -> str:
    """The verdict: how much differs, and what the error is made of."""
    on_made = on_made_up(explanation.artifacts.get("data", ""))
    total = f"{explanation.differing:,} of {explanation.count:,} outputs differ{on_made}"
    frontier, on_grid = explanation.frontier, explanation.rungs[0].max_steps is not None
    nothing = not explanation.unaccounted if frontier is None else not frontier.rms_steps
    if not explanation.differing and (on_grid or nothing):
        return f"{total}: nothing to explain."
    if explanation.unaccounted:
        return f"{total}; not accounted for: {explanation.unaccounted}."
    if frontier is None or not any(frontier.shares.values()):
        return f"{total}; {_by_rungs(explanation)}"
    return f"{total}. {_shares(frontier)}; {_closing(explanation)}."


def leading_items(frontier: Frontier) -> list[Item]:
    """The items that matter, the largest share first."""
    return [item for item in frontier.items if item.share >= NAMED and item.tensor][:MOST_NAMED]


def item_name(item: Item) -> str:
    """``MEAN #2 (`pool`)``: the operator by its index, and the layer's name in the reference."""
    where = f"{item.op} #{item.operator}" if item.operator is not None else "the input"
    name = short(item.layer)
    return f"{where} (`{name}`)" if name else where


def _shares(frontier: Frontier) -> str:
    named = leading_items(frontier)
    parts = []
    for mechanism, share in sorted(frontier.shares.items(), key=lambda entry: -entry[1]):
        own = [item for item in named if item.mechanism == mechanism]
        if abs(share) < TOLD and not own:
            continue
        parts.append(f"{share:.0%} is {CAUSES[mechanism]}" + _inside(own, share))
    return "Of the error, " + ", ".join(parts or ["nothing stands out"])


def _inside(items: list[Item], share: float) -> str:
    if not items:
        return ""
    if len(items) == 1 and abs(items[0].share - share) < TOLD:
        return f" at {item_name(items[0])}{_range(items[0])}"
    return " (" + ", ".join(f"{item.share:.0%} at {item_name(item)}{_range(item)}" for item in items) + ")"


def _range(item: Item) -> str:
    """``: the file holds 0 … 0.55, the data reach 0.61`` where values are cut off."""
    if item.mechanism not in ("activation_clipping", "activation_ranges", "input_quantized"):
        return ""
    if item.held is None or item.met is None:
        return ""
    (low, high), (least, most) = item.held, item.met
    room = 0.0 if item.mechanism == "activation_clipping" else (high - low) * BEYOND
    beyond = [f"{end:.4g}" for end, out in ((least, least < low - room), (most, most > high + room)) if out]
    if not beyond:
        return ""
    return f": the file holds {low:.4g} … {high:.4g}, the data reach {' and '.join(beyond)}"


def _closing(explanation: Explanation) -> str:
    if explanation.closed_reference and explanation.closed_candidate:
        return f"all of it accounted for, to the bit on {explanation.runtime}"
    if explanation.closed_reference:
        return f"all of it accounted for on {explanation.candidate}"
    return "the account does not close"


def _by_rungs(explanation: Explanation) -> str:
    lead = explanation.find(explanation.leading or "")
    if lead is None:
        return "not accounted for."
    left = explanation.unexplained
    share = lead.resolved / explanation.differing
    rest = f"{left:,} unexplained" if left else "none is left unexplained"
    return f"{lead.resolved:,} of them ({share:.1%}) come right with {WORDS[lead.mechanism]}; {rest}."


def warnings(explanation: Explanation) -> Iterator[str]:
    """What a reader must know before the sentence."""
    yield from explanation.of_the_data
    outside = explanation.saturated
    if outside is not None and outside.share > OUTSIDE:
        yield (
            f"{outside.share:.1%} of the reference's outputs lie outside what the file can say, "
            f"by up to {outside.max_steps:,.4g} steps"
        )
    if explanation.departs:
        yield f"the two graphs are not the same: {explanation.departs}"
    yield from _lost(explanation)
    yield from _unsettled(explanation)
    yield from _by_order(explanation)
    clipped, tensors = _clipped(explanation), {layer.tensor for layer in explanation.layers}
    if len(clipped) >= max(CLIPPED, len(tensors) * MANY) and _share(explanation, "activation_clipping") >= MATTERS:
        names = ", ".join(item_name(item) for item in clipped[:CLIPPED])
        yield (
            f"{len(clipped)} tensors are clipped on this data ({names}, …): the data that the file was calibrated on "
            "were too few or of another kind, or ranges were averaged over them (litert-quantizer's default) "
            "instead of their ends kept"
        )
    yield from _other_weights(explanation.wrong_weights)
    lost = [match.tensor for match in explanation.matching if match.how == "none"]
    if lost:
        names = ", ".join(map(short, lost[:3]))
        yield f"no constant of the reference stands behind {names}: the stored values are taken"


def _other_weights(wrong: Sequence[WrongWeights]) -> Iterator[str]:
    """Kernels that are not the reference's, the farthest first; many of one kind are counted."""
    for planted in (True, False):
        verdict = PLANTED if planted else TRAINED
        some = sorted((each for each in wrong if each.planted == planted), key=lambda each: -each.max_steps)
        for each in some[: None if len(some) <= CLIPPED else 1]:
            yield (
                f"{each.layer}: {each.count:,} of {each.size:,} stored weights are not the reference's rounded, "
                f"off by up to {each.max_steps:.4g} steps at {list(each.worst)}: {verdict}"
            )
        if len(some) > CLIPPED:
            names = ", ".join(each.layer for each in some[1:CLIPPED])
            yield f"likewise {len(some) - 1} more kernels, the farthest of them {names}"


def _lost(explanation: Explanation) -> Iterator[str]:
    """Features that one grid for all of an input rounds away."""
    for item in explanation.frontier.items if explanation.frontier is not None else ():
        if item.lost and item.held is not None:
            places = ", ".join(map(str, item.lost[:MOST_PLACES])) + (", …" if len(item.lost) > MOST_PLACES else "")
            yield (
                f"{len(item.lost)} features of {item_name(item)} vary by less than one of its steps and are lost "
                f"({places}): one grid holds {item.held[0]:.4g} … {item.held[1]:.4g} for all; scale them before"
            )


def _unsettled(explanation: Explanation) -> Iterator[str]:
    """Shares that the next samples may change: a few of them make most of the error."""
    frontier = explanation.frontier
    worst = max(leading_items(frontier), key=lambda item: item.spread, default=None) if frontier is not None else None
    if frontier is not None and worst is not None and worst.spread > UNSETTLED and explanation.differing:
        yield (
            f"the shares are those of the first {frontier.samples:,} samples and may be others for the rest: "
            f"between their two halves the share of {item_name(worst)} differs by {worst.spread:.0%}"
        )


def _by_order(explanation: Explanation) -> Iterator[str]:
    """Mechanisms that meet each other's errors: which one is exchanged first decides how much it gets."""
    frontier = explanation.frontier
    if frontier is not None and explanation.differing and (frontier.order_distance or 0.0) > ORDER:
        mean = sorted(frontier.shapley.items(), key=lambda entry: -entry[1])
        parts = ", ".join(f"{CAUSES[m]} {share:.0%}" for m, share in mean if abs(share) >= TOLD)
        yield f"the order matters: in the mean over all orders of the mechanisms the shares are {parts}"


def _share(explanation: Explanation, mechanism: str) -> float:
    return 0.0 if explanation.frontier is None else explanation.frontier.shares.get(mechanism, 0.0)


def _clipped(explanation: Explanation) -> list[Item]:
    """Tensors that the data leave by more than a few steps."""
    items = explanation.frontier.items if explanation.frontier is not None else ()
    return [
        item
        for item in items
        if item.mechanism == "activation_clipping" and item.held and item.met and _leaves(item.held, item.met)
    ]


def _leaves(held: tuple[float, float], met: tuple[float, float]) -> bool:
    room = (held[1] - held[0]) * 0.05
    return met[0] < held[0] - room or met[1] > held[1] + room
