"""The commands that change what is in the outbox: send again, pause, resume, clean.

Invariant: what can't be taken back for many deliveries is counted first and asked for, unless `--yes` is given.
"""

from __future__ import annotations

import time
from argparse import Namespace
from collections.abc import Mapping, Sequence

from airflow_webhook_notify import administration, config
from airflow_webhook_notify.cli import terminal
from airflow_webhook_notify.cli.command import recorded
from airflow_webhook_notify.cli.terminal import amount
from airflow_webhook_notify.moments import show_moment
from airflow_webhook_notify.outbox.records import Counts, DeliveryFilter
from airflow_webhook_notify.outbox.store import Outbox

_DAY = 24 * 3600 * 1000


def _now() -> int:
    return time.time_ns() // 1_000_000


@recorded
def webhooks_redeliver(args: Namespace) -> None:
    """Send deliveries again."""
    if args.dead_letters == bool(args.delivery_ids):
        terminal.fail("give the ids of deliveries, or --dead-letters with --since")
    if args.dead_letters:
        _redeliver_dead_letters(args)
    elif args.since or args.webhook:
        terminal.fail("--since and --webhook choose among --dead-letters; leave them out where you give ids")
    else:
        _redeliver_ids(args.delivery_ids, args.output)


def _redeliver_ids(ids: Sequence[str], output: str) -> None:
    done = administration.redeliver(Outbox(), ids, now=_now())
    if output in ("json", "yaml") or done.ids:
        _tell(len(done.ids), output, unknown=done.unknown)
    if done.unknown:
        terminal.fail(f"There is no delivery {', '.join(map(repr, done.unknown))}")


def _redeliver_dead_letters(args: Namespace) -> None:
    if args.since is None:
        terminal.fail("--dead-letters: say with --since how far back, such as --since 2d")
    outbox, now = Outbox(), _now()
    since = args.since.at(now)
    counted = _dead_letters(outbox.counts(since=since), args.webhook)
    if counted and not args.yes:
        webhooks = ", ".join(f"{webhook_id} {number}" for webhook_id, number in sorted(counted.items()))
        whole = amount(sum(counted.values()), "dead letter")
        terminal.confirm(f"{whole} taken in since {show_moment(since)} ({webhooks}). Send them again?")
    wanted = DeliveryFilter(webhook_id=args.webhook, since=since)
    number = administration.redeliver_dead_letters(outbox, wanted, now=_now()) if counted else 0
    _tell(number, args.output)


def _dead_letters(counts: Mapping[str, Counts], webhook_id: str | None) -> dict[str, int]:
    wanted = {name: each.dead_letter for name, each in counts.items() if webhook_id in (None, name)}
    return {name: number for name, number in wanted.items() if number}


def _tell(number: int, output: str, *, unknown: Sequence[str] = ()) -> None:
    text = f"{amount(number, 'delivery')} due now." if number else "Nothing to send again."
    terminal.answer(text, {"redelivered": number, "unknown": list(unknown)}, output)


@recorded
def webhooks_pause(args: Namespace) -> None:
    """Let a webhook's deliveries wait."""
    outbox = Outbox()
    if administration.pause(outbox, args.conn_id, args.reason, now=_now()):
        text = f"{args.conn_id!r} is paused: its deliveries wait, pings and redeliveries still go."
    else:
        status = outbox.webhook_states()[args.conn_id]
        text = f"{args.conn_id!r} was paused before, since {show_moment(status.paused_at or 0)}: {status.paused_reason}"
    terminal.answer(text, {"conn_id": args.conn_id, "paused": True}, args.output)


@recorded
def webhooks_resume(args: Namespace) -> None:
    """Let the deliveries of a paused webhook go."""
    outbox = Outbox()
    if administration.resume(outbox, args.conn_id, now=_now()):
        waiting = outbox.counts().get(args.conn_id, Counts()).pending
        pace = f"at most {config.RESUME_RATE.read():g} a second"
        text = f"{args.conn_id!r} is resumed. {amount(waiting, 'delivery')} waiting: oldest first, {pace}."
    else:
        text = f"{args.conn_id!r} was not paused."
    terminal.answer(text, {"conn_id": args.conn_id, "paused": False}, args.output)


@recorded
def webhooks_clean(args: Namespace) -> None:
    """Delete what ended long ago from the delivery log."""
    age = round(config.RETENTION.read() * _DAY) if args.older_than is None else args.older_than
    outbox, before = Outbox(), _now() - age
    number = outbox.prunable(before=before)
    what = f"{amount(number, 'delivery')} that ended, taken in before {show_moment(before)}"
    if args.dry_run or not number:
        terminal.answer(f"{what}: nothing was deleted.", _cleaned(number, deleted=0), args.output)
        return
    if not args.yes:
        terminal.confirm(f"{what}. Delete them with their attempts?")
    deleted = 0
    with terminal.progress("Deleting", number) as advance:
        for batch in outbox.prune(before=before, batch=administration.BATCH):
            advance(batch)
            deleted += batch
    terminal.answer(f"Deleted {amount(deleted, 'delivery')}.", _cleaned(number, deleted=deleted), args.output)


def _cleaned(found: int, *, deleted: int) -> dict[str, object]:
    return {"found": found, "deleted": deleted}
