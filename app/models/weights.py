"""Random weights for each tensor type, made from one tile of random blocks that is then repeated.

A tile has a prime number of blocks, so rows of any length begin at different places in it and no two rows of
a matrix are alike until the tile's length is used up.
"""

from __future__ import annotations

import math
import random
import struct
from array import array
from collections.abc import Callable
from dataclasses import dataclass

from app.errors import UsageError
from app.models.ggml_types import TYPES_BY_NAME

TILE_BLOCKS = 65_537
"""Prime. 1.1 MiB of MXFP4, 2.1 MiB of Q8_0."""
TILE_VALUES = 8_191
"""Prime; for the small F32 tensors."""

_UNIFORM_I8 = math.sqrt((256**2 - 1) / 12)
"""Standard deviation of a uniform signed byte."""
_E8M0_BIAS = 127
_MXFP4_DEVIATION = math.sqrt(sum(v * v for v in (0, 0.5, 1, 1.5, 2, 3, 4, 6)) / 8)
_Q6_DEVIATION = math.sqrt((64**2 - 1) / 12 + 0.25)
_Q4_DEVIATION = math.sqrt((16**2 - 1) / 12)
_Q4_K_SCALE = 32
"""The six-bit scale and minimum that every sub-block of a Q4_K or Q5_K block gets."""
_Q5_DEVIATION = math.sqrt((32**2 - 1) / 12)
_IQ4_VALUES = (-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113)
"""kvalues_iq4nl, llama.cpp `ggml/src/ggml-common.h`."""
_IQ4_DEVIATION = math.sqrt(sum(v * v for v in _IQ4_VALUES) / 16)
_IQ4_XS_SCALE = 16
"""The six-bit scale, less 32, that every sub-block of an IQ4_XS block gets."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """How random blocks of a type get a scale: bytes set at fixed places in each block."""

    places: Callable[[float], dict[int, int]]
    """Wanted standard deviation of the weights -> byte offset within the block -> byte."""


def _half(offset: int, value: float) -> dict[int, int]:
    """An f16 at `offset`."""
    low, high = struct.pack("<e", value)
    return {offset: low, offset + 1: high}


def _with_minimum(step: float, middle: float) -> dict[int, int]:
    # Sub-block scales of 6 bits: 0xA0 is 32 in its low six bits and carries the top bits (10) of the later four,
    # whose low nibbles are the last four bytes. The minimum centres quants from 0 up on zero.
    scales = dict.fromkeys(range(4, 12), 0xA0) | dict.fromkeys(range(12, 16), 0x00)
    return _half(0, step) | _half(2, middle * step) | scales


def _q4_k(deviation: float) -> dict[int, int]:
    return _with_minimum(deviation / (_Q4_DEVIATION * _Q4_K_SCALE), 7.5)


def _q5_k(deviation: float) -> dict[int, int]:
    return _with_minimum(deviation / (_Q5_DEVIATION * _Q4_K_SCALE), 15.5)


def _q5_1(deviation: float) -> dict[int, int]:
    step = deviation / _Q5_DEVIATION
    return _half(0, step) | _half(2, -15.5 * step)


def _iq4_xs(deviation: float) -> dict[int, int]:
    # Scales of 6 bits: the upper two (11) of all eight in two bytes, the lower four (0000) in the next four.
    scales = dict.fromkeys((2, 3), 0xFF) | dict.fromkeys(range(4, 8), 0x00)
    return _half(0, deviation / (_IQ4_DEVIATION * _IQ4_XS_SCALE)) | scales


RECIPES: dict[str, Recipe] = {
    "Q8_0": Recipe(lambda deviation: _half(0, deviation / _UNIFORM_I8)),
    "Q4_0": Recipe(lambda deviation: _half(0, deviation / _Q4_DEVIATION)),
    "MXFP4": Recipe(lambda deviation: {0: _E8M0_BIAS + round(math.log2(deviation / _MXFP4_DEVIATION))}),
    "Q5_0": Recipe(lambda deviation: _half(0, deviation / _Q5_DEVIATION)),
    "Q5_1": Recipe(_q5_1),
    "IQ4_NL": Recipe(lambda deviation: _half(0, deviation / _IQ4_DEVIATION)),
    "IQ4_XS": Recipe(_iq4_xs),
    "Q4_K": Recipe(_q4_k),
    "Q5_K": Recipe(_q5_k),
    "Q6_K": Recipe(lambda deviation: _half(208, deviation / (_UNIFORM_I8 * _Q6_DEVIATION))),
}
"""Block layouts: llama.cpp 0.5.0, `ggml/src/ggml-common.h`."""


def tile(type_name: str, deviation: float, seed: int, mean: float = 0.0) -> bytes:
    """Random blocks of a type whose weights have about this standard deviation.

    Args:
        type_name: a type of `ggml_types`.
        deviation: standard deviation of the weights.
        seed: the same seed gives the same bytes.
        mean: added to every weight; F32, F16 and BF16 only.

    Raises:
        UsageError: weights of this type cannot be made.
    """
    chance = random.Random(seed)
    if type_name in ("F32", "F16", "BF16"):
        return _floats(type_name, [chance.gauss(mean, deviation) for _ in range(TILE_VALUES)])
    if type_name not in RECIPES:
        raise UsageError(
            f"Random weights of the type {type_name} cannot be written",
            hint=f"Types that can be are {', '.join(['F32', 'F16', 'BF16', *RECIPES])}.",
        )
    size = TYPES_BY_NAME[type_name].block_bytes
    blocks = bytearray(chance.randbytes(size * TILE_BLOCKS))
    for offset, byte in RECIPES[type_name].places(deviation).items():
        blocks[offset::size] = bytes((byte,)) * TILE_BLOCKS
    return bytes(blocks)


def _floats(type_name: str, values: list[float]) -> bytes:
    if type_name == "F16":
        return struct.pack(f"<{len(values)}e", *values)
    words = array("f", values).tobytes()
    if type_name == "F32":
        return words
    upper = bytearray(len(words) // 2)  # BF16 is the upper half of an F32
    upper[0::2], upper[1::2] = words[2::4], words[3::4]
    return bytes(upper)
