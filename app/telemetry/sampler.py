"""One thread that looks at the engine and the machine again and again, and says what it saw."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from app.telemetry.rates import RateMeter, Rates
from app.telemetry.sample import EMPTY, Sample, SlotSample

if TYPE_CHECKING:
    from app.telemetry.cpu import ProcessMemory
    from app.telemetry.devices import DeviceSource
    from app.telemetry.sglang import SglangWatch
    from app.telemetry.slots import SlotReader
    from detectors.facts import Machine
    from detectors.host import Host

_SLOTS_SHARE = 0.6
"""Of the interval, how much the engine may take to answer; the devices are read in the rest."""


class Sampler:
    """Samples the watched engine and the machine's devices.

    Args:
        machine: whose devices are read; `None`: the engine alone.
        on_sample: called in the sampler's thread with each sample. It must not raise and not block.
        interval_s: seconds between two samples.
        host: where device files are read; the running machine when `None`.
    """

    def __init__(
        self,
        machine: Machine | None,
        *,
        on_sample: Callable[[Sample], None],
        interval_s: float = 0.5,
        host: Host | None = None,
    ) -> None:
        self.latest: Sample = EMPTY
        self._machine = machine
        self._on_sample = on_sample
        self._interval_s = interval_s
        self._host = host
        self._engine: tuple[str | None, int | None] = (None, None)
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def engine(self) -> tuple[str | None, int | None]:
        """URL and pid of the engine that is watched."""
        return self._engine

    @engine.setter
    def engine(self, engine: tuple[str | None, int | None]) -> None:
        self._engine = engine

    def watch(self, url: str | None, pid: int | None) -> None:
        """Watch another engine from the next sample on, or none."""
        self.engine = (url, pid)

    def start(self) -> None:
        """Start sampling; nothing happens if it runs."""
        if self._thread is None:
            self._stop.clear()
            self._thread = threading.Thread(target=self._run, name="sampler", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Stop sampling and wait for the thread: at most about one interval. May be called again."""
        self._stop.set()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join()
            self._thread = None

    def _run(self) -> None:
        devices = self._sources()
        watched = _Watched(None, None, 0.0)
        try:
            due = time.monotonic()
            while not self._stop.is_set():
                if (engine := self._engine) != watched.engine:
                    watched.close()
                    watched = _Watched(*engine, self._interval_s * _SLOTS_SHARE)
                self.latest = watched.sample(devices)
                self._on_sample(self.latest)
                due = max(due + self._interval_s, time.monotonic())  # late: go on from now, do not catch up
                self._stop.wait(due - time.monotonic())
        finally:
            watched.close()
            for source in devices:
                source.close()

    def _sources(self) -> tuple[DeviceSource, ...]:
        if self._machine is None:
            return ()
        from app.telemetry.devices import device_sources
        from detectors.host import Host

        return device_sources(self._machine, self._host or Host())


class _Watched:
    """One engine and what is needed to read it."""

    def __init__(self, url: str | None, pid: int | None, timeout_s: float) -> None:
        self.engine = (url, pid)
        self._slots = None if url is None else _slot_reader(url, timeout_s)
        self._memory = None if pid is None else _process_memory(pid)
        self._meter = RateMeter()
        self._url, self._timeout_s = url or "", timeout_s
        self._sglang: SglangWatch | None = None

    def sample(self, devices: tuple[DeviceSource, ...]) -> Sample:
        slots = None if self._slots is None else self._slots.read()
        at = time.monotonic()
        rates = self._rates(at, slots)
        return Sample(
            at=at,
            decode_tps=rates.decode_tps,
            prefill_tps=rates.prefill_tps,
            slots=slots or (),
            devices=tuple(source.read() for source in devices),
            engine_rss_bytes=None if self._memory is None else self._memory.resident_bytes(),
            engine_reachable=self._slots is not None and self._slots.reachable,
        )

    def close(self) -> None:
        for reader in (self._slots, self._sglang):
            if reader is not None:
                reader.close()

    def _rates(self, at: float, slots: tuple[SlotSample, ...] | None) -> Rates:
        if slots is None and self._slots is not None and self._slots.is_waiting:
            return Rates()  # busy: a gap here, and the next answer tells what was done meanwhile
        rates = self._meter.update(at, slots)
        if slots is not None or self._slots is None or not self._slots.reachable:
            return rates
        if self._sglang is None:  # it answers, and has no slots: it may be SGLang
            self._sglang = _sglang_watch(self._url, self._timeout_s)
        return self._sglang.rates()


def _slot_reader(url: str, timeout_s: float) -> SlotReader:
    from app.telemetry.slots import SlotReader  # with http.client: 20 ms that the first frame need not wait for

    return SlotReader(url, timeout_s)


def _sglang_watch(url: str, timeout_s: float) -> SglangWatch:
    from app.telemetry.sglang import SglangWatch

    return SglangWatch(url, timeout_s)


def _process_memory(pid: int) -> ProcessMemory:
    from app.telemetry.cpu import ProcessMemory

    return ProcessMemory(pid)
