"""Small symmetric systems of equations, as least squares gives them: positive definite, a dozen unknowns."""

from __future__ import annotations

from collections.abc import Sequence

Matrix = list[list[float]]


def inverse(matrix: Sequence[Sequence[float]]) -> Matrix:
    """The inverse of a symmetric positive definite matrix, by elimination with pivots on the diagonal.

    Raises:
        ZeroDivisionError: it is singular; a prior on every unknown keeps it from being so.
    """
    size = len(matrix)
    rows = [[*row, *(1.0 if i == j else 0.0 for j in range(size))] for i, row in enumerate(matrix)]
    for pivot in range(size):
        scale = rows[pivot][pivot]
        rows[pivot] = [value / scale for value in rows[pivot]]
        for i in range(size):
            if i != pivot and (factor := rows[i][pivot]):
                rows[i] = [value - factor * by for value, by in zip(rows[i], rows[pivot], strict=True)]
    return [row[size:] for row in rows]


def product(matrix: Sequence[Sequence[float]], vector: Sequence[float]) -> list[float]:
    """A matrix times a vector."""
    return [dot(row, vector) for row in matrix]


def dot(one: Sequence[float], other: Sequence[float]) -> float:
    """The inner product."""
    return sum(a * b for a, b in zip(one, other, strict=True))
