"""The intake: takes events from callbacks into the outbox.

Invariant: an event is taken only where the webhook's own signing secret signed it, lately; whoever has no secret
can't tell a webhook that exists from one that does not; and no request, however made, ends in a 500.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from typing import Any

from fastapi import APIRouter, HTTPException, Request
from fastapi.concurrency import run_in_threadpool

from airflow_webhook_notify import metrics
from airflow_webhook_notify.api.cached import Cached
from airflow_webhook_notify.exceptions import (
    ConfigurationError,
    OutboxUnavailableError,
    PayloadError,
    VerificationError,
)
from airflow_webhook_notify.models import Delivery, Event, Webhook
from airflow_webhook_notify.outbox.records import Enqueued
from airflow_webhook_notify.outbox.store import Outbox
from airflow_webhook_notify.payloads import MAX_DATA, event_from_json
from airflow_webhook_notify.signing import verify
from airflow_webhook_notify.topics import PING

log = logging.getLogger(__name__)

#: The largest body that is read, in bytes: `Data` at its largest, and what stands around it.
MAX_BODY = MAX_DATA + 16 * 1024
#: Seconds for which a webhook is not read again, which costs a callback 3 ms. Where its secret was changed, that is
#: found out at once; what was signed with the old one, or for a webhook that was deleted, is taken until then.
_KEPT = 60.0
#: Seconds after which an answer has left.
_ANSWERED = 0.002
_REFUSAL = "no such webhook, or a signature that is not of its secret and of the last five minutes"
#: Verified in place of a webhook that does not exist, so that the answer takes as long.
_NOBODY = "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"


class Intake:
    """What the route does, without HTTP.

    :param outbox: where events go
    :param webhook_of: reads a webhook; raises ConfigurationError where there is none
    :param on_taken: called a moment after an event was taken in; never waits
    :param now: seconds since the epoch
    """

    def __init__(
        self,
        outbox: Outbox,
        webhook_of: Callable[[str], Webhook],
        *,
        on_taken: Callable[[], None] = lambda: None,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._outbox = outbox
        self._webhooks = Cached(webhook_of, seconds=_KEPT)
        self._on_taken = on_taken
        self._now = now

    def take(self, conn_id: str, headers: Mapping[str, str], body: bytes) -> Enqueued:
        """Verify a request and take its event in.

        :raises VerificationError: where it is not proven to be the webhook's
        :raises PayloadError: where the body is no event
        :raises OutboxUnavailableError: where the database can't take it
        """
        webhook = self._verified(conn_id, headers, body)
        event = event_from_json(body)
        self._check(event, headers)
        now = int(self._now() * 1000)
        taken = self._outbox.enqueue(Delivery.of(event, webhook.id), now=now, manual=event.topic == PING)
        if taken.created:
            metrics.count(metrics.ACCEPTED, webhook=webhook.id)
        return taken

    def announce(self) -> None:
        """Say that something was taken in; never waits."""
        self._on_taken()

    def _verified(self, conn_id: str, headers: Mapping[str, str], body: bytes) -> Webhook:
        webhook = self._webhooks.get(conn_id)
        try:
            return self._verify(webhook, headers, body)
        except VerificationError:
            # The secret may have been changed since the webhook was read.
            fresh = self._webhooks.fresh(conn_id)
            if fresh is None or fresh == webhook:
                raise
            return self._verify(fresh, headers, body)

    def _verify(self, webhook: Webhook | None, headers: Mapping[str, str], body: bytes) -> Webhook:
        now = self._now()
        secrets = webhook.secrets_at(int(now * 1000)) if webhook else (_NOBODY,)
        verify(body, headers, secrets, now=now, require_timestamp=True)
        if webhook is None:
            raise VerificationError(_REFUSAL)
        return webhook

    def _check(self, event: Event, headers: Mapping[str, str]) -> None:
        # The signature covers the header, so the two can only differ where the sender is not ours.
        if headers.get("webhook-id") != event.id:
            raise PayloadError("Id: differs from the header webhook-id")


def build_router(intake: Intake) -> APIRouter:
    """Return the intake's route."""
    router = APIRouter()

    @router.post("/v1/webhooks/{conn_id:path}/events", status_code=202)
    async def take_event(conn_id: str, request: Request) -> dict[str, Any]:
        _check_type(request)
        body = await _read_body(request)
        # Verification and the database wait; the event loop of the API server must not.
        taken = await run_in_threadpool(_answer, intake, conn_id, dict(request.headers), body)
        # Once the answer has left: a relay that wakes at once takes the interpreter from it, and a task waits for it.
        asyncio.get_running_loop().call_later(_ANSWERED, intake.announce)
        return {"Id": taken.delivery_id, "Created": taken.created}

    return router


def _check_type(request: Request) -> None:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise HTTPException(415, "the body must be application/json")


async def _read_body(request: Request) -> bytes:
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY:
            raise HTTPException(413, f"the body is over {MAX_BODY} bytes")
    return body


def _answer(intake: Intake, conn_id: str, headers: Mapping[str, str], body: bytes) -> Enqueued:
    try:
        return intake.take(conn_id, headers, body)
    except VerificationError:
        raise HTTPException(401, _REFUSAL) from None
    except PayloadError as error:
        raise HTTPException(422, str(error)) from None
    except OutboxUnavailableError as error:
        log.warning("webhook %r: an event was not taken in: %s", conn_id[:250], error)
        raise HTTPException(503, str(error)) from None
    except ConfigurationError as error:
        log.warning("webhook %r: an event was not taken in: %s", conn_id[:250], error)
        raise HTTPException(503, "the webhook can't be used; see the log of the API server") from None
