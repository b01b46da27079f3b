"""Whatever is missing or odd: no check fails, nothing unknown is called good, and findings stay complete."""

from __future__ import annotations

import random
from dataclasses import fields, is_dataclass, replace
from typing import Any, get_args, get_type_hints

import pytest

from app.readiness import SEVERITIES, fix_script, judge
from detectors.facts import Device, Machine
from detectors.registry import detect
from tests.fixtures.synthetic.machines import MACHINES, host
from tests.readiness.machines import APU, CARD, CPU, GEFORCE, machine_with

WHOLE = machine_with(APU, CARD, GEFORCE, cpu=CPU)


@pytest.fixture(scope="module")
def machines(tmp_path_factory: pytest.TempPathFactory) -> list[Machine]:
    return [WHOLE, *(detect(host(name, tmp_path_factory.mktemp("host")), timeout_s=60) for name in MACHINES)]


def _optional(value: Any) -> list[str]:  # noqa: ANN401  # any of the facts' dataclasses
    hints = get_type_hints(type(value))
    return [field.name for field in fields(value) if type(None) in get_args(hints[field.name])]


def _without(value: Any) -> list[Any]:  # noqa: ANN401  # as above
    """The value with each of its optional facts taken away, one at a time, at every depth."""
    versions = [replace(value, **{name: None}) for name in _optional(value) if getattr(value, name) is not None]
    for field in fields(value):
        inner = getattr(value, field.name)
        if is_dataclass(inner):
            versions += [replace(value, **{field.name: changed}) for changed in _without(inner)]
        elif isinstance(inner, tuple) and inner and is_dataclass(inner[0]):
            for index, item in enumerate(inner):
                versions += [
                    replace(value, **{field.name: (*inner[:index], changed, *inner[index + 1 :])})
                    for changed in _without(item)
                ]
    return versions


def _good(machine: Machine) -> set[tuple[str, str]]:
    return {(finding.id, finding.title) for finding in judge(machine) if finding.severity == "good"}


def _surroundings(machine: Machine) -> tuple[object, ...]:
    """Facts by absence: without them this is bare metal, and that is judged on its own."""
    kernel, cpu = machine.kernel, machine.cpu
    return (
        kernel and kernel.virtual_machine,
        kernel and kernel.container,
        kernel and kernel.wsl,
        cpu and cpu.hypervisor,
    )


def test_a_fact_taken_away_makes_nothing_good(machines: list[Machine]) -> None:
    for machine in machines:
        good = {identity for identity, _ in _good(machine)}
        for less in _without(machine):
            if _surroundings(less) != _surroundings(machine):
                continue
            new = {identity for identity, _ in _good(less)} - good
            assert not new


def test_nothing_known_is_nothing_good() -> None:
    bare = Machine("bare", devices=tuple(
        Device(f"gpu:{i}", kind, "x", vendor, "ram")  # type: ignore[arg-type]
        for i, (kind, vendor) in enumerate([("igpu", "AMD"), ("dgpu", "AMD"), ("dgpu", "NVIDIA"), ("dgpu", "Intel")])
    ))  # fmt: skip
    found = judge(bare)
    assert "good" not in {finding.severity for finding in found}
    assert {"amd.gtt", "pcie.width", "pcie.rebar", "nv.power", "env.kernel"} <= {
        finding.id for finding in found if finding.severity == "unknown"
    }


def test_odd_values_make_no_check_fail(machines: list[Machine]) -> None:
    rng = random.Random(7)
    odd_numbers = (0, 1, -1, 1 << 70, 10**30)
    odd_texts = ("", "\0", "é" * 300, "-", "9" * 5000, "$(x)")

    def odd(value: Any) -> Any:  # noqa: ANN401  # any fact
        if is_dataclass(value) and not isinstance(value, type):
            return replace(value, **{f.name: odd(getattr(value, f.name)) for f in fields(value)})
        if isinstance(value, tuple):
            return tuple(odd(item) for item in value)
        if isinstance(value, dict):
            return {key: odd(item) for key, item in value.items()}
        if rng.random() > 0.15 or value is None or isinstance(value, bool):
            return value
        if isinstance(value, int | float):
            return type(value)(rng.choice(odd_numbers))
        return rng.choice(odd_texts) if isinstance(value, str) and rng.random() < 0.5 else value

    for machine in machines:
        for _ in range(60):
            changed = odd(machine)
            if changed.kernel is not None and changed.kernel.page_bytes < 1:
                changed = replace(changed, kernel=replace(changed.kernel, page_bytes=4096))
            findings = judge(changed)
            fix_script(findings, changed)


def test_every_finding_is_complete(machines: list[Machine]) -> None:
    seen = set()
    for machine in machines:
        for version in (machine, *_without(machine)):
            for finding in judge(version):
                seen.add(finding.severity)
                assert finding.severity in SEVERITIES
                assert all((finding.id, finding.title, finding.evidence, finding.reason)), finding
                assert 0 <= finding.cost_share <= 1, finding
                if finding.severity == "costs":
                    assert finding.fix is not None, finding
                if finding.fix is not None:
                    assert all((finding.fix.text, finding.fix.undo, finding.fix.verify)), finding
    assert {"costs", "note", "unknown", "good"} <= seen
