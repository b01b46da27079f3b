"""How fast a placement decodes one sequence, and what the time is made of.

One token reads the attention weights and its KV cache on the attention device, the touched share of the experts where
they live, crosses between the two once per such layer, and reads the output head. The form and its constants are
described in `constants`.
"""

from __future__ import annotations

from collections.abc import Sequence

from app.solver import constants as k
from app.solver.memory import KV_TYPE_BYTES
from app.solver.model import LayerShape, ModelShape, Workload
from app.solver.plan import Parameters, Placement, Prediction, Term
from detectors.facts import Basis, Cpu, Device, Machine

_BASIS_ORDER: tuple[Basis, ...] = ("measured", "calibrated", "driver", "table", "estimated")


def worst_basis(*bases: Basis) -> Basis:
    """The weakest of several: a sum is known no better than its least known part."""
    return max(bases, key=_BASIS_ORDER.index)


def is_host_cpu(device: Device) -> bool:
    """Whether the host's own cores do its work: the CPU, or an RPC server on this host that reads the same memory."""
    return device.kind == "cpu" or (device.kind == "remote" and device.pool_id == "ram")


def read_bandwidth(device: Device) -> tuple[float, Basis]:
    """Peak bandwidth in GB/s that the model reckons with, and how it is known."""
    if device.bandwidth_gbps:
        return device.bandwidth_gbps, device.bandwidth_basis
    guess = k.UNKNOWN_CPU_BANDWIDTH_GBPS if device.kind in ("cpu", "remote") else k.UNKNOWN_GPU_BANDWIDTH_GBPS
    return guess, "estimated"


def weight_factor(device: Device, cpu: Cpu | None) -> float:
    """Time over bytes / bandwidth for weights read by that device."""
    if device.kind in ("cpu", "remote"):
        # The factor of two sockets is of their sum; a guess stands for what one of them reads.
        summed = device.kind == "cpu" and device.bandwidth_gbps is not None
        two_sockets = summed and cpu is not None and (cpu.sockets or 1) > 1
        return k.CPU_SOCKETS_FACTOR if two_sockets else k.CPU_WEIGHT_FACTOR
    return k.GPU_WEIGHT_FACTOR


def _reading_ms(size: float, device: Device, cpu: Cpu | None, *, parameters_g: float, threads: int) -> float:
    """Milliseconds to read `size` weight bytes, or to multiply them where that takes longer."""
    bandwidth, _ = read_bandwidth(device)
    by_bytes = size / bandwidth / 1e6 * weight_factor(device, cpu)
    if not is_host_cpu(device):
        return by_bytes
    share = k.VIRTUAL_CPU_SHARE if cpu is not None and cpu.hypervisor else 1.0
    return max(by_bytes, 2 * parameters_g / (threads * share * k.CPU_THREAD_GFLOPS) * 1e3)


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


def expert_layer_ms(
    shape: ModelShape, layer: LayerShape, owner: Device, attention: Device, cpu: Cpu | None, threads: int
) -> float:
    """What one layer's routed experts cost per token on `owner`, the crossing included."""
    reading = _experts_ms(shape, [layer], owner, cpu, threads)
    return reading + (crossing_ms(shape, owner, attention) if owner.id != attention.id else 0.0)


def _touched_bytes(shape: ModelShape, layers: Sequence[LayerShape]) -> float:
    """Bytes of routed experts that one token reads in those layers."""
    share = shape.expert_used / shape.expert_count if shape.expert_count else 1.0
    return sum(layer.expert_bytes for layer in layers) * share


def _experts_ms(shape: ModelShape, layers: Sequence[LayerShape], owner: Device, cpu: Cpu | None, threads: int) -> float:
    giga = len(layers) * shape.expert_used * 3 * shape.d_model * shape.expert_ff / 1e9
    return _reading_ms(_touched_bytes(shape, layers), owner, cpu, parameters_g=giga, threads=threads)


def crossing_ms(shape: ModelShape, owner: Device, attention: Device) -> float:
    """One layer's way to another device and back."""
    remote = sum(device.kind == "remote" for device in (owner, attention))
    moved = 2 * shape.d_model * 4 / k.RPC_BANDWIDTH_GBPS / 1e6 if remote else 0.0
    return k.CROSSING_MS + k.CROSSING_MS_PER_WIDTH * shape.d_model + remote * k.RPC_CALL_MS + moved


