"""Nothing that the client makes others log holds an endpoint's path, a secret or what a server wrote."""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Callable

import pytest

from airflow_webhook_notify.client import Client
from tests.sending import DELIVERY, SECRET, SECRET_PATH, assert_tells_no_secret, make_webhook
from tests.servers import RawServer, RecordingServer, read_request

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def _answering(answer: bytes) -> Callable[[socket.socket, threading.Event], None]:
    def script(connection: socket.socket, stopping: threading.Event) -> None:
        read_request(connection)
        connection.sendall(answer)

    return script


@pytest.mark.parametrize(
    "answer",
    [
        OK,
        b"HTTP/1.1 200 OK\r\nnonsense T0KEN\r\nX: y\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: /T0KEN\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 503 T0KEN\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nT0KEN\r\n",
        b"garbage T0KEN\r\n\r\n",
        b"",
    ],
)
def test_no_log_record_holds_the_path_or_what_the_server_wrote(
    client: Client, caplog: pytest.LogCaptureFixture, answer: bytes
) -> None:
    for logger in ("", "urllib3", "requests"):
        caplog.set_level(logging.DEBUG, logger=logger)
    with RawServer(_answering(answer)) as server:
        attempt = client.send(make_webhook(server.url(SECRET_PATH)), DELIVERY, number=1)
    assert_tells_no_secret(attempt)
    for record in caplog.records:
        assert "T0KEN" not in record.getMessage()
        assert "T0KEN" not in str(record.exc_info)
        assert SECRET not in record.getMessage()


def test_urllib3_never_learns_the_path(
    client: Client, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("urllib3.connection", "urllib3.connectionpool"):
        monkeypatch.setattr(logging.getLogger(name), "filters", [])
        caplog.set_level(logging.DEBUG, logger=name)
    with RecordingServer() as server:
        assert client.send(make_webhook(server.url(SECRET_PATH)), DELIVERY, number=1).succeeded
    assert '"POST / HTTP/1.1" 200' in caplog.text
    assert "T0KEN" not in caplog.text


def test_urllib3_logs_for_others_as_ever(client: Client, caplog: pytest.LogCaptureFixture) -> None:
    import requests

    caplog.set_level(logging.DEBUG, logger="urllib3.connectionpool")
    with RecordingServer() as server:
        requests.get(server.url("/theirs"), timeout=5)
    assert "/theirs" in caplog.text
