"""Relays in processes of their own, which tests may kill.

Invariant: one process imports everything once and forks a relay for each line that it reads, so that a relay starts
in milliseconds; they are all gone when it ends.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

from typing_extensions import Self

from airflow_webhook_notify.client import Client
from airflow_webhook_notify.outbox.store import Outbox
from airflow_webhook_notify.relay import Relay
from airflow_webhook_notify.relay_settings import RelaySettings
from tests.integration.outboxes import make_engine
from tests.sending import LOOPBACK, make_webhook

#: The lease of these relays, in seconds.
LEASE = 2.0
_SETTINGS = RelaySettings(lease=LEASE, poll=0.05)


@dataclass
class RelayProcesses:
    """Starts relays.

    :param database: an SQLAlchemy URL
    :param endpoint: where every webhook leads
    :param log: what they write
    """

    database: str
    endpoint: str
    log: Path
    pids: list[int] = field(default_factory=list)

    def start(self) -> int:
        """Start a relay and return its process id."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("start\n")
        self._process.stdin.flush()
        self.pids.append(int(self._process.stdout.readline()))
        return self.pids[-1]

    def __enter__(self) -> Self:
        self._log = self.log.open("ab")
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__, self.database, self.endpoint],
            cwd=Path(__file__).parents[2],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # At the end of its input the process kills what it forked.
        with self._process, self._log:
            assert self._process.stdin is not None
            self._process.stdin.close()
            self._process.wait(10)


def _run_relay(database: str, endpoint: str) -> None:
    webhook = make_webhook(endpoint)
    with Client(allowed_networks=LOOPBACK) as client:
        relay = Relay(Outbox(make_engine(database)), client, settings=_SETTINGS, webhook_of=lambda _: webhook)
        signal.signal(signal.SIGTERM, lambda *_: relay.finish())
        relay.run()


def _serve(database: str, endpoint: str) -> None:
    children = []
    for _ in sys.stdin:
        child = os.fork()
        if child == 0:
            _run_relay(database, endpoint)
            os._exit(0)
        children.append(child)
        print(child, flush=True)
    for child in children:
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


if __name__ == "__main__":
    # Airflow has set its own logging up by now.
    logging.basicConfig(level=logging.INFO, format="%(process)d %(message)s", force=True)
    _serve(*sys.argv[1:])
