"""At which rate a cost goes: a quantity is a time at a rated speed, or a count of things that each take a time."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from app.solver.coefficients import Coefficient
from app.solver.compute import copy_gbps, gpu_tflops, host_tflops, link_gbps, rated_tflops
from app.solver.decode import read_bandwidth
from app.solver.network import network_gbps
from app.solver.plan import Parameters, Placement
from app.solver.scene import Cost, Scene
from detectors.facts import Basis

ADDED = 0.5
"""A constant below this is no rate, as nothing is so much faster than rated: it is a time that comes on top."""


@dataclass(frozen=True, slots=True)
class Setting:
    """What costs are of."""

    scene: Scene
    placement: Placement
    parameters: Parameters

    def label(self, device_id: str) -> str:
        """What a device is called."""
        return self.scene.machine.label(device_id)


@dataclass(frozen=True, slots=True)
class Rate:
    """How a cost comes about, in words and in what it is reckoned with."""

    text: str
    """`1607 MB from RX 7900 XTX at 701 GB/s (73 % of 960)`."""
    basis: Basis
    """Of the rated speed; of a mere count, as good as counted."""
    amount: str = ""
    """What is read, copied or multiplied: `1607 MB`; empty for a count."""
    rated: str = ""
    """The rated speed and how it is known: `960 GB/s, the memory of RX 7900 (from a table)`; empty for a count."""
    quantity: str = ""
    """The quantity with its numbers in place: `1607 MB / 960 GB/s`, `24 layers x 2880 / 4096`."""


def decimal_bytes(size: float) -> str:
    """`1607 MB`, `23.4 GB`: decimal, as bandwidths are."""
    units = (("GB", 1e9, 1e10), ("MB", 1e6, 1e6), ("kB", 1e3, 1e3), ("B", 1.0, 0.0))
    unit, scale = next((name, scale) for name, scale, least in units if size >= 0.9995 * least)
    value = size / scale
    return f"{value:.0f} {unit}" if value >= 999.5 or scale == 1 else f"{value:.3g} {unit}"


def counted(count: float, thing: str) -> str:
    """`1 layer`, `36 layers`."""
    return f"{count:.3g} {thing}{'s' if count != 1 else ''}"


def time_text(ms: float) -> str:
    """`85 µs`, `2.4 ms`."""
    return f"{ms * 1000:.3g} µs" if ms < 1 else f"{ms:.3g} ms"


def rate_of(setting: Setting, cost: Cost) -> Rate:
    """How that cost comes about, by the unit of its constant."""
    constant = setting.scene.coefficients.values[cost.coefficient]
    reader = _BY_UNIT.get(constant.unit)
    if reader is not None:
        return reader(setting, cost, constant)
    if constant.unit.startswith("layers"):
        return _layers(setting, cost, constant)
    quantity = f"{cost.quantity:.3g} {constant.unit}"
    return Rate(f"{quantity}, {time_text(constant.value)} each: {constant.why}", constant.basis, "", "", quantity)


def _share(rate: float, constant: Coefficient) -> str:
    return f"{rate / constant.value:.3g}" if rate / constant.value < 1000 else f"{rate / constant.value:.0f}"


def _percent(constant: Coefficient) -> str:
    return f"{100 / constant.value:.0f} %"


def _at(amount: str, speed: float, unit: str, whose: str, basis: Basis, constant: Coefficient, source: str) -> Rate:
    """An amount at a rated speed, of which the constant says how much is reached."""
    text = f"{amount} {source} at {_share(speed, constant)} {unit} ({_percent(constant)} of {speed:.3g})"
    if constant.value < ADDED:
        text = f"{100 * constant.value:.0f} % of the time of {amount} at {speed:.3g} {unit}: {constant.why}"
    return Rate(
        text,
        basis,
        amount,
        f"{speed:.4g} {unit}, {whose} ({known(basis)})",
        f"{amount} / {speed:.4g} {unit}",
    )


def _read(setting: Setting, cost: Cost, constant: Coefficient) -> Rate:
    device = setting.scene.machine.device(cost.device)
    gbps, basis = read_bandwidth(device)
    amount = decimal_bytes(cost.quantity * gbps * 1e6)
    return _at(
        amount,
        gbps,
        "GB/s",
        f"the memory of {setting.label(cost.device)}",
        basis,
        constant,
        f"from {setting.label(cost.device)}",
    )


def _copied(setting: Setting, cost: Cost, constant: Coefficient) -> Rate:
    """Weights from the host's memory to a GPU, or activations between two devices."""
    machine = setting.scene.machine
    if cost.part == "crossing":
        pairs = zip(setting.placement.experts, setting.placement.attention, strict=True)
        other = next((attention for owner, attention in pairs if owner == cost.device != attention), "cpu")
        gbps, basis = link_gbps(machine, cost.device, other)
    else:
        basis = link_gbps(machine, "cpu", cost.device)[1]
        gbps = copy_gbps(machine, "cpu", cost.device, setting.parameters)
    amount = decimal_bytes(cost.quantity * gbps * 1e6)
    return _at(
        amount,
        gbps,
        "GB/s",
        f"the link of {setting.label(cost.device)}",
        basis,
        constant,
        "over the link",
    )


