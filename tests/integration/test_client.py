"""Attempts against real servers: what is sent, and what each answer becomes."""

from __future__ import annotations

import gzip
import math
import socket
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from email.utils import formatdate
from pathlib import Path

import pytest

from airflow_webhook_notify.client import KEPT_BODY, READ_BODY, Client
from airflow_webhook_notify.exceptions import ConfigurationError, PayloadError
from airflow_webhook_notify.models import Delivery, SigningSecret, derived_id
from airflow_webhook_notify.payloads import build_payload
from airflow_webhook_notify.signing import verify
from airflow_webhook_notify.version import package_version
from tests.sending import (
    DELIVERY,
    EVENT,
    LOOPBACK,
    SECRET,
    SECRET_PATH,
    assert_tells_no_secret,
    make_webhook,
)
from tests.servers import PATIENCE, Answer, RawServer, RecordingServer, read_request

NOW = 1_700_000_000.25
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def _answering(answer: bytes) -> Callable[[socket.socket, threading.Event], None]:
    def script(connection: socket.socket, stopping: threading.Event) -> None:
        read_request(connection)
        connection.sendall(answer)

    return script


def test_a_request_is_the_payload_with_our_headers_and_no_others() -> None:
    with RecordingServer() as server, Client(allowed_networks=LOOPBACK, clock=lambda: NOW) as client:
        attempt = client.send(make_webhook(server.url(SECRET_PATH)), DELIVERY, number=3)
    (request,) = server.requests
    body = build_payload(DELIVERY, derived_id(DELIVERY.id, 3))
    headers = request.header_map
    signatures = {name: headers.pop(name) for name in list(headers) if "signature" in name.lower()}
    assert (request.method, request.path, request.body) == ("POST", SECRET_PATH, body)
    assert headers == {
        "Host": f"127.0.0.1:{server.port}",
        "Content-Type": "application/json",
        "Content-Length": str(len(body)),
        "User-Agent": f"airflow-webhook-notify/{package_version()}",
        "Accept-Encoding": "identity",
        "webhook-id": EVENT.id,
        "webhook-timestamp": "1700000000",
    }
    assert set(signatures) == {"X-Hub-Signature", "X-Hub-Signature-256", "webhook-signature"}
    assert (attempt.id, attempt.delivery_id, attempt.number) == (
        derived_id(DELIVERY.id, 3),
        DELIVERY.id,
        3,
    )
    assert (attempt.started_at, attempt.status, attempt.error) == (1_700_000_000_250, 200, None)
    assert attempt.succeeded


def test_a_request_verifies_with_the_signing_secret(client: Client) -> None:
    with RecordingServer() as server:
        client.send(make_webhook(server.url()), DELIVERY, number=1)
    (request,) = server.requests
    assert verify(request.body, request.headers, SECRET).id == EVENT.id


def test_only_secrets_that_have_not_expired_sign() -> None:
    secrets = (
        SigningSecret(SECRET),
        SigningSecret("an older secret", int(NOW * 1000) + 1),
        SigningSecret("the oldest secret", int(NOW * 1000)),
    )
    with RecordingServer() as server, Client(allowed_networks=LOOPBACK, clock=lambda: NOW) as client:
        client.send(replace(make_webhook(server.url()), secrets=secrets), DELIVERY, number=1)
    signatures = server.requests[0].header("webhook-signature")
    assert signatures is not None
    assert len(signatures.split(" ")) == 2


@pytest.mark.parametrize(
    ("value", "sent"),
    [("Bearer s3cr3t", b"Bearer s3cr3t"), ("Basic ü", b"Basic \xfc"), ("key ✓", b"key \xe2\x9c\x93")],
)
def test_the_authorization_goes_out_verbatim(client: Client, value: str, sent: bytes) -> None:
    with RecordingServer() as server:
        attempt = client.send(make_webhook(server.url(), authorization=value), DELIVERY, number=1)
    arrived = server.requests[0].header("Authorization")
    assert attempt.succeeded
    assert arrived is not None
    assert arrived.encode("latin-1") == sent


