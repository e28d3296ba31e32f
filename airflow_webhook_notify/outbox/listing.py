"""The delivery log: reading it, and cutting it off at its old end.

Invariant: a page is found by where the last one ended, so what is added meanwhile neither repeats nor hides a
delivery; and what is pending is never deleted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import ColumnElement, Select, String, and_, delete, func, literal_column, or_, select
from sqlalchemy.engine import Connection

from airflow_webhook_notify.models import DeliveryState
from airflow_webhook_notify.outbox.records import Counts, DeliveryDetail, DeliveryFilter, Page
from airflow_webhook_notify.outbox.rows import attempt_of, event_of, record_of
from airflow_webhook_notify.outbox.tables import attempts, deliveries

_D = deliveries.c
#: All but the event's data, which a list does not show.
LISTED = tuple(column for column in deliveries.columns if column.name != "data")


def page(connection: Connection, wanted: DeliveryFilter, *, cursor: str | None, limit: int) -> Page:
    """Return deliveries, newest first."""
    statement = select(*LISTED).where(*conditions_of(wanted))
    if cursor is not None:
        statement = statement.where(_after(cursor))
    ordered = statement.order_by(_D.created_at.desc(), _D.id.desc()).limit(limit + 1)
    records = tuple(record_of(row) for row in connection.execute(ordered))
    shown = records[:limit]
    more = len(records) > limit and shown
    return Page(shown, f"{shown[-1].created_at}:{shown[-1].id}" if more else None)


_EXACT = ("webhook_id", "topic", "dag_id", "run_id", "task_id", "map_index", "try_number")


def conditions_of(wanted: DeliveryFilter) -> list[ColumnElement[bool]]:
    """Return what a filter asks of a row."""
    asked = {name: getattr(wanted, name) for name in _EXACT}
    conditions = [deliveries.c[name] == value for name, value in asked.items() if value is not None]
    if wanted.webhook_ids is not None:
        # Of no column, so that the newest are looked through until there are enough; the index of webhooks would bring
        # all that these ever had, to be sorted.
        conditions.append(func.coalesce(_D.webhook_id, "").in_(sorted(wanted.webhook_ids)))
    if wanted.state is not None:
        conditions += in_state(wanted.state)
    if wanted.since is not None:
        conditions.append(_D.created_at >= wanted.since)
    if wanted.until is not None:
        conditions.append(_D.created_at < wanted.until)
    return conditions


def in_state(state: DeliveryState) -> tuple[ColumnElement[bool], ...]:
    """Return the conditions by which every database finds these rows in an index, where there is one."""
    is_it = _D.state == _written(state)
    ended_badly = (DeliveryState.DEAD_LETTER, DeliveryState.CANCELLED)
    # SQLite uses an index of some rows only where a statement repeats that index's own condition, `ENDED_BADLY`.
    return (is_it, _D.state.in_(list(map(_written, ended_badly)))) if state in ended_badly else (is_it,)


def _written(state: DeliveryState) -> ColumnElement[str]:
    return literal_column(f"'{state.value}'", String)


def _after(cursor: str) -> ColumnElement[bool]:
    created_at, _, delivery_id = cursor.partition(":")
    is_number = created_at.isascii() and created_at.isdigit() and len(created_at) < 20
    if not (is_number and delivery_id) or "\0" in delivery_id:
        raise ValueError("the cursor is not one of a page of deliveries; start again without it")
    at = min(int(created_at), 2**63 - 1)
    return or_(_D.created_at < at, and_(_D.created_at == at, _D.id < delivery_id))


def detail(connection: Connection, delivery_id: str) -> DeliveryDetail | None:
    """Return a delivery with its event and attempts."""
    row = connection.execute(select(deliveries).where(_D.id == delivery_id)).one_or_none()
    if row is None:
        return None
    made = select(attempts).where(attempts.c.delivery_id == delivery_id).order_by(attempts.c.number)
    return DeliveryDetail(record_of(row), event_of(row), tuple(attempt_of(each) for each in connection.execute(made)))


def webhooks_of(connection: Connection, ids: Sequence[str]) -> Mapping[str, str]:
    """Return of which webhook each of these deliveries is."""
    found = connection.execute(select(_D.id, _D.webhook_id).where(_D.id.in_(ids)))
    return {row.id: row.webhook_id for row in found}


def counts(connection: Connection, *, since: int | None) -> Mapping[str, Counts]:
    """Return how many deliveries each webhook has in each state."""
    statement = select(_D.webhook_id, _D.state, func.count()).group_by(_D.webhook_id, _D.state)
    if since is not None:
        statement = statement.where(_D.created_at >= since)
    found: dict[str, Counts] = {}
    for webhook_id, state, count in connection.execute(statement):
        found[webhook_id] = replace(found.get(webhook_id, Counts()), **{state: count})
    return found


def _old(*, before: int) -> tuple[ColumnElement[bool], ...]:
    return _D.created_at < before, _D.state != DeliveryState.PENDING.value


def count_old(connection: Connection, *, before: int) -> int:
    """Return how many deliveries are old and not pending."""
    return connection.execute(select(func.count()).select_from(deliveries).where(*_old(before=before))).scalar_one()


def delete_old(connection: Connection, *, before: int, batch: int) -> int:
    """Delete the oldest that are not pending, and return how many."""
    ids = _oldest(connection, select(_D.id).where(*_old(before=before)).order_by(_D.created_at, _D.id).limit(batch))
    # SQLite cascades only where a connection has asked it to.
    connection.execute(delete(attempts).where(attempts.c.delivery_id.in_(ids)))
    connection.execute(delete(deliveries).where(_D.id.in_(ids)))
    return len(ids)


def _oldest(connection: Connection, statement: Select[Any]) -> Sequence[str]:
    return connection.execute(statement.with_for_update(skip_locked=True)).scalars().all()
