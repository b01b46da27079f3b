"""What AMD's drivers do not say in sysfs: instruction sets by graphics core, and the figures of known cards."""

from __future__ import annotations

from dataclasses import dataclass

# Version of the graphics core (GC) as ip_discovery states it -> target of the compiler. From the kernel:
# drivers/gpu/drm/amd/amdkfd/kfd_device.c, kgd2kfd_probe. 11.0.3 is gfx1101 and 10.3.1 gfx1033: not a formula.
GFX_BY_CORE = {
    (9, 0, 1): "gfx900", (9, 1, 0): "gfx902", (9, 2, 2): "gfx902", (9, 2, 1): "gfx904", (9, 3, 0): "gfx90c",
    (9, 4, 0): "gfx906", (9, 4, 1): "gfx908", (9, 4, 2): "gfx90a", (9, 4, 3): "gfx942", (9, 4, 4): "gfx942",
    (9, 5, 0): "gfx950", (10, 1, 10): "gfx1010", (10, 1, 2): "gfx1011", (10, 1, 1): "gfx1012",
    (10, 1, 3): "gfx1013", (10, 1, 4): "gfx1013", (10, 3, 0): "gfx1030", (10, 3, 2): "gfx1031",
    (10, 3, 4): "gfx1032", (10, 3, 1): "gfx1033", (10, 3, 5): "gfx1034", (10, 3, 3): "gfx1035",
    (10, 3, 6): "gfx1036", (10, 3, 7): "gfx1036", (11, 0, 0): "gfx1100", (11, 0, 3): "gfx1101",
    (11, 0, 2): "gfx1102", (11, 0, 1): "gfx1103", (11, 0, 4): "gfx1103", (11, 5, 0): "gfx1150",
    (11, 5, 1): "gfx1151", (11, 5, 2): "gfx1152", (11, 5, 3): "gfx1153", (12, 0, 0): "gfx1200",
    (12, 0, 1): "gfx1201",
}  # fmt: skip

# Targets that exist only inside a processor: the driver's own list of APU cores
# (drivers/gpu/drm/amd/amdgpu/amdgpu_discovery.c, where it sets AMD_IS_APU).
APU_TARGETS = frozenset({
    "gfx902", "gfx90c", "gfx1013", "gfx1033", "gfx1035", "gfx1036", "gfx1103",
    "gfx1150", "gfx1151", "gfx1152", "gfx1153", "gfx1154", "gfx1170", "gfx1171",
})  # fmt: skip


def gfx_of_version(version: int) -> str | None:
    """KFD's `gfx_target_version` as the compiler writes it: 110501 is `gfx1151`, 90010 `gfx90a`."""
    major, minor, step = version // 10000, version // 100 % 100, version % 100
    return f"gfx{major}{minor:x}{step:x}" if major else None


def transfers_per_clock(gfx: str) -> int | None:
    """Data transfers per cycle of the memory clock that the driver states, for discrete GPUs.

    GDDR6 16, GDDR5 4, HBM 2 (libdrm-amdgpu-sys, amdgpu/vram.rs). `None` for HBM3 (gfx942, gfx950), whose stated
    clock is that of the controller.
    """
    if gfx in ("gfx942", "gfx950"):
        return None
    if gfx.startswith(("gfx10", "gfx11", "gfx12")):
        return 16
    return 2 if gfx.startswith("gfx9") else 4


@dataclass(frozen=True, slots=True)
class Card:
    """A known GPU. Bandwidth is bus width x data rate; compute is CUs x boost clock x FLOP per clock, dense FP16."""

    name: str
    gfx: str
    apu: bool
    bandwidth_gbps: float | None
    """`None` for an APU whose memory the maker of the machine chooses."""
    fp16_tflops: float | None


