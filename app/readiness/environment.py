"""Whether there are GPUs and whether this process may open them; and what kind of system this is."""

from __future__ import annotations

from collections.abc import Iterator

from app.readiness.bootparams import is_plain
from app.readiness.case import Case
from app.readiness.finding import Finding, Fix, fix_of
from app.readiness.steps import by_hand, run
from detectors.facts import Access, Device

_PASS = (
    "start the container with its GPUs:\n"
    "AMD: --device /dev/kfd --device /dev/dri --group-add keep-groups (docker: --group-add video --group-add render) "
    "--security-opt seccomp=unconfined\n"
    "NVIDIA: --gpus all (podman: --device nvidia.com/gpu=all)"
)


def check_any_gpu(case: Case) -> Iterator[Finding]:
    """No GPU is no fault, but it decides everything else."""
    machine = case.machine
    if any(device.kind in ("igpu", "dgpu") for device in machine.devices):
        return
    faults = [problem.reason for problem in machine.problems if problem.source.startswith(("gpu:", "gpu_"))]
    hint = " A container sees only the GPUs that it was given." if case.container and not case.wsl else ""
    yield Finding(
        "gpu.none",
        "note",
        "No GPU that could be used was found",
        "; ".join(faults) or "neither NVML nor /sys/class/drm shows an NVIDIA or AMD GPU",
        "Everything runs on the CPU, at the speed of the system's memory." + hint,
        Fix(_PASS, "start it without", "moetune check", reboot=False) if hint else None,
    )


def check_access(case: Case) -> Iterator[Finding]:
    """The device files that an engine opens."""
    files = {access.path: (gpu, access) for gpu in case.gpus for access in gpu.access}
    denied = [pair for pair in files.values() if pair[1].granted is False]
    unasked = [access.path for _, access in files.values() if access.granted is None]
    for gpu, access in denied:
        yield _denied(case, gpu, access, len(denied) < len(gpu.access))
    if unasked:
        reason = "An engine that may not open them does not see the GPU."
        evidence = f"{', '.join(sorted(unasked))}: not to be asked of a recorded machine"
        yield Finding("gpu.access", "unknown", "Whether this user may open the GPUs is not known", evidence, reason)
    elif files and not denied:
        reason = "Engines of this user see the GPUs."
        yield Finding("gpu.access", "good", "This user may open the GPUs", ", ".join(sorted(files)), reason)


def _denied(case: Case, gpu: Device, access: Access, partly: bool) -> Finding:
    compute_only = access.path == "/dev/kfd" and partly
    group = access.group or "render"
    passing = Fix(_PASS, "start it without", f"ls -l {access.path}", reboot=False)
    return Finding(
        "gpu.access",
        "costs" if compute_only else "blocks",
        f"This user may not open {access.path}",
        f"{access.path} belongs to the group {group}; this user's groups: "
        + (" ".join(case.kernel.groups if case.kernel else ()) or "none that opens GPUs"),
        f"{'ROCm cannot use' if compute_only else 'No engine of this user sees'} {gpu.name}."
        + (" Vulkan still can." if compute_only else ""),
        passing if case.container else access_fix(access),
        0.1 if compute_only else 1.0,
    )


def access_fix(access: Access) -> Fix:
    """Makes this user a member of the group that may open a device file."""
    group = access.group if access.group and is_plain(access.group) else "render"
    user = '"${SUDO_USER:-$(id -un)}"'
    steps = (
        by_hand("# log out and in again after it", ""),
        run(f"usermod -aG {','.join(dict.fromkeys((group, 'video')))} {user}", f"gpasswd -d {user} {group}"),
    )
    return fix_of(steps, f"test -w {access.path} && echo yes", reboot=False)


def check_compute_driver(case: Case) -> Iterator[Finding]:
    """AMD GPUs that the graphics driver knows and the compute driver does not list."""
    listed = any(gpu.kfd_node is not None for gpu in case.machine.devices)
    for gpu in case.gpus:
        if gpu.vendor != "AMD" or gpu.kfd_node is not None or not (listed or gpu.asleep is False):
            continue
        yield Finding(
            "amd.kfd",
            "note",
            f"ROCm does not know {gpu.name}",
            f"no node of {gpu.pci_bdf} in /sys/class/kfd/kfd/topology",
            "The compute driver left it out (a chip that ROCm does not support, a slot without PCIe atomics, or a "
            "container without its device), or was built without CONFIG_HSA_AMD. Vulkan can use it.",
        )


def check_asleep(case: Case) -> Iterator[Finding]:
    """Cards that sleep are left asleep, and so not all is known of them."""
    for gpu in case.gpus:
        if gpu.asleep:
            yield Finding(
                "gpu.asleep",
                "note",
                f"{gpu.name} is asleep, and was left asleep",
                f"power/runtime_status of {gpu.pci_bdf} is suspended",
                "An engine wakes it. Its link, clocks and load are not known until then.",
            )


def check_system(case: Case) -> Iterator[Finding]:
    """What lies between this process and the hardware."""
    kernel = case.kernel
    if kernel is None:
        why, reason = case.why_unknown("kernel"), "What the fixes look like depends on it."
        yield Finding("env.kernel", "unknown", "Kernel and distribution are not known", why, reason)
        return
    if kernel.system != "Linux":
        title = f"This is {kernel.system}: its kernel is not judged"
        reason = (
            "CPU, memory, NVIDIA's GPUs, planning and captures of other machines work here; kernel checks are Linux's."
        )
        yield Finding("env.system", "note", title, kernel.release, reason)
    elif case.wsl:
        yield Finding(
            "env.wsl",
            "note",
            f"This is WSL {kernel.wsl or ''}".rstrip(),
            kernel.release,
            "The kernel is Microsoft's and the GPU belongs to Windows: kernel parameters, links and AMD's files are "
            "absent. The memory is what .wslconfig grants, by default half of it.",
            Fix(
                "in %UserProfile%\\.wslconfig, under [wsl2]: memory=NGB; then: wsl --shutdown",
                "take the line out; wsl --shutdown",
                "free -h",
                reboot=False,
            ),
        )
    elif kernel.container:
        reason = "Facts of the kernel are the host's; its boot loader and packages are not visible. Fixes belong there."
        yield Finding("env.container", "note", f"This is a container ({kernel.container})", kernel.release, reason)
    if case.hypervisor and not case.wsl:
        reason = (
            "Modules, links and sensors are what the host shows. Firmware settings, the CPU model and memory pinning "
            "belong to the host; kernel parameters of GPUs that were passed through belong here."
        )
        title = f"This is a virtual machine ({case.hypervisor})"
        yield Finding("env.vm", "note", title, "the processor's hypervisor flag, DMI", reason)
