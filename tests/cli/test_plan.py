"""`moetune plan` as a person meets it: the answer first, within the terminal's width, a command that pastes."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from app.errors import ExitCode
from tests.cli.conftest import DESK, HALO, PLAIN, SERVER, Plan

SECTIONS = (
    "Where it goes",
    "Memory",
    "A token takes",
    "What would move it",
    "Speed over what may be chosen",
    "Others",
    "Choices",
    "Command",
)
CASES = [
    ("gpt-oss-120b", HALO, ("-c", "96K")),
    ("gpt-oss-120b", DESK, ("-c", "32K", "--parallel", "4", "--objective", "throughput")),
    ("gpt-oss-20b", PLAIN, ()),
    ("qwen3-235b-a22b", HALO, ("-c", "16K", "--kv-type", "q8_0")),
    ("qwen3-235b-a22b", SERVER, ("-c", "32K", "--runtime", "ktransformers")),
]


@pytest.mark.parametrize("columns", [80, 120])
@pytest.mark.parametrize(("model", "host", "words"), CASES)
def test_all_sections_are_there_and_keep_to_the_width(
    model: str, host: str, words: tuple[str, ...], columns: int, plan: Plan
) -> None:
    code, text, _ = plan(model, host, *words, columns=columns)
    assert code == ExitCode.OK
    lines = text.splitlines()
    for section in SECTIONS:
        assert any(line.startswith(section) for line in lines), section
    assert max(map(len, lines)) <= columns
    assert "\x1b" not in text
    assert not any(line != line.rstrip() for line in lines)


def test_the_answer_comes_before_its_reasons_and_the_command_last(plan: Plan) -> None:
    _, text, _ = plan("gpt-oss-120b", HALO, "-c", "96K")
    places = [text.index(word) for word in ("  Decode", "  Prefill", "  Turn", *SECTIONS)]
    assert places == sorted(places)
    assert "gpt-oss" in text.splitlines()[0]


def test_the_picture_has_a_cell_for_every_layer_on_every_device(plan: Plan) -> None:
    _, text, _ = plan("gpt-oss-120b", DESK)
    picture = text[text.index("Where it goes") : text.index("Memory")]
    cells = re.findall(r" \d+  ([▓█▄·]+)  ", picture)
    assert len(cells) >= 3
    assert all(len(row) == 36 for row in cells)
    experts = [row for row in cells if "█" in row]
    assert all(sum(row[i] == "█" for row in experts) == 1 for i in range(36)), "each layer's experts are in one place"


def test_a_pool_that_two_devices_share_is_drawn_once(plan: Plan) -> None:
    _, text, _ = plan("gpt-oss-120b", HALO)
    memory = text[text.index("Memory") : text.index("A token takes")]
    assert memory.count(" of 125.5 GiB") == 1
    assert "one pool for 8060S and CPU" in " ".join(memory.split())


def test_brief_is_the_answer_and_the_command(plan: Plan) -> None:
    _, text, _ = plan("gpt-oss-120b", DESK, "--brief")
    assert "  Decode" in text
    assert "llama-server" in text
    assert not any(section in text for section in ("Memory", "Others", "Choices"))
    assert len(text.splitlines()) < 24


@pytest.mark.parametrize("columns", [60, 80, 110])
@pytest.mark.parametrize(("model", "host", "words"), CASES)
def test_the_command_pastes_as_it_is_run(
    model: str, host: str, words: tuple[str, ...], columns: int, plan: Plan
) -> None:
    _, text, _ = plan(model, host, *words, columns=columns)
    pasted = text[text.index("\nCommand\n") + len("\nCommand\n") :].split("\n\n")[0]
    argv = json.loads(plan(model, host, *words, "--json")[1])["command"]["argv"]
    program = "\n".join([f"{argv[0]}() {{ printf '%s\\0' \"$@\"; }}", "env() { while [[ $1 == -u || $1 == *=* ]]; do "
                         "[[ $1 == -u ]] && shift; shift; done; \"$@\"; }", pasted])  # fmt: skip
    done = subprocess.run(["bash", "-c", program], capture_output=True, text=True, check=True, timeout=10)
    assert done.stdout.split("\0")[:-1] == argv[1:]


def _in_terminal(words: list[str], env: dict[str, str]) -> str:
    """What a real terminal is sent."""
    leader, follower = pty.openpty()
    process = subprocess.Popen([sys.executable, "-m", "app", *words], stdout=follower, stderr=follower, env=env)
    os.close(follower)
    sent = b""
    while chunk := _read(leader):
        sent += chunk
    os.close(leader)
    assert process.wait(timeout=30) == 0
    return sent.decode()


def _read(leader: int) -> bytes:
    try:
        return os.read(leader, 65536)
    except OSError:  # the other end was closed: Linux reports EIO
        return b""


@pytest.mark.parametrize(
    ("extra", "coloured"),
    [({"TERM": "xterm"}, True), ({"TERM": "xterm", "NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)],
)  # fmt: skip
def test_colour_is_for_terminals_that_want_it(
    extra: dict[str, str], coloured: bool, hosts: Callable[[str], str], tmp_path: Path
) -> None:
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "HOME") if name in os.environ}
    env = {**kept, "MOETUNE_HOME": str(tmp_path), "COLUMNS": "80", **extra}
    text = _in_terminal(["plan", "gpt-oss-20b", "--host", hosts(DESK), "--brief"], env)
    assert "Decode" in text
    assert ("\x1b[" in text) is coloured


def test_a_model_that_fits_nowhere_is_an_error_with_what_would_help(plan: Plan) -> None:
    code, out, err = plan("deepseek-r1", PLAIN)
    assert code == ExitCode.NO_FIT
    assert out == ""
    assert "does not fit" in err
    assert "  -> " in err


@pytest.mark.parametrize(
    "words",
    [("--objective", "fun"), ("--floor", "0"), ("--floor", "fast"), ("--kv-type", "q3"), ("--prompt-tokens", "0"),
     ("--runtime", "vllm"), ("--what-if", "ram")],
)  # fmt: skip
def test_wrong_words_are_refused(words: tuple[str, ...], plan: Plan) -> None:
    with pytest.raises(SystemExit) as stopped:
        plan("gpt-oss-20b", DESK, *words)
    assert stopped.value.code == ExitCode.USAGE


def test_the_workload_of_the_command_line_is_planned_for(plan: Plan) -> None:
    words = ("--prompt-tokens", "4K", "--output-tokens", "64", "--objective", "turn", "--floor", "7.5", "--json")
    work = json.loads(plan("gpt-oss-20b", DESK, *words)[1])["plan"]["workload"]
    assert (work["prompt_tokens"], work["output_tokens"], work["floor_tps"]) == (4096, 64, 7.5)


def test_the_kv_type_is_the_solvers_unless_it_is_given(plan: Plan) -> None:
    free = json.loads(plan("gpt-oss-20b", DESK, "--json")[1])
    given = json.loads(plan("gpt-oss-20b", DESK, "--kv-type", "q8_0", "--json")[1])
    assert free["request"]["kv_type"] is None
    assert given["plan"]["parameters"]["kv_type_k"] == "q8_0"
