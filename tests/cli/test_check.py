"""`moetune check` and `capture`: another machine judged from its capture, the exit codes, the script of fixes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from app.cli import main
from app.errors import ExitCode
from tests.fixtures.synthetic.machines import write

Out = pytest.CaptureFixture[str]


def capture_of(name: str, folder: Path) -> str:
    """A synthetic machine as a folder that `--host` opens."""
    return str(write(name, folder / name))


def check(*words: str, capsys: Out) -> tuple[int, str]:
    code = main(["check", *words])
    return code, capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "code"),
    [("debian13-strixhalo-w7900-p2p", ExitCode.OK), ("fedora43-strixhalo-conflict", None)],
)
def test_the_exit_code_is_that_of_the_worst_finding(
    name: str, code: ExitCode | None, tmp_path: Path, home: Path, capsys: Out
) -> None:
    found, text = check("--host", capture_of(name, tmp_path), "--json", capsys=capsys)
    severities = {finding["severity"] for finding in json.loads(text)["findings"]}
    expected = 2 if "blocks" in severities else 1 if "costs" in severities else 0
    assert found == expected
    assert code is None or found == code


def test_it_is_readable_at_80_columns(tmp_path: Path, home: Path, capsys: Out, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    _, text = check("--host", capture_of("fedora43-strixhalo-conflict", tmp_path), capsys=capsys)
    assert "pages_limit=" in text
    commands = ("fix", "undo", "verify", "       ")
    for line in text.splitlines():
        words = line.strip()
        assert len(line) <= 80 or line[12:].startswith(commands) or " " not in words, line
    assert "\x1b[" not in text


def test_the_most_costly_finding_comes_first(tmp_path: Path, home: Path, capsys: Out) -> None:
    _, text = check("--host", capture_of("fedora43-strixhalo-conflict", tmp_path), "--json", capsys=capsys)
    order = ["blocks", "costs", "note", "unknown", "good"]
    ranks = [order.index(finding["severity"]) for finding in json.loads(text)["findings"]]
    assert ranks == sorted(ranks)


def test_judged_for_a_model_only_what_matters_to_its_plan(tmp_path: Path, home: Path, capsys: Out) -> None:
    halo = capture_of("ubuntu2404-strixhalo", tmp_path)
    _, large = check("--host", halo, "--for", "gpt-oss-120b", "-c", "96K", "--json", capsys=capsys)
    _, small = check("--host", halo, "--for", "demo", "--json", capsys=capsys)
    severity = [
        {finding["id"]: finding["severity"] for finding in json.loads(text)["findings"]} for text in (large, small)
    ]
    gtt = [{name: one for name, one in found.items() if name.startswith("amd.gtt")} for found in severity]
    assert set(gtt[0].values()) & {"blocks", "costs"}, gtt[0]
    assert not set(gtt[1].values()) & {"blocks", "costs"}, gtt[1]


def test_fix_writes_a_script_to_review_and_changes_nothing(tmp_path: Path, home: Path, capsys: Out) -> None:
    script = tmp_path / "fix.sh"
    check("--host", capture_of("ubuntu2404-strixhalo", tmp_path), "--fix", str(script), capsys=capsys)
    text = script.read_text()
    assert text.startswith("#!/bin/sh")
    assert "pages_limit" in text
    assert subprocess.run(["sh", "-n", str(script)], check=False).returncode == 0
    assert main(["check", "--no-engines", "--fix", str(script)]) == ExitCode.USAGE, "an existing script is kept"
    assert script.read_text() == text


@pytest.mark.parametrize("name", ["live.tar.gz", "live"])
def test_a_capture_of_this_machine_is_this_machine(name: str, tmp_path: Path, home: Path, capsys: Out) -> None:
    assert main(["capture", str(tmp_path / name)]) == ExitCode.OK
    capsys.readouterr()
    _, here = check("--no-engines", "--json", capsys=capsys)
    _, there = check("--host", str(tmp_path / name), "--json", capsys=capsys)
    one, other = (json.loads(text)["machine"] for text in (here, there))
    for fact in ("model", "isa", "physical_cores", "logical_cpus", "hypervisor"):
        assert one["cpu"][fact] == other["cpu"][fact]
    for fact in ("release", "distribution", "container"):
        assert one["kernel"][fact] == other["kernel"][fact]
    assert [pool["total_bytes"] for pool in one["pools"]] == [pool["total_bytes"] for pool in other["pools"]]


def test_a_plan_for_another_machine_needs_neither_its_gpus_nor_the_model(
    tmp_path: Path, home: Path, capsys: Out
) -> None:
    halo = capture_of("debian13-strixhalo-w7900-p2p", tmp_path)
    assert main(["plan", "gpt-oss-120b", "--host", halo, "-c", "96K", "--json"]) == ExitCode.OK
    planned = json.loads(capsys.readouterr().out)
    argv = planned["command"]["argv"]
    assert argv[argv.index("-dev") + 1] == "ROCm0,ROCm1"
    assert argv[argv.index("-ts") + 1] == "1,0"
    assert argv[argv.index("-ot") + 1].endswith("=ROCm1")
    assert not planned["launchable"]


def test_a_model_that_is_not_downloaded_is_not_run(home: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "app", "run", "gpt-oss-20b", "--engine", "embedded"],
        capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=60,
    )  # fmt: skip
    assert done.returncode == ExitCode.USAGE
    assert "not downloaded" in done.stderr


def test_a_build_is_planned_for_another_machine_but_not_made_here(tmp_path: Path, home: Path, capsys: Out) -> None:
    halo = capture_of("debian13-strixhalo-w7900-p2p", tmp_path)
    assert main(["runtime", "build", "--dry-run", "--backend", "hip", "--host", halo]) == ExitCode.OK
    text = capsys.readouterr().out
    assert "GGML_HIP_ROCWMMA_FATTN=ON" in text
    assert "gfx1100;gfx1151" in text
    assert main(["runtime", "build", "--host", halo]) == ExitCode.USAGE
