"""How each distribution is brought to a newer kernel or firmware."""

from __future__ import annotations

from app.readiness.finding import Fix
from detectors.facts import KernelFacts

_UBUNTU_KERNELS = {
    "22.04": "sudo apt install --install-recommends linux-generic-hwe-22.04",
    "24.04": "sudo apt install --install-recommends linux-generic-hwe-24.04   # or linux-oem-24.04c",
}
"""A release has its own package; those between two long-term releases just go on being updated."""
_KERNEL = {
    "debian": "add the backports of your release to apt's sources, then: sudo apt install -t NAME-backports "
    "linux-image-amd64",
    "fedora": "sudo dnf upgrade --refresh 'kernel*'",
    "ostree": "rpm-ostree upgrade",
    "arch": "sudo pacman -Syu",
    "nixos": "boot.kernelPackages = pkgs.linuxPackages_latest;\nsudo nixos-rebuild boot",
    "suse": "sudo zypper refresh && sudo zypper update kernel-default",
    "pop": "sudo apt update && sudo apt full-upgrade",
}
_FIRMWARE = {
    "debian": "sudo apt update && sudo apt install firmware-amd-graphics",
    "fedora": "sudo dnf upgrade --refresh linux-firmware amd-gpu-firmware",
    "ostree": "rpm-ostree upgrade",
    "arch": "sudo pacman -Syu linux-firmware",
    "nixos": "nix flake update nixpkgs (or nix-channel --update)\nsudo nixos-rebuild boot",
    "suse": "sudo zypper refresh && sudo zypper update kernel-firmware-amdgpu",
    "pop": "sudo apt update && sudo apt full-upgrade",
}
_BACK = "start the former kernel from the boot menu"


def kernel_fix(kernel: KernelFacts | None, wanted: str) -> Fix:
    """The way to a newer kernel.

    Args:
        kernel: the distribution decides.
        wanted: the least version, for the sentence and the check.
    """
    family = kernel.distribution_family if kernel else None
    if kernel is not None and kernel.distribution_id == "ubuntu":
        text = _UBUNTU_KERNELS.get((kernel.distribution_version or "")[:5], _KERNEL["pop"])
    else:
        text = _KERNEL.get(family or "", f"install a kernel of at least {wanted}")
    return Fix(_where(kernel) + text + "\nsudo reboot", _BACK, f"uname -r   # at least {wanted}", reboot=True)


def firmware_fix(kernel: KernelFacts | None, wanted: str) -> Fix:
    """The way to other GPU firmware."""
    family = kernel.distribution_family if kernel else None
    text = _FIRMWARE.get(family or "", f"install linux-firmware {wanted}")
    verify = "cat /sys/kernel/debug/dri/*/amdgpu_firmware_info   # as root, after the restart"
    undo = "install the former version of the package again, and reboot"
    return Fix(f"{_where(kernel)}{text}\n# wanted: {wanted}\nsudo reboot", undo, verify, reboot=True)


def _where(kernel: KernelFacts | None) -> str:
    return "# on the host, not in this container:\n" if kernel is not None and kernel.container else ""
