"""What a measurement holds under: engine build, drivers, power state. With another of them it is another machine."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields

from app.jsonform import plain
from app.runtimes.base import Engine
from detectors.facts import Machine

_WORDS = {
    "engine": "the engine",
    "drivers": "the GPU driver",
    "governor": "the CPU governor",
    "preference": "the CPU's energy preference",
    "profile": "the platform profile",
    "on_battery": "the power supply",
}


@dataclass(frozen=True, slots=True)
class Conditions:
    """What must be the same for a measurement to hold."""

    engine: str
    """Runtime, build and backends."""
    drivers: str = ""
    """Modules of GPU drivers with their versions; the kernel's own have the kernel's."""
    governor: str | None = None
    preference: str | None = None
    """Energy-performance preference."""
    profile: str | None = None
    """The firmware's platform profile."""
    on_battery: bool | None = None

    @property
    def text(self) -> str:
        """In a few words, for a person: `llama_server 0.5.0 (CPU, RPC), performance governor, on battery`."""
        parts = [self.engine, self.drivers]
        parts += [
            f"{self.governor} governor" if self.governor else "",
            f"EPP {self.preference}" * bool(self.preference),
        ]
        parts += [f"profile {self.profile}" * bool(self.profile), "on battery" * bool(self.on_battery)]
        return ", ".join(part for part in parts if part)


def conditions_of(machine: Machine, engine: Engine) -> Conditions:
    """The conditions that hold."""
    power = machine.cpu.power if machine.cpu else None
    modules = machine.kernel.modules if machine.kernel else ()
    release = machine.kernel.release if machine.kernel else ""
    gpus = any(device.kind in ("igpu", "dgpu") for device in machine.devices)
    drivers = [
        f"{module.name} {module.version or f'of {release}'}" for module in modules if gpus and module.name != "ttm"
    ]
    return Conditions(
        engine=f"{engine.runtime} {engine.version} ({', '.join(engine.backends)})",
        drivers=", ".join(drivers),
        governor=power.governor if power else None,
        preference=power.preference if power else None,
        profile=power.profile if power else None,
        on_battery=power.on_battery if power else None,
    )


def differences(then: Conditions, at_present: Conditions) -> tuple[str, ...]:
    """What has changed, one sentence part each; empty where measurements still hold."""
    found = []
    for item in fields(Conditions):
        before, after = getattr(then, item.name), getattr(at_present, item.name)
        if before != after:
            found.append(f"{_WORDS[item.name]} was {_said(before)} and is {_said(after)}")
    return tuple(found)


def _said(value: object) -> str:
    if isinstance(value, bool):
        return "a battery" if value else "mains"
    return str(value) if value else "not known"


def to_json(conditions: Conditions) -> str:
    """For the database."""
    return json.dumps(plain(conditions), sort_keys=True)


def from_json(text: str) -> Conditions | None:
    """What `to_json` wrote; `None` where it cannot be read."""
    try:
        data = json.loads(text)
        return Conditions(**{item.name: data[item.name] for item in fields(Conditions) if item.name in data})
    except (ValueError, TypeError):
        return None
