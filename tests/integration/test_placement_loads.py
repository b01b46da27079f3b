"""Placements that llama.cpp makes of our arguments, by its own log: three tiers of experts, and divided layers."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from app.models.catalog import find_spec
from app.models.gguf import read_header
from app.models.shape import shape_of
from app.models.slices import write_sparse
from app.runtimes.base import Engine
from app.runtimes.llama_command import placement_arguments
from app.runtimes.llama_flags import Dialect
from app.runtimes.registry import engine_at
from app.solver.model import ModelShape
from app.solver.plan import Placement

ASSIGNED = re.compile(r"load_tensors: layer +(\d+) assigned to device (\w+)")
OVERRIDDEN = re.compile(r"tensor blk\.(\d+)\.ffn_\w+_exps\.\w+ .* buffer type overridden to (\S+)")


@pytest.fixture
def engine(tools: Path, rpc_pair: tuple[str, str], home: Path) -> Engine:
    return engine_at(tools / "llama-server", rpc_pair)


def sparse(name: str, folder: Path) -> tuple[Path, ModelShape]:
    path = write_sparse(find_spec(name), folder / f"{name}.gguf").path
    return path, shape_of(read_header(path))


def load(tools: Path, engine: Engine, path: Path, placement: Placement, nextn: int) -> tuple[list[str], dict[int, str]]:
    """Device names by layer, head last, and the buffer type of each layer's experts that were moved."""
    arguments = placement_arguments(placement, engine, Dialect.of(engine), nextn_layers=nextn)
    done = subprocess.run(
        [tools / "llama-fit-params", "-m", path, "--fit-print", "on", "-fit", "off", "-c", "4096", "-lv", "5",
         "--no-repack", *arguments],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    devices = [match[2] for match in ASSIGNED.finditer(done.stderr)]
    moved = {int(match[1]): match[2] for match in OVERRIDDEN.finditer(done.stderr)}
    return devices, moved


def test_three_tiers_are_loaded_as_placed(
    tools: Path, engine: Engine, rpc_pair: tuple[str, str], tmp_path: Path
) -> None:
    path, shape = sparse("gpt-oss-120b", tmp_path)
    near, far = (f"remote:{endpoint}" for endpoint in rpc_pair)
    owners = [near] * 9 + [far] * 17 + ["cpu"] * 10
    devices, moved = load(tools, engine, path, Placement.on(near, owners), shape.nextn_layers)
    assert devices == ["RPC0"] * 37
    buffers = {far: f"RPC0[{rpc_pair[1]}]", "cpu": "CPU"}
    assert moved == {layer: buffers[owner] for layer, owner in enumerate(owners) if owner != near}


@pytest.mark.parametrize("on_host", [0, 11])
def test_divided_layers_are_loaded_as_placed(
    tools: Path, engine: Engine, rpc_pair: tuple[str, str], tmp_path: Path, on_host: int
) -> None:
    path, shape = sparse("glm-4.5-air", tmp_path)
    assert shape.nextn_layers == 1, "the case that counts: a layer in the file that is not placed"
    near, far = (f"remote:{endpoint}" for endpoint in rpc_pair)
    attention = ("cpu",) * on_host + (near,) * 10 + (far,) * (len(shape.layers) - on_host - 10)
    experts = [*attention]
    for layer in range(30, 35):
        experts[layer] = "cpu"
    devices, moved = load(tools, engine, path, Placement(attention, tuple(experts), far), shape.nextn_layers)
    names = {"cpu": "CPU", near: "RPC0", far: "RPC1"}
    assert devices[: len(attention)] == [names[owner] for owner in attention]
    assert set(devices[len(attention) :]) == {"RPC1"}, "the NextN layer and the head"
    assert moved == dict.fromkeys(range(30, 35), "CPU")
