"""What one step of decoding costs: reading weights and cache where they are, and crossing between devices.

One token reads the attention weights and its KV cache on the attention device, the touched share of the experts where
they live, crosses between the two once per such layer, and reads the output head.
"""

from __future__ import annotations

from collections.abc import Sequence

from app.solver import constants as k
from app.solver.memory import KV_TYPE_BYTES
from app.solver.model import LayerShape, ModelShape
from app.solver.plan import Parameters, Placement
from app.solver.scene import Cost, Scene
from detectors.facts import Basis, Cpu, Device


def is_host_cpu(device: Device) -> bool:
    """Whether the host's own cores do its work: the CPU, or an RPC server on this host that reads the same memory."""
    return device.kind == "cpu" or (device.kind == "remote" and device.pool_id == "ram")


def read_bandwidth(device: Device) -> tuple[float, Basis]:
    """Peak bandwidth in GB/s that the model reckons with, and how it is known."""
    if device.bandwidth_gbps:
        return device.bandwidth_gbps, device.bandwidth_basis
    guess = k.UNKNOWN_CPU_BANDWIDTH_GBPS if device.kind in ("cpu", "remote") else k.UNKNOWN_GPU_BANDWIDTH_GBPS
    return guess, "estimated"


def weight_coefficient(device: Device, cpu: Cpu | None) -> str:
    """Which constant weights read by that device cost."""
    if device.kind in ("cpu", "remote"):
        # The factor of two sockets is of their sum; a guess stands for what one of them reads.
        summed = device.kind == "cpu" and device.bandwidth_gbps is not None
        two_sockets = summed and cpu is not None and (cpu.sockets or 1) > 1
        return "cpu_sockets" if two_sockets else "cpu_weights"
    return "gpu_weights"


def decode_costs(
    scene: Scene, placement: Placement, parameters: Parameters, *, context: int, batch: int = 1
) -> list[Cost]:
    """Every cost of one step: a token for each of `batch` sequences, each `context` tokens deep.

    Args:
        scene: model, machine, constants.
        placement: what is where.
        parameters: KV type, threads.
        context: tokens in the cache of each sequence.
        batch: sequences decoded together.
    """
    shape = scene.shape
    costs: list[Cost] = []
    for device_id in placement.attention_devices:
        device = scene.machine.device(device_id)
        layers = [shape.layers[i] for i in placement.attention_layers(device_id)]
        resident = sum(layer.resident_bytes for layer in layers)
        costs.append(_reading(scene, "attention", device, resident, _giga(resident), parameters))
        kv = batch * sum(kv_read_bytes(layer, shape, parameters, context) for layer in layers)
        costs.append(Cost("kv", device_id, _kv_coefficient(device, parameters), kv / read_bandwidth(device)[0] / 1e6))
        costs.extend(_fixed(device, layers, parameters))
    head = scene.machine.device(placement.head)
    costs.append(_reading(scene, "head", head, shape.head_bytes, _giga(shape.head_bytes), parameters))
    costs.extend(_experts(scene, placement, parameters, batch))
    return [cost for cost in costs if cost.quantity > 0]


def kv_read_bytes(layer: LayerShape, shape: ModelShape, parameters: Parameters, context: int) -> float:
    """Cache bytes that one token reads in one layer at that depth."""
    if layer.kind == "none":
        return 0.0
    if layer.kind == "recurrent":
        return 2.0 * layer.state_bytes
    depth = min(context, shape.window) if layer.kind == "swa" and shape.window else context
    return (
        depth
        * layer.kv_heads
        * (
            layer.key_length * KV_TYPE_BYTES[parameters.kv_type_k]
            + layer.value_length * KV_TYPE_BYTES[parameters.kv_type_v]
        )
    )


def touched_share(shape: ModelShape, batch: int) -> float:
    """Share of a layer's routed experts that `batch` tokens read: 1 - (1 - used / experts)^batch."""
    if not shape.expert_count:
        return 1.0
    return 1.0 - (1.0 - shape.expert_used / shape.expert_count) ** batch


def _giga(size: float) -> float:
    """Billions of weights in that many bytes of what is not an expert."""
    return size * 8 / k.BITS_PER_RESIDENT_WEIGHT / 1e9


def _kv_coefficient(device: Device, parameters: Parameters) -> str:
    if device.kind in ("cpu", "remote"):
        return "cpu_weights"
    return "kv" if parameters.kv_type_k in ("f32", "f16", "bf16") else "kv_quantized"


def _reading(scene: Scene, part: str, device: Device, size: float, parameters_g: float, parameters: Parameters) -> Cost:
    """Reading `size` weight bytes, or multiplying them where that takes longer (few cores)."""
    coefficient = weight_coefficient(device, scene.machine.cpu)
    reading = Cost(part, device.id, coefficient, size / read_bandwidth(device)[0] / 1e6)
    if not is_host_cpu(device):
        return reading
    cpu = scene.machine.cpu
    share = k.VIRTUAL_CPU_SHARE if cpu is not None and cpu.hypervisor else 1.0
    multiplying = Cost(part, device.id, "cpu_flops", 2e3 * parameters_g / (parameters.threads * share))
    of = scene.coefficients
    return max(reading, multiplying, key=lambda cost: cost.quantity * of[cost.coefficient])


def _experts(scene: Scene, placement: Placement, parameters: Parameters, batch: int) -> list[Cost]:
    shape = scene.shape
    share = touched_share(shape, batch)
    costs = []
    for device_id in placement.devices:
        owned = [i for i in placement.expert_layers(device_id) if shape.layers[i].expert_bytes]
        if not owned:
            continue
        owner = scene.machine.device(device_id)
        layers = [shape.layers[i] for i in owned]
        giga = batch * len(layers) * shape.expert_used * 3 * shape.d_model * shape.expert_ff / 1e9
        touched = sum(layer.expert_bytes for layer in layers) * share
        costs.append(_reading(scene, "experts", owner, touched, giga, parameters))
        away = [i for i in owned if placement.attention[i] != device_id]
        if away:
            costs.extend(_crossings(scene, owner, scene.machine.device(placement.attention[away[0]]), len(away)))
    return costs


def _crossings(scene: Scene, owner: Device, attention: Device, layers: int) -> list[Cost]:
    """The way of `layers` layers to another device and back."""
    remote = sum(device.kind == "remote" for device in (owner, attention))
    moved = 2 * scene.shape.d_model * 4 / k.RPC_BANDWIDTH_GBPS / 1e6 if remote else 0.0
    return [
        Cost("crossing", owner.id, "crossing", layers),
        Cost("crossing", owner.id, "crossing_width", layers * scene.shape.d_model / 4096),
        Cost("crossing", owner.id, "rpc_call", layers * remote),
        Cost("crossing", owner.id, "rpc_bytes", layers * moved),
    ]


def _fixed(device: Device, layers: Sequence[LayerShape], parameters: Parameters) -> list[Cost]:
    """What layers cost whatever their size."""
    if device.kind == "cpu":
        return [Cost("layers", device.id, "cpu_layer", len(layers) * parameters.threads / 32)]
    if device.kind == "remote":
        return [Cost("RPC", device.id, "rpc_call", k.RPC_CALLS_PER_TOKEN)]
    return [Cost("layers", device.id, "gpu_layer", len(layers))]
