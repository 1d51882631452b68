"""Align two models: structure, names and weights propose, what they compute for the same data decides."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

from quantdiff.align.alignment import (
    Alignment,
    Leftover,
    Match,
    Sample,
    TensorPair,
    order_of_outputs,
    output_pairs,
    sample,
)
from quantdiff.align.choice import choose_matches, distances_between, segments, with_insides
from quantdiff.align.confirmation import Local, Refusals, confirmed, contradicted, leftovers
from quantdiff.align.constants import agrees, bias_moved, constant_pairs, is_trained_on, kernels_agree, own_layers
from quantdiff.errors import RuntimeFailed
from quantdiff.graph import Tensor
from quantdiff.load.data import Batch
from quantdiff.ops import INTO_INTEGERS, Layer
from quantdiff.quant import Array
from quantdiff.recording import BoundModel, Flow, FlowValue, Recording, bound, tflite_flow
from quantdiff.references.reference import Reference

AT_LEAST, CLOSE = 0.5, 0.05  # the share that says they are; distance of values, an SQNR of 26 dB
TRAINED_ON = (
    "most kernels are alike, so that one was trained on from the other, or both from a third: explain tells their share"
)
INNER = 3  # layers with weights before the last one, all of which agree


def unrelated(reference: Flow, candidate: Flow, matches: Sequence[Match]) -> str:
    """Why the two are not made from each other, in words; empty where they are.

    They are where half of the kernels agree, or half of the values with weights (a reordering of channels changes
    all kernels), or an output; values that come close, since two models trained on the same data come near. An output
    that hardly varies counts where nothing has weights. Several inner layers that all have a partner are those of one
    network that was trained on: inside, two networks have nothing in common.
    """
    count = min(sum(place.is_weighted for place in flow.places) for flow in (reference, candidate))
    ends = candidate.ends() - set(candidate.inputs)
    near = [m for m in matches if (m.confirmed in ("values", "place") and m.distance <= CLOSE) or not count]
    if {match.candidate for match in near} & ends:
        return ""
    alike = max(sum(match.kernel is True for match in matches), _common(reference, candidate, agrees))
    aligned = sum(match.kernel is not None for match in near)
    if count and max(alike, aligned) >= AT_LEAST * count:
        return ""
    inner = [m for m in matches if m.kernel is not None and m.confirmed == "values" and m.candidate not in ends]
    if len(inner) >= max(INNER, count - len(ends)):
        return ""
    other = (
        f"weights of {count - min(alike, count)} of {count} layers are not the file's, "
        f"the values of {aligned} of them agree, and no output"
    )
    trained_on = count and _common(reference, candidate, is_trained_on) >= AT_LEAST * count
    return f"{other}; {TRAINED_ON}" if trained_on else other


def _common(reference: Flow, candidate: Flow, has: Callable[[Layer, Tensor, Sequence[Layer]], bool]) -> int:
    """How many kernels of the candidate the reference has too, wherever; one that is used twice counts twice."""
    layers = [layer for place in reference.places for layer in own_layers(place)]
    stored = [place.kernel for place in candidate.places if place.kernel is not None]
    return sum(any(has(layer, kernel, layers) for layer in layers) for kernel in stored)


PROBED, SAMPLES_AT_ONCE = 64, 1000  # that the alignment looks at; that run together
BYTES_AT_ONCE = 2**28  # of inner values of both sides in memory
TRIES = 4


def align_models(reference: BoundModel, candidate: BoundModel) -> Alignment:
    """Run both on the first samples, and align every value that has a partner.

    Raises:
        RuntimeFailed: a model does not run.
    """
    at_once = _samples_at_once([side.run(0, 1) for side in (reference, candidate)])
    count = min(PROBED, at_once)
    seen = reference.run(0, count), candidate.run(0, count)
    flows = seen[0].flow, seen[1].flow
    placed = _placed(flows, (reference, candidate), seen)
    sampled = _sampled(seen[0], placed), _sampled(seen[1], placed)
    refusals = Refusals(distances_between(*sampled))
    matches = _matches(flows, placed, refusals, Local(seen, sampled[1], placed))
    matches = [_with_kernel(match, flows) for match in with_insides(*flows, matches)]
    if why := unrelated(*flows, matches):
        agreeing = tuple(match for match in matches if match.confirmed in ("values", "place"))
        mine, other = (_unmatched(flow, agreeing, side) for side, flow in enumerate(flows))
        return Alignment(*flows, agreeing, tuple(pairs_of(flows, agreeing)), mine, other, why, at_once)
    only_reference, only_candidate = leftovers(*flows, matches, refusals)
    pairs = tuple(pairs_of(flows, tuple(matches)))
    return Alignment(*flows, tuple(matches), pairs, only_reference, only_candidate, at_once=at_once)


def align_pair(reference: Reference, candidate: Reference, batch: Batch) -> Alignment:
    """Open both and align them on these data; where one does not run, by weights and names alone.

    Raises:
        BadData: the data do not fit a model's inputs.
    """
    try:
        with reference.recorder() as ours, candidate.recorder() as theirs:
            return align_models(bound(reference, ours, batch), bound(candidate, theirs, batch))
    except RuntimeFailed:
        model = candidate.lower()
        if model is None:
            raise
        return align_weights(reference.layers(), tflite_flow(model, candidate.kind))


def align_weights(layers: Sequence[Layer], flow: Flow) -> Alignment:
    """What weights and names say of two models that cannot be run: kernels and biases alone."""
    pairs = constant_pairs(layers, [(place, ()) for place in flow.places])
    return Alignment(Flow("", (), (), ()), flow, pairs=tuple(pairs))


def pairs_of(flows: tuple[Flow, Flow], matches: tuple[Match, ...]) -> Iterator[TensorPair]:
    """Matches, kernels and biases by layer and tensor."""
    ours, theirs = (flow.by_key() for flow in flows)
    near: dict[int, list[Layer]] = {}
    for match in matches:
        mine, other = segments(match, ours, theirs)
        for place in other:
            near.setdefault(place.key, []).extend(layer for each in mine for layer in own_layers(each))
    layers = {layer.name: layer for place in flows[0].places for layer in own_layers(place)}.values()
    yield from constant_pairs(tuple(layers), [(place, near.get(place.key, ())) for place in flows[1].places])
    yield from output_pairs(flows, matches)


def _matches(
    flows: tuple[Flow, Flow], placed: Mapping[tuple[int, int], str], refusals: Refusals, local: Local
) -> list[Match]:
    """Choose, hold against what each makes of the other's input, and choose again without what is contradicted."""
    matches = list[Match]()
    for _ in range(TRIES):
        left = refusals.left()
        matches = choose_matches(*flows, left, {pair: how for pair, how in placed.items() if pair in left})
        matches = _without_moved_biases(matches, flows, refusals)
        wrong = contradicted(matches, local)
        if not wrong:
            break
        for match in wrong:
            refusals.add(match, "fed with the file's own input it gives other values")
    return confirmed(matches, local, refusals)


