"""Which decisions of the reference became which of the candidate."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from quantdiff.quant import Array

SHOWN = 20
OTHERS = "others"


@dataclass(frozen=True, slots=True)
class Confusion:
    """``counts[i][j]``: samples that the reference puts into class ``names[i]`` and the candidate into ``names[j]``.

    Of more than 20 classes only those with most changes have a name of their own; the last row and column are the
    others.
    ``changed`` counts the samples, of ``samples``, whose decision is another one, whatever their classes are called.
    """

    names: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]
    changed: int
    samples: int


def confusion_of(reference: Array, candidate: Array, classes: int) -> Confusion:
    """Count pairs of decisions. Shapes: (samples,) each, class numbers below ``classes``."""
    changed = reference != candidate
    moved = np.bincount(reference[changed], minlength=classes) + np.bincount(candidate[changed], minlength=classes)
    most = np.argsort(-moved, kind="stable")[: SHOWN - 1]
    named = np.arange(classes) if classes <= SHOWN else np.sort(most[moved[most] > 0])
    places = np.full(classes, len(named))
    places[named] = np.arange(len(named))
    size = len(named) + (classes > SHOWN)
    counts = np.bincount(places[reference] * size + places[candidate], minlength=size * size).reshape(size, size)
    names = (*map(str, named.tolist()), *((OTHERS,) if classes > SHOWN else ()))
    return Confusion(names, tuple(map(tuple, counts.tolist())), int(np.count_nonzero(changed)), len(reference))
