from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import pytest

from detectors.engines import detect_engines
from detectors.facts import ModuleOption
from detectors.host import Host
from detectors.kernel import detect_kernel
from detectors.modules import kernel_config, module_options

Tree = Callable[[dict[str, str]], Host]

CONFIG = "CONFIG_HSA_AMD=y\n# CONFIG_HSA_AMD_P2P is not set\nCONFIG_PCI_P2PDMA=y\nCONFIG_HSA_AMD_SVM=y\n"


def test_the_last_option_wins_and_a_file_in_etc_hides_its_namesake(tree: Tree) -> None:
    host = tree(
        {
            "etc/modprobe.d/zz.conf": "options ttm pages_limit=3\n",
            "etc/modprobe.d/amd.conf": "# options ttm pages_limit=9\noptions  amdgpu\tgttsize=1 runpm=0 # why\n",
            "usr/lib/modprobe.d/amd.conf": "options amdgpu gttsize=7\n",
            "usr/lib/modprobe.d/aa.conf": "options ttm pages_limit=1\noptions snd index=1\nblacklist nouveau\n",
            "etc/modprobe.d/notes.txt": "options ttm pages_limit=8\n",
        }
    )
    found = module_options(host, "quiet ttm.pages-limit=4 root=/dev/x.y=1 -- ttm.pages_limit=5")
    assert found == (
        ModuleOption("ttm", "pages_limit", "1", "/usr/lib/modprobe.d/aa.conf"),
        ModuleOption("amdgpu", "gttsize", "1", "/etc/modprobe.d/amd.conf"),
        ModuleOption("amdgpu", "runpm", "0", "/etc/modprobe.d/amd.conf"),
        ModuleOption("ttm", "pages_limit", "3", "/etc/modprobe.d/zz.conf"),
        ModuleOption("ttm", "pages_limit", "4", "/proc/cmdline"),
    )


def test_the_winner_is_found_by_its_name(tree: Tree) -> None:
    host = tree({"proc/cmdline": "ttm.pages_limit=1 ttm.pages_limit=2", "proc/sys/kernel/osrelease": "6.17"})
    kernel = detect_kernel(host).kernel
    assert kernel is not None
    option = kernel.option("ttm", "pages_limit")
    assert option is not None
    assert option.value == "2"
    assert kernel.option("amdgpu", "gttsize") is None


def test_a_symbol_that_is_off_differs_from_one_that_is_missing(tree: Tree) -> None:
    found = kernel_config(tree({"boot/config-6.17": CONFIG}), "6.17")
    assert found == (
        {"CONFIG_HSA_AMD": "y", "CONFIG_HSA_AMD_P2P": "n", "CONFIG_PCI_P2PDMA": "y"},
        "/boot/config-6.17",
    )


def test_the_running_kernels_own_copy_comes_first(tmp_path: Path) -> None:
    (tmp_path / "proc").mkdir()
    (tmp_path / "boot").mkdir()
    (tmp_path / "boot/config-6.17").write_text(CONFIG)
    (tmp_path / "proc/config.gz").write_bytes(gzip.compress(b"CONFIG_PCI_P2PDMA=m\n"))
    assert kernel_config(Host(tmp_path), "6.17") == ({"CONFIG_PCI_P2PDMA": "m"}, "/proc/config.gz")
    (tmp_path / "proc/config.gz").write_bytes(b"\x1f\x8bbroken")
    assert kernel_config(Host(tmp_path), "6.17")[1] == "/boot/config-6.17"
    assert kernel_config(Host(tmp_path), "../../etc") == ({}, None)


@pytest.mark.parametrize(
    ("parameters", "p2p"),
    [({"pcie_p2p": "Y"}, "on"), ({"pcie_p2p": "N"}, "off"), ({"no_system_mem_limit": "N"}, "not built"), ({}, None)],
)
def test_peer_to_peer_is_told_by_the_drivers_parameter(tree: Tree, parameters: dict[str, str], p2p: str | None) -> None:
    files = {f"sys/module/amdgpu/parameters/{name}": value for name, value in parameters.items()}
    host = tree({"proc/cmdline": "", "proc/sys/kernel/osrelease": "6.17", "sys/module/amdgpu/refcnt": "1", **files})
    kernel = detect_kernel(host).kernel
    assert kernel is not None
    assert kernel.amd_p2p == p2p


@pytest.mark.parametrize(
    ("folder", "packages", "expected"),
    [
        ("var/lib/pacman/local/linux-firmware-amdgpu-20251125-2/desc", "", ("linux-firmware-amdgpu", "20251125-2")),
        ("var/lib/pacman/local/linux-firmware-whence-20251125-2/desc", "", (None, None)),
    ],
)
def test_archs_packages_are_folders(tree: Tree, folder: str, packages: str, expected: tuple[str, str]) -> None:
    host = tree({folder: packages, "sys/module/amdgpu/refcnt": "1", "proc/cmdline": ""})
    kernel = detect_kernel(host).kernel
    assert kernel is not None
    assert (kernel.firmware_package, kernel.firmware_version) == expected


@pytest.mark.parametrize(
    ("release", "wsl"),
    [("4.4.0-19041-Microsoft", 1), ("6.6.87.2-microsoft-standard-WSL2", 2), ("6.17.0-20-generic", None)],
)
def test_wsl_is_told_by_its_release(tree: Tree, release: str, wsl: int | None) -> None:
    kernel = detect_kernel(tree({"proc/sys/kernel/osrelease": release, "proc/cmdline": ""})).kernel
    assert kernel is not None
    assert kernel.wsl == wsl


def test_variables_that_engines_heed_are_found_and_secrets_are_not(tmp_path: Path) -> None:
    (tmp_path / "etc/llama.cpp").mkdir(parents=True)
    (tmp_path / "etc/llama.cpp/config.ini").touch()
    env = {
        "LLAMA_ARG_CTX_SIZE": "9",
        "LLAMA_ARG_API_KEY": "k",
        "HIP_VISIBLE_DEVICES": "1",
        "PATH": "/bin",
        "HOME": "/h",
    }
    found = detect_engines(Host(tmp_path, env))
    assert found.environment == {"HIP_VISIBLE_DEVICES": "1", "LLAMA_ARG_CTX_SIZE": "9"}
    assert found.engine_files == ("/etc/llama.cpp/config.ini",)
