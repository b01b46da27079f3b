from __future__ import annotations

import subprocess

import pytest

from app.readiness.bootloaders import boot_steps
from app.readiness.bootparams import CommandLine
from app.readiness.finding import fix_of
from detectors.facts import KernelFacts

SYSTEMS: dict[str, dict[str, object]] = {
    "debian": {"distribution_family": "debian"},
    "debian grub": {"distribution_family": "debian", "boot_loader": "grub"},
    "debian systemd-boot": {"distribution_family": "debian", "boot_loader": "systemd-boot"},
    "fedora": {"distribution_family": "fedora", "boot_loader": "grub", "boot_tools": ("grubby", "dracut")},
    "bazzite": {"distribution_family": "ostree", "boot_loader": "ostree"},
    "arch": {"distribution_family": "arch"},
    "arch grub": {"distribution_family": "arch", "boot_loader": "grub"},
    "arch systemd-boot": {"distribution_family": "arch", "boot_loader": "systemd-boot"},
    "arch uki": {"distribution_family": "arch", "boot_loader": "uki"},
    "arch limine": {"distribution_family": "arch", "boot_loader": "limine"},
    "arch refind": {"distribution_family": "arch", "boot_loader": "refind"},
    "suse grub": {"distribution_family": "suse", "boot_loader": "grub"},
    "suse bls": {"distribution_family": "suse", "boot_loader": "grub", "boot_tools": ("sdbootutil",)},
    "suse systemd-boot": {"distribution_family": "suse", "boot_loader": "systemd-boot"},
    "nixos": {"distribution_family": "nixos", "boot_loader": "systemd-boot"},
    "pop": {"distribution_family": "pop", "boot_loader": "systemd-boot"},
    "proxmox": {"distribution_family": "debian", "boot_loader": "proxmox"},
    "unknown": {},
    "container": {"distribution_family": "debian", "boot_loader": "grub", "container": "podman"},
}

ADDED = "ttm.pages_limit=29360128"
OPTION = "options ttm pages_limit=29360128"

# What each system is told when the limit is set for the first time, and how it is taken back.
GOLDEN: dict[str, tuple[list[str], list[str]]] = {
    "debian": (
        [f"echo '{OPTION}' | sudo tee /etc/modprobe.d/ttm.conf", "sudo update-initramfs -u -k all"],
        ["sudo rm /etc/modprobe.d/ttm.conf", "sudo update-initramfs -u -k all"],
    ),
    "debian grub": (
        [
            "echo 'GRUB_CMDLINE_LINUX_DEFAULT=\"$GRUB_CMDLINE_LINUX_DEFAULT ttm.pages_limit=29360128\"' "
            "| sudo tee /etc/default/grub.d/99-ttm.cfg",
            "sudo update-grub",
        ],
        ["sudo rm /etc/default/grub.d/99-ttm.cfg", "sudo update-grub"],
    ),
    "debian systemd-boot": (
        [f"sudo sed -i -E -e '1s/ *$/ {ADDED}/' /etc/kernel/cmdline", "sudo update-initramfs -u -k all"],
        ["/etc/kernel/cmdline", "sudo update-initramfs -u -k all"],
    ),
    "fedora": (
        [f'sudo grubby --update-kernel=ALL --args="{ADDED}"'],
        ['sudo grubby --update-kernel=ALL --remove-args="ttm.pages_limit"'],
    ),
    "bazzite": (
        [f"sudo rpm-ostree kargs --append-if-missing={ADDED}"],
        [f"sudo rpm-ostree kargs --delete-if-present={ADDED}"],
    ),
    "arch": (
        [f"echo '{OPTION}' | sudo tee /etc/modprobe.d/ttm.conf", "sudo mkinitcpio -P"],
        ["sudo rm /etc/modprobe.d/ttm.conf", "sudo mkinitcpio -P"],
    ),
    "arch grub": (
        [f"{ADDED} /' /etc/default/grub", "sudo grub-mkconfig -o /boot/grub/grub.cfg"],
        ["/etc/default/grub"],
    ),
    "arch systemd-boot": (
        [f"sudo sed -i -E -e '/^options/s/ *$/ {ADDED}/' /boot/loader/entries/*.conf"],
        ["/boot/loader/entries/*.conf"],
    ),
    "arch uki": ([f"-e '1s/ *$/ {ADDED}/' /etc/kernel/cmdline", "sudo mkinitcpio -P"], ["/etc/kernel/cmdline"]),
    "arch limine": ([f"{ADDED} /' /etc/default/limine", "sudo limine-update"], ["/etc/default/limine"]),
    "arch refind": ([f"{ADDED}/' /boot/refind_linux.conf"], ["/boot/refind_linux.conf"]),
    "suse grub": (
        [f'sudo update-bootloader --add-option "{ADDED}"', "sudo update-bootloader --refresh"],
        [f'sudo update-bootloader --del-option "{ADDED}"', "sudo update-bootloader --refresh"],
    ),
    "suse bls": ([f"{ADDED}/' /etc/kernel/cmdline", "sudo sdbootutil update-all-entries"], ["sdbootutil"]),
    "suse systemd-boot": ([f"{ADDED}/' /etc/kernel/cmdline", "sudo sdbootutil update-all-entries"], ["sdbootutil"]),
    "nixos": (
        [f'boot.kernelParams = [ "{ADDED}" ];', "sudo nixos-rebuild boot && sudo reboot"],
        [f'take "{ADDED}" out of boot.kernelParams', "sudo nixos-rebuild boot"],
    ),
    "pop": ([f'sudo kernelstub -a "{ADDED}"'], [f'sudo kernelstub -d "{ADDED}"']),
    "proxmox": ([f"{ADDED}/' /etc/kernel/cmdline", "sudo proxmox-boot-tool refresh"], ["proxmox-boot-tool refresh"]),
    "unknown": (
        [f"add {ADDED} to the kernel's command line, and reboot"],
        [f"take {ADDED} off the kernel's command line, and reboot"],
    ),
    "container": (
        [f"add {ADDED} to the kernel's command line of the host (not in this container)"],
        [f"take {ADDED} off"],
    ),
}


