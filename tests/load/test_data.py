"""Data files: read without unpickling, checked once, bound to inputs by name or position."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from quantdiff.errors import BadData
from quantdiff.experiment.datasets import default_name, load_dataset, locate
from quantdiff.load.data import Slot, UnknownInputs, bind, load_batch, make_batch
from quantdiff.quant import Array

X, Y = np.arange(12.0).reshape(3, 4), np.array([0, 1, 2])


def saved(folder: Path, **arrays: Array) -> Path:
    np.savez(folder / "data.npz", allow_pickle=True, **arrays)
    return folder / "data.npz"


def test_npz_with_labels(tmp_path: Path) -> None:
    batch = load_batch(saved(tmp_path, y=Y, x=X, other=np.zeros(7)))
    assert list(batch.arrays) == ["x"]
    assert len(batch) == 3
    assert batch.labels is not None
    assert batch.labels.tolist() == [0, 1, 2]


def test_npy_and_first_array(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", X)
    assert load_batch(tmp_path / "x.npy").arrays["x"].tolist() == X.tolist()
    assert list(load_batch(saved(tmp_path, images=X)).arrays) == ["images"]


def test_the_test_part_of_a_keras_file(tmp_path: Path) -> None:
    batch = load_batch(saved(tmp_path, x_train=np.zeros((9, 4)), y_train=np.zeros(9, int), x_test=X, y_test=Y))
    assert list(batch.arrays) == ["x_test"]
    assert batch.labels is not None


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": np.array([[1.0, np.nan]])}, r"`x` holds NaN or infinity, first in sample 0 at \(1\)"),
        ({"x": np.array([[1.0], [-np.inf]])}, "first in sample 1"),
        ({"x": np.zeros((0, 4))}, "is empty"),
        ({"x": np.array(3.0)}, "is empty"),
        ({"x": np.array(["a"])}, "samples are numbers"),
        ({"y": Y}, "holds no samples"),
        ({"a": X, "b": X[:2]}, "unequal length"),
        ({"x": X, "y": Y[:2]}, "for 3 samples"),
        ({"x": X, "y": Y.astype(float)}, "one integer per sample"),
    ],
)
def test_data_that_cannot_be_used(tmp_path: Path, arrays: dict[str, Array], message: str) -> None:
    with pytest.raises(BadData, match=message):
        load_batch(saved(tmp_path, **arrays))


def test_pickles_are_never_loaded(tmp_path: Path) -> None:
    np.save(tmp_path / "evil.npy", np.array([print], dtype=object), allow_pickle=True)
    saved(tmp_path, x=np.array([print], dtype=object))
    for name in ("evil.npy", "data.npz"):
        with pytest.raises(BadData, match="pickled Python objects, which are never loaded"):
            load_batch(tmp_path / name)


@pytest.mark.parametrize("content", [b"", b"not an archive", b"PK\x03\x04 torn", b"\x93NUMPY\x01\x00v"])
@pytest.mark.parametrize("name", ["data.npz", "data.npy"])
def test_files_of_another_kind(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(BadData, match=name):
        load_batch(tmp_path / name)


def test_a_header_that_promises_more_than_there_is(tmp_path: Path) -> None:
    header = b"{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000,)}"
    (tmp_path / "huge.npy").write_bytes(b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header)
    with pytest.raises(BadData, match=r"huge.npy: not a readable"):
        load_batch(tmp_path / "huge.npy")


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(BadData, match="no such data file"):
        load_batch(tmp_path / "none.npz")


def slots(*shapes: tuple[int | None, ...]) -> list[Slot]:
    return [Slot(f"in{i}", shape, "float32", (f"alias{i}",)) for i, shape in enumerate(shapes)]


def test_arrays_are_bound_by_name_by_number_or_by_a_shape_of_their_own() -> None:
    a, b = np.zeros((3, 2)), np.ones((3, 2))
    by_name = bind(make_batch({"in1": a, "alias0": b}, "s"), slots((1, 2), (1, 2)), "m")
    assert by_name[0] is b
    assert by_name[1] is a
    for names in (("0", "1"), ("arr_0", "arr_1")):
        by_number = bind(make_batch({names[1]: b, names[0]: a}, "s"), slots((None, 2), (-1, 2)), "m")
        assert by_number[0] is a
    wide = np.zeros((3, 5))
    assert bind(make_batch({"p": wide, "q": a}, "s"), slots((None, 2), (-1, 5)), "m")[0] is a


def test_names_that_fit_nothing_are_not_taken_by_position() -> None:
    a, b = np.zeros((3, 2)), np.ones((3, 2))
    with pytest.raises(UnknownInputs, match=r"arrays p, q are no inputs of m; name them in0, in1 \(or 0, 1"):
        bind(make_batch({"p": a, "q": b}, "s"), slots((None, 2), (-1, 2)), "m")
    with pytest.raises(UnknownInputs):
        bind(make_batch({"p": a, "q": b}, "s"), slots((None, 2)), "m")
    assert bind(make_batch({"p": a}, "s"), slots((None, 2)), "m")[0] is a


def test_axes_of_size_one_may_come_and_go() -> None:
    batch = make_batch({"x": np.zeros((5, 28, 28))}, "s")
    assert bind(batch, slots((1, 28, 28, 1)), "m")[0].shape == (5, 28, 28, 1)
    with pytest.raises(BadData, match=r"samples of shape \(28, 28\) do not fit input 'in0' of m"):
        bind(batch, slots((1, 784)), "m")


def test_mnist_small_is_real_disjoint_and_small() -> None:
    data = load_dataset("mnist-small")
    assert (data.x_train.shape, data.x_test.shape) == ((6000, 28, 28), (2000, 28, 28))
    assert np.bincount(data.y_train, minlength=10).min() > 500
    assert (data.x_train.min(), data.x_train.max()) == (0.0, 1.0)
    assert locate("mnist-small").stat().st_size < 3_000_000
    train = {image.tobytes() for image in data.x_train}
    assert not any(image.tobytes() in train for image in data.x_test)


def test_without_network_mnist_says_where_to_put_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    assert default_name() == "mnist-small"
    (tmp_path / "datasets").mkdir()
    (tmp_path / "datasets" / "mnist.npz").touch()
    assert default_name() == "mnist"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x_test": None}, "lacks x_test"),
        ({"x_train": np.zeros((4, 5, 5), np.uint8)}, r"images of shape \(5, 5\)"),
        ({"x_test": np.zeros((0, 28, 28)), "y_test": np.zeros(0, int)}, "no images"),
        ({"y_train": np.array([0, 1, 2, 10])}, "labels from 0 to 10"),
        ({"y_train": np.array([0, 1])}, "for 4 images"),
        ({"x_train": np.full((4, 28, 28), np.nan)}, "NaN"),
    ],
)
def test_data_sets_that_cannot_be_trained_on(tmp_path: Path, change: dict[str, Array | None], message: str) -> None:
    images, labels = np.zeros((4, 28, 28), np.uint8), np.arange(4)
    parts = {"x_train": images, "y_train": labels, "x_test": images, "y_test": labels, **change}
    path = saved(tmp_path, **{name: array for name, array in parts.items() if array is not None})
    with pytest.raises(BadData, match=message):
        load_dataset(str(path))
