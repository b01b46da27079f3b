"""Patterns of layer numbers match those numbers and no others, in tensor names of real architectures."""

from __future__ import annotations

import random
import re

import pytest

from app.models.architectures import tensors_of
from app.models.catalog import find_spec
from app.runtimes.layer_pattern import numbers_pattern
from app.runtimes.llama_command import EXPERT_TENSORS, layer_division, tensor_overrides
from app.solver.plan import Placement
from tests.runtimes.conftest import device, engine_of

ENGINE = engine_of("0.5.0", (device("CUDA0", "gpu:a"), device("Vulkan1", "gpu:b"), device("RPC0", "r", "RPC0[h:1]")))
BUFFERS = {"gpu:a": "CUDA0", "gpu:b": "Vulkan1", "r": "RPC0[h:1]", "cpu": "CPU"}


@pytest.mark.parametrize(
    ("numbers", "pattern"),
    [
        ((7,), "7"),
        ((2, 3), "[23]"),
        (range(12, 40), "1[2-9]|[23][0-9]"),
        (range(36), "[0-9]|[12][0-9]|3[0-5]"),
        ((0, 2, 5, 8), "[0258]"),
        (range(95, 118), "9[5-9]|10[0-9]|11[0-7]"),
    ],
)
def test_patterns_are_as_a_person_would_write_them(numbers: tuple[int, ...], pattern: str) -> None:
    assert numbers_pattern(numbers) == pattern


def test_any_set_of_numbers_is_matched_exactly() -> None:
    draw = random.Random(4)
    for _ in range(400):
        count = draw.choice((8, 48, 130, 512))
        chosen = set(draw.sample(range(count), draw.randint(1, count)))
        pattern = re.compile(rf"blk\.({numbers_pattern(chosen)})\.")
        assert {n for n in range(600) if pattern.search(f"blk.{n}.ffn_up_exps.weight")} == chosen


def test_a_pattern_has_neither_comma_nor_equals_sign_and_stays_short() -> None:
    draw = random.Random(5)
    for _ in range(100):
        pattern = numbers_pattern(draw.sample(range(96), draw.randint(1, 96)))
        assert not set(pattern) & set(",=")
        assert len(pattern) < 120


@pytest.mark.parametrize(
    "name", ["gpt-oss-120b", "glm-4.5-air", "qwen3-next-80b-a3b", "deepseek-v3", "gemma-4-26b-a4b", "llama-4-scout"]
)
def test_the_overrides_put_every_tensor_where_the_placement_says(name: str) -> None:
    spec = find_spec(name)
    names = [tensor.name for tensor in tensors_of(spec)]
    expert = re.compile(r"blk\.(\d+)\.ffn_(up|down|gate|gate_up)_exps\.")
    with_experts = {int(match[1]) for match in map(expert.match, names) if match}
    draw = random.Random(name)
    for attention in ("gpu:a", "gpu:b"):
        owners = tuple(
            draw.choice(("gpu:a", "gpu:b", "r", "cpu")) if layer in with_experts else attention
            for layer in range(spec.layers)
        )
        placement = Placement.on(attention, owners)
        rules = [one.partition("=")[::2] for one in tensor_overrides(placement, ENGINE)]
        for tensor in names:
            match = expert.match(tensor)
            told = next((buffer for pattern, buffer in rules if re.search(pattern, tensor)), BUFFERS[attention])
            layer = int(match[1]) if match else -1
            if match and layer < spec.layers:
                assert told == BUFFERS[owners[layer]], tensor
            elif not match:
                assert told == BUFFERS[attention], tensor
        assert all(EXPERT_TENSORS in pattern for pattern, _ in rules)


def assigned(layers: str, shares: str, count: int) -> list[int]:
    """llama.cpp's own mapping of layers and head to devices, -1 the host: single precision, as it computes."""
    import struct

    def single(value: float) -> float:
        return float(struct.unpack("f", struct.pack("f", value))[0])

    gpu_layers = int(layers)
    start = max(count + 1 - gpu_layers, 0)
    active = min(gpu_layers, count + 1)
    given = [single(float(share)) for share in shares.split(",")]
    sums: list[float] = []
    for share in given:
        sums.append(single((sums[-1] if sums else 0.0) + share))
    sums = [single(total / sums[-1]) for total in sums]
    found = []
    for layer in range(count + 1):
        at = single(single(layer - start) / single(active))
        found.append(-1 if layer < start else next(i for i, total in enumerate(sums) if total > at))
    return found


def test_every_division_is_what_llama_cpp_makes_of_its_arguments() -> None:
    draw = random.Random(6)
    for _ in range(300):
        blocks = [draw.randint(1, 40) for _ in range(draw.randint(1, 4))]
        on_host = draw.choice((0, 0, draw.randint(1, 30)))
        nextn = draw.choice((0, 0, 1, 3))
        attention = ("cpu",) * on_host + tuple(f"gpu:{i}" for i, size in enumerate(blocks) for _ in range(size))
        layers, shares = layer_division(Placement(attention, attention, attention[-1]), nextn)
        if layers == "999":
            assert len(blocks) == 1
            assert not on_host
            continue
        told = assigned(layers, shares, len(attention) + nextn)
        expected = [-1] * on_host + [i for i, size in enumerate(blocks) for _ in range(size)]
        assert told[: len(attention)] == expected
        assert set(told[len(attention) :]) == {len(blocks) - 1}, "NextN layers and the head are with the last block"
