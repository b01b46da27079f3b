"""The distribution, and how it boots: which program holds the kernel's command line."""

from __future__ import annotations

from typing import Literal

from detectors.host import Host

# os-release ids to the way in which that family is told kernel parameters.
_FAMILIES = {
    "pop": "pop", "nixos": "nixos", "ubuntu": "debian", "debian": "debian", "linuxmint": "debian", "proxmox": "debian",
    "fedora": "fedora", "rhel": "fedora", "centos": "fedora", "rocky": "fedora", "almalinux": "fedora",
    "arch": "arch", "cachyos": "arch", "manjaro": "arch", "endeavouros": "arch",
    "suse": "suse", "opensuse": "suse", "opensuse-tumbleweed": "suse", "opensuse-leap": "suse", "sles": "suse",
}  # fmt: skip

Loader = Literal["grub", "systemd-boot", "uki", "limine", "refind", "ostree", "proxmox"]

# In the order in which they settle the matter; each by a file that its installation leaves. The folders of the ESP
# are often for root alone, so what a user can see comes with each.
_LOADERS: tuple[tuple[Loader, tuple[str, ...]], ...] = (
    ("ostree", ("/run/ostree-booted",)),
    ("proxmox", ("/etc/kernel/proxmox-boot-uuids",)),
    ("limine", ("/etc/default/limine", "/boot/limine.conf", "/boot/limine/limine.conf", "/boot/efi/limine.conf")),
    ("refind", ("/boot/refind_linux.conf",)),
    ("uki", ("/etc/kernel/uki.conf", "/boot/EFI/Linux", "/efi/EFI/Linux")),
    ("systemd-boot", ("/boot/loader/loader.conf", "/efi/loader/loader.conf", "/boot/efi/loader/loader.conf",
                      "/etc/kernelstub/configuration")),
    ("grub", ("/etc/default/grub", "/boot/grub/grub.cfg", "/boot/grub2/grub.cfg")),
)  # fmt: skip

_TOOLS = (
    "grubby", "update-grub", "grub-mkconfig", "grub2-mkconfig", "kernelstub", "sdbootutil", "update-bootloader",
    "limine-update", "limine-mkinitcpio", "bootctl", "rpm-ostree", "proxmox-boot-tool", "update-initramfs", "dracut",
    "mkinitcpio", "booster", "nixos-rebuild",
)  # fmt: skip
_TOOL_FOLDERS = ("/usr/bin", "/usr/sbin", "/run/current-system/sw/bin")


def os_release(host: Host) -> dict[str, str]:
    """The assignments of os-release, quotes taken off."""
    text = host.text("/etc/os-release") or host.text("/usr/lib/os-release") or ""
    pairs = (line.partition("=") for line in text.splitlines() if not line.startswith("#"))
    return {key.strip(): value.strip().strip("\"'") for key, equals, value in pairs if equals}


def family(host: Host, system: dict[str, str]) -> str | None:
    """How this distribution is told kernel parameters."""
    if host.exists("/run/ostree-booted"):
        return "ostree"
    ids = [system.get("ID", ""), *system.get("ID_LIKE", "").split()]
    return next((_FAMILIES[name] for name in ids if name in _FAMILIES), None)


def boot_loader(host: Host) -> tuple[Loader | None, str]:
    """The boot loader and the file that gave it away; a container has none."""
    for loader, paths in _LOADERS:
        for path in paths:
            if host.exists(path):
                return loader, path
    return None, ""


def boot_tools(host: Host) -> tuple[str, ...]:
    """Which tools for boot parameters and the initramfs are installed."""
    return tuple(name for name in _TOOLS if any(host.exists(f"{folder}/{name}") for folder in _TOOL_FOLDERS))
