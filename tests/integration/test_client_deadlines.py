"""Servers that take their time: an attempt ends when its time is up, however they stretch it."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from airflow_webhook_notify import client as client_module
from airflow_webhook_notify.client import KEPT_BODY, Client
from tests.integration.conftest import Certificates
from tests.sending import DELIVERY, SECRET_PATH, assert_tells_no_secret, make_webhook
from tests.servers import Answer, RawServer, RecordingServer, drip, read_request

Script = Callable[[socket.socket, threading.Event], None]

#: Seconds that attempts here may take.
SHORT = 0.4
#: What they must stay below: far more than `SHORT`, for a busy machine, and far less than the servers would take.
PATIENT = 8.0
OK = b"HTTP/1.1 200 OK\r\n"


def _silent(connection: socket.socket, stopping: threading.Event) -> None:
    stopping.wait(60)


def _silent_after_request(connection: socket.socket, stopping: threading.Event) -> None:
    read_request(connection)
    stopping.wait(60)


def _drips(answer: bytes) -> Script:
    def script(connection: socket.socket, stopping: threading.Event) -> None:
        read_request(connection)
        drip(connection, stopping, answer, every=0.1)

    return script


def _repeats(start: bytes, part: bytes) -> Script:
    def script(connection: socket.socket, stopping: threading.Event) -> None:
        read_request(connection)
        connection.sendall(start)
        while not stopping.is_set():
            connection.sendall(part)

    return script


def _reads_nothing(connection: socket.socket, stopping: threading.Event) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    stopping.wait(60)


@pytest.mark.parametrize(
    "script",
    [
        _silent,
        _silent_after_request,
        _drips(OK * 200),
        _drips(OK + b"X-Header: value\r\n" * 200),
        _repeats(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        _repeats(b"", b"HTTP/1.1 100 Continue\r\nX: y\r\n\r\n"),
    ],
    ids=["silent", "silent after the request", "status line", "header lines", "100", "100 with headers"],
)
def test_a_server_that_never_ends_its_answers_head_is_given_up(client: Client, script: Script) -> None:
    with RawServer(script) as server:
        attempt = client.send(make_webhook(server.url(SECRET_PATH), timeout=SHORT), DELIVERY, number=1)
    assert attempt.error == "no answer within 0.4 s"
    assert (attempt.status, attempt.final) == (None, False)
    assert SHORT <= attempt.duration < PATIENT
    assert_tells_no_secret(attempt)


#: More than the sockets' buffers hold, and the seconds for it: to sign it takes a part of them.
BIG = replace(DELIVERY, event=replace(DELIVERY.event, data={"Text": "x" * 8_000_000}))
BIG_TIMEOUT = 1.5


def test_a_server_that_does_not_read_the_request_is_given_up(client: Client) -> None:
    with RawServer(_reads_nothing) as server:
        attempt = client.send(make_webhook(server.url(), timeout=BIG_TIMEOUT), BIG, number=1)
    assert attempt.error == "no answer within 1.5 s"
    assert attempt.duration < PATIENT


@pytest.mark.parametrize("status", [200, 500])
@pytest.mark.parametrize(
    ("framing", "part"),
    [
        (b"", b"x" * 65536),
        (b"Transfer-Encoding: chunked\r\n", b"1\r\nx\r\n"),
        (b"Content-Length: 1000000000000\r\n", b"x" * 65536),
    ],
    ids=["without length", "chunked", "with length"],
)
def test_an_endless_body_is_cut_off(client: Client, status: int, framing: bytes, part: bytes) -> None:
    head = b"HTTP/1.1 %d X\r\n%s\r\n" % (status, framing)
    with RawServer(_repeats(head, part)) as server:
        attempt = client.send(make_webhook(server.url()), DELIVERY, number=1)
    assert attempt.status == status
    assert attempt.response == "x" * KEPT_BODY
    assert attempt.duration < PATIENT


@pytest.mark.parametrize("status", [200, 302, 500])
@pytest.mark.usefixtures("_short_body")
def test_a_body_that_hangs_changes_nothing_of_its_status(client: Client, status: int) -> None:
    def script(connection: socket.socket, stopping: threading.Event) -> None:
        read_request(connection)
        connection.sendall(b"HTTP/1.1 %d X\r\nContent-Length: 500\r\n\r\nstart" % status)
        drip(connection, stopping, b"." * 1000, every=0.1)

    with RawServer(script) as server:
        webhook = make_webhook(server.url(), timeout=20.0)
        attempts = [client.send(webhook, DELIVERY, number=number) for number in (1, 2)]
        # The connection of the first is no good for the second.
        assert server.connections == 2
    for attempt in attempts:
        assert (attempt.status, attempt.succeeded) == (status, status == 200)
        assert attempt.response.startswith("start")
        assert attempt.duration < PATIENT


def test_a_body_that_is_reset_changes_nothing_of_its_status(client: Client) -> None:
    def script(connection: socket.socket, stopping: threading.Event) -> None:
        read_request(connection)
        connection.sendall(OK + b"Content-Length: 500\r\n\r\nstart")
        # Without lingering, close() resets.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    with RawServer(script) as server:
        attempt = client.send(make_webhook(server.url()), DELIVERY, number=1)
    assert (attempt.status, attempt.error) == (200, None)


def test_a_connection_that_is_reset_before_an_answer_is_an_error(client: Client) -> None:
    def script(connection: socket.socket, stopping: threading.Event) -> None:
        read_request(connection)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    with RawServer(script) as server:
        attempt = client.send(make_webhook(server.url(SECRET_PATH)), DELIVERY, number=1)
    assert attempt.error == "127.0.0.1 closed the connection before it answered"
    assert_tells_no_secret(attempt)


def test_a_port_where_nothing_listens_is_an_error(client: Client) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    attempt = client.send(make_webhook(f"http://127.0.0.1:{port}{SECRET_PATH}"), DELIVERY, number=1)
    assert attempt.error == "127.0.0.1 refused the connection"
    assert (attempt.status, attempt.final) == (None, False)


def test_a_server_that_answers_late_but_in_time_is_waited_for(client: Client) -> None:
    with RecordingServer(Answer(202, delay=SHORT)) as server:
        attempt = client.send(make_webhook(server.url(), timeout=30.0), DELIVERY, number=1)
    assert attempt.status == 202
    assert attempt.duration >= SHORT


def test_a_kept_connection_has_the_deadline_of_each_attempt(client: Client) -> None:
    with RecordingServer(200, Answer(delay=60)) as server:
        first = client.send(make_webhook(server.url(), timeout=30.0), DELIVERY, number=1)
        second = client.send(make_webhook(server.url(), timeout=SHORT), DELIVERY, number=2)
        # Time running out on it is no reason to send it once more.
        assert (server.connections, len(server.requests)) == (1, 2)
    assert (first.error, second.error) == (None, "no answer within 0.4 s")


def test_a_kept_connection_that_is_no_longer_read_is_given_up(client: Client) -> None:
    def read_the_first_only(connection: socket.socket, stopping: threading.Event) -> None:
        read_request(connection)
        connection.sendall(OK + b"Content-Length: 0\r\n\r\n")
        _reads_nothing(connection, stopping)

    with RawServer(read_the_first_only) as server:
        first = client.send(make_webhook(server.url()), DELIVERY, number=1)
        second = client.send(make_webhook(server.url(), timeout=BIG_TIMEOUT), BIG, number=2)
        assert server.connections == 1
    assert (first.error, second.error) == (None, "no answer within 1.5 s")
    assert second.duration < PATIENT


def test_a_limit_shortens_the_timeout_and_never_lengthens_it(client: Client) -> None:
    with RawServer(_silent) as server:
        shortened = client.send(make_webhook(server.url()), DELIVERY, number=1, limit=SHORT)
        kept = client.send(make_webhook(server.url(), timeout=SHORT), DELIVERY, number=1, limit=60.0)
    assert (shortened.error, kept.error) == ("no answer within 0.4 s", "no answer within 0.4 s")
    assert max(shortened.duration, kept.duration) < PATIENT


@pytest.mark.parametrize("limit", [0.0, -1.0])
def test_no_time_left_sends_nothing(client: Client, limit: float) -> None:
    with RecordingServer() as server:
        attempt = client.send(make_webhook(server.url()), DELIVERY, number=1, limit=limit)
        assert server.connections == 0
    assert (attempt.error, attempt.final) == ("no time was left for an attempt", False)


@pytest.mark.parametrize("start", [b"", b"\x16\x03\x03\x40\x00\x02\x00\x3f\xfc"], ids=["silent", "drips"])
@pytest.mark.parametrize(
    ("settings", "limit"),
    [({"connect_timeout": SHORT, "timeout": 30.0}, "0.4"), ({"connect_timeout": 30.0, "timeout": 0.5}, "0.5")],
    ids=["connect timeout", "timeout"],
)
def test_a_handshake_that_does_not_end_is_given_up(
    client: Client, start: bytes, settings: dict[str, Any], limit: str
) -> None:
    def script(connection: socket.socket, stopping: threading.Event) -> None:
        connection.recv(65536)
        if start:
            drip(connection, stopping, start + b"\0" * 1000, every=0.1)
        stopping.wait(60)

    with RawServer(script) as server:
        webhook = make_webhook(server.url(SECRET_PATH, scheme="https"), **settings)
        attempt = client.send(webhook, DELIVERY, number=1)
    assert attempt.error == f"no TLS connection to 127.0.0.1 within {limit} s"
    assert attempt.duration < PATIENT
    assert_tells_no_secret(attempt)


def test_an_answer_over_tls_has_the_same_deadline(client: Client, certificates: Certificates) -> None:
    with RecordingServer(Answer(delay=60), tls=certificates.good) as server:
        webhook = make_webhook(server.url(), ca_bundle=certificates.bundle, timeout=1.0)
        attempt = client.send(webhook, DELIVERY, number=1)
    assert attempt.error == "no answer within 1 s"
    assert attempt.duration < PATIENT


def test_a_name_server_that_hangs_is_given_up(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    release = threading.Event()

    def hang(*args: Any, **kwargs: Any) -> Any:
        release.wait(60)
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    webhook = make_webhook("https://hooks.example.com" + SECRET_PATH, connect_timeout=SHORT)
    attempt = client.send(webhook, DELIVERY, number=1)
    release.set()
    assert attempt.error == "the name hooks.example.com did not resolve within 0.4 s"
    assert attempt.duration < PATIENT


def test_a_listener_that_takes_no_connection_is_given_up(client: Client) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as server, contextlib.ExitStack() as stack:
        address = server.getsockname()
        # Fill its queue, so that the system drops what comes next.
        for _ in range(4):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(address)
        webhook = make_webhook(f"http://127.0.0.1:{address[1]}/", connect_timeout=SHORT)
        attempt = client.send(webhook, DELIVERY, number=1)
    assert attempt.error == "no connection to 127.0.0.1 within 0.4 s"
    assert attempt.duration < PATIENT


@pytest.fixture
def _short_body(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "BODY_TIMEOUT", SHORT)
