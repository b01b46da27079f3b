"""A client of llama.cpp's RPC servers that asks no more than what a server has and how far away it is.

A request is its number (1 byte), the size of its argument (8 bytes, little endian) and the argument; an answer is its
size (8 bytes) and itself. A server speaks to one client at a time and lets others wait. (ggml-rpc.cpp: protocol 3 of
October 2025 to 7; the numbers and sizes that are used here are the same in all of them, but for the greeting.)
"""

from __future__ import annotations

import socket
import struct
from types import TracebackType

from app.runtimes.rpc_servers import CONNECT_LIMIT_S, parse_endpoint

ANSWER_LIMIT_S = 3.0
"""A server that serves nobody else answers at once; one that serves another engine does not at all."""
OLDEST = 3
"""The first version of the protocol that counts devices and names one in each request."""

_ALLOC, _BASE, _FREE, _CLEAR, _GET_TENSOR, _MEMORY, _HELLO, _COUNT = 0, 3, 4, 5, 8, 11, 14, 15
_CAPABILITIES = 24
"""Bytes of the greeting's argument since protocol 4; zeros: TCP and nothing else. Before, there was none."""
_TENSOR = struct.Struct("<QIQ4I4II16ii10QQQQ64si")
"""id, type, buffer, sizes, strides, operation, its parameters, flags, sources, view, its offset, data, name, uses."""
_BYTES = 24
"""GGML_TYPE_I8."""
_UNLIKE = "its answer is not what the protocol says"


class RpcError(Exception):
    """A server that did not answer as its protocol says; the text says how."""


class RpcClient:
    """One connection to one server; ends with the `with` block.

    Args:
        endpoint: `host:port`.

    Raises:
        RpcError: nobody answers there, another client is being served, or it is no such server.
        UsageError: `endpoint` is not written as `host:port`.
    """

    def __init__(self, endpoint: str) -> None:
        self._address = parse_endpoint(endpoint)
        self._buffers: list[int] = []
        for capabilities in (_CAPABILITIES, 0):
            self._socket = self._connected()
            try:
                greeting = self.call(_HELLO, bytes(capabilities))
            except RpcError as error:
                self._socket.close()
                if capabilities and "closed" in str(error):
                    continue  # an older server takes no argument
                raise
            if len(greeting) < 3:
                self._socket.close()
                raise RpcError("it is no RPC server of llama.cpp")
            self.version: tuple[int, int, int] = (greeting[0], greeting[1], greeting[2])
            return

    def __enter__(self) -> RpcClient:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._socket.close()  # the server frees what this client had allocated

    def device_count(self) -> int:
        """How many devices the server lends."""
        (count,) = struct.unpack("<I", self.call(_COUNT, size=4))
        return int(count)

    def memory(self, device: int = 0) -> tuple[int, int]:
        """Free and total bytes of one of its devices."""
        free, total = struct.unpack("<QQ", self.call(_MEMORY, struct.pack("<I", device), size=16))
        return free, total

    def buffer(self, size: int, device: int = 0) -> tuple[int, int]:
        """Allocate that many bytes, zeroed: the buffer's handle and its address there.

        Raises:
            RpcError: there is not that much memory.
        """
        handle, _ = struct.unpack("<QQ", self.call(_ALLOC, struct.pack("<IQ", device, size), size=16))
        if not handle:
            raise RpcError(f"it has no {size} bytes of memory left")
        (base,) = struct.unpack("<Q", self.call(_BASE, struct.pack("<Q", handle), size=8))
        self._tell(_CLEAR, struct.pack("<QB", handle, 0))
        return handle, base

    def free(self, handle: int) -> None:
        """Give a buffer back."""
        self._tell(_FREE, struct.pack("<Q", handle))

    def read(self, handle: int, base: int, size: int, times: int = 1) -> None:
        """Have the first `size` bytes of a buffer sent here that many times, one behind the other."""
        strides = (1, *(3 * (size,)))
        tensor = _TENSOR.pack(
            1, _BYTES, handle, size, 1, 1, 1, *strides, 0, *(16 * (0,)), 0, *(10 * (0,)), 0, 0, base, b"", 0
        )
        into = bytearray(8 + size)
        self._tell(_GET_TENSOR, tensor + struct.pack("<QQ", 0, size), times)
        for _ in range(times):
            self._fill(into)
            if struct.unpack_from("<Q", into)[0] != size:
                raise RpcError(_UNLIKE)

    def call(self, number: int, argument: bytes = b"", *, size: int | None = None) -> bytearray:
        """One request and its answer of `size` bytes; `None`: of any, up to 4096.

        Raises:
            RpcError: there was no such answer.
        """
        self._tell(number, argument)
        (told,) = struct.unpack("<Q", self._take(8))
        if (size is not None and told != size) or (size is None and told > 4096):
            raise RpcError(_UNLIKE)
        return self._take(told)

    def _tell(self, number: int, argument: bytes, times: int = 1) -> None:
        try:
            self._socket.sendall(times * (struct.pack("<BQ", number, len(argument)) + argument))
        except OSError as error:
            raise RpcError(_words(error)) from error

    def _take(self, size: int) -> bytearray:
        data = bytearray(size)
        self._fill(data)
        return data

    def _fill(self, data: bytearray) -> None:
        view, have = memoryview(data), 0
        while have < len(data):
            try:
                got = self._socket.recv_into(view[have:])
            except TimeoutError as error:
                raise RpcError("it serves another engine, or does not answer") from error
            except OSError as error:
                raise RpcError(_words(error)) from error
            if not got:
                raise RpcError("it closed the connection")
            have += got

    def _connected(self) -> socket.socket:
        try:
            made = socket.create_connection(self._address, timeout=CONNECT_LIMIT_S)
        except OSError as error:
            raise RpcError(_words(error)) from error
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        made.settimeout(ANSWER_LIMIT_S)
        return made


def _words(error: OSError) -> str:
    return (error.strerror or str(error) or "no answer").lower()
