"""What changes an engine's behaviour unasked: variables of the environment, and files that llama.cpp reads."""

from __future__ import annotations

from detectors.host import Host
from detectors.registry import Found, detector

_PREFIXES = ("LLAMA_ARG_", "LLAMA_SERVER_", "GGML_", "HSA_OVERRIDE_GFX_VERSION")
_NAMES = (
    "CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER", "HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "GPU_DEVICE_ORDINAL",
    "ONEAPI_DEVICE_SELECTOR", "ZE_AFFINITY_MASK", "MESA_VK_DEVICE_SELECT", "VK_ICD_FILENAMES", "VK_DRIVER_FILES",
    "HSA_ENABLE_SDMA", "HSA_XNACK", "OMP_NUM_THREADS", "GOMP_CPU_AFFINITY", "KMP_AFFINITY",
)  # fmt: skip
_SECRET = ("KEY", "TOKEN", "SECRET", "PASSWORD")


def interferes(name: str) -> bool:
    """Whether a variable is one that engines heed; those that hold secrets are not looked at."""
    return (name in _NAMES or name.startswith(_PREFIXES)) and not any(word in name for word in _SECRET)


@detector("engines")
def detect_engines(host: Host) -> Found:
    """Variables that are set, and the configuration files of llama.cpp that exist."""
    variables = host.variables()
    home = variables.get("XDG_CONFIG_HOME") or (f"{variables['HOME']}/.config" if variables.get("HOME") else "")
    files = ("/etc/llama.cpp/config.ini", *([f"{home}/llama.cpp/config.ini"] if home.startswith("/") else []))
    return Found(
        environment={name: value for name, value in sorted(variables.items()) if interferes(name)},
        engine_files=tuple(path for path in files if host.exists(path)),
    )
