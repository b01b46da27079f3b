"""Quantities of the speed model that are no fitted constants, each with where it comes from.

What multiplies time (`Coefficient`) is in presets/devices/speed*.toml. `lab`: measured on loopback with two RPC
servers, or on two vCPUs of an EPYC. `rows`: seen in published measurements. `judgement`: no measurement.
"""

from __future__ import annotations

import re

TUNED_KERNEL_SPEED = 2.5
"""What kernels for interleaved rows (ik_llama.cpp's, repacked weights, kt-kernel's) multiply on a core, over
llama.cpp's plain ones. rows: prompts on one Ryzen 9 7950X, 142 to 474 t/s; one token at a time it is less."""

AVX2_CORE_SPEED = 0.72
XEON_CORE_SPEED = 0.47
"""What one core attends to a cache, over a core of Zen 4 with AVX-512. rows: prompts and depth sweeps on Zen 2 to 4,
and on Xeons of 28 to 128 cores, whose clocks fall."""

TRELLIS = re.compile(r"IQ\d_KT", re.IGNORECASE)
"""Quantizations whose weights the CPU must compute before it multiplies them (ik_llama.cpp's trellis types)."""

LAPTOP = ("Laptop", "Mobile", "Max-Q")
"""How the names of laptops' graphics cards end."""

GRAPH_SM = 89
GRAPH_SHARE = 0.45
"""NVIDIA's cards from that compute capability on (Ada, Blackwell) and what their launches take over others', where no
layer goes to the CPU. rows: 0.03 to 0.06 ms a layer beside 0.07 to 0.17."""

CONVOLUTION_STATE_BYTES = 128 * 1024
"""A recurrent layer with less state than this is a short convolution (LFM2: 16 KiB), whose kernels are few."""

METAL_SHARE = 1.4
"""The same of Apple's GPUs. rows: 0.11 to 0.2 ms a layer on M3 Ultra, M4 Pro and M5 Max."""

HOST_NORMS_SHARE = 0.5
"""What norm and router of one layer on the CPU take of a whole layer's barriers there. rows: 42 with `-ot ffn=CPU`."""

PADDED_KEY_LENGTH = 128
"""Keys longer than this are padded to eight query heads in a pass. rows: ROCm on Strix Halo, 8 models to 64K tokens."""

UNPACKED_BYTES_PER_WEIGHT = 0.53
"""What unpacking one weight counts as, so that its constant is a share of reading: a weight of 4.25 bits."""

BITS_PER_RESIDENT_WEIGHT = 8.5
"""Q8_0, the usual type of what is not an expert: turns bytes into multiply-adds."""

RPC_CALLS_PER_TOKEN = 3
"""Calls for the inputs, the graph and the logits when an RPC device does the attention. lab: 1.1 ms a token."""

RPC_BANDWIDTH_GBPS = 1.1
"""What an RPC connection moves where nobody measured: 10 Gbit/s Ethernet less its overhead. judgement."""

RPC_FETCHES_AHEAD = 2
"""Tensors fetched from the attention's host for each layer of experts elsewhere: the row, and which experts. lab: 4
layers at 10.6 ms there and back took 99 ms more, 42 ms where the experts' output alone was fetched."""

UNKNOWN_CPU_BANDWIDTH_GBPS = 24.0
"""A socket whose memory speed is not known. rows: hosts that nobody describes are desktops that read 20 to 40 GB/s."""

MEASURED_SHARE = 0.8
"""What a read test of one's own shows of what an engine gets. rows: stated figures are 0.7 to 1.2 of it, by tool."""

MEASURED_WEIGHT = 0.75
"""How much a measured figure counts beside what modules and chiplets say, geometrically. rows: of 0, 0.25, 0.5 and 0.75
it predicts machines best that were left out."""

ZEN_2_FAMILY, ZEN_4_FAMILY, ZEN_5_FAMILY = 23, 25, 26
"""AMD's processor families as CPUID numbers them; 25 is Zen 3 and Zen 4, told apart by the model."""

ZEN_3_LINK_GBPS = 47.0
"""What one chiplet of Zen 2 and Zen 3 reads over its link. rows: their bound on CPU bandwidth."""

ZEN_4_LINK_GBPS = 60.0
"""The same of Zen 4 and Zen 5 (measured: 46 to 63 on one chiplet, 225 to 250 on four)."""

AM5_GBPS = 70.0
"""What the fabric of a Ryzen 7000 or 9000 lets through, however fast its modules. rows and tests of memory: 60 on
a 7950X, 62 on a 9950X, 56 to 60 with four modules, beside 83 to 96 of the modules."""

UNKNOWN_GPU_BANDWIDTH_GBPS = 250.0
"""A GPU of which nothing is known. judgement, with the widest range."""

DISCRETE_RESERVE_BYTES = 1024**3
"""Left free on a discrete GPU: driver context, desktop, growth after the load. llama.cpp's own --fit-target default."""

HOST_RESERVE_BYTES = 2 * 1024**3
"""Left free of the host's memory. judgement; on top of what runs already, which MemAvailable leaves out."""
