"""The `doctor` command.

Invariant: one line for each thing that was checked, and status 1 where any is to be mended.
"""

from __future__ import annotations

import time
from argparse import Namespace
from collections.abc import Iterator

from airflow_webhook_notify.cli import terminal
from airflow_webhook_notify.cli.checks import Check, State, check_installation
from airflow_webhook_notify.cli.command import recorded
from airflow_webhook_notify.cli.listener_checks import check_failure_reports
from airflow_webhook_notify.cli.outbox_checks import check_outbox
from airflow_webhook_notify.cli.webhooks import describe_failure
from airflow_webhook_notify.connection import find_webhook
from airflow_webhook_notify.exceptions import ConfigurationError
from airflow_webhook_notify.outbox.store import Outbox
from airflow_webhook_notify.pings import log_ping


@recorded
def webhooks_doctor(args: Namespace) -> None:
    """Check this installation and, where one is named, a webhook."""
    checks = list(_run(args))
    terminal.write_rows(
        [{"check": check.name, "state": check.state.value, "detail": check.detail} for check in checks],
        args.output,
    )
    bad = [check.name for check in checks if check.state is State.MEND]
    if bad:
        terminal.fail(f"To mend: {', '.join(bad)}")


def _run(args: Namespace) -> Iterator[Check]:
    now = int(time.time() * 1000)
    yield from check_installation(args.group)
    yield from check_outbox(Outbox(), group=args.group, now=now)
    reports = check_failure_reports()
    if reports is not None:
        yield reports
    if args.conn_id is None:
        return
    try:
        listed = find_webhook(args.conn_id)
    except ConfigurationError as error:
        yield Check("connection", State.MEND, str(error))
        return
    # Here, not above: `requests` is only for those who name a webhook.
    from airflow_webhook_notify.cli.webhook_checks import check_webhook

    checks = list(check_webhook(listed, now=now))
    yield from checks
    if args.ping and not any(check.state is State.MEND for check in checks):
        yield _check_ping(args)


def _check_ping(args: Namespace) -> Check:
    from airflow_webhook_notify.hooks import WebhookHook

    ping = WebhookHook(args.conn_id).ping()
    attempt = ping.attempt
    # Where that can't be, the check of the outbox has said so.
    log_ping(args.conn_id, ping.event, attempt)
    if attempt.succeeded:
        return Check("ping", State.OK, f"answered {attempt.status} in {attempt.duration:.3f} s")
    return Check("ping", State.MEND, describe_failure(attempt, group=args.group, conn_id=args.conn_id))
