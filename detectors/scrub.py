"""What of a file may be saved: an allow-list of files, of lines in them, and of words; ids and names are replaced."""

from __future__ import annotations

import gzip
import re
from collections.abc import Iterable

from detectors.modules import CONFIGURED, SYMBOLS

_UUID = re.compile(r"\b[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}\b")
_LONG_HEX = re.compile(r"\b[0-9a-fA-F]{32,}\b")
_MAC = re.compile(r"\b(?:[0-9a-fA-F]{2}[:-]){5}[0-9a-fA-F]{2}\b")
_LEAST_NAME = 3
_NAMED_BY_PEOPLE = ("/home/", "/root/", "/Users/", "/sys/fs/cgroup/", "/cgroup/", "/etc/modprobe.d/")
# Names of people and hosts that are also words of the kernel's: replacing them would spoil what is saved, and they
# give nobody away.
_COMMON = frozenset({
    "root", "user", "users", "admin", "host", "hosts", "localhost", "linux", "ubuntu", "debian", "fedora", "arch",
    "nixos", "amd", "intel", "nvidia", "cpu", "gpu", "server", "desktop", "laptop", "workstation", "system",
    "performance", "powersave", "active",
})  # fmt: skip
_SECRET_NAMES = re.compile(r"(serial|uuid|unique_id|asset_tag|address|wwid)$", re.IGNORECASE)

# Files whose text may be saved. Of any other file that is asked for, only its presence is.
_FILES = re.compile(
    r"/proc/(cpuinfo|meminfo|cmdline|version|swaps|mounts|config\.gz|self/(cgroup|cpuset)|driver/nvidia/.+"
    r"|sys/kernel/(osrelease|hostname|arch|numa_balancing)|sys/vm/(overcommit_memory|swappiness))"
    r"|/sys/(bus/pci|class/(drm|kfd|iommu|power_supply)|devices|fs/cgroup|hypervisor|kernel/(mm|iommu_groups)|module)/.+"
    r"|/sys/class/dmi/id/(sys_vendor|product_name|bios_vendor)|/sys/firmware/(acpi/platform_profile|dmi/tables/DMI)"
    r"|/(etc|run|lib|usr/lib|usr/local/lib)/modprobe\.d/[^/]+\.conf|/(etc|usr/lib)/os-release|/etc/hostname"
    r"|/boot/config-[^/]+|(/usr)?/lib/modules/[^/]+/(config|build/\.config)|/usr/lib/ostree-boot/config-[^/]+"
    r"|/(usr|opt/amdgpu)/share/libdrm/amdgpu\.ids|/run/(udev/data/\+dmi:id|host/container-manager|systemd/container)"
    r"|/cgroup/.+|/nvml\.json|/pu[0-9]+"
)

_CPUINFO = (
    "processor|vendor_id|cpu family|model|model name|stepping|physical id|siblings|core id|cpu cores|flags|Features|"
    "CPU implementer|CPU part|cpu"
)
_KFD = (
    "cpu_cores_count|simd_count|simd_per_cu|gfx_target_version|location_id|domain|drm_render_minor|type|node_from|node_to|"
    "max_engine_clk_fcompute|heap_type|width|mem_clk_max|m(ax|in)_bandwidth"
)
_DIMM = "SIZE|TYPE|SPEED_MTS|CONFIGURED_SPEED_MTS|DATA_WIDTH|LOCATOR|BANK_LOCATOR|PRESENT"
# Files of which only some lines are saved: (path, lines to keep).
_LINES = tuple(
    (re.compile(path), re.compile(line))
    for path, line in (
        (r"/proc/cpuinfo", rf"({_CPUINFO})\s*:.*|"),
        (r"/proc/mounts", r"\S+ \S+ cgroup2? .*"),
        (r".*/nodes/\d+/(.+/)?properties", rf"({_KFD}) .*"),
        (r"/run/udev/data/\+dmi:id", rf"E:MEMORY_(DEVICE_\d+_({_DIMM})|ARRAY_NUM_DEVICES)=.*"),
        (r".*/os-release", r"(NAME|PRETTY_NAME|ID|ID_LIKE|VERSION_ID)=.*"),
        (r".*/modprobe\.d/.*", rf"\s*options\s+({'|'.join(CONFIGURED)})\s.*"),
        (r".*(/config-|/config$|/\.config$|/config\.gz$).*", rf"(# )?({'|'.join(SYMBOLS)})(=| is not set).*"),
        (r".*/uevent", r"(DRIVER|PCI_CLASS|PCI_ID|PCI_SLOT_NAME)=.*"),
        (r"/proc/driver/nvidia/gpus/[^/]+/information", r"(Model|Bus Location):.*"),
        (r"/proc/driver/nvidia/gpus/[^/]+/numa_status", r"(Node|Status|Size):.*"),
    )
)
# Parameters of the kernel whose values may be saved; of others the name alone is.
_PARAMETERS = re.compile(
    r"(ttm|amdttm|amdgpu|nvidia[\w-]*|nouveau|xe|i915)\..*|(amd_|intel_)?iommu.*|(amd|intel)_[pc]state.*|pci|pcie_.*"
    r"|mitigations|isolcpus|nohz_full|(default_)?hugepagesz?|transparent_hugepage|numa\w*|nosmt|maxcpus|nr_cpus|mem"
    r"|memmap|clearcpuid|module_blacklist|modprobe\.blacklist|rd\.driver\.blacklist|cgroup\w*|systemd\.unified\w*|efi"
    r"|quiet|splash|ro|rw|nomodeset|zswap\..*|kvm\S*|vfio\S*|swiotlb|preempt|threadirqs|processor\..*|idle",
)


