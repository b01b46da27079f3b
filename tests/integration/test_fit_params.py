"""The memory formula against llama.cpp's own answer, on the true shapes of many architectures."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from itertools import product
from pathlib import Path

import pytest

from app.models.catalog import find_spec
from app.models.gguf import read_header
from app.models.shape import shape_of
from app.models.slices import write_sparse
from app.runtimes.memory_oracle import parse_rows
from app.solver.memory import compute_bytes, kv_bytes, weight_bytes
from app.solver.model import KvType, ModelShape
from app.solver.plan import Parameters, Placement
from app.units import MIB

DENSE = ("gemma-3-27b", "qwen3-8b")
MOE = (
    "deepseek-v2-lite", "gemma-4-26b-a4b", "glm-4.5-air", "gpt-oss-20b", "lfm2-8b-a1b", "llama-4-scout",
    "minimax-m2", "mixtral-8x7b", "nemotron-3-nano-30b-a3b", "qwen3-30b-a3b", "qwen3-next-80b-a3b",
)  # fmt: skip
UBATCHES, CONTEXTS = (512, 2048), (4096, 32768)
KV_TYPES: tuple[KvType, ...] = ("f16", "q8_0")
NAMES = {"cpu": "Host", "one": "RPC0", "two": "RPC1"}
"""Our devices -> the tool's."""


def sparse(name: str, folder: Path) -> tuple[Path, ModelShape]:
    # Without NextN layers: the tool counts them, llama.cpp leaves them in the file.
    path = write_sparse(replace(find_spec(name), nextn=0), folder / f"{name}.gguf").path
    return path, shape_of(read_header(path))


def asked(tools: Path, path: Path, parameters: Parameters, *placing: str) -> dict[str, list[int]]:
    """MiB of weights, cache and compute buffers by device, as the tool reserves them."""
    done = subprocess.run(
        [
            *(tools / "llama-fit-params", "-m", path, "--fit-print", "on", "--no-repack", "-fa", "on", "-np", "1"),
            *("-c", str(parameters.context), "-ub", str(parameters.ubatch), "-b", str(parameters.batch)),
            *("-ctk", parameters.kv_type_k, "-ctv", parameters.kv_type_v, *placing),
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    rows = parse_rows(done.stdout, done.stderr)
    assert rows, done.stderr[-2000:]
    return rows


def compare(rows: dict[str, list[int]], shape: ModelShape, placement: Placement, parameters: Parameters) -> list[str]:
    """What is off by more than 2 % or 32 MiB (weights, cache), or 15 % (a device's total)."""
    weights = weight_bytes(shape, placement)
    compute = compute_bytes(shape, placement, parameters, outputs=min(parameters.ubatch, parameters.context))
    off = []
    for device in ("cpu", *placement.devices):
        said = rows[NAMES[device]]
        cache = kv_bytes(shape, placement, parameters).get(device, 0)
        ours = [part / MIB for part in (weights.get(device, 0), cache, compute.get(device, 0))]
        exact = all(abs(a - b) <= max(32, b // 50) for a, b in zip(ours[:2], said[:2], strict=True))
        if not exact or abs(sum(ours) / sum(said) - 1) > 0.15:
            off.append(f"{device} {parameters}: the tool says {said}, the formula {[round(part) for part in ours]}")
    return off


def cases() -> list[Parameters]:
    """Half of all combinations: any two settings meet in each of their values."""
    return [
        Parameters(context, 1, ubatch, 2048, kv, kv, flash_attention=True, load_mode="none", threads=1, threads_batch=1)
        for context, ubatch, kv in product(CONTEXTS, UBATCHES, KV_TYPES)
        if (context == CONTEXTS[1]) ^ (ubatch == UBATCHES[1]) ^ (kv == KV_TYPES[0])
    ]


@pytest.mark.parametrize("name", [*DENSE, *MOE])
def test_memory_on_the_cpu_is_what_llama_cpp_reserves(tools: Path, tmp_path: Path, name: str) -> None:
    path, shape = sparse(name, tmp_path)
    placement = Placement.on("cpu", ("cpu",) * len(shape.layers))
    for parameters in cases():
        rows = asked(tools, path, parameters, "-dev", "none", "-ngl", "0")
        assert compare(rows, shape, placement, parameters) == []


def test_memory_of_a_split_is_what_llama_cpp_reserves(tools: Path, tmp_path: Path, rpc_pair: tuple[str, str]) -> None:
    first, second = rpc_pair
    placing = ("--rpc", f"{first},{second}", "-dev", "RPC0,RPC1", "-ngl", "999", "-ts", "1,0", "--fit", "off")
    moved = ("-ot", f"ffn_.*_exps=RPC0[{second}]")
    for name in MOE:
        path, shape = sparse(name, tmp_path)
        owners = tuple("two" if layer.expert_bytes else "one" for layer in shape.layers)
        for parameters in cases():
            rows = asked(tools, path, parameters, *placing, *moved)
            assert compare(rows, shape, Placement.on("one", owners), parameters) == [], name
        path.unlink()
