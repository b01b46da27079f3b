from __future__ import annotations

from dataclasses import replace

import pytest

from app.readiness import EngineView, Finding, judge_engines
from detectors.facts import Access, Device, Machine

CARD = Device("gpu:0000:03:00.0", "dgpu", "W7900", "AMD", "vram:x", pci_bdf="0000:03:00.0", kfd_node=1)
ROCM = EngineView("llama-server", ("CPU", "ROCm"), ())


def _machine(**facts: object) -> Machine:
    return Machine("host", devices=(replace(CARD, **facts),))  # type: ignore[arg-type]  # named in the calls


def _device(machine: Machine, *engines: EngineView, names: tuple[str, ...] = ()) -> Finding:
    (found,) = [f for f in judge_engines(machine, engines, names) if f.id == "engine.device"]
    return found


def test_a_device_that_an_engine_lists_is_good() -> None:
    assert _device(_machine(), replace(ROCM, seen_device_ids=(CARD.id,))).severity == "good"


@pytest.mark.parametrize(
    ("facts", "backends", "names", "cause", "fix"),
    [
        ({}, ("CPU",), (), "none of them was built with ROCm or Vulkan", "moetune runtime build --backend rocm"),
        ({"vendor": "NVIDIA"}, ("Vulkan",), ("CUDA_VISIBLE_DEVICES",), "CUDA_VISIBLE_DEVICES is set", "unset CUDA_"),
        ({}, ("ROCm",), ("HIP_VISIBLE_DEVICES",), "HIP_VISIBLE_DEVICES is set", "unset HIP_VISIBLE_DEVICES"),
        ({"access": (Access("/dev/kfd", False, "render"),)}, ("ROCm",), ("HIP_VISIBLE_DEVICES",),
         "may not open /dev/kfd (group render)", "usermod -aG render,video"),
        ({"kfd_node": None}, ("ROCm",), (), "the compute driver does not list it", "--backend vulkan"),
        ({}, ("ROCm",), (), "its driver for this backend may be missing", None),
    ],
)  # fmt: skip
def test_why_no_engine_sees_a_device(
    facts: dict[str, object], backends: tuple[str, ...], names: tuple[str, ...], cause: str, fix: str | None
) -> None:
    found = _device(_machine(**facts), replace(ROCM, backends=backends), names=names)
    assert found.severity == "costs"
    assert cause in found.evidence
    assert (found.fix is not None and fix in found.fix.text) if fix else found.fix is None


def test_no_engine_at_all_blocks_where_there_is_a_gpu() -> None:
    (found,) = judge_engines(_machine(), ())
    assert (found.id, found.severity) == ("engine.none", "blocks")
    assert judge_engines(Machine("host"), ()) == ()


def test_settings_from_the_surroundings_are_named_without_their_values() -> None:
    machine = replace(
        _machine(), environment={"LLAMA_ARG_API_KEY": "secret"}, engine_files=("/etc/llama.cpp/config.ini",)
    )
    found = judge_engines(machine, (ROCM,), ("LLAMA_ARG_CPU_MOE", "PATH"))
    assert {"engine.environment", "engine.config"} <= {finding.id for finding in found}
    evidence = next(finding.evidence for finding in found if finding.id == "engine.environment")
    assert evidence == "LLAMA_ARG_API_KEY, LLAMA_ARG_CPU_MOE"
    assert "secret" not in str(found)
