from __future__ import annotations

import signal

import pytest

from app.runtimes.load_log import BreakdownRow, breakdown, by_device, explain_failure, parse
from app.units import MIB

from .conftest import device, engine_of

LOAD = """\
0.00.633.525 I load_tensors: offloaded 19/19 layers to GPU
0.00.633.532 I load_tensors:          CPU model buffer size =   170.00 MiB
0.00.633.534 I load_tensors: RPC0[127.0.0.1:51001] model buffer size =   204.14 MiB
0.00.633.535 I load_tensors: RPC0[127.0.0.1:51002] model buffer size =    31.03 MiB
0.01.796.293 I llama_context:        CPU  output buffer size =     1.00 MiB
0.01.797.353 I llama_kv_cache: RPC0[127.0.0.1:51001] KV buffer size =     6.00 MiB
0.01.797.438 I llama_kv_cache: size =    6.00 MiB (  2048 cells,   3 layers,  1/1 seqs), K (f16):    3.00 MiB
0.01.801.155 I llama_kv_cache: RPC0[127.0.0.1:51001] KV buffer size =    11.25 MiB
0.01.814.956 I sched_reserve: RPC0[127.0.0.1:51001] compute buffer size =     5.63 MiB
0.01.814.983 I sched_reserve:        CPU compute buffer size =     2.63 MiB
0.01.814.986 I sched_reserve: graph: nodes = 727, splits = 38, input objects = 4, input tensors = 9
""".splitlines()
"""Of a two-device run: llama.cpp 0.5.0, -lv 4."""


def test_weights_lie_where_the_log_says() -> None:
    weights = parse(LOAD).weight_bytes
    assert weights["RPC0[127.0.0.1:51001]"] == round(204.14 * MIB)
    assert weights["RPC0[127.0.0.1:51002]"] == round(31.03 * MIB)
    assert weights["CPU"] == 170 * MIB


def test_the_parts_of_a_kv_cache_add_up() -> None:
    assert parse(LOAD).kv_bytes == {"RPC0[127.0.0.1:51001]": round(17.25 * MIB)}


def test_compute_buffers_are_not_output_buffers() -> None:
    assert parse(LOAD).compute_bytes == {
        "RPC0[127.0.0.1:51001]": round(5.63 * MIB),
        "CPU": round(2.63 * MIB),
    }


def test_a_second_reservation_replaces_the_first() -> None:
    again = [*LOAD, "sched_reserve:        CPU compute buffer size =     4.00 MiB"]
    assert parse(again).compute_bytes["CPU"] == 4 * MIB


def test_recurrent_state_counts_as_kv() -> None:
    line = "llama_memory_recurrent:      CUDA0 RS buffer size =    75.38 MiB"
    assert parse([line]).kv_bytes == {"CUDA0": round(75.38 * MIB)}


@pytest.mark.parametrize(
    ("line", "splits"),
    [
        ("sched_reserve: graph: nodes = 727, splits = 38, input objects = 4, input tensors = 9", 38),
        ("sched_reserve: graph (pp bs=512, tg bs=1): nodes = 9 / 8, splits = 74 / 26, input objects = 4", 26),
        ("llama_context: graph splits = 74 (with bs=512), 26 (with bs=1)", 26),
        ("llama_context: graph splits = 2", 2),
    ],
)
def test_splits_are_those_of_token_generation(line: str, splits: int) -> None:
    assert parse([line]).splits == splits


def test_host_memory_has_many_names_and_is_one_device() -> None:
    engine = engine_of("0.5.0", (device("RPC0", "remote:a:1", "RPC0[a:1]"),))
    found = by_device({"CPU": 1, "CPU_Mapped": 10, "CPU_REPACK": 100, "RPC0[a:1]": 7}, engine)
    assert found == {"cpu": 111, "remote:a:1": 7}


def test_a_log_that_says_nothing_gives_nothing() -> None:
    report = parse(["srv  llama_server: model loaded"])
    assert (report.weight_bytes, report.splits) == ({}, None)


BREAKDOWN = """\
common_memory_breakdown_print: | memory breakdown [MiB]                         | total   free     self   model   \
context   compute    unaccounted |
common_memory_breakdown_print: |   - CUDA0 (RTX 2000 Ada Generation Laptop GPU) |  7807 = 7627 + ( 5658 =  2542 +    \
2622 +     493) +       -5478 |
common_memory_breakdown_print: |   - Host                                       |                 19891 = 19627 +    \
   0 +     264                |""".splitlines()
"""Of a report in llama.cpp's pull request 22673."""


