"""What went through each webhook in the last 24 hours, and what waits for it now.

Invariant: a handful of statements, however many webhooks; what is delivered, by far the most, is counted in an index
and no row of it is read.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, Integer, Select, case, func, literal_column, select
from sqlalchemy.engine import Connection

from airflow_webhook_notify.models import DeliveryState
from airflow_webhook_notify.outbox.lanes import PENDING
from airflow_webhook_notify.outbox.listing import LISTED
from airflow_webhook_notify.outbox.records import DeliveryRecord, Hour, Traffic
from airflow_webhook_notify.outbox.rows import record_of
from airflow_webhook_notify.outbox.tables import ENDED_BADLY, deliveries

HOURS, HOUR = 24, 3_600_000
_D = deliveries.c
#: Of the present schedule; what a person had sent again has not failed since.
_FAILED = case((_D.attempts_count > _D.schedule_start, 1), else_=0)


def read(connection: Connection, webhook_ids: Collection[str], *, now: int) -> Mapping[str, Traffic]:
    """Return what went through each of these webhooks, see :class:`Traffic`."""
    start = now - HOURS * HOUR
    taken = _count(connection, _taken(start, now), webhook_ids)
    waiting = _count(connection, _waiting(start, now), webhook_ids)
    ended = _count(connection, _ended(start, now), webhook_ids)
    newest = _newest(connection, webhook_ids)
    return {
        webhook_id: Traffic(
            waiting=sum(waiting[webhook_id].values()),
            dead_letters=sum(n for (_, state), n in ended[webhook_id].items() if state == _DEAD),
            hours=_hours(taken[webhook_id], waiting[webhook_id], ended[webhook_id]),
            last_delivery=newest.get(webhook_id),
        )
        for webhook_id in webhook_ids
    }


_DEAD = DeliveryState.DEAD_LETTER.value
#: How many there are, by hour (-1 for all that is older) and by what the statement tells apart.
_Counted = Mapping[tuple[int, Any], int]


def _hours(taken: _Counted, waiting: _Counted, ended: _Counted) -> tuple[Hour, ...]:
    others: Counter[int] = Counter()
    failed: Counter[int] = Counter()
    for (hour, has_failed), count in waiting.items():
        others[hour] += count
        failed[hour] += count if has_failed else 0
    for (hour, state), count in ended.items():
        others[hour] += count
        failed[hour] += count if state == _DEAD else 0
    # Not below 0: between two of the statements, something may have been taken in.
    return tuple(Hour(max(0, taken.get((hour, 0), 0) - others[hour]), failed[hour]) for hour in range(HOURS))


def _count(connection: Connection, statement: Select[Any], webhook_ids: Collection[str]) -> Mapping[str, _Counted]:
    found: dict[str, Counter[tuple[int, Any]]] = defaultdict(Counter)
    for webhook_id, hour, kind, count in connection.execute(statement.where(_D.webhook_id.in_(sorted(webhook_ids)))):
        found[webhook_id][int(hour), kind] += count
    return found


def _taken(start: int, now: int) -> Select[Any]:
    hour = _hour(start, now)
    return _grouped(hour, literal_column("0", Integer).label("kind")).where(_D.created_at >= start)


def _waiting(start: int, now: int) -> Select[Any]:
    return _grouped(_hour(start, now), _FAILED.label("kind")).where(PENDING)


def _ended(start: int, now: int) -> Select[Any]:
    return _grouped(_hour(start, now), _D.state.label("kind")).where(literal_column(ENDED_BADLY))


def _grouped(hour: ColumnElement[Any], kind: ColumnElement[Any]) -> Select[Any]:
    counted = select(_D.webhook_id, hour, kind, func.count())
    return counted.group_by(_D.webhook_id, literal_column("hour"), literal_column("kind"))


def _hour(start: int, now: int) -> ColumnElement[Any]:
    # Written out: a database that gets values apart from the statement can't see that two of them are the same.
    first, last = literal_column(str(start), BigInteger), literal_column(str(now), BigInteger)
    hour = (_D.created_at - first) // literal_column(str(HOUR), BigInteger)
    # What a clock that was set back since has dated later is of the last hour.
    return case((_D.created_at < first, -1), (_D.created_at >= last, HOURS - 1), else_=hour).label("hour")


def _newest(connection: Connection, webhook_ids: Collection[str]) -> Mapping[str, DeliveryRecord]:
    found = connection.execute(NEWEST).all()
    ids = [row.id for row in found if row.webhook_id in webhook_ids and row.id is not None]
    rows = connection.execute(select(*LISTED).where(_D.id.in_(ids)))
    return {row.webhook_id: record_of(row) for row in rows}


def webhook_ids(connection: Connection) -> frozenset[str]:
    """Return the ids of all webhooks that have a delivery in the log."""
    return frozenset(connection.execute(KNOWN).scalars())


def _scan() -> Any:
    """Return what goes from webhook to webhook through the index, as a claim does."""
    first = select(_D.webhook_id).order_by(_D.webhook_id).limit(1).scalar_subquery()
    scan = select(first.label("webhook_id")).cte("known", recursive=True)
    after = select(_D.webhook_id).where(_D.webhook_id > scan.c.webhook_id).order_by(_D.webhook_id).limit(1)
    return scan.union_all(select(after.scalar_subquery()).where(scan.c.webhook_id.is_not(None)))


def _newest_of_each() -> Select[Any]:
    scan = _scan()
    newest = select(_D.id).where(_D.webhook_id == scan.c.webhook_id).order_by(_D.created_at.desc(), _D.id.desc())
    return select(scan.c.webhook_id, newest.limit(1).scalar_subquery().label("id")).where(
        scan.c.webhook_id.is_not(None)
    )


def _known() -> Select[Any]:
    scan = _scan()
    return select(scan.c.webhook_id).where(scan.c.webhook_id.is_not(None))


# Built once: building a statement takes longer than running it.
NEWEST, KNOWN = _newest_of_each(), _known()
