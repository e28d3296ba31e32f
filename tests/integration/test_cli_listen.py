"""The local receiver, sent real requests."""

from __future__ import annotations

import io
import json
import os
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO

import pytest
import requests

from airflow_webhook_notify.cli import listen
from airflow_webhook_notify.cli.receiver import MAX_BODY, Behavior, Received, Receiver
from airflow_webhook_notify.signing import sign
from tests.integration.cli import Run, call, make_run
from tests.servers import PATIENCE

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
EVENT_ID = "3f0c8f1e-7f0e-5d7e-9d5e-0a1b2c3d4e5f"
BODY = b'{"Id":"x","Topic":"job.execution.failed","Data":{"State":"failed"}}'


def signed(body: bytes = BODY, *, secret: str = SECRET, timestamp: float | None = None) -> dict[str, str]:
    moment = int(time.time() if timestamp is None else timestamp)
    return {**sign(body, [secret], message_id=EVENT_ID, timestamp=moment), "Content-Type": "application/json"}


def post(url: str, body: bytes = BODY, headers: dict[str, str] | None = None) -> requests.Response:
    return requests.post(url, data=body, headers=signed(body) if headers is None else headers, timeout=PATIENCE)


@contextmanager
def receiving(*statuses: int, secrets: tuple[str, ...] = (SECRET,), host: str = "127.0.0.1") -> Iterator[Any]:
    """A receiver, and what it reported, which grows until it has stopped."""
    reported: list[Received] = []
    receiver = Receiver(host, 0, Behavior(secrets, statuses or (200,)), reported.append)
    receiver.start()
    try:
        yield receiver, reported
    finally:
        receiver.stop()


def wait_for(reported: list[Received], count: int) -> list[Received]:
    end = time.monotonic() + PATIENCE
    while len(reported) < count and time.monotonic() < end:
        time.sleep(0.005)
    assert len(reported) == count
    return reported


class Listening:
    """`airflow webhooks listen` in a thread, its output in a pipe."""

    def __init__(self, output: TextIO, thread: threading.Thread, codes: list[int]) -> None:
        self.output, self._thread, self._codes = output, thread, codes

    def line(self) -> str:
        """Return its next line; the empty text at its end."""
        return self.output.readline().rstrip("\n")

    def json(self) -> dict[str, Any]:
        """Return the object in its next line."""
        value: dict[str, Any] = json.loads(self.line())
        return value

    def exit_code(self) -> int:
        """Return how it ended."""
        self._thread.join(PATIENCE)
        return self._codes[0]


@contextmanager
def listening(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> Iterator[Listening]:
    read, write = os.pipe()
    codes: list[int] = []
    with os.fdopen(read, encoding="utf-8") as output, os.fdopen(write, "w", encoding="utf-8") as stdout:
        monkeypatch.setattr(sys, "stdout", stdout)
        thread = threading.Thread(target=lambda: codes.append(call(("listen", "--port", "0", *arguments))))
        thread.start()
        yield Listening(output, thread, codes)
        thread.join(PATIENCE)
        assert not thread.is_alive()


# --- what arrives ---------------------------------------------------------------------------------------------


def test_a_signed_request_is_verified_and_reported_whole() -> None:
    with receiving() as (receiver, reported):
        assert post(receiver.url).status_code == 200
        (received,) = wait_for(reported, 1)
    assert received.body == BODY
    assert (received.status, received.error) == (200, None)
    assert received.verified is not None
    assert (received.verified.dialect, received.verified.id) == ("standard-webhooks", EVENT_ID)


@pytest.mark.parametrize(
    ("headers", "error"),
    [
        ({}, "the request has no signature header"),
        (signed(secret="whsec_" + "A" * 32), "no signature in the request was made with a signing secret given here"),
        (signed(timestamp=1_614_265_330), "the request was signed more than 300 s before or after"),
    ],
)
def test_a_request_that_is_not_verified_is_answered_and_says_why(headers: dict[str, str], error: str) -> None:
    with receiving(202) as (receiver, reported):
        assert post(receiver.url, headers=headers).status_code == 202
        (received,) = wait_for(reported, 1)
    assert received.verified is None
    assert received.error is not None
    assert received.error.startswith(error)


def test_without_a_secret_nothing_is_verified_and_it_says_so() -> None:
    with receiving(secrets=()) as (receiver, reported):
        post(receiver.url)
        (received,) = wait_for(reported, 1)
    assert received.verified is None
    assert received.error == "not verified, since no signing secret was given: use --secret or --webhook"


def test_statuses_are_answered_in_turn_and_the_last_for_ever() -> None:
    with receiving(500, 429, 204) as (receiver, _):
        assert [post(receiver.url).status_code for _ in range(5)] == [500, 429, 204, 204, 204]


def test_a_body_of_the_largest_size_is_taken() -> None:
    body = b"[" + b" " * (MAX_BODY - 2) + b"]"
    with receiving() as (receiver, reported):
        assert post(receiver.url, body).status_code == 200
        (received,) = wait_for(reported, 1)
    assert received.verified is not None


def test_a_larger_body_is_refused_unread_and_uses_up_no_status() -> None:
    with receiving(201, 202) as (receiver, reported):
        assert post(receiver.url, b"x" * (MAX_BODY + 1)).status_code == 413
        assert post(receiver.url).status_code == 201
        refused, taken = wait_for(reported, 2)
    assert (refused.body, refused.status, refused.error) == (b"", 413, "refused: its body is over 1024 KiB")
    assert taken.error is None


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        (b"", 411),
        (b"Transfer-Encoding: chunked\r\n", 411),
        (b"Content-Length: -1\r\n", 400),
        (b"Content-Length: many\r\n", 400),
        (b"Content-Length: \xb2\r\n", 400),
        (b"Content-Length: 99999999999999999999\r\n", 413),
    ],
)
def test_a_body_without_a_proper_length_is_refused(headers: bytes, status: int) -> None:
    with receiving() as (receiver, reported):
        with socket.create_connection(("127.0.0.1", receiver.server_port), timeout=PATIENCE) as connection:
            connection.sendall(b"POST / HTTP/1.1\r\nHost: a\r\n" + headers + b"\r\n")
            connection.shutdown(socket.SHUT_WR)
            assert connection.makefile("rb").readline().split()[1] == str(status).encode()
        (received,) = wait_for(reported, 1)
    assert received.status == status


