"""Everything the program can know about a machine, as frozen values.

Facts only: nothing here judges, reads or runs. A fact that could not be had is `None`, and a `Problem` says why.
Sizes are bytes, bandwidths GB/s (1e9 bytes), latencies microseconds.
"""

from detectors.facts.common import UNLIMITED, Basis, Problem
from detectors.facts.cpu import Amx, CacheDomain, CoreKind, CoreType, Cpu, CpuPower, NumaNode
from detectors.facts.device import PCIE_LANE_GBPS, Access, Device, DeviceKind, Link, LinkPath, PcieLink
from detectors.facts.kernel import DriverModule, KernelFacts, ModuleOption
from detectors.facts.machine import Machine
from detectors.facts.memory import Dimm, MemoryBus, MemoryFacts, MemoryPool, SwapArea

__all__ = [
    "PCIE_LANE_GBPS",
    "UNLIMITED",
    "Access",
    "Amx",
    "Basis",
    "CacheDomain",
    "CoreKind",
    "CoreType",
    "Cpu",
    "CpuPower",
    "Device",
    "DeviceKind",
    "Dimm",
    "DriverModule",
    "KernelFacts",
    "Link",
    "LinkPath",
    "Machine",
    "MemoryBus",
    "MemoryFacts",
    "MemoryPool",
    "ModuleOption",
    "NumaNode",
    "PcieLink",
    "Problem",
    "SwapArea",
]
