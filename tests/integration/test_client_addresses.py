"""Addresses that webhooks may not reach, checked where the connection is made."""

from __future__ import annotations

import contextlib
import ipaddress
import socket
from typing import Any

import pytest

from airflow_webhook_notify import sockets
from airflow_webhook_notify.addresses import Network
from airflow_webhook_notify.client import Client
from tests.sending import DELIVERY, LOOPBACK, SECRET_PATH, assert_tells_no_secret, make_webhook
from tests.servers import RecordingServer

OPTION = "[webhook_notify] allowed_networks"
ONLY_ONE: tuple[Network, ...] = (ipaddress.ip_network("127.0.0.1/32"),)


def _has_ipv6() -> bool:
    with contextlib.suppress(OSError), socket.create_server(("::1", 0), family=socket.AF_INET6):
        return True
    return False


class Resolver:
    """Answers look-ups of names that do not exist, each with the next of its answers; the last one stays."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **answers: list[list[str]]) -> None:
        self.asked: list[str] = []
        self._answers = answers
        self._real = socket.getaddrinfo
        monkeypatch.setattr(socket, "getaddrinfo", self._look_up)

    def _look_up(self, host: str, port: int, *args: Any, **kwargs: Any) -> list[Any]:
        self.asked.append(host)
        answers = self._answers[host.partition(".")[0]]
        addresses = answers.pop(0) if len(answers) > 1 else answers[0]
        return [found for address in addresses for found in self._real(address, port, *args, **kwargs)]


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("localhost", None),
        ("2130706433", "127.0.0.1"),
        ("0x7f000001", "127.0.0.1"),
        ("0x7f.1", "127.0.0.1"),
        ("0177.0.0.1", "127.0.0.1"),
        ("127.1", "127.0.0.1"),
        ("0", "0.0.0.0"),
        ("0.0.0.0", "0.0.0.0"),
        pytest.param("::ffff:127.0.0.1", "127.0.0.1", marks=pytest.mark.skipif(not _has_ipv6(), reason="no IPv6 here")),
    ],
)
def test_every_way_to_write_a_loopback_address_is_refused(host: str, address: str | None) -> None:
    with RecordingServer() as server, Client() as client:
        attempt = client.send(make_webhook(server.url(SECRET_PATH, host=host)), DELIVERY, number=1)
        assert server.connections == 0
    assert attempt.error is not None
    assert attempt.error.startswith("refused: ")
    if address:
        assert f"to allow it, add {address}/32 to {OPTION}" in attempt.error
    assert attempt.status is None
    assert_tells_no_secret(attempt)


def test_a_refusal_is_final_and_says_what_to_do() -> None:
    with Client() as client:
        attempt = client.send(make_webhook("http://127.0.0.1:9/"), DELIVERY, number=1)
    assert attempt.final
    assert attempt.error == (f"refused: 127.0.0.1 is a loopback address; to allow it, add 127.0.0.1/32 to {OPTION}")


@pytest.mark.skipif(not _has_ipv6(), reason="no IPv6 here")
def test_ipv6_is_refused_and_allowed_alike(client: Client) -> None:
    with RecordingServer(host="::1") as server, Client() as strict:
        refused = strict.send(make_webhook(server.url()), DELIVERY, number=1)
        sent = client.send(make_webhook(server.url()), DELIVERY, number=1)
        assert server.connections == 1
    assert refused.error == f"refused: ::1 is a loopback address; to allow it, add ::1/128 to {OPTION}"
    assert sent.succeeded
    assert server.requests[0].header("Host") == f"[::1]:{server.port}"


def test_a_name_with_public_and_private_addresses_is_tried_at_the_allowed_ones_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    Resolver(monkeypatch, hooks=[["127.0.0.2", "127.0.0.1"]])
    with (
        RecordingServer() as server,
        socket.create_server(("127.0.0.2", server.port)) as private,
        Client(allowed_networks=ONLY_ONE) as client,
    ):
        attempt = client.send(make_webhook(server.url(host="hooks.example.com")), DELIVERY, number=1)
        private.setblocking(False)
        with pytest.raises(BlockingIOError):
            private.accept()
    assert attempt.succeeded


def test_a_name_that_resolves_to_a_private_address_on_the_second_look_up_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    resolver = Resolver(monkeypatch, hooks=[["127.0.0.1"], ["127.0.0.2"]])
    with (
        RecordingServer() as server,
        RecordingServer(host="127.0.0.2") as private,
        Client(allowed_networks=ONLY_ONE) as client,
    ):
        webhook = make_webhook(server.url(host="hooks.example.com"))
        first = client.send(webhook, DELIVERY, number=1)
        # One look-up: the address that was checked is the address that was connected to.
        assert (first.succeeded, resolver.asked) == (True, ["hooks.example.com"])
        server.hang_up()
        second = client.send(webhook, DELIVERY, number=2)
        assert (len(server.requests), private.connections) == (1, 0)
    assert second.error == (
        "refused: hooks.example.com resolves to 127.0.0.2, a loopback address; "
        f"to allow it, add 127.0.0.2/32 to {OPTION}"
    )


def test_the_address_is_checked_once_more_on_the_connected_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sockets.DeadlineSocket, "getpeername", lambda _: ("10.0.0.1", 80), raising=False)
    with RecordingServer() as server, Client(allowed_networks=LOOPBACK) as client:
        attempt = client.send(make_webhook(server.url()), DELIVERY, number=1)
    assert server.requests == []
    assert attempt.error == (
        f"refused: 127.0.0.1 resolves to 10.0.0.1, a private address; to allow it, add 10.0.0.1/32 to {OPTION}"
    )


def test_the_next_address_is_tried_where_one_refuses_connections(
    monkeypatch: pytest.MonkeyPatch, client: Client
) -> None:
    Resolver(monkeypatch, hooks=[["127.0.0.3", "127.0.0.1"]])
    with RecordingServer() as server:
        assert client.send(make_webhook(server.url(host="hooks.example.com")), DELIVERY, number=1).succeeded


def test_a_name_that_does_not_resolve_is_an_error_that_names_it(
    monkeypatch: pytest.MonkeyPatch, client: Client
) -> None:
    def unknown(*args: Any, **kwargs: Any) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    attempt = client.send(make_webhook("https://hooks.example.com" + SECRET_PATH), DELIVERY, number=1)
    assert attempt.error == "the name hooks.example.com does not resolve: Name or service not known"
    assert (attempt.final, attempt.status) == (False, None)


@pytest.mark.parametrize("host", ["a" * 64 + ".example.com", "a..b.example.com"])
def test_what_can_not_be_a_name_is_an_error(client: Client, host: str) -> None:
    attempt = client.send(make_webhook(f"https://{host}{SECRET_PATH}"), DELIVERY, number=1)
    assert attempt.error is not None
    assert "resolve" in attempt.error or attempt.error.startswith("Endpoint URL: is not a URL")
    assert_tells_no_secret(attempt)


@pytest.mark.parametrize(
    "endpoint",
    ["", "hooks.example.com/T0KEN", "https://", "https:///T0KEN", "https://[::1/T0KEN", "https://h:99999/T0KEN"],
)
def test_what_is_no_url_is_a_final_error(client: Client, endpoint: str) -> None:
    attempt = client.send(make_webhook(endpoint), DELIVERY, number=1)
    assert attempt.final
    assert attempt.error is not None
    assert "Endpoint URL" in attempt.error
    assert "https" in attempt.error
    assert_tells_no_secret(attempt)


@pytest.mark.parametrize("scheme", ["http", "HTTP"])
def test_plain_http_is_refused_where_the_webhook_does_not_allow_it(client: Client, scheme: str) -> None:
    with RecordingServer() as server:
        endpoint = server.url(SECRET_PATH).replace("http", scheme, 1)
        attempt = client.send(make_webhook(endpoint, allow_http=False), DELIVERY, number=1)
        assert server.connections == 0
    assert attempt.final
    assert attempt.error == ("refused: Endpoint URL is not https; give an https URL, or set Allow http")


@pytest.mark.parametrize("scheme", ["ftp", "file", "gopher", "httpx", "ws"])
def test_other_schemes_are_refused(client: Client, scheme: str) -> None:
    attempt = client.send(make_webhook(f"{scheme}://127.0.0.1/T0KEN"), DELIVERY, number=1)
    assert (attempt.error, attempt.final) == (
        "refused: Endpoint URL is not https; give an https URL",
        True,
    )
