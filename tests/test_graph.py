"""Constants as dense arrays, against matrices written by hand."""

from __future__ import annotations

import numpy as np
import pytest

from quantdiff.errors import BadModel
from quantdiff.graph import Tensor, dense_values
from quantdiff.quant import Array, SparseDimension, Sparsity, is_float, unpack_integers

BLOCKS = [[1, 2, 0, 0], [3, 4, 0, 0], [0, 0, 5, 6], [0, 0, 7, 8]]


def csr(size: int, segments: list[int], indices: list[int]) -> SparseDimension:
    return SparseDimension("SPARSE_CSR", size, np.array(segments), np.array(indices))


def test_int4_lowest_bits_first() -> None:
    values = unpack_integers(np.array([0x21, 0x8F], np.uint8), "int4", (3,))
    assert values.dtype == np.int8
    assert values.tolist() == [1, 2, -1]
    assert unpack_integers(np.array([0x21, 0x8F], np.uint8), "uint4", (2, 2)).tolist() == [[1, 2], [15, 8]]


def test_int2_lowest_bits_first() -> None:
    assert unpack_integers(np.array([0b11100100], np.uint8), "int2", (4,)).tolist() == [0, 1, -2, -1]


def test_bfloat16() -> None:
    tensor = Tensor(0, "t", (2,), "bfloat16", data=np.array([0x3F80, 0xC000], np.uint16))
    assert dense_values(tensor).tolist() == [1.0, -2.0]


def test_plain_data_is_not_copied() -> None:
    data = np.zeros(3, np.int8)
    assert dense_values(Tensor(0, "t", (3,), "int8", data=data)) is data


def sparse(shape: tuple[int, ...], sparsity: Sparsity, data: Array) -> Tensor:
    return Tensor(0, "t", shape, "float32", data=data, sparsity=sparsity)


def test_sparse_rows() -> None:
    levels = SparseDimension("DENSE", 3), csr(4, [0, 1, 1, 3], [2, 0, 3])
    tensor = sparse((3, 4), Sparsity((0, 1), (), levels), np.array([1.0, 2.0, 3.0], np.float32))
    assert dense_values(tensor).tolist() == [[0, 0, 1, 0], [0, 0, 0, 0], [2, 0, 0, 3]]


def test_sparse_columns() -> None:
    levels = SparseDimension("DENSE", 4), csr(3, [0, 1, 1, 2, 3], [2, 0, 2])
    tensor = sparse((3, 4), Sparsity((1, 0), (), levels), np.array([2.0, 1.0, 3.0], np.float32))
    assert dense_values(tensor).tolist() == [[0, 0, 1, 0], [0, 0, 0, 0], [2, 0, 0, 3]]


def test_sparse_blocks() -> None:
    """2 x 2 blocks on the diagonal: block rows dense, block columns compressed, the insides dense."""
    inside = SparseDimension("DENSE", 2)
    levels = SparseDimension("DENSE", 2), csr(2, [0, 1, 2], [0, 1]), inside, inside
    tensor = sparse((4, 4), Sparsity((0, 1, 2, 3), (0, 1), levels), np.arange(1.0, 9.0))
    assert dense_values(tensor).tolist() == BLOCKS


@pytest.mark.parametrize(
    "levels",
    [
        (SparseDimension("DENSE", 3), csr(4, [0, 1, 1, 3], [2, 0, 4])),
        (SparseDimension("DENSE", 3), csr(4, [0, 1], [2, 0, 3])),
        (SparseDimension("DENSE", 3), csr(4, [0, 1, 1, 2**31], [2, 0, 3])),
        (SparseDimension("DENSE", 2**31 - 1), csr(4, [0, 1, 1, 3], [2, 0, 3])),
        (SparseDimension("DENSE", 3),),
    ],
)
def test_sparsity_that_contradicts_itself(levels: tuple[SparseDimension, ...]) -> None:
    tensor = sparse((3, 4), Sparsity((0, 1), (), levels), np.zeros(3, np.float32))
    with pytest.raises(BadModel, match="contradicts itself"):
        dense_values(tensor)


def test_no_constant() -> None:
    with pytest.raises(BadModel, match="tensor 4 'x' holds no constant"):
        dense_values(Tensor(4, "x", (1,), "int8"))


@pytest.mark.parametrize("dtype", ["float16", "float32", "bfloat16", "float8_e4m3fn", "float4_e2m1fn"])
def test_floats_that_numpy_does_not_know_are_floats(dtype: str) -> None:
    assert is_float(dtype)
