"""What one step of decoding costs: reading weights and cache where they are, and crossing between devices.

One token reads the attention weights and its KV cache on the attention device, the touched share of the experts where
they live, crosses between the two once per such layer, and reads the output head. Devices work one after the other.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from app.solver import constants as k
from app.solver.compute import gpu_family, gpu_tflops
from app.solver.defects import with_defects
from app.solver.layer_sums import LayerSums, Run, heads_of, runs_of
from app.solver.memory import KV_TYPE_BYTES
from app.solver.model import LayerShape, ModelShape
from app.solver.network import crossing_wait_ms, network_gbps, there_and_back_ms
from app.solver.plan import Parameters, Placement
from app.solver.scene import Cost, Scene
from detectors.facts import Basis, Cpu, Device, Machine

_KV_COEFFICIENTS = {"hip": "kv_hip", "vulkan": "kv_vulkan", "amdvlk": "kv_amdvlk"}
"""Of an f16 cache, by whose kernels attend to it; CUDA, SYCL and Metal have `kv`."""


def is_host_cpu(device: Device) -> bool:
    """Whether the host's own cores do its work: the CPU, or an RPC server on this host that reads the same memory."""
    return device.kind == "cpu" or (device.kind == "remote" and device.pool_id == "ram")


def is_gpu(device: Device) -> bool:
    """Whether a GPU does its work: its own, or one that an RPC server tells to have."""
    return device.kind in ("igpu", "dgpu") or (device.kind == "remote" and device.arch is not None)


def read_bandwidth(device: Device) -> tuple[float, Basis]:
    """Peak bandwidth in GB/s that the model reckons with, and how it is known."""
    if device.bandwidth_gbps:
        return device.bandwidth_gbps, device.bandwidth_basis
    guess = k.UNKNOWN_CPU_BANDWIDTH_GBPS if device.kind in ("cpu", "remote") else k.UNKNOWN_GPU_BANDWIDTH_GBPS
    return guess, "estimated"


def weight_coefficient(device: Device, cpu: Cpu | None, *, experts: bool = False) -> str:
    """Which constant weights read by that device cost."""
    if is_gpu(device):
        if experts:
            return "gpu_experts"
        return "gpu_weights" if device.kind == "dgpu" else "igpu_weights"
    # The factor of two sockets is of their sum; a guess stands for what one of them reads.
    summed = device.kind == "cpu" and device.bandwidth_gbps is not None
    two_sockets = summed and cpu is not None and (cpu.sockets or 1) > 1
    return "cpu_sockets" if two_sockets else "cpu_weights"


@dataclass(slots=True)
class _Step:
    """What is asked of every device: the question, and how far each sequence is."""

    scene: Scene
    placement: Placement
    parameters: Parameters
    context: int
    batch: int

    @property
    def window(self) -> int:
        """Tokens that a sliding window sees."""
        return min(self.context, self.scene.shape.window)


def decode_costs(
    scene: Scene, placement: Placement, parameters: Parameters, *, context: int, batch: int = 1
) -> list[Cost]:
    """Every cost of one step: a token for each of `batch` sequences, each `context` tokens deep.

    Args:
        scene: model, machine, constants, engine.
        placement: what is where.
        parameters: KV type, threads, flash attention.
        context: tokens in the cache of each sequence.
        batch: sequences decoded together.
    """
    step = _Step(scene, placement, parameters, context, batch)
    runs = list(runs_of(scene.shape, placement))
    costs: list[Cost] = []
    for device_id, sums in _by_attention(runs).items():
        device = scene.machine.device(device_id)
        costs.extend(_reading(step, "attention", device, sums.resident_bytes, batch * sums.resident_giga))
        costs.extend(_remembering(step, device, sums))
        costs.extend(_fixed(step, device, sums))
    head = scene.machine.device(placement.head)
    giga = batch * scene.shape.vocabulary * scene.shape.d_model / 1e9
    costs.extend(_reading(step, "head", head, scene.shape.head_bytes, giga))
    costs.extend(_experts(step, runs))
    costs = [cost for cost in costs if cost.quantity > 0]
    return with_defects(costs, scene, placement, parameters)


