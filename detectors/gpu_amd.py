"""AMD GPUs by sysfs alone: no ROCm, no render group, and no GPU is woken.

Of a sleeping GPU only files that the driver answers from memory are read: the power-management files (`pp_dpm_*`,
hwmon's `power1_*`) refuse or wake it, and `current_link_*` wakes it.

pyamdgpuinfo is not used. It opens the render node for writing, which takes the render group and wakes the GPU, and
all that it tells (VRAM, GTT, clocks, name) is in sysfs and KFD, which also know what it does not: APU or not, the
target, the link, peers, bus width and compute units.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from detectors.amd_tables import APU_TARGETS, GFX_BY_CORE, Card, known_card, transfers_per_clock
from detectors.drm import DrmCard, drm_cards
from detectors.facts import Basis, Device, LinkPath, MemoryPool, Problem
from detectors.host import Host
from detectors.kfd import Kfd, KfdGpu, read_kfd
from detectors.pci import pci_gpus
from detectors.pcie import access, asleep, iommu_mode, numa_node, slot_link
from detectors.registry import Found, Peer, detector

_VENDOR = 0x1002
_ID_FILES = ("/usr/share/libdrm/amdgpu.ids", "/opt/amdgpu/share/libdrm/amdgpu.ids")
# The slowest DDR4 that came with an APU has this memory clock; LPDDR5's is a quarter of it, for the same speed.
_DDR_LEAST_CLOCK_MHZ = 1200


@detector("gpu_amd")
def detect_amd(host: Host) -> Found:
    """Every AMD GPU, integrated or discrete; none is a normal answer."""
    cards = drm_cards(host, _VENDOR)
    problems = [
        Problem(f"gpu:{gpu.bdf}", f"an AMD GPU that amdgpu does not drive (its driver: {gpu.driver or 'none'})")
        for gpu in pci_gpus(host, _VENDOR)
        if gpu.bdf not in cards
    ]
    kfd = read_kfd(host) if cards else Kfd({}, None, (), ())
    problems += [
        Problem("gpu_amd", f"the compute driver (KFD) denies its node {node} to this process") for node in kfd.denied
    ]
    pools: list[MemoryPool] = []
    devices: list[Device] = []
    for card in cards.values():
        if card.driver not in (None, "amdgpu"):
            problems.append(Problem(f"gpu:{card.bdf}", f"the driver {card.driver} cannot compute"))
            continue
        vram = host.natural(f"{card.path}/mem_info_vram_total")
        if not vram:
            why = host.why(f"{card.path}/mem_info_vram_total") or "the driver says 0"
            name = _name(host, card, known_card(card.device, card.revision))
            reason = f"{name} is left out: the size of its VRAM is not known ({why})"
            problems.append(Problem(f"gpu:{card.bdf}", reason))
            continue
        device, pool = _describe(host, card, vram, kfd)
        devices.append(device)
        pools += [pool] if pool else []
    return Found(
        pools=tuple(pools), devices=tuple(devices), problems=tuple(problems), peers=tuple(_peers(kfd, devices))
    )


def _peers(kfd: Kfd, devices: list[Device]) -> Iterator[Peer]:
    """What the compute driver made of GPUs reaching each other, and its word on the way to the processor."""
    shown = {device.id: device for device in devices}
    for peer in kfd.peers:
        one, two = f"gpu:{peer.from_bdf}", f"gpu:{peer.to_bdf}"
        if one in shown and two in shown:
            path: LinkPath = "xgmi" if peer.xgmi else "peer-to-peer"
            yield Peer(one, two, True, "the compute driver (KFD) made a peer-to-peer link", path, peer.bandwidth_gbps)
    for bdf, gpu in kfd.gpus.items():
        device = shown.get(f"gpu:{bdf}")
        if gpu.host_gbps and device is not None and device.kind == "dgpu":
            yield Peer("cpu", device.id, None, "", "host", gpu.host_gbps)


def _describe(host: Host, card: DrmCard, vram: int, kfd: Kfd) -> tuple[Device, MemoryPool | None]:
    known = known_card(card.device, card.revision)
    node = kfd.gpus.get(card.bdf)
    gfx = (node.gfx if node else None) or _gfx_by_core(host, card) or (known.gfx if known else None)
    apu = _is_apu(host, card, gfx, known)
    name = _name(host, card, known)
    bandwidth, basis = _bandwidth(node, gfx, apu, kfd.dimm_mts, known)
    gtt = host.natural(f"{card.path}/mem_info_gtt_total")
    used = host.natural(f"{card.path}/mem_info_vram_used")
    sleeps = asleep(host, card.path)
    files = ("/dev/kfd", f"/dev/dri/{card.render_node}") if card.render_node else ("/dev/kfd",)
    caps = {} if sleeps else _power_caps(host, card)
    device = Device(
        id=f"gpu:{card.bdf}",
        kind="igpu" if apu else "dgpu",
        name=name,
        vendor="AMD",
        pool_id="ram" if apu else f"vram:{card.bdf}",
        limit_bytes=(gtt or 0) + vram if apu else None,
        arch=gfx,
        pci_bdf=card.bdf,
        bandwidth_gbps=bandwidth,
        bandwidth_basis=basis,
        fp16_tflops=known.fp16_tflops if known else None,
        visible_vram_bytes=host.natural(f"{card.path}/mem_info_vis_vram_total"),
        driver=card.driver or "amdgpu",
        gtt_bytes=gtt,
        carveout_bytes=vram if apu else None,
        gtt_used_bytes=host.natural(f"{card.path}/mem_info_gtt_used"),
        carveout_used_bytes=used if apu else None,
        pci_id=None if card.device is None else f"{_VENDOR:04x}:{card.device:04x}",
        revision=card.revision,
        compute_units=node.compute_units if node else None,
        bus_bits=node.bus_bits if node else None,
        memory_clock_mhz=node.memory_clock_mhz if node else None,
        core_clock_mhz=node.core_clock_mhz if node else None,
        link=None if apu else slot_link(host, card.path, _VENDOR),
        power_limit_w=caps.get("power1_cap"),
        power_default_w=caps.get("power1_cap_default"),
        power_max_w=caps.get("power1_cap_max"),
        asleep=sleeps,
        access=tuple(file for path in files if (file := access(host, path))),
        render_node=card.render_node,
        kfd_node=node.node if node else None,
        numa_node=numa_node(host, card.path),
        iommu=iommu_mode(host, card.path),
    )
    if apu:
        return device, None
    free = None if used is None else max(0, vram - used)
    return device, MemoryPool(f"vram:{card.bdf}", f"{name} VRAM", vram, free)


def _power_caps(host: Host, card: DrmCard) -> dict[str, float]:
    """Watts; hwmon states millionths."""
    found: dict[str, float] = {}
    for monitor in host.names(f"{card.path}/hwmon"):
        for name in ("power1_cap", "power1_cap_default", "power1_cap_max"):
            if watts := host.natural(f"{card.path}/hwmon/{monitor}/{name}"):
                found.setdefault(name, watts / 1e6)
    return found


def _is_apu(host: Host, card: DrmCard, gfx: str | None, known: Card | None) -> bool:
    """Only APUs have a northbridge voltage; else the graphics core tells. Size and bus number do not."""
    hwmon = f"{card.path}/hwmon"
    for monitor in host.names(hwmon):
        labels = [name for name in host.names(f"{hwmon}/{monitor}") if re.fullmatch("in[0-9]+_label", name)]
        if any(host.text(f"{hwmon}/{monitor}/{label}") == "vddnb" for label in labels):
            return True
    return gfx in APU_TARGETS or (known is not None and known.apu)


def _gfx_by_core(host: Host, card: DrmCard) -> str | None:
    """From the graphics core's version in ip_discovery (hardware id 11), where KFD does not list the GPU."""
    core = f"{card.path}/ip_discovery/die/0/11/0"
    version = [host.integer(f"{core}/{part}") for part in ("major", "minor", "revision")]
    major, minor, revision = version
    if major is None or minor is None or revision is None:
        return None
    return GFX_BY_CORE.get((major, minor, revision))


