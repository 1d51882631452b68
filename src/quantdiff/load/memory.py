"""Data as people have them in Python: a path, an array, arrays by name, samples and labels."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from quantdiff.load.data import Batch, load_batch, make_batch

MEMORY = "data in memory"
"""The source of data that are in no file."""


def as_batch(data: Any) -> Batch:
    """A ``Batch`` of a file, of an array (samples along axis 0), of ``(x, y)``, or of arrays by input name.

    Raises:
        BadData: an empty set, NaN or infinity, labels that are not one integer per sample; a file that is none.
    """
    if isinstance(data, str | Path):
        return load_batch(Path(data))
    if isinstance(data, Batch):
        return data
    if isinstance(data, tuple) and len(data) == 2:  # noqa: PLR2004 (samples and labels, as fit takes them)
        data = dict(zip(("x", "y"), data, strict=True))
    arrays = data if isinstance(data, Mapping) else {"x": data}
    return make_batch({name: np.asarray(array) for name, array in arrays.items()}, MEMORY)