class Scrub:
    """Cleans texts and paths, the same id always to the same replacement, so that paths still fit their contents.

    Args:
        people: user names.
        hosts: host names.
    """

    def __init__(self, people: Iterable[str], hosts: Iterable[str]) -> None:
        self._ids: dict[str, str] = {}
        pairs = [*((name, "user") for name in people), *((name, "host") for name in hosts)]
        names = {name: stand_in for name, stand_in in pairs if self._tells(name)}
        self._names = names
        longest = sorted(names, key=len, reverse=True)
        self._name = re.compile(rf"(?<![\w])({'|'.join(map(re.escape, longest))})(?![\w])") if names else None

    @staticmethod
    def _tells(name: str) -> bool:
        return len(name) >= _LEAST_NAME and name.lower() not in _COMMON

    def text(self, text: str) -> str:
        """The text without ids and names."""
        text = _UUID.sub(lambda match: self._id(match[0], "00000000-0000-0000-0000-{:012d}"), text)
        text = _LONG_HEX.sub(lambda match: self._id(match[0], "{:0" + str(len(match[0])) + "d}"), text)
        text = _MAC.sub("00:00:00:00:00:00", text)
        return self._name.sub(lambda match: self._names[match[0]], text) if self._name else text

    def path(self, path: str) -> str:
        """A path without ids and names, which are looked for only where people choose what a file is called."""
        if path.startswith(_NAMED_BY_PEOPLE):
            return self.text(path)
        return path

    def file(self, path: str, data: bytes) -> bytes | None:
        """What may be saved of a file; `None`: nothing."""
        if not _FILES.fullmatch(path) or _SECRET_NAMES.search(path):
            return None
        if path in ("/proc/sys/kernel/hostname", "/etc/hostname"):
            return b"host\n"
        if path.endswith("/dmi/tables/DMI"):
            return _smbios(data)
        text = (gzip.decompress(data) if path.endswith(".gz") else data).decode("utf-8", "replace")
        text = self.text(_kept(path, text))
        return gzip.compress(text.encode(), mtime=0) if path.endswith(".gz") else text.encode()

    def value(self, value: object) -> object:
        """An answer, cleaned all the way down."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, list):
            return [self.value(item) for item in value]
        if isinstance(value, dict):
            return {key: self.value(item) for key, item in value.items()}
        return value

    def _id(self, found: str, form: str) -> str:
        return self._ids.setdefault(found.lower(), form.format(len(self._ids) + 1))


def _kept(path: str, text: str) -> str:
    """The lines, or the words, that may be saved."""
    if path == "/proc/cmdline":
        return command_line(text)
    if path == "/proc/version":
        return " ".join(text.split()[:3])  # the rest names who built it, and where
    for paths, lines in _LINES:
        if paths.fullmatch(path):
            return "".join(f"{line}\n" for line in text.splitlines() if lines.fullmatch(line))
    return text


def command_line(text: str) -> str:
    """The kernel's command line with the values of unknown parameters taken out: disks, networks, keys."""
    words = []
    for word in text.split():
        if word == "--":
            break  # what follows is for init
        name, equals, value = word.partition("=")
        words.append(f"{name}={value if _PARAMETERS.fullmatch(name) else 'removed'}" if equals else name)
    return " ".join(words) + "\n"


def _smbios(data: bytes) -> bytes:
    """The memory modules of the firmware's tables: their figures and the names of their slots, no serial numbers."""
    from detectors.memory_bus import smbios_structures

    kept = bytearray()
    for body, strings in smbios_structures(data):
        if body[0] == 17 and len(body) > 0x11:
            named = {body[0x10], body[0x11]}
            texts = [text if number in named else b"-" for number, text in enumerate(strings, 1)]
            kept += body + b"\0".join(texts) + b"\0\0"
    return bytes(kept)
