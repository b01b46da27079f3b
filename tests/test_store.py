"""The database: opened late, shared safely, and clear about what is wrong with it."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from app import calibration_store, host_store, store
from app.errors import MoetuneError


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MOETUNE_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def test_reading_from_nothing_finds_nothing_and_makes_nothing(home: Path) -> None:
    assert store.latest_measurement("m", "ram_bandwidth") is None
    assert store.measurements("m") == ()
    assert store.runs() == ()
    assert not home.exists()


def test_the_newest_measurement_of_that_machine_and_name_wins() -> None:
    store.save_measurement("m", "ram_bandwidth", 80.0, "GB/s")
    store.save_measurement("m", "ram_bandwidth", 82.5, "GB/s", "memchr, 8 threads")
    store.save_measurement("other", "ram_bandwidth", 1.0, "GB/s")
    store.save_measurement("m", "link", 2.0, "GB/s")
    found = store.latest_measurement("m", "ram_bandwidth")
    assert found is not None
    assert (found.value, found.unit, found.detail) == (82.5, "GB/s", "memchr, 8 threads")
    assert found.at.endswith("+00:00")
    assert [each.value for each in store.measurements("m")] == [2.0, 82.5, 80.0]


def test_a_run_is_finished_with_what_was_measured() -> None:
    first = store.save_run("a.gguf", '{"attention": "cpu"}', 44.0, "0.5.0")
    second = store.save_run("b.gguf", "{}", None, "0.5.0")
    store.finish_run(first, decode_tps=41.5, prefill_tps=None)
    newest, oldest = store.runs()
    assert (newest.id, newest.predicted_tps, newest.measured_decode_tps) == (second, None, None)
    assert (oldest.model, oldest.plan_json, oldest.predicted_tps) == ("a.gguf", '{"attention": "cpu"}', 44.0)
    assert (oldest.measured_decode_tps, oldest.measured_prefill_tps) == (41.5, None)
    assert store.runs(limit=1) == (newest,)


def test_a_file_that_is_no_database_is_named(home: Path) -> None:
    path = store.store_path()
    path.parent.mkdir(parents=True)
    path.write_bytes(b"not a database at all" * 100)
    with pytest.raises(MoetuneError, match=r"moetune\.sqlite is damaged") as caught:
        store.save_run("a", "{}", None, "e")
    assert f"mv '{path}'" in caught.value.hint


def test_a_database_with_a_torn_page_is_named() -> None:
    for number in range(30):
        store.save_measurement("m", "name", number, "", "x" * 2000)
    path = store.store_path()
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    data = bytearray(path.read_bytes())
    for page in range(1, len(data) // 4096):
        data[page * 4096 : page * 4096 + 200] = b"\xa5" * 200
    path.write_bytes(data)
    with pytest.raises(MoetuneError, match="is damaged"):
        store.measurements("m")


def test_a_newer_database_is_left_alone() -> None:
    store.save_measurement("m", "name", 1.0, "")
    path = store.store_path()
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    before = path.read_bytes()
    with pytest.raises(MoetuneError, match=r"written by a newer moetune \(its schema is 99") as caught:
        store.save_measurement("m", "name", 2.0, "")
    assert "Update moetune" in caught.value.hint
    assert path.read_bytes() == before


def test_a_folder_in_its_place_is_named() -> None:
    store.store_path().mkdir(parents=True)
    with pytest.raises(MoetuneError, match=r"moetune\.sqlite cannot be used"):
        store.save_measurement("m", "name", 1.0, "")


def test_a_data_folder_that_cannot_be_made_is_named(home: Path) -> None:
    home.write_text("a file")
    with pytest.raises(MoetuneError, match="cannot be written: Not a directory") as caught:
        store.save_measurement("m", "name", 1.0, "")
    assert "MOETUNE_HOME" in caught.value.hint


def test_many_writers_at_once_lose_nothing() -> None:
    code = "from app.store import save_measurement\nfor n in range(20): save_measurement('m', 'process', n, '')"
    processes = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(2)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda number: store.save_measurement("m", "thread", number, ""), range(40)))
    assert [process.wait(30) for process in processes] == [0, 0]
    names = [each.name for each in store.measurements("m")]
    assert (names.count("thread"), names.count("process")) == (40, 40)


def test_a_failure_in_the_middle_keeps_the_old_state(monkeypatch: pytest.MonkeyPatch) -> None:
    store.save_measurement("m", "name", 1.0, "")
    with pytest.raises(sqlite3.IntegrityError):
        store.save_measurement("m", "name", float("nan"), "")
    assert len(store.measurements("m")) == 1


def test_a_database_of_the_first_version_keeps_what_it_holds_and_takes_calibrations(home: Path) -> None:
    """The statements are those that version 1 ran."""
    home.joinpath("data").mkdir(parents=True)
    connection = sqlite3.connect(store.store_path())
    connection.executescript(store._VERSION_1 + "PRAGMA user_version = 1;")
    connection.execute(
        "INSERT INTO measurements (machine_key, name, value, unit, at) VALUES ('m', 'ram_bandwidth', 81.0, 'GB/s', '')"
    )
    connection.commit()
    connection.close()
    assert calibration_store.calibrations("m") == ()
    found = store.latest_measurement("m", "ram_bandwidth")
    assert found is not None
    assert found.value == 81.0
    number = calibration_store.begin_calibration("m", "{}")
    calibration_store.save_trial(number, "decode", 5.0, "{}")
    with sqlite3.connect(store.store_path()) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (store.SCHEMA_VERSION,)
    connection.close()


def test_two_that_migrate_at_once_do_it_once(home: Path) -> None:
    home.joinpath("data").mkdir(parents=True)
    connection = sqlite3.connect(store.store_path())
    connection.executescript(store._VERSION_1 + "PRAGMA user_version = 1;")
    connection.close()
    with ThreadPoolExecutor(4) as pool:
        numbers = list(pool.map(lambda _: calibration_store.begin_calibration("m", "{}"), range(8)))
    assert sorted(numbers) == list(range(1, 9))


def test_a_calibration_comes_back_with_its_trials_newest_first_and_goes_when_it_is_forgotten() -> None:
    first = calibration_store.begin_calibration("m", '{"engine": "a"}')
    calibration_store.save_trial(first, "one", 5.0, '{"x": 1}')
    calibration_store.save_trial(first, "two", 6.0, '{"x": 2}')
    calibration_store.begin_calibration("m", "{}")  # nothing was measured in it
    third = calibration_store.begin_calibration("m", '{"engine": "b"}')
    calibration_store.save_trial(third, "three", 7.0, "{}")
    other = calibration_store.begin_calibration("other", "{}")
    calibration_store.save_trial(other, "four", 8.0, "{}")
    newest, oldest = calibration_store.calibrations("m")
    assert (newest.id, oldest.id) == (third, first)
    assert [(trial.name, trial.ms_per_token) for trial in oldest.trials] == [("one", 5.0), ("two", 6.0)]
    assert calibration_store.forget_calibrations("m") == 3
    assert calibration_store.calibrations("m") == ()
    assert len(calibration_store.calibrations("other")) == 1


def test_importing_the_store_does_not_import_sqlite() -> None:
    code = "import sys, app.store; print('sqlite3' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_a_database_of_the_third_version_takes_hosts_and_a_host_is_one_name_and_one_endpoint(home: Path) -> None:
    home.joinpath("data").mkdir(parents=True)
    connection = sqlite3.connect(store.store_path())
    connection.executescript(store._VERSION_1 + store._VERSION_2 + store._VERSION_3 + "PRAGMA user_version = 3;")
    connection.close()
    assert host_store.known_hosts() == ()
    host_store.save_host(host_store.KnownHost("attic", "10.0.0.7:50052", always=True))
    host_store.save_host(host_store.KnownHost("desk", "10.0.0.8:50052", always=False))
    host_store.save_host(host_store.KnownHost("Attic", "10.0.0.9:50052", always=False))
    host_store.save_host(host_store.KnownHost("new", "10.0.0.8:50052", always=True))
    assert [(one.name, one.endpoint, one.always) for one in host_store.known_hosts()] == [
        ("Attic", "10.0.0.9:50052", False),
        ("new", "10.0.0.8:50052", True),
    ]
    assert host_store.remove_host("ATTIC")
    assert not host_store.remove_host("desk")
    assert [one.name for one in host_store.known_hosts()] == ["new"]
