"""The memory formula against llama.cpp's own answer: architectures x placements x ubatch x KV type x context.

    python -m tests.benchmarks.memory [--models A,B] [--tools FOLDER] [--all]

Models are sparse files of true shape (no tensor data is read), devices two RPC servers on loopback beside the host.
Prints a line for each model and placement with its worst cases; with --all every case. Weights and cache may be off by
2 % or 32 MiB, a device's total by 15 %.
"""

from __future__ import annotations

import argparse
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path

from app.models.catalog import find_spec
from app.models.gguf import read_header
from app.models.shape import shape_of
from app.models.slices import write_sparse
from app.paths import data_dir
from app.runtimes.llama_command import layer_division
from app.runtimes.memory_oracle import parse_rows
from app.solver.memory import compute_bytes, kv_bytes, weight_bytes
from app.solver.model import KvType, ModelShape
from app.solver.plan import Parameters, Placement
from app.units import MIB
from tests.ports import free_port

MODELS = (
    "gpt-oss-20b", "qwen3-30b-a3b", "qwen3-next-80b-a3b", "glm-4.5-air", "deepseek-v2-lite", "minimax-m2",
    "llama-4-scout", "mixtral-8x7b", "gemma-4-26b-a4b", "nemotron-3-nano-30b-a3b", "lfm2-8b-a1b", "gemma-3-27b",
    "qwen3-8b",
)  # fmt: skip
UBATCHES, CONTEXTS = (512, 2048), (4096, 32768, 131072)
KV_TYPES: tuple[KvType, ...] = ("f16", "q8_0")
NAMES = {"cpu": "Host", "one": "RPC0", "two": "RPC1"}
"""Our devices -> the tool's."""


@dataclass(frozen=True, slots=True)
class Miss:
    """How far the formula is from the engine, on one device in one case."""

    exact: float
    """Weights or cache: share of what is allowed (2 % or 32 MiB), 1 is the limit."""
    total: float
    """The device's total: share that it is off by."""
    text: str


