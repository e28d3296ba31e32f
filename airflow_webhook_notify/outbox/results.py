"""Writing down attempts, what became of their deliveries, and what they say of their webhooks.

Invariant: only the relay whose lease token a delivery's row still holds changes that row or adds an attempt to it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from sqlalchemy import bindparam, insert, select, update
from sqlalchemy.engine import Connection

from airflow_webhook_notify.models import DeliveryState
from airflow_webhook_notify.outbox import health, webhook_rows
from airflow_webhook_notify.outbox.records import Recorded, Result, WebhookStatus
from airflow_webhook_notify.outbox.rows import AnyRow, Values, attempt_values, latest_attempt_values
from airflow_webhook_notify.outbox.tables import attempts, deliveries

_D = deliveries.c
_NO_LEASE: Values = {"lease_token": None, "lease_expires_at": None}


def record(connection: Connection, results: Sequence[Result], *, now: int) -> Recorded:
    """Write down what is not refused; see :meth:`Outbox.record`."""
    rows = _locked(connection, [result.claim.delivery.id for result in results])
    accepted = [result for result in results if _holds(result, rows)]
    if accepted:
        connection.execute(insert(attempts), [attempt_values(result.attempt) for result in accepted])
        _write_deliveries(connection, accepted, rows, now=now)
    kept = {result.claim.delivery.id for result in accepted}
    return Recorded(
        refused=frozenset(result.claim.delivery.id for result in results) - kept,
        paused=_write_webhooks(connection, accepted, now=now),
    )


def _locked(connection: Connection, ids: Sequence[str]) -> Mapping[str, AnyRow]:
    # In one order for all, so that two relays can't each wait for the other's rows.
    wanted = select(_D.id, _D.lease_token, _D.is_manual, _D.due_at).where(_D.id.in_(ids)).order_by(_D.id)
    return {row.id: row for row in connection.execute(wanted.with_for_update())}


def _holds(result: Result, rows: Mapping[str, AnyRow]) -> bool:
    row = rows.get(result.claim.delivery.id)
    return row is not None and row.lease_token == result.claim.token


def _write_deliveries(
    connection: Connection, accepted: Iterable[Result], rows: Mapping[str, AnyRow], *, now: int
) -> None:
    groups: dict[int | None, list[str]] = defaultdict(list)
    others: list[Values] = []
    for result in accepted:
        delivery_id = result.claim.delivery.id
        if result.disposition.delivered:
            groups[result.attempt.status].append(delivery_id)
        else:
            others.append({"of": delivery_id, **_not_delivered(result, rows[delivery_id])})
    # Nearly all are delivered, and one statement does for them.
    for status, ids in groups.items():
        connection.execute(_DELIVERED.where(_D.id.in_(ids)).values(delivered_at=now, last_status=status))
    if others:
        connection.execute(_NOT_DELIVERED, others)


_COUNTED = {"attempts_count": _D.attempts_count + 1, **_NO_LEASE}
_DELIVERED = update(deliveries).values(
    state=DeliveryState.DELIVERED.value, due_at=None, is_manual=False, last_error=None, **_COUNTED
)
_NOT_DELIVERED = (
    update(deliveries)
    .where(_D.id == bindparam("of"))
    .values(
        **{name: bindparam(name) for name in ("state", "due_at", "is_manual", "last_status", "last_error")}, **_COUNTED
    )
)


def _not_delivered(result: Result, row: AnyRow) -> Values:
    latest = latest_attempt_values(result.attempt)
    if row.is_manual and not result.claim.manual:
        # A person asked for a redelivery during this attempt, which is still to be made.
        return {"state": DeliveryState.PENDING.value, "due_at": row.due_at, "is_manual": True, **latest}
    state = DeliveryState.DEAD_LETTER if result.disposition.dead_letter else DeliveryState.PENDING
    return {"state": state.value, "due_at": result.disposition.due_at, "is_manual": False, **latest}


def _write_webhooks(connection: Connection, accepted: Sequence[Result], *, now: int) -> tuple[tuple[str, str], ...]:
    by_webhook: dict[str, list[Result]] = defaultdict(list)
    for result in accepted:
        by_webhook[result.claim.delivery.webhook_id].append(result)
    known = webhook_rows.read(connection, by_webhook)
    paused = []
    for webhook_id in sorted(by_webhook):
        before = known.get(webhook_id, WebhookStatus(webhook_id))
        results = sorted(by_webhook[webhook_id], key=lambda result: result.attempt.started_at)
        outcomes = [result.attempt.succeeded for result in results if not result.claim.manual]
        status = health.after(before, outcomes, now=now)
        if status != before:
            webhook_rows.write_health(connection, status)
        reason = next((result.disposition.pause for result in results if result.disposition.pause), None)
        if outcomes and not reason:
            reason = health.exhausted_patience(status, now=now)
        if reason and not before.paused and webhook_rows.pause(connection, webhook_id, reason, now=now):
            paused.append((webhook_id, reason))
    return tuple(paused)
