"""The derivation of bytes: weights by class, the cache by kind of layer, buffers by phase, and what is left alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from app.solver import memory
from app.solver.explain.derivation import Derivation, sized
from app.solver.explain.kt_sizes import kt_compute, kt_weights
from app.solver.explain.pools import PoolUse, pool_uses
from app.solver.explain.rates import counted
from app.solver.explain.terms import worst_basis
from app.solver.model import KvType, LayerShape
from app.solver.plan import DeviceMemory, Plan
from app.solver.scene import Scene
from app.units import bytes_text

CLASSES: tuple[tuple[str, Callable[[LayerShape], int]], ...] = (
    ("attention", lambda layer: layer.attention_bytes),
    ("norms", lambda layer: layer.norm_bytes),
    ("router", lambda layer: layer.router_bytes),
    ("shared experts", lambda layer: layer.shared_bytes),
    ("dense networks", lambda layer: layer.dense_bytes),
)
"""What a layer holds besides its routed experts."""


_KINDS = {"full": "layer", "swa": "sliding-window layer", "recurrent": "recurrent layer", "none": "layer"}

TOLD = 0.01
"""A figure of the engine that differs by more than this from the formula is told apart from it."""


def memory_derivations(scene: Scene, plan: Plan) -> tuple[Derivation, ...]:
    """`memory`, `weights`, `kv`, `compute` and `reserve`, each with its devices or pools as parts."""
    used = pool_uses(scene.machine, plan.memory)
    weights, compute = (_weights, _compute) if plan.parameters.kt is None else (kt_weights, kt_compute)
    return (
        _total("memory", (_pool(scene, plan, one) for one in used)),
        _total("weights", (weights(scene, plan, one) for one in plan.memory if one.weight_bytes)),
        _total("kv", (_cache(scene, plan, one) for one in plan.memory if one.kv_bytes)),
        _total("compute", (compute(scene, plan, one) for one in plan.memory if one.compute_bytes)),
        _total("reserve", (_reserve(one) for one in used)),
    )


def _total(name: str, parts: Iterable[Derivation]) -> Derivation:
    listed = tuple(parts)
    size = round(sum(part.value or 0 for part in listed))
    equation = " + ".join(part.result for part in listed) + f" = {bytes_text(size)}" if len(listed) > 1 else ""
    bases = [part.basis for part in listed if part.basis is not None]
    basis = worst_basis(*bases) if bases else None
    return Derivation(name, float(size), "bytes", bytes_text(size), equation, basis, (), listed)


def _pool(scene: Scene, plan: Plan, use: PoolUse) -> Derivation:
    names = " and ".join(scene.machine.label(one) for one in use.devices)
    parts = [
        ("weights", use.weight_bytes),
        ("KV cache", use.kv_bytes),
        ("compute buffers", use.compute_bytes),
        (own_use(plan, use), use.other_bytes),
    ]
    equation = " + ".join(f"{name} {bytes_text(size)}" for name, size in parts if size)
    taken = use.used_by_others_bytes
    others = "how much others use is not known" if taken is None else f"others use {bytes_text(taken)} now"
    reasons = [
        f"{bytes_text(use.total_bytes)} in all, used by {names}; {others}",
        f"{bytes_text(use.reserve_bytes)} is left free on purpose, {bytes_text(use.spare_bytes)} could still be used",
    ]
    if use.basis == "measured":
        reasons.append("the engine itself was asked for these figures")
    return sized(f"memory of {use.label}", use.plan_bytes, equation, use.basis, reasons)


def own_use(plan: Plan, use: PoolUse) -> str:
    """What the engine takes besides: in RAM its prompt cache or its process, on a GPU the driver's context."""
    if memory.HOST not in use.devices:
        return "driver context"
    return "prompt cache" if plan.parameters.kt is None else "process"


def _weights(scene: Scene, plan: Plan, held: DeviceMemory) -> Derivation:
    shape, placement = scene.shape, plan.placement
    attending = [shape.layers[i] for i in placement.attention_layers(held.device_id)]
    owned = [shape.layers[i] for i in placement.expert_layers(held.device_id) if shape.layers[i].expert_bytes]
    parts = [(name, sum(size(layer) for layer in attending)) for name, size in CLASSES]
    parts.append((f"routed experts of {counted(len(owned), 'layer')}", sum(layer.expert_bytes for layer in owned)))
    if placement.head == held.device_id:
        parts.append(("output head", memory.head_bytes(shape, held.device_id)))
    if held.device_id == memory.HOST:
        parts.append(("embedding table", shape.embedding_bytes))
        parts.append(("tables of rows", shape.lookup_bytes))
    equation = " + ".join(f"{name} {bytes_text(size)}" for name, size in parts if size)
    reasons = ["every figure is of the tensors themselves: shape times type"]
    return sized(f"weights on {scene.machine.label(held.device_id)}", held.weight_bytes, equation, None, reasons)


