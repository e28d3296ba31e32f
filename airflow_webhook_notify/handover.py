"""The hand-over of an event from a process without a database to the intake on the API server.

Invariant: it takes no longer than its timeout, and after one that failed the next ones in this process fail at
once for a while, so that a task with many callbacks waits once and not once for each.

It speaks httpx because every task process has loaded it already (Airflow's Task SDK depends on it); importing
requests there would cost more than the hand-over itself.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from airflow_webhook_notify import config
from airflow_webhook_notify.exceptions import DeliveryError
from airflow_webhook_notify.models import Event, Webhook
from airflow_webhook_notify.payloads import event_to_json
from airflow_webhook_notify.signing import sign

if TYPE_CHECKING:
    import httpx

#: Seconds that one hand-over may take.
TIMEOUT = 2.0
#: Seconds for which an intake that failed is not asked again.
COOL_DOWN = 30.0
_PREFIX = "webhook-notify"

_clients: dict[str, Any] = {}
# A connection that two processes write to is of use to neither.
os.register_at_fork(after_in_child=_clients.clear)


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
        import httpx

        try:
            answer = _client(url).post(
                url, content=body, headers={**headers, "Content-Type": "application/json"}, timeout=timeout
            )
        except (httpx.HTTPError, OSError) as error:
            raise HandOverError(f"the intake at {_origin(url)} can't be reached ({type(error).__name__})") from None
        if answer.status_code != 202:
            raise HandOverError(f"the intake at {_origin(url)} answered {answer.status_code}{_detail(answer)}")
        return str(answer.json()["Id"])


def _client(url: str) -> httpx.Client:
    """Return the client for an origin, kept for this process's next events."""
    import httpx

    origin = _origin(url)
    if origin not in _clients:
        # Without TLS, no time is spent on loading the authorities.
        _clients[origin] = httpx.Client(verify=_verify() if url.startswith("https:") else False, trust_env=True)
    return _clients[origin]  # type: ignore[no-any-return]


def _verify() -> Any:
    import ssl

    import certifi
    from airflow.configuration import conf

    # As the Task SDK does for the same server: the public authorities and, where it is self-signed, its own.
    context = ssl.create_default_context(cafile=certifi.where())
    own = conf.get("api", "ssl_cert", fallback="")
    if own:
        context.load_verify_locations(own)
    return context


def _detail(answer: httpx.Response) -> str:
    try:
        detail = answer.json()["detail"]
    except (ValueError, KeyError, TypeError):
        return ""
    return f": {detail[:200]}" if isinstance(detail, str) else ""


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
