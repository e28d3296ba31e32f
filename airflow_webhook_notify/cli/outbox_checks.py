"""What `doctor` checks of the outbox: its tables, its relays, the webhooks that wait, its clock.

Invariant: where the outbox can't be read, that is the one finding.
"""

from __future__ import annotations

from collections.abc import Iterator

from airflow_webhook_notify.cli.checks import Check, State
from airflow_webhook_notify.cli.states import describe_status
from airflow_webhook_notify.exceptions import OutboxUnavailableError
from airflow_webhook_notify.moments import show_moment
from airflow_webhook_notify.outbox.records import Backlog, WebhookStatus
from airflow_webhook_notify.outbox.store import Outbox

#: A relay looks every quarter of a second, so what has waited for a minute that any may take is waiting for none.
_PATIENCE = 60_000
#: Seconds by which our clock and the database's may differ: leases and retries are reckoned in tens of them.
_CLOCK_TOLERANCE = 5


def check_outbox(outbox: Outbox, *, group: str, now: int) -> Iterator[Check]:
    """Check the outbox.

    :param now: milliseconds since the epoch
    """
    try:
        outbox.check()
        statuses = outbox.webhook_states()
        yield Check("outbox", State.OK, "its tables are there")
        yield _check_relay(outbox, group=group, now=now)
        for webhook_id in sorted(statuses):
            yield from _check_status(statuses[webhook_id], group=group)
        yield _check_clock((outbox.clock() - now) / 1000)
    except OutboxUnavailableError as error:
        yield Check("outbox", State.MEND, f"{error}; callbacks deliver directly meanwhile")


def _check_relay(outbox: Outbox, *, group: str, now: int) -> Check:
    if held := outbox.leased(now=now):
        return Check("relay", State.OK, f"at work on {held} deliveries")
    since = min(filter(None, map(_waiting_since, outbox.backlog())), default=None)
    if since is None or now - since <= _PATIENCE:
        return Check("relay", State.OK, "nothing has waited for it for more than a minute")
    latest = max((each.last_success_at or 0 for each in outbox.webhook_states().values()), default=0)
    if now - latest <= _PATIENCE:
        return Check("relay", State.OK, f"the last delivery succeeded at {show_moment(latest)}")
    return Check(
        "relay",
        State.MEND,
        f"none seems to be at work: a delivery has been due since {show_moment(since)}; start `airflow {group} relay`, "
        "or an API server with [webhook_notify] relay = internal",
    )


def _waiting_since(backlog: Backlog) -> int | None:
    """Return since when a relay may send something of this webhook; None where nothing may go."""
    return backlog.oldest_manual_due_at if backlog.paused else backlog.oldest_due_at


def _check_status(status: WebhookStatus, *, group: str) -> Iterator[Check]:
    name, words = f"webhook {status.webhook_id}", describe_status(status)
    if status.paused:
        waiting = f"its deliveries wait since {show_moment(status.paused_at or 0)}"
        advice = f"once that is mended, `airflow {group} resume {status.webhook_id}`"
        yield Check(name, State.WARNING, f"{words}; {waiting}; {advice}")
    elif status.failing_since is not None:
        advice = f"`airflow {group} deliveries --webhook {status.webhook_id}` shows the errors"
        yield Check(name, State.WARNING, f"{words}; {advice}")


def _check_clock(offset: float) -> Check:
    name = "clock of the database"
    if abs(offset) <= _CLOCK_TOLERANCE:
        return Check(name, State.OK, "the same as ours")
    side = "ahead of" if offset > 0 else "behind"
    detail = f"{abs(offset):.0f} s {side} ours; set the clock that is wrong, since retries and leases go by it"
    return Check(name, State.WARNING, detail)