def test_a_body_that_breaks_off_is_reported_as_such() -> None:
    with receiving() as (receiver, reported):
        with socket.create_connection(("127.0.0.1", receiver.server_port), timeout=PATIENCE) as connection:
            connection.sendall(b"POST / HTTP/1.1\r\nContent-Length: 10\r\n\r\nhalf")
        (received,) = wait_for(reported, 1)
    assert received.error == "refused: the sender hung up before its body was complete"


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "HEAD"])
def test_other_methods_are_refused_and_not_reported(method: str) -> None:
    with receiving() as (receiver, reported):
        answer = requests.request(method, receiver.url, timeout=PATIENCE)
        assert (answer.status_code, answer.headers["Allow"]) == (405, "POST")
        assert answer.headers["Server"] == "airflow-webhook-notify"
        post(receiver.url)
        wait_for(reported, 1)


def test_it_listens_on_ipv6() -> None:
    with receiving(host="::1") as (receiver, _):
        assert receiver.url.startswith("http://[::1]:")
        assert post(receiver.url).status_code == 200


def test_stopping_does_not_wait_for_a_delayed_answer() -> None:
    taken = threading.Event()

    class Watched(Receiver):
        def next_status(self) -> int:
            taken.set()
            return super().next_status()

    receiver = Watched("127.0.0.1", 0, Behavior((SECRET,), delay=3600), lambda _: None)
    receiver.start()
    with socket.create_connection(("127.0.0.1", receiver.server_port), timeout=PATIENCE) as connection:
        connection.sendall(b"POST / HTTP/1.1\r\nContent-Length: 0\r\n\r\n")
        assert taken.wait(PATIENCE)
        receiver.stop()
        assert connection.recv(1) == b""


# --- what is printed ------------------------------------------------------------------------------------------


def received(body: bytes, *headers: tuple[str, str]) -> Received:
    return Received(headers, body, 200, None, "why not")


def test_a_line_of_json_holds_what_arrived_and_no_credential() -> None:
    line = listen.describe(
        received(
            BODY,
            ("Authorization", "Bearer abc"),
            ("X-Api-Key", "def"),
            ("Webhook-Id", EVENT_ID),
            ("User-Agent", "airflow-webhook-notify/1"),
        )
    )
    assert line == {
        "verified": False,
        "dialect": None,
        "id": EVENT_ID,
        "topic": "job.execution.failed",
        "headers": {
            "authorization": "present",
            "x-api-key": "present",
            "webhook-id": EVENT_ID,
            "user-agent": "airflow-webhook-notify/1",
        },
        "payload": json.loads(BODY),
        "status": 200,
        "error": "why not",
    }


@pytest.mark.parametrize(
    "body",
    [b"plain", b"", b"NaN", b"[1e999]", b"\xff\xfe", b"[" * 100_000, b'{"a": ' + b"1" * 5000 + b"}"],
)
def test_a_body_that_is_no_json_is_shown_as_text(body: bytes) -> None:
    line = listen.describe(received(body))
    assert line["payload"] == body.decode("utf-8", "replace")
    json.dumps(line, allow_nan=False)


