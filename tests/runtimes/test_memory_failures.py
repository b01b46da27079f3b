"""Which device refused how many bytes, by logs of real failures.

Those of GPUs are recorded, quoted from the reports that are named; those of the CPU and of RPC servers are of
llama.cpp 0.5.0 (0c1e57098) under `ulimit -v`.
"""

from __future__ import annotations

import pytest

from app.runtimes.failures import classify
from app.runtimes.memory_failures import device_of, free_bytes, memory_failure
from app.units import MIB

from .conftest import device, engine_of

LOGS = {
    "CUDA weights, llama.cpp issue 20431": """\
load_tensors: loading model tensors, this can take a while... (mmap = true, direct_io = false)
ggml_backend_cuda_buffer_type_alloc_buffer: allocating 144817.04 MiB on device 0: cudaMalloc failed: out of memory
alloc_tensor_range: failed to allocate CUDA0 buffer of size 151851674624
llama_model_load: error loading model: unable to allocate CUDA0 buffer""",
    "CUDA compute buffers, llama.cpp issue 11476": """\
ggml_backend_cuda_buffer_type_alloc_buffer: allocating 9866.00 MiB on device 1: cudaMalloc failed: out of memory
ggml_gallocr_reserve_n: failed to allocate CUDA1 buffer of size 10345253120
llama_kv_cache_update_impl: failed to allocate compute buffers""",
    "ROCm compute buffers, llama.cpp issue 16725": """\
ggml_backend_cuda_buffer_type_alloc_buffer: allocating 14136.04 MiB on device 0: cudaMalloc failed: out of memory
ggml_gallocr_reserve_n: failed to allocate ROCm0 buffer of size 14822711296
graph_reserve: failed to allocate compute buffers
llama_init_from_model: failed to initialize the context: failed to allocate compute pp buffers""",
    "Vulkan, llama.cpp issue 15256": """\
ggml_vulkan: Device memory allocation of size 118497280 failed.
ggml_vulkan: vk::Device::allocateMemory: ErrorOutOfDeviceMemory""",
    "an RPC server's KV cache, ulimit": """\
0.00.628.863 I llama_context:        CPU  output buffer size =     0.25 MiB
0.00.630.000 E alloc_tensor_range: failed to allocate RPC0[127.0.0.1:50977] buffer of size 402653184
0.00.630.292 E llama_init_from_model: failed to initialize the context: failed to allocate buffer for kv cache
0.00.630.320 E cmn  common_init_: failed to create context with model '/demo.gguf'""",
    "the host's KV cache, ulimit": """\
0.00.484.853 E ggml_aligned_malloc: insufficient memory (attempted to allocate 384.00 MB)
0.00.484.855 E ggml_backend_cpu_buffer_type_alloc_buffer: failed to allocate buffer of size 402653184
0.00.484.855 E alloc_tensor_range: failed to allocate CPU buffer of size 402653184
0.00.485.018 E llama_init_from_model: failed to initialize the context: failed to allocate buffer for kv cache""",
    "an abort on the host, ulimit": """\
0.00.774.330 E ggml_aligned_malloc: insufficient memory (attempted to allocate  35.61 MB)""",
}

ENGINES = {
    "cuda": engine_of("0.5.0", (device("CUDA0", "gpu0", "CUDA0"), device("CUDA1", "gpu1", "CUDA1"))),
    "rocm": engine_of("0.5.0", (device("ROCm0", "gpu0", "ROCm0"),)),
    "vulkan": engine_of("0.5.0", (device("Vulkan0", "gpu0", "Vulkan0"),)),
    "rpc": engine_of("0.5.0", (device("RPC0", "remote:a", "RPC0[127.0.0.1:50977]"),)),
}


@pytest.mark.parametrize(
    ("log", "engine", "device_id", "asked", "part", "said"),
    [
        ("CUDA weights, llama.cpp issue 20431", "cuda", "gpu0", 151851674624, "weights", "The device CUDA0"),
        ("CUDA compute buffers, llama.cpp issue 11476", "cuda", "gpu1", 10345253120, "compute buffers", "CUDA1"),
        ("ROCm compute buffers, llama.cpp issue 16725", "rocm", "gpu0", 14822711296, "compute buffers", "ROCm0"),
        ("Vulkan, llama.cpp issue 15256", "vulkan", "gpu0", 118497280, None, "A device"),
        ("an RPC server's KV cache, ulimit", "rpc", "remote:a", 384 * MIB, "KV cache", "384 MiB for the KV cache"),
        ("the host's KV cache, ulimit", "rpc", "cpu", 384 * MIB, "KV cache", "The machine ran out of memory"),
        ("an abort on the host, ulimit", "rpc", "cpu", round(35.61 * MIB), None, "The machine ran out of memory"),
    ],
)
def test_the_device_and_the_bytes_are_read(
    log: str, engine: str, device_id: str, asked: int, part: str | None, said: str
) -> None:
    lines = LOGS[log].splitlines()
    failure = memory_failure(lines)
    assert failure is not None
    assert (device_of(failure, ENGINES[engine]), failure.asked_bytes, failure.part) == (device_id, asked, part)
    told = classify(lines, 1)
    assert told.kind == "memory"
    assert said in told.reason


