"""`moetune presets`, and a preset's name in place of a model's."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from app.cli import main
from app.errors import ExitCode
from app.jobs.scenarios import scenario_names
from tests.cli.conftest import HALO, PLAIN, SERVER, Plan


def test_the_list_fits_80_columns_and_says_what_would_not_fit(
    hosts: Callable[[str], str], home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert main(["presets", "--host", hosts(PLAIN)]) == ExitCode.OK
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    assert set(scenario_names()) <= {line.split()[0] for line in lines if line[:1].strip()}
    text = " ".join(" ".join(lines).split())
    assert "more of CPU than" in text
    assert "t/s" in next(line for line in lines if line.startswith("cpu-only"))


def test_as_json_each_preset_has_its_speed_here(
    hosts: Callable[[str], str], home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["presets", "--json", "--host", hosts(HALO)]) == ExitCode.OK
    rows = {row["preset"]: row for row in json.loads(capsys.readouterr().out)}
    assert rows["gpt-oss-120b-long"]["fits"]
    assert rows["gpt-oss-120b-long"]["decode"]["tokens_per_s"] > 20
    assert not rows["qwen3-235b-amx-bf16"]["fits"]


def test_one_preset_is_told_in_full(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["presets", "gpt-oss-120b-long"]) == ExitCode.OK
    text = capsys.readouterr().out
    assert "q8_0" in text
    assert "ggml-org/gpt-oss-120b-GGUF/resolve/" in text
    assert main(["presets", "gpt-oss-120b-short"]) == ExitCode.USAGE
    assert "gpt-oss-120b-long" in capsys.readouterr().err


def test_a_plan_by_a_presets_name_has_its_workload_and_what_is_said_besides(plan: Plan) -> None:
    code, out, _ = plan("gpt-oss-120b-long", HALO, "--json")
    assert code == ExitCode.OK
    planned = json.loads(out)["plan"]
    assert planned["workload"]["context"] == 131072
    assert planned["parameters"]["kv_type_k"] == "q8_0"
    code, out, _ = plan("gpt-oss-120b-long", HALO, "--json", "-c", "16K", "--kv-type", "auto")
    planned = json.loads(out)["plan"]
    assert planned["workload"]["context"] == 16384
    assert planned["workload"]["prompt_tokens"] == 16384
    assert planned["parameters"]["kv_type_k"] == "f16"


def test_a_plan_by_an_amx_presets_name_is_ktransformers(plan: Plan) -> None:
    code, out, _ = plan("qwen3-30b-amx-int8", SERVER, "--json")
    assert code == ExitCode.OK
    planned = json.loads(out)["plan"]
    assert planned["runtime"] == "ktransformers"
    assert planned["parameters"]["kt"]["method"] == "AMXINT8"
    code, out, _ = plan("qwen3-30b-amx-int8", SERVER, "--json", "--runtime", "llama.cpp")
    assert json.loads(out)["plan"]["runtime"] == "llama.cpp"


def test_without_a_preset_the_workload_is_the_usual_one(plan: Plan) -> None:
    _, out, _ = plan("gpt-oss-120b", HALO, "--json")
    workload = json.loads(out)["plan"]["workload"]
    assert (workload["context"], workload["parallel"], workload["prompt_tokens"]) == (8192, 1, 1024)
    assert workload["objective"] == "turn"


def test_a_name_with_two_meanings_is_said(plan: Plan) -> None:
    _, _, err = plan("demo", PLAIN, "--brief")
    assert "demo:MXFP4_MOE" in err


def test_running_a_preset_without_its_file_says_exactly_what_to_download(home: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "app", "run", "gpt-oss-120b-long", "--plain"],
        capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=60, env={**os.environ, "HOME": str(home)},
    )  # fmt: skip
    assert done.returncode == ExitCode.MODEL
    assert done.stderr.count("/gpt-oss-120b-mxfp4-0000") == 3
    assert "59.0 GiB" in done.stderr
    assert "--download" in done.stderr


def test_the_demo_preset_makes_its_model_and_runs_it(tools: Path, home: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "app", "run", "demo", "--plain", "--port", "0", "--engine", str(tools / "llama-server"),
         "--prompt", "Say something.", "--tokens", "8", "--json"],
        capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=120, env={**os.environ},
    )  # fmt: skip
    assert done.returncode == ExitCode.OK, done.stderr
    planned = json.loads(done.stdout)["run"]["planned"]["plan"]
    assert planned["workload"]["context"] == 4096
    assert planned["model_path"].endswith("moetune-demo.gguf")


def test_running_an_amx_preset_says_what_is_to_be_done_with_its_checkpoint(
    hosts: Callable[[str], str], home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = home / "moetune" / "data" / "models" / "Qwen3-30B-A3B"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    (folder / "model-00001-of-00016.safetensors").touch()
    code = main(["run", "qwen3-30b-amx-int8", "--plain"])
    err = capsys.readouterr().err
    assert code == ExitCode.NO_FIT
    assert "convert_cpu_weights.py" in err
    assert str(folder) in err


def test_a_preset_can_be_asked_what_another_machine_would_do(plan: Plan) -> None:
    code, out, _ = plan("gpt-oss-120b-long", HALO, "--what-if", "ram=192")
    assert code == ExitCode.OK
    assert "Decode" in out or "decode" in out
