"""The kernel parameters that an APU should have: solved from its memory and a plan's need, merged into what is there.

Arithmetic: `ttm.pages_limit` counts pages (GiB x 262144 for pages of 4 KiB), `amdgpu.gttsize` MiB. Bounds: AMD's own
tool (amd-debug-tools, `amd-ttm`) warns above 90 % of the memory; the compute driver refuses more than MemTotal less
1/64 less 1.5 GiB (amdgpu_amdkfd_gpuvm.c); a machine of 125 GiB given 124 was seen to freeze.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from app.readiness.bootloaders import boot_steps, initramfs_step
from app.readiness.bootparams import CommandLine, Diff, is_plain, number
from app.readiness.finding import Fix, fix_of
from app.readiness.steps import Step, by_hand
from app.units import GIB, MIB
from detectors.facts import KernelFacts, ModuleOption

MOST_SHARE = 0.90
DESKTOP_BYTES = 8 * GIB
"""Left to the rest of the system: a desktop, the engine's own host memory, page cache."""
_KFD_SHARE = 63 / 64
_KFD_BYTES = 3 * GIB // 2

PLAN_MARGIN_BYTES = 2 * GIB
"""On top of weights, KV cache and compute buffers: what the driver and other programs map."""

TTM_SIZES_GTT_SINCE = (6, 5, 0)
"""Before that, amdgpu took GTT as half of the memory whatever TTM's limit was, and only `gttsize` could change it
("Set GTT size equal to TTM mem limit", posted 2023-04-26, merged after 6.4)."""

GTTSIZE_DEPRECATED_SINCE = (6, 15, 0)
"""Kernel commit 50e30e3a: "Configuring gttsize via module parameter is deprecated, please use ttm.pages_limit"."""

COMMAND_LINE = "/proc/cmdline"
_GTTSIZE = "amdgpu.gttsize"


@dataclass(frozen=True, slots=True)
class Solution:
    """What the parameters should be, and what has to change for that."""

    limit_bytes: int
    """What the GPU may map then."""
    why: str
    """Which bound decided, in words."""
    wanted: tuple[tuple[str, str], ...]
    """Parameters and their values."""
    unwanted: tuple[str, ...]
    line: Diff
    """The change of the command line."""
    files: tuple[tuple[ModuleOption, str | None], ...]
    """Options in modprobe.d that have to change, with the new value; `None`: the option has to go."""


def version_of(release: str) -> tuple[int, int, int]:
    """The version in `6.14.0-1018-oem`; zeros for what is no release."""
    match = re.match(r"(\d{1,4})\.(\d{1,4})(?:\.(\d{1,6}))?", release)
    return (int(match[1]), int(match[2]), int(match[3] or 0)) if match else (0, 0, 0)


def target_bytes(memory_bytes: int, need_bytes: int | None = None) -> tuple[int, str]:
    """The GTT size to aim at, in whole GiB, and which bound decided: 112 GiB of a machine that shows 125.

    Args:
        memory_bytes: the system's memory without the GPU's carve-out (MemTotal).
        need_bytes: what a plan wants on the GPU; `None`: as much as the system can spare.
    """
    bounds = {
        f"{MOST_SHARE:.0%} of the memory": MOST_SHARE * memory_bytes,
        f"the memory less {DESKTOP_BYTES // GIB} GiB for the system": float(memory_bytes - DESKTOP_BYTES),
        "what the compute driver grants (MemTotal less 1/64 less 1.5 GiB)": _KFD_SHARE * memory_bytes - _KFD_BYTES,
    }
    why = min(bounds, key=lambda name: bounds[name])
    most = max(0, math.floor(bounds[why] / GIB)) * GIB
    if need_bytes is None:
        return most, why
    needed = math.ceil((need_bytes + PLAN_MARGIN_BYTES) / GIB) * GIB
    return (needed, "what the plan needs and 2 GiB") if needed <= most else (most, why)


