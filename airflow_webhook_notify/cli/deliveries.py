"""The commands that read the delivery log.

Invariant: what an endpoint or a DAG wrote reaches the terminal without a character that it would act on.
"""

from __future__ import annotations

import shlex
import time
from argparse import Namespace

from airflow_webhook_notify.administration import is_delivery_id
from airflow_webhook_notify.cli import terminal
from airflow_webhook_notify.cli.command import command
from airflow_webhook_notify.models import Attempt, DeliveryState
from airflow_webhook_notify.moments import show_moment
from airflow_webhook_notify.outbox.records import DeliveryDetail, DeliveryFilter, DeliveryRecord, Page, WebhookStatus
from airflow_webhook_notify.outbox.store import Outbox
from airflow_webhook_notify.shown import attempt_fields, delivery_fields, masker_of, shown_payload

_FILTERS = ("webhook", "state", "topic", "dag", "run", "since", "until", "limit", "output")
#: How much of an error a list shows, and of a response the table of attempts, in characters.
_SHORT, _RESPONSE = 40, 200


@command
def webhooks_deliveries(args: Namespace) -> None:
    """List deliveries, newest first."""
    outbox, now = Outbox(), time.time_ns() // 1_000_000
    page = _read_page(outbox, args, now=now)
    paused = {each.webhook_id for each in outbox.webhook_states().values() if each.paused}
    line = _line if args.output in ("table", "plain") else delivery_fields
    rows = [line(record, paused=record.webhook_id in paused) for record in page.deliveries]
    terminal.write_rows(rows, args.output, whole=("id",))
    if page.cursor:
        terminal.hint(f"There are more: {_next_page(args, page.cursor)}")


def _read_page(outbox: Outbox, args: Namespace, *, now: int) -> Page:
    wanted = DeliveryFilter(
        webhook_id=args.webhook,
        state=DeliveryState(args.state) if args.state else None,
        topic=args.topic,
        dag_id=args.dag,
        run_id=args.run,
        since=args.since and args.since.at(now),
        until=args.until and args.until.at(now),
    )
    try:
        return outbox.deliveries(wanted, cursor=args.cursor, limit=args.limit)
    except ValueError as error:
        terminal.fail(f"--cursor: {error}")


def _next_page(args: Namespace, cursor: str) -> str:
    options = [f"--{name}={getattr(args, name)}" for name in _FILTERS if getattr(args, name) is not None]
    return shlex.join(["airflow", args.group, args.command, *options, f"--cursor={cursor}"])


def _line(record: DeliveryRecord, *, paused: bool) -> dict[str, object]:
    """Return a delivery as a person reads it in a list."""
    return {
        "taken": show_moment(record.created_at),
        "id": record.id,
        "webhook": record.webhook_id,
        "topic": record.topic,
        "job": _job_of(record),
        "state": record.state.value,
        "attempts": record.attempts_count,
        "last": record.last_status or (record.last_error and _cut(record.last_error, _SHORT)),
        "next_attempt": _next_attempt(record, paused=paused),
    }


def _job_of(record: DeliveryRecord) -> str | None:
    parts = [part for part in (record.dag_id, record.task_id) if part]
    mapped = f"[{record.map_index}]" if record.task_id and (record.map_index or -1) >= 0 else ""
    return ".".join(parts) + mapped or None


def _next_attempt(record: DeliveryRecord, *, paused: bool) -> str | None:
    if record.due_at is None:
        return None
    return "once resumed" if paused and not record.manual else show_moment(record.due_at)


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[: length - 1]}…"


@command
def webhooks_delivery(args: Namespace) -> None:
    """Show one delivery: its payload, and every attempt."""
    outbox, now = Outbox(), time.time_ns() // 1_000_000
    detail = outbox.delivery(args.delivery_id) if is_delivery_id(args.delivery_id) else None
    if detail is None:
        terminal.fail(
            f"There is no delivery {args.delivery_id!r}; `airflow {args.group} deliveries` lists what there is"
        )
    webhook_id = detail.record.webhook_id
    status = outbox.webhook_states().get(webhook_id, WebhookStatus(webhook_id))
    attempts = list(attempt_fields(detail, masker_of(webhook_id)))
    if args.output in ("table", "plain"):
        _show(detail, attempts, status=status, now=now, output=args.output)
        return
    record = delivery_fields(detail.record, paused=status.paused)
    terminal.write_rows([{**record, "payload": shown_payload(detail), "attempts": attempts}], args.output)


def _show(
    detail: DeliveryDetail, attempts: list[dict[str, object]], *, status: WebhookStatus, now: int, output: str
) -> None:
    terminal.write_record(_summary(detail.record, status=status, now=now), output)
    terminal.say("\nPayload:")
    terminal.write_text(terminal.json_text(shown_payload(detail)))
    if not attempts:
        terminal.say("No attempt was made yet.")
        return
    terminal.say("Attempts:")
    lines = zip(detail.attempts, attempts, strict=True)
    terminal.write_rows([_attempt_line(attempt, shown) for attempt, shown in lines], output)


def _summary(record: DeliveryRecord, *, status: WebhookStatus, now: int) -> dict[str, object]:
    return {
        "id": record.id,
        "webhook": record.webhook_id,
        "topic": record.topic,
        "event_id": record.event_id,
        "occurred": show_moment(record.event_at),
        "taken": show_moment(record.created_at),
        "job": _job_of(record),
        "run": record.run_id,
        "try": record.try_number,
        "state": record.state.value,
        "attempts": record.attempts_count,
        "delivered": None if record.delivered_at is None else show_moment(record.delivered_at),
        "next_attempt": _explain_next_attempt(record, status=status, now=now),
    }


def _explain_next_attempt(record: DeliveryRecord, *, status: WebhookStatus, now: int) -> str | None:
    if record.leased_until is not None and record.leased_until > now:
        return f"under way; a relay holds it until {show_moment(record.leased_until)} at most"
    if status.paused and record.due_at is not None and not record.manual:
        return f"once the webhook is resumed; it is paused: {status.paused_reason}"
    return _next_attempt(record, paused=False)


def _attempt_line(attempt: Attempt, shown: dict[str, object]) -> dict[str, object]:
    return {
        "number": attempt.number,
        "started": show_moment(attempt.started_at),
        "duration": f"{attempt.duration:.3f} s",
        "status": attempt.status,
        "error": shown["error"],
        "response": _cut(str(shown["response"]), _RESPONSE) or None,
    }
