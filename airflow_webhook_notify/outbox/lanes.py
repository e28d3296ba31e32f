"""The due deliveries of a webhook that no relay holds, locked for who asks.

Invariant: a row that another transaction is claiming at this moment is passed over, never waited for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    ColumnElement,
    Select,
    String,
    bindparam,
    func,
    literal_column,
    or_,
    select,
    true,
)  # fmt: skip
from sqlalchemy.engine import Connection

from airflow_webhook_notify.outbox.rows import AnyRow
from airflow_webhook_notify.outbox.tables import deliveries

_D = deliveries.c
#: Written out, since a database uses a partial index only where it sees the value.
PENDING = _D.state == literal_column("'pending'")
_NOT_LEASED = or_(_D.lease_expires_at.is_(None), _D.lease_expires_at <= bindparam("now"))
_CLAIMED = (
    _D.id, _D.webhook_id, _D.event_id, _D.topic, _D.event_at, _D.organization_id, _D.resource, _D.data, _D.is_manual,
    _D.created_at, _D.due_at, _D.attempts_count, _D.schedule_start,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Lane:
    """One of the two lines in which a webhook's deliveries wait: what a person asked for, and the rest.

    :param most: how many are wanted
    """

    webhook_id: str
    manual: bool
    most: int


def free_rows(connection: Connection, lanes: Sequence[Lane], *, now: int) -> list[AnyRow]:
    """Return the oldest due rows of each lane, and lock them where the database can."""
    if not lanes:
        return []
    if connection.dialect.name == "postgresql":
        arrays = {
            "webhook_ids": [lane.webhook_id for lane in lanes],
            "manuals": [lane.manual for lane in lanes],
            "mosts": [lane.most for lane in lanes],
        }
        return list(connection.execute(OF_ALL, {**arrays, "now": now}))
    return [row for lane in lanes for row in connection.execute(OF_ONE, {**_asked(lane), "now": now})]


def _asked(lane: Lane) -> dict[str, Any]:
    return {"webhook_id": lane.webhook_id, "manual": lane.manual, "most": lane.most}


def _oldest(webhook_id: ColumnElement[str], manual: ColumnElement[bool], most: ColumnElement[int]) -> Select[Any]:
    return (
        select(*_CLAIMED)
        .where(PENDING, _D.webhook_id == webhook_id, _D.is_manual == manual, _D.due_at <= bindparam("now"), _NOT_LEASED)
        .order_by(_D.due_at)
        .limit(most)
        .with_for_update(skip_locked=True)
    )


def _of_all() -> Select[Any]:
    """Return what PostgreSQL answers for every lane in one round trip."""
    arrays = (
        bindparam("webhook_ids", type_=ARRAY(String)),
        bindparam("manuals", type_=ARRAY(Boolean)),
        bindparam("mosts", type_=ARRAY(BigInteger)),
    )
    lane = func.unnest(*arrays).table_valued("webhook_id", "manual", "most", name="lane").render_derived()
    found = _oldest(lane.c.webhook_id, lane.c.manual, lane.c.most).lateral("found")
    return select(found).select_from(lane.join(found, true()))


# Built once: building a statement takes longer than running it.
OF_ALL = _of_all()
OF_ONE = _oldest(bindparam("webhook_id"), bindparam("manual"), bindparam("most"))
#: What no relay holds, due or not; with `webhook_id`, `manual` and `now` to be given.
FREE = (PENDING, _D.webhook_id == bindparam("webhook_id"), _D.is_manual == bindparam("manual"), _NOT_LEASED)