# By PCI device and revision; revision `None` is any. Names from libdrm's amdgpu.ids, figures from AMD's pages.
_CARDS: dict[tuple[int, int | None], Card] = {
    (0x744C, 0xC8): Card("AMD Radeon RX 7900 XTX", "gfx1100", False, 960.0, 122.8),
    (0x744C, 0xCC): Card("AMD Radeon RX 7900 XT", "gfx1100", False, 800.0, 103.0),
    (0x744C, 0xCE): Card("AMD Radeon RX 7900 GRE", "gfx1100", False, 576.0, 92.0),
    (0x7448, None): Card("AMD Radeon PRO W7900", "gfx1100", False, 864.0, 122.6),
    (0x745E, None): Card("AMD Radeon PRO W7800", "gfx1100", False, 576.0, 90.5),
    (0x747E, 0xC8): Card("AMD Radeon RX 7800 XT", "gfx1101", False, 624.0, 74.6),
    (0x747E, 0xFF): Card("AMD Radeon RX 7700 XT", "gfx1101", False, 432.0, 70.3),
    (0x7480, 0xC0): Card("AMD Radeon RX 7600 XT", "gfx1102", False, 288.0, 45.1),
    (0x7480, 0xCF): Card("AMD Radeon RX 7600", "gfx1102", False, 288.0, 43.5),
    (0x7550, 0xC0): Card("AMD Radeon RX 9070 XT", "gfx1201", False, 640.0, 194.6),
    (0x7550, 0xC3): Card("AMD Radeon RX 9070", "gfx1201", False, 640.0, 144.5),
    (0x7551, 0xC0): Card("AMD Radeon AI PRO R9700", "gfx1201", False, 640.0, 191.4),
    (0x7590, 0xC0): Card("AMD Radeon RX 9060 XT", "gfx1200", False, 320.0, 102.6),
    (0x7480, 0xC1): Card("AMD Radeon RX 7700S", "gfx1102", False, 288.0, 35.6),
    (0x73BF, 0xC0): Card("AMD Radeon RX 6900 XT", "gfx1030", False, 512.0, 46.1),
    (0x73BF, 0xC1): Card("AMD Radeon RX 6800 XT", "gfx1030", False, 512.0, 41.5),
    (0x73BF, 0xC3): Card("AMD Radeon RX 6800", "gfx1030", False, 512.0, 32.3),
    (0x73DF, 0xC1): Card("AMD Radeon RX 6700 XT", "gfx1031", False, 384.0, 26.4),
    (0x73FF, 0xC1): Card("AMD Radeon RX 6600 XT", "gfx1032", False, 256.0, 21.2),
    (0x66AF, 0xC1): Card("AMD Radeon VII", "gfx906", False, 1024.0, 26.9),
    (0x66A1, None): Card("AMD Instinct MI50", "gfx906", False, 1024.0, 26.8),
    (0x740F, None): Card("AMD Instinct MI210", "gfx90a", False, 1638.0, 181.0),
    (0x74A0, None): Card("AMD Instinct MI300A", "gfx942", True, 5300.0, 980.6),
    (0x74A1, None): Card("AMD Instinct MI300X", "gfx942", False, 5300.0, 1307.4),
    (0x74A5, None): Card("AMD Instinct MI325X", "gfx942", False, 6000.0, 1307.4),
    (0x75A0, None): Card("AMD Instinct MI350X", "gfx950", False, 8000.0, 2306.9),
    (0x75A3, None): Card("AMD Instinct MI355X", "gfx950", False, 8000.0, 2516.6),
    # Where the revision is not known, the series is, and what all of it have in common.
    (0x744C, None): Card("AMD Radeon RX 7900 series", "gfx1100", False, None, None),
    (0x747E, None): Card("AMD Radeon RX 7800 or 7700 XT", "gfx1101", False, None, None),
    (0x7480, None): Card("AMD Radeon RX 7600 series", "gfx1102", False, 288.0, None),
    (0x7550, None): Card("AMD Radeon RX 9070 series", "gfx1201", False, 640.0, None),
    (0x7590, None): Card("AMD Radeon RX 9060 XT", "gfx1200", False, 320.0, None),
    (0x73BF, None): Card("AMD Radeon RX 6800 or 6900 series", "gfx1030", False, 512.0, None),
    (0x73DF, None): Card("AMD Radeon RX 6700 series", "gfx1031", False, None, None),
    (0x73FF, None): Card("AMD Radeon RX 6600 series", "gfx1032", False, None, None),
    # Strix Halo always has 256 bits of LPDDR5X-8000.
    (0x1586, 0xC1): Card("AMD Radeon 8060S", "gfx1151", True, 256.0, 59.4),
    (0x1586, 0xD1): Card("AMD Radeon 8060S", "gfx1151", True, 256.0, 59.4),
    (0x1586, 0xC2): Card("AMD Radeon 8050S", "gfx1151", True, 256.0, 45.9),
    (0x1586, 0xD2): Card("AMD Radeon 8050S", "gfx1151", True, 256.0, 45.9),
    (0x1586, None): Card("AMD Radeon Graphics (Strix Halo)", "gfx1151", True, 256.0, None),
    (0x150E, None): Card("AMD Radeon 890M / 880M (Strix Point)", "gfx1150", True, None, 23.8),
    (0x1114, None): Card("AMD Radeon 860M / 840M (Krackan Point)", "gfx1152", True, None, 12.3),
    (0x15BF, None): Card("AMD Radeon 780M (Phoenix)", "gfx1103", True, None, 16.6),
    (0x1900, None): Card("AMD Radeon 780M (Hawk Point)", "gfx1103", True, None, 16.6),
}


def known_card(device: int | None, revision: int | None) -> Card | None:
    """The card of those PCI ids, if it is a known one."""
    if device is None:
        return None
    return _CARDS.get((device, revision)) or _CARDS.get((device, None))
