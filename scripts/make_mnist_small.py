"""Cut ``mnist-small`` out of the full MNIST: ``python scripts/make_mnist_small.py PATH/TO/mnist.npz``.

Every 10th training and every 5th test digit, in the original order, so that train and test stay disjoint
and the kinds of handwriting (the first and second half of the test set differ) stay mixed.
"""

import sys
from pathlib import Path

import numpy as np

TARGET = Path(__file__).parents[1] / "src/quantdiff/experiment/mnist_small/mnist_small.npz"


def main() -> None:
    """Read the full set, keep a part, say what was kept."""
    with np.load(sys.argv[1], allow_pickle=False) as full:
        part = {
            "x_train": full["x_train"][::10],
            "y_train": full["y_train"][::10],
            "x_test": full["x_test"][::5],
            "y_test": full["y_test"][::5],
        }
    np.savez_compressed(TARGET, allow_pickle=False, **part)
    shapes = {name: array.shape for name, array in part.items()}
    print(f"{TARGET}: {TARGET.stat().st_size:,} bytes, {shapes}")


if __name__ == "__main__":
    main()
