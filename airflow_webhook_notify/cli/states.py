"""What the outbox knows of webhooks, for the commands that show them.

Invariant: a webhook is shown whether or not there is an outbox.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from airflow_webhook_notify.cli import terminal
from airflow_webhook_notify.cli.durations import show_moment
from airflow_webhook_notify.exceptions import OutboxUnavailableError
from airflow_webhook_notify.outbox.records import Counts, WebhookStatus
from airflow_webhook_notify.outbox.store import Outbox


@dataclass(frozen=True)
class Known:
    """The states of all webhooks.

    :param counts: how many deliveries each has; empty where nobody asked
    :param available: whether the outbox could be read
    """

    statuses: Mapping[str, WebhookStatus] = field(default_factory=dict)
    counts: Mapping[str, Counts] = field(default_factory=dict)
    available: bool = True

    def of(self, webhook_id: str) -> WebhookStatus:
        """Return the state of a webhook; one without news where nothing is known."""
        return self.statuses.get(webhook_id, WebhookStatus(webhook_id))


def read_states(*, with_counts: bool = False) -> Known:
    """Return the states; where there is no outbox, say so on standard error and return none."""
    outbox = Outbox()
    try:
        return Known(outbox.webhook_states(), outbox.counts() if with_counts else {})
    except OutboxUnavailableError as error:
        terminal.hint(f"Which webhooks are paused or failing is not known: {error}")
        return Known(available=False)


def describe_status(status: WebhookStatus) -> str:
    """Return a webhook's state in a few words."""
    if status.paused:
        return f"paused: {status.paused_reason}"
    if status.failing_since is not None:
        return f"failing since {show_moment(status.failing_since)}"
    return "ok"


def describe_outbox(known: Known, webhook_id: str) -> dict[str, object]:
    """Return what `show` tells of a webhook's deliveries; None for what is not known."""
    status, counts = known.of(webhook_id), known.counts.get(webhook_id, Counts())
    moments = {
        "paused_since": status.paused_at,
        "failing_since": status.failing_since,
        "last_success": status.last_success_at,
    }
    return {
        **{name: None if moment is None else show_moment(moment) for name, moment in moments.items()},
        "pending": counts.pending if known.available else None,
        "dead_letters": counts.dead_letter if known.available else None,
    }
