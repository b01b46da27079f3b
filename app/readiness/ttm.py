"""How much system memory an APU's GPU should be allowed to map, and how each distribution is told so."""

from __future__ import annotations

import math

from app.readiness.finding import Fix
from app.units import GIB
from detectors.facts import KernelFacts

# At most this share of the memory, and this much left for the rest of a desktop: AMD's own tool warns above 90 %,
# and a 125 GiB machine given 124 was seen to freeze.
_MOST_SHARE = 0.90
_DESKTOP_BYTES = 8 * GIB
# The compute driver refuses more than MemTotal - MemTotal/64 - 1.5 GiB (amdgpu_amdkfd_gpuvm.c).
_KFD_SHARE = 63 / 64
_KFD_BYTES = 3 * GIB // 2


def target_bytes(memory_bytes: int) -> int:
    """The GTT size to aim at, in whole GiB: 112 GiB of a machine that shows 125."""
    bounds = (
        _MOST_SHARE * memory_bytes,
        memory_bytes - _DESKTOP_BYTES,
        _KFD_SHARE * memory_bytes - _KFD_BYTES,
    )
    return max(0, math.floor(min(bounds) / GIB)) * GIB


def limit_fix(kernel: KernelFacts | None, limit_bytes: int) -> Fix:
    """The commands that set `pages_limit` on this system, and take a `gttsize` out of its way.

    Args:
        kernel: the kernel's facts; without them the parameter is named and the rest left to the reader.
        limit_bytes: what the GPU is to be allowed.
    """
    pages = limit_bytes // (kernel.page_bytes if kernel else 4096)
    module = (kernel.ttm_module if kernel else None) or "ttm"
    line = (kernel.command_line if kernel else None) or ""
    present = f"{module}.pages_limit=" in line
    text, undo = _commands(kernel.distribution_family if kernel else None, module, pages, present)
    if "amdgpu.gttsize=" in line and "amdgpu.gttsize" not in text:
        text += f"\n# and take amdgpu.gttsize off the command line: {removal(kernel, 'amdgpu.gttsize')}"
    if kernel is not None and kernel.container is not None:
        text = "# on the host, not in the container:\n" + text
    verify = f"cat /sys/module/{module}/parameters/pages_limit; cat /sys/class/drm/card*/device/mem_info_gtt_total"
    return Fix(text, undo, verify, reboot=True)


def removal(kernel: KernelFacts | None, name: str) -> str:
    """How a parameter is taken off the kernel's command line on this system."""
    family = kernel.distribution_family if kernel else None
    where = "on the host, " if kernel and kernel.container else ""
    return where + {
        "fedora": f'sudo grubby --update-kernel=ALL --remove-args="{name}"',
        "ostree": f"sudo rpm-ostree kargs --delete-if-present={_word(kernel, name)}",
        "pop": f'sudo kernelstub -d "{_word(kernel, name)}"',
        "debian": "delete it in /etc/default/grub, then: sudo update-grub",
        "arch": _ARCH_EDIT.format(what=f"delete {name}"),
        "nixos": "delete it from boot.kernelParams, then: sudo nixos-rebuild boot",
        "suse": f'sudo update-bootloader --del-option "{_word(kernel, name)}" && sudo update-bootloader --refresh',
    }.get(family or "", "delete it where your boot loader keeps the kernel's command line")


_ARCH_EDIT = (
    "{what} where the boot loader keeps it: /etc/default/grub, then sudo grub-mkconfig -o /boot/grub/grub.cfg; "
    "systemd-boot: the options line in /boot/loader/entries/*.conf; a unified image: /etc/kernel/cmdline, then "
    "sudo mkinitcpio -P; Limine: /etc/default/limine, then sudo limine-update"
)


def _word(kernel: KernelFacts | None, name: str) -> str:
    """The whole word as it stands on the command line: some tools remove by name and value only."""
    words = ((kernel.command_line if kernel else None) or "").split()
    return next((word for word in words if word.partition("=")[0] == name), name)


def _commands(family: str | None, module: str, pages: int, present: bool) -> tuple[str, str]:
    """What to do and how to undo it. Sources: the distributions' own documentation of kernel parameters."""
    word = f"{module}.pages_limit={pages}"
    file = f"/etc/modprobe.d/{module}.conf"
    write = f"echo 'options {module} pages_limit={pages}' | sudo tee {file}"
    if family == "debian":
        rebuild = "sudo update-initramfs -u -k all && sudo reboot"
        edit = f"set {word} in /etc/default/grub, then: sudo update-grub && sudo reboot"
        return (edit if present else f"{write} && {rebuild}"), (
            f"delete {module}.pages_limit in /etc/default/grub, then: sudo update-grub && sudo reboot"
            if present
            else f"sudo rm {file} && {rebuild}"
        )
    if family == "fedora":
        return (
            f'sudo grubby --update-kernel=ALL --args="{word}" --remove-args="amdgpu.gttsize" && sudo reboot',
            f'sudo grubby --update-kernel=ALL --remove-args="{module}.pages_limit" && sudo reboot',
        )
    if family == "ostree":
        verb = "--replace" if present else "--append-if-missing"
        return (
            f"sudo rpm-ostree kargs {verb}={word} && sudo systemctl reboot",
            f"sudo rpm-ostree kargs --delete-if-present={word} && sudo systemctl reboot",
        )
    if family == "arch":
        rebuild = "sudo mkinitcpio -P && sudo reboot"
        if present:
            return _ARCH_EDIT.format(what=f"set {word}"), _ARCH_EDIT.format(what=f"delete {module}.pages_limit")
        return f"{write} && {rebuild}", f"sudo rm {file} && {rebuild}"
    if family == "nixos":
        return (
            f'boot.kernelParams = [ "{word}" ];\nsudo nixos-rebuild boot && sudo reboot',
            f'delete "{word}" from boot.kernelParams\nsudo nixos-rebuild boot && sudo reboot',
        )
    if family == "suse":
        return (
            f'sudo update-bootloader --add-option "{word}" && sudo update-bootloader --refresh && sudo reboot\n'
            f"# with systemd-boot or GRUB2-BLS: add {word} to /etc/kernel/cmdline, then:\n"
            "# sudo sdbootutil update-all-entries",
            f'sudo update-bootloader --del-option "{word}" && sudo update-bootloader --refresh && sudo reboot',
        )
    if family == "pop":
        return f'sudo kernelstub -a "{word}" && sudo reboot', f'sudo kernelstub -d "{word}" && sudo reboot'
    return f"add {word} to the kernel's command line and reboot", f"delete {word} from it and reboot"
