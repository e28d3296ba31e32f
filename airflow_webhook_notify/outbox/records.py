"""The frozen values that pass into and out of the outbox.

Invariant: no row, connection or statement of SQLAlchemy leaves the outbox, only these.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from airflow_webhook_notify.models import Attempt, Delivery, DeliveryState, Event
from airflow_webhook_notify.retry import Disposition


@dataclass(frozen=True, slots=True)
class Enqueued:
    """What became of an event that was handed to the outbox.

    :param created: False where the outbox had the delivery already
    """

    delivery_id: str
    created: bool


@dataclass(frozen=True, slots=True)
class Claim:
    """A delivery that one relay may send, for as long as its lease lasts.

    :param number: of the attempt to make; 1 for the first
    :param step: the attempt's place in its schedule; a redelivery starts the schedule again at 1
    :param token: of the lease; the outbox refuses a result whose token is not the row's any more
    :param expires_at: when the lease ends and another relay may claim the delivery; milliseconds since the epoch
    :param due_at: since when the attempt has been due; milliseconds since the epoch
    :param created_at: when the outbox took the event; milliseconds since the epoch
    :param manual: a person asked for this attempt (ping, redelivery), so it goes out although the webhook is
        paused, and says nothing about the webhook's health
    """

    delivery: Delivery
    number: int
    step: int
    token: str
    expires_at: int
    due_at: int
    created_at: int
    manual: bool = False


@dataclass(frozen=True, slots=True)
class Result:
    """An attempt that was made of a claim, and what is to become of the delivery."""

    claim: Claim
    attempt: Attempt
    disposition: Disposition


@dataclass(frozen=True, slots=True)
class Recorded:
    """What `record` did.

    :param refused: ids of the deliveries whose lease had passed to another relay; nothing was written for them
    :param paused: webhooks that these results paused, with the reason
    """

    refused: frozenset[str] = frozenset()
    paused: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class DeliveryRecord:
    """One line of the delivery log. Times are milliseconds since the epoch.

    :param event_at: when the event occurred
    :param created_at: when the outbox took it
    :param due_at: when the next attempt is due; None once it is not pending any more
    :param attempts_count: attempts made so far
    :param delivered_at: when the endpoint last took it
    :param last_status: HTTP status of the latest attempt; None where no answer came, or none was made
    :param last_error: what went wrong in the latest attempt
    :param leased_until: until when a relay holds it; None where none does
    :param manual: a person asked for the attempt that is due
    """

    id: str
    webhook_id: str
    event_id: str
    topic: str
    state: DeliveryState
    event_at: int
    created_at: int
    due_at: int | None
    attempts_count: int
    delivered_at: int | None = None
    last_status: int | None = None
    last_error: str | None = None
    leased_until: int | None = None
    manual: bool = False
    dag_id: str | None = None
    run_id: str | None = None
    task_id: str | None = None
    map_index: int | None = None
    try_number: int | None = None


@dataclass(frozen=True, slots=True)
class DeliveryDetail:
    """A delivery with its event and every attempt, oldest first."""

    record: DeliveryRecord
    event: Event
    attempts: tuple[Attempt, ...] = ()


@dataclass(frozen=True, slots=True)
class DeliveryFilter:
    """Which deliveries are wanted; a None asks for nothing.

    :param webhook_ids: of any of these webhooks
    :param since: taken by the outbox at this time or later; milliseconds since the epoch
    :param until: taken before this time; milliseconds since the epoch
    """

    webhook_id: str | None = None
    webhook_ids: frozenset[str] | None = None
    state: DeliveryState | None = None
    topic: str | None = None
    dag_id: str | None = None
    run_id: str | None = None
    task_id: str | None = None
    map_index: int | None = None
    try_number: int | None = None
    since: int | None = None
    until: int | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """Some deliveries, newest first.

    :param cursor: give it back to get the next ones; None where there are no more
    """

    deliveries: tuple[DeliveryRecord, ...] = ()
    cursor: str | None = field(default=None)


@dataclass(frozen=True, slots=True)
class WebhookStatus:
    """What the outbox knows of a webhook. Times are milliseconds since the epoch.

    :param paused_at: since when its deliveries wait; None while they don't
    :param paused_reason: in words for an operator
    :param failing_since: first failed attempt after the last success; None while it does not fail
    :param last_success_at: last attempt that the endpoint took
    :param resumed_at: when it was last resumed
    """

    webhook_id: str
    paused_at: int | None = None
    paused_reason: str | None = None
    failing_since: int | None = None
    last_success_at: int | None = None
    resumed_at: int | None = None

    @property
    def paused(self) -> bool:
        """Whether its deliveries wait."""
        return self.paused_at is not None


@dataclass(frozen=True, slots=True)
class Backlog:
    """The oldest attempts that wait for one webhook, under a lease or not.

    :param oldest_due_at: when the oldest of all of them became, or becomes, due; milliseconds since the epoch
    :param oldest_manual_due_at: the same of those that a person asked for; None where there is none
    """

    webhook_id: str
    oldest_due_at: int
    oldest_manual_due_at: int | None = None
    paused: bool = False


@dataclass(frozen=True, slots=True)
class Counts:
    """How many deliveries of a webhook are in each state."""

    pending: int = 0
    delivered: int = 0
    dead_letter: int = 0
    cancelled: int = 0


@dataclass(frozen=True, slots=True)
class Hour:
    """What became of the deliveries that were taken in during one hour.

    :param failed: dead letters, and those that wait for another try after one that failed
    """

    delivered: int = 0
    failed: int = 0


@dataclass(frozen=True, slots=True)
class Traffic:
    """What goes through a webhook.

    :param waiting: deliveries that are pending
    :param hours: the last 24, the oldest first
    :param last_delivery: the one that was taken in last
    """

    waiting: int = 0
    dead_letters: int = 0
    hours: tuple[Hour, ...] = (Hour(),) * 24
    last_delivery: DeliveryRecord | None = None
