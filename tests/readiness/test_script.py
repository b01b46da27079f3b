"""The script of fixes, really run: in a folder that stands for the root, with commands that only leave a trace."""

from __future__ import annotations

import random
import re
import subprocess
from pathlib import Path

import pytest

from app.readiness import Finding, Fix, fix_script
from app.readiness.finding import fix_of
from app.readiness.parameters import line_fix, solution_fix, solve
from app.readiness.steps import by_hand, run, write
from app.units import GIB
from detectors.facts import KernelFacts, Machine, ModuleOption

GRUB = 'GRUB_TIMEOUT=5\nGRUB_CMDLINE_LINUX_DEFAULT="{}"\nGRUB_CMDLINE_LINUX=""\n'
WORDS = "root=UUID=1-2 ro quiet amdgpu.gttsize=114688 console=tty0 amdgpu.gttsize=65536 console=ttyS0"

# System -> (facts, file that holds the words, its text around them)
FILES: dict[str, tuple[dict[str, object], str, str]] = {
    "debian": ({"distribution_family": "debian", "boot_loader": "grub"}, "etc/default/grub", GRUB),
    "arch grub": ({"distribution_family": "arch", "boot_loader": "grub"}, "etc/default/grub", GRUB),
    "uki": ({"distribution_family": "arch", "boot_loader": "uki"}, "etc/kernel/cmdline", "{}\n"),
    "entries": (
        {"distribution_family": "arch", "boot_loader": "systemd-boot"},
        "boot/loader/entries/arch.conf",
        "title Arch ro\nlinux /vmlinuz\noptions {}\n",
    ),
    "limine": ({"distribution_family": "arch", "boot_loader": "limine"}, "etc/default/limine",
               'ESP_PATH="/boot"\nKERNEL_CMDLINE[default]+="{}"\n'),
    "refind": ({"distribution_family": "arch", "boot_loader": "refind"}, "boot/refind_linux.conf",
               '"Boot with defaults" "{}"\n'),
    "proxmox": ({"distribution_family": "debian", "boot_loader": "proxmox"}, "etc/kernel/cmdline", "{}\n"),
}  # fmt: skip
TOOLS = (
    "update-grub",
    "grub-mkconfig",
    "mkinitcpio",
    "limine-update",
    "proxmox-boot-tool",
    "grubby",
    "update-initramfs",
)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder for a root, whose commands write down how they were called."""
    folder = tmp_path / "root"
    (folder / "bin").mkdir(parents=True)
    for tool in TOOLS:
        (folder / "bin" / tool).write_text(f'#!/bin/sh\necho "{tool} $*" >>"$MOETUNE_ROOT/called"\n')
        (folder / "bin" / tool).chmod(0o755)
    return folder


def _sh(root: Path, script: str, *words: str) -> subprocess.CompletedProcess[str]:
    path = root.parent / "fix.sh"
    path.write_text(script)
    subprocess.run(["sh", "-n", str(path)], check=True)
    environment = {"MOETUNE_ROOT": str(root), "PATH": "/usr/bin:/bin"}
    return subprocess.run(["sh", str(path), *words], capture_output=True, text=True, env=environment, check=False)


def _finding(fix: Fix, title: str = "t") -> Finding:
    return Finding("x", "costs", title, "e", "r", fix)


def _script(*fixes: Fix, host: str = "box") -> str:
    return fix_script([_finding(fix) for fix in fixes], Machine(host))


def _files(root: Path) -> dict[str, str]:
    found = (path for path in sorted(root.rglob("*")) if path.is_file())
    return {
        str(p.relative_to(root)): p.read_text()
        for p in found
        if not str(p.relative_to(root)).startswith(("bin", "called"))
    }


def _kernel(facts: dict[str, object], line: str = WORDS) -> KernelFacts:
    return KernelFacts("6.18.4", line, "x", ttm_module="ttm", **facts)  # type: ignore[arg-type]  # named in the tables


@pytest.mark.parametrize("system", FILES)
def test_applied_and_undone_on_every_boot_loader(root: Path, system: str) -> None:
    facts, path, around = FILES[system]
    file = root / path
    file.parent.mkdir(parents=True)
    file.write_text(around.format(WORDS))
    before = _files(root)
    kernel = _kernel(facts)
    script = _script(solution_fix(solve(kernel, 125 * GIB), kernel), line_fix(kernel, {"amd_iommu": "off"}))

    shown = _sh(root, script)
    assert (shown.returncode, _files(root)) == (0, before)
    assert "Nothing was done" in shown.stdout

    applied = _sh(root, script, "apply")
    assert applied.returncode == 0, applied.stderr
    text = "".join(_files(root).values()) if system == "debian" else file.read_text()
    assert "gttsize" not in file.read_text()
    assert text.count("ttm.pages_limit=29360128") == 1
    assert text.count("amd_iommu=off") == 1
    for word in ("root=UUID=1-2", "ro", "quiet", "console=tty0", "console=ttyS0"):
        assert word in re.split(r'[" \n]+', file.read_text())
    done = _files(root)

    again = _sh(root, script, "apply")
    assert again.returncode == 1
    assert "done already" in again.stderr
    assert _files(root) == done

    undone = _sh(root, script, "undo")
    assert undone.returncode == 0, undone.stderr
    assert _files(root) == before
    assert _sh(root, script, "undo").returncode == 1


def test_commands_run_once_and_are_taken_back_in_reverse(root: Path) -> None:
    kernel = _kernel({"distribution_family": "fedora"})
    solved = solution_fix(solve(kernel, 125 * GIB), kernel)
    script = _script(solved, solved, line_fix(kernel, {"amd_iommu": "off"}))
    assert _sh(root, script, "apply").returncode == 0
    assert _sh(root, script, "undo").returncode == 0
    assert (root / "called").read_text().splitlines() == [
        "grubby --update-kernel=ALL --remove-args=amdgpu.gttsize --args=ttm.pages_limit=29360128",
        "grubby --update-kernel=ALL --args=amd_iommu=off",
        "grubby --update-kernel=ALL --remove-args=amd_iommu",
        "grubby --update-kernel=ALL --remove-args=ttm.pages_limit --args=amdgpu.gttsize=114688 amdgpu.gttsize=65536",
    ]


def test_an_option_in_modprobe_d_is_changed_there_and_put_back(root: Path) -> None:
    file = root / "etc/modprobe.d/ttm.conf"
    file.parent.mkdir(parents=True)
    file.write_text("# mine\noptions ttm pages_limit=5 page_pool_size=7\noptions other pages_limit=5\n")
    options = (
        ModuleOption("ttm", "pages_limit", "5", "/etc/modprobe.d/ttm.conf"),
        ModuleOption("ttm", "page_pool_size", "7", "/etc/modprobe.d/ttm.conf"),
    )
    kernel = _kernel({"distribution_family": "debian", "module_options": options}, line="ro")
    script = _script(solution_fix(solve(kernel, 125 * GIB), kernel))
    before = _files(root)
    assert _sh(root, script, "apply").returncode == 0
    assert file.read_text() == "# mine\noptions ttm pages_limit=29360128\noptions other pages_limit=5\n"
    assert _sh(root, script, "undo").returncode == 0
    assert _files(root) == before
    assert (root / "called").read_text() == "update-initramfs -u -k all\n" * 2


def test_a_missing_file_stops_it_and_undo_clears_up(root: Path) -> None:
    kernel = _kernel({"distribution_family": "arch", "boot_loader": "systemd-boot"})
    script = _script(fix_of((write("/etc/new.conf", "x"),), "v", reboot=False), line_fix(kernel, {"amd_iommu": "off"}))
    failed = _sh(root, script, "apply")
    assert failed.returncode == 1
    assert "there is no" in failed.stderr
    assert "stopped half way" in _sh(root, script, "apply").stderr
    assert _sh(root, script, "undo").returncode == 0
    assert _files(root) == {}


def test_a_command_that_fails_stops_it(root: Path) -> None:
    (root / "bin" / "grubby").write_text("#!/bin/sh\nexit 3\n")
    script = _script(line_fix(_kernel({"distribution_family": "fedora"}), {"amd_iommu": "off"}))
    assert _sh(root, script, "apply").returncode != 0
    assert not list(root.rglob("applied"))


def test_only_what_was_done_is_undone(root: Path) -> None:
    (root / "bin" / "limine-update").write_text("#!/bin/sh\nexit 3\n")
    steps = (run("grubby --first", "grubby --first-back"), run("limine-update x", "limine-update back"))
    script = _script(fix_of(steps, "v", reboot=False))
    assert _sh(root, script, "apply").returncode == 3
    assert _sh(root, script, "undo").returncode == 0
    assert (root / "called").read_text().splitlines() == ["grubby --first", "grubby --first-back"]


def test_a_matter_of_taste_is_a_comment(root: Path) -> None:
    kernel = _kernel({"distribution_family": "fedora"})
    tip = Finding("iommu.tip", "note", "tip", "e", "r", line_fix(kernel, {"amd_iommu": "off"}))
    script = fix_script([tip], Machine("box"))
    assert "# If you like: tip\n#   sudo grubby --update-kernel=ALL --args=" in script
    assert _sh(root, script, "apply").returncode == 0
    assert not (root / "called").exists()


def test_without_a_stand_in_a_command_is_only_told(root: Path) -> None:
    marker = root.parent / "touched"
    script = _script(fix_of((run(f"touch {marker}", ""),), "v", reboot=False))
    told = _sh(root, script, "apply")
    assert f"would run: touch {marker}" in told.stdout
    assert not marker.exists()


def test_facts_never_become_commands(root: Path) -> None:
    rng = random.Random(5)
    evil = [
        "$(touch HERE)",
        "`touch HERE`",
        "'; touch HERE; '",
        "\ntouch HERE\n",
        "\u2028touch HERE",
        '"; touch HERE #',
    ]
    for _ in range(30):
        title = "".join(rng.sample(evil, 3)).replace("HERE", str(root.parent / "evil"))
        fix = fix_of((write("/etc/a.conf", title), by_hand(title, title)), title, reboot=False)
        findings = [_finding(fix, title), _finding(Fix(title, title, title, reboot=False), title)]
        script = fix_script(findings, Machine(title))
        for word in ("show", "apply", "undo"):
            assert _sh(root, script, word).returncode == 0
        assert not (root.parent / "evil").exists()


def test_what_only_a_person_can_do_is_a_comment() -> None:
    script = _script(Fix("enable Resizable BAR\nin the firmware", "u", "v", reboot=True))
    assert "#   enable Resizable BAR\n#   in the firmware\n" in script


def test_good_findings_and_those_without_a_fix_are_left_out() -> None:
    fix = fix_of((write("/etc/a", "x"),), "v", reboot=False)
    findings = [Finding("x", "good", "t", "e", "r", fix), Finding("y", "costs", "t", "e", "r")]
    assert "/etc/a" not in fix_script(findings, Machine("box"))
