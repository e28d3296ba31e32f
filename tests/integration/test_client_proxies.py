"""Attempts through a proxy, which then is what guards the network."""

from __future__ import annotations

import socket

import pytest

from airflow_webhook_notify.client import Client
from airflow_webhook_notify.models import Attempt
from tests.integration.conftest import Certificates
from tests.sending import DELIVERY, SECRET_PATH, assert_tells_no_secret, make_webhook
from tests.servers import ProxyServer, RecordingServer

CREDENTIALS = "airflow:T0KEN"
RESOLVE = {"hooks.example.com": "127.0.0.1"}


def _with_credentials(url: str) -> str:
    return url.replace("://", f"://{CREDENTIALS}@")


def _failed(attempt: Attempt) -> str:
    assert attempt.status is None
    assert_tells_no_secret(attempt)
    return attempt.error or ""


def test_https_goes_through_a_tunnel_and_is_verified_end_to_end(certificates: Certificates) -> None:
    # Neither an allowed network nor a name server of ours: the proxy looks up and connects.
    with RecordingServer(tls=certificates.good) as server, ProxyServer(resolve=RESOLVE) as proxy, Client() as client:
        webhook = make_webhook(
            server.url(SECRET_PATH, host="hooks.example.com"), proxy=proxy.url(""), ca_bundle=certificates.bundle
        )
        attempts = [client.send(webhook, DELIVERY, number=number) for number in (1, 2)]
        assert proxy.connections == 1
    assert [attempt.error for attempt in attempts] == [None, None]
    assert proxy.asked == [f"CONNECT hooks.example.com:{server.port}"]
    assert server.requests[0].path == SECRET_PATH
    assert server.requests[0].header("Host") == f"hooks.example.com:{server.port}"


def test_a_certificate_is_checked_through_the_tunnel(certificates: Certificates) -> None:
    with RecordingServer(tls=certificates.expired) as server, ProxyServer() as proxy, Client() as client:
        webhook = make_webhook(server.url(), proxy=proxy.url(""), ca_bundle=certificates.bundle)
        error = _failed(client.send(webhook, DELIVERY, number=1))
    assert error == "the certificate of 127.0.0.1 has expired; renew it"


def test_plain_http_is_forwarded() -> None:
    with RecordingServer() as server, ProxyServer(resolve=RESOLVE) as proxy, Client() as client:
        webhook = make_webhook(server.url(SECRET_PATH, host="hooks.example.com"), proxy=proxy.url(""))
        assert client.send(webhook, DELIVERY, number=1).succeeded
    assert proxy.asked == [f"POST http://hooks.example.com:{server.port}{SECRET_PATH}"]
    assert server.requests[0].path == SECRET_PATH
    assert server.requests[0].header("Host") == f"hooks.example.com:{server.port}"


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_proxys_credentials_reach_the_proxy_alone(certificates: Certificates, scheme: str) -> None:
    tls = certificates.good if scheme == "https" else None
    with RecordingServer(tls=tls) as server, ProxyServer(credentials=CREDENTIALS) as proxy, Client() as client:
        webhook = make_webhook(server.url(), proxy=_with_credentials(proxy.url("")), ca_bundle=certificates.bundle)
        assert client.send(webhook, DELIVERY, number=1).succeeded
    assert any(name == "Proxy-Authorization" for name, _ in proxy.seen_headers[0])
    if scheme == "https":
        assert server.requests[0].header("Proxy-Authorization") is None
        assert all(name != "webhook-id" for name, _ in proxy.seen_headers[0])


def test_a_proxy_may_itself_be_reached_by_https(certificates: Certificates) -> None:
    with (
        RecordingServer(tls=certificates.good) as server,
        ProxyServer(tls=certificates.good) as proxy,
        Client() as client,
    ):
        webhook = make_webhook(server.url(), proxy=proxy.url(""), ca_bundle=certificates.bundle)
        assert client.send(webhook, DELIVERY, number=1).succeeded
        untrusted = make_webhook(server.url(), proxy=proxy.url(""))
        error = _failed(client.send(untrusted, DELIVERY, number=1))
    assert error.startswith("the certificate of the proxy 127.0.0.1 is signed by an authority that is not trusted")


@pytest.mark.parametrize(("status", "phrase"), [(407, "Proxy Authentication Required"), (403, "Forbidden")])
def test_a_proxy_that_refuses_a_tunnel_is_named(client: Client, status: int, phrase: str) -> None:
    with ProxyServer(refuse=status) as proxy:
        webhook = make_webhook("https://hooks.example.com" + SECRET_PATH, proxy=_with_credentials(proxy.url("")))
        error = _failed(client.send(webhook, DELIVERY, number=1))
    assert error == f"the proxy 127.0.0.1 opened no tunnel: it answered {status} {phrase}"


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_dead_proxy_is_named(client: Client, scheme: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    webhook = make_webhook(f"{scheme}://hooks.example.com{SECRET_PATH}", proxy=f"http://{CREDENTIALS}@127.0.0.1:{port}")
    assert _failed(client.send(webhook, DELIVERY, number=1)) == "the proxy 127.0.0.1 refused the connection"


@pytest.mark.parametrize("proxy", ["socks5://T0KEN@127.0.0.1:1080", "http://", "ftp://127.0.0.1", "http://[::1"])
def test_a_proxy_that_can_not_be_used_is_a_final_error(client: Client, proxy: str) -> None:
    attempt = client.send(make_webhook("https://hooks.example.com/", proxy=proxy), DELIVERY, number=1)
    assert attempt.final
    assert _failed(attempt).startswith("Proxy: can't be used; put an http or https URL there")


def test_the_environments_proxy_is_used(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    with RecordingServer() as server, ProxyServer(resolve=RESOLVE) as proxy:
        monkeypatch.setenv("HTTP_PROXY", f"127.0.0.1:{proxy.port}")
        monkeypatch.setenv("http_proxy", f"127.0.0.1:{proxy.port}")
        endpoint = server.url(host="hooks.example.com")
        assert client.send(make_webhook(endpoint), DELIVERY, number=1).succeeded
    assert len(proxy.asked) == 1


def test_no_proxy_keeps_an_endpoint_off_the_environments_proxy(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    with RecordingServer() as server, ProxyServer() as proxy:
        for name, value in (("http_proxy", proxy.url("")), ("no_proxy", "127.0.0.1")):
            monkeypatch.setenv(name, value)
            monkeypatch.setenv(name.upper(), value)
        assert client.send(make_webhook(server.url()), DELIVERY, number=1).succeeded
    assert proxy.asked == []


def test_the_webhooks_proxy_goes_before_the_environments(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    with RecordingServer() as server, ProxyServer() as ours, ProxyServer() as theirs:
        monkeypatch.setenv("HTTP_PROXY", theirs.url(""))
        monkeypatch.setenv("http_proxy", theirs.url(""))
        assert client.send(make_webhook(server.url(), proxy=ours.url("")), DELIVERY, number=1).succeeded
    assert (len(ours.asked), len(theirs.asked)) == (1, 0)
