"""Kernels and biases: which constant of the file holds which layer's, and whether it is that layer's."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from quantdiff.align.alignment import TensorPair
from quantdiff.align.choice import mentions
from quantdiff.graph import Tensor, block_steps, real_values
from quantdiff.ops import CLAMPS, KERNEL_RANGES, BatchNorm, Layer, along_channels
from quantdiff.quant import Array
from quantdiff.recording import FlowValue

FOUND = 0.25  # largest relative error (Euclidean) of two kernels that are found by their values alone
ROUNDED = 1.0  # steps: a half is rounding; a whole one is what another rounding, or a range a little off, may add
FEW, WORST = 0.02, 2.0  # share of a kernel that may be farther off, and steps: more is another kernel
FLOAT_STEP = 2.0**-10  # of a weight that is stored as a float of 16 bits
IMAGE = 4  # axes of such a kernel
MANY = 32  # weights: so many do not correlate by chance
ROWS = 4  # output channels: from so few on, a factor for each input tells a kernel from another
EVEN = 0.01  # relative spread of such factors: less is one factor for all, which no scale in front leaves
ALIKE = 0.5  # correlation from which one kernel is the other, trained on
NONE = 1e-3  # of the larger bias: as good as no bias
SLOPES: Mapping[str, tuple[float, ...]] = {"hard_sigmoid": (0.2, 1 / 6)}
"""Activations that begin with one factor for all, that of Keras 2 and that of others: it may be folded in."""
MIDDLE = 0.5  # that they add to it


@dataclass(frozen=True, slots=True)
class Fit:
    """A layer's kernel next to a stored one: relative error, share of weights that are off, the worst in steps.

    ``folded``: with the batch norm behind it. ``scaled``: times a factor for each input channel. ``slope``: times that
    of the activation behind it. ``alike``: the one may have been trained on from the other.
    """

    error: float
    off: float
    worst: float
    folded: bool
    scaled: bool = False
    slope: float = 1.0
    alike: bool = False

    @property
    def agrees(self) -> bool:
        """Whether rounding leads from the one to the other; a few weights may be a little farther off."""
        return self.off <= FEW and self.worst <= WORST


def constant_pairs(
    layers: Sequence[Layer], operators: Iterable[tuple[FlowValue, Sequence[Layer]]]
) -> Iterator[TensorPair]:
    """Kernel and bias of every operator that has weights; with each operator the layers it was matched with, if any.

    Values decide, first among the layers matched, then among all; a name alone proposes one that is not confirmed.
    """
    weighted = [each for layer in layers for each in (layer, *layer.inner) if each.kernel is not None]
    for place, near in operators:
        for kernel, bias in ((place.kernel, place.bias), *place.inner):
            owner = None if kernel is None else _owner(kernel, near, weighted, layers)
            if owner is None or kernel is None:
                continue
            layer, fit, found_by = owner
            chain = fused_chain(layers, layer)
            fused = tuple(each.name for each in (chain if fit.folded else _before_norm(chain)))
            confirmed = None if np.isnan(fit.off) else fit.agrees
            pair = TensorPair(layer.name, "kernel", kernel.index, place.operator, found_by, fused, slope=fit.slope)
            yield replace(pair, confirmed=confirmed, scaled=fit.scaled)
            if bias is not None:
                yield replace(pair, role="bias", tensor=bias.index)


def _owner(
    kernel: Tensor, near: Sequence[Layer], weighted: Sequence[Layer], layers: Sequence[Layer]
) -> tuple[Layer, Fit, str] | None:
    matched = [layer for layer in near if layer.kernel is not None]
    named = [layer for layer in weighted if mentions(kernel.name, layer.plain) or mentions(kernel.name, layer.name)]
    proposed = [(matched, "structure"), (named, "name"), (weighted, "values")]
    for candidates, found_by in proposed:
        fits = [(layer, fit) for layer in candidates if (fit := fit_of(layer, kernel, layers, near))]
        best = min(fits, key=lambda each: each[1].error, default=None)
        if best is not None and (best[1].error < FOUND or best[1].agrees):
            return *best, "name" if best[0] in named else found_by
    alone = (*named, *matched)
    fits = [(layer, fit) for layer in alone if (fit := fit_of(layer, kernel, layers, near))]
    return (*fits[0], "name" if fits[0][0] in named else "structure") if fits else None


def _norms(layer: Layer, layers: Sequence[Layer], near: Sequence[Layer] = ()) -> list[BatchNorm]:
    """The batch norms behind a layer; where its graph does not tell, those that it was matched together with."""
    chain = [each.norm for each in fused_chain(layers, layer) if each.norm is not None]
    return chain or [each.norm for each in near if each.norm is not None and layer in near]


def _slopes(layer: Layer, layers: Sequence[Layer]) -> tuple[float, ...]:
    """1, and the factors with which an activation in the layer or behind it may begin."""
    users = [each for each in layers if layer.name in each.inputs]
    last = users[0] if len(users) == 1 and users[0].kernel is None else layer
    return (1.0, *(SLOPES.get(layer.activation) or SLOPES.get(last.activation, ())))


def fit_of(layer: Layer, kernel: Tensor, layers: Sequence[Layer], near: Sequence[Layer] = ()) -> Fit | None:
    """How a stored kernel fits a layer's, with and without what may be folded in from behind; None for another shape.

    ``layers`` are all, ``near`` those that it was matched together with.
    """
    turned = layer.kernel is not None and _is_turned(layer.kernel.shape, kernel.shape)
    if layer.kernel is None or not (turned or _same_shape(layer.kernel.shape, kernel.shape)):
        return None
    stored, own, norms = real_values(kernel), layer.kernel.astype(np.float64), _norms(layer, layers, near)
    ways = [(own, not norms)]
    if norms and all(norm.factor.size == own.shape[layer.channel_axis] for norm in norms):
        ways.append((own * along_channels(layer, np.prod([norm.factor for norm in norms], axis=0)), True))
    with np.errstate(all="ignore"):  # a file may hold any number
        found = [(way.swapaxes(0, -1) if turned else way.reshape(stored.shape), folded) for way, folded in ways]
        fits = [
            replace(_fit(stored, slope * way, kernel, folded=folded), slope=slope)
            for slope in _slopes(layer, layers)
            for way, folded in found
        ]
        best = min(fits, key=lambda fit: fit.error)
        if best.agrees or turned or layer.channel_axis != 0:
            return best
        scaled = [
            replace(_fit(stored, way * factors, kernel, folded=folded), scaled=True)
            for way, folded in found
            if (factors := _factors(stored, way)) is not None
        ]
    return min((fit for fit in scaled if fit.agrees), key=lambda fit: fit.error, default=best)


def _factors(stored: Array, own: Array) -> Array | None:
    """What is left in a kernel of a scale in front of it: one factor for each input, by least squares. Shape: (in,).

    None where one factor fits all, or where so few outputs would be met by any. Shapes: (out, …, in).
    """
    if own.shape[0] < ROWS or own.ndim < 2:  # noqa: PLR2004 (outputs and inputs)
        return None
    axes = tuple(range(own.ndim - 1))
    factors: Array = (stored * own).sum(axes) / np.maximum((own * own).sum(axes), np.finfo(float).tiny)
    largest = float(np.abs(factors).max(initial=0.0))
    return factors if factors.size > 1 and float(np.ptp(factors)) > EVEN * largest else None


def _fit(stored: Array, own: Array, kernel: Tensor, *, folded: bool) -> Fit:
    size = float(np.linalg.norm(own))
    error = float(np.linalg.norm(stored - own)) / size if size else float(stored.any())
    if kernel.quant is None and kernel.blocks is not None and kernel.block_scales is None:
        return Fit(error, float("nan"), float("nan"), folded, alike=alike(stored, own))
    steps = np.abs(stored - own) / steps_of(kernel, stored)
    off = float(np.count_nonzero(steps > ROUNDED)) / max(1, steps.size)
    return Fit(error, off, float(steps.max(initial=0.0)), folded, alike=alike(stored, own))


def alike(stored: Array, own: Array) -> bool:
    """Whether two kernels of one shape correlate: one that was trained on does, another training of its own not."""
    product = float(np.dot(stored.ravel(), own.ravel()))
    return product > ALIKE * float(np.linalg.norm(stored)) * float(np.linalg.norm(own))


def steps_of(kernel: Tensor, stored: Array) -> Array:
    """The step of every stored weight, in real units: its scale or, of a float, what 16 bits can say of it."""
    if kernel.block_scales is not None:
        return block_steps(kernel)
    if kernel.quant is not None and kernel.quant.scale:
        scale, _ = kernel.quant.along(stored.ndim)
        return np.broadcast_to(scale.astype(np.float64), stored.shape)
    largest = float(np.abs(stored).max(initial=0.0)) or 1.0
    return np.maximum(np.abs(stored), largest * FLOAT_STEP) * FLOAT_STEP


def _same_shape(a: Sequence[int], b: Sequence[int]) -> bool:
    """Whether two shapes are the same, axes of size 1 aside."""
    return [n for n in a if n != 1] == [n for n in b if n != 1]


def _is_turned(a: Sequence[int], b: Sequence[int]) -> bool:
    """Whether the one is a convolution of one channel, and the other says so as a depthwise one: channels last."""
    return len(a) == IMAGE and 1 in (a[0], a[-1]) and tuple(a) != tuple(b) == (a[-1], *a[1:-1], a[0])


def fused_chain(layers: Sequence[Layer], first: Layer) -> tuple[Layer, ...]:
    """The layer and those after it that a converter folds into its operator: batch norm, then a clamp.

    A quantizer ends the chain: what it rounds has to exist.
    """
    chain = [first]
    while not any(r.name not in KERNEL_RANGES for r in chain[-1].ranges):
        users = [layer for layer in layers if chain[-1].name in layer.inputs]
        if len(users) != 1 or users[0].inputs != (chain[-1].name,):
            break
        if users[0].norm is None and users[0].op not in CLAMPS:
            break
        chain.append(users[0])
    return tuple(chain)


def _before_norm(chain: Sequence[Layer]) -> Sequence[Layer]:
    """The layers up to a batch norm that stayed an operator of its own."""
    norms = [i for i, layer in enumerate(chain) if layer.norm is not None]
    return chain[: norms[0]] if norms else chain


def kernels_agree(reference: Sequence[FlowValue], candidate: Sequence[FlowValue]) -> bool | None:
    """Whether the kernels of the candidate's operators are those of the reference's; None without one on each side."""
    layers = [layer for place in reference for layer in own_layers(place)]
    stored = [place.kernel for place in candidate if place.kernel is not None]
    weighted = [layer for layer in layers if layer.kernel is not None]
    if not stored or len(stored) != len(weighted):
        return None
    return all(any(agrees(layer, kernel, layers, layers) for layer in weighted) for kernel in stored)


def agrees(layer: Layer, kernel: Tensor, layers: Sequence[Layer], near: Sequence[Layer] = ()) -> bool:
    """Whether a stored kernel is what rounding makes of a layer's."""
    fit = fit_of(layer, kernel, layers, near)
    return fit is not None and fit.agrees


