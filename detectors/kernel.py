"""The kernel, how it was started, and the system around it."""

from __future__ import annotations

from detectors.facts import KernelFacts, Problem
from detectors.host import Host
from detectors.registry import Found, detector

# os-release ids to the way in which that family is told kernel parameters.
_FAMILIES = {
    "pop": "pop", "nixos": "nixos", "ubuntu": "debian", "debian": "debian", "linuxmint": "debian",
    "fedora": "fedora", "rhel": "fedora", "centos": "fedora", "rocky": "fedora", "almalinux": "fedora",
    "arch": "arch", "cachyos": "arch", "manjaro": "arch", "endeavouros": "arch",
    "suse": "suse", "opensuse": "suse", "opensuse-tumbleweed": "suse", "opensuse-leap": "suse", "sles": "suse",
}  # fmt: skip


@detector("kernel")
def detect_kernel(host: Host) -> Found:
    """Release, command line, distribution, TTM's limit and the container, if this is one."""
    release = host.text("/proc/sys/kernel/osrelease") or _release_of(host.text("/proc/version"))
    command_line = host.text("/proc/cmdline")
    system = _os_release(host)
    problems: list[Problem] = []
    if not release:
        problems.append(Problem("kernel", "the kernel's release is not known: /proc shows none"))
    if command_line is None:
        problems.append(Problem("kernel", f"the kernel's command line is not known: {host.why('/proc/cmdline')}"))
    if not release and command_line is None and not system:
        return Found(problems=tuple(problems))
    module = _ttm_module(host)
    facts = KernelFacts(
        release=release or "unknown",
        command_line=command_line,
        distribution=system.get("PRETTY_NAME") or system.get("NAME"),
        ttm_pages_limit=host.natural(f"/sys/module/{module}/parameters/pages_limit") if module else None,
        container=_container(host, release or ""),
        page_bytes=host.page_bytes(),
        distribution_family=_family(host, system),
        ttm_module=module,
    )
    return Found(kernel=facts, problems=tuple(problems))


def _release_of(version: str | None) -> str | None:
    words = (version or "").split()
    return words[2] if words[:2] == ["Linux", "version"] and len(words) > 2 else None


def _os_release(host: Host) -> dict[str, str]:
    text = host.text("/etc/os-release") or host.text("/usr/lib/os-release") or ""
    pairs = (line.partition("=") for line in text.splitlines() if not line.startswith("#"))
    return {key.strip(): value.strip().strip("\"'") for key, equals, value in pairs if equals}


def _family(host: Host, system: dict[str, str]) -> str | None:
    if host.exists("/run/ostree-booted"):
        return "ostree"
    ids = [system.get("ID", ""), *system.get("ID_LIKE", "").split()]
    return next((_FAMILIES[name] for name in ids if name in _FAMILIES), None)


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
