"""What is known of each webhook: from its Connection, the outbox and the clock.

Invariant: a webhook is shown whether or not its Connection can be used and whether or not there is an outbox; the
Connections are read once and the outbox in a handful of statements, however many webhooks there are.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field

from airflow_webhook_notify import connection
from airflow_webhook_notify.connection import DATABASE, ListedWebhook
from airflow_webhook_notify.exceptions import OutboxUnavailableError
from airflow_webhook_notify.models import Webhook
from airflow_webhook_notify.moments import show_moment
from airflow_webhook_notify.outbox.records import DeliveryRecord, Hour, Traffic, WebhookStatus
from airflow_webhook_notify.outbox.store import Outbox

ACTIVE, FAILING, PAUSED, UNUSABLE = "active", "failing", "paused", "unusable"


@dataclass(frozen=True, slots=True)
class WebhookOverview:
    """One webhook.

    :param source: `database`, `environment` or `secrets backend`
    :param webhook: None where its Connection can't be used
    :param problem: why not
    :param encrypted: whether its signing secret is encrypted where it is stored
    :param status: whether it is paused or failing
    :param traffic: of the last 24 hours
    :param outbox_problem: why the outbox can't be read, so that `status` and `traffic` say nothing; None where it can
    """

    id: str
    source: str
    webhook: Webhook | None
    problem: str | None
    encrypted: bool
    status: WebhookStatus
    traffic: Traffic = field(default_factory=Traffic)
    outbox_problem: str | None = None

    @property
    def nickname(self) -> str:
        """What people call it; its id where it has no nickname."""
        return self.webhook.nickname if self.webhook else self.id

    @property
    def editable(self) -> bool:
        """Whether it is kept in the metadata database, where it can be changed from here."""
        return self.source == DATABASE

    @property
    def state(self) -> str:
        """One of `active`, `failing`, `paused` and `unusable`."""
        if self.webhook is None:
            return UNUSABLE
        if self.status.paused:
            return PAUSED
        return FAILING if self.status.failing_since is not None else ACTIVE

    @property
    def state_reason(self) -> str | None:
        """Why it is in its state, in words; None while it is active."""
        if self.webhook is None:
            return self.problem
        if self.status.paused:
            return self.status.paused_reason
        if self.status.failing_since is not None:
            return f"no attempt has succeeded since {show_moment(self.status.failing_since)}"
        return None

    @property
    def waiting(self) -> int:
        """How many deliveries are pending."""
        return self.traffic.waiting

    @property
    def dead_letters(self) -> int:
        """How many deliveries are dead letters."""
        return self.traffic.dead_letters

    @property
    def last_delivery(self) -> DeliveryRecord | None:
        """The delivery that was taken in last."""
        return self.traffic.last_delivery

    @property
    def hours(self) -> tuple[Hour, ...]:
        """The last 24 hours, the oldest first."""
        return self.traffic.hours

    @property
    def success_rate(self) -> float | None:
        """What part of the deliveries of the last 24 hours that were tried was delivered; None where none was tried."""
        delivered, failed = sum(hour.delivered for hour in self.hours), sum(hour.failed for hour in self.hours)
        return delivered / (delivered + failed) if delivered + failed else None


@dataclass(frozen=True, slots=True)
class Overview:
    """Some webhooks, by id.

    :param cursor: the id after which the next ones come; None where there are no more
    :param problem: why the outbox can't be read, and what to do; None where it can
    """

    webhooks: tuple[WebhookOverview, ...]
    cursor: str | None = None
    problem: str | None = None


def webhooks(
    outbox: Outbox,
    *,
    now: int,
    permitted: Callable[[Collection[str]], Collection[str]] = frozenset,
    after: str | None = None,
    limit: int | None = None,
) -> Overview:
    """Return the webhooks of the metadata database and the environment, by id.

    :param now: milliseconds since the epoch
    :param permitted: of the ids that it is given returns those that may be shown
    :param after: only those whose ids come after this one
    :param limit: at most so many
    """
    listed = connection.list_webhooks()
    may_be_shown = permitted({each.id for each in listed})
    wanted = [each for each in listed if each.id in may_be_shown and (after is None or each.id > after)]
    shown = wanted[:limit]
    found, problem = _known(outbox, [each.id for each in shown], now=now)
    cursor = shown[-1].id if len(wanted) > len(shown) and shown else None
    return Overview(tuple(_overview(each, found, problem) for each in shown), cursor, problem)


def one(outbox: Outbox, conn_id: str, *, now: int) -> WebhookOverview:
    """Return one webhook, also one of a secrets backend, which no listing has.

    :param now: milliseconds since the epoch
    :raises UnknownWebhookError: where there is none
    """
    listed = connection.find_webhook(conn_id)
    found, problem = _known(outbox, [conn_id], now=now)
    return _overview(listed, found, problem)


_Known = Mapping[str, tuple[WebhookStatus, Traffic]]


def _known(outbox: Outbox, webhook_ids: Collection[str], *, now: int) -> tuple[_Known, str | None]:
    try:
        statuses, traffic = outbox.webhook_states(webhook_ids), outbox.traffic(webhook_ids, now=now)
    except OutboxUnavailableError as error:
        return {}, str(error)
    return {each: (statuses.get(each, WebhookStatus(each)), traffic[each]) for each in webhook_ids}, None


def _overview(listed: ListedWebhook, known: _Known, problem: str | None) -> WebhookOverview:
    status, traffic = known.get(listed.id, (WebhookStatus(listed.id), Traffic()))
    return WebhookOverview(
        listed.id,
        listed.source,
        listed.webhook,
        listed.problem,
        listed.encrypted,
        status,
        traffic,
        outbox_problem=problem,
    )