def _name(host: Host, card: DrmCard, known: Card | None) -> str:
    if card.device is None:
        return "AMD GPU"
    if card.revision is not None:
        row = re.compile(rf"^{card.device:04X},\s*{card.revision:02X},\s*(.+)$", re.MULTILINE | re.IGNORECASE)
        for path in _ID_FILES:
            match = row.search(host.text(path) or "")
            if match:
                return match[1].strip()
    return host.text(f"{card.path}/product_name") or (known.name if known else f"AMD GPU 1002:{card.device:04x}")


def _bandwidth(
    node: KfdGpu | None, gfx: str | None, apu: bool, dimm_mts: int | None, known: Card | None
) -> tuple[float | None, Basis]:
    """Peak GB/s by what the driver says of clock and bus, else by the table."""
    if node and node.bus_bits and node.memory_clock_mhz and gfx:
        clock = node.memory_clock_mhz
        transfers = _apu_transfers(clock, dimm_mts) if apu else transfers_per_clock(gfx)
        if transfers and not (apu and gfx == "gfx942"):
            return clock * transfers * node.bus_bits / 8 / 1000, "driver"
    if known and known.bandwidth_gbps:
        return known.bandwidth_gbps, "table"
    return None, "estimated"


def _apu_transfers(clock_mhz: int, dimm_mts: int | None) -> int:
    """2 for DDR, 8 for LPDDR5: which one comes nearer to the rated speed, or else what the clock allows."""
    if dimm_mts:
        return min((2, 8), key=lambda transfers: abs(clock_mhz * transfers - dimm_mts))
    return 8 if clock_mhz < _DDR_LEAST_CLOCK_MHZ else 2
