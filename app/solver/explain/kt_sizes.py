"""The derivation of KTransformers' bytes: all experts on the host, the rest and some experts on the GPU."""

from __future__ import annotations

from app.solver import memory
from app.solver.explain.derivation import Derivation, sized
from app.solver.explain.scenes import method_of
from app.solver.kt_memory import GRAPH_BATCH, expert_on_gpu, resident_weights
from app.solver.plan import DeviceMemory, Plan
from app.solver.scene import Scene
from app.units import bytes_text


def kt_weights(scene: Scene, plan: Plan, held: DeviceMemory) -> Derivation:
    """Weights of one device."""
    kt, method, shape = plan.parameters.kt, method_of(plan), scene.shape
    assert kt is not None
    assert method is not None
    name = f"weights on {scene.machine.label(held.device_id)}"
    if held.device_id == memory.HOST:
        equation = f"all experts {bytes_text(shape.expert_bytes)}"
        reasons = [
            f"{method.bytes_per_weight:g} bytes a weight ({method.name})",
            "experts that are on the GPU are here as well",
        ]
        return sized(name, held.weight_bytes, equation, held.basis, reasons)
    each = expert_on_gpu(shape, method)
    parts = f"layers, table and head {bytes_text(resident_weights(shape))}"
    parts += f" + {kt.resident_experts} x {bytes_text(each)} of experts"
    shared = f"({parts}) / {kt.tensor_parallel} GPUs" if kt.tensor_parallel > 1 else parts
    reasons = [
        f"one expert of every layer is {bytes_text(each)}, at {method.gpu_bytes_per_weight:g} bytes a weight",
        "the GPU computes with the checkpoint's own type",
    ]
    return sized(name, held.weight_bytes, shared, held.basis, reasons)


def kt_compute(scene: Scene, plan: Plan, held: DeviceMemory) -> Derivation:
    """Buffers of one device."""
    kt, shape = plan.parameters.kt, scene.shape
    assert kt is not None
    name = f"compute on {scene.machine.label(held.device_id)}"
    if held.device_id == memory.HOST:
        rows = kt.chunked_prefill * shape.expert_used + 32 * shape.expert_count
        share = shape.expert_ff // kt.pools
        width, used = shape.d_model, shape.expert_used
        equation = f"{kt.pools} pools x ({rows} rows x (5 x {width} + 9 x {share})"
        equation += f" + 4 x {used} x {kt.chunked_prefill} x ({width} + {share})) bytes"
        reasons = [f"rows: {kt.chunked_prefill} tokens of a chunk x {used} experts + 32 x {shape.expert_count}"]
        return sized(name, held.compute_bytes, equation, held.basis, reasons)
    chunk = max(kt.chunked_prefill, 2048)
    equation = f"(512 + 1.5 x {chunk} + 2 x {GRAPH_BATCH} + 128 x {kt.tensor_parallel}) MiB"
    if kt.gpu_prefill_tokens:
        equation += " + a layer of experts"
    reasons = ["what SGLang leaves for activations and CUDA graphs, by its own rule"]
    return sized(name, held.compute_bytes, equation, held.basis, reasons)