def test_an_abort_names_the_gpu_by_its_number() -> None:
    """Words of ggml-cuda's abort, of llama.cpp 0.5.0."""
    lines = [
        "0.01.0 E CUDA error: out of memory",
        "0.01.0 E   current device: 1, in function alloc at /x/ggml-cuda.cu:546",
    ]
    failure = memory_failure(lines)
    assert failure is not None
    assert failure.asked_bytes is None
    assert device_of(failure, ENGINES["cuda"]) == "gpu1"
    assert device_of(failure, ENGINES["rocm"]) is None


def test_which_of_two_is_left_open_where_nothing_says_it() -> None:
    failure = memory_failure(["ggml_vulkan: Device memory allocation of size 118497280 failed."])
    two = engine_of("0.5.0", (device("Vulkan0", "a", "Vulkan0"), device("Vulkan1", "b", "Vulkan1")))
    assert failure is not None
    assert device_of(failure, two) is None


RETRIED = """\
1.06.520.077 E ggml_backend_cuda_buffer_type_alloc_buffer: allocating 51748.72 MiB on device 1: cudaMalloc failed: \
out of memory
1.06.520.084 E ggml_gallocr_reserve_n_impl: failed to allocate CUDA1 buffer of size 54262464512
1.06.520.086 E graph_reserve: failed to allocate compute buffers
1.06.520.107 W sched_reserve: compute buffer allocation failed, retrying without pipeline parallelism
1.07.304.130 I srv    load_model: initializing, n_slots = 1, n_ctx_slot = 50176, kv_unified = 'false'""".splitlines()
"""llama.cpp pull request 26297: it goes on without."""


def test_what_the_engine_got_over_is_no_failure() -> None:
    assert memory_failure(RETRIED) is None
    told = classify([*RETRIED, "1.09 E couldn't bind HTTP server socket, hostname: 127.0.0.1, port: 8080"], 1)
    assert told.kind == "port"


def test_what_was_free_is_read() -> None:
    line = (
        "0.00.024.699 I llama_prepare_model_devices: using device CUDA1 (NVIDIA H200) (0000:01:00.0) - 24105 MiB free"
    )
    assert free_bytes([line], ENGINES["cuda"]) == {"gpu1": 24105 * MIB}


@pytest.mark.parametrize(
    ("line", "code", "kind"),
    [
        ("error: invalid argument: --nonsense", 1, "option"),
        ("E gguf_init_from_reader: invalid magic characters: 'junk', expected 'GGUF'", 1, "model"),
        ("terminate called after throwing an instance of 'vk::DeviceLostError'", -6, "driver"),
        ("llama_model_load: error loading model: vk::Queue::submit: ErrorDeviceLost", 1, "driver"),
        ("4.44.094.268 E ROCm error: unspecified launch failure", -6, "driver"),
        ("ROCm error: invalid device function", -6, "instruction"),
        ("ggml_cuda_init: failed to initialize CUDA: no CUDA-capable device is detected", 1, "driver"),
        ("couldn't bind HTTP server socket, hostname: 127.0.0.1, port: 8080", 1, "port"),
        ('error while handling argument "-dev": invalid device: CUDA1', 1, "device"),
        ("loading", -4, "instruction"),
        ("an error, but of before", -9, "oom-killer"),
        ("loading", -15, "stopped"),
        ("loading", -11, "crash"),
        ("loading", 3, "unknown"),
    ],
)
def test_the_kind_of_a_failure(line: str, code: int, kind: str) -> None:
    assert classify([line], code).kind == kind


def test_without_a_driver_the_missing_device_is_the_consequence() -> None:
    lines = [
        "ggml_cuda_init: failed to initialize CUDA: CUDA driver version is insufficient for CUDA runtime version",
        "error while handling argument \"-dev\": invalid device: CUDA0",
    ]  # fmt: skip
    assert "insufficient" in classify(lines, 1).reason
