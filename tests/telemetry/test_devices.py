"""Device sources: what the driver says, and why something is missing."""

# ruff: noqa: N802  the names are pynvml's

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pynvml
import pytest

from app.telemetry.amd import AmdSource
from app.telemetry.cpu import ProcessMemory
from app.telemetry.devices import device_sources
from app.telemetry.nvidia import NvidiaSource
from app.telemetry.sample import DeviceSample
from app.units import GIB, MIB
from detectors.facts import Device, Machine
from detectors.host import Host

BDF = "0000:03:00.0"
GPU = f"gpu:{BDF}"


def tree(root: Path, folder: str, files: Mapping[str, object]) -> Host:
    for name, value in files.items():
        path = root / folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{value}\n")
    return Host(root)


DGPU = {
    "gpu_busy_percent": 37,
    "mem_info_vram_used": 3 * GIB,
    "mem_info_vram_total": 24 * GIB,
    "mem_info_gtt_used": 5 * GIB,
    "mem_info_gtt_total": 60 * GIB,
    "hwmon/hwmon4/power1_average": 210_000_000,
    "hwmon/hwmon4/temp1_input": 61_000,
}


def test_a_discrete_amd_gpu_counts_its_vram_alone(tmp_path: Path) -> None:
    host = tree(tmp_path, f"sys/bus/pci/devices/{BDF}", DGPU)
    assert AmdSource(GPU, BDF, host, unified=False).read() == DeviceSample(GPU, 0.37, 3 * GIB, 24 * GIB, 210.0, 61.0)


def test_an_apu_counts_its_carve_out_and_what_it_borrows(tmp_path: Path) -> None:
    files = {**DGPU, "mem_info_vram_used": 100 * MIB, "mem_info_vram_total": 512 * MIB}
    del files["hwmon/hwmon4/power1_average"]
    files["hwmon/hwmon4/power1_input"] = 55_000_000
    host = tree(tmp_path, f"sys/bus/pci/devices/{BDF}", files)
    sample = AmdSource(GPU, BDF, host, unified=True).read()
    assert (sample.used_bytes, sample.total_bytes) == (5 * GIB + 100 * MIB, 60 * GIB + 512 * MIB)
    assert sample.power_w == 55.0


def test_a_dump_that_holds_only_cards_is_read_too(tmp_path: Path) -> None:
    host = tree(tmp_path, "sys/class/drm/card1/device", {"uevent": f"DRIVER=amdgpu\nPCI_SLOT_NAME={BDF}", **DGPU})
    tree(tmp_path, "sys/class/drm/card0/device", {"uevent": "PCI_SLOT_NAME=0000:04:00.0", "gpu_busy_percent": 99})
    assert AmdSource(GPU, BDF, host, unified=False).read().load == 0.37


def test_a_reading_follows_the_driver(tmp_path: Path) -> None:
    host = tree(tmp_path, f"sys/bus/pci/devices/{BDF}", DGPU)
    source = AmdSource(GPU, BDF, host, unified=False)
    assert source.read().load == 0.37
    tree(tmp_path, f"sys/bus/pci/devices/{BDF}", {"gpu_busy_percent": 0})
    assert source.read().load == 0.0


def test_what_an_amd_gpu_does_not_say_is_missing_and_not_zero(tmp_path: Path) -> None:
    host = tree(tmp_path, f"sys/bus/pci/devices/{BDF}", {"mem_info_vram_total": 24 * GIB})
    sample = AmdSource(GPU, BDF, host, unified=False).read()
    assert sample == DeviceSample(GPU, total_bytes=24 * GIB, reason="load: absent")


class Sleeping(Host):
    """Answers as amdgpu does for a GPU that is runtime-suspended."""

    def integer(self, path: str) -> int | None:
        return None if "busy" in path or "hwmon" in path else super().integer(path)

    def why(self, path: str) -> str:
        return "not permitted" if "busy" in path else super().why(path)


def test_a_sleeping_amd_gpu_is_asleep(tmp_path: Path) -> None:
    tree(tmp_path, f"sys/bus/pci/devices/{BDF}", DGPU)
    sample = AmdSource(GPU, BDF, Sleeping(tmp_path), unified=False).read()
    assert (sample.load, sample.power_w, sample.reason) == (None, None, "asleep")
    assert sample.used_bytes == 3 * GIB


@dataclass
class Card:
    """An NVIDIA GPU as NVML answers for it; `None` raises NOT_SUPPORTED."""

    gpu: int | None = 42
    power_mw: int | None = 300_500
    temperature: int | None = 55
    total: int | None = 24 * GIB
    used: int | None = 4 * GIB


