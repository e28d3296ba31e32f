"""The outbox as the rest of the package uses it.

Invariant: every method is one transaction of its own on a connection of its own (never Airflow's scoped session),
unless it says otherwise; it raises nothing of SQLAlchemy's but :class:`OutboxUnavailableError`.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

from sqlalchemy import insert, select
from sqlalchemy.engine import Connection, Engine

from airflow_webhook_notify.models import Attempt, Delivery, DeliveryState
from airflow_webhook_notify.outbox import claims, listing, pulse, redelivery, tables, traffic, webhook_rows
from airflow_webhook_notify.outbox.inserts import insert_new
from airflow_webhook_notify.outbox.records import (
    Backlog,
    Claim,
    Counts,
    DeliveryDetail,
    DeliveryFilter,
    Enqueued,
    Page,
    Recorded,
    Result,
    Traffic,
    WebhookStatus,
)
from airflow_webhook_notify.outbox.results import record
from airflow_webhook_notify.outbox.rows import Values, attempt_values, delivery_values, latest_attempt_values
from airflow_webhook_notify.outbox.transactions import airflow_engine, explained, reading, writing


class Outbox:
    """The deliveries, attempts and webhook states in one database. Thread-safe.

    Every time is milliseconds since the epoch. Every method raises :class:`OutboxMissingError` where the tables
    were never made, and :class:`OutboxUnavailableError` where the database can't do what it was asked.

    :param engine: None for Airflow's own
    :param new_token: makes the token of a lease, at most 36 characters that no other claim ever gets
    """

    def __init__(self, engine: Engine | None = None, *, new_token: Callable[[], str] | None = None) -> None:
        self._engine = engine
        self._new_token = new_token or (lambda: str(uuid.uuid4()))

    @property
    def engine(self) -> Engine:
        """The engine that it works on; Airflow's own is asked for each time, since Airflow replaces it."""
        return self._engine or airflow_engine()

    def check(self) -> None:
        """Return where the tables are there and can be read.

        :raises OutboxMissingError: where they were never made, or are older than this package
        """
        with reading(self.engine) as connection:
            for table in tables.metadata.tables.values():
                connection.execute(select(table).limit(0))

    # Taking events in

    def enqueue(self, delivery: Delivery, *, now: int, manual: bool = False) -> Enqueued:
        """Take a delivery in, due at once; one that is there already stays as it is.

        Safe against another process that does the same at the same time.

        :param manual: a person asked for it, so it goes out although the webhook is paused
        :raises PayloadError: where the event can't be stored
        """
        with writing(self.engine) as connection:
            return _enqueue(connection, delivery, now=now, manual=manual)

    def enqueue_in(self, connection: Connection, deliveries: Sequence[Delivery], *, now: int) -> tuple[Enqueued, ...]:
        """Take deliveries in as part of the caller's own transaction, which the caller commits.

        :raises PayloadError: where an event can't be stored
        """
        with explained():
            return tuple(_enqueue(connection, delivery, now=now) for delivery in deliveries)

    def log(self, delivery: Delivery, attempt: Attempt, *, now: int) -> None:
        """Write down a delivery that was tried without the outbox (a ping) with its one attempt.

        It ends delivered or cancelled, and is never tried again by itself.
        """
        row = {**delivery_values(delivery, now=now, manual=True), **_ended(attempt, now=now)}
        with writing(self.engine) as connection:
            if insert_new(connection, tables.deliveries, row):
                connection.execute(insert(tables.attempts), [attempt_values(attempt)])

    # Sending, for relays

    def claim(
        self, *, now: int, lease: int, limit: int, capacity: Callable[[str], int], resume_rate: float = 20.0
    ) -> tuple[Claim, ...]:
        """Take due deliveries under a lease, oldest first within a webhook, `limit` shared fairly between webhooks.

        A delivery whose lease has expired can be claimed again. Fewer than `limit` may come although more is due,
        so claim again while :meth:`next_due` says so.

        :param lease: milliseconds until another relay may claim them
        :param limit: at most so many in all
        :param capacity: how many more of this webhook the relay could send now; asked for every webhook that
            has something due
        :param resume_rate: of a webhook that was resumed, at most so many a second of what had waited, by all relays
        """
        # Nearly always nothing is due, and a look must not take the one write lock that SQLite has.
        if self.engine.dialect.name == "sqlite" and not self._anything_due(now):
            return ()
        terms = claims.Terms(now=now, lease=lease, limit=limit, token=self._new_token(), rate=resume_rate)
        with writing(self.engine) as connection:
            due = claims.due(claims.find_waiting(connection), now=now)
            free = {waiting.webhook_id: capacity(waiting.webhook_id) for waiting in due}
            wanted = [waiting for waiting in due if free[waiting.webhook_id] > 0]
            return claims.claim(connection, wanted, free, terms) if wanted else ()

    def _anything_due(self, now: int) -> bool:
        with reading(self.engine) as connection:
            return bool(claims.due(claims.find_waiting(connection), now=now))

    def record(self, results: Sequence[Result], *, now: int) -> Recorded:
        """Write down attempts and what became of their deliveries, in one transaction, and end the leases.

        A result whose lease has passed to another relay, or of a delivery that is not pending any more, is refused.
        """
        if not results:
            return Recorded()
        with writing(self.engine) as connection:
            return record(connection, results, now=now)

    def release(self, claimed: Sequence[Claim]) -> int:
        """Give back what was claimed and not sent, as if it had not been claimed; return how many."""
        with writing(self.engine) as connection:
            return claims.release(connection, claimed)

    def next_due(
        self, *, now: int, capacity: Callable[[str], int] | None = None, resume_rate: float = 20.0
    ) -> int | None:
        """Return when a relay has to claim again: `now` where something is due and free, None where nothing waits.

        What another relay holds is left out, so look again now and then: that relay may have been killed.

        :param capacity: leaves out the webhooks of which the relay can't send any more now, see :meth:`claim`
        """
        with reading(self.engine) as connection:
            waiting = claims.find_waiting(connection)
            if capacity is not None:
                waiting = [each for each in waiting if capacity(each.webhook_id) > 0]
            return claims.next_due(connection, waiting, now=now, rate=resume_rate)

    def leased(self, *, now: int) -> int:
        """Return how many deliveries relays hold at `now`: some, and a relay is at work."""
        with reading(self.engine) as connection:
            return pulse.leased(connection, now=now)

    def clock(self) -> int:
        """Return what time the database has."""
        with reading(self.engine) as connection:
            return pulse.clock(connection)

    def backlog(self) -> tuple[Backlog, ...]:
        """Return what waits, by webhook: cheap however much it is (for metrics)."""
        with reading(self.engine) as connection:
            return tuple(waiting.describe() for waiting in claims.find_waiting(connection))

    # What a person asks for

    def redeliver(self, ids: Sequence[str], *, now: int) -> tuple[str, ...]:
        """Make these deliveries due at once, whatever state they are in, and return the ids that exist.

        The schedule starts anew; attempt numbers go on. One that a relay holds just now is not sent twice.
        """
        with writing(self.engine) as connection:
            return redelivery.redeliver(connection, ids, now=now)

    def redeliver_dead_letters(self, wanted: DeliveryFilter, *, now: int) -> int:
        """Make every dead letter due at once that the filter asks for, whatever its own state; return how many."""
        with writing(self.engine) as connection:
            return redelivery.redeliver_dead_letters(connection, wanted, now=now)

    def cancel(self, ids: Sequence[str]) -> tuple[str, ...]:
        """End pending deliveries unsent and return the ids of those that were; a relay's result for one is refused."""
        with writing(self.engine) as connection:
            return redelivery.cancel(connection, ids)

    def cancel_waiting(self, webhook_id: str, *, batch: int = 1000) -> Iterator[int]:
        """End all pending deliveries of a webhook unsent, those too that a relay holds.

        Each batch is a transaction of its own; yields how many it ended.
        """
        while True:
            with writing(self.engine) as connection:
                ended = redelivery.cancel_waiting(connection, webhook_id, most=batch)
            if not ended:
                return
            yield ended

    def forget(self, webhook_id: str) -> None:
        """Forget whether a webhook is paused or failing; its deliveries stay in the log."""
        with writing(self.engine) as connection:
            webhook_rows.forget(connection, webhook_id)

    def pause(self, webhook_id: str, reason: str, *, now: int) -> bool:
        """Let a webhook's deliveries wait; return False where they already did."""
        with writing(self.engine) as connection:
            return webhook_rows.pause(connection, webhook_id, reason, now=now)

    def resume(self, webhook_id: str, *, now: int) -> bool:
        """Let the deliveries of a paused webhook go again; return False where it was not paused."""
        with writing(self.engine) as connection:
            return webhook_rows.resume(connection, webhook_id, now=now)

    # The delivery log

    def deliveries(
        self,
        wanted: DeliveryFilter | None = None,
        *,
        cursor: str | None = None,
        limit: int = 50,
    ) -> Page:
        """Return deliveries, newest first.

        :raises ValueError: for a cursor that is not of an earlier page
        """
        with reading(self.engine) as connection:
            return listing.page(connection, wanted or DeliveryFilter(), cursor=cursor, limit=limit)

    def delivery(self, delivery_id: str) -> DeliveryDetail | None:
        """Return a delivery with its event and attempts; None where there is none of that id."""
        with reading(self.engine) as connection:
            return listing.detail(connection, delivery_id)

    def webhooks_of(self, ids: Sequence[str]) -> Mapping[str, str]:
        """Return of which webhook each of these deliveries is; those that there are none of are left out."""
        with reading(self.engine) as connection:
            return listing.webhooks_of(connection, ids)

    def webhook_states(self, webhook_ids: Collection[str] | None = None) -> Mapping[str, WebhookStatus]:
        """Return what is known of each of these webhooks, or of all, that was ever tried or paused."""
        with reading(self.engine) as connection:
            return webhook_rows.read(connection, webhook_ids)

    def webhook_ids(self) -> frozenset[str]:
        """Return the ids of all webhooks that have a delivery in the log, those too that were deleted."""
        with reading(self.engine) as connection:
            return traffic.webhook_ids(connection)

    def traffic(self, webhook_ids: Collection[str], *, now: int) -> Mapping[str, Traffic]:
        """Return what went through each of these webhooks in the last 24 hours, and what waits."""
        with reading(self.engine) as connection:
            return traffic.read(connection, webhook_ids, now=now)

    def counts(self, *, since: int | None = None) -> Mapping[str, Counts]:
        """Return how many deliveries each webhook has in each state.

        :param since: count only what was taken in at this time or later
        """
        with reading(self.engine) as connection:
            return listing.counts(connection, since=since)

    def prunable(self, *, before: int) -> int:
        """Return how many deliveries `prune` would delete."""
        with reading(self.engine) as connection:
            return listing.count_old(connection, before=before)

    def prune(self, *, before: int, batch: int = 1000) -> Iterator[int]:
        """Delete what was taken in before this time and is not pending, with its attempts.

        Each batch is a transaction of its own; yields how many it deleted, so a caller can show progress or stop.
        """
        while True:
            with writing(self.engine) as connection:
                deleted = listing.delete_old(connection, before=before, batch=batch)
            if deleted:
                yield deleted
            if deleted < batch:
                return


def _enqueue(connection: Connection, delivery: Delivery, *, now: int, manual: bool = False) -> Enqueued:
    row = delivery_values(delivery, now=now, manual=manual)
    return Enqueued(delivery.id, created=insert_new(connection, tables.deliveries, row))


def _ended(attempt: Attempt, *, now: int) -> Values:
    state = DeliveryState.DELIVERED if attempt.succeeded else DeliveryState.CANCELLED
    return {
        "state": state.value,
        "is_manual": False,
        "due_at": None,
        "attempts_count": 1,
        "delivered_at": now if attempt.succeeded else None,
        **latest_attempt_values(attempt),
    }