@pytest.mark.parametrize("body", [b"null", b"[]", b"7", b'{"Topic": 7}'])
def test_a_body_without_a_topic_has_none(body: bytes) -> None:
    assert listen.describe(received(body))["topic"] is None


@pytest.mark.parametrize(
    "body",
    [
        b'{"Topic": "\\u001b[2J", "a": "\\u001b]0;title\\u0007\\u202e\\r", "\\u009b": "\\ud83d"}',
        b"\x1b[2J\x07\r\xc2\x9b",
    ],
)
def test_what_arrived_can_do_nothing_to_the_terminal(body: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    stdout = io.StringIO()
    monkeypatch.setattr(sys, "stdout", stdout)
    listen._print_for_people(received(body, ("X-\x1b", "v"), ("Webhook-Id", "\x1b[31m")))
    text = stdout.getvalue()
    assert all(character.isprintable() or character == "\n" for character in text)
    assert "\\x1b" in text


def test_people_see_topic_proof_headers_and_a_readable_payload(monkeypatch: pytest.MonkeyPatch) -> None:
    stdout = io.StringIO()
    monkeypatch.setattr(sys, "stdout", stdout)
    listen._print_for_people(received('{"Topic":"t","Größe":["[bold]",":bug:"]}'.encode(), ("Webhook-Id", "e")))
    assert stdout.getvalue() == (
        "t  e  NOT VERIFIED: why not  answered 200\n"
        "  webhook-id: e\n"
        '{\n  "Topic": "t",\n  "Größe": [\n    "[bold]",\n    ":bug:"\n  ]\n}\n\n'
    )


def test_a_terminal_gets_colors(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    stdout = Terminal()
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setattr(sys, "stdout", stdout)
    listen._print_for_people(received(BODY))
    assert "\x1b[31mNOT VERIFIED: why not\x1b[0m" in stdout.getvalue()


# --- the command ----------------------------------------------------------------------------------------------


def test_listen_prints_its_url_first_then_each_request_and_ends_by_count(monkeypatch: pytest.MonkeyPatch) -> None:
    with listening(
        monkeypatch, "--secret", SECRET, "--count", "2", "--status", "500,200", "--output", "json"
    ) as command:
        url = command.json()["url"]
        assert post(url).status_code == 500
        first = command.json()
        assert (first["verified"], first["dialect"], first["status"]) == (True, "standard-webhooks", 500)
        assert post(url, headers={}).status_code == 200
        second = command.json()
        assert (second["verified"], second["error"]) == (False, "the request has no signature header")
        assert command.exit_code() == 0


def test_listen_prints_for_people(monkeypatch: pytest.MonkeyPatch) -> None:
    with listening(monkeypatch, "--secret", SECRET, "--count", "1") as command:
        words = command.line().split()
        assert words[:2] == ["Listening", "on"]
        post(words[2])
        assert command.line() == f"job.execution.failed  {EVENT_ID}  verified (standard-webhooks)  answered 200"


def test_listen_verifies_with_the_secrets_of_a_webhook(airflow_db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    value = {"conn_type": "webhook", "host": "https://example.org", "password": SECRET}
    monkeypatch.setenv("AIRFLOW_CONN_LISTENED", json.dumps(value))
    with listening(monkeypatch, "--webhook", "listened", "--count", "1", "--output", "json") as command:
        post(command.json()["url"])
        assert command.json()["verified"] is True


def test_listen_takes_several_secrets_from_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    other = "whsec_" + "B" * 32
    monkeypatch.setattr(sys, "stdin", io.StringIO(f"{other}\n{SECRET}\n"))
    arguments = ("--secret", "-", "--secret", "-", "--count", "2", "--output", "json")
    with listening(monkeypatch, *arguments) as command:
        url = command.json()["url"]
        for secret in (other, SECRET):
            post(url, headers=signed(secret=secret))
            assert command.json()["verified"] is True


def test_listen_ends_when_nobody_reads_any_more(monkeypatch: pytest.MonkeyPatch) -> None:
    with listening(monkeypatch, "--secret", SECRET, "--output", "json") as command:
        url = command.json()["url"]
        command.output.close()
        post(url)
        assert command.exit_code() == 0


def test_a_port_that_is_taken_is_one_line(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    run: Run = make_run(capsys, monkeypatch)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ended = run("listen", "--port", str(port))
    assert (ended.code, ended.out) == (1, "")
    assert ended.err == (
        f"Error: Can't listen on 127.0.0.1 port {port}: Address already in use; choose another --host or --port\n"
    )


def test_a_secret_that_cannot_be_used_is_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = make_run(capsys, monkeypatch)("listen", "--secret", "whsec_!mistyped!")
    assert (ended.code, ended.out) == (1, "")
    assert ended.err.startswith("Error: Signing secret: ")
    assert "mistyped" not in ended.err
