"""TLS fails closed, and its errors say what to mend."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest

from airflow_webhook_notify.client import Client
from tests.integration.conftest import Certificates
from tests.sending import DELIVERY, SECRET_PATH, assert_tells_no_secret, make_webhook
from tests.servers import Answer, RecordingServer


def test_a_certificate_of_the_ca_bundles_authority_is_accepted(client: Client, certificates: Certificates) -> None:
    with RecordingServer(Answer(body=b"ok"), tls=certificates.good) as server:
        webhook = make_webhook(server.url(SECRET_PATH), ca_bundle=certificates.bundle, allow_http=False)
        attempts = [client.send(webhook, DELIVERY, number=number) for number in (1, 2, 3)]
        assert server.connections == 1
    assert [(attempt.status, attempt.response) for attempt in attempts] == [(200, "ok")] * 3
    assert server.requests[0].path == SECRET_PATH


def test_a_kept_tls_connection_that_closed_is_replaced(client: Client, certificates: Certificates) -> None:
    with RecordingServer(tls=certificates.good) as server:
        webhook = make_webhook(server.url(), ca_bundle=certificates.bundle)
        first = client.send(webhook, DELIVERY, number=1)
        server.hang_up()
        second = client.send(webhook, DELIVERY, number=2)
    assert (first.error, second.error) == (None, None)


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        ("expired", "the certificate of 127.0.0.1 has expired; renew it"),
        (
            "other_host",
            (
                "the certificate of 127.0.0.1 is for another address (IP address mismatch); "
                "use the name that it is for in Endpoint URL"
            ),
        ),
        (
            "self_signed",
            "the certificate of 127.0.0.1 is self-signed; set CA bundle to a PEM file with it",
        ),
    ],
)
def test_a_bad_certificate_is_refused(client: Client, certificates: Certificates, kind: str, error: str) -> None:
    with RecordingServer(tls=getattr(certificates, kind)) as server:
        webhook = make_webhook(server.url(SECRET_PATH), ca_bundle=certificates.bundle)
        attempt = client.send(webhook, DELIVERY, number=1)
    assert server.requests == []
    assert (attempt.error, attempt.status) == (error, None)
    # Certificates get renewed.
    assert not attempt.final
    assert_tells_no_secret(attempt)


def test_a_certificate_for_another_name_is_refused(client: Client, certificates: Certificates) -> None:
    with RecordingServer(tls=certificates.other_host) as server:
        webhook = make_webhook(server.url(host="localhost"), ca_bundle=certificates.bundle)
        attempt = client.send(webhook, DELIVERY, number=1)
    assert server.requests == []
    assert attempt.error == (
        "the certificate of localhost is for another host (hostname mismatch); check the host in Endpoint URL"
    )


def test_an_authority_that_is_not_public_is_refused_without_a_ca_bundle(
    client: Client, certificates: Certificates
) -> None:
    with RecordingServer(tls=certificates.good) as server:
        attempt = client.send(make_webhook(server.url()), DELIVERY, number=1)
    assert server.requests == []
    assert attempt.error == (
        "the certificate of 127.0.0.1 is signed by an authority that is not trusted here; "
        "if it is yours, set CA bundle to its PEM file"
    )


@pytest.mark.parametrize("kind", ["expired", "other_host", "self_signed"])
def test_verification_can_be_switched_off_and_then_does_not_warn(
    client: Client, certificates: Certificates, kind: str
) -> None:
    with RecordingServer(tls=getattr(certificates, kind)) as server, warnings.catch_warnings():
        warnings.simplefilter("error")
        attempt = client.send(make_webhook(server.url(), verify=False), DELIVERY, number=1)
    assert attempt.succeeded


def test_webhooks_that_verify_and_do_not_share_no_connection(client: Client, certificates: Certificates) -> None:
    with RecordingServer(tls=certificates.self_signed) as server:
        lax = client.send(make_webhook(server.url(), verify=False), DELIVERY, number=1)
        strict = client.send(make_webhook(server.url()), DELIVERY, number=1)
    assert (lax.succeeded, strict.succeeded) == (True, False)


def test_the_environments_bundle_is_used_where_the_webhook_has_none(
    client: Client, certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", certificates.bundle)
    with RecordingServer(tls=certificates.good) as server:
        assert client.send(make_webhook(server.url()), DELIVERY, number=1).succeeded


def test_the_webhooks_bundle_goes_before_the_environments(
    client: Client, certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nonexistent.pem")
    with RecordingServer(tls=certificates.good) as server:
        webhook = make_webhook(server.url(), ca_bundle=certificates.bundle)
        assert client.send(webhook, DELIVERY, number=1).succeeded


def test_a_ca_bundle_that_is_missing_is_a_final_error(client: Client, tmp_path: Path) -> None:
    missing = tmp_path / "missing.pem"
    webhook = make_webhook("https://127.0.0.1:9/", ca_bundle=str(missing))
    attempt = client.send(webhook, DELIVERY, number=1)
    assert attempt.final
    assert attempt.error == (
        f"CA bundle: {missing} can't be used (No such file or directory); put the path of a PEM file there"
    )


def test_a_ca_bundle_without_certificates_is_a_final_error(client: Client, tmp_path: Path) -> None:
    empty = tmp_path / "empty.pem"
    empty.write_text("no certificate\n")
    attempt = client.send(make_webhook("https://127.0.0.1:9/", ca_bundle=str(empty)), DELIVERY, number=1)
    assert attempt.final
    assert attempt.error == (
        f"CA bundle: {empty} can't be used (no certificate in it); put the path of a PEM file there"
    )


def test_a_server_that_speaks_no_tls_is_an_error_that_says_so(client: Client) -> None:
    with RecordingServer() as server:
        endpoint = server.url(SECRET_PATH).replace("http:", "https:")
        attempt = client.send(make_webhook(endpoint), DELIVERY, number=1)
    assert attempt.error is not None
    assert attempt.error.startswith("127.0.0.1 does not speak TLS on this port; check scheme and port")
    assert_tells_no_secret(attempt)
