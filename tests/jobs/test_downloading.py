"""Downloads against a local server: whole, resumed, checked, and refused for the right reason."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from app.errors import BusyError, ExitCode, ModelError, UsageError
from app.jobs.downloading import PARTS, download
from app.jobs.model_weights import find_weights, target_dir
from app.jobs.scenarios import Scenario, find_scenario
from app.models.catalog import find_spec
from app.models.slices import write_slice
from tests.jobs.hub_server import Hub, serve

pytest.importorskip("huggingface_hub", reason="huggingface_hub is not installed: `pip install 'moetune[download]'`")

SIZE = 24_000_000
CHUNK = 10 * 1024**2
"""What huggingface_hub writes at once: a connection that breaks loses less than this."""


@pytest.fixture
def one(home: Path) -> Scenario:
    """A scenario of two files of 24 MB."""
    found = find_scenario("gpt-oss-120b-long")
    assert found is not None
    files = ("sub/m-00001-of-00002.gguf", "sub/m-00002-of-00002.gguf")
    return replace(found, weights=replace(found.weights, repository="someone/some-GGUF", files=files, bytes=2 * SIZE))


@pytest.fixture
def hub(one: Scenario, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """The server, with that scenario's files."""
    noise = random.Random(1)
    found = Hub({(one.weights.repository, name): noise.randbytes(SIZE) for name in one.weights.files})
    server = serve(found)
    monkeypatch.setenv("HF_ENDPOINT", found.url)
    yield found
    server.shutdown()
    server.server_close()


def fetch(one: Scenario) -> tuple[Path, list[str], list[tuple[int, int]]]:
    said: list[str] = []
    told: list[tuple[int, int]] = []
    return download(one, said.append, lambda done, total: told.append((done, total))), said, told


def content(hub: Hub, one: Scenario) -> list[bytes]:
    return [hub.files[one.weights.repository, name] for name in one.weights.files]


def on_disk(one: Scenario) -> list[bytes]:
    return [(target_dir(one) / name).read_bytes() for name in one.weights.files]


def test_all_parts_come_and_are_found_afterwards(one: Scenario, hub: Hub) -> None:
    path, said, told = fetch(one)
    assert path == target_dir(one) / one.weights.files[0]
    assert on_disk(one) == content(hub, one)
    assert find_weights(one).path == path
    assert told[-1] == (2 * SIZE, 2 * SIZE)
    assert [done for done, _ in told] == sorted(done for done, _ in told)
    assert "2 of 2 files" in said[0]
    assert list((target_dir(one) / PARTS).iterdir()) == []


def test_what_is_there_is_not_fetched_again(one: Scenario, hub: Hub) -> None:
    fetch(one)
    hub.ranges.clear()
    (target_dir(one) / one.weights.files[1]).unlink()
    _, said, told = fetch(one)
    assert len(hub.ranges) == 1
    assert "1 of 2 files" in said[0]
    assert told[0][0] > SIZE
    assert fetch(one)[1] == []


def test_a_connection_that_breaks_is_taken_up_again(one: Scenario, hub: Hub) -> None:
    hub.cut_after = SIZE // 2
    fetch(one)
    assert hub.ranges == [None, f"bytes={CHUNK}-", None]
    assert on_disk(one) == content(hub, one)


def test_a_killed_download_goes_on_where_it_was(one: Scenario, hub: Hub, home: Path) -> None:
    hub.bytes_per_s = 12_000_000
    script = (
        "from dataclasses import replace; from app.jobs.scenarios import find_scenario;"
        "from app.jobs.downloading import download; one = find_scenario('gpt-oss-120b-long');"
        f"weights = replace(one.weights, repository={one.weights.repository!r}, files={one.weights.files!r});"
        "download(replace(one, weights=weights), print, lambda done, total: None)"
    )
    child = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.DEVNULL)
    parts = target_dir(one) / PARTS
    deadline = time.monotonic() + 30
    while not any(part.stat().st_size >= CHUNK for part in parts.glob("*")):
        assert child.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    with pytest.raises(BusyError, match="Another process"):
        fetch(one)
    child.send_signal(signal.SIGKILL)
    child.wait()
    hub.bytes_per_s = None
    hub.ranges.clear()
    fetch(one)
    assert int((hub.ranges[0] or "").removeprefix("bytes=").removesuffix("-")) >= CHUNK
    assert on_disk(one) == content(hub, one)