def solve(kernel: KernelFacts | None, memory_bytes: int, need_bytes: int | None = None) -> Solution:
    """What the kernel should be told, and how that differs from what it is told now."""
    limit_bytes, why = target_bytes(memory_bytes, need_bytes)
    facts = kernel or KernelFacts("", None, None)
    module = facts.ttm_module or "ttm"
    other = "ttm" if module == "amdttm" else "amdttm"
    wanted = {f"{module}.pages_limit": str(limit_bytes // facts.page_bytes)}
    unwanted = [f"{other}.pages_limit", "ttm.page_pool_size", "amdttm.page_pool_size"]
    if (0, 0, 0) < version_of(facts.release) < TTM_SIZES_GTT_SINCE and module == "ttm":
        wanted[_GTTSIZE] = str(limit_bytes // MIB)
    else:
        unwanted.append(_GTTSIZE)
    files = _file_changes(facts, wanted, unwanted)
    # A limit that is kept in modprobe.d is changed there; the command line would win over it, and hide it.
    held = {f"{option.module}.{option.name}" for option, value in files if value is not None}
    line = CommandLine.parse(facts.command_line or "")
    for_line = {name: value for name, value in wanted.items() if name not in held or line.get(name) is not None}
    change = line.diff(line.merge(for_line, unwanted))
    return Solution(limit_bytes, why, tuple(wanted.items()), tuple(unwanted), change, files)


def _file_changes(
    kernel: KernelFacts, wanted: dict[str, str], unwanted: list[str]
) -> tuple[tuple[ModuleOption, str | None], ...]:
    changes: list[tuple[ModuleOption, str | None]] = []
    for option in kernel.module_options:
        name = f"{option.module}.{option.name}"
        # NixOS writes /etc/modprobe.d itself; the initramfs of an ostree system does not hold it.
        if not option.source.startswith("/etc/") or kernel.distribution_family == "nixos":
            continue
        if name in unwanted:
            changes.append((option, None))
        elif name in wanted and kernel.distribution_family != "ostree":
            changes.append((option, wanted[name]))
    return tuple(changes)


def solution_fix(solution: Solution, kernel: KernelFacts | None) -> Fix:
    """The commands that bring a solution about on this system."""
    module, _, _ = solution.wanted[0][0].partition(".")
    verify = (
        f"cat /sys/module/{module}/parameters/pages_limit  # {solution.wanted[0][1]}\n"
        f"cat /sys/class/drm/card*/device/mem_info_gtt_total  # {solution.limit_bytes}"
    )
    steps = (*file_steps(solution, kernel), *boot_steps(solution.line, kernel))
    if not steps and kernel is not None:  # all is written down as it should be, and not in effect yet
        steps = (initramfs_step(kernel),) if kernel.container is None else (by_hand("reboot the host", ""),)
    return fix_of(steps, verify, reboot=True, diff=solution.line)


def line_fix(kernel: KernelFacts, wanted: dict[str, str | None], unwanted: tuple[str, ...] = ()) -> Fix:
    """The commands that set and remove words of the command line."""
    line = CommandLine.parse(kernel.command_line or "")
    change = line.diff(line.merge(wanted, unwanted))
    return fix_of(boot_steps(change, kernel), f"cat {COMMAND_LINE}", reboot=True, diff=change)


def file_steps(solution: Solution, kernel: KernelFacts | None) -> tuple[Step, ...]:
    """Edits of the options in modprobe.d, and the rebuild of the initramfs that holds a copy of them."""
    if kernel is None or kernel.container is not None or not solution.files:
        return ()
    edits = tuple(
        _option_edit(option, value)
        for option, value in solution.files
        if number(option.value) != number(value) and is_plain(option.source + option.value)
    )
    return edits if kernel.distribution_family == "ostree" else (*edits, initramfs_step(kernel))


def _option_edit(option: ModuleOption, value: str | None) -> Step:
    lines = f"/^[[:space:]]*options[[:space:]]+{option.module}[[:space:]]/"
    old, name = f"{option.name}={option.value}", option.name
    if value is None:
        there = f"-e '{lines}s/[[:space:]]{name}=[^[:space:]]*//g'"
        return Step("edit", there, f"-e '{lines}s/$/ {old}/'", option.source)
    return Step("edit", f"-e '{lines}s/{name}=[^[:space:]]*/{name}={value}/g'",
                f"-e '{lines}s/{name}=[^[:space:]]*/{old}/g'", option.source)  # fmt: skip