def test_the_engines_own_account_is_read() -> None:
    device, host = breakdown(BREAKDOWN)
    assert device == BreakdownRow("CUDA0", 2542 * MIB, 2622 * MIB, 493 * MIB, 7807 * MIB, 7627 * MIB, -5478 * MIB)
    assert host == BreakdownRow("Host", 19627 * MIB, 0, 264 * MIB)


def test_only_the_last_account_counts() -> None:
    again = [line.replace("2542", "2000") for line in BREAKDOWN]
    assert [row.model_bytes // MIB for row in breakdown([*BREAKDOWN, "srv: bye", *again])] == [2000, 19627]
    assert breakdown(["srv: bye"]) == ()


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("0.00.1 E ggml_backend_cuda_buffer_type_alloc_buffer: allocating 9.00 MiB on device 0: cudaMalloc failed: "
         "out of memory", "ran out of memory"),
        ("E llama_model_load: error loading model: unable to allocate CUDA0 buffer", "device CUDA0 ran out of memory"),
        ("E llama_init_from_model: failed to initialize the context: failed to allocate compute pp buffers",
         "compute buffers"),
        ("failed to initialize the context: failed to allocate buffer for kv cache", "KV cache"),
        ("llama_model_load: error loading model: error loading model architecture: unknown model architecture: "
         "'foo-moe'", "'foo-moe'"),
        ("error: invalid argument: --no-mmap", "option --no-mmap"),
        ('error while handling argument "-ctk": Unsupported cache type: q9', "-ctk: Unsupported cache type: q9"),
        ('error while handling argument "-ot": unknown buffer type', "buffer type"),
        ('error while handling argument "-dev": invalid device: CUDA1', "no device CUDA1"),
        ("0.00.005.076 E srv         start: couldn't bind HTTP server socket, hostname: 127.0.0.1, port: 8080",
         "127.0.0.1:8080: another program has that port"),
        ("/x/ggml-rpc.cpp:547: Failed to connect to 10.0.0.1:50052", "No RPC server answers at 10.0.0.1:50052."),
        ("RPC server version mismatch: 6.0.0", "another version"),
        ("/x/ggml-rpc.cpp:35: Remote RPC server crashed or returned malformed response", "went away"),
        ("llama-server: error while loading shared libraries: libcudart.so.12: cannot open shared object file: "
         "No such file or directory", "libcudart.so.12"),
        ("0.00.039.340 E llama_model_load: error loading model: tensor 'token_embd.weight' data is not within the "
         "file bounds, model is corrupted or incomplete", "incomplete: the data of token_embd.weight"),
        ("0.00.004.100 E gguf_init_from_reader: failed to read key-value pairs", "damaged"),
        ("0.00.005.049 E gguf_init_from_file: failed to open GGUF file '/m.gguf' (Permission denied)",
         "/m.gguf: Permission denied"),
        ("/x/ggml-backend.cpp:938: pre-allocated tensor (blk.0) in a buffer (Vulkan0) that cannot run the operation",
         "gave up: pre-allocated tensor"),
        ("/x/ggml.c:1: GGML_ASSERT(n > 0) failed", "assertion of llama.cpp failed: n > 0"),
    ],
)  # fmt: skip
def test_a_failure_is_named(line: str, said: str) -> None:
    reason, hint = explain_failure(
        ["srv load_model: loading model", line, "srv: exiting due to model loading error"], 1
    )
    assert said in reason
    assert reason.endswith(".")
    assert hint


def test_the_cause_is_told_and_not_its_consequences() -> None:
    lines = [
        "E llama_model_load: error loading model: tensor 'output.weight' data is not within the file bounds",
        "E llama_model_load_from_file_impl: failed to load model",
        "E srv  llama_server: exiting due to model loading error",
    ]
    assert "output.weight" in explain_failure(lines, 1)[0]


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (-signal.SIGILL, "instruction that this CPU does not have"),
        (128 + signal.SIGILL, "instruction that this CPU does not have"),
        (-signal.SIGSEGV, "segmentation fault"),
        (-signal.SIGKILL, "out of memory"),
        (-signal.SIGBUS, "bus error"),
        (-signal.SIGHUP, "SIGHUP"),
        (3, "exited with code 3"),
        (0, "ended by itself"),
        (None, "no reason"),
    ],
)
def test_an_exit_without_words_is_explained_by_its_code(code: int | None, said: str) -> None:
    assert said in explain_failure(["loading"], code)[0]


def test_unknown_words_are_passed_on() -> None:
    assert "cannot frobnicate" in explain_failure(["0.00.1 E cannot frobnicate", "bye"], 1)[0]
