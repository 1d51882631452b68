"""Cases of ops that copy values elsewhere, or compare them as they stand; int8, one scale in and out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from golden import Case, Dice, Maker
from written_models import Op, T

from quantdiff.quant import Array


class Moved:
    """Builds a case of one op: int8 tensors of one scale in and out, constants in between."""

    def __init__(self, dice: Dice, op: str, options: dict[str, Any] | None = None, kind: str | None = None) -> None:
        self.dice, self.op = dice, Op(op, [], ["y"], options or {}, kind)
        self.scale, self.zero_point = dice.scale(), dice.zero_point()
        self.tensors: list[T] = []
        self.names: list[str | None] = []
        self.feeds: dict[str, Array] = {}

    def x(self, shape: Sequence[int]) -> Moved:
        name = f"x{len(self.tensors)}"
        self.tensors.append(T(name, shape, "int8", self.scale, self.zero_point))
        self.names.append(name)
        self.feeds[name] = self.dice.integers(shape)
        return self

    def constant(self, values: Any, dtype: str = "int32") -> Moved:
        name, array = f"c{len(self.tensors)}", np.asarray(values, dtype)
        self.tensors.append(T(name, array.shape, dtype, data=array))
        self.names.append(name)
        return self

    def case(self, outputs: int = 1, dtype: str = "int8") -> Case:
        scale = self.scale if dtype == "int8" else None
        made = [f"y{i}" for i in range(outputs)]
        tensors = [*self.tensors, *(T(name, (1,), dtype, scale, self.zero_point) for name in made)]
        version = 3 if self.op.op == "BROADCAST_TO" else 1
        op = Op(self.op.op, self.names, made, self.op.options, self.op.options_type, version)
        return Case(tensors, [op], self.feeds).fitted()


def image(dice: Dice) -> tuple[int, int, int, int]:
    side = dice.of(5, 7, 7, 20)
    return dice.of(1, 1, 2), dice.side(2, side), dice.size(2, side), dice.of(1, 3, 8, 16, 17)


def strided_slice(dice: Dice) -> Case:
    shape = image(dice)
    begin = [dice.of(-size, 0) + dice.size(0, (size - 1) // dice.grown) for size in shape]
    end = [dice.size(b % size + 1, size) for b, size in zip(begin, shape, strict=True)]
    strides = [dice.of(1, 1, 2) for _ in shape] if dice.chance() else [1] * 4
    masks = {"beginMask": dice.size(0, 15), "endMask": dice.size(0, 15), "shrinkAxisMask": dice.of(0, 0, 1, 2, 8)}
    return Moved(dice, "STRIDED_SLICE", masks).x(shape).constant(begin).constant(end).constant(strides).case()


def slice_(dice: Dice) -> Case:
    shape = image(dice)
    begin = [dice.size(0, (size - 1) // dice.grown) for size in shape]
    sizes = [dice.of(-1, dice.size(1, size - b)) for b, size in zip(begin, shape, strict=True)]
    return Moved(dice, "SLICE", {}, "SliceOptions").x(shape).constant(begin).constant(sizes).case()


def pack(dice: Dice) -> Case:
    shape, count, moved = dice.shape(), dice.size(1, 4), None
    moved = Moved(dice, "PACK", {"axis": dice.size(0, len(shape)), "valuesCount": count})
    for _ in range(count):
        moved.x(shape)
    return moved.case()


def unpack(dice: Dice) -> Case:
    shape = image(dice)
    axis = dice.size(0, 3)
    return Moved(dice, "UNPACK", {"axis": axis, "num": shape[axis]}).x(shape).case(outputs=shape[axis])


def split(dice: Dice) -> Case:
    n, h, w, c = image(dice)
    parts = dice.of(2, 3, 5)
    return Moved(dice, "SPLIT", {"numSplits": parts}).constant([3]).x((n, h, w, c * parts)).case(outputs=parts)


def split_v(dice: Dice) -> Case:
    shape, sizes = (2, 3, 12), dice.of([3, 4, 5], [1, -1], [12], [2, 2, -1, 1])
    moved = Moved(dice, "SPLIT_V", {"numSplits": len(sizes)}).x(shape).constant(sizes).constant([2])
    return moved.case(outputs=len(sizes))


def transpose(dice: Dice) -> Case:
    shape = image(dice)
    return Moved(dice, "TRANSPOSE").x(shape).constant(dice.rng.permutation(4)).case()


def gather(dice: Dice, batches: int = 0) -> Case:
    shape, axis = image(dice), 2 if batches else dice.size(0, 3)
    indices = dice.rng.integers(0, shape[axis], (*shape[:batches], 5))
    return Moved(dice, "GATHER", {"axis": axis, "batchDims": batches}).x(shape).constant(indices).case()


def space_to_batch(dice: Dice) -> Case:
    n, h, w, c = image(dice)
    block, before = [dice.size(1, 3), dice.size(1, 3)], [dice.size(0, 2), dice.size(0, 2)]
    after = [-(size + b) % k for size, b, k in zip((h, w), before, block, strict=True)]
    pads = list(zip(before, after, strict=True))
    return Moved(dice, "SPACE_TO_BATCH_ND").x((n, h, w, c)).constant(block).constant(pads).case()


def batch_to_space(dice: Dice) -> Case:
    n, h, w, c = image(dice)
    block, crops = [dice.size(1, 3), dice.size(1, 3)], [[dice.size(0, 1), 0], [0, dice.size(0, 1)]]
    moved = Moved(dice, "BATCH_TO_SPACE_ND").x((n * block[0] * block[1], h, w, c))
    return moved.constant(block).constant(crops).case()


def space_to_depth(dice: Dice) -> Case:
    n, h, w, c = image(dice)
    block = dice.size(2, 3)
    return Moved(dice, "SPACE_TO_DEPTH", {"blockSize": block}).x((n, h * block, w * block, c)).case()


def depth_to_space(dice: Dice) -> Case:
    n, h, w, c = image(dice)
    block = dice.size(2, 3)
    return Moved(dice, "DEPTH_TO_SPACE", {"blockSize": block}).x((n, h, w, c * block * block)).case()


def nearest(dice: Dice) -> Case:
    options = dice.of({}, {"alignCorners": True}, {"halfPixelCenters": True})
    size = [dice.size(1, 15), dice.size(1, 15)]
    return Moved(dice, "RESIZE_NEAREST_NEIGHBOR", options).x(image(dice)).constant(size).case()


def reduced(op: str) -> Maker:
    def make(dice: Dice) -> Case:
        axes, keep = dice.of([1], [1, 2], [-1], [0, 3]), dice.chance()
        return Moved(dice, op, {"keepDims": keep}, "ReducerOptions").x(image(dice)).constant(axes).case()

    return make


def chosen(op: str) -> Maker:
    def make(dice: Dice) -> Case:
        kind = "ArgMaxOptions" if op == "ARG_MAX" else "ArgMinOptions"
        return Moved(dice, op, {"outputType": 2}, kind).x(image(dice)).constant([dice.of(3, 2, -1)]).case(dtype="int32")

    return make


def pair(op: str) -> Maker:
    def make(dice: Dice) -> Case:
        shape = image(dice)
        return Moved(dice, op, {}, "MaximumMinimumOptions").x(shape).x(dice.of(shape, (1, 1, 1, shape[3]))).case()

    return make


def mirrored(dice: Dice) -> Case:
    widths = dice.rng.integers(0, 2, (4, 2)) * [[0], [1], [1], [0]]
    return Moved(dice, "MIRROR_PAD", {"mode": dice.of(0, 1)}).x(image(dice)).constant(widths).case()


def padded(dice: Dice) -> Case:
    moved = Moved(dice, "PADV2").x(image(dice)).constant(dice.rng.integers(0, 3, (4, 2)))
    moved.tensors.append(T("v", (1,), "int8", moved.scale, moved.zero_point, data=[7]))
    moved.names.append("v")
    return moved.case()


def shaped(op: str) -> Maker:
    def make(dice: Dice) -> Case:
        shape = image(dice)
        if op == "EXPAND_DIMS":
            return Moved(dice, op).x(shape).constant([dice.size(0, 4)]).case()
        if op == "SQUEEZE":
            return Moved(dice, op, {"squeezeDims": [0]}).x((1, *shape[1:])).case()
        if op == "TILE":
            return Moved(dice, op).x(shape).constant([1, 2, 1, 3]).case()
        return Moved(dice, op).x((1, *shape[1:3], 1)).constant([2, *shape[1:3], 5]).case()

    return make


MAKERS: dict[str, Maker] = {
    "ARG_MAX int8": chosen("ARG_MAX"),
    "ARG_MIN int8": chosen("ARG_MIN"),
    "BATCH_TO_SPACE_ND": batch_to_space,
    "BROADCAST_TO": shaped("BROADCAST_TO"),
    "DEPTH_TO_SPACE": depth_to_space,
    "EXPAND_DIMS": shaped("EXPAND_DIMS"),
    "GATHER": gather,
    "GATHER batches": lambda dice: gather(dice, 1),
    "MAXIMUM": pair("MAXIMUM"),
    "MINIMUM": pair("MINIMUM"),
    "MIRROR_PAD": mirrored,
    "PACK": pack,
    "PADV2": padded,
    "REDUCE_MAX": reduced("REDUCE_MAX"),
    "REDUCE_MIN": reduced("REDUCE_MIN"),
    "RESIZE_NEAREST_NEIGHBOR": nearest,
    "SLICE": slice_,
    "SPACE_TO_BATCH_ND": space_to_batch,
    "SPACE_TO_DEPTH": space_to_depth,
    "SPLIT": split,
    "SPLIT_V": split_v,
    "SQUEEZE": shaped("SQUEEZE"),
    "STRIDED_SLICE": strided_slice,
    "TILE": shaped("TILE"),
    "TRANSPOSE": transpose,
    "UNPACK": unpack,
}
