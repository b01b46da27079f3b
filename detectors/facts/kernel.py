"""Facts about the kernel, its modules, and the system around it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True, slots=True)
class ModuleOption:
    """A parameter of a kernel module as someone configured it; whether it took effect is another matter."""

    module: str
    name: str
    value: str
    source: str
    """The modprobe.d file, or `/proc/cmdline`."""


@dataclass(frozen=True, slots=True)
class DriverModule:
    """A GPU driver's module, live."""

    name: str
    version: str | None = None
    """Modules of the kernel's own tree have none, but for nvidia's."""
    out_of_tree: bool | None = None
    """Built outside the kernel (dkms)."""
    parameters: dict[str, str] = field(default_factory=dict)
    """What this user may read of /sys/module/NAME/parameters. `amdgpu.gttsize` is never readable."""


@dataclass(frozen=True, slots=True)
class KernelFacts:
    """The running kernel and how it was told to behave."""

    release: str
    """`uname -r`."""
    command_line: str | None
    distribution: str | None
    """`PRETTY_NAME` of os-release."""
    ttm_pages_limit: int | None = None
    """Pages that TTM may hand to GPUs, live; bounds the GTT of an APU from the next load of amdgpu on."""
    container: str | None = None
    page_bytes: int = 4096
    distribution_family: str | None = None
    """How it is told kernel parameters: `debian`, `fedora`, `ostree`, `arch`, `nixos`, `suse` or `pop`."""
    ttm_module: str | None = None
    """`ttm`, or `amdttm` where the GPU driver is amdgpu-dkms: the one that amdgpu uses; `None`: neither is loaded."""
    system: str = "Linux"
    """`Linux`, `Darwin`, `Windows`."""
    wsl: int | None = None
    """Windows Subsystem for Linux, 1 or 2. `container` is `wsl` then."""
    virtual_machine: str | None = None
    """The hypervisor's name, `unknown` where only its presence shows; `None` on bare metal."""
    distribution_id: str | None = None
    """`ID` of os-release: `ubuntu`, `fedora`, `bazzite`."""
    distribution_version: str | None = None
    boot_loader: Literal["grub", "systemd-boot", "uki", "limine", "refind", "ostree", "proxmox"] | None = None
    boot_loader_how: str = ""
    """The file that it was recognised by."""
    efi: bool | None = None
    boot_tools: tuple[str, ...] = ()
    """Tools that change boot parameters or the initramfs and are installed: `grubby`, `update-initramfs`, `dracut`."""
    module_options: tuple[ModuleOption, ...] = ()
    """Configured parameters of ttm, amdttm, amdgpu, nvidia, xe and i915, weakest first: the last of a name wins (the
    command line wins over modprobe.d)."""
    modules: tuple[DriverModule, ...] = ()
    """Of amdgpu, ttm, amdttm, nvidia, xe, i915, nouveau: those that are loaded."""
    config: dict[str, str] = field(default_factory=dict)
    """Kernel build symbols: `CONFIG_HSA_AMD_P2P` and the like to `y`, `m` or `n`. A symbol that the file does not
    name at all is missing here (this kernel does not know it, or cannot have it)."""
    config_file: str | None = None
    """The file that `config` came from; `None`: it could not be read, and nothing follows from `config`."""
    amd_p2p: Literal["on", "off", "not built"] | None = None
    """amdgpu's parameter `pcie_p2p`; `not built`: the driver lacks it (no CONFIG_HSA_AMD_P2P); `None`: no amdgpu."""
    nvidia_open: bool | None = None
    """Whether NVIDIA's open kernel module is loaded; `None`: no NVIDIA driver."""
    firmware_version: str | None = None
    """Version of the package that holds the GPU's firmware (`linux-firmware`), where the package manager says."""
    firmware_package: str | None = None
    numa_balancing: int | None = None
    iommu: bool | None = None
    """Whether an IOMMU is at work; each device says how it is used for it."""
    npu: str | None = None
    """What shows an NPU, `1022:17f0` at its PCI address or `/dev/accel/accel0`; it needs the IOMMU."""
    groups: tuple[str, ...] = ()
    """Groups of this user that open GPUs to them: `render`, `video`."""

    def module(self, name: str) -> DriverModule | None:
        """The loaded module of that name."""
        return next((module for module in self.modules if module.name == name), None)

    def option(self, module: str, name: str) -> ModuleOption | None:
        """The configured option that wins; `None`: nobody configured it."""
        found = [option for option in self.module_options if (option.module, option.name) == (module, name)]
        return found[-1] if found else None
