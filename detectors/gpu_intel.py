"""Intel GPUs by sysfs, under either of their drivers (xe and i915).

Neither driver states the size of the memory in sysfs. Where Resizable BAR is on, the window (BAR 2) is as large as the
memory; for known cards the table says, and the smaller window is then the visible part. Nothing wakes a sleeping GPU.
"""

from __future__ import annotations

from dataclasses import dataclass

from detectors.drm import DrmCard, drm_cards
from detectors.facts import Device, MemoryPool, Problem
from detectors.host import Host
from detectors.pci import pci_gpus
from detectors.pcie import access, asleep, iommu_mode, numa_node, slot_link
from detectors.registry import Found, detector

_VENDOR = 0x8086
_DRIVERS = ("xe", "i915")
_INTEGRATED_PLACE = "0000:00:02.0"  # every processor graphics of Intel's is there
_GIB = 1 << 30
_VRAM_BAR = 2


@dataclass(frozen=True, slots=True)
class _Card:
    name: str
    vram_bytes: int
    bandwidth_gbps: float
    fp16_tflops: float
    """Dense FP16 by the matrix engines (XMX)."""
    xe_cores: int


# By PCI device (include/drm/intel/pciids.h); memory, bandwidth and cores from Intel's product pages (ark.intel.com).
# FLOPS: Xe cores x clock x 2048 (Alchemist: 16 engines x 128) or x 4096 (Battlemage).
_CARDS = {
    0x56A0: _Card("Intel Arc A770", 16 * _GIB, 560.0, 137.6, 32),
    0x56A1: _Card("Intel Arc A750", 8 * _GIB, 512.0, 117.4, 28),
    0x56A2: _Card("Intel Arc A580", 8 * _GIB, 512.0, 83.6, 24),
    0x56A5: _Card("Intel Arc A380", 6 * _GIB, 186.0, 32.8, 8),
    0x56A6: _Card("Intel Arc A310", 4 * _GIB, 124.0, 24.6, 6),
    0xE20B: _Card("Intel Arc B580", 12 * _GIB, 456.0, 116.7, 20),
    0xE20C: _Card("Intel Arc B570", 10 * _GIB, 380.0, 92.2, 18),
    0xE211: _Card("Intel Arc Pro B60", 24 * _GIB, 456.0, 98.3, 20),
    0xE212: _Card("Intel Arc Pro B50", 16 * _GIB, 224.0, 85.2, 16),
}


@detector("gpu_intel")
def detect_intel(host: Host) -> Found:
    """Every Intel GPU, integrated or discrete; none is a normal answer."""
    cards = drm_cards(host, _VENDOR)
    problems = [
        Problem(f"gpu:{gpu.bdf}", f"an Intel GPU that neither xe nor i915 drives (its driver: {gpu.driver or 'none'})")
        for gpu in pci_gpus(host, _VENDOR)
        if gpu.bdf not in cards and gpu.driver not in _DRIVERS
    ]
    pools: list[MemoryPool] = []
    devices: list[Device] = []
    for card in cards.values():
        known = _CARDS.get(card.device or 0)
        name = known.name if known else f"Intel GPU 8086:{card.device or 0:04x}"
        if card.bdf == _INTEGRATED_PLACE:
            devices.append(_describe(host, card, "Intel processor graphics", None, "ram", None))
            continue
        window = _bar_bytes(host, card)
        total = known.vram_bytes if known else window
        if not total:
            problems.append(Problem(f"gpu:{card.bdf}", f"{name} is left out: the size of its VRAM is not known"))
            continue
        pool_id = f"vram:{card.bdf}"
        pools.append(MemoryPool(pool_id, f"{name} VRAM", total, None))
        problems.append(Problem(f"gpu:{card.bdf}", f"how much memory of {name} is free is not stated by its driver"))
        devices.append(_describe(host, card, name, known, pool_id, window))
    return Found(pools=tuple(pools), devices=tuple(devices), problems=tuple(problems))


def _describe(host: Host, card: DrmCard, name: str, known: _Card | None, pool_id: str, window: int | None) -> Device:
    sleeps = asleep(host, card.path)
    discrete = pool_id != "ram"
    file = access(host, f"/dev/dri/{card.render_node}") if card.render_node else None
    return Device(
        id=f"gpu:{card.bdf}",
        kind="dgpu" if discrete else "igpu",
        name=name,
        vendor="Intel",
        pool_id=pool_id,
        pci_bdf=card.bdf,
        bandwidth_gbps=known.bandwidth_gbps if known else None,
        bandwidth_basis="table" if known else "estimated",
        fp16_tflops=known.fp16_tflops if known else None,
        visible_vram_bytes=window,
        driver=card.driver,
        pci_id=None if card.device is None else f"{_VENDOR:04x}:{card.device:04x}",
        revision=card.revision,
        compute_units=known.xe_cores if known else None,
        core_clock_mhz=None if sleeps else _clock_mhz(host, card),
        link=slot_link(host, card.path, _VENDOR) if discrete else None,
        power_limit_w=None if sleeps else _watts(host, card, ("power1_max", "power1_cap")),
        asleep=sleeps,
        access=(file,) if file else (),
        render_node=card.render_node,
        numa_node=numa_node(host, card.path),
        iommu=iommu_mode(host, card.path),
    )


def _bar_bytes(host: Host, card: DrmCard) -> int | None:
    """The size of BAR 2: `start end flags` in hexadecimal, a line for each BAR."""
    lines = (host.text(f"{card.path}/resource") or "").splitlines()
    words = lines[_VRAM_BAR].split() if len(lines) > _VRAM_BAR else []
    try:
        start, end = int(words[0], 16), int(words[1], 16)
    except (IndexError, ValueError):
        return None
    return end - start + 1 if 0 < start < end < 1 << 64 else None


def _clock_mhz(host: Host, card: DrmCard) -> int | None:
    """The highest clock: of xe's first tile, or i915's."""
    return host.natural(f"{card.path}/tile0/gt0/freq0/max_freq") or host.natural(
        f"{card.path.removesuffix('/device')}/gt_RP0_freq_mhz"
    )


def _watts(host: Host, card: DrmCard, names: tuple[str, ...]) -> float | None:
    for monitor in host.names(f"{card.path}/hwmon"):
        for name in names:
            if microwatts := host.natural(f"{card.path}/hwmon/{monitor}/{name}"):
                return microwatts / 1e6
    return None
