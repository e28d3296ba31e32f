"""Processes that tests start, and end for certain.

Invariant: whatever was started here, with all its descendants, is gone when `stop` returns.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil


@dataclass(frozen=True)
class Process:
    """One process of ours, its output in a file.

    :param log: what it wrote to standard output and error
    """

    name: str
    popen: subprocess.Popen[bytes]
    log: Path

    @classmethod
    def start(
        cls, name: str, command: Sequence[str], *, log: Path, env: Mapping[str, str], user: str | None = None
    ) -> Process:
        """Start a process in a session of its own.

        :param user: whom to run it as, where that is not the caller
        """
        with log.open("ab") as output:
            popen = subprocess.Popen(
                command,
                env=dict(env),
                cwd=log.parent,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                user=user,
            )
        return cls(name, popen, log)

    @property
    def running(self) -> bool:
        """Whether it has not ended yet."""
        return self.popen.poll() is None

    def output(self) -> str:
        """Return all that it wrote so far."""
        return self.log.read_text(errors="replace")

    def stop(self, *, how: signal.Signals = signal.SIGTERM, patience: float = 10) -> None:
        """End it and its descendants: politely first, for good after `patience` seconds."""
        family = self._family()
        if self.running:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.popen.pid, how)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.popen.wait(patience)
        for process in {*family, *self._family()}:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self.popen.wait(patience)

    def _family(self) -> set[psutil.Process]:
        if not self.running:
            # Its id may be that of a process of somebody else by now.
            return set()
        try:
            parent = psutil.Process(self.popen.pid)
            return {parent, *parent.children(recursive=True)}
        except psutil.NoSuchProcess:
            return set()


def free_port() -> int:
    """Return a TCP port of the loopback interface that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


@contextlib.contextmanager
def closed_port(port: int = 0) -> Iterator[int]:
    """Hold a TCP port of the loopback interface, on which nothing listens and nobody else will.

    :param port: 0 for one that is free
    """
    with socket.socket() as holder:
        # What a server here has left behind does not matter.
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.bind(("127.0.0.1", port))
        yield holder.getsockname()[1]
