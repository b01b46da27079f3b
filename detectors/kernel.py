"""The kernel, how it was started and built, its GPU modules, and the system around it."""

from __future__ import annotations

import re
from typing import Literal

from detectors.boot import boot_loader, boot_tools, family, os_release
from detectors.cpu_names import hypervisor_name
from detectors.facts import DriverModule, KernelFacts, Problem
from detectors.firmware import firmware
from detectors.host import Host
from detectors.modules import kernel_config, loaded_modules, module_options
from detectors.pci import pci_functions
from detectors.registry import Found, detector

# AMD's neural processors (drivers/accel/amdxdna): Phoenix and Hawk Point, then Strix, Strix Halo and Krackan Point.
_NPUS = {(0x1022, 0x1502), (0x1022, 0x17F0)}
_WSL_MISSING = (
    "under WSL, Windows holds the kernel's parameters and the GPUs' drivers: AMD and Intel GPUs, links, IOMMU and "
    "memory modules are not seen from here; the processor, the memory given to WSL, NVIDIA GPUs and planning work"
)


@detector("kernel")
def detect_kernel(host: Host) -> Found:
    """Everything about the kernel and how it is told what to do."""
    if host.system() != "Linux":
        return Found()  # `elsewhere` answers there
    release = host.text("/proc/sys/kernel/osrelease") or _release_of(host.text("/proc/version"))
    command_line = host.text("/proc/cmdline")
    system = os_release(host)
    problems: list[Problem] = []
    if not release:
        problems.append(Problem("kernel", "the kernel's release is not known: /proc shows none"))
    if command_line is None:
        problems.append(Problem("kernel", f"the kernel's command line is not known: {host.why('/proc/cmdline')}"))
    if not release and command_line is None and not system:
        return Found(problems=tuple(problems))
    wsl = _wsl(release or "")
    if wsl:
        problems.append(Problem("wsl", _WSL_MISSING))
    module = _ttm_module(host)
    modules = loaded_modules(host)
    # It decides what AMD GPUs can do together, and nothing else: 300 KB to unpack are spared where there are none.
    config, config_file = kernel_config(host, release or "") if host.exists("/sys/module/amdgpu") else ({}, None)
    loader, loader_how = boot_loader(host)
    package, version = firmware(host)
    groups = host.ask("groups")
    facts = KernelFacts(
        release=release or "unknown",
        command_line=command_line,
        distribution=system.get("PRETTY_NAME") or system.get("NAME"),
        ttm_pages_limit=host.natural(f"/sys/module/{module}/parameters/pages_limit") if module else None,
        container=_container(host, release or ""),
        page_bytes=host.page_bytes(),
        distribution_family=family(host, system),
        ttm_module=module,
        wsl=wsl,
        virtual_machine=hypervisor_name(host, _flagged(host)),
        distribution_id=system.get("ID"),
        distribution_version=system.get("VERSION_ID"),
        boot_loader=loader,
        boot_loader_how=loader_how,
        efi=host.exists("/sys/firmware/efi") if host.exists("/sys/firmware") else None,
        boot_tools=boot_tools(host),
        module_options=module_options(host, command_line),
        modules=modules,
        config=config,
        config_file=config_file,
        amd_p2p=_amd_p2p(modules),
        nvidia_open=_nvidia_open(host),
        firmware_version=version,
        firmware_package=package,
        numa_balancing=host.natural("/proc/sys/kernel/numa_balancing"),
        iommu=bool(host.names("/sys/class/iommu")) if host.exists("/sys/class/iommu") else None,
        npu=_npu(host),
        groups=tuple(str(name) for name in groups) if isinstance(groups, list) else (),
    )
    return Found(kernel=facts, problems=tuple(problems))


def _release_of(version: str | None) -> str | None:
    words = (version or "").split()
    return words[2] if words[:2] == ["Linux", "version"] and len(words) > 2 else None


def _wsl(release: str) -> int | None:
    """1 translates system calls (its kernel says `-Microsoft`), 2 is a virtual machine (`-microsoft-standard-WSL2`)."""
    lowered = release.lower()
    if "microsoft" not in lowered and "wsl" not in lowered:
        return None
    return 1 if release.endswith("-Microsoft") else 2


def _flagged(host: Host) -> bool:
    return re.search(r"^flags\s*:.*\bhypervisor\b", host.text("/proc/cpuinfo") or "", re.MULTILINE) is not None


def _amd_p2p(modules: tuple[DriverModule, ...]) -> Literal["on", "off", "not built"] | None:
    """The parameter is only compiled in with CONFIG_HSA_AMD_P2P, which makes it the best single test, dkms included."""
    amdgpu = next((module for module in modules if module.name == "amdgpu"), None)
    if amdgpu is None or not amdgpu.parameters:
        return None
    value = amdgpu.parameters.get("pcie_p2p")
    return "not built" if value is None else "on" if value == "Y" else "off"


def _nvidia_open(host: Host) -> bool | None:
    version = host.text("/proc/driver/nvidia/version")
    return None if version is None else "Open Kernel Module" in version


def _npu(host: Host) -> str | None:
    """An NPU by its address on the bus, or by its device file."""
    for function in pci_functions(host):
        if (function.vendor, function.device) in _NPUS:
            return f"{function.vendor:04x}:{function.device:04x} at {function.bdf}"
    return next((f"/dev/accel/{name}" for name in host.names("/dev/accel") if name.startswith("accel")), None)


def _ttm_module(host: Host) -> str | None:
    """Which of the two modules serves amdgpu: on hosts with amdgpu-dkms both may be loaded."""
    for module in ("amdttm", "ttm"):
        if host.exists(f"/sys/module/{module}/holders/amdgpu"):
            return module
    return next((module for module in ("ttm", "amdttm") if host.exists(f"/sys/module/{module}")), None)


def _container(host: Host, release: str) -> str | None:
    """Looked for in systemd's order; WSL counts as one, for its kernel is not the user's to configure."""
    if "microsoft" in release.lower() or "wsl" in release.lower():
        return "wsl"
    named = host.text("/run/host/container-manager") or host.text("/run/systemd/container")
    if named:
        return named
    if host.exists("/run/.containerenv"):
        return "podman"
    return "docker" if host.exists("/.dockerenv") else None
