from __future__ import annotations

from collections.abc import Callable

import pytest

from detectors.host import Host
from detectors.kernel import detect_kernel

HostOf = Callable[[str], Host]
Tree = Callable[[dict[str, str]], Host]

BASE = {"proc/sys/kernel/osrelease": "6.17.7\n", "proc/cmdline": "ro quiet\n"}


def test_strix_halo_on_fedora(recorded: HostOf) -> None:
    kernel = detect_kernel(recorded("fedora43-ryzenaimax395-rx7900xtx")).kernel
    assert kernel is not None
    assert kernel.release == "6.17.7-300.fc43.x86_64"
    assert kernel.distribution == "Fedora Linux 43 (Server Edition)"
    assert kernel.distribution_family == "fedora"
    assert kernel.command_line is not None
    assert kernel.command_line.endswith("amd_iommu=pt")
    assert (kernel.ttm_module, kernel.ttm_pages_limit) == ("ttm", 62 * 262144 + 131072)


@pytest.mark.parametrize(
    ("release", "family"),
    [
        ("ID=debian", "debian"),
        ('ID=linuxmint\nID_LIKE="ubuntu debian"', "debian"),
        ("ID=pop\nID_LIKE='ubuntu debian'", "pop"),
        ('ID="rhel"\nID_LIKE="fedora"', "fedora"),
        ("ID=cachyos\nID_LIKE=arch", "arch"),
        ("ID=nixos", "nixos"),
        ('ID="opensuse-tumbleweed"\nID_LIKE="opensuse suse"', "suse"),
        ("ID=haiku", None),
    ],
)
def test_families(tree: Tree, release: str, family: str | None) -> None:
    kernel = detect_kernel(tree({**BASE, "etc/os-release": release})).kernel
    assert kernel is not None
    assert kernel.distribution_family == family


def test_an_ostree_system_is_its_own_family(tree: Tree) -> None:
    kernel = detect_kernel(tree({**BASE, "etc/os-release": "ID=fedora", "run/ostree-booted": ""})).kernel
    assert kernel is not None
    assert kernel.distribution_family == "ostree"


def test_with_both_modules_the_one_that_serves_amdgpu_counts(tree: Tree) -> None:
    modules = {
        "sys/module/ttm/parameters/pages_limit": "1",
        "sys/module/amdttm/parameters/pages_limit": "2",
        "sys/module/amdttm/holders/amdgpu/x": "",
    }
    kernel = detect_kernel(tree({**BASE, **modules})).kernel
    assert kernel is not None
    assert (kernel.ttm_module, kernel.ttm_pages_limit) == ("amdttm", 2)


@pytest.mark.parametrize(
    ("files", "container"),
    [
        ({}, None),
        ({".dockerenv": ""}, "docker"),
        ({"run/.containerenv": "", ".dockerenv": ""}, "podman"),
        ({"run/systemd/container": "lxc\n"}, "lxc"),
        ({"proc/sys/kernel/osrelease": "5.15.1-microsoft-standard-WSL2"}, "wsl"),
    ],
)
def test_containers(tree: Tree, files: dict[str, str], container: str | None) -> None:
    kernel = detect_kernel(tree({**BASE, **files})).kernel
    assert kernel is not None
    assert kernel.container == container
