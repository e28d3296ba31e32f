"""One signed POST of a delivery, and what became of it as an `Attempt`.

Invariant: a 2xx is success as soon as its head is in, and nothing else is; what the network does to an attempt
ends within its time and is told in the attempt, never by an exception; and no error text holds a secret, an
Authorization value or a URL's path.
"""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

from requests import PreparedRequest, RequestException
from requests.utils import get_environ_proxies, select_proxy
from typing_extensions import Self

from airflow_webhook_notify import signing
from airflow_webhook_notify.config import Network
from airflow_webhook_notify.failures import AttemptError, describe, status_text
from airflow_webhook_notify.models import Attempt, Delivery, Webhook, derived_id, origin_of
from airflow_webhook_notify.payloads import build_payload
from airflow_webhook_notify.retry import parse_retry_after
from airflow_webhook_notify.sockets import Exchange, exchanging
from airflow_webhook_notify.transport import (
    NETWORK_ERRORS,
    Endpoint,
    Route,
    Transport,
    open_transport,
    parse_endpoint,
)
from airflow_webhook_notify.version import package_version

#: How much of a response's body is kept, in bytes.
KEPT_BODY = 4 * 1024
#: How much of it is read in all, so that the connection can be kept for the next attempt.
READ_BODY = KEPT_BODY + 64 * 1024
#: How long its body may take after its head, in seconds: it decides nothing, so it must not hold the attempt up.
BODY_TIMEOUT = 2.0

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
#: What frames a request: no extra header may say it differently.
_FRAMING = frozenset({"host", "connection", "transfer-encoding", "te", "trailer", "upgrade", "expect", "cookie"})


@dataclass(frozen=True, slots=True)
class _Outcome:
    """The part of an `Attempt` that the network decides."""

    status: int | None = None
    error: str | None = None
    response: str = ""
    retry_after: float | None = None
    final: bool = False


class Client:
    """Sends signed attempts; thread-safe, keeps connections alive per TLS verification, CA bundle and proxy.

    :param allowed_networks: networks that may be reached though they are private, loopback or reserved
    :param clock: seconds since the epoch
    """

    def __init__(self, *, allowed_networks: Sequence[Network] = (), clock: Callable[[], float] = time.time) -> None:
        self._allowed = tuple(allowed_networks)
        self._clock = clock
        self._lock = threading.Lock()
        self._transports: dict[Route, Transport] = {}
        self._proxies: dict[str, str | None] = {}

    def send(self, webhook: Webhook, delivery: Delivery, *, number: int, limit: float | None = None) -> Attempt:
        """Make one attempt and return it, whatever the network did.

        :param number: the attempt's number, 1 for the first
        :param limit: seconds that may shorten the webhook's timeout
        :raises PayloadError: where the event can't be written as JSON
        :raises ConfigurationError: where the webhook has no signing secret that can be used
        """
        now, started = self._clock(), time.monotonic()
        attempt_id = derived_id(delivery.id, number)
        body = build_payload(delivery, attempt_id)
        headers = build_headers(webhook, delivery.event.id, body, now=now)
        timeout = webhook.timeout if limit is None else min(webhook.timeout, limit)
        try:
            outcome = self._post(webhook, body, headers, timeout=timeout, started=started)
        except AttemptError as failure:
            outcome = _Outcome(error=failure.text, final=failure.final)
        return Attempt(
            id=attempt_id,
            delivery_id=delivery.id,
            number=number,
            started_at=int(now * 1000),
            duration=time.monotonic() - started,
            status=outcome.status,
            error=outcome.error,
            response=outcome.response,
            retry_after=outcome.retry_after,
            final=outcome.final,
        )

    def close(self) -> None:
        """Close the connections that are kept."""
        with self._lock:
            transports = list(self._transports.values())
            self._transports.clear()
        for transport in transports:
            transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _post(
        self, webhook: Webhook, body: bytes, headers: Mapping[str, Any], *, timeout: float, started: float
    ) -> _Outcome:
        if timeout <= 0:
            raise AttemptError("no time was left for an attempt")
        endpoint = parse_endpoint(webhook.endpoint)
        _check_scheme(endpoint.url, webhook)
        transport = self._transport(webhook, endpoint)
        request = PreparedRequest()
        request.method, request.url, request.body = "POST", endpoint.url, body
        request.headers = headers  # type: ignore[assignment] # urllib3 takes any mapping, and a dict is quicker
        exchange = Exchange(
            target=transport.target_of(endpoint),
            allowed=self._allowed,
            timeout=timeout,
            connect_timeout=min(webhook.connect_timeout, timeout),
            deadline=started + timeout,
        )
        with exchanging(exchange):
            try:
                return self._exchange(transport, request, exchange)
            except AttemptError:
                if not exchange.stale:
                    raise
            # The endpoint closed a kept connection just as we used it, which says nothing about this attempt.
            exchange.fresh = True
            return self._exchange(transport, request, exchange)

    def _exchange(self, transport: Transport, request: PreparedRequest, exchange: Exchange) -> _Outcome:
        try:
            response = transport.send(request, stream=True)
        except (RequestException, *NETWORK_ERRORS) as error:
            raise describe(error, exchange.stage) from None
        exchange.begin_body(BODY_TIMEOUT)
        text = _clean(_read_start(response.raw))
        return _judge(response.status_code, response.headers, text, now=self._clock())

    def _transport(self, webhook: Webhook, endpoint: Endpoint) -> Transport:
        proxy = webhook.proxy or self._environment_proxy(endpoint.url)
        route = Route(webhook.verify, _ca_bundle(webhook), proxy)
        with self._lock:
            if route not in self._transports:
                self._transports[route] = open_transport(route)
            return self._transports[route]

    def _environment_proxy(self, url: str) -> str | None:
        # Kept, since requests walks through the whole environment for it, which does not change.
        origin = origin_of(url)
        if origin not in self._proxies:
            self._proxies[origin] = select_proxy(origin, get_environ_proxies(origin)) or None
        return self._proxies[origin]


