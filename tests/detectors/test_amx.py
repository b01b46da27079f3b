from __future__ import annotations

import platform
import subprocess
import sys
from pathlib import Path

import pytest

from detectors import cpu_probe
from detectors.amx import describe, probe
from detectors.cpuid import parse_rows
from detectors.host import Host

GRANITE = "7 0 2 0 0 3400000\n7 1 200000 0 0 100\n"  # tile, int8, bf16; fp16 in EAX bit 21, complex in EDX bit 8
SUPPORTED = {"xcomp_supported": 0x600E7}
NO_FLAGS: frozenset[str] = frozenset()


def test_fp16_and_complex_show_in_cpuid_alone() -> None:
    found = describe(parse_rows(GRANITE), {**SUPPORTED, "xcomp_request": 0}, frozenset({"amx_tile", "amx_int8"}))
    assert found is not None
    assert found.features == ("amx_tile", "amx_int8", "amx_bf16", "amx_fp16", "amx_complex")
    assert (found.kernel_supports, found.granted, found.why) == (True, True, "")


@pytest.mark.parametrize(
    ("answers", "supports", "granted", "why"),
    [
        ({}, None, None, "could not be asked"),
        ({"xcomp_error": 22}, False, False, "EINVAL, Invalid argument): AMX needs Linux 5.16"),
        ({"xcomp_supported": 0xE7, "xcomp_request": 95}, False, False, "does not save the tile registers"),
        ({**SUPPORTED, "xcomp_request": 1}, True, False, "refused the permission (EPERM, Operation not permitted)"),
        (SUPPORTED, True, None, "was not asked for"),
    ],
)
def test_each_answer_of_the_kernel_is_told_apart(
    answers: dict[str, int], supports: bool | None, granted: bool | None, why: str
) -> None:
    found = describe(parse_rows(GRANITE), answers, NO_FLAGS)
    assert found is not None
    assert (found.kernel_supports, found.granted) == (supports, granted)
    assert why in found.why


def test_a_processor_without_amx_has_none() -> None:
    assert describe(parse_rows("7 0 2 0 0 0\n"), SUPPORTED, NO_FLAGS) is None
    assert describe(None, {}, NO_FLAGS) is None


def test_the_flags_stand_in_for_cpuid() -> None:
    found = describe(None, {}, frozenset({"amx_tile", "amx_int8", "avx2"}))
    assert found is not None
    assert found.features == ("amx_tile", "amx_int8")


class Counting(Host):
    asked = 0

    def ask(self, question: str, *words: str) -> object:
        self.asked += 1
        return None


@pytest.mark.parametrize(
    ("model", "flags", "asked"),
    [("AMD EPYC 9554", NO_FLAGS, 0), ("Intel(R) Xeon(R) Gold", NO_FLAGS, 1), ("QEMU", frozenset({"amx_tile"}), 1)],
)
def test_only_processors_that_may_have_amx_cost_a_process(
    tmp_path: Path, model: str, flags: frozenset[str], asked: int
) -> None:
    host = Counting(tmp_path)
    assert probe(host, model, flags) == (None, {})
    assert host.asked == asked


@pytest.mark.skipif(platform.machine() != "x86_64", reason="CPUID is an x86 instruction")
def test_the_child_says_what_this_processor_is() -> None:
    text = Host().ask("cpu_probe")
    assert isinstance(text, str)
    table = parse_rows(text)
    cpuinfo = Path("/proc/cpuinfo").read_text()
    assert f"vendor_id\t: {table.vendor}" in cpuinfo
    family, model, stepping = table.version() or (0, 0, 0)
    for key, value in (("cpu family\t", family), ("model\t\t", model), ("stepping\t", stepping)):
        assert f"\n{key}: {value}\n" in cpuinfo
    flags = cpuinfo.partition("flags")[2].partition("\n")[0].split()
    assert table.has("avx2") == ("avx2" in flags)
    assert "xcomp_" in text


def test_the_child_needs_nothing_but_the_interpreter() -> None:
    argv = [sys.executable, "-I", "-S", str(cpu_probe.__file__)]
    assert subprocess.run(argv, check=False, capture_output=True, timeout=30).stderr == b""


@pytest.mark.parametrize(
    "text", ["", "zz", "7 0 2", "7 0 2 0 0 " + "f" * 20, "5 7 0 0 0 => g 0 0 0", "1 x 0 0 0 => 0 0 0 0"]
)
def test_rows_that_are_none_are_skipped(text: str) -> None:
    assert parse_rows(text).leaves == {}