def test_extra_headers_are_sent_and_never_replace_ours(client: Client) -> None:
    extra = (
        ("X-Team", "data"),
        ("webhook-ID", "forged"),
        ("x-hub-signature", "forged"),
        ("user-agent", "forged"),
        ("Authorization", "forged"),
        ("content-length", "1"),
        ("Content-Encoding", "forged"),
        ("Transfer-Encoding", "chunked"),
        ("Host", "forged"),
    )
    with RecordingServer() as server:
        assert client.send(make_webhook(server.url(), headers=extra), DELIVERY, number=1).succeeded
    (request,) = server.requests
    assert request.header("X-Team") == "data"
    assert [name for name, value in request.headers if "forged" in value] == []
    assert request.header("Content-Length") == str(len(request.body))
    assert request.header("Transfer-Encoding") is None


def test_an_extra_header_with_a_line_break_sends_nothing(client: Client) -> None:
    extra = (("X-Team", "data\r\nX-Injected: 1"),)
    with RecordingServer() as server:
        attempt = client.send(make_webhook(server.url(), headers=extra), DELIVERY, number=1)
    assert attempt.error == "the request could not be made (ValueError)"
    assert server.requests == []


def test_a_netrc_file_adds_no_authorization(client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login airflow password s3cr3t\n")
    monkeypatch.setenv("NETRC", str(netrc))
    with RecordingServer() as server:
        client.send(make_webhook(server.url()), DELIVERY, number=1)
    assert server.requests[0].header("Authorization") is None


def test_cookies_are_not_kept(client: Client) -> None:
    with RecordingServer(Answer(headers=(("Set-Cookie", "session=1; Path=/"),))) as server:
        for number in (1, 2):
            client.send(make_webhook(server.url()), DELIVERY, number=number)
    assert [request.header("Cookie") for request in server.requests] == [None, None]


@pytest.mark.parametrize("status", [200, 201, 202, 204, 206, 299])
def test_any_2xx_is_success(client: Client, status: int) -> None:
    with RecordingServer(status) as server:
        attempt = client.send(make_webhook(server.url()), DELIVERY, number=1)
    assert (attempt.status, attempt.succeeded, attempt.error) == (status, True, None)


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, "answered 400 Bad Request"),
        (401, "answered 401 Unauthorized"),
        (404, "answered 404 Not Found"),
        (429, "answered 429 Too Many Requests"),
        (500, "answered 500 Internal Server Error"),
        (599, "answered 599"),
        (304, "answered 304 Not Modified"),
    ],
)
def test_any_other_status_is_an_error_that_may_be_tried_again(client: Client, status: int, error: str) -> None:
    with RecordingServer(status) as server:
        attempt = client.send(make_webhook(server.url()), DELIVERY, number=1)
    assert (attempt.status, attempt.succeeded, attempt.error) == (status, False, error)
    assert (attempt.final, attempt.retry_after) == (False, None)


def test_410_is_final(client: Client) -> None:
    with RecordingServer(410) as server:
        attempt = client.send(make_webhook(server.url()), DELIVERY, number=1)
    assert attempt.final
    assert attempt.error == (
        "answered 410 Gone: the endpoint is gone for good; give this webhook another one, or remove it"
    )


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize(
    ("location", "place"),
    [("/elsewhere/T0KEN", ""), ("https://user:T0KEN@other.example/T0KEN", " (to https://other.example)")],
)
def test_a_redirect_is_a_failure_and_is_not_followed(client: Client, status: int, location: str, place: str) -> None:
    with RecordingServer(Answer(status, (("Location", location),)), 200) as server:
        attempt = client.send(make_webhook(server.url()), DELIVERY, number=1)
    assert len(server.requests) == 1
    assert attempt.status == status
    assert attempt.error is not None
    assert attempt.error.endswith(f", a redirect{place}, which is not followed; put the final URL into Endpoint URL")
    assert not attempt.final
    assert_tells_no_secret(attempt)


