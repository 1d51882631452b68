"""Align two models: structure, names and weights propose, what they compute for the same data decides.

Doubtful pairs are far apart, but perhaps because the layers before them are: fed alike, they tell.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from quantdiff.align.alignment import (
    Alignment,
    Leftover,
    Match,
    Sample,
    TensorPair,
    agreement,
    order_of_outputs,
    output_pairs,
    sample,
)
from quantdiff.align.choice import (
    AGREES,
    Refusals,
    choose_matches,
    distances_between,
    leftovers,
    segments,
    with_insides,
)
from quantdiff.align.constants import agrees, bias_moved, constant_pairs, is_trained_on, kernels_agree, own_layers
from quantdiff.errors import RuntimeFailed
from quantdiff.graph import Tensor
from quantdiff.load.data import Batch, turned
from quantdiff.ops import INTO_INTEGERS, RECODES, Layer
from quantdiff.quant import Array
from quantdiff.recording import BoundModel, Flow, FlowValue, Recording, bound, returned, tflite_flow, value_at
from quantdiff.references.reference import Reference

IN_FLOAT = 1e-5  # of the size of a value: sums of float32 in another order differ by less, another formula by more
BETTER = 2.0  # times nearer does a value bring what is computed from it, where it does the work of the reference's


@dataclass(frozen=True, slots=True)
class Local:
    """A run of both sides, and samples of the candidate's values; ``placed`` are pairs that belong by their place."""

    seen: tuple[Recording, Recording]
    candidate: Mapping[int, Sample]
    placed: Mapping[tuple[int, int], str] = field(default_factory=dict)

    @property
    def flows(self) -> tuple[Flow, Flow]:
        """Reference and candidate."""
        return self.seen[0].flow, self.seen[1].flow

    def values(self, matches: Iterable[Match]) -> dict[int, tuple[Sample, Sample]]:
        """Reference key → its local value and the candidate's, for the matches that can be told."""
        matches = tuple(matches)
        ours, theirs = (flow.by_key() for flow in self.flows)
        given = {m.reference: returned(value_at(self.seen[1], theirs[m.candidate]), m.order) for m in matches}
        found = self.seen[0].local(given)
        return {
            m.reference: (sample(ours[m.reference], turned(found[m.reference], m.order)), self.candidate[m.candidate])
            for m in matches
            if m.reference in found
        }

    def distances(self, matches: Iterable[Match]) -> dict[int, float]:
        """Reference key → distance of its local value from the candidate's; values that hardly vary say nothing."""
        found = {key: agreement(*pair) for key, pair in self.values(matches).items()}
        return {key: each.distance for key, each in found.items() if each is not None and not each.flat}


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


def contradicted(matches: Sequence[Match], local: Local) -> list[Match]:
    """Matches that are none: the reference, fed with the candidate's own input, gives something else.

    A float operator with float32 constants rounds nothing, so what it gives has to be the same. An output that is far
    from the other's is no match by its place where the layers before it do not explain that.
    """
    inside = with_insides(*local.flows, matches)
    asked = {m.reference for m in inside if _in_float(m, local.flows) or (_is_placed(m, local) and _far(m))}
    if not asked:
        return []
    values = local.values(inside)
    wrong = []
    for match in inside:
        pair = values.get(match.reference) if match.reference in asked else None
        if pair is None:
            continue
        found = agreement(*pair)
        if _in_float(match, local.flows):
            apart = _apart(*pair) > IN_FLOAT
        else:
            apart = found is not None and not found.flat and found.distance > AGREES
        wrong += [match] * apart
    return wrong


def _is_placed(match: Match, local: Local) -> bool:
    return local.placed.get(match.keys) == "output"


def _far(match: Match) -> bool:
    return match.confirmed == "doubtful"


def _in_float(match: Match, flows: tuple[Flow, Flow]) -> bool:
    """Whether all that leads from the matches before to this value is float with float32 constants, on both sides."""
    mine, segment = segments(match, *(flow.by_key() for flow in flows))
    if any(place.quant is not None for place in mine):  # what rounds gives something else than a float operator
        return False
    return all(place.in_float or place.op in RECODES for place in segment) and segment[-1].in_float


def _apart(ours: Sample, theirs: Sample) -> float:
    """The difference of two values over their size, Euclidean."""
    a, b = (each.elements.astype(np.float64) for each in (ours, theirs))
    size = float(np.linalg.norm(b))
    return float(np.linalg.norm(a - b)) / size if size else float(a.any())


def confirmed(matches: Sequence[Match], local: Local, refusals: Refusals) -> list[Match]:
    """The pairs without the doubtful ones that nothing bears out, or that something speaks against.

    What bears a pair out is either its own local value, or that of a pair computed from it, if that is nearer with
    the candidate's value than without: then it does the work of the reference's, however much it differs. What speaks
    against it is a later pair that agrees as it is, but not when it is computed from this one: channels in another
    order pass through all that works channel by channel, and not through the next sum of products.
    """
    kept = list(matches)
    while any(match.confirmed == "doubtful" for match in kept):
        found = local.distances(kept)
        wrong = _spoken_against(kept, found, local.flows)
        settled = [_settled(match, kept, found, local) for match in kept]
        gone = {m.keys for m in settled if m.confirmed == "doubtful" or m.reference in wrong}
        for match in kept:
            if match.keys in gone:
                refusals.add(match, "values do not agree")
        if not gone:
            return settled
        kept = [match for match in kept if match.keys not in gone]  # judged anew: they may have leaned on each other
    return kept


def _spoken_against(matches: Sequence[Match], found: Mapping[int, float], flows: tuple[Flow, Flow]) -> set[int]:
    """Doubtful pairs that lead, through nothing but doubtful ones, to one that agrees only without them."""
    doubtful = {match.reference for match in matches if match.confirmed == "doubtful"}
    feeding = _feeding(matches, flows)
    agree = (match.reference for match in matches if match.reference not in doubtful)
    waiting, wrong = [key for key in agree if found.get(key, 0.0) > AGREES], set[int]()
    for key in waiting:  # grows while it is walked
        new = feeding[key] & doubtful - wrong
        wrong |= new
        waiting.extend(new)
    return wrong


def _settled(match: Match, matches: Sequence[Match], found: Mapping[int, float], local: Local) -> Match:
    if match.confirmed != "doubtful":
        return match
    if found.get(match.reference, AGREES + 1) <= AGREES:
        return replace(match, confirmed="local")
    if _is_placed(match, local) and match.reference not in found:
        return replace(match, confirmed="place")  # hardly varies, so nothing speaks against it
    feeding = _feeding(matches, local.flows)
    users = [key for key, fed in feeding.items() if match.reference in fed and found.get(key, AGREES + 1) <= AGREES]
    if users:
        without = local.distances(other for other in matches if other is not match)
        if any(without.get(key, 0.0) > BETTER * found[key] for key in users):
            return replace(match, confirmed="next")
    return match


def _feeding(matches: Sequence[Match], flows: tuple[Flow, Flow]) -> dict[int, set[int]]:
    """Reference key → the pairs that it is computed from directly."""
    places, paired = flows[0].by_key(), {match.reference for match in matches}
    return {
        match.reference: {feed for key in (match.reference, *match.reference_inside) for feed in places[key].feeds}
        & paired
        for match in with_insides(*flows, matches)
    }
