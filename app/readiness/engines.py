"""The engines against the machine: devices that one of them does not see, and settings that would change a plan."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from app.readiness.environment import access_fix
from app.readiness.finding import SEVERITIES, Finding, Fix
from detectors.facts import Device, Machine


@dataclass(frozen=True, slots=True)
class EngineView:
    """An engine as far as readiness looks at it."""

    name: str
    """What a person calls it, such as `llama-server 0.5.0 at /usr/bin/llama-server`."""
    backends: tuple[str, ...]
    """`CUDA`, `ROCm`, `Vulkan`, `CPU` ..."""
    seen_device_ids: tuple[str, ...]
    """Ids of the detected devices that it lists."""


_BACKENDS = {
    "AMD": ("ROCm", "Vulkan"),
    "NVIDIA": ("CUDA", "Vulkan"),
    "Intel": ("SYCL", "Vulkan"),
}
"""Backends of llama.cpp that reach a maker's GPUs, the faster one first."""

_HIDING = {
    "NVIDIA": ("CUDA_VISIBLE_DEVICES", "NVIDIA_VISIBLE_DEVICES"),
    "AMD": ("HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "GPU_DEVICE_ORDINAL"),
    "Intel": ("ONEAPI_DEVICE_SELECTOR",),
}
"""Variables that take a maker's GPUs out of an engine's sight."""

_HIDING_ALL = "GGML_VK_VISIBLE_DEVICES"
_SETTINGS = ("LLAMA_ARG_", "LLAMA_SET_ROWS", "GGML_CUDA_", "GGML_VK_", "GGML_SCHED_", "GGML_OP_OFFLOAD_")


def judge_engines(
    machine: Machine, engines: Sequence[EngineView], environment_names: Iterable[str] = ()
) -> tuple[Finding, ...]:
    """Judge what engines see of the machine, and what would change their behaviour unasked.

    Args:
        machine: the facts; its `environment` and `engine_files` are looked at too.
        engines: those that were found, best first.
        environment_names: names of variables that are set beyond `machine.environment`.
    """
    names = {*machine.environment, *environment_names}
    findings = [*_unseen(machine, engines, names), *_settings(machine, names)]
    return tuple(sorted(findings, key=lambda finding: (SEVERITIES.index(finding.severity), -finding.cost_share)))


def _unseen(machine: Machine, engines: Sequence[EngineView], names: set[str]) -> Iterator[Finding]:
    gpus = [device for device in machine.devices if device.kind in ("igpu", "dgpu")]
    if not engines:
        if gpus:
            fix = Fix("moetune runtime build", "moetune runtime remove", "moetune check", reboot=False)
            reason = "A plan needs llama.cpp, or its Python bindings, to run."
            yield Finding("engine.none", "blocks", "No engine was found", "PATH and the known places", reason, fix, 1.0)
        return
    for gpu in gpus:
        seeing = [engine for engine in engines if gpu.id in engine.seen_device_ids]
        if seeing:
            evidence = f"{gpu.pci_bdf or gpu.id} is listed by {seeing[0].name}"
            reason = "It can be given a part of a model."
            yield Finding("engine.device", "good", f"{gpu.name} is seen by an engine", evidence, reason)
        else:
            yield _blind(gpu, engines, names)


def _blind(gpu: Device, engines: Sequence[EngineView], names: set[str]) -> Finding:
    wanted = _BACKENDS.get(gpu.vendor, ("Vulkan",))
    able = [engine for engine in engines if set(wanted) & set(engine.backends)]
    cause, fix = _no_backend(wanted) if not able else _why_blind(gpu, names)
    backends = "; ".join(f"{engine.name}: {', '.join(engine.backends) or 'no backend'}" for engine in engines)
    return Finding(
        "engine.device",
        "costs",
        f"No engine sees {gpu.name}",
        f"{gpu.pci_bdf or gpu.id} was detected; {backends}; {cause}",
        "The kernel knows this GPU, but nothing can be put on it: a plan for it cannot run.",
        fix,
        0.8,
    )


def _no_backend(wanted: tuple[str, ...]) -> tuple[str, Fix]:
    names = " or ".join(wanted)
    fix = Fix(
        f"moetune runtime build --backend {wanted[0].lower()}",
        "moetune runtime remove",
        "llama-server --list-devices",
        reboot=False,
    )
    return f"none of them was built with {names}", fix


def _why_blind(gpu: Device, names: set[str]) -> tuple[str, Fix | None]:
    """The first thing that explains it: no permission, a variable, the compute driver."""
    for access in gpu.access:
        if access.granted is False:
            return f"this user may not open {access.path} (group {access.group or 'render'})", access_fix(access)
    hiding = [name for name in (*_HIDING.get(gpu.vendor, ()), _HIDING_ALL) if name in names]
    if hiding:
        fix = Fix(f"unset {' '.join(hiding)}", "set it again", "llama-server --list-devices", reboot=False)
        return f"{', '.join(hiding)} is set, which hides devices", fix
    if gpu.vendor == "AMD" and gpu.kfd_node is None:
        fix = Fix(
            "moetune runtime build --backend vulkan",
            "moetune runtime remove",
            "llama-server --list-devices",
            reboot=False,
        )
        return "the compute driver does not list it, so ROCm cannot use it; Vulkan can", fix
    return "its driver for this backend may be missing (ROCm's libraries, the Vulkan driver)", None


def _settings(machine: Machine, names: set[str]) -> Iterator[Finding]:
    """What llama.cpp takes from its surroundings: moetune's own launches leave it out, others do not."""
    set_names = sorted(name for name in names if name.startswith(_SETTINGS))
    if set_names:
        yield Finding(
            "engine.environment",
            "note",
            "Variables are set that change what llama.cpp does",
            ", ".join(set_names),  # not their values: LLAMA_ARG_API_KEY is among them
            "LLAMA_ARG_* stand for options, and an override of tensors among them beats the command line's. moetune "
            "takes them out of what it starts; a command that you copy is changed by them.",
            Fix(f"unset {' '.join(set_names)}", "export them again", "env | grep -E 'LLAMA|GGML'", reboot=False),
        )
    for path in machine.engine_files:
        yield Finding(
            "engine.config",
            "note",
            f"llama.cpp reads settings from {path}",
            f"{path} is there",
            "It applies to every start that does not say otherwise, before variables and options.",
            Fix(f"mv {path} {path}.off", f"mv {path}.off {path}", f"ls {path}", reboot=False),
        )