@pytest.mark.parametrize("status", [302, 429, 500, 503])
@pytest.mark.parametrize(
    ("value", "wait"), [("7", 7.0), ("999999999", 86400.0), (formatdate(NOW + 90, usegmt=True), 89.75), ("soon", None)]
)
def test_retry_after_is_passed_on(status: int, value: str, wait: float | None) -> None:
    with (
        RecordingServer(Answer(status, (("Retry-After", value),))) as server,
        Client(allowed_networks=LOOPBACK, clock=lambda: NOW) as client,
    ):
        attempt = client.send(make_webhook(server.url()), DELIVERY, number=1)
    assert attempt.retry_after == wait


@pytest.mark.parametrize(
    ("body", "kept"),
    [
        (b"", ""),
        ("größer ✓\n\tin\r\x00\x1b[31m\x7f\x9b".encode() + b"\xff", "größer ✓\n\tin[31m\ufffd"),
        (b"a" * KEPT_BODY + b"b", "a" * KEPT_BODY),
    ],
)
@pytest.mark.parametrize("status", [200, 500])
def test_the_start_of_the_response_is_kept_as_text(client: Client, status: int, body: bytes, kept: str) -> None:
    with RecordingServer(Answer(status, body=body)) as server:
        attempt = client.send(make_webhook(server.url()), DELIVERY, number=1)
    assert attempt.response == kept.replace("\x9b", "")


def test_a_compressed_response_is_not_unpacked(client: Client) -> None:
    bomb = gzip.compress(b"0" * 10_000_000)
    with RecordingServer(Answer(headers=(("Content-Encoding", "gzip"),), body=bomb)) as server:
        attempt = client.send(make_webhook(server.url()), DELIVERY, number=1)
    assert attempt.succeeded
    assert len(attempt.response) <= KEPT_BODY
    assert "000" not in attempt.response


@pytest.mark.parametrize(
    "answer",
    [
        Answer(204),
        Answer(500, body=b"x" * (READ_BODY - 1)),
        Answer(
            headers=(("Transfer-Encoding", "chunked"),), body=b"2\r\nok\r\n1000\r\n" + b"x" * 4096 + b"\r\n0\r\n\r\n"
        ),
    ],
)
def test_a_connection_is_kept_for_the_next_attempt(client: Client, answer: Answer) -> None:
    with RecordingServer(answer) as server:
        for number in (1, 2, 3):
            client.send(make_webhook(server.url()), DELIVERY, number=number)
        assert (len(server.requests), server.connections) == (3, 1)


def test_a_connection_with_too_long_a_response_is_not_kept(client: Client) -> None:
    with RecordingServer(Answer(body=b"x" * (READ_BODY + 500_000))) as server:
        attempts = [client.send(make_webhook(server.url()), DELIVERY, number=number) for number in (1, 2)]
        assert server.connections == 2
    assert [attempt.succeeded for attempt in attempts] == [True, True]


def test_a_connection_that_the_server_closed_while_idle_is_replaced(client: Client) -> None:
    with RecordingServer() as server:
        first = client.send(make_webhook(server.url()), DELIVERY, number=1)
        server.hang_up()
        second = client.send(make_webhook(server.url()), DELIVERY, number=2)
        assert server.connections == 2
    assert (first.status, second.status) == (200, 200)


def test_a_kept_connection_that_closes_as_it_is_used_is_no_failed_attempt(client: Client) -> None:
    received: list[bytes] = []

    def answer_the_first_only(connection: socket.socket, stopping: threading.Event) -> None:
        received.append(read_request(connection))
        connection.sendall(OK)
        received.append(read_request(connection))

    with RawServer(answer_the_first_only) as server:
        webhook = make_webhook(server.url())
        attempts = [client.send(webhook, DELIVERY, number=number) for number in (1, 2)]
        assert server.connections == 2
    assert [attempt.error for attempt in attempts] == [None, None]
    # The second attempt went out twice, with the same id: the endpoint may have taken it the first time.
    assert received[1].partition(b"\r\n\r\n")[2] == received[2].partition(b"\r\n\r\n")[2]


