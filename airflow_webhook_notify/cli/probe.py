"""One look at an endpoint from this machine, without its path: name, address, TLS and clock.

Invariant: it connects only where an attempt may, asks only for `/` by HEAD, and sends no credential.
"""

from __future__ import annotations

import os
import socket
import ssl
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from http.client import HTTPException, HTTPResponse
from urllib.parse import urlsplit

from requests.utils import get_environ_proxies, select_proxy

from airflow_webhook_notify.config import Network
from airflow_webhook_notify.failures import AttemptError, Phase, Stage, describe
from airflow_webhook_notify.models import Webhook
from airflow_webhook_notify.sockets import Candidate, permit, resolve
from airflow_webhook_notify.transport import make_tls_context
from airflow_webhook_notify.version import package_version


@dataclass(frozen=True, slots=True)
class Seen:
    """What the endpoint showed.

    :param certificate_end: seconds since the epoch; None without TLS, or where it is not verified
    :param clock_offset: seconds that its clock is ahead of ours; None where it gave no date
    """

    certificate_end: float | None
    clock_offset: float | None


def proxy_of(webhook: Webhook) -> str | None:
    """Return the URL of the proxy that attempts go through; None where they go straight."""
    return webhook.proxy or select_proxy(webhook.origin, get_environ_proxies(webhook.origin)) or None


def resolve_endpoint(webhook: Webhook) -> list[Candidate]:
    """Return the addresses of the endpoint's host.

    :raises AttemptError: where the name does not resolve
    """
    with _failures(webhook, Phase.RESOLVE):
        return resolve(_host(webhook), _port(webhook), timeout=webhook.connect_timeout)


def permit_addresses(webhook: Webhook, candidates: Sequence[Candidate], allowed: Sequence[Network]) -> list[Candidate]:
    """Return the addresses that webhooks may reach.

    :raises AttemptError: where there is none
    """
    return permit(_host(webhook), candidates, allowed)


def look_at(webhook: Webhook, candidates: Sequence[Candidate]) -> Seen:
    """Connect, and ask for the date.

    :raises AttemptError: where there is no connection, or TLS fails
    """
    with _connect(webhook, candidates) as plain:
        if urlsplit(webhook.endpoint).scheme != "https":
            return Seen(None, _clock_offset(webhook, plain))
        with _failures(webhook, Phase.TLS):
            secured = _tls_context(webhook).wrap_socket(plain, server_hostname=_host(webhook))
        with secured:
            end = (secured.getpeercert() or {}).get("notAfter")
            return Seen(
                ssl.cert_time_to_seconds(end) if isinstance(end, str) else None,
                _clock_offset(webhook, secured),
            )


def _host(webhook: Webhook) -> str:
    return urlsplit(webhook.endpoint).hostname or ""


def _port(webhook: Webhook) -> int:
    parts = urlsplit(webhook.endpoint)
    return parts.port or (443 if parts.scheme == "https" else 80)


@contextmanager
def _failures(webhook: Webhook, phase: Phase) -> Iterator[None]:
    try:
        yield
    except (OSError, UnicodeError) as error:
        raise describe(error, Stage(phase, _host(webhook), webhook.connect_timeout)) from None


def _connect(webhook: Webhook, candidates: Sequence[Candidate]) -> socket.socket:
    failed: OSError = OSError("no address")
    with _failures(webhook, Phase.CONNECT):
        for candidate in candidates:
            connection = socket.socket(candidate.family, socket.SOCK_STREAM)
            connection.settimeout(webhook.connect_timeout)
            try:
                connection.connect(candidate.sockaddr)
                return connection
            except OSError as error:
                connection.close()
                failed = error
        raise failed


def _tls_context(webhook: Webhook) -> ssl.SSLContext:
    # The authorities that attempts trust, in the same order.
    environment = os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE")
    bundle = webhook.ca_bundle or environment
    try:
        context = make_tls_context(verify=webhook.verify, ca_bundle=bundle)
    except OSError:
        raise AttemptError(f"CA bundle: {bundle} can't be read as PEM; put the path of a PEM file there") from None
    # Its own kind of socket is for attempts, whose deadline it keeps.
    context.sslsocket_class = ssl.SSLSocket
    return context


def _clock_offset(webhook: Webhook, connection: socket.socket) -> float | None:
    host = urlsplit(webhook.origin).netloc
    request = f"HEAD / HTTP/1.1\r\nHost: {host}\r\nUser-Agent: airflow-webhook-notify/{package_version()}\r\n"
    try:
        connection.sendall(f"{request}Connection: close\r\n\r\n".encode("idna" if not host.isascii() else "ascii"))
        with HTTPResponse(connection, method="HEAD") as response:
            response.begin()
            date = response.getheader("Date")
            return parsedate_to_datetime(date).timestamp() - time.time() if date else None
    except (OSError, HTTPException, ValueError, TypeError, OverflowError):
        # A receiver need not answer this; the ping says whether it takes what it must.
        return None