def placement_class(machine: Machine, placement: Placement, shape: ModelShape) -> str:
    """Which row of the range table a placement belongs to."""
    kinds = {machine.device(device).kind for device in placement.devices}
    used = [machine.device(device) for device in placement.devices]
    if any(read_bandwidth(device)[1] == "estimated" for device in used):
        return "remote" if "remote" in kinds else "unknown bandwidth"
    if "remote" in kinds:
        return "remote"
    if kinds == {"cpu"}:
        return "cpu"
    if kinds == {"igpu"}:
        return "unified"
    if "igpu" in kinds:
        return "igpu experts"
    return "hybrid" if "cpu" in kinds and shape.is_moe else "gpu"


def predict_decode(
    machine: Machine, shape: ModelShape, placement: Placement, parameters: Parameters, workload: Workload
) -> Prediction:
    """Tokens per second of one sequence in the middle of its answer, with the range and the breakdown."""
    attention = machine.device(placement.attention)
    threads = parameters.threads
    context = min(workload.context, workload.prompt_tokens + workload.output_tokens // 2)
    bandwidth, basis = read_bandwidth(attention)
    resident = sum(layer.resident_bytes for layer in shape.layers)
    terms = [
        _weights_term("attention", resident, attention, machine.cpu, threads),
        *_expert_terms(machine, shape, placement, attention, threads),
        _weights_term("output head", shape.head_bytes, attention, machine.cpu, threads),
    ]
    kv = sum(kv_read_bytes(layer, shape, parameters, context) for layer in shape.layers)
    factor = k.KV_FACTOR.get(parameters.kv_type_k, k.QUANTIZED_KV_FACTOR)
    if attention.kind in ("cpu", "remote"):
        factor = k.CPU_WEIGHT_FACTOR
    terms.append(
        Term(
            "KV cache", kv / bandwidth / 1e6 * factor, "ms",
            f"{kv / 1e6:.1f} MB of cache at {context} tokens, read by {attention.label}", basis,
        )
    )  # fmt: skip
    terms.extend(_fixed_terms(shape, placement, attention, machine, threads))
    kept = tuple(term for term in terms if term.value > 0)
    speed = 1000.0 / sum(term.value for term in kept)
    low, high = k.RANGES[placement_class(machine, placement, shape)]
    weakest = worst_basis(*(term.basis for term in kept))
    return Prediction(speed, speed * low, speed * high, weakest, context, kept)


def _weights_term(name: str, size: int, device: Device, cpu: Cpu | None, threads: int) -> Term:
    bandwidth, basis = read_bandwidth(device)
    giga = size * 8 / k.BITS_PER_RESIDENT_WEIGHT / 1e9
    value = _reading_ms(size, device, cpu, parameters_g=giga, threads=threads)
    why = (
        f"{size / 1e6:.0f} MB of weights read from {device.label} at {bandwidth / weight_factor(device, cpu):.0f} GB/s"
    )
    return Term(f"{name} on {device.label}", value, "ms", why, basis)


def _expert_terms(
    machine: Machine, shape: ModelShape, placement: Placement, attention: Device, threads: int
) -> list[Term]:
    terms = []
    for device_id in placement.devices:
        owner = machine.device(device_id)
        layers = [shape.layers[i] for i in placement.expert_layers(device_id) if shape.layers[i].expert_bytes]
        if not layers:
            continue
        value = _experts_ms(shape, layers, owner, machine.cpu, threads)
        touched_mb = _touched_bytes(shape, layers) / 1e6
        experts = f"{shape.expert_used} of {shape.expert_count} experts"
        why = f"{touched_mb:.0f} MB: {experts} in {len(layers)} layers, from {owner.label}"
        terms.append(Term(f"experts on {owner.label}", value, "ms", why, read_bandwidth(owner)[1]))
        if device_id != attention.id:
            crossing = crossing_ms(shape, owner, attention) * len(layers)
            reason = f"{len(layers)} layers go to {owner.label} and come back: copies and waits"
            terms.append(Term(f"crossing to {owner.label}", crossing, "ms", reason, "estimated"))
    return terms


def _fixed_terms(
    shape: ModelShape, placement: Placement, attention: Device, machine: Machine, threads: int
) -> list[Term]:
    layers = len(shape.layers)
    if attention.kind == "cpu":
        per_layer, why = k.CPU_LAYER_MS_PER_THREAD * threads, f"barriers of {threads} threads in {layers} layers"
    elif attention.kind == "remote":
        per_layer, why = 0.0, ""
    else:
        per_layer, why = k.GPU_LAYER_MS, f"kernel launches of {layers} layers"
    terms = [Term("layers", per_layer * layers, "ms", why, "table")]
    if attention.kind == "remote":
        terms.append(
            Term(
                "RPC",
                k.RPC_CALL_MS * k.RPC_CALLS_PER_TOKEN,
                "ms",
                "inputs, graph and logits of each token",
                "estimated",
            )
        )
    return terms