def test_where_all_kept_connections_close_as_they_are_used_a_new_one_is_made(client: Client) -> None:
    both_are_open = threading.Barrier(2, timeout=PATIENCE)

    def answer_the_first_only(connection: socket.socket, stopping: threading.Event) -> None:
        read_request(connection)
        if server.connections <= 2:
            both_are_open.wait()
        connection.sendall(OK)
        read_request(connection)

    with RawServer(answer_the_first_only) as server:
        webhook = make_webhook(server.url())
        with ThreadPoolExecutor(2) as threads:
            list(threads.map(lambda number: client.send(webhook, DELIVERY, number=number), (1, 2)))
        attempt = client.send(webhook, DELIVERY, number=3)
        assert server.connections == 3
    assert attempt.error is None


def test_a_new_connection_that_closes_is_a_failed_attempt(client: Client) -> None:
    with RawServer(_answering(b"")) as server:
        attempt = client.send(make_webhook(server.url()), DELIVERY, number=1)
        assert server.connections == 1
    assert attempt.error == "127.0.0.1 closed the connection before it answered"
    assert not attempt.final


def test_an_answer_before_the_body_was_read_counts(client: Client) -> None:
    def refuse_early(connection: socket.socket, stopping: threading.Event) -> None:
        connection.recv(100)
        connection.sendall(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        connection.shutdown(socket.SHUT_WR)
        stopping.wait(0.5)

    big = replace(DELIVERY, event=replace(EVENT, data={"Text": "x" * 5_000_000}))
    with RawServer(refuse_early) as server:
        attempt = client.send(make_webhook(server.url()), big, number=1)
    assert attempt.status == 413


def test_attempts_from_many_threads_each_get_their_own_answer(client: Client) -> None:
    with RecordingServer(Answer(body=b"ok")) as one, RecordingServer(Answer(503, body=b"busy")) as other:
        webhooks = [make_webhook(one.url()), make_webhook(other.url())] * 100
        with ThreadPoolExecutor(8) as threads:
            attempts = list(
                threads.map(lambda item: client.send(item[1], DELIVERY, number=item[0]), enumerate(webhooks))
            )
        assert one.connections <= 8
    assert [(attempt.status, attempt.response) for attempt in attempts] == [(200, "ok"), (503, "busy")] * 100
    assert {attempt.id for attempt in attempts} == {derived_id(DELIVERY.id, number) for number in range(200)}


def test_what_can_not_be_written_as_json_is_a_payload_error(client: Client) -> None:
    delivery: Delivery = replace(DELIVERY, event=replace(EVENT, data={"Custom": math.nan}))
    with pytest.raises(PayloadError):
        client.send(make_webhook("http://127.0.0.1:1/"), delivery, number=1)


def test_a_webhook_without_a_signing_secret_is_a_configuration_error(client: Client) -> None:
    with pytest.raises(ConfigurationError, match="Signing secret"):
        client.send(replace(make_webhook("http://127.0.0.1:1/"), secrets=()), DELIVERY, number=1)


@pytest.mark.parametrize(
    "answer",
    [
        b"220 mail.example.com ESMTP\r\n\r\n",
        b"\x00\xff\xfe" * 100,
        b"HTTP/1.1 abc OK\r\n\r\n",
        b"HTTP/1.1 " + b"9" * 70_000,
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200 + b"\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * 70_000 + b"\r\n\r\n",
    ],
)
def test_an_answer_that_is_not_http_is_an_error(client: Client, answer: bytes) -> None:
    with RawServer(_answering(answer)) as server:
        attempt = client.send(make_webhook(server.url()), DELIVERY, number=1)
    assert attempt.error == "127.0.0.1 answered with something that is not HTTP"
    assert (attempt.status, attempt.final) == (None, False)
