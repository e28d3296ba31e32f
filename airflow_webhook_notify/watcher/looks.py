"""One look at the metadata database: what has happened, whom it concerns, and into the outbox with it.

Invariant: what a look could not hand over, the next one hands over; nothing is forgotten before the transaction
that holds it and the mark is committed.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from sqlalchemy.engine import Connection

from airflow_webhook_notify.executions import Sources
from airflow_webhook_notify.outbox.transactions import reading
from airflow_webhook_notify.outbox.watch import HandOver, Mark, Taking, Watch
from airflow_webhook_notify.watcher.audience import Audience, Listing
from airflow_webhook_notify.watcher.definitions import Definitions
from airflow_webhook_notify.watcher.finding import (
    NARROW,
    WIDE_EVERY,
    Findings,
    Span,
    find_occurrences,
    find_runs,
    newest,
)
from airflow_webhook_notify.watcher.following import Following
from airflow_webhook_notify.watcher.reading import tags
from airflow_webhook_notify.watcher.telling import Telling, Told

log = logging.getLogger(__name__)

#: How often the webhooks are read again, and how often the mark is written where there is nothing else. Milliseconds.
REFRESH_EVERY, WRITE_EVERY = 2_000, 5_000
HOUR = 3_600_000


@dataclass(frozen=True, slots=True)
class Terms:
    """What a watcher goes by. Times are milliseconds.

    :param reports: whether tasks report their failures
    :param grace: for how long a failure waits for its report
    :param catch_up: what is older when it is noticed is skipped
    """

    reports: bool = True
    grace: int = 30_000
    catch_up: int = 24 * HOUR


class Looks:
    """Looks, one after the other, for as long as this watcher has the lease. Not thread-safe.

    :param token: of the lease
    :param sources_at: what events are built with at a time
    """

    def __init__(
        self, watch: Watch, *, token: str, listing: Listing, sources_at: Callable[[int], Sources], terms: Terms
    ) -> None:
        self._watch, self._token, self._listing = watch, token, listing
        self._sources_at, self._terms = sources_at, terms
        self._mark = watch.mark()
        self._following, self._audience = Following(), Audience(watch.subscriptions())
        definitions = Definitions(watch.engine)
        self._telling = Telling(self._audience, self._following, definitions, reports=terms.reports, grace=terms.grace)
        # Rows may be committed in another order than they were numbered, so the newest count after a while only.
        self._numbers: list[tuple[int, Mark]] = []
        self._refresh_at = self._wide_at = self._write_at = 0
        self._first = True

    def look(self, now: int) -> int:
        """Look once, and return how many deliveries were handed over.

        :param now: milliseconds since the epoch
        """
        sources = self._sources_at(now)
        with reading(self._watch.engine) as connection:
            mark = self._mark or newest(connection, now=now)
            span = self._span(mark, now)
            self._refresh(connection, mark, now)
            found, findings = self._find(connection, span)
            self._telling.add(findings.occurrences, now=now)
            self._telling.settle(connection, sources)
            pairs = list(self._telling.takings(connection, sources))
        takings = [taking for items, _ in pairs for taking in items]
        told = [item for _, items in pairs for item in items]
        self._hand_over(found, takings, now)
        self._done(found, span, findings, told)
        return len(takings)

    def _span(self, mark: Mark, now: int) -> Span:
        floor = now - self._terms.catch_up
        if mark.looked_at < floor:
            hours = (floor - mark.looked_at) / HOUR
            log.warning(
                "webhooks: nobody watched for %.1f h; what happened in the first %.1f h of it is skipped "
                "([webhook_notify] catch_up)", (now - mark.looked_at) / HOUR, hours,
            )  # fmt: skip
        return Span(now, mark, floor, wide=now >= self._wide_at, first=self._first)

    def _refresh(self, connection: Connection, mark: Mark, now: int) -> None:
        if now < self._refresh_at:
            return
        self._audience.refresh(self._listing(), tags(connection), now=now, looked_at=mark.looked_at)
        self._refresh_at = now + REFRESH_EVERY

    def _find(self, connection: Connection, span: Span) -> tuple[Mark, Findings]:
        subscriptions = self._audience.subscriptions
        if not subscriptions.webhooks:
            self._following.clear()
            return newest(connection, now=span.now), Findings()
        mark = find_runs(connection, self._following, subscriptions, span)
        return mark, find_occurrences(connection, self._following, subscriptions, span)

    def _hand_over(self, found: Mark, takings: Sequence[Taking], now: int) -> None:
        changed, ended = self._audience.changed, self._audience.ended
        if not (takings or changed or ended) and now < self._write_at:
            return
        self._watch.hand_over(HandOver(self._durable(found), takings, changed, ended), token=self._token, now=now)
        self._audience.written()
        self._write_at = now + WRITE_EVERY

    def _durable(self, found: Mark) -> Mark:
        """Return the mark that whoever comes next has to go on from."""
        settled = self._settled(found)
        return replace(settled, looked_at=self._telling.oldest(found.looked_at))

    def _settled(self, found: Mark) -> Mark:
        old = [mark for at, mark in self._numbers if at <= found.looked_at - NARROW]
        known = old[-1] if old else (self._mark or found)
        return replace(found, run_key=known.run_key, log_key=known.log_key)

    def _done(self, found: Mark, span: Span, findings: Findings, told: Sequence[Told]) -> None:
        self._telling.told(told)
        self._following.done(read=findings.read, tasks=findings.tasks)
        self._first = False
        if span.wide:
            self._wide_at = span.now + WIDE_EVERY
        self._mark = self._settled(found)
        self._numbers.append((found.looked_at, found))
        while len(self._numbers) > 1 and self._numbers[1][0] <= found.looked_at - NARROW:
            del self._numbers[0]
