"""An endpoint in a process of its own, fast enough not to be what is measured.

Invariant: it answers 204 after its delay, whatever it is sent, and notes when the head of each request arrived.
"""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

import uvloop

_ANSWER = b"HTTP/1.1 204 No Content\r\n\r\n"


class _Protocol(asyncio.Protocol):
    def __init__(self, arrivals: list[tuple[str, float]], delay: float) -> None:
        self._arrivals, self._delay = arrivals, delay
        self._data = b""

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._data += data
        head, end, body = self._data.partition(b"\r\n\r\n")
        if not end:
            return
        lower = head.lower()
        if len(body) < int(_field(lower, b"content-length")):
            return
        self._data = b""
        self._arrivals.append((_field(lower, b"webhook-id").decode(), time.time()))
        if self._delay:
            asyncio.get_running_loop().call_later(self._delay, self._answer)
        else:
            self._answer()

    def _answer(self) -> None:
        if not self._transport.is_closing():
            self._transport.write(_ANSWER)


def _field(head: bytes, name: bytes) -> bytes:
    return head.partition(b"\r\n" + name + b":")[2].partition(b"\r\n")[0].strip()


async def _serve(pipe: Connection, delay: float, port: int) -> None:
    arrivals: list[tuple[str, float]] = []
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: _Protocol(arrivals, delay), "127.0.0.1", port, backlog=1024)
    pipe.send(server.sockets[0].getsockname()[1])
    asked = asyncio.Event()
    loop.add_reader(pipe.fileno(), asked.set)
    # uvloop makes what it watches non-blocking, and an answer may be larger than the pipe.
    os.set_blocking(pipe.fileno(), True)
    while True:
        await asked.wait()
        asked.clear()
        try:
            question = pipe.recv()
        except EOFError:
            return
        pipe.send(len(arrivals) if question == "count" else list(arrivals))
        if question == "take":
            arrivals.clear()


def _main(pipe: Connection, delay: float, port: int) -> None:
    with contextlib.suppress(KeyboardInterrupt):
        uvloop.run(_serve(pipe, delay, port))


@dataclass(frozen=True)
class BenchEndpoint:
    """A running endpoint."""

    url: str
    pipe: Connection

    @property
    def count(self) -> int:
        """How many requests arrived since `take` was last called."""
        self.pipe.send("count")
        return int(self.pipe.recv())

    def take(self) -> list[tuple[str, float]]:
        """Return event id and time of arrival, in seconds since the epoch, of each request since the last call."""
        self.pipe.send("take")
        arrived: list[tuple[str, float]] = self.pipe.recv()
        return arrived


@contextlib.contextmanager
def endpoint(*, delay: float = 0.0, port: int = 0) -> Iterator[BenchEndpoint]:
    """Run an endpoint that takes so many seconds for its answer.

    :param port: where it listens; any free one where 0
    """
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("fork").Process(target=_main, args=(theirs, delay, port), daemon=True)
    process.start()
    try:
        yield BenchEndpoint(f"http://127.0.0.1:{ours.recv()}/hook", ours)
    finally:
        process.terminate()
        process.join()
