"""The physical constants of the speed model, each with where it comes from.

`fit-2026-11`: a least-squares fit over 796 published llama.cpp and KTransformers measurements of MoE models on 57
machines (decode, batch 1); leave-one-hardware-group-out error 13.9 %, 90 % ranges per class of placement. What that
fit could not know (RPC devices, small models) is marked `lab`: measured on loopback with two RPC servers, or
`judgement`.
"""

from __future__ import annotations

GPU_WEIGHT_FACTOR = 1.37
"""Time of reading GPU weights over bytes / peak bandwidth: 73 % of the peak. fit-2026-11 (1.28 to 1.58)."""

GPU_LAYER_MS = 0.085
"""Kernel launches of one layer on a GPU. fit-2026-11, pooled over vendors (+-40 %)."""

KV_FACTOR = {"f32": 1.3, "f16": 1.3, "bf16": 1.3}
"""Time of reading the KV cache over bytes / bandwidth. fit-2026-11 (1.0 to 1.6)."""

QUANTIZED_KV_FACTOR = 6.0
"""The same for a quantized KV cache, on its own bytes: dearer in time than f16. fit-2026-11 (4.6 to 9.6)."""

CPU_WEIGHT_FACTOR = 1.10
"""Time of reading weights by the CPU over bytes / bandwidth, one socket. fit-2026-11 (0.93 to 1.21)."""

CPU_SOCKETS_FACTOR = 5.0
"""The same on two sockets without NUMA care: two machines only. fit-2026-11 (4.5 to 5.7)."""

CPU_LAYER_MS_PER_THREAD = 0.30 / 32
"""Barriers of one layer, per thread, when all is on the CPU. fit-2026-11."""

CPU_THREAD_GFLOPS = 30.0
"""What one core multiplies and adds on quantized weights, one token at a time. lab: 27 on a Zen 4 core with AVX-512,
MXFP4 experts and Q8_0 rest; fit-2026-11 has 39 for prefill by mainline kernels. Binds on few cores only."""

VIRTUAL_CPU_SHARE = 0.65
"""What a virtual CPU multiplies, over a core: two of them are mostly two threads of one core. lab: on two vCPUs of an
EPYC a small model ran 1.2 to 1.5 times as fast as on one."""

BITS_PER_RESIDENT_WEIGHT = 8.5
"""Q8_0, the usual type of what is not an expert: turns bytes into multiply-adds."""

CROSSING_MS = 0.05
CROSSING_MS_PER_WIDTH = 0.15 / 4096
"""A layer whose experts sit on another device than its attention: synchronisation, and per element of d_model."""

RPC_CALL_MS = 0.35
"""One graph handed to an RPC device, and its answer. lab: two servers on loopback, 12 layers crossing: 0.74 ms a layer
for the way there and back."""

RPC_CALLS_PER_TOKEN = 3
"""Calls for the inputs, the graph and the logits when an RPC device does the attention. lab: 1.1 ms a token."""

RPC_BANDWIDTH_GBPS = 1.1
"""What an RPC connection moves: 10 Gbit/s Ethernet less its overhead. judgement."""

UNKNOWN_CPU_BANDWIDTH_GBPS = 40.0
"""A socket whose memory speed is not known: between two channels of DDR4-3200 (51) and one of DDR5-4800 (38)."""

ZEN_2_FAMILY, ZEN_4_FAMILY, ZEN_5_FAMILY = 23, 25, 26
"""AMD's processor families as CPUID numbers them; 25 is Zen 3 and Zen 4, told apart by the model."""

ZEN_3_LINK_GBPS = 47.0
"""What one chiplet of Zen 2 and Zen 3 reads over its link. fit-2026-11: its bound on CPU bandwidth."""

ZEN_4_LINK_GBPS = 60.0
"""The same of Zen 4 and Zen 5 (measured: 46 to 63 on one chiplet, 225 to 250 on four). fit-2026-11."""

UNKNOWN_GPU_BANDWIDTH_GBPS = 250.0
"""A GPU of which nothing is known. judgement, with the widest range."""

RANGES = {
    "hybrid": (0.63, 1.30),
    "unified": (0.70, 1.35),
    "gpu": (0.62, 1.55),
    "cpu": (0.70, 1.60),
    "igpu experts": (0.60, 1.40),
    "remote": (0.40, 1.60),
    "unknown bandwidth": (0.40, 1.60),
}
"""Measured over predicted, 90 %. fit-2026-11 by class of placement; `remote` and `unknown bandwidth`: judgement."""

DISCRETE_RESERVE_BYTES = 1024**3
"""Left free on a discrete GPU: driver context, desktop, growth after the load. llama.cpp's own --fit-target default."""

HOST_RESERVE_BYTES = 2 * 1024**3
"""Left free of the host's memory. judgement; on top of what runs already, which MemAvailable leaves out."""
