"""What is found wrong and right with each synthetic machine, as it is written down in its `expected.toml`."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.readiness import SEVERITIES, fix_script, judge
from detectors.facts import Machine
from detectors.registry import detect
from tests.fixtures.synthetic.expected import expectations
from tests.fixtures.synthetic.machines import MACHINES, host

LIMIT_S = 60


@pytest.fixture
def machine(request: pytest.FixtureRequest, tmp_path: Path) -> Machine:
    return detect(host(request.param, tmp_path), LIMIT_S)


@pytest.mark.parametrize(("machine", "name"), [(name, name) for name in MACHINES], indirect=["machine"])
def test_the_findings_are_those_that_are_written_down(machine: Machine, name: str) -> None:
    found = judge(machine)
    by_severity = {severity: [f.id for f in found if f.severity == severity] for severity in SEVERITIES}
    assert {severity: ids for severity, ids in by_severity.items() if ids} == expectations(name)["findings"]


def _texts(machine: Machine) -> str:
    return "\n".join(finding.fix.text for finding in judge(machine) if finding.fix is not None)


@pytest.mark.parametrize(
    ("machine", "parts"),
    [
        ("ubuntu2404-strixhalo", ["ttm.pages_limit=29360128", "/etc/default/grub.d/99-ttm.cfg", "sudo update-grub"]),
        ("ubuntu2404-strixhalo-dkms", ["amdttm.pages_limit=29360128", "ttm[.]pages[-_]limit=", "99-amdttm.cfg"]),
        ("fedora43-strixhalo-conflict", ['--remove-args="amdgpu.gttsize"', "pages_limit=29360128/g", "sudo dracut"]),
        ("ubuntu2404-xeon6430vm-rtx4090", ["qm set VMID --cpu host"]),
        ("ubuntu2204-xeon6430-kernel515", ["linux-generic-hwe-22.04\n"]),
        ("debian12-container-memorymax", ["docker update --memory"]),
        ("dgxos7-gb10", ["vm.nr_hugepages=0"]),
        ("cachyos-ryzen9900x-arcb580", ["usermod -aG render,video"]),
        ("proxmox9-epyc9554-nps4", ["kernel.numa_balancing=0"]),
    ],
    indirect=["machine"],
)
def test_the_fixes_are_those_of_the_system(machine: Machine, parts: list[str]) -> None:
    text = _texts(machine)
    assert [part for part in parts if part not in text] == []


@pytest.mark.parametrize("machine", MACHINES, indirect=True)
def test_no_way_back_has_an_empty_line(machine: Machine) -> None:
    undone = [finding.fix.undo for finding in judge(machine) if finding.fix is not None]
    assert [text for text in undone if "" in text.split("\n")] == []


@pytest.mark.parametrize("machine", MACHINES, indirect=True)
def test_each_has_a_script_that_a_shell_can_read(machine: Machine, tmp_path: Path) -> None:
    import subprocess

    path = tmp_path / "fix.sh"
    path.write_text(fix_script(judge(machine), machine))
    subprocess.run(["sh", "-n", str(path)], check=True)
    told = subprocess.run(["sh", str(path)], capture_output=True, text=True, check=True)
    assert "Nothing was done" in told.stdout
