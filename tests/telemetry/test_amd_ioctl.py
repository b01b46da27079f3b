"""pyamdgpuinfo behind a stand-in with its own names and errors: there is no AMD GPU here."""

from __future__ import annotations

from types import ModuleType, SimpleNamespace
from typing import cast

import pytest

from app.telemetry.amd_ioctl import IoctlGpu, IoctlReading

BDF = "0000:03:00.0"


def library(*slots: str | None, broken: bool = False) -> ModuleType:
    """What pyamdgpuinfo 2.1.8 offers, with a GPU in each of those slots."""

    def power() -> int:
        if broken:
            raise RuntimeError("error -22 while querying")
        return 88

    def gpu(index: int) -> SimpleNamespace:
        queries = {"query_load": lambda: 0.61, "query_power": power, "query_temperature": lambda: 54.0}
        return SimpleNamespace(pci_slot=slots[index], **queries)

    return cast("ModuleType", SimpleNamespace(detect_gpus=lambda: len(slots), get_gpu=gpu))


def no_device_nodes() -> int:
    raise FileNotFoundError(2, "No such file or directory", "/dev/dri/")


def test_the_gpu_is_found_by_its_address() -> None:
    gpu = IoctlGpu.find(BDF, library("0000:c5:00.0", BDF))
    assert gpu is not None
    assert gpu.read() == IoctlReading(0.61, 88.0, 54.0)


def test_what_one_query_refuses_is_left_open() -> None:
    gpu = IoctlGpu.find(BDF, library(BDF, broken=True))
    assert gpu is not None
    assert gpu.read() == IoctlReading(0.61, None, 54.0)


@pytest.mark.parametrize("slots", [(), (None,), ("0000:c5:00.0",)])
def test_without_a_match_there_is_none(slots: tuple[str | None, ...]) -> None:
    assert IoctlGpu.find(BDF, library(*slots)) is None


def test_no_device_nodes_is_no_error() -> None:
    assert IoctlGpu.find(BDF, cast("ModuleType", SimpleNamespace(detect_gpus=no_device_nodes))) is None
