"""Scenario presets: each can be read and planned, names mean one thing, and the model's file is found on disk."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import jsonschema
import pytest

from app.errors import ModelError, UsageError
from app.jobs.model_weights import download_lines, find_weights, model_of, size_of
from app.jobs.planning import PlanRequest, find_model, with_preset_model
from app.jobs.preset_board import preset_rows
from app.jobs.scenarios import Scenario, find_scenario, load_scenario, other_meaning, scenario_names
from app.models.bits import plain_mixture
from app.models.finding import model_shape
from app.resources import PRESETS
from tests.fixtures.synthetic.machines import write

FOLDER = PRESETS / "scenarios"
ASKED_FOR = {
    "gpt-oss-120b-long", "gpt-oss-120b-16-users", "glm-4.5-air-128k", "qwen3-235b-24gb", "qwen3-30b-amx-int8",
    "qwen3-235b-amx-bf16", "minimax-m2-64k", "laptop-16gb", "cpu-only", "demo",
}  # fmt: skip


def scenario(name: str) -> Scenario:
    found = find_scenario(f"preset:{name}")
    assert found is not None
    return found


def test_the_scenarios_that_people_ask_for_are_there() -> None:
    assert set(scenario_names()) >= ASKED_FOR


@pytest.mark.parametrize("name", scenario_names())
def test_a_preset_keeps_the_published_schema(name: str) -> None:
    schema = json.loads((PRESETS / "schema" / "scenario.json").read_text())
    jsonschema.validate(tomllib.loads((FOLDER / f"{name}.toml").read_text()), schema)


@pytest.mark.parametrize("name", scenario_names())
def test_a_preset_names_a_model_whose_shape_is_known_and_that_can_do_the_work(name: str) -> None:
    one = scenario(name)
    shape = model_shape(one.model_words)
    assert one.workload.context <= shape.context_length
    assert one.workload.prompt_tokens + one.workload.output_tokens <= one.workload.context


@pytest.mark.parametrize("name", [name for name in scenario_names() if scenario(name).weights.bytes])
def test_the_size_of_a_download_is_that_of_the_shape(name: str) -> None:
    one = scenario(name)
    assert one.weights.bytes == pytest.approx(model_shape(one.model_words).file_bytes, rel=0.003)


@pytest.mark.parametrize("name", [name for name in scenario_names() if scenario(name).weights.kind == "gguf"])
def test_a_files_name_says_its_quantization(name: str) -> None:
    one = scenario(name)
    wanted = "mxfp4" if one.quantization == "MXFP4_MOE" else one.quantization.lower()
    assert all(wanted in Path(file).name.lower() for file in one.weights.files)
    parts = [file for file in one.weights.files if "-of-" in file]
    assert not parts or len(parts) == int(parts[0].rsplit("-of-")[1][:5])


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('id = "laptop-16gb"', 'id = "desktop"', "not the file's name"),
        ('model = "gpt-oss-20b"', 'model = "gpt-oss-21b"', "no model gpt-oss-21b"),
        ("context = 8192", "context = 0", "context in [workload] is 0"),
        ("context = 8192", "contexts = 8192", "unknown key contexts in [workload]"),
        ('runtimes = ["llama.cpp"]', 'runtimes = ["vllm"]', "runtimes in [policy]"),
        ('kind = "gguf"', 'kind = "made"', "either made here or in a repository"),
        ("[weights]", "[weight]", "[weights] is missing"),
        ('why = "', 'why = "\n', "cannot be used"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_preset_is_named(tmp_path: Path, old: str, new: str, said: str) -> None:
    text = (FOLDER / "laptop-16gb.toml").read_text()
    assert old in text
    path = tmp_path / "laptop-16gb.toml"
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(ModelError) as caught:
        load_scenario(path)
    assert said in caught.value.message


def test_a_file_wins_over_a_preset_and_a_preset_over_a_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert other_meaning("cpu-only") is None
    assert other_meaning("gpt-oss-20b") is None
    assert "demo:MXFP4_MOE" in (other_meaning("demo") or "")
    assert find_scenario("demo") is not None
    (tmp_path / "demo").write_bytes(b"GGUF")
    assert find_scenario("demo") is None
    assert "preset:demo" in (other_meaning("demo") or "")
    assert scenario("demo").model == "demo"


def test_a_preset_that_is_not_there_is_refused_with_those_that_are() -> None:
    with pytest.raises(UsageError, match="no preset 'cpu'") as caught:
        find_scenario("preset:cpu")
    assert "cpu-only" in caught.value.hint


def test_a_model_is_found_under_the_names_that_downloads_give_it(tmp_path: Path) -> None:
    one = scenario("cpu-only")
    assert find_weights(one, [tmp_path]).path is None
    for name in (
        "Qwen3-30B-A3B-Q4_K_M.gguf", "Qwen_Qwen3-30B-A3B-GGUF_Qwen3-30B-A3B-Q4_K_M.gguf", "qwen3-30b-a3b-q4_k_m.gguf",
    ):  # fmt: skip
        path = tmp_path / "deep" / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
        assert find_weights(one, [tmp_path]).path == path
        path.unlink()


def test_another_model_or_quantization_is_not_taken_for_it(tmp_path: Path) -> None:
    for name in ("Qwen3-30B-A3B-Q8_0.gguf", "Qwen3-Coder-30B-A3B-Instruct-Q4_K_M.gguf", "Qwen3-32B-Q4_K_M.gguf"):
        (tmp_path / name).touch()
    assert find_weights(scenario("cpu-only"), [tmp_path]).path is None


def test_a_part_that_is_missing_is_named(tmp_path: Path) -> None:
    one = scenario("gpt-oss-120b-long")
    first, second, third = (tmp_path / name for name in one.weights.files)
    first.touch()
    third.touch()
    found = find_weights(one, [tmp_path])
    assert found.path == first
    assert found.missing == (second.name,)
    second.touch()
    assert find_weights(one, [tmp_path]).missing == ()


def test_a_checkpoint_is_found_in_the_hubs_cache(tmp_path: Path) -> None:
    one = scenario("qwen3-30b-amx-int8")
    folder = tmp_path / "models--Qwen--Qwen3-30B-A3B" / "snapshots" / "abc"
    folder.mkdir(parents=True)
    (folder / "config.json").touch()
    assert find_weights(one, [tmp_path]).path is None
    (folder / "model-00001-of-00016.safetensors").touch()
    assert find_weights(one, [tmp_path]).path == folder
    assert model_of(one) == "qwen3-30b-a3b:BF16"


def test_what_to_download_says_where_from_and_how_much() -> None:
    one = scenario("gpt-oss-120b-long")
    lines = list(download_lines(one))
    assert "59.0 GiB" in lines[0]
    assert all(any(line.strip().endswith(f"/resolve/{one.weights.revision}/{file}") for line in lines)
               for file in one.weights.files)  # fmt: skip
    assert "about 128.8 GiB" in next(iter(download_lines(scenario("minimax-m2-64k"))))
    assert size_of(scenario("minimax-m2-64k")) == (138334096384, False)
    assert plain_mixture("Q4_K_M")


def test_the_planner_takes_a_presets_name_for_its_model(home: Path) -> None:
    assert find_model("cpu-only").name == "Qwen3 30B A3B"
    assert with_preset_model(PlanRequest("cpu-only")).model == "qwen3-30b-a3b:Q4_K_M"
    path = home / "moetune" / "data" / "models" / "Qwen3-30B-A3B-Q4_K_M.gguf"
    path.parent.mkdir(parents=True)
    path.touch()
    assert with_preset_model(PlanRequest("cpu-only")).model == str(path)
    assert with_preset_model(PlanRequest("cpu-only", capture="elsewhere")).model == "qwen3-30b-a3b:Q4_K_M"


def test_each_scenario_fits_the_machine_it_is_for(tmp_path: Path, home: Path) -> None:
    hosts = {
        "debian13-strixhalo-w7900-p2p": {"gpt-oss-120b-long", "gpt-oss-120b-16-users", "glm-4.5-air-128k",
                                         "minimax-m2-64k", "laptop-16gb", "demo"},
        "ubuntu2404-2xxeon6430-rtx4090": {"qwen3-30b-amx-int8", "qwen3-235b-amx-bf16", "qwen3-235b-24gb"},
        "opensuse-ryzen5600-none": {"cpu-only"},
    }  # fmt: skip
    for host, names in hosts.items():
        rows = {row.preset: row for row in preset_rows(str(write(host, tmp_path / host)), names)}
        assert set(rows) == names
        assert [row.preset for row in rows.values() if not row.fits] == []
        assert all(row.decode is not None and row.decode.tokens_per_s > 1 for row in rows.values())


def test_an_amx_scenario_names_its_method_and_says_why_it_cannot_be(tmp_path: Path, home: Path) -> None:
    from app.jobs.planning import make_plan
    from app.jobs.preset_board import request_of

    xeon = str(write("ubuntu2404-2xxeon6430-rtx4090", tmp_path / "xeon"))
    for name, method in (("qwen3-30b-amx-int8", "AMXINT8"), ("qwen3-235b-amx-bf16", "BF16")):
        kt = make_plan(request_of(scenario(name), xeon)).plan.parameters.kt
        assert kt is not None
        assert kt.method == method
    [row] = preset_rows(str(write("opensuse-ryzen5600-none", tmp_path / "plain")), ["qwen3-30b-amx-int8"])
    assert not row.fits
    assert "avx512f" in row.why_not
