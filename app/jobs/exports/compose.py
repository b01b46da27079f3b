"""A compose file around llama.cpp's published server images.

Images and devices: llama.cpp's docs/docker.md. They have curl, and llama-server as their entry point. The groups of
AMD's device files have to be given by number (`getent group render`): the images do not know them by name.
"""

from __future__ import annotations

from pathlib import PurePosixPath

from app.errors import UsageError
from app.jobs.exports.launch import Launch
from app.jobs.exports.llama_swap import quoted

_IMAGE = "ghcr.io/ggml-org/llama.cpp:server"
_BACKENDS = {"CUDA": "cuda", "ROCM": "rocm", "HIP": "rocm", "VULKAN": "vulkan", "SYCL": "intel"}
"""An engine's device names without their number -> the image's suffix."""
_GROUPS = (
    "    group_add:",
    '      - "${VIDEO_GID:?the number of the group video}"',
    '      - "${RENDER_GID:?the number of the group render}"',
)


def compose_file(launch: Launch) -> str:
    """The compose file: one service, reachable from this machine only.

    Raises:
        UsageError: there is no published image that has what the plan needs.
    """
    if launch.runtime != "llama_server":
        raise UsageError(f"No image is published that {launch.runtime} runs in as planned.", hint="Use --as sh.")
    backend = _backend(launch)
    model = PurePosixPath(launch.model)
    lines = [
        *(f"# {line}" for line in launch.about),
        "services:",
        f"  {launch.name.replace('.', '-')}:",
        f"    image: {quoted(_IMAGE + (f'-{backend}' if backend else ''))}",
        "    command:",
        *(f"      - {_word(word)}" for word in _arguments(launch, model)),
        "    volumes:",
        "      - type: bind",
        f"        source: {_word(str(model.parent))}",
        "        target: /models",
        "        read_only: true",
        "    ports:",
        f'      - "127.0.0.1:{launch.port}:8080"',
        *_devices(backend),
        '    shm_size: "1gb"',
        "    healthcheck:",
        '      test: ["CMD", "curl", "-f", "http://localhost:8080/health"]',
        "      interval: 10s",
        "      timeout: 5s",
        "      retries: 3",
        "      start_period: 600s",
        "    restart: on-failure:3",
    ]
    return "\n".join(lines) + "\n"


def _backend(launch: Launch) -> str:
    """The image's suffix; empty for the processor alone."""
    options = dict(launch.options())
    if "--rpc" in options:
        raise UsageError("The published images are not known to reach RPC servers.", hint="Use --as sh.")
    names = [name for name in (options.get("-dev") or "none").split(",") if name != "none"]
    kinds = {name.rstrip("0123456789").upper() for name in names}
    images = {_BACKENDS.get(kind, "") for kind in kinds}
    if len(images) > 1 or "" in images:
        raise UsageError(f"No published image computes on {' and '.join(names)}.", hint="Use --as sh.")
    return images.pop() if images else ""


def _arguments(launch: Launch, model: PurePosixPath) -> list[str]:
    """As planned, but for where the model is mounted and what is listened on inside."""
    inside = {"-m": f"/models/{model.name}", "--host": "0.0.0.0", "--port": "8080"}
    words: list[str] = []
    for option, value in launch.options():
        words += [option] if value is None else [option, inside.get(option, value)]
    return words


def _devices(backend: str) -> tuple[str, ...]:
    if backend == "cuda":
        return (
            "    deploy:",
            "      resources:",
            "        reservations:",
            "          devices:",
            "            - driver: nvidia",
            "              count: all",
            "              capabilities: [gpu]",
        )
    if not backend:
        return ()
    nodes = ("/dev/kfd", "/dev/dri") if backend == "rocm" else ("/dev/dri",)
    return ("    devices:", *(f'      - "{node}:{node}"' for node in nodes), *_GROUPS)


def _word(text: str) -> str:
    """A scalar in which compose finds no variable."""
    return quoted(text.replace("$", "$$"))
