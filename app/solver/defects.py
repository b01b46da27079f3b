"""Known defects of engines and drivers: what they make slower, by how much, and who found that.

A defect is no physics: it is not fitted, has a source in `presets/devices/defects.toml`, and goes away with a release.
It multiplies costs, so that a prediction with one stays a sum of costs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from app.solver.model import ModelShape
from app.solver.plan import Parameters, Placement
from app.solver.scene import Cost, Scene
from detectors.facts import Device


@dataclass(frozen=True, slots=True)
class Defect:
    """One known defect, as the preset describes it."""

    id: str
    factor: float
    """What it multiplies times by."""
    parts: tuple[str, ...]
    """Parts of the costs that it multiplies; empty: all."""
    what: str
    """One sentence for a person."""
    fix: str
    """What helps; empty: nothing is known."""
    source: str
    until: str = ""
    """Date of the builds that no longer have it, ISO; empty: none is known."""


@dataclass(frozen=True, slots=True)
class _Case:
    """What is asked: everything that a defect may depend on."""

    scene: Scene
    placement: Placement
    parameters: Parameters

    @property
    def gpus(self) -> tuple[Device, ...]:
        """The GPUs that hold something."""
        used = (self.scene.machine.device(device) for device in self.placement.devices)
        return tuple(device for device in used if device.kind != "cpu")

    def on_gpus(self, *vendors: str) -> bool:
        """Whether a GPU of one of these makers holds something."""
        return any(device.vendor.upper().startswith(vendors) for device in self.gpus)

    def backend(self, *names: str) -> bool:
        """Whether the engine computes with one of these."""
        return self.scene.engine.backend in names


def defects_of(scene: Scene, placement: Placement, parameters: Parameters) -> tuple[Defect, ...]:
    """The known defects that this would run into."""
    if not scene.engine.backend and not scene.engine.built and scene.shape.architecture not in _BY_MODEL:
        return ()
    case = _Case(scene, placement, parameters)
    built = scene.engine.built
    return tuple(
        defect
        for defect in scene.coefficients.defects
        if defect.id in _APPLIES and (not defect.until or built < defect.until) and _APPLIES[defect.id](case)
    )


def defect_notes(scene: Scene, placement: Placement, parameters: Parameters) -> tuple[str, ...]:
    """One sentence for each known defect that the plan runs into: what it costs, what helps, who found it."""
    return tuple(
        f"Reckoned with a known defect: {defect.what} ({' and '.join(defect.parts) or 'everything'} takes"
        f" {defect.factor:g} times as long)."
        + (f" What helps: {defect.fix}." if defect.fix else "")
        + f" Source: {defect.source}."
        for defect in defects_of(scene, placement, parameters)
    )


def with_defects(costs: list[Cost], scene: Scene, placement: Placement, parameters: Parameters) -> list[Cost]:
    """The costs, with those multiplied that known defects make dearer."""
    for defect in defects_of(scene, placement, parameters):
        costs = [
            cost._replace(quantity=cost.quantity * defect.factor)
            if (not defect.parts or cost.part in defect.parts) and _is_hit(defect, cost, scene)
            else cost
            for cost in costs
        ]
    return costs


def _is_hit(defect: Defect, cost: Cost, scene: Scene) -> bool:
    """Defects of experts are of those on a GPU; the others are of whatever they name."""
    return cost.part != "experts" or not defect.parts or scene.machine.device(cost.device).kind != "cpu"


def _bits_per_expert_weight(shape: ModelShape) -> float:
    weights = sum(layer.expert_weights for layer in shape.layers)
    return shape.expert_bytes * 8 / weights if weights else 0.0


def _bf16_experts_on_vulkan(case: _Case) -> bool:
    return case.backend("vulkan") and case.on_gpus("AMD") and _bits_per_expert_weight(case.scene.shape) > 15.5


def _sycl_mxfp4(case: _Case) -> bool:
    shape = case.scene.shape
    mxfp4 = shape.architecture == "gpt-oss" or "MXFP4" in shape.quantization.upper()
    return case.backend("sycl") and shape.is_moe and mxfp4


def _new_architecture(case: _Case) -> bool:
    return case.scene.shape.architecture == "deepseek4"


def _new_architecture_on_vulkan(case: _Case) -> bool:
    return _new_architecture(case) and case.backend("vulkan") and case.scene.engine.driver != "radv-performance"


def _intel_vulkan_driver(case: _Case) -> bool:
    driver = case.scene.engine.driver
    version = tuple(int(part) for part in driver.removeprefix("mesa ").split(".")[:2] if part.isdigit())
    return case.backend("vulkan") and case.on_gpus("INTEL") and driver.startswith("mesa ") and version < (26, 2)


def _cpu_flash_attention(case: _Case) -> bool:
    mainline = case.scene.engine.runtime == "llama.cpp" and bool(case.scene.engine.built)
    return mainline and case.parameters.flash_attention and "cpu" in case.placement.attention


def _vulkan_beside_laptop_igpu(case: _Case) -> bool:
    laptop = any("laptop" in device.name.lower() for device in case.gpus)
    return case.backend("vulkan") and laptop and "cpu" in case.placement.experts


def _rocwmma(case: _Case) -> bool:
    return case.scene.engine.driver == "rocwmma" and case.parameters.flash_attention


def _radeon_on_raspberry_pi(case: _Case) -> bool:
    cpu = case.scene.machine.cpu
    words = cpu.model.lower() if cpu is not None else ""
    return case.on_gpus("AMD") and ("cortex-a76" in words or "raspberry pi" in words)


_APPLIES: Mapping[str, Callable[[_Case], bool]] = {
    "bf16-experts-vulkan": _bf16_experts_on_vulkan,
    "sycl-mxfp4": _sycl_mxfp4,
    "deepseek4-first-weeks": _new_architecture,
    "deepseek4-vulkan": _new_architecture_on_vulkan,
    "intel-vulkan-mesa": _intel_vulkan_driver,
    "cpu-flash-attention": _cpu_flash_attention,
    "vulkan-laptop-hybrid": _vulkan_beside_laptop_igpu,
    "rocwmma-decode": _rocwmma,
    "radeon-raspberry-pi": _radeon_on_raspberry_pi,
}
_BY_MODEL = frozenset({"deepseek4"})
"""Architectures with a defect of their own, whatever the engine."""