def placements(shape: ModelShape) -> Iterator[tuple[str, Placement]]:
    """The kinds of placement, each with its name."""
    count = len(shape.layers)
    yield "host", Placement.on("cpu", ("cpu",) * count)
    yield "one device", Placement.on("one", ("one",) * count)
    third = count // 3
    attention = ("cpu",) * third + ("one",) * third + ("two",) * (count - 2 * third)
    yield "divided over three", Placement(attention, attention, "two")
    half = ("one",) * (count // 2) + ("two",) * (count - count // 2)
    yield "divided over two", Placement(half, half, "two")
    if shape.is_moe:
        moe = [bool(layer.expert_bytes) for layer in shape.layers]
        yield "experts on another", Placement.on("one", tuple("two" if has else "one" for has in moe))
        tiers = ("one", "two", "cpu")
        owners = tuple(tiers[3 * i // count] if has else "one" for i, has in enumerate(moe))
        yield "experts on three", Placement.on("one", owners)
        yield "experts on the host", Placement.on("one", tuple("cpu" if has else "one" for has in moe))


def placing(placement: Placement, servers: tuple[str, str]) -> list[str]:
    """Arguments for that placement."""
    used = [name for name in ("one", "two") if name in placement.devices]
    buffers = {"one": f"RPC0[{servers[0]}]", "two": f"RPC0[{servers[1]}]", "cpu": "CPU"}
    if not used:
        return ["-dev", "none", "-ngl", "0"]
    layers, shares = layer_division(placement, 0)
    words = ["--rpc", ",".join(servers), "-dev", ",".join(NAMES[name] for name in used), "-ngl", layers]
    if len(used) > 1:
        words += ["-ts", ",".join([shares, *["0"] * (len(used) - len(shares.split(",")))])]
    rules = []
    for owner in dict.fromkeys(placement.experts):
        away = [str(i) for i, one in enumerate(placement.experts) if one == owner != placement.attention[i]]
        if away:
            rules.append(f"blk\\.({'|'.join(away)})\\.ffn_(up|down|gate|gate_up)_(ch|)exps={buffers[owner]}")
    return [*words, *(["-ot", ",".join(rules)] if rules else [])]


def asked(tools: Path, path: Path, parameters: Parameters, words: list[str]) -> dict[str, list[int]]:
    """MiB of weights, cache and compute buffers by device, as the tool reserves them."""
    done = subprocess.run(
        [
            *(tools / "llama-fit-params", "-m", path, "--fit-print", "on", "--no-repack", "-fa", "on", "-fit", "off"),
            *("-c", str(parameters.context), "-ub", str(parameters.ubatch), "-b", str(parameters.batch)),
            *("-ctk", parameters.kv_type_k, "-ctv", parameters.kv_type_v, "-np", str(parameters.parallel), *words),
        ],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    return parse_rows(done.stdout, done.stderr)


def compare(rows: dict[str, list[int]], shape: ModelShape, placement: Placement, parameters: Parameters) -> list[Miss]:
    """Each device of a case."""
    weights = weight_bytes(shape, placement)
    compute = compute_bytes(shape, placement, parameters, outputs=min(parameters.ubatch, parameters.context))
    cache = kv_bytes(shape, placement, parameters)
    found = []
    for device in dict.fromkeys(("cpu", *placement.devices)):
        said = rows[NAMES[device]]
        ours = [part.get(device, 0) / MIB for part in (weights, cache, compute)]
        exact = max(abs(a - b) / max(32.0, b / 50) for a, b in zip(ours[:2], said[:2], strict=True))
        total = abs(sum(ours) / max(1, sum(said)) - 1)
        text = (
            f"{device} c={parameters.context} ub={parameters.ubatch} {parameters.kv_type_k}:"
            f" {said} MiB, formula {[round(part) for part in ours]}"
        )
        found.append(Miss(exact, total, text))
    return found


def cases(parallel: int = 1) -> Iterator[Parameters]:
    """Every combination of context, ubatch and type of cache."""
    for context, ubatch, kv in product(CONTEXTS, UBATCHES, KV_TYPES):
        yield Parameters(
            context * parallel, parallel, ubatch, 2048, kv, kv, True, "none", threads=1, threads_batch=1
        )  # fmt: skip


def serve(tools: Path) -> tuple[list[subprocess.Popen[bytes]], tuple[str, str]]:
    """Two RPC servers on loopback."""
    ports = [free_port(), free_port()]
    started = [
        subprocess.Popen(
            [tools / "ggml-rpc-server", "-H", "127.0.0.1", "-p", str(port)],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, restore_signals=False,
        )
        for port in ports
    ]  # fmt: skip
    return started, (f"127.0.0.1:{ports[0]}", f"127.0.0.1:{ports[1]}")


def run(tools: Path, names: list[str], *, everything: bool) -> list[Miss]:
    """Ask for every case of these models; prints as it goes."""
    import time

    servers, endpoints = serve(tools)
    time.sleep(1)
    all_found: list[Miss] = []
    try:
        for name in names:
            with tempfile.TemporaryDirectory() as folder:
                spec = replace(find_spec(name), nextn=0)  # the tool counts NextN layers' bytes, llama.cpp leaves them
                path = write_sparse(spec, Path(folder) / f"{name}.gguf").path
                shape = shape_of(read_header(path))
                for title, placement in placements(shape):
                    words = placing(placement, endpoints)
                    found = []
                    for parameters in cases():
                        rows = asked(tools, path, parameters, words)
                        if rows:
                            found += compare(rows, shape, placement, parameters)
                    report(f"{name}, {title}", found, everything=everything)
                    all_found += found
    finally:
        for server in servers:
            server.kill()
            server.wait()
    return all_found


def report(title: str, found: list[Miss], *, everything: bool) -> None:
    """One line, and the worst cases where they are beyond what is allowed."""
    if not found:
        print(f"{title}: the tool did not answer")
        return
    exact, total = max(miss.exact for miss in found), max(miss.total for miss in found)
    print(f"{title}: weights and cache {exact:.0%} of what is allowed, total off by {total:.1%}, {len(found)} devices")
    for miss in found if everything else [m for m in found if m.exact > 1 or m.total > 0.15][:4]:
        print(f"    {miss.total:+.1%} {miss.text}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--models", default=",".join(MODELS))
    parser.add_argument("--tools", type=Path)
    parser.add_argument("--all", action="store_true")
    given = parser.parse_args()
    built = sorted((data_dir() / "engines").glob("[!.]*/bin"), reverse=True)
    tools = given.tools or next((folder for folder in built if (folder / "llama-fit-params").is_file()), None)
    if tools is None:
        raise SystemExit("The llama.cpp tools are not built: `moetune runtime build`, or give --tools.")
    found = run(tools, given.models.split(","), everything=given.all)
    over = [miss for miss in found if miss.exact > 1 or miss.total > 0.15]
    print(f"{len(found)} devices in all, {len(over)} beyond what is allowed;")
    if found:
        print(
            f"  worst: {max(m.exact for m in found):.0%} of what is allowed, {max(m.total for m in found):.1%} in total"
        )


if __name__ == "__main__":
    main()
