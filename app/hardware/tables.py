"""The rows of `presets/devices`: graphics processors and processors with their figures, each with its source.

A family is a TOML table with what its members share; its rows are lines of one string, as that is read ten times as
fast as a table for each (15 ms for both files, 1,470 models).
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

from app.resources import PRESETS

PCI_VENDORS = {"NVIDIA": "10de", "AMD": "1002", "Intel": "8086"}


@dataclass(frozen=True, slots=True)
class GpuModel:
    """A graphics processor that is sold under one name, in one size."""

    name: str
    """Without its maker: `GeForce RTX 5090`, `Radeon 8060S`, `Apple M4 Pro`."""
    vendor: str
    arch: str
    """`sm_120`, `gfx1151`, `Xe2-HPG`, `apple`."""
    kind: Literal["dgpu", "igpu"]
    """`igpu`: its memory is the system's."""
    vram_gib: float | None
    """`None`: it has none of its own, or the machine decides."""
    bandwidth_gbps: float
    """Peak of its memory, in GB/s."""
    fp16_tflops: float | None
    """Dense; by tensor or matrix units with FP32 accumulation where it has them."""
    compute_units: int | None
    pci_ids: tuple[str, ...]
    """Device, or device and revision: `10de:2b85`, `1002:744c:c8`."""
    aliases: tuple[str, ...]
    source: str
    slot: str = ""
    """The card's own connector: `5x16` (PCIe generation and lanes)."""

    @property
    def laptop(self) -> bool:
        """Whether it is the laptop part of a name that a desktop card has too."""
        return self.name.endswith("Laptop") or " Laptop " in self.name

    @property
    def full_name(self) -> str:
        """With its maker, as drivers say it."""
        return self.name if self.name.startswith(self.vendor) else f"{self.vendor} {self.name}"


@dataclass(frozen=True, slots=True)
class CpuModel:
    """A processor, or what a description of one leaves no doubt about."""

    name: str
    vendor: str
    family: str
    architecture: str | None
    """`Zen 4`, `Sapphire Rapids`."""
    cores: int | None
    """Of one socket; all kinds together."""
    fast_cores: int | None
    """Those of them that are fastest: all, but for processors with several kinds."""
    threads: int | None
    dies: int | None
    """Core dies with a link of their own to the memory controller; 0 where none bounds reading."""
    caches: int | None
    """Last-level caches of one socket."""
    bits: int | None
    """Width of the memory bus of one socket."""
    memory: str | None
    mts: int | None
    """The highest memory speed its maker supports, in MT/s."""
    sockets: int
    """How many may be put together."""
    isa: tuple[str, ...]
    """In the words of `detectors.facts.Cpu.isa`."""
    cpuid: tuple[int, int] | None
    """x86 family and model."""
    gpu: str | None
    """Name of the graphics processor inside, if the table has it."""
    aliases: tuple[str, ...]
    source: str
    pcie: int | None = None
    """Generation of its own PCIe lanes."""
    also: str = ""
    """What the family is called besides, such as `Genoa`."""
    slow_cores: tuple[int, ...] = ()
    """Cores of the slower kinds, faster first."""
    exact: bool = True
    """Whether it is one model of the table; else only what all that it could be have in common."""

    @property
    def channels(self) -> int | None:
        """The bus in channels of 64 bits."""
        return None if self.bits is None else max(1, self.bits // 64)


@cache
def gpu_models() -> tuple[GpuModel, ...]:
    """Every graphics processor of the table, in its order."""
    return tuple(model for family in _families("gpus")[0] for model in _gpus(family))


@cache
def cpu_models() -> tuple[CpuModel, ...]:
    """Every processor of the table, in its order."""
    families, top = _families("cpus")
    isa = {name: tuple(text.split()) for name, text in top["isa"].items()}
    return tuple(model for family in families for model in _cpus(family, isa))


def _families(file: str) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    top = tomllib.loads((PRESETS / "devices" / f"{file}.toml").read_text("utf-8"))
    return top["family"], top


def _cells(rows: str, columns: int) -> Iterator[list[str]]:
    """The cells of each row, filled up to that many."""
    for line in rows.splitlines():
        if line.strip():
            cells = [cell.strip() for cell in line.split("|")]
            yield cells + [""] * (columns - len(cells))


def _listed(cell: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in cell.split(",") if name.strip())


def _figure(cell: str) -> float | None:
    return None if cell in ("-", "") else float(cell)


def _gpus(family: dict[str, Any]) -> Iterator[GpuModel]:
    prefix = PCI_VENDORS.get(family["vendor"], "")
    for name, pci, vram, bandwidth, tflops, units, aliases, slot in _cells(family["rows"], 8):
        yield GpuModel(
            name=name,
            vendor=family["vendor"],
            arch=family["arch"],
            kind=family["kind"],
            vram_gib=_figure(vram),
            bandwidth_gbps=float(bandwidth),
            fp16_tflops=_figure(tflops),
            compute_units=None if units in ("-", "") else int(units),
            pci_ids=() if pci in ("-", "") else tuple(f"{prefix}:{one}" for one in pci.split()),
            aliases=_listed(aliases),
            source=family["source"],
            slot=slot or family.get("pcie", ""),
        )


def _cpus(family: dict[str, Any], isa: dict[str, tuple[str, ...]]) -> Iterator[CpuModel]:
    bits: int | Sequence[int] = family["bits"]
    cpuid = family.get("cpuid")
    for row, (names, cores, threads, dies, aliases, gpu, *_) in enumerate(_cells(family["rows"], 6)):
        kinds = [int(count) for count in cores.split("+")]
        caches = family.get("caches", 1) * max(1, int(dies))
        for place, name in enumerate(_listed(names)):
            yield CpuModel(
                name=name,
                vendor=family["vendor"],
                family=family["name"],
                architecture=family["architecture"],
                cores=sum(kinds),
                fast_cores=kinds[0],
                slow_cores=tuple(kinds[1:]),
                threads=int(threads),
                dies=int(dies),
                caches=min(caches, sum(kinds)),
                bits=bits if isinstance(bits, int) else bits[row],
                memory=family["memory"],
                mts=family["mts"],
                sockets=family.get("sockets", 1),
                isa=isa[family["isa"]],
                cpuid=(cpuid[0], cpuid[1]) if cpuid else None,
                gpu=gpu or None,
                aliases=_listed(aliases) if place == 0 else (),
                source=family["source"],
                pcie=family.get("pcie"),
                also=family.get("also", ""),
            )
