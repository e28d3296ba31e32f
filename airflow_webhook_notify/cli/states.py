"""What the outbox knows of a webhook, for the commands that show it.

Invariant: what is not known, since there is no outbox, is shown as such and never as a zero.
"""

from __future__ import annotations

from airflow_webhook_notify.moments import show_moment
from airflow_webhook_notify.outbox.records import WebhookStatus
from airflow_webhook_notify.overview import WebhookOverview


def describe_status(status: WebhookStatus) -> str:
    """Return a webhook's state in a few words."""
    if status.paused:
        return f"paused: {status.paused_reason}"
    if status.failing_since is not None:
        return f"failing since {show_moment(status.failing_since)}"
    return "ok"


def describe_outbox(one: WebhookOverview) -> dict[str, object]:
    """Return what `show` tells of a webhook's deliveries; None for what is not known."""
    status, known = one.status, one.outbox_problem is None
    moments = {
        "paused_since": status.paused_at,
        "failing_since": status.failing_since,
        "last_success": status.last_success_at,
    }
    return {
        **{name: None if moment is None else show_moment(moment) for name, moment in moments.items()},
        "pending": one.waiting if known else None,
        "dead_letters": one.dead_letters if known else None,
    }