def test_what_is_not_what_the_hub_states_is_thrown_away(one: Scenario, hub: Hub) -> None:
    hub.lies = True
    with pytest.raises(ModelError, match="its hash differs"):
        fetch(one)
    assert find_weights(one).path is None
    assert list((target_dir(one) / PARTS).iterdir()) == []
    hub.lies = False
    fetch(one)
    assert on_disk(one) == content(hub, one)


def test_a_small_files_git_hash_is_checked(one: Scenario, hub: Hub) -> None:
    hub.small = frozenset(one.weights.files)
    fetch(one)
    shutil.rmtree(target_dir(one))
    hub.lies = True
    with pytest.raises(ModelError, match="its hash differs"):
        fetch(one)


def test_a_disk_that_is_too_small_is_said_before_anything_is_fetched(
    one: Scenario, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage("/")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=SIZE))
    with pytest.raises(ModelError, match=r"46 MiB are still to be downloaded.* 23 MiB left"):
        fetch(one)
    assert hub.ranges == []


def test_a_file_that_is_no_longer_there_is_said_with_what_is(one: Scenario, hub: Hub) -> None:
    gone = hub.files.pop((one.weights.repository, one.weights.files[0]))
    with pytest.raises(ModelError, match="does not have sub/m-00001-of-00002") as caught:
        fetch(one)
    assert "sub/m-00002-of-00002.gguf" in caught.value.hint
    hub.files[one.weights.repository, "whole.gguf"] = gone
    renamed = replace(one, weights=replace(one.weights, also=("whole.gguf",)))
    assert fetch(renamed)[0].name == "whole.gguf"


def test_a_repository_that_is_not_there_and_a_hub_that_does_not_answer(
    one: Scenario, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ModelError, match="no repository nobody/nothing"):
        fetch(replace(one, weights=replace(one.weights, repository="nobody/nothing")))
    hub.status = 500
    with pytest.raises(ModelError, match="does not answer"):
        fetch(one)
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:1")
    with pytest.raises(ModelError, match="does not answer"):
        fetch(one)


def test_of_a_checkpoint_only_what_is_needed_comes(one: Scenario, hub: Hub) -> None:
    names = ("config.json", "model-00001-of-00001.safetensors", "README.md", "../evil.safetensors")
    for name in names:
        hub.files["Some/Model", name] = name.encode()
    weights = replace(one.weights, kind="checkpoint", repository="Some/Model", files=("config.json", "*.safetensors"))
    checkpoint = replace(one, weights=weights)
    folder, _, _ = fetch(checkpoint)
    assert {path.name for path in folder.iterdir() if path.is_file()} == set(names[:2])
    assert not (folder.parent / "evil.safetensors").exists()
    assert find_weights(checkpoint).path == folder


def test_without_the_package_one_sentence_says_how_to_get_it(
    one: Scenario, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    import importlib.util

    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UsageError) as caught:
        fetch(one)
    assert "moetune[download]" in caught.value.hint


def test_a_preset_is_downloaded_planned_and_run_in_one_go(hub: Hub, home: Path, tools: Path) -> None:
    model = home / "served.gguf"
    write_slice(find_spec("demo"), model, layers=2, experts=8, vocabulary=1024)
    hub.files["Qwen/Qwen3-30B-A3B-GGUF", "Qwen3-30B-A3B-Q4_K_M.gguf"] = model.read_bytes()
    words = [sys.executable, "-m", "app", "run", "cpu-only", "--plain", "--port", "0", "-c", "512",
             "--engine", str(tools / "llama-server"), "--prompt", "Hello", "--tokens", "4", "--json"]  # fmt: skip
    env = {**os.environ, "HOME": str(home), "HF_ENDPOINT": hub.url}
    refused = subprocess.run(words, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=60, env=env)
    assert refused.returncode == ExitCode.MODEL
    done = subprocess.run(
        [*words, "--download"], capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=120, env=env
    )
    assert done.returncode == ExitCode.OK, done.stderr
    assert "downloading 100 %" in done.stderr
    plan = json.loads(done.stdout)["run"]["planned"]["plan"]
    assert Path(plan["model_path"]).name == "Qwen3-30B-A3B-Q4_K_M.gguf"
    again = subprocess.run(words, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=120, env=env)
    assert again.returncode == ExitCode.OK, again.stderr


def test_a_model_that_is_no_preset_cannot_be_downloaded(home: Path, capfd: pytest.CaptureFixture[str]) -> None:
    from app.cli import main

    assert main(["run", "gpt-oss-20b", "--download"]) == ExitCode.USAGE
    assert "moetune presets" in capfd.readouterr().err
