"""The backend and driver that the speed model is told of."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from app.runtimes.base import Engine, EngineDevice
from app.runtimes.llama_devices import CPU_DEVICE
from app.runtimes.speed_engine import speed_engine


def engine(*named: tuple[str, str]) -> Engine:
    devices = tuple(EngineDevice(name, name, text, None, None, name) for name, text in named)
    return Engine("llama_server", Path("/opt/llama.cpp/llama-server"), "path", "0.5.0", (), (CPU_DEVICE, *devices))


@pytest.mark.parametrize(
    ("devices", "backend", "driver"),
    [
        ([("CUDA0", "NVIDIA GeForce RTX 4090"), ("CUDA1", "NVIDIA GeForce RTX 3090")], "cuda", ""),
        ([("ROCm0", "AMD Radeon PRO W7900"), ("RPC0", "127.0.0.1:50052")], "rocm", ""),
        ([("Vulkan0", "AMD Radeon 8060S (RADV GFX1151)")], "vulkan", "radv"),
        ([("Vulkan0", "AMD Radeon 8060S (AMD open-source driver, LLPC)")], "vulkan", "amdvlk"),
        ([("SYCL0", "Intel(R) Arc(TM) B580 Graphics")], "sycl", ""),
        ([("CUDA0", "NVIDIA GeForce RTX 4090"), ("Vulkan0", "AMD Radeon 890M (RADV)")], "", ""),
        ([("RPC0", "127.0.0.1:50052")], "", ""),
    ],
)
def test_backend_and_driver_come_from_the_engines_devices(
    devices: list[tuple[str, str]], backend: str, driver: str
) -> None:
    found = speed_engine(engine(*devices))
    assert (found.runtime, found.backend, found.driver) == ("llama.cpp", backend, driver)


def test_a_fork_is_told_by_its_folder() -> None:
    fork = replace(engine(("CUDA0", "RTX 4090")), path=Path("/home/me/ik_llama.cpp/build/bin/llama-server"))
    assert speed_engine(fork).runtime == "ik_llama.cpp"
