"""`WebhookHook`: hand an event over to the outbox, deliver it directly, or ping the webhook.

Invariant: no call outlasts its deadline, and what it raises or returns says how the last attempt ended without a
secret or a URL path in it.
"""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

from airflow.sdk import BaseHook

from airflow_webhook_notify import config
from airflow_webhook_notify.connection import get_webhook
from airflow_webhook_notify.connection_form import HOOK_NAME
from airflow_webhook_notify.exceptions import DeliveryError, WebhookError
from airflow_webhook_notify.handover import TIMEOUT, HandOver
from airflow_webhook_notify.models import Attempt, Delivery, Event, Webhook
from airflow_webhook_notify.names import CONN_TYPE, DEFAULT_CONN_ID
from airflow_webhook_notify.payloads import ping_event
from airflow_webhook_notify.retry import DirectSchedule

if TYPE_CHECKING:
    from airflow_webhook_notify.client import Client

_hand_over = HandOver()


def intake_seems_well() -> bool:
    """Return whether the intake did not fail this process lately."""
    return _hand_over.seems_well


_clients: dict[tuple[config.Network, ...], Client] = {}
# A connection that two processes write to is of use to neither.
os.register_at_fork(after_in_child=_clients.clear)


def shared_client() -> Client:
    """Return this process's client, which keeps its connections alive from one event to the next.

    :raises ConfigurationError: where `[webhook_notify] allowed_networks` can't be read
    """
    # Here, not above: importing requests costs 124 ms, and the connection form needs only this module's class.
    from airflow_webhook_notify.client import Client

    networks = config.ALLOWED_NETWORKS.read()
    if networks not in _clients:
        _clients[networks] = Client(allowed_networks=networks)
    return _clients[networks]


class Ping(NamedTuple):
    """A ping and how it ended."""

    event: Event
    attempt: Attempt


class WebhookHook(BaseHook):
    """Delivers events to one webhook.

    :param webhook_conn_id: id of a Connection of type `webhook`
    :param webhook: the webhook itself, where the caller has read it already
    :param clock: seconds of a clock that never goes back
    :param sleep: waits so many seconds
    """

    conn_name_attr = "webhook_conn_id"
    default_conn_name = DEFAULT_CONN_ID
    conn_type = CONN_TYPE
    hook_name = HOOK_NAME

    def __init__(
        self,
        webhook_conn_id: str = DEFAULT_CONN_ID,
        *,
        webhook: Webhook | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        super().__init__()
        self.webhook_conn_id = webhook_conn_id
        self._clock = clock
        self._sleep = sleep
        if webhook is not None:
            self.webhook = webhook

    @cached_property
    def webhook(self) -> Webhook:
        """The webhook, read once.

        :raises ConfigurationError: where there is no such Connection or it can't be used
        """
        return get_webhook(self.webhook_conn_id)

    def get_conn(self) -> Webhook:
        """Return the webhook, as hooks return what they connect with."""
        return self.webhook

    def deliver(self, event: Event, *, deadline: float | None = None) -> Attempt:
        """Deliver the event now, with up to 3 tries, and return the one that succeeded.

        :param deadline: seconds for all tries and the waits between them; default
            `[webhook_notify] direct_deadline`
        :raises DeliveryError: where no try succeeded; it says how the last one ended
        :raises ConfigurationError: where the Connection or an option can't be used
        """
        end = self._clock() + (config.DIRECT_DEADLINE.read() if deadline is None else deadline)
        delivery, client, schedule = Delivery.of(event, self.webhook.id), shared_client(), DirectSchedule()
        number = 1
        while True:
            attempt = client.send(self.webhook, delivery, number=number, limit=max(0.05, end - self._clock()))
            if attempt.succeeded:
                return attempt
            wait = None
            if not attempt.final:
                remaining = end - self._clock()
                wait = schedule.wait_after(number, retry_after=attempt.retry_after, remaining=remaining)
            if wait is None:
                raise DeliveryError(_outcome(self.webhook, event, attempt))
            self._sleep(wait)
            number += 1

    def enqueue(self, event: Event, *, timeout: float | None = None) -> str:
        """Hand the event over to the outbox, which delivers it however long that takes; return the delivery's id.

        For processes without a database, such as tasks: through the intake on the API server.

        :param timeout: seconds; default 2
        :raises HandOverError: where the intake can't be reached or does not take it
        :raises ConfigurationError: where the Connection or an option can't be used
        """
        return _hand_over.send(self.webhook, event, timeout=TIMEOUT if timeout is None else min(timeout, TIMEOUT))

    def ping(self) -> Ping:
        """Send one `webhook.ping`, in one attempt, and return how it ended.

        :raises ConfigurationError: where the Connection or an option can't be used
        """
        event = ping_event(
            self.webhook,
            event_id=str(uuid.uuid4()),
            organization_id=config.organization_id(),
            now=int(time.time() * 1000),
        )
        delivery = Delivery.of(event, self.webhook.id)
        return Ping(event, shared_client().send(self.webhook, delivery, number=1))

    def test_connection(self) -> tuple[bool, str]:
        """Ping the webhook, for the Test button of Airflow's connection page."""
        # Here, not above: a task never tests a webhook.
        from airflow_webhook_notify import pings

        try:
            webhook = pings.as_stored(self.webhook)
            ping = WebhookHook(webhook.id, webhook=webhook).ping()
        except WebhookError as error:
            return False, str(error)
        if webhook is not self.webhook:
            pings.log_or_warn(webhook.id, ping.event, ping.attempt)
        attempt = ping.attempt
        if attempt.succeeded:
            return True, f"{self.webhook.origin} answered the ping with {attempt.status}"
        return False, f"{self.webhook.origin}: {attempt.error}"


def _outcome(webhook: Webhook, event: Event, attempt: Attempt) -> str:
    tries = "1 attempt" if attempt.number == 1 else f"{attempt.number} attempts"
    return f"{event.topic} {event.id} was not delivered to {webhook.origin} in {tries}: {attempt.error}"
