"""The memory modules and their channels, without root: udev's copy of the firmware's tables, those tables, or KFD."""

from __future__ import annotations

import re
import struct
from collections import defaultdict
from collections.abc import Iterator

from detectors.facts import Dimm, MemoryBus
from detectors.host import Host
from detectors.kfd import dimm_speed
from detectors.numbers import natural

_UDEV = "/run/udev/data/+dmi:id"
_SMBIOS = "/sys/firmware/dmi/tables/DMI"
_MIB = 1024 * 1024

# How boards name a slot's channel, with the parts that tell channels apart. They classify 95 % of the DDR5 reports in
# linuxhw/DMI; on Intel clients a DDR5 channel is a controller (its two 32-bit halves are one module).
_CHANNEL_NAMES = (
    re.compile(r"P(\d+)[_ ]?Node(\d+)[_ ]Channel(\d+)", re.IGNORECASE),
    re.compile(r"P(\d+)[_ ].*?CHANNEL ?([A-Z])", re.IGNORECASE),
    re.compile(r"(?:CPU|P|PROC) ?(\d+)[_ -]?DIMM[_ ]?([A-Z])", re.IGNORECASE),
    re.compile(r"Controller(\d)", re.IGNORECASE),
    re.compile(r"CHANNEL ?([A-Z])", re.IGNORECASE),
    re.compile(r"DIMM[_ ]?([A-H])\d?$", re.IGNORECASE),
)
# SMBIOS specification 3.7, table 77.
_TYPES = {0x18: "DDR3", 0x1A: "DDR4", 0x1B: "LPDDR", 0x1E: "LPDDR4", 0x20: "HBM", 0x21: "HBM2", 0x22: "DDR5",
          0x23: "LPDDR5", 0x24: "HBM3"}  # fmt: skip
_CHANNEL_BITS = 64  # of DDR3 to DDR5, ECC left aside; LPDDR packages state their own width


def memory_bus(host: Host) -> MemoryBus | None:
    """What is known of modules, channels and speed; `None` where nothing says anything."""
    modules, slots = _by_udev(host)
    source = "udev"
    if not modules:
        modules, slots = _by_smbios(host)
        source = "smbios"
    if not modules:
        speed = dimm_speed(host)
        return MemoryBus(rated_mts=speed, source="kfd", channels_how="KFD states only the speed") if speed else None
    return _summed(tuple(modules), slots, source)


def _summed(modules: tuple[Dimm, ...], slots: int | None, source: str) -> MemoryBus:
    kinds = {module.type for module in modules}
    kind = kinds.pop() if len(kinds) == 1 else None
    rated = min((module.rated_mts for module in modules if module.rated_mts), default=None)
    configured = min((module.configured_mts for module in modules if module.configured_mts), default=None)
    channels, bits, how = _width(modules, kind)
    speed = configured or rated
    return MemoryBus(
        modules=modules,
        slots=slots,
        channels=channels,
        channels_how=how,
        bits=bits,
        type=kind,
        rated_mts=rated,
        configured_mts=configured,
        theoretical_gbps=bits / 8 * speed / 1000 if bits and speed else None,
        source=source,
    )


def _width(modules: tuple[Dimm, ...], kind: str | None) -> tuple[int | None, int | None, str]:
    """Channels, bus width and how they are known."""
    if (kind or "").startswith("LPDDR") or _soldered(modules):
        # Soldered packages are listed one by one with their own width: 4 x 32 or 8 x 16 bits alike are 128.
        widths = [module.width_bits for module in modules]
        if all(widths):
            return len(modules), sum(width or 0 for width in widths), "the widths of the soldered packages"
        return None, None, "the firmware does not state the width of the packages"
    found: defaultdict[tuple[str, ...], int] = defaultdict(int)
    for module in modules:
        key = _channel(module)
        if key is None:
            if len(modules) == 1:
                return 1, _CHANNEL_BITS, "there is one module"
            return None, None, f"the slot's name {module.locator or module.bank or '(none)'} does not tell its channel"
        found[key] += 1
    return len(found), len(found) * _CHANNEL_BITS, "the names of the slots"


