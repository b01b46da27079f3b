"""`moetune history`: what was measured comes back listed, compared, drawn and exported."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import pytest

from app import bench_store, store
from app.bench_store import Point
from app.cli import main
from app.errors import ExitCode

History = Callable[..., tuple[int, str, str]]
SVG = "{http://www.w3.org/2000/svg}"


def sweep(model: str, speed: float, **facts: object) -> int:
    """A sweep of two contexts and two sequences, measured at that speed and predicted at 100."""
    parameters = {"kv_type_k": "f16", "kv_type_v": "f16", "ubatch": 512, "batch": 2048, "threads": 8,
                  "load_mode": "mmap", "flash_attention": True}  # fmt: skip
    told = {
        "state": {"kernel": "6.17.1", "engine": "llama_server 0.5.0 (CUDA)", "governor": "performance"},
        "placement_text": "attention on RTX 4090, experts on CPU",
        "parameters": parameters,
        **facts,
    }
    number = bench_store.begin_bench("desk", model, "llama_server 0.5.0", "llama-batched-bench", "k", told)
    for context, batch, factor in ((0, 1, 1.0), (32768, 1, 0.5), (0, 4, 2.0)):
        prefill = 10 * speed if context else None
        bench_store.save_point(
            number, Point(context, batch, context, 128, prefill, factor * speed, 1000.0, factor * 100, 50.0, 150.0)
        )
    return number


@pytest.fixture
def history(home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> History:
    """Run `moetune history WORDS`: exit code, stdout, stderr."""
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("NO_COLOR", "1")

    def run(*words: object) -> tuple[int, str, str]:
        code = main(["history", *map(str, words)])
        out, err = capsys.readouterr()
        return code, out, err

    return run


def test_with_nothing_measured_it_says_so_and_makes_no_file(history: History) -> None:
    assert history() == (ExitCode.OK, "", "Nothing was measured yet: `moetune bench MODEL` does.\n")
    assert not store.store_path().exists()


def test_the_list_has_the_newest_first_and_can_be_narrowed(history: History) -> None:
    first, second = sweep("gpt-oss-120b", 80.0), sweep("GLM-4.5-Air", 40.0)
    bench_store.begin_bench("desk", "nothing was measured of it", "e", "t", "k", {})
    store.finish_run(store.save_run("gpt-oss-120b", "{}", 44.0, "e"), decode_tps=41.5, prefill_tps=None)
    code, out, _ = history()
    assert code == ExitCode.OK
    lines = out.splitlines()
    assert lines[0].startswith(f"{second:>4}  20")
    assert "GLM-4.5-Air with llama_server 0.5.0" in lines[0]
    assert "decode 40.0 t/s at 0 to 20.0 t/s at 32K" in " ".join(out.split())
    assert f"\n{first:>4}  20" in out
    assert "nothing was measured of it" not in out
    assert "gpt-oss-120b: 41.5 t/s decode, predicted 44.0" in out
    assert max(map(len, lines)) <= 80
    narrowed = json.loads(history("--model", "glm", "--json")[1])
    assert [one["id"] for one in narrowed["benches"]] == [second]
    assert narrowed["runs"] == []


def test_a_sweep_is_shown_with_its_newest_points(history: History) -> None:
    number = sweep("gpt-oss-120b", 80.0)
    bench_store.save_point(number, Point(32768, 1, 32768, 512, 700.0, 44.0, None, 50.0, 40.0, 60.0))
    code, out, _ = history(number)
    assert code == ExitCode.OK
    rows = [line.split() for line in out.splitlines() if line.strip().startswith(("0 ", "32K "))]
    assert rows == [
        ["0", "1", "-", "80.0", "100", "(50.0", "to", "150)", "+25", "%"],
        ["32K", "1", "700", "44.0", "50.0", "(40.0", "to", "60.0)", "+14", "%"],
        ["0", "4", "-", "160", "200", "(50.0", "to", "150)", "+25", "%"],
    ]
    assert "Attention on RTX 4090, experts on CPU" in out
    assert "kernel 6.17.1, performance governor" in out


def test_the_markdown_is_a_table(history: History) -> None:
    out = history(sweep("gpt-oss-120b", 80.0), "--markdown")[1]
    table = [line for line in out.splitlines() if line.startswith("|")]
    assert {line.count("|") for line in table} == {7}
    assert table[1].replace("-", "").replace(":", "").replace("|", "").strip() == ""
    assert len(table) == 5
    assert out.startswith("**gpt-oss-120b with llama_server 0.5.0**\n\n- ")


def test_two_are_compared_with_what_differs_between_them(history: History) -> None:
    first = sweep("gpt-oss-120b", 80.0)
    second = sweep("gpt-oss-120b", 100.0, state={"kernel": "6.18.0", "engine": "llama_server 0.5.0 (CUDA)"})
    code, out, _ = history("--compare", first, second)
    assert code == ExitCode.OK
    assert "kernel: 6.17.1 and 6.18.0" in out
    assert "governor: performance and not known" in out
    assert "ubatch" not in out
    rows = [line.split() for line in out.splitlines() if line.strip().startswith(("0 ", "32K "))]
    assert rows[1] == ["32K", "1", "+25", "%", "800", "1000", "+25", "%", "40.0", "50.0"]
    assert len(rows) == 3
    found = json.loads(history("--compare", first, second, "--json")[1])
    assert [pair["decode_ratio"] for pair in found["pairs"]] == [1.25, 1.25, 1.25]


def test_csv_has_every_point_of_every_sweep(history: History, tmp_path: Path) -> None:
    first, second = sweep("a, b", 80.0), sweep("c", 40.0)
    path = tmp_path / "points.csv"
    assert history("--csv", path)[2] == f"written: {path}\n"
    rows = list(csv.DictReader(path.open()))
    assert [row["bench"] for row in rows] == [str(second)] * 3 + [str(first)] * 3
    assert rows[3]["model"] == "a, b"
    assert (rows[4]["context"], rows[4]["decode_tps"], rows[4]["prefill_tps"]) == ("32768", "40.0", "800.0")
    assert rows[3]["prefill_tps"] == ""


def test_svg_draws_measured_and_predicted_lines_within_the_paper(history: History, tmp_path: Path) -> None:
    first, second = sweep("gpt <oss>", 80.0), sweep("gpt-oss", 100.0)
    path = tmp_path / "curves.svg"
    assert history("--compare", first, second, "--svg", path)[0] == ExitCode.OK
    root = ElementTree.parse(path).getroot()
    width, height = float(root.attrib["width"]), float(root.attrib["height"])
    titles = [text.text for text in root.iter(f"{SVG}text") if text.attrib.get("class") == "title"]
    assert titles == [
        f"{first}: gpt <oss> with llama_server 0.5.0",
        f"{second}: gpt-oss with llama_server 0.5.0",
        "Decode, tokens/s",  # of prompts there is one each, which makes no line
        "Decode of all sequences at context 0, tokens/s",
    ]
    curves = list(root.iter(f"{SVG}polyline"))
    assert [line.attrib["class"] for line in curves] == ["line", "line predicted"] * 4
    assert len({line.attrib["stroke"] for line in curves}) == 2
    for curve in curves:
        for pair in curve.attrib["points"].split():
            x, y = map(float, pair.split(","))
            assert 0 <= x <= width
            assert 0 <= y <= height
    heights = [float(pair.split(",")[1]) for pair in curves[0].attrib["points"].split()]
    assert heights[0] < heights[1]  # slower is lower


def test_plotext_draws_the_newest_where_none_is_named(history: History) -> None:
    sweep("old", 80.0)
    newest = sweep("gpt-oss-120b", 80.0)
    code, out, _ = history("--plot")
    assert code == ExitCode.OK
    assert "Decode, tokens/s" in out
    assert f"{newest} measured" in out
    assert f"{newest} predicted" in out
    assert "\x1b" not in out


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("7",), ExitCode.USAGE, "There is no benchmark 7."),
        (("--plot",), ExitCode.USAGE, "Nothing was benchmarked yet."),
        (("--compare", "1", "2"), ExitCode.USAGE, "There is no benchmark 1."),
        (("3", "--compare", "1", "2"), ExitCode.USAGE, "--compare takes both"),
    ],
)
def test_what_is_not_there_is_said(history: History, words: tuple[str, ...], code: ExitCode, said: str) -> None:
    found = history(*words)
    assert found[:2] == (code, "")
    assert said in found[2]


def test_a_file_that_cannot_be_written_is_named(history: History, tmp_path: Path) -> None:
    number = sweep("gpt-oss-120b", 80.0)
    code, out, err = history(number, "--csv", tmp_path / "none" / "a.csv")
    assert (code, out) == (ExitCode.FAILED, "")
    assert "none/a.csv cannot be written: No such file or directory." in err


def test_sweeps_without_a_common_point_are_not_compared(history: History) -> None:
    first = sweep("gpt-oss-120b", 80.0)
    other = bench_store.begin_bench("desk", "m", "e", "t", "k", {})
    bench_store.save_point(other, Point(4096, 1, 4096, 128, 1.0, 1.0))
    code, _, err = history("--compare", first, other)
    assert code == ExitCode.USAGE
    assert "have no point in common" in err
