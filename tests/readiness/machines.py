"""Machines made by hand, to be varied by a fact at a time."""

from __future__ import annotations

from dataclasses import replace

from app.units import GIB
from detectors.facts import Cpu, Device, KernelFacts, Machine, MemoryFacts, MemoryPool, PcieLink

CPU = Cpu("AMD Ryzen 9 9950X", "AuthenticAMD", "x86_64", 1, 16, 32, isa=("avx2", "avx512f"))
KERNEL = KernelFacts(
    "6.18.4", "ro quiet", "Debian", distribution_family="debian", ttm_module="ttm", firmware_version="20260110-1"
)
APU = Device(
    "gpu:0000:c5:00.0", "igpu", "Radeon 8060S", "AMD", "ram", pci_bdf="0000:c5:00.0", arch="gfx1151", kfd_node=1,
    gtt_bytes=112 * GIB, carveout_bytes=GIB // 2, iommu="off",
)  # fmt: skip
CARD = Device(
    "gpu:0000:03:00.0", "dgpu", "Radeon PRO W7900", "AMD", "vram:0000:03:00.0", pci_bdf="0000:03:00.0", arch="gfx1100",
    kfd_node=2, visible_vram_bytes=48 * GIB, link=PcieLink(16.0, 16, 16.0, 16, 16.0, 16), iommu="DMA-FQ",
)  # fmt: skip
GEFORCE = Device(
    "gpu:0000:01:00.0", "dgpu", "GeForce RTX 4090", "NVIDIA", "vram:0000:01:00.0", pci_bdf="0000:01:00.0",
    arch="sm_89", visible_vram_bytes=32 * GIB, link=PcieLink(16.0, 16, 16.0, 16), power_limit_w=450,
    power_default_w=450, persistence=True, ecc=False,
)  # fmt: skip


def machine_with(*devices: Device, memory: int = 125 * GIB, **facts: object) -> Machine:
    """A machine of these devices, with a pool for each."""
    pools = [MemoryPool("ram", "System memory", memory, None)]
    pools += [MemoryPool(d.pool_id, d.name, 48 * GIB if d.vendor == "AMD" else 24 * GIB, None) for d in devices
              if d.pool_id != "ram"]  # fmt: skip
    base = Machine("host", pools=tuple(pools), devices=devices, kernel=KERNEL, memory=MemoryFacts(memory))
    return replace(base, **facts)  # type: ignore[arg-type]  # the fields are named in the calls