def _placed(
    flows: tuple[Flow, Flow], sides: tuple[BoundModel, BoundModel], seen: tuple[Recording, Recording]
) -> dict[tuple[int, int], str]:
    """Inputs that are fed with the same array, and outputs that are the same output: pairs by their place."""
    pairs = {}
    for i, mine in enumerate(sides[0].inputs):
        for j, other in enumerate(sides[1].inputs):
            if i < len(flows[0].inputs) and j < len(flows[1].inputs) and _one_array(mine, other):
                keys = [_as_integers(flow, flow.inputs[k]) for flow, k in zip(flows, (i, j), strict=True)]
                pairs[_level(flows, (flows[0].inputs[i], flows[1].inputs[j]), (keys[0], keys[1]))] = "input"
    ends = [tuple(_end(flow, key) for key in flow.outputs) for flow in flows]
    if len(ends[0]) == len(ends[1]):
        values = [[seen[k].value(key) for key in flow.outputs] for k, flow in enumerate(flows)]
        names = [[flow.by_key()[key].name for key in flow.outputs] for flow in flows]
        order = order_of_outputs((names[0], values[0]), (names[1], values[1]))
        for k, at in enumerate(order or ()):
            pairs.setdefault((ends[0][k], ends[1][at]), "output")
    return pairs


def _one_array(a: Array, b: Array) -> bool:
    """Whether both are views of the same data."""
    return a.size == b.size and a.__array_interface__["data"][0] == b.__array_interface__["data"][0]


def _as_integers(flow: Flow, key: int) -> int | None:
    """The one value that an input is quantized to at once, where nothing else reads it."""
    users = [place for place in flow.places if key in place.feeds]
    return users[0].key if len(users) == 1 and users[0].op == INTO_INTEGERS else None


def _level(
    flows: tuple[Flow, Flow], plain: tuple[int, int], quantized: tuple[int | None, int | None]
) -> tuple[int, int]:
    """An input beside an input; integers beside integers, where both models have them in front."""
    mine, other = quantized
    whole = flows[1].by_key()[plain[1]].grid is not None
    if mine is not None and (other is not None or whole):
        return mine, plain[1] if whole or other is None else other
    return plain[0], plain[1] if other is None or whole else other


def _end(flow: Flow, key: int) -> int:
    """An output; of one that restates integers, those."""
    place = flow.by_key()[key]
    return place.feeds[0] if key in flow.restating() and len(place.feeds) == 1 else key


def _samples_at_once(probes: Sequence[Recording]) -> int:
    bytes_each = sum(seen.value(place.key).nbytes for seen in probes for place in seen.flow.places)
    return max(1, min(SAMPLES_AT_ONCE, BYTES_AT_ONCE // max(1, bytes_each)))


def _sampled(seen: Recording, placed: Mapping[tuple[int, int], str]) -> dict[int, Sample]:
    """A model's values for the first samples. Floats that restate integers are left to these."""
    aside = seen.flow.restating() - {key for pair in placed for key in pair}
    values = ((place, seen.value(place.key)) for place in seen.flow.places if place.key not in aside)
    return {place.key: sample(place, array) for place, array in values if array.size}


def _without_moved_biases(matches: list[Match], flows: tuple[Flow, Flow], refusals: Refusals) -> list[Match]:
    places = flows[0].by_key(), flows[1].by_key()
    kept = []
    for match in with_insides(*flows, matches):
        mine, _ = segments(match, *places)
        if bias_moved(mine, places[1][match.candidate]):
            refusals.add(match, "its bias is added in a later operator")
        else:
            kept.append(match)
    return kept


def _with_kernel(match: Match, flows: tuple[Flow, Flow]) -> Match:
    return replace(match, kernel=kernels_agree(*segments(match, flows[0].by_key(), flows[1].by_key())))


def _unmatched(flow: Flow, matches: Sequence[Match], side: int) -> tuple[Leftover, ...]:
    taken = {match.keys[side] for match in matches} | flow.restating()
    rest: Iterator[FlowValue] = (place for place in flow.places if place.key not in taken)
    return tuple(Leftover(place.key, place.name, place.op, "these are not the same model") for place in rest)