def build_headers(webhook: Webhook, event_id: str, body: bytes, *, now: float) -> dict[str, str | bytes]:
    """Return the headers of one attempt, with the webhook's extra headers where they don't touch ours.

    :param now: seconds since the epoch, which the signature covers
    :raises ConfigurationError: where no signing secret can be used
    """
    ours: dict[str, str | bytes] = {
        "Content-Type": "application/json",
        "Content-Length": str(len(body)),
        "User-Agent": f"airflow-webhook-notify/{package_version()}",
        "Accept-Encoding": "identity",
    }
    secrets = webhook.secrets_at(int(now * 1000))
    ours.update(signing.sign(body, secrets, message_id=event_id, timestamp=int(now)))
    if webhook.authorization:
        ours["Authorization"] = _encode(webhook.authorization)
    taken = {name.lower() for name in ours} | _FRAMING | {"authorization"}
    extra = {
        name: _encode(value)
        for name, value in webhook.headers
        if name.lower() not in taken and not name.lower().startswith("content-")
    }
    return {**extra, **ours}


def _ca_bundle(webhook: Webhook) -> str | None:
    if not webhook.verify:
        return None
    # The order of requests' own.
    environment = os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE")
    return webhook.ca_bundle or environment or None


def _encode(value: str) -> bytes:
    # RFC 9110, section 5.5: Latin-1 by tradition; what has no place in it goes out as UTF-8, which most expect.
    try:
        return value.encode("latin-1")
    except UnicodeEncodeError:
        return value.encode("utf-8", errors="replace")


def _check_scheme(url: str, webhook: Webhook) -> None:
    scheme = urlsplit(url).scheme
    if scheme == "https" or (scheme == "http" and webhook.allow_http):
        return
    advice = "give an https URL" + (", or set Allow http" if scheme == "http" else "")
    raise AttemptError(f"refused: Endpoint URL is not https; {advice}", final=True)


def _read_start(raw: Any) -> bytes:
    """Return the first bytes of a response's body, and leave its connection fit for reuse or closed."""
    body = b""
    try:
        while len(body) < READ_BODY:
            part = raw.read1(READ_BODY - len(body), decode_content=False)
            if not part:
                # The end: urllib3 has put the connection back by now.
                return body[:KEPT_BODY]
            body += part
    except NETWORK_ERRORS:
        # What had come is worth showing, and the status is known.
        pass
    raw.close()
    raw.release_conn()
    return body[:KEPT_BODY]


def _clean(body: bytes) -> str:
    return _CONTROL.sub("", body.decode("utf-8", errors="replace"))


def _judge(status: int, headers: Mapping[str, str], text: str, *, now: float) -> _Outcome:
    if 200 <= status < 300:
        return _Outcome(status, response=text)
    asked = headers.get("Retry-After")
    return _Outcome(
        status,
        error=_explain(status, headers),
        response=text,
        retry_after=None if asked is None else parse_retry_after(asked, now=now),
        final=status == HTTPStatus.GONE,
    )


def _explain(status: int, headers: Mapping[str, str]) -> str:
    answered = f"answered {status_text(status)}"
    if status in _REDIRECTS:
        # Of the place itself no more than the origin: its path may be as secret as the endpoint's.
        origin = origin_of(headers.get("Location", "")) if "://" in headers.get("Location", "") else ""
        place = f" (to {origin[:80]})" if origin.isprintable() and origin else ""
        return f"{answered}, a redirect{place}, which is not followed; put the final URL into Endpoint URL"
    if status == HTTPStatus.GONE:
        return f"{answered}: the endpoint is gone for good; give this webhook another one, or remove it"
    return answered
