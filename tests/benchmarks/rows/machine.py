"""Which machine a row was measured on: by the words that the project resolves, and nothing else."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import lru_cache

from app.hardware.described import described_machine
from app.hardware.gpus import read_gpus
from app.solver.ram import with_ram_bandwidth
from detectors.facts import Device, Machine, MemoryBus
from tests.benchmarks.rows.source import Cells, number

_IN_BRACKETS = re.compile(r"\(([^()]*)\)")
_PLACES = re.compile(r"\s+\((?:owner list|simulated|CUDA0-3).*?\)", re.IGNORECASE)
_NODES = re.compile(r"^(\d)x \(?(?:Strix Halo|DGX Spark|GB10)", re.IGNORECASE)


def machine_of(cells: Cells) -> Machine:
    """The machine with the bandwidth of its memory that an engine can use."""
    kind = cells.get("mem_bw_kind", "")
    measured = kind.startswith("stated-measured") or "measured" in kind or "effective" in kind
    measured = measured and "theoretical" not in kind and "imputed" not in kind
    peak = re.search(r"peak ([\d.]+)", kind)
    machine = _machine(
        _cpu(cells),
        cells.get("mem_type", ""),
        int(number(cells.get("mem_channels", "")) or 0),
        cells.get("mem_bandwidth_gbs", ""),
        measured,
        number(cells.get("ram_gb", "")),
        _gpus(cells),
        number(cells.get("gpu_vram_gb", "")),
        cells.get("pcie", ""),
    )
    if peak and machine.memory is not None:
        machine = _with_peak(machine, float(peak[1]))
    nodes = _NODES.match(cells.get("machine", ""))
    machine = _with_stated_gpu(machine, cells.get("gpu_bandwidth_gbs", ""))
    return with_ram_bandwidth(_with_nodes(machine, int(nodes[1]) if nodes else 1))


@lru_cache(maxsize=1024)
def _machine(
    cpu: str, memory: str, channels: int, gbps: str, measured: bool, ram: float | None, gpus: str, vram: float | None,
    pcie: str,
) -> Machine:  # fmt: skip
    return described_machine(
        cpu=cpu or None,
        memory=memory or None,
        channels=channels or None,
        memory_gbps=number(gbps),
        memory_gbps_measured=measured,
        ram_gib=ram,
        gpus=gpus or None,
        vram_gib=vram,
        pcie=pcie or None,
    ).machine


def _cpu(cells: Cells) -> str:
    """The processor; where the column is empty, the machine's own name often has it."""
    stated = cells.get("cpu", "")
    if stated:
        return stated
    name = _IN_BRACKETS.sub("", cells.get("machine", "")).replace("Pi CM5 - 16GB", "Raspberry Pi 5")
    return " ".join(part for part in re.split(r"\s\+\s", name) if not _is_gpu(part))


def _gpus(cells: Cells) -> str:
    """The GPUs; where the column is empty, what in the machine's own name is one."""
    stated = _PLACES.sub("", cells.get("gpu", ""))
    if stated:
        return re.sub(r"^2x (Radeon 8060S iGPU)", r"\1", stated)
    name = cells.get("machine", "")
    inside = [text for text in _IN_BRACKETS.findall(name) if _is_gpu(text)]
    outside = re.split(r"\s\+\s", _IN_BRACKETS.sub("", name))
    return " + ".join(inside[:1] or [part for part in outside if _is_gpu(part)] or _within(name))


@lru_cache(maxsize=1024)
def _is_gpu(text: str) -> bool:
    return bool(read_gpus(text).found)


def _within(name: str) -> list[str]:
    """Processors with a GPU of their own that a name mentions in passing."""
    apple = re.search(r"\bM\d(?: (?:Pro|Max|Ultra))?\b", name)
    if apple:
        return [f"Apple {apple[0]}"]
    return [word for word in ("GB10", "8060S") if word in name or (word == "8060S" and "Strix Halo" in name)]


def _with_peak(machine: Machine, gbps: float) -> Machine:
    assert machine.memory is not None
    bus = machine.memory.bus or MemoryBus()
    if bus.theoretical_gbps is not None:
        return machine
    return replace(machine, memory=replace(machine.memory, bus=replace(bus, theoretical_gbps=gbps)))


def _with_stated_gpu(machine: Machine, text: str) -> Machine:
    """GPUs at the bandwidth that the row states, one figure or one for each kind."""
    figures = [float(part) for part in re.findall(r"\d+(?:\.\d+)?", text)]
    cards = [device.bandwidth_gbps for device in machine.devices if device.kind == "dgpu"]
    kinds = list(dict.fromkeys(cards))
    if not figures or len(figures) != len(kinds):
        return machine
    new = dict(zip(kinds, figures, strict=True))
    devices = tuple(
        replace(device, bandwidth_gbps=new[device.bandwidth_gbps], bandwidth_basis="table")
        if device.kind == "dgpu"
        else device
        for device in machine.devices
    )
    return replace(machine, devices=devices)


def _with_nodes(machine: Machine, nodes: int) -> Machine:
    """As many nodes as the row's machine is made of: the others are RPC servers with the same GPU."""
    own = next((device for device in machine.devices if device.kind == "igpu"), None)
    if own is None or nodes < 2 or any(device.kind == "remote" for device in machine.devices):
        return machine
    others = tuple(_node(own, number) for number in range(1, nodes))
    return replace(machine, devices=(*machine.devices, *others))


def _node(own: Device, number: int) -> Device:
    return replace(own, id=f"remote:{number}", kind="remote", pool_id=f"remote:{number}", link=None, pci_bdf=None)
