"""The package that holds the GPU's firmware, as the package manager knows it."""

from __future__ import annotations

import re

from detectors.host import Host

_DPKG = "/var/lib/dpkg/status"
_PACMAN = "/var/lib/pacman/local"
_RPM = ("/usr/lib/sysimage/rpm", "/var/lib/rpm")
_DEBIAN_PACKAGES = ("firmware-amd-graphics", "linux-firmware")  # Debian, Ubuntu
_ARCH_PACKAGE = re.compile(r"(linux-firmware-amdgpu|linux-firmware)-(\d[\w.:+]*-[\d.]+)")
_RPM_PACKAGES = ("amd-gpu-firmware", "linux-firmware", "kernel-firmware-amdgpu")  # Fedora, Fedora, openSUSE


def firmware(host: Host) -> tuple[str | None, str | None]:
    """Name and version; asked only where an AMD GPU's driver is loaded, for it takes a process on most systems."""
    if not host.exists("/sys/module/amdgpu"):
        return None, None
    for name in host.names(_PACMAN):
        if match := _ARCH_PACKAGE.fullmatch(name):
            return match[1], match[2]
    if host.exists(_DPKG):
        argv = ["dpkg-query", "--show", "--showformat=${Package} ${Version} ${db:Status-Status}\\n", "*firmware*"]
        return _first(host.run(argv), _DEBIAN_PACKAGES)
    if any(host.exists(folder) for folder in _RPM):
        # It prints the packages that it knows and fails if there is one that it does not, so all firmware is asked for.
        argv = ["rpm", "--query", "--all", "--queryformat", "%{NAME} %{VERSION}-%{RELEASE} installed\\n", "*firmware*"]
        return _first(host.run(argv), _RPM_PACKAGES)
    return None, None


def _first(output: str | None, names: tuple[str, ...]) -> tuple[str | None, str | None]:
    """The first of the names that is installed."""
    rows = [line.split() for line in (output or "").splitlines()]
    versions = {row[0]: row[1] for row in rows if len(row) == 3 and row[2] == "installed"}
    return next(((name, versions[name]) for name in names if name in versions), (None, None))
