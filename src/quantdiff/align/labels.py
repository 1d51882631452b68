"""What the names of two places say about whether they belong together."""

from __future__ import annotations

from quantdiff.run.flow import Flow, Place


def label_score(ours: Place, theirs: Place, reference: Flow, candidate: Flow) -> float:
    """2 the same name, or the last layer that a tensor's name names; 1 one of those named; 0.5 ends; 0 nothing."""
    if plain(ours.name) == plain(theirs.name):
        return 2
    named = owners(theirs.name, reference)
    if plain(ours.name) in named:
        return 2 if named[-1] == plain(ours.name) else 1
    named = owners(ours.name, candidate)
    if plain(theirs.name) in named:
        return 2 if named[-1] == plain(theirs.name) else 1
    both_ends = (ours.key in reference.inputs and theirs.key in candidate.inputs) or (
        ours.key in reference.outputs and theirs.key in candidate.outputs
    )
    shared = parts(ours.name) & parts(theirs.name)
    either = parts(ours.name) | parts(theirs.name)
    return max(0.5 * both_ends, 0.9 * len(shared) / len(either) if either else 0)


def owners(name: str, flow: Flow) -> list[str]:
    """The places of ``flow`` that a tensor's name mentions, in the order of computation."""
    mentioned = parts(name)
    return [plain(place.name) for place in flow.places if plain(place.name) in mentioned]


def parts(name: str) -> frozenset[str]:
    """The pieces of a path such as ``model/quant_bn/Fused;model/quant_conv/Conv2D``."""
    return frozenset(plain(part) for path in name.split(";") for part in path.split("/") if part)


def plain(name: str) -> str:
    """Without TFMOT's ``quant_`` and the number of a repeated call."""
    return name.partition("#")[0].removesuffix(":0").removeprefix("quant_")