def _soldered(modules: tuple[Dimm, ...]) -> bool:
    """Type lost (older systemd says `<OUT OF SPEC>`), but no DDR module is narrower than 32 bits."""
    return all(module.width_bits is not None and module.width_bits < 32 for module in modules)


def _channel(module: Dimm) -> tuple[str, ...] | None:
    for text in (module.bank, module.locator, f"{module.bank} {module.locator}"):
        for name in _CHANNEL_NAMES:
            if match := name.search(text):
                return tuple(part.upper() for part in match.groups() if part)
    return None


def _by_udev(host: Host) -> tuple[list[Dimm], int | None]:
    """The properties that systemd's dmi_memory_id leaves for everyone to read (systemd 248 and later)."""
    values: dict[str, str] = {}
    for line in (host.text(_UDEV) or "").splitlines():
        key, equals, value = line.removeprefix("E:").partition("=")
        if equals and key.startswith("MEMORY_"):
            values[key] = value.strip()
    by_module: defaultdict[int, dict[str, str]] = defaultdict(dict)
    for key, value in values.items():
        if match := re.fullmatch(r"MEMORY_DEVICE_(\d{1,3})_(\w+)", key):
            by_module[int(match[1])][match[2]] = value
    modules = []
    for number in sorted(by_module):
        module = by_module[number]
        size = natural(module.get("SIZE"))
        if not size or module.get("PRESENT") == "0":
            continue
        kind = module.get("TYPE", "")
        modules.append(
            Dimm(
                size_bytes=size,
                type=kind if kind and not kind.startswith("<") and kind != "Unknown" else None,
                rated_mts=natural(module.get("SPEED_MTS")) or None,
                configured_mts=natural(module.get("CONFIGURED_SPEED_MTS")) or None,
                width_bits=natural(module.get("DATA_WIDTH")) or None,
                locator=module.get("LOCATOR", ""),
                bank=module.get("BANK_LOCATOR", ""),
            )
        )
    return modules, natural(values.get("MEMORY_ARRAY_NUM_DEVICES")) or len(by_module) or None


def _by_smbios(host: Host) -> tuple[list[Dimm], int | None]:
    """The tables themselves; only root may read them."""
    slots = [
        _smbios_module(body, strings)
        for body, strings in smbios_structures(host.data(_SMBIOS) or b"")
        if body[0] == 17 and len(body) >= 0x17
    ]
    return [module for module in slots if module is not None], len(slots) or None


def smbios_structures(data: bytes) -> Iterator[tuple[bytes, list[bytes]]]:
    """Each structure of the firmware's tables: its formatted area and its strings (SMBIOS specification 3.7, 6.1)."""
    position = 0
    while position + 4 <= len(data):
        length = data[position + 1]
        end = data.find(b"\0\0", position + length)
        if length < 4 or end < 0:
            return
        yield data[position : position + length], data[position + length : end].split(b"\0")
        position = end + 2


def _smbios_module(body: bytes, strings: list[bytes]) -> Dimm | None:
    """A type 17 structure (SMBIOS specification 3.7, section 7.18); `None` for an empty slot."""
    size = _word(body, 0x0C)
    if size in (0, 0xFFFF):
        return None
    if size == 0x7FFF and len(body) >= 0x20:
        size_bytes = (struct.unpack_from("<I", body, 0x1C)[0] & 0x7FFFFFFF) * _MIB
    else:
        size_bytes = (size & 0x7FFF) * (1024 if size & 0x8000 else _MIB)

    def name(offset: int) -> str:
        number = body[offset]
        return strings[number - 1].decode("ascii", "replace").strip() if 0 < number <= len(strings) else ""

    width = _word(body, 0x0A)
    return Dimm(
        size_bytes=size_bytes,
        type=_TYPES.get(body[0x12]),
        rated_mts=_word(body, 0x15) or None,
        configured_mts=(_word(body, 0x20) or None) if len(body) >= 0x22 else None,
        width_bits=width if 0 < width < 0xFFFF else None,
        locator=name(0x10),
        bank=name(0x11),
    )


def _word(body: bytes, offset: int) -> int:
    value: int = struct.unpack_from("<H", body, offset)[0]
    return value
