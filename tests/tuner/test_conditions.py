"""When a measurement still holds, and what is said when it does not."""

from __future__ import annotations

from dataclasses import replace

from app.tuner.conditions import Conditions, conditions_of, differences, from_json, to_json
from detectors.facts import Cpu, CpuPower, Device, DriverModule, KernelFacts, Machine
from tests.runtimes.conftest import engine_of

THEN = Conditions("llama_server 0.5.0 (CPU)", "amdgpu 6.16.3", "performance", None, "balanced", False)


def test_the_same_conditions_do_not_differ_and_survive_json() -> None:
    assert differences(THEN, THEN) == ()
    assert from_json(to_json(THEN)) == THEN
    assert from_json("nonsense") is None
    assert from_json("[]") is None


def test_each_change_is_named() -> None:
    now = replace(THEN, engine="llama_server 0.6.0 (CPU)", drivers="amdgpu 6.17.0", on_battery=True)
    assert differences(THEN, now) == (
        "the engine was llama_server 0.5.0 (CPU) and is llama_server 0.6.0 (CPU)",
        "the GPU driver was amdgpu 6.16.3 and is amdgpu 6.17.0",
        "the power supply was mains and is a battery",
    )
    assert differences(THEN, replace(THEN, governor=None)) == ("the CPU governor was performance and is not known",)


def test_they_are_read_off_the_machine() -> None:
    cpu = Cpu("CPU", "AMD", "x86_64", 1, 8, 16, power=CpuPower(governor="powersave", preference="power"))
    gpu = Device("gpu:0000:03:00.0", "dgpu", "RX 7900", "AMD", "vram")
    modules = (DriverModule("amdgpu"), DriverModule("nvidia", "580.65"), DriverModule("ttm"))
    kernel = KernelFacts("6.17.1", None, None, modules=modules)
    found = conditions_of(Machine("host", cpu, devices=(gpu,), kernel=kernel), engine_of("0.5.0"))
    assert found.drivers == "amdgpu of 6.17.1, nvidia 580.65"
    assert (found.governor, found.preference, found.on_battery) == ("powersave", "power", None)
    assert found.text == "llama_server 0.5.0 (CPU), amdgpu of 6.17.1, nvidia 580.65, powersave governor, EPP power"


def test_a_driver_without_a_gpu_does_not_matter() -> None:
    kernel = KernelFacts("6.17.1", None, None, modules=(DriverModule("amdgpu"),))
    assert conditions_of(Machine("host", kernel=kernel), engine_of("0.5.0")).drivers == ""
