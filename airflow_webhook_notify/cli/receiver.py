"""A receiver for one machine: takes requests, verifies them, and answers as told.

Invariant: whatever arrives, it is answered and becomes one `Received`, never an exception; a body that is too large
is not read.
"""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from airflow_webhook_notify.exceptions import VerificationError
from airflow_webhook_notify.signing import Verified, verify

#: The largest body that is read, in bytes: sixteen times what a payload's data may take.
MAX_BODY = 1024 * 1024
#: Seconds that a sender may leave its request unfinished.
_PATIENCE = 30.0
# Bytes of a refused body that are taken off the line.
_DROPPED = 16 * MAX_BODY
_NO_SECRET = "not verified, since no signing secret was given: use --secret or --webhook"


@dataclass(frozen=True, slots=True)
class Received:
    """One request that arrived.

    :param headers: pairs of name and value, in the order in which they came
    :param body: empty where it was not read
    :param status: what it was answered
    :param verified: what it has proven; None where `error` says why it has not
    :param error: why it is refused or not verified
    """

    headers: tuple[tuple[str, str], ...]
    body: bytes
    status: int
    verified: Verified | None
    error: str | None

    def parse_body(self) -> object | None:
        """Return the JSON value of the body; None where it is none."""
        try:
            value: object = json.loads(self.body)
            # Python reads NaN and 1e999, which no JSON may hold, and nesting that it can't write again.
            json.dumps(value, allow_nan=False)
        except (ValueError, RecursionError):
            return None
        return value


@dataclass(frozen=True, slots=True)
class Behavior:
    """How the receiver answers.

    :param secrets: to verify with, newest first; none means that nothing is verified
    :param statuses: one for each request in turn, the last for all that follow
    :param delay: seconds before each answer
    """

    secrets: tuple[str, ...]
    statuses: Sequence[int] = (200,)
    delay: float = 0.0


class Receiver(ThreadingHTTPServer):
    """Listens from its making on, and serves from :meth:`start` on until :meth:`stop`.

    :param on_received: called for each request just before its answer, one at a time
    :raises OSError: where it can't listen there
    """

    request_queue_size = 128

    def __init__(self, host: str, port: int, behavior: Behavior, on_received: Callable[[Received], None]) -> None:
        self.behavior = behavior
        self.stopping = threading.Event()
        self._on_received = on_received
        self._lock = threading.Lock()
        self._taken = 0
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        self.address_family, self._address = found[0][0], found[0][4]
        super().__init__((host, port), _Handler)

    @property
    def url(self) -> str:
        """Where it listens."""
        host, port = self.socket.getsockname()[:2]
        return f"http://{f'[{host}]' if ':' in host else host}:{port}/"

    def server_bind(self) -> None:
        # In place of HTTPServer's, which looks up this machine's full name and so may wait for a name server.
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self._address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])

    def start(self) -> None:
        """Serve, in a thread of its own."""
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def stop(self) -> None:
        """Stop serving; what waits for its answer goes without, and an answer under way is finished."""
        with self._lock:
            self.stopping.set()
        self.shutdown()
        self.server_close()

    def next_status(self) -> int:
        """Return what the next request is answered."""
        with self._lock:
            self._taken += 1
            return self.behavior.statuses[min(self._taken, len(self.behavior.statuses)) - 1]

    def conclude(self, received: Received, answer: Callable[[], None]) -> None:
        """Tell of one request and answer it; in this order, so that a sender's requests are told of in theirs."""
        with self._lock:
            if self.stopping.is_set():
                return
            self._on_received(received)
            # The sender may be gone by now; what it sent has arrived all the same.
            with contextlib.suppress(OSError):
                answer()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Stay silent: a sender that hangs up is no error of ours."""


class _Handler(BaseHTTPRequestHandler):
    server: Receiver
    timeout = _PATIENCE

    def do_POST(self) -> None:
        refusal = self._refusal()
        if refusal:
            # Its answer is not one of those asked for, and uses none of them up.
            received = Received(tuple(self.headers.items()), b"", refusal[0], None, f"refused: {refusal[1]}")
        else:
            received = self._receive()
            self.server.stopping.wait(self.server.behavior.delay)
        self.server.conclude(received, lambda: self._answer(received.status))
        if refusal and received.status == 413:
            self._drop_body()

    def do_GET(self) -> None:
        self._answer(405)

    do_HEAD = do_PUT = do_DELETE = do_PATCH = do_OPTIONS = do_GET  # noqa: N815 - http.server's names

    def _refusal(self) -> tuple[int, str] | None:
        length = self.headers.get("Content-Length", "")
        if self.headers.get("Transfer-Encoding") or not length:
            return 411, "it has no Content-Length"
        if not (length.isascii() and length.isdigit()):
            return 400, "its Content-Length is no number"
        if len(length) > 9 or int(length) > MAX_BODY:
            return 413, f"its body is over {MAX_BODY // 1024} KiB"
        return None

    def _drop_body(self) -> None:
        # A sender that is still sending when the connection closes would not get to see the answer.
        left = min(int(self.headers["Content-Length"]), _DROPPED)
        while left > 0 and (dropped := self.rfile.read(min(left, 65536))):
            left -= len(dropped)

    def _receive(self) -> Received:
        headers, length = tuple(self.headers.items()), int(self.headers["Content-Length"])
        body = self.rfile.read(length)
        if len(body) < length:
            return Received(headers, body, 400, None, "refused: the sender hung up before its body was complete")
        status, secrets = self.server.next_status(), self.server.behavior.secrets
        if not secrets:
            return Received(headers, body, status, None, _NO_SECRET)
        try:
            return Received(headers, body, status, verify(body, headers, secrets), None)
        except VerificationError as error:
            return Received(headers, body, status, None, str(error))

    def _answer(self, status: int) -> None:
        self.send_response(status)
        if status == 405:
            self.send_header("Allow", "POST")
        if status not in (204, 304):
            self.send_header("Content-Length", "0")
        self.end_headers()
        self.close_connection = True

    def version_string(self) -> str:
        """Return what the `Server` header says."""
        return "airflow-webhook-notify"

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - http.server's name
        """Stay silent: the request's path is a credential, and the report says the rest."""
