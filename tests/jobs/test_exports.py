"""Exports: each is read by what it is for, and says what the plan says, whatever is in the file's name."""

from __future__ import annotations

import configparser
import json
import os
import shlex
import shutil
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from app.errors import UsageError
from app.jobs.exports import FORMS, Launch, launch_of
from app.jobs.planning import PlannedRun, PlanRequest, make_plan
from app.models.catalog import find_spec
from app.models.slices import write_slice
from app.solver.model import Workload
from tests.fixtures.synthetic.machines import write
from tests.ports import free_port

HOSTS = ("debian13-strixhalo-w7900-p2p", "mint22-ryzen7950x-rtx3090-x4", "opensuse-ryzen5600-none")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One whose name needs quoting everywhere."""
    path = tmp_path_factory.mktemp("exports") / "my models, 100% 'mine' $HOME"
    path.mkdir()
    return path


@pytest.fixture(scope="module")
def planned(folder: Path, tools: Path) -> PlannedRun:
    """A plan for a real small model and the real engine."""
    model = folder / "tiny.gguf"
    write_slice(find_spec("demo"), model, layers=2, experts=8, vocabulary=1024)
    request = PlanRequest(
        str(model), Workload(context=512, prompt_tokens=64, output_tokens=32), engine=str(tools / "llama-server"),
        port=free_port(),
    )  # fmt: skip
    return make_plan(request)


@pytest.fixture
def launch(planned: PlannedRun) -> Launch:
    return replace(launch_of(planned, name="tiny"), unset=("LLAMA_ARG_CTX_SIZE",))


@pytest.fixture(params=HOSTS)
def elsewhere(request: pytest.FixtureRequest, tmp_path: Path, home: Path) -> Launch:
    """gpt-oss 120B, or 20B where that does not fit, on several machines: all kinds of options."""
    model = "gpt-oss-20b" if request.param == HOSTS[2] else "gpt-oss-120b"
    plan = make_plan(PlanRequest(model, Workload(context=32768), capture=str(write(request.param, tmp_path / "host"))))
    return launch_of(plan, name=model, model_path="/path/to/my model.gguf")


@pytest.fixture
def started() -> Iterator[list[subprocess.Popen[bytes]]]:
    """Servers to be ended after the test."""
    servers: list[subprocess.Popen[bytes]] = []
    yield servers
    for server in servers:
        server.terminate()
        try:
            server.wait(timeout=20)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def ask(url: str, body: dict[str, object] | None = None) -> dict[str, object]:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as reply:
        found: dict[str, object] = json.load(reply)
        return found


def wait_ready(server: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        assert server.poll() is None, "the server ended"
        try:
            ask(f"http://127.0.0.1:{port}/health")
            return
        except (urllib.error.URLError, ConnectionError):
            time.sleep(0.1)
    pytest.fail("the server did not become ready")


def without_endpoint(argv: tuple[str, ...] | list[str]) -> list[str]:
    words = list(argv)
    for option in ("--host", "--port"):
        del words[words.index(option) : words.index(option) + 2]
    return words


def test_options_are_told_from_their_values(launch: Launch) -> None:
    options = dict(launch.options())
    assert options["--metrics"] is None
    assert options["-c"] == "512"
    assert options["-m"] == launch.model
    words = [word for option, value in launch.options() for word in ((option,) if value is None else (option, value))]
    assert (*launch.program, *words) == launch.argv


def test_the_script_is_one_for_posix_shells_and_keeps_every_word(launch: Launch, tmp_path: Path) -> None:
    script = tmp_path / "run.sh"
    engine = tmp_path / "an engine"
    engine.write_text('#!/bin/sh\nprintf "%s\\n" "$@"; env | grep -c ^LLAMA_ARG_ || :\n')
    engine.chmod(0o755)
    script.write_text(FORMS["sh"](replace(launch, argv=(str(engine), *launch.argv[1:]))))
    shell = shutil.which("dash") or "sh"
    subprocess.run([shell, "-n", script], check=True)
    done = subprocess.run(
        [shell, script, "--verbose"], check=True, capture_output=True, text=True,
        env={**os.environ, "LLAMA_ARG_CTX_SIZE": "7", "LLAMA_ARG_THREADS": "9"},
    )  # fmt: skip
    assert done.stdout.splitlines() == [*launch.argv[1:], "--verbose", "0"]


def test_the_script_starts_the_real_engine(
    launch: Launch, tmp_path: Path, started: list[subprocess.Popen[bytes]]
) -> None:
    script = tmp_path / "run.sh"
    script.write_text(FORMS["sh"](launch))
    started.append(subprocess.Popen(["sh", script], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
    wait_ready(started[0], launch.port)
    props = ask(f"http://127.0.0.1:{launch.port}/props")
    assert props["model_path"] == launch.model


def systemd_words(line: str) -> list[str]:
    """ExecStart as systemd.syntax(7) says: words by spaces, double quotes, C escapes; then %% and $$."""
    found, word, quoted, i = [], "", False, 0
    while i < len(line):
        mark = line[i]
        if mark == "\\":
            i += 1
            word += {"n": "\n", "t": "\t"}.get(line[i], line[i])
        elif mark == '"':
            quoted = not quoted
        elif mark == " " and not quoted:
            found.append(word)
            word = ""
        else:
            word += mark
        i += 1
    assert not quoted
    return [part.replace("$$", "$").replace("%%", "%") for part in (*found, word)]


def test_the_unit_keeps_every_word(launch: Launch) -> None:
    unit = configparser.RawConfigParser(strict=False)
    unit.optionxform = str  # type: ignore[assignment, method-assign]
    unit.read_string(FORMS["systemd"](launch))
    service = unit["Service"]
    assert systemd_words(service["ExecStart"]) == list(launch.argv)
    assert service["KillMode"] == "mixed"
    assert service["Restart"] == "on-failure"
    assert service["UnsetEnvironment"] == "LLAMA_ARG_CTX_SIZE"
    assert "$HOME" not in service["ExecStart"].replace("$$", "")


def test_systemd_finds_nothing_wrong_with_the_unit(launch: Launch, elsewhere: Launch, tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed")
    for number, one in enumerate((launch, elsewhere)):
        unit = tmp_path / f"moetune-{number}.service"
        unit.write_text(FORMS["systemd"](one))
        done = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True, timeout=30)
        said = [line for line in done.stderr.splitlines() if unit.name in line]
        assert said == []


def test_systemd_would_find_an_error_in_a_unit(launch: Launch, tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed")
    unit = tmp_path / "moetune-bad.service"
    unit.write_text(FORMS["systemd"](launch).replace("KillMode=mixed", "KillMode=sometimes"))
    done = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True, timeout=30)
    assert "KillMode" in done.stderr or "kill mode" in done.stderr.lower()


def test_the_llama_swap_entry_is_the_command_with_its_port_left_open(launch: Launch, elsewhere: Launch) -> None:
    for one in (launch, elsewhere):
        [(name, entry)] = yaml.safe_load(FORMS["llama-swap"](one))["models"].items()
        assert name == one.name
        words = shlex.split(entry["cmd"])
        assert words[words.index("--port") + 1] == "${PORT}"
        unset = ["env", *(part for variable in one.unset for part in ("-u", variable))] if one.unset else []
        assert without_endpoint(words) == [*unset, *without_endpoint(one.argv)]
        assert entry["env"] == [f"{variable}={value}" for variable, value in one.env]
        assert entry["checkEndpoint"] == "/health"


def test_a_macro_in_a_files_name_is_refused(launch: Launch) -> None:
    with pytest.raises(UsageError, match="macro"):
        FORMS["llama-swap"](replace(launch, argv=(*launch.argv, "--alias", "${MODEL_ID}")))


def test_the_preset_says_every_option_but_the_routers(elsewhere: Launch) -> None:
    ini = configparser.RawConfigParser(inline_comment_prefixes=("#", ";"))
    ini.read_string(FORMS["llama-preset"](elsewhere))
    [section] = ini.sections()
    values = dict(ini[section])
    options = dict(elsewhere.options())
    assert values["model"] == "/path/to/my model.gguf"
    assert values["device"] == options["-dev"]
    assert values.get("override-tensor") == options.get("-ot")
    assert values["metrics"] == "true"
    assert not {"host", "port"} & set(values)
    assert len(values) == len(set(options) - {"--host", "--port", "-lv"})


def test_the_real_router_serves_the_preset_with_the_plans_options(
    launch: Launch, planned: PlannedRun, tools: Path, tmp_path: Path, started: list[subprocess.Popen[bytes]]
) -> None:
    if "--models-preset" not in planned.engine.flags:
        pytest.skip("this llama-server has no --models-preset")
    preset, port = tmp_path / "models.ini", free_port()
    preset.write_text(FORMS["llama-preset"](launch))
    log = (tmp_path / "log").open("wb")
    started.append(
        subprocess.Popen(
            [tools / "llama-server", "--models-preset", preset, "--models-max", "1", "--port", str(port)],
            stdout=log, stderr=subprocess.STDOUT, env={**os.environ, **dict(launch.env)},
        )
    )  # fmt: skip
    wait_ready(started[0], port)
    reply = ask(
        f"http://127.0.0.1:{port}/v1/completions", {"model": launch.name, "prompt": "a", "max_tokens": 4},
    )  # fmt: skip
    assert reply["model"] == launch.name
    [model] = [one for one in ask(f"http://127.0.0.1:{port}/models")["data"] if one["id"] == launch.name]  # type: ignore[attr-defined]
    words = model["status"]["args"]
    assert words[words.index("--model") + 1] == launch.model
    assert words[words.index("--ctx-size") + 1] == "512"


def test_a_value_that_a_preset_cannot_hold_is_refused(launch: Launch) -> None:
    for name in ("/models/a;b.gguf", "/models/a #1.gguf", "/models/a.gguf "):
        argv = tuple(name if word == launch.model else word for word in launch.argv)
        with pytest.raises(UsageError, match="cannot hold"):
            FORMS["llama-preset"](replace(launch, argv=argv, model=name))


def test_the_compose_file_binds_to_this_machine_only_and_asks_for_the_plans_devices(elsewhere: Launch) -> None:
    [service] = yaml.safe_load(FORMS["compose"](elsewhere))["services"].values()
    [port] = service["ports"]
    assert port == f"127.0.0.1:{elsewhere.port}:8080"
    words = [word.replace("$$", "$") for word in service["command"]]
    assert words[words.index("-m") + 1] == "/models/my model.gguf"
    assert words[words.index("--host") + 1] == "0.0.0.0"
    assert service["volumes"][0]["source"] == "/path/to"
    assert service["healthcheck"]["test"][-1].endswith(":8080/health")
    devices = dict(elsewhere.options())["-dev"] or ""
    if "ROCm" in devices:
        assert service["image"].endswith(":server-rocm")
        assert any("/dev/kfd" in device for device in service["devices"])
    elif "CUDA" in devices:
        assert service["image"].endswith(":server-cuda")
        [reserved] = service["deploy"]["resources"]["reservations"]["devices"]
        assert reserved["capabilities"] == ["gpu"]
    else:
        assert service["image"].endswith(":server")
        assert not {"devices", "deploy"} & set(service)


def test_compose_accepts_the_file(launch: Launch, tmp_path: Path) -> None:
    docker = shutil.which("docker")
    if docker is None or subprocess.run([docker, "compose", "version"], capture_output=True).returncode:
        pytest.skip("docker compose is not installed")
    path = tmp_path / "compose.yaml"
    path.write_text(FORMS["compose"](launch))
    done = subprocess.run([docker, "compose", "-f", path, "config", "--format", "json"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    [service] = json.loads(done.stdout)["services"].values()
    assert service["volumes"][0]["source"] == str(Path(launch.model).parent)


def test_devices_that_no_one_image_has_are_refused(launch: Launch) -> None:
    words = list(launch.argv)
    for devices, said in (("CUDA0,Vulkan0", "No published image"), ("Kompute0", "No published image")):
        words[words.index("-dev") + 1] = devices
        with pytest.raises(UsageError, match=said):
            FORMS["compose"](replace(launch, argv=tuple(words)))
    with pytest.raises(UsageError, match="RPC"):
        FORMS["compose"](replace(launch, argv=(*launch.argv, "--rpc", "10.0.0.2:50052")))


def test_forms_for_llama_server_alone_refuse_other_runtimes(tmp_path: Path, home: Path) -> None:
    xeon = str(write("ubuntu2404-2xxeon6430-rtx4090", tmp_path / "xeon"))
    plan = make_plan(PlanRequest("qwen3-30b-a3b:BF16", capture=xeon, runtimes=("ktransformers",)))
    kt = launch_of(plan, name="qwen3")
    for form in ("llama-preset", "compose"):
        with pytest.raises(UsageError, match="--as sh") as caught:
            raise_hint(FORMS[form], kt)
        assert "ktransformers" in str(caught.value)
    assert "sglang.launch_server" in FORMS["sh"](kt)
    words = shlex.split(yaml.safe_load(FORMS["llama-swap"](kt))["models"]["qwen3"]["cmd"])
    start = words.index(kt.argv[0])
    assert words[start : start + 3] == list(kt.argv[:3])


def raise_hint(form: object, launch: Launch) -> None:
    """Raise the form's refusal with its hint in the text."""
    try:
        form(launch)  # type: ignore[operator]
    except UsageError as error:
        raise UsageError(f"{error.message} {error.hint}") from error
