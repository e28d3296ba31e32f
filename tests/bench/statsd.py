"""Takes the timings that Airflow sends by StatsD.

Invariant: it keeps each time as it came, none added up.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator


class Timings:
    """The milliseconds that have come. Thread-safe.

    :param port: UDP, of the loopback interface
    """

    def __init__(self, receiver: socket.socket) -> None:
        self.port: int = receiver.getsockname()[1]
        self._receiver = receiver
        self._lock = threading.Lock()
        self._taken: list[float] = []

    def take(self) -> list[float]:
        """Return what has come since the last time."""
        with self._lock:
            taken, self._taken = self._taken, []
        return taken

    def run(self) -> None:
        """Receive until an empty packet comes."""
        while packet := self._receiver.recv(65536):
            found = [line.partition(b":")[2].partition(b"|") for line in packet.splitlines()]
            with self._lock:
                self._taken += [float(value) for value, _, kind in found if kind == b"ms"]


@contextlib.contextmanager
def timings() -> Iterator[Timings]:
    """Receive for the length of a `with`."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind(("127.0.0.1", 0))
        made = Timings(receiver)
        thread = threading.Thread(target=made.run, daemon=True)
        thread.start()
        try:
            yield made
        finally:
            # An empty packet ends it.
            receiver.sendto(b"", receiver.getsockname())
            thread.join()