def _networked(setting: Setting, cost: Cost, constant: Coefficient) -> Rate:
    machine, ends = setting.scene.machine, [setting.scene.machine.device(cost.device)]
    if cost.part == "crossing":
        pairs = zip(setting.placement.experts, setting.placement.attention, strict=True)
        other = next((attention for owner, attention in pairs if owner == cost.device != attention), "cpu")
        ends.append(machine.device(other))
    gbps, basis = network_gbps(machine, *ends)
    amount = decimal_bytes(cost.quantity * gbps * 1e6)
    return _at(amount, gbps, "GB/s", "the network", basis, constant, "over the network")


def _waited(setting: Setting, cost: Cost, constant: Coefficient) -> Rate:
    quantity = f"{time_text(cost.quantity)} of network latency"
    return Rate(f"{quantity}: {constant.why}", "measured", "", "", quantity)


def _multiplied(setting: Setting, cost: Cost, constant: Coefficient) -> Rate:
    device = setting.scene.machine.device(cost.device)
    tflops, basis = rated_tflops(setting.scene, setting.parameters, device, cost.part)
    amount = f"{cost.quantity * tflops:.3g} GFLOP"
    plain = math.isclose(tflops, gpu_tflops(device)[0])
    whose = (
        f"FP16 of {setting.label(cost.device)}" if plain else f"{setting.label(cost.device)} with products of this kind"
    )
    return _at(amount, tflops, "TFLOPS", whose, basis, constant, f"on {setting.label(cost.device)}")


def _threads(setting: Setting, cost: Cost, constant: Coefficient) -> Rate:
    tflops = host_tflops(setting.scene, setting.parameters, experts=cost.part == "experts")
    amount = f"{cost.quantity * tflops:.3g} GFLOP"
    return _at(amount, tflops, "TFLOPS", "the threads together", "table", constant, "by the CPU's threads")


def _per_thread(setting: Setting, cost: Cost, constant: Coefficient) -> Rate:
    amount = f"{cost.quantity:.3g} MFLOP for each thread"
    return Rate(f"{amount} at {1 / constant.value:.3g} GFLOPS", constant.basis, amount, "", amount)


def _calls(setting: Setting, cost: Cost, constant: Coefficient) -> Rate:
    return _counted(cost.quantity, "call", "", cost, constant)


def _layers(setting: Setting, cost: Cost, constant: Coefficient) -> Rate:
    """A quantity of layers, or of layers times something."""
    if constant.unit == "layers x d_model / 4096":
        width = setting.scene.shape.d_model
        return _counted(cost.quantity * 4096 / width, "layer", f" x {width} / 4096", cost, constant)
    if constant.unit == "layers x threads / 32":
        threads = setting.parameters.threads
        return _counted(cost.quantity * 32 / threads, "layer", f" x {threads} threads / 32", cost, constant)
    return _counted(cost.quantity, "layer", "", cost, constant)


def _counted(count: float, thing: str, times: str, cost: Cost, constant: Coefficient) -> Rate:
    """So many things at so much each; of a prompt, the share of them that falls to one token."""
    each = cost.quantity * constant.value / count
    amount = counted(count, thing)
    text = f"{amount}, {time_text(each)} each: {constant.why}"
    return Rate(text, constant.basis, "", "", f"{amount}{times}")


def known(basis: Basis) -> str:
    """How a figure is known, as a person says it."""
    return {
        "measured": "measured",
        "calibrated": "calibrated here",
        "driver": "from the driver",
        "table": "from a table",
        "estimated": "estimated",
    }[basis]


_BY_UNIT: Mapping[str, Callable[[Setting, Cost, Coefficient], Rate]] = {
    "ms at peak bandwidth": _read,
    "ms at the link's bandwidth": _copied,
    "ms at link bandwidth": _networked,
    "ms of network latency": _waited,
    "ms at rated FP16": _multiplied,
    "GFLOP / TFLOPS of the threads": _threads,
    "MFLOP / threads": _per_thread,
    "calls": _calls,
}
