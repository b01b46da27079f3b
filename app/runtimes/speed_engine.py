"""A found engine as the speed model sees it: its backend and driver change how fast kernels are."""

from __future__ import annotations

import re

from app.runtimes.base import Engine
from app.solver.scene import Engine as SpeedEngine

_BACKENDS = {"cuda": "cuda", "rocm": "rocm", "hip": "rocm", "vulkan": "vulkan", "sycl": "sycl", "mtl": "metal"}
"""What names of devices begin with (`ROCm0`, `MTL0`) to the speed model's word."""

_DRIVERS = {"radv": "radv", "amdvlk": "amdvlk", "llpc": "amdvlk"}
"""Words of a Vulkan device's description; `LLPC` is the compiler of AMD's own driver."""


def speed_engine(engine: Engine) -> SpeedEngine:
    """The runtime, and the backend and driver of its GPUs; empty where the engine's devices do not tell.

    An engine with GPUs of several backends has none of its own: each GPU counts as under its maker's.
    """
    runtime = "ik_llama.cpp" if "ik_llama" in str(engine.path) else "llama.cpp"
    prefixes = {re.sub(r"\d+$", "", device.name).lower() for device in engine.devices}
    backends = {_BACKENDS[prefix] for prefix in prefixes if prefix in _BACKENDS}
    if len(backends) != 1:
        return SpeedEngine(runtime)
    described = " ".join(device.description for device in engine.devices).lower()
    backend = backends.pop()
    driver = next((name for word, name in _DRIVERS.items() if word in described), "") if backend == "vulkan" else ""
    return SpeedEngine(runtime, backend, driver)
