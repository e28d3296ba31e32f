"""The outbox as the rest of the package uses it.

Invariant: every method is one transaction of its own on a connection of its own (never Airflow's scoped session),
unless it says otherwise; it raises nothing of SQLAlchemy's but :class:`OutboxUnavailableError`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from airflow_webhook_notify.models import Attempt, Delivery
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
    WebhookStatus,
)

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection, Engine


class Outbox:
    """The deliveries, attempts and webhook states in one database. Thread-safe.

    Every time is milliseconds since the epoch. Every method raises :class:`OutboxMissingError` where the tables
    were never made, and :class:`OutboxUnavailableError` where the database can't do what it was asked.

    :param engine: None for Airflow's own
    """

    def __init__(self, engine: Engine | None = None) -> None:
        raise NotImplementedError

    def check(self) -> None:
        """Return where the tables are there and can be read.

        :raises OutboxMissingError: where they were never made, or are older than this package
        """
        raise NotImplementedError

    # Taking events in

    def enqueue(self, delivery: Delivery, *, now: int, manual: bool = False) -> Enqueued:
        """Take a delivery in, due at once; one that is there already stays as it is.

        Safe against another process that does the same at the same time.

        :param manual: a person asked for it, so it goes out although the webhook is paused
        :raises PayloadError: where the event can't be stored
        """
        raise NotImplementedError

    def enqueue_in(self, connection: Connection, deliveries: Sequence[Delivery], *, now: int) -> tuple[Enqueued, ...]:
        """Take deliveries in as part of the caller's own transaction, which the caller commits.

        :raises PayloadError: where an event can't be stored
        """
        raise NotImplementedError

    def log(self, delivery: Delivery, attempt: Attempt, *, now: int) -> None:
        """Write down a delivery that was tried without the outbox (a ping) with its one attempt.

        It ends delivered or cancelled, and is never tried again by itself.
        """
        raise NotImplementedError

    # Sending, for relays

    def claim(
        self, *, now: int, lease: int, limit: int, capacity: Callable[[str], int], resume_rate: float = 20.0
    ) -> tuple[Claim, ...]:
        """Take due deliveries under a lease, oldest first within a webhook, `limit` shared fairly between webhooks.

        A delivery whose lease has expired can be claimed again.

        :param lease: milliseconds until another relay may claim them
        :param limit: at most so many in all
        :param capacity: how many more of this webhook the relay could send now; asked for every webhook that
            has something due
        :param resume_rate: of a webhook that was resumed, at most so many a second of what had waited, by all relays
        """
        raise NotImplementedError

    def record(self, results: Sequence[Result], *, now: int) -> Recorded:
        """Write down attempts and what became of their deliveries, in one transaction, and end the leases.

        A result whose lease has passed to another relay, or of a delivery that is not pending any more, is refused.
        """
        raise NotImplementedError

    def release(self, claims: Sequence[Claim]) -> int:
        """Give back what was claimed and not sent, as if it had not been claimed; return how many."""
        raise NotImplementedError

    def next_due(self, *, now: int) -> int | None:
        """Return when the relay has to look again: the earliest due time, or end of a lease, from `now` on.

        `now` itself where something is due and free; None where nothing waits.
        """
        raise NotImplementedError

    def backlog(self) -> tuple[Backlog, ...]:
        """Return what waits, by webhook: cheap however much it is (for metrics)."""
        raise NotImplementedError

    # What a person asks for

    def redeliver(self, ids: Sequence[str], *, now: int) -> tuple[str, ...]:
        """Make these deliveries due at once, whatever state they are in, and return the ids that exist.

        The schedule starts anew; attempt numbers go on. One that a relay holds just now is not sent twice.
        """
        raise NotImplementedError

    def redeliver_dead_letters(self, *, since: int, now: int, webhook_id: str | None = None) -> int:
        """Make every dead letter due at once whose event was taken in at `since` or later; return how many."""
        raise NotImplementedError

    def cancel(self, ids: Sequence[str], *, now: int) -> tuple[str, ...]:
        """End pending deliveries unsent and return the ids of those that were; a relay's result for one is refused."""
        raise NotImplementedError

    def pause(self, webhook_id: str, reason: str, *, now: int) -> bool:
        """Let a webhook's deliveries wait; return False where they already did."""
        raise NotImplementedError

    def resume(self, webhook_id: str, *, now: int) -> bool:
        """Let the deliveries of a paused webhook go again; return False where it was not paused."""
        raise NotImplementedError

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
        raise NotImplementedError

    def delivery(self, delivery_id: str) -> DeliveryDetail | None:
        """Return a delivery with its event and attempts; None where there is none of that id."""
        raise NotImplementedError

    def webhook_states(self) -> Mapping[str, WebhookStatus]:
        """Return what is known of each webhook that was ever tried or paused."""
        raise NotImplementedError

    def counts(self, *, since: int | None = None) -> Mapping[str, Counts]:
        """Return how many deliveries each webhook has in each state.

        :param since: count only what was taken in at this time or later
        """
        raise NotImplementedError

    def prunable(self, *, before: int) -> int:
        """Return how many deliveries `prune` would delete."""
        raise NotImplementedError

    def prune(self, *, before: int, batch: int = 1000) -> Iterator[int]:
        """Delete what was taken in before this time and is not pending, with its attempts.

        Each batch is a transaction of its own; yields how many it deleted, so a caller can show progress or stop.
        """
        raise NotImplementedError
