"""At which rate a cost goes: a quantity is a time at a rated speed, or a count of things that each take a time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from app.solver.coefficients import Coefficient
from app.solver.compute import gpu_tflops, link_gbps
from app.solver.decode import read_bandwidth
from app.solver.scene import Cost, Scene
from detectors.facts import Basis, Device


@dataclass(frozen=True, slots=True)
class Rate:
    """How a cost comes about, in words and in what it is reckoned with."""

    text: str
    """`1607 MB from RX 7900 XTX at 701 GB/s (73 % of 960)`."""
    basis: Basis
    """Of the rated speed; of a mere count, as good as counted."""
    amount: str = ""
    """What the quantity is: `1607 MB`, `36 layers`."""
    rated: str = ""
    """The rated speed and how it is known: `960 GB/s of RX 7900 XTX (driver)`; empty for a count."""


def decimal_bytes(size: float) -> str:
    """`1607 MB`, `23.4 GB`: decimal, as bandwidths are."""
    for scale, unit in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if size >= scale * (10 if unit == "GB" else 1):
            return f"{size / scale:.3g} {unit}" if unit != "MB" else f"{size / scale:.0f} MB"
    return f"{size:.0f} B"


def time_text(ms: float) -> str:
    """`85 µs`, `2.4 ms`."""
    return f"{ms * 1000:.3g} µs" if ms < 1 else f"{ms:.3g} ms"


def rate_of(scene: Scene, cost: Cost, constant: Coefficient) -> Rate:
    """How that cost comes about, by the unit of its constant."""
    reader = _BY_UNIT.get(constant.unit)
    if reader is not None:
        return reader(scene, cost, constant)
    if constant.unit.startswith("layers"):
        return _counted(_layers(scene, cost, constant), "layer", cost, constant)
    amount = f"{cost.quantity:.3g} {constant.unit}"
    return Rate(f"{amount} at {time_text(constant.value)}: {constant.why}", constant.basis, amount)


def _share(rate: float, constant: Coefficient) -> str:
    return f"{rate / constant.value:.3g}" if rate / constant.value < 1000 else f"{rate / constant.value:.0f}"


def _percent(constant: Coefficient) -> str:
    return f"{100 / constant.value:.0f} %"


def _read(scene: Scene, cost: Cost, constant: Coefficient) -> Rate:
    device = scene.machine.device(cost.device)
    gbps, basis = read_bandwidth(device)
    amount = decimal_bytes(cost.quantity * gbps * 1e6)
    return Rate(
        f"{amount} from {device.label} at {_share(gbps, constant)} GB/s ({_percent(constant)} of {gbps:.0f})",
        basis,
        amount,
        f"{gbps:.4g} GB/s, the memory of {device.label} ({known(basis)})",
    )


def _copied(scene: Scene, cost: Cost, constant: Coefficient) -> Rate:
    device = scene.machine.device(cost.device)
    gbps, basis = link_gbps(scene.machine, "cpu", cost.device)
    amount = decimal_bytes(cost.quantity * gbps * 1e6)
    return Rate(
        f"{amount} over the link at {_share(gbps, constant)} GB/s ({_percent(constant)} of {gbps:.3g})",
        basis,
        amount,
        f"{gbps:.4g} GB/s, the link of {device.label} ({known(basis)})",
    )


def _multiplied(scene: Scene, cost: Cost, constant: Coefficient) -> Rate:
    device: Device = scene.machine.device(cost.device)
    tflops, basis = gpu_tflops(device)
    amount = f"{cost.quantity * tflops:.3g} GFLOP"
    return Rate(
        f"{amount} on {device.label} at {_share(tflops, constant)} TFLOPS ({_percent(constant)} of {tflops:.4g})",
        basis,
        amount,
        f"{tflops:.4g} TFLOPS FP16 of {device.label} ({known(basis)})",
    )


def _threads(scene: Scene, cost: Cost, constant: Coefficient) -> Rate:
    amount = f"{cost.quantity:.3g} ms of multiplying at the rated speed of the threads"
    return Rate(f"{amount}, reached to {_percent(constant)}", "table", amount)


def _per_thread(scene: Scene, cost: Cost, constant: Coefficient) -> Rate:
    amount = f"{cost.quantity:.3g} GFLOP for each thread"
    return Rate(f"{amount} at {1 / constant.value:.3g} GFLOPS", constant.basis, amount)


def _calls(scene: Scene, cost: Cost, constant: Coefficient) -> Rate:
    return _counted(round(cost.quantity), "call", cost, constant)


def _counted(count: int, thing: str, cost: Cost, constant: Coefficient) -> Rate:
    each = cost.quantity * constant.value / max(1, count)
    amount = f"{count} {thing}{'s' if count != 1 else ''}"
    return Rate(f"{amount}, {time_text(each)} each: {constant.why}", constant.basis, amount)


def _layers(scene: Scene, cost: Cost, constant: Coefficient) -> int:
    """How many layers a quantity of layers, or of layers times something, stands for."""
    if constant.unit == "layers x d_model / 4096":
        return round(cost.quantity * 4096 / scene.shape.d_model)
    if constant.unit == "layers":
        return round(cost.quantity)
    return len(scene.shape.layers)


def known(basis: Basis) -> str:
    """How a figure is known, as a person says it."""
    return {
        "measured": "measured",
        "calibrated": "calibrated here",
        "driver": "from the driver",
        "table": "from a table",
        "estimated": "estimated",
    }[basis]


_BY_UNIT: Mapping[str, Callable[[Scene, Cost, Coefficient], Rate]] = {
    "ms at peak bandwidth": _read,
    "ms at the link's bandwidth": _copied,
    "ms at rated FP16": _multiplied,
    "GFLOP / rated TFLOPS of the threads": _threads,
    "GFLOP / threads": _per_thread,
    "calls": _calls,
}
