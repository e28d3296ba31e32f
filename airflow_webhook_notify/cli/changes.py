"""The commands that change and delete webhooks.

Invariant: what is not named stays as it is, and what can't be taken back is asked for first, unless `--yes` is given.
"""

from __future__ import annotations

import time
from argparse import Namespace
from typing import Any

from airflow_webhook_notify import administration, overview
from airflow_webhook_notify.cli import inputs, terminal
from airflow_webhook_notify.cli.command import recorded
from airflow_webhook_notify.cli.terminal import amount
from airflow_webhook_notify.connection_form import AUTHORIZATION
from airflow_webhook_notify.outbox.store import Outbox

#: Options whose values are stored as they are.
_PLAIN = (
    *("endpoint", "nickname", "level", "retries", "roll_up", "rate", "heartbeat", "timeout", "connect_timeout"),
    *("verify", "allow_http", "ca_bundle", "proxy"),
)
_LISTS = {"topic": "topics", "dag": "dags", "tag": "tags"}


@recorded
def webhooks_edit(args: Namespace) -> None:
    """Change what the options name, and nothing else."""
    changes = _changes_from(args)
    if not changes:
        terminal.fail("nothing to change: name at least one option, such as --nickname; --help lists them")
    webhook = administration.change(args.conn_id, changes)
    changed = sorted(changes)
    text = f"Changed the webhook {webhook.id!r}: {', '.join(changed)}. It takes effect within seconds."
    terminal.answer(text, {"conn_id": webhook.id, "changed": changed}, args.output)


def _changes_from(args: Namespace) -> dict[str, Any]:
    changes = {name: getattr(args, name) for name in _PLAIN if getattr(args, name) is not None}
    for option, key in _LISTS.items():
        if (given := getattr(args, option)) is not None:
            changes[key] = [each for each in given if each]
    if args.authorization is not None:
        changes["authorization"] = inputs.read_hidden(AUTHORIZATION.label, args.authorization)
    headers = {**dict.fromkeys(args.remove_header), **dict(inputs.parse_headers(args.header))}
    return {**changes, "headers": headers} if headers else changes


@recorded
def webhooks_delete(args: Namespace) -> None:
    """Delete a webhook, and cancel what waits for it."""
    outbox = Outbox()
    if not args.yes:
        one = overview.one(outbox, args.conn_id, now=time.time_ns() // 1_000_000)
        waiting = f"{amount(one.waiting, 'delivery')} waiting" if one.outbox_problem is None else "what waits"
        terminal.confirm(f"Delete the webhook {args.conn_id!r}, and cancel {waiting}?")
    cancelled = administration.delete(outbox, args.conn_id)
    text = f"Deleted the webhook {args.conn_id!r}; {amount(cancelled, 'delivery')} cancelled."
    terminal.answer(text, {"conn_id": args.conn_id, "cancelled": cancelled}, args.output)
