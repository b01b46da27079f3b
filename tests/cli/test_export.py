"""`moetune export`: to stdout or a file, by preset or model, with the planner's own options."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from app.cli import main
from app.errors import ExitCode
from tests.cli.conftest import HALO


def test_a_preset_is_exported_with_its_context_and_the_place_of_its_download(
    hosts: Callable[[str], str], home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["export", "gpt-oss-120b-long", "--host", hosts(HALO), "--as", "llama-swap"]
    assert main(words) == ExitCode.OK
    out, err = capsys.readouterr()
    cmd = yaml.safe_load(out)["models"]["gpt-oss-120b-long"]["cmd"]
    assert "-c 131072" in cmd
    assert "-ctk q8_0" in cmd
    assert f"{home}/moetune/data/models/ggml-org--gpt-oss-120b-GGUF/gpt-oss-120b-mxfp4-00001" in cmd
    assert "not on this disk" in err
    assert main([*words, "-c", "16K"]) == ExitCode.OK
    assert "-c 16384" in capsys.readouterr().out


def test_a_script_is_written_to_be_run_and_nothing_is_overwritten(
    hosts: Callable[[str], str], home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "run.sh"
    words = ["export", "gpt-oss-20b", "--host", hosts(HALO), "--as", "sh", "-o", str(path)]
    assert main(words) == ExitCode.OK
    assert path.stat().st_mode & 0o111
    subprocess.run(["sh", "-n", path], check=True)
    assert "/path/to/model.gguf" in path.read_text()
    assert capsys.readouterr().out == ""
    assert main(words) == ExitCode.USAGE
    assert main([*words, "--force"]) == ExitCode.OK
    assert main([*words[:-1], str(tmp_path / "absent" / "run.sh")]) == ExitCode.USAGE


def test_a_form_is_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["export", "gpt-oss-20b"])
    assert caught.value.code == ExitCode.USAGE
    assert "llama-swap" in capsys.readouterr().err
