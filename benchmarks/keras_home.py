"""A home for Keras with full MNIST in its cache, so that ``--data mnist`` finds it without a network."""

from __future__ import annotations

import os
import shutil
from pathlib import Path


def with_mnist(folder: Path, mnist: Path) -> None:
    """Put ``mnist`` where Keras looks for it, in this process and those that it starts."""
    datasets = folder / "keras" / "datasets"
    datasets.mkdir(parents=True)
    shutil.copy(mnist, datasets / "mnist.npz")
    os.environ["KERAS_HOME"] = str(datasets.parent)
