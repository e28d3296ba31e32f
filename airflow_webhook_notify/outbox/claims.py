"""Which deliveries are due, and taking them under a lease.

Invariant: what a claim costs depends on how many webhooks wait and how many rows it takes, not on how many rows there
are: delivered ones, the backlog of a paused webhook, or of one with no free capacity.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, ScalarSelect, Select, bindparam, false, select, true, update
from sqlalchemy.engine import Connection

from airflow_webhook_notify.outbox import lanes
from airflow_webhook_notify.outbox.lanes import PENDING, Lane
from airflow_webhook_notify.outbox.pace import Pace, pace_at
from airflow_webhook_notify.outbox.records import Backlog, Claim
from airflow_webhook_notify.outbox.rows import AnyRow, claim_of
from airflow_webhook_notify.outbox.tables import deliveries, webhooks

_D = deliveries.c


@dataclass(frozen=True, slots=True)
class Waiting:
    """What waits for one webhook, as the first look finds it.

    :param ordinary: when the oldest delivery that nobody asked for is due; None where there is none
    :param manual: the same of what a person asked for
    :param paced_at: of a resumed webhook: until when its rate is used up
    """

    webhook_id: str
    ordinary: int | None
    manual: int | None
    paused: bool
    resumed_at: int | None
    paced_at: int | None

    @property
    def paced(self) -> bool:
        """Whether something still waits from before the webhook was resumed."""
        return self.resumed_at is not None and self.ordinary is not None and self.ordinary <= self.resumed_at

    @property
    def lanes(self) -> tuple[tuple[bool, int], ...]:
        """What may go at all: whether a person asked for it, and when the oldest is due."""
        manual = () if self.manual is None else ((True, self.manual),)
        return manual if self.ordinary is None or self.paused else (*manual, (False, self.ordinary))

    @property
    def oldest(self) -> int | None:
        """When the oldest that may go is due."""
        return min((due_at for _, due_at in self.lanes), default=None)

    def describe(self) -> Backlog:
        """Return it as the rest of the package sees it."""
        known = [due_at for due_at in (self.ordinary, self.manual) if due_at is not None]
        return Backlog(self.webhook_id, min(known), self.manual, self.paused)


@dataclass(frozen=True, slots=True)
class Terms:
    """On what terms a relay claims. Times are milliseconds.

    :param rate: deliveries a second of a resumed webhook
    """

    now: int
    lease: int
    limit: int
    token: str
    rate: float


def find_waiting(connection: Connection) -> list[Waiting]:
    """Return what waits, the oldest that may go first."""
    found = [
        Waiting(row.webhook_id, row.ordinary, row.asked_for, row.paused_at is not None, row.resumed_at, row.paced_at)
        for row in connection.execute(WAITING)
        # Between two looks of one statement another transaction may have taken the last row of a webhook.
        if row.ordinary is not None or row.asked_for is not None
    ]
    return sorted(found, key=lambda waiting: (waiting.oldest is None, waiting.oldest))


def due(waiting: Iterable[Waiting], *, now: int) -> list[Waiting]:
    """Return those of which something may go at `now`."""
    return [each for each in waiting if each.oldest is not None and each.oldest <= now]


def claim(
    connection: Connection, waiting: Sequence[Waiting], capacity: Mapping[str, int], terms: Terms
) -> tuple[Claim, ...]:
    """Take due deliveries under a lease; the connection's transaction has to be committed before they are sent.

    :param waiting: of which something is due, the oldest first
    :param capacity: how many of each the relay can send
    """
    chosen = waiting[: terms.limit]
    share = -(-terms.limit // len(chosen))
    most = {each.webhook_id: min(share, capacity[each.webhook_id]) for each in chosen}
    paces = {each.webhook_id: _lock_pace(connection, each.webhook_id, terms) for each in chosen if each.paced}
    found = lanes.free_rows(connection, _lanes(chosen, most, paces, terms), now=terms.now)
    rows = _at_most(sorted(found, key=lambda row: (not row.is_manual, row.due_at)), most, terms.limit)
    _move_paces(connection, paces, rows)
    expires_at = terms.now + terms.lease
    if rows:
        taken = {"ids": [row.id for row in rows], "token": terms.token, "expires_at": expires_at}
        connection.execute(_LEASE, taken)
    return tuple(claim_of(row, token=terms.token, expires_at=expires_at) for row in rows)


def release(connection: Connection, claimed: Iterable[Claim]) -> int:
    """End these leases and return how many were still held."""
    tokens: dict[str, list[str]] = defaultdict(list)
    for each in claimed:
        tokens[each.token].append(each.delivery.id)
    ended = update(deliveries).values(lease_token=None, lease_expires_at=None)
    return sum(
        connection.execute(ended.where(_D.id.in_(sorted(ids)), _D.lease_token == token)).rowcount
        for token, ids in tokens.items()
    )


def next_due(connection: Connection, waiting: Iterable[Waiting], *, now: int, rate: float) -> int | None:
    """Return when the next of these may go; None where nothing waits."""
    earliest: int | None = None
    for each in waiting:
        for manual, due_at in each.lanes:
            free_at = due_at if due_at > now else _first_free(connection, each.webhook_id, manual=manual, now=now)
            if free_at is None:
                continue
            paced = _paced_until(each, now=now, rate=rate) if each.paced and not manual else now
            at = max(now, free_at, paced)
            if at == now:
                return now
            earliest = at if earliest is None else min(earliest, at)
    return earliest


def _paced_until(waiting: Waiting, *, now: int, rate: float) -> int:
    return pace_at(waiting.paced_at, now=now, rate=rate).after(1)


def _lanes(waiting: Iterable[Waiting], most: Mapping[str, int], paces: Mapping[str, Pace], terms: Terms) -> list[Lane]:
    wanted = []
    for each in waiting:
        for manual, due_at in each.lanes:
            count = most[each.webhook_id]
            if not manual and each.webhook_id in paces:
                count = min(count, paces[each.webhook_id].allowed)
            if count > 0 and due_at <= terms.now:
                wanted.append(Lane(each.webhook_id, manual, count))
    return wanted


def _at_most(rows: Iterable[AnyRow], most: Mapping[str, int], limit: int) -> list[AnyRow]:
    # A webhook's two lanes may have more together; what is left out stays as it was.
    taken: Counter[str] = Counter()
    kept: list[AnyRow] = []
    for row in rows:
        if taken[row.webhook_id] < most[row.webhook_id] and len(kept) < limit:
            taken[row.webhook_id] += 1
            kept.append(row)
    return kept


def _lock_pace(connection: Connection, webhook_id: str, terms: Terms) -> Pace:
    # Locked until the end of the transaction, so that all relays together keep to the rate.
    locked = select(webhooks.c.paced_at).where(webhooks.c.webhook_id == webhook_id).with_for_update()
    return pace_at(connection.execute(locked).scalar(), now=terms.now, rate=terms.rate)


def _move_paces(connection: Connection, paces: Mapping[str, Pace], rows: Iterable[AnyRow]) -> None:
    gone = Counter(row.webhook_id for row in rows if not row.is_manual)
    for webhook_id, pace in paces.items():
        if gone[webhook_id]:
            moved = update(webhooks).where(webhooks.c.webhook_id == webhook_id)
            connection.execute(moved.values(paced_at=pace.after(gone[webhook_id])))


def _first_free(connection: Connection, webhook_id: str, *, manual: bool, now: int) -> int | None:
    return connection.execute(_FIRST_FREE, {"webhook_id": webhook_id, "manual": manual, "now": now}).scalar()


def _waiting() -> Select[Any]:
    """Return the statement that goes from webhook to webhook through the index ("loose index scan").

    `ORDER BY … LIMIT 1` is what every database answers from the index's first entry; PostgreSQL would read every
    pending row for a `GROUP BY`.
    """

    def first(column: ColumnElement[Any], *conditions: ColumnElement[bool]) -> ScalarSelect[Any]:
        return select(column).where(PENDING, *conditions).order_by(column).limit(1).scalar_subquery()

    scan = select(first(_D.webhook_id).label("webhook_id")).cte("waiting", recursive=True)
    following = first(_D.webhook_id, _D.webhook_id > scan.c.webhook_id)
    scan = scan.union_all(select(following).where(scan.c.webhook_id.is_not(None)))
    known = scan.outerjoin(webhooks, webhooks.c.webhook_id == scan.c.webhook_id)
    return (
        select(
            scan.c.webhook_id,
            first(_D.due_at, _D.webhook_id == scan.c.webhook_id, _D.is_manual == false()).label("ordinary"),
            first(_D.due_at, _D.webhook_id == scan.c.webhook_id, _D.is_manual == true()).label("asked_for"),
            webhooks.c.paused_at,
            webhooks.c.resumed_at,
            webhooks.c.paced_at,
        )
        .select_from(known)
        .where(scan.c.webhook_id.is_not(None))
    )


# Built once: building a statement takes longer than running it.
WAITING = _waiting()
_FIRST_FREE = select(_D.due_at).where(*lanes.FREE).order_by(_D.due_at).limit(1)
_LEASE = (
    update(deliveries)
    .where(_D.id.in_(bindparam("ids", expanding=True)))
    .values(lease_token=bindparam("token"), lease_expires_at=bindparam("expires_at"))
)