def _kernel(system: str, line: str) -> KernelFacts:
    return KernelFacts("6.18.4", line, system, ttm_module="ttm", **SYSTEMS[system])  # type: ignore[arg-type]


def _texts(system: str, before: str, wanted: dict[str, str | None], unwanted: tuple[str, ...] = ()) -> tuple[str, str]:
    kernel, line = _kernel(system, before), CommandLine.parse(before)
    fix = fix_of(boot_steps(line.diff(line.merge(wanted, unwanted)), kernel), "x", reboot=True)
    return fix.text, fix.undo


@pytest.mark.parametrize("system", SYSTEMS)
def test_every_system_is_told_its_own_commands(system: str) -> None:
    text, undo = _texts(system, "ro quiet", {"ttm.pages_limit": "29360128"})
    for part in GOLDEN[system][0]:
        assert part in text
    for part in GOLDEN[system][1]:
        assert part in undo


@pytest.mark.parametrize("system", SYSTEMS)
def test_every_system_is_told_to_take_the_old_parameter_out(system: str) -> None:
    text, undo = _texts(
        system, "ro amdgpu.gttsize=114688 ttm.pages_limit=5", {"ttm.pages_limit": "29360128"}, ("amdgpu.gttsize",)
    )
    assert "gttsize" in text
    assert "29360128" in text
    assert "114688" in undo
    assert "ttm.pages_limit=5" in undo


@pytest.mark.parametrize("system", SYSTEMS)
def test_nothing_to_change_is_no_step(system: str) -> None:
    assert _texts(system, "ro ttm.pages_limit=7", {"ttm.pages_limit": "7"}) == ("", "")


@pytest.mark.parametrize("system", SYSTEMS)
def test_a_word_that_a_shell_would_read_is_left_to_a_person(system: str) -> None:
    line = CommandLine.parse("ro amdgpu.gttsize=$(touch${IFS}/tmp/x)")
    steps = boot_steps(line.diff(line.merge({}, ("amdgpu.gttsize",))), _kernel(system, str(line)))
    assert {step.kind for step in steps} == {"by hand"}


HOLDERS = {
    "arch grub": 'X="a"\nGRUB_CMDLINE_LINUX_DEFAULT="{}"\n',
    "arch systemd-boot": "title quiet\noptions {}\n",
    "arch uki": "{}\n",
    "arch limine": 'KERNEL_CMDLINE[default]+="{}"\n',
    "arch refind": '"Boot" "{}"\n',
}


@pytest.mark.parametrize("system", HOLDERS)
def test_the_expressions_for_sed_do_it_and_take_it_back(system: str) -> None:
    before = (
        "ro amdgpu.gttsize=1 quiet amdgpu.gttsize=2 amdgpu.gttsize=3 nowatchdog ttm.pages-limit=5 amd_iommu=pt last"
    )
    line = CommandLine.parse(before)
    wanted: dict[str, str | None] = {"ttm.pages_limit": "6", "iommu": "pt"}
    diff = line.diff(line.merge(wanted, ("amdgpu.gttsize", "amd_iommu", "nowatchdog")))
    (edit,) = [step for step in boot_steps(diff, _kernel(system, before)) if step.kind == "edit"]

    def sed(expressions: str, text: str) -> str:
        done = subprocess.run(
            ["sh", "-c", f"sed -E {expressions}"], input=text, capture_output=True, text=True, check=True
        )
        return done.stdout

    def words(text: str) -> list[str]:
        head, _, tail = HOLDERS[system].partition("{}")
        assert text.startswith(head)
        assert text.endswith(tail)
        return sorted(text.removeprefix(head).removesuffix(tail).split())

    after = sed(edit.text, HOLDERS[system].format(before))
    assert words(after) == sorted(diff.kept + diff.added)
    assert words(sed(edit.undo, after)) == sorted(before.split())
