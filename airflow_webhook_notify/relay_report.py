"""What the relay tells operators: log lines and metrics.

Invariant: a line names the webhook, its origin, the delivery and what it is about, and says what to do; never an
endpoint's path or a credential.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Mapping

from airflow_webhook_notify import metrics
from airflow_webhook_notify.exceptions import OutboxUnavailableError
from airflow_webhook_notify.models import Attempt, Event
from airflow_webhook_notify.outbox.records import Backlog, Recorded, Result

log = logging.getLogger(__name__)

_REFERENCES = (("DagId", "DAG"), ("RunId", "run"), ("TaskId", "task"))


class Report:
    """Tells what became of deliveries; used by the relay's own thread alone.

    :param origin: returns scheme, host and port of a webhook's endpoint
    """

    def __init__(self, origin: Callable[[str], str]) -> None:
        self._origin = origin
        self._failing: set[str] = set()
        self._out_of_order = False
        self._aged: set[str] = set()

    def recorded(self, results: Iterable[Result], recorded: Recorded, *, now: int) -> None:
        """Tell what was written down."""
        counts: Counter[tuple[str, str]] = Counter()
        for result in results:
            if result.claim.delivery.id in recorded.refused:
                self._refused(result)
            else:
                counts[(result.claim.delivery.webhook_id, outcome(result.attempt))] += 1
                self._told(result, now=now)
        for (webhook_id, kind), number in counts.items():
            metrics.count(metrics.ATTEMPTS, number, webhook=webhook_id, outcome=kind)
        for webhook_id, reason in recorded.paused:
            self._paused(webhook_id, reason)

    def unavailable(self, error: OutboxUnavailableError, *, unwritten: int) -> None:
        """Tell once that the database can't be used.

        :param unwritten: how many results wait to be written down
        """
        if not self._out_of_order:
            log.error(
                "The relay waits: %s. Deliveries stay in the outbox, %d results wait to be written down; it goes on by "
                "itself once the database is back",
                error,
                unwritten,
            )
        self._out_of_order = True

    def available(self) -> None:
        """Tell that the database can be used again, where it could not."""
        if self._out_of_order:
            log.info("The relay goes on: the outbox can be used again")
        self._out_of_order = False

    def backlog(self, waiting: Iterable[Backlog], *, now: int) -> None:
        """Measure how long the oldest attempt of each webhook has been due."""
        ages = {each.webhook_id: max(0, now - each.oldest_due_at) / 1000 for each in waiting}
        for webhook_id in self._aged - ages.keys():
            metrics.gauge(metrics.PENDING_AGE, 0.0, webhook=webhook_id)
        for webhook_id, age in ages.items():
            metrics.gauge(metrics.PENDING_AGE, age, webhook=webhook_id)
        self._aged = set(ages)

    def _told(self, result: Result, *, now: int) -> None:
        webhook_id = result.claim.delivery.webhook_id
        if result.disposition.delivered:
            self._delivered(result, now=now)
        elif result.disposition.dead_letter:
            metrics.count(metrics.DEAD_LETTERS, webhook=webhook_id)
            self._dead_letter(result)
        elif webhook_id not in self._failing and not result.disposition.pause:
            self._begins_to_fail(result)
        if not result.disposition.delivered:
            self._failing.add(webhook_id)

    def _delivered(self, result: Result, *, now: int) -> None:
        webhook_id = result.claim.delivery.webhook_id
        metrics.count(metrics.DELIVERED, webhook=webhook_id)
        if not result.claim.manual:
            latency = max(0, now - result.claim.created_at)
            metrics.timing(metrics.DELIVERY_LATENCY, latency, webhook=webhook_id)
        if webhook_id in self._failing:
            self._failing.discard(webhook_id)
            log.info("Webhook %s (%s) works again: %s", webhook_id, self._origin(webhook_id), describe(result))

    def _begins_to_fail(self, result: Result) -> None:
        webhook_id = result.claim.delivery.webhook_id
        log.warning(
            "Webhook %s (%s) fails: %s, attempt %d: %s. It is tried again by the schedule; `airflow webhooks "
            "deliveries` shows what waits",
            webhook_id,
            self._origin(webhook_id),
            describe(result),
            result.attempt.number,
            result.attempt.error,
        )

    def _dead_letter(self, result: Result) -> None:
        webhook_id = result.claim.delivery.webhook_id
        log.warning(
            "Webhook %s (%s): %s is a dead letter after %d attempts; the last one: %s. Once the endpoint works, "
            "`airflow webhooks redeliver %s` sends it again",
            webhook_id,
            self._origin(webhook_id),
            describe(result),
            result.attempt.number,
            result.attempt.error,
            result.claim.delivery.id,
        )

    def _paused(self, webhook_id: str, reason: str) -> None:
        log.warning(
            "Webhook %s (%s) is paused: %s. Its deliveries wait; mend the endpoint or the Connection, then "
            "`airflow webhooks resume %s`",
            webhook_id,
            self._origin(webhook_id),
            reason,
            webhook_id,
        )

    def _refused(self, result: Result) -> None:
        log.info(
            "The result of attempt %d of %s was refused: its lease had ended, so another relay has it, or it was "
            "cancelled or deleted; its endpoint may get it twice, with the same event id",
            result.attempt.number,
            describe(result),
        )


def describe(result: Result) -> str:
    """Return which delivery it is and what it is about."""
    delivery = result.claim.delivery
    return f"delivery {delivery.id} ({about(delivery.event)})"


def about(event: Event) -> str:
    """Return the event's topic, and the DAG, run and task where it has them."""
    reference = event.data.get("Airflow")
    known = reference if isinstance(reference, Mapping) else {}
    parts = [f"{word} {known[name]}" for name, word in _REFERENCES if known.get(name)]
    return ", ".join([event.topic, *parts])


def outcome(attempt: Attempt) -> str:
    """Return an attempt's outcome as metrics name it: `2xx` to `5xx`, else `no_answer`."""
    return f"{attempt.status // 100}xx" if attempt.status else "no_answer"
