"""The hand-over of an event from a process without a database to the intake on the API server.

Invariant: it takes no longer than its timeout, and after one that failed the next ones in this process fail at
once for a while, so that a task with many callbacks waits once and not once for each.

It speaks `http.client`: the first request of a process costs 3 ms of processor time with it, with httpx 11 ms and
with requests 124 ms. Nothing is kept open: seldom do two events of one process come within the five seconds for
which the API server would keep a connection.
"""

from __future__ import annotations

import base64
import functools
import http.client
import json
import ssl
import time
from collections.abc import Callable
from urllib.parse import quote, unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

from airflow_webhook_notify import config
from airflow_webhook_notify.exceptions import DeliveryError
from airflow_webhook_notify.models import Event, Webhook
from airflow_webhook_notify.payloads import event_to_json
from airflow_webhook_notify.signing import sign

#: Seconds that one hand-over may take.
TIMEOUT = 2.0
#: Seconds for which an intake that failed is not asked again.
COOL_DOWN = 30.0
#: Bytes of an answer that are read; the intake's own have a hundred.
_MAX_ANSWER = 64 * 1024
_PREFIX = "webhook-notify"


class HandOverError(DeliveryError):
    """The intake did not take an event; the text says why, without a secret or a URL path."""


def intake_url() -> str:
    """Return the address that the intake's routes begin with.

    On the server that `[webhook_notify] intake_url` names, else on the one that this process's Task SDK talks to.

    :raises ConfigurationError: where the option can't be used
    """
    from airflow.configuration import conf

    named = config.INTAKE_URL.read()
    if named:
        return f"{named.rstrip('/')}/{_PREFIX}"
    base = conf.get("api", "base_url", fallback="") or "/"
    base = f"http://localhost:8080{base}" if base.startswith("/") else base
    execution = conf.get("core", "execution_api_server_url", fallback="") or f"{base.rstrip('/')}/execution/"
    return f"{execution.rstrip('/').removesuffix('/execution')}/{_PREFIX}"


class HandOver:
    """Hands events over to one intake.

    :param clock: seconds of a clock that never goes back
    :param now: seconds since the epoch
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic, now: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._now = now
        self._failed: tuple[float, str] | None = None

    @property
    def seems_well(self) -> bool:
        """Whether the intake did not fail lately."""
        return self._failed is None or self._clock() >= self._failed[0]

    def send(self, webhook: Webhook, event: Event, *, timeout: float = TIMEOUT) -> str:
        """Hand the event over and return the id of its delivery.

        :param timeout: seconds
        :raises HandOverError: where the intake can't be reached or does not take it
        :raises ConfigurationError: where `[webhook_notify] intake_url` can't be used
        """
        if self._failed is not None and not self.seems_well:
            raise HandOverError(f"{self._failed[1]} (tried a moment ago)")
        url = f"{intake_url()}/v1/webhooks/{quote(webhook.id, safe='')}/events"
        body = event_to_json(event)
        now = self._now()
        headers = sign(body, webhook.secrets_at(int(now * 1000)), message_id=event.id, timestamp=int(now))
        try:
            return self._post(url, body, headers, timeout)
        except HandOverError as error:
            self._failed = (self._clock() + COOL_DOWN, str(error))
            raise

    def _post(self, url: str, body: bytes, headers: dict[str, str], timeout: float) -> str:
        try:
            status, answer = _exchange(url, body, {**headers, "Content-Type": "application/json"}, timeout)
        except (http.client.HTTPException, OSError) as error:
            raise HandOverError(f"the intake at {_origin(url)} can't be reached ({type(error).__name__})") from None
        if status != 202:
            raise HandOverError(f"the intake at {_origin(url)} answered {status}{_text_of(answer, 'detail', ': ')}")
        return _text_of(answer, "Id")


def _exchange(url: str, body: bytes, headers: dict[str, str], timeout: float) -> tuple[int, bytes]:
    """Post once and return status and body of the answer."""
    end = time.monotonic() + timeout
    connection, path, more = _connection(url, timeout)
    try:
        connection.request("POST", path, body, {**headers, **more, "Connection": "close"})
        # What connecting took is gone.
        connection.sock.settimeout(max(0.05, end - time.monotonic()))
        answer = connection.getresponse()
        return answer.status, answer.read(_MAX_ANSWER)
    finally:
        connection.close()


def _connection(url: str, timeout: float) -> tuple[http.client.HTTPConnection, str, dict[str, str]]:
    """Return a connection for the URL, what to ask for on it, and the headers that its proxy wants."""
    parts = urlsplit(url)
    host, port, secure = parts.hostname or "", parts.port, parts.scheme == "https"
    proxies = getproxies()
    proxy = proxies.get(parts.scheme) or proxies.get("all")
    if not proxy or proxy_bypass(f"{host}:{port}" if port else host):
        return _connect(host, port, timeout=timeout, secure=secure), parts.path, {}
    via = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
    credentials = f"{unquote(via.username or '')}:{unquote(via.password or '')}"
    encoded = base64.b64encode(credentials.encode()).decode()
    wanted = {"Proxy-Authorization": f"Basic {encoded}"} if via.username else {}
    connection = _connect(via.hostname or "", via.port, timeout=timeout, secure=secure)
    if not secure:
        return connection, url, wanted
    connection.set_tunnel(host, port, wanted)
    return connection, parts.path, {}


def _connect(host: str, port: int | None, *, timeout: float, secure: bool) -> http.client.HTTPConnection:
    if secure:
        return http.client.HTTPSConnection(host, port, timeout=timeout, context=_context())
    return http.client.HTTPConnection(host, port, timeout=timeout)


@functools.cache
def _context() -> ssl.SSLContext:
    import certifi
    from airflow.configuration import conf

    # As the Task SDK does for the same server: the public authorities and, where it is self-signed, its own.
    context = ssl.create_default_context(cafile=certifi.where())
    own = conf.get("api", "ssl_cert", fallback="")
    if own:
        context.load_verify_locations(own)
    return context


def _text_of(answer: bytes, name: str, before: str = "") -> str:
    try:
        text = json.loads(answer)[name]
    except (ValueError, KeyError, TypeError, RecursionError):
        return ""
    return f"{before}{text[:200]}" if isinstance(text, str) else ""


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