def kv_read_bytes(layer: LayerShape, shape: ModelShape, parameters: Parameters, context: int) -> float:
    """Cache bytes that one token reads in one layer at that depth."""
    if layer.kind == "none":
        return 0.0
    if layer.kind == "recurrent":
        return 2.0 * layer.state_bytes
    depth = min(context, shape.window) if layer.kind == "swa" and shape.window else context
    keys, values = KV_TYPE_BYTES[parameters.kv_type_k], KV_TYPE_BYTES[parameters.kv_type_v]
    indexed = context * layer.index_length * keys
    return depth * layer.kv_heads * (layer.key_length * keys + layer.value_length * values) + indexed


def touched_share(shape: ModelShape, batch: int) -> float:
    """Share of a layer's routed experts that `batch` tokens read: 1 - (1 - used / experts)^batch."""
    if not shape.expert_count:
        return 1.0
    return 1.0 - (1.0 - shape.expert_used / shape.expert_count) ** batch


def thread_speed(parameters: Parameters, scene: Scene) -> float:
    """How fast all threads multiply, in threads of llama.cpp's own kernels."""
    threads = parameters.kt.cpu_threads if parameters.kt is not None else parameters.threads
    tuned = scene.engine.runtime == "ik_llama.cpp" or parameters.no_host or parameters.kt is not None
    return max(1, threads) * (k.TUNED_KERNEL_SPEED if tuned else 1.0)


def _weights(step: _Step, device: Device, *, experts: bool = False) -> str:
    """The constant of weights read there, by everything that is known of the step."""
    if experts and device.kind == "cpu" and step.parameters.kt is not None:
        return "kt_weights"
    coefficient = weight_coefficient(device, step.scene.machine.cpu, experts=experts)
    if coefficient == "cpu_sockets" and step.parameters.numa:
        return "cpu_numa"
    if coefficient == "cpu_weights" and device.bandwidth_gbps and _is_laptop(step.scene.machine):
        return "cpu_laptop"
    return coefficient


def _is_laptop(machine: Machine) -> bool:
    """Whether one of its GPUs is a laptop's."""
    return any(device.kind == "dgpu" and device.name.endswith(k.LAPTOP) for device in machine.devices)


def _by_attention(runs: list[Run]) -> dict[str, LayerSums]:
    found: dict[str, LayerSums] = {}
    for run in runs:
        known = found.get(run.attention)
        found[run.attention] = run.sums if known is None else known + run.sums
    return found


def _reading(step: _Step, part: str, device: Device, size: float, giga: float, *, experts: bool = False) -> list[Cost]:
    """Reading `size` weight bytes, or multiplying `giga` billions of them where that takes longer."""
    read = Cost(part, device.id, _weights(step, device, experts=experts), size / read_bandwidth(device)[0] / 1e6)
    if is_gpu(device):
        multiplied = Cost(part, device.id, "gpu_flops", 2.0 * giga / gpu_tflops(device)[0])
    elif is_host_cpu(device):
        speed = thread_speed(step.parameters, step.scene)
        multiplied = Cost(part, device.id, "cpu_flops", 2e3 * giga / speed)
    else:
        return [read]
    of = step.scene.coefficients
    return [max(read, multiplied, key=lambda cost: cost.quantity * of[cost.coefficient])]


def _remembering(step: _Step, device: Device, sums: LayerSums) -> list[Cost]:
    """Reading the cache and attending to it, reading and writing recurrent states."""
    parameters, batch = step.parameters, step.batch
    keys, values = KV_TYPE_BYTES[parameters.kv_type_k], KV_TYPE_BYTES[parameters.kv_type_v]
    rereads = _rereads(step, device)
    cached = step.context * (sums.keys * keys + sums.values * values)
    cached += step.window * (sums.window_keys * keys + sums.window_values * values)
    peak = read_bandwidth(device)[0] * 1e6
    state = Cost("kv", device.id, _weights(step, device), 2 * batch * sums.state_bytes / peak)
    heads = 2.0 * batch * step.scene.shape.heads / 1e9
    if is_gpu(device):
        read = Cost("kv", device.id, _kv_coefficient(step, device, sums), rereads * batch * cached / peak)
        flops = heads * step.context * sums.latent_row
        return [read, Cost("kv", device.id, "kv_latent", flops / gpu_tflops(device)[0]), state]
    read = Cost("kv", device.id, state.coefficient, batch * cached / peak)
    flops = heads * (step.context * sums.row + step.window * sums.window_row)
    return [read, Cost("kv", device.id, "cpu_attention", 1e3 * flops / _attention_threads(step)), state]


