"""The commands that make, show, ping and change webhooks.

Invariant: a signing secret is written only where it was generated here, and only by the command that did.
"""

from __future__ import annotations

import time
from argparse import Namespace

from airflow_webhook_notify import administration, overview, signing
from airflow_webhook_notify.cli import inputs, terminal
from airflow_webhook_notify.cli.command import command, recorded
from airflow_webhook_notify.cli.states import describe_outbox, describe_status
from airflow_webhook_notify.connection_form import AUTHORIZATION, SIGNING_SECRET
from airflow_webhook_notify.models import Attempt, Level, SigningSecret, Webhook
from airflow_webhook_notify.moments import show_moment
from airflow_webhook_notify.outbox.store import Outbox
from airflow_webhook_notify.overview import WebhookOverview
from airflow_webhook_notify.subscriptions import subscribes
from airflow_webhook_notify.topics import JOB_TOPICS


def _now() -> int:
    return int(time.time() * 1000)


@recorded
def webhooks_add(args: Namespace) -> None:
    """Make the Connection of a new webhook."""
    webhook = _webhook_from(args)
    administration.create(webhook)
    generated = webhook.secrets[0].value if args.secret == inputs.GENERATED else None
    if args.output != "table":
        record = {"conn_id": webhook.id, "endpoint": webhook.origin, "topics": list(webhook.topics)}
        terminal.write_rows([{**record, "secret": generated}], args.output)
        return
    terminal.say(f"Made the webhook {webhook.id!r} for {webhook.origin}.")
    if generated:
        _say_secret("Its signing secret, shown this once:", generated)
    terminal.write_lines(_next_steps(webhook, args.group))


def _webhook_from(args: Namespace) -> Webhook:
    # In this order: it is the order of the lines where both come from standard input.
    authorization = args.authorization and inputs.read_hidden(AUTHORIZATION.label, args.authorization)
    return Webhook(
        id=args.conn_id,
        endpoint=args.endpoint,
        secrets=(SigningSecret(_secret_from(args)),),
        authorization=authorization or None,
        topics=tuple(args.topic) or JOB_TOPICS,
        dags=tuple(args.dag),
        tags=tuple(args.tag),
        level=Level(args.level),
        headers=inputs.parse_headers(args.header),
        ca_bundle=args.ca_bundle,
        proxy=args.proxy,
        allow_http=args.allow_http,
        nickname=args.nickname or args.conn_id,
        timeout=args.timeout,
        retries=args.retries,
        roll_up=args.roll_up,
        rate=args.rate,
        heartbeat=args.heartbeat,
    )


def _secret_from(args: Namespace) -> str:
    if args.secret == inputs.GENERATED:
        return signing.generate_secret()
    return inputs.read_hidden(SIGNING_SECRET, args.secret)


def _say_secret(text: str, secret: str) -> None:
    terminal.write_lines([text, "", f"    {secret}", ""])


def _next_steps(webhook: Webhook, group: str) -> list[str]:
    steps = ["The receiver verifies with that secret. Then:", f"    airflow {group} ping {webhook.id}"]
    if subscribes(webhook):
        return [
            *steps,
            "It hears of its DAGs within seconds. Which webhooks hear of a DAG, and why:",
            f"    airflow {group} subscriptions DAG_ID",
        ]
    return [
        *steps,
        "and attach it to a DAG (for its tasks: default_args=task_callbacks(...)):",
        "    from airflow_webhook_notify import dag_callbacks",
        f"    with DAG(..., **dag_callbacks({webhook.id!r})):",
    ]


@command
def webhooks_list(args: Namespace) -> None:
    """List the webhooks of the metadata database and the environment."""
    found = overview.webhooks(Outbox(), now=_now())
    _say_unknown(found.problem)
    terminal.write_rows([_summary(each) for each in found.webhooks], args.output)


def _say_unknown(problem: str | None) -> None:
    if problem:
        terminal.hint(f"Which webhooks are paused or failing is not known: {problem}")


def _summary(one: WebhookOverview) -> dict[str, object]:
    webhook = one.webhook
    return {
        "conn_id": one.id,
        "nickname": webhook and webhook.nickname,
        "endpoint": webhook and webhook.origin,
        "topics": webhook and list(webhook.topics),
        "dags": webhook and list(webhook.dags),
        "tags": webhook and list(webhook.tags),
        "source": one.source,
        "state": one.problem or describe_status(one.status),
    }


@command
def webhooks_show(args: Namespace) -> None:
    """Show one webhook."""
    now = _now()
    one = overview.one(Outbox(), args.conn_id, now=now)
    _say_unknown(one.outbox_problem)
    details = _details(one.webhook, now=now) if one.webhook else {}
    record = {**_summary(one), **details, "encrypted": one.encrypted, **describe_outbox(one)}
    terminal.write_record(record, args.output)


def _details(webhook: Webhook, *, now: int) -> dict[str, object]:
    until = webhook.old_secret_until(now)
    return {
        "level": webhook.level.value,
        "retries": webhook.retries,
        "roll_up": webhook.roll_up,
        "rate": webhook.rate,
        "heartbeat": webhook.heartbeat,
        "authorization": "set" if webhook.authorization else "not set",
        "secrets": len(webhook.secrets_at(now)),
        "old_secret_until": show_moment(until) if until else None,
        # Their values can be credentials.
        "headers": [name for name, _ in webhook.headers],
        "timeout": webhook.timeout,
        "verify": webhook.verify,
        "ca_bundle": webhook.ca_bundle,
        "proxy": "set" if webhook.proxy else "not set",
    }


@recorded
def webhooks_ping(args: Namespace) -> None:
    """Send one ping, and succeed only where the endpoint takes it."""
    sent = administration.ping(args.conn_id)
    event, attempt = sent.ping
    if sent.unlogged:
        terminal.hint(f"The ping is not in the delivery log: {sent.unlogged}")
    record = {
        "topic": event.topic,
        "event_id": event.id,
        "status": attempt.status,
        "duration": round(attempt.duration, 3),
        "error": attempt.error,
    }
    terminal.write_record(record, args.output)
    if not attempt.succeeded:
        terminal.fail(f"The ping failed: {describe_failure(attempt, group=args.group, conn_id=args.conn_id)}")


def describe_failure(attempt: Attempt, *, group: str, conn_id: str) -> str:
    """Return what went wrong and what to do about it."""
    problem = (attempt.error or f"the endpoint answered {attempt.status}").rstrip(".")
    return f"{problem}; {administration.advice_on(attempt, doctor=f'airflow {group} doctor {conn_id}')}"


@recorded
def webhooks_rotate_secret(args: Namespace) -> None:
    """Give a webhook a new signing secret, and let the old one sign for a while."""
    secret = _secret_from(args)
    rotated = administration.rotate(args.conn_id, now=_now(), overlap=args.overlap, secret=secret)
    generated = secret if args.secret == inputs.GENERATED else None
    until = show_moment(rotated.old_secret_until) if rotated.old_secret_until else None
    if args.output != "table":
        terminal.write_rows([{"conn_id": args.conn_id, "secret": generated, "old_secret_until": until}], args.output)
        return
    if generated:
        _say_secret(f"The new signing secret of {args.conn_id!r}, shown this once:", generated)
    terminal.say(
        f"The old secret signs too until {until}; put the new one into the receiver before then."
        if until
        else "The old secret signs no more; put the new one into the receiver now."
    )
