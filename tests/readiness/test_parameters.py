from __future__ import annotations

import random

import pytest

from app.readiness.parameters import solution_fix, solve, target_bytes, version_of
from app.units import GIB, MIB
from detectors.facts import KernelFacts, ModuleOption


def _kernel(**facts: object) -> KernelFacts:
    base: dict[str, object] = {"release": "6.18.4", "command_line": "ro quiet", "distribution": "x"}
    return KernelFacts(**{**base, "ttm_module": "ttm", **facts})  # type: ignore[arg-type]  # named in the calls


@pytest.mark.parametrize(
    ("memory_gib", "target_gib"),
    [(125.0, 112), (94.0, 84), (62.5, 54), (31.0, 23), (251.0, 225), (8.0, 0), (1.0, 0)],
)
def test_the_target_leaves_the_system_a_tenth_and_eight_gib(memory_gib: float, target_gib: int) -> None:
    assert target_bytes(int(memory_gib * GIB))[0] == target_gib * GIB


@pytest.mark.parametrize(("need_gib", "target_gib"), [(60.0, 62), (60.3, 63), (109.9, 112), (111.0, 112), (200.0, 112)])
def test_a_plan_gets_what_it_needs_and_no_more(need_gib: float, target_gib: int) -> None:
    assert target_bytes(125 * GIB, int(need_gib * GIB))[0] == target_gib * GIB


def test_no_target_exceeds_a_bound() -> None:
    rng = random.Random(4)
    for _ in range(5000):
        memory, need = rng.randrange(2048 * GIB), rng.choice((None, rng.randrange(2048 * GIB)))
        limit, why = target_bytes(memory, need)
        assert 0 <= limit <= max(0, min(0.9 * memory, memory - 8 * GIB, memory * 63 / 64 - 1.5 * GIB))
        assert limit % GIB == 0
        assert why
        assert need is None or limit <= need + 3 * GIB


@pytest.mark.parametrize(
    ("gib", "pages"),
    [(96, 25165824), (104, 27262976), (108, 28311552), (112, 29360128), (120, 31457280), (124, 32505856)],
)
def test_pages_are_gib_times_262144(gib: int, pages: int) -> None:
    solution = solve(_kernel(), 1024 * GIB, (gib - 2) * GIB)
    assert dict(solution.wanted) == {"ttm.pages_limit": str(pages)}
    assert solution.limit_bytes == gib * GIB == pages * 4096


def test_large_pages_count_as_fewer() -> None:
    assert dict(solve(_kernel(page_bytes=65536), 125 * GIB).wanted) == {"ttm.pages_limit": "1835008"}


def test_dkms_has_its_own_name_and_the_other_goes() -> None:
    solution = solve(_kernel(ttm_module="amdttm", command_line="ro ttm.pages_limit=5"), 125 * GIB)
    assert solution.line.added == ("amdttm.pages_limit=29360128",)
    assert solution.line.removed == ("ttm.pages_limit=5",)


@pytest.mark.parametrize(
    ("release", "wants"), [("6.1.0-38-amd64", True), ("6.4.16", True), ("6.5.0", False), ("7.3.4", False)]
)
def test_gttsize_is_wanted_only_by_kernels_that_size_gtt_by_it(release: str, wants: bool) -> None:
    solution = solve(_kernel(release=release, command_line="ro amdgpu.gttsize=65536"), 125 * GIB)
    assert (dict(solution.wanted).get("amdgpu.gttsize") == "114688") is wants
    assert ("amdgpu.gttsize" in solution.unwanted) is not wants
    assert solution.line.removed == ("amdgpu.gttsize=65536",)


def test_duplicates_contradictions_and_pools_go_and_the_rest_stays() -> None:
    line = "root=/dev/sda ttm.pages_limit=1 amdgpu.gttsize=114688 console=tty0 ttm.page_pool_size=9 ttm.pages-limit=2"
    line += " console=ttyS0"
    diff = solve(_kernel(command_line=line), 125 * GIB).line
    assert diff.removed == ("ttm.pages_limit=1", "amdgpu.gttsize=114688", "ttm.page_pool_size=9", "ttm.pages-limit=2")
    assert diff.added == ("ttm.pages_limit=29360128",)
    assert diff.kept == ("root=/dev/sda", "console=tty0", "console=ttyS0")


def test_what_is_right_already_is_left_alone() -> None:
    solution = solve(_kernel(command_line="ro ttm.pages_limit=29360128"), 125 * GIB)
    assert not solution.line


def test_a_limit_kept_in_modprobe_d_is_changed_there() -> None:
    option = ModuleOption("ttm", "pages_limit", "16384000", "/etc/modprobe.d/ttm.conf")
    kernel = _kernel(module_options=(option,), distribution_family="debian", boot_loader="grub")
    solution = solve(kernel, 125 * GIB)
    assert not solution.line
    fix = solution_fix(solution, kernel)
    assert "s/pages_limit=[^[:space:]]*/pages_limit=29360128/g" in fix.text
    assert "/etc/modprobe.d/ttm.conf &&\nsudo update-initramfs -u -k all" in fix.text
    assert "pages_limit=16384000/g" in fix.undo


@pytest.mark.parametrize("family", ["nixos", "ostree"])
def test_where_modprobe_d_is_not_ours_the_command_line_is_used(family: str) -> None:
    option = ModuleOption("ttm", "pages_limit", "16384000", "/etc/modprobe.d/x.conf")
    solution = solve(_kernel(module_options=(option,), distribution_family=family), 125 * GIB)
    assert solution.line.added == ("ttm.pages_limit=29360128",)


def test_what_is_configured_and_not_in_effect_needs_the_initramfs_and_a_restart() -> None:
    option = ModuleOption("ttm", "pages_limit", "29360128", "/etc/modprobe.d/ttm.conf")
    kernel = _kernel(module_options=(option,), distribution_family="arch", boot_tools=("mkinitcpio",))
    assert solution_fix(solve(kernel, 125 * GIB), kernel).text == "sudo mkinitcpio -P &&\nsudo reboot"


@pytest.mark.parametrize(
    ("release", "version"),
    [
        ("6.14.0-1018-oem", (6, 14, 0)),
        ("6.15.0-rc3", (6, 15, 0)),
        ("7.3-custom", (7, 3, 0)),
        ("", (0, 0, 0)),
        ("x", (0, 0, 0)),
    ],
)
def test_versions(release: str, version: tuple[int, int, int]) -> None:
    assert version_of(release) == version


def test_sizes_agree() -> None:
    assert 114688 * MIB == 29360128 * 4096 == 112 * GIB