class FakeNvml:
    """Stands for pynvml, with its real errors, on a machine that has no NVIDIA driver."""

    NVMLError = pynvml.NVMLError

    def __init__(self, card: Card, *, lost: bool = False) -> None:
        self.card = card
        self.lost = lost
        self.users = 0

    def nvmlInit(self) -> None:
        self.users += 1

    def nvmlShutdown(self) -> None:
        self.users -= 1

    def nvmlDeviceGetHandleByPciBusId(self, bdf: str) -> Card:
        if bdf != BDF:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_FOUND)
        return self.card

    def nvmlDeviceGetUtilizationRates(self, card: Card) -> object:
        return type("Rates", (), {"gpu": self._known(card.gpu)})

    def nvmlDeviceGetPowerUsage(self, card: Card) -> int:
        return self._known(card.power_mw)

    def nvmlDeviceGetTemperature(self, card: Card, sensor: int) -> int:
        assert sensor == pynvml.NVML_TEMPERATURE_GPU
        return self._known(card.temperature)

    def nvmlDeviceGetMemoryInfo(self, card: Card) -> object:
        return type("Memory", (), {"total": self._known(card.total), "used": self._known(card.used)})

    def _known(self, value: int | None) -> int:
        if self.lost:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_GPU_IS_LOST)
        if value is None:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)
        return value


class NvidiaHost(Host):
    """A host whose NVML is given."""

    def __init__(self, nvml: FakeNvml) -> None:
        super().__init__("/")
        self._given: Any = nvml

    def nvml(self) -> Any:  # noqa: ANN401
        return self._given


def test_an_nvidia_gpu_says_everything() -> None:
    nvml = FakeNvml(Card())
    source = NvidiaSource(GPU, BDF, NvidiaHost(nvml))
    assert source.read() == DeviceSample(GPU, 0.42, 4 * GIB, 24 * GIB, 300.5, 55)
    assert source.read().load == 0.42
    assert nvml.users == 1
    source.close()
    source.close()
    assert nvml.users == 0


@pytest.mark.parametrize("memory", [None, 0])
def test_a_gb10_has_no_memory_of_its_own(memory: int | None) -> None:
    card = Card(power_mw=None, total=memory, used=memory)
    sample = NvidiaSource(GPU, BDF, NvidiaHost(FakeNvml(card))).read()
    assert (sample.load, sample.used_bytes, sample.total_bytes, sample.power_w) == (0.42, None, None, None)
    assert "memory: " in sample.reason
    assert "power: Not Supported" in sample.reason


def test_an_nvidia_gpu_that_falls_off_the_bus_is_a_gap_with_a_reason() -> None:
    nvml = FakeNvml(Card())
    source = NvidiaSource(GPU, BDF, NvidiaHost(nvml))
    source.read()
    nvml.lost = True
    sample = source.read()
    assert (sample.load, sample.used_bytes) == (None, None)
    assert "lost" in sample.reason


def test_no_nvidia_driver_is_a_reason() -> None:
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        sample = NvidiaSource(GPU, BDF, Host()).read()
        assert sample.load is None
        assert sample.reason.startswith("NVML: ")
    else:
        pytest.skip("this machine has an NVIDIA driver")


def test_each_kind_of_device_has_its_source(tmp_path: Path) -> None:
    machine = Machine(
        "any",
        devices=(
            Device("cpu", "cpu", "a CPU", "AMD", "ram"),
            Device("gpu:a", "igpu", "an APU", "AMD", "ram", pci_bdf="0000:c1:00.0"),
            Device("gpu:b", "dgpu", "a card", "NVIDIA", "vram:b", pci_bdf=BDF),
            Device("gpu:c", "dgpu", "a card", "Intel", "vram:c", pci_bdf="0000:04:00.0"),
            Device("remote:h:1", "remote", "RPC", "", "remote:h:1"),
        ),
    )
    tree(tmp_path, "sys/bus/pci/devices/0000:c1:00.0", {"gpu_busy_percent": 3, "mem_info_vram_total": 1})
    sources = device_sources(machine, Host(tmp_path))
    samples = [source.read() for source in sources]
    assert [each.device_id for each in samples] == [each.id for each in machine.devices]
    assert [each.load for each in samples] == [None, 0.03, None, None, None]
    assert samples[0].reason == "a recorded machine has no load"
    assert "NVML" in samples[2].reason
    assert "Intel" in samples[3].reason
    assert "another host" in samples[4].reason
    for source in sources:
        source.close()


def test_the_memory_of_a_process_ends_with_it() -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    memory = ProcessMemory(child.pid)
    assert (memory.resident_bytes() or 0) > 0
    child.communicate(b"\n")
    assert memory.resident_bytes() is None
    assert ProcessMemory(child.pid).resident_bytes() is None
    assert (ProcessMemory(os.getpid()).resident_bytes() or 0) > MIB
