"""AMD GPUs by sysfs alone: no ROCm, no render group, and no GPU is woken.

Only files that the driver answers from memory are read. The power-management files (`pp_dpm_*`,
`gpu_busy_percent`) refuse a sleeping GPU and `current_link_*` wakes it, so none of them is touched here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from detectors.amd_tables import APU_TARGETS, GFX_BY_CORE, Card, known_card, transfers_per_clock
from detectors.facts import Basis, Device, MemoryPool, Problem
from detectors.host import Host
from detectors.kfd import Kfd, KfdGpu, read_kfd
from detectors.pci import normal_bdf, pci_gpus
from detectors.registry import Found, detector

_VENDOR = 0x1002
_DRM = "/sys/class/drm"
_CARD = re.compile(r"card[0-9]+")  # card1-DP-1 and the like are its connectors
_ID_FILES = ("/usr/share/libdrm/amdgpu.ids", "/opt/amdgpu/share/libdrm/amdgpu.ids")
# The slowest DDR4 that came with an APU has this memory clock; LPDDR5's is a quarter of it, for the same speed.
_DDR_LEAST_CLOCK_MHZ = 1200


@dataclass(frozen=True, slots=True)
class _DrmCard:
    bdf: str
    path: str
    driver: str | None
    device: int | None
    revision: int | None


@detector("gpu_amd")
def detect_amd(host: Host) -> Found:
    """Every AMD GPU, integrated or discrete; none is a normal answer."""
    cards = _drm_cards(host)
    problems = [
        Problem(f"gpu:{gpu.bdf}", f"an AMD GPU that amdgpu does not drive (its driver: {gpu.driver or 'none'})")
        for gpu in pci_gpus(host, _VENDOR)
        if gpu.bdf not in cards
    ]
    kfd = read_kfd(host) if cards else Kfd({}, None, ())
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
            problems.append(Problem(f"gpu:{card.bdf}", f"left out: the size of its VRAM is not known ({why})"))
            continue
        device, pool = _describe(host, card, vram, kfd)
        devices.append(device)
        pools += [pool] if pool else []
    return Found(pools=tuple(pools), devices=tuple(devices), problems=tuple(problems))


def _drm_cards(host: Host) -> dict[str, _DrmCard]:
    """By PCI address; a partitioned GPU has several cards at one address, of which the first counts."""
    cards: dict[str, _DrmCard] = {}
    for name in host.names(_DRM):
        path = f"{_DRM}/{name}/device"
        if not _CARD.fullmatch(name):
            continue
        lines = (line.partition("=") for line in (host.text(f"{path}/uevent") or "").splitlines())
        event = {key: value for key, equals, value in lines if equals}
        vendor, _, device = event.get("PCI_ID", "").partition(":")
        if host.integer(f"{path}/vendor") != _VENDOR and vendor != f"{_VENDOR:04X}":
            continue
        target = (host.link(path) or "").rpartition("/")[2]
        bdf = normal_bdf(event.get("PCI_SLOT_NAME", "")) or normal_bdf(target)
        if bdf is not None and bdf not in cards:
            number = host.integer(f"{path}/device")
            number = int(device, 16) if number is None and re.fullmatch("[0-9A-Fa-f]+", device) else number
            cards[bdf] = _DrmCard(bdf, path, event.get("DRIVER"), number, host.integer(f"{path}/revision"))
    return cards


def _describe(host: Host, card: _DrmCard, vram: int, kfd: Kfd) -> tuple[Device, MemoryPool | None]:
    known = known_card(card.device, card.revision)
    node = kfd.gpus.get(card.bdf)
    gfx = (node.gfx if node else None) or _gfx_by_core(host, card) or (known.gfx if known else None)
    apu = _is_apu(host, card, gfx, known)
    name = _name(host, card, known)
    bandwidth, basis = _bandwidth(node, gfx, apu, kfd.dimm_mts, known)
    gtt = host.natural(f"{card.path}/mem_info_gtt_total")
    used = host.natural(f"{card.path}/mem_info_vram_used")
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
    )
    if apu:
        return device, None
    free = None if used is None else max(0, vram - used)
    return device, MemoryPool(f"vram:{card.bdf}", f"{name} VRAM", vram, free)


def _is_apu(host: Host, card: _DrmCard, gfx: str | None, known: Card | None) -> bool:
    """Only APUs have a northbridge voltage; else the graphics core tells. Size and bus number do not."""
    hwmon = f"{card.path}/hwmon"
    for monitor in host.names(hwmon):
        labels = [name for name in host.names(f"{hwmon}/{monitor}") if re.fullmatch("in[0-9]+_label", name)]
        if any(host.text(f"{hwmon}/{monitor}/{label}") == "vddnb" for label in labels):
            return True
    return gfx in APU_TARGETS or (known is not None and known.apu)


def _gfx_by_core(host: Host, card: _DrmCard) -> str | None:
    """From the graphics core's version in ip_discovery (hardware id 11), where KFD does not list the GPU."""
    core = f"{card.path}/ip_discovery/die/0/11/0"
    version = [host.integer(f"{core}/{part}") for part in ("major", "minor", "revision")]
    major, minor, revision = version
    if major is None or minor is None or revision is None:
        return None
    return GFX_BY_CORE.get((major, minor, revision))


def _name(host: Host, card: _DrmCard, known: Card | None) -> str:
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