def is_trained_on(layer: Layer, kernel: Tensor, layers: Sequence[Layer]) -> bool:
    """Whether a stored kernel may be what further training made of a layer's; few weights are alike by chance."""
    if int(np.prod(kernel.shape)) < MANY:
        return False
    fit = fit_of(layer, kernel, layers)
    return fit is not None and fit.alike


def fit_between(reference: Sequence[FlowValue], candidate: FlowValue) -> Fit | None:
    """How the candidate's kernel is that of the one layer of the reference; None where it is not, or of several."""
    layers = [layer for place in reference for layer in own_layers(place)]
    weighted = [layer for layer in layers if layer.kernel is not None]
    if candidate.kernel is None or len(weighted) != 1:
        return None
    fit = fit_of(weighted[0], candidate.kernel, layers, layers)
    return fit if fit is not None and fit.agrees else None


def own_layers(place: FlowValue) -> tuple[Layer, ...]:
    """The layers of a value; of an operator of a file, one that holds its constants in real units."""
    if place.layers or place.kernel is None:
        return place.layers
    bias = None if place.bias is None or not place.bias.is_constant else real_values(place.bias)
    return (Layer(place.name, place.op, (), kernel=real_values(place.kernel), bias=bias, op=place.op),)


def bias_moved(reference: Sequence[FlowValue], candidate: FlowValue) -> bool:
    """Whether the reference's layer adds a bias that the candidate's operator does not: a later one adds it."""
    layers = [layer for place in reference for layer in own_layers(place)]
    weighted = [layer for layer in layers if layer.kernel is not None]
    if candidate.kernel is None or len(weighted) != 1:
        return False
    bias = with_norms(weighted[0].bias, layers)
    if bias is None:
        return False
    own, step = np.zeros(1), 0.0
    if candidate.bias is not None and candidate.bias.is_constant:
        own = real_values(candidate.bias)
        step = max(candidate.bias.quant.scale, default=0.0) if candidate.bias.quant is not None else 0.0
    largest = float(np.abs(bias).max(initial=0.0))
    # What is less than a step is none because it was rounded.
    return largest > step and float(np.abs(own).max(initial=0.0)) < NONE * largest


def with_norms(bias: Array | None, layers: Iterable[Layer]) -> Array | None:
    """A bias with batch norm in it, ``(bias - mean) * factor + beta``, in double; None where there is none at all."""
    found = None if bias is None else bias.astype(np.float64)
    for norm in (each.norm for each in layers if each.norm is not None):
        found = ((0.0 if found is None else found) - norm.mean) * norm.factor + norm.beta
    return found