def _attention_threads(step: _Step) -> float:
    """Threads that attend to the cache, in those of a processor of 2022 with AVX-512 (Zen 4)."""
    return max(1, step.parameters.threads) * core_speed(step.scene.machine.cpu)


def core_speed(cpu: Cpu | None) -> float:
    """How fast a core computes, over one of Zen 4."""
    if cpu is None or "avx512f" not in cpu.isa:
        return k.AVX2_CORE_SPEED
    return 1.0 if "AMD" in cpu.vendor.upper() else k.XEON_CORE_SPEED


def _rereads(step: _Step, device: Device) -> float:
    """How often CUDA's and HIP's kernels read a cache that several query heads share.

    One pass serves eight of the heads that share a KV head, or the largest power of two up to eight that divides
    their number (llama.cpp, `fattn.cu`: `gqa_ratio`); keys longer than 128 are padded to eight.
    """
    kv_heads, key_length, latent = heads_of(step.scene.shape)
    if step.parameters.kt is not None or not kv_heads or latent:
        return 1.0
    if not step.parameters.flash_attention or step.parameters.kv_type_k not in ("f32", "f16", "bf16"):
        return 1.0
    if gpu_family(device, step.scene.engine) not in ("cuda", "hip"):
        return 1.0
    group = max(1, round(step.scene.shape.heads / kv_heads))
    if key_length > k.PADDED_KEY_LENGTH:
        return float(-(-group // 8))
    return group / next(part for part in (8, 4, 2, 1) if group % part == 0)


def _kv_coefficient(step: _Step, device: Device, sums: LayerSums) -> str:
    if not step.parameters.flash_attention:
        return "kv_plain"
    if sums.latent_layers:
        return "kv"
    if step.parameters.kv_type_k not in ("f32", "f16", "bf16"):
        return "kv_quantized"
    if step.scene.engine.backend in ("sycl", "metal"):
        return "kv"
    return _KV_COEFFICIENTS.get(gpu_family(device, step.scene.engine), "kv")


def _experts(step: _Step, runs: list[Run]) -> list[Cost]:
    shape, placement = step.scene.shape, step.placement
    share = touched_share(shape, step.batch)
    owned: defaultdict[tuple[str, str], list[float]] = defaultdict(lambda: [0.0, 0.0, 0.0])
    for run in runs:
        if run.sums.expert_layers:
            found = owned[run.experts, run.attention]
            found[0] += run.sums.expert_layers
            found[1] += run.sums.expert_bytes
            found[2] += run.sums.expert_giga
    used = step.batch * shape.expert_used / shape.expert_count if shape.expert_count else 1.0
    resident = placement.resident_experts / shape.expert_count if shape.expert_count else 0.0
    costs: list[Cost] = []
    for (owner_id, attention_id), (layers, size, giga) in owned.items():
        owner = step.scene.machine.device(owner_id)
        here = 1.0 - resident if owner_id != attention_id else 1.0
        costs.extend(_reading(step, "experts", owner, size * share * here, giga * used * here, experts=True))
        if is_gpu(owner):
            unpacked = giga * share * k.UNPACKED_BYTES_PER_WEIGHT * 1e3 / read_bandwidth(owner)[0]
            costs.append(Cost("experts", owner_id, "gpu_unpacking", unpacked))
        if owner_id == "cpu" and k.TRELLIS.search(shape.quantization):
            costs.append(Cost("experts", owner_id, "cpu_trellis", 2e3 * giga * used / max(1, step.parameters.threads)))
        if owner_id == attention_id:
            continue
        if placement.host_norms and owner.kind == "cpu":
            costs.append(
                Cost("layers", owner_id, "cpu_layer", k.HOST_NORMS_SHARE * layers * step.parameters.threads / 32)
            )
        attention = step.scene.machine.device(attention_id)
        if resident:
            kept = 1.0 - here
            costs.extend(_reading(step, "experts", attention, size * share * kept, giga * used * kept, experts=True))
        costs.extend(_crossings(step, owner, attention, layers))
    return costs


def _crossings(step: _Step, owner: Device, attention: Device, layers: float) -> list[Cost]:
    """The way of `layers` layers to another device and back."""
    if step.parameters.kt is not None:
        return [Cost("crossing", owner.id, "kt_crossing", layers)]
    threads = step.parameters.threads if "cpu" in (owner.kind, attention.kind) else 0
    remote = sum(device.kind == "remote" for device in (owner, attention))
    machine = step.scene.machine
    moved = 2 * step.batch * step.scene.shape.d_model * 4 / network_gbps(machine, owner, attention)[0] / 1e6
    return [
        Cost("crossing", owner.id, "crossing", layers),
        Cost("crossing", owner.id, "crossing_width", layers * step.scene.shape.d_model / 4096),
        Cost("crossing", owner.id, "crossing_threads", layers * threads / 32),
        Cost("crossing", owner.id, "crossing_host", layers * passes_host(machine, owner, attention)),
        Cost("crossing", owner.id, "rpc_call", layers * remote),
        Cost("crossing", owner.id, "rpc_bytes", layers * moved if remote else 0.0),
        Cost("crossing", owner.id, "rpc_wait", layers * crossing_wait_ms(machine, owner, attention)),
    ]


def passes_host(machine: Machine, one: Device, other: Device) -> bool:
    """Whether what two AMD GPUs send each other is copied by way of the host's memory: no peer-to-peer between them."""
    link = machine.link(one.id, other.id)
    cards = is_gpu(one) and is_gpu(other) and "AMD" in one.vendor.upper() and "AMD" in other.vendor.upper()
    return cards and link is not None and link.peer_to_peer is False


def _fixed(step: _Step, device: Device, sums: LayerSums) -> list[Cost]:
    """What layers cost whatever their size."""
    if device.kind == "cpu":
        cpu = step.scene.machine.cpu
        virtual = sums.layers if cpu is not None and cpu.hypervisor and step.parameters.threads > 1 else 0
        return [
            Cost("layers", device.id, "cpu_layer", sums.layers * step.parameters.threads / 32),
            Cost("layers", device.id, "cpu_virtual", virtual),
        ]
    costs = []
    if device.kind == "remote":
        costs.append(Cost("RPC", device.id, "rpc_call", k.RPC_CALLS_PER_TOKEN))
        waits_ms = there_and_back_ms(step.scene.machine, device)  # once: the logits or the next device's input
        costs.append(Cost("RPC", device.id, "rpc_wait", waits_ms or 0.0))
        costs.append(Cost("RPC", device.id, "rpc_node", 0 if is_host_cpu(device) or waits_ms is not None else 1))
    if not is_gpu(device):
        return costs
    share = _graph_share(step, device)
    costs.append(Cost("layers", device.id, "gpu_layer", share * sums.attention_layers))
    costs.append(Cost("layers", device.id, "gpu_recurrent_layer", share * sums.recurrent_layers))
    costs.append(Cost("layers", device.id, "gpu_latent_layer", sums.latent_layers))
    costs.append(Cost("layers", device.id, "gpu_expert_layer", share * sums.expert_layers))
    return costs


def _graph_share(step: _Step, device: Device) -> float:
    """What launches take there over those of most GPUs.

    NVIDIA's cards since Ada run a whole token as one graph of short kernels, where nothing is on the CPU; Metal encodes
    every kernel anew.
    """
    arch = device.arch or ""
    if arch == "apple":
        return k.METAL_SHARE
    recent = device.kind == "dgpu" and arch.startswith("sm_") and arch[3:].isdigit() and int(arch[3:]) >= k.GRAPH_SM
    return k.GRAPH_SHARE if recent and "cpu" not in step.placement.devices else 1.0