def _cache(scene: Scene, plan: Plan, held: DeviceMemory) -> Derivation:
    shape, parameters = scene.shape, plan.parameters
    # KTransformers' GPUs share every layer; only the first is in the placement.
    owner = held.device_id if parameters.kt is None else plan.placement.head
    layers = [shape.layers[i] for i in plan.placement.attention_layers(owner)]
    cells = memory.padded(parameters.context // parameters.parallel)
    type_k, type_v = parameters.kv_type_k, parameters.kv_type_v
    alike: dict[tuple[str, int], list[LayerShape]] = {}
    for layer in layers:
        alike.setdefault((layer.kind, memory.layer_kv_bytes(layer, shape.window, parameters)), []).append(layer)
    equation, reasons = [], []
    for (kind, size), group in alike.items():
        if size:
            equation.append(f"{counted(len(group), _KINDS[kind])} x {bytes_text(size)}")
            reasons.append(_row(group[0], kind, shape.window, cells, plan))
    formula = sum(size * len(group) for (_, size), group in alike.items())
    if abs(formula / held.kv_bytes - 1) > TOLD:
        reasons.append(f"that would be {bytes_text(formula)}; the engine itself said {bytes_text(held.kv_bytes)}")
    values = any(layer.value_length for layer in layers)
    value = f", {_bytes_of(type_v)} as value ({type_v})" if values else ""
    reasons.append(f"a cached element takes {_bytes_of(type_k)} as key ({type_k}){value}")
    if parameters.context // parameters.parallel != cells:
        reasons.append(f"{parameters.context // parameters.parallel} tokens are padded to {cells}, in steps of 256")
    name = f"kv on {scene.machine.label(held.device_id)}"
    return sized(name, held.kv_bytes, " + ".join(equation), held.basis, reasons)


def _row(layer: LayerShape, kind: str, window: int, cells: int, plan: Plan) -> str:
    """What one layer keeps."""
    parallel = plan.parameters.parallel
    sequences = f" x {parallel} sequences" if parallel > 1 else ""
    if kind == "recurrent":
        return f"a recurrent layer keeps {bytes_text(layer.state_bytes)} whatever the context{sequences}"
    if kind == "swa" and window:
        cells = memory.padded(min(cells, window + plan.parameters.ubatch))
        of = f"{cells} cells (window {window} + ubatch {plan.parameters.ubatch}, padded)"
    else:
        of = f"{cells} cells"
    value = f" + {layer.value_length} value" if layer.value_length else ""
    index = f" + {layer.index_length} of an index" if layer.index_length else ""
    heads = f"{counted(layer.kv_heads, 'head')} x ({layer.key_length} key{value})"
    return f"a {'sliding-window ' if kind == 'swa' else ''}layer: {of}{sequences} x {heads}{index}"


def _bytes_of(kv_type: KvType) -> str:
    return f"{memory.KV_TYPE_BYTES[kv_type]:.4g} bytes"


def _compute(scene: Scene, plan: Plan, held: DeviceMemory) -> Derivation:
    placement, device_id = plan.placement, held.device_id
    sizes = memory.buffers(scene.shape, plan.parameters)
    reasons = []
    attends = device_id in placement.attention_devices
    owns = any(scene.shape.layers[i].expert_bytes for i in placement.expert_layers(device_id))
    if attends:
        reasons.append(_attention_buffer(scene, plan, sizes))
    if attends or device_id == memory.HOST:
        reasons.append(_mask_buffer(plan, sizes))
    if owns:
        reasons.append(_expert_buffer(scene, plan, sizes))
    if device_id == placement.head:
        logits = f"{scene.shape.vocabulary} logits for each sequence, one activation for each token"
        reasons.append(f"output {bytes_text(sizes.output)}: {logits}")
    if device_id == memory.HOST:
        reasons.append(f"one activation for each token {bytes_text(sizes.row)}: the host keeps two of the input")
    elif _copies(scene, plan, device_id):
        reasons.append(f"staging {bytes_text(sizes.staging)}: one tensor of experts that is copied here to multiply")
    asked = held.basis == "measured"
    equation = "what the engine said" if asked else "the largest phase, as the engine reuses the memory of the others"
    name = f"compute on {scene.machine.label(device_id)}"
    return sized(name, held.compute_bytes, equation, held.basis, reasons)


def _copies(scene: Scene, plan: Plan, device_id: str) -> bool:
    """Whether that is the GPU which computes large batches of experts in host memory: the first that attends."""
    attending = (scene.machine.device(one) for one in plan.placement.attention_devices)
    gpus = [device.id for device in attending if device.kind in ("igpu", "dgpu")]
    return (
        gpus[:1] == [device_id]
        and memory.copies_experts(plan.parameters)
        and any(scene.shape.layers[i].expert_bytes for i in plan.placement.expert_layers(memory.HOST))
    )


def _attention_buffer(scene: Scene, plan: Plan, sizes: memory.Buffers) -> str:
    shape, tokens = scene.shape, _tokens(plan)
    key = max((layer.key_length for layer in shape.layers), default=0)
    return (
        f"attention {bytes_text(sizes.attention)}: the mask, and {tokens} tokens x (2 x {shape.heads} heads x {key}"
        f" + 2 x {shape.d_model}) x 4 bytes"
    )


def _mask_buffer(plan: Plan, sizes: memory.Buffers) -> str:
    cells = memory.padded(plan.parameters.context // plan.parameters.parallel)
    return f"mask {bytes_text(sizes.mask)}: {_tokens(plan)} tokens x {cells} cells x 2 bytes, and the window's"


def _expert_buffer(scene: Scene, plan: Plan, sizes: memory.Buffers) -> str:
    used, inner, width = scene.shape.expert_used, scene.shape.expert_ff, scene.shape.d_model
    return (
        f"experts {bytes_text(sizes.experts)}: {_tokens(plan)} tokens x ({used} experts x (2 x {inner} + {width})"
        f" + 2 x {width}) x 4 bytes"
    )


def _tokens(plan: Plan) -> int:
    return min(plan.parameters.ubatch, plan.parameters.context)


def _reserve(use: PoolUse) -> Derivation:
    reasons = ["for the driver, the desktop and growth after the load; --reserve changes it"]
    return sized(f"reserve on {use.label}", use.reserve_bytes, "", "estimated", reasons)
